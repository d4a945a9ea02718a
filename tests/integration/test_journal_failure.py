"""A journal that can't be written: new orders stop, what happens is kept, cancels still go, and it opens again by itself.

The disk "fills" by a file-size limit on the live process (RLIMIT_FSIZE): SQLite gets a real write error, and no root
is needed to give it one. One engine for all of it.
"""

import os
import resource
import signal
import sqlite3

import pytest
from integration.harness import assert_equal_to_venue, wait_for


def fill_disk(pid, path):
    """Let no file of the process grow beyond what its write-ahead log has; return what undoes it."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (os.path.getsize(path), before[1]))
    return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def engine(launch_shared):
    engine = launch_shared("--plain", "--json")
    engine.until_trading()
    return engine


@pytest.mark.parametrize("name", ["order_entry", "guard", "drop_copy"])
def test_a_full_disk_closes_the_gate_and_space_opens_it_with_nothing_lost(engine, name):
    engine.until_trading()
    engine.until_fills()
    mark = engine.mark()
    path = os.path.join(engine.run, "state", f"{name}.sqlite-wal")
    free = fill_disk(engine.child(name).pid, path)
    try:
        if name == "guard":
            engine.halt("the guard journals this")
        engine.until_said("held in memory", mark, 10)
        if name != "drop_copy":
            wait_for("the gate to close", lambda: engine.gate() != "TRADING", 10, seen=engine._seen)
            wait_for("nothing to rest", lambda: not engine.truth().orders, 15, seen=engine._seen)
    finally:
        free()
    engine.until_said("can be written again", mark, 10)
    if name == "guard":
        engine.arm("there is space again")
    engine.until_trading(30)
    assert engine.child(name).restarts == 0
    engine.until_fills()
    assert_equal_to_venue(engine)


@pytest.mark.parametrize("name", ["order_entry", pytest.param("guard", marks=pytest.mark.soak)])
def test_a_process_whose_journal_can_not_be_opened_now_is_started_until_it_can(engine, name):
    """Somebody holds the database, and there is nowhere to write a log: no damage, so no end of the engine either."""
    engine.until_trading()
    engine.until_reconciled()
    mark = engine.mark()
    logs = os.path.join(engine.run, "logs")
    pid = engine.child(name).pid
    os.kill(engine.process.pid, signal.SIGSTOP)  # or another one would be there at once
    os.kill(pid, signal.SIGKILL)
    with sqlite3.connect(os.path.join(engine.run, "state", f"{name}.sqlite"), timeout=10) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        os.rename(logs, logs + ".gone")
        os.kill(engine.process.pid, signal.SIGCONT)
        engine.until_said(f"{name}: has no log: ", mark)
        engine.until_said("ended with code 75 (its journal can't be written now: free space", mark, 10)
        wait_for("the gate to close", lambda: engine.gate() != "TRADING", 5, seen=engine._seen)
        os.rename(logs + ".gone", logs)
    other.close()
    engine.until_trading(30)
    engine.until_fills()
    assert_equal_to_venue(engine)
    assert "Traceback" not in engine.said + engine.log(name)


def test_the_end_is_clean(engine):
    engine.until_trading(30)
    engine.interrupt()
    assert engine.wait() == 0, engine.said
    assert engine.summary()["clean"] is True
