"""What drop copy can look back on: every report issued for an account, three hours long (venue.md section 6).

Rejects and Pending reports are never in it. Ends of a range are ExecIDs, compared as (clock, event), both inclusive.
"Too small" means before what is kept: the venue's documents know no way to ask for everything, so a range must begin
at a report of the window, or at least after the clock that the window begins with.

With an archive (the journal, read back) memory holds each account's newest reports only, and the rest comes from there.
"""

from bisect import bisect_left, bisect_right
from typing import Final, Protocol

from engine.common.clock import SECOND
from engine.fix.snapshot import SentMessage
from engine.kalshi.messages import ExecutionReport

WINDOW_NS: Final = 3 * 3600 * SECOND
_MARK_NS: Final = 10 * SECOND
_TRIM_AT: Final = 1024

TOO_MANY_REQUESTS: Final = 1
SERVER_ERROR: Final = 2
BEGIN_TOO_SMALL: Final = 3
END_TOO_LARGE: Final = 4
NOT_ENABLED: Final = 5

RECENT_MAX: Final = 10_000
_CUT_AT: Final = 1000
_PAGE: Final = 5000

Key = tuple[int, int]


class Archive(Protocol):
    """The venue's own journal, read back: where reports and KalshiRT's messages are that left memory.

    What can't be read raises JournalError.
    """

    def reports(
        self, account: str, begin: Key, end: Key, limit: int
    ) -> tuple[list[ExecutionReport], Key | None]:
        """Return an account's first reports from begin (inclusive) to end (exclusive), rejects aside, in order.

        At most `limit`, or fewer where many rows had to be looked at; and from where to go on, None when that was all.
        """

    def sent(self, key: str, first_row: int, last_row: int) -> list[SentMessage]:
        """Return a KalshiRT session's messages in these rows, both inclusive, in order."""

    def last_row(self) -> int:
        """Return the number of the last row that is committed."""


class History:
    """Reports by account and ExecID, and how far back they reach.

    Args:
        archive: holds what `recent_max` reports an account leave no room for; None keeps all in memory.

    Attributes:
        first: the oldest ExecID that a request may begin with.
    """

    __slots__ = ("_accounts", "_archive", "_cut", "_marks", "_recent_max", "first")

    def __init__(self, archive: Archive | None = None, recent_max: int = RECENT_MAX) -> None:
        self._archive = archive
        self._recent_max = recent_max
        self._cut: set[str] = set()  # accounts whose older reports are in the archive only
        self._accounts: dict[str, tuple[list[Key], list[ExecutionReport]]] = {}
        self._marks: list[tuple[int, Key]] = []  # (wall_ns, the clock then), about every ten seconds
        self.first: Key = (0, 0)

    def begin(self, key: Key) -> None:
        """The venue's first life begins at this clock: nothing was ever issued before it."""
        self.first = max(self.first, key)

    def add(self, account: str, key: Key, report: ExecutionReport, wall_ns: int) -> None:
        """Keep a report; keys must ascend within an account."""
        keys, reports = self._accounts.setdefault(account, ([], []))
        keys.append(key)
        reports.append(report)
        if self._archive is not None and len(keys) >= self._recent_max + _CUT_AT:
            del keys[:_CUT_AT], reports[:_CUT_AT]
            self._cut.add(account)
        self.mark(key, wall_ns)

    def mark(self, key: Key, wall_ns: int) -> None:
        """Remember at which clock which time was, and drop what is older than the window."""
        marks = self._marks
        if marks and wall_ns - marks[-1][0] < _MARK_NS:
            return
        marks.append((wall_ns, (key[0], 0)))
        old = 0
        while old < len(marks) and wall_ns - marks[old][0] > WINDOW_NS:
            self.first = max(self.first, marks[old][1])
            old += 1
        if old:
            del marks[:old]
            self._trim()

    def _trim(self) -> None:
        for keys, reports in self._accounts.values():
            gone = bisect_left(keys, self.first)
            if gone >= _TRIM_AT or gone == len(keys):  # in larger pieces: a list moves as a whole
                del keys[:gone], reports[:gone]

    def select(self, account: str, begin: Key, end: Key | None, latest: Key) -> list[ExecutionReport] | int:
        """Return an account's reports from begin to end, or EventResendRejectReason(21004)."""
        refused = self.refusal(begin, end, latest)
        if refused is not None:
            return refused
        found, following = self.page(account, begin, end, _PAGE)
        while following is not None:
            more, following = self.page(account, following, end, _PAGE)
            found += more
        return found

    def refusal(self, begin: Key, end: Key | None, latest: Key) -> int | None:
        """Return EventResendRejectReason(21004) of a range that can't be given, or None."""
        if begin < self.first:
            return BEGIN_TOO_SMALL
        return END_TOO_LARGE if end is not None and end > latest else None

    def page(
        self, account: str, begin: Key, end: Key | None, limit: int
    ) -> tuple[list[ExecutionReport], Key | None]:
        """Return the first of an account's reports from begin to end, both inclusive, as `Archive.reports`.

        Raises:
            JournalError: the archive can't be read.
        """
        keys, reports = self._accounts.get(account, ([], []))
        start = bisect_left(keys, begin)
        stop = len(keys) if end is None else bisect_right(keys, end)
        found: list[ExecutionReport] = []
        if self._archive is not None and account in self._cut and keys and begin < keys[0]:
            until = keys[0] if end is None or end >= keys[0] else (end[0], end[1] + 1)
            found, following = self._archive.reports(account, begin, until, limit)
            if following is not None:
                return found, following
        cut = min(stop, start + limit - len(found))
        return found + reports[start:cut], keys[cut] if cut < stop else None

    def archived(self, account: str) -> None:
        """Say that an account has older reports in the archive."""
        self._cut.add(account)

    def exec_ids(self, account: str) -> list[str]:
        """Return the ExecIDs of an account's reports of the last three hours, ascending."""
        found = self.select(account, self.first, None, self.first)
        return [report.exec_id for report in found] if isinstance(found, list) else []
