"""Commands between real processes: none arrives stale, none twice, none from a guard that was replaced.

One engine. Order entry is stopped while orders queue; the guard is killed while approvals are under way; commands as they
were recorded are sent again, by a peer that takes the guard's name, seal and all, after its death.
"""

import os
import signal
import sqlite3
import time

import msgspec
import pytest
import zmq
from integration.harness import FAST, assert_equal_to_venue, wait_for

from engine.bus.sockets import endpoint, seal_of
from engine.messages.commands import Approved, CommandAnswer, GuardHello, NewOrder, NotAccepted
from engine.order_entry.records import OrderJournalEntry

EXPIRY_MS = 300


@pytest.fixture(scope="module")
def engine(launch_shared):
    engine = launch_shared(
        "--plain",
        "--json",
        changes=FAST | {"risk.command_expiry_ms": EXPIRY_MS, "engine.silent_kill_s": 20},
    )
    engine.until_trading()
    engine.until_fills()
    engine.until_reconciled()
    return engine


def events(engine, after=0):
    path = os.path.join(engine.run, "state", "order_entry.sqlite")
    decode = msgspec.msgpack.Decoder(OrderJournalEntry).decode
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT no, message FROM journal WHERE no > ? AND kind = 'order'", (after,))
        return [(no, decode(message)) for no, message in rows]


def end_of(engine):
    found = events(engine)
    return found[-1][0] if found else 0


def on_the_wire_once(engine):
    """Every ClOrdID that a request of ours has had, in the raw FIX log: none twice."""
    with open(os.path.join(engine.run, "logs", "order_entry.fix"), encoding="latin-1") as file:
        lines = [line for line in file if "|35=D|" in line or "|35=G|" in line or "|35=F|" in line]
    ids = [line.partition("|11=")[2].partition("|")[0] for line in lines if " order_entry > " in line]
    assert ids
    assert len(ids) == len(set(ids))


def test_what_queued_while_order_entry_stood_still_is_not_sent_late(engine):
    """SIGSTOP for longer than a command may live: what waited is refused as expired or fenced, never sent."""
    engine.until_trading()
    mark, begin = engine.mark(), end_of(engine)
    pid = engine.kill("order_entry", signal.SIGSTOP)
    stopped = time.time_ns()
    try:
        wait_for("the gate to close", lambda: (g := engine.guard()) and g.gate != "TRADING", 5)
        took_s = (time.time_ns() - stopped) / 1e9
        wait_for("more than a command's life", lambda: time.time_ns() - stopped > 3 * EXPIRY_MS * 1_000_000)
    finally:
        os.kill(pid, signal.SIGCONT)
    went_on = time.time_ns()
    assert took_s < 5
    engine.until_trading(30)
    late = [
        event
        for _, event in events(engine, begin)
        if event.kind in ("submitted", "replace_submitted") and stopped + 50_000_000 < event.wall_ns < went_on
    ]
    assert not late, late
    for _, event in events(engine, begin):
        if event.kind == "not_sent" and event.wall_ns >= went_on:
            assert event.text.partition(":")[0] in ("expired", "epoch", "session", "halted", "seen"), event
    engine.until_fills()
    assert_equal_to_venue(engine)
    on_the_wire_once(engine)
    assert "impossible" not in engine.since(mark)


def test_a_guard_killed_with_approvals_under_way_leaves_nothing_behind(engine):
    """Three times, as it trades: what it had approved is sent once or never; its exposure is counted anew."""
    for _ in range(3):
        engine.until_trading(30)
        approved = wait_for("the guard", engine.guard).approved
        wait_for("approvals", lambda a=approved: (g := engine.guard()) and g.approved > a + 3, 15)
        pid = engine.kill("guard")
        wait_for("another guard", lambda p=pid: (c := engine.child("guard")) and c.pid not in (0, p), 15)
    engine.until_trading(30)
    engine.until_fills()
    assert_equal_to_venue(engine)
    on_the_wire_once(engine)


def test_a_recorded_command_that_is_sent_again_is_refused(engine):
    """By the guard's own name, after its death: an old epoch, a seen number, a passed expiry, a used ClOrdID."""
    engine.until_trading(30)
    begin = end_of(engine)
    first = next(event for _, event in events(engine) if event.kind == "submitted" and event.strategy == 1)
    again = NewOrder(
        cl_ord_id=first.order, symbol=first.symbol, side=first.side, qty=first.qty, price=first.price
    )
    fresh = msgspec.structs.replace(again, cl_ord_id=first.order[:-6] + "abcdef")
    epoch = wait_for("the guard", engine.guard).epoch
    pid = engine.child("guard").pid
    os.kill(engine.process.pid, signal.SIGSTOP)  # or another guard would be there at once
    os.kill(pid, signal.SIGKILL)
    context = zmq.Context()
    peer = context.socket(zmq.DEALER)

    def refused(command):
        peer.send(msgspec.msgpack.encode(command))
        deadline = time.monotonic() + 10
        while peer.poll(max(int((deadline - time.monotonic()) * 1000), 0)):
            answer = msgspec.msgpack.decode(peer.recv(), type=CommandAnswer)
            if isinstance(answer, NotAccepted) and answer.no == getattr(command, "no", 0):
                return answer.reason
        raise AssertionError(f"no answer to {command}")

    try:
        peer.setsockopt(zmq.ROUTING_ID, b"guard" + seal_of(engine.run))
        peer.connect(endpoint(engine.run, "oe.orders"))
        soon = time.monotonic_ns() + 5_000_000_000
        recorded = Approved(epoch=epoch - 1, no=3, expires_ns=soon, strategy=1, request=again)
        assert refused(recorded) == "epoch"
        assert refused(msgspec.structs.replace(recorded, epoch=epoch, no=1)) == "seen"
        high = 10**9
        old = msgspec.structs.replace(recorded, epoch=epoch, no=high, expires_ns=1)
        assert refused(old) == "expired"
        used = msgspec.structs.replace(recorded, epoch=epoch, no=high + 1)
        assert refused(used) == "duplicate"
        assert refused(GuardHello(epoch=epoch - 1)) == "epoch"
        stale = msgspec.structs.replace(recorded, epoch=epoch - 1, no=high + 2, request=fresh)
        assert refused(stale) == "epoch"
    finally:
        peer.close(0)
        context.term()
        os.kill(engine.process.pid, signal.SIGCONT)
    engine.until_trading(30)
    sent = [event.order for _, event in events(engine, begin) if event.kind == "submitted"]
    assert first.order not in sent and fresh.cl_ord_id not in sent
    engine.until_fills()
    assert_equal_to_venue(engine)
    on_the_wire_once(engine)


def test_the_end_is_clean(engine):
    engine.until_trading(30)
    engine.interrupt()
    assert engine.wait(40) == 0, engine.said
    assert engine.summary()["clean"] is True
