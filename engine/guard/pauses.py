"""The venue's pauses: what may be sent while one is on, and what must be there again before new orders pass.

Two kinds (venue.md section 2): in a trading pause new orders and amends are refused and cancels work; in an exchange
pause nothing works. FIX announces neither: the guard knows the weekly window from the configuration, and learns of all
others by the text of a refusal.

Rules that hold here:

* New orders stop `pause_lead_s` before the window, and what rests is cancelled then, if so configured.
* After a refusal that names a pause nothing new is tried for a while (`hold_ns`); the next order is the probe.
* In an exchange pause cancels wait. One every PROBE_NS is the probe: a storm would burn the tokens that are needed when
  it ends. Any word of the venue that it did something we asked for ends it.
* After a pause, known or supposed, new orders wait for a book told since, and for a reconciliation begun since.
"""

from typing import Final

from engine.common.clock import SECOND, Now, iso_time
from engine.common.schedule import Window
from engine.config import Config
from engine.kalshi.texts import EXCHANGE_PAUSED
from engine.messages.executions import EventKind, OrderEvent

PROBE_NS: Final = 2 * SECOND
NEVER: Final = -(1 << 62)
_WORKS: Final = frozenset({EventKind.NEW, EventKind.REPLACED, EventKind.TRADE})


class Pauses:
    """What the venue lets pass.

    Args:
        config: the whole configuration. hold_ns: how long nothing new is tried after a refusal that names a pause.

    Attributes:
        text: the venue's last word of a pause, while nothing new is tried because of it.
        exchange: not even cancels work, as far as we know.
        fresh_ns: mono_ns since which a book must have been told before orders pass.
        due: `books`, `sweep`: what the guard must do now, once; the guard takes it off.
    """

    def __init__(self, config: Config, hold_ns: int) -> None:
        self._hold_ns = hold_ns
        risk, venue = config.risk, config.venue
        embedded = config.engine.environment == "embedded" and venue is not None
        scheduled = bool(risk.pause_window) and not (
            embedded and venue is not None and venue.maintenance == "none"
        )
        self._window = Window(risk.pause_window, risk.zone) if scheduled else None
        self._lead_ns = risk.pause_lead_s * SECOND
        self._cancels = risk.pause_cancel
        self._in_window = False
        self._until_ns = 0
        self._probe_ns = 0
        self._reopened_wall_ns = 0
        self.text = ""
        self.exchange = False
        self.fresh_ns = NEVER
        self.due: set[str] = set()

    # -- what the venue says

    def refused(self, text: str, now: Now) -> None:
        """The venue refused a request with a text that names a pause."""
        self.text = text
        self._until_ns = now.mono_ns + self._hold_ns
        if text == EXCHANGE_PAUSED:
            self.exchange = True
            self._probe_ns = max(self._probe_ns, now.mono_ns + PROBE_NS)

    def hear(self, event: OrderEvent) -> None:
        """The venue did something: took an order, or cancelled because we asked (not because the pause began)."""
        if self.exchange and (
            event.kind in _WORKS or (event.kind is EventKind.CANCELED and bool(event.request_id))
        ):
            self.exchange = False

    # -- cancels

    def may_cancel(self, mono_ns: int) -> bool:
        """Say whether a cancel may leave now."""
        return not self.exchange or mono_ns >= self._probe_ns

    def cancelled(self, mono_ns: int) -> None:
        """A cancel left: in an exchange pause it was the probe."""
        if self.exchange:
            self._probe_ns = mono_ns + PROBE_NS

    @property
    def probe_ns(self) -> int:
        """When the next cancel may leave in an exchange pause, mono_ns."""
        return self._probe_ns

    # -- new orders

    def reasons(self, reconciled_wall_ns: int, now: Now) -> list[str]:
        """Return why nothing new may leave; reconciled_wall_ns: when the last reconciliation was begun."""
        reasons = []
        if self.text and now.mono_ns >= self._until_ns:
            self.text = ""
            self._reopen(now)
        if self.text:
            reasons.append(f"the venue says {self.text}")
        if self._window is not None:
            reasons += self._scheduled(self._window, now)
        if reasons or not self._reopened_wall_ns:
            return reasons
        # A clock that is set back must not make this a wait of hours.
        self._reopened_wall_ns = min(self._reopened_wall_ns, now.wall_ns)
        if reconciled_wall_ns < self._reopened_wall_ns:
            return ["after a pause: no reconciliation was begun since"]
        self._reopened_wall_ns = 0
        return []

    def _scheduled(self, window: Window, now: Now) -> list[str]:
        begin, end = window.bounds(now.wall_ns)
        inside = now.wall_ns >= begin - self._lead_ns
        if inside is not self._in_window:
            self._in_window = inside
            if inside and self._cancels:
                self.due.add("sweep")
            if not inside:
                self._reopen(now)
        if not inside:
            return []
        if now.wall_ns < begin:
            return [f"the venue's maintenance begins at {iso_time(begin)}"]
        return [f"the venue's maintenance is on until {iso_time(end)}"]

    def _reopen(self, now: Now) -> None:
        self.fresh_ns = now.mono_ns
        self._reopened_wall_ns = now.wall_ns
        self.due.add("books")
