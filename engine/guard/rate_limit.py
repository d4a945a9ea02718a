"""The venue's Write bucket, mirrored, and who may use how much of it (venue.md section 3).

Everything that order entry writes costs tokens: the guard takes them when it approves, and is told by the tape and its
beats about what it did not approve (Logons, cancels of order entry's own). The mirror starts empty, because what an
earlier guard spent isn't known. A part is kept for cancels, so that quoting can never use up what is needed to stop;
a kill comes before everything. A rate-limit reject (380=8) proves the mirror too full: it is emptied.
"""

from typing import Final

from engine.common.clock import SECOND
from engine.config import RateConfig
from engine.kalshi.rate_limits import TIERS, TokenBucket

MASS_CANCEL_NS: Final = SECOND  # OrderMassCancelRequest: once a second (venue.md section 3)
UNLIMITED: Final = "unlimited"
EXPLICIT: Final = "explicit"


def write_rate(rate: RateConfig) -> tuple[int, int]:
    """Return tokens per second and capacity of the Write bucket; (0, 0) when it is unlimited.

    Raises:
        KeyError: the tier is not one of the venue's.
    """
    if rate.tier == UNLIMITED:
        return 0, 0
    if rate.tier == EXPLICIT:
        return rate.write_per_s, rate.write_capacity
    tier = TIERS[rate.tier]
    return tier.write_per_s, tier.write_capacity


class WriteBudget:
    """The mirrored Write bucket with its reserve.

    Attributes:
        capacity: tokens, -1 when unlimited. reserve: tokens that only cancels, mass cancels and Logon may use.
        emptied: how often the venue said that we were over.
    """

    __slots__ = (
        "_bucket",
        "_mass_ns",
        "capacity",
        "cost_cancel",
        "cost_logon",
        "cost_mass",
        "cost_new",
        "cost_replace",
        "emptied",
        "reserve",
    )

    def __init__(self, rate: RateConfig) -> None:
        per_s, capacity = write_rate(rate)
        self._bucket = TokenBucket(per_s, capacity) if capacity else None
        self.capacity = capacity if self._bucket is not None else -1
        self.reserve = capacity * rate.cancel_reserve_percent // 100
        self.cost_new = rate.costs.get("D", rate.cost)
        self.cost_replace = rate.costs.get("G", rate.cost)
        self.cost_cancel = rate.costs.get("F", rate.cost)
        self.cost_mass = rate.costs.get("q", rate.cost)
        self.cost_logon = rate.costs.get("A", rate.cost)
        self.emptied = 0
        self._mass_ns: int | None = None

    def start(self, mono_ns: int) -> None:
        """Begin with an empty bucket: what was spent before isn't known."""
        if self._bucket is not None:
            self._bucket.empty(mono_ns)

    def available(self, mono_ns: int) -> int:
        """Return the whole tokens that are there now; 0 when unlimited, or when some are owed."""
        return max(self._bucket.available(mono_ns), 0) if self._bucket is not None else 0

    def take_order(self, cost: int, mono_ns: int) -> bool:
        """Take the tokens of a new or replacing order, unless that would touch the reserve."""
        bucket = self._bucket
        if bucket is None:
            return True
        return bucket.available(mono_ns) >= cost + self.reserve and bucket.take(cost, mono_ns)

    def take_cancel(self, mono_ns: int) -> bool:
        """Take the tokens of a cancel, from the reserve too."""
        return self._bucket is None or self._bucket.take(self.cost_cancel, mono_ns)

    def take_mass_cancel(self, mono_ns: int) -> bool:
        """Take the tokens of a mass cancel, at most once a second."""
        if self._mass_ns is not None and mono_ns - self._mass_ns < MASS_CANCEL_NS:
            return False
        if self._bucket is not None and not self._bucket.take(self.cost_mass, mono_ns):
            return False
        self._mass_ns = mono_ns
        return True

    def spent(self, cost: int, mono_ns: int) -> None:
        """Count tokens that were spent without being asked for (a Logon, a cancel of order entry's own), as a debt when
        they were not there: order entry may go on spending what flows in.
        """
        if self._bucket is not None:
            self._bucket.owe(cost, mono_ns)

    def refused_by_venue(self, mono_ns: int) -> None:
        """Empty the mirror: the venue answered 380=8."""
        self.emptied += 1
        if self._bucket is not None:
            self._bucket.empty(mono_ns)

    def cancel_wait_ns(self, mono_ns: int) -> int:
        """Return how long until a cancel's tokens are there."""
        return self._bucket.wait_ns(self.cost_cancel, mono_ns) if self._bucket is not None else 0
