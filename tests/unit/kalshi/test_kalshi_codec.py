"""The generic codec: what it refuses, and that what it writes it reads back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.fix.encoder import encode
from engine.fix.errors import LocalProtocolError
from engine.fix.message import parse
from engine.kalshi import codec
from engine.kalshi.codec import BadField
from engine.kalshi.messages import (
    ExecutionReport,
    Logon,
    MarketDataEntry,
    MarketDataIncremental,
    MarketDataSnapshot,
    NewOrderSingle,
    OrderCancelReject,
    OrderCancelReplaceRequest,
)

HEADER = "49=Kalshi\x0156=key\x0134=2\x0152=20261124-10:00:00.000\x01"
REPORT = "37=o|11=a|17=1;1|150=F|39=1|54=1|55=B|151=0|14=0|6=0|38=1|"


def message(msg_type, body):
    return parse(encode(msg_type, HEADER, body.replace("|", "\x01")))


@pytest.mark.parametrize(
    ("msg_type", "body", "tag", "text"),
    [
        ("8", REPORT.replace("37=o|", ""), 37, "OrderID(37) is missing"),
        ("8", REPORT.replace("151=0", "151=x"), 151, "LeavesQty(151): 'x' is not a decimal number"),
        ("8", REPORT.replace("55=B", "55="), 55, "Symbol(55) has no value"),
        ("8", REPORT.replace("54=1", "54=12"), 54, "Side(54): '12' is not one character"),
        ("8", REPORT + "31=1.00001|", 31, "LastPx(31): '1.00001' has more than 4 decimals"),
        ("8", REPORT + "32=0.001|", 32, "LastQty(32): '0.001' has more than 2 decimals"),
        ("8", REPORT + "60=20261301-00:00:00|", 60, "TransactTime(60): '20261301-00:00:00' names a day that doesn't exist"),
        ("8", REPORT + "103=1.5|", 103, "OrdRejReason(103): '1.5' is not a whole number"),
        ("8", REPORT + "1057=X|", 1057, "AggressorIndicator(1057): 'X' is not Y or N"),
        ("8", REPORT + "136=1|138=USD|", 138, "the group 136 must begin with 137"),
        ("8", REPORT + "136=2|137=1|138=USD|139=4|891=0|", 136, "the group 136 says 2 entries and has 1"),
        ("8", REPORT + "136=1|137=0.1234567|", 137, "MiscFeeAmt(137): '0.1234567' has more than 6 decimals"),
        ("8", REPORT + "1703=1|1704=1|", 1705, "CollateralAmountType(1705) is missing in its group"),
        ("X", "268=1|279=3|55=B|269=0|270=1|271=1|", 279, "MDUpdateAction(279): '3' is not known"),
        ("X", "268=2|279=0|55=B|269=0|270=1|271=1|", 268, "the group 268 says 2 entries and has 1"),
        ("X", "268=1|279=0|269=0|270=1|271=1|", 55, "Symbol(55) is missing in its group"),
        ("W", "55=B|268=1|269=0|270=abc|271=1|", 270, "MDEntryPx(270): 'abc' is not a decimal number"),
        ("U2", "45=1|", 21003, "ResendEventCount(21003) is missing"),
        ("D", "11=a|38=1|40=2|44=1|54=1|55=B|21006=1|", 21006, "CancelOrderOnPause(21006): '1' is not Y or N"),
        ("Z", "11=a|", 35, "MsgType(35) 'Z' is no application message of the venue"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(msg_type, body, tag, text):
    """Tag and reason, fit for RefTagID(371) and Text(58)."""
    with pytest.raises(BadField) as caught:
        codec.decode(message(msg_type, body))
    assert (caught.value.tag, caught.value.text) == (tag, text)


@pytest.mark.parametrize(("text", "price"), [("10", 100000), ("10.0", 100000), ("10.00", 100000), (".5", 5000), ("0.0001", 1), ("10.0000000", 100000), ("010", 100000)])  # fmt: skip
def test_any_exact_decimal_text_is_read(text, price):
    """Prices come with any scale."""
    assert codec.decode(message("8", REPORT + f"44={text}|")).price == price


def test_unknown_tags_are_skipped_and_the_first_of_two_values_counts():
    """The venue adds fields at any time."""
    decoded = codec.decode(message("8", "30001=x|" + REPORT + "58=a=b|58=c|"))
    assert (decoded.text, decoded.symbol) == ("a=b", "B")


def test_entries_of_an_unknown_type_change_no_level():
    """269 other than bid, offer, trade is left out; an unknown aggressor is none."""
    body = (
        "268=3|279=0|55=B|269=J|270=1|271=1|279=0|55=B|269=2|270=1|271=2|2446=9|279=0|55=B|269=1|270=3|271=1|"
    )
    entries = codec.decode(message("X", body)).entries
    assert [(e.entry_type, e.price, e.qty, e.aggressor_side) for e in entries] == [
        (2, 10000, 200, 0),
        (1, 30000, 100, 0),
    ]
    assert codec.decode(message("W", "55=B|268=2|269=2|270=1|271=1|269=1|270=3|271=1|")).levels == [
        1,
        30000,
        100,
    ]


@pytest.mark.parametrize("value", ["a\x01b", "\x01", "ab\u0394"])
def test_no_value_can_smuggle_in_a_field(value):
    """SOH and what latin-1 lacks are refused in ids and symbols, cleaned in texts."""
    order = NewOrderSingle(cl_ord_id=value, symbol="B", side="1", order_qty=100, price=1)
    with pytest.raises(LocalProtocolError):
        codec.encode_body(order)
    snapshot = MarketDataIncremental(
        entries=[MarketDataEntry(action=0, symbol=value, entry_type=0, price=1, qty=1)]
    )
    with pytest.raises(LocalProtocolError):
        codec.encode_body(snapshot)
    reject = OrderCancelReject(
        order_id="o", cl_ord_id="a", ord_status="0", cxl_rej_response_to="1", text=value
    )
    assert codec.encode_body(reject)[1].count("\x01") == 5


def test_an_empty_required_text_is_refused():
    """`11=` would be 373=4 at the venue."""
    with pytest.raises(LocalProtocolError, match=r"Symbol\(55\) is required and empty"):
        codec.encode_body(NewOrderSingle(cl_ord_id="a", symbol="", side="1", order_qty=100, price=1))


def test_money_is_written_with_four_decimals_or_six():
    """Four where they are enough, six where four would hide something."""
    assert [codec.money_text(value) for value in (58_500, 12_345, -100, -1, 0)] == ["0.0585", "0.012345", "-0.0001", "-0.000001", "0.0000"]  # fmt: skip


def test_logon_fields_stand_in_the_documented_order():
    """Venue flags by venue.md section 2; what is None is left out; the reader gives them back."""
    logon = Logon(
        cancel_orders_on_disconnect=True,
        listener_session=False,
        message_retention_period_h=24,
        use_dollars=True,
        enable_ioc_cancel_report=True,
        preserve_original_order_qty=False,
        skip_pending_exec_reports=True,
        use_expired_ord_status=True,
        always_emit_new_before_trade=True,
    )
    text = codec.logon_fields(logon)
    assert text.replace("\x01", "|") == (
        "8013=Y|20126=N|20200=24|21005=Y|21007=Y|21008=N|21011=Y|21012=Y|21026=Y|"
    )
    assert codec.parse_logon(parse(encode("A", HEADER, "98=0\x01108=5\x01" + text))) == logon
    assert codec.logon_fields(Logon()) == ""
    assert codec.parse_logon(parse(encode("A", HEADER, "98=0\x01"))) == Logon()
    with pytest.raises(BadField, match="20200"):
        codec.parse_logon(parse(encode("A", HEADER, "20200=x\x01")))


WORDS = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), min_size=1, max_size=12
)
MAYBE_WORDS = st.one_of(st.just(""), WORDS)
PRICES = st.integers(0, 10**9)
OPTIONAL = st.one_of(st.none(), PRICES)
TIMES = st.one_of(st.none(), st.integers(0, 4 * 10**9 * 1000).map(lambda ms: ms * 1_000_000))
REPORTS = st.builds(
    ExecutionReport,
    order_id=WORDS, cl_ord_id=WORDS, exec_id=WORDS, exec_type=st.sampled_from("0F458CA6E"),
    ord_status=st.sampled_from("012456 8ACE".replace(" ", "")), side=st.sampled_from("12"), symbol=WORDS,
    leaves_qty=PRICES, cum_qty=PRICES, order_qty=PRICES, avg_px=PRICES.map(str), last_mkt=MAYBE_WORDS,
    last_px=OPTIONAL, last_qty=OPTIONAL, ord_rej_reason=st.one_of(st.none(), st.integers(0, 99)),
    orig_cl_ord_id=MAYBE_WORDS, price=OPTIONAL, transact_time_ns=TIMES, text=MAYBE_WORDS, expire_time_ns=TIMES,
    misc_fee_amt=st.one_of(st.none(), st.integers(-(10**9), 10**9)), alloc_account=st.one_of(st.none(), st.integers(0, 63)),
    long_qty=OPTIONAL, short_qty=OPTIONAL, trd_match_id=MAYBE_WORDS, aggressor_indicator=st.sampled_from(["", "Y", "N"]),
    self_trade_prevention_type=st.sampled_from(["", "1", "2"]),
)  # fmt: skip
ORDERS = st.builds(
    NewOrderSingle,
    cl_ord_id=WORDS, symbol=WORDS, side=st.sampled_from("12"), order_qty=PRICES, price=PRICES,
    time_in_force=st.sampled_from("0134"), exec_inst=st.sampled_from(["", "6"]), expire_time_ns=TIMES,
    alloc_account=st.one_of(st.none(), st.integers(0, 63)), secondary_cl_ord_id=MAYBE_WORDS,
    cancel_order_on_pause=st.one_of(st.none(), st.booleans()),
)  # fmt: skip
REPLACES = st.builds(
    OrderCancelReplaceRequest,
    cl_ord_id=WORDS, orig_cl_ord_id=WORDS, symbol=WORDS, side=st.sampled_from("12"), order_qty=PRICES,
    price=OPTIONAL, order_id=MAYBE_WORDS, party_id=MAYBE_WORDS,
)  # fmt: skip
SNAPSHOTS = st.builds(
    MarketDataSnapshot,
    symbol=WORDS,
    levels=st.lists(st.tuples(st.integers(0, 1), PRICES, PRICES), max_size=5).map(lambda rows: [n for row in rows for n in row]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.one_of(REPORTS, ORDERS, REPLACES, SNAPSHOTS))
def test_what_is_written_reads_back_the_same(struct):
    """Encoding and decoding are each other's inverse."""
    msg_type, body = codec.encode_body(struct)
    assert codec.decode(parse(encode(msg_type, HEADER, body))) == struct
