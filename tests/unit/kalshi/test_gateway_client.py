"""A GatewayClient and an Acceptor on one manual clock, joined by a wire that the test carries by hand."""

import pytest

from engine.common.actor import LinkEvent
from engine.common.clock import MS, SECOND, Now
from engine.config import SessionConfig
from engine.fix.acceptor import Acceptor
from engine.fix.config import SessionSettings
from engine.fix.encoder import encode
from engine.fix.errors import LocalProtocolError
from engine.fix.events import App, Close, GapDetected, LoggedOn, LoggedOut, LogonReceived, PeerReject, Warn
from engine.fix.snapshot import SessionSnapshot
from engine.kalshi import hot
from engine.kalshi.gateway_client import CLOSE_GRACE_NS, GatewayClient

KEY = "0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77"
WALL = 1_795_514_400_123_000_000  # 2026-11-24 10:00:00.123 UTC
DEFAULTS = {"target_comp_id": "KalshiNR", "key_id": KEY, "heart_bt_int_s": 10}


def config(**changes):
    return SessionConfig(**{**DEFAULTS, **changes})


class World:
    """The client's Outbox, the venue's end of the wire, and the clock."""

    def __init__(self, listener=False, rng=0.5, comp_id=None, **changes):
        self.mono = SECOND
        self.config = config(**changes)
        self.comp_id = comp_id or self.config.target_comp_id
        self.signed = []
        self.wire, self.links, self.logs, self.triggers = [], [], [], []
        self.events = []
        self.venue = None
        self.client = GatewayClient(
            "nr", self.config, self, self.sign, lambda: rng, hot.HOT, listener=listener
        )

    def sign(self, message):
        self.signed.append(message)
        return "c2lnbg=="

    # Outbox
    def connect(self, link):
        self.links.append(("connect", link))

    def close(self, link, reason=""):
        self.links.append(("close", link, reason))

    def write(self, link, data, trigger_ns=0):
        assert link == "nr"
        self.wire.append(data)
        self.triggers.append(trigger_ns)

    def log(self, level, text):
        self.logs.append((level, text))

    # time and wire
    @property
    def now(self):
        return Now(WALL + self.mono - SECOND, self.mono)

    def collect(self, events):
        self.events += events
        return events

    def connected(self):
        settings = SessionSettings(
            sender_comp_id=self.comp_id,
            target_comp_id=KEY,
            own_comp_ids=(self.config.target_comp_id,),
            heart_bt_int_s=10,
            retransmission=self.config.target_comp_id == "KalshiRT",
            reset_on_logon=self.config.target_comp_id != "KalshiRT",
        )
        if self.venue is None or not settings.retransmission:
            self.venue = Acceptor(settings, None)
        self.venue.connected(self.now)
        self.collect(self.client.on_link(LinkEvent.CONNECTED, "", self.now))

    def carry(self):
        """Deliver what each side wrote until nothing is left; return the venue's events."""
        found = []
        while self.wire:
            data = b"".join(self.wire)
            self.wire.clear()
            found += self.venue.receive(data, self.now)
            self.answer()
        return found

    def answer(self):
        data = self.venue.data_to_send()
        if data:
            self.collect(self.client.on_bytes(data, self.now))

    def disconnect(self, reason="closed"):
        self.venue.disconnected(self.now)
        self.wire.clear()
        return self.collect(self.client.on_link(LinkEvent.DISCONNECTED, reason, self.now))

    def log_on(self):
        self.connected()
        received = self.carry()[-1]
        assert isinstance(received, LogonReceived)
        self.venue.accept(self.now)
        self.answer()
        return received.logon

    def until_due(self):
        self.mono = self.client.deadline
        return self.collect(self.client.on_deadline(self.now))

    def refuse(self, text, **fields):
        self.connected()
        self.carry()
        self.venue.refuse(text, self.now, **fields)
        self.answer()
        self.disconnect()


def started(**changes):
    world = World(**changes)
    world.client.start(world.now)
    return world


def logged_on(**changes):
    world = started(**changes)
    world.log_on()
    assert world.client.logged_on
    return world


def wire_text(world):
    return b"".join(world.wire).decode("latin-1").replace("\x01", "|")


def test_the_logon_is_the_documented_one():
    """Header and body in the order of venue.md section 2, signed over its own SendingTime (scenario 1.1)."""
    world = started()
    assert (world.links, world.client.state) == ([("connect", "nr")], "connecting")
    world.connected()
    assert wire_text(world) == (
        "8=FIXT.1.1|9=176|35=A|49=0b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77|56=KalshiNR|34=1|52=20261124-10:00:00.123|"
        "98=0|108=10|95=8|96=c2lnbg==|141=Y|1137=9|8013=Y|21005=Y|21007=Y|21008=Y|21011=Y|21012=Y|10=025|"
    )
    assert world.signed == [
        b"20261124-10:00:00.123\x01A\x011\x010b5c9a52-7a6e-4f0e-9d0b-3e2f6c1a8b77\x01KalshiNR"
    ]
    assert (world.client.state, world.client.logons, world.client.logged_on) == ("logging on", 1, False)


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"target_comp_id": "KalshiMD"}, "98=0|108=10|95=8|96=c2lnbg==|141=Y|1137=9|"),
        (
            {"target_comp_id": "KalshiDC", "send_raw_data_length": False},
            "98=0|108=10|96=c2lnbg==|141=Y|1137=9|",
        ),
        (
            {"target_comp_id": "KalshiRT", "message_retention_h": 48, "cancel_orders_on_disconnect": False},
            "98=0|108=10|95=8|96=c2lnbg==|141=Y|1137=9|8013=N|20200=48|21005=Y|21007=Y|21008=Y|21011=Y|21012=Y|",
        ),
        (
            {"listener": True, "skip_pending_exec_reports": False},
            "98=0|108=10|95=8|96=c2lnbg==|141=Y|1137=9|20126=Y|21005=Y|21007=Y|21008=Y|21011=Y|21012=Y|",
        ),
        (
            {"always_emit_new_before_trade": True, "use_expired_ord_status": False},
            "98=0|108=10|95=8|96=c2lnbg==|141=Y|1137=9|8013=Y|21005=Y|21007=Y|21008=Y|21011=Y|21012=N|21026=Y|",
        ),
    ],
)
def test_logon_flags_follow_session_and_configuration(changes, body):
    """Order-entry flags on order entry only; a listener needs 21011=Y and excludes 8013."""
    world = started(**changes)
    world.connected()
    assert wire_text(world).partition("|52=20261124-10:00:00.123|")[2].startswith(body + "10=")


def test_log_on_send_and_receive():
    """Messages go out at once with their trigger; what comes in is handed on."""
    world = logged_on()
    assert [type(event) for event in world.events] == [LoggedOn] or LoggedOn in map(type, world.events)
    assert (world.client.state, world.client.failed) == ("logged on", "")
    assert world.client.send("F", "11=a\x0141=b\x0154=1\x0155=B\x01", world.now, trigger_ns=77) == 2
    assert world.triggers[-1] == 77
    (received,) = [event for event in world.carry() if isinstance(event, App)]
    assert (received.msg_type, received.seq) == ("F", 2)
    world.events.clear()
    world.venue.send("9", "37=o\x0111=a\x0139=0\x01434=1\x01102=1\x01", world.now)
    world.answer()
    assert [event.msg_type for event in world.events if isinstance(event, App)] == ["9"]


def test_hot_messages_come_as_structs():
    """The hot decoders are the session's."""
    world = logged_on(target_comp_id="KalshiMD")
    world.venue.send("X", "268=1\x01279=0\x0155=B\x01269=0\x01270=1\x01271=2\x01", world.now)
    world.answer()
    assert world.events[-1].message == hot.BookMessage([("B", [0, 10000, 200], [], False)])


def test_sending_before_logon_is_a_bug():
    """The caller must look at logged_on."""
    world = started()
    with pytest.raises(LocalProtocolError):
        world.client.send("F", "", world.now)


@pytest.mark.parametrize("comp_id", ["KalshiNR", "Kalshi"])
def test_the_venue_may_call_itself_either_name(comp_id):
    """49 is `Kalshi` by one page and the session's name by another."""
    world = logged_on(comp_id=comp_id)
    assert not [event for event in world.events if isinstance(event, Warn)]


def test_a_change_of_the_venues_name_is_warned_of():
    """Accepted, recorded, said."""
    world = logged_on(comp_id="Kalshi")
    world.disconnect()
    world.comp_id = "KalshiNR"
    world.until_due()
    world.log_on()
    assert "SenderCompID(49) of the venue changed from Kalshi to KalshiNR" in [
        e.text for e in world.events if isinstance(e, Warn)
    ]
    assert world.client.logged_on


def test_heartbeats_are_sent_by_the_deadline():
    """HeartBtInt without anything sent (scenario 4.1)."""
    world = logged_on()
    world.until_due()
    assert "|35=0|" in wire_text(world)
    assert world.mono == 11 * SECOND


def test_a_lost_link_is_connected_again_with_back_off():
    """Half of the first ceiling, then half of the next."""
    world = logged_on()
    assert world.disconnect("reset by peer") == [Warn("connection lost: reset by peer")]
    assert not world.client.logged_on
    assert world.client.state == "waiting 0.25 s: reset by peer"
    before = world.mono
    world.until_due()
    assert world.mono == before + 250 * MS
    assert world.links[-1] == ("connect", "nr")
    refused = world.client.on_link(LinkEvent.REFUSED, "no route", world.now)
    assert refused == [Warn("no connection: no route")]
    assert world.client.state == "waiting 0.5 s: no route"
    world.until_due()
    assert world.client.on_link(LinkEvent.REFUSED, "no route", world.now) == []
    world.until_due()
    logon = world.log_on()
    assert logon.seq == 1
    assert world.client.logons == 2


def test_at_most_three_logons_in_ten_seconds():
    """A venue that drops every session at once is not hammered (faults: reconnect storms)."""
    world = started(rng=0.0)
    times = []
    for _ in range(9):
        world.log_on()
        times.append(world.mono)
        world.disconnect()
        world.until_due()
    assert all(later - earlier >= 10 * SECOND for earlier, later in zip(times, times[3:], strict=False))


def test_already_exists_waits_two_heartbeat_intervals():
    """The server needs its own heartbeat timeout to notice a dead peer; after the second time somebody is asked."""
    world = started()
    world.refuse("already exists")
    assert world.client.state == (
        "waiting 20 s: already exists: the venue holds our last connection until its heartbeat time-out"
    )
    assert world.client.failed == ""
    before = world.mono
    world.until_due()
    assert world.mono == before + 20 * SECOND
    assert not [text for level, text in world.logs if level == "alert"]
    world.refuse("Already exists")
    assert [text for level, text in world.logs if level == "alert"] == [
        "KalshiNR: still `already exists`: does another instance use this API key?"
    ]
    world.until_due()
    world.client.on_link(LinkEvent.REFUSED, "down", world.now)
    assert world.client.state.endswith("s: down")
    assert not world.client.state.startswith("waiting 20 s")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("invalid signature", "check that key_file is the private key of key_id"),
        ("unknown SenderCompID(49)", "check target_comp_id, port and key_id"),
        ("incorrect TargetCompID(56): this is KalshiDC", "check target_comp_id, port and key_id"),
        (
            "this API key may not use KalshiNR",
            "check that key_id is a margin FIX key that may use this session",
        ),
    ],
)
def test_a_hopeless_refusal_is_final(text, advice):
    """The same Logon would meet it again (scenario 1.3)."""
    world = started()
    world.refuse(text)
    assert world.client.failed == f"{text}: {advice}"
    assert world.client.state == f"failed: {text}: {advice}"
    assert world.client.deadline is None
    refused = [event for event in world.events if isinstance(event, LoggedOut)]
    assert [(event.text, event.refused) for event in refused] == [(text, True)]
    world.client.stop(world.now)
    assert world.client.stopped


@pytest.mark.parametrize(("reason", "word"), [(8, "key_file"), (9, "target_comp_id")])
def test_a_reject_of_the_logon_is_final_too(reason, word):
    """373=8 and 9 come before the Logout (scenario 1.5)."""
    world = started()
    world.refuse("no", reason=reason, ref_tag=96)
    assert word in world.client.failed
    assert [event.reason for event in world.events if isinstance(event, PeerReject)] == [reason]
    assert len([level for level, _ in world.logs if level == "alert"]) == 1
    assert world.client.deadline is None


def test_any_other_refusal_is_tried_again():
    """The reason stands in the state."""
    world = started()
    world.refuse("maintenance")
    assert world.client.state == "waiting 0.25 s: maintenance"
    world.until_due()
    world.log_on()
    assert world.client.logged_on


def test_a_flag_that_margin_does_not_know_is_left_out_next_time():
    """21026 is documented for event contracts only."""
    world = started(always_emit_new_before_trade=True)
    world.refuse("undefined tag", reason=3, ref_tag=21026)
    assert any("21026" in event.text for event in world.events if isinstance(event, Warn))
    world.until_due()
    world.connected()
    assert "21026" not in wire_text(world)


def test_a_gap_without_retransmission_ends_the_connection():
    """KalshiNR: what was missed comes by drop copy (scenario 2.3)."""
    world = logged_on()
    world.venue.next_sender_msg_seq_num += 1
    world.venue.send("9", "37=o\x0111=a\x0139=0\x01434=1\x01102=1\x01", world.now)
    world.answer()
    assert GapDetected(2, 3) in world.events
    assert not world.client.logged_on
    assert world.links[-1] == ("close", "nr", "MsgSeqNum(34) too high, expected 2, received 3")
    world.disconnect()
    world.until_due()
    assert world.log_on().seq == 1
    assert world.client.logged_on


def test_reconnect_logs_out_and_comes_back():
    """For an owner that can't trust the session any more."""
    world = logged_on()
    world.client.reconnect("drop copy does not answer", world.now)
    assert "|35=5|" in wire_text(world)
    assert "|58=drop copy does not answer|" in wire_text(world)
    assert not world.client.logged_on
    assert world.client.state == "closing: drop copy does not answer"
    world.client.reconnect("again", world.now)
    world.disconnect()
    assert world.client.state == "waiting 0.25 s: drop copy does not answer"
    world.until_due()
    world.log_on()
    assert world.client.logged_on


def test_stop_logs_out_and_stays():
    """Logout, answer, close; no reconnect."""
    world = logged_on()
    world.client.stop(world.now)
    assert (world.client.stopped, world.client.state) == (False, "logging out")
    world.carry()
    assert world.links[-1][0] == "close"
    world.disconnect()
    assert (world.client.stopped, world.client.state, world.client.deadline) == (True, "stopped", None)


def test_stop_without_a_link_is_done_at_once():
    """Waiting, never started, and while connecting after the link answers or does not."""
    world = World()
    world.client.stop(world.now)
    assert world.client.stopped
    world = started()
    world.client.on_link(LinkEvent.REFUSED, "no", world.now)
    world.client.stop(world.now)
    assert (world.client.stopped, world.client.deadline) == (True, None)
    world = started()
    world.client.stop(world.now)
    assert not world.client.stopped
    world.until_due()
    assert world.client.stopped
    assert world.mono == SECOND + CLOSE_GRACE_NS


def test_a_peer_that_logs_out_is_come_back_to():
    """The text of its Logout is the reason."""
    world = logged_on()
    world.venue.logout("trading pause", world.now)
    world.answer()
    assert LoggedOut("trading pause", by_peer=True) in world.events
    assert not world.client.logged_on
    world.carry()
    world.disconnect()
    assert world.client.state == "waiting 0.25 s: logged out: trading pause"


def test_an_unanswered_logon_is_given_up():
    """After logon_timeout_ms (scenario 1.8)."""
    world = started(logon_timeout_ms=3000)
    world.connected()
    events = world.until_due()
    assert (world.mono, [type(event) for event in events]) == (4 * SECOND, [Close])
    assert world.links[-1] == ("close", "nr", "the Logon was not answered")
    world.disconnect()
    assert world.client.state.startswith("waiting")


def test_a_link_that_never_answers_is_given_up():
    """Neither a connect nor a close may hang for good; a connection that comes too late is closed."""
    world = started(logon_timeout_ms=3000)
    world.until_due()
    assert world.links[-1] == ("close", "nr", "the connection was not made in time")
    world.until_due()
    assert world.client.state.startswith("waiting")
    world.client.on_link(LinkEvent.CONNECTED, "", world.now)
    assert world.links[-1] == ("close", "nr", "not wanted any more")
    assert world.client.on_link(LinkEvent.DISCONNECTED, "", world.now) == []
    world.until_due()
    world.log_on()
    assert world.client.logged_on


def test_the_clock_skew_is_kept():
    """The venue's SendingTime minus our clock."""
    world = logged_on()
    mine = world.now
    world.mono += 2 * SECOND
    theirs = Now(mine.wall_ns + 9 * SECOND, world.mono)
    world.venue.send("9", "37=o\x0111=a\x0139=0\x01434=1\x01102=1\x01", theirs)
    world.answer()
    assert world.client.skew_ns == 7 * SECOND


@pytest.mark.parametrize(("ahead", "said"), [(1, "ahead of"), (-1, "behind")])
def test_a_clock_that_is_a_second_off_is_warned_of_once_and_when_it_is_over(ahead, said):
    """Scenario 13.2; the gate closes by the same figure at `skew_gate_ms`."""
    world = logged_on()
    for ms in (900, 1100, 5500, 5500, 100, 100):
        world.mono += 6 * SECOND
        there = Now(world.now.wall_ns + ahead * ms * MS, world.mono)
        world.venue.send("9", "37=o\x0111=a\x0139=0\x01434=1\x01102=1\x01", there)
        world.answer()
        assert world.client.skew_ns == ahead * ms * MS
    assert [text for level, text in world.logs if level == "warning"] == [
        f"KalshiNR: the venue's clock is 1100 ms {said} ours: check the time service here",
        "KalshiNR: the venue's clock is within 1 s of ours again",
    ]


def test_a_message_that_came_late_is_no_clock_that_is_off():
    """What stood in a buffer for 6 s, beside one that did not."""
    world = logged_on()
    for late in (0, 6, 0):
        world.mono += 2 * SECOND
        there = Now(world.now.wall_ns - late * SECOND, world.mono)
        world.venue.send("9", "37=o\x0111=a\x0139=0\x01434=1\x01102=1\x01", there)
        world.answer()
        assert world.client.skew_ns == 0


def test_a_refused_message_does_not_pass_unseen():
    """The owner gets no App for what validation refuses: it is said loudly, and the venue gets a Reject."""
    world = logged_on()
    frame = encode(
        "8", f"49=KalshiNR\x0156={KEY}\x0134=2\x0152=20261124-10:00:00.123\x01", "11=a\x0138=x\x01"
    )
    world.collect(world.client.on_bytes(frame, world.now))
    assert not [event for event in world.events if isinstance(event, App)]
    assert [text for level, text in world.logs if level == "alert"] == [
        "KalshiNR: refused message 2 (35=8): OrderQty(38) 'x' is not of type decimal"
    ]
    assert "|35=3|" in wire_text(world)
    assert world.client.logged_on


def test_rt_goes_on_with_its_numbers():
    """The first Logon of a process resets, later ones continue; what was missed is asked for and comes."""
    world = logged_on(target_comp_id="KalshiRT")
    world.client.send("F", "11=a\x0141=b\x0154=1\x0155=B\x01", world.now)
    world.carry()
    world.venue.send("9", "37=o\x0111=a\x0139=0\x01434=1\x01102=1\x01", world.now)
    world.venue.data_to_send()  # lost with the connection
    world.disconnect()
    world.until_due()
    world.events.clear()
    logon = world.log_on()
    assert (logon.seq, logon.get(141)) == (3, None)
    world.carry()
    resent = [event for event in world.events if isinstance(event, App)]
    assert [(event.seq, event.poss_dup, event.msg_type) for event in resent] == [(2, True, "9")]
    assert GapDetected(2, 3) in world.events
    assert world.client.logged_on


def test_rt_resets_loudly_when_its_numbers_are_refused():
    """Continuity is tried once (scenario 12.3)."""
    world = logged_on(target_comp_id="KalshiRT")
    world.disconnect()
    world.until_due()
    world.refuse("MsgSeqNum(34) too low, expected 9, received 2")
    assert [text for level, text in world.logs if level == "alert"] == [
        (
            "KalshiRT: numbers can't be continued (MsgSeqNum(34) too low, expected 9, received 2): reset;"
            " what was missed must come by drop copy"
        )
    ]
    world.until_due()
    logon = world.log_on()
    assert (logon.seq, logon.get(141)) == (1, "Y")
    assert world.client.logged_on


def test_rt_resets_at_once_when_its_resend_request_is_rejected():
    """BeginSeqNo outside the retention (scenario 8.4): the venue says so, nobody waits for what can't come."""
    world = logged_on(target_comp_id="KalshiRT")
    world.venue.send("9", "37=o\x0111=a\x0139=0\x01434=1\x01102=1\x01", world.now)
    world.venue.data_to_send()
    world.venue.send("9", "37=o\x0111=b\x0139=0\x01434=1\x01102=1\x01", world.now)
    world.venue.forget_before(3)
    world.answer()
    assert not world.client.caught_up
    world.carry()
    assert [text for level, text in world.logs if level == "alert"] == [
        (
            "KalshiRT: numbers can't be continued (the ResendRequest was rejected: BeginSeqNo(7) 2 is outside the retention"
            " window, which begins at 3): reset; what was missed must come by drop copy"
        )
    ]
    assert not world.client.logged_on and world.mono == SECOND
    world.disconnect()
    world.until_due()
    assert world.log_on().get(141) == "Y"
    assert (world.client.logged_on, world.client.caught_up, world.client.began_anew) == (True, True, True)


def test_rt_that_was_away_for_longer_than_the_retention_resets():
    """Nothing of so long ago is kept: it is not even tried (MessageRetentionPeriod, tag 20200)."""
    world = World(target_comp_id="KalshiRT", message_retention_h=2)
    world.client.restore(
        SessionSnapshot(next_sender_msg_seq_num=9, next_target_msg_seq_num=7), WALL - 2 * 3600 * SECOND - 1
    )
    world.client.start(world.now)
    world.connected()
    text = wire_text(world)
    assert "|34=1|" in text and "|141=Y|" in text and "|20200=2|" in text
    assert world.logs[0][1].startswith("KalshiRT: numbers can't be continued (2.0 h without the venue")


def test_rt_goes_on_when_only_the_wall_clock_leapt():
    """A day of the wall clock is no day without the venue."""
    world = logged_on(target_comp_id="KalshiRT", message_retention_h=24)
    world.disconnect()
    world.mono = world.client.deadline
    leapt = Now(world.now.wall_ns + 25 * 3600 * SECOND, world.mono)
    world.client.on_deadline(leapt)
    world.client.on_link(LinkEvent.CONNECTED, "", leapt)
    assert "|34=2|" in wire_text(world) and "|141=" not in wire_text(world)


def test_rt_tells_its_owner_what_to_store():
    """The next numbers, and whether they are gone on with."""
    world = World(target_comp_id="KalshiRT")
    assert world.client.numbers == (1, 1, False)
    world.client.start(world.now)
    world.log_on()
    assert (world.client.numbers, world.client.began_anew) == ((2, 2, True), True)
    world.client.send("F", "11=a\x0141=b\x0154=1\x0155=B\x01", world.now)
    assert world.client.numbers == (3, 2, True)
    world.disconnect()
    world.until_due()
    world.refuse("ResetSeqNumFlag(141) must be Y after maintenance")
    assert world.client.numbers[2] is False


def test_rt_continues_stored_numbers():
    """snapshot and restore carry the session into another process."""
    world = logged_on(target_comp_id="KalshiRT")
    kept = world.client.snapshot()
    again = World(target_comp_id="KalshiRT")
    again.venue = world.venue
    world.disconnect()
    again.client.restore(kept)
    again.client.start(again.now)
    logon = again.log_on()
    assert (logon.seq, logon.get(141)) == (2, None)
    assert again.client.logged_on


def test_byte_by_byte_is_the_same():
    """Any chunking of the inbound stream (style rule 18)."""
    world = started()
    world.connected()
    world.carry()
    world.venue.accept(world.now)
    data = world.venue.data_to_send()
    for at in range(len(data)):
        world.collect(world.client.on_bytes(data[at : at + 1], world.now))
    assert world.client.logged_on
