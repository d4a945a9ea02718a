"""Executions as CSV: one row a report, exact decimals, readable by a spreadsheet and by `reconcile compare`. Pure.

Numbers are plain decimals, never rounded: prices with four decimals,
quantities with two, money with six. Times are ISO 8601 in UTC with ns, as text. A text that a spreadsheet would take for
a formula (it begins with = + - @ or a control character) gets an apostrophe in front: what the venue wrote never runs.
"""

from typing import Final

from engine.common.clock import SECOND, iso_time
from engine.common.fixed_point import PRICE_TEXTS, QTY_TEXTS, format_money, notional
from engine.messages.executions import EventKind, OrderEvent

COLUMNS: Final = (
    "time",
    "transact_time",
    "exec_id",
    "class",
    "exec_type",
    "market",
    "side",
    "last_qty",
    "last_px",
    "notional",
    "fee",
    "collateral",
    "aggressor",
    "strategy",
    "order",
    "cl_ord_id",
    "order_id",
    "trd_match_id",
    "cum_qty",
    "leaves_qty",
    "long_qty",
    "short_qty",
    "position",
    "source",
    "text",
)
_SIDES: Final = {1: "buy", 2: "sell"}


def exact_time(wall_ns: int) -> str:
    """Write a time with ns, `2026-11-24T10:00:00.123456789Z`; empty for 0."""
    if not wall_ns:
        return ""
    return f"{iso_time(wall_ns)[:20]}{wall_ns % SECOND:09d}Z"


def safe(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} else text


def row_of(event: OrderEvent, kind: str, name: str, multiplier: int) -> list[str]:
    """Return one report's row.

    Args:
        kind: its class. name: of the strategy that it counts for. multiplier: of the contract.
    """
    trade = event.kind is EventKind.TRADE
    return [
        exact_time(event.wall_ns),
        exact_time(event.transact_ns),
        event.exec_id,
        kind,
        event.kind.value,
        safe(event.symbol),
        _SIDES.get(event.side, ""),
        QTY_TEXTS[event.last_qty] if trade else "",
        PRICE_TEXTS[event.last_px] if trade else "",
        format_money(notional(event.last_px, event.last_qty, multiplier)) if trade else "",
        format_money(event.fee) if trade else "",
        format_money(event.collateral) if trade else "",
        event.aggressor,
        safe(name),
        safe(event.order),
        safe(event.cl_ord_id),
        safe(event.order_id),
        safe(event.trd_match_id),
        QTY_TEXTS[event.cum_qty],
        QTY_TEXTS[event.leaves_qty],
        QTY_TEXTS[event.long_qty] if event.long_qty >= 0 else "",
        QTY_TEXTS[event.short_qty] if event.short_qty >= 0 else "",
        QTY_TEXTS[event.position] if trade else "",
        event.source.value,
        safe(event.text),
    ]
