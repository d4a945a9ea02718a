"""Positions at average cost, fees, margin; token buckets; drop copy's window; order groups."""

from engine.common.clock import SECOND
from engine.kalshi.messages import ExecutionReport
from engine.venue.accounts import Account, Market, Position, fee_of
from engine.venue.buckets import TIERS, UNLIMITED, Bucket, Buckets, Budget, budget_of
from engine.venue.history import BEGIN_TOO_SMALL, END_TOO_LARGE, WINDOW_NS, History
from engine.venue.matching import BUY, SELL
from engine.venue.order_groups import Group, group_id_of

MARKET = Market(symbol="M", price=100_000, initial_margin_bp=1000)


def test_a_position_realises_against_average_cost_and_keeps_the_rounding():
    position = Position()
    assert position.apply(200, 100) == 0
    assert position.apply(100, 103) == 0
    assert (position.qty, position.cost) == (300, 30_300)
    assert position.apply(-100, 110) == 11_000 - 10_100
    assert (position.qty, position.cost) == (200, 20_200)
    assert position.apply(-300, 100) == 20_000 - 20_200  # turned round: closed at cost, opened at the price
    assert (position.qty, position.cost) == (-100, -10_000)
    assert position.apply(100, 90) == 1_000  # bought back cheaper
    assert (position.qty, position.cost) == (0, 0)


def test_fees_are_of_notional_and_rounded_against_the_payer():
    assert (
        fee_of(195_000, 1000, 1, 300) == 195_000_000 * 300 // 1_000_000
    )  # 10 contracts at 19.50: 195 dollars
    assert fee_of(1, 1, 1, 300) == 1
    assert fee_of(1, 1, 1, 0) == 0


def test_margin_is_due_on_the_worse_side_and_closing_is_always_covered():
    account = Account("a", 1_000_000)  # one dollar
    markets, marks = {"M": MARKET}, {"M": 100_000}
    ten = 100_000 * 100  # one contract at 10 dollars: one dollar of margin
    assert account.covers(markets, marks, "M", BUY, ten)
    assert not account.covers(markets, marks, "M", BUY, ten + 100)
    account.reserve("M", BUY, ten, 10)
    assert account.covers(markets, marks, "M", SELL, ten)  # the other side does not add to the worse case
    assert not account.covers(markets, marks, "M", BUY, 100_000)
    account.reserve("M", BUY, -ten, -10)
    account.trade(MARKET, BUY, 100_000, 100, 0)
    account.cash = -5
    assert account.covers(markets, marks, "M", SELL, ten)


def test_a_bucket_refills_continuously_and_never_over_its_capacity():
    bucket = Bucket(100, 100)
    assert all(bucket.take(10, 5 * SECOND) for _ in range(10))
    assert not bucket.take(10, 5 * SECOND)
    assert not bucket.take(10, 5 * SECOND + 99_999_999)
    assert bucket.take(10, 5 * SECOND + 100_000_000)
    assert bucket.level(3600 * SECOND) == 100
    assert Bucket(0, 0).take(10**9, 0)


def test_tiers_hold_two_seconds_of_write_above_basic():
    assert budget_of("Basic", UNLIMITED) == Budget(200, 200, 100, 100)
    assert all(
        budget.write_capacity == 2 * budget.write_per_s and budget.read_capacity == budget.read_per_s
        for name, budget in TIERS.items()
        if name != "Basic"
    )
    assert budget_of("explicit", Budget(1, 2, 3, 4)) == Budget(1, 2, 3, 4)
    assert budget_of("unlimited", Budget(1, 2, 3, 4)) == UNLIMITED


def test_costs_are_per_message_type_and_mass_cancel_once_a_second():
    buckets = Buckets(Budget(10, 10, 20, 20), 10, {"F": 2})
    assert buckets.take("D", 0, write=True)
    assert all(buckets.take("F", 0, write=True) for _ in range(5))
    assert not buckets.take("F", 0, write=True)
    assert buckets.take("V", 0, write=False)
    assert not buckets.take("V", 0, write=False)
    assert buckets.mass_cancel(7)
    assert not buckets.mass_cancel(7 + SECOND - 1)
    assert buckets.mass_cancel(7 + SECOND)


def report(exec_id):
    return ExecutionReport(
        order_id="o", cl_ord_id="c", exec_id=exec_id, exec_type="0", ord_status="0", side="1", symbol="M",
        leaves_qty=1, cum_qty=0, order_qty=1,
    )  # fmt: skip


def test_drop_copy_looks_back_three_hours_and_knows_no_earlier_beginning():
    history = History()
    history.begin((100, 0))
    for number in range(5):
        clock = 100 + number
        history.add("a", (clock, 1), report(f"{clock};1"), number * 3600 * SECOND)
    history.add("b", (104, 2), report("104;2"), 4 * 3600 * SECOND)
    assert history.select("a", (0, 0), None, (104, 2)) == BEGIN_TOO_SMALL
    assert history.select("a", (99, 9), None, (104, 2)) == BEGIN_TOO_SMALL
    # The mark at hour 0 is over three hours old; what was issued at hour 1 is exactly three hours old.
    assert [r.exec_id for r in history.select("a", (101, 1), None, (104, 2))] == [
        "101;1",
        "102;1",
        "103;1",
        "104;1",
    ]
    assert [r.exec_id for r in history.select("a", (101, 2), (103, 1), (104, 2))] == ["102;1", "103;1"]
    assert history.select("a", (101, 1), (104, 3), (104, 2)) == END_TOO_LARGE
    assert history.select("nobody", (101, 1), None, (104, 2)) == []
    history.mark((200, 0), 4 * 3600 * SECOND + WINDOW_NS + 1)
    history.mark((201, 0), 4 * 3600 * SECOND + WINDOW_NS + 11 * SECOND)
    assert history.select("a", (103, 1), None, (200, 0)) == BEGIN_TOO_SMALL
    assert history.exec_ids("b") == ["104;2"]


def test_a_group_triggers_when_fifteen_seconds_hold_more_than_its_limit():
    group = Group(group_id_of(1), "a", 5, None)
    assert group.group_id == "6f726472-0000-4000-8000-000000000001"
    assert not group.filled(300, 0)
    assert not group.filled(200, 14 * SECOND)
    assert not group.filled(300, 15 * SECOND)  # the first has left the window
    assert group.filled(100, 15 * SECOND)
    assert group.triggered
    group.reset()
    assert not group.filled(300, 16 * SECOND)
    assert group.update(2, 16 * SECOND)
