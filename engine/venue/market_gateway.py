"""KalshiMD: snapshots on request, then incremental updates (venue.md section 5).

What changed within one step of the venue goes out as one incremental message per subscriber, over all of its markets
together: trades first, then levels, each level once with its final size. Entries are written as text once per market
and step, whoever gets them. An unknown ticker is subscribed to like any other, and its snapshot is empty.

SecurityStatus (35=e, 35=f) is documented for event contracts only ([?] in venue.md): who asks gets halt or resume now,
and again whenever a pause begins or ends, or one market's state changes.
"""

from collections.abc import Callable, Iterable
from typing import Final

from engine.common.clock import Now, fix_time
from engine.common.fixed_point import PRICE_TEXTS, QTY_TEXTS
from engine.kalshi.messages import (
    MarketDataRequest,
    MarketDataRequestReject,
    MarketDataSnapshot,
    SecurityStatus,
    SecurityStatusRequest,
)
from engine.venue.matching import Book
from engine.venue.reports import Print
from engine.venue.sessions import CONDITIONALLY_REQUIRED, Connection

SNAPSHOT: Final = "0"
SUBSCRIBE: Final = "1"
UNSUBSCRIBE: Final = "2"
INSUFFICIENT_BANDWIDTH: Final = "2"
UNSUPPORTED_REQUEST: Final = "4"
HALT: Final = 2
RESUME: Final = 3
_SYMBOL: Final = 55
_INCORRECT_VALUE: Final = 5
_OTHER: Final = 0
Halted = Callable[[str], bool]


class MarketGateway:
    """Subscriptions of all market-data connections.

    Args:
        books: by symbol.
        symbols_max: of one session or one request.
        entry_times: write MDEntryDate(272) and MDEntryTime(273) ([?] in venue.md).
    """

    __slots__ = ("_books", "_entry_times", "_prints", "_subscribers", "_symbols_max")

    def __init__(self, books: dict[str, Book], symbols_max: int, *, entry_times: bool) -> None:
        self._books = books
        self._symbols_max = symbols_max
        self._entry_times = entry_times
        self._subscribers: dict[str, Connection] = {}
        self._prints: list[Print] = []

    def on_request(self, connection: Connection, request: MarketDataRequest, seq: int, now: Now) -> None:
        """Take a MarketDataRequest (35=V)."""
        kind = request.subscription_request_type
        if kind == UNSUBSCRIBE:
            for symbol in request.symbols or list(connection.symbols):
                connection.symbols.pop(symbol, None)
            if not connection.symbols:
                self._subscribers.pop(connection.link, None)
            return
        if kind not in {SNAPSHOT, SUBSCRIBE}:
            self._reject(connection, UNSUPPORTED_REQUEST, "unsupported SubscriptionRequestType", now)
            return
        if not request.symbols:
            text = f"Symbol({_SYMBOL}) is required with SubscriptionRequestType {kind}"
            connection.business_reject(seq, "V", CONDITIONALLY_REQUIRED, text, now)
            return
        wanted = (
            len(set(request.symbols) | set(connection.symbols)) if kind == SUBSCRIBE else len(request.symbols)
        )
        if wanted > self._symbols_max:
            self._reject(connection, INSUFFICIENT_BANDWIDTH, f"more than {self._symbols_max} symbols", now)
            return
        # Whoever follows a book already must hear of changes up to here before the newcomer's snapshot counts them.
        self.publish(now)
        for symbol in request.symbols:
            book = self._books.get(symbol)
            connection.send(MarketDataSnapshot(symbol=symbol, levels=book.levels() if book else []), now)
            if kind == SUBSCRIBE:
                connection.symbols[symbol] = None
                self._subscribers[connection.link] = connection

    def _reject(self, connection: Connection, reason: str, text: str, now: Now) -> None:
        connection.send(MarketDataRequestReject(md_req_rej_reason=reason, text=text), now)

    def on_status_request(
        self, connection: Connection, request: SecurityStatusRequest, seq: int, halted: Halted, now: Now
    ) -> None:
        """Take a SecurityStatusRequest (35=e)."""
        kind = request.subscription_request_type
        if kind == UNSUBSCRIBE:
            connection.statuses.pop(request.symbol, None)
        elif kind == SUBSCRIBE:
            if request.symbol not in connection.statuses and len(connection.statuses) >= self._symbols_max:
                connection.business_reject(seq, "e", _OTHER, f"more than {self._symbols_max} symbols", now)
                return
            connection.statuses[request.symbol] = None
            self._send_status(connection, request.symbol, halted, now)
        else:
            connection.session_reject(seq, "e", _INCORRECT_VALUE, 263, "value is incorrect for tag 263", now)

    def status_changed(self, connections: Iterable[Connection], halted: Halted, now: Now) -> list[Connection]:
        """Tell every connection that follows statuses that a pause began or ended; return those connections."""
        told = [connection for connection in connections if connection.statuses]
        for connection in told:
            for symbol in connection.statuses:
                self._send_status(connection, symbol, halted, now)
        return told

    @staticmethod
    def _send_status(connection: Connection, symbol: str, halted: Halted, now: Now) -> None:
        status = HALT if halted(symbol) else RESUME
        connection.send(SecurityStatus(symbol=symbol, security_trading_status=status), now)

    def gone(self, connection: Connection) -> None:
        """Forget a connection."""
        self._subscribers.pop(connection.link, None)

    def traded(self, trade: Print) -> None:
        """Add a trade to the step."""
        self._prints.append(trade)

    def publish(self, now: Now) -> list[Connection]:
        """Send what changed since the last call; return the connections that something was sent to."""
        entries = self._entries(now)
        sent = []
        if entries:
            bodies: dict[tuple[str, ...], str] = {}
            for connection in self._subscribers.values():
                symbols = tuple(symbol for symbol in entries if symbol in connection.symbols)
                if not symbols:
                    continue
                body = bodies.get(symbols)
                if body is None:
                    body = bodies[symbols] = _body(entries[symbol] for symbol in symbols)
                connection.send_body("X", body, now)
                sent.append(connection)
        return sent

    def _entries(self, now: Now) -> dict[str, list[str]]:
        """Return the step's entries as text, by market; books without subscribers are only cleared."""
        prints, self._prints = self._prints, []
        entries: dict[str, list[str]] = {}
        if self._subscribers:
            stamp = self._stamp(now)
            for symbol, price, qty, side in prints:
                entries.setdefault(symbol, []).append(
                    f"279=0\x0155={symbol}\x01269=2\x01270={PRICE_TEXTS[price]}\x01271={QTY_TEXTS[qty]}\x01{stamp}2446={side}\x01"
                )
        else:
            stamp = ""
        for symbol, book in self._books.items():
            if not book.dirty:
                continue
            changes = book.take_changes()
            if changes and self._subscribers:
                entries.setdefault(symbol, []).extend(
                    f"279={action}\x0155={symbol}\x01269={entry_type}\x01270={PRICE_TEXTS[price]}\x01271={QTY_TEXTS[qty]}\x01{stamp}"
                    for action, entry_type, price, qty in changes
                )
        return entries

    def _stamp(self, now: Now) -> str:
        if not self._entry_times:
            return ""
        text = fix_time(now.wall_ns)
        return f"272={text[:8]}\x01273={text[9:]}\x01"


def _body(markets: Iterable[list[str]]) -> str:
    entries = [entry for market in markets for entry in market]
    return f"268={len(entries)}\x01{''.join(entries)}"
