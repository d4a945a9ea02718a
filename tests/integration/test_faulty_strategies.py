"""Strategies that do wrong harm themselves only: the others trade on, and the engine says who did what."""

import signal

import pytest
from integration.harness import DEMO, FAST, assert_equal_to_venue, wait_for

CALLBACKS = (
    "on_start", "on_book", "on_trade", "on_timer", "on_order", "on_fill", "on_refused", "on_market_state", "on_latched",
)  # fmt: skip


def section(name, slot, strategy, config=""):
    """A strategy's part of a configuration file."""
    return f"""
[strategies.{name}]
strategy = "{strategy}"
slot = {slot}
markets = ["BTC-PERP"]
[strategies.{name}.config]
{config}
[strategies.{name}.limits]
max_order_qty = "20"
max_order_notional = "500"
max_position = "100"
max_open_orders = 8
max_gross_notional = "5000"
max_loss = "250"
"""


@pytest.fixture(scope="module")
def engine(launch_shared, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "faulty.toml"
    with open(DEMO, encoding="utf-8") as demo:
        text = demo.read()
    text += section("once", 11, "faulty:Raises", "always = false")
    text += section("always", 12, "faulty:Raises", "always = true")
    text += section("hangs", 13, "faulty:Hangs")
    path.write_text(text)
    engine = launch_shared("--plain", "--json", config=path, changes=FAST | {"engine.silent_kill_s": 2})
    engine.until_trading()
    engine.until_reconciled()
    return engine


def test_a_failure_in_each_callback_is_logged_and_the_worker_lives_on(engine):
    """One line for each, with the place; the worker goes on and is never restarted."""
    assert engine.ctl("halt", "--why", "to be told", "--strategy", "once").returncode == 0
    assert engine.ctl("arm", "--why", "on", "--strategy", "once").returncode == 0
    # so that the market's state changes: a killed one is there again before anybody calls its books stale
    engine.kill("market_data", signal.SIGSTOP)

    def missing():
        log = engine.log("strategy.once")
        return [
            c for c in CALLBACKS if f"error strategy.once: {c} failed at faulty.py" not in log or f"wrong in {c}" not in log
        ]  # fmt: skip

    wait_for(
        "a failure in each callback",
        lambda: not missing(),
        seen=lambda: (missing(), engine.log("strategy.once")),
    )
    child = engine.child("strategy.once")
    assert (child.state, child.restarts) == ("running", 0)


def test_a_strategy_that_keeps_failing_is_stopped(engine):
    """Ten errors within a minute: its orders are cancelled, it is called no more, its process lives."""
    engine.until_said("strategy.always is stopped (failed: 10 errors within 60 s")
    child = wait_for(
        "its state", lambda: (c := engine.child("strategy.always")) and c.status.state == "HALTED" and c
    )
    assert (child.state, child.restarts) == ("running", 0)
    assert child.status.metrics["errors"] == 10


def test_a_strategy_that_hangs_is_killed_and_started_again(engine):
    """The guard lets nothing of it pass, the supervisor kills it."""
    engine.until_said("guard: worker hangs is silent: no new orders of it pass")
    engine.until_said("strategy.hangs: silent for 2 s: killed")
    engine.until_said("killed by signal 9; starts again in")


def test_the_other_strategies_trade_on(engine):
    """Fills of the good ones go on coming, and everything is as the venue has it."""
    engine.until_trading()

    def fills():
        return sum(use.fills for use in engine.guard().strategies if use.strategy == 1)

    before = fills()
    wait_for("fills of the quote maker", lambda: fills() > before, 15)
    assert_equal_to_venue(engine)


def test_a_second_signal_forces_the_end(engine):
    """Ctrl-C twice: the safe order is given up; exit code 130, nothing left running, and what may rest is said."""
    mark = engine.mark()
    engine.interrupt()
    engine.until_said("stopping in safe order: signal", mark)
    engine.interrupt()
    assert engine.wait(5) == 130, engine.said
    assert "second signal: ending at once" in engine.since(mark)
    assert engine.living() == {}
