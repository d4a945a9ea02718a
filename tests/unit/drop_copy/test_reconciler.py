"""The comparison of the tape with drop copy, by ExecID, field by field."""

import pytest

from engine.common.clock import MS, SECOND
from engine.drop_copy import breaks as brk
from engine.drop_copy.keys import key_of
from engine.drop_copy.reconciler import ORIGIN, Reconciler, differences
from engine.drop_copy.records import WatermarkMoved
from engine.messages.executions import EventKind, OrderEvent, OrderState, ReportCopy, Source
from engine.messages.reconciliation import BreakNote

START = 1_700_000_000 * SECOND
OURS = "018c0000-0000-8001-8000-000000000001"
TYPES = {
    EventKind.NEW: "0",
    EventKind.TRADE: "F",
    EventKind.CANCELED: "4",
    EventKind.EXPIRED: "C",
    EventKind.REJECTED: "8",
    EventKind.REPLACED: "5",
}


def event(no, exec_id="", kind=EventKind.TRADE, **changes):
    fields = {
        "tape_no": no,
        "strategy": 1,
        "strategy_no": no,
        "kind": kind,
        "state": OrderState.PARTIALLY_FILLED,
        "order": OURS,
        "cl_ord_id": OURS,
        "wall_ns": START + no,
        "order_id": "o1",
        "exec_id": exec_id,
        "symbol": "BTC-PERP",
        "side": 1,
        "price": 195_000,
        "qty": 1000,
        "transact_ns": START + no,
    }
    if kind is EventKind.TRADE:
        fields |= {"last_px": 195_000, "last_qty": 100, "fee": 1950}
    return OrderEvent(**(fields | changes))


def copy_of(source, **changes):
    fields = {
        "exec_id": source.exec_id,
        "cl_ord_id": source.cl_ord_id,
        "exec_type": TYPES[source.kind],
        "ord_status": "1",
        "symbol": source.symbol,
        "side": source.side,
        "order_id": source.order_id,
        "price": source.price,
        "qty": source.qty,
        "last_px": source.last_px,
        "last_qty": source.last_qty,
        "fee": source.fee,
        "long_qty": source.long_qty,
        "short_qty": source.short_qty,
        "transact_ns": source.transact_ns,
    }
    return ReportCopy(**(fields | changes))


def key(text):
    parts = [int(part) for part in text.split(";")]
    return (parts[0], parts[1], parts[2] if len(parts) > 2 else 0)


def answer(*reports):
    return {key(report.exec_id): report for report in reports}


def reconciler(overlap=2, missing_there_s=30):
    made = Reconciler(overlap, missing_there_s * SECOND)
    made._orders[OURS] = None  # submitted before
    return made


def swept(rec, *reports, begins=("1;1",), began_ns=0, wall_ns=START):
    found = answer(*reports)
    missing = rec.compare(found, list(begins), began_ns, wall_ns)
    rec.recover(missing, wall_ns)
    rec.advance(found)
    return [report.exec_id for report in missing]


def begins(plan):
    return [[(begin.exec_id, begin.hole) for begin in begins] for begins in plan]


def kinds(rec):
    return {note.break_id: note.kind for note in rec.breaks.open.values()}


# ---- agreeing witnesses


def test_reports_that_both_have_are_confirmed_and_move_the_watermark():
    rec = reconciler()
    events = [event(1, "1;1", EventKind.NEW), event(2, "2;1"), event(3, "10;1"), event(4, "9;5")]
    for one in events:
        rec.on_event(one, 0)
    assert swept(rec, *map(copy_of, events)) == []
    assert rec.watermark == "10;1"  # as integers, not as text
    assert rec.confirmed == 4
    assert rec.breaks.open == {}
    assert rec.mark_texts() == ["2;1", "9;5", "10;1"]
    assert len(rec.tape) == 3  # bounded: the overlap and what is newer


def test_same_input_twice_changes_nothing():
    rec = reconciler()
    events = [event(1, "1;1"), event(2, "2;1")]
    for one in events:
        rec.on_event(one, 0)
    swept(rec, *map(copy_of, events))
    before = (rec.mark_texts(), rec.confirmed, dict(rec.breaks.open))
    rec.breaks.take()
    swept(rec, *map(copy_of, events))
    assert (rec.mark_texts(), rec.confirmed, dict(rec.breaks.open)) == before
    assert rec.breaks.take() == []


def test_watermark_does_not_pass_a_session_report_that_drop_copy_has_not_shown():
    rec = reconciler()
    events = [event(1, "1;1"), event(2, "2;1"), event(3, "3;1")]
    for one in events:
        rec.on_event(one, 0)
    swept(rec, copy_of(events[0]), copy_of(events[2]))
    assert rec.watermark == "1;1"


def test_each_exchange_index_has_its_own_watermark():
    """ExecIDs are ordered within an exchange index only."""
    rec = reconciler()
    events = [event(1, "100;1"), event(2, "3;1;1"), event(3, "4;1;1")]
    for one in events:
        rec.on_event(one, 0)
    swept(rec, copy_of(events[0]), copy_of(events[1]), begins=("100;1", "3;1;1"))
    assert rec.mark_texts() == ["100;1", "3;1;1"]
    assert begins(rec.plan(clean=True)) == [
        [("100;1", False)],
        [("3;1;1", False), ("4;1;1", True)],
    ]


# ---- missing here


def test_report_missing_here_is_recovered_in_exec_id_order_and_closes_itself():
    rec = reconciler()
    rec.on_event(event(1, "1;1"), 0)
    late = [copy_of(event(0, "10;1")), copy_of(event(0, "9;1"))]
    assert swept(rec, copy_of(event(1, "1;1")), *late) == ["9;1", "10;1"]
    assert kinds(rec) == {"missing_here-9.1": "missing_here", "missing_here-10.1": "missing_here"}
    assert rec.watermark == "1;1"
    rec.on_event(event(2, "9;1", source=Source.RECOVERED), 0)
    rec.on_event(event(3, "10;1", source=Source.RECOVERED), 0)
    assert (rec.pending, rec.breaks.open) == ({}, {})
    assert [note.status for note in rec.breaks.take()] == ["open", "open", "closed", "closed"]


def test_recovering_again_is_counted_once():
    rec = reconciler()
    rec.on_event(event(1, "1;1"), 0)
    lost = copy_of(event(0, "2;1"))
    swept(rec, copy_of(event(1, "1;1")), lost)
    assert swept(rec, copy_of(event(1, "1;1")), lost) == ["2;1"]
    assert rec.recovered == 1


def test_what_may_be_on_an_unreadable_part_of_the_tape_is_recovered_but_no_break():
    rec = reconciler()
    rec.unseen_before_here()
    rec.on_event(event(70_000, "50;1"), 0)
    assert swept(rec, copy_of(event(1, "49;1")), copy_of(event(70_000, "50;1"))) == ["49;1"]
    assert (rec.breaks.open, rec.pending) == ({}, {})
    assert rec.mark_texts() == ["49;1", "50;1"]


# ---- missing there


def test_session_report_that_drop_copy_does_not_show_is_a_break_when_it_is_old_enough():
    rec = reconciler(missing_there_s=30)
    rec.on_event(event(1, "1;1"), 0)
    rec.on_event(event(2, "2;1"), 10 * SECOND)
    swept(rec, copy_of(event(1, "1;1")), began_ns=39 * SECOND)
    assert rec.breaks.open == {}
    swept(rec, copy_of(event(1, "1;1")), began_ns=40 * SECOND)
    assert kinds(rec) == {"missing_there-2.1": "missing_there"}


def test_missing_there_is_asked_for_again_and_closes_when_drop_copy_shows_it():
    rec = reconciler(overlap=0)
    rec.on_event(event(1, "1;1"), 0)
    rec.on_event(event(2, "2;1"), 0)
    rec.on_event(event(3, "3;1"), 40 * SECOND)
    swept(rec, copy_of(event(1, "1;1")), copy_of(event(3, "3;1")), began_ns=50 * SECOND)
    assert rec.watermark == "3;1"  # past it: it is a break of its own now
    assert begins(rec.plan(clean=True)) == [[("2;1", False), ("3;1", False)]]
    assert swept(rec, copy_of(event(2, "2;1")), copy_of(event(3, "3;1")), begins=("2;1",)) == []
    assert rec.breaks.open == {}


@pytest.mark.parametrize("kind", [EventKind.REJECTED, EventKind.PENDING_NEW, EventKind.CANCEL_REJECTED])
def test_rejects_and_pendings_are_never_missing_there(kind):
    rec = reconciler(missing_there_s=1)
    rec.on_event(event(1, "1;1"), 0)
    rec.on_event(event(2, "-1;-1" if kind is EventKind.PENDING_NEW else "2;1", kind), 0)
    swept(rec, copy_of(event(1, "1;1")), began_ns=100 * SECOND)
    assert rec.breaks.open == {}
    assert rec.watermark == "1;1"


# ---- different, duplicate, foreign


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"last_px": 195_001}, "LastPx here 19.5000, there 19.5001"),
        ({"last_qty": 200}, "LastQty here 1.00, there 2.00"),
        ({"fee": -5}, "fee here 0.001950, there -0.000005"),
        ({"collateral": 7}, "collateral here 0.000000, there 0.000007"),
        ({"long_qty": 300, "short_qty": 0}, "LongQty here 1.00, there 3.00"),
        ({"side": 2}, "Side here 1, there 2"),
        ({"symbol": "ETH-PERP"}, "Symbol here BTC-PERP, there ETH-PERP"),
        ({"order_id": "o2"}, "OrderID here o1, there o2"),
        ({"trd_match_id": "m2"}, "TrdMatchID here m1, there m2"),
        ({"aggressor": "N"}, "AggressorIndicator here Y, there N"),
        ({"cl_ord_id": "x"}, f"ClOrdID here {OURS}, there x"),
        ({"exec_type": "4"}, "ExecType here trade, there canceled"),
    ],
)
def test_each_field_that_differs_is_named_with_both_values(change, text):
    here = event(1, "1;1", long_qty=100, short_qty=0, trd_match_id="m1", aggressor="Y")
    there = copy_of(here, trd_match_id="m1", aggressor="Y")
    assert differences(there, here).texts == []
    rec = reconciler()
    rec.on_event(here, 0)
    rec.breaks.take()
    swept(rec, copy_of(here, **({"trd_match_id": "m1", "aggressor": "Y"} | change)))
    note = rec.breaks.open["different-1.1"]
    assert (note.kind, note.text) == ("different", text)


def test_numbers_that_depend_on_the_order_of_arrival_are_not_compared():
    here = event(1, "1;1", cum_qty=100, leaves_qty=900)
    assert differences(copy_of(here, cum_qty=500, leaves_qty=500, qty=1), here).texts == []


def test_an_expiry_may_come_as_canceled():
    """Canceled or Expired depends on each session's UseExpiredOrdStatus(21012)."""
    here = event(1, "1;1", EventKind.EXPIRED)
    assert differences(copy_of(here, exec_type="4"), here).texts == []


def test_a_canceled_report_carries_the_id_of_the_cancel_request():
    here = event(1, "1;1", EventKind.CANCELED, request_id="cancel-1")
    assert differences(copy_of(here, cl_ord_id="cancel-1", orig_cl_ord_id=OURS), here).texts == []


def test_one_exec_id_twice_on_the_tape_is_a_duplicate():
    rec = reconciler()
    rec.on_event(event(1, "1;1"), 0)
    rec.on_event(event(2, "1;1"), 0)
    assert kinds(rec) == {"duplicate-1.1": "duplicate"}


def test_foreign_reports_are_noted_once_and_never_open():
    rec = reconciler()
    rec.on_event(event(1, "1;1", strategy=-1, order="web-1", cl_ord_id="web-1"), 0)
    (note,) = rec.breaks.take()
    assert (note.break_id, note.status, rec.foreign, rec.breaks.counts) == ("foreign-1.1", "explained", 1, {})
    again = reconciler()
    again.restore_note(note)
    again.on_event(event(1, "1;1", strategy=-1), 0)
    assert (again.breaks.take(), again.foreign) == ([], 1)


# ---- position


def test_position_that_differs_from_704_705_is_a_break_until_they_agree():
    rec = reconciler()
    rec.on_event(event(1, "1;1", position=100, long_qty=100, short_qty=0), 0)
    assert not rec.positions.broke
    rec.on_event(event(2, "3;1", position=200, long_qty=300, short_qty=0), 0)
    assert rec.positions.broke
    (note,) = rec.breaks.open.values()
    assert note.break_id == "position-3.1-BTC-PERP"
    assert note.text == "own sum 2.00, 704/705 of 3;1 says 3.00"
    # The trade between them comes by drop copy: its own 704/705 is older than what was said last.
    rec.on_event(event(3, "2;1", position=300, long_qty=200, short_qty=0, source=Source.RECOVERED), 0)
    assert rec.breaks.open == {}


def test_an_operator_who_states_a_position_explains_the_breaks_of_that_market():
    rec = reconciler()
    rec.on_event(event(1, "1;1", position=100, long_qty=0, short_qty=100), 0)
    rec.on_event(
        event(
            2,
            "",
            EventKind.POSITION,
            source=Source.OPERATOR,
            long_qty=0,
            short_qty=100,
            position=-100,
            text="read",
        ),
        0,
    )
    assert rec.breaks.open == {}
    assert rec.breaks.take()[-1].text == "accepted by an operator: read"


# ---- what to ask with


def test_nothing_sent_means_nothing_to_ask():
    assert reconciler().plan(clean=False) == []


def test_sent_but_never_answered_asks_from_the_origin():
    rec = reconciler()
    rec.on_event(event(1, "", EventKind.SUBMITTED), 0)
    assert begins(rec.plan(clean=False)) == [[(ORIGIN, False)]]
    assert rec.plan(clean=True) == []


def test_without_a_watermark_the_first_report_of_a_whole_session_is_the_beginning():
    rec = reconciler()
    rec.on_event(event(1, "", EventKind.SUBMITTED), 0)
    rec.on_event(event(2, "7;1"), 0)
    assert begins(rec.plan(clean=True)) == [[("7;1", False)]]
    assert begins(rec.plan(clean=False)) == [[(ORIGIN, False), ("7;1", True)]]


def guessed(rec):
    return [begin for begin in rec.plan(clean=False)[0] if begin.guess]


def keeping_time(no, offset_ns, kind=EventKind.TRADE):
    """An event whose ExecID's clock is its time in ms."""
    wall_ns = START + offset_ns
    return event(no, "" if kind is EventKind.SUBMITTED else f"{wall_ns // MS};1", kind, wall_ns=wall_ns)


@pytest.mark.parametrize(("first_tape_no", "holed", "proven"), [(1, False, 1), (4, False, 0), (1, True, 0)])
def test_a_guess_as_early_as_the_tape_shows_everything_where_the_tape_was_read_whole(
    first_tape_no, holed, proven
):
    """A restart reads only some of it."""
    rec = reconciler()
    rec.on_event(keeping_time(first_tape_no, 0, EventKind.SUBMITTED), 0)
    if holed:
        rec.unseen_before_here()
    rec.on_event(keeping_time(first_tape_no + 1, 2 * SECOND), 0)
    early = key_of(guessed(rec)[0].exec_id)[0] <= START // MS - 30_000
    assert early
    assert any(not begin.hole for begin in guessed(rec)) is bool(proven)


def test_behind_an_operators_word_a_guess_as_early_as_that_shows_everything():
    rec = reconciler()
    rec.on_event(keeping_time(4, 0, EventKind.SUBMITTED), 0)
    rec.on_event(keeping_time(5, SECOND), 0)
    rec.breaks.note(BreakNote(break_id="gap-hole-1.0", kind=brk.GAP, status=brk.OPEN, wall_ns=START))
    rec.accept_gap(5, START + 2 * SECOND, "accepted")
    rec.on_event(keeping_time(6, 3 * SECOND), 0)
    assert [key_of(begin.exec_id)[0] for begin in guessed(rec) if not begin.hole][-1] >= START // MS - 30_000


def test_with_a_watermark_the_overlap_is_asked_for_too():
    rec = reconciler(overlap=1)
    events = [event(no, f"{no};1") for no in range(1, 5)]
    for one in events:
        rec.on_event(one, 0)
    swept(rec, *map(copy_of, events[:3]))
    assert begins(rec.plan(clean=False)) == [[("2;1", False), ("3;1", False), ("4;1", True)]]


def test_asked_from_the_origin_what_was_before_us_is_not_ours_to_recover():
    """The opening position holds it already."""
    rec = reconciler()
    rec.on_event(event(1, "", EventKind.SUBMITTED, request_id=OURS), 0)
    old = copy_of(event(0, "2;1"), cl_ord_id="web", transact_ns=START - SECOND)
    older = copy_of(
        event(0, "3;1"), cl_ord_id="018c0000-0000-8002-8000-000000000009", transact_ns=START - 60 * SECOND
    )
    ours = copy_of(event(0, "4;1"), transact_ns=START - SECOND)  # the venue's clock is behind ours
    assert swept(rec, old, older, ours, begins=(ORIGIN,)) == ["4;1"]


def test_restart_takes_the_marks_back_and_reads_the_tape_from_the_overlap():
    rec = reconciler(overlap=1)
    events = [event(no, f"{no};1") for no in range(1, 6)]
    for one in events:
        rec.on_event(one, 0)
    swept(rec, *map(copy_of, events))
    assert rec.tape_from(5) == 4
    record = WatermarkMoved(wall_ns=1, marks=rec.mark_texts(), tape_no=5, tape_from=4, confirmed=5)
    again = reconciler(overlap=1)
    again.restore(record)
    for one in events[3:]:
        again.on_event(one, 0)
    assert (again.watermark, again.confirmed) == ("5;1", 5)
    assert swept(again, *map(copy_of, events[3:]), begins=("4;1",)) == []


def test_hundred_thousand_reports_are_compared_in_one_pass():
    rec = reconciler(overlap=20)
    events = [event(no, f"{no};1") for no in range(1, 100_001)]
    for one in events:
        rec.on_event(one, 0)
    rec.breaks.take()
    assert swept(rec, *map(copy_of, events)) == []
    assert (rec.confirmed, len(rec.tape), rec.watermark) == (100_000, 21, "100000;1")


def test_a_restart_takes_the_position_from_every_trade_that_it_reads_again():
    """A recovered trade stands on the tape behind a newer one and is past the marks: it moves our sum all the same."""
    rec = reconciler()
    rec.restore(WatermarkMoved(wall_ns=START, marks=["3;1", "4;1"], tape_no=9, tape_from=2))
    rec.on_event(event(2, "3;1", position=-100, long_qty=400, short_qty=0), 0)
    rec.on_event(event(3, "2;1", position=400, long_qty=500, short_qty=0, source=Source.RECOVERED), 0)
    assert not rec.breaks.open


def test_a_recovered_trade_alone_is_no_word_of_the_venue_about_now():
    """What is newer may be on the tape before the place where a restart begins to read."""
    rec = reconciler()
    rec.on_event(event(7, "2;1", position=-700, long_qty=0, short_qty=900, source=Source.RECOVERED), 0)
    assert not rec.breaks.open


def test_a_trade_that_names_a_replace_whose_report_is_missing_agrees_by_its_request():
    """The tape's order still has its old ClOrdID in force; the event shows the one that the report named."""
    traded = event(2, "4;1", request_id="b")
    assert differences(copy_of(traded, cl_ord_id="b"), traded).texts == []


def test_an_order_without_a_submission_is_missing_only_on_a_tape_that_was_read_from_its_beginning():
    """A restart reads the tape from the overlap on; the worker's clock may have been ahead when it made the id."""
    whole, rest = reconciler(), reconciler()
    whole.on_event(event(1, kind=EventKind.SUBMITTED, order="018c0000-0000-8001-8000-000000000002"), 0)
    whole.on_event(event(2, "5;1", order="018c0000-0000-8001-8000-000000000003"), 0)
    rest.on_event(event(515, "5;1", order="018fffff-0000-8001-8000-000000000001"), 0)
    assert [note.kind for note in whole.breaks.open.values()] == ["missing_order"]
    assert not rest.breaks.open


@pytest.mark.parametrize("last", ["trade", "denied", "position"])
def test_fills_that_drop_copy_does_not_have_though_cum_qty_told_of_them_are_a_difference(last):
    """Open until every one of them came after all, explained by an operator's word."""
    reconciler = Reconciler(10, 30 * SECOND)
    over = {"state": OrderState.CANCELED, "late": True}
    reconciler.on_event(event(1, "", EventKind.SUBMITTED), 0)
    denied = event(
        2,
        "",
        EventKind.FILLS_DENIED,
        source=Source.RECOVERED,
        cum_qty=200,
        missing_qty=600,
        text="drop copy shows no such fill",
        **over,
    )
    reconciler.on_event(denied, 0)
    (note,) = reconciler.breaks.open.values()
    assert (note.kind, note.severity, note.break_id) == ("different", "critical", f"different-{OURS}")
    assert note.text == "by CumQty 6.00 more than our 2.00 were filled: drop copy shows no such fill"
    reconciler.on_event(event(3, "1;8", source=Source.RECOVERED, cum_qty=400, missing_qty=400, **over), 0)
    assert [note.status for note in reconciler.breaks.open.values()] == ["open"]
    if last == "trade":
        reconciler.on_event(event(4, "1;9", source=Source.RECOVERED, cum_qty=800, **over), 0)
    elif last == "denied":
        reconciler.on_event(event(4, "", EventKind.FILLS_DENIED, source=Source.OPERATOR, **over), 0)
    else:
        said = {"position": 800, "long_qty": 800, "short_qty": 0, "source": Source.OPERATOR}
        reconciler.on_event(event(4, "", EventKind.POSITION, **said), 0)
    assert not reconciler.breaks.open
    ends = {"trade": "closed", "denied": "explained", "position": "explained"}
    assert reconciler.breaks.take()[-1].status == ends[last]


def test_an_operator_who_gives_fills_up_opens_nothing():
    reconciler = Reconciler(10, 30 * SECOND)
    reconciler.on_event(event(1, "", EventKind.FILLS_DENIED, source=Source.OPERATOR), 0)
    assert not reconciler.breaks.open
