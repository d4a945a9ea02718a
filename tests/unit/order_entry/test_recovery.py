"""Restart, lost sessions, doubt and how it ends; guard loss, shutdown, the tape's questions."""

import pytest

from engine.common.clock import MS
from engine.config import OpeningConfig, RateConfig
from engine.fix.events import Refused, ResendAsked
from engine.fix.message import FixMessage
from engine.messages.commands import AcceptGap, GuardBeat, GuardHello
from engine.messages.executions import (
    OrdersSnapshot,
    RecoveredReports,
    SnapshotRequest,
    Source,
    SweepDone,
    TapeReplay,
    TapeRequest,
)
from engine.order_entry.reports import copy_of


def test_a_restart_doubts_every_live_order_and_asks_by_cancelling(rig) -> None:
    """UNKNOWN at the start; a cancel for each ClOrdID after the logon; not ready until all is known."""
    resting, pending = rig.live(), rig.new()
    over = rig.live()
    rig.report(over, "4", "4")
    again = rig.restarted()
    again.oe.start(again.now)
    assert again.kinds == ["unknown UNKNOWN"] * 2
    assert again.beat.unknown == 2 and not again.beat.ready
    again.logon()
    assert not again.beat.ready and again.beat.detail == "finding out about 2 orders"
    again.wait(50, guard=False)
    assert [w.split("|")[0] for w in again.wire] == ["35=F", "35=F"]
    assert f"|41={resting}|" in again.wire[0] and f"|41={pending}|" in again.wire[1]
    for order in (resting, pending):
        ask = next(e.request_id for e in again.tape if e.order == order and e.kind == "cancel_submitted")
        assert ask[15:18] == "000", "order entry's own ids have slot 0"
        again.report(ask, "4", "4", orig_cl_ord_id=order)
    assert again.beat.ready and again.oe.ledger.orders == {}


@pytest.mark.parametrize("kept", [True, False])
def test_a_start_says_that_orders_which_were_left_are_cancelled_now(make_rig, kept) -> None:
    """FIX has no query for open orders; with 8013=Y the venue has cancelled them, and asking only makes sure."""
    session = {"cancel_orders_on_disconnect": not kept}
    first = make_rig(session=session, engine={"shutdown": "leave"}).up()
    first.live()
    first.new()
    rig = first.restarted(session=session, engine={"shutdown": "leave"})
    rig.oe.start(rig.now)
    text = "2 orders were left resting; they are cancelled now, because FIX has no query for open orders"
    assert (text in rig.out.logged("alert")) is kept
    rig.logon()
    rig.wait(50, guard=False)
    assert [w[:5] for w in rig.wire] == ["35=F|", "35=F|"]


@pytest.mark.parametrize(("acknowledged", "end"), [(False, "NOT_SENT"), (True, "CANCELED")])
def test_unknown_order_is_an_answer_only_with_a_sweep_begun_after_it(make_rig, acknowledged, end) -> None:
    """ "Unknown order" proves that it does not rest; drop copy says whether it was filled."""
    rig = make_rig().up()
    order = rig.live() if acknowledged else rig.new()
    rig.drop()
    assert rig.kinds[-1] == "unknown UNKNOWN" and rig.tape[-1].text == "session lost: reset by peer"
    rig.logon()
    first = rig.beat.sweep_wanted
    rig.wait(20)
    rig.cancel_reject(rig.tape[-1].request_id, order, 1, "unknown order")
    wanted = rig.beat.sweep_wanted
    assert wanted == first + 1 and rig.state(order) == "UNKNOWN" and not rig.beat.ready
    rig.ask(SweepDone(wanted=first, complete=True))
    rig.ask(SweepDone(wanted=wanted, complete=False))
    rig.ask(SweepDone(wanted=wanted + 50, complete=True))
    assert rig.state(order) == "UNKNOWN"
    rig.ask(SweepDone(wanted=wanted, complete=True))
    assert (rig.kinds[-1], rig.tape[-1].source) == (f"resolved {end}", Source.RECOVERED)
    assert rig.beat.ready and rig.beat.sweep_done == wanted


def test_recovered_reports_end_the_doubt_in_exec_id_order(rig) -> None:
    """A fill while away: what drop copy has is applied as integers order it, once."""
    order = rig.live()
    rig.drop()
    reports = [
        copy_of(rig.make(order, "F", "2", "100;1", last_qty=600, last_px=195_000)),
        copy_of(rig.make(order, "F", "1", "99;1", last_qty=400, last_px=195_000)),
    ]
    rig.ask(RecoveredReports(reports=reports))
    rig.ask(RecoveredReports(reports=reports))
    assert rig.kinds[-2:] == ["trade UNKNOWN", "trade FILLED"]
    assert rig.tape[-1].source is Source.RECOVERED and rig.oe.ledger.positions.qty("BTC-PERP") == 1000
    rig.logon()
    rig.wait(100)
    assert rig.beat.ready and len(rig.wire) == 1


def test_an_unanswered_question_is_asked_again_with_a_new_id(rig) -> None:
    """A timeout changes nothing but the noise; ids are never reused."""
    order = rig.live()
    rig.drop()
    rig.logon()
    rig.wait(12_000)
    asks = [e for e in rig.tape if e.kind == "cancel_submitted"]
    assert len(asks) == 3 and len({e.request_id for e in asks}) == 3
    assert rig.state(order) == "UNKNOWN"


def test_a_refused_question_is_asked_again_later(rig) -> None:
    """A pause or a rate limit is no answer."""
    order = rig.live()
    rig.drop()
    rig.logon()
    rig.wait(20)
    rig.cancel_reject(rig.tape[-1].request_id, order, 99, "EXCHANGE_PAUSED")
    rig.wait(500)
    assert len(rig.wire) == 2
    rig.wait(600)
    assert len(rig.wire) == 3
    rig.business_reject(3)
    rig.wait(1100)
    assert len(rig.wire) == 4 and rig.state(order) == "UNKNOWN"


def test_kalshi_rt_doubts_only_what_was_not_answered(make_rig) -> None:
    """With retransmission what was missed is sent again: an acknowledged order is not in doubt."""
    rig = make_rig(session={"target_comp_id": "KalshiRT"}).up()
    rig.client.began_anew = False
    resting, pending = rig.live(), rig.new()
    rig.drop()
    assert (rig.state(resting), rig.state(pending)) == ("NEW", "UNKNOWN")
    rig.logon()
    rig.report(pending, "0", "0")
    assert rig.state(pending) == "NEW" and not rig.beat.ready  # its own ResendRequest may still come
    rig.wait(1100)
    assert rig.beat.ready


@pytest.mark.parametrize("by", ["session", "drop copy"])
def test_an_order_concluded_dead_that_is_alive_counts_again_until_the_venue_ends_it(rig, by) -> None:
    """The venue's word overrides our conclusion: UNKNOWN at its worst, asked for as long as it takes."""
    order = rig.new()
    rig.business_reject(2)
    assert rig.state(order) == "NOT_SENT"
    report = rig.make(order, "0", "0", leaves_qty=1000)
    if by == "session":
        rig.app(report)
    else:
        rig.ask(RecoveredReports(reports=[copy_of(report)]))
    event = rig.tape[-1]
    assert (event.kind, event.state, event.leaves_qty, event.late) == ("new", "UNKNOWN", 1000, True)
    assert "is open at the venue but was concluded NOT_SENT" in rig.out.logged("alert")[-1]
    assert rig.beat.unknown == rig.beat.open_orders == 1
    rig.wait(20)
    assert len(rig.wire) == 2 and f"|41={order}|" in rig.wire[-1]
    rig.business_reject(3)
    rig.wait(1100)
    assert len(rig.wire) == 3, "a cancel that was refused for its rate is sent again"
    rig.wait(5100)
    assert len(rig.wire) == 4, "a cancel that was not answered is sent again"
    again = rig.restarted()
    assert again.state(order) == "UNKNOWN"
    rig.report(rig.tape[-1].request_id, "4", "4", orig_cl_ord_id=order)
    assert rig.state(order) == "CANCELED" and rig.oe.ledger.orders == {}


def test_an_order_that_came_back_is_cancelled_though_the_session_shows_it_working(rig) -> None:
    """Nobody wants it any more: a fill on the session makes it no working order; only its end leads out."""
    order = rig.new()
    rig.business_reject(2)
    rig.report(order, "0", "0", leaves_qty=1000)
    rig.fill(order, 300, leaves_qty=700, cum_qty=300)
    assert rig.kinds[-1] == "trade UNKNOWN" and rig.tape[-1].leaves_qty == 700
    rig.wait(20)
    assert len(rig.wire) == 2
    rig.fill(order, 700, "2", cum_qty=1000)
    assert rig.state(order) == "FILLED" and rig.oe.recovery.asks == {}


def test_an_order_may_be_concluded_and_come_back_again_and_again(rig) -> None:
    """Unknown order and a sweep conclude it; what shows it open after either of them counts it again."""
    order = rig.live()
    rig.drop()
    rig.logon()
    for no in (1, 2):
        rig.wait(20)
        rig.cancel_reject(rig.tape[-1].request_id, order, 1, "unknown order")
        rig.ask(SweepDone(wanted=rig.beat.sweep_wanted, complete=True))
        assert rig.kinds[-1] == "resolved CANCELED"
        rig.report(order, "5", "0", f"50;{no}", leaves_qty=1000, orig_cl_ord_id=order)
        assert rig.kinds[-1] == "replaced UNKNOWN"
    rig.wait(20)
    rig.cancel_reject(rig.tape[-1].request_id, order, 1, "unknown order")
    rig.report(order, "5", "0", "51;1", leaves_qty=1000, orig_cl_ord_id=order)
    rig.ask(SweepDone(wanted=rig.beat.sweep_wanted, complete=True))
    assert rig.state(order) == "UNKNOWN", "the session showed it open after the venue had denied it"
    rig.wait(20)
    assert rig.kinds[-1] == "cancel_submitted UNKNOWN"
    rig.restarted()


def test_an_operator_sets_the_positions(rig) -> None:
    """As read at the venue; on the tape with his name."""
    rig.guard(
        AcceptGap(epoch=1, why="seen on the web", who="ann", positions={"BTC-PERP": -300, "ETH-PERP": 0})
    )
    positions = [e for e in rig.tape if e.kind == "position"]
    assert [(e.symbol, e.position, e.short_qty) for e in positions] == [
        ("BTC-PERP", -300, 300),
        ("ETH-PERP", 0, 0),
    ]
    assert positions[0].source is Source.OPERATOR and positions[0].text == "accepted by ann: seen on the web"
    assert rig.oe.ledger.positions.qty("BTC-PERP") == -300
    assert list(rig.oe.ledger.positions.known) == ["BTC-PERP", "ETH-PERP"]


def test_an_operator_concludes_only_what_the_venue_denied_and_no_sweep_can_tell_of(rig) -> None:
    """His word stands for drop copy's, never for the venue's: all others are asked for as before."""
    gone, resting = rig.live(), rig.live()
    rig.drop()
    rig.logon()
    rig.wait(50)
    ask = next(e.request_id for e in rig.tape if e.order == gone and e.kind == "cancel_submitted")
    rig.cancel_reject(ask, gone, 1, "unknown order")
    accept = AcceptGap(epoch=1, why="seen on the web", who="ann")
    rig.guard(accept)
    assert [rig.state(order) for order in (gone, resting)] == ["UNKNOWN"] * 2, "its sweep may still tell"
    rig.ask(SweepDone(wanted=rig.beat.sweep_wanted, complete=False))
    rig.guard(accept)
    assert [rig.state(order) for order in (gone, resting)] == ["CANCELED", "UNKNOWN"]
    assert (rig.tape[-1].source, rig.tape[-1].text) == (Source.OPERATOR, "accepted: ann: seen on the web")
    concluded, asked = rig.out.logged("alert")[-2:]
    assert "1 concluded" in concluded and gone in concluded and resting not in concluded
    assert "1 still asked for" in asked and resting in asked
    sent = len(rig.wire)
    rig.wait(5100)
    assert len(rig.wire) == sent + 1 and f"|41={resting}|" in rig.wire[-1]


def test_an_operator_concludes_nothing_without_a_session(rig) -> None:
    """The venue could still speak, as soon as it is asked."""
    order = rig.live()
    rig.drop()
    rig.logon()
    rig.wait(20)
    rig.cancel_reject(rig.tape[-1].request_id, order, 1, "unknown order")
    rig.ask(SweepDone(wanted=rig.beat.sweep_wanted, complete=False))
    rig.drop()
    rig.guard(AcceptGap(epoch=1, why="seen on the web", who="ann"))
    assert rig.state(order) == "UNKNOWN"
    assert "no session" in rig.out.logged("alert")[-1] and order in rig.out.logged("alert")[-1]


def test_the_opening_of_the_configuration_counts_once(make_rig) -> None:
    """Only while the journal has none; a restart with another value changes nothing."""
    opening = {"BTC-PERP": OpeningConfig(qty="-12.00", cost="-234.5", as_of="2026-11-23")}
    rig = make_rig(opening=opening).up()
    (state,) = [p for p in rig.oe.ledger.positions.states(None) if p.strategy is None]
    assert (state.qty, state.cost, state.known) == (-1200, -234_500_000, True)
    again = rig.restarted(opening={"BTC-PERP": OpeningConfig(qty="5")}).up()
    assert again.oe.ledger.positions.qty("BTC-PERP") == -1200
    assert "as of 2026-11-23" in rig.out.journal[0].text


@pytest.mark.parametrize(
    ("qty", "cost", "told"),
    [("-12.00", "-234.50", False), ("-13.00", "-234.50", True), ("-12.00", "-240.00", True)],
)
def test_another_opening_than_the_journals_is_told_at_the_start(make_rig, qty, cost, told) -> None:
    """It does not count any more, whatever was traded since."""
    rig = make_rig(opening={"BTC-PERP": OpeningConfig(qty="-12.00", cost="-234.5")}).up()
    rig.fill(rig.live(), 1000, status="2", cum_qty=1000)
    again = rig.restarted(opening={"BTC-PERP": OpeningConfig(qty=qty, cost=cost)})
    again.oe.start(again.now)
    text = (
        f"opening of BTC-PERP: the configuration says {qty} contracts for {cost} dollars, the journal was opened with "
        "-12.00 for -234.50; the journal counts (ctl arm --accept-gap --position sets another)"
    )
    assert again.out.logged("warning") == ([text] if told else [])


def test_sweep_numbers_never_go_back_over_a_restart(rig) -> None:
    """Drop copy remembers the last one: the next life begins above it."""
    last = rig.oe.recovery.sweep_wanted
    again = rig.restarted()
    again.oe.start(again.now)
    again.logon()
    assert again.beat.sweep_wanted > last


def test_the_beat_says_which_sweep_the_last_logon_wants(rig) -> None:
    """Others need not have heard the Logon: what a later cancel wants does not change it."""
    rig.wait(100)
    wanted = rig.beat.logon_sweep
    assert wanted == rig.beat.sweep_wanted > 0
    rig.oe.recovery.want_sweep()
    rig.wait(100)
    assert (rig.beat.sweep_wanted, rig.beat.logon_sweep) == (wanted + 1, wanted)


def test_a_lost_guard_cancels_everything_mass_cancel_first(rig) -> None:
    """guard_loss = cancel: one mass cancel, then singles for what it did not reach, at our own pace."""
    orders = [rig.live() for _ in range(3)]
    sent = len(rig.wire)
    rig.wait(1900, guard=False)
    assert len(rig.wire) == sent
    rig.wait(250, guard=False)
    assert [w[:5] for w in rig.wire[sent:]] == ["35=q|"]
    mass = rig.wire[-1].split("|")[1][3:]
    rig.mass_report(mass, "6")
    rig.report(mass, "4", "4", orig_cl_ord_id=orders[0])
    rig.wait(400, guard=False)
    assert [w[:5] for w in rig.wire[sent:]] == ["35=q|", "35=F|", "35=F|"]
    assert rig.out.logged("alert") == ["the guard is lost: cancelling 3 open orders"]
    for order in orders[1:]:
        rig.report(
            next(e.request_id for e in rig.tape if e.order == order and e.kind == "cancel_submitted"),
            "4",
            "4",
        )
    assert rig.oe.ledger.orders == {}
    rig.guard(GuardBeat(epoch=1, no=1, mono_ns=0))
    assert rig.out.logged("warning")[-1] == "the guard is back"


def test_a_lost_guard_may_leave_the_orders(make_rig) -> None:
    """guard_loss = hold: an alert, nothing else; and a guard of another epoch is no sign of life."""
    rig = make_rig(engine={"guard_loss": "hold"}).up()
    rig.live()
    for _ in range(25):
        rig.wait(100, guard=False)
        rig.guard(GuardBeat(epoch=9, no=1, mono_ns=0))
    assert len(rig.wire) == 1 and rig.out.logged("alert") == ["the guard is lost: 1 open orders are held"]


def test_with_the_guard_lost_order_entry_cancels_what_the_halt_file_names(make_rig) -> None:
    """guard_loss = hold leaves the orders, until a person writes the file; a narrower scope is cancelled singly."""
    rig = make_rig(engine={"guard_loss": "hold"}).up()
    mine, other = rig.live(), rig.live()
    rig.wait(2500, guard=False)
    sent = len(rig.wire)
    rig.oe.on_halt_file("strategy 2: nothing of it is open", rig.now)
    rig.wait(500, guard=False)
    assert len(rig.wire) == sent
    rig.oe.on_halt_file("strategy 1 market BTC-PERP: by hand", rig.now)
    rig.wait(500, guard=False)
    assert [w[:5] for w in rig.wire[sent:]] == ["35=F|", "35=F|"]
    assert {w.split("|41=")[1].split("|")[0] for w in rig.wire[sent:]} == {mine, other}


def test_own_cancels_keep_the_accounts_pace(make_rig) -> None:
    """Basic Write is 100 tokens a second and a cancel costs 10: one in 100 ms."""
    rig = make_rig(rate=RateConfig(tier="Basic")).up()
    for _ in range(5):
        rig.live()
    rig.drop()
    rig.logon()
    sent = len(rig.wire)
    rig.wait(250)
    assert len(rig.wire) - sent == 3
    rig.wait(1000)
    assert len(rig.wire) - sent == 5


def test_quiesce_cancels_and_waits_for_the_venues_word(rig) -> None:
    """shutdown = cancel: no new orders, mass cancel, singles; done when nothing is open."""
    order = rig.live()
    rig.oe.quiesce(rig.now)
    assert not rig.beat.ready and not rig.oe.quiesced
    rig.new()
    assert [a.reason for a in rig.answers()] == ["halted"]
    rig.wait(500)
    assert [w[:5] for w in rig.wire[-2:]] == ["35=q|", "35=F|"]
    rig.report(rig.oe.ledger.find(order).event.request_id, "4", "4")
    assert rig.oe.quiesced
    rig.oe.stop(rig.now)
    assert rig.oe.stopped and rig.client.stopped


def test_quiesce_ends_at_its_deadline_and_says_what_is_left(rig) -> None:
    """engine.shutdown_s: then it says what still rests."""
    rig.live()
    rig.oe.quiesce(rig.now)
    rig.wait(9_000)
    assert not rig.oe.quiesced
    rig.wait(1_100)
    assert rig.oe.quiesced
    assert rig.out.logged("alert")[-1] == "1 orders could not be cancelled in time"


def test_quiesce_may_leave_the_orders(make_rig) -> None:
    """shutdown = leave: only new orders are refused; 8013=Y is warned of."""
    rig = make_rig(engine={"shutdown": "leave"}).up()
    order = rig.live()
    rig.oe.quiesce(rig.now)
    assert rig.oe.quiesced and rig.state(order) == "NEW" and len(rig.wire) == 1
    assert "CancelOrdersOnDisconnect=Y" in rig.out.logged("warning")[-1]


def test_the_beat_comes_every_100_ms_and_at_each_change(rig) -> None:
    """With the last numbers of all strategies."""
    rig.live()
    rig.out.done.clear()
    rig.wait(1000)
    beats = [e[2] for e in rig.out.done if e[0] == "send" and e[1] == "oe.tape"]
    assert len(beats) == 10
    assert (beats[-1].tape_no, beats[-1].strategies, beats[-1].session) == (3, {"-1": 1, "1": 2}, "logged on")
    rig.drop()
    assert (rig.beat.session, rig.beat.ready) == ("connecting", False)


def test_a_gap_of_the_tape_is_replayed(rig) -> None:
    """Of everything, of one strategy, or a snapshot when it is out of reach."""
    order = rig.live()
    (whole,) = rig.ask(TapeRequest(from_no=2), "tool.tail")
    assert isinstance(whole, TapeReplay) and [e.tape_no for e in whole.events] == [2, 3]
    (mine,) = rig.ask(TapeRequest(from_no=2, strategy=1), "strategy.x")
    assert [e.strategy_no for e in mine.events] == [2]
    (snapshot,) = rig.ask(TapeRequest(from_no=0), "guard")
    assert isinstance(snapshot, OrdersSnapshot) and snapshot.tape_no == 3
    (again,) = rig.ask(SnapshotRequest(strategy=1), "guard")
    assert [e.order for e in again.orders] == [order]
    assert rig.out.done[-1][3] == "guard"


def test_a_session_that_can_not_be_used_is_shown(rig) -> None:
    """A refused signature stops the session for good: the beat says what to check."""
    rig.client.failed = "signature refused: check key_file"
    rig.drop()
    assert rig.beat.detail == "signature refused: check key_file" and not rig.beat.ready


def test_what_the_venue_never_got_is_not_sent(make_rig) -> None:
    """A ResendRequest of the venue (KalshiRT): requests are gap-filled, so they never reached the book."""
    rig = make_rig(session={"target_comp_id": "KalshiRT"}).up()
    resting = rig.live()
    first, second = rig.new(), rig.new()
    cancel = rig.cancel(resting)
    rig.feed(ResendAsked(3, 3, 3))
    assert (rig.state(first), rig.state(second)) == ("NOT_SENT", "SUBMITTING")
    rig.feed(ResendAsked(2, 9, 9))
    assert (rig.state(second), rig.state(resting)) == ("NOT_SENT", "NEW")
    assert rig.tape[-1].request_id == cancel


def test_a_message_that_the_session_refused_is_swept_for(rig) -> None:
    """What it said is lost to the session, not to drop copy."""
    wanted = rig.oe.recovery.sweep_wanted
    rig.feed(Refused(FixMessage(b"", "FIXT.1.1", [(35, "8")]), 1, 17, "required tag missing"))
    assert rig.beat.sweep_wanted == wanted + 1


def test_status_has_the_counters(rig) -> None:
    """What metrics show."""
    order = rig.live()
    rig.fill(order, 100)
    metrics = rig.oe.status(rig.now).metrics
    wanted = {
        "orders": 1,
        "fills": 1,
        "reports": 2,
        "open_orders": 1,
        "tape_no": 4,
        "logons": 1,
        "unknown": 0,
    }
    assert {name: metrics[name] for name in wanted} == wanted
    assert rig.oe.status(rig.now).sessions == {"KalshiNR": "logged on"}


def test_the_guard_may_come_late_but_not_never(make_rig) -> None:
    """Orders of an earlier life are cancelled when no guard appears."""
    first = make_rig().up()
    first.live()
    rig = first.restarted()
    rig.oe.start(rig.now)
    rig.wait(2100, guard=False)
    assert any(text.startswith("the guard is lost") for text in rig.out.logged("alert"))
    rig.guard(GuardHello(epoch=1))
    assert rig.out.logged("warning")[-1] == "the guard is back"
    assert rig.oe.deadline <= rig.now.mono_ns + 100 * MS


def test_a_request_without_an_answer_for_twenty_seconds_is_in_doubt_and_asked_about(rig) -> None:
    """A refusal that was lost on a whole session is on no drop copy either: only asking finds it out."""
    order = rig.new()
    rig.wait(19_900)
    assert rig.state(order) == "SUBMITTING" and len(rig.wire) == 1
    rig.wait(200)
    assert rig.kinds[-2:] == ["unknown UNKNOWN", "cancel_submitted UNKNOWN"]
    assert rig.tape[-2].text == "35=D has no answer after 20 s"
    rig.cancel_reject(rig.tape[-1].request_id, order, 1, "unknown order")
    rig.ask(SweepDone(wanted=rig.beat.sweep_wanted, complete=True))
    assert rig.state(order) == "NOT_SENT"


def test_an_order_that_drop_copy_showed_is_not_doubted_for_its_unanswered_request(rig) -> None:
    """Its report was lost on the session and recovered: nothing is left to ask."""
    order = rig.new()
    report = rig.make(order, "0", "0", leaves_qty=1000)
    rig.ask(RecoveredReports(reports=[copy_of(report)]))
    rig.wait(21_000)
    assert rig.state(order) == "NEW"


def test_the_order_id_of_what_is_no_order_yet_is_not_remembered(rig) -> None:
    """A PendingNew carries OrderID NONE; a cancel that named it would be refused as an unknown order."""
    order = rig.new()
    rig.report(order, "A", "A", "-1;-1", order_id="NONE")
    rig.cancel(order)
    assert "|37=" not in rig.wire[-1]
