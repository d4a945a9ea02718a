"""Framing: chunking, junk, the cap; and the sum."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions.script_runner import wrap

from engine.fix.encoder import checksum
from engine.fix.errors import MessageTooLong
from engine.fix.framer import Framer

GOOD = [
    wrap("35=0|34=2|"),
    wrap("35=D|34=3|58=caf\xe9 8=FIXT.1.1 9=5|"),
    wrap("35=A|34=1|95=31|96=ab|10=000|8=FIXT.1.1|9=5|35=0|cd|141=Y|"),
    wrap("35=X|34=4|58=" + "z" * 900 + "|"),
    wrap("35=0|", begin="FIX.4.4"),
]
JUNK = [
    b"",
    b"hello\x01",
    b"8=FI",
    b"8=FIX",
    b"8=FIXT.1.1\x019=12\x0134=5\x01",
    b"8=FIXT.1.1\x019=5\x0135=0\x0110=000\x01",
    b"8=FIXT.1.1\x019=7\x0135=0\x0110=161\x01",
    b"8=FIXT.1.1\x019=x\x01",
    b"10=123\x01",
]


def feed_all(chunks, cap=10_000):
    framer = Framer(cap)
    frames = []
    for chunk in chunks:
        frames += framer.feed(chunk)
    return frames, framer.garbled


def chunked(data, cuts):
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(
    parts=st.lists(st.sampled_from(GOOD + JUNK) | st.binary(max_size=12), max_size=12),
    cuts=st.lists(st.integers(0, 10_000), max_size=40),
)
def test_any_chunking_of_a_stream_gives_the_same_messages(parts, cuts):
    data = b"".join(parts)
    whole = feed_all([data])
    assert feed_all(chunked(data, cuts)) == whole
    assert feed_all([bytes([byte]) for byte in data]) == whole


@given(parts=st.lists(st.sampled_from(GOOD), max_size=8))
def test_good_messages_come_out_as_they_went_in(parts):
    assert feed_all([b"".join(parts)]) == (parts, 0)


@pytest.mark.parametrize("junk", JUNK)
def test_junk_costs_no_good_message(junk):
    """A length that lies may reach into what follows, but what follows is found again."""
    frames, garbled = feed_all([junk + GOOD[0] + GOOD[1] + GOOD[2]])
    assert frames == GOOD[:3]
    assert garbled == bool(junk)


@pytest.mark.parametrize("length", [99, 100, 255, 256, 257, 511, 512, 513, 999, 1000, 9_999, 10_000])
def test_lengths_at_every_boundary_are_taken(length):
    """Scenario 3.1."""
    message = wrap("35=0|58=" + "y" * (length - 9) + "|")
    assert feed_all([message], cap=20_000) == ([message], 0)


@pytest.mark.parametrize("length", [*range(20, 150), *range(1015, 1045)])
@pytest.mark.parametrize("junk", [b"", b"junk 8=FI"])
def test_whole_reads_are_cut_by_what_they_announce(length, junk):
    """One read with one message is the short way: it must take just what the long way takes, whatever is announced, at any
    cap, and say as much of junk before and after it.
    """
    for size in (*range(-3, 12), *range(length - 40, length)):
        for tag, last in ((b"35=0\x01", b"\x01"), (b"34=0\x01", b"\x01"), (b"35=0\x01", b"z")):
            head = b"8=FIXT.1.1\x019=%d\x01" % size + tag
            data = head + b"z" * (length - len(head) - 8) + last
            data += b"10=%03d\x01" % (sum(data) % 256)
            for cap in (10_000, length, length - 1):
                assert results(cap, junk, [data, junk]) == results(cap, junk, [data[:1], data[1:], junk]), (
                    size
                )


def results(cap, junk, chunks):
    framer = Framer(cap)
    found, text = [], ""
    try:
        for chunk in (junk, *chunks):
            found += framer.feed(chunk)
    except MessageTooLong as error:
        found += error.frames
        text = error.text
    return found, text, framer.garbled


def test_every_sum_is_taken_with_its_zeros():
    for number in range(600):
        message = wrap(f"35=0|58={number}{chr(65 + number % 26)}|")
        assert feed_all([message]) == ([message], 0)


def test_over_the_cap_raises_with_what_came_before():
    framer = Framer(100)
    with pytest.raises(MessageTooLong) as caught:
        framer.feed(GOOD[0] + b"8=FIXT.1.1\x019=9999999\x0135=0")
    assert caught.value.frames == [GOOD[0]]


def test_memory_stays_bounded_by_the_cap():
    framer = Framer(1000)
    framer.feed(b"8=FIXT.1.1\x019=900\x0135=")
    for _ in range(10_000):
        framer.feed(b"zzzzzzzzzz")
        assert framer._have <= 1000 if framer._parts else True
    assert framer.garbled == 1


@given(st.binary(max_size=3000))
def test_checksum_is_exact_for_any_bytes(data):
    assert checksum(data) == sum(data) % 256


@pytest.mark.parametrize("byte", [b"\x00", b"\x7f", b"\x80", b"\xff"])
@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 511, 512, 513, 65_536, 100_001])
def test_checksum_is_exact_at_the_worst(byte, length):
    assert checksum(byte * length) == sum(byte * length) % 256
