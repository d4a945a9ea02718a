"""What the journal gives back after a restart.

`take` collects committed records; `apply` puts the last state of everything into a fresh exchange and history: cash,
positions, open orders in their old priority, the ids of orders closed within the last three hours, reports for drop
copy, order groups, and a clock above every ExecID that was ever issued.
"""

from collections import deque
from typing import Final

import msgspec

from engine.common.clock import MS, SECOND, Now
from engine.venue.exchange import CLOSED_MAX, REMEMBER_NS, Exchange
from engine.venue.history import RECENT_MAX, WINDOW_NS, History
from engine.venue.order import REJECTED, Flags, OrderTerms, Owner
from engine.venue.order_groups import Group
from engine.venue.records import GroupChanged, Reported, RtNumbers, RtSent
from engine.venue.retention import Retention

_MARK_NS: Final = 10 * SECOND


class Restart:
    """Collects journal entries: whatever is open, and of what is over no more than the running venue keeps.

    Args:
        retention: takes the entries of KalshiRT. archived: older reports can be read back, so memory needs the newest only.
    """

    def __init__(self, retention: Retention, *, archived: bool = False) -> None:
        self._retention = retention
        self._archived = archived
        self._reports: deque[Reported] = deque(maxlen=RECENT_MAX if archived else None)
        self._dropped = False
        self._marks: list[tuple[int, int]] = []  # (wall_ns, clock) about every ten seconds
        self._orders: dict[str, Reported] = {}
        self._closed: dict[str, Reported] = {}
        self._cash: dict[str, Reported] = {}
        self._positions: dict[tuple[str, str], Reported] = {}
        self._groups: dict[str, GroupChanged] = {}
        self._clock = 0
        self._first: tuple[int, int] | None = None

    def take(self, entry: msgspec.Struct) -> None:
        """Take one committed entry, oldest first."""
        if isinstance(entry, GroupChanged):
            self._groups[entry.group_id] = entry
            return
        if isinstance(entry, RtSent | RtNumbers):
            self._retention.take(entry)
            return
        assert isinstance(entry, Reported), "the venue's journal holds VenueRecord"
        self._clock = max(self._clock, entry.clock)
        if self._first is None:
            self._first = (entry.clock, 0)
        if not self._marks or entry.wall_ns - self._marks[-1][0] >= _MARK_NS:
            self._marks.append((entry.wall_ns, entry.clock))
        self._cash[entry.account] = entry
        self._positions[entry.account, entry.report.symbol] = entry
        if entry.order is not None:
            self._take_order(entry, entry.order)
        if entry.report.exec_type != REJECTED:
            self._dropped = self._dropped or len(self._reports) == self._reports.maxlen
            self._reports.append(entry)

    def _take_order(self, entry: Reported, terms: OrderTerms) -> None:
        if terms.leaves:
            self._orders[terms.order_id] = entry
            return
        self._orders.pop(terms.order_id, None)
        self._closed.pop(terms.order_id, None)
        self._closed[terms.order_id] = entry
        if len(self._closed) > CLOSED_MAX:
            del self._closed[next(iter(self._closed))]

    def apply(self, exchange: Exchange, history: History, owners: dict[str, Owner], now: Now) -> list[str]:
        """Put everything in place; return what could not be, in words."""
        # A clock from the wall as the floor: reports that were numbered but never journalled stay below it too.
        exchange.resume_clock(max(self._clock + 1, now.wall_ns // MS))
        history.begin(self._first or (exchange.latest[0], 0))
        for entry in self._cash.values():
            account = exchange.accounts.get(entry.account)
            if account is not None:
                account.cash, account.fees, account.fills = entry.cash, entry.fees, entry.fills
        for (name, symbol), entry in self._positions.items():
            account = exchange.accounts.get(name)
            if account is not None and symbol in exchange.markets:
                position = account.position(symbol)
                position.qty, position.cost = entry.position_qty, entry.position_cost
        for wall_ns, clock in self._marks:
            if now.wall_ns - wall_ns > WINDOW_NS:
                history.begin((clock, 0))
        for report in self._reports:
            if now.wall_ns - report.wall_ns <= WINDOW_NS:
                history.add(report.account, (report.clock, report.event), report.report, report.wall_ns)
            else:
                history.begin((report.clock, report.event + 1))
        for owner in self._cash if self._dropped else ():
            history.archived(owner)
        for group in self._groups.values():
            _restore_group(exchange, group)
        for kept in self._retention.sessions.values():
            if kept.listener and kept.account in exchange.accounts:
                flags = Flags(skip_pending=True, listener=True)
                owners.setdefault(kept.key, Owner(kept.key, kept.account, flags))
        return self._restore_orders(exchange, owners, now)

    def _restore_orders(self, exchange: Exchange, owners: dict[str, Owner], now: Now) -> list[str]:
        lost = []
        remembered = [*self._closed.values(), *self._orders.values()]
        for entry in sorted(remembered, key=lambda entry: entry.order.priority if entry.order else 0):
            terms = entry.order
            assert terms is not None, "only reports of orders are kept by order"
            if terms.account not in exchange.accounts or terms.symbol not in exchange.markets:
                if terms.leaves:
                    lost.append(
                        f"{terms.account}: {terms.cl_ord_ids[-1]} in {terms.symbol} rests no more: not configured"
                    )
                continue
            owner = _owner(owners, terms)
            if terms.leaves:
                exchange.restore_open(terms, owner)
            elif now.wall_ns - entry.wall_ns <= REMEMBER_NS:
                exchange.restore_closed(terms, owner, entry.wall_ns)
        return lost


def _owner(owners: dict[str, Owner], terms: OrderTerms) -> Owner:
    owner = owners.get(terms.owner)
    if owner is None:
        owner = owners[terms.owner] = Owner(terms.owner, terms.account, terms.flags)
    owner.flags = terms.flags
    return owner


def _restore_group(exchange: Exchange, entry: GroupChanged) -> None:
    exchange.groups_made = max(exchange.groups_made, entry.number)
    if not entry.limit:
        return
    group = Group(entry.group_id, entry.account, entry.limit, entry.alloc_account)
    group.triggered = entry.triggered
    exchange.groups[entry.group_id] = group
