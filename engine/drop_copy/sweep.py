"""One sweep: ask drop copy from the watermark to the latest, wait for the tape, compare.

    QUERY (one EventResendQuery after the other, one for each exchange index)
      -> TAPE (wait until the tape holds what order entry had published when the last U2 came)
      -> TAPE once more if something is missing, so that a report that was merely under way is not called missing
      -> over

A sweep is `clean` when order entry wanted none: its session was whole all the time and the sweep is a cross-check.
"""

from enum import StrEnum
from typing import Final

from engine.common.clock import MS, SECOND, Now
from engine.config import RateConfig
from engine.drop_copy.keys import Key
from engine.drop_copy.queries import EventResendQuery
from engine.kalshi.rate_limits import TIERS
from engine.messages.executions import ReportCopy

TAPE_TIMEOUT_NS: Final = 10 * SECOND
SETTLE_NS: Final = 50 * MS  # for a report that is still under way on the order-entry session
REQUEST_TYPE: Final = "U1"


class Phase(StrEnum):
    """Where a sweep is."""

    QUERY = "query"
    TAPE = "tape"


class Sweep:
    """A sweep in progress.

    Args:
        no: dense over all runs.
        wanted: order entry's sweep_wanted now.
        clean: order entry wants none.
        whole: it wants one, but its session is whole since a sweep that was complete, and no outcome is unknown: so the
            first report on the tape is the first there is.
        final: begun after `quiesce`.
        logons: the session's Logon count: another one means that the answer is lost.
        queries: what to ask, one after the other.
        now: when it begins.
    """

    __slots__ = (
        "at", "barrier_ns", "began", "clean", "final", "logons", "no", "phase", "queries", "reports", "settled", "wanted", "whole",
    )  # fmt: skip

    def __init__(
        self,
        no: int,
        wanted: int,
        *,
        clean: bool,
        whole: bool,
        final: bool,
        logons: int,
        queries: list[EventResendQuery],
        now: Now,
    ) -> None:
        self.no = no
        self.wanted = wanted
        self.clean = clean
        self.whole = whole
        self.final = final
        self.logons = logons
        self.queries = queries
        self.began = now
        self.at = 0
        self.phase = Phase.QUERY if queries else Phase.TAPE
        self.barrier_ns = now.mono_ns
        self.settled = False
        self.reports: dict[Key, ReportCopy] = {}

    @property
    def query(self) -> EventResendQuery:
        """The query in progress (phase QUERY)."""
        return self.queries[self.at]

    def next_query(self, mono_ns: int) -> None:
        """Take the answer of the query in, and go on with the next one or with the tape."""
        self.reports.update(self.query.reports)
        self.at += 1
        if self.at == len(self.queries):
            self.phase = Phase.TAPE
            self.barrier_ns = mono_ns

    def settle(self, mono_ns: int) -> None:
        """Wait for the tape once more, and a little longer."""
        self.settled = True
        self.barrier_ns = mono_ns + SETTLE_NS

    @property
    def begins(self) -> list[str]:
        """The BeginExecIDs in use."""
        return [query.begin.exec_id for query in self.queries]

    @property
    def hole(self) -> str:
        """The BeginExecID before which something stays unproven, or empty."""
        return next((query.begin.exec_id for query in self.queries if query.begin.hole), "")


def request_interval_ns(rate: RateConfig) -> int:
    """Return the least time between two EventResendRequests within drop copy's share of the Read bucket (venue.md 3)."""
    if rate.tier == "explicit":
        per_s = rate.read_per_s
    elif rate.tier in TIERS:
        per_s = TIERS[rate.tier].read_per_s
    else:
        per_s = 0  # unlimited
    share = per_s * rate.drop_copy_read_percent
    cost = rate.costs.get(REQUEST_TYPE, rate.cost)
    if share <= 0:
        return 0 if per_s <= 0 else SECOND
    return cost * 100 * SECOND // share
