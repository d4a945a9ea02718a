"""Where an engine's processes come from: one that has imported what all of them need, and forks.

Three things come of it. Nobody imports anything at a start or a restart, which is most of what these cost. All processes
lie at the same addresses, so that what the core's branch predictors and caches learned in one serves the next, which tells
where a tick passes through four of them on one core. And a restarted process is of the very code that the others run.

The nursery itself is started like any program, with the environment of the engine's processes, before there is a thread, a
socket of the bus, a key or a configuration in it: nothing of these can be in what it forks. A process is forked twice, so
that its parent is the supervisor, as if that had started it; the nursery may die without anybody's noticing, and another one
takes its place. Whoever can't have one (another system than Linux, a nursery that doesn't answer) starts programs.
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
import time
import traceback
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

import msgspec

IS_POSSIBLE: Final = sys.platform == "linux"
_PR_SET_CHILD_SUBREAPER: Final = 36
_ANSWER_S: Final = 0.5  # the supervisor beats meanwhile for nobody
_READY: Final = b"ready"
_REQUEST_BYTES_MAX: Final = 1 << 16
_PRELOADED: Final = (
    "engine.config_loader",
    "engine.drop_copy.actor",
    "engine.drop_copy.records",
    "engine.guard.actor",
    "engine.guard.records",
    "engine.market_data.actor",
    "engine.order_entry.actor",
    "engine.order_entry.records",
    "engine.runtime.child",
    "engine.runtime.factory",
    "engine.runtime.venue_archive",
    "engine.strategy.host",
    "engine.strategy.loader",
    "engine.venue.actor",
    "engine.venue.records",
    "linecache",
    "random",
    "setproctitle",
    "traceback",
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
            pid, status = os.waitpid(self.pid, options)
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


class Nursery:
    """The supervisor's side. A nursery that fails is given up, and a new one is there for the next time.

    Args:
        environment: of every process. descriptors: open in every process. log: of the nursery's own last words.
    """

    def __init__(self, environment: dict[str, str], descriptors: Sequence[int], log: BinaryIO) -> None:
        self._environment = environment
        self._descriptors = tuple(descriptors)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._is_ready = False
        if IS_POSSIBLE:
            # Children of a nursery's child are ours from the moment that it ends.
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            self._begin()

    @property
    def pid(self) -> int:
        """The nursery's process, 0 without one."""
        return self._process.pid if self._process is not None else 0

    def _begin(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "engine", "nursery"],
                    stdin=theirs.fileno(),
                    stdout=self._log,
                    stderr=self._log,
                    start_new_session=True,
                    pass_fds=self._descriptors,
                    env=self._environment,
                )
            except OSError:
                ours.close()
                return
        self._socket, self._is_ready = ours, False

    def wait(self, seconds: float) -> None:
        """Wait until it can fork, for so long at most."""
        if self._socket is None or self._is_ready:
            return
        if select.select([self._socket], [], [], seconds)[0]:
            self._is_ready = self._receive() == _READY
            if not self._is_ready:
                self._begin_again()

    def start(self, argv: list[str], log: BinaryIO) -> Forked | None:
        """Fork `engine process` with these arguments, its output into `log`; None when there is no nursery now."""
        self.wait(0)
        if self._socket is None or not self._is_ready:
            return None
        try:
            socket.send_fds(self._socket, [msgspec.json.encode(argv)], [log.fileno()])
            if select.select([self._socket], [], [], _ANSWER_S)[0]:
                pid = int(self._receive())
                if pid > 0:
                    return Forked(pid)
        except (OSError, ValueError):
            pass
        self._begin_again()
        return None

    def look(self) -> str:
        """Replace a nursery that has ended; return how that one did, or nothing."""
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return ""
        self._begin_again()
        return f"killed by signal {-code}" if code < 0 else f"ended with code {code}"

    def _receive(self) -> bytes:
        assert self._socket is not None, "there is a nursery"
        with contextlib.suppress(OSError):
            return self._socket.recv(64)
        return b""

    def _begin_again(self) -> None:
        self.close()
        self._begin()

    def close(self) -> None:
        """End it; its processes live on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def serve(run: Callable[[list[str]], int]) -> int:
    """Be a nursery: fork what the supervisor asks for on standard input, until it is gone.

    Args:
        run: what a forked process does with the arguments that it was asked for with.
    """
    requests = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for module in _PRELOADED:
        importlib.import_module(module)
    from setproctitle import setproctitle

    setproctitle("engine: nursery")
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError):
        requests.send(_READY)
        while True:
            data, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_BYTES_MAX, 1)
            if not data:
                break
            requests.send(
                b"%d" % _fork(requests, msgspec.json.decode(data, type=list[str]), descriptors[0], run)
            )
    return 0


def _fork(requests: socket.socket, argv: list[str], log: int, run: Callable[[list[str]], int]) -> int:
    # Returns the pid of a process that runs with these arguments, once it is the supervisor's child; 0 for none.
    ours, theirs = os.pipe()
    middle = os.fork()
    if not middle:
        middle = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os._exit(1)
        if pid:
            os.write(theirs, b"%d" % pid)
            os._exit(0)
        for descriptor in (requests.detach(), ours, theirs):
            os.close(descriptor)
        os._exit(_live(argv, log, middle, run))
    os.close(log)
    os.close(theirs)
    os.waitpid(middle, 0)
    text = os.read(ours, 32)
    os.close(ours)
    return int(text or 0)


def _live(argv: list[str], log: int, middle: int, run: Callable[[list[str]], int]) -> int:
    # The life of a forked process, as an interpreter that was started for it would lead it.
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    while os.getppid() == middle:  # which is about to end
        time.sleep(0)
    code: int | str | None = 1
    try:
        code = run(argv)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - nothing is above us
        traceback.print_exc()
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    return code or 0
