"""What a latch holds and what it lets pass, written a second time: the checker of halts doesn't ask the guard's code."""

from collections.abc import Iterable
from typing import Any

from engine.common.ids import SLOT_OPERATOR
from engine.guard.exposure import Exposure
from engine.messages.commands import Approved, ArmOrders, HaltOrders, NewOrder, Side, TimeInForce


def covering(
    scopes: Iterable[tuple[int | None, str]], slot: int, symbol: str
) -> tuple[int | None, str] | None:
    """Return the first scope that an order of this slot and market is inside of, or None."""
    for scope in scopes:
        if scope[0] in (None, slot) and scope[1] in ("", symbol):
            return scope
    return None


class HeardLatches:
    """What order entry was told to hold; what came before a halt in one batch may leave with it."""

    def __init__(self) -> None:
        self.held: dict[tuple[int | None, str], None] = {}
        self._heard: dict[tuple[int | None, str], None] = {}

    def clear(self) -> None:
        """Begin with none."""
        self.held.clear()
        self._heard.clear()

    def hear(self, message: Any) -> None:
        """Take what is delivered to order entry."""
        if isinstance(message, HaltOrders):
            self._heard[message.strategy, message.symbol] = None
        elif isinstance(message, ArmOrders):
            self._heard.pop((message.strategy, message.symbol), None)
            self.held.pop((message.strategy, message.symbol), None)

    def hold(self) -> None:
        """End a step."""
        if self._heard:
            self.held.update(self._heard)
            self._heard.clear()

    def has(self, strategy: int | None) -> bool:
        """Say whether exactly this strategy, or everything (None), is latched."""
        return (strategy, "") in self.held

    def covers(self, slot: int) -> bool:
        """Say whether a strategy as a whole is latched."""
        return any(symbol == "" and strategy in (None, slot) for strategy, symbol in self.held)


def only_reduces(exposure: Exposure, command: Approved) -> bool:
    """Say whether an order that passes latches, counted already, can only bring the account's position towards zero."""
    order = command.request
    if not isinstance(order, NewOrder) or command.strategy != SLOT_OPERATOR or order.tif != TimeInForce.IOC:
        return False
    line = exposure.account_lines[order.symbol]
    held = line.position.qty
    side, opened = (Side.SELL, line.open_sell) if held > 0 else (Side.BUY, line.open_buy)
    return order.side == side and order.qty <= opened <= abs(held)
