"""What a session must keep between connections and restarts: the numbers and the window of what was sent."""

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
        first_kept: the lowest number that `sent` can still answer for.
        sent: ascending; numbers that are absent were session messages.
    """

    next_sender_msg_seq_num: int = 1
    next_target_msg_seq_num: int = 1
    first_kept: int = 1
    sent: tuple[SentMessage, ...] = ()


class SentWindow:
    """The newest application messages that were sent, by number.

    Attributes:
        first_kept: lower numbers have been dropped and can't be resent.
    """

    __slots__ = ("_max", "_sent", "first_kept")

    def __init__(self, size_max: int) -> None:
        self._max = size_max
        self._sent: dict[int, SentMessage] = {}
        self.first_kept = 1

    def add(self, sent: SentMessage) -> None:
        """Keep one; the oldest goes when there are too many. Numbers must ascend."""
        self._sent[sent.seq] = sent
        if len(self._sent) > self._max:
            oldest = next(iter(self._sent))
            del self._sent[oldest]
            self.first_kept = oldest + 1

    def between(self, begin: int, end: int) -> list[SentMessage]:
        """Return what is kept of the numbers begin to end, inclusive, ascending."""
        if end - begin < len(self._sent):
            return [self._sent[seq] for seq in range(begin, end + 1) if seq in self._sent]
        return [message for seq, message in self._sent.items() if begin <= seq <= end]

    def drop_before(self, seq: int) -> None:
        """Forget lower numbers: the retention period is over."""
        for number in [number for number in self._sent if number < seq]:
            del self._sent[number]
        self.first_kept = max(self.first_kept, seq)

    def clear(self) -> None:
        """Forget all: numbers begin at 1 again."""
        self._sent.clear()
        self.first_kept = 1

    def all(self) -> tuple[SentMessage, ...]:
        """Return everything kept, ascending."""
        return tuple(self._sent.values())

    def load(self, sent: tuple[SentMessage, ...], first_kept: int) -> None:
        """Take a snapshot's window."""
        self._sent = {message.seq: message for message in sent}
        self.first_kept = first_kept
