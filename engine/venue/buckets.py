"""The venue's own token buckets (venue.md section 3).

A bucket is kept as the instant at which it would be full: taking tokens moves that instant into the future, and a
request passes while the instant stays within the bucket's whole refill time. That is another form than the engine's
mirror keeps, on purpose: the one is checked against the other.
"""

from typing import Final, NamedTuple

from engine.common.clock import SECOND


class Budget(NamedTuple):
    """Tokens per second and tokens held, of both buckets."""

    read_per_s: int
    read_capacity: int
    write_per_s: int
    write_capacity: int


# venue.md section 3: Write above Basic holds 2 s of budget; Basic Write and margin Read hold 1 s.
TIERS: Final = {
    "Basic": Budget(200, 200, 100, 100),
    "Advanced": Budget(300, 300, 300, 600),
    "Expert": Budget(600, 600, 600, 1200),
    "Premier": Budget(1000, 1000, 1000, 2000),
    "Paragon": Budget(2000, 2000, 2000, 4000),
    "Prime": Budget(4000, 4000, 4000, 8000),
    "Prestige": Budget(10000, 10000, 8000, 16000),
}


class Bucket:
    """One bucket; per_s 0 means that nothing is counted.

    Args:
        per_s: tokens that flow in each second, continuously.
        capacity: tokens it holds when full, as it is at first.
    """

    __slots__ = ("_full_at", "_per_s", "_span")

    def __init__(self, per_s: int, capacity: int) -> None:
        self._per_s = per_s
        # Instants are kept in ns times per_s, so that no division ever rounds.
        self._span = capacity * SECOND
        self._full_at = 0

    def take(self, cost: int, mono_ns: int) -> bool:
        """Take tokens if the bucket holds them; False and nothing taken when it doesn't."""
        if not self._per_s:
            return True
        now = mono_ns * self._per_s
        full_at = max(self._full_at, now) + cost * SECOND
        if full_at - now > self._span:
            return False
        self._full_at = full_at
        return True

    def level(self, mono_ns: int) -> int:
        """Return the whole tokens in it now."""
        if not self._per_s:
            return 0
        return (self._span - max(0, self._full_at - mono_ns * self._per_s)) // SECOND


class Buckets:
    """An account's Read and Write bucket, and the once-a-second rule of mass cancels."""

    __slots__ = ("_mass_cancel_at", "cost", "costs", "read", "write")

    def __init__(self, budget: Budget, cost: int, costs: dict[str, int]) -> None:
        self.read = Bucket(budget.read_per_s, budget.read_capacity)
        self.write = Bucket(budget.write_per_s, budget.write_capacity)
        self.cost = cost
        self.costs = costs
        self._mass_cancel_at: int | None = None

    def take(self, msg_type: str, mono_ns: int, *, write: bool) -> bool:
        """Take a message's cost from its bucket; False when the bucket does not hold it."""
        bucket = self.write if write else self.read
        return bucket.take(self.costs.get(msg_type, self.cost), mono_ns)

    def mass_cancel(self, mono_ns: int) -> bool:
        """Allow one mass cancel per second (venue.md section 3)."""
        if self._mass_cancel_at is not None and mono_ns - self._mass_cancel_at < SECOND:
            return False
        self._mass_cancel_at = mono_ns
        return True


UNLIMITED: Final = Budget(0, 0, 0, 0)


def budget_of(tier: str, explicit: Budget) -> Budget:
    """Return a tier's budget; `explicit` gives the numbers of the configuration, `unlimited` counts nothing."""
    if tier == "unlimited":
        return UNLIMITED
    return explicit if tier == "explicit" else TIERS[tier]
