"""What the supervisor sees, sampled to `<run>/state/samples.sqlite`: for marks and charts of reports, never for proof.

Every 2 s in the first hour of a run, every 10 s after it. A disk that takes nothing ends the sampling, not the engine.
"""

import os
import time
from typing import TYPE_CHECKING, Final

from engine.common.clock import SECOND
from engine.drop_copy.report.inputs import MarketSample, Sample
from engine.errors import JournalError
from engine.runtime.journal import Entry, Journal

if TYPE_CHECKING:
    from engine.runtime.supervisor import Supervisor

_OFTEN_NS: Final = 2 * SECOND
_SELDOM_NS: Final = 10 * SECOND
_OFTEN_FOR_NS: Final = 3600 * SECOND
_QUANTILE: Final = "tick_to_trade_q"


class Sampler:
    """Writes one sample when its time has come."""

    def __init__(self, run_dir: str) -> None:
        self._next_ns = 0
        self._journal: Journal | None = None
        self._path = os.path.join(run_dir, "state", "samples.sqlite")
        self._failed = False

    def step(self, supervisor: "Supervisor", mono_ns: int) -> None:
        """Take a sample if one is due and there is something to see."""
        if mono_ns < self._next_ns or self._failed or not supervisor.tops:
            return
        young = mono_ns - supervisor.started_ns < _OFTEN_FOR_NS
        self._next_ns = mono_ns + (_OFTEN_NS if young else _SELDOM_NS)
        wall_ns = time.time_ns()
        try:
            if self._journal is None:
                self._journal = Journal(self._path)
            self._journal.append([Entry(sample_of(supervisor, wall_ns), "", None)], wall_ns)
            self._journal.idle()
        except JournalError as error:
            self._failed = True
            supervisor.say("warning", "supervisor", f"nothing more is sampled for reports: {error}")

    def close(self) -> None:
        """Close the file."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def sample_of(supervisor: "Supervisor", wall_ns: int) -> Sample:
    """Return what a supervisor sees now."""
    guard = supervisor.guard_status
    child = supervisor.children.get("order_entry")
    metrics = child.heartbeat.status.metrics if child is not None and child.heartbeat is not None else {}
    return Sample(
        wall_ns=wall_ns,
        markets=[
            MarketSample(
                symbol=top.symbol,
                bid=top.bid if top.bid_qty else 0,
                ask=top.ask if top.ask_qty else 0,
                last=top.last if top.last_qty else 0,
            )
            for top in supervisor.tops.values()
        ],
        tokens=guard.tokens if guard is not None else 0,
        tokens_capacity=guard.tokens_capacity if guard is not None else 0,
        latency_us={
            name.removeprefix(_QUANTILE): int(value)
            for name, value in metrics.items()
            if name.startswith(_QUANTILE)
        },
        latency_count=int(metrics.get("tick_to_trade_count", 0)),
    )
