"""The session protocol of FIXT.1.1 for both roles: bytes and time in, events and bytes out. No I/O.

How to drive it:

    session.connected(now)                      the transport is up
    events = session.receive(data, now)         bytes came, in any chunking
    events = session.on_deadline(now)           at or after session.deadline (mono_ns)
    session.send(msg_type, body, now)           an application message, when LOGGED_ON
    transport.write(session.data_to_send())     after every call
    session.disconnected(now)                   the transport is gone; a `Close` event asks for that

Rules that hold:
* A frame that is not whole and sound never consumes a number; a sound message with the expected number always does,
  even when its content is refused (SequenceReset alone sets the number itself).
* Nothing is processed out of order. With retransmission what came early waits and the gap is asked for once; without
  it the session ends, because what was missed can only come another way.
* Liveness runs on monotonic time, SendingTime(52) on wall time.
* After `Close` nothing more is read; numbers survive `disconnected`, what was held does not.
* What the peer did wrong becomes a Reject(3), a Logout or an event, never an exception.

The transition tables are in `state.py`; initiator and acceptor differ only in the opening.
"""

from collections.abc import Callable, Mapping
from typing import Final

from engine.common.clock import Now, fix_time
from engine.fix import admin
from engine.fix.config import SessionSettings
from engine.fix.dictionary import BusinessReject, Dictionary, validate
from engine.fix.encoder import BEGIN_STRING
from engine.fix.enums import RejectReason
from engine.fix.errors import LocalProtocolError, MessageTooLong, RemoteProtocolError
from engine.fix.events import (
    App,
    Close,
    Event,
    GapDetected,
    LoggedOut,
    Refused,
    Renumbered,
    ResendAsked,
    Skew,
    Warn,
)
from engine.fix.fields import Timestamps
from engine.fix.framer import Framer
from engine.fix.message import FixMessage, parse
from engine.fix.msg_types import MsgType
from engine.fix.sender import Sender
from engine.fix.snapshot import SessionSnapshot
from engine.fix.state import InboundOrder, Input, SessionState, next_state

__all__ = ["HotDecoder", "Session", "SessionSettings", "SessionState"]

HotDecoder = Callable[[str], tuple[int, str, object] | None]

_HOT_PREFIX: Final = b"8=FIXT.1.1\x019="
_IN_SESSION: Final = frozenset({SessionState.LOGGED_ON, SessionState.LOGOUT_SENT})


class Session(Sender):
    """What initiator and acceptor share.

    Attributes:
        state: the lifecycle.
        settings: as given, or as bound.
        renumbered: how often both sides' numbers began at 1 again.
        next_sender_msg_seq_num, next_target_msg_seq_num: the next numbers, ours and the peer's.

    Args:
        settings: of this session.
        dictionary: messages to validate against; None checks only what the session itself reads.
        hot: MsgType to a decoder of the whole frame as text, giving (MsgSeqNum, SendingTime, message), or None when the
            layout is not the one it knows. It must know no layout with PossDupFlag(43).
    """

    def __init__(
        self,
        settings: SessionSettings,
        dictionary: Dictionary | None = None,
        hot: Mapping[str, HotDecoder] | None = None,
    ) -> None:
        super().__init__()
        self.state = SessionState.DISCONNECTED
        self.next_target_msg_seq_num = 1
        self._dictionary = dictionary
        self._hot = dict(hot or {})
        self._times = Timestamps()
        self._since_ns = 0  # mono_ns at which the present time-out began
        self._skew_due_ns = 0
        self._tests = 0
        self._reset_sent = False
        self.renumbered = 0
        self._is_fast = False
        self._first_of_connection = 1  # the number of our first message after both Logons
        self._apply(settings)

    def _apply(self, settings: SessionSettings) -> None:
        self._set_up(settings)
        self._tolerance_ns = settings.tolerance_ns
        self._peer_ids = settings.peer_comp_ids or (settings.target_comp_id,)
        self._own_ids = (settings.sender_comp_id, *settings.own_comp_ids)
        self._peer_headers = tuple(
            f"49={peer}\x0156={own}\x01" for peer in self._peer_ids for own in self._own_ids
        )
        self._framer = Framer(settings.max_message_bytes)
        self._garbled_said = 0
        self._inbound = InboundOrder(settings.held_max)

    # ---- the connection

    def connected(self, now: Now) -> None:
        """The transport is up. The initiator sends its Logon; the acceptor waits for one."""
        raise NotImplementedError

    def _begin(self, now: Now) -> None:
        """Forget everything that belonged to an earlier connection."""
        self._framer = Framer(self.settings.max_message_bytes)
        self._garbled_said = 0
        self._inbound.clear()
        self._out.clear()
        self._resends.clear()
        self._reset_sent = False
        self._since_ns = now.mono_ns
        self._skew_due_ns = now.mono_ns
        self._liveness.begin(0, now.mono_ns)
        if self.settings.reset_on_logon:
            self._renumber()

    def disconnected(self, now: Now) -> None:
        """The transport is gone: a partial message and what was held are dropped, the numbers stay."""
        self._move(Input.DISCONNECT, now)
        self._inbound.clear()
        self._out.clear()
        self._resends.clear()

    def _renumber(self) -> None:
        self.renumbered += 1
        self.next_sender_msg_seq_num = 1
        self.next_target_msg_seq_num = 1
        self._inbound.clear()
        self._window.clear()
        self._resends.clear()

    def _move(self, cause: Input, now: Now) -> None:
        self.state = next_state(self.state, cause)
        self._since_ns = now.mono_ns
        if cause is Input.ACCEPT:
            self._first_of_connection = self.next_sender_msg_seq_num
        self._update_fast()

    def _update_fast(self) -> None:
        self._is_fast = self.state is SessionState.LOGGED_ON and self._inbound.in_order and bool(self._hot)

    @property
    def resending(self) -> bool:
        """A range that the peer asked for goes on by `go_on_resending`."""
        return bool(self._resends) and self.state in _IN_SESSION

    @property
    def in_order(self) -> bool:
        """Nothing that the peer sent is missing, as far as is known."""
        return self._inbound.in_order

    def snapshot(self) -> SessionSnapshot:
        """Return the numbers and the sent window, to be given to `restore` after a restart."""
        return SessionSnapshot(
            next_sender_msg_seq_num=self.next_sender_msg_seq_num,
            next_target_msg_seq_num=self.next_target_msg_seq_num,
            first_kept=self._window.first_kept,
            first_here=self._window.first_here,
            sent=self._window.all(),
        )

    def restore(self, snapshot: SessionSnapshot) -> None:
        """Take numbers and window back, before `connected` (initiator) or before `accept` (acceptor).

        Raises:
            LocalProtocolError: the session is under way.
        """
        if self.state not in {
            SessionState.DISCONNECTED,
            SessionState.LOGON_AWAITED,
            SessionState.LOGON_RECEIVED,
        }:
            raise LocalProtocolError(f"numbers can't be restored while {self.state.value!r}")
        self.next_sender_msg_seq_num = snapshot.next_sender_msg_seq_num
        self.next_target_msg_seq_num = snapshot.next_target_msg_seq_num
        self._window.load(snapshot)

    # ---- out

    def send(self, msg_type: str, body: str, now: Now) -> int:
        """Send an application message and return its MsgSeqNum(34).

        Args:
            msg_type: MsgType(35). body: SOH-terminated fields, latin-1.

        Raises:
            LocalProtocolError: not logged on.
        """
        if self.state is not SessionState.LOGGED_ON:
            raise LocalProtocolError(f"an application message can't be sent while {self.state.value!r}")
        return self._write_app(msg_type, body, now)

    def send_reject(
        self, ref_seq: int, ref_msg_type: str, reason: int | None, ref_tag: int | None, text: str, now: Now
    ) -> int:
        """Send Reject (35=3) for a message that the owner found unsound; return its MsgSeqNum(34)."""
        return self._write(MsgType.REJECT, admin.reject(ref_seq, ref_msg_type, reason, ref_tag, text), now)

    def send_business_reject(
        self, ref_seq: int, ref_msg_type: str, reason: int, text: str, now: Now, ref_id: str = ""
    ) -> int:
        """Send BusinessMessageReject (35=j); return its MsgSeqNum(34)."""
        body = admin.business_reject(ref_seq, ref_msg_type, reason, text, ref_id)
        return self.send(MsgType.BUSINESS_MESSAGE_REJECT, body, now)

    def logout(self, text: str, now: Now) -> None:
        """Send Logout (35=5) and await the peer's; a no-op where there is nothing to log out of."""
        if self.state in {SessionState.LOGGED_ON, SessionState.LOGON_SENT}:
            self._write(MsgType.LOGOUT, admin.logout(text), now)
            self._move(Input.SEND_LOGOUT, now)

    # ---- in

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """Take bytes from the transport, in any chunking, and return what they mean."""
        events: list[Event] = []
        if self.state is SessionState.CLOSED or self.state is SessionState.DISCONNECTED:
            return events
        too_long = ""
        try:
            frames = self._framer.feed(data)
        except MessageTooLong as error:
            frames, too_long = error.frames, error.text
        if self._framer.garbled != self._garbled_said:
            count = self._framer.garbled - self._garbled_said
            self._garbled_said = self._framer.garbled
            events.append(Warn(f"{count} garbled message(s) skipped; no number was consumed"))
        if frames:
            self._liveness.last_received = now.mono_ns
            self._take(frames, now, events)
        if too_long:
            self._fail(too_long, now, events)
        return events

    def _take(self, frames: list[bytes], now: Now, events: list[Event]) -> None:
        """Process whole frames in turn, the hot ones on the short way."""
        for index, frame in enumerate(frames):
            if self._is_fast and self._hot_app(frame, now, events):
                continue
            if self.state is SessionState.LOGON_RECEIVED:
                self._keep_waiting(frames[index:], now, events)
                return
            if self.state is SessionState.CLOSED:
                return
            self._on_message(parse(frame), now, events)

    def _hot_app(self, frame: bytes, now: Now, events: list[Event]) -> bool:
        """Take a hot message that is as expected in every way; False sends it the general way."""
        if not frame.startswith(_HOT_PREFIX):
            return False
        text = frame.decode("latin-1")
        at = text.find("\x01", 13) + 4  # behind `|35=`
        end = text.find("\x01", at)
        msg_type = text[at:end]
        decoder = self._hot.get(msg_type)
        if decoder is None:
            return False
        if not text.startswith(self._peer_headers, end + 1) and not self._comp_ids_within(text):
            return False
        decoded = decoder(text)
        if decoded is None or decoded[0] != self.next_target_msg_seq_num:
            return False
        try:
            sending_ns = self._times.parse(decoded[1])
        except ValueError:
            return False
        skew = sending_ns - now.wall_ns
        if not -self._tolerance_ns <= skew <= self._tolerance_ns:
            return False
        if now.mono_ns >= self._skew_due_ns:
            self._skew_due_ns = now.mono_ns + self.settings.skew_every_ns
            events.append(Skew(skew))
        self.next_target_msg_seq_num += 1
        events.append(App(decoded[0], sending_ns, decoded[2], False, msg_type))
        return True

    def _comp_ids_within(self, text: str) -> bool:
        """Tell whether the right CompIDs stand somewhere in a frame whose header has another order."""
        return any(f"\x0149={peer}\x01" in text for peer in self._peer_ids) and any(
            f"\x0156={own}\x01" in text for own in self._own_ids
        )

    def _keep_waiting(self, frames: list[bytes], now: Now, events: list[Event]) -> None:
        """Keep what came behind a Logon that its owner has not decided."""
        raise NotImplementedError

    def _on_message(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        if self.state in _IN_SESSION:
            sound = self._header_sound(message, now, events)
            if sound:
                self._by_number(message, now, events)
                self._update_fast()
        elif self.state is not SessionState.LOGOUT_RECEIVED:  # after its Logout the peer has nothing to say
            self._on_opening(message, now, events)

    def _on_opening(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Take the first message of a connection."""
        raise NotImplementedError

    # ---- header checks, before the number decides anything

    def _header_sound(self, message: FixMessage, now: Now, events: list[Event]) -> bool:
        """Check BeginString, MsgSeqNum, CompIDs and SendingTime's accuracy; a fault ends the session."""
        if message.begin_string != BEGIN_STRING:
            self._fail(f"BeginString(8) {message.begin_string[:20]} is not {BEGIN_STRING}", now, events)
            return False
        if message.seq < 0:
            what = "missing" if message.get(34) is None else "is not a number"
            self._fail(f"MsgSeqNum(34) {what}", now, events)
            return False
        if message.get(49) not in self._peer_ids or message.get(56) not in self._own_ids:
            tag, name = (
                (49, "SenderCompID") if message.get(49) not in self._peer_ids else (56, "TargetCompID")
            )
            text = f"{name}({tag}) {(message.get(tag) or '')[:50]!r} is not of this session"
            self._refuse_and_fail(message, RejectReason.COMP_ID_PROBLEM, tag, text, now, events)
            return False
        sending_ns = self._sending_ns(message)
        if sending_ns is None:
            return True  # missing or malformed: refused when its number is due
        skew = sending_ns - now.wall_ns
        if abs(skew) > self._tolerance_ns:
            text = f"SendingTime(52) is {abs(skew) // 1_000_000} ms off"
            self._refuse_and_fail(message, RejectReason.SENDING_TIME_ACCURACY, 52, text, now, events)
            return False
        if now.mono_ns >= self._skew_due_ns:
            self._skew_due_ns = now.mono_ns + self.settings.skew_every_ns
            events.append(Skew(skew))
        return True

    def _sending_ns(self, message: FixMessage) -> int | None:
        try:
            return self._times.parse(message.sending_time)
        except ValueError:
            return None

    @staticmethod
    def _sending_time_fault(message: FixMessage) -> tuple[RejectReason, str]:
        """Name what is wrong with a SendingTime that gave no time (2.15)."""
        if message.get(52) is None:
            return RejectReason.REQUIRED_TAG_MISSING, "SendingTime(52) is missing"
        return RejectReason.INCORRECT_FORMAT, "SendingTime(52) is no timestamp"

    # ---- the number decides

    def _by_number(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        msg_type = message.msg_type
        if msg_type == MsgType.SEQUENCE_RESET and message.get(123) != "Y":
            self._sequence_reset(message, now, events)
        elif msg_type == MsgType.LOGON and self._asks_for_reset(message):
            self._reset_logon(message, now, events)
        elif message.seq > self.next_target_msg_seq_num:
            self._too_high(message, now, events)
        elif message.seq < self.next_target_msg_seq_num:
            self._too_low(message, now, events)
        else:
            self._in_order(message, now, events)
            if self.next_target_msg_seq_num > message.seq:
                self._drain(now, events)

    def _asks_for_reset(self, message: FixMessage) -> bool:
        # while we leave, a Logon is the late answer to ours
        return self.state is SessionState.LOGGED_ON and message.get(141) == "Y" and not message.poss_dup

    def _too_high(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """A gap: ask for it (scenario 2.2), or end a session that can't (2.3)."""
        expected = self.next_target_msg_seq_num
        if not self.settings.retransmission:
            events.append(GapDetected(expected, message.seq))
            if message.msg_type == MsgType.LOGOUT:
                events.append(self._logged_out(message))
            self._fail(f"MsgSeqNum(34) too high, expected {expected}, received {message.seq}", now, events)
        elif message.msg_type == MsgType.RESEND_REQUEST:
            # answered at once, then our own request: else two sides with gaps wait for each other (8.5)
            if not self._inbound.holds(message.seq):
                self._inbound.hold(message.seq, None)
                self._resend_request(message, now, events)
            self._ask_for_gap(message.seq, now, events)
        elif message.msg_type == MsgType.REJECT and self._inbound.requested_until:
            # it may refuse our request: to take it in its turn would be to wait for what does not come (8.4)
            if not self._inbound.holds(message.seq):
                self._inbound.hold(message.seq, None)
                events.append(admin.peer_reject(message))
        else:
            self._inbound.hold(message.seq, message)
            self._ask_for_gap(message.seq, now, events)

    def _ask_for_gap(self, received: int, now: Now, events: list[Event]) -> None:
        """Request what is missing, once for a gap."""
        if self._inbound.in_order or self.state not in _IN_SESSION:
            return
        end = self._inbound.gap_end()
        if end == self._inbound.requested_until:
            return
        events.append(GapDetected(self.next_target_msg_seq_num, received))
        self._request(end, now)

    def _request(self, end: int, now: Now) -> None:
        self._inbound.requested(end, now.mono_ns)
        self._write(MsgType.RESEND_REQUEST, admin.resend_request(self.next_target_msg_seq_num, end), now)

    def _too_low(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Ignore what was seen already; a number used again without PossDup ends the session (2.4, 2.5)."""
        if message.poss_dup:
            self._poss_dup_sound(message, now, events)
            return
        if message.msg_type == MsgType.LOGOUT:
            events.append(self._logged_out(message))
        expected = self.next_target_msg_seq_num
        self._fail(f"MsgSeqNum(34) too low, expected {expected}, received {message.seq}", now, events)

    def _poss_dup_sound(self, message: FixMessage, now: Now, events: list[Event]) -> bool:
        """Check OrigSendingTime(122) of a resent message (2.6, 2.7). Gap fills go without one in practice."""
        if message.msg_type == MsgType.SEQUENCE_RESET:
            return True
        original = message.get(122)
        if original is None:
            text = "OrigSendingTime(122) is missing"
            self._refuse(message, RejectReason.REQUIRED_TAG_MISSING, 122, text, now, events)
            return False
        try:
            original_ns = self._times.parse(original)
        except ValueError:
            text = "OrigSendingTime(122) is no timestamp"
            self._refuse(message, RejectReason.INCORRECT_FORMAT, 122, text, now, events)
            return False
        sending_ns = self._sending_ns(message)
        if sending_ns is not None and original_ns > sending_ns:
            text = "OrigSendingTime(122) is later than SendingTime(52)"
            self._refuse_and_fail(message, RejectReason.SENDING_TIME_ACCURACY, 122, text, now, events)
            return False
        return True

    def _in_order(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Process the message whose number is due; it consumes the number whatever its content."""
        if message.msg_type == MsgType.SEQUENCE_RESET and message.get(123) == "Y":
            self._gap_fill(message, now, events)
            return
        self.next_target_msg_seq_num += 1
        if message.poss_dup and not self._poss_dup_sound(message, now, events):
            return
        sending_ns = self._sending_ns(message)
        if sending_ns is None:
            reason, what = self._sending_time_fault(message)
            self._refuse(message, reason, 52, what, now, events)
            return
        if self._content_sound(message, now, events):
            self._dispatch(message, sending_ns, now, events)

    def _dispatch(self, message: FixMessage, sending_ns: int, now: Now, events: list[Event]) -> None:
        match message.msg_type:
            case MsgType.HEARTBEAT:
                pass  # any message counts as alive; a TestReqID nobody asked for is ignored (4.5)
            case MsgType.TEST_REQUEST:
                self._on_test_request(message, now, events)
            case MsgType.RESEND_REQUEST:
                self._resend_request(message, now, events)
            case MsgType.REJECT:
                events.append(admin.peer_reject(message))
            case MsgType.LOGOUT:
                self._on_logout(message, now, events)
            case MsgType.LOGON:
                events.append(Warn("a second Logon inside the session was ignored"))
            case _:
                events.append(App(message.seq, sending_ns, message, message.poss_dup, message.msg_type))

    def _content_sound(self, message: FixMessage, now: Now, events: list[Event]) -> bool:
        if self._dictionary is None or message.msg_type == MsgType.REJECT:  # no Reject of a Reject (7.2)
            return True
        if message.msg_type == MsgType.RESEND_REQUEST and not self.settings.retransmission:
            return True  # refused by its handler
        fault = validate(message, self._dictionary, self.settings.strict)
        if fault is None:
            return True
        if isinstance(fault, BusinessReject):
            body = admin.business_reject(message.seq, message.msg_type, fault.reason, fault.text)
            self._write_app(MsgType.BUSINESS_MESSAGE_REJECT, body, now)
            events.append(Refused(message, fault.reason, fault.ref_tag, fault.text, business=True))
        else:
            self._refuse(message, fault.reason, fault.ref_tag, fault.text, now, events)
        return False

    def _drain(self, now: Now, events: list[Event]) -> None:
        """After progress: process what was held and is now due, then ask for the next gap, if any."""
        if self._inbound.in_order:
            return
        while self.state in _IN_SESSION and self._inbound.holds(self.next_target_msg_seq_num):
            message = self._inbound.take(self.next_target_msg_seq_num)
            if message is None:
                self.next_target_msg_seq_num += 1
            else:
                self._in_order(message, now, events)
        self._inbound.progress(now.mono_ns)
        if not self._inbound.in_order:
            self._ask_for_gap(self._inbound.gap_end() + 1, now, events)

    # ---- session messages

    def _gap_fill(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Take SequenceReset-GapFill whose number is due (9.1, 9.3)."""
        try:
            new = admin.number(message, 36, "NewSeqNo")
            if new <= message.seq:
                text = f"NewSeqNo(36) {new} is not above MsgSeqNum(34) {message.seq}"
                raise RemoteProtocolError(text, RejectReason.VALUE_INCORRECT, 36)
        except RemoteProtocolError as error:
            self._refuse(message, error.reason, error.ref_tag, error.text, now, events)
            return
        # what came early and is now said to be a session message did come: it is processed, not skipped
        for seq in self._inbound.below(new):
            held = self._inbound.take(seq)
            if held is not None and held.msg_type != MsgType.SEQUENCE_RESET and self.state in _IN_SESSION:
                self.next_target_msg_seq_num = seq
                self._in_order(held, now, events)
        self.next_target_msg_seq_num = max(self.next_target_msg_seq_num, new)

    def _sequence_reset(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Take SequenceReset-Reset: its own number means nothing (9.4)."""
        expected = self.next_target_msg_seq_num
        try:
            new = admin.number(message, 36, "NewSeqNo")
            if new < expected:
                text = f"NewSeqNo(36) {new} is below the expected {expected}"
                raise RemoteProtocolError(text, RejectReason.VALUE_INCORRECT, 36)
        except RemoteProtocolError as error:
            self._refuse(message, error.reason, error.ref_tag, error.text, now, events)
            return
        if new > expected:
            if not self.settings.retransmission:  # what was skipped can only come another way
                events.append(GapDetected(expected, new))
                self._fail(f"SequenceReset from {expected} to {new}", now, events)
                return
            events.append(Renumbered(f"the peer reset its numbers from {expected} to {new}", lost=True))
        for seq in self._inbound.below(new):
            self._inbound.take(seq)
        self.next_target_msg_seq_num = new
        self._drain(now, events)

    def _reset_logon(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Take a Logon with 141=Y inside the session: both sides begin at 1 again (1.7, 9.5)."""
        if message.seq != 1:
            self._fail("MsgSeqNum(34) must be 1 with ResetSeqNumFlag(141)=Y", now, events)
            return
        answered = self._reset_sent
        self._reset_sent = False
        if answered:
            self._inbound.clear()
        else:
            self._renumber()
            body = self._reset_answer(fix_time(now.wall_ns))
            self._write(MsgType.LOGON, body, now)
        self.next_target_msg_seq_num = 2
        events.append(Renumbered("both sides' numbers were reset to 1 inside the session", lost=False))

    def _reset_answer(self, sending_time: str) -> str:
        """Return the body of the Logon that answers a reset."""
        raise NotImplementedError

    def _on_test_request(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        try:
            test_req_id = admin.required(message, 112, "TestReqID")
        except RemoteProtocolError as error:
            self._refuse(message, error.reason, error.ref_tag, error.text, now, events)
            return
        if self.state is SessionState.LOGGED_ON:  # after our Logout only resends are sent
            self._write(MsgType.HEARTBEAT, admin.heartbeat(test_req_id), now)

    def _on_logout(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Answer and wait for the peer to close, or finish what we began (6.1, 6.2)."""
        events.append(self._logged_out(message))
        if self.state is SessionState.LOGOUT_SENT:
            self._close("logged out", now, events)
        else:
            self._write(MsgType.LOGOUT, "", now)
            self._move(Input.RECEIVE_LOGOUT, now)

    def _logged_out(self, message: FixMessage) -> LoggedOut:
        return LoggedOut(message.get(58) or "", by_peer=self.state is not SessionState.LOGOUT_SENT)

    def _resend_request(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Check a ResendRequest and answer it (8.1 to 8.4, 8.7)."""
        try:
            begin, end, is_open = self._resend_range(message)
        except RemoteProtocolError as error:
            self._refuse(message, error.reason, error.ref_tag, error.text, now, events)
            return
        self._resend(begin, end, message.seq, now)
        sure_end = min(end, max(begin, self._first_of_connection - 1)) if is_open else end
        events.append(ResendAsked(begin, end, sure_end))

    # ---- refusing and ending

    def _refuse(
        self, message: FixMessage, reason: int, ref_tag: int | None, text: str, now: Now, events: list[Event]
    ) -> None:
        """Send a Reject and tell the owner; a Reject is never refused."""
        if message.msg_type != MsgType.REJECT:
            ref_seq = max(message.seq, 0)
            self._write(
                MsgType.REJECT, admin.reject(ref_seq, message.msg_type, int(reason), ref_tag, text), now
            )
        events.append(Refused(message, int(reason), ref_tag, text))

    def _refuse_and_fail(
        self, message: FixMessage, reason: int, ref_tag: int | None, text: str, now: Now, events: list[Event]
    ) -> None:
        if message.seq == self.next_target_msg_seq_num:
            self.next_target_msg_seq_num += 1
        self._refuse(message, reason, ref_tag, text, now, events)
        self._fail(text, now, events)

    def _fail(self, text: str, now: Now, events: list[Event]) -> None:
        """End the session over a fault: a Logout that names it, then close without waiting."""
        if self.state is SessionState.CLOSED:
            return
        if self.state in {SessionState.LOGGED_ON, SessionState.LOGON_SENT, SessionState.LOGON_RECEIVED}:
            self._write(MsgType.LOGOUT, admin.logout(text), now)
        self._close(text, now, events)

    def _close(self, reason: str, now: Now, events: list[Event]) -> None:
        self._move(Input.CLOSE, now)
        events.append(Close(reason))

    # ---- time

    @property
    def deadline(self) -> int | None:
        """mono_ns at which `on_deadline` is wanted, or None."""
        state = self.state
        if state is SessionState.LOGGED_ON:
            deadline = self._liveness.deadline
            if not self._inbound.in_order:
                resend_at = self._inbound.requested_ns + self.settings.resend_timeout_ns
                deadline = resend_at if deadline is None else min(deadline, resend_at)
            return deadline
        if state is SessionState.DISCONNECTED or state is SessionState.CLOSED:
            return None
        return self._since_ns + self._patience_ns()

    def _patience_ns(self) -> int:
        leaving = self.state is SessionState.LOGOUT_SENT or self.state is SessionState.LOGOUT_RECEIVED
        return self.settings.logout_timeout_ns if leaving else self.settings.logon_timeout_ns

    def on_deadline(self, now: Now) -> list[Event]:
        """Do what is due: heartbeat, test request, resend again, or give up."""
        events: list[Event] = []
        if self.state is SessionState.LOGGED_ON:
            self._keep_alive(now, events)
            return events
        deadline = self.deadline
        if deadline is None or now.mono_ns < deadline:
            return events
        self._close(_TIMED_OUT[self.state], now, events)
        return events

    def _keep_alive(self, now: Now, events: list[Event]) -> None:
        mono_ns = now.mono_ns
        if self._liveness.silence_due(mono_ns):
            if self._liveness.test_pending:
                self._close("nothing came in answer to a TestRequest", now, events)
                return
            self._tests += 1
            self._liveness.tested(mono_ns)
            self._write(MsgType.TEST_REQUEST, admin.test_request(f"TEST-{self._tests}"), now)
        if self._liveness.heartbeat_due(mono_ns):
            self._write(MsgType.HEARTBEAT, admin.heartbeat(), now)
        inbound = self._inbound
        if not inbound.in_order and mono_ns >= inbound.requested_ns + self.settings.resend_timeout_ns:
            if inbound.attempts >= self.settings.resend_attempts_max:
                text = f"MsgSeqNum(34) {self.next_target_msg_seq_num} to {inbound.gap_end()} were not resent"
                self._fail(text, now, events)
            else:
                self._request(inbound.gap_end(), now)


_TIMED_OUT: Final = {
    SessionState.LOGON_AWAITED: "no Logon came",
    SessionState.LOGON_RECEIVED: "the Logon was not decided in time",
    SessionState.LOGON_SENT: "the Logon was not answered",
    SessionState.LOGOUT_SENT: "the Logout was not answered",
    SessionState.LOGOUT_RECEIVED: "the peer did not close after its Logout",
}
