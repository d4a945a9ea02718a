"""What a process says to the operator: a line in its log and a notice to the supervisor, never a flood of either.

The same text is said once a second; further lines of a second than `LINES_PER_SECOND` are counted, not said (alerts and
errors have room of their own). Text from outside is made plain first.
"""

import contextlib
import os
from typing import Final

from engine.common.clock import SECOND, Now, iso_time
from engine.messages.control import Notice
from engine.runtime.plain_text import plain

LINES_PER_SECOND: Final = 50
_STDERR: Final = 2
_WAITING_MAX: Final = 1000
_URGENT: Final = frozenset({"alert", "error"})


class Notices:
    """The voice of one process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: list[Notice] = []
        self._said: set[str] = set()
        self._second_ns = 0
        self._count = {True: 0, False: 0}
        self._dropped = 0

    def say(self, level: str, text: str, now: Now) -> None:
        """Say one line, unless it was said within this second or the second is full."""
        text = plain(text)
        if now.mono_ns - self._second_ns > SECOND:
            if self._dropped:
                text = f"{text} ({self._dropped} lines before this were dropped: too many in a second)"
            self._second_ns, self._dropped, self._count = now.mono_ns, 0, {True: 0, False: 0}
            self._said.clear()
        if text in self._said:
            return
        urgent = level in _URGENT
        self._count[urgent] += 1
        if self._count[urgent] > LINES_PER_SECOND:
            self._dropped += 1
            return
        self._said.add(text)
        with contextlib.suppress(
            OSError
        ):  # a full disk must not end a process that still has orders to cancel
            os.write(_STDERR, f"{iso_time(now.wall_ns)} {level} {text}\n".encode())
        if len(self._waiting) < _WAITING_MAX:
            self._waiting.append(Notice(name=self._name, level=level, text=text, wall_ns=now.wall_ns))

    def take(self, most: int = 100) -> list[Notice]:
        """Return the oldest notices that the supervisor has not had, and forget them."""
        taken, self._waiting = self._waiting[:most], self._waiting[most:]
        return taken
