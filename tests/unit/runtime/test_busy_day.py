"""A million events: replayed in under 15 s; with a snapshot a start takes under 2 s. Both give the same state.

scripts/test --soak tests/unit/runtime/test_busy_day.py -s      # prints what it measured
"""

import subprocess
import sys
import time

import pytest

from engine import config_loader
from engine.common.ids import ClOrdIDs
from engine.messages.commands import CancelOrder, NewOrder
from engine.messages.executions import EventKind, ReportCopy, Source
from engine.order_entry.reports import exec_key
from engine.orders import order as orders
from engine.orders.ledger import Ledger
from engine.runtime import factory, snapshots
from engine.runtime.journal import Entry, Journal
from engine.tools.docs_gen import ROOT

EVENTS = 1_000_000
K = EventKind
STARTED = """
import sys, time
from engine import config_loader
from engine.runtime import factory, snapshots
from engine.runtime.journal import Journal
config = config_loader.load(sys.argv[1], [])
actor = factory.build_for_replay("order_entry", config)
journal = Journal(sys.argv[2])
why = snapshots.replay(journal, actor, factory.entry_types("order_entry"))
assert not why, why
print(journal.snapshot_no, actor.ledger.tape_no, time.process_time(), actor.state_digest())
"""


class Day:
    """Writes a journal of orders that are acknowledged and then filled or cancelled."""

    def __init__(self, path: str) -> None:
        self.journal = Journal(path)
        self.ledger = Ledger({"BTC-PERP": 1}, exec_key)
        self.batch = []
        self.reports = 0

    def emit(self, event) -> None:
        self.ledger.apply(event)
        self.batch.append(Entry(event, event.order, event.exec_id or None))
        if len(self.batch) == 500:
            self.journal.append(self.batch, event.wall_ns)
            self.batch = []

    def report(self, order, kind, exec_type, status, **more) -> None:
        self.reports += 1
        fields = {"cl_ord_id": order.event.order, "price": order.event.price, **more}
        report = ReportCopy(
            exec_id=f"{1_795_523_000_000 + self.reports};{self.reports}",
            exec_type=exec_type,
            ord_status=status,
            symbol="BTC-PERP",
            side=order.event.side,
            order_id=f"v-{order.event.order[-8:]}",
            **fields,
        )
        numbers = self.ledger.numbers(order.event.strategy)
        key = exec_key(report.exec_id)
        self.emit(
            orders.reported(order, kind, report, numbers, self.reports, exec_key=key, source=Source.SESSION)
        )

    def write(self, events: int) -> None:
        ids = {slot: ClOrdIDs(slot, 1_795_000_000_000, slot) for slot in (1, 2, 3)}
        no = 0
        while self.ledger.tape_no < events:
            no += 1
            slot = no % 3 + 1
            new = NewOrder(
                cl_ord_id=ids[slot](),
                symbol="BTC-PERP",
                side=1 + no // 3 % 2,
                qty=500,
                price=195_000 + no % 99,
            )
            self.emit(orders.submitted(new, slot, self.ledger.numbers(slot), no))
            order = self.ledger.find(new.cl_ord_id)
            self.report(order, K.NEW, "0", "0", leaves_qty=500)
            if no % 3 == 0:
                fill = {"last_px": new.price, "fee": 12_345}
                self.report(order, K.TRADE, "F", "1", last_qty=200, cum_qty=200, leaves_qty=300, **fill)
                self.report(order, K.TRADE, "F", "2", last_qty=300, cum_qty=500, **fill)
            else:
                cancel = CancelOrder(
                    cl_ord_id=ids[slot](), orig_cl_ord_id=new.cl_ord_id, symbol="BTC-PERP", side=new.side
                )
                self.emit(orders.requested(order, cancel, self.ledger.numbers(slot), no))
                self.report(order, K.CANCELED, "4", "4", cl_ord_id=cancel.cl_ord_id)
        if self.batch:
            self.journal.append(self.batch, no)
        self.journal.close()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_million_events_are_replayed_in_time_and_a_restart_takes_two_seconds(tmp_path) -> None:
    path = str(tmp_path / "order_entry.sqlite")
    day = Day(path)
    day.write(EVENTS)
    types = factory.entry_types("order_entry")
    config = config_loader.load(f"{ROOT}/configs/demo.toml", [])
    cold = factory.build_for_replay("order_entry", config)
    began, cpu = time.perf_counter(), time.process_time()
    journal = Journal(path)
    assert snapshots.replay(journal, cold, types) == ""
    journal.close()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert cold.ledger.tape_no == day.ledger.tape_no >= EVENTS
    digest = cold.state_digest()
    assert digest.startswith(day.ledger.digest())
    snapshots.make(path, cold := factory.build_for_replay("order_entry", config), types)
    began = time.perf_counter()
    command = [sys.executable, "-c", STARTED, f"{ROOT}/configs/demo.toml", path]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    restart = time.perf_counter() - began
    print(
        f"replay {took:.1f} s ({cpu:.1f} s of CPU), restart {restart:.2f} s ({float(said[2]):.2f} s of CPU)"
    )
    assert said[0] == said[1] == str(day.ledger.tape_no)
    assert said[3] == digest
    assert cpu < 15  # of CPU: machines are shared
    assert float(said[2]) < 2
