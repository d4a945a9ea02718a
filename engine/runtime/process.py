"""The process runtime: one actor, real sockets, real links, a real journal, real time.

One loop over `poll`: what holds an edge (ZeroMQ) is drained until it says Again, or noted as having more. Order of a
turn: channels and links that are ready, published channels before others, `on_drained`, the release.
What nobody waits for (idle channels, `on_idle`, the raw FIX log) comes when nothing was ready for 1 ms.
The release:

1. everything recorded is committed in one transaction;
2. bytes go to the links (the order leaves before its event is told);
3. messages go to the channels.

When the commit fails nothing of the batch leaves. Records and messages are held in order and tried again every 100 ms; a
link that the batch had written to is cut, because its sequence numbers were spent on bytes that never left. Meanwhile
the actor has been told (`on_journal_failed`) and may write only what needs no record, such as cancels and heartbeats. It
is over when the journal's reserve is back, too: a disk that is all but full takes no new orders.

A receive on the same socket as a send can swallow the socket's edge: sockets that were sent on are looked at again.
"""

import contextlib
import functools
import gc
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine import __version__
from engine.bus import security
from engine.bus.meter import rates_of
from engine.bus.sockets import Again, Bus, BusSocket
from engine.common.actor import Actor, LinkEvent, PeerEvent, Status
from engine.common.clock import SECOND, Now
from engine.config import Config
from engine.errors import EngineError, JournalError
from engine.messages import SCHEMA, control
from engine.messages.topology import Pattern, process_names
from engine.runtime import snapshots
from engine.runtime.fix_log import NOTED_WORTH, FixLog
from engine.runtime.halt_disk import HaltWatch
from engine.runtime.journal import RESERVE_BYTES, Entry, Journal
from engine.runtime.links import Links
from engine.runtime.metrics import Counters
from engine.runtime.notices import Notices
from engine.runtime.orphan import Orphan
from engine.runtime.plain_text import plain

HEARTBEAT_NS: Final = 250_000_000
IDLE_NS: Final = 10_000_000
IDLE_UNDER_LOAD_NS: Final = 5_000_000
QUIET_MS: Final = 1
HOUSEKEEPING_NS: Final = 50_000_000
JOURNAL_RETRY_NS: Final = 100_000_000
SUPERVISOR_SILENT_NS: Final = 3 * SECOND
STOP_NS: Final = 5 * SECOND
_BATCH = 64
_HELD_MAX = 100_000
EXIT_IMPOSSIBLE: Final = 70
HALTABLE: Final = ("guard", "order_entry")  # who obeys the halt file


def _bus(
    name: str, config: Config, run_dir: str, topics: dict[str, str] | None, own: security.Door | None
) -> Bus:
    # A worker binds nothing, and as another user it could not even tell where the doors are.
    doors = {} if name.startswith("strategy.") else security.doors(config, run_dir)
    bus = Bus(name, run_dir, topics, rates=rates_of(config), doors=doors, own=own)
    bus.admit(frozenset(process_names(config)))
    return bus


class ProcessRuntime:
    """Drives one actor in this process; it is the actor's Outbox.

    Args:
        name: the process's name. config: the effective configuration. run_dir: the engine's directory.
        links: what can be connected and listened to, or None for an actor without links.
        journal: the actor's journal, or None for one that owns no state.
        parent_pid: the supervisor's; its end is noticed.
        door: of a worker that runs as another Unix user.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        run_dir: str,
        *,
        config_hash: str,
        journal: Journal | None = None,
        fix_log: FixLog | None = None,
        topics: dict[str, str] | None = None,
        parent_pid: int = 0,
        door: security.Door | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.run_dir = run_dir
        self.config_hash = config_hash
        self.actor: Actor | None = None
        self.journal = journal
        self.fix_log = fix_log
        self._parent_pid = parent_pid
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self.bus = _bus(name, config, run_dir, topics, door)
        self._names = frozenset({*process_names(config), "supervisor"})
        self.links = Links(self)
        readable = [s for s in self.bus.all() if s.readable]
        # what tells is read before what asks: who decides knows all that its asker can know
        self._eager = sorted((s for s in readable if not s.idle), key=lambda s: s.pattern is Pattern.ROUTED)
        self._unhurried = [s for s in readable if s.idle]
        self._routed = [s for s in self.bus.all() if s.readable and s.pattern is Pattern.ROUTED]
        self._control = self.bus.sockets.get("control")
        self._more: set[BusSocket] = set()
        self._has_on_drained = True
        self._records: list[Entry] = []
        self._writes: list[tuple[str, bytes | None, int]] = []  # None closes the link
        self._sends: list[tuple[BusSocket, msgspec.Struct, str | None, str]] = []
        self._held_records: list[Entry] = []
        self._held_sends: list[tuple[BusSocket, msgspec.Struct, str | None, str]] = []
        self._refused: list[tuple[str, str, msgspec.Struct]] = []
        self._held = False
        self._holds_all = False
        self._retry_ns = 0
        self._commit_ns = 0
        self._notices = Notices(name)
        self.now = Now(time.time_ns(), time.monotonic_ns())
        self.welcome: control.Welcome | None = None
        self._next_beat = 0
        self._next_idle = 0
        self._last_idle = 0
        self._is_active = False
        self._next_house = 0
        self._halts = HaltWatch(run_dir, self._tell_halts, self.log) if name in HALTABLE else None
        self._supervisor_ns = 0
        self._stop_ns = 0
        self._orphan: Orphan | None = None
        self._sigterm = False
        self.counters = Counters()
        self._was_quiesced = False
        self.on_started: Callable[[], Any] | None = None
        self._snapshotter: snapshots.Snapshotter | None = None
        self.until_ns: int | None = None  # mono_ns at which it ends by itself, as by SIGTERM
        for socket in self._eager:
            self.watch_fd(socket.fd, select.POLLIN, functools.partial(self._on_readable, socket))

    # -- Outbox

    def send(self, channel: str, message: msgspec.Struct, to: str | None = None, topic: str = "") -> None:
        """See Outbox. What follows no record or write of its batch leaves at once; the rest waits for the release."""
        socket = self.bus.sockets[channel]
        if self._records or self._writes or self._sends or self._holds_all:
            self._sends.append((socket, message, to, topic))
        else:
            self._send_one(socket, message, to, topic)

    def write(self, link: str, data: bytes, trigger_ns: int = 0) -> None:
        """See Outbox."""
        self._writes.append((link, data, trigger_ns))

    def unsent(self, link: str) -> int:
        """See Outbox."""
        return self.links.unsent(link)

    def record(self, entry: msgspec.Struct, *, cl_ord_id: str = "", exec_id: str = "") -> None:
        """See Outbox."""
        assert self.journal is not None, f"{self.name} has no journal"
        self._records.append(Entry(entry, cl_ord_id, exec_id or None))

    def connect(self, link: str) -> None:
        """See Outbox."""
        self.links.connect(link)

    def close(self, link: str, reason: str = "") -> None:
        """See Outbox: what this batch wrote before goes out first."""
        self._writes.append((link, None, 0))
        self.links.closing[link] = reason

    def keep_halts(self, text: str) -> None:
        """See Outbox. At once, not at the release: whoever starts while we are busy shall see it."""
        assert self._halts is not None, f"{self.name} has no business with the halt file"
        self._halts.keep(text)

    def log(self, level: str, text: str) -> None:
        """See Outbox; the same text is not said twice within a second."""
        self._notices.say(level, text, self.now)

    # -- descriptors

    def watch_fd(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Poll a descriptor; events 0 forgets it."""
        if events:
            self._poll.register(fd, events)
            self._handlers[fd] = handler
        elif fd in self._handlers:
            self._poll.unregister(fd)
            del self._handlers[fd]

    def link_bytes(self, link: str, data: bytes) -> None:
        """Hand a link's bytes to the actor."""
        assert self.actor is not None
        if self.fix_log is not None:
            self.fix_log.noted.append((link, "<", data, self.now.wall_ns))
        self.actor.on_bytes(link, data, self.now)

    def link_event(self, link: str, event: LinkEvent, reason: str) -> None:
        """Hand a link's event to the actor."""
        assert self.actor is not None
        if self.fix_log is not None and event is not LinkEvent.CONNECTED:
            self.fix_log.forget(link)
        self.actor.on_link(link, event, reason, self.now)

    # -- turning

    def _on_readable(self, socket: BusSocket, _events: int) -> None:
        self._drain(socket)

    def _drain(self, socket: BusSocket) -> int:
        """Step the actor with what waits on one socket, up to a batch; note it when more is there."""
        actor, now, name = self.actor, self.now, socket.name
        receive, waiting, known, names = socket.receive, socket.waiting, socket.known, self._names
        taken = 0
        try:
            while taken < _BATCH:
                peer, message = receive()
                taken += 1
                if message is None:
                    if socket.discarding:
                        socket.discarding = False
                        self.counters.discarded += 1
                    else:
                        self.counters.malformed += 1
                        if actor is not None:
                            actor.on_malformed(name, peer, now)
                elif peer and (peer, type(message)) not in known and not socket.lets(peer, message, names):
                    self._turn_away(name, peer, message)
                elif socket is self._control:
                    self._on_control(message)
                elif actor is not None:
                    actor.on_message(name, peer, message, now)
                if not waiting():
                    self._more.discard(socket)
                    return taken
        except Again:
            self._more.discard(socket)
            return taken
        self._more.add(socket)
        return taken

    def _look_at_floods(self, now: Now) -> None:
        """Tell of what was thrown away undecoded."""
        for channel, flood in self.bus.refill(now.mono_ns):
            if flood.barred:
                self.counters.turned_away += flood.discarded
                text = f"{channel}: what {plain(flood.name, 80)!r} sends is dropped: it has no business there"
                self.log("alert", text)
                continue
            self.log(
                "alert",
                f"{channel}: {plain(flood.name, 80)!r} sends faster than it may: its messages are dropped",
            )
            if self.actor is not None:
                self.actor.on_flood(channel, flood.name, flood.discarded, now)

    def _turn_away(self, channel: str, peer: str, message: msgspec.Struct) -> None:
        """Drop a message from one who may not send it."""
        self.counters.turned_away += 1
        self.log(
            "alert",
            f"{channel}: {type(message).__name__} from {plain(peer, 80)!r} was dropped: it may not send that",
        )

    def turn(self) -> None:
        """Wait for something, handle it, release what it emitted."""
        ready = self._poll.poll(self._timeout_ms())
        mono = time.monotonic_ns()
        now = self.now = Now(time.time_ns(), mono)
        actor = self.actor
        due = actor is not None and actor.deadline is not None and mono >= actor.deadline
        if ready or self._more or due or self.links.deferred:
            if not self._is_active:
                self._is_active, self._last_idle = True, mono  # what nobody waits for is due after it
            self._handle(ready, now)
            if ready:
                self.counters.turns.append(time.monotonic_ns() - mono)
        elif self._is_active or mono >= self._next_idle:
            self._is_active = False
            self._idle(now)
        if self._is_active and mono - self._last_idle >= IDLE_UNDER_LOAD_NS:
            self._idle(now)
        if mono >= self._next_house:
            self._house_keeping(now)
            self._release()
            self._look_again()

    def _handle(self, ready: list[tuple[int, int]], now: Now) -> None:
        """Step the actor with everything that waits, then release."""
        handlers = self._handlers
        for fd, events in ready:
            handler = handlers.get(fd)
            if handler is not None:
                handler(events)
        if self._more:
            for socket in tuple(self._more):
                self._drain(socket)
        if self.links.deferred:
            self.links.tell_deferred()
        actor = self.actor
        if actor is None:
            return
        deadline = actor.deadline
        if deadline is not None and now.mono_ns >= deadline:
            actor.on_deadline(now)
        # What follows a message that has left delays whoever reads it, where they share a core: no call that does nothing.
        if self._has_on_drained:
            actor.on_drained(now)
        self._release()
        self._look_again()

    def _idle(self, now: Now) -> None:
        """Do what nobody waits for."""
        self._last_idle = now.mono_ns
        self._next_idle = now.mono_ns + IDLE_NS
        for socket in self._unhurried:
            if socket.waiting():
                self._drain(socket)
        actor = self.actor
        if actor is not None:
            actor.on_drained(now)
            self._release()
            actor.on_idle(now)
            self._release()
        if self.fix_log is not None and len(self.fix_log.noted) >= NOTED_WORTH:
            self.fix_log.add_noted()
        if self.journal is not None:
            self.journal.begin()

    def _timeout_ms(self) -> int:
        if self._more or self.links.deferred:
            return 0
        if self._is_active:
            return QUIET_MS
        until = self._next_house
        if self._unhurried and self._next_idle < until:
            until = self._next_idle
        actor = self.actor
        if actor is not None and actor.deadline is not None and actor.deadline < until:
            until = actor.deadline
        return max(0, (until - time.monotonic_ns() + 999_999) // 1_000_000)

    def _look_again(self) -> None:
        """Drain sockets that were sent on: the send may have taken their edge."""
        for _ in range(_BATCH):
            found = 0
            for socket in self._routed:
                if socket.sent:
                    socket.sent = False
                    if socket.waiting():
                        found += self._drain(socket)
            if not found:
                return
            if self.actor is not None:
                self.actor.on_drained(self.now)
            self._release()

    # -- releasing

    def _release(self) -> None:
        """Release until nothing is left: a write that fails tells the actor, which may emit again."""
        for _ in range(_BATCH):
            if not (self._records or self._writes or self._sends or self._refused):
                break
            self._release_once()

    def _release_once(self) -> None:
        if self._records and not self._commit():
            return
        if self._writes:
            self._write_links()
        if self._commit_ns:
            self.counters.commit.add(self._commit_ns)
            self._commit_ns = 0
        if self._sends:
            sends, self._sends = self._sends, []
            if self._holds_all:
                self._held_sends += sends
            else:
                for socket, message, to, topic in sends:
                    self._send_one(socket, message, to, topic)
        if self._refused:
            refused, self._refused = self._refused, []
            for channel, peer, message in refused:
                if self.actor is not None:
                    self.actor.on_peer(channel, peer, PeerEvent.REFUSED, message, self.now)

    def _send_one(self, socket: BusSocket, message: msgspec.Struct, to: str | None, topic: str) -> None:
        if socket.pattern is Pattern.PUBSUB:
            socket.publish(topic, message)
        elif not socket.send(message, to):
            self.counters.refused_sends += 1
            self._refused.append((socket.name, to or "", message))

    def _commit(self) -> bool:
        journal = self.journal
        assert journal is not None
        if self._held:
            self._held_records += self._records
            self._records = []
            self._held_sends += self._sends
            self._sends = []
            if len(self._held_records) > _HELD_MAX:
                raise JournalError(f"{journal.path}: {_HELD_MAX} records wait for a disk; stopping")
            return True  # writes may leave: the actor knows that only what needs no record may be written now
        begin = time.perf_counter_ns()
        try:
            journal.append(self._records, self.now.wall_ns)
        except JournalError as error:
            self._journal_failed(error)
            return False
        self._records.clear()
        self._commit_ns = time.perf_counter_ns() - begin
        return True

    def _journal_failed(self, error: JournalError) -> None:
        journal, actor = self.journal, self.actor
        assert journal is not None
        assert actor is not None
        self._hold()
        self._held_sends, self._sends = self._sends, []
        self._held_records, self._records = self._records, []
        if journal.free_reserve():
            with contextlib.suppress(JournalError):
                journal.append(self._held_records, self.now.wall_ns)
                self._held_records = []
        if self._held_records:
            writes, self._writes = self._writes, []
            for link in sorted({link for link, _, _ in writes}):
                self.links.abort(link, "the journal can't be written")
            self.log("alert", f"{error}: what happens is held in memory until it can be written")
        else:
            self.log("alert", f"{error}: the reserve was freed, what happens is recorded in its space")
        actor.on_journal_failed(str(error), self.now)

    def _require_reserve(self) -> None:
        """Let no new order leave on a disk that is all but full already."""
        if self.journal is None or self.actor is None or self.journal.has_reserve:
            return
        reason = f"{self.journal.path}: there is no space for its reserve of {RESERVE_BYTES >> 20} MB"
        self._hold()
        self.log("alert", f"{reason}: no new orders until there is")
        self.actor.on_journal_failed(reason, self.now)

    def _hold(self) -> None:
        self._held = True
        self._retry_ns = self.now.mono_ns + JOURNAL_RETRY_NS
        self._holds_all = self.actor is not None and self.actor.tells_only_committed

    def _retry_journal(self) -> None:
        assert self.journal is not None
        assert self.actor is not None
        self._retry_ns = self.now.mono_ns + JOURNAL_RETRY_NS
        was_healthy = self.journal.healthy
        try:
            if self._held_records:
                self.journal.append(self._held_records, self.now.wall_ns)
                self._held_records = []
            else:
                self.journal.probe()
        except JournalError as error:
            if was_healthy:
                self.log("alert", f"{error}: what happens is held in memory until it can be written")
        if self._held_records:
            return
        sends, self._held_sends = self._held_sends, []  # all that they tell is recorded
        for socket, message, to, topic in sends:
            self._send_one(socket, message, to, topic)
        if not (self.journal.healthy and self.journal.make_reserve()):
            return
        self._held = self._holds_all = False
        self.log("alert", f"{self.journal.path}: can be written again; what was held is recorded")
        self.actor.on_journal_ok(self.now)

    def _write_links(self) -> None:
        writes, self._writes = self._writes, []
        links = self.links
        for link, data, trigger_ns in writes:
            if data is None:
                links.close(link, links.closing.pop(link, ""))
                continue
            links.write(link, data)
            if trigger_ns > 0:
                self.counters.tick_to_trade.add(time.monotonic_ns() - trigger_ns)
            if self.fix_log is not None:
                self.fix_log.noted.append((link, ">", data, self.now.wall_ns))

    # -- the supervisor

    def _on_control(self, message: Any) -> None:
        self._supervisor_ns = self.now.mono_ns
        match message:
            case control.Welcome():
                self.welcome = message
            case control.Quiesce(why=why):
                self._quiesce(why)
            case control.Stop(why=why):
                self._stop(why)
            case _:
                pass

    def _quiesce(self, why: str) -> None:
        if self.actor is not None and not self._was_quiesced:
            self._was_quiesced = True
            self.log("info", f"quiescing: {why}")
            self.actor.quiesce(self.now)

    def _stop(self, why: str) -> None:
        if self.actor is not None and not self._stop_ns:
            self._stop_ns = self.now.mono_ns + STOP_NS
            self.log("info", f"stopping: {why}")
            self.actor.stop(self.now)

    def _house_keeping(self, now: Now) -> None:
        late_ns = now.mono_ns - self._next_house
        if late_ns > SECOND:
            # We stood still, and who knows who with us: no silence of the supervisor's, who may have been heard since.
            self._supervisor_ns = min(now.mono_ns, self._supervisor_ns + late_ns)
        self._next_house = now.mono_ns + HOUSEKEEPING_NS
        self._look_at_floods(now)
        if self._held and now.mono_ns >= self._retry_ns:
            self._retry_journal()
        if self.actor is None:
            return
        if self._halts is not None:
            self._halts.look()
        if now.mono_ns >= self._next_beat:
            self._next_beat = now.mono_ns + HEARTBEAT_NS
            self._beat(now)
            if self.journal is not None:
                self.journal.idle()
            if self._snapshotter is not None:
                news = self._snapshotter.look()
                if news is not None:
                    self.log(*news)
            if self.fix_log is not None:
                self.fix_log.flush()
        if self.until_ns is not None and now.mono_ns >= self.until_ns:
            self._sigterm = True
        if self._sigterm:
            self._quiesce("SIGTERM")
            if self.actor.quiesced:
                self._stop("SIGTERM")
        self._watch_supervisor(now)

    def _tell_halts(self, text: str | None) -> None:
        if self.actor is not None:
            self.actor.on_halt_file(text, self.now)

    def _watch_supervisor(self, now: Now) -> None:
        if not self._parent_pid or self._stop_ns:
            return
        lost = os.getppid() != self._parent_pid or now.mono_ns - self._supervisor_ns > SUPERVISOR_SILENT_NS
        if not lost:
            return
        assert self.actor is not None
        if not self._was_quiesced:
            self.log("alert", "the supervisor is gone: shutting down in safe order")
        self._quiesce("the supervisor is gone")
        if self._orphan is None:
            self._orphan = Orphan(self.name, self.config.engine.shutdown_s, now.mono_ns)
        if self._orphan.may_end(now.mono_ns, quiesced=self.actor.quiesced, is_used=self.links.any_open):
            self._stop("the supervisor is gone")

    def _beat(self, now: Now) -> None:
        assert self.actor is not None
        status = self.actor.status(now)
        metrics = {**status.metrics, **self.counters.metrics()}
        if self.fix_log is not None and self.fix_log.lost_bytes:
            metrics["fix_log_lost_bytes"] = self.fix_log.lost_bytes
        status = Status(state=status.state, detail=status.detail, sessions=status.sessions, metrics=metrics)
        if self._control is None:
            return
        for notice in self._notices.take():
            self._control.send(notice, None)
        self._control.send(
            control.Heartbeat(
                name=self.name,
                pid=os.getpid(),
                mono_ns=now.mono_ns,
                status=status,
                quiesced=self.actor.quiesced,
                stopped=self.actor.stopped,
            ),
            None,
        )

    # -- life

    def report_for_duty(self) -> None:
        """Say hello until the supervisor answers. Raises EngineError when it refuses or never answers."""
        assert self._control is not None
        hello = control.Hello(
            name=self.name, pid=os.getpid(), schema=SCHEMA, version=__version__, config_hash=self.config_hash
        )
        deadline = time.monotonic_ns() + 10 * SECOND
        next_hello = 0
        while self.welcome is None:
            mono = time.monotonic_ns()
            if mono > deadline or (self._parent_pid and os.getppid() != self._parent_pid):
                raise EngineError(f"{self.name}: no supervisor answers on {self.run_dir}")
            if mono >= next_hello:
                next_hello = mono + 50_000_000
                self._control.send(hello, None)
            self._next_house = mono + 5_000_000
            ready = self._poll.poll(5)
            self.now = Now(time.time_ns(), time.monotonic_ns())
            del ready
            self._drain(self._control)
        if not self.welcome.ok:
            raise EngineError(f"{self.name}: the supervisor refused this process: {self.welcome.text}")

    def run(self, actor: Actor, entry_types: Any = None) -> int:
        """Replay the journal, start the actor, turn until it is stopped; return the exit code."""
        if self.journal is not None and entry_types is not None:
            why_not = snapshots.replay(self.journal, actor, entry_types)
            if why_not:
                self.log("info", f"the snapshot of the journal was not used: {why_not}")
            if actor.takes_snapshots:
                at, last = self.journal.snapshot_no, self.journal.no
                self.log("info", f"journal: state of row {at} by its snapshot, {last - at} rows replayed")
                rows = self.config.engine.snapshot_rows
                self._snapshotter = snapshots.Snapshotter(self.journal, self.name, self.run_dir, rows)
        self.actor = actor
        self._has_on_drained = type(actor).on_drained is not Actor.on_drained
        if (journal := self.journal) is not None:
            actor.committed = lambda: (journal.no, journal.head)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        # below a supervisor a terminal's Ctrl-C is the supervisor's business
        signal.signal(signal.SIGINT, signal.SIG_IGN if self._parent_pid else self._on_sigterm)
        self.now = Now(time.time_ns(), time.monotonic_ns())
        self._supervisor_ns = self._next_house = self.now.mono_ns
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        actor.start(self.now)
        if self._halts is not None:
            self._halts.begin()
        self._require_reserve()
        self._release()
        if self.on_started is not None:
            self.on_started()
        for socket in (*self._eager, *self._unhurried):
            self._more.add(socket)  # an edge from before the loop would never come again
        try:
            while not actor.stopped:
                self.turn()
                if self._stop_ns and self.now.mono_ns > self._stop_ns:
                    self.log("warning", "did not stop in time; ending anyway")
                    break
        except Exception as error:  # noqa: BLE001 - an impossible state: say it, keep nothing uncommitted, end
            traceback.print_exc()
            self.log("alert", f"stopped by an impossible state: {type(error).__name__}: {error}"[:500])
            if self.fix_log is not None:
                self.fix_log.flush()  # what led to it
            self._say_last_words()
            return EXIT_IMPOSSIBLE
        self._release()
        self._beat(self.now)
        self._end()
        return 0

    def _say_last_words(self) -> None:
        if self._control is not None:
            for notice in self._notices.take():
                self._control.send(notice, None)
        self.bus.close()

    def _end(self) -> None:
        self.links.close_all()
        if self.fix_log is not None:
            self.fix_log.flush()
        if self._snapshotter is not None:
            self._snapshotter.end()
        if self.journal is not None:
            self.journal.close()
        self.bus.close()

    def _on_sigterm(self, _signal: int, _frame: object) -> None:
        self._sigterm = True
