"""What several tools read from a command line."""

import re
from typing import Final

from engine.errors import UsageError

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def duration(text: str) -> float:
    """Parse `30s`, `10m`, `1h`, `500ms` or plain seconds to seconds.

    Raises:
        UsageError: the text is none of these.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no duration: write it as 30s, 10m, 1h or 500ms")
    return float(match[1]) * _UNITS[match[2]]
