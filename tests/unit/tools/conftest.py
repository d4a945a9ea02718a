"""A run directory that looks like a running engine's, with stand-ins for its processes on the real bus."""

import os
import threading

import pytest

from engine import config_loader
from engine.bus.sockets import Again, Bus, make_bus_directory
from engine.runtime import run_dir
from engine.tools.docs_gen import ROOT

WAIT_S = 0.005


class StandIn:
    """One process's end of the bus, turned by a thread: it publishes what it has and answers what it is asked.

    Attributes:
        asked: (channel, peer, message) as they came. answer: channel and message to a reply, or None.
        published: (channel, topic, message), sent again and again, so that a subscriber may come at any time.
    """

    def __init__(self, name, directory):
        self.bus = Bus(name, directory)
        self.asked = []
        self.published = []
        self.answer = lambda channel, message: None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._turn)
        self._thread.start()

    def _turn(self):
        while not self._over.wait(WAIT_S):
            for channel, topic, message in self.published:
                self.bus.sockets[channel].publish(topic, message)
            for name, socket in self.bus.sockets.items():
                if socket.readable and socket.pattern == "ROUTER/DEALER":
                    self._take(name, socket)

    def _take(self, name, socket):
        try:
            while True:
                peer, message = socket.receive()
                self.asked.append((name, peer, message))
                reply = self.answer(name, message)
                if reply is not None:
                    assert socket.send(reply, peer)
        except Again:
            return

    def close(self):
        self._over.set()
        self._thread.join()
        self.bus.close()


@pytest.fixture
def config():
    return config_loader.load(os.path.join(ROOT, "configs", "demo.toml"))


@pytest.fixture
def run(tmp_path, config):
    """A run directory that is held, as by an engine."""
    directory = str(tmp_path / "run")
    run_dir.prepare(directory)
    make_bus_directory(directory)
    with open(os.path.join(directory, "config.json"), "wb") as file:
        file.write(config_loader.encode(config))
    lock = run_dir.RunDirLock(directory)
    yield directory
    lock.release()


@pytest.fixture
def stand_in(run):
    """Makes stand-ins by process name."""
    made = []

    def make(name):
        made.append(StandIn(name, run))
        return made[-1]

    yield make
    for one in made:
        one.close()
