"""The venue's pauses: what passes while one is on, and what must be there again before orders pass."""

import pytest
from msgspec import structs

from engine.common.clock import Now
from engine.common.schedule import Window
from engine.messages.commands import Approved, CancelAll, CancelOrder, ControlReply, Halt, Refused
from engine.messages.market_data import BookRequest
from engine.messages.reconciliation import ReconciliationStatus

BTC = "BTC-PERP"
TOOL = "tool.ctl.1"


def refuse(rig, text, **more):
    approved = rig.new(price=98_00)
    assert isinstance(approved, Approved), approved
    rig.submitted(approved)
    rig.end(
        approved, "rejected", "REJECTED", text=text, reason=2, request_id=approved.request.cl_ord_id, **more
    )


def refuse_cancel(rig, order, cancel):
    terms = {**rig.terms(order), "leaves_qty": order.request.qty}
    rig.event("cancel_submitted", "PENDING_CANCEL", order.request.cl_ord_id, request_id=cancel, **terms)
    rig.event(
        "cancel_rejected",
        "NEW",
        order.request.cl_ord_id,
        request_id=cancel,
        text="EXCHANGE_PAUSED",
        reason=99,
        **terms,
    )


def cancels(rig):
    return [m.request for m in rig.take(Approved) if isinstance(m.request, CancelOrder)]


def reopened(rig):
    rig.caught_up(watermark_wall_ns=rig.now.wall_ns)
    rig.top(BTC, 99_00, 101_00)
    rig.beats()


def test_after_a_pause_orders_wait_for_a_book_and_a_reconciliation_begun_since(rig):
    refuse(rig, "TRADING_PAUSED")
    rig.wait(5100)
    gate = rig.guard.gate
    assert gate.reasons[0] == "after a pause: no reconciliation was begun since"
    assert any(isinstance(m, BookRequest) for m in rig.take())
    rig.caught_up(watermark_wall_ns=rig.now.wall_ns)
    assert gate.state == "PAUSED" and gate.reasons == ["no market is live with a known position"]
    rig.top(BTC, 99_00, 101_00)
    rig.wait(100)
    assert gate.state == "TRADING" and rig.control(price=97_00) is None
    assert rig.control(price=49_0000, symbol="ETH-PERP") == "market"  # its book was not told since


def test_a_reconciliation_from_before_the_reopening_does_not_count(rig):
    refuse(rig, "TRADING_PAUSED")
    early = rig.now.wall_ns
    rig.wait(5100)
    rig.top(BTC, 99_00, 101_00)
    rig.give(
        ReconciliationStatus(
            wall_ns=rig.now.wall_ns, session="logged on", caught_up=True, watermark_wall_ns=early
        )
    )
    assert rig.guard.gate.state == "PAUSED"


def test_in_a_trading_pause_cancels_pass(rig):
    order = rig.rest(price=97_00)
    refuse(rig, "TRADING_PAUSED")
    rig.out.all.clear()
    rig.give(
        CancelOrder(cl_ord_id=rig.ids[1](), orig_cl_ord_id=order.request.cl_ord_id, symbol=BTC, side=1),
        "strategy.alpha",
    )
    assert isinstance(rig.answer(), Approved)


def test_in_an_exchange_pause_nothing_passes_and_cancels_wait(rig):
    """A worker's cancel is refused with the reason, remembered, and leaves by itself when the pause is over."""
    order, other = rig.rest(price=97_00), rig.rest(price=96_00)
    refuse(rig, "EXCHANGE_PAUSED")
    assert rig.guard.gate.state == "PAUSED"
    for each in (order, other, order):
        rig.out.all.clear()
        rig.give(
            CancelOrder(cl_ord_id=rig.ids[1](), orig_cl_ord_id=each.request.cl_ord_id, symbol=BTC, side=1),
            "strategy.alpha",
        )
        answer = rig.answer()
        assert isinstance(answer, Refused) and answer.control == "exchange_pause"
    rig.wait(1900)
    assert cancels(rig) == []
    rig.wait(200)
    (probe,) = cancels(rig)  # one probe, no storm
    refuse_cancel(rig, order, probe.cl_ord_id)
    rig.wait(1900)
    assert cancels(rig) == []
    rig.wait(300)
    (probe,) = cancels(rig)
    assert probe.orig_cl_ord_id == order.request.cl_ord_id
    rig.end(order, request_id=probe.cl_ord_id)  # the venue works again: the rest follows at once
    rig.wait(2100)
    assert [c.orig_cl_ord_id for c in cancels(rig)] == [other.request.cl_ord_id]


def test_cancels_by_the_beginning_of_a_pause_do_not_end_it(rig):
    """21006=Y: the venue cancels by itself; only what we asked for is a sign that it works."""
    order = rig.rest(price=97_00)
    refuse(rig, "EXCHANGE_PAUSED")
    rig.end(order)
    assert rig.guard.gate.pauses.exchange


def test_a_halt_in_an_exchange_pause_says_what_it_cannot_cancel(rig):
    order = rig.rest(price=97_00)
    refuse(rig, "EXCHANGE_PAUSED")
    rig.out.all.clear()
    rig.give(Halt(request_id="h", why="odd", who="me"), TOOL)
    (reply,) = rig.take(ControlReply)
    said = f"1 orders of all can't be cancelled until it ends: {order.request.cl_ord_id}"
    assert reply.ok and said in reply.text
    assert said in rig.guard.report.status(rig.now).cannot_cancel
    assert any(level == "alert" and said in text for level, text in rig.out.log_lines)
    rig.wait(2100)
    (probe,) = cancels(rig)
    rig.end(order, request_id=probe.cl_ord_id)
    rig.wait(100)
    assert rig.guard.report.status(rig.now).cannot_cancel == ""


def test_cancel_all_again_and_again_in_an_exchange_pause_is_one_sweep_and_one_alert(rig):
    """A second one cancels nothing that the first does not, and says nothing new."""
    rig.rest(price=97_00)
    refuse(rig, "EXCHANGE_PAUSED")
    for _ in range(20):
        rig.give(CancelAll(), "strategy.alpha")
        rig.wait(40)
    assert len(rig.guard.halting.sweeps) == 1
    said = [text for level, text in rig.out.log_lines if level == "alert" and "can't be cancelled" in text]
    assert len(said) == 1


@pytest.fixture
def window(make):
    """A guard some minutes before the venue's Thursday window."""
    rig = make(start=False)
    begin, end = Window("Thu 03:00-05:00", "America/New_York").bounds(rig.now.wall_ns)
    rig.now = Now(begin - 120 * 10**9, rig.now.mono_ns)
    rig.begin, rig.end_ns = begin, end
    return rig.start()


def go(rig, wall_ns):
    rig.now = Now(wall_ns, rig.now.mono_ns + 10**9)
    rig.beats()
    rig.caught_up()
    rig.guard.on_deadline(rig.now)


def test_before_the_weekly_window_orders_stop_and_what_rests_is_cancelled(window):
    """pause_lead_s is 60; after the end: a book and a reconciliation since."""
    rig = window
    assert rig.guard.gate.state == "TRADING"
    order = rig.rest(price=97_00)
    go(rig, rig.begin - 61 * 10**9)
    assert rig.guard.gate.state == "TRADING"
    rig.take()
    go(rig, rig.begin - 60 * 10**9)
    assert rig.guard.gate.state == "PAUSED" and "maintenance begins at" in rig.guard.gate.reasons[0]
    (cancel,) = cancels(rig)
    assert cancel.orig_cl_ord_id == order.request.cl_ord_id
    rig.end(order, request_id=cancel.cl_ord_id)
    go(rig, rig.end_ns - 1)
    assert "maintenance is on until" in rig.guard.gate.reasons[0]
    go(rig, rig.end_ns)
    assert rig.guard.gate.state == "PAUSED"
    reopened(rig)
    assert rig.guard.gate.state == "TRADING"


def test_the_lead_may_leave_what_rests(make):
    rig = make(start=False, risk__pause_cancel=False, risk__pause_lead_s=10)
    begin, _ = Window("Thu 03:00-05:00", "America/New_York").bounds(rig.now.wall_ns)
    rig.now = Now(begin - 60 * 10**9, rig.now.mono_ns)
    rig.start()
    rig.rest(price=97_00)
    rig.take()
    go(rig, begin - 10 * 10**9)
    assert rig.guard.gate.state == "PAUSED" and cancels(rig) == []


def test_where_an_operator_accepted_the_gap_no_reconciliation_is_waited_for(rig):
    """A drop copy that is not enabled never sweeps: else a pause would never be over."""
    rig.caught_up(caught_up=False, gap="not enabled", watermark_wall_ns=rig.now.wall_ns)
    rig.guard.gate.accepted_gap = "not enabled"
    rig.beats()
    refuse(rig, "TRADING_PAUSED")
    rig.wait(5100)
    rig.top(BTC, 99_00, 101_00)
    rig.wait(100)
    assert rig.guard.gate.state == "TRADING"


def test_a_clock_that_is_set_back_after_a_pause_makes_no_wait_of_hours(rig):
    refuse(rig, "TRADING_PAUSED")
    rig.wait(5100)
    rig.now = Now(rig.now.wall_ns - 3600 * 10**9, rig.now.mono_ns + 10**9)
    rig.beats()
    rig.now = structs.replace(rig.now, wall_ns=rig.now.wall_ns + 10**6)
    reopened(rig)
    rig.wait(100)
    assert rig.guard.gate.state == "TRADING"
