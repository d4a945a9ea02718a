"""A harness to unit-test a strategy without processes, sockets or waiting.

It drives the real worker (`StrategyHost`) on a clock of its own: what a test sees is what the engine does.

    harness = Harness(QuoteMaker, {"qty": 5}, markets=["BTC-PERP"])
    harness.start()
    harness.book("BTC-PERP", bids=[("19.49", 10)], asks=[("19.51", 10)])
    bid, ask = harness.take_new()
    harness.accept_all()
    harness.fill(bid, 5)
    assert harness.position("BTC-PERP") == contracts(5)

Prices and quantities may be given as texts and whole contracts, or as engine ints where an order carries them. Orders
are answered only when the test says so: `accept`, `fill`, `cancelled`, `reject`, `refuse`, or `accept_all` for all that
waits.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.common.clock import SECOND, Now
from engine.common.ids import ClOrdIDs
from engine.config import (
    Config,
    EngineConfig,
    InstrumentConfig,
    LimitsConfig,
    RiskConfig,
    SessionConfig,
    SessionsConfig,
    StrategyConfig,
)
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
    TERMINAL,
    EventKind,
    OrderEvent,
    OrdersSnapshot,
    OrderState,
    PositionState,
)
from engine.messages.market_data import (
    FeedBeat,
    FeedState,
    MarketChanges,
    MarketState,
    MarketUpdate,
)
from engine.strategy.api import Strategy, contracts, price
from engine.strategy.host import StrategyHost

START_WALL_NS = 1_795_500_000 * SECOND  # 2026-11-24: a fixed day, so that tests repeat
START_MONO_NS = 1_000 * SECOND
SLOT = 7
FEED = START_WALL_NS // 1_000_000

Level = tuple[str, int]
Intent = NewOrder | ReplaceOrder | CancelOrder | CancelAll
_AGGRESSORS = {"buy": 1, "sell": 2, "": 0}


class Collector:
    """An Outbox that keeps what it was given."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, msgspec.Struct]] = []
        self.logs: list[tuple[str, str]] = []

    def send(self, channel: str, message: msgspec.Struct, to: str | None = None, topic: str = "") -> None:  # noqa: ARG002
        """Keep a message."""
        self.sent.append((channel, message))

    def keep_halts(self, text: str) -> None:
        """See Outbox: no worker does that."""
        raise AssertionError(f"a worker has no halt file to write {text[:40]!r} to")

    def log(self, level: str, text: str) -> None:
        """Keep a line."""
        self.logs.append((level, text))

    def write(self, link: str, data: bytes, trigger_ns: int = 0) -> None:
        """Fail: a strategy has no links."""
        raise AssertionError(f"a strategy worker writes to no link: {link}, {len(data)} bytes, {trigger_ns}")

    def unsent(self, link: str) -> int:
        """See Outbox."""
        del link
        return 0

    def record(self, entry: msgspec.Struct, *, cl_ord_id: str = "", exec_id: str = "") -> None:
        """Fail: a strategy has no journal."""
        raise AssertionError(f"a strategy worker has no journal: {entry!r} {cl_ord_id} {exec_id}")

    def connect(self, link: str) -> None:
        """Fail: a strategy has no links."""
        raise AssertionError(f"a strategy worker connects no link: {link}")

    def close(self, link: str, reason: str = "") -> None:
        """Fail: a strategy has no links."""
        raise AssertionError(f"a strategy worker closes no link: {link} {reason}")


def make_config(
    strategy: str,
    values: Mapping[str, Any],
    markets: Mapping[str, InstrumentConfig],
    *,
    conflate: bool = True,
    shutdown: str = "cancel",
) -> Config:
    """Make the smallest whole configuration with one strategy in it."""
    limits = LimitsConfig(
        max_order_qty="1000",
        max_order_notional="1000000",
        max_position="1000",
        max_open_orders=100,
        max_gross_notional="1000000",
        max_loss="1000000",
    )
    return Config(
        engine=EngineConfig(name="test", shutdown=shutdown),
        sessions=SessionsConfig(
            order_entry=SessionConfig(target_comp_id="KalshiNR"),
            market_data=SessionConfig(target_comp_id="KalshiMD"),
            drop_copy=SessionConfig(target_comp_id="KalshiDC"),
        ),
        instruments=dict(markets),
        risk=RiskConfig(account=limits, markets=dict.fromkeys(markets, limits)),
        strategies={
            strategy: StrategyConfig(
                strategy=f"tests:{strategy}",
                slot=SLOT,
                markets=list(markets),
                limits=limits,
                config=dict(values),
                conflate=conflate,
            )
        },
    )


class Harness:
    """See the module.

    Args:
        strategy_class: the class under test.
        config: its settings, checked as in the engine.
        markets: symbols, or symbol to instrument.
        positions: symbol to contracts held at the start.
        conflate: as `conflate` of the strategy's section.
        shutdown: as `shutdown` of [engine].
        name: the strategy's name.

    Attributes:
        host: the real worker. strategy: the instance under test. now: the harness's clock.
        fail_on_error: an exception in a callback fails the test at once (the engine would log it and go on).
    """

    def __init__(
        self,
        strategy_class: type[Strategy],
        config: Mapping[str, Any] | None = None,
        *,
        markets: Sequence[str] | Mapping[str, InstrumentConfig] = ("BTC-PERP",),
        positions: Mapping[str, int] | None = None,
        conflate: bool = True,
        shutdown: str = "cancel",
        name: str = "under_test",
    ) -> None:
        known = (
            markets if isinstance(markets, Mapping) else {symbol: InstrumentConfig() for symbol in markets}
        )
        self.out = Collector()
        self.host = StrategyHost(
            name,
            make_config(name, config or {}, known, conflate=conflate, shutdown=shutdown),
            self.out,
            ClOrdIDs(SLOT, START_WALL_NS // 1_000_000, 1),
            strategy_class,
        )
        self.now = Now(START_WALL_NS, START_MONO_NS)
        self.fail_on_error = True
        self._positions = {symbol: contracts(qty) for symbol, qty in (positions or {}).items()}
        self._feed_no = 0
        self._symbol_no = dict.fromkeys(known, 0)
        self._strategy_no = 0
        self._live: dict[str, OrderEvent] = {}  # newest event by order id, as the tape would have it
        self._intents: list[Intent] = []
        self._unanswered: list[Intent] = []
        self._taken = 0
        self._read = 0

    # -- driving -------------------------------------------------------------------------------------------------

    @property
    def strategy(self) -> Any:
        """The strategy instance."""
        return self.host.strategy

    def start(self) -> None:
        """Start the worker and give it an empty tape with the positions; `on_start` is called."""
        self.host.start(self.now)
        positions = [
            PositionState(symbol=symbol, strategy=SLOT, qty=qty, known=True)
            for symbol, qty in self._positions.items()
        ]
        self.deliver("oe.ask", OrdersSnapshot(tape_no=0, strategy=SLOT, positions=positions))

    def deliver(self, channel: str, *messages: msgspec.Struct) -> None:
        """Give the worker messages as one batch."""
        for message in messages:
            self.host.on_message(channel, "", message, self.now)
        self.host.on_drained(self.now)
        self._collect()

    def advance(self, seconds: float) -> None:
        """Let time pass: timers fire when they are due, market data stays fresh."""
        end_ns = self.now.mono_ns + round(seconds * SECOND)
        self.host.on_drained(self.now)  # a test may have set a timer outside a callback
        while self.host.deadline is not None and self.host.deadline <= end_ns:
            self._move_to(max(self.host.deadline, self.now.mono_ns))
            if self._feed_no:
                self.deliver("md.feed", self._beat())
            self.host.on_deadline(self.now)
            self.host.on_drained(self.now)
            self._collect()
        self._move_to(end_ns)

    def stop(self) -> None:
        """Stop the worker; `on_stop` is called."""
        self.host.quiesce(self.now)
        self.host.on_drained(self.now)
        self._collect()

    def _move_to(self, mono_ns: int) -> None:
        self.now = Now(self.now.wall_ns + mono_ns - self.now.mono_ns, mono_ns)

    def _collect(self) -> None:
        for _, message in self.out.sent[self._read :]:
            if isinstance(message, NewOrder | ReplaceOrder | CancelOrder | CancelAll):
                self._intents.append(message)
                self._unanswered.append(message)
            else:
                assert not isinstance(message, OrderEvent), "a worker publishes no tape"
        self._read = len(self.out.sent)
        errors = [text for level, text in self.out.logs if level == "error"]
        assert not (self.fail_on_error and errors), errors[-1]

    # -- the market ----------------------------------------------------------------------------------------------

    def book(self, symbol: str, bids: Sequence[Level] = (), asks: Sequence[Level] = ()) -> None:
        """Set a market's whole book and make it LIVE; levels are (price text, contracts)."""
        levels = _levels(bids, asks)
        state = MarketState(feed=FEED, feed_no=self._feed_no + 1, symbol=symbol, state=FeedState.LIVE)
        self.deliver("md.feed", self.update(symbol, levels, reset=True), state)

    def change(self, symbol: str, bids: Sequence[Level] = (), asks: Sequence[Level] = ()) -> None:
        """Change levels of a book; 0 contracts deletes one."""
        self.deliver("md.feed", self.update(symbol, _levels(bids, asks)))

    def trade(self, symbol: str, at: str, qty: int = 1, aggressor: str = "buy") -> None:
        """Let somebody trade: price text, contracts, and who took (`buy`, `sell` or empty)."""
        self.deliver(
            "md.feed", self.update(symbol, trades=[price(at), contracts(qty), _AGGRESSORS[aggressor]])
        )

    def state(self, symbol: str, state: FeedState, reason: str = "") -> None:
        """Change how far a market's data can be trusted."""
        self.deliver(
            "md.feed",
            MarketState(feed=FEED, feed_no=self._feed_no, symbol=symbol, state=state, reason=reason),
        )

    def update(
        self,
        symbol: str,
        levels: list[int] | None = None,
        trades: list[int] | None = None,
        *,
        reset: bool = False,
    ) -> MarketUpdate:
        """Make the feed's next update without delivering it: to deliver several as one batch, or to lose one."""
        self._feed_no += 1
        self._symbol_no[symbol] += 1
        changes = MarketChanges(
            symbol=symbol,
            symbol_no=self._symbol_no[symbol],
            levels=levels or [],
            trades=trades or [],
            reset=reset,
        )
        return MarketUpdate(
            feed=FEED,
            feed_no=self._feed_no,
            trigger_ns=self.now.mono_ns,
            sending_ns=self.now.wall_ns,
            markets=[changes],
        )

    def _beat(self) -> FeedBeat:
        return FeedBeat(feed=FEED, feed_no=self._feed_no, mono_ns=self.now.mono_ns, session="logged on")

    # -- what the strategy asked for -----------------------------------------------------------------------------

    def take(self) -> list[Intent]:
        """Return the intents since the last `take`."""
        found = self._intents[self._taken :]
        self._taken = len(self._intents)
        return found

    def take_new(self) -> list[NewOrder]:
        """Return the new orders since the last `take`; fails if it asked for anything else too."""
        found = self.take()
        news = [intent for intent in found if isinstance(intent, NewOrder)]
        assert len(news) == len(found), f"not only new orders: {found}"
        return news

    def position(self, symbol: str) -> int:
        """Return the strategy's position, 1/100 contract."""
        return self.host.ctx.position(symbol)

    @property
    def logs(self) -> list[str]:
        """What was logged, oldest first, as `level: text`."""
        return [f"{level}: {text}" for level, text in self.out.logs]

    @property
    def beats(self) -> list[WorkerBeat]:
        """The worker's beats."""
        return [message for _, message in self.out.sent if isinstance(message, WorkerBeat)]

    # -- answers -------------------------------------------------------------------------------------------------

    def accept(self, intent: Intent) -> None:
        """Let the venue do what an intent wishes."""
        self._answer(intent)
        match intent:
            case NewOrder():
                self._next(self._submitted(intent), EventKind.NEW, OrderState.NEW)
            case ReplaceOrder():
                self._replaced(intent)
            case CancelOrder():
                self.cancelled(intent.orig_cl_ord_id)
            case CancelAll():
                for event in list(self._live.values()):
                    if not intent.symbol or event.symbol == intent.symbol:
                        self.cancelled(event.order)

    def accept_all(self) -> None:
        """Accept every intent that has no answer yet; not those that the strategy makes upon it."""
        for intent in list(self._unanswered):
            if intent in self._unanswered:  # an answer may have ended the order that another one is about
                self.accept(intent)

    def _answer(self, intent: Intent) -> None:
        if intent in self._unanswered:
            self._unanswered.remove(intent)

    def fill(
        self, order: NewOrder | str, qty: int, at: str = "", *, fee: int = 0, taker: bool = False
    ) -> None:
        """Fill `qty` contracts of an order (an intent or its id), at its own price unless one is given.

        A new order without an answer yet trades at once: the venue folds New into the Trade then.
        """
        last = self._last(order)
        done = contracts(qty)
        cum, leaves = last.cum_qty + done, last.leaves_qty - done
        assert leaves >= 0, f"only {last.leaves_qty} is open"
        self._next(
            last,
            EventKind.TRADE,
            OrderState.PARTIALLY_FILLED if leaves else OrderState.FILLED,
            cum_qty=cum,
            leaves_qty=leaves,
            last_px=price(at) if at else last.price,
            last_qty=done,
            fee=fee,
            aggressor="Y" if taker else "N",
            exec_id=f"{self._strategy_no + 1};1",
        )

    def cancelled(self, order: NewOrder | str, text: str = "") -> None:
        """Let the venue cancel an order, as after a cancel request, or with a text like POST_ONLY_CROSS."""
        self._next(self._last(order), EventKind.CANCELED, OrderState.CANCELED, leaves_qty=0, text=text)

    def reject(self, intent: Intent, text: str = "INVALID_ORDER") -> None:
        """Let the venue reject a new order, or refuse a cancel or replace."""
        self._answer(intent)
        match intent:
            case NewOrder():
                self._next(
                    self._submitted(intent), EventKind.REJECTED, OrderState.REJECTED, leaves_qty=0, text=text
                )
            case ReplaceOrder() | CancelOrder():
                replace = isinstance(intent, ReplaceOrder)
                last = self._last(intent.orig_cl_ord_id)
                self._next(
                    last,
                    EventKind.REPLACE_REJECTED if replace else EventKind.CANCEL_REJECTED,
                    last.state,
                    request_id=intent.cl_ord_id,
                    text=text,
                )
            case CancelAll():
                raise AssertionError("the venue never sees a cancel-all")

    def refuse(self, intent: Intent, control: str = "max_position", text: str = "refused by a test") -> None:
        """Let the guard refuse an intent."""
        assert not isinstance(intent, CancelAll), "the guard never refuses a cancel-all"
        self._answer(intent)
        self.deliver(
            "guard.orders",
            Refused(cl_ord_id=intent.cl_ord_id, control=control, scope="strategy under_test", text=text),
        )

    def latch(self, halted: bool, why: str = "by a test") -> None:
        """Let the guard halt or arm the strategy."""
        self.deliver("guard.orders", StrategyLatched(halted=halted, why=why))

    def _submitted(self, intent: NewOrder) -> OrderEvent:
        return OrderEvent(
            tape_no=0,
            strategy=SLOT,
            strategy_no=0,
            kind=EventKind.SUBMITTED,
            state=OrderState.SUBMITTING,
            order=intent.cl_ord_id,
            wall_ns=self.now.wall_ns,
            cl_ord_id=intent.cl_ord_id,
            request_id=intent.cl_ord_id,
            symbol=intent.symbol,
            side=intent.side,
            price=intent.price,
            qty=intent.qty,
            leaves_qty=intent.qty,
            tif=intent.tif,
            post_only=intent.post_only,
        )

    def _replaced(self, intent: ReplaceOrder) -> None:
        last = self._last(intent.orig_cl_ord_id)
        self._next(
            last,
            EventKind.REPLACED,
            OrderState.PARTIALLY_FILLED if last.cum_qty else OrderState.NEW,
            cl_ord_id=intent.cl_ord_id,
            request_id=intent.cl_ord_id,
            qty=intent.qty,
            price=intent.price,
            leaves_qty=intent.qty - last.cum_qty,
        )

    def _last(self, order: NewOrder | str) -> OrderEvent:
        named = order if isinstance(order, str) else order.cl_ord_id
        for event in self._live.values():
            if named in {event.order, event.cl_ord_id}:
                return event
        if isinstance(order, NewOrder) and order in self._unanswered:
            self._answer(order)
            return self._submitted(order)
        raise AssertionError(f"no open order {named}: accept it first")

    def _next(self, last: OrderEvent, kind: EventKind, state: OrderState, **more: Any) -> None:
        self._strategy_no += 1
        fresh: dict[str, Any] = {
            "last_px": 0,
            "last_qty": 0,
            "fee": 0,
            "exec_id": "",
            "request_id": "",
            "text": "",
        }
        event = msgspec.structs.replace(
            last,
            tape_no=self._strategy_no,
            strategy_no=self._strategy_no,
            kind=kind,
            state=state,
            wall_ns=self.now.wall_ns,
            **{**fresh, **more},
        )
        if state in TERMINAL:
            self._live.pop(event.order, None)
            self._unanswered = [
                intent
                for intent in self._unanswered
                if not isinstance(intent, ReplaceOrder | CancelOrder)
                or intent.orig_cl_ord_id not in {event.order, event.cl_ord_id}
            ]
        else:
            self._live[event.order] = event
        self.deliver("oe.tape", event)


def _levels(bids: Sequence[Level], asks: Sequence[Level]) -> list[int]:
    flat: list[int] = []
    for side, levels in ((0, bids), (1, asks)):
        for text, qty in levels:
            flat += (side, price(text), contracts(qty))
    return flat
