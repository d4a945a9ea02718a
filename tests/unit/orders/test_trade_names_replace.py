"""A Trade that names another ClOrdID than the one in force shows which."""

from engine.messages.commands import NewOrder, ReplaceOrder
from engine.messages.executions import EventKind, ReportCopy, Source
from engine.orders import order as orders
from engine.orders.order import Order


def test_a_trade_under_the_id_of_a_replace_carries_it_as_request():
    """The Replaced report is still missing: the id in force stays the old one, the report's own is kept on the event."""
    first = orders.submitted(
        NewOrder(cl_ord_id="a", symbol="BTC-PERP", side=1, qty=300, price=195_000), 1, (1, 1), 0
    )
    order = Order(first)
    order.apply(first, lambda _: ())
    replace = ReplaceOrder(
        cl_ord_id="b", orig_cl_ord_id="a", symbol="BTC-PERP", side=1, qty=500, price=196_000
    )
    order.apply(orders.requested(order, replace, (2, 2), 0), lambda _: ())
    for named, shown in (("b", "b"), ("a", "")):
        report = ReportCopy(
            exec_id="1;1",
            cl_ord_id=named,
            exec_type="F",
            ord_status="1",
            symbol="BTC-PERP",
            side=1,
            last_px=196_000,
            last_qty=100,
        )
        event = orders.reported(
            order, EventKind.TRADE, report, (3, 3), 0, exec_key=(1, 1), source=Source.SESSION
        )
        assert (event.cl_ord_id, event.request_id) == ("a", shown)
