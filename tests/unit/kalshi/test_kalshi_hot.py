"""The hot codec against the generic one: equal or left to it, on every variant of a message."""

import os
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.fix.dictionary import validate
from engine.fix.encoder import encode
from engine.fix.errors import LocalProtocolError
from engine.fix.fields import FieldType, well_formed
from engine.fix.message import parse
from engine.kalshi import codec, hot, layouts
from engine.kalshi.dictionary import DICTIONARY
from engine.kalshi.messages import (
    MarketDataIncremental,
    MarketDataSnapshot,
    NewOrderSingle,
    OrderCancelReplaceRequest,
    OrderCancelRequest,
)

DECODERS = {**hot.HOT, **hot.VENUE_HOT}
PATH = os.path.join(os.path.dirname(__file__), "..", "..", "golden", "messages.txt")
with open(PATH, encoding="utf-8") as file:
    _LINES = [line.rstrip("\n") for line in file if not line.startswith("#")]
FRAMES = {
    name: wire
    for name, wire in zip(_LINES[::2], _LINES[1::2], strict=True)
    if re.search(r"\|35=([XW8DFG])\|", wire)
}


@pytest.fixture(autouse=True)
def _fresh():
    forget_plans()


def forget_plans():
    for plans in (hot._EIGHT, hot._D, hot._F, hot._G):
        plans._known.clear()
        plans._by_count.clear()
    for plans in (hot._X, hot._W):
        plans._known.clear()
        plans._plans.clear()
        plans._known_wholes.clear()
        plans._wholes.clear()
        plans._last = re.compile(r"(?!)").fullmatch


def build(pairs):
    """Assemble a frame with its own length and sum from (tag, value) behind BodyLength."""
    body = "".join(f"{tag}={value}\x01" for tag, value in pairs).encode("latin-1")
    frame = b"8=FIXT.1.1\x019=%d\x01%s" % (len(body), body)
    return frame + b"10=%03d\x01" % (sum(frame) % 256)


def pairs_of(wire):
    return [tuple(field.split("=", 1)) for field in wire.split("|")[2:-2]]


def generic(frame):
    """The general way: None when the message is refused."""
    message = parse(frame)
    if validate(message, DICTIONARY, strict=message.msg_type in hot.VENUE_HOT) is not None:
        return None
    try:
        decoded = codec.decode(message)
    except codec.BadField:
        return None
    if isinstance(decoded, MarketDataIncremental | MarketDataSnapshot):
        decoded = hot.book_message(decoded)
    return message.seq, message.sending_time, decoded


def check(frame):
    """What hot gives is what the general way gives, or nothing; say which."""
    text = frame.decode("latin-1")
    msg_type = re.search("\x0135=([^\x01]*)", text)[1]
    found = DECODERS[msg_type](text)
    if found is None or not well_formed(FieldType.TIMESTAMP, found[1]):
        return False  # SendingTime is read by the session, which leaves a bad one to the general way
    assert found == generic(frame)
    return True


VALUES = st.one_of(
    st.sampled_from(
        ["", "0", "1", "2", "3", "9", "Y", "N", "F", "10", "10.0", "10.00", ".5", "-1", "5.", ".", "1.00001", "1e5", "a=b",
         "x", " ", "12", "01", "20261124-10:00:00", "20261124-10:00:00.5", "20261399-10:00:00.000", "279=0", "\u00e9",
         "99999999999999999999", "123456;7", "\n", "6 6", "\xb2"]
    ),
    st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\x01"), max_size=6),
)  # fmt: skip
TAGS = st.sampled_from(
    ["6", "8", "9", "10", "11", "31", "34", "35", "43", "44", "49", "55", "58", "59", "79", "95", "122", "126", "136", "137",
     "138", "268", "269", "270", "271", "272", "279", "448", "452", "453", "1128", "1703", "1704", "2446", "30001"]
)  # fmt: skip
# Every edit keeps MsgType in front, as the framer does; positions are taken modulo the length.
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("swap"), st.integers(0, 99), st.integers(0, 99)),
        st.tuples(st.just("drop"), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("double"), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("value"), st.integers(0, 99), VALUES),
        st.tuples(st.just("insert"), st.integers(0, 99), st.tuples(TAGS, VALUES)),
    ),
    min_size=1,
    max_size=3,
)


def edited(pairs, edits):
    pairs = list(pairs)
    for what, position, value in edits:
        at = 1 + position % (len(pairs) - 1)
        if what == "swap":
            other = 1 + value % (len(pairs) - 1)
            pairs[at], pairs[other] = pairs[other], pairs[at]
        elif what == "drop" and len(pairs) > 3:
            del pairs[at]
        elif what == "double":
            pairs.insert(at, pairs[at])
        elif what == "value":
            pairs[at] = (pairs[at][0], value)
        elif what == "insert":
            pairs.insert(at, value)
    return pairs


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(sorted(FRAMES)), EDITS)
def test_hot_and_generic_agree_on_any_variant(name, edits):
    """Fields moved, dropped, doubled, changed, added: the same struct, or the general way has it."""
    forget_plans()
    check(build(pairs_of(FRAMES[name])))
    check(build(edited(pairs_of(FRAMES[name]), edits)))
    check(build(pairs_of(FRAMES[name])))


ANY_ORDER = st.permutations(pairs_of(FRAMES["report_new"])[5:])


@settings(max_examples=60, deadline=None)
@given(ANY_ORDER, st.permutations(pairs_of(FRAMES["report_new"])[1:5]))
def test_any_order_of_a_report_gets_a_plan(body, header):
    """Order of header and of body fields is the venue's affair."""
    forget_plans()
    frame = build([("35", "8"), *header, *body])
    assert check(frame)
    assert check(frame)


def turned(name):
    """A frame whose entries have their fields in another order, the delimiter first."""
    pairs = pairs_of(FRAMES[name])
    entries = []
    for pair in pairs[6:]:
        if pair[0] == "279":
            entries.append([])
        entries[-1].append(pair)
    return build(pairs[:6] + [pair for entry in entries for pair in (entry[0], *reversed(entry[1:]))])


@pytest.mark.parametrize("name", ["incremental", "incremental_two_markets", "incremental_with_times"])
def test_another_order_of_entry_fields_gets_a_plan(name):
    """The delimiter first, the rest in any order."""
    assert check(turned(name))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("report_trade", ("43", "Y")),
        ("report_trade", ("122", "20261124-09:00:00.000")),
        ("report_trade", ("97", "Y")),
        ("incremental", ("43", "Y")),
        ("snapshot", ("97", "N")),
        ("new_order", ("43", "Y")),
    ],
)
def test_resent_messages_are_left_to_the_session(name, change):
    """PossDup and its kin are decided by the general way."""
    pairs = pairs_of(FRAMES[name])
    assert check(build(pairs))
    assert not check(build([*pairs[:5], change, *pairs[5:]]))


def test_a_gateway_takes_no_unknown_tag_and_a_client_does():
    """Strict for D, F, G; tolerant for 8, W, X."""
    for name, takes in (("new_order", False), ("cancel", False), ("replace", False), ("report_new", True)):
        pairs = pairs_of(FRAMES[name])
        assert check(build([*pairs, ("30001", "")])) is takes
    entry = [*pairs_of(FRAMES["incremental"]), ("30001", "x")]
    assert check(build(entry))


def test_gtd_without_expire_time_is_left_to_validation():
    """59=6 needs 126 (380=5): a plan without 126 takes every other TimeInForce."""
    pairs = pairs_of(FRAMES["new_order"])
    for value, takes in (("0", True), ("4", True), ("6", False)):
        assert check(build([(tag, value if tag == "59" else old) for tag, old in pairs])) is takes


@pytest.mark.parametrize("count", ["1", "2", "4", "03", "x", "-3"])
def test_the_entry_count_must_hold(count):
    """268 is checked against what was found: findall alone would skip what it can't match."""
    pairs = [(tag, count if tag == "268" else value) for tag, value in pairs_of(FRAMES["incremental"])]
    assert check(build(pairs)) is (count == "03")


def test_a_broken_entry_is_not_skipped_even_when_the_count_agrees():
    """Three delimiters, two good entries, 268=2."""
    pairs = [(tag, "2" if tag == "268" else value) for tag, value in pairs_of(FRAMES["incremental"])]
    del pairs[8]
    assert not check(build(pairs))


def test_a_frame_of_few_entries_gets_a_plan_for_all_of_it():
    """Entries that lack what others have included; it gives the same, and nothing where the count is wrong."""
    forget_plans()
    pairs = pairs_of(FRAMES["incremental_with_times"])
    frame = build(pairs)
    assert [check(frame) for _ in range(3)] == [True] * 3
    assert hot._X._last(frame.decode("latin-1")) is not None
    assert not check(build([("268", "3") if pair == ("268", "2") else pair for pair in pairs]))


@pytest.mark.parametrize("zeros", [8, 9, 17, 18, 30])
@pytest.mark.parametrize("name", ["incremental", "snapshot", "report_trade"])
def test_a_count_with_leading_zeros_is_taken_as_far_as_the_general_way_takes_it(name, zeros):
    forget_plans()
    pairs = pairs_of(FRAMES[name])
    check(build(pairs))
    check(build(pairs))
    counted = [(tag, "0" * zeros + value if tag in ("268", "136", "1703") else value) for tag, value in pairs]
    check(build(counted))


def test_entries_that_lack_nearly_all_of_many_fields_cost_no_more_than_their_length():
    """A pattern that went back for each of them would take their number squared."""
    forget_plans()
    tags = [str(20_000 + number) for number in range(4000)]
    head = [
        ("35", "X"),
        ("49", "KalshiMD"),
        ("56", "k"),
        ("34", "1"),
        ("52", "20261124-10:00:00.123"),
        ("268", "1"),
    ]
    entry = [("279", "0"), ("55", "BTC-PERP"), ("269", "0"), ("270", "19.5"), ("271", "3")]
    long = [(tag, "1") for tag in tags]
    assert check(build([*head, *entry, *long]))
    findall = hot._X._plans[0].findall

    def least_ns(frame):
        text = frame.decode("latin-1")
        at = text.index("\x01279=")
        times = []
        for _ in range(3):
            begin = time.perf_counter_ns()
            found = findall(text, at)
            times.append(time.perf_counter_ns() - begin)
        return min(times), len(found)

    taken_ns, found = least_ns(build([*head, *entry, *long]))
    assert found == 1
    left_ns, found = least_ns(build([*head, *entry, *long[:-1], ("9999", "1")]))
    assert found == 0
    assert left_ns < 30 * taken_ns  # it was hundreds of times


def test_entries_in_another_order_are_found_one_by_one():
    """A plan for the whole would give their values in the wrong places."""
    forget_plans()
    assert [check(turned("incremental")) for _ in range(3)] == [True] * 3
    assert not hot._X._wholes


def test_the_number_of_plans_is_bounded():
    """A counterparty that never repeats a layout costs time, not memory."""
    pairs = pairs_of(FRAMES["report_new"])
    for number in range(200):
        check(build([*pairs, (str(30001 + number), "x")]))
    assert len(hot._EIGHT._known) == layouts.PLANS_MAX
    assert not check(build([*pairs, ("40001", "x")]))
    pairs = pairs_of(FRAMES["snapshot"])
    for number in range(50):
        check(build([*pairs, (str(30001 + number), "x")]))
    assert len(hot._W._plans) <= layouts.ENTRY_PLANS_MAX
    assert len(hot._W._known_wholes) <= layouts.WHOLE_PLANS_MAX


def test_many_layouts_of_one_length_are_told_apart():
    """Same number of fields, other tags."""
    pairs = pairs_of(FRAMES["report_new"])
    frames = [
        build([*pairs, (tag, value)]) for tag, value in (("58", "x"), ("79", "1"), ("704", "1"), ("880", "y"))
    ]
    assert all(check(frame) for frame in frames * 2)
    assert len(hot._EIGHT._known) == 4


def test_a_deleted_trade_is_no_trade():
    """279=2 on 269=2 changes nothing, in both codecs."""
    body = "268=1\x01279=2\x0155=B\x01269=2\x01270=1\x01271=1\x01"
    frame = encode("X", "49=K\x0156=k\x0134=1\x0152=20261124-10:00:00.000\x01", body)
    assert check(frame)
    assert hot.decode_incremental(frame.decode())[2] == hot.BookMessage([("B", [], [], False)])


ORDER = NewOrderSingle(cl_ord_id="a", symbol="B", side="1", order_qty=100, price=1)


@pytest.mark.parametrize("value", ["", "a\x01b", "x\u0394", "\xe9", "a=", "="])
def test_hot_encoders_refuse_and_allow_what_the_generic_ones_do(value):
    """Every text field, hot and generic side by side."""
    cases = [
        (hot.encode_new_order, NewOrderSingle, {"cl_ord_id": "a", "symbol": "B", "side": "1", "order_qty": 100, "price": 1,
                                                "exec_inst": "6", "secondary_cl_ord_id": "g"}),
        (hot.encode_cancel, OrderCancelRequest, {"cl_ord_id": "a", "orig_cl_ord_id": "b", "symbol": "B", "side": "1", "order_id": "o"}),
        (hot.encode_replace, OrderCancelReplaceRequest, {"cl_ord_id": "a", "orig_cl_ord_id": "b", "symbol": "B", "side": "1",
                                                         "order_id": "o", "order_qty": 100, "price": 5}),
    ]  # fmt: skip
    for encoder, kind, fields in cases:
        encoder(kind(**fields))
        for name in [name for name, old in fields.items() if isinstance(old, str)]:
            message = kind(**{**fields, name: value})
            try:
                expected = codec.encode_body(message)[1]
            except LocalProtocolError:
                with pytest.raises(LocalProtocolError):
                    encoder(message)
            else:
                assert encoder(message) == expected


def test_order_templates_are_bounded_and_exact(monkeypatch):
    """Orders that differ only in id, quantity and price share a template; many kinds don't grow without end."""
    monkeypatch.setattr(hot, "_TEMPLATES", {})
    monkeypatch.setattr(hot, "_TEMPLATES_MAX", 3)
    for number in range(1, 20):
        for group in ("", "38=1", f"g{number}"):
            order = NewOrderSingle(
                cl_ord_id=f"38={number}",
                symbol="44=B",
                side="1",
                order_qty=number,
                price=number * 7,
                secondary_cl_ord_id=group,
            )
            assert hot.encode_new_order(order) == codec.encode_body(order)[1]
            assert hot.encode_new_order(order) == codec.encode_body(order)[1]
    assert len(hot._TEMPLATES) <= 3


def test_optional_memos_are_bounded(monkeypatch):
    """A hostile feed can't grow them."""
    monkeypatch.setattr(hot, "_MEMO_MAX", 10)
    memo = hot._Optional(int)
    assert [memo[str(number)] for number in range(100)] == list(range(100))
    assert (memo[""], len(memo) <= 10) == (None, True)


@pytest.mark.parametrize("value", ["Y", "1e5", ".", "19.5.0"])
def test_a_decimal_kept_as_text_is_checked_all_the_same(value):
    """AvgPx(6) is never computed with, but 373=6 is due for what is no number."""
    pairs = [(tag, value if tag == "6" else old) for tag, old in pairs_of(FRAMES["report_new"])]
    assert not check(build(pairs))
