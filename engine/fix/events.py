"""What a session says to its owner. Events come in the order in which their causes came."""

from typing import Any

import msgspec

from engine.fix.message import FixMessage


class App(msgspec.Struct, frozen=True):
    """An application message, in order.

    Attributes:
        seq: MsgSeqNum(34). sending_ns: SendingTime(52), ns since the epoch.
        message: what the hot decoder of its type gave, or the FixMessage.
        poss_dup: it was resent; the number is new to us all the same.
        msg_type: MsgType(35).
    """

    seq: int
    sending_ns: int
    message: Any
    poss_dup: bool
    msg_type: str


class LoggedOn(msgspec.Struct, frozen=True):
    """The session is up; `logon` is the peer's Logon."""

    logon: FixMessage


class LogonReceived(msgspec.Struct, frozen=True):
    """Acceptor only: the owner must now call `accept` or `refuse`; nothing is processed before."""

    logon: FixMessage


class LoggedOut(msgspec.Struct, frozen=True):
    """A Logout was received.

    Attributes:
        text: the peer's Text(58). by_peer: it was not the answer to ours. refused: it answered our Logon.
    """

    text: str
    by_peer: bool
    refused: bool = False


class Close(msgspec.Struct, frozen=True):
    """The transport must be closed now, after what is in the out buffer."""

    reason: str


class PeerReject(msgspec.Struct, frozen=True):
    """The peer refused a message of ours with a Reject (35=3).

    Attributes:
        ref_seq: RefSeqNum(45), 0 when it was not readable. ref_msg_type: RefMsgType(372). ref_tag: RefTagID(371).
        reason: SessionRejectReason(373). text: Text(58).
    """

    ref_seq: int
    ref_msg_type: str
    ref_tag: int | None
    reason: int | None
    text: str


class Refused(msgspec.Struct, frozen=True):
    """We refused a message of the peer with a Reject or a BusinessMessageReject; it was not processed.

    Attributes:
        message: what was refused. business: by 35=j, else by 35=3.
        reason: 373 or 380. ref_tag: the tag at fault. text: what our answer said.
    """

    message: FixMessage
    reason: int
    ref_tag: int | None
    text: str
    business: bool = False


class GapDetected(msgspec.Struct, frozen=True):
    """A number was too high. On a session with retransmission the rest is asked for; else a Close follows."""

    expected: int
    received: int


class ResendAsked(msgspec.Struct, frozen=True):
    """The peer asked for our numbers `begin` to `end` again, which was answered already.

    Attributes:
        sure_end: up to here it had not taken them. Beyond, an open-ended request (16=0) only asks for what follows the gap:
            messages of this connection that may be on their way, or held at the peer.
    """

    begin: int
    end: int
    sure_end: int


class Renumbered(msgspec.Struct, frozen=True):
    """Numbers went on from elsewhere: nothing before can be asked for, or answered by number, any more.

    Attributes:
        text: what happened. lost: messages of the peer may be missing.
    """

    text: str
    lost: bool


class Skew(msgspec.Struct, frozen=True):
    """The peer's clock minus ours, ns, as its SendingTime shows it (transmission included)."""

    ns: int


class Warn(msgspec.Struct, frozen=True):
    """Something odd that does not end the session."""

    text: str


Event = (
    App
    | LoggedOn
    | LogonReceived
    | LoggedOut
    | Close
    | PeerReject
    | Refused
    | GapDetected
    | ResendAsked
    | Renumbered
    | Skew
    | Warn
)
