"""A parsed message: its fields in wire order, and repeating groups read out of them.

Values are latin-1 text, so that every byte survives. A field that is no `number=value` gets the tag 0, which FIX does
not have: validation answers it with 373=0, and the number of such a message is still consumed.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from engine.fix.enums import RejectReason
from engine.fix.errors import RemoteProtocolError
from engine.fix.fields import DATA_FIELDS, HAS_DATA, SOH

INVALID_TAG: Final = 0
NO_SEQ: Final = -1
_SEQ_DIGITS_MAX = 18

Pairs = list[tuple[int, str]]


class FixMessage:
    """One message.

    Attributes:
        raw: the whole frame.
        pairs: (tag, value) of all fields but BeginString, BodyLength and CheckSum, in wire order.
        msg_type: MsgType(35). sending_time: SendingTime(52), empty when absent.
        seq: MsgSeqNum(34), or -1 when it is absent or no number.
        begin_string: BeginString(8).
    """

    __slots__ = ("begin_string", "msg_type", "pairs", "raw", "sending_time", "seq")

    def __init__(self, raw: bytes, begin_string: str, pairs: Pairs) -> None:
        self.raw = raw
        self.begin_string = begin_string
        self.pairs = pairs
        self.msg_type = ""
        self.sending_time = ""
        self.seq = NO_SEQ
        found = 0
        for tag, value in pairs:
            if tag == 35 and not found & 1:
                self.msg_type = value
                found |= 1
            elif tag == 34 and not found & 2:
                if value.isascii() and value.isdigit() and len(value) <= _SEQ_DIGITS_MAX:
                    self.seq = int(value)
                found |= 2
            elif tag == 52 and not found & 4:
                self.sending_time = value
                found |= 4
            if found == 7:
                break

    def get(self, tag: int) -> str | None:
        """Return the first value of a tag, or None."""
        for number, value in self.pairs:
            if number == tag:
                return value
        return None

    @property
    def poss_dup(self) -> bool:
        """PossDupFlag(43) is Y."""
        return self.get(43) == "Y"

    def __repr__(self) -> str:
        return f"<FixMessage {self.raw.decode('latin-1').replace(SOH, '|')[:200]}>"


def _pair(field: str) -> tuple[int, str]:
    tag, separator, value = field.partition("=")
    if not separator or not tag.isascii() or not tag.isdigit() or tag[0] == "0" or len(tag) > 9:
        return (INVALID_TAG, field)
    return (int(tag), value)


def _pairs_with_data(text: str) -> Pairs:
    """Split fields one by one; after a length field its data field is taken by that length, if it fits there."""
    pairs: Pairs = []
    at = 0
    while at < len(text):
        end = text.find(SOH, at)
        if end < 0:
            end = len(text)
        tag, value = _pair(text[at:end])
        pairs.append((tag, value))
        at = end + 1
        data_tag = DATA_FIELDS.get(tag)
        if data_tag is None or not (value.isascii() and value.isdigit() and len(value) <= _SEQ_DIGITS_MAX):
            continue
        prefix = f"{data_tag}="
        stop = at + len(prefix) + int(value)
        # a length that does not end at a SOH is wrong: the field is split as any other and validation says so
        if text.startswith(prefix, at) and text[stop : stop + 1] == SOH:
            pairs.append((data_tag, text[at + len(prefix) : stop]))
            at = stop + 1
    return pairs


def parse_fields(text: str) -> Pairs:
    """Split SOH-terminated `tag=value` text into pairs."""
    if HAS_DATA(SOH + text) is not None:
        return _pairs_with_data(text)
    return [_pair(field) for field in text.removesuffix(SOH).split(SOH)] if text else []


def parse(frame: bytes) -> FixMessage:
    """Parse a whole valid frame, as `Framer.feed` gives it."""
    text = frame.decode("latin-1")
    begin_end = text.find(SOH)
    body_start = text.find(SOH, begin_end + 1) + 1
    return FixMessage(frame, text[2:begin_end], parse_fields(text[body_start:-7]))


def groups(fields: Iterable[tuple[int, str]], count_tag: int, members: Sequence[int]) -> list[dict[int, str]]:
    """Read a repeating group; the first of `members` delimits its entries.

    Tags that are not members are skipped, so that a venue may add fields; a member that an entry already holds belongs
    to what follows the group and ends it. An absent count means no entries.

    Raises:
        RemoteProtocolError: the count is no number (373=6), an entry does not begin with the first member (15), or the
            entries are not as many as the count says (16).
    """
    entries: list[dict[int, str]] = []
    delimiter = members[0]
    count = -1
    for tag, value in fields:
        if count < 0:
            if tag == count_tag:
                if not (value.isascii() and value.isdigit() and len(value) <= 9):
                    raise RemoteProtocolError(
                        f"{value[:20]!r} is no count", RejectReason.INCORRECT_FORMAT, count_tag
                    )
                count = int(value)
        elif tag == delimiter:
            entries.append({tag: value})
        elif tag in members:
            if not entries:
                if count == 0:
                    break
                text = f"the group {count_tag} must begin with {delimiter}"
                raise RemoteProtocolError(text, RejectReason.GROUP_OUT_OF_ORDER, tag)
            if tag in entries[-1]:
                break
            entries[-1][tag] = value
    if count >= 0 and count != len(entries):
        text = f"the group {count_tag} says {count} entries and has {len(entries)}"
        raise RemoteProtocolError(text, RejectReason.GROUP_COUNT_INCORRECT, count_tag)
    return entries
