"""What market_data publishes (`md.feed`) and answers (`md.ask`).

One bus message per FIX message: an incremental refresh that touches several markets stays one, with one feed number.
A reader that sees a gap in `feed_no` asks `md.ask` for a snapshot at a number and goes on from the next.
"""

from enum import StrEnum

import msgspec

TOPIC_BOOK = "book"
TOPIC_BEAT = "beat"
TOPIC_TOP = "top."  # + symbol
TOPIC_STATE = "state"


class FeedState(StrEnum):
    """How far a market's data can be trusted. Only LIVE may be traded on."""

    WAITING = "waiting"  # subscribed, no snapshot yet
    LIVE = "live"
    EMPTY = (
        "empty"  # an empty snapshot: the venue's way of not knowing the ticker, or a market without orders
    )
    STALE = "stale"  # session lost, gap, or an entry that could not be applied
    HALTED = "halted"  # SecurityStatus said so


class MarketChanges(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One market's part of a FIX message.

    Attributes:
        symbol_no: dense per symbol and feed start; follows the symbol's previous one.
        reset: the levels are a whole book (a snapshot): forget what was there.
        levels: flat, three ints a level: side (0 bid, 1 offer), price, quantity (absolute; 0 deletes).
        trades: flat, three ints a trade: price, quantity, aggressor side (1 buy, 2 sell, 0 unknown).
    """

    symbol: str
    symbol_no: int
    levels: list[int] = []
    trades: list[int] = []
    reset: bool = False


class MarketUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="update"):
    """One W or X of the venue, topic `book`.

    Attributes:
        feed_no: dense over all updates of one feed.
        feed: identifies market_data's start; another one means: start over from snapshots.
        trigger_ns: mono_ns when the bytes were read.
        sending_ns: the venue's SendingTime, wall ns.
    """

    feed: int
    feed_no: int
    trigger_ns: int
    sending_ns: int
    markets: list[MarketChanges]


class TopOfBook(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="top"):
    """Best prices of a market, conflated, topic `top.SYMBOL`. A zero quantity means: no such side (or no trade yet)."""

    feed: int
    feed_no: int
    symbol: str
    state: FeedState
    bid: int = 0
    bid_qty: int = 0
    ask: int = 0
    ask_qty: int = 0
    last: int = 0
    last_qty: int = 0
    trigger_ns: int = 0


class MarketState(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="state"):
    """A market's data became usable or unusable, topic `state`."""

    feed: int
    feed_no: int
    symbol: str
    state: FeedState
    reason: str = ""


class FeedBeat(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="beat"):
    """Every 100 ms, topic `beat`: the last number, so that a loss shows while nothing happens, and each market's state.

    Attributes:
        session: state of the KalshiMD session in words (`logged on` when usable).
        skew_ns: the venue's clock minus ours, as last measured from SendingTime.
    """

    feed: int
    feed_no: int
    mono_ns: int
    session: str
    markets: dict[str, FeedState] = {}
    skew_ns: int = 0


class BookRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="book?"):
    """Ask `md.ask` for a snapshot of each named market, or of all when none is named."""

    symbols: list[str] = []


class BookSnapshot(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="snapshot"):
    """A whole book as it was after `feed_no`; levels flat as in `MarketChanges`, best first on each side."""

    feed: int
    feed_no: int
    symbol: str
    symbol_no: int
    state: FeedState
    levels: list[int] = []
    last: int = 0
    last_qty: int = 0


FeedMessage = MarketUpdate | TopOfBook | MarketState | FeedBeat
AskMarketData = BookRequest
MarketDataAnswer = BookSnapshot
