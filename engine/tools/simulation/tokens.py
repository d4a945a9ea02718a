"""Invariant 5: the Write bucket is never overdrawn, and orders leave the cancels' reserve alone."""

from collections import deque
from typing import Any, Final

from engine.guard.rate_limit import write_rate
from engine.messages.commands import Approved
from engine.runtime.virtual import VirtualWorld
from engine.runtime.virtual_node import Node
from engine.tools.simulation.checker import OE, Checker, requests_of

_OWN_NS: Final = 2_500_000_000  # how long the guard may not have heard of a cancel of order entry's own


class _Bucket:
    """Tokens in billionths; kept apart from the engine's mirror and from the venue's."""

    def __init__(self, per_s: int, capacity: int, level: int, mono_ns: int) -> None:
        self._per_s, self._full, self._at = per_s, capacity * 10**9, mono_ns
        self.level = level * 10**9

    def spend(self, cost: int, mono_ns: int) -> int:
        """Take tokens; return what is left, whole tokens, below zero when it is overdrawn."""
        self.level = min(self._full, self.level + (mono_ns - self._at) * self._per_s) - cost * 10**9
        self._at = mono_ns
        return self.level // 10**9


class TokenBudget(Checker):
    """Invariant 5, counted where it matters: by what leaves."""

    number = 5

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(world)
        rate = world.config.rate
        self._per_s, self._capacity = write_rate(rate)
        self._rate = rate
        self._reserve = self._capacity * rate.cancel_reserve_percent // 100
        self._wire = _Bucket(self._per_s, self._capacity, self._capacity, world.mono_ns)
        self._approved_ns: dict[str, int] = {}
        self._commanded: dict[str, None] = {}
        self._own: deque[tuple[int, int]] = deque()
        self._lag_ns = 0

    def _cost(self, msg_type: str) -> int:
        return self._rate.costs.get(msg_type, self._rate.cost)

    def wrote(self, node: Node, link: str, data: bytes) -> None:  # noqa: ARG002
        if node.name != OE or not self._capacity:
            return
        for msg_type, cl_ord_id in requests_of(data):
            now = self.world.mono_ns
            left = self._wire.spend(self._cost(msg_type), now)
            # The mirror is of the moment of approval: what flowed in on the way to the wire may have found it full.
            self._lag_ns = max(self._lag_ns, now - self._approved_ns.pop(cl_ord_id, now))
            spare = self._lag_ns * self._per_s // 10**9 + 1
            if cl_ord_id not in self._commanded:  # order entry's own, which the guard hears of afterwards
                self._own.append((now, self._cost(msg_type)))
            while self._own and now - self._own[0][0] > _OWN_NS:
                self._own.popleft()
            spare += sum(cost for _, cost in self._own)
            over = -left - spare
            self.check(over <= 0, f"35={msg_type} {cl_ord_id} overdraws the Write bucket by {over} tokens")
            self.check(
                msg_type not in "DG" or left >= self._reserve - spare,
                f"35={msg_type} {cl_ord_id} left with {left} tokens after it, {self._reserve} are the cancels'",
            )

    def emitted(self, node: Node, channel: str, message: Any) -> None:  # noqa: ARG002
        if not isinstance(message, Approved) or not self._capacity:
            return
        self._approved_ns[message.request.cl_ord_id] = self.world.mono_ns
        self._commanded[message.request.cl_ord_id] = None
