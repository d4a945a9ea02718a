"""Who takes the name of a process of the engine without its seal is not heard, and takes nothing away from that process."""

import time

import msgspec
import pytest
import zmq

from engine.bus.sockets import Again, Bus, bus_directory, draw_seal, endpoint, make_bus_directory, seal_of
from engine.messages import commands

NAMES = frozenset({"guard", "order_entry", "supervisor"})
BEAT = commands.GuardBeat(epoch=1, no=1, mono_ns=1)
FORGED = msgspec.msgpack.encode(commands.GuardHello(epoch=99))


@pytest.fixture
def run(tmp_path):
    make_bus_directory(str(tmp_path))
    draw_seal(str(tmp_path))
    return str(tmp_path)


@pytest.fixture
def order_entry(run):
    bus = Bus("order_entry", run)
    bus.admit(NAMES)
    yield bus.sockets["oe.orders"]
    bus.close()


@pytest.fixture
def guard(run, order_entry):
    bus = Bus("guard", run)
    yield bus.sockets["oe.orders"]
    bus.close()


@pytest.fixture
def impostor(run, order_entry):
    context = zmq.Context()
    peers = []

    def make(name):
        peer = context.socket(zmq.DEALER)
        peer.setsockopt(zmq.ROUTING_ID, name)
        peer.connect(endpoint(run, "oe.orders"))
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        peer.close(0)
    context.term()


def until(condition, what):
    deadline = time.monotonic() + 10
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
    return value


def received(socket):
    try:
        return socket.receive()
    except Again:
        return None


def exchange(guard, order_entry):
    """One message each way between the real ones."""
    until(lambda: guard.send(BEAT, None), "the guard is connected")
    assert until(lambda: received(order_entry), "the guard's word") == ("guard", BEAT)
    assert order_entry.send(commands.EpochAccepted(epoch=1, tape_no=0), "guard")
    assert until(lambda: received(guard), "the answer")[1].epoch == 1


def test_a_name_without_the_seal_is_not_heard_and_the_one_whose_it_is_goes_on(guard, order_entry, impostor):
    """Also with another engine's seal; nothing is answered to it, and its coming does not disturb the connection."""
    exchange(guard, order_entry)
    for name in (b"guard", b"guard\0" + bytes(16)):
        peer = impostor(name)
        peer.send(FORGED)
        _, message = until(lambda: received(order_entry), "the impostor's word")
        assert message is None and order_entry.discarding
        exchange(guard, order_entry)
        assert not peer.poll(0)


def test_an_impostor_that_was_there_first_does_not_keep_the_name(order_entry, impostor, run):
    """The guard starts after it."""
    peer = impostor(b"guard")
    peer.send(FORGED)
    assert until(lambda: received(order_entry), "the impostor's word")[1] is None
    bus = Bus("guard", run)
    try:
        exchange(bus.sockets["oe.orders"], order_entry)
    finally:
        bus.close()


def test_a_process_that_starts_again_takes_its_own_name_over(guard, order_entry, run):
    exchange(guard, order_entry)
    again = Bus("guard", run)
    try:
        exchange(again.sockets["oe.orders"], order_entry)
    finally:
        again.close()


def test_a_tool_needs_none_and_can_not_be_a_process(run, order_entry, impostor):
    """With a tool's name it is heard, as a tool; whether a tool may send that is the channel's table's business."""
    peer = impostor(b"tool.x")
    peer.send(FORGED)
    assert until(lambda: received(order_entry), "its word") == ("tool.x", commands.GuardHello(epoch=99))


def test_every_engine_draws_its_own_and_keeps_it_to_itself(run):
    first = seal_of(run)
    draw_seal(run)
    assert len(first) == 17 and seal_of(run) != first
    import os

    assert os.stat(os.path.join(bus_directory(run), "seal")).st_mode & 0o777 == 0o600
