"""What a latch holds and what it lets pass, written a second time: the checker of halts doesn't ask the guard's code."""

from collections.abc import Iterable

from engine.common.ids import SLOT_OPERATOR
from engine.guard.exposure import Exposure
from engine.messages.commands import Approved, NewOrder, Side, TimeInForce


def covering(
    scopes: Iterable[tuple[int | None, str]], slot: int, symbol: str
) -> tuple[int | None, str] | None:
    """Return the first scope that an order of this slot and market is inside of, or None."""
    for scope in scopes:
        if scope[0] in (None, slot) and scope[1] in ("", symbol):
            return scope
    return None


def only_reduces(exposure: Exposure, command: Approved) -> bool:
    """Say whether an order that passes latches, counted already, can only bring the account's position towards zero."""
    order = command.request
    if not isinstance(order, NewOrder) or command.strategy != SLOT_OPERATOR or order.tif != TimeInForce.IOC:
        return False
    line = exposure.account_lines[order.symbol]
    held = line.position.qty
    side, opened = (Side.SELL, line.open_sell) if held > 0 else (Side.BUY, line.open_buy)
    return order.side == side and order.qty <= opened <= abs(held)
