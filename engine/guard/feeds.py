"""What the guard hears from market data: best prices, states of markets, and whether anybody still watches them.

A top may be lost (PUB/SUB): a market that is quiet is looked at again; a market data that started anew is asked for
everything.
"""

from collections.abc import Callable
from typing import Final

from engine.common.actor import Outbox
from engine.common.clock import SECOND, Now
from engine.guard.exposure import Exposure
from engine.guard.gate import Gate
from engine.guard.losses import Losses
from engine.messages.market_data import (
    BookRequest,
    BookSnapshot,
    FeedBeat,
    FeedState,
    MarketState,
    TopOfBook,
)

BOOK_ASK_NS: Final = 2 * SECOND


class Feeds:
    """Takes what market data says into the markets and the gate."""

    def __init__(
        self, out: Outbox, exposure: Exposure, gate: Gate, losses: Losses, settle: Callable[[Now], None]
    ) -> None:
        self._out = out
        self._exposure = exposure
        self._gate = gate
        self._losses = losses
        self._settle = settle
        self._feed = 0
        self._asked_ns = 0

    def ask_books(self, now: Now, symbols: list[str] | None = None) -> None:
        """Ask for the books of some markets, or all."""
        self._asked_ns = now.mono_ns
        self._out.send("md.ask", BookRequest(symbols=symbols or []))

    def on_prices(self, _peer: str, told: TopOfBook | BookSnapshot, now: Now) -> None:
        """Take best prices in, or a whole book."""
        market = self._exposure.markets.get(told.symbol)
        self._heard(told.feed, now)
        if market is None:
            return
        mark, usable = market.mark, market.usable
        if type(told) is TopOfBook:
            market.apply_top(told, now.mono_ns)
        else:
            assert type(told) is BookSnapshot, "nothing else tells prices"
            market.apply_snapshot(told, now.mono_ns)
        if mark != market.mark:
            self._losses.check(now)
        if usable is not market.usable:
            self._settle(now)

    def on_market_state(self, _peer: str, message: MarketState, now: Now) -> None:
        """Take a market's state in."""
        self._heard(message.feed, now)
        market = self._exposure.markets.get(message.symbol)
        if market is not None:
            market.set_state(message.state)
            self._settle(now)

    def on_beat(self, _peer: str, beat: FeedBeat, now: Now) -> None:
        """Take a beat in, and ask again for what is quiet."""
        self._heard(beat.feed, now)
        self._gate.feed = beat
        markets = self._exposure.markets
        quiet = []
        for symbol, state in beat.markets.items():
            market = markets.get(symbol)
            if market is None:
                continue
            if state is not market.state:
                market.set_state(state)
            if state is FeedState.LIVE and now.mono_ns - market.top_ns > BOOK_ASK_NS:
                quiet.append(symbol)
        if quiet and now.mono_ns - self._asked_ns > BOOK_ASK_NS:
            self.ask_books(now, quiet)  # a top may have been lost: what is quiet is looked at again
        self._settle(now)

    def _heard(self, feed: int, now: Now) -> None:
        self._gate.feed_ns = now.mono_ns
        if feed != self._feed:  # market_data started anew
            self._feed = feed
            self.ask_books(now)
