"""One process of the virtual runtime: an actor, its committed journal, what waits for it, its life and its death.

It holds the contract of `engine.common.actor`: inputs, then `on_drained`, then records are committed, then bytes and
messages leave. A process may be killed between two steps or amid the release of one (`doom`), stopped (`freeze`), slow
(`busy_ns`), and its disk may be full (`disk_full`): then it does what the process runtime does.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from engine.common.actor import Actor
from engine.common.clock import MS, SECOND, Now
from engine.messages.topology import CHANNELS, role_of

if TYPE_CHECKING:
    from engine.runtime.virtual import VirtualWorld

START_WALL_NS: Final = 1_790_000_000 * SECOND
_JOIN_NS: Final = (200_000, 20_000_000)
_IDLE_NS: Final = 1_000_000
_RETRY_NS: Final = 100 * MS
_NOTICES_MAX: Final = 10_000
_LAST: Final = "~deadline"
HALTABLE: Final = ("guard", "order_entry")

Handler = Callable[[Actor, Now], None]


class Watcher:
    """Sees everything that happens in a world; only what a subclass overrides is called."""

    def recorded(self, node: "Node", entry: Any) -> None:
        """An entry was committed to a process's journal; what belongs to it has not left yet."""

    def wrote(self, node: "Node", link: str, data: bytes) -> None:
        """Bytes leave a process."""

    def emitted(self, node: "Node", channel: str, message: Any) -> None:
        """An actor sends a message, amid its step; it leaves after the commit, or later, or never."""

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


HOOKS: Final = ("recorded", "wrote", "emitted", "sent", "delivered", "stepped", "started", "died")


class Node:
    """One actor and what stands for its process; it is the actor's Outbox.

    Attributes:
        journal: committed entries. life: counts starts and ends. joins: from when on each of its channels works.
        queued: how many messages wait, by channel and sender. lost_from: by an ended life and a channel, from when on what it had sent did not leave any more.
        frozen: stopped by a signal; busy_ns: how long a step keeps it from the next one.
        doom: how many more releases of something (a commit, a write, a send) it lives, and what to do after its death.
        disk_full: no commit succeeds; has_reserve: but for the first one, which frees a reserve.
        held: the journal failed, and what was recorded since waits in memory until it takes it.
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
        self.joins: dict[str, int] = {}
        self.queued: dict[tuple[str, str], int] = {}
        self.lost_from: dict[tuple[int, str], int] = {}
        self.disk_full = False
        self.has_reserve = True
        self.held = False
        self._held_records: list[tuple[msgspec.Struct, str]] = []
        self._held_sends: list[tuple[str, msgspec.Struct, str | None, str]] = []
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

    @property
    def now(self) -> Now:
        """This instant by this process's clocks: those of the engine's processes are one host's, the venue's is another's."""
        mono_ns = self.world.mono_ns
        skew_ns = 0 if self.name == "venue" else self.world.wall_skew_ns
        return Now(START_WALL_NS + mono_ns + skew_ns, mono_ns)

    # -- Outbox

    def send(self, channel: str, message: msgspec.Struct, to: str | None = None, topic: str = "") -> None:
        """See Outbox."""
        for hook in self.world.hooks["emitted"]:
            hook(self, channel, message)
        self._sends.append((channel, message, to, topic))

    def write(self, link: str, data: bytes, trigger_ns: int = 0) -> None:
        """See Outbox."""
        del trigger_ns
        self._writes.append((link, data, ""))

    def unsent(self, link: str) -> int:
        """See Outbox."""
        del link
        return 0

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
            if len(batch) > 1:
                self.world.strike("batch")
            rank = {source: self.world.rng.random() for source, _ in batch}
            rank[_LAST] = 2.0
            batch.sort(key=lambda item: rank[item[0]])  # stable: each source keeps its order
            self._run(batch)

    def _run(self, batch: list[tuple[str, Handler]]) -> None:
        actor, world = self.actor, self.world
        assert actor is not None, "only a living process is stepped"
        now = self.now
        for _, handler in batch:
            handler(actor, now)
        actor.on_drained(now)
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
            actor.on_idle(self.now)
            if self._release():
                self._schedule()

    def _release(self) -> bool:
        """Commit, write, send, until nothing is left; False when the process died of it."""
        while self._records or self._writes or self._sends:
            if self._records:
                if self._dies():
                    return False
                if not self._commit():
                    continue  # the actor was told, and may have emitted
            if not (self._write_all() and self._send_all()):
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
        """Journal what was recorded; False when that failed and nothing of the batch may leave."""
        records, self._records = self._records, []
        if self.held:
            self._held_records += records
            self._held_sends += self._sends
            self._sends = []
        elif self.disk_full:
            self._journal_failed(records)
            return False
        else:
            self._append(records)
        return True

    def _append(self, records: list[tuple[msgspec.Struct, str]]) -> None:
        hooks = self.world.hooks["recorded"]
        for entry, exec_id in records:
            for hook in hooks:
                hook(self, entry)
            if exec_id:
                assert exec_id not in self.exec_ids, f"{self.name}: ExecID {exec_id} is journalled already"
                self.exec_ids.add(exec_id)
            self.journal.append(entry)

    def _journal_failed(self, records: list[tuple[msgspec.Struct, str]]) -> None:
        """Hold the batch and cut the links that it had written to; or, once, free the reserve and record it still."""
        assert self.actor is not None, "only a living process commits"
        world = self.world
        world.note("disk", self.name, "full", b"")
        world.strike("disk.reserve" if self.has_reserve else "disk")
        self.held = True
        self._held_sends, self._sends = self._sends, []
        if self.has_reserve:
            self.has_reserve = False
            self._append(records)
            retry_ns = SECOND
        else:
            self._held_records = records
            cut = sorted({link for link, _, _ in self._writes})
            self._writes = []
            for link in cut:
                world.wires.cut(self.name, link)
            retry_ns = _RETRY_NS
        self.actor.on_journal_failed("no space left on device", self.now)
        world.after(retry_ns, self._guarded(self._retry_journal))

    def _retry_journal(self) -> None:
        if self.disk_full or self.frozen:
            self.world.after(_RETRY_NS, self._guarded(self._retry_journal))
            return
        assert self.actor is not None, "only a living process tries again"
        self.held = False
        self.has_reserve = True
        records, self._held_records = self._held_records, []
        self._append(records)
        self._sends, self._held_sends = self._held_sends + self._sends, []
        self.actor.on_journal_ok(self.now)
        if self._release():
            self._schedule()

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
        if self.held and self.actor is not None and self.actor.tells_only_committed:
            self._held_sends += sends
            return True
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
        for channel in CHANNELS.values():
            if self.role in (channel.bound_by, *channel.connected_by):
                self.joins[channel.name] = world.mono_ns + world.rng.randint(*_JOIN_NS)
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
        world = self.world
        if world.rng.random() < 0.5:
            for channel in self.joins:
                lost_ns = world.rng.randint(0, world.bus_delay_ns[1])
                self.lost_from[self.life, channel] = world.mono_ns - lost_ns
        for hook in self.world.hooks["died"]:
            hook(self)
        self.life += 1
        self.actor = None
        self._forget()
        self.world.wires.died(self)

    def _forget(self) -> None:
        self._records, self._writes, self._sends = [], [], []
        self._held_records, self._held_sends = [], []
        self._backlog = []
        self.queued = {}
        self.held = False
        self.has_reserve = True
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
            self.world.strike("freeze.backlog" if self._backlog else "freeze")
            self._flush()
            if self.actor is not None:
                self._wake_ns = None
                self._schedule()


def _on_deadline(actor: Actor, now: Now) -> None:
    if actor.deadline is not None and actor.deadline <= now.mono_ns:
        actor.on_deadline(now)
