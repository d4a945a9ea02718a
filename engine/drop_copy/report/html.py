"""The reconciliation report as one HTML file: works offline, prints on A4, ends with a place to sign. Pure.

Everything that comes from a journal is escaped; no script, no address is in it. Numbers are exact: what is rounded for
reading is nowhere.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from engine.common.clock import SECOND, iso_time
from engine.common.fixed_point import PRICE_TEXTS, QTY_TEXTS, format_money
from engine.drop_copy import breaks as brk
from engine.drop_copy.report.charts import Charts
from engine.drop_copy.report.model import CLASSES, Line, Report
from engine.messages.reconciliation import BreakNote

_ROWS_MAX: Final = 500
_SIDES: Final = {1: "buy", 2: "sell"}
_TYPES: Final = {
    "0": "New",
    "F": "Trade",
    "5": "Replaced",
    "4": "Canceled",
    "C": "Expired",
    "8": "Rejected",
}

STYLE: Final = """
@page { size: A4; margin: 14mm 13mm 16mm; }
:root { --ink:#1c2733; --quiet:#5d6b79; --line:#d9dee4; --paper:#fff; --good:#1a7f4b; --bad:#b3261e; --note:#8a5a00; }
* { box-sizing: border-box; }
body { margin: 0; background: #eef1f4; color: var(--ink); font: 13px/1.45 "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
main { max-width: 1020px; margin: 24px auto; background: var(--paper); padding: 34px 42px 40px; box-shadow: 0 1px 4px #0002; }
h1 { font-size: 22px; margin: 0; letter-spacing: -.2px; }
h2 { font-size: 15px; margin: 30px 0 8px; padding-bottom: 4px; border-bottom: 2px solid var(--ink); }
h3 { font-size: 12.5px; margin: 16px 0 4px; }
p { margin: 6px 0; }
.quiet { color: var(--quiet); }
.head { display: flex; justify-content: space-between; gap: 24px; align-items: flex-start; }
.head .quiet { margin-top: 3px; }
.verdict { border-radius: 4px; color: #fff; padding: 11px 18px; text-align: right; min-width: 210px; }
.verdict b { display: block; font-size: 20px; letter-spacing: .5px; }
.clean { background: var(--good); } .broken { background: var(--bad); } .latched { background: var(--note); }
.cards { display: grid; grid-template-columns: repeat(6, 1fr); gap: 0; margin: 20px 0 4px; border: 1px solid var(--line); border-radius: 4px; }
.cards div { padding: 9px 12px; border-right: 1px solid var(--line); } .cards div:last-child { border: 0; }
.cards b { display: block; font-size: 16px; font-variant-numeric: tabular-nums; white-space: nowrap; }
.cards span { color: var(--quiet); font-size: 11px; }
table { border-collapse: collapse; width: 100%; font-size: 11.5px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--quiet); border-bottom: 1px solid var(--ink); padding: 4px 6px; vertical-align: bottom; }
td { border-bottom: 1px solid var(--line); padding: 4px 6px; vertical-align: top; }
th:first-child, td:first-child { padding-left: 0; } th:last-child, td:last-child { padding-right: 0; }
th.n, td.n { text-align: right; white-space: nowrap; }
td.w { overflow-wrap: break-word; } .t { white-space: nowrap; }
tr.sum td { font-weight: 600; border-top: 1px solid var(--ink); }
.ok { color: var(--good); font-weight: 600; } .no { color: var(--bad); font-weight: 600; }
.critical, .major { color: var(--bad); font-weight: 600; } .minor { color: var(--note); font-weight: 600; } .info { color: var(--quiet); }
figure { margin: 10px 0 14px; break-inside: avoid; } figure svg { width: 100%; height: auto; display: block; }
figcaption { font-size: 11px; color: var(--quiet); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 22px; break-inside: avoid; }
.mono { font-family: "SFMono-Regular", Consolas, "Liberation Mono", monospace; font-size: 10.5px; overflow-wrap: break-word; } dd.mono { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: 170px 1fr; gap: 3px 12px; margin: 8px 0; font-size: 11.5px; } dt { color: var(--quiet); } dd { margin: 0; }
.sign { display: grid; grid-template-columns: 1fr 1fr; gap: 34px; margin-top: 18px; break-inside: avoid; }
.sign div { border-top: 1px solid var(--ink); padding-top: 4px; margin-top: 46px; font-size: 11px; color: var(--quiet); }
.signature { break-inside: avoid; }
thead { display: table-header-group; } tr { break-inside: avoid; }
@media print { body { background: #fff; font-size: 11px; } main { box-shadow: none; margin: 0; padding: 0; max-width: none; }
  h2 { break-after: avoid; margin-top: 20px; } h3 { break-after: avoid; } table { font-size: 9.2px; } .mono { font-size: 8.4px; } .t { font-size: 8.6px; }
  .verdict, .cards { -webkit-print-color-adjust: exact; print-color-adjust: exact; } .cards b { font-size: 13px; } }
"""


def render_html(report: Report, charts: Charts) -> str:
    """Return the whole document."""
    parts = [
        _head(report),
        _cards(report),
        _breaks(report),
        _witnesses(report),
        _lines(report),
        _proofs(report),
        _money(report),
        _charts(charts),
        _recovery(report),
        _resting(report),
        _provenance(report),
        _signature(report),
    ]
    title = escape(f"Reconciliation {report.origin.name or report.run}".strip())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


# ---- pieces


def money(value: int | None) -> str:
    """Write dollars: cents always, what is below them only when there is something."""
    if value is None:
        return "no mark"
    text = format_money(value)
    return text[:-4] + text[-4:].rstrip("0")


def _time(wall_ns: int) -> str:
    return f'<span class="t">{iso_time(wall_ns).replace("T", " ")}</span>' if wall_ns else "-"


def _table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: set[int],
    wide: set[int] | None = None,
    sums: int = 0,
) -> str:
    """Return a table of cells that are HTML already; `numbers`: columns flush right; the last `sums` rows are totals."""
    rows = list(rows)

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{_class(at, numbers, wide or set())}>{cell}</{tag}>" for at, cell in enumerate(row)
        )

    body = "".join(
        f"<tr{' class=sum' if at >= len(rows) - sums else ''}>{cells(row, 'td')}</tr>"
        for at, row in enumerate(rows)
    )
    return f"<table><thead><tr>{cells(heads, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _class(at: int, numbers: set[int], wide: set[int]) -> str:
    return ' class="n"' if at in numbers else ' class="w"' if at in wide else ""


def _cut(count: int) -> str:
    left = count - _ROWS_MAX
    return f'<p class="quiet">... and {left} more: the JSON report has them all.</p>' if left > 0 else ""


def _head(report: Report) -> str:
    origin = report.origin
    what = " · ".join(filter(None, (origin.name or report.run, origin.environment)))
    if not report.clean:
        kind, word = "broken", f"{report.breaks} OPEN BREAK{'S' if report.breaks > 1 else ''}"
        said = "not to be signed without explanations"
    elif report.latches:
        kind, word, said = "latched", "RISK LATCH", f"reconciled, {len(report.latches)} latched"
    else:
        kind, word, said = "clean", "CLEAN", "every witness agrees"
        if report.explained:
            said = f"{report.explained} break{'s' if report.explained > 1 else ''} explained"
    span = f"{_time(report.first_ns)} to {_time(report.last_ns)}" if report.first_ns else "no events"
    return (
        f'<div class="head"><div><h1>Reconciliation report</h1><div class="quiet">{escape(what)}<br>'
        f"Period: {escape(report.period)}<br>Events: {span}, UTC</div></div>"
        f'<div class="verdict {kind}"><b>{word}</b>{escape(said)}</div></div>'
    )


def _cards(report: Report) -> str:
    cards = [
        ("orders", str(report.orders)),
        ("fills", str(report.fills)),
        ("volume $", money(report.volume)),
        ("fees $", money(report.fees)),
        ("realised P&amp;L $", money(report.realised)),
        ("net P&amp;L $", money(report.net) if report.marked is not None else "no mark"),
    ]
    inner = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for name, value in cards)
    text = ""
    for scope, why in report.latches.items():
        text += f'<p class="no">Halted: {escape(scope)}: {escape(why)}</p>'
    if report.unknown_orders:
        text += f'<p class="no">{report.unknown_orders} orders with an unknown outcome: counted at their worst.</p>'
    return f'<div class="cards">{inner}</div>{text}'


def _break_row(note: BreakNote) -> list[str]:
    return [
        f'<span class="mono">{escape(note.break_id)}</span>',
        escape(note.kind),
        f'<span class="{note.severity or "info"}">{escape(note.severity or "-")}</span>',
        _time(note.first_ns or note.wall_ns),
        escape(note.symbol or "-"),
        f'<span class="mono">{escape(note.exec_id or note.cl_ord_id or "-")}</span>',
        escape(note.text),
    ]


def _breaks(report: Report) -> str:
    heads = ["id", "class", "severity", "first seen", "market", "ExecID or order", "what"]
    parts = ["<h2>Breaks</h2>"]
    if report.break_list:
        parts.append(_table(heads, map(_break_row, report.break_list[:_ROWS_MAX]), set(), {0, 5, 6}))
        parts.append(_cut(len(report.break_list)))
    else:
        parts.append('<p class="ok">No open breaks.</p>')
    gaps = [note for note in [*report.break_list, *report.ended] if note.kind == brk.GAP]
    if gaps:
        rows = [
            [
                escape(note.status),
                _time(note.first_ns),
                _time(note.until_ns) if note.until_ns else "goes on",
                escape(note.who or "-"),
                escape(note.text),
            ]
            for note in gaps
        ]
        parts.append("<h3>Gaps: times of which no witness proves anything</h3>")
        parts.append(_table(["status", "from", "to", "by", "what"], rows, set(), {4}))
    told = [note for note in report.ended if note.kind not in {brk.GAP, brk.FOREIGN}]
    if told:
        parts.append("<h3>Breaks that ended</h3>")
        parts += [_ended(told), _cut(len(told))]
    return "".join(parts)


def _ended(told: list[BreakNote]) -> str:
    rows = [
        [
            f'<span class="mono">{escape(note.break_id)}</span>',
            escape(note.status) + (f" by {escape(note.who)}" if note.who else ""),
            _time(note.first_ns or note.wall_ns),
            _time(note.wall_ns),
            escape(note.symbol or "-"),
            (f"{escape(note.about)}: " if note.about else "") + escape(note.text),
        ]
        for note in told[:_ROWS_MAX]
    ]
    return _table(
        ["id", "status", "first seen", "ended", "market", "what, and how it ended"], rows, set(), {0, 5}
    )


def _witnesses(report: Report) -> str:
    rows = [
        [escape(CLASSES[name]), str(report.classes[name])] for name in CLASSES if report.classes.get(name)
    ]
    rows.append(["all reports with an ExecID", str(sum(report.classes.values()))])
    last = report.last_sweep
    swept = "never"
    if last is not None:
        swept = (
            f"no. {last.no} at {iso_time(last.began_ns)}, {'complete' if last.complete else 'NOT complete'}"
        )
        swept += f": {last.reason}" if last.reason else ""
    facts = [
        ("Order session (tape)", f"{report.order_journal_rows} events"),
        ("Drop copy", f"{report.sweeps} sweeps, {report.complete_sweeps} complete; last {swept}"),
        (
            "Listener session",
            "not configured" if report.listener is None else f"heard {report.listener} reports",
        ),
        (
            "Reconciled up to",
            f"{report.watermark} at {iso_time(report.watermark_ns)}" if report.watermark else "nothing yet",
        ),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    return (
        "<h2>Witnesses</h2><dl>"
        + listed
        + "</dl>"
        + _table(["every report, by its class", "reports"], rows, {1}, sums=1)
    )


def _line_row(line: Line, *, name: str) -> list[str]:
    return [
        escape(name),
        escape(line.symbol),
        str(line.orders),
        str(line.rejected),
        str(line.fills),
        money(line.volume),
        QTY_TEXTS[line.maker],
        QTY_TEXTS[line.taker],
        money(line.fees),
        money(line.realised),
        money(line.marked),
        money(line.funding),
        money(line.net) if line.marked is not None else "no mark",
        QTY_TEXTS[line.qty],
    ]


def _lines(report: Report) -> str:
    heads = [
        "strategy", "market", "orders", "refused", "fills", "volume $", "maker", "taker", "fees $", "realised $",
        "marked $", "funding $", "net $", "position",
    ]  # fmt: skip
    lines = [
        line
        for line in report.lines
        if line.strategy > 0 or line.orders or line.fills or line.qty or line.funding
    ]
    rows = [_line_row(line, name=line.name) for line in lines]
    rows += [_line_row(line, name="Account") for line in report.account]
    if len(report.account) > 1:
        rows.append(
            [
                "Account",
                "all markets",
                str(report.orders),
                str(sum(line.rejected for line in report.lines)),
                str(report.fills),
                money(report.volume),
                "",
                "",
                money(report.fees),
                money(report.realised),
                money(report.marked),
                money(report.funding),
                money(report.net) if report.marked is not None else "no mark",
                "",
            ]
        )
    sums = len(report.account) + (len(report.account) > 1)
    text = "<h2>Strategies and account</h2>" + _table(
        heads, rows, set(range(2, len(heads))), {0, 1}, sums=sums
    )
    if report.marks:
        at = "; ".join(
            f"{escape(mark.symbol)} {PRICE_TEXTS[mark.price]} ({escape(mark.source)}, {_time(mark.wall_ns)})"
            for mark in report.marks
        )
        text += f'<p class="quiet">Realised at average cost, totals carried exactly. Marked at {at}.</p>'
    if report.assignments:
        rows = [
            [
                escape(one.exec_id),
                escape(one.name),
                escape(one.why),
                escape(one.who),
                _time(one.wall_ns),
            ]
            for one in report.assignments[:_ROWS_MAX]
        ]
        text += "<h3>Foreign fills assigned by an operator</h3>" + _table(
            ["ExecID", "counts for", "why", "who", "when"], rows, set(), {2}
        )
    return text


def _proofs(report: Report) -> str:
    rows = [
        [
            escape(proof.symbol),
            QTY_TEXTS[proof.opening],
            QTY_TEXTS[proof.corrections],
            QTY_TEXTS[proof.fills],
            QTY_TEXTS[proof.closing],
            "not said" if proof.venue is None else QTY_TEXTS[proof.venue],
            f'<span class="mono">{escape(proof.exec_id or "-")}</span>',
            '<span class="ok">equal</span>' if proof.ok else '<span class="no">DIFFERENT</span>',
        ]
        for proof in report.proofs
    ]
    heads = [
        "market",
        "opening",
        "+ accepted",
        "+ fills",
        "= closing",
        "venue 704 - 705",
        "of ExecID",
        "",
    ]
    return "<h2>Proof of positions</h2>" + _table(heads, rows, {1, 2, 3, 4, 5}, {6})


def _money(report: Report) -> str:
    rows = [
        [
            escape(row.symbol),
            money(row.received),
            money(row.paid),
            money(row.realised),
            money(row.cost_change),
            '<span class="ok">equal</span>' if row.ok else '<span class="no">DIFFERENT</span>',
            money(row.fees),
            money(row.collateral),
            money(row.funding),
        ]
        for row in report.money
    ]
    heads = [
        "market", "received $", "- paid $", "= realised $", "- change of cost $", "", "fees $", "collateral (1704) $", "funding $",
    ]  # fmt: skip
    text = "<h2>Proof of money</h2>" + _table(heads, rows, {1, 2, 3, 4, 6, 7, 8})
    if report.fundings:
        rows = [
            [
                _time(one.at_ns),
                escape(one.symbol or "account"),
                money(one.amount),
                escape(one.key),
                escape(one.why),
                escape(one.who),
            ]
            for one in report.fundings[:_ROWS_MAX]
        ]
        text += "<h3>Funding, entered by hand (FIX does not show it)</h3>"
        text += _table(["booked", "market", "$", "key", "why", "who"], rows, {2}, {3, 4})
    return text


def _charts(charts: Charts) -> str:
    parts = ["<h2>Charts</h2>"]
    for symbol, svg, caption in charts.markets:
        parts.append(
            f"<figure><h3>{escape(symbol)}: fills against the market, position, profit and loss</h3>{svg}"
            f"<figcaption>{escape(caption)}; profit and loss is marked at each fill's price.</figcaption></figure>"
        )
    if charts.latency or charts.tokens:
        parts.append('<div class="pair">')
        if charts.latency:
            parts.append(f"<figure><h3>Tick to trade</h3>{charts.latency}</figure>")
        if charts.tokens:
            parts.append(f"<figure><h3>Write tokens used</h3>{charts.tokens}</figure>")
        parts.append("</div>")
    parts += [f'<p class="quiet">{escape(note)}</p>' for note in charts.notes]
    return "".join(parts)


def _recovery(report: Report) -> str:
    parts = ["<h2>Recovery: what the order session did not bring</h2>"]
    if not report.recovered_list:
        return parts[0] + '<p class="ok">Nothing was missed.</p>'
    rows = []
    for one in report.recovered_list[:_ROWS_MAX]:
        late = one.entered_ns - one.at_ns if one.entered_ns and one.at_ns else 0
        rows.append(
            [
                f'<span class="mono">{escape(one.exec_id)}</span>',
                escape(one.symbol),
                escape(_TYPES.get(one.exec_type, one.exec_type)),
                _time(one.at_ns),
                _time(one.found_ns),
                _time(one.entered_ns) if one.entered_ns else '<span class="no">not entered</span>',
                f"{max(late, 0) // (SECOND // 10) / 10:.1f} s" if late else "-",
                escape(one.way.replace("_", " ")),
            ]
        )
    heads = ["ExecID", "market", "report", "happened", "found", "in the journal", "late by", "came back by"]
    return parts[0] + _table(heads, rows, {6}, {0}) + _cut(len(report.recovered_list))


def _resting(report: Report) -> str:
    if not report.resting:
        return "<h2>Open orders</h2><p>None.</p>"
    rows = [
        [
            f'<span class="mono">{escape(order.order)}</span>',
            escape(order.name),
            escape(order.symbol),
            _SIDES.get(order.side, "-"),
            PRICE_TEXTS[order.price],
            QTY_TEXTS[order.qty],
            QTY_TEXTS[order.leaves_qty],
            escape(order.state),
        ]
        for order in report.resting[:_ROWS_MAX]
    ]
    heads = ["order", "strategy", "market", "side", "price $", "qty", "open", "state"]
    return "<h2>Open orders</h2>" + _table(heads, rows, {4, 5, 6}, {0}) + _cut(len(report.resting))


def _provenance(report: Report) -> str:
    origin = report.origin
    facts = [
        ("Run", report.run or "-"),
        ("Engine version", origin.version or "-"),
        ("Configuration, SHA-256", origin.config_hash or "not known"),
        ("Order journal", f"{report.order_journal_rows} rows, hash chain unbroken"),
        ("Order journal, last hash", report.order_journal_head or "-"),
        ("Drop copy's journal", f"{report.drop_copy_rows} rows, hash chain unbroken"),
        ("This report, SHA-256", report.report_hash or "-"),
    ]
    listed = "".join(f'<dt>{name}</dt><dd class="mono">{escape(text)}</dd>' for name, text in facts)
    return (
        f'<h2>Where it comes from</h2><dl>{listed}</dl><p class="quiet">The same journals give the same '
        'report and the same hash: <span class="mono">scripts/reconcile report --format json</span> shows it again.</p>'
    )


def _signature(report: Report) -> str:
    return (
        '<section class="signature"><h2>Signature</h2><p>I have read this report'
        f"{' and the explanations of its breaks' if report.breaks or report.explained else ''}"
        ", and accept the positions and amounts in it as reconciled.</p>"
        '<div class="sign"><div>Name and function</div><div>Date and signature</div></div>'
        '<div class="sign"><div>Second name and function</div><div>Date and signature</div></div></section>'
    )
