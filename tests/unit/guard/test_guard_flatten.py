"""Flatten: the market is latched, own orders go first, then IOC orders for what the account holds, then the answer."""

import msgspec
import pytest

from engine.guard.flattening import FLATTEN_NS, TRIES
from engine.guard.records import LatchReleased, LatchSet
from engine.messages.commands import (
    Approved,
    Arm,
    CancelOrder,
    ControlReply,
    Flatten,
    Halt,
    HaltOrders,
    NewOrder,
    NotAccepted,
)
from engine.messages.executions import PositionState
from engine.messages.market_data import FeedState

BTC, ETH = "BTC-PERP", "ETH-PERP"
TOOL = "tool.ctl.1"
MS = 1_000_000


class Account:
    """Drives a flatten through a rig and plays the venue's part."""

    def __init__(self, rig):
        self.rig = rig
        self.emitted = []

    def flatten(self, symbol=BTC):
        self.rig.out.all.clear()
        self.rig.give(Flatten(request_id="f", who="me", symbol=symbol), TOOL)
        self.take()

    def take(self):
        self.emitted += [m for _, m, _, _ in self.rig.out.all]
        self.rig.out.all.clear()

    def wait(self, ms):
        self.rig.wait(ms)
        self.take()

    def of(self, kind):
        return [m for m in self.emitted if isinstance(m, kind)]

    @property
    def sent(self):
        """The Approved of every order so far."""
        return [m for m in self.of(Approved) if isinstance(m.request, NewOrder)]

    @property
    def reply(self):
        found = self.of(ControlReply)
        assert len(found) <= 1
        return found[0] if found else None

    def cancelling(self, order):
        """Order entry puts the cancel of an order on the tape; the venue says nothing."""
        cancel = next(m.request for m in self.of(Approved) if isinstance(m.request, CancelOrder))
        leaves = order.request.qty
        self.rig.event(
            "cancel_submitted", "PENDING_CANCEL", order.request.cl_ord_id, request_id=cancel.cl_ord_id,
            leaves_qty=leaves, **self.rig.terms(order),
        )  # fmt: skip

    def answer(self, approved, filled, text=""):
        """The venue takes an IOC order: a part trades, the rest is cancelled."""
        rig, request = self.rig, approved.request
        rig.submitted(approved)
        if filled:
            rig.fill(approved, filled, request.price)
        if filled < request.qty:
            rig.end(approved, cum_qty=filled, text=text)
        self.take()


@pytest.fixture
def account(rig):
    return Account(rig)


@pytest.mark.parametrize(
    ("held", "side", "price", "text"), [(700, 2, 97_10, "sold 7.00"), (-700, 1, 103_00, "bought 7.00")]
)
def test_flatten_latches_the_market_and_closes_the_accounts_position_in_the_collar(
    make, held, side, price, text
):
    """collar 200 bp: bid 0.9900 -> 0.9702, rounded up to the tick 0.0010; offer 1.0100 -> 1.0302, down to 1.0300."""
    account = Account(make(instruments__btc={"tick": "0.0010", "collar_bp": 200}))
    account.rig.hold(held)
    account.flatten()
    latch, halt = account.of(LatchSet)[0], account.of(HaltOrders)[0]
    assert (latch.strategy, latch.symbol, latch.why, latch.who) == (None, BTC, "flatten by me", "me")
    assert (halt.strategy, halt.symbol) == (None, BTC)
    (approved,) = account.sent
    request = approved.request
    assert approved.reducing and approved.strategy == 0
    assert (request.side, request.qty, request.price, request.tif) == (side, 700, price, "3")
    assert account.emitted.index(halt) < account.emitted.index(approved)
    assert account.reply is None
    account.answer(approved, 700)
    account.wait(40)
    assert account.reply.ok
    assert account.reply.text.startswith(f"{BTC}: {text}, the account is flat; ")
    assert f"halted until `ctl arm --market {BTC}`" in account.reply.text
    assert "operator" in account.reply.text
    assert account.rig.control(price=100_00) == "halted"
    assert account.rig.control(price=50_0000, symbol=ETH) is None


def test_the_reply_carries_what_was_done_as_values(account):
    account.rig.hold(700)
    account.flatten()
    account.answer(account.sent[0], 700)
    account.wait(40)
    rows = msgspec.msgpack.decode(account.reply.data["flattened"])
    assert rows == [{"symbol": BTC, "bought": 0, "sold": 700, "remaining": 0}]


def test_own_orders_are_cancelled_and_over_before_anything_is_sent(account):
    """A fill that comes before the cancel's answer counts: the size is that of the moment of sending."""
    rig = account.rig
    rig.hold(700)
    ask, bid = rig.rest(side=2, price=101_00, qty=300), rig.rest(side=1, price=98_00, qty=100, slot=2)
    account.flatten()
    account.wait(500)
    assert {m.request.orig_cl_ord_id for m in account.of(Approved) if isinstance(m.request, CancelOrder)} == {
        ask.request.cl_ord_id,
        bid.request.cl_ord_id,
    }
    assert account.sent == []
    rig.fill(ask, 300, 101_00)
    account.wait(100)
    assert account.sent == []
    rig.end(bid)
    account.wait(40)
    assert [m.request.qty for m in account.sent] == [400]


def test_orders_that_do_not_end_are_named_and_nothing_is_sent(account):
    rig = account.rig
    rig.hold(700)
    order = rig.rest(side=1, price=98_00)
    account.flatten()
    account.cancelling(order)
    account.wait(4900)
    assert account.reply is None
    account.wait(200)
    assert account.sent == []
    assert not account.reply.ok
    assert order.request.cl_ord_id in account.reply.text and "7.00 remain" in account.reply.text
    assert f"halted until `ctl arm --market {BTC}`" in account.reply.text


def test_an_order_whose_outcome_becomes_unknown_meanwhile_holds_it_up(account):
    rig = account.rig
    rig.hold(700)
    order = rig.rest(side=2, price=101_00, qty=300)
    account.flatten()
    account.cancelling(order)
    rig.event("unknown", "UNKNOWN", order.request.cl_ord_id, leaves_qty=300, **rig.terms(order))
    account.wait(int(FLATTEN_NS // MS) + 100)
    assert account.sent == [] and not account.reply.ok
    assert "unknown outcome" in account.reply.text and order.request.cl_ord_id in account.reply.text


def test_flatten_works_while_everything_is_halted(account):
    """The kill switch, then flatten, is the normal sequence of an emergency; no arming in between."""
    rig = account.rig
    rig.hold(700)
    rig.give(Halt(request_id="h", why="test", who="me"), TOOL)
    account.flatten()
    (approved,) = account.sent
    account.answer(approved, 700)
    account.wait(40)
    assert account.reply.ok and "flat" in account.reply.text
    assert account.of(LatchReleased) == []
    rig.give(Arm(request_id="a", why="over", who="me"), TOOL)
    assert rig.control(price=100_00) == "halted"


def test_a_halt_does_not_cancel_the_order_that_flattens(account):
    """The sweep of another market goes on meanwhile; an IOC order ends by itself."""
    rig = account.rig
    rig.hold(700)
    rig.rest(price=49_0000, symbol=ETH)
    rig.give(Halt(request_id="h", why="test", who="me"), TOOL)
    account.flatten()
    account.wait(1500)
    (approved,) = account.sent
    cancelled = [m.request.orig_cl_ord_id for m in account.of(Approved) if isinstance(m.request, CancelOrder)]
    assert cancelled and approved.request.cl_ord_id not in cancelled


def test_what_was_filled_partly_is_sent_again_for_the_rest(account):
    account.rig.hold(700)
    account.flatten()
    account.answer(account.sent[0], 300)
    account.wait(40)
    assert len(account.sent) == 1  # the book gets time to show what is left
    account.wait(400)
    assert [m.request.qty for m in account.sent] == [700, 400]
    account.answer(account.sent[1], 400)
    account.wait(40)
    assert account.reply.ok and account.reply.text.startswith(f"{BTC}: sold 7.00, the account is flat")


def test_tries_are_bounded_and_the_reply_says_what_remains(account):
    account.rig.hold(700)
    account.flatten()
    for number in range(TRIES):
        assert len(account.sent) == number + 1
        account.answer(account.sent[number], 100 if number == 0 else 0, text="no liquidity")
        account.wait(400)
    assert len(account.sent) == TRIES
    assert not account.reply.ok
    assert account.reply.text.startswith(f"{BTC}: sold 1.00, 6.00 remain to be sold: ")
    assert "no liquidity" in account.reply.text


def test_an_order_in_flight_is_never_doubled(account):
    """While the venue has not answered, nothing else is sent; the deadline ends the waiting, not the order."""
    account.rig.hold(700)
    account.flatten()
    account.rig.submitted(account.sent[0])
    account.wait(int(FLATTEN_NS // MS) + 100)
    assert len(account.sent) == 1
    assert not account.reply.ok and account.sent[0].request.cl_ord_id in account.reply.text


def test_a_second_flatten_of_the_same_market_is_refused(account):
    account.rig.hold(700)
    account.flatten()
    account.rig.give(Flatten(request_id="g", who="you", symbol=BTC), TOOL)
    account.take()
    assert not account.reply.ok and "under way" in account.reply.text
    assert len(account.sent) == 1


def test_flatten_of_all_takes_every_market_and_answers_once(account):
    rig = account.rig
    rig.hold(700)
    rig.hold(-200, price=50_0000, symbol=ETH)
    account.flatten("")
    assert [(m.request.symbol, m.request.side, m.request.qty) for m in account.sent] == [
        (BTC, 2, 700),
        (ETH, 1, 200),
    ]
    account.answer(account.sent[0], 700)
    account.wait(40)
    assert account.reply is None
    account.answer(account.sent[1], 200)
    account.wait(40)
    assert account.reply.ok
    assert "BTC-PERP: sold 7.00" in account.reply.text and "ETH-PERP: bought 2.00" in account.reply.text


def test_a_market_without_a_position_is_latched_and_cleared_all_the_same(account):
    """What rests could still become a position."""
    order = account.rig.rest(price=98_00)
    account.flatten()
    assert [m.symbol for m in account.of(LatchSet)] == [BTC]
    account.rig.end(order)
    account.wait(100)
    assert account.reply.ok and account.sent == []
    assert account.reply.text.startswith(f"{BTC}: nothing to sell or buy, the account is flat; ")


def test_arming_meanwhile_ends_it(account):
    account.rig.hold(700)
    account.rig.rest(price=98_00)
    account.flatten()
    account.rig.give(Arm(request_id="a", why="no", who="you", symbol=BTC), TOOL)
    account.rig.take()
    account.wait(100)
    assert account.sent == [] and not account.reply.ok
    assert "armed meanwhile" in account.reply.text


def test_an_order_that_order_entry_did_not_take_is_sent_anew(account):
    account.rig.hold(700)
    account.flatten()
    (first,) = account.sent
    account.rig.give(
        NotAccepted(
            epoch=first.epoch, no=first.no, reason="expired", cl_ord_id=first.request.cl_ord_id, text="late"
        )
    )
    account.wait(400)
    assert [m.request.qty for m in account.sent] == [700, 700]


def test_a_book_that_comes_back_is_waited_for(account):
    account.rig.hold(700)
    account.rig.top(BTC, 99_00, 101_00, state=FeedState.STALE)
    account.flatten()
    account.wait(300)
    assert account.sent == [] and account.reply is None
    account.rig.top(BTC, 99_00, 101_00)
    account.wait(40)
    assert len(account.sent) == 1


def test_others_open_orders_on_the_same_side_make_it_smaller(account):
    """Never more than held minus what is open on that side: it would end opposite if those filled too."""
    rig = account.rig
    rig.hold(700)
    rig.event("new", "NEW", "theirs", strategy=-1, symbol=BTC, side=2, price=101_00, qty=300, leaves_qty=300)
    account.flatten()
    assert [m.request.qty for m in account.sent] == [400]


# -- what is not known is not flattened


def unknown_position(rig):
    rig.snapshot(positions=[PositionState(symbol=BTC, qty=700, known=False)])
    rig.guard.following.ask_snapshot(rig.now)
    rig.snapshot(positions=[PositionState(symbol=BTC, qty=700, known=False)])


def doubt(rig):
    rig.event(
        "trade", "FILLED", "x", symbol=BTC, side=1, price=100_00, qty=100, cum_qty=100, last_qty=100,
        last_px=100_00, long_qty=900, short_qty=0,
    )  # fmt: skip


def position_break(rig):
    doubt(rig)
    rig.wait(3200)
    rig.give(Arm(request_id="a", why="seen", who="me", symbol=BTC), TOOL)


def unknown_order(rig):
    order = rig.rest(side=2, price=101_00)
    rig.event("unknown", "UNKNOWN", order.request.cl_ord_id, leaves_qty=100, **rig.terms(order))
    rig.unknown = order.request.cl_ord_id


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (unknown_position, "no opening position is known"),
        (doubt, "the venue says the position is 900, our sum is 800"),
        (position_break, "position break"),
        (lambda rig: rig.caught_up(gating={"position": 1}), "1 open breaks of kind position"),
        (lambda rig: rig.caught_up(caught_up=False, detail="sweeping"), "drop copy is not caught up: sweeping"),
        (lambda rig: rig.oe_beat(logon_sweep=2), "has not heard of order entry's logon"),
        (unknown_order, "1 orders with an unknown outcome"),
        (lambda rig: rig.oe_beat(session="connecting"), "order entry can't send orders now"),
        (lambda rig: rig.guard.on_journal_failed("disk full", rig.now), "the journal takes no records: disk full"),
        (lambda rig: rig.guard.quiesce(rig.now), "the engine stops"),
    ],
)  # fmt: skip
def test_flatten_is_refused_with_the_reason_and_changes_nothing(account, spoil, text):
    rig = account.rig
    rig.hold(700)
    spoil(rig)
    account.flatten()
    assert not account.reply.ok and text in account.reply.text
    assert "nothing was changed" in account.reply.text
    assert getattr(rig, "unknown", "") in account.reply.text
    assert account.of(LatchSet) == [] and account.of(Approved) == []


def test_a_break_is_remembered_over_a_restart_and_ends_with_a_stated_position(make):
    latched = LatchSet(
        wall_ns=1, symbol=BTC, why="position break: the venue says the position is 900, our sum is 800", who="guard"
    )  # fmt: skip
    account = Account(make(journal=[latched]))
    account.rig.hold(700)
    account.flatten()
    assert not account.reply.ok and "position break" in account.reply.text
    account.rig.event(
        "position", "FILLED", "", strategy=-1, symbol=BTC, position=900, long_qty=900, short_qty=0
    )
    account.emitted.clear()
    account.flatten()
    assert [m.request.qty for m in account.sent] == [900]


def test_a_market_that_is_not_there_is_refused(account):
    account.flatten("DOGE")
    assert not account.reply.ok and account.reply.text == "there is no market DOGE"


def test_flatten_waits_for_fills_that_are_missing(account):
    """What is held can't be known: it is refused at the beginning, and waited for when it happens on the way."""
    rig = account.rig
    rig.hold(700)
    gone = rig.rest(qty=300, price=99_00)
    rig.end(gone, missing_qty=300)
    account.flatten()
    assert not account.sent and not account.reply.ok
    assert "fills of 3.00 contracts are missing" in account.reply.text
    rig.end(gone, "fills_denied", "CANCELED", late=True)
    account.emitted.clear()
    resting = rig.rest(qty=300, price=99_00)
    account.flatten()
    account.cancelling(resting)
    rig.end(resting, missing_qty=300)
    account.wait(100)
    assert not account.sent and account.reply is None
    rig.event("trade", "CANCELED", resting.request.cl_ord_id, cum_qty=300, last_qty=300, last_px=99_00, late=True,
              exec_id="7;7", source="recovered", **rig.terms(resting))  # fmt: skip
    account.wait(100)
    assert [approved.request.qty for approved in account.sent] == [1000]
