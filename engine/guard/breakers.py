"""Breakers: what a strategy does, or the venue with it, that no healthy strategy does for long; they warn, then latch.

Every breaker counts over a sliding window, per strategy, from the tape alone; a restart of the guard begins with empty
windows. What they trip stays latched until an operator's Arm, which empties the strategy's windows.

    reject rate       of the requests that the venue answered, the share that it refused; pauses and rate limits are the
                      gate's and the bucket's business and don't count
    cancels per fill  cancels and replaces sent for each fill
    liquidation       the venue closed our position, or cancelled our orders for want of margin
    foreign fill      a fill of an order that this engine did not send moved the account's position
"""

from typing import Final, Literal

from engine.common.clock import SECOND
from engine.common.ids import SLOT_FOREIGN, SLOT_OPERATOR
from engine.config import BreakersConfig
from engine.guard.kill_switch import ALL, LatchScope
from engine.kalshi.texts import EXCHANGE_PAUSED, TRADING_PAUSED
from engine.messages.executions import EventKind, OrderEvent

BUCKETS: Final = 12
PER_CENT: Final = 100
_TAKEN: Final = frozenset({EventKind.NEW, EventKind.REPLACED})
_REFUSED: Final = frozenset({EventKind.REJECTED, EventKind.REPLACE_REJECTED})
_CHANGES: Final = frozenset({EventKind.CANCEL_SUBMITTED, EventKind.REPLACE_SUBMITTED})
_PAUSES: Final = (TRADING_PAUSED, EXCHANGE_PAUSED)
Level = Literal["warn", "halt"]


class Rolling:
    """Counts of two kinds within a sliding window, in BUCKETS steps."""

    __slots__ = ("_bad", "_good", "_slot", "_step_ns", "bad", "good")

    def __init__(self, window_s: int) -> None:
        self._step_ns = window_s * SECOND // BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._good = [0] * BUCKETS
        self._bad = [0] * BUCKETS
        self._slot = 0
        self.good = self.bad = 0

    def add(self, mono_ns: int, *, good: int = 0, bad: int = 0) -> None:
        """Count."""
        self.move(mono_ns)
        at = self._slot % BUCKETS
        self._good[at] += good
        self._bad[at] += bad
        self.good += good
        self.bad += bad

    def move(self, mono_ns: int) -> None:
        """Let what has left the window go."""
        slot = mono_ns // self._step_ns
        for step in range(min(slot - self._slot, BUCKETS)):
            at = (slot - step) % BUCKETS
            self.good -= self._good[at]
            self.bad -= self._bad[at]
            self._good[at] = self._bad[at] = 0
        self._slot = max(slot, self._slot)


class Trip:
    """A breaker's word: level, the scope to latch, and why."""

    __slots__ = ("breaker", "level", "limit", "scope", "value", "why")

    def __init__(
        self, breaker: str, level: Level, scope: LatchScope, why: str, limit: int, value: int
    ) -> None:
        self.breaker = breaker
        self.level = level
        self.scope = scope
        self.why = why
        self.limit = limit
        self.value = value


class Breakers:
    """All breakers of all strategies. See the module."""

    def __init__(self, config: BreakersConfig, names: dict[int, str]) -> None:
        self._config = config
        self._names = names
        self._rejects: dict[int, Rolling] = {}
        self._cancels: dict[int, Rolling] = {}
        self._warned: set[tuple[str, int]] = set()

    def hear(self, event: OrderEvent, mono_ns: int) -> list[Trip]:
        """Take a tape event; return what it trips."""
        kind, slot = event.kind, event.strategy
        if slot == SLOT_FOREIGN or kind is EventKind.CANCELED:
            return self._foreign(event)
        if slot <= SLOT_OPERATOR:
            return []
        if kind in _REFUSED and event.text not in _PAUSES:
            return self._refused(slot, mono_ns)
        if kind in _TAKEN:
            self._of(self._rejects, slot, self._config.reject_window_s).add(mono_ns, good=1)
        elif kind in _CHANGES:
            return self._changed(slot, mono_ns)
        elif kind is EventKind.TRADE:
            self._of(self._cancels, slot, self._config.cancel_window_s).add(mono_ns, good=1)
        return []

    def clear(self, slot: int | None) -> None:
        """Begin anew with a strategy, or with all."""
        for windows in (self._rejects, self._cancels):
            for key, window in windows.items():
                if slot in (None, key):
                    window.clear()
        self._warned = {key for key in self._warned if slot not in (None, key[1])}

    @staticmethod
    def _of(windows: dict[int, Rolling], slot: int, window_s: int) -> Rolling:
        window = windows.get(slot)
        if window is None:
            window = windows[slot] = Rolling(window_s)
        return window

    def _refused(self, slot: int, mono_ns: int) -> list[Trip]:
        config = self._config
        window = self._of(self._rejects, slot, config.reject_window_s)
        window.add(mono_ns, bad=1)
        if window.bad < config.reject_min:
            return []
        percent = window.bad * PER_CENT // (window.bad + window.good)
        text = f"the venue refused {window.bad} of {window.bad + window.good} requests within {config.reject_window_s} s"
        return self._judge("reject_rate", slot, percent, config.reject_warn_percent, config.reject_halt_percent, text)  # fmt: skip

    def _changed(self, slot: int, mono_ns: int) -> list[Trip]:
        config = self._config
        window = self._of(self._cancels, slot, config.cancel_window_s)
        window.add(mono_ns, bad=1)
        if window.bad < config.cancel_min:
            return []
        ratio = window.bad // max(window.good, 1)
        text = f"{window.bad} cancels and replaces for {window.good} fills within {config.cancel_window_s} s"
        return self._judge("cancel_to_fill", slot, ratio, config.cancels_per_fill_warn, config.cancels_per_fill_halt, text)  # fmt: skip

    def _judge(self, breaker: str, slot: int, value: int, warn: int, halt: int, text: str) -> list[Trip]:
        name, scope = self._names.get(slot, str(slot)), LatchScope(slot)
        if halt and value >= halt:
            why = f"{breaker}: strategy {name}: {text}; {value} of at most {halt}"
            return [Trip(breaker, "halt", scope, why, halt, value)]
        if not warn or value < warn:
            self._warned.discard((breaker, slot))
            return []
        if (breaker, slot) in self._warned:
            return []
        self._warned.add((breaker, slot))
        return [Trip(breaker, "warn", scope, f"strategy {name}: {text}", warn, value)]

    # -- the account

    def _foreign(self, event: OrderEvent) -> list[Trip]:
        config = self._config
        if is_liquidation(event):
            text = f"liquidation: {event.symbol}: the venue closes our position ({event.text or event.cl_ord_id})"
            return self._policy("liquidation", config.on_liquidation, event.symbol, text)
        if event.kind is EventKind.TRADE and event.strategy == SLOT_FOREIGN:
            text = f"foreign fill: {event.symbol}: {event.last_qty} at {event.last_px} by an order that is not ours"
            return self._policy("foreign_fill", config.on_foreign_fill, event.symbol, text)
        return []

    @staticmethod
    def _policy(breaker: str, policy: str, symbol: str, text: str) -> list[Trip]:
        scope = ALL if policy == "halt" else LatchScope(None, symbol)
        return [Trip(breaker, "warn" if policy == "alert" else "halt", scope, text, 0, 1)]


def is_liquidation(event: OrderEvent) -> bool:
    """Say whether an event shows that the venue liquidates us.

    No document names the FIX marks of one: texts and ids that speak of liquidation or of a margin cancel are taken as such.
    """
    if event.kind is EventKind.TRADE and event.strategy == SLOT_FOREIGN:
        words = f"{event.cl_ord_id} {event.order} {event.text}"
    elif event.kind is EventKind.CANCELED:
        words = event.text
    else:
        return False
    plain = words.upper().replace("_", "").replace(" ", "")
    return "LIQUIDAT" in plain or "MARGINCANCEL" in plain
