"""The side that connects: sends the Logon and takes the answer (session scenarios 1.1, 1.3, 1.8 to 1.10)."""

from collections.abc import Callable, Mapping
from typing import Final

from engine.common.clock import Now, fix_time
from engine.fix import admin
from engine.fix.dictionary import Dictionary, validate
from engine.fix.errors import LocalProtocolError
from engine.fix.events import Event, GapDetected, LoggedOn, LoggedOut, Renumbered, Warn
from engine.fix.message import FixMessage
from engine.fix.msg_types import MsgType
from engine.fix.session import HotDecoder, Session, SessionSettings, SessionState
from engine.fix.state import Input

LogonBody = Callable[[str, int], str]

_RESET: Final = "\x01141=Y\x01"


class Initiator(Session):
    """A client session.

    Own application messages are never sent again: a request for them is answered by a gap fill, and `ResendAsked` names
    the numbers, so that the owner knows which requests the peer had not taken.

    Args:
        logon_body: gives the Logon's body for (SendingTime, MsgSeqNum), SOH-terminated, signature and 141=Y included
            where they belong; what it signs is what stands in the header.
    """

    def __init__(
        self,
        settings: SessionSettings,
        dictionary: Dictionary | None = None,
        hot: Mapping[str, HotDecoder] | None = None,
        *,
        logon_body: LogonBody,
    ) -> None:
        super().__init__(settings, dictionary, hot)
        self._logon_body = logon_body
        self._asked_reset = False  # our Logon said 141=Y

    def connected(self, now: Now) -> None:
        """Send the Logon: number 1 after a reset, else the stored next number."""
        self._begin(now)
        self._move(Input.SEND_LOGON, now)
        body = self._logon_body(fix_time(now.wall_ns), self.next_sender_msg_seq_num)
        self._asked_reset = _RESET in f"\x01{body}"
        self._write(MsgType.LOGON, body, now)

    def reset(self, now: Now) -> None:
        """Reset both sides' numbers to 1 inside the session, by a Logon with 141=Y (scenario 1.7).

        Raises:
            LocalProtocolError: not logged on.
        """
        if self.state is not SessionState.LOGGED_ON:
            raise LocalProtocolError(f"numbers can't be reset while {self.state.value!r}")
        self.next_sender_msg_seq_num = 1
        self._window.clear()
        self._write(MsgType.LOGON, self._with_reset(self._logon_body(fix_time(now.wall_ns), 1)), now)
        self._reset_sent = True

    def _reset_answer(self, sending_time: str) -> str:
        return self._with_reset(self._logon_body(sending_time, 1))

    @staticmethod
    def _with_reset(body: str) -> str:
        return body if _RESET in f"\x01{body}" else f"{body}141=Y\x01"

    def _on_opening(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Take what answers the Logon."""
        if message.msg_type == MsgType.LOGOUT:  # refused: whatever its number
            text = message.get(58) or ""
            events.append(LoggedOut(text, by_peer=True, refused=True))
            self._close(f"the Logon was refused: {text}", now, events)
        elif message.msg_type == MsgType.REJECT:  # the Logout that follows ends it
            events.append(admin.peer_reject(message))
        elif message.msg_type != MsgType.LOGON:
            self._close(f"the Logon was answered by 35={message.msg_type[:10]}", now, events)
        elif self._header_sound(message, now, events):
            self._on_logon(message, now, events)

    def _on_logon(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        if self._sending_ns(message) is None:
            reason, what = self._sending_time_fault(message)
            self._refuse_and_fail(message, reason, 52, what, now, events)
            return
        if message.get(141) == "Y":
            if not self._asked_reset:
                # the peer lost its numbers and counts our Logon as 1; what it missed must come another way (12.3)
                events.append(Renumbered("the peer reset both sides' numbers in its Logon", lost=True))
                self._renumber()
                self.next_sender_msg_seq_num = 2
            self.next_target_msg_seq_num = 1
        expected = self.next_target_msg_seq_num
        if message.seq < expected:
            self._fail(f"MsgSeqNum(34) too low, expected {expected}, received {message.seq}", now, events)
            return
        if message.seq > expected and not self.settings.retransmission:
            events.append(GapDetected(expected, message.seq))
            self._fail(f"MsgSeqNum(34) too high, expected {expected}, received {message.seq}", now, events)
            return
        self._warn_of_odd_logon(message, events)
        self._liveness.begin(self.settings.heart_bt_int_s, now.mono_ns)
        self._move(Input.ACCEPT, now)
        events.append(LoggedOn(message))
        if message.seq == expected:
            self.next_target_msg_seq_num += 1
        else:
            self._inbound.hold(message.seq, None)
            self._ask_for_gap(message.seq, now, events)
        self._update_fast()

    def _warn_of_odd_logon(self, message: FixMessage, events: list[Event]) -> None:
        heart_bt_int = message.get(108)
        if heart_bt_int != str(self.settings.heart_bt_int_s):
            events.append(
                Warn(f"the peer answered HeartBtInt(108) {self.settings.heart_bt_int_s} with {heart_bt_int}")
            )
        fault = validate(message, self._dictionary, False) if self._dictionary is not None else None
        if fault is not None:
            events.append(Warn(f"the peer's Logon: {fault.text}"))
