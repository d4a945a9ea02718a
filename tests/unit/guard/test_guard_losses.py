"""Loss limits: the day in New York, the drawdown from the peak, and margin; each at, under and over its limit."""

import pytest
from msgspec import structs

from engine.common.clock import Now
from engine.guard.records import DayOpened, PeakSeen
from engine.messages.commands import Arm

BTC, ETH = "BTC-PERP", "ETH-PERP"
TOOL = "tool.ctl.1"
LIMITS = {
    "max_order_qty": "10", "max_order_notional": "1000.00", "max_position": "20", "max_open_orders": 8,
    "max_gross_notional": "4000.00", "max_unacknowledged": 6, "max_loss": "50.00", "max_drawdown": "20.00",
}  # fmt: skip


def latches(rig):
    return rig.guard.report.latches()


def move(rig, bid):
    rig.top(ETH, bid, bid + 2_0000)


def test_the_drawdown_counts_from_the_highest_profit(make):
    """10 bought at 100: up 3 each (30), then down to 1.01 (19.90 below), then to 1.00 (20 below): that is the limit."""
    rig = make(strategies__alpha__limits=LIMITS)
    move(rig, 99_0000)
    rig.hold(1000, price=100_0000, symbol=ETH)
    rig.wait(100)
    move(rig, 102_0000)
    move(rig, 100_0100)
    assert latches(rig) == {}
    move(rig, 100_0000)
    assert "drawdown limit: strategy alpha: 20.00 dollars below its peak" in latches(rig)["strategy alpha"]
    assert rig.control(price=99_00) == "halted"


def test_without_a_setting_the_drawdown_is_twice_max_loss(rig):
    scope = rig.guard.exposure.strategies[1]
    assert scope.max_drawdown == 2 * scope.max_loss


def test_a_drawdown_that_was_armed_counts_from_now(make):
    rig = make(strategies__alpha__limits=LIMITS)
    move(rig, 99_0000)
    rig.hold(1000, price=100_0000, symbol=ETH)
    rig.wait(100)
    move(rig, 102_0000)
    move(rig, 100_0000)
    assert latches(rig)
    rig.give(Arm(request_id="a", why="seen", who="me", strategy=1), TOOL)
    assert latches(rig) == {} and rig.guard.exposure.strategies[1].drawdown == 0
    move(rig, 98_0100)
    assert latches(rig) == {}
    move(rig, 98_0000)
    assert latches(rig)


def test_the_peak_is_known_after_a_restart(make):
    """It is journalled in steps of a fiftieth of the limit."""
    rig = make(strategies__alpha__limits=LIMITS)
    move(rig, 99_0000)
    rig.hold(1000, price=100_0000, symbol=ETH)
    rig.wait(100)
    move(rig, 102_0000)
    entries = [m for c, m, _, _ in rig.out.all if c == "journal"]
    peaks = [m for m in entries if isinstance(m, PeakSeen) and m.strategy == 1]
    assert peaks[-1].profit == 30_000_000
    again = make(strategies__alpha__limits=LIMITS, journal=entries)
    move(again, 99_0000)
    again.hold(1000, price=100_0000, symbol=ETH)
    again.wait(100)
    move(again, 100_0000)
    assert "drawdown" in latches(again)["strategy alpha"]


@pytest.mark.parametrize(
    ("changes", "midnight"),
    [
        ({}, 1_790_049_600),
        ({"risk__zone": "UTC"}, 1_790_035_200),
        ({"risk__day_start": "17:00"}, 1_790_024_400),
    ],
)
def test_a_day_begins_at_new_yorks_midnight_or_when_the_configuration_says(make, changes, midnight):
    """The rig starts on 2026-09-21 14:13:20 UTC: midnight in New York is 04:00 UTC, 17:00 there is 21:00 UTC."""
    rig = make(**changes)
    rig.hold(1000, price=100_0000, symbol=ETH)
    rig.wait(100)
    move(rig, 96_0000)
    assert rig.guard.exposure.strategies[1].profit == -30_000_000
    for wall_s, profit in ((midnight - 1, -30_000_000), (midnight, 0)):
        rig.now = Now(wall_s * 10**9, rig.now.mono_ns + 10**9)
        rig.caught_up()
        rig.wait(200)
        if wall_s < midnight:
            rig.now = structs.replace(rig.now, wall_ns=wall_s * 10**9)
            continue
        assert rig.guard.exposure.strategies[1].profit == profit
    assert any(isinstance(m, DayOpened) for m in rig.take())


def test_before_the_days_start_the_loss_of_the_day_goes_on(make):
    rig = make()
    rig.hold(1000, price=100_0000, symbol=ETH)
    rig.wait(100)
    move(rig, 96_0000)
    rig.now = Now(1_790_049_590 * 10**9, rig.now.mono_ns + 10**9)
    rig.caught_up()
    rig.wait(200)
    assert rig.guard.exposure.strategies[1].profit == -30_000_000


# -- margin: ETH 10 % of 100.00 is 10.00 a contract


def watched(make, **changes):
    rig = make(
        margin__collateral="100.00", margin__warn_percent=50, margin__stop_percent=80,
        instruments__eth={"collar_bp": 300, "initial_margin_bp": 1000}, **changes,
    )  # fmt: skip
    rig.top(ETH, 99_0000, 101_0000)
    rig.wait(100)
    return rig


def test_margin_is_refused_over_the_stop_level_and_what_reduces_passes(make):
    """Equity 100: 8 contracts take 80 %, which passes; 9 would take 90 %."""
    rig = watched(make)
    assert rig.control(symbol=ETH, qty=900, price=100_0000) == "margin"
    assert rig.control(symbol=ETH, qty=800, price=100_0000) is None
    refused = rig.new(symbol=ETH, qty=100, price=100_0000)
    assert (refused.control, refused.scope, refused.limit, refused.value) == (
        "margin",
        "account",
        80_000_000,
        90_000_000,
    )
    assert rig.control(symbol=ETH, side=2, qty=100, price=102_0000) is None


def test_collateral_changes_of_trades_and_marked_profit_move_the_equity(make):
    """1704 says -20; 5 bought at 100, marked at 102: equity 90, due 51."""
    rig = watched(make)
    rig.event("trade", "FILLED", "x", strategy=1, symbol=ETH, side=1, price=100_0000, qty=500, cum_qty=500,
              last_qty=500, last_px=100_0000, collateral=-20_000_000)  # fmt: skip
    move(rig, 101_0000)
    assert rig.guard.margin.levels() == (51_000_000, 90_000_000)


def test_margin_over_the_warn_level_is_alarmed_once(make):
    rig = watched(make)
    rig.hold(500, price=100_0000, symbol=ETH)
    rig.wait(300)
    assert not [text for _, text in rig.out.log_lines if text.startswith("margin:")]
    rig.hold(100, price=100_0000, symbol=ETH)
    rig.wait(300)
    assert [level for level, text in rig.out.log_lines if text.startswith("margin:")] == ["alert"]
    rig.hold(-200, price=100_0000, symbol=ETH)
    rig.wait(300)
    assert [level for level, text in rig.out.log_lines if text.startswith("margin:")] == ["alert", "info"]


def test_without_a_collateral_margin_is_not_watched(rig):
    rig.hold(1000, price=50_0000, symbol=ETH)
    rig.wait(200)
    assert rig.control(symbol=ETH, price=50_0000) is None
