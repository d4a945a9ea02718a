"""The listener session as third witness, against the embedded venue, on virtual time."""

from engine import config_loader
from engine.messages.control import VenueFault
from engine.messages.executions import EventKind, Source
from engine.messages.reconciliation import RecoveredNote
from engine.runtime.virtual import VirtualWorld
from engine.runtime.virtual_node import Watcher
from engine.tools.docs_gen import ROOT
from engine.tools.simulation.comparison import differences

LISTENER = 'sessions.listener.target_comp_id="KalshiNR"'


def world_of(*overrides, seed=7):
    world = VirtualWorld(config_loader.load(f"{ROOT}/configs/demo.toml", [LISTENER, *overrides]), seed)
    world.start()
    return world


def fault(world, kind, session="", **arguments):
    world.tell(
        "venue",
        "venue.ask",
        VenueFault(request_id="f", kind=kind, session=session, arguments=arguments),
    )
    world.run(0.1)
    assert world.answers[-1][1].ok, world.answers[-1][1].text


def quiesced(world):
    for names in (
        ["strategy.quote_maker", "strategy.momentum_taker"],
        ["guard"],
        ["order_entry"],
        ["drop_copy"],
    ):
        for name in names:
            world.nodes[name].step("", lambda actor, now: actor.quiesce(now))
        assert world.run(40, lambda names=names: all(world.nodes[name].actor.quiesced for name in names))
    assert world.run(10, lambda: not differences(world)), differences(world)


def test_three_witnesses_agree_about_every_report_of_a_run_without_faults():
    world = world_of()
    world.run(45)
    quiesced(world)
    drop_copy = world.nodes["drop_copy"].actor
    witness = drop_copy.listening.witness
    keyed = [e for e in world.nodes["order_entry"].journal if e.exec_id]
    assert drop_copy.status(world.now).sessions["KalshiNR (listener)"] == "logged on"
    assert witness.count >= len(keyed) > 100
    assert not drop_copy.reconciler.breaks.open and drop_copy.reconciler.recovered == 0


def test_what_the_session_never_hears_comes_by_the_listener_within_seconds():
    """Drop copy would find it too; here it answers nothing for some seconds."""
    world = world_of("reconciliation.sweep_s=60")
    world.run(10)
    fault(world, "resend_reject", count="3", reason="1")
    foreign = {"symbol": "BTC-PERP", "qty": "1", "price": "25.0000", "tif": "3"}
    fault(world, "foreign_order", **foreign)  # the session is never told of it
    order_entry, drop_copy = world.nodes["order_entry"], world.nodes["drop_copy"]

    def recovered():
        return [e for e in order_entry.journal if e.source is Source.RECOVERED]

    assert world.run(5, lambda: bool(recovered()))
    notes = [entry for entry in drop_copy.journal if isinstance(entry, RecoveredNote)]
    assert {note.way for note in notes} == {"listener"}
    world.run(5)
    quiesced(world)


class Restless(Watcher):
    """Counts the steps of drop copy, and ends a run in which it does nothing but step."""

    def __init__(self) -> None:
        self.steps = 0

    def stepped(self, node) -> None:
        if node.name == "drop_copy":
            self.steps += 1
            assert self.steps < 5000, "drop copy steps again and again"


def test_what_it_hears_while_the_tape_is_silent_waits_without_a_busy_loop():
    """Nothing can be given to an order entry that is dead; drop copy does not ask itself each instant whether it is back."""
    world = world_of("reconciliation.sweep_s=60")
    world.run(10)
    world.kill_node("order_entry")
    foreign = {"symbol": "BTC-PERP", "qty": "1", "price": "25.0000", "tif": "3"}
    fault(world, "foreign_order", **foreign)
    world.watch(Restless())
    world.run(5)
    assert world.nodes["drop_copy"].actor.listening.witness.missing_here(world.mono_ns)
    world.start_node("order_entry")
    world.run(30)
    quiesced(world)


def test_a_listener_that_comes_and_goes_invents_nothing():
    world = world_of("reconciliation.missing_there_s=5")
    for _ in range(6):
        world.run(4)
        world.wires.cut("drop_copy", "listener")
    world.run(20)
    quiesced(world)
    assert world.nodes["drop_copy"].actor.reconciler.breaks.open == {}
    trades = [e for e in order_entry_journal(world) if e.kind is EventKind.TRADE]
    assert len(trades) > 20


def order_entry_journal(world):
    return world.nodes["order_entry"].journal
