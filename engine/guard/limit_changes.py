"""Limits that change while the engine runs: shown, validated, journalled with who, when and why.

A change holds until the next one, over restarts too, as long as the configuration says what it said when the change
was made: whoever edits a limit there afterwards means it. A limit that is tightened below what is in use stops
whatever would increase it and forces nothing; a loss limit below today's loss latches, as reaching it would.
"""

from collections.abc import Callable
from typing import Any, Final

from engine.common.clock import Now
from engine.common.fixed_point import MONEY_DECIMALS, format_fixed, parse_fixed
from engine.config import Config
from engine.guard.exposure import Exposure
from engine.guard.kill_switch import LatchScope
from engine.guard.lines import LIMITS, NO_LIMIT, Scope
from engine.guard.margin import Margin
from engine.guard.rate_limit import WriteBudget, write_rate
from engine.guard.records import LimitSet
from engine.messages.commands import SetLimit

COLLATERAL: Final = "collateral"
COUNTS_MAX: Final = 1_000_000


class LimitChanges:
    """Shows and changes limits.

    Args:
        changed: called after limits have changed. log: says something to the operator.
    """

    def __init__(
        self,
        config: Config,
        exposure: Exposure,
        margin: Margin,
        budget: WriteBudget,
        record: Callable[[LimitSet], None],
        changed: Callable[[], None],
        log: Callable[[str, str], None],
    ) -> None:
        self._exposure = exposure
        self._margin = margin
        self._budget = budget
        self._record = record
        self._changed = changed
        self._log = log
        self._per_s, _ = write_rate(config.rate)
        self._kill_within_s = config.risk.kill_within_s
        # What comes later (the operator's, foreign orders') has no limits.
        self._known = [
            LatchScope(),
            *(LatchScope(None, symbol) for symbol in exposure.market_scopes),
            *(LatchScope(slot) for slot in exposure.strategies),
        ]
        self._configured = {
            (scope, name): getattr(self._scope(scope), name) for scope in self._known for name in LIMITS
        }
        self.made: dict[tuple[LatchScope, str], LimitSet] = {}

    def _scope(self, scope: LatchScope) -> Scope:
        if scope.strategy is not None:
            return self._exposure.strategies[scope.strategy]
        return self._exposure.market_scopes[scope.symbol] if scope.symbol else self._exposure.account

    # -- the journal

    def replay(self, entry: LimitSet) -> None:
        """Take a journalled change back in; it is put to use at the start."""
        self.made[LatchScope(entry.strategy, entry.symbol), entry.name] = entry

    def start(self) -> None:
        """Put to use what was changed before, where the configuration has not changed since."""
        for (scope, name), entry in tuple(self.made.items()):
            if name == COLLATERAL:
                self._margin.set(entry.value, entry.was)
                continue
            configured = self._configured.get((scope, name))
            text = scope.text(self._exposure.names)
            if configured != entry.was:
                self._log(
                    "warning",
                    f"{text}: {name} was set by {entry.who}; the configuration has changed since and counts",
                )
                del self.made[scope, name]
                continue
            setattr(self._scope(scope), name, entry.value)
            self._changed()
            self._log(
                "warning",
                f"{text}: {name} is {_shown(name, entry.value)}, as {entry.who} set it: {entry.why}",
            )

    # -- changing

    def set(self, message: SetLimit, now: Now) -> tuple[bool, str]:
        """Change a limit, or say why not."""
        scope = LatchScope(message.strategy, message.symbol)
        where = scope.text(self._exposure.names)
        if not message.why.strip():
            return False, "a change of a limit needs a reason"
        if message.name == COLLATERAL:
            return self._set_collateral(message, scope, now)
        if message.name not in LIMITS:
            return (
                False,
                f"there is no limit {message.name[:40]!r}; there are: {', '.join(LIMITS)}, {COLLATERAL}",
            )
        if scope.strategy is not None and scope.symbol:
            return False, "limits are of the account, of a strategy or of a market"
        if self._configured.get((scope, message.name), NO_LIMIT) >= NO_LIMIT:
            return False, f"{where} has no limits in the configuration"
        try:
            value = _parsed(message.name, message.value)
        except ValueError as error:
            return False, f"{message.name}: {error}"
        problem = self._problem(scope, message.name, value)
        if problem:
            return False, problem
        limits = self._scope(scope)
        before = getattr(limits, message.name)
        setattr(limits, message.name, value)
        self._changed()
        self._keep(message, scope, value, self._configured[scope, message.name], now)
        text = f"{where}: {message.name} {_shown(message.name, before)} -> {_shown(message.name, value)}"
        used = next(
            (used for control, used, limit in limits.uses() if _NAMES.get(control) == message.name), 0
        )
        if used > value:
            text += f"; {_shown(message.name, used)} is in use: nothing that increases it passes"
        self._log("alert", f"{text}; by {message.who}: {message.why}")
        return True, text

    def _set_collateral(self, message: SetLimit, scope: LatchScope, now: Now) -> tuple[bool, str]:
        if scope != LatchScope():
            return False, "collateral is the account's"
        try:
            value = _parsed("max_loss", message.value)
        except ValueError as error:
            return False, f"{COLLATERAL}: {error}"
        base = self._margin.changes
        self._margin.set(value, base)
        self._keep(message, scope, value, base, now)
        text = f"collateral is {_shown('max_loss', value)} now"
        self._log("alert", f"{text}; by {message.who}: {message.why}")
        return True, text

    def _keep(self, message: SetLimit, scope: LatchScope, value: int, was: int, now: Now) -> None:
        entry = LimitSet(
            wall_ns=now.wall_ns, name=message.name, value=value, was=was, why=message.why, who=message.who,
            strategy=scope.strategy, symbol=scope.symbol,
        )  # fmt: skip
        self.made[scope, message.name] = entry
        self._record(entry)

    def _problem(self, scope: LatchScope, name: str, value: int) -> str:
        # As at the start (`check.py`): whatever may be open can be cancelled in time.
        cost = self._budget.cost_cancel
        if scope != LatchScope() or name != "max_open_orders" or not self._per_s or not cost:
            return ""
        can = self._per_s * self._kill_within_s // cost
        if value <= can:
            return ""
        return f"max_open_orders: a halt can cancel only {can} orders within risk.kill_within_s = {self._kill_within_s}, not {value}"

    # -- showing

    def show(self) -> list[dict[str, Any]]:
        """Return every limit with its use: texts for people, and what the configuration says where that differs."""
        rows = []
        for scope in self._known:
            limits = self._scope(scope)
            uses = {_NAMES.get(control, control): used for control, used, _ in limits.uses()}
            for name in LIMITS:
                value, configured = getattr(limits, name), self._configured[scope, name]
                if configured >= NO_LIMIT:
                    continue
                row = {"scope": limits.text, "name": name, "limit": _shown(name, value)}
                if name in uses:
                    row["used"] = _shown(name, uses[name])
                if value != configured:
                    change = self.made[scope, name]
                    row["configured"] = _shown(name, configured)
                    row["set_by"], row["why"] = change.who, change.why
                rows.append(row)
        if self._margin.collateral is not None:
            due, equity = self._margin.levels()
            limit = equity * self._margin.stop_percent // 100
            rows.append({"scope": "account", "name": "margin", "limit": _shown("max_loss", limit), "used": _shown("max_loss", due)})  # fmt: skip
        return rows


_NAMES: Final = {"open_orders": "max_open_orders", "max_gross": "max_gross_notional", "unacknowledged": "max_unacknowledged", "max_position": "max_position", "max_loss": "max_loss", "max_drawdown": "max_drawdown"}  # fmt: skip


def _parsed(name: str, text: str) -> int:
    decimals = LIMITS[name]
    value = parse_fixed(text, decimals)
    if value <= 0 or (not decimals and value > COUNTS_MAX):
        raise ValueError(f"{text!r} must be above zero" + ("" if decimals else f" and at most {COUNTS_MAX}"))
    return value


def _shown(name: str, value: int) -> str:
    decimals = LIMITS[name]
    if decimals == MONEY_DECIMALS:
        return format_fixed(value - value % 10_000, decimals)[:-4]
    return format_fixed(value, decimals) if decimals else str(value)
