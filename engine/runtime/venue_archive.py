"""What left the embedded venue's memory, read back from its own journal: reports, and messages of KalshiRT's sessions.

Rows follow the venue's ExecIDs, so a range of reports begins where a binary search over the row numbers finds it. The
connection only reads; what the running batch has recorded is not there yet, which is why the venue keeps its newest.
"""

import sqlite3
from typing import Any, Final

import msgspec

from engine.errors import JournalError
from engine.fix.snapshot import SentMessage
from engine.kalshi.messages import ExecutionReport
from engine.venue.history import Key
from engine.venue.order import REJECTED
from engine.venue.records import Reported, RtSent

_FIRST_FROM: Final = "SELECT no, message FROM journal WHERE no >= ? AND kind = 'reported' ORDER BY no LIMIT 1"
_ALL_FROM: Final = "SELECT message FROM journal WHERE no >= ? AND kind = 'reported' ORDER BY no"
_SENT: Final = "SELECT message FROM journal WHERE no BETWEEN ? AND ? AND kind = 'rt_sent' ORDER BY no"
LOOKED_MAX: Final = 5000
"""Rows of other accounts and rejects that one question passes over: some 20 ms."""
_LAST: Final = "SELECT max(no) FROM journal"


class JournalArchive:
    """Reads a venue's journal. What can't be read raises JournalError.

    Args:
        path: of the SQLite file; opened at the first question.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._decode = msgspec.msgpack.Decoder(Reported).decode
        self._decode_sent = msgspec.msgpack.Decoder(RtSent).decode

    def _ask(self, question: str, *arguments: int) -> sqlite3.Cursor:
        if self._db is None:
            self._db = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        return self._db.execute(question, arguments)

    def _failed(self, error: Exception) -> JournalError:
        return JournalError(f"{self._path}: can't be read: {error}")

    def reports(
        self, account: str, begin: Key, end: Key, limit: int
    ) -> tuple[list[ExecutionReport], Key | None]:
        """Return an account's first reports from begin (inclusive) to end (exclusive), rejects aside, in order.

        At most `limit`, or fewer where many rows had to be looked at; and from where to go on, None when that was all.
        """
        found: list[ExecutionReport] = []
        try:
            for looked, (message,) in enumerate(self._ask(_ALL_FROM, self._row_of(begin))):
                entry = self._decode(message)
                key = (entry.clock, entry.event)
                if key >= end:
                    break
                if len(found) == limit or looked == LOOKED_MAX:
                    return found, key
                if entry.account == account and entry.report.exec_type != REJECTED:
                    found.append(entry.report)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise self._failed(error) from error
        return found, None

    def sent(self, key: str, first_row: int, last_row: int) -> list[SentMessage]:
        """Return a KalshiRT session's messages in these rows, both inclusive, in order."""
        try:
            entries = [self._decode_sent(message) for (message,) in self._ask(_SENT, first_row, last_row)]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise self._failed(error) from error
        return [entry.message for entry in entries if entry.key == key]

    def last_row(self) -> int:
        """Return the number of the last row that is committed."""
        try:
            return self._last()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _last(self) -> int:
        found: Any = self._ask(_LAST).fetchone()[0]
        return int(found or 0)

    def _row_of(self, key: Key) -> int:
        """Return the number of the first row whose report is not before `key`."""
        low, high = 1, self._last() + 1
        while low < high:
            middle = (low + high) // 2
            row = self._ask(_FIRST_FROM, middle).fetchone()
            if row is None:
                high = middle
                continue
            entry = self._decode(row[1])
            if (entry.clock, entry.event) >= key:
                high = middle
            else:
                low = row[0] + 1
        return low
