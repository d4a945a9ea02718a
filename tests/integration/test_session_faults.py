"""What a session of the venue does to the whole engine, with real processes: a refused resend, a clock that is off."""

import os
import re
import signal
import sqlite3

import pytest
from integration.harness import FAST, assert_equal_to_venue, wait_for
from integration.test_kalshi_rt import RT, _exec_ids, sent

from engine.bus.sockets import tool_socket
from engine.messages.control import VenueFault


def fault(engine, kind, session="", **arguments):
    reply = engine.ask(
        "venue.ask", VenueFault(request_id=kind, kind=kind, session=session, arguments=arguments)
    )
    assert reply is not None and reply.ok, reply


def heard(engine, msg_type):
    """The messages of a type that order entry got, oldest first, from its raw FIX log."""
    with open(os.path.join(engine.run, "logs", "order_entry.fix"), encoding="latin-1") as file:
        return [line for line in file if " < " in line and f"|35={msg_type}|" in line]


def test_a_refused_resend_is_a_loud_reset_and_drop_copy_brings_the_fills(launch):
    """Session scenario 8.4: fills that came while order entry was away, and a retention that no longer holds them."""
    engine = launch("--plain", "--json", changes=FAST | RT)
    engine.until_trading()
    engine.until_fills()
    engine.until_reconciled()
    wait_for("resting orders", lambda: (t := engine.truth()) and t.orders, seen=engine._seen)
    logons, mark = len(sent(engine, "A")), engine.mark()
    pid = engine.kill("order_entry", signal.SIGSTOP)
    fault(engine, "drop", "KalshiRT")
    engine.until_fills(1)  # of what rests: kept for the session, and not heard by anybody
    fault(engine, "forget", "KalshiRT")
    os.kill(pid, signal.SIGCONT)
    wait_for("two Logons more", lambda: len(sent(engine, "A")) >= logons + 2, 40, seen=engine._seen)
    first, second = sent(engine, "A")[logons : logons + 2]
    assert "|141=" not in first and "|141=Y|" in second
    assert len(sent(engine, "2")) == 1
    (rejected,) = [line for line in heard(engine, "3") if "|372=2|" in line]
    assert "outside the retention window" in rejected
    engine.until_said("numbers can't be continued (the ResendRequest was rejected", mark)
    engine.until_trading(40)
    assert_equal_to_venue(engine)
    engine.until_trading()
    engine.interrupt()
    assert engine.wait(40) == 0, engine.said
    ours, theirs = _exec_ids(engine, "order_entry"), _exec_ids(engine, "venue")
    assert len(ours) == len(set(ours)) and set(ours) == set(theirs)
    assert engine.summary()["breaks"] == 0


def refusal(engine, within_ms=10_000):
    """The guard's next refusal of a new order, or None."""
    bus = tool_socket(engine.run, "guard.feed", f"tool.test.{os.getpid()}.r", ("refused",))
    try:
        return bus.receive(within_ms)
    finally:
        bus.close()


@pytest.mark.parametrize(
    ("ms", "side"), [(6000, "ahead of"), pytest.param(-6000, "behind", marks=pytest.mark.soak)]
)
def test_a_clock_that_is_six_seconds_off_closes_the_gate_until_it_is_right_again(launch, ms, side):
    """Session scenario 13.2: closed at 5 s with that reason, no new order meanwhile, open again by itself."""
    engine = launch("--plain", "--json", changes=FAST)
    engine.until_trading()
    engine.until_fills()
    mark = engine.mark()
    fault(engine, "skew", ms=str(ms))

    def off():
        status = engine.guard()
        reasons = " ".join(status.reasons) if status is not None else ""
        found = re.search(r"the venue's clock is (-?\d+) ms from ours", reasons)
        return found and status.gate != "TRADING" and abs(int(found[1]) - ms) < 1000

    wait_for("the gate closed for the clock", off, 20, seen=engine._seen)
    engine.until_said(f"ms {side} ours: check the time service here", mark, 10)
    refused = wait_for("a refusal", lambda: refusal(engine), 20, seen=engine._seen)
    assert "the venue's clock is" in refused.text, refused
    orders = orders_on_the_wire(engine)
    wait_for("another refusal", lambda: refusal(engine), 20, seen=engine._seen)
    assert orders_on_the_wire(engine) == orders
    fault(engine, "skew", ms="0")
    engine.until_said("the venue's clock is within 1 s of ours again", mark, 20)
    engine.until_trading(20)
    engine.until_fills()
    assert_equal_to_venue(engine)
    engine.interrupt()
    assert engine.wait(40) == 0, engine.said


def orders_on_the_wire(engine):
    """How many orders are in order entry's journal: each is there before it leaves."""
    path = os.path.join(engine.run, "state", "order_entry.sqlite")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as journal:
        return journal.execute("select count(distinct cl_ord_id) from journal").fetchone()[0]
