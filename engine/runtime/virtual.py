"""The virtual runtime: every actor in one process on virtual time, with a seeded network between them.

The same actor classes as in the process runtime, driven under the same contract (`engine.common.actor`): inputs, then
`on_drained`, then records are committed, then bytes and messages leave. The network behaves as the real transports do:

* a channel between two peers keeps its order and promises none across channels;
* a PUB drops what a subscriber can't take (`drop_percent`) and what it published before the subscriber had joined;
* a DEALER or ROUTER whose peer isn't there or has not joined yet refuses at once;
* what is in flight to a process that dies is lost; what is in flight from it arrives or is lost, by the dice;
* links are `virtual_wires`.

A process may be killed between two steps or amid the release of one (`doom`): what was committed is kept, the rest is
lost. It may be stopped (`freeze`) or slow (`busy_ns`): then inputs wait, and are stepped as one batch, in an order that
keeps each channel's own. Every delivery goes into a hash, so that two runs of one seed can be compared.

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
from engine.messages.topology import CHANNELS, Channel, Pattern, process_names, role_of
from engine.runtime.virtual_wires import Wires

START_WALL_NS: Final = 1_790_000_000 * SECOND
BUS_DELAY_NS: Final = (15_000, 60_000)
LINK_DELAY_NS: Final = (50_000, 400_000)
_JOIN_NS: Final = (200_000, 20_000_000)
_IDLE_NS: Final = 1_000_000
_NOTICES_MAX: Final = 10_000
_ACCOUNT = "main"
_PURPOSES = ("order_entry", "market_data", "drop_copy", "listener")
_LAST: Final = "~deadline"
HALTABLE: Final = ("guard", "order_entry")
HALT_FILE_NS: Final = 50_000_000

Handler = Callable[[Actor, Now], None]


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


class Watcher:
    """Sees everything that happens in a world; only what a subclass overrides is called."""

    def recorded(self, node: "Node", entry: Any) -> None:
        """An entry was committed to a process's journal; what belongs to it has not left yet."""

    def wrote(self, node: "Node", link: str, data: bytes) -> None:
        """Bytes leave a process."""

    def sent(self, node: "Node", channel: str, message: Any, to: str | None, topic: str) -> None:
        """A message leaves a process."""

    def delivered(self, source: "Node", target: "Node", channel: str, message: Any) -> None:
        """A message is about to be handled by a process."""

    def stepped(self, node: "Node") -> None:
        """A step is over and released."""

    def started(self, node: "Node") -> None:
        """A process has begun a life: its journal is replayed, its `start` was not called yet."""

    def died(self, node: "Node") -> None:
        """A process was killed; its actor is still there to be looked at."""


_HOOKS: Final = ("recorded", "wrote", "sent", "delivered", "stepped", "started", "died")


class Node:
    """One actor and what stands for its process; it is the actor's Outbox.

    Attributes:
        journal: committed entries. life: counts starts and ends. join_ns: from when on its channels work.
        frozen: stopped by a signal; busy_ns: how long a step keeps it from the next one.
        doom: how many more releases of something (a commit, a write, a send) it lives, and what to do after its death.
        notices: what it said to the operator.
    """

    def __init__(self, world: "VirtualWorld", name: str) -> None:
        self.world = world
        self.name = name
        self.role = role_of(name)
        self.slot = -1
        self.actor: Actor | None = None
        self.journal: list[msgspec.Struct] = []
        self.exec_ids: set[str] = set()
        self.life = 0
        self.join_ns = 0
        self.lost_lives: set[int] = set()
        self.frozen = False
        self.busy_ns = 0
        self.doom: tuple[int, Callable[[], None]] | None = None
        self.rng = random.Random(f"{world.seed}/{name}")  # noqa: S311 - a repeatable run is the point
        self.notices: list[tuple[str, str]] = []
        self._backlog: list[tuple[str, Handler]] = []
        self._busy_until = 0
        self._is_flush_due = False
        self._records: list[tuple[msgspec.Struct, str]] = []
        self._writes: list[tuple[str, bytes | None, str]] = []  # None closes the link
        self._sends: list[tuple[str, msgspec.Struct, str | None, str]] = []
        self._wake_ns: int | None = None
        self._is_idle_due = False

    # -- Outbox

    def send(self, channel: str, message: msgspec.Struct, to: str | None = None, topic: str = "") -> None:
        """See Outbox."""
        self._sends.append((channel, message, to, topic))

    def write(self, link: str, data: bytes, trigger_ns: int = 0) -> None:
        """See Outbox."""
        del trigger_ns
        self._writes.append((link, data, ""))

    def record(self, entry: msgspec.Struct, *, cl_ord_id: str = "", exec_id: str = "") -> None:
        """See Outbox."""
        del cl_ord_id
        self._records.append((entry, exec_id))

    def connect(self, link: str) -> None:
        """See Outbox."""
        world = self.world
        world.after(world.wires.delay(), self._guarded(lambda: world.wires.open(self, link)))

    def close(self, link: str, reason: str = "") -> None:
        """See Outbox."""
        self._writes.append((link, None, reason))

    def keep_halts(self, text: str) -> None:
        """See Outbox."""
        if (text or None) != self.world.halt_text:
            self.world.write_halts(text or None, self.name)

    def log(self, level: str, text: str) -> None:
        """See Outbox."""
        if len(self.notices) < _NOTICES_MAX:
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

    def step(self, source: str, handler: Handler) -> None:
        """Give one input to the actor and release what it emitted; an actor that is stopped or busy gets it later."""
        if self.actor is None:
            return
        if self.frozen or self.world.mono_ns < self._busy_until:
            self._backlog.append((source, handler))
            if not self.frozen:
                self._flush_later()
            return
        self._run([(source, handler)])

    def _flush_later(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self.world.at(self._busy_until, self._guarded(self._flush))

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._backlog and not self.frozen:
            batch, self._backlog = self._backlog, []
            rank = {source: self.world.rng.random() for source, _ in batch}
            rank[_LAST] = 2.0
            batch.sort(key=lambda item: rank[item[0]])  # stable: each source keeps its order
            self._run(batch)

    def _run(self, batch: list[tuple[str, Handler]]) -> None:
        actor, world = self.actor, self.world
        assert actor is not None, "only a living process is stepped"
        now = world.now
        for _, handler in batch:
            handler(actor, now)
        actor.on_drained(now)
        if not self._release():
            return
        actor.on_released(now)
        if not self._release():
            return
        if self.busy_ns:
            self._busy_until = world.mono_ns + self.busy_ns
        if not self._is_idle_due:
            self._is_idle_due = True
            world.after(_IDLE_NS, self._guarded(self._idle))
        self._schedule()
        for hook in world.hooks["stepped"]:
            hook(self)

    def _idle(self) -> None:
        self._is_idle_due = False
        actor = self.actor
        if actor is not None and not self.frozen:
            actor.on_idle(self.world.now)
            if self._release():
                self._schedule()

    def _release(self) -> bool:
        """Commit, write, send, until nothing is left; False when the process died of it."""
        while self._records or self._writes or self._sends:
            if not (self._commit() and self._write_all() and self._send_all()):
                return False
        return True

    def _dies(self) -> bool:
        # Counts down to a death that was ordered.
        if self.doom is None:
            return False
        left, after = self.doom
        if left > 0:
            self.doom = (left - 1, after)
            return False
        self.doom = None
        self.world.kill_node(self.name)
        after()
        return True

    def _commit(self) -> bool:
        if not self._records:
            return True
        if self._dies():
            return False
        records, self._records = self._records, []
        hooks = self.world.hooks["recorded"]
        for entry, exec_id in records:
            for hook in hooks:
                hook(self, entry)
            if exec_id:
                assert exec_id not in self.exec_ids, f"{self.name}: ExecID {exec_id} is journalled already"
                self.exec_ids.add(exec_id)
            self.journal.append(entry)
        return True

    def _write_all(self) -> bool:
        writes, self._writes = self._writes, []
        wires, hooks = self.world.wires, self.world.hooks["wrote"]
        for link, data, reason in writes:
            if self.doom is not None and self._dies():
                return False
            if data is None:
                wires.close(self, link, reason)
                continue
            for hook in hooks:
                hook(self, link, data)
            wires.write(self, link, data)
        return True

    def _send_all(self) -> bool:
        sends, self._sends = self._sends, []
        world = self.world
        hooks = world.hooks["sent"]
        for channel, message, to, topic in sends:
            if self.doom is not None and self._dies():
                return False
            for hook in hooks:
                hook(self, channel, message, to, topic)
            world.send(self, CHANNELS[channel], message, to, topic)
        return True

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
            self.step(_LAST, _on_deadline)
        else:
            self._schedule()

    @property
    def unreleased(self) -> bool:
        """Something that the actor emitted is not released: it is amid a step."""
        return bool(self._records or self._writes or self._sends)

    # -- life

    def start(self, build: Callable[["Node"], Actor]) -> None:
        """Begin a life: build, replay the committed journal, start."""
        assert self.actor is None, f"{self.name} runs already"
        world = self.world
        self.life += 1
        self.join_ns = world.mono_ns + world.rng.randint(*_JOIN_NS)
        self._forget()
        actor = build(self)
        for entry in self.journal:
            actor.replay(entry)
        self.actor = actor
        for hook in world.hooks["started"]:
            hook(self)
        begin: list[tuple[str, Handler]] = [("", lambda a, now: a.start(now))]
        if self.name in HALTABLE:
            begin.append(("", lambda a, now: a.on_halt_file(world.halt_text, now)))
        self._run(begin)

    def kill(self) -> None:
        """End this life at once: what was not released is lost, its links break."""
        if self.actor is None:
            return
        if self.world.rng.random() < 0.5:
            self.lost_lives.add(self.life)
        for hook in self.world.hooks["died"]:
            hook(self)
        self.life += 1
        self.actor = None
        self._forget()
        self.world.wires.died(self)

    def _forget(self) -> None:
        self._records, self._writes, self._sends = [], [], []
        self._backlog = []
        self._wake_ns = None
        self._is_idle_due = self._is_flush_due = self.frozen = False
        self._busy_until = 0
        self.doom = None

    def freeze(self) -> None:
        """Stop, as SIGSTOP does: inputs wait."""
        self.frozen = self.actor is not None

    def thaw(self) -> None:
        """Go on with what waited."""
        if self.frozen:
            self.frozen = False
            self._flush()
            if self.actor is not None:
                self._wake_ns = None
                self._schedule()


def _on_deadline(actor: Actor, now: Now) -> None:
    if actor.deadline is not None and actor.deadline <= now.mono_ns:
        actor.on_deadline(now)


class VirtualWorld:
    """All nodes, the network between them, and virtual time.

    Args:
        config: a configuration with an embedded venue. seed: of everything random.
        strategies: strategy classes by name; by default those of the configuration are loaded.

    Attributes:
        bus_delay_ns, link_delay_ns: bounds between which delays are drawn.
        drop_percent: channel (PUB/SUB) to the share of messages that each subscriber loses.
        halt_text: what the halt file says, None without one. answers: what tools were answered. trace: called with each happening, for a readable trace.
    """

    def __init__(self, config: Config, seed: int, strategies: dict[str, type] | None = None) -> None:
        self.config = effective(config)
        self.seed = seed
        self.rng = random.Random(f"{seed}/network")  # noqa: S311
        self.mono_ns = SECOND
        self.bus_delay_ns = BUS_DELAY_NS
        self.link_delay_ns = LINK_DELAY_NS
        self.drop_percent: dict[str, int] = {}
        self.hooks: dict[str, list[Callable[..., None]]] = {name: [] for name in _HOOKS}
        self.trace: Callable[[str, str, str, bytes], None] | None = None
        self.steps = 0
        self.answers: list[tuple[str, Any]] = []
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
        for name in _HOOKS:
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
        """This instant."""
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
        if target is None or target.actor is None or max(target.join_ns, source.join_ns) > self.mono_ns:
            if source.actor is not None:
                source.actor.on_peer(channel.name, to or "", PeerEvent.REFUSED, message, self.now)
            return
        self._deliver(source, target, channel, message, self._encode(message))

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
        now = self.mono_ns
        for node in subscribers:
            if node.actor is None or node.join_ns > now or source.join_ns > now:
                continue
            if drop and self.rng.randrange(100) < drop:
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
        life, source_life = target.life, source.life

        def handle(actor: Actor, now: Now) -> None:
            for hook in self.hooks["delivered"]:
                hook(source, target, name, message)
            actor.on_message(name, peer, message, now)

        def arrive() -> None:
            if target.life != life or source_life in source.lost_lives:
                return
            self.note(name, source.name, target.name, data)
            target.step(name, handle)

        self.at(due, arrive)

    def tell(self, target: str, channel: str, message: msgspec.Struct, peer: str = "tool.test") -> None:
        """Send a tool's message to an actor; answers gather in `answers`."""
        node = self.nodes[target]
        self.note(channel, peer, target, self._encode(message))
        self.after(
            self.rng.randint(*self.bus_delay_ns),
            lambda: node.step(peer, lambda a, now: a.on_message(channel, peer, message, now)),
        )


def _subscribed(channel: Channel, node: Node, topic: str) -> bool:
    slot = f"{node.slot:03x}" if node.role == "strategy" else ""
    return any(topic.startswith(prefix.format(slot=slot)) for prefix in channel.topics.get(node.role, ("",)))
