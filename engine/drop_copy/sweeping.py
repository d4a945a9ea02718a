"""The sweeps of drop copy: when one begins, what becomes of it, and what order entry is told.

A sweep is due when order entry wants one, after every Logon of ours, every `sweep_s`, when something asked for it
(`soon`), and once more at the end. `SweepDone(complete=True)` says: everything from the watermark to the latest was
shown, the count was right, no gap is open. What is less is said with complete=False and a reason.
"""

from collections.abc import Callable
from typing import Final

from engine.common.actor import Outbox
from engine.common.clock import SECOND, Now
from engine.config import Config
from engine.drop_copy.gaps import NOT_ENABLED, Gaps
from engine.drop_copy.queries import BEGIN_TOO_SMALL, EventResendQuery, QueryState
from engine.drop_copy.reconciler import Reconciler
from engine.drop_copy.records import SweepEnded, WatermarkMoved
from engine.drop_copy.sweep import TAPE_TIMEOUT_NS, Phase, Sweep, request_interval_ns
from engine.drop_copy.tape import TapeFollower
from engine.drop_copy.wants import LOGGED_ON, Wants
from engine.kalshi.codec import encode_body
from engine.kalshi.gateways import GatewayClient
from engine.messages.executions import RecoveredReports, ReportCopy, SweepDone
from engine.messages.reconciliation import TOPIC_RECOVERED, RecoveredNote

WAY: Final = "drop_copy"
PENDING_NS: Final = SECOND  # another sweep while something recovered isn't on the tape
RECOVERED_MAX: Final = 500  # reports in one message


class Sweeper:
    """Attributes:
    sweep: in progress, or None. sweeps: begun so far, over all runs. detail: what the last one came to.
    next_ns, not_before_ns: mono_ns at which the next one is due by time, and before which none may begin.
    first_done: what this life must prove before anything trades is proven. final_done: the last one is over.
    confirmed_wall_ns: when the last sweep began that left nothing unproven, or an operator stood for it.
    """

    def __init__(
        self,
        config: Config,
        out: Outbox,
        gateway: GatewayClient,
        tape: TapeFollower,
        reconciler: Reconciler,
        gaps: Gaps,
        publish_breaks: Callable[[], None],
    ) -> None:
        self.out = out
        self.gateway = gateway
        self.tape = tape
        self.reconciler = reconciler
        self.gaps = gaps
        self.wants = Wants()
        self.sweep: Sweep | None = None
        self.sweeps = 0
        self.detail = ""
        self.next_ns = 0
        self.not_before_ns = 0
        self.first_done = False
        self.final_done = False
        self.confirmed_wall_ns = 0
        self._publish_breaks = publish_breaks
        self._sweep_ns = config.reconciliation.sweep_s * SECOND
        self._interval_ns = request_interval_ns(config.rate)
        self._request_ns = 0
        self._logons_swept = 0
        self._one_witness = (
            -1
        )  # the Logon of order entry since which an operator knows that drop copy is not there

    def step(self, now: Now, *, final: bool) -> None:
        """Go on with the sweep in progress, or begin one that is due; `final`: the engine ends, sweep once more."""
        if self.sweep is not None:
            self._advance(self.sweep, now)
        elif self._is_due(now, final):
            self._begin(now, final)

    def soon(self, mono_ns: int) -> None:
        """Have the next sweep begin by then."""
        self.next_ns = min(self.next_ns, mono_ns)

    def at_once(self, mono_ns: int) -> None:
        """Have the next sweep not wait for anything."""
        self.next_ns = self.not_before_ns = mono_ns

    def hold_off(self, mono_ns: int) -> None:
        """Give up the sweep in progress; what it gave away has not left. Try again in a while."""
        self.give_up()
        self.not_before_ns = mono_ns + self._sweep_ns
        self.wants.forget_answer()

    def give_up(self) -> None:
        """Let the sweep in progress be none: its number is given again."""
        if self.sweep is not None:
            self.sweep = None
            self.sweeps -= 1

    def begin_anew(self, now: Now) -> None:
        """Go on behind an operator's word for what was before."""
        self.wants.accepted = self.tape.beat.sweep_wanted if self.tape.beat is not None else 0
        self.not_before_ns = now.mono_ns
        self.first_done = True
        self._one_witness = self.wants.must
        self.confirmed_wall_ns = now.wall_ns  # by the operator's word
        self.give_up()  # it asked from what is past now
        self._record_watermark(now.wall_ns)

    def deadline(self) -> int | None:
        """mono_ns at which the sweep in progress has something to do, or None."""
        if self.sweep is None:
            return None
        query = self.query
        if query is None:
            return self.sweep.barrier_ns + TAPE_TIMEOUT_NS
        if query.deadline is None:
            return None
        if query.state is QueryState.WAITING:
            return max(query.deadline, self._request_ns)
        return query.deadline

    @property
    def query(self) -> EventResendQuery | None:
        """The query in progress, or None."""
        sweep = self.sweep
        return sweep.query if sweep is not None and sweep.phase is Phase.QUERY else None

    @property
    def proven_until_ns(self) -> int:
        """Wall clock up to which everything was compared, 0 before there was anything."""
        return self.confirmed_wall_ns or self.reconciler.first_wall_ns

    def text(self, mono_ns: int) -> str:
        """Say for a human what it waits for, or what the last sweep came to."""
        query = self.query
        return (query.waiting_text(mono_ns) if query is not None else "") or self.detail

    def is_through(self, mono_ns: int) -> bool:
        """Say whether the final sweep is done, none goes on, and order entry wants no other."""
        return self.final_done and self.sweep is None and not self.wants.is_wanted(self.tape.beat, mono_ns)

    def _is_due(self, now: Now, final: bool) -> bool:
        mono_ns = now.mono_ns
        if not self.gateway.logged_on or not self.tape.is_live(mono_ns) or mono_ns < self.not_before_ns:
            return False
        return (
            self.wants.is_wanted(self.tape.beat, mono_ns)
            or self._logons_swept != self.gateway.logons
            or mono_ns >= self.next_ns
            or (final and not self.final_done)
        )

    def _begin(self, now: Now, final: bool) -> None:
        beat = self.tape.beat
        assert beat is not None, "a live tape has a beat"
        wants = self.wants
        clean = not wants.is_wanted(beat, now.mono_ns) or beat.sweep_wanted <= wants.accepted
        whole = wants.proven == wants.must and not beat.unknown and beat.session == LOGGED_ON
        queries = [EventResendQuery(begins) for begins in self.reconciler.plan(clean=clean or whole)]
        self.sweeps += 1
        self.next_ns = now.mono_ns + self._sweep_ns
        self.sweep = Sweep(
            self.sweeps,
            beat.sweep_wanted,
            clean=clean,
            whole=whole,
            final=final,
            logons=self.gateway.logons,
            queries=queries,
            now=now,
        )
        self._advance(self.sweep, now)

    def _advance(self, sweep: Sweep, now: Now) -> None:
        if sweep.phase is Phase.QUERY:
            if self.gateway.logged_on and self.gateway.logons == sweep.logons:
                self._advance_query(sweep, now)
            else:
                self._fail(sweep, "the session was lost in the middle of a sweep", now)
        elif self.tape.caught_up_since(sweep.barrier_ns):
            self._compare(sweep, now)
        elif now.mono_ns >= sweep.barrier_ns + TAPE_TIMEOUT_NS:
            self._fail(sweep, "order entry is silent: there is no tape to compare with", now)

    def _advance_query(self, sweep: Sweep, now: Now) -> None:
        query = sweep.query
        query.on_deadline(now.mono_ns)
        if query.timed_out:
            self.gateway.reconnect("drop copy does not answer", now)
            self._fail(sweep, query.failure, now)
        elif query.state is QueryState.DONE:
            self.reconciler.contradicted(query.contradictions, now.wall_ns)
            sweep.next_query(now.mono_ns)
            self._advance(sweep, now)
        elif query.state is QueryState.FAILED:
            self._fail(sweep, query.failure, now, reason=query.reason)
        elif query.state is QueryState.WAITING and now.mono_ns >= max(query.not_before_ns, self._request_ns):
            msg_type, body = encode_body(query.request())
            self._request_ns = now.mono_ns + self._interval_ns
            query.sent(self.gateway.send(msg_type, body, now), now.mono_ns)

    def _compare(self, sweep: Sweep, now: Now) -> None:
        reconciler = self.reconciler
        if not sweep.queries:
            self._finish_empty(sweep, now)
            return
        missing = reconciler.compare(sweep.reports, sweep.begins, sweep.began.mono_ns, now.wall_ns)
        if missing and not sweep.settled:
            sweep.settle(now.mono_ns)
            return
        fresh = reconciler.recover(missing, now.wall_ns)
        if reconciler.advance(sweep.reports):
            self._record_watermark(sweep.began.wall_ns)
        hole = sweep.hole
        if hole and not sweep.clean:
            text = f"nothing before {hole} can be proven (the venue looks back 3 hours only)"
            self.gaps.open(hole, text, now.wall_ns, self.proven_until_ns, hole=True)
        elif not hole:
            self.gaps.prove("a sweep was complete", now.wall_ns)
        self._end(
            sweep, hole="" if not hole else f"only from {hole} on", missing=missing, now=now, fresh=fresh
        )

    def _finish_empty(self, sweep: Sweep, now: Now) -> None:
        # There was nothing to ask from when it began: is that still so, now that the tape is known to be whole?
        reconciler = self.reconciler
        if reconciler.plan(clean=sweep.clean or sweep.whole):
            self.give_up()
            self.next_ns = now.mono_ns
            return
        self.gaps.prove("nothing was executed", now.wall_ns)
        reason = "nothing executed yet"
        if reconciler.accepted_tape_no:
            reason = "nothing executed since an operator accepted what was before"
        elif reconciler.submitted:
            reason = "no execution has come yet"
        self._end(sweep, hole="", missing=[], fresh=[], now=now, reason=reason)

    # ---- ends of a sweep

    def _end(
        self,
        sweep: Sweep,
        *,
        hole: str,
        missing: list[ReportCopy],
        fresh: list[ReportCopy],
        now: Now,
        reason: str = "",
    ) -> None:
        gap = self.gaps.text
        complete = not hole and not gap
        if complete or sweep.clean:
            self.first_done = True
            self.confirmed_wall_ns = sweep.began.wall_ns
        if complete:
            if sweep.queries:
                self._one_witness = -1
            self.wants.answered(sweep.wanted, now.mono_ns)
        self.detail = reason or hole
        self._record_end(sweep, now, complete=complete, reason=gap or hole or reason, recovered=len(fresh))
        self.recover(missing, fresh, now)
        self.out.send(
            "oe.ask", SweepDone(wanted=sweep.wanted, complete=complete, reason=gap or hole or reason)
        )
        if self.reconciler.pending:
            self.next_ns = min(self.next_ns, now.mono_ns + PENDING_NS)
        if not complete:
            self.not_before_ns = now.mono_ns + min(self._sweep_ns, 5 * SECOND)

    def recover(self, missing: list[ReportCopy], fresh: list[ReportCopy], now: Now, way: str = WAY) -> None:
        """Give order entry what the tape lacks, and say what of it is found for the first time, and by which way."""
        notes = [
            RecoveredNote(
                wall_ns=now.wall_ns,
                exec_id=report.exec_id,
                cl_ord_id=report.cl_ord_id,
                symbol=report.symbol,
                exec_type=report.exec_type,
                way=way,
            )
            for report in fresh
        ]
        for note in notes:
            self.out.record(note, cl_ord_id=note.cl_ord_id)
        for start in range(0, len(missing), RECOVERED_MAX):
            self.out.send("oe.ask", RecoveredReports(reports=missing[start : start + RECOVERED_MAX]))
        for note in notes:
            self.out.send("dc.feed", note, topic=TOPIC_RECOVERED)
        if fresh:
            self.out.log(
                "warning",
                f"{len(fresh)} reports that the tape lacks were recovered, from {fresh[0].exec_id} on",
            )

    def _fail(self, sweep: Sweep, text: str, now: Now, reason: int = 0) -> None:
        quiet = sweep.clean and reason == BEGIN_TOO_SMALL
        self.not_before_ns = now.mono_ns + (
            self._sweep_ns if quiet or reason else min(self._sweep_ns, 5 * SECOND)
        )
        if quiet:
            # Nothing newer came by a session that was whole: there is nothing that could be compared.
            self.first_done = True
            self.confirmed_wall_ns = sweep.began.wall_ns
            text = f"quiet: the last execution {self.reconciler.watermark} is older than drop copy looks back"
        elif reason == NOT_ENABLED and self._one_witness == self.wants.must:
            # The operator's word stands for what an everyday sweep would show, until a session is lost again.
            self.wants.accepted = max(self.wants.accepted, sweep.wanted)
        elif not sweep.clean or reason == NOT_ENABLED:
            begin = sweep.begins[min(sweep.at, len(sweep.queries) - 1)] if sweep.queries else ""
            self.gaps.open(begin, text, now.wall_ns, self.proven_until_ns, reason=reason)
        elif text != self.detail:
            self.out.log("warning", f"a sweep failed: {text}")
        self.detail = text
        self._record_end(sweep, now, complete=False, reason=text, recovered=0)
        self.out.send("oe.ask", SweepDone(wanted=sweep.wanted, complete=False, reason=text))

    def _record_end(self, sweep: Sweep, now: Now, *, complete: bool, reason: str, recovered: int) -> None:
        self.sweep = None
        self._logons_swept = sweep.logons
        self.final_done = self.final_done or sweep.final
        self._publish_breaks()
        beat = self.tape.beat
        listener = self.reconciler.listener
        self.out.record(
            SweepEnded(
                no=sweep.no,
                began_ns=sweep.began.wall_ns,
                wall_ns=now.wall_ns,
                wanted=sweep.wanted,
                complete=complete,
                confirmed=self.confirmed_wall_ns == sweep.began.wall_ns,
                reason=reason,
                begins=sweep.begins,
                reports=len(sweep.reports),
                recovered=recovered,
                tape_no=self.tape.tape_no,
                order_journal_no=beat.journal_no if beat is not None else 0,
                order_journal_head=beat.journal_head if beat is not None else "",
                heard=listener.count if listener is not None else -1,
            )
        )

    def _record_watermark(self, wall_ns: int) -> None:
        reconciler = self.reconciler
        self.out.record(
            WatermarkMoved(
                wall_ns=wall_ns,
                marks=reconciler.mark_texts(),
                tape_no=self.tape.tape_no,
                tape_from=reconciler.tape_from(self.tape.tape_no),
                accepted_tape_no=reconciler.accepted_tape_no,
                confirmed=reconciler.confirmed,
                gone=reconciler.gone_texts(),
            )
        )
