"""Where today's profit and loss began, and the latch that a loss limit throws.

Where the day began is journalled per line, so that a restart measures from the same place; a line that holds a
position without a mark is opened when its mark comes.
"""

from collections.abc import Callable
from typing import Final

from engine.common.clock import SECOND, Now
from engine.guard.exposure import Exposure
from engine.guard.halting import Halting
from engine.guard.kill_switch import ALL, LatchScope
from engine.guard.lines import Scope
from engine.guard.records import DayOpened, GuardJournalEntry
from engine.guard.workers import Workers

DAY_NS: Final = 86_400 * SECOND


class Losses:
    """Watches the loss of the account, of every market and of every configured strategy.

    Attributes:
        opened: (strategy, symbol) to the profit at which today began there.
    """

    def __init__(
        self,
        record: Callable[[GuardJournalEntry], None],
        exposure: Exposure,
        halting: Halting,
        workers: Workers,
        settle: Callable[[Now], None],
    ) -> None:
        self._record = record
        self._exposure = exposure
        self._halting = halting
        self._settle = settle
        self._scopes: list[tuple[Scope, LatchScope]] = [
            (exposure.account, ALL),
            *((scope, LatchScope(None, symbol)) for symbol, scope in exposure.market_scopes.items()),
            *((exposure.strategies[slot], LatchScope(slot)) for slot in workers.by_slot),
        ]
        self.opened: dict[tuple[int | None, str], int] = {}
        self._opened_day = self._day = -1

    def replay(self, entry: DayOpened) -> None:
        """Take a journal entry back in."""
        if entry.day != self._opened_day:
            self._opened_day = entry.day
            self.opened.clear()
        self.opened[entry.strategy, entry.symbol] = entry.profit

    def start(self, now: Now) -> None:
        """Begin; what was journalled on another day counts no more, once something of this day is."""
        self._day = max(now.wall_ns // DAY_NS, self._opened_day)

    def check(self, now: Now) -> None:
        """Latch every scope whose loss has reached its limit."""
        for scope, latch in self._scopes:
            if -scope.profit >= scope.max_loss and latch not in self._halting.kill.latches:
                why = f"loss limit: {scope.text} lost {-scope.profit} today, {scope.max_loss} is the limit"
                self._halting.halt(latch, why, "guard", now)
                self._settle(now)

    def open_day(self, now: Now) -> None:
        """Fix where today began, where that can be said by now; after midnight anew."""
        day = now.wall_ns // DAY_NS
        if day > self._day:  # a clock that was set back begins no day anew
            self._day = day
            self._exposure.close_day()
        self._note(self._exposure.open_day(self.opened if self._opened_day == self._day else {}))

    def rebase(self, scope: LatchScope, now: Now) -> None:
        """Let today's loss of a scope begin now."""
        self._note(self._exposure.rebase(scope.strategy, scope.symbol))
        self.check(now)

    def _note(self, fresh: list[tuple[int | None, str, int]]) -> None:
        for strategy, symbol, profit in fresh:
            if self._opened_day != self._day:
                self._opened_day = self._day
                self.opened.clear()
            self.opened[strategy, symbol] = profit
            self._record(DayOpened(day=self._day, symbol=symbol, profit=profit, strategy=strategy))
