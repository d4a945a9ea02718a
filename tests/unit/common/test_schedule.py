"""Days and weekly windows in a zone's own time, over both clock changes."""

from datetime import UTC, datetime

import pytest

from engine.common.schedule import Days, Window


def ns(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("before", "at"),
    [
        ("2026-11-26T04:59:59", "2026-11-26T05:00:00"),  # winter: New York is UTC-5
        ("2026-07-15T03:59:59", "2026-07-15T04:00:00"),  # summer: UTC-4
        ("2026-03-09T03:59:59", "2026-03-09T04:00:00"),  # the day before had 23 hours
        ("2026-11-02T04:59:59", "2026-11-02T05:00:00"),  # the day before had 25 hours
    ],
)
def test_a_day_begins_at_new_yorks_midnight(before, at):
    days = Days("00:00", "America/New_York")
    assert days.number(ns(at)) == days.number(ns(before)) + 1
    assert days.number(ns(before)) + 1 == Days("00:00", "America/New_York").number(ns(at))


def test_a_day_may_begin_at_another_hour():
    days = Days("17:00", "America/New_York")
    assert days.number(ns("2026-11-25T22:00:00")) == days.number(ns("2026-11-25T21:59:59")) + 1


def test_the_weekly_window_is_on_between_its_times_and_then_the_next_is_named():
    window = Window("Thu 03:00-05:00", "America/New_York")
    begin, end = ns("2026-11-26T08:00:00"), ns("2026-11-26T10:00:00")
    for at in (ns("2026-11-20T00:00:00"), begin - 1, begin, end - 1):
        assert window.bounds(at) == (begin, end)
    assert window.bounds(end) == (ns("2026-12-03T08:00:00"), ns("2026-12-03T10:00:00"))
    assert window.bounds(ns("2026-07-01T00:00:00")) == (ns("2026-07-02T07:00:00"), ns("2026-07-02T09:00:00"))


@pytest.mark.parametrize(
    "text", ["", "Thu", "Xyz 03:00-05:00", "Thu 05:00-03:00", "Thu 3-5", "Thu 24:00-25:00"]
)
def test_a_window_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match=r"window|before it begins"):
        Window(text, "UTC")


@pytest.mark.parametrize(
    ("start", "where"), [("25:00", "UTC"), ("", "UTC"), ("00:00", "Mars/Olympus"), ("00:00", "../etc/passwd")]
)
def test_a_day_needs_a_time_and_a_zone(start, where):
    with pytest.raises(ValueError, match="time"):
        Days(start, where)
