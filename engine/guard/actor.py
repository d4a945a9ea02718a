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
from engine.common.ids import SLOT_FOREIGN, SLOT_OPERATOR, ClOrdIDs
from engine.config import Config
from engine.errors import ConfigError
from engine.guard.commander import ORDERS, Commander
from engine.guard.desk import OPERATOR_TYPES, Desk, OperatorMessage
from engine.guard.doubts import Doubts
from engine.guard.exposure import SUBMITS, Exposure, Request
from engine.guard.flattening import Flattening
from engine.guard.gate import VENUE_PAUSE_NS, Gate, GateState
from engine.guard.halting import LOGGED_ON, Halting
from engine.guard.intake import Intake
from engine.guard.kill_switch import ALL, LatchScope
from engine.guard.limits import Breach, check_config, controls
from engine.guard.lines import Scope
from engine.guard.rate_limit import WriteBudget
from engine.guard.records import (
    DayOpened,
    EpochStarted,
    GapAccepted,
    GuardJournalEntry,
    LatchReleased,
    LatchSet,
    PositionAccepted,
    digest,
)
from engine.guard.refusals import FEED, Refusals
from engine.guard.report import Report
from engine.guard.tape import TapeFollower
from engine.guard.workers import SILENT, Worker, Workers
from engine.kalshi.texts import EXCHANGE_PAUSED, RATE_LIMIT_EXCEEDED, TRADING_PAUSED
from engine.messages.commands import (
    AcceptGap,
    Approved,
    CancelAll,
    CancelOrder,
    EpochAccepted,
    GuardBeat,
    NewOrder,
    NotAccepted,
    ReplaceOrder,
    WorkerBeat,
)
from engine.messages.decisions import TOPIC_STATUS
from engine.messages.executions import (
    EventKind,
    OrderEvent,
    OrdersSnapshot,
    SnapshotRequest,
    TapeBeat,
    TapeReplay,
    TapeRequest,
)
from engine.messages.market_data import (
    BookRequest,
    BookSnapshot,
    FeedBeat,
    FeedState,
    MarketState,
    MarketUpdate,
    TopOfBook,
)
from engine.messages.reconciliation import BreakNote, ReconciliationStatus, RecoveredNote
from engine.messages.topology import role_of

BEAT_NS: Final = 100 * MS
STATUS_NS: Final = 250 * MS
HELLO_AGAIN_NS: Final = 500 * MS
EPOCH_SETTLES_NS: Final = 300 * MS  # beats from before the acceptance may still arrive so long
RESERVATION_ASK_NS: Final = 500 * MS
RESERVATION_RESYNC_NS: Final = 2 * SECOND
BOOK_ASK_NS: Final = 2 * SECOND
LATE_NS: Final = 200 * MS
DAY_NS: Final = 86_400 * SECOND
ASK_ORDERS: Final = "oe.ask"
UNTOLD: Final = ("malformed", "duplicate")  # NotAccepted of a new order that the tape does not show
REFUSING: Final = frozenset(
    {EventKind.REJECTED, EventKind.NOT_SENT, EventKind.REPLACE_REJECTED, EventKind.CANCEL_REJECTED}
)


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
        self.tape = TapeFollower()
        self.doubts = Doubts(self.exposure)
        self.workers = Workers(config, self.exposure)
        self.refusals = Refusals(out)
        self.commander = Commander(out, self._record, self.exposure, self.budget, ids, config.risk)
        self.halting = Halting(
            config, out, self._record, self.exposure, self.commander, self.gate, self.workers
        )
        self.report = Report(
            self.exposure, self.commander, self.gate, self.halting.kill, self.workers, self.refusals
        )
        self.flattening = Flattening(out, self.exposure, self.commander, self.gate, self.halting, self.doubts)
        self.desk = Desk(
            out,
            self._record,
            self.exposure,
            self.commander,
            self.gate,
            self.halting,
            self.report,
            self._rebase,
            self.flattening,
        )
        chain = controls(self.gate, self.budget, config.risk)
        self.intake = Intake(
            out, chain, self.exposure, self.commander, self.workers, self.refusals, self.desk
        )
        self._by_peer = self.workers.by_peer
        self._losses: list[tuple[Scope, LatchScope]] = [
            (self.exposure.account, ALL),
            *((scope, LatchScope(None, symbol)) for symbol, scope in self.exposure.market_scopes.items()),
            *((self.exposure.strategies[slot], LatchScope(slot)) for slot in self.workers.by_slot),
        ]
        self.counters: dict[str, int] = dict.fromkeys(
            (
                "malformed",
                "reservations_queried",
                "resyncs",
                "fenced",
                "late",
                "undelivered",
            ),
            0,
        )
        self._opened: dict[tuple[int | None, str], int] = {}
        self._opened_day = self._day = -1
        self._accepted_tape_no = -1
        self._snapshot_asked_ns: int | None = None
        self._resync_ns: int | None = None
        self._feed = 0
        self._books_asked_ns = 0
        self._session = ""
        self._say_again = False
        self._beat_at = self._status_at = 0
        self._handlers = self._make_handlers()

    def _make_handlers(self) -> dict[type, Callable[[str, Any, Now], None]]:
        return {
            **dict.fromkeys(OPERATOR_TYPES, self._on_operator),
            NewOrder: self.intake.new,
            ReplaceOrder: self.intake.replace,
            CancelOrder: self.intake.cancel,
            CancelAll: self._on_cancel_all,
            WorkerBeat: self._on_worker_beat,
            OrderEvent: self._on_event,
            TapeBeat: self._on_tape_beat,
            TapeReplay: self._on_replay,
            OrdersSnapshot: self._on_snapshot,
            EpochAccepted: self._on_epoch_accepted,
            NotAccepted: self._on_not_accepted,
            TopOfBook: self._on_top,
            BookSnapshot: self._on_book,
            FeedBeat: self._on_feed_beat,
            MarketState: self._on_market_state,
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
            case DayOpened():
                if entry.day != self._opened_day:
                    self._opened_day = entry.day
                    self._opened.clear()
                self._opened[entry.strategy, entry.symbol] = entry.profit
            case PositionAccepted():
                pass  # order entry journalled it too, and says it on the tape
            case _:
                raise AssertionError(f"{type(entry).__name__} is no entry of the guard's journal")

    def start(self, now: Now) -> None:
        self._day = now.wall_ns // DAY_NS
        if self._opened_day != self._day:
            self._opened.clear()
        self.budget.start(now.mono_ns)
        self.halting.show()
        for scope, latch in self.halting.kill.latches.items():
            self.out.log("alert", f"{self.halting.text(scope)} is still halted, by {latch.who}: {latch.why}")
            self.doubts.recall(scope.symbol, latch.why)
        self.commander.start_epoch("start", now)
        self._ask_books(now)
        self._beat_at = self._status_at = now.mono_ns + BEAT_NS
        self.deadline = now.mono_ns + BEAT_NS
        self._settle(now)

    def state_digest(self) -> str:
        """Return SHA-256 of the journalled state, hex: what a replay must give again."""
        latches = list(self.halting.kill.latches.items())
        return digest(self.commander.epoch, latches, self.gate.accepted_gap, list(self._opened.items()))

    def quiesce(self, now: Now) -> None:
        """Close the gate for good; cancels still pass."""
        self.gate.stopping = True
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
            "tokens": self.budget.available(now.mono_ns),
            "tape_gaps": self.tape.gaps,
            "slot_violations": self.intake.slot_violations,
            **self.counters,
        }
        detail = gate.reasons[0] if gate.reasons else ""
        return Status(state=gate.state.value, detail=detail, metrics=metrics)

    def on_message(self, channel: str, peer: str, message: Any, now: Now) -> None:  # noqa: ARG002 - a type belongs to one channel
        self._handlers[type(message)](peer, message, now)

    def on_malformed(self, channel: str, peer: str, now: Now) -> None:  # noqa: ARG002 - only counted
        self.counters["malformed"] += 1

    def _record(self, entry: GuardJournalEntry) -> None:
        if not self.gate.journal_problem:  # else it would keep the batch, and the cancels in it, from leaving
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

    # -- order entry: epochs and what it did not take

    def _resync(self, why: str, now: Now) -> None:
        # Take everything over anew, with a new epoch that fences whatever is still on its way.
        if self._resync_ns is not None and now.mono_ns - self._resync_ns < RESERVATION_RESYNC_NS:
            return
        self._resync_ns = now.mono_ns
        self.counters["resyncs"] += 1
        self.out.log("warning", f"new epoch: {why}")
        self._new_epoch(why, now)

    def _new_epoch(self, why: str, now: Now, at_least: int = 0) -> None:
        self.gate.epoch_accepted = self.gate.tape_synced = False
        self.commander.start_epoch(why, now, at_least)
        self._settle(now)

    def _on_epoch_accepted(self, _peer: str, message: EpochAccepted, now: Now) -> None:
        commander = self.commander
        if message.epoch != commander.epoch or commander.accepted:
            return
        commander.accepted = True
        commander.accepted_ns = now.mono_ns
        self.gate.epoch_accepted = True
        self._accepted_tape_no = message.tape_no
        self._ask_snapshot(now)
        self.halting.repeat(now)
        self._settle(now)

    def _on_not_accepted(self, _peer: str, message: NotAccepted, now: Now) -> None:
        commander, exposure = self.commander, self.exposure
        current = message.epoch == commander.epoch
        if message.reason == "epoch" and current:
            self._on_other_epoch(now)
        if message.no == 0:
            return
        request = exposure.reserved.get(commander.base + message.no) if current else None
        if request is None and message.cl_ord_id:
            request = exposure.requests.get(message.cl_ord_id)
        if request is None or request.seen:
            return
        exposure.release(request)
        # The tape has a NOT_SENT for a new order, unless its id was used before or is no id at all.
        if request.kind != "new" or message.reason in UNTOLD or not message.cl_ord_id:
            self._tell_lost(request, message.reason, message.text or f"not accepted: {message.reason}", now)
        if message.reason == "halted":
            self.halting.heal(request.order, now)

    def _on_other_epoch(self, now: Now) -> None:
        # Order entry follows another epoch, perhaps a higher one: the clock was set back, or our journal lost its end.
        if self.commander.accepted:
            self._resync("order entry does not follow this guard any more", now)
        else:
            theirs = self.gate.beat.epoch if self.gate.beat is not None else 0
            self._new_epoch("order entry follows a newer epoch", now, theirs + 1)

    def _tell_lost(self, request: Request, control: str, text: str, now: Now) -> None:
        if request.peer:
            self.refusals.say(
                request.peer, request.cl_ord_id, request.order.slot, Breach(control, "account", text), now
            )

    # -- the tape

    def _on_event(self, _peer: str, event: OrderEvent, now: Now) -> None:
        tape = self.tape
        if tape.offer(event):
            self._apply(event, now)
            self._apply_waiting(now)
        elif event.tape_no <= tape.last:
            self.exposure.witness(event)
        else:
            self._mend_tape(now)

    def _apply_waiting(self, now: Now) -> None:
        tape = self.tape
        while (event := tape.waiting()) is not None:
            if tape.offer(event):
                self._apply(event, now)

    def _on_replay(self, _peer: str, message: TapeReplay, now: Now) -> None:
        if message.strategy is None:
            for event in message.events:
                self._on_event("", event, now)
            self._settle(now)

    def _mend_tape(self, now: Now) -> None:
        if self.tape.ask(now.mono_ns):
            self.out.send(ASK_ORDERS, TapeRequest(from_no=self.tape.last + 1))
        problem = "events are missing on the tape" if self.tape.behind else ""
        if problem != self.gate.tape_problem:
            self.gate.tape_problem = problem
            self.gate.update(now)

    def _on_tape_beat(self, _peer: str, beat: TapeBeat, now: Now) -> None:
        gate, commander = self.gate, self.commander
        gate.beat = beat
        gate.order_entry_ns = now.mono_ns
        if beat.session != self._session:
            if beat.session == LOGGED_ON:
                self.budget.spent(self.budget.cost_logon, now.mono_ns)
            self._session = beat.session
        if commander.accepted:
            settled = now.mono_ns - commander.accepted_ns > EPOCH_SETTLES_NS
            if settled and beat.epoch != commander.epoch:
                self._resync(f"order entry follows epoch {beat.epoch}", now)
            elif self.tape.last >= 0 and self.tape.hear(beat.tape_no, now.mono_ns):
                self._resync("order entry's tape ends before what we saw of it", now)
        self._settle(now)

    def _ask_snapshot(self, now: Now) -> None:
        self._snapshot_asked_ns = now.mono_ns
        self.out.send(ASK_ORDERS, SnapshotRequest())

    def _on_snapshot(self, _peer: str, snapshot: OrdersSnapshot, now: Now) -> None:
        awaited = self._snapshot_asked_ns is not None
        if snapshot.strategy is not None or (snapshot.tape_no <= self.tape.last and not awaited):
            return
        commander = self.commander
        fenced = commander.accepted and snapshot.tape_no >= self._accepted_tape_no
        lost = self.exposure.rebuild(snapshot, commander.epoch, fenced=fenced)
        self.tape.restart(snapshot.tape_no)
        for request in lost:
            self.counters["fenced"] += 1
            self._tell_lost(request, "lost", "order entry never took this command", now)
        if fenced:
            self._snapshot_asked_ns = None
            self.gate.tape_synced = True
            self.doubts.clear()
        self._apply_waiting(now)
        self._open_day(now)
        self._check_losses(now)
        if fenced:
            self.halting.repeat(now)
        self._settle(now)

    def _apply(self, event: OrderEvent, now: Now) -> None:
        exposure, kind = self.exposure, event.kind
        if kind in SUBMITS and event.request_id not in exposure.requests:
            budget = self.budget  # order entry's own, or approved by a guard before us
            costs = {EventKind.SUBMITTED: budget.cost_new, EventKind.REPLACE_SUBMITTED: budget.cost_replace}
            budget.spent(costs.get(kind, budget.cost_cancel), now.mono_ns)
        unknown = exposure.unknown
        exposure.apply(event)
        if kind is EventKind.TRADE or kind is EventKind.POSITION:
            self._on_position(event, now)
        elif kind in REFUSING:
            self._on_venue_refusal(event, now)
        if event.strategy == SLOT_OPERATOR:
            self.flattening.hear(event)
        if event.late:
            self.counters["late"] += 1
        if exposure.unknown != unknown:
            self._settle(now)

    def _on_venue_refusal(self, event: OrderEvent, now: Now) -> None:
        # OrdRejReason 8 (stale) is another 8: only requests refused before the book are meant (35=j, 380=8).
        if event.reason == RATE_LIMIT_EXCEEDED and event.kind is not EventKind.REJECTED:
            self.budget.refused_by_venue(now.mono_ns)
        elif event.text in (TRADING_PAUSED, EXCHANGE_PAUSED):
            self.gate.venue_pause = event.text
            self.gate.venue_pause_until_ns = now.mono_ns + VENUE_PAUSE_NS
            self._settle(now)

    def _on_position(self, event: OrderEvent, now: Now) -> None:
        if event.strategy == SLOT_FOREIGN and event.kind is EventKind.TRADE:
            self.out.log(
                "alert", f"{event.symbol}: a fill that is not ours, {event.last_qty} at {event.last_px}"
            )
        self.doubts.hear(event, now.mono_ns)
        self._check_losses(now)
        if event.kind is EventKind.POSITION:
            self._settle(now)

    def _judge_doubts(self, now: Now) -> None:
        recovering = self.gate.state in (GateState.STARTING, GateState.RECOVERING)
        for symbol, why in self.doubts.overdue(now.mono_ns, recovering=recovering):
            self.halting.halt(LatchScope(None, symbol), why, "guard", now)

    # -- market data and drop copy

    def _ask_books(self, now: Now, symbols: list[str] | None = None) -> None:
        self._books_asked_ns = now.mono_ns
        self.out.send("md.ask", BookRequest(symbols=symbols or []))

    def _heard_feed(self, feed: int, now: Now) -> None:
        self.gate.feed_ns = now.mono_ns
        if feed != self._feed:  # market_data started anew
            self._feed = feed
            self._ask_books(now)

    def _on_top(self, _peer: str, top: TopOfBook, now: Now) -> None:
        market = self.exposure.markets.get(top.symbol)
        self._heard_feed(top.feed, now)
        if market is None:
            return
        mark, usable = market.mark, market.usable
        market.apply_top(top, now.mono_ns)
        self._after_top(mark != market.mark, usable is not market.usable, now)

    def _on_book(self, _peer: str, book: BookSnapshot, now: Now) -> None:
        market = self.exposure.markets.get(book.symbol)
        self._heard_feed(book.feed, now)
        if market is None:
            return
        mark, usable = market.mark, market.usable
        market.apply_snapshot(book, now.mono_ns)
        self._after_top(mark != market.mark, usable is not market.usable, now)

    def _after_top(self, moved: bool, turned: bool, now: Now) -> None:
        if moved:
            self._check_losses(now)
        if turned:
            self._settle(now)

    def _on_market_state(self, _peer: str, message: MarketState, now: Now) -> None:
        self._heard_feed(message.feed, now)
        market = self.exposure.markets.get(message.symbol)
        if market is not None:
            market.set_state(message.state)
            self._settle(now)

    def _on_feed_beat(self, _peer: str, beat: FeedBeat, now: Now) -> None:
        self._heard_feed(beat.feed, now)
        self.gate.feed = beat
        markets = self.exposure.markets
        quiet = []
        for symbol, state in beat.markets.items():
            market = markets.get(symbol)
            if market is None:
                continue
            if state is not market.state:
                market.set_state(state)
            if state is FeedState.LIVE and now.mono_ns - market.top_ns > BOOK_ASK_NS:
                quiet.append(symbol)
        if quiet and now.mono_ns - self._books_asked_ns > BOOK_ASK_NS:
            self._ask_books(now, quiet)  # a top may have been lost: what is quiet is looked at again
        self._settle(now)

    def _on_reconciliation(self, _peer: str, status: ReconciliationStatus, now: Now) -> None:
        self.gate.reconciliation = status
        self._settle(now)

    def _on_note(self, _peer: str, message: BreakNote | RecoveredNote | MarketUpdate, now: Now) -> None:
        """Breaks are counted in the status, recovered reports come on the tape, books as their tops."""

    # -- losses and days

    def _check_losses(self, now: Now) -> None:
        for scope, latch in self._losses:
            if -scope.profit >= scope.max_loss and latch not in self.halting.kill.latches:
                why = f"loss limit: {scope.text} lost {-scope.profit} today, {scope.max_loss} is the limit"
                self.halting.halt(latch, why, "guard", now)
                self._settle(now)

    def _open_day(self, now: Now) -> None:
        day = now.wall_ns // DAY_NS
        if day != self._day:
            self._day = day
            self._opened.clear()
            self.exposure.close_day()
        self._note_opened(self.exposure.open_day(self._opened))

    def _rebase(self, scope: LatchScope, now: Now) -> None:
        self._note_opened(self.exposure.rebase(scope.strategy, scope.symbol))
        self._check_losses(now)

    def _note_opened(self, fresh: list[tuple[int | None, str, int]]) -> None:
        for strategy, symbol, profit in fresh:
            self._opened[strategy, symbol] = profit
            self._record(DayOpened(day=self._day, symbol=symbol, profit=profit, strategy=strategy))

    # -- time

    def on_deadline(self, now: Now) -> None:
        mono_ns = now.mono_ns
        if mono_ns - self._beat_at > LATE_NS:
            self._forgive(mono_ns - self._beat_at)
        if self._say_again:
            self._say_again = False
            self.halting.repeat(now)
        self.halting.run(now)
        self.flattening.run(now)
        if mono_ns >= self._beat_at:
            self._beat_at = mono_ns + BEAT_NS
            self._each_beat(now)
        if mono_ns >= self._status_at:
            self._status_at = mono_ns + STATUS_NS
            self._publish(now)
        self._set_deadline()

    def _set_deadline(self) -> None:
        work = (self.halting.next_ns, self.flattening.next_ns)
        self.deadline = min(self._beat_at, self._status_at, *(ns for ns in work if ns is not None))

    def on_drained(self, now: Now) -> None:  # noqa: ARG002 - a sweep or a flattening may have begun
        if self.halting.sweeps or self.flattening.next_ns is not None:
            self._set_deadline()

    def _forgive(self, late_ns: int) -> None:
        # We were not running: what waited for us in queues is not silence.
        self.workers.forgive(late_ns)
        self.gate.order_entry_ns += late_ns
        self.gate.feed_ns += late_ns

    def _each_beat(self, now: Now) -> None:
        commander, mono_ns = self.commander, now.mono_ns
        commander.beat(mono_ns)
        if not commander.accepted and mono_ns - commander.hello_ns >= HELLO_AGAIN_NS:
            commander.hello(now)
        asked_ns = self._snapshot_asked_ns
        if commander.accepted and asked_ns is not None and mono_ns - asked_ns >= HELLO_AGAIN_NS:
            self._ask_snapshot(now)
        for worker in self.workers.silent(mono_ns):
            self._worker_gone(worker, now)
        self._look_after_reservations(now)
        self.refusals.flush(now)
        if self.gate.tape_synced:
            self._open_day(now)
        self._judge_doubts(now)
        self._settle(now)

    def _look_after_reservations(self, now: Now) -> None:
        request = next(iter(self.exposure.reserved.values()), None)  # the oldest
        if request is None or not self.commander.accepted:
            return
        age_ns = now.mono_ns - request.sent_ns
        if age_ns >= RESERVATION_RESYNC_NS:
            self._resync(f"command {request.cl_ord_id} is on no tape after {age_ns // MS} ms", now)
        elif age_ns >= RESERVATION_ASK_NS and not request.asked:
            request.asked = True
            self.counters["reservations_queried"] += 1
            self.out.send(ASK_ORDERS, TapeRequest(from_no=self.tape.last + 1))

    def _worker_gone(self, worker: Worker, now: Now) -> None:
        self.out.log("warning", f"worker {worker.name} is silent: no new orders of it pass")
        if worker.cancel_on_exit:
            self.desk.sweep(LatchScope(worker.slot), f"worker {worker.name} is silent", now)

    def _settle(self, now: Now) -> None:
        # Work the gate out anew, and tell everybody when it changed.
        gate = self.gate
        self._mend_tape(now)
        gate.own_unknown = self.exposure.unknown
        gate.live_markets = sum(m.usable and m.position_known for m in self.exposure.markets.values())
        before = gate.state
        if gate.update(now):
            why = f": {gate.reasons[0]}" if gate.reasons else ""
            self.out.log("info", f"gate {before} -> {gate.state}{why}")
            self._publish(now)

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
            self._new_epoch(f"order entry {event.value}", now)

    def _on_undelivered(self, message: Any, now: Now) -> None:
        self.counters["undelivered"] += 1
        if isinstance(message, Approved):
            request = self.exposure.requests.get(message.request.cl_ord_id)
            if request is not None and not request.seen:
                self.exposure.release(request)
                self._tell_lost(request, "queue", "order entry's queue is full, or it isn't there", now)
        elif isinstance(message, AcceptGap):
            self.out.log("alert", "the accepted gap did not reach order entry: say it again")
        elif not isinstance(message, GuardBeat):
            self._say_again = True  # a halt or a hello: it must arrive

    def on_journal_failed(self, reason: str, now: Now) -> None:
        self.gate.journal_problem = reason or "unknown"
        self._say_again = True  # what the batch held has not left
        self._settle(now)

    def on_journal_ok(self, now: Now) -> None:
        if self.gate.journal_problem:
            self.gate.journal_problem = ""
            self.halting.record_all()
            self._record(
                EpochStarted(epoch=self.commander.epoch, wall_ns=now.wall_ns, why="journal works again")
            )
            self._note_opened([(*key, profit) for key, profit in self._opened.items()])
        self._settle(now)
