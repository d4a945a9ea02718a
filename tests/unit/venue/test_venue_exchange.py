"""The exchange's rules (venue.md section 4), without sessions; and what must hold for any sequence of requests."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.common.clock import SECOND, Now, parse_fix_time
from engine.kalshi.messages import NewOrderSingle, OrderCancelReplaceRequest, OrderCancelRequest
from engine.venue import refusals as r
from engine.venue.accounts import Account, Market
from engine.venue.exchange import Exchange
from engine.venue.flow import MAKER, TAKER, Flow, FlowMarket
from engine.venue.order import Flags, Owner
from engine.venue.order_groups import Group, group_id_of
from engine.venue.reports import CancelRefused, Print, Report
from engine.venue.terms import Fault, Terms

T0 = parse_fix_time("20261124-15:00:00.000")
FULL = Flags(ioc_cancel_report=True, original_qty=True, skip_pending=True, expired_status=True)


class Desk:
    """An exchange with one market and sessions a and b, and short names for its requests."""

    def __init__(self, flags=FULL, cash=10**12, **terms):
        self.exchange = Exchange(
            [Market(symbol="M", price=100_000)], [Account("a", cash), Account("b", cash)], Terms(**terms)
        )
        self.owners = {name: Owner(f"KalshiNR|{name}", name, flags) for name in "ab"}
        self.now = Now(T0, 0)

    def new(self, who, cl_ord_id, side, qty, price, **more):
        more.setdefault("time_in_force", "1")
        request = NewOrderSingle(
            cl_ord_id=cl_ord_id, symbol=more.pop("symbol", "M"), side=side, order_qty=qty, price=price, **more
        )
        return told(self.exchange.new_order(self.owners[who], request, self.now))

    def cancel(self, who, cl_ord_id, orig, side="1", **more):
        request = OrderCancelRequest(cl_ord_id=cl_ord_id, orig_cl_ord_id=orig, symbol="M", side=side, **more)
        return told(self.exchange.cancel(self.owners[who], request, self.now))

    def replace(self, who, cl_ord_id, orig, qty, price=None, side="1", **more):
        request = OrderCancelReplaceRequest(
            cl_ord_id=cl_ord_id,
            orig_cl_ord_id=orig,
            symbol="M",
            side=side,
            order_qty=qty,
            price=price,
            **more,
        )
        return told(self.exchange.replace(self.owners[who], request, self.now))

    def levels(self):
        return self.exchange.books["M"].levels()


def told(events):
    """Events as short text: `a c1 0/0 leaves 100 cum 0`, `a c2 refused 1 ORDER_NOT_FOUND`; trades of market data left out."""
    lines = []
    for event in events:
        if isinstance(event, Report):
            r = event.report
            lines.append(
                f"{event.owner.account} {r.cl_ord_id} {r.exec_type}/{r.ord_status} leaves {r.leaves_qty} cum {r.cum_qty}"
                + (f" {r.last_qty}@{r.last_px}" if r.last_px is not None else "")
                + (f" ({r.ord_rej_reason})" if r.ord_rej_reason is not None else "")
                + (f" {r.text}" if r.text else "")
            )
        elif isinstance(event, CancelRefused):
            j = event.reject
            lines.append(
                f"{event.owner.account} {j.cl_ord_id} refused {j.cxl_rej_response_to} ({j.cxl_rej_reason}) {j.text} {j.ord_status}"
            )
    return lines


def test_new_is_folded_into_the_first_trade_and_the_rest_rests():
    desk = Desk()
    assert desk.new("a", "s1", "2", 300, 100_000) == ["a s1 0/0 leaves 300 cum 0"]
    assert desk.new("b", "b1", "1", 500, 100_100) == [
        "a s1 F/2 leaves 0 cum 300 300@100000",
        "b b1 F/1 leaves 200 cum 300 300@100000",
    ]
    assert desk.levels() == [0, 100_100, 200]


def test_always_emit_new_before_trade_brings_the_new_first():
    desk = Desk(Flags(skip_pending=True, new_before_trade=True))
    desk.new("a", "s1", "2", 300, 100_000)
    assert desk.new("b", "b1", "1", 300, 100_000) == [
        "b b1 0/0 leaves 300 cum 0",
        "a s1 F/2 leaves 0 cum 300 300@100000",
        "b b1 F/2 leaves 0 cum 300 300@100000",
    ]


def test_a_trade_report_carries_position_fee_collateral_and_who_took():
    desk = Desk(maker_fee=100, taker_fee=300)
    desk.new("a", "s1", "2", 300, 100_000)
    request = NewOrderSingle(
        cl_ord_id="b1", symbol="M", side="1", order_qty=200, price=100_000, time_in_force="1"
    )
    maker, taker, trade = desk.exchange.new_order(desk.owners["b"], request, desk.now)
    assert (taker.report.long_qty, taker.report.short_qty) == (200, 0)
    assert (maker.report.long_qty, maker.report.short_qty) == (0, 200)
    assert (taker.report.misc_fee_amt, maker.report.misc_fee_amt) == (6000, 2000)  # 20 dollars of notional
    assert (taker.report.collateral_amount_change, taker.report.collateral_amount_type) == (-6000, "BALANCE")
    assert (taker.report.aggressor_indicator, maker.report.aggressor_indicator) == ("Y", "N")
    assert taker.report.trd_match_id == maker.report.trd_match_id != ""
    assert taker.key == (maker.key[0], maker.key[1] + 1)
    assert trade == Print("M", 100_000, 200, 1)
    assert taker.report.avg_px == "10.0000"


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        ({"symbol": "X"}, "(1) MARKET_NOT_FOUND"),
        ({"qty": 150}, "(13) INVALID_ORDER"),
        ({"qty": 0}, "(13) INVALID_ORDER"),
        ({"price": 0}, "(11) INVALID_ORDER"),
        ({"price": 79_999}, "(11) INVALID_ORDER"),  # below 80 % of the best bid 10.0000
        ({"alloc_account": 64}, "(15) CUSTOMER_ACCOUNT_NOT_FOUND"),
        ({"party_id": "x", "party_role": "24"}, "(15) PERMISSION_DENIED_FOR_CUSTOMER_ACCOUNT"),
        ({"cl_ord_id": "a0"}, "(6) ORDER_ALREADY_EXISTS"),
        ({"secondary_cl_ord_id": "no"}, "(11) ORDER_GROUP_NOT_FOUND"),
        ({"qty": 10**9}, "(3) INSUFFICIENT_BALANCE"),
        ({"exec_inst": "6", "time_in_force": "3"}, "(11) INVALID_ORDER"),
    ],
)
def test_new_orders_are_refused_with_code_and_text(request_, refusal):
    desk = Desk(cash=10**9)
    desk.new("a", "a0", "1", 100, 100_000)
    request_ = {"cl_ord_id": "a1", "side": "1", "qty": 100, "price": 99_000} | request_
    (line,) = desk.new("a", **request_)
    assert line.endswith(f"8/8 leaves 0 cum 0 {refusal}")
    assert desk.levels() == [0, 100_000, 100]


def test_bands_allow_what_is_on_them_and_are_absent_without_orders():
    desk = Desk()
    assert desk.new("a", "a0", "1", 100, 1) == ["a a0 0/0 leaves 100 cum 0"]  # no bids yet: no band
    desk.new("a", "a1", "1", 100, 100_000)
    assert desk.new("a", "a2", "1", 100, 80_000)[0].startswith("a a2 0/0")
    desk.new("b", "s1", "2", 100, 110_000)
    assert desk.new("b", "s2", "2", 100, 132_000)[0].startswith("b s2 0/0")
    assert desk.new("b", "s3", "2", 100, 132_001)[0].endswith("(11) INVALID_ORDER")


def test_cheap_markets_have_a_band_of_a_thousand_ticks():
    desk = Desk()
    desk.new("b", "s1", "2", 100, 2000)
    assert desk.new("b", "s2", "2", 100, 3000)[0].startswith("b s2 0/0")
    assert desk.new("b", "s3", "2", 100, 3001)[0].endswith("INVALID_ORDER")


@pytest.mark.parametrize(
    ("more", "lines", "levels"),
    [
        ({"exec_inst": "6"}, ["a t 4/4 leaves 0 cum 0 POST_ONLY_CROSS"], [1, 100_000, 200, 1, 100_100, 200]),
        (
            {"time_in_force": "4"},
            ["a t 4/4 leaves 0 cum 0 FOK_INSUFFICIENT_VOLUME"],
            [1, 100_000, 200, 1, 100_100, 200],
        ),
        (
            {"time_in_force": "3"},
            [
                "b s1 F/2 leaves 0 cum 200 200@100000",
                "a t F/1 leaves 300 cum 200 200@100000",
                "a t 4/4 leaves 0 cum 200 IMMEDIATE_OR_CANCELLED",
            ],
            [1, 100_100, 200],
        ),
    ],
)
def test_post_only_fok_and_ioc_end_as_cancels(more, lines, levels):
    desk = Desk()
    desk.new("b", "s1", "2", 200, 100_000)
    desk.new("b", "s2", "2", 200, 100_100)
    assert desk.new("a", "t", "1", 500, 100_000, **more) == lines
    assert desk.levels() == levels


def test_a_fok_with_enough_volume_fills_over_several_levels():
    desk = Desk()
    desk.new("b", "s1", "2", 200, 100_000)
    desk.new("b", "s2", "2", 200, 100_100)
    assert (
        desk.new("a", "t", "1", 300, 100_100, time_in_force="4")[-1] == "a t F/2 leaves 0 cum 300 100@100100"
    )


def test_without_21007_nothing_says_that_the_rest_of_a_partly_filled_ioc_is_gone():
    desk = Desk(Flags(skip_pending=True))
    desk.new("b", "s1", "2", 200, 100_000)
    assert desk.new("a", "t", "1", 500, 100_000, time_in_force="3") == [
        "b s1 F/2 leaves 0 cum 200 200@100000",
        "a t F/1 leaves 300 cum 200 200@100000",
    ]
    assert desk.exchange.open == {}
    assert desk.new("a", "t2", "1", 500, 100_000, time_in_force="3") == [
        "a t2 4/4 leaves 0 cum 0 IMMEDIATE_OR_CANCELLED"
    ]


def test_a_gtd_of_the_past_acts_as_ioc_and_others_expire():
    desk = Desk()
    assert desk.new("a", "g1", "1", 100, 99_000, time_in_force="6", expire_time_ns=T0) == [
        "a g1 4/4 leaves 0 cum 0 IMMEDIATE_OR_CANCELLED"
    ]
    desk.new("a", "g2", "1", 100, 99_000, time_in_force="6", expire_time_ns=T0 + SECOND)
    desk.new("a", "d1", "1", 100, 98_000, time_in_force="0")
    assert desk.exchange.next_expiry_ns == T0 + SECOND
    assert told(desk.exchange.expire(Now(T0 + SECOND, 0))) == ["a g2 C/C leaves 0 cum 0"]
    assert desk.exchange.next_expiry_ns == parse_fix_time("20261125-04:59:59.999")


def test_expiry_is_a_cancel_without_21012():
    desk = Desk(Flags(skip_pending=True))
    desk.new("a", "g2", "1", 100, 99_000, time_in_force="6", expire_time_ns=T0 + SECOND)
    assert told(desk.exchange.expire(Now(T0 + SECOND, 0))) == ["a g2 4/4 leaves 0 cum 0"]


@pytest.mark.parametrize(
    ("at", "ends"),
    [
        ("20260701-12:00:00.000", "20260702-03:59:59.999"),  # daylight saving time
        ("20260702-03:59:59.999", "20260702-03:59:59.999"),
        ("20260702-04:00:00.000", "20260703-03:59:59.999"),
        ("20261101-04:30:00.000", "20261102-04:59:59.999"),  # the day with 25 hours
        ("20260308-06:00:00.000", "20260309-03:59:59.999"),  # the day with 23 hours
    ],
)
def test_a_day_ends_at_midnight_in_new_york_less_a_millisecond(at, ends):
    assert Desk().exchange.day_end(parse_fix_time(at)) == parse_fix_time(ends)


def test_self_trade_prevention_ends_the_taker_or_takes_the_maker_out():
    desk = Desk()
    desk.new("a", "s1", "2", 200, 100_000)
    assert desk.new("a", "t1", "1", 100, 100_000) == [
        "a t1 4/4 leaves 0 cum 0 TAKER_CANCEL_FOR_SELF_TRADE_PREVENTION"
    ]
    assert desk.new("a", "t2", "1", 100, 100_000, self_trade_prevention_type="2") == [
        "a s1 4/4 leaves 0 cum 0 MAKER_CANCEL_FOR_SELF_TRADE_PREVENTION",
        "a t2 0/0 leaves 100 cum 0",
    ]


def test_less_quantity_keeps_priority_more_or_another_price_loses_it():
    desk = Desk()
    for name in ("a1", "a2"):
        desk.new("a", name, "2", 300, 100_000)
    assert desk.replace("a", "a1x", "a1", 200, side="2") == ["a a1x 5/5 leaves 200 cum 0"]
    assert desk.new("b", "t1", "1", 100, 100_000)[0] == "a a1x F/1 leaves 100 cum 100 100@100000"
    assert desk.replace("a", "a1y", "a1x", 300, side="2") == ["a a1y 5/5 leaves 200 cum 100"]
    assert desk.new("b", "t2", "1", 100, 100_000)[0] == "a a2 F/1 leaves 200 cum 100 100@100000"
    assert desk.replace("a", "a2x", "a2", 300, 100_100, side="2") == ["a a2x 5/5 leaves 200 cum 100"]
    assert desk.levels() == [1, 100_000, 200, 1, 100_100, 200]


def test_an_amend_to_what_is_filled_cancels_and_below_is_refused():
    desk = Desk()
    desk.new("a", "a1", "1", 300, 100_000)
    desk.new("b", "s1", "2", 200, 100_000)
    assert desk.replace("a", "a2", "a1", 100) == ["a a2 refused 2 (2) INVALID_AMEND_QTY_FOR_ORDER 1"]
    assert desk.replace("a", "a3", "a1", 200) == ["a a3 4/4 leaves 0 cum 200"]
    assert desk.replace("b", "s2", "s1", 300, side="2") == ["b s2 refused 2 (2) CANNOT_UPDATE_FILLED_ORDER 2"]
    desk.new("a", "b1", "1", 300, 100_000)
    assert desk.replace("a", "b2", "b1", 0) == [
        "a b2 4/4 leaves 0 cum 0"
    ]  # nothing is filled, nothing is wanted


def test_an_amend_across_the_book_trades_after_its_replaced():
    desk = Desk()
    desk.new("a", "s1", "2", 100, 100_100)
    desk.new("b", "b1", "1", 300, 100_000)
    assert desk.replace("b", "b2", "b1", 300, 100_100) == [
        "b b2 5/5 leaves 300 cum 0",
        "a s1 F/2 leaves 0 cum 100 100@100100",
        "b b2 F/1 leaves 200 cum 100 100@100100",
    ]
    assert desk.exchange.accounts["b"].position("M").buy_notional == 200 * 100_100


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"orig": "no"}, "(1) ORDER_NOT_FOUND 8"),
        ({"side": "2"}, "(99) INVALID_ORDER 0"),
        ({"alloc_account": 1}, "(99) INVALID_ORDER 0"),
        ({"order_id": "no"}, "(1) ORDER_NOT_FOUND 8"),
        ({"orig": "done"}, "(0) TOO_LATE 4"),
    ],
)
def test_cancels_and_replaces_must_name_and_match_an_open_order(more, refusal):
    desk = Desk()
    desk.new("a", "done", "1", 100, 100_000)
    desk.cancel("a", "c0", "done")
    desk.new("a", "a1", "1", 100, 100_000)
    more = {"orig": "a1"} | more
    assert desk.cancel("a", "c1", **more) == [f"a c1 refused 1 {refusal}"]
    assert desk.replace("a", "c1", qty=200, **more) == [f"a c1 refused 2 {refusal}"]


def test_amends_are_held_to_ids_bands_self_cross_post_only_and_balance():
    desk = Desk(cash=2 * 10**6)
    desk.new("a", "a1", "1", 100, 100_000, exec_inst="6")
    assert desk.replace("a", "a1", "a1", 100, 100_000) == ["a a1 refused 2 (6) ORDER_ALREADY_EXISTS 0"]
    assert desk.replace("a", "x", "a1", 100, 70_000) == ["a x refused 2 (99) INVALID_ORDER 0"]
    assert desk.replace("a", "x", "a1", 300) == ["a x refused 2 (99) INSUFFICIENT_BALANCE 0"]
    desk.new("b", "s1", "2", 100, 101_000)
    assert desk.replace("a", "x", "a1", 100, 101_000) == ["a x refused 2 (99) POST_ONLY_CROSS 0"]
    desk.new("b", "b1", "1", 100, 99_000)
    assert desk.replace("b", "x", "b1", 100, 101_000) == ["b x refused 2 (18) SELF_CROSS_ATTEMPT 0"]


def test_pending_reports_come_first_and_carry_no_key():
    desk = Desk(Flags())
    assert desk.new("a", "a1", "1", 100, 100_000) == [
        "a a1 A/A leaves 100 cum 0",
        "a a1 0/0 leaves 100 cum 0",
    ]
    assert desk.replace("a", "a2", "a1", 200) == ["a a2 E/E leaves 100 cum 0", "a a2 5/5 leaves 200 cum 0"]
    request = OrderCancelRequest(cl_ord_id="a3", orig_cl_ord_id="a2", symbol="M", side="1")
    pending, canceled = desk.exchange.cancel(desk.owners["a"], request, desk.now)
    assert (pending.report.exec_id, pending.report.exec_type, pending.key) == ("-1;-1", "6", None)
    assert (canceled.report.cl_ord_id, canceled.report.orig_cl_ord_id) == ("a3", "a2")
    assert canceled.report.order_qty == 0  # 21008=N: OrderQty is LeavesQty + CumQty


def test_exec_ids_only_grow():
    desk = Desk()
    keys = []
    for number in range(20):
        request = NewOrderSingle(
            cl_ord_id=f"a{number}", symbol="M", side=str(1 + number % 2), order_qty=100, price=100_000
        )
        events = desk.exchange.new_order(desk.owners["ab"[number % 2]], request, desk.now)
        keys += [event.key for event in events if isinstance(event, Report)]
    assert keys == sorted(set(keys))


def test_a_trading_pause_lets_cancels_through_and_an_exchange_pause_nothing():
    desk = Desk()
    desk.new("a", "a1", "1", 100, 100_000)
    desk.new("a", "a2", "1", 100, 100_000, cancel_order_on_pause=True)
    desk.new("a", "a3", "1", 100, 100_000)
    assert told(desk.exchange.pause("trading", desk.now)) == ["a a2 4/4 leaves 0 cum 0"]
    assert desk.new("a", "a4", "1", 100, 100_000) == ["a a4 8/8 leaves 0 cum 0 (2) TRADING_PAUSED"]
    assert desk.replace("a", "x", "a1", 200) == ["a x refused 2 (99) TRADING_PAUSED 0"]
    assert desk.cancel("a", "c1", "a1") == ["a c1 4/4 leaves 0 cum 0"]
    desk.exchange.pause("exchange", desk.now)
    assert desk.new("a", "a5", "1", 100, 100_000) == ["a a5 8/8 leaves 0 cum 0 (2) EXCHANGE_PAUSED"]
    assert desk.cancel("a", "c3", "a3") == ["a c3 refused 1 (99) EXCHANGE_PAUSED 0"]
    desk.exchange.resume()
    assert desk.cancel("a", "c3", "a3") == ["a c3 4/4 leaves 0 cum 0"]


@pytest.mark.parametrize("again", [True, False])
def test_the_id_of_a_closed_order_comes_again_as_configured(again):
    desk = Desk(closed_ids_again=again)
    desk.new("a", "a1", "1", 100, 100_000)
    desk.cancel("a", "c1", "a1")
    (line,) = desk.new("a", "a1", "1", 100, 100_000)
    assert line == (
        "a a1 0/0 leaves 100 cum 0" if again else "a a1 8/8 leaves 0 cum 0 (6) ORDER_ALREADY_EXISTS"
    )


def test_closed_orders_are_forgotten_after_three_hours():
    desk = Desk()
    desk.new("a", "a1", "1", 100, 100_000)
    desk.cancel("a", "c1", "a1")
    desk.now = Now(T0 + 3 * 3600 * SECOND + 1, 0)
    assert desk.new("a", "a1", "1", 100, 100_000) == ["a a1 0/0 leaves 100 cum 0"]


@pytest.mark.parametrize(
    ("fault", "line", "rests"),
    [
        (Fault("unavailable", r.EXCHANGE_UNAVAILABLE), "EXCHANGE_UNAVAILABLE", False),
        (Fault("unavailable_applied", r.EXCHANGE_UNAVAILABLE), "EXCHANGE_UNAVAILABLE", True),
        (Fault("refuse", r.INTERNAL_ERROR), "INTERNAL_ERROR", False),
    ],
)
def test_unavailable_may_or_may_not_be_applied_and_internal_error_never_is(fault, line, rests):
    desk = Desk()
    desk.exchange.fault = fault
    request = NewOrderSingle(
        cl_ord_id="a1", symbol="M", side="1", order_qty=100, price=100_000, time_in_force="1"
    )
    events = desk.exchange.new_order(desk.owners["a"], request, desk.now)
    assert told(event for event in events if not event.hidden) == [f"a a1 8/8 leaves 0 cum 0 (99) {line}"]
    assert bool(desk.exchange.open) is rests
    assert desk.exchange.fault is None


@pytest.mark.parametrize("of", ["replace", "cancel"])
@pytest.mark.parametrize("applied", [True, False])
def test_an_amend_or_cancel_may_be_unavailable_too(of, applied):
    """35=9 with EXCHANGE_UNAVAILABLE says nothing of what became of it; drop copy has the report when it was applied."""
    desk = Desk()
    desk.new("a", "a1", "1", 300, 100_000)
    kind = "unavailable_applied" if applied else "unavailable"
    desk.exchange.fault = Fault(kind, r.EXCHANGE_UNAVAILABLE, of=of)
    assert desk.new("b", "b1", "1", 100, 99_900) == [
        "b b1 0/0 leaves 100 cum 0"
    ]  # the fault is not for new orders
    owner = desk.owners["a"]
    if of == "cancel":
        request = OrderCancelRequest(cl_ord_id="x", orig_cl_ord_id="a1", symbol="M", side="1")
        events = desk.exchange.cancel(owner, request, desk.now)
    else:
        request = OrderCancelReplaceRequest(
            cl_ord_id="x", orig_cl_ord_id="a1", symbol="M", side="1", order_qty=200
        )
        events = desk.exchange.replace(owner, request, desk.now)
    hidden = [event for event in events if isinstance(event, Report) and event.hidden]
    rest = [event for event in events if event not in hidden]
    assert told(rest) == [f"a x refused {'1' if of == 'cancel' else '2'} (99) EXCHANGE_UNAVAILABLE 0"]
    assert [event.report.exec_type for event in hidden] == (
        [] if not applied else ["4" if of == "cancel" else "5"]
    )
    left = {True: {"cancel": [], "replace": [200]}, False: {"cancel": [300], "replace": [300]}}[applied][of]
    assert [order.leaves for order in desk.exchange.open.values() if order.account == "a"] == left


def test_what_open_orders_may_still_trade_is_counted_as_they_change():
    """The market's own limits are held against it; it is what the open orders say, whatever happened to them."""
    desk = Desk()
    desk.new("a", "a1", "1", 300, 100_000)
    desk.new("a", "a2", "1", 500, 99_900)
    desk.new("b", "s1", "2", 400, 99_900)
    desk.replace("a", "a3", "a2", 600)
    desk.replace("a", "a4", "a3", 200)
    desk.new("b", "i1", "2", 900, 99_900, time_in_force="3")
    desk.new("a", "a5", "1", 700, 99_000)
    desk.cancel("a", "x", "a5")
    for account in desk.exchange.accounts.values():
        held = account.position("M")
        mine = [order for order in desk.exchange.open.values() if order.account == account.name]
        assert held.buy_qty == sum(order.leaves for order in mine if order.side == 1)
        assert held.sell_qty == sum(order.leaves for order in mine if order.side == 2)


def test_a_price_off_the_markets_tick_is_refused():
    """103=11 of a new order, 102=18 (price increment) of an amend."""
    desk = Desk()
    desk.exchange.markets["M"] = Market(symbol="M", price=100_000, tick=100)
    assert desk.new("a", "a1", "1", 100, 100_050) == ["a a1 8/8 leaves 0 cum 0 (11) INVALID_ORDER"]
    desk.new("a", "a2", "1", 100, 100_000)
    assert desk.replace("a", "a3", "a2", 100, 100_050) == ["a a3 refused 2 (18) INVALID_ORDER 0"]


def test_a_triggered_group_cancels_its_orders_and_refuses_new_ones():
    desk = Desk()
    group = Group(group_id_of(1), "a", 2, None)
    desk.exchange.groups[group.group_id] = group
    desk.new("a", "g1", "1", 300, 100_000, secondary_cl_ord_id=group.group_id)
    desk.new("a", "g2", "1", 100, 99_000, secondary_cl_ord_id=group.group_id)
    assert desk.new("b", "s1", "2", 300, 100_000) == [
        "a g1 F/2 leaves 0 cum 300 300@100000",
        "b s1 F/2 leaves 0 cum 300 300@100000",
        "a g2 4/4 leaves 0 cum 0 ORDER_GROUP_CANCEL",
    ]
    (line,) = desk.new("a", "g3", "1", 100, 99_000, secondary_cl_ord_id=group.group_id)
    assert line.endswith("(3) EXCEEDED_ORDER_GROUP_RISK_LIMIT")


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["new", "new", "new", "replace", "cancel"]),
        st.sampled_from("ab"),
        st.sampled_from("12"),
        st.integers(1, 6),  # contracts
        st.integers(-6, 6),  # ticks of 0.01 around 10.00
        st.sampled_from(["1", "1", "3", "4", "0"]),
        st.sampled_from(["", "2"]),
        st.booleans(),
        st.integers(0, 12),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(REQUESTS, st.booleans())
def test_money_is_conserved_no_book_crosses_and_quantities_add_up(requests, with_flow):
    desk = Desk(cash=10**10)
    exchange = desk.exchange
    exchange.accounts |= {name: Account(name, 0, synthetic=True) for name in (MAKER, TAKER)}
    flow = Flow(exchange, [FlowMarket(symbol="M", price=100_000, volatility_bp=50, step=100, spread_steps=2, levels=3, level_qty=5, trades_per_s=20)], 500, random.Random(1))  # fmt: skip
    flow.start(0)
    filled = Counter()
    for number, (kind, who, side, contracts, ticks, tif, stp, post_only, pick) in enumerate(requests):
        desk.now = Now(T0 + number * 10**8, number * 10**8)
        owner, name, price = desk.owners[who], f"o{number}", 100_000 + 100 * ticks
        mine = list(owner.orders.values())
        if with_flow:
            exchange.begin(desk.now)
            flow.step(desk.now.mono_ns)
            exchange.end()
        if kind == "new" or not mine:
            exec_inst = "6" if post_only and tif in "01" else ""
            desk.new(
                who,
                name,
                side,
                contracts * 100,
                price,
                time_in_force=tif,
                self_trade_prevention_type=stp,
                exec_inst=exec_inst,
            )
        else:
            target = mine[pick % len(mine)]
            if kind == "cancel":
                desk.cancel(who, name, target.cl_ord_id, str(target.side))
            else:
                desk.replace(who, name, target.cl_ord_id, contracts * 100, price, str(target.side))
        check(desk, filled)


def check(desk, filled):
    exchange = desk.exchange
    book = exchange.books["M"]
    bid, ask = book.bids.best_price(), book.asks.best_price()
    assert bid is None or ask is None or bid < ask
    accounts = exchange.accounts.values()
    assert sum(a.position("M").qty for a in accounts) == 0
    assert sum(a.cash + a.fees - a.position("M").cost for a in accounts) == 2 * 10**10
    reserved = Counter()
    for order in exchange.open.values():
        assert order.leaves + order.cum == order.qty and order.leaves > 0
        assert order.level is not None and order in order.level.orders
        reserved[order.account, order.side] += order.leaves * order.price
    for account in "ab":
        position = exchange.accounts[account].position("M")
        assert (position.buy_notional, position.sell_notional) == (reserved[account, 1], reserved[account, 2])
    for half in (book.bids, book.asks):
        assert all(level.qty == sum(o.leaves for o in level.orders) > 0 for level in half.levels.values())
        assert sorted(half.keys) == half.keys and len(half.keys) == len(half.levels)
