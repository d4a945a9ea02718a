"""One EventResendRequest at a time, as a small state machine.

    WAITING --sent--> ASKED --U2, count right--> DONE
       ^                |---U3 1 or 2, 35=j 8, silence, wrong count--> WAITING with back-off, at most ATTEMPTS_MAX times
       |                |---U3 3--> WAITING with the next begin (a later one), if there is any
       +----------------+---U3 3 without another begin, U3 4, 5, other refusals--> FAILED, `degraded`

KalshiDC answers a request with the matching ExecutionReports and then EventResendComplete (venue.md section 6). The
reports carry no reference to the request, U2 and U3 do (RefSeqNum): so only one request may be open, and when the end
of an older one comes late (after we gave it up), everything gathered up to then was its answer and is thrown away.

A begin that is a guess is made better: between the last that was refused as too small and the one that was answered lies
where the venue's window begins, and halving finds it. The last whole answer counts.

The count in U2 must equal the number of different ExecIDs that came: a report that came twice can't stand in for one
that did not come. An answer with a wrong count proves nothing and is asked for again.
"""

from enum import StrEnum
from typing import Final

from engine.common.clock import SECOND
from engine.common.fixed_point import format_fixed
from engine.drop_copy.keys import Key, key_of, text_of
from engine.kalshi.messages import (
    BusinessMessageReject,
    EventResendComplete,
    EventResendReject,
    EventResendRequest,
    ExecutionReport,
)
from engine.kalshi.texts import NO_ORDER_ID
from engine.messages.executions import ReportCopy

ANSWER_TIMEOUT_NS: Final = 10 * SECOND  # since the request or the last report of its answer
BACKOFF_FIRST_NS: Final = SECOND
BACKOFF_MAX_NS: Final = 30 * SECOND
ATTEMPTS_MAX: Final = 6
HALVINGS_MAX: Final = 40
_HALVED_REPORTS_MAX: Final = 300  # of an answer that is asked for again, longer

TOO_MANY_REQUESTS: Final = 1
SERVER_ERROR: Final = 2
BEGIN_TOO_SMALL: Final = 3
REASONS: Final = {
    TOO_MANY_REQUESTS: "too many requests",
    SERVER_ERROR: "server error at the venue",
    BEGIN_TOO_SMALL: "BeginExecID is older than the venue's window of 3 hours",
    4: "EndExecID too large",
    5: "drop copy is not enabled for this account: ask the venue to enable it",
}
_PENDING_TYPES: Final = frozenset(
    "A6E"
)  # PendingNew, PendingCancel, PendingReplace: never resent, never counted
RATE_LIMIT: Final = 8  # BusinessRejectReason(380)


class QueryState(StrEnum):
    """Where a query is."""

    WAITING = "waiting"
    ASKED = "asked"
    DONE = "done"
    FAILED = "failed"


class Begin:
    """A BeginExecID to ask with.

    Attributes:
        hole: what lies before it stays unproven if it is the one that is answered.
        guess: nobody knows whether there is anything: look for the beginning of the venue's window before it.
        all_from: a clock before which there is nothing of ours, -1 when not known: no hole is left by what begins there.
    """

    __slots__ = ("all_from", "exec_id", "guess", "hole")

    def __init__(self, exec_id: str, *, hole: bool = False, guess: bool = False, all_from: int = -1) -> None:
        self.exec_id = exec_id
        self.hole = hole
        self.guess = guess
        self.all_from = all_from


def report_copy(report: ExecutionReport) -> ReportCopy:
    """Return an ExecutionReport in the bus's units."""
    return ReportCopy(
        exec_id=report.exec_id,
        cl_ord_id=report.cl_ord_id,
        exec_type=report.exec_type,
        ord_status=report.ord_status,
        symbol=report.symbol,
        side=int(report.side) if report.side.isdigit() else 0,
        orig_cl_ord_id=report.orig_cl_ord_id,
        order_id="" if report.order_id == NO_ORDER_ID else report.order_id,
        price=report.price or 0,
        qty=report.order_qty,
        cum_qty=report.cum_qty,
        leaves_qty=report.leaves_qty,
        last_px=report.last_px or 0,
        last_qty=report.last_qty or 0,
        fee=report.misc_fee_amt or 0,
        collateral=report.collateral_amount_change or 0,
        long_qty=-1 if report.long_qty is None else report.long_qty,
        short_qty=-1 if report.short_qty is None else report.short_qty,
        aggressor=report.aggressor_indicator,
        trd_match_id=report.trd_match_id,
        reason=-1 if report.ord_rej_reason is None else report.ord_rej_reason,
        text=report.text,
        transact_ns=report.transact_time_ns or 0,
    )


class EventResendQuery:
    """One question to drop copy: everything from a BeginExecID to the latest.

    Args:
        begins: what to begin with, the best first; the next is taken when the venue says that one is too small.

    Attributes:
        reports: what was shown, by key; only good when DONE.
        contradictions: ExecIDs that came twice in one answer with different content.
        not_before_ns: mono_ns before which it must not be sent (WAITING).
        timed_out: the last attempt got no answer: the session deserves a new connection.
        degraded: FAILED for a reason that asking again does not mend.
    """

    def __init__(self, begins: list[Begin]) -> None:
        assert begins, "a query needs something to begin with"
        self.state = QueryState.WAITING
        self.reports: dict[Key, ReportCopy] = {}
        self.contradictions: list[str] = []
        self.attempts = 0
        self.not_before_ns = 0
        self.deadline_ns = 0
        self.failure = ""
        self.reason = 0
        self.timed_out = False
        self.degraded = False
        self._begins = begins
        self._at = 0
        self._ref_seq = 0
        self._waited_ns = BACKOFF_FIRST_NS
        self._refused: Key | None = None  # the last begin that was too small
        self._best: tuple[Begin, dict[Key, ReportCopy], list[str]] | None = None
        self._halvings = 0

    @property
    def begin(self) -> Begin:
        """The BeginExecID in use."""
        return self._begins[self._at]

    @property
    def deadline(self) -> int | None:
        """mono_ns at which something is due: sending (WAITING) or giving up (ASKED)."""
        if self.state is QueryState.WAITING:
            return self.not_before_ns
        return self.deadline_ns if self.state is QueryState.ASKED else None

    def request(self) -> EventResendRequest:
        """Return what to send; EndExecID is left out, so that a too large one can't be said (U3 reason 4)."""
        return EventResendRequest(begin_exec_id=self.begin.exec_id)

    def sent(self, seq: int, mono_ns: int) -> None:
        """Note that `request` left with this MsgSeqNum."""
        self.state = QueryState.ASKED
        self.attempts += 1
        self.timed_out = False
        self._ref_seq = seq
        self._clear()
        self.deadline_ns = mono_ns + ANSWER_TIMEOUT_NS

    def on_report(self, report: ExecutionReport, mono_ns: int) -> None:
        """Take a report of the answer; what has no key (`-1;-1`) counts for nothing."""
        if self.state is not QueryState.ASKED:
            return
        self.deadline_ns = mono_ns + ANSWER_TIMEOUT_NS
        key = key_of(report.exec_id)
        if key is None or report.exec_type in _PENDING_TYPES:
            return
        copy = report_copy(report)
        earlier = self.reports.setdefault(key, copy)
        if earlier is not copy and earlier != copy and report.exec_id not in self.contradictions:
            self.contradictions.append(report.exec_id)

    def on_complete(self, message: EventResendComplete, mono_ns: int) -> None:
        """Take U2: check that it ends our request, and its count."""
        if self.state is not QueryState.ASKED:
            return
        if message.ref_seq_num != self._ref_seq:
            self._clear()  # the late end of a request that was given up
            return
        if message.resend_event_count == len(self.reports):
            self._answered(mono_ns)
            return
        self._again(
            f"drop copy counts {message.resend_event_count} reports, {len(self.reports)} different ones came",
            mono_ns,
        )

    def on_reject(self, message: EventResendReject, mono_ns: int) -> None:
        """Take U3."""
        if self.state is not QueryState.ASKED:
            return
        if message.ref_seq_num != self._ref_seq:
            self._clear()
            return
        reason = message.event_resend_reject_reason
        self.reason = reason
        text = REASONS.get(reason, f"EventResendRejectReason(21004) {reason}")
        if reason in (TOO_MANY_REQUESTS, SERVER_ERROR):
            self._again(text, mono_ns)
        elif reason == BEGIN_TOO_SMALL and self._best is not None:
            self._refused = key_of(self.begin.exec_id)
            self._halve(mono_ns)
        elif reason == BEGIN_TOO_SMALL and self._at + 1 < len(self._begins):
            self._refused = key_of(self.begin.exec_id)
            self._at += 1
            self.attempts = 0
            self.state = QueryState.WAITING
            self.not_before_ns = mono_ns
        else:
            self._fail(f"{text} (BeginExecID {self.begin.exec_id})", degraded=True)

    def on_business_reject(self, message: BusinessMessageReject, mono_ns: int) -> None:
        """Take 35=j about our request: 380=8 is a matter of time, anything else is not."""
        if self.state is not QueryState.ASKED or message.ref_seq_num != self._ref_seq:
            return
        if message.business_reject_reason == RATE_LIMIT:
            self._again("rate limit exceeded", mono_ns)
        else:
            what = f"BusinessRejectReason(380) {message.business_reject_reason}"
            self._fail(f"drop copy refuses the request: {what} {message.text}".rstrip(), degraded=True)

    def on_session_reject(self, ref_seq: int, text: str) -> None:
        """Take 35=3 about our request."""
        if self.state is QueryState.ASKED and ref_seq == self._ref_seq:
            self._fail(f"drop copy refuses the request as malformed: {text}", degraded=True)

    def on_deadline(self, mono_ns: int) -> None:
        """Give up waiting for the answer when its time is over."""
        if self.state is QueryState.ASKED and mono_ns >= self.deadline_ns:
            self.timed_out = True
            self._again(f"no answer within {ANSWER_TIMEOUT_NS // SECOND} s", mono_ns)

    def _answered(self, mono_ns: int) -> None:
        key, refused = key_of(self.begin.exec_id), self._refused
        few = len(self.reports) <= _HALVED_REPORTS_MAX
        if self.begin.guess and few and key is not None and refused is not None and refused[2] == key[2]:
            self._best = (self.begin, self.reports, self.contradictions)
            self._halve(mono_ns)
        else:
            self.state = QueryState.DONE

    def _halve(self, mono_ns: int) -> None:
        assert self._best is not None, "there is an answer to be made better"
        high, low = key_of(self._best[0].exec_id), self._refused
        assert high is not None and low is not None, "both have been asked with"  # noqa: PT018
        middle = (high[0] + low[0]) // 2
        self._halvings += 1
        best = self._best[0]
        if middle == low[0] or self._halvings > HALVINGS_MAX:
            self._take_best()
            return
        hole = best.hole and middle > best.all_from
        self._begins = [Begin(text_of((middle, 0, high[2])), hole=hole, guess=True, all_from=best.all_from)]
        self._at = 0
        self.attempts = 0
        self.state = QueryState.WAITING
        self.not_before_ns = mono_ns

    def _take_best(self) -> None:
        assert self._best is not None, "there is an answer"
        begin, self.reports, self.contradictions = self._best
        self._begins, self._at = [begin], 0
        self.failure, self.reason = "", 0
        self.state = QueryState.DONE

    def _clear(self) -> None:
        self.reports = {}
        self.contradictions = []

    def _again(self, text: str, mono_ns: int) -> None:
        self.failure = text
        if self.attempts >= ATTEMPTS_MAX:
            self._fail(f"{text}, {self.attempts} times", degraded=False)
            return
        self.state = QueryState.WAITING
        self.not_before_ns = mono_ns + self._waited_ns
        self._waited_ns = min(2 * self._waited_ns, BACKOFF_MAX_NS)

    def _fail(self, text: str, *, degraded: bool) -> None:
        if self._best is not None:
            self._take_best()
            return
        self.state = QueryState.FAILED
        self.failure = text
        self.degraded = degraded

    def waiting_text(self, mono_ns: int) -> str:
        """Say for a human what it waits for."""
        if self.state is QueryState.ASKED:
            return f"asked from {self.begin.exec_id}, {len(self.reports)} reports so far"
        left = max(self.not_before_ns - mono_ns, 0)
        return (
            f"{self.failure}; asking again in {format_fixed(left // (SECOND // 10), 1)} s"
            if self.failure
            else ""
        )
