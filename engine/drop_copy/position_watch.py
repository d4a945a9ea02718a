"""Our own sum of each market against the venue's LongQty(704) - ShortQty(705) of its newest trade. Pure.

Every trade moves our sum, one long confirmed too; the venue's word is that of the newest ExecID. Equal again closes the
break. A distance that an operator explained is no break while it stays the same, sign and all.
"""

from engine.common.fixed_point import QTY_TEXTS
from engine.drop_copy import breaks as brk
from engine.drop_copy.breaks import Breaks, id_of
from engine.drop_copy.keys import Key, text_of
from engine.messages.executions import OrderEvent, Source
from engine.messages.reconciliation import BreakNote


class PositionWatch:
    """Attributes: broke: a position break opened since the caller looked last; the caller resets it."""

    def __init__(self, breaks: Breaks) -> None:
        self.broke = False
        self._breaks = breaks
        self._own: dict[str, int] = {}
        self._venue: dict[str, tuple[Key, int]] = {}

    def on_trade(self, key: Key, event: OrderEvent) -> None:
        """Take a trade that is on the tape."""
        self._own[event.symbol] = event.position
        newest = self._venue.get(event.symbol)
        said = event.long_qty >= 0 and event.short_qty >= 0
        # A recovered one may be older than trades that are on the tape before the place where a restart reads again.
        newer = key > newest[0] if newest is not None else event.source is not Source.RECOVERED
        if said and newer:
            self._venue[event.symbol] = (key, event.long_qty - event.short_qty)
        self._check(event)

    def on_position(self, event: OrderEvent) -> None:
        """Take an opening or accepted position; an operator's word is newer than the venue's last trade."""
        said = event.long_qty >= 0 and event.short_qty >= 0
        self._own[event.symbol] = event.long_qty - event.short_qty if said else event.position

    def forget_venue(self, symbol: str) -> None:
        """Forget what the venue said of a market."""
        self._venue.pop(symbol, None)
        self._breaks.position_is_whole(symbol)

    def _check(self, event: OrderEvent) -> None:
        symbol = event.symbol
        said = self._venue.get(symbol)
        if said is None:
            return
        key, there = said
        here = self._own[symbol]
        breaks = self._breaks
        known = breaks.positions.get(symbol)
        if here == there:
            if known is not None:
                breaks.end(known.break_id, f"both {QTY_TEXTS[here]} again", event.wall_ns)
            breaks.position_is_whole(symbol)
            return
        distance = there - here
        if breaks.is_known_position(symbol, distance):
            return
        if known is None:
            self.broke = True
        breaks.note(
            BreakNote(
                break_id=known.break_id if known else f"{id_of(brk.POSITION, key)}-{symbol}",
                kind=brk.POSITION,
                status=brk.OPEN,
                wall_ns=event.wall_ns,
                exec_id=known.exec_id if known else text_of(key),
                cl_ord_id=known.cl_ord_id if known else event.cl_ord_id,
                symbol=symbol,
                text=f"own sum {QTY_TEXTS[here]}, 704/705 of {text_of(key)} says {QTY_TEXTS[there]}",
                amount=distance,
            )
        )
