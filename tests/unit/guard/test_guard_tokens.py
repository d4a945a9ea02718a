"""The Write bucket: the mirror, the reserve for cancels, one mass cancel a second, and what empties it."""

import pytest

from engine.config import RateConfig
from engine.guard.rate_limit import RANK_NEW, RANK_REDUCING, RANK_REPLACE, WriteBudget
from engine.messages.commands import Approved, CancelOrder, Halt, MassCancel

BTC = "BTC-PERP"
MS = 1_000_000
SECOND = 1000 * MS
FULL = {"tier": "Basic", "cost": 10, "cancel_reserve_percent": 20}
SMALL = {
    "max_order_qty": "10", "max_order_notional": "1000.00", "max_position": "60", "max_open_orders": 60,
    "max_gross_notional": "20000.00", "max_unacknowledged": 60, "max_loss": "100.00",
}  # fmt: skip


def budget(**changes):
    made = WriteBudget(RateConfig(**{**FULL, **changes}))
    made.start(0)
    return made


def test_the_mirror_starts_empty_and_fills_at_the_tiers_rate():
    """Basic: 100 tokens a second, 100 at most; what was spent before our start isn't known."""
    made = budget()
    assert [made.available(at) for at in (0, 100 * MS, 1000 * MS, 5000 * MS)] == [0, 10, 100, 100]


def test_new_orders_leave_the_reserve_to_cancels():
    """100 tokens, 20 kept: 8 orders of 10, then only cancels, 2 of them."""
    made = budget()
    assert [made.take_order(10, SECOND) for _ in range(9)] == [True] * 8 + [False]
    assert [made.take_cancel(SECOND) for _ in range(3)] == [True, True, False]


def test_a_mass_cancel_is_sent_at_most_once_a_second():
    made = budget()
    assert [made.take_mass_cancel(at) for at in (SECOND, 2 * SECOND - 1, 2 * SECOND)] == [True, False, True]


def test_a_rate_limit_reject_empties_the_mirror():
    made = budget()
    assert made.available(SECOND) == 100
    made.refused_by_venue(SECOND)
    assert made.available(SECOND) == 0 and made.emptied == 1


def test_what_was_not_asked_for_is_counted_and_never_below_zero():
    made = budget()
    made.spent(10, SECOND)
    assert made.available(SECOND) == 90
    made.spent(1000, SECOND)
    assert made.available(SECOND) == 0


def test_what_was_spent_without_tokens_is_owed_up_to_a_whole_bucket():
    """Order entry's own cancels take what flows in; what they took can't be granted to the guard a second time."""
    made = budget()
    made.spent(100, SECOND)
    made.spent(30, SECOND)
    assert not made.take_cancel(SECOND + 300_000_000)  # 30 tokens flowed in, all of them owed
    assert made.take_cancel(SECOND + 400_000_000)
    made.spent(10_000, 2 * SECOND)
    assert made.take_cancel(3 * SECOND + 100_000_000)


def test_an_id_that_is_held_twice_leaks_no_tokens():
    """What was held under it before counts as taken: no answer can tell the two apart."""
    made = budget()
    assert (
        made.take_cancel(SECOND, "x") and made.take_order(10, SECOND, "y") and made.take_cancel(SECOND, "x")
    )
    assert made.pending == 20 and made.available(SECOND) == 70
    made.returned("x")
    made.answered("y", SECOND)
    assert made.pending == 0 and made.available(SECOND) == 80


def test_costs_are_by_message_type():
    made = budget(costs={"D": 5, "F": 2, "G": 7, "q": 50, "A": 20})
    assert (made.cost_new, made.cost_cancel, made.cost_replace, made.cost_mass, made.cost_logon) == (
        5,
        2,
        7,
        50,
        20,
    )


@pytest.mark.parametrize("rank", [RANK_REDUCING, RANK_REPLACE, RANK_NEW])
def test_a_rank_is_a_head_start_and_no_more(rank):
    """Two ask every ms for a minute: each rank between them is worth 3 requests, in all, then they take turns."""
    made = budget()
    got = {1: 0, 2: 0}
    assert all(made.take_order(10, SECOND) for _ in range(8)), "tokens are short from here on"
    for ms in range(60_000):
        at = SECOND + ms * MS
        for slot, its_rank in ((2, RANK_NEW), (1, rank)):
            if made.take_order(10, at, f"{slot}.{ms}", slot, its_rank):
                made.answered(f"{slot}.{ms}", at)
                got[slot] += 1
    assert sum(got.values()) >= 599
    assert abs(got[1] - got[2] - 3 * (RANK_NEW - rank)) <= 2, got


def test_unlimited_never_refuses():
    made = budget(tier="unlimited")
    assert made.capacity == -1 and all(made.take_order(10, 0) and made.take_cancel(0) for _ in range(1000))


def test_explicit_numbers_are_taken():
    made = budget(tier="explicit", write_per_s=50, write_capacity=40)
    assert (made.capacity, made.available(10 * SECOND)) == (40, 40)


@pytest.fixture
def poor(make):
    """Basic tier, full bucket less the Logon."""
    rig = make(rate=FULL, strategies__alpha__limits=SMALL, risk__markets__btc=SMALL, risk__account=SMALL)
    rig.wait(1200)
    return rig


def test_a_logon_between_two_beats_is_paid_for(poor):
    """The session was lost and came back, and every beat that was heard says that it is there."""
    before = poor.guard.budget.available(poor.now.mono_ns)
    poor.oe_beat(logon_sweep=7)
    assert poor.guard.budget.available(poor.now.mono_ns) == before - 10
    poor.oe_beat(logon_sweep=7)
    assert poor.guard.budget.available(poor.now.mono_ns) == before - 10


def test_what_order_entry_sent_on_a_part_of_the_tape_that_was_not_read_is_paid_for(poor):
    """Its own cancels are told by events; where a snapshot stands for these, the mirror begins empty as at the start."""
    poor.snapshot()
    assert poor.guard.budget.available(poor.now.mono_ns) == 100
    poor.tape_no += 5
    poor.snapshot()
    assert poor.guard.budget.available(poor.now.mono_ns) == 0


def test_over_budget_is_refused_and_a_cancel_still_passes(poor):
    passed = [poor.new(price=99_00) for _ in range(9)]
    assert [type(a).__name__ for a in passed] == ["Approved"] * 8 + ["Refused"]
    refused = passed[-1]
    assert (refused.control, refused.limit, refused.value) == ("tokens", 30, 20)
    for approved, wanted in zip(passed[:3], (None, None, "tokens"), strict=True):
        poor.out.all.clear()
        target = approved.request.cl_ord_id
        poor.give(
            CancelOrder(cl_ord_id=poor.ids[1](), orig_cl_ord_id=target, symbol=BTC, side=1), "strategy.alpha"
        )
        assert getattr(poor.answer(), "control", None) == wanted


def test_a_halt_cancels_as_fast_as_tokens_come(poor):
    """8 orders open, 20 tokens left: the mass cancel and one cancel at once, then one each 100 ms."""
    orders = [poor.rest(price=99_00) for _ in range(8)]
    poor.out.all.clear()
    poor.give(Halt(request_id="h", why="test", who="me"), "tool.ctl")
    sent = []
    for _ in range(60):
        sent += [m.request for m in poor.take(Approved)]
        poor.wait(20)
    assert isinstance(sent[0], MassCancel)
    assert sorted(r.orig_cl_ord_id for r in sent[1:9]) == sorted(o.request.cl_ord_id for o in orders)
    assert len(sent) <= 1 + 2 + 13


def test_a_venues_380_8_empties_the_mirror_in_the_actor(poor):
    approved = poor.new(price=99_00)
    poor.submitted(approved)
    poor.end(
        approved, "not_sent", "NOT_SENT", request_id=approved.request.cl_ord_id, reason=8, source="session"
    )
    assert poor.control(price=99_00) == "tokens"


def test_order_entrys_own_cancels_and_logons_are_counted(poor):
    before = poor.guard.budget.available(poor.now.mono_ns)
    order = poor.rest(price=99_00)
    poor.event(
        "cancel_submitted",
        "PENDING_CANCEL",
        order.request.cl_ord_id,
        leaves_qty=100,
        request_id="oe-1",
        **poor.terms(order),
    )
    assert before - poor.guard.budget.available(poor.now.mono_ns) == 20
    poor.oe_beat(session="connecting")
    poor.oe_beat()
    assert before - poor.guard.budget.available(poor.now.mono_ns) == 30
