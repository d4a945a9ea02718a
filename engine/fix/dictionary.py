"""Messages as data, and validation against them with FIX's reject codes (session scenarios 10.x).

A `Dictionary` is built once per venue. Strict validation is what an acceptor does; a tolerant one ignores tags that
are not defined at all or not for the message, and does not mind the order inside groups, because a venue may add
fields at any time and a report must not be lost over it.
"""

from typing import Final

import msgspec

from engine.fix.enums import BusinessReason, RejectReason
from engine.fix.fields import DATA_FIELDS, FieldType, well_formed
from engine.fix.message import INVALID_TAG, FixMessage, Pairs

# header fields after BodyLength that FIXT.1.1 defines and that may meet us
HEADER_TAGS: Final = frozenset(
    {35, 49, 56, 34, 52, 43, 50, 57, 90, 91, 97, 115, 116, 122, 128, 129, 142, 143, 1128, 1129, 1156}
)
TRAILER_TAGS: Final = frozenset({93, 89, 10})


class FieldSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One field.

    Attributes:
        values: what an enumerated field may hold; empty means anything of the type.
        open: a tolerant reader takes values that are not listed.
    """

    tag: int
    name: str
    type: FieldType = FieldType.STRING
    values: frozenset[str] = frozenset()
    open: bool = False


class Use(msgspec.Struct, frozen=True):
    """A field in a message or group."""

    tag: int
    required: bool = False


class GroupSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A repeating group; its first member delimits the entries and is always required."""

    count_tag: int
    members: tuple[Use, ...]
    required: bool = False


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """`tag` is required when `when_tag` has one of `when_values` (empty: any value); else 35=j 380=5."""

    tag: int
    when_tag: int
    when_values: frozenset[str] = frozenset()


class MessageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One message type: its body fields, groups and conditions, in the order in which they are documented."""

    msg_type: str
    name: str
    fields: tuple[Use, ...] = ()
    groups: tuple[GroupSpec, ...] = ()
    conditions: tuple[Condition, ...] = ()


class SessionReject(msgspec.Struct, frozen=True):
    """Answer with Reject (35=3): `reason` is SessionRejectReason(373)."""

    reason: int
    ref_tag: int | None
    text: str


class BusinessReject(msgspec.Struct, frozen=True):
    """Answer with BusinessMessageReject (35=j): `reason` is BusinessRejectReason(380)."""

    reason: int
    ref_tag: int | None
    text: str


class _Plan:
    """A message type with its look-ups made."""

    __slots__ = ("allowed", "groups", "required", "spec")

    def __init__(self, spec: MessageSpec) -> None:
        self.spec = spec
        self.groups = {group.count_tag: group for group in spec.groups}
        self.allowed = frozenset(use.tag for use in spec.fields) | frozenset(self.groups)
        self.required = tuple(use.tag for use in spec.fields if use.required) + tuple(
            group.count_tag for group in spec.groups if group.required
        )


class Dictionary:
    """All that is known of a venue's messages.

    Args:
        fields: every field, header and trailer included.
        messages: every message that this side takes or sends.
        elsewhere: message types that exist but not on this session: answered by 35=j 380=3.

    Raises:
        ValueError: a message uses a field that is not defined, or a number or type comes twice.
    """

    def __init__(
        self,
        fields: tuple[FieldSpec, ...],
        messages: tuple[MessageSpec, ...],
        elsewhere: frozenset[str] = frozenset(),
    ) -> None:
        self.fields = {field.tag: field for field in fields}
        self.messages = {message.msg_type: message for message in messages}
        self.elsewhere = elsewhere
        if len(self.fields) != len(fields) or len(self.messages) != len(messages):
            raise ValueError("a tag or message type is defined twice")
        for message in messages:
            uses = [*message.fields, *(Use(group.count_tag) for group in message.groups)]
            uses += [use for group in message.groups for use in group.members]
            missing = sorted({use.tag for use in uses} - self.fields.keys())
            if missing:
                raise ValueError(f"{message.name} uses tags that are not defined: {missing}")
        self.plans = {message.msg_type: _Plan(message) for message in messages}

    def name(self, tag: int) -> str:
        """Return `Name(tag)` for texts."""
        field = self.fields.get(tag)
        return f"{field.name}({tag})" if field is not None else f"tag {tag}"

    def only(self, msg_types: frozenset[str]) -> "Dictionary":
        """Return the dictionary of a session that takes only these types; the others count as known elsewhere."""
        kept = tuple(spec for spec in self.messages.values() if spec.msg_type in msg_types)
        others = (self.elsewhere | self.messages.keys()) - msg_types
        return Dictionary(tuple(self.fields.values()), kept, frozenset(others))


def validate(
    message: FixMessage, dictionary: Dictionary, strict: bool
) -> SessionReject | BusinessReject | None:
    """Check a message's fields; header values and numbers are the session's business.

    Returns:
        None when it is good, else the first fault found.
    """
    plan = dictionary.plans.get(message.msg_type)
    if plan is None:
        if message.msg_type in dictionary.elsewhere:
            text = f"MsgType(35) {message.msg_type} is not supported on this session"
            return BusinessReject(BusinessReason.UNSUPPORTED_MESSAGE_TYPE, None, text)
        return SessionReject(
            RejectReason.INVALID_MSG_TYPE, 35, f"MsgType(35) {message.msg_type[:10]} is unknown"
        )
    check = _Check(dictionary, plan, message.pairs, strict)
    return check.fields() or check.required() or check.conditions()


class _Check:
    """One walk over a message's pairs."""

    __slots__ = ("_dictionary", "_pairs", "_plan", "_seen", "_strict")

    def __init__(self, dictionary: Dictionary, plan: _Plan, pairs: Pairs, strict: bool) -> None:
        self._dictionary = dictionary
        self._plan = plan
        self._pairs = pairs
        self._strict = strict
        self._seen: dict[int, str] = {}

    def _reject(self, reason: RejectReason, tag: int, what: str) -> SessionReject:
        return SessionReject(int(reason), tag, f"{self._dictionary.name(tag)} {what}")

    def fields(self) -> SessionReject | None:
        """Check every field in turn: place, repetition, value, groups."""
        at = 0
        in_body = False
        while at < len(self._pairs):
            tag, value = self._pairs[at]
            at += 1
            if tag == INVALID_TAG:
                return SessionReject(
                    int(RejectReason.INVALID_TAG_NUMBER), None, f"{value[:20]!r} has no valid tag number"
                )
            if tag in HEADER_TAGS:
                if in_body:
                    return self._reject(
                        RejectReason.TAG_OUT_OF_ORDER, tag, "is a header field and stands in the body"
                    )
            elif tag not in TRAILER_TAGS:
                in_body = True
                fault = self._membership(tag)
                if fault is not None:
                    return fault
                if tag not in self._plan.allowed:
                    continue
            if tag in self._seen:
                return self._reject(RejectReason.TAG_APPEARS_TWICE, tag, "appears more than once")
            self._seen[tag] = value
            fault = self._value(tag, value)
            if fault is not None:
                return fault
            group = self._plan.groups.get(tag)
            if group is not None:
                if not well_formed(FieldType.COUNT, value):
                    return self._reject(RejectReason.INCORRECT_FORMAT, tag, f"{value[:20]!r} is no count")
                result = self._group(group, int(value), at)
                if isinstance(result, SessionReject):
                    return result
                at = result
        return self._data_lengths()

    def _membership(self, tag: int) -> SessionReject | None:
        if tag in self._plan.allowed or not self._strict:
            return None
        if tag not in self._dictionary.fields:
            return self._reject(RejectReason.UNDEFINED_TAG, tag, "is not defined")
        for group in self._plan.spec.groups:
            if any(use.tag == tag for use in group.members):
                return self._reject(
                    RejectReason.GROUP_OUT_OF_ORDER, tag, f"stands outside its group {group.count_tag}"
                )
        return self._reject(
            RejectReason.TAG_NOT_DEFINED_FOR_MESSAGE, tag, f"is not defined for {self._plan.spec.name}"
        )

    def _value(self, tag: int, value: str) -> SessionReject | None:
        field = self._dictionary.fields.get(tag)
        if not value and (field is None or field.type is not FieldType.DATA):
            return self._reject(RejectReason.TAG_WITHOUT_VALUE, tag, "has no value")
        if field is None:
            return None
        if not well_formed(field.type, value):
            return self._reject(
                RejectReason.INCORRECT_FORMAT, tag, f"{value[:40]!r} is not of type {field.type.value}"
            )
        if field.values and not (field.open and not self._strict):
            single = field.type is not FieldType.MULTIPLE
            if (
                value not in field.values
                if single
                else any(part not in field.values for part in value.split(" "))
            ):
                return self._reject(RejectReason.VALUE_INCORRECT, tag, f"{value[:40]!r} is out of range")
        return None

    def _group(self, group: GroupSpec, count: int, at: int) -> SessionReject | int:
        """Check the entries that follow the count; return where the group ends."""
        places = {use.tag: place for place, use in enumerate(group.members)}
        entries = 0
        place = -1
        here: set[int] = set()
        while at < len(self._pairs):
            tag, value = self._pairs[at]
            if tag not in places:
                if self._strict or tag in self._plan.allowed or tag in HEADER_TAGS or tag in TRAILER_TAGS:
                    break
                at += 1  # a tag that the venue added to the group
                continue
            if places[tag] == 0:
                fault = self._entry_complete(group, here, entries)
                if fault is not None:
                    return fault
                entries += 1
                here = set()
            elif entries == 0:
                return self._reject(
                    RejectReason.GROUP_OUT_OF_ORDER, tag, f"comes before {group.members[0].tag}"
                )
            elif tag in here:
                break
            elif self._strict and places[tag] < place:
                return self._reject(
                    RejectReason.GROUP_OUT_OF_ORDER, tag, f"is out of order in group {group.count_tag}"
                )
            fault = self._value(tag, value)
            if fault is not None:
                return fault
            place = places[tag]
            here.add(tag)
            at += 1
        fault = self._entry_complete(group, here, entries)
        if fault is not None:
            return fault
        if count and not entries and at < len(self._pairs):
            return self._reject(
                RejectReason.GROUP_OUT_OF_ORDER, group.members[0].tag, f"must follow {group.count_tag}"
            )
        if entries != count:
            what = f"says {count} entries and has {entries}"
            return self._reject(RejectReason.GROUP_COUNT_INCORRECT, group.count_tag, what)
        return at

    def _entry_complete(self, group: GroupSpec, here: set[int], entries: int) -> SessionReject | None:
        if entries:
            for use in group.members:
                if use.required and use.tag not in here:
                    return self._reject(RejectReason.REQUIRED_TAG_MISSING, use.tag, "is missing")
        return None

    def _data_lengths(self) -> SessionReject | None:
        for length_tag, data_tag in DATA_FIELDS.items():
            length, data = self._seen.get(length_tag), self._seen.get(data_tag)
            if length is not None and data is not None and (not length.isdigit() or int(length) != len(data)):
                return self._reject(
                    RejectReason.VALUE_INCORRECT, length_tag, f"is not the length of {data_tag}"
                )
        return None

    def required(self) -> SessionReject | None:
        """Name the first required field that is missing."""
        for tag in self._plan.required:
            if tag not in self._seen:
                return self._reject(RejectReason.REQUIRED_TAG_MISSING, tag, "is missing")
        return None

    def conditions(self) -> BusinessReject | None:
        """Name the first field that other fields make required."""
        for condition in self._plan.spec.conditions:
            value = self._seen.get(condition.when_tag)
            if value is None or condition.tag in self._seen:
                continue
            if not condition.when_values or value in condition.when_values:
                name = self._dictionary.name
                text = f"{name(condition.tag)} is required with {name(condition.when_tag)} {value}"
                return BusinessReject(
                    int(BusinessReason.CONDITIONALLY_REQUIRED_FIELD_MISSING), condition.tag, text
                )
        return None
