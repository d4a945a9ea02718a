"""ExecIDs, signatures, texts, rate limits, gateways and the reconnect policy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.common.clock import MS, SECOND
from engine.kalshi import gateways, texts
from engine.kalshi.exec_id import NO_KEY, is_key, parse_exec_id
from engine.kalshi.rate_limits import TIERS, Tier, TokenBucket
from engine.kalshi.reconnect import ReconnectPolicy
from engine.kalshi.signature import string_to_sign


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("123456;7", (123456, 7, 0)),
        ("123456;7;2", (123456, 7, 2)),
        ("0;0", (0, 0, 0)),
        ("-1;-1", (-1, -1, 0)),
    ],
)
def test_exec_ids_are_integers(text, parsed):
    """`clock;event` on exchange index 0, `clock;event;index` elsewhere."""
    assert parse_exec_id(text) == parsed


def test_exec_ids_compare_as_integers():
    """Never as text: 9 comes before 10."""
    assert parse_exec_id("9;1") < parse_exec_id("10;1") < parse_exec_id("10;2")


@pytest.mark.parametrize(
    "text", ["", "1", "1;", ";1", "1;2;3;4", "a;1", "1;2;-1", "1,2", "1;2 ", "\u0661;1", "1;" + "9" * 19]
)
def test_what_is_no_exec_id_is_refused(text):
    """Anything of another form."""
    assert not is_key(text)
    with pytest.raises(ValueError, match="is not an ExecID"):
        parse_exec_id(text)


def test_pending_reports_have_no_key():
    """`-1;-1`, on whatever exchange index, names no report."""
    assert [is_key(text) for text in (NO_KEY, "-1;-1;2", "-1;5", "1;2", "1;2;3")] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_the_signed_string_is_the_documented_one():
    """SendingTime, MsgType, MsgSeqNum, SenderCompID, TargetCompID, joined by SOH."""
    signed = string_to_sign("20261124-10:00:00.123", "A", 1, "key", "KalshiNR")
    assert signed == b"20261124-10:00:00.123\x01A\x011\x01key\x01KalshiNR"


def test_every_documented_text_has_its_code():
    """venue.md section 4; a text as a cancel has none."""
    codes = {text: refusal.code for text, refusal in texts.ORDER_REFUSALS.items()}
    assert codes == {
        "MARKET_NOT_FOUND": 1, "MARKET_ALREADY_CLOSED": 2, "MARKET_INACTIVE": 2, "EXCHANGE_PAUSED": 2, "TRADING_PAUSED": 2,
        "INSUFFICIENT_BALANCE": 3, "EXCEEDED_PER_MARKET_RISK_LIMIT": 3, "EXCEEDED_ORDER_GROUP_RISK_LIMIT": 3,
        "EXCEEDED_SELL_POSITION_FLOOR": 3, "ORDER_ALREADY_EXISTS": 6, "INVALID_ORDER": 11, "ORDER_GROUP_NOT_FOUND": 11,
        "CUSTOMER_ACCOUNT_NOT_FOUND": 15, "PERMISSION_DENIED_FOR_CUSTOMER_ACCOUNT": 15, "EXCHANGE_UNAVAILABLE": 99,
        "INTERNAL_ERROR": 99, "FOK_INSUFFICIENT_VOLUME": None, "POST_ONLY_CROSS": None, "SELF_CROSS_ATTEMPT": None,
        "ORDER_GROUP_CANCEL": None, "TAKER_CANCEL_FOR_SELF_TRADE_PREVENTION": None,
        "MAKER_CANCEL_FOR_SELF_TRADE_PREVENTION": None, "IMMEDIATE_OR_CANCELLED": None,
    }  # fmt: skip
    assert {text: refusal.code for text, refusal in texts.CANCEL_REFUSALS.items()} == {
        "INVALID_AMEND_QTY_FOR_ORDER": 2, "CANNOT_UPDATE_FILLED_ORDER": 2, "SELF_CROSS_ATTEMPT": 18, "EXCHANGE_UNAVAILABLE": 99,
    }  # fmt: skip


def test_only_exchange_unavailable_leaves_the_outcome_open():
    """INTERNAL_ERROR was not applied; nor was anything the venue may add."""
    unknown = [
        text
        for text in (*texts.ORDER_REFUSALS, "", "NEW_TEXT")
        if texts.order_outcome(text) is texts.Outcome.UNKNOWN
    ]
    assert unknown == ["EXCHANGE_UNAVAILABLE"]
    assert texts.cancel_outcome("EXCHANGE_UNAVAILABLE") is texts.Outcome.UNKNOWN
    assert {r.text for r in texts.ORDER_REFUSALS.values() if r.outcome is texts.Outcome.UNKNOWN} == set(
        unknown
    )


def test_refusals_are_explained_with_what_came():
    """By text, else by code, else as undocumented."""
    assert (
        texts.explain_order(99, "INTERNAL_ERROR")
        == "INTERNAL_ERROR: refused by a healthy exchange for a reason without a name (reason 99)"
    )
    assert texts.explain_order(8, "") == "stale order (reason 8)"
    assert texts.explain_order(5, "") == "stale order (reason 5)"
    assert texts.explain_order(77, "X") == "X: undocumented reason (reason 77)"
    assert texts.explain_cancel(1, "") == "unknown order (reason 1)"
    assert texts.explain_cancel(None, "") == "no reason given"


def test_tiers_are_the_published_ones():
    """Write above Basic holds 2 s of budget; Basic Write and Read hold 1 s."""
    expected = {
        "Basic": Tier(200, 100, 200, 100),
        "Advanced": Tier(300, 300, 300, 600),
        "Expert": Tier(600, 600, 600, 1200),
        "Premier": Tier(1000, 1000, 1000, 2000),
        "Paragon": Tier(2000, 2000, 2000, 4000),
        "Prime": Tier(4000, 4000, 4000, 8000),
        "Prestige": Tier(10000, 8000, 10000, 16000),
    }
    assert expected == TIERS


def test_a_bucket_refills_continuously_up_to_its_capacity():
    """Exactly: one ns too early is too early."""
    bucket = TokenBucket(100, 100)
    start = 5 * SECOND
    assert bucket.available(start) == 100
    assert all(bucket.take(10, start) for _ in range(10))
    assert not bucket.take(10, start)
    assert bucket.wait_ns(10, start) == 100 * MS
    assert not bucket.take(10, start + 100 * MS - 1)
    assert bucket.take(10, start + 100 * MS)
    assert bucket.available(start + 60 * SECOND) == 100
    bucket.empty(start + 60 * SECOND)
    assert bucket.available(start + 60 * SECOND) == 0
    assert bucket.available(start + 59 * SECOND) == 0  # a clock that goes back gives nothing
    assert bucket.wait_ns(100, start + 60 * SECOND) == SECOND
    with pytest.raises(ValueError, match="more than the bucket ever holds"):
        bucket.wait_ns(101, start)


@given(
    st.integers(1, 5000),
    st.integers(1, 20000),
    st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(1, 50)), max_size=30),
)
def test_a_bucket_never_grants_more_than_flowed_in(per_s, capacity, steps):
    """Granted so far <= capacity + rate * time, to the ns; and wait_ns is the first moment that passes."""
    bucket = TokenBucket(per_s, capacity)
    now = granted = 0
    for pause, cost in steps:
        now += pause
        if cost > capacity:
            continue
        if bucket.take(cost, now):
            granted += cost
        else:
            wait = bucket.wait_ns(cost, now)
            assert wait > 0
            assert not bucket.take(cost, now + wait - 1)
            assert bucket.take(cost, now + wait)
            now += wait
            granted += cost
        assert granted * SECOND <= capacity * SECOND + per_s * now


def test_endpoints_are_the_published_ones():
    """venue.md section 1."""
    assert gateways.endpoint("production", "KalshiNR") == ("margin-mm.fix.elections.kalshi.com", 8228)
    assert gateways.endpoint("demo", "KalshiDC") == ("margin-fix.demo.kalshi.co", 8229)
    assert gateways.endpoint("demo", "KalshiRT") == ("margin-fix.demo.kalshi.co", 8230)
    assert gateways.endpoint("production", "KalshiMD") == ("margin-marketdata.fix.elections.kalshi.com", 8233)
    with pytest.raises(KeyError):
        gateways.endpoint("embedded", "KalshiNR")


def test_back_off_grows_with_full_jitter_and_starts_anew_after_calm():
    """Even from 0 to a ceiling that doubles from 0.5 s to 30 s; 10 s logged on resets it."""
    policy = ReconnectPolicy(lambda: 0.5)
    waits = [policy.lost(0) for _ in range(9)]
    assert waits == [
        250 * MS,
        500 * MS,
        SECOND,
        2 * SECOND,
        4 * SECOND,
        8 * SECOND,
        15 * SECOND,
        15 * SECOND,
        15 * SECOND,
    ]
    policy.logged_on(0)
    assert policy.lost(9 * SECOND) == 9 * SECOND + 15 * SECOND
    policy.logged_on(100 * SECOND)
    assert policy.lost(110 * SECOND) == 110 * SECOND + 250 * MS
    assert policy.losses == 1
    assert policy.wait(20 * SECOND, 0) == 20 * SECOND


def test_at_most_three_logons_in_ten_seconds():
    """However small the jitter."""
    policy = ReconnectPolicy(lambda: 0.0)
    sent = []
    now = 0
    for _ in range(7):
        policy.logon_sent(now)
        sent.append(now)
        now = policy.lost(now)
    assert sent == [0, 0, 0, 10 * SECOND, 10 * SECOND, 10 * SECOND, 20 * SECOND]
