"""What order entry answers on `oe.ask`: replays of the tape and snapshots, rationed so that no asker can hold up orders.

* One replay and one snapshot per peer are under way; a newer request takes the place of an older one.
* A turn, at most one every TURN_NS, sends about TURN_COST events; a longer replay goes on in the next turn, after the
  others that wait. What was asked is answered in turns only, so 2,000 requests cost what one does.
* A strategy may ask for its own slot only.
"""

from typing import Final

from engine.common.actor import Outbox
from engine.common.clock import MS, Now
from engine.config import StrategyConfig
from engine.messages.executions import OrdersSnapshot, SnapshotRequest, TapeReplay, TapeRequest
from engine.orders.ledger import Ledger

TURN_NS: Final = 5 * MS
TURN_COST: Final = 500
_MESSAGE_COST: Final = 20
_STRATEGY: Final = "strategy."

Key = tuple[str, type[TapeRequest] | type[SnapshotRequest]]


class Answers:
    """Answers requests in turns.

    Args:
        out: the actor's outbox.
        ledger: what is asked about.
        strategies: by name, as configured.
    """

    def __init__(self, out: Outbox, ledger: Ledger, strategies: dict[str, StrategyConfig]) -> None:
        self._out = out
        self._ledger = ledger
        self._slots = {f"{_STRATEGY}{name}": strategy.slot for name, strategy in strategies.items()}
        self._waiting: dict[Key, TapeRequest | SnapshotRequest] = {}
        self._next_ns = 0
        self._warned: dict[str, None] = {}

    def ask(self, peer: str, request: TapeRequest | SnapshotRequest) -> None:
        """Take a request; it is answered in one of the next turns."""
        if peer.startswith(_STRATEGY) and (
            request.strategy is None or request.strategy != self._slots.get(peer)
        ):
            self._warn(peer, request)
            return
        self._waiting[peer, type(request)] = request

    def _warn(self, peer: str, request: TapeRequest | SnapshotRequest) -> None:
        if peer not in self._warned:
            self._warned[peer] = None
            slot = "everything" if request.strategy is None else f"slot {request.strategy}"
            self._out.log("alert", f"{peer} asked for the orders of {slot}, which is not its own: dropped")

    def forget(self, peer: str) -> None:
        """Answer a peer no more: it is gone, or takes nothing."""
        self._waiting.pop((peer, TapeRequest), None)
        self._waiting.pop((peer, SnapshotRequest), None)

    def due(self) -> int | None:
        """Return when `tick` is wanted (mono_ns), or None."""
        return self._next_ns if self._waiting else None

    def tick(self, now: Now) -> None:
        """Serve a turn if one is due."""
        waiting = self._waiting
        if not waiting or now.mono_ns < self._next_ns:
            return
        self._next_ns = now.mono_ns + TURN_NS
        cost = 0
        while waiting and cost < TURN_COST:
            key = next(iter(waiting))
            answer = self._answer(key, waiting.pop(key))
            cost += _MESSAGE_COST + len(answer.events if isinstance(answer, TapeReplay) else answer.orders)
            self._out.send("oe.ask", answer, to=key[0])

    def _answer(self, key: Key, request: TapeRequest | SnapshotRequest) -> TapeReplay | OrdersSnapshot:
        if isinstance(request, SnapshotRequest):
            return self._ledger.snapshot(request.strategy)
        part = self._ledger.replay(request.from_no, request.strategy)
        if part is None:
            return self._ledger.snapshot(request.strategy)
        if part.more:
            rest = TapeRequest(from_no=request.from_no + len(part.events), strategy=request.strategy)
            self._waiting[key] = rest
        return part
