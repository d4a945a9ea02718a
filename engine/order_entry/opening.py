"""Opening positions: from `[opening]` in the configuration where the journal has none, or as an operator read them.

FIX has no query for positions (venue.md), so what was held before the journal began must be said.
"""

from engine.common.clock import Now
from engine.common.fixed_point import QTY_DECIMALS, format_fixed, format_money, parse_fixed, parse_money
from engine.common.ids import SLOT_FOREIGN
from engine.config import Config
from engine.messages.executions import EventKind, OrderEvent, OrderState, Source
from engine.order_entry.desk import Desk


def open_positions(config: Config, desk: Desk, now: Now) -> None:
    """Take `[opening]` where the journal has no position of the market: fills since then are added to it."""
    positions = desk.ledger.positions
    for symbol, opening in config.opening.items():
        qty, cost = parse_fixed(opening.qty, QTY_DECIMALS), parse_money(opening.cost)
        if symbol in positions.known:
            _compare(desk, symbol, qty, cost)
            continue
        account = positions.account.get(symbol)
        if account is not None:
            qty, cost = qty + account.qty, cost + account.cost
        as_of = f" as of {opening.as_of}" if opening.as_of else ""
        text = f"opening{as_of}, from the configuration"
        set_position(desk, symbol, qty, cost, text, Source.ENGINE, now)


def _compare(desk: Desk, symbol: str, qty: int, cost: int) -> None:
    # Whoever edits [opening] later believes that it counts.
    opened_qty, opened_cost = desk.ledger.positions.known[symbol]
    if (qty, cost) != (opened_qty, opened_cost):
        desk.out.log(
            "warning",
            f"opening of {symbol}: the configuration says {format_fixed(qty, QTY_DECIMALS)} contracts for "
            f"{format_money(cost, 2)} dollars, the journal was opened with {format_fixed(opened_qty, QTY_DECIMALS)} for "
            f"{format_money(opened_cost, 2)}; the journal counts (ctl arm --accept-gap --position sets another)",
        )


def set_position(desk: Desk, symbol: str, qty: int, cost: int, text: str, source: Source, now: Now) -> None:
    """Put a position of the account on the tape: quantity in 1/100 contract, signed; cost in money."""
    tape_no, strategy_no = desk.ledger.numbers(SLOT_FOREIGN)
    desk.emit(
        OrderEvent(
            tape_no=tape_no,
            strategy=SLOT_FOREIGN,
            strategy_no=strategy_no,
            kind=EventKind.POSITION,
            state=OrderState.FILLED,
            order="",
            wall_ns=now.wall_ns,
            symbol=symbol,
            long_qty=max(qty, 0),
            short_qty=max(-qty, 0),
            position=qty,
            cost=cost,
            text=text,
            source=source,
        )
    )
