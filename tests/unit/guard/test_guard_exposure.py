"""Reservations, replaces, unknown orders, snapshots: what is counted, from when, until when."""

from engine.common.actor import PeerEvent
from engine.messages.commands import (
    Approved,
    ArmOrders,
    EpochAccepted,
    GuardHello,
    NotAccepted,
    Refused,
    ReplaceOrder,
)
from engine.messages.executions import (
    OrdersSnapshot,
    PositionState,
    SnapshotRequest,
    TapeReplay,
    TapeRequest,
)

BTC, ETH = "BTC-PERP", "ETH-PERP"


def counted(rig, slot=1, symbol=BTC):
    line = rig.guard.exposure.line(slot, symbol)
    scope = rig.guard.exposure.strategies[slot]
    return line.open_buy, line.open_sell, scope.open_orders, scope.unacknowledged, scope.gross


def clean(rig):
    """Nothing is counted any more, anywhere."""
    exposure = rig.guard.exposure
    scopes = [exposure.account, *exposure.market_scopes.values(), *exposure.strategies.values()]
    used = [(s.open_orders, s.unacknowledged, s.gross, s.worst) for s in scopes]
    return set(used) == {(0, 0, 0, 0)} and not (exposure.orders or exposure.requests or exposure.reserved)


def test_an_approval_reserves_until_the_tape_takes_over(rig):
    approved = rig.new(qty=300, price=99_00)
    assert counted(rig) == (300, 0, 1, 1, 300 * 99_00)
    assert len(rig.guard.exposure.reserved) == 1
    rig.submitted(approved)
    assert counted(rig) == (300, 0, 1, 1, 300 * 99_00)
    assert not rig.guard.exposure.reserved


def test_an_order_leaves_nothing_behind(rig):
    approved = rig.rest(qty=300, price=99_00)
    rig.end(approved)
    assert clean(rig)


def test_a_fill_moves_from_open_to_position(rig):
    approved = rig.rest(qty=300, price=99_00)
    rig.fill(approved, 100, 99_00)
    line = rig.guard.exposure.line(1, BTC)
    assert (line.position.qty, line.open_buy, line.worst) == (100, 200, 300)
    rig.fill(approved, 200, 99_00, cum=300)
    assert (line.position.qty, line.open_buy, line.worst) == (300, 0, 300)
    assert rig.guard.exposure.account_lines[BTC].position.qty == 300


def test_a_rejected_order_releases_everything(rig):
    approved = rig.new(price=99_00)
    rig.submitted(approved)
    rig.end(approved, "rejected", "REJECTED", request_id=approved.request.cl_ord_id)
    assert clean(rig)


def test_a_trade_as_first_report_answers_the_request(rig):
    """21026=N: New is folded into the first Trade; it does not name the request."""
    approved = rig.new(qty=200, price=99_00)
    rig.submitted(approved)
    rig.fill(approved, 100, 99_00)
    assert counted(rig)[3] == 0


def test_not_accepted_without_an_id_releases_and_tells_the_worker(rig):
    approved = rig.new(price=99_00)
    rig.take()
    rig.give(NotAccepted(epoch=approved.epoch, no=approved.no, reason="queue"))
    assert clean(rig)
    assert [(m.control, m.cl_ord_id) for m in rig.take(Refused)] == [("queue", approved.request.cl_ord_id)]


def test_not_accepted_of_an_order_is_told_by_the_tape(rig):
    """NotAccepted and NOT_SENT come in either order; the worker hears it from the tape."""
    approved = rig.new(price=99_00)
    rig.take()
    rig.give(
        NotAccepted(
            epoch=approved.epoch, no=approved.no, reason="session", cl_ord_id=approved.request.cl_ord_id
        )
    )
    assert clean(rig) and not rig.take(Refused)
    rig.end(approved, "not_sent", "NOT_SENT", request_id=approved.request.cl_ord_id)
    assert clean(rig)


def test_not_accepted_of_a_cancel_is_told_to_the_worker(rig):
    """The tape has a NOT_SENT for new orders only."""
    approved = rig.rest(price=99_00)
    changed = replace(rig, approved, 500, 99_00)
    rig.take()
    rig.give(
        NotAccepted(epoch=changed.epoch, no=changed.no, reason="session", cl_ord_id=changed.request.cl_ord_id)
    )
    assert [m.control for m in rig.take(Refused)] == ["session"]
    assert counted(rig)[:4] == (100, 0, 1, 0)


def test_a_latch_that_only_order_entry_has_is_released_there(rig):
    """An ArmOrders may be lost; the guard owns the latches."""
    approved = rig.new(price=99_00)
    rig.take()
    rig.give(NotAccepted(epoch=approved.epoch, no=1, reason="halted", cl_ord_id=approved.request.cl_ord_id))
    armed = [(m.strategy, m.symbol) for m in rig.take(ArmOrders)]
    assert armed == [(None, ""), (1, ""), (None, BTC), (1, BTC)]


def test_a_hello_refused_for_its_epoch_is_said_again_above_theirs(make):
    """The clock was set back and the journal is new: order entry still follows a higher epoch."""
    rig = make(start=False)
    rig.guard.start(rig.now)
    epoch = rig.take(GuardHello)[0].epoch
    rig.oe_beat(epoch=epoch + 1000)
    rig.give(NotAccepted(epoch=epoch, no=0, reason="epoch"))
    assert rig.take(GuardHello)[0].epoch == epoch + 1001


def test_an_undelivered_command_is_released_and_refused(rig):
    approved = rig.new(price=99_00)
    rig.take()
    rig.guard.on_peer("oe.orders", "order_entry", PeerEvent.REFUSED, approved, rig.now)
    assert clean(rig)
    assert [m.control for m in rig.take(Refused)] == ["queue"]


def replace(rig, approved, qty, price):
    request = approved.request
    rig.out.all.clear()
    intent = ReplaceOrder(
        cl_ord_id=rig.ids[1](),
        orig_cl_ord_id=request.cl_ord_id,
        symbol=BTC,
        side=request.side,
        qty=qty,
        price=price,
    )
    rig.give(intent, "strategy.alpha")
    return rig.answer()


def test_a_replace_counts_at_the_larger_of_old_and_new_until_it_is_answered(rig):
    approved = rig.rest(qty=500, price=99_00)
    changed = replace(rig, approved, 300, 100_00)
    assert counted(rig)[0] == 500
    assert counted(rig)[4] == 500 * 99_00
    first, new_id = approved.request.cl_ord_id, changed.request.cl_ord_id
    terms = rig.terms(approved)
    rig.event(
        "replace_submitted",
        "PENDING_REPLACE",
        first,
        leaves_qty=500,
        request_id=new_id,
        new_qty=300,
        new_price=100_00,
        **terms,
    )
    assert counted(rig)[0] == 500
    rig.event(
        "replaced",
        "NEW",
        first,
        leaves_qty=300,
        request_id=new_id,
        **{**terms, "cl_ord_id": new_id, "qty": 300, "price": 100_00},
    )
    assert counted(rig) == (300, 0, 1, 0, 300 * 100_00)


def test_a_larger_replace_counts_at_once_and_falls_back_when_refused(rig):
    approved = rig.rest(qty=300, price=99_00)
    changed = replace(rig, approved, 500, 100_00)
    assert counted(rig) == (500, 0, 1, 1, 500 * 100_00)
    first, new_id = approved.request.cl_ord_id, changed.request.cl_ord_id
    terms = rig.terms(approved)
    rig.fill(approved, 100, 99_00)  # a fill that crossed it: it still counts
    assert counted(rig)[0] == 400
    rig.event(
        "replace_submitted",
        "PENDING_REPLACE",
        first,
        leaves_qty=200,
        cum_qty=100,
        request_id=new_id,
        new_qty=500,
        new_price=100_00,
        **terms,
    )
    rig.event(
        "replace_rejected", "PARTIALLY_FILLED", first, leaves_qty=200, cum_qty=100, request_id=new_id, **terms
    )
    assert counted(rig)[:4] == (200, 0, 1, 0)


def test_an_order_is_known_by_every_id_of_its_chain(rig):
    approved = rig.rest(qty=300, price=99_00)
    changed = replace(rig, approved, 200, 99_00)
    exposure = rig.guard.exposure
    assert exposure.orders[changed.request.cl_ord_id] is exposure.orders[approved.request.cl_ord_id]
    rig.end(approved)
    assert not exposure.orders


def test_an_undelivered_replace_counts_the_old_order_again(rig):
    approved = rig.rest(qty=300, price=99_00)
    changed = replace(rig, approved, 500, 99_00)
    rig.guard.on_peer("oe.orders", "order_entry", PeerEvent.REFUSED, changed, rig.now)
    assert counted(rig) == (300, 0, 1, 0, 300 * 99_00)


def test_an_unknown_order_counts_in_full_and_closes_the_gate(rig):
    approved = rig.rest(qty=300, price=99_00)
    first = approved.request.cl_ord_id
    rig.event("unknown", "UNKNOWN", first, leaves_qty=300, **rig.terms(approved))
    assert counted(rig)[0] == 300
    assert rig.guard.gate.state == "RECOVERING"
    assert rig.control(price=98_00) == "gate"
    rig.event("resolved", "CANCELED", first, leaves_qty=0, **rig.terms(approved))
    assert clean(rig)
    assert rig.guard.gate.state == "TRADING"


def test_unknown_orders_may_be_allowed_and_still_count(make):
    rig = make(risk__unknown_orders="allow")
    approved = rig.rest(qty=300, price=99_00)
    rig.event("unknown", "UNKNOWN", approved.request.cl_ord_id, leaves_qty=300, **rig.terms(approved))
    assert rig.guard.gate.state == "TRADING"
    assert counted(rig)[0] == 300


def test_foreign_fills_move_the_account_and_raise_an_alert(rig):
    rig.event("trade", "FILLED", "web-1", strategy=-1, symbol=BTC, side=2, price=99_00, qty=400, cum_qty=400,
              last_qty=400, last_px=99_00)  # fmt: skip
    assert rig.guard.exposure.account_lines[BTC].position.qty == -400
    assert rig.guard.exposure.line(1, BTC).position.qty == 0
    assert rig.out.log_lines[-1][0] == "alert"


def test_a_foreign_order_counts_until_its_end_though_its_ids_change(rig):
    """Order entry names it by its OrderID: new, replaced and canceled by FIX leave nothing open."""
    exposure = rig.guard.exposure
    terms = {"strategy": -1, "symbol": BTC, "side": 1, "price": 99_00, "order_id": "V7"}
    rig.event("new", "NEW", "V7", cl_ord_id="a", qty=500, leaves_qty=500, **terms)
    rig.event("replaced", "NEW", "V7", cl_ord_id="b", qty=300, leaves_qty=300, **terms)
    assert (len(exposure.open), exposure.account_lines[BTC].open_orders) == (1, 1)
    assert exposure.account_lines[BTC].open_buy == 300
    rig.event("canceled", "CANCELED", "V7", cl_ord_id="c", qty=300, **terms)
    line = exposure.account_lines[BTC]
    assert (exposure.open, exposure.orders, line.open_orders, line.open_buy) == ({}, {}, 0, 0)
    assert (exposure.account.open_orders, exposure.account.gross) == (0, 0)


def test_an_order_that_was_over_and_shows_up_open_counts_again(rig):
    """Order entry's own conclusion was overridden by the venue: UNKNOWN, in full, until it is told to be over."""
    approved = rig.rest(qty=300, price=99_00)
    first, terms = approved.request.cl_ord_id, rig.terms(approved)
    rig.event("unknown", "UNKNOWN", first, leaves_qty=300, **terms)
    rig.event("resolved", "CANCELED", first, leaves_qty=0, **terms)
    assert clean(rig)
    rig.event("new", "UNKNOWN", first, leaves_qty=300, order_id="v1", late=True, **terms)
    assert counted(rig)[0] == 300 and rig.guard.exposure.unknown == 1
    assert rig.guard.gate.state == "RECOVERING"
    rig.event("canceled", "CANCELED", first, leaves_qty=0, **terms)
    assert clean(rig) and rig.guard.gate.state == "TRADING"


# -- the tape: gaps, replays, snapshots


def test_a_gap_is_asked_for_and_nothing_passes_meanwhile(rig):
    approved = rig.new(price=99_00)
    rig.take()
    rig.tape_no += 2
    rig.event("new", "NEW", approved.request.cl_ord_id, leaves_qty=100, **rig.terms(approved))
    assert [m.from_no for m in rig.take(TapeRequest)] == [1]
    assert rig.control(price=98_00) == "gate"


def test_a_replay_is_applied_in_order_with_what_waited(rig):
    first = rig.rest(qty=100, price=99_00)
    give = rig.guard.on_message
    missed = []
    rig.give = lambda message, *_: missed.append(message)
    rig.fill(first, 100, 99_00)
    rig.event(
        "trade",
        "FILLED",
        "x",
        symbol=BTC,
        side=1,
        price=99_00,
        qty=100,
        cum_qty=100,
        last_qty=100,
        last_px=99_00,
    )
    del rig.give
    give("oe.tape", "", missed[1], rig.now)
    assert rig.guard.exposure.account_lines[BTC].position.qty == 0
    rig.give(TapeReplay(events=missed))
    assert rig.guard.exposure.account_lines[BTC].position.qty == 200
    assert rig.guard.gate.state == "TRADING"
    give("oe.tape", "", missed[0], rig.now)  # twice is once
    assert rig.guard.exposure.account_lines[BTC].position.qty == 200


def test_a_beat_tells_of_a_loss_while_nothing_happens(rig):
    rig.take()
    rig.oe_beat(tape_no=rig.tape_no + 3)
    assert [m.from_no for m in rig.take(TapeRequest)] == [rig.tape_no + 1]
    assert rig.guard.gate.state == "RECOVERING"


def test_a_snapshot_keeps_approvals_in_flight(rig):
    old = rig.rest(qty=300, price=99_00)
    flying = rig.new(qty=200, price=98_00)
    event = next(e for _, e in [(0, rig.guard.exposure.open[old.request.cl_ord_id])])
    assert event.leaves == 300
    rig.take()
    rig.guard.following.ask_snapshot(rig.now)
    rig.snapshot(positions=[PositionState(symbol=BTC, strategy=1, qty=300, cost=300 * 99_00, known=True),
                            PositionState(symbol=BTC, qty=300, cost=300 * 99_00, known=True)])  # fmt: skip
    assert counted(rig)[:4] == (200, 0, 1, 1)
    assert rig.guard.exposure.line(1, BTC).position.qty == 300
    assert list(rig.guard.exposure.reserved) == [flying.no]
    rig.submitted(flying)
    rig.end(flying)
    assert rig.guard.exposure.strategies[1].open_orders == 0


def test_an_event_older_than_the_snapshot_still_ends_a_reservation(rig):
    """The snapshot (ROUTER) may overtake the tape (PUB): an order that came and went before it must not stay reserved."""
    flying = rig.new(price=99_00)
    rig.tape_no += 2
    rig.guard.following.ask_snapshot(rig.now)
    rig.snapshot()
    assert len(rig.guard.exposure.reserved) == 1
    rig.tape_no -= 2
    rig.submitted(flying)
    rig.end(flying, "rejected", "REJECTED", request_id=flying.request.cl_ord_id)
    assert clean(rig)


def test_a_reservation_without_an_event_is_asked_for_then_fenced_never_timed_out(rig):
    """After 500 ms the tape is asked; after 2 s a new epoch fences; only the snapshot after it lets the reservation go."""
    lost = rig.new(price=99_00)
    rig.take()
    rig.wait(700)
    assert [m.from_no for m in rig.take(TapeRequest)] == [rig.tape_no + 1]
    assert rig.guard.following.counters["reservations_queried"] == 1
    rig.wait(1500)
    hello = rig.take(GuardHello)
    assert [m.epoch for m in hello][:1] == [lost.epoch + 1] or hello[0].epoch > lost.epoch
    assert counted(rig)[2] == 1
    rig.give(EpochAccepted(epoch=hello[0].epoch, tape_no=rig.tape_no))
    assert rig.take(SnapshotRequest)
    assert counted(rig)[2] == 1
    rig.snapshot()
    assert clean(rig)
    assert [(m.control, m.cl_ord_id) for m in rig.take(Refused)] == [("lost", lost.request.cl_ord_id)]
    assert rig.guard.gate.state == "TRADING"


def test_a_snapshot_from_before_the_fence_frees_nothing(rig):
    lost = rig.new(price=99_00)
    rig.guard.following.resync("test", rig.now)
    epoch = rig.guard.commander.epoch
    rig.tape_no += 1
    rig.give(EpochAccepted(epoch=epoch, tape_no=rig.tape_no))
    rig.give(OrdersSnapshot(tape_no=rig.tape_no - 1))
    assert rig.guard.exposure.reserved
    assert rig.guard.gate.state == "STARTING"
    rig.snapshot()
    assert clean(rig) and isinstance(lost, Approved)


def test_numbers_begin_again_with_each_epoch_and_do_not_mix(rig):
    """A NotAccepted of the old epoch's no 1 must not release the new epoch's no 1."""
    old = rig.new(price=99_00)
    rig.guard.following.resync("test", rig.now)
    rig.accept()
    rig.snapshot()
    rig.beats()
    fresh = rig.new(price=98_00)
    assert (old.no, fresh.no) == (1, 1)
    rig.give(NotAccepted(epoch=old.epoch, no=1, reason="epoch"))
    assert list(rig.guard.exposure.open) == [fresh.request.cl_ord_id]


# -- the order of trust


def test_a_position_of_the_venue_that_disagrees_latches_the_market_unless_it_is_explained(rig):
    approved = rig.rest(qty=300, price=99_00)
    rig.fill(approved, 100, 99_00, long_qty=300, short_qty=0)
    assert rig.control(price=98_00) == "market"
    rig.wait(2000)
    assert not rig.guard.halting.kill.latches
    rig.wait(1500)
    assert "position break" in rig.guard.report.latches()["market BTC-PERP"]
    assert rig.control(price=98_00) == "halted"


def test_a_recovered_fill_explains_the_difference(rig):
    approved = rig.rest(qty=300, price=99_00)
    rig.fill(approved, 100, 99_00, cum=200, long_qty=200, short_qty=0)
    assert rig.control(price=98_00) == "market"
    rig.fill(approved, 100, 99_00, cum=200, source="recovered")
    assert rig.control(price=98_00) is None


def test_an_opening_position_must_be_known(make):
    rig = make(start=False)
    rig.guard.start(rig.now)
    rig.accept()
    rig.snapshot(known=False)
    rig.caught_up()
    rig.top(BTC, 99_00, 101_00)
    rig.beats()
    assert rig.guard.gate.state == "READY"
    rig.event(
        "position",
        "NEW",
        "",
        strategy=-1,
        symbol=BTC,
        position=500,
        cost=500 * 99_00,
        long_qty=500,
        short_qty=0,
    )
    assert rig.guard.gate.state == "TRADING"
    assert rig.guard.exposure.account_lines[BTC].position.qty == 500
