"""The reconciliation report as text for a terminal, and as JSON. Pure; exact decimals only."""

import msgspec

from engine.common.clock import iso_time
from engine.common.fixed_point import PRICE_TEXTS, QTY_TEXTS, format_money
from engine.drop_copy import breaks as brk
from engine.drop_copy.report.model import CLASSES, BreakRecord, Line, MoneyProof, Proof, Report
from engine.messages.reconciliation import BreakNote

_RESTING_SHOWN = 20
_BREAKS_SHOWN = 50


def render_json(report: Report) -> str:
    """Return the report as one JSON object, all numbers as the ints that the struct holds."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def render_text(report: Report) -> str:
    """Return the report as text."""
    parts = [_head(report)]
    lines = [line for line in report.lines if line.strategy > 0 or line.orders or line.fills or line.qty]
    if lines:
        parts.append(_table(_line_rows([*lines, *report.account]), left=2))
    if report.proofs:
        parts.append(_table(_proof_rows(report.proofs), left=1))
    if any(not row.ok or row.funding for row in report.money):
        parts.append(_table(_money_rows(report.money), left=1))
    parts.append(_witnesses(report))
    if report.resting:
        parts.append(_resting(report))
    if report.break_list:
        parts.append(render_breaks(report))
    return "\n\n".join(parts)


def render_breaks(report: Report, *, ended: bool = False) -> str:
    """Return the open breaks, one a line; `ended`: those that ended, too."""
    notes = [*report.break_list, *(report.ended if ended else [])]
    if not notes:
        return "no breaks" if ended else "no open breaks"
    rows = [["break", "severity", "status", "first seen", "market", "ExecID", "what"]]
    rows += [
        [
            note.break_id,
            note.severity or "-",
            note.status,
            iso_time(note.first_ns or note.wall_ns),
            note.symbol,
            note.exec_id,
            note.text,
        ]
        for note in notes[:_BREAKS_SHOWN]
    ]
    text = _table(rows, left=7)
    more = len(notes) - _BREAKS_SHOWN
    return f"{text}\n... and {more} more: --json has them all" if more > 0 else text


def break_record(note: BreakNote, history: list[BreakNote]) -> BreakRecord:
    """Return a break with its history, for programs."""
    entries = history or [note]
    return BreakRecord(
        id=note.break_id,
        kind=note.kind,
        severity=note.severity,
        status=note.status,
        first_seen=iso_time(note.first_ns or entries[0].wall_ns),
        last_seen=iso_time(note.wall_ns),
        market=note.symbol,
        exec_id=note.exec_id,
        cl_ord_id=note.cl_ord_id,
        text=note.text,
        amount=note.amount,
        who=note.who,
        history=[
            {
                "time": iso_time(entry.wall_ns),
                "status": entry.status,
                "text": entry.text,
                "who": entry.who,
            }
            for entry in entries
        ],
    )


def render_break(note: BreakNote, history: list[BreakNote]) -> str:
    """Return one break with everything that is known of it."""
    first = note.first_ns or (history or [note])[0].wall_ns
    lines = [
        f"break      {note.break_id}",
        f"class      {note.kind}",
        f"severity   {note.severity or '-'}",
        f"status     {note.status}{f' by {note.who}' if note.who else ''}",
        f"first seen {iso_time(first)}",
        f"market     {note.symbol or '-'}",
        f"ExecID     {note.exec_id or '-'}",
        f"ClOrdID    {note.cl_ord_id or '-'}",
    ]
    if note.kind == brk.GAP:
        lines.append(f"until      {iso_time(note.until_ns) if note.until_ns else 'goes on'}")
    lines += [f"{iso_time(entry.wall_ns)}  {entry.status}: {entry.text}" for entry in history or [note]]
    return "\n".join(lines)


def _head(report: Report) -> str:
    # One sentence first: what a reader must know if he reads nothing else.
    verdict = "CLEAN" if report.clean else f"{report.breaks} OPEN BREAK{'S' if report.breaks > 1 else ''}"
    lines = [f"Reconciliation {report.run}: {verdict}".replace("  ", " ")]
    if report.first_ns:
        lines.append(f"{iso_time(report.first_ns)} to {iso_time(report.last_ns)}")
    unknown = f" ({report.unknown_orders} with an unknown outcome)" if report.unknown_orders else ""
    lines.append(
        f"{report.orders} orders, {report.fills} fills, {report.open_orders} open{unknown}, "
        f"volume ${_money(report.volume)}, fees ${_money(report.fees)}, realised ${_money(report.realised)}"
    )
    if report.period and report.period != "the whole journal":
        lines.insert(1, f"period {report.period}")
    lines += [f"HALTED: {scope}: {why}" for scope, why in report.latches.items()]
    return "\n".join(lines)


def _witnesses(report: Report) -> str:
    last = report.last_sweep
    swept = "never"
    if last is not None:
        swept = f"{iso_time(last.began_ns)}, {'complete' if last.complete else 'NOT complete'}"
        swept += f": {last.reason}" if last.reason else ""
    closed = ", ".join(f"{count} {kind}" for kind, count in report.closed_breaks.items()) or "none"
    reports = f"{report.confirmed} confirmed by both witnesses, {report.recovered} recovered, {report.foreign} foreign"
    classes = ", ".join(f"{report.classes[name]} {name}" for name in CLASSES if name in report.classes)
    if report.unconfirmed:
        reports += f", {report.unconfirmed} newer than the watermark"
    rows = [
        ("drop copy", f"{report.sweeps} sweeps, {report.complete_sweeps} complete; last {swept}"),
        *([("listener", f"heard {report.listener} reports")] if report.listener is not None else []),
        ("reports", reports),
        ("by class", classes or "none"),
        ("watermark", report.watermark or "none"),
        ("breaks that ended", closed),
        *([("explained", f"{report.explained} by an operator")] if report.explained else []),
        ("order journal", f"{report.order_journal_rows} rows, head {report.order_journal_head or '-'}"),
        *([("report hash", report.report_hash)] if report.report_hash else []),
    ]
    return "\n".join(f"{name:<18}{text}" for name, text in rows)


def _resting(report: Report) -> str:
    rows = [["open order", "strategy", "market", "side", "price", "qty", "leaves", "state"]]
    rows += [
        [
            order.order,
            order.name,
            order.symbol,
            "buy" if order.side == 1 else "sell",
            PRICE_TEXTS[order.price],
            QTY_TEXTS[order.qty],
            QTY_TEXTS[order.leaves_qty],
            order.state,
        ]
        for order in report.resting[:_RESTING_SHOWN]
    ]
    more = len(report.resting) - _RESTING_SHOWN
    text = _table(rows, left=4)
    return f"{text}\n... and {more} more" if more > 0 else text


def _line_rows(lines: list[Line]) -> list[list[str]]:
    rows = [
        [
            "strategy",
            "market",
            "orders",
            "fills",
            "volume $",
            "maker",
            "taker",
            "fees $",
            "realised $",
            "marked $",
            "net $",
            "position",
        ]
    ]
    rows += [
        [
            line.name,
            line.symbol,
            str(line.orders),
            str(line.fills),
            _money(line.volume),
            QTY_TEXTS[line.maker],
            QTY_TEXTS[line.taker],
            _money(line.fees),
            _money(line.realised),
            "no mark" if line.marked is None else _money(line.marked),
            "no mark" if line.marked is None else _money(line.net),
            QTY_TEXTS[line.qty],
        ]
        for line in lines
    ]
    return rows


def _proof_rows(proofs: list[Proof]) -> list[list[str]]:
    corrected = any(proof.corrections for proof in proofs)
    rows = [
        [
            "market",
            "opening",
            *(["+ accepted"] if corrected else []),
            "+ fills",
            "= closing",
            "venue's",
            "at",
            "",
        ]
    ]
    rows += [
        [
            proof.symbol,
            QTY_TEXTS[proof.opening],
            *([QTY_TEXTS[proof.corrections]] if corrected else []),
            QTY_TEXTS[proof.fills],
            QTY_TEXTS[proof.closing],
            "not said" if proof.venue is None else QTY_TEXTS[proof.venue],
            proof.exec_id or "-",
            "ok" if proof.ok else "DIFFERENT",
        ]
        for proof in proofs
    ]
    return rows


def _money_rows(proofs: list[MoneyProof]) -> list[list[str]]:
    rows = [
        ["market", "received $", "- paid $", "= realised $", "- cost change $", "fees $", "funding $", ""]
    ]
    rows += [
        [
            row.symbol,
            _money(row.received),
            _money(row.paid),
            _money(row.realised),
            _money(row.cost_change),
            _money(row.fees),
            _money(row.funding),
            "ok" if row.ok else "DIFFERENT",
        ]
        for row in proofs
    ]
    return rows


def _money(value: int) -> str:
    text = format_money(value)
    return text[:-4] + text[-4:].rstrip("0")  # cents always, what is below them only when there is something


def _table(rows: list[list[str]], left: int) -> str:
    # The first `left` columns are text, the others numbers, flush right.
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
