"""A worker that floods: latched, its orders cancelled, the rest dropped undecoded and answered once; the others trade on."""

import os
import subprocess
import sys
import time

import pytest
from integration.harness import DEMO, FAST, ROOT, environment, wait_for

from engine.bus.sockets import tool_socket
from engine.messages.decisions import RefusalNote

FLOODER = """
[strategies.flooder]
strategy = "faulty:Idle"
slot = 21
markets = ["BTC-PERP"]
max_message_burst = 2000
[strategies.flooder.limits]
max_order_qty = "20"
max_order_notional = "500"
max_position = "100"
max_open_orders = 8
max_gross_notional = "5000"
max_loss = "250"
"""


def config(tmp_path):
    path = tmp_path / "flooder.toml"
    with open(DEMO, encoding="utf-8") as demo:
        path.write_text(demo.read() + FLOODER)
    return path


def flood(engine, seconds, per_s=50_000):
    """Start a bare socket that floods the guard under the flooder's name."""
    script = os.path.join(os.path.dirname(__file__), "raw_flood.py")
    return subprocess.Popen(
        [sys.executable, script, engine.run, "strategy.flooder", str(seconds), str(per_s)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
    )  # fmt: skip


def metrics(engine, name):
    child = engine.child(name)
    return child.status.metrics if child is not None and child.status is not None else {}


def test_a_flooder_is_latched_and_dropped_and_answered_once_while_the_others_trade(launch, tmp_path):
    engine = launch(config=config(tmp_path), changes=FAST)
    engine.until_trading(20)
    engine.until_fills()
    notes = tool_socket(engine.run, "guard.feed", "tool.test.flood", ("refused",))
    flooder = flood(engine, 3)
    wait_for(
        "the latch", lambda: "strategy flooder" in (engine.guard().latches or {}), 10, seen=lambda: engine.said[-2000:]
    )  # fmt: skip
    engine.until_fills(3)
    sent = int(flooder.communicate(timeout=30)[0])
    assert sent > 50_000
    wait_for("what was dropped", lambda: metrics(engine, "guard").get("discarded", 0) > sent * 0.8, 20)
    counted = []
    deadline = time.monotonic() + 10
    while not counted and time.monotonic() < deadline:
        note = notes.receive(500)
        if isinstance(note, RefusalNote) and note.control == "message_rate":
            counted.append(note)
    notes.close()
    assert counted and "messages were dropped" in counted[0].text
    assert set(engine.guard().latches) == {"strategy flooder"}
    engine.until_fills()
    done = engine.ctl("arm", "--strategy", "flooder", "--why", "mended")
    assert done.returncode == 0, done.stdout + done.stderr
    engine.interrupt()
    assert engine.wait(30) == 0, engine.said[-2000:]


@pytest.mark.soak
def test_a_flood_of_fifty_thousand_a_second_does_not_double_the_others_p99(launch, tmp_path):
    """Tick to trade of the other strategies: 10 s without and 10 s with the flood, each in an engine of its own."""
    p99 = {}
    for flooded in (False, True):
        engine = launch(config=config(tmp_path), changes=FAST)
        engine.until_trading(20)
        before = metrics(engine, "order_entry").get("tick_to_trade_count", 0)
        flooder = flood(engine, 10) if flooded else None
        wait_until = time.monotonic() + 11
        wait_for("ten seconds of trading", lambda until=wait_until: time.monotonic() > until, 20)
        if flooder is not None:
            assert int(flooder.communicate(timeout=30)[0]) > 200_000
        found = metrics(engine, "order_entry")
        assert found["tick_to_trade_count"] > before + 100
        p99[flooded] = found["tick_to_trade_p99_us"]
        engine.interrupt()
        engine.wait(30)
    print(f"p99 {p99[False]} us without, {p99[True]} us with the flood")
    assert p99[True] <= 2 * p99[False], p99
