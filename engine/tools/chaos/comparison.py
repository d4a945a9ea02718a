"""The engine against its venue, exactly: open orders, positions, fills, fees, and in the end every ExecID."""

import os
from typing import Final

import msgspec

from engine.common.fixed_point import format_fixed, format_money
from engine.common.ids import SLOT_FOREIGN
from engine.messages.control import VenueAccount
from engine.messages.executions import TERMINAL, OrdersSnapshot
from engine.runtime import journal
from engine.runtime.factory import entry_types
from engine.venue.records import Reported

_REJECTED: Final = "8"  # the venue resends no rejects, and they change nothing
_SHOWN_MAX: Final = 5


def differences(truth: VenueAccount, ours: OrdersSnapshot) -> list[str]:
    """Return every difference in a sentence; empty when engine and venue agree."""
    found = []
    account = {p.symbol: p for p in ours.positions if p.strategy is None}
    for symbol in sorted({*account, *truth.positions}):
        here = account[symbol].qty if symbol in account else 0
        there = truth.positions.get(symbol, 0)
        if here != there:
            found.append(f"{symbol}: position {format_fixed(here, 2)}, the venue's {format_fixed(there, 2)}")
        own = sum(p.qty for p in ours.positions if p.strategy is not None and p.symbol == symbol)
        if own != here:
            found.append(f"{symbol}: the strategies hold {format_fixed(own, 2)} of {format_fixed(here, 2)}")
    fills = sum(p.fills for p in account.values())
    if fills != truth.fills:
        found.append(f"fills: {fills}, the venue's {truth.fills}")
    fees = sum(p.fees for p in account.values())
    if fees != truth.fees:
        found.append(f"fees: {format_money(fees)}, the venue's {format_money(truth.fees)}")
    found += [f"fills are missing of {o.order}" for o in ours.orders if o.missing_qty]
    live = [o for o in ours.orders if o.state not in TERMINAL and o.strategy != SLOT_FOREIGN]
    mine = {(o.cl_ord_id, o.symbol, o.side, o.price, o.cum_qty, o.leaves_qty) for o in live}
    theirs = {(o.cl_ord_id, o.symbol, o.side, o.price, o.cum_qty, o.leaves_qty) for o in truth.orders}
    found += [f"open here, not so at the venue: {order}" for order in sorted(mine - theirs)]
    found += [f"open at the venue, not so here: {order}" for order in sorted(theirs - mine)]
    return found


def lost_and_doubled(run: str) -> tuple[list[str], int]:
    """Compare the two journals of an engine that has ended.

    Returns:
        (what is wrong, how many executions the venue issued).

    Raises:
        JournalError: a journal is damaged.
    """
    path = os.path.join(run, "state", "order_entry.sqlite")
    ours = [row.exec_id for row in journal.read(path) if row.exec_id]
    theirs = _issued(os.path.join(run, "state", "venue.sqlite"))
    wanted = {exec_id for exec_id, exec_type in theirs.items() if exec_type != _REJECTED}
    known = set(ours)
    found = []
    for what, exec_ids in (
        ("executions of the venue are not in the order journal", sorted(wanted - known)),
        ("executions in the order journal are none of the venue's", sorted(known - set(theirs))),
        (
            "executions are in the order journal twice",
            sorted({e for e in known if ours.count(e) > 1}) if len(ours) != len(known) else [],
        ),
    ):
        if exec_ids:
            found.append(f"{len(exec_ids)} {what}: {', '.join(exec_ids[:_SHOWN_MAX])}")
    return found, len(wanted)


def _issued(path: str) -> dict[str, str]:
    decode = msgspec.msgpack.Decoder(entry_types("venue")).decode
    issued: dict[str, str] = {}
    for row in journal.read(path):
        entry = decode(row.message)
        if isinstance(entry, Reported):
            issued[entry.report.exec_id] = entry.report.exec_type
    return issued
