"""Numbers and builds what the exchange says: ExecutionReports, cancel rejects, trades for the tape of market data.

ExecID is `clock;event`: the clock grows by one with every step of the exchange (a request, a timer, a step of the
synthetic flow), the event counts within it; neither ever goes back, restarts included. Pending reports carry `-1;-1`
and are no events. The owner's Logon flags shape a report when it is made, and drop copy later gives that same report.
"""

from typing import Final, NamedTuple

from engine.common.clock import Now
from engine.common.fixed_point import PRICE_DECIMALS, format_fixed
from engine.kalshi.messages import ExecutionReport, NewOrderSingle, OrderCancelReject
from engine.venue import order as o
from engine.venue.order import Order, Owner, Refusal

NO_ORDER: Final = "NONE"  # OrderID(37) of what never became an order
NO_EXEC_ID: Final = "-1;-1"
EXCHANGE_INDEX: Final = "0"
BALANCE: Final = "BALANCE"


class Report(NamedTuple):
    """An ExecutionReport for a session. key None: pending, no event. hidden: issued, but the session never hears it.

    order is None for a refused new order; also is the session that asked, when the order is another's.
    """

    owner: Owner
    report: ExecutionReport
    key: tuple[int, int] | None
    order: Order | None = None
    also: Owner | None = None
    hidden: bool = False


class CancelRefused(NamedTuple):
    """An OrderCancelReject for the session that asked."""

    owner: Owner
    reject: OrderCancelReject


class Print(NamedTuple):
    """A trade, for market data: aggressor_side 1 or 2."""

    symbol: str
    price: int
    qty: int
    aggressor_side: int


class GroupTriggered(NamedTuple):
    """An order group was triggered by its fills."""

    group_id: str


ExchangeEvent = Report | CancelRefused | Print | GroupTriggered


class TradeTerms(NamedTuple):
    """What a Trade report says beyond the order: money as in the account, position after the trade."""

    price: int
    qty: int
    fee: int
    collateral: int
    position: int
    match_id: str
    aggressor: bool


class Reporter:
    """Makes events in order; `begin` opens a step, `take` ends it."""

    __slots__ = ("_event", "_events", "clock", "now")

    def __init__(self) -> None:
        self.clock = 0
        self._event = 0
        self._events: list[ExchangeEvent] = []
        self.now = Now(0, 0)

    def begin(self, now: Now) -> None:
        """Open a step at `now`."""
        self.now = now
        self.clock += 1
        self._event = 0

    def take(self) -> list[ExchangeEvent]:
        """Return the step's events."""
        events, self._events = self._events, []
        return events

    def emit(self, event: ExchangeEvent) -> None:
        """Add an event that isn't a report."""
        self._events.append(event)

    @property
    def latest(self) -> tuple[int, int]:
        """Key of the newest report that can have been issued."""
        return self.clock, self._event

    def next_key(self) -> tuple[int, int]:
        """Return a new ExecID as numbers."""
        self._event += 1
        return self.clock, self._event

    def order_event(
        self,
        order: Order,
        exec_type: str,
        status: str,
        *,
        cl_ord_id: str = "",
        orig_cl_ord_id: str = "",
        text: str = "",
        also: Owner | None = None,
    ) -> None:
        """Report an order's change. Pending types carry no number and go to the session that asked (`also`) alone."""
        owner = order.owner
        if owner is None:
            return
        pending = exec_type in {o.PENDING_NEW, o.PENDING_CANCEL, o.PENDING_REPLACE}
        key = None if pending else self.next_key()
        leaves = 0 if order.closed else order.qty - order.cum
        report = ExecutionReport(
            order_id=order.order_id,
            cl_ord_id=cl_ord_id or order.cl_ord_id,
            exec_id=NO_EXEC_ID if key is None else f"{key[0]};{key[1]}",
            exec_type=exec_type,
            ord_status=status,
            side=str(order.side),
            symbol=order.symbol,
            leaves_qty=leaves,
            cum_qty=order.cum,
            order_qty=order.qty if owner.flags.original_qty else leaves + order.cum,
            avg_px=avg_px(order),
            last_mkt=EXCHANGE_INDEX,
            orig_cl_ord_id=orig_cl_ord_id,
            price=order.price,
            transact_time_ns=self.now.wall_ns,
            text=text,
            expire_time_ns=order.expire_ns if order.tif == o.GTD else None,
            alloc_account=order.alloc_account,
        )
        order.announced = order.announced or not pending
        if pending and also is not None:
            owner, also = also, None
        self._events.append(Report(owner, report, key, order, also if also is not owner else None))

    def trade(self, order: Order, terms: TradeTerms) -> None:
        """Report a fill; the order already counts it."""
        owner = order.owner
        assert owner is not None, "fills of the synthetic flow are not reported"
        key = self.next_key()
        leaves = order.qty - order.cum
        order.announced = True
        report = ExecutionReport(
            order_id=order.order_id,
            cl_ord_id=order.cl_ord_id,
            exec_id=f"{key[0]};{key[1]}",
            exec_type=o.TRADE,
            ord_status=order.status,
            side=str(order.side),
            symbol=order.symbol,
            leaves_qty=leaves,
            cum_qty=order.cum,
            order_qty=order.qty if owner.flags.original_qty else leaves + order.cum,
            avg_px=avg_px(order),
            last_mkt=EXCHANGE_INDEX,
            last_px=terms.price,
            last_qty=terms.qty,
            price=order.price,
            transact_time_ns=self.now.wall_ns,
            expire_time_ns=order.expire_ns if order.tif == o.GTD else None,
            misc_fee_amt=terms.fee,
            alloc_account=order.alloc_account,
            # venue.md section 4: the net position after the trade, so that one of the two is zero
            long_qty=max(terms.position, 0),
            short_qty=max(-terms.position, 0),
            collateral_amount_change=terms.collateral,
            collateral_amount_type=BALANCE,
            trd_match_id=terms.match_id,
            aggressor_indicator="Y" if terms.aggressor else "N",
        )
        self._events.append(Report(owner, report, key, order))

    def new_refused(self, owner: Owner, request: NewOrderSingle, refusal: Refusal) -> None:
        """Report a new order that was refused."""
        key = self.next_key()
        original_qty = owner.flags.original_qty
        exec_id = f"{key[0]};{key[1]}"
        report = self._without_order(request, o.REJECTED, exec_id, refusal, original_qty=original_qty)
        self._events.append(Report(owner, report, key))

    def pending_new(self, owner: Owner, request: NewOrderSingle) -> None:
        """Report that a new order was received, unless the owner skips pending reports (21011)."""
        if not owner.flags.skip_pending:
            report = self._without_order(request, o.PENDING_NEW, NO_EXEC_ID, None)
            self._events.append(Report(owner, report, None))

    def _without_order(
        self,
        request: NewOrderSingle,
        exec_type: str,
        exec_id: str,
        refusal: Refusal | None,
        *,
        original_qty: bool = False,
    ) -> ExecutionReport:
        return ExecutionReport(
            order_id=NO_ORDER,
            cl_ord_id=request.cl_ord_id,
            exec_id=exec_id,
            exec_type=exec_type,
            ord_status=exec_type,
            side=request.side,
            symbol=request.symbol,
            leaves_qty=0 if refusal else request.order_qty,
            cum_qty=0,
            # 21008: with N it is LeavesQty + CumQty, which is nothing of a refused order
            order_qty=request.order_qty if original_qty or not refusal else 0,
            last_mkt=EXCHANGE_INDEX,
            ord_rej_reason=refusal.reason if refusal else None,
            price=request.price,
            transact_time_ns=self.now.wall_ns,
            text=refusal.text if refusal else "",
            alloc_account=request.alloc_account,
            party_id=request.party_id,
            party_role=request.party_role,
        )


def avg_px(order: Order) -> str:
    """Return AvgPx(6): the mean price of the fills, rounded half up to the tick of the wire."""
    if not order.cum:
        return "0.0000"
    return format_fixed((2 * order.value + order.cum) // (2 * order.cum), PRICE_DECIMALS)
