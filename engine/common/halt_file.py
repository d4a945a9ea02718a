"""The halt file: the kill switch as a plain file, `<run>/halt`, that works with everything else down.

    all: why
    strategy quote_maker: why
    market BTC-PERP: why
    strategy quote_maker market BTC-PERP: why

One halted scope a line. The guard writes it beside its journal whenever a latch is set or released; a person may write
it with any editor, or `touch` it. Whoever reads it errs towards halting: a file that is there but says nothing, or
a line that can't be understood, halts everything. Taking a line or the file away releases nothing: only Arm does.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

NAME: Final = "halt"
SIZE_MAX: Final = 65_536
WHY_MAX: Final = 500
_HEAD: Final = "# The kill switch: what is halted, one scope a line. A line added here halts; only `scripts/ctl arm` releases.\n"
_LINE: Final = re.compile(
    r"(?:(all)|(?:strategy\s+(?P<strategy>[^\s:]+))?(?:\s*\bmarket\s+(?P<market>[^\s:]+))?)\s*(?::\s*(?P<why>.*))?"
)


class Halted(NamedTuple):
    """One scope: strategy None and symbol empty is everything."""

    strategy: int | None
    symbol: str
    why: str


def parse(text: str, slots: dict[str, int], symbols: Iterable[str]) -> list[Halted]:
    """Return what a halt file that exists halts; never empty.

    Args:
        text: of the file. slots: strategy name to slot. symbols: the markets.
    """
    known = frozenset(symbols)
    found = [
        _scope(line.strip(), slots, known)
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    return found or [Halted(None, "", "the halt file is there")]


def _scope(line: str, slots: dict[str, int], symbols: frozenset[str]) -> Halted:
    match = _LINE.fullmatch(line)
    if match is None:
        return Halted(None, "", f"halt file: {_clean(line)}")
    strategy, market, why = match["strategy"], match["market"], _clean(match["why"] or "")
    if strategy is not None and strategy not in slots and strategy.isascii() and strategy.isdigit():
        slots = {strategy: int(strategy)}  # of a strategy that is not configured any more
    if strategy is not None and strategy not in slots:
        return Halted(None, "", f"halt file: there is no strategy {_clean(strategy)}; {why}")
    if market is not None and market not in symbols:
        return Halted(None, "", f"halt file: there is no market {_clean(market)}; {why}")
    if match[1] is None and strategy is None and market is None:
        return Halted(None, "", f"halt file: {_clean(line)}")
    return Halted(None if strategy is None else slots[strategy], market or "", why or "halt file")


def line(strategy: str, symbol: str, why: str) -> str:
    """Write one scope; strategy and symbol empty: everything."""
    parts = [f"strategy {strategy}"] if strategy else []
    parts += [f"market {symbol}"] if symbol else []
    return f"{' '.join(parts) or 'all'}: {_clean(why)}\n"


def render(lines: Iterable[str]) -> str:
    """Write a whole file from its lines; empty when nothing is halted, which means: no file."""
    body = "".join(lines)
    return _HEAD + body if body else ""


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:WHY_MAX].strip()
