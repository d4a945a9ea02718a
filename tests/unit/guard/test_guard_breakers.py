"""Breakers: at, under and over what trips them; the windows; what they latch; and soft levels of every limit."""

import pytest

from engine.guard.breakers import Rolling
from engine.messages.commands import Arm, Halt
from engine.messages.decisions import LimitNote

BTC, ETH = "BTC-PERP", "ETH-PERP"
TOOL = "tool.ctl.1"
SECOND = 10**9


def latches(rig):
    return rig.guard.report.latches()


def refused(rig, text="INSUFFICIENT_BALANCE", **more):
    approved = rig.new(price=98_00, **more)
    rig.submitted(approved)
    rig.end(approved, "rejected", "REJECTED", text=text, reason=3, request_id=approved.request.cl_ord_id)


def taken(rig):
    rig.end(rig.rest(price=98_00))


def test_rolling_counts_forget_what_is_older_than_the_window():
    rolling = Rolling(12)
    rolling.add(5 * SECOND, bad=3)
    rolling.add(10 * SECOND, good=1)
    assert (rolling.good, rolling.bad) == (1, 3)
    rolling.move(17 * SECOND)
    assert (rolling.good, rolling.bad) == (1, 0)
    rolling.move(1000 * SECOND)
    assert (rolling.good, rolling.bad) == (0, 0)
    rolling.add(1000 * SECOND, bad=1)
    assert rolling.bad == 1


def breakers(**values):
    return {f"risk__breakers__{key}": value for key, value in values.items()}


@pytest.mark.parametrize(("accepted", "halted"), [(5, False), (4, True)])
def test_the_reject_rate_halts_the_strategy_at_its_share(make, accepted, halted):
    """4 refused of 9 are 44 %, of 8 are 50 %: the limit is inclusive; another strategy goes on."""
    rig = make(**breakers(reject_min=4, reject_halt_percent=50, reject_warn_percent=10))
    for _ in range(accepted):
        taken(rig)
    for _ in range(4):
        refused(rig)
    assert ("strategy alpha" in latches(rig)) is halted
    assert rig.control(price=97_00, slot=2) is None
    assert any(
        "the venue refused 4 of" in text for level, text in rig.out.log_lines if level in ("warning", "alert")
    )


def test_under_reject_min_nothing_trips(make):
    rig = make(**breakers(reject_min=5))
    for _ in range(4):
        refused(rig)
    assert latches(rig) == {}
    refused(rig)
    assert "reject_rate" in latches(rig)["strategy alpha"]


def test_refusals_that_name_a_pause_are_no_fault_of_a_strategy(make):
    rig = make(**breakers(reject_min=1))
    refused(rig, "TRADING_PAUSED")
    assert latches(rig) == {}


def test_an_arm_empties_the_windows(make):
    rig = make(**breakers(reject_min=2))
    refused(rig)
    refused(rig)
    assert latches(rig)
    rig.give(Arm(request_id="a", why="seen", who="me", strategy=1), TOOL)
    refused(rig)
    assert latches(rig) == {}


def cancelled(rig, times):
    order = rig.rest(price=98_00)
    for _ in range(times):
        cl_ord_id = rig.ids[0]()
        terms = {**rig.terms(order), "leaves_qty": 100}
        rig.event(
            "cancel_submitted", "PENDING_CANCEL", order.request.cl_ord_id, request_id=cl_ord_id, **terms
        )
        rig.event("cancel_rejected", "NEW", order.request.cl_ord_id, request_id=cl_ord_id, reason=99, **terms)
    rig.end(order)


@pytest.mark.parametrize(("fills", "halted"), [(2, True), (3, False)])
def test_cancels_per_fill_halt_the_strategy(make, fills, halted):
    """10 cancels: 5 for each of 2 fills, 3 for each of 3; the limit of 5 is inclusive."""
    rig = make(**breakers(cancel_min=10, cancels_per_fill_halt=5))
    for _ in range(fills):
        rig.hold(100, price=98_00)
    cancelled(rig, 10)
    assert ("strategy alpha" in latches(rig)) is halted


def test_cancels_per_fill_only_warn_by_default(make):
    rig = make(**breakers(cancel_min=10, cancels_per_fill_warn=10))
    cancelled(rig, 12)
    assert latches(rig) == {}
    assert [
        text for level, text in rig.out.log_lines if "cancels and replaces" in text and level == "warning"
    ]


def test_identical_orders_over_repeat_max_halt_the_strategy(make):
    """3 pass, the 4th is refused and latches; other prices don't count; the window forgets."""
    rig = make(**breakers(repeat_max=3, repeat_window_s=10))
    for _ in range(3):
        taken(rig)
        rig.end(rig.rest(price=97_00 - rig.tape_no * 100))
    rig.wait(10_000)
    for _ in range(3):
        taken(rig)
    assert latches(rig) == {}
    assert rig.control(price=98_00) == "repeats"
    assert "4" not in latches(rig)["strategy alpha"] and "repeats" in latches(rig)["strategy alpha"]
    assert rig.control(price=96_00) == "halted"


def liquidation(rig, **more):
    fields = {
        "symbol": BTC,
        "side": 2,
        "price": 99_00,
        "qty": 400,
        "cum_qty": 400,
        "last_qty": 400,
        "last_px": 99_00,
    }
    rig.event("trade", "FILLED", "V9", strategy=-1, **{**fields, **more})


@pytest.mark.parametrize(
    ("policy", "scope"), [("halt", "all"), ("market", "market BTC-PERP"), ("alert", None)]
)
def test_a_liquidation_does_what_the_policy_says(make, policy, scope):
    rig = make(**breakers(on_liquidation=policy))
    liquidation(rig, cl_ord_id="liquidation-3")
    assert set(latches(rig)) == ({scope} if scope else set())
    assert any(level == "alert" and "liquidation" in text for level, text in rig.out.log_lines)


def test_a_margin_cancel_of_our_order_is_a_liquidation(rig):
    rig.end(rig.rest(price=98_00), text="MARGIN_CANCEL")
    assert "liquidation" in latches(rig)["all"]


def test_a_fill_of_somebody_elses_order_is_alarmed_or_latched(make, rig):
    liquidation(rig, cl_ord_id="web-1")
    assert latches(rig) == {} and rig.out.log_lines[-1][0] == "alert"
    strict = make(**breakers(on_foreign_fill="market"))
    liquidation(strict, cl_ord_id="web-1")
    assert "foreign fill" in latches(strict)["market BTC-PERP"]


# -- soft levels


def notes(rig):
    return [(m.scope, m.control, m.over) for m in rig.take(LimitNote)]


def test_a_use_over_its_soft_level_is_warned_of_once_until_it_is_left(rig):
    """max_position of alpha is 20: 16 is 80 %."""
    rig.hold(1500)
    rig.wait(200)
    assert ("strategy alpha", "max_position", True) not in notes(rig)
    rig.hold(100)
    rig.wait(200)
    assert notes(rig).count(("strategy alpha", "max_position", True)) == 1
    assert "strategy alpha: max_position" in rig.guard.report.status(rig.now).near_limits
    rig.hold(-100)
    rig.wait(200)
    assert notes(rig) == []  # it dances around the level
    rig.hold(-200)
    rig.wait(200)
    assert ("strategy alpha", "max_position", False) in notes(rig)


@pytest.mark.parametrize(("qty", "warned"), [(800, False), (900, True)])
def test_an_order_over_the_soft_size_passes_and_is_warned_of(rig, qty, warned):
    """max_order_qty is 10."""
    rig.give(Halt(request_id="x", why="", who="", strategy=99), TOOL)
    assert rig.control(qty=qty, price=98_00) is None
    assert any("max_qty is at" in text for _, text in rig.out.log_lines) is warned


def test_silence_of_the_feed_is_warned_of_before_it_stops(rig):
    rig.wait(860, beats=False)
    assert ("account", "feed_staleness", True) in notes(rig)
