"""ExecIDs as the keys that witnesses are joined by.

An ExecID is `clock;event` or `clock;event;index`, ordered by (clock, event) within an exchange index (venue.md
section 4). `-1;-1` on pending reports is no key.
"""

from typing import TypeAlias

from engine.kalshi.exec_id import is_key, parse_exec_id

Key: TypeAlias = tuple[int, int, int]  # clock, event, exchange index


def key_of(exec_id: str) -> Key | None:
    """Return the key of an ExecID, or None when it is none (`-1;-1`, empty, not of the form)."""
    if not exec_id or not is_key(exec_id):
        return None
    try:
        return parse_exec_id(exec_id)
    except ValueError:
        return None


def text_of(key: Key) -> str:
    """Return the ExecID of a key, as the venue writes it: without the index on exchange index 0."""
    clock, event, index = key
    return f"{clock};{event};{index}" if index else f"{clock};{event}"
