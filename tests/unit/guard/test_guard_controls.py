"""Every pre-trade control at, under and over its limit. Prices in 1/10000 $, quantities in 1/100 contract."""

import pytest
from msgspec import structs

from engine.messages.commands import Approved, CancelOrder, NewOrder, Refused, ReplaceOrder
from engine.messages.market_data import FeedState

BTC, ETH = "BTC-PERP", "ETH-PERP"


def test_an_order_within_all_limits_is_approved_with_number_and_expiry(rig):
    """Approved carries the epoch, a dense number from 1, the strategy and an expiry of command_expiry_ms."""
    first, second = rig.new(price=99_00), rig.new(price=98_00)
    assert isinstance(first, Approved)
    assert (first.no, second.no, first.epoch, first.strategy) == (1, 2, rig.guard.commander.epoch, 1)
    assert first.expires_ns == rig.now.mono_ns + 500_000_000


@pytest.mark.parametrize(
    ("qty", "control"),
    [(0, "form"), (-100, "form"), (50, "form"), (100, None), (1000, None), (1100, "max_qty")],
)
def test_quantity_is_whole_contracts_and_at_most_max_order_qty(rig, qty, control):
    assert rig.control(qty=qty, price=99_00) == control


def test_quantity_limit_of_the_narrowest_scope_is_the_one_named(make):
    rig = make(risk__markets__btc__max_order_qty="5")
    refused = rig.new(qty=600, price=99_00)
    assert (refused.control, refused.scope, refused.limit, refused.value) == (
        "max_qty",
        "market BTC-PERP",
        500,
        600,
    )


@pytest.mark.parametrize(
    ("price", "control"), [(0, "form"), (-100, "form"), (99_50, "form"), (99_00, None), (10**20, "form")]
)
def test_price_is_a_positive_multiple_of_the_tick(rig, price, control):
    """tick 0.0100 is 100 in units of 1/10000 dollar."""
    assert rig.control(price=price) == control


def test_notional_limit_is_inclusive(make):
    """10 contracts at 1.00 is 10 dollars = 1000 * 10000 millionths."""
    rig = make(strategies__alpha__limits={**LIMITS, "max_order_notional": "10.00"})
    rig.top(BTC, 1_00_00, 1_01_00)
    assert rig.control(qty=1000, price=1_00_00) is None
    assert rig.control(qty=1000, price=1_01_00) == "max_notional"


LIMITS = {
    "max_order_qty": "10", "max_order_notional": "1000.00", "max_position": "20", "max_open_orders": 8,
    "max_gross_notional": "4000.00", "max_unacknowledged": 6, "max_loss": "50.00",
}  # fmt: skip


@pytest.mark.parametrize(
    ("side", "price", "control"),
    [
        (1, 50_0000 + 1_0000 + 5100, None),
        (1, 51_0000 + 5101, "collar"),
        (2, 49_0000 - 4900, None),
        (2, 49_0000 - 4901, "collar"),
    ],
)
def test_aggressive_price_is_held_by_the_collar(rig, side, price, control):
    """ETH: bid 49, ask 51, collar 100 bp: a buy up to 51.51, a sell down to 48.51; tick 0.0001."""
    assert rig.control(side=side, price=price, symbol=ETH) == control


def test_collar_without_an_offer_is_measured_from_the_last_trade(rig):
    rig.top(ETH, 49_0000, 0, last=50_0000)
    assert rig.control(side=1, price=50_5000, symbol=ETH) is None
    assert rig.control(side=1, price=50_5001, symbol=ETH) == "collar"


@pytest.mark.parametrize(
    ("side", "price", "control"),
    [(1, 39_2000, None), (1, 39_1999, "band"), (2, 61_2000, None), (2, 61_2001, "band")],
)
def test_passive_price_is_held_by_the_venues_band(rig, side, price, control):
    """venue.md section 4: 80 % of the best bid 49 is 39.2; 120 % of the best ask 51 is 61.2."""
    assert rig.control(side=side, price=price, symbol=ETH) == control


def test_band_of_a_cheap_market_is_a_thousand_ticks(rig):
    """bid 0.2000: 80 % is 0.1600, 1000 ticks below is 0.1000: the lower counts."""
    rig.top(ETH, 2000, 2010)
    assert rig.control(side=1, price=1000, symbol=ETH) is None
    assert rig.control(side=1, price=999, symbol=ETH) == "band"


def test_no_orders_on_a_side_means_no_band(rig):
    rig.top(ETH, 0, 51_0000)
    assert rig.control(side=1, price=1, symbol=ETH) is None


@pytest.mark.parametrize("state", [s for s in FeedState if s is not FeedState.LIVE])
def test_only_a_live_book_may_be_traded_on(rig, state):
    rig.top(BTC, 99_00, 101_00, state=state)
    assert rig.control(price=99_00) == "market"
    assert rig.control(price=50_0000, symbol=ETH) is None


def test_a_book_that_is_empty_on_both_sides_is_refused(rig):
    rig.top(BTC, 0, 0)
    assert rig.control(price=99_00) == "market"


def test_silent_market_data_is_refused_at_the_limit(rig):
    """stale_feed_ms is 1000."""
    limit = rig.now.mono_ns + 1_000_000_000
    rig.now = structs.replace(rig.now, mono_ns=limit)
    rig.oe_beat()
    assert rig.control(price=99_00) is None
    rig.now = structs.replace(rig.now, mono_ns=limit + 1)
    assert rig.control(price=99_00) == "market"


def test_silent_order_entry_is_refused_before_the_gate_notices(rig):
    rig.now = structs.replace(rig.now, mono_ns=rig.now.mono_ns + 1_000_000_001)
    assert rig.control(price=99_00) == "gate"


@pytest.mark.parametrize(("age_ns", "control"), [(500_000_000, None), (500_000_001, "age")])
def test_an_intent_older_than_intent_max_age_is_refused(rig, age_ns, control):
    assert rig.control(price=99_00, made_ns=rig.now.mono_ns - age_ns) == control


@pytest.mark.parametrize(
    ("more", "control"),
    [
        ({"tif": "6"}, "form"), ({"tif": "9"}, "form"), ({"tif": "3", "post_only": True}, "form"), ({"stp": 3}, "form"),
        ({"group": "a\x01b"}, "form"), ({"group": "g" * 65}, "form"), ({"group": "g" * 64}, None), ({"tif": "0"}, None),
    ],
)  # fmt: skip
def test_codes_and_texts_have_the_venues_form(rig, more, control):
    """Nothing that could carry SOH passes; a GTD must end in the future."""
    assert rig.control(price=99_00, **more) == control


def test_a_gtd_in_the_future_passes(rig):
    assert rig.control(price=99_00, tif="6", expire_ns=rig.now.wall_ns + 1) is None
    assert rig.control(price=98_00, tif="6", expire_ns=rig.now.wall_ns) == "form"


def test_a_side_that_is_neither_is_refused(rig):
    assert rig.control(side=3, price=99_00) == "form"


def test_a_market_that_is_not_the_strategys_is_refused(rig):
    assert rig.control(slot=2, symbol=ETH, price=50_0000) == "symbol"


def test_open_orders_are_counted_from_approval(make):
    rig = make(strategies__alpha__limits={**LIMITS, "max_open_orders": 2})
    first = rig.rest(price=99_00)
    assert rig.control(price=98_00) is None
    assert rig.control(price=97_00) == "open_orders"
    rig.end(first)
    assert rig.control(price=97_00) is None


def test_unacknowledged_requests_are_counted_until_the_venue_answers(make):
    """The engine's own `submitted` is no answer, `new` is."""
    rig = make(strategies__alpha__limits={**LIMITS, "max_unacknowledged": 2})
    first, second = rig.new(price=99_00), rig.new(price=98_00)
    assert rig.control(price=97_00) == "unacknowledged"
    rig.submitted(first)
    assert rig.control(price=97_00) == "unacknowledged"
    rig.event(
        "new",
        "NEW",
        first.request.cl_ord_id,
        leaves_qty=100,
        request_id=first.request.cl_ord_id,
        **rig.terms(first),
    )
    assert rig.control(price=97_00) is None
    assert isinstance(second, Approved)


@pytest.mark.parametrize(("side", "sign"), [(1, 1), (2, -1)])
def test_worst_case_position_is_held_and_opens_of_one_side_add_up(rig, side, sign):
    """max_position 20: 12 held, 5 open, so 3 more pass and 4 do not."""
    price = 99_00 if side == 1 else 101_00
    rig.hold(sign * 1200)
    rig.rest(side=side, qty=500, price=price)
    assert rig.control(side=side, qty=400, price=price) == "max_position"
    assert rig.control(side=side, qty=300, price=price) is None


def test_opens_of_the_other_side_do_not_help(rig):
    rig.hold(1900)
    rig.rest(side=2, qty=1000, price=101_00)
    assert rig.control(side=1, qty=200, price=99_00) == "max_position"


def test_outside_a_limit_only_what_reduces_passes(rig):
    """30 held, 20 allowed: sells pass down to flat and on to the limit of the other side, buys don't."""
    rig.hold(3000)
    assert rig.control(side=1, qty=100, price=99_00) == "max_position"
    assert rig.control(side=2, qty=1000, price=101_00) is None
    assert rig.control(side=2, qty=1000, price=101_00) is None
    assert rig.control(side=2, qty=1000, price=101_00) is None
    assert rig.control(side=2, qty=1000, price=101_00) is None
    assert rig.control(side=2, qty=1000, price=101_00) is None  # -20 at worst
    assert rig.control(side=2, qty=100, price=101_00) == "max_position"


def test_a_strategys_position_is_summed_over_its_markets(rig):
    rig.hold(1500, symbol=ETH, price=50_0000)
    assert rig.control(qty=600, price=99_00) == "max_position"
    assert rig.control(qty=500, price=99_00) is None


def test_market_limit_counts_all_strategies_net(rig):
    """market BTC-PERP allows 30: alpha 20, beta 10, no more."""
    rig.hold(2000, slot=1)
    refused = rig.new(slot=2, qty=1000, price=99_00)
    assert isinstance(refused, Approved)
    refused = rig.new(slot=2, qty=100, price=99_00)
    assert (refused.control, refused.scope) == ("max_position", "market BTC-PERP")


def test_gross_notional_is_positions_at_mark_and_orders_at_price(make):
    """ETH mark 50: 10 held is 500 $; orders of 500.00 $ in all fit under 1000.00."""
    rig = make(strategies__alpha__limits={**LIMITS, "max_gross_notional": "1000.00"})
    rig.hold(1000, symbol=ETH, price=50_0000)
    rig.rest(qty=900, price=50_0000, symbol=ETH)
    assert rig.control(qty=100, price=50_0001, symbol=ETH) == "max_gross"
    assert rig.control(qty=100, price=50_0000, symbol=ETH) is None


def test_gross_notional_lets_an_order_pass_that_only_reduces(make):
    rig = make(strategies__alpha__limits={**LIMITS, "max_gross_notional": "500.00"})
    rig.hold(1000, symbol=ETH, price=50_0000)
    assert rig.control(side=1, qty=100, price=50_0000, symbol=ETH) == "max_gross"
    assert rig.control(side=2, qty=1000, price=50_0000, symbol=ETH) is None
    assert rig.control(side=2, qty=100, price=50_0000, symbol=ETH) == "max_gross"


def test_gross_notional_follows_the_mark(make):
    rig = make(strategies__alpha__limits={**LIMITS, "max_gross_notional": "1000.00", "max_loss": "100000"})
    rig.hold(1000, symbol=ETH, price=50_0000)
    rig.top(ETH, 94_0000, 96_0000)  # mark 95: 950 $
    assert rig.control(qty=100, price=99_00, symbol=BTC) is None  # 0.99 $ a contract
    assert rig.control(qty=100, price=95_0000, symbol=ETH) == "max_gross"


def test_reduce_only_must_fit_into_the_strategys_position(rig):
    rig.hold(500)
    assert rig.control(side=2, qty=500, price=101_00, reduce_only=True) is None
    assert rig.control(side=2, qty=100, price=101_00, reduce_only=True) == "reduce_only"
    assert rig.control(side=1, qty=100, price=99_00, reduce_only=True) == "reduce_only"


def test_self_cross_with_another_strategys_resting_order_is_refused(rig):
    """beta sells at 100.00; alpha may not buy there, beta itself may (the venue's STP acts)."""
    rig.rest(slot=2, side=2, price=100_00)
    assert rig.control(slot=1, side=1, price=100_00) == "self_cross"
    assert rig.control(slot=1, side=1, price=99_00) is None
    assert rig.control(slot=2, side=1, price=100_00) is None


def test_self_cross_is_forgotten_with_the_order(rig):
    resting = rig.rest(slot=2, side=1, price=100_00)
    assert rig.control(slot=1, side=2, price=100_00) == "self_cross"
    rig.end(resting)
    assert rig.control(slot=1, side=2, price=100_00) is None


def test_an_ioc_does_not_rest(rig):
    rig.new(slot=2, side=2, price=100_00, tif="3")
    assert rig.control(slot=1, side=1, price=100_00) is None


def test_the_same_order_again_within_the_window_is_refused(make):
    rig = make(risk__duplicate_window_ms=100)
    assert rig.control(price=99_00) is None
    assert rig.control(price=99_00) == "duplicate"
    assert rig.control(price=98_00) is None
    rig.wait(100)
    assert rig.control(price=99_00) is None


def test_a_cl_ord_id_that_is_in_use_is_refused(rig):
    approved = rig.new(price=99_00)
    rig.give(approved.request, "strategy.alpha")
    assert rig.answer().control == "duplicate"


def test_a_wrong_slot_is_refused_counted_and_alarmed_once(rig):
    """A worker speaks for its own slot only: peer and ClOrdID must agree."""
    for _ in range(3):
        rig.out.all.clear()
        rig.give(NewOrder(cl_ord_id=rig.ids[2](), symbol=BTC, side=1, qty=100, price=99_00), "strategy.alpha")
        assert rig.answer().control == "slot"
    assert rig.guard.intake.slot_violations == 3
    assert len([line for line in rig.out.log_lines if line[0] == "alert"]) == 1


@pytest.mark.parametrize("peer", ["tool.ctl.1", "strategy.gamma", "order_entry"])
def test_only_configured_workers_send_orders(rig, peer):
    rig.out.all.clear()
    rig.give(NewOrder(cl_ord_id=rig.ids[1](), symbol=BTC, side=1, qty=100, price=99_00), peer)
    assert rig.answer().control == "slot"


def test_an_id_that_is_not_of_our_layout_is_refused(rig):
    rig.out.all.clear()
    rig.give(NewOrder(cl_ord_id="a\x0135=D", symbol=BTC, side=1, qty=100, price=99_00), "strategy.alpha")
    assert rig.answer().control == "slot"


def test_loss_reaching_the_limit_latches_the_strategy(rig):
    """max_loss 50.00: 10 bought at 100 ETH-dollars... 10 contracts fall by 4.99, then by 5.00."""
    rig.hold(1000, symbol=ETH, price=50_0000)
    rig.top(ETH, 45_0100, 45_0100)
    assert rig.control(qty=100, price=45_0100, symbol=ETH) is None
    rig.top(ETH, 45_0000, 45_0000)
    assert rig.control(qty=100, price=45_0000, symbol=ETH) == "halted"
    assert rig.control(slot=2, price=99_00) is None
    assert "loss limit" in rig.guard.report.latches()["strategy alpha"]


def test_fees_count_as_loss(rig):
    rig.hold(100, price=100_00, fee=50_000_000)
    assert rig.control(price=99_00) == "halted"


def cancel_of(rig, approved, slot=1, **changes):
    request = approved.request
    rig.out.all.clear()
    fields = {
        "cl_ord_id": rig.ids[slot](),
        "orig_cl_ord_id": request.cl_ord_id,
        "symbol": request.symbol,
        "side": request.side,
    }
    rig.give(CancelOrder(**{**fields, **changes}), {1: "strategy.alpha", 2: "strategy.beta"}[slot])
    return rig.answer()


def test_a_cancel_of_an_own_order_passes_even_in_flight(rig):
    approved = rig.new(price=99_00)
    assert isinstance(cancel_of(rig, approved), Approved)


def test_a_cancel_of_anothers_order_is_refused(rig):
    """Invariant 7: no worker cancels another's order."""
    approved = rig.rest(price=99_00)
    assert cancel_of(rig, approved, slot=2).control == "unknown_order"


def test_a_cancel_of_an_order_that_is_over_is_refused(rig):
    approved = rig.rest(price=99_00)
    rig.end(approved)
    assert cancel_of(rig, approved).control == "unknown_order"


def test_a_second_cancel_waits_for_the_first(rig):
    approved = rig.rest(price=99_00)
    assert isinstance(cancel_of(rig, approved), Approved)
    assert cancel_of(rig, approved).control == "duplicate"
    rig.wait(1000)
    assert isinstance(cancel_of(rig, approved), Approved)


def test_a_cancel_must_name_its_orders_side_and_market(rig):
    approved = rig.rest(price=99_00)
    assert cancel_of(rig, approved, side=2).control == "form"
    assert cancel_of(rig, approved, symbol=ETH).control == "form"


def replace_of(rig, approved, qty, price, slot=1, **changes):
    request = approved.request
    rig.out.all.clear()
    fields = {
        "cl_ord_id": rig.ids[slot](), "orig_cl_ord_id": request.cl_ord_id, "symbol": request.symbol,
        "side": request.side, "qty": qty, "price": price,
    }  # fmt: skip
    rig.give(ReplaceOrder(**{**fields, **changes}), {1: "strategy.alpha", 2: "strategy.beta"}[slot])
    return rig.answer()


def test_a_replace_is_judged_by_what_it_adds(rig):
    """max_position 20: 10 held and 6 open; to 10 in all passes, to 11 it would not (max_qty is 10 anyway)."""
    rig.hold(1100)
    approved = rig.rest(qty=600, price=99_00)
    assert replace_of(rig, approved, 1000, 99_00).control == "max_position"
    assert isinstance(replace_of(rig, approved, 900, 99_00), Approved)


def test_the_size_of_a_replace_is_what_it_leaves_open(make):
    """max_order_qty 10, max_order_notional 10.00; 6 of 10 are filled, so a total of 16 leaves 10 open."""
    rig = make(strategies__alpha__limits={**LIMITS, "max_order_notional": "10.00"})
    approved = rig.rest(qty=1000, price=99_00)
    rig.fill(approved, 600, 99_00)
    assert replace_of(rig, approved, 1700, 98_00).control == "max_qty"
    assert replace_of(rig, approved, 1600, 101_00).control == "max_notional"
    assert isinstance(replace_of(rig, approved, 1600, 100_00), Approved)


def test_a_replace_below_what_is_filled_is_refused(rig):
    """venue.md section 4: a new total equal to what is filled cancels, below it is rejected."""
    approved = rig.rest(qty=600, price=99_00)
    rig.fill(approved, 300, 99_00)
    assert replace_of(rig, approved, 300, 99_00).control == "form"
    assert isinstance(replace_of(rig, approved, 400, 99_00), Approved)


def test_a_replace_of_anothers_order_is_refused(rig):
    approved = rig.rest(price=99_00)
    assert replace_of(rig, approved, 200, 99_00, slot=2).control == "unknown_order"


def test_a_second_replace_waits_for_the_first(rig):
    approved = rig.rest(price=99_00)
    assert isinstance(replace_of(rig, approved, 200, 99_00), Approved)
    assert replace_of(rig, approved, 300, 99_00).control == "form"


def test_refusals_are_published_once_a_second_with_their_count(rig):
    """A flood of refusals is one note a second."""
    rig.take()
    for _ in range(50):
        rig.give(NewOrder(cl_ord_id=rig.ids[1](), symbol=BTC, side=1, qty=50, price=99_00), "strategy.alpha")
    sent = [m for m in rig.take() if not isinstance(m, Refused)]
    assert [(n.control, n.count, n.strategy) for n in sent] == [("form", 1, 1)]
    rig.wait(1200)
    notes = [m for m in rig.take() if type(m).__name__ == "RefusalNote"]
    assert [(n.control, n.count) for n in notes] == [("form", 49)]
