"""The third witness: what it heard against the tape and against drop copy."""

from engine.common.clock import SECOND
from engine.drop_copy.breaks import Breaks
from engine.drop_copy.listener import ListenerWitness
from engine.messages.executions import EventKind, OrderEvent, OrderState, ReportCopy, Source

WALL = 1_763_978_400 * SECOND


def event(exec_id, kind=EventKind.TRADE, **changes):
    fields = {
        "tape_no": 1,
        "strategy": 1,
        "strategy_no": 1,
        "kind": kind,
        "state": OrderState.PARTIALLY_FILLED,
        "order": "a",
        "cl_ord_id": "a",
        "wall_ns": WALL,
        "exec_id": exec_id,
        "symbol": "BTC-PERP",
        "side": 1,
        "last_px": 195_000,
        "last_qty": 100,
        "fee": 1950,
    }
    return OrderEvent(**(fields | changes))


def report(exec_id, exec_type="F", **changes):
    fields = {
        "exec_id": exec_id,
        "cl_ord_id": "a",
        "exec_type": exec_type,
        "ord_status": "1",
        "symbol": "BTC-PERP",
        "side": 1,
        "last_px": 195_000,
        "last_qty": 100,
        "fee": 1950,
    }
    return ReportCopy(**(fields | changes))


def witness(up_s=0):
    made = ListenerWitness(Breaks(), 30 * SECOND)
    made.up(up_s * SECOND)
    return made


def open_breaks(made):
    return {note.break_id: note.text for note in made._breaks.open.values()}


def test_what_both_have_alike_is_no_break_whoever_was_first():
    made = witness()
    made.on_tape((1, 1, 0), event("1;1"), 5 * SECOND)
    made.on_report(report("1;1"), event("1;1"), 5 * SECOND, WALL)
    made.on_report(report("2;1"), None, 6 * SECOND, WALL)
    made.on_tape((2, 1, 0), event("2;1"), 6 * SECOND)
    made.find_missing_there(600 * SECOND, WALL)
    assert (open_breaks(made), made.missing_here(600 * SECOND), made.count) == ({}, [], 2)


def test_each_field_that_differs_is_named():
    made = witness()
    made.on_report(report("1;1", fee=1951, last_px=195_001), event("1;1"), 0, WALL)
    assert open_breaks(made) == {
        "different-1.1-listener": "LastPx here 19.5000, listener 19.5001; fee here 0.001950, listener 0.001951"
    }


def test_what_it_heard_and_the_tape_lacks_is_missing_here_after_a_grace():
    made = witness()
    made.on_report(report("3;1"), None, 10 * SECOND, WALL)
    made.on_report(report("2;1"), None, 10 * SECOND, WALL)
    assert made.missing_here(10 * SECOND + 1) == []
    assert made.missing_here(11 * SECOND) == [(2, 1, 0), (3, 1, 0)]
    made.given([(2, 1, 0), (3, 1, 0)])
    assert made.missing_here(99 * SECOND) == []


def test_a_reject_that_only_it_heard_is_left_to_order_entry():
    made = witness()
    made.on_report(report("3;1", "8"), None, 0, WALL)
    assert made.missing_here(99 * SECOND) == []


def test_what_the_session_brought_and_it_did_not_is_missing_there():
    made = witness()
    made.on_tape((1, 1, 0), event("1;1"), 5 * SECOND)
    made.find_missing_there(34 * SECOND, WALL)
    assert open_breaks(made) == {}
    made.find_missing_there(35 * SECOND, WALL)
    assert open_breaks(made) == {
        "missing_there-1.1-listener": "the session brought this trade, the listener did not"
    }
    made.on_report(report("1;1"), event("1;1"), 36 * SECOND, WALL)
    assert open_breaks(made) == {}


def test_nothing_is_expected_of_a_time_without_its_session():
    made = witness(up_s=5)
    made.on_tape((1, 1, 0), event("1;1"), 5 * SECOND)  # as it logged on
    made.on_tape((2, 1, 0), event("2;1"), 7 * SECOND)
    made.down()
    made.on_tape((3, 1, 0), event("3;1"), 8 * SECOND)
    made.find_missing_there(900 * SECOND, WALL)
    assert open_breaks(made) == {}


def test_what_is_read_late_is_not_expected_of_a_session_that_may_be_younger():
    """A tape with a hole is read again after its events: the session may have been away when they happened."""
    made = witness(up_s=0)
    made.on_tape((1, 1, 0), event("1;1"), 5 * SECOND, replayed=True)
    made.find_missing_there(900 * SECOND, WALL)
    assert not open_breaks(made)


def test_rejects_and_what_another_witness_brought_are_not_expected():
    made = witness()
    made.on_tape((1, 1, 0), event("1;1", EventKind.REJECTED), 5 * SECOND)
    made.on_tape((2, 1, 0), event("2;1", source=Source.RECOVERED), 5 * SECOND)
    made.find_missing_there(900 * SECOND, WALL)
    assert open_breaks(made) == {}


def test_the_same_exec_id_twice_is_a_duplicate_only_with_other_content():
    made = witness()
    made.on_report(report("1;1"), event("1;1"), 0, WALL)
    made.on_report(report("1;1"), event("1;1"), 0, WALL)
    assert (open_breaks(made), made.repeated, made.count) == ({}, 1, 1)
    made.on_report(report("1;1", last_qty=200), event("1;1"), 0, WALL)
    assert list(open_breaks(made)) == ["duplicate-1.1-listener"]


def test_what_drop_copy_shows_is_compared_with_what_it_heard_cum_qty_too():
    made = witness()
    made.on_report(report("1;1", cum_qty=100, leaves_qty=0), event("1;1"), 0, WALL)
    made.on_shown((1, 1, 0), report("1;1", cum_qty=200, leaves_qty=0), WALL)
    assert open_breaks(made) == {"different-1.1-listener": "CumQty listener 1.00, drop copy 2.00"}


def test_pendings_have_no_key():
    made = witness()
    made.on_report(report("-1;-1", "A"), None, 0, WALL)
    assert (made.count, made.heard) == (0, {})
