"""ExecID(17): `clock;event` on exchange index 0, `clock;event;index` elsewhere (venue.md section 4).

Compared as integers, never as text: `9;1` comes before `10;1`. Within one exchange index (clock, event) orders the
reports. Every Pending report carries `-1;-1`, which is no key.
"""

import re
from typing import Final

NO_KEY: Final = "-1;-1"
_FORM: Final = re.compile(r"(-?[0-9]{1,18});(-?[0-9]{1,18})(?:;([0-9]{1,9}))?").fullmatch


def parse_exec_id(text: str) -> tuple[int, int, int]:
    """Return (clock, event, exchange index); the index is 0 when it is not written.

    Raises:
        ValueError: the text has another form.
    """
    match = _FORM(text)
    if match is None:
        raise ValueError(f"{text[:60]!r} is not an ExecID clock;event or clock;event;index")
    return int(match[1]), int(match[2]), int(match[3] or "0")


def canonical(text: str) -> str:
    """Return an ExecID in its one form: no leading zeros, no index on exchange index 0. `0100;2;0` is `100;2`.

    Raises:
        ValueError: the text has another form.
    """
    clock, event, index = parse_exec_id(text)
    return f"{clock};{event};{index}" if index else f"{clock};{event}"


def is_key(text: str) -> bool:
    """Tell whether this ExecID names a report: `-1;-1` (on any exchange index), empty and malformed ones do not."""
    match = _FORM(text)
    return match is not None and match[1][0] != "-" and match[2][0] != "-"
