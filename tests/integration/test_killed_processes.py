"""`kill -9` of any one process while it trades: said, restarted, the gate closes and opens, nothing is lost or doubled.

One engine for all of it, killed again and again; it ends with a clean report that counts every execution of the venue.
"""

import os
import re
import signal
import sqlite3

import pytest
from integration.harness import FAST, assert_equal_to_venue, children_of, command, wait_for

CLOSED = re.compile(r"gate TRADING -> |gate STARTING -> |NO GUARD")


@pytest.fixture(scope="module")
def engine(launch_shared):
    engine = launch_shared("--plain", "--json", changes=FAST | {"engine.silent_kill_s": 3})
    engine.until_trading()
    engine.until_fills()
    engine.until_reconciled()
    return engine


@pytest.mark.parametrize(
    ("name", "closes"),
    [
        ("strategy.quote_maker", False),
        ("market_data", True),
        ("drop_copy", False),
        ("guard", True),
        ("order_entry", True),
        ("venue", True),
    ],
)
def test_a_killed_process_is_restarted_and_nothing_is_lost(engine, name, closes):
    """After the kill the engine trades again, and holds what the venue holds."""
    engine.until_trading()
    mark = engine.mark()
    restarts = engine.child(name).restarts
    pid = engine.kill(name)
    engine.until_said(f"{name}: pid {pid} killed by signal 9; starts again in 0.", mark)
    if closes:
        wait_for(
            "the gate to close",
            lambda: CLOSED.search(engine.since(mark)),
            3,
            seen=engine._seen,
        )
    wait_for(
        "the restart",
        lambda: (
            (c := engine.child(name)) and c.restarts == restarts + 1 and c.state == "running" and c.pid != pid
        ),
        seen=engine._seen,
    )
    engine.until_trading()
    engine.until_fills()
    assert_equal_to_venue(engine)
    engine.until_trading()


def test_a_killed_nursery_is_replaced_and_nothing_else_ends(engine):
    """What was forked lives on; what has to start meanwhile starts as a program, and later ones are forked again."""
    engine.until_trading()
    mark = engine.mark()
    pids = {p.name: p.pid for p in engine.state().processes}
    os.kill(nursery_of(engine), signal.SIGKILL)
    engine.until_said("nursery: killed by signal 9; another one takes its place", mark)
    wait_for("another nursery", lambda: nursery_of(engine), seen=engine._seen)
    assert {p.name: p.pid for p in engine.state().processes} == pids
    engine.until_trading()
    pid = engine.kill("market_data")
    engine.until_said(f"market_data: pid {pid} killed by signal 9", mark)
    engine.until_trading()
    engine.until_fills()
    assert_equal_to_venue(engine)


def nursery_of(engine):
    """It holds no lock, but the supervisor is its parent."""
    for child in children_of(engine.process.pid):
        with open(f"/proc/{child}/cmdline", "rb") as file:
            if file.read().startswith(b"engine: nursery"):
                return child
    return 0


def test_all_killed_at_once(engine):
    """Everything but the supervisor: each comes back from its journal, and together they find out what happened."""
    engine.until_trading()
    names = (
        "order_entry",
        "guard",
        "drop_copy",
        "market_data",
        "venue",
        "strategy.quote_maker",
        "strategy.momentum_taker",
    )
    pids = {name: engine.kill(name) for name in names}
    wait_for(
        "all of them to be new",
        lambda: (s := engine.state()) and all(p.pid not in (0, pids[p.name]) for p in s.processes),
        seen=engine._seen,
    )
    engine.until_trading()
    engine.until_fills()
    assert_equal_to_venue(engine)
    engine.until_trading()


def test_a_stopped_worker_loses_its_orders_and_is_replaced(engine):
    """SIGSTOP: after 1 s no new orders of it pass and its resting ones go; after `silent_kill_s` it is killed and started again."""
    engine.until_trading()
    mark = engine.mark()
    pid = engine.kill("strategy.quote_maker", signal.SIGSTOP)
    engine.until_said("guard: worker quote_maker is silent: no new orders of it pass", mark)
    engine.until_said("strategy.quote_maker: silent for 1 s", mark)
    wait_for(
        "its orders to be cancelled",
        lambda: (s := engine.orders()) and not [o for o in s.orders if o.strategy == 1],
        3,
        seen=lambda: engine.orders(),
    )
    assert engine.gate() == "TRADING"
    engine.until_said("strategy.quote_maker: silent for 3 s: killed", mark, 8)
    wait_for(
        "another one",
        lambda: (c := engine.child("strategy.quote_maker")) and c.state == "running" and c.pid != pid,
    )
    assert engine.since(mark).count("strategy.quote_maker: silent for 3 s: killed") == 1
    engine.until_fills()
    assert_equal_to_venue(engine)


def test_the_end_is_clean_and_has_every_execution_once(engine):
    """After everything that was done to it: exit code 0, no break, and each ExecID of the venue exactly once in the journal."""
    engine.until_trading()
    engine.interrupt()
    assert engine.wait() == 0, engine.said
    summary = engine.summary()
    assert (summary["clean"], summary["open_orders"], summary["breaks"]) == (True, 0, 0)
    assert summary["restarts"].keys() >= {"venue", "guard", "order_entry", "market_data", "drop_copy"}
    ours = _exec_ids(os.path.join(engine.run, "state", "order_entry.sqlite"))
    theirs = _exec_ids(os.path.join(engine.run, "state", "venue.sqlite"))
    assert len(ours) == len(set(ours)) and len(theirs) == len(set(theirs))
    assert set(ours) == set(theirs)
    assert engine.living() == {}
    report = command("reconcile", "report", "--run", engine.run)
    assert report.returncode == 0, report.stdout + report.stderr
    for name in ("order_entry", "guard", "drop_copy", "venue"):
        done = command("journal", "verify", "--actor", name, "--run", engine.run)
        assert done.returncode == 0, done.stdout + done.stderr


def _exec_ids(path):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as journal:
        return [row[0] for row in journal.execute("select exec_id from journal where exec_id is not null")]


@pytest.mark.parametrize("name", ["order_entry", "drop_copy"])
def test_a_process_that_dies_during_the_stop_finishes_what_the_stop_must_do(launch, name):
    """It is started again, cancels or sweeps, and the end is clean; a dead one is no finished one."""
    engine = launch("--plain", "--json")
    engine.until_trading()
    engine.until_fills()
    engine.until_reconciled()  # before the first watermark a loss of order entry leaves a gap, and says so
    wait_for("an open order", lambda: engine.truth().orders, seen=engine._seen)
    mark = engine.mark()
    engine.kill(name)
    engine.interrupt()
    assert engine.wait(40) == 0, engine.said
    summary = engine.summary()
    assert summary["clean"] is True
    assert summary["open_orders"] == 0
    assert f"{name}: pid" in engine.since(mark)


def test_an_end_that_could_not_cancel_says_so_and_is_not_clean(launch):
    """The venue is stopped: what rests and what nobody confirmed are breaks, and the exit code is 6."""
    engine = launch("--plain", "--json", changes={"engine.shutdown_s": 2})
    engine.until_trading()
    engine.until_fills()
    engine.until_reconciled()  # before the first watermark a loss of order entry leaves a gap, and says so
    wait_for("an open order", lambda: engine.truth().orders, seen=engine._seen)
    engine.kill("venue", signal.SIGSTOP)
    engine.interrupt()
    assert engine.wait(60) == 6, engine.said
    summary = engine.summary()
    assert summary["clean"] is False
    assert summary["breaks"] > 0


def test_a_damaged_order_journal_stops_the_start_and_names_the_row(engine):
    """The journal of the engine that ended above. No restart loop: the row is named, orders may rest, exit code 8."""
    assert engine.living() == {}
    path = os.path.join(engine.run, "state", "order_entry.sqlite")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE journal SET wall_ns = wall_ns + 1 WHERE no = 3")
    done = command("launch", "configs/demo.toml", "--run", engine.run, "--plain", "--for", "20s", timeout=60)
    assert done.returncode == 8, done.stdout + done.stderr
    assert "row 3 was changed" in done.stdout + done.stderr
    assert "orders may rest at the venue" in done.stdout + done.stderr
