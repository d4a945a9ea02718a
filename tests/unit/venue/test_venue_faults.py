"""Faults on command, per session: what the client sees, and that the exchange is none the worse for it."""

import pytest
from unit.venue.venue_world import World, bodies, config, frame, on, order, unframe

from engine.common.clock import MS, SECOND
from engine.venue import refusals as r


def seqs(texts):
    return [int(text.split("|34=")[1].split("|")[0]) for text in texts]


def test_half_open_is_dead_both_ways_until_the_heartbeat_is_missed():
    world = World()
    client = on(world, flags="21011=Y|8013=Y|")
    client.say("D", order("c1", 1, 1, "9.5000"))
    assert world.fault("half_open", "KalshiNR") == "ok"
    assert client.say("D", order("c2", 1, 1, "9.5000")) == []
    client.leave()
    assert bodies(world.client("KalshiNR", "key-oe").logon()) == ["35=5|58=already exists|"]
    assert [entry.cl_ord_id for entry in world.truth().orders] == ["c1"]
    world.advance(73 * SECOND)  # 36 s to the TestRequest, 36 s more
    assert world.truth().orders == []
    assert on(world)


def test_an_unanswered_test_request_obeys_and_says_nothing():
    world = World()
    client = on(world)
    assert world.fault("unanswered_test_request", client.link) == "ok"
    assert client.say("1", "112=there?|") == []
    assert client.say("D", order("c1", 1, 1, "9.5000")) == []
    assert [entry.cl_ord_id for entry in world.truth().orders] == ["c1"]
    client.leave()
    assert on(world).say("1", "112=there?|") != []


def test_a_drop_may_leave_the_session_behind():
    world = World()
    client = on(world)
    assert world.fault("drop", "KalshiNR", linger="yes") == "ok"
    assert client.link in world.out.closed
    client.leave()
    assert bodies(world.client("KalshiNR", "key-oe").logon()) == ["35=5|58=already exists|"]


def test_already_exists_is_said_to_the_next_logons_of_a_session():
    world = World()
    assert world.fault("already_exists", "KalshiNR", count="2") == "ok"
    for _ in range(2):
        assert bodies(world.client("KalshiNR", "key-oe").logon()) == ["35=5|58=already exists|"]
    assert on(world) and on(world, "KalshiDC", "key-dc", "")


def test_numbers_leave_a_gap_or_come_too_low():
    world = World()
    client = on(world)
    assert world.fault("sequence_gap", "KalshiNR", count="3") == "ok"
    assert seqs(client.heard()) == [5]
    assert seqs(client.say("1", "112=a|")) == [6]
    world.fault("sequence_low", "KalshiNR", count="2")
    assert seqs(client.heard()) == [5]


@pytest.mark.parametrize(("fill", "text"), [("no", "35=4|123=N|36=12|"), ("yes", "35=4|123=Y|36=12|")])
def test_sequence_reset_in_both_modes(fill, text):
    world = World()
    client = on(world)
    assert world.fault("sequence_reset", "KalshiNR", gap_fill=fill) == "ok"
    assert bodies(client.heard()) == [text]
    assert seqs(client.say("1", "112=a|")) == [12]


def test_the_venue_asks_for_the_clients_messages():
    world = World()
    client = on(world)
    assert world.fault("resend_request", "KalshiNR", begin="1", end="0") == "ok"
    assert bodies(client.heard()) == ["35=2|7=1|16=0|"]
    assert world.fault("test_request", "KalshiNR") == "ok"
    assert bodies(client.heard()) == ["35=1|112=drill|"]


def test_delay_keeps_the_order_and_ends():
    world = World()
    client = on(world)
    assert world.fault("delay", "KalshiNR", ms="100", jitter_ms="300") == "ok"
    for number in range(20):
        assert client.say("1", f"112={number}|") == []
    world.advance(99 * MS)
    assert client.heard() == []
    world.advance(302 * MS)
    texts = client.heard()
    assert [text.split("|112=")[1] for text in texts] == [f"{number}|" for number in range(20)]
    world.fault("delay", "KalshiNR", ms="0")
    assert len(client.say("1", "112=x|")) == 1


def test_jitter_is_seeded():
    def run(seed):
        world = World(config(seed=seed))
        client = on(world)
        world.fault("delay", "KalshiNR", ms="1", jitter_ms="500")
        client.say("1", "112=a|")
        return world.venue.wire.due

    assert run(1) == run(1) != run(2)


def test_every_byte_alone_or_several_messages_at_once():
    world = World()
    client = on(world)
    pieces = []
    write = world.out.write
    world.out.write = lambda link, data, trigger_ns=0: (pieces.append(len(data)), write(link, data))
    world.fault("split", "KalshiNR")
    assert bodies(client.say("1", "112=a|")) == ["35=0|112=a|"]
    assert set(pieces) == {1} and len(pieces) > 60
    world.fault("split", "KalshiNR", on="no")
    world.fault("coalesce", "KalshiNR", ms="50")
    pieces.clear()
    client.say("1", "112=b|")
    client.say("1", "112=c|")
    assert pieces == []
    world.advance(50 * MS)
    assert len(pieces) == 1 and bodies(client.heard()) == ["35=0|112=b|", "35=0|112=c|"]


@pytest.mark.parametrize("kind", ["bad_checksum", "bad_length"])
def test_a_garbled_message_uses_its_number(kind):
    """Scenarios 2.10 to 2.12: the client skips it and sees the gap."""
    world = World()
    client = on(world)
    assert world.fault(kind, "KalshiNR") == "ok"
    world.venue.on_bytes(client.link, b"", world.now)
    client.seq += 1
    at = "20261124-15:00:00.000"
    text = frame(f"35=1|49=key-oe|56=KalshiNR|34=2|52={at}|112=a|")
    world.venue.on_bytes(client.link, text, world.now)
    spoilt = world.out.written.pop(client.link)
    good = frame(f"35=0|49=KalshiNR|56=key-oe|34=2|52={at}|112=a|")
    assert spoilt != good and len(spoilt) == len(good)
    with pytest.raises(AssertionError):
        unframe(spoilt)
    assert seqs(client.say("1", "112=b|")) == [3]


def test_a_report_is_sent_behind_those_that_follow_it_or_after_half_a_second():
    world = World()
    client = on(world)
    world.fault("reorder_report", count="2")
    assert client.say("D", order("c1", 1, 1, "9.5000")) == []
    assert "|11=c2|" in client.say("D", order("c2", 1, 1, "9.5000"))[0]
    third = client.say("D", order("c3", 1, 1, "9.5000"))
    assert ["|11=c3|" in third[0], "|11=c1|" in third[1]] == [True, True]
    world.fault("reorder_report")
    client.say("D", order("c4", 1, 1, "9.5000"))
    world.advance(500 * MS)
    assert "|11=c4|" in client.heard()[0]
    ids = world.truth().exec_ids
    assert len(ids) == 4 and ids == sorted(ids, key=lambda text: tuple(map(int, text.split(";"))))


def test_faults_of_reports_are_for_one_session_only():
    """By the session's name, by one connection's link; the others hear everything once."""
    world = World()
    first, second = on(world), on(world, "KalshiRT", "key-2")
    listener = on(world, "KalshiNR", "key-dc", "21011=Y|20126=Y|")
    assert world.fault("lose_report", "KalshiRT") == "ok"
    assert len(first.say("D", order("c1", 1, 1, "9.5000"))) == 1
    assert second.say("D", order("d1", 1, 1, "9.5000")) == []
    assert len(second.say("D", order("d2", 1, 1, "9.5000"))) == 1
    world.fault("duplicate_report", first.link, count="2")
    assert len(second.say("D", order("d3", 1, 1, "9.5000"))) == 1
    assert [len(first.say("D", order(f"c{n}", 1, 1, "9.5000"))) for n in (2, 3, 4)] == [2, 2, 1]
    world.fault("reorder_report", "KalshiNR")
    assert first.say("D", order("c5", 1, 1, "9.5000")) == []
    assert len(second.say("D", order("d4", 1, 1, "9.5000"))) == 1
    assert ["|11=c6|" in text for text in first.say("D", order("c6", 1, 1, "9.5000"))] == [True, False]
    assert len(listener.heard()) == 10
    world.fault("lose_report", listener.link)
    first.say("D", order("c7", 1, 1, "9.5000"))
    assert listener.heard() == []
    assert world.fault("lose_report", "KalshiNR/99") == "there is no connection KalshiNR/99"


def test_a_lost_fill_is_a_partial_one_that_the_next_report_tells_of():
    world = World()
    maker, taker = on(world), on(world, "KalshiNR", "key-other")
    maker.say("D", order("m1", 1, 3, "9.5000"))
    assert world.fault("lose_fill", maker.link) == "ok"
    taker.say("D", order("t1", 2, 1, "9.5000"))
    assert maker.heard() == []
    taker.say("D", order("t2", 2, 2, "9.5000"))
    (last,) = maker.heard()
    assert "|150=F|" in last and "|14=3.00|" in last and "|32=2.00|" in last


@pytest.mark.parametrize(
    ("kind", "more", "text"),
    [
        ("exchange_unavailable", {}, "EXCHANGE_UNAVAILABLE"),
        ("internal_error", {}, "INTERNAL_ERROR"),
        ("refuse", {"text": "MARKET_INACTIVE"}, "MARKET_INACTIVE"),
        ("stale", {}, ""),
    ],
)
def test_faults_of_orders_are_for_one_session_only(kind, more, text):
    world = World()
    first, second = on(world), on(world, "KalshiRT", "key-2")
    for where in ("KalshiRT", second.link):
        assert world.fault(kind, where, **more) == "ok"
        assert "|150=0|" in first.say("D", order(f"c{where}", 1, 1, "9.5000"))[0]
        (refused,) = second.say("D", order(f"d{where}", 1, 1, "9.5000"))
        assert "|150=8|" in refused and (not text or refused.endswith(f"|58={text}|"))
        assert "|150=0|" in second.say("D", order(f"e{where}", 1, 1, "9.5000"))[0]
    assert world.fault(kind, "KalshiMD", **more) == "there is no order-entry session KalshiMD"


def test_an_amend_or_cancel_is_unavailable_on_command():
    world = World()
    client = on(world)
    client.say("D", order("c1", 1, 2, "9.5000"))
    world.fault("exchange_unavailable", of="replace", applied="yes")
    (text,) = client.say("G", "11=c2|41=c1|38=1|40=2|54=1|55=BTC-PERP|")
    assert "35=9|" in text and text.endswith("|434=2|102=99|58=EXCHANGE_UNAVAILABLE|")
    assert world.truth().orders[0].qty == 100
    world.fault("internal_error", of="cancel")
    (text,) = client.say("F", "11=c3|41=c2|54=1|55=BTC-PERP|")
    assert "35=9|" in text and text.endswith("|434=1|102=99|58=INTERNAL_ERROR|")
    assert len(world.truth().orders) == 1


@pytest.mark.parametrize("text", sorted(r.NAMED))
def test_every_documented_refusal_comes_on_command(text):
    """venue.md 4: Text(58) with the OrdRejReason(103) that it comes as; nothing is applied."""
    world = World()
    client = on(world)
    assert world.fault("refuse", text=text) == "ok"
    (report,) = client.say("D", order("c1", 1, 1, "9.5000"))
    assert (
        "|150=8|39=8|" in report
        and f"|103={r.NAMED[text].reason}|" in report
        and report.endswith(f"|58={text}|")
    )
    assert world.truth().orders == []
    assert "|150=0|" in client.say("D", order("c2", 1, 1, "9.5000"))[0]


@pytest.mark.parametrize("text", sorted(r.CANCEL_TEXTS))
def test_every_documented_text_of_a_cancel_comes_on_command(text):
    """As 150=4, the order having been accepted."""
    world = World()
    client = on(world)
    world.fault("refuse", text=text)
    (report,) = client.say("D", order("c1", 1, 1, "9.5000"))
    assert "|150=4|39=4|" in report and report.endswith(f"|58={text}|")


def test_commands_are_checked_before_anything_happens():
    world = World()
    for kind, session, arguments, text in (
        ("half_open", "", {}, "half_open needs a session"),
        ("half_open", "KalshiNR", {}, "there is no connection KalshiNR"),
        ("sequence_gap", "KalshiNR", {}, "no session of KalshiNR is logged on"),
        ("delay", "KalshiNR", {}, "ms must be a number"),
        ("delay", "Kalshi", {"ms": "1"}, "there is no session Kalshi"),
        ("delay", "KalshiNR", {"ms": "-1"}, "ms must be 0 to 600000"),
        ("delay", "KalshiNR", {"ms": "1", "x": "1"}, "delay has no argument 'x'; known: jitter_ms, ms"),
        ("drop", "", {"linger": "perhaps"}, "linger must be no or yes"),
        ("refuse", "", {"text": "NO"}, None),
        ("liquidate", "", {"account": "nobody"}, "there is no account 'nobody'"),
        ("exit_trigger", "", {}, "qty must be a number"),
        ("foreign_order", "", {"qty": "1"}, None),
    ):
        answer = world.fault(kind, session, **arguments)
        assert answer == text if text is not None else answer != "ok"


def test_a_venue_whose_journal_fails_tells_nobody_anything_until_it_works_again():
    """What it had told and not recorded, a restart of it would deny."""
    world = World()
    before = on(world)
    world.venue.on_journal_failed("disk full", world.now)
    assert before.link in world.out.closed
    refused = world.client("KalshiNR", "key-oe")
    assert world.out.closed[refused.link] == "the venue's journal can't be written"
    assert refused.link not in world.venue.connections
    world.venue.on_journal_ok(world.now)
    on(world)
