"""The guard's view of a market: what it is, its best prices, its mark, and which own orders rest there.

The mark is the middle of the best prices, else the last trade, else the one side that is there. It values positions;
it never becomes unknown again, because a position does not vanish with its book. Whether orders may pass is another
question (`usable`): only a LIVE book with at least one side.

Own resting orders are kept by side for the self-cross control, each side with a bound on its prices that may be too
wide (orders leave without tightening it) and is made exact whenever a look at the orders was needed.
"""

from typing import TYPE_CHECKING, Final

from engine.common.fixed_point import ONE_CONTRACT, PRICE_DECIMALS, parse_fixed
from engine.config import InstrumentConfig
from engine.messages.commands import Side
from engine.messages.market_data import BookSnapshot, FeedState, TopOfBook

if TYPE_CHECKING:
    from engine.guard.exposure import Order
    from engine.guard.lines import Line

PRICE_MAX: Final = 1 << 62
BP: Final = 10_000
BUY: Final = int(Side.BUY)  # a member of an enumeration takes its time to be looked up, and here that counts
SELL: Final = int(Side.SELL)


class Market:
    """One market. Prices in 1/10000 dollar; a price of 0 means: no such side.

    Attributes:
        multiplier: dollars per contract per dollar of price. tick: price step. lot: quantity step, 1/100 contract.
        lines: every position in this market, the account's first, that the mark values.
        latched: why the market is halted, or empty. doubt: why its position may be wrong just now, or empty.
        position_known: an opening position is known, so that the account's position can be believed.
        configured: [risk.markets] names it: orders may be sent.
    """

    __slots__ = (
        "ask",
        "bid",
        "buy_max",
        "buys",
        "collar_bp",
        "configured",
        "doubt",
        "last",
        "latched",
        "lines",
        "lot",
        "mark",
        "multiplier",
        "position_known",
        "sell_min",
        "sells",
        "state",
        "symbol",
        "tick",
        "top_ns",
        "usable",
    )

    def __init__(self, symbol: str, config: InstrumentConfig, *, configured: bool) -> None:
        self.symbol = symbol
        self.multiplier = config.contract_multiplier
        self.tick = parse_fixed(config.tick, PRICE_DECIMALS)
        self.lot = ONE_CONTRACT  # whole contracts only for now (venue.md section 4)
        self.collar_bp = config.collar_bp
        self.configured = configured
        self.position_known = False
        self.latched = ""
        self.doubt = ""
        self.state = FeedState.WAITING
        self.usable = False
        self.bid = self.ask = self.last = self.mark = 0
        self.top_ns = 0
        self.lines: list[Line] = []
        self.buys: dict[str, Order] = {}
        self.sells: dict[str, Order] = {}
        self.buy_max = 0
        self.sell_min = PRICE_MAX

    # -- prices

    def apply_top(self, top: TopOfBook, mono_ns: int) -> None:
        """Take a conflated best bid and offer in, and value positions at the new mark."""
        self._apply(
            top.state,
            top.bid if top.bid_qty else 0,
            top.ask if top.ask_qty else 0,
            top.last if top.last_qty else 0,
            mono_ns,
        )

    def apply_snapshot(self, book: BookSnapshot, mono_ns: int) -> None:
        """Take a whole book in; only its best prices matter here."""
        bid = ask = 0
        levels = book.levels
        for at in range(0, len(levels), 3):
            price = levels[at + 1]
            if not levels[at + 2]:
                continue
            if levels[at] == 0:
                bid = max(bid, price)
            else:
                ask = min(ask or price, price)
        self._apply(book.state, bid, ask, book.last if book.last_qty else 0, mono_ns)

    def set_state(self, state: FeedState) -> None:
        """Take the feed's word on how far the data can be trusted."""
        self.state = state
        self.usable = state is FeedState.LIVE and bool(self.bid or self.ask)

    def _apply(self, state: FeedState, bid: int, ask: int, last: int, mono_ns: int) -> None:
        self.state = state
        self.bid = bid
        self.ask = ask
        self.last = last or self.last
        self.top_ns = mono_ns
        self.usable = state is FeedState.LIVE and bool(bid or ask)
        mark = (bid + ask) // 2 if bid and ask else self.last or bid or ask
        if mark and mark != self.mark:
            self.mark = mark
            for line in self.lines:
                if line.position.qty:
                    line.revalue()

    def aggressive_limit(self, side: int) -> int:
        """Return the furthest price inside the collar, rounded inwards to the tick; 0 when there is no reference.

        A buy is measured from the best offer, a sell from the best bid; without that side from the last trade, else
        from the other side.
        """
        if side == BUY:
            reference = self.ask or self.last or self.bid
            price = reference * (BP + self.collar_bp) // BP
            return price - price % self.tick
        reference = self.bid or self.last or self.ask
        price = -(-reference * (BP - self.collar_bp) // BP)
        return price + -price % self.tick

    # -- own resting orders

    def rest(self, order: "Order", price: int) -> None:
        """Remember an own order that rests, or may rest, at a price."""
        if order.side == BUY:
            self.buys[order.order] = order
            self.buy_max = max(self.buy_max, price)
        else:
            self.sells[order.order] = order
            self.sell_min = min(self.sell_min, price)

    def unrest(self, order: "Order") -> None:
        """Forget an own order."""
        if order.side == BUY:
            self.buys.pop(order.order, None)
        else:
            self.sells.pop(order.order, None)

    def crossed_by(self, side: int, price: int, strategy: int) -> "Order | None":
        """Return an own resting order of another strategy that an order at this price would trade with, or None."""
        if side == BUY:
            if price < self.sell_min:
                return None
            self.sell_min = min((order.lowest for order in self.sells.values()), default=PRICE_MAX)
            for order in self.sells.values():
                if order.slot != strategy and order.lowest <= price:
                    return order
            return None
        if price > self.buy_max:
            return None
        self.buy_max = max((order.highest for order in self.buys.values()), default=0)
        for order in self.buys.values():
            if order.slot != strategy and order.highest >= price:
                return order
        return None
