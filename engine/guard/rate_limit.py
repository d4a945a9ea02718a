"""The venue's Write bucket, mirrored, and who may use how much of it (venue.md section 3).

Everything that order entry writes costs tokens: the guard takes them when it approves, and is told by the tape and its
beats about what it did not approve (Logons, cancels of order entry's own). The mirror starts empty, because what an
earlier guard spent isn't known. A rate-limit reject (380=8) proves the mirror too full: it is emptied.

When a request reaches the venue is not known, only that it did by the time of its answer. So its tokens are held from
the approval on and leave the mirror at the answer, the latest moment at which the venue can have taken them: what is
unanswered never exceeds what the venue can grant, however long requests are under way and however many arrive at once.
Requests leave in the order of their approval on one connection; an answer therefore settles all older ones as well.
With answers at once the mirror grants exactly what the venue would.

Who comes first when tokens are short: kill, cancel, reducing replace, replace, new order. A part of the bucket is kept
for the first two, so that quoting can never use up what is needed to stop. Among strategies ranks are a head start, see
`shares.py`.
"""

from typing import Final

from engine.common.clock import MS, SECOND
from engine.config import RateConfig
from engine.guard.shares import Shares
from engine.kalshi.rate_limits import TIERS, TokenBucket

MASS_CANCEL_NS: Final = SECOND  # OrderMassCancelRequest: once a second (venue.md section 3)
HELD_NS: Final = (
    30 * SECOND
)  # order entry calls a request without an answer UNKNOWN after 20 s; then it is settled
LOOK_AGAIN_NS: Final = 5 * MS
UNLIMITED: Final = "unlimited"
EXPLICIT: Final = "explicit"

RANK_CANCEL: Final = 0
RANK_REDUCING: Final = 1
RANK_REPLACE: Final = 2
RANK_NEW: Final = 3
RANKS: Final = (RANK_CANCEL, RANK_REDUCING, RANK_REPLACE, RANK_NEW)
NOBODY: Final = -1  # the slot of what belongs to no strategy, and waits for none


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
        pending: tokens of requests that nothing has answered.
        emptied: how often the venue said that we were over.
        shares: who goes before whom while tokens are short.
    """

    __slots__ = (
        "_bucket",
        "_held",
        "_kill_until_ns",
        "_mass_ns",
        "capacity",
        "cost_cancel",
        "cost_group",
        "cost_logon",
        "cost_mass",
        "cost_new",
        "cost_replace",
        "emptied",
        "pending",
        "reserve",
        "shares",
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
        self.cost_group = rate.costs.get("UOG", rate.cost)
        self.cost_logon = rate.costs.get("A", rate.cost)
        self.emptied = 0
        self.pending = 0
        self.shares = Shares(max(self.cost_new, self.cost_replace))
        self._held: dict[str, tuple[int, int]] = {}  # ClOrdID to (cost, since), in the order of approval
        self._mass_ns: int | None = None
        self._kill_until_ns = 0

    def start(self, mono_ns: int) -> None:
        """Begin with an empty bucket: what was spent before isn't known."""
        if self._bucket is not None:
            self._bucket.empty(mono_ns)

    def available(self, mono_ns: int) -> int:
        """Return the whole tokens that are there now; 0 when unlimited, or when some are owed."""
        return max(self._bucket.available(mono_ns) - self.pending, 0) if self._bucket is not None else 0

    # -- taking; with a ClOrdID the tokens are held until its answer, without one they are gone at once

    def take_order(
        self, cost: int, mono_ns: int, cl_ord_id: str = "", slot: int = NOBODY, rank: int = RANK_NEW
    ) -> bool:
        """Take the tokens of a new or replacing order, unless that would touch the reserve or what others go before with.

        A strategy that gets none has a claim on the next ones from now on (`shares.py`).
        """
        bucket = self._bucket
        if bucket is None:
            return True
        free = bucket.available(mono_ns) - self.pending - self.reserve
        shares = self.shares
        if slot == NOBODY:
            if free < cost:
                return False
        elif free < cost or (mono_ns < shares.until_ns and free < cost + shares.before(slot, rank, mono_ns)):
            shares.claim(slot, rank, cost, mono_ns)
            return False
        elif mono_ns < shares.until_ns:
            shares.granted(slot, cost)
        self._take(bucket, cost, mono_ns, cl_ord_id)
        return True

    def take_cancel(self, mono_ns: int, cl_ord_id: str = "", *, kill: bool = False) -> bool:
        """Take the tokens of a cancel, from the reserve too; while a kill waits for tokens nobody else gets any."""
        bucket = self._bucket
        if bucket is None:
            return True
        if mono_ns < self._kill_until_ns and not kill:
            return False
        if bucket.available(mono_ns) - self.pending < self.cost_cancel:
            if kill:
                self._kill_until_ns = mono_ns + self.cancel_wait_ns(mono_ns) + LOOK_AGAIN_NS
            return False
        self._take(bucket, self.cost_cancel, mono_ns, cl_ord_id)
        return True

    def take_mass_cancel(self, mono_ns: int, cl_ord_id: str = "") -> bool:
        """Take the tokens of a mass cancel, at most once a second."""
        if self._mass_ns is not None and mono_ns - self._mass_ns < MASS_CANCEL_NS:
            return False
        bucket = self._bucket
        if bucket is not None:
            if bucket.available(mono_ns) - self.pending < self.cost_mass:
                return False
            self._take(bucket, self.cost_mass, mono_ns, cl_ord_id)
        self._mass_ns = mono_ns
        return True

    def _take(self, bucket: TokenBucket, cost: int, mono_ns: int, cl_ord_id: str) -> None:
        if cl_ord_id:
            older = self._held.pop(cl_ord_id, None)
            if older is not None:  # a worker used an id again: no answer could tell the two apart
                self.pending -= older[0]
                bucket.owe(older[0], mono_ns)
            self._held[cl_ord_id] = (cost, mono_ns)
            self.pending += cost
        else:
            bucket.take(cost, mono_ns)

    # -- what became of it

    def hold(self, cl_ord_id: str, cost: int, mono_ns: int) -> None:
        """Count a request of order entry's own, or of a guard before us: it is under way."""
        bucket = self._bucket
        if bucket is not None and cl_ord_id not in self._held:
            self._take(bucket, cost, mono_ns, cl_ord_id)

    def answered(self, cl_ord_id: str, mono_ns: int) -> None:
        """The venue has had this request, and with it all that left before it."""
        held = self._held
        if cl_ord_id not in held:
            return
        assert self._bucket is not None, "an unlimited bucket holds nothing"
        settled = []
        for older in held:
            settled.append(older)
            if older == cl_ord_id:
                break
        cost = sum(held.pop(older)[0] for older in settled)
        self.pending -= cost
        self._bucket.owe(cost, mono_ns)

    def returned(self, cl_ord_id: str) -> None:
        """This request never reached the venue, or it took no tokens for it."""
        cost, _ = self._held.pop(cl_ord_id, (0, 0))
        self.pending -= cost

    def settle(self, mono_ns: int, age_ns: int = HELD_NS) -> None:
        """Count what is older as taken, though nothing answered it; 0: everything (the connection ended)."""
        held = self._held
        while held:
            cl_ord_id, (_, since_ns) = next(iter(held.items()))
            if mono_ns - since_ns < age_ns:
                return
            self.answered(cl_ord_id, mono_ns)

    def spent(self, cost: int, mono_ns: int) -> None:
        """Count tokens that were spent without being asked for (a Logon), as a debt when they were not there."""
        if self._bucket is not None:
            self._bucket.owe(cost, mono_ns)

    def refused_by_venue(self, mono_ns: int) -> None:
        """Empty the mirror: the venue answered 380=8."""
        self.emptied += 1
        if self._bucket is not None:
            self._bucket.empty(mono_ns)

    # -- waiting

    def cancel_wait_ns(self, mono_ns: int) -> int:
        """Return how long until a cancel's tokens may be there."""
        return self._wait_ns(self.cost_cancel, mono_ns)

    def order_wait_ns(self, cost: int, mono_ns: int, slot: int, rank: int) -> int:
        """Return how long until an order's tokens may be there, beside the reserve and what others go before with."""
        return self._wait_ns(cost + self.reserve + self.shares.before(slot, rank, mono_ns), mono_ns)

    def _wait_ns(self, cost: int, mono_ns: int) -> int:
        bucket = self._bucket
        if bucket is None:
            return 0
        wanted = cost + self.pending
        if wanted > self.capacity:  # only answers can help
            return LOOK_AGAIN_NS
        return bucket.wait_ns(wanted, mono_ns)
