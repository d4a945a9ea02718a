"""Times and days as a command line gives them; UTC, because the venue's funding history is by UTC day."""

import re
from typing import Final

from engine.common.clock import parse_fix_time
from engine.drop_copy.report.inputs import DAY_NS, FOREVER_NS, Period
from engine.errors import UsageError

_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?Z?", re.ASCII
).fullmatch
_RIGHT: Final = "write it as 2026-11-24 or 2026-11-24T10:00:00Z (UTC)"


def wall_time(text: str, option: str) -> int:
    """Parse a day or a time to wall ns. Raises UsageError that names the option."""
    match = _TIME(text)
    if match is None:
        raise UsageError(f"{option} {text!r}: is no time; {_RIGHT}")
    year, month, day, h, m, s, fraction = match.groups()
    try:
        return parse_fix_time(f"{year}{month}{day}-{h or '00'}:{m or '00'}:{s or '00'}.{fraction or '0'}")
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}; {_RIGHT}") from None


def period_of(begin: str, end: str, day: str) -> Period:
    """Return the period that --from, --to and --day say. Raises UsageError."""
    if day:
        if begin or end:
            raise UsageError("--day, or --from and --to, not both")
        from_ns = wall_time(day, "--day")
        if len(day.rstrip("Z")) > 10:
            raise UsageError(f"--day {day!r}: a day is needed, such as 2026-11-24 (UTC)")
        return Period(from_ns, from_ns + DAY_NS)
    period = Period(wall_time(begin, "--from") if begin else 0, wall_time(end, "--to") if end else FOREVER_NS)
    if period.to_ns <= period.from_ns:
        raise UsageError(f"--to {end!r} is not after --from {begin!r}")
    return period
