"""KalshiRT: numbers and messages go on over connections, over maintenance and over the venue's own restart."""

from unit.venue.venue_world import T0, World, bodies, config, frame, on, order

from engine.common.clock import SECOND, fix_time

HOUR = 3600 * SECOND


def rt(world, seq=0, head="", key="key-oe", flags="21011=Y|21008=Y|"):
    """Log on to KalshiRT; head empty goes on with the numbers, `seq` is the client's last number."""
    client = world.client("KalshiRT", key)
    client.seq = seq
    return client, client.logon(flags, head)


def numbers(texts):
    return [(text.split("|")[0], int(text.split("|34=")[1].split("|")[0])) for text in texts]


def test_numbers_go_on_after_a_disconnect_and_what_happened_meanwhile_is_kept():
    """venue.md 2: KalshiRT keeps continuity; missed messages come by ResendRequest, with 43=Y and 122."""
    world = World()
    client, answer = rt(world, head="141=Y|")
    assert numbers(answer) == [("35=A", 1)]
    client.say("D", order("r1", 1, 10, "9.5000"))  # New under number 2
    client.leave()
    other = on(world, key="key-other")
    other.say("D", order("s1", 2, 4, "9.5000"))  # a Trade under number 3, while nobody is there
    world.advance(7 * SECOND)
    client, answer = rt(world, seq=2)
    assert numbers(answer) == [("35=A", 4)] and "|141=" not in answer[0]
    resent = client.say("2", "7=2|16=0|")
    assert numbers(resent) == [("35=8", 2), ("35=8", 3), ("35=4", 4)]
    assert "|52=20261124-15:00:07.000|43=Y|122=20261124-15:00:00.000|" in resent[1]
    assert "|150=F|" in resent[1]
    assert resent[2].endswith("|123=Y|36=5|")


def test_a_closed_range_and_one_number_are_resent_exactly():
    """Scenario 8.2."""
    world = World()
    client, _ = rt(world, head="141=Y|")
    for number in range(4):
        client.say("D", order(f"r{number}", 1, 1, "9.5000"))
    assert numbers(client.say("2", "7=3|16=3|")) == [("35=8", 3)]
    assert numbers(client.say("2", "7=2|16=4|")) == [("35=8", 2), ("35=8", 3), ("35=8", 4)]
    assert numbers(client.say("2", "7=5|16=99|")) == [("35=8", 5)]


def test_session_messages_are_gap_filled():
    """Scenario 8.1: admin messages come as GapFill."""
    world = World()
    client, _ = rt(world, head="141=Y|")
    client.say("1", "112=a|")
    client.say("D", order("r1", 1, 1, "9.5000"))
    client.say("1", "112=b|")
    resent = client.say("2", "7=1|16=0|")
    assert numbers(resent) == [("35=4", 1), ("35=8", 3), ("35=4", 4)]
    assert resent[0].endswith("|36=3|") and resent[2].endswith("|36=5|")


def test_a_request_before_the_retention_period_is_rejected():
    """Scenario 8.4, with MessageRetentionPeriod(20200) of one hour."""
    world = World()
    client, _ = rt(world, head="141=Y|", flags="21011=Y|20200=1|")
    client.say("D", order("r1", 1, 1, "9.5000"))
    client.leave()
    world.advance(HOUR - SECOND)
    client, _ = rt(world, seq=2, flags="21011=Y|20200=1|")
    assert numbers(client.say("2", "7=2|16=2|")) == [("35=8", 2)]
    client.leave()
    world.advance(2 * SECOND)
    client, _ = rt(world, seq=4, flags="21011=Y|20200=1|")
    (text,) = bodies(client.say("2", "7=2|16=0|"))
    assert text == (
        "35=3|45=6|371=7|372=2|373=5|58=BeginSeqNo(7) 2 is outside the retention window, which begins at 3|"
    )
    assert numbers(client.say("1", "112=on|"))[0][0] == "35=0"


def test_the_retention_period_is_24_hours_by_default_and_at_most_72():
    world = World()
    client = world.client("KalshiRT", "key-oe")
    assert bodies(client.logon("20200=73|")) == ["35=5|58=MessageRetentionPeriod(20200) must be 1 to 72|"]
    client, _ = rt(world, head="141=Y|", flags="21011=Y|")
    client.say("D", order("r1", 1, 1, "9.5000"))
    client.leave()
    world.advance(24 * HOUR + SECOND)
    client, _ = rt(world, seq=2)
    assert "|371=7|" in client.say("2", "7=2|16=2|")[0]


def test_a_reset_begins_anew_and_forgets():
    """141=Y is optional on KalshiRT; scenario 9.5: nothing is asked for across it."""
    world = World()
    client, _ = rt(world, head="141=Y|")
    client.say("D", order("r1", 1, 1, "9.5000"))
    client.leave()
    client, answer = rt(world, head="141=Y|")
    assert numbers(answer) == [("35=A", 1)] and "|141=Y|" in answer[0]
    assert numbers(client.say("2", "7=1|16=0|")) == [("35=4", 1)]


def test_a_logon_too_low_is_refused_under_the_sessions_own_number_and_too_high_is_asked_for():
    """Scenarios 1.9 and 1.10."""
    world = World()
    client, _ = rt(world, head="141=Y|", flags="21011=Y|8013=Y|")
    client.say("D", order("r1", 1, 1, "9.5000"))
    client.leave()
    client, answer = rt(world)
    assert bodies(answer) == ["35=5|58=MsgSeqNum(34) too low, expected 3, received 1|"]
    assert client.link in world.out.closed
    client, answer = rt(world, seq=5, flags="21011=Y|")  # Logon is 6, 3 to 5 are missing
    assert [text.split("|")[0] for text in answer] == ["35=A", "35=2"]
    assert answer[1].endswith("|7=3|16=5|")


def test_numbers_messages_and_listeners_survive_the_venues_restart():
    """The journal has everything before a byte leaves."""
    world = World()
    listener, _ = rt(world, head="141=Y|", key="key-2", flags="20126=Y|21011=Y|")
    client, _ = rt(world, head="141=Y|")
    client.say("D", order("r1", 1, 10, "9.5000"))
    client.say("1", "112=x|")
    other = on(world, key="key-other")
    other.say("D", order("s1", 2, 4, "9.5000"))
    later = World(config(), world.out.records, T0 + 60 * SECOND)
    on(later, key="key-other").say("D", order("s2", 2, 2, "9.5000"))
    client, answer = rt(later, seq=3)
    assert numbers(answer)[0] == ("35=A", 6)
    assert numbers(client.say("2", "7=2|16=0|")) == [
        ("35=8", 2), ("35=4", 3), ("35=8", 4), ("35=8", 5), ("35=4", 6),
    ]  # fmt: skip
    listener, answer = rt(later, seq=1, key="key-2", flags="20126=Y|21011=Y|")
    assert numbers(answer)[0] == ("35=A", 5)
    assert numbers(listener.say("2", "7=2|16=4|")) == [("35=8", 2), ("35=8", 3), ("35=8", 4)]


def test_a_reset_inside_the_session_survives_a_restart_too():
    """Scenario 1.7: a Logon with 141=Y inside the session resets both sides."""
    world = World()
    client, _ = rt(world, head="141=Y|")
    client.say("D", order("r1", 1, 10, "9.5000"))
    client.seq = 0
    assert numbers(client.logon("", "141=Y|")) == [("35=A", 1)]
    client.say("D", order("r2", 1, 10, "9.5000"))
    later = World(config(), world.out.records, T0 + SECOND)
    client, answer = rt(later, seq=2)
    assert numbers(answer) == [("35=A", 3)]
    resent = client.say("2", "7=1|16=0|")
    assert numbers(resent) == [("35=4", 1), ("35=8", 2), ("35=4", 3)] and "|11=r2|" in resent[1]


def test_a_report_of_a_cancel_on_disconnect_is_kept_for_the_session():
    world = World()
    client, _ = rt(world, head="141=Y|", flags="21011=Y|8013=Y|")
    client.say("D", order("r1", 1, 10, "9.5000"))
    client.leave()
    client, answer = rt(world, seq=2, flags="21011=Y|8013=Y|")
    assert numbers(answer) == [("35=A", 4)]
    assert "|150=4|39=4|" in client.say("2", "7=3|16=3|")[0]


def test_a_logout_counts_its_number_and_the_session_goes_on():
    world = World()
    client, _ = rt(world, head="141=Y|")
    assert numbers(client.say("5")) == [("35=5", 2)]
    client.leave()
    assert numbers(rt(world, seq=2)[1]) == [("35=A", 3)]


def test_mass_cancel_is_not_for_kalshi_rt():
    """venue.md 4: OrderMassCancelRequest is KalshiNR's only."""
    world = World()
    client, _ = rt(world, head="141=Y|")
    assert bodies(client.say("q", "11=m|530=6|"))[0].startswith("35=j|45=2|372=q|380=3|")


def test_the_venues_own_stop_counts_its_logout():
    world = World()
    client, _ = rt(world, head="141=Y|")
    client.say("D", order("r1", 1, 1, "9.5000"))
    world.venue.stop(world.now)
    assert numbers(client.heard()) == [("35=5", 3)]
    later = World(config(), world.out.records, T0 + SECOND)
    assert numbers(rt(later, seq=2)[1]) == [("35=A", 4)]


def test_a_dead_connection_keeps_numbering_until_it_is_noticed():
    """What was written into the void is asked for after the reconnect."""
    world = World()
    client, _ = rt(world, head="141=Y|")
    client.say("D", order("r1", 1, 2, "9.5000"))
    world.fault("half_open", "KalshiRT")
    on(world, key="key-other").say("D", order("s1", 2, 2, "9.5000"))
    client.leave()
    world.advance(73 * SECOND)
    client, answer = rt(world, seq=2)
    assert answer[0].startswith("35=A|")
    resent = client.say("2", "7=3|16=3|")
    assert numbers(resent) == [("35=8", 3)] and "|150=F|" in resent[0]


def test_a_reset_and_an_order_in_one_read_are_a_reset_however_the_numbers_look():
    """Both numbers may be what they were: what is kept under them is not."""
    world = World()
    client, _ = rt(world, head="141=Y|")
    client.say("D", order("r1", 1, 10, "9.5000"))
    at = fix_time(world.wall)
    head = f"49=key-oe|56=KalshiRT|34={{}}|52={at}|"
    signed = f"key-oe/{at}/A/1/key-oe/KalshiRT"
    logon = frame(f"35=A|{head.format(1)}98=0|108=30|96={signed}|141=Y|1137=9|21011=Y|")
    new = frame(f"35=D|{head.format(2)}{order('r2', 1, 10, '9.5000')}")
    world.venue.on_bytes(client.link, logon + new, world.now)
    assert numbers(client.heard()) == [("35=A", 1), ("35=8", 2)]
    later = World(config(), world.out.records, T0 + SECOND)
    client, answer = rt(later, seq=2)
    assert numbers(answer) == [("35=A", 3)]
    resent = client.say("2", "7=2|16=2|")
    assert numbers(resent) == [("35=8", 2)] and "|11=r2|" in resent[0]
