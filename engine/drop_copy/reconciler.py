"""The comparison of witnesses, by ExecID, field by field. Pure: events and reports in, breaks and recoveries out.

Witness one is the tape: what the order-entry session brought (and what was recovered before). Witness two is drop
copy: what the venue shows when it is asked. A third, the listener, is `listener`. The rules:

* A report is joined by its ExecID only. Rejects and pendings never count: drop copy doesn't have them.
* What drop copy shows and the tape lacks is **missing here**: it is recovered into the tape and the break closes itself
  when it appears there.
* What the session brought and drop copy does not show is **missing there**, but only once it is old enough
  (`missing_there_ns`) and a sweep begun after that did not show it either.
* What both have is compared field by field (`differences`).
* An order of ours that the tape never saw submitted, though it was read since before that order's worker began, is a
  **missing order**: the journal has lost it.
* **Watermark**: per exchange index the newest ExecID such that nothing at or before it is unconfirmed. It never passes
  a report that is being recovered and not yet on the tape, nor one of the session that drop copy has not shown yet,
  until that one has become a break of its own.
* What is kept is bounded by that: the `overlap` confirmed reports before the watermark, and what is newer.
* Where a report's CumQty told of fills that drop copy, swept whole, does not have (`fills_denied`), the venue contradicts
  itself: a difference, until all of them came after all or an operator's word stands for them.
* **Position**: `position_watch`.
* An operator who accepts a position (a POSITION event by OPERATOR) accepts what could not be proven before it: open
  breaks of that market and an open gap are explained, and after a gap the comparison begins anew behind that event.
  Unknown orders that an operator closed (RESOLVED by OPERATOR) say the same of a gap, as does his word to drop copy.
"""

from typing import Final

from engine.common.clock import SECOND
from engine.common.fixed_point import QTY_TEXTS
from engine.common.ids import SLOT_FOREIGN, slot_of
from engine.drop_copy import breaks as brk
from engine.drop_copy.beginnings import guesses
from engine.drop_copy.breaks import Breaks, Tolerance, id_of
from engine.drop_copy.differences import EXEC_TYPES, REPORT_KINDS, SHOWN_THERE, differences
from engine.drop_copy.keys import Key, key_of, text_of
from engine.drop_copy.listener import ListenerWitness
from engine.drop_copy.position_watch import PositionWatch
from engine.drop_copy.queries import Begin
from engine.drop_copy.records import WatermarkMoved
from engine.messages.executions import EventKind, OrderEvent, ReportCopy, Source
from engine.messages.reconciliation import BreakNote

ORIGIN: Final = "1;0"
"""BeginExecID to ask with when no ExecID is known and something was sent: the smallest that can name an event.

The venue documents no way to ask from the beginning (venue.md section 6). `0;0` names no clock at all and is sure to be
too small; this is the earliest that a venue which counts from 1 could accept. A venue that refuses it (reason 3)
leaves a gap that is said aloud, never an empty answer that reads as `nothing happened`.
"""

_BROUGHT: Final = frozenset({Source.SESSION, Source.RECOVERED})
_SENT: Final = frozenset({EventKind.SUBMITTED, EventKind.REPLACE_SUBMITTED, EventKind.CANCEL_SUBMITTED})
_ORDERS_MAX: Final = 200_000
_CLOCKS_APART_NS: Final = 30 * SECOND  # SendingTime's tolerance: the venue's clock may be so far from ours


class Seen:
    """A report on the tape."""

    __slots__ = ("confirmed", "event", "seen_ns")

    def __init__(self, event: OrderEvent, seen_ns: int) -> None:
        self.event = event
        self.seen_ns = seen_ns
        self.confirmed = False


def _denied_id(event: OrderEvent) -> str:
    return f"{brk.DIFFERENT}-{event.order}"


def _accepted(event: OrderEvent) -> str:
    return f"accepted by an operator: {event.text}".rstrip(": ")


class Reconciler:
    """Both witnesses' reports that are not yet past, and the breaks between them.

    Args:
        overlap: how many confirmed reports before the watermark are asked for again.
        missing_there_ns: age at which a session report that drop copy does not show is a break.
        tolerance: what is minor.

    Attributes:
        listener: the third witness, if there is one.
        pending: recovered reports that order entry has been given and the tape doesn't show yet.
        confirmed: reports that both witnesses have, over all runs.
        submitted: something was sent to the venue, or may have been.
        accepted_tape_no: where an operator accepted what was before, or 0.
        positions: our sums against the venue's.
        begun_anew: an operator accepted a gap since the caller looked last; the caller resets it.
    """

    def __init__(self, overlap: int, missing_there_ns: int, tolerance: Tolerance | None = None) -> None:
        self.overlap = overlap
        self.missing_there_ns = missing_there_ns
        self.breaks = Breaks(tolerance)
        self.positions = PositionWatch(self.breaks)
        self.listener: ListenerWitness | None = None
        self.tape: dict[Key, Seen] = {}
        self.marks: dict[int, list[Key]] = {}
        self.pending: dict[Key, ReportCopy] = {}
        self.confirmed = 0
        self.recovered = 0
        self.foreign = 0
        self.submitted = False
        self.accepted_tape_no = 0
        self.begun_anew = False
        self._unseen_floor: dict[int, Key] | None = None
        self._covered: dict[Key, None] = {}
        self._own_ids: dict[str, None] = {}
        self._first_wall_ns = 0
        self._orders: dict[str, None] = {}
        self._knows_orders = True
        self._knows_all = False
        self._knows_first = False  # nothing of ours was before `_first_wall_ns`
        self._newest_gone: dict[int, Key] = {}
        self._foreign_told: dict[str, None] = {}

    # ---- the journal

    def restore(self, record: WatermarkMoved) -> None:
        """Take a journalled watermark back in."""
        self.marks = {}
        for text in record.marks:
            key = key_of(text)
            if key is not None:
                self.marks.setdefault(key[2], []).append(key)
        self._newest_gone = {key[2]: key for key in map(key_of, record.gone) if key is not None}
        self.confirmed = record.confirmed
        self.accepted_tape_no = record.accepted_tape_no
        self.submitted = self.submitted or record.tape_no > 0

    def restore_note(self, note: BreakNote) -> None:
        """Take a journalled change of a break back in."""
        self.breaks.restore(note)
        if note.kind == brk.FOREIGN:
            self._foreign_told[note.break_id] = None
            self.foreign += 1

    @property
    def watermark(self) -> str:
        """The newest confirmed ExecID, or empty."""
        newest = [marks[-1] for marks in self.marks.values() if marks]
        return text_of(max(newest)) if newest else ""

    def mark_texts(self) -> list[str]:
        """Return all marks as ExecIDs, by index, oldest first."""
        return [text_of(key) for index in sorted(self.marks) for key in self.marks[index]]

    def gone_texts(self) -> list[str]:
        """Return what an operator accepted: the newest ExecID of each index that is never asked for again."""
        return [text_of(self._newest_gone[index]) for index in sorted(self._newest_gone)]

    @property
    def first_wall_ns(self) -> int:
        """Wall clock of the first event that is compared, 0 before it."""
        return self._first_wall_ns

    def is_past(self, key: Key) -> bool:
        """Say whether a report lies before everything that is still compared."""
        marks = self.marks.get(key[2])
        return bool(marks and key < marks[0]) or key <= self._newest_gone.get(key[2], (-1, 0, 0))

    def tape_from(self, tape_no: int) -> int:
        """Return the first tape number that a restart must read again."""
        return min((seen.event.tape_no for seen in self.tape.values()), default=tape_no + 1)

    # ---- witness one: the tape

    def unseen_before_here(self) -> None:
        """Note that a part of the tape can't be read any more: what is older than the next report may have been on it."""
        self._unseen_floor = {}
        self._knows_orders = self._knows_first = False
        self.submitted = True

    def on_event(self, event: OrderEvent, mono_ns: int, *, replayed: bool = False) -> None:
        """Take the next event of the tape; replayed: behind a hole in it."""
        kind = event.kind
        if not self._first_wall_ns:
            self._first_wall_ns = event.wall_ns
            self._knows_all = self._knows_first = event.tape_no == 1
        if kind in _SENT:
            self.submitted = True
            if kind is EventKind.SUBMITTED:
                self._orders[event.order] = None
                if len(self._orders) > _ORDERS_MAX:
                    self._orders = {}
                    self._knows_orders = False
            if not self.marks:
                self._own_ids[event.request_id or event.cl_ord_id] = None
                self._own_ids[event.order] = None
        elif kind in REPORT_KINDS:
            key = key_of(event.exec_id)
            if key is not None:
                self._on_tape_report(key, event, mono_ns, replayed=replayed)
                if kind is EventKind.TRADE:
                    self.positions.on_trade(key, event)
                    if not event.missing_qty:
                        self.breaks.end(_denied_id(event), "all its fills came after all", event.wall_ns)
        elif kind is EventKind.POSITION:
            self._on_position(event)
        elif kind is EventKind.FILLS_DENIED:
            self._on_denied(event)
        elif kind is EventKind.RESOLVED and event.source is Source.OPERATOR:
            self._accept_gap(event)

    def _on_tape_report(self, key: Key, event: OrderEvent, mono_ns: int, *, replayed: bool) -> None:
        seen = self.tape.get(key)
        if seen is not None:
            if seen.event.tape_no != event.tape_no:
                self._open(
                    brk.DUPLICATE, key, event, f"on the tape as {seen.event.tape_no} and {event.tape_no}"
                )
            return
        self._look_for_order(event)
        marks = self.marks.get(key[2])
        if marks and key < marks[0] and id_of(brk.MISSING_THERE, key) not in self.breaks.open:
            return  # long confirmed: a restart reads some of the tape again
        self.tape[key] = seen = Seen(event, mono_ns)
        if self._unseen_floor is not None:
            self._unseen_floor.setdefault(key[2], key)
        if self.pending.pop(key, None) is not None:
            seen.confirmed = True
            self.confirmed += 1
        how = (
            "recovered into the journal"
            if event.source is Source.RECOVERED
            else "the session brought it after all"
        )
        self.breaks.end(id_of(brk.MISSING_HERE, key), how, event.wall_ns)
        if self.listener is not None:
            self.listener.on_tape(key, event, mono_ns, replayed=replayed)
        if event.strategy == SLOT_FOREIGN and id_of(brk.FOREIGN, key) not in self._foreign_told:
            self._foreign_told[id_of(brk.FOREIGN, key)] = None
            self.foreign += 1
            text = f"{event.kind} of an order that is not ours: {event.text}".rstrip(": ")
            self._note(brk.FOREIGN, brk.EXPLAINED, key, event, text)

    def _look_for_order(self, event: OrderEvent) -> None:
        # Only where the tape was read from its beginning is what was not read not there: the time in a ClOrdID is a
        # clock's, and clocks jump.
        if not (self._knows_orders and self._knows_all) or event.order in self._orders:
            return
        if event.strategy < 0 or slot_of(event.order) is None:
            return
        self._orders[event.order] = None  # said once
        self.breaks.note(
            BreakNote(
                break_id=f"{brk.MISSING_ORDER}-{event.order}",
                kind=brk.MISSING_ORDER,
                status=brk.OPEN,
                wall_ns=event.wall_ns,
                exec_id=event.exec_id,
                cl_ord_id=event.cl_ord_id,
                symbol=event.symbol,
                text=f"an order of ours that the journal does not have: known from its {event.kind} only",
            )
        )

    def _on_denied(self, event: OrderEvent) -> None:
        if event.source is Source.OPERATOR:
            self.breaks.end(_denied_id(event), event.text, event.wall_ns, brk.EXPLAINED)
            return
        more, ours = QTY_TEXTS[event.missing_qty], QTY_TEXTS[event.cum_qty]
        self.breaks.note(
            BreakNote(
                break_id=_denied_id(event),
                kind=brk.DIFFERENT,
                status=brk.OPEN,
                wall_ns=event.wall_ns,
                cl_ord_id=event.cl_ord_id,
                symbol=event.symbol,
                text=f"by CumQty {more} more than our {ours} were filled: {event.text}",
            )
        )

    def _on_position(self, event: OrderEvent) -> None:
        self.positions.on_position(event)
        if event.source is not Source.OPERATOR or event.tape_no <= self.accepted_tape_no:
            return
        text = _accepted(event)
        for note in list(self.breaks.open.values()):
            if note.symbol == event.symbol:
                self.breaks.end(note.break_id, text, event.wall_ns, brk.EXPLAINED)
        for key, report in list(self.pending.items()):
            if report.symbol == event.symbol:
                del self.pending[key]
        self.positions.forget_venue(event.symbol)
        self._accept_gap(event)

    def _accept_gap(self, event: OrderEvent) -> None:
        self.accept_gap(event.tape_no, event.wall_ns, _accepted(event))

    def accept_gap(self, tape_no: int, wall_ns: int, text: str, who: str = "") -> list[str]:
        """Take an operator's word for what no sweep can prove, as of a place of the tape; return the gaps' texts."""
        gaps = [note for note in self.breaks.open.values() if note.kind == brk.GAP]
        for note in gaps:
            self._begin_anew(tape_no, wall_ns)
            self.breaks.end(note.break_id, text, wall_ns, brk.EXPLAINED, who)
        return [note.text for note in gaps]

    def _begin_anew(self, tape_no: int, wall_ns: int) -> None:
        # Everything before the operator's word is accepted as it is: it is never asked for again.
        self.accepted_tape_no = tape_no
        for index, marks in self.marks.items():
            self._newest_gone[index] = max(marks[-1], self._newest_gone.get(index, marks[-1]))
        for key in self.tape:
            self._newest_gone[key[2]] = max(key, self._newest_gone.get(key[2], key))
        self.marks = {}
        self.tape = {}
        self._own_ids = {}
        self._first_wall_ns = wall_ns
        self._knows_first = True
        self.begun_anew = True

    # ---- witness two: drop copy

    def plan(self, *, clean: bool) -> list[list[Begin]]:
        """Return what to ask with: for each exchange index the BeginExecIDs to try, the best first.

        Args:
            clean: order entry wants nothing: its session has been whole since the last sweep that satisfied it.
        """
        indexes = sorted({*self.marks, *(key[2] for key in self.tape)})
        plans = []
        for index in indexes:
            marks = self.marks.get(index)
            if marks:
                plans.append(self._from_marks(index, marks))
                continue
            first = min(key for key in self.tape if key[2] == index)
            # With a whole session since a proven beginning, the first report on the tape should be the first there is;
            # what the venue issued and did not send lies before it, but not before our beginning.
            whole = clean or bool(index)
            heard_ns = self.tape[first].event.wall_ns
            begins = [] if whole else [Begin(ORIGIN)]
            begins += guesses(first, heard_ns, self._first_wall_ns, whole=whole, sure=self._knows_first)
            plans.append([*begins, Begin(text_of(first), hole=not whole)])
        if not plans and self.submitted and not clean:
            plans.append([Begin(ORIGIN)])
        return plans

    def _from_marks(self, index: int, marks: list[Key]) -> list[Begin]:
        begins = []
        doubted = [
            key
            for note in self.breaks.open.values()
            if note.kind == brk.MISSING_THERE
            and (key := key_of(note.exec_id)) is not None
            and key[2] == index
            and note.break_id == id_of(brk.MISSING_THERE, key)
        ]
        if doubted and min(doubted) < marks[0]:
            begins.append(Begin(text_of(min(doubted))))
        begins.append(Begin(text_of(marks[0])))
        if len(marks) > 1:
            begins.append(Begin(text_of(marks[-1])))
        newer = [key for key in self.tape if key[2] == index and key > marks[-1]]
        if newer:
            begins.append(Begin(text_of(min(newer)), hole=True))
        return begins

    def compare(
        self, reports: dict[Key, ReportCopy], begins: list[str], began_ns: int, wall_ns: int
    ) -> list[ReportCopy]:
        """Compare an answer that is whole with the tape; return the reports that the tape lacks, in ExecID order.

        Args:
            reports: everything that the sweep showed.
            begins: the BeginExecIDs that were answered.
            began_ns: mono_ns at which the sweep began.
            wall_ns: wall clock, for the notes.
        """
        lowest = {key[2]: key for key in (key_of(text) for text in begins) if key is not None}
        missing = []
        for key in sorted(reports):
            if key < lowest.get(key[2], key) or key <= self._newest_gone.get(key[2], (-1, 0, 0)):
                continue
            report = reports[key]
            seen = self.tape.get(key)
            if seen is None:
                marks = self.marks.get(key[2])
                if not (marks and key < marks[0]) and not self._is_before_us(report):
                    missing.append(report)
                continue
            self._confirm(key, seen, report, wall_ns)
        self._find_missing_there(reports, lowest, began_ns, wall_ns)
        return missing

    def _is_before_us(self, report: ReportCopy) -> bool:
        # Asked from the very beginning, the venue also shows what was before us; the opening position holds it.
        if self.marks or not report.transact_ns or report.cl_ord_id in self._own_ids:
            return False
        if self._unseen_floor is not None:  # what is ours may be from a part of the tape that we can't see
            return report.transact_ns < self._first_wall_ns and slot_of(report.cl_ord_id) is None
        return report.transact_ns < self._first_wall_ns - _CLOCKS_APART_NS or (
            report.transact_ns < self._first_wall_ns and slot_of(report.cl_ord_id) is None
        )

    def _confirm(self, key: Key, seen: Seen, report: ReportCopy, wall_ns: int) -> None:
        if not seen.confirmed:
            seen.confirmed = True
            self.confirmed += 1
        event = seen.event
        found = differences(report, event)
        if found.texts:
            self._note(brk.DIFFERENT, brk.OPEN, key, event, found.text, wall_ns, amount=found.money)
        else:
            self.breaks.end(id_of(brk.DIFFERENT, key), "both say the same now", wall_ns)
            if self.listener is not None:
                self.listener.on_shown(key, report, wall_ns)
        self.breaks.end(id_of(brk.MISSING_THERE, key), "drop copy shows it now", wall_ns)

    def _find_missing_there(
        self, reports: dict[Key, ReportCopy], lowest: dict[int, Key], began_ns: int, wall_ns: int
    ) -> None:
        for key, seen in self.tape.items():
            event = seen.event
            if (
                seen.confirmed
                or key in reports
                or event.source not in _BROUGHT
                or event.kind not in SHOWN_THERE
            ):
                continue
            if (
                key[2] in lowest
                and key >= lowest[key[2]]
                and began_ns - seen.seen_ns >= self.missing_there_ns
            ):
                text = f"the session brought this {event.kind}, drop copy does not show it"
                self._note(brk.MISSING_THERE, brk.OPEN, key, event, text, wall_ns)

    def recover(
        self, missing: list[ReportCopy], wall_ns: int, witness: str = "drop copy"
    ) -> list[ReportCopy]:
        """Note that order entry is given these reports, and return those that it is given for the first time.

        What may be on the part of the tape that we can't see is no break: order entry, which sees it, takes it or has it.
        """
        fresh = []
        for report in missing:
            key = key_of(report.exec_id)
            assert key is not None, "compare returns only what has a key"
            floor = self._unseen_floor
            if floor is not None and (key[2] not in floor or key < floor[key[2]]):
                self._covered[key] = None
                continue
            if key not in self.pending:
                self.recovered += 1
                fresh.append(report)
            self.pending[key] = report
            text = f"{witness} shows this {EXEC_TYPES.get(report.exec_type, report.exec_type)}, the tape does not have it"
            self.breaks.note(
                BreakNote(
                    break_id=id_of(brk.MISSING_HERE, key),
                    kind=brk.MISSING_HERE,
                    status=brk.OPEN,
                    wall_ns=wall_ns,
                    exec_id=report.exec_id,
                    cl_ord_id=report.cl_ord_id,
                    symbol=report.symbol,
                    text=text,
                )
            )
        return fresh

    def contradicted(self, exec_ids: list[str], wall_ns: int) -> None:
        """Note ExecIDs that drop copy showed twice in one answer with different content."""
        for exec_id in exec_ids:
            key = key_of(exec_id)
            if key is not None:
                note = BreakNote(
                    break_id=id_of(brk.DUPLICATE, key),
                    kind=brk.DUPLICATE,
                    status=brk.OPEN,
                    wall_ns=wall_ns,
                    exec_id=exec_id,
                    text="drop copy shows it twice in one answer, with different content",
                )
                self.breaks.note(note)

    def advance(self, reports: dict[Key, ReportCopy]) -> bool:
        """Move the watermark over what is confirmed now and forget what is past; True when it moved."""
        blockers: dict[int, Key] = {}
        for key, seen in self.tape.items():
            if not seen.confirmed and seen.event.kind in SHOWN_THERE and not self._is_break(key, seen):
                blockers[key[2]] = min(key, blockers.get(key[2], key))
        for key in self.pending:
            blockers[key[2]] = min(key, blockers.get(key[2], key))
        moved = False
        for index in sorted({key[2] for key in reports}):
            blocker = blockers.get(index)
            marks = self.marks.get(index, [])
            held = dict.fromkeys(marks)
            for key in reports:
                if (
                    key[2] == index
                    and (key in self.tape or key in self._covered)
                    and (blocker is None or key < blocker)
                ):
                    held[key] = None
            if not held:
                continue
            kept = sorted(held)[-(self.overlap + 1) :]
            moved = moved or kept != marks
            self.marks[index] = kept
        if moved:
            self._forget()
        return moved

    def _is_break(self, key: Key, seen: Seen) -> bool:
        return seen.event.source in _BROUGHT and self.breaks.is_noted(id_of(brk.MISSING_THERE, key))

    def _forget(self) -> None:
        first = {index: marks[0] for index, marks in self.marks.items()}
        self.tape = {
            key: seen
            for key, seen in self.tape.items()
            if key[2] not in first
            or key >= first[key[2]]
            or (not seen.confirmed and self._is_break(key, seen))  # still asked for, so that it can close
        }
        self._foreign_told = {
            id_of(brk.FOREIGN, key): None
            for key, seen in self.tape.items()
            if seen.event.strategy == SLOT_FOREIGN
        }
        self._own_ids = {}
        self._unseen_floor = None
        self._covered = {}
        if self.listener is not None:
            self.listener.forget_before(first)

    def _open(self, kind: str, key: Key, event: OrderEvent, text: str) -> None:
        self._note(kind, brk.OPEN, key, event, text)

    def _note(
        self,
        kind: str,
        status: str,
        key: Key,
        event: OrderEvent,
        text: str,
        wall_ns: int = 0,
        amount: int = -1,
    ) -> None:
        self.breaks.note(
            BreakNote(
                break_id=id_of(kind, key),
                kind=kind,
                status=status,
                wall_ns=wall_ns or event.wall_ns,
                exec_id=text_of(key),
                cl_ord_id=event.cl_ord_id,
                symbol=event.symbol,
                text=text,
                amount=amount,
                severity=brk.INFO if kind == brk.FOREIGN else "",
            )
        )
