"""Strategies that do wrong, each in its own way; only tests load them."""

from engine.strategy.api import Strategy, StrategyConfigBase, price


class RaisesConfig(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which callback fails.

    Attributes:
        callback: its name.
    """

    callback: str


class Raises(Strategy):
    """Quotes far from the market, so that every callback comes, and fails in one of them."""

    Config = RaisesConfig

    def _maybe(self, callback):
        if self.config.callback in (callback, "every"):
            raise RuntimeError(f"wrong in {callback}")

    def on_start(self):
        self.ctx.set_timer("tick", 0.2, repeat=True)
        self._maybe("on_start")

    def on_book(self, book):
        bid = book.best_bid
        if bid is not None and not self.ctx.orders(book.symbol):
            self.ctx.buy(book.symbol, 100, bid.price, tif="IOC")
            self.ctx.sell(book.symbol, 100, bid.price, tif="IOC")
            self.ctx.buy(book.symbol, 100_000, bid.price)  # the guard refuses it: on_refused
        self._maybe("on_book")

    def on_trade(self, trade):
        self._maybe("on_trade")

    def on_order(self, order):
        self._maybe("on_order")

    def on_fill(self, order, fill):
        self._maybe("on_fill")

    def on_refused(self, order, refusal):
        self._maybe("on_refused")

    def on_timer(self, name):
        self._maybe("on_timer")

    def on_market_state(self, symbol, state, reason):
        self._maybe("on_market_state")

    def on_latched(self, halted, why):
        self._maybe("on_latched")

    def on_stop(self):
        self._maybe("on_stop")


class Hangs(Strategy):
    """Never comes back from its first book."""

    def on_book(self, book):
        while True:
            pass


class FailsToStart(Strategy):
    """Its constructor fails."""

    def __init__(self, ctx, config):
        raise RuntimeError("no use")


class NeedsConfig(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes:
    edge: dollars.
    """

    edge: str

    def __post_init__(self):
        price(self.edge)


class Needs(Strategy):
    """Needs a setting."""

    Config = NeedsConfig
