"""Order groups against the embedded venue, whole: made once, carried by every order, triggered, latched, reset by an operator."""

import functools

import msgspec
import pytest

from engine import config_loader
from engine.guard.kill_switch import ALL, LatchScope
from engine.messages.commands import Arm, ControlReply, GroupOrder, Halt
from engine.messages.control import VenueFault
from engine.messages.executions import EventKind, OrderEvent
from engine.order_entry.records import GroupRecord
from engine.runtime.virtual import VirtualWorld
from engine.runtime.virtual_node import Watcher
from engine.tools.docs_gen import ROOT
from engine.tools.simulation.comparison import differences

GROUPED = "strategies.quote_maker.order_group_limit=1000"


@functools.cache
def config(*changes):
    return config_loader.load(f"{ROOT}/configs/demo.toml", [GROUPED, *changes])


class Requests(Watcher):
    """Order groups and kills as they leave order entry: UOG actions, mass cancels, single cancels."""

    def __init__(self) -> None:
        self.left = []

    def wrote(self, node, link, data) -> None:
        if node.name == "order_entry":
            for message in data.split(b"8=FIXT.1.1")[1:]:
                fields = dict(field.split(b"=", 1) for field in message.split(b"\x01") if b"=" in field)
                kind = fields[b"35"].decode()
                if kind in ("D", "F", "q", "UOG"):
                    self.left.append((kind, fields))

    def actions(self):
        return [fields[b"20131"].decode() for kind, fields in self.left if kind == "UOG"]

    def orders(self, slot):
        return [f for kind, f in self.left if kind == "D" and f[b"11"].decode()[15:18] == f"{slot:03x}"]


def world_of(*changes, seed=1, seconds=10):
    world = VirtualWorld(config(*changes), seed)
    watcher = Requests()
    world.watch(watcher)
    world.start()
    world.run(seconds)
    return world, watcher


def group(world, slot=1):
    return world.nodes["order_entry"].actor.groups.of(slot)


def latches(world):
    return world.nodes["guard"].actor.halting.kill.latches


def operate(world, message, seconds=1.0):
    world.answers.clear()
    world.tell("guard", "guard.orders", message)
    assert world.run(seconds + 6, lambda: any(isinstance(a, ControlReply) for _, a in world.answers))
    return next(a for _, a in world.answers if isinstance(a, ControlReply))


def journal(world, kind):
    return [entry for entry in world.nodes["order_entry"].journal if isinstance(entry, kind)]


def trades_again(world, slot=1):
    before = len(journal(world, OrderEvent))

    def new():
        return any(
            event.strategy == slot and event.kind is EventKind.SUBMITTED
            for event in journal(world, OrderEvent)[before:]
        )

    return world.run(15, new)


def test_a_group_is_made_once_and_used_for_good() -> None:
    """Over kills of order entry, of the guard and of the venue; every order of the strategy carries it, no other's does."""
    world, watcher = world_of()
    made = group(world).group_id
    assert made and watcher.actions() == ["1"]
    for name in ("order_entry", "guard", "venue", "order_entry"):
        world.kill_node(name)
        world.run(1)
        world.start_node(name)
        world.run(15)
        assert trades_again(world), name
    assert group(world).group_id == made
    assert watcher.actions().count("1") == 1
    assert list(world.nodes["venue"].actor.exchange.groups) == [made]
    assert {f.get(b"526") for f in watcher.orders(1)} == {made.encode()}
    assert {f.get(b"526") for f in watcher.orders(2)} == {None}
    assert world.run(20, lambda: not differences(world)), differences(world)


def test_over_the_limit_the_strategy_is_latched_until_an_operator_resets_and_arms() -> None:
    """The guard stops adding first; what rests may still be filled over the limit, and then the venue cancels it."""
    changes = ("strategies.quote_maker.order_group_limit=6", "strategies.quote_maker.config.qty=8")
    world, watcher = world_of(*changes, seconds=3)
    assert world.run(120, lambda: LatchScope(1) in latches(world)), "its fills never triggered it"
    latch = latches(world)[LatchScope(1)]
    assert latch.who == "order group"
    world.run(1)
    assert group(world).state == "TRIGGERED"
    assert not [o for o in world.nodes["venue"].actor.exchange.open.values() if o.group]
    assert LatchScope(2) not in latches(world) and trades_again(world, 2)
    arm = Arm(request_id="a", why="again", who="me", strategy=1)
    refused = operate(world, arm)
    assert not refused.ok and "scripts/ctl group reset --strategy quote_maker" in refused.text
    gone = VenueFault(request_id="g", kind="already_exists", session="KalshiNR", arguments={"count": "1"})
    world.tell("venue", "venue.ask", gone)
    world.run(0.1)
    world.kill_node("guard")
    world.kill_node("order_entry")
    for name in ("order_entry", "guard"):
        world.start_node(name)
    reset = GroupOrder(request_id="r", who="me", why="seen", strategy=1, action="reset")
    assert world.run(70, lambda: world.nodes["order_entry"].actor.ready)
    guard = world.nodes["guard"].actor
    assert world.run(30, lambda: guard.groups.status(1) is not None and guard.commander.accepted)
    assert LatchScope(1) in latches(world) and group(world).state == "TRIGGERED"
    assert "2" not in watcher.actions()
    reply = operate(world, reset)
    assert reply.ok and "still halted" in reply.text
    assert watcher.actions()[-1] == "2"
    assert operate(world, msgspec.structs.replace(arm, request_id="b")).ok
    assert trades_again(world)


def _triggered(venue):
    return any(each.triggered for each in venue.exchange.groups.values())


def test_a_latch_that_the_guard_was_not_there_for_is_set_when_it_comes() -> None:
    changes = ("strategies.quote_maker.order_group_limit=6", "strategies.quote_maker.config.qty=8", 'engine.guard_loss="hold"')  # fmt: skip
    for seed in range(1, 9):
        world, _ = world_of(*changes, seed=seed, seconds=3)
        world.nodes["guard"].freeze()
        venue = world.nodes["venue"].actor
        assert world.run(60, lambda v=venue: _triggered(v) or not v.exchange.open)
        if _triggered(venue):
            break
    else:
        pytest.fail("no seed filled anything over the limit while the guard was away")
    world.kill_node("guard")
    world.start_node("guard")
    assert world.run(10, lambda: world.nodes["guard"].actor is not None and LatchScope(1) in latches(world))


@pytest.mark.parametrize("scope", [ALL, LatchScope(1)])
def test_a_kill_triggers_the_group_first_and_arming_resets_it(scope) -> None:
    """Then the mass cancel (everything, KalshiNR), then single cancels of what is still open: here the group did it all."""
    world, watcher = world_of("strategies.momentum_taker.limits.max_open_orders=1")
    venue = world.nodes["venue"].actor
    assert world.run(20, lambda: any(o.group for o in venue.exchange.open.values()))
    watcher.left.clear()
    halt = Halt(request_id="h", why="news", who="me", strategy=scope.strategy)
    assert operate(world, halt, 0.01).ok
    world.run(2)
    kinds = [kind for kind, _ in watcher.left]
    assert kinds[0] == "UOG" and watcher.actions() == ["4"]
    assert not watcher.orders(1) and (scope.strategy is not None or "D" not in kinds)
    assert not [o for o in venue.exchange.open.values() if o.owner.account == "main"]
    assert group(world).state == "KILLED" and set(latches(world)) == {scope}
    assert operate(world, Arm(request_id="a", why="over", who="me", strategy=scope.strategy)).ok
    world.run(1)
    assert watcher.actions() == ["4", "2"] and group(world).state == "READY"
    assert trades_again(world)


def test_a_market_halt_leaves_groups_alone() -> None:
    """They hold orders of other markets."""
    world, watcher = world_of()
    watcher.left.clear()
    assert operate(world, Halt(request_id="h", why="news", who="me", symbol="BTC-PERP")).ok
    world.run(2)
    assert watcher.actions() == []


class KillsAtCreate(Requests):
    """Order entry dies right after its create was written."""

    def wrote(self, node, link, data) -> None:
        super().wrote(node, link, data)
        if self.actions() == ["1"] and b"35=UOG" in data:
            node.world.after(1, lambda: node.world.kill_node("order_entry"))


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_order_entry_killed_before_the_answer_makes_no_second_group(seed) -> None:
    """It says so, does not trade the strategy, and takes the id that the operator read at the venue."""
    world = VirtualWorld(config(), seed)
    watcher = KillsAtCreate()
    world.watch(watcher)
    world.start()
    assert world.run(10, lambda: bool(watcher.actions()))
    world.run(1)
    assert world.nodes["order_entry"].actor is None
    world.start_node("order_entry")
    world.run(20)
    assert watcher.actions() == ["1"]
    assert group(world).state == "DOUBT" and not watcher.orders(1) and watcher.orders(2)
    order = GroupOrder(request_id="r", who="me", why="website", strategy=1, action="reset")
    assert not operate(world, order).ok
    groups = world.nodes["venue"].actor.exchange.groups
    made = next(iter(groups), "")
    action = "adopt" if made else "new"
    assert operate(world, msgspec.structs.replace(order, request_id="s", action=action, group_id=made)).ok
    assert trades_again(world)
    assert len(groups) == 1


def test_group_records_replay() -> None:
    world, _ = world_of(seconds=5)
    assert [record.state for record in journal(world, GroupRecord)] == ["CREATING", "READY"]
    digest = world.nodes["order_entry"].actor.state_digest()
    world.kill_node("order_entry")
    from engine.runtime.virtual import Node

    actor = world.build(Node(world, "order_entry"))
    for entry in world.nodes["order_entry"].journal:
        actor.replay(entry)
    assert actor.state_digest() == digest
