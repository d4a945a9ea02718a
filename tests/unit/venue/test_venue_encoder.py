"""The quick encoder of reports writes what the generic one writes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kalshi.codec import encode_body
from engine.kalshi.messages import ExecutionReport
from engine.venue.wire import report_body

TEXT = st.text(
    st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f\xa0\xad"),
    min_size=1,
    max_size=8,
)
MAYBE_TEXT = st.one_of(st.just(""), st.text("ABC_xyz019-", min_size=1, max_size=12))
QTY = st.integers(0, 10**9)
SIGNED = st.integers(-(10**12), 10**12)
PRICE = st.integers(0, 10**9)
TIME = st.integers(0, 4 * 10**9).map(lambda ms: ms * 1_000_000)


def maybe(strategy):
    return st.one_of(st.none(), strategy)


@settings(max_examples=500, deadline=None)
@given(
    st.builds(
        ExecutionReport,
        order_id=TEXT, cl_ord_id=TEXT, exec_id=TEXT, exec_type=st.sampled_from("0F458CA6E"),
        ord_status=st.sampled_from("01245688ACE"), side=st.sampled_from("12"), symbol=TEXT, leaves_qty=QTY,
        cum_qty=QTY, order_qty=QTY, avg_px=st.just("9.1234"), last_mkt=MAYBE_TEXT, ord_rej_reason=maybe(st.integers(0, 99)),
        orig_cl_ord_id=MAYBE_TEXT, price=maybe(PRICE), transact_time_ns=maybe(TIME), text=MAYBE_TEXT,
        expire_time_ns=maybe(TIME), misc_fee_amt=maybe(SIGNED), alloc_account=maybe(st.integers(0, 63)),
        party_id=MAYBE_TEXT, party_role=MAYBE_TEXT, long_qty=maybe(QTY), short_qty=maybe(QTY),
        collateral_amount_change=maybe(SIGNED), collateral_amount_type=MAYBE_TEXT, trd_match_id=MAYBE_TEXT,
        aggressor_indicator=st.sampled_from(["", "Y", "N"]), self_trade_prevention_type=st.sampled_from(["", "1", "2"]),
    ),
    maybe(st.tuples(PRICE, maybe(QTY))),
)  # fmt: skip
def test_it_agrees_with_the_generic_encoder(report, trade):
    if trade is not None:
        import msgspec

        report = msgspec.structs.replace(report, last_px=trade[0], last_qty=trade[1])
    assert ("8", report_body(report)) == encode_body(report)
