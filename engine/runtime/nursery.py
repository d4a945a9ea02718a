"""Where an engine's processes come from: one that has imported what all of them need, and forks.

Two things come of it. Nobody imports anything at a start or a restart, which is most of what these cost. And all processes
lie at the same addresses, so that what the core's branch predictors and caches learned in one serves the next, which tells
where a tick passes through four of them on one core.

The nursery itself is started as a program, with the environment of the engine's processes and with none of the supervisor's
descriptors; no key and no configuration is ever read in it, and it has one thread. So nothing of these can be in what it forks.

A process is forked twice, so that its parent is the supervisor, as if that had started it. It begins when the supervisor says
that it knows it: who was given up as late ends without having done anything, or there would be two of one name. A nursery that
ends or does not answer is replaced; until then, and on other systems than Linux, the supervisor starts programs.
"""

import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Final

import msgspec

from engine.common.clock import SECOND

_PR_SET_CHILD_SUBREAPER: Final = 36
_ANSWER_S: Final = 0.5  # the supervisor beats meanwhile for nobody
_BACKOFF_NS: Final = tuple(int(s * SECOND) for s in (0.05, 1, 5, 30))
_READY: Final = b"ready"
_KNOWN: Final = b"."
_REQUEST_BYTES_MAX: Final = 1 << 16
_DESCRIPTORS_MAX: Final = 16
_PRELOADED: Final = (
    "engine.config_loader",
    "engine.drop_copy.actor",
    "engine.drop_copy.records",
    "engine.guard.actor",
    "engine.guard.records",
    "engine.market_data.actor",
    "engine.order_entry.actor",
    "engine.order_entry.records",
    "engine.runtime.factory",
    "engine.runtime.venue_archive",
    "engine.venue.actor",
    "engine.venue.records",
)


class Forked:
    """A process that the nursery forked for us; as much of `subprocess.Popen` as a supervisor needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit code (negative: the signal that ended it), None while it lives."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        code = self._wait(0)
        assert code is not None, "it was waited for"
        return code

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, options)
            except ChildProcessError:  # somebody else has waited for it: its code is lost
                self.returncode = 0
                return 0
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:  # its pid is nobody else's before it was waited for
            os.kill(self.pid, number)


def _adopt(*, is_wanted: bool) -> bool:
    # Make orphans among our descendants our children, or not: only while one is forked, or what a strategy leaves behind
    # would pile up as zombies of ours. False: the system refuses it.
    if sys.platform != "linux":
        return False
    refused: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, is_wanted, 0, 0, 0)
    return not refused


class Nursery:
    """The supervisor's side.

    Args:
        environment: of every process. descriptors: open in every process. log: of the nursery's own last words.
    """

    def __init__(self, environment: dict[str, str], descriptors: Sequence[int], log: BinaryIO) -> None:
        assert len(descriptors) <= _DESCRIPTORS_MAX - 2, "a request carries two of its own"
        self._environment = environment
        self._descriptors = descriptors
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._is_ready = False
        self._late: list[Forked] = []
        self._failures = 0
        self._next_ns = 0
        self._is_possible = _adopt(is_wanted=True) and _adopt(is_wanted=False)
        self._begin()

    @property
    def pid(self) -> int:
        """The nursery's process, 0 without one."""
        return self._process.pid if self._process is not None else 0

    def _begin(self) -> None:
        if not self._is_possible:
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._socket, self._is_ready = ours, False
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "engine", "nursery"],
                    stdin=theirs.fileno(),
                    stdout=self._log,
                    stderr=self._log,
                    start_new_session=True,
                    env=self._environment,
                )
        except OSError:
            self.close()

    def look(self, mono_ns: int) -> str:
        """Replace a nursery that is gone, after a pause that grows; return how it ended, once."""
        how = ""
        self._late = [process for process in self._late if process.poll() is None]
        if self._process is not None and (code := self._process.poll()) is not None:
            how = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
            self.close()
            self._next_ns = mono_ns + _BACKOFF_NS[min(self._failures, len(_BACKOFF_NS) - 1)]
            self._failures += 1
        elif self._process is None and mono_ns >= self._next_ns:
            self._next_ns = mono_ns + _BACKOFF_NS[-1]
            self._begin()
        return how

    def wait(self, seconds: float) -> bool:
        """Wait until it can fork, for so long at most; say whether that is over, one way or the other."""
        if self._socket is None or self._is_ready:
            return True
        if not self._has_said(seconds):
            return False
        self._is_ready = self._receive() == _READY
        return True

    def start(self, argv: list[str], log: BinaryIO) -> Forked | None:
        """Fork `engine process` with these arguments, its output into `log`; None when there is no nursery now."""
        if not (self.wait(0) and self._is_ready and _adopt(is_wanted=True)):
            return None
        try:
            forked = self._ask(argv, log)
        finally:
            _adopt(is_wanted=False)
        if forked is None:
            self._give_up()
        else:
            self._failures = 0
        return forked

    def _give_up(self) -> None:
        # That it ended is told by `look`; what it forked as late as this ends by itself, but is ours to wait for.
        assert self._process is not None, "it was asked"
        self._process.kill()
        self._process.wait()
        self._is_ready = False
        with contextlib.suppress(ValueError):
            self._late.append(Forked(int(self._receive())))

    def _ask(self, argv: list[str], log: BinaryIO) -> Forked | None:
        assert self._socket is not None, "it was ready"
        forked = None
        with contextlib.suppress(OSError, ValueError), _pipe() as (knows, known):
            given = [log.fileno(), knows.fileno(), *self._descriptors]
            socket.send_fds(self._socket, [msgspec.json.encode(argv)], given)
            knows.close()
            if self._has_said(_ANSWER_S) and (pid := int(self._receive())) > 0:
                forked = Forked(pid)
                known.write(_KNOWN)
        return forked

    def _has_said(self, seconds: float) -> bool:
        assert self._socket is not None, "there is a nursery"
        poll = select.poll()  # `select` takes no descriptor beyond 1023
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _receive(self) -> bytes:
        assert self._socket is not None, "there is a nursery"
        with contextlib.suppress(OSError):
            return self._socket.recv(64, socket.MSG_DONTWAIT)
        return b""

    def close(self) -> None:
        """End it; its processes live on."""
        self._is_ready = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    out, into = os.pipe()
    with open(out, "rb", 0) as reader, open(into, "wb", 0) as writer:
        yield reader, writer


def serve(run: Callable[[list[str]], int]) -> int:
    """Be a nursery until the supervisor is gone; in what it forks: be that process to its end.

    Args:
        run: what a forked process does with the arguments that it was asked for with; its exit code.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody can be waited for
    requests = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _preload()
    gc.collect()
    gc.freeze()
    argv = _await_fork(requests)
    return 0 if argv is None else run(argv)


def _preload() -> None:
    from setproctitle import setproctitle

    from engine.runtime import snapshots
    from engine.runtime.child import preload

    preload()
    for module in _PRELOADED:
        importlib.import_module(module)
    snapshots.code()  # of what is loaded now, whatever is installed later
    setproctitle("engine: nursery")


def _await_fork(requests: socket.socket) -> list[str] | None:
    # Forks what is asked for. Returns None in the nursery, at its end; in a forked process the arguments of its life, if
    # it is known.
    with contextlib.suppress(OSError), requests:
        requests.send(_READY)
        while True:
            data, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_BYTES_MAX, _DESCRIPTORS_MAX)
            if not data:
                return None
            pid = _fork()
            if pid is None:
                break
            for descriptor in descriptors:
                os.close(descriptor)
            requests.send(b"%d" % pid)
        os.setsid()
        log, known = descriptors[:2]
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        with open(known, "rb", 0) as waits:
            if waits.read(1) == _KNOWN:
                argv = msgspec.json.decode(data, type=list[str])
                sys.argv[1:] = ["process", *argv]
                return argv
    return None


def _fork() -> int | None:
    # Returns the pid of a child of the supervisor's, 0 for none; in that child None.
    ours, theirs = os.pipe()
    middle = os.fork()
    if middle:
        os.close(theirs)
        os.waitpid(middle, 0)
        text = os.read(ours, 32)
        os.close(ours)
        return int(text or 0)
    try:
        pid = os.fork()
        if pid:
            os.write(theirs, b"%d" % pid)
    except OSError:
        os._exit(1)
    if pid:
        os._exit(0)
    os.close(ours)
    os.close(theirs)
    return None
