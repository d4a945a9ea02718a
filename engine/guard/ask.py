"""What is judged and against what: the ask of an intent, the way of a strategy in a market, and a control's no.

Everything that can be known before an intent comes is looked up once (`Way`); what the intent adds is worked out once
(`Ask`), by every control's leave: one object is used again and again.
"""

from collections import deque
from typing import Protocol

import msgspec

from engine.guard.exposure import Order
from engine.guard.lines import Line, Scope
from engine.guard.markets import Market
from engine.messages.commands import NewOrder, ReplaceOrder


class Breach(msgspec.Struct, frozen=True, gc=False):
    """A control said no. `limit` and `value` are in the control's unit."""

    control: str
    scope: str
    text: str
    limit: int = 0
    value: int = 0


class Way:
    """One strategy in one market: what its intents are judged against.

    Attributes:
        scopes: strategy, market, account. silent: why its worker gets nothing through, or empty.
        latched: why the strategy is halted, or empty. recent: (side, price, qty) to when it last passed;
            repeats: to when it passed the last times. soft_qty, soft_notional: an order over it is warned of.
    """

    __slots__ = (
        "account",
        "latched",
        "line",
        "market",
        "recent",
        "repeats",
        "scopes",
        "silent",
        "soft_notional",
        "soft_qty",
    )

    def __init__(self, line: Line, account: Line, scopes: tuple[Scope, Scope, Scope]) -> None:
        self.line = line
        self.account = account
        self.market: Market = line.market
        self.scopes = scopes
        self.latched = ""
        self.silent = ""
        self.recent: dict[tuple[int, int, int], int] = {}
        self.repeats: dict[tuple[int, int, int], deque[int]] = {}
        self.soft_qty = self.soft_notional = 0

    def soften(self, percent: int) -> None:
        """Work out the size of an order that is warned of."""
        self.soft_qty = min(scope.max_order_qty for scope in self.scopes) * percent // 100
        self.soft_notional = min(scope.max_order_notional for scope in self.scopes) * percent // 100


class Ask:
    """What an intent asks for, worked out once; one object is used again and again.

    Attributes:
        qty: total quantity. leaves: what could still be filled. extra: open quantity beyond what is counted now.
        notional: price * leaves. extra_notional: open notional beyond what is counted now.
        order: the order to be replaced, None for a new one.
    """

    __slots__ = (
        "extra",
        "extra_notional",
        "intent",
        "leaves",
        "made_ns",
        "mono_ns",
        "new",
        "notional",
        "order",
        "price",
        "qty",
        "side",
        "wall_ns",
    )

    intent: NewOrder | ReplaceOrder
    new: NewOrder | None
    order: Order | None

    def of_new(self, intent: NewOrder, way: Way, wall_ns: int, mono_ns: int) -> None:
        """Take a new order."""
        self.intent = self.new = intent
        self.order = None
        self.side = intent.side
        self.price = intent.price
        self.qty = self.leaves = self.extra = intent.qty
        self.notional = self.extra_notional = intent.price * intent.qty * way.market.multiplier
        self.made_ns = intent.made_ns
        self.wall_ns = wall_ns
        self.mono_ns = mono_ns

    def of_replace(self, intent: ReplaceOrder, order: Order, way: Way, wall_ns: int, mono_ns: int) -> None:
        """Take a replace: qty is the new total (venue.md section 4)."""
        self.intent = intent
        self.new = None
        self.order = order
        self.side = intent.side
        self.price = intent.price
        self.qty = intent.qty
        self.leaves = intent.qty - order.cum
        self.extra = max(0, self.leaves - order.counted_qty)
        self.notional = intent.price * self.leaves * way.market.multiplier
        self.extra_notional = max(0, self.notional - order.counted_notional)
        self.made_ns = intent.made_ns
        self.wall_ns = wall_ns
        self.mono_ns = mono_ns


class Control(Protocol):
    """One pre-trade control."""

    name: str

    def check(self, ask: Ask, way: Way) -> Breach | None:
        """Answer None, or why not."""
