"""The independent reader and writer: simplefix reads all that we write, and we read all that it writes."""

import pytest
import simplefix
from golden.test_fix_session_messages import GOLDEN
from golden.test_golden_messages import EXPECTED, WIRE, fields

from engine.fix.dictionary import validate
from engine.fix.framer import Framer
from engine.fix.message import parse
from engine.kalshi import codec
from engine.kalshi.dictionary import DICTIONARY

# Two Logons as they stand on the wire, every flag set; the second has a SOH inside RawData, which its length allows for.
LOGONS = {
    "logon_every_flag": (
        "8=FIXT.1.1|9=206|35=A|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiRT|34=1|52=20261124-10:00:00.123|98=0|"
        "108=30|95=12|96=c2lnbmF0dXJl|141=Y|1137=9|8013=N|20126=Y|20200=72|21005=Y|21007=Y|21008=Y|21011=Y|21012=Y|"
        "21026=N|10=099|"
    ),
    "logon_soh_in_raw_data": (
        "8=FIXT.1.1|9=132|35=A|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiNR|34=1|52=20261124-10:00:00.123|98=0|"
        "108=30|95=10|96=a|10=123|=|141=Y|1137=9|10=048|"
    ),
}
SESSION = {f"{msg_type}-{number}": wire for number, (msg_type, _, wire) in enumerate(GOLDEN)} | LOGONS
ALL = {name: wire.replace("|", "\x01").encode("latin-1") for name, wire in SESSION.items()} | WIRE


def pairs_of(wire):
    """Tags and values with code of our own here; RawData by its length."""
    found = []
    while wire:
        tag, _, rest = wire.partition(b"=")
        length = int(dict(found).get(95, 0)) if tag == b"96" else rest.index(b"\x01")
        found.append((int(tag), rest[:length]))
        wire = rest[length + 1 :]
    return found


def test_every_message_type_of_both_directions_is_golden():
    """Session messages and application messages: none without its text."""
    assert {dict(pairs_of(wire))[35].decode() for wire in ALL.values()} == set(DICTIONARY.messages)


@pytest.mark.parametrize("name", ALL)
def test_simplefix_reads_the_golden_text(name):
    """Same tags and values in the same order, SOH inside RawData included."""
    parser = simplefix.FixParser()
    parser.append_buffer(ALL[name])
    message = parser.get_message()
    assert [(int(tag), value) for tag, value in message.pairs] == pairs_of(ALL[name])


@pytest.mark.parametrize("name", ALL)
def test_what_simplefix_writes_is_the_golden_text_and_we_read_it(name):
    """It reckons BodyLength and CheckSum by itself: a third opinion on every text here, in whatever pieces it comes."""
    message = simplefix.FixMessage()
    for tag, value in pairs_of(ALL[name]):
        if tag not in {9, 10}:
            message.append_pair(tag, value)
    wire = message.encode()
    assert wire == ALL[name]
    framer = Framer(1 << 20)
    frames = [frame for at in range(len(wire)) for frame in framer.feed(wire[at : at + 1])]
    assert frames == [wire]
    read = parse(frames[0])
    assert [(tag, value.encode("latin-1")) for tag, value in read.pairs] == [
        pair for pair in pairs_of(wire) if pair[0] not in {8, 9, 10}
    ]
    if name in EXPECTED:
        assert codec.decode(read) == EXPECTED[name]
    else:
        assert validate(read, DICTIONARY, strict=True) is None


def test_the_golden_logon_says_what_its_flags_are():
    """Every flag of venue.md section 2, as the venue reads them."""
    logon = codec.parse_logon(parse(ALL["logon_every_flag"]))
    assert (logon.cancel_orders_on_disconnect, logon.listener_session, logon.message_retention_period_h) == (
        False,
        True,
        72,
    )
    assert (logon.use_dollars, logon.enable_ioc_cancel_report, logon.preserve_original_order_qty) == (
        True,
    ) * 3
    assert (logon.skip_pending_exec_reports, logon.use_expired_ord_status) == (True, True)
    assert logon.always_emit_new_before_trade is False
    assert fields(ALL["logon_every_flag"])[0] == (8, b"FIXT.1.1")
