"""Work that nobody waits for stays out of the way of what somebody does."""

import os
import select

import pytest

from engine import config_loader
from engine.bus.sockets import draw_seal, make_bus_directory
from engine.common.actor import Actor
from engine.common.clock import MS, SECOND
from engine.runtime import process
from engine.runtime.fix_log import FixLog
from engine.runtime.process import EXIT_IMPOSSIBLE, IDLE_UNDER_LOAD_NS, ProcessRuntime


class Idler(Actor):
    """Counts how often it could do what nobody waits for."""

    idled = 0

    def on_idle(self, now):
        self.idled += 1


class Place:
    """One process's runtime, turned by hand; a tick is a byte in a pipe."""

    def __init__(self, directory, clock):
        make_bus_directory(directory)
        draw_seal(directory)
        self.clock = clock
        self.runtime = ProcessRuntime(
            "market_data", config_loader.load("configs/demo.toml", []), directory, config_hash=""
        )
        self.actor = self.runtime.actor = Idler(self.runtime)
        self.runtime._next_house = clock.ns + 3600 * SECOND
        self.reader, self.writer = os.pipe()
        self.ticks = 0
        self.runtime.watch_fd(self.reader, select.POLLIN, self._on_tick)
        while self.runtime._is_active or not self.actor.idled:
            self.runtime.turn()

    def _on_tick(self, _events):
        os.read(self.reader, 1)
        self.ticks += 1

    def tick(self):
        """Have a tick handled; return how often it was idle in that turn."""
        before = self.actor.idled
        os.write(self.writer, b".")
        self.runtime.turn()
        return self.actor.idled - before


@pytest.fixture
def place(tmp_path, clock):
    made = Place(str(tmp_path), clock)
    yield made
    made.runtime.bus.close()


def test_the_first_message_after_a_pause_is_not_followed_by_idle_work(place):
    """On one core that would keep its reader from running; a quiet moment later it comes."""
    for pause_ns in (IDLE_UNDER_LOAD_NS - 1, IDLE_UNDER_LOAD_NS, SECOND):
        place.clock.ns += pause_ns
        assert place.tick() == 0
        before = place.actor.idled
        place.runtime.turn()
        assert place.actor.idled == before + 1


def test_under_load_idle_work_comes_every_five_milliseconds(place):
    """Nothing that waits for a quiet moment waits for ever."""
    place.clock.ns += SECOND
    idled = []
    for _ in range(20):
        idled.append(place.tick())
        place.clock.ns += MS
    assert idled == [0, 0, 0, 0, 0, 1] + [0, 0, 0, 0, 1] * 2 + [0, 0, 0, 0]
    assert place.ticks == 20


def test_the_bytes_that_led_to_an_impossible_state_are_in_the_raw_log(place, tmp_path, monkeypatch):
    """They are what one needs to know, and the process ends with them."""

    class Wrong(Actor):
        def on_bytes(self, link, data, now):
            raise RuntimeError("wrong")

    runtime = place.runtime
    runtime.fix_log = FixLog(str(tmp_path / "x.fix"))
    message = b"8=FIXT.1.1\x019=5\x0135=0\x0110=001\x01"
    runtime.watch_fd(place.reader, select.POLLIN, lambda _: runtime.link_bytes("market_data", message))
    os.write(place.writer, b".")
    for module, name in (("gc", "freeze"), ("gc", "set_threshold"), ("signal", "signal")):
        monkeypatch.setattr(getattr(process, module), name, lambda *_: None)  # this process goes on
    assert runtime.run(Wrong(runtime)) == EXIT_IMPOSSIBLE
    assert "market_data < 8=FIXT.1.1|9=5|35=0|10=001|" in (tmp_path / "x.fix").read_text()
