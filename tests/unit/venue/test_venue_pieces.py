"""Long answers come in pieces, so that nobody else waits for them: mass cancels, cancels on disconnect, drop copy."""

import pytest
from unit.venue.venue_world import World, on, order

from engine.venue import drop_copy_gateway, exchange
from engine.venue.drop_copy_gateway import ASKED_MAX, UNREAD_MAX


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(exchange, "CANCEL_PIECE", 10)
    monkeypatch.setattr(drop_copy_gateway, "PAGE", 10)


def fill(client, count, more="59=1|"):
    for number in range(count):
        client.say("D", order(f"c{number}", 1, 1, "9.5000", more))


def ids(texts, kind="|150=4|"):
    return [text.split("|11=")[1].split("|")[0] for text in texts if kind in text]


def test_a_mass_cancel_of_many_orders_leaves_room_for_others():
    """Orders that come after it are not its business; each of the others gets its report, in order."""
    world = World()
    client, other = on(world), on(world, "KalshiNR", "key-other")
    fill(client, 35)
    told = client.say("q", "11=m|530=6|")
    assert "|531=6|" in told[0] and ids(told) == [f"c{n}" for n in range(10)]
    assert world.venue.deadline <= world.mono
    assert "|150=0|" in other.say("D", order("o1", 1, 1, "9.5000"))[0]
    assert "|150=0|" in client.say("D", order("late", 1, 1, "9.5000"))[0]
    world.advance(0)
    assert ids(client.heard()) == [f"c{n}" for n in range(10, 35)]
    assert [entry.cl_ord_id for entry in world.truth().orders] == ["late"]
    world.venue.on_deadline(world.now)
    assert world.venue.deadline is None or world.venue.deadline > world.mono


def test_orders_of_a_lost_session_are_cancelled_to_the_last_one():
    """8013=Y, and the venue's own stop comes in the midst of it."""
    world = World()
    client = on(world, flags="21011=Y|8013=Y|")
    fill(client, 25)
    client.leave()
    assert len(world.truth().orders) == 15
    world.venue.stop(world.now)
    assert world.truth().orders == []


def test_a_long_range_of_drop_copy_comes_in_pages_as_its_reader_reads():
    world = World()
    client, copy = on(world), on(world, "KalshiDC", "key-dc", "")
    fill(client, 35)
    begin = world.truth().exec_ids[0]
    assert ids(copy.say("U1", f"21001={begin}|"), "|150=0|") == [f"c{n}" for n in range(10)]
    world.out.waiting[copy.link] = UNREAD_MAX + 1
    world.advance(1_000_000)
    assert copy.heard() == []  # it has not read what it got
    client.say("D", order("late", 1, 1, "9.5000"))  # after the request, and so not in its answer
    (text,) = copy.say("1", "112=t|")
    assert "|112=t|" in text
    world.out.waiting.clear()
    world.advance(10_000_000)
    told = copy.heard()
    assert ids(told, "|150=0|") == [f"c{n}" for n in range(10, 35)]
    assert told[-1].endswith("|45=2|21003=35|")


def test_requests_are_answered_in_turn_and_too_many_are_refused():
    """21004=1: too many requests."""
    world = World()
    client, copy = on(world), on(world, "KalshiDC", "key-dc", "")
    fill(client, 15)
    begin = world.truth().exec_ids[0]
    world.out.waiting[copy.link] = UNREAD_MAX + 1
    for _ in range(ASKED_MAX):
        assert not any("35=U" in text for text in copy.say("U1", f"21001={begin}|"))
    (refused,) = copy.say("U1", f"21001={begin}|")
    assert refused.endswith(f"|45={ASKED_MAX + 2}|21004=1|")
    world.out.waiting.clear()
    world.advance(10_000_000)
    ends = [text for text in copy.heard() if text.startswith("35=U2|")]
    assert [text.split("|45=")[1] for text in ends] == [f"{n}|21003=15|" for n in range(2, ASKED_MAX + 2)]
    copy.say("U1", f"21001={begin}|")
    copy.leave()
    assert world.venue.drop_copy.due is None
