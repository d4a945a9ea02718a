"""The momentum taker, through the harness."""

import pytest

from engine.errors import ConfigError
from engine.strategy.testing import Harness
from strategies.momentum_taker import MomentumTaker

BTC = "BTC-PERP"


def watching(config=None, **more):
    harness = Harness(MomentumTaker, config, **more)
    harness.start()
    harness.book(BTC, bids=[("19.49", 10)], asks=[("19.51", 10)])
    return harness


def rise(harness, taker="buy"):
    """Within a second somebody takes, and the market moves up by 0.02 (10 basis points)."""
    harness.advance(0.5)
    harness.trade(BTC, "19.51", 3, taker)
    harness.advance(0.5)
    harness.book(BTC, bids=[("19.51", 10)], asks=[("19.53", 10)])


def fall(harness, taker="sell"):
    harness.advance(0.5)
    harness.trade(BTC, "19.49", 3, taker)
    harness.advance(0.5)
    harness.book(BTC, bids=[("19.47", 10)], asks=[("19.49", 10)])


def test_rise_with_buyers_is_bought_at_the_offer_by_ioc():
    """Default qty 2."""
    harness = watching()
    rise(harness)
    (order,) = harness.take_new()
    assert (order.side, order.qty, order.price, order.tif, order.post_only) == (1, 200, 195300, "3", False)


def test_fall_with_sellers_is_sold_at_the_bid():
    """The mirror image."""
    harness = watching()
    fall(harness)
    (order,) = harness.take_new()
    assert (order.side, order.qty, order.price, order.tif) == (2, 200, 194700, "3")


def test_move_without_trades_of_its_direction_is_no_signal():
    """Confirmation is on by default, and can be off."""
    harness = watching()
    rise(harness, taker="sell")
    assert harness.take() == []
    harness = watching({"confirm_by_trades": False})
    rise(harness, taker="sell")
    assert len(harness.take_new()) == 1


def test_slow_move_is_no_signal():
    """The same distance over longer than the lookback."""
    harness = watching()
    for bid, ask in (("19.495", "19.515"), ("19.50", "19.52"), ("19.505", "19.525"), ("19.51", "19.53")):
        harness.advance(1.5)
        harness.trade(BTC, ask, 1, "buy")
        harness.book(BTC, bids=[(bid, 10)], asks=[(ask, 10)])
    assert harness.take() == []


def test_old_trades_are_forgotten():
    """Buyers of three seconds ago confirm nothing."""
    harness = watching()
    harness.trade(BTC, "19.51", 3, "buy")
    harness.advance(3)
    harness.book(BTC, bids=[("19.51", 10)], asks=[("19.53", 10)])
    assert harness.take() == []


def test_wide_book_is_left_alone():
    """max_spread is 0.05."""
    harness = watching()
    harness.advance(0.5)
    harness.trade(BTC, "19.51", 3, "buy")
    harness.book(BTC, bids=[("19.51", 10)], asks=[("19.57", 10)])
    assert harness.take() == []


def test_one_order_at_a_time_and_a_pause_between():
    """The next waits for the tape and for cooldown_ms."""
    harness = watching()
    rise(harness)
    (order,) = harness.take_new()
    harness.advance(0.6)
    harness.change(BTC, bids=[("19.52", 1)])
    assert harness.take() == []
    harness.fill(order, 2, taker=True)
    harness.change(BTC, bids=[("19.52", 2)])
    assert len(harness.take_new()) == 1


def test_position_cap_holds():
    """19 of 20 held: one more, then none; selling stays possible."""
    harness = watching(positions={BTC: 19})
    rise(harness)
    (order,) = harness.take_new()
    assert order.qty == 100
    harness = watching(positions={BTC: 20})
    rise(harness)
    assert harness.take() == []
    harness = watching(positions={BTC: 20})
    fall(harness)
    assert harness.take_new()[0].side == 2


def test_takes_no_more_than_is_offered():
    """One contract at the offer: one is taken."""
    harness = watching()
    harness.advance(0.5)
    harness.trade(BTC, "19.51", 3, "buy")
    harness.book(BTC, bids=[("19.51", 10)], asks=[("19.53", 1)])
    assert harness.take_new()[0].qty == 100


def test_position_without_a_signal_is_closed_reduce_only():
    """After hold_ms, by qty at a time, and no further than flat."""
    harness = watching({"hold_ms": 2000}, positions={BTC: 3})
    harness.advance(1.9)
    assert harness.take() == []
    harness.advance(0.7)
    (order,) = harness.take_new()
    assert (order.side, order.qty, order.price, order.tif, order.reduce_only) == (2, 200, 194900, "3", True)
    harness.fill(order, 2, taker=True)
    harness.advance(1)
    (last,) = harness.take_new()
    assert last.qty == 100
    harness.fill(last, 1, taker=True)
    harness.advance(3)
    assert harness.take() == []


def test_refused_and_cancelled_orders_free_the_market():
    """An IOC that found nothing, and a refusal, end the wait."""
    harness = watching()
    rise(harness)
    harness.refuse(harness.take_new()[0])
    harness.advance(0.6)
    harness.change(BTC, bids=[("19.52", 1)])
    (order,) = harness.take_new()
    harness.accept(order)
    harness.cancelled(order, "IMMEDIATE_OR_CANCELLED")
    harness.advance(0.6)
    harness.change(BTC, bids=[("19.52", 2)])
    (order,) = harness.take_new()
    harness.reject(order, "EXCHANGE_PAUSED")
    assert "EXCHANGE_PAUSED" in harness.logs[-1]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"qty": 0}, "qty = 0: at least 1 contract"),
        ({"max_position": 1}, "max_position = 1: at least qty, which is 2"),
        ({"lookback_ms": 0}, "lookback_ms = 0: at least 1"),
        ({"max_spread": "wide"}, "max_spread = 'wide': dollars as text"),
        ({"max_spread": "0"}, "max_spread = '0': at least 0.0001 dollars"),
        ({"confirm_by_trades": "yes"}, "confirm_by_trades = 'yes': expected `bool`, got `str`"),
    ],
)
def test_wrong_settings_are_refused(config, text):
    """Before anything starts, with the key and what is right."""
    with pytest.raises(ConfigError) as caught:
        Harness(MomentumTaker, config)
    assert text in str(caught.value)
