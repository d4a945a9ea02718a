"""What the account holds, from what each strategy does: the net of all, operator and foreign included."""

from collections.abc import Iterable

import msgspec

from engine.messages.decisions import StrategyUse

_SUMMED = (
    "position",
    "open_buy",
    "open_sell",
    "open_orders",
    "fills",
    "volume",
    "realised",
    "unrealised",
    "fees",
)


def account_uses(uses: Iterable[StrategyUse]) -> list[StrategyUse]:
    """Return one row a market, in the order in which the markets first come: the sum of all its rows.

    Its state says whether the account is flat there, `long` or `short`; its strategy means nothing.
    """
    markets: dict[str, list[StrategyUse]] = {}
    for use in uses:
        markets.setdefault(use.symbol, []).append(use)
    rows = []
    for rows_of_market in markets.values():
        sums = {name: sum(getattr(use, name) for use in rows_of_market) for name in _SUMMED}
        held = sums["position"]
        state = "flat" if not held else "long" if held > 0 else "short"
        rows.append(msgspec.structs.replace(rows_of_market[0], state=state, **sums))
    return rows
