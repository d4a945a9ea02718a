"""Every application message of the venue: literal wire text against structs, both directions, and an independent reader.

The helpers here split and sum with their own code; simplefix reads what we write.
"""

import os

import pytest
import simplefix

from engine.fix.dictionary import validate
from engine.fix.encoder import encode
from engine.fix.framer import Framer
from engine.fix.message import parse
from engine.kalshi import codec, hot
from engine.kalshi.dictionary import CLIENT_TAKES, DICTIONARY, VENUE_TAKES
from engine.kalshi.messages import (
    BusinessMessageReject,
    EventResendComplete,
    EventResendReject,
    EventResendRequest,
    ExecutionReport,
    MarketDataEntry,
    MarketDataIncremental,
    MarketDataRequest,
    MarketDataRequestReject,
    MarketDataSnapshot,
    NewOrderSingle,
    OrderCancelReject,
    OrderCancelReplaceRequest,
    OrderCancelRequest,
    OrderGroupRequest,
    OrderGroupResponse,
    OrderMassCancelReport,
    OrderMassCancelRequest,
    SecurityStatus,
    SecurityStatusRequest,
)

KEY = "0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77"
ID = "01934f2a-9c00-8001-8000-000000000011"
ID2 = "01934f2a-9c00-8001-8000-000000000012"
OID = "8b1a9953-c461-4f7b-9a2d-6f1d1c0e2b11"
GROUP = "4d3f5f0e-11a4-4a1c-8a55-95a40f6bb0f1"
T = 1_795_514_400_123_000_000  # 2026-11-24 10:00:00.123 UTC
EXPIRE = 1_795_582_799_999_000_000  # 2026-11-25 04:59:59.999 UTC: the end of a day in New York
BTC, ETH = "BTC-PERP", "ETH-PERP"


def load():
    path = os.path.join(os.path.dirname(__file__), "messages.txt")
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file if not line.startswith("#")]
    return {
        name: wire.replace("|", "\x01").encode("latin-1")
        for name, wire in zip(lines[::2], lines[1::2], strict=True)
    }


WIRE = load()


def report(**changes):
    fields = {
        "order_id": OID, "cl_ord_id": ID, "exec_id": "123456;7", "exec_type": "F", "ord_status": "1", "side": "1",
        "symbol": BTC, "leaves_qty": 700, "cum_qty": 300, "order_qty": 1000, "avg_px": "19.5000", "price": 195000,
        "transact_time_ns": T,
    }  # fmt: skip
    return ExecutionReport(**{**fields, **changes})


TRADE = {
    "last_mkt": "0", "last_px": 195000, "last_qty": 300, "misc_fee_amt": 58_500, "long_qty": 300, "short_qty": 0,
    "collateral_amount_change": -58_500, "collateral_amount_type": "BALANCE", "trd_match_id": "990011",
    "aggressor_indicator": "Y",
}  # fmt: skip


def entry(action, symbol, kind, price, qty, aggressor=0):
    return MarketDataEntry(
        action=action, symbol=symbol, entry_type=kind, price=price, qty=qty, aggressor_side=aggressor
    )


EXPECTED = {
    "new_order": NewOrderSingle(
        cl_ord_id=ID, symbol=BTC, side="1", order_qty=1000, price=195000, time_in_force="1"
    ),
    "new_order_every_field": NewOrderSingle(
        cl_ord_id=ID,
        symbol=BTC,
        side="2",
        order_qty=25000,
        price=1,
        time_in_force="6",
        expire_time_ns=EXPIRE,
        exec_inst="6",
        alloc_account=63,
        party_id="CUST-7",
        party_role="24",
        secondary_cl_ord_id=GROUP,
        self_trade_prevention_type="2",
        cancel_order_on_pause=True,
    ),
    "replace": OrderCancelReplaceRequest(
        cl_ord_id=ID2, orig_cl_ord_id=ID, symbol=BTC, side="1", order_qty=1200, price=195100, order_id=OID
    ),
    "replace_keeps_price": OrderCancelReplaceRequest(
        cl_ord_id=ID2, orig_cl_ord_id=ID, symbol=BTC, side="1", order_qty=1200, alloc_account=0
    ),
    "cancel": OrderCancelRequest(cl_ord_id=ID2, orig_cl_ord_id=ID, symbol=BTC, side="1", order_id=OID),
    "cancel_with_party": OrderCancelRequest(
        cl_ord_id=ID2, orig_cl_ord_id=ID, symbol=BTC, side="2", party_id="CUST-7", party_role="24"
    ),
    "mass_cancel": OrderMassCancelRequest(cl_ord_id=ID2),
    "mass_cancel_report": OrderMassCancelReport(cl_ord_id=ID2, order_id="9000017", mass_cancel_response="6"),
    "mass_cancel_report_rejected": OrderMassCancelReport(
        cl_ord_id=ID2, order_id="9000018", mass_cancel_response="0", mass_cancel_reject_reason="99"
    ),
    "report_new": report(
        exec_id="123456;6",
        exec_type="0",
        ord_status="0",
        leaves_qty=1000,
        cum_qty=0,
        avg_px="0.0000",
        last_mkt="0",
    ),
    "report_pending_new": report(
        exec_id="-1;-1", exec_type="A", ord_status="A", leaves_qty=1000, cum_qty=0, avg_px="0.0000"
    ),
    "report_trade": report(**TRADE),
    "report_trade_elsewhere": report(
        exec_id="123456;8;2",
        ord_status="2",
        side="2",
        symbol=ETH,
        leaves_qty=0,
        cum_qty=1000,
        avg_px="19.4950",
        last_mkt="2",
        last_px=194900,
        last_qty=700,
        price=194900,
        expire_time_ns=EXPIRE,
        misc_fee_amt=12_345,
        party_id="CUST-7",
        party_role="24",
        alloc_account=0,
        long_qty=0,
        short_qty=700,
        trd_match_id="990012",
        aggressor_indicator="N",
        self_trade_prevention_type="1",
    ),
    "report_replaced": report(
        cl_ord_id=ID2,
        exec_id="123460;1",
        exec_type="5",
        ord_status="5",
        leaves_qty=900,
        order_qty=1200,
        orig_cl_ord_id=ID,
        price=195100,
    ),
    "report_canceled": report(
        cl_ord_id=ID2,
        exec_id="123461;1",
        exec_type="4",
        ord_status="4",
        leaves_qty=0,
        order_qty=1200,
        orig_cl_ord_id=ID,
        price=195100,
        text="IMMEDIATE_OR_CANCELLED",
    ),
    "report_expired": report(
        exec_id="123462;1", exec_type="C", ord_status="C", leaves_qty=0, cum_qty=0, avg_px="0.0000"
    ),
    "report_rejected": report(
        order_id="NONE",
        exec_id="123463;1",
        exec_type="8",
        ord_status="8",
        leaves_qty=0,
        cum_qty=0,
        avg_px="0.0000",
        ord_rej_reason=99,
        text="EXCHANGE_UNAVAILABLE",
    ),
    "report_two_changes": report(
        exec_id="123464;1",
        last_px=195000,
        last_qty=300,
        price=None,
        transact_time_ns=None,
        misc_fee_amt=58_500,
        collateral_amount_change=1_000_000,
        collateral_amount_type="PAYOUT",
    ),
    "cancel_reject": OrderCancelReject(
        order_id=OID,
        cl_ord_id=ID2,
        ord_status="2",
        cxl_rej_response_to="2",
        orig_cl_ord_id=ID,
        cxl_rej_reason=2,
        text="CANNOT_UPDATE_FILLED_ORDER",
    ),
    "business_reject": BusinessMessageReject(
        business_reject_reason=8,
        ref_seq_num=5,
        ref_msg_type="D",
        business_reject_ref_id=ID,
        text="rate limit exceeded",
    ),
    "group_create": OrderGroupRequest(order_group_action="1", order_group_contracts_limit=500),
    "group_update": OrderGroupRequest(
        order_group_action="5", order_group_contracts_limit=400, order_group_id=GROUP, alloc_account=3
    ),
    "group_response": OrderGroupResponse(
        order_group_id=GROUP, order_group_contracts_limit=400, alloc_account=3
    ),
    "resend_request": EventResendRequest(begin_exec_id="123456;7"),
    "resend_request_closed": EventResendRequest(begin_exec_id="123456;7", end_exec_id="123464;1"),
    "resend_complete": EventResendComplete(ref_seq_num=25, resend_event_count=42),
    "resend_reject": EventResendReject(ref_seq_num=25, event_resend_reject_reason=3),
    "subscribe": MarketDataRequest(subscription_request_type="1", symbols=(BTC, ETH)),
    "unsubscribe_all": MarketDataRequest(subscription_request_type="2"),
    "snapshot": MarketDataSnapshot(symbol=BTC, levels=[0, 195000, 1500, 0, 194900, 2000, 1, 195100, 500]),
    "snapshot_empty": MarketDataSnapshot(symbol="NO-PERP", levels=[]),
    "incremental": MarketDataIncremental(
        entries=[
            entry(1, BTC, 0, 195000, 1500),
            entry(2, BTC, 1, 195100, 0),
            entry(0, BTC, 2, 195000, 300, 1),
        ]
    ),
    "incremental_two_markets": MarketDataIncremental(
        entries=[entry(0, ETH, 1, 30001, 100), entry(0, BTC, 0, 195000, 200), entry(2, ETH, 1, 30000, 0)]
    ),
    "incremental_with_times": MarketDataIncremental(
        entries=[entry(0, BTC, 2, 195000, 300, 2), entry(1, BTC, 1, 200000, 400)]
    ),
    "request_reject": MarketDataRequestReject(md_req_rej_reason="2", text="too many symbols"),
    "status_request": SecurityStatusRequest(subscription_request_type="1", symbol=BTC),
    "status": SecurityStatus(symbol=BTC, security_trading_status=2),
    "report_trade_sorted": report(**{**TRADE, "last_mkt": "KPRO", "collateral_amount_change": 12_500_000}),
    "new_order_sorted": NewOrderSingle(
        cl_ord_id=ID,
        symbol=BTC,
        side="1",
        order_qty=1000,
        price=5000,
        time_in_force="1",
        exec_inst="6",
        alloc_account=0,
        self_trade_prevention_type="1",
        cancel_order_on_pause=False,
    ),
}
# What the venue may write and we never would: other field orders, several group entries, entry times.
READ_ONLY = {"report_two_changes", "incremental_with_times", "report_trade_sorted", "new_order_sorted"}
NO_PLAN = {"report_two_changes"}
BOOKS = {
    "snapshot": [(BTC, [0, 195000, 1500, 0, 194900, 2000, 1, 195100, 500], [], True)],
    "snapshot_empty": [("NO-PERP", [], [], True)],
    "incremental": [(BTC, [0, 195000, 1500, 1, 195100, 0], [195000, 300, 1], False)],
    "incremental_two_markets": [
        (ETH, [1, 30001, 100, 1, 30000, 0], [], False),
        (BTC, [0, 195000, 200], [], False),
    ],
    "incremental_with_times": [(BTC, [1, 200000, 400], [195000, 300, 2], False)],
}


def fields(wire):
    """Split a message with code of its own."""
    return [
        (int(tag), value) for tag, _, value in (part.partition(b"=") for part in wire.split(b"\x01")[:-1])
    ]


def test_every_application_message_has_a_golden_text():
    """What gateways and clients take is all here."""
    covered = {dict(fields(wire))[35].decode() for wire in WIRE.values()}
    assert covered == CLIENT_TAKES.union(*VENUE_TAKES.values())
    assert set(WIRE) == set(EXPECTED)


@pytest.mark.parametrize("name", WIRE)
def test_the_golden_text_has_its_own_length_and_sum(name):
    """BodyLength counts from behind 9 to before 10, CheckSum sums everything before 10 (FIXT.1.1)."""
    wire = WIRE[name]
    found = fields(wire)
    assert [tag for tag, _ in found[:3]] == [8, 9, 35]
    body = wire[wire.index(b"\x0135=") + 1 : wire.rindex(b"\x0110=") + 1]
    assert int(dict(found)[9]) == len(body)
    assert wire.endswith(b"\x0110=%03d\x01" % (sum(wire[: wire.rindex(b"\x0110=") + 1]) % 256))
    assert Framer(1 << 20).feed(wire) == [wire]


@pytest.mark.parametrize("name", WIRE)
def test_the_generic_codec_reads_it(name):
    """Wire text to struct, and the dictionary takes it as strictly as a gateway does."""
    message = parse(WIRE[name])
    assert codec.decode(message) == EXPECTED[name]
    assert validate(message, DICTIONARY, strict=not name.endswith("_sorted")) is None


@pytest.mark.parametrize("name", sorted(WIRE.keys() - READ_ONLY))
def test_the_generic_codec_writes_it(name):
    """Struct to wire text, byte for byte."""
    wire = WIRE[name]
    header = b"".join(b"%d=%s\x01" % pair for pair in fields(wire)[3:7]).decode()
    msg_type, body = codec.encode_body(EXPECTED[name])
    assert encode(msg_type, header, body) == wire


def test_entry_times_are_written_when_asked_for():
    """272 and 273 stand before 2446, as the dictionary has them."""
    message = MarketDataIncremental(entries=[entry(0, BTC, 2, 195000, 300, 2)])
    assert codec.encode_incremental(message, T) == (
        "268=1|279=0|55=BTC-PERP|269=2|270=19.5000|271=3.00|272=20261124|273=10:00:00.123|2446=2|"
    ).replace("|", "\x01")


@pytest.mark.parametrize("name", sorted(WIRE.keys() - READ_ONLY))
def test_an_independent_reader_reads_what_we_write(name):
    """simplefix finds the same tags and values in the same order."""
    parser = simplefix.FixParser()
    wire = WIRE[name]
    header = b"".join(b"%d=%s\x01" % pair for pair in fields(wire)[3:7]).decode()
    parser.append_buffer(
        encode(codec.encode_body(EXPECTED[name])[0], header, codec.encode_body(EXPECTED[name])[1])
    )
    message = parser.get_message()
    assert message is not None
    assert [(int(tag), value) for tag, value in message.pairs] == fields(wire)


HOT_NAMES = [
    name for name, wire in WIRE.items() if dict(fields(wire))[35] in {b"X", b"W", b"8", b"D", b"F", b"G"}
]


@pytest.mark.parametrize("name", HOT_NAMES)
def test_the_hot_decoder_gives_the_same_struct(name):
    """First sight and second sight of a layout; None only where no plan is made."""
    wire = WIRE[name]
    values = dict(fields(wire))
    decode = {**hot.HOT, **hot.VENUE_HOT}[values[35].decode()]
    text = wire.decode("latin-1")
    if name in NO_PLAN:
        assert decode(text) is None
        return
    message = EXPECTED[name]
    if isinstance(message, MarketDataIncremental | MarketDataSnapshot):
        assert hot.book_message(message) == hot.BookMessage(BOOKS[name])
        message = hot.BookMessage(BOOKS[name])
    expected = (int(values[34]), values[52].decode(), message)
    assert decode(text) == expected
    assert decode(text) == expected


@pytest.mark.parametrize("name", [name for name in HOT_NAMES if name not in READ_ONLY])
def test_the_hot_encoders_write_the_same_body(name):
    """D, F and G by the hot encoders equal the generic ones, first and second time."""
    message = EXPECTED[name]
    encoder = {
        NewOrderSingle: hot.encode_new_order,
        OrderCancelRequest: hot.encode_cancel,
        OrderCancelReplaceRequest: hot.encode_replace,
    }.get(type(message))
    if encoder is not None:
        assert encoder(message) == codec.encode_body(message)[1]
        assert encoder(message) == codec.encode_body(message)[1]
