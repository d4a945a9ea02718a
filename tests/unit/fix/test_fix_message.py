"""Parsing fields, data fields and groups; validation where the scripts don't reach; agreement with simplefix."""

import pytest
import simplefix
from hypothesis import given
from hypothesis import strategies as st
from sessions.script_runner import DICTIONARY, wrap

from engine.fix.dictionary import Dictionary, FieldSpec, MessageSpec, SessionReject, Use, validate
from engine.fix.encoder import encode
from engine.fix.errors import RemoteProtocolError
from engine.fix.fields import FieldType, clean_text, well_formed
from engine.fix.message import groups, parse
from engine.fix.msg_types import MsgType
from engine.fix.tags import Tag

TEXT = st.text(st.characters(min_codepoint=2, max_codepoint=255), min_size=1, max_size=20)


def test_fields_in_wire_order_with_header_values():
    message = parse(wrap("35=D|49=A|56=B|34=17|52=20261124-10:00:00.000|58=a=b|58=c|"))
    assert message.pairs == [
        (35, "D"), (49, "A"), (56, "B"), (34, "17"), (52, "20261124-10:00:00.000"), (58, "a=b"), (58, "c"),
    ]  # fmt: skip
    assert (message.msg_type, message.seq, message.sending_time) == ("D", 17, "20261124-10:00:00.000")
    assert message.get(58) == "a=b"
    assert message.get(99) is None
    assert message.begin_string == "FIXT.1.1"


@pytest.mark.parametrize("seq", ["", "x", "-1", "1.0", "9" * 40])
def test_a_number_that_is_none_is_minus_one(seq):
    assert parse(wrap(f"35=0|34={seq}|")).seq == -1


def test_raw_data_may_hold_anything_its_length_covers():
    message = parse(wrap("35=A|95=12|96=ab|10=000|=c|141=Y|"))
    assert message.pairs[1:] == [(95, "12"), (96, "ab\x0110=000\x01=c"), (141, "Y")]


def test_a_length_that_does_not_fit_splits_as_any_field():
    assert parse(wrap("35=A|95=99|96=abc|141=Y|")).pairs[1:] == [(95, "99"), (96, "abc"), (141, "Y")]


@pytest.mark.parametrize("field", ["x", "=5", "a=5", "05=1", "-1=2", "1" * 12 + "=1"])
def test_a_field_without_a_tag_number_has_the_tag_0(field):
    assert parse(wrap(f"35=0|{field}|")).pairs[1] == (0, field)


def test_groups_are_split_at_their_first_member_and_skip_what_is_unknown():
    pairs = [(268, "2"), (279, "0"), (55, "A"), (272, "x"), (270, "1"), (279, "1"), (55, "B"), (58, "end")]
    assert groups(pairs, 268, (279, 55, 270)) == [{279: "0", 55: "A", 270: "1"}, {279: "1", 55: "B"}]
    assert groups(pairs, 453, (448, 452)) == []
    assert groups([(453, "0"), (452, "1")], 453, (448, 452)) == []


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([(268, "x")], 6),
        ([(268, "1"), (55, "A"), (279, "0")], 15),
        ([(268, "2"), (279, "0")], 16),
        ([(268, "0"), (279, "0")], 16),
    ],
)
def test_a_broken_group_names_its_reason(pairs, reason):
    with pytest.raises(RemoteProtocolError) as caught:
        groups(pairs, 268, (279, 55))
    assert caught.value.reason == reason


@given(st.lists(st.tuples(st.integers(5000, 9999), TEXT), max_size=10), st.integers(1, 10**9))
def test_simplefix_reads_what_we_write(fields, seq):
    body = "".join(f"{tag}={value}\x01" for tag, value in fields)
    wire = encode("D", f"49=A\x0156=B\x0134={seq}\x0152=20261124-10:00:00.000\x01", body)
    parser = simplefix.FixParser()
    parser.append_buffer(wire)
    theirs = parser.get_message()
    assert [(int(t), v.decode("latin-1")) for t, v in theirs.pairs[7:-1]] == fields
    assert theirs.encode() == wire
    assert parse(wire).pairs[5:] == fields


@given(st.lists(st.tuples(st.integers(5000, 9999), TEXT), max_size=10))
def test_we_read_what_simplefix_writes(fields):
    theirs = simplefix.FixMessage()
    for tag, value in [(8, "FIXT.1.1"), (35, "D"), (34, 7), *fields]:
        theirs.append_pair(tag, value.encode("latin-1") if isinstance(value, str) else value)
    assert parse(theirs.encode()).pairs == [(35, "D"), (34, "7"), *fields]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (FieldType.INT, "-12", "1.0"),
        (FieldType.COUNT, "012", "-1"),
        (FieldType.DECIMAL, ".5", "1e5"),
        (FieldType.DECIMAL, "-1.", "41x"),
        (FieldType.BOOLEAN, "Y", "y"),
        (FieldType.CHAR, "=", "ab"),
        (FieldType.MULTIPLE, "6 G", "6  G"),
        (FieldType.TIMESTAMP, "20261124-10:00:00", "2026-13-01"),
        (FieldType.DATE, "20280229", "20270229"),
        (FieldType.TIME, "23:59:60.123", "24:00:00"),
    ],
)
def test_formats(kind, good, bad):
    assert well_formed(kind, good)
    assert not well_formed(kind, bad)
    assert well_formed(FieldType.STRING, bad)


def test_a_dictionary_that_names_undefined_tags_is_refused():
    with pytest.raises(ValueError, match="not defined"):
        Dictionary((), (MessageSpec(msg_type="D", name="D", fields=(Use(11),)),))
    with pytest.raises(ValueError, match="twice"):
        Dictionary((FieldSpec(tag=1, name="A"), FieldSpec(tag=1, name="B")), ())


def test_only_makes_the_other_messages_known_elsewhere():
    part = DICTIONARY.only(frozenset({"0", "1"}))
    assert set(part.messages) == {"0", "1"}
    assert {"D", "A", "V"} <= part.elsewhere


def test_group_order_counts_only_for_the_strict():
    spec = MessageSpec(msg_type="D", name="D", groups=(_group(),))
    dictionary = Dictionary(
        (*(FieldSpec(tag=tag, name=f"F{tag}") for tag in (35, 448, 447, 452)), _count()), (spec,)
    )
    message = parse(wrap("35=D|453=1|448=a|452=24|447=D|"))
    assert validate(message, dictionary, False) is None
    fault = validate(message, dictionary, True)
    assert isinstance(fault, SessionReject)
    assert (fault.reason, fault.ref_tag) == (15, 447)


def test_a_group_with_a_count_and_no_entries():
    spec = MessageSpec(msg_type="D", name="D", groups=(_group(),))
    dictionary = Dictionary(
        (*(FieldSpec(tag=tag, name=f"F{tag}") for tag in (35, 448, 447, 452)), _count()), (spec,)
    )
    fault = validate(parse(wrap("35=D|453=1|")), dictionary, True)
    assert isinstance(fault, SessionReject)
    assert fault.reason == 16
    assert validate(parse(wrap("35=D|453=0|")), dictionary, True) is None


def _count():
    return FieldSpec(tag=453, name="NoPartyIDs", type=FieldType.COUNT)


def _group():
    from engine.fix.dictionary import GroupSpec

    return GroupSpec(count_tag=453, members=(Use(448), Use(447), Use(452)))


def test_tags_are_ordered_and_unique():
    assert [int(tag) for tag in Tag] == sorted({int(tag) for tag in Tag})


def test_msg_types_are_unique():
    values = [value for name, value in vars(MsgType).items() if name.isupper()]
    assert len(values) == len(set(values))


def test_text_is_made_fit_for_a_value():
    assert clean_text("a\x01b \u20ac \xe9") == "a b ? \xe9"
