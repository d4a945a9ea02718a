"""The market-data actor: literal FIX in, bus messages out; and what it does when the feed breaks."""

import pytest

from engine.common.actor import LinkEvent
from engine.common.clock import MS, SECOND, Now, fix_time
from engine.config import (
    Config,
    EngineConfig,
    InstrumentConfig,
    LimitsConfig,
    RiskConfig,
    SessionConfig,
    SessionsConfig,
)
from engine.market_data.actor import MarketData
from engine.messages.market_data import (
    BookRequest,
    BookSnapshot,
    FeedBeat,
    FeedState,
    MarketChanges,
    MarketState,
    MarketUpdate,
    TopOfBook,
)

KEY = "0f4d9f5e-8f2c-4f8e-9d61-0a4d5be0f3a1"
WALL = 1_795_500_000 * SECOND  # 2026-11-24
FEED = WALL // MS
BTC, ETH = "BTC-PERP", "ETH-PERP"


class Collecting:
    """An Outbox that keeps everything."""

    def __init__(self):
        self.sent, self.wire, self.logs, self.links = [], [], [], []

    def send(self, channel, message, to=None, topic=""):
        self.sent.append((channel, topic or to, message))

    def write(self, link, data, trigger_ns=0):
        self.wire.append(data)

    def connect(self, link):
        self.links.append(("connect", link))

    def close(self, link, reason=""):
        self.links.append(("close", link))

    def record(self, entry, *, cl_ord_id="", exec_id=""):
        raise AssertionError("market data has no journal")

    def log(self, level, text):
        self.logs.append((level, text))


def config(symbols=(BTC, ETH)):
    limits = LimitsConfig(
        max_order_qty="1",
        max_order_notional="1",
        max_position="1",
        max_open_orders=1,
        max_gross_notional="1",
        max_loss="1",
    )
    return Config(
        engine=EngineConfig(name="t", shutdown="cancel"),
        sessions=SessionsConfig(
            order_entry=SessionConfig(target_comp_id="KalshiNR"),
            market_data=SessionConfig(target_comp_id="KalshiMD", key_id=KEY, heart_bt_int_s=30),
            drop_copy=SessionConfig(target_comp_id="KalshiDC"),
        ),
        instruments={symbol: InstrumentConfig() for symbol in symbols},
        risk=RiskConfig(account=limits, markets={}),
        strategies={},
    )


class Rig:
    """The actor, its outbox, a clock, and the venue's side of the wire with a framing of its own."""

    def __init__(self, symbols=(BTC, ETH)):
        self.out = Collecting()
        self.actor = MarketData(config(symbols), self.out, lambda data: "c2ln", lambda: 0.5)
        self.now = Now(WALL, 5_000 * SECOND)
        self.seq = 0
        self._read = 0
        self._wire = 0

    def frame(self, body, seq=None):
        """`35=W|...` to a whole message: header after 35, length and sum by hand."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        kind, _, rest = body.partition("|")
        text = f"{kind}|49=KalshiMD|56={KEY}|34={seq}|52={fix_time(self.now.wall_ns)}|{rest}"
        data = text.replace("|", "\x01").encode()
        data = b"8=FIXT.1.1\x019=%d\x01" % len(data) + data
        return data + b"10=%03d\x01" % (sum(data) % 256)

    def venue(self, *bodies):
        self.bytes(b"".join(self.frame(body) for body in bodies))

    def after(self):
        """What the runtime calls after each input."""
        self.actor.on_drained(self.now)
        self.actor.on_idle(self.now)

    def bytes(self, data):
        self.actor.on_bytes("market_data", data, self.now)
        self.after()

    def link(self, event, reason=""):
        self.actor.on_link("market_data", event, reason, self.now)
        self.after()

    def start(self):
        self.actor.start(self.now)
        self.connect()
        return self

    def connect(self):
        self.seq = 0
        self.link(LinkEvent.CONNECTED)
        self.venue("35=A|98=0|108=30|141=Y|1137=9|")

    def advance(self, seconds):
        end = self.now.mono_ns + round(seconds * SECOND)
        while self.actor.deadline is not None and self.actor.deadline <= end:
            self.move(self.actor.deadline - self.now.mono_ns)
            self.actor.on_deadline(self.now)
            self.after()
        self.move(end - self.now.mono_ns)

    def move(self, ns):
        self.now = Now(self.now.wall_ns + ns, self.now.mono_ns + ns)

    def take(self, *kinds):
        """Messages on the bus since the last take, of the kinds."""
        found, self._read = self.out.sent[self._read :], len(self.out.sent)
        return [message for _, _, message in found if not kinds or isinstance(message, kinds)]

    def wire(self):
        """What was written since the last call, `|` for SOH, from 35 on without header and sum."""
        found, self._wire = self.out.wire[self._wire :], len(self.out.wire)
        return [app_part(data) for data in b"".join(found).split(b"8=FIXT.1.1\x01") if data]

    def log_texts(self, level):
        return [text for found, text in self.out.logs if found == level]


def app_part(data):
    fields = [field for field in data.decode("latin-1").split("\x01") if field]
    return "|".join(
        field for field in fields if field.partition("=")[0] not in {"9", "10", "34", "49", "52", "56"}
    )


SNAPSHOT = (
    "35=W|55=BTC-PERP|268=3|269=0|270=19.4900|271=10.00|269=1|270=19.5100|271=20.00|269=1|270=19.52|271=1.00|"
)
ETH_SNAPSHOT = "35=W|55=ETH-PERP|268=2|269=0|270=4.1900|271=50.00|269=1|270=4.2100|271=50.00|"


def live():
    rig = Rig().start()
    rig.venue(SNAPSHOT, ETH_SNAPSHOT)
    rig.take()
    rig.wire()
    return rig


def test_one_subscription_for_all_markets_follows_the_logon():
    """MarketDataRequest 263=1 with every configured symbol, in the configuration's order."""
    rig = Rig().start()
    assert rig.out.links == [("connect", "market_data")]
    written = rig.wire()
    assert written[0].startswith("35=A|")
    assert written[1:] == ["35=V|263=1|146=2|55=BTC-PERP|55=ETH-PERP"]
    assert rig.actor.status(rig.now).state == "RECOVERING"
    assert rig.actor.status(rig.now).detail == "no usable book: BTC-PERP, ETH-PERP"


def test_snapshot_resets_the_book_and_makes_it_live():
    """W -> one MarketUpdate with reset, then LIVE, then the top."""
    rig = Rig().start()
    rig.take()
    rig.venue(SNAPSHOT)
    update, state, top = rig.take()
    assert update == MarketUpdate(
        feed=FEED, feed_no=1, trigger_ns=rig.now.mono_ns, sending_ns=WALL,
        markets=[
            MarketChanges(
                symbol=BTC, symbol_no=1, levels=[0, 194900, 1000, 1, 195100, 2000, 1, 195200, 100], reset=True
            )
        ],
    )  # fmt: skip
    assert state == MarketState(feed=FEED, feed_no=1, symbol=BTC, state=FeedState.LIVE)
    assert top == TopOfBook(
        feed=FEED, feed_no=1, symbol=BTC, state=FeedState.LIVE, bid=194900, bid_qty=1000, ask=195100, ask_qty=2000,
        trigger_ns=rig.now.mono_ns,
    )  # fmt: skip
    assert rig.out.sent[-3][:2] == ("md.feed", "book")
    assert rig.out.sent[-2][:2] == ("md.feed", "state")
    assert rig.out.sent[-1][:2] == ("md.feed", "top.BTC-PERP")


def test_incremental_of_several_markets_stays_one_update():
    """One X, one feed number, trades with their aggressor."""
    rig = live()
    rig.venue(
        "35=X|268=4|279=1|55=BTC-PERP|269=0|270=19.4900|271=7.00|279=2|55=BTC-PERP|269=1|270=19.5100|271=0.00|"
        "279=0|55=BTC-PERP|269=2|270=19.5100|271=3.00|2446=1|279=0|55=ETH-PERP|269=0|270=4.2000|271=5.00|"
    )
    update, btc, eth = rig.take()
    assert (update.feed_no, [part.symbol for part in update.markets]) == (3, [BTC, ETH])
    assert update.markets[0] == MarketChanges(
        symbol=BTC, symbol_no=2, levels=[0, 194900, 700, 1, 195100, 0], trades=[195100, 300, 1]
    )
    assert update.markets[1] == MarketChanges(symbol=ETH, symbol_no=2, levels=[0, 42000, 500])
    assert (btc.bid_qty, btc.ask, btc.ask_qty, btc.last, btc.last_qty) == (700, 195200, 100, 195100, 300)
    assert (eth.bid, eth.last) == (42000, 0)
    assert rig.actor.book(BTC).levels() == [0, 194900, 700, 1, 195200, 100]


def test_top_is_told_only_when_it_changed_and_once_per_batch():
    """A change below the top is an update but no TopOfBook; two updates in one batch are one top."""
    rig = live()
    rig.venue("35=X|268=1|279=0|55=BTC-PERP|269=0|270=19.4000|271=9.00|")
    assert rig.take(TopOfBook) == []
    rig.venue(
        "35=X|268=1|279=0|55=BTC-PERP|269=0|270=19.5000|271=1.00|",
        "35=X|268=1|279=1|55=BTC-PERP|269=0|270=19.5000|271=2.00|",
    )
    found = rig.take()
    assert [type(message) for message in found] == [MarketUpdate, MarketUpdate, TopOfBook]
    assert (found[-1].bid, found[-1].bid_qty, found[-1].feed_no) == (195000, 200, 5)


def test_beat_comes_every_100_ms_with_numbers_and_states():
    """So that a loss shows while nothing happens."""
    rig = live()
    rig.advance(0.5)
    beats = rig.take(FeedBeat)
    assert len(beats) == 5
    assert beats[0] == FeedBeat(
        feed=FEED, feed_no=2, mono_ns=beats[0].mono_ns, session="logged on",
        markets={BTC: FeedState.LIVE, ETH: FeedState.LIVE}, skew_ns=rig.actor.client.skew_ns,
    )  # fmt: skip
    assert rig.actor.status(rig.now).state == "READY"


def test_lost_session_makes_every_market_stale_at_once_and_a_new_one_starts_from_snapshots():
    """DISCONNECTED -> STALE for all; after the Logon subscribe again; changes before the snapshot are dropped."""
    rig = live()
    rig.link(LinkEvent.DISCONNECTED, "reset by peer")
    stale = rig.take(MarketState)
    assert [(state.symbol, state.state) for state in stale] == [
        (BTC, FeedState.STALE),
        (ETH, FeedState.STALE),
    ]
    while rig.out.links.count(("connect", "market_data")) < 2:
        rig.advance(0.1)
    rig.take()
    rig.connect()
    assert [(state.symbol, state.state) for state in rig.take(MarketState)] == [
        (BTC, FeedState.WAITING),
        (ETH, FeedState.WAITING),
    ]
    assert rig.wire()[-1] == "35=V|263=1|146=2|55=BTC-PERP|55=ETH-PERP"
    rig.venue("35=X|268=1|279=0|55=BTC-PERP|269=0|270=19.4000|271=9.00|")
    assert rig.take(MarketUpdate) == []
    rig.venue(SNAPSHOT)
    (update,) = rig.take(MarketUpdate)
    assert (update.feed_no, update.markets[0].symbol_no, update.markets[0].reset) == (3, 2, True)
    assert rig.actor.status(rig.now).metrics["early_changes"] == 1


def test_gap_in_sequence_numbers_is_a_lost_session():
    """No retransmission on KalshiMD: stale at once, and the link is closed."""
    rig = live()
    rig.bytes(rig.frame("35=X|268=1|279=0|55=BTC-PERP|269=0|270=19.4000|271=9.00|", seq=rig.seq + 3))
    assert {state.state for state in rig.take(MarketState)} == {FeedState.STALE}
    assert ("close", "market_data") in rig.out.links


def test_a_snapshot_read_together_with_a_gap_makes_no_book_usable():
    """It was published, and came into the own books only after the session was lost."""
    rig = Rig().start()
    rig.take()
    gap = rig.frame("35=X|268=1|279=0|55=BTC-PERP|269=0|270=19.4000|271=9.00|", seq=rig.seq + 4)
    rig.bytes(rig.frame(SNAPSHOT) + gap)
    assert rig.take(MarketState)[-1].state is FeedState.STALE
    assert rig.actor.markets[BTC].state is FeedState.STALE
    assert not rig.actor.markets[BTC].ready


def test_empty_snapshot_is_empty_with_a_warning_and_may_fill_later():
    """An unknown ticker isn't rejected by the venue."""
    rig = Rig().start()
    rig.take()
    rig.venue("35=W|55=BTC-PERP|268=0|")
    assert rig.take(MarketState)[0].state is FeedState.EMPTY
    assert any("empty snapshot for BTC-PERP" in text for text in rig.log_texts("warning"))
    rig.venue("35=X|268=1|279=0|55=BTC-PERP|269=0|270=19.4000|271=9.00|")
    assert rig.take(MarketState)[0].state is FeedState.LIVE


def test_missing_delete_and_unknown_symbol_are_counted_not_fatal():
    """The book stays live."""
    rig = live()
    rig.venue(
        "35=X|268=2|279=2|55=BTC-PERP|269=0|270=11.0000|271=0.00|279=0|55=DOGE-PERP|269=0|270=0.1000|271=1.00|"
    )
    (update,) = rig.take()
    assert [part.symbol for part in update.markets] == [BTC]
    metrics = rig.actor.status(rig.now).metrics
    assert (metrics["missing_deletes"], metrics["unknown_symbols"], metrics["resyncs"]) == (1, 1, 0)
    rig.venue("35=X|268=1|279=0|55=DOGE-PERP|269=0|270=0.1000|271=1.00|")
    assert rig.take() == []


def test_crossing_within_one_message_is_no_cross():
    """The bid passes the old offer, which the same message deletes."""
    rig = live()
    rig.venue(
        "35=X|268=3|279=0|55=BTC-PERP|269=0|270=19.5150|271=1.00|279=2|55=BTC-PERP|269=1|270=19.5100|271=0.00|"
        "279=0|55=ETH-PERP|269=0|270=4.2000|271=1.00|"
    )
    assert rig.take(MarketState) == []
    assert rig.actor.book(BTC).bid == 195150


def test_crossed_book_is_stale_and_a_snapshot_is_asked_for():
    """The other market stays live; further changes are dropped until the snapshot."""
    rig = live()
    crossing = "35=X|268=1|279=0|55=BTC-PERP|269=0|270=19.5150|271=1.00|"
    rig.venue(crossing)
    (state,) = rig.take(MarketState)
    assert (state.symbol, state.state) == (BTC, FeedState.STALE)
    assert state.reason == "crossed book: bid 195150 against offer 195100"
    assert rig.wire() == ["35=V|263=0|146=1|55=BTC-PERP"]
    rig.venue("35=X|268=1|279=0|55=BTC-PERP|269=0|270=19.3000|271=1.00|")
    assert rig.take(MarketUpdate) == []
    rig.venue(SNAPSHOT)
    assert rig.take(MarketState)[0].state is FeedState.LIVE
    rig.venue(crossing)
    assert rig.wire() == []  # the second time within a minute it waits a second
    rig.advance(0.8)
    assert rig.wire() == []
    rig.advance(0.4)
    assert rig.wire() == ["35=V|263=0|146=1|55=BTC-PERP"]
    assert rig.actor.status(rig.now).metrics["resyncs"] == 2


def test_snapshot_that_stays_away_is_asked_for_again_with_growing_pauses():
    """After 2 s, then 4 s: requests cost Read tokens."""
    rig = Rig().start()
    rig.venue(ETH_SNAPSHOT)
    rig.wire()
    rig.advance(2.2)
    assert rig.wire() == ["35=V|263=1|146=1|55=BTC-PERP"]
    rig.advance(3.5)
    assert rig.wire() == []
    rig.advance(0.8)
    assert rig.wire() == ["35=V|263=1|146=1|55=BTC-PERP"]
    rig.venue(SNAPSHOT)
    rig.advance(20)
    assert not [line for line in rig.wire() if line.startswith("35=V")]


def test_trading_halt_shows_until_resume():
    """35=f with 326=2 and 3."""
    rig = live()
    rig.venue("35=f|55=BTC-PERP|326=2|")
    rig.venue("35=X|268=1|279=0|55=BTC-PERP|269=0|270=19.3000|271=1.00|")
    assert [state.state for state in rig.take(MarketState)] == [FeedState.HALTED]
    rig.venue("35=f|55=BTC-PERP|326=3|")
    assert [state.state for state in rig.take(MarketState)] == [FeedState.LIVE]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("35=Y|281=2|58=too many symbols|", "request refused (35=Y), reason 2: too many symbols"),
        (
            "35=j|45=2|372=V|380=8|58=rate limit|",
            "BusinessMessageReject(35=j) of our V, reason 8: rate limit",
        ),
        (
            "35=3|45=2|372=V|371=146|373=1|58=no symbols|",
            "Reject(35=3) of our V 2: reason 1, tag 146: no symbols",
        ),
    ],
)
def test_refused_requests_raise_an_alert(body, text):
    """35=Y, 35=j and 35=3."""
    rig = live()
    rig.venue(body)
    assert [f"KalshiMD: {text}"] == rig.log_texts("alert")


def test_snapshot_on_request_is_the_book_at_a_number():
    """md.ask answers the asker, per symbol, best first."""
    rig = live()
    rig.venue("35=X|268=1|279=0|55=BTC-PERP|269=2|270=19.5000|271=2.00|2446=2|")
    rig.out.sent.clear()
    rig.actor.on_message("md.ask", "guard", BookRequest(symbols=[BTC, "DOGE"]), rig.now)
    assert rig.out.sent == [
        (
            "md.ask",
            "guard",
            BookSnapshot(
                feed=FEED, feed_no=3, symbol=BTC, symbol_no=2, state=FeedState.LIVE,
                levels=[0, 194900, 1000, 1, 195100, 2000, 1, 195200, 100], last=195000, last_qty=200,
            ),
        )
    ]  # fmt: skip
    rig.actor.on_message("md.ask", "guard", BookRequest(), rig.now)
    assert [message.symbol for _, _, message in rig.out.sent[1:]] == [BTC, ETH]


def test_unreadable_price_gives_its_market_up():
    """What the message said is lost: stale, and a fresh snapshot."""
    rig = live()
    rig.venue("35=X|268=1|279=0|55=BTC-PERP|269=0|270=nineteen|271=1.00|")
    assert [(state.symbol, state.state) for state in rig.take(MarketState)] == [(BTC, FeedState.STALE)]
    assert "35=V|263=0|146=1|55=BTC-PERP" in rig.wire()
    assert rig.log_texts("alert")


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_chunking_of_bytes_does_not_matter(size):
    """Whole, byte by byte, with what follows."""
    rig = Rig().start()
    data = b"".join(
        rig.frame(body)
        for body in (SNAPSHOT, ETH_SNAPSHOT, "35=X|268=1|279=0|55=BTC-PERP|269=0|270=19.5000|271=1.00|")
    )
    rig.take()
    for at in range(0, len(data), size):
        rig.bytes(data[at : at + size])
    assert [update.feed_no for update in rig.take(MarketUpdate)] == [1, 2, 3]
    assert rig.actor.book(BTC).bid == 195000


def test_stop_logs_out():
    """Logout, then stopped once it is answered."""
    rig = live()
    rig.actor.stop(rig.now)
    assert rig.wire()[-1].startswith("35=5")
    assert not rig.actor.stopped
    rig.venue("35=5|")
    rig.link(LinkEvent.DISCONNECTED, "closed")
    assert rig.actor.stopped
