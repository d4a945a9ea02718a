"""Our own sum against the venue's 704/705."""

from engine.drop_copy import breaks as brk
from engine.drop_copy.breaks import Breaks
from engine.drop_copy.keys import key_of
from engine.drop_copy.position_watch import PositionWatch
from engine.messages.executions import EventKind, OrderEvent, OrderState

WALL = 1_790_000_000_000_000_000


def trade(watch, exec_id, own, venue):
    event = OrderEvent(
        tape_no=1,
        strategy=1,
        strategy_no=1,
        kind=EventKind.TRADE,
        state=OrderState.FILLED,
        order="o",
        wall_ns=WALL,
        symbol="BTC-PERP",
        side=1,
        exec_id=exec_id,
        position=own,
        long_qty=max(venue, 0),
        short_qty=max(-venue, 0),
    )
    watch.on_trade(key_of(exec_id), event)


def test_an_explained_distance_does_not_hide_the_opposite_one():
    """Five missing, explained, is not five too many."""
    breaks = Breaks()
    watch = PositionWatch(breaks)
    trade(watch, "1;1", own=500, venue=1000)
    (first,) = breaks.open
    breaks.end(first, "traded by hand", WALL, brk.EXPLAINED, "ann")
    trade(watch, "1;2", own=600, venue=1100)
    assert not breaks.open
    trade(watch, "1;3", own=1600, venue=1100)
    assert len(breaks.open) == 1
