"""Takes in the direction of a short move: IOC at the best offer (or bid), small, capped, and out again.

A signal is a move of the mid over `lookback_ms` of at least `threshold_bp`, confirmed by the trades of the same time: who
took must have been buying when the mid rose, selling when it fell. It then takes `qty` at the touch, as long as the spread is
at most `max_spread` and the position stays within `max_position`; after each order it waits `cooldown_ms`. A position
without a new signal for `hold_ms` is closed, also by IOC, reduce only.

One order at a time in a market: the next decision waits for the tape's word on the last.

The defaults fit the demo's markets (BTC-PERP near 19.50 dollars, ETH-PERP near 4.20, levels 0.01 apart, spread 0.02): one
step is 5 basis points of the first and 24 of the second, so 8 basis points are two steps up or down in BTC-PERP and one in
ETH-PERP.
"""

# ruff: noqa: ARG002 - callbacks take what the worker gives
from collections import deque

from engine.strategy.api import (
    Book,
    Order,
    OrderState,
    Refusal,
    Strategy,
    StrategyConfigBase,
    Trade,
    contracts,
    price,
)

MS = 1_000_000
SAMPLES_MAX = 10_000


class MomentumTakerConfig(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[strategies.NAME.config] of a momentum taker; prices are dollars as text, quantities whole contracts.

    Attributes:
        qty: contracts of each order.
        max_position: contracts, long or short.
        lookback_ms: how far back the move is measured.
        threshold_bp: the move that makes a signal, in basis points of the mid.
        confirm_by_trades: the trades of the same time must point the same way.
        max_spread: no order while the book is wider.
        cooldown_ms: pause after each order.
        hold_ms: a position is closed when there was no signal for its side for so long.
    """

    qty: int = 2
    max_position: int = 20
    lookback_ms: int = 2000
    threshold_bp: int = 8
    confirm_by_trades: bool = True
    max_spread: str = "0.0500"
    cooldown_ms: int = 500
    hold_ms: int = 10_000

    def __post_init__(self) -> None:
        if self.qty < 1:
            raise ValueError(f"qty = {self.qty}: at least 1 contract")
        if self.max_position < self.qty:
            raise ValueError(f"max_position = {self.max_position}: at least qty, which is {self.qty}")
        for key, number in (
            ("lookback_ms", self.lookback_ms),
            ("threshold_bp", self.threshold_bp),
            ("cooldown_ms", self.cooldown_ms),
            ("hold_ms", self.hold_ms),
        ):
            if number < 1:
                raise ValueError(f"{key} = {number}: at least 1")
        try:
            spread = price(self.max_spread)
        except ValueError as problem:
            raise ValueError(
                f"max_spread = {self.max_spread!r}: dollars as text, like max_spread = '0.0500' ({problem})"
            ) from problem
        if spread < 1:
            raise ValueError(f"max_spread = {self.max_spread!r}: at least 0.0001 dollars")


class Trend:
    """What was seen of one market within the lookback, and what was done about it."""

    __slots__ = ("flow", "mids", "order", "quiet_until_ns", "signal_ns", "trades")

    def __init__(self) -> None:
        self.mids: deque[tuple[int, int]] = deque(maxlen=SAMPLES_MAX)  # wall ns, bid + ask
        self.trades: deque[tuple[int, int]] = deque(maxlen=SAMPLES_MAX)  # wall ns, signed quantity
        self.flow = 0  # sum of the trades above
        self.order: Order | None = None
        self.quiet_until_ns = 0
        self.signal_ns = 0

    def add_trade(self, now_ns: int, signed: int) -> None:
        """Remember a trade."""
        if len(self.trades) == SAMPLES_MAX:
            self.flow -= self.trades.popleft()[1]
        self.trades.append((now_ns, signed))
        self.flow += signed

    def forget_before(self, limit_ns: int) -> None:
        """Forget trades before a time, and mids but for the newest of them: the move is measured from that one."""
        while self.trades and self.trades[0][0] < limit_ns:
            self.flow -= self.trades.popleft()[1]
        while len(self.mids) > 1 and self.mids[1][0] <= limit_ns:
            self.mids.popleft()


class MomentumTaker(Strategy):
    """See the module."""

    Config = MomentumTakerConfig
    config: MomentumTakerConfig

    def on_start(self) -> None:
        """Begin without a past."""
        settings = self.config
        self.qty = contracts(settings.qty)
        self.max_position = contracts(settings.max_position)
        self.max_spread = price(settings.max_spread)
        self.trends = {symbol: Trend() for symbol in self.ctx.markets}
        for trend in self.trends.values():
            trend.signal_ns = self.ctx.now
        self.ctx.set_timer("hold", ns=settings.cooldown_ms * MS, repeat=True)

    def on_trade(self, trade: Trade) -> None:
        """Remember who took."""
        if trade.aggressor:
            signed = trade.qty if trade.aggressor == 1 else -trade.qty
            self.trends[trade.symbol].add_trade(self.ctx.now, signed)

    def on_book(self, book: Book) -> None:
        """Measure the move, and follow it."""
        if not book.two_sided:
            return
        now = self.ctx.now
        trend = self.trends[book.symbol]
        trend.mids.append((now, book.bid + book.ask))
        trend.forget_before(now - self.config.lookback_ms * MS)
        direction = self._signal(trend)
        if direction:
            if direction * self.ctx.position(book.symbol) >= 0:
                trend.signal_ns = now
            self._follow(book, trend, direction)

    def on_timer(self, name: str) -> None:
        """Close what no signal supports any more."""
        if name != "hold":
            return
        for symbol, trend in self.trends.items():
            book = self.ctx.book(symbol)
            old = self.ctx.now - trend.signal_ns >= self.config.hold_ms * MS
            if old and book is not None and book.two_sided and self.ctx.position(symbol):
                self._close(book, trend)

    def on_order(self, order: Order) -> None:
        """The order is over: the next decision may come."""
        trend = self.trends[order.symbol]
        if trend.order is order and not order.is_open:
            trend.order = None
            if order.state in {OrderState.REJECTED, OrderState.NOT_SENT}:
                self.ctx.log(f"{order!r}: {order.text}")

    def on_refused(self, order: Order, refusal: Refusal) -> None:
        """The order is over; the cooldown still holds."""
        trend = self.trends[order.symbol]
        if trend.order is order:
            trend.order = None

    # -- how -----------------------------------------------------------------------------------------------------

    def _signal(self, trend: Trend) -> int:
        """Return 1 for a rise, -1 for a fall, 0 for nothing."""
        then, now = trend.mids[0][1], trend.mids[-1][1]
        move = now - then
        if abs(move) * 10_000 < self.config.threshold_bp * then:
            return 0
        direction = 1 if move > 0 else -1
        if self.config.confirm_by_trades and trend.flow * direction <= 0:
            return 0
        return direction

    def _free(self, book: Book, trend: Trend) -> bool:
        return trend.order is None and self.ctx.now >= trend.quiet_until_ns and book.spread <= self.max_spread

    def _follow(self, book: Book, trend: Trend, direction: int) -> None:
        room = self.max_position - self.ctx.position(book.symbol) * direction
        offered = book.ask_qty if direction > 0 else book.bid_qty
        lot = self.ctx.instrument(book.symbol).lot
        qty = min(self.qty, room, offered) // lot * lot
        if qty > 0 and self._free(book, trend):
            self._take(book, trend, direction, qty, reduce_only=False)

    def _close(self, book: Book, trend: Trend) -> None:
        position = self.ctx.position(book.symbol)
        lot = self.ctx.instrument(book.symbol).lot
        qty = min(abs(position), self.qty) // lot * lot
        if qty > 0 and self._free(book, trend):
            self._take(book, trend, -1 if position > 0 else 1, qty, reduce_only=True)

    def _take(self, book: Book, trend: Trend, direction: int, qty: int, *, reduce_only: bool) -> None:
        trend.quiet_until_ns = self.ctx.now + self.config.cooldown_ms * MS
        if direction > 0:
            trend.order = self.ctx.buy(book.symbol, qty, book.ask, tif="IOC", reduce_only=reduce_only)
        else:
            trend.order = self.ctx.sell(book.symbol, qty, book.bid, tif="IOC", reduce_only=reduce_only)
