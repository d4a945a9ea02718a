"""Fill reports are lost on a whole session: until drop copy brings them, the guard counts what CumQty says was filled."""

import functools

import msgspec
import pytest

from engine import config_loader
from engine.messages.commands import Approved, Arm, Refused
from engine.messages.control import VenueFault
from engine.messages.executions import EventKind, OrderEvent
from engine.runtime.virtual import VirtualWorld
from engine.strategy.api import Strategy, contracts
from engine.tools.docs_gen import ROOT
from engine.tools.simulation.comparison import differences
from engine.tools.simulation.invariants import watch_all
from engine.venue.actor import Venue
from engine.venue.history import History

BTC = "BTC-PERP"
MOST = 60
STEP = 1_00  # between the venue's offers, 10 contracts each at most
WIDE = {
    "max_order_qty": "100",
    "max_order_notional": "100000",
    "max_position": str(MOST),
    "max_gross_notional": "100000",
}


class Idle(Strategy):
    """Does nothing by itself."""


@functools.cache
def config():
    loaded = config_loader.load(
        f"{ROOT}/configs/demo.toml",
        [
            "venue.book_changes_per_s=5",
            "venue.markets.BTC-PERP.level_qty=10",
            "venue.markets.BTC-PERP.trades_per_s=0",
            "reconciliation.sweep_s=2",
        ],
    )

    def wide(limits):
        return msgspec.structs.replace(limits, **WIDE)

    risk = loaded.risk
    markets = {symbol: wide(limits) for symbol, limits in risk.markets.items()}
    risk = msgspec.structs.replace(risk, account=wide(risk.account), markets=markets)
    strategy = loaded.strategies["momentum_taker"]
    buyer = msgspec.structs.replace(strategy, limits=wide(strategy.limits), config={})
    return msgspec.structs.replace(loaded, risk=risk, strategies={"buyer": buyer})


class World(VirtualWorld):
    """The demo with one strategy that the test moves, and a venue whose Trades may get lost."""

    def __init__(self, monkeypatch):
        super().__init__(config(), 5, {"buyer": Idle})
        watch_all(self)
        self.losing = self.hiding = False
        self.lost, self.hidden = [], set()
        right, page = Venue._send_report, History.page

        def lossy(venue, owner_key, report, now):
            if not (self.losing and report.exec_type == "F"):
                right(venue, owner_key, report, now)
            else:
                self.lost.append(report)
                if self.hiding:
                    self.hidden.add(report.exec_id)

        def blind(history, *asked):
            found, following = page(history, *asked)
            return [report for report in found if report.exec_id not in self.hidden], following

        monkeypatch.setattr(Venue, "_send_report", lossy)
        monkeypatch.setattr(History, "page", blind)
        self.start()
        assert self.run(30, lambda: self.guard is not None and self.guard.gate.open)
        self.run(2)
        assert self.buy(contracts(1), self.book.bid * 995 // 1000, tif="IOC")
        self.run(5)  # drop copy has swept something: there is a watermark

    @property
    def book(self):
        def shown():
            book = self.nodes["strategy.buyer"].actor.ctx.book(BTC)
            return book if book is not None and book.two_sided else None

        assert self.run(10, lambda: shown() is not None)
        return shown()

    @property
    def guard(self):
        return self.nodes["guard"].actor

    @property
    def events(self):
        return [e for e in self.nodes["order_entry"].journal if isinstance(e, OrderEvent)]

    @property
    def truth(self):
        account = next(a for a in self.nodes["venue"].actor.exchange.accounts.values() if not a.synthetic)
        return account.position(BTC).qty

    @property
    def worst(self):
        """What the guard counts at worst, for the strategy, the market and the account."""
        exposure = self.guard.exposure
        return {
            scope.worst for scope in (exposure.strategies[2], exposure.market_scopes[BTC], exposure.account)
        }

    def fault(self, kind, **arguments):
        self.tell("venue", "venue.ask", VenueFault(request_id="f", kind=kind, arguments=arguments))

    def buy(self, qty, price, **more):
        """Wish for an order; True when the guard lets it out."""
        answers = []

        def heard(node, channel, message, to, topic):
            if node.name == "guard" and isinstance(message, Approved | Refused):
                answers.append(message)

        def act(host, now):
            host.ctx.step(now)
            host.ctx.buy(BTC, qty, price, **more)

        self.hooks["sent"].append(heard)
        self.nodes["strategy.buyer"].step("", act)
        assert self.run(1, lambda: bool(answers))
        self.hooks["sent"].remove(heard)
        return isinstance(answers[0], Approved)

    def take_and_lose(self, *, hidden=False):
        """Take some offers and want more; every Trade gets lost, the cancel report does not. What was filled.

        `hidden`: drop copy does not show the Trades either.
        """
        self.losing, self.hiding = True, hidden
        assert self.buy(contracts(45), self.book.ask + 3 * STEP, tif="IOC")
        assert self.run(1, lambda: self.events[-1].kind is EventKind.CANCELED)
        self.losing = False
        assert self.events[-1].cum_qty == 0
        assert self.run(1, lambda: bool(self.guard.exposure.short))
        assert 0 < self.truth <= contracts(MOST) - contracts(5)
        return self.truth


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_an_order_is_judged_by_the_fills_that_cum_qty_tells_of(world):
    """One contract more than what is left is refused, what is left passes; then drop copy brings the fills, once."""
    filled = world.take_and_lose()
    assert world.worst == {filled}
    low = world.book.bid * 995 // 1000
    assert not world.buy(contracts(MOST + 1) - filled, low)
    assert world.buy(contracts(MOST) - filled, low)
    assert world.run(20, lambda: world.guard.exposure.account_lines[BTC].position.qty == filled)
    world.run(1)
    assert world.worst == {contracts(MOST)} and not world.guard.exposure.short
    world.run(5)
    assert not world.buy(contracts(1), low)
    assert world.run(5, lambda: not differences(world)), differences(world)


@pytest.mark.parametrize("killed", [["guard"], ["order_entry"], ["guard", "order_entry", "strategy.buyer"]])
def test_what_is_missing_outlives_restarts(world, killed):
    """Drop copy can't bring the fills for a while: snapshot, tape and journal keep them, and they are released once."""
    world.fault("resend_reject", count="1000", reason="2")
    filled = world.take_and_lose()
    for name in killed:
        world.kill_node(name)
    world.run(0.5)
    for name in killed:
        world.start_node(name)
    assert world.run(30, lambda: world.guard.gate.tape_synced and not world.guard.tape.behind)
    assert world.worst == {filled} and world.guard.exposure.account_lines[BTC].position.qty == 0
    world.nodes["venue"].actor.drop_copy.refuse_with.clear()
    assert world.run(60, lambda: not world.guard.exposure.short)
    world.run(10)
    assert world.worst == {filled} and world.guard.exposure.account_lines[BTC].position.qty == filled
    assert world.run(20, lambda: not differences(world)), differences(world)


def test_fills_that_drop_copy_denies_count_until_the_last_of_them_came(world):
    """The gate closes, and neither opens nor is a contract let go before all the fills are positions."""
    filled = world.take_and_lose(hidden=True)
    assert len(world.lost) > 1
    first = world.lost[0]
    let_go = []
    world.hooks["stepped"].append(lambda node: node.name == "guard" and let_go.append(min(world.worst)))
    assert world.run(60, lambda: world.events[-1].kind is EventKind.FILLS_DENIED)
    assert world.run(1, lambda: not world.guard.gate.open)
    world.hidden.discard(first.exec_id)
    assert world.run(20, lambda: world.guard.exposure.account_lines[BTC].position.qty > 0)
    world.run(20)
    event = world.events[-1]
    assert (event.cum_qty, event.missing_qty) == (first.last_qty, filled - first.last_qty)
    assert world.guard.gate.reasons == ["1 open breaks of kind different"]
    world.hidden.clear()
    assert world.run(20, lambda: world.guard.gate.open)
    assert world.guard.exposure.account_lines[BTC].position.qty == filled
    assert let_go and set(let_go) == {filled}
    assert world.run(20, lambda: not differences(world)), differences(world)


def test_a_stated_position_settles_what_drop_copy_denies(world):
    """An operator's word opens the gate again, though the venue goes on contradicting itself."""
    filled = world.take_and_lose(hidden=True)
    assert world.run(60, lambda: world.events[-1].kind is EventKind.FILLS_DENIED)
    assert world.run(1, lambda: not world.guard.gate.open)
    world.tell(
        "guard",
        "guard.orders",
        Arm(request_id="a", who="ann", why="read on the web", accept_gap=True, positions={BTC: filled}),
    )
    assert world.run(20, lambda: world.guard.gate.open), world.guard.gate.reasons
    assert world.guard.exposure.account.worst == filled and not world.guard.exposure.short
    assert not world.buy(contracts(MOST + 1) - filled, world.book.bid * 995 // 1000)
    world.run(30)
    assert world.guard.gate.open and world.guard.exposure.account.worst == filled
