"""A process runtime's clock, turned by hand."""

import time

import pytest

from engine.runtime import process


class Clock:
    """Stands still but for what a test adds."""

    def __init__(self):
        self.ns = time.monotonic_ns()

    def time_ns(self):
        return self.ns

    monotonic_ns = perf_counter_ns = time_ns


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(process, "time", made)
    return made
