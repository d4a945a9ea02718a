"""The demo on KalshiRT with real processes: `kill -9` of order entry, of the venue, of both; numbers go on, nothing is lost.

Session scenarios 12.1 and 12.2 with real sockets and a real journal; on virtual time, step by step: tests/simulation.
"""

import os
import re
import sqlite3

import pytest
from integration.harness import FAST, assert_equal_to_venue, command, wait_for

RT = {
    "sessions.order_entry.target_comp_id": "KalshiRT",
    "sessions.order_entry.cancel_orders_on_disconnect": False,
    "sessions.order_entry.message_retention_h": 48,
}


@pytest.fixture(scope="module")
def engine(launch_shared):
    engine = launch_shared("--plain", "--json", changes=FAST | RT)
    engine.until_trading()
    engine.until_fills()
    engine.until_reconciled()
    return engine


def sent(engine, msg_type):
    """The messages of a type that order entry sent, oldest first, from its raw FIX log."""
    with open(os.path.join(engine.run, "logs", "order_entry.fix"), encoding="latin-1") as file:
        return [line for line in file if " > " in line and f"|35={msg_type}|" in line]


def numbers(engine):
    return [int(re.search(r"\|34=(\d+)\|", line)[1]) for line in sent(engine, "A")]


def test_the_first_logon_resets_and_asks_for_the_retention(engine):
    """No stored numbers yet: 141=Y, and 20200 as configured."""
    logon = wait_for("the Logon in the log", lambda: sent(engine, "A"))[0]
    assert "|34=1|" in logon and "|141=Y|" in logon and "|20200=48|" in logon


@pytest.mark.parametrize("names", [("order_entry",), ("order_entry", "venue")], ids="+".join)
def test_numbers_go_on_after_kill_9_and_nothing_is_lost_or_doubled(engine, names):
    """The next Logon has the stored number and no 141; orders and positions equal the venue's afterwards."""
    engine.until_trading()
    logons = len(sent(engine, "A"))
    mark = engine.mark()
    pids = {name: engine.kill(name) for name in names}
    wait_for(
        "new processes",
        lambda: (s := engine.state()) and all(p.pid not in (0, pids.get(p.name)) for p in s.processes),
        seen=engine._seen,
    )
    engine.until_trading(30)
    engine.until_fills()
    wait_for("another Logon", lambda: len(sent(engine, "A")) > logons)
    assert all("|141=" not in line for line in sent(engine, "A")[logons:])
    assert numbers(engine) == sorted(numbers(engine))
    assert "can't be continued" not in engine.since(mark)
    assert "numbers begin anew" not in engine.since(mark)
    assert_equal_to_venue(engine)
    engine.until_trading()


def test_the_end_is_clean_and_has_every_execution_once(engine):
    """Exit code 0, no break; each ExecID of the venue is in the journal exactly once, whatever was retransmitted."""
    engine.until_trading()
    engine.interrupt()
    assert engine.wait(40) == 0, engine.said
    summary = engine.summary()
    assert (summary["clean"], summary["open_orders"], summary["breaks"]) == (True, 0, 0)
    ours, theirs = _exec_ids(engine, "order_entry"), _exec_ids(engine, "venue")
    assert len(ours) == len(set(ours)) and set(ours) == set(theirs)
    done = command("journal", "verify", "--actor", "order_entry", "--run", engine.run)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = command("journal", "show", "--run", engine.run, "--last", "3")
    assert shown.returncode == 0, shown.stdout + shown.stderr


def _exec_ids(engine, actor):
    path = os.path.join(engine.run, "state", f"{actor}.sqlite")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as journal:
        return [row[0] for row in journal.execute("select exec_id from journal where exec_id is not null")]


def test_the_next_run_goes_on_with_the_numbers_of_the_last(engine, launch):
    """A stop and a start are no reset either."""
    last = numbers(engine)[-1]
    again = launch("--plain", "--json", run=engine.run, changes=FAST | RT)
    again.until_trading(30)  # it may have to wait: three Logons in ten seconds are the most
    again.interrupt()
    assert again.wait(40) == 0, again.said
    assert numbers(again)[-1] > last and "|141=" not in sent(again, "A")[-1]
    assert again.summary()["clean"] is True
