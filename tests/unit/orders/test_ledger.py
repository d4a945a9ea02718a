"""The ledger: numbers, ids, bounded memory, replay."""

import pytest

from engine.messages.commands import CancelOrder, NewOrder
from engine.messages.executions import EventKind, OrderState, ReportCopy, Source, TapeReplay
from engine.orders import ledger as ledger_module
from engine.orders import order as orders
from engine.orders.ledger import Closed, Ledger


def key(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(";"))


class Book:
    """A ledger and the journal of all that was applied to it."""

    def __init__(self) -> None:
        self.ledger = Ledger({}, key)
        self.journal = []
        self.clock = 0

    def apply(self, event):
        self.ledger.apply(event)
        self.journal.append(event)
        return event

    def submit(self, cl_ord_id: str, strategy: int = 1, qty: int = 100):
        request = NewOrder(cl_ord_id=cl_ord_id, symbol="BTC-PERP", side=1, qty=qty, price=100_000)
        return self.apply(orders.submitted(request, strategy, self.ledger.numbers(strategy), 0))

    def report(self, cl_ord_id: str, kind: EventKind, status: str, **more):
        self.clock += 1
        order = self.ledger.find(cl_ord_id)
        report = ReportCopy(
            exec_id=f"1;{self.clock}",
            cl_ord_id=cl_ord_id,
            exec_type="?",
            ord_status=status,
            symbol="BTC-PERP",
            side=1,
            order_id=f"V{order.event.order}",
            **more,
        )
        numbers = self.ledger.numbers(order.event.strategy)
        return self.apply(
            orders.reported(order, kind, report, numbers, 0, exec_key=(1, self.clock), source=Source.SESSION)
        )


def test_numbers_are_dense_over_all_and_per_strategy() -> None:
    """tape_no counts everything, strategy_no each strategy; a gap is refused."""
    book = Book()
    assert [
        (e.tape_no, e.strategy_no) for e in (book.submit("a", 1), book.submit("b", 2), book.submit("c", 1))
    ] == [
        (1, 1),
        (2, 1),
        (3, 2),
    ]
    request = NewOrder(cl_ord_id="d", symbol="BTC-PERP", side=1, qty=100, price=1)
    with pytest.raises(AssertionError, match="goes on with 4, not 5"):
        book.ledger.apply(orders.submitted(request, 1, (5, 3), 0))
    with pytest.raises(AssertionError, match="strategy 1 goes on with 3, not 4"):
        book.ledger.apply(orders.submitted(request, 1, (4, 4), 0))


def test_every_id_of_a_chain_and_the_order_id_find_the_order() -> None:
    """ClOrdID, OrigClOrdID, OrderID, in this order; also after it is over."""
    book = Book()
    book.submit("a")
    book.report("a", EventKind.NEW, "0")
    order = book.ledger.find("a")
    cancel = CancelOrder(cl_ord_id="c", orig_cl_ord_id="a", symbol="BTC-PERP", side=1)
    book.apply(orders.requested(order, cancel, book.ledger.numbers(1), 0))
    for found in (book.ledger.find("c"), book.ledger.find("?", "a"), book.ledger.find("?", "", "Va")):
        assert found is order
    assert book.ledger.used("a") and book.ledger.used("c") and not book.ledger.used("?")
    book.report("c", EventKind.CANCELED, "4")
    assert book.ledger.orders == {} and book.ledger.find("c") is order


def test_orders_that_are_over_leave_memory_but_their_ids_stay(monkeypatch) -> None:
    """A bounded number is kept whole; ids keep strategy, order and state."""
    monkeypatch.setattr(ledger_module, "CLOSED_KEPT", 2)
    monkeypatch.setattr(ledger_module, "CLOSED_IDS_KEPT", 3)
    book = Book()
    for name in "abcd":
        book.submit(name)
        book.report(name, EventKind.CANCELED, "4")
    ledger = book.ledger
    assert [ledger.find(name) is None for name in "abcd"] == [True, True, False, False]
    assert ledger.find("", "", "Va") is None
    assert ledger.find_closed("a") is None and not ledger.used("a")
    assert ledger.find_closed("b") == Closed(1, "b", OrderState.CANCELED, False)
    assert ledger.find_closed("?", "b") == Closed(1, "b", OrderState.CANCELED, False)


def test_one_exec_id_can_not_be_on_the_tape_twice() -> None:
    """The ledger refuses what the journal would refuse."""
    book = Book()
    book.submit("a")
    book.report("a", EventKind.NEW, "0")
    book.clock = 0
    with pytest.raises(AssertionError, match="ExecID 1;1 is on the tape already"):
        book.report("a", EventKind.NEW, "0")


def test_replay_in_parts_or_not_at_all(monkeypatch) -> None:
    """From any number that memory reaches, in order, without gaps; else None, so that a snapshot is sent."""
    monkeypatch.setattr(ledger_module, "TAPE_KEPT", 6)
    monkeypatch.setattr(ledger_module, "REPLAY_PART", 2)
    book = Book()
    for no in range(8):
        book.submit(f"o{no}", strategy=no % 2)
    parts = [book.ledger.replay(from_no, None) for from_no in (4, 6, 8)]
    assert [[e.tape_no for e in part.events] for part in parts] == [[4, 5], [6, 7], [8]]
    assert [part.more for part in parts] == [True, True, False]
    assert book.ledger.replay(3, None).events[0].tape_no == 3
    assert book.ledger.replay(2, None) is None and book.ledger.replay(0, None) is None
    assert book.ledger.replay(9, None) == TapeReplay(events=[])
    parts = [book.ledger.replay(from_no, 0) for from_no in (2, 4)]
    assert [([e.strategy_no for e in part.events], part.more) for part in parts] == [
        ([2, 3], True),
        ([4], False),
    ]
    assert book.ledger.replay(1, 0) is None
    assert book.ledger.replay(5, 0).events == [] and book.ledger.replay(1, 7).events == []


def test_the_snapshot_has_what_is_not_over() -> None:
    """The newest event of each open order, positions, the numbers to go on from."""
    book = Book()
    book.submit("a", 1, 300)
    book.submit("b", 2)
    book.submit("c", 1)
    book.report("c", EventKind.CANCELED, "4")
    book.report("a", EventKind.TRADE, "1", last_qty=100, last_px=100_000, fee=5)
    snapshot = book.ledger.snapshot(1)
    assert (snapshot.tape_no, snapshot.strategies) == (5, {"1": 4})
    assert [(e.order, e.state, e.cum_qty) for e in snapshot.orders] == [
        ("a", OrderState.PARTIALLY_FILLED, 100)
    ]
    assert [(p.strategy, p.qty, p.fees) for p in snapshot.positions] == [(1, 100, 5)]
    whole = book.ledger.snapshot(None)
    assert [e.order for e in whole.orders] == ["a", "b"]
    assert [(p.strategy, p.qty) for p in whole.positions] == [(1, 100), (None, 100)]


def test_unknown_orders_are_counted() -> None:
    """Those in doubt are known at once, whatever else is open."""
    book = Book()
    book.submit("a")
    order = book.ledger.find("a")
    book.apply(orders.told(order, EventKind.UNKNOWN, book.ledger.numbers(1), 0))
    assert list(book.ledger.unknown) == ["a"]
    book.report("a", EventKind.NEW, "0")
    assert list(book.ledger.unknown) == []


def test_replay_gives_the_same_digest() -> None:
    """Invariant 9: the journal alone gives the state, byte for byte; one event less does not."""
    book = Book()
    for name in "abc":
        book.submit(name)
        book.report(name, EventKind.NEW, "0")
    book.report("a", EventKind.TRADE, "2", last_qty=100, last_px=100_000)
    book.report("b", EventKind.CANCELED, "4")
    book.report("b", EventKind.TRADE, "1", last_qty=40, last_px=100_000)
    again = Ledger({}, key)
    for event in book.journal[:-1]:
        again.apply(event)
    assert again.digest() != book.ledger.digest()
    again.apply(book.journal[-1])
    assert again.digest() == book.ledger.digest()
