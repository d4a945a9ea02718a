"""What the venue says of orders, turned into events: ExecutionReport(35=8), OrderCancelReject(35=9), refusals by number.

Rules (venue.md section 4, design section 5):

* an ExecID, in its one form, is taken once, whoever brings it; other content under it is alarmed; `-1;-1` is no key, and what has no key moves nothing: such a report of an
  order that is over is dropped, a Trade without a key is left to drop copy;
* what can't be true (`plausible`) is not booked, and answers nothing: it is alarmed, and drop copy is to bring the truth.
  A CumQty that is ahead of our sum is true: a Trade counts by its LastQty, what is missing is said (`missing_qty`), and
  drop copy is to bring it;
* a report belongs to the order that ClOrdID, OrigClOrdID or OrderID names, in this order; if none does, a ClOrdID of
  our layout makes it an order of that strategy that the journal had lost, any other makes it foreign;
* `EXCHANGE_UNAVAILABLE` is no reject: the outcome is unknown. Nor is `ORDER_ALREADY_EXISTS`, because no ClOrdID is
  sent twice: the order that exists is this one;
* a Reject(35=3) or BusinessMessageReject(35=j) means that the request never reached the book;
* a report for an order that is over is recorded as late and moves the position, never a state that the venue told. What
  we concluded ourselves its word overrides: if such an order shows up open, from the session or from drop copy, that is
  an alert, and it is UNKNOWN again: counted at its worst, and asked for by cancels until the venue ends it;
* a foreign order is named by its OrderID, because every request on it changes its ClOrdID.
"""

from collections import OrderedDict
from typing import Final, NamedTuple, TypeVar

import msgspec

from engine.common.clock import SECOND, Now
from engine.common.ids import SLOT_FOREIGN, slot_of
from engine.kalshi.exec_id import canonical, is_key, parse_exec_id
from engine.kalshi.messages import BusinessMessageReject, ExecutionReport, OrderCancelReject
from engine.kalshi.texts import (
    CANNOT_UPDATE_FILLED_ORDER,
    EXCHANGE_UNAVAILABLE,
    NO_ORDER_ID,
    ORDER_ALREADY_EXISTS,
)
from engine.messages.commands import Side
from engine.messages.executions import EventKind, OrderEvent, OrderState, ReportCopy, Source
from engine.order_entry.desk import Desk
from engine.order_entry.plausible import plausible
from engine.order_entry.recovery import UNAVAILABLE_NS, Recovery
from engine.orders import order as orders
from engine.orders.order import TRANSITIONS, ExecKey, Order

SILENT_END_NS: Final = SECOND
"""How long after the last report an IOC or FOK without a cancel report (21007=N) counts as done."""

_KINDS: Final = {
    "0": EventKind.NEW,
    "F": EventKind.TRADE,
    "4": EventKind.CANCELED,
    "5": EventKind.REPLACED,
    "6": EventKind.PENDING_CANCEL,
    "8": EventKind.REJECTED,
    "A": EventKind.PENDING_NEW,
    "C": EventKind.EXPIRED,
    "E": EventKind.PENDING_REPLACE,
}
_STATES: Final = {
    "0": OrderState.NEW,
    "1": OrderState.PARTIALLY_FILLED,
    "2": OrderState.FILLED,
    "4": OrderState.CANCELED,
    "5": OrderState.NEW,
    "6": OrderState.PENDING_CANCEL,
    "8": OrderState.REJECTED,
    "A": OrderState.PENDING_NEW,
    "C": OrderState.EXPIRED,
    "E": OrderState.PENDING_REPLACE,
}
_DUPLICATE: Final = 6  # OrdRejReason(103)
_RECENT: Final = 20_000
_Kept = TypeVar("_Kept")
_GONE_REASONS: Final = (0, 1)  # CxlRejReason(102): too late, unknown order


def exec_key(exec_id: str) -> ExecKey:
    """Return the comparable key of an ExecID, () for one that is none or malformed."""
    return parse_exec_id(exec_id) if is_key(exec_id) else ()


class Content(NamedTuple):
    """What must be the same whenever an ExecID comes."""

    exec_type: str
    cl_ord_id: str
    last_qty: int
    last_px: int


def _content(report: ReportCopy) -> Content:
    return Content(report.exec_type, report.cl_ord_id[:64], report.last_qty, report.last_px)


def _keep_recent(recent: OrderedDict[str, _Kept], key: str, value: _Kept) -> None:
    recent[key] = value
    if len(recent) > _RECENT:
        recent.popitem(last=False)


def copy_of(report: ExecutionReport) -> ReportCopy:
    """Return an ExecutionReport in bus units."""
    return ReportCopy(
        exec_id=report.exec_id,
        cl_ord_id=report.cl_ord_id,
        exec_type=report.exec_type,
        ord_status=report.ord_status,
        symbol=report.symbol,
        side=int(report.side) if report.side in ("1", "2") else 0,
        orig_cl_ord_id=report.orig_cl_ord_id,
        order_id="" if report.order_id == NO_ORDER_ID else report.order_id,
        price=report.price or 0,
        qty=report.order_qty,
        cum_qty=report.cum_qty,
        leaves_qty=report.leaves_qty,
        last_px=report.last_px or 0,
        last_qty=report.last_qty or 0,
        fee=report.misc_fee_amt or 0,
        collateral=report.collateral_amount_change or 0,
        long_qty=-1 if report.long_qty is None else report.long_qty,
        short_qty=-1 if report.short_qty is None else report.short_qty,
        aggressor=report.aggressor_indicator,
        trd_match_id=report.trd_match_id,
        reason=-1 if report.ord_rej_reason is None else report.ord_rej_reason,
        text=report.text,
        transact_ns=report.transact_time_ns or 0,
    )


class Reports:
    """Applies what the venue says.

    Args:
        desk: shared state.
        recovery: told of doubts and answers.
        silent_end: 21007=N: an IOC or FOK ends without a report.
    """

    def __init__(self, desk: Desk, recovery: Recovery, *, silent_end: bool) -> None:
        self.desk = desk
        self.recovery = recovery
        self._silent_end = silent_end
        self.ending: dict[str, int] = {}
        self._contents: OrderedDict[str, Content] = OrderedDict()  # of recent ExecIDs
        self._refused: OrderedDict[str, None] = OrderedDict()  # ExecIDs of recent reports that can't be true

    # -- execution reports

    def on_report(self, report: ReportCopy, source: Source, now: Now) -> None:
        """Apply one ExecutionReport, from the session or from drop copy."""
        desk = self.desk
        ledger = desk.ledger
        desk.count.reports += 1
        kind = _KINDS.get(report.exec_type)
        if kind is None:
            desk.out.log(
                "alert", f"ExecType {report.exec_type[:8]!r} of {report.cl_ord_id[:64]} is not understood"
            )
            return
        key = exec_key(report.exec_id)
        if key:
            exec_id = canonical(report.exec_id)
            if exec_id != report.exec_id:
                report = msgspec.structs.replace(report, exec_id=exec_id)
            if exec_id in ledger.exec_ids:
                self._on_duplicate(report, source)
                return
        elif kind is EventKind.TRADE:
            self.recovery.want_sweep()
            desk.out.log("alert", f"Trade without an ExecID for {report.cl_ord_id[:64]}: left to drop copy")
            return
        elif report.exec_id:
            report = msgspec.structs.replace(report, exec_id="")  # `-1;-1` must not be on the tape as a key
        order = ledger.find(report.cl_ord_id, report.orig_cl_ord_id, report.order_id)
        wrong = plausible(report, order, ledger.positions.multiplier(report.symbol))
        if wrong:
            if source is Source.RECOVERED:
                named = order.event.order if order is not None else report.order_id or report.cl_ord_id
                self.recovery.note_refused(named, report.exec_id)
            self._on_implausible(report, wrong, source)
            return
        if key:
            _keep_recent(self._contents, report.exec_id, _content(report))
        if source is Source.SESSION:
            desk.answered(report.cl_ord_id)
        if order is not None:
            self._on_known(order, kind, report, key, source, now)
        else:
            self._on_unmatched(kind, report, key, source, now)

    def _on_duplicate(self, report: ReportCopy, source: Source) -> None:
        self.desk.count.duplicates += 1
        first = self._contents.get(report.exec_id)
        if first is None or first == _content(report):
            return
        del self._contents[report.exec_id]  # said once
        text = f"ExecID {report.exec_id} came again with other content: {first}, then {_content(report)}"
        self.desk.out.log("alert", text)
        if source is Source.SESSION:
            self.recovery.want_sweep()

    def _on_implausible(self, report: ReportCopy, wrong: str, source: Source) -> None:
        # Drop copy has said all it knows when it brings such a report itself: asking again would not end.
        self.desk.count.implausible += 1
        name = report.exec_id or f"{report.exec_type} {report.cl_ord_id[:64]}"
        if name in self._refused:
            return
        _keep_recent(self._refused, name, None)
        self.desk.out.log(
            "alert",
            f"report {report.exec_id or 'without a key'} for {report.cl_ord_id[:64]} can't be true: {wrong}; left to drop copy",
        )
        if source is Source.SESSION:
            self.recovery.want_sweep()

    def _on_known(
        self, order: Order, kind: EventKind, report: ReportCopy, key: ExecKey, source: Source, now: Now
    ) -> None:
        desk = self.desk
        if kind is EventKind.REJECTED and self._is_no_reject(order, report, now):
            return
        before = order.event.state
        late = order.terminal
        if late and (not key or (order.event.state, kind) not in TRANSITIONS):
            desk.count.late += 1
            return
        position, text = 0, ""
        if kind is EventKind.TRADE:
            position, text = self._position_after(report, order.event.symbol, order.event.side, source, now)
            desk.count.fills += 1
        elif kind is EventKind.REJECTED:
            desk.count.rejects += 1
        numbers = desk.ledger.numbers(order.event.strategy)
        event = orders.reported(
            order,
            kind,
            report,
            numbers,
            now.wall_ns,
            exec_key=key,
            source=source,
            position=position,
            text=text,
        )
        desk.emit(event)
        if event.missing_qty or self.recovery.short:
            self.recovery.follow_missing(event, now)
        if late:
            self._on_late(event, before, report)
        elif kind is EventKind.TRADE and event.cum_qty > order.worst_qty:
            desk.out.log("alert", f"order {event.order} is overfilled: {event.cum_qty} of {order.worst_qty}")
        if self._silent_end and event.tif in ("3", "4"):
            self._watch_silent_end(event, now)

    def _is_no_reject(self, order: Order, report: ReportCopy, now: Now) -> bool:
        # A Rejected report that rejects no new order: a doubt, or the refusal of a replace or cancel.
        desk = self.desk
        exists = ORDER_ALREADY_EXISTS in report.text or report.reason == _DUPLICATE
        in_doubt = exists or EXCHANGE_UNAVAILABLE in report.text
        pending = order.requests.get(report.cl_ord_id)
        if in_doubt and pending is None:
            if not order.terminal and not desk.is_unknown(order):
                desk.tell(
                    order,
                    EventKind.UNKNOWN,
                    now,
                    request_id=report.cl_ord_id,
                    reason=report.reason,
                    text=report.text,
                    source=Source.SESSION,
                )
            self.recovery.hold_off(order, UNAVAILABLE_NS, now)
            return True
        if pending is None:
            return False
        self._refuse_request(order, report.cl_ord_id, pending.replace, report.reason, report.text, now)
        return True

    def _position_after(
        self, report: ReportCopy, symbol: str, side: int, source: Source, now: Now
    ) -> tuple[int, str]:
        # The account's position with the trade in it, and what to say when the venue disagrees (704/705).
        positions = self.desk.ledger.positions
        position = positions.qty(symbol) + (report.last_qty if side == Side.BUY else -report.last_qty)
        if (
            source is not Source.SESSION
            or report.long_qty < 0
            or report.short_qty < 0
            or report.long_qty - report.short_qty == position
            or symbol not in positions.known
            or not positions.is_newest(symbol, report.exec_id)
            or self.recovery.settling(now)
        ):
            return position, ""
        text = f"position break: {symbol} ours {position}, the venue's {report.long_qty - report.short_qty}"
        self.desk.out.log("alert", text)
        return position, text

    def _on_late(self, event: OrderEvent, before: OrderState, report: ReportCopy) -> None:
        desk = self.desk
        desk.count.late += 1
        if event.kind is EventKind.TRADE and before is not OrderState.FILLED:
            desk.out.log(
                "alert", f"late fill of {report.last_qty} for {event.order}, which is {before.value}"
            )
        if event.state is OrderState.UNKNOWN:
            desk.out.log(
                "alert",
                f"{event.order} is open at the venue but was concluded {before.value}: it counts again, cancelling",
            )

    def _on_unmatched(
        self, kind: EventKind, report: ReportCopy, key: ExecKey, source: Source, now: Now
    ) -> None:
        desk = self.desk
        closed = desk.ledger.find_closed(report.cl_ord_id, report.orig_cl_ord_id)
        if closed is not None and closed.strategy != SLOT_FOREIGN:
            desk.count.late += 1
            if not key:
                return
            desk.out.log("alert", f"report {report.exec_id} for {closed.order}, which was over long ago")
            if closed.concluded and orders.shows_resting(kind, report):
                order = orders.heard_of(report, closed.strategy, closed.order, now.wall_ns, reopened=True)
                self._on_known(order, kind, report, key, source, now)
            else:
                self._stand_alone(kind, report, closed.strategy, closed.order, closed.state, source, now)
            return
        first = report.orig_cl_ord_id if slot_of(report.orig_cl_ord_id) is not None else report.cl_ord_id
        slot = slot_of(first)
        if slot is not None:
            desk.out.log(
                "alert", f"order {first} of slot {slot} is not in the journal: recovered from its reports"
            )
            self._on_known(orders.heard_of(report, slot, first, now.wall_ns), kind, report, key, source, now)
            return
        desk.count.foreign += 1
        if not key:
            return
        named = report.order_id or report.cl_ord_id
        desk.out.log(
            "alert", f"foreign report {report.exec_id} ({kind.value}) of {named[:64]} in {report.symbol}"
        )
        over = desk.ledger.find_closed(named)  # a report that comes after its order's end opens nothing
        state = _STATES.get(report.ord_status, OrderState.UNKNOWN) if over is None else over.state
        known = desk.ledger.foreign.get(named)
        last_qty = report.last_qty if kind is EventKind.TRADE else 0
        settled_qty = 0
        if known is not None:
            cum_qty = known.cum_qty + last_qty
            missing_qty, settled_qty = orders.lacking(known, cum_qty, report.cum_qty)
        elif over is not None or source is not Source.SESSION:
            # Of one that is over nothing is missing; what drop copy does not show of one was before us.
            cum_qty, missing_qty = report.cum_qty, 0
        else:
            cum_qty = last_qty
            missing_qty = max(report.cum_qty - cum_qty, 0)
        self._stand_alone(
            kind,
            report,
            SLOT_FOREIGN,
            named,
            state,
            source,
            now,
            cum_qty=cum_qty,
            missing_qty=missing_qty,
            settled_qty=settled_qty,
        )

    def _stand_alone(
        self,
        kind: EventKind,
        report: ReportCopy,
        strategy: int,
        order: str,
        state: OrderState,
        source: Source,
        now: Now,
        *,
        cum_qty: int | None = None,
        missing_qty: int = 0,
        settled_qty: int = 0,
    ) -> None:
        # An event of an order that is not kept: nothing of it is known but the report, and of a foreign one its fills.
        desk = self.desk
        if cum_qty is None:
            cum_qty = report.cum_qty
        trade = kind is EventKind.TRADE
        position, text = 0, ""
        if trade:
            position, text = self._position_after(report, report.symbol, report.side, source, now)
            desk.count.fills += 1
        tape_no, strategy_no = desk.ledger.numbers(strategy)
        event = OrderEvent(
            tape_no=tape_no,
            strategy=strategy,
            strategy_no=strategy_no,
            kind=kind,
            state=state,
            order=order,
            wall_ns=now.wall_ns,
            cl_ord_id=report.cl_ord_id,
            order_id=report.order_id,
            exec_id=report.exec_id,
            symbol=report.symbol,
            side=report.side,
            price=report.price,
            qty=report.leaves_qty + cum_qty + missing_qty,
            cum_qty=cum_qty,
            leaves_qty=report.leaves_qty,
            last_px=report.last_px if trade else 0,
            last_qty=report.last_qty if trade else 0,
            fee=report.fee if trade else 0,
            collateral=report.collateral,
            long_qty=report.long_qty,
            short_qty=report.short_qty,
            position=position,
            aggressor=report.aggressor,
            trd_match_id=report.trd_match_id,
            reason=report.reason,
            text=text or report.text,
            source=source,
            late=strategy != SLOT_FOREIGN,
            transact_ns=report.transact_ns,
            missing_qty=missing_qty,
            settled_qty=settled_qty,
        )
        desk.emit(event)
        if missing_qty or self.recovery.short:
            self.recovery.follow_missing(event, now)

    # -- refusals

    def on_cancel_reject(self, reject: OrderCancelReject, now: Now) -> None:
        """Apply an OrderCancelReject(35=9)."""
        desk = self.desk
        desk.answered(reject.cl_ord_id)
        order = desk.ledger.find(reject.cl_ord_id, reject.orig_cl_ord_id)
        if order is None:
            desk.out.log(
                "warning",
                f"OrderCancelReject for {reject.cl_ord_id[:64]}, which is not ours: {reject.text[:80]}",
            )
            return
        pending = order.requests.get(reject.cl_ord_id)
        if pending is None:
            desk.count.duplicates += 1
            return
        reason = -1 if reject.cxl_rej_reason is None else reject.cxl_rej_reason
        self._refuse_request(order, reject.cl_ord_id, pending.replace, reason, reject.text, now)

    def _refuse_request(
        self, order: Order, request_id: str, replace: bool, reason: int, text: str, now: Now
    ) -> None:
        desk, recovery = self.desk, self.recovery
        unavailable = EXCHANGE_UNAVAILABLE in text
        desk.count.rejects += 1
        if not (
            unavailable and replace
        ):  # a replace in doubt stays in flight: its id may be the one in force
            kind = EventKind.REPLACE_REJECTED if replace else EventKind.CANCEL_REJECTED
            desk.tell(
                order, kind, now, request_id=request_id, reason=reason, text=text, source=Source.SESSION
            )
        if unavailable:
            if not order.terminal and not desk.is_unknown(order):
                desk.tell(
                    order,
                    EventKind.UNKNOWN,
                    now,
                    request_id=request_id,
                    reason=reason,
                    text=text,
                    source=Source.SESSION,
                )
                recovery.hold_off(order, UNAVAILABLE_NS, now)
            else:
                recovery.on_refused(order, gone=False, now=now)
            return
        gone = reason in _GONE_REASONS or CANNOT_UPDATE_FILLED_ORDER in text
        if not replace or gone:
            recovery.on_refused(order, gone=gone, unheard_of=reason == 1, now=now)

    def on_business_reject(self, reject: BusinessMessageReject, now: Now) -> None:
        """Apply a BusinessMessageReject(35=j)."""
        text = f"BusinessRejectReason {reject.business_reject_reason}: {reject.text}"
        self.on_refused_request(
            reject.ref_seq_num, reject.business_reject_ref_id, reject.business_reject_reason, text, now
        )

    def on_refused_request(self, seq: int | None, request_id: str, reason: int, text: str, now: Now) -> None:
        """Apply a refusal by number: the request never reached the book (venue.md section 7)."""
        desk = self.desk
        sent = desk.refused(seq, request_id)
        if sent is None or sent.msg_type == "q":
            desk.out.log("warning", f"message {seq} was refused: {text[:200]}")
            return
        order = desk.ledger.find(sent.request_id)
        if order is None:
            return
        desk.count.rejects += 1
        if sent.msg_type == "D":
            if order.heard_of:
                desk.out.log("alert", f"{sent.order} was refused after it was acknowledged: {text[:200]}")
            elif not order.terminal:
                desk.tell(
                    order, EventKind.NOT_SENT, now, request_id=sent.request_id, reason=reason, text=text
                )
            return
        if sent.request_id not in order.requests:
            return
        kind = EventKind.CANCEL_REJECTED if sent.msg_type == "F" else EventKind.REPLACE_REJECTED
        desk.tell(
            order, kind, now, request_id=sent.request_id, reason=reason, text=text, source=Source.SESSION
        )
        if sent.msg_type == "F":
            self.recovery.on_refused(order, gone=False, now=now)

    def on_never_got(self, begin: int, end: int, now: Now) -> None:
        """The venue asked for our messages `begin` to `end` (0: all after) again: it never got them.

        They were gap-filled, never sent again, so none of them reached the book.
        """
        for seq in [seq for seq in self.desk.sent if begin <= seq and (end == 0 or seq <= end)]:
            self.on_refused_request(seq, "", -1, "the venue never got it, and it is not sent again", now)

    # -- orders that end without a word (21007=N)

    def start(self, now: Now) -> None:
        """Begin a life: of what the venue had acknowledged before it may say nothing more."""
        for key, order in self.desk.ledger.orders.items():
            if self._silent_end and order.event.tif in ("3", "4") and not self.desk.is_unknown(order):
                self.ending[key] = now.mono_ns + SILENT_END_NS

    def _watch_silent_end(self, event: OrderEvent, now: Now) -> None:
        if event.leaves_qty == 0:
            self.ending.pop(event.order, None)
        elif event.kind in (EventKind.NEW, EventKind.TRADE):
            self.ending.pop(event.order, None)
            self.ending[event.order] = now.mono_ns + SILENT_END_NS

    def due(self) -> int | None:
        """Return when `tick` is wanted (mono_ns), or None."""
        return next(iter(self.ending.values()), None)

    def tick(self, now: Now) -> None:
        """Have IOC and FOK orders end that the venue will say nothing more of: by their terms the rest is gone.

        Only while nothing that the venue has said can be on its way: a silence on no session says nothing.
        """
        ended = []
        while self.ending:
            key, due = next(iter(self.ending.items()))
            if due > now.mono_ns:
                break
            del self.ending[key]
            order = self.desk.ledger.orders.get(key)
            if order is not None and not self.desk.is_unknown(order):
                ended.append(key)
        if ended:
            self.recovery.await_fills(ended)
