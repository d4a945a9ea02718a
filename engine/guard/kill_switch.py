"""The kill switch: latches by scope, and the work of cancelling until nothing of a scope is open.

Rules that hold here:

* A latch is for everything, for a strategy, for a market, or for a strategy in a market. It is journalled before
  anybody hears of it, survives restarts, and only an operator's Arm of the same scope releases it.
* A `Sweep` is not a list of messages but an aim: it looks again and again at what is open in its scope, and asks for
  a cancel of each order that has none in flight, as tokens allow, until nothing is open. Only the venue's word ends it.
"""

from typing import Final, NamedTuple

from engine.common.clock import MS, SECOND
from engine.common.ids import SLOT_FOREIGN, SLOT_OPERATOR
from engine.guard.exposure import TAKES_AT_ONCE, Exposure, Order
from engine.guard.records import LatchReleased, LatchSet

CANCEL_AGAIN_NS: Final = SECOND  # an unanswered cancel is sent again after so long
MASS_CANCEL_FIRST_NS: Final = 250 * MS  # what a mass cancel is given before single cancels spend tokens
LOOK_AGAIN_NS: Final = 20 * MS


class LatchScope(NamedTuple):
    """What a latch covers: strategy None and symbol empty is everything."""

    strategy: int | None = None
    symbol: str = ""

    def covers(self, strategy: int, symbol: str) -> bool:
        """Say whether an order of this strategy in this market is inside."""
        return self.strategy in (None, strategy) and self.symbol in ("", symbol)

    def text(self, names: dict[int, str]) -> str:
        """Name it for a human: `all`, `strategy quote_maker`, `market BTC-PERP`."""
        parts = []
        if self.strategy is not None:
            parts.append(f"strategy {names.get(self.strategy, self.strategy)}")
        if self.symbol:
            parts.append(f"market {self.symbol}")
        return " ".join(parts) or "all"


ALL: Final = LatchScope()


class Latch(NamedTuple):
    """Why a scope is halted, by whom and since when."""

    why: str
    who: str
    wall_ns: int


class KillSwitch:
    """All latches that are set, in the order in which they were set."""

    def __init__(self) -> None:
        self.latches: dict[LatchScope, Latch] = {}

    def replay(self, entry: LatchSet | LatchReleased) -> None:
        """Take a journal entry back in."""
        scope = LatchScope(entry.strategy, entry.symbol)
        if isinstance(entry, LatchSet):
            self.latches[scope] = Latch(entry.why, entry.who, entry.wall_ns)
        else:
            self.latches.pop(scope, None)

    def set(self, scope: LatchScope, why: str, who: str, wall_ns: int) -> LatchSet | None:
        """Set a latch; return what must be journalled before anything else, or None when it is set already."""
        if scope in self.latches:
            return None
        self.latches[scope] = Latch(why, who, wall_ns)
        return self.record(scope)

    def record(self, scope: LatchScope) -> LatchSet:
        """Return the journal entry of a latch that is set."""
        latch = self.latches[scope]
        return LatchSet(
            wall_ns=latch.wall_ns, why=latch.why, who=latch.who, strategy=scope.strategy, symbol=scope.symbol
        )

    def release(self, scope: LatchScope, why: str, who: str, wall_ns: int) -> LatchReleased | None:
        """Release the latch of exactly this scope; None when there is none."""
        if self.latches.pop(scope, None) is None:
            return None
        return LatchReleased(wall_ns=wall_ns, why=why, who=who, strategy=scope.strategy, symbol=scope.symbol)

    @property
    def everything(self) -> str:
        """Why everything is halted, or empty."""
        latch = self.latches.get(ALL)
        return latch.why or "halted" if latch is not None else ""

    def why(self, strategy: int, symbol: str) -> str:
        """Why a strategy in a market is halted, the global latch and the market's own apart, or empty."""
        for scope in (LatchScope(strategy), LatchScope(strategy, symbol)):
            latch = self.latches.get(scope)
            if latch is not None:
                return latch.why or "halted"
        return ""

    def market(self, symbol: str) -> str:
        """Why a market is halted for everybody, or empty."""
        latch = self.latches.get(LatchScope(None, symbol))
        return latch.why or "halted" if latch is not None else ""


class Sweep:
    """Cancels what is open in a scope until nothing is.

    Attributes:
        orders: ClOrdIDs (first of their chain) that are meant, or None: whatever is open in the scope.
        next_ns: mono_ns at which to look again.
        groups: order groups are still to be triggered first. mass: a mass cancel is still to be sent, after that.
        cancels: single cancels sent. waits: it was said that an exchange pause keeps it waiting.
    """

    __slots__ = ("cancels", "groups", "mass", "next_ns", "orders", "scope", "waits", "why")

    def __init__(
        self,
        scope: LatchScope,
        why: str,
        mono_ns: int,
        *,
        orders: tuple[str, ...] | None = None,
        mass: bool = False,
        groups: bool = False,
    ) -> None:
        self.scope = scope
        self.why = why
        self.orders = orders
        self.next_ns = mono_ns
        self.mass = mass
        self.groups = groups
        self.cancels = 0
        self.waits = False

    def open(self, exposure: Exposure) -> list[Order]:
        """Return the orders that are still open, in the order of their approval.

        Foreign ones can't be cancelled; what flattens (IOC, the operator's) ends by itself and is wanted.
        """
        if self.orders is not None:
            return [exposure.open[order] for order in self.orders if order in exposure.open]
        covers = self.scope.covers
        return [
            order
            for order in exposure.open.values()
            if order.slot != SLOT_FOREIGN
            and covers(order.slot, order.market.symbol)
            and not (order.slot == SLOT_OPERATOR and order.tif in TAKES_AT_ONCE)
        ]

    @staticmethod
    def due(order: Order, mono_ns: int) -> bool:
        """Say whether an order needs a cancel now: the last one is not young, refused or not (what is refused at once
        would be refused at once again, and burn the tokens of all others).
        """
        return not order.asked_ns or mono_ns - order.asked_ns >= CANCEL_AGAIN_NS
