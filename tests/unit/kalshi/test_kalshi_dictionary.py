"""The dictionary as data agrees with the venue's own XML, field by field."""

import os
import xml.etree.ElementTree as ET

import pytest

from engine.fix.dictionary import BusinessReject, validate
from engine.fix.encoder import encode
from engine.fix.fields import FieldType
from engine.fix.message import parse
from engine.fix.tags import Tag
from engine.kalshi.dictionary import (
    CLIENT_DICTIONARY,
    CLIENT_TAKES,
    DICTIONARY,
    SESSIONS,
    VENUE_TAKES,
    venue_dictionary,
)
from engine.kalshi.tags import VenueTag

PATH = os.path.join(os.path.dirname(__file__), "..", "..", "golden", "kalshi-margin-dictionary.xml")
XML = ET.parse(PATH).getroot()
NUMBERS = {field.get("name"): int(field.get("number")) for field in XML.find("fields")}
TYPES = {
    "PRICE": FieldType.DECIMAL, "QTY": FieldType.DECIMAL, "AMT": FieldType.DECIMAL, "SEQNUM": FieldType.COUNT,
    "LENGTH": FieldType.COUNT, "NUMINGROUP": FieldType.COUNT, "STRING": FieldType.STRING,
    "CURRENCY": FieldType.STRING, "CHAR": FieldType.CHAR, "INT": FieldType.INT, "BOOLEAN": FieldType.BOOLEAN,
    "DATA": FieldType.DATA, "MULTIPLEVALUESTRING": FieldType.MULTIPLE, "UTCTIMESTAMP": FieldType.TIMESTAMP,
    "UTCDATEONLY": FieldType.DATE, "UTCTIMEONLY": FieldType.TIME,
}  # fmt: skip


def uses(node):
    return [(NUMBERS[field.get("name")], field.get("required") == "Y") for field in node.findall("field")]


def test_the_fields_are_those_of_the_xml():
    """Numbers, names, types and enumerations."""
    expected = {
        int(field.get("number")): (
            field.get("name"),
            TYPES[field.get("type")],
            frozenset(value.get("enum") for value in field),
        )
        for field in XML.find("fields")
    }
    assert {f.tag: (f.name, f.type, f.values) for f in DICTIONARY.fields.values()} == expected


@pytest.mark.parametrize("node", list(XML.find("messages")), ids=lambda node: node.get("name"))
def test_the_messages_are_those_of_the_xml(node):
    """Fields and their order, required or not; groups and their members in order."""
    spec = DICTIONARY.messages[node.get("msgtype")]
    assert spec.name == node.get("name")
    assert [(use.tag, use.required) for use in spec.fields] == uses(node)
    groups = {
        NUMBERS[group.get("name")]: (group.get("required") == "Y", uses(group))
        for group in node.findall("group")
    }
    found = {g.count_tag: (g.required, [(u.tag, u.required) for u in g.members]) for g in spec.groups}
    assert found == groups


def test_there_is_no_message_beyond_the_xml():
    """Every MsgType of the table is the venue's."""
    assert set(DICTIONARY.messages) == {node.get("msgtype") for node in XML.find("messages")}


def test_tag_tables_are_ordered_unique_and_named_as_in_the_xml():
    """Standard numbers in fix, the venue's here, no number in both."""
    for table in (Tag, VenueTag):
        numbers = [tag.value for tag in table]
        assert numbers == sorted(set(numbers))
    assert not {tag.value for tag in Tag} & {tag.value for tag in VenueTag}
    names = {number: name for name, number in NUMBERS.items()}
    assert all(names[tag.value] == tag.name for tag in VenueTag)


def frame(msg_type, body):
    header = "49=Kalshi\x0156=key\x0134=2\x0152=20261124-10:00:00.000\x01"
    return parse(encode(msg_type, header, body.replace("|", "\x01")))


@pytest.mark.parametrize(
    ("msg_type", "body", "tag"),
    [
        ("D", "11=a|38=1|40=2|44=1|54=1|55=B|59=6|", 126),
        ("V", "263=1|", 146),
        ("V", "263=0|", 146),
        ("UOG", "20131=1|", 20132),
        ("UOG", "20131=5|20132=3|", 20130),
        ("UOG", "20131=4|", 20130),
    ],
)
def test_conditionally_required_fields_are_asked_for(msg_type, body, tag):
    """35=j 380=5 (scenario 10.2)."""
    fault = validate(frame(msg_type, body), DICTIONARY, strict=True)
    assert isinstance(fault, BusinessReject)
    assert (fault.reason, fault.ref_tag) == (5, tag)


def test_unsubscribing_needs_no_symbols():
    """263=2 without 146 means all."""
    assert validate(frame("V", "263=2|"), DICTIONARY, strict=True) is None


def test_each_gateway_takes_its_own_messages_and_names_the_others():
    """Known but not for this session is 35=j 380=3 (scenario 2.13); mass cancel is KalshiNR's only."""
    assert tuple(VENUE_TAKES) == ("KalshiNR", "KalshiRT", "KalshiDC", "KalshiMD")
    assert set(SESSIONS) == set(VENUE_TAKES)
    for session, taken in VENUE_TAKES.items():
        dictionary = venue_dictionary(session)
        assert set(dictionary.messages) == taken | set("012345A")
    fault = validate(frame("q", "11=a|530=6|"), venue_dictionary("KalshiRT"), strict=True)
    assert (type(fault), fault.reason) == (BusinessReject, 3)
    assert set(CLIENT_DICTIONARY.messages) == CLIENT_TAKES | set("012345A")


def test_a_report_is_not_lost_over_a_value_or_tag_that_the_venue_adds():
    """Tolerant reading: unknown reasons, statuses and tags pass; strict reading refuses them."""
    body = "37=o|11=a|17=1;1|150=Z|39=Z|54=1|55=B|151=0|14=0|6=0|38=1|103=77|30001=new|"
    assert validate(frame("8", body), CLIENT_DICTIONARY, strict=False) is None
    assert validate(frame("8", body), DICTIONARY, strict=True) is not None
