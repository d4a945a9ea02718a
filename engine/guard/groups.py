"""The guard's side of order groups: the venue's own limit on what a strategy fills within 15 s (venue.md section 4).

Order entry owns the groups (`order_entry.groups`) and says on each beat how they are. Here:

* an order of a strategy with a group passes only while its group can be used (order entry puts the id on it);
* the filled contracts of the last 15 s are mirrored: from 70 % of the limit on that is said, and at the limit nothing
  is added any more, so that the venue need not trigger;
* a triggered group latches its strategy, told by the event that shows it, or by the beat when that was missed;
* a kill triggers the groups of its scope before any cancel, where something is open in them;
* a reset is an operator's: `scripts/ctl group reset`, or `arm` where our own kill had triggered it.
"""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.common.actor import Outbox
from engine.common.clock import MS, SECOND, Now
from engine.common.ids import group_key, is_group_id
from engine.config import Config
from engine.guard.commander import Commander
from engine.guard.exposure import Exposure
from engine.guard.kill_switch import ALL, LatchScope, Sweep
from engine.guard.limits import Ask, Breach, Way
from engine.guard.rate_limit import WriteBudget
from engine.guard.refusals import INTENTS
from engine.kalshi.texts import EXCEEDED_ORDER_GROUP_RISK_LIMIT, ORDER_GROUP_CANCEL
from engine.messages.commands import ControlReply, GroupAnswer, GroupOrder
from engine.messages.executions import EventKind, GroupState, GroupStatus, OrderEvent, TapeBeat

if TYPE_CHECKING:
    from engine.guard.halting import Halting

WINDOW_NS: Final = 15 * SECOND
WARN_PERCENT: Final = 70
GROUP_FIRST_NS: Final = 250 * MS
"""What a group's trigger is given before a mass cancel or single cancels spend tokens."""
ANSWER_NS: Final = 5 * SECOND
_FITS: Final = {
    "reset": (GroupState.TRIGGERED, GroupState.KILLED),
    "adopt": (GroupState.DOUBT,),
    "new": (GroupState.DOUBT,),
}
_ENDS: Final = (EventKind.CANCELED, EventKind.EXPIRED, EventKind.REJECTED)
_TEXTS: Final = (ORDER_GROUP_CANCEL, EXCEEDED_ORDER_GROUP_RISK_LIMIT)


def _tells_of_trigger(event: OrderEvent) -> bool:
    return event.text != "" and event.kind in _ENDS and any(text in event.text for text in _TEXTS)


class _Window:
    """Quantities filled in the last 15 s, 1/100 contract."""

    __slots__ = ("fills", "total", "warned")

    def __init__(self) -> None:
        self.fills: deque[tuple[int, int]] = deque()
        self.total = 0
        self.warned = False

    def volume(self, mono_ns: int) -> int:
        while self.fills and mono_ns - self.fills[0][0] >= WINDOW_NS:
            self.total -= self.fills.popleft()[1]
        return self.total


class _Asked(NamedTuple):
    peer: str
    order: GroupOrder
    until_ns: int


class OrderGroups:
    """Follows the groups; it is the control `order_group` as well.

    Attributes:
        halting: latches strategies; set by the guard, which makes both.
    """

    name = "order_group"
    halting: "Halting"

    def __init__(
        self, config: Config, out: Outbox, exposure: Exposure, commander: Commander, budget: WriteBudget
    ) -> None:
        self._limits: Mapping[int, int] = {
            strategy.slot: strategy.order_group_limit * 100
            for strategy in config.strategies.values()
            if strategy.order_group_limit
        }
        self._out = out
        self._exposure = exposure
        self._commander = commander
        self._budget = budget
        self._windows = {slot: _Window() for slot in self._limits}
        self._status: dict[int, GroupStatus] = {}
        self._asked: dict[str, _Asked] = {}
        self._requests = 0
        self._life_ns = 0

    def status(self, slot: int) -> GroupStatus | None:
        """Return what order entry said last of a strategy's group."""
        return self._status.get(slot)

    def texts(self) -> dict[str, str]:
        """Return, for people, strategy to how its group is."""
        return {
            self._exposure.names.get(slot, str(slot)): self._text(slot, status)
            for slot, status in self._status.items()
        }

    def _text(self, slot: int, status: GroupStatus) -> str:
        window, limit = self._windows.get(slot), status.limit
        filled = window.total // 100 if window is not None else 0
        state = f"{status.state.value} {status.group_id}".strip()
        return f"{state}, {filled} of {limit} contracts in 15 s{f': {status.text}' if status.text else ''}"

    # -- the control

    def check(self, ask: Ask, way: Way) -> Breach | None:
        """Refuse what a group that can't be used would not take, and what would make the venue trigger it."""
        slot = way.line.strategy
        if slot is None:
            return None
        scope = way.scopes[0].text
        if slot not in self._limits:
            return self._of_another(ask.new.group, scope) if ask.new is not None and ask.new.group else None
        status = self._status.get(slot)
        if status is None or not status.usable:
            text = status.text if status is not None else "order entry has not said how its order group is"
            return Breach(self.name, scope, text)
        limit, filled = self._limits[slot], self._windows[slot].volume(ask.mono_ns)
        if filled >= limit:
            text = f"{filled // 100} contracts were filled in 15 s, and the order group's limit is {limit // 100}"
            return Breach(self.name, scope, text, limit, filled)
        return None

    def _of_another(self, group_id: str, scope: str) -> Breach | None:
        # Its fills would trigger that one's group, and a kill of that one cancel its orders.
        key = group_key(group_id)
        if any(status.group_id and group_key(status.group_id) == key for status in self._status.values()):
            return Breach(self.name, scope, f"order group {group_id} is another strategy's")
        return None

    # -- what is heard

    def on_event(self, event: OrderEvent, now: Now) -> None:
        """Count a fill; latch a strategy whose group was triggered."""
        slot = event.strategy
        if event.kind is EventKind.TRADE:
            window = self._windows.get(slot)
            if window is not None:
                self._count(slot, window, event.last_qty, now)
        elif _tells_of_trigger(event) and slot in self._exposure.names:
            self._triggered(slot, event.text, now)

    def _count(self, slot: int, window: _Window, qty: int, now: Now) -> None:
        window.fills.append((now.mono_ns, qty))
        window.total += qty
        limit, filled = self._limits[slot], window.volume(now.mono_ns)
        near = filled * 100 >= limit * WARN_PERCENT
        if near and not window.warned:
            name = self._exposure.names.get(slot, str(slot))
            self._out.log(
                "warning",
                f"strategy {name}: {filled // 100} contracts filled in 15 s, its order group triggers above {limit // 100}",
            )
        window.warned = near

    def _triggered(self, slot: int, why: str, now: Now) -> None:
        # Our own kill triggers groups too: whoever is latched already needs no latch for it.
        status = self._status.get(slot)
        killed = status is not None and status.state is GroupState.KILLED
        kill = self.halting.kill
        if not (killed or kill.everything or LatchScope(slot) in kill.latches):
            self.halting.halt(LatchScope(slot), f"its order group was triggered: {why}", "order group", now)

    def on_beat(self, beat: TapeBeat, now: Now) -> None:
        """Take order entry's word on the groups."""
        if beat.life_ns != self._life_ns:  # its count began at 0, however many of its first beats were lost
            self._life_ns, self._requests = beat.life_ns, 0
        spent = beat.group_requests - self._requests
        self._requests = beat.group_requests
        for _ in range(max(spent, 0)):
            self._budget.spent(self._budget.cost_group, now.mono_ns)
        for text, status in beat.groups.items():
            slot = int(text)
            self._status[slot] = status
            if status.state is GroupState.TRIGGERED:
                self._triggered(slot, status.text, now)
        for request_id, asked in list(self._asked.items()):
            self._look(request_id, asked, now)

    # -- the kill

    def trigger(self, sweep: Sweep) -> bool:
        """Trigger the groups that hold something that is open in a sweep's scope; False when there are none."""
        if sweep.scope.symbol:  # a group holds orders of other markets too
            return False
        slots = {order.slot for order in sweep.open(self._exposure)} & {
            slot for slot, status in self._status.items() if status.group_id and slot in self._limits
        }
        for slot in sorted(slots):
            self._commander.group(
                slot, "trigger", sweep.why
            )  # without tokens too: nothing stops more with one request
        return bool(slots)

    def armed(self, scope: LatchScope) -> None:
        """Reset what our own kill had triggered and nothing else holds any more."""
        kill = self.halting.kill
        if scope.symbol:
            return
        for slot, status in self._status.items():
            held = ALL in kill.latches or LatchScope(slot) in kill.latches
            if scope.strategy in (None, slot) and status.state is GroupState.KILLED and not held:
                self._commander.group(slot, "reset_killed", "armed")

    def keeps_from_arming(self, scope: LatchScope) -> str:
        """Return why a strategy can't be armed, or empty."""
        status = self._status.get(scope.strategy) if scope.strategy is not None else None
        if scope.symbol or status is None or status.state is not GroupState.TRIGGERED:
            return ""
        name = self._exposure.names.get(scope.strategy or 0, "")
        return f"its order group was triggered by the venue; first: scripts/ctl group reset --strategy {name}"

    # -- the operator

    def order(self, peer: str, message: GroupOrder, now: Now) -> None:
        """Pass an operator's order on; it is answered when its outcome is known."""
        problem = self._against(message)
        if problem:
            self._reply(peer, message.request_id, problem, ok=False)
            return
        self._asked[message.request_id] = _Asked(peer, message, now.mono_ns + ANSWER_NS)
        self._commander.group(
            message.strategy,
            message.action,
            f"{message.who}: {message.why}",
            request_id=message.request_id,
            group_id=message.group_id,
        )

    def _against(self, message: GroupOrder) -> str:
        # What stands against an operator's order, or empty.
        status, action = self._status.get(message.strategy), message.action
        if not message.why.strip():
            return "an order about a group needs a reason"
        if message.strategy not in self._limits:
            name = self._exposure.names.get(message.strategy)
            if name is None:
                return f"no strategy has slot {message.strategy}"
            return f"strategy {name} has no order group: order_group_limit is not configured"
        if action not in _FITS:
            return f"there is no such action: {action[:32]!a}, but {', '.join(_FITS)}"
        if status is None or status.state not in _FITS[action]:
            state = status.state.value if status is not None else "not known yet"
            return f"its order group is {state}: there is nothing to {action}"
        if action == "adopt" and not is_group_id(message.group_id):
            return "adopt needs the group's id: printable ASCII of 1 to 64 characters"
        if not self._commander.accepted:
            return "order entry has not accepted the guard yet; say it again"
        return ""

    def on_answer(self, _peer: str, answer: GroupAnswer, now: Now) -> None:  # noqa: ARG002
        """Take order entry's refusal of an operator's order."""
        asked = self._asked.pop(answer.request_id, None)
        if asked is not None:
            self._reply(asked.peer, answer.request_id, answer.text, ok=False)

    def _look(self, request_id: str, asked: _Asked, now: Now) -> None:
        status = self._status.get(asked.order.strategy)
        if status is not None and status.usable:
            done = {"reset": "was reset", "adopt": "is taken", "new": "was made"}[asked.order.action]
            text = f"order group {status.group_id} {done}"
            scope = LatchScope(asked.order.strategy)
            if self.halting.kill.everything or scope in self.halting.kill.latches:
                text += "; the strategy is still halted: scripts/ctl arm releases it"
            self._reply(asked.peer, request_id, text, ok=True)
        elif now.mono_ns >= asked.until_ns:
            text = f"the venue has not answered yet: {status.text if status is not None else 'order entry is silent'}"
            self._reply(asked.peer, request_id, text, ok=False)
        else:
            return
        del self._asked[request_id]

    def _reply(self, peer: str, request_id: str, text: str, *, ok: bool) -> None:
        self._out.send(INTENTS, ControlReply(request_id=request_id, ok=ok, text=text), to=peer)
