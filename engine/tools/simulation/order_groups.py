"""Order groups in a simulated run: the operator who settles what is wrong with them, and the checker that watches them.

What a group must hold (docs/orders.md): every order of its strategy carries it and none leaves while it is triggered; the
strategy is latched before an operator resets it; a reset leaves on somebody's word only, a create not during a halt; and
no group is made twice.
"""

import re
from typing import Any, Final

from engine.common.ids import slot_of
from engine.guard.actor import Guard
from engine.guard.records import LatchSet
from engine.kalshi.texts import EXCEEDED_ORDER_GROUP_RISK_LIMIT, ORDER_GROUP_CANCEL
from engine.messages.commands import GroupCommand, GroupOrder, HaltOrders
from engine.messages.executions import EventKind, GroupState, OrderEvent
from engine.order_entry.groups import CREATE, RESET
from engine.order_entry.records import GroupRecord
from engine.runtime.virtual import VirtualWorld
from engine.runtime.virtual_node import Node
from engine.tools.simulation.checker import OE, Checker
from engine.tools.simulation.latches import HeardLatches
from engine.venue.actor import Venue

_ORDER: Final = re.compile(rb"\x0135=D\x01.*?\x0110=\d\d\d\x01", re.DOTALL)
_REQUEST: Final = re.compile(rb"\x0135=UOG\x01.*?\x0110=\d\d\d\x01", re.DOTALL)
_CL_ORD_ID: Final = re.compile(rb"\x0111=([^\x01]*)\x01")
_GROUP: Final = re.compile(rb"\x01526=([^\x01]*)\x01")
_GROUP_ID: Final = re.compile(rb"\x0120130=([^\x01]*)\x01")
_ACTION: Final = re.compile(rb"\x0120131=([^\x01]*)\x01")
_CLOSED: Final = (GroupState.TRIGGERED, GroupState.KILLED)
_TELLS: Final = (EventKind.CANCELED, EventKind.EXPIRED, EventKind.REJECTED)


def limits_of(world: VirtualWorld) -> dict[int, int]:
    """Return slot to limit of the strategies that have an order group."""
    return {s.slot: s.order_group_limit for s in world.config.strategies.values() if s.order_group_limit}


def groups_to_mend(world: VirtualWorld, request_id: str) -> list[GroupOrder]:
    """Return what an operator who reads the guard's status and the venue's website orders about groups in trouble."""
    guard, venue = world.nodes["guard"].actor, world.nodes["venue"].actor
    limits = limits_of(world)
    if not limits or not isinstance(guard, Guard) or not isinstance(venue, Venue):
        return []
    known = {slot: status for slot in limits if (status := guard.groups.status(slot)) is not None}
    taken = {status.group_id for status in known.values()}
    orders = []
    for slot, status in known.items():
        action, group_id = "", ""
        if status.state in _CLOSED:
            action = "reset"
        elif status.state is GroupState.DOUBT:
            group_id = next((id_ for id_ in venue.exchange.groups if id_ not in taken), "")
            action = "adopt" if group_id else "new"
            taken.add(group_id)
        if action:
            orders.append(
                GroupOrder(
                    request_id=f"{request_id}/{slot}",
                    who="simulation",
                    why="seen",
                    strategy=slot,
                    action=action,
                    group_id=group_id,
                )
            )
    return orders


class GroupsHold(Checker):
    """Order groups, a part of invariant 6: what a triggered group or a halt keeps from leaving does not leave.

    As with halts, what came before a change in one batch may leave with it.
    """

    number = 6

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(world)
        self._limits = limits_of(world)
        self._groups: dict[int, GroupRecord] = {}
        self._before: dict[int, GroupRecord] = {}  # as they were when this step began
        self._latches = HeardLatches()
        self._ordered: dict[
            int, None
        ] = {}  # slots whose reset somebody wants, until a halt that comes after it
        self._halted: dict[int, None] = {}  # slots that a halt of this step has come for
        self._told: dict[
            int, str
        ] = {}  # slot to the report by which the venue says in this step that it is triggered
        self._latched: dict[int, None] = {}  # slots that the guard latched since they were triggered
        self._anew = 0

    def started(self, node: Node) -> None:
        if node.name == OE:
            self._latches.clear()
            self._ordered.clear()

    def delivered(self, source: Node, target: Node, channel: str, message: Any) -> None:  # noqa: ARG002
        if target.name != OE or not self._limits:
            return
        if isinstance(message, HaltOrders) and not message.symbol and not self._latches.has(message.strategy):
            self._halted.update(
                dict.fromkeys(self._limits if message.strategy is None else (message.strategy,))
            )
        self._latches.hear(message)
        if isinstance(message, GroupCommand):
            self._commanded(message)

    def _commanded(self, command: GroupCommand) -> None:
        slot = command.strategy
        if command.action == "new":
            self._anew += 1
        if command.action not in ("reset", "reset_killed"):
            return
        self._ordered[slot] = None
        self._halted.pop(slot, None)
        group, guard = self._groups.get(slot), self.world.nodes["guard"].actor
        if group is not None and group.state is GroupState.TRIGGERED and isinstance(guard, Guard):
            latched = slot in self._latched or any(
                scope.strategy in (None, slot) and not scope.symbol for scope in guard.halting.kill.latches
            )
            self.check(latched, f"the group of slot {slot} is reset, but its trigger latched nobody")

    def recorded(self, node: Node, entry: Any) -> None:  # noqa: ARG002
        if isinstance(entry, GroupRecord):
            self._before.setdefault(
                entry.slot,
                self._groups.get(
                    entry.slot, GroupRecord(wall_ns=0, slot=entry.slot, state=GroupState.ABSENT)
                ),
            )
            self._groups[entry.slot] = entry
            if entry.state is GroupState.TRIGGERED:
                self._latched.pop(entry.slot, None)
        elif isinstance(entry, LatchSet) and not entry.symbol:
            self._latched.update(dict.fromkeys(self._limits if entry.strategy is None else (entry.strategy,)))
        elif isinstance(entry, OrderEvent) and entry.text and entry.kind in _TELLS:
            group = self._groups.get(entry.strategy)
            tells = ORDER_GROUP_CANCEL in entry.text or EXCEEDED_ORDER_GROUP_RISK_LIMIT in entry.text
            if tells and group is not None and entry.group == group.group_id and not entry.late:
                self._told[entry.strategy] = entry.order

    def stepped(self, node: Node) -> None:
        if node.name != OE:
            return
        self._latches.hold()
        for slot in self._halted:
            self._ordered.pop(slot, None)
        self._halted.clear()
        if node.held:
            return
        self._before.clear()
        for slot, order in self._told.items():
            self.check(
                self._groups[slot].state is not GroupState.READY,
                f"{order} shows that the group of slot {slot} is triggered, and it counts as ready",
            )
        self._told.clear()

    def wrote(self, node: Node, link: str, data: bytes) -> None:  # noqa: ARG002
        if node.name != OE or not self._limits:
            return
        for match in _ORDER.finditer(data):
            self._check_order(match[0])
        for match in _REQUEST.finditer(data):
            self._check_request(match[0])

    def _as_of_this_step(self, slot: int) -> list[GroupRecord]:
        return [group for group in (self._before.get(slot), self._groups.get(slot)) if group is not None]

    def _check_order(self, message: bytes) -> None:
        cl_ord_id, carried = _text(_CL_ORD_ID, message), _text(_GROUP, message)
        slot = slot_of(cl_ord_id)
        if slot not in self._limits:
            self.check(not carried, f"35=D {cl_ord_id} carries order group {carried}, its strategy has none")
            return
        usable = [g.group_id for g in self._as_of_this_step(slot) if g.state is GroupState.READY]
        self.check(
            carried in usable, f"35=D {cl_ord_id} left with order group {carried!r}, usable are {usable}"
        )

    def _check_request(self, message: bytes) -> None:
        action, group_id = _text(_ACTION, message), _text(_GROUP_ID, message)
        if action == RESET:
            slot = next(
                (s for s in self._limits if group_id in {g.group_id for g in self._as_of_this_step(s)}), -1
            )
            self.check(slot in self._ordered, f"the group of slot {slot} is reset on nobody's word")
        elif action == CREATE:
            making = [slot for slot, g in self._groups.items() if g.state is GroupState.CREATING]
            self.check(len(making) == 1, f"an order group is made for slots {making}")
            halted = self._latches.covers(making[0])
            self.check(not halted, f"an order group is made for slot {making[0]}, which is halted")

    def at_rest(self) -> None:
        venue = self.world.nodes["venue"].actor
        assert isinstance(venue, Venue), "the venue is a Venue"
        there = venue.exchange.groups
        self.check(
            len(there) <= len(self._limits) + self._anew,
            f"{len(there)} order groups were made for {len(self._limits)} strategies",
        )
        for slot, group in self._groups.items():
            if group.state is GroupState.READY:
                self.check(group.group_id in there, f"the venue has no group {group.group_id} of slot {slot}")


def _text(pattern: re.Pattern[bytes], message: bytes) -> str:
    found = pattern.search(message)
    return found[1].decode() if found is not None else ""
