"""Strategies for measuring: one order a tick, and orders as fast as they come back."""

# ruff: noqa: ARG002 - callbacks take what the worker gives
import time

from engine.strategy.api import Book, Order, Strategy, StrategyConfigBase, contracts
from engine.strategy.api import price as to_price


class OneOrderPerTick(Strategy):
    """Sends one IOC buy at the best bid for every book update; it never trades against the measuring peer."""

    class Config(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """No settings."""

    def on_book(self, book: Book) -> None:
        """Send one order."""
        best = book.bid
        if best:
            self.ctx.buy(book.symbol, contracts(1), best, tif="IOC")


class RoundTrips(Strategy):
    """Keeps `window` IOC orders in flight that rest far from the market, and says how fast they came back."""

    class Config(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Settings.

        Attributes:
            window: orders in flight. singles: orders sent one at a time before that, for the round trip.
            offset: dollars below the best bid.
        """

        window: int = 64
        singles: int = 1000
        total: int = 10_000
        offset: str = "0.5000"

    def on_start(self) -> None:
        """Wait for the first book."""
        self._times: list[int] = []
        self._sent_ns: dict[str, int] = {}
        self._started = False
        self._done = 0
        self._sent = 0
        self._begin_ns = 0
        self._finished = False

    def on_book(self, book: Book) -> None:
        """Begin with the first usable book."""
        if not self._started and book.bid:
            self._started = True
            self._send(book.symbol)

    def _send(self, symbol: str) -> None:
        book = self.ctx.book(symbol)
        if book is None or not book.bid:
            self._started = False
            return
        order = self.ctx.buy(symbol, contracts(1), book.bid - to_price(self.config.offset), tif="IOC")
        self._sent += 1
        self._sent_ns[order.cl_ord_id] = time.perf_counter_ns()

    def on_refused(self, order: Order, refusal: object) -> None:
        """Nothing may be refused while measuring, but before the gate opens everything is."""
        self._sent_ns.pop(order.cl_ord_id, None)
        self._sent -= 1
        self._started = False

    def on_order(self, order: Order) -> None:
        """Count the order that came back and send the next."""
        if order.is_open or order.cl_ord_id not in self._sent_ns or self._finished:
            return
        config = self.config
        self._times.append(time.perf_counter_ns() - self._sent_ns.pop(order.cl_ord_id))
        self._done += 1
        if self._done == config.singles:
            self._times.sort()
            self.ctx.log(f"round_trip_p50_us={self._times[len(self._times) // 2] / 1000:.1f}")
            self._begin_ns = time.perf_counter_ns()
            for _ in range(config.window):
                self._send(order.symbol)
        elif self._done == config.singles + config.total:
            seconds = (time.perf_counter_ns() - self._begin_ns) / 1e9
            self.ctx.log(f"sustained_per_s={config.total / seconds:.0f}")
            self._finished = True
        else:
            self._send(order.symbol)
