"""A process whose supervisor falls silent notices, also right after a standstill of the machine."""

import os
import time

import pytest

from engine import config_loader
from engine.bus.sockets import Again, Bus, draw_seal, make_bus_directory
from engine.common.actor import Actor
from engine.common.clock import MS, SECOND
from engine.messages import control
from engine.runtime.process import SUPERVISOR_SILENT_NS, ProcessRuntime

NAME = "market_data"


class Place:
    """One process's runtime, turned by hand, and its supervisor's end of the bus."""

    def __init__(self, directory, clock):
        make_bus_directory(directory)
        draw_seal(directory)
        self.clock = clock
        self.supervisor = Bus("supervisor", directory)
        self.supervisor.admit(frozenset({NAME}))
        config = config_loader.load("configs/demo.toml", [])
        self.runtime = ProcessRuntime(NAME, config, directory, config_hash="", parent_pid=os.getppid())
        self.runtime.actor = Actor(self.runtime)
        self.runtime._supervisor_ns = self.runtime._next_house = clock.ns

    @property
    def quiesced(self):
        return self.runtime.actor.quiesced

    def until(self, what, done):
        deadline = time.monotonic() + 10
        while not done():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            self.runtime.turn()

    def is_known(self):
        """Say the process's hello until the supervisor has heard it and can answer."""
        hello = control.Hello(name=NAME, pid=os.getpid(), schema=0, version="", config_hash="")
        self.runtime._control.send(hello, None)
        try:
            return self.supervisor.sockets["control"].receive()[1] is not None
        except Again:
            return False

    def say(self):
        """Let the supervisor speak: the process has it in its queue, not read yet."""
        self.supervisor.sockets["control"].send(control.Welcome(ok=True), NAME)
        deadline = time.monotonic() + 10
        while not self.runtime._control.waiting():
            assert time.monotonic() < deadline, "waited in vain for the supervisor's word"
        self.runtime._more.add(self.runtime._control)  # looking took its edge

    def let_pass(self, ns, step_ns=250 * MS):
        for _ in range(ns // step_ns):
            self.clock.ns += step_ns
            house = self.runtime._next_house
            self.until("the house-keeping", lambda house=house: self.runtime._next_house > house)


@pytest.fixture
def place(tmp_path, clock):
    made = Place(str(tmp_path), clock)
    made.until("the supervisor to hear the process", made.is_known)
    yield made
    made.runtime.bus.close()
    made.supervisor.close()


def test_a_silent_supervisor_is_noticed_but_not_before_its_time(place):
    place.say()
    place.let_pass(SUPERVISOR_SILENT_NS - SECOND)
    assert not place.quiesced
    place.let_pass(2 * SECOND)
    assert place.quiesced


@pytest.mark.parametrize("speaks", [True, False])
def test_a_supervisor_that_hangs_right_after_a_standstill_is_noticed_in_time(place, speaks):
    """Ten minutes of standstill are no silence of its own, and no credit for later, whether it spoke since or not."""
    if speaks:
        place.say()
    place.let_pass(600 * SECOND, 600 * SECOND)
    place.let_pass(SUPERVISOR_SILENT_NS - SECOND)
    assert not place.quiesced
    place.let_pass(2 * SECOND)
    assert place.quiesced
