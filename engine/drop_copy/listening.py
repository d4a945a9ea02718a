"""The listener session: logs on with 20126=Y on a key of its own, and hands what it hears to the third witness.

It asks nothing and sends nothing but what keeps a session alive; a gap in its numbers ends the connection (KalshiNR) or
is asked for again (KalshiRT), and either way drop copy sweeps, because a witness was away.
"""

from collections.abc import Callable, Iterable
from typing import Final

from engine.common.actor import LinkEvent, Outbox
from engine.common.clock import Now
from engine.config import SessionConfig
from engine.drop_copy.keys import key_of
from engine.drop_copy.listener import ListenerWitness
from engine.drop_copy.queries import report_copy
from engine.drop_copy.reading import message_of
from engine.drop_copy.reconciler import Reconciler
from engine.drop_copy.records import ListenerChanged
from engine.fix.events import App, Event
from engine.kalshi.gateways import GatewayClient
from engine.kalshi.hot import HOT
from engine.kalshi.messages import ExecutionReport

LINK: Final = "listener"
_EXECUTION_REPORT: Final = "8"


class Listening:
    """One listener session.

    Args:
        settings: of the session. out, sign, rng: as the actor's.
        reconciler: gets the witness.
        missing_there_ns: age at which what it did not hear is a break.

    Attributes:
        unreadable: messages that could not be read.
        changed: it was logged on or lost since the caller looked last; the caller resets it.
    """

    def __init__(
        self,
        settings: SessionConfig,
        out: Outbox,
        sign: Callable[[bytes], str],
        rng: Callable[[], float],
        reconciler: Reconciler,
        missing_there_ns: int,
    ) -> None:
        hot = {_EXECUTION_REPORT: HOT[_EXECUTION_REPORT]}
        self.gateway = GatewayClient(LINK, settings, out, sign, rng, hot=hot, listener=True)
        self.witness = ListenerWitness(reconciler.breaks, missing_there_ns)
        self.unreadable = 0
        self.changed = False
        reconciler.listener = self.witness
        self._reconciler = reconciler
        self._out = out
        self._name = f"{settings.target_comp_id} (listener)"
        self._up = False

    @property
    def state(self) -> str:
        """Its session's state in words."""
        return self.gateway.failed or self.gateway.state

    @property
    def name(self) -> str:
        """What to call the session in a status."""
        return self._name

    def on_link(self, event: LinkEvent, reason: str, now: Now) -> None:
        """Take an event of its link."""
        self._take(self.gateway.on_link(event, reason, now), now)

    def on_bytes(self, data: bytes, now: Now) -> None:
        """Take bytes of its link."""
        self._take(self.gateway.on_bytes(data, now), now)

    def on_deadline(self, now: Now) -> None:
        """Do what its session has to do by now."""
        due = self.gateway.deadline
        if due is not None and now.mono_ns >= due:
            self._take(self.gateway.on_deadline(now), now)

    def _take(self, events: Iterable[Event], now: Now) -> None:
        for event in events:
            if isinstance(event, App):
                self._on_application(event, now)
        self.watch(now)

    def watch(self, now: Now) -> None:
        """Tell the witness whether its session is up."""
        if self.gateway.logged_on is self._up:
            return
        self._up = self.gateway.logged_on
        self.changed = True
        if self._up:
            self.witness.up(now.mono_ns)
        else:
            self.witness.down()
        self._out.record(ListenerChanged(wall_ns=now.wall_ns, up=self._up, heard=self.witness.count))

    def _on_application(self, event: App, now: Now) -> None:
        message = message_of(event, self._name, self._out)
        if message is None:
            self.unreadable += 1
        if not isinstance(message, ExecutionReport):
            return
        key = key_of(message.exec_id)
        if key is None or self._reconciler.is_past(key):
            return
        seen = self._reconciler.tape.get(key)
        self.witness.on_report(
            report_copy(message), seen.event if seen is not None else None, now.mono_ns, now.wall_ns
        )
