"""What a process says of itself can't move a terminal's cursor, forge lines, or speak of sessions that it hasn't."""

from engine.common.actor import Status
from engine.runtime.plain_text import METRICS_MAX, plain, plain_status

EVIL = "\x1b]0;owned\x07\r2026 alert forged\n"


def test_text_is_one_printable_line():
    assert plain(EVIL) == "?]0;owned??2026 alert forged?"
    assert plain("x" * 1000, 10) == "xxxxxxx..."


def test_a_status_is_made_plain_in_every_text_of_it():
    said = Status(state=EVIL, detail=EVIL * 100, sessions={EVIL: EVIL}, metrics={EVIL: 1, "open_orders": 2})
    shown = plain_status(said, has_sessions=True)
    for text in (shown.state, shown.detail, *shown.sessions, *shown.sessions.values(), *shown.metrics):
        assert text.isprintable() and len(text) <= 500
    assert shown.metrics["open_orders"] == 2


def test_who_has_no_sessions_tells_of_none():
    """A strategy's word about a session would alert somebody at night."""
    said = Status(state="TRADING", sessions={"KalshiNR": "connecting"})
    assert plain_status(said, has_sessions=False).sessions == {}
    assert plain_status(said, has_sessions=True).sessions == {"KalshiNR": "connecting"}


def test_a_status_does_not_grow_without_end():
    said = Status(state="TRADING", metrics={str(number): number for number in range(5000)})
    assert len(plain_status(said, has_sessions=False).metrics) == METRICS_MAX
