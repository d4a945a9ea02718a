"""The outbound half of a session: numbering, writing, and sending again what is asked for.

With `settings.resend_piece` a long range is given in pieces, so that its owner can serve others between them: while
`resending`, the owner calls `go_on_resending`, and gives what is no longer in the window. Each request is answered in
its turn; new messages go out between the pieces, and the peer holds them.

Header order is venue.md section 2's: 8, 9, 35, then 49, 56, 34, 52, and 43, 122 where they apply.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from engine.common.clock import Now, fix_time
from engine.fix import admin
from engine.fix.config import SessionSettings
from engine.fix.encoder import TRAILERS, checksum
from engine.fix.enums import RejectReason
from engine.fix.errors import RemoteProtocolError
from engine.fix.message import FixMessage
from engine.fix.msg_types import MsgType
from engine.fix.snapshot import SentMessage, SentWindow
from engine.fix.state import Liveness

RESENDS_MAX: Final = 16
"""Ranges of one connection that wait for their turn; a request for one more is rejected."""

Older = Callable[[int, int], tuple[list[SentMessage], int]]
"""Gives kept messages of the numbers begin to end (inclusive), and up to which number that is all of them."""


class Resend:
    """A range that is being resent: at is the next number to look for, fill_from the first that nothing stands for yet."""

    __slots__ = ("at", "end", "fill_from", "ref_seq")

    def __init__(self, begin: int, end: int, ref_seq: int) -> None:
        self.at = self.fill_from = begin
        self.end = end
        self.ref_seq = ref_seq


class Sender:
    """What a session writes.

    Attributes:
        next_sender_msg_seq_num: the number of the next new message.
    """

    _keeps_sent = False  # the acceptor resends application messages; the initiator fills over its own

    def __init__(self) -> None:
        self.next_sender_msg_seq_num = 1
        self._liveness = Liveness()
        self._out: list[bytes] = []
        self._resends: deque[Resend] = deque()

    def _set_up(self, settings: SessionSettings) -> None:
        self.settings = settings
        self._header = f"49={settings.sender_comp_id}\x0156={settings.target_comp_id}\x01"
        self._window = SentWindow(settings.sent_window_max)

    def data_to_send(self) -> bytes:
        """Return what must go to the transport now, and forget it."""
        out = self._out
        if not out:
            return b""
        if len(out) == 1:
            return out.pop()
        data = b"".join(out)
        out.clear()
        return data

    def send_session_message(self, msg_type: str, body: str, now: Now) -> int:
        """Send a session message out of turn, as a drill does; return its MsgSeqNum(34)."""
        return self._write(msg_type, body, now)

    def forget_before(self, seq: int) -> None:
        """Drop sent messages below `seq`: their retention is over, a request for them is rejected (scenario 8.4)."""
        self._window.drop_before(seq)

    def release_before(self, seq: int) -> None:
        """Drop sent messages below `seq` that the owner can give to `go_on_resending`."""
        self._window.release_before(seq)

    def sent_from(self, seq: int) -> list[SentMessage]:
        """Return the kept application messages from a number on, ascending."""
        return self._window.between(seq, self.next_sender_msg_seq_num - 1)

    def _write(self, msg_type: str, body: str, now: Now) -> int:
        """Write a message with the next number."""
        seq = self.next_sender_msg_seq_num
        sending_time = fix_time(now.wall_ns)
        text = f"35={msg_type}\x01{self._header}34={seq}\x0152={sending_time}\x01{body}"
        message = f"8=FIXT.1.1\x019={len(text)}\x01{text}".encode("latin-1")
        self._out.append(message + TRAILERS[checksum(message)])
        self.next_sender_msg_seq_num = seq + 1
        self._liveness.last_sent = now.mono_ns
        return seq

    def _write_app(self, msg_type: str, body: str, now: Now) -> int:
        """Write an application message; it is kept where it may be asked for."""
        seq = self._write(msg_type, body, now)
        if self._keeps_sent and self.settings.retransmission:
            sending_time = fix_time(now.wall_ns)
            self._window.add(SentMessage(seq=seq, msg_type=msg_type, body=body, sending_time=sending_time))
        return seq

    def _write_again(self, seq: int, msg_type: str, body: str, orig_sending_time: str, now: Now) -> None:
        """Write under a number that was used, with PossDupFlag(43) and OrigSendingTime(122)."""
        sending_time = fix_time(now.wall_ns)
        again = f"43=Y\x01122={orig_sending_time}\x01"
        text = f"35={msg_type}\x01{self._header}34={seq}\x0152={sending_time}\x01{again}{body}"
        message = f"8=FIXT.1.1\x019={len(text)}\x01{text}".encode("latin-1")
        self._out.append(message + TRAILERS[checksum(message)])
        self._liveness.last_sent = now.mono_ns

    def _resend_range(self, message: FixMessage) -> tuple[int, int, bool]:
        """Return what a ResendRequest asks for, both inclusive, the end cut to what was sent; and whether it was open-ended.

        Raises:
            RemoteProtocolError: there is no retransmission here, or the range is impossible or no longer kept.
        """
        if not self.settings.retransmission:
            text = "MsgType(35) 2 is not supported on this session"
            raise RemoteProtocolError(text, RejectReason.INVALID_MSG_TYPE, 35)
        begin = admin.number(message, 7, "BeginSeqNo")
        end = admin.number(message, 16, "EndSeqNo")
        following = self.next_sender_msg_seq_num
        if begin == 0 or begin >= following:
            text = f"BeginSeqNo(7) {begin} is not between 1 and {following - 1}"
            raise RemoteProtocolError(text, RejectReason.VALUE_INCORRECT, 7)
        if end != 0 and end < begin:
            text = f"EndSeqNo(16) {end} is below BeginSeqNo(7) {begin}"
            raise RemoteProtocolError(text, RejectReason.VALUE_INCORRECT, 16)
        if self._keeps_sent and begin < self._window.first_kept:
            raise RemoteProtocolError(self._not_kept(begin), RejectReason.VALUE_INCORRECT, 7)
        if len(self._resends) >= RESENDS_MAX:
            text = f"{RESENDS_MAX} resends are under way already"
            raise RemoteProtocolError(text, RejectReason.VALUE_INCORRECT, 7)
        return begin, min(end or following, following - 1), end == 0 or end >= following

    def _not_kept(self, seq: int) -> str:
        return (
            f"BeginSeqNo(7) {seq} is outside the retention window, which begins at {self._window.first_kept}"
        )

    def _resend(self, begin: int, end: int, ref_seq: int, now: Now) -> None:
        """Begin to resend a range; it is through when this returns, or goes on in pieces."""
        if not self._keeps_sent:
            self._write_gap_fill(begin, end + 1, now)
            return
        self._resends.append(Resend(begin, end, ref_seq))
        if len(self._resends) == 1 and begin >= self._window.first_here:
            self.go_on_resending(now)

    def go_on_resending(self, now: Now, older: Older | None = None) -> None:
        """Resend one piece more of the oldest range; what is not kept any more by now is said, never filled over.

        Args:
            older: gives what left the window.
        """
        resend, window = self._resends[0], self._window
        if resend.at < window.first_kept:
            self.give_up_resending(self._not_kept(resend.at), now)
            return
        if resend.at < window.first_here:
            assert older is not None, "who releases messages can give them"
            kept, until = older(resend.at, min(resend.end, window.first_here - 1))
        else:
            piece = self.settings.resend_piece
            until = min(resend.end, resend.at + piece - 1) if piece else resend.end
            kept = window.between(resend.at, until)
        for message in kept:
            self._write_gap_fill(resend.fill_from, message.seq, now)
            self._write_again(message.seq, message.msg_type, message.body, message.sending_time, now)
            resend.fill_from = message.seq + 1
        resend.at = until + 1
        if resend.at > resend.end:
            self._write_gap_fill(resend.fill_from, resend.end + 1, now)  # in as few gap fills as can be
            self._resends.popleft()

    def give_up_resending(self, text: str, now: Now) -> None:
        """Reject the request whose range is being resent: the rest of it can't be given."""
        ref_seq = self._resends.popleft().ref_seq
        body = admin.reject(ref_seq, MsgType.RESEND_REQUEST, RejectReason.VALUE_INCORRECT, 7, text)
        self._write(MsgType.REJECT, body, now)

    def _write_gap_fill(self, seq: int, new_seq_no: int, now: Now) -> None:
        if seq < new_seq_no:
            # the times of what is filled over are not kept; FIX lets 122 equal 52 then
            self._write_again(
                seq, MsgType.SEQUENCE_RESET, admin.gap_fill(new_seq_no), fix_time(now.wall_ns), now
            )
