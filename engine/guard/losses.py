"""Loss limits: today's loss and the drawdown from the peak, realised and marked, fees taken off; reaching one latches.

A day begins at `risk.day_start` in `risk.zone`. Where it began is journalled per line, so that a restart measures from
the same place; a line that holds a position without a mark is opened when its mark comes. The peak is the highest
profit since the journal began, or since an operator armed what it had tripped; it outlives days and restarts (it is
journalled in steps of PEAK_STEP of the limit, so that a restart may forget that much of it).
"""

from collections.abc import Callable
from typing import Final

from engine.common.clock import Now
from engine.common.fixed_point import format_money
from engine.common.schedule import Days
from engine.config import Config
from engine.guard.exposure import Exposure
from engine.guard.halting import Halting
from engine.guard.kill_switch import ALL, LatchScope
from engine.guard.lines import Scope
from engine.guard.margin import Margin
from engine.guard.records import DayOpened, GuardJournalEntry, PeakSeen
from engine.guard.workers import Workers

PEAK_STEP: Final = 50


class Losses:
    """Watches the loss of the account, of every market and of every configured strategy.

    Attributes:
        opened: (strategy, symbol) to the profit at which today began there. peaks: what is journalled of each scope's.
    """

    def __init__(
        self,
        config: Config,
        record: Callable[[GuardJournalEntry], None],
        exposure: Exposure,
        halting: Halting,
        workers: Workers,
        margin: Margin,
        settle: Callable[[Now], None],
    ) -> None:
        self._record = record
        self._exposure = exposure
        self._halting = halting
        self._margin = margin
        self._settle = settle
        self._days = Days(config.risk.day_start, config.risk.zone)
        self._scopes: list[tuple[Scope, LatchScope]] = [
            (exposure.account, ALL),
            *((scope, LatchScope(None, symbol)) for symbol, scope in exposure.market_scopes.items()),
            *((exposure.strategies[slot], LatchScope(slot)) for slot in workers.by_slot),
        ]
        self.opened: dict[tuple[int | None, str], int] = {}
        self.peaks: dict[LatchScope, int] = {}
        self._opened_day = self._day = -1

    def replay(self, entry: DayOpened | PeakSeen) -> None:
        """Take a journal entry back in."""
        if isinstance(entry, PeakSeen):
            self.peaks[LatchScope(entry.strategy, entry.symbol)] = entry.profit
            return
        if entry.day != self._opened_day:
            self._opened_day = entry.day
            self.opened.clear()
        self.opened[entry.strategy, entry.symbol] = entry.profit

    def start(self, now: Now) -> None:
        """Begin; what was journalled on another day counts no more, once something of this day is."""
        self._day = max(self._days.number(now.wall_ns), self._opened_day)
        for scope, latch in self._scopes:
            scope.peak = self.peaks.get(latch)

    def check(self, now: Now) -> None:
        """Latch every scope whose loss or drawdown has reached its limit; called when prices or positions moved."""
        self._margin.moved()
        for scope, latch in self._scopes:
            if scope.complete:
                self._raise_peak(scope, latch)
            if -scope.profit >= scope.max_loss:
                why = f"{_dollars(-scope.profit)} lost today, {_dollars(scope.max_loss)} is the limit"
                self._trip(latch, f"loss limit: {scope.text}: {why}", now)
            elif scope.drawdown >= scope.max_drawdown:
                why = (
                    f"{_dollars(scope.drawdown)} below its peak, {_dollars(scope.max_drawdown)} is the limit"
                )
                self._trip(latch, f"drawdown limit: {scope.text}: {why}", now)

    def _trip(self, latch: LatchScope, why: str, now: Now) -> None:
        if latch not in self._halting.kill.latches:
            self._halting.halt(latch, why, "guard", now)
            self._settle(now)

    def _raise_peak(self, scope: Scope, latch: LatchScope) -> None:
        profit = scope.profit + scope.base
        if scope.peak is not None and profit <= scope.peak:
            return
        scope.peak = profit
        noted = self.peaks.get(latch)
        if noted is None or (profit - noted) * PEAK_STEP >= scope.max_drawdown:
            self._note_peak(latch, profit)

    def open_day(self, now: Now) -> None:
        """Fix where today began, where that can be said by now; after the day's start anew."""
        day = self._days.number(now.wall_ns)
        if day > self._day:  # a clock that was set back begins no day anew
            self._day = day
            self._exposure.close_day()
        self._note(self._exposure.open_day(self.opened if self._opened_day == self._day else {}))

    def lost(self, scope: Scope) -> bool:
        """Say whether a scope is beyond one of its loss limits."""
        return -scope.profit >= scope.max_loss or scope.drawdown >= scope.max_drawdown

    def rebase(self, scope: LatchScope, now: Now) -> None:
        """Let today's loss and the drawdown of a scope begin now."""
        self._note(self._exposure.rebase(scope.strategy, scope.symbol))
        for limits, latch in self._scopes:
            if latch == scope and limits.complete:
                limits.peak = limits.profit + limits.base
                self._note_peak(latch, limits.peak)
        self.check(now)

    def _note(self, fresh: list[tuple[int | None, str, int]]) -> None:
        for strategy, symbol, profit in fresh:
            if self._opened_day != self._day:
                self._opened_day = self._day
                self.opened.clear()
            self.opened[strategy, symbol] = profit
            self._record(DayOpened(day=self._day, symbol=symbol, profit=profit, strategy=strategy))

    def _note_peak(self, latch: LatchScope, profit: int) -> None:
        self.peaks[latch] = profit
        self._record(PeakSeen(profit=profit, strategy=latch.strategy, symbol=latch.symbol))


def _dollars(money: int) -> str:
    return f"{format_money(money, 2)} dollars"
