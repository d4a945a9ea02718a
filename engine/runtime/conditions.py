"""What an operator is alerted of, found in what the supervisor hears anyway.

    halt         somebody halted the engine, a strategy or a market
    trip         the guard halted by itself: a loss limit, a breaker, a position that does not agree
    liquidation  the venue closes the account's positions
    break        two witnesses of the same trade differ
    unknown      the outcome of an order is unknown for longer than `unknown_s`
    session      a FIX session is down
    gate         new orders don't pass, for another reason than a halt

One alert a condition: it is told when it begins and not again while it lasts. When it ends and begins again it is told
again, but not within `again_s`. Pure: the supervisor gives the time and what it knows.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from engine.common.actor import Status
from engine.common.clock import MS, SECOND
from engine.messages.decisions import GuardStatus, LatchNote
from engine.messages.reconciliation import BreakNote

SURE_NS: Final = SECOND  # a session or the gate that is back within this was not down
STARTED_NS: Final = 20 * SECOND  # a session that was never logged on by then is down
TRADING_NS: Final = 60 * SECOND  # the same of the gate
LOGGED_ON: Final = "logged on"
SPEAKS: Final = frozenset({"order_entry", "market_data", "drop_copy"})
OPEN: Final = "TRADING"
TOLD_BY_THE_HALT: Final = frozenset({"HALTED", "STOPPING"})
LIQUIDATION: Final = "liquidation"
_KEYS_MAX: Final = 10_000


class Condition(NamedTuple):
    """Something that is the case: its kind, a key that tells it from others, and a sentence for a human."""

    kind: str
    key: str
    text: str


class Known(NamedTuple):
    """What the supervisor knows now.

    Attributes:
        gate: the engine's state as displayed. guard: the guard's last status. statuses: of each process, None when it
            doesn't run. breaks: by id. running: the engine isn't being stopped.
    """

    gate: str
    guard: GuardStatus | None
    statuses: Mapping[str, Status | None]
    breaks: Mapping[str, BreakNote]
    running: bool


class Conditions:
    """Finds what begins.

    Args:
        unknown_s, again_s: as configured. started_ns: mono_ns of the engine's start.
    """

    def __init__(self, unknown_s: int, again_s: int, started_ns: int) -> None:
        self._unknown_ms = unknown_s * 1000
        self._again_ns = again_s * SECOND
        self._started_ns = started_ns
        self._traded = False
        self._since: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._active: set[str] = set()
        self._latches: dict[str, LatchNote] = {}
        self._happened: list[Condition] = []
        self._up: dict[str, str] = {}  # session that was logged on: its process

    def latch(self, note: LatchNote) -> None:
        """A latch was set or released."""
        if note.halted:
            self._latches[note.scope] = note
        else:
            self._latches.pop(note.scope, None)

    def notice(self, text: str) -> None:
        """The guard alerted the operator: a liquidation may be seen without a halt."""
        if text.lower().startswith(LIQUIDATION):
            self._happened.append(Condition(LIQUIDATION, f"{LIQUIDATION}:{text[:80]}", text))

    def begun(self, known: Known, now_ns: int) -> list[Condition]:
        """Return what begins now, to be told."""
        begun = []
        active = set()
        for condition in self._now(known, now_ns):
            key = condition.key
            if key in self._active or key in active:
                active.add(key)
            elif self._is_due(key, now_ns):
                active.add(key)
                begun.append(condition)
        self._active = active
        happened, self._happened = self._happened, []
        begun += [c for c in happened if self._is_due(c.key, now_ns)]
        return begun

    def _is_due(self, key: str, now_ns: int) -> bool:
        told = self._told.get(key)
        if told is not None and now_ns - told < self._again_ns:
            return False
        if len(self._told) > _KEYS_MAX:
            self._told = {k: at for k, at in self._told.items() if now_ns - at < self._again_ns}
        self._told[key] = now_ns
        return True

    def _now(self, known: Known, now_ns: int) -> Iterator[Condition]:
        yield from self._halts(known.guard)
        for note in known.breaks.values():
            if note.status == "open" and note.severity != "info":
                yield Condition("break", f"break:{note.break_id}", f"{note.kind} {note.symbol}: {note.text}")
        yield from self._unknown(known.statuses.get("guard"))
        if known.running:
            lasting = [*self._sessions(known.statuses, now_ns), *self._gate(known, now_ns)]
            yield from self._sure(lasting, now_ns)

    def _halts(self, guard: GuardStatus | None) -> Iterator[Condition]:
        latches = guard.latches if guard is not None else {}
        for scope in [scope for scope in self._latches if guard is not None and scope not in latches]:
            if self._latches[scope].wall_ns < guard.wall_ns:  # type: ignore[union-attr]
                del self._latches[scope]
        for scope, why in {**{s: note.why for s, note in self._latches.items()}, **latches}.items():
            note = self._latches.get(scope)
            who = note.who if note is not None else ""
            kind = "trip" if who == "guard" else "halt"
            if why.lower().startswith(LIQUIDATION):
                kind = LIQUIDATION
            by = f" by {who}" if who else ""
            yield Condition(kind, f"halt:{scope}", f"{scope} halted{by}: {why}")

    def _unknown(self, guard: Status | None) -> Iterator[Condition]:
        metrics = guard.metrics if guard is not None else {}
        age_ms = int(metrics.get("unknown_ms", 0))
        if age_ms > self._unknown_ms:
            text = f"{int(metrics.get('unknown', 0))} orders with an unknown outcome, the oldest for {age_ms // 1000} s"
            yield Condition("unknown", "unknown", text)

    def _sessions(self, statuses: Mapping[str, Status | None], now_ns: int) -> Iterator[Condition]:
        states: dict[str, tuple[str, str]] = {}
        for process, status in statuses.items():
            if process not in SPEAKS:
                continue  # of a session only its own process is believed
            for session, state in (status.sessions if status is not None else {}).items():
                states[session] = (process, state)
                if state == LOGGED_ON:
                    self._up[session] = process
        for session, process in self._up.items():
            states.setdefault(session, (process, f"{process} does not run"))
        for session, (_, state) in states.items():
            began = session in self._up or now_ns - self._started_ns > STARTED_NS
            if state != LOGGED_ON and began:
                yield Condition("session", f"session:{session}", f"{session} is down: {state}")

    def _gate(self, known: Known, now_ns: int) -> Iterator[Condition]:
        self._traded = self._traded or known.gate == OPEN
        began = self._traded or now_ns - self._started_ns > TRADING_NS
        if known.gate == OPEN or known.gate in TOLD_BY_THE_HALT or not began:
            return
        reasons = known.guard.reasons if known.guard is not None else []
        why = f": {reasons[0]}" if reasons else ""
        yield Condition("gate", "gate", f"new orders don't pass, the engine is {known.gate}{why}")

    def _sure(self, lasting: list[Condition], now_ns: int) -> Iterator[Condition]:
        # What has lasted for a moment.
        since = {condition.key: self._since.get(condition.key, now_ns) for condition in lasting}
        for condition in lasting:
            if now_ns - since[condition.key] >= SURE_NS - MS:
                yield condition
        self._since = since
