"""A power cut amid any commit: what was acknowledged is there, what was not is there as a whole or not at all.

`synchronous` FULL syncs the write-ahead log before a commit is acknowledged. So at a cut the log holds everything up to
the last acknowledged commit, and of the next one any part: it is cut here at every commit, at many places each.
"""

import os
import random

import msgspec
import pytest

from engine.runtime import journal as journals
from engine.runtime.journal import Entry, Journal


class Note(msgspec.Struct, frozen=True, tag="note"):
    no: int
    text: str = ""


def disk(path) -> dict[str, bytes]:
    found = {}
    for name in ("", "-wal"):
        if os.path.exists(path + name):
            with open(path + name, "rb") as file:
                found[name] = file.read()
    return found


def restored(directory, files) -> list[int]:
    """The entries of a journal as it comes up on that disk; it takes more after that, and its chain holds."""
    path = str(directory / "j.sqlite")
    for name in ("", "-wal", "-shm"):
        if os.path.exists(path + name):
            os.unlink(path + name)
    for name, data in files.items():
        with open(path + name, "wb") as file:
            file.write(data)
    journal = Journal(path, "full")
    found = [entry.no for entry in journal.replay(Note)]
    assert journal.no == len(found)
    journal.append([Entry(Note(-1), "", None)], 1)
    journal.close()
    assert len(list(journals.read(path))) == len(found) + 1
    return found


def torn(before: bytes, after: bytes, at: int) -> bytes:
    """The file when only the bytes before `at` had reached the disk."""
    return after[:at] + before[at:]


@pytest.fixture
def commits(tmp_path):
    """(disk before, disk after, entries before, entries after) of commits of many sizes, one checkpoint among them."""
    path = str(tmp_path / "source.sqlite")
    journal = Journal(path, "full")
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    done, count, before = [], 0, disk(path)
    for step, size in enumerate((1, 3, 1, 40, 1, 2, 200, 1, 5, 1)):
        rows = [Entry(Note(count + no, "x" * (no * 37 % 900)), "", f"1;{count + no}") for no in range(size)]
        journal.append(rows, 7)
        after = disk(path)
        done.append((before, after, count, count + size))
        count += size
        if step == 5:
            journal._since_checkpoint = 10**6
            journal.idle()
        before = disk(path)
    yield done
    journal.close()


def test_a_cut_amid_any_commit_leaves_all_of_it_or_nothing(commits, tmp_path) -> None:
    rng = random.Random(1)
    for before, after, had, has in commits:
        assert restored(tmp_path, after) == list(range(has))  # acknowledged: there
        old, new = before.get("-wal", b""), after["-wal"]
        first = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(old))
        places = sorted({first, first + 1, len(new) - 1, *rng.choices(range(first, len(new)), k=5)})
        for at in places:
            found = restored(tmp_path, {"": before[""], "-wal": torn(old, new, at)})
            assert found in (list(range(had)), list(range(has))), at
        noise = new[:first] + rng.randbytes(len(new) - first)
        assert restored(tmp_path, {"": before[""], "-wal": noise}) == list(range(had))


def test_a_cut_amid_a_checkpoint_loses_nothing(commits, tmp_path) -> None:
    """The log is whole while the file is written from it."""
    _, full, _, count = commits[5]
    checkpointed = commits[6][0]
    assert checkpointed[""] != full[""]
    rng = random.Random(2)
    for at in sorted(rng.choices(range(len(checkpointed[""])), k=15)):
        found = restored(tmp_path, {"": torn(full[""], checkpointed[""], at), "-wal": full["-wal"]})
        assert found == list(range(count)), at
