"""The halt file on disk: every change is noticed once, what can't be read halts, what can't be written is tried again."""

import os

from engine.common import halt_file
from engine.runtime.halt_disk import HaltDisk, HaltWatch


def test_a_file_that_comes_changes_and_goes_is_noticed_each_time(tmp_path):
    disk = HaltDisk(str(tmp_path))
    assert not disk.changed() and disk.text is None
    path = tmp_path / "halt"
    path.touch()
    assert disk.changed() and disk.text == ""
    assert not disk.changed()
    path.write_text("all: x\n")
    assert disk.changed() and disk.text == "all: x\n"
    path.unlink()
    assert disk.changed() and disk.text is None


def test_what_is_written_here_is_no_change(tmp_path):
    disk = HaltDisk(str(tmp_path))
    assert disk.write("all: x\n") == ""
    assert (tmp_path / "halt").read_text() == "all: x\n" and not disk.changed()
    assert oct(os.stat(tmp_path / "halt").st_mode & 0o777) == "0o600"
    assert disk.write("") == "" and not (tmp_path / "halt").exists()
    assert disk.write("") == "" and not disk.changed()


def test_a_file_that_cannot_be_read_halts_everything(tmp_path):
    """A directory in its place stands for any trouble."""
    disk = HaltDisk(str(tmp_path))
    (tmp_path / "halt").mkdir()
    assert disk.changed()
    assert [h[:2] for h in halt_file.parse(disk.text, {}, ())] == [(None, "")]


def test_what_could_not_be_written_is_written_later(tmp_path):
    disk = HaltDisk(str(tmp_path / "run"))
    assert "can't be written" in disk.write("all: x\n")
    (tmp_path / "run").mkdir()
    disk.retry()
    assert (tmp_path / "run" / "halt").read_text() == "all: x\n"


def test_what_a_person_wrote_just_before_is_not_overwritten_unseen(tmp_path):
    """An actor that keeps its latches is shown the file first, and keeps what came of that."""
    latched = []

    def tell(text):
        latched.extend(line for line in (text or "").splitlines() if line not in latched)
        watch.keep("".join(f"{line}\n" for line in latched))

    watch = HaltWatch(str(tmp_path), tell, lambda level, text: None)
    watch.begin()
    (tmp_path / "halt").write_text("market BTC-PERP: by hand\n")
    latched.append("all: by message")
    watch.keep("all: by message\n")
    assert (tmp_path / "halt").read_text() == "all: by message\nmarket BTC-PERP: by hand\n"
