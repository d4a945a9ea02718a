"""One pass over the order journal: positions, money and classes from the events alone. Pure.

Nothing is taken from the numbers that order entry kept: the report checks them. What happened before the period moves
positions only; what happens after it is not counted, but numbered, so that a hole in the tape shows wherever it is.
"""

from array import array
from collections.abc import Callable, Mapping
from typing import Final

from engine.common.fixed_point import notional
from engine.common.ids import SLOT_FOREIGN
from engine.drop_copy import breaks as brk
from engine.drop_copy.differences import REPORT_KINDS
from engine.drop_copy.keys import Key, key_of
from engine.drop_copy.report import model
from engine.drop_copy.report.inputs import Period
from engine.drop_copy.report.sweeps_pass import SweepsPass
from engine.messages.executions import TERMINAL, EventKind, OrderEvent, OrderState, Source
from engine.messages.reconciliation import BreakNote
from engine.orders.position import Position

_TAKER: Final = "Y"  # AggressorIndicator(1057)
_BUY: Final = 1
OnReport = Callable[[OrderEvent, str, int], None]


class Totals:
    """What a strategy did in a market, while it is being added up.

    Attributes:
        base: as it was when the period began. base_open: what the position then held would have made at the last price.
    """

    __slots__ = ("base", "base_open", "collateral", "maker", "orders", "position", "rejected", "taker")

    def __init__(self) -> None:
        self.position = Position()
        self.orders = 0
        self.rejected = 0
        self.maker = 0
        self.taker = 0
        self.collateral = 0
        self.base_open = 0
        self.base = self.flows()

    def flows(self) -> tuple[int, ...]:
        """Return what counts by period."""
        position = self.position
        return (
            self.orders,
            self.rejected,
            position.fills,
            position.buy_qty,
            position.sell_qty,
            self.maker,
            self.taker,
            position.volume,
            position.fees,
            position.realised,
            self.collateral,
        )

    def in_period(self) -> tuple[int, ...]:
        """Return what happened since the period began."""
        return tuple(now - then for now, then in zip(self.flows(), self.base, strict=True))


class Series:
    """A market's fills for charts: time, price, side, position and profit after each, at its own price as the mark."""

    __slots__ = ("pnl", "position", "price", "side", "wall_ns")

    def __init__(self) -> None:
        self.wall_ns = array("q")
        self.price = array("q")
        self.side = array("b")
        self.position = array("q")
        self.pnl = array("q")


class Market:
    """A market's position and money, from the events alone."""

    __slots__ = (
        "account",
        "collateral",
        "corrected_cost",
        "corrections",
        "exec_id",
        "fills",
        "key",
        "last_px",
        "last_px_ns",
        "opened",
        "opening",
        "paid",
        "pnl_base",
        "received",
        "series",
        "start",
        "venue",
    )  # fmt: skip

    def __init__(self) -> None:
        self.opening = 0
        self.corrections = 0
        self.fills = 0
        self.opened = False
        self.venue: int | None = None
        self.key: Key | None = None
        self.exec_id = ""
        self.received = 0
        self.paid = 0
        self.corrected_cost = 0
        self.collateral = 0
        self.last_px = 0
        self.last_px_ns = 0
        self.account = Position()
        self.pnl_base = 0
        self.start = (0, 0, 0)
        self.series = Series()

    @property
    def qty(self) -> int:
        """The position now."""
        return self.opening + self.corrections + self.fills

    def begin_period(self) -> None:
        """Take what was before as the opening."""
        self.opening, self.corrections, self.fills = self.qty, 0, 0
        self.received = self.paid = self.corrected_cost = self.collateral = 0


class OrdersPass:
    """Takes every event of the order journal, in order.

    Args:
        multipliers: dollars per contract per dollar of price, by symbol.
        sweeps: what drop copy's journal says. period: what is counted. on_report: called with each report in the
            period, its class and the slot that it counts for.
    """

    def __init__(
        self,
        multipliers: Mapping[str, int],
        sweeps: SweepsPass,
        period: Period,
        on_report: OnReport | None = None,
    ) -> None:
        self.multipliers = multipliers
        self.totals: dict[tuple[int, str], Totals] = {}
        self.markets: dict[str, Market] = {}
        self.live: dict[str, OrderEvent] = {}
        self.short: dict[str, OrderEvent] = {}  # of which fills are missing
        self.newest: list[Key] = []
        self.found: list[BreakNote] = []
        self.classes: dict[str, int] = {}
        self.entered: dict[Key, OrderEvent] = {}
        self.foreign = self.orders = self.fills = 0
        self.first_ns = self.last_ns = 0
        self.end_ns = 0
        self.tape_no = 0
        self.rows = 0
        self.over = False
        self._sweeps = sweeps
        self._period = period
        self._on_report = on_report
        self._begun = period.from_ns <= 0
        self._known: dict[str, None] = {}
        self._keys: dict[Key, int] = {}
        self._different = sweeps.keys_of(brk.DIFFERENT)
        self._not_there = sweeps.keys_of(brk.MISSING_THERE)

    def totals_of(self, strategy: int, symbol: str) -> Totals:
        """Return where an event is added up."""
        totals = self.totals.get((strategy, symbol))
        if totals is None:
            totals = self.totals[strategy, symbol] = Totals()
        return totals

    def market_of(self, symbol: str) -> Market:
        """Return a market's sums."""
        market = self.markets.get(symbol)
        if market is None:
            market = self.markets[symbol] = Market()
        return market

    def add(self, event: OrderEvent) -> None:
        """Take the next event."""
        self.rows += 1
        if event.tape_no != self.tape_no + 1:
            text = f"tape number {self.tape_no + 1} is missing"
            self._find(f"gap-tape-{self.tape_no + 1}", brk.GAP, event, text)
        self.tape_no = event.tape_no
        self.end_ns = event.wall_ns
        if not self._begun and event.wall_ns >= self._period.from_ns:
            self.begin_period()
        if self.over or event.wall_ns >= self._period.to_ns:
            self.over = True
            return
        if self._begun:
            self.first_ns = self.first_ns or event.wall_ns
            self.last_ns = event.wall_ns
        kind = event.kind
        if kind is EventKind.POSITION:
            self._set_position(event)
            return
        if event.state in TERMINAL:
            self.live.pop(event.order, None)
        else:
            self.live[event.order] = event
        if event.missing_qty:
            self.short[event.order] = event
        elif self.short:
            self.short.pop(event.order, None)
        if kind is EventKind.SUBMITTED:
            self._known[event.order] = None
            self.orders += self._begun
            self.totals_of(event.strategy, event.symbol).orders += 1
        elif kind is EventKind.REJECTED or (
            kind is EventKind.NOT_SENT and event.state is OrderState.NOT_SENT
        ):
            self.totals_of(event.strategy, event.symbol).rejected += 1
        if kind in REPORT_KINDS and event.exec_id:
            self._report(event)

    def begin_period(self) -> None:
        """Take everything so far as what was before the period."""
        self._begun = True
        for (_, symbol), totals in self.totals.items():
            totals.base = totals.flows()
            position = totals.position
            unit = self.market_of(symbol).last_px * self.multipliers.get(symbol, 1)
            totals.base_open = position.qty * unit - position.cost if unit else 0
        for symbol, market in self.markets.items():
            market.begin_period()
            market.pnl_base = self._pnl(symbol, market)
            costs = sum(t.position.cost for (_, name), t in self.totals.items() if name == symbol)
            realised = sum(t.position.realised for (_, name), t in self.totals.items() if name == symbol)
            fees = sum(t.position.fees for (_, name), t in self.totals.items() if name == symbol)
            market.start = (costs, realised, fees)

    # ---- reports

    def _report(self, event: OrderEvent) -> None:
        key = key_of(event.exec_id)
        strategy = event.strategy
        again = False
        if key is not None:
            earlier = self._keys.setdefault(key, event.tape_no)
            again = earlier != event.tape_no
            if again:
                break_id = brk.id_of(brk.DUPLICATE, key)
                self._find(break_id, brk.DUPLICATE, event, f"journalled as {earlier} and {event.tape_no}")
            if event.kind is not EventKind.REJECTED and event.source is Source.SESSION:
                self.newest.append(key)
            if event.source is Source.RECOVERED:
                self.entered[key] = event
            if strategy == SLOT_FOREIGN and key in self._sweeps.assigned:
                strategy = self._sweeps.assigned[key].strategy
        if strategy >= 0 and event.order not in self._known and event.strategy != SLOT_FOREIGN:
            self._known[event.order] = None
            text = f"an order of ours that the journal does not have: known from its {event.kind} only"
            self._find(f"{brk.MISSING_ORDER}-{event.order}", brk.MISSING_ORDER, event, text)
        if self._begun:
            self.foreign += event.strategy == SLOT_FOREIGN
            name = self._class_of(event, key, again=again)
            self.classes[name] = self.classes.get(name, 0) + 1
            if self._on_report is not None:
                self._on_report(event, name, strategy)
        if event.kind is EventKind.TRADE:
            self._trade(event, key, strategy)

    def _class_of(self, event: OrderEvent, key: Key | None, *, again: bool) -> str:
        if again:
            return model.DUPLICATE
        if event.strategy == SLOT_FOREIGN:
            return model.FOREIGN
        if key is None or event.kind is EventKind.REJECTED:
            return model.SESSION_ONLY
        if key in self._different:
            return model.DIFFERENT
        if event.source is Source.RECOVERED:
            return model.RECOVERED
        if key in self._not_there:
            return model.NOT_THERE
        return model.CONFIRMED if self._sweeps.is_confirmed(key) else model.NOT_YET_THERE

    def _trade(self, event: OrderEvent, key: Key | None, strategy: int) -> None:
        self.fills += self._begun
        multiplier = self.multipliers.get(event.symbol, 1)
        totals = self.totals_of(strategy, event.symbol)
        totals.position.fill(event.side, event.last_qty, event.last_px, event.fee, multiplier)
        totals.collateral += event.collateral
        if event.aggressor == _TAKER:
            totals.taker += event.last_qty
        elif event.aggressor:
            totals.maker += event.last_qty
        market = self.market_of(event.symbol)
        money = notional(event.last_px, event.last_qty, multiplier)
        if event.side == _BUY:
            market.fills += event.last_qty
            market.paid += money
        else:
            market.fills -= event.last_qty
            market.received += money
        market.collateral += event.collateral
        market.last_px, market.last_px_ns = event.last_px, event.wall_ns
        said = event.long_qty >= 0 and event.short_qty >= 0
        if said and key is not None and (market.key is None or key > market.key):
            market.key, market.exec_id = key, event.exec_id
            market.venue = event.long_qty - event.short_qty
        account = market.account
        account.fill(event.side, event.last_qty, event.last_px, event.fee, multiplier)
        if self._begun:
            series = market.series
            series.wall_ns.append(event.wall_ns)
            series.price.append(event.last_px)
            series.side.append(event.side)
            series.position.append(market.qty)
            series.pnl.append(self._pnl(event.symbol, market) - market.pnl_base)

    def _pnl(self, symbol: str, market: Market) -> int:
        account = market.account
        open_value = account.qty * market.last_px * self.multipliers.get(symbol, 1) - account.cost
        return account.realised - account.fees + open_value

    def _set_position(self, event: OrderEvent) -> None:
        market = self.market_of(event.symbol)
        change = event.position - market.qty
        if market.opened or (self._begun and self._period.from_ns > 0):
            market.corrections += change
        else:
            market.opened = True
            market.opening += change
        market.opened = True
        if event.source is Source.OPERATOR:
            market.venue = None  # the operator's word is newer than the venue's last trade
        own = self.totals_of(event.strategy, event.symbol).position
        held = sum(t.position.cost for (_, symbol), t in self.totals.items() if symbol == event.symbol)
        own.qty += change
        own.cost += event.cost - held
        market.corrected_cost += event.cost - held
        market.account.qty += change
        market.account.cost += event.cost - market.account.cost

    def _find(self, break_id: str, kind: str, event: OrderEvent, text: str) -> None:
        self.found.append(
            BreakNote(
                break_id=break_id,
                kind=kind,
                status=brk.OPEN,
                wall_ns=event.wall_ns,
                first_ns=event.wall_ns,
                exec_id=event.exec_id,
                cl_ord_id=event.cl_ord_id,
                symbol=event.symbol,
                text=text,
            )
        )
