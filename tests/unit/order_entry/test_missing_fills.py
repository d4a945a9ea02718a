"""A CumQty that is ahead of our sum: what is missing is on the tape until the fills are there, or are known not to be."""

import itertools

import pytest

from engine.messages.commands import AcceptGap
from engine.messages.executions import RecoveredReports, SnapshotRequest, SweepDone
from engine.order_entry.recovery import DENIED_NS
from engine.order_entry.reports import copy_of
from engine.orders import ledger
from engine.orders.ledger import Ledger

BTC = "BTC-PERP"
MS = 1_000_000


def missing(rig, cl_ord_id):
    return rig.oe.ledger.find(cl_ord_id).event.missing_qty


def shown(rig):
    """What a snapshot of everything says is missing, by order."""
    (snapshot,) = rig.ask(SnapshotRequest(), peer="guard")
    return {event.order: event.missing_qty for event in snapshot.orders if event.missing_qty}


def recover(rig, *reports):
    rig.ask(RecoveredReports(reports=[copy_of(report) for report in reports]))


def swept(rig, complete=True):
    rig.ask(SweepDone(wanted=rig.oe.recovery.sweep_wanted, complete=complete))


def lost(rig, order, qty, **more):
    """A Trade that the venue issued and nobody heard."""
    more = {"last_px": 195_000, **more}
    return rig.make(order, "F", more.pop("status", "1"), last_qty=qty, **more)


def test_a_cancel_report_with_more_than_we_know_says_what_is_missing_and_wants_a_sweep(rig) -> None:
    order = rig.live()
    wanted = rig.oe.recovery.sweep_wanted
    lost(rig, order, 600)
    rig.report(order, "4", "4", cum_qty=600)
    event = rig.tape[-1]
    assert (event.state, event.cum_qty, event.leaves_qty, event.missing_qty) == ("CANCELED", 0, 0, 600)
    assert rig.beat.sweep_wanted == wanted + 1
    assert shown(rig) == {order: 600}


@pytest.mark.parametrize("order_of", list(itertools.permutations(range(3))))
def test_it_is_made_whole_by_recovered_late_and_repeated_reports_in_any_order(rig, order_of) -> None:
    """Each ExecID counts once, whoever brings it, and nothing is left missing at the end."""
    order = rig.live()
    first, second = lost(rig, order, 200, cum_qty=200), lost(rig, order, 400, cum_qty=600)
    rig.report(order, "4", "4", cum_qty=600)
    steps = (
        lambda: recover(rig, first, second),
        lambda: rig.app(first),
        lambda: rig.app(second),
    )
    left = 600
    for at in order_of:
        steps[at]()
        assert missing(rig, order) <= left
        left = missing(rig, order)
        assert rig.oe.ledger.positions.qty(BTC) + left == 600
    assert left == 0 and shown(rig) == {} and not rig.oe.ledger.short
    assert rig.state(order) == "CANCELED"


def test_an_order_filled_by_cum_qty_lacks_the_fill_before(rig) -> None:
    """FILLED by OrdStatus 2 with LastQty 400 of CumQty 1000."""
    order = rig.live()
    first = lost(rig, order, 600)
    rig.fill(order, 400, "2", cum_qty=1000)
    assert (rig.state(order), missing(rig, order)) == ("FILLED", 600)
    recover(rig, first)
    assert (rig.state(order), missing(rig, order), shown(rig)) == ("FILLED", 0, {})


def test_a_live_order_says_it_too_and_it_stays_through_a_replace_chain(rig) -> None:
    """Every event of the order carries it, until the fill comes."""
    order = rig.live()
    first = lost(rig, order, 300, cum_qty=300)
    rig.fill(order, 100, cum_qty=400)
    assert (missing(rig, order), rig.tape[-1].leaves_qty) == (300, 900)
    replace = rig.replace(order, 1200)
    assert missing(rig, order) == 300
    rig.report(replace, "5", "0", orig_cl_ord_id=order, leaves_qty=800, cum_qty=400)
    assert (missing(rig, order), rig.tape[-1].qty, rig.tape[-1].leaves_qty) == (300, 1200, 1100)
    cancel = rig.cancel(replace)
    rig.report(cancel, "4", "4", orig_cl_ord_id=replace, cum_qty=400)
    assert (missing(rig, order), shown(rig)) == (300, {order: 300})
    recover(rig, first)
    assert missing(rig, order) == 0 and rig.oe.ledger.positions.qty(BTC) == 400


def test_a_late_report_with_a_smaller_cum_qty_takes_nothing_back(rig) -> None:
    order = rig.live()
    first, second = lost(rig, order, 200, cum_qty=200), lost(rig, order, 300, cum_qty=500)
    rig.report(order, "4", "4", cum_qty=500)
    rig.app(first)
    assert missing(rig, order) == 300
    rig.app(second)
    assert missing(rig, order) == 0


def test_a_restart_knows_what_is_missing_and_asks_for_it_again(rig) -> None:
    """From the journal, and from a saved state, alike; and it is released once, in the next life."""
    order = rig.live()
    first = lost(rig, order, 600)
    rig.report(order, "4", "4", cum_qty=600)
    again = rig.restarted()
    restored = Ledger({}, again.oe.ledger.exec_key)
    restored.restore(again.oe.ledger.save())
    assert restored.digest() == again.oe.state_digest()
    assert [short.event.order for short in restored.short.values()] == [order]
    again.oe.start(again.now)
    again.logon()
    assert again.beat.sweep_wanted > again.beat.sweep_done and shown(again) == {order: 600}
    recover(again, first, first)
    assert shown(again) == {} and again.oe.ledger.positions.qty(BTC) == 600


def test_it_is_kept_whole_however_many_orders_end_after_it(rig, monkeypatch) -> None:
    monkeypatch.setattr(ledger, "CLOSED_KEPT", 2)
    order = rig.live()
    first = lost(rig, order, 600)
    rig.report(order, "4", "4", cum_qty=600)
    for _ in range(4):
        rig.report(rig.live(), "4", "4")
    recover(rig, first)
    assert (rig.tape[-1].order, rig.tape[-1].missing_qty, shown(rig)) == (order, 0, {})
    for _ in range(3):
        rig.report(rig.live(), "4", "4")
    assert rig.oe.ledger.find(order) is None


def deny(rig):
    """Sweeps that have nothing, until the one that is believed."""
    rig.wait(DENIED_NS // MS)
    swept(rig)
    swept(rig)


def test_only_a_sweep_that_began_after_a_while_is_believed_to_have_no_such_fill(rig) -> None:
    """Drop copy may only be late, and a sweep may be slow: what it says is from when it began. Then an alert, once."""
    order = rig.live()
    rig.report(order, "4", "4", cum_qty=600)
    swept(rig)
    under_way = rig.oe.recovery.sweep_wanted
    rig.wait(DENIED_NS // MS)
    rig.ask(SweepDone(wanted=under_way, complete=True))
    assert rig.tape[-1].kind == "canceled" and rig.beat.sweep_wanted == under_way + 1
    rig.ask(SweepDone(wanted=under_way, complete=True))
    swept(rig, complete=False)
    assert rig.tape[-1].kind == "canceled" and rig.beat.sweep_wanted == under_way + 1
    swept(rig)
    event = rig.tape[-1]
    assert (event.kind, event.state, event.source, event.late) == (
        "fills_denied",
        "CANCELED",
        "recovered",
        True,
    )
    assert event.text == "drop copy shows no such fill"
    assert "CumQty told of 6.00 more" in rig.out.logged("alert")[-1]
    swept(rig)
    rig.wait(DENIED_NS // MS)
    swept(rig)
    swept(rig)
    assert rig.tape[-1] is event


def test_what_was_denied_stays_missing_until_all_of_it_came(rig) -> None:
    """The venue contradicts itself, so the worst of both is counted; the first of two fills is not all."""
    order = rig.live()
    first, second = lost(rig, order, 200, cum_qty=200), lost(rig, order, 400, cum_qty=600)
    rig.report(order, "4", "4", cum_qty=600)
    deny(rig)
    assert rig.tape[-1].kind == "fills_denied" and shown(rig) == {order: 600}
    recover(rig, first)
    assert (rig.tape[-1].cum_qty, rig.tape[-1].missing_qty, shown(rig)) == (200, 400, {order: 400})
    again = rig.restarted()
    again.oe.start(again.now)
    assert shown(again) == {order: 400}
    recover(again, second)
    assert (again.oe.ledger.positions.qty(BTC), missing(again, order), shown(again)) == (600, 0, {})
    assert again.state(order) == "CANCELED" and not again.oe.recovery.short


def test_a_live_order_whose_fills_were_denied_goes_on(rig) -> None:
    """It is not concluded over, nor in doubt; it is asked for again only when more gets lost."""
    order = rig.live()
    rig.report(order, "5", "0", leaves_qty=400, cum_qty=600)
    deny(rig)
    assert (rig.tape[-1].kind, rig.state(order), missing(rig, order)) == ("fills_denied", "NEW", 600)
    wanted = rig.beat.sweep_wanted
    rig.fill(order, 100, cum_qty=700)
    assert missing(rig, order) == 600 and rig.beat.sweep_wanted == wanted
    rig.fill(order, 100, cum_qty=900)
    assert missing(rig, order) == 700 and rig.beat.sweep_wanted == wanted + 1


def test_what_drop_copy_brought_and_was_refused_is_not_said_to_be_unknown_to_it(rig) -> None:
    order = rig.live()
    wrong = lost(rig, order, 600, cum_qty=600, last_px=-1)
    rig.report(order, "4", "4", cum_qty=600)
    recover(rig, wrong)
    assert missing(rig, order) == 600
    deny(rig)
    name = copy_of(wrong).exec_id
    assert rig.tape[-1].text == f"drop copy shows {name} of it, which was refused because it can't be true"


def test_an_accepted_gap_gives_up_what_a_sweep_failed_to_bring(rig) -> None:
    order = rig.live()
    rig.report(order, "4", "4", cum_qty=600)
    accept = AcceptGap(epoch=1, why="seen on the web", who="ann", positions={})
    rig.guard(accept)
    assert missing(rig, order) == 600
    swept(rig, complete=False)
    rig.guard(accept)
    assert (missing(rig, order), rig.tape[-1].kind, rig.tape[-1].source) == (0, "fills_denied", "operator")


@pytest.mark.parametrize("denied", [False, True])
def test_a_position_that_an_operator_states_has_every_fill_in_it(rig, denied) -> None:
    """Also what was denied before, which an accepted gap alone does not settle: no sweep failed to tell."""
    order = rig.live()
    rig.report(order, "4", "4", cum_qty=600)
    if denied:
        deny(rig)
        swept(rig, complete=False)
        rig.guard(AcceptGap(epoch=1, why="seen on the web", who="ann", positions={}))
        assert missing(rig, order) == 600
    rig.guard(AcceptGap(epoch=1, why="seen on the web", who="ann", positions={BTC: 600}))
    event = rig.tape[-1]
    assert (missing(rig, order), event.kind, event.source) == (0, "fills_denied", "operator")
    assert shown(rig) == {} and not rig.oe.recovery.short and not rig.oe.ledger.short


def test_an_operators_word_about_a_live_order_holds_for_every_later_report(rig) -> None:
    """What he settled is not missing again; what gets lost after that is, and a restart knows both."""
    order = rig.live()
    first = lost(rig, order, 300, cum_qty=300)
    rig.fill(order, 100, cum_qty=400)
    rig.guard(AcceptGap(epoch=1, why="seen on the web", who="ann", positions={BTC: 400}))
    assert (rig.tape[-1].kind, rig.tape[-1].settled_qty, missing(rig, order)) == ("fills_denied", 300, 0)
    wanted = rig.beat.sweep_wanted
    rig.fill(order, 100, cum_qty=500)
    rig.report(order, "5", "0", leaves_qty=500, cum_qty=500)
    assert missing(rig, order) == 0 and rig.beat.sweep_wanted == wanted
    again = rig.restarted()
    again.oe.start(again.now)
    again.logon()
    lost(again, order, 50, cum_qty=550)
    again.fill(order, 100, cum_qty=650)
    assert missing(again, order) == 50
    recover(again, first)
    assert again.oe.ledger.find(order).event.missing_qty == 0


def system(rig, exec_type, status, **more):
    """A report of an order that the venue itself sent."""
    return rig.make("sys-1", exec_type, status, order_id="V9", **more)


def test_a_foreign_order_lacks_fills_too(rig) -> None:
    """Its own sum is kept by its OrderID; over and whole, it is forgotten."""
    first = system(rig, "F", "1", last_qty=300, last_px=195_000, cum_qty=300, leaves_qty=200)
    rig.app(system(rig, "F", "2", last_qty=200, last_px=195_000, cum_qty=500))
    event = rig.tape[-1]
    assert (event.strategy, event.state, event.cum_qty, event.missing_qty) == (-1, "FILLED", 200, 300)
    assert shown(rig) == {"V9": 300}
    again = rig.restarted()
    again.oe.start(again.now)
    assert shown(again) == {"V9": 300}
    recover(again, first)
    assert shown(again) == {} and not again.oe.ledger.foreign
    assert again.oe.ledger.positions.qty(BTC) == 500


def test_what_drop_copy_shows_first_of_a_foreign_order_is_not_missing_before(rig) -> None:
    """What it does not show lies before us: the opening position has it."""
    recover(rig, system(rig, "F", "1", last_qty=200, last_px=195_000, cum_qty=500, leaves_qty=100))
    assert shown(rig) == {}
    rig.app(system(rig, "F", "2", last_qty=50, last_px=195_000, cum_qty=600))
    assert shown(rig) == {"V9": 50}


def test_a_foreign_orders_fills_may_be_denied_and_settled(rig) -> None:
    """Its quantity is what the venue said, so what is settled goes out of it; and it stays settled."""
    rig.app(system(rig, "F", "1", last_qty=200, last_px=195_000, cum_qty=500, leaves_qty=100))
    assert (rig.tape[-1].qty, rig.tape[-1].leaves_qty) == (600, 100)
    deny(rig)
    event = rig.tape[-1]
    assert (event.kind, event.order, event.missing_qty, event.leaves_qty) == ("fills_denied", "V9", 300, 400)
    assert shown(rig) == {"V9": 300}
    rig.guard(AcceptGap(epoch=1, why="seen on the web", who="ann", positions={BTC: 500}))
    event = rig.tape[-1]
    assert (event.kind, event.order, event.missing_qty, event.leaves_qty) == ("fills_denied", "V9", 0, 100)
    rig.app(system(rig, "F", "1", last_qty=60, last_px=195_000, cum_qty=560, leaves_qty=40))
    assert (rig.tape[-1].missing_qty, rig.tape[-1].leaves_qty, shown(rig)) == (0, 40, {})


def test_a_foreign_order_is_kept_while_it_lacks_fills_however_many_come_after_it(rig, monkeypatch) -> None:
    """The guard counts them until an event says otherwise."""
    monkeypatch.setattr(ledger, "FOREIGN_KEPT", 2)
    first = system(rig, "F", "1", last_qty=300, last_px=195_000, cum_qty=300, leaves_qty=200)
    rig.app(system(rig, "F", "2", last_qty=200, last_px=195_000, cum_qty=500))
    for name in ("W1", "W2", "W3"):
        rig.app(rig.make(name, "0", "0", order_id=name, leaves_qty=100))
    assert list(rig.oe.ledger.foreign) == ["V9", "W3"]
    recover(rig, first)
    assert shown(rig) == {} and (rig.tape[-1].order, rig.tape[-1].missing_qty) == ("V9", 0)
