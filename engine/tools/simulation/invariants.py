"""The invariants of the engine, each a checker that looks at every step of a virtual world.

They know only what passes the world's hooks (what was committed, written, sent, delivered) and the venue's own truth;
what they compare it with they add up themselves. So a fault in an actor's book-keeping can't hide in its own numbers.
`at_rest` is asked once more when faults are over and everything is quiet.

    1  ExecutionsOnce     every ExecID that the venue issued is in the order journal exactly once, in the end
    2  WireDiscipline     no ClOrdID twice on the wire; no order without approval of the epoch and a record before it
    3  PositionsExact     position = opening + fills, per strategy and in total, and as 704/705 say
    4  OrderLife          CumQty + LeavesQty = OrderQty while live; what is over stays so; what is concluded is true
    5  TokenBudget        the Write bucket is never overdrawn; orders leave the cancels' reserve alone
    6  HaltsHold          after a halt nothing new or replacing of its scope is approved or leaves
    6  GroupsHold         no order leaves for a triggered order group; no group is made twice, nor reset on nobody's word
    7  OwnOrdersOnly      nobody touches or sees another strategy's orders; only the guard commands
    8  WithinLimits       worst-case exposure is within every limit, by the venue's truth and by the guard's own orders;
                          what the guard counts covers what the venue has filled
    9  ReplayTrue         replaying a journal gives the state that was there, byte for byte
"""

from typing import Any, Final

from engine.common.fixed_point import QTY_DECIMALS, parse_fixed
from engine.common.ids import SLOT_FOREIGN, SLOT_OPERATOR, slot_of
from engine.config import LimitsConfig
from engine.guard.actor import Guard
from engine.guard.lines import Line, Scope
from engine.guard.records import LatchReleased, LatchSet
from engine.messages.commands import (
    Approved,
    GuardHello,
    MassCancel,
    NewOrder,
    ReplaceOrder,
)
from engine.messages.executions import (
    TERMINAL,
    EventKind,
    OrderEvent,
    OrdersSnapshot,
    OrderState,
    Source,
    TapeReplay,
    tape_topic,
)
from engine.order_entry.actor import OrderEntry
from engine.runtime.virtual import VirtualWorld
from engine.runtime.virtual_node import Node
from engine.tools.simulation.checker import OE, Checker, requests_of
from engine.tools.simulation.latches import HeardLatches, covering, only_reduces
from engine.tools.simulation.order_groups import GroupsHold
from engine.tools.simulation.tokens import TokenBudget
from engine.venue.actor import Venue
from engine.venue.records import Reported

_SUBMITS: Final = {
    EventKind.SUBMITTED: "D",
    EventKind.REPLACE_SUBMITTED: "G",
    EventKind.CANCEL_SUBMITTED: "F",
}
_CONCLUDES: Final = (EventKind.RESOLVED, EventKind.NOT_SENT)
_TELLS_END: Final = {
    EventKind.CANCELED: OrderState.CANCELED,
    EventKind.EXPIRED: OrderState.EXPIRED,
    EventKind.REJECTED: OrderState.REJECTED,
    EventKind.TRADE: OrderState.FILLED,
}
_REJECTED: Final = "8"
_TRADE: Final = "F"
_REPLAY_EVERY: Final = 2000


class ExecutionsOnce(Checker):
    """Invariant 1."""

    number = 1

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(world)
        self.issued: dict[str, str] = {}
        self.journalled: dict[str, None] = {}

    def recorded(self, node: Node, entry: Any) -> None:  # noqa: ARG002
        if isinstance(entry, Reported):
            self.check(
                entry.report.exec_id not in self.issued, f"the venue issued {entry.report.exec_id} twice"
            )
            self.issued[entry.report.exec_id] = entry.report.exec_type
        elif isinstance(entry, OrderEvent) and entry.exec_id:
            self.check(entry.exec_id not in self.journalled, f"{entry.exec_id} is in the journal twice")
            self.check(entry.exec_id in self.issued, f"the venue never issued {entry.exec_id}")
            self.journalled[entry.exec_id] = None

    def at_rest(self) -> None:
        lost = [e for e, kind in self.issued.items() if kind != _REJECTED and e not in self.journalled]
        self.check(not lost, f"{len(lost)} executions are not in the journal: {', '.join(lost[:5])}")


class WireDiscipline(Checker):
    """Invariant 2."""

    number = 2

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(world)
        self._on_wire: dict[str, None] = {}
        self._approved: dict[str, int] = {}
        self._recorded: dict[str, str] = {}
        self._epoch = 0

    def started(self, node: Node) -> None:
        if node.name == OE:
            self._epoch = 0

    def delivered(self, source: Node, target: Node, channel: str, message: Any) -> None:  # noqa: ARG002
        if isinstance(message, GuardHello) and target.name == OE:
            self._epoch = max(self._epoch, message.epoch)

    def sent(self, node: Node, channel: str, message: Any, to: str | None, topic: str) -> None:  # noqa: ARG002
        if isinstance(message, Approved):
            self.check(node.name == "guard", f"{node.name} sent an approved command")
            self._approved[message.request.cl_ord_id] = message.epoch

    def recorded(self, node: Node, entry: Any) -> None:  # noqa: ARG002
        if isinstance(entry, OrderEvent) and entry.kind in _SUBMITS:
            self._recorded[entry.request_id] = _SUBMITS[entry.kind]

    def wrote(self, node: Node, link: str, data: bytes) -> None:  # noqa: ARG002
        if node.name != OE:
            return
        for msg_type, cl_ord_id in requests_of(data):
            if msg_type in ("A", "UOG"):
                continue
            self.check(cl_ord_id not in self._on_wire, f"ClOrdID {cl_ord_id} is on the wire twice")
            self._on_wire[cl_ord_id] = None
            if msg_type == "q" or (msg_type == "F" and node.held):
                continue  # a disk that takes nothing holds no cancel back
            self.check(
                self._recorded.get(cl_ord_id) == msg_type,
                f"35={msg_type} {cl_ord_id} left without a record before it",
            )
            if msg_type != "F":
                epoch = self._approved.get(cl_ord_id)
                self.check(epoch is not None, f"35={msg_type} {cl_ord_id} left without an approval")
                self.check(
                    epoch == self._epoch, f"{cl_ord_id} left with epoch {epoch}, {self._epoch} is followed"
                )


class PositionsExact(Checker):
    """Invariant 3."""

    number = 3

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(world)
        self.account: dict[str, int] = {}
        self.of: dict[tuple[int, str], int] = {}
        self._known: dict[str, None] = {}
        self._venue: dict[str, dict[str, int]] = {}  # by market, ExecID to which trade it was
        self._said: dict[str, int] = {}
        self._taken: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._touched: dict[str, None] = {}

    def recorded(self, node: Node, entry: Any) -> None:  # noqa: ARG002
        if isinstance(entry, Reported) and entry.report.exec_type == _TRADE:
            trades = self._venue.setdefault(entry.report.symbol, {})
            trades[entry.report.exec_id] = len(trades) + 1
            self._said[entry.report.symbol] = entry.position_qty
        elif isinstance(entry, OrderEvent) and entry.kind is EventKind.TRADE:
            self._on_trade(entry)
        elif isinstance(entry, OrderEvent) and entry.kind is EventKind.POSITION:
            change = entry.position - self.account.get(entry.symbol, 0)
            self._move(entry.symbol, SLOT_FOREIGN, change)
            self._known[entry.symbol] = None

    def _move(self, symbol: str, slot: int, change: int) -> None:
        self.account[symbol] = self.account.get(symbol, 0) + change
        self.of[slot, symbol] = self.of.get((slot, symbol), 0) + change
        self._touched[symbol] = None

    def _on_trade(self, event: OrderEvent) -> None:
        symbol = event.symbol
        self._move(symbol, event.strategy, event.last_qty if event.side == 1 else -event.last_qty)
        held = self.account[symbol]
        self.check(
            event.position == held, f"{event.exec_id}: position {event.position}, the sum of fills is {held}"
        )
        taken = self._taken[symbol] = self._taken.get(symbol, 0) + 1
        place = self._venue[symbol].get(event.exec_id, 0)
        newest = self._newest[symbol] = max(self._newest.get(symbol, 0), place)
        # Only a trade that completes all before it, with none after it, can be compared: 704/705 are the position right after it.
        if place == taken == newest and symbol in self._known:
            said = event.long_qty - event.short_qty
            self.check(said == held, f"{event.exec_id}: the venue says {said} in {symbol}, the sum is {held}")

    def stepped(self, node: Node) -> None:
        if node.name != OE or not self._touched or node.held:
            return
        touched, self._touched = self._touched, {}
        actor = node.actor
        assert isinstance(actor, OrderEntry), "order_entry is an OrderEntry"
        positions = actor.ledger.positions
        for symbol in touched:
            here, own = positions.qty(symbol), self.account[symbol]
            self.check(here == own, f"{symbol}: position {here}, the sum of fills is {own}")
            for (slot, market), qty in self.of.items():
                if market == symbol:
                    found = positions.of[slot, symbol].qty if (slot, symbol) in positions.of else 0
                    self.check(
                        found == qty, f"{symbol}, slot {slot}: position {found}, the sum of fills is {qty}"
                    )

    def at_rest(self) -> None:
        for symbol, there in self._said.items():
            here = self.account.get(symbol, 0)
            self.check(here == there, f"{symbol}: position {here}, the venue's is {there}")


class OrderLife(Checker):
    """Invariant 4."""

    number = 4

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(world)
        self._states: dict[str, OrderState] = {}
        self._concluded: set[str] = (
            set()
        )  # over by order entry's own conclusion, which the venue's word overrules
        self._ids: dict[str, str] = {}  # ClOrdID to the venue's OrderID
        self._filled: dict[str, int] = {}  # OrderID to CumQty

    def _on_report(self, entry: Reported) -> None:
        if entry.order is None:
            return
        report, terms = entry.report, entry.order
        for cl_ord_id in terms.cl_ord_ids:
            self._ids[cl_ord_id] = report.order_id
        self._filled[report.order_id] = report.cum_qty

    def _on_resolved(self, event: OrderEvent) -> None:
        # Concluded, not reported: what was concluded must be so.
        order_id = self._ids.get(event.order, "")
        venue = self.world.nodes["venue"].actor
        if isinstance(
            venue, Venue
        ):  # an IOC may end without a report (21007=N): what is open is asked of the books
            resting = venue.exchange.open.get(order_id)
            self.check(
                resting is None, f"{event.order} was concluded {event.state}, and is open at the venue"
            )
        cum_qty = self._filled.get(order_id, 0)
        self.check(
            cum_qty == event.cum_qty,
            f"{event.order} was concluded with {event.cum_qty} filled, the venue says {cum_qty}",
        )

    def recorded(self, node: Node, entry: Any) -> None:  # noqa: ARG002
        if isinstance(entry, Reported):
            self._on_report(entry)
        if not isinstance(entry, OrderEvent):
            return
        if entry.kind is EventKind.RESOLVED and entry.source is not Source.OPERATOR:
            self._on_resolved(entry)
        if entry.kind is EventKind.POSITION or entry.strategy == SLOT_FOREIGN:
            return
        before = self._states.get(entry.order)
        if before in TERMINAL:
            self.check(
                entry.state is before or self._overrules(entry),
                f"{entry.order} was {before} and became {entry.state}",
            )
            self.check(
                entry.late or not entry.exec_id,
                f"{entry.order} is {before}: {entry.exec_id} is not marked late",
            )
        elif entry.state not in TERMINAL:
            total = entry.cum_qty + entry.leaves_qty
            self.check(
                total == max(entry.qty, entry.cum_qty),
                f"{entry.order}: CumQty {entry.cum_qty} + LeavesQty {entry.leaves_qty} is not OrderQty {entry.qty}",
            )
        else:
            self.check(
                entry.leaves_qty == 0, f"{entry.order} is {entry.state} with LeavesQty {entry.leaves_qty}"
            )
        self._states[entry.order] = entry.state
        if entry.kind in _CONCLUDES:
            self._concluded.add(entry.order)
        elif entry.state not in TERMINAL or entry.state is _TELLS_END.get(entry.kind):
            self._concluded.discard(entry.order)

    def _overrules(self, event: OrderEvent) -> bool:
        # The venue's word about an order that we concluded: it rests, so it is UNKNOWN again, or it ended otherwise.
        if event.order not in self._concluded or event.source not in (Source.SESSION, Source.RECOVERED):
            return False
        if event.state is OrderState.UNKNOWN:
            return event.kind in (EventKind.NEW, EventKind.REPLACED, EventKind.TRADE)
        return event.state is _TELLS_END.get(event.kind)


class HaltsHold(Checker):
    """Invariant 6. What came before a halt in one batch may leave with it: a halt holds from the end of its step.

    What flattens passes, and only that: the guard's own IOC order that brings the account's position towards zero.
    """

    number = 6

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(world)
        self._guard: dict[tuple[int | None, str], None] = {}
        self._set: dict[tuple[int | None, str], None] = {}
        self._order_entry = HeardLatches()
        self._terms: dict[str, tuple[int, str]] = {}
        self._reducing: set[str] = set()  # only asked for members
        self._suspect: dict[str, tuple[int | None, str]] = {}

    def started(self, node: Node) -> None:
        if node.name == OE:
            self._order_entry.clear()
        elif node.name == "guard":
            self._hold()

    def _hold(self) -> None:
        self._guard.update(self._set)
        self._set.clear()

    def delivered(self, source: Node, target: Node, channel: str, message: Any) -> None:  # noqa: ARG002
        if target.name == OE:
            self._order_entry.hear(message)

    def stepped(self, node: Node) -> None:
        if node.name == OE:
            self._order_entry.hold()
        elif node.name == "guard" and self._set:
            self._hold()

    def recorded(self, node: Node, entry: Any) -> None:  # noqa: ARG002
        if isinstance(entry, LatchSet):
            self._set[entry.strategy, entry.symbol] = None
        elif isinstance(entry, LatchReleased):
            self._guard.pop((entry.strategy, entry.symbol), None)
            self._set.pop((entry.strategy, entry.symbol), None)
        elif isinstance(entry, OrderEvent) and entry.kind in _SUBMITS:
            self._terms[entry.request_id] = (entry.strategy, entry.symbol)

    def emitted(self, node: Node, channel: str, message: Any) -> None:  # noqa: ARG002
        if isinstance(message, Approved) and message.reducing:
            assert isinstance(node.actor, Guard), "only the guard approves"
            self._reducing.add(message.request.cl_ord_id)
            reduces = only_reduces(node.actor.exposure, message)
            self.check(reduces, f"{message.request.cl_ord_id} passes latches, but may do more than reduce")
        elif (
            self._guard
            and isinstance(message, Approved)
            and isinstance(message.request, NewOrder | ReplaceOrder)
        ):
            scope = covering(self._guard, message.strategy, message.request.symbol)
            if scope is not None:
                self._suspect[message.request.cl_ord_id] = scope

    def sent(self, node: Node, channel: str, message: Any, to: str | None, topic: str) -> None:  # noqa: ARG002
        # Halted when it was approved, and still after the commit of that step: an arming in the same batch is one.
        if self._suspect and isinstance(message, Approved):
            scope = self._suspect.pop(message.request.cl_ord_id, None)
            self.check(
                scope is None or scope not in self._guard,
                f"approved {message.request.cl_ord_id} though {scope} is halted",
            )

    def wrote(self, node: Node, link: str, data: bytes) -> None:  # noqa: ARG002
        if node.name != OE or not self._order_entry.held:
            return
        for msg_type, cl_ord_id in requests_of(data):
            if msg_type in "DG" and cl_ord_id in self._terms and cl_ord_id not in self._reducing:
                scope = covering(self._order_entry.held, *self._terms[cl_ord_id])
                self.check(scope is None, f"35={msg_type} {cl_ord_id} left though {scope} is halted")


class OwnOrdersOnly(Checker):
    """Invariant 7."""

    number = 7

    def sent(self, node: Node, channel: str, message: Any, to: str | None, topic: str) -> None:
        if channel == "oe.orders":
            self.check(node.name in ("guard", OE), f"{node.name} speaks on oe.orders")
        elif channel == "oe.tape" and isinstance(message, OrderEvent):
            own = tape_topic(message.strategy)
            self.check(topic == own, f"an event of slot {message.strategy} was published as {topic}")
        if isinstance(message, Approved) and not isinstance(message.request, MassCancel):
            maker = slot_of(message.request.cl_ord_id)
            self.check(
                maker in (SLOT_OPERATOR, message.strategy),
                f"slot {maker} was approved for slot {message.strategy}",
            )
        del to

    def delivered(self, source: Node, target: Node, channel: str, message: Any) -> None:  # noqa: ARG002
        if target.slot < 0:
            return
        events: list[OrderEvent] = []
        if isinstance(message, OrderEvent):
            events = [message]
        elif isinstance(message, TapeReplay):
            events = message.events
        elif isinstance(message, OrdersSnapshot):
            events = message.orders
            foreign = [p for p in message.positions if p.strategy != target.slot]
            self.check(not foreign, f"{target.name} was told other positions")
        for event in events:
            self.check(
                event.strategy == target.slot, f"{target.name} was told of slot {event.strategy}'s orders"
            )

    def recorded(self, node: Node, entry: Any) -> None:  # noqa: ARG002
        if not isinstance(entry, OrderEvent) or entry.strategy == SLOT_FOREIGN:
            return
        owner = slot_of(entry.order)
        self.check(
            owner == entry.strategy, f"{entry.order} of slot {owner} is booked to slot {entry.strategy}"
        )
        if entry.kind in _SUBMITS:
            maker = slot_of(entry.request_id)
            self.check(maker in (SLOT_OPERATOR, owner), f"slot {maker} sent a request for {entry.order}")


class WithinLimits(Checker):
    """Invariant 8."""

    number = 8

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(world)
        config = world.config
        self._strategies = {s.slot: _position_limit(s.limits) for s in config.strategies.values()}
        self._markets = {symbol: _position_limit(limits) for symbol, limits in config.risk.markets.items()}
        self._account = _position_limit(config.risk.account)
        self._open_max = config.risk.account.max_open_orders
        self._open_of: dict[int | str, int] = {
            **{s.slot: s.limits.max_open_orders for s in config.strategies.values()},
            **{symbol: limits.max_open_orders for symbol, limits in config.risk.markets.items()},
        }
        self._held: dict[tuple[int, str], int] = {}
        self._settled: dict[str, tuple[int, str, int]] = {}  # by order, what an operator settled of its fills
        self._foreign: dict[
            str, int
        ] = {}  # by market, how much of it others than the engine have traded in the account
        self._venue_changed = self._guard_told = False

    def recorded(self, node: Node, entry: Any) -> None:  # noqa: ARG002
        if isinstance(entry, Reported):
            self._venue_changed = True
            if entry.report.exec_type == _TRADE:
                slot = slot_of(entry.report.cl_ord_id)
                key = (SLOT_FOREIGN if slot is None else slot, entry.report.symbol)
                signed = entry.report.last_qty or 0
                if slot is None:
                    self._foreign[entry.report.symbol] = self._foreign.get(entry.report.symbol, 0) + signed
                self._held[key] = self._held.get(key, 0) + (signed if entry.report.side == "1" else -signed)
        elif isinstance(entry, OrderEvent) and entry.kind is EventKind.FILLS_DENIED:
            signed = entry.settled_qty if entry.side == 1 else -entry.settled_qty
            self._settled[entry.order] = (entry.strategy, entry.symbol, signed)

    def delivered(self, source: Node, target: Node, channel: str, message: Any) -> None:  # noqa: ARG002
        if target.name == "guard" and isinstance(message, OrderEvent | TapeReplay | OrdersSnapshot):
            self._guard_told = True

    def stepped(self, node: Node) -> None:
        if node.name == "venue" and self._venue_changed:
            self._venue_changed = False
            self._check_truth(node)
        elif node.name == "guard" and self._guard_told:
            self._guard_told = False
            guard = node.actor
            if isinstance(guard, Guard) and guard.gate.tape_synced:
                self._check_covers(guard)

    def _check_truth(self, node: Node) -> None:
        # What rests at the venue and what was traded there, by the slots in the ClOrdIDs.
        assert isinstance(node.actor, Venue), "the venue is a Venue"
        exchange = node.actor.exchange
        sides: dict[tuple[int, str], list[int]] = {key: [0, 0] for key in self._held}
        orders = 0
        counts: dict[int | str, int] = {}  # by slot and by market
        for order in exchange.open.values():
            slot = slot_of(order.cl_ord_ids[0])
            for scope in (order.symbol,) if slot is None else (order.symbol, slot):
                counts[scope] = counts.get(scope, 0) + 1
            key = (SLOT_FOREIGN if slot is None else slot, order.symbol)
            sides.setdefault(key, [0, 0])[order.side - 1] += order.leaves
            orders += 1
        self.check(
            orders <= self._open_max, f"{orders} orders are open at the venue, {self._open_max} are allowed"
        )
        for scope, count in counts.items():
            allowed = self._open_of.get(scope, count)
            self.check(
                count <= allowed, f"{scope}: {count} orders are open at the venue, {allowed} are allowed"
            )
        per_slot: dict[int, int] = {}
        totals: dict[str, list[int]] = {}
        for (slot, symbol), (buys, sells) in sides.items():
            held = self._held.get((slot, symbol), 0)
            per_slot[slot] = per_slot.get(slot, 0) + max(held + buys, sells - held)
            total = totals.setdefault(symbol, [0, 0, 0])
            for at, value in enumerate((held, buys, sells)):
                total[at] += value
        account = 0
        for symbol, (held, buys, sells) in totals.items():
            worst = max(held + buys, sells - held)
            account += worst
            limit = self._markets.get(symbol, 0) + self._foreign.get(symbol, 0)
            self.check(worst <= limit, f"{symbol}: worst position at the venue {worst}, the limit is {limit}")
        for slot, worst in per_slot.items():
            limit = self._strategies.get(slot, worst)
            self.check(
                worst <= limit, f"slot {slot}: worst position at the venue {worst}, the limit is {limit}"
            )
        limit = self._account + sum(self._foreign.values())
        self.check(account <= limit, f"account: worst position at the venue {account}, limit {limit}")

    def emitted(self, node: Node, channel: str, message: Any) -> None:  # noqa: ARG002
        if isinstance(message, Approved) and isinstance(message.request, NewOrder | ReplaceOrder):
            if slot_of(message.request.cl_ord_id) == SLOT_OPERATOR:
                return  # flattening passes the limits: it only reduces
            guard = node.actor
            assert isinstance(guard, Guard), "only the guard approves"
            self._check_sums(guard, message.strategy, message.request)

    def _check_covers(self, guard: Guard) -> None:
        # What the venue has filled is a fill that the guard knows, or is within what it counts as open. What an operator
        # settled is in the position that he stated, which is no strategy's.
        settled: dict[tuple[int, str], int] = {}
        for slot, symbol, qty in self._settled.values():
            settled[slot, symbol] = settled.get((slot, symbol), 0) + qty
        for (slot, symbol), line in guard.exposure.lines.items():
            if slot < 0:
                continue
            truth = self._held.get((slot, symbol), 0) - settled.get((slot, symbol), 0)
            held = line.position.qty
            low, high = held - line.open_sell, held + line.open_buy
            self.check(
                low <= truth <= high,
                f"slot {slot} holds {truth} of {symbol} at the venue, the guard counts {low} to {high}",
            )

    def _check_sums(self, guard: Guard, slot: int, request: NewOrder | ReplaceOrder) -> None:
        exposure = guard.exposure
        symbol = request.symbol
        asked = exposure.orders.get(request.cl_ord_id)
        opened: dict[int, list[int]] = {}
        without: dict[int, list[int]] = {}  # the same before the request
        count: dict[int, int] = {}
        for order in exposure.open.values():
            before = max(order.qty - order.cum, order.leaves)
            leaves = max(before, order.new_qty - order.cum if order.new_qty else 0)
            if order is asked:
                before = 0 if isinstance(request, NewOrder) else before
            else:
                before = leaves
            for line in (order.line, order.account):
                opened.setdefault(id(line), [0, 0])[order.side - 1] += leaves
                without.setdefault(id(line), [0, 0])[order.side - 1] += before
                count[id(line)] = count.get(id(line), 0) + 1
        for short in exposure.short.values():
            for line in (short.line, short.account):
                opened.setdefault(id(line), [0, 0])[short.side - 1] += short.qty
                without.setdefault(id(line), [0, 0])[short.side - 1] += short.qty
        own = [line for line in exposure.lines.values() if line.strategy == slot]
        accounts = list(exposure.account_lines.values())
        for scope, lines in (
            (exposure.strategies[slot], own),
            (exposure.market_scopes[symbol], [exposure.account_lines[symbol]]),
            (exposure.account, accounts),
        ):
            worst = sum(_worst(line, opened.get(id(line), [0, 0])) for line in lines)
            orders = sum(count.get(id(line), 0) for line in lines)
            was = sum(_worst(line, without.get(id(line), [0, 0])) for line in lines)
            self._check_scope(scope, worst, was, orders)

    def _check_scope(self, scope: Scope, worst: int, was: int, orders: int) -> None:
        self.check(
            scope.worst == worst, f"{scope.text}: counts {scope.worst} at worst, its orders make {worst}"
        )
        self.check(
            scope.open_orders == orders,
            f"{scope.text}: counts {scope.open_orders} orders, there are {orders}",
        )
        # Foreign fills may have brought a scope outside its limit: then nothing passes that brings it further.
        self.check(
            worst <= scope.max_position or (bool(self._foreign) and worst <= was),
            f"{scope.text}: {worst} at worst after {was}, the limit is {scope.max_position}",
        )
        self.check(
            orders <= scope.max_open_orders, f"{scope.text}: {orders} orders, {scope.max_open_orders} allowed"
        )
        self.check(
            scope.gross <= scope.max_gross_notional, f"{scope.text}: gross {scope.gross} is above the limit"
        )


def _worst(line: Line, opened: list[int]) -> int:
    held = line.position.qty
    return max(held + opened[0], opened[1] - held)


def _position_limit(limits: LimitsConfig) -> int:
    return parse_fixed(limits.max_position, QTY_DECIMALS)


class ReplayTrue(Checker):
    """Invariant 9. Looks at each death between two steps, at every 2000th step, and at rest."""

    number = 9
    journalled = (OE, "guard", "drop_copy")

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(world)
        self._steps = 0

    def stepped(self, node: Node) -> None:
        self._steps += 1
        if self._steps >= _REPLAY_EVERY and node.name in self.journalled and not node.held:
            self._steps = 0
            self.replay(node)

    def died(self, node: Node) -> None:
        if node.name in self.journalled and not (node.unreleased or node.held):
            self.replay(node)

    def at_rest(self) -> None:
        for name in self.journalled:
            self.replay(self.world.nodes[name])

    def replay(self, node: Node) -> None:
        """Replay a journal into an actor of its own and compare."""
        shadow = Node(self.world, node.name)
        actor: Any = self.world.build(shadow)
        for entry in node.journal:
            actor.replay(entry)
        here: Any = node.actor
        self.check(
            actor.state_digest() == here.state_digest(), f"{node.name}: its journal gives another state"
        )


ALL: Final[tuple[type[Checker], ...]] = (
    ExecutionsOnce,
    WireDiscipline,
    PositionsExact,
    OrderLife,
    TokenBudget,
    HaltsHold,
    GroupsHold,
    OwnOrdersOnly,
    WithinLimits,
    ReplayTrue,
)


def watch_all(world: VirtualWorld) -> list[Checker]:
    """Put every checker onto a world."""
    checkers = [checker(world) for checker in ALL]
    for checker in checkers:
        world.watch(checker)
    return checkers
