"""Following the tape without gaps."""

from engine.common.clock import MS
from engine.drop_copy.tape import TapeFollower
from engine.messages.executions import EventKind, OrderEvent, OrdersSnapshot, OrderState, TapeBeat, TapeReplay


def event(no):
    return OrderEvent(
        tape_no=no,
        strategy=1,
        strategy_no=no,
        kind=EventKind.NEW,
        state=OrderState.NEW,
        order="a",
        wall_ns=no,
    )


def beat(no, mono_ns=0):
    return TapeBeat(tape_no=no, mono_ns=mono_ns, session="logged on", ready=True)


def test_events_are_taken_once_and_in_order():
    tape = TapeFollower()
    assert [tape.live(event(no)) for no in (1, 1, 2)] == [True, False, True]


def test_a_gap_is_asked_for_from_the_first_missing_number():
    tape = TapeFollower()
    tape.on_beat(beat(0), 0)
    assert tape.ask(0) is None
    assert tape.live(event(1))
    assert not tape.live(event(3))
    assert tape.ask(1).from_no == 2
    assert tape.ask(2) is None  # one request at a time
    assert tape.ask(1 + 500 * MS).from_no == 2  # and again when no answer comes
    got = list(tape.replayed(TapeReplay(events=[event(2), event(3)])))
    assert [one.tape_no for one in got] == [2, 3]


def test_a_beat_shows_what_a_lost_message_hid():
    tape = TapeFollower()
    tape.on_beat(beat(5), 0)
    assert tape.ask(0).from_no == 1


def test_it_is_live_once_it_stood_at_a_beat():
    tape = TapeFollower()
    assert not tape.is_live(0)
    tape.on_beat(beat(1), 0)
    assert not tape.is_live(0)
    list(tape.replayed(TapeReplay(events=[event(1)])))
    assert tape.is_live(0)
    assert not tape.is_live(2000 * MS)  # order entry is silent


def test_caught_up_needs_a_beat_made_after_the_moment():
    tape = TapeFollower()
    tape.on_beat(beat(0, mono_ns=100), 150)
    assert not tape.caught_up_since(100)
    tape.on_beat(beat(1, mono_ns=101), 160)
    assert not tape.caught_up_since(100)
    assert tape.live(event(1))
    assert tape.caught_up_since(100)


def test_a_snapshot_for_an_answer_skips_as_little_as_it_can():
    tape = TapeFollower()
    tape.snapshot(OrdersSnapshot(tape_no=100_000))
    assert tape.unseen
    assert tape.ask(0).from_no == 100_000 - 49_152 + 1
    tape.snapshot(OrdersSnapshot(tape_no=100_000))  # not so far either
    assert tape.ask(0).from_no == 100_000 - 24_576 + 1
