"""The side that is connected to: the first message must be a Logon, and the owner decides about it.

    LogonReceived -> owner: bind(settings) and restore(snapshot) as needed, then accept(...) or refuse(...)

What came in the same bytes behind the Logon waits for that decision (session scenarios 1.2, 1.4, 1.5, 1.9 to 1.11).
"""

from collections.abc import Callable

import msgspec

from engine.common.clock import Now
from engine.fix import admin
from engine.fix.dictionary import BusinessReject, validate
from engine.fix.encoder import BEGIN_STRING
from engine.fix.enums import RejectReason
from engine.fix.errors import LocalProtocolError
from engine.fix.events import Event, GapDetected, LoggedOn, LogonReceived
from engine.fix.message import FixMessage
from engine.fix.msg_types import MsgType
from engine.fix.session import Session, SessionSettings, SessionState
from engine.fix.state import Input

_DEFAULT_BODY = "1137=9\x01"


class Acceptor(Session):
    """A server session.

    With `settings.retransmission` it keeps what it sends and resends it when asked, with 43=Y and 122.
    """

    vet: Callable[[FixMessage, Now], str] | None = None
    """The owner's judgement of a Logon that asks for a reset inside the session: why not, or empty."""
    _keeps_sent = True
    _logon: FixMessage | None = None
    _waiting: list[bytes]
    _heart_bt_int_s = 0

    def connected(self, now: Now) -> None:
        """Wait for a Logon."""
        self._begin(now)
        self._logon = None
        self._waiting = []
        self._move(Input.CONNECT_AND_WAIT, now)

    def bind(self, settings: SessionSettings) -> None:
        """Take the settings of the session that the Logon asked for; before `accept` or `refuse`.

        Raises:
            LocalProtocolError: no Logon waits for a decision.
        """
        self._demand_logon()
        framer, said = self._framer, self._garbled_said
        kept = self.snapshot()
        self._apply(settings)
        self._framer, self._garbled_said = framer, said  # the connection goes on
        self.restore(kept)

    def accept(self, now: Now, body: str = "", heart_bt_int_s: int | None = None) -> list[Event]:
        """Answer the Logon with a Logon and process what waited behind it.

        Args:
            body: fields after EncryptMethod, HeartBtInt and ResetSeqNumFlag (default 1137=9); when it begins with 98=
                it is the whole body.
            heart_bt_int_s: HeartBtInt(108); default the Logon's own.

        Returns:
            LoggedOn and what followed; or Close when the Logon's number is impossible.

        Raises:
            LocalProtocolError: no Logon waits for a decision.
        """
        logon = self._demand_logon()
        events: list[Event] = []
        is_reset = logon.get(141) == "Y"
        if is_reset:
            self._renumber()
        expected = self.next_target_msg_seq_num
        if logon.seq < expected:
            self._fail(f"MsgSeqNum(34) too low, expected {expected}, received {logon.seq}", now, events)
            return events
        if logon.seq > expected and (is_reset or not self.settings.retransmission):
            events.append(GapDetected(expected, logon.seq))
            self._fail(f"MsgSeqNum(34) too high, expected {expected}, received {logon.seq}", now, events)
            return events
        asked = admin.optional_int(logon.get(108))
        self._heart_bt_int_s = (
            heart_bt_int_s if heart_bt_int_s is not None else asked or self.settings.heart_bt_int_s
        )
        self._write(MsgType.LOGON, self._logon_answer(body, is_reset), now)
        self._liveness.begin(self._heart_bt_int_s, now.mono_ns)
        self._move(Input.ACCEPT, now)
        events.append(LoggedOn(logon))
        if logon.seq == expected:
            self.next_target_msg_seq_num += 1
        else:
            self._inbound.hold(logon.seq, None)
            self._ask_for_gap(logon.seq, now, events)
        self._update_fast()
        waiting, self._waiting = self._waiting, []
        self._take(waiting, now, events)
        return events

    def refuse(
        self, text: str, now: Now, reason: int | None = None, ref_tag: int | None = None
    ) -> list[Event]:
        """Refuse the Logon: a Reject when a reason (373) is given, then a Logout with the text, then close.

        Raises:
            LocalProtocolError: no Logon waits for a decision.
        """
        logon = self._demand_logon()
        events: list[Event] = []
        if reason is not None:
            self.send_reject(max(logon.seq, 0), logon.msg_type, reason, ref_tag, text, now)
        self._fail(text, now, events)
        return events

    def _demand_logon(self) -> FixMessage:
        if self.state is not SessionState.LOGON_RECEIVED or self._logon is None:
            raise LocalProtocolError(f"no Logon waits for a decision while {self.state.value!r}")
        return self._logon

    def _logon_answer(self, body: str, is_reset: bool) -> str:
        if body.startswith("98="):
            return body
        flag = "141=Y\x01" if is_reset else ""
        return f"98=0\x01108={self._heart_bt_int_s}\x01{flag}{body or _DEFAULT_BODY}"

    def _reset_answer(self, sending_time: str) -> str:  # noqa: ARG002 - only a client signs its answer
        return self._logon_answer("", is_reset=True)

    def _keep_waiting(self, frames: list[bytes], now: Now, events: list[Event]) -> None:
        self._waiting.extend(frames)
        if len(self._waiting) > self.settings.held_max:
            self._fail("too much came before the Logon was decided", now, events)

    def _on_opening(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Take the first message: anything but a Logon is not even answered (1.4)."""
        if message.msg_type != MsgType.LOGON:
            self._close(f"the first message was 35={message.msg_type[:10]}, not a Logon", now, events)
            return
        self._logon = message
        self._move(Input.RECEIVE_LOGON, now)
        self._adopt_comp_ids(message)
        if message.begin_string != BEGIN_STRING:
            self._fail(f"BeginString(8) {message.begin_string[:20]} is not {BEGIN_STRING}", now, events)
            return
        if not self._header_sound(message, now, events):
            return
        if self._sending_ns(message) is None:
            reason, what = self._sending_time_fault(message)
            self._refuse_and_fail(message, reason, 52, what, now, events)
            return
        if self._logon_content_sound(message, now, events):
            events.append(LogonReceived(message))

    def _logon_content_sound(self, message: FixMessage, now: Now, events: list[Event]) -> bool:
        fault = (
            validate(message, self._dictionary, self.settings.strict)
            if self._dictionary is not None
            else None
        )
        if fault is None:
            return True
        code = RejectReason.REQUIRED_TAG_MISSING if isinstance(fault, BusinessReject) else fault.reason
        self._refuse_and_fail(message, code, fault.ref_tag, fault.text, now, events)
        return False

    def _reset_logon(self, message: FixMessage, now: Now, events: list[Event]) -> None:
        """Begin again inside the session (1.7), if this Logon is as good as the first one (1.5)."""
        if not self._logon_content_sound(message, now, events):
            return
        refusal = self.vet(message, now) if self.vet is not None else ""
        if refusal:
            self._fail(refusal, now, events)
        else:
            super()._reset_logon(message, now, events)

    def _adopt_comp_ids(self, message: FixMessage) -> None:
        """Answer to whoever the Logon says it is, where the settings leave that open."""
        settings = self.settings
        changes: dict[str, str] = {}
        if not settings.sender_comp_id:
            changes["sender_comp_id"] = message.get(56) or ""
        if not settings.target_comp_id:
            changes["target_comp_id"] = message.get(49) or ""
        if changes:
            self.bind(msgspec.structs.replace(settings, **changes))
