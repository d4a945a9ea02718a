"""Engines for the tests, in short directories; keys are made once and shared."""

import os
import shutil

import pytest
from integration import harness
from integration.venue_alone import Alone


@pytest.fixture(scope="session")
def venue_keys():
    """The embedded venue's keys and certificates, made once."""
    from engine.runtime import venue_keys

    directory = harness.short_directory()
    venue_keys.ensure(os.path.join(directory, "venue"), "127.0.0.1")
    yield os.path.join(directory, "venue")
    harness.remove(directory)


class Launcher:
    """Makes engines and ends them all."""

    def __init__(self, keys):
        self._keys = keys
        self.engines = []
        self.directories = []

    def directory(self):
        path = harness.short_directory()
        self.directories.append(path)
        run = os.path.join(path, "run")
        os.makedirs(run, mode=0o700)
        shutil.copytree(self._keys, os.path.join(run, "venue"))
        return run

    def __call__(self, *arguments, run=None, **more):
        engine = harness.Engine(run or self.directory(), *arguments, **more)
        self.engines.append(engine)
        return engine

    def end(self):
        for engine in self.engines:
            engine.destroy()
        for path in self.directories:
            harness.remove(path)


@pytest.fixture
def launch(venue_keys):
    launcher = Launcher(venue_keys)
    yield launcher
    launcher.end()


@pytest.fixture(scope="module")
def launch_shared(venue_keys):
    launcher = Launcher(venue_keys)
    yield launcher
    launcher.end()


@pytest.fixture
def alone(tmp_path):
    started = []

    def start(*arguments):
        venue = Alone(tmp_path / "v", *arguments)
        started.append(venue)
        return venue

    yield start
    for venue in started:
        if venue.process.poll() is None:
            venue.process.kill()
        venue.process.communicate()
