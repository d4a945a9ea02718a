"""What the venue says: reports, refusals, foreign and late ones, breaks."""

import pytest

from engine.common.ids import ClOrdIDs
from engine.messages.executions import RecoveredReports, Source, SweepDone
from engine.order_entry.reports import copy_of
from engine.orders import ledger


def test_a_report_is_taken_once_whoever_brings_it(rig) -> None:
    """ExecID is the key: session, session again, drop copy."""
    order = rig.new()
    message = rig.make(order, "F", "1", last_qty=300, last_px=195_000)
    rig.app(message, message)
    rig.ask(RecoveredReports(reports=[copy_of(message)]))
    assert rig.kinds[1:] == ["trade PARTIALLY_FILLED"]
    assert rig.oe.desk.count.duplicates == 2
    assert rig.oe.ledger.positions.qty("BTC-PERP") == 300


def test_a_pending_report_is_no_key(rig) -> None:
    """`-1;-1` comes on every pending report: none is dropped as a duplicate, none is on the tape as a key."""
    first, second = rig.new(), rig.new()
    rig.report(first, "A", "A", "-1;-1")
    rig.report(second, "A", "A", "-1;-1")
    assert rig.kinds[2:] == ["pending_new PENDING_NEW"] * 2
    assert [event.exec_id for event in rig.tape] == [""] * 4
    rig.report(first, "4", "4")
    rig.report(first, "A", "A", "-1;-1")
    assert rig.kinds[-1] == "canceled CANCELED"


def test_a_trade_without_a_key_moves_nothing_and_asks_for_a_sweep(rig) -> None:
    """It could not be told from its own duplicate."""
    order, wanted = rig.new(), rig.oe.recovery.sweep_wanted
    rig.fill(order, 300, exec_id="-1;-1")
    assert rig.oe.ledger.positions.qty("BTC-PERP") == 0
    assert rig.beat.sweep_wanted == wanted + 1


def test_exchange_unavailable_is_no_reject(rig) -> None:
    """Its outcome is unknown; order entry asks by a cancel after a while."""
    order = rig.new()
    rig.report(order, "8", "8", text="EXCHANGE_UNAVAILABLE", ord_rej_reason=99)
    assert rig.kinds[-1] == "unknown UNKNOWN"
    assert (rig.tape[-1].text, rig.tape[-1].reason) == ("EXCHANGE_UNAVAILABLE", 99)
    assert rig.beat.unknown == 1 and rig.beat.ready
    rig.wait(400)
    assert len(rig.wire) == 1
    rig.wait(200)
    assert rig.wire[1].startswith("35=F|") and f"|41={order}|" in rig.wire[1]
    assert rig.kinds[-1] == "cancel_submitted UNKNOWN"


def test_order_already_exists_is_this_order(rig) -> None:
    """No ClOrdID is sent twice, so the one that exists is ours."""
    order = rig.new()
    rig.report(order, "8", "8", text="ORDER_ALREADY_EXISTS", ord_rej_reason=6)
    assert rig.state(order) == "UNKNOWN"


def test_internal_error_is_a_reject(rig) -> None:
    """The text of a healthy exchange: not applied."""
    order = rig.new()
    rig.report(order, "8", "8", text="INTERNAL_ERROR", ord_rej_reason=99)
    assert (rig.kinds[-1], rig.tape[-1].reason) == ("rejected REJECTED", 99)


def test_post_only_cross_comes_as_a_cancel_with_its_text(rig) -> None:
    """Canceled is classified by its text, which the tape keeps."""
    order = rig.new(post_only=True)
    rig.report(order, "4", "4", text="POST_ONLY_CROSS")
    assert (rig.kinds[-1], rig.tape[-1].text) == ("canceled CANCELED", "POST_ONLY_CROSS")


def test_a_refusal_by_number_means_it_never_reached_the_book(rig) -> None:
    """35=3 and 35=j by RefSeqNum: a new order is NOT_SENT, a cancel or replace leaves the order working."""
    order = rig.live()
    cancel, replace = rig.cancel(order), rig.replace(order, 500)
    never, other = rig.new(), rig.new()
    rig.business_reject(3)
    rig.reject(4, "ill")
    rig.reject(5, "bad tag")
    rig.business_reject(None, ref_id=other)
    rig.business_reject(5)
    rig.business_reject(77)
    assert rig.kinds[-4:] == [
        "cancel_rejected PENDING_REPLACE",
        "replace_rejected NEW",
        "not_sent NOT_SENT",
        "not_sent NOT_SENT",
    ]
    assert [e.request_id for e in rig.tape[-4:]] == [cancel, replace, never, other]
    assert rig.tape[-4].text == "BusinessRejectReason 8: slow down"
    assert rig.oe.desk.sent == {}


def test_a_refusal_after_the_answer_changes_nothing(rig) -> None:
    """What was answered is forgotten: the number means nothing any more."""
    order = rig.live()
    rig.business_reject(2)
    assert rig.state(order) == "NEW"


def test_a_cancel_reject_gives_the_order_back_once(rig) -> None:
    """35=9 has no ExecID: the request in flight is its key."""
    order = rig.live()
    cancel = rig.cancel(order)
    for _ in range(2):
        rig.cancel_reject(cancel, order, 99, "TRADING_PAUSED")
    assert rig.kinds[-2:] == ["cancel_submitted PENDING_CANCEL", "cancel_rejected NEW"]
    replace = rig.replace(order, 500)
    rig.cancel_reject(replace, order, 2, "INVALID_AMEND_QTY_FOR_ORDER", "2")
    assert (rig.kinds[-1], rig.tape[-1].reason, rig.tape[-1].new_qty) == ("replace_rejected NEW", 2, 0)
    rig.cancel_reject("who", "what", 1)
    assert rig.out.logged("warning") != []


def test_a_replace_in_doubt_stays_in_flight(rig) -> None:
    """EXCHANGE_UNAVAILABLE for a replace: the order is unknown, and asked for by both ids."""
    order = rig.live()
    replace = rig.replace(order, 500)
    rig.cancel_reject(replace, order, 99, "EXCHANGE_UNAVAILABLE", "2")
    assert rig.kinds[-1] == "unknown UNKNOWN" and rig.tape[-1].new_qty == 500
    rig.wait(600)
    assert f"|41={order}|" in rig.wire[-1]
    rig.cancel_reject(rig.tape[-1].request_id, order, 1)
    rig.wait(20)
    assert f"|41={replace}|" in rig.wire[-1]
    rig.report(rig.tape[-1].request_id, "4", "4", orig_cl_ord_id=replace)
    assert rig.state(order) == "CANCELED"


def test_unknown_order_for_an_open_one_is_a_doubt(rig) -> None:
    """The venue has no such order: what ended it was lost, so a sweep has to tell."""
    order = rig.live()
    cancel = rig.cancel(order)
    wanted = rig.oe.recovery.sweep_wanted
    rig.cancel_reject(cancel, order, 1, "unknown order")
    assert rig.kinds[-2:] == ["cancel_rejected NEW", "unknown UNKNOWN"]
    assert rig.beat.sweep_wanted == wanted + 1
    rig.fill(order, 1000, "2")
    assert rig.state(order) == "FILLED" and rig.oe.recovery.asks == {}


def test_too_late_to_cancel_asks_for_a_sweep_only(rig) -> None:
    """Its fill is on its way; the order is not in doubt."""
    order = rig.live()
    wanted = rig.oe.recovery.sweep_wanted
    rig.cancel_reject(rig.cancel(order), order, 0, "too late")
    assert rig.state(order) == "NEW" and rig.beat.sweep_wanted == wanted + 1


def test_a_late_fill_is_applied_and_alarmed(rig) -> None:
    """The position moves, the state stays (invariant 4)."""
    order = rig.live()
    rig.report(order, "4", "4")
    rig.fill(order, 300)
    event = rig.tape[-1]
    assert (event.kind, event.state, event.late, event.cum_qty, event.position) == (
        "trade",
        "CANCELED",
        True,
        300,
        300,
    )
    assert rig.out.logged("alert") == [f"late fill of 300 for {order}, which is CANCELED"]


def test_a_fill_of_an_order_that_was_over_long_ago_is_still_booked(rig, monkeypatch) -> None:
    """Only its ids are left: the position moves for its strategy, the state that it had stays."""
    monkeypatch.setattr(ledger, "CLOSED_KEPT", 1)
    old = rig.live()
    rig.report(old, "4", "4")
    for _ in range(2):
        rig.report(rig.live(), "4", "4")
    assert rig.oe.ledger.find(old) is None
    rig.fill(old, 300, cum_qty=300)
    rig.report(old, "A", "A", "-1;-1")
    event = rig.tape[-1]
    assert (event.strategy, event.order, event.state, event.late) == (1, old, "CANCELED", True)
    assert event.position == 300 and "which was over long ago" in rig.out.logged("alert")[-1]
    rig.new(old)
    assert rig.answers()[-1].reason == "duplicate"
    rig.restarted()


def test_an_order_concluded_long_ago_that_is_alive_counts_again(rig, monkeypatch) -> None:
    """Only its ids are left: it is taken up again from its report, UNKNOWN until the venue ends it."""
    monkeypatch.setattr(ledger, "CLOSED_KEPT", 1)
    old = rig.new()
    rig.business_reject(2)
    for _ in range(2):
        rig.report(rig.live(), "4", "4")
    assert rig.oe.ledger.find(old) is None
    rig.report(old, "0", "0", leaves_qty=1000, price=195_000)
    assert (rig.tape[-1].strategy, rig.tape[-1].order, rig.tape[-1].leaves_qty) == (1, old, 1000)
    assert rig.state(old) == "UNKNOWN"
    rig.wait(20)
    assert f"|41={old}|" in rig.wire[-1]
    rig.restarted()
    rig.report(rig.tape[-1].request_id, "4", "4", orig_cl_ord_id=old)
    assert rig.state(old) == "CANCELED"
    rig.restarted()


def test_an_overfill_is_applied_and_alarmed(rig) -> None:
    """F13: more than was ordered moves the position all the same."""
    order = rig.live(qty=100)
    rig.fill(order, 300)
    assert rig.oe.ledger.positions.qty("BTC-PERP") == 300
    assert rig.out.logged("alert") == [f"order {order} is overfilled: 300 of 100"]


def test_a_foreign_report_moves_the_position_and_is_nobodys_order(rig) -> None:
    """Liquidations and other sessions: kept, attributed to foreign, alerted; never adopted."""
    rig.fill("liq-1", 200, "2", cum_qty=200, long_qty=200, short_qty=0)
    rig.report("liq-1", "A", "A", "-1;-1")
    event = rig.tape[-1]
    assert (event.strategy, event.state, event.position, event.order) == (-1, "FILLED", 200, "V-liq-1")
    assert ("send", "oe.tape", event, "slot.foreign") in rig.out.done
    assert rig.oe.ledger.orders == {} and rig.oe.desk.count.foreign == 2
    assert len(rig.tape) == 1 and len(rig.out.logged("alert")) == 1


def test_a_foreign_order_is_named_by_its_order_id(rig) -> None:
    """Its ClOrdID changes with every request; without an OrderID there is nothing else."""
    terms = {"order_id": "V-7", "price": 195_000}
    rig.report("a", "0", "0", leaves_qty=500, **terms)
    rig.report("b", "5", "0", leaves_qty=300, orig_cl_ord_id="a", **terms)
    rig.report("c", "4", "4", orig_cl_ord_id="b", **terms)
    rig.report("d", "0", "0", leaves_qty=500, order_id="NONE")
    assert [(e.order, e.state, e.leaves_qty) for e in rig.tape] == [
        ("V-7", "NEW", 500), ("V-7", "NEW", 300), ("V-7", "CANCELED", 0), ("d", "NEW", 500),
    ]  # fmt: skip


def test_a_report_after_the_end_of_a_foreign_order_opens_nothing(rig) -> None:
    """Drop copy may bring what the session missed, after the end; a restart knows of the end too."""
    rig.report("c", "4", "4", "20;9", order_id="V-7", orig_cl_ord_id="a")
    rig = rig.restarted().up()
    rig.report("a", "F", "1", "20;8", order_id="V-7", last_qty=100, last_px=195_000, leaves_qty=400)
    assert (rig.tape[-1].state, rig.tape[-1].position) == ("CANCELED", 100)


def test_an_order_of_our_layout_without_a_journal_row_is_recovered(rig) -> None:
    """The slot is read off the ClOrdID; the session's word makes it a working order, drop copy's an unknown one."""
    lost = ClOrdIDs(7, 1_700_000_000_000, 5)
    first, second, cancel = lost(), lost(), lost()
    rig.report(first, "0", "0", leaves_qty=500, price=195_000)
    assert (rig.tape[-1].strategy, rig.state(first), rig.tape[-1].leaves_qty) == (7, "NEW", 500)
    report = copy_of(rig.make(second, "F", "1", last_qty=100, last_px=1, leaves_qty=400, cum_qty=100))
    rig.ask(RecoveredReports(reports=[report]))
    assert (rig.state(second), rig.tape[-1].source) == ("UNKNOWN", Source.RECOVERED)
    rig.report(cancel, "4", "4", orig_cl_ord_id=second)
    assert rig.state(second) == "CANCELED" and rig.tape[-1].order == second


def test_an_order_is_found_by_its_order_id(rig) -> None:
    """A cancel from another place carries an id that we never saw."""
    order = rig.live()
    rig.report("", "4", "4", order_id=f"V-{order}", text="MarginCancel")
    assert rig.state(order) == "CANCELED"


def test_an_unexpected_exec_type_is_an_alert(rig) -> None:
    """Nothing is guessed."""
    rig.report(rig.live(), "H", "1")
    assert rig.out.logged("alert")[0].startswith("ExecType 'H'")


def test_a_position_break_is_said_on_the_event(rig) -> None:
    """704/705 against our own sum after each trade, once the sweep of the logon is done."""
    from engine.messages.executions import SweepDone

    order = rig.live()
    rig.fill(order, 100, long_qty=700, short_qty=0)
    assert rig.tape[-1].text == ""
    rig.ask(SweepDone(wanted=rig.oe.recovery.sweep_wanted, complete=True))
    assert rig.out.logged("alert") == ["position break: BTC-PERP ours 100, the venue's 700"]
    rig.fill(order, 100, long_qty=200, short_qty=0)
    assert rig.tape[-1].text == ""
    rig.fill(order, 100, long_qty=0, short_qty=50)
    assert rig.tape[-1].text == "position break: BTC-PERP ours 300, the venue's -50"
    rig.fill(order, 100, exec_id="9;1", long_qty=1, short_qty=0)
    assert rig.tape[-1].text == ""


def test_fees_and_details_of_a_trade_are_on_the_tape(rig) -> None:
    """As the venue charged them."""
    order = rig.live()
    rig.fill(
        order, 100, misc_fee_amt=-250, collateral_amount_change=-7, trd_match_id="m", aggressor_indicator="N",
        long_qty=100, short_qty=0, transact_time_ns=5,
    )  # fmt: skip
    event = rig.tape[-1]
    assert (event.fee, event.collateral, event.trd_match_id, event.aggressor) == (-250, -7, "m", "N")
    assert (event.last_px, event.last_qty, event.long_qty, event.transact_ns) == (195_000, 100, 100, 5)
    (state, *_) = rig.oe.ledger.positions.states(1)
    assert (state.fees, state.cost) == (-250, 19_500_000)


@pytest.mark.parametrize("filled", [True, False])
def test_an_ioc_without_a_cancel_report_ends_silently(make_rig, filled) -> None:
    """21007=N: no report says that the rest is gone; its terms do, once a sweep begun after its silence shows no more."""
    rig = make_rig(session={"enable_ioc_cancel_report": False}).up()
    order = rig.new(tif="3")
    if filled:
        rig.fill(order, 300)
    else:
        rig.report(order, "0", "0")
    before = rig.oe.recovery.sweep_wanted
    rig.wait(900)
    assert rig.oe.recovery.sweep_wanted == before
    rig.wait(200)
    wanted = rig.oe.recovery.sweep_wanted
    assert wanted > before
    rig.ask(SweepDone(wanted=before, complete=True))
    rig.ask(SweepDone(wanted=wanted, complete=False))
    assert rig.state(order) in ("NEW", "PARTIALLY_FILLED")
    rig.ask(SweepDone(wanted=wanted, complete=True))
    assert rig.kinds[-1] == "done_silently CANCELED"
    rig.fill(order, 100)
    assert rig.tape[-1].late


def test_a_fill_that_was_lost_of_an_ioc_that_ended_silently_counts_until_it_is_found(make_rig) -> None:
    """No CumQty tells of it: nothing comes after it. The guard counts a live order at its worst."""
    rig = make_rig(session={"enable_ioc_cancel_report": False}).up()
    order = rig.new(tif="3")
    rig.report(order, "0", "0")
    rig.wait(2_000)
    assert rig.state(order) == "NEW" and rig.tape[-1].leaves_qty == rig.tape[-1].qty
    lost = rig.make(order, "F", "1", last_qty=200, cum_qty=200, leaves_qty=800, last_px=195_000)
    rig.ask(RecoveredReports(reports=[copy_of(lost)]))
    rig.ask(SweepDone(wanted=rig.oe.recovery.sweep_wanted, complete=True))
    assert rig.kinds[-2:] == ["trade PARTIALLY_FILLED", "done_silently CANCELED"]
    assert rig.tape[-1].cum_qty == 200


def test_an_operators_word_ends_what_ended_silently_and_no_sweep_could_show(make_rig) -> None:
    """Drop copy may not be there at all."""
    rig = make_rig(session={"enable_ioc_cancel_report": False}).up()
    order = rig.new(tif="3")
    rig.fill(order, 300)
    rig.wait(1_100)
    rig.oe.recovery.accept("read on the web", rig.now)
    assert rig.state(order) == "PARTIALLY_FILLED"
    rig.ask(SweepDone(wanted=rig.oe.recovery.sweep_wanted, complete=False))
    rig.oe.recovery.accept("read on the web", rig.now)
    assert rig.kinds[-1] == "done_silently CANCELED"
    assert "accepted: read on the web" in rig.tape[-1].text


def test_an_ioc_with_cancel_reports_waits_for_its_report(rig) -> None:
    """21007=Y: only the venue's word ends it; an unanswered one too."""
    order = rig.new(tif="3")
    rig.fill(order, 300)
    rig.wait(5000)
    assert rig.state(order) == "PARTIALLY_FILLED"
    rig.report(order, "4", "4", text="IMMEDIATE_OR_CANCELLED")
    assert rig.state(order) == "CANCELED"


def test_a_message_that_can_not_be_decoded_is_an_alert_and_no_end(rig) -> None:
    """Garbage from the venue never stops order entry."""
    from engine.fix.message import FixMessage

    rig.app(FixMessage(b"", "FIXT.1.1", [(35, "8"), (34, "9"), (11, "x")]))
    rig.app(object())
    assert len(rig.out.logged("alert") + rig.out.logged("warning")) == 2
    assert rig.oe.ready
