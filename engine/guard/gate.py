"""The engine's state, which the guard owns: may new orders pass, and if not, why.

    STARTING    order entry has not accepted this guard's epoch, or its state was not taken over yet
    RECOVERING  order entry is silent, not ready or resolving, the tape has a gap, drop copy is not caught up, an order's
                outcome is unknown (unless the policy allows that)
    READY       all that is known of orders is known, but there is nothing to trade on yet: no market is live
    TRADING     new orders pass
    PAUSED      as READY, after it was TRADING before; or the venue paused, clocks differ, nothing was reconciled for too
                long, a break is open, the journal takes no records
    HALTED      everything is latched; only Arm ends it
    STOPPING    the engine ends

The state that stands last in this order, of those whose condition holds, wins: STOPPING, HALTED, STARTING, RECOVERING,
PAUSED, READY, TRADING. Cancels pass in every state. The gate is a pure function of what the guard last heard and of
the time.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from engine.common.clock import MS, SECOND, Now
from engine.config import Config
from engine.guard.pauses import Pauses
from engine.messages.executions import TapeBeat
from engine.messages.market_data import FeedBeat
from engine.messages.reconciliation import ReconciliationStatus

ORDER_ENTRY_SILENT_NS: Final = 400 * MS  # four beats, looked at ten times a second: known within 500 ms
VENUE_PAUSE_NS: Final = (
    5 * SECOND
)  # after a refusal that names a pause, new orders rest so long before the next try
BREAKS_THAT_GATE: Final = ("position", "different", "missing_there")
NEVER: Final = -(1 << 62)


class GateState(StrEnum):
    """See the module."""

    STARTING = "STARTING"
    RECOVERING = "RECOVERING"
    READY = "READY"
    TRADING = "TRADING"
    PAUSED = "PAUSED"
    HALTED = "HALTED"
    STOPPING = "STOPPING"


class Gate:
    """What the guard last heard from everybody, and the state that follows.

    Attributes:
        open: state is TRADING. reasons: what keeps it closed.
        halted: why everything is latched, or empty.
        order_entry_ns, feed_ns: mono_ns at which order entry's last beat, market data's last word was heard.
        epoch_accepted, tape_synced: order entry follows us; its state was taken over and no event is missing.
        own_unknown: orders with an unknown outcome by our own count. live_markets: markets that may be traded on.
        pauses: the venue's pauses.
        accepted_gap: drop copy's gap that an operator accepted.
        journal_problem: why nothing can be journalled, or empty.
    """

    def __init__(self, config: Config) -> None:
        risk = config.risk
        self._block_unknown = risk.unknown_orders == "block"
        self._unreconciled_ns = risk.unreconciled_gate_s * SECOND
        self._skew_ns = risk.skew_gate_ms * MS
        self.stale_ns = risk.stale_feed_ms * MS
        self._gate_on_break = config.reconciliation.gate_on_break
        self.order_entry_silent_ns = ORDER_ENTRY_SILENT_NS
        self.state = GateState.STARTING
        self.open = False
        self.reasons: list[str] = []
        self.halted = ""
        self.stopping = False
        self.was_trading = False
        self.epoch_accepted = False
        self.tape_synced = False
        self.tape_problem = ""
        self.own_unknown = 0
        self.live_markets = 0
        self.pauses = Pauses(config, VENUE_PAUSE_NS)
        self.accepted_gap = ""
        self.journal_problem = ""
        self.order_entry_ns = NEVER
        self.feed_ns = NEVER
        self.beat: TapeBeat | None = None
        self.feed: FeedBeat | None = None
        self.reconciliation: ReconciliationStatus | None = None

    def update(self, now: Now) -> bool:
        """Work state and reasons out anew; return whether the state changed."""
        starting = self._starting()
        recovering = self._recovering(now)
        paused = self._paused(now)
        waiting = self._waiting(now)
        reasons = [*starting, *recovering, *paused, *waiting]
        if self.stopping:
            state = GateState.STOPPING
            reasons.insert(0, "the engine stops")
        elif self.halted:
            state = GateState.HALTED
            reasons.insert(0, f"halted: {self.halted}")
        elif starting:
            state = GateState.STARTING
        elif recovering:
            state = GateState.RECOVERING
        elif paused:
            state = GateState.PAUSED
        elif waiting:
            state = GateState.PAUSED if self.was_trading else GateState.READY
        else:
            state = GateState.TRADING
            self.was_trading = True
        changed = state is not self.state
        self.state = state
        self.reasons = reasons
        self.open = state is GateState.TRADING
        return changed

    def _starting(self) -> list[str]:
        if not self.epoch_accepted:
            return ["order entry has not accepted the guard yet"]
        if not self.tape_synced:
            return ["the state of orders was not taken over yet"]
        return []

    def _recovering(self, now: Now) -> list[str]:
        reasons = []
        beat = self.beat
        if beat is None or now.mono_ns - self.order_entry_ns > ORDER_ENTRY_SILENT_NS:
            reasons.append("order entry is silent")
        elif not beat.ready:
            reasons.append(f"order entry is not ready: {beat.detail or beat.session}")
        if self.tape_problem:
            reasons.append(self.tape_problem)
        unknown = max(self.own_unknown, beat.unknown if beat is not None else 0)
        if unknown and self._block_unknown:
            reasons.append(f"{unknown} orders with an unknown outcome")
        reasons += self._not_caught_up()
        return reasons

    def _paused(self, now: Now) -> list[str]:
        reasons = self.pauses.reasons(self._reconciled_wall_ns(now), now)
        if self.journal_problem:
            reasons.append(f"the journal takes no records: {self.journal_problem}")
        for name, heard in (("order entry", self.beat), ("market data", self.feed)):
            if heard is not None and abs(heard.skew_ns) > self._skew_ns:
                reasons.append(f"{name}: the venue's clock is {heard.skew_ns // MS} ms from ours")
        reasons += self._long_ago(now)
        if self._gate_on_break:
            reasons += self._breaks()
        return reasons

    def _reconciled_wall_ns(self, now: Now) -> int:
        # When the last reconciliation was begun; where an operator accepted that there is none, that stands for it.
        status = self.reconciliation
        if status is None:
            return 0
        if status.gap and status.gap == self.accepted_gap:
            return now.wall_ns
        return status.watermark_wall_ns or status.wall_ns

    def unreconciled(self, now: Now) -> list[str]:
        """Return why our positions can't be relied on, whatever the policies for trading are; empty when they can."""
        return [*self._not_caught_up(), *self._long_ago(now), *self._breaks()]

    def _not_caught_up(self) -> list[str]:
        status, beat = self.reconciliation, self.beat
        if status is None:
            return ["drop copy is silent"]
        if not status.caught_up and not (status.gap and status.gap == self.accepted_gap):
            return [f"drop copy is not caught up: {status.gap or status.detail or status.session}"]
        if beat is not None and status.wanted < beat.logon_sweep:
            # What it said, it said of an earlier Logon: orders sent now could never be told from those before.
            return ["drop copy is not caught up: it has not heard of order entry's logon yet"]
        return []

    def uses(self, now: Now) -> Iterator[tuple[str, int, int]]:
        """Walk (control, used, limit) of the times and clocks that close it: ms, s."""
        if self.feed_ns > NEVER:
            yield "feed_staleness", (now.mono_ns - self.feed_ns) // MS, self.stale_ns // MS
        skews = [abs(heard.skew_ns) for heard in (self.beat, self.feed) if heard is not None]
        yield "clock_skew", max(skews, default=0) // MS, self._skew_ns // MS
        status = self.reconciliation
        if status is not None:
            age_ns = now.wall_ns - (status.watermark_wall_ns or status.wall_ns)
            yield "unreconciled", age_ns // SECOND, self._unreconciled_ns // SECOND

    def _long_ago(self, now: Now) -> list[str]:
        status = self.reconciliation
        if status is None:
            return []
        age_ns = now.wall_ns - (status.watermark_wall_ns or status.wall_ns)
        if age_ns <= self._unreconciled_ns:
            return []
        return [f"nothing was reconciled for {age_ns // SECOND} s"]

    def _breaks(self) -> list[str]:
        opened = self.reconciliation.gating if self.reconciliation is not None else {}
        return [f"{opened[kind]} open breaks of kind {kind}" for kind in BREAKS_THAT_GATE if opened.get(kind)]

    def _waiting(self, now: Now) -> list[str]:
        if now.mono_ns - self.feed_ns > self.stale_ns:
            return ["market data is silent"]
        if not self.live_markets:
            return ["no market is live with a known position"]
        return []
