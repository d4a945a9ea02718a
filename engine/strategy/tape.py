"""A worker's own orders and positions, kept from its topic of `oe.tape`, made whole from `oe.ask`.

The tape is the only source of order state. `strategy_no` is dense for this strategy: a number beyond the next one (in an
event or in a beat) means that events were lost; they are asked for and applied in order, so a strategy never misses a
fill. Only when order entry can't replay that far does it answer with a snapshot instead; then orders that are no more
open are CLOSED, since how they ended was not seen, and positions are the snapshot's.

The reader sends nothing: its owner asks, and tells the strategy what `take` yields. Events are yielded one by one, each
right after it was applied, so that the strategy sees order and position as they were after that event.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from engine.messages.executions import (
    TERMINAL,
    EventKind,
    OrderEvent,
    OrdersSnapshot,
    TapeReplay,
)
from engine.strategy.api import CLOSED, PENDING_GUARD, Order, Side

ENDED_KEPT: Final = 1_000  # ended orders that are kept by id, so that a late fill finds its Order
QUEUE_MAX: Final = 10_000
_STILL_ASKED: Final = frozenset(
    {
        EventKind.REPLACE_SUBMITTED,
        EventKind.CANCEL_SUBMITTED,
        EventKind.PENDING_REPLACE,
        EventKind.PENDING_CANCEL,
    }
)

OrderChange = tuple[Order, OrderEvent]


class TapeReader:
    """Orders and positions of one strategy.

    Args:
        slot: the strategy's.
        adopt: makes an Order of an event whose order this worker doesn't know (from before its start).

    Attributes:
        known: the first snapshot is in.
        next_no: strategy_no that comes next.
        gap: events are missing; the owner asks for them from `next_no`.
        orders: open orders by id, oldest first. positions: symbol to signed quantity, 1/100 contract.
    """

    def __init__(self, slot: int, adopt: Callable[[OrderEvent], Order]) -> None:
        self.slot = slot
        self.known = False
        self.gap = False
        self.gaps = 0
        self.next_no = 1
        self.orders: dict[str, Order] = {}
        self.positions: dict[str, int] = {}
        self._adopt = adopt
        self._ended: dict[str, Order] = {}
        self._ended_order: deque[str] = deque()
        self._queue: dict[int, OrderEvent] = {}  # came before what is missing
        self._key = str(slot)

    def find(self, order_id: str) -> Order | None:
        """Return an order by its id, open or lately ended."""
        return self.orders.get(order_id) or self._ended.get(order_id)

    def add(self, order: Order) -> None:
        """Take an order that was just sent."""
        self.orders[order.id] = order

    def end(self, order: Order, state: str, text: str) -> None:
        """End an order by something else than the tape (a refusal, an answer that never came)."""
        order.state = state
        order.text = text
        order.leaves_qty = 0
        order.request_id = order.request_kind = ""
        self._keep_ended(order)

    def take(self, event: OrderEvent) -> Iterator[OrderChange]:
        """Take an event of the tape; yields what becomes known by it, in order. Must be read to its end."""
        if event.strategy != self.slot:
            return
        if not self.known or event.strategy_no > self.next_no:
            if len(self._queue) >= QUEUE_MAX:
                self._queue.clear()  # the replay brings them all
            self._queue[event.strategy_no] = event
            self._see_gap()
        elif event.strategy_no == self.next_no:
            yield from self._apply(event)
            if self._queue:
                yield from self.drain()

    def beat(self, last_numbers: dict[str, int]) -> None:
        """Take the last numbers that a beat told; sets `gap` when we lack some."""
        if last_numbers.get(self._key, 0) >= self.next_no:
            self._see_gap()

    def replay(self, message: TapeReplay) -> Iterator[OrderChange]:
        """Take a replay's part; yields as `take`. The gap is over with its last part."""
        if not self.known:
            return
        for event in message.events:
            if event.strategy == self.slot and event.strategy_no == self.next_no:
                yield from self._apply(event)
        yield from self.drain()
        self.gap = self.gap or message.more

    def snapshot(self, message: OrdersSnapshot) -> list[Order]:
        """Take a snapshot; returns the orders that changed by it, with those that are gone; `drain` must follow."""
        last = message.strategies.get(self._key, 0)
        if self.known and last < self.next_no:
            return []  # older than what the tape has shown already
        changed: list[Order] = []
        still_open: set[str] = set()
        for event in message.orders:
            if event.strategy == self.slot:
                still_open.add(event.order)
                changed.append(self._update(event))
        if self.known:
            for order in list(self.orders.values()):
                if order.id not in still_open and order.state != PENDING_GUARD:
                    self.end(order, CLOSED, "ended while the tape could not be read")
                    changed.append(order)
        for position in message.positions:
            if position.strategy == self.slot:
                self.positions[position.symbol] = position.qty
        self.known = True
        self.gap = False
        self.next_no = last + 1
        return changed

    def _see_gap(self) -> None:
        if self.known and not self.gap:
            self.gap = True
            self.gaps += 1

    def drain(self) -> Iterator[OrderChange]:
        """Apply what waited and is next now; yields as `take`."""
        while (event := self._queue.pop(self.next_no, None)) is not None:
            yield from self._apply(event)
        for number in [number for number in self._queue if number < self.next_no]:
            del self._queue[number]
        self.gap = self.known and bool(self._queue)

    def _apply(self, event: OrderEvent) -> Iterator[OrderChange]:
        self.next_no = event.strategy_no + 1
        if event.kind is EventKind.POSITION:  # of a market, not of an order
            self.positions[event.symbol] = max(event.long_qty, 0) - max(event.short_qty, 0)
            return
        if event.kind is EventKind.TRADE:
            signed = event.last_qty if event.side == Side.BUY else -event.last_qty
            self.positions[event.symbol] = self.positions.get(event.symbol, 0) + signed
        yield self._update(event), event

    def _update(self, event: OrderEvent) -> Order:
        order = self.orders.get(event.order) or self._ended.get(event.order)
        if order is None:
            order = self._adopt(event)
            self.orders[order.id] = order
        order.state = event.state
        order.cl_ord_id = event.cl_ord_id or order.cl_ord_id
        order.qty = event.qty
        order.price = event.price
        order.cum_qty = event.cum_qty
        order.leaves_qty = event.leaves_qty
        order.missing_qty = event.missing_qty
        order.text = event.text
        if order.request_id and (
            event.state in TERMINAL
            or event.cl_ord_id == order.request_id
            or (event.request_id == order.request_id and event.kind not in _STILL_ASKED)
        ):
            order.request_id = order.request_kind = ""
        if event.state in TERMINAL:
            self._keep_ended(order)
        elif order.id in self._ended:  # an unknown order that came back, say
            del self._ended[order.id]
            self.orders[order.id] = order
        return order

    def _keep_ended(self, order: Order) -> None:
        self.orders.pop(order.id, None)
        if order.id not in self._ended:
            self._ended[order.id] = order
            self._ended_order.append(order.id)
            if len(self._ended_order) > ENDED_KEPT:
                self._ended.pop(self._ended_order.popleft(), None)
