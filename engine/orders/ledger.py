"""All orders of order entry, the ids of their chains, the tape's numbers and the positions: one state, moved by events.

`apply` is the only thing that changes it, and takes an event alike when it happens and when the journal is replayed;
so what is there after a restart is byte for byte what was there at the last commit (`digest`).

Memory is bounded: orders that are over are kept whole for a while, so that late reports find them; beyond that only
their ids with strategy, order and state; the tape keeps its newest events; ExecIDs are kept for far longer than drop
copy looks back. What falls out of these is only needed for reports that the venue can't send any more. An order that is
over while fills of it are missing is kept whole until they are here or settled. Of a foreign order the newest event is
kept, until it is over and whole; beyond FOREIGN_KEPT the oldest that lacks nothing goes.
"""

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final

import msgspec
from msgspec.structs import astuple

from engine.common.ids import SLOT_FOREIGN
from engine.messages.executions import (
    TERMINAL,
    EventKind,
    OrderEvent,
    OrdersSnapshot,
    OrderState,
    TapeReplay,
)
from engine.orders.order import TRANSITIONS, ExecKey, Numbers, Order
from engine.orders.position import Positions
from engine.orders.saved import SavedClosed, SavedLedger

TAPE_KEPT: Final = 65_536
CLOSED_KEPT: Final = 10_000
CLOSED_IDS_KEPT: Final = 200_000
EXEC_IDS_KEPT: Final = 1_000_000
FOREIGN_KEPT: Final = 10_000
REPLAY_PART: Final = 500

_NOTHING: Final[deque[OrderEvent]] = deque(maxlen=0)


class Closed(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of an order that is over, by each of its ids; a foreign one's by the key of its events.

    `concluded`: as in `Order`.
    """

    strategy: int
    order: str
    state: OrderState
    concluded: bool = False


class Ledger:
    """The state of order entry.

    Args:
        multipliers: dollars per contract per dollar of price, by symbol.
        exec_key: turns an ExecID into a key that compares as the venue orders it.
    """

    def __init__(self, multipliers: Mapping[str, int], exec_key: Callable[[str], ExecKey]) -> None:
        self.tape_no = 0
        self.strategy_nos: dict[int, int] = {}
        self.orders: dict[str, Order] = {}
        self.unknown: dict[str, None] = {}
        self.short: dict[str, Order] = {}  # over, and fills are missing
        self.foreign: dict[str, OrderEvent] = {}
        self.positions = Positions(multipliers, exec_key)
        self.tape: deque[OrderEvent] = deque(maxlen=TAPE_KEPT)
        self._tape_of: dict[int, deque[OrderEvent]] = {}  # the same events by strategy
        self.exec_ids: set[str] = set()
        self.exec_key = exec_key
        self._by_id: dict[str, Order] = {}
        self._by_order_id: dict[str, Order] = {}
        # The oldest leaves these first. Asking a dict for its first key walks over all that left since it last grew.
        self._closed: OrderedDict[str, Order] = OrderedDict()
        self._closed_ids: dict[str, Closed] = {}
        self._closed_order: deque[str] = deque()
        self._exec_order: deque[str] = deque()

    # -- asking

    def numbers(self, strategy: int) -> Numbers:
        """Return (tape_no, strategy_no) of the next event of a strategy."""
        return self.tape_no + 1, self.strategy_nos.get(strategy, 0) + 1

    def used(self, cl_ord_id: str) -> bool:
        """Say whether a ClOrdID was ever used, as far as memory goes."""
        return cl_ord_id in self._by_id or cl_ord_id in self._closed_ids

    def find(self, cl_ord_id: str, orig_cl_ord_id: str = "", order_id: str = "") -> Order | None:
        """Return the order, open or lately over, that any of the ids names; ClOrdID first, OrderID last."""
        by_id = self._by_id
        order = by_id.get(cl_ord_id)
        if order is None and orig_cl_ord_id:
            order = by_id.get(orig_cl_ord_id)
        if order is None and order_id:
            order = self._by_order_id.get(order_id)
        return order

    def find_closed(self, cl_ord_id: str, orig_cl_ord_id: str = "") -> Closed | None:
        """Return what is left of an order that was over long ago."""
        return self._closed_ids.get(cl_ord_id) or self._closed_ids.get(orig_cl_ord_id)

    # -- changing

    def apply(self, event: OrderEvent) -> None:
        """Take in the next event of the tape.

        Raises:
            AssertionError: the tape has a gap, or the event can't follow: the journal is not ours.
        """
        assert event.tape_no == self.tape_no + 1, (
            f"the tape goes on with {self.tape_no + 1}, not {event.tape_no}"
        )
        strategy = event.strategy
        expected = self.strategy_nos.get(strategy, 0) + 1
        assert event.strategy_no == expected, (
            f"strategy {strategy} goes on with {expected}, not {event.strategy_no}"
        )
        self.tape_no = event.tape_no
        self.strategy_nos[strategy] = expected
        self._keep(event)
        if event.exec_id:
            self._remember_exec_id(event.exec_id)
        if event.kind is EventKind.TRADE or event.kind is EventKind.POSITION:
            self.positions.apply(event)
        if event.kind is EventKind.POSITION:
            return
        if strategy != SLOT_FOREIGN:
            self._apply_to_order(event)
        else:
            self._apply_to_foreign(event)

    def _keep(self, event: OrderEvent) -> None:
        tape, tape_of = self.tape, self._tape_of
        if len(tape) == tape.maxlen:
            tape_of[tape[0].strategy].popleft()
        tape.append(event)
        own = tape_of.get(event.strategy)
        if own is None:
            own = tape_of[event.strategy] = deque()
        own.append(event)

    def _remember_exec_id(self, exec_id: str) -> None:
        exec_ids = self.exec_ids
        assert exec_id not in exec_ids, f"ExecID {exec_id} is on the tape already"
        exec_ids.add(exec_id)
        self._exec_order.append(exec_id)
        if len(exec_ids) > EXEC_IDS_KEPT:
            exec_ids.discard(self._exec_order.popleft())

    def _apply_to_foreign(self, event: OrderEvent) -> None:
        key, foreign = event.order, self.foreign
        over = event.state in TERMINAL
        if over:
            self._remember_closed((key,), Closed(event.strategy, key, event.state))
        foreign.pop(key, None)
        if not over or event.missing_qty:
            foreign[key] = event
            if len(foreign) > FOREIGN_KEPT:
                # Who counts what is missing of an order must be told its end.
                whole = next((other for other, newest in foreign.items() if not newest.missing_qty), None)
                if whole is not None:
                    del foreign[whole]

    def _apply_to_order(self, event: OrderEvent) -> None:
        key, state = event.order, event.state
        order = self._by_id.get(key)
        if order is None:
            closed = self._closed_ids.get(key)
            if closed is not None and event.late:
                return
            assert closed is None or closed.concluded, f"order {key} is over: only late events may follow"
            order = Order(event)
            order.reopened = closed is not None
            before = None
        else:
            before = order.event.state
            assert (before, event.kind) in TRANSITIONS, (
                f"{event.kind.value} can't follow {before.value} of {key}"
            )
        if state not in TERMINAL and (before is None or before in TERMINAL):
            self.orders[key] = order
            self._closed.pop(key, None)
            self.short.pop(key, None)
        order.apply(event, self.exec_key)
        by_id = self._by_id
        by_id[key] = order
        if event.cl_ord_id:
            by_id[event.cl_ord_id] = order
        if event.request_id:
            by_id[event.request_id] = order
        if event.order_id:
            self._by_order_id[event.order_id] = order
        if state is OrderState.UNKNOWN:
            self.unknown[key] = None
        elif before is OrderState.UNKNOWN:
            del self.unknown[key]
        if state in TERMINAL:
            self._close(order, again=before in TERMINAL)

    def _close(self, order: Order, *, again: bool) -> None:
        # Late events may add ids to an order that is over already.
        key = order.event.order
        self._remember_closed(
            order.ids, Closed(order.event.strategy, key, order.event.state, order.concluded)
        )
        if order.event.missing_qty:
            self.orders.pop(key, None)
            self._closed.pop(key, None)
            self.short[key] = order
            return
        if again and (not self.short or self.short.pop(key, None) is None):
            return
        self.orders.pop(key, None)
        self._closed[key] = order
        if len(self._closed) > CLOSED_KEPT:
            self._forget(self._closed.popitem(last=False)[1])

    def _remember_closed(self, ids: Iterable[str], closed: Closed) -> None:
        closed_ids = self._closed_ids
        for each in ids:
            if each not in closed_ids:
                self._closed_order.append(each)
            closed_ids[each] = closed
        while len(closed_ids) > CLOSED_IDS_KEPT:
            del closed_ids[self._closed_order.popleft()]

    def _forget(self, order: Order) -> None:
        for cl_ord_id in order.ids:
            if self._by_id.get(cl_ord_id) is order:
                del self._by_id[cl_ord_id]
        if self._by_order_id.get(order.event.order_id) is order:
            del self._by_order_id[order.event.order_id]

    # -- snapshots

    def save(self) -> SavedLedger:
        """Return everything, for a snapshot."""
        number: dict[int, int] = {}  # by identity: what is named twice is one order
        orders: list[Order] = []

        def place(order: Order) -> int:
            found = number.get(id(order))
            if found is None:
                found = number[id(order)] = len(orders)
                orders.append(order)
            return found

        left: dict[Closed, int] = {}
        closed_of = [left.setdefault(self._closed_ids[each], len(left)) for each in self._closed_order]
        open_orders = [place(order) for order in self.orders.values()]
        lately_closed = [place(order) for order in self._closed.values()]
        short = [place(order) for order in self.short.values()]
        by_id = [(cl_ord_id, place(order)) for cl_ord_id, order in self._by_id.items()]
        by_order_id = [(order_id, place(order)) for order_id, order in self._by_order_id.items()]
        return SavedLedger(
            tape_no=self.tape_no,
            strategy_nos=list(self.strategy_nos.items()),
            orders=[order.save() for order in orders],
            open_orders=open_orders,
            unknown=list(self.unknown),
            lately_closed=lately_closed,
            short=short,
            foreign=list(self.foreign.values()),
            by_id=by_id,
            by_order_id=by_order_id,
            closed=[SavedClosed(*astuple(closed)) for closed in left],
            closed_ids=list(self._closed_order),
            closed_of=closed_of,
            exec_ids=list(self._exec_order),
            tape=list(self.tape),
            positions=self.positions.save(),
        )

    def restore(self, saved: SavedLedger) -> None:
        """Take a snapshot's content into a ledger that is new."""
        assert not self.tape_no, "only a new ledger is restored"
        orders = [Order.restored(each) for each in saved.orders]
        closed = [Closed(each.strategy, each.order, each.state, each.concluded) for each in saved.closed]
        self.tape_no = saved.tape_no
        self.strategy_nos = dict(saved.strategy_nos)
        self.orders = {orders[no].event.order: orders[no] for no in saved.open_orders}
        self.unknown = dict.fromkeys(saved.unknown)
        self._closed = OrderedDict((orders[no].event.order, orders[no]) for no in saved.lately_closed)
        self.short = {orders[no].event.order: orders[no] for no in saved.short}
        self.foreign = {event.order: event for event in saved.foreign}
        self._by_id = {cl_ord_id: orders[no] for cl_ord_id, no in saved.by_id}
        self._by_order_id = {order_id: orders[no] for order_id, no in saved.by_order_id}
        self._closed_order = deque(saved.closed_ids)
        self._closed_ids = {
            each: closed[no] for each, no in zip(saved.closed_ids, saved.closed_of, strict=True)
        }
        self.exec_ids, self._exec_order = set(saved.exec_ids), deque(saved.exec_ids)
        for event in saved.tape:
            self._keep(event)
        self.positions.restore(saved.positions)

    # -- telling

    def replay(self, from_no: int, strategy: int | None) -> TapeReplay | None:
        """Return the tape from a number on, at most REPLAY_PART events, or None when it does not reach back so far.

        `more` says that the tape goes on after them.
        """
        if strategy is None:
            kept, last = self.tape, self.tape_no
        else:
            kept, last = self._tape_of.get(strategy, _NOTHING), self.strategy_nos.get(strategy, 0)
        if from_no > last:
            return TapeReplay(events=[], strategy=strategy)
        first = last + 1 - len(kept)
        if from_no < first:
            return None
        events = list(islice(kept, from_no - first, from_no - first + REPLAY_PART))
        return TapeReplay(events=events, strategy=strategy, more=from_no + len(events) <= last)

    def snapshot(self, strategy: int | None) -> OrdersSnapshot:
        """Return everything that is not over, after the newest event; of everything, also what fills are missing of."""
        nos = self.strategy_nos
        orders = [o.event for o in self.orders.values() if strategy is None or o.event.strategy == strategy]
        if strategy is None:
            orders += [order.event for order in self.short.values()]
            orders += [event for event in self.foreign.values() if event.missing_qty]
        return OrdersSnapshot(
            tape_no=self.tape_no,
            strategy=strategy,
            strategies={str(slot): no for slot, no in nos.items() if strategy is None or slot == strategy},
            orders=orders,
            positions=self.positions.states(strategy),
        )

    def digest(self) -> str:
        """Return SHA-256 of the whole state, hex: equal after a replay to what it was at the last commit."""
        content = [
            self.tape_no,
            sorted(self.strategy_nos.items()),
            [order.content() for order in self.orders.values()],
            [order.content() for order in self._closed.values()],
            [order.content() for order in self.short.values()],
            list(self.foreign.values()),
            list(self._closed_ids.items()),
            sorted((cl_ord_id, order.event.order) for cl_ord_id, order in self._by_id.items()),
            sorted((order_id, order.event.order) for order_id, order in self._by_order_id.items()),
            list(self.unknown),
            list(self._exec_order),
            self.positions.content(),
            [event.tape_no for event in self.tape],
        ]
        return hashlib.sha256(msgspec.msgpack.encode(content)).hexdigest()
