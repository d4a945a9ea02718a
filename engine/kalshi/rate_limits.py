"""The venue's rate limits (venue.md section 3): tiers, and an exact mirror of one token bucket.

A bucket refills continuously; a message passes whenever the bucket holds its cost; no windows, no penalty. The mirror
counts in billionths of a token, because that is what flows in per ns at one token a second: integers, no rounding, so
it grants exactly what the venue would at the same instants. Which messages drain which bucket is the owner's business.
"""

from typing import Final, NamedTuple

from engine.common.clock import SECOND


class Tier(NamedTuple):
    """Tokens per second and tokens held when full, of both buckets."""

    read_per_s: int
    write_per_s: int
    read_capacity: int
    write_capacity: int


def _tier(read_per_s: int, write_per_s: int, write_seconds: int = 2) -> Tier:
    # Write above Basic holds 2 s of budget; Basic Write and margin Read hold 1 s.
    return Tier(read_per_s, write_per_s, read_per_s, write_per_s * write_seconds)


# Published for event contracts; margin's own are per account, so the configuration may give explicit numbers.
TIERS: Final[dict[str, Tier]] = {
    "Basic": _tier(200, 100, write_seconds=1),
    "Advanced": _tier(300, 300),
    "Expert": _tier(600, 600),
    "Premier": _tier(1000, 1000),
    "Paragon": _tier(2000, 2000),
    "Prime": _tier(4000, 4000),
    "Prestige": _tier(10000, 8000),
}  # fmt: skip


class TokenBucket:
    """One bucket, full at first.

    Args:
        per_s: tokens that flow in each second. capacity: tokens that it holds.
    """

    __slots__ = ("_at_ns", "_full", "_level", "_per_s")

    def __init__(self, per_s: int, capacity: int) -> None:
        assert min(per_s, capacity) > 0, "a bucket without tokens never grants anything"
        self._per_s = per_s
        self._full = capacity * SECOND
        self._level = self._full
        self._at_ns: int | None = None

    def _refill(self, mono_ns: int) -> None:
        if self._at_ns is None:
            self._at_ns = mono_ns
        elif mono_ns > self._at_ns:
            self._level = min(self._full, self._level + (mono_ns - self._at_ns) * self._per_s)
            self._at_ns = mono_ns

    def available(self, mono_ns: int) -> int:
        """Return the whole tokens that it holds."""
        self._refill(mono_ns)
        return self._level // SECOND

    def take(self, cost: int, mono_ns: int) -> bool:
        """Take a message's tokens if they are all there; else take none and return False."""
        self._refill(mono_ns)
        if self._level < cost * SECOND:
            return False
        self._level -= cost * SECOND
        return True

    def owe(self, cost: int, mono_ns: int) -> None:
        """Count tokens that were spent already, whether they were there or not; at most a whole bucket is owed."""
        self._refill(mono_ns)
        self._level = max(self._level - cost * SECOND, -self._full)

    def empty(self, mono_ns: int) -> None:
        """Drop all tokens: the venue said 380=8, or what was spent before isn't known."""
        self._refill(mono_ns)
        self._level = min(self._level, 0)

    def wait_ns(self, cost: int, mono_ns: int) -> int:
        """Return after how many ns `take(cost)` will pass, 0 for now.

        Raises:
            ValueError: the cost is over the capacity, so it never will.
        """
        if cost * SECOND > self._full:
            raise ValueError(f"{cost} tokens are more than the bucket ever holds ({self._full // SECOND})")
        self._refill(mono_ns)
        missing = cost * SECOND - self._level
        return -(-missing // self._per_s) if missing > 0 else 0
