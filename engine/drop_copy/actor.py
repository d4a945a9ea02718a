"""Drop copy: the actor that asks the venue what was executed and compares it with the tape.

It owns the KalshiDC session, follows the whole tape, and sweeps: after its first Logon and every later one, whenever
order entry wants it (`TapeBeat.sweep_wanted`), every `sweep_s`, soon after a position disagrees, and once more when the
engine quiesces; also when the listener or market data came back, because a witness was away. What the tape lacks goes to order entry as `RecoveredReports`, in ExecID order, then `SweepDone`.

Rules:

* `SweepDone(complete=True)` says: everything from the watermark to the latest was shown, the count was right, no gap is
  open. Order entry resolves unknown orders by it, so whatever is less is said with complete=False and a reason.
* A sweep that order entry wanted and that can't be completed opens a **gap**, loudly (`gaps`). One that the venue will
  never prove ends only by an operator (`arm --accept-gap`, heard on `dc.ask` and, with positions, on the tape). Then
  what is newer counts as caught up, with one witness, and as not reconciled once `unreconciled_gate_s` is over.
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
from engine.common.fixed_point import QTY_DECIMALS, parse_fixed, parse_money
from engine.config import Config
from engine.drop_copy import breaks as brk
from engine.drop_copy.breaks import Tolerance
from engine.drop_copy.gaps import Gaps
from engine.drop_copy.listening import LINK as LISTENER
from engine.drop_copy.listening import Listening
from engine.drop_copy.operator import OperatorDesk
from engine.drop_copy.reading import message_of
from engine.drop_copy.reconciler import Reconciler
from engine.drop_copy.records import SweepEnded, WatermarkMoved
from engine.drop_copy.sweeping import PENDING_NS, Sweeper
from engine.drop_copy.tape import TapeFollower
from engine.fix.events import App, Event, PeerReject
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
    TapeBeat,
    TapeReplay,
)
from engine.messages.market_data import FeedState, MarketState
from engine.messages.reconciliation import (
    TOPIC_BREAK,
    TOPIC_STATUS,
    BreakNote,
    ReconciliationStatus,
    RecoveredNote,
)

LINK: Final = "drop_copy"
STATUS_NS: Final = 500 * MS
SOON_NS: Final = 100 * MS  # a sweep after a position disagreed
FIRST_REPORT_NS: Final = SECOND  # a sweep after the very first ExecID, to have a watermark early
_EXECUTION_REPORT: Final = "8"


class DropCopy(Actor):
    """The second witness.

    Args:
        config: the engine's configuration.
        out: where effects go.
        sign: signs a Logon's text; None in a dry run.
        rng: random numbers in [0, 1) for reconnect back-off; None in a dry run.
        sign_listener: signs the listener's Logons, where one is configured.
    """

    name = "drop_copy"

    def __init__(
        self,
        config: Config,
        out: Outbox,
        sign: Callable[[bytes], str] | None,
        rng: Callable[[], float] | None,
        sign_listener: Callable[[bytes], str] | None = None,
    ) -> None:
        super().__init__(out)
        settings = config.reconciliation
        hot = {_EXECUTION_REPORT: HOT[_EXECUTION_REPORT]}
        self.gateway = GatewayClient(
            LINK, config.sessions.drop_copy, out, sign or _no_signature, rng or _no_jitter, hot=hot
        )
        self.tape = TapeFollower()
        tolerance = Tolerance(
            parse_money(settings.tolerance), parse_fixed(settings.tolerance_qty, QTY_DECIMALS)
        )
        missing_there_ns = settings.missing_there_s * SECOND
        self.reconciler = Reconciler(settings.overlap, missing_there_ns, tolerance)
        self.gaps = Gaps(self.reconciler.breaks)
        self.operator = OperatorDesk(out, self.reconciler, self._accept_gap)
        self.listening: Listening | None = None
        if config.sessions.listener is not None:
            self.listening = Listening(
                config.sessions.listener,
                out,
                sign_listener or _no_signature,
                rng or _no_jitter,
                self.reconciler,
                missing_there_ns,
            )
        self.sweeper = Sweeper(
            config, out, self.gateway, self.tape, self.reconciler, self.gaps, self._publish_breaks
        )
        self._session = config.sessions.drop_copy.target_comp_id
        self._shutdown_ns = config.engine.shutdown_s * SECOND // 2
        self._tape_from = 1
        self._wall_ns = 0  # of the replayed journal
        self._status_ns = 0
        self._alarm_ns = settings.alarm_age_s * SECOND
        self._alarm = False
        self._final_by_ns: int | None = None
        self._stopping = False
        self._unreadable = 0

    # ---- life

    def replay(self, entry: msgspec.Struct) -> None:
        if isinstance(entry, WatermarkMoved):
            self.reconciler.restore(entry)
            self._tape_from = entry.tape_from
            if not entry.marks:  # an operator's word
                self.sweeper.confirmed_wall_ns = entry.wall_ns
        elif isinstance(entry, SweepEnded):
            self.sweeper.sweeps = entry.no
            if entry.complete or entry.confirmed:
                self.sweeper.confirmed_wall_ns = entry.began_ns
        elif isinstance(entry, BreakNote):
            self.reconciler.restore_note(entry)
        elif isinstance(entry, RecoveredNote):
            self.reconciler.recovered += 1

    def start(self, now: Now) -> None:
        self.tape.start(self._tape_from)
        self.gateway.start(now)
        if self.listening is not None:
            self.listening.gateway.start(now)
        self._step(now)

    def state_digest(self) -> str:
        """Return SHA-256 of the journalled state, hex: what a replay must give again."""
        reconciler, sweeper = self.reconciler, self.sweeper
        content = (
            reconciler.mark_texts(),
            reconciler.gone_texts(),
            reconciler.accepted_tape_no,
            reconciler.recovered,
            list(reconciler.breaks.open.values()),
            sweeper.sweeps if sweeper.sweep is None else sweeper.sweeps - 1,
            sweeper.confirmed_wall_ns,
        )
        return hashlib.sha256(msgspec.msgpack.encode(content)).hexdigest()

    def quiesce(self, now: Now) -> None:
        if self._final_by_ns is None:
            self._final_by_ns = now.mono_ns + self._shutdown_ns
        self._step(now)

    def stop(self, now: Now) -> None:
        self._stopping = True
        self.sweeper.give_up()
        self.gateway.stop(now)
        if self.listening is not None:
            self.listening.gateway.stop(now)
        self._step(now)

    def on_journal_failed(self, reason: str, now: Now) -> None:
        # What this batch gave to order entry or the venue has not left: sweep again.
        self.out.log("alert", f"drop copy's journal can't be written, nothing is reconciled: {reason}")
        self.sweeper.hold_off(now.mono_ns)
        self._set_deadline(now)

    def on_journal_ok(self, now: Now) -> None:
        self.sweeper.at_once(now.mono_ns)
        self._step(now)

    # ---- inputs

    def on_message(self, channel: str, peer: str, message: Any, now: Now) -> None:
        if channel == "dc.ask":
            self.operator.on_message(peer, message, now)
        elif isinstance(message, OrderEvent):
            if self.tape.live(message):
                self._on_tape(message, now)
        elif isinstance(message, TapeBeat):
            self.tape.on_beat(message, now.mono_ns)
            self.sweeper.wants.on_beat(message, now.mono_ns)
        elif isinstance(message, TapeReplay):
            if message.strategy is None:
                for event in self.tape.replayed(message):
                    self._on_tape(event, now, replayed=True)
        elif isinstance(message, OrdersSnapshot) and message.strategy is None:
            self._on_snapshot(message)
        elif isinstance(message, MarketState) and message.state is FeedState.STALE:
            self.sweeper.soon(now.mono_ns + SOON_NS)
        self._step(now)

    def on_peer(self, channel: str, peer: str, event: PeerEvent, message: Any, now: Now) -> None:  # noqa: ARG002
        self._step(now)  # a refused request is repeated by its timer, a refused recovery by the next sweep

    def on_link(self, link: str, event: LinkEvent, reason: str, now: Now) -> None:
        if link == LINK:
            self._on_events(self.gateway.on_link(event, reason, now), now)
        elif self.listening is not None and link == LISTENER:
            self.listening.on_link(event, reason, now)
        self._step(now)

    def on_bytes(self, link: str, data: bytes, now: Now) -> None:
        if link == LINK:
            self._on_events(self.gateway.on_bytes(data, now), now)
        elif self.listening is not None and link == LISTENER:
            self.listening.on_bytes(data, now)
        self._step(now)

    def on_deadline(self, now: Now) -> None:
        due = self.gateway.deadline
        if due is not None and now.mono_ns >= due:
            self._on_events(self.gateway.on_deadline(now), now)
        if self.listening is not None:
            self.listening.on_deadline(now)
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

    def _on_tape(self, event: OrderEvent, now: Now, *, replayed: bool = False) -> None:
        reconciler = self.reconciler
        unmarked = not reconciler.tape and not reconciler.marks
        reconciler.on_event(event, now.mono_ns, replayed=replayed)
        if unmarked and reconciler.tape:
            self.sweeper.soon(now.mono_ns + FIRST_REPORT_NS)
        if reconciler.positions.broke:
            reconciler.positions.broke = False
            self.sweeper.soon(now.mono_ns + SOON_NS)
        if reconciler.begun_anew:
            self._begin_anew(now)

    def _begin_anew(self, now: Now) -> None:
        self.reconciler.begun_anew = False
        self.sweeper.begin_anew(now)

    def _accept_gap(self, why: str, who: str, now: Now) -> list[str]:
        gaps = self.reconciler.accept_gap(
            self.tape.tape_no, now.wall_ns, f"accepted by an operator: {why}", who
        )
        if gaps:
            self._begin_anew(now)
        return gaps

    def _on_events(self, events: Iterable[Event], now: Now) -> None:
        for event in events:
            if isinstance(event, App):
                self._on_application(event, now)
            elif isinstance(event, PeerReject) and self.sweeper.query is not None:
                self.sweeper.query.on_session_reject(event.ref_seq, event.text)

    def _on_application(self, event: App, now: Now) -> None:
        message = message_of(event, self._session, self.out)
        if message is None:
            self._unreadable += 1
            return
        query = self.sweeper.query
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
        if self.listening is not None:
            self._listen(self.listening, now)
        if not self._stopping:
            self.sweeper.step(now, final=self._final_by_ns is not None)
        self._publish_breaks()
        if now.mono_ns >= self._status_ns:
            self._status_ns = now.mono_ns + STATUS_NS
            self._watch_age(now)
            self.out.send("dc.feed", self._reconciliation_status(now), topic=TOPIC_STATUS)
        self._finish_life(now)
        self._set_deadline(now)

    def _finish_life(self, now: Now) -> None:
        if self._final_by_ns is not None:
            # What is left resting goes on filling until order entry stops: it may want a sweep once more.
            done = self.sweeper.is_through(now.mono_ns) and not self.reconciler.pending
            late = now.mono_ns >= self._final_by_ns or bool(self.gateway.failed)
            if late and not (done or self.quiesced):
                self.out.log(
                    "alert",
                    f"the last sweep could not be finished in time: {self.sweeper.detail or self.gateway.state}",
                )
            self.quiesced = done or late
        listening = self.listening
        if self._stopping and self.gateway.stopped and (listening is None or listening.gateway.stopped):
            self.stopped = True

    def _set_deadline(self, now: Now) -> None:
        others = [self.gateway.deadline, self.tape.deadline, self.sweeper.deadline()]
        others.append(None if self.quiesced else self._final_by_ns)
        if self.listening is not None:
            others += [self.listening.gateway.deadline, self.listening.witness.due(now.mono_ns)]
        due = [self._status_ns, *(deadline for deadline in others if deadline is not None)]
        self.deadline = None if self.stopped else min(due)

    def _listen(self, listening: Listening, now: Now) -> None:
        # What it heard and a whole tape lacks is given to order entry as if a sweep had shown it.
        listening.watch(now)
        if listening.changed:
            listening.changed = False
            self.sweeper.soon(now.mono_ns + SOON_NS)
        witness, reconciler = listening.witness, self.reconciler
        missing = witness.missing_here(now.mono_ns)
        if missing and self.tape.is_live(now.mono_ns) and self.tape.caught_up_since(now.mono_ns - SECOND):
            reports = [witness.heard[key] for key in missing if key in witness.heard]
            witness.given(missing)
            fresh = reconciler.recover(reports, now.wall_ns, "the listener")
            self.sweeper.recover(reports, fresh, now, LISTENER)
            self.sweeper.soon(now.mono_ns + PENDING_NS)
        witness.find_missing_there(now.mono_ns, now.wall_ns)

    # ---- breaks, status

    @property
    def detail(self) -> str:
        """What the last sweep came to."""
        return self.sweeper.detail

    def _publish_breaks(self) -> None:
        for note in self.reconciler.breaks.take():
            self.out.record(note, cl_ord_id=note.cl_ord_id)
            self.out.send("dc.feed", note, topic=TOPIC_BREAK)
            if note.kind not in (brk.FOREIGN, brk.MISSING_HERE):
                level = "alert" if note.status == brk.OPEN else "info"
                about = " ".join(filter(None, (note.break_id, note.status, note.symbol, note.exec_id)))
                self.out.log(level, f"break {about}: {note.text}")

    def caught_up(self, now: Now) -> bool:
        """Say whether the sweep after order entry's last Logon is complete, all that it recovered is on the tape, and
        no later sweep that order entry wanted is overdue.
        """
        beat = self.tape.beat
        return (
            self.sweeper.first_done
            and beat is not None
            and self.sweeper.wants.is_satisfied(beat, now.mono_ns)
            and not self.reconciler.pending
            and not self.gaps.text
        )

    def _watch_age(self, now: Now) -> None:
        since_ns = self.sweeper.proven_until_ns
        late = bool(since_ns) and now.wall_ns - since_ns >= self._alarm_ns
        if late and not self._alarm:
            age_s = (now.wall_ns - since_ns) // SECOND
            self.out.log(
                "alert",
                f"nothing was reconciled for {age_s} s: {self.gaps.text or self.sweeper.text(now.mono_ns)}",
            )
        self._alarm = late

    def _sessions(self) -> dict[str, str]:
        sessions = {self._session: self.gateway.state}
        if self.listening is not None:
            sessions[self.listening.name] = self.listening.gateway.state
        return sessions

    def _reconciliation_status(self, now: Now) -> ReconciliationStatus:
        reconciler = self.reconciler
        return ReconciliationStatus(
            wall_ns=now.wall_ns,
            session=self.gateway.failed or self.gateway.state,
            caught_up=self.caught_up(now),
            watermark=reconciler.watermark,
            watermark_wall_ns=self.sweeper.confirmed_wall_ns,
            sweeps=self.sweeper.sweeps,
            confirmed=reconciler.confirmed,
            recovered=reconciler.recovered,
            foreign=reconciler.foreign,
            open_breaks=dict(reconciler.breaks.counts),
            gating=dict(reconciler.breaks.gating),
            alarm=self._alarm,
            listener=self.listening.state if self.listening is not None else "",
            gap=self.gaps.text,
            detail=self.sweeper.text(now.mono_ns),
            wanted=self.tape.beat.sweep_wanted if self.tape.beat is not None else 0,
        )

    def status(self, now: Now) -> Status:
        reconciler = self.reconciler
        if self.stopped:
            state = "STOPPED"
        elif self._stopping or self._final_by_ns is not None:
            state = "STOPPING"
        else:
            state = "READY" if self.caught_up(now) else "RECOVERING" if self.gateway.logons else "STARTING"
        age_ns = now.wall_ns - self.sweeper.confirmed_wall_ns if self.sweeper.confirmed_wall_ns else 0
        return Status(
            state=state,
            detail=self.gateway.failed or self.gaps.text or self.sweeper.text(now.mono_ns),
            sessions=self._sessions(),
            metrics={
                "sweeps": self.sweeper.sweeps,
                "confirmed": reconciler.confirmed,
                "recovered": reconciler.recovered,
                "foreign": reconciler.foreign,
                "breaks": len(reconciler.breaks.open),
                "watermark_age_ms": max(age_ns, 0) // MS,
                "unreadable": self._unreadable
                + (self.listening.unreadable if self.listening is not None else 0),
            },
        )


def _no_signature(_text: bytes) -> str:
    return ""


def _no_jitter() -> float:
    return 0.0
