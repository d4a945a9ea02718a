"""The margin watch: how much of the account's collateral is taken, warned of at one level and stopped at another.

FIX has no query for balances. What is known: the collateral that the operator read at the venue (configuration, or
`ctl limits set collateral`), every change of it that a trade said (CollateralAmountDelta 1704), and the configured
margin rates. Funding payments, deposits and withdrawals are in no FIX message: set the collateral anew after them.

    equity = collateral + changes since it was read + marked profit of what is open
    due    = over all markets: the worse side (every open order of it filled) at its mark, times initial_margin_bp

Without a collateral nothing is watched.
"""

from collections.abc import Callable
from typing import Final

from engine.common.fixed_point import format_money, parse_money
from engine.config import Config
from engine.guard.exposure import Exposure
from engine.guard.limits import Ask, Breach, Way
from engine.guard.markets import BP, BUY

PER_CENT: Final = 100
UNKNOWN: Final = -1


class Margin:
    """See the module. Also a control: an order that would take more than the stop level is refused.

    Protects from liquidation, which closes positions at any price. Source: [margin]; venue.md sections 4 (1703-1705)
    and 6. Unit: per cent of equity.

    Attributes:
        collateral: money when it was read, or None; base: the changes by then.
        warning: the warn level is reached.
    """

    name = "margin"

    def __init__(self, config: Config, exposure: Exposure) -> None:
        margin = config.margin
        self._exposure = exposure
        self._rates = {symbol: item.initial_margin_bp for symbol, item in config.instruments.items()}
        self.warn_percent = margin.warn_percent
        self.stop_percent = margin.stop_percent
        self.collateral = parse_money(margin.collateral) if margin.collateral else None
        self.base = 0
        self.warning = False
        self._room = UNKNOWN

    @property
    def changes(self) -> int:
        """What trades changed of the collateral since the journal began, money."""
        return sum(line.position.collateral for line in self._exposure.account_lines.values())

    def set(self, collateral: int, base: int) -> None:
        """Take a collateral that was read when the changes were `base`."""
        self.collateral, self.base = collateral, base
        self._room = UNKNOWN

    def moved(self) -> None:
        """A price or a position moved: what room there is is worked out anew."""
        if self.collateral is not None:
            due, equity = self.levels()
            self._room = equity * self.stop_percent // PER_CENT - due

    def levels(self) -> tuple[int, int]:
        """Return what is due and the equity, money."""
        due, equity = 0, (self.collateral or 0) - self.base
        for symbol, line in self._exposure.account_lines.items():
            market = line.market
            due += line.worst * market.mark * market.multiplier * self._rates.get(symbol, BP)
            equity += line.position.collateral + line.unrealised
        return due // BP, equity

    def check(self, ask: Ask, way: Way) -> Breach | None:
        """Refuse what would take more than the stop level; what only brings a position back passes."""
        if self.collateral is None:
            return None
        line = way.account
        held = line.position.qty
        side = (held + line.open_buy if ask.side == BUY else line.open_sell - held) + ask.extra
        more = side - line.worst
        if more <= 0:
            return None
        market = way.market
        need = (
            more * max(ask.price, market.mark) * market.multiplier * self._rates.get(market.symbol, BP) // BP
        )
        if need <= self._room:  # what was approved since it was worked out is taken off already
            self._room -= need
            return None
        due, equity = self.levels()
        due += need
        room = equity * self.stop_percent // PER_CENT - due
        if room >= 0:
            self._room = room
            return None
        text = f"{format_money(due, 2)} dollars of margin would be due, {self.stop_percent} % of {format_money(equity, 2)} may be"
        return Breach(self.name, "account", text, equity * self.stop_percent // PER_CENT, due)

    def watch(self, say: Callable[[str, str], None]) -> None:
        """Say when the warn level is reached, and when it is left."""
        if self.collateral is None:
            return
        due, equity = self.levels()
        over = due * PER_CENT > equity * self.warn_percent
        if over is self.warning:
            return
        self.warning = over
        text = f"{format_money(due, 2)} dollars of margin are due of {format_money(equity, 2)} equity"
        if over:
            say(
                "alert",
                f"margin: {text}: over {self.warn_percent} %; at {self.stop_percent} % only what reduces passes",
            )
        else:
            say("info", f"margin: {text}: under {self.warn_percent} % again")
