"""Journals for people: verified, shown, exported."""

import csv
import io
import json
import os
import sqlite3

import pytest

from engine import cli
from engine.messages.executions import EventKind, OrderEvent, OrderState
from engine.runtime.journal import Entry, Journal


@pytest.fixture
def run(tmp_path):
    """A run directory with three order events of two orders."""
    journal = Journal(str(tmp_path / "state" / "order_entry.sqlite"))
    for no, order in enumerate(("a", "b", "a"), 1):
        event = OrderEvent(
            tape_no=no, strategy=1, strategy_no=no, kind=EventKind.SUBMITTED, state=OrderState.PENDING_NEW, order=order, wall_ns=no, cl_ord_id=f"{order}{no}"
        )  # fmt: skip
        journal.append([Entry(event, f"{order}{no}", f"1;{no}")], 1_790_000_000_000_000_000)
    journal.close()
    return str(tmp_path)


def test_a_whole_chain_is_verified(run, capsys):
    """With its length and head."""
    assert cli.main(["journal", "verify", "--run", run]) == 0
    assert ": 3 rows, chain unbroken, head " in capsys.readouterr().out


def test_a_changed_row_is_named(run, capsys):
    """Exit code 1."""
    with sqlite3.connect(os.path.join(run, "state", "order_entry.sqlite")) as db:
        db.execute("UPDATE journal SET cl_ord_id = 'x' WHERE no = 2")
    db.close()
    assert cli.main(["journal", "verify", "--run", run]) == 1
    assert "row 2 was changed" in capsys.readouterr().err


def test_rows_are_shown_by_order_by_number_and_from_the_end(run, capsys):
    """An order by any id of its chain."""
    assert cli.main(["journal", "show", "--run", run, "--order", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "3"]
    assert "2026-09-21T14:13:20.000Z order    tape_no=1" in lines[0]
    assert cli.main(["journal", "show", "--run", run, "--from", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert cli.main(["journal", "show", "--run", run, "--last", "1"]) == 0
    assert capsys.readouterr().out.split()[0] == "3"


def test_everything_can_be_exported(run, capsys):
    """As JSON lines and as CSV."""
    assert cli.main(["journal", "export", "--run", run]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["no"], row["exec_id"], row["message"]["order"]) for row in rows] == [
        (1, "1;1", "a"),
        (2, "1;2", "b"),
        (3, "1;3", "a"),
    ]
    assert cli.main(["journal", "export", "--run", run, "--format", "csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["cl_ord_id"] for row in table] == ["a1", "b2", "a3"]
