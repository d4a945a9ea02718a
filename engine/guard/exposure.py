"""What is at stake: positions, open orders and approvals in flight, per strategy and market, counted at their worst.

Rules that hold here:

* Exposure is keyed by ClOrdID. An approval reserves at once; the first tape event about its ClOrdID replaces the
  reservation by what order entry says. Nothing is ever dropped because time went by.
* A request that is on no tape yet outlives its order: order entry refuses it, and only then is it answered.
* An order counts with what may still be filled. While a replace is unanswered it counts at the larger of old and new,
  in quantity and in money, each for itself. An order with an unknown outcome counts in full until the venue's word.
* Fills that the venue's CumQty told of and that did not come (`missing_qty`) count as open at the order's price, also
  when the order is over, until they are positions or an operator settled them. A live order's are within what may still be filled.
* Every order and every fill counts on two lines, its strategy's and the account's in that market; every line counts in
  its scopes: the strategy's line in the strategy, the account's line in the market and in the account.
* A scope's position is the sum over its lines of the worse side: what would be held if every open order of that side,
  and none of the other, were filled. A scope's gross notional is positions at their marks plus open orders at their
  prices. Its profit is today's: realised + marked - fees, since the day was opened.

All quantities are in 1/100 contract, prices in 1/10000 dollar, money in 1/1000000 dollar.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from engine.common.ids import SLOT_FOREIGN, SLOT_OPERATOR
from engine.config import Config, InstrumentConfig
from engine.guard.lines import Line, Scope
from engine.guard.markets import SELL, Market
from engine.messages.commands import NewOrder, ReplaceOrder, TimeInForce
from engine.messages.executions import (
    TERMINAL,
    EventKind,
    OrderEvent,
    OrdersSnapshot,
    OrderState,
)

SUBMITS: Final = frozenset({EventKind.SUBMITTED, EventKind.REPLACE_SUBMITTED, EventKind.CANCEL_SUBMITTED})
WORKING: Final = frozenset({OrderState.NEW, OrderState.PARTIALLY_FILLED})
TAKES_AT_ONCE: Final = frozenset({TimeInForce.IOC.value, TimeInForce.FOK.value})
RequestKind = Literal["new", "replace", "cancel"]


class Order(msgspec.Struct):
    """One order that is not over, from its approval on.

    Attributes:
        order: ClOrdID of the chain's first request; ids: further ones of the chain.
        slot: strategy. price, qty, cum: in force. leaves: what may still be filled by the terms in force.
        new_price, new_qty: of the unanswered replace `replace_id`; new_qty 0: none.
        counted_qty, counted_notional: what the lines and scopes count for it.
        pending: requests about it that nothing has answered.
        unknown_ns: wall_ns since which its outcome is unknown, else 0.
        cancel_ns: mono_ns of the newest cancel that is unanswered, else 0; asked_ns: of the newest, answered or not.
    """

    order: str
    slot: int
    side: int
    market: Market
    line: Line
    account: Line
    price: int
    qty: int
    leaves: int
    tif: str
    pending: list[str]
    cum: int = 0
    state: OrderState = OrderState.SUBMITTING
    cl_ord_id: str = ""
    order_id: str = ""
    ids: tuple[str, ...] = ()
    new_price: int = 0
    new_qty: int = 0
    replace_id: str = ""
    counted_qty: int = 0
    counted_notional: int = 0
    cancel_ns: int = 0
    asked_ns: int = 0
    wall_ns: int = 0
    unknown_ns: int = 0

    @property
    def lowest(self) -> int:
        """The lowest price at which it may rest."""
        return min(self.price, self.new_price) if self.new_qty else self.price

    @property
    def highest(self) -> int:
        """The highest price at which it may rest."""
        return max(self.price, self.new_price) if self.new_qty else self.price


class Request(msgspec.Struct):
    """One approved request that nothing has answered. `seen`: the tape has it; until then it is a reservation."""

    cl_ord_id: str
    kind: RequestKind
    order: Order
    epoch: int
    no: int
    sent_ns: int
    peer: str = ""
    price: int = 0
    qty: int = 0
    seen: bool = False
    asked: bool = False


class Short(msgspec.Struct):
    """Fills that are missing of an order that is over, as they are counted."""

    side: int
    line: Line
    account: Line
    qty: int
    notional: int


class Exposure:
    """All lines, orders and reservations. See the module.

    Attributes:
        markets: by symbol. orders: every ClOrdID of every order that is not over. requests: unanswered, by ClOrdID.
        reserved: requests without a tape event, by command key (unique over epochs), oldest first.
        short: orders that are over and lack fills. account: the account's scope. unknown: orders with an unknown outcome. foreign: events of orders not ours.
    """

    def __init__(self, config: Config) -> None:
        self.account = Scope("account", config.risk.account)
        self.names = {strategy.slot: name for name, strategy in config.strategies.items()}
        self.names.setdefault(SLOT_OPERATOR, "operator")
        self.names.setdefault(SLOT_FOREIGN, "foreign")
        self.strategies: dict[int, Scope] = {
            strategy.slot: Scope(f"strategy {name}", strategy.limits)
            for name, strategy in config.strategies.items()
        }
        self.market_scopes: dict[str, Scope] = {}
        self.markets: dict[str, Market] = {}
        self.account_lines: dict[str, Line] = {}
        self.lines: dict[tuple[int, str], Line] = {}
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}
        self.requests: dict[str, Request] = {}
        self.reserved: dict[int, Request] = {}
        self.short: dict[str, Short] = {}
        self.unknown = 0
        self.foreign = 0
        self._risk = config.risk.markets
        for symbol, instrument in config.instruments.items():
            self._add_market(symbol, instrument)
        for strategy in config.strategies.values():
            for symbol in strategy.markets:
                self.line(strategy.slot, symbol)

    # -- lines

    def _add_market(self, symbol: str, instrument: InstrumentConfig) -> Market:
        limits = self._risk.get(symbol)
        market = self.markets[symbol] = Market(symbol, instrument, configured=limits is not None)
        scope = self.market_scopes[symbol] = Scope(f"market {symbol}", limits)
        line = self.account_lines[symbol] = Line(None, market, (scope, self.account))
        market.lines.append(line)
        return market

    def market(self, symbol: str) -> Market:
        """Return a market; one that the configuration doesn't have (a foreign fill) is made on the spot."""
        market = self.markets.get(symbol)
        return market if market is not None else self._add_market(symbol, InstrumentConfig())

    def line(self, slot: int, symbol: str) -> Line:
        """Return a strategy's line in a market, made when it isn't there."""
        line = self.lines.get((slot, symbol))
        if line is None:
            market = self.market(symbol)
            scope = self.strategies.get(slot)
            if scope is None:  # operator, foreign, or a strategy that is no longer configured
                scope = self.strategies[slot] = Scope(f"strategy {self.names.get(slot, str(slot))}", None)
            line = self.lines[slot, symbol] = Line(slot, market, (scope,))
            market.lines.append(line)
        return line

    def unknown_for_ns(self, wall_ns: int) -> int:
        """Return for how long the outcome of an order has been unknown, of the oldest; 0 when there is none."""
        if not self.unknown:
            return 0
        since = min((order.unknown_ns for order in self.open.values() if order.unknown_ns), default=wall_ns)
        return max(wall_ns - since, 0)

    def all_lines(self) -> Iterator[Line]:
        """Walk every line, the account's first, in the order in which they were made."""
        yield from self.account_lines.values()
        yield from self.lines.values()

    # -- reservations

    def reserve_new(
        self,
        intent: NewOrder,
        line: Line,
        account: Line,
        *,
        epoch: int,
        no: int,
        mono_ns: int,
        peer: str = "",
    ) -> Order:
        """Count a new order from its approval on."""
        cl_ord_id = intent.cl_ord_id
        side, qty, price = intent.side, intent.qty, intent.price
        market = line.market
        assert line.strategy is not None, "orders belong to a strategy's line"
        notional = qty * price * market.multiplier
        order = Order(
            cl_ord_id, line.strategy, side, market, line, account, price, qty, qty, intent.tif, [cl_ord_id]
        )
        order.cl_ord_id = cl_ord_id
        order.counted_qty = qty
        order.counted_notional = notional
        self.orders[cl_ord_id] = self.open[cl_ord_id] = order
        request = Request(cl_ord_id, "new", order, epoch, no, mono_ns, peer)
        self.requests[cl_ord_id] = self.reserved[no] = request
        for each in (line, account):
            each.open_orders += 1
            each.add_open(side, qty)
            for scope in each.scopes:
                scope.open_orders += 1
                scope.unacknowledged += 1
                scope.gross += notional
        if intent.tif not in TAKES_AT_ONCE:
            market.rest(order, price)
        return order

    def reserve_replace(
        self, intent: ReplaceOrder, order: Order, *, epoch: int, no: int, mono_ns: int, peer: str = ""
    ) -> None:
        """Count a replace from its approval on: the order now counts at the larger of old and new."""
        request = Request(
            intent.cl_ord_id, "replace", order, epoch, no, mono_ns, peer, price=intent.price, qty=intent.qty
        )
        self.orders[intent.cl_ord_id] = order
        order.ids = (*order.ids, intent.cl_ord_id)
        self._take_request(request)
        self._apply_replace(request)

    def reserve_cancel(
        self, cl_ord_id: str, order: Order, *, epoch: int, no: int, mono_ns: int, peer: str = ""
    ) -> None:
        """Remember that a cancel is on its way; it changes no exposure."""
        self._take_request(Request(cl_ord_id, "cancel", order, epoch, no, mono_ns, peer))
        order.cancel_ns = order.asked_ns = mono_ns

    def _take_request(self, request: Request) -> None:
        order = request.order
        self.requests[request.cl_ord_id] = self.reserved[request.no] = request
        order.pending.append(request.cl_ord_id)
        self._count_unacknowledged(order, 1)

    def _apply_replace(self, request: Request) -> None:
        order = request.order
        order.new_price, order.new_qty, order.replace_id = request.price, request.qty, request.cl_ord_id
        if order.tif not in TAKES_AT_ONCE:
            order.market.rest(order, request.price)
        self._recount(order)

    def release(self, request: Request) -> None:
        """Undo an approval that is known never to reach the venue."""
        order = request.order
        self._answered(request)
        if request.kind == "new":
            self._remove(order)
        elif order.replace_id == request.cl_ord_id and self.open.get(order.order) is order:
            self._end_replace(order)

    # -- the tape

    def apply(self, event: OrderEvent) -> None:
        """Take the next tape event in."""
        kind = event.kind
        if kind is EventKind.POSITION:
            self._accept_position(event)
            return
        request = self.requests.get(event.request_id) if event.request_id else None
        if request is not None and request.order.order == event.order:
            self._seen(request)
            if kind not in SUBMITS:
                self._answered(request)
        if kind is EventKind.TRADE:
            self.line(event.strategy, event.symbol).fill(event.side, event.last_qty, event.last_px, event.fee)
            account = self.account_lines[event.symbol]
            account.fill(event.side, event.last_qty, event.last_px, event.fee)
            account.position.collateral += event.collateral
        if event.strategy == SLOT_FOREIGN:
            self.foreign += 1
        order = self.orders.get(event.order)
        if self.short:
            self._drop_short(event.order)
        if event.state in TERMINAL:
            if order is not None:
                self._end(order)
            if event.missing_qty:
                self._add_short(event)
            return
        if order is None:
            order = self._adopt(event)
        if kind not in SUBMITS and order.pending:
            self._hear(order, event)
        self._update(order, event)

    def witness(self, event: OrderEvent) -> None:
        """Take from an event older than the last snapshot only what it proves: its request is no reservation."""
        request = self.requests.get(event.request_id)
        if request is None:
            first = self.requests.get(event.order)
            if first is not None and not first.seen and event.state in TERMINAL:
                self.release(first)
        elif request.kind == "new":
            if not request.seen:  # the snapshot doesn't have the order: it was over by then
                self.release(request)
        elif event.kind in SUBMITS:
            self._seen(request)
        else:
            self.release(request)

    def _accept_position(self, event: OrderEvent) -> None:
        line = self.line(event.strategy, event.symbol)
        account = self.account_lines[event.symbol]
        qty = event.position - account.position.qty
        cost = event.cost - account.position.cost
        account.move(qty, cost)
        line.move(qty, cost)
        line.market.position_known = True

    def _seen(self, request: Request) -> None:
        if not request.seen:
            request.seen = True
            self.reserved.pop(request.no, None)

    def _answered(self, request: Request) -> None:
        # The request is no longer in flight, whatever became of it.
        self._seen(request)
        if self.requests.pop(request.cl_ord_id, None) is None:
            return
        order = request.order
        order.pending.remove(request.cl_ord_id)
        if request.kind == "cancel":
            order.cancel_ns = 0
        self._count_unacknowledged(order, -1)

    def _hear(self, order: Order, event: OrderEvent) -> None:
        # Any word about an order answers the request that made it, though a Trade does not name it.
        first = self.requests.get(order.order)
        if first is not None:
            self._answered(first)
        if event.state is OrderState.UNKNOWN:  # counted as unknown from now on, not as unanswered
            for cl_ord_id in tuple(order.pending):
                request = self.requests.get(cl_ord_id)
                if request is not None and request.seen:
                    self._answered(request)

    def _adopt(self, event: OrderEvent) -> Order:
        line = self.line(event.strategy, event.symbol)
        account = self.account_lines[event.symbol]
        order = Order(
            event.order,
            event.strategy,
            event.side,
            line.market,
            line,
            account,
            event.price,
            event.qty,
            0,
            event.tif,
            [],
        )
        self.orders[event.order] = self.open[event.order] = order
        for each in (line, account):
            each.open_orders += 1
            for scope in each.scopes:
                scope.open_orders += 1
        return order

    def _update(self, order: Order, event: OrderEvent) -> None:
        if (order.state is OrderState.UNKNOWN) != (event.state is OrderState.UNKNOWN):
            self.unknown += 1 if event.state is OrderState.UNKNOWN else -1
            order.unknown_ns = event.wall_ns if event.state is OrderState.UNKNOWN else 0
        order.state = event.state
        order.price, order.qty, order.cum = event.price, event.qty, event.cum_qty
        # The largest: an order entry that counts less is no proof, and more may be filled than we know to be ordered.
        order.leaves = max(event.leaves_qty, event.qty - event.cum_qty, event.missing_qty)
        order.order_id = event.order_id or order.order_id
        order.wall_ns = event.wall_ns
        cl_ord_id = event.cl_ord_id
        if cl_ord_id and cl_ord_id != order.cl_ord_id:
            order.cl_ord_id = cl_ord_id
            if self.orders.setdefault(cl_ord_id, order) is order and cl_ord_id not in (
                order.order,
                *order.ids,
            ):
                order.ids = (*order.ids, cl_ord_id)
        if event.new_qty:
            order.new_price, order.new_qty = event.new_price, event.new_qty
            if event.kind is EventKind.REPLACE_SUBMITTED:
                order.replace_id = event.request_id
        elif order.new_qty and self._replace_is_over(order, event):
            order.new_price = order.new_qty = 0
            order.replace_id = ""
        if order.tif not in TAKES_AT_ONCE and event.strategy != SLOT_FOREIGN:
            order.market.rest(order, order.lowest if order.side == SELL else order.highest)
        self._recount(order)

    def _replace_is_over(self, order: Order, event: OrderEvent) -> bool:
        # The event carries no new terms: over, unless the replace has not reached the tape yet.
        request = self.requests.get(order.replace_id)
        return (request is None or request.seen) and (
            event.state in WORKING
            or event.kind
            in (EventKind.REPLACED, EventKind.REPLACE_REJECTED, EventKind.RESOLVED, EventKind.NOT_SENT)
        )

    def _end_replace(self, order: Order) -> None:
        order.new_price = order.new_qty = 0
        order.replace_id = ""
        self._recount(order)

    def _recount(self, order: Order) -> None:
        leaves = order.leaves
        notional = leaves * order.price
        if order.new_qty:
            more = max(order.new_qty - order.cum, 0)
            notional = max(notional, more * order.new_price)
            leaves = max(leaves, more)
        notional *= order.market.multiplier
        qty_change = leaves - order.counted_qty
        notional_change = notional - order.counted_notional
        if not (qty_change or notional_change):
            return
        order.counted_qty = leaves
        order.counted_notional = notional
        for line in (order.line, order.account):
            if qty_change:
                line.add_open(order.side, qty_change)
            for scope in line.scopes:
                scope.gross += notional_change

    def _count_unacknowledged(self, order: Order, change: int) -> None:
        for line in (order.line, order.account):
            for scope in line.scopes:
                scope.unacknowledged += change

    def _end(self, order: Order) -> None:
        self._remove(order)

    def _remove(self, order: Order) -> None:
        if self.open.pop(order.order, None) is None:
            return
        for cl_ord_id in tuple(order.pending):
            request = self.requests.get(cl_ord_id)
            if request is not None and request.order is order and (request.seen or request.kind == "new"):
                self._answered(request)
        self.orders.pop(order.order, None)
        for cl_ord_id in order.ids:
            self.orders.pop(cl_ord_id, None)
        if order.state is OrderState.UNKNOWN:
            self.unknown -= 1
        order.market.unrest(order)
        for line in (order.line, order.account):
            line.open_orders -= 1
            if order.counted_qty:
                line.add_open(order.side, -order.counted_qty)
            for scope in line.scopes:
                scope.open_orders -= 1
                scope.gross -= order.counted_notional
        order.counted_qty = order.counted_notional = 0

    def _add_short(self, event: OrderEvent) -> None:
        line, qty = self.line(event.strategy, event.symbol), event.missing_qty
        account = self.account_lines[event.symbol]
        notional = qty * event.price * line.market.multiplier
        self.short[event.order] = Short(event.side, line, account, qty, notional)
        self._count_short(event.side, line, account, qty, notional)

    def _drop_short(self, key: str) -> None:
        short = self.short.pop(key, None)
        if short is not None:
            self._count_short(short.side, short.line, short.account, -short.qty, -short.notional)

    @staticmethod
    def _count_short(side: int, line: Line, account: Line, qty: int, notional: int) -> None:
        for each in (line, account):
            each.add_open(side, qty)
            for scope in each.scopes:
                scope.gross += notional

    # -- snapshots

    def rebuild(self, snapshot: OrdersSnapshot, epoch: int, *, fenced: bool) -> list[Request]:
        """Start over from a snapshot; approvals in flight that it can't show yet are kept.

        Args:
            snapshot: of everything.
            epoch: the epoch that order entry follows.
            fenced: it was made after order entry accepted `epoch`, so that a command of an older one that it does not
                show will never be carried out.

        Returns:
            The reservations that were given up for that reason.
        """
        before = list(self.reserved.values())
        self._clear()
        for state in snapshot.positions:
            if state.strategy is None:
                market = self.market(state.symbol)
                market.position_known = state.known
                self.account_lines[state.symbol].load(state)
            else:
                self.line(state.strategy, state.symbol).load(state)
        for event in snapshot.orders:
            if event.state in TERMINAL:
                if event.missing_qty:
                    self._add_short(event)
                continue
            self._update(self._adopt(event), event)
            if event.kind in SUBMITS and event.request_id:
                self._readopt_request(event, epoch)
        return [request for request in before if not self._keep(request, epoch, fenced=fenced)]

    def _clear(self) -> None:
        for scope in self.scopes():
            scope.clear()
        for line in self.all_lines():
            line.clear()
            line.revalue()
        for market in self.markets.values():
            market.position_known = False
            market.buys.clear()
            market.sells.clear()
        self.orders.clear()
        self.open.clear()
        self.requests.clear()
        self.reserved.clear()
        self.short.clear()
        self.unknown = 0

    def _readopt_request(self, event: OrderEvent, epoch: int) -> None:
        # The newest event of the order is a request: it is unanswered.
        order = self.orders[event.order]
        kind: RequestKind = "new"
        if event.kind is EventKind.REPLACE_SUBMITTED:
            kind = "replace"
        elif event.kind is EventKind.CANCEL_SUBMITTED:
            kind = "cancel"
        request = Request(event.request_id, kind, order, epoch, 0, 0, seen=True)
        self.requests[event.request_id] = request
        order.pending.append(event.request_id)
        self._count_unacknowledged(order, 1)
        if kind == "replace":
            order.replace_id = event.request_id
            order.ids = (*order.ids, event.request_id)
            self.orders[event.request_id] = order

    def _keep(self, request: Request, epoch: int, *, fenced: bool) -> bool:
        # Put a reservation back on top of a snapshot; False when it is given up.
        old = request.order
        if request.cl_ord_id in self.orders or request.cl_ord_id in self.requests:
            return True  # the snapshot shows it
        if fenced and request.epoch < epoch:
            return False
        if request.kind == "new":
            self._put_back(old)
            old.pending = []
            order = old
        else:
            found = self.open.get(old.order)
            if found is None:  # its order is over: order entry's refusal is still to come
                self.requests[request.cl_ord_id] = self.reserved[request.no] = request
                self._count_unacknowledged(old, 1)
                return True
            order = request.order = found
        self._take_request(request)
        if request.kind == "replace":
            self.orders[request.cl_ord_id] = order
            order.ids = (*order.ids, request.cl_ord_id)
            self._apply_replace(request)
        elif request.kind == "cancel":
            order.cancel_ns = request.sent_ns
        return True

    def _put_back(self, order: Order) -> None:
        order.counted_qty = order.counted_notional = 0
        order.new_qty = order.new_price = 0
        order.ids = ()
        self.orders[order.order] = self.open[order.order] = order
        for line in (order.line, order.account):
            line.open_orders += 1
            for scope in line.scopes:
                scope.open_orders += 1
        if order.tif not in TAKES_AT_ONCE:
            order.market.rest(order, order.price)
        self._recount(order)

    # -- the day

    def open_day(self, opened: dict[tuple[int | None, str], int]) -> list[tuple[int | None, str, int]]:
        """Fix where today began for each line that is flat or has a mark, and is not fixed yet.

        Args:
            opened: what was fixed before, by (strategy, symbol); it wins.

        Returns:
            (strategy, symbol, profit) of each line that was fixed anew, to be journalled.
        """
        fresh = []
        for line in self.all_lines():
            if line.base is not None:
                continue
            key = (line.strategy, line.market.symbol)
            base = opened.get(key)
            if base is None:
                if line.position.qty and not line.market.mark:
                    continue
                base = line.profit
                fresh.append((*key, base))
            line.base = base
            line.revalue()
        self._sum_bases()
        return fresh

    def rebase(self, strategy: int | None, symbol: str) -> list[tuple[int | None, str, int]]:
        """Let today's loss of a strategy, a market or (neither named) the account begin now; return what to journal."""
        fresh = []
        for line in self.all_lines():
            if line.strategy == strategy and symbol in ("", line.market.symbol) and line.base is not None:
                line.base = line.profit
                line.revalue()
                fresh.append((line.strategy, line.market.symbol, line.base))
        self._sum_bases()
        return fresh

    def close_day(self) -> None:
        """Forget where today began, in every line."""
        for line in self.all_lines():
            line.base = None
            line.revalue()
        self._sum_bases()

    def _sum_bases(self) -> None:
        # What a scope made since the journal began is today's profit and this, once every line has begun its day.
        for scope in self.scopes():
            scope.base, scope.complete = 0, True
        for line in self.all_lines():
            for scope in line.scopes:
                if line.base is None:
                    scope.complete = False
                else:
                    scope.base += line.base

    def scopes(self) -> Iterator[Scope]:
        """Walk every scope, the account's first."""
        yield self.account
        yield from self.market_scopes.values()
        yield from self.strategies.values()
