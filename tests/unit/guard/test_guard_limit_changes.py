"""Limits change while the engine runs: validated, journalled, kept over restarts; tightening stops and forces nothing."""

import msgspec
import pytest

from engine.guard.records import LimitSet
from engine.messages.commands import Approved, ControlReply, LimitsQuery, SetLimit

BTC = "BTC-PERP"
TOOL = "tool.ctl.1"


def ask(rig, message):
    rig.out.all.clear()
    rig.give(message, TOOL)
    (found,) = [m for _, m, to, _ in rig.out.all if isinstance(m, ControlReply) and to == TOOL]
    return found


def change(rig, name, value, why="because", **scope):
    return ask(rig, SetLimit(request_id="s", name=name, value=value, why=why, who="me", **scope))


def show(rig):
    reply = ask(rig, LimitsQuery(request_id="q"))
    rows = msgspec.msgpack.decode(reply.data["limits"])
    return {(row["scope"], row["name"]): row for row in rows}


def test_a_change_is_in_force_at_once_and_journalled_with_who_when_and_why(rig):
    reply = change(rig, "max_order_qty", "3", strategy=1)
    assert reply.ok and reply.text == "strategy alpha: max_order_qty 10.00 -> 3.00"
    (entry,) = [m for c, m, _, _ in rig.out.all if c == "journal"]
    assert entry == LimitSet(
        wall_ns=rig.now.wall_ns,
        name="max_order_qty",
        value=300,
        was=1000,
        why="because",
        who="me",
        strategy=1,
    )
    assert rig.control(qty=400, price=98_00) == "max_qty"
    assert rig.control(qty=300, price=98_00) is None
    assert rig.control(qty=400, price=98_00, slot=2) is None


@pytest.mark.parametrize(
    ("name", "value", "more", "text"),
    [
        ("max_qty", "1", {}, "there is no limit 'max_qty'"),
        ("max_loss", "0", {}, "must be above zero"),
        ("max_loss", "-5", {}, "must be above zero"),
        ("max_loss", "lots", {}, "max_loss"),
        ("max_loss", "nan", {}, "max_loss"),
        ("max_open_orders", "1.5", {}, "max_open_orders"),
        ("max_position", "1", {"strategy": 9}, "no strategy has slot 9"),
        ("max_position", "1", {"symbol": "DOGE"}, "there is no market DOGE"),
        ("max_position", "1", {"strategy": 1, "symbol": BTC}, "of the account, of a strategy or of a market"),
        ("max_position", "1", {"why": " "}, "needs a reason"),
        ("max_position", "1", {"strategy": 0}, "has no limits"),
        ("collateral", "1", {"strategy": 1}, "collateral is the account's"),
    ],
)
def test_what_is_no_limit_or_no_value_changes_nothing(rig, name, value, more, text):
    before = show(rig)
    reply = change(rig, name, value, **more)
    assert not reply.ok and text in reply.text
    assert show(rig) == before


def test_more_open_orders_than_a_halt_can_cancel_in_time_are_refused(make):
    """Basic: 100 tokens a second, a cancel costs 10, kill_within_s 10: 100 orders."""
    rig = make(rate={"tier": "Basic"})
    assert change(rig, "max_open_orders", "100").ok
    reply = change(rig, "max_open_orders", "101")
    assert not reply.ok and "can cancel only 100" in reply.text


def test_tightening_below_the_use_stops_increases_and_forces_nothing(rig):
    """Long 10 and a limit of 5: no cancel, no order; buying is refused, selling passes."""
    rig.hold(1000)
    order = rig.rest(side=2, qty=100, price=1_01_00)
    reply = change(rig, "max_position", "5", strategy=1)
    assert reply.ok and "10.00 is in use: nothing that increases it passes" in reply.text
    assert rig.take(Approved) == []
    rig.wait(500)
    assert rig.take(Approved) == [] and order.request.cl_ord_id in rig.guard.exposure.open
    assert rig.control(qty=100, price=98_00) == "max_position"
    assert rig.control(side=2, qty=900, price=1_01_00) is None


def test_a_loss_limit_below_todays_loss_latches(rig):
    rig.hold(1000, price=50_0000, symbol="ETH-PERP")
    rig.wait(100)
    rig.top("ETH-PERP", 47_5000, 49_5000)
    assert change(rig, "max_loss", "15", strategy=1).ok
    assert "loss limit" in rig.guard.report.latches()["strategy alpha"]


def test_a_change_holds_over_a_restart_until_the_configuration_changes(make):
    rig = make()
    change(rig, "max_order_qty", "3", strategy=1)
    journal = [m for c, m, _, _ in rig.out.all if c == "journal"]
    again = make(journal=journal)
    assert again.control(qty=400, price=98_00) == "max_qty"
    row = show(again)["strategy alpha", "max_order_qty"]
    assert row == {
        "scope": "strategy alpha", "name": "max_order_qty", "limit": "3.00", "configured": "10.00", "set_by": "me", "why": "because",
    }  # fmt: skip
    edited = make(journal=journal, strategies__alpha__limits__max_order_qty="8")
    assert edited.control(qty=400, price=98_00) is None
    assert any("the configuration has changed since and counts" in text for _, text in edited.out.log_lines)


def test_the_collateral_is_set_anew_from_what_the_venue_shows(make):
    rig = make(margin__collateral="100.00")
    rig.event("trade", "FILLED", "x", strategy=1, symbol=BTC, side=1, price=1_00_00, qty=100, cum_qty=100,
              last_qty=100, last_px=1_00_00, collateral=-20_000_000)  # fmt: skip
    assert rig.guard.margin.levels()[1] == 80_000_000
    assert change(rig, "collateral", "500").ok
    journal = [m for c, m, _, _ in rig.out.all if c == "journal"]
    assert rig.guard.margin.levels()[1] == 500_000_000
    again = make(journal=journal, margin__collateral="100.00")
    assert (again.guard.margin.collateral, again.guard.margin.base) == (500_000_000, -20_000_000)


def test_every_limit_is_shown_with_its_use(rig):
    rig.hold(1000)
    rig.wait(100)
    rows = show(rig)
    assert rows["strategy alpha", "max_position"] == {
        "scope": "strategy alpha", "name": "max_position", "limit": "20.00", "used": "10.00",
    }  # fmt: skip
    assert {name for scope, name in rows if scope == "account"} == {
        "max_order_qty", "max_order_notional", "max_position", "max_open_orders", "max_gross_notional",
        "max_unacknowledged", "max_loss", "max_drawdown",
    }  # fmt: skip


def test_scopes_that_came_later_have_no_limits_and_harm_nothing(rig):
    """Foreign fills and the operator's orders make scopes of their own."""
    rig.hold(100, slot=-1)
    rig.guard.exposure.line(0, BTC)
    assert not {scope for scope, _ in show(rig)} & {"strategy foreign", "strategy operator"}
    assert "has no limits" in change(rig, "max_position", "1", strategy=0).text
