"""The venue's side of one FIX connection: which gateway it came to, whether it may log on, what it may say.

The checks of a Logon run in the order of `check_logon` (venue.md section 2); the first that fails is answered with
Logout and its text, and the connection is closed. The session layer itself (numbers, liveness, SendingTime, strict
validation) is `engine.fix`'s acceptor. A `Connection` lives as long as its link; what outlives it is the `Owner`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from engine.common.clock import SECOND, Now
from engine.config import VenueConfig
from engine.fix.acceptor import Acceptor
from engine.fix.config import SessionSettings
from engine.fix.dictionary import Dictionary, Use
from engine.fix.message import FixMessage
from engine.fix.state import SessionState
from engine.kalshi.codec import BadField, encode_body, parse_logon
from engine.kalshi.dictionary import VENUE_TAKES, venue_dictionary
from engine.kalshi.messages import ApplicationMessage, BusinessMessageReject, ExecutionReport, Logon
from engine.kalshi.signature import string_to_sign
from engine.venue.accounts import VenueKey
from engine.venue.order import Flags, Owner
from engine.venue.retention import Kept
from engine.venue.wire import report_body

Verify = Callable[[str, bytes, str], bool]

LOGON: Final = "A"
UNSUPPORTED_TYPE: Final = 3
CONDITIONALLY_REQUIRED: Final = 5
RATE_LIMITED: Final = 8
RESEND_PIECE: Final = 500  # messages: some 5 ms of work
_UNBOUNDED: Final = 1 << 62


class Gateway(NamedTuple):
    """One of the venue's four sessions.

    Attributes:
        order_entry: its messages use the Write bucket; else Read.
        reset_required: 141=Y is mandatory. retransmission: missed messages can be asked for.
        msg_types: application messages that belong to it.
    """

    name: str
    order_entry: bool
    reset_required: bool
    retransmission: bool
    msg_types: frozenset[str]


GATEWAYS: Final = {
    gateway.name: gateway
    for gateway in (
        Gateway("KalshiNR", True, True, False, VENUE_TAKES["KalshiNR"]),
        Gateway("KalshiRT", True, False, True, VENUE_TAKES["KalshiRT"]),
        Gateway("KalshiDC", False, True, False, VENUE_TAKES["KalshiDC"]),
        Gateway("KalshiMD", False, True, False, VENUE_TAKES["KalshiMD"]),
    )
}

_HEART_BT_INT: Final = 108
_SUBSCRIPTION_REQUEST_TYPE: Final = 263


def _dictionary(session: str) -> Dictionary:
    """Return what a gateway validates against, with two checks left to it.

    What belongs to another session is known but not supported here: 35=j 380=3 (session scenario 2.13). An unsupported
    SubscriptionRequestType is market data's to refuse (35=Y 281=4). HeartBtInt has a default, so that it may be absent;
    the dictionary demands it ([?]).
    """
    base = venue_dictionary(session)
    logon = base.messages[LOGON]
    uses = tuple(Use(use.tag, use.required and use.tag != _HEART_BT_INT) for use in logon.fields)
    messages = {**base.messages, LOGON: msgspec.structs.replace(logon, fields=uses)}
    kind = base.fields[_SUBSCRIPTION_REQUEST_TYPE]
    fields = {**base.fields, kind.tag: msgspec.structs.replace(kind, values=frozenset())}
    return Dictionary(tuple(fields.values()), tuple(messages.values()), base.elsewhere)


_DICTIONARIES: Final = {name: _dictionary(name) for name in GATEWAYS}


class Connection:
    """A FIX connection.

    Attributes:
        link: its link's name. gateway: whose listener took it.
        owner: the session, once logged on; then key is its API key.
        live: logged on, and neither logged out nor gone.
        read_only: a listener session (20126).
        kept: what KalshiRT keeps of its session, else None.
        dead: nothing passes either way, and nobody is told. mute: it hears, but nothing is written any more.
        gone: its link is closed, which the venue has not noticed.
        symbols: market-data subscriptions, in order of subscription. statuses: SecurityStatus subscriptions.
    """

    __slots__ = (
        "acceptor",
        "dead",
        "gateway",
        "gone",
        "kept",
        "key",
        "link",
        "live",
        "mute",
        "owner",
        "peer",
        "read_only",
        "statuses",
        "symbols",
    )

    def __init__(self, link: str, gateway: Gateway, peer: str, acceptor: Acceptor) -> None:
        self.link = link
        self.gateway = gateway
        self.peer = peer
        self.acceptor = acceptor
        self.key: VenueKey | None = None
        self.owner: Owner | None = None
        self.live = False
        self.read_only = False
        self.kept: Kept | None = None
        self.dead = False
        self.mute = False
        self.gone = False
        self.symbols: dict[str, None] = {}
        self.statuses: dict[str, None] = {}

    def send(self, message: ApplicationMessage, now: Now) -> None:
        """Send an application message; one for a session that is no longer up is dropped."""
        msg_type, body = body_of(message)
        self.send_body(msg_type, body, now)

    def send_body(self, msg_type: str, body: str, now: Now) -> None:
        """Send an application message that is text already, as `send`."""
        if self.acceptor.state is SessionState.LOGGED_ON:
            self.acceptor.send(msg_type, body, now)

    def business_reject(
        self, ref_seq: int, ref_msg_type: str, reason: int, text: str, now: Now, ref_id: str = ""
    ) -> None:
        """Answer with BusinessMessageReject (35=j)."""
        self.send(
            BusinessMessageReject(
                business_reject_reason=reason,
                ref_seq_num=ref_seq,
                ref_msg_type=ref_msg_type,
                business_reject_ref_id=ref_id,
                text=text,
            ),
            now,
        )

    def session_reject(
        self, ref_seq: int, ref_msg_type: str, reason: int, ref_tag: int | None, text: str, now: Now
    ) -> None:
        """Answer with Reject (35=3)."""
        if self.acceptor.state is SessionState.LOGGED_ON:
            self.acceptor.send_reject(ref_seq, ref_msg_type, reason, ref_tag, text, now)


def body_of(message: ApplicationMessage) -> tuple[str, str]:
    """Return MsgType(35) and body of a message; reports, which are most of them, the quick way."""
    if isinstance(message, ExecutionReport):
        return "8", report_body(message)
    return encode_body(message)


def new_acceptor(gateway: Gateway, venue: VenueConfig, hot: Mapping[str, Any]) -> Acceptor:
    """Make the session of a fresh connection; what it calls itself in 49 is configuration ([?] in venue.md section 1)."""
    settings = SessionSettings(
        sender_comp_id=gateway.name if venue.comp_id == "session" else venue.comp_id,
        own_comp_ids=(gateway.name,),
        reset_on_logon=gateway.reset_required,
        retransmission=gateway.retransmission,
        tolerance_ns=venue.sending_time_tolerance_s * SECOND,
        sent_window_max=_UNBOUNDED,  # KalshiRT's retention says what goes
        resend_piece=RESEND_PIECE,
        strict=True,
    )
    return Acceptor(settings, _DICTIONARIES[gateway.name], hot if gateway.order_entry else None)


class Granted(msgspec.Struct, frozen=True):
    """A Logon that passed."""

    key: VenueKey
    flags: Flags
    heart_bt_int_s: int
    logon: Logon


def check_logon(
    message: FixMessage,
    gateway: Gateway,
    keys: Mapping[str, VenueKey],
    verify: Verify,
    venue: VenueConfig,
) -> Granted | str:
    """Check a Logon; return what it grants, or the Logout's Text(58)."""
    try:
        return _check_logon(message, gateway, keys, verify, venue)
    except BadField as error:
        return str(error)


def _check_logon(
    message: FixMessage,
    gateway: Gateway,
    keys: Mapping[str, VenueKey],
    verify: Verify,
    venue: VenueConfig,
) -> Granted | str:
    sender, target = message.get(49) or "", message.get(56) or ""
    key = keys.get(sender)
    if target != gateway.name:
        return f"incorrect TargetCompID(56): this is {gateway.name}"
    if key is None:
        return "unknown SenderCompID(49)"
    if key.sessions and gateway.name not in key.sessions:
        return f"this API key may not use {gateway.name}"
    if venue.require_raw_data_length and message.get(95) is None:
        return "RawDataLength(95) missing"
    signed = string_to_sign(message.sending_time, LOGON, message.seq, sender, target)
    if not verify(sender, signed, message.get(96) or ""):
        return "invalid signature"
    if message.get(98) != "0":
        return "EncryptMethod(98) must be 0"
    if message.get(1137) != "9":
        return "DefaultApplVerID(1137) must be 9"
    if venue.require_heart_bt_int and message.get(108) is None:
        return "HeartBtInt(108) missing"
    heart_bt_int = message.get(108) or "30"
    if not heart_bt_int.isdigit() or not venue.heart_bt_int_min_s <= int(heart_bt_int) <= 86_400:
        return f"HeartBtInt(108) must be at least {venue.heart_bt_int_min_s}"
    if gateway.reset_required and message.get(141) != "Y":
        return "ResetSeqNumFlag(141) must be Y"
    logon = parse_logon(message)
    text = _check_flags(logon, gateway)
    # [?] 21026 is documented for event contracts only
    folds = venue.new_before_trade == "ignore"
    return text or Granted(key, _flags(logon, folds=folds), int(heart_bt_int), logon)


def _check_flags(logon: Logon, gateway: Gateway) -> str:
    if logon.listener_session:
        if not gateway.order_entry:
            return "ListenerSession(20126) is for KalshiNR and KalshiRT"
        if not logon.skip_pending_exec_reports:
            return "ListenerSession(20126) needs SkipPendingExecReports(21011)=Y"
        if logon.cancel_orders_on_disconnect:
            return "ListenerSession(20126) excludes CancelOrdersOnDisconnect(8013)=Y"
    if logon.message_retention_period_h is not None and not 0 < logon.message_retention_period_h <= 72:
        return "MessageRetentionPeriod(20200) must be 1 to 72"
    return ""


def _flags(logon: Logon, *, folds: bool) -> Flags:
    return Flags(
        cancel_on_disconnect=bool(logon.cancel_orders_on_disconnect),
        ioc_cancel_report=bool(logon.enable_ioc_cancel_report),
        original_qty=bool(logon.preserve_original_order_qty),
        skip_pending=bool(logon.skip_pending_exec_reports),
        expired_status=bool(logon.use_expired_ord_status),
        new_before_trade=bool(logon.always_emit_new_before_trade) and not folds,
        listener=bool(logon.listener_session),
    )
