"""One market as market_data holds it: its book, its numbers, and how far it can be trusted.

    WAITING --snapshot--> LIVE or EMPTY --cross, bad entry, session lost--> STALE --snapshot--> LIVE or EMPTY

HALTED shows over LIVE and EMPTY while SecurityStatus says so. Level changes count only while there is a snapshot under
them (`ready`): what comes before it, or after the book was given up, can't be placed.
"""

from engine.book.book import Book
from engine.messages.market_data import BookSnapshot, FeedState, TopOfBook

Top = tuple[FeedState, int, int, int, int, int, int]


class Market:
    """State of one market.

    Attributes:
        no: symbol_no of the last change that was published.
        ready: a snapshot lies under the book.
        halted: SecurityStatus said halt, and nothing else since.
        subscribed: a snapshot has answered a subscription of this session.
        state: as last published.
        told: what the last TopOfBook said.
        resyncs: how often in a row the book was given up; resync_ns: when last, mono.
    """

    __slots__ = (
        "book",
        "halted",
        "last",
        "last_qty",
        "no",
        "ready",
        "resync_ns",
        "resyncs",
        "state",
        "subscribed",
        "told",
        "trigger_ns",
    )

    def __init__(self, symbol: str) -> None:
        self.book = Book(symbol)
        self.no = 0
        self.last = 0
        self.last_qty = 0
        self.ready = False
        self.halted = False
        self.subscribed = False
        self.state = FeedState.WAITING
        self.told: Top | None = None
        self.resyncs = 0
        self.resync_ns = 0
        self.trigger_ns = 0

    def apply(self, levels: list[int], trades: list[int], reset: bool) -> int:
        """Apply one market's part of a FIX message; returns how many deletes named no level."""
        missing = 0
        if reset:
            missing = self.book.reset(levels)
            self.ready = self.subscribed = True
        elif levels:
            missing = self.book.apply(levels)
        if trades:
            self.last, self.last_qty = trades[-3], trades[-2]
        return missing

    def seen_state(self) -> FeedState:
        """Return the state that book and session justify; only while `ready`."""
        if self.halted:
            return FeedState.HALTED
        return FeedState.EMPTY if self.book.empty else FeedState.LIVE

    def top(self) -> Top:
        """Return what a TopOfBook would say now."""
        book = self.book
        return (self.state, book.bid, book.bid_qty, book.ask, book.ask_qty, self.last, self.last_qty)

    def top_message(self, feed: int, feed_no: int) -> TopOfBook:
        """Make the TopOfBook of now."""
        book = self.book
        return TopOfBook(
            feed=feed,
            feed_no=feed_no,
            symbol=book.symbol,
            state=self.state,
            bid=book.bid,
            bid_qty=book.bid_qty,
            ask=book.ask,
            ask_qty=book.ask_qty,
            last=self.last,
            last_qty=self.last_qty,
            trigger_ns=self.trigger_ns,
        )

    def snapshot(self, feed: int, feed_no: int) -> BookSnapshot:
        """Make the BookSnapshot of now; without levels while there is no snapshot of the venue under the book."""
        return BookSnapshot(
            feed=feed,
            feed_no=feed_no,
            symbol=self.book.symbol,
            symbol_no=self.no,
            state=self.state,
            levels=self.book.levels() if self.ready else [],
            last=self.last,
            last_qty=self.last_qty,
        )
