"""Requests that wait for tokens, of strategies with `over_budget = "queue"`.

Rules that hold here:

* What waits is counted nowhere and promised nothing: it is judged by every control again when it leaves, by what is
  known then, and is refused when its time is over (`queue_ms`), when its scope is halted, or when its worker is gone.
* Of a strategy the most urgent rank leaves first (cancel, reducing replace, replace, new order), in it what came first.
  Among strategies cancels leave first; then a rank is a head start, and the strategy goes first that had less
  (`shares.py`).
* Of an order only the newest replace waits: it takes the place of an older one. A cancel overtakes them: they are
  refused as `superseded`. So is a new order whose cancel comes while it waits.
* A newer replace has a deadline of its own; so deadlines are looked at by themselves, and not by place.
* Everything that waits is answered in the end: by the tape, or by one refusal.
"""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Final

from engine.common.clock import MS, SECOND, Now
from engine.guard.exposure import Order
from engine.guard.kill_switch import LatchScope
from engine.guard.limits import Breach
from engine.guard.rate_limit import RANK_CANCEL, RANK_REDUCING, RANKS, WriteBudget
from engine.guard.refusals import Refusals
from engine.guard.workers import Worker
from engine.messages.commands import CancelOrder, NewOrder, ReplaceOrder

PER_STRATEGY_MAX: Final = 20_000
BATCH: Final = 200  # leave in one step; what else has come must not wait for thousands
LOOK_AGAIN_NS: Final = MS

Intent = NewOrder | ReplaceOrder | CancelOrder


class Waiter:
    """One request that waits. `target`: first ClOrdID of the order that a replace is about. `over`: it waits no more."""

    __slots__ = ("cost", "intent", "over", "rank", "since_ns", "target", "until_ns", "worker")

    def __init__(
        self, worker: Worker, intent: Intent, rank: int, cost: int, mono_ns: int, target: str
    ) -> None:
        self.worker = worker
        self.intent = intent
        self.rank = rank
        self.cost = cost
        self.since_ns = mono_ns
        self.until_ns = mono_ns + worker.queue_ns
        self.target = target
        self.over = False


class Waiting:
    """The queue of the Write bucket.

    Attributes:
        count: requests that wait. next_ns: mono_ns at which to look again, None when nothing waits.
        superseded, expired, left: what became of those that waited, counted.
    """

    def __init__(self, budget: WriteBudget, refusals: Refusals) -> None:
        self.count = 0
        self.next_ns: int | None = None
        self.superseded = 0
        self.expired = 0
        self.left = 0
        self._budget = budget
        self._refusals = refusals
        self._lines: dict[int, tuple[deque[Waiter], ...]] = {}
        self._counts: dict[int, int] = {}
        self._by_id: dict[str, Waiter] = {}
        self._replaces: dict[str, Waiter] = {}
        self._deadlines: list[tuple[int, int, Waiter]] = []  # a heap of (until_ns, serial, waiter)
        self._serial = 0

    def has(self, slot: int) -> bool:
        """Say whether something of a strategy waits."""
        return self._counts.get(slot, 0) > 0

    def find(self, cl_ord_id: str) -> Waiter | None:
        """Return what waits under an id."""
        return self._by_id.get(cl_ord_id)

    def add(
        self, worker: Worker, intent: Intent, rank: int, cost: int, now: Now, order: Order | None = None
    ) -> None:
        """Let a request wait, or refuse it because too many do."""
        if intent.cl_ord_id in self._by_id:
            self._refuse(worker, intent, "duplicate", "this ClOrdID waits already", now)
            return
        if self._counts.get(worker.slot, 0) >= PER_STRATEGY_MAX:
            text = f"{PER_STRATEGY_MAX} requests of it wait for tokens already"
            self._refuse(worker, intent, "tokens", text, now, PER_STRATEGY_MAX, PER_STRATEGY_MAX + 1)
            return
        target = order.order if order is not None else ""
        waiter = Waiter(worker, intent, rank, cost, now.mono_ns, target)
        if isinstance(intent, ReplaceOrder):
            older = self._replaces.get(target)
            if older is not None:
                self._take_place(older, waiter, now)
                return
            self._replaces[target] = waiter
        elif isinstance(intent, CancelOrder):
            self.overtake(target, now)
        lines = self._lines.get(worker.slot)
        if lines is None:
            lines = self._lines[worker.slot] = tuple(deque() for _ in RANKS)
        lines[rank].append(waiter)
        self._by_id[intent.cl_ord_id] = waiter
        self._counts[worker.slot] = self._counts.get(worker.slot, 0) + 1
        self.count += 1
        self._set_deadline(waiter)
        self._claim(worker.slot, now.mono_ns)
        self.next_ns = min(self.next_ns or now.mono_ns, now.mono_ns)

    def _take_place(self, older: Waiter, waiter: Waiter, now: Now) -> None:
        # Only the last terms matter: the newer replace goes where the older stood, or further ahead.
        del self._by_id[older.intent.cl_ord_id]
        superseded = older.intent
        self._by_id[waiter.intent.cl_ord_id] = older
        older.intent, older.since_ns, older.until_ns = waiter.intent, waiter.since_ns, waiter.until_ns
        self._set_deadline(older)
        if waiter.rank < older.rank:
            lines = self._lines[older.worker.slot]
            lines[older.rank].remove(older)
            lines[waiter.rank].append(older)
            older.rank = waiter.rank
        self._claim(older.worker.slot, now.mono_ns)
        self.superseded += 1
        self._refuse(
            older.worker, superseded, "superseded", "a newer replace of the order took its place", now
        )

    def overtake(self, target: str, now: Now) -> None:
        """A cancel of this order is on its way: its replace need not wait any more."""
        waiter = self._replaces.get(target)
        if waiter is not None:
            self.superseded += 1
            self.give_up(waiter, "superseded", "a cancel of the order overtook it", now)

    # -- giving up

    def give_up(self, waiter: Waiter, control: str, text: str, now: Now) -> None:
        """Refuse a request that waits."""
        self._remove(waiter, now.mono_ns)
        self._refuse(waiter.worker, waiter.intent, control, text, now)

    def drop(self, scope: LatchScope, control: str, text: str, now: Now) -> None:
        """Refuse every order and replace that waits in a scope; cancels go on waiting."""
        if not self.count or (scope.strategy is not None and not self.has(scope.strategy)):
            return
        for waiter in tuple(self._by_id.values()):
            if waiter.rank != RANK_CANCEL and scope.covers(waiter.worker.slot, waiter.intent.symbol):
                self.give_up(waiter, control, text, now)

    def _refuse(
        self,
        worker: Worker,
        intent: Intent,
        control: str,
        text: str,
        now: Now,
        limit: int = 0,
        value: int = 0,
    ) -> None:
        breach = Breach(control, f"strategy {worker.name}", text, limit, value)
        self._refusals.say(worker.peer, intent.cl_ord_id, worker.slot, breach, now)

    def _remove(self, waiter: Waiter, mono_ns: int) -> None:
        waiter.over = True
        slot = waiter.worker.slot
        self.count -= 1
        self._counts[slot] -= 1
        self._by_id.pop(waiter.intent.cl_ord_id, None)
        if self._replaces.get(waiter.target) is waiter:
            del self._replaces[waiter.target]
        self._claim(slot, mono_ns)

    def _head(self, slot: int, first_rank: int = RANK_CANCEL) -> Waiter | None:
        # The next of a strategy; what is over is cleared away from the fronts.
        for line in self._lines[slot][first_rank:]:
            while line and line[0].over:
                line.popleft()
            if line:
                return line[0]
        return None

    def _claim(self, slot: int, mono_ns: int) -> None:
        head = self._head(slot, RANK_REDUCING)  # cancels have the reserve, and go before everybody anyway
        shares = self._budget.shares
        if head is None:
            shares.leave_queue(slot)
        else:
            shares.queue(slot, head.rank, head.cost, mono_ns, head.until_ns)

    # -- leaving

    def run(self, now: Now, leave: Callable[[Waiter, Now], bool]) -> None:
        """Let leave what tokens are there for, and refuse what has waited too long.

        Args:
            leave: judges a request as if it came now, and answers it; False: it has no tokens after all.
        """
        if self.next_ns is None or now.mono_ns < self.next_ns:
            return
        self._expire(now)
        shares = self._budget.shares
        for _ in range(BATCH):
            waiter = self._first()
            if waiter is None:
                self.next_ns = None
                return
            if not self._affords(waiter, now.mono_ns):
                break
            shares.leaving = True
            left = leave(waiter, now)
            shares.leaving = False
            if not left:
                self.next_ns = now.mono_ns + LOOK_AGAIN_NS
                return
            self.left += 1
        self.next_ns = self._next(now.mono_ns)

    def _first(self) -> Waiter | None:
        heads = [head for slot, n in self._counts.items() if n and (head := self._head(slot)) is not None]
        if not heads:
            return None
        place = self._budget.shares.place
        return min(
            heads,
            key=lambda head: (
                head.rank != RANK_CANCEL,
                place(head.worker.slot, head.rank),
                head.rank,
                head.since_ns,
            ),
        )

    def _affords(self, waiter: Waiter, mono_ns: int) -> bool:
        return self._wait_ns(waiter, mono_ns) == 0

    def _wait_ns(self, waiter: Waiter, mono_ns: int) -> int:
        budget = self._budget
        if waiter.rank == RANK_CANCEL:
            return budget.cancel_wait_ns(mono_ns)
        shares = budget.shares
        shares.leaving = True
        wait_ns = budget.order_wait_ns(waiter.cost, mono_ns, waiter.worker.slot, waiter.rank)
        shares.leaving = False
        return wait_ns

    def _next(self, mono_ns: int) -> int | None:
        waiter, deadline = self._first(), self._deadline()
        if waiter is None or deadline is None:
            return None
        wait_ns = max(self._wait_ns(waiter, mono_ns), 0)
        return min(mono_ns + wait_ns, deadline.until_ns, mono_ns + SECOND)

    def taken(self, waiter: Waiter, now: Now) -> None:
        """This request is being judged: it waits no more."""
        self._remove(waiter, now.mono_ns)

    def put_back(self, waiter: Waiter, rank: int, mono_ns: int) -> None:
        """It had no tokens after all (a replace that is no longer a reducing one, say): it goes on waiting, in front."""
        slot = waiter.worker.slot
        again = Waiter(waiter.worker, waiter.intent, rank, waiter.cost, waiter.since_ns, waiter.target)
        self._lines[slot][rank].appendleft(again)
        self._by_id[again.intent.cl_ord_id] = again
        if isinstance(again.intent, ReplaceOrder):
            self._replaces[again.target] = again
        self._counts[slot] += 1
        self.count += 1
        self._set_deadline(again)
        self._claim(slot, mono_ns)

    # -- deadlines

    def _set_deadline(self, waiter: Waiter) -> None:
        deadlines = self._deadlines
        if len(deadlines) > 2 * self.count + BATCH:  # mostly of what waits no more
            deadlines[:] = [entry for entry in deadlines if self._holds(entry)]
            heapq.heapify(deadlines)
        self._serial += 1
        heapq.heappush(deadlines, (waiter.until_ns, self._serial, waiter))

    @staticmethod
    def _holds(entry: tuple[int, int, Waiter]) -> bool:
        until_ns, _, waiter = entry
        return not waiter.over and waiter.until_ns == until_ns

    def _deadline(self) -> Waiter | None:
        # What waits with the earliest deadline.
        deadlines = self._deadlines
        while deadlines and not self._holds(deadlines[0]):
            heapq.heappop(deadlines)
        return deadlines[0][2] if deadlines else None

    def _expire(self, now: Now) -> None:
        while (waiter := self._deadline()) is not None and waiter.until_ns <= now.mono_ns:
            self.expired += 1
            waited_ms = (now.mono_ns - waiter.since_ns) // MS
            self.give_up(waiter, "tokens", f"no tokens were there for it within {waited_ms} ms", now)
