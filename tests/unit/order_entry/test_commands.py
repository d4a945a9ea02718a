"""Approved commands: what passes, what does not, in which order the effects come."""

import time

import pytest

from engine.common.ids import ClOrdIDs
from engine.messages.commands import (
    ArmOrders,
    EpochAccepted,
    GuardHello,
    HaltOrders,
    MassCancel,
    NewOrder,
    NotAccepted,
)


def test_a_new_order_is_recorded_then_published_and_written(rig) -> None:
    """The journal has it before anyone else does; the wire text is literal."""
    rig.new("0192f0c4-1111-8001-8000-000000000001", trigger_ns=42)
    assert [entry[:2] for entry in rig.out.done if entry[0] != "log"] == [
        ("record", rig.tape[0]),
        ("send", "oe.tape"),
        ("write", "order_entry"),
    ]
    assert rig.out.done[1][3] == "slot.001"
    assert rig.out.done[2][3] == 42
    assert rig.kinds == ["submitted SUBMITTING"]
    assert rig.wire == [
        "35=D|11=0192f0c4-1111-8001-8000-000000000001|38=10.00|40=2|44=19.5000|54=1|55=BTC-PERP|59=1|2964=1|21006=Y|"
    ]


def refused(rig) -> tuple[list[str], list[str]]:
    return [a.reason for a in rig.answers() if isinstance(a, NotAccepted)], rig.kinds


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epoch": 0}, "epoch"),
        ({"epoch": 2}, "epoch"),
        ({"no": 0}, "seen"),
        ({"expires_ns": 4_999_999_999}, "expired"),
    ],
)
def test_a_stale_command_is_refused_and_told_on_the_tape(rig, change, reason) -> None:
    """Commands can't arrive stale: epoch, number, expiry."""
    rig.approve(NewOrder(cl_ord_id=rig.ids(), symbol="BTC-PERP", side=1, qty=100, price=1), **change)
    assert refused(rig) == ([reason], ["not_sent NOT_SENT"])
    assert rig.wire == [] and rig.tape[0].text.startswith(f"{reason}: ")
    assert rig.oe.ledger.orders == {}


def test_a_command_number_passes_once(rig) -> None:
    """A repeated command leaves no second order and does not spoil the first one's state."""
    cl_ord_id = rig.new()
    rig.no -= 1
    rig.new(cl_ord_id)
    assert refused(rig) == (["seen"], ["submitted SUBMITTING"])
    assert len(rig.wire) == 1


def test_a_cl_ord_id_is_never_used_twice_even_after_a_restart(rig) -> None:
    """Invariant 2; also for ids of orders that are over, and of requests."""
    cl_ord_id = rig.live()
    cancel_id = rig.cancel(cl_ord_id)
    rig.report(cancel_id, "4", "4", orig_cl_ord_id=cl_ord_id)
    again = rig.restarted().up()
    for used in (cl_ord_id, cancel_id):
        again.new(used)
    assert refused(again) == (["duplicate", "duplicate"], [])
    assert again.wire == []


def test_a_halt_stops_new_and_replacing_orders_of_its_scope_and_no_cancel(rig) -> None:
    """Invariant 6: order entry latches too, until it is armed."""
    cl_ord_id = rig.live()
    rig.guard(HaltOrders(epoch=1, why="loss", strategy=2))
    rig.new()
    rig.guard(HaltOrders(epoch=1, why="news", symbol="BTC-PERP"))
    rig.new()
    rig.replace(cl_ord_id, 500)
    rig.cancel(cl_ord_id)
    assert [w[:5] for w in rig.wire] == ["35=D|", "35=D|", "35=F|"]
    assert [(a.reason, a.text) for a in rig.answers()] == [("halted", "news"), ("halted", "news")]
    rig.guard(ArmOrders(epoch=1, why="ok", symbol="BTC-PERP"))
    rig.new()
    assert rig.wire[-1][:5] == "35=D|"
    assert rig.oe.status(rig.now).state == "HALTED"


def test_what_the_guard_sends_to_flatten_passes_latches(rig) -> None:
    """It brings the account towards zero; only the guard's own slot may say so, and a shutdown stops it too."""
    rig.guard(HaltOrders(epoch=1, why="kill"))
    rig.guard(HaltOrders(epoch=1, why="flatten", symbol="BTC-PERP"))
    ids = ClOrdIDs(0, 1_795_514_400_000, 5)
    order = {"symbol": "BTC-PERP", "side": 2, "qty": 1000, "price": 195_000, "tif": "3"}
    rig.approve(NewOrder(cl_ord_id=ids(), **order), strategy=0, reducing=True)
    assert [w[:5] for w in rig.wire] == ["35=D|"]
    rig.approve(NewOrder(cl_ord_id=ids(), **order), strategy=0)
    rig.approve(NewOrder(cl_ord_id=rig.ids(), **order), strategy=1, reducing=True)
    rig.oe.commands.closing = True
    rig.approve(NewOrder(cl_ord_id=ids(), **order), strategy=0, reducing=True)
    assert [a.reason for a in rig.answers()] == ["halted"] * 3
    assert len(rig.wire) == 1


def test_a_halt_of_an_old_epoch_is_obeyed_but_its_arm_is_not(rig) -> None:
    """A halt can only make less leave; to release takes the guard that is in charge."""
    rig.guard(HaltOrders(epoch=0, why="old"))
    rig.guard(ArmOrders(epoch=0, why="old"))
    rig.new()
    assert [a.reason for a in rig.answers()] == ["epoch", "halted"]


def test_a_newer_epoch_fences_the_older(rig) -> None:
    """A guard that was replaced can send nothing any more; the same guard may ask again."""
    rig.guard(GuardHello(epoch=5))
    rig.guard(GuardHello(epoch=5))
    rig.guard(GuardHello(epoch=4))
    rig.new()
    tape_no = rig.oe.ledger.tape_no - 1
    assert rig.answers()[:2] == [EpochAccepted(epoch=5, tape_no=tape_no)] * 2
    assert [a.reason for a in rig.answers()[2:]] == ["epoch", "epoch"]
    assert rig.beat.epoch == 5


def test_without_a_session_nothing_is_sent(rig) -> None:
    """New order, replace, cancel and mass cancel are refused alike; only the new order is on the tape."""
    cl_ord_id = rig.live()
    rig.drop()
    rig.out.done.clear()
    rig.new()
    rig.cancel(cl_ord_id)
    rig.approve(MassCancel(cl_ord_id=rig.ids()))
    assert refused(rig) == (["session"] * 3, ["not_sent NOT_SENT"])


def test_a_replace_or_cancel_needs_an_open_order(rig) -> None:
    """Unknown, over, and in doubt (replace only): refused with the reason."""
    over = rig.live()
    rig.report(over, "4", "4")
    doubt = rig.new()
    rig.report(doubt, "8", "8", text="EXCHANGE_UNAVAILABLE", ord_rej_reason=99)
    wire = len(rig.wire)
    rig.cancel("nobody")
    rig.cancel(over)
    rig.replace(over, 100)
    rig.replace(doubt, 100)
    assert [a.reason for a in rig.answers()] == ["unknown_order"] * 4
    assert [a.text for a in rig.answers()][1:] == [
        "it is CANCELED",
        "it is CANCELED",
        "its outcome is unknown: it can only be cancelled",
    ]
    assert len(rig.wire) == wire
    rig.cancel(doubt)
    assert len(rig.wire) == wire + 1


def test_cancel_and_replace_name_the_id_in_force(rig) -> None:
    """Any id of the chain names the order; the wire has the ClOrdID in force and the OrderID."""
    first = rig.live(qty=1000)
    second = rig.replace(first, 800)
    rig.report(second, "5", "0", orig_cl_ord_id=first, order_id="V-9")
    third = rig.cancel(first)
    assert rig.wire[-1] == f"35=F|11={third}|37=V-9|41={second}|54=1|55=BTC-PERP|"
    assert rig.state(first) == "PENDING_CANCEL"


def test_no_control_character_gets_into_a_message(rig) -> None:
    """SOH in a symbol or id would be another field."""
    for cl_ord_id, symbol in (
        ("a\x0144=1", "BTC-PERP"),
        ("a", "B\x01"),
        ("", "B"),
        ("a" * 65, "B"),
        ("ä", "B"),
    ):
        rig.approve(NewOrder(cl_ord_id=cl_ord_id, symbol=symbol, side=1, qty=100, price=1))
    assert refused(rig) == (["malformed"] * 5, []) and rig.wire == []


def test_a_broken_journal_stops_new_orders_but_no_cancel(rig) -> None:
    """F8: cancels go unrecorded and counted; it opens again by itself."""
    cl_ord_id = rig.live()
    rig.oe.on_journal_failed("disk full", rig.now)
    assert not rig.beat.ready and rig.beat.detail == "the journal can't be written"
    rig.new()
    rig.replace(cl_ord_id, 100)
    rig.cancel(cl_ord_id)
    assert [a.reason for a in rig.answers()] == ["journal", "journal"]
    assert rig.wire[-1][:5] == "35=F|"
    assert rig.oe.status(rig.now).metrics["unrecorded"] == 1
    rig.oe.on_journal_ok(rig.now)
    assert rig.beat.ready
    rig.new()
    assert rig.wire[-1][:5] == "35=D|"


def test_mass_cancel_is_for_nr_only(rig, make_rig) -> None:
    """KalshiRT has none: refused; on NR a refusal of it is an alert."""
    rig.approve(MassCancel(cl_ord_id="m1"))
    assert rig.wire == ["35=q|11=m1|530=6|"]
    rig.mass_report("m1", "0")
    assert rig.out.logged("alert") == ["mass cancel rejected, reason "]
    other = make_rig(session={"target_comp_id": "KalshiRT"}).up()
    other.approve(MassCancel(cl_ord_id="m1"))
    assert other.answers()[-1].text == "KalshiRT has no mass cancel" and other.wire == []


def test_a_dry_run_says_what_it_would_send(make_rig) -> None:
    """SUBMITTED, the FIX text, NOT_SENT; no session at all."""
    rig = make_rig(dry_run=True)
    rig.oe.start(rig.now)
    rig.guard(GuardHello(epoch=1))
    assert rig.beat.ready
    rig.out.done.clear()
    rig.new("0192f0c4-1111-8001-8000-000000000001")
    assert rig.kinds == ["submitted SUBMITTING", "not_sent NOT_SENT"]
    assert rig.tape[1].text == "dry run"
    (text,) = rig.out.logged("info")
    assert text.startswith("would send: 8=FIXT.1.1|9=") and "|35=D|49=key-***|56=KalshiNR|34=1|52=" in text
    assert "|11=0192f0c4-1111-8001-8000-000000000001|38=10.00|" in text
    rig.oe.quiesce(rig.now)
    rig.oe.stop(rig.now)
    assert rig.oe.quiesced and rig.oe.stopped


def test_a_command_takes_little_time(rig) -> None:
    """Command to bytes: the median is far below what the slowest machine would need for a wasteful path."""
    times = []
    for _ in range(500):
        begin = time.perf_counter_ns()
        rig.new()
        times.append(time.perf_counter_ns() - begin)
    assert sorted(times)[250] < 500_000
    assert len(rig.wire) == 500


# -- the halt file


def test_the_halt_file_latches_order_entry_whatever_the_guard_does(rig) -> None:
    """With everything else down; the file's going releases nothing, the guard's Arm does."""
    rig.oe.on_halt_file("strategy 1: by hand\n", rig.now)
    rig.new()
    assert rig.client.wire == [] and refused(rig)[0] == ["halted"]
    rig.oe.on_halt_file(None, rig.now)
    rig.new()
    assert rig.client.wire == []
    rig.guard(ArmOrders(epoch=1, why="fine", strategy=1))
    rig.new()
    assert len(rig.client.wire) == 1


def test_a_guard_that_has_not_read_the_halt_file_yet_does_not_heal_it_away(rig) -> None:
    """Healing is for latches that nobody has; an operator's Arm releases at once."""
    rig.oe.on_halt_file("", rig.now)
    rig.guard(ArmOrders(epoch=1, why="the guard has no such latch", healing=True))
    rig.new()
    assert rig.client.wire == []
    rig.guard(ArmOrders(epoch=1, why="armed"))
    rig.new()
    assert len(rig.client.wire) == 1


@pytest.mark.parametrize("cl_ord_id", ["a\x0111=b", "", "x" * 65, "caf\u00e9"])
def test_an_id_that_can_not_be_sent_reaches_neither_journal_nor_wire(rig, cl_ord_id) -> None:
    """Whatever else stands against the command."""
    rig.guard(HaltOrders(epoch=1, why="stop"))
    rig.out.done.clear()
    wire, records = len(rig.wire), len(rig.out.journal)
    rig.approve(NewOrder(cl_ord_id=cl_ord_id, symbol="BTC-PERP", side=1, qty=100, price=1))
    rig.approve(NewOrder(cl_ord_id=cl_ord_id, symbol="BTC-PERP", side=1, qty=100, price=1), expires_ns=1)
    rig.approve(MassCancel(cl_ord_id=cl_ord_id))
    assert (len(rig.wire), len(rig.out.journal)) == (wire, records)
    assert len(rig.answers()) == 3
