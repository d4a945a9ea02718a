"""Breaks: differences between witnesses, from their opening to their end, under ids that never change.

An id is made of the kind and of what the difference is about (`missing_here-12.5` is about ExecID `12;5`), never of
time or order, so that the same difference has the same id in every run, and finding it twice changes nothing.

    open ---the difference is gone---------------------------------------> closed
      `-----an operator explained or accepted it, or it is information---> explained
                                                                              `---it became another difference---> open

`foreign` is information: it is noted as explained at once and never counts as open. What was explained stays explained
as long as it is the same difference: the same text, for a position the same distance. One that grows is open again.

Severity says how much hangs on it:

    critical   position, gap, missing_there, missing_order, and a difference in anything but money
    major      missing_here (until it is recovered), duplicate, and a difference in fees or collateral
    minor      a position or money difference within the configured tolerance: said, but keeps no order out
    info       foreign
"""

from typing import Final

import msgspec

from engine.drop_copy.keys import Key
from engine.messages.reconciliation import BreakNote

MISSING_HERE: Final = "missing_here"  # drop copy or the listener showed it, the tape did not
MISSING_THERE: Final = "missing_there"  # the session reported it, another witness does not show it
MISSING_ORDER: Final = (
    "missing_order"  # an order of ours that the journal does not have, known from its reports
)
DIFFERENT: Final = "different"  # both have it, and say different things
DUPLICATE: Final = "duplicate"  # one witness has it twice
FOREIGN: Final = "foreign"  # of an order that is not ours
POSITION: Final = "position"  # our own sum against LongQty(704) - ShortQty(705)
GAP: Final = "gap"  # what no sweep can prove
ORDER: Final = "order"  # a run ended with an order that is not over
KINDS: Final = (
    POSITION,
    DIFFERENT,
    MISSING_THERE,
    MISSING_HERE,
    MISSING_ORDER,
    DUPLICATE,
    GAP,
    ORDER,
    FOREIGN,
)

OPEN: Final = "open"
CLOSED: Final = "closed"
EXPLAINED: Final = "explained"

CRITICAL: Final = "critical"
MAJOR: Final = "major"
MINOR: Final = "minor"
INFO: Final = "info"
SEVERITIES: Final = (CRITICAL, MAJOR, MINOR, INFO)

_BY_KIND: Final = {FOREIGN: INFO, MISSING_HERE: MAJOR, DUPLICATE: MAJOR}


def id_of(kind: str, key: Key, witness: str = "") -> str:
    """Return the id of a break about one report; dots, because a shell takes `;` for its own.

    Args:
        witness: the third one, when it is it that disagrees: the second one may disagree as well, in another way.
    """
    clock, event, index = key
    name = f"{kind}-{clock}.{event}.{index}" if index else f"{kind}-{clock}.{event}"
    return f"{name}-{witness}" if witness else name


def difference_of(note: BreakNote) -> str:
    """Return what makes two notes of one break the same difference."""
    return str(note.amount) if note.kind == POSITION else note.text


class Tolerance(msgspec.Struct, frozen=True):
    """How large a difference may be and still be minor: money of fees and collateral, quantity of a position."""

    money: int = 0
    qty: int = 0

    def severity_of(self, note: BreakNote) -> str:
        """Return how much hangs on a break."""
        if note.kind == POSITION:
            return MINOR if abs(note.amount) <= self.qty else CRITICAL
        if note.kind == DIFFERENT:
            if note.amount < 0:
                return CRITICAL
            return MINOR if note.amount <= self.money else MAJOR
        return _BY_KIND.get(note.kind, CRITICAL)


class Breaks:
    """The open breaks, and what changed of them and was not yet published.

    Args:
        tolerance: what is minor.

    Attributes:
        open: note by id, in the order of opening.
        explained: id to the difference that an operator explained.
        positions: the open position break of each market.
        counts, gating: open breaks by kind; of them, those that are more than minor.
        changes: notes of every change since `take` was called last; the caller journals and publishes them.
    """

    def __init__(self, tolerance: Tolerance | None = None) -> None:
        self.tolerance = tolerance or Tolerance()
        self.open: dict[str, BreakNote] = {}
        self.explained: dict[str, str] = {}
        self.changes: list[BreakNote] = []
        self.counts: dict[str, int] = {}
        self.gating: dict[str, int] = {}
        self.positions: dict[str, BreakNote] = {}
        self._explained_positions: dict[str, int] = {}

    def restore(self, note: BreakNote) -> None:
        """Take a journalled change back in, without saying it again."""
        known = self.open.pop(note.break_id, None)
        if known is not None:
            self._count(known, -1)
            if known.kind == POSITION:
                self.positions.pop(known.symbol, None)
        if note.status == OPEN:
            self.explained.pop(note.break_id, None)
            self.open[note.break_id] = note
            self._count(note, 1)
            if note.kind == POSITION:
                self.positions[note.symbol] = note
                self._explained_positions.pop(note.symbol, None)
        elif note.status == EXPLAINED and note.about:
            self.explained[note.break_id] = note.about
            if note.kind == POSITION:
                self._explained_positions[note.symbol] = note.amount

    def note(self, note: BreakNote) -> None:
        """Open a break, say again one whose text changed, or end one; what changes nothing is dropped."""
        known = self.open.get(note.break_id)
        if note.status == OPEN:
            if known is not None and known.text == note.text:
                return
            if self.explained.get(note.break_id) == difference_of(note):
                return
            note = msgspec.structs.replace(
                note,
                severity=self.tolerance.severity_of(note),
                first_ns=known.first_ns if known is not None else note.first_ns or note.wall_ns,
            )
        elif known is None and note.status == CLOSED:
            return
        self.restore(note)
        self.changes.append(note)

    def is_known_position(self, symbol: str, amount: int) -> bool:
        """Say whether this distance of a market's position from the venue's was explained."""
        return self._explained_positions.get(symbol) == amount

    def position_is_whole(self, symbol: str) -> None:
        """Note that a market's position is the venue's again: another difference is another break."""
        self._explained_positions.pop(symbol, None)

    def end(self, break_id: str, text: str, wall_ns: int, status: str = CLOSED, who: str = "") -> None:
        """End an open break; one that isn't open needs no end.

        Args:
            who: of an operator who explains it; then the same difference is not a break again.
        """
        known = self.open.get(break_id)
        if known is None:
            if status == CLOSED:
                self.explained.pop(break_id, None)
            return
        self.note(ended(known, text, wall_ns, status, who))

    def is_noted(self, break_id: str) -> bool:
        """Say whether a difference is known as a break, open or explained."""
        return break_id in self.open or break_id in self.explained

    def take(self) -> list[BreakNote]:
        """Return what changed, once."""
        changes, self.changes = self.changes, []
        return changes

    def _count(self, note: BreakNote, change: int) -> None:
        for counts in (self.counts, self.gating):
            if counts is self.gating and note.severity in {MINOR, INFO}:
                continue
            count = counts.get(note.kind, 0) + change
            if count:
                counts[note.kind] = count
            else:
                counts.pop(note.kind, None)


def ended(known: BreakNote, text: str, wall_ns: int, status: str, who: str = "") -> BreakNote:
    """Return the note that ends an open break."""
    return msgspec.structs.replace(
        known,
        status=status,
        wall_ns=wall_ns,
        text=text,
        who=who,
        about=difference_of(known) if status == EXPLAINED and who else "",
        until_ns=wall_ns if known.kind == GAP else 0,
    )
