"""Gaps that only an operator closes, end to end: drop copy that is not enabled, and one that looks back too short."""

from engine import config_loader
from engine.drop_copy.report.summary import build_report
from engine.messages.commands import Arm
from engine.messages.control import VenueFault
from engine.messages.executions import OrderEvent
from engine.messages.reconciliation import AcceptDropCopyGap
from engine.runtime.virtual import VirtualWorld
from engine.tools.docs_gen import ROOT


def world_of(*overrides, seed=9):
    world = VirtualWorld(config_loader.load(f"{ROOT}/configs/demo.toml", [*overrides]), seed)
    world.start()
    return world


def state(world):
    return world.nodes["guard"].actor.gate.state


def gap_of(world):
    actor = world.nodes["drop_copy"].actor
    return actor.gaps.note if actor is not None else None


def report_of(world):
    events = [entry for entry in world.nodes["order_entry"].journal if isinstance(entry, OrderEvent)]
    return build_report(events, world.nodes["drop_copy"].journal)


def accept(world, why="checked on the web"):
    """As `ctl arm --accept-gap` does."""
    world.tell(
        "guard", "guard.orders", Arm(request_id="a", why=why, who="ann", accept_gap=True), "tool.ctl.1"
    )
    world.tell("drop_copy", "dc.ask", AcceptDropCopyGap(request_id="b", why=why, who="ann"), "tool.ctl.1")
    world.run(1)


def test_drop_copy_that_is_not_enabled_is_a_gap_until_an_operator_accepts_it():
    """Loud at the first report; accepted, the engine trades with one witness; a lost session opens it anew."""
    world = world_of('venue.drop_copy="not_enabled"')
    assert world.run(30, lambda: gap_of(world) is not None)
    world.run(5)
    assert state(world) != "TRADING"
    (found,) = [note for note in report_of(world).break_list if note.kind == "gap"]
    assert found.break_id.startswith("gap-5-") and found.first_ns and not found.until_ns
    assert "not enabled for this account" in found.text and "nothing is proven from 20" in found.text
    accept(world)
    assert world.run(10, lambda: state(world) == "TRADING")
    world.run(30)
    assert state(world) == "TRADING" and gap_of(world) is None
    ended = [note for note in report_of(world).ended if note.break_id == found.break_id]
    assert ended[0].status == "explained" and ended[0].until_ns > ended[0].first_ns
    world.wires.cut("order_entry", "order_entry")
    assert world.run(30, lambda: gap_of(world) is not None)


def test_what_lies_outside_the_venues_window_stays_a_gap_with_its_time():
    """The order session was away, and every BeginExecID that is known is older than the venue looks back (21004=3)."""
    world = world_of()
    world.run(20)
    refuse = VenueFault(request_id="f", kind="resend_reject", arguments={"count": "8", "reason": "3"})
    world.tell("venue", "venue.ask", refuse)
    world.run(0.1)
    world.wires.cut("order_entry", "order_entry")
    assert world.run(60, lambda: gap_of(world) is not None)
    world.run(60)  # what the venue answers by now proves nothing of that time
    note = gap_of(world)
    assert (
        note is not None and note.break_id.startswith(("gap-3-", "gap-hole-")) and state(world) != "TRADING"
    )
    assert 0 < note.first_ns < note.wall_ns
    assert [found.break_id for found in report_of(world).break_list] == [note.break_id]
    accept(world)
    assert world.run(30, lambda: state(world) == "TRADING"), world.nodes["guard"].actor.gate.reasons
    world.run(15)
    assert report_of(world).break_list == []
