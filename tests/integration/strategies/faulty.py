"""Strategies that do wrong, each in its own way; only tests load them."""

from engine.strategy.api import Strategy, StrategyConfigBase, price


class RaisesConfig(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it fails.

    Attributes:
        always: in every callback; else only the first time in each.
    """

    always: bool


class Raises(Strategy):
    """Trades a little, so that every callback comes, and fails in each of them."""

    Config = RaisesConfig

    def __init__(self, ctx, config):
        super().__init__(ctx, config)
        self.failed = set()

    def _fail(self, callback):
        if self.config.always or callback not in self.failed:
            self.failed.add(callback)
            raise RuntimeError(f"wrong in {callback}")

    def on_start(self):
        self.ctx.set_timer("tick", 0.2, repeat=True)
        self._fail("on_start")

    def on_book(self, book):
        self._fail("on_book")

    def on_trade(self, trade):
        self._fail("on_trade")

    def on_order(self, order):
        self._fail("on_order")

    def on_fill(self, order, fill):
        self._fail("on_fill")

    def on_refused(self, order, refusal):
        self._fail("on_refused")

    def on_timer(self, name):
        for symbol in self.ctx.markets:
            book = self.ctx.book(symbol)
            if book is not None and book.two_sided:
                self.ctx.sell(symbol, 100, book.bid, tif="IOC")
                self.ctx.buy(symbol, 100_000, book.bid)  # more than the guard lets through
        self._fail("on_timer")

    def on_market_state(self, symbol, state, reason):
        self._fail("on_market_state")

    def on_latched(self, halted, why):
        self._fail("on_latched")

    def on_stop(self):
        self._fail("on_stop")


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


class Idle(Strategy):
    """Wants nothing; something else speaks under its name."""
