"""Fills that CumQty told of and that did not come count as open, also of orders that are over, until they are known."""

import itertools

import msgspec
import pytest

from engine.messages.commands import Refused, Side
from engine.messages.executions import OrdersSnapshot, PositionState

BTC, ETH = "BTC-PERP", "ETH-PERP"


def counted(rig, slot=1):
    """Open buys and sells, the position, the worst of strategy, market and account, orders, gross of the account."""
    exposure = rig.guard.exposure
    line = exposure.line(slot, BTC)
    worst = [s.worst for s in (exposure.strategies[slot], exposure.market_scopes[BTC], exposure.account)]
    return line.open_buy, line.open_sell, line.position.qty, worst, line.open_orders


def over(rig, missing, kind="canceled", state="CANCELED", qty=1000, cum=0, side=Side.BUY):
    """An order of 10 contracts that ends while some of its fills are missing."""
    approved = rig.rest(side=side, qty=qty, price=99_00 if side == Side.BUY else 101_00)
    rig.end(approved, kind, state, missing_qty=missing, cum_qty=cum)
    return approved


def test_a_canceled_order_counts_the_fills_that_are_missing_of_it(rig):
    """In the strategy, the market and the account; it is no open order, and nothing of it rests."""
    approved = over(rig, 600)
    assert counted(rig) == (600, 0, 0, [600, 600, 600], 0)
    assert rig.guard.exposure.account.gross == 600 * 99_00
    assert not rig.guard.exposure.open
    said = msgspec.msgpack.decode(rig.guard.report.state(rig.now)["missing_fills"])
    assert said == {approved.request.cl_ord_id: 600}


def test_a_sale_counts_on_its_own_side(rig):
    over(rig, 600, side=Side.SELL)
    assert counted(rig) == (0, 600, 0, [600, 600, 600], 0)


def test_an_order_that_would_break_a_limit_with_them_is_refused(rig):
    """20 contracts are the strategy's limit, 16 are missing: 4 pass, 5 don't; a sale is judged by the other side."""
    over(rig, 1000)
    over(rig, 600)
    answer = rig.new(qty=500, price=99_00)
    assert isinstance(answer, Refused) and (answer.control, answer.limit) == ("max_position", 2000)
    assert rig.control(qty=400, price=99_00) is None
    assert rig.control(side=Side.SELL, qty=1000, price=101_00) is None


def test_reduce_only_does_not_sell_what_may_not_be_there_nor_twice(rig):
    """Missing purchases are no position yet; missing sales have taken it away already."""
    rig.hold(1000, 99_00)
    over(rig, 600, side=Side.SELL)
    assert rig.control(side=Side.SELL, qty=500, price=101_00, reduce_only=True) == "reduce_only"
    assert rig.control(side=Side.SELL, qty=400, price=101_00, reduce_only=True) is None


def late_fill(rig, approved, qty, cum, missing, **more):
    state = more.pop("state", "CANCELED")
    rig.event(
        "trade", state, approved.request.cl_ord_id, cum_qty=cum, last_qty=qty, last_px=98_00,
        exec_id=f"7;{rig.tape_no}", missing_qty=missing, **{"late": True, **rig.terms(approved), **more},
    )  # fmt: skip


def test_each_recovered_fill_releases_what_it_brings_and_no_more(rig):
    """The sum of position and missing stays; the last one leaves the position alone."""
    approved = over(rig, 600)
    late_fill(rig, approved, 200, 200, 400, source="recovered")
    assert counted(rig) == (400, 0, 200, [600, 600, 600], 0)
    late_fill(rig, approved, 400, 600, 0)
    assert counted(rig) == (0, 0, 600, [600, 600, 600], 0)
    assert not rig.guard.exposure.short


def test_a_late_word_of_something_else_changes_nothing(rig):
    approved = over(rig, 600)
    rig.end(approved, "cancel_rejected", "CANCELED", missing_qty=600, late=True, request_id="c")
    assert counted(rig) == (600, 0, 0, [600, 600, 600], 0)


def test_they_count_though_drop_copy_has_none_until_an_operator_settles_them(rig):
    approved = over(rig, 600)
    rig.end(approved, "fills_denied", "CANCELED", late=True, missing_qty=600, source="recovered")
    assert counted(rig) == (600, 0, 0, [600, 600, 600], 0)
    rig.end(approved, "fills_denied", "CANCELED", late=True, settled_qty=600, source="operator")
    assert counted(rig) == (0, 0, 0, [0, 0, 0], 0)
    assert rig.guard.exposure.account.gross == 0


def test_an_order_that_is_filled_by_cum_qty_with_a_fill_missing_still_counts(rig):
    """FILLED by a Trade of 4 with CumQty 10."""
    approved = rig.rest(qty=1000, price=99_00)
    late_fill(rig, approved, 400, 400, 600, state="FILLED", late=False)
    assert counted(rig) == (600, 0, 400, [1000, 1000, 1000], 0)


def test_of_a_live_order_they_are_within_what_may_still_be_filled(rig):
    """They are not counted twice: the order's own sum does not have them."""
    approved = rig.rest(qty=1000, price=99_00)
    rig.fill(approved, 100, 99_00, missing_qty=300)
    assert counted(rig) == (900, 0, 100, [1000, 1000, 1000], 1)
    rig.fill(approved, 300, 99_00, cum=400)
    assert counted(rig) == (600, 0, 400, [1000, 1000, 1000], 1)


def test_a_live_order_of_which_more_is_missing_than_was_ordered_counts_that(rig):
    approved = rig.rest(qty=1000, price=99_00)
    rig.fill(approved, 100, 99_00, missing_qty=1200)
    assert counted(rig) == (1200, 0, 100, [1300, 1300, 1300], 1)


def test_an_order_that_comes_back_counts_once(rig):
    """It was concluded over with fills missing and rests after all: what it may still fill has them."""
    approved = over(rig, 600)
    rig.event("new", "UNKNOWN", approved.request.cl_ord_id, leaves_qty=1000, late=True, missing_qty=600,
              **rig.terms(approved))  # fmt: skip
    assert counted(rig) == (1000, 0, 0, [1000, 1000, 1000], 1)
    rig.end(approved, missing_qty=600)
    assert counted(rig) == (600, 0, 0, [600, 600, 600], 0)


def test_a_foreign_order_counts_them_in_the_account(rig):
    terms = {"strategy": -1, "symbol": BTC, "side": 2, "price": 99_00, "qty": 900, "order_id": "V9"}
    rig.event("trade", "FILLED", "V9", cum_qty=300, last_qty=300, last_px=99_00, missing_qty=600, **terms)
    assert rig.guard.exposure.account.worst == 900 and counted(rig)[3][0] == 0
    rig.event("trade", "FILLED", "V9", cum_qty=900, last_qty=600, last_px=99_00, source="recovered", **terms)
    line = rig.guard.exposure.account_lines[BTC]
    assert (line.position.qty, line.open_sell, rig.guard.exposure.account.worst) == (-900, 0, 900)


def test_a_snapshot_brings_them_and_forgets_what_it_does_not_have(rig):
    """A guard that was restarted, or takes everything over anew, counts the same."""
    approved = rig.rest(qty=1000, price=99_00)
    events, give = [], rig.give
    rig.give = lambda message, *more: (events.append(message), give(message, *more))
    rig.end(approved, missing_qty=600)
    rig.give = give
    before = counted(rig)
    for orders, expected in (([events[-1]], before), ([], (0, 0, 0, [0, 0, 0], 0))):
        rig.guard.following.ask_snapshot(rig.now)
        known = [PositionState(symbol=symbol, known=True) for symbol in (BTC, ETH)]
        rig.give(OrdersSnapshot(tape_no=rig.tape_no, orders=orders, positions=known))
        assert counted(rig) == expected


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_in_any_order_of_recovery_nothing_is_left_and_nothing_is_counted_twice(rig, order):
    """Two orders lack fills and a third is open, whichever is made whole first."""
    first, second = over(rig, 600), over(rig, 300, side=Side.SELL)
    third = rig.rest(qty=200, price=98_00)
    steps = (
        lambda: late_fill(rig, first, 600, 600, 0),
        lambda: rig.end(second, "fills_denied", "CANCELED", late=True),
        lambda: rig.end(third),
    )
    for at in order:
        steps[at]()
    assert counted(rig) == (0, 0, 600, [600, 600, 600], 0)
    assert rig.guard.exposure.account.gross == 600 * rig.guard.exposure.markets[BTC].mark
