import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.common import clock, ids


@given(st.integers(0, 4_000_000_000_000))
def test_fix_time_agrees_with_the_standard_library(ms):
    text = clock.fix_time(ms * 1_000_000)
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=ms)
    assert text == moment.strftime("%Y%m%d-%H:%M:%S.") + f"{ms % 1000:03d}"
    assert clock.parse_fix_time(text) == ms * 1_000_000


@pytest.mark.parametrize(
    "text",
    ["20261301-00:00:00", "20260230-00:00:00", "20260101-24:00:00", "2026-01-01", "20260101-00:00:00.", ""],
)
def test_a_time_that_does_not_exist_is_refused(text):
    with pytest.raises(ValueError):
        clock.parse_fix_time(text)


def test_ids_differ_and_tell_their_slot():
    make = ids.ClOrdIDs(0xABC, 1_790_000_000_000, 1)
    other = ids.ClOrdIDs(0xABC, 1_790_000_000_000, 2)
    made = [make() for _ in range(1000)] + [other() for _ in range(1000)]
    assert len(set(made)) == 2000
    assert {ids.slot_of(text) for text in made} == {0xABC}
    assert made == sorted(made[:1000]) + sorted(made[1000:])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 36,
        "0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77",
        "01a20d0f-dfa5-8005-8000-00004000303",
        "  a20d0f-dfa5-8005-8000-000040003039",
        "0xa20d0f-dfa5-8005-8000-000040003039",
        "01a2_d0f-dfa5-8005-8000-000040003039",
        "01a20d0f-dfa5-8005-8000-0000400030\t\n",
        "01A20D0F-DFA5-8005-8000-000040003039",
        "zzzzzzzz-dfa5-8005-8000-000040003039",
    ],
)
def test_another_layout_has_no_slot(text):
    assert ids.slot_of(text) is None
