"""The fault plan of a run: what goes wrong, drawn from the seed, and how it is made to happen in a virtual world.

    kill      a process dies, between two steps or amid one's release, and comes back after a while; sometimes two at once
    cut       a session's connection is reset          silence   it becomes half-open: nobody is told
    storm     all sessions are reset again and again   mark      a channel's queues hold next to nothing
    drop      a PUB loses messages to each subscriber  bus, wire  messages, bytes take long
    freeze    a process is stopped (SIGSTOP)           busy      its steps take long, so that inputs come in batches
    disk      a process's disk is full for a while     clock     the engine's wall clock jumps, and later back
    venue     the venue misbehaves, by VenueFault      operator  halts and arms, cancels all, flattens, resets groups
    rogue     a strategy asks for what it may not      flood     a strategy asks for very much at once
    replay    an old command comes once more, a fenced guard commands

`heal` ends all of them: what is dead is started, what is stopped goes on, the network is whole.
"""

import functools
import random
import re
from typing import Any, Final

import msgspec

from engine.common.clock import MS, SECOND
from engine.common.ids import ClOrdIDs, slot_of
from engine.drop_copy.actor import DropCopy
from engine.messages.commands import (
    Approved,
    Arm,
    CancelAll,
    CancelOrder,
    Flatten,
    GroupOrder,
    Halt,
    NewOrder,
)
from engine.messages.control import VenueFault
from engine.messages.topology import role_of
from engine.order_entry.actor import OrderEntry
from engine.runtime.virtual import BUS_DELAY_NS, LINK_DELAY_NS, VirtualWorld
from engine.runtime.virtual_node import Node, Watcher
from engine.tools.simulation import venue_faults
from engine.tools.simulation.checker import OE
from engine.tools.simulation.coverage import Coverage
from engine.tools.simulation.order_groups import groups_to_mend
from engine.tools.simulation.swarm import swarmed
from engine.venue.actor import Venue

TOOL: Final = "tool.faults"
FIRST_NS: Final = SECOND // 2
WEIGHTS: Final = {
    "kill": 10,
    "power": 1,
    "cut": 8,
    "silence": 2,
    "storm": 1,
    "mark": 3,
    "drop": 4,
    "bus": 2,
    "wire": 3,
    "freeze": 5,
    "busy": 3,
    "disk": 3,
    "clock": 2,
    "venue": 12,
    "operator": 3,
    "rogue": 2,
    "flood": 1,
    "replay": 2,
}
_KILLED: Final = {"order_entry": 5, "guard": 4, "drop_copy": 3, "market_data": 2, "venue": 1}
_SESSIONS: Final = {"order_entry": 4, "drop_copy": 3, "market_data": 2}
_LISTENER: Final = 4
_PUBLISHERS: Final = ("oe.tape", "oe.tape", "md.feed", "dc.feed")
_DISKS: Final = (OE, OE, "guard", "drop_copy")
_MARKED: Final = ("oe.tape", "oe.orders", "oe.ask", "guard.orders", "md.feed", "dc.feed")
_HOUR_MS: Final = 3_600_000
_CLOCK_MS: Final = (700, -700, 6_000, -6_000, 31_000, -31_000, -_HOUR_MS, 24 * _HOUR_MS)
_EVERY_NS: Final = (250 * MS, 500 * MS, 700 * MS, 700 * MS, 1200 * MS)
_REPLAYED_MAX: Final = 50
_FLOOD: Final = 300
_CREATE: Final = re.compile(rb"\x0135=UOG\x01.*\x0120131=1\x01", re.DOTALL)


class FaultPlan(Watcher):
    """Draws faults as time goes by and lets them happen.

    Args:
        world: to be harmed. until_ns: mono_ns from which nothing new goes wrong.

    Attributes:
        drawn: kind to how often it was to happen; the venue's kinds as `venue.KIND`. `VirtualWorld.struck` has how often
            it did.
    """

    def __init__(self, world: VirtualWorld, until_ns: int) -> None:
        self.world = world
        self.drawn: dict[str, int] = {}
        self.coverage = Coverage(world, TOOL)
        self._undo: dict[tuple[str, str, str], dict[str, str]] = {}  # kind, session, market to arguments
        self.healed = False
        self._rng = random.Random(f"{world.seed}/faults")  # noqa: S311 - a repeatable run is the point
        self._until_ns = until_ns
        self._every_ns = self._rng.choice(_EVERY_NS)
        self._weights = swarmed(WEIGHTS, self._rng)
        self._of_venue = swarmed(venue_faults.WEIGHTS, self._rng)
        killed = {name: _KILLED.get(name, 2) for name in world.nodes}
        self._killed = swarmed(killed, self._rng)
        sessions = dict(_SESSIONS)
        if world.config.sessions.listener is not None:
            sessions["listener"] = _LISTENER
        self._sessions = swarmed(sessions, self._rng)
        self._commands: list[tuple[Approved, Node]] = []
        self._orders: list[NewOrder] = []
        self._numbers = 0
        self._is_anchored = False
        world.watch(self)
        world.at(world.mono_ns + FIRST_NS, self._next)

    def sent(self, node: Node, channel: str, message: Any, to: str | None, topic: str) -> None:  # noqa: ARG002
        if isinstance(message, Approved):
            self._commands.append((message, node))
            del self._commands[:-_REPLAYED_MAX]
        elif isinstance(message, NewOrder):
            self._orders.append(message)
            del self._orders[:-_REPLAYED_MAX]

    def wrote(self, node: Node, link: str, data: bytes) -> None:  # noqa: ARG002
        if not self._is_anchored and node.name == OE and _CREATE.search(data) and self._rng.random() < 0.4:
            self.world.after(self._rng.randint(0, MS), self._lose_create)

    def _lose_create(self) -> None:
        """Take away the answer to an order group's create; it is made before anything else can go wrong, and before an order."""
        if self._commands:
            return  # drop copy has no ExecID yet: see `_anchored`
        self.world.strike("create")
        if self._rng.random() < 0.5:
            self._say("kill order_entry, which makes an order group")
            self._kill_now(OE, self._while(20 * MS, SECOND))
        else:
            self._say("cut order_entry, which makes an order group")
            self._break(OE, "cut")
        self._later(self._while(2 * SECOND, 6 * SECOND), self._mend_groups)

    def _mend_groups(self) -> None:
        self._numbers += 1
        for order in groups_to_mend(self.world, f"o{self._numbers}"):
            self._order(order)

    # -- drawing

    def _next(self) -> None:
        if self.healed or self.world.mono_ns >= self._until_ns:
            return
        if not self._anchored():
            self.world.after(50 * MS, self._next)
            return
        kind = self._pick(self._weights)
        self._count(kind)
        getattr(self, f"_{kind}")()
        self.world.after(self._rng.randint(MS, 2 * self._every_ns), self._next)

    def _count(self, kind: str) -> None:
        self.drawn[kind] = self.drawn.get(kind, 0) + 1

    def _anchored(self) -> bool:
        # Before drop copy has its first ExecID it can't ask for what was lost (venue.md section 6): that is a gap that
        # only an operator closes, and tested by itself.
        drop_copy = self.world.nodes["drop_copy"].actor
        self._is_anchored = self._is_anchored or (
            isinstance(drop_copy, DropCopy) and bool(drop_copy.reconciler.marks)
        )
        return self._is_anchored

    def _pick(self, weights: dict[str, int]) -> str:
        return self._rng.choices(list(weights), list(weights.values()))[0]

    def _while(self, low_ns: int, high_ns: int) -> int:
        return self._rng.randint(low_ns, high_ns)

    def _process(self) -> str:
        return self._pick(self._killed)

    def _say(self, text: str) -> None:
        self.world.note("fault", text, "", b"")

    def _later(self, delay_ns: int, action: Any) -> None:
        """Undo a fault after a while, unless everything was healed by then."""
        self.world.after(delay_ns, lambda: None if self.healed else action())

    # -- processes

    def _kill(self) -> None:
        for _ in range(2 if self._rng.random() < 0.2 else 1):
            name = self._process()
            node = self.world.nodes[name]
            back_ns = self._while(20 * MS, 3 * SECOND)
            if node.actor is None:
                continue
            if self._rng.random() < 0.6:
                self._say(f"kill {name} amid a release")
                after = functools.partial(self._killed_amid, name, back_ns)
                node.doom = (self._rng.randint(0, 8), after)
            else:
                self._say(f"kill {name}")
                self._kill_now(name, back_ns)

    def _killed_amid(self, name: str, back_ns: int) -> None:
        self.world.strike("kill.amid")
        self._died(name, back_ns)

    def _kill_now(self, name: str, back_ns: int) -> None:
        self.world.kill_node(name)
        self._died(name, back_ns)

    def _died(self, name: str, back_ns: int) -> None:
        world = self.world
        world.strike(f"kill.{role_of(name)}")
        if sum(node.actor is None for node in world.nodes.values()) > 1:
            world.strike("kill.two")
        world.after(back_ns, lambda: world.start_node(name))

    def _power(self) -> None:
        self._say("the host is dead")
        self.world.strike("power")
        for name, node in self.world.nodes.items():
            if name != "venue" and node.actor is not None:
                self._kill_now(name, self._while(20 * MS, 3 * SECOND))

    def _freeze(self) -> None:
        node = self.world.nodes[self._process()]
        self._say(f"stop {node.name}")
        node.freeze()
        life = node.life
        self._later(
            self._while(2 * MS, self._rng.choice((20 * MS, SECOND, 4 * SECOND))),
            lambda: node.thaw() if node.life == life else None,
        )

    def _busy(self) -> None:
        node = self.world.nodes[self._process()]
        self._say(f"slow {node.name}")
        self.world.strike("busy")
        node.busy_ns = self._while(MS // 10, 20 * MS)
        self._later(self._while(100 * MS, 3 * SECOND), lambda: setattr(node, "busy_ns", 0))

    def _disk(self) -> None:
        node = self.world.nodes[self._rng.choice(_DISKS)]
        node.has_reserve = node.has_reserve and self._rng.random() < 0.5
        node.disk_full = True
        self._say(f"{node.name}'s disk is full")
        self._later(self._while(50 * MS, 3 * SECOND), lambda: setattr(node, "disk_full", False))

    def _clock(self) -> None:
        jump_ms = self._rng.choice(_CLOCK_MS)
        self.world.wall_skew_ns = jump_ms * MS
        self._say(f"the engine's clock jumps by {jump_ms} ms")
        self.world.strike("clock")
        self._later(self._while(50 * MS, 3 * SECOND), lambda: setattr(self.world, "wall_skew_ns", 0))

    # -- the network

    def _cut(self) -> None:
        session = self._pick(self._sessions)
        how = self._rng.choice(("cut", "tear"))
        self._say(f"{how} {session}")
        self._break(session, how)

    def _break(self, session: str, how: str) -> None:
        wires, name = self.world.wires, "drop_copy" if session == "listener" else session
        if wires.connected(name, session):
            self.world.strike(f"{how}.{session}")
        match how:
            case "cut":
                wires.cut(name, session)
            case "tear":
                wires.cut_amid(name, session, self._rng.randint(0, 3))
            case _:
                wires.silence(name, session)

    def _storm(self) -> None:
        self._say("all sessions are cut again and again")
        at_ns = 0
        for _ in range(self._rng.randint(3, 6)):
            at_ns += self._while(200 * MS, 2 * SECOND)
            self._later(at_ns, self._cut_all)

    def _cut_all(self) -> None:
        self.world.strike("storm")
        for session in self._sessions:
            self._break(session, "cut")

    def _mark(self) -> None:
        channel = self._rng.choice(_MARKED)
        mark = self.world.marks[channel] = self._rng.choice((0, 1, 2, 5, 20))
        self._say(f"queues of {channel} hold {mark}")
        self._later(self._while(50 * MS, 2 * SECOND), lambda: self.world.marks.pop(channel, None))

    def _silence(self) -> None:
        session = self._pick(self._sessions)
        self._say(f"half-open {session}")
        self._break(session, "silence")

    def _drop(self) -> None:
        channel = self._rng.choice(_PUBLISHERS)
        self.world.drop_percent[channel] = self._rng.choice((5, 30, 100))
        self._say(f"drop {self.world.drop_percent[channel]} % of {channel}")
        self._later(self._while(50 * MS, 2 * SECOND), lambda: self.world.drop_percent.pop(channel, None))

    def _bus(self) -> None:
        self.world.bus_delay_ns = (10_000, self._while(MS, 80 * MS))
        self.world.strike("bus")
        self._say(f"bus takes up to {self.world.bus_delay_ns[1] // MS} ms")
        self._later(
            self._while(100 * MS, 2 * SECOND), lambda: setattr(self.world, "bus_delay_ns", BUS_DELAY_NS)
        )

    def _wire(self) -> None:
        self.world.link_delay_ns = (50_000, self._while(MS, 900 * MS))
        self.world.strike("wire")
        self._say(f"links take up to {self.world.link_delay_ns[1] // MS} ms")
        self._later(
            self._while(100 * MS, 3 * SECOND), lambda: setattr(self.world, "link_delay_ns", LINK_DELAY_NS)
        )

    # -- the venue, operators, strategies

    def _tell_venue(self, kind: str, session: str, arguments: dict[str, str]) -> None:
        self._numbers += 1
        fault = VenueFault(request_id=f"f{self._numbers}", kind=kind, session=session, arguments=arguments)
        self.world.tell("venue", "venue.ask", fault, TOOL)

    def _venue(self) -> None:
        drawn = venue_faults.draw(self.world.config, self._rng, self._of_venue)
        kind = f"venue.{drawn.kind}"
        self._count(kind)
        self._say(f"venue {drawn.kind} {drawn.session} {drawn.arguments}")
        self._tell_venue(drawn.kind, drawn.session, drawn.arguments)
        self.coverage.asked(f"f{self._numbers}", kind, drawn.session, venue_faults.times(drawn))
        if drawn.undo is not None:
            kind, arguments = drawn.undo
            self._undo[kind, drawn.session, arguments.get("symbol", "")] = arguments
            undo = functools.partial(self._tell_venue, kind, drawn.session, arguments)
            self._later(self._while(100 * MS, 3 * SECOND), undo)

    def _operator(self) -> None:
        self._numbers += 1
        request_id = f"o{self._numbers}"
        strategy = self._rng.choice((None, None, *(s.slot for s in self.world.config.strategies.values())))
        symbol = self._rng.choice(("", *self.world.config.instruments))
        if self._rng.random() < 0.4:
            strategy, symbol = None, ""
        groups = groups_to_mend(self.world, request_id)
        match self._rng.choice(
            ("halt", "halt", "cancel_all", "flatten", "by_hand", *(("group",) * 4 if groups else ()))
        ):
            case "halt":
                self._order(
                    Halt(
                        request_id=request_id,
                        why="a drill",
                        who="simulation",
                        strategy=strategy,
                        symbol=symbol,
                    )
                )
                self._arm_later(request_id, strategy, symbol, 3 * SECOND)
            case "cancel_all":
                self._order(CancelAll(request_id=request_id, strategy=strategy, symbol=symbol))
            case "flatten":
                self._order(Flatten(request_id=request_id, who="simulation", symbol=symbol))
                for market in (symbol,) if symbol else self.world.config.instruments:
                    self._arm_later(f"{request_id}{market}", None, market, 6 * SECOND)
            case "by_hand":
                self._halt_by_hand(strategy, symbol)
                self._arm_later(request_id, strategy, symbol, 3 * SECOND)
            case _:
                self._order(self._rng.choice(groups))

    def _order(self, message: Halt | Arm | CancelAll | Flatten | GroupOrder) -> None:
        self._tell_guard(message)
        kind = f"Group{message.action.title()}" if isinstance(message, GroupOrder) else type(message).__name__
        self.coverage.asked(message.request_id, f"operator.{kind}")

    def _arm_later(self, request_id: str, strategy: int | None, symbol: str, within_ns: int) -> None:
        arm = Arm(request_id=f"{request_id}+", why="over", who="simulation", strategy=strategy, symbol=symbol)
        self._later(self._while(50 * MS, within_ns), lambda: self._order(arm))

    def _halt_by_hand(self, strategy: int | None, symbol: str) -> None:
        names = {each.slot: name for name, each in self.world.config.strategies.items()}
        words = [f"strategy {names[strategy]}"] if strategy is not None else []
        words += [f"market {symbol}"] if symbol else []
        line = f"{' '.join(words) or 'all'}: by hand\n"
        self._say(f"the halt file says {line.rstrip()}")
        self.world.strike("operator.by_hand")
        self.world.write_halts((self.world.halt_text or "") + line)

    def _tell_guard(self, message: Any, peer: str = TOOL) -> None:
        self._say(f"{type(message).__name__} to the guard from {peer}")
        self.world.tell("guard", "guard.orders", message, peer)

    def _rogue(self) -> None:
        workers = [node for node in self.world.nodes.values() if node.slot >= 0]
        if not self._orders or not workers:
            return
        peer = self._rng.choice(workers).name
        victim = self._rng.choice(self._orders)
        self.world.strike("rogue")
        now = self.world.mono_ns
        for message in (
            victim,  # the same order again, perhaps another's
            self._fresh(victim),  # a new one, perhaps in another's name
            CancelOrder(
                cl_ord_id=victim.cl_ord_id,
                orig_cl_ord_id=victim.cl_ord_id,
                symbol=victim.symbol,
                side=victim.side,
                made_ns=now,
            ),
            *(
                msgspec.structs.replace(self._fresh(victim), **wrong)
                for wrong in (
                    {"cl_ord_id": "forged"},
                    {"qty": 10**9, "price": 1},
                    {"qty": -victim.qty},
                    {"qty": 0},
                    {"qty": 2**63 - 1, "price": 2**63 - 1},
                    {"price": -victim.price},
                    {"side": 7},
                    {"symbol": "NONE-PERP"},
                    {"made_ns": now + 3600 * SECOND},
                )
            ),
            Arm(request_id="rogue", why="mine", who=peer),
        ):
            self._tell_guard(message, peer)

    def _flood(self) -> None:
        workers = [node for node in self.world.nodes.values() if node.slot >= 0]
        peer = self._rng.choice(workers)
        own = [order for order in self._orders if slot_of(order.cl_ord_id) == peer.slot]
        if own:
            self.world.strike("flood")
            self._say(f"{_FLOOD} orders at once from {peer.name}")
            for _ in range(_FLOOD):
                self.world.tell("guard", "guard.orders", self._fresh(self._rng.choice(own)), peer.name)

    def _replay(self) -> None:
        if self._commands:
            command, _ = self._rng.choice(self._commands)
            self._say(f"command {command.no} of epoch {command.epoch} comes again")
            self.world.strike("replay")
            self.world.tell("order_entry", "oe.orders", command, "guard")
            order_entry = self.world.nodes[OE].actor
            if self._orders and isinstance(order_entry, OrderEntry):
                self._fenced(order_entry.commands.epoch - 1)

    def _fresh(self, order: NewOrder) -> NewOrder:
        """Return the same order with a ClOrdID of the same slot that nobody has used, made now."""
        ids = ClOrdIDs(slot_of(order.cl_ord_id) or 0, self.world.mono_ns // MS, self._rng.getrandbits(30))
        return msgspec.structs.replace(order, cl_ord_id=ids(), made_ns=self.world.mono_ns)

    def _fenced(self, epoch: int) -> None:
        """Let a guard that was fenced, and does not know it, command a fresh order."""
        order = self._rng.choice(self._orders)
        command = Approved(
            epoch=epoch,
            no=10**6,
            expires_ns=self.world.mono_ns + SECOND,
            strategy=slot_of(order.cl_ord_id) or 0,
            request=self._fresh(order),
        )
        self.world.strike("replay.fenced")
        self.world.tell("order_entry", "oe.orders", command, "guard")

    # -- the end

    def heal(self) -> None:
        """End every fault."""
        self.healed = True
        world = self.world
        self._say("all faults are over")
        world.drop_percent.clear()
        world.marks.clear()
        world.wall_skew_ns = 0
        world.wires.heal()
        world.bus_delay_ns, world.link_delay_ns = BUS_DELAY_NS, LINK_DELAY_NS
        for name, node in world.nodes.items():
            node.doom = None
            node.busy_ns = 0
            node.disk_full = False
            if node.actor is None:
                world.start_node(name)
            elif node.frozen:
                node.thaw()
        for (kind, session, _), arguments in self._undo.items():
            self._tell_venue(kind, session, arguments)
        venue = world.nodes["venue"].actor
        if isinstance(venue, Venue):  # what has not struck yet would strike while the engine stops
            for waiting in (venue.plan.lose_reports, venue.plan.lose_fills, venue.plan.duplicate_reports):
                waiting.clear()
