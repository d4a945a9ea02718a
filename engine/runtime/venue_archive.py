"""Past reports of the embedded venue, read back from its own journal, so that memory need not hold them.

Rows follow the venue's ExecIDs, so a range begins where a binary search over the row numbers finds it. The connection
only reads; what the running batch has recorded is not there yet, which is why the venue keeps its newest reports.
"""

import sqlite3
from typing import Final

import msgspec

from engine.kalshi.messages import ExecutionReport
from engine.venue.history import Key
from engine.venue.order import REJECTED
from engine.venue.records import Reported

_FIRST_FROM: Final = "SELECT no, message FROM journal WHERE no >= ? AND kind = 'reported' ORDER BY no LIMIT 1"
_ALL_FROM: Final = "SELECT message FROM journal WHERE no >= ? AND kind = 'reported' ORDER BY no"


class JournalArchive:
    """Reads a venue's journal.

    Args:
        path: of the SQLite file; opened at the first question.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._decode = msgspec.msgpack.Decoder(Reported).decode

    def reports(self, account: str, begin: Key, end: Key, limit: int | None = None) -> list[ExecutionReport]:
        """Return an account's first reports from begin (inclusive) to end (exclusive), rejects aside, in order."""
        if self._db is None:
            self._db = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        found: list[ExecutionReport] = []
        for (message,) in self._db.execute(_ALL_FROM, (self._row_of(self._db, begin),)):
            entry = self._decode(message)
            if (entry.clock, entry.event) >= end or len(found) == limit:
                break
            if entry.account == account and entry.report.exec_type != REJECTED:
                found.append(entry.report)
        return found

    def _row_of(self, db: sqlite3.Connection, key: Key) -> int:
        """Return the number of the first row whose report is not before `key`."""
        low, high = 1, (db.execute("SELECT max(no) FROM journal").fetchone()[0] or 0) + 1
        while low < high:
            middle = (low + high) // 2
            row = db.execute(_FIRST_FROM, (middle,)).fetchone()
            if row is None:
                high = middle
                continue
            entry = self._decode(row[1])
            if (entry.clock, entry.event) >= key:
                high = middle
            else:
                low = row[0] + 1
        return low
