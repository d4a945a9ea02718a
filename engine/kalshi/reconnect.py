"""When to connect again (pitfalls of Logon: it is rate-limited, and a venue that is down must not be hammered).

* Full jitter: after the n-th loss in a row the wait is drawn evenly from 0 to 0.5 s, 1 s, 2 s ... 30 s.
* An attempt that no connection came of costs the venue nothing: it waits the same way, but never longer than 5 s.
* At most 3 Logons in any 10 s, whatever else.
* `already exists` waits two HeartBtInt, after which the venue has noticed that the old connection is dead.
* A session that stayed up for 10 s begins the row anew; one that keeps dropping sooner does not.
"""

from collections.abc import Callable
from typing import Final

from engine.common.clock import MS, SECOND

BACKOFF_FIRST_NS: Final = 500 * MS
BACKOFF_MAX_NS: Final = 30 * SECOND
REFUSED_MAX_NS: Final = 5 * SECOND
LOGONS_MAX: Final = 3
LOGONS_WINDOW_NS: Final = 10 * SECOND
CALM_NS: Final = 10 * SECOND


class ReconnectPolicy:
    """Back-off of one session.

    Attributes:
        losses: in a row.

    Args:
        rng: gives numbers in [0, 1).
    """

    __slots__ = ("_logged_on_ns", "_logons", "_rng", "losses")

    def __init__(self, rng: Callable[[], float]) -> None:
        self._rng = rng
        self._logons: list[int] = []
        self._logged_on_ns: int | None = None
        self.losses = 0

    def logon_sent(self, mono_ns: int) -> None:
        """Count a Logon against the limit."""
        self._logons.append(mono_ns)
        del self._logons[:-LOGONS_MAX]

    def logged_on(self, mono_ns: int) -> None:
        """Note that the Logon was accepted."""
        self._logged_on_ns = mono_ns

    def refused(self, mono_ns: int) -> int:
        """Note an attempt that no connection came of; return the mono_ns of the next attempt."""
        return self._again(mono_ns, REFUSED_MAX_NS)

    def lost(self, mono_ns: int) -> int:
        """Note a loss, or a Logon that came to nothing; return the mono_ns of the next attempt."""
        return self._again(mono_ns, BACKOFF_MAX_NS)

    def _again(self, mono_ns: int, longest_ns: int) -> int:
        if self._logged_on_ns is not None and mono_ns - self._logged_on_ns >= CALM_NS:
            self.losses = 0
        self._logged_on_ns = None
        ceiling = min(longest_ns, BACKOFF_FIRST_NS << min(self.losses, 10))
        self.losses += 1
        return self.not_before(mono_ns + int(self._rng() * ceiling))

    def wait(self, wait_ns: int, mono_ns: int) -> int:
        """Note a loss whose wait is given; return the mono_ns of the next attempt."""
        self._logged_on_ns = None
        self.losses += 1
        return self.not_before(mono_ns + wait_ns)

    def not_before(self, mono_ns: int) -> int:
        """Return the first mono_ns from `mono_ns` on at which a Logon is within the limit."""
        if len(self._logons) < LOGONS_MAX:
            return mono_ns
        return max(mono_ns, self._logons[0] + LOGONS_WINDOW_NS)
