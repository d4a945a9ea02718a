"""Soft levels: a warning before a limit stops anything, once when it is reached and again only after it was left.

A soft level is `warn_percent` of the hard one. Uses that run on (position, open orders, gross notional, loss,
drawdown, requests in flight, silence, skew) are looked at every beat; the size of an order when it passes.
"""

from collections.abc import Callable, Iterator
from typing import Final

from engine.common.actor import Outbox
from engine.common.clock import SECOND, Now
from engine.guard.gate import Gate
from engine.guard.lines import NO_LIMIT, Scope
from engine.guard.refusals import FEED
from engine.messages.decisions import TOPIC_LIMIT, LimitNote

PER_CENT: Final = 100
ORDER_AGAIN_NS: Final = 60 * SECOND
LEFT_PERCENT: Final = 90  # of the soft level: a use that dances around it is said once


class SoftLevels:
    """Warns of limits that are nearly reached."""

    def __init__(
        self, out: Outbox, gate: Gate, warn_percent: int, scopes: Callable[[], Iterator[Scope]]
    ) -> None:
        self._out = out
        self._gate = gate
        self._percent = warn_percent
        self._scopes = scopes
        self.warned: dict[tuple[str, str], int] = {}
        self._orders: dict[tuple[str, str], int] = {}

    def look(self, now: Now) -> None:
        """Look at every use."""
        percent = self._percent
        for scope in self._scopes():
            for control, value, limit in scope.uses():
                if limit < NO_LIMIT and (
                    value * PER_CENT >= limit * percent or (scope.text, control) in self.warned
                ):
                    self._judge(scope.text, control, value, limit, now)
        for control, value, limit in self._gate.uses(now):
            if value * PER_CENT >= limit * percent or ("account", control) in self.warned:
                self._judge("account", control, value, limit, now)

    def _judge(self, scope: str, control: str, value: int, limit: int, now: Now) -> None:
        key = (scope, control)
        soft = limit * self._percent // PER_CENT
        if value >= soft:
            if key not in self.warned:
                self.warned[key] = soft
                self.say(scope, control, value, soft, limit, now)
        elif value * PER_CENT < soft * LEFT_PERCENT:
            self.warned.pop(key, None)
            self._note(scope, control, value, soft, limit, now, over=False)

    def order(self, scope: str, control: str, value: int, limit: int, now: Now) -> None:
        """Warn of one order that passed, at most once a minute of each scope."""
        soft = limit * self._percent // PER_CENT
        if (
            value > soft
            and now.mono_ns - self._orders.get((scope, control), -ORDER_AGAIN_NS) >= ORDER_AGAIN_NS
        ):
            self._orders[scope, control] = now.mono_ns
            self.say(scope, control, value, soft, limit, now)

    def say(self, scope: str, control: str, value: int, soft: int, limit: int, now: Now) -> None:
        """Warn of one use."""
        self._out.log(
            "warning", f"{scope}: {control} is at {value}, over the soft level {soft} of its limit {limit}"
        )
        self._note(scope, control, value, soft, limit, now, over=True)

    def _note(
        self, scope: str, control: str, value: int, soft: int, limit: int, now: Now, *, over: bool
    ) -> None:
        self._out.send(
            FEED,
            LimitNote(
                wall_ns=now.wall_ns,
                scope=scope,
                control=control,
                value=value,
                soft=soft,
                limit=limit,
                over=over,
            ),
            topic=TOPIC_LIMIT,
        )
