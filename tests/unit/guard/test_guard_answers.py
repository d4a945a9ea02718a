"""Every request of a worker gets one answer, and its tokens and its place are free at once, though its order is over."""

import itertools

import pytest

from engine.common.actor import PeerEvent
from engine.guard.rate_limit import HELD_NS
from engine.messages.commands import (
    Approved,
    CancelOrder,
    EpochAccepted,
    Halt,
    MassCancel,
    NotAccepted,
    Refused,
    ReplaceOrder,
)

BTC = "BTC-PERP"
ALPHA = "strategy.alpha"
COST = 10
MS = 1_000_000


@pytest.fixture
def metered(make):
    """A guard whose tokens count."""
    rig = make(rate__tier="explicit", rate__write_per_s=100, rate__write_capacity=1000, rate__cost=COST)
    rig.wait(10_000)  # the bucket begins empty
    return rig


def cancel(rig, approved):
    """The worker cancels its order; what the guard sends to order entry."""
    request = approved.request
    rig.out.all.clear()
    wish = CancelOrder(
        cl_ord_id=rig.ids[1](), orig_cl_ord_id=request.cl_ord_id, symbol=BTC, side=request.side
    )
    rig.give(wish, ALPHA)
    answer = rig.answer()
    assert isinstance(answer, Approved)
    return answer


def replace(rig, approved, qty):
    request = approved.request
    rig.out.all.clear()
    wish = ReplaceOrder(
        cl_ord_id=rig.ids[1](), orig_cl_ord_id=request.cl_ord_id, symbol=BTC, side=request.side, qty=qty,
        price=request.price,
    )  # fmt: skip
    rig.give(wish, ALPHA)
    answer = rig.answer()
    assert isinstance(answer, Approved)
    return answer


def not_accepted(approved, reason):
    return NotAccepted(
        epoch=approved.epoch, no=approved.no, reason=reason, cl_ord_id=approved.request.cl_ord_id, text="no"
    )


def told(rig):
    """What the worker was told since, by (ClOrdID, control)."""
    found = [
        (m.cl_ord_id, m.control) for _, m, to, _ in rig.out.all if isinstance(m, Refused) and to == ALPHA
    ]
    rig.out.all.clear()
    return found


def free(rig):
    """Nothing is held, counted or reserved any more."""
    exposure = rig.guard.exposure
    assert rig.guard.commander.budget.pending == 0
    assert not (exposure.requests or exposure.reserved or exposure.orders)
    assert {scope.unacknowledged for scope in exposure.scopes()} == {0}
    assert {(s.worst, s.gross, s.open_orders) for s in exposure.scopes()} == {(0, 0, 0)}


@pytest.mark.parametrize("order_of", [p for p in itertools.permutations(range(3)) if p.index(0) < p.index(2)])
@pytest.mark.parametrize("kind", [cancel, lambda rig, new: replace(rig, new, 200)])
def test_a_request_for_an_order_that_never_left_is_answered_too(metered, order_of, kind):
    """Order entry refuses the new order (NotAccepted, NOT_SENT on the tape), then what followed it."""
    rig = metered
    new = rig.new(price=99_00)
    follow = kind(rig, new)
    assert rig.guard.commander.budget.pending == 2 * COST
    rig.out.all.clear()
    answers = (
        lambda: rig.give(not_accepted(new, "expired")),
        lambda: rig.end(new, "not_sent", "NOT_SENT", request_id=new.request.cl_ord_id),
        lambda: rig.give(not_accepted(follow, "unknown_order")),
    )
    for at in order_of:
        answers[at]()
    assert told(rig) == [(follow.request.cl_ord_id, "unknown_order")]
    free(rig)
    rig.give(not_accepted(follow, "unknown_order"))
    assert told(rig) == []


def test_a_cancel_that_comes_after_its_orders_end_is_answered(metered):
    """The order was filled while the cancel was on its way to order entry."""
    rig = metered
    new = rig.rest(price=99_00)
    follow = cancel(rig, new)
    rig.out.all.clear()
    rig.fill(new, 100, 99_00)
    line = rig.guard.exposure.line(1, BTC)
    assert (line.position.qty, line.open_buy, line.open_orders) == (100, 0, 0)
    rig.give(not_accepted(follow, "unknown_order"))
    assert told(rig) == [(follow.request.cl_ord_id, "unknown_order")]
    assert rig.guard.commander.budget.pending == 0
    assert not rig.guard.exposure.requests and not rig.guard.exposure.reserved
    assert rig.guard.exposure.account.unacknowledged == 0


def test_a_cancel_that_the_tape_has_is_answered_by_the_venue_on_it(metered):
    """It left before its order ended: the venue's refusal comes as a late event, and the worker reads that itself."""
    rig = metered
    new = rig.rest(price=99_00)
    follow = cancel(rig, new)
    cancel_id = follow.request.cl_ord_id
    rig.event(
        "cancel_submitted", "PENDING_CANCEL", new.request.cl_ord_id, leaves_qty=100, request_id=cancel_id,
        **rig.terms(new),
    )  # fmt: skip
    rig.fill(new, 100, 99_00)
    rig.out.all.clear()
    rig.end(new, "cancel_rejected", "FILLED", cum_qty=100, request_id=cancel_id, late=True)
    assert told(rig) == [] and rig.guard.commander.budget.pending == 0
    assert not rig.guard.exposure.requests


def test_a_cancel_that_could_not_be_delivered_is_answered_though_its_order_is_over(metered):
    rig = metered
    new = rig.rest(price=99_00)
    follow = cancel(rig, new)
    rig.end(new)
    rig.out.all.clear()
    rig.guard.on_peer("oe.orders", "order_entry", PeerEvent.REFUSED, follow, rig.now)
    assert told(rig) == [(follow.request.cl_ord_id, "queue")]
    free(rig)


@pytest.mark.parametrize("before", [True, False])
def test_a_cancel_that_order_entry_never_had_is_answered_when_it_is_fenced(metered, before):
    """Its order ended, before or while order entry was gone: the snapshot under the new epoch proves that it was lost."""
    rig = metered
    new = rig.rest(price=99_00)
    follow = cancel(rig, new)
    if before:
        rig.end(new)
    rig.guard.following.resync("test", rig.now)
    rig.out.all.clear()
    rig.give(EpochAccepted(epoch=rig.guard.commander.epoch, tape_no=rig.tape_no))
    rig.snapshot()
    assert told(rig) == [(follow.request.cl_ord_id, "lost")]
    free(rig)


def test_a_snapshot_that_can_not_prove_it_leaves_the_request_in_flight(metered):
    """Its order is over in it, but order entry's answer to the request is still on its way."""
    rig = metered
    new = rig.rest(price=99_00)
    follow = cancel(rig, new)
    rig.guard.following.ask_snapshot(rig.now)
    rig.out.all.clear()
    rig.snapshot()
    assert told(rig) == [] and list(rig.guard.exposure.requests) == [follow.request.cl_ord_id]
    rig.give(not_accepted(follow, "unknown_order"))
    assert told(rig) == [(follow.request.cl_ord_id, "unknown_order")]
    free(rig)


# -- the guard's own mass cancel


def mass_cancel(rig):
    """Halt everything; the mass cancel that the guard sends for it."""
    rig.out.all.clear()
    rig.give(Halt(request_id="h", why="test", who="me"), "tool.ctl.1")
    approved = [m for m in rig.take(Approved) if isinstance(m.request, MassCancel)]
    assert len(approved) == 1
    return approved[0]


def refused_by_order_entry(rig, approved):
    rig.give(not_accepted(approved, "session"))


def undelivered(rig, approved):
    rig.guard.on_peer("oe.orders", "order_entry", PeerEvent.REFUSED, approved, rig.now)


def of_an_older_epoch(rig, approved):
    rig.guard.following.resync("test", rig.now)
    rig.give(not_accepted(approved, "epoch"))


@pytest.mark.parametrize("lost", [refused_by_order_entry, undelivered, of_an_older_epoch])
def test_a_mass_cancel_that_never_left_hands_its_tokens_back(metered, lost):
    """At once, and once."""
    budget = metered.guard.commander.budget
    metered.rest(price=99_00)
    before = budget.available(metered.now.mono_ns)
    approved = mass_cancel(metered)
    assert budget.pending == COST
    for _ in range(2):
        lost(metered, approved)
        assert budget.pending == 0 and budget.available(metered.now.mono_ns) == before


@pytest.mark.parametrize("lost", [refused_by_order_entry, undelivered])
def test_single_cancels_do_the_work_of_a_mass_cancel_that_never_left(metered, lost):
    resting = metered.rest(price=99_00)
    lost(metered, mass_cancel(metered))
    metered.out.all.clear()
    metered.wait(400)
    sent = [m.request for m in metered.take(Approved) if isinstance(m.request, CancelOrder)]
    assert [request.orig_cl_ord_id for request in sent] == [resting.request.cl_ord_id]


def test_a_mass_cancel_on_the_wire_keeps_its_tokens_until_something_tells_that_the_venue_had_it(metered):
    """Its reports name the orders, not the request: a later answer settles it, or half a minute."""
    rig = metered
    budget = rig.guard.commander.budget
    resting = rig.rest(price=99_00)
    mass_cancel(rig)
    rig.end(resting)
    assert budget.pending == COST
    rig.wait(HELD_NS // MS - 1000)
    assert budget.pending == COST
    rig.wait(2000)
    assert budget.pending == 0
