"""The quote maker, through the harness."""

import pytest

from engine.errors import ConfigError
from engine.messages.commands import CancelAll, CancelOrder, NewOrder, ReplaceOrder
from engine.messages.market_data import FeedState
from engine.strategy.api import contracts
from engine.strategy.testing import Harness
from strategies.quote_maker import QuoteMaker, best_of_others

BTC = "BTC-PERP"
ETH = "ETH-PERP"


def quoting(config=None, **more):
    """A maker with both quotes resting around 19.50."""
    harness = Harness(QuoteMaker, config, **more)
    harness.start()
    harness.book(BTC, bids=[("19.49", 10), ("19.48", 20)], asks=[("19.51", 10), ("19.52", 20)])
    bid, ask = harness.take_new()
    harness.accept_all()
    return harness, bid, ask


def prices(intents):
    return [(intent.side, intent.price) for intent in intents]


def move_up(harness):
    """The market moves up by two steps; our own quotes aren't in the harness's book."""
    harness.advance(0.3)
    harness.book(BTC, bids=[("19.51", 10)], asks=[("19.53", 10)])


def test_quotes_both_sides_post_only_around_the_middle():
    """Defaults: 5 contracts, 0.0080 on each side of 19.50."""
    _, bid, ask = quoting()
    assert [(o.side, o.price, o.qty, o.post_only, o.tif) for o in (bid, ask)] == [
        (1, 194920, 500, True, "1"),
        (2, 195080, 500, True, "1"),
    ]


def test_defaults_fit_the_cheaper_market_too():
    """ETH-PERP near 4.20."""
    harness = Harness(QuoteMaker, markets=[ETH])
    harness.start()
    harness.book(ETH, bids=[("4.19", 50)], asks=[("4.21", 50)])
    assert prices(harness.take_new()) == [(1, 41920), (2, 42080)]


def test_small_moves_are_left_alone_and_larger_ones_are_followed_by_replaces():
    """A quote stays within `move` of its target; after that both move up, the offer first where they would meet."""
    harness, bid, ask = quoting()
    harness.advance(0.3)
    harness.change(BTC, bids=[("19.492", 1)])  # the middle moves by 0.0010
    assert harness.take() == []
    move_up(harness)
    first = harness.take()
    assert [(type(i), i.orig_cl_ord_id, i.price) for i in first] == [(ReplaceOrder, ask.cl_ord_id, 195280)]
    harness.accept_all()
    second = harness.take()
    assert [(type(i), i.orig_cl_ord_id, i.price) for i in second] == [(ReplaceOrder, bid.cl_ord_id, 195120)]


def test_without_replace_it_cancels_first_and_quotes_when_the_cancel_is_answered():
    """`use_replace = false`."""
    harness, _, ask = quoting({"use_replace": False})
    move_up(harness)
    (cancel,) = harness.take()
    assert isinstance(cancel, CancelOrder)
    assert cancel.orig_cl_ord_id == ask.cl_ord_id
    harness.accept_all()
    harness.advance(1.2)
    harness.accept_all()
    harness.advance(1.2)
    harness.accept_all()
    assert sorted(prices(i for i in harness.take() if isinstance(i, NewOrder))) == [(1, 195120), (2, 195280)]


def test_replace_after_a_part_fill_asks_for_a_new_total():
    """Filled 2 of 5: the new total is 7, so that 5 are open; the price is skewed by what is held."""
    harness, bid, _ = quoting()
    harness.fill(bid, 2)
    harness.take()
    harness.accept_all()
    harness.advance(0.3)
    harness.book(BTC, bids=[("19.46", 10)], asks=[("19.48", 10)])
    harness.advance(0.6)
    replaces = {i.side: i for i in harness.take() if isinstance(i, ReplaceOrder)}
    # fair 19.47, shifted down by 2/5 of 0.0010
    assert (replaces[1].qty, replaces[1].price) == (700, 194616)


def moved(harness):
    """Move the market until a replace of the offer is out; returns it."""
    move_up(harness)
    (replace,) = harness.take()
    assert isinstance(replace, ReplaceOrder)
    return replace


def refused_by_the_guard(harness, replace):
    harness.refuse(replace, "max_qty")


def refused_by_the_venue(harness, replace):
    harness.reject(replace, "PRICE_OUT_OF_BAND")


@pytest.mark.parametrize("refuse", [refused_by_the_guard, refused_by_the_venue])
def test_a_quote_that_can_not_be_moved_is_cancelled_and_quoted_anew_after_the_back_off(refuse):
    """It would stay at a price that the market has left."""
    harness, _, ask = quoting()
    refuse(harness, moved(harness))
    (cancel,) = harness.take()
    assert isinstance(cancel, CancelOrder)
    assert cancel.orig_cl_ord_id == ask.cl_ord_id
    harness.cancelled(ask)
    harness.advance(0.4)
    assert [i for i in harness.take() if isinstance(i, NewOrder)] == []
    harness.advance(0.7)
    assert prices(i for i in harness.take() if isinstance(i, NewOrder)) == [(2, 195280)]


@pytest.mark.parametrize("refuse", [refused_by_the_guard, refused_by_the_venue])
def test_a_cancel_that_is_refused_is_not_repeated_at_once(refuse):
    """Its order may be over already; repeating it would burn tokens."""
    harness, _, _ = quoting()
    refuse(harness, moved(harness))
    (cancel,) = harness.take()
    refuse(harness, cancel)
    assert harness.take() == []


def test_inventory_skews_both_quotes_down_when_long():
    """20 contracts long are four times qty: both quotes 0.0040 lower."""
    harness = Harness(QuoteMaker, positions={BTC: 20})
    harness.start()
    harness.book(BTC, bids=[("19.49", 10)], asks=[("19.51", 10)])
    assert prices(harness.take_new()) == [(1, 194880), (2, 195040)]


@pytest.mark.parametrize(("position", "sides"), [(50, [2]), (46, [2]), (45, [1, 2]), (-50, [1]), (-46, [1])])
def test_side_that_could_exceed_the_position_limit_is_not_quoted(position, sides):
    """max_position is 50, a quote 5."""
    harness = Harness(QuoteMaker, positions={BTC: position})
    harness.start()
    harness.book(BTC, bids=[("19.49", 10)], asks=[("19.51", 10)])
    assert [intent.side for intent in harness.take_new()] == sides


def test_skewed_quote_never_reaches_the_other_side():
    """A large skew stops one tick before the others' best price."""
    harness = Harness(QuoteMaker, {"skew": "0.0200"}, positions={BTC: -40})
    harness.start()
    harness.book(BTC, bids=[("19.49", 10)], asks=[("19.51", 10)])
    assert prices(harness.take_new())[0] == (1, 195099)


def test_own_quotes_in_the_book_do_not_pull_the_middle():
    """The best levels are ours alone: the fair price is made of the others."""
    harness, _, _ = quoting()
    harness.advance(0.3)
    harness.change(BTC, bids=[("19.492", 5)], asks=[("19.508", 5)])
    harness.advance(3)
    assert harness.take() == []
    assert best_of_others({10: 5, 9: 3}, None, highest=True) == 10
    assert best_of_others({}, None, highest=True) == 0


def test_backs_off_after_post_only_cross():
    """The side is quiet for 500 ms whatever the book does; then it quotes again."""
    harness, bid, _ = quoting()
    harness.advance(0.3)
    harness.cancelled(bid, "POST_ONLY_CROSS")
    harness.change(BTC, bids=[("19.48", 21)])
    harness.advance(0.1)
    assert harness.take() == []
    harness.advance(1)
    assert [intent.side for intent in harness.take_new()] == [1]


def test_pause_doubles_while_it_never_rests():
    """Cancelled at once each time: 0.5, 1, 2 s."""
    harness, bid, _ = quoting()
    harness.cancelled(bid, "POST_ONLY_CROSS")
    pauses = []
    for _ in range(3):
        begun = harness.now.mono_ns
        while not (found := harness.take()):
            harness.advance(0.1)
        pauses.append((harness.now.mono_ns - begun) / 1e9)
        harness.cancelled(found[0], "POST_ONLY_CROSS")
    assert pauses[0] < pauses[1] < pauses[2]
    assert pauses[2] >= 2


def test_backs_off_after_a_refusal_by_the_guard():
    """The same wish isn't repeated at once."""
    harness = Harness(QuoteMaker)
    harness.start()
    harness.book(BTC, bids=[("19.49", 10)], asks=[("19.51", 10)])
    for intent in harness.take_new():
        harness.refuse(intent)
    harness.change(BTC, bids=[("19.48", 1)])
    assert harness.take() == []
    harness.advance(1.1)
    assert [intent.side for intent in harness.take_new()] == [1, 2]


def test_refusals_in_a_row_do_not_lengthen_the_pause():
    """They cost no token: after an outage of any length it quotes again within the plain back-off."""
    harness = Harness(QuoteMaker)
    harness.start()
    harness.book(BTC, bids=[("19.49", 10)], asks=[("19.51", 10)])
    for _ in range(8):
        intents = harness.take_new()
        assert [intent.side for intent in intents] == [1, 2]
        for intent in intents:
            harness.refuse(intent)
        harness.advance(1.1)
    assert [intent.side for intent in harness.take_new()] == [1, 2]


def test_one_sided_book_pulls_the_quotes():
    """Without others on both sides there is no middle."""
    harness, bid, ask = quoting()
    harness.change(BTC, asks=[("19.51", 0), ("19.52", 0)])
    assert [i.orig_cl_ord_id for i in harness.take()] == [bid.cl_ord_id, ask.cl_ord_id]


def test_stale_market_is_left():
    """Nothing rests where nothing can be seen; live again, it quotes again."""
    harness, _, _ = quoting()
    harness.state(BTC, FeedState.STALE, "session lost")
    assert harness.take() == [CancelAll(symbol=BTC)]
    harness.accept_all()
    harness.advance(1)
    assert harness.take() == []
    harness.state(BTC, FeedState.LIVE)
    assert len(harness.take_new()) == 2


@pytest.mark.parametrize(("shutdown", "intents"), [("cancel", [CancelAll()]), ("leave", [])])
def test_what_rests_at_the_stop_is_for_the_configuration_to_say(shutdown, intents):
    """[engine] shutdown: the worker cancels, or leaves; the strategy itself does nothing."""
    harness, _, _ = quoting(shutdown=shutdown)
    harness.stop()
    assert harness.take() == intents


def test_filled_quote_is_quoted_again():
    """After a full fill the side comes back, skewed."""
    harness, bid, _ = quoting()
    harness.fill(bid, 5)
    assert harness.position(BTC) == contracts(5)
    harness.advance(0.6)
    news = [i for i in harness.take() if isinstance(i, NewOrder)]
    assert prices(news) == [(1, 194910)]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"qty": 0}, "qty = 0: at least 1 contract"),
        ({"max_position": 3}, "max_position = 3: at least qty, which is 5"),
        ({"edge": "nan"}, "edge = 'nan': dollars as text"),
        ({"edge": "0"}, "edge = '0': at least 0.0001 dollars"),
        ({"skew": "-1"}, "skew = '-1': at least 0 dollars"),
        ({"edge": 0.01}, "edge = 0.01: expected `str`, got `float`"),
        ({"backoff_ms": 0}, "backoff_ms = 0: at least 1 ms"),
        ({"edg": "1"}, "did you mean 'edge'?"),
    ],
)
def test_wrong_settings_are_refused(config, text):
    """Before anything starts, with the key and what is right."""
    with pytest.raises(ConfigError) as caught:
        Harness(QuoteMaker, config)
    assert text in str(caught.value)
    assert "[strategies.under_test.config]" in str(caught.value)
