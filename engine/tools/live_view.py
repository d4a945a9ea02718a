"""The terminal: a compact live view with rich, or plain lines when nobody looks at a terminal."""

import contextlib
import sys
import time
from typing import IO

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from engine.common.clock import SECOND, iso_time
from engine.common.fixed_point import PRICE_TEXTS, format_fixed, format_money
from engine.messages.decisions import StrategyUse
from engine.runtime.supervisor import Child, Supervisor, rss_bytes
from engine.tools.account import account_uses

_STATE_STYLE = {
    "TRADING": "bold green",
    "HALTED": "bold red",
    "NO GUARD": "bold red",
    "PAUSED": "bold yellow",
    "running": "green",
    "silent": "yellow",
    "restarting": "yellow",
    "failed": "bold red",
    "stopped": "dim",
}
_LEVEL_STYLE = {"alert": "bold red", "error": "red", "warning": "yellow", "info": "dim"}
_NOTICES = 8
_WIDTHS = {"state": 10, "restarts": 8, "pid": 7, "MiB": 3}
_BOOKS_WIDTH = 66  # of the table beside it, with all padding
_PLAIN_EVERY_NS = 2 * SECOND


def contracts(qty: int) -> str:
    """Write a quantity as people count it: whole contracts without decimals."""
    return str(qty // 100) if qty % 100 == 0 else format_fixed(qty, 2)


def reconciled_text(supervisor: Supervisor) -> str:
    """Say in short how far drop copy has confirmed."""
    status = supervisor.reconciliation
    if status is None:
        return "-"
    if status.gap:
        return f"GAP: {status.gap}"
    breaks = sum(status.open_breaks.values())
    tail = f", {breaks} open break{'s' if breaks != 1 else ''}" if breaks else ""
    if not status.watermark_wall_ns:
        return ("nothing to confirm yet" if status.caught_up else status.detail or "catching up") + tail
    age = max(0, time.time_ns() - status.watermark_wall_ns) // SECOND
    late = "NOT RECONCILED FOR LONG: " if status.alarm else ""
    return f"{late}{status.watermark} ({age} s ago){tail}"


def latency_text(supervisor: Supervisor) -> str:
    """Say the tick-to-trade distribution as order entry measured it."""
    child = supervisor.children.get("order_entry")
    metrics = child.heartbeat.status.metrics if child is not None and child.heartbeat is not None else {}
    if "tick_to_trade_p50_us" not in metrics:
        return "-"
    return f"p50 {metrics['tick_to_trade_p50_us']:.0f} us, p99 {metrics['tick_to_trade_p99_us']:.0f} us"


def tokens_text(supervisor: Supervisor) -> str:
    """Say how many Write tokens are left."""
    status = supervisor.guard_status
    if status is None:
        return "-"
    return "unlimited" if status.tokens_capacity < 0 else f"{status.tokens}/{status.tokens_capacity}"


def strategy_name(supervisor: Supervisor, use: StrategyUse) -> str:
    """Return the name of a slot."""
    names = supervisor.guard_status.names if supervisor.guard_status is not None else {}
    return names.get(str(use.strategy), {0: "operator", -1: "foreign"}.get(use.strategy, str(use.strategy)))


def shown(supervisor: Supervisor) -> list[StrategyUse]:
    """Return the strategies' rows; operator and foreign only where they have something."""
    uses = supervisor.guard_status.strategies if supervisor.guard_status is not None else []
    return [use for use in uses if use.strategy > 0 or use.position or use.fills or use.open_orders]


def account(supervisor: Supervisor) -> list[StrategyUse]:
    """Return the account's rows, one a market."""
    return account_uses(supervisor.guard_status.strategies if supervisor.guard_status is not None else [])


class PlainView:
    """Lines for a log or a pipe."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stdout
        self._next_ns = 0
        self._state = ""

    def say(self, level: str, name: str, text: str) -> None:
        """Print one line."""
        with contextlib.suppress(
            OSError, ValueError
        ):  # whoever read it is gone, or its disk is full: the engine goes on
            print(f"{iso_time(time.time_ns())} {level:7} {name}: {text}", file=self._out, flush=True)

    def update(self, supervisor: Supervisor) -> None:
        """Print the state when it changes, and a line of numbers every 2 s."""
        if supervisor.state != self._state:
            self._state = supervisor.state
            reasons = supervisor.guard_status.reasons if supervisor.guard_status is not None else []
            self.say("info", "engine", " - ".join([self._state, *reasons[:3]]))
        now = time.monotonic_ns()
        if now < self._next_ns:
            return
        self._next_ns = now + _PLAIN_EVERY_NS
        if supervisor.guard_status is None:
            return
        parts = [
            f"{top.symbol} {PRICE_TEXTS[top.bid]}/{PRICE_TEXTS[top.ask]}" for top in supervisor.tops.values()
        ]
        for use in shown(supervisor):
            pnl = format_money(use.realised + use.unrealised - use.fees, 2)
            parts.append(
                f"{strategy_name(supervisor, use)} {use.symbol} pos {contracts(use.position)} open {use.open_orders} fills {use.fills} pnl {pnl}"
            )
        parts += [f"ACCOUNT {use.symbol} pos {contracts(use.position)}" for use in account(supervisor)]
        parts += [f"tick-to-trade {latency_text(supervisor)}", f"tokens {tokens_text(supervisor)}"]
        parts.append(f"reconciled {reconciled_text(supervisor)}")
        self.say("info", "engine", " | ".join(parts))


class RichView:
    """The live screen, redrawn twice a second in place."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._notices: list[tuple[str, str, str]] = []
        self._next_ns = 0
        self._started = False

    def say(self, level: str, name: str, text: str) -> None:
        """Keep the line for the screen."""
        self._notices = [*self._notices[-(_NOTICES - 1) :], (level, name, text)]

    def update(self, supervisor: Supervisor) -> None:
        """Redraw."""
        now = time.monotonic_ns()
        if now < self._next_ns:
            return
        self._next_ns = now + SECOND // 2
        if not self._started:
            self._live.start()
            self._started = True
        with contextlib.suppress(OSError):
            self._live.update(self._draw(supervisor), refresh=True)

    def close(self) -> None:
        """Leave the last screen standing."""
        if self._started:
            self._live.stop()

    def _draw(self, supervisor: Supervisor) -> Panel:
        state = supervisor.state
        up = (time.monotonic_ns() - supervisor.started_ns) // SECOND
        config = supervisor.config.engine
        title = Text.assemble(
            (f" {config.name} ", "bold"),
            f"· {config.environment} · ",
            (state, _STATE_STYLE.get(state, "bold yellow")),
            f" · up {up // 3600:d}:{up // 60 % 60:02d}:{up % 60:02d} ",
        )
        parts: list[Table | Text] = [self._processes(supervisor), self._strategies(supervisor)]
        reasons = (
            supervisor.guard_status.reasons
            if supervisor.guard_status is not None
            else ["waiting for the guard"]
        )
        if reasons and state != "TRADING":
            parts.append(Text("gate closed: " + "; ".join(reasons[:4]), style="yellow"))
        line = Text.assemble(
            ("tick-to-trade ", "dim"), latency_text(supervisor), ("   write tokens ", "dim"), tokens_text(supervisor),
            ("   reconciled up to ", "dim"), reconciled_text(supervisor),
        )  # fmt: skip
        parts.append(line)
        for level, name, text in self._notices:
            parts.append(
                Text(f"{name}: {text}", style=_LEVEL_STYLE.get(level, ""), no_wrap=True, overflow="ellipsis")
            )
        return Panel(Group(*parts), title=title, title_align="left", border_style="dim")

    def _processes(self, supervisor: Supervisor) -> Table:
        grid = Table.grid(expand=True, padding=(0, 2))
        table = Table(box=None, padding=(0, 1), header_style="dim")
        widths = {"process": max(map(len, supervisor.children)), **_WIDTHS}
        again = any(child.restarts for child in supervisor.children.values())
        if not again:
            del widths["restarts"]
        widths["session"] = max(12, self._console.width - sum(widths.values()) - _BOOKS_WIDTH)
        for name, width in widths.items():
            right = name in {"pid", "MiB", "restarts"}
            table.add_column(name, justify="right" if right else "left", no_wrap=True, width=width)
        for child in supervisor.children.values():
            table.add_row(*self._process_row(child, again=again))
        books = Table(box=None, padding=(0, 1), header_style="dim")
        for name in ("market", "qty", "bid", "ask", "qty", "last"):
            books.add_column(name, justify="left" if name == "market" else "right", no_wrap=True)
        for symbol in supervisor.config.instruments:
            top = supervisor.tops.get(symbol)
            if top is None:
                books.add_row(symbol, "", "-", "-", "", "-")
                continue
            style = "" if top.state == "live" else "red"
            books.add_row(
                Text(symbol, style=style),
                contracts(top.bid_qty),
                Text(PRICE_TEXTS[top.bid] if top.bid_qty else "-", style="green"),
                Text(PRICE_TEXTS[top.ask] if top.ask_qty else "-", style="red"),
                contracts(top.ask_qty),
                PRICE_TEXTS[top.last] if top.last_qty else "-",
            )
        grid.add_row(table, books)
        return grid

    def _process_row(self, child: Child, *, again: bool) -> tuple[str | Text, ...]:
        sessions = child.heartbeat.status.sessions if child.heartbeat is not None else {}
        state = Text(child.state, style=_STATE_STYLE.get(child.state, ""))
        rss = rss_bytes(child.pid) >> 20
        text = ", ".join(f"{name} {what}" for name, what in sessions.items())
        if child.name == "venue" and sessions:
            text = f"{sum(what == 'logged on' for what in sessions.values())} sessions logged on"
        restarts = (str(child.restarts or ""),) if again else ()
        return child.name, state, *restarts, str(child.pid or ""), str(rss or ""), text

    def _strategies(self, supervisor: Supervisor) -> Table:
        table = Table(box=None, padding=(0, 1), header_style="dim")
        for name in (
            "strategy",
            "market",
            "position",
            "open",
            "fills",
            "volume $",
            "P&L $",
            "realised $",
            "fees $",
            "state",
        ):
            table.add_column(
                name, justify="left" if name in {"strategy", "market", "state"} else "right", no_wrap=True
            )
        rows = [(Text(strategy_name(supervisor, use)), use) for use in shown(supervisor)]
        rows += [(Text("ACCOUNT", style="bold"), use) for use in account(supervisor)]
        for title, use in rows:
            total = use.realised + use.unrealised - use.fees
            table.add_row(
                title, use.symbol, contracts(use.position), str(use.open_orders), str(use.fills),
                format_money(use.volume, 0), Text(format_money(total, 2), style="green" if total >= 0 else "red"),
                format_money(use.realised, 2), format_money(use.fees, 2), use.state,
            )  # fmt: skip
        return table
