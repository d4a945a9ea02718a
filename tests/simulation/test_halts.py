"""Halts at random times while strategies send all they can: no order leaves late, nothing stays open, arm lets it go on.

The check is written for itself: it looks at what the guard sends and at the bytes that order entry writes, not at latches.
"""

import functools
import random

import msgspec
import pytest

from engine import config_loader
from engine.messages.commands import Approved, Arm, Halt, HaltOrders, NewOrder, ReplaceOrder
from engine.runtime.virtual import HALT_FILE_NS, Watcher
from engine.runtime.virtual import VirtualWorld as World
from engine.tools.docs_gen import ROOT
from engine.tools.simulation.restless import Restless

TOOL = "tool.halts"
SLOTS = {1: "quote_maker", 2: "momentum_taker"}
SCOPES = ((None, ""), (None, ""), (1, ""), (2, ""), (None, "BTC-PERP"), (None, "ETH-PERP"))


@functools.cache
def busy():
    """The demo with strategies that do everything, much of it."""
    config = config_loader.load(f"{ROOT}/configs/demo.toml", [])
    strategies = {
        name: msgspec.structs.replace(strategy, config={"seed": 3, "percent": 60})
        for name, strategy in config.strategies.items()
    }
    return msgspec.structs.replace(config, strategies=strategies)


class Late(Watcher):
    """Notes every new or replacing order that leaves a process after it had to stop."""

    def __init__(self, world):
        self.world = world
        self.halted = {}  # (process, scope) to when it must have stopped
        self.scope_of = {}
        self.late = []
        self.approved = self.written = 0

    def stop(self, name, scope, at=None):
        self.halted.setdefault((name, scope), self.world.mono_ns if at is None else at)

    def delivered(self, source, target, channel, message):
        if target.name == "order_entry" and isinstance(message, HaltOrders):
            self.stop("order_entry", (message.strategy, message.symbol))

    def _look(self, name, slot, symbol, what):
        for (process, (strategy, market)), since in self.halted.items():
            inside = strategy in (None, slot) and market in ("", symbol)
            if process == name and inside and self.world.mono_ns > since:
                self.late.append((self.world.mono_ns, name, slot, symbol, what))

    def sent(self, node, channel, message, to, topic):
        if isinstance(message, Approved) and isinstance(message.request, NewOrder | ReplaceOrder):
            self.approved += 1
            self.scope_of[message.request.cl_ord_id] = message.strategy, message.request.symbol
            self._look("guard", message.strategy, message.request.symbol, message.request.cl_ord_id)

    def wrote(self, node, link, data):
        if node.name != "order_entry":
            return
        for body in data.split(b"8=FIXT.1.1\x01")[1:]:
            fields = dict(part.split(b"=", 1) for part in body.split(b"\x01") if b"=" in part)
            if fields[b"35"] in (b"D", b"G"):
                self.written += 1
                cl_ord_id = fields[b"11"].decode()
                self._look("order_entry", *self.scope_of[cl_ord_id], cl_ord_id)


def halt(world, watch, rng, scope):
    """By message, or by hand in the halt file; return a name for it."""
    strategy, symbol = scope
    if rng.random() < 0.75:
        world.tell(
            "guard",
            "guard.orders",
            Halt(request_id="h", why="drill", who="me", strategy=strategy, symbol=symbol),
            TOOL,
        )
        at = world.mono_ns
        world.run(0.0001)
        watch.stop("guard", scope)
        assert world.mono_ns - at <= 50_000_000
        return
    words = [f"strategy {SLOTS[strategy]}"] if strategy else []
    words += [f"market {symbol}"] if symbol else []
    world.write_halts((world.halt_text or "") + (" ".join(words) or "all") + ": by hand\n")
    for name in ("guard", "order_entry"):
        watch.stop(name, scope, world.mono_ns + HALT_FILE_NS)


def open_in(world, scope):
    orders = world.nodes["order_entry"].actor.ledger.orders.values()
    strategy, symbol = scope
    return [o for o in orders if strategy in (None, o.event.strategy) and symbol in ("", o.event.symbol)]


def drill(seed, count):
    world = World(busy(), seed, dict.fromkeys(SLOTS.values(), Restless))
    watch = Late(world)
    world.watch(watch)
    world.start()
    rng = random.Random(f"{seed}/halts")

    def gate():
        return world.nodes["guard"].actor.gate.state

    world.run(0.5)
    assert world.run(30, lambda: gate() == "TRADING")
    for number in range(count):
        world.run(rng.uniform(0.0, 0.4))
        scope = rng.choice(SCOPES)
        halt(world, watch, rng, scope)
        world.run(0.1)
        assert world.run(10, lambda scope=scope: not open_in(world, scope)), (number, scope)
        world.run(rng.uniform(0.0, 0.2))
        assert not open_in(world, scope)
        assert watch.late == [], (number, watch.late)
        watch.halted.clear()
        strategy, symbol = scope
        world.tell(
            "guard",
            "guard.orders",
            Arm(request_id="a", why="on", who="me", strategy=strategy, symbol=symbol),
            TOOL,
        )
        assert world.run(10, lambda: gate() == "TRADING" and world.halt_text is None), (
            number,
            world.halt_text,
        )
    return watch


def test_no_order_is_late_over_40_halts_at_random_times():
    watch = drill(1, 40)
    assert watch.approved > 100 and watch.written > 100


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(10))
def test_no_order_is_late_over_1000_halts_at_random_times(seed):
    drill(seed, 100)
