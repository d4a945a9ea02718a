"""The kill switch of a real engine while other things go wrong: no supervisor, no guard, a strategy that floods.

What left is read from the order journal, which has every request before it is on the wire; what rests, from the venue.
"""

import os
import signal
import sqlite3

import msgspec
import pytest
from integration.harness import FAST, ROOT, wait_for
from integration.test_flooding_worker import FLOODER, flood

from engine.bus.sockets import tool_socket
from engine.common.clock import MS, iso_time
from engine.messages.decisions import LatchNote
from engine.messages.executions import EventKind, OrderEvent

RESTLESS = os.path.join(ROOT, "tests", "integration", "restless.toml")
CHANGES = {key: value for key, value in FAST.items() if "quote_maker" not in key} | {
    "strategies.quote_maker.config.percent": 60
}
NEW = (EventKind.SUBMITTED, EventKind.REPLACE_SUBMITTED)
WITHIN_NS = 50 * MS


def left(engine):
    """Return (wall_ns, kind, ClOrdID) of every request that order entry journalled, oldest first."""
    decode = msgspec.msgpack.Decoder(OrderEvent).decode
    with sqlite3.connect(os.path.join(engine.run, "state", "order_entry.sqlite")) as journal:
        rows = journal.execute("SELECT message FROM journal WHERE kind = 'order' ORDER BY no").fetchall()
    events = [decode(row[0]) for row in rows]
    return [(e.wall_ns, e.kind, e.request_id) for e in events if e.kind.endswith("submitted")]


def obeyed(engine, text):
    """Return when order entry said that it halts, as its log writes it."""
    wait_for(
        "order entry to halt",
        lambda: text in engine.log("order_entry"),
        seen=lambda: engine.log("order_entry"),
    )
    return next(line for line in engine.log("order_entry").splitlines() if text in line).split(" ")[0]


def assert_nothing_new_after(engine, time):
    """Order entry's turns have one time each: what it sent in the turn in which it halted, it sent before."""
    sent = left(engine)
    late = [
        (iso_time(at), kind, cl_ord_id) for at, kind, cl_ord_id in sent if kind in NEW and iso_time(at) > time
    ]
    assert sent and not late, (time, late)


def begun(launch, config=RESTLESS):
    engine = launch("--plain", config=config, changes=CHANGES)
    engine.until_trading(30)
    wait_for("orders that rest", lambda: (t := engine.truth()) and len(t.orders) >= 2, 30)
    return engine


def goes_on_halted(launch, engine, why):
    """The next engine on the same directory starts halted, with nothing open, and trades when it is armed."""
    wait_for("the end of all processes", lambda: not engine.living(), 30, seen=engine.living)
    assert_none_rests_in(engine)
    again = launch("--plain", run=engine.run, config=RESTLESS, changes=CHANGES)
    wait_for("HALTED", lambda: again.gate() == "HALTED", 30, seen=again._seen)
    assert why in again.ctl("status").stdout
    assert again.truth().orders == []
    assert again.ctl("arm", "--why", "seen").returncode == 0
    again.until_trading(30)
    again.interrupt()
    again.wait(30)


def assert_none_rests_in(engine):
    """By the journal: every order of it is over."""
    decode = msgspec.msgpack.Decoder(OrderEvent).decode
    last = {}
    with sqlite3.connect(os.path.join(engine.run, "state", "order_entry.sqlite")) as journal:
        for (message,) in journal.execute("SELECT message FROM journal WHERE kind = 'order' ORDER BY no"):
            event = decode(message)
            if event.order:
                last[event.order] = event.state
    over = {"filled", "canceled", "expired", "rejected", "not_sent"}
    assert last and not {order: state for order, state in last.items() if state.lower() not in over}


def test_ctl_halt_works_with_the_supervisor_dead(launch):
    """The guard obeys at once; guard and order entry finish cancelling; the latch outlives all of it."""
    engine = begun(launch)
    os.kill(engine.process.pid, signal.SIGKILL)
    done = engine.ctl("halt", "--why", "nobody is there")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_new_after(engine, obeyed(engine, "halted everything: nobody is there"))
    goes_on_halted(launch, engine, "nobody is there")


def test_a_file_written_by_hand_works_with_the_supervisor_and_the_guard_dead(launch):
    """Order entry is the last that can do it, and does."""
    engine = begun(launch)
    guard = engine.child("guard").pid
    os.kill(engine.process.pid, signal.SIGKILL)
    os.kill(guard, signal.SIGKILL)
    with open(os.path.join(engine.run, "halt"), "w", encoding="utf-8") as file:
        file.write("all: by hand\n")
    assert_nothing_new_after(engine, obeyed(engine, "halted everything by the halt file: by hand"))
    goes_on_halted(launch, engine, "by hand")


@pytest.mark.soak
def test_ctl_halt_writes_the_file_with_the_supervisor_dead_and_the_guard_stopped(launch):
    """A guard that does not answer is waited for, then the file is written; order entry has cancelled meanwhile."""
    engine = begun(launch)
    guard = engine.child("guard").pid
    os.kill(guard, signal.SIGSTOP)
    os.kill(engine.process.pid, signal.SIGKILL)
    done = engine.ctl("halt", "--why", "the last resort")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the halt was written to" in done.stdout
    os.kill(guard, signal.SIGCONT)
    goes_on_halted(launch, engine, "the last resort")


def halted_while_flooded(launch, tmp_path):
    """Halt everything while one strategy floods; return (the guard's latch in ns, what left), nothing being open any more."""
    path = tmp_path / "flooder.toml"
    with open(RESTLESS, encoding="utf-8") as file:
        path.write_text(file.read() + FLOODER)
    engine = begun(launch, path)
    notes = tool_socket(engine.run, "guard.feed", "tool.test.notes", ("latch",))
    flooder = flood(engine, 6)
    try:
        wait_for("the flood", lambda: engine.child("guard").status.metrics.get("discarded", 0) > 0, 20)
        wait_for("orders of the others", lambda: (t := engine.truth()) and t.orders)
        assert flooder.poll() is None, "it still floods"
        done = engine.ctl("halt", "--why", "in the flood")
        assert done.returncode == 0 and "no order is open" in done.stdout, done.stdout + done.stderr
        assert engine.truth().orders == []
        latched = [n for n in iter(lambda: notes.receive(200), None) if isinstance(n, LatchNote)]
    finally:
        notes.close()
        flooder.kill()
        flooder.communicate()
    assert_nothing_new_after(engine, obeyed(engine, "halted everything: in the flood"))
    latched_ns = next(note.wall_ns for note in latched if note.scope == "all")
    return latched_ns, left(engine)


def test_a_halt_holds_while_a_strategy_floods(launch, tmp_path):
    """Nothing new leaves after order entry heard of it, and what rests is cancelled until nothing is open."""
    latched_ns, sent = halted_while_flooded(launch, tmp_path)
    assert any(at < latched_ns and kind in NEW for at, kind, _ in sent)


@pytest.mark.soak
@pytest.mark.parametrize("attempt", range(3))
def test_a_halt_holds_within_50_ms_while_a_strategy_floods(launch, tmp_path, attempt):
    """From the guard's latch to the last new or replacing order that left, and to the last cancel."""
    latched_ns, sent = halted_while_flooded(launch, tmp_path)
    last = max(at for at, kind, _ in sent if kind in NEW)
    cancelled = max(at for at, _, _ in sent)
    print(
        f"last new order {(last - latched_ns) / MS:.2f} ms, last cancel {(cancelled - latched_ns) / MS:.2f} ms after the latch"
    )
    assert last <= latched_ns + WITHIN_NS
