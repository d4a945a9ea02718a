"""Drop copy: the actor that asks the venue what was executed and compares it with the tape.

It owns the KalshiDC session, follows the whole tape, and sweeps: after its first Logon and every later one, whenever
order entry wants it (`TapeBeat.sweep_wanted`), every `sweep_s`, soon after a position disagrees, and once more when the
engine quiesces. What the tape lacks goes to order entry as `RecoveredReports`, in ExecID order, then `SweepDone`.

Rules:

* `SweepDone(complete=True)` says: everything from the watermark to the latest was shown, the count was right, no gap is
  open. Order entry resolves unknown orders by it, so whatever is less is said with complete=False and a reason.
* A sweep that order entry wanted and that can't be completed opens a **gap**, loudly. A gap for want of an answer closes
  with the next complete sweep; one whose beginning is beyond the venue's window of three hours only by an operator
  (`arm --accept-gap`, seen here as a POSITION event by OPERATOR).
* When nothing was executed yet there is no ExecID to ask from. If the tape shows that nothing was ever sent either, that
  is complete: "nothing executed yet". Else it asks from `ORIGIN` (see `reconciler`), and a refusal is a gap.
* A watermark older than the window while order entry's session was whole and brought nothing newer is a quiet market,
  not a gap: the two witnesses have nothing left to compare, and `detail` says so.
* One request at a time, and no faster than drop copy's share of the Read bucket.
* Whatever a crash or a lost message undoes, the next sweep does again: recovering is idempotent by ExecID.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from engine.common.actor import Actor, LinkEvent, Outbox, PeerEvent, Status
from engine.common.clock import MS, SECOND, Now
from engine.config import Config
from engine.drop_copy import breaks as brk
from engine.drop_copy.keys import key_of
from engine.drop_copy.queries import BEGIN_TOO_SMALL, EventResendQuery, QueryState
from engine.drop_copy.reconciler import Reconciler
from engine.drop_copy.records import SweepEnded, WatermarkMoved
from engine.drop_copy.sweep import TAPE_TIMEOUT_NS, Phase, Sweep, request_interval_ns
from engine.drop_copy.tape import TapeFollower
from engine.fix.events import App, Event, PeerReject
from engine.fix.message import FixMessage
from engine.kalshi.codec import BadField, decode, encode_body
from engine.kalshi.gateways import GatewayClient
from engine.kalshi.hot import HOT
from engine.kalshi.messages import (
    BusinessMessageReject,
    EventResendComplete,
    EventResendReject,
    ExecutionReport,
)
from engine.messages.executions import (
    OrderEvent,
    OrdersSnapshot,
    RecoveredReports,
    ReportCopy,
    SweepDone,
    TapeBeat,
    TapeReplay,
)
from engine.messages.reconciliation import (
    TOPIC_BREAK,
    TOPIC_RECOVERED,
    TOPIC_STATUS,
    BreakNote,
    ReconciliationStatus,
    RecoveredNote,
)

LINK: Final = "drop_copy"
STATUS_NS: Final = 500 * MS
SOON_NS: Final = 100 * MS  # a sweep after a position disagreed
FIRST_REPORT_NS: Final = SECOND  # a sweep after the very first ExecID, to have a watermark early
PENDING_NS: Final = SECOND  # another sweep while something recovered isn't on the tape
ANSWERED_NS: Final = SECOND  # how long a SweepDone may take to show in the beat
WANTED_NS: Final = (
    2 * SECOND
)  # how long a sweep that no Logon asked for may take before we don't count as caught up
LOGGED_ON: Final = "logged on"
RECOVERED_MAX: Final = 500  # reports in one message
_EXECUTION_REPORT: Final = "8"
_HOLE: Final = "gap-hole-"


class DropCopy(Actor):
    """The second witness.

    Args:
        config: the engine's configuration.
        out: where effects go.
        sign: signs a Logon's text; None in a dry run.
        rng: random numbers in [0, 1) for reconnect back-off; None in a dry run.
    """

    name = "drop_copy"

    def __init__(
        self,
        config: Config,
        out: Outbox,
        sign: Callable[[bytes], str] | None,
        rng: Callable[[], float] | None,
    ) -> None:
        super().__init__(out)
        settings = config.reconciliation
        hot = {_EXECUTION_REPORT: HOT[_EXECUTION_REPORT]}
        self.gateway = GatewayClient(
            LINK, config.sessions.drop_copy, out, sign or _no_signature, rng or _no_jitter, hot=hot
        )
        self.tape = TapeFollower()
        self.reconciler = Reconciler(settings.overlap, settings.missing_there_s * SECOND)
        self.sweep: Sweep | None = None
        self.sweeps = 0
        self.detail = ""
        self._session = config.sessions.drop_copy.target_comp_id
        self._sweep_ns = settings.sweep_s * SECOND
        self._interval_ns = request_interval_ns(config.rate)
        self._shutdown_ns = config.engine.shutdown_s * SECOND // 2
        self._tape_from = 1
        self._wall_ns = 0  # of the replayed journal
        self._confirmed_wall_ns = 0
        self._first_done = False
        self._logons_swept = 0
        self._next_ns = 0
        self._not_before_ns = 0
        self._request_ns = 0
        self._status_ns = 0
        self._answered = (0, 0)  # wanted, mono_ns of the last complete SweepDone
        self._accepted_wanted = 0
        self._order_entry_up = False
        self._must = 0  # order entry's sweep_wanted as of its last Logon
        self._proven = -1  # the last such number that a complete sweep has reached
        self._wanted_ns: int | None = None  # since when it waits for a sweep
        self._final_by_ns: int | None = None
        self._final_done = False
        self._stopping = False
        self._unreadable = 0

    # ---- life

    def replay(self, entry: msgspec.Struct) -> None:
        if isinstance(entry, WatermarkMoved):
            self.reconciler.restore(entry)
            self._tape_from = entry.tape_from
        elif isinstance(entry, SweepEnded):
            self.sweeps = entry.no
            if entry.complete:
                self._confirmed_wall_ns = entry.began_ns
        elif isinstance(entry, BreakNote):
            self.reconciler.restore_note(entry)
        elif isinstance(entry, RecoveredNote):
            self.reconciler.recovered += 1

    def start(self, now: Now) -> None:
        self.tape.start(self._tape_from)
        self.gateway.start(now)
        self._step(now)

    def state_digest(self) -> str:
        """Return SHA-256 of the journalled state, hex: what a replay must give again."""
        reconciler = self.reconciler
        content = (
            reconciler.mark_texts(),
            reconciler.gone_texts(),
            reconciler.accepted_tape_no,
            reconciler.recovered,
            list(reconciler.breaks.open.values()),
            self.sweeps if self.sweep is None else self.sweeps - 1,
            self._confirmed_wall_ns,
        )
        return hashlib.sha256(msgspec.msgpack.encode(content)).hexdigest()

    def quiesce(self, now: Now) -> None:
        if self._final_by_ns is None:
            self._final_by_ns = now.mono_ns + self._shutdown_ns
        self._step(now)

    def stop(self, now: Now) -> None:
        self._stopping = True
        self.sweep = None
        self.gateway.stop(now)
        self._step(now)

    def on_journal_failed(self, reason: str, now: Now) -> None:
        # What this batch gave to order entry or the venue has not left: sweep again.
        self.out.log("alert", f"drop copy's journal can't be written, nothing is reconciled: {reason}")
        self.sweep = None
        self._not_before_ns = now.mono_ns + self._sweep_ns
        self._answered = (0, 0)
        self._set_deadline()

    def on_journal_ok(self, now: Now) -> None:
        self._not_before_ns = now.mono_ns
        self._next_ns = now.mono_ns
        self._step(now)

    # ---- inputs

    def on_message(self, channel: str, peer: str, message: Any, now: Now) -> None:  # noqa: ARG002
        if isinstance(message, OrderEvent):
            if self.tape.live(message):
                self._on_tape(message, now)
        elif isinstance(message, TapeBeat):
            self.tape.on_beat(message, now.mono_ns)
            self._watch_wanted(message, now)
        elif isinstance(message, TapeReplay):
            if message.strategy is None:
                for event in self.tape.replayed(message):
                    self._on_tape(event, now)
        elif isinstance(message, OrdersSnapshot) and message.strategy is None:
            self._on_snapshot(message)
        self._step(now)

    def on_peer(self, channel: str, peer: str, event: PeerEvent, message: Any, now: Now) -> None:  # noqa: ARG002
        self._step(now)  # a refused request is repeated by its timer, a refused recovery by the next sweep

    def on_link(self, link: str, event: LinkEvent, reason: str, now: Now) -> None:
        if link == LINK:
            self._on_events(self.gateway.on_link(event, reason, now), now)
        self._step(now)

    def on_bytes(self, link: str, data: bytes, now: Now) -> None:
        if link == LINK:
            self._on_events(self.gateway.on_bytes(data, now), now)
        self._step(now)

    def on_deadline(self, now: Now) -> None:
        due = self.gateway.deadline
        if due is not None and now.mono_ns >= due:
            self._on_events(self.gateway.on_deadline(now), now)
        self._step(now)

    def _on_snapshot(self, snapshot: OrdersSnapshot) -> None:
        unseen = snapshot.tape_no > self.tape.tape_no
        self.tape.snapshot(snapshot)
        if unseen:
            self.reconciler.unseen_before_here()
            self.out.log(
                "warning",
                f"the tape before number {self.tape.tape_no + 1} can't be read again; going on from there",
            )

    def _on_tape(self, event: OrderEvent, now: Now) -> None:
        reconciler = self.reconciler
        unmarked = not reconciler.tape and not reconciler.marks
        reconciler.on_event(event, now.mono_ns)
        if unmarked and reconciler.tape:
            self._next_ns = min(self._next_ns, now.mono_ns + FIRST_REPORT_NS)
        if reconciler.position_broke:
            reconciler.position_broke = False
            self._next_ns = min(self._next_ns, now.mono_ns + SOON_NS)
        if reconciler.begun_anew:
            reconciler.begun_anew = False
            self._accepted_wanted = self.tape.beat.sweep_wanted if self.tape.beat is not None else 0
            self._not_before_ns = now.mono_ns
            self.sweep = None  # it asked from what is past now
            self._record_watermark(now.wall_ns)

    def _on_events(self, events: Iterable[Event], now: Now) -> None:
        for event in events:
            if isinstance(event, App):
                self._on_application(event, now)
            elif isinstance(event, PeerReject) and self._query is not None:
                self._query.on_session_reject(event.ref_seq, event.text)

    @property
    def _query(self) -> EventResendQuery | None:
        sweep = self.sweep
        return sweep.query if sweep is not None and sweep.phase is Phase.QUERY else None

    def _on_application(self, event: App, now: Now) -> None:
        message = event.message
        if isinstance(message, FixMessage):
            try:
                message = decode(message)
            except BadField as error:
                self._unreadable += 1
                self.out.log(
                    "alert", f"{self._session}: a message of type {event.msg_type} can't be read: {error}"
                )
                return
        query = self._query
        if query is None:
            return  # the rest of an answer that was given up
        match message:
            case ExecutionReport():
                query.on_report(message, now.mono_ns)
            case EventResendComplete():
                query.on_complete(message, now.mono_ns)
            case EventResendReject():
                query.on_reject(message, now.mono_ns)
            case BusinessMessageReject():
                query.on_business_reject(message, now.mono_ns)
            case _:
                self.out.log(
                    "warning", f"{self._session}: a message of type {event.msg_type} has no place here"
                )

    # ---- steps

    def _step(self, now: Now) -> None:
        request = self.tape.ask(now.mono_ns)
        if request is not None and not self._stopping:
            self.out.send("oe.ask", request)
        if self.sweep is not None:
            self._advance(self.sweep, now)
        elif self._is_due(now):
            self._begin(now)
        self._publish_breaks()
        if now.mono_ns >= self._status_ns:
            self._status_ns = now.mono_ns + STATUS_NS
            self.out.send("dc.feed", self._reconciliation_status(now), topic=TOPIC_STATUS)
        self._finish_life(now)
        self._set_deadline()

    def _finish_life(self, now: Now) -> None:
        if self._final_by_ns is not None and not self.quiesced:
            if self._final_done and self.sweep is None and not self.reconciler.pending:
                self.quiesced = True
            elif now.mono_ns >= self._final_by_ns or self.gateway.failed:
                self.out.log(
                    "alert",
                    f"the last sweep could not be finished in time: {self.detail or self.gateway.state}",
                )
                self.quiesced = True
        if self._stopping and self.gateway.stopped:
            self.stopped = True

    def _set_deadline(self) -> None:
        others = (self.gateway.deadline, self.tape.deadline, None if self.quiesced else self._final_by_ns)
        due = [self._status_ns, *(deadline for deadline in others if deadline is not None)]
        if self.sweep is not None:
            query = self._query
            if query is None:
                due.append(self.sweep.barrier_ns + TAPE_TIMEOUT_NS)
            elif query.deadline is not None:
                due.append(
                    max(query.deadline, self._request_ns)
                    if query.state is QueryState.WAITING
                    else query.deadline
                )
        self.deadline = None if self.stopped else min(due)

    def _is_wanted(self, mono_ns: int) -> bool:
        # Order entry's own word, unless it has just been answered and the beat doesn't show that yet.
        beat = self.tape.beat
        if beat is None or beat.sweep_wanted <= beat.sweep_done:
            return False
        wanted, at_ns = self._answered
        return beat.sweep_wanted > wanted or mono_ns - at_ns >= ANSWERED_NS

    def _watch_wanted(self, beat: TapeBeat, now: Now) -> None:
        # What order entry wants after a Logon must be there before anything trades; what it wants because a cancel
        # crossed a fill is an everyday matter, and counts only when it takes too long.
        up = beat.session == LOGGED_ON
        if not up or not self._order_entry_up:
            self._must = beat.sweep_wanted
        self._must = max(
            self._must, beat.logon_sweep
        )  # a life of order entry may have begun and logged on unheard
        self._order_entry_up = up
        if not self._is_wanted(now.mono_ns):
            self._wanted_ns = None
        elif self._wanted_ns is None:
            self._wanted_ns = now.mono_ns

    def _is_satisfied(self, beat: TapeBeat, now: Now) -> bool:
        if not self._is_wanted(now.mono_ns):
            return True
        overdue = self._wanted_ns is None or now.mono_ns - self._wanted_ns >= WANTED_NS
        return not overdue and max(beat.sweep_done, self._answered[0]) >= self._must

    def _is_due(self, now: Now) -> bool:
        mono_ns = now.mono_ns
        if self._stopping or self.quiesced or not self.gateway.logged_on or not self.tape.is_live(mono_ns):
            return False
        if mono_ns < self._not_before_ns:
            return False
        return (
            self._is_wanted(mono_ns)
            or self._logons_swept != self.gateway.logons
            or mono_ns >= self._next_ns
            or (self._final_by_ns is not None and not self._final_done)
        )

    def _begin(self, now: Now) -> None:
        beat = self.tape.beat
        assert beat is not None, "a live tape has a beat"
        clean = not self._is_wanted(now.mono_ns) or beat.sweep_wanted <= self._accepted_wanted
        whole = self._proven == self._must and not beat.unknown and beat.session == LOGGED_ON
        queries = [EventResendQuery(begins) for begins in self.reconciler.plan(clean=clean or whole)]
        self.sweeps += 1
        self._next_ns = now.mono_ns + self._sweep_ns
        self.sweep = Sweep(
            self.sweeps,
            beat.sweep_wanted,
            clean=clean,
            whole=whole,
            final=self._final_by_ns is not None,
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
            self._open_gap(
                f"{_HOLE}{_dotted(hole)}",
                f"nothing before {hole} can be proven (the venue looks back 3 hours only)",
                now,
            )
        elif not hole:
            self._close_gap("a sweep was complete", now)
        self._end(
            sweep, hole="" if not hole else f"only from {hole} on", missing=missing, now=now, fresh=fresh
        )

    def _finish_empty(self, sweep: Sweep, now: Now) -> None:
        # There was nothing to ask from when it began: is that still so, now that the tape is known to be whole?
        reconciler = self.reconciler
        if reconciler.plan(clean=sweep.clean or sweep.whole):
            self.sweep = None
            self._next_ns = now.mono_ns
            return
        self._close_gap("nothing was executed", now)
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
        gap = self._gap()
        complete = not hole and not gap
        if complete or sweep.clean:
            self._first_done = True
            self._confirmed_wall_ns = sweep.began.wall_ns
        if complete:
            self._answered = (sweep.wanted, now.mono_ns)
            if sweep.wanted >= self._must:
                self._proven = self._must
        self.detail = reason or hole
        self._record_end(sweep, now, complete=complete, reason=gap or hole or reason, recovered=len(fresh))
        self._recover(missing, fresh, now)
        self.out.send(
            "oe.ask", SweepDone(wanted=sweep.wanted, complete=complete, reason=gap or hole or reason)
        )
        if self.reconciler.pending:
            self._next_ns = min(self._next_ns, now.mono_ns + PENDING_NS)
        if not complete:
            self._not_before_ns = now.mono_ns + min(self._sweep_ns, 5 * SECOND)

    def _recover(self, missing: list[ReportCopy], fresh: list[ReportCopy], now: Now) -> None:
        notes = [
            RecoveredNote(
                wall_ns=now.wall_ns,
                exec_id=report.exec_id,
                cl_ord_id=report.cl_ord_id,
                symbol=report.symbol,
                exec_type=report.exec_type,
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
        self._not_before_ns = now.mono_ns + (
            self._sweep_ns if quiet or reason else min(self._sweep_ns, 5 * SECOND)
        )
        if quiet:
            # Nothing newer came by a session that was whole: there is nothing that could be compared.
            self._first_done = True
            self._confirmed_wall_ns = sweep.began.wall_ns
            text = f"quiet: the last execution {self.reconciler.watermark} is older than drop copy looks back"
        elif not sweep.clean:
            begin = sweep.begins[min(sweep.at, len(sweep.queries) - 1)] if sweep.queries else ""
            self._open_gap(f"gap-{reason}-{_dotted(begin)}", text, now)
        elif text != self.detail:
            self.out.log("warning", f"a sweep failed: {text}")
        self.detail = text
        self._record_end(sweep, now, complete=False, reason=text, recovered=0)
        self.out.send("oe.ask", SweepDone(wanted=sweep.wanted, complete=False, reason=text))

    def _record_end(self, sweep: Sweep, now: Now, *, complete: bool, reason: str, recovered: int) -> None:
        self.sweep = None
        self._logons_swept = sweep.logons
        self._final_done = self._final_done or sweep.final
        self._publish_breaks()
        self.out.record(
            SweepEnded(
                no=sweep.no,
                began_ns=sweep.began.wall_ns,
                wall_ns=now.wall_ns,
                wanted=sweep.wanted,
                complete=complete,
                reason=reason,
                begins=sweep.begins,
                reports=len(sweep.reports),
                recovered=recovered,
                tape_no=self.tape.tape_no,
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

    # ---- gaps, breaks, status

    def _gap(self) -> str:
        return next((note.text for note in self.reconciler.breaks.open.values() if note.kind == brk.GAP), "")

    def _open_gap(self, break_id: str, text: str, now: Now) -> None:
        breaks = self.reconciler.breaks
        for note in list(breaks.open.values()):
            if note.kind == brk.GAP and note.break_id != break_id:
                if note.break_id.startswith(_HOLE) and not break_id.startswith(_HOLE):
                    return  # what is open is worse: this can't close before that
                breaks.end(note.break_id, f"now: {text}", now.wall_ns)
        breaks.note(
            BreakNote(break_id=break_id, kind=brk.GAP, status=brk.OPEN, wall_ns=now.wall_ns, text=text)
        )

    def _close_gap(self, text: str, now: Now) -> None:
        breaks = self.reconciler.breaks
        for note in list(breaks.open.values()):
            if note.kind == brk.GAP and not note.break_id.startswith(_HOLE):
                breaks.end(note.break_id, text, now.wall_ns)

    def _publish_breaks(self) -> None:
        for note in self.reconciler.breaks.take():
            self.out.record(note, cl_ord_id=note.cl_ord_id)
            self.out.send("dc.feed", note, topic=TOPIC_BREAK)
            if note.kind not in (brk.FOREIGN, brk.MISSING_HERE):
                level = "alert" if note.status == brk.OPEN else "info"
                about = f" {note.symbol} {note.exec_id}".rstrip()
                self.out.log(level, f"break {note.break_id} {note.status}{about}: {note.text}")

    def caught_up(self, now: Now) -> bool:
        """Say whether the sweep after order entry's last Logon is complete, all that it recovered is on the tape, and
        no later sweep that order entry wanted is overdue.
        """
        beat = self.tape.beat
        return (
            self._first_done
            and beat is not None
            and self._is_satisfied(beat, now)
            and not self.reconciler.pending
            and not self._gap()
        )

    def _reconciliation_status(self, now: Now) -> ReconciliationStatus:
        reconciler = self.reconciler
        return ReconciliationStatus(
            wall_ns=now.wall_ns,
            session=self.gateway.failed or self.gateway.state,
            caught_up=self.caught_up(now),
            watermark=reconciler.watermark,
            watermark_wall_ns=self._confirmed_wall_ns,
            sweeps=self.sweeps,
            confirmed=reconciler.confirmed,
            recovered=reconciler.recovered,
            foreign=reconciler.foreign,
            open_breaks=dict(reconciler.breaks.counts),
            gap=self._gap(),
            detail=self._detail(now),
            wanted=self.tape.beat.sweep_wanted if self.tape.beat is not None else 0,
        )

    def _detail(self, now: Now) -> str:
        query = self._query
        return (query.waiting_text(now.mono_ns) if query is not None else "") or self.detail

    def status(self, now: Now) -> Status:
        reconciler = self.reconciler
        if self.stopped:
            state = "STOPPED"
        elif self._stopping or self._final_by_ns is not None:
            state = "STOPPING"
        else:
            state = "READY" if self.caught_up(now) else "RECOVERING" if self.gateway.logons else "STARTING"
        age_ns = now.wall_ns - self._confirmed_wall_ns if self._confirmed_wall_ns else 0
        return Status(
            state=state,
            detail=self.gateway.failed or self._gap() or self._detail(now),
            sessions={self._session: self.gateway.state},
            metrics={
                "sweeps": self.sweeps,
                "confirmed": reconciler.confirmed,
                "recovered": reconciler.recovered,
                "foreign": reconciler.foreign,
                "breaks": len(reconciler.breaks.open),
                "watermark_age_ms": max(age_ns, 0) // MS,
                "unreadable": self._unreadable,
            },
        )


def _no_signature(_text: bytes) -> str:
    return ""


def _no_jitter() -> float:
    return 0.0


def _dotted(exec_id: str) -> str:
    key = key_of(exec_id)
    return ".".join(str(part) for part in (key if key is not None and key[2] else (key or ())[:2])) or "none"
