"""The strategy worker: one strategy in a process of its own, between the books, the tape and the guard.

It keeps the strategy's books (`feed.py`), orders and positions (`tape.py`), sends its wishes to the guard
(`context.py`), and calls it: one callback at a time, never within another.

Rules that hold here:

* Nothing is called before the first snapshot of own orders and positions is in; then `on_start` comes first.
* `on_book` only for a whole, live, uncrossed book: once for all that was queued (in `on_drained`), or per update with
  `conflate = false`. Trades are never conflated and need no whole book.
* An event of the tape is applied before the strategy hears of it; a fill is told by `on_fill`, then `on_order`.
* An exception in a callback is logged in one line and counted; the tenth within 60 s stops the strategy: its orders are
  cancelled, again and again until none is open, and nothing of it is called any more. The process lives on.
* An intent that nobody answered is settled by asking the tape, after it can no more leave: never by time alone.
* The worker's own beat goes to the guard whatever the strategy does; a strategy that hangs is silent, and the guard acts.
"""

# ruff: noqa: ARG002 - handlers take what the runtime gives
from collections.abc import Iterable
from typing import Any, Final

from engine.common.actor import Actor, Outbox, PeerEvent, Status
from engine.common.clock import MS, SECOND, Now
from engine.common.ids import ClOrdIDs
from engine.config import Config
from engine.errors import ConfigError
from engine.messages.commands import (
    CancelAll,
    CancelOrder,
    NewOrder,
    Refused,
    ReplaceOrder,
    StrategyLatched,
    WorkerBeat,
)
from engine.messages.executions import (
    EventKind,
    OrderEvent,
    OrdersSnapshot,
    OrderState,
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
    MarketChanges,
    MarketState,
    MarketUpdate,
)
from engine.strategy.api import PENDING_GUARD, REFUSED, Fill, Local, Order, Refusal, Strategy, Trade
from engine.strategy.context import WorkerContext
from engine.strategy.failures import FAILURES_MAX, Failures, compact
from engine.strategy.feed import FeedReader, MarketView, StateChange
from engine.strategy.settings import instruments_of, strategy_config
from engine.strategy.tape import OrderChange, TapeReader

TICK_NS: Final = 200 * MS  # WorkerBeat, and everything that is looked after in passing
ASK_AGAIN_NS: Final = 500 * MS
CANCEL_AGAIN_NS: Final = SECOND
ORDER_ENTRY_SILENT_NS: Final = 400 * MS  # four beats
SETTLE_SPARE_NS: Final = SECOND  # beyond the ages at which guard and order entry refuse an intent


class StrategyHost(Actor):
    """See the module.

    Args:
        name: the strategy's name in the configuration, with or without `strategy.` before it.
        ids: makes ClOrdIDs of the strategy's slot.
        strategy_class: a subclass of `Strategy`.

    Raises:
        ConfigError: the strategy, its markets or its settings don't fit, or its constructor fails.
    """

    def __init__(
        self, name: str, config: Config, out: Outbox, ids: ClOrdIDs, strategy_class: type[Strategy]
    ) -> None:
        super().__init__(out)
        short = name.removeprefix("strategy.")
        settings = config.strategies.get(short)
        if settings is None:
            known = ", ".join(config.strategies) or "none"
            raise ConfigError(f"strategy {short!r} is not in [strategies]; known: {known}")
        self.name = f"strategy.{short}"
        self.slot = settings.slot
        self.feed = FeedReader(settings.markets)
        self.tape = TapeReader(settings.slot, self._adopt)
        self.ctx = WorkerContext(
            short, instruments_of(config, settings.markets), out, ids, self.feed, self.tape
        )
        self.failures = Failures()
        self.failed = ""
        self.started = False
        self._conflate = settings.conflate
        self._cancel_at_end = config.engine.shutdown == "cancel"
        self._silent_feed_ns = config.risk.stale_feed_ms * MS
        self._settle_ns = (
            config.risk.intent_max_age_ms + config.risk.command_expiry_ms
        ) * MS + SETTLE_SPARE_NS
        if settings.over_budget == "queue":
            self._settle_ns += settings.queue_ms * MS
            self.ctx.queues = True
        self._stopping = False
        self._halted = ""
        self._dirty: dict[str, MarketView] = {}
        self._hello = True
        self._tick_at = 0
        self._feed_heard_ns = 0
        self._books_asked_ns = 0
        self._tape_asked_ns = 0
        self._settle_asked_ns: int | None = None
        self._cancelled_ns = 0
        self._order_entry_ns: int | None = None  # when its last beat came
        self._order_entry_lost = ""
        self.counters = dict.fromkeys(("updates", "trades", "books_told", "fills", "refused"), 0)
        self.strategy = self._make(
            short, strategy_class, strategy_config(short, strategy_class, settings.config)
        )

    def _make(self, short: str, strategy_class: type[Strategy], settings: object) -> Strategy:
        try:
            return strategy_class(self.ctx, settings)
        except (Exception, SystemExit) as problem:
            raise ConfigError(
                f"strategy {short!r}: {strategy_class.__name__} can't be made: {compact(problem)}"
            ) from problem

    # -- the hot path: update in, on_book, intent out ------------------------------------------------------------

    def on_message(self, channel: str, peer: str, message: Any, now: Now) -> None:
        self.ctx.step(now)
        if type(message) is MarketUpdate:
            self._on_update(message)
        elif type(message) is OrderEvent:
            self._tell_changes(self.tape.take(message))
            self._look_after_tape(now)
        else:
            self._on_other(message, now)

    def _on_update(self, update: MarketUpdate) -> None:
        feed = self.feed
        if update.feed == feed.feed and update.feed_no == feed.feed_no + 1:
            feed.feed_no += 1
        elif not feed.follow(update.feed, update.feed_no, carries=True):
            return
        self._feed_heard_ns = self.ctx.mono_ns
        self.counters["updates"] += 1
        views = feed.views
        for changes in update.markets:
            view = views.get(changes.symbol)
            if view is None:
                continue
            if feed.change(update, changes, view) and (changes.levels or changes.reset):
                self._dirty[changes.symbol] = view
            if changes.trades:
                self._tell_trades(update, changes)
        if not self._conflate:
            self._tell_books()

    def on_drained(self, now: Now) -> None:
        self.ctx.step(now)
        if self._dirty:
            self._tell_books()
        if self.ctx.refused:
            refused, self.ctx.refused = self.ctx.refused, []
            for order, refusal in refused:
                self._tell_refused(order, refusal)
        if self.feed.ask:
            self._ask_books(now)
        self._set_deadline()

    def _tell_books(self) -> None:
        if not self.started:
            return  # on_start marks every book again
        dirty, self._dirty = self._dirty, {}
        for view in dirty.values():
            if view.usable:
                self.counters["books_told"] += 1
                self.ctx.trigger_ns = view.trigger_ns
                self._call("on_book", view.book)
        self.ctx.trigger_ns = 0

    def _tell_trades(self, update: MarketUpdate, changes: MarketChanges) -> None:
        self.ctx.trigger_ns = update.trigger_ns
        numbers = iter(changes.trades)
        for price, qty, aggressor in zip(numbers, numbers, numbers, strict=False):
            self.counters["trades"] += 1
            self._call("on_trade", Trade(changes.symbol, price, qty, aggressor, update.sending_ns))
        self.ctx.trigger_ns = 0

    def _call(self, callback: str, *args: object) -> None:
        """Call the strategy; whatever it raises ends here."""
        if not self.started or self.failed:
            return
        try:
            getattr(self.strategy, callback)(*args)
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - a bad callback never kills the worker
            self._on_failure(callback, problem)

    def _on_failure(self, callback: str, problem: BaseException) -> None:
        self.out.log("error", f"{self.name}: {callback} failed at {compact(problem)}")
        if not self.failures.too_many(self.ctx.mono_ns) or self.failed:
            return
        self.failed = f"failed: {FAILURES_MAX} errors within 60 s, the last in {callback}"
        self._set_latch()
        self.ctx.timers.clear()
        self._cancel_all()
        self.out.log("alert", f"{self.name} is stopped ({self.failed}); its orders are being cancelled")

    # -- own orders ----------------------------------------------------------------------------------------------

    def _adopt(self, event: OrderEvent) -> Order:
        return Order(
            self.ctx,
            event.order,
            event.symbol,
            event.side,
            event.qty,
            event.price,
            tif=event.tif,
            post_only=event.post_only,
            group=event.group,
        )

    def _tell_changes(self, changes: Iterable[OrderChange]) -> None:
        for order, event in changes:
            if event.kind is EventKind.TRADE:
                self.counters["fills"] += 1
                fill = Fill(
                    event.symbol,
                    event.side,
                    event.last_px,
                    event.last_qty,
                    event.fee,
                    event.aggressor == "Y",
                    event.exec_id,
                    self.tape.positions[event.symbol],
                    event.late,
                )
                self._call("on_fill", order, fill)
            self._call("on_order", order)

    def _tell_refused(self, order: Order, refusal: Refusal) -> None:
        self.counters["refused"] += 1
        self._call("on_refused", order, refusal)

    def _refuse(self, cl_ord_id: str, control: str, text: str, limit: int = 0, value: int = 0) -> None:
        """A request never left: end the new order that it is, or free the order that it is about."""
        order = self.tape.orders.get(cl_ord_id)
        if order is not None:
            if order.state != PENDING_GUARD:
                return  # the tape knows better
            self.tape.end(order, REFUSED, text)
            self._tell_refused(order, Refusal("new", control, text, limit, value))
            return
        for order in self.tape.orders.values():
            if order.request_id == cl_ord_id:
                kind = order.request_kind
                order.request_id = order.request_kind = ""
                self._tell_refused(order, Refusal(kind, control, text, limit, value))
                return

    def _unanswered(self, before_ns: int) -> list[Order]:
        return [
            order
            for order in self.tape.orders.values()
            if (order.request_id or order.state == PENDING_GUARD)
            and order.made_ns + self._settle_ns < before_ns
        ]

    def _settle_unanswered(self) -> None:
        """The tape was asked after these intents had expired, and it doesn't show them: they never left."""
        if self._settle_asked_ns is None:
            return
        asked_ns, self._settle_asked_ns = self._settle_asked_ns, None
        for order in self._unanswered(asked_ns):
            self._refuse(
                order.request_id or order.id,
                Local.NO_ANSWER,
                "nobody answered it before it expired, and the tape doesn't show it: it never left",
            )

    # -- other messages ------------------------------------------------------------------------------------------

    def _on_other(self, message: object, now: Now) -> None:
        match message:
            case FeedBeat() | MarketState():
                if self.feed.follow(message.feed, message.feed_no, carries=False):
                    self._feed_heard_ns = now.mono_ns
                    self._tell_states(self.feed.states(message))
            case BookSnapshot():
                if self.feed.snapshot(message):
                    self._dirty[message.symbol] = self.feed.views[message.symbol]
                    self._tell_states(self.feed.states(message))
            case TapeBeat():
                self._on_order_entry_beat(message, now)
                self.tape.beat(message.strategies)
                self._look_after_tape(now)
            case TapeReplay(strategy=slot) if slot == self.slot:
                self._tell_changes(self.tape.replay(message))
                if not message.more and not self.tape.gap:
                    self._settle_unanswered()
                self._look_after_tape(now)
            case OrdersSnapshot(strategy=slot) if slot == self.slot:
                self._on_orders_snapshot(message, now)
            case Refused(cl_ord_id=""):  # of no one request: what was dropped in a flood, say
                self.out.log("warning", f"{self.name}: the guard refused: {message.text}")
            case Refused():
                self._refuse(message.cl_ord_id, message.control, message.text, message.limit, message.value)
            case StrategyLatched():
                self._on_latched(message)
            case _:
                pass

    def _on_order_entry_beat(self, beat: TapeBeat, now: Now) -> None:
        self._order_entry_ns = now.mono_ns
        self._tell_order_entry("" if beat.ready else beat.detail or beat.session)

    def _tell_order_entry(self, lost: str) -> None:
        before, self._order_entry_lost = self._order_entry_lost, lost
        if bool(before) != bool(lost):
            self._call("on_order_entry", not lost, lost)

    def _watch_order_entry(self, now: Now) -> None:
        heard_ns = self._order_entry_ns
        if heard_ns is not None and now.mono_ns - heard_ns >= ORDER_ENTRY_SILENT_NS:
            self._order_entry_ns = None
            self._tell_order_entry("order entry is silent")

    def _on_orders_snapshot(self, message: OrdersSnapshot, now: Now) -> None:
        first = not self.tape.known
        changed = self.tape.snapshot(message)
        if first:
            self._begin()
        else:
            for order in changed:
                self._call("on_order", order)
            self._settle_unanswered()
        self._tell_changes(self.tape.drain())
        self._look_after_tape(now)

    def _begin(self) -> None:
        if self._stopping:
            return
        self.started = True
        self._call("on_start")
        if self._order_entry_lost:
            self._call("on_order_entry", False, self._order_entry_lost)
        self._dirty = {symbol: view for symbol, view in self.feed.views.items() if view.valid}

    def _on_latched(self, message: StrategyLatched) -> None:
        self._halted = (message.why or "halted by the guard") if message.halted else ""
        self._set_latch()
        self._call("on_latched", message.halted, message.why)

    def _set_latch(self) -> None:
        self.ctx.latched = self.failed or ("stopping" if self._stopping else self._halted)

    def _tell_states(self, changed: list[StateChange]) -> None:
        for symbol, state, reason in changed:
            if state is FeedState.LIVE:
                self._dirty[symbol] = self.feed.views[symbol]
            self._call("on_market_state", symbol, state, reason)

    def on_peer(self, channel: str, peer: str, event: PeerEvent, message: Any, now: Now) -> None:
        self.ctx.step(now)
        if channel == "guard.orders" and event is PeerEvent.REFUSED:
            if isinstance(message, NewOrder | ReplaceOrder | CancelOrder):
                self._refuse(
                    message.cl_ord_id,
                    Local.QUEUE,
                    "not sent: the guard can't be reached or its queue is full",
                )
            elif isinstance(message, CancelAll):
                self.out.log("alert", f"{self.name}: cancel-all was not sent: the guard can't be reached")

    # -- time ----------------------------------------------------------------------------------------------------

    def start(self, now: Now) -> None:
        self.ctx.step(now)
        self._ask_books(now)
        self._ask_snapshot(now)
        self._tick(now)
        self._set_deadline()

    def on_deadline(self, now: Now) -> None:
        self.ctx.step(now)
        for name in self.ctx.due_timers():
            self._call("on_timer", name)
        self._watch_order_entry(now)
        if now.mono_ns >= self._tick_at:
            self._tick(now)
        self._set_deadline()

    def _set_deadline(self) -> None:
        timers = self.ctx.timers
        if timers:
            self.deadline = min(self._tick_at, *(timer.due_ns for timer in timers.values()))
        else:
            self.deadline = self._tick_at
        if self._order_entry_ns is not None:
            self.deadline = min(self.deadline, self._order_entry_ns + ORDER_ENTRY_SILENT_NS)

    def _tick(self, now: Now) -> None:
        self._tick_at = now.mono_ns + TICK_NS
        self.out.send("guard.orders", WorkerBeat(mono_ns=now.mono_ns, hello=self._hello))
        self._hello = False
        if self.feed.feed and now.mono_ns - self._feed_heard_ns > self._silent_feed_ns:
            self._tell_states(self.feed.silence())
        if now.mono_ns - self._books_asked_ns >= ASK_AGAIN_NS and self.feed.waiting():
            self._ask_books(now)
        self._look_after_tape(now)
        if self._unanswered(now.mono_ns) and now.mono_ns - self._tape_asked_ns >= self._settle_ns:
            self._ask_tape(now)
            self._settle_asked_ns = now.mono_ns
        if self.failed and self._resting() and now.mono_ns - self._cancelled_ns >= CANCEL_AGAIN_NS:
            self._cancel_all()
        self._see_quiet()

    def _ask_books(self, now: Now) -> None:
        self.feed.ask = False
        symbols = self.feed.waiting()
        if symbols:
            self._books_asked_ns = now.mono_ns
            self.out.send("md.ask", BookRequest(symbols=symbols))

    def _look_after_tape(self, now: Now) -> None:
        if now.mono_ns - self._tape_asked_ns >= ASK_AGAIN_NS:
            if not self.tape.known:
                self._ask_snapshot(now)
            elif self.tape.gap:
                self._ask_tape(now)
        if self._stopping:
            self._see_quiet()

    def _ask_snapshot(self, now: Now) -> None:
        self._tape_asked_ns = now.mono_ns
        self.out.send("oe.ask", SnapshotRequest(strategy=self.slot))

    def _ask_tape(self, now: Now) -> None:
        self._tape_asked_ns = now.mono_ns
        self.out.send("oe.ask", TapeRequest(from_no=self.tape.next_no, strategy=self.slot))

    # -- the end -------------------------------------------------------------------------------------------------

    def _cancel_all(self) -> None:
        self._cancelled_ns = self.ctx.mono_ns
        self.ctx.cancel_all()

    def quiesce(self, now: Now) -> None:
        if self._stopping:
            return
        self.ctx.step(now)
        self._stopping = True
        self._set_latch()
        self._call("on_stop")
        self.started = False
        self.ctx.timers.clear()
        self.ctx.refused.clear()
        if self._cancel_at_end and self.tape.orders:
            self._cancel_all()
        self._see_quiet()

    def _see_quiet(self) -> None:
        """Quiesced once nothing of ours can be cancelled any more; an unknown outcome is order entry's to resolve."""
        if not self._stopping:
            return
        self.quiesced = not (self._cancel_at_end and self._resting())

    def _resting(self) -> bool:
        return any(order.state != OrderState.UNKNOWN for order in self.tape.orders.values())

    def stop(self, now: Now) -> None:
        self.quiesce(now)
        self.stopped = True

    def status(self, now: Now) -> Status:
        waiting = [symbol for symbol, view in self.feed.views.items() if not view.usable]
        if self._stopping:
            state = "STOPPED" if self.stopped else "STOPPING"
        elif self.ctx.latched:
            state = "HALTED"
        elif not self.started:
            state = "STARTING"
        else:
            state = "READY" if waiting else "TRADING"
        detail = self.ctx.latched or (
            "waiting for order entry's snapshot" if not self.tape.known else self._order_entry_lost
        )
        if not detail and waiting:
            detail = f"no usable book: {', '.join(waiting)}"
        metrics: dict[str, int | float] = {
            **self.counters,
            "intents": self.ctx.intents,
            "errors": self.failures.total,
            "open_orders": len(self.tape.orders),
            "feed_gaps": self.feed.gaps,
            "feed_restarts": self.feed.restarts,
            "tape_gaps": self.tape.gaps,
        }
        return Status(state=state, detail=detail, metrics=metrics)
