"""Accounts: cash, positions at average cost, fees, and the margin that open orders and positions take.

Perpetual futures: a trade moves no cash but its fee and what it realises. A position's cost is carried as a total,
signed like the quantity; the rounding of a partial close stays in it. So over all accounts `cash + fees - cost` never
changes, whatever trades: that is what the property tests hold on to.

Initial margin (basis points of notional, per market) is due on the worse of two cases: all open buys filled, or all
open sells filled. When equity falls under the maintenance margin of what is held, the account is liquidated. An order that makes the worse case worse is refused as INSUFFICIENT_BALANCE when the account's
equity (cash and marked profit) does not cover the margin of all markets. Subaccounts (AllocAccount 79) share their
member's collateral and position here.
"""

from typing import Final

import msgspec

from engine.venue.matching import BUY

_BP: Final = 10_000
_FEE_SCALE: Final = 1_000_000  # hundredths of a basis point


class VenueKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key of the embedded venue: whose it is, and on which sessions it may log on (none: all)."""

    api_key: str
    account: str
    sessions: tuple[str, ...] = ()


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """A market's terms. tick in 1/10000 dollar, lot in 1/100 contract, price where its walk starts.

    position_max, short_max: of an account, worst case, in 1/100 contract; 0: no limit of the market's own.
    """

    symbol: str
    price: int
    tick: int = 1
    lot: int = 100
    multiplier: int = 1
    initial_margin_bp: int = 1000
    maintenance_margin_bp: int = 500
    position_max: int = 0
    short_max: int = 0


class Position:
    """A position in one market: qty signed in 1/100 contract, cost in money, signed alike; its open orders.

    buy_qty, sell_qty: what open orders may still trade. buy_notional, sell_notional: the same in money.
    """

    __slots__ = ("buy_notional", "buy_qty", "cost", "qty", "sell_notional", "sell_qty")

    def __init__(self) -> None:
        self.qty = 0
        self.cost = 0
        self.buy_notional = 0
        self.buy_qty = 0
        self.sell_notional = 0
        self.sell_qty = 0

    def apply(self, qty: int, price_times_multiplier: int) -> int:
        """Add a signed trade; return what it realised, in money."""
        if self.qty == 0 or (self.qty > 0) == (qty > 0):
            self.qty += qty
            self.cost += qty * price_times_multiplier
            return 0
        held = abs(self.qty)
        closing = min(abs(qty), held)
        sign = 1 if self.qty > 0 else -1
        part = self.cost if closing == held else sign * (abs(self.cost) * closing // held)
        self.qty -= sign * closing
        self.cost -= part
        realised = sign * closing * price_times_multiplier - part
        rest = abs(qty) - closing
        if rest:
            self.qty = -sign * rest
            self.cost = -sign * rest * price_times_multiplier
        return realised

    def margin(self, initial_margin_bp: int, extra_buy: int = 0, extra_sell: int = 0) -> int:
        """Return the initial margin of the worse of both cases, in money."""
        worst = max(
            abs(self.cost + self.buy_notional + extra_buy), abs(self.cost - self.sell_notional - extra_sell)
        )
        return worst * initial_margin_bp // _BP


class Account:
    """One member's account. A synthetic one (the flow's) has no limits and pays no fees."""

    __slots__ = ("cash", "fees", "fills", "name", "positions", "synthetic")

    def __init__(self, name: str, cash: int, *, synthetic: bool = False) -> None:
        self.name = name
        self.cash = cash
        self.fees = 0
        self.fills = 0
        self.positions: dict[str, Position] = {}
        self.synthetic = synthetic

    def position(self, symbol: str) -> Position:
        """Return the position in a market, made flat when there is none."""
        position = self.positions.get(symbol)
        if position is None:
            position = self.positions[symbol] = Position()
        return position

    def trade(self, market: Market, side: int, price: int, qty: int, fee: int) -> int:
        """Book a fill; return the change of cash, in money."""
        position = self.position(market.symbol)
        delta = position.apply(qty if side == BUY else -qty, price * market.multiplier) - fee
        self.cash += delta
        self.fees += fee
        self.fills += 1
        return delta

    def reserve(self, symbol: str, side: int, notional: int, qty: int) -> None:
        """Count an open order's notional and quantity in, or out when negative."""
        position = self.position(symbol)
        if side == BUY:
            position.buy_notional += notional
            position.buy_qty += qty
        else:
            position.sell_notional += notional
            position.sell_qty += qty

    def covers(
        self, markets: dict[str, Market], marks: dict[str, int], symbol: str, side: int, notional: int
    ) -> bool:
        """Tell whether another `notional` of open orders is covered, or does not add to the margin due."""
        market = markets[symbol]
        position = self.position(symbol)
        before = position.margin(market.initial_margin_bp)
        extra = (notional, 0) if side == BUY else (0, notional)
        after = position.margin(market.initial_margin_bp, *extra)
        if after <= before:
            return True
        due = after - before
        equity = self.cash
        for name, held in self.positions.items():
            terms = markets.get(name)
            if terms is None:
                continue  # a market that this configuration no longer has
            due += held.margin(terms.initial_margin_bp)
            equity += held.qty * marks[name] * terms.multiplier - held.cost
        return due <= equity

    def under_maintenance(self, markets: dict[str, Market], marks: dict[str, int]) -> bool:
        """Tell whether equity no longer covers the maintenance margin of the positions that are held."""
        due, equity, held_any = 0, self.cash, False
        for name, held in self.positions.items():
            terms = markets.get(name)
            if terms is None or not held.qty:
                continue
            held_any = True
            value = held.qty * marks[name] * terms.multiplier
            due += abs(value) * terms.maintenance_margin_bp // _BP
            equity += value - held.cost
        return held_any and equity < due


def fee_of(price: int, qty: int, multiplier: int, hundredths_bp: int) -> int:
    """Return the fee of a fill in money, rounded up to 1/1000000 dollar; a rebate (negative) is rounded down in size."""
    return -(-price * qty * multiplier * hundredths_bp // _FEE_SCALE)
