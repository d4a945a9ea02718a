"""How an engine is started should not matter: what whoever launches it left closed, ignored or busy."""

import os
import signal
import subprocess
import sys

import pytest
from integration.harness import DEMO, ROOT, children_of, environment, processes_of, wait_for

from engine.common.clock import SECOND
from engine.runtime.supervisor import NURSERY_NS

PLAIN = ("--plain", "--json")


def test_whoever_launches_it_may_ignore_the_ends_of_children(tmp_path):
    """Every process is started once, as their logs show, and the end is clean."""
    run = tmp_path / "run"
    command = (sys.executable, "-m", "engine", "launch", DEMO)
    done = subprocess.run(
        ["bash", "-c", "trap '' CHLD; exec \"$@\"", "-", *command, "--run", str(run), *PLAIN, "--for", "3s"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in os.listdir(run / "logs"):
        if name.endswith(".log"):
            assert "refused this process" not in (run / "logs" / name).read_text(), name


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_whoever_launches_it_may_have_closed_its_streams(tmp_path, closed):
    """It runs, and its processes hold its lock: no stream took its place."""
    run = tmp_path / "run"
    command = (sys.executable, "-m", "engine", "launch", DEMO, "--run", str(run), "--plain")
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" {closed}', "-", *command], cwd=ROOT, env=environment()
    )
    try:
        wait_for("its processes to hold the lock", lambda: len(processes_of(run)) == 8, 20)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()


def catches(pid, number):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        mask = next(line for line in file if line.startswith("SigCgt:"))
    return int(mask.split()[1], 16) >> number - 1 & 1


def test_a_stop_is_heard_while_the_nursery_imports(launch):
    """It is stopped here; a Ctrl-C ends the wait for it, and then the engine in safe order, as orders may rest from before."""
    engine = launch(*PLAIN)
    nursery = wait_for("the nursery", lambda: next(iter(children_of(engine.process.pid)), 0))
    os.kill(nursery, signal.SIGSTOP)
    wait_for("the supervisor", lambda: catches(engine.process.pid, signal.SIGTERM))
    mark = engine.mark()
    engine.interrupt()
    engine.until_said("stopping in safe order: signal", mark, NURSERY_NS / SECOND / 2)
    assert engine.wait() == 0, engine.said
    assert engine.summary()["clean"] is True
    assert not os.path.exists(f"/proc/{nursery}")


def test_a_nursery_that_takes_too_long_is_not_waited_for(launch):
    """Orders may rest from before: programs are started."""
    engine = launch(*PLAIN)
    nursery = wait_for("the nursery", lambda: next(iter(children_of(engine.process.pid)), 0))
    os.kill(nursery, signal.SIGSTOP)
    engine.until_trading()
    engine.interrupt()
    assert engine.wait() == 0, engine.said
