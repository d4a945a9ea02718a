"""The report of a large run: 100,000 executions in under 20 s and under 1 GiB, in every form."""

import json
import resource
import subprocess
import sys

import pytest

from engine.common.clock import SECOND
from engine.drop_copy.records import SweepEnded, WatermarkMoved
from engine.messages.executions import EventKind, OrderEvent, OrderState
from engine.runtime.journal import Entry, Journal
from engine.tools import reconcile
from engine.tools.docs_gen import ROOT

START = 1_763_978_400 * SECOND
EXECUTIONS = 100_000


def write(directory, count):
    """A run of `count` orders, each acknowledged and filled; three rows an order."""
    journal = Journal(f"{directory}/state/order_entry.sqlite")
    rows, no, position = [], 0, 0
    for number in range(count):
        side = 1 + number // 7 % 2
        position += 100 if side == 1 else -100
        order = f"{number:08x}-0000-8001-8000-{number:012x}"
        fields = {
            "strategy": 1, "order": order, "cl_ord_id": order, "symbol": "BTC-PERP", "side": side,
            "price": 195_000 + number % 40, "qty": 100, "order_id": f"o{number}",
        }  # fmt: skip
        steps = (
            {"kind": EventKind.SUBMITTED, "state": OrderState.SUBMITTING},
            {"kind": EventKind.NEW, "state": OrderState.NEW, "exec_id": f"{number + 1};1", "leaves_qty": 100},
            {
                "kind": EventKind.TRADE, "state": OrderState.FILLED, "exec_id": f"{number + 1};2", "cum_qty": 100,
                "last_qty": 100, "last_px": 195_000 + number % 40, "fee": 1950, "long_qty": max(position, 0),
                "short_qty": max(-position, 0), "position": position, "aggressor": "Y", "trd_match_id": f"m{number}",
            },
        )  # fmt: skip
        for step in steps:
            no += 1
            event = OrderEvent(tape_no=no, strategy_no=no, wall_ns=START + no * SECOND // 4, **fields, **step)
            rows.append(Entry(event, order, event.exec_id or None))
        if len(rows) >= 6000:
            journal.append(rows, START)
            rows = []
    journal.append(rows, START)
    journal.close()
    journal = Journal(f"{directory}/state/drop_copy.sqlite")
    mark = WatermarkMoved(wall_ns=START, marks=[f"{count};2"], tape_no=no, tape_from=no, confirmed=2 * count)
    swept = SweepEnded(no=1, began_ns=START, wall_ns=START, wanted=1, complete=True, tape_no=no)
    journal.append([Entry(mark, "", None), Entry(swept, "", None)], START)
    journal.close()


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_hundred_thousand_executions_are_reported_in_time_and_space(tmp_path):
    write(str(tmp_path), EXECUTIONS)
    for form in ("html", "csv", "json", "text"):
        out = str(tmp_path / f"report.{form}")
        command = [
            sys.executable,
            "-m",
            "engine",
            "reconcile",
            "report",
            "--run",
            str(tmp_path),
            "--format",
            form,
            "--out",
            out,
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0, form
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20, form
        assert after.ru_maxrss < 1 << 20, form  # KiB
    with open(tmp_path / "report.csv", encoding="utf-8") as file:
        assert sum(1 for _ in file) == 2 * EXECUTIONS + 1
    assert json.loads((tmp_path / "report.json").read_text())["fills"] == EXECUTIONS


def test_rows_read_are_told_as_they_are_read(tmp_path):
    """What the progress bar shows: it grows, and ends with all."""
    write(str(tmp_path), 2000)
    told = []
    reconcile.built_for_run(str(tmp_path), progress=told.append)
    assert told == [2000, 4000, 6000, 6000]
