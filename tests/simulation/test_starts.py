"""Starts: cold, warm, with positions and resting orders from before, and after more than drop copy's three hours."""

import functools

import pytest

from engine import config_loader
from engine.common.clock import SECOND
from engine.messages.commands import Arm, ControlReply
from engine.messages.executions import EventKind, OrderEvent, Source
from engine.runtime.virtual import VirtualWorld
from engine.tools.docs_gen import ROOT
from engine.tools.simulation.comparison import differences
from engine.tools.simulation.invariants import watch_all

HOUR = 3600 * SECOND
ENGINE = (
    "order_entry",
    "market_data",
    "drop_copy",
    "guard",
    "strategy.quote_maker",
    "strategy.momentum_taker",
)
LEFT = ('engine.shutdown="leave"', "sessions.order_entry.cancel_orders_on_disconnect=false")


@functools.cache
def config(*changes):
    return config_loader.load(f"{ROOT}/configs/demo.toml", list(changes))


def gate(world):
    guard = world.nodes["guard"].actor
    return guard.gate.state.value if guard is not None else "(dead)"


def traded(seed, *changes, seconds=20):
    world = VirtualWorld(config(*changes), seed)
    checkers = watch_all(world)
    world.start()
    world.run(seconds)
    assert gate(world) == "TRADING"
    return world, checkers


def kill(world, names=ENGINE):
    for name in names:
        world.kill_node(name)


def start(world, names=ENGINE):
    for name in names:
        world.start_node(name)


def settled(world, checkers):
    assert world.run(60, lambda: gate(world) == "TRADING"), world.nodes["guard"].actor.gate.reasons
    for name in ("strategy.quote_maker", "strategy.momentum_taker", "guard", "order_entry", "drop_copy"):
        world.nodes[name].step("", lambda actor, now: actor.quiesce(now))
        assert world.run(20, lambda name=name: world.nodes[name].actor.quiesced)
    assert world.run(15, lambda: not differences(world)), differences(world)
    for checker in checkers:
        checker.at_rest()


def events(world):
    return [entry for entry in world.nodes["order_entry"].journal if isinstance(entry, OrderEvent)]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("changes", [(), LEFT])
def test_a_warm_start_with_positions_and_orders_from_before(seed, changes) -> None:
    """Everything of the engine was killed and away for a while: orders were filled or rest, positions are there."""
    world, checkers = traded(seed, *changes)
    world.run(10, lambda: len(world.nodes["venue"].actor.exchange.open) > 100)
    kill(world)
    world.run(20)
    start(world)
    settled(world, checkers)


def test_what_happened_meanwhile_is_recovered_through_order_entry_in_the_order_of_its_exec_ids() -> None:
    """Marked as recovered; the report of a fill that no session brought."""
    for seed in range(1, 12):
        world, checkers = traded(seed, *LEFT)
        kill(world)
        world.run(15)
        before = len(events(world))
        start(world)
        settled(world, checkers)
        recovered = [e for e in events(world)[before:] if e.source is Source.RECOVERED and e.exec_id]
        fills = [e for e in recovered if e.kind is EventKind.TRADE]
        if not fills:
            continue
        ledger = world.nodes["order_entry"].actor.ledger
        keys = [ledger.exec_key(e.exec_id) for e in recovered]
        assert keys == sorted(keys)
        return
    pytest.fail("no seed of these filled anything while the engine was away")


def test_after_more_than_three_hours_it_waits_for_an_operator() -> None:
    """Drop copy does not look back so far: that is said, nothing trades, and an accepted gap opens the gate again."""
    world, _ = traded(1)
    kill(world, (*ENGINE, "venue"))
    world.run(1)
    world.mono_ns += 3 * HOUR + HOUR // 2
    world.start_node("venue")
    world.run(1)
    start(world)
    world.run(90)
    guard = world.nodes["guard"].actor
    before = len(events(world))
    assert gate(world) != "TRADING"
    assert any("drop copy" in reason for reason in guard.gate.reasons), guard.gate.reasons
    status = guard.gate.reconciliation
    assert status is not None and status.gap
    assert not [e for e in events(world)[before:] if e.kind is EventKind.SUBMITTED]
    truth = world.nodes["venue"].actor.exchange.accounts["main"]
    positions = {symbol: qty for symbol, qty in ((s, p.qty) for s, p in truth.positions.items()) if qty}
    arm = Arm(request_id="a", why="read at the venue", who="me", accept_gap=True, positions=positions)
    world.tell("guard", "guard.orders", arm)
    assert world.run(5, lambda: any(isinstance(a, ControlReply) for _, a in world.answers))
    assert next(a for _, a in world.answers if isinstance(a, ControlReply)).ok
    assert world.run(60, lambda: gate(world) == "TRADING"), guard.gate.reasons
    assert world.run(20, lambda: any(e.kind is EventKind.SUBMITTED for e in events(world)[before:]))
    own = world.nodes["order_entry"].actor.ledger.positions
    now = {symbol: position.qty for symbol, position in truth.positions.items() if position.qty}
    assert world.run(
        5,
        lambda: (
            {s: p.qty for s, p in own.account.items() if p.qty}
            == {s: p.qty for s, p in truth.positions.items() if p.qty}
        ),
    ), now
