"""Alerts of a live engine: one a condition, within 5 s, and a hook that misbehaves costs it nothing."""

import json
import signal
import sys
import time

from integration.harness import FAST, wait_for

# Writes down what it got and when, then floods, ignores what it can and never ends.
HOOK = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open({path!r}, "a") as file:
    file.write(sys.stdin.read())
while True:
    sys.stdout.write("x" * 100_000)
    time.sleep(0.01)
"""


def told(path):
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except OSError:
        return []


def test_a_halt_and_a_lost_session_are_told_once_each_and_a_hanging_hook_harms_nobody(launch, tmp_path):
    path = tmp_path / "alerts"
    hook = [sys.executable, "-c", HOOK.format(path=str(path))]
    engine = launch(changes={**FAST, "alerts.command": hook, "alerts.timeout_s": 2})
    engine.until_trading()
    began = time.monotonic()
    assert engine.halt("an alert").ok
    wait_for("the alert", lambda: told(path), 5, seen=engine._seen)
    assert time.monotonic() - began < 5
    halted = told(path)[0]
    assert (halted["kind"], halted["engine"]) == ("halt", "demo") and "an alert" in halted["text"]
    engine.until_said("did not end within 2 s and was killed", timeout=15)
    assert engine.arm().ok
    engine.until_trading()
    engine.kill("market_data", signal.SIGSTOP)

    def kinds():
        return {alert["kind"] for alert in told(path)}

    wait_for(
        "alerts of session and gate", lambda: kinds() >= {"session", "gate"}, 10, seen=lambda: told(path)
    )
    engine.until_trading(30)
    keys = [alert["key"] for alert in told(path)]
    assert len(keys) == len(set(keys)), keys
    assert "session:KalshiMD" in keys
    engine.interrupt()
    assert engine.wait() == 0
