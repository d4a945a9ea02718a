"""What KalshiRT keeps: numbers and sent messages of each session, over connections and over the venue's own restart.

While a session is up its acceptor numbers and keeps messages; between connections `keep` does it, so that what
happened meanwhile has its number and can be asked for. Everything is journalled in the step in which it happens: the
journal commits before a byte leaves, so no number is ever used for two messages. Messages older than the session's
MessageRetentionPeriod(20200), 24 hours by default, are forgotten; a request for them is rejected (scenario 8.4).

A session is its owner's key (`KalshiRT|<api key>`), as in `order.Owner`.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from engine.common.clock import SECOND, Now, fix_time
from engine.fix.acceptor import Acceptor
from engine.fix.snapshot import SentMessage, SessionSnapshot
from engine.venue.records import RtNumbers, RtSent

DEFAULT_H: Final = 24
HOUR_NS: Final = 3600 * SECOND
KEPT_MAX: Final = 100_000
_LOOK_NS: Final = SECOND


class Kept:
    """One session of KalshiRT.

    Attributes:
        next_sender, next_target: numbers as last journalled.
        listener: its last Logon was a listener's; reports of the account are kept for it too.
        must_reset: its next Logon must say 141=Y (after maintenance, where configured so).
        acceptor: of its connection, or None between connections.
    """

    __slots__ = (
        "acceptor",
        "account",
        "first_kept",
        "hours",
        "key",
        "listener",
        "looked_ns",
        "must_reset",
        "next_sender",
        "next_target",
        "sent",
        "times",
    )  # fmt: skip

    def __init__(self, key: str, account: str) -> None:
        self.key = key
        self.account = account
        self.hours = DEFAULT_H
        self.listener = False
        self.must_reset = False
        self.acceptor: Acceptor | None = None
        self.next_sender = 1
        self.next_target = 1
        self.first_kept = 1
        self.sent: deque[SentMessage] = deque()  # between connections only
        self.times: deque[tuple[int, int]] = (
            deque()
        )  # (wall_ns, number) of what is kept, here or in the acceptor
        self.looked_ns = 0

    def snapshot(self) -> SessionSnapshot:
        """Return what an acceptor goes on with."""
        return SessionSnapshot(
            next_sender_msg_seq_num=self.next_sender,
            next_target_msg_seq_num=self.next_target,
            first_kept=self.first_kept,
            sent=tuple(self.sent),
        )

    def expire(self, wall_ns: int) -> None:
        """Forget what is older than the retention period."""
        if wall_ns - self.looked_ns < _LOOK_NS:
            return
        self.looked_ns = wall_ns
        horizon = wall_ns - self.hours * HOUR_NS
        first = self.first_kept
        while self.times and (self.times[0][0] < horizon or len(self.times) > KEPT_MAX):
            first = self.times.popleft()[1] + 1
        if first == self.first_kept:
            return
        self.first_kept = first
        while self.sent and self.sent[0].seq < first:
            self.sent.popleft()
        if self.acceptor is not None:
            self.acceptor.forget_before(first)


class Retention:
    """All sessions of KalshiRT.

    Args:
        record: writes one entry to the journal.
    """

    __slots__ = ("_record", "sessions")

    def __init__(self, record: Callable[[msgspec.Struct], None]) -> None:
        self._record = record
        self.sessions: dict[str, Kept] = {}

    def of(self, key: str, account: str) -> Kept:
        """Return a session, new when it isn't known."""
        kept = self.sessions.get(key)
        if kept is None:
            kept = self.sessions[key] = Kept(key, account)
        return kept

    def begin(self, kept: Kept, acceptor: Acceptor, *, reset: bool) -> None:
        """A connection goes on with a session, or begins it anew (141=Y); before the Logon is answered."""
        if reset:
            kept.next_sender = kept.next_target = kept.first_kept = 1
            kept.sent.clear()
            kept.times.clear()
            kept.must_reset = False
            self._numbers(kept, reset=True)
        else:
            acceptor.restore(kept.snapshot())
            kept.sent.clear()
        kept.acceptor = acceptor

    def settle(self, kept: Kept, now: Now) -> None:
        """Journal what a step did to a session that is up."""
        acceptor = kept.acceptor
        if acceptor is None:
            return
        sender, target = acceptor.next_sender_msg_seq_num, acceptor.next_target_msg_seq_num
        if (sender, target) == (kept.next_sender, kept.next_target):
            return
        # a Logon with 141=Y inside the session: both sides began again (scenario 1.7)
        reset = sender < kept.next_sender and target < kept.next_target
        if reset:
            kept.times.clear()
            kept.first_kept = kept.next_sender = kept.next_target = 1
            self._numbers(kept, reset=True)
        for message in acceptor.sent_from(kept.next_sender):
            self._sent(kept, message, now)
        kept.next_sender, kept.next_target = sender, target
        self._numbers(kept)

    def end(self, kept: Kept, now: Now) -> None:
        """The connection is over: take numbers and messages back from its acceptor."""
        acceptor = kept.acceptor
        if acceptor is None:
            return
        self.settle(kept, now)
        kept.sent = deque(acceptor.snapshot().sent)
        kept.acceptor = None

    def keep(self, kept: Kept, msg_type: str, body: str, now: Now) -> None:
        """Number a message for a session that is away, to be asked for when it is back."""
        message = SentMessage(
            seq=kept.next_sender, msg_type=msg_type, body=body, sending_time=fix_time(now.wall_ns)
        )
        kept.next_sender += 1
        kept.sent.append(message)
        self._sent(kept, message, now)
        self._numbers(kept)
        kept.expire(now.wall_ns)

    def _sent(self, kept: Kept, message: SentMessage, now: Now) -> None:
        kept.times.append((now.wall_ns, message.seq))
        self._record(RtSent(key=kept.key, wall_ns=now.wall_ns, message=message))

    def _numbers(self, kept: Kept, *, reset: bool = False) -> None:
        self._record(
            RtNumbers(
                key=kept.key,
                account=kept.account,
                next_sender=kept.next_sender,
                next_target=kept.next_target,
                hours=kept.hours,
                listener=kept.listener,
                must_reset=kept.must_reset,
                reset=reset,
            )
        )

    def maintenance(self) -> None:
        """Demand a reset of every session at its next Logon ([?] in venue.md: continuity over maintenance)."""
        for kept in self.sessions.values():
            kept.must_reset = True
            self._numbers(kept)

    # --- restart ---------------------------------------------------------------------------------------------------

    def take(self, entry: RtSent | RtNumbers) -> None:
        """Take one committed entry, oldest first."""
        if isinstance(entry, RtSent):
            kept = self.sessions.get(entry.key)
            if kept is None:
                kept = self.sessions[entry.key] = Kept(entry.key, "")
            kept.sent.append(entry.message)
            kept.times.append((entry.wall_ns, entry.message.seq))
            return
        kept = self.of(entry.key, entry.account)
        if entry.reset:
            kept.sent.clear()
            kept.times.clear()
            kept.first_kept = 1
        kept.account = entry.account
        kept.next_sender, kept.next_target = entry.next_sender, entry.next_target
        kept.hours, kept.listener, kept.must_reset = entry.hours, entry.listener, entry.must_reset
        while len(kept.sent) > KEPT_MAX:
            kept.sent.popleft()
            kept.first_kept = kept.times.popleft()[1] + 1
