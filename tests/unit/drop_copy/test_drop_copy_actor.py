"""The actor: when it sweeps, what it gives to order entry, what it says."""

import itertools

import pytest

from engine import config as cfg
from engine.common.actor import LinkEvent
from engine.common.clock import MS, SECOND, Now
from engine.drop_copy import actor as module
from engine.drop_copy.actor import DropCopy
from engine.drop_copy.records import (
    DropCopyJournalEntry,
    ExecutionAssigned,
    FundingEntered,
    SweepEnded,
    WatermarkMoved,
)
from engine.fix.events import App, PeerReject
from engine.fix.message import parse
from engine.kalshi.messages import EventResendComplete, EventResendReject, ExecutionReport
from engine.messages.executions import (
    EventKind,
    OrderEvent,
    OrderState,
    RecoveredReports,
    Source,
    SweepDone,
    TapeBeat,
    TapeReplay,
    TapeRequest,
)
from engine.messages.market_data import FeedState, MarketState
from engine.messages.reconciliation import (
    AcceptDropCopyGap,
    AssignExecution,
    BreakNote,
    EnterFunding,
    ExplainBreak,
    ReconciliationReply,
    ReconciliationStatus,
    RecoveredNote,
)

WALL = 1_763_978_400 * SECOND
TYPES = {EventKind.NEW: "0", EventKind.TRADE: "F"}
LIMITS = cfg.LimitsConfig(
    max_order_qty="10",
    max_order_notional="1000",
    max_position="100",
    max_open_orders=10,
    max_gross_notional="10000",
    max_loss="1000",
)
CONFIG = cfg.Config(
    engine=cfg.EngineConfig(name="test", shutdown="cancel"),
    sessions=cfg.SessionsConfig(
        order_entry=cfg.SessionConfig(target_comp_id="KalshiNR"),
        market_data=cfg.SessionConfig(target_comp_id="KalshiMD"),
        drop_copy=cfg.SessionConfig(target_comp_id="KalshiDC"),
    ),
    instruments={"BTC-PERP": cfg.InstrumentConfig()},
    risk=cfg.RiskConfig(account=LIMITS, markets={}),
    strategies={},
    reconciliation=cfg.ReconciliationConfig(sweep_s=10, overlap=2, missing_there_s=30),
)


class FakeGateway:
    """A session whose events the test makes."""

    def __init__(self, link, config, out, sign, rng, *, hot, **more):
        self.logged_on = False
        self.logons = 0
        self.state = "connecting"
        self.failed = ""
        self.stopped = False
        self.deadline = None
        self.sent = []
        self.reconnects = []
        self.waiting = []

    def start(self, now):
        pass

    def on_link(self, event, reason, now):
        return []

    def on_bytes(self, data, now):
        waiting, self.waiting = self.waiting, []
        return waiting

    def on_deadline(self, now):
        return []

    def send(self, msg_type, body, now, trigger_ns=0):
        self.sent.append((msg_type, body))
        return 100 + len(self.sent)

    def stop(self, now):
        self.stopped = True

    def reconnect(self, reason, now):
        self.reconnects.append(reason)
        self.logged_on = False


class Out:
    """Collects effects in their order."""

    def __init__(self):
        self.effects = []
        self.records = []
        self.logs = []

    def send(self, channel, message, to=None, topic=""):
        self.effects.append((channel, message))

    def record(self, entry, *, cl_ord_id="", exec_id=""):
        self.records.append(entry)
        self.effects.append(("journal", entry))

    def write(self, link, data, trigger_ns=0):
        raise AssertionError("the gateway writes")

    def connect(self, link):
        pass

    def close(self, link, reason=""):
        pass

    def log(self, level, text):
        self.logs.append((level, text))


def event(no, exec_id="", kind=EventKind.TRADE, **changes):
    fields = {
        "tape_no": no,
        "strategy": 1,
        "strategy_no": no,
        "kind": kind,
        "state": OrderState.PARTIALLY_FILLED,
        "order": "a",
        "cl_ord_id": "a",
        "wall_ns": WALL + no,
        "exec_id": exec_id,
        "symbol": "BTC-PERP",
        "side": 1,
    }
    return OrderEvent(**(fields | changes))


def report(exec_id, exec_type="F", **changes):
    fields = {
        "order_id": "o1",
        "cl_ord_id": "a",
        "exec_id": exec_id,
        "exec_type": exec_type,
        "ord_status": "1",
        "side": "1",
        "symbol": "BTC-PERP",
        "leaves_qty": 100,
        "cum_qty": 0,
        "order_qty": 100,
    }
    return ExecutionReport(**(fields | changes))


class Bench:
    """An actor, its order entry and its venue, on a manual clock."""

    def __init__(self, records=()):
        self.out = Out()
        self.actor = DropCopy(CONFIG, self.out, None, None)
        for record in records:
            self.actor.replay(record)
        self.ms = 0
        self.tape = []
        self.wanted = 1
        self.done = 0
        self.unknown = 0
        self.logon_sweep = 0
        self.session = "logged on"
        self.actor.start(self.now)

    @property
    def gateway(self):
        return self.actor.gateway

    @property
    def now(self):
        return Now(WALL + self.ms * MS, self.ms * MS)

    def wait(self, ms):
        self.ms += ms
        if self.actor.deadline is not None and self.actor.deadline <= self.now.mono_ns:
            self.actor.on_deadline(self.now)

    def logon(self):
        self.gateway.logged_on = True
        self.gateway.logons += 1
        self.gateway.state = "logged on"
        self.actor.on_link("drop_copy", LinkEvent.CONNECTED, "", self.now)

    def beat(self, ms=100):
        self.wait(ms)
        message = TapeBeat(
            tape_no=len(self.tape),
            mono_ns=self.now.mono_ns,
            session=self.session,
            ready=True,
            sweep_wanted=self.wanted,
            sweep_done=self.done,
            logon_sweep=self.logon_sweep,
            unknown=self.unknown,
        )
        self.actor.on_message("oe.tape", "", message, self.now)
        for answer in self.sent(SweepDone):
            if answer.complete:
                self.done = max(self.done, answer.wanted)

    def publish(self, *events):
        for one in events:
            self.tape.append(one)
            self.actor.on_message("oe.tape", "", one, self.now)

    def answer(self, *messages):
        self.gateway.waiting = [App(1, 0, message, poss_dup=False, msg_type="8") for message in messages]
        self.actor.on_bytes("drop_copy", b"x", self.now)

    def answer_all(self, *reports):
        self.answer(*reports, EventResendComplete(ref_seq_num=self.seq, resend_event_count=len(reports)))

    def refuse(self, reason):
        self.answer(EventResendReject(ref_seq_num=self.seq, event_resend_reject_reason=reason))

    @property
    def seq(self):
        return 100 + len(self.gateway.sent)

    def sent(self, kind):
        return [
            message
            for channel, message in self.out.effects
            if isinstance(message, kind) and channel != "journal"
        ]

    def status(self):
        self.wait(500)
        return self.sent(ReconciliationStatus)[-1]


@pytest.fixture(autouse=True)
def _gateway(monkeypatch):
    monkeypatch.setattr(module, "GatewayClient", FakeGateway)


def started(*events, records=()):
    bench = Bench(records)
    bench.publish(*events)
    bench.beat()
    bench.logon()
    return bench


def settled(*events, reports=()):
    """A bench whose first sweep is complete."""
    bench = started(*events)
    if bench.gateway.sent:
        bench.answer_all(*reports)
    bench.beat()
    bench.beat()
    return bench


def watermarked():
    """A bench with watermark 2;1 and everything satisfied."""
    bench = settled()
    bench.publish(event(1, "", EventKind.SUBMITTED), event(2, "1;1", EventKind.NEW), event(3, "2;1"))
    bench.wait(1000)
    bench.beat()
    bench.answer_all(report("1;1", "0"), report("2;1"))
    bench.beat()
    assert bench.status().watermark == "2;1"
    return bench


# ---- the beginning


def test_nothing_ever_sent_is_complete_without_a_question():
    bench = started()
    bench.beat()
    assert bench.gateway.sent == []
    assert bench.sent(SweepDone) == [SweepDone(wanted=1, complete=True, reason="nothing executed yet")]
    bench.beat()
    assert bench.status().caught_up


def test_the_tape_is_read_from_its_beginning():
    bench = Bench()
    assert bench.sent(TapeRequest) == [TapeRequest(from_no=1)]


def test_no_sweep_before_the_tape_is_known():
    bench = Bench()
    bench.logon()
    assert bench.gateway.sent == []
    assert bench.sent(SweepDone) == []
    assert not bench.status().caught_up


def test_an_order_sent_and_never_answered_is_asked_for_from_the_origin():
    """Nothing on the tape is no proof that nothing was executed."""
    bench = started(event(1, "", EventKind.SUBMITTED))
    assert bench.gateway.sent == [("U1", "21001=1;0\x01")]
    bench.answer_all(report("4;1", transact_time_ns=WALL))
    bench.beat()  # the tape is waited for, twice when something is missing
    assert bench.sent(RecoveredReports) == []
    bench.beat()
    (recovered,) = bench.sent(RecoveredReports)
    assert [one.exec_id for one in recovered.reports] == ["4;1"]
    assert bench.sent(SweepDone) == [SweepDone(wanted=1, complete=True)]


def test_a_refused_origin_is_a_gap_said_aloud():
    bench = started(event(1, "", EventKind.SUBMITTED))
    bench.refuse(3)
    (done,) = bench.sent(SweepDone)
    assert (done.complete, done.wanted) == (False, 1)
    status = bench.status()
    assert not status.caught_up
    assert status.gap == (
        "BeginExecID is older than the venue's window of 3 hours (BeginExecID 1;0); nothing is proven from 2025-11-24T10:00:00.000Z on"
    )
    assert status.open_breaks == {"gap": 1}
    assert [level for level, _ in bench.out.logs] == ["alert"]


def test_an_operator_who_accepts_the_gap_ends_it():
    bench = started(event(1, "", EventKind.SUBMITTED))
    bench.refuse(3)
    bench.publish(
        event(2, "", EventKind.POSITION, source=Source.OPERATOR, long_qty=0, short_qty=0, strategy=-1)
    )
    bench.beat()
    bench.beat()
    assert bench.sent(SweepDone)[-1].complete
    bench.beat()
    status = bench.status()
    assert (status.caught_up, status.gap) == (True, "")


# ---- sweeping


def test_the_first_execution_gives_a_watermark_within_a_second():
    bench = settled()
    bench.publish(event(1, "", EventKind.SUBMITTED), event(2, "7;1", EventKind.NEW))
    bench.wait(1000)
    bench.beat()
    assert bench.gateway.sent == [("U1", "21001=7;1\x01")]


def test_a_report_that_arrives_while_the_tape_is_waited_for_is_not_missing():
    bench = watermarked()
    bench.wait(8500)
    bench.beat(1500)
    bench.answer_all(report("1;1", "0"), report("2;1"), report("3;1"))
    bench.beat()
    bench.publish(event(4, "3;1"))
    bench.beat()
    assert bench.sent(RecoveredReports) == []
    assert bench.status().watermark == "3;1"


def test_what_is_missing_is_recovered_in_order_and_then_said_to_be_done():
    bench = watermarked()
    before = len(bench.out.effects)
    bench.wanted = 2
    bench.beat()
    bench.answer_all(report("1;1", "0"), report("2;1"), report("10;1"), report("9;1"))
    bench.beat()
    bench.beat()
    kinds = [
        (channel, type(message)) for channel, message in bench.out.effects[before:]
        if not isinstance(message, ReconciliationStatus)
    ]  # fmt: skip
    # The journal has everything before anyone is told.
    assert kinds == [
        ("journal", BreakNote),
        ("dc.feed", BreakNote),
        ("journal", BreakNote),
        ("dc.feed", BreakNote),
        ("journal", SweepEnded),
        ("journal", RecoveredNote),
        ("journal", RecoveredNote),
        ("oe.ask", RecoveredReports),
        ("dc.feed", RecoveredNote),
        ("dc.feed", RecoveredNote),
        ("oe.ask", SweepDone),
    ]
    assert [one.exec_id for one in bench.sent(RecoveredReports)[-1].reports] == ["9;1", "10;1"]
    assert not bench.actor.caught_up(bench.now)
    bench.publish(event(4, "9;1", source=Source.RECOVERED), event(5, "10;1", source=Source.RECOVERED))
    bench.beat()
    assert bench.actor.caught_up(bench.now)
    assert bench.status().open_breaks == {}


def test_a_lost_recovery_is_sent_again():
    bench = watermarked()
    bench.wanted = 2
    bench.beat()
    bench.answer_all(report("1;1", "0"), report("2;1"), report("3;1"))
    bench.beat()
    bench.beat()
    bench.wait(1000)
    bench.beat()
    bench.answer_all(report("1;1", "0"), report("2;1"), report("3;1"))
    bench.beat()
    bench.beat()
    assert len(bench.sent(RecoveredReports)) == 2
    assert bench.status().recovered == 1


def test_every_sweep_s_there_is_a_sweep_from_the_overlap():
    bench = watermarked()
    asked = len(bench.gateway.sent)
    for _ in range(100):
        bench.beat()
        if len(bench.gateway.sent) > asked:
            break
    assert bench.gateway.sent[-1] == ("U1", "21001=1;1\x01")


def test_a_new_logon_of_drop_copy_is_followed_by_a_sweep_and_nothing_stops_meanwhile():
    bench = watermarked()
    asked = len(bench.gateway.sent)
    bench.logon()
    assert len(bench.gateway.sent) == asked + 1
    assert bench.actor.caught_up(bench.now)


def test_after_order_entrys_logon_nothing_counts_until_the_sweep_is_done():
    bench = watermarked()
    bench.session = "connecting"
    bench.beat()
    bench.session = "logged on"
    bench.wanted = 2
    bench.beat()
    assert not bench.actor.caught_up(bench.now)
    bench.answer_all(report("1;1", "0"), report("2;1"))
    bench.beat()
    assert bench.actor.caught_up(bench.now)


def test_an_everyday_sweep_that_order_entry_wants_stops_nothing_unless_it_is_overdue():
    """A cancel that crossed a fill wants a sweep too."""
    bench = watermarked()
    bench.wanted = 2
    bench.beat()
    assert bench.actor.caught_up(bench.now)
    bench.wait(2000)
    bench.beat()
    assert not bench.actor.caught_up(bench.now)


def test_a_position_break_makes_the_next_sweep_come_soon():
    bench = watermarked()
    asked = len(bench.gateway.sent)
    bench.publish(event(4, "4;1", position=100, long_qty=200, short_qty=0))
    bench.beat()
    bench.beat()
    assert len(bench.gateway.sent) == asked + 1
    assert bench.status().open_breaks == {"position": 1}


# ---- trouble


def test_a_session_lost_in_a_sweep_begins_it_anew():
    bench = watermarked()
    bench.wanted = 2
    bench.beat()
    bench.gateway.logged_on = False
    bench.actor.on_link("drop_copy", LinkEvent.DISCONNECTED, "reset", bench.now)
    assert not bench.sent(SweepDone)[-1].complete
    asked = len(bench.gateway.sent)
    bench.logon()
    for _ in range(60):
        bench.beat()
    assert len(bench.gateway.sent) > asked
    bench.answer_all(report("1;1", "0"), report("2;1"))
    bench.beat()
    assert bench.sent(SweepDone)[-1] == SweepDone(wanted=2, complete=True)
    assert bench.status().gap == ""


def test_silence_makes_a_new_connection():
    bench = watermarked()
    bench.wanted = 2
    bench.beat()
    bench.wait(10_000)
    assert bench.gateway.reconnects == ["drop copy does not answer"]
    assert not bench.sent(SweepDone)[-1].complete


def test_server_error_is_asked_again_after_a_while():
    bench = watermarked()
    bench.wanted = 2
    bench.beat()
    asked = len(bench.gateway.sent)
    bench.refuse(2)
    bench.beat()
    assert len(bench.gateway.sent) == asked
    bench.beat(1000)
    assert len(bench.gateway.sent) == asked + 1


def test_not_enabled_degrades_loudly_and_is_tried_again_later():
    bench = watermarked()
    bench.wanted = 2
    bench.beat()
    bench.refuse(5)
    status = bench.status()
    assert "ask the venue to enable it" in status.gap
    assert ("alert", "break gap-5-1.1 open 1;1: " + status.gap) in bench.out.logs
    asked = len(bench.gateway.sent)
    for _ in range(101):
        bench.beat()
    assert len(bench.gateway.sent) == asked + 1


def test_a_session_reject_of_the_request_is_a_gap():
    bench = watermarked()
    bench.wanted = 2
    bench.beat()
    bench.gateway.waiting = [PeerReject(bench.seq, "U1", 21001, 6, "Incorrect data format")]
    bench.actor.on_bytes("drop_copy", b"x", bench.now)
    assert "Incorrect data format" in bench.status().gap


def test_a_quiet_market_older_than_the_window_is_no_gap():
    bench = watermarked()
    bench.beat(10_000)
    bench.refuse(3)
    bench.refuse(3)  # the second is about a request that was not sent: nothing to refuse
    while bench.actor.sweeper.sweep is not None:
        bench.wait(100)
        bench.beat()
        bench.refuse(3)
    status = bench.status()
    assert (status.caught_up, status.gap) == (True, "")
    assert status.detail == "quiet: the last execution 2;1 is older than drop copy looks back"
    assert (
        Bench(bench.out.records).actor.state_digest() == bench.actor.state_digest()
    )  # a restart knows since when


def test_a_watermark_outside_the_window_is_a_hole_when_the_session_was_lost():
    bench = watermarked()
    bench.session = "connecting"
    bench.beat()
    bench.session = "logged on"
    bench.wanted = 2
    bench.publish(event(4, "50;1"))
    bench.beat()
    for _ in range(2):  # the overlap's beginning, then the watermark
        bench.refuse(3)
        bench.wait(100)
        bench.beat()
    assert bench.gateway.sent[-1] == ("U1", "21001=50;1\x01")
    bench.answer_all(report("50;1"))
    bench.beat()
    status = bench.status()
    text = "nothing before 50;1 can be proven (the venue looks back 3 hours only); nothing is proven from "
    assert status.gap == f"{text}2025-11-24T10:00:01.300Z on"
    assert status.watermark == "50;1"
    assert not status.caught_up
    assert not bench.sent(SweepDone)[-1].complete


def wire(msg_type, body):
    head = f"35={msg_type}|49=KalshiDC|56=key|34=3|52=20251124-10:00:00.000|{body}".replace("|", "\x01")
    text = f"8=FIXT.1.1\x019={len(head)}\x01{head}"
    return parse(f"{text}10={sum(text.encode()) % 256:03d}\x01".encode())


def test_answers_are_read_from_their_wire_text():
    bench = started(event(1, "", EventKind.SUBMITTED))
    text = "37=o1|11=a|17=4;1|150=F|39=2|54=1|55=BTC-PERP|38=1.00|14=1.00|151=0.00|6=19.5|31=19.5|32=1.00|"
    bench.answer(wire("8", text), wire("U2", "45=101|21003=1|"))
    bench.beat()
    bench.beat()
    (copy,) = bench.sent(RecoveredReports)[0].reports
    assert (copy.exec_id, copy.last_px, copy.last_qty, copy.side) == ("4;1", 195_000, 100, 1)


def test_a_report_that_cannot_be_read_is_alarmed_and_leaves_the_count_wrong():
    bench = started(event(1, "", EventKind.SUBMITTED))
    bench.answer(
        wire("8", "37=o1|11=a|17=4;1|150=F|39=2|54=1|55=BTC-PERP|38=x|"), wire("U2", "45=101|21003=1|")
    )
    assert bench.out.logs[0][0] == "alert"
    assert bench.actor.status(bench.now).metrics["unreadable"] == 1
    assert "counts 1 reports, 0 different ones came" in bench.status().detail


def test_a_gap_of_the_tape_is_replayed_before_anything_is_compared():
    bench = watermarked()
    bench.tape.append(event(4, "3;1"))  # lost on the way
    bench.beat()
    assert bench.sent(TapeRequest)[-1] == TapeRequest(from_no=4)
    bench.actor.on_message("oe.ask", "", TapeReplay(events=[bench.tape[-1]]), bench.now)
    assert bench.actor.tape.tape_no == 4


def test_a_journal_that_fails_stops_the_sweep_and_one_that_works_again_begins_it():
    bench = watermarked()
    bench.wanted = 2
    bench.beat()
    bench.actor.on_journal_failed("disk full", bench.now)
    assert bench.actor.sweeper.sweep is None
    bench.actor.on_journal_ok(bench.now)
    assert bench.actor.sweeper.sweep is not None


# ---- life


def test_restart_takes_watermark_breaks_and_counts_from_the_journal():
    records = [
        WatermarkMoved(wall_ns=WALL, marks=["1;1", "2;1"], tape_no=3, tape_from=2, confirmed=2),
        BreakNote(break_id="different-2.1", kind="different", status="open", wall_ns=WALL, exec_id="2;1"),
        RecoveredNote(wall_ns=WALL, exec_id="2;1", cl_ord_id="a", symbol="BTC-PERP", exec_type="F"),
        SweepEnded(no=4, began_ns=WALL, wall_ns=WALL, wanted=1, complete=True, tape_no=3),
    ]
    bench = Bench(records)
    assert bench.sent(TapeRequest) == [TapeRequest(from_no=2)]
    status = bench.status()
    assert (status.watermark, status.watermark_wall_ns, status.sweeps) == ("2;1", WALL, 4)
    assert (status.confirmed, status.recovered, status.open_breaks) == (2, 1, {"different": 1})
    assert not status.caught_up


def test_every_record_is_of_the_journals_union():
    bench = watermarked()
    assert bench.out.records
    assert all(isinstance(record, DropCopyJournalEntry) for record in bench.out.records)


def test_quiesce_waits_for_one_more_sweep():
    bench = watermarked()
    bench.actor.quiesce(bench.now)
    assert not bench.actor.quiesced
    bench.answer_all(report("1;1", "0"), report("2;1"))
    bench.beat()
    assert bench.actor.quiesced
    bench.actor.stop(bench.now)
    assert bench.actor.stopped


def test_what_order_entry_misses_after_the_last_sweep_is_swept_for_as_well():
    """Orders that are left resting go on filling while the engine stops."""
    bench = watermarked()
    bench.actor.quiesce(bench.now)
    bench.answer_all(report("1;1", "0"), report("2;1"))
    bench.beat()
    assert bench.actor.quiesced
    bench.wanted += 1
    bench.beat()
    assert not bench.actor.quiesced
    bench.wait(200)
    bench.answer_all(report("2;1"))
    bench.beat()
    assert bench.actor.quiesced


def test_quiesce_ends_at_half_of_shutdown_s_whatever_happens():
    bench = watermarked()
    bench.actor.quiesce(bench.now)
    bench.wait(4999)
    assert not bench.actor.quiesced
    bench.wait(1)
    assert bench.actor.quiesced
    assert bench.out.logs[-1][0] == "alert"


def test_requests_keep_to_drop_copys_share_of_the_read_bucket():
    """Basic: 200 Read tokens a second, half of them ours, 10 a request."""
    bench = settled(
        event(1, "", EventKind.SUBMITTED), event(2, "1;1"), reports=[report("1;1", transact_time_ns=WALL)]
    )
    sent_at = []
    for wanted in range(2, 6):
        bench.wanted = wanted
        asked = len(bench.gateway.sent)
        while len(bench.gateway.sent) == asked:
            bench.beat(10)
        sent_at.append(bench.ms)
        bench.answer_all(report("1;1"))
        bench.beat(10)
    assert all(later - earlier >= 100 for earlier, later in itertools.pairwise(sent_at))


def test_status_has_the_metrics():
    bench = watermarked()
    status = bench.actor.status(bench.now)
    assert status.state == "READY"
    assert status.sessions == {"KalshiDC": "logged on"}
    assert {"sweeps", "confirmed", "recovered", "foreign", "breaks", "watermark_age_ms"} <= set(
        status.metrics
    )
    assert status.metrics["confirmed"] == 2


def test_an_everyday_sweep_before_the_first_watermark_begins_at_the_first_report():
    """The session is whole since "nothing executed yet": the first report on the tape is the first there is."""
    bench = settled()
    bench.publish(event(1, "", EventKind.SUBMITTED), event(2, "5;1", EventKind.NEW))
    bench.wanted += 1  # a cancel crossed a fill
    bench.beat()
    assert bench.gateway.sent == [("U1", "21001=5;1\x01")]
    bench.answer_all(report("5;1", "0"))
    bench.beat()
    assert bench.sent(SweepDone)[-1] == SweepDone(wanted=2, complete=True)
    assert bench.status().gap == ""


def test_with_an_outcome_unknown_the_first_report_proves_nothing_about_before():
    bench = settled()
    bench.publish(event(1, "", EventKind.SUBMITTED), event(2, "5;1", EventKind.NEW))
    bench.wanted += 1
    bench.unknown = 1
    bench.beat()
    assert bench.gateway.sent == [("U1", "21001=1;0\x01")]


def test_a_logon_of_order_entry_that_nobody_heard_is_swept_before_anything_counts_as_caught_up():
    """It was restarted between two beats and is logged on in both: the beat itself says what its Logon wants."""
    bench = settled()
    bench.wanted = bench.logon_sweep = 5
    bench.publish(event(1, "", EventKind.SUBMITTED), event(2, "5;1", EventKind.NEW))
    bench.beat()
    assert not bench.actor.caught_up(bench.now)
    bench.wait(500)
    assert (bench.status().caught_up, bench.status().wanted) == (False, 5)


# ---- the operator


def tell(bench, message):
    """What drop copy answers to a tool."""
    bench.actor.on_message("dc.ask", "tool.reconcile.1", message, bench.now)
    reply = bench.sent(ReconciliationReply)[-1]
    return reply.ok, reply.text


def differing():
    bench = settled(
        event(1, "", EventKind.SUBMITTED),
        event(2, "1;1", last_qty=100, fee=5),
        reports=[report("1;1", last_qty=100, misc_fee_amt=6)],
    )
    assert bench.status().open_breaks == {"different": 1}
    return bench


def test_an_explained_break_no_longer_counts_and_is_in_the_journal_before_the_answer():
    bench = differing()
    ask = ExplainBreak(request_id="r", break_id="different-1.1", why="rounding", who="ann")
    assert tell(bench, ask) == (True, "different-1.1 is explained")
    notes = [entry for entry in bench.out.records if isinstance(entry, BreakNote)]
    assert (notes[-1].status, notes[-1].text, notes[-1].who) == ("explained", "rounding", "ann")
    order = [
        kind for channel, kind in bench.out.effects if isinstance(kind, (BreakNote, ReconciliationReply))
    ]
    assert bench.status().open_breaks == {}
    assert isinstance(order[-1], BreakNote) or order[-1].ok
    bench.beat(10_000)
    bench.answer_all(report("1;1", last_qty=100, misc_fee_amt=6))
    bench.beat()
    assert bench.status().open_breaks == {}


def test_what_is_not_open_or_has_no_reason_is_not_explained():
    bench = differing()
    ask = ExplainBreak(request_id="r", break_id="different-9.9", why="x", who="ann")
    assert tell(bench, ask) == (False, "there is no open break different-9.9 here")
    ask = ExplainBreak(request_id="r", break_id="different-1.1", why=" ", who="ann")
    assert tell(bench, ask) == (False, "a reason is needed")


def test_a_foreign_fill_is_assigned_and_funding_is_entered_in_the_journal():
    bench = watermarked()
    ask = AssignExecution(request_id="r", exec_id="2;1", strategy=1, why="mine", who="ann")
    assert tell(bench, ask)[0]
    assert tell(
        bench,
        EnterFunding(request_id="r", key="k", symbol="BTC-PERP", amount=-5, at_ns=WALL, why="web", who="ann"),
    )[0]
    assigned, funding = (
        next(entry for entry in bench.out.records if isinstance(entry, kind))
        for kind in (ExecutionAssigned, FundingEntered)
    )
    assert (assigned.exec_id, assigned.strategy, funding.amount) == ("2;1", 1, -5)


def test_only_an_operator_ends_a_gap_that_the_venue_will_never_prove_and_trading_goes_on():
    bench = watermarked()
    bench.wanted = 2
    bench.beat()
    bench.refuse(5)
    gap = next(iter(bench.actor.reconciler.breaks.open))
    ask = ExplainBreak(request_id="r", break_id=gap, why="x", who="ann")
    assert tell(bench, ask)[0] is False
    assert not bench.status().caught_up
    ok, text = tell(bench, AcceptDropCopyGap(request_id="r", why="checked on the web", who="ann"))
    assert ok and text.startswith("gap accepted: drop copy is not enabled")
    status = bench.status()
    assert (status.gap, status.open_breaks, status.caught_up) == ("", {}, True)
    last = [entry for entry in bench.out.records if isinstance(entry, BreakNote)][-1]
    assert (last.status, last.text) == ("explained", "accepted by an operator: checked on the web")
    assert last.first_ns and last.until_ns > last.first_ns


def test_a_watermark_that_grows_old_is_an_alarm_said_once():
    bench = watermarked()
    assert not bench.status().alarm
    bench.gateway.logged_on = False
    bench.beat(3_600_000)
    assert bench.status().alarm and bench.status().alarm
    said = [text for level, text in bench.out.logs if "nothing was reconciled for" in text]
    assert len(said) == 1


def test_it_sweeps_soon_after_market_data_was_lost():
    """A session was away: whatever else was lost with it shows at once."""
    bench = watermarked()
    bench.beat()
    asked = len(bench.gateway.sent)
    stale = MarketState(feed=1, feed_no=1, symbol="BTC-PERP", state=FeedState.STALE)
    bench.actor.on_message("md.feed", "", stale, bench.now)
    bench.beat(100)
    assert len(bench.gateway.sent) == asked + 1
