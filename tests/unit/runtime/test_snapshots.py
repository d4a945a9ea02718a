"""Snapshots make a start faster and never different: one that does not hold in every respect is not taken."""

import os
import pathlib
import sqlite3
import time

import msgspec
import pytest

from engine.common.actor import Actor
from engine.errors import JournalError
from engine.runtime import snapshots
from engine.runtime.journal import Entry, Journal


class Note(msgspec.Struct, frozen=True, tag="note"):
    number: int


class Summer(Actor):
    """Sums what it replays."""

    takes_snapshots = True

    def __init__(self, made_of="sums") -> None:
        super().__init__(None)
        self.total = self.replayed = 0
        self.made_of = made_of

    def replay(self, entry) -> None:
        self.total += entry.number
        self.replayed += 1

    def dump(self) -> bytes:
        return msgspec.msgpack.encode(self.total)

    def load(self, state) -> None:
        self.total = msgspec.msgpack.decode(state, type=int)

    def snapshot_of(self) -> str:
        return self.made_of


@pytest.fixture
def path(tmp_path):
    """A journal of ten rows with a snapshot of them, and five rows more."""
    path = str(tmp_path / "summer.sqlite")
    journal = Journal(path)
    journal.append([Entry(Note(no), "", None) for no in range(1, 11)], 7)
    assert snapshots.make(path, Summer(), Note) == 10
    journal.append([Entry(Note(no), "", None) for no in range(11, 16)], 8)
    journal.close()
    return path


def started(path, actor=None):
    """(actor, row that the replay began behind, why the snapshot was not taken)."""
    journal, actor = Journal(path), actor or Summer()
    why = snapshots.replay(journal, actor, Note)
    journal.close()
    return actor, journal.snapshot_no, why


def test_only_what_came_after_the_snapshot_is_replayed(path) -> None:
    actor, row, why = started(path)
    assert (actor.total, actor.replayed, row, why) == (120, 5, 10, "")
    assert os.stat(snapshots.path_of(path)).st_mode & 0o077 == 0
    assert os.listdir(os.path.dirname(path)).count("summer.snapshot") == 1


def test_the_next_snapshot_goes_on_from_the_last(path) -> None:
    again = Summer()
    assert snapshots.make(path, again, Note) == 15
    assert again.replayed == 5
    assert started(path)[:2][1] == 15


def test_a_snapshot_of_other_facts_is_not_taken(path) -> None:
    """Another contract multiplier would have made other positions of the same rows."""
    actor, row, why = started(path, Summer("other sums"))
    assert (actor.total, actor.replayed, row) == (120, 15, 0)
    assert "other instruments" in why


def test_a_snapshot_of_other_code_is_not_taken(path, monkeypatch) -> None:
    monkeypatch.setattr(snapshots, "code", lambda: "other")
    assert started(path)[0].replayed == 15


@pytest.mark.parametrize("at", [0, 3, 9, 60, -1])
def test_a_flipped_bit_anywhere_and_it_is_not_taken(path, at) -> None:
    name = snapshots.path_of(path)
    data = bytearray(pathlib.Path(name).read_bytes())
    data[at] ^= 0x40
    pathlib.Path(name).write_bytes(data)
    actor, row, why = started(path)
    assert (actor.total, actor.replayed, row) == (120, 15, 0)
    assert why


@pytest.mark.parametrize("length", [0, 3, 30, -1])
def test_a_torn_snapshot_is_not_taken(path, length) -> None:
    name = snapshots.path_of(path)
    data = pathlib.Path(name).read_bytes()
    pathlib.Path(name).write_bytes(data[:length])
    actor, row, _ = started(path)
    assert (actor.total, actor.replayed, row) == (120, 15, 0)


def test_a_snapshot_of_rows_that_the_journal_lost_is_not_taken(path) -> None:
    """The journal is the truth, and what it does not have did not happen by it."""
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM journal WHERE no > 8")
    db.close()
    actor, row, why = started(path)
    assert (actor.total, row) == (36, 0)
    assert "does not have its row 10" in why


def test_a_journal_that_was_rewritten_does_not_fit_its_snapshot(path, tmp_path) -> None:
    """Same length, other content: the hash of the named row tells."""
    other = Journal(str(tmp_path / "other.sqlite"))
    other.append([Entry(Note(no * 2), "", None) for no in range(1, 16)], 7)
    other.close()
    os.replace(tmp_path / "other.sqlite", path)
    assert started(path)[0].total == 240


def test_a_row_after_the_snapshot_that_was_changed_is_named(path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE journal SET wall_ns = 9 WHERE no = 12")
    db.close()
    with pytest.raises(JournalError, match="row 12 was changed"):
        started(path)


def test_a_snapshot_that_can_not_be_written_leaves_the_last_one(path, monkeypatch) -> None:
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="No space left"):
        snapshots.make(path, Summer(), Note)
    monkeypatch.undo()
    assert started(path)[:2][1] == 10
    assert not [name for name in os.listdir(os.path.dirname(path)) if "snapshot." in name]


def test_snapshots_are_made_while_the_journal_grows(path) -> None:
    """One at a time, once so many rows came; a failure is said and is no more than that."""
    journal = Journal(path)
    snapshotter = snapshots.Snapshotter(journal, "summer", os.path.dirname(path), 3)
    assert snapshotter.look() is None  # 15 rows since 0
    process = snapshotter._process
    assert process is not None
    deadline = time.monotonic() + 30
    said = None
    while said is None and time.monotonic() < deadline:
        said = snapshotter.look()
        time.sleep(0.01)
    assert (
        said is not None and said[0] == "warning" and "failed with code" in said[1]
    )  # there is no such process in this directory
    assert snapshotter.look() is None and snapshotter._process is None
    journal.append([Entry(Note(1), "", None) for _ in range(3)], 9)
    snapshotter.look()
    assert snapshotter._process is not None
    snapshotter.end()
    assert snapshotter._process is None
    journal.close()
