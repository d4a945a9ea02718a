"""What an ExecutionReport can't say: such a report is never booked.

Only the impossible counts. Legitimate, and so not looked at: OrderQty(38), which is never trusted; a CumQty that is ahead
of ours (reports were lost) or behind it (they come late); more filled than was ordered; a New that never came.
"""

from typing import Final

from engine.common.fixed_point import PRICE_DECIMALS, QTY_DECIMALS, format_fixed
from engine.messages.commands import Side
from engine.messages.executions import ReportCopy
from engine.orders.order import Order

NUMBER_MAX: Final = 4 * 10**18
"""Of any number and any product: two of them still fit 64 bits."""

_TRADE: Final = "F"
_FILLED: Final = "2"


def plausible(report: ReportCopy, order: Order | None, multiplier: int = 1) -> str:
    """Return what of a report can't be true, in words; empty when it may be.

    Args:
        report: in bus units.
        order: that it is about, or None when it is not known.
        multiplier: of the report's market, dollars per contract per dollar of price.
    """
    if not _fits(report, multiplier):
        return "its numbers don't fit 64 bits"
    if order is not None:
        event = order.event
        if report.symbol != event.symbol:
            return f"Symbol {report.symbol[:32]}, the order's is {event.symbol}"
        if report.side != event.side:
            return f"Side {report.side}, the order's is {event.side}"
    for name, qty in (("LeavesQty", report.leaves_qty), ("CumQty", report.cum_qty)):
        if qty < 0:
            return f"{name} {_qty(qty)}"
    if report.ord_status == _FILLED and report.leaves_qty > 0:
        return f"filled with LeavesQty {_qty(report.leaves_qty)}"
    return _wrong_with_trade(report) if report.exec_type == _TRADE else ""


def _wrong_with_trade(report: ReportCopy) -> str:
    if report.last_qty <= 0:
        return f"a Trade with LastQty {_qty(report.last_qty)}"
    if report.last_px <= 0:
        return f"a Trade with LastPx {format_fixed(report.last_px, PRICE_DECIMALS)}"
    if report.cum_qty < report.last_qty:
        return f"LastQty {_qty(report.last_qty)} with CumQty {_qty(report.cum_qty)}"
    if report.side not in (Side.BUY, Side.SELL):
        return f"a Trade with Side {report.side}"
    return ""


def _fits(report: ReportCopy, multiplier: int) -> bool:
    total = report.leaves_qty + report.cum_qty
    numbers = (
        report.price,
        report.qty,
        report.cum_qty,
        report.leaves_qty,
        report.last_px,
        report.last_qty,
        report.fee,
        report.collateral,
        report.long_qty,
        report.short_qty,
        report.last_px * report.last_qty * multiplier,
        report.price * total * multiplier,
    )
    return min(numbers) >= -NUMBER_MAX and max(numbers) <= NUMBER_MAX


def _qty(qty: int) -> str:
    return format_fixed(qty, QTY_DECIMALS)
