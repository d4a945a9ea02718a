"""The session's three small machines and all their transitions.

    lifecycle      where the session is between two connections
    inbound order  in order, or recovering what is missing
    liveness       alive, or asked whether it is

No role in the tables: an initiator and an acceptor differ only in which of the first inputs come. A (state, input) pair
that is absent is a bug, not a default. The joint rules that couple the machines:

* Numbers are processed in LOGGED_ON and LOGOUT_SENT only; entering either keeps the inbound order's place, so that a gap
  is asked for even while we leave (scenario 6.3).
* Liveness counts in LOGGED_ON only; LOGON_AWAITED, LOGON_SENT, LOGOUT_SENT and LOGOUT_RECEIVED have a time-out each.
* CLOSED means that the transport is to be closed and nothing more is read; only `disconnected` leaves it.
* What is held while recovering dies with the connection; the next numbers do not.
"""

from enum import Enum
from typing import Final

from engine.fix.errors import LocalProtocolError
from engine.fix.message import FixMessage


class SessionState(Enum):
    """Lifecycle."""

    DISCONNECTED = "disconnected"
    LOGON_AWAITED = "logon awaited"  # acceptor: connected, the first message must be a Logon
    LOGON_RECEIVED = "logon received"  # acceptor: the owner decides
    LOGON_SENT = "logon sent"  # initiator
    LOGGED_ON = "logged on"
    LOGOUT_SENT = "logout sent"
    LOGOUT_RECEIVED = "logout received"  # answered; the peer closes
    CLOSED = "closed"  # we want the transport closed


class Input(Enum):
    """What moves the lifecycle."""

    CONNECT_AND_WAIT = "connected, awaiting a Logon"
    SEND_LOGON = "connected, Logon sent"
    RECEIVE_LOGON = "Logon received"
    ACCEPT = "Logon accepted"
    SEND_LOGOUT = "Logout sent"
    RECEIVE_LOGOUT = "Logout received"
    CLOSE = "close"
    DISCONNECT = "disconnected"


_S = SessionState
_I = Input
TRANSITIONS: Final[dict[tuple[SessionState, Input], SessionState]] = {
    (_S.DISCONNECTED, _I.CONNECT_AND_WAIT): _S.LOGON_AWAITED,
    (_S.DISCONNECTED, _I.SEND_LOGON): _S.LOGON_SENT,
    (_S.DISCONNECTED, _I.DISCONNECT): _S.DISCONNECTED,
    (_S.LOGON_AWAITED, _I.RECEIVE_LOGON): _S.LOGON_RECEIVED,
    (_S.LOGON_AWAITED, _I.CLOSE): _S.CLOSED,
    (_S.LOGON_AWAITED, _I.DISCONNECT): _S.DISCONNECTED,
    (_S.LOGON_RECEIVED, _I.ACCEPT): _S.LOGGED_ON,
    (_S.LOGON_RECEIVED, _I.CLOSE): _S.CLOSED,
    (_S.LOGON_RECEIVED, _I.DISCONNECT): _S.DISCONNECTED,
    (_S.LOGON_SENT, _I.ACCEPT): _S.LOGGED_ON,
    (_S.LOGON_SENT, _I.SEND_LOGOUT): _S.LOGOUT_SENT,
    (_S.LOGON_SENT, _I.CLOSE): _S.CLOSED,
    (_S.LOGON_SENT, _I.DISCONNECT): _S.DISCONNECTED,
    (_S.LOGGED_ON, _I.SEND_LOGOUT): _S.LOGOUT_SENT,
    (_S.LOGGED_ON, _I.RECEIVE_LOGOUT): _S.LOGOUT_RECEIVED,
    (_S.LOGGED_ON, _I.CLOSE): _S.CLOSED,
    (_S.LOGGED_ON, _I.DISCONNECT): _S.DISCONNECTED,
    (_S.LOGOUT_SENT, _I.CLOSE): _S.CLOSED,
    (_S.LOGOUT_SENT, _I.DISCONNECT): _S.DISCONNECTED,
    (_S.LOGOUT_RECEIVED, _I.CLOSE): _S.CLOSED,
    (_S.LOGOUT_RECEIVED, _I.DISCONNECT): _S.DISCONNECTED,
    (_S.CLOSED, _I.DISCONNECT): _S.DISCONNECTED,
}


def next_state(state: SessionState, cause: Input) -> SessionState:
    """Look a transition up.

    Raises:
        LocalProtocolError: the table has none.
    """
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        raise LocalProtocolError(f"{cause.value!r} is not possible while {state.value!r}") from None


class InboundOrder:
    """What came too early, and the request for what is missing.

    IN_ORDER while nothing is held, else RECOVERING. A held value of None stands for a message whose effect was taken at
    once (a Logon, a ResendRequest) and whose number alone is missing from the row.

    Attributes:
        requested_until: last number of the open request, 0 when none is open.
        requested_ns: mono_ns at which it was sent or last made progress. attempts: requests without progress.
    """

    __slots__ = ("_held", "_held_max", "attempts", "requested_ns", "requested_until")

    def __init__(self, held_max: int) -> None:
        self._held: dict[int, FixMessage | None] = {}
        self._held_max = held_max
        self.requested_until = 0
        self.requested_ns = 0
        self.attempts = 0

    @property
    def in_order(self) -> bool:
        """Nothing is missing, as far as is known."""
        return not self._held

    def hold(self, seq: int, message: FixMessage | None) -> None:
        """Keep a message that came too early; when there are too many it is dropped, and so missing again later."""
        if len(self._held) < self._held_max:
            self._held.setdefault(seq, message)

    def gap_end(self) -> int:
        """Return the last missing number before the first held one."""
        return min(self._held) - 1

    def holds(self, seq: int) -> bool:
        """Tell whether this number is held."""
        return seq in self._held

    def take(self, seq: int) -> FixMessage | None:
        """Give back a held message and forget it."""
        return self._held.pop(seq)

    def below(self, seq: int) -> list[int]:
        """Return the held numbers below `seq`, ascending."""
        return sorted(number for number in self._held if number < seq)

    def requested(self, until: int, mono_ns: int) -> None:
        """Note a request for everything up to `until`."""
        self.attempts = self.attempts + 1 if until == self.requested_until else 1
        self.requested_until = until
        self.requested_ns = mono_ns

    def progress(self, mono_ns: int) -> None:
        """Note that a missing message came."""
        self.attempts = 1
        self.requested_ns = mono_ns
        if not self._held:
            self.requested_until = 0

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()
        self.requested_until = 0
        self.attempts = 0


class Liveness:
    """Who has been silent for how long, on monotonic time (scenario 4.6).

    ALIVE until HeartBtInt and a fifth of it (transmission) pass without a message, then TEST_PENDING; DEAD when the same
    time passes again. Whatever comes makes it ALIVE: the session stores `last_received` and nothing else per message.

    Attributes:
        interval_ns: HeartBtInt. last_sent, last_received: mono_ns.
    """

    __slots__ = ("_test_sent", "interval_ns", "last_received", "last_sent")

    def __init__(self) -> None:
        self.interval_ns = 0
        self.last_sent = 0
        self.last_received = 0
        self._test_sent = -1

    def begin(self, interval_s: int, mono_ns: int) -> None:
        """Start counting. An interval of 0 turns heartbeats off."""
        self.interval_ns = interval_s * 1_000_000_000
        self.last_received = mono_ns
        self._test_sent = -1

    def heartbeat_due(self, mono_ns: int) -> bool:
        """Nothing was sent for the interval."""
        return self.interval_ns > 0 and mono_ns >= self.last_sent + self.interval_ns

    @property
    def test_pending(self) -> bool:
        """A TestRequest is out and nothing has come since."""
        return self._test_sent >= 0 and self.last_received < self._test_sent

    def silence_due(self, mono_ns: int) -> bool:
        """Nothing was received for the interval and the transmission time, counted from the test when one is out."""
        return self.interval_ns > 0 and mono_ns >= self._silence_at()

    def tested(self, mono_ns: int) -> None:
        """Note that a TestRequest was sent."""
        self._test_sent = mono_ns

    def _silence_at(self) -> int:
        since = self._test_sent if self.test_pending else self.last_received
        return since + self.interval_ns + self.interval_ns // 5

    @property
    def deadline(self) -> int | None:
        """mono_ns of the next thing to do."""
        if self.interval_ns == 0:
            return None
        return min(self.last_sent + self.interval_ns, self._silence_at())
