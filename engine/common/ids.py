"""ClOrdID: a UUID of version 8 that tells its strategy without any state.

    48 bits  ms since the epoch when the worker started
     4 bits  version, 8
    12 bits  strategy slot (0 is the guard and the operator)
     2 bits  variant, 10
    32 bits  counter
    30 bits  random per start

Two starts within one ms differ by their random bits; one start never repeats its counter. Never reused.
"""

import re
from typing import Final

SLOT_OPERATOR: Final = 0
SLOT_FOREIGN: Final = -1
SLOT_MAX: Final = 0xFFF
_COUNTER_MAX = 0xFFFFFFFF
_GROUP_ID_MAX: Final = 64
_LAYOUT: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-8([0-9a-f]{3})-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII
).fullmatch


class ClOrdIDs:
    """Makes the ClOrdIDs of one worker's life.

    Args:
        slot: the strategy's slot, 0 to 4095, explicit in the configuration.
        start_ms: wall clock at the worker's start, in ms.
        random_bits: 30 random bits of this start.
    """

    __slots__ = ("_counter", "_head", "_tail")

    def __init__(self, slot: int, start_ms: int, random_bits: int) -> None:
        assert 0 <= slot <= SLOT_MAX, "a slot has 12 bits"
        head = f"{start_ms & 0xFFFFFFFFFFFF:012x}"
        self._head = f"{head[:8]}-{head[8:]}-8{slot:03x}-"
        self._tail = (0b10 << 62) | (random_bits & 0x3FFFFFFF)
        self._counter = 0

    def __call__(self) -> str:
        """Return the next ClOrdID, 36 characters."""
        self._counter += 1
        assert self._counter <= _COUNTER_MAX, "the counter of one start is spent: restart the worker"
        low = f"{self._tail | (self._counter << 30):016x}"
        return f"{self._head}{low[:4]}-{low[4:]}"


def slot_of(cl_ord_id: str) -> int | None:
    """Return the strategy slot that a ClOrdID of our layout carries, or None for any other text."""
    match = _LAYOUT(cl_ord_id)
    return int(match[1], 16) if match is not None else None


def is_group_id(text: str) -> bool:
    """Say whether an order group's id can stand in a message: printable ASCII, 1 to 64 characters."""
    return 0 < len(text) <= _GROUP_ID_MAX and text.isascii() and text.isprintable()


def group_key(group_id: str) -> str:
    """Return what is the same for all ways to write one order group id, a UUID: case, braces, hyphens, `urn:uuid:`."""
    text = group_id.casefold().strip().removeprefix("urn:").removeprefix("uuid:")
    return text.strip("{}").replace("-", "")
