"""The exchange: orders, accounts and books, with no session in sight.

Rules that hold here (venue.md section 4):

* Every public call is one step: it returns its events in the order in which they happened, and changes of the books
  wait in them until market data takes them. Nothing is called back.
* A refusal changes nothing but the ExecID clock.
* An order is in exactly one of: its book (open), or closed. leaves + cum = qty while it is open.
* Open orders' notional is reserved in their account from acceptance to the end; margin is looked at before.
* ClOrdIDs are unique per account, every id of an order's chain names it. Closed orders are remembered for three hours,
  as long as drop copy looks back (the newest 50,000 of them), and their ids may or may not come again, as configured ([?] in venue.md).
* New is folded into the first Trade when both fall into one step, unless the owner's 21026 says otherwise.
* A new order of type DAY ends at 23:59:59.999 New York time; a GTD of the past acts as IOC.
* After every trade each account is held to its maintenance margin (engine.venue.liquidation).
* Client orders come before synthetic ones in nothing: the flow's orders go through the same matching, without reports.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from engine.common.clock import SECOND, Now
from engine.kalshi.messages import (
    NewOrderSingle,
    OrderCancelReject,
    OrderCancelReplaceRequest,
    OrderCancelRequest,
)
from engine.venue import order as o
from engine.venue import refusals as r
from engine.venue.accounts import Account, Market, fee_of
from engine.venue.liquidation import liquidate_all
from engine.venue.matching import BUY, STP_TAKER, Book, Fill
from engine.venue.order import Order, OrderTerms, Owner, Refusal
from engine.venue.order_groups import Group
from engine.venue.reports import (
    NO_ORDER,
    CancelRefused,
    ExchangeEvent,
    GroupTriggered,
    Print,
    Report,
    Reporter,
    TradeTerms,
)
from engine.venue.terms import Fault, Terms

REMEMBER_NS: Final = 3 * 3600 * SECOND
CLOSED_MAX: Final = 50_000
CANCEL_PIECE: Final = 500
_EXPIRIES_SLACK: Final = 1000
_NEW_YORK = ZoneInfo("America/New_York")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BAND_TICKS = 1000  # of 0.0001 dollar
SUBACCOUNT_MAX = 63
_CL_ORD_ID_MAX = 64


class Exchange:
    """All books, accounts and orders.

    Attributes:
        paused: empty, `trading` (no new orders, no amends) or `exchange` (not even cancels).
        states: markets that are `inactive` or `closed`; the others are open.
        fault: what becomes of the next request of its kind, or None.
        marks: last trade price per market.
    """

    def __init__(self, markets: Iterable[Market], accounts: Iterable[Account], terms: Terms) -> None:
        self.markets = {market.symbol: market for market in markets}
        self.accounts = {account.name: account for account in accounts}
        self.terms = terms
        self.books = {symbol: Book(symbol) for symbol in self.markets}
        self.marks = {symbol: market.price for symbol, market in self.markets.items()}
        self.groups: dict[str, Group] = {}
        self.groups_made = 0
        self.open: dict[str, Order] = {}  # client orders by OrderID, oldest first
        self.paused = ""
        self.states: dict[str, str] = {}
        self.fault: Fault | None = None
        self._reports = Reporter()
        self._ids: dict[str, dict[str, Order]] = {name: {} for name in self.accounts}
        self._closed: deque[tuple[int, Order]] = deque()
        self._expiries: list[tuple[int, int, Order]] = []
        self._orders_made = 0
        self._trades_made = 0
        self._triggered: list[Group] = []
        self._day_end = (0, 0)
        self._clients = [account for account in self.accounts.values() if not account.synthetic]
        self._is_marked = False

    # --- steps -----------------------------------------------------------------------------------------------------

    def begin(self, now: Now) -> None:
        """Open a step; the synthetic flow calls it before its orders, requests do it themselves."""
        self._reports.begin(now)
        closed = self._closed
        while closed and (now.wall_ns - closed[0][0] > REMEMBER_NS or len(closed) > CLOSED_MAX):
            self._forget(closed.popleft()[1])

    def end(self) -> list[ExchangeEvent]:
        """End a step: trigger groups over their limit, liquidate accounts under their margin, return the events."""
        while self._triggered or self._is_marked:
            while self._triggered:
                group = self._triggered.pop(0)
                self._reports.emit(GroupTriggered(group.group_id))
                self._cancel_group(group)
            if self._is_marked:
                self._is_marked = False
                if not self.paused:
                    liquidate_all(self, self._clients)
        return self._reports.take()

    def marked(self) -> None:
        """Have every account's margin looked at when this step ends."""
        self._is_marked = True

    @property
    def orders_made(self) -> int:
        """Number of the newest order."""
        return self._orders_made

    @property
    def latest(self) -> tuple[int, int]:
        """The newest ExecID's (clock, event) that can have been issued."""
        return self._reports.latest

    def resume_clock(self, clock: int) -> None:
        """Never issue an ExecID below this clock again."""
        self._reports.clock = max(self._reports.clock, clock)

    # --- new orders ------------------------------------------------------------------------------------------------

    def new_order(self, owner: Owner, request: NewOrderSingle, now: Now) -> list[ExchangeEvent]:
        """Take a NewOrderSingle."""
        self.begin(now)
        fault = self._take_fault(owner, "new")
        self._reports.pending_new(owner, request)
        refusal = fault.outright if fault is not None else None
        refusal = refusal or self._refuse_new(owner, request)
        if refusal is not None:
            self._reports.new_refused(owner, request, refusal)
            return self.end()
        cancels = fault is not None and fault.kind == "cancel"
        self._accept(owner, request, cancel_text=fault.refusal.text if fault is not None and cancels else "")
        events = self.end()
        if fault is not None and fault.kind == "unavailable_applied":
            events = [_hide(event, owner) for event in events]
            self._reports.new_refused(owner, request, fault.refusal)
            events += self._reports.take()
        return events

    def _take_fault(self, owner: Owner, of: str) -> Fault | None:
        fault = self.fault
        if fault is None or fault.of != of or not owner.key.startswith(fault.owner_key):
            return None
        self.fault = None
        return fault

    def _refuse_new(self, owner: Owner, request: NewOrderSingle) -> Refusal | None:
        if self.paused:
            return r.TRADING_PAUSED if self.paused == "trading" else r.EXCHANGE_PAUSED
        market = self.markets.get(request.symbol)
        if market is None:
            return r.MARKET_NOT_FOUND
        state = self.states.get(request.symbol)
        if state is not None:
            return r.MARKET_INACTIVE if state == "inactive" else r.MARKET_ALREADY_CLOSED
        if request.party_id or request.party_role:
            return r.CUSTOMER_ACCOUNT_DENIED  # only FCMs name parties, and no account here is one
        if request.alloc_account is not None and not 0 <= request.alloc_account <= SUBACCOUNT_MAX:
            return r.CUSTOMER_ACCOUNT_NOT_FOUND
        known = self._ids[owner.account].get(request.cl_ord_id)
        if known is not None and not (known.closed and self.terms.closed_ids_again):
            return r.ORDER_ALREADY_EXISTS
        if not 0 < len(request.cl_ord_id) <= _CL_ORD_ID_MAX:
            return r.INVALID_ORDER
        if request.order_qty <= 0 or request.order_qty % market.lot:
            return r.INCORRECT_QUANTITY
        if request.price <= 0 or request.price % market.tick:
            return r.INVALID_ORDER
        if request.exec_inst and request.time_in_force in {o.IOC, o.FOK}:
            return r.INVALID_ORDER
        side = int(request.side)
        if not self._in_band(market.symbol, side, request.price):
            return r.INVALID_ORDER
        refusal = self._refuse_for_group(owner, request)
        if refusal is not None:
            return refusal
        refusal = self._over_market_limit(owner.account, market, side, request.order_qty)
        if refusal is not None:
            return refusal
        notional = request.price * request.order_qty * market.multiplier
        account = self.accounts[owner.account]
        if not account.covers(self.markets, self.marks, market.symbol, side, notional):
            return r.INSUFFICIENT_BALANCE
        return None

    def _over_market_limit(self, account: str, market: Market, side: int, qty: int) -> Refusal | None:
        """Hold an account to the market's own limits, with every open order of that side filled."""
        if not (market.position_max or market.short_max):
            return None
        position = self.accounts[account].position(market.symbol)
        held = position.qty
        worst = held + (position.buy_qty + qty if side == BUY else -position.sell_qty - qty)
        if side != BUY and market.short_max and worst < -market.short_max:
            return r.SELL_POSITION_FLOOR
        if market.position_max and abs(worst) > market.position_max and abs(worst) > abs(held):
            return r.PER_MARKET_RISK_LIMIT
        return None

    def _refuse_for_group(self, owner: Owner, request: NewOrderSingle) -> Refusal | None:
        if not request.secondary_cl_ord_id:
            return None
        group = self.groups.get(request.secondary_cl_ord_id)
        if group is None or not self.group_is_of(group, owner.account, request.alloc_account):
            return r.ORDER_GROUP_NOT_FOUND
        return r.GROUP_RISK_LIMIT if group.triggered else None

    def group_is_of(self, group: Group, account: str, alloc_account: int | None) -> bool:
        """Tell whether a group may be used by an account and subaccount."""
        if group.account != account:
            return False
        return not self.terms.group_subaccounts or (group.alloc_account or 0) == (alloc_account or 0)

    def _in_band(self, symbol: str, side: int, price: int) -> bool:
        """Price bands: only against passive prices far away, only when the side has orders."""
        book = self.books[symbol]
        if side == BUY:
            best = book.bids.best_price()
            return best is None or price * 5 >= min(best * 4, (best - _BAND_TICKS) * 5)
        best = book.asks.best_price()
        return best is None or price * 5 <= max(best * 6, (best + _BAND_TICKS) * 5)

    def _accept(self, owner: Owner, request: NewOrderSingle, cancel_text: str = "") -> Order:
        self._orders_made += 1
        now = self._reports.now
        order = Order(
            f"6b616c73-{self._reports.clock & 0xFFFF_FFFF_FFFF:012x}-{self._orders_made:012x}",
            owner.account,
            owner,
            request.symbol,
            int(request.side),
            request.price,
            request.order_qty,
        )
        order.number = self._orders_made
        order.tif = request.time_in_force
        order.post_only = request.exec_inst == "6"
        order.stp = request.self_trade_prevention_type or STP_TAKER
        order.cancel_on_pause = bool(request.cancel_order_on_pause)
        order.alloc_account = request.alloc_account
        order.group = request.secondary_cl_ord_id
        order.cl_ord_ids.append(request.cl_ord_id)
        if order.tif == o.GTD:
            order.expire_ns = request.expire_time_ns or 0
            if order.expire_ns <= now.wall_ns:
                order.tif = o.IOC
        elif order.tif == o.DAY:
            order.expire_ns = self.day_end(now.wall_ns)
        self._ids[owner.account][request.cl_ord_id] = order
        self.open[order.order_id] = order
        owner.orders[order.order_id] = order
        self._reserve(order, order.qty * order.price, order.qty)
        book = self.books[order.symbol]
        if cancel_text:
            self._finish(order, o.CANCELED, cancel_text)
        elif order.post_only and book.would_cross(order.side, order.price):
            self._finish(order, o.CANCELED, r.POST_ONLY_CROSS)
        elif order.tif == o.FOK and self._volume_for(order) < order.qty:
            self._finish(order, o.CANCELED, r.FOK_INSUFFICIENT_VOLUME)
        else:
            self._trade(order)
        return order

    def system_order(self, owner: Owner, request: NewOrderSingle) -> Order:
        """Take an order that no session sent, inside a step: nothing refuses it (liquidation, exit trigger, elsewhere)."""
        return self._accept(owner, request)

    def _volume_for(self, order: Order) -> int:
        book = self.books[order.symbol]
        return book.available(order.side, order.price, order.qty, order.account, order.stp)

    # --- matching --------------------------------------------------------------------------------------------------

    def _trade(self, order: Order) -> None:
        """Match an order that isn't in the book; then rest it, or end it by its terms."""
        book = self.books[order.symbol]
        taker_pulled = False
        for event in book.match(order, order.stp):
            if isinstance(event, Fill):
                self._fill(order, event)
            elif event.order is order:
                taker_pulled = True
            else:
                assert isinstance(event.order, Order), "books of the exchange hold its orders"
                self._finish(event.order, o.CANCELED, r.MAKER_SELF_TRADE)
        if order.closed:
            return
        if taker_pulled:
            self._finish(order, o.CANCELED, r.TAKER_SELF_TRADE)
        elif order.tif in {o.IOC, o.FOK}:
            # 21007: with N no report says that the rest of a partly filled IOC is gone (venue.md section 2)
            quiet = order.cum > 0 and order.owner is not None and not order.owner.flags.ioc_cancel_report
            self._finish(order, o.CANCELED, r.IMMEDIATE_OR_CANCELLED, quiet=quiet)
        else:
            order.priority = self._orders_made = self._orders_made + 1
            book.rest(order)
            if order.expire_ns:
                self._push_expiry(order)
            if not order.announced:
                self._reports.order_event(order, o.NEW, o.NEW)

    def _fill(self, taker: Order, fill: Fill) -> None:
        maker, price, qty = fill
        assert isinstance(maker, Order), "books of the exchange hold its orders"
        self._trades_made += 1
        match_id = f"{self._reports.clock}-{self._trades_made}"
        if not taker.announced and taker.owner is not None and taker.owner.flags.new_before_trade:
            self._reports.order_event(taker, o.NEW, o.NEW)
        self._fill_side(maker, price, qty, match_id, aggressor=False)
        self._fill_side(taker, price, qty, match_id, aggressor=True)
        self.marks[taker.symbol] = price
        self._is_marked = True
        self._reports.emit(Print(taker.symbol, price, qty, taker.side))

    def _fill_side(self, order: Order, price: int, qty: int, match_id: str, *, aggressor: bool) -> None:
        market = self.markets[order.symbol]
        account = self.accounts[order.account]
        order.cum += qty
        order.value += qty * price
        order.closed = order.cum == order.qty
        order.status = o.FILLED if order.closed else o.PARTIALLY_FILLED
        rate = 0 if account.synthetic else self.terms.taker_fee if aggressor else self.terms.maker_fee
        fee = fee_of(price, qty, market.multiplier, rate)
        delta = account.trade(market, order.side, price, qty, fee)
        if order.owner is None:
            return
        self._reserve(order, -qty * order.price, -qty)
        if order.closed:
            self._close(order)
        position = account.position(order.symbol).qty
        self._reports.trade(order, TradeTerms(price, qty, fee, delta, position, match_id, aggressor))
        group = self.groups.get(order.group) if order.group else None
        if group is not None and group.filled(qty, self._reports.now.mono_ns):
            self._triggered.append(group)

    def _finish(
        self,
        order: Order,
        exec_type: str,
        text: str = "",
        *,
        cl_ord_id: str = "",
        orig_cl_ord_id: str = "",
        also: Owner | None = None,
        quiet: bool = False,
    ) -> None:
        """End an order that is out of the book, and say so."""
        order.closed = True
        order.status = exec_type
        if order.owner is None:
            return
        self._reserve(order, -order.leaves * order.price, -order.leaves)
        self._close(order)
        if not quiet:
            self._reports.order_event(
                order,
                exec_type,
                exec_type,
                cl_ord_id=cl_ord_id,
                orig_cl_ord_id=orig_cl_ord_id,
                text=text,
                also=also,
            )

    def _reserve(self, order: Order, value: int, qty: int) -> None:
        market = self.markets[order.symbol]
        self.accounts[order.account].reserve(order.symbol, order.side, value * market.multiplier, qty)

    def _close(self, order: Order) -> None:
        assert order.owner is not None, "the flow's orders aren't indexed"
        self.open.pop(order.order_id, None)
        order.owner.orders.pop(order.order_id, None)
        self._closed.append((self._reports.now.wall_ns, order))

    def _forget(self, order: Order) -> None:
        ids = self._ids[order.account]
        for cl_ord_id in order.cl_ord_ids:
            if ids.get(cl_ord_id) is order:
                del ids[cl_ord_id]

    # --- cancels and replaces --------------------------------------------------------------------------------------

    def cancel(self, owner: Owner, request: OrderCancelRequest, now: Now) -> list[ExchangeEvent]:
        """Take an OrderCancelRequest."""
        self.begin(now)
        fault = self._take_fault(owner, "cancel")
        order = self._ids[owner.account].get(request.orig_cl_ord_id)
        refusal = fault.outright if fault is not None else None
        refusal = refusal or self._refuse_change(order, request, replace=False)
        if refusal is not None or order is None:
            self._refuse_with(owner, request, order, refusal or r.CXL_UNKNOWN, "1")
            return self.end()
        before, status = order.cl_ord_id, order.status
        if not owner.flags.skip_pending:
            self._reports.order_event(
                order,
                o.PENDING_CANCEL,
                o.PENDING_CANCEL,
                cl_ord_id=request.cl_ord_id,
                orig_cl_ord_id=before,
                also=owner,
            )
        self.books[order.symbol].remove(order)
        self._finish(order, o.CANCELED, cl_ord_id=request.cl_ord_id, orig_cl_ord_id=before, also=owner)
        return self._end_change(owner, request, order, fault, "1", status)

    def replace(self, owner: Owner, request: OrderCancelReplaceRequest, now: Now) -> list[ExchangeEvent]:
        """Take an OrderCancelReplaceRequest; its quantity is the new total."""
        self.begin(now)
        fault = self._take_fault(owner, "replace")
        order = self._ids[owner.account].get(request.orig_cl_ord_id)
        refusal = fault.outright if fault is not None else None
        refusal = refusal or self._refuse_change(order, request, replace=True)
        if refusal is None and order is not None:
            refusal = self._refuse_replace(order, request)
        if refusal is not None or order is None:
            self._refuse_with(owner, request, order, refusal or r.CXL_UNKNOWN, "2")
            return self.end()
        before, status = order.cl_ord_id, order.status
        if not owner.flags.skip_pending:
            self._reports.order_event(
                order,
                o.PENDING_REPLACE,
                o.PENDING_REPLACE,
                cl_ord_id=request.cl_ord_id,
                orig_cl_ord_id=before,
                also=owner,
            )
        order.cl_ord_ids.append(request.cl_ord_id)
        self._ids[owner.account][request.cl_ord_id] = order
        self._apply_replace(order, request, before, owner)
        return self._end_change(owner, request, order, fault, "2", status)

    def _end_change(
        self,
        owner: Owner,
        request: OrderCancelRequest | OrderCancelReplaceRequest,
        order: Order,
        fault: Fault | None,
        response_to: str,
        status: str,
    ) -> list[ExchangeEvent]:
        events = self.end()
        if fault is not None:  # applied, and its owner is told that nobody knows
            events = [_hide(event, owner) for event in events]
            self._refuse_with(owner, request, order, fault.refusal, response_to, status)
            events += self._reports.take()
        return events

    def _apply_replace(
        self, order: Order, request: OrderCancelReplaceRequest, before: str, owner: Owner
    ) -> None:
        book = self.books[order.symbol]
        price = order.price if request.price is None else request.price
        leaves = request.order_qty - order.cum
        if leaves == 0:  # equal to what is filled, which may be nothing: cancelled
            book.remove(order)
            self._finish(order, o.CANCELED, orig_cl_ord_id=before, also=owner)
            return
        self._reserve(order, leaves * price - order.leaves * order.price, leaves - order.leaves)
        keeps_place = price == order.price and leaves <= order.leaves
        if keeps_place:
            book.reduce(order, leaves)
        else:
            book.remove(order)
            order.price = price
            order.leaves = leaves
        order.qty = request.order_qty
        if not self.terms.amend_keeps_flags:  # [?] the request carries neither ExecInst, group nor pause flag
            order.post_only, order.group, order.cancel_on_pause = False, "", False
        self._reports.order_event(order, o.REPLACED, o.REPLACED, orig_cl_ord_id=before, also=owner)
        if not keeps_place:
            self._trade(order)

    def _refuse_change(
        self, order: Order | None, request: OrderCancelRequest | OrderCancelReplaceRequest, *, replace: bool
    ) -> Refusal | None:
        if self.paused == "exchange":
            return r.CXL_EXCHANGE_PAUSED
        if self.paused and replace:
            return r.CXL_TRADING_PAUSED
        state = self.states.get(request.symbol)
        if state is not None and replace:
            return r.CXL_MARKET_INACTIVE if state == "inactive" else r.CXL_MARKET_CLOSED
        if order is None or (request.order_id and request.order_id != order.order_id):
            return r.CXL_UNKNOWN
        if order.closed:
            return r.CXL_FILLED if replace and order.status == o.FILLED else r.CXL_TOO_LATE
        same_account = (request.alloc_account or 0) == (order.alloc_account or 0) and not request.party_id
        if request.symbol != order.symbol or int(request.side) != order.side or not same_account:
            return r.CXL_MISMATCH
        return None

    def _refuse_replace(self, order: Order, request: OrderCancelReplaceRequest) -> Refusal | None:
        market = self.markets[order.symbol]
        price = order.price if request.price is None else request.price
        known = self._ids[order.account].get(request.cl_ord_id)
        if known is not None and not (known.closed and self.terms.closed_ids_again):
            return r.CXL_DUPLICATE
        if request.order_qty < order.cum or request.order_qty % market.lot:
            return r.CXL_INVALID_QTY
        if price <= 0 or not 0 < len(request.cl_ord_id) <= _CL_ORD_ID_MAX:
            return r.CXL_MISMATCH
        if price % market.tick:
            return r.CXL_TICK
        if price != order.price:
            book = self.books[order.symbol]
            if not self._in_band(order.symbol, order.side, price):
                return r.CXL_MISMATCH
            if book.meets_own(order.side, price, order.account):
                return r.CXL_SELF_CROSS
            if order.post_only and self.terms.amend_keeps_flags and book.would_cross(order.side, price):
                return r.CXL_POST_ONLY_CROSS
        extra = request.order_qty - order.cum - order.leaves
        limit = self._over_market_limit(order.account, market, order.side, extra) if extra > 0 else None
        if limit is not None:
            floor = limit is r.SELL_POSITION_FLOOR
            return r.CXL_SELL_POSITION_FLOOR if floor else r.CXL_PER_MARKET_RISK_LIMIT
        more = ((request.order_qty - order.cum) * price - order.leaves * order.price) * market.multiplier
        account = self.accounts[order.account]
        if more > 0 and not account.covers(self.markets, self.marks, order.symbol, order.side, more):
            return r.CXL_INSUFFICIENT_BALANCE
        return None

    def _refuse_with(
        self,
        owner: Owner,
        request: OrderCancelRequest | OrderCancelReplaceRequest,
        order: Order | None,
        refusal: Refusal,
        response_to: str,
        status: str = "",
    ) -> None:
        known = order is not None and refusal is not r.CXL_UNKNOWN
        reject = OrderCancelReject(
            order_id=order.order_id if order is not None and known else NO_ORDER,
            cl_ord_id=request.cl_ord_id,
            ord_status=status or (order.status if order is not None and known else o.REJECTED),
            cxl_rej_response_to=response_to,
            orig_cl_ord_id=request.orig_cl_ord_id,
            cxl_rej_reason=refusal.reason,
            text=refusal.text,
        )
        self._reports.emit(CancelRefused(owner, reject))

    def cancel_all_of(self, owner: Owner, now: Now, first: int, last: int) -> list[ExchangeEvent]:
        """Cancel up to CANCEL_PIECE of an owner's open orders: mass cancel, or the end of a session with 8013=Y."""
        self.begin(now)
        chosen = (order for order in owner.orders.values() if first <= order.number <= last)
        for order in list(islice(chosen, CANCEL_PIECE)):
            self.pull(order)
        return self.end()

    @staticmethod
    def has_orders(owner: Owner, first: int, last: int) -> bool:
        """Tell whether an owner has open orders of these numbers."""
        return any(first <= order.number <= last for order in owner.orders.values())

    def pull(self, order: Order, exec_type: str = o.CANCELED, text: str = "") -> None:
        """Take an open order out of the book and end it, inside a step."""
        self.books[order.symbol].remove(order)
        self._finish(order, exec_type, text)

    # --- groups ----------------------------------------------------------------------------------------------------

    def trigger_group(self, group: Group, now: Now) -> list[ExchangeEvent]:
        """Cancel a group's resting orders now."""
        self.begin(now)
        self._cancel_group(group)
        return self.end()

    def _cancel_group(self, group: Group) -> None:
        for order in [order for order in self.open.values() if order.group == group.group_id]:
            self.pull(order, text=r.ORDER_GROUP_CANCEL)

    # --- time and pauses -------------------------------------------------------------------------------------------

    def pause(self, kind: str, now: Now) -> list[ExchangeEvent]:
        """Begin a `trading` or `exchange` pause: orders with 21006=Y are cancelled (venue.md section 2)."""
        assert kind in {"trading", "exchange"}, "a pause is of trading or of the exchange"
        self.begin(now)
        self.paused = kind
        for order in [order for order in self.open.values() if order.cancel_on_pause]:
            self.pull(order)
        return self.end()

    def resume(self) -> None:
        """End a pause."""
        self.paused = ""

    def _push_expiry(self, order: Order) -> None:
        if len(self._expiries) > 2 * len(self.open) + _EXPIRIES_SLACK:  # most are of orders that ended before
            self._expiries = [entry for entry in self._expiries if not _is_over(entry)]
            heapq.heapify(self._expiries)
        heapq.heappush(self._expiries, (order.expire_ns, order.priority, order))

    @property
    def next_expiry_ns(self) -> int | None:
        """Wall time of the next DAY or GTD end, or None; ends of closed orders are dropped on the way."""
        while self._expiries and _is_over(self._expiries[0]):
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None

    def expire(self, now: Now) -> list[ExchangeEvent]:
        """End the orders whose time is over: Expired with 21012, else Canceled."""
        self.begin(now)
        while (expiry := self.next_expiry_ns) is not None and expiry <= now.wall_ns:
            order = heapq.heappop(self._expiries)[2]
            flags = order.owner.flags if order.owner is not None else None
            self.pull(order, o.EXPIRED if flags is not None and flags.expired_status else o.CANCELED)
        return self.end()

    def day_end(self, wall_ns: int) -> int:
        """Return the end of the New York day that `wall_ns` is in: 23:59:59.999 local time, in ns UTC."""
        begun, ends = self._day_end
        if not begun <= wall_ns <= ends:
            local = (_EPOCH + timedelta(microseconds=wall_ns // 1000)).astimezone(_NEW_YORK)
            at = datetime.combine(local.date(), time(23, 59, 59, 999_000), tzinfo=_NEW_YORK)
            if local > at:  # within the day's last millisecond
                at = datetime.combine(local.date() + timedelta(days=1), at.timetz())
            ends = (at - _EPOCH) // timedelta(milliseconds=1) * 1_000_000
            self._day_end = (wall_ns, ends)
        return ends

    # --- the synthetic flow ----------------------------------------------------------------------------------------

    def flow_order(self, account: str, symbol: str, side: int, price: int, qty: int, *, rest: bool) -> Order:
        """Enter an order of the synthetic flow inside a step (`begin` ... `end`); rest False: what is left is gone."""
        order = Order("", account, None, symbol, side, price, qty)
        order.announced = True
        order.tif = o.GTC if rest else o.IOC
        self._trade(order)
        return order

    def flow_cancel(self, order: Order) -> None:
        """Take an order of the flow out of the book."""
        self.books[order.symbol].remove(order)
        order.closed = True

    def flow_reduce(self, order: Order, leaves: int) -> None:
        """Make an order of the flow smaller."""
        order.qty -= order.leaves - leaves
        self.books[order.symbol].reduce(order, leaves)

    # --- restart ---------------------------------------------------------------------------------------------------

    def restore_closed(self, terms: OrderTerms, owner: Owner, wall_ns: int) -> None:
        """Remember a closed order's ids."""
        order = Order.from_terms(terms, owner)
        self._index(order)
        self._closed.append((wall_ns, order))

    def restore_open(self, terms: OrderTerms, owner: Owner) -> None:
        """Let an order rest again; call in order of priority, before anything trades."""
        order = Order.from_terms(terms, owner)
        self._index(order)
        self.open[order.order_id] = order
        owner.orders[order.order_id] = order
        self._reserve(order, order.leaves * order.price, order.leaves)
        self._orders_made = max(self._orders_made, order.priority)
        self.books[order.symbol].rest(order)
        if order.expire_ns:
            self._push_expiry(order)

    def _index(self, order: Order) -> None:
        for cl_ord_id in order.cl_ord_ids:
            self._ids[order.account][cl_ord_id] = order


def _is_over(expiry: tuple[int, int, Order]) -> bool:
    """Tell whether an expiry's order is closed or has another one by now."""
    return expiry[2].closed or expiry[1] != expiry[2].priority


def _hide(event: ExchangeEvent, owner: Owner) -> ExchangeEvent:
    """Keep an applied order's own reports from its session; drop copy has them."""
    if isinstance(event, Report) and event.owner is owner and event.key is not None:
        return event._replace(hidden=True)
    return event
