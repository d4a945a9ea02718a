"""What can't be true is refused: epochs, numbers of reports, ExecIDs; what is asked for is rationed."""

import pytest

from engine.common.clock import MS
from engine.kalshi.exec_id import canonical
from engine.messages.commands import EpochAccepted, GuardHello, NotAccepted
from engine.messages.executions import (
    OrdersSnapshot,
    RecoveredReports,
    SnapshotRequest,
    TapeReplay,
    TapeRequest,
)
from engine.order_entry.reports import copy_of
from engine.orders import ledger

DAY_MS = 24 * 60 * 60 * 1000


# -- epochs


@pytest.mark.parametrize("ahead_ms", [DAY_MS + 1, 1 << 62])
def test_an_epoch_that_no_guard_can_have_is_refused(rig, ahead_ms) -> None:
    """The guard's epoch is the wall clock's millisecond or the last one's next: a day ahead is nobody's."""
    epoch = rig.now.wall_ns // MS + ahead_ms
    rig.guard(GuardHello(epoch=epoch))
    (answer,) = rig.answers()
    assert isinstance(answer, NotAccepted) and (answer.epoch, answer.reason) == (epoch, "epoch")
    assert rig.oe.commands.epoch == 1


@pytest.mark.parametrize("epoch", [0, -1, -(1 << 63), (1 << 64) - 1])
def test_an_epoch_below_one_or_beyond_64_bits_is_refused(make_rig, epoch) -> None:
    rig = make_rig()
    rig.oe.start(rig.now)
    rig.guard(GuardHello(epoch=epoch))
    assert [answer.reason for answer in rig.answers()] == ["epoch"]
    assert rig.oe.commands.epoch == 0


def test_an_impossible_epoch_is_answered_once_a_second(rig) -> None:
    """A guard answers a refusal with a higher epoch: two of them must not spin."""
    for epoch in range(1 << 62, (1 << 62) + 100):
        rig.guard(GuardHello(epoch=epoch))
    assert len(rig.answers()) == len(rig.out.logged("alert")) == 1
    rig.wait(1000)
    rig.guard(GuardHello(epoch=1 << 62))
    assert len(rig.answers()) == 2


def test_an_epoch_of_a_clock_that_is_a_day_ahead_is_taken(rig) -> None:
    epoch = rig.now.wall_ns // MS + DAY_MS
    rig.guard(GuardHello(epoch=epoch))
    assert rig.answers() == [EpochAccepted(epoch=epoch, tape_no=rig.oe.ledger.tape_no)]


# -- numbers


IMPOSSIBLE = [
    ({"last_qty": -300, "cum_qty": 0}, "LastQty -3.00"),
    ({"last_qty": 0}, "LastQty 0.00"),
    ({"last_px": 0}, "LastPx 0.0000"),
    ({"last_px": -195_000}, "LastPx -19.5000"),
    ({"side": "2"}, "Side 2"),
    ({"side": "7"}, "Side 0"),
    ({"symbol": "ETH-PERP"}, "Symbol ETH-PERP"),
    ({"cum_qty": 0}, "CumQty 0.00"),
    ({"cum_qty": 0, "ord_status": "2"}, "CumQty 0.00"),
    ({"leaves_qty": -1}, "LeavesQty -0.01"),
    ({"leaves_qty": 700, "ord_status": "2"}, "LeavesQty 7.00"),
    ({"last_px": 10**12, "last_qty": 10**7, "cum_qty": 10**7}, "64 bits"),
    ({"long_qty": 10**30, "short_qty": 0}, "64 bits"),
]


@pytest.mark.parametrize(("wrong", "said"), IMPOSSIBLE)
def test_an_impossible_trade_is_not_booked(rig, wrong, said) -> None:
    """It is alarmed once, counted, and drop copy is asked for the truth."""
    order, wanted = rig.live(), rig.oe.recovery.sweep_wanted
    fields = {"last_qty": 300, "last_px": 195_000, "cum_qty": 300, **wrong}
    status = fields.pop("ord_status", "1")
    message = rig.make(order, "F", status, "50;1", **fields)
    rig.app(message, message)
    assert rig.state(order) == "NEW" and rig.oe.ledger.positions.qty("BTC-PERP") == 0
    assert rig.beat.sweep_wanted == wanted + 1
    (alert,) = rig.out.logged("alert")
    assert said in alert and "50;1" in alert
    assert rig.oe.status(rig.now).metrics["implausible"] == 2
    rig.fill(order, 300, exec_id="50;1")
    assert rig.state(order) == "PARTIALLY_FILLED"


def test_an_impossible_report_that_drop_copy_brings_asks_for_no_sweep(rig) -> None:
    """Drop copy has said what it has: to ask again would never end."""
    order, wanted = rig.live(), rig.oe.recovery.sweep_wanted
    report = copy_of(rig.make(order, "F", "1", "50;1", last_qty=-300, last_px=195_000, cum_qty=0))
    rig.ask(RecoveredReports(reports=[report, report]))
    assert (rig.state(order), len(rig.out.logged("alert"))) == ("NEW", 1)
    assert rig.oe.recovery.sweep_wanted == wanted


def test_an_impossible_answer_answers_nothing(rig) -> None:
    """The request stays in flight, so that it becomes doubtful in time."""
    order = rig.new()
    rig.report(order, "0", "0", symbol="ETH-PERP")
    assert rig.state(order) == "SUBMITTING" and len(rig.oe.desk.sent) == 1


def test_a_foreign_trade_needs_a_side(rig) -> None:
    rig.fill("liq-1", 200, "2", side="", order_id="V-9")
    assert rig.oe.ledger.positions.qty("BTC-PERP") == 0 and rig.oe.desk.count.implausible == 1


def test_a_trade_after_lost_ones_is_booked_by_its_own_quantity_and_swept_for(rig) -> None:
    """CumQty that is ahead of ours is legitimate: earlier trades were lost. One sweep as long as no more are."""
    order, wanted = rig.live(), rig.oe.recovery.sweep_wanted
    rig.fill(order, 100, cum_qty=500, leaves_qty=500)
    assert (rig.state(order), rig.oe.ledger.positions.qty("BTC-PERP")) == ("PARTIALLY_FILLED", 100)
    assert rig.beat.sweep_wanted == wanted + 1
    rig.fill(order, 100, cum_qty=600, leaves_qty=400)
    assert rig.beat.sweep_wanted == wanted + 1
    rig.fill(order, 100, cum_qty=900, leaves_qty=100)
    assert rig.beat.sweep_wanted == wanted + 2
    assert rig.out.logged("alert") == []


def test_legitimate_variants_are_not_refused(rig) -> None:
    """38 is anything, a New is folded away, trades come in the wrong order, an order is overfilled."""
    order = rig.new()
    rig.fill(order, 300, exec_id="50;2", cum_qty=500, leaves_qty=500, order_qty=7)
    rig.fill(order, 200, exec_id="50;1", cum_qty=200, leaves_qty=800)
    rig.fill(order, 600, "2", exec_id="50;3", cum_qty=1100)
    assert (rig.state(order), rig.oe.desk.count.implausible) == ("FILLED", 0)


# -- ExecIDs


def test_an_exec_id_has_one_form() -> None:
    assert [canonical(text) for text in ("100;2", "100;2;0", "0100;2", "0;007;00", "9;1;3")] == [
        "100;2",
        "100;2",
        "100;2",
        "0;7",
        "9;1;3",
    ]
    with pytest.raises(ValueError, match="is not an ExecID"):
        canonical("100")


def test_one_exec_id_in_three_forms_is_one_report(rig) -> None:
    order = rig.live()
    for exec_id in ("0100;2", "100;2", "100;2;0"):
        rig.fill(order, 300, exec_id=exec_id, cum_qty=300)
    assert rig.oe.ledger.positions.qty("BTC-PERP") == 300
    assert (rig.tape[-1].exec_id, rig.oe.desk.count.duplicates) == ("100;2", 2)
    assert rig.out.logged("alert") == []


@pytest.mark.parametrize(
    "other", [{"last_qty": 400}, {"last_px": 1}, {"cl_ord_id": "other"}, {"exec_type": "4"}]
)
def test_an_exec_id_with_other_content_is_alarmed_once(rig, other) -> None:
    """Dropped as a duplicate it is, but not silently: drop copy shows which one is true."""
    order, wanted = rig.live(), rig.oe.recovery.sweep_wanted
    fields = {"last_qty": 300, "last_px": 195_000, "exec_type": "F", "cl_ord_id": order}
    for content in (fields, fields | other, fields | other):
        changed = dict(content)
        rig.app(rig.make(changed.pop("cl_ord_id"), changed.pop("exec_type"), "1", "50;1", **changed))
    (alert,) = rig.out.logged("alert")
    assert "50;1" in alert
    assert rig.oe.ledger.positions.qty("BTC-PERP") == 300 and rig.oe.desk.count.duplicates == 2
    assert rig.beat.sweep_wanted == wanted + 1


# -- questions


def answers(rig) -> list:
    return [(e[3], e[2]) for e in rig.out.done if e[0] == "send" and e[1] == "oe.ask"]


def test_a_peer_has_one_replay_at_a_time_the_newest(rig, monkeypatch) -> None:
    """2,000 requests cost as much as one; it comes in parts, one a turn."""
    monkeypatch.setattr(ledger, "REPLAY_PART", 2)
    for _ in range(4):
        rig.live()
    for _ in range(2000):
        rig.oe.on_message("oe.ask", "strategy.x", TapeRequest(from_no=1, strategy=1), rig.now)
    rig.oe.on_message("oe.ask", "strategy.x", TapeRequest(from_no=4, strategy=1), rig.now)
    assert answers(rig) == []
    rig.oe.on_deadline(rig.now)
    rig.wait(100)
    parts = [(to, [e.strategy_no for e in part.events], part.more) for to, part in answers(rig)]
    assert parts == [("strategy.x", [4, 5], True), ("strategy.x", [6, 7], True), ("strategy.x", [8], False)]


def test_a_turn_is_bounded(make_rig, monkeypatch) -> None:
    """A long replay leaves room for everything else, and for the next peer."""
    rig = make_rig().up()
    for _ in range(700):
        order = rig.live()
        rig.report(order, "4", "4")
    rig.out.done.clear()
    rig.oe.on_message("oe.ask", "guard", TapeRequest(from_no=1), rig.now)
    rig.oe.on_message("oe.ask", "strategy.x", SnapshotRequest(strategy=1), rig.now)
    assert rig.oe.deadline <= rig.now.mono_ns
    rig.oe.on_deadline(rig.now)
    assert [(to, type(a), len(getattr(a, "events", []))) for to, a in answers(rig)] == [
        ("guard", TapeReplay, 500)
    ]
    rig.wait(5)
    assert [(to, type(a)) for to, a in answers(rig)[1:]] == [
        ("strategy.x", OrdersSnapshot),
        ("guard", TapeReplay),
    ]
    rig.wait(100)
    replay = [a for _, a in answers(rig) if isinstance(a, TapeReplay)]
    assert [event.tape_no for part in replay for event in part.events] == list(
        range(1, rig.oe.ledger.tape_no + 1)
    )
    assert [part.more for part in replay] == [True] * (len(replay) - 1) + [False]


@pytest.mark.parametrize(
    "request_",
    [
        TapeRequest(from_no=1),
        TapeRequest(from_no=1, strategy=2),
        SnapshotRequest(),
        SnapshotRequest(strategy=2),
        SnapshotRequest(strategy=-1),
    ],
)
def test_a_strategy_may_only_ask_for_its_own(rig, request_) -> None:
    """Another's orders are none of its business; that is said once."""
    rig.live()
    assert rig.ask(request_, "strategy.x") == [] and rig.ask(request_, "strategy.x") == []
    assert len(rig.out.logged("alert")) == 1
    assert rig.ask(SnapshotRequest(strategy=1), "strategy.unheard_of") == []
    assert len(rig.ask(SnapshotRequest(strategy=1), "strategy.x")) == 1


# -- times


def test_a_trigger_that_is_not_past_is_not_measured(rig) -> None:
    """A worker makes trigger_ns: what it can't be would spoil the latency."""
    mono_ns = rig.now.mono_ns
    triggers = (mono_ns + 1, -5, 1 << 63, mono_ns, 7)
    for trigger_ns in triggers:
        rig.new(trigger_ns=trigger_ns)
    assert [e[3] for e in rig.out.done if e[0] == "write"] == [0, 0, 0, mono_ns, 7]
