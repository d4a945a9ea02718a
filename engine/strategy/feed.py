"""A worker's books, kept from `md.feed`, made whole from `md.ask` after a loss.

PUB/SUB may lose messages, so nothing is believed that the numbers don't vouch for:

* `feed_no` is dense over all updates. A gap (in an update, a beat or a state message) makes every book of ours
  invalid: each asks for a snapshot that is no older than the gap's end.
* While a book waits, its changes are queued; the snapshot is applied, then what is newer, by `symbol_no` without a
  hole. A whole book in the feed itself (`reset`) serves as well as a snapshot.
* Another `feed` number is another life of market_data: start over. A smaller one is a leftover of an older life.
* Silence of market_data makes every market STALE: no message, no trust.

The reader has no clock and sends nothing: it says what happened, its owner asks and tells the strategy.
"""

from typing import Final

from engine.book.book import Book
from engine.messages.market_data import (
    BookSnapshot,
    FeedBeat,
    FeedState,
    MarketChanges,
    MarketState,
    MarketUpdate,
)

QUEUE_MAX: Final = (
    20_000  # changes of one market that wait for a snapshot; beyond, they are dropped and asked for anew
)

StateChange = tuple[str, FeedState, str]  # symbol, state, reason


class MarketView:
    """One market as the worker sees it.

    Attributes:
        valid: the book is whole: every change up to `symbol_no` is in it.
        state: as market_data last said, or STALE when it is silent.
        need_no: a snapshot must be at this feed_no or later.
        queue: (feed_no, changes) that wait for a snapshot.
        trigger_ns: of the newest update in the book.
    """

    __slots__ = ("book", "need_no", "queue", "state", "symbol_no", "trigger_ns", "valid")

    def __init__(self, symbol: str) -> None:
        self.book = Book(symbol)
        self.valid = False
        self.state = FeedState.WAITING
        self.symbol_no = 0
        self.need_no = 0
        self.queue: list[tuple[int, MarketChanges]] = []
        self.trigger_ns = 0

    def apply(self, changes: MarketChanges) -> bool:
        """Apply the next change; False: its number leaves a hole, the book is invalid."""
        if changes.symbol_no <= self.symbol_no and not changes.reset:
            return True  # the snapshot has it already
        if changes.symbol_no != self.symbol_no + 1 and not changes.reset:
            self.valid = False
            return False
        if changes.reset:
            self.book.reset(changes.levels)
        elif changes.levels:
            self.book.apply(changes.levels)
        self.symbol_no = changes.symbol_no
        return True

    @property
    def usable(self) -> bool:
        """The book is whole, live and not crossed: a strategy may act on it."""
        return self.valid and self.state is FeedState.LIVE and not self.book.crossed


class FeedReader:
    """Books of one worker.

    Attributes:
        views: by symbol, in the configuration's order.
        feed, feed_no: life and last number of the feed, 0 before the first message.
        gaps: how often numbers were missing. restarts: how often market_data began anew.
        ask: books became invalid since the owner last asked; the owner clears it.
    """

    def __init__(self, symbols: list[str]) -> None:
        self.views = {symbol: MarketView(symbol) for symbol in symbols}
        self.feed = 0
        self.feed_no = 0
        self.gaps = 0
        self.restarts = 0
        self.ask = False

    def waiting(self) -> list[str]:
        """Return the symbols whose book needs a snapshot."""
        return [symbol for symbol, view in self.views.items() if not view.valid]

    def follow(self, feed: int, feed_no: int, *, carries: bool) -> bool:
        """Take the numbers of a message; False: it is old and must be ignored.

        Args:
            carries: the message is the update `feed_no` itself; else it only tells that `feed_no` was the last.
        """
        if feed != self.feed:
            if feed < self.feed:
                return False
            self._start_over(feed, feed_no - carries)
        elif carries and feed_no <= self.feed_no:
            return False
        elif feed_no - carries > self.feed_no:
            self.gaps += 1
            self._invalidate(feed_no - carries)
        self.feed_no = max(self.feed_no, feed_no)
        return True

    def _start_over(self, feed: int, need_no: int) -> None:
        if self.feed:
            self.restarts += 1
        self.feed = feed
        self.feed_no = 0
        for view in self.views.values():
            view.symbol_no = 0
        self._invalidate(need_no)

    def _invalidate(self, need_no: int) -> None:
        self.ask = True
        for view in self.views.values():
            view.valid = False
            view.need_no = need_no
            view.queue.clear()

    def change(self, update: MarketUpdate, changes: MarketChanges, view: MarketView) -> bool:
        """Take one market's part of an update that `follow` let through; True: the book is whole and has it."""
        if not view.valid and not changes.reset:
            if len(view.queue) >= QUEUE_MAX:
                view.queue.clear()
                view.need_no = update.feed_no
                self.ask = True
            else:
                view.queue.append((update.feed_no, changes))
            return False
        if changes.reset:
            view.valid = True
            view.queue.clear()
        if not view.apply(changes):
            view.need_no = update.feed_no
            self.ask = True
            return False
        view.trigger_ns = update.trigger_ns
        return True

    def snapshot(self, message: BookSnapshot) -> bool:
        """Take an answer of `md.ask`; True: the market's book is whole now."""
        view = self.views.get(message.symbol)
        if view is None or message.feed < self.feed:
            return False
        if message.feed > self.feed:
            self._start_over(message.feed, message.feed_no)
            self.feed_no = message.feed_no
        if view.valid or message.feed_no < view.need_no:
            return False
        view.book.reset(message.levels)
        view.symbol_no = message.symbol_no
        view.valid = True
        for feed_no, changes in view.queue:
            if feed_no > message.feed_no and not view.apply(changes):
                view.need_no = feed_no
                self.ask = True
                break
        view.queue.clear()
        return view.valid

    def states(self, message: MarketState | FeedBeat | BookSnapshot) -> list[StateChange]:
        """Take the market states that a message of this feed tells; returns those of ours that changed."""
        if message.feed != self.feed:
            return []
        if isinstance(message, FeedBeat):
            told = [(symbol, message.markets.get(symbol), "") for symbol in self.views]
        elif isinstance(message, MarketState):
            told = [(message.symbol, message.state, message.reason)]
        else:
            told = [(message.symbol, message.state, "")]
        return [
            (symbol, state, reason)
            for symbol, state, reason in told
            if state is not None and self._set_state(symbol, state)
        ]

    def silence(self) -> list[StateChange]:
        """Nothing came from market_data for too long: everything is STALE; returns what changed."""
        return [
            (symbol, FeedState.STALE, "market_data is silent")
            for symbol in self.views
            if self._set_state(symbol, FeedState.STALE)
        ]

    def _set_state(self, symbol: str, state: FeedState) -> bool:
        view = self.views.get(symbol)
        if view is None or view.state is state:
            return False
        view.state = state
        return True
