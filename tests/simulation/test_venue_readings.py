"""The engine lives with every reading of the venue's documents, and with every fault of a session that the venue can play."""

import os

import pytest

from engine import config_loader
from engine.messages.control import VenueFault
from engine.runtime.virtual import VirtualWorld
from engine.tools.simulate import simulate
from engine.tools.simulation.comparison import differences

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "configs", "demo.toml")
READINGS = [
    "comp_id=Kalshi",
    "connections=per_key",
    "closed_cl_ord_id=accept",
    "require_raw_data_length=true",
    "sending_time_tolerance_s=120",
    "heart_bt_int_min_s=4",
    "require_heart_bt_int=true",
    "new_before_trade=ignore",
    "costs={F = 2}",
    "logon_bucket=write",
    "logon_bucket=read",
    "stale_code=8",
    "entry_times=true",
    "security_status=false",
    "drop_copy_begin=any",
    "mass_cancel_scope=connection",
    "amend_flags=drop",
    "group_scope=account",
    "rt_after_maintenance=reset",
    "resend_on_nr=logout",
    "unclean_drop=by_heartbeat",
    "system_reports=listeners",
]


def load(*overrides):
    return config_loader.load(DEMO, list(overrides))


@pytest.mark.parametrize("session", ["KalshiNR", pytest.param("KalshiRT", marks=pytest.mark.soak)])
@pytest.mark.parametrize("reading", READINGS)
def test_the_engine_trades_and_agrees_with_the_venue_in_every_reading(reading, session):
    summary = simulate(load(f"venue.{reading}", f"sessions.order_entry.target_comp_id={session}"), 3, 6)
    assert summary.clean, summary.differences
    assert summary.report.fills > 0


@pytest.mark.parametrize("flag", ["false", "true"])
def test_new_before_trade_both_ways(flag):
    summary = simulate(load(f"sessions.order_entry.always_emit_new_before_trade={flag}"), 3, 6)
    assert summary.clean, summary.differences


FAULTS = [
    ("drop", {}),
    ("drop", {"linger": "yes"}),
    ("half_open", {}),
    ("unanswered_test_request", {}),
    ("sequence_gap", {"count": "2"}),
    ("sequence_low", {"count": "2"}),
    ("sequence_reset", {"by": "5"}),
    ("resend_request", {}),
    ("test_request", {}),
    ("delay", {"ms": "30", "jitter_ms": "40"}),
    ("split", {}),
    ("coalesce", {"ms": "40"}),
    ("bad_checksum", {}),
    ("bad_length", {}),
]


@pytest.mark.parametrize(
    "session",
    [
        "KalshiNR",
        "KalshiRT",
        pytest.param("KalshiMD", marks=pytest.mark.soak),
        pytest.param("KalshiDC", marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize(("kind", "arguments"), FAULTS, ids=[f"{kind}{len(more)}" for kind, more in FAULTS])
def test_the_engine_comes_back_from_every_fault_of_a_session(kind, arguments, session):
    orders = session if session in {"KalshiNR", "KalshiRT"} else "KalshiNR"
    world = VirtualWorld(load(f"sessions.order_entry.target_comp_id={orders}"), 5)
    world.start()
    world.run(4)
    fault = VenueFault(request_id="f", kind=kind, session=session, arguments=arguments)
    world.tell("venue", "venue.ask", fault)
    world.run(1)
    assert world.answers[-1][1].ok, world.answers[-1][1].text

    def is_trading():
        guard = world.nodes["guard"].actor
        return guard is not None and guard.status(world.now).state == "TRADING"

    world.run(5)
    assert world.run(90, is_trading), world.nodes["guard"].actor.status(world.now).detail
    world.run(3)
    for name in [*(n for n in world.nodes if n.startswith("strategy.")), "guard", "order_entry", "drop_copy"]:
        node = world.nodes[name]
        node.step("", lambda actor, now: actor.quiesce(now))
        assert world.run(40, lambda node=node: node.actor.quiesced), f"{name} does not quiesce"
    world.run(10, lambda: not differences(world))
    assert differences(world) == []
