"""The listener session as third witness, against the embedded venue, on virtual time."""

from engine import config_loader
from engine.messages.control import VenueFault
from engine.messages.executions import EventKind, Source
from engine.messages.reconciliation import RecoveredNote
from engine.runtime.virtual import VirtualWorld
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
