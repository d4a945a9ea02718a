"""The virtual runtime: every actor in one process on virtual time, with a seeded network between them.

The same actor classes as in the process runtime, driven under the same contract (`engine.common.actor`): inputs, then
`on_drained`, then records are committed, then bytes and messages leave. The network behaves as the real transports do:

* a channel between two peers keeps its order and promises none across channels;
* each channel of a process joins at a moment of its own, and what a PUB published before a subscriber had joined is lost;
* a PUB drops what a subscriber's queue can't hold (`marks`, or the channel's high-water mark; `drop_percent` at random);
* a DEALER or ROUTER refuses at once when its peer isn't there, has not joined yet, or has a full queue;
* what is in flight to a process that dies is lost; of what is in flight from it the last on each channel, by the dice;
* links are `virtual_wires`.

What can happen to a process is in `virtual_node`. Inputs that had to wait are stepped as one batch, in an order that keeps
each channel's own. Every delivery goes into a hash, so that two runs of one seed can be compared.

Time only moves from one event to the next; a run of a minute takes as long as its events.
"""

import base64
import hashlib
import heapq
import random
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.common.actor import Actor, PeerEvent
from engine.common.clock import SECOND, Now
from engine.common.ids import ClOrdIDs
from engine.config import Config, SessionConfig, SessionsConfig
from engine.messages.topology import Channel, Pattern, process_names
from engine.runtime.virtual_node import HALTABLE, HOOKS, START_WALL_NS, Node, Watcher
from engine.runtime.virtual_wires import Wires

BUS_DELAY_NS: Final = (15_000, 60_000)
LINK_DELAY_NS: Final = (50_000, 400_000)
HALT_FILE_NS: Final = 50_000_000
_ACCOUNT = "main"
_PURPOSES = ("order_entry", "market_data", "drop_copy", "listener")


def fake_signature(api_key: str, message: bytes) -> str:
    """Return what stands for an RSA signature here: RSA-PSS is salted, and a run must repeat exactly."""
    return base64.b64encode(hashlib.sha256(api_key.encode() + message).digest()).decode()


def fake_verify(api_key: str, message: bytes, signature: str) -> bool:
    """Check a `fake_signature`."""
    return signature == fake_signature(api_key, message)


def effective(config: Config) -> Config:
    """Fill in fixed API keys for the embedded venue's sessions."""
    sessions: dict[str, SessionConfig] = {}
    for number, purpose in enumerate(_PURPOSES):
        session = getattr(config.sessions, purpose)
        if session is not None:
            key_id = f"00000000-0000-4000-8000-{number:012d}"
            sessions[purpose] = msgspec.structs.replace(session, key_id=key_id, key_file="", host="")
    return msgspec.structs.replace(config, sessions=SessionsConfig(**sessions))


class VirtualWorld:
    """All nodes, the network between them, and virtual time.

    Args:
        config: a configuration with an embedded venue. seed: of everything random.
        strategies: strategy classes by name; by default those of the configuration are loaded.

    Attributes:
        bus_delay_ns, link_delay_ns: bounds between which delays are drawn.
        drop_percent: channel (PUB/SUB) to the share of messages that each subscriber loses.
        marks: channel to its high-water mark, where it is not the table's.
        wall_skew_ns: how far the engine's wall clock is from true time, which is the venue's unless that is skewed.
        halt_text: what the halt file says, None without one. answers: what tools were answered.
        struck: what went wrong by the network, disks and signals, and by whoever else `strike`s: kind to how often.
        trace: called with each happening, for a readable trace.
    """

    def __init__(self, config: Config, seed: int, strategies: dict[str, type] | None = None) -> None:
        self.config = effective(config)
        self.seed = seed
        self.rng = random.Random(f"{seed}/network")  # noqa: S311
        self.mono_ns = SECOND
        self.bus_delay_ns = BUS_DELAY_NS
        self.link_delay_ns = LINK_DELAY_NS
        self.drop_percent: dict[str, int] = {}
        self.marks: dict[str, int] = {}
        self.wall_skew_ns = 0
        self.hooks: dict[str, list[Callable[..., None]]] = {name: [] for name in HOOKS}
        self.trace: Callable[[str, str, str, bytes], None] | None = None
        self.steps = 0
        self.answers: list[tuple[str, Any]] = []
        self.struck: dict[str, int] = {}
        self.halt_text: str | None = None
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._fifo: dict[tuple[str, str, str], int] = {}
        self._strategies = strategies or {}
        self._hash = hashlib.sha256()
        self._encode = msgspec.msgpack.Encoder().encode
        self.wires = Wires(self)
        self.nodes = {name: Node(self, name) for name in process_names(self.config)}
        for name, strategy in self.config.strategies.items():
            self.nodes[f"strategy.{name}"].slot = strategy.slot
        self._subscribers: dict[tuple[str, str], list[Node]] = {}

    def watch(self, watcher: Watcher) -> None:
        """Let a watcher see what happens from now on."""
        for name in HOOKS:
            if getattr(type(watcher), name) is not getattr(Watcher, name):
                self.hooks[name].append(getattr(watcher, name))

    # -- the halt file

    def write_halts(self, text: str | None, by: str = "") -> None:
        """Make the halt file say this (None: take it away); those who obey it notice it within 50 ms."""
        self.halt_text = text
        self.note("halt file", by, "", (text or "").encode())
        for name in HALTABLE:
            if name != by:
                self.after(HALT_FILE_NS, lambda node=self.nodes[name]: self._show_halts(node))  # type: ignore[misc]

    def _show_halts(self, node: Node) -> None:
        node.step("", lambda a, now: a.on_halt_file(self.halt_text, now))

    # -- time

    @property
    def now(self) -> Now:
        """This instant in true time."""
        return Now(START_WALL_NS + self.mono_ns, self.mono_ns)

    def at(self, mono_ns: int, action: Callable[[], None]) -> None:
        """Do something at an instant."""
        self._sequence += 1
        heapq.heappush(self._events, (mono_ns, self._sequence, action))

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Do something after a delay."""
        self.at(self.mono_ns + delay_ns, action)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True when `until` came true (looked at every virtual 10 ms), or without it at the end."""
        end = self.mono_ns + int(seconds * SECOND)
        next_look = self.mono_ns
        events, pop = self._events, heapq.heappop
        while events and events[0][0] <= end:
            self.mono_ns, _, action = pop(events)
            self.steps += 1
            action()
            if until is not None and self.mono_ns >= next_look:
                next_look = self.mono_ns + SECOND // 100
                if until():
                    return True
        self.mono_ns = end
        return until is None or until()

    def note(self, kind: str, source: str, target: str, data: bytes) -> None:
        """Put one happening into the trace."""
        self._hash.update(
            b"%d|%b|%b|%b|%d|%b"
            % (self.mono_ns, kind.encode(), source.encode(), target.encode(), len(data), data)
        )
        if self.trace is not None:
            self.trace(kind, source, target, data)

    def strike(self, kind: str) -> None:
        """Count something that went wrong."""
        self.struck[kind] = self.struck.get(kind, 0) + 1

    @property
    def trace_hash(self) -> str:
        """Hash of everything that happened so far."""
        return self._hash.hexdigest()

    # -- life

    def start(self) -> None:
        """Start all processes a little after one another, as a supervisor would."""
        for number, name in enumerate(self.nodes):
            self.after(1 + number * 5_000_000, lambda n=name: self.start_node(n))  # type: ignore[misc]

    def start_node(self, name: str) -> None:
        """Start (again) one process that doesn't run."""
        if self.nodes[name].actor is None:
            self.note("start", name, "", b"")
            self.nodes[name].start(self.build)

    def kill_node(self, name: str) -> None:
        """Kill one process at once."""
        self.note("kill", name, "", b"")
        self.nodes[name].kill()

    def build(self, node: Node) -> Actor:
        """Build the actor of a process."""
        config, name = self.config, node.name
        sessions = config.sessions

        def sign(session: SessionConfig) -> Callable[[bytes], str]:
            return lambda message: fake_signature(session.key_id, message)

        def ids(slot: int) -> ClOrdIDs:
            return ClOrdIDs(slot, node.now.wall_ns // 1_000_000, node.rng.getrandbits(30))

        match name:
            case "market_data":
                from engine.market_data.actor import MarketData

                return MarketData(config, node, sign(sessions.market_data), node.rng.random)
            case "order_entry":
                from engine.order_entry.actor import OrderEntry

                return OrderEntry(config, node, sign(sessions.order_entry), node.rng.random)
            case "drop_copy":
                from engine.drop_copy.actor import DropCopy

                listener = sign(sessions.listener) if sessions.listener is not None else None
                return DropCopy(config, node, sign(sessions.drop_copy), node.rng.random, listener)
            case "guard":
                from engine.guard.actor import Guard

                return Guard(config, node, ids(0))
            case "venue":
                return self._build_venue(node)
            case _:
                from engine.strategy.host import StrategyHost
                from engine.strategy.loader import load_strategy

                short = name.partition(".")[2]
                strategy = config.strategies[short]
                cls = self._strategies.get(short) or load_strategy(short, strategy.strategy)
                return StrategyHost(short, config, node, ids(strategy.slot), cls)

    def _build_venue(self, node: Node) -> Actor:
        from engine.runtime.venue_keys import PURPOSES
        from engine.venue.accounts import VenueKey
        from engine.venue.actor import Venue

        keys = [
            VenueKey(api_key=session.key_id, account=_ACCOUNT, sessions=tuple(PURPOSES[purpose]))
            for purpose in _PURPOSES
            if (session := getattr(self.config.sessions, purpose)) is not None
        ]
        assert self.config.venue is not None, "an embedded venue has its section"
        flow = random.Random(f"{self.config.venue.seed}/{self.seed}/{node.life}")  # noqa: S311
        return Venue(self.config, node, fake_verify, flow, keys)

    # -- channels

    def send(
        self, source: Node, channel: Channel, message: msgspec.Struct, to: str | None, topic: str
    ) -> None:
        """Carry one message over a channel."""
        if channel.pattern is Pattern.PUBSUB:
            self._publish(source, channel, message, topic)
            return
        if channel.bound_by == source.role:
            assert to is not None, "a ROUTER needs to know to whom"
            if to.startswith("tool."):
                self.answers.append((to, message))
                return
            target = self.nodes.get(to)
        else:
            if channel.bound_by == "supervisor":
                return
            target = self.nodes.get(channel.bound_by)
        if (
            target is not None
            and self._joined(source, target, channel)
            and self._has_room(source, target, channel)
        ):
            self._deliver(source, target, channel, message, self._encode(message))
        elif source.actor is not None:
            self.strike("refused")
            source.actor.on_peer(channel.name, to or "", PeerEvent.REFUSED, message, source.now)

    def _joined(self, source: Node, target: Node, channel: Channel) -> bool:
        name = channel.name
        return target.actor is not None and max(target.joins[name], source.joins[name]) <= self.mono_ns

    def _has_room(self, source: Node, target: Node, channel: Channel) -> bool:
        name = channel.name
        return target.queued.get((name, source.name), 0) < self.marks.get(name, channel.high_water)

    def _publish(self, source: Node, channel: Channel, message: msgspec.Struct, topic: str) -> None:
        subscribers = self._subscribers.get((channel.name, topic))
        if subscribers is None:
            subscribers = self._subscribers[channel.name, topic] = [
                node
                for node in self.nodes.values()
                if node.role in channel.connected_by
                and node is not source
                and _subscribed(channel, node, topic)
            ]
        if not subscribers:
            return
        data = self._encode(message)
        drop = self.drop_percent.get(channel.name, 0)
        for node in subscribers:
            if not self._joined(source, node, channel):
                continue
            full = not self._has_room(source, node, channel)
            if full or (drop and self.rng.randrange(100) < drop):
                self.strike("full" if full else "drop")
                self.note("drop", source.name, node.name, data)
                continue
            self._deliver(source, node, channel, message, data)

    def _deliver(
        self, source: Node, target: Node, channel: Channel, message: msgspec.Struct, data: bytes
    ) -> None:
        name = channel.name
        key = (name, source.name, target.name)
        due = max(self.mono_ns + self.rng.randint(*self.bus_delay_ns), self._fifo.get(key, 0) + 1)
        self._fifo[key] = due
        peer = source.name if channel.pattern is Pattern.ROUTED and channel.bound_by == target.role else ""
        life, source_life, sent_ns = target.life, source.life, self.mono_ns
        queued, queue = target.queued, (name, source.name)
        queued[queue] = queued.get(queue, 0) + 1

        def handle(actor: Actor, now: Now) -> None:
            queued[queue] -= 1
            for hook in self.hooks["delivered"]:
                hook(source, target, name, message)
            actor.on_message(name, peer, message, now)

        def arrive() -> None:
            if target.life != life:
                return
            if source.life != source_life and sent_ns >= source.lost_from.get(
                (source_life, name), sent_ns + 1
            ):
                queued[queue] -= 1
                self.strike("kill.unsent")
                return
            self.note(name, source.name, target.name, data)
            target.step(name, handle)

        self.at(due, arrive)

    def tell(self, target: str, channel: str, message: msgspec.Struct, peer: str = "tool.test") -> None:
        """Send a tool's message to an actor; answers gather in `answers`."""
        node = self.nodes[target]
        self.note(channel, peer, target, self._encode(message))
        key = (channel, peer, target)
        due = max(self.mono_ns + self.rng.randint(*self.bus_delay_ns), self._fifo.get(key, 0) + 1)
        self._fifo[key] = due
        self.at(due, lambda: node.step(peer, lambda a, now: a.on_message(channel, peer, message, now)))


def _subscribed(channel: Channel, node: Node, topic: str) -> bool:
    slot = f"{node.slot:03x}" if node.role == "strategy" else ""
    return any(topic.startswith(prefix.format(slot=slot)) for prefix in channel.topics.get(node.role, ("",)))
