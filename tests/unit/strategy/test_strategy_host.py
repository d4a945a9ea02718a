"""The worker: gaps, conflation, errors in each callback, orders by the tape."""

import msgspec
import pytest

from engine.common.actor import PeerEvent
from engine.common.clock import SECOND
from engine.errors import ConfigError
from engine.messages.commands import CancelAll, CancelOrder, NewOrder, Refused, ReplaceOrder
from engine.messages.executions import (
    EventKind,
    OrderEvent,
    OrdersSnapshot,
    OrderState,
    PositionState,
    SnapshotRequest,
    TapeBeat,
    TapeReplay,
    TapeRequest,
)
from engine.messages.market_data import BookRequest, BookSnapshot, FeedBeat, FeedState
from engine.strategy.api import (
    CLOSED,
    PENDING_GUARD,
    REFUSED,
    Strategy,
    StrategyConfigBase,
    contracts,
    fmt_money,
    fmt_price,
    fmt_qty,
    price,
)
from engine.strategy.host import StrategyHost
from engine.strategy.testing import FEED, SLOT, Collector, Harness, make_config

BTC = "BTC-PERP"
ETH = "ETH-PERP"


class Recording(Strategy):
    """Keeps what it is told."""

    def on_start(self):
        self.seen = ["start"]

    def on_book(self, book):
        self.seen.append(("book", book.symbol, book.bid, book.ask))

    def on_trade(self, trade):
        self.seen.append(("trade", trade.symbol, trade.price, trade.qty, trade.aggressor))

    def on_order(self, order):
        self.seen.append(("order", str(order.state), order.text))

    def on_fill(self, order, fill):
        self.seen.append(("fill", fill.price, fill.qty, fill.position))

    def on_refused(self, order, refusal):
        self.seen.append(("refused", refusal.request, refusal.control, order.state))

    def on_timer(self, name):
        self.seen.append(("timer", name))

    def on_market_state(self, symbol, state, reason):
        self.seen.append(("state", symbol, str(state)))

    def on_latched(self, halted, why):
        self.seen.append(("latched", halted, why))

    def on_order_entry(self, up, why):
        self.seen.append(("order entry", up, why))

    def on_stop(self):
        self.seen.append("stop")


def begun(**more):
    harness = Harness(Recording, **more)
    harness.start()
    return harness


def seen(harness):
    found, harness.strategy.seen = harness.strategy.seen, []
    return found


def asked(harness, kind):
    return [message for _, message in harness.out.sent if isinstance(message, kind)]


def live(harness, symbol=BTC):
    harness.book(symbol, bids=[("19.49", 10)], asks=[("19.51", 10)])
    seen(harness)
    return harness.host.ctx


# -- the start


def test_worker_asks_for_books_and_orders_and_says_hello_at_start():
    """The first beat is a hello; nothing is called before the orders' snapshot."""
    harness = Harness(Recording)
    harness.host.start(harness.now)
    assert asked(harness, BookRequest) == [BookRequest(symbols=[BTC])]
    assert asked(harness, SnapshotRequest) == [SnapshotRequest(strategy=SLOT)]
    assert [beat.hello for beat in harness.beats] == [True]
    harness.book(BTC, bids=[("19.49", 10)], asks=[("19.51", 10)])
    harness.trade(BTC, "19.50")
    assert not hasattr(harness.strategy, "seen")
    harness.deliver("oe.ask", OrdersSnapshot(tape_no=0, strategy=SLOT))
    assert seen(harness) == ["start", ("book", BTC, 194900, 195100)]
    harness.advance(1)
    assert [beat.hello for beat in harness.beats[1:]] == [False] * 5


def test_snapshot_request_is_repeated_until_it_is_answered():
    """A lost question is asked again."""
    harness = Harness(Recording)
    harness.host.start(harness.now)
    harness.advance(2)
    assert len(asked(harness, SnapshotRequest)) == 4
    assert harness.host.status(harness.now).state == "STARTING"


def test_open_orders_and_positions_of_a_former_life_are_there_at_start():
    """The snapshot brings them before on_start; another strategy's are not ours."""
    harness = Harness(Recording)
    harness.host.start(harness.now)
    event = OrderEvent(
        tape_no=9, strategy=SLOT, strategy_no=4, kind=EventKind.NEW, state=OrderState.NEW, order="old", wall_ns=1,
        cl_ord_id="old", symbol=BTC, side=2, price=195000, qty=300, leaves_qty=300,
    )  # fmt: skip
    other = msgspec.structs.replace(event, strategy=8, order="theirs")
    positions = [
        PositionState(symbol=BTC, strategy=SLOT, qty=-200),
        PositionState(symbol=BTC, strategy=None, qty=900),
        PositionState(symbol=BTC, strategy=8, qty=1100),
    ]
    harness.deliver(
        "oe.ask",
        OrdersSnapshot(
            tape_no=9, strategy=SLOT, strategies={"7": 4}, orders=[event, other], positions=positions
        ),
    )
    assert seen(harness) == ["start"]
    (order,) = harness.host.ctx.orders()
    assert (order.id, order.leaves_qty, order.pending, harness.position(BTC)) == ("old", 300, False, -200)


# -- books


def test_books_are_conflated_and_trades_are_not():
    """Three updates in one batch: on_trade for each trade, on_book once with the last state."""
    harness = begun()
    live(harness)
    batch = [
        harness.update(BTC, [0, 195000, 100], [195100, 100, 1]),
        harness.update(BTC, [0, 195000, 0], [195100, 200, 1, 194900, 100, 2]),
        harness.update(BTC, [1, 195100, 0, 1, 195200, 500]),
    ]
    harness.deliver("md.feed", *batch)
    assert seen(harness) == [
        ("trade", BTC, 195100, 100, 1),
        ("trade", BTC, 195100, 200, 1),
        ("trade", BTC, 194900, 100, 2),
        ("book", BTC, 194900, 195200),
    ]


def test_without_conflation_every_update_is_told():
    """`conflate = false`: one on_book per update."""
    harness = begun(conflate=False)
    live(harness)
    harness.deliver("md.feed", harness.update(BTC, [0, 195000, 100]), harness.update(BTC, [0, 195000, 0]))
    assert seen(harness) == [("book", BTC, 195000, 195100), ("book", BTC, 194900, 195100)]


def test_gap_makes_books_invalid_until_a_snapshot_and_queued_updates_are_applied():
    """An update is lost: no on_book, a question, then the snapshot and what is newer than it."""
    harness = begun()
    ctx = live(harness)
    harness.out.sent.clear()
    harness._read = 0
    harness.update(BTC, [0, 195000, 700])  # lost: feed_no 2
    harness.deliver("md.feed", harness.update(BTC, [1, 195050, 300], [195050, 100, 1]))
    assert seen(harness) == [("trade", BTC, 195050, 100, 1)]
    assert ctx.book(BTC) is None
    assert asked(harness, BookRequest) == [BookRequest(symbols=[BTC])]
    harness.deliver("md.feed", harness.update(BTC, [0, 194900, 0]))
    snapshot = BookSnapshot(
        feed=FEED, feed_no=3, symbol=BTC, symbol_no=3, state=FeedState.LIVE,
        levels=[0, 195000, 700, 0, 194900, 1000, 1, 195050, 300, 1, 195100, 1000],
    )  # fmt: skip
    harness.deliver("md.ask", snapshot)
    assert seen(harness) == [("book", BTC, 195000, 195050)]
    assert ctx.book(BTC).levels() == [0, 195000, 700, 1, 195050, 300, 1, 195100, 1000]
    assert harness.host.feed.gaps == 1


def test_snapshot_older_than_the_gap_is_not_taken():
    """Its levels may lack what was lost; the question is repeated."""
    harness = begun()
    ctx = live(harness)
    harness.update(BTC, [0, 195000, 700])
    harness.deliver("md.feed", harness.update(BTC, [0, 194900, 300]))
    old = BookSnapshot(
        feed=FEED, feed_no=1, symbol=BTC, symbol_no=1, state=FeedState.LIVE, levels=[0, 1, 1, 1, 2, 1]
    )
    harness.deliver("md.ask", old)
    assert ctx.book(BTC) is None
    before = len(asked(harness, BookRequest))
    harness.advance(0.7)
    assert len(asked(harness, BookRequest)) > before


def test_loss_of_the_last_update_shows_by_the_beat():
    """A beat that knows a later number is a gap too."""
    harness = begun()
    ctx = live(harness)
    harness.update(BTC, [0, 195000, 700])
    harness.deliver("md.feed", FeedBeat(feed=FEED, feed_no=2, mono_ns=0, session="logged on"))
    assert ctx.book(BTC) is None
    assert asked(harness, BookRequest)[-1] == BookRequest(symbols=[BTC])


def test_whole_book_in_the_feed_heals_a_gap():
    """A reset needs no snapshot."""
    harness = begun()
    ctx = live(harness)
    harness.update(BTC, [0, 195000, 700])
    harness.deliver("md.feed", harness.update(BTC, [0, 194800, 100, 1, 195300, 100], reset=True))
    assert seen(harness) == [("book", BTC, 194800, 195300)]
    assert ctx.book(BTC).bid == 194800


def test_new_life_of_market_data_starts_over_and_an_old_one_is_ignored():
    """Another feed number makes all books invalid; a smaller one is a leftover."""
    harness = begun(markets=[BTC, ETH])
    ctx = live(harness)
    newer = FeedBeat(
        feed=FEED + 5, feed_no=40, mono_ns=0, session="logged on", markets={BTC: FeedState.WAITING}
    )
    harness.deliver("md.feed", newer)
    assert ctx.book(BTC) is None
    assert seen(harness) == [("state", BTC, "waiting")]
    harness.deliver("md.feed", harness.update(BTC, [0, 195000, 700], reset=True))
    assert ctx.book(BTC) is None
    assert harness.host.feed.restarts == 1
    harness.deliver(
        "md.ask",
        BookSnapshot(
            feed=FEED + 5,
            feed_no=41,
            symbol=BTC,
            symbol_no=9,
            state=FeedState.LIVE,
            levels=[0, 10, 1, 1, 12, 1],
        ),
    )
    assert seen(harness) == [("state", BTC, "live"), ("book", BTC, 10, 12)]


def test_book_that_is_crossed_stale_or_another_market_is_not_told():
    """on_book only for a live, uncrossed book of ours."""
    harness = begun()
    ctx = live(harness)
    harness.change(BTC, bids=[("19.51", 1)])
    assert ctx.book(BTC) is None
    harness.change(BTC, bids=[("19.51", 0)])
    harness.state(BTC, FeedState.STALE, "session")
    harness.change(BTC, bids=[("19.50", 1)])
    assert seen(harness) == [("book", BTC, 194900, 195100), ("state", BTC, "stale")]
    harness.state(BTC, FeedState.LIVE)
    assert seen(harness) == [("state", BTC, "live"), ("book", BTC, 195000, 195100)]


def test_silent_market_data_makes_everything_stale():
    """No beat for stale_feed_ms."""
    harness = begun()
    live(harness)
    for _ in range(8):
        harness.now = type(harness.now)(harness.now.wall_ns + SECOND // 5, harness.now.mono_ns + SECOND // 5)
        harness.host.on_deadline(harness.now)
        harness.host.on_drained(harness.now)
    assert seen(harness) == [("state", BTC, "stale")]
    assert harness.host.status(harness.now).detail == "no usable book: BTC-PERP"


# -- orders


def test_order_goes_to_the_guard_with_times_and_lives_by_the_tape():
    """PENDING_GUARD until the tape speaks; then NEW, a fill, and the position."""

    class Once(Recording):
        def on_book(self, book):
            if not self.ctx.orders():
                self.order = self.ctx.buy(BTC, contracts(5), book.bid, post_only=True, group="g1")

    harness = Harness(Once)
    harness.start()
    harness.book(BTC, bids=[("19.49", 10)], asks=[("19.51", 10)])
    (intent,) = harness.take_new()
    assert msgspec.structs.asdict(intent) == {
        "cl_ord_id": intent.cl_ord_id, "symbol": BTC, "side": 1, "qty": 500, "price": 194900, "tif": "1",
        "post_only": True, "expire_ns": 0, "group": "g1", "stp": 1, "cancel_on_pause": True, "reduce_only": False,
        "trigger_ns": harness.now.mono_ns, "made_ns": harness.now.mono_ns,
    }  # fmt: skip
    order = harness.strategy.order
    assert (order.state, order.pending, order.cancel(), order.replace(price=194800)) == (
        PENDING_GUARD,
        True,
        False,
        False,
    )
    seen(harness)
    harness.accept(intent)
    assert (order.state, order.pending) == ("NEW", False)
    harness.fill(intent, 2)
    assert seen(harness) == [
        ("order", "NEW", ""),
        ("fill", 194900, 200, 200),
        ("order", "PARTIALLY_FILLED", ""),
    ]
    assert (order.cum_qty, order.leaves_qty, harness.position(BTC)) == (200, 300, 200)
    harness.fill(intent, 3)
    assert (order.is_open, harness.host.ctx.orders()) == (False, [])
    assert order.cancel() is False


def test_cancel_and_replace_wait_for_the_answer_to_the_one_before():
    """One request per order at a time; a refused replace frees it again."""
    harness = begun()
    ctx = live(harness)
    order = ctx.sell(BTC, 500, 195100)
    harness.deliver("md.feed")
    (new,) = harness.take_new()
    harness.accept(new)
    assert order.replace(qty=500, price=195100) is False  # nothing would change
    assert order.replace(price=195200) is True
    assert order.cancel() is False
    harness.deliver("md.feed")
    (replace,) = harness.take()
    assert replace == ReplaceOrder(
        cl_ord_id=replace.cl_ord_id, orig_cl_ord_id=order.id, symbol=BTC, side=2, qty=500, price=195200,
        made_ns=harness.now.mono_ns,
    )  # fmt: skip
    harness.refuse(replace, "tokens")
    assert (order.pending, order.price) == (False, 195100)
    assert seen(harness)[-1] == ("refused", "replace", "tokens", "NEW")
    assert order.replace(price=195300) is True
    harness.deliver("md.feed")
    harness.accept_all()
    assert (order.price, order.pending) == (195300, False)
    assert order.cl_ord_id != order.id
    assert order.cancel() is True
    harness.deliver("md.feed")
    cancel = harness.take()[-1]
    assert cancel == CancelOrder(
        cl_ord_id=cancel.cl_ord_id,
        orig_cl_ord_id=order.cl_ord_id,
        symbol=BTC,
        side=2,
        made_ns=harness.now.mono_ns,
    )
    harness.reject(cancel, "CANNOT_UPDATE_FILLED_ORDER")
    assert (order.pending, order.is_open) == (False, True)


def test_guard_refusal_ends_a_new_order():
    """Refused -> on_refused, and the order is over."""
    harness = begun()
    ctx = live(harness)
    order = ctx.buy(BTC, 500, 194900)
    harness.deliver("md.feed")
    harness.refuse(harness.take_new()[0], "collar")
    assert seen(harness) == [("refused", "new", "collar", REFUSED)]
    assert (order.is_open, ctx.orders()) == (False, [])


def test_a_refusal_of_no_one_request_touches_no_order():
    """What was dropped in a flood is answered once for all of it: a line in the log, and every order as it was."""
    harness = begun()
    ctx = live(harness)
    order = ctx.buy(BTC, 500, 194900)
    harness.deliver("md.feed")
    harness.accept(harness.take_new()[0])
    seen(harness)
    refused = Refused(
        cl_ord_id="", control="message_rate", scope="strategy x", text="20 messages were dropped"
    )
    harness.deliver("guard.orders", refused)
    assert seen(harness) == [] and order.is_open and not order.pending


def test_where_requests_may_wait_a_newer_replace_and_a_cancel_pass_the_one_that_waits():
    """over_budget = "queue": the guard lets the newer replace take the place of the older, and the cancel overtake it."""
    harness = begun()
    ctx = live(harness)
    ctx.queues = True
    order = ctx.sell(BTC, 500, 195100)
    harness.deliver("md.feed")
    harness.accept(harness.take_new()[0])
    assert order.replace(price=195200) and order.replace(price=195300)
    harness.deliver("md.feed")
    older, newer = harness.take()
    seen(harness)
    harness.refuse(older, "superseded")
    assert order.pending and seen(harness) == []
    assert order.cancel() and not order.cancel()
    harness.deliver("md.feed")
    (cancel,) = harness.take()
    harness.refuse(newer, "superseded")
    assert order.pending
    harness.accept(cancel)
    assert not order.is_open


def test_full_queue_to_the_guard_is_a_refusal():
    """The runtime says that the intent was not sent."""
    harness = begun()
    ctx = live(harness)
    ctx.buy(BTC, 500, 194900)
    harness.deliver("md.feed")
    (intent,) = harness.take_new()
    harness.host.on_peer("guard.orders", "guard", PeerEvent.REFUSED, intent, harness.now)
    assert seen(harness) == [("refused", "new", "queue", REFUSED)]


def test_latched_strategy_sends_no_new_order_but_cancels():
    """Halted by the guard: buy is refused here, cancels pass, arming opens again."""
    harness = begun()
    ctx = live(harness)
    resting = ctx.buy(BTC, 500, 194900)
    harness.deliver("md.feed")
    harness.accept_all()
    seen(harness)
    harness.take()
    harness.latch(True, "loss limit")
    order = ctx.buy(BTC, 500, 194900)
    assert (order.state, resting.replace(price=194800), resting.cancel()) == (REFUSED, False, True)
    harness.deliver("md.feed")
    assert [type(intent) for intent in harness.take()] == [CancelOrder]
    assert seen(harness) == [("latched", True, "loss limit"), ("refused", "new", "halted", REFUSED)]
    assert harness.host.status(harness.now).state == "HALTED"
    harness.latch(False)
    assert ctx.buy(BTC, 500, 194900).state == PENDING_GUARD


def test_unanswered_intent_is_settled_by_the_tape_not_by_time():
    """After its expiry the tape is asked; only its answer ends the order."""
    harness = begun()
    ctx = live(harness)
    order = ctx.buy(BTC, 500, 194900)
    harness.advance(5)
    assert order.state == PENDING_GUARD
    assert asked(harness, TapeRequest)[0] == TapeRequest(from_no=1, strategy=SLOT)
    harness.deliver("oe.ask", TapeReplay(events=[], strategy=SLOT))
    assert order.state == REFUSED
    assert seen(harness)[-1] == ("refused", "new", "no_answer", REFUSED)


def event(no, kind=EventKind.NEW, state=OrderState.NEW, order="a", **more):
    return OrderEvent(
        tape_no=no, strategy=SLOT, strategy_no=no, kind=kind, state=state, order=order, wall_ns=no, cl_ord_id=order,
        **{"symbol": BTC, "side": 1, "price": 194900, "qty": 500, "leaves_qty": 500, **more},
    )  # fmt: skip


def trade_event(no, qty, cum):
    return event(
        no,
        EventKind.TRADE,
        OrderState.PARTIALLY_FILLED,
        last_px=194900,
        last_qty=qty,
        cum_qty=cum,
        leaves_qty=500 - cum,
    )


def test_tape_gap_is_replayed_in_order_and_nothing_is_told_twice():
    """Event 2 is lost: 3 waits, the replay brings both, each fill is told once."""
    harness = begun()
    harness.deliver("oe.tape", event(1))
    seen(harness)
    harness.advance(1)
    harness.deliver("oe.tape", trade_event(3, 200, 300))
    assert seen(harness) == []
    assert asked(harness, TapeRequest) == [TapeRequest(from_no=2, strategy=SLOT)]
    harness.deliver(
        "oe.ask", TapeReplay(events=[trade_event(2, 100, 100), trade_event(3, 200, 300)], strategy=SLOT)
    )
    harness.deliver("oe.tape", trade_event(2, 100, 100))
    assert seen(harness) == [
        ("fill", 194900, 100, 100),
        ("order", "PARTIALLY_FILLED", ""),
        ("fill", 194900, 200, 300),
        ("order", "PARTIALLY_FILLED", ""),
    ]
    assert harness.position(BTC) == 300


def test_lost_last_event_shows_by_the_tape_beat():
    """A beat with a later strategy_no is a gap; other strategies' numbers are not ours."""
    harness = begun()
    harness.advance(1)
    harness.deliver(
        "oe.tape", TapeBeat(tape_no=9, mono_ns=0, session="logged on", ready=True, strategies={"8": 9})
    )
    assert asked(harness, TapeRequest) == []
    harness.deliver(
        "oe.tape", TapeBeat(tape_no=9, mono_ns=0, session="logged on", ready=True, strategies={"7": 1})
    )
    assert asked(harness, TapeRequest) == [TapeRequest(from_no=1, strategy=SLOT)]


def test_snapshot_instead_of_a_replay_closes_what_is_gone():
    """Order entry can't replay that far: positions are the snapshot's, a missing order is CLOSED."""
    harness = begun()
    harness.deliver("oe.tape", event(1), event(2, order="b"))
    gone, kept = harness.host.ctx.orders()
    seen(harness)
    harness.deliver(
        "oe.ask",
        OrdersSnapshot(
            tape_no=50,
            strategy=SLOT,
            strategies={"7": 40},
            orders=[event(40, order="b", leaves_qty=100, cum_qty=400)],
            positions=[PositionState(symbol=BTC, strategy=SLOT, qty=900)],
        ),
    )
    assert (gone.state, kept.leaves_qty, harness.position(BTC)) == (CLOSED, 100, 900)
    harness.deliver("oe.tape", event(41, EventKind.CANCELED, OrderState.CANCELED, order="b", leaves_qty=0))
    assert kept.state == "CANCELED"


def test_late_fill_of_an_ended_order_moves_the_position():
    """The order stays what it is; on_fill says late."""
    harness = begun()
    harness.deliver("oe.tape", event(1), event(2, EventKind.CANCELED, OrderState.CANCELED, leaves_qty=0))
    seen(harness)
    late = event(
        3,
        EventKind.TRADE,
        OrderState.CANCELED,
        last_px=194900,
        last_qty=100,
        cum_qty=100,
        leaves_qty=0,
        late=True,
    )
    harness.deliver("oe.tape", late)
    assert seen(harness) == [("fill", 194900, 100, 100), ("order", "CANCELED", "")]
    assert harness.position(BTC) == 100


# -- order entry comes and goes


def oe_beat(harness, *, ready=True, detail=""):
    harness.deliver(
        "oe.tape", TapeBeat(tape_no=0, mono_ns=1, session="logged on", ready=ready, detail=detail)
    )


def test_the_loss_of_order_entry_is_told_within_half_a_second_and_its_return_too():
    """Once each; nothing is said before it was ever heard."""
    harness = begun()
    harness.advance(2)
    oe_beat(harness)
    seen(harness)
    harness.advance(0.39)
    assert seen(harness) == []
    harness.advance(0.02)
    assert seen(harness) == [("order entry", False, "order entry is silent")]
    harness.advance(3)
    assert seen(harness) == []
    oe_beat(harness)
    assert seen(harness) == [("order entry", True, "")]


def test_an_order_entry_that_is_not_ready_is_told_with_its_reason():
    """A lost session, say; another reason is no news."""
    harness = begun()
    seen(harness)
    oe_beat(harness, ready=False, detail="KalshiNR is connecting")
    oe_beat(harness, ready=False, detail="finding out about 2 orders")
    oe_beat(harness)
    assert seen(harness) == [("order entry", False, "KalshiNR is connecting"), ("order entry", True, "")]


def test_what_was_lost_before_the_start_is_told_after_it():
    harness = Harness(Recording)
    harness.host.start(harness.now)
    oe_beat(harness, ready=False, detail="journal")
    harness.deliver("oe.ask", OrdersSnapshot(tape_no=0, strategy=SLOT))
    assert seen(harness)[:2] == ["start", ("order entry", False, "journal")]


# -- errors of user code

CALLBACKS = {
    "on_start": lambda h: None,
    "on_book": lambda h: h.change(BTC, bids=[("19.50", 1)]),
    "on_trade": lambda h: h.trade(BTC, "19.50"),
    "on_order": lambda h: h.deliver("oe.tape", event(1)),
    "on_fill": lambda h: h.deliver("oe.tape", event(1), trade_event(2, 100, 100)),
    "on_refused": lambda h: (h.host.ctx.buy(BTC, 100, 1), h.deliver("md.feed"), h.refuse(h.take_new()[0])),
    "on_timer": lambda h: (h.host.ctx.set_timer("t", 0.01), h.advance(0.02)),
    "on_market_state": lambda h: h.state(BTC, FeedState.STALE),
    "on_latched": lambda h: h.latch(True),
    "on_order_entry": lambda h: h.deliver(
        "oe.tape", TapeBeat(tape_no=0, mono_ns=1, session="gone", ready=False)
    ),
    "on_stop": lambda h: h.stop(),
}


@pytest.mark.parametrize("callback", CALLBACKS)
def test_error_in_a_callback_is_logged_with_its_line_and_the_worker_lives(callback):
    """Strategy, callback, file, line and text in one line."""

    def fail(self, *args):
        raise ZeroDivisionError("by user")

    harness = Harness(type("Bad", (Recording,), {callback: fail}))
    harness.fail_on_error = False
    if callback == "on_start":
        harness.strategy.seen = []
    harness.start()
    live(harness)
    CALLBACKS[callback](harness)
    errors = [text for level, text in harness.out.logs if level == "error"]
    assert errors, "the failure was logged"
    line = fail.__code__.co_firstlineno + 1
    assert errors[0] == (
        f"strategy.under_test: {callback} failed at test_strategy_host.py:{line} in fail: ZeroDivisionError: by user"
    )
    assert harness.host.failures.total == len(errors)
    assert harness.host.failed == ""


def test_tenth_error_within_a_minute_stops_the_strategy_and_cancels_its_orders():
    """CancelAll until nothing is open, no callback any more, the process alive."""

    class Bad(Recording):
        def on_trade(self, trade):
            raise SystemExit(1)

    harness = Harness(Bad)
    harness.fail_on_error = False
    harness.start()
    ctx = live(harness)
    ctx.buy(BTC, 500, 194900)
    harness.deliver("md.feed")
    harness.accept_all()
    harness.take()
    for _ in range(9):
        harness.trade(BTC, "19.50")
    assert harness.take() == []
    seen(harness)
    harness.trade(BTC, "19.50")
    assert harness.take() == [CancelAll()]
    harness.advance(1.5)
    assert harness.take() == [CancelAll()]
    harness.accept_all()
    harness.advance(3)
    assert harness.take() == []
    assert seen(harness) == []
    assert ctx.buy(BTC, 500, 194900).state == REFUSED
    status = harness.host.status(harness.now)
    assert (status.state, status.detail) == ("HALTED", "failed: 10 errors within 60 s, the last in on_trade")
    assert harness.beats[-1].mono_ns > harness.now.mono_ns - SECOND


def test_errors_that_are_far_apart_do_not_stop_it():
    """Ten errors over more than 60 s."""

    class Bad(Recording):
        def on_trade(self, trade):
            raise ValueError

    harness = Harness(Bad)
    harness.fail_on_error = False
    harness.start()
    live(harness)
    for _ in range(12):
        harness.advance(7)
        harness.trade(BTC, "19.50")
    assert (harness.host.failures.total, harness.host.failed) == (12, "")


def test_trouble_in_the_constructor_is_a_config_error():
    """Nothing starts."""

    class Bad(Strategy):
        def __init__(self, ctx, config):
            super().__init__(ctx, config)
            raise KeyError("x")

    with pytest.raises(ConfigError, match=r"strategy 'under_test': Bad can't be made: .*: KeyError: 'x'"):
        Harness(Bad)


# -- the context's checks


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda c: c.buy(BTC, 5.0, 195000), "qty=5.0 is not possible: an int in 1/100 contract"),
        (lambda c: c.buy(BTC, True, 195000), "not bool"),
        (
            lambda c: c.buy(BTC, 150, 195000),
            "qty=150 is not possible: a multiple of BTC-PERP's lot of 1 (100 in",
        ),
        (lambda c: c.buy(BTC, -100, 195000), "qty=-100 is not possible: more than 0"),
        (lambda c: c.buy(BTC, 100, 10**23), "at most"),
        (lambda c: c.buy(BTC, 100, float("nan")), "price=nan is not possible: an int in 1/10000 dollar"),
        (
            lambda c: c.sell(BTC, 100, 195050),
            "a multiple of BTC-PERP's tick of 0.0100 (100 in 1/10000 dollar)",
        ),
        (
            lambda c: c.sell("DOGE", 100, 195000),
            "symbol='DOGE' is not possible: one of this strategy's markets",
        ),
        (lambda c: c.sell([], 100, 195000), "symbol=[]"),
        (lambda c: c.buy(BTC, 100, 195000, tif="FOREVER"), "one of GTC, DAY, IOC, FOK, GTD"),
        (lambda c: c.buy(BTC, 100, 195000, tif="IOC", post_only=True), "can't be post only"),
        (lambda c: c.buy(BTC, 100, 195000, tif="GTD"), "expire=None"),
        (lambda c: c.buy(BTC, 100, 195000, expire=5), "only GTD expires"),
        (lambda c: c.buy(BTC, 100, 195000, stp="both"), "`taker` or `maker`"),
        (lambda c: c.buy(BTC, 100, 195000, group="a\x01b"), "printable ASCII"),
        (lambda c: c.set_timer("t", 0), "a positive time"),
        (lambda c: c.set_timer("t", float("nan")), "a number from 0"),
        (lambda c: c.set_timer("t", ns=10, repeat=True), "at least 0.001"),
        (lambda c: c.cancel_all("DOGE"), "symbol='DOGE'"),
        (lambda c: price(19.5), "floats are not exact"),
        (lambda c: contracts(2.5), "whole contracts as an int"),
    ],
)
def test_impossible_arguments_raise_value_error_with_a_clear_text(call, text):
    """The text says which argument, its value, and what would be right."""
    from engine.config import InstrumentConfig

    harness = Harness(Recording, markets={BTC: InstrumentConfig(tick="0.0100")})
    harness.start()
    with pytest.raises(ValueError) as caught:
        call(harness.host.ctx)
    assert text in str(caught.value)
    assert harness.take() == []


def test_numbers_are_made_and_shown_exactly():
    """Text in, ints inside, text out."""
    assert (price("19.50"), price("0.0001"), contracts(5), contracts("2")) == (195000, 1, 500, 200)
    assert (fmt_price(195000), fmt_qty(500), fmt_qty(550), fmt_money(12_345_678)) == (
        "19.5000",
        "5",
        "5.50",
        "12.35",
    )


def test_replace_below_what_is_filled_raises():
    """The new total must be above the filled part."""
    harness = begun()
    ctx = live(harness)
    order = ctx.buy(BTC, 500, 194900)
    harness.deliver("md.feed")
    (new,) = harness.take_new()
    harness.fill(new, 3)
    with pytest.raises(ValueError, match="above the 3 that are filled"):
        order.replace(qty=300)


def test_timers_fire_in_order_once_or_again_and_again():
    """A repeating timer keeps its phase; a timer set again moves."""
    harness = begun()
    ctx = harness.host.ctx
    ctx.set_timer("late", 0.3)
    ctx.set_timer("early", 0.1)
    ctx.set_timer("gone", 0.1)
    ctx.set_timer("again", ns=150_000_000, repeat=True)
    ctx.cancel_timer("gone")
    seen(harness)
    harness.advance(0.5)
    # at 0.3 s both are due: the one that was set first fires first
    assert seen(harness) == [
        ("timer", "early"), ("timer", "again"), ("timer", "late"), ("timer", "again"), ("timer", "again"),
    ]  # fmt: skip


def test_log_is_limited_per_second():
    """A chatty strategy can't flood the log."""
    harness = begun()
    for number in range(50):
        harness.host.ctx.log(f"line\n{number}")
    assert harness.logs[0] == "info: line 0"
    assert len(harness.logs) == 21
    assert harness.logs[-1].startswith("warning: more than 20 lines a second")


# -- the end


def test_quiesce_calls_on_stop_cancels_and_waits_for_the_tape():
    """Shutdown policy `cancel`: quiesced when nothing of ours rests."""
    harness = begun()
    ctx = live(harness)
    ctx.buy(BTC, 500, 194900)
    harness.deliver("md.feed")
    harness.accept_all()
    harness.take()
    seen(harness)
    harness.stop()
    assert seen(harness) == ["stop"]
    assert (harness.take(), harness.host.quiesced) == ([CancelAll()], False)
    harness.accept_all()
    assert harness.host.quiesced
    harness.host.stop(harness.now)
    assert harness.host.stopped
    assert harness.host.status(harness.now).state == "STOPPED"


def test_worker_of_an_unknown_strategy_is_a_config_error():
    """The name must be in [strategies]."""
    config = make_config("one", {}, {})
    with pytest.raises(ConfigError, match="strategy 'two' is not in \\[strategies\\]; known: one"):
        StrategyHost("strategy.two", config, Collector(), lambda: "id", Recording)


def test_nested_config_class_works():
    """A strategy may write its Config inside the class."""

    class Nested(Strategy):
        class Config(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
            qty: int = 5

    assert Harness(Nested, {"qty": 6}).strategy.config.qty == 6
    assert isinstance(NewOrder, type)
