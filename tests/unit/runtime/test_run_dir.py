import os

import pytest

from engine.errors import RunDirError
from engine.runtime import run_dir


def test_a_second_engine_on_one_directory_is_refused_and_told_who_holds_it(tmp_path):
    run_dir.prepare(str(tmp_path))
    lock = run_dir.RunDirLock(str(tmp_path))
    with pytest.raises(RunDirError, match=f"pid {os.getpid()}"):
        run_dir.RunDirLock(str(tmp_path))
    lock.release()
    run_dir.RunDirLock(str(tmp_path)).release()


def test_the_lock_of_an_engine_that_died_is_taken_over_and_its_pid_told(tmp_path):
    run_dir.prepare(str(tmp_path))
    (tmp_path / "lock").write_text("4242\n")
    lock = run_dir.RunDirLock(str(tmp_path))
    assert lock.stale_pid == 4242
    lock.release()


def test_an_api_key_is_locked_for_the_machine(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        run_dir.prepare(str(path))
    lock = run_dir.RunDirLock(str(one), ("key-of-this-test-only",))
    with pytest.raises(RunDirError, match="API key key-"):
        run_dir.RunDirLock(str(two), ("key-of-this-test-only",))
    lock.release()


def test_a_file_in_the_way_is_a_clear_error(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunDirError, match="can't be used as a run directory"):
        run_dir.prepare(str(tmp_path / "run"))


def test_a_lock_directory_that_others_can_write_is_refused(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(RunDirError, match="yours alone"):
        run_dir._make_private(str(shared))
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(RunDirError, match="yours alone"):
        run_dir._make_private(str(link))


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path):
    run_dir.prepare(str(tmp_path))
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunDirError, match="can't be locked"):
        run_dir.RunDirLock(str(tmp_path))
    assert not (tmp_path / "elsewhere").exists()
