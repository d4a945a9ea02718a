"""The outbound half of a session: numbering, writing, and sending again what is asked for.

Header order is venue.md section 2's: 8, 9, 35, then 49, 56, 34, 52, and 43, 122 where they apply.
"""

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

    def _set_up(self, settings: SessionSettings) -> None:
        self.settings = settings
        self._header = f"49={settings.sender_comp_id}\x0156={settings.target_comp_id}\x01"
        self._window = SentWindow(settings.sent_window_max)

    def data_to_send(self) -> bytes:
        """Return what must go to the transport now, and forget it."""
        if len(self._out) == 1:
            return self._out.pop()
        data = b"".join(self._out)
        self._out.clear()
        return data

    def send_session_message(self, msg_type: str, body: str, now: Now) -> int:
        """Send a session message out of turn, as a drill does; return its MsgSeqNum(34)."""
        return self._write(msg_type, body, now)

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
            text = f"BeginSeqNo(7) {begin} is outside the retention window, which begins at {self._window.first_kept}"
            raise RemoteProtocolError(text, RejectReason.VALUE_INCORRECT, 7)
        return begin, min(end or following, following - 1), end == 0 or end >= following

    def _resend(self, begin: int, end: int, now: Now) -> None:
        """Resend kept application messages; everything else is filled over, in as few gap fills as can be."""
        fill_from = begin
        for kept in self._window.between(begin, end) if self._keeps_sent else ():
            self._write_gap_fill(fill_from, kept.seq, now)
            self._write_again(kept.seq, kept.msg_type, kept.body, kept.sending_time, now)
            fill_from = kept.seq + 1
        self._write_gap_fill(fill_from, end + 1, now)

    def _write_gap_fill(self, seq: int, new_seq_no: int, now: Now) -> None:
        if seq < new_seq_no:
            # the times of what is filled over are not kept; FIX lets 122 equal 52 then
            self._write_again(
                seq, MsgType.SEQUENCE_RESET, admin.gap_fill(new_seq_no), fix_time(now.wall_ns), now
            )
