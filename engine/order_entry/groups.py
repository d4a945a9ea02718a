"""Order groups (venue.md section 4): one for each strategy that has a limit, made once, used for good.

The venue makes the ids, its request carries none of ours, and its answer names nothing but the group. So:

* one request is outstanding at a time, and an answer belongs to it; the answer to anything but a create must also name
  the group that was asked about;
* a create is journalled before it is sent. If its answer does not come, the group may exist, and asking again would make a
  second one: the group is in doubt, the strategy does not trade, and an operator says which id it has (`adopt`) or that a
  new one is to be made (`new`). Until the session is another one no other create leaves: a late answer is still the first's;
* the id is kept in the order journal; after each start the group is looked at by setting its limit, and one that the venue
  says it does not have is made anew;
* on the way down and while the journal can't be written, only triggers leave. While a latch holds the whole strategy no
  group is made for it (a halt has let nothing new through), and a reset leaves on an operator's word about this group only:
  one that still waits from an earlier arm is dropped by the next halt;
* a group that the venue triggered (a cancel with ORDER_GROUP_CANCEL, a reject with EXCEEDED_ORDER_GROUP_RISK_LIMIT), or that
  we triggered as a kill, takes no orders until an operator resets it.

State changes by journalled `GroupRecord`s only, live and in replay alike.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from engine.common.actor import Outbox
from engine.common.clock import SECOND, Now
from engine.common.ids import group_key, is_group_id
from engine.kalshi import codec
from engine.kalshi.messages import OrderGroupRequest, OrderGroupResponse
from engine.kalshi.texts import (
    EXCEEDED_ORDER_GROUP_RISK_LIMIT,
    ORDER_GROUP_CANCEL,
    ORDER_GROUP_NOT_FOUND,
    RATE_LIMIT_EXCEEDED,
)
from engine.messages.commands import GroupCommand
from engine.messages.executions import EventKind, GroupState, GroupStatus, OrderEvent
from engine.order_entry.desk import Client
from engine.order_entry.records import GroupRecord

CREATE: Final = "1"
RESET: Final = "2"
TRIGGER: Final = "4"
UPDATE: Final = "5"
_NAMES: Final = {CREATE: "create", RESET: "reset", TRIGGER: "trigger", UPDATE: "update"}

UNANSWERED_NS: Final = 20 * SECOND
"""The venue may take 15 s to answer."""
AGAIN_NS: Final = SECOND
CREATE_AGAIN_NS: Final = 30 * SECOND
"""How long after its first refusal the request, or a create, is sent again; twice as long after each further one."""
_DOUBLINGS: Final = {CREATE: 6, RESET: 6, TRIGGER: 4, UPDATE: 6}  # 32 min, 64 s, 16 s: a kill, 64 s
_ALERTS: Final = 3  # of refusals in a row; those after it are warnings
_UNKNOWN_ID: Final = 1  # BusinessRejectReason(380)


class _Wish(NamedTuple):
    slot: int
    action: str


class _Refused(NamedTuple):
    times: int
    until_ns: int
    text: str


class _Sent(NamedTuple):
    wish: _Wish
    group_id: str
    seq: int
    mono_ns: int
    again: bool = True  # when it comes to nothing


_NONE: Final = GroupRecord(wall_ns=0, slot=0, state=GroupState.ABSENT)


class Groups:
    """Keeps the groups.

    Args:
        out: the actor's outbox.
        limits: slot to contracts in 15 s, of the strategies that have a group.

    Attributes:
        client: the session; None in a dry run.
        requests: UOG messages sent in this life, for the guard's mirror of the Write bucket.
        changes: of what `status` says, in this life.
        held: why nothing but triggers may leave now, or empty.
        halted: slot to the latch that holds it as a whole, or empty.
    """

    def __init__(self, out: Outbox, limits: Mapping[int, int]) -> None:
        self.client: Client | None = None
        self.requests = 0
        self.changes = 0
        self.held: Callable[[], str] = str
        self.halted: Callable[[int], str] = lambda _slot: ""
        self._out = out
        self._limits = dict(limits)
        self._groups: dict[int, GroupRecord] = {}
        self._wishes: deque[_Wish] = deque()
        self._sent: _Sent | None = None
        self._late_create = 0  # slot whose create may still be answered on this session
        self._refused: dict[_Wish, _Refused] = {}
        self._checked: set[int] = set()
        self._ordered: set[int] = set()  # slots whose reset an operator ordered: it leaves during a halt, too

    # -- the journal

    def replay(self, record: GroupRecord) -> None:
        """Take a record in."""
        self._groups.pop(record.slot, None)  # the last one changed stands last
        self._groups[record.slot] = record

    def save(self) -> list[GroupRecord]:
        """Return everything, for a snapshot."""
        return list(self._groups.values())

    def digest(self) -> str:
        """Return SHA-256 of the journalled state, hex; empty when there are no groups."""
        if not self._groups:
            return ""
        return hashlib.sha256(msgspec.msgpack.encode(self.save())).hexdigest()

    def _note(self, slot: int, state: GroupState, wall_ns: int, why: str = "", **changes: str | int) -> None:
        before = self._groups.get(slot, _NONE)
        record = msgspec.structs.replace(
            before, wall_ns=wall_ns, slot=slot, state=state, why=why[:200], **changes
        )
        if (record.state, record.group_id, record.limit) == (before.state, before.group_id, before.limit):
            return
        self._out.record(record)
        self.replay(record)
        self.changes += 1

    # -- asking

    def of(self, slot: int) -> GroupRecord:
        """Return a strategy's group as it is."""
        return self._groups.get(slot, _NONE)

    def for_order(self, slot: int) -> tuple[str, str]:
        """Return (the id that an order of the strategy carries, why it may not leave); both empty without a group."""
        if slot not in self._limits or self.client is None:
            return "", ""
        group = self.of(slot)
        if group.state is GroupState.READY and slot in self._checked:
            return group.group_id, ""
        return "", self._text(slot)

    def is_anothers(self, slot: int, group_id: str) -> bool:
        """Say whether another strategy has this group; what an id looks like is up to who writes it."""
        key = group_key(group_id)
        return any(
            of != slot and group.group_id and group_key(group.group_id) == key
            for of, group in self._groups.items()
        )

    def _text(self, slot: int) -> str:
        group = self.of(slot)
        match group.state:
            case GroupState.TRIGGERED | GroupState.KILLED:
                return f"its order group is triggered: {group.why}"
            case GroupState.DOUBT:
                return (
                    "it is not known whether its order group was made: scripts/ctl group adopt, or group new"
                )
            case GroupState.READY:
                refused = self._refused.get(_Wish(slot, UPDATE))
                return (
                    f"its order group's limit was refused: {refused.text}"
                    if refused is not None
                    else "its order group was not looked at yet"
                )
            case GroupState.ABSENT if held := self._keeps(_Wish(slot, CREATE)):
                return f"its order group is not made now: {held}"
            case _:
                return f"its order group is being made{f': {group.why}' if group.why else ''}"

    def status(self) -> dict[str, GroupStatus]:
        """Return what a beat says: slot (decimal text) to its group."""
        return {
            str(slot): GroupStatus(
                state=self.of(slot).state,
                usable=not self.for_order(slot)[1],
                group_id=self.of(slot).group_id,
                limit=self._limits[slot],
                text=self.for_order(slot)[1],
            )
            for slot in self._limits
        }

    # -- what happens

    def start(self, now: Now) -> None:
        """Begin a life: a create that was never answered is in doubt."""
        # KalshiRT may still bring the answer, also of one in doubt before; no create has left after the last of them.
        for slot, group in self._groups.items():
            if slot in self._limits and group.state in (GroupState.CREATING, GroupState.DOUBT):
                self._late_create = slot
        for slot in self._limits:
            group = self.of(slot)
            if group.state is GroupState.CREATING:
                self._doubt(slot, now, "order entry ended before the answer")
            elif group.group_id and not is_group_id(group.group_id):
                self._doubt(slot, now, f"its id can't be sent: {group.group_id[:64]!a}")

    def on_logon(self, now: Now, *, anew: bool) -> None:
        """Look at every group; anew: nothing of the last session is answered any more."""
        if anew:
            self._late_create = 0
        self._refused.clear()
        for slot in self._limits:
            self._look_at(slot)
        self.tick(now)

    def on_lost(self, now: Now) -> None:
        """The session is gone: what was asked is not answered, or late."""
        sent, self._sent = self._sent, None
        if sent is None:
            return
        if sent.wish.action == CREATE:
            self._late_create = sent.wish.slot
            self._doubt(sent.wish.slot, now, "the session was lost before the answer")
        elif sent.again:
            self._wishes.appendleft(sent.wish)

    def on_halted(self, strategy: int | None) -> None:
        """Drop the resets that wait, of one strategy or of all: a latch came that was not there when they were wanted."""
        for slot in self._limits:
            if strategy in (None, slot):
                self._no_reset(slot)

    def _no_reset(self, slot: int) -> None:
        reset, sent = _Wish(slot, RESET), self._sent
        self._ordered.discard(slot)
        if reset in self._wishes:
            self._wishes.remove(reset)
        if sent is not None and sent.wish == reset:
            self._sent = sent._replace(again=False)

    def watch(self, event: OrderEvent) -> None:
        """Follow an event of an order: the venue says no other way that a group was triggered."""
        text = event.text
        if not text or event.kind not in (EventKind.CANCELED, EventKind.EXPIRED, EventKind.REJECTED):
            return
        if (ORDER_GROUP_CANCEL in text or EXCEEDED_ORDER_GROUP_RISK_LIMIT in text) and event.group:
            group = self.of(event.strategy)
            if group.state is GroupState.READY and group.group_id == event.group:
                self._note(event.strategy, GroupState.TRIGGERED, event.wall_ns, text)
                self._out.log("alert", f"order group {group.group_id} of slot {event.strategy}: {text}")

    def trigger(self, slot: int, why: str, now: Now) -> None:
        """Cancel a group's orders at the venue, before anything else."""
        group = self.of(slot)
        if not group.group_id or slot not in self._limits:
            return
        if group.state is GroupState.READY:
            self._note(slot, GroupState.KILLED, now.wall_ns, why)
        self._no_reset(slot)
        self._wish(_Wish(slot, TRIGGER), first=True, at_once=True)
        self.tick(now)

    def reset(self, slot: int, *, killed_only: bool, now: Now) -> str:
        """Let orders of a triggered group in again, on an operator's word; return what stands against it, or empty."""
        group = self.of(slot)
        if slot not in self._limits or not group.group_id:
            return "it has no order group"
        if group.state not in (GroupState.TRIGGERED, GroupState.KILLED):
            return "its order group is not triggered"
        if killed_only and group.state is not GroupState.KILLED:
            return f"its order group was triggered by the venue: {group.why}"
        if not killed_only and (self.client is None or not self.client.logged_on):
            return "there is no session to reset its order group on; say it again when there is one"
        if not killed_only:
            if held := self.held():
                return f"its order group can't be reset now: {held}"
            self._ordered.add(slot)
        self._wishes = deque(wish for wish in self._wishes if wish != _Wish(slot, TRIGGER))
        self._wish(_Wish(slot, RESET), at_once=True)
        self.tick(now)
        return ""

    def adopt(self, slot: int, group_id: str, now: Now) -> str:
        """Take the group that an operator read at the venue; return what stands against it, or empty."""
        if slot not in self._limits:
            return "it has no order group: order_group_limit is not configured"
        if self.of(slot).state is not GroupState.DOUBT:
            return "its order group is not in doubt"
        if not is_group_id(group_id):
            return "the group's id is not printable ASCII of 1 to 64 characters"
        if self.is_anothers(slot, group_id):
            return f"order group {group_id} is another strategy's"
        self._late_create = 0 if self._late_create == slot else self._late_create
        self._note(slot, GroupState.READY, now.wall_ns, "an operator says so", group_id=group_id)
        self._checked.discard(slot)
        self._refused.pop(_Wish(slot, UPDATE), None)
        self._look_at(slot)
        self.tick(now)
        return ""

    def make_anew(self, slot: int, now: Now) -> str:
        """Forget a create in doubt, on an operator's word that no such group is wanted; return as `adopt`."""
        if self.of(slot).state is not GroupState.DOUBT:
            return "its order group is not in doubt"
        self._late_create = 0 if self._late_create == slot else self._late_create
        self._note(slot, GroupState.ABSENT, now.wall_ns, "an operator has it made anew")
        self._refused.pop(_Wish(slot, CREATE), None)
        self._look_at(slot)
        self.tick(now)
        return ""

    def command(self, command: GroupCommand, now: Now) -> str:
        """Carry out what the guard, or an operator through it, wants; return what stands against it, or empty."""
        slot, action = command.strategy, command.action
        problem = ""
        match action:
            case "trigger":
                self.trigger(slot, command.why, now)
            case "reset" | "reset_killed":
                problem = self.reset(slot, killed_only=action == "reset_killed", now=now)
            case "adopt":
                problem = self.adopt(slot, command.group_id, now)
            case "new":
                problem = self.make_anew(slot, now)
            case _:
                problem = f"there is no such action: {action[:32]}"
        text = f": {problem}" if problem else ""
        self._out.log("warning", f"order group of slot {slot}: {action[:32]} ({command.why}){text}")
        return problem

    # -- answers

    def on_answer(self, answer: OrderGroupResponse, now: Now) -> None:
        """Apply an OrderGroupResponse(35=UOH)."""
        sent = self._sent
        known = next(
            (slot for slot, g in self._groups.items() if g.group_id == answer.order_group_id != ""), None
        )
        if sent is not None and sent.wish.action == CREATE and known is None:
            self._sent = None
            self._created(sent.wish.slot, answer, now)
        elif sent is not None and sent.group_id and sent.group_id == answer.order_group_id:
            self._sent = None
            self._refused.pop(sent.wish, None)
            self._done(sent.wish, now)
        elif known is None and self._late_create:
            slot, self._late_create = self._late_create, 0
            if self.of(slot).state is GroupState.DOUBT:
                self._created(slot, answer, now)
        elif known is None:
            self._out.log("warning", f"order group {answer.order_group_id[:64]!a} is none of ours")
        self.tick(now)

    def _created(self, slot: int, answer: OrderGroupResponse, now: Now) -> None:
        if not is_group_id(answer.order_group_id):  # every order would carry it, and none could leave
            self._doubt(slot, now, f"the venue's id for it can't be sent: {answer.order_group_id[:64]!a}")
            return
        limit = answer.order_group_contracts_limit or self._limits.get(slot, 0)
        self._note(slot, GroupState.READY, now.wall_ns, "", group_id=answer.order_group_id, limit=limit)
        self._checked.add(slot)
        self._refused.pop(_Wish(slot, CREATE), None)
        self._out.log(
            "info", f"order group {answer.order_group_id} of slot {slot}: {limit} contracts in 15 s"
        )
        if limit != self._limits.get(slot, limit):
            self._checked.discard(slot)
            self._look_at(slot)

    def _done(self, wish: _Wish, now: Now) -> None:
        slot, group = wish.slot, self.of(wish.slot)
        match wish.action:
            case "5":
                self._checked.add(slot)
                self.changes += 1
                self._note(
                    slot, group.state, now.wall_ns, group.why, limit=self._limits.get(slot, group.limit)
                )
            case "2":
                self._ordered.discard(slot)
                if _Wish(slot, TRIGGER) not in self._wishes:
                    self._note(slot, GroupState.READY, now.wall_ns)
                    self._out.log("warning", f"order group {group.group_id} of slot {slot} was reset")
            case _:
                self._out.log("warning", f"order group {group.group_id} of slot {slot} was triggered")

    def on_refused(self, seq: int | None, reason: int, text: str, now: Now) -> bool:
        """Apply a Reject(35=3) or BusinessMessageReject(35=j); False when it is not about a group."""
        sent = self._sent
        if sent is None or seq is None or seq != sent.seq:
            return False
        self._sent = None
        slot, action = sent.wish
        self._hold_off(sent.wish, reason, text, now)
        gone = sent.group_id and (reason == _UNKNOWN_ID or ORDER_GROUP_NOT_FOUND in text)
        if action == CREATE:
            self._note(slot, GroupState.ABSENT, now.wall_ns, text)
            self._look_at(slot)
        elif gone:
            self._checked.discard(slot)
            self._note(
                slot, GroupState.ABSENT, now.wall_ns, "the venue does not have it any more", group_id=""
            )
            self._wishes = deque(wish for wish in self._wishes if wish.slot != slot)
            self._look_at(slot)
        elif sent.again:
            self._wish(sent.wish, first=action == TRIGGER)
        self.changes += 1
        return True

    def _hold_off(self, wish: _Wish, reason: int, text: str, now: Now) -> None:
        # Only this request waits, longer each time: nobody reads the same alert each second, and it costs tokens.
        before = self._refused.get(wish)
        times = 1 + (before.times if before is not None else 0)
        if reason == RATE_LIMIT_EXCEEDED and wish.action != CREATE:
            times = 1  # over in a moment: a trigger must not wait for more
        again_ns = CREATE_AGAIN_NS if wish.action == CREATE else AGAIN_NS
        again_ns <<= min(times - 1, _DOUBLINGS[wish.action])
        self._refused[wish] = _Refused(times, now.mono_ns + again_ns, text[:200])
        known = before is not None and (times > _ALERTS or reason == RATE_LIMIT_EXCEEDED)
        self._out.log(
            "warning" if known else "alert",
            f"order group of slot {wish.slot}: {_NAMES[wish.action]} was refused: {text[:200]}; "
            f"no such request for {again_ns // SECOND} s",
        )

    def _doubt(self, slot: int, now: Now, why: str) -> None:
        self._note(slot, GroupState.DOUBT, now.wall_ns, why, group_id="")
        self._out.log("alert", f"order group of slot {slot}: {why}; {self._text(slot)}")

    # -- requests

    def _look_at(self, slot: int) -> None:
        group = self.of(slot)
        if group.group_id:
            if slot not in self._checked:
                self._wish(_Wish(slot, UPDATE))
        elif group.state is GroupState.ABSENT:
            self._wish(_Wish(slot, CREATE))

    def _wish(self, wish: _Wish, *, first: bool = False, at_once: bool = False) -> None:
        if at_once:  # somebody wants it now, whatever was refused before
            self._refused.pop(wish, None)
        if wish in self._wishes:
            if not first:
                return
            self._wishes.remove(wish)
        if first:
            self._wishes.appendleft(wish)
        else:
            self._wishes.append(wish)

    def _may_leave(self) -> list[tuple[int, _Wish]]:
        # What may leave and from when on, in order. A create must wait while another one may still be answered.
        return [
            (self._refused[wish].until_ns if wish in self._refused else 0, wish)
            for wish in self._wishes
            if (wish.action != CREATE or not self._late_create) and not self._keeps(wish)
        ]

    def _keeps(self, wish: _Wish) -> str:
        # Why a request may not leave now. Setting a limit lets nothing in, so that a look may leave during a halt.
        slot, action = wish
        if action == TRIGGER:
            return ""
        if held := self.held():
            return held
        if action == CREATE or (action == RESET and slot not in self._ordered):
            return self.halted(slot)
        return ""

    def due(self) -> int | None:
        """Return when `tick` is wanted (mono_ns), or None."""
        if self._sent is not None:
            return self._sent.mono_ns + UNANSWERED_NS
        client = self.client
        if not self._wishes or client is None or not client.logged_on:
            return None
        return min((at_ns for at_ns, _ in self._may_leave()), default=None)

    def tick(self, now: Now) -> None:
        """Send the next request if it may leave; give up one that is not answered."""
        sent, client = self._sent, self.client
        if sent is not None:
            if now.mono_ns - sent.mono_ns < UNANSWERED_NS:
                return
            self._sent = None
            if sent.wish.action == CREATE:
                self._late_create = sent.wish.slot
                self._doubt(sent.wish.slot, now, f"no answer after {UNANSWERED_NS // SECOND} s")
            elif sent.again:
                self._wish(sent.wish, first=sent.wish.action == TRIGGER)
        if not self._wishes or client is None or not client.logged_on:
            return
        wish = next((wish for at_ns, wish in self._may_leave() if at_ns <= now.mono_ns), None)
        if wish is None:
            return
        self._wishes.remove(wish)
        self._send(client, wish, now)

    def _send(self, client: Client, wish: _Wish, now: Now) -> None:
        slot, action = wish
        group_id = self.of(slot).group_id
        limit = self._limits[slot] if action in (CREATE, UPDATE) else None
        if action == CREATE:
            self._note(slot, GroupState.CREATING, now.wall_ns, "asked", group_id="")
            group_id = ""
        request = OrderGroupRequest(
            order_group_action=action, order_group_contracts_limit=limit, order_group_id=group_id
        )
        msg_type, body = codec.encode_body(request)
        self.requests += 1
        self._sent = _Sent(wish, group_id, client.send(msg_type, body, now), now.mono_ns)
