"""What the venue does in an account's name: liquidation, exit triggers, orders from elsewhere.

An account whose equity falls under the maintenance margin of its positions loses its open orders first, which costs
nothing; then each position is closed by a system order at whatever price the book gives. What the book can't take
stays, and is tried again after the next trade. Nothing is liquidated while trading is paused.

All of this happens inside a step of the exchange, and comes back as reports of an owner that is no session.
"""

from typing import TYPE_CHECKING, Final

from engine.kalshi.messages import NewOrderSingle
from engine.venue import order as o
from engine.venue import refusals as r
from engine.venue.matching import BUY, SELL
from engine.venue.order import FOREIGN, SYSTEM, Flags, Owner

if TYPE_CHECKING:
    from engine.venue.accounts import Account
    from engine.venue.exchange import Exchange

_FLAGS: Final = Flags(ioc_cancel_report=True, original_qty=True, skip_pending=True)
_HIGHEST: Final = 10**9  # 100,000 dollars: above any book


def system_owner(account: str) -> Owner:
    """Return who a liquidation's or an exit trigger's order belongs to."""
    return Owner(f"{SYSTEM}{account}", account, _FLAGS)


def foreign_owner(account: str) -> Owner:
    """Return who an order from the web, from REST or from another key belongs to."""
    return Owner(f"{FOREIGN}{account}", account, _FLAGS)


def liquidate_all(exchange: "Exchange", accounts: list["Account"]) -> None:
    """Liquidate every account that is under its maintenance margin."""
    for account in accounts:
        if account.positions and account.under_maintenance(exchange.markets, exchange.marks):
            liquidate(exchange, account)


def liquidate(exchange: "Exchange", account: "Account") -> None:
    """Cancel an account's open orders and close its positions, as far as the books allow."""
    for order in [order for order in exchange.open.values() if order.account == account.name]:
        exchange.pull(order, text=r.MARGIN_CANCEL)
    for symbol, held in list(account.positions.items()):
        if held.qty and symbol in exchange.markets:
            close(exchange, account, symbol, abs(held.qty), "liquidation")


def close(exchange: "Exchange", account: "Account", symbol: str, qty: int, why: str) -> None:
    """Reduce a position by a system order that takes whatever the book has.

    Args:
        exchange: within a step. account: whose. qty: at most, in 1/100 contract. why: `liquidation` or `exit`.
    """
    position = account.position(symbol).qty
    qty = min(qty, abs(position))
    side = SELL if position > 0 else BUY
    book = exchange.books[symbol]
    if not qty or (book.bids if side == SELL else book.asks).best_price() is None:
        return
    exchange.system_order(
        system_owner(account.name),
        NewOrderSingle(
            cl_ord_id=f"{why}-{exchange.orders_made + 1}",
            symbol=symbol,
            side=str(side),
            order_qty=qty,
            price=exchange.markets[symbol].tick if side == SELL else _HIGHEST,
            time_in_force=o.IOC,
        ),
    )
