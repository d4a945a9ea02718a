"""A worker that runs as another Unix user reaches the engine as itself and as nobody else.

Needs root, as `run_as` does; without root only the refusal of the configuration is shown.
"""

import json
import os
import pwd
import resource
import socket
import subprocess
import sys

import pytest
from integration.harness import FAST, ROOT, command, environment, wait_for

from engine.bus.security import doors_directory

NOBODY = "nobody"
AS_NOBODY = {**FAST, "strategies.quote_maker.run_as": NOBODY}
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as another user")


def hostile(run, *arguments):
    """Run tests/integration/hostile_worker.py as that user; return what it found."""
    path = os.path.join(os.path.dirname(__file__), "hostile_worker.py")
    done = subprocess.run(
        [sys.executable, path, run, doors_directory(run), str(pwd.getpwnam(NOBODY).pw_uid), *arguments],
        capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def engine(launch_shared):
    engine = launch_shared("--plain", "--json", changes=AS_NOBODY)
    engine.until_trading(30)
    return engine


@root
def test_the_worker_runs_as_its_user_and_trades(engine):
    pid = engine.child("strategy.quote_maker").pid
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        lines = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    uid = str(pwd.getpwnam(NOBODY).pw_uid)
    assert lines["Uid"].split() == [uid] * 4 and lines["Groups"].split() == []
    assert lines["NoNewPrivs"] == "1"
    engine.until_fills(3)
    orders = wait_for(
        "an order of the worker", lambda: [o for o in engine.orders().orders if o.strategy == 1]
    )
    assert orders


@root
def test_it_sees_no_other_strategys_orders(engine):
    """Whatever it subscribes to, its door gives its own events and the beat, while the others trade."""
    before = sum(use.fills for use in engine.guard().strategies if use.strategy == 2)
    found = hostile(engine.run, "tape")["topics"]
    assert set(found) == {"slot.001", "beat"}, found
    after = sum(use.fills for use in engine.guard().strategies if use.strategy == 2)
    assert after > before, "the other strategy had events meanwhile"


@root
def test_the_run_directory_is_closed_to_it(engine):
    found = hostile(engine.run, "files")
    assert found["opened"] == [] and found["tried"] > 10


@root
def test_ten_thousand_connects_and_commands_of_a_hostile_worker_none_accepted(engine):
    """Connects to the engine's own sockets are refused by the system; what comes through its door under another name is dropped."""
    approved = engine.child("guard").status.metrics["approved"]
    found = hostile(engine.run, "commands")
    assert found["connects_refused"] == found["connects"] >= 10_000
    assert found["commands"] >= 10_000 and found["answers"] == 0
    state = engine.state()
    assert state.state == "TRADING", state.reasons
    wait_for(
        "the count of what was dropped",
        lambda: engine.child("guard").status.metrics.get("turned_away", 0) > 1000,
    )
    ids = set(found["ids"])
    assert not ids & {order.cl_ord_id for order in engine.orders().orders}
    truth = engine.truth()
    assert not ids & {order.cl_ord_id for order in truth.orders}
    engine.until_fills(3)
    assert engine.child("guard").status.metrics["approved"] > approved, "the others trade on"


@root
def test_under_its_own_name_it_can_do_nothing_to_another(engine):
    """Another's slot, another's order, a halt, arming: refused or dropped."""
    found = hostile(engine.run, "own")
    assert found["controls"] and set(found["controls"]) <= {"slot", "unknown_order", "symbol"}, found
    assert engine.gate() == "TRADING"


@root
def test_the_system_lets_it_do_nothing_to_the_engines_processes(engine):
    """Signals, ptrace, /proc, limits, priorities of every process that is root's; the halt file, the doors, the run directory."""
    worker = engine.child("strategy.quote_maker").pid
    pids = [p.pid for p in engine.state().processes if p.pid != worker] + [engine.process.pid]
    found = hostile(engine.run, "system", *map(str, pids))
    assert found == {"done": [], "pids": len(pids)} and len(pids) >= 6


@root
def test_when_memory_is_short_it_is_the_first_to_go(engine):
    """And it can't make that undone."""
    worker = engine.child("strategy.quote_maker").pid

    def score(pid):
        with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
            return int(file.read())

    assert score(worker) == 1000 > score(engine.child("guard").pid)


@root
def test_connections_that_say_nothing_are_cut_off_and_end_nobody(engine):
    """ZeroMQ ends its process when descriptors run out: the guard has more than a worker's user can open, for 2 s each."""
    guard = engine.child("guard").pid
    resource.setrlimit(resource.RLIMIT_NOFILE, (3000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    door = os.path.join(doors_directory(engine.run), "001.guard.orders")
    opened = []
    try:
        while len(opened) < 2000:
            raw = socket.socket(socket.AF_UNIX)
            opened.append(raw)
            raw.connect(door)
        wait_for("them to be cut off", lambda: len(os.listdir(f"/proc/{guard}/fd")) < 200, 20)
    finally:
        for raw in opened:
            raw.close()
    assert engine.child("guard").pid == guard and engine.gate() == "TRADING"


@root
def test_it_ends_in_safe_order_and_clean(engine):
    engine.interrupt()
    assert os.path.isdir(doors_directory(engine.run))
    assert engine.wait(30) == 0, engine.said[-3000:]
    assert not os.path.exists(doors_directory(engine.run))


@root
def test_a_check_runs_its_code_as_its_user_too(tmp_path):
    """What `--check` loads is user code as well: it sees neither root nor the shell's secrets."""
    package = tmp_path / "code"
    package.mkdir()
    seen = tmp_path / "seen"
    seen.touch()
    seen.chmod(0o666)
    (package / "curious.py").write_text(
        f"import os\nopen({str(seen)!r}, 'w').write(f'{{os.getuid()}} ' + os.environ.get('SECRET', 'none'))\n"
        "from engine.strategy.api import Strategy\nclass Curious(Strategy):\n    pass\n"
    )
    for path in (package, *tmp_path.parents):
        if str(path).startswith("/tmp/pytest"):
            path.chmod(0o755)
    tmp_path.chmod(0o755)
    changes = ["strategy=curious:Curious", f"run_as={NOBODY}", "config={}"]
    settings = [part for change in changes for part in ("--set", f"strategies.quote_maker.{change}")]
    env = {**environment(), "SECRET": "hush", "PYTHONPATH": f"{ROOT}{os.pathsep}{package}"}
    done = subprocess.run(
        [sys.executable, "-m", "engine", "launch", "configs/demo.toml", "--check", *settings],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert seen.read_text() == f"{pwd.getpwnam(NOBODY).pw_uid} none"


@root
@pytest.mark.parametrize("starts", [("--check",), ("--plain", "--for", "1s")])
def test_code_that_the_worker_could_plant_is_refused_before_anything_starts(tmp_path, starts):
    """A directory on the import path that everybody may write, and a strategies/ of the worker's own user."""
    path = tmp_path / "path"
    (tmp_path / "strategies").mkdir()
    path.mkdir()
    path.chmod(0o777)
    os.chown(tmp_path / "strategies", pwd.getpwnam(NOBODY).pw_uid, -1)
    env = {**environment(), "PYTHONPATH": f"{ROOT}{os.pathsep}{path}"}
    run = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "engine", "launch", f"{ROOT}/configs/demo.toml", *starts, "--run", str(run),
         "--set", f"strategies.quote_maker.run_as={NOBODY}"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env=env,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert f"{path}: belongs to root and has mode 0777, but root imports code from there" in done.stderr
    assert f"{tmp_path}/strategies: belongs to {NOBODY} and has mode 0755" in done.stderr
    assert f"chmod go-w {path}" in done.stderr and not run.exists()


def test_a_user_that_can_not_be_is_named_at_the_start():
    done = command(
        "launch", "configs/demo.toml", "--check",
        "--set", 'strategies.quote_maker.run_as="no-such-user"', "--set", 'strategies.momentum_taker.run_as="root"',
    )  # fmt: skip
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "strategies.quote_maker.run_as: there is no Unix user 'no-such-user'" in done.stderr
    assert "'root' is root" in done.stderr


def test_two_workers_never_share_a_user():
    done = command(
        "launch", "configs/demo.toml", "--check",
        "--set", f'strategies.quote_maker.run_as="{NOBODY}"', "--set", f'strategies.momentum_taker.run_as="{NOBODY}"',
    )  # fmt: skip
    assert done.returncode != 0 and "each worker needs one of its own" in done.stderr
