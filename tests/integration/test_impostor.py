"""A peer that takes the guard's name while the guard is stopped: it is never served, and the guard is again at once."""

import os
import signal
import time

import msgspec
import pytest
import zmq
from integration.harness import FAST, wait_for

from engine.bus.sockets import endpoint
from engine.common.ids import ClOrdIDs
from engine.messages import commands

ENCODE = msgspec.msgpack.Encoder().encode


@pytest.mark.parametrize("how", [signal.SIGSTOP, pytest.param(signal.SIGKILL, marks=pytest.mark.soak)])
def test_who_takes_the_guards_name_is_never_served_and_the_guard_is_as_soon_as_it_is_back(launch, how):
    """A newer epoch and an order under it; the impostor stays connected while the guard comes back."""
    engine = launch("--plain", changes=FAST | {"engine.silent_kill_s": 60})
    engine.until_trading()
    guard = engine.kill("guard", how)
    context = zmq.Context()
    peer = context.socket(zmq.DEALER)
    try:
        peer.setsockopt(zmq.ROUTING_ID, b"guard")
        peer.connect(endpoint(engine.run, "oe.orders"))
        epoch = time.time_ns() // 10**6 + 1000
        order = commands.NewOrder(
            cl_ord_id=ClOrdIDs(1, 1_700_000_000_000, 5)(), symbol="BTC-PERP", side=1, qty=100, price=190_000
        )
        peer.send(ENCODE(commands.GuardHello(epoch=epoch)))
        peer.send(ENCODE(commands.Approved(epoch=epoch, no=1, expires_ns=1 << 62, strategy=1, request=order)))

        def turned_away():
            return engine.child("order_entry").status.metrics.get("turned_away", 0) >= 2

        wait_for("the impostor's words to be dropped", turned_away)
        if how == signal.SIGSTOP:
            os.kill(guard, signal.SIGCONT)
        engine.until_trading()
        engine.until_fills()
        assert not peer.poll(0), "it was answered"
        assert order.cl_ord_id not in {o.cl_ord_id for o in engine.truth().orders}
        engine.until_said("oe.orders: what 'guard' sends is dropped")
    finally:
        peer.close(0)
        context.term()
    engine.interrupt()
    assert engine.wait(30) == 0, engine.said[-2000:]
    assert order.cl_ord_id not in engine.log("order_entry")
