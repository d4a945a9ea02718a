"""The loss of order entry: strategies are told and the gate closes, in any case before it is back; both within 500 ms.

scripts/test --soak tests/integration/test_order_entry_lost.py -s      # on a quiet machine: prints and holds the times
"""

import os
import re
import signal
import time
from datetime import datetime

import pytest
from integration.harness import DEMO, FAST, assert_equal_to_venue, wait_for
from integration.test_faulty_strategies import section

KNOWN_NS = 500_000_000
CLOSED = re.compile(r"^(\S+Z) \w+ gate TRADING -> ", re.MULTILINE)


class Lost:
    """An engine with a strategy that writes down what it is told."""

    def __init__(self, launch, directory):
        self.told_path = directory / "told"
        path = directory / "recording.toml"
        with open(DEMO, encoding="utf-8") as demo:
            path.write_text(
                demo.read() + section("recorder", 11, "recording:Recording", f'path = "{self.told_path}"')
            )
        self.engine = launch("--plain", "--json", config=path, changes=FAST | {"engine.silent_kill_s": 20})
        self.engine.until_trading()
        self.engine.until_fills()
        self.engine.until_reconciled()

    def told(self, since_ns, up):
        """Return when the strategy was told so since then, or None."""
        if not self.told_path.exists():
            return None
        for line in self.told_path.read_text().splitlines():
            at, said, _ = line.split(" ", 2)
            if int(at) >= since_ns and said == str(up):
                return int(at)
        return None

    def closed(self, since_ns):
        """Return when the guard closed its gate since then, to the ms below, or None."""
        for text in CLOSED.findall(self.engine.log("guard")):
            at = int(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000
            if at >= since_ns - 1_000_000:
                return at
        return None

    def lose(self, number):
        """Take order entry away; return how long the strategy and the guard took to know, in ns."""
        engine = self.engine
        engine.until_trading(60)
        wait_for("the strategy to know that it is there", lambda: self.is_told_up() in (None, True))
        # a process says the same line once a second
        wait_for("the last loss to lie back", lambda: self.closed(time.time_ns() - 2_000_000_000) is None)
        pid = engine.child("order_entry").pid
        begin = time.time_ns()
        os.kill(pid, number)
        told = wait_for("the strategy to be told", lambda: self.told(begin, False), 5, seen=engine._seen)
        closed = wait_for("the gate to close", lambda: self.closed(begin), 5, seen=engine._seen)
        if number == signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)
        back = wait_for("the strategy to be told that it is back", lambda: self.told(begin, True), 30)
        engine.until_trading(60)
        assert begin <= told < back and closed < back
        return told - begin, max(closed - begin, 0)

    def is_told_up(self):
        lines = self.told_path.read_text().splitlines() if self.told_path.exists() else []
        return lines[-1].split(" ", 2)[1] == "True" if lines else None


@pytest.fixture(scope="module")
def lost(launch_shared, tmp_path_factory):
    return Lost(launch_shared, tmp_path_factory.mktemp("lost"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_strategies_and_guard_know_that_order_entry_is_lost_before_it_is_back(lost, number):
    """Killed, or standing still; nothing is lost by it."""
    lost.lose(number)
    lost.engine.until_fills()
    assert_equal_to_venue(lost.engine)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_loss_of_order_entry_is_known_within_half_a_second(lost, number):
    times = [lost.lose(number) for _ in range(10)]
    for who, taken in (("the strategy", [t for t, _ in times]), ("the guard", [c for _, c in times])):
        print(
            f"\n{number.name}: {who} knew after {min(taken) / 1e6:.0f} to {max(taken) / 1e6:.0f} ms", end=""
        )
        assert max(taken) <= KNOWN_NS, times
