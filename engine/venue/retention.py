"""What KalshiRT keeps: numbers and sent messages of each session, over connections and over the venue's own restart.

While a session is up its acceptor numbers and keeps messages; between connections `keep` does it, so that what
happened meanwhile has its number and can be asked for. Everything is journalled in the step in which it happens: the
journal commits before a byte leaves, so no number is ever used for two messages. Messages older than the session's
MessageRetentionPeriod(20200), 24 hours by default, are forgotten; a request for them is rejected (scenario 8.4).

Memory holds the newest messages of a session, and of all that its retention covers one `Block` for every thousand or
minute: their numbers, and the journal's rows that they stand in. `older` reads what left memory back, some rows at a
time, so that nobody waits for a long resend. Without an archive (no journal on disk) memory is all there is.

A session is its owner's key (`KalshiRT|<api key>`), as in `order.Owner`.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from engine.common.clock import SECOND, Now, fix_time
from engine.errors import JournalError
from engine.fix.acceptor import Acceptor
from engine.fix.snapshot import SentMessage, SessionSnapshot
from engine.venue.history import Archive
from engine.venue.records import RtNumbers, RtSent

DEFAULT_H: Final = 24
HOUR_NS: Final = 3600 * SECOND
KEPT_MAX: Final = 100_000
"""Messages of a session that are kept without an archive."""
BLOCK_MAX: Final = 1000
BLOCK_NS: Final = 60 * SECOND
ROWS: Final = 2000
"""Rows of the journal that one call of `older` looks at: some 5 ms."""
_LOOK_NS: Final = SECOND


class Block(msgspec.Struct, array_like=True):
    """Messages that follow one another: numbers, rows of the journal and times of the first and the last, and how many."""

    first_seq: int
    last_seq: int
    first_row: int
    last_row: int
    first_ns: int
    last_ns: int
    count: int = 1


class Saved(msgspec.Struct, kw_only=True):
    """A session at rest, for a snapshot of the journal."""

    key: str
    account: str
    hours: int
    listener: bool
    must_reset: bool
    next_sender: int
    next_target: int
    first_kept: int
    first_here: int
    blocks: list[Block]
    sent: list[SentMessage]


class Kept:
    """One session of KalshiRT.

    Attributes:
        next_sender, next_target: numbers as last journalled.
        first_kept: the lowest number that is within the retention. first_here: the lowest whose message is in memory.
        count_here: messages in memory. blocks: of all that is kept, oldest first.
        listener: its last Logon was a listener's; reports of the account are kept for it too.
        must_reset: its next Logon must say 141=Y (after maintenance, where configured so).
        acceptor: of its connection, or None between connections. renumbered: its count of resets. sent: messages in memory, between connections only.
        read: how far a resend has read a block: the number that it goes on with, the row, messages of the block before it.
    """

    __slots__ = (
        "acceptor",
        "account",
        "blocks",
        "count_here",
        "first_here",
        "first_kept",
        "hours",
        "key",
        "listener",
        "looked_ns",
        "must_reset",
        "next_sender",
        "next_target",
        "read",
        "renumbered",
        "sent",
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
        self.sent: deque[SentMessage] = deque()
        self.looked_ns = 0
        self.renumbered = 0
        self.forget_all()

    def forget_all(self) -> None:
        """Begin anew: nothing is kept."""
        self.first_kept = self.first_here = 1
        self.count_here = 0
        self.blocks: list[Block] = []
        self.read = (0, 0, 0)
        self.sent.clear()

    def snapshot(self) -> SessionSnapshot:
        """Return what an acceptor goes on with."""
        return SessionSnapshot(
            next_sender_msg_seq_num=self.next_sender,
            next_target_msg_seq_num=self.next_target,
            first_kept=self.first_kept,
            first_here=self.first_here,
            sent=tuple(self.sent),
        )

    def note(self, seq: int, row: int, wall_ns: int, block_max: int) -> bool:
        """Count a message in; True when it begins a block."""
        if (
            self.blocks and seq <= self.blocks[-1].last_seq
        ):  # a fault moved the numbers back: what was under them is gone
            self.forget_all()
            self.first_kept = self.first_here = seq
        self.count_here += 1
        if self.blocks:
            block = self.blocks[-1]
            if block.count < block_max and wall_ns - block.first_ns < BLOCK_NS:
                block.last_seq, block.last_row, block.last_ns = seq, row, wall_ns
                block.count += 1
                return False
        self.blocks.append(Block(seq, seq, row, row, wall_ns, wall_ns))
        return True

    def expire(self, wall_ns: int) -> None:
        """Forget what is older than the retention period."""
        if wall_ns - self.looked_ns < _LOOK_NS:
            return
        self.looked_ns = wall_ns
        horizon = wall_ns - self.hours * HOUR_NS
        over = 0
        while over < len(self.blocks) and self.blocks[over].last_ns < horizon:
            over += 1
        self.forget(over)

    def forget(self, blocks: int) -> None:
        """Forget so many of the oldest blocks."""
        if not blocks:
            return
        self.release(self.blocks[blocks - 1].last_seq + 1)
        self.first_kept = self.blocks[blocks - 1].last_seq + 1
        del self.blocks[:blocks]
        if self.acceptor is not None:
            self.acceptor.forget_before(self.first_kept)

    def release(self, first: int) -> None:
        """Let what is before a block's first number go from memory."""
        if first <= self.first_here:
            return
        for block in self.blocks[self.block_of(self.first_here) : self.block_of(first)]:
            self.count_here -= block.count
        self.first_here = first
        while self.sent and self.sent[0].seq < first:
            self.sent.popleft()
        if self.acceptor is not None:
            self.acceptor.release_before(first)

    def block_of(self, seq: int) -> int:
        """Return the place of the first block that ends at a number or behind it."""
        return bisect_left(self.blocks, seq, key=_last_seq)


def _last_seq(block: Block) -> int:
    return block.last_seq


def _committed(archive: Archive) -> int:
    try:
        return archive.last_row()
    except JournalError:
        return 0


class Retention:
    """All sessions of KalshiRT.

    Args:
        record: writes one entry to the journal and returns its row.
        archive: reads messages back that left memory. recent_max: so many of a session stay, and up to half as many more.
    """

    __slots__ = ("_archive", "_block_max", "_recent_max", "_record", "sessions")

    def __init__(
        self, record: Callable[[msgspec.Struct], int], archive: Archive | None, recent_max: int
    ) -> None:
        self._record = record
        self._archive = archive
        self._recent_max = recent_max if archive is not None else KEPT_MAX
        self._block_max = min(BLOCK_MAX, max(1, self._recent_max // 4))
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
            kept.next_sender = kept.next_target = 1
            kept.forget_all()
            kept.must_reset = False
            self._numbers(kept, reset=True)
        else:
            acceptor.restore(kept.snapshot())
            kept.sent.clear()
        kept.acceptor = acceptor
        kept.renumbered = acceptor.renumbered + reset  # its answer to this Logon begins anew

    def settle(self, kept: Kept, now: Now) -> None:
        """Journal what a step did to a session that is up."""
        acceptor = kept.acceptor
        if acceptor is None:
            return
        sender, target = acceptor.next_sender_msg_seq_num, acceptor.next_target_msg_seq_num
        # a Logon with 141=Y inside the session: both sides began again (scenario 1.7), whatever the numbers are by now
        anew = acceptor.renumbered != kept.renumbered
        if not anew and (sender, target) == (kept.next_sender, kept.next_target):
            return
        kept.renumbered = acceptor.renumbered
        if anew:
            kept.forget_all()
            kept.next_sender = kept.next_target = 1
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
        self._sent(kept, message, now)
        kept.sent.append(message)
        self._numbers(kept)
        kept.expire(now.wall_ns)

    def _sent(self, kept: Kept, message: SentMessage, now: Now) -> None:
        row = self._record(RtSent(key=kept.key, wall_ns=now.wall_ns, message=message))
        if kept.note(message.seq, row, now.wall_ns, self._block_max):
            self._bound(kept, None)

    def _bound(self, kept: Kept, committed: int | None) -> None:
        """Keep memory to its bound: what is more goes, to be read back; without an archive it is forgotten.

        Args:
            committed: the journal's last row, when that is known.
        """
        archive = self._archive
        while kept.count_here > self._recent_max:
            place = kept.block_of(kept.first_here)
            block = kept.blocks[place]
            if kept.count_here - block.count < self._recent_max:
                return
            if archive is None:
                kept.forget(1)
                continue
            if committed is None:
                committed = _committed(archive)
            if block.last_row > committed:
                return  # a disk that takes nothing
            kept.release(block.last_seq + 1)

    def older(self, kept: Kept, begin: int, end: int) -> tuple[list[SentMessage], int]:
        """Return messages that left memory, of the numbers begin to end, and up to which number that is all of them.

        Raises:
            JournalError: the journal can't be read, or does not have what it should.
        """
        archive = self._archive
        assert archive is not None, "without an archive nothing leaves memory but by its retention"
        place = kept.block_of(begin)
        if place == len(kept.blocks) or kept.blocks[place].first_seq > end:
            return [], end
        block = kept.blocks[place]
        following, row, count = kept.read
        kept.read = (0, 0, 0)
        if following != begin or not block.first_row < row <= block.last_row:
            row, count = block.first_row, 0
        until_row = min(block.last_row, row + ROWS - 1)
        found = archive.sent(kept.key, row, until_row)
        count += len(found)
        wanted = [message for message in found if begin <= message.seq <= end]
        if found and found[-1].seq > end:
            return wanted, end
        if until_row < block.last_row:
            until = wanted[-1].seq if wanted else begin - 1
            kept.read = (until + 1, until_row + 1, count)
            return wanted, until
        if count != block.count:
            raise JournalError(
                f"{kept.key}: {count} of {block.count} messages from {block.first_seq} on are in the journal"
            )
        return wanted, min(block.last_seq, end)

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

    def forget(self) -> None:
        """Forget what was sent until now, as if its time were over; until the venue's next start."""
        for kept in self.sessions.values():
            kept.forget(len(kept.blocks))
            kept.first_kept = kept.first_here = kept.next_sender
            if kept.acceptor is not None:
                kept.acceptor.forget_before(kept.next_sender)

    # --- restart ---------------------------------------------------------------------------------------------------

    def take(self, entry: RtSent | RtNumbers, row: int) -> None:
        """Take one committed entry, oldest first."""
        if isinstance(entry, RtSent):
            kept = self.sessions.get(entry.key)
            if kept is None:
                kept = self.sessions[entry.key] = Kept(entry.key, "")
            begins = kept.note(entry.message.seq, row, entry.wall_ns, self._block_max)
            kept.sent.append(entry.message)
            if begins:
                self._bound(kept, row)
            return
        kept = self.of(entry.key, entry.account)
        if entry.reset:
            kept.forget_all()
        kept.account = entry.account
        kept.next_sender, kept.next_target = entry.next_sender, entry.next_target
        kept.hours, kept.listener, kept.must_reset = entry.hours, entry.listener, entry.must_reset

    def dump(self) -> list[Saved]:
        """Return what `take` made of a journal."""
        return [
            Saved(
                key=kept.key,
                account=kept.account,
                hours=kept.hours,
                listener=kept.listener,
                must_reset=kept.must_reset,
                next_sender=kept.next_sender,
                next_target=kept.next_target,
                first_kept=kept.first_kept,
                first_here=kept.first_here,
                blocks=kept.blocks,
                sent=list(kept.sent),
            )
            for kept in self.sessions.values()
        ]

    def load(self, sessions: list[Saved]) -> None:
        """Take what `dump` returned."""
        for saved in sessions:
            kept = self.sessions[saved.key] = Kept(saved.key, saved.account)
            kept.hours, kept.listener, kept.must_reset = saved.hours, saved.listener, saved.must_reset
            kept.next_sender, kept.next_target = saved.next_sender, saved.next_target
            kept.first_kept, kept.first_here = saved.first_kept, saved.first_here
            kept.blocks = saved.blocks
            kept.sent.extend(saved.sent)
            kept.count_here = len(saved.sent)
