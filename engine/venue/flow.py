"""The synthetic flow: a seeded crowd that keeps the books alive.

Per market a mid walks at random in integer ticks. Around it the flow's maker keeps a ladder of quotes, `levels` a
side, `step` apart, `spread` wide; the flow's taker sends aggressive orders. Both are accounts of their own, and both
trade against whatever rests, client orders too, in price-time priority.

Rules that hold here:

* The ladder moves as a whole and only when the budget of book changes allows it: first it cancels every quote that
  isn't on the new ladder, then it places what is missing, lowest risk first. So the maker never meets itself, and a
  busy walk can't make more book changes than configured: it only makes the ladder lag.
* A client order in the way of the ladder is traded with, as a crowd would.
* Late calls catch up for at most `_CATCH_UP_NS`; what is older never happened. Nothing here reads a clock, and
  the only randomness is the generator that was given.
* Floats appear in the walk's standard deviation only; prices and quantities are integers.
"""

from typing import Final, Protocol

import msgspec

from engine.common.clock import MS, SECOND
from engine.venue.exchange import Exchange
from engine.venue.matching import BUY, SELL
from engine.venue.order import Order

MAKER: Final = "flow.maker"
TAKER: Final = "flow.taker"
_SLOWEST_NS: Final = 25 * MS
_QUICKEST_NS: Final = 5 * MS
_CATCH_UP_NS: Final = 250 * MS
_LOT: Final = 100
_REPRICE_NS: Final = 20 * MS


class Random(Protocol):
    """What the flow needs of a seeded generator (`random.Random`)."""

    def random(self) -> float:
        """Return a float in [0, 1)."""

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """Return a normal deviate."""


class FlowMarket(msgspec.Struct, frozen=True, kw_only=True):
    """A market's flow. Prices in 1/10000 dollar, level_qty in whole contracts."""

    symbol: str
    price: int
    volatility_bp: int
    step: int
    spread_steps: int
    levels: int
    level_qty: int
    trades_per_s: int


class _Ladder:
    """The maker's quotes in one market."""

    __slots__ = ("base", "mid", "quotes", "terms", "trades_due", "walked_at")

    def __init__(self, terms: FlowMarket, mono_ns: int) -> None:
        self.terms = terms
        self.mid = terms.price
        self.base: int | None = (
            None  # the lowest price of the spread: the best bid, in steps; None: no quotes yet
        )
        self.quotes: dict[int, Order] = {}  # by price for asks, by -price for bids
        self.trades_due = 0
        self.walked_at = mono_ns


class Flow:
    """Drives the synthetic orders of all markets.

    Args:
        exchange: with accounts MAKER and TAKER.
        markets: of the flow.
        changes_per_s: book changes per second over all markets together.
        rng: a seeded generator.

    Attributes:
        due: mono_ns at which `step` is next wanted; None while nothing is to be done.
    """

    def __init__(
        self, exchange: Exchange, markets: list[FlowMarket], changes_per_s: int, rng: Random
    ) -> None:
        self._exchange = exchange
        self._markets = markets
        self._rate = changes_per_s
        self._rng = rng
        self._interval = min(max(SECOND // max(changes_per_s, 1), _QUICKEST_NS), _SLOWEST_NS)
        self._ladders: list[_Ladder] = []
        self._budget = 0  # book changes owed, times SECOND
        self._last = 0
        self._turn = 0
        self.due: int | None = None
        self.changes = 0
        self.trades = 0

    def start(self, mono_ns: int) -> None:
        """Begin; the first step places every ladder."""
        self._ladders = [_Ladder(terms, mono_ns) for terms in self._markets]
        self._last = mono_ns
        self.due = mono_ns if self._ladders else None

    def step(self, mono_ns: int) -> None:
        """Do what is due, inside a step of the exchange (`begin` ... `end`)."""
        elapsed = min(mono_ns - self._last, _CATCH_UP_NS)
        self._last = mono_ns
        self.due = mono_ns + self._interval
        if self._exchange.paused:
            return
        self._budget += elapsed * self._rate
        for ladder in self._ladders:
            self._walk(ladder, mono_ns)
            self._follow(ladder)
            self._take(ladder, elapsed)
        # One market after the other gets a quote renewed until the budget is spent.
        while self._budget >= SECOND:
            ladder = self._ladders[self._turn % len(self._ladders)]
            self._turn += 1
            self._renew(ladder)

    def _spend(self, changes: int = 1) -> None:
        self._budget -= changes * SECOND
        self.changes += changes

    def _walk(self, ladder: _Ladder, mono_ns: int) -> None:
        elapsed = mono_ns - ladder.walked_at
        if elapsed < _REPRICE_NS:
            return
        ladder.walked_at = mono_ns
        terms = ladder.terms
        deviation = ladder.mid * terms.volatility_bp / 10_000 * (min(elapsed, _CATCH_UP_NS) / SECOND) ** 0.5
        lowest = terms.step * (terms.levels + terms.spread_steps + 2)
        ladder.mid = max(lowest, ladder.mid + round(self._rng.gauss(0.0, deviation)))

    def _follow(self, ladder: _Ladder) -> None:
        """Bring the ladder to the mid when it has moved by half a step or more, and the budget allows it."""
        terms = ladder.terms
        if ladder.base is None:
            self._place(ladder, self._base_for(ladder))
            return
        centre = (ladder.base * 2 + terms.spread_steps) * terms.step
        if abs(ladder.mid * 2 - centre) <= terms.step + terms.step // 2:
            return  # some slack, so that it doesn't flutter between two places
        base = self._base_for(ladder)
        moved = min(abs(base - ladder.base), 2 * terms.levels)
        if base != ladder.base and self._budget >= moved * SECOND:
            self._place(ladder, base)

    def _base_for(self, ladder: _Ladder) -> int:
        terms = ladder.terms
        return (ladder.mid * 2 - terms.spread_steps * terms.step + terms.step) // (2 * terms.step)

    def _place(self, ladder: _Ladder, base: int) -> None:
        terms = ladder.terms
        first = ladder.base is None
        ladder.base = base
        wanted: dict[int, None] = {}
        for level in range(terms.levels):  # far levels last
            wanted[-(base - level) * terms.step] = None
            wanted[(base + terms.spread_steps + level) * terms.step] = None
        cost = 0
        for key in [key for key in ladder.quotes if key not in wanted]:
            cost += self._cancel(ladder, key)
        for key in wanted:
            quote = ladder.quotes.get(key)
            if quote is None or quote.closed:
                self._quote(ladder, key)
                cost += 1
        if first:
            self.changes += cost  # a market opens with its book; that is not charged to the rate
        else:
            self._spend(cost)

    def _cancel(self, ladder: _Ladder, key: int) -> int:
        quote = ladder.quotes.pop(key)
        if quote.closed:
            return 0
        self._exchange.flow_cancel(quote)
        return 1

    def _quote(self, ladder: _Ladder, key: int) -> None:
        side = SELL if key > 0 else BUY
        order = self._exchange.flow_order(
            MAKER, ladder.terms.symbol, side, abs(key), self._qty(ladder.terms), rest=True
        )
        if order.closed:
            ladder.quotes.pop(
                key, None
            )  # it traded away against client orders; the next renewal brings it back
        else:
            ladder.quotes[key] = order

    def _qty(self, terms: FlowMarket) -> int:
        return (1 + int(self._rng.random() * terms.level_qty)) * _LOT

    def _renew(self, ladder: _Ladder) -> None:
        """Give one level of the ladder another quantity, or its quote back."""
        terms = ladder.terms
        assert ladder.base is not None, "a ladder is placed before it is renewed"
        bid, ask = -ladder.base * terms.step, (ladder.base + terms.spread_steps) * terms.step
        if bid not in ladder.quotes or ladder.quotes[bid].closed:
            key = bid  # the best quotes come back first, so that the spread stays as configured
        elif ask not in ladder.quotes or ladder.quotes[ask].closed:
            key = ask
        else:
            pick = int(self._rng.random() * terms.levels * 2)
            key = (ask if pick & 1 else bid) + (pick >> 1) * terms.step
        self._spend()
        quote = ladder.quotes.get(key)
        if quote is None or quote.closed:
            self._quote(ladder, key)
            return
        qty = self._qty(terms)
        if qty == quote.leaves:
            qty = qty - _LOT if qty > _LOT else qty + _LOT
        if qty < quote.leaves:
            self._exchange.flow_reduce(quote, qty)
        else:
            self._exchange.flow_cancel(quote)
            ladder.quotes.pop(key)
            order = self._exchange.flow_order(MAKER, terms.symbol, quote.side, quote.price, qty, rest=True)
            if not order.closed:
                ladder.quotes[key] = order

    def _take(self, ladder: _Ladder, elapsed: int) -> None:
        """Send the aggressive orders that are due: at the best price of the other side, or a step through it."""
        terms = ladder.terms
        ladder.trades_due += int(
            elapsed * terms.trades_per_s * 2 * self._rng.random()
        )  # twice the mean, at most
        while ladder.trades_due >= SECOND:
            ladder.trades_due -= SECOND
            side = BUY if self._rng.random() < 0.5 else SELL
            book = self._exchange.books[terms.symbol]
            best = (book.asks if side == BUY else book.bids).best_price()
            if best is None:
                continue
            through = terms.step if self._rng.random() < 0.1 else 0
            price = max(best + through if side == BUY else best - through, 1)
            self._exchange.flow_order(TAKER, terms.symbol, side, price, self._qty(terms), rest=False)
            self.trades += 1
            self._spend()
