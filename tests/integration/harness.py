"""Launches real engines, asks them over their own bus, breaks them, and leaves nothing behind.

Nothing here sleeps but `wait_for`, which polls a condition until its deadline and says what it last saw when that
passes. An engine's processes are found by the lock that all of them hold open.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from engine.bus.sockets import tool_socket
from engine.errors import NotRunningError
from engine.messages import commands, control
from engine.messages.executions import OrdersSnapshot, SnapshotRequest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
STRATEGIES = os.path.join(ROOT, "tests", "integration", "strategies")
DEMO = os.path.join(ROOT, "configs", "demo.toml")
POLL_S = 0.05

# A busier demo: fills come within a second, sweeps every second.
FAST = {
    "reconciliation.sweep_s": 1,
    "engine.shutdown_s": 5,
    "risk.stale_feed_ms": 300,
    "venue.book_changes_per_s": 100,
    'venue.markets."BTC-PERP".trades_per_s': 20,
    'venue.markets."ETH-PERP".trades_per_s': 20,
    "strategies.quote_maker.config.edge": "0.0030",
    "strategies.momentum_taker.config.threshold_bp": 2,
    "strategies.momentum_taker.config.lookback_ms": 500,
    "strategies.momentum_taker.config.hold_ms": 1000,
}


def wait_for(what, condition, timeout=10.0, seen=None):
    """Poll until `condition()` is true and return its value; fail with what was awaited, and with `seen()`."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            last = f"; last seen: {seen()}" if seen is not None else f"; last value: {value!r}"
            raise AssertionError(f"waited {timeout:g} s for {what}{last}")
        time.sleep(POLL_S)


def overrides(changes):
    """`--set` arguments of a dict of dotted keys."""
    arguments = []
    for key, value in changes.items():
        arguments += ["--set", f"{key}={json.dumps(value)}"]
    return arguments


def environment():
    """The environment of every command: test strategies can be imported, nothing is coloured."""
    paths = os.pathsep.join((ROOT, STRATEGIES))
    return {**os.environ, "PYTHONPATH": paths, "NO_COLOR": "1", "TERM": "dumb"}


def command(*arguments, timeout=30.0, cwd=ROOT):
    """Run one command of the engine to its end."""
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=cwd,
        env=environment(),
    )


def start(*arguments):
    """Start one command of the engine and return it, its output to be read."""
    return subprocess.Popen(
        [sys.executable, "-m", "engine", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment(),
    )


def processes_of(run):
    """Return pid to title of every living process of an engine: each of them holds the run directory's lock open."""
    found = {}
    lock = os.path.join(os.path.realpath(run), "lock")
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            handles = os.listdir(f"/proc/{entry}/fd")
            if not any(_link(f"/proc/{entry}/fd/{handle}") == lock for handle in handles):
                continue
            with open(f"/proc/{entry}/cmdline", encoding="latin-1") as file:
                found[int(entry)] = file.read().replace("\0", " ").strip()
        except OSError:
            continue
    return found


def stat_of(pid):
    """Return what the system says of a process behind its name: state, parent, group, session and so on."""
    with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
        return file.read().rpartition(")")[2].split()


def children_of(pid):
    """Return the pids of a process's children."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def _link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


class Engine:
    """One launched engine.

    Attributes:
        run: its run directory. process: the supervisor. out, err: what it wrote so far (properties).
    """

    def __init__(self, run, *arguments, config=DEMO, changes=None):
        self.run = str(run)
        os.makedirs(self.run, mode=0o700, exist_ok=True)
        number = len([name for name in os.listdir(self.run) if name.startswith("out.")])
        self._out_path = os.path.join(self.run, f"out.{number}")
        self._err_path = os.path.join(self.run, f"err.{number}")
        command_line = [sys.executable, "-m", "engine", "launch", str(config), "--run", self.run]
        command_line += [*arguments, *overrides(FAST if changes is None else changes)]
        self.started = time.monotonic()
        with open(self._out_path, "wb") as out, open(self._err_path, "wb") as err:
            self.process = subprocess.Popen(
                command_line,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                cwd=ROOT,
                env=environment(),
            )
        self._asked = 0

    # -- what it says

    @property
    def out(self):
        with open(self._out_path, encoding="utf-8") as file:
            return file.read()

    @property
    def err(self):
        with open(self._err_path, encoding="utf-8") as file:
            return file.read()

    @property
    def said(self):
        return self.out + self.err

    def mark(self):
        """Remember how much was said; `since(mark)` is what came after."""
        return len(self.out), len(self.err)

    def since(self, mark):
        return self.out[mark[0] :] + self.err[mark[1] :]

    def log(self, name):
        """Return the log of a process."""
        with open(os.path.join(self.run, "logs", f"{name}.log"), encoding="utf-8") as file:
            return file.read()

    # -- asking

    def ask(self, channel, message, timeout_ms=1000):
        """Return the answer with the message's request_id, or None."""
        self._asked += 1
        try:
            bus = tool_socket(self.run, channel, f"tool.test.{os.getpid()}.{self._asked}")
        except NotRunningError:
            return None
        request_id = getattr(message, "request_id", None)
        try:
            return bus.request(
                message, lambda a: getattr(a, "request_id", request_id) == request_id, timeout_ms
            )
        finally:
            bus.close()

    def state(self):
        """Return the EngineState, or None when the supervisor does not answer."""
        return self.ask("control", control.EngineQuery(request_id="state"))

    def gate(self):
        state = self.state()
        return state.state if state is not None else "(no answer)"

    def child(self, name):
        """Return the ProcessState of one process."""
        state = self.state()
        return next((p for p in state.processes if p.name == name), None) if state is not None else None

    def truth(self):
        """Return the venue's account `main`."""
        answer = self.ask("venue.ask", control.VenueQuery(request_id="truth", account="main"))
        return answer.accounts[0] if answer is not None and answer.accounts else None

    def orders(self):
        """Return order entry's snapshot of everything."""
        bus = tool_socket(self.run, "oe.ask", f"tool.test.{os.getpid()}.o{self._asked}")
        self._asked += 1
        try:
            return bus.request(SnapshotRequest(), lambda a: isinstance(a, OrdersSnapshot), 1000)
        finally:
            bus.close()

    def guard(self):
        """Return the guard's next status."""
        bus = tool_socket(self.run, "guard.feed", f"tool.test.{os.getpid()}.g", ("status",))
        try:
            return bus.receive(1000)
        finally:
            bus.close()

    def halt(self, why="a look"):
        return self.ask("guard.orders", commands.Halt(request_id="h", why=why, who="test"))

    def arm(self, why="looked"):
        return self.ask("guard.orders", commands.Arm(request_id="a", why=why, who="test"))

    def ctl(self, *arguments):
        """Run `ctl` against this engine."""
        return command("ctl", *arguments, "--run", self.run)

    # -- waiting

    def until_trading(self, timeout=15.0):
        return wait_for("TRADING", lambda: self.gate() == "TRADING", timeout, seen=self._seen)

    def until_said(self, text, mark=(0, 0), timeout=5.0):
        wait_for(f"{text!r} to be said", lambda: text in self.since(mark), timeout, seen=self._seen)

    def until_fills(self, more=1, timeout=20.0):
        """Wait for so many fills more at the venue."""
        begin = (self.truth() or control.VenueAccount(account="", cash=0, positions={}, fees=0, fills=0, orders=[])).fills  # fmt: skip
        wait_for(
            f"{more} fills", lambda: (t := self.truth()) and t.fills >= begin + more, timeout, seen=self._seen
        )

    def until_reconciled(self, timeout=15.0):
        """Wait until drop copy has a watermark, so that what follows can be proven from there."""
        wait_for(
            "a watermark", lambda: "reconciled" in self.said and self._watermark(), timeout, seen=self._seen
        )

    def _watermark(self):
        bus = tool_socket(self.run, "dc.feed", f"tool.test.{os.getpid()}.w", ("status",))
        try:
            status = bus.receive(1000)
        finally:
            bus.close()
        return status is not None and status.caught_up and status.watermark

    def _seen(self):
        return f"gate {self.gate()}, exit {self.process.poll()}\n{self.said[-4000:]}"

    # -- breaking and ending

    def kill(self, name, number=signal.SIGKILL):
        """Send a signal to one process of the engine; return its pid."""
        pid = wait_for(f"a pid of {name}", lambda: (c := self.child(name)) and c.state == "running" and c.pid)
        os.kill(pid, number)
        return pid

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def wait(self, timeout=20.0):
        """Return the exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the engine did not end within {timeout:g} s: {self._seen()}") from None

    def summary(self):
        """Return the JSON summary: the last line of standard output."""
        return json.loads(self.out.splitlines()[-1])

    def living(self):
        return processes_of(self.run)

    def destroy(self):
        """End everything that still lives, orphans too."""
        for pid in self.living():
            try:
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


def assert_equal_to_venue(engine, timeout=10.0):
    """With trading halted, what the engine holds for true must be what the venue has: positions, open orders, cash's parts.

    Returns:
        (venue's account, order entry's snapshot).
    """
    reply = wait_for("the halt", engine.halt)
    assert reply.ok, reply
    try:

        def compare():
            truth, ours = engine.truth(), engine.orders()
            if truth is None or ours is None:
                return None
            account = {p.symbol: p for p in ours.positions if p.strategy is None}
            same = (
                {o.cl_ord_id for o in truth.orders} == {o.cl_ord_id for o in ours.orders}
                and {s: q for s, q in truth.positions.items() if q}
                == {s: p.qty for s, p in account.items() if p.qty}
                and truth.fills == sum(p.fills for p in account.values())
                and truth.fees == sum(p.fees for p in account.values())
            )
            by_strategy = {}
            for position in ours.positions:
                if position.strategy is not None:
                    by_strategy[position.symbol] = by_strategy.get(position.symbol, 0) + position.qty
            same = same and {s: q for s, q in by_strategy.items() if q} == {
                s: p.qty for s, p in account.items() if p.qty
            }
            return (truth, ours) if same else None

        return wait_for(
            "the engine's orders and positions to equal the venue's",
            compare,
            timeout,
            seen=lambda: f"{engine.truth()}\n{engine.orders()}\n{engine.said[-3000:]}",
        )
    finally:
        reply = wait_for("arming", engine.arm)
        assert reply.ok, reply


def short_directory():
    """Make a directory with a path short enough for sockets."""
    return tempfile.mkdtemp(prefix="eng-", dir="/tmp")


def remove(path):
    shutil.rmtree(path, ignore_errors=True)
