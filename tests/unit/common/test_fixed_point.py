import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.common import fixed_point as fp


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("19.5000", 195000),
        ("19.5", 195000),
        ("0.0001", 1),
        ("-1", -10000),
        ("10", 100000),
        (".5", 5000),
        ("5.", 50000),
        ("19.50000000", 195000),
    ],
)
def test_text_becomes_an_exact_int(text, value):
    assert fp.parse_fixed(text, 4) == value


@pytest.mark.parametrize(
    "text", ["", "-", ".", "1e5", "nan", "1.00001", "1,5", " 1", "+1", "٣", "1" * 19, "1.2.3"]
)
def test_what_is_no_plain_decimal_is_refused(text):
    with pytest.raises(ValueError):
        fp.parse_fixed(text, 4)


@given(st.integers(-(10**16), 10**16), st.sampled_from([0, 2, 4, 6]))
def test_writing_and_reading_give_the_same_int(value, decimals):
    text = fp.format_fixed(value, decimals) if decimals else str(value)
    assert fp.parse_fixed(text, decimals) == value


def test_price_times_quantity_is_money_exactly():
    assert fp.format_money(fp.notional(fp.PRICES["19.5001"], fp.QUANTITIES["3"])) == "58.500300"


def test_rounded_money_rounds_half_away_from_zero():
    assert [fp.format_money(v, 2) for v in (1_234_999, 1_235_000, -1_235_000, -1)] == [
        "1.23",
        "1.24",
        "-1.24",
        "0.00",
    ]


@pytest.mark.parametrize("text", ["999999999999999999", "100000001", "-100000001"])
def test_a_number_that_no_market_has_is_refused(text):
    with pytest.raises(ValueError, match="larger than"):
        fp.PRICES[text]
    assert fp.PRICES["99999999.9999"] == 10**12 - 1
    with pytest.raises(ValueError, match="larger than"):
        fp.parse_money("9999999999999")
