"""The whole machine stands still for seconds (a paused virtual machine, a disk that hangs): nobody is taken for dead."""

import os
import signal
import time

import pytest
from integration.harness import FAST, assert_equal_to_venue, stat_of, wait_for

STALL_S = 4.5  # longer than silent_kill_s below, and than a process waits for its supervisor


def stopped(pid):
    return stat_of(pid)[0] == "T"


@pytest.fixture(scope="module")
def engine(launch_shared):
    return launch_shared("--plain", "--json", changes=FAST | {"engine.silent_kill_s": 3})


@pytest.mark.parametrize("first", ["supervisor", "children"])
def test_a_stall_of_everything_kills_nobody_and_ends_nothing(engine, first):
    """Whoever wakes first: no process is killed as silent, none thinks that its supervisor is gone; it trades on."""
    engine.until_trading(30)
    engine.until_reconciled(30)
    supervisor = engine.process.pid
    before = {p.name: p.pid for p in engine.state().processes}
    pids = sorted(engine.living(), key=lambda pid: (pid == supervisor) != (first == "supervisor"))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_for("everything to stand still", lambda: all(stopped(pid) for pid in pids))
    until = time.monotonic() + STALL_S
    wait_for("the stall to last", lambda: time.monotonic() > until)
    mark = engine.mark()
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    engine.until_trading(30)
    engine.until_fills(1, 30)
    assert {p.name: (p.pid, p.restarts) for p in engine.state().processes} == {
        n: (p, 0) for n, p in before.items()
    }
    said = engine.since(mark)
    assert "killed" not in said and "the supervisor is gone" not in said, said
    assert_equal_to_venue(engine)


def test_the_end_is_clean(engine):
    engine.until_trading(30)
    engine.interrupt()
    assert engine.wait(30) == 0, engine.said[-3000:]
