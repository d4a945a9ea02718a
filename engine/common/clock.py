"""Points in time as actors see them, and FIX's way to write them.

Wall time (ns since the epoch, UTC) is for SendingTime and schedules; monotonic time for liveness, tokens and
time-outs. Cores never read a clock: `Now` is handed to them.
"""

import calendar
import re
from typing import Final

import msgspec

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
_FIX_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?", re.ASCII)


class Now(msgspec.Struct, frozen=True, gc=False):
    """One instant: wall clock and monotonic clock, both in ns."""

    wall_ns: int
    mono_ns: int


def civil_from_days(days: int) -> tuple[int, int, int]:
    """Return (year, month, day) of a day number counted from 1970-01-01."""
    z = days + 719468
    era = z // 146097
    doe = z - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    day = doy - (153 * mp + 2) // 5 + 1
    month = mp + 3 if mp < 10 else mp - 9
    return yoe + era * 400 + (month <= 2), month, day


_second_cached = -1
_second_text = ""


def fix_time(wall_ns: int) -> str:
    """Write `YYYYMMDD-HH:MM:SS.mmm` in UTC, truncated to ms (venue.md section 2). The last second is remembered."""
    global _second_cached, _second_text  # noqa: PLW0603 - a memo of a pure function
    second, rest = divmod(wall_ns, SECOND)
    if second != _second_cached:
        days, in_day = divmod(second, 86400)
        year, month, day = civil_from_days(days)
        minutes, s = divmod(in_day, 60)
        h, m = divmod(minutes, 60)
        _second_text = f"{year:04d}{month:02d}{day:02d}-{h:02d}:{m:02d}:{s:02d}."
        _second_cached = second
    return f"{_second_text}{rest // MS:03d}"


def parse_fix_time(text: str) -> int:
    """Parse a FIX UTC timestamp with 0 to 9 decimals to ns since the epoch.

    Raises:
        ValueError: the text is not such a timestamp, or names a day or time that doesn't exist.
    """
    match = _FIX_TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a UTC timestamp YYYYMMDD-HH:MM:SS.mmm")
    year, month, day, h, m, s = (int(part) for part in match.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year or 1, month)[1] and year >= 1970):
        raise ValueError(f"{text[:40]!r} names a day that doesn't exist")
    if h > 23 or m > 59 or s > 60:  # FIX allows the leap second 60
        raise ValueError(f"{text[:40]!r} names a time that doesn't exist")
    seconds = calendar.timegm((year, month, day, h, m, s))
    return seconds * SECOND + int((match[7] or "0").ljust(9, "0"))


def iso_time(wall_ns: int) -> str:
    """Write ISO-8601 UTC with ms, for people: `2026-11-24T10:00:00.000Z`."""
    text = fix_time(wall_ns)
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:]}Z"
