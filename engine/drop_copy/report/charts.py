"""The report's charts, drawn with matplotlib as inline SVG: the same inputs give the same bytes.

Floats are for drawing only; every number that is read as a number stands in the tables. Texts of the journal are drawn
as they are (no markup of matplotlib's is read in them) and escaped by its SVG writer. What is more than a chart can
show is thinned, and the caption says so.
"""

import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from engine.common.clock import SECOND
from engine.drop_copy.report.inputs import Period, Sample
from engine.drop_copy.report.orders_pass import Market, OrdersPass

_MARKETS_MAX: Final = 6
_FILLS_SHOWN: Final = 1200
_POINTS_SHOWN: Final = 2000
_INK: Final = "#1c2733"
_GRID: Final = "#d9dee4"
_BUY: Final = "#1a7f4b"
_SELL: Final = "#b3261e"
_LINE: Final = "#1f4e8c"
_QUIET: Final = "#8a96a3"
_SVG: Final = re.compile(r"<svg .*</svg>", re.DOTALL)
_QUANTILE_DIGITS: Final = 1000
_HOURS: Final = 2 / 24  # matplotlib counts days
_DAYS: Final = 4


class Charts:
    """SVG by title, in the order in which they are shown; notes: what was thinned or is missing, in words."""

    def __init__(self) -> None:
        self.markets: list[tuple[str, str, str]] = []
        self.latency = ""
        self.tokens = ""
        self.notes: list[str] = []


def _plotting() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "reconciliation",
            "text.parse_math": False,
            "font.family": "sans-serif",
            "font.size": 8,
            "axes.edgecolor": _QUIET,
            "axes.labelcolor": _INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": _GRID,
            "grid.linewidth": 0.6,
            "xtick.color": _INK,
            "ytick.color": _INK,
            "text.color": _INK,
            "legend.frameon": False,
            "legend.fontsize": 7,
            "figure.dpi": 72,
        }
    )
    import matplotlib.pyplot as plt

    return plt


def _svg(plt: Any, figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    plt.close(figure)
    found = _SVG.search(out.getvalue())
    assert found is not None, "matplotlib writes an svg element"
    text = re.sub(r"<metadata>.*?</metadata>", "", found[0], flags=re.DOTALL)
    return re.sub(r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", text, count=1)


def _when(wall_ns: int) -> datetime:
    return datetime.fromtimestamp(wall_ns / SECOND, tz=UTC)


def _steps(count: int, shown: int) -> range:
    return range(0, count, max(1, -(-count // shown)))


def _time_axis(axes: Any) -> None:
    """Label the times so that each can be read by itself: the day only where there is more than one."""
    from matplotlib import dates

    low, high = axes.get_xlim()
    days = high - low
    form = (
        "%H:%M:%S" if days < _HOURS else "%H:%M" if days < 1 else "%d %b %H:%M" if days < _DAYS else "%d %b"
    )
    axes.xaxis.set_major_locator(
        dates.AutoDateLocator(minticks=3, maxticks=7, tz=UTC)  # type: ignore[no-untyped-call]
    )
    axes.xaxis.set_major_formatter(dates.DateFormatter(form, tz=UTC))  # type: ignore[no-untyped-call]


def _plain_number(value: float, _at: object) -> str:
    return f"{value:,.0f}"


def _no_number(_value: float, _at: object) -> str:
    return ""


def draw(orders: OrdersPass, samples: Sequence[Sample], period: Period) -> Charts:
    """Draw everything that there is something to draw of."""
    charts = Charts()
    inside = [sample for sample in samples if period.from_ns <= sample.wall_ns < period.to_ns]
    busy = sorted(
        ((symbol, market) for symbol, market in orders.markets.items() if market.series.wall_ns),
        key=lambda pair: (-len(pair[1].series.wall_ns), pair[0]),
    )
    plt = _plotting() if busy or inside else None
    if plt is None:
        charts.notes.append("Nothing was executed in this period, so there is nothing to draw.")
        return charts
    for symbol, market in sorted(busy[:_MARKETS_MAX]):
        caption = _fills_caption(len(market.series.wall_ns))
        charts.markets.append((symbol, _draw_market(plt, symbol, market, inside), caption))
    if len(busy) > _MARKETS_MAX:
        charts.notes.append(f"Charts show the {_MARKETS_MAX} markets with the most fills of {len(busy)}.")
    if inside:
        charts.latency = _draw_latency(plt, inside)
        charts.tokens = _draw_tokens(plt, inside)
    else:
        charts.notes.append(
            "No samples of the market were recorded in this period: fills are drawn without it."
        )
    if not charts.latency:
        charts.notes.append("Tick-to-trade was not measured in this period.")
    return charts


def _fills_caption(count: int) -> str:
    step = _steps(count, _FILLS_SHOWN).step
    return f"{count} fills; every {step}th is drawn" if step > 1 else f"{count} fills"


def _draw_market(plt: Any, symbol: str, market: Market, samples: Sequence[Sample]) -> str:
    series = market.series
    count = len(series.wall_ns)
    figure, (top, middle, low) = plt.subplots(
        3, 1, figsize=(9.6, 5.2), sharex=True, height_ratios=(2.2, 1, 1), layout="constrained"
    )
    _draw_prices(top, symbol, samples)
    for side, marker, color, name in ((1, "^", _BUY, "buy"), (2, "v", _SELL, "sell")):
        own = [n for n in range(count) if series.side[n] == side]
        at = own[:: _steps(count, _FILLS_SHOWN).step]
        top.scatter(
            [_when(series.wall_ns[n]) for n in at],
            [series.price[n] / 10_000 for n in at],
            s=13,
            marker=marker,
            color=color,
            linewidths=0,
            label=f"our {name}",
            zorder=3,
        )
    top.set_ylabel("price $")
    top.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2)
    at = list(_steps(count, _POINTS_SHOWN))
    if at[-1] != count - 1:
        at.append(count - 1)
    times = [_when(series.wall_ns[n]) for n in at]
    held = [series.position[n] / 100 for n in at]
    middle.step(times, held, where="post", color=_LINE, linewidth=1.1)
    middle.fill_between(times, held, step="post", color=_LINE, alpha=0.12, linewidth=0)
    middle.axhline(0, color=_QUIET, linewidth=0.7)
    middle.set_ylabel("position")
    pnl = [series.pnl[n] / 1_000_000 for n in at]
    low.plot(times, pnl, color=_INK, linewidth=1.1)
    low.axhline(0, color=_QUIET, linewidth=0.7)
    low.set_ylabel("P&L $, after fees")
    low.set_xlabel(f"UTC, from {_when(series.wall_ns[0]):%Y-%m-%d}")
    _time_axis(low)
    figure.align_ylabels()
    return _svg(plt, figure)


def _draw_prices(axes: Any, symbol: str, samples: Sequence[Sample]) -> None:
    times, bids, asks = [], [], []
    for n in _steps(len(samples), _POINTS_SHOWN):
        for seen in samples[n].markets:
            if seen.symbol == symbol and seen.bid and seen.ask:
                times.append(_when(samples[n].wall_ns))
                bids.append(seen.bid / 10_000)
                asks.append(seen.ask / 10_000)
    if times:
        axes.plot(times, bids, color=_QUIET, linewidth=0.8, label="best bid")
        axes.plot(times, asks, color=_LINE, linewidth=0.8, alpha=0.7, label="best ask")


def _draw_latency(plt: Any, samples: Sequence[Sample]) -> str:
    # Each life of order entry measures its own; the one with the most orders tells the most.
    best = max(samples, key=lambda sample: sample.latency_count)
    if not best.latency_count or not best.latency_us:
        return ""
    points = sorted((int(name), us) for name, us in best.latency_us.items())
    figure, axes = plt.subplots(figsize=(4.7, 2.6), layout="constrained")
    axes.plot(
        [us for _, us in points],
        [share * 100 / _QUANTILE_DIGITS for share, _ in points],
        color=_LINE,
        marker="o",
        markersize=3,
        linewidth=1.2,
    )
    for share, us in points:
        if share in {500, 990}:
            axes.annotate(
                f"p{share // 10} {us} µs",
                (us, share * 100 / _QUANTILE_DIGITS),
                xytext=(6, -10),
                textcoords="offset points",
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_plain_number)
    axes.xaxis.set_minor_formatter(_no_number)
    axes.set_ylim(0, 102)
    axes.set_xlabel(f"µs from tick to order on the wire, of {best.latency_count} orders")
    axes.set_ylabel("% of orders within")
    return _svg(plt, figure)


def _draw_tokens(plt: Any, samples: Sequence[Sample]) -> str:
    shown = [samples[n] for n in _steps(len(samples), _POINTS_SHOWN)]
    if all(sample.tokens_capacity <= 0 for sample in shown):
        return ""
    figure, axes = plt.subplots(figsize=(4.7, 2.6), layout="constrained")
    times = [_when(sample.wall_ns) for sample in shown]
    used = [max(sample.tokens_capacity - sample.tokens, 0) for sample in shown]
    axes.fill_between(times, used, color=_LINE, alpha=0.2, linewidth=0, step="mid")
    axes.step(times, used, color=_LINE, linewidth=0.9, where="mid", label="used")
    axes.plot(
        times,
        [sample.tokens_capacity for sample in shown],
        color=_SELL,
        linewidth=0.9,
        linestyle="--",
        label="capacity",
    )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("Write tokens")
    axes.set_xlabel(f"UTC, from {_when(shown[0].wall_ns):%Y-%m-%d}")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    _time_axis(axes)
    return _svg(plt, figure)
