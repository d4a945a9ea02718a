"""Journals for people: verified, shown, exported."""

import csv
import io
import json
import os
import sqlite3

import pytest

from engine import cli
from engine.drop_copy.records import SweepEnded
from engine.messages.executions import EventKind, OrderEvent, OrderState
from engine.runtime.journal import Entry, Journal, read


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
    """Exit code 8, as for every damaged journal."""
    with sqlite3.connect(os.path.join(run, "state", "order_entry.sqlite")) as db:
        db.execute("UPDATE journal SET cl_ord_id = 'x' WHERE no = 2")
    db.close()
    assert cli.main(["journal", "verify", "--run", run]) == 8
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


def witness(run, no, head):
    """Drop copy's journal with one sweep that has seen the order journal's head."""
    journal = Journal(os.path.join(run, "state", "drop_copy.sqlite"))
    sweep = SweepEnded(
        no=1,
        began_ns=1,
        wall_ns=2,
        wanted=1,
        complete=True,
        order_journal_no=no,
        order_journal_head=head.hex(),
    )
    journal.append([Entry(sweep, "", None)], 1)
    journal.close()


def rows(run):
    return list(read(os.path.join(run, "state", "order_entry.sqlite")))


def change(run, statement):
    with sqlite3.connect(os.path.join(run, "state", "order_entry.sqlite")) as db:
        db.execute(statement)
    db.close()


def test_a_cut_tail_is_named(run, capsys):
    """The chain that is left is unbroken: drop copy's journal knows how far it went."""
    witness(run, 3, rows(run)[-1].hash)
    assert cli.main(["journal", "verify", "--run", run]) == 0
    assert "row 3 confirmed by row 1 of" in capsys.readouterr().out
    change(run, "DELETE FROM journal WHERE no > 1")
    assert cli.main(["journal", "verify", "--run", run]) == 8
    said = capsys.readouterr().err
    assert "row 2 is missing" in said and "its tail was cut" in said and "knows row 3" in said


def test_a_tail_that_was_cut_and_written_anew_is_named(run, capsys):
    """As long as before, with a chain that is unbroken."""
    witness(run, 3, rows(run)[-1].hash)
    kept = rows(run)
    change(run, "DELETE FROM journal WHERE no > 1")
    journal = Journal(os.path.join(run, "state", "order_entry.sqlite"))
    event = OrderEvent(
        tape_no=2, strategy=1, strategy_no=2, kind=EventKind.SUBMITTED, state=OrderState.PENDING_NEW, order="z", wall_ns=9
    )  # fmt: skip
    journal.append([Entry(event, "z", None), Entry(event, "z", None)], 9)
    journal.close()
    assert len(rows(run)) == len(kept)
    assert cli.main(["journal", "verify", "--run", run]) == 8
    assert "row 3 is not the one that was there" in capsys.readouterr().err


def test_an_order_journal_that_is_gone_or_empty_is_a_cut_one(run, capsys):
    witness(run, 3, rows(run)[-1].hash)
    change(run, "DELETE FROM journal")
    assert cli.main(["journal", "verify", "--run", run]) == 8
    assert "row 1 is missing" in capsys.readouterr().err


def test_an_order_journal_whose_file_is_gone_is_damage_too(run, capsys):
    """Not the run: its other journals are there."""
    witness(run, 3, rows(run)[-1].hash)
    os.unlink(os.path.join(run, "state", "order_entry.sqlite"))
    assert cli.main(["journal", "verify", "--run", run]) == 8
    assert "there is no such journal" in capsys.readouterr().err


def test_a_damaged_witness_is_said(run, capsys):
    """Then nothing shows whether the end is there."""
    witness(run, 3, rows(run)[-1].hash)
    with sqlite3.connect(os.path.join(run, "state", "drop_copy.sqlite")) as db:
        db.execute("UPDATE journal SET wall_ns = 5")
    db.close()
    assert cli.main(["journal", "verify", "--run", run]) == 8
    assert "nothing shows whether the end" in capsys.readouterr().err


def test_what_is_before_a_damage_is_shown(run, capsys):
    """And then the damage, with its exit code."""
    change(run, "UPDATE journal SET cl_ord_id = 'x' WHERE no = 3")
    assert cli.main(["journal", "show", "--run", run]) == 8
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()] == ["1", "2"]
    assert "row 3 was changed" in shown.err
