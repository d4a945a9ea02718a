"""What the journal gives back after a restart.

`take` collects committed records; `apply` puts the last state of everything into a fresh exchange and history: cash,
positions, open orders in their old priority, the ids of orders closed within the last three hours, reports for drop
copy, order groups, and a clock above every ExecID that was ever issued.

What was collected can be saved between two records (`dump`) and taken back (`load`), so that a start need not read the
whole journal. Nothing in it grows with the past: what is over counts no more here than in the running venue.
"""

from collections import deque
from typing import Final

import msgspec

from engine.common.clock import MS, SECOND, Now
from engine.kalshi.messages import ExecutionReport
from engine.venue import retention as rt
from engine.venue.exchange import CLOSED_MAX, REMEMBER_NS, Exchange
from engine.venue.history import RECENT_MAX, WINDOW_NS, History
from engine.venue.order import REJECTED, Flags, OrderTerms, Owner
from engine.venue.order_groups import Group
from engine.venue.records import GroupChanged, Reported, RtNumbers, RtSent
from engine.venue.retention import Retention

_MARK_NS: Final = 10 * SECOND


class _Told(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A report as drop copy gives it."""

    account: str
    clock: int
    event: int
    wall_ns: int
    report: ExecutionReport


class _Cash(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An account without its positions."""

    cash: int
    fees: int
    fills: int


class _Held(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A position."""

    account: str
    symbol: str
    qty: int
    cost: int


class _Seen(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An order after its last report."""

    wall_ns: int
    terms: OrderTerms


class Saved(msgspec.Struct, kw_only=True):
    """All that was collected, for a snapshot of the journal."""

    rows: int
    clock: int
    first: tuple[int, int] | None
    dropped: bool
    marks: list[tuple[int, int]]
    reports: list[_Told]
    orders: list[_Seen]
    closed: list[_Seen]
    cash: dict[str, _Cash]
    positions: list[_Held]
    groups: list[GroupChanged]
    groups_made: int
    sessions: list[rt.Saved]


class Restart:
    """Collects journal entries: whatever is open, and of what is over no more than the running venue keeps.

    Args:
        retention: takes the entries of KalshiRT. archived: older reports can be read back, so memory needs the newest only.

    Attributes:
        rows: of the journal, as far as it was taken.
    """

    def __init__(self, retention: Retention, *, archived: bool = False) -> None:
        self._retention = retention
        self._archived = archived
        self.rows = 0
        self._reports: deque[_Told] = deque(maxlen=RECENT_MAX if archived else None)
        self._dropped = False
        self._marks: deque[tuple[int, int]] = deque()  # (wall_ns, clock) about every ten seconds
        self._orders: dict[str, _Seen] = {}
        self._closed: dict[str, _Seen] = {}
        self._cash: dict[str, _Cash] = {}
        self._positions: dict[tuple[str, str], _Held] = {}
        self._groups: dict[str, GroupChanged] = {}
        self._groups_made = 0
        self._clock = 0
        self._first: tuple[int, int] | None = None

    def take(self, entry: msgspec.Struct) -> None:
        """Take one committed entry, oldest first."""
        self.rows += 1
        if isinstance(entry, GroupChanged):
            self._take_group(entry)
            return
        if isinstance(entry, RtSent | RtNumbers):
            self._retention.take(entry, self.rows)
            return
        assert isinstance(entry, Reported), "the venue's journal holds VenueRecord"
        self._clock = max(self._clock, entry.clock)
        if self._first is None:
            self._first = (entry.clock, 0)
        self._mark(entry.wall_ns, entry.clock)
        account, symbol = entry.account, entry.report.symbol
        self._cash[account] = _Cash(entry.cash, entry.fees, entry.fills)
        self._positions[account, symbol] = _Held(account, symbol, entry.position_qty, entry.position_cost)
        if entry.order is not None:
            self._take_order(entry.wall_ns, entry.order)
        if entry.report.exec_type != REJECTED:
            self._dropped = self._dropped or len(self._reports) == self._reports.maxlen
            self._reports.append(_Told(account, entry.clock, entry.event, entry.wall_ns, entry.report))

    def _mark(self, wall_ns: int, clock: int) -> None:
        marks = self._marks
        if marks and wall_ns - marks[-1][0] < _MARK_NS:
            return
        marks.append((wall_ns, clock))
        while (
            len(marks) > 1 and wall_ns - marks[1][0] > WINDOW_NS
        ):  # of those that are older the newest says all
            marks.popleft()

    def _take_group(self, entry: GroupChanged) -> None:
        self._groups_made = max(self._groups_made, entry.number)
        if entry.limit:
            self._groups[entry.group_id] = entry
        else:
            self._groups.pop(entry.group_id, None)

    def _take_order(self, wall_ns: int, terms: OrderTerms) -> None:
        seen = _Seen(wall_ns, terms)
        if terms.leaves:
            self._orders[terms.order_id] = seen
            return
        self._orders.pop(terms.order_id, None)
        self._closed.pop(terms.order_id, None)
        self._closed[terms.order_id] = seen
        if len(self._closed) > CLOSED_MAX:
            del self._closed[next(iter(self._closed))]

    # --- snapshots -------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Return all that was collected."""
        saved = Saved(
            rows=self.rows,
            clock=self._clock,
            first=self._first,
            dropped=self._dropped,
            marks=list(self._marks),
            reports=list(self._reports),
            orders=list(self._orders.values()),
            closed=list(self._closed.values()),
            cash=self._cash,
            positions=list(self._positions.values()),
            groups=list(self._groups.values()),
            groups_made=self._groups_made,
            sessions=self._retention.dump(),
        )
        return msgspec.msgpack.encode(saved)

    def load(self, state: bytes) -> None:
        """Take back what `dump` returned. Raises msgspec.MsgspecError and has taken nothing."""
        saved = msgspec.msgpack.decode(state, type=Saved)
        self.rows = saved.rows
        self._clock = saved.clock
        self._first = saved.first
        self._dropped = saved.dropped
        self._marks.extend(saved.marks)
        self._reports.extend(saved.reports)
        self._orders = {seen.terms.order_id: seen for seen in saved.orders}
        self._closed = {seen.terms.order_id: seen for seen in saved.closed}
        self._cash = saved.cash
        self._positions = {(held.account, held.symbol): held for held in saved.positions}
        self._groups = {group.group_id: group for group in saved.groups}
        self._groups_made = saved.groups_made
        self._retention.load(saved.sessions)

    # --- the end ---------------------------------------------------------------------------------------------------

    def apply(self, exchange: Exchange, history: History, owners: dict[str, Owner], now: Now) -> list[str]:
        """Put everything in place; return what could not be, in words."""
        # A clock from the wall as the floor: reports that were numbered but never journalled stay below it too.
        exchange.resume_clock(max(self._clock + 1, now.wall_ns // MS))
        history.begin(self._first or (exchange.latest[0], 0))
        for name, entry in self._cash.items():
            account = exchange.accounts.get(name)
            if account is not None:
                account.cash, account.fees, account.fills = entry.cash, entry.fees, entry.fills
        for held in self._positions.values():
            account = exchange.accounts.get(held.account)
            if account is not None and held.symbol in exchange.markets:
                position = account.position(held.symbol)
                position.qty, position.cost = held.qty, held.cost
        self._restore_history(history, now)
        exchange.groups_made = self._groups_made
        for group in self._groups.values():
            _restore_group(exchange, group)
        for kept in self._retention.sessions.values():
            if kept.listener and kept.account in exchange.accounts:
                flags = Flags(skip_pending=True, listener=True)
                owners.setdefault(kept.key, Owner(kept.key, kept.account, flags))
        return self._restore_orders(exchange, owners, now)

    def _restore_history(self, history: History, now: Now) -> None:
        for wall_ns, clock in self._marks:
            if now.wall_ns - wall_ns > WINDOW_NS:
                history.begin((clock, 0))
        for report in self._reports:
            if now.wall_ns - report.wall_ns <= WINDOW_NS:
                history.add(report.account, (report.clock, report.event), report.report, report.wall_ns)
            else:
                history.begin((report.clock, report.event + 1))
        for name in self._cash if self._dropped else ():
            history.archived(name)

    def _restore_orders(self, exchange: Exchange, owners: dict[str, Owner], now: Now) -> list[str]:
        lost = []
        for seen in sorted(
            [*self._closed.values(), *self._orders.values()], key=lambda seen: seen.terms.priority
        ):
            terms = seen.terms
            if terms.account not in exchange.accounts or terms.symbol not in exchange.markets:
                if terms.leaves:
                    lost.append(
                        f"{terms.account}: {terms.cl_ord_ids[-1]} in {terms.symbol} rests no more: not configured"
                    )
                continue
            owner = _owner(owners, terms)
            if terms.leaves:
                exchange.restore_open(terms, owner)
            elif now.wall_ns - seen.wall_ns <= REMEMBER_NS:
                exchange.restore_closed(terms, owner, seen.wall_ns)
        return lost


def _owner(owners: dict[str, Owner], terms: OrderTerms) -> Owner:
    owner = owners.get(terms.owner)
    if owner is None:
        owner = owners[terms.owner] = Owner(terms.owner, terms.account, terms.flags)
    owner.flags = terms.flags
    return owner


def _restore_group(exchange: Exchange, entry: GroupChanged) -> None:
    group = Group(entry.group_id, entry.account, entry.limit, entry.alloc_account)
    group.triggered = entry.triggered
    exchange.groups[entry.group_id] = group
