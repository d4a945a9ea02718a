"""The tape over real sockets: whoever reads it, however late or slow, has every event once, in order.

Order entry, a worker and the guard run in this process, each on its own ZeroMQ sockets and runtime, turned by hand: so
a reader can be late, stand still, or be replaced at an exact moment, and so can the publisher.
"""

import itertools
import time

import msgspec
import pytest
from integration.harness import remove, short_directory
from unit.order_entry.conftest import FakeClient

from engine import config_loader
from engine.bus.sockets import make_bus_directory
from engine.common.clock import Now
from engine.common.ids import ClOrdIDs
from engine.guard.actor import Guard
from engine.messages.commands import NewOrder
from engine.messages.executions import ReportCopy, Source
from engine.messages.topology import CHANNELS
from engine.order_entry.actor import OrderEntry
from engine.order_entry.records import OrderJournalEntry
from engine.orders import order as orders
from engine.runtime.journal import Journal
from engine.runtime.process import ProcessRuntime
from engine.strategy.api import Strategy
from engine.strategy.host import StrategyHost
from engine.tools.docs_gen import ROOT

SLOT = 1
SEEN = []


class Reader(Strategy):
    """Keeps the fills that it is told of."""

    def on_fill(self, order, fill):
        SEEN.append((fill.exec_id, fill.position))


class Place:
    """An engine's run directory with its processes, as many of them as the test wants."""

    def __init__(self, directory):
        self.directory = directory
        config = config_loader.load(f"{ROOT}/configs/demo.toml", [])
        maker = msgspec.structs.replace(config.strategies["quote_maker"], config={})
        self.config = msgspec.structs.replace(config, strategies={"quote_maker": maker})
        self.ids = ClOrdIDs(SLOT, 1_790_000_000_000, 7)
        self.exec_no = itertools.count(1)
        self.running = {}
        self.position = 0
        self.truth = []

    def start(self, name):
        journal = None
        if name == "order_entry":
            journal = Journal(f"{self.directory}/state/order_entry.sqlite")
        runtime = ProcessRuntime(
            name, self.config, self.directory, config_hash="", journal=journal, topics={"slot": f"{SLOT:03x}"}
        )
        now = runtime.now = Now(time.time_ns(), time.monotonic_ns())
        if name == "order_entry":
            client = FakeClient(runtime)
            client.logged_on, client.state = True, "logged on"
            actor = OrderEntry(self.config, runtime, None, lambda: 0.5, client=client)
            for entry in journal.replay(OrderJournalEntry):
                actor.replay(entry)
        elif name == "guard":
            runtime.journal = Journal(f"{self.directory}/state/guard.sqlite")
            actor = Guard(self.config, runtime, ClOrdIDs(0, 1_790_000_000_001, 9))
        else:
            actor = StrategyHost("quote_maker", self.config, runtime, ClOrdIDs(SLOT, 1, 3), Reader)
        runtime.actor = actor
        actor.start(now)
        runtime._release()
        self.running[name] = runtime
        return runtime

    def end(self, name):
        runtime = self.running.pop(name)
        runtime.bus.close()
        if runtime.journal is not None:
            runtime.journal.close()

    def turn(self, *names):
        for name in names or tuple(self.running):
            self.running[name].turn()

    def until(self, condition, what, timeout=20.0):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, what
            self.turn()

    def publish(self, fills):
        """Fills of one order each, through order entry's journal and tape."""
        runtime = self.running["order_entry"]
        entry, now = runtime.actor, Now(time.time_ns(), time.monotonic_ns())
        runtime.now = now
        for _ in range(fills):
            no = next(self.exec_no)
            new = NewOrder(cl_ord_id=self.ids(), symbol="BTC-PERP", side=1, qty=100, price=195_000)
            entry.desk.emit(orders.submitted(new, SLOT, entry.ledger.numbers(SLOT), now.wall_ns))
            report = ReportCopy(
                exec_id=f"77;{no}", cl_ord_id=new.cl_ord_id, exec_type="F", ord_status="2", symbol="BTC-PERP",
                side=1, order_id=f"v{no}", price=195_000, qty=100, cum_qty=100, last_px=195_000, last_qty=100,
            )  # fmt: skip
            entry.reports.on_report(report, Source.SESSION, now)
            self.position += 100
            self.truth.append((report.exec_id, self.position))
        runtime._release()

    # -- what the readers have

    def worker_has(self, fills):
        """The worker was told of exactly these, in this order."""
        return fills == SEEN

    def guard_is_level(self):
        guard, entry = self.running["guard"].actor, self.running["order_entry"].actor
        line = guard.exposure.account_lines["BTC-PERP"]
        return guard.tape.last == entry.ledger.tape_no and line.position.qty == self.position


@pytest.fixture
def place(monkeypatch):
    """Queues of 40 messages on the tape, so that a reader that stands still loses some."""
    SEEN.clear()
    channel = msgspec.structs.replace(CHANNELS["oe.tape"], high_water=40)
    monkeypatch.setitem(CHANNELS, "oe.tape", channel)
    directory = short_directory()
    make_bus_directory(directory)
    place = Place(directory)
    place.start("order_entry")
    yield place
    for name in list(place.running):
        place.end(name)
    remove(directory)


def known(place):
    return place.running["strategy.quote_maker"].actor.tape.known


def level(place, fills):
    place.until(lambda: place.worker_has(fills), "the worker has every fill once")
    place.until(place.guard_is_level, "the guard is level with the tape")


def test_late_joiners_gaps_and_slow_readers_have_every_event_once(place):
    """A worker and a guard join late; both stand still while far more is published than their queues hold."""
    place.publish(300)
    place.start("guard")
    place.start("strategy.quote_maker")
    place.until(lambda: known(place), "the worker's snapshot")
    worker = place.running["strategy.quote_maker"].actor
    assert worker.tape.positions == {"BTC-PERP": place.position} and SEEN == []  # before it: in the snapshot
    begin = len(place.truth)
    for burst in (5, 4000, 1, 700):
        place.publish(burst)  # nobody else turns meanwhile
        level(place, place.truth[begin:])
    assert worker.tape.gaps > 0, "the worker lost nothing: the test shows nothing"
    assert place.running["guard"].actor.tape.gaps > 0
    assert worker.tape.positions["BTC-PERP"] == place.position


def test_a_publisher_that_starts_again_goes_on_where_it_was(place):
    """Its journal has the numbers; what was on its way when it died is asked for."""
    place.start("guard")
    place.start("strategy.quote_maker")
    place.until(lambda: known(place), "the worker's snapshot")
    for _ in range(3):
        place.publish(200)
        place.end("order_entry")
        place.turn()
        place.start("order_entry")
        place.publish(3)
        level(place, place.truth)


def test_a_reader_that_starts_again_takes_the_state_and_then_every_event_once(place):
    place.start("guard")
    for _ in range(3):
        place.start("strategy.quote_maker")
        place.until(lambda: known(place), "the worker's snapshot")
        begin = len(place.truth)
        SEEN.clear()
        place.publish(250)
        level(place, place.truth[begin:])
        place.publish(50)
        place.end("strategy.quote_maker")
        place.end("guard")
        place.publish(20)
        place.start("guard")
        place.until(place.guard_is_level, "the guard is level with the tape")
        worker = place.start("strategy.quote_maker").actor
        place.until(lambda worker=worker: worker.tape.known, "the worker's snapshot")
        assert worker.tape.positions["BTC-PERP"] == place.position
        place.end("strategy.quote_maker")
