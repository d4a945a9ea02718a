"""Scopes and lines: what is held and open, summed up where limits apply.

A line is one strategy's position and open quantity in one market, or the account's. Every change of a line is a change
of its scopes: the strategy's line counts in the strategy, the account's line in the market and in the account. So a
limit is one comparison of integers at the moment of decision, however many markets and orders there are.
"""

from collections.abc import Iterator
from typing import Final

from engine.common.fixed_point import MONEY_DECIMALS, QTY_DECIMALS, parse_fixed
from engine.config import LimitsConfig
from engine.guard.markets import Market
from engine.messages.executions import PositionState
from engine.orders.position import Position

NO_LIMIT: Final = 1 << 62


LIMITS: Final = {
    "max_order_qty": QTY_DECIMALS,
    "max_order_notional": MONEY_DECIMALS,
    "max_position": QTY_DECIMALS,
    "max_open_orders": 0,
    "max_gross_notional": MONEY_DECIMALS,
    "max_unacknowledged": 0,
    "max_loss": MONEY_DECIMALS,
    "max_drawdown": MONEY_DECIMALS,
}
"""Every limit of a scope and the decimals of its unit."""


class Scope:
    """Limits of an account, market or strategy, and how much of each is used.

    Attributes:
        profit: today's; base: what was made before today, once every line has begun its day (`complete`).
        peak: the highest of profit + base that was seen, None before the first.
    """

    __slots__ = (
        "base",
        "complete",
        "gross",
        "max_drawdown",
        "max_gross_notional",
        "max_loss",
        "max_open_orders",
        "max_order_notional",
        "max_order_qty",
        "max_position",
        "max_unacknowledged",
        "open_orders",
        "peak",
        "profit",
        "text",
        "unacknowledged",
        "worst",
    )

    def __init__(self, text: str, limits: LimitsConfig | None) -> None:
        self.text = text
        self.max_order_qty = self.max_order_notional = self.max_position = NO_LIMIT
        self.max_open_orders = self.max_gross_notional = self.max_unacknowledged = self.max_loss = NO_LIMIT
        self.max_drawdown = NO_LIMIT
        self.base, self.complete = 0, False
        self.peak: int | None = None
        if limits is not None:
            self.max_order_qty = parse_fixed(limits.max_order_qty, QTY_DECIMALS)
            self.max_order_notional = parse_fixed(limits.max_order_notional, MONEY_DECIMALS)
            self.max_position = parse_fixed(limits.max_position, QTY_DECIMALS)
            self.max_open_orders = limits.max_open_orders
            self.max_gross_notional = parse_fixed(limits.max_gross_notional, MONEY_DECIMALS)
            self.max_unacknowledged = limits.max_unacknowledged
            self.max_loss = parse_fixed(limits.max_loss, MONEY_DECIMALS)
            self.max_drawdown = (
                parse_fixed(limits.max_drawdown, MONEY_DECIMALS) if limits.max_drawdown else 2 * self.max_loss
            )
        self.clear()

    @property
    def drawdown(self) -> int:
        """How far it is below its peak, money; 0 while that can't be said."""
        return self.peak - self.profit - self.base if self.complete and self.peak is not None else 0

    def uses(self) -> Iterator[tuple[str, int, int]]:
        """Walk (control, used, limit) of what is used up over time."""
        yield "max_position", self.worst, self.max_position
        yield "open_orders", self.open_orders, self.max_open_orders
        yield "max_gross", self.gross, self.max_gross_notional
        yield "unacknowledged", self.unacknowledged, self.max_unacknowledged
        yield "max_loss", -self.profit, self.max_loss
        yield "max_drawdown", self.drawdown, self.max_drawdown

    def clear(self) -> None:
        """Forget what is used."""
        self.open_orders = 0
        self.unacknowledged = 0
        self.gross = 0
        self.worst = 0
        self.profit = 0


class Line:
    """One strategy's position and open quantity in one market, or the account's (strategy None).

    Attributes:
        worst: the worse of both sides, quantity. notional: the position at its mark, money.
        base: profit at which today began, None while it isn't known. today: what it adds to its scopes' profit.
    """

    __slots__ = (
        "base",
        "market",
        "notional",
        "open_buy",
        "open_orders",
        "open_sell",
        "position",
        "scopes",
        "strategy",
        "today",
        "worst",
    )

    def __init__(self, strategy: int | None, market: Market, scopes: tuple[Scope, ...]) -> None:
        self.strategy = strategy
        self.market = market
        self.scopes = scopes
        self.base: int | None = None
        self.clear()

    def clear(self) -> None:
        """Forget everything but where today began; the scopes are cleared by the caller."""
        self.position = Position()
        self.open_buy = self.open_sell = self.open_orders = 0
        self.worst = self.notional = self.today = 0

    @property
    def unrealised(self) -> int:
        """Profit of the open position at the mark, money; 0 without a mark."""
        market = self.market
        return self.position.qty * market.mark * market.multiplier - self.position.cost if market.mark else 0

    @property
    def profit(self) -> int:
        """Realised + marked - fees since the journal began, money."""
        return self.position.realised + self.unrealised - self.position.fees

    def add_open(self, side: int, qty: int) -> None:
        """Count more (or less) open quantity of a side."""
        if side == 1:
            self.open_buy += qty
        else:
            self.open_sell += qty
        self.restate()

    def restate(self) -> None:
        """Tell the scopes what the worse side is now."""
        held = self.position.qty
        worst = max(held + self.open_buy, self.open_sell - held)
        change = worst - self.worst
        if change:
            self.worst = worst
            for scope in self.scopes:
                scope.worst += change

    def revalue(self) -> None:
        """Tell the scopes what the position is worth now."""
        position, market = self.position, self.market
        value = position.qty * market.mark * market.multiplier if market.mark else position.cost
        today = 0
        if self.base is not None:
            today = position.realised - position.fees + value - position.cost - self.base
        notional = value if value >= 0 else -value
        notional_change = notional - self.notional
        today_change = today - self.today
        self.notional = notional
        self.today = today
        for scope in self.scopes:
            scope.gross += notional_change
            scope.profit += today_change

    def fill(self, side: int, qty: int, price: int, fee: int) -> None:
        """Book a fill."""
        self.position.fill(side, qty, price, fee, self.market.multiplier)
        self.restate()
        self.revalue()

    def move(self, qty: int, cost: int) -> None:
        """Book a stated change of the position, which is no fill."""
        self.position.qty += qty
        self.position.cost += cost
        self.restate()
        self.revalue()

    def load(self, state: PositionState) -> None:
        """Take a position over as order entry says it."""
        position = self.position
        position.qty, position.cost = state.qty, state.cost
        position.realised, position.fees = state.realised, state.fees
        position.volume, position.fills = state.volume, state.fills
        position.buy_qty, position.sell_qty = state.buy_qty, state.sell_qty
        position.collateral = state.collateral
        self.restate()
        self.revalue()
