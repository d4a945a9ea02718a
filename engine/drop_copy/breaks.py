"""Breaks: differences between witnesses, from their opening to their end, under ids that never change.

An id is made of the kind and of what the difference is about (`missing_here-12.5` is about ExecID `12;5`), never of
time or order, so that the same difference has the same id in every run, and finding it twice changes nothing.

    open ---the difference is gone---> closed
      `-----an operator accepted it, or it is information only---> explained

`foreign` is information: it is noted as explained at once and never counts as open.
"""

from typing import Final

from engine.drop_copy.keys import Key
from engine.messages.reconciliation import BreakNote

MISSING_HERE: Final = "missing_here"  # drop copy showed it, the tape did not
MISSING_THERE: Final = "missing_there"  # the session reported it, drop copy does not show it
DIFFERENT: Final = "different"  # both have it, and say different things
DUPLICATE: Final = "duplicate"  # one witness has it twice
FOREIGN: Final = "foreign"  # of an order that is not ours
POSITION: Final = "position"  # our own sum against LongQty(704) - ShortQty(705)
GAP: Final = "gap"  # what no sweep can prove

OPEN: Final = "open"
CLOSED: Final = "closed"
EXPLAINED: Final = "explained"


def id_of(kind: str, key: Key) -> str:
    """Return the id of a break about one report; dots, because a shell takes `;` for its own."""
    clock, event, index = key
    return f"{kind}-{clock}.{event}.{index}" if index else f"{kind}-{clock}.{event}"


class Breaks:
    """The open breaks, and what changed of them and was not yet published.

    Attributes:
        open: note by id, in the order of opening.
        positions: the open position break of each market.
        counts: open breaks by kind.
        changes: notes of every change since `take` was called last; the caller journals and publishes them.
    """

    def __init__(self) -> None:
        self.open: dict[str, BreakNote] = {}
        self.changes: list[BreakNote] = []
        self.counts: dict[str, int] = {}
        self.positions: dict[str, BreakNote] = {}

    def restore(self, note: BreakNote) -> None:
        """Take a journalled change back in, without saying it again."""
        known = self.open.pop(note.break_id, None)
        if known is not None:
            self._count(known.kind, -1)
            if known.kind == POSITION:
                self.positions.pop(known.symbol, None)
        if note.status == OPEN:
            self.open[note.break_id] = note
            self._count(note.kind, 1)
            if note.kind == POSITION:
                self.positions[note.symbol] = note

    def note(self, note: BreakNote) -> None:
        """Open a break, say again one whose text changed, or end one; what changes nothing is dropped."""
        known = self.open.get(note.break_id)
        if note.status == OPEN and known is not None and known.text == note.text:
            return
        if note.status == CLOSED and known is None:
            return
        self.restore(note)
        self.changes.append(note)

    def end(self, break_id: str, text: str, wall_ns: int, status: str = CLOSED) -> None:
        """End an open break; one that isn't open needs no end."""
        known = self.open.get(break_id)
        if known is not None:
            self.note(
                BreakNote(
                    break_id=break_id,
                    kind=known.kind,
                    status=status,
                    wall_ns=wall_ns,
                    exec_id=known.exec_id,
                    cl_ord_id=known.cl_ord_id,
                    symbol=known.symbol,
                    text=text,
                )
            )

    def take(self) -> list[BreakNote]:
        """Return what changed, once."""
        changes, self.changes = self.changes, []
        return changes

    def _count(self, kind: str, change: int) -> None:
        count = self.counts.get(kind, 0) + change
        if count:
            self.counts[kind] = count
        else:
            self.counts.pop(kind, None)
