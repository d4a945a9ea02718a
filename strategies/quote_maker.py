"""Quotes both sides of each of its markets, post only, and moves the quotes with the market.

The fair price is the middle of the book without its own orders (quotes that followed a middle they make themselves would
run away with it). It quotes `edge` below and above, shifted against the inventory by `skew` per `qty` held, so that the
side that reduces is the better price, and no further than the other side's best: it never means to take.

A quote moves when its target is at least `move` away, at most every `min_interval_ms`: by a replace, or by a cancel and a
new order with `use_replace = false`. A quote that can't be moved (its replace was refused) is cancelled, for it would
stay at a price that the market has left. A quote that the venue cancelled with POST_ONLY_CROSS or
rejected keeps its side quiet for `backoff_ms`, twice as long each time in a row, so that a loop can't burn tokens; one
that never left (the guard refused it, say) for `backoff_ms` each time, so that it quotes again soon after an outage.

At the end it does nothing: whether what rests is cancelled or left is for `[engine] shutdown` to say.

The defaults fit the demo's markets (BTC-PERP near 19.50 dollars, ETH-PERP near 4.20, levels 0.01 apart, the best bid and
offer two steps apart, up to 50 contracts on a level): with an edge of 0.0080 it is just inside the others.
"""

# ruff: noqa: ARG002 - callbacks take what the worker gives
from engine.strategy.api import (
    Book,
    FeedState,
    Fill,
    Instrument,
    Order,
    OrderState,
    Refusal,
    Side,
    Strategy,
    StrategyConfigBase,
    contracts,
    price,
)

BACKOFF_STEPS_MAX = 6  # 2**6 times backoff_ms is the longest pause
MS = 1_000_000


class QuoteMakerConfig(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[strategies.NAME.config] of a quote maker; prices are dollars as text, quantities whole contracts.

    Attributes:
        qty: contracts on each quote.
        edge: distance of each quote from the fair price.
        skew: how far both quotes move against the inventory for each `qty` contracts held.
        max_position: contracts; the side that could exceed it isn't quoted.
        move: a quote stays while its target is nearer than this.
        min_interval_ms: a side is changed at most so often.
        backoff_ms: pause of a side after its order was cancelled for crossing, rejected or refused.
        use_replace: move quotes by a replace; otherwise by a cancel and a new order.
    """

    qty: int = 5
    edge: str = "0.0080"
    skew: str = "0.0010"
    max_position: int = 50
    move: str = "0.0020"
    min_interval_ms: int = 250
    backoff_ms: int = 500
    use_replace: bool = True

    def __post_init__(self) -> None:
        if self.qty < 1:
            raise ValueError(f"qty = {self.qty}: at least 1 contract")
        if self.max_position < self.qty:
            raise ValueError(f"max_position = {self.max_position}: at least qty, which is {self.qty}")
        for key, text, least in (("edge", self.edge, 1), ("skew", self.skew, 0), ("move", self.move, 1)):
            try:
                value = price(text)
            except ValueError as problem:
                raise ValueError(
                    f"{key} = {text!r}: dollars as text, like {key} = '0.0080' ({problem})"
                ) from problem
            if value < least:
                raise ValueError(f"{key} = {text!r}: at least {'0.0001' if least else '0'} dollars")
        for key, number in (("min_interval_ms", self.min_interval_ms), ("backoff_ms", self.backoff_ms)):
            if number < 1:
                raise ValueError(f"{key} = {number}: at least 1 ms")


class Quote:
    """One side of one market: its order, whether a replace of it is out, when it was touched and may be again (wall ns)."""

    __slots__ = ("changed_ns", "failures", "moving", "order", "pulled_ns", "quiet_until_ns", "side")

    def __init__(self, side: int) -> None:
        self.side = side
        self.order: Order | None = None
        self.moving = False
        self.changed_ns = 0
        self.pulled_ns = 0
        self.quiet_until_ns = 0
        self.failures = 0


class QuoteMaker(Strategy):
    """See the module."""

    Config = QuoteMakerConfig
    config: QuoteMakerConfig

    def on_start(self) -> None:
        """Take over what is still open by cancelling it, and begin."""
        settings = self.config
        self.qty = contracts(settings.qty)
        self.max_position = contracts(settings.max_position)
        self.edge = price(settings.edge)
        self.skew = price(settings.skew)
        self.move = price(settings.move)
        self.interval_ns = settings.min_interval_ms * MS
        self.backoff_ns = settings.backoff_ms * MS
        self.quotes = {symbol: (Quote(Side.BUY.value), Quote(Side.SELL.value)) for symbol in self.ctx.markets}
        if self.ctx.orders():
            self.ctx.cancel_all()
        # a quiet book must not keep a quote out for ever after a pause
        self.ctx.set_timer("requote", ns=max(self.interval_ns, self.backoff_ns), repeat=True)

    def on_book(self, book: Book) -> None:
        """Move the quotes."""
        self._requote(book)

    def on_timer(self, name: str) -> None:
        """Look again at every market that can be quoted."""
        if name == "requote":
            for symbol in self.ctx.markets:
                self._look(symbol)

    def on_fill(self, order: Order, fill: Fill) -> None:
        """Shift at once: the inventory changed."""
        self._look(fill.symbol)

    def on_order(self, order: Order) -> None:
        """Forget an order that is over; back off from one that could not rest."""
        quote = self._quote_of(order)
        if quote is None:
            return
        if order.state in {OrderState.NEW, OrderState.PARTIALLY_FILLED}:
            moving = quote.moving
            quote.moving = moving and order.pending
            if not order.text:
                quote.failures = 0
                self._look(order.symbol)  # the other side may have waited for this one to make way
            else:  # a cancel or replace was refused
                self._back_off(quote)
                if moving:
                    self._pull(quote)
        elif not order.is_open:
            quote.order = None
            if order.text == "POST_ONLY_CROSS" or order.state is OrderState.REJECTED:
                self._back_off(quote)
            elif order.state is OrderState.NOT_SENT:
                self._pause(quote)

    def on_refused(self, order: Order, refusal: Refusal) -> None:
        """Pause: the same wish would be refused again. It cost no token, so an outage leaves no long pauses behind."""
        quote = self._quote_of(order)
        if quote is not None:
            if not order.is_open:
                quote.order = None
            elif refusal.request == "replace":
                quote.moving = False
                self._pull(quote)
            self._pause(quote)

    def on_market_state(self, symbol: str, state: FeedState, reason: str) -> None:
        """Don't rest in a market that can't be seen."""
        if state is not FeedState.LIVE and self.ctx.orders(symbol):
            self.ctx.log(f"{symbol} is {state}: cancelling its quotes ({reason or 'no reason given'})")
            self.ctx.cancel_all(symbol)

    # -- how -----------------------------------------------------------------------------------------------------

    def _quote_of(self, order: Order) -> Quote | None:
        pair = self.quotes[order.symbol]
        return pair[0] if pair[0].order is order else pair[1] if pair[1].order is order else None

    def _pause(self, quote: Quote) -> None:
        quote.quiet_until_ns = self.ctx.now + self.backoff_ns

    def _back_off(self, quote: Quote) -> None:
        quote.quiet_until_ns = self.ctx.now + (self.backoff_ns << min(quote.failures, BACKOFF_STEPS_MAX))
        quote.failures += 1

    def _look(self, symbol: str) -> None:
        book = self.ctx.book(symbol)
        if book is not None:
            self._requote(book)

    def _requote(self, book: Book) -> None:
        bid, ask = self.quotes[book.symbol]
        others_bid = best_of_others(book.bids, bid.order, highest=True)
        others_ask = best_of_others(book.asks, ask.order, highest=False)
        if not others_bid or not others_ask or others_bid >= others_ask:
            self._pull(bid)
            self._pull(ask)
            return
        instrument = self.ctx.instrument(book.symbol)
        position = self.ctx.position(book.symbol)
        fair = (others_bid + others_ask) // 2 - position * self.skew // self.qty
        tick = instrument.tick
        bid_target = min(fair - self.edge, others_ask - tick)
        ask_target = max(fair + self.edge, others_bid + tick)
        self._side(bid, ask, instrument, bid_target // tick * tick, position)
        self._side(ask, bid, instrument, -(-ask_target // tick) * tick, position)

    def _side(self, quote: Quote, other: Quote, instrument: Instrument, target: int, position: int) -> None:
        held = position if quote.side == Side.BUY else -position
        order, against = quote.order, other.order
        if target <= 0 or held + self.qty > self.max_position:
            self._pull(quote)
            return
        now = self.ctx.now
        if now < quote.quiet_until_ns or now < quote.changed_ns + self.interval_ns:
            return
        if against is not None and (
            target >= against.price if quote.side == Side.BUY else target <= against.price
        ):
            return  # it would meet our own other quote: that one makes way first
        if order is None:
            place = self.ctx.buy if quote.side == Side.BUY else self.ctx.sell
            quote.order = place(instrument.symbol, self.qty, target, post_only=True)
            quote.moving = False
            quote.changed_ns = now
        elif abs(order.price - target) >= self.move and self._shift(order, target):
            quote.moving = self.config.use_replace
            quote.changed_ns = now

    def _shift(self, order: Order, target: int) -> bool:
        if not self.config.use_replace:
            return order.cancel()  # the new order follows when the cancel is answered
        # a total: what is filled stays in it, and the open part is whole again
        return order.replace(qty=order.cum_qty + self.qty, price=target)

    def _pull(self, quote: Quote) -> None:
        if quote.order is not None and self.ctx.now >= quote.pulled_ns + self.interval_ns:
            quote.pulled_ns = self.ctx.now  # a cancel that is refused again and again must not burn tokens
            quote.order.cancel()


def best_of_others(side: dict[int, int], own: Order | None, *, highest: bool) -> int:
    """Return the best price of a book's side that isn't our order alone; 0 when there is none."""
    if not side:
        return 0
    best = max(side) if highest else min(side)
    if own is None or own.price != best or side[best] > own.leaves_qty:
        return best
    rest = [level for level in side if level != best]
    return (max(rest) if highest else min(rest)) if rest else 0
