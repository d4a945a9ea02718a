"""The journal keeps what was committed, shows what was changed, and refuses a second row with one ExecID."""

import errno
import os
import sqlite3
import time

import msgspec
import pytest

from engine.errors import JournalError, JournalUnwritableError
from engine.runtime import journal as module
from engine.runtime.journal import Entry, Journal


class Note(msgspec.Struct, frozen=True, tag="note"):
    text: str


class Other(msgspec.Struct, frozen=True, tag="other"):
    number: int


TYPES = Note | Other


def filled(path, count=5):
    journal = Journal(str(path))
    journal.append([Entry(Note(f"n{i}"), f"c{i}", f"1;{i}") for i in range(count)], 7)
    return journal


def test_replay_gives_what_was_appended_in_order_across_reopening(tmp_path):
    path = tmp_path / "j.sqlite"
    journal = filled(path, 3)
    journal.append([Entry(Other(9), "", None)], 8)
    journal.close()
    again = Journal(str(path))
    assert list(again.replay(TYPES)) == [Note("n0"), Note("n1"), Note("n2"), Other(9)]
    again.append([Entry(Other(10), "", None)], 9)
    assert [row.no for row in module.read(str(path))] == [1, 2, 3, 4, 5]


def test_a_batch_is_there_as_a_whole_or_not_at_all(tmp_path):
    journal = filled(tmp_path / "j.sqlite", 2)
    head, no = journal.head, journal.no
    with pytest.raises(JournalError, match="exec_id"):
        journal.append([Entry(Note("new"), "", "9;9"), Entry(Note("twice"), "", "1;1")], 8)
    assert (journal.head, journal.no) == (head, no)
    assert len(list(journal.replay(TYPES))) == 2
    journal.append([Entry(Note("later"), "", "9;9")], 9)
    assert len(list(journal.replay(TYPES))) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE journal SET cl_ord_id='x' WHERE no=3", "row 3 was changed"),
        ("UPDATE journal SET wall_ns=8 WHERE no=2", "row 2 was changed"),
        ("DELETE FROM journal WHERE no=4", "row 4 is missing"),
        ("DELETE FROM journal WHERE no=1", "row 1 is missing"),
        ("UPDATE journal SET hash=zeroblob(32) WHERE no=5", "row 5 was changed"),
    ],
)
def test_a_changed_or_missing_row_is_named(tmp_path, change, says):
    path = tmp_path / "j.sqlite"
    filled(path).close()
    with sqlite3.connect(path) as db:
        db.execute(change)
    with pytest.raises(JournalError, match=says):
        list(module.read(str(path)))


def test_files_are_readable_by_their_owner_only(tmp_path):
    path = tmp_path / "state" / "j.sqlite"
    filled(path)
    for name in os.listdir(path.parent):
        assert (path.parent / name).stat().st_mode & 0o077 == 0, name


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path):
    path = tmp_path / "j.sqlite"
    path.write_bytes(b"not a database, not at all" * 100)
    with pytest.raises(JournalError, match="can't be used as a journal"):
        Journal(str(path))


def test_a_full_disk_leaves_the_journal_as_it_was_and_it_recovers(tmp_path):
    """The size of the database is capped, as a full disk would: SQLite answers "database or disk is full"."""
    journal = filled(tmp_path / "j.sqlite", 2)
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(JournalError, match="full"):
        journal.append([Entry(Note("x" * 100_000), "", None)], 9)
    assert not journal.healthy
    journal._db.execute("PRAGMA max_page_count=1000000")
    journal.probe()
    journal.append([Entry(Note("y"), "", None)], 9)
    assert list(journal.replay(TYPES))[-1] == Note("y")


def test_a_database_that_turned_read_only_refuses_and_recovers(tmp_path):
    """As after a remount: SQLite answers "attempt to write a readonly database", nothing is lost, writing goes on later."""
    journal = filled(tmp_path / "j.sqlite", 2)
    journal._db.execute("PRAGMA query_only = 1")
    with pytest.raises(JournalError, match="readonly"):
        journal.append([Entry(Note("x"), "", None), Entry(Note("y"), "", None)], 9)
    with pytest.raises(JournalError, match="readonly"):
        journal.probe()
    assert (journal.no, journal.healthy) == (2, False)
    journal._db.execute("PRAGMA query_only = 0")
    journal.probe()
    journal.append([Entry(Note("x"), "", None)], 9)
    assert (journal.no, journal.healthy) == (3, True)


def test_a_directory_that_takes_no_files_is_a_clear_error():
    """With the file's name and the system's reason."""
    with pytest.raises(JournalError, match=r"/proc/nowhere/j\.sqlite: can't be used as a journal"):
        Journal("/proc/nowhere/j.sqlite")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_takes_nothing_now_is_no_damage(tmp_path, monkeypatch, number):
    """The start can be tried again, by itself: a full or read-only disk passes, damage does not."""

    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(JournalUnwritableError, match="can't be written now"):
        Journal(str(tmp_path / "j.sqlite"))


def test_a_database_that_somebody_else_holds_is_no_damage(tmp_path):
    """As a backup tool may; what is damaged is another error (above)."""
    path = str(tmp_path / "j.sqlite")
    filled(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalUnwritableError, match="locked"):
            Journal(path)
    other.close()


def reserve_of(tmp_path):
    return tmp_path / "j.sqlite.reserve"


def test_a_reserve_is_made_and_comes_back_when_there_is_space(tmp_path):
    journal = filled(tmp_path / "j.sqlite")
    assert journal.has_reserve and reserve_of(tmp_path).stat().st_size == module.RESERVE_BYTES
    assert journal.free_reserve() and not journal.has_reserve
    assert not reserve_of(tmp_path).exists() and not journal.free_reserve()
    assert journal.make_reserve() and journal.has_reserve


def test_no_reserve_is_made_of_the_last_space_there_is(tmp_path, monkeypatch):
    """That is the journal's: what is open can still be recorded in it."""
    journal = filled(tmp_path / "j.sqlite")
    journal.free_reserve()
    real = os.statvfs(tmp_path)

    class Little:
        f_bavail = 2 * module.RESERVE_BYTES // real.f_frsize - 1
        f_frsize = real.f_frsize

    monkeypatch.setattr(os, "statvfs", lambda _: Little)
    assert not journal.make_reserve()
    assert not reserve_of(tmp_path).exists() and not journal.has_reserve


def test_a_reserve_that_could_not_be_made_whole_takes_no_space(tmp_path, monkeypatch):
    """A quota that `statvfs` does not know of."""
    journal = filled(tmp_path / "j.sqlite")
    journal.free_reserve()

    def quota(*_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fchmod", quota)
    assert not journal.make_reserve()
    assert not reserve_of(tmp_path).exists()


def test_a_transaction_that_was_begun_ahead_takes_the_next_rows_and_holds_up_no_reader(tmp_path):
    """Another process reads while it is open, and what was committed in it at once."""
    path = tmp_path / "j.sqlite"
    journal = filled(path, 2)
    journal.begin()
    journal.begin()  # once is enough
    assert len(list(module.read(str(path)))) == 2
    journal.append([Entry(Other(1), "", None)], 8)
    assert len(list(module.read(str(path)))) == 3
    journal.begin()
    journal.append([Entry(Other(2), "", None), Entry(Other(3), "", None)], 9)
    journal.begin()
    journal.close()
    assert [row.no for row in module.read(str(path))] == [1, 2, 3, 4, 5]


def test_what_is_refused_in_a_transaction_begun_ahead_leaves_the_journal_as_it_was(tmp_path):
    journal = filled(tmp_path / "j.sqlite", 2)
    journal.begin()
    with pytest.raises(JournalError, match="exec_id"):
        journal.append([Entry(Note("new"), "", "9;9"), Entry(Note("twice"), "", "1;1")], 8)
    journal.append([Entry(Note("later"), "", "9;9")], 9)
    assert len(list(journal.replay(TYPES))) == 3


def test_a_transaction_that_sqlite_itself_took_back_costs_no_row(tmp_path):
    """As it does after some errors of the disk: the next rows are there once, and the ones after them follow."""
    path = tmp_path / "j.sqlite"
    journal = filled(path, 1)
    journal.begin()
    journal._db.execute("ROLLBACK")
    journal.append([Entry(Other(1), "", None)], 8)
    journal.append([Entry(Other(2), "", None)], 9)
    assert [row.no for row in module.read(str(path))] == [1, 2, 3]


def test_a_probe_is_committed_whatever_was_begun(tmp_path):
    """Or it would call a disk healthy to which nothing was written."""
    path = tmp_path / "j.sqlite"
    journal = filled(path, 2)
    journal.begin()
    journal.probe()
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT value FROM meta WHERE key='probe'").fetchone() == ("2",)
    other.close()


def test_what_was_begun_ahead_is_ours_until_it_is_committed(tmp_path):
    """So that a commit never finds the database locked by somebody who came in between; a close leaves nothing behind."""
    path = tmp_path / "j.sqlite"
    journal = filled(path, 1)
    journal.begin()
    with sqlite3.connect(path, isolation_level=None, timeout=0) as other:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        journal.append([Entry(Other(1), "", None)], 8)
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()
    journal.begin()
    journal.close()
    assert not os.path.exists(f"{path}-wal")


def test_a_transaction_that_can_not_be_begun_ahead_is_no_failure(tmp_path):
    """Somebody writes to the file (a tool by hand): the next append waits for him, as ever."""
    path = tmp_path / "j.sqlite"
    journal = filled(path, 1)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        begin = time.monotonic()
        for _ in range(1000):  # as often as nothing waits
            journal.begin()
        at_once_s = time.monotonic() - begin
        begin = time.monotonic()
        with pytest.raises(JournalError, match="locked"):
            journal.append([Entry(Other(1), "", None)], 8)
        assert at_once_s < (time.monotonic() - begin) / 2  # which waited
        other.execute("ROLLBACK")
    journal.append([Entry(Other(1), "", None)], 8)
    journal.begin()
    assert len(list(journal.replay(TYPES))) == 2


def test_the_wal_starts_anew_although_a_transaction_is_always_open(tmp_path):
    """An open transaction that held its reader's mark would let the file grow for ever."""
    path = tmp_path / "j.sqlite"
    journal = filled(path, 1)
    journal.checkpoint_rows = 50
    begun: list[str] = []
    journal.on_statement(begun.append)
    sizes = []
    for round_no in range(6):
        for number in range(50):
            journal.begin()
            journal.append([Entry(Other(100 * round_no + number), "", None)], 8)
        journal.begin()
        journal.idle()
        begun.clear()
        journal.begin()
        assert "BEGIN IMMEDIATE" in begun  # the next order's, too
        sizes.append(os.path.getsize(f"{path}-wal"))
    assert sizes[-1] <= sizes[0] * 1.2
