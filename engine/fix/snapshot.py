"""What a session must keep between connections and restarts: the numbers and the window of what was sent."""

from itertools import takewhile

import msgspec


class SentMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An application message that may be asked for again."""

    seq: int
    msg_type: str
    body: str
    sending_time: str


class SessionSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A session at rest.

    Attributes:
        next_sender_msg_seq_num, next_target_msg_seq_num: the next numbers, ours and the peer's.
        first_kept: the lowest number that can still be answered for.
        first_here: the lowest that `sent` answers for; what is below, down to first_kept, the owner has elsewhere.
        sent: ascending; numbers that are absent were session messages.
    """

    next_sender_msg_seq_num: int = 1
    next_target_msg_seq_num: int = 1
    first_kept: int = 1
    first_here: int = 1
    sent: tuple[SentMessage, ...] = ()


class SentWindow:
    """The newest application messages that were sent, by number.

    Attributes:
        first_kept: lower numbers have been dropped and can't be resent.
        first_here: lower numbers, down to first_kept, are not here but with the owner.
    """

    __slots__ = ("_max", "_sent", "first_here", "first_kept")

    def __init__(self, size_max: int) -> None:
        self._max = size_max
        self._sent: dict[int, SentMessage] = {}
        self.first_kept = 1
        self.first_here = 1

    def add(self, sent: SentMessage) -> None:
        """Keep one; the oldest goes when there are too many. Numbers must ascend."""
        self._sent[sent.seq] = sent
        if len(self._sent) > self._max:
            oldest = next(iter(self._sent))
            del self._sent[oldest]
            self.first_kept = self.first_here = oldest + 1

    def between(self, begin: int, end: int) -> list[SentMessage]:
        """Return what is here of the numbers begin to end, inclusive, ascending."""
        if end - begin < len(self._sent):
            return [self._sent[seq] for seq in range(begin, end + 1) if seq in self._sent]
        return [message for seq, message in self._sent.items() if begin <= seq <= end]

    def drop_before(self, seq: int) -> None:
        """Forget lower numbers: the retention period is over."""
        self.release_before(seq)
        self.first_kept = max(self.first_kept, seq)

    def release_before(self, seq: int) -> None:
        """Let lower numbers go from here: the owner has them, and gives them when they are asked for."""
        for number in list(takewhile(lambda number: number < seq, self._sent)):
            del self._sent[number]
        self.first_here = max(self.first_here, seq)

    def clear(self) -> None:
        """Forget all: numbers begin at 1 again."""
        self._sent.clear()
        self.first_kept = self.first_here = 1

    def all(self) -> tuple[SentMessage, ...]:
        """Return everything kept, ascending."""
        return tuple(self._sent.values())

    def load(self, snapshot: SessionSnapshot) -> None:
        """Take a snapshot's window."""
        self._sent = {message.seq: message for message in snapshot.sent}
        self.first_kept = snapshot.first_kept
        self.first_here = max(snapshot.first_kept, snapshot.first_here)
