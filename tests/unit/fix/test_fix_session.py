"""What scripts can't say: the hot path, two cores on one wire, snapshots, the transition table."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sessions.script_runner import DICTIONARY, SECOND, START_NS, Bench, logon_body, wrap

from engine.common.clock import Now
from engine.fix.acceptor import Acceptor
from engine.fix.config import SessionSettings
from engine.fix.errors import LocalProtocolError
from engine.fix.events import App, Close, LoggedOn, LoggedOut, LogonReceived, ResendAsked, Skew
from engine.fix.initiator import Initiator
from engine.fix.state import TRANSITIONS, InboundOrder, Input, Liveness, SessionState, next_state


def hot_order(text):
    if "\x0143=" in text or not text.endswith("\x01"):
        return None
    fields = dict(field.split("=", 1) for field in text[:-1].split("\x01"))
    return (int(fields["34"]), fields["52"], ("hot", fields["11"])) if fields.get("38") == "1" else None


def hot_bench():
    bench = Bench("I", "NR")
    bench.session = Initiator(bench.settings, DICTIONARY, {"D": hot_order}, logon_body=logon_body(True))
    bench.logon()
    return bench


def order(bench, seq, rest="11=a|38=1|54=1|"):
    return wrap(bench.complete(f"35=D|34={seq}|{rest}", bench.peer, bench.ours))


def test_a_hot_message_in_order_comes_as_its_struct():
    bench = hot_bench()
    bench.feed(order(bench, 2) + order(bench, 3, "11=b|38=2|54=1|") + order(bench, 4))
    assert [type(event.message).__name__ for event in bench.events] == ["tuple", "FixMessage", "tuple"]
    assert bench.events[0] == App(2, START_NS, ("hot", "a"), False, "D")
    assert bench.session.next_target_msg_seq_num == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("35=D|34=5|11=a|38=1|54=1|", ["GapDetected", "Close"]),
        ("35=D|34=1|11=a|38=1|54=1|", ["Close"]),
        ("35=D|49=X|34=2|11=a|38=1|54=1|", ["Refused", "Close"]),
        ("35=D|34=2|52={T+40}|11=a|38=1|54=1|", ["Refused", "Close"]),
        ("35=D|34=2|52=never|11=a|38=1|54=1|", ["Refused"]),
        ("35=D|34=2|43=Y|122={T}|11=a|38=1|54=1|", ["App"]),
    ],
)
def test_a_hot_message_that_is_not_as_expected_goes_the_general_way(text, said):
    bench = hot_bench()
    bench.feed(wrap(bench.complete(text, bench.peer, bench.ours)))
    assert [type(event).__name__ for event in bench.events] == said


def test_a_hot_message_with_another_header_order_is_still_hot():
    bench = hot_bench()
    bench.feed(wrap(f"35=D|34=2|49=Kalshi|52={bench.time()}|56=KEY|11=a|38=1|54=1|"))
    assert bench.events[0].message == ("hot", "a")


def test_skew_is_said_at_most_once_a_second_and_by_hot_messages_too():
    bench = hot_bench()
    bench.wall += 3 * SECOND  # our clock is behind by what the peer's is ahead
    bench.mono += SECOND
    sent = wrap(bench.complete("35=D|34=2|52={T+2}|11=a|38=1|54=1|", bench.peer, bench.ours))
    events = bench.session.receive(sent + order(bench, 3), bench.now)
    assert [event for event in events if isinstance(event, Skew)] == [Skew(2 * SECOND)]


class Wire:
    """Two cores joined; the client's end is `a`, the venue's `b`."""

    def __init__(self, kind, chunk=10**6):
        is_nr = kind == "NR"
        common = {"reset_on_logon": is_nr, "retransmission": not is_nr, "heart_bt_int_s": 5}
        a = SessionSettings(
            sender_comp_id="KEY", target_comp_id="KalshiNR", peer_comp_ids=("KalshiNR",), **common
        )
        b = SessionSettings(sender_comp_id="KalshiNR", strict=True, **common)
        self.a = Initiator(a, DICTIONARY, logon_body=logon_body(is_nr, 5))
        self.b = Acceptor(b, DICTIONARY)
        self.chunk = chunk
        self.mono = 0
        self.events = {"a": [], "b": []}

    @property
    def now(self):
        return Now(START_NS + self.mono, self.mono)

    def note(self, side, events):
        for event in events or []:
            if not isinstance(event, Skew):
                self.events[side].append(event)
            if isinstance(event, LogonReceived):
                self.note("b", self.b.accept(self.now))

    def pump(self):
        while True:
            data_a, data_b = self.a.data_to_send(), self.b.data_to_send()
            if not data_a and not data_b:
                return
            for side, session, data in (("b", self.b, data_a), ("a", self.a, data_b)):
                for at in range(0, len(data), self.chunk):
                    self.note(side, session.receive(data[at : at + self.chunk], self.now))

    def connect(self):
        self.b.connected(self.now)
        self.a.connected(self.now)
        self.pump()

    def cut(self):
        self.a.disconnected(self.now)
        self.b.disconnected(self.now)

    def run(self, seconds):
        end = self.mono + seconds * SECOND
        while True:
            due = [session.deadline for session in (self.a, self.b) if session.deadline is not None]
            if not due or min(due) > end:
                break
            self.mono = max(self.mono, min(due))
            self.note("a", self.a.on_deadline(self.now))
            self.note("b", self.b.on_deadline(self.now))
            self.pump()
        self.mono = end

    def apps(self, side):
        return [event.message.get(11) for event in self.events[side] if isinstance(event, App)]


def body(number):
    return f"11=id-{number}\x0138=1\x0154=1\x01"


@pytest.mark.parametrize("kind", ["NR", "RT"])
@pytest.mark.parametrize("chunk", [1, 7, 10**6])
def test_two_cores_log_on_live_and_log_out(kind, chunk):
    wire = Wire(kind, chunk)
    wire.connect()
    assert wire.a.state is wire.b.state is SessionState.LOGGED_ON
    wire.run(60)
    assert wire.a.state is wire.b.state is SessionState.LOGGED_ON
    assert wire.a.next_sender_msg_seq_num > 10
    wire.a.send("D", body(1), wire.now)
    wire.b.send("D", body(2), wire.now)
    wire.pump()
    assert (wire.apps("b"), wire.apps("a")) == (["id-1"], ["id-2"])
    wire.a.logout("done", wire.now)
    wire.pump()
    assert [type(event) for event in wire.events["a"][-2:]] == [LoggedOut, Close]
    assert wire.events["b"][-1] == LoggedOut("done", by_peer=True)
    wire.cut()
    assert wire.a.state is wire.b.state is SessionState.DISCONNECTED


def test_a_silent_wire_ends_both_sides():
    wire = Wire("NR")
    wire.connect()
    wire.pump = lambda: (wire.a.data_to_send(), wire.b.data_to_send())
    wire.run(60)
    assert [type(event) for event in wire.events["a"][1:]] == [Close]
    assert wire.a.state is wire.b.state is SessionState.CLOSED


def test_what_a_cut_lost_is_resent_after_the_next_logon():
    """Reports come once each, in order; the engine's own orders are filled over and named."""
    wire = Wire("RT")
    wire.connect()
    for number in range(3):
        wire.b.send("D", body(number), wire.now)
    wire.pump()
    for number in range(3, 6):
        wire.b.send("D", body(number), wire.now)
    lost = wire.a.send("D", body(99), wire.now)
    wire.a.data_to_send()
    wire.b.data_to_send()
    wire.cut()
    wire.mono += SECOND
    wire.connect()
    wire.b.send("D", body(6), wire.now)
    wire.pump()
    assert wire.apps("a") == [f"id-{number}" for number in range(7)]
    assert wire.apps("b") == []
    asked = [event for event in wire.events["a"] if isinstance(event, ResendAsked)]
    assert asked
    assert asked[0].begin <= lost <= asked[0].end
    wire.run(60)
    assert wire.a.state is wire.b.state is SessionState.LOGGED_ON


def test_a_restart_from_snapshots_continues_the_numbers():
    wire = Wire("RT")
    wire.connect()
    wire.b.send("D", body(1), wire.now)
    wire.b.data_to_send()
    saved = [
        msgspec.msgpack.decode(msgspec.msgpack.encode(s.snapshot()), type=type(s.snapshot()))
        for s in (wire.a, wire.b)
    ]
    assert saved[1].sent[0].body == body(1)
    again = Wire("RT")
    again.a.restore(saved[0])
    again.b.restore(saved[1])
    again.connect()
    assert again.apps("a") == ["id-1"]
    assert again.b.snapshot().next_sender_msg_seq_num > saved[1].next_sender_msg_seq_num


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(st.sampled_from(["a", "b", "pump", "cut", "lose", "run"]), max_size=30),
    chunk=st.integers(1, 400),
)
def test_with_retransmission_every_report_comes_once_and_in_order(plan, chunk):
    """Whatever is lost with a connection; the other direction is never repeated."""
    wire = Wire("RT", chunk)
    wire.connect()
    counter = itertools.count()
    sent = {"a": [], "b": []}
    for step in plan:
        if step in sent:
            number = next(counter)
            sent[step].append(f"id-{number}")
            (wire.a if step == "a" else wire.b).send("D", body(number), wire.now)
        elif step == "pump":
            wire.pump()
        elif step == "run":
            wire.pump()
            wire.run(7)
        else:
            if step == "cut":
                wire.pump()
            wire.cut()
            wire.mono += SECOND
            wire.connect()
    wire.pump()
    assert wire.a.state is wire.b.state is SessionState.LOGGED_ON
    assert wire.apps("a") == sent["b"]
    assert [name for name in sent["a"] if name in wire.apps("b")] == wire.apps("b")


def test_nothing_is_sent_before_the_logon_is_answered():
    bench = Bench("I", "NR")
    with pytest.raises(LocalProtocolError):
        bench.session.send("D", "", bench.now)
    bench.session.connected(bench.now)
    with pytest.raises(LocalProtocolError):
        bench.session.send("D", "", bench.now)


def test_an_acceptor_decides_only_while_a_logon_waits():
    bench = Bench("A", "NR")
    with pytest.raises(LocalProtocolError):
        bench.session.accept(bench.now)
    with pytest.raises(LocalProtocolError):
        bench.session.refuse("no", bench.now)


def test_an_acceptor_learns_who_it_talks_to_from_bind():
    bench = Bench("A", "NR")
    bench.session = Acceptor(SessionSettings(sender_comp_id="KalshiNR", strict=True), DICTIONARY)
    bench.session.connected(bench.now)
    bench.feed(wrap(bench.complete("35=A|34=1|98=0|108=30|141=Y|1137=9|", "KEY", "KalshiNR")))
    bound = SessionSettings(sender_comp_id="Kalshi", own_comp_ids=("KalshiNR",), target_comp_id="KEY")
    bench.session.bind(bound)
    bench.note(bench.session.accept(bench.now, body="1137=9\x0121005=Y\x01", heart_bt_int_s=9))
    wanted = bench.complete("35=A|34=1|98=0|108=9|141=Y|1137=9|21005=Y|", "Kalshi", "KEY")
    assert bench.written == [wanted]
    assert isinstance(bench.events[-1], LoggedOn)
    bench.written.clear()
    bench.feed(wrap(bench.complete("35=0|34=2|", "KEY", "KalshiNR")))
    assert bench.session.next_target_msg_seq_num == 3


def test_refuse_with_a_reason_rejects_first():
    bench = Bench("A", "NR")
    bench.session.connected(bench.now)
    bench.feed(wrap(bench.complete("35=A|34=1|98=0|108=30|141=Y|1137=9|", "KEY", "KalshiNR")))
    bench.note(bench.session.refuse("bad signature", bench.now, reason=8, ref_tag=96))
    assert [text.split("|")[0] for text in bench.written] == ["35=3", "35=5"]
    assert "373=8" in bench.written[0]


def test_reject_and_business_reject_by_the_owner():
    bench = Bench("A", "NR")
    bench.logon()
    assert bench.session.send_reject(7, "D", 5, 44, "Price(44)", bench.now) == 2
    assert bench.session.send_business_reject(8, "D", 8, "rate", bench.now, ref_id="x") == 3
    bench.note([])
    assert bench.written == [
        bench.complete("35=3|34=2|45=7|371=44|372=D|373=5|58=Price(44)|", "KalshiNR", "KEY"),
        bench.complete("35=j|34=3|45=8|372=D|379=x|380=8|58=rate|", "KalshiNR", "KEY"),
    ]


def test_forgotten_messages_are_outside_the_retention():
    wire = Wire("RT")
    wire.connect()
    for number in range(3):
        wire.b.send("D", body(number), wire.now)
    wire.b.forget_before(4)
    assert [kept.seq for kept in wire.b.snapshot().sent] == [4]
    assert wire.b.snapshot().first_kept == 4


def test_a_long_resend_goes_in_pieces_and_its_owner_gives_what_left_the_window():
    """Not one gap fill more than of a resend at once, and a request behind it waits for its turn."""
    bench = Bench("A", "RT")
    bench.session.settings = msgspec.structs.replace(bench.settings, resend_piece=2)
    bench.logon()
    sent = {bench.session.send("8", body(number), bench.now): body(number) for number in range(3)}
    bench.session.send_session_message("0", "", bench.now)
    sent |= {bench.session.send("8", body(number), bench.now): body(number) for number in (4, 5)}
    kept = bench.session.sent_from(1)
    bench.session.release_before(4)
    bench.note([])
    bench.written.clear()
    bench.feed(wrap(bench.complete("35=2|34=2|7=1|16=0|", bench.peer, bench.ours)))
    bench.feed(wrap(bench.complete("35=2|34=3|7=6|16=6|", bench.peer, bench.ours)))
    assert bench.written == [] and bench.session.resending

    def older(begin, end):
        found = [message for message in kept if begin <= message.seq <= end]
        return found[:1], found[0].seq if found else end

    while bench.session.resending:
        bench.session.go_on_resending(bench.now, older)
    bench.note([])
    heads = [(text.split("|")[0], text.split("|34=")[1].split("|")[0]) for text in bench.written]
    assert heads == [
        ("35=4", "1"), ("35=8", "2"), ("35=8", "3"), ("35=8", "4"), ("35=4", "5"), ("35=8", "6"), ("35=8", "7"),
        ("35=8", "6"),
    ]  # fmt: skip
    assert not bench.session.resending


def test_every_state_can_lose_its_connection_and_no_absent_pair_passes():
    for state, cause in itertools.product(SessionState, Input):
        if (state, cause) in TRANSITIONS:
            assert next_state(state, cause) is TRANSITIONS[state, cause]
        else:
            with pytest.raises(LocalProtocolError):
                next_state(state, cause)
        assert next_state(state, Input.DISCONNECT) is SessionState.DISCONNECTED


def test_inbound_order_keeps_the_first_of_two_and_a_bounded_number():
    order_ = InboundOrder(2)
    order_.hold(5, None)
    order_.hold(6, None)
    order_.hold(7, None)
    assert order_.gap_end() == 4
    assert order_.below(10) == [5, 6]
    order_.clear()
    assert order_.in_order


def test_liveness_without_heartbeats_has_no_deadline():
    liveness = Liveness()
    liveness.begin(0, 5)
    assert liveness.deadline is None
    assert not liveness.heartbeat_due(10**18)
    assert not liveness.silence_due(10**18)


@settings(max_examples=150, deadline=None)
@given(
    data=st.lists(
        st.binary(max_size=60) | st.sampled_from([b"8=FIXT.1.1\x019=5\x0135=0\x01", b"\x01"]), max_size=10
    )
)
def test_no_bytes_raise_past_the_session(data):
    for role, kind in itertools.product("IA", ("NR", "RT")):
        bench = Bench(role, kind)
        bench.logon()
        for chunk in data:
            bench.session.receive(chunk, bench.now)
        assert bench.session.next_target_msg_seq_num == 2


@settings(max_examples=200, deadline=None)
@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from(
                [7, 11, 16, 34, 36, 38, 43, 45, 49, 52, 54, 58, 95, 96, 112, 122, 123, 141, 448, 453]
            ),
            st.sampled_from(["", "0", "1", "2", "3", "9", "Y", "N", "x", "20261124-10:00:00.000", "KEY"]),
        ),
        max_size=8,
    ),
    msg_type=st.sampled_from(["0", "1", "2", "3", "4", "5", "A", "D", "zz", ""]),
    seq=st.integers(1, 5),
)
def test_no_message_raises_past_the_session(fields, msg_type, seq):
    for role, kind in itertools.product("IA", ("NR", "RT")):
        bench = Bench(role, kind)
        bench.logon()
        text = bench.complete(f"35={msg_type}|34={seq}|", bench.peer, bench.ours)
        bench.feed(wrap(text + "".join(f"{tag}={value}|" for tag, value in fields)))
        bench.feed(wrap(bench.complete("35=0|34=3|", bench.peer, bench.ours)))
        bench.note(bench.session.on_deadline(Now(bench.wall, bench.mono + 100 * SECOND)))
