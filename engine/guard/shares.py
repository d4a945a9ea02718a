"""Equal shares of the Write bucket between strategies while tokens are short.

A strategy that got no tokens has a claim: tokens of one request are left to it by those that go after it, for
CLAIM_NS or until it comes again and takes them (what waits in the guard's queue claims as long as it waits). A request of
a higher rank goes before one of a lower. In one rank the strategy goes first that has had less since tokens became
short, by start tags (start-time fair queueing): each grant moves the strategy's tag on by its cost.

Nobody who is alone ever waits for a share, and a claim that nobody comes for costs the others one request for CLAIM_NS
at most. When nobody was short of tokens for CLAIM_NS, who had how much is forgotten.
"""

from typing import Final

from engine.common.clock import SECOND

CLAIM_NS: Final = SECOND


class _Claim:
    __slots__ = ("cost", "queued", "rank", "until_ns")

    def __init__(self, rank: int, cost: int, until_ns: int, *, queued: bool) -> None:
        self.rank = rank
        self.cost = cost
        self.until_ns = until_ns
        self.queued = queued


class Shares:
    """Who goes before whom.

    Attributes:
        claims: by slot. until_ns: mono_ns until which tokens count as short; nothing here matters after it.
        leaving: the head of a queue asks, which goes before itself.
    """

    __slots__ = ("_start", "_tags", "claims", "leaving", "until_ns")

    def __init__(self) -> None:
        self.claims: dict[int, _Claim] = {}
        self.until_ns = 0
        self.leaving = False
        self._tags: dict[int, int] = {}
        self._start = 0

    def tag(self, slot: int) -> int:
        """Return where a strategy stands: the lowest goes first."""
        return max(self._tags.get(slot, 0), self._start)

    def claim(self, slot: int, rank: int, cost: int, mono_ns: int) -> None:
        """A strategy got no tokens."""
        self._short(mono_ns, mono_ns + CLAIM_NS)
        claim = self.claims.get(slot)
        if claim is None or (not claim.queued and (rank <= claim.rank or claim.until_ns <= mono_ns)):
            self.claims[slot] = _Claim(rank, cost, mono_ns + CLAIM_NS, queued=False)

    def queue(self, slot: int, rank: int, cost: int, mono_ns: int, until_ns: int) -> None:
        """A strategy's next request waits in the queue."""
        self._short(mono_ns, until_ns)
        self.claims[slot] = _Claim(rank, cost, until_ns, queued=True)

    def _short(self, mono_ns: int, until_ns: int) -> None:
        if mono_ns >= self.until_ns:
            self.claims.clear()
            self._tags.clear()
            self._start = 0
        self.until_ns = max(self.until_ns, until_ns)

    def leave_queue(self, slot: int) -> None:
        """Nothing of a strategy waits in the queue any more."""
        claim = self.claims.get(slot)
        if claim is not None and claim.queued:
            del self.claims[slot]

    def before(self, slot: int, rank: int, mono_ns: int) -> int:
        """Return the tokens that a request of this strategy and rank must leave to those before it."""
        own = self.tag(slot)
        tokens = 0
        lapsed = []
        for other, claim in self.claims.items():
            if claim.until_ns <= mono_ns:
                lapsed.append(other)
            elif other == slot:
                if claim.queued and claim.rank <= rank and not self.leaving:
                    tokens += claim.cost
            elif claim.rank < rank or (claim.rank == rank and self.tag(other) < own):
                tokens += claim.cost
        for other in lapsed:
            del self.claims[other]
        return tokens

    def granted(self, slot: int, cost: int) -> None:
        """A strategy got tokens while they are short."""
        start = self._start = self.tag(slot)
        self._tags[slot] = start + cost
        claim = self.claims.get(slot)
        if claim is not None and not claim.queued:
            del self.claims[slot]
