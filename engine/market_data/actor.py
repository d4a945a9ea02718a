"""The market-data actor: one KalshiMD session, the books it carries, and the feed on the bus.

The path that matters: bytes -> `GatewayClient.on_bytes` -> `App(BookMessage)` -> one `MarketUpdate` out, in the same
step. Only then does the actor apply the message to its own books, which serve TopOfBook, snapshots and the checks.

Rules that hold here:

* One FIX message is one MarketUpdate with one dense `feed_no`; each market in it has a dense `symbol_no`.
* The venue has no sequence per symbol and no retransmission (venue.md section 5): after a lost session every market is
  STALE at once, and only a snapshot (35=W) makes it usable again. `GatewayClient` turns a gap into a lost session.
* Level changes without a snapshot under them are counted and dropped; so are deletes of levels that aren't there.
* A book that is crossed after a whole message, or that was given an entry it can't apply, is given up: STALE, and a
  snapshot (263=0) is asked for, at once the first time, then with growing pauses while it keeps happening.
* A snapshot that stays away is asked for again, with growing pauses: requests cost Read tokens.
* An empty snapshot is EMPTY with a warning: the venue answers an unknown ticker so, never with a reject.
* An update is published before the own books take it in, some ms later (`on_idle`), or when they are needed; tops go out then,
  only where something in them changed. Markets are walked in the configuration's order.
"""

# ruff: noqa: ARG002 - handlers take what the runtime gives
from collections.abc import Callable
from typing import Any, Final

from engine.book.book import Book
from engine.common.actor import Actor, LinkEvent, Outbox, Status
from engine.common.clock import MS, SECOND, Now
from engine.config import Config
from engine.fix.events import App, GapDetected, LoggedOut, PeerReject, Refused, Warn
from engine.fix.message import FixMessage
from engine.fix.tags import Tag
from engine.kalshi import codec, hot
from engine.kalshi.gateways import GatewayClient
from engine.kalshi.hot import BookMessage
from engine.kalshi.messages import (
    BusinessMessageReject,
    MarketDataIncremental,
    MarketDataRequest,
    MarketDataRequestReject,
    MarketDataSnapshot,
    SecurityStatus,
)
from engine.market_data.market import Market
from engine.messages.market_data import (
    TOPIC_BEAT,
    TOPIC_BOOK,
    TOPIC_STATE,
    TOPIC_TOP,
    BookRequest,
    FeedBeat,
    FeedState,
    MarketChanges,
    MarketState,
    MarketUpdate,
)

LINK: Final = "market_data"
SESSION: Final = "KalshiMD"
BEAT_NS: Final = 100 * MS
ANSWER_NS: Final = 2 * SECOND  # a snapshot that stays away so long is asked for again
PAUSE_MAX_NS: Final = 60 * SECOND
CALM_NS: Final = 60 * SECOND  # a book that held so long starts its resync pauses anew
SNAPSHOT_ONLY = "0"
SUBSCRIBE = "1"
HALT = 2  # SecurityTradingStatus(326)


class MarketData(Actor):
    """See the module.

    Args:
        config: the whole configuration; instruments and sessions.market_data are read.
        out: where effects go.
        sign: signs the Logon; rng: in [0, 1), for back-off. Both may be None where nothing connects.
    """

    name = "market_data"

    def __init__(
        self,
        config: Config,
        out: Outbox,
        sign: Callable[[bytes], str],
        rng: Callable[[], float],
    ) -> None:
        super().__init__(out)
        self.client = GatewayClient(LINK, config.sessions.market_data, out, sign, rng, hot=hot.HOT)
        self.markets = {symbol: Market(symbol) for symbol in config.instruments}
        self.feed = 0
        self.feed_no = 0
        self._logons = 0  # of the client, as last seen
        self._up = False
        self._beat_at = 0
        self._dirty: dict[str, Market] = {}  # markets whose top may have changed, in order of touch
        self._unapplied: list[
            tuple[list[Market], list[MarketChanges], Now]
        ] = []  # published, not yet in the own books
        self._asked: dict[str, Market] = {}  # snapshots that are awaited
        self._ask_at: int | None = None
        self._ask_pause_ns = ANSWER_NS
        self._resync_at: dict[str, int] = {}  # given-up markets to the time of their next request
        self.counters: dict[str, int] = dict.fromkeys(
            (
                "updates",
                "trades",
                "resyncs",
                "early_changes",
                "missing_deletes",
                "bad_entries",
                "crossed",
                "unknown_symbols",
                "undecodable",
                "empty_snapshots",
                "unexpected",
            ),
            0,
        )

    # -- the hot path ------------------------------------------------------------------------------------------

    def on_bytes(self, link: str, data: bytes, now: Now) -> None:
        events = self.client.on_bytes(data, now)
        only_books = bool(events)
        for event in events:
            if type(event) is App and type(event.message) is BookMessage:
                self._on_book(event.message, event.sending_ns, now)
            else:
                self._on_event(event, now)
                only_books = False
        if not only_books:  # a book message puts deadlines off; the earlier one does no harm
            self._settle(now)

    def _on_book(self, message: BookMessage, sending_ns: int, now: Now) -> None:
        changes: list[MarketChanges] = []
        touched: list[Market] = []
        for symbol, levels, trades, reset in message.markets:
            market = self.markets.get(symbol)
            if market is None:
                self.counters["unknown_symbols"] += 1
                continue
            if not (reset or market.ready) and self._unapplied:
                self._apply_all()  # the snapshot may not be in the books yet
            if not (reset or market.ready):
                if levels:
                    self.counters["early_changes"] += 1
                    levels = []  # noqa: PLW2901 - a change without a snapshot under it has no meaning
                if not trades:
                    continue
            market.no += 1
            changes.append(
                MarketChanges(symbol=symbol, symbol_no=market.no, levels=levels, trades=trades, reset=reset)
            )
            touched.append(market)
        if not changes:
            return
        self.feed_no += 1
        update = MarketUpdate(
            feed=self.feed,
            feed_no=self.feed_no,
            trigger_ns=now.mono_ns,
            sending_ns=sending_ns,
            markets=changes,
        )
        self.out.send("md.feed", update, topic=TOPIC_BOOK)
        self._unapplied.append((touched, changes, now))

    def _apply_all(self) -> None:
        """Bring the own books up to what was published."""
        unapplied, self._unapplied = self._unapplied, []
        for touched, changes, now in unapplied:
            self._apply(touched, changes, now)

    def _apply(self, touched: list[Market], changes: list[MarketChanges], now: Now) -> None:
        counters = self.counters
        counters["updates"] += 1
        for market, part in zip(touched, changes, strict=True):
            missing = market.apply(part.levels, part.trades, part.reset)
            if missing:
                counters["missing_deletes"] += missing
            if part.trades:
                counters["trades"] += len(part.trades) // 3
            if part.reset:
                self._answered(market)
            market.trigger_ns = now.mono_ns
            self._dirty[part.symbol] = market
        # only now: one message may cross a book in passing (more than one entry, more than one part of a market)
        for market in touched:
            if market.ready:
                self._judge(market, now)

    def _judge(self, market: Market, now: Now) -> None:
        book = market.book
        if book.crossed:
            self.counters["crossed"] += 1
            self._give_up(market, f"crossed book: bid {book.bid} against offer {book.ask}", now)
        elif book.bad:
            self.counters["bad_entries"] += book.bad
            self._give_up(market, "an entry that can't be applied", now)
        else:
            state = market.seen_state()
            if state is not market.state:
                self._change_state(market, state, "")

    # -- snapshots: asked for, given up, answered ----------------------------------------------------------------

    def _answered(self, market: Market) -> None:
        symbol = market.book.symbol
        self._resync_at.pop(symbol, None)
        if self._asked.pop(symbol, None) is not None and not self._asked:
            self._ask_at = None
            self._ask_pause_ns = ANSWER_NS
        if market.book.empty:
            self.counters["empty_snapshots"] += 1
            self.out.log(
                "warning",
                f"{SESSION}: empty snapshot for {symbol}: the venue doesn't know the ticker, or nobody quotes it",
            )

    def _give_up(self, market: Market, reason: str, now: Now) -> None:
        market.ready = False
        self._change_state(market, FeedState.STALE, reason)
        self.counters["resyncs"] += 1
        again = market.resyncs > 0 and now.mono_ns - market.resync_ns < CALM_NS
        market.resyncs = market.resyncs + 1 if again else 1
        market.resync_ns = now.mono_ns
        pause_ns = min(SECOND << min(market.resyncs - 2, 6), PAUSE_MAX_NS) if again else 0
        self._resync_at[market.book.symbol] = now.mono_ns + pause_ns
        self.out.log(
            "warning", f"{SESSION}: {market.book.symbol} is stale: {reason}; asking for a fresh snapshot"
        )

    def _ask(self, symbols: list[str], how: str, now: Now) -> None:
        for symbol in symbols:
            self._asked[symbol] = self.markets[symbol]
        self._ask_at = now.mono_ns + self._ask_pause_ns
        request = MarketDataRequest(subscription_request_type=how, symbols=tuple(symbols))
        msg_type, body = codec.encode_body(request)
        self.client.send(msg_type, body, now)

    def _ask_due(self, now: Now) -> None:
        """Ask for what is due: given-up books whose pause is over, and snapshots that stayed away."""
        if not self._up:
            return
        due = [symbol for symbol, at in self._resync_at.items() if at <= now.mono_ns]
        if due:
            for symbol in due:
                del self._resync_at[symbol]
            self._ask(due, SNAPSHOT_ONLY, now)
        if self._ask_at is not None and now.mono_ns >= self._ask_at:
            self._ask_pause_ns = min(self._ask_pause_ns * 2, PAUSE_MAX_NS)
            late = list(self._asked)
            self.out.log("warning", f"{SESSION}: no snapshot yet for {', '.join(late)}; asking again")
            known = [symbol for symbol in late if self.markets[symbol].subscribed]
            fresh = [symbol for symbol in late if not self.markets[symbol].subscribed]
            for symbols, how in ((known, SNAPSHOT_ONLY), (fresh, SUBSCRIBE)):
                if symbols:
                    self._ask(symbols, how, now)

    # -- the session ---------------------------------------------------------------------------------------------

    def _settle(self, now: Now) -> None:
        """After each call of the client: notice that the session came or went, and follow its deadline."""
        client = self.client
        if client.logons != self._logons or client.logged_on is not self._up:
            if self._up:
                self._lose(client.state)
            self._logons = client.logons
            self._up = client.logged_on
            if self._up:
                self._subscribe(now)
        deadline = self._beat_at
        if client.deadline is not None and client.deadline < deadline:
            deadline = client.deadline
        self.deadline = deadline
        if client.stopped:
            self.stopped = True

    def _subscribe(self, now: Now) -> None:
        for market in self.markets.values():
            market.subscribed = market.halted = False
            self._change_state(market, FeedState.WAITING, "subscribed")
        self._ask_pause_ns = ANSWER_NS
        if self.markets:
            self._ask(list(self.markets), SUBSCRIBE, now)

    def _lose(self, reason: str) -> None:
        self._apply_all()  # a snapshot of before must not make a book usable afterwards
        self._asked.clear()
        self._resync_at.clear()
        self._ask_at = None
        for market in self.markets.values():
            market.ready = False
            self._change_state(market, FeedState.STALE, f"session: {reason}")

    def _change_state(self, market: Market, state: FeedState, reason: str) -> None:
        if market.state is state:
            return
        market.state = state
        symbol = market.book.symbol
        self._dirty[symbol] = market
        self.out.send(
            "md.feed",
            MarketState(feed=self.feed, feed_no=self.feed_no, symbol=symbol, state=state, reason=reason),
            topic=TOPIC_STATE,
        )

    def _on_event(self, event: object, now: Now) -> None:
        match event:
            case App(message=message):
                self._on_app(event, message, now)
            case PeerReject():
                self.out.log(
                    "alert",
                    f"{SESSION}: Reject(35=3) of our {event.ref_msg_type or 'message'} {event.ref_seq}: "
                    f"reason {event.reason}, tag {event.ref_tag}: {event.text}",
                )
            case Refused(message=message):
                self._unreadable(message, now)  # the client has raised the alert
            case GapDetected():
                # the client reconnects; until it has, nothing may be trusted
                if self._up:
                    self._lose(f"gap, expected {event.expected}, received {event.received}")
            case LoggedOut():
                level = "warning" if event.by_peer else "info"
                self.out.log(level, f"{SESSION}: logged out: {event.text or 'no reason given'}")
            case Warn():
                self.out.log("warning", f"{SESSION}: {event.text}")
            case _:
                pass

    def _on_app(self, event: App, message: Any, now: Now) -> None:
        if isinstance(message, FixMessage):
            try:
                message = codec.decode(message)
            except codec.BadField as problem:
                self.out.log("alert", f"{SESSION}: message 35={event.msg_type} can't be read: {problem}")
                self._unreadable(message, now)
                return
        match message:
            case BookMessage():
                self._on_book(message, event.sending_ns, now)
            case MarketDataSnapshot() | MarketDataIncremental():
                self._on_book(hot.book_message(message), event.sending_ns, now)
            case SecurityStatus():
                self._on_security_status(message, now)
            case MarketDataRequestReject():
                self.out.log(
                    "alert",
                    f"{SESSION}: request refused (35=Y), reason {message.md_req_rej_reason or 'not said'}: "
                    f"{message.text or 'no text'}",
                )
            case BusinessMessageReject():
                self.out.log(
                    "alert",
                    f"{SESSION}: BusinessMessageReject(35=j) of our {message.ref_msg_type or 'message'}, "
                    f"reason {message.business_reject_reason}: {message.text or 'no text'}",
                )
            case _:
                self.counters["unexpected"] += 1
                if self.counters["unexpected"] == 1:
                    self.out.log("warning", f"{SESSION}: unexpected message 35={event.msg_type}; counted")

    def _unreadable(self, message: FixMessage, now: Now) -> None:
        """A message of the session can't be read: what it said of its markets is lost, so these are given up."""
        self.counters["undecodable"] += 1
        if message.msg_type not in {"W", "X"}:
            return
        named = dict.fromkeys(value for tag, value in message.pairs if tag == Tag.Symbol)
        known = [self.markets[symbol] for symbol in named if symbol in self.markets]
        for market in known or list(self.markets.values()):
            if market.ready:
                self._give_up(market, f"unreadable 35={message.msg_type}", now)

    def _on_security_status(self, message: SecurityStatus, now: Now) -> None:
        market = self.markets.get(message.symbol)
        if market is None:
            self.counters["unknown_symbols"] += 1
            return
        self._apply_all()
        market.halted = message.security_trading_status == HALT
        if market.ready:
            self._judge(market, now)

    # -- the actor -----------------------------------------------------------------------------------------------

    def start(self, now: Now) -> None:
        self.feed = now.wall_ns // MS
        self._beat_at = now.mono_ns + BEAT_NS
        self.client.start(now)
        self._settle(now)

    def on_link(self, link: str, event: LinkEvent, reason: str, now: Now) -> None:
        for item in self.client.on_link(event, reason, now):
            self._on_event(item, now)
        self._settle(now)

    def on_deadline(self, now: Now) -> None:
        client = self.client
        if client.deadline is not None and now.mono_ns >= client.deadline:
            for event in client.on_deadline(now):
                self._on_event(event, now)
        if now.mono_ns >= self._beat_at:
            self._beat_at = now.mono_ns + BEAT_NS
            self._beat(now)
            self._ask_due(now)
        self._settle(now)

    def _beat(self, now: Now) -> None:
        client = self.client
        beat = FeedBeat(
            feed=self.feed,
            feed_no=self.feed_no,
            mono_ns=now.mono_ns,
            session="logged on" if client.logged_on else client.state,
            markets={symbol: market.state for symbol, market in self.markets.items()},
            skew_ns=client.skew_ns,
        )
        self.out.send("md.feed", beat, topic=TOPIC_BEAT)

    def on_message(self, channel: str, peer: str, message: Any, now: Now) -> None:
        if not isinstance(message, BookRequest):
            return
        self._apply_all()
        for symbol in message.symbols or self.markets:
            market = self.markets.get(symbol)
            if market is None:
                self.out.log("warning", f"{peer} asks for a book of {symbol[:40]!r}, which isn't configured")
            else:
                self.out.send("md.ask", market.snapshot(self.feed, self.feed_no), to=peer)

    def on_idle(self, now: Now) -> None:
        self._apply_all()
        if self._resync_at:
            self._ask_due(now)
            self._settle(now)
        if self._dirty:
            for symbol, market in self._dirty.items():
                top = market.top()
                if top != market.told:
                    market.told = top
                    self.out.send(
                        "md.feed", market.top_message(self.feed, self.feed_no), topic=TOPIC_TOP + symbol
                    )
            self._dirty.clear()

    def stop(self, now: Now) -> None:
        self.client.stop(now)
        self._settle(now)

    def book(self, symbol: str) -> Book:
        """Return the actor's own book of a configured market, for tools and tests."""
        return self.markets[symbol].book

    def status(self, now: Now) -> Status:
        client = self.client
        unusable = [
            symbol
            for symbol, market in self.markets.items()
            if market.state in {FeedState.WAITING, FeedState.STALE}
        ]
        detail = client.failed or (f"no usable book: {', '.join(unusable)}" if unusable else "")
        ready = client.logged_on and not unusable
        begun = "RECOVERING" if self._logons else "STARTING"
        return Status(
            state="STOPPED" if self.stopped else "READY" if ready else begun,
            detail=detail,
            sessions={SESSION: client.state},
            metrics={**self.counters, "feed_no": self.feed_no, "markets": len(self.markets)},
        )
