"""Following the tape: which event is next, which is missing, and when to ask.

PUB/SUB may lose messages, the tape may not. Events are applied strictly by `tape_no`; one that is ahead waits until
what is missing was replayed. A beat tells of a loss while nothing happens. Before the first snapshot nothing is next.
"""

from typing import Final

from engine.common.clock import MS
from engine.messages.executions import OrderEvent

ASK_AGAIN_NS: Final = 500 * MS
WAITING_MAX: Final = 20_000


class TapeFollower:
    """Where we are on the tape.

    Attributes:
        last: tape_no of the last event applied, or of the snapshot; -1 before the first.
        seen: the highest tape_no that we heard of.
        gaps: how often something was missing.
    """

    __slots__ = ("_asked_ns", "_behind_since", "_waiting", "gaps", "last", "seen")

    def __init__(self) -> None:
        self.last = -1
        self.seen = -1
        self.gaps = 0
        self._asked_ns: int | None = None
        self._behind_since: int | None = None
        self._waiting: dict[int, OrderEvent] = {}

    @property
    def behind(self) -> bool:
        """Events are known to exist that were not applied."""
        return self.last >= 0 and self.seen > self.last

    def offer(self, event: OrderEvent) -> bool:
        """Say whether an event is the next; one that is ahead is kept for `waiting`."""
        no = event.tape_no
        if no == self.last + 1 and self.last >= 0:
            self.last = no
            if no >= self.seen:
                self.seen = no
                self._asked_ns = None
            return True
        if no > self.last:
            self.seen = max(self.seen, no)
            if len(self._waiting) >= WAITING_MAX:
                self._waiting.clear()  # they will be replayed
            self._waiting[no] = event
        return False

    def waiting(self) -> OrderEvent | None:
        """Return the next event if it waited, or None; call until None."""
        return self._waiting.pop(self.last + 1, None) if self._waiting else None

    def hear(self, tape_no: int, mono_ns: int) -> bool:
        """Take a beat's last number; return whether order entry has stayed behind us: its journal lost its end."""
        if tape_no >= self.last:
            self.seen = max(self.seen, tape_no)
            self._behind_since = None
            return False
        if self._behind_since is None:
            self._behind_since = mono_ns
        return mono_ns - self._behind_since >= ASK_AGAIN_NS

    def restart(self, tape_no: int) -> None:
        """Go on from a snapshot."""
        self.last = tape_no
        self.seen = max((no for no in self._waiting if no > tape_no), default=tape_no)
        self._waiting = {no: event for no, event in self._waiting.items() if no > tape_no}
        self._asked_ns = None
        self._behind_since = None

    def ask(self, mono_ns: int) -> bool:
        """Say whether what is missing must be asked for now; the caller then asks."""
        if not self.behind:
            return False
        if self._asked_ns is None:
            self.gaps += 1
        elif mono_ns - self._asked_ns < ASK_AGAIN_NS:
            return False
        self._asked_ns = mono_ns
        return True
