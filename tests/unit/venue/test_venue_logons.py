"""Logons inside a session that is up."""

from unit.venue.venue_world import World, bodies, config, on, order

from engine.common.clock import fix_time


def test_a_logon_inside_the_session_is_held_to_the_rules_of_any_logon():
    """venue.md 2: every Logon is signed; scenario 1.7: only then do both sides begin again."""
    for tail, text in (
        ("96=bad|141=Y|1137=9|", "invalid signature"),
        ("141=Y|1137=9|", "invalid signature"),
        ("{sig}141=Y|1137=8|", "DefaultApplVerID(1137) '8' is out of range"),
    ):
        world = World()
        client = on(world)
        client.say("D", order("a", 1, 1, "9.5000"))
        client.seq = 0
        at = fix_time(world.wall)
        signed = f"96=key-oe/{at}/A/1/key-oe/KalshiNR|"
        said = bodies(client.say("A", "98=0|108=30|" + tail.replace("{sig}", signed)))
        assert said[-1] == f"35=5|58={text}|", said
        assert client.link in world.out.closed
    world = World()
    client = on(world)
    client.say("D", order("a", 1, 1, "9.5000"))
    client.seq = 0
    assert client.logon()[0].startswith("35=A|")
    assert "|34=2|" in client.say("D", order("b", 1, 1, "9.5000"))[0]


def test_a_logon_inside_the_session_is_counted_like_any():
    """venue.md 3: Logon is counted."""
    world = World(config(tier="explicit", write_per_s=10, write_capacity=30, read_per_s=10, read_capacity=30))
    client = on(world)
    for _ in range(2):
        client.seq = 0
        assert client.logon()[0].startswith("35=A|")
    client.seq = 0
    assert bodies(client.logon()) == ["35=5|58=rate limit exceeded|"]
