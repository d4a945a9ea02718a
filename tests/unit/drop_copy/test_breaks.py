"""Breaks: ids, severity, explanations that hold for one difference only."""

from engine.drop_copy import breaks as brk
from engine.drop_copy.breaks import Breaks, Tolerance
from engine.drop_copy.gaps import Gaps
from engine.messages.reconciliation import BreakNote

WALL = 1_763_978_400_000_000_000


def note(kind=brk.DIFFERENT, text="fee here 1, there 2", status=brk.OPEN, wall_ns=WALL, **more):
    return BreakNote(
        break_id=more.pop("break_id", f"{kind}-1.1"),
        kind=kind,
        status=status,
        wall_ns=wall_ns,
        text=text,
        **more,
    )


def test_severity_tells_how_much_hangs_on_a_break():
    tolerance = Tolerance(money=10, qty=100)
    for kind, amount, severity in (
        (brk.POSITION, 100, "minor"),
        (brk.POSITION, 101, "critical"),
        (brk.DIFFERENT, 10, "minor"),
        (brk.DIFFERENT, 11, "major"),
        (brk.DIFFERENT, -1, "critical"),
        (brk.MISSING_HERE, -1, "major"),
        (brk.DUPLICATE, -1, "major"),
        (brk.MISSING_THERE, -1, "critical"),
        (brk.MISSING_ORDER, -1, "critical"),
        (brk.GAP, -1, "critical"),
        (brk.FOREIGN, -1, "info"),
    ):
        assert tolerance.severity_of(note(kind, amount=amount)) == severity, (kind, amount)


def test_within_the_tolerance_a_break_is_counted_but_does_not_gate():
    breaks = Breaks(Tolerance(money=10))
    breaks.note(note(amount=10))
    breaks.note(note(break_id="different-2.1", amount=11))
    assert (breaks.counts, breaks.gating) == ({"different": 2}, {"different": 1})
    breaks.end("different-2.1", "gone", WALL)
    assert (breaks.counts, breaks.gating) == ({"different": 1}, {})


def test_first_seen_stays_when_the_text_changes():
    breaks = Breaks()
    breaks.note(note())
    breaks.note(note(text="fee here 1, there 3", wall_ns=WALL + 5))
    (known,) = breaks.open.values()
    assert (known.first_ns, known.wall_ns) == (WALL, WALL + 5)


def test_an_explained_break_is_not_found_again_until_it_is_another_difference():
    breaks = Breaks()
    breaks.note(note())
    breaks.end("different-1.1", "the venue said so", WALL + 1, brk.EXPLAINED, "ann")
    breaks.note(note(wall_ns=WALL + 2))
    assert breaks.open == {}
    breaks.note(note(text="fee here 1, there 9", wall_ns=WALL + 3))
    assert list(breaks.open) == ["different-1.1"]


def test_explanations_are_taken_up_from_the_journal():
    breaks, again = Breaks(), Breaks()
    breaks.note(note())
    breaks.end("different-1.1", "the venue said so", WALL + 1, brk.EXPLAINED, "ann")
    for change in breaks.take():
        again.restore(change)
    again.note(note(wall_ns=WALL + 2))
    assert again.open == {} and again.take() == []


def test_an_explained_position_holds_for_its_distance():
    breaks = Breaks()
    breaks.note(note(brk.POSITION, "own 1, venue 3", symbol="BTC-PERP", amount=200))
    breaks.end("position-1.1", "manual trade", WALL + 1, brk.EXPLAINED, "ann")
    assert breaks.is_known_position("BTC-PERP", 200)
    assert not breaks.is_known_position("BTC-PERP", 300)
    breaks.position_is_whole("BTC-PERP")
    assert not breaks.is_known_position("BTC-PERP", 200)


def test_a_gap_says_its_time_and_what_the_venue_will_never_prove_stays():
    breaks = Breaks()
    gaps = Gaps(breaks)
    for reason, stays in ((0, False), (2, False), (3, True), (5, True)):
        gaps.open("1;1", "no answer", WALL + 9, WALL, reason=reason)
        assert gaps.text == "no answer; nothing is proven from 2025-11-24T10:00:00.000Z on"
        assert gaps.note.first_ns == WALL
        gaps.prove("a sweep was complete", WALL + 20)
        assert bool(gaps.text) is stays, reason
        if stays:
            breaks.end(gaps.note.break_id, "accepted", WALL + 30, brk.EXPLAINED, "ann")
            assert breaks.take()[-1].until_ns == WALL + 30


def test_a_lesser_gap_does_not_replace_one_that_stays():
    breaks = Breaks()
    gaps = Gaps(breaks)
    gaps.open("9;1", "hole", WALL + 9, WALL, hole=True)
    gaps.open("9;1", "no answer", WALL + 10, WALL)
    assert gaps.note.break_id == "gap-hole-9.1"
