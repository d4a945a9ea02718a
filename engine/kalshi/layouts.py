"""Layout plans: one compiled regex for each order of tags that was seen (engine.kalshi.hot uses them).

A counterparty writes one kind of message in few orders of tags. A plan is the regex of one such order, so that one call
checks every tag, finds every value and hands back those that are wanted. Rules that hold here:

* A plan is made from an observed sequence of tags only when the dictionary takes any message of that sequence: required
  tags there, nothing twice, groups whole. Values are held to their types and closed enumerations by the regex, as far
  as the reader of the value doesn't. So what a plan matches the general way would take too; the rest is left to it.
* A frame with PossDupFlag(43), PossResend(97), OrigSendingTime(122) or a data field has no plan.
* A group has at most one entry in `Layouts`; `EntryLayouts` is for messages that are one long group.
* Patterns never go back, so a hostile frame costs no more than its length: values are possessive, and a part that may be
  absent says so by its tag. Groups are not possessive: in Python before 3.11.5 such a group that fails midway keeps what it
  took (python/cpython issue 106052).
* The number of plans is bounded and none is ever dropped: what a frame gives depends on nothing but the frame, until
  the bound is reached; then it may be None for a further layout, which costs time and nothing else.

Frames have been checked by the framer: length and sum are right, the trailer is the last seven bytes.
"""

import re
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from operator import itemgetter
from typing import Final, NamedTuple

from engine.fix.dictionary import HEADER_TAGS, TRAILER_TAGS, Dictionary, FieldSpec, GroupSpec, MessageSpec
from engine.fix.fields import DATA_FIELDS, FieldType

PLANS_MAX: Final = 64
ENTRY_PLANS_MAX: Final = 16
WHOLE_PLANS_MAX: Final = 32
WHOLE_ENTRIES_MAX: Final = 4
_TAGS: Final = re.compile("(?:\\A|\x01)([0-9]{1,9})=").findall
_HEADER: Final = frozenset({34, 49, 50, 52, 56, 57, 1128})
_HEADER_REQUIRED: Final = frozenset({34, 49, 52, 56})
_DATA: Final = frozenset(DATA_FIELDS) | frozenset(DATA_FIELDS.values())
_ANY: Final = "[^\x01]*+"
_SOME: Final = "[^\x01]++"
_DECIMAL: Final = r"-?(?:[0-9]{1,18}+(?:\.[0-9]{0,18}+)?|\.[0-9]{1,18}+)"
# date and time are never read here: their digits are checked, not the calendar
_FORMS: Final = {
    FieldType.INT: "-?[0-9]{1,18}+",
    FieldType.COUNT: "[0-9]{1,18}+",
    FieldType.DECIMAL: _DECIMAL,
    FieldType.BOOLEAN: "[YN]",
    FieldType.CHAR: "[^\x01]",
    FieldType.STRING: _SOME,
    FieldType.MULTIPLE: "[^\x01 ]++(?: [^\x01 ]++)*",
    FieldType.TIMESTAMP: _SOME,
    FieldType.DATE: "[0-9]{8}",
    FieldType.TIME: "[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\\.[0-9]{1,9}+)?",
}


def tags_of(text: str) -> tuple[int, ...]:
    """Return the tags of a frame in wire order."""
    return tuple(map(int, _TAGS(text)))


def _value_pattern(
    field: FieldSpec, *, strict: bool, read: bool, without: frozenset[str] = frozenset()
) -> str:
    """Return the regex of one value; `read` decimals are checked by whoever reads them."""
    if field.values and (strict or not field.open):
        return "(?:" + "|".join(re.escape(value) for value in sorted(field.values - without)) + ")"
    if read and field.type is FieldType.DECIMAL:
        return _SOME
    return _FORMS[field.type]


def _header_pattern(tag: int) -> str:
    return {34: "[0-9]{1,18}+", 1128: "9"}.get(tag, _SOME)


_Match = Callable[[str], "re.Match[str] | None"]


class _Plan(NamedTuple):
    fullmatch: _Match
    places: tuple[
        int, ...
    ]  # the match's group of each wanted tag; 1 is the empty group, for tags that aren't there


class _Walk:
    """Reads a sequence of tags as one layout of a message; `parts` is its regex, or `good` is False."""

    def __init__(self, layouts: "Layouts", tags: Sequence[int]) -> None:
        self._dictionary = layouts.dictionary
        self._spec = layouts.spec
        self._strict = layouts.strict
        self._wanted = layouts.wanted
        self._numbers = layouts.numbers
        self._tags = tags
        self._seen: set[int] = set()
        self._group: GroupSpec | None = None
        self._place = -1
        self.captured: list[int] = []
        self.parts: list[str] = []
        self.good = self._header() and self._body() and self._complete()

    def _add(self, tag: int, value: str, *, capture: bool) -> None:
        self._seen.add(tag)
        if capture:
            self.captured.append(tag)
            value = f"({value})"
        self.parts.append(f"{tag}={value}\x01")

    def _header(self) -> bool:
        tags = self._tags
        if tuple(tags[:3]) != (8, 9, 35) or tags[-1] != 10 or not _DATA.isdisjoint(tags):
            return False
        self.parts.append(f"8=FIXT\\.1\\.1\x019=[0-9]++\x0135={re.escape(self._spec.msg_type)}\x01")
        at = 3
        while tags[at] in _HEADER and tags[at] not in self._seen:
            tag = tags[at]
            self._add(tag, _header_pattern(tag), capture=tag in self._wanted)
            at += 1
        self._at = at
        return self._seen >= _HEADER_REQUIRED

    def _body(self) -> bool:
        allowed = {use.tag for use in self._spec.fields}
        counts = {group.count_tag: group for group in self._spec.groups}
        members = {use.tag for group in self._spec.groups for use in group.members}
        for at in range(self._at, len(self._tags) - 1):
            tag = self._tags[at]
            if tag in HEADER_TAGS or tag in TRAILER_TAGS or tag in {8, 9} or tag in self._seen:
                return False
            if self._group is not None and self._member(tag):
                continue
            if tag in members:
                return False
            if tag in allowed:
                self._group = None
                self._add(tag, self._pattern(tag), capture=tag in self._wanted)
            elif tag in counts:
                entries = self._tags[at + 1] == counts[tag].members[0].tag
                self._group = counts[tag] if entries else None
                self._place = -1
                self._add(tag, "0{0,8}+1" if entries else "0{1,9}+", capture=False)
            elif self._strict:
                return False
            else:
                self.parts.append(f"{tag}={_ANY}\x01")
        self.parts.append("10=[0-9]{3}\x01")
        return True

    def _member(self, tag: int) -> bool:
        """Take a tag as a member of the open group; the delimiter came first."""
        assert self._group is not None, "the caller has looked"
        places = {use.tag: place for place, use in enumerate(self._group.members)}
        place = places.get(tag)
        if place is None or (self._strict and place < self._place):
            return False
        self._place = place
        self._add(tag, self._pattern(tag), capture=tag in self._wanted)
        return True

    def _pattern(self, tag: int) -> str:
        without: frozenset[str] = frozenset()
        for condition in self._spec.conditions:
            if condition.when_tag == tag and condition.tag not in self._tags:
                without |= condition.when_values
        return _value_pattern(
            self._dictionary.fields[tag], strict=self._strict, read=tag in self._numbers, without=without
        )

    def _complete(self) -> bool:
        required = {use.tag for use in self._spec.fields if use.required}
        for group in self._spec.groups:
            if group.members[0].tag in self._seen:
                required |= {use.tag for use in group.members if use.required}
            if group.required:
                required.add(group.count_tag)
        return required <= self._seen


class Layouts:
    """The plans of one message type with flat fields and groups of one entry.

    Args:
        dictionary: says what the message may hold. msg_type: MsgType(35).
        wanted: tags whose values `match` gives, in this order.
        strict: unknown tags and unlisted values have no plan (what a gateway takes); else they pass.
        as_text: wanted decimals that the reader keeps as text, so that nobody else would check them.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        msg_type: str,
        wanted: tuple[int, ...],
        *,
        strict: bool,
        as_text: tuple[int, ...] = (),
    ) -> None:
        self.dictionary = dictionary
        self.spec: MessageSpec = dictionary.messages[msg_type]
        self.wanted = wanted
        self.numbers = frozenset(wanted) - frozenset(as_text)
        self.strict = strict
        self._known: set[tuple[int, ...]] = set()
        # by the number of fields: nearly always that names the layout already; the newest used plan first
        self._by_count: dict[int, list[_Plan]] = {}

    def match(self, text: str) -> tuple[str, ...] | None:
        """Return the wanted values of a frame, "" for absent ones; None when no plan takes it."""
        count = text.count("\x01")
        plans = self._by_count.get(count)
        if plans is not None:
            for plan in plans:
                found = plan.fullmatch(text)
                if found is not None:
                    if plan is not plans[0]:
                        plans.remove(plan)
                        plans.insert(0, plan)
                    return found.group(*plan.places)
        return self._discover(text, count)

    def _discover(self, text: str, count: int) -> tuple[str, ...] | None:
        tags = tags_of(text)
        if tags in self._known or len(self._known) >= PLANS_MAX:
            return None
        walk = _Walk(self, tags)
        if not walk.good:
            return None
        self._known.add(tags)
        places = tuple(walk.captured.index(tag) + 2 if tag in walk.captured else 1 for tag in self.wanted)
        plan = _Plan(re.compile("()" + "".join(walk.parts)).fullmatch, places)
        self._by_count.setdefault(count, []).insert(0, plan)
        found = plan.fullmatch(text)
        return found.group(*places) if found is not None else None


class _EntryPlan(NamedTuple):
    head: _Match
    size: int  # the head's group of the entries' count
    places: tuple[int, ...]  # the head's groups of the wanted tags
    findall: Callable[[str, int], list[tuple[str, ...]]]
    arrange: (
        "Callable[[tuple[str, ...]], tuple[str, ...]] | None"  # for entries in another order than is wanted
    )


class EntryLayouts:
    """The plans of one message type that is one long group (W, X).

    A frame of few entries gets a plan for all of it, as in `Layouts`. The entries of others are found by `findall`, which
    skips what it can't match, so an entry must be followed by another or by the trailer, and as many entries must be found
    as there are delimiters and as the count says: then nothing was skipped.

    Args:
        dictionary, msg_type: as in `Layouts`; always tolerant.
        head: tags outside the group whose values are wanted, MsgSeqNum(34) and SendingTime(52) among them.
        members: tags of an entry whose values are wanted, the delimiter first; "" when absent.
        values: regex of a member's value where it is narrower than its type.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        msg_type: str,
        head: tuple[int, ...],
        members: tuple[int, ...],
        values: dict[int, str],
    ) -> None:
        spec = dictionary.messages[msg_type]
        assert len(spec.groups) == 1, "an entry layout is of one group"
        self._msg_type = msg_type
        self._head = head
        self._members = members
        self._group = spec.groups[0]
        self._fields = dictionary.fields
        self._values = values
        self._body = frozenset(use.tag for use in spec.fields)
        self._required = frozenset(use.tag for use in self._group.members if use.required)
        self._of_group = tuple(use.tag for use in self._group.members)
        self._delimiter = self._of_group[0]
        self._mark = f"\x01{self._delimiter}="
        self._plans: list[_EntryPlan] = []
        self._known: set[tuple[tuple[int, ...], tuple[int, ...], frozenset[int]]] = set()
        self._wholes: dict[int, list[_Match]] = {}  # by the number of fields
        self._known_wholes: set[tuple[int, ...]] = set()
        self._last: _Match = re.compile(r"(?!)").fullmatch

    def match(self, text: str) -> tuple[str, ...] | None:
        """Return the wanted head values, then the entries' wanted values; None when no plan takes the frame."""
        found = self._last(text)  # one frame is mostly like the one before
        if found is None:
            for whole in self._wholes.get(text.count("\x01"), ()):
                found = whole(text)
                if found is not None:
                    self._last = whole
                    break
            else:
                return self._match_entries(text)
        return found.groups()

    def _match_entries(self, text: str) -> tuple[str, ...] | None:
        plans = self._plans
        for plan in plans:
            head, size_group, places, findall, arrange = plan
            found = head(text)
            if found is None:
                continue
            entries = findall(text, found.end())
            size = len(entries)
            if int(found[size_group]) == size and text.count(self._mark) == size:
                if plan is not plans[0]:
                    plans.remove(plan)
                    plans.insert(0, plan)
                if 0 < size <= WHOLE_ENTRIES_MAX:
                    self._discover_whole(text)
                arranged = entries if arrange is None else map(arrange, entries)
                return tuple(chain(found.group(*places), chain.from_iterable(arranged)))
        return self._match_entries(text) if self._discover(text) else None

    def _discover(self, text: str) -> bool:
        """Make a plan for a frame that none takes; True when there is a new one to try."""
        tags = tags_of(text)
        if (
            len(self._plans) >= ENTRY_PLANS_MAX
            or tags[:3] != (8, 9, 35)
            or tags[-1] != 10
            or not _DATA.isdisjoint(tags)
        ):
            return False
        first = tags.index(self._delimiter) if self._delimiter in tags else len(tags) - 1
        head = tags[3:first]
        order = self._entry_order(tags[first:-1])
        if order is None or not self._head_good(head):
            return False
        key = (head, *order)
        if key in self._known:
            return False
        self._known.add(key)
        self._plans.insert(0, self._compile(head, *order))
        return True

    def _discover_whole(self, text: str) -> None:
        """Make a plan for the whole of a frame of few entries, which a plan has taken, if it names the tags in our order."""
        if len(self._known_wholes) >= WHOLE_PLANS_MAX:
            return
        tags = tags_of(text)
        if tags in self._known_wholes:
            return
        self._known_wholes.add(tags)
        starts = [at for at, tag in enumerate(tags) if tag == self._delimiter]
        parts = [f"8=FIXT\\.1\\.1\x019=[0-9]++\x0135={re.escape(self._msg_type)}"]
        if not self._add(
            parts, tags[3 : starts[0]], self._head, self._head_pattern, f"0{{0,8}}+{len(starts)}"
        ):
            return
        for begin, end in pairwise([*starts, len(tags) - 1]):
            if not self._add(parts, tags[begin:end], self._members, self._entry_pattern):
                return
        whole = re.compile("".join(parts) + "\x0110=[0-9]{3}\x01").fullmatch
        self._wholes.setdefault(text.count("\x01"), []).append(whole)

    def _add(
        self,
        parts: list[str],
        tags: Sequence[int],
        wanted: Sequence[int],
        pattern: Callable[[int], str],
        count: str = "",
    ) -> bool:
        """Add fields to a regex, with one group for each wanted tag, empty where it isn't there; False in another order."""
        left = list(wanted)
        for tag in tags:
            value = count if tag == self._group.count_tag else pattern(tag)
            if tag in wanted:
                while left and left[0] != tag:
                    parts.append("()")
                    del left[0]
                if not left:
                    return False
                del left[0]
                value = f"({value})"
            parts.append(f"\x01{tag}={value}")
        parts += ["()"] * len(left)
        return True

    def _head_good(self, head: tuple[int, ...]) -> bool:
        size = 0
        while size < len(head) and head[size] in _HEADER:
            size += 1
        body = head[size:]
        known = self._body | {self._group.count_tag}
        named = [tag for tag in body if tag in known]
        return (
            _HEADER_REQUIRED.issubset(head[:size])
            and len(set(head[:size])) == size
            and HEADER_TAGS.isdisjoint(body)
            and TRAILER_TAGS.isdisjoint(body)
            and not {8, 9}.intersection(body)
            and sorted(named) == sorted(known)
            and body[-1] == self._group.count_tag
            and not (set(self._of_group) - known).intersection(body)
        )

    def _entry_order(self, tags: tuple[int, ...]) -> tuple[tuple[int, ...], frozenset[int]] | None:
        """Merge the entries' orders into one; the second value is what an entry may lack."""
        entries: list[list[int]] = []
        for tag in tags:
            if tag == self._delimiter:
                entries.append([tag])
            elif (
                tag in HEADER_TAGS
                or tag in TRAILER_TAGS
                or tag == self._group.count_tag
                or tag in self._body - set(self._of_group)
                or tag in entries[-1]
            ):
                return None
            else:
                entries[-1].append(tag)
        longest = max(entries, key=len) if entries else self._members
        order = list(longest)
        if not self._required.issubset(order):
            return None
        # what is read counts as seen, so that one plan does for messages with and without it
        order += [tag for tag in self._members if tag not in order]
        for entry in entries:
            rest = iter(order)
            if not self._required.issubset(entry) or not all(tag in rest for tag in entry):
                return None
        return tuple(order), frozenset(order) - self._required

    def _compile(self, head: tuple[int, ...], order: tuple[int, ...], optional: frozenset[int]) -> _EntryPlan:
        end = f"(?=\x01(?:{self._delimiter}=|10=[0-9]{{3}}\x01\\Z))"
        parts = [f"8=FIXT\\.1\\.1\x019=[0-9]++\x0135={re.escape(self._msg_type)}"]
        captured: list[int] = []
        for tag in head:
            value = self._head_pattern(tag)
            if tag in self._head or tag == self._group.count_tag:
                captured.append(tag)
                value = f"({value})"
            parts.append(f"\x01{tag}={value}")
        entry: list[str] = []
        wanted: list[int] = []
        for tag in order:
            value = self._entry_pattern(tag)
            if tag in self._members:
                wanted.append(tag)
                value = f"({value})"
            entry.append(f"(?:\x01{tag}={value}|(?!\x01{tag}=))" if tag in optional else f"\x01{tag}={value}")
        arrange = None
        if tuple(wanted) != self._members:
            arrange = itemgetter(*(wanted.index(tag) for tag in self._members))
        return _EntryPlan(
            head=re.compile("".join(parts) + end).match,
            size=captured.index(self._group.count_tag) + 1,
            places=tuple(captured.index(tag) + 1 for tag in self._head),
            findall=re.compile("".join(entry) + end).findall,
            arrange=arrange,
        )

    def _head_pattern(self, tag: int) -> str:
        if tag == self._group.count_tag:
            return "[0-9]{1,9}+"
        if tag in _HEADER:
            return _header_pattern(tag)
        return _SOME if tag in self._body else _ANY

    def _entry_pattern(self, tag: int) -> str:
        if tag in self._values:
            return self._values[tag]
        if tag not in self._of_group:
            return _ANY
        return _value_pattern(self._fields[tag], strict=False, read=tag in self._members)
