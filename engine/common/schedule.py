"""When the trading day begins, and when the venue's weekly maintenance is (venue.md section 2), in a zone's own time.

Both are worked out once and remembered until they are over: a question in between is one comparison. A night with a
clock change is an hour longer or shorter, a time that it leaves out is the moment after the gap.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = r"([01]?\d|2[0-3]):([0-5]\d)"
_WINDOW: Final = re.compile(rf"([A-Za-z]{{3}}) {_TIME}-{_TIME}")


def zone(name: str) -> ZoneInfo:
    """Return a time zone. Raises ValueError when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; one is America/New_York") from None


def parse_time(text: str) -> time:
    """Parse HH:MM. Raises ValueError."""
    match = re.fullmatch(_TIME, text)
    if match is None:
        raise ValueError(f"{text!r} is no time of day; one is 00:00")
    return time(int(match[1]), int(match[2]))


def _ns(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000


def _local(wall_ns: int, where: ZoneInfo) -> datetime:
    return (_EPOCH + timedelta(microseconds=wall_ns // 1000)).astimezone(where)


class Days:
    """Numbers the days that begin at a time of day in a zone.

    Args:
        start: HH:MM. where: the zone's name.

    Raises:
        ValueError: one of them is none.
    """

    def __init__(self, start: str, where: str) -> None:
        self._start = parse_time(start)
        self._zone = zone(where)
        self._begin = self._end = self._number = 0

    def number(self, wall_ns: int) -> int:
        """Return the number of the day, counted by its date from 1970-01-01."""
        if not self._begin <= wall_ns < self._end:
            day = _local(wall_ns, self._zone).date()
            if wall_ns < self._at(day):
                day -= timedelta(days=1)
            self._begin, self._end = self._at(day), self._at(day + timedelta(days=1))
            self._number = (day - _EPOCH.date()).days
        return self._number

    def _at(self, day: date) -> int:
        return _ns(datetime.combine(day, self._start, tzinfo=self._zone))


class Window:
    """A weekly window, such as `Thu 03:00-05:00`.

    Args:
        text: weekday (three letters) and times. where: the zone's name.

    Raises:
        ValueError: they are not of that form, or it would end before it begins.
    """

    def __init__(self, text: str, where: str) -> None:
        match = _WINDOW.fullmatch(text)
        if match is None or match[1].lower() not in _DAYS:
            raise ValueError(f"{text!r} is no weekly window; one is Thu 03:00-05:00")
        self._weekday = _DAYS.index(match[1].lower())
        self._from, self._to = time(int(match[2]), int(match[3])), time(int(match[4]), int(match[5]))
        if self._from >= self._to:
            raise ValueError(f"{text!r} ends before it begins")
        self._zone = zone(where)
        self._known = (0, 0)

    def bounds(self, wall_ns: int) -> tuple[int, int]:
        """Return begin and end (wall ns) of the window that is on, or else of the next one."""
        begin, end = self._known
        if end - timedelta(days=7) // timedelta(microseconds=1) * 1000 <= wall_ns < end:
            return begin, end
        today = _local(wall_ns, self._zone).date()
        day = today + timedelta(days=(self._weekday - today.weekday()) % 7)
        self._known = self._of(day)
        if wall_ns >= self._known[1]:
            self._known = self._of(day + timedelta(days=7))
        return self._known

    def _of(self, day: date) -> tuple[int, int]:
        begin = datetime.combine(day, self._from, tzinfo=self._zone)
        return _ns(begin), _ns(datetime.combine(day, self._to, tzinfo=self._zone))
