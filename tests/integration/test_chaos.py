"""`scripts/chaos`: a real engine under kills, stops, cut links and a misbehaving venue ends equal to its venue, or says not."""

import json
import os
import subprocess
import time

import pytest
from integration.harness import DEMO, ROOT

from engine import config_loader
from engine.messages.control import VenueAccount, VenueOrder
from engine.messages.executions import EventKind, OrderEvent, OrdersSnapshot, OrderState, PositionState
from engine.tools.chaos import Chaos, comparison, plan

CHAOS = os.path.join(ROOT, "scripts", "chaos")


def chaos(*arguments, timeout):
    return subprocess.run(
        [CHAOS, *arguments], capture_output=True, text=True, timeout=timeout, check=False, cwd="/tmp"
    )


@pytest.mark.timeout(400)
def test_a_minute_of_chaos_loses_and_doubles_nothing():
    done = chaos("--for", "1m", "--seed", "4", "--json", timeout=390)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["equal"] is True and outcome["differences"] == []
    assert outcome["done"].keys() >= {"kill", "stop", "link"} and sum(outcome["done"].values()) > 10
    assert not os.path.exists(outcome["run_dir"])


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("session", ["KalshiNR", "KalshiRT"])
def test_ten_minutes_of_chaos_lose_and_double_nothing(session):
    done = chaos(
        "--for", "10m", "--seed", "2", "--set", f"sessions.order_entry.target_comp_id={session}", timeout=1100
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_is_one_plan_and_another_seed_another():
    def steps(seed):
        drawn = plan.draw(seed, ["strategy.a"], ["KalshiNR", "KalshiDC", "KalshiMD"])
        return [next(drawn) for _ in range(200)]

    assert steps(1) == steps(1) != steps(2)
    assert {step.kind for step in steps(1)} == set(plan.KINDS)
    assert any(len(step.names) == 2 for step in steps(1))


class Forgetful:
    """An engine whose gate still shows TRADING right after a kill, closes a moment later, and opens again."""

    def __init__(self):
        self.shown = [True, True, False, False, True]
        self.asked = 0

    def trading(self):
        self.asked += 1
        return self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]

    def wait_for(self, what, condition, seconds):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, what

    def fault(self, *_):
        pass

    arm = go_on = fault


def test_a_gate_that_has_not_noticed_the_last_fault_yet_is_not_taken_for_recovered():
    """Order entry's death is known within 500 ms: TRADING counts when it has stood for longer."""
    subject = Forgetful()
    Chaos(subject, config_loader.load(DEMO, []), 1, print).recover()
    assert subject.shown == [True] and subject.asked > 5


def event(cl_ord_id, leaves):
    return OrderEvent(
        tape_no=1, strategy=1, strategy_no=1, kind=EventKind.NEW, state=OrderState.NEW, order=cl_ord_id,
        cl_ord_id=cl_ord_id, wall_ns=1, symbol="BTC-PERP", side=1, price=5, qty=300, leaves_qty=leaves,
    )  # fmt: skip


def rests(cl_ord_id, leaves):
    return VenueOrder(
        cl_ord_id=cl_ord_id, order_id="o", symbol="BTC-PERP", side=1, price=5, qty=300, cum_qty=0, leaves_qty=leaves
    )  # fmt: skip


def snapshot(qty=100, fills=1, orders=()):
    positions = [
        PositionState(symbol="BTC-PERP", strategy=slot, qty=qty, fills=fills, fees=7) for slot in (None, 1)
    ]
    return OrdersSnapshot(tape_no=1, orders=list(orders), positions=positions)


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        (snapshot(orders=[event("a", 300)]), []),
        (snapshot(qty=200, orders=[event("a", 300)]), ["BTC-PERP: position 2.00, the venue's 1.00"]),
        (snapshot(fills=2, orders=[event("a", 300)]), ["fills: 2, the venue's 1"]),
        (snapshot(), ["open at the venue, not so here: ('a', 'BTC-PERP', 1, 5, 0, 300)"]),
        (
            snapshot(orders=[event("a", 200)]),
            [
                "open here, not so at the venue: ('a', 'BTC-PERP', 1, 5, 0, 200)",
                "open at the venue, not so here: ('a', 'BTC-PERP', 1, 5, 0, 300)",
            ],
        ),
    ],
)
def test_every_difference_is_named(ours, says):
    truth = VenueAccount(
        account="main", cash=0, positions={"BTC-PERP": 100}, fees=7, fills=1, orders=[rests("a", 300)]
    )
    assert comparison.differences(truth, ours) == says


def test_a_real_venue_is_never_broken():
    done = chaos("configs/kalshi-demo.toml", "--for", "1s", timeout=30)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_engine_that_can_not_start_is_a_failure_that_says_why(tmp_path):
    done = chaos("--for", "1s", "--set", "engine.name=''", timeout=60)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and "engine.name" in done.stdout + done.stderr
