"""Every point that the venue's documents leave open is a switch; here each is played both ways."""

import pytest
from unit.venue.venue_world import World, bodies, config, frame, on, order

from engine.common.clock import MS, SECOND, fix_time
from engine.config import RateConfig


def test_new_before_trade_is_taken_ignored_or_refused_by_its_tag():
    """21026 is documented for event contracts only."""
    for switch, reports in (("accept", ["0", "F"]), ("ignore", ["F"])):
        world = World(config(new_before_trade=switch))
        client, other = on(world, flags="21011=Y|21026=Y|"), on(world, key="key-other")
        other.say("D", order("s1", 2, 5, "9.5000"))
        texts = client.say("D", order("b1", 1, 5, "9.5000"))
        assert [text.split("|150=")[1][0] for text in texts] == reports
    world = World(config(new_before_trade="refuse"))
    client = world.client("KalshiNR", "key-oe")
    assert bodies(client.logon("21011=Y|21026=Y|")) == [
        "35=3|45=1|371=21026|372=A|373=2|58=tag 21026 is not defined for Logon|",
        "35=5|58=tag 21026 is not defined for Logon|",
    ]


@pytest.mark.parametrize(
    ("switch", "gateway", "write"),
    [
        ("session", "KalshiMD", 0),
        ("session", "KalshiNR", 10),
        ("write", "KalshiMD", 10),
        ("read", "KalshiNR", 0),
    ],
)
def test_logon_drains_the_bucket_that_is_configured(switch, gateway, write):
    world = World(config(tier="Premier", logon_bucket=switch))
    on(world, gateway, flags="")
    buckets = world.venue._buckets["main"]
    assert 2000 - buckets.write.level(world.mono) == write
    assert 1000 - buckets.read.level(world.mono) == 10 - write


@pytest.mark.parametrize(("costs", "left"), [({}, 1970), ({"F": 2}, 1978)])
def test_a_cancel_costs_what_is_configured(costs, left):
    """10 by default, 2 in event-contract batches: margin's own cost over FIX is not documented."""
    world = World(config(tier="Premier", costs=costs))
    client = on(world)
    client.say("D", order("c1", 1, 1, "9.5000"))
    client.say("F", "11=x|41=c1|54=1|55=BTC-PERP|")
    assert world.venue._buckets["main"].write.level(world.mono) == left


def test_explicit_numbers_are_the_venues_own_or_those_of_rate():
    rate = RateConfig(tier="explicit", write_per_s=10, write_capacity=20, read_per_s=10, read_capacity=10)
    for more, capacity in (({}, 20), ({"write_capacity": 50}, 50)):
        world = World(config(rate=rate, tier="explicit", **more))
        assert world.venue._buckets["main"].write.level(0) == capacity


@pytest.mark.parametrize("code", [5, 8])
def test_a_stale_order_has_the_configured_code(code):
    world = World(config(stale_code=code))
    client = on(world)
    assert world.fault("stale") == "ok"
    (text,) = client.say("D", order("c1", 1, 1, "9.5000"))
    assert "|150=8|39=8|" in text and f"|103={code}|" in text


def test_security_status_is_known_or_not():
    """35=e is documented on the event-contract gateway only."""
    assert bodies(on(World(), "KalshiMD", flags="").say("e", "263=1|55=BTC-PERP|")) == [
        "35=f|55=BTC-PERP|326=3|"
    ]
    client = on(World(config(security_status=False)), "KalshiMD", flags="")
    (text,) = bodies(client.say("e", "263=1|55=BTC-PERP|"))
    assert text.startswith("35=j|45=2|372=e|380=3|")


def test_an_unsupported_subscription_type_is_refused_with_281_4():
    """venue.md 5: 35=Y 281=4; SecurityStatusRequest has no such answer, so 373=5."""
    client = on(World(), "KalshiMD", flags="")
    assert bodies(client.say("V", "263=7|146=1|55=BTC-PERP|"))[0].startswith("35=Y|281=4|")
    assert "|371=263|372=e|373=5|" in client.say("e", "263=7|55=BTC-PERP|")[0]


@pytest.mark.parametrize(("tolerance", "refused"), [(30, True), (120, False)])
def test_sending_time_is_held_to_the_configured_tolerance(tolerance, refused):
    world = World(config(sending_time_tolerance_s=tolerance))
    client = on(world)
    client.seq += 1
    at = fix_time(world.wall - 60 * SECOND)
    world.venue.on_bytes(client.link, frame(f"35=0|49=key-oe|56=KalshiNR|34=2|52={at}|"), world.now)
    texts = bodies(client.heard())
    assert bool(texts) is refused
    if refused:
        assert "|373=10|" in texts[0] and texts[1].startswith("35=5|")


@pytest.mark.parametrize(("least", "answer"), [(3, "35=A"), (4, "35=5")])
def test_heart_bt_int_of_three_seconds_is_enough_or_not(least, answer):
    """>= 3 by one page, > 3 by another."""
    client = World(config(heart_bt_int_min_s=least)).client("KalshiNR", "key-oe")
    assert client.logon(heart=3)[0].startswith(answer)


def test_heart_bt_int_may_be_absent_or_not():
    for required, answer in (
        (False, "35=A|98=0|108=30|141=Y|1137=9|"),
        (True, "35=5|58=HeartBtInt(108) missing|"),
    ):
        world = World(config(require_heart_bt_int=required))
        client = world.client("KalshiNR", "key-oe")
        signed = f"key-oe/{fix_time(world.wall)}/A/1/key-oe/KalshiNR"
        assert bodies(client.say("A", f"98=0|96={signed}|141=Y|1137=9|")) == [answer]


def test_drop_copy_may_not_be_enabled_for_the_account():
    world = World(config(drop_copy="not_enabled"))
    assert bodies(on(world, "KalshiDC", flags="").say("U1", "21001=1;1|")) == ["35=U3|45=2|21004=5|"]


@pytest.mark.parametrize(("switch", "last"), [("window", "21004=3|"), ("any", "21003=1|")])
def test_a_begin_before_the_window_is_refused_or_cut(switch, last):
    world = World(config(drop_copy_begin=switch))
    on(world).say("D", order("c1", 1, 1, "9.5000"))
    assert on(world, "KalshiDC", "key-dc", "").say("U1", "21001=0;0|")[-1].endswith(last)


@pytest.mark.parametrize(("switch", "left"), [("session", []), ("connection", ["c1"])])
def test_mass_cancel_reaches_the_session_or_this_connection_only(switch, left):
    world = World(config(mass_cancel_scope=switch))
    first = on(world)
    first.say("D", order("c1", 1, 1, "9.5000"))
    first.leave()
    client = on(world)
    client.say("D", order("c2", 1, 1, "9.5000"))
    client.say("q", "11=m|530=6|")
    assert [entry.cl_ord_id for entry in world.truth().orders] == left


@pytest.mark.parametrize(("switch", "kind"), [("keep", "9"), ("drop", "8")])
def test_post_only_survives_an_amend_or_not(switch, kind):
    """The request carries no ExecInst."""
    world = World(config(amend_flags=switch))
    client = on(world)
    on(world, key="key-other").say("D", order("s1", 2, 1, "9.6000"))
    client.say("D", order("c1", 1, 1, "9.5000", "59=1|18=6|"))
    text = client.say("G", "11=c2|41=c1|38=1|40=2|44=9.6000|54=1|55=BTC-PERP|")[-1]
    assert text.startswith(f"35={kind}|")


@pytest.mark.parametrize(("switch", "kinds"), [("keep", ["4"]), ("drop", [])])
def test_the_pause_flag_survives_an_amend_or_not(switch, kinds):
    world = World(config(amend_flags=switch))
    client = on(world)
    client.say("D", order("c1", 1, 2, "9.5000", "59=1|21006=Y|"))
    client.say("G", "11=c2|41=c1|38=1|40=2|54=1|55=BTC-PERP|")
    world.fault("trading_pause")
    assert [text.split("|150=")[1][0] for text in client.heard()] == kinds


@pytest.mark.parametrize(("switch", "kind"), [("subaccount", "8"), ("account", "0")])
def test_a_group_binds_to_its_subaccount_or_not(switch, kind):
    world = World(config(group_scope=switch))
    client = on(world)
    (made,) = bodies(client.say("UOG", "20131=1|20132=3|79=2|"))
    assert made.endswith("|20132=3|79=2|")
    group = made.split("20130=")[1].split("|")[0]
    (text,) = client.say("D", order("c1", 1, 1, "9.5000", f"59=1|79=1|526={group}|"))
    assert text.split("|150=")[1][0] == kind
    assert "|150=0|" in client.say("D", order("c2", 1, 1, "9.5000", f"59=1|79=2|526={group}|"))[0]


def test_a_resend_request_without_retransmission_is_rejected_or_ends_the_session():
    """Scenario 8.7."""
    client = on(World())
    (text,) = bodies(client.say("2", "7=1|16=0|"))
    assert text.startswith("35=3|45=2|371=35|372=2|373=11|")
    world = World(config(resend_on_nr="logout"))
    client = on(world)
    assert [text[:4] for text in bodies(client.say("2", "7=1|16=0|"))] == ["35=3", "35=5"]
    assert client.link in world.out.closed


def test_after_an_unclean_drop_the_key_is_free_at_once_or_when_the_heartbeat_is_missed():
    """venue.md 1: `already exists` can last until the server's own heartbeat timeout, up to 60 s."""
    on(world := World()).leave()
    assert on(world)
    world = World(config(unclean_drop="by_heartbeat"))
    client = world.client("KalshiNR", "key-oe")
    client.logon("21011=Y|8013=Y|", heart=10)
    client.say("D", order("c1", 1, 1, "9.5000"))
    client.leave()
    second = world.client("KalshiNR", "key-oe")
    assert bodies(second.logon()) == ["35=5|58=already exists|"]
    world.advance(23 * SECOND)
    assert bodies(world.client("KalshiNR", "key-oe").logon()) == ["35=5|58=already exists|"]
    assert [entry.cl_ord_id for entry in world.truth().orders] == ["c1"]
    world.advance(SECOND + 100 * MS)  # 12 s to the TestRequest, 12 s more without an answer
    assert world.truth().orders == []  # 8013=Y acts when the venue notices
    assert on(world)


def test_a_logout_frees_the_key_at_once_whatever_is_configured():
    world = World(config(unclean_drop="by_heartbeat"))
    client = on(world)
    client.say("5")
    assert on(world)


@pytest.mark.parametrize(("switch", "heard"), [("sessions", 1), ("listeners", 0)])
def test_system_orders_are_told_to_sessions_or_to_listeners_only(switch, heard):
    world = World(config(system_reports=switch))
    client, listener = on(world), on(world, key="key-2", flags="20126=Y|21011=Y|")
    other = on(world, key="key-other")
    other.say("D", order("s1", 2, 10, "9.5000"))
    client.say("D", order("b1", 1, 10, "9.5000"))
    other.say("D", order("b2", 1, 10, "9.4000"))
    listener.heard()
    assert world.fault("exit_trigger", qty="4") == "ok"
    assert len(client.heard()) == heard
    (text,) = bodies(listener.heard())
    assert "|11=exit-" in text and "|150=F|39=2|54=2|" in text and "|704=6.00|705=0.00|" in text


def test_the_comp_id_is_the_sessions_name_or_kalshi():
    for switch, name in (("session", "KalshiDC"), ("Kalshi", "Kalshi")):
        client = World(config(comp_id=switch)).client("KalshiDC", "key-dc")
        assert client.logon("")[0].startswith(f"35=A|49={name}|56=key-dc|")


def test_logon_is_rate_limited_like_any_message():
    """venue.md 3: Logon is counted; Basic's Write bucket holds 100 tokens, ten Logons."""
    world = World(config(tier="Basic"))
    for _ in range(10):
        on(world).leave()
    assert bodies(world.client("KalshiNR", "key-oe").logon()) == ["35=5|58=rate limit exceeded|"]
    world.advance(100 * MS)
    client = on(world)
    assert bodies(client.say("D", order("c1", 1, 1, "9.5000")))[0].endswith("|380=8|58=rate limit exceeded|")
    assert world.truth().orders == []
    assert bodies(client.say("1", "112=free|")) == ["35=0|112=free|"]  # not counted
