"""Price-time matching, as tables: what rests, what comes, what happens."""

import pytest

from engine.venue.matching import BUY, SELL, STP_MAKER, STP_TAKER, Book, BookOrder, Fill, Pulled


def order(text):
    """`a buy 3@10` as a BookOrder."""
    account, side, rest = text.split()
    qty, price = rest.split("@")
    return BookOrder(account, BUY if side == "buy" else SELL, int(price), int(qty))


def book_of(*texts):
    book = Book("M")
    orders = []
    for text in texts:
        resting = order(text)
        assert not book.match(resting)
        book.rest(resting)
        orders.append(resting)
    return book, orders


def said(event):
    if isinstance(event, Fill):
        return f"{event.maker.account} {event.qty}@{event.price}"
    assert isinstance(event, Pulled)
    return f"pulled {event.order.account}"


@pytest.mark.parametrize(
    ("resting", "taker", "stp", "events", "left", "levels"),
    [
        # nothing crosses
        (["a sell 1@11"], "b buy 1@10", STP_TAKER, [], 1, [1, 11, 1]),
        # better price first, at the maker's price
        (["a sell 1@12", "b sell 1@11"], "t buy 2@12", STP_TAKER, ["b 1@11", "a 1@12"], 0, []),
        (["a buy 1@9", "b buy 1@10"], "t sell 2@9", STP_TAKER, ["b 1@10", "a 1@9"], 0, []),
        # earlier first within a price, and what is left keeps its place
        (["a sell 2@11", "b sell 2@11"], "t buy 3@11", STP_TAKER, ["a 2@11", "b 1@11"], 0, [1, 11, 1]),
        # the limit ends the walk
        (["a sell 1@11", "b sell 1@12"], "t buy 5@11", STP_TAKER, ["a 1@11"], 4, [1, 12, 1]),
        # own order: the taker ends there, and keeps what it got
        (["a sell 1@11", "t sell 1@12"], "t buy 5@12", STP_TAKER, ["a 1@11", "pulled t"], 4, [1, 12, 1]),
        # own order: the resting one goes, the taker goes on
        (
            ["t sell 1@11", "a sell 1@12"],
            "t buy 1@12",
            STP_MAKER,
            ["pulled t", "a 1@12"],
            0,
            [],
        ),
    ],
)
def test_matching_is_by_price_then_time_and_keeps_accounts_apart(resting, taker, stp, events, left, levels):
    book, _ = book_of(*resting)
    incoming = order(taker)
    assert [said(event) for event in book.match(incoming, stp)] == events
    assert incoming.leaves == left
    assert book.levels() == levels


def test_less_quantity_keeps_the_place_in_the_queue():
    book, (first, second) = book_of("a sell 5@11", "b sell 5@11")
    book.reduce(first, 2)
    assert [said(event) for event in book.match(order("t buy 3@11"))] == ["a 2@11", "b 1@11"]
    assert second.leaves == 4


def test_fok_volume_stops_at_an_own_order_unless_the_maker_gives_way():
    book, _ = book_of("a sell 2@11", "t sell 2@11", "b sell 2@12")
    assert book.available(BUY, 12, 9, "t", STP_TAKER) == 2
    assert book.available(BUY, 12, 9, "t", STP_MAKER) == 4
    assert book.available(BUY, 12, 9, "x", STP_TAKER) == 6
    assert book.available(BUY, 11, 3, "x", STP_TAKER) == 3
    assert book.meets_own(BUY, 11, "t")
    assert not book.meets_own(BUY, 12, "c")
    assert not book.meets_own(BUY, 10, "t")


def test_an_order_can_not_rest_across_the_book():
    book, _ = book_of("a sell 1@11")
    with pytest.raises(AssertionError):
        book.rest(order("b buy 1@11"))


def test_changes_are_told_once_per_level_against_what_was_told_before():
    book, (ask, _) = book_of("a sell 5@11", "b buy 3@9")
    assert book.dirty
    assert book.take_changes() == [(0, 1, 11, 5), (0, 0, 9, 3)]
    assert book.take_changes() == []
    book.reduce(ask, 4)
    book.reduce(ask, 2)
    late = order("c buy 1@10")
    book.rest(late)
    book.remove(late)  # came and went between two looks: nobody needs to know
    assert book.take_changes() == [(1, 1, 11, 2)]
    book.remove(ask)
    assert book.take_changes() == [(2, 1, 11, 0)]
    assert book.bids.best().qty == 3
    assert book.asks.best() is None
