"""Witness three: a listener session (20126=Y), a live stream of the account's reports on a key of its own. Pure.

It is joined with the tape by ExecID as drop copy is, but sees everything at once, rejects too, and can be asked nothing:

* what it heard and the tape does not have `GRACE_NS` later (the tape being caught up) is **missing here**, and is given
  to order entry like what a sweep finds;
* what the tape has and it did not hear within `missing_there_ns` is **missing there**, as long as its session was up,
  without a gap, since before the report; a report of the time without it says nothing, nor does one that is read late;
* what both have is compared field by field; what drop copy shows as well, with that, too;
* the same ExecID twice with other content is a **duplicate**; twice with the same content is what a network does.

Its breaks end with `-listener`, so that they never stand for the ones between the tape and drop copy.
"""

from itertools import islice
from typing import Final

from engine.common.clock import SECOND
from engine.drop_copy import breaks as brk
from engine.drop_copy.breaks import Breaks, id_of
from engine.drop_copy.differences import SHOWN_THERE, Differences, between_reports, differences
from engine.drop_copy.keys import Key, key_of, text_of
from engine.messages.executions import EventKind, OrderEvent, ReportCopy, Source
from engine.messages.reconciliation import BreakNote

NAME: Final = "listener"
GRACE_NS: Final = SECOND
HEARD_MAX: Final = 100_000
_REJECTED: Final = "8"
_BEFORE_LOGON_NS: Final = (
    SECOND  # what the order session brought so shortly before its Logon is not expected of it
)


class ListenerWitness:
    """What the listener heard, and what it should have heard.

    Args:
        breaks: where differences are noted. missing_there_ns: age at which what it did not hear is a break.

    Attributes:
        heard: newest reports by key. count: how many it heard, repetitions apart. repeated: how often one came again.
    """

    def __init__(self, breaks: Breaks, missing_there_ns: int) -> None:
        self.heard: dict[Key, ReportCopy] = {}
        self.count = 0
        self.repeated = 0
        self._breaks = breaks
        self._missing_there_ns = missing_there_ns
        self._up_ns: int | None = None
        self._unmatched: dict[Key, int] = {}  # heard, not on the tape: since when
        self._expected: dict[Key, tuple[OrderEvent, int]] = {}  # on the tape, not heard

    # ---- its session

    def up(self, mono_ns: int) -> None:
        """Its session is logged on: from now on it should hear everything."""
        self._up_ns = mono_ns

    def down(self) -> None:
        """Its session is lost: what it did not hear yet it may never."""
        self._up_ns = None
        self._expected.clear()

    def on_report(self, report: ReportCopy, seen: OrderEvent | None, mono_ns: int, wall_ns: int) -> None:
        """Take a report that it brought; `seen`: the event that the tape has under its ExecID."""
        key = key_of(report.exec_id)
        if key is None:
            return
        earlier = self.heard.get(key)
        if earlier is not None:
            self.repeated += 1
            found = between_reports(earlier, report, ("first", "then"))
            if found.texts:
                text = f"the listener brought it twice, with different content: {found.text}"
                self._note(brk.DUPLICATE, key, report.symbol, report.cl_ord_id, text, wall_ns)
            return
        self.count += 1
        self.heard[key] = report
        if len(self.heard) > HEARD_MAX:
            del self.heard[next(iter(self.heard))]
        self._expected.pop(key, None)
        if seen is not None:
            self._compare(key, report, seen, wall_ns)
        elif report.exec_type != _REJECTED:
            self._unmatched[key] = mono_ns
        self._breaks.end(id_of(brk.MISSING_THERE, key, NAME), "the listener brought it after all", wall_ns)

    # ---- the other witnesses

    def on_tape(self, key: Key, event: OrderEvent, mono_ns: int, *, replayed: bool = False) -> None:
        """Take a report that is on the tape for the first time.

        replayed: it is read behind a hole, so that its session may have been away when it happened.
        """
        self._unmatched.pop(key, None)
        report = self.heard.get(key)
        if report is not None:
            self._compare(key, report, event, event.wall_ns)
        elif (
            self._up_ns is not None
            and not replayed
            and mono_ns - self._up_ns >= _BEFORE_LOGON_NS
            and event.source is Source.SESSION
            and event.kind in SHOWN_THERE
        ):
            self._expected[key] = (event, mono_ns)

    def on_shown(self, key: Key, shown: ReportCopy, wall_ns: int) -> None:
        """Take what drop copy shows under an ExecID that both witnesses of ours agree about."""
        report = self.heard.get(key)
        if report is None or id_of(brk.DIFFERENT, key, NAME) in self._breaks.open:
            return
        found = between_reports(report, shown, ("listener", "drop copy"))
        if found.texts:
            self._differs(key, report, found, wall_ns)

    def _compare(self, key: Key, report: ReportCopy, event: OrderEvent, wall_ns: int) -> None:
        if event.kind is EventKind.REJECTED and report.exec_type == _REJECTED:
            return
        found = differences(report, event, NAME)
        if found.texts:
            self._differs(key, report, found, wall_ns)

    def _differs(self, key: Key, report: ReportCopy, found: Differences, wall_ns: int) -> None:
        self._note(
            brk.DIFFERENT, key, report.symbol, report.cl_ord_id, found.text, wall_ns, amount=found.money
        )

    # ---- time

    def missing_here(self, mono_ns: int) -> list[Key]:
        """Return what it heard and the tape should have by now, in ExecID order."""
        return sorted(key for key, since in self._unmatched.items() if mono_ns - since >= GRACE_NS)

    def given(self, keys: list[Key]) -> None:
        """Note that order entry was given these: nothing more is to be done here about them."""
        for key in keys:
            self._unmatched.pop(key, None)

    def find_missing_there(self, mono_ns: int, wall_ns: int) -> None:
        """Note what it should have heard by now."""
        late = []
        for key, (_, since) in self._expected.items():
            if mono_ns - since < self._missing_there_ns:
                break
            late.append(key)
        for key in late:
            event, _ = self._expected.pop(key)
            text = f"the session brought this {event.kind}, the listener did not"
            self._note(brk.MISSING_THERE, key, event.symbol, event.cl_ord_id, text, wall_ns)

    def due(self, mono_ns: int) -> int | None:
        """mono_ns at which something may be due, or None.

        What is due already waits for a whole tape, and each message of the tape is a step anyway.
        """
        due = [since + self._missing_there_ns for _, since in islice(self._expected.values(), 1)]
        due += [since + GRACE_NS for since in islice(self._unmatched.values(), 1)]
        return min((at_ns for at_ns in due if at_ns > mono_ns), default=None)

    def forget_before(self, first: dict[int, Key]) -> None:
        """Forget what lies before what is still compared: the oldest mark of each exchange index."""
        self.heard = {
            key: report for key, report in self.heard.items() if key >= first.get(key[2], (-1, 0, 0))
        }

    def _note(
        self, kind: str, key: Key, symbol: str, cl_ord_id: str, text: str, wall_ns: int, *, amount: int = -1
    ) -> None:
        self._breaks.note(
            BreakNote(
                break_id=id_of(kind, key, NAME),
                kind=kind,
                status=brk.OPEN,
                wall_ns=wall_ns,
                exec_id=text_of(key),
                cl_ord_id=cl_ord_id,
                symbol=symbol,
                text=text,
                amount=amount,
            )
        )
