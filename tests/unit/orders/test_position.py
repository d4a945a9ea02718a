"""Positions are exact: opening plus fills, cost as a total."""

from hypothesis import given
from hypothesis import strategies as st

from engine.messages.executions import EventKind, OrderEvent, OrderState
from engine.orders.position import Position, Positions

FILLS = st.lists(
    st.tuples(
        st.sampled_from([1, 2]), st.integers(1, 5000), st.integers(1, 999_999), st.integers(-500, 5000)
    ),
    max_size=40,
)


def key(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(";"))


def test_a_round_trip_realises_the_difference() -> None:
    """Buy 2.00 at 10.0000 and 1.00 at 13.0000, sell 3.00 at 12.0000: 36 - 33 = 3 dollars."""
    position = Position()
    position.fill(1, 200, 100_000, 10)
    position.fill(1, 100, 130_000, 10)
    assert (position.qty, position.cost) == (300, 33_000_000)
    position.fill(2, 300, 120_000, 10)
    assert (position.qty, position.cost, position.realised, position.fees) == (0, 0, 3_000_000, 30)
    assert (position.buy_qty, position.sell_qty, position.fills, position.volume) == (300, 300, 3, 69_000_000)


def test_a_flip_realises_what_was_held_and_opens_the_rest() -> None:
    """Short 1.00 at 10, buy 3.00 at 8: 2 dollars made, long 2.00 at 8."""
    position = Position()
    position.fill(2, 100, 100_000, 0)
    assert (position.qty, position.cost) == (-100, -10_000_000)
    position.fill(1, 300, 80_000, 0)
    assert (position.qty, position.cost, position.realised) == (200, 16_000_000, 2_000_000)


@given(fills=FILLS, multiplier=st.sampled_from([1, 7]))
def test_realised_minus_cost_is_always_the_cash_that_flowed(fills, multiplier) -> None:
    """No rounding is ever lost: realised - cost = sales - purchases, to the millionth."""
    position, cash, qty = Position(), 0, 0
    for side, size, price, fee in fills:
        position.fill(side, size, price, fee, multiplier)
        signed = size if side == 1 else -size
        cash -= signed * price * multiplier
        qty += signed
        assert position.qty == qty
        assert position.realised - position.cost == cash
        assert (position.cost == 0) if qty == 0 else ((position.cost > 0) == (qty > 0) or position.cost == 0)
    assert position.fees == sum(fee for *_, fee in fills)


def trade(
    no: int, strategy: int, side: int, qty: int, price: int, exec_id: str, long_qty: int = -1
) -> OrderEvent:
    return OrderEvent(
        tape_no=no,
        strategy=strategy,
        strategy_no=no,
        kind=EventKind.TRADE,
        state=OrderState.PARTIALLY_FILLED,
        order="o",
        wall_ns=0,
        symbol="BTC-PERP",
        side=side,
        last_qty=qty,
        last_px=price,
        exec_id=exec_id,
        long_qty=long_qty,
        short_qty=0 if long_qty >= 0 else -1,
    )


def opening(qty: int, cost: int) -> OrderEvent:
    return OrderEvent(
        tape_no=1,
        strategy=-1,
        strategy_no=1,
        kind=EventKind.POSITION,
        state=OrderState.FILLED,
        order="",
        wall_ns=0,
        symbol="BTC-PERP",
        position=qty,
        cost=cost,
    )


def test_the_account_is_the_sum_of_all_strategies_and_foreign() -> None:
    """An opening belongs to no strategy, so it is foreign's; fills are their strategy's and the account's."""
    positions = Positions({}, key)
    positions.apply(trade(1, 2, 1, 100, 100_000, "1;1"))
    positions.apply(opening(600, 60_000_000))
    positions.apply(trade(2, 3, 2, 50, 100_000, "1;2"))
    assert positions.qty("BTC-PERP") == 550
    assert {slot: p.qty for (slot, _), p in positions.of.items()} == {2: 100, -1: 500, 3: -50}
    assert [(s.strategy, s.qty, s.known) for s in positions.states(None)][-1] == (None, 550, True)
    assert [s.qty for s in positions.states(3)] == [-50]


def test_a_market_without_an_opening_is_not_known() -> None:
    """Fills alone do not say what was held before."""
    positions = Positions({}, key)
    positions.apply(trade(1, 2, 1, 100, 100_000, "1;1"))
    assert [s.known for s in positions.states(None)] == [False, False]


def test_the_venues_word_is_judged_by_its_newest_trade_only() -> None:
    """704/705 of an older report, recovered later, must not look like a break."""
    positions = Positions({}, key)
    positions.apply(opening(0, 0))
    positions.apply(trade(1, 2, 1, 100, 100_000, "10;1", long_qty=200))
    assert positions.broken() == [("BTC-PERP", 100, 200)]
    assert not positions.is_newest("BTC-PERP", "9;5")
    assert positions.is_newest("BTC-PERP", "10;2")
    positions.apply(trade(2, 2, 1, 100, 100_000, "9;1", long_qty=100))
    assert positions.broken() == []


def test_setting_a_position_makes_no_profit_up() -> None:
    """What stays keeps its average cost, what is new counts at the last trade's price."""
    positions = Positions({}, key)
    positions.apply(trade(1, 2, 1, 200, 100_000, "1;1"))
    assert positions.cost_of("BTC-PERP", 100) == 10_000_000
    assert positions.cost_of("BTC-PERP", 300) == 30_000_000
    assert positions.cost_of("BTC-PERP", -100) == -10_000_000
    assert positions.cost_of("BTC-PERP", 0) == 0
    assert positions.cost_of("ETH-PERP", 100) == 0
