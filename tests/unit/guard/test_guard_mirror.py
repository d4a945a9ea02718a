"""The mirror against the venue's own bucket, which is other code (engine/venue/buckets.py): never over, never less."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import RateConfig
from engine.guard.rate_limit import WriteBudget, write_rate
from engine.venue.buckets import TIERS, Bucket, Buckets, budget_of

MS = 1_000_000
SECOND = 1000 * MS
COSTS = {"D": 10, "G": 7, "F": 3, "q": 20}
STEPS = st.lists(
    st.tuples(
        st.integers(0, 400 * MS),  # until the next request
        st.sampled_from("DDDGFq"),
        st.integers(0, 3 * SECOND),  # on its way to the venue
        st.integers(0, 2 * SECOND),  # until its answer is here
    ),
    min_size=1,
    max_size=60,
)
RATES = st.tuples(st.integers(1, 10_000), st.integers(40, 20_000))
SKEWS = st.integers(-(10**15), 10**15)


def pair(per_s, capacity):
    rate = RateConfig(tier="explicit", write_per_s=per_s, write_capacity=capacity, costs=COSTS)
    return WriteBudget(rate), Bucket(per_s, capacity)


def take(mirror, kind, mono_ns, cl_ord_id):
    if kind == "F":
        return mirror.take_cancel(mono_ns, cl_ord_id)
    if kind == "q":
        return mirror.take_mass_cancel(mono_ns, cl_ord_id)
    return mirror.take_order(COSTS[kind], mono_ns, cl_ord_id)


@settings(max_examples=120, deadline=None)
@given(RATES, STEPS, SKEWS)
def test_whatever_the_delays_the_venue_can_grant_what_is_unanswered(rate, steps, skew):
    """Invariant 5. Requests arrive in order after any delay, many at once; the venue's clock runs from another start."""
    mirror, venue = pair(*rate)
    now = SECOND
    under_way, answers = deque(), []
    arrived = 0

    def catch_up(until):
        while under_way and under_way[0][0] <= until:
            at, kind, cl_ord_id, answer_ns = under_way.popleft()
            assert venue.take(COSTS[kind], at + skew + 10**16), f"the venue refuses {kind} for its rate"
            answers.append((at + answer_ns, cl_ord_id))
        for at, cl_ord_id in sorted(answers):
            if at <= until:
                answers.remove((at, cl_ord_id))
                mirror.answered(cl_ord_id, at)

    for number, (gap, kind, way_ns, answer_ns) in enumerate(steps):
        now += gap
        catch_up(now)
        held = sum(COSTS[kind] for _, kind, _, _ in under_way)
        assert held <= venue.level(now + skew + 10**16)
        if take(mirror, kind, now, str(number)):
            arrived = max(arrived, now + way_ns)  # one connection keeps the order
            under_way.append((arrived, kind, str(number), answer_ns))
    catch_up(now + 100 * SECOND)


@settings(max_examples=120, deadline=None)
@given(RATES, STEPS, st.integers(0, 90), SKEWS)
def test_with_answers_at_once_nothing_is_refused_that_the_venue_would_take_but_for_the_reserve(
    rate, steps, percent, skew
):
    per_s, capacity = rate
    mirror = WriteBudget(
        RateConfig(
            tier="explicit",
            write_per_s=per_s,
            write_capacity=capacity,
            costs=COSTS,
            cancel_reserve_percent=percent,
        )
    )
    venue = Buckets(
        budget_of("explicit", TIERS["Basic"]._replace(write_per_s=per_s, write_capacity=capacity)), 10, COSTS
    )
    now = SECOND
    for number, (gap, kind, _, _) in enumerate(steps):
        now += gap
        at = now + skew + 10**16
        level = venue.write.level(at)
        if kind == "q":
            granted = mirror.take_mass_cancel(now, str(number))
            mirror.answered(str(number), now)
            if level >= COSTS[kind]:
                assert granted is venue.mass_cancel(at)
            else:
                assert not granted
            assert not granted or venue.take("q", at, write=True)
            continue
        granted = take(mirror, kind, now, str(number))
        reserve = 0 if kind == "F" else capacity * percent // 100
        assert granted is (level >= COSTS[kind] + reserve)
        if granted:
            assert venue.take(kind, at, write=True)
            mirror.answered(str(number), now)
        assert mirror.available(now) == venue.write.level(at)


@pytest.mark.parametrize("tier", TIERS)
def test_each_tier_is_the_venues(tier):
    assert write_rate(RateConfig(tier=tier)) == (TIERS[tier].write_per_s, TIERS[tier].write_capacity)


def test_an_answer_settles_all_that_left_before_it():
    """One connection: what is answered proves that everything older has arrived, though nothing answers it."""
    mirror, _ = pair(100, 100)
    for name in "abc":
        assert mirror.take_order(10, SECOND, name)
    assert mirror.pending == 30
    mirror.answered("b", SECOND)
    assert mirror.pending == 10 and mirror.available(SECOND) == 70
    assert mirror.available(SECOND + 100 * MS) == 80


def test_unanswered_tokens_do_not_flow_back_with_time():
    """A full bucket's worth that may still all arrive at once: nothing more leaves, however long that takes."""
    mirror, _ = pair(100, 100)
    for number in range(8):
        assert mirror.take_order(10, SECOND, str(number))
    assert not mirror.take_order(10, 15 * SECOND, "late")
    assert mirror.take_cancel(15 * SECOND, "cancel")
    mirror.answered("7", 15 * SECOND)
    assert not mirror.take_order(10, 15 * SECOND, "late")
    assert mirror.take_order(10, 16 * SECOND, "late")


def test_what_never_left_costs_nothing_and_a_lost_connection_settles_everything():
    mirror, _ = pair(100, 100)
    mirror.take_order(10, SECOND, "a")
    mirror.take_order(10, SECOND, "b")
    mirror.returned("a")
    mirror.returned("unknown")
    assert mirror.available(SECOND) == 90
    mirror.settle(SECOND, 0)
    assert mirror.pending == 0 and mirror.available(SECOND) == 90


def test_what_nothing_answers_for_half_a_minute_is_settled():
    mirror, _ = pair(100, 100)
    mirror.take_order(10, SECOND, "a")
    mirror.settle(30 * SECOND)
    assert mirror.pending == 10
    mirror.settle(31 * SECOND)
    assert mirror.pending == 0


def test_a_kill_that_waits_for_tokens_comes_before_every_other_cancel():
    mirror, _ = pair(100, 100)
    mirror.spent(100, SECOND)
    assert not mirror.take_cancel(SECOND, "k", kill=True)
    assert not mirror.take_cancel(SECOND + 30 * MS, "worker")
    assert mirror.take_cancel(SECOND + 30 * MS, "k", kill=True)
