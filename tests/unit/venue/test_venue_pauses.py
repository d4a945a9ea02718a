"""Trading pause, exchange pause, and the Thursday window in New York time (venue.md section 2)."""

import pytest
from unit.venue.venue_world import World, bodies, config, on, order

from engine.common.clock import SECOND, parse_fix_time
from engine.venue.schedule import Pauses, window_of


@pytest.mark.parametrize(
    ("at", "begins", "ends"),
    [
        (
            "20260304-12:00:00.000",
            "20260305-08:00:00.000",
            "20260305-10:00:00.000",
        ),  # the last one in winter time
        (
            "20260305-10:00:00.000",
            "20260312-07:00:00.000",
            "20260312-09:00:00.000",
        ),  # the first one in summer time
        (
            "20261025-00:00:00.000",
            "20261029-07:00:00.000",
            "20261029-09:00:00.000",
        ),  # the last one in summer time
        (
            "20261029-09:00:00.000",
            "20261105-08:00:00.000",
            "20261105-10:00:00.000",
        ),  # the first one in winter time
        ("20261126-09:59:59.999", "20261126-08:00:00.000", "20261126-10:00:00.000"),  # it is on
    ],
)
def test_the_window_is_thursday_three_to_five_in_new_york_over_both_clock_changes(at, begins, ends):
    assert window_of(parse_fix_time(at)) == (parse_fix_time(begins), parse_fix_time(ends))


def test_a_pause_on_command_and_the_window_are_kept_apart():
    pauses = Pauses(scheduled=True)
    begin, end = window_of(parse_fix_time("20261126-07:00:00.000"))
    assert not pauses.look(begin - 1) and pauses.effective == "" and pauses.due_ns == begin
    assert pauses.look(begin) and pauses.effective == "trading" and pauses.due_ns == end
    pauses.commanded = "exchange"
    assert pauses.effective == "exchange"
    pauses.commanded = ""
    assert pauses.effective == "trading"
    assert pauses.look(end) and pauses.effective == ""


@pytest.mark.parametrize("day", ["20260305-07:59:58.000", "20260312-06:59:58.000", "20261105-07:59:58.000"])
def test_a_trading_pause_begins_and_ends_by_itself(day):
    """No new orders, no amends; cancels work; 21006=Y is cancelled; the rest stays on the book."""
    world = World(now=parse_fix_time(day))
    client = on(world)
    client.say("D", order("c1", 1, 10, "9.5000", "59=1|21006=Y|"))
    client.say("D", order("c2", 1, 10, "9.4000"))
    client.say("D", order("c3", 1, 10, "9.3000"))
    world.advance(2 * SECOND)
    (text,) = bodies(client.heard())
    assert "|11=c1|" in text and "|150=4|39=4|" in text
    assert client.say("D", order("c4", 1, 10, "9.4000"))[0].endswith("|58=TRADING_PAUSED|")
    assert client.say("G", "11=c5|41=c2|38=5|40=2|54=1|55=BTC-PERP|")[0].endswith("|58=TRADING_PAUSED|")
    assert "|150=4|" in client.say("F", "11=c6|41=c3|54=1|55=BTC-PERP|")[0]
    for _ in range(2 * 3600 // 20 - 1):
        world.advance(20 * SECOND)
        client.say("0")
    assert world.venue.exchange.paused == "trading"
    world.advance(20 * SECOND)
    client.heard()
    assert "|150=0|" in client.say("D", order("c7", 1, 10, "9.4000"))[0]
    assert [entry.cl_ord_id for entry in world.truth().orders] == ["c2", "c7"]


def test_a_skewed_clock_enters_and_leaves_the_window():
    """The venue's clock is what counts."""
    world = World(now=parse_fix_time("20261126-07:00:00.000"))
    assert world.fault("skew", ms=str(90 * 60 * 1000)) == "ok"
    assert world.venue.exchange.paused == "trading"
    world.fault("skew", ms="0")
    assert world.venue.exchange.paused == ""
    world.advance(3600 * SECOND)
    assert world.venue.exchange.paused == "trading"


def test_the_window_can_be_left_out():
    world = World(config(maintenance="none"), now=parse_fix_time("20261126-08:30:00.000"))
    assert "|150=0|" in on(world).say("D", order("c1", 1, 10, "9.5000"))[0]
    assert world.venue.deadline is not None


def test_a_venue_that_starts_within_the_window_is_paused():
    world = World(now=parse_fix_time("20261126-08:30:00.000"))
    assert world.venue.status(world.now).detail == "trading pause (Thursday window)"
    assert on(world).say("D", order("c1", 1, 10, "9.5000"))[0].endswith("|58=TRADING_PAUSED|")


def test_an_exchange_pause_lets_not_even_cancels_through():
    """Cancel on either kind of pause; mass cancel is refused as well."""
    world = World()
    client = on(world)
    client.say("D", order("c1", 1, 10, "9.5000", "59=1|21006=Y|"))
    client.say("UOG", "20131=1|20132=5|")
    group = "6f726472-0000-4000-8000-000000000001"
    client.say("D", order("c2", 1, 10, "9.4000", f"59=1|526={group}|"))
    assert world.fault("exchange_pause") == "ok"
    assert "|11=c1|" in client.heard()[0]
    assert client.say("F", "11=c3|41=c2|54=1|55=BTC-PERP|")[0].endswith("|58=EXCHANGE_PAUSED|")
    assert client.say("D", order("c4", 1, 10, "9.4000"))[0].endswith(
        "|103=2|44=9.4000|60=20261124-15:00:00.000|58=EXCHANGE_PAUSED|"
    )
    assert bodies(client.say("q", "11=m|530=6|"))[0].endswith("|531=0|532=99|")
    for action in "43":  # trigger and delete of a group would cancel
        (answer,) = bodies(client.say("UOG", f"20131={action}|20130={group}|"))
        assert answer.endswith(f"|372=UOG|379={group}|380=0|58=EXCHANGE_PAUSED|")
    assert len(world.truth().orders) == 1
    world.fault("resume")
    assert "|150=4|" in client.say("F", "11=c5|41=c2|54=1|55=BTC-PERP|")[0]


@pytest.mark.parametrize(("switch", "again"), [("disconnect", "35=A"), ("closed", "35=5|58=maintenance|")])
def test_sessions_are_dropped_in_maintenance_as_configured(switch, again):
    world = World(config(maintenance=switch), now=parse_fix_time("20261126-07:59:59.000"))
    client, data = on(world), on(world, "KalshiMD", "key-md", "")
    world.advance(SECOND)
    assert bodies(client.heard()) == bodies(data.heard()) == ["35=5|58=maintenance|"]
    assert set(world.out.closed) == {client.link, data.link}
    assert bodies(world.client("KalshiNR", "key-oe").logon())[0].startswith(again)
    world.advance(2 * 3600 * SECOND)
    assert on(world)


@pytest.mark.parametrize(
    ("switch", "answer"),
    [("continue", "35=A|"), ("reset", "35=5|58=ResetSeqNumFlag(141) must be Y after maintenance|")],
)
def test_kalshi_rt_goes_on_over_maintenance_or_must_reset(switch, answer):
    """[?] Two pages disagree."""
    world = World(
        config(maintenance="disconnect", rt_after_maintenance=switch),
        now=parse_fix_time("20261126-07:59:59.000"),
    )
    client = world.client("KalshiRT", "key-oe")
    client.logon()
    world.advance(SECOND)
    again = world.client("KalshiRT", "key-oe")
    again.seq = 1
    assert bodies(again.logon(head=""))[0].startswith(answer)
    if switch == "reset":
        assert "|141=Y|" in world.client("KalshiRT", "key-oe").logon()[0]


def test_one_market_can_be_inactive_or_closed():
    """MARKET_INACTIVE and MARKET_ALREADY_CLOSED, both 103=2; cancels work."""
    world = World()
    client, data = on(world), on(world, "KalshiMD", "key-md", "")
    data.say("e", "263=1|55=BTC-PERP|")
    client.say("D", order("c1", 1, 10, "9.5000"))
    for state, text in (("inactive", "MARKET_INACTIVE"), ("closed", "MARKET_ALREADY_CLOSED")):
        assert world.fault("market", symbol="BTC-PERP", state=state) == "ok"
        assert "|326=2|" in data.heard()[0]
        refused = client.say("D", order("c2", 1, 10, "9.5000"))[0]
        assert "|103=2|" in refused and refused.endswith(f"|58={text}|")
        assert client.say("G", "11=c3|41=c1|38=5|40=2|54=1|55=BTC-PERP|")[0].endswith(f"|58={text}|")
    assert "|150=4|" in client.say("F", "11=c4|41=c1|54=1|55=BTC-PERP|")[0]
    world.fault("market", symbol="BTC-PERP")
    assert "|150=0|" in client.say("D", order("c5", 1, 10, "9.5000"))[0]
    assert world.fault("market", symbol="X").startswith("there is no market 'X'")
