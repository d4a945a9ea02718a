"""The venue's journal: what a restart needs of client accounts and of KalshiRT's sessions. The synthetic flow is not in it.

Every report that the venue issued stands here with the state after it (order, cash, position), so that replaying is
taking the last one. The ExecID is the row's unique key: the journal itself refuses a second report with one number.
"""

import msgspec

from engine.common.clock import Now
from engine.fix.snapshot import SentMessage
from engine.kalshi.messages import ExecutionReport
from engine.venue.accounts import Account
from engine.venue.order import OrderTerms
from engine.venue.order_groups import Group
from engine.venue.reports import Report


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


def reported(event: Report, key: tuple[int, int], account: Account, now: Now) -> Reported:
    """Return the entry of a report: its order and account as they are after the step."""
    position = account.positions.get(event.report.symbol)
    return Reported(
        wall_ns=now.wall_ns,
        account=account.name,
        clock=key[0],
        event=key[1],
        report=event.report,
        order=event.order.terms() if event.order is not None else None,
        cash=account.cash,
        fees=account.fees,
        fills=account.fills,
        position_qty=position.qty if position is not None else 0,
        position_cost=position.cost if position is not None else 0,
    )


def group_changed(group: Group, made: int, now: Now) -> GroupChanged:
    """Return the entry of a group; made: how many groups there ever were."""
    return GroupChanged(
        wall_ns=now.wall_ns,
        account=group.account,
        group_id=group.group_id,
        limit=group.limit,
        number=made,
        alloc_account=group.alloc_account,
        triggered=group.triggered,
    )
