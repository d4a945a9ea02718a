"""Equal shares of the Write bucket between strategies while tokens are short.

A strategy that got no tokens has a claim: tokens of one request are left to it by those that go after it, for
CLAIM_NS or until it comes again and takes them (what waits in the guard's queue claims as long as it waits). In one rank
the strategy goes first that has had less since tokens became short, by start tags (start-time fair queueing): each
grant moves the strategy's tag on by its cost; what has a claim keeps its tag. A request of a higher rank goes before
one of a lower, but only until its strategy is ahead by RANK_REQUESTS requests for each rank between them: nobody can
starve the others' new orders by endless replaces.

Nobody who is alone ever waits for a share, and a claim that nobody comes for costs the others one request for CLAIM_NS
at most. When nobody was short of tokens for CLAIM_NS, who had how much is forgotten.
"""

from typing import Final

from engine.common.clock import SECOND

CLAIM_NS: Final = SECOND
RANK_REQUESTS: Final = 3  # two ranks are 0.6 s of the Basic tier's tokens: inside the default queue_ms


class _Claim:
    __slots__ = ("cost", "queued", "rank", "start", "until_ns")

    def __init__(self, start: int, rank: int, cost: int, until_ns: int, *, queued: bool) -> None:
        self.start = start
        self.rank = rank
        self.cost = cost
        self.until_ns = until_ns
        self.queued = queued


class Shares:
    """Who goes before whom.

    Attributes:
        claims: by slot. until_ns: mono_ns until which tokens count as short; nothing here matters after it.
        leaving: the head of a queue asks, which goes before itself.
        rank_tokens: what one rank is worth.
    """

    __slots__ = ("_start", "_tags", "claims", "leaving", "rank_tokens", "until_ns")

    def __init__(self, cost: int) -> None:
        self.claims: dict[int, _Claim] = {}
        self.until_ns = 0
        self.leaving = False
        self.rank_tokens = RANK_REQUESTS * cost
        self._tags: dict[int, int] = {}
        self._start = 0

    def tag(self, slot: int) -> int:
        """Return how much a strategy has had."""
        claim = self.claims.get(slot)
        return claim.start if claim is not None else max(self._tags.get(slot, 0), self._start)

    def place(self, slot: int, rank: int) -> int:
        """Return where a strategy's request stands: the lowest goes first."""
        return self.tag(slot) + rank * self.rank_tokens

    def claim(self, slot: int, rank: int, cost: int, mono_ns: int) -> None:
        """A strategy got no tokens."""
        self._short(mono_ns, mono_ns + CLAIM_NS)
        self._forget_lapsed(mono_ns)
        claim = self.claims.get(slot)
        if claim is None or (not claim.queued and rank <= claim.rank):
            self.claims[slot] = _Claim(self.tag(slot), rank, cost, mono_ns + CLAIM_NS, queued=False)

    def queue(self, slot: int, rank: int, cost: int, mono_ns: int, until_ns: int) -> None:
        """A strategy's next request waits in the queue."""
        self._short(mono_ns, until_ns)
        self._forget_lapsed(mono_ns)
        self.claims[slot] = _Claim(self.tag(slot), rank, cost, until_ns, queued=True)

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
        self._forget_lapsed(mono_ns)
        own = self.place(slot, rank)
        tokens = 0
        for other, claim in self.claims.items():
            if other == slot:
                if claim.queued and claim.rank <= rank and not self.leaving:
                    tokens += claim.cost
            elif self.place(other, claim.rank) < own:
                tokens += claim.cost
        return tokens

    def _forget_lapsed(self, mono_ns: int) -> None:
        for slot in [slot for slot, claim in self.claims.items() if claim.until_ns <= mono_ns]:
            del self.claims[slot]

    def granted(self, slot: int, cost: int) -> None:
        """A strategy got tokens while they are short."""
        start = self.tag(slot)
        self._start = min((claim.start for claim in self.claims.values()), default=start)
        self._tags[slot] = start + cost
        claim = self.claims.get(slot)
        if claim is None:
            return
        if claim.queued:
            claim.start = start + cost
        else:
            del self.claims[slot]
