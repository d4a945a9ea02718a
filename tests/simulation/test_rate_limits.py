"""Ten thousand orders at once, on virtual time, at each of the venue's tiers."""

import msgspec
import pytest

from engine import config_loader
from engine.messages.commands import CancelOrder
from engine.messages.executions import EventKind
from engine.runtime.virtual import VirtualWorld
from engine.runtime.virtual_node import Watcher
from engine.strategy.api import Strategy, contracts
from engine.tools.docs_gen import ROOT
from engine.tools.simulation.invariants import watch_all
from engine.venue.buckets import TIERS

SECOND = 1_000_000_000
BTC = "BTC-PERP"
ORDERS = 10_000
CANCELS = 4
LIMITS = {
    "max_open_orders": 30_000,
    "max_unacknowledged": 30_000,
    "max_position": "1000000",
    "max_gross_notional": "100000000",
}


class Burst(Strategy):
    """Rests a few orders, then wishes for ten thousand at once; now and then it cancels one that rests."""

    def on_start(self):
        self.resting = []
        self.ctx.set_timer("rest", 3.0)

    def on_timer(self, name):
        book = self.ctx.book(BTC)
        price = (book.bid * 9 // 10) // 100 * 100
        if name == "rest":
            self.resting = [self.ctx.buy(BTC, contracts(1), price) for _ in range(CANCELS)]
            self.ctx.set_timer("burst", 3.0)
        elif name == "burst":
            for _ in range(ORDERS):
                self.ctx.buy(BTC, contracts(1), price, tif="IOC")
            self.ctx.set_timer("cancel", 1.0, repeat=True)
        elif self.resting:
            assert self.resting.pop().cancel()


class Wire(Watcher):
    """When cancels were wished for and when they left; how many orders left since the burst."""

    def __init__(self, world):
        self.world = world
        self.wished, self.gone, self.orders = {}, {}, 0
        self.burst_ns = 0

    def sent(self, node, channel, message, to, topic):
        if channel == "guard.orders" and node.name == "strategy.burst":
            if isinstance(message, CancelOrder):
                self.wished[message.cl_ord_id] = self.world.mono_ns
            elif getattr(message, "tif", "") == "3" and not self.burst_ns:
                self.burst_ns = self.world.mono_ns

    def wrote(self, node, link, data):
        if node.name != "order_entry":
            return
        for message in data.split(b"8=FIXT.1.1")[1:]:
            fields = dict(f.split(b"=", 1) for f in message.strip(b"\x01").split(b"\x01") if b"=" in f)
            if fields.get(b"35") == b"F":
                self.gone[fields[b"11"].decode()] = self.world.mono_ns
            elif fields.get(b"35") == b"D" and self.burst_ns:
                self.orders += 1


def config(tier, **changes):
    path = f"{ROOT}/configs/demo.toml"
    loaded = config_loader.load(
        path, [f"rate.tier={tier}", f"venue.tier={tier}", "venue.book_changes_per_s=5"]
    )
    wide = {name: msgspec.structs.replace(limits, **LIMITS) for name, limits in loaded.risk.markets.items()}
    risk = msgspec.structs.replace(
        loaded.risk,
        account=msgspec.structs.replace(loaded.risk.account, **LIMITS),
        markets=wide,
        kill_within_s=10_000,
    )
    burst = msgspec.structs.replace(
        loaded.strategies["quote_maker"],
        strategy="x:Burst", slot=1, markets=[BTC], config={}, over_budget="queue", queue_ms=3_600_000,
        limits=msgspec.structs.replace(loaded.strategies["quote_maker"].limits, **LIMITS),
    )  # fmt: skip
    markets = {
        name: msgspec.structs.replace(market, trades_per_s=0, volatility_bp=0)
        for name, market in loaded.venue.markets.items()
    }
    venue = msgspec.structs.replace(loaded.venue, markets=markets, **changes)
    return msgspec.structs.replace(loaded, risk=risk, strategies={"burst": burst}, venue=venue)


def burst(tier, seconds):
    """Run until everything has left, or so long after the burst."""
    world = VirtualWorld(config(tier), 7, {"burst": Burst})
    watch_all(world)
    wire = Wire(world)
    world.watch(wire)
    world.start()
    assert world.run(15, lambda: wire.burst_ns > 0)
    world.run(seconds, lambda: wire.orders >= ORDERS)
    return world, wire


def check(tier, seconds):
    world, wire = burst(tier, seconds)
    venue, guard = TIERS[tier], world.nodes["guard"].actor
    refused = [
        event for event in world.nodes["order_entry"].journal
        if event.kind is EventKind.NOT_SENT and "rate" in event.text.lower()
    ]  # fmt: skip
    assert not refused and guard.budget.emptied == 0, refused[:3]
    assert guard.refusals.by_control.get("tokens", 0) == 0
    passed_s = (world.mono_ns - wire.burst_ns) / SECOND
    cancels = [wire.gone[one] - wished for one, wished in wire.wished.items() if one in wire.gone]
    used = 10 * (wire.orders + len(cancels))
    could = venue.write_capacity + venue.write_per_s * passed_s
    assert used >= 0.95 * could, (used, could)
    assert len(cancels) == len(wire.wished) == min(CANCELS, int(passed_s)), (cancels, passed_s)
    assert max(cancels) < 100_000_000
    return wire


@pytest.mark.parametrize("tier", (min(TIERS, key=TIERS.get), max(TIERS, key=TIERS.get)))
def test_ten_thousand_orders_at_once_use_the_bucket_and_a_cancel_behind_them_leaves(tier):
    """The venue refuses none for its rate, 95 % of its tokens are used, a cancel leaves within 100 ms: for 8 s of the least and
    the highest tier; each tier to its end is a soak."""
    check(tier, 8)


@pytest.mark.soak
@pytest.mark.parametrize("tier", TIERS)
def test_all_ten_thousand_leave(tier):
    wire = check(tier, 1100)
    assert wire.orders == ORDERS
