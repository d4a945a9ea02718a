"""What two witnesses of one ExecID say differently, field by field. Pure.

CumQty, LeavesQty and OrderQty of the tape are our own order's numbers after the event, which differ from a report's
whenever reports arrive out of order; between two reports of the venue they are compared, because both are its own.
TransactTime names the same moment and adds no evidence. An expiry may come as Canceled to one session and as Expired
to another: it depends on each session's 21012.
"""

from typing import Final, NamedTuple

from engine.common.fixed_point import PRICE_TEXTS, QTY_TEXTS, format_money
from engine.messages.executions import EventKind, OrderEvent, ReportCopy, Source

EXEC_TYPES: Final = {
    "0": EventKind.NEW,
    "F": EventKind.TRADE,
    "5": EventKind.REPLACED,
    "4": EventKind.CANCELED,
    "C": EventKind.EXPIRED,
    "8": EventKind.REJECTED,
}
REPORT_KINDS: Final = frozenset(EXEC_TYPES.values())
SHOWN_THERE: Final = REPORT_KINDS - {EventKind.REJECTED}
_ENDS: Final = frozenset({EventKind.CANCELED, EventKind.EXPIRED})


class Differences(NamedTuple):
    """What differs, in words; money: how much of money, when nothing but money differs, else -1."""

    texts: list[str]
    money: int = -1

    @property
    def text(self) -> str:
        """All of them in one line."""
        return "; ".join(self.texts)


def differences(report: ReportCopy, event: OrderEvent, there: str = "there") -> Differences:
    """Compare a report of the venue with the event that the tape has under the same ExecID.

    Args:
        there: what to call the report's witness.
    """
    found = []
    kind = EXEC_TYPES.get(report.exec_type)
    if kind is not event.kind and not (kind in _ENDS and event.kind in _ENDS):
        found.append(f"ExecType here {event.kind}, {there} {kind or report.exec_type}")
    ours = (event.cl_ord_id, event.request_id, event.order)
    if report.cl_ord_id not in ours and (not report.orig_cl_ord_id or report.orig_cl_ord_id not in ours):
        found.append(f"ClOrdID here {event.cl_ord_id}, {there} {report.cl_ord_id}")
    for name, one, two in (
        ("OrderID", event.order_id, report.order_id),
        ("Symbol", event.symbol, report.symbol),
        ("TrdMatchID", event.trd_match_id, report.trd_match_id),
        ("AggressorIndicator", event.aggressor, report.aggressor),
    ):
        if one != two and one and two:
            found.append(f"{name} here {one}, {there} {two}")
    if report.side != event.side:
        found.append(f"Side here {event.side}, {there} {report.side}")
    if event.kind is EventKind.TRADE:
        return _of_trades(found, event, report, there)
    if (
        event.kind is EventKind.NEW
        and report.price
        and event.price != report.price
        and _is_first_terms(event)
    ):
        found.append(f"Price here {PRICE_TEXTS[event.price]}, {there} {PRICE_TEXTS[report.price]}")
    return Differences(found)


def _is_first_terms(event: OrderEvent) -> bool:
    # The tape shows the terms in force; they are the report's own only while nothing has changed the order.
    return event.source is Source.SESSION and not event.late and event.cl_ord_id == event.order


def _of_trades(
    found: list[str], here: OrderEvent | ReportCopy, report: ReportCopy, there: str
) -> Differences:
    if here.last_px != report.last_px:
        found.append(f"LastPx here {PRICE_TEXTS[here.last_px]}, {there} {PRICE_TEXTS[report.last_px]}")
    if here.last_qty != report.last_qty:
        found.append(f"LastQty here {QTY_TEXTS[here.last_qty]}, {there} {QTY_TEXTS[report.last_qty]}")
    for name, one, two in (
        ("LongQty", here.long_qty, report.long_qty),
        ("ShortQty", here.short_qty, report.short_qty),
    ):
        if one != two and one >= 0 and two >= 0:
            found.append(f"{name} here {QTY_TEXTS[one]}, {there} {QTY_TEXTS[two]}")
    others, money = len(found), 0
    for name, one, two in (
        ("fee", here.fee, report.fee),
        ("collateral", here.collateral, report.collateral),
    ):
        if one != two:
            money += abs(one - two)
            found.append(f"{name} here {format_money(one)}, {there} {format_money(two)}")
    return Differences(found, -1 if others else money)


def between_reports(
    here: ReportCopy, there: ReportCopy, names: tuple[str, str], *, loose: bool = False
) -> Differences:
    """Compare two reports of the venue under one ExecID.

    Args:
        names: what to call their witnesses.
        loose: one of them is put together from a journal: any id of the order will do.
    """
    found = []
    one, two = names
    kinds = EXEC_TYPES.get(here.exec_type), EXEC_TYPES.get(there.exec_type)
    if here.exec_type != there.exec_type and not _ENDS.issuperset(kinds):
        found.append(f"ExecType {one} {here.exec_type}, {two} {there.exec_type}")
    ids = {here.cl_ord_id, here.orig_cl_ord_id} & {there.cl_ord_id, there.orig_cl_ord_id} - {""}
    if here.cl_ord_id != there.cl_ord_id and here.cl_ord_id and there.cl_ord_id and not (loose and ids):
        found.append(f"ClOrdID {one} {here.cl_ord_id}, {two} {there.cl_ord_id}")
    for name, a, b in (
        ("OrderID", here.order_id, there.order_id),
        ("Symbol", here.symbol, there.symbol),
        ("TrdMatchID", here.trd_match_id, there.trd_match_id),
        ("AggressorIndicator", here.aggressor, there.aggressor),
    ):
        if a != b and a and b:
            found.append(f"{name} {one} {a}, {two} {b}")
    if here.side != there.side and here.side and there.side:
        found.append(f"Side {one} {here.side}, {two} {there.side}")
    for name, mine, its in (
        ("CumQty", here.cum_qty, there.cum_qty),
        ("LeavesQty", here.leaves_qty, there.leaves_qty),
    ):
        if mine != its and (mine, its).count(-1) == 0:
            found.append(f"{name} {one} {QTY_TEXTS[mine]}, {two} {QTY_TEXTS[its]}")
    if here.exec_type == there.exec_type == "F":
        texts, money = _of_trades([], here, there, two)
        return Differences(
            found + [text.replace(" here ", f" {one} ") for text in texts], -1 if found else money
        )
    return Differences(found)
