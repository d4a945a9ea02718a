"""The kill switch: order of messages, pacing, what passes, latches across restarts; and the operator's desk."""

import msgspec
import pytest
from msgspec import structs

from engine.common.actor import PeerEvent
from engine.common.clock import Now
from engine.guard.records import (
    DayOpened,
    EpochStarted,
    GapAccepted,
    LatchReleased,
    LatchSet,
    PositionAccepted,
)
from engine.messages.commands import (
    AcceptGap,
    Approved,
    Arm,
    ArmOrders,
    CancelAll,
    CancelById,
    CancelOrder,
    ControlReply,
    GuardHello,
    GuardQuery,
    Halt,
    HaltOrders,
    MassCancel,
    NewOrder,
    OpenOrdersQuery,
    Refused,
    StrategyLatched,
    WorkerBeat,
)
from engine.messages.decisions import LatchNote
from engine.messages.executions import EventKind, OrderEvent, OrderState, PositionState
from engine.messages.market_data import FeedBeat

BTC, ETH = "BTC-PERP", "ETH-PERP"
TOOL = "tool.ctl.1"


def halt(rig, **scope):
    rig.out.all.clear()
    rig.give(Halt(request_id="h", why="test", who="me", **scope), TOOL)


def arm(rig, **more):
    rig.out.all.clear()
    rig.give(Arm(request_id="a", why="fixed", who="me", **more), TOOL)
    return rig.take(ControlReply)[0]


def reply(rig, message):
    rig.out.all.clear()
    rig.give(message, TOOL)
    found = [m for _, m, to, _ in rig.out.all if isinstance(m, ControlReply) and to == TOOL]
    assert len(found) == 1
    return found[0]


def cancels(rig):
    return [m.request.orig_cl_ord_id for m in rig.take(Approved) if isinstance(m.request, CancelOrder)]


def test_halting_journals_first_then_order_entry_then_mass_cancel_then_notes(rig):
    """Invariant 6 and the journal rule: latch record, HaltOrders, mass cancel (KalshiNR), LatchNote, StrategyLatched."""
    rig.rest(price=99_00)
    halt(rig)
    wanted = (LatchSet, HaltOrders, Approved, LatchNote, StrategyLatched, StrategyLatched, ControlReply)
    emitted = [m for _, m, _, _ in rig.out.all if isinstance(m, wanted)]
    assert [type(m) for m in emitted] == list(wanted)
    assert isinstance(emitted[2].request, MassCancel)


def test_single_cancels_follow_the_mass_cancel_until_nothing_is_open(rig):
    first, second = rig.rest(price=99_00), rig.rest(price=98_00)
    halt(rig)
    rig.take()
    rig.wait(200)
    assert cancels(rig) == []
    rig.wait(100)
    assert cancels(rig) == [first.request.cl_ord_id, second.request.cl_ord_id]
    rig.end(first)
    rig.wait(1100)
    assert cancels(rig) == [second.request.cl_ord_id]
    rig.end(second)
    rig.wait(2000)
    assert cancels(rig) == [] and not rig.guard.halting.sweeps


def test_retransmission_sessions_have_no_mass_cancel(make):
    rig = make(sessions__order_entry={"target_comp_id": "KalshiRT"})
    order = rig.rest(price=99_00)
    halt(rig)
    assert cancels(rig) == [order.request.cl_ord_id]


def test_halted_refuses_orders_and_replaces_but_cancels_pass(rig):
    order = rig.rest(price=99_00)
    halt(rig)
    assert rig.control(price=99_00) == "halted"
    rig.out.all.clear()
    cancel = CancelOrder(cl_ord_id=rig.ids[1](), orig_cl_ord_id=order.request.cl_ord_id, symbol=BTC, side=1)
    rig.give(cancel, "strategy.alpha")
    assert isinstance(rig.answer(), Approved)


@pytest.mark.parametrize(
    ("scope", "refused"),
    [({"strategy": 1}, {(1, BTC), (1, ETH)}), ({"symbol": BTC}, {(1, BTC), (2, BTC)}),
     ({"strategy": 1, "symbol": ETH}, {(1, ETH)}), ({}, {(1, BTC), (1, ETH), (2, BTC)})],
)  # fmt: skip
def test_a_latch_covers_its_scope_and_no_more(rig, scope, refused):
    halt(rig, **scope)
    got = set()
    for slot, symbol, price in ((1, BTC, 99_00), (1, ETH, 49_0000), (2, BTC, 98_00)):
        if rig.control(slot=slot, symbol=symbol, price=price) == "halted":
            got.add((slot, symbol))
    assert got == refused


def test_a_scoped_halt_cancels_only_its_scope_singly(rig):
    mine = rig.rest(price=99_00)
    rig.rest(slot=2, price=98_00)
    halt(rig, strategy=1)
    assert cancels(rig) == [mine.request.cl_ord_id]


def test_latches_survive_a_restart_and_cancelling_goes_on(make, rig):
    """Only Arm releases: a new guard is halted before it hears anything, and tells order entry again."""
    order = rig.rest(price=99_00)
    halt(rig, strategy=1)
    journal = [m for c, m, _, _ in rig.out.all if c == "journal"]
    again = make(start=False, journal=journal)
    again.tape_no, again.ids = rig.tape_no, rig.ids
    again.guard.start(again.now)
    again.accept()
    held = rig.guard.exposure.open[order.request.cl_ord_id]
    again.snapshot(orders=[snapshot_row(again, order, held)])
    assert [(m.strategy, m.epoch) for m in again.take(HaltOrders)][-1] == (1, again.guard.commander.epoch)
    again.caught_up()
    again.top(BTC, 99_00, 101_00)
    again.beats()
    assert again.control(price=99_00) == "halted"
    assert again.control(slot=2, price=98_00) is None
    again.wait(40)
    assert cancels(again) == [order.request.cl_ord_id]


def snapshot_row(rig, approved, held):
    return OrderEvent(tape_no=rig.tape_no, strategy_no=1, kind=EventKind.NEW, state=OrderState.NEW, wall_ns=1,
                      order=held.order, leaves_qty=held.leaves, **rig.terms(approved))  # fmt: skip


def test_arm_releases_exactly_its_scope(rig):
    halt(rig)
    halt(rig, strategy=1)
    assert not arm(rig, symbol=BTC).ok
    answer = arm(rig)
    assert answer.ok and "still halted: strategy alpha" in answer.text
    assert rig.control(price=99_00) == "halted"
    assert rig.control(slot=2, price=98_00) is None
    assert arm(rig, strategy=1).ok
    assert rig.control(price=99_00) is None


def test_arm_journals_then_tells_order_entry_and_workers(rig):
    halt(rig, strategy=1)
    rig.out.all.clear()
    rig.give(Arm(request_id="a", why="fixed", who="me", strategy=1), TOOL)
    wanted = (LatchReleased, ArmOrders, LatchNote, StrategyLatched, ControlReply)
    emitted = [(m, to) for _, m, to, _ in rig.out.all if isinstance(m, wanted)]
    assert [type(m) for m, _ in emitted] == list(wanted)
    assert emitted[3] == (StrategyLatched(halted=False), "strategy.alpha")


def test_armed_after_a_loss_counts_the_loss_anew(rig):
    rig.hold(100, price=100_00, fee=50_000_000)
    assert rig.control(price=99_00) == "halted"
    assert "counts from now" in arm(rig, strategy=1).text
    assert rig.control(price=99_00) is None


def test_a_loss_is_counted_from_where_the_day_began_across_restarts(make):
    """DayOpened is journalled: a restart does not forget what was lost today."""
    first = make(start=False)
    first.start()
    journal = first.take(channel="journal")
    again = make(start=False, journal=journal)
    again.guard.start(again.now)
    again.accept()
    again.snapshot(positions=[PositionState(symbol=BTC, strategy=1, fees=50_000_000, known=True),
                              PositionState(symbol=BTC, fees=50_000_000, known=True)])  # fmt: skip
    assert "strategy alpha" in again.guard.report.latches()


def test_a_clock_that_jumps_a_day_and_back_forgets_no_loss_limit_of_a_restart(make):
    """What a replay gives is what the guard has, and going back begins no day anew."""
    first = make(start=False)
    first.start()
    day = Now(first.now.wall_ns + 86_400 * 10**9, first.now.mono_ns)
    journal = first.take(channel="journal")
    again = make(start=False, journal=journal)
    again.guard.start(day)
    journal += again.take(channel="journal")
    assert again.guard.state_digest() == make(start=False, journal=journal).guard.state_digest()
    again.accept()
    again.snapshot()
    again.beats()
    entries = again.take(channel="journal")
    assert len({entry.day for entry in entries if isinstance(entry, DayOpened)}) == 1
    assert again.guard.state_digest() == make(start=False, journal=journal + entries).guard.state_digest()


def test_halt_goes_out_even_when_the_journal_fails(rig):
    """F8: a full disk stops new orders, never the kill switch; what was missed is journalled later."""
    rig.rest(price=99_00)
    rig.guard.on_journal_failed("no space left on device", rig.now)
    assert rig.control(price=98_00) == "gate"
    halt(rig)
    sent = [c for c, m, _, _ in rig.out.all]
    assert "journal" not in sent and len(rig.take(HaltOrders)) == 1
    rig.guard.on_journal_ok(rig.now)
    assert len(rig.take(LatchSet)) == 1


def test_what_an_operator_does_while_the_journal_fails_outlives_a_restart(make):
    """A latch that was released meanwhile is not set again by the next start."""
    first = make(start=False)
    first.start()
    before = first.take(channel="journal")
    halt(first)
    first.guard.on_journal_failed("no space left on device", first.now)
    first.give(Arm(request_id="a", why="looked", who="me"), "tool.ctl")
    first.guard.on_journal_ok(first.now)
    assert not first.guard.halting.kill.latches
    again = make(start=False, journal=before + first.take(channel="journal"))
    assert again.guard.state_digest() == first.guard.state_digest()


def test_a_halt_that_was_held_with_its_batch_is_sent_again(rig):
    """A failed commit holds the batch's sends: the next step repeats them."""
    halt(rig)
    rig.take()
    rig.guard.on_journal_failed("disk", rig.now)
    rig.take()
    rig.wait(20)
    rig.wait(100)
    assert rig.take(HaltOrders)


def test_an_undelivered_halt_is_repeated(rig):
    halt(rig)
    message = rig.take(HaltOrders)[0]
    rig.guard.on_peer("oe.orders", "order_entry", PeerEvent.REFUSED, message, rig.now)
    rig.wait(120)
    assert len(rig.take(HaltOrders)) == 1


def test_workers_and_strangers_may_not_operate(rig):
    rig.out.all.clear()
    rig.give(Arm(request_id="a", why="", who="alpha"), "strategy.alpha")
    rig.give(Halt(request_id="a", why="", who="alpha"), "strategy.beta")
    assert [m.control for m in rig.take(Refused)] == ["slot", "slot"]
    assert not rig.guard.halting.kill.latches


def test_cancel_all_of_a_worker_cancels_its_own(rig):
    mine = rig.rest(price=99_00)
    rig.rest(slot=2, price=98_00)
    rig.out.all.clear()
    rig.give(CancelAll(), "strategy.alpha")
    assert cancels(rig) == [mine.request.cl_ord_id]
    later = rig.rest(price=97_00)
    rig.wait(200)
    assert later.request.cl_ord_id not in cancels(rig)


def test_cancel_all_of_an_operator_names_strategy_and_market(rig):
    rig.rest(price=99_00)
    other = rig.rest(slot=2, price=98_00)
    answer = reply(rig, CancelAll(strategy=2, request_id="c"))
    assert answer.ok and answer.text.startswith("1 open orders")
    assert cancels(rig) == [other.request.cl_ord_id]


def test_cancel_by_any_id_of_the_chain(rig):
    order = rig.rest(price=99_00)
    assert reply(rig, CancelById(request_id="c", cl_ord_id=order.request.cl_ord_id, who="me")).ok
    assert not reply(rig, CancelById(request_id="c", cl_ord_id="nothing", who="me")).ok


def test_accept_gap_is_journalled_forwarded_and_opens_the_gate(rig):
    rig.caught_up(caught_up=False, gap="reports before 08:00 can't be asked for")
    assert rig.guard.gate.state == "RECOVERING"
    assert not arm(rig, positions={BTC: 500}).ok
    assert not arm(rig, accept_gap=True, positions={"DOGE": 500}).ok
    rig.out.all.clear()
    rig.give(Arm(request_id="a", why="read it", who="me", accept_gap=True, positions={BTC: 500}), TOOL)
    emitted = [type(m) for _, m, _, _ in rig.out.all]
    assert emitted.index(GapAccepted) < emitted.index(PositionAccepted) < emitted.index(AcceptGap)
    assert rig.guard.gate.state == "TRADING"


def test_queries_answer_with_plain_values(rig):
    order = rig.rest(price=99_00, qty=300)
    data = reply(rig, GuardQuery(request_id="q")).data
    decoded = {name: msgspec.msgpack.decode(raw) for name, raw in data.items()}
    assert decoded["gate"] == "TRADING"
    assert decoded["limits"]["strategy alpha"]["max_position"] == [300, 2000]
    rows = msgspec.msgpack.decode(reply(rig, OpenOrdersQuery(request_id="q")).data["orders"])
    assert [(r["order"], r["leaves_qty"], r["state"]) for r in rows] == [
        (order.request.cl_ord_id, 300, "NEW")
    ]


def test_quiesce_closes_the_gate_and_lets_cancels_pass(rig):
    order = rig.rest(price=99_00)
    rig.guard.quiesce(rig.now)
    assert rig.guard.quiesced and rig.guard.gate.state == "STOPPING"
    assert rig.control(price=98_00) == "gate"
    rig.out.all.clear()
    rig.give(CancelAll(), "strategy.alpha")
    assert cancels(rig) == [order.request.cl_ord_id]


def test_epochs_are_never_reused_and_above_the_wall_clock(make):
    """Epoch = max(last journalled + 1, wall ms), journalled before it is announced."""
    rig = make(start=False)
    rig.guard.start(rig.now)
    emitted = [m for _, m, _, _ in rig.out.all]
    kinds = [type(m) for m in emitted]
    assert kinds.index(EpochStarted) < kinds.index(GuardHello)
    assert emitted[kinds.index(GuardHello)].epoch == rig.now.wall_ns // 1_000_000
    far = EpochStarted(epoch=9_000_000_000_000, wall_ns=0)
    later = make(start=False, journal=[far])
    later.guard.start(later.now)
    assert later.take(GuardHello)[0].epoch == 9_000_000_000_001


def test_hello_is_repeated_until_order_entry_accepts(make):
    rig = make(start=False)
    rig.guard.start(rig.now)
    epoch = rig.take(GuardHello)[0].epoch
    rig.wait(600, beats=False)
    assert [m.epoch for m in rig.take(GuardHello)] == [epoch]
    assert rig.guard.gate.state == "STARTING"


def test_another_epoch_on_the_beat_makes_a_new_one(rig):
    """Order entry restarted: it follows nobody, and must be asked anew."""
    old = rig.guard.commander.epoch
    rig.wait(400)
    rig.take()
    rig.oe_beat(epoch=0)
    assert rig.take(GuardHello)[0].epoch > old
    assert rig.guard.gate.state == "STARTING"


def test_a_silent_worker_is_refused_and_cancelled(make):
    """worker_silent_ms 1000: no new orders, resting cancelled; a hello brings it back."""
    rig = make()
    order = rig.rest(price=99_00)
    other = rig.rest(slot=2, price=98_00)
    rig.take()
    for _ in range(60):
        rig.now = structs.replace(rig.now, mono_ns=rig.now.mono_ns + 20_000_000)
        rig.oe_beat()
        rig.give(FeedBeat(feed=1, feed_no=9, mono_ns=0, session="logged on"))
        rig.give(WorkerBeat(mono_ns=0), "strategy.beta")
        if rig.guard.deadline <= rig.now.mono_ns:
            rig.guard.on_deadline(rig.now)
    assert cancels(rig) == [order.request.cl_ord_id]
    assert rig.control(price=97_00) == "silent"
    rig.give(WorkerBeat(mono_ns=0), "strategy.alpha")
    assert rig.control(price=97_00) == "silent"  # its order is still open
    rig.end(order)
    rig.give(WorkerBeat(mono_ns=0), "strategy.alpha")
    assert rig.control(price=97_00) is None
    assert other.request.cl_ord_id in rig.guard.exposure.open


def test_a_worker_that_is_gone_may_leave_its_orders(make):
    rig = make(strategies__alpha__cancel_on_exit=False)
    rig.rest(price=99_00)
    rig.out.all.clear()
    rig.guard.on_peer("guard.orders", "strategy.alpha", PeerEvent.GONE, None, rig.now)
    assert cancels(rig) == []
    assert rig.control(price=98_00) == "silent"
    rig.give(WorkerBeat(mono_ns=0, hello=True), "strategy.alpha")
    assert rig.control(price=98_00) is None


def test_our_own_standstill_is_not_their_silence(rig):
    """The guard was not running for 3 s: beats wait in its queues."""
    rig.now = structs.replace(rig.now, mono_ns=rig.now.mono_ns + 3_000_000_000)
    rig.guard.on_deadline(rig.now)
    assert rig.guard.gate.state == "TRADING"
    assert not [w for w in rig.guard.workers.by_peer.values() if w.state == "silent"]


def test_a_standstill_puts_nobodys_last_word_into_the_future(rig):
    """The guard was not running for 10 min and heard all of them since: who falls silent then is silent in time."""
    rig.now = structs.replace(rig.now, mono_ns=rig.now.mono_ns + 600_000_000_000)
    rig.beats()
    rig.guard.on_deadline(rig.now)
    assert rig.control() is None
    rig.wait(3000, beats=False)
    assert {w.name: w.state for w in rig.guard.workers.by_peer.values()} == {
        "alpha": "silent",
        "beta": "silent",
    }
    assert {name: used for name, used, _ in rig.guard.gate.uses(rig.now)}["feed_staleness"] == 3000
    assert rig.guard.gate.state != "TRADING"
    assert rig.now.mono_ns - rig.guard.gate.order_entry_ns == 3_000_000_000


def test_a_stalled_cancel_waits_for_order_entrys_session(rig):
    order = rig.rest(price=99_00)
    rig.oe_beat(session="connecting", ready=False)
    halt(rig, strategy=1)
    assert cancels(rig) == []
    rig.wait(200)
    assert cancels(rig) == [order.request.cl_ord_id]


def test_new_order_of_a_tool_is_refused(rig):
    rig.out.all.clear()
    rig.give(NewOrder(cl_ord_id=rig.ids[0](), symbol=BTC, side=1, qty=100, price=99_00), TOOL)
    assert rig.take(Refused)[0].control == "slot"


def test_a_refused_cancel_of_a_sweep_is_not_sent_again_at_once(rig):
    """An order that the venue says it can't cancel (its last report was lost) must not burn the tokens of all others."""
    order = rig.rest()
    assert reply(rig, CancelAll(request_id="c")).ok
    rig.wait(20)
    sent = [m.request for m in rig.take(Approved)]
    assert len(sent) == 1
    rig.event(
        "cancel_rejected",
        "NEW",
        order.request.cl_ord_id,
        leaves_qty=100,
        request_id=sent[0].cl_ord_id,
        **rig.terms(order),
    )
    rig.wait(900)
    assert cancels(rig) == []
    rig.wait(200)
    assert cancels(rig) == [order.request.cl_ord_id]


# -- the halt file


def files(rig):
    return [text for channel, text, _, _ in rig.out.all if channel == "halt file"]


def test_a_halt_is_in_the_halt_file_and_an_arm_takes_it_out(rig):
    """Latched in a plain file as well as the journal; the file says less before order entry is told to forget."""
    halt(rig, strategy=2)
    assert files(rig)[-1].splitlines()[1:] == ["strategy beta: test"]
    halt(rig)
    assert files(rig)[-1].splitlines()[1:] == ["strategy beta: test", "all: test"]
    rig.out.all.clear()
    rig.give(Arm(request_id="a", why="fixed", who="me"), TOOL)
    channels = [
        channel for channel, m, _, _ in rig.out.all if channel == "halt file" or isinstance(m, ArmOrders)
    ]
    assert channels == ["halt file", "oe.orders"]
    arm(rig, strategy=2)
    rig.guard.on_halt_file(None, rig.now)
    assert not files(rig) and rig.control(price=99_00) is None


@pytest.mark.parametrize(
    ("text", "slot_1", "slot_2"),
    [("", "halted", "halted"), ("strategy alpha: by hand", "halted", None), ("whatever", "halted", "halted")],
)
def test_a_halt_file_written_by_hand_is_a_latch_like_any_other(rig, text, slot_1, slot_2):
    """Journalled, told to order entry, cancelled, written back whole; the next change of the file adds to it."""
    order = rig.rest(price=98_00, slot=1)
    rig.out.all.clear()
    rig.guard.on_halt_file(text, rig.now)
    emitted = [m for _, m, _, _ in rig.out.all]
    assert any(isinstance(m, LatchSet) for m in emitted) and any(isinstance(m, HaltOrders) for m in emitted)
    rig.wait(400)
    assert order.request.cl_ord_id in cancels(rig)
    assert (rig.control(price=99_00), rig.control(price=97_00, slot=2)) == (slot_1, slot_2)


def test_taking_the_halt_file_away_releases_nothing(rig):
    """Only arm does: the file is written again."""
    halt(rig)
    rig.out.all.clear()
    rig.guard.on_halt_file(None, rig.now)
    assert files(rig) and rig.control(price=99_00) == "halted"
    assert (
        "alert",
        "the halt file was taken away: that releases nothing, scripts/ctl arm does",
    ) in rig.out.log_lines


def test_a_guard_that_starts_writes_the_latches_of_its_journal_to_the_file(make):
    rig = make(journal=[LatchSet(wall_ns=1, why="before", who="me", strategy=1)], start=False)
    rig.guard.start(rig.now)
    rig.guard.on_halt_file(None, rig.now)
    assert files(rig)[-1].splitlines()[1:] == ["strategy alpha: before"]


def test_a_guard_without_its_journal_is_halted_by_the_file(make):
    rig = make(start=False)
    rig.guard.start(rig.now)
    rig.guard.on_halt_file("all: from another life\n", rig.now)
    rig.start()
    assert rig.guard.gate.state == "HALTED" and rig.control(price=99_00) == "halted"


def test_the_status_counts_what_is_still_open_of_each_halted_scope(rig):
    order = rig.rest(price=98_00)
    halt(rig, strategy=1)
    assert rig.guard.report.status(rig.now).still_open == {"strategy alpha": 1}
    rig.end(order)
    assert rig.guard.report.status(rig.now).still_open == {"strategy alpha": 0}


def test_arming_needs_a_reason_and_a_halt_without_one_is_obeyed_all_the_same(rig):
    """Who and why stay in the journal; but nothing is asked of somebody who wants to stop."""
    answer = reply(rig, Halt(request_id="h", why=" ", who="me"))
    assert answer.ok and rig.guard.halting.kill.everything == "no reason given"
    answer = reply(rig, Arm(request_id="a", why=" ", who="me"))
    assert not answer.ok and answer.text == "arming needs a reason"
    assert rig.guard.halting.kill.everything


def test_what_is_halted_instead_is_named(rig):
    reply(rig, Halt(request_id="h", why="x", who="me", symbol=BTC))
    assert (
        reply(rig, Arm(request_id="a", why="y", who="me")).text == f"all is not halted; halted: market {BTC}"
    )
