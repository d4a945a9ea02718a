"""`kill -9` of each process at each point of an order's life: the engine comes back by itself and equals its venue.

The points are hooks of `engine.runtime.life_points`; one engine goes through all of them.
"""

import json
import os
import signal
import sqlite3

import pytest
from integration.harness import FAST, assert_equal_to_venue, wait_for

from engine.messages.control import VenueFault
from engine.runtime import life_points

CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "restless.toml")
VICTIMS = ("order_entry", "guard", "drop_copy", "market_data", "venue", "strategy.quote_maker")
CHANGES = {key: value for key, value in FAST.items() if "quote_maker" not in key} | {
    "engine.snapshot_rows": 100
}


@pytest.fixture(scope="module")
def mortal():
    """Processes that are started from here on have life points."""
    patch = pytest.MonkeyPatch()
    patch.setenv(life_points.VARIABLE, "1")
    yield
    patch.undo()


def begun(launch, *arguments, run=None, session="KalshiNR"):
    engine = launch(
        "--plain", "--json", *arguments, config=CONFIG, run=run,
        changes=CHANGES | {"sessions.order_entry.target_comp_id": session},
    )  # fmt: skip
    engine.until_trading(60)
    engine.until_fills(1, 60)
    engine.until_reconciled(60)
    return engine


def ask_for(engine, point, victim):
    """Have a process die when that point is reached next."""
    reached = os.path.join(engine.run, life_points.REACHED)
    if os.path.exists(reached):
        os.remove(reached)
    temporary = os.path.join(engine.run, "life-point.new")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(f"{point} {victim}")
    os.rename(temporary, os.path.join(engine.run, life_points.WANTED))
    return reached


def died_at(engine, point, victim):
    """Let one process die at one point; return when it runs again and the engine trades."""
    engine.until_trading(120)
    child = wait_for(f"{victim} to run", lambda: (c := engine.child(victim)) and c.pid and c, 60)
    reached = ask_for(engine, point, victim)
    if point == "P11":  # a gap, so that order entry asks again or logs on again
        session = next(p for p in engine.state().processes if p.name == "order_entry").status.sessions
        fault = VenueFault(
            request_id="g", kind="sequence_gap", session=next(iter(session)), arguments={"count": "1"}
        )
        engine.ask("venue.ask", fault)
    if point == "P14":
        engine.halt("a drill")
    wait_for(f"{point} to be reached", lambda: os.path.exists(reached), 60, seen=engine._seen)
    wait_for(
        f"{victim} to be another",
        lambda: (c := engine.child(victim)) and c.pid not in (0, child.pid) and c.state == "running",
        60,
        seen=engine._seen,
    )
    if point == "P14":
        wait_for("the halt to be over", lambda: (reply := engine.arm()) and reply.ok, 60, seen=engine._seen)
    engine.until_trading(120)


def written_ns(path):
    return os.stat(path).st_mtime_ns if os.path.exists(path) else 0


def snapshot_dies(engine):
    """Kill the process that makes a snapshot with its file half in place: said, and another one is made later."""
    # It runs at the lowest priority: on a busy machine it takes its time.
    mark = engine.mark()
    path = os.path.join(engine.run, "state", "order_entry.snapshot")
    reached = ask_for(engine, "P13-snapshot", life_points.SNAPSHOT)
    wait_for("P13-snapshot to be reached", lambda: os.path.exists(reached), 120, seen=engine._seen)
    engine.until_said("the snapshot of the journal failed with code -9", mark, 20)
    before = written_ns(path)
    wait_for("another snapshot", lambda: written_ns(path) > before, 120, seen=engine._seen)
    state = os.listdir(os.path.dirname(path))
    assert not [name for name in state if name.startswith("order_entry.snapshot.")]


def executions(run, name):
    path = os.path.join(run, "state", f"{name}.sqlite")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as journal:
        return [row[0] for row in journal.execute("select exec_id from journal where exec_id is not null")]


def assert_ended_clean(engine):
    assert engine.wait(90) == 0, engine.said
    summary = engine.summary()
    assert (summary["clean"], summary["open_orders"], summary["breaks"]) == (True, 0, 0), json.dumps(summary)
    ours, theirs = executions(engine.run, "order_entry"), executions(engine.run, "venue")
    assert len(ours) == len(set(ours)) and set(ours) <= set(theirs)


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("session", ["KalshiNR", "KalshiRT"])
def test_each_process_may_die_at_each_point_of_an_orders_life(launch, mortal, session):
    engine = begun(launch, session=session)
    for point in life_points.POINTS:
        for victim in VICTIMS:
            died_at(engine, point, victim)
            assert_equal_to_venue(engine, 60)
    snapshot_dies(engine)
    assert_equal_to_venue(engine, 60)
    engine.until_trading(60)
    engine.interrupt()
    assert_ended_clean(engine)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("victim", VICTIMS)
def test_each_process_may_die_amid_the_shutdown(launch, mortal, victim):
    """The next start takes up what was left, and ends clean."""
    engine = begun(launch)
    reached = ask_for(engine, "P14", victim)
    engine.interrupt()
    engine.wait(120)
    assert os.path.exists(reached)
    again = begun(launch, run=engine.run)
    assert_equal_to_venue(again, 60)
    again.interrupt()
    assert_ended_clean(again)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "point", ["P1", "P2", "P3", "P4", "P6", "P8", "P9", "P12", "P13", *life_points.FILES]
)
def test_the_supervisor_may_die_at_each_point(launch, mortal, point):
    """Its processes end in safe order by themselves; the next start takes up what was left."""
    engine = begun(launch)
    reached = ask_for(engine, point, "supervisor")
    wait_for(f"{point} to be reached", lambda: os.path.exists(reached), 60)
    assert engine.wait(30) == -signal.SIGKILL
    wait_for("its processes to end", lambda: not engine.living(), 90)
    again = begun(launch, run=engine.run)
    assert_equal_to_venue(again, 60)
    again.interrupt()
    assert_ended_clean(again)


@pytest.mark.timeout(400)
def test_a_hook_kills_once_and_only_where_it_was_asked_to(launch, mortal):
    """One point, so that the suite has the hook itself: a fill is journalled, and order entry dies before it tells anyone."""
    engine = begun(launch)
    died_at(engine, "P8", "order_entry")
    assert_equal_to_venue(engine, 60)
    snapshot_dies(engine)
    assert not os.path.exists(os.path.join(engine.run, life_points.WANTED))
    engine.interrupt()
    assert_ended_clean(engine)


def test_without_the_variable_there_are_no_life_points(monkeypatch):
    monkeypatch.delenv(life_points.VARIABLE, raising=False)
    assert not life_points.wanted()
