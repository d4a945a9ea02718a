"""The supervisor: starts the processes, watches them, restarts what dies, and ends everything in safe order.

Safe order: strategies stop wanting, the guard closes the gate, order entry cancels (or leaves) what rests and waits for
the venue's word, drop copy makes its last sweep; then sessions are logged out, and the embedded venue goes last. A
second signal forces the end. The supervisor displays the gate; the guard owns it.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from enum import StrEnum
from typing import Any, BinaryIO, Final, Protocol

import msgspec

from engine import __version__
from engine.bus import security
from engine.bus.sockets import Again, Bus, BusSocket, draw_seal, make_bus_directory
from engine.common.clock import SECOND
from engine.config import Config
from engine.errors import EXIT_CONFIG, EXIT_FORCED, EXIT_JOURNAL, EXIT_LATER, EXIT_OK
from engine.messages import SCHEMA, control
from engine.messages.decisions import GuardStatus, LatchNote
from engine.messages.market_data import TopOfBook
from engine.messages.reconciliation import BreakNote, ReconciliationStatus
from engine.messages.topology import may_send, process_names
from engine.runtime import secrets_free
from engine.runtime.alerts import Alerts
from engine.runtime.conditions import Conditions, Known
from engine.runtime.environment import child_environment
from engine.runtime.nursery import Forked, Nursery
from engine.runtime.plain_text import plain, plain_status
from engine.runtime.run_dir import RunDirLock
from engine.runtime.samples import Sampler

BEAT_NS: Final = 250_000_000
SILENT_NS: Final = 1 * SECOND
TELL_NS: Final = 300_000_000
START_NS: Final = 15 * SECOND
NURSERY_NS: Final = 3 * SECOND
HEALTHY_NS: Final = 30 * SECOND
BACKOFF_NS: Final = tuple(int(s * SECOND) for s in (0.05, 0.25, 0.5, 1, 2, 5, 10))
_NOTICES_MAX = 200
_LOG_TAIL_BYTES = 4000


class View(Protocol):
    """What shows the engine to a human."""

    def update(self, supervisor: "Supervisor") -> None:
        """Called about four times a second."""

    def say(self, level: str, name: str, text: str) -> None:
        """One line from a process or the supervisor."""


class Phase(StrEnum):
    """Where the engine's life is."""

    RUNNING = "running"
    QUIESCE_STRATEGIES = "quiesce strategies"
    QUIESCE_GUARD = "quiesce guard"
    QUIESCE_ORDERS = "quiesce order entry"
    QUIESCE_DROP_COPY = "quiesce drop copy"
    STOP_SESSIONS = "stop sessions"
    STOP_GUARD = "stop guard"
    STOP_VENUE = "stop venue"
    DONE = "done"


# Processes without which an end leaves something behind, and the phase up to which they are started again for it.
_NEEDED_UNTIL: Final = {
    "guard": Phase.QUIESCE_GUARD,
    "order_entry": Phase.QUIESCE_ORDERS,
    "drop_copy": Phase.QUIESCE_DROP_COPY,
    "venue": Phase.QUIESCE_DROP_COPY,
}
_PHASES: Final = tuple(Phase)


class Child:
    """One process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.state = "waiting"
        self.restarts = 0
        self.failures = 0
        self.started_ns = 0
        self.next_start_ns = 0
        self.last_beat_ns = 0
        self.heartbeat: control.Heartbeat | None = None
        self.wanted = True
        self.is_asked = False
        self.log_path = ""

    @property
    def pid(self) -> int:
        """The running process's id, or 0."""
        return self.process.pid if self.process is not None else 0

    @property
    def alive(self) -> bool:
        """Whether a process of this name runs."""
        return self.process is not None


class Supervisor:
    """Runs one engine until it is told to end.

    Args:
        config: effective configuration, already written to `<run_dir>/config.json`.
        lock: of the run directory. view: shows it.
        seconds: end by itself after so long, or None.
        dry_run: handed to the processes.
    """

    def __init__(
        self,
        config: Config,
        config_hash: str,
        run_dir: str,
        lock: RunDirLock,
        view: View,
        *,
        seconds: float | None = None,
        dry_run: bool = False,
    ) -> None:
        self.config = config
        self.config_hash = config_hash
        self.run_dir = run_dir
        self.view = view
        self.dry_run = dry_run
        self._lock = lock
        self.started_wall_ns = time.time_ns()
        self._environment = child_environment(config.engine.pass_environment)
        self._nursery_log = self._log_of("nursery")
        # first, as it imports while the rest is made
        self._nursery = Nursery(self._environment, lock.descriptors, self._nursery_log)
        self.started_ns = time.monotonic_ns()
        self._until_ns = self.started_ns + int(seconds * SECOND) if seconds is not None else None
        self.children = {name: Child(name) for name in process_names(config)}
        self.phase = Phase.RUNNING
        self.why_stopping = ""
        self.exit_code = EXIT_OK
        self.guard_status: GuardStatus | None = None
        self.guard_status_ns = 0
        self.reconciliation: ReconciliationStatus | None = None
        self.tops: dict[str, TopOfBook] = {}
        self.breaks: dict[str, BreakNote] = {}
        self.trading_since_ns = 0
        self._phase_deadline = 0
        self._next_tell = 0
        self._signals = 0
        self._next_beat = 0
        self._turn_ns = self.started_ns
        self._sampler = Sampler(run_dir)
        make_bus_directory(run_dir)
        draw_seal(run_dir)
        self.alerts = Alerts(config, lambda level, text: self.say(level, "alerts", text))
        self._conditions = Conditions(config.alerts.unknown_s, config.alerts.again_s, self.started_ns)
        self._doors = security.doors(config, run_dir)
        self._bus = Bus("supervisor", run_dir, doors=self._doors)
        self._control = self._bus.sockets["control"]
        self._names = frozenset(self.children)
        self._bus.admit(self._names)
        self._hashes = dict.fromkeys(self.children, config_hash)
        for name in self.children:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(secrets_free.path_of(run_dir, name))
        self._hashes |= {name: secrets_free.write(config, run_dir, name) for name in self._doors}
        self._poll = select.poll()
        for socket in self._bus.all():
            if socket.readable and not socket.idle:  # that one is read in passing: no tick wakes us
                self._poll.register(socket.fd, select.POLLIN)

    # -- life

    def run(self) -> int:
        """Start everything, supervise, end in safe order; return the exit code."""
        previous = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        # ignored by whoever launched us, no process could be waited for
        previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        problem = self.alerts.problem()
        if problem:
            self.say("alert", "alerts", problem)
        try:
            self._await_nursery()
            while self.phase is not Phase.DONE:
                self._turn()
        finally:
            for child in self.children.values():
                if child.process is not None:
                    child.process.kill()
                    child.process.wait()
            for number, handler in previous.items():
                if handler is not None:  # of somebody else than Python
                    signal.signal(number, handler)
            self._nursery.close()
            self._nursery_log.close()
            self._bus.close()
            if self._doors:
                security.remove_doors(self.run_dir)
            self.alerts.close()
            self._sampler.close()
        return self.exit_code

    def _await_nursery(self) -> None:
        # Not for long: orders may rest from before.
        deadline = time.monotonic_ns() + NURSERY_NS
        while not (self._signals or self._nursery.wait(0.05)) and time.monotonic_ns() < deadline:
            pass

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._signals += 1

    def _turn(self) -> None:
        self._poll.poll(50)
        now = time.monotonic_ns()
        if (
            now - self._turn_ns > SILENT_NS
        ):  # we stood still, and who knows who with us: that is nobody's silence
            for child in self.children.values():
                child.last_beat_ns += now - self._turn_ns
        self._turn_ns = now
        for socket in self._bus.all():
            if socket.readable:
                self._drain(socket, now)
        for child in self.children.values():
            self._watch(child, now)
        if now >= self._next_beat:
            self._next_beat = now + BEAT_NS
            self._beat(now)
            how = self._nursery.look(now)
            if how:
                self.say("warning", "nursery", f"{how}; another one takes its place")
            self._look_for_conditions(now)
            self.view.update(self)
            self._sampler.step(self, now)
        if self._signals == 1 and self.phase is Phase.RUNNING:
            self.begin_stop("signal")
        if self._signals > 1 and self.phase is not Phase.DONE:
            self._force()
        if self._until_ns is not None and now >= self._until_ns and self.phase is Phase.RUNNING:
            self.begin_stop("the time asked for is over")
        if self.phase not in {Phase.RUNNING, Phase.DONE}:
            self._advance_stop(now)

    def _drain(self, socket: BusSocket, now: int) -> None:
        try:
            for _ in range(10_000):
                peer, message = socket.receive()
                if socket.name == "control":
                    if message is not None and may_send(socket.channel, peer, message, self._names):
                        self._on_control(peer, message, now)
                else:
                    self._on_feed(message, now)
        except Again:
            return

    def _on_feed(self, message: Any, now: int) -> None:
        match message:
            case TopOfBook():
                self.tops[message.symbol] = message
            case GuardStatus():
                self.guard_status = message
                self.guard_status_ns = now
                if message.gate == "TRADING" and not self.trading_since_ns:
                    self.trading_since_ns = now
            case ReconciliationStatus():
                self.reconciliation = message
            case BreakNote():
                self.breaks[message.break_id] = message
                if len(self.breaks) > 10_000:
                    self.breaks = {k: b for k, b in self.breaks.items() if b.status == "open"}
            case LatchNote():
                self._conditions.latch(message)
                self.say("alert" if message.halted else "info", "guard", f"{message.scope}: {message.why}")
            case _:
                pass

    # -- processes

    def _watch(self, child: Child, now: int) -> None:
        process = child.process
        if process is None:
            if child.wanted and self._needs(child) and now >= child.next_start_ns and child.state != "failed":
                self._start(child, now)
            return
        code = process.poll()
        if code is not None:
            self._on_exit(child, code, now)
            return
        if child.state == "killed":
            return  # it is not gone yet
        silent = now - child.last_beat_ns
        limit = self.config.engine.silent_kill_s * SECOND
        if child.state == "starting":
            if now - child.started_ns > START_NS:
                self.say(
                    "alert", child.name, f"did not report for duty within {START_NS // SECOND} s: killed"
                )
                child.state = "killed"
                process.kill()
        elif silent > limit:
            self.say("alert", child.name, f"silent for {limit // SECOND} s: killed")
            child.state = "killed"
            process.kill()
        elif silent > SILENT_NS and child.state == "running":
            child.state = "silent"
            self.say("warning", child.name, "silent for 1 s")

    def _needs(self, child: Child) -> bool:
        """Whether a process that ended is to be started again: while the engine runs, and to finish what an end must."""
        if self.phase is Phase.RUNNING:
            return True
        until = _NEEDED_UNTIL.get(child.name)
        return until is not None and _PHASES.index(self.phase) <= _PHASES.index(until)

    def _log_of(self, name: str) -> BinaryIO:
        # A process is worth more than its log: on a read-only disk it has none.
        path = os.path.join(self.run_dir, "logs", f"{name}.log")
        try:
            return open(path, "ab", opener=lambda path, flags: os.open(path, flags, 0o600))
        except OSError as error:
            self.say("warning", name, f"has no log: {error}")
            return open(os.devnull, "ab")

    def _start(self, child: Child, now: int) -> None:
        try:
            with self._log_of(child.name) as log:
                child.log_path = log.name
                child.process = self._spawn(child.name, log)
        except OSError as error:
            self._start_again(child, now, f"can't be started: {error}", healthy=False)
            return
        child.state = "starting"
        child.started_ns = now
        child.last_beat_ns = now
        child.heartbeat = None

    def _spawn(self, name: str, log: BinaryIO) -> subprocess.Popen[bytes] | Forked:
        arguments = [name, "--run", self.run_dir, *(["--dry-run"] if self.dry_run else [])]
        door = self._doors.get(name)
        if door is None:
            forked = self._nursery.start(arguments, log)
            if forked is not None:
                return forked
        # A worker that nobody trusts is a program of its own: it does not learn from its memory how others' lies, nor
        # does it hold the lock, of which it could let go.
        return subprocess.Popen(
            [sys.executable, "-m", "engine", "process", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=() if door is not None else self._lock.descriptors,
            env=self._environment if door is None else {**self._environment, "HOME": door.home},
        )

    def _on_exit(self, child: Child, code: int, now: int) -> None:
        assert child.process is not None
        pid = child.process.pid
        child.process = None
        if child.name == "guard":
            self.guard_status_ns = 0  # the gate that it told of last is nobody's any more
        healthy = now - child.started_ns > HEALTHY_NS
        if not (child.wanted and self._needs(child)):
            child.state = "stopped"
            if code not in {0, -signal.SIGTERM} and self.phase is not Phase.DONE:
                self.say("warning", child.name, f"ended with code {code} while stopping")
            return
        tail = self._log_tail(child)
        if code == EXIT_LATER and not self.trading_since_ns:
            code = EXIT_JOURNAL  # whoever starts an engine on a full disk is there to hear of it
        if code == EXIT_JOURNAL:
            tail += "; nothing was taken over from it, and orders may rest at the venue: look there"
        if code in {EXIT_CONFIG, EXIT_JOURNAL}:
            child.state = "failed"
            self.say("alert", child.name, f"can't start: {tail}")
            if not self.trading_since_ns or not child.name.startswith("strategy."):
                self.exit_code = code
                if self.phase is Phase.RUNNING:
                    self.begin_stop(f"{child.name} can't start")
            return
        child.restarts += 1
        if child.is_asked and code in {0, -signal.SIGTERM}:
            child.is_asked, child.next_start_ns, child.state = False, now, "restarting"
            self.say("info", child.name, f"pid {pid} ended as asked; starts again")
            return
        child.is_asked = False
        what = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
        if code == EXIT_LATER:  # its own words may have found no space either
            tail = "its journal can't be written now: free space on its disk or make that writable"
        reason = f" ({tail})" if code > 0 and tail else ""
        self._start_again(child, now, f"pid {pid} {what}{reason}", healthy=healthy)

    def _start_again(self, child: Child, now: int, what: str, *, healthy: bool) -> None:
        child.failures = 0 if healthy else child.failures + 1
        delay = BACKOFF_NS[min(child.failures, len(BACKOFF_NS) - 1)]
        child.next_start_ns = now + delay
        child.state = "restarting"
        self.say("alert", child.name, f"{what}; starts again in {delay / SECOND:g} s")

    def _log_tail(self, child: Child) -> str:
        with contextlib.suppress(OSError), open(child.log_path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
            errors = [line for line in lines if line.startswith("error: ")]
            return (errors or lines or [""])[-1].removeprefix("error: ")[:500]
        return ""

    # -- control

    def _on_control(self, peer: str, message: Any, now: int) -> None:
        child = self.children.get(peer)
        match message:
            case control.Hello():
                self._on_hello(peer, message, now)
            case control.Heartbeat() if child is not None and message.pid == child.pid:
                child.last_beat_ns = now
                status = plain_status(message.status, has_sessions=not peer.startswith("strategy."))
                child.heartbeat = msgspec.structs.replace(message, status=status)
                if child.state in {"starting", "silent"}:
                    child.state = "running"
            case control.Notice() if child is not None and message.name == peer:
                self.say(message.level, message.name, message.text)
                if message.level == "alert" and peer == "guard":
                    self._conditions.notice(message.text)
            case control.EngineQuery():
                self._control.send(self._engine_state(message.request_id, now), peer)
            case control.RestartProcess():
                self._control.send(self._restart(message), peer)
            case control.StopEngine():
                self._control.send(
                    control.Reply(request_id=message.request_id, ok=True, text="stopping in safe order"), peer
                )
                if self.phase is Phase.RUNNING:
                    self.begin_stop(message.why)
            case _:
                pass

    def _on_hello(self, peer: str, hello: control.Hello, now: int) -> None:
        child = self.children.get(peer)
        text = ""
        if child is None or child.pid != hello.pid:
            text = f"no process {peer} with pid {hello.pid} was started by this supervisor"
        elif (hello.schema, hello.version, hello.config_hash) != (SCHEMA, __version__, self._hashes[peer]):
            text = (
                f"schema {hello.schema}, version {hello.version}, configuration {hello.config_hash[:12]} do not match the engine's "
                f"{SCHEMA}, {__version__}, {self._hashes[peer][:12]}: all processes must be of one installation"
            )
        if child is not None and not text:
            child.last_beat_ns = now
        self._control.send(control.Welcome(ok=not text, text=text), peer)

    def _restart(self, message: control.RestartProcess) -> control.Reply:
        child = self.children.get(message.name)
        if child is None:
            known = ", ".join(self.children)
            return control.Reply(
                request_id=message.request_id,
                ok=False,
                text=f"there is no process {message.name!r}; there are: {known}",
            )
        if self.phase is not Phase.RUNNING:
            return control.Reply(request_id=message.request_id, ok=False, text="the engine is stopping")
        child.wanted = True
        if child.process is not None:
            child.is_asked = True
            child.process.terminate()
        else:
            child.state, child.failures, child.next_start_ns = "waiting", 0, 0
        return control.Reply(request_id=message.request_id, ok=True, text=f"{message.name} is restarted")

    @property
    def state(self) -> str:
        """The engine's state: the guard's gate, as far as it can be trusted."""
        if self.phase is not Phase.RUNNING:
            return "STOPPING"
        if self.guard_status is None:
            return "STARTING"
        if time.monotonic_ns() - self.guard_status_ns > 2 * SECOND:
            return "NO GUARD"
        return self.guard_status.gate

    def _engine_state(self, request_id: str, now: int) -> control.EngineState:
        processes = [
            control.ProcessState(
                name=child.name,
                pid=child.pid,
                state=child.state,
                restarts=child.restarts,
                uptime_ns=now - child.started_ns if child.alive else 0,
                rss_bytes=rss_bytes(child.pid),
                status=child.heartbeat.status if child.heartbeat is not None else None,
            )
            for child in self.children.values()
        ]
        return control.EngineState(
            request_id=request_id,
            name=self.config.engine.name,
            environment=self.config.engine.environment,
            state=self.state,
            version=__version__,
            config_hash=self.config_hash,
            started_wall_ns=self.started_wall_ns,
            processes=processes,
            reasons=self.guard_status.reasons if self.guard_status is not None else [],
        )

    def _beat(self, now: int) -> None:
        beat = control.SupervisorBeat(mono_ns=now)
        for child in self.children.values():
            if child.alive and child.heartbeat is not None:
                self._control.send(beat, child.name)

    def _look_for_conditions(self, now: int) -> None:
        """Alert the user of what begins."""
        for channel, flood in self._bus.refill(now):
            why = "it has no business there" if flood.barred else "it sends faster than it may"
            self.say("alert", "supervisor", f"{channel}: what {flood.name!r} sends is dropped: {why}")
        if not self.alerts.wanted:
            return
        statuses = {
            name: child.heartbeat.status if child.heartbeat is not None and child.state == "running" else None
            for name, child in self.children.items()
        }
        known = Known(self.state, self.guard_status, statuses, self.breaks, self.phase is Phase.RUNNING)
        for condition in self._conditions.begun(known, now):
            self.alerts.tell(condition, time.time_ns())
        self.alerts.poll()

    def say(self, level: str, name: str, text: str) -> None:
        """Show one line."""
        self.view.say(level, plain(name, 80), plain(text))

    # -- the end

    def begin_stop(self, why: str) -> None:
        """Begin to end everything in safe order."""
        self.why_stopping = why
        self.say("info", "supervisor", f"stopping in safe order: {why}")
        self._enter(Phase.QUIESCE_STRATEGIES, time.monotonic_ns())

    def _members(self, phase: Phase) -> list[Child]:
        strategies = [c for n, c in self.children.items() if n.startswith("strategy.")]
        names: dict[Phase, tuple[str, ...]] = {
            Phase.QUIESCE_GUARD: ("guard",),
            Phase.QUIESCE_ORDERS: ("order_entry",),
            Phase.QUIESCE_DROP_COPY: ("drop_copy",),
            Phase.STOP_SESSIONS: ("drop_copy", "order_entry", "market_data"),
            Phase.STOP_GUARD: ("guard",),
            Phase.STOP_VENUE: ("venue",),
        }
        found = [self.children[name] for name in names.get(phase, ()) if name in self.children]
        return strategies + found if phase in {Phase.QUIESCE_STRATEGIES, Phase.STOP_SESSIONS} else found

    def _enter(self, phase: Phase, now: int) -> None:
        self.phase = phase
        shutdown = self.config.engine.shutdown_s
        seconds = {
            Phase.QUIESCE_STRATEGIES: 1.5,
            Phase.QUIESCE_GUARD: 1.0,
            Phase.QUIESCE_ORDERS: shutdown + 2.0,
            Phase.QUIESCE_DROP_COPY: shutdown / 2 + 2.0,
            Phase.STOP_SESSIONS: 6.0,
            Phase.STOP_GUARD: 2.0,
            Phase.STOP_VENUE: 6.0,
        }.get(phase, 0.0)
        self._phase_deadline = now + int(seconds * SECOND)
        self._next_tell = now + TELL_NS
        self._tell(phase)

    def _tell(self, phase: Phase) -> None:
        """Tell the members of a phase to quiesce or stop; again and again, as one may have been started for it."""
        stopping = phase in {Phase.STOP_SESSIONS, Phase.STOP_GUARD, Phase.STOP_VENUE}
        why = self.why_stopping
        for child in self._members(phase):
            if child.alive and child.state != "starting":
                self._control.send(
                    control.Stop(why=why) if stopping else control.Quiesce(why=why), child.name
                )
            elif child.process is not None and (stopping or not self._needs(child)):
                child.process.kill()

    def _advance_stop(self, now: int) -> None:
        members = self._members(self.phase)
        if self.phase in {Phase.STOP_SESSIONS, Phase.STOP_GUARD, Phase.STOP_VENUE}:
            over = not any(child.alive for child in members)
        else:
            over = all(self._is_quiesced(child) for child in members)
        if not over and now < self._phase_deadline:
            if now >= self._next_tell:
                self._next_tell = now + TELL_NS
                self._tell(self.phase)
            return
        if not over:
            late = ", ".join(c.name for c in members if c.alive or self._needs(c))
            self.say("warning", "supervisor", f"{self.phase}: {late} did not finish in time")
            if self.phase in {Phase.STOP_SESSIONS, Phase.STOP_GUARD, Phase.STOP_VENUE}:
                for child in members:
                    if child.process is not None:
                        child.process.kill()
        self._enter(_PHASES[_PHASES.index(self.phase) + 1], now)

    def _is_quiesced(self, child: Child) -> bool:
        """Whether nothing of a process is waited for: it says so, or it is gone and not needed."""
        if not child.alive:
            return child.state == "failed" or not self._needs(child)
        return child.heartbeat is not None and child.heartbeat.quiesced

    def _force(self) -> None:
        self.say(
            "alert",
            "supervisor",
            "second signal: ending at once; what rests at the venue stays there unless it was sent to be cancelled on disconnect",
        )
        self.exit_code = self.exit_code or EXIT_FORCED
        self.phase = Phase.DONE


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, 0 when it can't be known."""
    if not pid:
        return 0
    with (
        contextlib.suppress(OSError, ValueError, IndexError),
        open(f"/proc/{pid}/statm", encoding="ascii") as file,
    ):
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
