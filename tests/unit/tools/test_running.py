"""Which engine a tool is meant for."""

import os

import pytest

from engine import config_loader
from engine.errors import NotRunningError, UsageError
from engine.runtime import run_dir
from engine.tools import running


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A working directory; makes run directories below `.run`, held ones when asked."""
    monkeypatch.chdir(tmp_path)
    locks = []

    def make(name, *, held):
        path = os.path.join(".run", name)
        run_dir.prepare(path)
        with open(os.path.join(path, "config.json"), "wb") as file:
            file.write(b"{}")
        lock = run_dir.RunDirLock(path)
        if held:
            locks.append(lock)
        else:
            lock.release()
        return path

    yield make
    for lock in locks:
        lock.release()


def test_the_one_that_runs_is_meant(runs):
    """Others that ended don't count."""
    runs("old", held=False)
    path = runs("new", held=True)
    assert running.running_run("") == path
    assert running.running_run(path) == path


def test_with_several_one_must_be_named(runs):
    """And the message names them."""
    runs("a", held=True)
    runs("b", held=True)
    with pytest.raises(UsageError, match=r"several engines run: \.run/a, \.run/b"):
        running.running_run("")


def test_none_runs(runs):
    """Neither below .run nor where it was said to."""
    with pytest.raises(NotRunningError, match="no engine runs below"):
        running.running_run("")
    path = runs("old", held=False)
    with pytest.raises(NotRunningError, match=r"\.run/old: no engine runs here"):
        running.running_run(path)


def test_a_directory_of_an_engine_that_was_killed_is_not_running(runs):
    """The lock file still has its pid, but nobody holds it."""
    path = runs("killed", held=False)
    with open(os.path.join(path, "lock"), "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    assert not running.is_running(path)


def test_the_latest_run_may_have_ended(runs):
    """Reports are read after the end."""
    older, newer = runs("older", held=False), runs("newer", held=False)
    os.utime(os.path.join(older, "lock"), (1, 1))
    assert running.latest_run() == newer


def test_a_damaged_configuration_is_named(runs):
    """With its path."""
    path = runs("a", held=False)
    with pytest.raises(NotRunningError, match=r"config\.json: can't be read"):
        running.running_config(path)
    assert config_loader.decode  # the loader's own message is part of it
