from engine.common.clock import SECOND, Now
from engine.runtime.notices import LINES_PER_SECOND, Notices


def at(seconds):
    return Now(int(seconds * SECOND), int(seconds * SECOND) + 5 * SECOND)


def test_the_same_text_is_said_once_a_second():
    notices = Notices("guard")
    for tenth in range(25):
        notices.say("info", "again", at(tenth / 10))
    assert [n.wall_ns // SECOND for n in notices.take()] == [0, 1, 2]


def test_a_flood_is_cut_off_and_counted_and_alerts_have_room_of_their_own(capfd):
    notices = Notices("guard")
    for number in range(10_000):
        notices.say("info", f"line {number}", at(0))
    notices.say("alert", "still heard", at(0))
    notices.say("info", "later", at(2))
    told = []
    while part := notices.take():
        told += [n.text for n in part]
    assert len(told) == LINES_PER_SECOND + 2
    assert "still heard" in told
    assert (
        told[-1]
        == f"later ({10_000 - LINES_PER_SECOND} lines before this were dropped: too many in a second)"
    )
    assert capfd.readouterr().err.count("\n") == len(told)


def test_text_from_outside_stays_one_printable_line(capfd):
    notices = Notices("guard")
    notices.say("warning", "peer 'x\n2026-11-24 alert FORGED\x1b[2J'" + "y" * 1000, at(0))
    (notice,) = notices.take()
    assert notice.text.isprintable()
    assert len(notice.text) == 500
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err
