"""The journal of one actor: an append-only, hash-chained table in a SQLite file.

    journal(no, wall_ns, kind, cl_ord_id, exec_id UNIQUE, message, hash)

`message` is the tagged struct in msgpack; `hash` is SHA-256 over the previous row's hash and this row's content, so
that a changed or missing row shows. A batch is one transaction: it is there as a whole or not at all. WAL mode, so
that tools read while the engine writes; `synchronous` NORMAL survives a killed process, FULL a power cut.
Checkpoints run while the actor is idle, never on the way of an order; and there the next transaction is begun already: nobody
else writes here.
"""

import contextlib
import errno
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from engine.errors import JournalError, JournalUnwritableError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal(
  no INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, kind TEXT NOT NULL, cl_ord_id TEXT NOT NULL,
  exec_id TEXT, message BLOB NOT NULL, hash BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS journal_exec_id ON journal(exec_id) WHERE exec_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_INSERT = "INSERT INTO journal(no, wall_ns, kind, cl_ord_id, exec_id, message, hash) VALUES(?,?,?,?,?,?,?)"
_SELECT = "SELECT no, wall_ns, kind, cl_ord_id, exec_id, message, hash FROM journal WHERE no > ? ORDER BY no"
_BUSY_TIMEOUT: Final = "PRAGMA busy_timeout=2000"
GENESIS: Final = bytes(32)
RESERVE_BYTES: Final = 4 << 20
CHECKPOINT_ROWS: Final = 2000
_PASSING_ERRNO: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO})
_PASSING_SQLITE: Final = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_BUSY")


class Row(NamedTuple):
    """One row, message still packed."""

    no: int
    wall_ns: int
    kind: str
    cl_ord_id: str
    exec_id: str | None
    message: bytes
    hash: bytes


class Mark(NamedTuple):
    """A place in a journal: a row and its hash, which stands for all rows before it."""

    no: int
    hash: bytes


BEGINNING: Final = Mark(0, GENESIS)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What an actor recorded and the runtime has yet to commit."""

    message: msgspec.Struct
    cl_ord_id: str
    exec_id: str | None


def row_hash(
    previous: bytes, no: int, wall_ns: int, kind: str, cl_ord_id: str, exec_id: str | None, message: bytes
) -> bytes:
    """Return the hash of a row that follows a row with hash `previous`."""
    head = f"{no}|{wall_ns}|{kind}|{cl_ord_id}|{exec_id or ''}|".encode()
    return hashlib.sha256(previous + head + message).digest()


def _may_pass(error: sqlite3.Error | OSError) -> bool:
    # Whether an error is the disk's, not the journal's: then the same journal can be used later.
    if isinstance(error, OSError):
        return error.errno in _PASSING_ERRNO
    return getattr(error, "sqlite_errorname", "").startswith(_PASSING_SQLITE)


def _sync_directory(path: str) -> None:
    # A file whose name is not on the disk is gone after a power cut, however well it was synced.
    directory = os.open(path or ".", os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Journal:
    """One actor's journal, open for appending.

    Args:
        path: the file, made when it isn't there, readable by its owner only.
        synchronous: `normal` or `full`.

    Attributes:
        no, head: number and hash of the last row.
        snapshot_no: the row of the snapshot that the last replay began with, 0 for none.
        has_reserve: there is space kept back for what a full disk would not take.
        checkpoint_rows: so many rows after the last one the next checkpoint is due.

    Raises:
        JournalUnwritableError: the disk takes nothing now. JournalError: the file can't be opened or is no journal.
    """

    def __init__(self, path: str, synchronous: str = "normal") -> None:
        self.path = path
        self._encode = msgspec.msgpack.Encoder().encode
        self._kinds: dict[type, str] = {}
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            is_new = not os.path.exists(path)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            if is_new:
                _sync_directory(os.path.dirname(path))
            self._db = sqlite3.connect(path, isolation_level=None, cached_statements=16)
            execute = self._db.execute
            execute("PRAGMA journal_mode=WAL")
            execute(f"PRAGMA synchronous={'FULL' if synchronous == 'full' else 'NORMAL'}")
            execute("PRAGMA wal_autocheckpoint=0")
            execute(_BUSY_TIMEOUT)
            self._db.executescript(_SCHEMA)
            last = execute("SELECT no, hash FROM journal ORDER BY no DESC LIMIT 1").fetchone()
        except (sqlite3.Error, OSError) as error:
            if _may_pass(error):
                raise JournalUnwritableError(
                    f"{path}: can't be written now: {error}; free space or make it writable, it is tried again"
                ) from error
            raise JournalError(f"{path}: can't be used as a journal: {error}") from error
        self.no: int = last[0] if last else 0
        self.head: bytes = last[1] if last else GENESIS
        self.snapshot_no = 0
        self.healthy = True
        self._may_begin = True
        self._since_checkpoint = 0
        self.checkpoint_rows = CHECKPOINT_ROWS
        self._reserve = path + ".reserve"
        self.has_reserve = False
        self.make_reserve()

    def make_reserve(self) -> bool:
        """Keep some disk back, to be freed at the first ENOSPC so that what is open can still be recorded.

        Returns:
            whether it is there. Where little is left the journal itself needs it: then none is made.
        """
        try:
            self.has_reserve = (
                os.path.exists(self._reserve) and os.path.getsize(self._reserve) >= RESERVE_BYTES
            )
            if self.has_reserve:
                return True
            disk = os.statvfs(os.path.dirname(self._reserve) or ".")
            if disk.f_bavail * disk.f_frsize < 2 * RESERVE_BYTES:
                return False
            with open(self._reserve, "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(bytes(RESERVE_BYTES))
            self.has_reserve = True
        except OSError:
            self.free_reserve()
        return self.has_reserve

    def append(self, entries: list[Entry], wall_ns: int) -> None:
        """Commit entries as one transaction, or raise and leave the journal as it was.

        Raises:
            JournalError: the database refused (disk full, I/O error, a second row with one ExecID).
        """
        rows = []
        no, head = self.no, self.head
        kinds = self._kinds
        for entry in entries:
            message, exec_id = entry.message, entry.exec_id
            no += 1
            packed = self._encode(message)
            kind = kinds.get(type(message))
            if kind is None:
                kind = kinds[type(message)] = str(message.__struct_config__.tag)
            head = row_hash(head, no, wall_ns, kind, entry.cl_ord_id, exec_id, packed)
            rows.append((no, wall_ns, kind, entry.cl_ord_id, exec_id, packed, head))
        db = self._db
        is_begun = db.in_transaction
        try:
            if len(rows) == 1 and not is_begun:
                db.execute(_INSERT, rows[0])
            else:
                if not is_begun:
                    db.execute("BEGIN IMMEDIATE")
                db.executemany(_INSERT, rows)
                db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self.healthy = False
            raise JournalError(f"{self.path}: {error}") from error
        self.no, self.head = no, head
        self.healthy = self._may_begin = True
        self._since_checkpoint += len(rows)

    def begin(self) -> None:
        """Begin the next transaction ahead, while nothing waits: at once or not, and once after each that came to its end."""
        if not self._may_begin:
            return
        self._may_begin = False
        execute = self._db.execute
        with contextlib.suppress(sqlite3.Error):  # the next one begins for itself, and says what is wrong
            execute("PRAGMA busy_timeout=0")
            execute("BEGIN IMMEDIATE")
        with contextlib.suppress(sqlite3.Error):
            execute(_BUSY_TIMEOUT)

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def on_statement(self, tell: Callable[[str], None]) -> None:
        """Have each SQL statement told as it begins (tests)."""
        self._db.set_trace_callback(tell)

    def probe(self) -> None:
        """Find out whether the journal takes writes again. Raises JournalError while it does not."""
        self._roll_back()
        try:
            self._db.execute("INSERT OR REPLACE INTO meta(key, value) VALUES('probe', ?)", (str(self.no),))
        except sqlite3.Error as error:
            self.healthy = False
            raise JournalError(f"{self.path}: {error}") from error
        self.healthy = True

    def free_reserve(self) -> bool:
        """Give the reserve file's space back to the disk; True when there was one."""
        self.has_reserve = False
        try:
            os.unlink(self._reserve)
        except OSError:
            return False
        return True

    def idle(self) -> None:
        """Move the WAL into the file when enough has gathered; call only while nothing waits."""
        if self._since_checkpoint >= self.checkpoint_rows:
            self._since_checkpoint = 0
            self._roll_back()
            self._may_begin = True
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self.make_reserve()

    def replay(self, types: Any, after: Mark = BEGINNING) -> Iterator[msgspec.Struct]:
        """Yield every committed entry behind a mark in order, checking the chain on the way.

        Raises:
            JournalError: a row was changed, is missing, or is no message of the actor.
        """
        yield from entries(self.path, self._db, types, after)

    def has(self, mark: Mark) -> bool:
        """Say whether the row that a mark names is there with its hash. Raises JournalError."""
        return has_row(self.path, self._db, mark)

    def close(self) -> None:
        """Checkpoint and close."""
        self._roll_back()
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()


class SpilledJournal(Journal):
    """Keeps what an actor records for as long as the process lives, so that memory need not; gone at the next start."""

    def __init__(self, path: str) -> None:
        self._remove(path)
        super().__init__(path)

    def close(self) -> None:
        """Close and forget."""
        super().close()
        self._remove(self.path)

    @staticmethod
    def _remove(path: str) -> None:
        for suffix in ("", "-wal", "-shm", ".reserve"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + suffix)


class NoJournal(Journal):
    """Keeps nothing: for measuring what the journal costs, never for trading."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.no = 0
        self.head = GENESIS
        self.snapshot_no = 0
        self.checkpoint_rows = CHECKPOINT_ROWS
        self.has_reserve = True
        self.healthy = True

    def append(self, entries: list[Entry], wall_ns: int) -> None:
        """Forget the entries."""
        del wall_ns
        self.no += len(entries)

    def begin(self) -> None:
        """There is nothing to begin."""

    def on_statement(self, tell: Callable[[str], None]) -> None:
        """There are none."""

    def probe(self) -> None:
        """Nothing can fail."""

    def make_reserve(self) -> bool:
        """None is needed."""
        return True

    def free_reserve(self) -> bool:
        """There is none."""
        return False

    def idle(self) -> None:
        """Nothing to do."""

    def replay(self, types: Any, after: Mark = BEGINNING) -> Iterator[msgspec.Struct]:
        """Nothing was kept."""
        del types, after
        return iter(())

    def has(self, mark: Mark) -> bool:
        """Nothing was kept."""
        return mark == BEGINNING

    def close(self) -> None:
        """Nothing to close."""


def _checked(path: str, db: sqlite3.Connection, after: Mark) -> Iterator[tuple[Any, ...]]:
    # A million rows pass here at a start: no call a row but the hash's.
    head, expected = after.hash, after.no + 1
    sha256 = hashlib.sha256
    try:
        for row in db.execute(_SELECT, (after.no,)):
            no, wall_ns, kind, cl_ord_id, exec_id, message, said = row
            if no != expected:
                raise JournalError(f"{path}: row {expected} is missing (the next one there is {no})")
            text = f"{no}|{wall_ns}|{kind}|{cl_ord_id}|{exec_id or ''}|"
            head = sha256(head + text.encode() + message).digest()
            if head != said:
                raise JournalError(
                    f"{path}: row {no} was changed: its hash does not follow from the row before"
                )
            yield row
            expected += 1
    except (sqlite3.Error, TypeError) as error:  # a column that is no text or no blob was changed, too
        raise JournalError(f"{path}: row {expected} can't be read: {error}") from error


def verified_rows(path: str, db: sqlite3.Connection, after: Mark = BEGINNING) -> Iterator[Row]:
    """Yield the rows behind a mark in order; raise JournalError at the first that was changed or is missing."""
    return map(Row._make, _checked(path, db, after))


def entries(
    path: str, db: sqlite3.Connection, types: Any, after: Mark = BEGINNING
) -> Iterator[msgspec.Struct]:
    """Yield the entries behind a mark. Raises JournalError as `Journal.replay`."""
    decode = msgspec.msgpack.Decoder(types).decode
    for no, _, kind, _, _, message, _ in _checked(path, db, after):
        try:
            entry = decode(message)
        except msgspec.MsgspecError as error:
            raise JournalError(f"{path}: row {no} ({kind}) can't be read: {error}") from error
        yield entry


def has_row(path: str, db: sqlite3.Connection, mark: Mark) -> bool:
    """Say whether the row that a mark names is there with its hash. Raises JournalError."""
    if mark.no == 0:
        return mark == BEGINNING
    try:
        found = db.execute("SELECT hash FROM journal WHERE no = ?", (mark.no,)).fetchone()
    except sqlite3.Error as error:
        raise JournalError(f"{path}: {error}") from error
    return found is not None and found[0] == mark.hash


def open_read_only(path: str) -> sqlite3.Connection:
    """Open a journal for reading, beside a running engine or without one.

    Raises:
        JournalError: there is none, or it can't be read.
    """
    if not os.path.exists(path):
        raise JournalError(f"{path}: there is no such journal")
    try:
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise JournalError(f"{path}: {error}") from error


def read(path: str) -> Iterator[Row]:
    """Yield the verified rows of a journal file. Raises JournalError as `verified_rows`."""
    with contextlib.closing(open_read_only(path)) as db:
        yield from verified_rows(path, db)
