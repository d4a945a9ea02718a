"""One order's life, as one transition table over (OrderState, EventKind).

What the venue says about an order can arrive twice, late, or in another order than it happened, and a request of ours
can cross with it. So the table does not chain reports; it says for each state and kind either the state that follows
or a rule that decides it from facts which do not depend on the order of arrival:

    WORKING       the state that the facts give: a cancel in flight, else a replace in flight, else PARTIALLY_FILLED
                  when anything was filled, else NEW when the venue acknowledged it, else PENDING_NEW, else SUBMITTING
    FILL          FILLED when the report says so (OrdStatus 2), else WORKING
    HEARD         out of UNKNOWN: WORKING when the order-entry session says it; still UNKNOWN when drop copy says it,
                  because that shows what was and not what is
    HEARD_FILL    FILLED when the report says so, else as HEARD
    FOUND_OUT     the end of an UNKNOWN order: FILLED when the fills fill it, NOT_SENT when the venue never had it,
                  else CANCELED
    STAYS         the order is over: the event is recorded as late, fills move the position, the state stays
    OVERRULES     the order is over. Where the venue said so, as STAYS. Where we concluded it ourselves (`resolved`,
                  `not_sent`), the venue's word overrides our conclusion: an end that it tells is the state, and a
                  report that shows something resting makes the order UNKNOWN, counted at its worst again. An order
                  that came back like this is nobody's wish any more: only its end leads out of UNKNOWN

An order that is heard of before the journal has it (a journal was lost, another engine had it) begins as UNKNOWN.
A key that is absent can't happen; asking for it is an error of ours and stops the process.

Where the venue's CumQty is ahead of our sum, fills are missing (`missing_qty`): lost, or still to come, also of an order
that is over. They stay missing until they are here, also when drop copy is known to have none (`fills_denied`), or until
an operator's word settles them (`settled_qty`): a later CumQty is compared with our sum and what was settled.

Facts are the sum of unique fills (CumQty is our own sum; OrderQty(38) is never computed from, venue.md 21008), whether
the venue was ever heard to have the order, and the requests in flight. Terms (price, quantity, ClOrdID in force)
follow the Replaced report with the highest ExecID, so that two of them in the wrong order end right.

Every change goes through `Order.apply`, live and in replay alike: an event says all that there is to know.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from engine.common.ids import SLOT_FOREIGN
from engine.messages.commands import CancelOrder, NewOrder, ReplaceOrder
from engine.messages.executions import TERMINAL, EventKind, OrderEvent, OrderState, ReportCopy, Source
from engine.orders.saved import SavedOrder

ExecKey = tuple[int, ...]
Numbers = tuple[int, int]  # tape_no, strategy_no


class Rule(StrEnum):
    """How the next state is found where the table can't name it."""

    WORKING = "working"
    FILL = "fill"
    HEARD = "heard"
    HEARD_FILL = "heard fill"
    FOUND_OUT = "found out"
    STAYS = "stays"
    OVERRULES = "overrules"


_S, _K = OrderState, EventKind
_ALIVE: Final = (
    _S.SUBMITTING,
    _S.PENDING_NEW,
    _S.NEW,
    _S.PARTIALLY_FILLED,
    _S.PENDING_REPLACE,
    _S.PENDING_CANCEL,
)
_OVER: Final = (_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.NOT_SENT)
_CONCLUDED: Final = (_S.FILLED, _S.CANCELED, _S.NOT_SENT)
_CONCLUDES: Final = (_K.RESOLVED, _K.NOT_SENT)
_ENDS: Final = {
    _K.CANCELED: _S.CANCELED,
    _K.EXPIRED: _S.EXPIRED,
    _K.REJECTED: _S.REJECTED,
    _K.NOT_SENT: _S.NOT_SENT,
}
_HEARD_OF: Final = frozenset({_K.NEW, _K.TRADE, _K.REPLACED, _K.CANCELED, _K.EXPIRED})


_Table = dict[tuple[OrderState | None, EventKind], OrderState | Rule]
_PENDING: Final = (_K.PENDING_NEW, _K.PENDING_REPLACE, _K.PENDING_CANCEL)
_REFUSED: Final = (_K.CANCEL_REJECTED, _K.REPLACE_REJECTED)


def _alive_rows() -> _Table:
    table: _Table = {}
    requests = (_K.REPLACE_SUBMITTED, _K.CANCEL_SUBMITTED)
    for state in _ALIVE:
        for kind in (*_PENDING, *requests, *_REFUSED, _K.NEW, _K.REPLACED):
            table[state, kind] = Rule.WORKING
        table[state, _K.FILLS_DENIED] = Rule.WORKING
        table[state, _K.TRADE] = Rule.FILL
        table[state, _K.UNKNOWN] = _S.UNKNOWN
        for kind, end in _ENDS.items():
            table[state, kind] = end
        # What was never answered isn't done silently; what was acknowledged was sent.
        if state not in (_S.SUBMITTING, _S.PENDING_NEW):
            table[state, _K.DONE_SILENTLY] = _S.CANCELED
        if state in (_S.NEW, _S.PARTIALLY_FILLED):
            del table[state, _K.NOT_SENT]
    return table


def _unknown_rows() -> _Table:
    table: _Table = {}
    for kind in (*_PENDING, *_REFUSED, _K.CANCEL_SUBMITTED, _K.UNKNOWN, _K.FILLS_DENIED):
        table[_S.UNKNOWN, kind] = _S.UNKNOWN
    table[_S.UNKNOWN, _K.NEW] = table[_S.UNKNOWN, _K.REPLACED] = Rule.HEARD
    table[_S.UNKNOWN, _K.TRADE] = Rule.HEARD_FILL
    table[_S.UNKNOWN, _K.RESOLVED] = Rule.FOUND_OUT
    for kind, end in _ENDS.items():
        table[_S.UNKNOWN, kind] = end
    return table


def _over_rows() -> _Table:
    reports = (_K.NEW, _K.TRADE, _K.REPLACED, _K.CANCELED, _K.EXPIRED, _K.REJECTED)
    kinds = (*reports, *_REFUSED, _K.CANCEL_SUBMITTED, _K.FILLS_DENIED)
    stays: _Table = {(state, kind): Rule.STAYS for state in _OVER for kind in kinds}
    return stays | {(state, kind): Rule.OVERRULES for state in _CONCLUDED for kind in reports}


def _table() -> _Table:
    first: _Table = {(None, _K.SUBMITTED): _S.SUBMITTING, (None, _K.NOT_SENT): _S.NOT_SENT}
    return {**first, **_alive_rows(), **_unknown_rows(), **_over_rows()}


TRANSITIONS: Final = _table()


class Pending(NamedTuple):
    """A request in flight: `price` and `qty` are a replace's new terms."""

    replace: bool
    price: int = 0
    qty: int = 0


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What decides a state besides the table; all of it independent of the order in which it was learned.

    The last two are as in `Order`: our own conclusion, and that the venue overrode one.
    """

    heard_of: bool
    pending_new: bool
    cum_qty: int
    qty: int
    cancelling: bool
    replacing: bool
    concluded: bool = False
    reopened: bool = False


def working_state(facts: Facts) -> OrderState:
    """Return the state of a live order by its facts alone."""
    if facts.cancelling:
        return _S.PENDING_CANCEL
    if facts.replacing:
        return _S.PENDING_REPLACE
    if facts.cum_qty:
        return _S.PARTIALLY_FILLED
    if facts.heard_of:
        return _S.NEW
    return _S.PENDING_NEW if facts.pending_new else _S.SUBMITTING


def next_state(
    state: OrderState | None,
    kind: EventKind,
    facts: Facts,
    *,
    filled: bool,
    source: Source,
    resting: bool = False,
) -> OrderState:
    """Return the state after an event.

    Args:
        state: before it, or None when the order is not known yet.
        kind: what happened.
        facts: with the event counted in.
        filled: the report says that the order is filled.
        source: who says it.
        resting: the report says that something of the order rests.

    Raises:
        KeyError: the table has no such transition: a fault of the caller.
    """
    to = TRANSITIONS[state, kind]
    if isinstance(to, OrderState):
        return to
    if to in (Rule.STAYS, Rule.OVERRULES):
        assert state is not None, "only an order that is over stays as it is"
        if to is Rule.STAYS or not facts.concluded:
            return state
        end = _S.FILLED if filled else _ENDS.get(kind, state)
        return _S.UNKNOWN if resting else end
    if to is Rule.FOUND_OUT:
        if facts.cum_qty and facts.cum_qty >= facts.qty:
            return _S.FILLED
        return _S.CANCELED if facts.heard_of or facts.cum_qty else _S.NOT_SENT
    if filled and to in (Rule.FILL, Rule.HEARD_FILL):
        return _S.FILLED
    if to in (Rule.HEARD, Rule.HEARD_FILL) and (facts.reopened or source is not Source.SESSION):
        return _S.UNKNOWN
    return working_state(facts)


class Order:
    """One order: its newest event, which is its state, and the facts that decide the next one.

    Attributes:
        event: the newest event of the order.
        heard_of: the venue was heard to have it (or to have had it).
        requests: requests in flight by ClOrdID.
        ids: every ClOrdID of the chain, requests to cancel included.
        terms_key: ExecID key of the Replaced report that gave the terms in force.
        concluded: it is over by our own conclusion (`resolved`, `not_sent`); the venue has not said so.
        reopened: the venue overrode such a conclusion.
    """

    __slots__ = (
        "concluded",
        "event",
        "heard_of",
        "ids",
        "pending_new",
        "reopened",
        "requests",
        "terms_key",
    )

    def __init__(self, event: OrderEvent) -> None:
        self.event = event
        self.heard_of = False
        self.pending_new = False
        self.requests: dict[str, Pending] = {}
        self.ids: dict[str, None] = {event.order: None}
        self.terms_key: ExecKey = ()
        self.concluded = False
        self.reopened = False

    @property
    def terminal(self) -> bool:
        """The order is over."""
        return self.event.state in TERMINAL

    @property
    def worst_qty(self) -> int:
        """The most that may be filled in all, a replace in flight included."""
        return max([self.event.qty, *(request.qty for request in self.requests.values())])

    def apply(self, event: OrderEvent, exec_key: Callable[[str], ExecKey]) -> None:
        """Take an event of this order in; it becomes the newest."""
        kind = event.kind
        self._weigh(event)
        self.event = event
        if event.cl_ord_id:
            self.ids[event.cl_ord_id] = None
        request_id = event.request_id
        if request_id:
            self.ids[request_id] = None
        if kind is _K.REPLACE_SUBMITTED:
            self.requests[request_id] = Pending(replace=True, price=event.new_price, qty=event.new_qty)
        elif kind is _K.CANCEL_SUBMITTED:
            self.requests[request_id] = Pending(replace=False)
        elif kind in _HEARD_OF:
            self.heard_of = True
            if kind is _K.REPLACED:
                self.requests.pop(request_id, None)
                self.terms_key = max(self.terms_key, exec_key(event.exec_id) if event.exec_id else ())
        elif kind in (_K.CANCEL_REJECTED, _K.REPLACE_REJECTED):
            self.requests.pop(request_id, None)
        elif kind is _K.PENDING_NEW:
            self.pending_new = True

    def _weigh(self, event: OrderEvent) -> None:
        # Whose word it is that the order is over, after this event.
        if event.kind in _CONCLUDES:
            self.concluded = True
        elif self.concluded:
            self.reopened = self.reopened or event.state is _S.UNKNOWN
            told = event.kind in _ENDS or (event.kind is _K.TRADE and event.state is _S.FILLED)
            self.concluded = event.state in TERMINAL and not told

    def save(self) -> SavedOrder:
        """Return everything, for a snapshot."""
        return SavedOrder(
            event=self.event,
            ids=list(self.ids),
            requests=[(request_id, *pending) for request_id, pending in self.requests.items()],
            heard_of=self.heard_of,
            pending_new=self.pending_new,
            concluded=self.concluded,
            reopened=self.reopened,
            terms_key=self.terms_key,
        )

    @classmethod
    def restored(cls, saved: SavedOrder) -> "Order":
        """Return the order that was saved."""
        order = cls(saved.event)
        order.ids = dict.fromkeys(saved.ids)
        order.requests = {
            request_id: Pending(replace, price, qty) for request_id, replace, price, qty in saved.requests
        }
        order.heard_of = saved.heard_of
        order.pending_new = saved.pending_new
        order.concluded = saved.concluded
        order.reopened = saved.reopened
        order.terms_key = saved.terms_key
        return order

    def content(self) -> list[object]:
        """Return everything, in a fixed order, for the digest."""
        requests = [(request_id, *pending) for request_id, pending in self.requests.items()]
        facts = (self.heard_of, self.pending_new, self.concluded, self.reopened, self.terms_key)
        return [self.event, requests, list(self.ids), facts]


def _pending_terms(requests: dict[str, Pending]) -> tuple[int, int]:
    # The terms that a replace in flight would bring: the newest one's.
    for pending in reversed(requests.values()):
        if pending.replace:
            return pending.price, pending.qty
    return 0, 0


def _facts(order: Order, kind: EventKind, cum_qty: int, qty: int, requests: dict[str, Pending]) -> Facts:
    cancelling = replacing = False
    for pending in requests.values():
        if pending.replace:
            replacing = True
        else:
            cancelling = True
    return Facts(
        heard_of=order.heard_of or kind in _HEARD_OF,
        pending_new=order.pending_new or kind is _K.PENDING_NEW,
        cum_qty=cum_qty,
        qty=qty,
        cancelling=cancelling,
        replacing=replacing,
        concluded=order.concluded,
        reopened=order.reopened,
    )


def submitted(request: NewOrder, strategy: int, numbers: Numbers, wall_ns: int, seq: int = 0) -> OrderEvent:
    """Return the first event of an order: it is about to go on the wire."""
    return OrderEvent(
        tape_no=numbers[0],
        strategy=strategy,
        strategy_no=numbers[1],
        kind=_K.SUBMITTED,
        state=_S.SUBMITTING,
        order=request.cl_ord_id,
        wall_ns=wall_ns,
        cl_ord_id=request.cl_ord_id,
        request_id=request.cl_ord_id,
        symbol=request.symbol,
        side=request.side,
        price=request.price,
        qty=request.qty,
        leaves_qty=request.qty,
        tif=request.tif,
        post_only=request.post_only,
        group=request.group,
        stp=request.stp,
        cancel_on_pause=request.cancel_on_pause,
        expire_ns=request.expire_ns,
        source=Source.ENGINE,
        msg_seq_num=seq,
        trigger_ns=request.trigger_ns,
    )


def refused(request: NewOrder, strategy: int, numbers: Numbers, wall_ns: int, text: str) -> OrderEvent:
    """Return the only event of a new order that never went on the wire."""
    event = submitted(request, strategy, numbers, wall_ns)
    return msgspec.structs.replace(event, kind=_K.NOT_SENT, state=_S.NOT_SENT, leaves_qty=0, text=text)


def requested(
    order: Order, request: ReplaceOrder | CancelOrder, numbers: Numbers, wall_ns: int, seq: int = 0
) -> OrderEvent:
    """Return the event of a replace or cancel that is about to go on the wire."""
    before = order.event
    if isinstance(request, ReplaceOrder):
        kind, pending = _K.REPLACE_SUBMITTED, Pending(replace=True, price=request.price, qty=request.qty)
    else:
        kind, pending = _K.CANCEL_SUBMITTED, Pending(replace=False)
    requests = {**order.requests, request.cl_ord_id: pending}
    facts = _facts(order, kind, before.cum_qty, before.qty, requests)
    state = next_state(before.state, kind, facts, filled=False, source=Source.ENGINE)
    return _carry(
        before,
        numbers,
        wall_ns,
        kind=kind,
        state=state,
        request_id=request.cl_ord_id,
        terms=_pending_terms(requests),
        source=Source.ENGINE,
        msg_seq_num=seq,
        trigger_ns=request.trigger_ns,
    )


def told(
    order: Order,
    kind: EventKind,
    numbers: Numbers,
    wall_ns: int,
    *,
    request_id: str = "",
    reason: int = -1,
    text: str = "",
    source: Source = Source.ENGINE,
) -> OrderEvent:
    """Return an event that is no execution report: a reject of a request, a doubt, a conclusion."""
    before = order.event
    requests = order.requests
    if kind in (_K.CANCEL_REJECTED, _K.REPLACE_REJECTED):
        requests = {key: pending for key, pending in requests.items() if key != request_id}
    facts = _facts(order, kind, before.cum_qty, before.qty, requests)
    state = next_state(before.state, kind, facts, filled=False, source=source)
    return _carry(
        before,
        numbers,
        wall_ns,
        kind=kind,
        state=state,
        request_id=request_id,
        terms=_pending_terms(requests),
        reason=reason,
        text=text,
        source=source,
        late=before.state in TERMINAL,
    )


def shows_resting(kind: EventKind, report: ReportCopy) -> bool:
    """Say whether a report says that something of its order rests, as of its time."""
    return report.leaves_qty > 0 and kind in (_K.NEW, _K.REPLACED, _K.TRADE)


def reported(
    order: Order,
    kind: EventKind,
    report: ReportCopy,
    numbers: Numbers,
    wall_ns: int,
    *,
    exec_key: ExecKey,
    source: Source,
    position: int = 0,
    text: str = "",
) -> OrderEvent:
    """Return the event of an execution report.

    Args:
        order: the order that the report is about.
        kind: what its ExecType says.
        report: in bus units; its exec_id is empty when it is no key.
        numbers: tape_no and strategy_no of the event.
        wall_ns: now.
        exec_key: the ExecID's comparable key, or ().
        source: who brought it.
        position: the account's position after it (trades).
        text: put on the event instead of the report's own.
    """
    before = order.event
    late = before.state in TERMINAL
    cum_qty = before.cum_qty + (report.last_qty if kind is _K.TRADE else 0)
    cl_ord_id, price, qty = before.cl_ord_id, before.price, before.qty
    requests = order.requests
    # A Trade is about no request, but one that names another ClOrdID than the one in force (a replace whose report is
    # still missing) must show which.
    request_id = report.cl_ord_id if kind is not _K.TRADE or report.cl_ord_id != cl_ord_id else ""
    if kind is _K.REPLACED:
        pending = requests.get(report.cl_ord_id)
        requests = {key: other for key, other in requests.items() if key != report.cl_ord_id}
        if exec_key >= order.terms_key:
            cl_ord_id = report.cl_ord_id or cl_ord_id
            if pending is not None and pending.replace:
                price, qty = pending.price or price, pending.qty
            else:  # not ours: OrderQty(38) is not trusted, so what rests and what is done are added
                price, qty = report.price or price, report.leaves_qty + report.cum_qty
    facts = _facts(order, kind, cum_qty, qty, requests)
    filled = kind is _K.TRADE and report.ord_status == "2"
    resting = shows_resting(kind, report)
    state = next_state(before.state, kind, facts, filled=filled, source=source, resting=resting)
    return _carry(
        before,
        numbers,
        wall_ns,
        kind=kind,
        state=state,
        cl_ord_id=cl_ord_id,
        request_id=request_id,
        ordered=(price, qty),
        sums=(cum_qty, *lacking(before, cum_qty, report.cum_qty)),
        order_id=report.order_id or before.order_id,
        terms=_pending_terms(requests),
        report=report,
        reason=report.reason,
        text=text or report.text,
        source=source,
        late=late,
        position=position,
    )


def lacking(before: OrderEvent, cum_qty: int, told: int) -> tuple[int, int]:
    """Return (missing_qty, settled_qty) of an order, also a foreign one, after a report.

    Args:
        before: the newest event before it.
        cum_qty: our sum with it.
        told: its CumQty. What an earlier one told of is not taken back.
    """
    told = max(before.cum_qty + before.missing_qty + before.settled_qty, told)
    settled_qty = min(before.settled_qty, max(told - cum_qty, 0))  # such a fill may come after all
    return max(told - cum_qty - settled_qty, 0), settled_qty


def denied(before: OrderEvent, numbers: Numbers, wall_ns: int, text: str, source: Source) -> OrderEvent:
    """Return the event that the fills which are missing of an order, also a foreign one, are not to be had.

    Drop copy has none (`source` RECOVERED): they stay missing, because who of the venue's witnesses is wrong is not known.
    An OPERATOR's word settles them.
    """
    settled_qty = before.missing_qty if source is Source.OPERATOR else 0
    foreign = before.strategy == SLOT_FOREIGN  # its quantity was what the venue said
    return _carry(
        before,
        numbers,
        wall_ns,
        kind=_K.FILLS_DENIED,
        state=before.state,
        terms=(before.new_price, before.new_qty),
        ordered=(before.price, before.qty - settled_qty if foreign else before.qty),
        sums=(before.cum_qty, before.missing_qty - settled_qty, before.settled_qty + settled_qty),
        source=source,
        text=text,
        late=before.state in TERMINAL,
    )


def heard_of(report: ReportCopy, strategy: int, order: str, wall_ns: int, *, reopened: bool = False) -> Order:
    """Return an order that the journal does not have, as its first report shows it: UNKNOWN until that is applied.

    The quantity is LeavesQty + CumQty; OrderQty(38) only when both are zero, because nothing else says it then.
    `reopened`: it was concluded over so long ago that only its ids are left.
    """
    event = OrderEvent(
        tape_no=0,
        strategy=strategy,
        strategy_no=0,
        kind=_K.UNKNOWN,
        state=_S.UNKNOWN,
        order=order,
        wall_ns=wall_ns,
        cl_ord_id=order,
        order_id=report.order_id,
        symbol=report.symbol,
        side=report.side,
        price=report.price,
        qty=report.leaves_qty + report.cum_qty or report.qty,
    )
    found = Order(event)
    found.reopened = reopened
    return found


_NO_REPORT: Final = ReportCopy(exec_id="", cl_ord_id="", exec_type="", ord_status="", symbol="", side=0)


# The next event of the same order: what the order is stays, what happened is new. `ordered`: price and quantity;
# `sums`: cum_qty, missing_qty, settled_qty.
def _carry(
    before: OrderEvent,
    numbers: Numbers,
    wall_ns: int,
    *,
    kind: EventKind,
    state: OrderState,
    terms: tuple[int, int],
    source: Source,
    request_id: str = "",
    cl_ord_id: str | None = None,
    order_id: str | None = None,
    ordered: tuple[int, int] | None = None,
    sums: tuple[int, int, int] | None = None,
    report: ReportCopy = _NO_REPORT,
    reason: int = -1,
    text: str = "",
    late: bool = False,
    position: int = 0,
    msg_seq_num: int = 0,
    trigger_ns: int = 0,
) -> OrderEvent:
    price, qty = ordered or (before.price, before.qty)
    cum_qty, missing_qty, settled_qty = sums or (before.cum_qty, before.missing_qty, before.settled_qty)
    leaves, new_price, new_qty = (0, 0, 0) if state in TERMINAL else (max(qty - cum_qty, 0), *terms)
    return OrderEvent(
        tape_no=numbers[0],
        strategy=before.strategy,
        strategy_no=numbers[1],
        kind=kind,
        state=state,
        order=before.order,
        wall_ns=wall_ns,
        cl_ord_id=before.cl_ord_id if cl_ord_id is None else cl_ord_id,
        request_id=request_id,
        order_id=before.order_id if order_id is None else order_id,
        exec_id=report.exec_id,
        symbol=before.symbol,
        side=before.side,
        price=price,
        qty=qty,
        cum_qty=cum_qty,
        leaves_qty=leaves,
        last_px=report.last_px if kind is _K.TRADE else 0,
        last_qty=report.last_qty if kind is _K.TRADE else 0,
        fee=report.fee if kind is _K.TRADE else 0,
        collateral=report.collateral,
        long_qty=report.long_qty,
        short_qty=report.short_qty,
        position=position,
        aggressor=report.aggressor,
        trd_match_id=report.trd_match_id,
        reason=reason,
        text=text,
        tif=before.tif,
        post_only=before.post_only,
        group=before.group,
        stp=before.stp,
        cancel_on_pause=before.cancel_on_pause,
        expire_ns=before.expire_ns,
        new_price=new_price,
        new_qty=new_qty,
        source=source,
        late=late,
        msg_seq_num=msg_seq_num,
        trigger_ns=trigger_ns,
        transact_ns=report.transact_ns,
        missing_qty=missing_qty,
        settled_qty=settled_qty,
    )


def render_table() -> str:
    """Return the transition table as markdown, for docs/orders.md."""
    kinds = [kind for kind in EventKind if any(key[1] is kind for key in TRANSITIONS)]
    states: list[OrderState | None] = [None, *OrderState]
    lines = [
        "| event | " + " | ".join("(none)" if state is None else state.value for state in states) + " |",
        "|---|" + "---|" * len(states),
    ]
    for kind in kinds:
        cells = []
        for state in states:
            to = TRANSITIONS.get((state, kind))
            cells.append("" if to is None else to.value if isinstance(to, OrderState) else f"*{to.value}*")
        lines.append(f"| `{kind.value}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
