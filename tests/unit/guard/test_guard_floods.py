"""A worker over its message rate: halted, its orders cancelled, what was dropped answered by one counted refusal."""

from engine.guard.kill_switch import LatchScope, Sweep
from engine.messages.commands import Approved, CancelAll, CancelOrder, Refused
from engine.messages.decisions import RefusalNote

ALPHA = "strategy.alpha"


def flood(rig, count, peer=ALPHA, channel="guard.orders"):
    rig.guard.on_flood(channel, peer, count, rig.now)
    rig.guard.on_drained(rig.now)


def test_the_flooder_is_halted_and_its_orders_are_cancelled_the_others_trade_on(rig):
    resting = rig.rest(price=99_00)
    other = rig.rest(price=99_00, slot=2)
    rig.out.all.clear()
    flood(rig, 5000)
    cancelled = [m.request.orig_cl_ord_id for m in rig.take(Approved) if isinstance(m.request, CancelOrder)]
    assert cancelled == [resting.request.cl_ord_id] and other.request.cl_ord_id not in cancelled
    assert rig.control(price=99_00) == "halted"
    assert rig.control(price=99_00, slot=2) is None
    assert "more messages than 5000 a second" in str(rig.guard.report.latches())


def test_what_was_dropped_is_answered_once_when_the_flood_is_over(rig):
    for _ in range(20):
        flood(rig, 1000)
        rig.wait(60)
    assert not [m for m in rig.take(Refused) if m.control == "message_rate"]
    rig.wait(2000)
    sent = rig.out.all[:]
    refused = [(m, to) for _, m, to, _ in sent if isinstance(m, Refused)]
    assert [(m.control, m.limit, m.value, to) for m, to in refused] == [("message_rate", 5000, 20_000, ALPHA)]
    assert [m.count for _, m, _, _ in sent if isinstance(m, RefusalNote)] == [1]
    assert rig.guard.status(rig.now).metrics["discarded"] == 20_000


def test_a_flood_on_another_channel_or_by_another_name_halts_nobody(rig):
    flood(rig, 5000, channel="oe.ask")
    flood(rig, 5000, peer="tool.ctl.1")
    assert not rig.guard.halting.kill.latches


def test_cancel_all_again_and_again_is_one_sweep(rig):
    """While nothing can leave, each one replaces the one before; one of a market is another than one of everything."""
    resting = rig.rest(price=99_00)
    rig.oe_beat(session="connecting")
    for _ in range(50):
        rig.give(CancelAll(), ALPHA)
        rig.give(CancelAll(symbol="BTC-PERP"), ALPHA)
    assert len(rig.guard.halting.sweeps) == 2
    rig.out.all.clear()
    rig.wait(300)
    cancelled = [m.request.orig_cl_ord_id for m in rig.take(Approved)]
    assert cancelled == [resting.request.cl_ord_id]


def test_a_sweep_of_one_order_ends_no_sweep_of_others(rig):
    """Each of these means one order of the same scope; both are cancelled."""
    orders = [rig.rest(price=price).request.cl_ord_id for price in (99_00, 98_00)]
    rig.oe_beat(session="connecting")
    for order in orders:
        rig.guard.halting.sweep(Sweep(LatchScope(1, "BTC-PERP"), "test", rig.now.mono_ns, orders=(order,)))
    rig.out.all.clear()
    rig.wait(300)
    assert sorted(m.request.orig_cl_ord_id for m in rig.take(Approved)) == sorted(orders)


def test_a_flooder_that_was_armed_and_floods_again_is_halted_again(rig):
    flood(rig, 10)
    rig.wait(2000)
    for scope in list(rig.guard.halting.kill.latches):
        rig.guard.halting.arm(scope, "mended", "me", rig.now)
    flood(rig, 10)
    assert len(rig.guard.halting.kill.latches) == 1


def test_it_is_told_for_how_long_the_oldest_unknown_order_is_unknown(rig):
    """What the alert of old UNKNOWN orders rests on; events about it (its cancel, say) do not make it younger."""
    order = rig.rest(price=99_00)
    assert rig.guard.status(rig.now).metrics["unknown_ms"] == 0
    terms = {**rig.terms(order), "leaves_qty": 100}
    rig.event("unknown", "UNKNOWN", order.request.cl_ord_id, **terms)
    rig.wait(2000)
    rig.event("cancel_submitted", "UNKNOWN", order.request.cl_ord_id, request_id="oe-1", **terms)
    rig.wait(1000)
    assert rig.guard.status(rig.now).metrics["unknown_ms"] == 3000
    rig.end(order)
    assert rig.guard.status(rig.now).metrics["unknown_ms"] == 0
