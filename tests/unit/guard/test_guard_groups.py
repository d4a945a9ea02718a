"""Order groups at the guard: the mirror of the venue's window, the latch, and the trigger before every cancel."""

import pytest

from engine.guard.kill_switch import LatchScope
from engine.messages.commands import (
    Approved,
    Arm,
    CancelOrder,
    ControlReply,
    GroupAnswer,
    GroupCommand,
    GroupOrder,
    Halt,
    HaltOrders,
    MassCancel,
)
from engine.messages.executions import GroupState, GroupStatus

TOOL = "tool.ctl.1"
GROUP = "6f726472-0000-4000-8000-000000000001"


def status(state="READY", *, usable=True, text=""):
    return {"1": GroupStatus(state=GroupState(state), usable=usable, group_id=GROUP, limit=10, text=text)}


@pytest.fixture
def rig(make):
    """Strategy alpha has a group of 10 contracts in 15 s that can be used."""
    rig = make(strategies__alpha__order_group_limit=10, rate__tier="unlimited")
    rig.groups = status()
    plain = rig.oe_beat
    rig.oe_beat = lambda **changes: plain(**{"groups": rig.groups, **changes})
    rig.oe_beat()
    return rig


def replies(rig):
    return [(m.ok, m.text) for m in rig.take(ControlReply)]


def latched(rig):
    return set(rig.guard.halting.kill.latches)


def test_orders_pass_only_while_the_group_can_be_used(rig) -> None:
    assert rig.control() is None
    rig.groups = status("CREATING", usable=False, text="its order group is being made")
    rig.oe_beat()
    assert rig.control() == "order_group"
    assert rig.control(slot=2) is None


def test_before_order_entry_has_said_how_it_is_nothing_passes(make) -> None:
    assert make(strategies__alpha__order_group_limit=10).control() == "order_group"


def test_at_seventy_percent_it_is_said_and_at_the_limit_nothing_is_added(rig) -> None:
    """The window rolls: after 15 s orders pass again."""
    order = rig.rest(qty=1000)
    rig.fill(order, 600, 100_00)
    rig.rest()
    assert not [text for _, text in rig.out.log_lines if "15 s" in text]
    rig.fill(order, 100, 100_00, cum=700)
    assert len([text for _, text in rig.out.log_lines if "7 contracts filled in 15 s" in text]) == 1
    rig.rest()
    rig.fill(order, 300, 100_00, cum=1000)
    assert rig.control() == "order_group"
    rig.wait(15_100)
    rig.rest()


@pytest.mark.parametrize(
    ("kind", "state", "text"),
    [
        ("canceled", "CANCELED", "ORDER_GROUP_CANCEL"),
        ("rejected", "REJECTED", "EXCEEDED_ORDER_GROUP_RISK_LIMIT"),
    ],
)
def test_a_triggered_group_latches_its_strategy_only(rig, kind, state, text) -> None:
    rig.end(rig.rest(), kind, state, text=text)
    assert latched(rig) == {LatchScope(1)}
    assert rig.control() == "halted" and rig.control(slot=2) is None


def test_the_beat_latches_what_no_event_told(rig) -> None:
    """The guard was away when the event passed."""
    rig.groups = status("TRIGGERED", usable=False, text="ORDER_GROUP_CANCEL")
    rig.oe_beat()
    assert latched(rig) == {LatchScope(1)}


def test_our_own_kill_latches_nothing_more(rig) -> None:
    """Its cancels carry the same text."""
    order = rig.rest()
    rig.give(Halt(request_id="h", why="test", who="me"), TOOL)
    rig.groups = status("KILLED", usable=False)
    rig.oe_beat()
    rig.end(order, text="ORDER_GROUP_CANCEL")
    assert latched(rig) == {LatchScope()}


def test_a_kill_triggers_then_mass_cancels_then_cancels_singly(rig) -> None:
    """Each in its turn, and the halt before all of them."""
    rig.rest()
    rig.rest(slot=2)
    rig.out.all.clear()
    rig.give(Halt(request_id="h", why="test", who="me"), TOOL)
    kinds = (HaltOrders, GroupCommand, Approved)
    sent = [m for m in rig.take() if isinstance(m, kinds)]
    assert [type(m) for m in sent] == [HaltOrders, GroupCommand]
    assert (sent[1].strategy, sent[1].action) == (1, "trigger")
    rig.wait(400)
    requests = [m.request for m in rig.take(Approved)]
    assert [type(request) for request in requests] == [MassCancel]
    rig.wait(400)
    assert {type(m.request) for m in rig.take(Approved)} == {CancelOrder}


def test_a_strategy_without_something_open_is_halted_without_a_trigger(rig) -> None:
    """A trigger needs a reset afterwards; it is not sent for nothing."""
    rig.give(Halt(request_id="h", why="test", who="me"), TOOL)
    assert rig.take(GroupCommand) == []


def test_arming_resets_what_our_kill_triggered(rig) -> None:
    rig.rest()
    rig.give(Halt(request_id="h", why="test", who="me"), TOOL)
    rig.groups = status("KILLED", usable=False)
    rig.oe_beat()
    rig.out.all.clear()
    rig.give(Arm(request_id="a", why="over", who="me"), TOOL)
    assert [m.action for m in rig.take(GroupCommand)] == ["reset_killed"]


def test_arming_is_refused_while_the_venues_trigger_stands(rig) -> None:
    rig.groups = status("TRIGGERED", usable=False, text="ORDER_GROUP_CANCEL")
    rig.oe_beat()
    rig.out.all.clear()
    rig.give(Arm(request_id="a", why="over", who="me", strategy=1), TOOL)
    ((ok, text),) = replies(rig)
    assert not ok and "scripts/ctl group reset --strategy alpha" in text
    assert latched(rig) == {LatchScope(1)}


def test_a_reset_is_answered_when_the_venue_has_answered(rig) -> None:
    rig.groups = status("TRIGGERED", usable=False, text="ORDER_GROUP_CANCEL")
    rig.oe_beat()
    rig.out.all.clear()
    rig.give(GroupOrder(request_id="r", who="me", why="seen", strategy=1, action="reset"), TOOL)
    assert [(m.action, m.request_id) for m in rig.out.all and rig.take(GroupCommand)] == [("reset", "r")]
    rig.wait(400)
    assert replies(rig) == []
    rig.groups = status()
    rig.oe_beat()
    ((ok, text),) = replies(rig)
    assert ok and "still halted" in text


@pytest.mark.parametrize(
    ("slot", "action", "says"),
    [
        (2, "reset", "order_group_limit is not configured"),
        (9, "reset", "no strategy has slot 9"),
        (1, "reset", "there is nothing to reset"),
        (1, "adopt", "there is nothing to adopt"),
    ],
)
def test_what_can_not_be_done_is_said_at_once(rig, slot, action, says) -> None:
    rig.out.all.clear()
    rig.give(GroupOrder(request_id="r", who="me", why="w", strategy=slot, action=action), TOOL)
    ((ok, text),) = replies(rig)
    assert not ok and says in text


def test_order_entrys_no_and_its_silence_are_answers(rig) -> None:
    rig.groups = status("TRIGGERED", usable=False, text="ORDER_GROUP_CANCEL")
    rig.oe_beat()
    order = GroupOrder(request_id="r", who="me", why="w", strategy=1, action="reset")
    rig.give(order, TOOL)
    rig.out.all.clear()
    rig.give(GroupAnswer(request_id="r", text="there is no session"))
    assert replies(rig) == [(False, "there is no session")]
    rig.give(order, TOOL)
    rig.wait(5200)
    ((ok, text),) = replies(rig)
    assert not ok and "has not answered yet" in text


def test_the_status_says_how_the_groups_are(rig) -> None:
    """For `scripts/ctl status`."""
    rig.fill(rig.rest(qty=1000), 300, 100_00)
    text = rig.guard.report.status(rig.now).groups["alpha"]
    assert text == f"READY {GROUP}, 3 of 10 contracts in 15 s"


def test_what_order_entry_sends_about_groups_is_counted_in_the_mirror(make) -> None:
    rig = make(strategies__alpha__order_group_limit=10, rate__tier="Basic", rate__costs={"UOG": 20})
    rig.wait(2000)
    before = rig.guard.budget.available(rig.now.mono_ns)
    rig.oe_beat(groups=status(), group_requests=2)
    assert before - rig.guard.budget.available(rig.now.mono_ns) == 40


@pytest.mark.parametrize("written", [GROUP, GROUP.upper(), GROUP.replace("-", "")])
def test_a_strategy_without_a_group_can_not_join_anothers(rig, written) -> None:
    """Its fills would trigger that one's group; the id is on every beat."""
    assert rig.control(slot=2, group=written) == "order_group"
    assert rig.control(slot=2, group="of-its-own") is None


@pytest.mark.parametrize(
    ("action", "group_id", "says"),
    [
        ("bogus", "", "there is no such action: 'bogus'"),
        ("", "", "there is no such action"),
        ("adopt", "", "printable ASCII"),
        ("adopt", "a\x01526=x", "printable ASCII"),
        ("adopt", "x" * 65, "printable ASCII"),
    ],
)
def test_an_order_about_a_group_that_makes_no_sense_is_refused(rig, action, group_id, says) -> None:
    """Whoever wrote it; the guard goes on."""
    rig.groups = status("DOUBT", usable=False)
    rig.oe_beat()
    rig.out.all.clear()
    order = GroupOrder(request_id="r", who="me", why="w", strategy=1, action=action, group_id=group_id)
    rig.give(order, TOOL)
    ((ok, text),) = replies(rig)
    assert not ok and says in text
    assert rig.take(GroupCommand) == []


def test_what_a_new_order_entry_sent_about_groups_is_counted_whatever_the_old_one_had_sent(make) -> None:
    """Its first beats may be lost, so that its count seems to have stood still."""
    rig = make(strategies__alpha__order_group_limit=10, rate__tier="Basic", rate__costs={"UOG": 20})
    rig.wait(2000)
    rig.oe_beat(groups=status(), group_requests=3, life_ns=1)
    rig.wait(2000)
    before = rig.guard.budget.available(rig.now.mono_ns)
    rig.oe_beat(groups=status(), group_requests=3, life_ns=2)
    assert before - rig.guard.budget.available(rig.now.mono_ns) == 60
    rig.oe_beat(groups=status(), group_requests=3, life_ns=2)
    assert before - rig.guard.budget.available(rig.now.mono_ns) == 60
