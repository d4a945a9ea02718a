"""KalshiRT over the death of order entry, on virtual time (session scenarios 12.1 to 12.3): whole engines, every byte."""

import functools
import re

import msgspec
import pytest

from engine import config_loader
from engine.common.clock import SECOND
from engine.messages.executions import EventKind, OrderEvent, OrderState
from engine.order_entry.records import SessionNumbers
from engine.runtime.virtual import VirtualWorld
from engine.runtime.virtual_node import Watcher
from engine.tools.docs_gen import ROOT
from engine.tools.simulation.comparison import differences
from engine.tools.simulation.invariants import watch_all
from engine.venue.records import Reported

OE = "order_entry"


@functools.cache
def config():
    changes = [
        'sessions.order_entry.target_comp_id="KalshiRT"',
        "sessions.order_entry.cancel_orders_on_disconnect=false",
        "sessions.order_entry.message_retention_h=24",
    ]
    return config_loader.load(f"{ROOT}/configs/demo.toml", changes)


class Wire(Watcher):
    """What order entry wrote, message by message, `|` for SOH; and what the test wants to be told of."""

    def __init__(self):
        self.sent = []
        self.on_recorded = self.on_wrote = None

    def wrote(self, node, link, data):
        if node.name == OE:
            found = re.findall(rb"8=FIXT.*?\x0110=\d{3}\x01", data, re.DOTALL)
            self.sent += [message.decode("latin-1").replace("\x01", "|") for message in found]
            if self.on_wrote is not None:
                self.on_wrote(self.sent[-1])

    def recorded(self, node, entry):
        if self.on_recorded is not None:
            self.on_recorded(node, entry)

    def of(self, msg_type, begin=0):
        return [message for message in self.sent[begin:] if f"|35={msg_type}|" in message]


@pytest.fixture
def run():
    world = VirtualWorld(config(), 7)
    checkers = watch_all(world)
    wire = Wire()
    world.watch(wire)
    world.start()
    # before its first mark drop copy can prove nothing: the gap would be an operator's to close
    assert world.run(
        30,
        lambda: (
            trading(world)
            and len(acknowledged(world)) >= 3
            and bool(world.nodes["drop_copy"].actor.reconciler.marks)
        ),
    ), gate(world)
    yield world, wire
    for names in (["strategy.quote_maker", "strategy.momentum_taker"], ["guard"], [OE], ["drop_copy"]):
        for name in names:
            world.nodes[name].step("", lambda actor, now: actor.quiesce(now))
        assert world.run(20, lambda names=names: all(world.nodes[name].actor.quiesced for name in names))
    assert world.run(10, lambda: not differences(world)), differences(world)
    for checker in checkers:
        checker.at_rest()


def gate(world):
    return world.nodes["guard"].actor.gate.reasons


def trading(world):
    guard, order_entry = world.nodes["guard"].actor, world.nodes[OE].actor
    return guard is not None and guard.gate.open and order_entry is not None and order_entry.ready


def acknowledged(world):
    actor = world.nodes[OE].actor
    sure = (OrderState.NEW, OrderState.PARTIALLY_FILLED)
    return {key for key, order in actor.ledger.orders.items() if order.event.state in sure} if actor else {}


def events(world, begin=0):
    return [entry for entry in world.nodes[OE].journal[begin:] if isinstance(entry, OrderEvent)]


def restart(world, seconds=1.0):
    """Order entry is dead: start it again after a while; return where its journal and the wire's log go on."""
    assert world.nodes[OE].actor is None
    world.run(seconds)
    mark = len(world.nodes[OE].journal)
    world.start_node(OE)
    return mark


def alerts(world):
    return [text for level, text in world.nodes[OE].notices if level == "alert"]


def test_12_1_killed_between_the_journal_and_the_socket_the_order_is_not_sent(run):
    """The venue asks for the number that it never saw, it is gap-filled, and by that word the order is NOT_SENT."""
    world, wire = run
    node = world.nodes[OE]
    killed = []

    def on_recorded(where, entry):
        if where is node and isinstance(entry, OrderEvent) and entry.kind is EventKind.SUBMITTED:
            killed.append(entry.order)
            wire.on_recorded = None
            node.doom = (0, lambda: None)  # committed; its bytes do not leave

    wire.on_recorded = on_recorded
    assert world.run(20, lambda: node.actor is None)
    resting = [e for e in events(world) if e.kind is EventKind.NEW][-1].order
    stored = [entry for entry in node.journal if isinstance(entry, SessionNumbers)][-1]
    assert [request.request_id for request in stored.sent][-1] == killed[0], (
        "number and order in one transaction"
    )
    sent = len(wire.sent)
    mark = restart(world)
    assert world.run(20, lambda: trading(world)), gate(world)
    logon, *rest = wire.sent[sent:]
    assert f"|34={stored.next_sender}|" in logon and "|141=" not in logon
    fill = next(message for message in rest if "|35=4|" in message)
    assert "|43=Y|" in fill and "|123=Y|" in fill
    ends = [e for e in events(world, mark) if e.order == killed[0]]
    assert [e.kind for e in ends] == [EventKind.UNKNOWN, EventKind.NOT_SENT]
    assert ends[-1].text == "the venue never got it, and it is not sent again"
    assert not any(f"|11={killed[0]}|" in message for message in wire.sent)
    doubted = {e.order for e in events(world, mark) if e.kind is EventKind.UNKNOWN}
    assert resting not in doubted, "what the venue had acknowledged is not in doubt"


def test_12_2_killed_after_the_socket_the_report_comes_by_retransmission_once(run):
    """The report was on its way when the process died: it is asked for, comes with 43=Y, and counts once."""
    world, wire = run
    node = world.nodes[OE]
    killed = []

    def on_recorded(where, entry):
        if isinstance(entry, Reported) and entry.report.exec_type == "0" and node.actor is not None:
            order = node.actor.ledger.orders.get(entry.report.cl_ord_id)
            if order is not None and not order.heard_of:
                killed.append((entry.report.cl_ord_id, entry.report.exec_id))
                wire.on_recorded = None
                world.after(1, lambda: world.kill_node(OE))

    wire.on_recorded = on_recorded
    assert world.run(20, lambda: node.actor is None)
    order, exec_id = killed[0]
    sent = len(wire.sent)
    assert not any(e.exec_id == exec_id for e in events(world))
    mark = restart(world)
    assert world.run(20, lambda: trading(world)), gate(world)
    assert "|141=" not in wire.sent[sent]
    (request, *_) = wire.of("2", sent)
    assert "|16=0|" not in request
    ours = [e for e in events(world, mark) if e.order == order]
    assert [e.kind for e in ours][:2] == [EventKind.UNKNOWN, EventKind.NEW]
    assert [e.exec_id for e in events(world)].count(exec_id) == 1
    assert not any(f"|41={order}|" in message for message in wire.of("F", sent)[:1]), "nobody had to ask"


def gone(journal):
    return [entry for entry in journal if not isinstance(entry, SessionNumbers)]


def older(journal):
    """A backup of the numbers: far behind the venue's."""
    at = [index for index, entry in enumerate(journal) if isinstance(entry, SessionNumbers)]
    kept = set(at[: len(at) // 2])
    return [entry for index, entry in enumerate(journal) if index not in at or index in kept]


def of_last_week(journal):
    """The engine was away for longer than the venue keeps messages."""
    week_ns = 7 * 24 * 3600 * SECOND
    return [
        msgspec.structs.replace(entry, wall_ns=entry.wall_ns - week_ns)
        if isinstance(entry, SessionNumbers)
        else entry
        for entry in journal
    ]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (gone, "KalshiRT: there are no stored numbers: numbers begin anew"),
        (older, "KalshiRT: numbers can't be continued (MsgSeqNum(34) too low"),
        (of_last_week, "h without the venue, which keeps messages for 24 h): reset"),
    ],
    ids=["gone", "older", "of last week"],
)
def test_12_3_a_store_that_is_no_good_is_a_loud_reset_and_drop_copy_brings_the_rest(run, lost, said):
    """141=Y, every live order in doubt until it is found out, and in the end all agree again."""
    world, wire = run
    node = world.nodes[OE]
    world.kill_node(OE)
    world.run(2)
    node.journal = lost(node.journal)
    sent = len(wire.sent)
    mark = restart(world)
    assert world.run(60, lambda: trading(world)), gate(world)
    assert any(said in text for text in alerts(world)), alerts(world)
    logons = wire.of("A", sent)
    assert "|34=1|" in logons[-1] and "|141=Y|" in logons[-1]
    doubted = {e.order for e in events(world, mark) if e.kind is EventKind.UNKNOWN}
    assert doubted, "orders of before are in doubt"


def test_a_dead_order_entry_takes_up_fills_and_orders_of_the_time_between(run):
    """What happened while it was away comes, each once (the invariants), and what rests rests on."""
    world, _ = run
    world.kill_node(OE)
    before = {e.exec_id for e in events(world) if e.exec_id}
    issued = set()

    class Issued(Watcher):
        def recorded(self, node, entry):
            if isinstance(entry, Reported):
                issued.add(entry.report.exec_id)

    world.watch(Issued())
    mark = restart(world, 20.0)
    assert world.run(20, lambda: trading(world)), gate(world)
    assert [e for e in events(world, mark) if e.exec_id in issued - before]
