"""Snapshots: an actor's state as it was at one row of its journal, so that a start replays only what came after it.

    <run>/state/NAME.snapshot = header (msgpack: format, version, made_of, no, hash, sum) after its length, then the state

The journal stays the truth. A snapshot is made from it, by a process of its own at the lowest priority
(`python -m engine snapshot`), which takes the last snapshot, replays what is new and checks the chain on the way; the
engine's own path does nothing for it. A start takes a snapshot only if all of this holds, and else replays the journal
from its first row: it is whole (SHA-256), made by the same code with the same configured facts (`made_of`), and the
journal still has the row that it names, with that row's hash. So a snapshot can make a start faster, never
different; `scripts/journal verify` reads every row, snapshot or not.

The file is written beside, synced and renamed: it is the old one or the new one, whatever happens amid it.
"""

import contextlib
import functools
import gc
import glob
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine import __version__
from engine.common.actor import Actor
from engine.errors import EngineError
from engine.messages import SCHEMA
from engine.runtime import journal as journals
from engine.runtime.journal import BEGINNING, Journal, Mark

FORMAT: Final = 1
_VERSION: Final = f"{__version__}/{SCHEMA}"
_CODE: Final = ("common", "fix", "messages", "kalshi", "orders", "order_entry", "venue")
_LENGTH: Final = 4
_HEADER_MAX: Final = 1 << 16


@functools.cache
def code() -> str:
    """Return what names this process's code: state that other code made is not taken, it may have understood an entry otherwise."""
    digest = hashlib.sha256()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for package in _CODE:
        for directory, _, names in sorted(os.walk(os.path.join(root, package))):
            for name in sorted(names):
                if name.endswith(".py"):
                    with open(os.path.join(directory, name), "rb") as file:
                        digest.update(file.read())
    return digest.hexdigest()[:16]


def _made_of(actor: Actor) -> str:
    return f"{code()}/{actor.snapshot_of()}"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot is of. `made_of` names the code that made it and the configured facts that it depends on."""

    format: int
    version: str
    made_of: str
    no: int
    hash: bytes
    sum: bytes


def path_of(journal_path: str) -> str:
    """Return where the snapshot of a journal is."""
    return os.path.splitext(journal_path)[0] + ".snapshot"


def read(path: str) -> tuple[Header, bytes] | str:
    """Return a snapshot's header and state, or why there is none that can be used, in words (empty: there is no file)."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return str(error)
    length = int.from_bytes(data[:_LENGTH], "big")
    if not 0 < length <= _HEADER_MAX:
        return "it is no snapshot"
    try:
        header = msgspec.msgpack.decode(data[_LENGTH : _LENGTH + length], type=Header)
    except msgspec.MsgspecError as error:
        return f"its header can't be read: {error}"
    state = data[_LENGTH + length :]
    if header.format != FORMAT or header.version != _VERSION:
        return f"it is of version {header.version}, this is {_VERSION}"
    if hashlib.sha256(state).digest() != header.sum:
        return "it is not whole"
    return header, state


def write(path: str, mark: Mark, made_of: str, state: bytes, amid: Callable[[], None] | None = None) -> None:
    """Put a snapshot in place of the last one; `amid` is called just before. Raises OSError."""
    header = msgspec.msgpack.encode(
        Header(
            format=FORMAT,
            version=_VERSION,
            made_of=made_of,
            no=mark.no,
            hash=mark.hash,
            sum=hashlib.sha256(state).digest(),
        )
    )
    for left in glob.glob(f"{glob.escape(path)}.*"):  # by one that was killed
        with contextlib.suppress(OSError):
            os.unlink(left)
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(len(header).to_bytes(_LENGTH, "big") + header)
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        if amid is not None:
            amid()
        os.replace(temporary, path)
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def restore(journal_path: str, has: Callable[[Mark], bool], actor: Actor) -> tuple[Mark, str]:
    """Give an actor the state of its journal's snapshot if there is one that holds.

    Args:
        journal_path: the journal's file.
        has: says whether the journal has a row.
        actor: new.

    Returns:
        (behind which row to go on replaying, why a snapshot that is there was not taken).
    """
    found = read(path_of(journal_path))
    if isinstance(found, str):
        return BEGINNING, found
    header, state = found
    mark = Mark(header.no, header.hash)
    if header.made_of != _made_of(actor):
        return BEGINNING, "it was made by other code, or with other instruments"
    if not has(mark):
        return BEGINNING, f"the journal does not have its row {header.no}"
    try:
        actor.load(state)
    except msgspec.MsgspecError as error:
        return BEGINNING, f"its state can't be read: {error}"
    return mark, ""


def replay(journal: Journal, actor: Actor, types: Any) -> str:
    """Bring an actor to the end of its journal, from a snapshot where one holds.

    Returns:
        why a snapshot that is there was not taken, or empty.

    Raises:
        JournalError: a row was changed, is missing or can't be read.
    """
    collecting = gc.isenabled()
    gc.disable()  # nothing of it is garbage
    try:
        mark, why_not = BEGINNING, ""
        if actor.takes_snapshots and journal.no:
            mark, why_not = restore(journal.path, journal.has, actor)
        take = actor.replay
        for entry in journal.replay(types, mark):
            take(entry)
        journal.snapshot_no = mark.no
    finally:
        if collecting:
            gc.enable()
    return why_not


class Snapshotter:
    """Has snapshots made while the journal grows.

    Args:
        journal: of this process. name: of this process. run_dir: of the engine.
        rows: so many after the last snapshot the next one is made.
    """

    def __init__(self, journal: Journal, name: str, run_dir: str, rows: int) -> None:
        self._journal = journal
        self._rows = rows
        self._command = [sys.executable, "-m", "engine", "snapshot", name, "--run", run_dir]
        self._at = journal.snapshot_no
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> tuple[str, str] | None:
        """Begin a snapshot when one is due; return (level, text) of what came of the last one, once."""
        process = self._process
        if process is not None:
            code = process.poll()
            if code is None:
                return None
            self._process = None
            if code:
                return "warning", f"the snapshot of the journal failed with code {code}; a start replays more"
            return "info", f"a snapshot of the journal was made, of row {self._at} or later"
        if self._journal.no - self._at < self._rows:
            return None
        self._at = self._journal.no
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            return "warning", f"no snapshot of the journal can be made: {error}"
        return None

    def end(self) -> None:
        """End a snapshot that is being made."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def make(path: str, actor: Actor, types: Any, amid: Callable[[], None] | None = None) -> int:
    """Make a snapshot of a journal by an actor that is new; return the row it is of.

    Args:
        path: the journal's file. actor: new. types: of its entries.
        amid: called when the snapshot is written and not in its place yet (tests).

    Raises:
        JournalError: there is no journal, or it is damaged.
        EngineError: the snapshot can't be written.
    """
    decode = msgspec.msgpack.Decoder(types).decode
    gc.disable()
    with contextlib.closing(journals.open_read_only(path)) as db:
        mark, _ = restore(path, lambda mark: journals.has_row(path, db, mark), actor)
        end = mark
        for row in journals.verified_rows(path, db, mark):
            actor.replay(decode(row.message))
            end = Mark(row.no, row.hash)
    if end != mark:
        try:
            write(path_of(path), end, _made_of(actor), actor.dump(), amid)
        except OSError as error:
            raise EngineError(f"{path_of(path)}: {error}") from error
    return end.no
