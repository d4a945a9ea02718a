"""Order groups: one for a strategy, made once; one request at a time; nothing is ever made twice."""

import pytest

from engine.fix.events import LoggedOn
from engine.fix.message import FixMessage
from engine.kalshi.messages import OrderGroupResponse
from engine.messages.commands import (
    ArmOrders,
    GroupAnswer,
    GroupCommand,
    GuardHello,
    HaltOrders,
    NewOrder,
)
from engine.messages.executions import GroupState
from engine.order_entry.records import GroupRecord

A, B = "6f726472-0000-4000-8000-000000000001", "6f726472-0000-4000-8000-000000000002"
CREATE = "35=UOG|20131=1|20132={}|"
UPDATE = "35=UOG|20131=5|20132={}|20130={}|"


def sent(rig) -> list[str]:
    """UOG messages so far, fields in any order."""
    return ["|".join(sorted(text.strip("|").split("|"))) for text in rig.wire if text.startswith("35=UOG")]


def uog(action: int, limit=None, group="") -> str:
    fields = ["35=UOG", f"20131={action}"]
    fields += [f"20132={limit}"] if limit else []
    fields += [f"20130={group}"] if group else []
    return "|".join(sorted(fields))


def answer(rig, group: str, limit=None) -> None:
    rig.app(OrderGroupResponse(order_group_id=group, order_group_contracts_limit=limit))


def refuse(rig, reason: int, text: str = "no", ref=None) -> None:
    rig.business_reject(rig.client.seq if ref is None else ref, reason)


def command(rig, action: str, slot: int = 1, **more) -> list[str]:
    rig.out.done.clear()
    rig.guard(GroupCommand(epoch=1, strategy=slot, action=action, why="test", request_id="r", **more))
    return [m.text for m in rig.answers() if isinstance(m, GroupAnswer)]


def state(rig, slot: int = 1) -> str:
    return rig.oe.groups.of(slot).state.value


@pytest.fixture
def ready(make_rig):
    """Strategy 1 has group A of 5 contracts in 15 s."""
    rig = make_rig(groups={1: 5}).up()
    answer(rig, A, 5)
    rig.out.done.clear()
    return rig


def test_a_group_is_made_once_and_orders_carry_it(ready) -> None:
    """526 on every order of the strategy, whatever it asked for; none on another's."""
    assert sent(ready) == [uog(1, 5)]
    ready.new(group="of my own")
    assert "|526=" + A + "|" in ready.wire[-1]
    assert ready.tape[-1].group == A
    other = NewOrder(cl_ord_id=ready.ids(), symbol="BTC-PERP", side=1, qty=100, price=1)
    ready.approve(other, strategy=2)
    assert "526=" not in ready.wire[-1]
    assert ready.oe.groups.requests == 1


def test_no_order_leaves_before_the_group_is_there(make_rig) -> None:
    """It is refused, not sent without its group."""
    rig = make_rig(groups={1: 5}).up()
    order = rig.new()
    assert rig.state(order) == "NOT_SENT"
    assert "its order group is being made" in rig.tape[-1].text
    assert not any(text.startswith("35=D") for text in rig.wire)


def test_a_restart_uses_the_group_of_before(ready) -> None:
    """It is looked at by setting its limit, and not made again."""
    again = ready.restarted(groups={1: 7}).up()
    assert sent(again) == [uog(5, 7, A)]
    order = again.new()
    assert again.state(order) == "NOT_SENT"
    answer(again, A, 7)
    assert again.state(again.new()) == "SUBMITTING"
    assert again.oe.groups.of(1).limit == 7


def test_a_group_that_the_venue_dropped_is_made_anew(ready) -> None:
    """It says so itself: nothing can be doubled."""
    again = ready.restarted(groups={1: 5}).up()
    refuse(again, 1)
    again.wait(31_000)
    assert sent(again) == [uog(5, 5, A), uog(1, 5)]
    answer(again, B, 5)
    again.new()
    assert f"|526={B}|" in again.wire[-1]


def test_one_request_is_outstanding_at_a_time_and_answers_come_in_order(make_rig) -> None:
    rig = make_rig(groups={1: 5, 2: 6}).up()
    assert sent(rig) == [uog(1, 5)]
    rig.wait(5000)
    assert sent(rig) == [uog(1, 5)]
    answer(rig, A, 5)
    assert sent(rig) == [uog(1, 5), uog(1, 6)]
    answer(rig, B, 6)
    assert (rig.oe.groups.of(1).group_id, rig.oe.groups.of(2).group_id) == (A, B)


@pytest.mark.parametrize("how", ["time", "session", "restart"])
def test_a_create_without_an_answer_is_never_sent_again(make_rig, how) -> None:
    """The group may exist: only an operator says what is."""
    rig = make_rig(groups={1: 5}).up()
    if how == "time":
        rig.wait(21_000)
    elif how == "session":
        rig.drop()
        rig.logon()
    else:
        rig = rig.restarted(groups={1: 5}).up()
    assert state(rig) == "DOUBT"
    creates = len(sent(rig))
    rig.wait(60_000)
    rig.drop()
    rig.logon()
    rig.wait(60_000)
    again = rig.restarted(groups={1: 5}).up()
    again.wait(60_000)
    assert len(sent(rig)) == creates and sent(again) == []
    assert again.state(again.new()) == "NOT_SENT"
    assert "scripts/ctl group adopt" in again.tape[-1].text
    assert command(again, "adopt", group_id=A) == []
    assert sent(again) == [uog(5, 5, A)]
    answer(again, A, 5)
    again.new()
    assert f"|526={A}|" in again.wire[-1]
    assert again.restarted(groups={1: 5}).oe.groups.of(1).group_id == A


def test_an_operator_may_have_it_made_anew(make_rig) -> None:
    rig = make_rig(groups={1: 5}).up()
    rig.wait(21_000)
    assert command(rig, "new") == []
    assert sent(rig) == [uog(1, 5), uog(1, 5)]
    assert command(rig, "new") == ["its order group is not in doubt"]


def test_a_late_answer_settles_the_doubt_and_is_nobody_elses(make_rig) -> None:
    """Until then no other create leaves: its answer could not be told from the late one."""
    rig = make_rig(groups={1: 5, 2: 6}).up()
    rig.wait(21_000)
    assert (state(rig, 1), sent(rig)) == ("DOUBT", [uog(1, 5)])
    answer(rig, A, 5)
    assert (state(rig, 1), rig.oe.groups.of(1).group_id) == ("READY", A)
    assert sent(rig)[1:] == [uog(1, 6)]
    answer(rig, B, 6)
    assert rig.oe.groups.of(2).group_id == B


def test_another_strategys_group_is_made_on_the_next_session(make_rig) -> None:
    """KalshiNR answers nothing of an earlier session."""
    rig = make_rig(groups={1: 5, 2: 6}).up()
    rig.drop()
    rig.logon()
    assert sent(rig) == [uog(1, 5), uog(1, 6)]
    answer(rig, B, 6)
    assert (state(rig, 1), rig.oe.groups.of(2).group_id) == ("DOUBT", B)


def test_on_a_session_with_retransmission_the_lost_answer_comes(make_rig) -> None:
    """KalshiRT brings it after the Logon, before any other create."""
    rig = make_rig(groups={1: 5, 2: 6}, session={"target_comp_id": "KalshiRT"}).up()
    rig.drop()
    rig.client.logged_on, rig.client.began_anew = True, False
    rig.feed(LoggedOn(FixMessage(b"", "FIXT.1.1", [(35, "A"), (141, "N")])))
    assert (state(rig, 1), sent(rig)) == ("DOUBT", [uog(1, 5)])
    answer(rig, A, 5)
    assert (state(rig, 1), sent(rig)) == ("READY", [uog(1, 5), uog(1, 6)])


@pytest.mark.parametrize("as_reject", [True, False])
def test_a_refused_create_is_tried_again_later(make_rig, as_reject) -> None:
    """35=j and 35=3 say that it was not applied; they are no order's."""
    rig = make_rig(groups={1: 5}).up()
    if as_reject:
        rig.reject(rig.client.seq, "bad")
    else:
        refuse(rig, 8)
    assert (state(rig), sent(rig)) == ("ABSENT", [uog(1, 5)])
    rig.wait(31_000)
    assert sent(rig) == [uog(1, 5)] * 2


@pytest.mark.parametrize(
    ("exec_type", "status", "text"),
    [("4", "4", "ORDER_GROUP_CANCEL"), ("8", "8", "EXCEEDED_ORDER_GROUP_RISK_LIMIT")],
)
def test_a_group_that_the_venue_triggered_takes_nothing_until_it_is_reset(
    ready, exec_type, status, text
) -> None:
    """Across a restart, too."""
    order = ready.new() if exec_type == "8" else ready.live()
    ready.report(order, exec_type, status, text=text)
    assert state(ready) == "TRIGGERED"
    again = ready.restarted(groups={1: 5}).up()
    answer(again, A, 5)
    assert state(again) == "TRIGGERED"
    again.ids = ready.ids
    assert again.state(again.new()) == "NOT_SENT"
    assert text in again.tape[-1].text
    assert command(again, "reset_killed") == [f"its order group was triggered by the venue: {text}"]
    assert state(again) == "TRIGGERED"
    assert command(again, "reset") == []
    assert sent(again)[-1] == uog(2, group=A) and state(again) == "TRIGGERED"
    answer(again, A)
    assert state(again) == "READY"
    assert again.state(again.new()) == "SUBMITTING"


def test_a_reset_without_a_session_is_refused_and_not_kept_for_later(ready) -> None:
    """The operator says it again when there is one: what he saw may be over by then."""
    command(ready, "trigger")
    answer(ready, A)
    ready.drop()
    assert "there is no session" in command(ready, "reset")[0]
    ready.logon()
    ready.wait(5000)
    assert (state(ready), sent(ready)[-1]) == ("KILLED", uog(4, group=A))


def test_a_kill_triggers_at_once_and_goes_before_all_else(make_rig) -> None:
    """Also while an answer is awaited: then right after it; arming resets it."""
    rig = make_rig(groups={1: 5, 2: 6}).up()
    answer(rig, A, 5)
    order = rig.live()
    command(rig, "trigger")
    assert (state(rig), sent(rig)[-1]) == ("KILLED", uog(1, 6))
    answer(rig, B, 6)
    assert sent(rig)[-1] == uog(4, group=A)
    rig.report(order, "4", "4", text="ORDER_GROUP_CANCEL")
    answer(rig, A)
    assert state(rig) == "KILLED"
    assert rig.state(rig.new()) == "NOT_SENT"
    assert command(rig, "reset_killed") == []
    answer(rig, A)
    assert state(rig) == "READY"


def test_a_kill_amid_a_reset_wins(ready) -> None:
    command(ready, "trigger")
    answer(ready, A)
    command(ready, "reset")
    command(ready, "trigger")
    answer(ready, A)  # the reset's
    assert (state(ready), sent(ready)[-1]) == ("KILLED", uog(4, group=A))


def test_a_trigger_that_was_refused_for_its_rate_is_sent_again(ready) -> None:
    command(ready, "trigger")
    refuse(ready, 8)
    ready.wait(1100)
    assert sent(ready)[-2:] == [uog(4, group=A)] * 2


def test_a_group_command_of_an_old_guard_is_not_obeyed(ready) -> None:
    ready.guard(GroupCommand(epoch=0, strategy=1, action="reset", why="old"))
    assert len(sent(ready)) == 1
    assert ready.answers()[-1].reason == "epoch"


def test_the_beat_says_how_the_groups_are(ready) -> None:
    ready.wait(200)
    status = ready.beat.groups["1"]
    assert (status.state, status.usable, status.group_id, status.limit) == ("READY", True, A, 5)
    command(ready, "trigger")
    assert not ready.beat.groups["1"].usable
    assert ready.beat.group_requests == 2


@pytest.mark.parametrize("strategy", [None, 1])
def test_no_group_is_made_for_a_strategy_that_is_halted(make_rig, strategy) -> None:
    """After the halt no create leaves; it does when the latch is gone, and the operator reads why not before."""
    rig = make_rig(groups={1: 5})
    rig.oe.start(rig.now)
    rig.guard(GuardHello(epoch=1))
    rig.guard(HaltOrders(epoch=1, strategy=strategy, why="stop"))
    rig.logon()
    rig.wait(5000)
    assert sent(rig) == []
    assert "is not made now: it is halted: stop" in rig.beat.groups["1"].text
    rig.guard(ArmOrders(epoch=1, strategy=strategy, why="go"))
    rig.wait(10)
    assert sent(rig) == [uog(1, 5)]


def test_a_halt_of_one_market_or_of_another_strategy_keeps_no_group_from_being_made(make_rig) -> None:
    """The group serves the other markets."""
    rig = make_rig(groups={1: 5})
    rig.oe.start(rig.now)
    rig.guard(HaltOrders(epoch=1, symbol="BTC-PERP", why="stop"))
    rig.guard(HaltOrders(epoch=1, strategy=2, why="stop"))
    rig.logon()
    assert sent(rig) == [uog(1, 5)]


def test_no_group_is_made_while_its_create_can_not_be_journalled(make_rig) -> None:
    """A restart would not know that it was asked for, and make a second one."""
    rig = make_rig(groups={1: 5})
    rig.oe.start(rig.now)
    rig.oe.on_journal_failed("disk full", rig.now)
    rig.logon()
    rig.wait(5000)
    assert (sent(rig), state(rig)) == ([], "ABSENT")
    rig.oe.on_journal_ok(rig.now)
    rig.wait(10)
    assert sent(rig) == [uog(1, 5)]


def test_on_the_way_down_only_triggers_leave(make_rig) -> None:
    """No create, no look, no reset."""
    rig = make_rig(groups={1: 5, 2: 6}).up()
    answer(rig, A, 5)
    answer(rig, B, 6)
    rig.live()
    command(rig, "trigger")
    answer(rig, A)
    rig.oe.quiesce(rig.now)
    before = len(sent(rig))
    assert command(rig, "reset") == ["its order group can't be reset now: order entry is stopping"]
    command(rig, "reset_killed")
    command(rig, "trigger", slot=2)
    rig.wait(3000)
    assert sent(rig)[before:] == [uog(4, group=B)]


def test_no_create_leaves_on_the_way_down(make_rig) -> None:
    rig = make_rig(groups={1: 5, 2: 6}).up()
    rig.oe.quiesce(rig.now)
    answer(rig, A, 5)
    rig.wait(3000)
    assert sent(rig) == [uog(1, 5)]


@pytest.mark.parametrize("waits_for", ["session", "answer"])
def test_a_reset_that_waits_is_dropped_by_the_next_halt(make_rig, waits_for) -> None:
    """Arm, then a halt before the reset has left: the group stays triggered."""
    rig = make_rig(groups={1: 5, 2: 6}).up()
    answer(rig, A, 5)
    command(rig, "trigger")
    answer(rig, B, 6)
    answer(rig, A)
    if waits_for == "session":
        rig.drop()
    else:
        command(rig, "trigger", slot=2)  # outstanding
    command(rig, "reset_killed")
    command(rig, "trigger")
    before = len(sent(rig))
    if waits_for == "session":
        rig.logon()
    for group in (B, A, B, A, B, A):
        answer(rig, group)
    assert uog(4, group=A) in sent(rig)[before:] and uog(2, group=A) not in sent(rig)
    assert state(rig) == "KILLED"


@pytest.mark.parametrize("ends", ["refused", "unanswered", "session"])
@pytest.mark.parametrize("halt", [True, False])
def test_a_reset_under_way_is_not_sent_again_after_a_halt(ready, ends, halt) -> None:
    """Also when nothing is open, so that the halt triggers nothing."""
    command(ready, "trigger")
    answer(ready, A)
    command(ready, "reset_killed")
    assert sent(ready)[-1] == uog(2, group=A)
    if halt:
        ready.guard(HaltOrders(epoch=1, strategy=1, why="again"))
    else:
        command(ready, "trigger")
    before = len(sent(ready))
    if ends == "refused":
        refuse(ready, 8)
    elif ends == "unanswered":
        ready.wait(21_000)
    else:
        ready.drop()
        ready.logon()
    for _ in range(3):
        answer(ready, A)
        ready.wait(2000)
    assert uog(2, group=A) not in sent(ready)[before:]
    assert state(ready) == "KILLED"


def test_an_operators_reset_leaves_while_its_strategy_is_halted(ready) -> None:
    """`arm` asks for it first; a halt that is only repeated does not drop it."""
    ready.report(ready.live(), "4", "4", text="ORDER_GROUP_CANCEL")
    ready.guard(HaltOrders(epoch=1, strategy=1, why="its group"))
    again = ready.restarted(groups={1: 5}).up()
    again.guard(HaltOrders(epoch=1, strategy=1, why="its group"))
    assert command(again, "reset") == []
    again.guard(HaltOrders(epoch=1, strategy=1, why="its group"))
    answer(again, A, 5)
    answer(again, A)
    assert sent(again) == [uog(5, 5, A), uog(2, group=A)]
    assert state(again) == "READY"


def test_a_reset_by_arm_waits_for_the_last_latch(ready) -> None:
    """Order entry may have one that the guard did not know of."""
    command(ready, "trigger")
    answer(ready, A)
    ready.guard(HaltOrders(epoch=1, why="the halt file"))
    command(ready, "reset_killed")
    assert sent(ready)[-1] == uog(4, group=A)
    ready.guard(ArmOrders(epoch=1, why="go"))
    ready.wait(10)
    assert sent(ready)[-1] == uog(2, group=A)


@pytest.mark.parametrize("written", [A, A.upper(), A.replace("-", ""), "{" + A + "}", "urn:uuid:" + A])
def test_an_order_in_another_strategys_group_does_not_leave(ready, written) -> None:
    """However its id is written; a group that is none of ours is the strategy's own affair."""
    other = NewOrder(cl_ord_id=ready.ids(), symbol="BTC-PERP", side=1, qty=100, price=1, group=written)
    ready.approve(other, strategy=2)
    assert ready.state(other.cl_ord_id) == "NOT_SENT"
    assert "the order group is another strategy's" in ready.tape[-1].text
    assert not any(text.startswith("35=D") for text in ready.wire)
    own = NewOrder(cl_ord_id=ready.ids(), symbol="BTC-PERP", side=1, qty=100, price=1, group=B)
    ready.approve(own, strategy=2)
    assert f"|526={B}|" in ready.wire[-1]


def test_the_lost_answer_to_a_create_in_doubt_is_nobody_elses_after_a_restart(make_rig) -> None:
    """KalshiRT brings it to the next process; until then no other strategy's create leaves."""
    session = {"target_comp_id": "KalshiRT"}
    rig = make_rig(groups={1: 5, 2: 6}, session=session).up()
    rig.drop()
    assert state(rig) == "DOUBT"
    again = rig.restarted(groups={1: 5, 2: 6}, session=session)
    again.oe.start(again.now)
    again.client.logged_on, again.client.began_anew, again.client.state = True, False, "logged on"
    again.feed(LoggedOn(FixMessage(b"", "FIXT.1.1", [(35, "A"), (141, "N")])))
    assert sent(again) == []
    answer(again, A, 5)
    assert (state(again, 1), again.oe.groups.of(1).group_id) == ("READY", A)
    assert sent(again) == [uog(1, 6)]


def test_a_refused_create_keeps_no_other_groups_requests_waiting(make_rig) -> None:
    """Each request waits for itself: another's reset leaves at once."""
    rig = make_rig(groups={1: 5, 2: 6}).up()
    answer(rig, A, 5)
    refuse(rig, 3)  # slot 2's create
    rig.report(rig.live(), "4", "4", text="ORDER_GROUP_CANCEL")
    assert command(rig, "reset") == []
    assert sent(rig)[-1] == uog(2, group=A)
    answer(rig, A)
    assert state(rig) == "READY"
    rig.wait(31_000)
    assert sent(rig)[-1] == uog(1, 6)


@pytest.mark.parametrize(("action", "code"), [("update", 5), ("reset", 2), ("trigger", 4), ("create", 1)])
def test_a_request_that_is_always_refused_is_sent_ever_more_rarely(make_rig, action, code) -> None:
    """Not each second, with an alert each time; what wants it anew has it sent at once."""
    rig = make_rig(groups={1: 5}).up()
    if action != "create":
        answer(rig, A, 5)
        if action == "update":
            rig = rig.restarted(groups={1: 7}).up()
        else:
            command(rig, "trigger")
        if action == "reset":
            answer(rig, A)
            command(rig, "reset")
    rig.out.done.clear()
    tries = 1
    for _ in range(600):
        if len(sent(rig)) > tries or tries == 1:
            tries = len(sent(rig))
            refuse(rig, 3, "not allowed")
        rig.wait(1000)
    requests = [text for text in sent(rig) if f"20131={code}" in text]
    assert 4 <= len(requests) <= (45 if action == "trigger" else 16), len(requests)
    assert len([text for text in rig.out.logged("alert") if "was refused" in text]) <= 4
    if action in ("reset", "trigger"):
        before = len(sent(rig))
        command(rig, action)
        assert len(sent(rig)) == before + 1


def test_a_trigger_refused_for_the_rate_is_sent_each_second(ready) -> None:
    """That is over in a moment, and a kill does not wait for more."""
    command(ready, "trigger")
    for _ in range(5):
        refuse(ready, 8)
        ready.wait(1100)
    assert sent(ready)[1:] == [uog(4, group=A)] * 6


BAD_IDS = ["", "\x02x", "a\x01526=x", "caf\u00e9", "\u20ac", "a" * 70]


@pytest.mark.parametrize("group_id", [A, A.upper()])
def test_no_strategy_adopts_a_group_that_another_has(make_rig, group_id) -> None:
    """Two strategies in one group would count, and be cancelled, together."""
    rig = make_rig(groups={1: 5, 2: 6}).up()
    answer(rig, A, 5)
    rig.wait(21_000)
    assert state(rig, 2) == "DOUBT"
    assert command(rig, "adopt", slot=2, group_id=group_id) == [
        f"order group {group_id} is another strategy's"
    ]
    assert state(rig, 2) == "DOUBT"
    assert command(rig, "adopt", slot=2, group_id=B) == []


@pytest.mark.parametrize("group_id", BAD_IDS)
def test_an_id_that_can_not_be_sent_is_not_adopted(make_rig, group_id) -> None:
    rig = make_rig(groups={1: 5}).up()
    rig.wait(21_000)
    records = len(rig.out.journal)
    (problem,) = command(rig, "adopt", group_id=group_id)
    assert "printable ASCII" in problem
    assert (state(rig), len(rig.out.journal)) == ("DOUBT", records)


@pytest.mark.parametrize("group_id", BAD_IDS)
def test_an_id_of_the_venue_that_can_not_be_sent_leaves_the_group_in_doubt(make_rig, group_id) -> None:
    """No order could leave with it; another create does not leave by itself."""
    rig = make_rig(groups={1: 5}).up()
    answer(rig, group_id, 5)
    order = rig.new()
    assert (state(rig), rig.state(order)) == ("DOUBT", "NOT_SENT")
    assert "can't be sent" in rig.out.logged("alert")[0]
    again = rig.restarted(groups={1: 5}).up()
    assert (state(again), sent(again)) == ("DOUBT", [])
    assert command(again, "adopt", group_id=A) == []


def test_order_entry_starts_with_an_id_in_its_journal_that_can_not_be_sent(make_rig) -> None:
    """An earlier version took any."""
    past = [GroupRecord(wall_ns=1, slot=1, state=GroupState.READY, group_id="caf\u00e9\x01", limit=5)]
    rig = make_rig(past, groups={1: 5}).up()
    assert (state(rig), sent(rig)) == ("DOUBT", [])
    command(rig, "trigger")
    assert sent(rig) == []


def test_a_beat_tells_one_life_of_order_entry_from_the_next(ready) -> None:
    """Its count of requests begins at 0 in each."""
    ready.wait(200)
    again = ready.restarted(groups={1: 5})
    again.oe.start(again.now)
    assert 0 < ready.beat.life_ns < again.beat.life_ns
