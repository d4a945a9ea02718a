"""When a process whose supervisor is gone may end: once it has quiesced, and so that those that depend on it end first."""

from typing import Final

from engine.common.clock import SECOND

GRACE_S: Final = 5
AFTER_NS: Final = {
    "strategy": 0,
    "market_data": 2 * SECOND,
    "order_entry": 3 * SECOND,
    "drop_copy": SECOND,
    "guard": 4 * SECOND,
    "venue": 15 * SECOND,
}
ALONE_NS: Final = 3 * SECOND  # a venue to which nobody has been connected for so long is needed no more


class Orphan:
    """A process without its supervisor.

    Args:
        name: the process's. shutdown_s: as configured: it ends so long (and a little more) after its loss at the latest
            begins to end. mono_ns: now.
    """

    def __init__(self, name: str, shutdown_s: int, mono_ns: int) -> None:
        self._name = name
        self._late_ns = mono_ns + (shutdown_s + GRACE_S) * SECOND
        self._end_ns = 0
        self._alone_ns = 0

    def may_end(self, mono_ns: int, *, quiesced: bool, is_used: bool) -> bool:
        """Say whether it may end now; is_used: somebody is connected to it."""
        if not quiesced and mono_ns <= self._late_ns:
            return False
        if not self._end_ns:
            self._end_ns = mono_ns + AFTER_NS[self._name.partition(".")[0]]
        if self._name == "venue":
            self._alone_ns = 0 if is_used else self._alone_ns or mono_ns + ALONE_NS
            self._end_ns = min(self._end_ns, self._alone_ns or self._end_ns)
        return mono_ns >= self._end_ns
