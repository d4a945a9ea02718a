"""The Venue actor over literal FIX text: what a client writes, and exactly what comes back.

Text is written with | for SOH and without BodyLength and CheckSum; the helpers here count and sum for themselves.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.venue.venue_world import T0, World, bodies, config, frame, on, order

from engine.common.clock import MS, SECOND, fix_time
from engine.config import RateConfig

CLOCK = 1_795_532_400_000  # the first life's clock begins at its wall clock in ms


def test_logon_order_and_new_report_word_for_word():
    world = World()
    client = world.client("KalshiNR", "key-oe")
    assert client.logon() == [
        "35=A|49=KalshiNR|56=key-oe|34=1|52=20261124-15:00:00.000|98=0|108=30|141=Y|1137=9|"
    ]
    world.advance(5 * MS)
    assert client.say("D", order("c1", 1, 10, "9.5000")) == [
        (
            "35=8|49=KalshiNR|56=key-oe|34=2|52=20261124-15:00:00.005|"
            f"37=6b616c73-01a20e122581-000000000001|11=c1|17={CLOCK + 1};1|150=0|39=0|54=1|55=BTC-PERP|151=10.00|14=0.00|6=0.0000|"
            "38=10.00|30=0|44=9.5000|60=20261124-15:00:00.005|"
        )
    ]


def test_comp_id_may_be_kalshi_on_every_session():
    world = World(config(comp_id="Kalshi"))
    client = world.client("KalshiMD", "key-md")
    assert client.logon("")[0].startswith("35=A|49=Kalshi|56=key-md|34=1|")
    assert client.say("1", "112=x|")[0].endswith("|112=x|")


@pytest.mark.parametrize(
    ("gateway", "key", "change", "text"),
    [
        ("KalshiNR", "nobody", {}, "unknown SenderCompID(49)"),
        ("KalshiNR", "key-only-md", {}, "this API key may not use KalshiNR"),
        ("KalshiNR", "key-oe", {"heart": 2}, "HeartBtInt(108) must be at least 3"),
        ("KalshiNR", "key-oe", {"head": ""}, "ResetSeqNumFlag(141) must be Y"),
        ("KalshiDC", "key-dc", {"head": ""}, "ResetSeqNumFlag(141) must be Y"),
        ("KalshiMD", "key-md", {"head": "141=N|"}, "ResetSeqNumFlag(141) must be Y"),
        (
            "KalshiNR",
            "key-oe",
            {"flags": "20126=Y|"},
            "ListenerSession(20126) needs SkipPendingExecReports(21011)=Y",
        ),
        (
            "KalshiNR",
            "key-oe",
            {"flags": "8013=Y|20126=Y|21011=Y|"},
            "ListenerSession(20126) excludes CancelOrdersOnDisconnect(8013)=Y",
        ),
        (
            "KalshiDC",
            "key-dc",
            {"flags": "20126=Y|21011=Y|"},
            "ListenerSession(20126) is for KalshiNR and KalshiRT",
        ),
        ("KalshiRT", "key-oe", {"flags": "20200=73|"}, "MessageRetentionPeriod(20200) must be 1 to 72"),
    ],
)
def test_a_logon_that_fails_is_answered_with_logout_and_closed(gateway, key, change, text):
    world = World()
    client = world.client(gateway, key)
    assert bodies(client.logon(**change)) == [f"35=5|58={text}|"]
    assert client.link in world.out.closed
    assert client.say("1", "112=x|") == []


def test_a_wrong_signature_or_an_old_sending_time_is_refused():
    world = World()
    client = world.client("KalshiNR", "key-oe")
    assert bodies(client.say("A", "98=0|108=30|95=3|96=abc|141=Y|1137=9|")) == ["35=5|58=invalid signature|"]
    late = world.client("KalshiNR", "key-oe")
    world.wall -= 31 * SECOND
    at = fix_time(world.wall)
    signed = f"key-oe/{at}/A/1/key-oe/KalshiNR"
    text = f"35=A|49=key-oe|56=KalshiNR|34=1|52={at}|98=0|108=30|95={len(signed)}|96={signed}|141=Y|1137=9|"
    world.wall += 31 * SECOND
    world.venue.on_bytes(late.link, frame(text), world.now)
    reject, logout = bodies(late.heard())
    assert reject.startswith("35=3|45=1|") and "|373=10|" in reject
    assert logout.startswith("35=5|58=SendingTime")


def test_the_target_must_be_the_gateway_of_the_port():
    world = World()
    client = world.client("KalshiNR", "key-oe")
    client.gateway = "KalshiMD"
    reject, logout = bodies(client.logon())
    assert "|373=9|" in reject
    assert logout.startswith("35=5|")


def test_raw_data_length_is_demanded_only_as_configured():
    for required in (False, True):
        world = World(config(require_raw_data_length=required))
        client = world.client("KalshiNR", "key-oe")
        signed = f"key-oe/{fix_time(world.wall)}/A/1/key-oe/KalshiNR"
        (answer,) = bodies(client.say("A", f"98=0|108=30|96={signed}|141=Y|1137=9|"))
        assert answer == (
            "35=5|58=RawDataLength(95) missing|" if required else "35=A|98=0|108=30|141=Y|1137=9|"
        )


def test_kalshi_rt_takes_a_logon_without_reset():
    client = World().client("KalshiRT", "key-oe")
    assert bodies(client.logon(head="")) == ["35=A|98=0|108=30|1137=9|"]


@pytest.mark.parametrize(
    ("rule", "second"),
    [("per_key", "35=5|58=already exists|"), ("per_key_and_session", "35=A|98=0|108=30|141=Y|1137=9|")],
)
def test_a_second_connection_of_a_key_hears_already_exists(rule, second):
    world = World(config(connections=rule))
    first = on(world)
    assert bodies(world.client("KalshiNR", "key-oe").logon()) == ["35=5|58=already exists|"]
    assert bodies(world.client("KalshiMD", "key-oe").logon()) == [second]
    assert bodies(first.say("1", "112=still|")) == ["35=0|112=still|"]
    first.leave()
    assert on(world)


def test_a_trade_reports_to_both_sides_with_everything_on_it():
    world = World()
    maker, taker = on(world, key="key-other"), on(world)
    maker.say("D", order("s1", 2, 10, "9.5000"))
    (report,) = taker.say("D", order("b1", 1, 4, "9.6000", "59=3|"))
    match_id = f"{CLOCK + 2}-1"
    assert report == (
        "35=8|49=KalshiNR|56=key-oe|34=2|52=20261124-15:00:00.000|"
        f"37=6b616c73-01a20e122582-000000000003|11=b1|17={CLOCK + 2};2|150=F|39=2|54=1|55=BTC-PERP|151=0.00|14=4.00|6=9.5000|"
        "38=4.00|30=0|31=9.5000|32=4.00|44=9.6000|60=20261124-15:00:00.000|136=1|137=0.0114|138=USD|139=4|891=0|"
        f"704=4.00|705=0.00|1703=1|1704=-0.0114|1705=BALANCE|880={match_id}|1057=Y|"
    )
    (report,) = bodies(maker.heard())
    assert report == (
        f"35=8|37=6b616c73-01a20e122581-000000000001|11=s1|17={CLOCK + 2};1|150=F|39=1|54=2|55=BTC-PERP|151=6.00|14=4.00|6=9.5000|"
        "38=10.00|30=0|31=9.5000|32=4.00|44=9.5000|60=20261124-15:00:00.000|136=1|137=0.0038|138=USD|139=4|891=0|"
        f"704=0.00|705=4.00|1703=1|1704=-0.0038|1705=BALANCE|880={match_id}|1057=N|"
    )


def test_cancel_replace_and_their_refusals():
    world = World()
    client = on(world)
    (new,) = client.say("D", order("c1", 1, 10, "9.5000"))
    order_id = new.split("|37=")[1].split("|")[0]
    (replaced,) = bodies(client.say("G", "11=c2|41=c1|38=8|40=2|44=9.5000|54=1|55=BTC-PERP|"))
    assert replaced == (
        f"35=8|37={order_id}|11=c2|17={CLOCK + 2};1|150=5|39=5|54=1|55=BTC-PERP|151=8.00|14=0.00|6=0.0000|38=8.00|30=0|41=c1|"
        "44=9.5000|60=20261124-15:00:00.000|"
    )
    assert bodies(client.say("F", "11=x|41=nope|54=1|55=BTC-PERP|")) == [
        "35=9|37=NONE|11=x|41=nope|39=8|434=1|102=1|58=ORDER_NOT_FOUND|"
    ]
    (canceled,) = bodies(client.say("F", "11=c3|41=c2|54=1|55=BTC-PERP|"))
    assert canceled == (
        f"35=8|37={order_id}|11=c3|17={CLOCK + 4};1|150=4|39=4|54=1|55=BTC-PERP|151=0.00|14=0.00|6=0.0000|38=8.00|30=0|41=c2|"
        "44=9.5000|60=20261124-15:00:00.000|"
    )
    assert bodies(client.say("G", "11=c4|41=c2|38=8|40=2|54=1|55=BTC-PERP|")) == [
        f"35=9|37={order_id}|11=c4|41=c2|39=4|434=2|102=0|58=TOO_LATE|"
    ]


def test_a_refused_new_order_is_a_report_never_a_business_reject():
    client = on(World())
    (report,) = bodies(client.say("D", order("c1", 1, 10, "9.5000").replace("BTC", "XXX")))
    assert report == (
        f"35=8|37=NONE|11=c1|17={CLOCK + 1};1|150=8|39=8|54=1|55=XXX-PERP|151=0.00|14=0.00|6=0.0000|38=10.00|30=0|103=1|"
        "44=9.5000|60=20261124-15:00:00.000|58=MARKET_NOT_FOUND|"
    )


@pytest.mark.parametrize(
    ("msg_type", "fields", "answer"),
    [
        ("D", order("c1", 3, 10, "9.5000"), "35=3|45=2|371=54|372=D|373=5|"),
        ("D", order("c1", 1, 10, "9.5000").replace("40=2", "40=1"), "35=3|45=2|371=40|372=D|373=5|"),
        ("D", order("c1", 1, 10, "9.5000").replace("11=c1|", ""), "35=3|45=2|371=11|372=D|373=1|"),
        ("D", order("c1", 1, 10, "9.5000", "59=6|"), "35=j|45=2|372=D|"),
        ("D", order("c1", 1, "999999999999999900", "9.5000"), "35=3|45=2|371=38|372=D|373=5|"),
        ("D", order("c1", 1, 10, "99999999999999.0000"), "35=3|45=2|371=44|372=D|373=5|"),
        ("D", order("c1", 1, 10, "9.5000", "59=6|126=99991231-00:00:00|"), "35=3|45=2|371=126|372=D|373=5|"),
        ("V", "263=1|146=1|55=BTC-PERP|", "35=j|45=2|372=V|380=3|"),
        ("U1", "21001=1;1|", "35=j|45=2|372=U1|380=3|"),
        ("ZZ", "", "35=3|45=2|371=35|372=ZZ|373=11|"),
    ],
)
def test_what_the_session_layer_refuses_never_reaches_the_exchange(msg_type, fields, answer):
    world = World()
    client = on(world)
    (text,) = bodies(client.say(msg_type, fields))
    assert text.startswith(answer), text
    assert world.out.records == []
    assert bodies(client.say("1", "112=alive|")) == ["35=0|112=alive|"]


def test_order_messages_on_data_sessions_are_not_supported_there():
    world = World()
    for gateway, key in (("KalshiDC", "key-dc"), ("KalshiMD", "key-md")):
        client = on(world, gateway, key, "")
        (text,) = bodies(client.say("D", order("c1", 1, 10, "9.5000")))
        assert text.startswith("35=j|45=2|372=D|") and "380=3|" in text


def test_an_empty_write_bucket_is_said_and_nothing_applied():
    rate = RateConfig(tier="explicit", write_per_s=10, write_capacity=20, read_per_s=10, read_capacity=10)
    world = World(config(tier="explicit", rate=rate))
    client = on(world)  # Logon is counted: 10 of 20
    assert bodies(client.say("D", order("c1", 1, 10, "9.5000")))[0].startswith("35=8|")
    assert bodies(client.say("D", order("c2", 1, 10, "9.5000"))) == [
        "35=j|45=3|372=D|379=c2|380=8|58=rate limit exceeded|"
    ]
    assert bodies(client.say("1", "112=free|")) == ["35=0|112=free|"]
    assert [entry.cl_ord_id for entry in world.truth().orders] == ["c1"]
    world.advance(SECOND)
    assert bodies(client.say("D", order("c2", 1, 10, "9.5000")))[0].startswith("35=8|")
    md = world.client("KalshiMD", "key-md")
    assert bodies(md.logon(""))[0].startswith("35=A|")  # Read is another bucket
    assert bodies(world.client("KalshiDC", "key-dc").logon("")) == ["35=5|58=rate limit exceeded|"]


def test_mass_cancel_answers_cancels_and_is_limited_to_one_a_second():
    world = World()
    client = on(world)
    client.say("D", order("c1", 1, 10, "9.5000"))
    client.say("D", order("c2", 2, 10, "10.5000"))
    answers = bodies(client.say("q", "11=m1|530=6|"))
    assert answers[0].startswith("35=r|11=m1|37=") and answers[0].endswith("|531=6|")
    assert ["|11=c1|" in answers[1], "|11=c2|" in answers[2], "|150=4|39=4|" in answers[2]] == [True] * 3
    assert bodies(client.say("q", "11=m2|530=6|")) == [
        "35=j|45=5|372=q|379=m2|380=8|58=one mass cancel a second|"
    ]
    world.advance(SECOND)
    assert bodies(client.say("q", "11=m3|530=6|"))[0].startswith("35=r|11=m3|")
    retransmitting = on(world, "KalshiRT", "key-2")
    assert "380=3|" in bodies(retransmitting.say("q", "11=m4|530=6|"))[0]


@pytest.mark.parametrize("way", ["drop", "logout"])
@pytest.mark.parametrize("flag", ["Y", "N"])
def test_8013_cancels_on_a_drop_and_on_a_graceful_logout(way, flag):
    world = World()
    client = on(world, flags=f"21011=Y|8013={flag}|")
    client.say("D", order("c1", 1, 10, "9.5000"))
    if way == "drop":
        client.leave()
    else:
        assert bodies(client.say("5")) == ["35=5|"]
    assert [entry.cl_ord_id for entry in world.truth().orders] == ([] if flag == "Y" else ["c1"])
    assert len(world.truth().exec_ids) == (2 if flag == "Y" else 1)


def test_drop_copy_resends_the_accounts_reports_then_says_how_many():
    world = World()
    client, copy = on(world), on(world, "KalshiDC", "key-dc", "")
    sent = [client.say("D", order(f"c{n}", 1, 10, "9.5000"))[0] for n in range(3)]
    client.say("D", order("bad", 1, 10, "0.5000"))  # refused: never in drop copy
    ids = [text.split("|17=")[1].split("|")[0] for text in sent]
    *reports, done = copy.say("U1", f"21001={ids[1]}|")
    assert bodies(reports) == bodies(sent[1:])
    assert bodies([done]) == ["35=U2|45=2|21003=2|"]
    assert bodies(copy.say("U1", f"21001={ids[0]}|21002={ids[0]}|"))[-1] == "35=U2|45=3|21003=1|"
    assert bodies(copy.say("U1", "21001=1;1|")) == ["35=U3|45=4|21004=3|"]
    assert bodies(copy.say("U1", f"21001={ids[0]}|21002={CLOCK + 99};1|")) == ["35=U3|45=5|21004=4|"]
    assert bodies(copy.say("U1", "21001=x|"))[0].startswith("35=3|45=6|371=21001|372=U1|373=5|")
    assert world.fault("resend_reject", reason="1") == "ok"
    assert bodies(copy.say("U1", f"21001={ids[0]}|")) == ["35=U3|45=7|21004=1|"]
    foreign = on(world, "KalshiDC", "key-other", "")
    assert bodies(foreign.say("U1", f"21001={ids[0]}|")) == ["35=U2|45=2|21003=0|"]


def test_a_listener_hears_everything_of_its_account_and_may_say_nothing():
    world = World()
    listener = on(world, key="key-2", flags="20126=Y|21011=Y|")
    client = on(world)
    report = client.say("D", order("c1", 1, 10, "9.5000"))
    assert bodies(listener.heard()) == bodies(report)
    on(world, key="key-other").say("D", order("o1", 1, 10, "9.4000"))
    assert listener.heard() == []
    for msg_type, fields in (
        ("D", order("c9", 1, 10, "9.5000")),
        ("q", "11=m|530=6|"),
        ("F", "11=x|41=c1|54=1|55=BTC-PERP|"),
        ("G", "11=x|41=c1|38=5|40=2|54=1|55=BTC-PERP|"),
        ("UOG", "20131=1|20132=3|"),
    ):
        (text,) = bodies(listener.say(msg_type, fields))
        assert text.startswith("35=j|") and f"|372={msg_type}|380=3|" in text


def test_market_data_snapshot_increments_and_trades():
    world = World()
    client, other = on(world), on(world, key="key-other")
    client.say("D", order("c1", 1, 10, "9.5000"))
    data = on(world, "KalshiMD", "key-md", "")
    assert bodies(data.say("V", "263=1|146=2|55=BTC-PERP|55=NOPE|")) == [
        "35=W|55=BTC-PERP|268=1|269=0|270=9.5000|271=10.00|",
        "35=W|55=NOPE|268=0|",
    ]
    client.say("D", order("c2", 1, 5, "9.5000"))
    assert bodies(data.heard()) == ["35=X|268=1|279=1|55=BTC-PERP|269=0|270=9.5000|271=15.00|"]
    other.say("D", order("s1", 2, 20, "9.5000"))
    assert bodies(data.heard()) == [
        (
            "35=X|268=4|"
            "279=0|55=BTC-PERP|269=2|270=9.5000|271=10.00|2446=2|"
            "279=0|55=BTC-PERP|269=2|270=9.5000|271=5.00|2446=2|"
            "279=2|55=BTC-PERP|269=0|270=9.5000|271=0.00|"
            "279=0|55=BTC-PERP|269=1|270=9.5000|271=5.00|"
        )
    ]
    assert data.say("V", "263=2|146=1|55=BTC-PERP|") == []
    other.say("D", order("s2", 2, 1, "9.6000"))
    assert data.heard() == []


def test_market_data_refusals_and_unsubscribing_from_all():
    world = World(config(symbols_max=2))
    data = on(world, "KalshiMD", "key-md", "")
    (text,) = bodies(data.say("V", "263=1|146=3|55=A|55=B|55=C|"))
    assert text == "35=Y|281=2|58=more than 2 symbols|"
    data.say("V", "263=1|146=2|55=BTC-PERP|55=ETH-PERP|")
    assert bodies(data.say("V", "263=1|146=1|55=C|"))[0].startswith("35=Y|281=2|")
    data.say("V", "263=2|")
    on(world).say("D", order("c1", 1, 5, "9.5000"))
    assert data.heard() == []
    assert bodies(data.say("V", "263=0|146=1|55=BTC-PERP|")) == [
        "35=W|55=BTC-PERP|268=1|269=0|270=9.5000|271=5.00|"
    ]


def test_entry_times_come_as_configured():
    world = World(config(entry_times=True))
    data = on(world, "KalshiMD", "key-md", "")
    data.say("V", "263=1|146=1|55=BTC-PERP|")
    on(world).say("D", order("c1", 1, 5, "9.5000"))
    assert bodies(data.heard()) == [
        "35=X|268=1|279=0|55=BTC-PERP|269=0|270=9.5000|271=5.00|272=20261124|273=15:00:00.000|"
    ]


def test_security_status_follows_pauses():
    world = World()
    data = on(world, "KalshiMD", "key-md", "")
    assert bodies(data.say("e", "263=1|55=BTC-PERP|")) == ["35=f|55=BTC-PERP|326=3|"]
    world.fault("trading_pause")
    assert bodies(data.heard()) == ["35=f|55=BTC-PERP|326=2|"]
    data.say("e", "263=2|55=BTC-PERP|")
    world.fault("resume")
    assert data.heard() == []


def test_order_groups_over_the_wire():
    world = World()
    client = on(world)
    (made,) = bodies(client.say("UOG", "20131=1|20132=3|"))
    group = "6f726472-0000-4000-8000-000000000001"
    assert made == f"35=UOH|20130={group}|20132=3|"
    client.say("D", order("c1", 1, 10, "9.5000", f"59=1|526={group}|"))
    answers = bodies(client.say("UOG", f"20131=4|20130={group}|"))
    assert answers[0] == f"35=UOH|20130={group}|"
    assert answers[1].endswith("|58=ORDER_GROUP_CANCEL|")
    refused = bodies(client.say("D", order("c2", 1, 10, "9.5000", f"59=1|526={group}|")))
    assert refused[0].endswith("|58=EXCEEDED_ORDER_GROUP_RISK_LIMIT|")
    client.say("UOG", f"20131=2|20130={group}|")
    assert "|150=0|" in bodies(client.say("D", order("c3", 1, 10, "9.5000", f"59=1|526={group}|")))[0]
    assert bodies(client.say("UOG", f"20131=5|20132=9|20130={group}|")) == [f"35=UOH|20130={group}|20132=9|"]
    assert bodies(client.say("UOG", "20131=2|20130=nonsense|"))[0].startswith(
        "35=3|45=9|371=20130|372=UOG|373=5|"
    )
    assert bodies(client.say("UOG", f"20131=3|20130={group[:-1]}9|"))[0].startswith("35=j|45=10|372=UOG|")
    client.say("UOG", f"20131=3|20130={group}|")
    assert world.truth().orders == []
    assert bodies(client.say("UOG", "20131=1|20132=5|79=64|")) == [
        "35=j|45=12|372=UOG|380=0|58=CUSTOMER_ACCOUNT_NOT_FOUND|"
    ]


def test_a_refused_order_is_nothing_without_21008():
    """venue.md section 2: with 21008=N OrderQty(38) is LeavesQty + CumQty, of refused and cancelled orders too."""
    world = World()
    client = on(world, flags="21011=Y|")
    (refused,) = client.say("D", order("c1", 1, 3, "0.0000"))
    assert "|150=8|" in refused and "|151=0.00|14=0.00|" in refused and "|38=0.00|" in refused
    (made,) = client.say("D", order("c1", 1, 3, "9.5000"))
    assert "|38=3.00|" in made
    (gone,) = client.say("F", "11=x|41=c1|54=1|55=BTC-PERP|")
    assert "|150=4|" in gone and "|38=0.00|" in gone


def test_faults_lose_double_and_hide_reports():
    world = World()
    client = on(world)
    assert world.fault("lose_report", count="1") == "ok"
    assert client.say("D", order("c1", 1, 10, "9.5000")) == []
    world.fault("duplicate_report")
    assert len(client.say("D", order("c2", 1, 10, "9.5000"))) == 2
    world.fault("exchange_unavailable", applied="yes")
    (text,) = bodies(client.say("D", order("c3", 1, 10, "9.5000")))
    assert text.endswith("|103=99|44=9.5000|60=20261124-15:00:00.000|58=EXCHANGE_UNAVAILABLE|")
    world.fault("exchange_unavailable", applied="no")
    client.say("D", order("c4", 1, 10, "9.5000"))
    world.fault("internal_error")
    assert bodies(client.say("D", order("c5", 1, 10, "9.5000")))[0].endswith("|58=INTERNAL_ERROR|")
    assert [entry.cl_ord_id for entry in world.truth().orders] == ["c1", "c2", "c3"]
    assert len(world.truth().exec_ids) == 3
    assert world.fault("nonsense").startswith("unknown kind 'nonsense'")
    assert world.fault("skew", ms="x") == "ms must be a number"
    world.fault("skew", ms="1500")
    assert client.say("1", "112=t|")[0].split("|")[4] == "52=20261124-15:00:01.500"
    world.fault("drop", "KalshiNR")
    assert world.out.closed == {client.link: "dropped on command"}


def test_a_restart_gives_accounts_orders_groups_and_drop_copy_back():
    world = World(config(), now=T0)
    maker, taker = on(world, key="key-other"), on(world)
    gone = on(world, key="key-2", flags="21011=Y|8013=Y|")
    gone.say("D", order("g1", 1, 1, "9.0000"))
    maker.say("D", order("s1", 2, 10, "9.5000"))
    maker.say("D", order("s2", 2, 10, "9.5000"))
    taker.say("D", order("b1", 1, 4, "9.5000"))
    taker.say("D", order("b2", 1, 3, "9.4000"))
    taker.say("UOG", "20131=1|20132=3|")
    before, other = world.truth(), world.truth("other")
    assert (before.positions, other.positions) == ({"BTC-PERP": 400}, {"BTC-PERP": -400})
    later = World(config(), world.out.records, T0 + 60 * SECOND)
    after = later.truth()
    assert (after.cash, after.fees, after.fills, after.positions) == (
        before.cash,
        before.fees,
        before.fills,
        before.positions,
    )
    assert [entry.cl_ord_id for entry in after.orders] == ["b2"]  # g1's session had 8013=Y
    assert after.exec_ids[:-1] == before.exec_ids
    assert later.truth("other").orders == other.orders
    client = on(later)
    (text,) = client.say("D", order("b3", 1, 8, "9.5000", "59=3|"))[-1:]
    assert "|14=8.00|" in text and "|704=12.00|" in text
    assert [entry.leaves_qty for entry in later.truth("other").orders] == [800]  # s1 had priority and is gone
    keys = [tuple(map(int, e.split(";"))) for e in later.truth().exec_ids]
    assert keys == sorted(set(keys))
    assert bodies(client.say("D", order("b1", 1, 8, "9.0000")))[0].endswith("|58=ORDER_ALREADY_EXISTS|")
    copy = on(later, "KalshiDC", "key-dc", "")
    assert copy.say("U1", f"21001={before.exec_ids[0]}|")[-1].endswith(f"|21003={len(keys)}|")
    assert bodies(client.say("UOG", "20131=1|20132=3|")) == [
        "35=UOH|20130=6f726472-0000-4000-8000-000000000002|20132=3|"
    ]


def test_the_synthetic_flow_keeps_the_books_alive_and_trades_with_clients():
    world = World(config(levels=5, book_changes_per_s=400))
    data, client = on(world, "KalshiMD", "key-md", ""), on(world)
    (snapshot, _) = bodies(data.say("V", "263=1|146=2|55=BTC-PERP|55=ETH-PERP|"))
    assert snapshot.count("269=0") == snapshot.count("269=1") == 5
    client.say("D", order("b1", 1, 500, "10.0000"))
    client.say("D", order("s1", 2, 500, "10.0100"))
    for _ in range(5):
        world.advance(SECOND)
        client.say("0")
        data.say("0")
    texts = bodies(client.heard())
    assert any("|150=F|" in text for text in texts) or world.truth().fills > 0
    book = world.venue.exchange.books["BTC-PERP"]
    assert book.bids.best_price() < book.asks.best_price()
    rate = world.venue.status(world.now).metrics["flow_changes"]
    assert 1500 < rate < 2600
    assert all(type(entry).__name__ == "Reported" and entry.account == "main" for entry in world.out.records)


def test_two_runs_of_one_seed_write_the_same_bytes():
    def run():
        world = World(config(levels=4, book_changes_per_s=200))
        data, client = on(world, "KalshiMD", "key-md", ""), on(world)
        data.say("V", "263=1|146=2|55=BTC-PERP|55=ETH-PERP|")
        for number in range(10):
            client.say("D", order(f"c{number}", 1 + number % 2, 5, "10.0000"))
            world.advance(100 * MS)
        return client.heard() + data.heard()

    first = run()
    assert first == run()
    assert len(first) > 50


def test_silence_ends_the_session_and_stop_logs_out():
    world = World()
    silent = on(world, flags="21011=Y|8013=Y|")
    silent.say("D", order("c1", 1, 10, "9.5000"))
    world.advance(100 * SECOND)
    assert silent.link in world.out.closed
    assert world.truth().orders == []
    client = on(world)
    world.venue.stop(world.now)
    assert bodies(client.heard()) == ["35=5|58=the venue stops|"]
    assert world.venue.stopped and world.venue.deadline is None


FIELDS = {
    "D": "11=c1|38=10|40=2|44=9.5000|54=1|55=BTC-PERP|59=1|79=3|526=g|2964=1|21006=Y|18=6|",
    "G": "11=c2|41=c0|38=8|40=2|44=9.5000|54=1|55=BTC-PERP|37=x|",
    "F": "11=c3|41=c0|54=1|55=BTC-PERP|",
    "q": "11=m|530=6|",
    "UOG": "20131=1|20132=3|",
    "V": "263=1|146=2|55=BTC-PERP|55=NOPE|",
    "e": "263=1|55=BTC-PERP|",
    "U1": "21001=1;1|21002=2;2|",
}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(FIELDS)),
    st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from("\x02\x7f\xe9|=9;-.AN \x00"), st.booleans()), max_size=4
    ),
    st.sampled_from(["KalshiNR", "KalshiRT", "KalshiMD", "KalshiDC"]),
)
def test_no_content_of_a_message_can_break_the_venue(msg_type, edits, gateway):
    world = World()
    client = on(world, gateway, flags="")
    if gateway not in {"KalshiMD", "KalshiDC"}:
        client.say("D", order("c0", 1, 10, "9.5000"))
    text = FIELDS[msg_type]
    for at, character, insert in edits:
        at %= len(text)
        text = text[:at] + character + text[at + (not insert) :]
    client.say(msg_type, text if text.endswith("|") else text + "|")
    assert client.link in world.out.closed or client.say("1", "112=alive|")[-1].endswith("|112=alive|")
