"""KalshiRT: long answers to ResendRequests, a piece at a time, so that nobody else waits for them.

A range goes on at `due`, as fast as its reader takes it; what left memory is read from the journal, some rows a piece.
What can't be given any more (its retention ended meanwhile, the journal can't be read) is said with a Reject, and
never filled over: a client that heard a gap fill would believe that it had missed nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from engine.common.clock import MS, Now
from engine.errors import JournalError
from engine.venue.retention import Kept, Retention
from engine.venue.sessions import Connection

UNREAD_MAX: Final = 1 << 20  # bytes that wait for a reader before it gets more
_AGAIN_NS: Final = 5 * MS


class Resender:
    """Goes on with resends.

    Attributes:
        due: mono_ns at which `advance` is wanted, or None.
    """

    __slots__ = ("_connections", "_retention", "due")

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._connections: dict[str, Connection] = {}
        self.due: int | None = None

    def look(self, connection: Connection, now: Now) -> None:
        """See whether a connection's resend goes on."""
        if connection.acceptor.resending:
            self._connections[connection.link] = connection
            self.due = now.mono_ns

    def advance(
        self, unsent: Callable[[str], int], log: Callable[[str, str], None], now: Now
    ) -> list[Connection]:
        """Resend one piece more to the next connection whose reader keeps up; return whom was written to."""
        for link in list(self._connections):
            connection = self._connections.pop(link)
            kept = connection.kept
            if kept is None or not connection.acceptor.resending:
                continue
            self._connections[link] = connection  # behind the others
            if unsent(link) <= UNREAD_MAX:
                self._resend_piece(connection, kept, log, now)
                self.due = now.mono_ns
                return [connection]
        self.due = now.mono_ns + _AGAIN_NS if self._connections else None
        return []

    def _resend_piece(
        self, connection: Connection, kept: Kept, log: Callable[[str, str], None], now: Now
    ) -> None:
        try:
            connection.acceptor.go_on_resending(now, partial(self._retention.older, kept))
        except JournalError as error:
            log("error", f"{connection.link}: a resend ends: {error}")
            connection.acceptor.give_up_resending("what was sent can't be read back", now)
