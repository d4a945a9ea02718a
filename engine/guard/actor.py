"""The guard: the only way from a strategy's wish to an order, and the owner of the gate.

Intents come on `guard.orders`; what passes every control (`limits.py`) leaves as `Approved` on `oe.orders`; what does
not is answered with `Refused`. The guard follows the tape (`exposure.py`, `tape.py`), the tops of the books
(`markets.py`), the workers' beats (`workers.py`) and drop copy's status, and from them works out the gate (`gate.py`).

Rules that hold here:

* A worker speaks for its own slot only: the slot in a ClOrdID, the slot of an order it cancels, and its peer name must
  agree. Operators (`tool.*`) give operator's messages only, workers none but CancelAll of their own.
* Cancels pass in every state; they need a known open order of the same strategy, and tokens, nothing else.
* With every new epoch, and whenever our picture of the tape can't be mended by a replay, everything is taken over anew
  from order entry's snapshot. A reservation ends by a tape event, by NotAccepted, by an undelivered command, or by a
  snapshot made after order entry fenced its epoch; never by time.
* The journal has a latch before anybody hears of it. While the journal fails, latches and cancels go on unrecorded,
  new orders don't pass, and what was missed is recorded when it works again.
"""

from collections.abc import Callable
from typing import Any, Final

from engine.common.actor import Actor, Outbox, PeerEvent, Status
from engine.common.clock import MS, SECOND, Now
from engine.common.ids import ClOrdIDs
from engine.config import Config
from engine.errors import ConfigError
from engine.guard.breakers import Breakers
from engine.guard.commander import ORDERS, Commander
from engine.guard.desk import OPERATOR_TYPES, Desk, OperatorMessage
from engine.guard.doubts import Doubts
from engine.guard.exposure import Exposure
from engine.guard.feeds import Feeds
from engine.guard.flattening import Flattening
from engine.guard.following import Following
from engine.guard.gate import Gate, GateState
from engine.guard.groups import OrderGroups
from engine.guard.halting import Halting
from engine.guard.intake import Intake
from engine.guard.kill_switch import ALL, LatchScope
from engine.guard.limit_changes import LimitChanges
from engine.guard.limits import Breach, check_config, controls
from engine.guard.losses import Losses
from engine.guard.margin import Margin
from engine.guard.rate_limit import WriteBudget
from engine.guard.records import (
    DayOpened,
    EpochStarted,
    GapAccepted,
    GuardJournalEntry,
    LatchReleased,
    LatchSet,
    LimitSet,
    PeakSeen,
    PositionAccepted,
    digest,
)
from engine.guard.refusals import FEED, Refusals
from engine.guard.report import Report
from engine.guard.soft import SoftLevels
from engine.guard.waiting import Waiting
from engine.guard.workers import SILENT, Worker, Workers
from engine.messages.commands import (
    AcceptGap,
    Approved,
    CancelAll,
    CancelOrder,
    EpochAccepted,
    GroupAnswer,
    GuardBeat,
    MassCancel,
    NewOrder,
    NotAccepted,
    ReplaceOrder,
    WorkerBeat,
)
from engine.messages.decisions import TOPIC_STATUS
from engine.messages.executions import OrderEvent, OrdersSnapshot, TapeBeat, TapeReplay
from engine.messages.market_data import BookSnapshot, FeedBeat, MarketState, MarketUpdate, TopOfBook
from engine.messages.reconciliation import BreakNote, ReconciliationStatus, RecoveredNote
from engine.messages.topology import role_of

BEAT_NS: Final = 100 * MS
STATUS_NS: Final = 250 * MS
LATE_NS: Final = 200 * MS
FLOOD_OVER_NS: Final = SECOND


class Guard(Actor):
    """See the module.

    Args:
        config: the whole configuration.
        out: where effects go.
        ids: makes ClOrdIDs of slot 0, for cancels and flattening of the guard's own.

    Raises:
        ConfigError: the limits can't be held (`check_config`).
    """

    name = "guard"

    def __init__(self, config: Config, out: Outbox, ids: ClOrdIDs) -> None:
        super().__init__(out)
        problems = check_config(config)
        if problems:
            raise ConfigError("; ".join(problems))
        self.exposure = Exposure(config)
        self.budget = WriteBudget(config.rate)
        self.gate = Gate(config)
        self.doubts = Doubts(self.exposure)
        self.workers = Workers(config, self.exposure)
        self.refusals = Refusals(out)
        self.commander = Commander(out, self._record, self.exposure, self.budget, ids, config.risk)
        self.groups = OrderGroups(config, out, self.exposure, self.commander, self.budget)
        self.halting = Halting(
            config, out, self._record, self.exposure, self.commander, self.gate, self.workers, self.groups
        )
        exposure, commander, gate, halting = self.exposure, self.commander, self.gate, self.halting
        self.soft = SoftLevels(out, gate, config.risk.warn_percent, exposure.scopes)
        self.report = Report(
            exposure, commander, gate, halting, self.workers, self.refusals, self.groups, self.soft.warned
        )
        self.flattening = Flattening(out, self.exposure, self.commander, self.gate, self.halting, self.doubts)
        self.margin = Margin(config, self.exposure)
        self.losses = Losses(
            config, self._record, self.exposure, self.halting, self.workers, self.margin, self._settle
        )
        self.breakers = Breakers(config.risk.breakers, self.exposure.names)
        self.limits = LimitChanges(
            config, self.exposure, self.margin, self.budget, self._record, self.workers.soften, out.log
        )
        self.feeds = Feeds(out, self.exposure, self.gate, self.losses, self._settle)
        doubts, flattening, losses, breakers = self.doubts, self.flattening, self.losses, self.breakers
        self.following = Following(
            out,
            exposure,
            commander,
            gate,
            halting,
            doubts,
            flattening,
            losses,
            breakers,
            self.refusals,
            self._settle,
            self.groups,
        )
        self.tape = self.following.tape
        self.desk = Desk(
            out,
            self._record,
            exposure,
            commander,
            gate,
            halting,
            self.report,
            losses,
            breakers,
            self.limits,
            flattening,
            self.groups,
        )
        self.waiting = self.halting.waiting = Waiting(self.budget, self.refusals)
        self.intake = self._make_intake(config)
        self._by_peer = self.workers.by_peer
        self._unrecorded: list[GuardJournalEntry] = []  # what the journal could not take
        self.counters: dict[str, int] = dict.fromkeys(("malformed", "undelivered", "discarded"), 0)
        self._say_again = False
        self._beat_at = self._status_at = 0
        self._handlers = self._make_handlers()

    def _make_intake(self, config: Config) -> Intake:
        chain = controls(self.gate, self.budget, config.risk, self.groups, (self.margin,))
        return Intake(
            self.out,
            chain,
            self.exposure,
            self.commander,
            self.workers,
            self.refusals,
            self.desk,
            self.waiting,
            self.halting,
            self.gate.pauses,
            self.soft,
        )

    def _make_handlers(self) -> dict[type, Callable[[str, Any, Now], None]]:
        following, feeds = self.following, self.feeds
        return {
            **dict.fromkeys(OPERATOR_TYPES, self._on_operator),
            NewOrder: self.intake.new,
            ReplaceOrder: self.intake.replace,
            CancelOrder: self.intake.cancel,
            CancelAll: self._on_cancel_all,
            WorkerBeat: self._on_worker_beat,
            OrderEvent: following.on_event,
            TapeBeat: following.on_beat,
            TapeReplay: following.on_replay,
            OrdersSnapshot: following.on_snapshot,
            EpochAccepted: following.on_epoch_accepted,
            NotAccepted: following.on_not_accepted,
            GroupAnswer: self.groups.on_answer,
            TopOfBook: feeds.on_prices,
            BookSnapshot: feeds.on_prices,
            FeedBeat: feeds.on_beat,
            MarketState: feeds.on_market_state,
            ReconciliationStatus: self._on_reconciliation,
            BreakNote: self._on_note,
            RecoveredNote: self._on_note,
            MarketUpdate: self._on_note,
        }

    # -- life

    def replay(self, entry: Any) -> None:
        match entry:
            case EpochStarted():
                self.commander.epoch = max(self.commander.epoch, entry.epoch)
            case LatchSet() | LatchReleased():
                self.halting.kill.replay(entry)
            case GapAccepted():
                self.gate.accepted_gap = entry.gap
            case DayOpened() | PeakSeen():
                self.losses.replay(entry)
            case LimitSet():
                self.limits.replay(entry)
            case PositionAccepted():
                pass  # order entry journalled it too, and says it on the tape
            case _:
                raise AssertionError(f"{type(entry).__name__} is no entry of the guard's journal")

    def start(self, now: Now) -> None:
        self.losses.start(now)
        self.limits.start()
        self.budget.start(now.mono_ns)
        self.halting.show()
        for scope, latch in self.halting.kill.latches.items():
            self.out.log("alert", f"{self.halting.text(scope)} is still halted, by {latch.who}: {latch.why}")
            self.doubts.recall(scope.symbol, latch.why)
        self.commander.start_epoch("start", now)
        self.feeds.ask_books(now)
        self._beat_at = self._status_at = now.mono_ns + BEAT_NS
        self.deadline = now.mono_ns + BEAT_NS
        self._settle(now)

    def state_digest(self) -> str:
        """Return SHA-256 of the journalled state, hex: what a replay must give again."""
        latches = list(self.halting.kill.latches.items())
        limits = [(*key, entry.value, entry.was) for key, entry in self.limits.made.items()]
        return digest(
            self.commander.epoch,
            latches,
            self.gate.accepted_gap,
            list(self.losses.opened.items()),
            list(self.losses.peaks.items()),
            limits,
        )

    def quiesce(self, now: Now) -> None:
        """Close the gate for good; cancels still pass."""
        self.gate.stopping = True
        self.waiting.drop(ALL, "gate", "the engine stops", now)
        self._settle(now)
        self.quiesced = True

    def status(self, now: Now) -> Status:
        gate, exposure = self.gate, self.exposure
        metrics: dict[str, int | float] = {
            "approved": self.commander.approved,
            "refused": self.refusals.total,
            "open_orders": exposure.account.open_orders,
            "unacknowledged": exposure.account.unacknowledged,
            "reserved": len(exposure.reserved),
            "unknown": exposure.unknown,
            "unknown_ms": exposure.unknown_for_ns(now.wall_ns) // MS,
            "tokens": self.budget.available(now.mono_ns),
            "rate_limited": self.budget.emptied,
            "waiting": self.waiting.count,
            "tape_gaps": self.tape.gaps,
            "slot_violations": self.intake.slot_violations,
            **self.counters,
            **self.following.counters,
        }
        detail = gate.reasons[0] if gate.reasons else ""
        return Status(state=gate.state.value, detail=detail, metrics=metrics)

    def on_message(self, channel: str, peer: str, message: Any, now: Now) -> None:  # noqa: ARG002 - a type belongs to one channel
        self._handlers[type(message)](peer, message, now)

    def on_malformed(self, channel: str, peer: str, now: Now) -> None:  # noqa: ARG002 - only counted
        self.counters["malformed"] += 1

    def on_flood(self, channel: str, peer: str, discarded: int, now: Now) -> None:
        if channel != "guard.orders":
            return
        self.counters["discarded"] += discarded
        worker = self._by_peer.get(peer)
        if worker is None:
            return
        if not worker.discarded:
            why = f"strategy {worker.name} sends more messages than {worker.message_rate} a second"
            self.halting.halt(LatchScope(worker.slot), why, "guard", now)
            self._settle(now)
        worker.discarded += discarded
        worker.flood_ns = now.mono_ns

    def _answer_floods(self, now: Now) -> None:
        # One refusal for all that was dropped undecoded, once it is over.
        for worker in self._by_peer.values():
            if worker.discarded and now.mono_ns - worker.flood_ns > FLOOD_OVER_NS:
                text = f"{worker.discarded} messages were dropped: more than {worker.message_rate} a second"
                breach = Breach(
                    "message_rate", f"strategy {worker.name}", text, worker.message_rate, worker.discarded
                )
                worker.discarded = 0
                self.refusals.say(worker.peer, "", worker.slot, breach, now)

    def _record(self, entry: GuardJournalEntry) -> None:
        if self.gate.journal_problem:  # it would keep the batch, and the cancels in it, from leaving
            self._unrecorded.append(entry)
        else:
            self.out.record(entry)

    # -- operators and beats; orders go to the intake

    def _on_cancel_all(self, peer: str, intent: CancelAll, now: Now) -> None:
        if peer in self._by_peer:
            self.intake.cancel_all(peer, intent, now)
        else:
            self._on_operator(peer, intent, now)

    def _on_operator(self, peer: str, message: OperatorMessage, now: Now) -> None:
        if role_of(peer) != "tool":
            self.intake.refuse_stranger(peer, "", self._by_peer.get(peer), now)
            return
        self.desk.handle(peer, message, now)
        self._settle(now)

    def _on_worker_beat(self, peer: str, beat: WorkerBeat, now: Now) -> None:
        worker = self._by_peer.get(peer)
        if worker is None:
            self.intake.refuse_stranger(peer, "", None, now)
        elif worker.beat(now.mono_ns, hello=beat.hello):
            self.halting.tell(worker)

    # -- drop copy and doubts

    def _on_reconciliation(self, _peer: str, status: ReconciliationStatus, now: Now) -> None:
        self.gate.reconciliation = status
        self._settle(now)

    def _on_note(self, _peer: str, message: BreakNote | RecoveredNote | MarketUpdate, now: Now) -> None:
        """Breaks are counted in the status, recovered reports come on the tape, books as their tops."""

    def _judge_doubts(self, now: Now) -> None:
        recovering = self.gate.state in (GateState.STARTING, GateState.RECOVERING)
        for symbol, why in self.doubts.overdue(now.mono_ns, recovering=recovering):
            self.halting.halt(LatchScope(None, symbol), why, "guard", now)

    # -- time

    def on_deadline(self, now: Now) -> None:
        mono_ns = now.mono_ns
        if mono_ns - self._beat_at > LATE_NS:
            self._forgive(mono_ns - self._beat_at, mono_ns)
        if self._say_again:
            self._say_again = False
            self.halting.repeat(now)
        self.halting.run(now)
        self.flattening.run(now)
        self.waiting.run(now, self.intake.leave)
        if mono_ns >= self._beat_at:
            self._beat_at = mono_ns + BEAT_NS
            self._each_beat(now)
        if mono_ns >= self._status_at:
            self._status_at = mono_ns + STATUS_NS
            self._publish(now)
        self._set_deadline()

    def _set_deadline(self) -> None:
        work = (self.halting.next_ns, self.flattening.next_ns, self.waiting.next_ns)
        self.deadline = min(self._beat_at, self._status_at, *(ns for ns in work if ns is not None))

    def on_drained(self, now: Now) -> None:
        if self.waiting.count:
            self.waiting.run(now, self.intake.leave)
            self._set_deadline()
        elif self.halting.sweeps or self.flattening.next_ns is not None:  # may have begun
            self._set_deadline()

    def _forgive(self, late_ns: int, mono_ns: int) -> None:
        # We were not running: what waited for us in queues is not silence. Who was heard since was not heard later than now.
        gate = self.gate
        self.workers.forgive(late_ns, mono_ns)
        gate.order_entry_ns = min(mono_ns, gate.order_entry_ns + late_ns)
        gate.feed_ns = min(mono_ns, gate.feed_ns + late_ns)

    def _each_beat(self, now: Now) -> None:
        mono_ns = now.mono_ns
        self.commander.beat(mono_ns)
        self.budget.settle(mono_ns)
        self.following.on_time(now)
        for worker in self.workers.silent(mono_ns):
            self._worker_gone(worker, now)
        self.following.look_after_reservations(now)
        self._answer_floods(now)
        self.refusals.flush(now)
        if self.gate.tape_synced:
            self.losses.open_day(now)
            self.losses.check(now)
            self.margin.watch(self.out.log)
            self.soft.look(now)
        self._judge_doubts(now)
        self._settle(now)

    def _worker_gone(self, worker: Worker, now: Now) -> None:
        self.out.log("warning", f"worker {worker.name} is silent: no new orders of it pass")
        self.waiting.drop(LatchScope(worker.slot), "silent", "the worker is silent", now)
        if worker.cancel_on_exit:
            self.desk.sweep(LatchScope(worker.slot), f"worker {worker.name} is silent", now)

    def _settle(self, now: Now) -> None:
        # Work the gate out anew, and tell everybody when it changed.
        gate = self.gate
        self.following.mend(now)
        gate.own_unknown = self.exposure.unknown
        fresh_ns = gate.pauses.fresh_ns
        gate.live_markets = sum(
            m.usable and m.position_known and m.top_ns >= fresh_ns for m in self.exposure.markets.values()
        )
        before = gate.state
        turned = gate.update(now)
        if gate.pauses.due:
            self._after_pause(now)
        if turned:
            why = f": {gate.reasons[0]}" if gate.reasons else ""
            self.out.log("info", f"gate {before} -> {gate.state}{why}")
            self._publish(now)

    def _after_pause(self, now: Now) -> None:
        due, self.gate.pauses.due = self.gate.pauses.due, set()
        if "books" in due:
            self.feeds.ask_books(now)
        if "sweep" in due:
            self.desk.sweep(ALL, "the venue's maintenance begins", now)

    def _publish(self, now: Now) -> None:
        self.out.send(FEED, self.report.status(now), topic=TOPIC_STATUS)

    # -- peers and the journal

    def on_peer(self, channel: str, peer: str, event: PeerEvent, message: Any, now: Now) -> None:
        if channel == "guard.orders" and event is PeerEvent.GONE:
            worker = self._by_peer.get(peer)
            if worker is not None and worker.state != SILENT:
                worker.set_state(SILENT)
                self._worker_gone(worker, now)
        elif channel == ORDERS and event is PeerEvent.REFUSED:
            self._on_undelivered(message, now)
        elif channel == ORDERS and self.commander.accepted:
            self.following.new_epoch(f"order entry {event.value}", now)

    def _on_undelivered(self, message: Any, now: Now) -> None:
        self.counters["undelivered"] += 1
        if isinstance(message, Approved):
            request = self.exposure.requests.get(message.request.cl_ord_id)
            if request is not None and not request.seen and request.epoch == message.epoch:
                self.exposure.release(request)
                self.budget.returned(request.cl_ord_id)
                self.following.tell_lost(
                    request, "queue", "order entry's queue is full, or it isn't there", now
                )
            elif isinstance(message.request, MassCancel):
                self.budget.returned(message.request.cl_ord_id)
        elif isinstance(message, AcceptGap):
            self.out.log("alert", "the accepted gap did not reach order entry: say it again")
        elif not isinstance(message, GuardBeat):
            self._say_again = True  # a halt or a hello: it must arrive

    def on_halt_file(self, text: str | None, now: Now) -> None:
        self.halting.on_file(text, now)
        self._settle(now)
        self._set_deadline()

    def on_journal_failed(self, reason: str, now: Now) -> None:
        self.gate.journal_problem = reason or "unknown"
        self._say_again = True  # what the batch held has not left
        self._settle(now)

    def on_journal_ok(self, now: Now) -> None:
        if self.gate.journal_problem:
            self.gate.journal_problem = ""
            unrecorded, self._unrecorded = self._unrecorded, []
            for entry in unrecorded:
                self._record(entry)
            self._record(
                EpochStarted(epoch=self.commander.epoch, wall_ns=now.wall_ns, why="journal works again")
            )
        self._settle(now)
