"""What all parts of order entry share: the ledger, the session, the requests in flight, the counters.

`emit` is the only way an event comes about: recorded, applied, published, in that order; the runtime commits the
record before anything else of the step leaves. What needs the venue's answer is remembered by MsgSeqNum, because
Reject(35=3) and BusinessMessageReject(35=j) name nothing else (venue.md section 7).
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from engine.common.actor import LinkEvent, Outbox
from engine.common.clock import Now
from engine.fix.events import Event
from engine.fix.snapshot import SessionSnapshot
from engine.messages.commands import CancelOrder, NewOrder, ReplaceOrder
from engine.messages.executions import EventKind, OrderEvent, OrderState, Source, tape_topic
from engine.order_entry import wire
from engine.orders import order as orders
from engine.orders.ledger import Ledger
from engine.orders.order import TRANSITIONS, Order


class Client(Protocol):
    """What order entry needs of its FIX session (`kalshi.gateways.GatewayClient`)."""

    @property
    def logged_on(self) -> bool: ...
    @property
    def state(self) -> str: ...
    @property
    def skew_ns(self) -> int: ...
    @property
    def failed(self) -> str: ...
    @property
    def logons(self) -> int: ...
    @property
    def stopped(self) -> bool: ...
    @property
    def deadline(self) -> int | None: ...
    @property
    def numbers(self) -> tuple[int, int, bool]: ...
    @property
    def caught_up(self) -> bool: ...
    @property
    def began_anew(self) -> bool: ...

    def restore(self, snapshot: SessionSnapshot, alive_wall_ns: int = 0) -> None: ...
    def start(self, now: Now) -> None: ...
    def stop(self, now: Now) -> None: ...
    def on_link(self, event: LinkEvent, reason: str, now: Now) -> list[Event]: ...
    def on_bytes(self, data: bytes, now: Now) -> list[Event]: ...
    def on_deadline(self, now: Now) -> list[Event]: ...
    def send(self, msg_type: str, body: str, now: Now, trigger_ns: int = 0) -> int: ...


def trigger_of(request: NewOrder | CancelOrder | ReplaceOrder, now: Now) -> int:
    """Return the mono_ns that a request says it was triggered at, or 0 when that can't be: workers make it."""
    trigger_ns = request.trigger_ns
    return trigger_ns if 0 < trigger_ns <= now.mono_ns else 0


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A request on the wire that nothing has answered yet."""

    msg_type: str
    request_id: str
    order: str
    mono_ns: int = 0


class Counts:
    """Counters of `status`."""

    __slots__ = (
        "cancels",
        "duplicates",
        "fills",
        "foreign",
        "implausible",
        "late",
        "mass_cancels",
        "not_accepted",
        "orders",
        "rejects",
        "replaces",
        "reports",
        "unrecorded",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    orders: int
    replaces: int
    cancels: int
    mass_cancels: int
    fills: int
    rejects: int
    reports: int
    duplicates: int
    late: int
    foreign: int
    implausible: int
    not_accepted: int
    unrecorded: int

    def metrics(self) -> dict[str, int | float]:
        """Return all by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class Desk:
    """The shared state of order entry.

    Args:
        out: the actor's outbox.
        ledger: replayed from the journal.

    Attributes:
        own_ids: makes the ClOrdIDs of order entry's own requests (slot 0).
        own_ns: mono_ns before which no further request of its own may leave; pace_ns is their distance.
        watch: called with every emitted event.
        mass_cancel_works: the session has OrderMassCancelRequest (KalshiNR).
    """

    def __init__(self, out: Outbox, ledger: Ledger) -> None:
        self.out = out
        self.ledger = ledger
        self.count = Counts()
        self.journal_ok = True
        self.client: Client | None = None
        self.mass_cancel_works = False
        self.own_ids: Callable[[], str] = str
        self.own_ns = 0
        self.pace_ns = 0
        self.watch: Callable[[OrderEvent], None] = lambda _event: None
        self.sent: dict[int, Sent] = {}
        self._seq_of: dict[str, int] = {}
        self._topics: dict[int, str] = {}

    @property
    def logged_on(self) -> bool:
        """Requests can leave."""
        return self.client is not None and self.client.logged_on

    def emit(self, event: OrderEvent) -> None:
        """Record an event, apply it and publish it."""
        out = self.out
        out.record(event, cl_ord_id=event.order, exec_id=event.exec_id)
        self.ledger.apply(event)
        strategy = event.strategy
        topic = self._topics.get(strategy)
        if topic is None:
            topic = self._topics[strategy] = tape_topic(strategy)
        out.send("oe.tape", event, topic=topic)
        self.watch(event)

    def tell(
        self,
        order: Order,
        kind: EventKind,
        now: Now,
        *,
        request_id: str = "",
        reason: int = -1,
        text: str = "",
        source: Source = Source.ENGINE,
    ) -> None:
        """Emit an event that is no execution report. One that can't follow the order's state is only logged."""
        if (order.event.state, kind) not in TRANSITIONS:
            self.out.log(
                "alert",
                f"order {order.event.order} is {order.event.state.value}: {kind.value} ignored: {text}",
            )
            return
        numbers = self.ledger.numbers(order.event.strategy)
        self.emit(
            orders.told(
                order,
                kind,
                numbers,
                now.wall_ns,
                request_id=request_id,
                reason=reason,
                text=text,
                source=source,
            )
        )

    # -- requests in flight

    def on_wire(self, seq: int, msg_type: str, request_id: str, order: str, mono_ns: int) -> None:
        """Remember a request by its MsgSeqNum until something answers it."""
        self.sent[seq] = Sent(msg_type, request_id, order, mono_ns)
        self._seq_of[request_id] = seq

    def answered(self, request_id: str) -> None:
        """Forget a request: the venue has spoken of it."""
        seq = self._seq_of.pop(request_id, None)
        sent = self.sent.get(seq) if seq is not None else None
        if (
            seq is not None and sent is not None and sent.request_id == request_id
        ):  # numbers may have begun anew
            del self.sent[seq]

    def refused(self, seq: int | None, request_id: str) -> Sent | None:
        """Take out the request that a 35=3 or 35=j is about, by RefSeqNum or BusinessRejectRefID."""
        if seq is None:
            seq = self._seq_of.get(request_id)
        sent = self.sent.pop(seq, None) if seq is not None else None
        if sent is not None:
            self._seq_of.pop(sent.request_id, None)
        return sent

    def forget_requests(self) -> None:
        """The session's numbers begin anew: nothing can be answered by number any more."""
        self.sent.clear()
        self._seq_of.clear()

    # -- cancels, of the guard and of our own

    def send_cancel(self, order: Order, request: CancelOrder, orig_cl_ord_id: str, now: Now) -> None:
        """Record a cancel and put it on the wire."""
        client = self.client
        assert client is not None, "without a session nothing is cancelled"
        event = order.event
        self.emit(orders.requested(order, request, self.ledger.numbers(event.strategy), now.wall_ns))
        body = wire.cancel_body(request, orig_cl_ord_id, event.order_id)
        seq = client.send("F", body, now, trigger_of(request, now))
        self.on_wire(seq, "F", request.cl_ord_id, event.order, now.mono_ns)
        self.count.cancels += 1
        if not self.journal_ok:
            self.count.unrecorded += 1

    def cancel_by_ourselves(self, order: Order, orig_cl_ord_id: str, now: Now) -> str:
        """Cancel an order with a ClOrdID of our own; return that."""
        event = order.event
        request = CancelOrder(
            cl_ord_id=self._new_id(), orig_cl_ord_id=orig_cl_ord_id, symbol=event.symbol, side=event.side
        )
        self.send_cancel(order, request, orig_cl_ord_id, now)
        self.own_ns = now.mono_ns + self.pace_ns
        return request.cl_ord_id

    def mass_cancel(self, cl_ord_id: str, now: Now) -> None:
        """Send OrderMassCancelRequest; the orders' own reports are its answer."""
        client = self.client
        assert client is not None, "without a session nothing is cancelled"
        seq = client.send("q", wire.mass_cancel_body(cl_ord_id), now)
        self.on_wire(seq, "q", cl_ord_id, "", now.mono_ns)
        self.count.mass_cancels += 1

    def mass_cancel_by_ourselves(self, now: Now) -> None:
        """Send OrderMassCancelRequest with a ClOrdID of our own."""
        self.mass_cancel(self._new_id(), now)
        self.own_ns = now.mono_ns + self.pace_ns

    def _new_id(self) -> str:
        cl_ord_id = self.own_ids()
        while self.ledger.used(cl_ord_id):  # the guard makes ids of slot 0 too
            cl_ord_id = self.own_ids()
        return cl_ord_id

    def is_unknown(self, order: Order) -> bool:
        """Say whether the order's outcome is in doubt."""
        return order.event.state is OrderState.UNKNOWN
