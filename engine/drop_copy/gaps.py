"""Gaps: times of which no sweep can prove anything, said aloud, with their beginning and their end. Pure.

    gap-REASON-FROM   a sweep that order entry wanted could not be completed; REASON is EventResendRejectReason(21004)
    gap-hole-FROM     what lies before FROM is beyond the venue's window of three hours

One for want of an answer (silence, 1, 2) closes with the next complete sweep. One that the venue will never prove (3,
outside its window; 5, not enabled; a hole) stays until an operator accepts it with a reason.
"""

from typing import Final

from engine.common.clock import iso_time
from engine.drop_copy import breaks as brk
from engine.drop_copy.breaks import Breaks
from engine.drop_copy.keys import key_of
from engine.drop_copy.queries import BEGIN_TOO_SMALL
from engine.messages.reconciliation import BreakNote

NOT_ENABLED: Final = 5
_HOLE: Final = "gap-hole-"
_STAYS: Final = (_HOLE, f"gap-{BEGIN_TOO_SMALL}-", f"gap-{NOT_ENABLED}-")


class Gaps:
    """The open gap; there is one at most."""

    def __init__(self, breaks: Breaks) -> None:
        self._breaks = breaks

    @property
    def note(self) -> BreakNote | None:
        """The open gap, or None."""
        return next((note for note in self._breaks.open.values() if note.kind == brk.GAP), None)

    @property
    def text(self) -> str:
        """What the open gap says, or empty."""
        note = self.note
        return note.text if note is not None else ""

    def open(
        self, begin: str, text: str, wall_ns: int, since_ns: int, *, reason: int = 0, hole: bool = False
    ) -> None:
        """Open a gap, or say the open one again.

        Args:
            begin: BeginExecID that could not be answered, or before which nothing can be proven.
            since_ns: wall clock of the last proof: where the gap begins.
            reason: EventResendRejectReason(21004), 0 for none.
        """
        break_id = f"{_HOLE}{dotted(begin)}" if hole else f"gap-{reason}-{dotted(begin)}"
        known = self.note
        if known is not None and known.break_id != break_id:
            if known.break_id.startswith(_STAYS) and not break_id.startswith(_STAYS):
                return  # what is open is worse: this can't close before that
            since_ns = min(since_ns, known.first_ns)
            self._breaks.end(known.break_id, f"now: {text}", wall_ns)
        elif known is not None:
            since_ns = known.first_ns
        since = f"; nothing is proven from {iso_time(since_ns)} on" if since_ns else ""
        self._breaks.note(
            BreakNote(
                break_id=break_id,
                kind=brk.GAP,
                status=brk.OPEN,
                wall_ns=wall_ns,
                first_ns=since_ns,
                exec_id=begin,
                text=f"{text}{since}",
            )
        )

    def prove(self, text: str, wall_ns: int) -> None:
        """Close what a complete sweep can close."""
        note = self.note
        if note is not None and not note.break_id.startswith(_STAYS):
            self._breaks.end(note.break_id, text, wall_ns)


def dotted(exec_id: str) -> str:
    """Return an ExecID as it stands in an id."""
    key = key_of(exec_id)
    return ".".join(str(part) for part in (key if key is not None and key[2] else (key or ())[:2])) or "none"
