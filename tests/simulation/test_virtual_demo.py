"""The demo on virtual time, nothing goes wrong: it trades, it ends, everybody agrees, and it happens again exactly."""

import functools

import msgspec
import pytest

from engine import config_loader
from engine.common.fixed_point import parse_money
from engine.messages.control import VenueQuery, VenueTruth
from engine.messages.executions import EventKind, OrderEvent
from engine.runtime.virtual import VirtualWorld
from engine.runtime.virtual_node import Node
from engine.tools.docs_gen import ROOT
from engine.tools.simulation.comparison import differences
from engine.tools.simulation.invariants import watch_all

SECONDS = 60


@functools.cache
def demo():
    return config_loader.load(f"{ROOT}/configs/demo.toml", [])


def ended(seed, seconds, config=None):
    """Run, then end in the supervisor's order; return the world, its checkers, and the gate as it was before the end."""
    world = VirtualWorld(config or demo(), seed)
    checkers = watch_all(world)
    world.start()
    world.run(seconds)
    gate = world.nodes["guard"].actor.gate.state
    for names in (
        ["strategy.quote_maker", "strategy.momentum_taker"],
        ["guard"],
        ["order_entry"],
        ["drop_copy"],
    ):
        for name in names:
            world.nodes[name].step("", lambda actor, now: actor.quiesce(now))
        assert world.run(20, lambda names=names: all(world.nodes[name].actor.quiesced for name in names)), (
            names
        )
    assert world.run(5, lambda: not differences(world)), differences(world)
    return world, checkers, gate


@pytest.fixture(scope="module")
def run():
    return ended(1, SECONDS)


def test_the_gate_opens_and_both_strategies_trade(run):
    world, _, gate = run
    assert gate == "TRADING"
    events = [event for event in world.nodes["order_entry"].journal if event.kind is EventKind.TRADE]
    traded = {event.strategy for event in events}
    assert traded == {1, 2} and len(events) > 50


def test_positions_orders_and_money_are_the_venues(run):
    """The engine's own sums against the venue's answer over its channel, not its objects."""
    world, _, _ = run
    world.tell("venue", "venue.ask", VenueQuery(request_id="truth"))
    world.run(0.1)
    truth = next(answer for _, answer in world.answers if isinstance(answer, VenueTruth)).accounts[0]
    order_entry, guard = world.nodes["order_entry"].actor, world.nodes["guard"].actor
    own = order_entry.ledger.positions.account
    assert {symbol: p.qty for symbol, p in own.items() if p.qty} == truth.positions
    assert sum(p.fees for p in own.values()) == truth.fees > 0
    realised = sum(p.realised for p in own.values())
    assert parse_money(world.config.venue.balance) + realised - truth.fees == truth.cash
    assert sum(p.fills for p in own.values()) == truth.fills
    assert not order_entry.ledger.orders and not truth.orders and not guard.exposure.open
    assert {
        s: line.position.qty for s, line in guard.exposure.account_lines.items() if line.position.qty
    } == truth.positions


def test_drop_copy_confirmed_everything_without_a_break(run):
    world, _, _ = run
    drop_copy = world.nodes["drop_copy"].actor
    assert drop_copy.caught_up(world.now) and not drop_copy.reconciler.breaks.open
    assert drop_copy.reconciler.recovered == 0
    reports = [e for e in world.nodes["order_entry"].journal if isinstance(e, OrderEvent) and e.exec_id]
    assert drop_copy.reconciler.confirmed == len(reports)


def test_all_invariants_hold_at_rest(run):
    _, checkers, _ = run
    for checker in checkers:
        checker.at_rest()


@pytest.mark.parametrize("name", ["order_entry", "guard", "drop_copy"])
def test_replaying_a_journal_gives_the_state_that_was_there(run, name):
    """Through bytes, as from disk."""
    world, _, _ = run
    node = world.nodes[name]
    types = functools.reduce(lambda a, b: a | b, {type(entry) for entry in node.journal})
    actor = world.build(Node(world, name))
    for entry in node.journal:
        actor.replay(msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=types))
    assert actor.state_digest() == node.actor.state_digest()


def test_one_seed_is_one_trace_and_another_seed_another():
    hashes = [ended(seed, 10)[0].trace_hash for seed in (5, 5, 6)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_orders_that_are_left_are_the_same_here_and_there():
    """shutdown = leave: what rests at the end rests on both sides, with the same terms."""
    config = config_loader.load(
        f"{ROOT}/configs/demo.toml",
        ['engine.shutdown="leave"', "sessions.order_entry.cancel_orders_on_disconnect=false"],
    )
    world = VirtualWorld(config, 3)
    world.start()
    assert world.run(
        20,
        lambda: (
            len(world.nodes["order_entry"].actor.ledger.orders) >= 3
            if world.nodes["order_entry"].actor
            else False
        ),
    )
    # Workers die where they stand, so that nobody cancels.
    for name in ("guard", "strategy.quote_maker", "strategy.momentum_taker"):
        world.kill_node(name)
    venue, order_entry = world.nodes["venue"].actor, world.nodes["order_entry"].actor

    def same():
        here = {o.event.cl_ord_id: o.event.leaves_qty for o in order_entry.ledger.orders.values()}
        there = {o.cl_ord_id: o.leaves for o in venue.exchange.open.values()}
        return here == there and len(here) > 0

    assert world.run(1, same)
