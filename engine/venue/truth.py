"""What the venue knows to be true, for tests and tools that compare."""

from engine.messages.control import VenueAccount, VenueOrder, VenueQuery, VenueTruth
from engine.venue.exchange import Exchange
from engine.venue.history import History


def truth(query: VenueQuery, exchange: Exchange, history: History) -> VenueTruth:
    """Return the client accounts that a query asks for: cash, positions, open orders, ExecIDs of the last three hours."""
    accounts = [
        VenueAccount(
            account=account.name,
            cash=account.cash,
            positions={symbol: held.qty for symbol, held in account.positions.items() if held.qty},
            fees=account.fees,
            fills=account.fills,
            orders=[
                VenueOrder(
                    cl_ord_id=order.cl_ord_id,
                    order_id=order.order_id,
                    symbol=order.symbol,
                    side=order.side,
                    price=order.price,
                    qty=order.qty,
                    cum_qty=order.cum,
                    leaves_qty=order.leaves,
                )
                for order in exchange.open.values()
                if order.account == account.name
            ],
            exec_ids=history.exec_ids(account.name),
        )
        for account in exchange.accounts.values()
        if not account.synthetic and query.account in {"", account.name}
    ]
    return VenueTruth(request_id=query.request_id, accounts=accounts)
