"""A strategy that does everything a strategy may do, at random and much of it: it is there to be simulated, not to earn."""

import random

from engine.messages.executions import OrderState
from engine.strategy.api import Book, Order, Side, Strategy, StrategyConfigBase, contracts

_TIFS = ("GTC", "GTC", "GTC", "DAY", "IOC", "IOC", "FOK", "GTD")
_SECOND = 1_000_000_000


class RestlessConfig(StrategyConfigBase, frozen=True, kw_only=True):
    """Settings.

    Attributes:
        seed: of everything it does. percent: how often a book makes it act. qty: largest order, contracts.
        orders: how many it keeps open at most.
    """

    seed: int = 1
    percent: int = 30
    qty: int = 8
    orders: int = 6


class Restless(Strategy):
    """See the module."""

    Config = RestlessConfig
    config: RestlessConfig

    def on_start(self) -> None:
        """Begin; orders from before are taken over as they are."""
        self.random = random.Random(f"{self.config.seed}/{self.ctx.name}/{self.ctx.now}")  # noqa: S311
        self.ctx.set_timer("look", 0.05, repeat=True)

    def on_timer(self, name: str) -> None:
        """Act now and then without a book, too."""
        if name == "look" and self.random.randrange(100) < self.config.percent:
            symbol = self.random.choice(self.ctx.markets)
            book = self.ctx.book(symbol)
            if book is not None:
                self._act(book)

    def on_book(self, book: Book) -> None:
        """Act."""
        if self.random.randrange(100) < self.config.percent:
            self._act(book)

    def _act(self, book: Book) -> None:
        orders = self.ctx.orders(book.symbol)
        dice = self.random.randrange(100)
        if dice == 0:
            self.ctx.cancel_all(self.random.choice((None, book.symbol)))
        elif orders and (dice < 30 or len(orders) >= self.config.orders):
            self.random.choice(orders).cancel()
        elif orders and dice < 60:
            self._replace(book, self.random.choice(orders))
        elif len(orders) < self.config.orders:
            self._place(book)

    def _price(self, book: Book, side: int) -> int:
        mid = (max(book.bids) + min(book.asks)) // 2
        away = self.random.randint(-300, 500)
        tick = self.ctx.instrument(book.symbol).tick
        return max((mid - away if side == Side.BUY else mid + away) // tick * tick, tick)

    def _place(self, book: Book) -> None:
        if not book.bids or not book.asks:
            return
        side = self.random.choice((Side.BUY, Side.SELL))
        place = self.ctx.buy if side is Side.BUY else self.ctx.sell
        tif = self.random.choice(_TIFS)
        place(
            book.symbol,
            contracts(self.random.randint(1, self.config.qty)),
            self._price(book, side),
            tif=tif,
            post_only=tif not in ("IOC", "FOK") and self.random.random() < 0.3,
            expire=self.ctx.now + self.random.randint(1, 5 * _SECOND) if tif == "GTD" else None,
            stp=self.random.choice(("taker", "maker")),
        )

    def _replace(self, book: Book, order: Order) -> None:
        if not book.bids or not book.asks or order.state == OrderState.UNKNOWN:
            return
        more = contracts(self.random.randint(1, self.config.qty))
        qty = self.random.choice((None, order.cum_qty + more))
        price = self.random.choice((None, self._price(book, order.side)))
        if (qty or order.qty) > order.cum_qty:
            order.replace(qty=qty, price=price)
