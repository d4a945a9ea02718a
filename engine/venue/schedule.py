"""When the venue is closed: the Thursday window of its documents, and pauses on command (venue.md section 2).

Every Thursday from 03:00 to 05:00 in New York a trading pause is in effect: in UTC 08:00 to 10:00 in winter and 07:00
to 09:00 in summer. Both clock changes are on Sundays, so that the window itself is always two hours long. A pause on
command is kept apart: the one's end does not end the other, and an exchange pause stands above a trading pause.
"""

from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_NEW_YORK: Final = ZoneInfo("America/New_York")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_THURSDAY: Final = 3
_BEGINS: Final = time(3)
_ENDS: Final = time(5)
TRADING: Final = "trading"
EXCHANGE: Final = "exchange"


def _ns(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000


def window_of(wall_ns: int) -> tuple[int, int]:
    """Return (begin, end) in ns UTC of the maintenance window that is on, or else of the next one."""
    local = (_EPOCH + timedelta(microseconds=wall_ns // 1000)).astimezone(_NEW_YORK)
    day = local.date() + timedelta(days=(_THURSDAY - local.weekday()) % 7)
    for date in (day, day + timedelta(days=7)):
        begin = _ns(datetime.combine(date, _BEGINS, tzinfo=_NEW_YORK))
        end = _ns(datetime.combine(date, _ENDS, tzinfo=_NEW_YORK))
        if wall_ns < end:
            return begin, end
    raise AssertionError("the week after this one has a Thursday that is not over")


class Pauses:
    """What is paused, and until when that is known.

    Args:
        scheduled: whether there is a Thursday window at all.

    Attributes:
        commanded: pause on command, `trading`, `exchange` or empty.
        in_window: the Thursday window is on.
        due_ns: wall time at which the window begins or ends next; None without a schedule.
    """

    __slots__ = ("_scheduled", "commanded", "due_ns", "in_window")

    def __init__(self, *, scheduled: bool) -> None:
        self._scheduled = scheduled
        self.commanded = ""
        self.in_window = False
        self.due_ns: int | None = None

    def look(self, wall_ns: int) -> bool:
        """Look at the clock; True when the window began or ended since the last look."""
        if not self._scheduled:
            return False
        begin, end = window_of(wall_ns)
        before, self.in_window = self.in_window, wall_ns >= begin
        self.due_ns = end if self.in_window else begin
        return self.in_window is not before

    @property
    def effective(self) -> str:
        """`trading`, `exchange` or empty."""
        return self.commanded or (TRADING if self.in_window else "")
