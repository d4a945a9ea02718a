"""The Thursday window of the venue, by New York's clock, across both clock changes (session scenario 13.1): whole engines on virtual time.

The gate closes before it. Each case begins shortly before the window as the documents have it in UTC; amid it all clocks
are put forward.
"""

import re

import pytest

from engine import config_loader
from engine.common.clock import SECOND, parse_fix_time
from engine.messages.executions import EventKind, OrderEvent
from engine.runtime import virtual, virtual_node
from engine.runtime.virtual import VirtualWorld, Watcher
from engine.tools.docs_gen import ROOT
from engine.tools.simulation.comparison import differences
from engine.tools.simulation.invariants import watch_all

LEAD_S = 25  # the world begins so long before the window
PAUSE_LEAD_S = 10  # and the gate closes so long before it
WINDOWS = {
    "winter, the week before the change to summer time": "20260305-08:00:00.000",
    "summer, the week of the change": "20260312-07:00:00.000",
    "summer, the week before the change to winter time": "20261029-07:00:00.000",
    "winter, the week of the change": "20261105-08:00:00.000",
}


class Wire(Watcher):
    """Order entry's Logons: (mono_ns, text)."""

    def __init__(self):
        self.logons = []

    def wrote(self, node, link, data):
        if node.name == "order_entry" and b"\x0135=A\x01" in data:
            self.logons.append((node.world.mono_ns, data.decode("latin-1").replace("\x01", "|")))


def set_clocks(monkeypatch, start_ns):
    """Say what the wall clocks of all showed when the world began."""
    for module in (virtual, virtual_node):
        monkeypatch.setattr(module, "START_WALL_NS", start_ns)


def at(world, begin_ns):
    """Seconds since the window began, by the venue's wall clock."""
    return (world.now.wall_ns - begin_ns) / SECOND


def closed(world):
    guard = world.nodes["guard"].actor
    return guard is None or not guard.gate.open


def new_orders(world, since):
    events = [e for e in world.nodes["order_entry"].journal[since:] if isinstance(e, OrderEvent)]
    return [e for e in events if e.kind is EventKind.SUBMITTED]


@pytest.mark.parametrize(
    ("name", "session"), [*((name, "KalshiRT") for name in WINDOWS), (next(iter(WINDOWS)), "KalshiNR")]
)
def test_within_the_window_the_gate_is_closed_and_after_it_trading_goes_on(monkeypatch, name, session):
    """Sessions end as it begins and Logons are refused within; back-off; KalshiRT's numbers go on; nothing is lost."""
    begin_ns = parse_fix_time(WINDOWS[name])
    set_clocks(monkeypatch, begin_ns - (LEAD_S + 1) * SECOND)
    config = config_loader.load(
        f"{ROOT}/configs/demo.toml",
        [
            f'sessions.order_entry.target_comp_id="{session}"',
            "sessions.order_entry.cancel_orders_on_disconnect=false",
            'venue.maintenance="closed"',
            f"risk.pause_lead_s={PAUSE_LEAD_S}",
        ],
    )
    world = VirtualWorld(config, 11)
    checkers = watch_all(world)
    wire = Wire()
    world.watch(wire)
    world.start()
    assert world.run(20, lambda: not closed(world)), world.nodes["guard"].actor.gate.reasons
    assert at(world, begin_ns) < 0
    assert world.run(LEAD_S + 1, lambda: closed(world))
    assert -PAUSE_LEAD_S <= at(world, begin_ns) < 1 - PAUSE_LEAD_S, "closed before the window, not with it"
    assert world.run(LEAD_S + 1, lambda: at(world, begin_ns) > 0)
    since = len(world.nodes["order_entry"].journal)
    world.run(60)
    within = [mono for mono, _ in wire.logons if mono > (LEAD_S + 1) * SECOND]
    assert 2 <= len(within) <= 30, "tried again and again, ever more slowly"
    assert all(c - a >= 10 * SECOND for a, c in zip(within, within[3:], strict=False)), "3 in 10 s"
    assert closed(world) and not new_orders(world, since)
    set_clocks(monkeypatch, virtual.START_WALL_NS + (7200 - 70) * SECOND)
    assert closed(world) and at(world, begin_ns) < 7200
    assert world.run(90, lambda: not closed(world)), world.nodes["guard"].actor.gate.reasons
    assert at(world, begin_ns) > 7200, "not before the window is over"
    last = wire.logons[-1][1]
    assert ("|141=Y|" in last) is (session == "KalshiNR")
    assert int(re.search(r"\|34=(\d+)\|", last)[1]) > 1 or session == "KalshiNR"
    world.run(5)
    assert new_orders(world, since), "it trades again"
    for names in (
        ["strategy.quote_maker", "strategy.momentum_taker"],
        ["guard"],
        ["order_entry"],
        ["drop_copy"],
    ):
        for node in names:
            world.nodes[node].step("", lambda actor, now: actor.quiesce(now))
        assert world.run(20, lambda names=names: all(world.nodes[node].actor.quiesced for node in names))
    assert world.run(10, lambda: not differences(world)), differences(world)
    for checker in checkers:
        checker.at_rest()
