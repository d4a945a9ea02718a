"""The virtual runtime's own rules: what a commit precedes, what a death keeps, how links end, how inputs wait."""

import functools
from types import SimpleNamespace

import msgspec
import pytest

from engine import config_loader
from engine.common.actor import Actor, LinkEvent, PeerEvent
from engine.messages.executions import SnapshotRequest, TapeBeat
from engine.runtime.virtual import VirtualWorld
from engine.runtime.virtual_node import Watcher
from engine.tools.docs_gen import ROOT

MS = 1_000_000


class Entry(msgspec.Struct, frozen=True):
    no: int


class Recorder(Actor):
    """Does what a test tells it and remembers what it was given."""

    def __init__(self, node):
        super().__init__(node)
        self.name = node.name
        self.seen = []
        self.replayed = []
        self.on_start = None

    def replay(self, entry):
        self.replayed.append(entry)

    def start(self, now):
        if self.on_start is not None:
            self.on_start(self)

    def on_message(self, channel, peer, message, now):
        self.seen.append((channel, peer, message))

    def on_peer(self, channel, peer, event, message, now):
        self.seen.append((channel, peer, event))

    def on_link(self, link, event, reason, now):
        self.seen.append((event, reason))

    def on_bytes(self, link, data, now):
        self.seen.append(data)

    def on_drained(self, now):
        self.seen.append("drained")


@functools.cache
def demo():
    return config_loader.load(f"{ROOT}/configs/demo.toml", [])


@pytest.fixture
def world():
    """All processes are Recorders, started and joined."""
    made = VirtualWorld(demo(), 1)
    made.build = Recorder
    made.start()
    made.run(0.1)
    for node in made.nodes.values():
        node.actor.seen.clear()
    return made


def given(world, name):
    return [one for one in world.nodes[name].actor.seen if one != "drained"]


def act(world, name, action):
    world.nodes[name].step("test", lambda actor, now: action(actor.out))


def beat(no):
    return TapeBeat(tape_no=no, mono_ns=0, session="", ready=False)


def test_records_are_committed_before_bytes_and_messages_leave(world):
    order = []

    class Order(Watcher):
        def recorded(self, node, entry):
            order.append("record")

        def wrote(self, node, link, data):
            order.append("write")

        def sent(self, node, channel, message, to, topic):
            order.append("send")

    world.watch(Order())

    def effects(out):
        out.send("oe.tape", beat(1), topic="beat")
        out.write("order_entry", b"x")
        out.record(Entry(1))

    act(world, "order_entry", effects)
    assert order == ["record", "write", "send"]


@pytest.mark.parametrize(("lives", "journalled", "sent"), [(0, 0, 0), (1, 1, 0), (2, 1, 1), (3, 1, 2)])
def test_a_death_amid_a_release_keeps_what_was_committed_and_loses_the_rest(world, lives, journalled, sent):
    node = world.nodes["order_entry"]
    messages = []

    class Sent(Watcher):
        def sent(self, node, channel, message, to, topic):
            messages.append(message)

    world.watch(Sent())
    died = []
    node.doom = (lives, lambda: died.append(True))

    def effects(out):
        out.record(Entry(1))
        out.send("oe.tape", beat(1), topic="beat")
        out.send("oe.tape", beat(2), topic="beat")

    act(world, "order_entry", effects)
    assert (len(node.journal), len(messages)) == (journalled, sent)
    assert (node.actor is None) == bool(died) == (lives < 3)
    node.kill()
    world.start_node("order_entry")
    assert node.actor.replayed == [Entry(1)] * journalled


def test_a_channel_keeps_its_order_whatever_the_delays(world):
    for no in range(50):
        act(world, "order_entry", lambda out, no=no: out.send("oe.tape", beat(no), topic="beat"))
    world.run(0.01)
    assert [message.tape_no for _, _, message in given(world, "drop_copy")] == list(range(50))


def test_what_is_sent_to_nobody_is_refused_at_once_and_in_place(world):
    world.kill_node("order_entry")
    act(world, "guard", lambda out: out.send("oe.ask", SnapshotRequest()))
    assert given(world, "guard") == [("oe.ask", "", PeerEvent.REFUSED)]


def test_a_publisher_drops_only_what_it_is_told_to(world):
    world.drop_percent["oe.tape"] = 100
    act(world, "order_entry", lambda out: out.send("oe.tape", beat(1), topic="beat"))
    world.drop_percent.clear()
    act(world, "order_entry", lambda out: out.send("oe.tape", beat(2), topic="beat"))
    world.run(0.01)
    assert [message.tape_no for _, _, message in given(world, "guard")] == [2]


def test_a_stopped_process_takes_what_waited_as_one_batch(world):
    guard = world.nodes["guard"]
    guard.freeze()
    for no in (1, 2):
        act(world, "order_entry", lambda out, no=no: out.send("oe.tape", beat(no), topic="beat"))
    world.run(0.05)
    assert guard.actor.seen == []
    guard.thaw()
    assert [one if one == "drained" else one[2].tape_no for one in guard.actor.seen] == [1, 2, "drained"]


def test_an_exec_id_is_journalled_once(world):
    act(world, "order_entry", lambda out: out.record(Entry(1), exec_id="1;1"))
    with pytest.raises(AssertionError, match="1;1 is journalled already"):
        act(world, "order_entry", lambda out: out.record(Entry(2), exec_id="1;1"))


# -- links


@pytest.fixture
def linked(world):
    """order_entry has a connection; returns (world, the venue's name of it)."""
    act(world, "order_entry", lambda out: out.connect("order_entry"))
    world.run(0.01)
    assert given(world, "order_entry") == [(LinkEvent.CONNECTED, "")]
    assert given(world, "venue") == [(LinkEvent.ACCEPTED, "order_entry")]
    for name in ("order_entry", "venue"):
        world.nodes[name].actor.seen.clear()
    return SimpleNamespace(world=world, name="KalshiNR/1")


def test_what_was_written_before_a_close_arrives_then_both_ends_are_told(linked):
    world = linked.world

    def effects(out):
        out.write("order_entry", b"last words")
        out.close("order_entry", "enough")

    act(world, "order_entry", effects)
    act(world, "order_entry", lambda out: out.write("order_entry", b"too late"))
    world.run(0.01)
    assert given(world, "venue") == [b"last words", (LinkEvent.DISCONNECTED, "closed by the peer")]
    assert given(world, "order_entry") == [(LinkEvent.DISCONNECTED, "enough")]


def test_a_cut_connection_delivers_what_was_under_way_or_loses_it_and_tells_both(linked):
    world = linked.world
    act(world, "order_entry", lambda out: out.write("order_entry", b"x"))
    world.wires.cut("order_entry", "order_entry")
    world.run(0.01)
    told = given(world, "venue")
    assert told[-1] == (LinkEvent.DISCONNECTED, "connection reset") and told[:-1] in ([], [b"x"])
    assert given(world, "order_entry") == [(LinkEvent.DISCONNECTED, "connection reset")]


def test_a_half_open_connection_says_nothing_until_an_end_closes_it(linked):
    world = linked.world
    world.wires.silence("order_entry", "order_entry")
    act(world, "order_entry", lambda out: out.write("order_entry", b"x"))
    world.run(0.01)
    assert given(world, "venue") == [] == given(world, "order_entry")
    act(world, "order_entry", lambda out: out.close("order_entry", "silent"))
    world.run(0.01)
    assert given(world, "order_entry") == [(LinkEvent.DISCONNECTED, "silent")]
    assert given(world, "venue") == []
    act(world, "order_entry", lambda out: out.connect("order_entry"))
    world.run(0.01)
    assert (LinkEvent.CONNECTED, "") in given(world, "order_entry")


def test_a_death_breaks_its_connections(linked):
    world = linked.world
    world.kill_node("order_entry")
    world.run(0.01)
    assert given(world, "venue") == [(LinkEvent.DISCONNECTED, "reset by the peer")]
    assert not world.wires.connected("order_entry", "order_entry")
