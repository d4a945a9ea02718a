"""`scripts/reconcile compare`: two records of the same account against each other, with the engine down.

Each side is one of

    journal    an order journal (`order_entry.sqlite`), or the run directory that it lies in
    FIX log    raw FIX, one message a line, `|` or SOH between fields: its ExecutionReports(35=8)
    CSV        one row a report with a header; columns below

Reports are joined by ExecID and compared field by field in what both sides say. What a kind of file never holds is not
missing in it: a FIX log of KalshiDC has no rejects, a CSV of fills nothing but fills, a column that is not there says
nothing. With `overlap_only` what lies before the first or after the last ExecID of the other side is not missing either.
"""

import csv
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from engine.common.fixed_point import (
    PRICE_DECIMALS,
    QTY_DECIMALS,
    format_money,
    parse_fixed,
    parse_money,
)
from engine.drop_copy import breaks as brk
from engine.drop_copy.breaks import Tolerance, id_of
from engine.drop_copy.differences import EXEC_TYPES, Differences, between_reports
from engine.drop_copy.keys import Key, key_of, text_of
from engine.drop_copy.queries import report_copy
from engine.errors import EXIT_BREAKS, EXIT_OK, UsageError
from engine.fix.errors import ProtocolError
from engine.fix.message import parse
from engine.kalshi.codec import BadField, decode
from engine.kalshi.messages import ExecutionReport
from engine.messages.executions import EventKind, OrderEvent, ReportCopy
from engine.messages.reconciliation import BreakNote
from engine.tools.reconciling.journals import OrderJournal

NOT_SAID: Final = -1
_SHOWN_MAX: Final = 200
_TYPE_OF: Final = {kind.value: exec_type for exec_type, kind in EXEC_TYPES.items()}
_NEEDED: Final = ("exec_id", "market", "side", "last_qty", "last_px")
_MESSAGE: Final = re.compile(r"8=FIXT?\.\d\.\d[|\x01].*?[|\x01]10=\d{3}(?:[|\x01]|$)")
_TRADE: Final = "F"
_REJECTED: Final = "8"


class Side(msgspec.Struct, kw_only=True):
    """One side of a comparison.

    Attributes:
        kind: `journal`, `FIX log` or `CSV`. reports: by key. types: which ExecTypes it holds. found: its own breaks.
        absent: fields that it says nothing of. orders: every id of an order that a journal knows.
    """

    path: str
    kind: str
    absent: list[str] = []
    reports: dict[Key, ReportCopy] = {}
    types: set[str] = set()
    found: list[BreakNote] = []
    orders: set[str] = set()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison came to; `breaks` in the order of severity and ExecID."""

    clean: bool
    ours: str
    theirs: str
    ours_reports: int
    theirs_reports: int
    agree: int
    breaks: list[BreakNote]


def compare(ours: str, theirs: str, tolerance: str, *, as_json: bool, overlap_only: bool = False) -> int:
    """Compare two files and print what differs; return the exit code. Raises UsageError, JournalError."""
    try:
        allowed = Tolerance(parse_money(tolerance))
    except ValueError as error:
        raise UsageError(f"--tolerance: {error}; dollars are needed") from None
    outcome = compared(load(ours), load(theirs), allowed, overlap_only=overlap_only)
    if as_json:
        print(_json(outcome))
    else:
        print(_text(outcome))
    return EXIT_OK if outcome.clean else EXIT_BREAKS


def compared(ours: Side, theirs: Side, tolerance: Tolerance, *, overlap_only: bool = False) -> Outcome:
    """Compare two sides."""
    found = [*ours.found, *theirs.found]
    types = ours.types & theirs.types
    if {ours.kind, theirs.kind} != {"journal"}:
        types.discard(_REJECTED)  # drop copy and fills never show them
    reach = _reach(ours.reports), _reach(theirs.reports)
    agree = 0
    lost_orders: dict[str, int] = {}
    for key in sorted(ours.reports.keys() | theirs.reports.keys()):
        here, there = ours.reports.get(key), theirs.reports.get(key)
        if here is not None and there is not None:
            here, there = _as_said(here, there, theirs.absent), _as_said(there, here, ours.absent)
            differences = between_reports(here, there, ("ours", "theirs"), loose=True)
            if differences.texts:
                found.append(_note(brk.DIFFERENT, key, here, differences.text, differences))
            else:
                agree += 1
            continue
        one = here or there
        assert one is not None, "a key comes from one of the sides"
        if one.exec_type not in types or (overlap_only and not _within(key, reach[0 if here is None else 1])):
            continue
        if here is None:
            if ours.orders and one.cl_ord_id and not _knows(ours, one):
                lost_orders[one.cl_ord_id] = lost_orders.get(one.cl_ord_id, 0) + 1
            found.append(_note(brk.MISSING_HERE, key, one, f"{_what(one)}: theirs has it, ours does not"))
        else:
            found.append(_note(brk.MISSING_THERE, key, one, f"{_what(one)}: ours has it, theirs does not"))
    found += [
        BreakNote(
            break_id=f"{brk.MISSING_ORDER}-{cl_ord_id}",
            kind=brk.MISSING_ORDER,
            status=brk.OPEN,
            wall_ns=0,
            cl_ord_id=cl_ord_id,
            text=f"ours has nothing of this order, theirs has {count} reports",
        )
        for cl_ord_id, count in lost_orders.items()
    ]
    noted = [msgspec.structs.replace(note, severity=tolerance.severity_of(note)) for note in found]
    kept = [note for note in noted if note.severity != brk.MINOR]
    kept.sort(
        key=lambda note: (
            brk.SEVERITIES.index(note.severity),
            note.kind,
            key_of(note.exec_id) or (),
            note.break_id,
        )
    )
    return Outcome(
        clean=not kept,
        ours=f"{ours.path} ({ours.kind})",
        theirs=f"{theirs.path} ({theirs.kind})",
        ours_reports=len(ours.reports),
        theirs_reports=len(theirs.reports),
        agree=agree,
        breaks=kept,
    )


def _knows(side: Side, report: ReportCopy) -> bool:
    return bool(({report.cl_ord_id, report.orig_cl_ord_id, report.order_id} - {""}) & side.orders)


def _reach(reports: dict[Key, ReportCopy]) -> dict[int, tuple[Key, Key]]:
    reach: dict[int, tuple[Key, Key]] = {}
    for key in reports:
        low, high = reach.get(key[2], (key, key))
        reach[key[2]] = (min(low, key), max(high, key))
    return reach


def _within(key: Key, reach: dict[int, tuple[Key, Key]]) -> bool:
    low, high = reach.get(key[2], ((0, 0, -1), (-1, 0, -1)))
    return low <= key <= high


def _as_said(report: ReportCopy, other: ReportCopy, absent: list[str]) -> ReportCopy:
    """Return a report with what the other side says nothing of taken from there, so that it can't differ."""
    if not absent:
        return report
    return msgspec.structs.replace(report, **{name: getattr(other, name) for name in absent})


def _what(report: ReportCopy) -> str:
    kind = EXEC_TYPES.get(report.exec_type)
    return f"{kind.value if kind is not None else report.exec_type} in {report.symbol}"


def _note(
    kind: str, key: Key, report: ReportCopy, text: str, differences: Differences | None = None
) -> BreakNote:
    return BreakNote(
        break_id=id_of(kind, key),
        kind=kind,
        status=brk.OPEN,
        wall_ns=report.transact_ns,
        first_ns=report.transact_ns,
        exec_id=text_of(key),
        cl_ord_id=report.cl_ord_id,
        symbol=report.symbol,
        text=text,
        amount=differences.money if differences is not None else -1,
    )


# ---- reading


def load(path: str) -> Side:
    """Read one side, whatever of the three it is. Raises UsageError, JournalError."""
    if os.path.isdir(path):
        inner = os.path.join(path, "state", "order_entry.sqlite")
        if not os.path.exists(inner):
            raise UsageError(f"{path}: is a directory without {inner}")
        path = inner
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
    if head.startswith(b"SQLite format 3\0"):
        side = Side(path=path, kind="journal")
        _take(side, _of_journal(path, side), once=True)
    elif b"8=FIX" in head:
        side = Side(path=path, kind="FIX log")
        _take(side, _of_fix_log(path), once=False)
    else:
        side = Side(path=path, kind="CSV")
        _take(side, _of_csv(path, side), once=True)
    side.types = {report.exec_type for report in side.reports.values()}
    if side.kind != "CSV":
        side.types |= set(EXEC_TYPES)
    elif not side.types:
        side.types = {_TRADE}
    return side


def _take(side: Side, reports: Iterator[ReportCopy], *, once: bool) -> None:
    """Gather reports by key; a key twice is a duplicate, but in a FIX log only with other content (it resends)."""
    for report in reports:
        key = key_of(report.exec_id)
        if key is None:
            continue
        earlier = side.reports.setdefault(key, report)
        if earlier is report:
            continue
        differences = between_reports(earlier, report, ("first", "then"))
        if once or differences.texts:
            text = f"{side.kind} {os.path.basename(side.path)} has it twice"
            text += f", with different content: {differences.text}" if differences.texts else ""
            note = _note(brk.DUPLICATE, key, report, text)
            if all(known.break_id != note.break_id for known in side.found):
                side.found.append(note)


def _of_journal(path: str, side: Side) -> Iterator[ReportCopy]:
    try:
        for event in OrderJournal(path):
            side.orders.update((event.order, event.cl_ord_id, event.request_id, event.order_id))
            if event.exec_id:
                yield _copy_of_event(event)
    except sqlite3.Error as error:
        raise UsageError(f"{path}: is no journal: {error}") from None


def _copy_of_event(event: OrderEvent) -> ReportCopy:
    trade = event.kind is EventKind.TRADE
    return ReportCopy(
        exec_id=event.exec_id,
        cl_ord_id=event.request_id or event.cl_ord_id or event.order,
        exec_type=_TYPE_OF.get(event.kind.value, event.kind.value),
        ord_status="",
        symbol=event.symbol,
        side=event.side,
        orig_cl_ord_id=event.cl_ord_id if event.request_id else event.order,
        order_id=event.order_id,
        cum_qty=NOT_SAID,  # our own order's numbers are not a report's
        leaves_qty=NOT_SAID,
        last_px=event.last_px if trade else 0,
        last_qty=event.last_qty if trade else 0,
        fee=event.fee if trade else 0,
        collateral=event.collateral if trade else 0,
        long_qty=event.long_qty,
        short_qty=event.short_qty,
        aggressor=event.aggressor,
        trd_match_id=event.trd_match_id,
        text=event.text,
        transact_ns=event.transact_ns,
    )


def _of_fix_log(path: str) -> Iterator[ReportCopy]:
    with open(path, encoding="latin-1", newline="") as file:
        for line in file:
            for match in _MESSAGE.finditer(line.rstrip("\r\n")):
                report = _report_of(match[0])
                if report is not None:
                    yield report


def _report_of(text: str) -> ReportCopy | None:
    if "35=8" not in text:
        return None
    wire = text.replace("|", "\x01").encode("latin-1")
    if not wire.endswith(b"\x01"):
        wire += b"\x01"
    try:
        message = decode(parse(wire))
    except (ProtocolError, BadField, ValueError):
        return None
    return report_copy(message) if isinstance(message, ExecutionReport) else None


def _of_csv(path: str, side: Side) -> Iterator[ReportCopy]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or [])]
            if missing:
                raise UsageError(
                    f"{path}: is neither a journal nor a FIX log, and as CSV the column {missing[0]!r} is missing; "
                    f"needed: {', '.join(_NEEDED)} (docs/reconciliation.md)"
                )
            side.absent = [name for name in ("fee", "collateral") if name not in (reader.fieldnames or [])]
            for row in reader:
                yield _of_row(row, f"{path}, line {reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: can't be read as CSV: {error}") from None


def _of_row(row: dict[str, str], where: str) -> ReportCopy:
    def text(name: str) -> str:
        value = (row.get(name) or "").strip()
        return value[1:] if value[:1] == "'" else value

    def number(name: str, parse_text: Callable[[str], int], absent: int) -> int:
        value = text(name)
        if not value:
            return absent
        try:
            return parse_text(value)
        except ValueError as error:
            raise UsageError(f"{where}: {name}: {error}") from None

    kind = text("exec_type") or "trade"
    side = {"buy": 1, "1": 1, "sell": 2, "2": 2}.get(text("side").lower(), 0)
    if not side:
        raise UsageError(f"{where}: side: {text('side')!r} is not buy or sell")
    if key_of(text("exec_id")) is None:
        raise UsageError(f"{where}: exec_id: {text('exec_id')!r} is no ExecID clock;event")
    return ReportCopy(
        exec_id=text("exec_id"),
        cl_ord_id=text("cl_ord_id"),
        exec_type=_TYPE_OF.get(kind.lower(), kind),
        ord_status="",
        symbol=text("market"),
        side=side,
        orig_cl_ord_id=text("order"),
        order_id=text("order_id"),
        cum_qty=NOT_SAID,
        leaves_qty=NOT_SAID,
        last_px=number("last_px", lambda value: parse_fixed(value, PRICE_DECIMALS), 0),
        last_qty=number("last_qty", lambda value: parse_fixed(value, QTY_DECIMALS), 0),
        fee=number("fee", parse_money, 0),
        collateral=number("collateral", parse_money, 0),
        long_qty=number("long_qty", lambda value: parse_fixed(value, QTY_DECIMALS), -1),
        short_qty=number("short_qty", lambda value: parse_fixed(value, QTY_DECIMALS), -1),
        aggressor=text("aggressor"),
        trd_match_id=text("trd_match_id"),
        text=text("text"),
    )


# ---- saying


def _json(outcome: Outcome) -> str:
    value: dict[str, Any] = msgspec.to_builtins(outcome)
    value["exit_code"] = EXIT_OK if outcome.clean else EXIT_BREAKS
    for note in value["breaks"]:
        note["id"], note["class"] = note["break_id"], note["kind"]
    return json.dumps(value, indent=2)


def _text(outcome: Outcome) -> str:
    count = len(outcome.breaks)
    lines = [
        f"Comparison: {'CLEAN' if outcome.clean else f'{count} DIFFERENCE' + ('S' if count > 1 else '')}",
        f"ours    {outcome.ours}: {outcome.ours_reports} reports",
        f"theirs  {outcome.theirs}: {outcome.theirs_reports} reports",
        f"{outcome.agree} agree in every field that both have",
    ]
    for note in outcome.breaks[:_SHOWN_MAX]:
        size = f" ({format_money(note.amount)} dollars)" if note.amount > 0 else ""
        lines.append(f"{note.severity:9}{note.break_id}  {note.symbol}  {note.text}{size}".rstrip())
    if count > _SHOWN_MAX:
        lines.append(f"... and {count - _SHOWN_MAX} more: --json has them all")
    return "\n".join(lines)
