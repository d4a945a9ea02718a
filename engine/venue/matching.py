"""One market's price-time matching book.

Rules that hold here:

* Better price first; at one price the order that rested first. A level is an insertion-ordered dict, so taking an
  order out of the middle costs as much as out of the front.
* The book never crosses: `match` runs before `rest`, and `rest` asserts it.
* A trade happens at the resting order's price.
* Self-trade prevention (venue.md section 4, tag 2964) is decided where the two orders of one account meet: `1` ends
  the taker with what it has got so far, `2` takes the resting order out and goes on.
* Nothing calls back: `match` returns what happened, and levels that changed wait in `take_changes`.

It knows orders only as account, side, price and leaves; the exchange adds the rest.
"""

from bisect import bisect_left, insort
from typing import Final, NamedTuple

BUY: Final = 1
SELL: Final = 2
STP_TAKER: Final = "1"
STP_MAKER: Final = "2"


class BookOrder:
    """What matching needs of an order. leaves in 1/100 contract, price in 1/10000 dollar."""

    __slots__ = ("account", "leaves", "level", "price", "side")

    def __init__(self, account: str, side: int, price: int, leaves: int) -> None:
        self.account = account
        self.side = side
        self.price = price
        self.leaves = leaves
        self.level: Level | None = None


class Level:
    """All orders at one price of one side, in time order, and the sum of their leaves."""

    __slots__ = ("orders", "price", "qty")

    def __init__(self, price: int) -> None:
        self.price = price
        self.qty = 0
        self.orders: dict[BookOrder, None] = {}


class Half:
    """One side of a book: levels by price, and their keys in order, the best last."""

    __slots__ = ("keys", "levels", "sign")

    def __init__(self, side: int) -> None:
        self.sign = 1 if side == BUY else -1
        self.keys: list[int] = []  # price times sign: ascending is worst to best on both sides
        self.levels: dict[int, Level] = {}

    def best(self) -> Level | None:
        """Return the best level, or None when the side is empty."""
        return self.levels[self.keys[-1] * self.sign] if self.keys else None

    def best_price(self) -> int | None:
        """Return the best price, or None when the side is empty."""
        return self.keys[-1] * self.sign if self.keys else None

    def level_for(self, price: int) -> Level:
        """Return the level at a price, made when it isn't there."""
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = Level(price)
            insort(self.keys, price * self.sign)
        return level

    def drop(self, price: int) -> None:
        """Forget an empty level."""
        del self.levels[price]
        del self.keys[bisect_left(self.keys, price * self.sign)]


class Fill(NamedTuple):
    """The taker traded with a resting order; the maker's leaves are already reduced."""

    maker: BookOrder
    price: int
    qty: int


class Pulled(NamedTuple):
    """Self-trade prevention ended an order: the taker itself, or a resting order that is out of the book now."""

    order: BookOrder


class Book:
    """The book of one market."""

    __slots__ = ("_changed", "_published", "asks", "bids", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.bids = Half(BUY)
        self.asks = Half(SELL)
        self._changed: dict[int, None] = {}  # price * 2 + (0 bid, 1 offer), in order of first change
        self._published: dict[int, int] = {}  # the same key to the quantity that subscribers know

    def _mark(self, side: int, price: int) -> None:
        self._changed[price * 2 + (side == SELL)] = None

    def would_cross(self, side: int, price: int) -> bool:
        """Tell whether an order would trade at once, or meet an order of its own account."""
        if side == BUY:
            best = self.asks.best_price()
            return best is not None and price >= best
        best = self.bids.best_price()
        return best is not None and price <= best

    def available(self, side: int, price: int, wanted: int, account: str, stp: str) -> int:
        """Return how much of `wanted` would fill at once, for FOK: own orders end the search or are skipped, by stp."""
        other = self.asks if side == BUY else self.bids
        limit = price * other.sign
        found = 0
        for key in reversed(other.keys):
            if key < limit:
                break
            for maker in other.levels[key * other.sign].orders:
                if maker.account == account:
                    if stp != STP_MAKER:
                        return found
                    continue
                found += maker.leaves
                if found >= wanted:
                    return wanted
        return found

    def meets_own(self, side: int, price: int, account: str) -> bool:
        """Tell whether an order of `account` rests on the other side at a price that this one would reach."""
        other = self.asks if side == BUY else self.bids
        limit = price * other.sign
        for key in reversed(other.keys):
            if key < limit:
                return False
            if any(maker.account == account for maker in other.levels[key * other.sign].orders):
                return True
        return False

    def match(self, taker: BookOrder, stp: str = STP_TAKER) -> list[Fill | Pulled]:
        """Trade an order that isn't in the book against it; what is left stays in `taker.leaves`.

        Returns:
            Events in the order in which they happened. A `Pulled` of the taker is the last one.
        """
        other = self.asks if taker.side == BUY else self.bids
        limit = taker.price * other.sign
        other_side = SELL if taker.side == BUY else BUY
        events: list[Fill | Pulled] = []
        while taker.leaves and other.keys and other.keys[-1] >= limit:
            level = other.levels[other.keys[-1] * other.sign]
            maker = next(iter(level.orders))
            if maker.account == taker.account:
                if stp != STP_MAKER:
                    events.append(Pulled(taker))
                    return events
                self.remove(maker)
                events.append(Pulled(maker))
                continue
            qty = min(maker.leaves, taker.leaves)
            maker.leaves -= qty
            taker.leaves -= qty
            level.qty -= qty
            self._mark(other_side, level.price)
            if not maker.leaves:
                del level.orders[maker]
                maker.level = None
                if not level.orders:
                    other.drop(level.price)
            events.append(Fill(maker, level.price, qty))
        return events

    def rest(self, order: BookOrder) -> None:
        """Put an order at the end of its level's queue; it must have been matched before."""
        assert order.level is None, "an order rests once"
        assert order.leaves > 0, "an order without leaves can't rest"
        assert not self.would_cross(order.side, order.price), "an order was rested without being matched"
        half = self.bids if order.side == BUY else self.asks
        level = half.level_for(order.price)
        level.orders[order] = None
        level.qty += order.leaves
        order.level = level
        self._mark(order.side, order.price)

    def remove(self, order: BookOrder) -> None:
        """Take a resting order out; its leaves stay as they are."""
        level = order.level
        assert level is not None, "only a resting order can be removed"
        del level.orders[order]
        level.qty -= order.leaves
        order.level = None
        if not level.orders:
            (self.bids if order.side == BUY else self.asks).drop(level.price)
        self._mark(order.side, order.price)

    def reduce(self, order: BookOrder, leaves: int) -> None:
        """Make a resting order smaller; it keeps its place in the queue (venue.md section 4, replace)."""
        level = order.level
        assert level is not None, "only a resting order shrinks"
        assert 0 < leaves <= order.leaves, "an order shrinks, and not to nothing"
        level.qty -= order.leaves - leaves
        order.leaves = leaves
        self._mark(order.side, order.price)

    def levels(self) -> list[int]:
        """Return the book flat, three ints a level: side (0 bid, 1 offer), price, quantity; best first, bids first."""
        flat: list[int] = []
        for entry_type, half in ((0, self.bids), (1, self.asks)):
            for key in reversed(half.keys):
                price = key * half.sign
                flat += (entry_type, price, half.levels[price].qty)
        return flat

    @property
    def dirty(self) -> bool:
        """Whether levels changed since `take_changes`."""
        return bool(self._changed)

    def take_changes(self) -> list[tuple[int, int, int, int]]:
        """Return what subscribers don't know yet: (action 0 new 1 change 2 delete, side 0 or 1, price, quantity)."""
        changes = []
        published = self._published
        for key in self._changed:
            price, entry_type = key >> 1, key & 1
            level = (self.asks if entry_type else self.bids).levels.get(price)
            before = published.get(key, 0)
            after = level.qty if level is not None else 0
            if before == after:
                continue
            if after:
                published[key] = after
                changes.append((1 if before else 0, entry_type, price, after))
            else:
                del published[key]
                changes.append((2, entry_type, price, 0))
        self._changed.clear()
        return changes
