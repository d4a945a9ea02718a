"""Session messages: their bodies, and reading theirs.

Bodies are SOH-terminated text in the order of FIXT.1.1's tables. Texts that come from outside go through `clean_text`.
"""

from engine.fix.enums import RejectReason
from engine.fix.errors import RemoteProtocolError
from engine.fix.events import PeerReject
from engine.fix.fields import clean_text
from engine.fix.message import FixMessage


def heartbeat(test_req_id: str = "") -> str:
    """Body of Heartbeat (35=0)."""
    return f"112={test_req_id}\x01" if test_req_id else ""


def test_request(test_req_id: str) -> str:
    """Body of TestRequest (35=1)."""
    return f"112={test_req_id}\x01"


def resend_request(begin: int, end: int) -> str:
    """Body of ResendRequest (35=2); end 0 means everything from begin."""
    return f"7={begin}\x0116={end}\x01"


def reject(ref_seq: int, ref_msg_type: str, reason: int | None, ref_tag: int | None, text: str) -> str:
    """Body of Reject (35=3)."""
    parts = [f"45={ref_seq}\x01"]
    if ref_tag is not None:
        parts.append(f"371={ref_tag}\x01")
    if ref_msg_type:
        parts.append(f"372={clean_text(ref_msg_type)}\x01")
    if reason is not None:
        parts.append(f"373={reason}\x01")
    if text:
        parts.append(f"58={clean_text(text)}\x01")
    return "".join(parts)


def business_reject(ref_seq: int, ref_msg_type: str, reason: int, text: str, ref_id: str = "") -> str:
    """Body of BusinessMessageReject (35=j)."""
    reference = f"379={clean_text(ref_id)}\x01" if ref_id else ""
    words = f"58={clean_text(text)}\x01" if text else ""
    return f"45={ref_seq}\x01372={clean_text(ref_msg_type)}\x01{reference}380={reason}\x01{words}"


def gap_fill(new_seq_no: int) -> str:
    """Body of SequenceReset (35=4) in gap-fill mode."""
    return f"123=Y\x0136={new_seq_no}\x01"


def logout(text: str) -> str:
    """Body of Logout (35=5)."""
    return f"58={clean_text(text)}\x01" if text else ""


def required(message: FixMessage, tag: int, name: str) -> str:
    """Return a field's value.

    Raises:
        RemoteProtocolError: it is missing (373=1) or empty (4).
    """
    value = message.get(tag)
    if value is None:
        raise RemoteProtocolError(f"{name}({tag}) is missing", RejectReason.REQUIRED_TAG_MISSING, tag)
    if not value:
        raise RemoteProtocolError(f"{name}({tag}) has no value", RejectReason.TAG_WITHOUT_VALUE, tag)
    return value


def number(message: FixMessage, tag: int, name: str) -> int:
    """Return a required number, zero or more.

    Raises:
        RemoteProtocolError: it is missing (373=1), empty (4) or no number (6).
    """
    value = required(message, tag, name)
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        text = f"{name}({tag}) {value[:20]!r} is not a number"
        raise RemoteProtocolError(text, RejectReason.INCORRECT_FORMAT, tag)
    return int(value)


def optional_int(value: str | None) -> int | None:
    """Read a number leniently, for what we only report."""
    if value is None or not (value.isascii() and value.isdigit() and len(value) <= 18):
        return None
    return int(value)


def peer_reject(message: FixMessage) -> PeerReject:
    """Read a Reject leniently: nothing about it may be refused (7.2)."""
    return PeerReject(
        ref_seq=optional_int(message.get(45)) or 0,
        ref_msg_type=message.get(372) or "",
        ref_tag=optional_int(message.get(371)),
        reason=optional_int(message.get(373)),
        text=message.get(58) or "",
    )
