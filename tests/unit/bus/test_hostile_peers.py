"""What a hostile or broken peer sends over a real socket is dropped and counted; it never ends the binder."""

import time

import msgspec
import pytest
import zmq

from engine.bus.sockets import Again, Bus, endpoint, make_bus_directory
from engine.messages import commands, control, executions
from engine.messages.topology import CHANNELS, Pattern, may_send

NAMES = frozenset({"guard", "drop_copy", "order_entry", "market_data", "strategy.one"})
GOOD = msgspec.msgpack.encode(commands.WorkerBeat(mono_ns=1))
BAD = {
    "text that is not UTF-8 in a tag": b"\x81\xa4type\xa2\xff\xfe",
    "nesting without end": b"\x82\xa4type\xa3new\xa1q" + b"\x91" * 3000 + b"\x01",
    "nothing": b"",
    "no map": b"\x01",
    "a cut message": GOOD[:-1],
    "another channel's message": msgspec.msgpack.encode(control.Stop(why="x")),
    "an int of 65 bits": b"\x82\xa4type\xabworker_beat\xa7mono_ns\xcf" + b"\xff" * 8 + b"\xff",
}


@pytest.fixture
def guard_bus(tmp_path):
    make_bus_directory(str(tmp_path))
    bus = Bus("guard", str(tmp_path))
    context = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.setsockopt(zmq.ROUTING_ID, b"strategy.one")
    peer.connect(endpoint(str(tmp_path), "guard.orders"))
    yield bus.sockets["guard.orders"], peer
    peer.close(0)
    context.term()
    bus.close()


def received(socket, count, seconds=5):
    got, deadline = [], time.monotonic() + seconds
    while len(got) < count and time.monotonic() < deadline:
        try:
            got.append(socket.receive())
        except Again:
            time.sleep(0.005)
    return got


@pytest.mark.parametrize("what", BAD)
def test_bytes_that_are_no_message_are_told_apart_and_the_next_message_is_read(guard_bus, what):
    socket, peer = guard_bus
    peer.send(BAD[what])
    peer.send(GOOD)
    assert received(socket, 2) == [("strategy.one", None), ("strategy.one", commands.WorkerBeat(mono_ns=1))]


def test_a_message_of_several_parts_is_none_and_its_parts_are_not_taken_for_others(guard_bus):
    socket, peer = guard_bus
    peer.send_multipart([GOOD] * 5)
    peer.send(GOOD)
    assert received(socket, 2) == [("strategy.one", None), ("strategy.one", commands.WorkerBeat(mono_ns=1))]


def test_a_message_over_the_cap_is_never_delivered(guard_bus):
    socket, peer = guard_bus
    peer.send(b"x" * (CHANNELS["guard.orders"].bytes_max + 1))
    assert received(socket, 1, seconds=0.3) == []


@pytest.mark.parametrize(
    ("channel", "peer", "message", "may"),
    [
        ("oe.orders", "guard", commands.GuardHello(epoch=1), True),
        ("oe.orders", "tool.evil", commands.GuardHello(epoch=1), False),
        ("oe.orders", "strategy.one", commands.GuardHello(epoch=1), False),
        ("oe.ask", "strategy.one", executions.TapeRequest(from_no=1), True),
        ("oe.ask", "strategy.other", executions.TapeRequest(from_no=1), False),
        ("oe.ask", "strategy.one", executions.RecoveredReports(reports=[]), False),
        ("oe.ask", "tool.evil", executions.SweepDone(wanted=1, complete=True), False),
        ("oe.ask", "drop_copy", executions.RecoveredReports(reports=[]), True),
        ("control", "strategy.one", control.StopEngine(request_id="1", why="x"), False),
        ("control", "strategy.one", control.RestartProcess(request_id="1", name="guard"), False),
        ("control", "tool.ctl.1", control.StopEngine(request_id="1", why="x"), True),
        ("control", "tool.\n2026 alert forged", control.EngineQuery(request_id="1"), False),
        ("guard.orders", "", commands.WorkerBeat(mono_ns=1), False),
    ],
)
def test_who_may_send_what(channel, peer, message, may):
    assert may_send(CHANNELS[channel], peer, message, NAMES) is may


def test_every_routed_channel_names_only_messages_that_it_carries():
    for channel in CHANNELS.values():
        if channel.pattern is Pattern.ROUTED:
            for kind in channel.only_from:
                assert kind in channel.up.__args__, (channel.name, kind)


def test_who_sends_nothing_but_malformed_bytes_is_counted_and_cut_off(guard_bus):
    """A hundred messages' worth each: after 200 of them nothing of it is even looked at, until it was quiet for a while."""
    socket, peer = guard_bus
    for _ in range(300):
        peer.send(BAD["nothing"])
    got = received(socket, 300)
    assert len(got) == 300 and all(message is None for _, message in got)
    sender = socket.meter.senders[b"strategy.one"]
    assert sender.discarded >= 100 and sender.left < 0
    peer.send(GOOD)
    assert received(socket, 1) == [("strategy.one", None)] and socket.discarding
    for second in range(5):
        socket.meter.refill(second * 10**9)
    peer.send(GOOD)
    assert received(socket, 1) == [("strategy.one", commands.WorkerBeat(mono_ns=1))]
