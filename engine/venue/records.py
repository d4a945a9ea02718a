"""The venue's journal: what a restart needs of client accounts and of KalshiRT's sessions. The synthetic flow is not in it.

Every report that the venue issued stands here with the state after it (order, cash, position), so that replaying is
taking the last one. The ExecID is the row's unique key: the journal itself refuses a second report with one number.
"""

import msgspec

from engine.fix.snapshot import SentMessage
from engine.kalshi.messages import ExecutionReport
from engine.venue.order import OrderTerms


class Reported(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="reported"):
    """An ExecutionReport as issued, and what it left behind.

    Attributes:
        clock, event: the ExecID as numbers.
        order: None for a refused new order.
        cash, fees: money; fills: count; position_qty, position_cost: of the report's market.
    """

    wall_ns: int
    account: str
    clock: int
    event: int
    report: ExecutionReport
    order: OrderTerms | None = None
    cash: int = 0
    fees: int = 0
    fills: int = 0
    position_qty: int = 0
    position_cost: int = 0


class GroupChanged(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="group"):
    """An order group after a request or a trigger; limit in whole contracts; deleted groups have limit 0."""

    wall_ns: int
    account: str
    group_id: str
    limit: int
    number: int
    alloc_account: int | None = None
    triggered: bool = False


class RtSent(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="rt_sent"):
    """An application message of a KalshiRT session, under its number; written before it may leave."""

    key: str
    wall_ns: int
    message: SentMessage


class RtNumbers(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="rt_numbers"):
    """A KalshiRT session's numbers after a step; reset: what was kept before is gone."""

    key: str
    account: str
    next_sender: int
    next_target: int
    hours: int = 24
    listener: bool = False
    must_reset: bool = False
    reset: bool = False


VenueRecord = Reported | GroupChanged | RtSent | RtNumbers
