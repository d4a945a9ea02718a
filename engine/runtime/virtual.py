"""The virtual runtime: every actor in one process on virtual time, with a seeded network between them.

The same actor classes as in the process runtime, driven under the same contract (`engine.common.actor`): one step an
input, then `on_drained`, then records are committed, then bytes and messages leave. The network behaves as the real
transports do: a channel between two peers keeps its order and promises none across channels; what is in flight to a
process that dies is lost; a DEALER or ROUTER whose peer isn't there refuses at once. Every delivery goes into a hash,
so that two runs of one seed can be compared.

Time only moves from one event to the next; a run of a minute takes as long as its events.
"""

import base64
import hashlib
import heapq
import random
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.common.actor import Actor, LinkEvent, PeerEvent
from engine.common.clock import SECOND, Now
from engine.common.ids import ClOrdIDs
from engine.config import Config, SessionConfig, SessionsConfig
from engine.messages.topology import CHANNELS, Channel, Pattern, role_of
from engine.runtime import factory

START_WALL_NS: Final = 1_790_000_000 * SECOND
_DELAY_NS: Final = (15_000, 60_000)
_LINK_DELAY_NS: Final = (50_000, 400_000)
_IDLE_NS: Final = 1_000_000
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


class Node:
    """One actor and what stands for its process; it is the actor's Outbox."""

    def __init__(self, world: "VirtualWorld", name: str) -> None:
        self.world = world
        self.name = name
        self.role = role_of(name)
        self.actor: Actor | None = None
        self.journal: list[msgspec.Struct] = []
        self.exec_ids: set[str] = set()
        self.life = 0
        self.rng = random.Random(f"{world.seed}/{name}")  # noqa: S311 - a repeatable run is the point
        self._records: list[tuple[msgspec.Struct, str]] = []
        self._writes: list[tuple[str, bytes, int]] = []
        self._sends: list[tuple[str, msgspec.Struct, str | None, str]] = []
        self._wake_ns: int | None = None
        self._is_idle_due = False
        self.notices: list[tuple[str, str]] = []

    # -- Outbox

    def send(self, channel: str, message: msgspec.Struct, to: str | None = None, topic: str = "") -> None:
        """See Outbox."""
        self._sends.append((channel, message, to, topic))

    def write(self, link: str, data: bytes, trigger_ns: int = 0) -> None:
        """See Outbox."""
        self._writes.append((link, data, trigger_ns))

    def record(self, entry: msgspec.Struct, *, cl_ord_id: str = "", exec_id: str = "") -> None:
        """See Outbox."""
        del cl_ord_id
        self._records.append((entry, exec_id))

    def connect(self, link: str) -> None:
        """See Outbox."""
        self.world.after(self.world.link_delay(), self._guarded(lambda: self.world.open_link(self, link)))

    def close(self, link: str, reason: str = "") -> None:
        """See Outbox."""
        self._writes.append((link, reason.encode(), -1))

    def log(self, level: str, text: str) -> None:
        """See Outbox."""
        if len(self.notices) < 10_000:
            self.notices.append((level, text))
        self.world.note("log", self.name, level, text.encode())

    # -- steps

    def _guarded(self, action: Callable[[], None]) -> Callable[[], None]:
        """Return `action` that only happens while this life of the process lasts."""
        life = self.life

        def run() -> None:
            if self.life == life and self.actor is not None:
                action()

        return run

    def step(self, handler: Callable[[Actor, Now], None]) -> None:
        """Give one input to the actor and release what it emitted."""
        actor = self.actor
        if actor is None:
            return
        now = self.world.now
        handler(actor, now)
        actor.on_drained(now)
        self._release()
        actor.on_released(now)
        self._release()
        if not self._is_idle_due:
            self._is_idle_due = True
            self.world.after(_IDLE_NS, self._guarded(self._idle))
        self._schedule()

    def _idle(self) -> None:
        self._is_idle_due = False
        actor = self.actor
        if actor is not None:
            actor.on_idle(self.world.now)
            self._release()
            self._schedule()

    def _release(self) -> None:
        records, self._records = self._records, []
        for entry, exec_id in records:
            if exec_id:
                assert exec_id not in self.exec_ids, (
                    f"{self.name}: ExecID {exec_id} is in the journal already"
                )
                self.exec_ids.add(exec_id)
            self.journal.append(entry)
        writes, self._writes = self._writes, []
        for link, data, trigger in writes:
            if trigger < 0:
                self.world.close_link(self, link, data.decode())
            else:
                self.world.write_link(self, link, data)
        sends, self._sends = self._sends, []
        for channel, message, to, topic in sends:
            self.world.send(self, CHANNELS[channel], message, to, topic)

    def _schedule(self) -> None:
        actor = self.actor
        if actor is None or actor.deadline is None:
            return
        due = max(actor.deadline, self.world.mono_ns)
        if self._wake_ns is not None and self._wake_ns <= due:
            return
        self._wake_ns = due
        self.world.at(due, self._guarded(self._wake))

    def _wake(self) -> None:
        self._wake_ns = None
        actor = self.actor
        if actor is None:
            return
        if actor.deadline is not None and actor.deadline <= self.world.mono_ns:
            self.step(lambda a, now: a.on_deadline(now))
        else:
            self._schedule()

    # -- life

    def start(self, build: Callable[["Node"], Actor]) -> None:
        """Begin a life: build, replay the committed journal, start."""
        self.life += 1
        self._wake_ns = None
        self._is_idle_due = False
        actor = build(self)
        for entry in self.journal:
            actor.replay(entry)
        self.actor = actor
        self.step(lambda a, now: a.start(now))

    def kill(self) -> None:
        """End this life at once: what was not released is lost, its links are cut."""
        self.life += 1
        self.actor = None
        self._records, self._writes, self._sends = [], [], []
        self.world.cut_links(self)


class VirtualWorld:
    """All nodes, the network between them, and virtual time.

    Args:
        config: a configuration with an embedded venue. seed: of everything random.
        strategies: slot-independent loader of strategy classes; by default the engine's own.
    """

    def __init__(self, config: Config, seed: int, strategies: dict[str, type] | None = None) -> None:
        self.config = effective(config)
        self.seed = seed
        self.rng = random.Random(f"{seed}/network")  # noqa: S311
        self.mono_ns = SECOND
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._fifo: dict[tuple[str, ...], int] = {}
        self._links: dict[tuple[str, str], tuple[Node, str]] = {}
        self._accepted = 0
        self._strategies = strategies or {}
        self._trace = hashlib.sha256()
        self._encode = msgspec.msgpack.Encoder().encode
        self.steps = 0
        self.nodes = {name: Node(self, name) for name in factory.process_names(self.config)}
        self.answers: list[tuple[str, Any]] = []

    # -- time

    @property
    def now(self) -> Now:
        """This instant."""
        return Now(START_WALL_NS + self.mono_ns, self.mono_ns)

    def at(self, mono_ns: int, action: Callable[[], None]) -> None:
        """Do something at an instant."""
        self._sequence += 1
        heapq.heappush(self._events, (mono_ns, self._sequence, action))

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Do something after a delay."""
        self.at(self.mono_ns + delay_ns, action)

    def link_delay(self) -> int:
        """Draw how long bytes are under way."""
        return self.rng.randint(*_LINK_DELAY_NS)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True when `until` came true (looked at every virtual 10 ms), or without it at the end."""
        end = self.mono_ns + int(seconds * SECOND)
        next_look = self.mono_ns
        while self._events and self._events[0][0] <= end:
            self.mono_ns, _, action = heapq.heappop(self._events)
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
        self._trace.update(f"{self.mono_ns}|{kind}|{source}|{target}|{len(data)}|".encode() + data)

    @property
    def trace_hash(self) -> str:
        """Hash of everything that happened so far."""
        return self._trace.hexdigest()

    # -- life

    def start(self) -> None:
        """Start all processes a little after one another, as a supervisor would."""
        for number, name in enumerate(self.nodes):
            self.after(1 + number * 5_000_000, lambda n=name: self.start_node(n))  # type: ignore[misc]

    def start_node(self, name: str) -> None:
        """Start (again) one process."""
        self.note("start", name, "", b"")
        self.nodes[name].start(self._build)

    def kill_node(self, name: str) -> None:
        """Kill one process at once."""
        self.note("kill", name, "", b"")
        self.nodes[name].kill()

    def _build(self, node: Node) -> Actor:
        config, name = self.config, node.name
        sessions = config.sessions

        def sign(session: SessionConfig) -> Callable[[bytes], str]:
            return lambda message: fake_signature(session.key_id, message)

        def ids(slot: int) -> ClOrdIDs:
            return ClOrdIDs(slot, self.now.wall_ns // 1_000_000, node.rng.getrandbits(30))

        match name:
            case "market_data":
                from engine.market_data.actor import MarketData

                return MarketData(config, node, sign(sessions.market_data), node.rng.random)
            case "order_entry":
                from engine.order_entry.actor import OrderEntry

                return OrderEntry(config, node, sign(sessions.order_entry), node.rng.random)
            case "drop_copy":
                from engine.drop_copy.actor import DropCopy

                return DropCopy(config, node, sign(sessions.drop_copy), node.rng.random)
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
        assert self.config.venue is not None
        return Venue(self.config, node, fake_verify, random.Random(self.config.venue.seed), keys)  # noqa: S311

    # -- channels

    def _in_order(self, key: tuple[str, ...], delay_ns: int) -> int:
        """Return when something sent now on a way that keeps its order arrives."""
        due = max(self.mono_ns + delay_ns, self._fifo.get(key, 0) + 1)
        self._fifo[key] = due
        return due

    def send(
        self, source: Node, channel: Channel, message: msgspec.Struct, to: str | None, topic: str
    ) -> None:
        """Carry one message over a channel."""
        if channel.pattern is Pattern.PUBSUB:
            for node in self.nodes.values():
                if (
                    node.role in channel.connected_by
                    and node is not source
                    and self._subscribed(channel, node, topic)
                ):
                    self._deliver(source, node, channel, message)
            return
        if channel.bound_by == source.role:
            assert to is not None, "a ROUTER needs to know to whom"
            target = self.nodes.get(to)
            if target is None and to.startswith("tool."):
                self.answers.append((to, message))
                return
        else:
            target = self.nodes.get(channel.bound_by)
            if channel.bound_by == "supervisor":
                return
        if target is None or target.actor is None:
            actor = source.actor
            if actor is not None:
                source.step(lambda a, now: a.on_peer(channel.name, to or "", PeerEvent.REFUSED, message, now))
            return
        self._deliver(source, target, channel, message)

    def _subscribed(self, channel: Channel, node: Node, topic: str) -> bool:
        topics = channel.topics.get(node.role, ("",))
        slot = ""
        if node.role == "strategy":
            slot = f"{self.config.strategies[node.name.partition('.')[2]].slot:03x}"
        return any(topic.startswith(prefix.format(slot=slot)) for prefix in topics)

    def _deliver(self, source: Node, target: Node, channel: Channel, message: msgspec.Struct) -> None:
        if target.actor is None:
            return
        due = self._in_order((channel.name, source.name, target.name), self.rng.randint(*_DELAY_NS))
        peer = source.name if channel.pattern is Pattern.ROUTED and channel.bound_by == target.role else ""
        life = target.life

        def arrive() -> None:
            if target.life != life:
                return
            self.note(channel.name, source.name, target.name, self._encode(message))
            target.step(lambda a, now: a.on_message(channel.name, peer, message, now))

        self.at(due, arrive)

    def tell(self, target: str, channel: str, message: msgspec.Struct, peer: str = "tool.test") -> None:
        """Send a tool's message to an actor; answers gather in `answers`."""
        node = self.nodes[target]
        self.after(
            self.rng.randint(*_DELAY_NS),
            lambda: node.step(lambda a, now: a.on_message(channel, peer, message, now)),
        )

    # -- links

    def open_link(self, node: Node, link: str) -> None:
        """Connect a session link to the venue's listener, or refuse."""
        session = getattr(self.config.sessions, link)
        venue = self.nodes["venue"]
        if venue.actor is None:
            node.step(lambda a, now: a.on_link(link, LinkEvent.REFUSED, "connection refused", now))
            return
        self._accepted += 1
        name = f"{session.target_comp_id}/{self._accepted}"
        self._links[node.name, link] = (venue, name)
        self._links[venue.name, name] = (node, link)
        self.note("link", node.name, name, b"")
        venue.step(lambda a, now: a.on_link(name, LinkEvent.ACCEPTED, node.name, now))
        node.step(lambda a, now: a.on_link(link, LinkEvent.CONNECTED, "", now))

    def write_link(self, node: Node, link: str, data: bytes) -> None:
        """Carry bytes to the other end, in order."""
        other = self._links.get((node.name, link))
        if other is None or not data:
            return
        target, name = other
        due = self._in_order(("link", node.name, link, name), self.link_delay())

        def arrive() -> None:
            if self._links.get((target.name, name)) != (node, link):
                return
            self.note("bytes", node.name, name, data)
            target.step(lambda a, now: a.on_bytes(name, data, now))

        self.at(due, arrive)

    def close_link(self, node: Node, link: str, reason: str) -> None:
        """Close after what was written; both ends are told."""
        other = self._links.get((node.name, link))
        if other is None:
            return
        target, name = other
        due = self._in_order(("link", node.name, link, name), self.link_delay())

        def arrive() -> None:
            if self._links.get((target.name, name)) != (node, link):
                return
            del self._links[target.name, name]
            self._links.pop((node.name, link), None)
            self.note("close", node.name, name, reason.encode())
            target.step(lambda a, now: a.on_link(name, LinkEvent.DISCONNECTED, "closed by the peer", now))
            node.step(lambda a, now: a.on_link(link, LinkEvent.DISCONNECTED, reason, now))

        self.at(due, arrive)

    def cut_links(self, node: Node) -> None:
        """Cut every link of a process that died."""
        for (name, link), (target, other) in list(self._links.items()):
            if name != node.name:
                continue
            del self._links[name, link]
            self._links.pop((target.name, other), None)
            self.after(
                self.link_delay(),
                lambda t=target, o=other: t.step(
                    lambda a, now: a.on_link(o, LinkEvent.DISCONNECTED, "reset by the peer", now)
                ),  # type: ignore[misc]
            )

    def cut_session(self, name: str, link: str) -> None:
        """Cut one session's link, as a reset in the network would; both ends notice."""
        node = self.nodes[name]
        other = self._links.pop((name, link), None)
        if other is None:
            return
        target, their_name = other
        self._links.pop((target.name, their_name), None)
        self.note("cut", name, their_name, b"")
        for end, end_link in ((node, link), (target, their_name)):
            self.after(
                self.link_delay(),
                lambda e=end, name=end_link: e.step(
                    lambda a, now: a.on_link(name, LinkEvent.DISCONNECTED, "connection reset", now)
                ),  # type: ignore[misc]
            )
