"""Order groups with real processes: the venue's own limit, its trigger, the latch, and the operator who ends it."""

import os
import signal

import pytest
from integration.harness import FAST, assert_equal_to_venue, wait_for

from engine.messages.control import VenueFault

CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "restless.toml")
# A strategy that sends all the time, and a limit that a few of its fills exceed.
CHANGES = {key: value for key, value in FAST.items() if "quote_maker" not in key} | {
    "strategies.quote_maker.order_group_limit": 4,
    "strategies.quote_maker.config.percent": 40,
}
EXCEEDED = "EXCEEDED_ORDER_GROUP_RISK_LIMIT"
CANCEL = "ORDER_GROUP_CANCEL"


@pytest.fixture(scope="module")
def engine(launch_shared):
    engine = launch_shared("--plain", "--json", config=CONFIG, changes=CHANGES)
    engine.until_trading()
    engine.until_fills()
    engine.until_reconciled()
    return engine


def wire(engine):
    """The lines of the raw FIX log of the order session."""
    with open(os.path.join(engine.run, "logs", "order_entry.fix"), encoding="latin-1") as file:
        return file.read().splitlines()


def latches(engine):
    status = engine.guard()
    return status.latches if status is not None else {}


def latched(engine, timeout=60):
    wait_for(
        "the strategy to be latched",
        lambda: "strategy quote_maker" in latches(engine),
        timeout,
        seen=engine._seen,
    )


def trades_again(engine):
    """An operator resets the group and arms the strategy; it sends orders again."""
    reset = engine.ctl("group", "reset", "--strategy", "quote_maker", "--why", "seen")
    assert reset.returncode == 0 and "still halted" in reset.stdout, reset
    sent = len(orders(engine))
    armed = engine.ctl("arm", "--strategy", "quote_maker", "--why", "on")
    assert armed.returncode == 0, armed
    wait_for("its orders", lambda: len(orders(engine)) > sent, 20, seen=engine._seen)


def orders(engine):
    """New orders of the strategy on the wire: its slot is in their ClOrdIDs."""
    return [line for line in wire(engine) if " > " in line and "|35=D|" in line and "-8001-" in line]


def creates(engine):
    return len(
        [line for line in wire(engine) if " > " in line and "|35=UOG|" in line and "|20131=1|" in line]
    )


def test_one_group_is_made_and_every_order_of_the_strategy_carries_it(engine):
    assert creates(engine) == 1
    groups = {line.partition("|526=")[2].partition("|")[0] for line in orders(engine)}
    assert len(groups) == 1 and "" not in groups
    others = [line for line in wire(engine) if " > " in line and "|35=D|" in line and "-8002-" in line]
    assert all("|526=" not in line for line in others)


def test_a_triggered_group_latches_the_strategy_through_deaths_until_an_operator_ends_it(engine):
    """Nothing of it rests, the other strategy trades on; reset, then arm."""
    latched(engine)
    wait_for(
        "nothing of it to rest",
        lambda: (s := engine.orders()) and not [o for o in s.orders if o.strategy == 1],
        seen=engine._seen,
    )
    engine.until_fills()  # of the other
    pids = {name: engine.kill(name, signal.SIGKILL) for name in ("guard", "order_entry")}
    for name, pid in pids.items():
        wait_for(f"another {name}", lambda n=name, p=pid: (c := engine.child(n)) and c.pid not in (0, p))
    engine.until_trading(30)
    assert "strategy quote_maker" in latches(engine)
    sent = len(orders(engine))
    refused = engine.ctl("arm", "--strategy", "quote_maker", "--why", "too soon")
    assert (
        refused.returncode == 1
        and "ctl group reset --strategy quote_maker" in refused.stderr + refused.stdout
    )
    assert len(orders(engine)) == sent
    trades_again(engine)
    assert creates(engine) == 1


@pytest.mark.soak
def test_both_words_of_the_venue_for_a_triggered_group_latch_and_an_order_into_it_is_refused(engine):
    """ORDER_GROUP_CANCEL of what rested; EXCEEDED_ORDER_GROUP_RISK_LIMIT of an order that came after, as word was late."""

    def late(ms):
        fault = VenueFault(request_id="d", kind="delay", session="KalshiNR", arguments={"ms": str(ms)})
        assert engine.ask("venue.ask", fault).ok

    def missing():
        lines = wire(engine)
        return [word for word in (CANCEL, EXCEEDED) if not any(word in line for line in lines)]

    for _ in range(8):
        late(400 if EXCEEDED in missing() else 0)
        latched(engine)
        late(0)
        wait_for(
            "nothing of it to rest",
            lambda: (s := engine.orders()) and not [o for o in s.orders if o.strategy == 1],
            seen=engine._seen,
        )
        if not missing():
            break
        engine.until_trading(30)
        trades_again(engine)
    assert not missing()
    engine.until_trading(30)
    trades_again(engine)
    assert_equal_to_venue(engine, 30)
    engine.until_trading(30)
    engine.interrupt()
    assert engine.wait(40) in (0, 7), engine.said  # 7: it was triggered once more
    summary = engine.summary()
    assert (summary["open_orders"], summary["breaks"]) == (0, 0)
