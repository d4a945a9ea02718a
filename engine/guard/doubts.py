"""Positions that the venue sees differently: LongQty(704) and ShortQty(705) after a trade against our own sum.

A difference keeps new orders out of the market at once. It may be a fill that the session lost and drop copy is just
bringing, so it becomes a break, and latches the market, only when nothing explained it for DOUBT_NS while nothing was
being recovered. Arming the market again does not mend a break: it is over when the venue's word agrees, or when the
position was stated.
"""

from typing import Final

from engine.common.clock import SECOND
from engine.guard.exposure import Exposure
from engine.messages.executions import EventKind, OrderEvent, Source

DOUBT_NS: Final = 3 * SECOND
BREAK: Final = "position break"  # how a latch of it begins


class Doubts:
    """Markets whose position is in doubt.

    Attributes:
        broken: market to why: nothing has explained the difference.
    """

    def __init__(self, exposure: Exposure) -> None:
        self._exposure = exposure
        self.broken: dict[str, str] = {}
        self._open: dict[str, tuple[int, int]] = {}  # market to (the venue's position, since mono_ns)

    def hear(self, event: OrderEvent, mono_ns: int) -> None:
        """Compare after a TRADE or POSITION event was applied; only the session's own reports say what is now."""
        symbol = event.symbol
        market = self._exposure.markets[symbol]
        held = self._exposure.account_lines[symbol].position.qty
        trade = event.kind is EventKind.TRADE
        said = trade and event.long_qty >= 0 and event.short_qty >= 0 and event.source is Source.SESSION
        if said and market.position_known:
            venue = event.long_qty - event.short_qty
            if venue != held:
                since_ns = self._open[symbol][1] if symbol in self._open else mono_ns
                self._open[symbol] = (venue, since_ns)
                market.doubt = f"{symbol}: the venue says the position is {venue}, our sum is {held}"
                return
        if said or not trade:
            self.broken.pop(symbol, None)
        doubt = self._open.get(symbol)
        if doubt is not None and (said or not trade or doubt[0] == held):
            del self._open[symbol]
            market.doubt = ""

    def overdue(self, mono_ns: int, *, recovering: bool) -> list[tuple[str, str]]:
        """Return (market, why) of each doubt that is a break by now; while recovering, the time begins anew."""
        if recovering:
            self._open = {symbol: (venue, mono_ns) for symbol, (venue, _) in self._open.items()}
            return []
        found = []
        for symbol, (_, since_ns) in tuple(self._open.items()):
            if mono_ns - since_ns >= DOUBT_NS:
                market = self._exposure.markets[symbol]
                why = self.broken[symbol] = f"{BREAK}: {market.doubt}"
                found.append((symbol, why))
                del self._open[symbol]
                market.doubt = ""
        return found

    def recall(self, symbol: str, why: str) -> None:
        """Take a break back in from the latch that it left, at the start."""
        if symbol and why.startswith(BREAK):
            self.broken[symbol] = why

    def clear(self) -> None:
        """Forget all: everything was taken over anew."""
        for symbol in self._open:
            self._exposure.markets[symbol].doubt = ""
        self._open.clear()
