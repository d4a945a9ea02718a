"""What a process counts of itself. Distributions without memory growth: counts in logarithmic buckets, 16 to each power of
two (under 5 % error).
"""

from typing import Final

_SUB_BITS: Final = 4
_SUB: Final = 1 << _SUB_BITS
SHARES: Final = (
    10,
    50,
    100,
    250,
    500,
    750,
    900,
    950,
    990,
    999,
    1000,
)  # quantiles of a distribution, in 1/1000


class Histogram:
    """Counts of non-negative ints (ns); constant time, bounded memory: the buckets that hold something."""

    __slots__ = ("_counts", "count", "maximum")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.maximum = 0

    def add(self, value: int) -> None:
        """Count one value."""
        if value < _SUB:
            index = max(value, 0)
        else:
            shift = value.bit_length() - _SUB_BITS - 1
            index = (shift + 1 << _SUB_BITS) + (value >> shift) - _SUB
        self._counts[index] = self._counts.get(index, 0) + 1
        self.count += 1
        if value > self.maximum:  # noqa: PLR1730 - a call to max costs more than the comparison
            self.maximum = value

    def _middle(self, index: int) -> int:
        if index < _SUB:
            return index
        shift = (index >> _SUB_BITS) - 1
        low = (_SUB + (index & (_SUB - 1))) << shift
        return min(low + (1 << shift >> 1), self.maximum)

    def quantiles(self, shares: tuple[int, ...]) -> dict[int, int]:
        """Return the quantiles at shares in 1/1000, ascending: the middles of their buckets; empty when nothing was counted."""
        found: dict[int, int] = {}
        counts = self._counts
        seen, at = 0, 0
        for index in sorted(counts):
            seen += counts[index]
            while at < len(shares) and seen * 1000 >= self.count * shares[at]:
                found[shares[at]] = self._middle(index)
                at += 1
            if at == len(shares):
                break
        return found

    def distribution(self, name: str) -> dict[str, int]:
        """Return a distribution of ns as metrics in us: p50, p99, a quantile for each of `SHARES`, and the count."""
        found = self.quantiles(SHARES)
        metrics = {f"{name}_p50_us": found[500] // 1000, f"{name}_p99_us": found[990] // 1000}
        metrics.update({f"{name}_q{share}": ns // 1000 for share, ns in found.items()})
        metrics[f"{name}_count"] = self.count
        return metrics

    def clear(self) -> None:
        """Forget everything."""
        self._counts.clear()
        self.count = self.maximum = 0


class Counters:
    """What a process runtime counts.

    Attributes:
        tick_to_trade, commit, busy: ns from trigger to bytes written, of a journal commit, of a turn.
        malformed, discarded, turned_away: messages that were none, over their sender's rate, from who may not send them.
        refused_sends: messages that no queue took. turns: ns of turns that `metrics` has not counted yet.
    """

    __slots__ = (
        "busy", "commit", "discarded", "malformed", "refused_sends", "tick_to_trade", "turned_away", "turns",
    )  # fmt: skip

    def __init__(self) -> None:
        self.tick_to_trade = Histogram()
        self.commit = Histogram()
        self.busy = Histogram()
        self.turns: list[int] = []
        self.malformed = 0
        self.discarded = 0
        self.turned_away = 0
        self.refused_sends = 0

    def metrics(self) -> dict[str, int | float]:
        """Return them by name for a heartbeat; what never happened is left out."""
        for busy_ns in self.turns:
            self.busy.add(busy_ns)
        self.turns.clear()
        found: dict[str, int | float] = {}
        for name in ("tick_to_trade", "commit", "busy"):
            histogram: Histogram = getattr(self, name)
            if histogram.count:
                quantiles = histogram.quantiles((500, 990))
                found[f"{name}_p50_us"] = quantiles[500] // 1000
                found[f"{name}_p99_us"] = quantiles[990] // 1000
        if self.tick_to_trade.count:
            found.update(self.tick_to_trade.distribution("tick_to_trade"))
        for name in ("turned_away", "discarded", "malformed", "refused_sends"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        return found
