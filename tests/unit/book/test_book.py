"""The book against a naive model, and the rules of its docstring."""

from hypothesis import given
from hypothesis import strategies as st

from engine.book.book import Book

ENTRY = st.tuples(st.integers(0, 1), st.integers(1, 12), st.integers(0, 5))
MESSAGES = st.lists(st.lists(ENTRY, max_size=6), max_size=30)


class NaiveBook:
    """The model: a list of levels per side, searched every time."""

    def __init__(self):
        self.sides = ([], [])

    def apply(self, entries):
        missing = 0
        for side, price, qty in entries:
            before = len(self.sides[side])
            self.sides[side][:] = [level for level in self.sides[side] if level[0] != price]
            if qty:
                self.sides[side].append((price, qty))
            elif len(self.sides[side]) == before:
                missing += 1
        return missing

    def flat(self):
        out = []
        for side, descending in ((0, True), (1, False)):
            for price, qty in sorted(self.sides[side], reverse=descending):
                out += [side, price, qty]
        return out

    def best(self, side):
        prices = [price for price, _ in self.sides[side]]
        return (max(prices) if side == 0 else min(prices)) if prices else 0


def flat(entries):
    return [number for entry in entries for number in entry]


@given(MESSAGES)
def test_book_equals_naive_model_after_every_message(messages):
    """Levels, best prices, quantities and missing deletes agree with a model that searches everything."""
    book, model = Book("X"), NaiveBook()
    for entries in messages:
        assert book.apply(flat(entries)) == model.apply(entries)
        assert book.levels() == model.flat()
        assert (book.bid, book.ask) == (model.best(0), model.best(1))
        assert book.bid_qty == dict(model.sides[0]).get(book.bid, 0)
        assert book.ask_qty == dict(model.sides[1]).get(book.ask, 0)
        assert book.crossed == bool(book.bid and book.ask and book.bid >= book.ask)
        assert book.bad == 0


@given(MESSAGES)
def test_export_of_a_book_rebuilds_the_same_book(messages):
    """reset(levels()) is the identity."""
    book = Book("X")
    for entries in messages:
        book.apply(flat(entries))
    copy = Book("X")
    assert copy.reset(book.levels()) == 0
    assert (copy.bids, copy.asks, copy.bid, copy.ask) == (book.bids, book.asks, book.bid, book.ask)


@given(MESSAGES)
def test_chunking_of_messages_does_not_matter(messages):
    """One message of all entries gives the same book as many."""
    whole, parts = Book("X"), Book("X")
    whole.apply([number for entries in messages for number in flat(entries)])
    for entries in messages:
        parts.apply(flat(entries))
    assert whole.levels() == parts.levels()
    assert (whole.bid, whole.ask) == (parts.bid, parts.ask)


def test_deleting_the_best_finds_the_next():
    """A delete of the best level makes the next one the best."""
    book = Book("BTC-PERP")
    book.reset([0, 194900, 500, 0, 194800, 300, 1, 195100, 700, 1, 195200, 100])
    assert (book.bid, book.bid_qty, book.ask, book.ask_qty) == (194900, 500, 195100, 700)
    assert book.apply([0, 194900, 0, 1, 195100, 0]) == 0
    assert (book.bid, book.bid_qty, book.ask, book.ask_qty) == (194800, 300, 195200, 100)


def test_missing_delete_is_counted_and_harmless():
    """Delete of a level that isn't there changes nothing."""
    book = Book("X")
    book.reset([0, 10, 1])
    assert book.apply([0, 9, 0, 1, 12, 0]) == 2
    assert book.levels() == [0, 10, 1]
    assert book.bad == 0


def test_meaningless_entries_are_not_applied_but_counted():
    """A wrong side, a price that isn't positive, a negative quantity and a cut triple count as bad."""
    book = Book("X")
    book.reset([0, 10, 1, 1, 12, 1])
    book.apply([2, 11, 1, 0, 0, 1, 1, -5, 1, 0, 11, -1, 0, 11])
    assert book.bad == 5
    assert book.levels() == [0, 10, 1, 1, 12, 1]
    book.reset([])
    assert book.bad == 0
    assert book.empty


def test_crossing_in_passing_within_one_message_is_no_cross():
    """The market moves up through its old offer: crossed only until the message's last entry."""
    book = Book("X")
    book.reset([0, 10, 1, 1, 12, 1])
    book.apply([0, 13, 1, 1, 12, 0, 1, 15, 1])
    assert not book.crossed
    assert (book.bid, book.ask, book.mid, book.spread) == (13, 15, 14, 2)
    book.apply([0, 15, 1])
    assert book.crossed
    assert not book.two_sided


def test_one_sided_book_has_no_mid_and_no_spread():
    """Without an offer there is neither mid nor spread."""
    book = Book("X")
    book.apply([0, 10, 1])
    assert (book.mid, book.spread, book.ask, book.ask_qty, book.crossed) == (0, 0, 0, 0, False)
    assert repr(book) == "Book(X 1@10 / 0@0)"
    assert book.best_bids(1) == [(10, 1)]
    assert book.best_asks() == []
