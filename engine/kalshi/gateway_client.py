"""One FIX session of ours with one of the venue's gateways, over one link: log on, stay, come back.

The client does what every owner would have to: it opens and closes the link, signs the Logon, waits and comes back,
keeps the session's clock skew, and gives up for good where coming back can't help. Every event of the session is
handed on to the owner afterwards. Rules that hold here:

* The link goes IDLE -> CONNECTING -> UP -> CLOSING -> IDLE and only its events move it on; a connect or a close that
  is never answered is given up after a time.
* KalshiNR, KalshiDC and KalshiMD number from 1 with every Logon (141=Y): a gap ends the session, and what was missed
  comes another way. KalshiRT numbers from 1 in the first Logon of a process without a stored session, then goes on;
  when its numbers can't be continued it resets once, and says so loudly.
* A refused signature or CompID is never tried again: each try would cost tokens and none could help.
* Logons are limited by `reconnect`; `already exists` is waited out.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from engine.common.actor import LinkEvent, Outbox
from engine.common.clock import MS, SECOND, Now
from engine.config import SessionConfig
from engine.fix.config import SessionSettings
from engine.fix.events import (
    App,
    Close,
    Event,
    GapDetected,
    LoggedOn,
    LoggedOut,
    PeerReject,
    Refused,
    Renumbered,
    Skew,
    Warn,
)
from engine.fix.initiator import Initiator
from engine.fix.msg_types import MsgType
from engine.fix.session import HotDecoder, SessionState
from engine.fix.snapshot import SessionSnapshot
from engine.kalshi import codec
from engine.kalshi.dictionary import CLIENT_DICTIONARY
from engine.kalshi.messages import Logon
from engine.kalshi.reconnect import ReconnectPolicy
from engine.kalshi.signature import string_to_sign
from engine.kalshi.tags import VenueTag
from engine.kalshi.texts import ALREADY_EXISTS

PEER_NAME: Final = "Kalshi"  # what 49 may hold besides the session's name [?]
CLOSE_GRACE_NS: Final = 5 * SECOND
SKEW_WARN_NS: Final = SECOND
SKEW_WINDOW_NS: Final = 5 * SECOND
_RT: Final = "KalshiRT"
_ORDER_ENTRY: Final = frozenset({"KalshiNR", _RT})
_SIGNATURE_PROBLEM, _COMP_ID_PROBLEM = 8, 9  # SessionRejectReason(373)
_TAG_PROBLEMS: Final = frozenset({0, 2, 3})
# Texts of refused Logons that the same Logon would meet again; the venue documents none, so by their words.
_SIGNATURE_ADVICE: Final = "check that key_file is the private key of key_id"
_COMP_ID_ADVICE: Final = "check target_comp_id, port and key_id"
_KEY_ADVICE: Final = "check that key_id is a margin FIX key that may use this session"
_HOPELESS: Final = (
    ("signature", _SIGNATURE_ADVICE),
    ("compid", _COMP_ID_ADVICE),
    ("api key", _KEY_ADVICE),
    ("unknown key", _KEY_ADVICE),
    ("invalid key", _KEY_ADVICE),
    ("unauthori", _KEY_ADVICE),
    ("not authori", _KEY_ADVICE),
    ("permission", _KEY_ADVICE),
)
_TOO_LOW: Final = "MsgSeqNum(34) too low"


class _LinkState(Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    UP = "up"
    CLOSING = "closing"


class GatewayClient:
    """See the module.

    Attributes:
        state: in words, for status. skew_ns: the venue's clock minus ours, by the least late
            message of the last 5 s.
        failed: why it has given up for good, and what to check; empty while it has not.
        logons: Logons sent in this process; each cost tokens.
        began_anew: the numbers of the present session began at 1 with its Logon: nothing of before can be asked for.
        stopped: after `stop`: logged out, link closed.

    Args:
        link: the link's name. config: of the session. out: where effects go.
        sign: signs bytes, gives base64. rng: gives numbers in [0, 1).
        hot: MsgType to hot decoder. listener: log on as a listener session (20126=Y).
    """

    def __init__(
        self,
        link: str,
        config: SessionConfig,
        out: Outbox,
        sign: Callable[[bytes], str],
        rng: Callable[[], float],
        hot: Mapping[str, HotDecoder] | None = None,
        listener: bool = False,
    ) -> None:
        self._link = link
        self._config = config
        self._out = out
        self._sign = sign
        self._listener = listener
        self._retransmits = config.target_comp_id == _RT
        self._policy = ReconnectPolicy(rng)
        self._link_state = _LinkState.IDLE
        self._due: int | None = None  # of the link: the next attempt, or giving up a connect or close
        self._stopping = False
        self._reset_next = self._retransmits  # the next Logon of KalshiRT carries 141=Y
        self._logging_on = False  # a Logon is out and nothing but Rejects has answered it
        self._refused = ""  # Text of the Logout that refused the Logon
        self._exists = 0  # refusals `already exists` in a row
        self._peer_name = ""
        self._reason = ""  # why the link is being closed
        self._said = ""  # last reason of a connection that did not come about
        self._lost_numbers = ""  # why KalshiRT's numbers can't be gone on with, found inside the session
        self._stored_wall_ns = 0  # when the stored numbers were last used, until the venue is heard
        self._heard_ns = 0  # mono_ns when the venue was last heard in this process, or 0
        self._send_21026 = config.always_emit_new_before_trade
        self.state = "not started"
        self.skew_ns = 0
        self._skews: list[tuple[int, int]] = []  # (mono_ns, skew) of the last seconds
        self._is_off = False
        self.failed = ""
        self.logons = 0
        self.began_anew = True
        self.stopped = False
        self._session = Initiator(
            SessionSettings(
                sender_comp_id=config.key_id,
                target_comp_id=config.target_comp_id,
                peer_comp_ids=(config.target_comp_id, PEER_NAME),
                heart_bt_int_s=config.heart_bt_int_s,
                reset_on_logon=not self._retransmits,
                retransmission=self._retransmits,
                logon_timeout_ns=config.logon_timeout_ms * MS,
            ),
            CLIENT_DICTIONARY,
            hot,
            logon_body=self._logon_body,
        )

    # -- what owners call

    @property
    def logged_on(self) -> bool:
        """Application messages may be sent."""
        return self._session.state is SessionState.LOGGED_ON

    @property
    def deadline(self) -> int | None:
        """mono_ns at which `on_deadline` is wanted, or None."""
        session = self._session.deadline
        if self._due is None or (session is not None and session < self._due):
            return session
        return self._due

    def start(self, now: Now) -> None:
        """Connect; the rest comes by itself."""
        self._connect(now)

    def send(self, msg_type: str, body: str, now: Now, trigger_ns: int = 0) -> int:
        """Send an application message at once and return its MsgSeqNum(34).

        Raises:
            LocalProtocolError: not logged on.
        """
        seq = self._session.send(msg_type, body, now)
        self._out.write(self._link, self._session.data_to_send(), trigger_ns)
        return seq

    def on_bytes(self, data: bytes, now: Now) -> list[Event]:
        """Take bytes of the link; return what they mean."""
        return self._took(self._session.receive(data, now), now)

    def on_link(self, event: LinkEvent, reason: str, now: Now) -> list[Event]:
        """Take an event of the link."""
        if event is LinkEvent.CONNECTED:
            return self._on_connected(now)
        if event is LinkEvent.DISCONNECTED or event is LinkEvent.REFUSED:
            return self._on_gone(event, reason, now)
        return []

    def on_deadline(self, now: Now) -> list[Event]:
        """Do what is due: heartbeats and time-outs of the session, the next attempt, a link that doesn't answer."""
        events: list[Event] = []
        due = self._session.deadline
        if due is not None and now.mono_ns >= due:
            events = self._took(self._session.on_deadline(now), now)
        if self._due is not None and now.mono_ns >= self._due:
            self._due = None
            events += self._on_due(now)
        return events

    def reconnect(self, reason: str, now: Now) -> None:
        """Give up the present connection and come back."""
        if self._link_state is _LinkState.UP:
            self._session.logout(reason, now)
            self._flush()
            self._close(reason, now)

    def stop(self, now: Now) -> None:
        """Log out and don't come back; `stopped` says when that is done."""
        self._stopping = True
        if self._link_state is _LinkState.IDLE:
            self._end()
        elif self._link_state is _LinkState.CONNECTING:
            self._close("stopping", now)
        elif self._link_state is _LinkState.UP:
            self._session.logout("", now)
            self._flush()
            self.state = "logging out"

    def snapshot(self) -> SessionSnapshot:
        """Return the session's numbers, to continue KalshiRT in another process."""
        return self._session.snapshot()

    def restore(self, snapshot: SessionSnapshot, alive_wall_ns: int = 0) -> None:
        """Continue KalshiRT from stored numbers, last used at `alive_wall_ns`; before `start`."""
        assert self._retransmits, "only KalshiRT continues its numbers"
        self._session.restore(snapshot)
        self._stored_wall_ns = alive_wall_ns
        self._reset_next = False

    @property
    def numbers(self) -> tuple[int, int, bool]:
        """The next numbers, ours and the venue's, and whether the next Logon would go on with them."""
        session = self._session
        return session.next_sender_msg_seq_num, session.next_target_msg_seq_num, not self._reset_next

    @property
    def caught_up(self) -> bool:
        """Logged on, and nothing that the venue sent is missing, as far as is known."""
        return self.logged_on and self._session.in_order

    # -- the link

    def _connect(self, now: Now) -> None:
        self._link_state = _LinkState.CONNECTING
        self._due = now.mono_ns + self._config.logon_timeout_ms * MS
        self.state = "connecting"
        self._out.connect(self._link)

    def _on_connected(self, now: Now) -> list[Event]:
        if self._link_state is not _LinkState.CONNECTING:
            self._out.close(self._link, "not wanted any more")
            return []
        self._link_state = _LinkState.UP
        self._due = None
        self._refused = self._said = ""
        if self._retransmits:
            self._check_retention(now)
            if self._reset_next:
                self._session.restore(SessionSnapshot())
        self.state = "logging on"
        self._logging_on = True
        self.logons += 1
        self._policy.logon_sent(now.mono_ns)
        self._session.connected(now)
        self._flush()
        return []

    def _check_retention(self, now: Now) -> None:
        # Of so long ago the venue keeps nothing: a ResendRequest could only be rejected. A wall clock that leaps is no absence.
        if self._heard_ns:
            away_ns = now.mono_ns - self._heard_ns
        else:
            away_ns = now.wall_ns - self._stored_wall_ns if self._stored_wall_ns else 0
        if away_ns > self._config.message_retention_h * 3600 * SECOND:
            self._reset_numbers(
                f"{away_ns / (3600 * SECOND):.1f} h without the venue, which keeps messages for {self._config.message_retention_h} h"
            )

    def _on_gone(self, event: LinkEvent, reason: str, now: Now) -> list[Event]:
        if self._link_state is _LinkState.IDLE:
            return []
        was_on = self.logged_on
        self._session.disconnected(now)
        why = self._refused or self._reason or reason or event.value
        self._reason = ""
        self._link_state = _LinkState.IDLE
        self._due = None
        if self._stopping:
            self._end()
        elif not self.failed:
            self._come_back(why, now, connected=event is not LinkEvent.REFUSED)
        self._refused = ""
        if was_on:
            return [Warn(f"connection lost: {why}")]
        if not self._stopping and event is LinkEvent.REFUSED and reason != self._said:
            self._said = reason
            return [Warn(f"no connection: {reason}")]
        return []

    def _come_back(self, why: str, now: Now, *, connected: bool = True) -> None:
        if ALREADY_EXISTS in self._refused.lower():
            self._exists += 1
            at = self._policy.wait(2 * self._config.heart_bt_int_s * SECOND, now.mono_ns)
            why = f"{why}: the venue holds our last connection until its heartbeat time-out"
            if self._exists == 2:
                text = f"{self._config.target_comp_id}: still `{ALREADY_EXISTS}`: does another instance use this API key?"
                self._out.log("alert", text)
        else:
            at = self._policy.lost(now.mono_ns) if connected else self._policy.refused(now.mono_ns)
        self._due = at
        self.state = f"waiting {(at - now.mono_ns) / SECOND:.3g} s: {why}"

    def _on_due(self, now: Now) -> list[Event]:
        match self._link_state:
            case _LinkState.IDLE:
                self._connect(now)
            case _LinkState.CONNECTING:
                self._close("the connection was not made in time", now)
            case _LinkState.CLOSING:
                return self._on_gone(LinkEvent.DISCONNECTED, "the link did not close", now)
            case _LinkState.UP:
                pass
        return []

    def _close(self, reason: str, now: Now) -> None:
        if self._link_state in {_LinkState.UP, _LinkState.CONNECTING}:
            self._link_state = _LinkState.CLOSING
            self._due = now.mono_ns + CLOSE_GRACE_NS
            self._reason = reason
            self.state = f"closing: {reason}"
            self._out.close(self._link, reason)

    def _end(self) -> None:
        self._due = None
        self.stopped = True
        self.state = f"failed: {self.failed}" if self.failed else "stopped"

    def _flush(self) -> None:
        data = self._session.data_to_send()
        if data:
            self._out.write(self._link, data)

    # -- the session's events

    def _took(self, events: list[Event], now: Now) -> list[Event]:
        """Do this side's part of each event, send what the session wants sent, hand the events on."""
        extra: list[Event] = []
        close: Close | None = None
        if events:
            self._heard_ns = now.mono_ns
        for event in events:
            if type(event) is App:
                continue
            if type(event) is Close:
                close = event
            else:
                self._on_event(event, extra, now)
        self._flush()
        if close is not None:
            self._on_close(close, now)
        elif self._lost_numbers:
            self._reset_numbers(self._lost_numbers)
            self.reconnect("numbers can't be continued", now)
        self._lost_numbers = ""
        return events + extra if extra else events

    def _on_event(self, event: Event, extra: list[Event], now: Now) -> None:
        match event:
            case Skew():
                self._on_skew(event.ns, now)
            case LoggedOn():
                self._on_logged_on(event, extra, now)
            case LoggedOut():
                if event.refused:
                    self._on_refused(event.text)
                else:
                    self.state = f"logged out: {event.text or 'no reason given'}"
                    self._reason = self.state
            case PeerReject():
                self._on_peer_reject(event, extra)
            case Refused():
                # the owner gets no App for it: what it said is lost, and that must not pass unseen
                text = f"refused message {event.message.seq} (35={event.message.msg_type}): {event.text}"
                self._out.log("alert", f"{self._config.target_comp_id}: {text}")
            case Renumbered():
                self._out.log("alert", f"{self._config.target_comp_id}: {event.text}")
            case GapDetected():
                text = f"sequence gap: expected {event.expected}, received {event.received}"
                self._out.log("warning", f"{self._config.target_comp_id}: {text}")
            case _:
                pass

    def _on_skew(self, ns: int, now: Now) -> None:
        # A message is only ever late: of what came lately, the one that was least late shows the clock best.
        self._skews = [(at, seen) for at, seen in self._skews if now.mono_ns - at < SKEW_WINDOW_NS]
        self._skews.append((now.mono_ns, ns))
        skew = self.skew_ns = max(seen for _, seen in self._skews)
        off = abs(skew) >= SKEW_WARN_NS
        if off is self._is_off:
            return
        self._is_off = off
        name = self._config.target_comp_id
        if off:
            side = "ahead of" if skew > 0 else "behind"
            text = f"the venue's clock is {abs(skew) // MS} ms {side} ours: check the time service here"
        else:
            text = "the venue's clock is within 1 s of ours again"
        self._out.log("warning", f"{name}: {text}")

    def _on_logged_on(self, event: LoggedOn, extra: list[Event], now: Now) -> None:
        self.state = "logged on"
        self._logging_on = False
        self._policy.logged_on(now.mono_ns)
        self._exists = 0
        self.began_anew = self._reset_next or not self._retransmits or event.logon.get(141) == "Y"
        self._reset_next = False
        name = event.logon.get(49) or ""
        if self._peer_name and name != self._peer_name:
            extra.append(Warn(f"SenderCompID(49) of the venue changed from {self._peer_name} to {name}"))
        self._peer_name = name

    def _on_refused(self, text: str) -> None:
        """Decide what a Logout in answer to the Logon means."""
        self._refused = text or "the Logon was refused without a reason"
        words = text.lower()
        if self._retransmits and ("seqnum" in words or "sequence" in words):
            self._reset_numbers(text)
            return
        for word, advice in _HOPELESS:
            if word in words:
                self._fail(f"{text}: {advice}")
                return

    def _on_peer_reject(self, event: PeerReject, extra: list[Event]) -> None:
        """Decide what a Reject in answer to the Logon means; others are the owner's business."""
        if not self._logging_on:
            if self._retransmits and event.ref_msg_type == MsgType.RESEND_REQUEST:
                self._lost_numbers = f"the ResendRequest was rejected: {event.text}"
            return
        if event.reason == _SIGNATURE_PROBLEM:
            self._fail(f"Logon rejected: {event.text}: {_SIGNATURE_ADVICE}")
        elif event.reason == _COMP_ID_PROBLEM:
            self._fail(f"Logon rejected: {event.text}: {_COMP_ID_ADVICE}")
        elif event.reason in _TAG_PROBLEMS and event.ref_tag == VenueTag.AlwaysEmitNewBeforeTrade:
            # documented for event contracts only [?]
            self._send_21026 = False
            extra.append(
                Warn("the venue does not take AlwaysEmitNewBeforeTrade(21026): left out from now on")
            )

    def _reset_numbers(self, why: str) -> None:
        if not self._reset_next:
            self._reset_next = True
            text = f"{self._config.target_comp_id}: numbers can't be continued ({why}): reset; what was missed must come by drop copy"
            self._out.log("alert", text)

    def _fail(self, text: str) -> None:
        if self.failed:
            return
        self.failed = text
        self.state = f"failed: {text}"
        self._out.log("alert", f"{self._config.target_comp_id}: not tried again: {text}")

    def _on_close(self, event: Close, now: Now) -> None:
        if self._retransmits and not self._refused and event.reason.startswith("MsgSeqNum(34)"):
            self._reset_numbers(event.reason)
        elif event.reason.startswith(_TOO_LOW):
            self._out.log("alert", f"{self._config.target_comp_id}: {event.reason}")
        failed = self.state if self.failed else ""
        self._close(self._reason or event.reason, now)
        self.state = failed or self.state

    # -- the Logon

    def _logon_body(self, sending_time: str, seq: int) -> str:
        """Return the Logon's body in the order of venue.md section 2, signed over its own SendingTime."""
        config = self._config
        message = string_to_sign(sending_time, "A", seq, config.key_id, config.target_comp_id)
        signature = self._sign(message)
        length = f"95={len(signature)}\x01" if config.send_raw_data_length else ""
        reset = "141=Y\x01" if self._reset_next or not self._retransmits else ""
        venue = self._logon_flags() if config.target_comp_id in _ORDER_ENTRY else ""
        return f"98=0\x01108={config.heart_bt_int_s}\x01{length}96={signature}\x01{reset}1137=9\x01{venue}"

    def _logon_flags(self) -> str:
        config = self._config
        return codec.logon_fields(
            Logon(
                cancel_orders_on_disconnect=None if self._listener else config.cancel_orders_on_disconnect,
                listener_session=True if self._listener else None,
                message_retention_period_h=config.message_retention_h if self._retransmits else None,
                use_dollars=True,
                enable_ioc_cancel_report=config.enable_ioc_cancel_report,
                preserve_original_order_qty=config.preserve_original_order_qty,
                skip_pending_exec_reports=True if self._listener else config.skip_pending_exec_reports,
                use_expired_ord_status=config.use_expired_ord_status,
                always_emit_new_before_trade=True if self._send_21026 else None,
            )
        )
