"""Refusals, said twice: each one to its sender, and on guard.feed without a flood.

Of one strategy and control, the first refusal is published at once, further ones of the same second as one note with
their count: a worker that sends 50,000 bad orders a second makes one note a second.
"""

from engine.common.actor import Outbox
from engine.common.clock import SECOND, Now
from engine.guard.limits import Breach
from engine.messages.commands import Refused
from engine.messages.decisions import TOPIC_REFUSED, RefusalNote

FEED = "guard.feed"
INTENTS = "guard.orders"


class _Kind:
    # Refusals of one strategy by one control.
    __slots__ = ("breach", "count", "since_ns")

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self.count = 0
        self.breach: Breach | None = None


class Refusals:
    """Says and counts refusals.

    Attributes:
        total: refusals so far. by_control: the same, by control.
    """

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._kinds: dict[tuple[int, str], _Kind] = {}
        self.total = 0
        self.by_control: dict[str, int] = {}

    def say(self, peer: str, cl_ord_id: str, strategy: int, breach: Breach, now: Now) -> None:
        """Answer an intent with a refusal, and publish it."""
        control = breach.control
        self.total += 1
        self.by_control[control] = self.by_control.get(control, 0) + 1
        self._out.send(
            INTENTS,
            Refused(
                cl_ord_id=cl_ord_id,
                control=control,
                scope=breach.scope,
                text=breach.text,
                limit=breach.limit,
                value=breach.value,
            ),
            to=peer,
        )
        kind = self._kinds.get((strategy, control))
        if kind is None:
            self._kinds[strategy, control] = _Kind(now.mono_ns)
            self._publish(strategy, breach, 1, now)
            return
        kind.count += 1
        kind.breach = breach

    def flush(self, now: Now) -> None:
        """Publish what was held back for a second."""
        over = [key for key, kind in self._kinds.items() if now.mono_ns - kind.since_ns >= SECOND]
        for key in over:
            kind = self._kinds[key]
            if kind.breach is None:
                del self._kinds[key]
                continue
            self._publish(key[0], kind.breach, kind.count, now)
            self._kinds[key] = _Kind(now.mono_ns)

    def _publish(self, strategy: int, breach: Breach, count: int, now: Now) -> None:
        note = RefusalNote(
            wall_ns=now.wall_ns,
            strategy=strategy,
            control=breach.control,
            scope=breach.scope,
            text=breach.text,
            count=count,
        )
        self._out.send(FEED, note, topic=TOPIC_REFUSED)
