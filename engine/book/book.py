"""Reconstruction of one market's aggregated book from flat levels.

The venue sends absolute sizes: New and Change both mean "this level now holds so much", Delete means none
(venue.md section 5). A level arrives as three ints: side (0 bid, 1 offer), price in 1/10000 dollar, quantity in 1/100
contract; quantity 0 deletes.

Rules that hold here:

* `bid` and `ask` are the best prices after every `apply` and `reset`, 0 for a side without levels. A better level moves
  the best at once; only a delete of the best itself makes the side search, once per call however many levels went.
* Deleting a level that isn't there is counted and harmless: the result is what the sender meant.
* An entry that means nothing (no such side, a price that isn't positive, a negative quantity, a cut triple) is not
  applied and counted in `bad`: the book may differ from the venue's from then on, and its owner must ask again.
* Whether the book is crossed may be asked after a whole message only: within one, levels cross in passing.
"""

from typing import Final

BID: Final = 0
ASK: Final = 1


class Book:
    """One market's aggregated book.

    Attributes:
        symbol: the market.
        bids, asks: price (1/10000 dollar) to quantity (1/100 contract); read them, never write.
        bid, ask: best prices, 0 when the side is empty.
        bad: entries that could not be applied since the last `reset`.
    """

    __slots__ = ("ask", "asks", "bad", "bid", "bids", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.bid = 0
        self.ask = 0
        self.bad = 0

    def __repr__(self) -> str:
        return f"Book({self.symbol} {self.bid_qty}@{self.bid} / {self.ask_qty}@{self.ask})"

    def apply(self, levels: list[int]) -> int:
        """Apply flat levels in order.

        Returns:
            How many deletes named a level that wasn't there.
        """
        bids, asks = self.bids, self.asks
        bid, ask = self.bid, self.ask
        missing = 0
        bid_gone = ask_gone = False
        numbers = iter(levels)
        for side, price, qty in zip(numbers, numbers, numbers, strict=False):
            if price <= 0 or qty < 0:
                self.bad += 1
            elif side == BID:
                if qty:
                    bids[price] = qty
                    if price > bid:  # noqa: PLR1730 - a call to max costs more than the comparison
                        bid = price
                elif bids.pop(price, None) is None:
                    missing += 1
                elif price == bid:
                    bid_gone = True
            elif side == ASK:
                if qty:
                    asks[price] = qty
                    if price < ask or not ask:
                        ask = price
                elif asks.pop(price, None) is None:
                    missing += 1
                elif price == ask:
                    ask_gone = True
            else:
                self.bad += 1
        if len(levels) % 3:
            self.bad += 1
        # `bid` may name a level that is gone, or a better one that came after it went: either way the search is right
        self.bid = max(bids, default=0) if bid_gone else bid
        self.ask = min(asks, default=0) if ask_gone else ask
        return missing

    def reset(self, levels: list[int]) -> int:
        """Forget everything and take a whole book; returns as `apply`."""
        self.bids.clear()
        self.asks.clear()
        self.bid = self.ask = self.bad = 0
        return self.apply(levels)

    @property
    def bid_qty(self) -> int:
        """Quantity at the best bid, 1/100 contract; 0 without bids."""
        return self.bids.get(self.bid, 0)

    @property
    def ask_qty(self) -> int:
        """Quantity at the best offer, 1/100 contract; 0 without offers."""
        return self.asks.get(self.ask, 0)

    @property
    def crossed(self) -> bool:
        """Both sides are there and the best bid reaches the best offer: no matching engine leaves such a book."""
        return 0 < self.ask <= self.bid

    @property
    def empty(self) -> bool:
        """No level on either side."""
        return not self.bids and not self.asks

    @property
    def two_sided(self) -> bool:
        """There is a best bid and a best offer, and they don't cross."""
        return 0 < self.bid < self.ask

    @property
    def mid(self) -> int:
        """Middle of the best prices, 1/10000 dollar, rounded down; 0 unless both sides are there."""
        return (self.bid + self.ask) // 2 if self.bid and self.ask else 0

    @property
    def spread(self) -> int:
        """Best offer minus best bid, 1/10000 dollar; 0 unless both sides are there."""
        return self.ask - self.bid if self.bid and self.ask else 0

    def best_bids(self, depth: int = 0) -> list[tuple[int, int]]:
        """Return (price, quantity) of the bids, best first; `depth` 0 means all."""
        found = sorted(self.bids.items(), reverse=True)
        return found[:depth] if depth else found

    def best_asks(self, depth: int = 0) -> list[tuple[int, int]]:
        """Return (price, quantity) of the offers, best first; `depth` 0 means all."""
        found = sorted(self.asks.items())
        return found[:depth] if depth else found

    def levels(self) -> list[int]:
        """Export the whole book as flat levels, bids then offers, best first on each side; `reset` takes it back."""
        flat: list[int] = []
        for price, qty in self.best_bids():
            flat += (BID, price, qty)
        for price, qty in self.best_asks():
            flat += (ASK, price, qty)
        return flat
