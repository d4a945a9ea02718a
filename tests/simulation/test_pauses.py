"""Pauses at the embedded venue, seen from the guard: what waits, what is said, and how trading begins again."""

import msgspec
import pytest
from simulation.test_halts import busy

from engine.messages.commands import Approved, Arm, CancelOrder, ControlReply, Halt, NewOrder, ReplaceOrder
from engine.messages.control import VenueFault
from engine.messages.executions import OrderState
from engine.messages.market_data import BookRequest
from engine.runtime.virtual import VirtualWorld, Watcher
from engine.tools.simulation.restless import Restless

TOOL = "tool.pauses"


class Sent(Watcher):
    """What the guard sends, and when."""

    def __init__(self, world):
        self.world = world
        self.orders, self.cancels, self.asked_books = [], [], []

    def sent(self, node, channel, message, to, topic):
        if node.name != "guard":
            return
        if isinstance(message, Approved):
            kept = self.orders if isinstance(message.request, NewOrder | ReplaceOrder) else self.cancels
            kept.append((self.world.mono_ns, message.request))
        elif isinstance(message, BookRequest):
            self.asked_books.append(self.world.mono_ns)


class Rests(Restless):
    """Keeps an order behind the market and amends it once; cancels and places one now and then."""

    def on_book(self, book):
        pass

    def on_timer(self, name):
        """In a pause no book moves."""
        for symbol in self.ctx.markets:
            book, orders = self.ctx.book(symbol), self.ctx.orders(symbol)
            if book is None or not book.bids or not book.asks:
                continue
            if not orders:
                self.ctx.buy(symbol, 100, max(book.bids) * 95 // 100)
            elif orders[0].cl_ord_id == orders[0].id and orders[0].state == OrderState.NEW:
                orders[0].replace(price=orders[0].price - 1)
            elif self.random.randrange(100) < 10:
                orders[0].cancel()


@pytest.fixture
def world():
    """The demo, trading, swept every 2 s; the venue drops the pause flag of what is amended, so that it stays in a pause."""
    config = busy()
    demo = {
        name: msgspec.structs.replace(strategy, config={"seed": 5, "percent": 40})
        for name, strategy in config.strategies.items()
    }
    config = msgspec.structs.replace(
        config,
        strategies=demo,
        venue=msgspec.structs.replace(config.venue, amend_flags="drop"),
        reconciliation=msgspec.structs.replace(config.reconciliation, sweep_s=2),
    )
    world = VirtualWorld(config, 7, dict.fromkeys(demo, Rests))
    world.watcher = Sent(world)
    world.watch(world.watcher)
    world.start()
    world.run(0.5)
    assert world.run(30, lambda: gate(world).state == "TRADING")
    world.run(3)
    return world


def gate(world):
    return world.nodes["guard"].actor.gate


def fault(world, kind):
    world.tell("venue", "venue.ask", VenueFault(request_id=kind, kind=kind, arguments={}), TOOL)


def open_orders(world):
    return world.nodes["order_entry"].actor.ledger.orders


def test_after_a_trading_pause_a_book_and_a_sweep_come_before_the_first_order(world):
    fault(world, "trading_pause")
    assert world.run(10, lambda: gate(world).state == "PAUSED"), gate(world).reasons
    world.run(1)
    fault(world, "resume")
    paused = world.mono_ns
    world.watcher.orders.clear()
    world.watcher.asked_books.clear()
    assert world.run(30, lambda: gate(world).state == "TRADING" and world.watcher.orders)
    first = world.watcher.orders[0][0]
    watermark = gate(world).reconciliation.watermark_wall_ns
    assert paused < world.watcher.asked_books[0] < first
    assert watermark - world.now.wall_ns + world.mono_ns > world.watcher.asked_books[0] - 10**8


def test_in_an_exchange_pause_a_halt_says_what_it_cannot_cancel_and_cancels_it_afterwards(world):
    """No storm: one cancel every two seconds until the venue answers; then the rest, and nothing stays open."""
    amended = lambda: [o for o in open_orders(world).values() if o.event.cl_ord_id != o.event.order]  # noqa: E731
    assert world.run(20, lambda: len(amended()) >= 2)
    fault(world, "exchange_pause")
    assert world.run(20, lambda: gate(world).pauses.exchange), gate(world).reasons
    world.run(0.3)
    assert open_orders(world)
    world.answers.clear()
    world.watcher.cancels.clear()
    world.tell("guard", "guard.orders", Halt(request_id="h", why="odd", who="me"), TOOL)
    world.run(9)
    reply = next(m for _, m in world.answers if isinstance(m, ControlReply))
    assert reply.ok
    assert "can't be cancelled until it ends" in reply.text
    probes = [m for _, m in world.watcher.cancels if isinstance(m, CancelOrder)]
    assert 1 <= len(probes) <= 6, len(probes)
    fault(world, "resume")
    assert world.run(20, lambda: not open_orders(world)), open_orders(world)
    assert world.nodes["guard"].actor.report.status(world.now).cannot_cancel == ""
    world.tell("guard", "guard.orders", Arm(request_id="a", why="over", who="me"), TOOL)
    assert world.run(30, lambda: gate(world).state == "TRADING"), gate(world).reasons
