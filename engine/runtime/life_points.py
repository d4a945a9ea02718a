"""`kill -9` at a named point of an order's life, for tests: nothing of this is there unless the environment asks for it.

With ENGINE_LIFE_POINTS set, and passed on (`[engine] pass_environment`), a process runs on `MortalRuntime`. When it
reaches a point that the file `<run>/life-point` names, as in `P4 guard`, it renames that file to `life-point.reached` (so
that it happens once) and kills the process that stands behind the point, be it itself, a sibling, or the supervisor.

    P1   a worker is about to send an intent          P8   a fill is journalled, not yet published
    P2   the guard has reserved, and is about to send P9   a cancel was given to TLS
    P3   an intent is journalled, not yet written     P10  a replace was given to TLS
    P4   an order was given to TLS                    P11  a ResendRequest, or a Logon of order entry, was given to TLS
    P5   an acknowledgement was read, not journalled  P12  drop copy has asked, the answer is under way
    P6   an acknowledgement is journalled             P14  amid the shutdown, or as the guard tells a halt
    P7   a fill was read, not journalled

P13 is amid what is done to files: `P13` a write of a journal, `P13-checkpoint` as its write-ahead log is moved into it,
`P13-rotation` a raw FIX log was put aside and the next one isn't there yet, `P13-snapshot` the snapshot is written and not
yet in its place. So that these come often enough, files are rotated and checkpoints made much earlier here. `snapshot`
is a victim, too: the process that makes one.
"""

import contextlib
import functools
import os
import signal
from collections.abc import Callable
from typing import Final

import msgspec

from engine.bus.sockets import BusSocket
from engine.messages.commands import Approved, HaltOrders, NewOrder
from engine.messages.executions import EventKind, OrderEvent
from engine.messages.topology import role_of
from engine.runtime.process import ProcessRuntime

VARIABLE: Final = "ENGINE_LIFE_POINTS"
WANTED: Final = "life-point"
REACHED: Final = "life-point.reached"
FILES: Final = ("P13-checkpoint", "P13-rotation", "P13-snapshot")
POINTS: Final = (*(f"P{number}" for number in range(1, 15)), *FILES)
SNAPSHOT: Final = "snapshot"
_CHECKPOINT_ROWS: Final = 20
_LOG_BYTES: Final = 1 << 15

_WRITTEN: Final = {
    "order_entry": (
        (b"\x0135=D\x01", "P4"),
        (b"\x0135=F\x01", "P9"),
        (b"\x0135=G\x01", "P10"),
        (b"\x0135=2\x01", "P11"),
        (b"\x0135=A\x01", "P11"),
    ),
    "drop_copy": ((b"\x0135=U1\x01", "P12"),),
}
_READ: Final = ((b"\x01150=0\x01", "P5"), (b"\x01150=F\x01", "P7"))
_COMMITTED: Final = {EventKind.SUBMITTED: "P3", EventKind.NEW: "P6", EventKind.TRADE: "P8"}
_STATEMENTS: Final = (
    ("COMMIT", "P13"),
    ("INSERT INTO JOURNAL", "P13"),
    ("PRAGMA WAL_CHECKPOINT", "P13-checkpoint"),
)


def wanted() -> bool:
    """Say whether this process may be asked to die at a point."""
    return bool(os.environ.get(VARIABLE))


def amid_snapshot(run_dir: str) -> Callable[[], None]:
    """Return what the process that makes a snapshot calls when that is written and not yet in its place."""
    with open(f"/proc/{os.getppid()}/stat", encoding="ascii") as file:
        supervisor = int(file.read().rpartition(")")[2].split()[1])
    return lambda: _reach(run_dir, "P13-snapshot", SNAPSHOT, supervisor)


def _reach(run_dir: str, point: str, name: str, supervisor: int) -> None:
    """Kill whom the file names, if it names this point. `name`: of this process."""
    path = os.path.join(run_dir, WANTED)
    try:
        with open(path, encoding="utf-8") as file:
            asked, _, victim = file.read().strip().partition(" ")
        if asked != point:
            return
        os.rename(path, os.path.join(run_dir, REACHED))
    except OSError:
        return
    with contextlib.suppress(ProcessLookupError):
        pid = os.getpid() if victim == name else _pid_of(victim, supervisor)
        os.kill(pid, signal.SIGKILL)


def _pid_of(victim: str, supervisor: int) -> int:
    if victim == "supervisor":
        return supervisor
    with open(f"/proc/{supervisor}/task/{supervisor}/children", encoding="ascii") as file:
        pids = [int(pid) for pid in file.read().split()]
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", encoding="latin-1") as file:
            title = file.read().strip("\0 ")
            if title.endswith(f": {victim}") or f"\0process\0{victim}\0" in title:
                return pid
    raise ProcessLookupError(victim)


class MortalRuntime(ProcessRuntime):
    """The process runtime, and its life points."""

    def prepare(self) -> None:
        """Watch the journal's statements and the raw FIX log's files, too."""
        if self.journal is not None:
            self.journal.on_statement(self._on_statement)
            self.journal.checkpoint_rows = _CHECKPOINT_ROWS
        if self.fix_log is not None:
            self.fix_log.bytes_max = _LOG_BYTES
            self.fix_log.amid_rotation = functools.partial(self._at, "P13-rotation")

    def _on_statement(self, statement: str) -> None:
        for begin, point in _STATEMENTS:
            if statement.lstrip().upper().startswith(begin):
                self._at(point)

    def _at(self, point: str) -> None:
        _reach(self.run_dir, point, self.name, os.getppid())

    def _send_one(self, socket: BusSocket, message: msgspec.Struct, to: str | None, topic: str) -> None:
        if isinstance(message, Approved):
            self._at("P2")
        elif isinstance(message, HaltOrders):
            self._at("P14")
        elif isinstance(message, NewOrder) and role_of(self.name) == "strategy":
            self._at("P1")
        super()._send_one(socket, message, to, topic)

    def _commit(self) -> bool:
        records = [entry.message for entry in self._records]
        done = super()._commit()
        if done and self.name == "order_entry":
            for record in records:
                if isinstance(record, OrderEvent) and record.kind in _COMMITTED:
                    self._at(_COMMITTED[record.kind])
        return done

    def _write_links(self) -> None:
        written = b"".join(data for _, data, _ in self._writes if data)
        super()._write_links()
        for mark, point in _WRITTEN.get(self.name, ()):
            if mark in written:
                self._at(point)

    def link_bytes(self, link: str, data: bytes) -> None:
        """See ProcessRuntime: what was read is handled, and not journalled yet."""
        super().link_bytes(link, data)
        if self.name == "order_entry" and b"\x0135=8\x01" in data:
            for mark, point in _READ:
                if mark in data:
                    self._at(point)

    def _quiesce(self, why: str) -> None:
        super()._quiesce(why)
        self._at("P14")

    def _stop(self, why: str) -> None:
        super()._stop(why)
        self._at("P14")
