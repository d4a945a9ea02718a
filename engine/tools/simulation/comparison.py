"""At rest: what the engine believes against what the venue holds, and every process of the engine against the others.

Money is compared as realised - cost, which is exact whatever the order in which fills became known: the share of cost
that a partial close takes depends on that order, the sum does not.
"""

from engine.common.fixed_point import format_fixed, format_money, parse_money
from engine.drop_copy.actor import DropCopy
from engine.guard.actor import Guard
from engine.order_entry.actor import OrderEntry
from engine.orders.position import Position
from engine.runtime.virtual import VirtualWorld
from engine.strategy.host import StrategyHost
from engine.venue.actor import Venue


def differences(world: VirtualWorld, *, cash: bool = True) -> list[str]:
    """Return every difference in a sentence; empty when all agree.

    Args:
        world: at rest. cash: compare the money made with the venue's cash, which nobody but trades has moved.
    """
    order_entry, venue = world.nodes["order_entry"].actor, world.nodes["venue"].actor
    guard, drop_copy = world.nodes["guard"].actor, world.nodes["drop_copy"].actor
    if order_entry is None or venue is None or guard is None or drop_copy is None:
        return ["a process is dead"]
    assert isinstance(order_entry, OrderEntry), "order_entry is an OrderEntry"
    assert isinstance(venue, Venue), "venue is a Venue"
    assert isinstance(guard, Guard), "guard is a Guard"
    assert isinstance(drop_copy, DropCopy), "drop_copy is a DropCopy"
    found = _against_venue(world, order_entry, venue, cash=cash)
    found += _against_guard(order_entry, guard)
    if not drop_copy.caught_up(world.now):
        found.append(f"drop copy is not caught up: {drop_copy.detail}")
    found += [
        f"open break {note.break_id}: {note.text}" for note in drop_copy.reconciler.breaks.open.values()
    ]
    for node in world.nodes.values():
        if isinstance(node.actor, StrategyHost):
            found += _against_strategy(order_entry, node.actor)
    return found


def _against_venue(world: VirtualWorld, order_entry: OrderEntry, venue: Venue, *, cash: bool) -> list[str]:
    found = []
    ledger = order_entry.ledger
    account = next(a for a in venue.exchange.accounts.values() if not a.synthetic)
    assert world.config.venue is not None, "a simulated venue has its section"
    for symbol in world.config.instruments:
        here, there = ledger.positions.qty(symbol), account.position(symbol).qty
        if here != there:
            found.append(f"{symbol}: position {format_fixed(here, 2)}, the venue's {format_fixed(there, 2)}")
    own = ledger.positions.account.values()
    fees = sum(position.fees for position in own)
    made = sum(position.realised - position.cost for position in own)
    cost = sum(position.cost for position in account.positions.values())
    truth = account.cash + account.fees - cost - parse_money(world.config.venue.balance)
    for what, ours, theirs in (("fees", fees, account.fees), ("money made", made, truth)):
        if ours != theirs and (cash or what == "fees"):
            found.append(f"{what}: {format_money(ours)}, the venue's {format_money(theirs)}")
    fills = sum(position.fills for position in own)
    if fills != account.fills:
        found.append(f"fills: {fills}, the venue's {account.fills}")
    mine = {
        (e.cl_ord_id, e.symbol, e.side, e.price, e.leaves_qty, e.cum_qty)
        for e in (order.event for order in ledger.orders.values())
    }
    theirs_open = {
        (o.cl_ord_id, o.symbol, o.side, o.price, o.leaves, o.cum) for o in venue.exchange.open.values()
    }
    found += [f"open here, not at the venue: {order}" for order in sorted(mine - theirs_open)]
    found += [f"open at the venue, not here: {order}" for order in sorted(theirs_open - mine)]
    found += [f"unknown: {order}" for order in ledger.unknown]
    found += [f"fills are missing: {order}" for order in order_entry.recovery.short]
    return found


def _against_guard(order_entry: OrderEntry, guard: Guard) -> list[str]:
    found = []
    ledger, exposure = order_entry.ledger, guard.exposure
    if guard.tape.last != ledger.tape_no:
        found.append(f"guard: tape {guard.tape.last}, order entry's {ledger.tape_no}")
    for symbol, line in exposure.account_lines.items():
        here = ledger.positions.account.get(symbol)
        totals = here.totals() if here is not None else Position().totals()
        if line.position.totals() != totals:
            found.append(f"guard: {symbol} {line.position.totals()}, order entry's {totals}")
    if set(exposure.open) != set(ledger.orders):
        found.append(f"guard: orders {sorted(exposure.open)}, order entry's {sorted(ledger.orders)}")
    for key, order in exposure.open.items():
        event = ledger.orders[key].event if key in ledger.orders else None
        if event is not None and order.counted_qty != event.leaves_qty:
            found.append(f"guard: {key} counts {order.counted_qty}, LeavesQty is {event.leaves_qty}")
    found += [f"guard: fills of {key} are missing" for key in exposure.short]
    found += [f"guard: {key} is still reserved" for key in exposure.reserved]
    found += [f"guard: {key} is still unanswered" for key in exposure.requests]
    if exposure.account.unacknowledged or exposure.unknown:
        found.append(f"guard: {exposure.account.unacknowledged} unacknowledged, {exposure.unknown} unknown")
    return found


def _against_strategy(order_entry: OrderEntry, host: StrategyHost) -> list[str]:
    found = []
    ledger = order_entry.ledger
    for (slot, symbol), position in ledger.positions.of.items():
        held = host.tape.positions.get(symbol, 0)
        if slot == host.slot and held != position.qty:
            found.append(f"{host.name}: {symbol} {held}, order entry's {position.qty}")
    orders = {key for key, order in ledger.orders.items() if order.event.strategy == host.slot}
    if set(host.tape.orders) != orders:
        found.append(f"{host.name}: orders {sorted(host.tape.orders)}, order entry's {sorted(orders)}")
    return found
