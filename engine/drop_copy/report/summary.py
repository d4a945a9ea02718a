"""The reconciliation report as data: one pass over the order journal and one over drop copy's. Pure.

What it proves, market by market, and from the events alone (not from the numbers that order entry kept):

    opening + accepted corrections + bought - sold = closing = what the venue said last (704 - 705)

A difference there is a break, like those that drop copy found and did not close, an ExecID that is journalled twice, a
hole in the tape's numbers, an order journal that ends before drop copy had seen it end, and executions of a run in
which no sweep was ever complete. `clean` means: none of these. Executions newer than the watermark are said, not held
against the run while sweeps go on; they are what the next sweep will confirm.

The verdict depends on the journals only: the same journals give the same report, byte for byte.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from engine.common.fixed_point import QTY_TEXTS
from engine.common.ids import SLOT_FOREIGN, SLOT_OPERATOR
from engine.drop_copy import breaks as brk
from engine.drop_copy.differences import REPORT_KINDS
from engine.drop_copy.keys import Key, key_of
from engine.drop_copy.records import DropCopyJournalEntry, SweepEnded, WatermarkMoved
from engine.messages.executions import TERMINAL, EventKind, OrderEvent, OrderState, Source
from engine.messages.reconciliation import BreakNote, RecoveredNote
from engine.orders.position import Position

CLEAN: Final = "clean"
BREAKS: Final = "breaks"
_TAKER: Final = "Y"  # AggressorIndicator(1057)


class Line(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One strategy in one market. Quantities in 1/100 contract, money in 1/1000000 dollar.

    Attributes:
        orders: new orders submitted. rejected: of them, refused by the venue or never sent.
        bought, sold, maker, taker: quantities; what the venue did not classify is in neither maker nor taker.
        volume: money traded. fees: money paid, a rebate negative. realised: money made on what was closed, fees apart.
        qty: position; cost: money paid for it, signed as it.
    """

    strategy: int
    name: str
    symbol: str
    orders: int = 0
    rejected: int = 0
    fills: int = 0
    bought: int = 0
    sold: int = 0
    maker: int = 0
    taker: int = 0
    volume: int = 0
    fees: int = 0
    realised: int = 0
    qty: int = 0
    cost: int = 0


class Proof(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One market: opening + corrections + fills = closing = the venue's last word (None: it never said any)."""

    symbol: str
    opening: int
    corrections: int
    fills: int
    closing: int
    venue: int | None
    exec_id: str
    ok: bool


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order that is not over at the journal's end."""

    order: str
    name: str
    symbol: str
    side: int
    price: int
    qty: int
    cum_qty: int
    leaves_qty: int
    state: str


class LastSweep(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The newest sweep."""

    no: int
    began_ns: int
    complete: bool
    reason: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report.

    Attributes:
        verdict: `clean` or `breaks`.
        breaks: how many are open; break_list: them; closed_breaks: those that ended, by kind.
        confirmed: reports that both witnesses have; unconfirmed: executions newer than the watermark.
        recovered: reports that drop copy brought; foreign: reports of orders that aren't ours.
        sweeps, complete_sweeps, last_sweep, watermark, watermark_ns: of drop copy.
        order_journal_rows, order_journal_head: row count and hash of the last row, hex.
        first_ns, last_ns: wall clock of the first and last order event, 0 when there is none.
    """

    run: str
    verdict: str
    clean: bool
    orders: int
    fills: int
    open_orders: int
    unknown_orders: int
    breaks: int
    first_ns: int
    last_ns: int
    lines: list[Line]
    proofs: list[Proof]
    resting: list[OpenOrder]
    break_list: list[BreakNote]
    closed_breaks: dict[str, int]
    confirmed: int
    unconfirmed: int
    recovered: int
    foreign: int
    sweeps: int
    complete_sweeps: int
    last_sweep: LastSweep | None
    watermark: str
    watermark_ns: int
    order_journal_rows: int
    order_journal_head: str
    volume: int = 0
    fees: int = 0
    realised: int = 0


class _Totals:
    """What a strategy did in a market, while it is being added up."""

    __slots__ = ("maker", "orders", "position", "rejected", "taker")

    def __init__(self) -> None:
        self.position = Position()
        self.orders = 0
        self.rejected = 0
        self.maker = 0
        self.taker = 0


class _Market:
    """A market's position, from the events alone."""

    __slots__ = ("corrections", "exec_id", "fills", "key", "opened", "opening", "venue")

    def __init__(self) -> None:
        self.opening = 0
        self.corrections = 0
        self.fills = 0
        self.opened = False
        self.venue: int | None = None
        self.key: Key | None = None
        self.exec_id = ""

    @property
    def qty(self) -> int:
        """The position now."""
        return self.opening + self.corrections + self.fills


class _Orders:
    """One pass over the order journal."""

    def __init__(self, multipliers: Mapping[str, int]) -> None:
        self.multipliers = multipliers
        self.totals: dict[tuple[int, str], _Totals] = {}
        self.markets: dict[str, _Market] = {}
        self.live: dict[str, OrderEvent] = {}
        self.keys: dict[Key, int] = {}
        self.newest: list[Key] = []
        self.found: list[BreakNote] = []
        self.foreign = 0
        self.orders = 0
        self.fills = 0
        self.first_ns = 0
        self.last_ns = 0
        self.tape_no = 0
        self.rows = 0

    def totals_of(self, event: OrderEvent) -> _Totals:
        """Return where an event is added up."""
        at = (event.strategy, event.symbol)
        totals = self.totals.get(at)
        if totals is None:
            totals = self.totals[at] = _Totals()
        return totals

    def market_of(self, symbol: str) -> _Market:
        """Return a market's sums."""
        market = self.markets.get(symbol)
        if market is None:
            market = self.markets[symbol] = _Market()
        return market

    def add(self, event: OrderEvent) -> None:
        """Take the next event."""
        self.rows += 1
        if event.tape_no != self.tape_no + 1:
            self._find(
                f"gap-tape-{self.tape_no + 1}", brk.GAP, event, f"tape number {self.tape_no + 1} is missing"
            )
        self.tape_no = event.tape_no
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
        if kind is EventKind.SUBMITTED:
            self.orders += 1
            self.totals_of(event).orders += 1
        elif kind is EventKind.REJECTED or (
            kind is EventKind.NOT_SENT and event.state is OrderState.NOT_SENT
        ):
            self.totals_of(event).rejected += 1
        if kind in REPORT_KINDS and event.exec_id:
            self._report(event)

    def _report(self, event: OrderEvent) -> None:
        key = key_of(event.exec_id)
        if key is not None:
            earlier = self.keys.setdefault(key, event.tape_no)
            if earlier != event.tape_no:
                break_id = brk.id_of(brk.DUPLICATE, key)
                self._find(break_id, brk.DUPLICATE, event, f"journalled as {earlier} and {event.tape_no}")
            if event.kind is not EventKind.REJECTED and event.source is Source.SESSION:
                self.newest.append(key)
        if event.strategy == SLOT_FOREIGN:
            self.foreign += 1
        if event.kind is EventKind.TRADE:
            self._trade(event, key)

    def _trade(self, event: OrderEvent, key: Key | None) -> None:
        self.fills += 1
        multiplier = self.multipliers.get(event.symbol, 1)
        totals = self.totals_of(event)
        totals.position.fill(event.side, event.last_qty, event.last_px, event.fee, multiplier)
        if event.aggressor == _TAKER:
            totals.taker += event.last_qty
        elif event.aggressor:
            totals.maker += event.last_qty
        market = self.market_of(event.symbol)
        market.fills += event.last_qty if event.side == 1 else -event.last_qty
        said = event.long_qty >= 0 and event.short_qty >= 0
        if said and key is not None and (market.key is None or key > market.key):
            market.key, market.exec_id = key, event.exec_id
            market.venue = event.long_qty - event.short_qty

    def _set_position(self, event: OrderEvent) -> None:
        market = self.market_of(event.symbol)
        change = event.position - market.qty
        if market.opened:
            market.corrections += change
        else:
            market.opened = True
            market.opening += change
        if event.source is Source.OPERATOR:
            market.venue = None  # the operator's word is newer than the venue's last trade
        own = self.totals_of(event).position
        held = sum(
            totals.position.cost for (_, symbol), totals in self.totals.items() if symbol == event.symbol
        )
        own.qty += change
        own.cost += event.cost - held

    def _find(self, break_id: str, kind: str, event: OrderEvent, text: str) -> None:
        self.found.append(
            BreakNote(
                break_id=break_id,
                kind=kind,
                status=brk.OPEN,
                wall_ns=event.wall_ns,
                exec_id=event.exec_id,
                cl_ord_id=event.cl_ord_id,
                symbol=event.symbol,
                text=text,
            )
        )


class _Sweeps:
    """One pass over drop copy's journal."""

    def __init__(self) -> None:
        self.open: dict[str, BreakNote] = {}
        self.closed: dict[str, int] = {}
        self.recovered = 0
        self.sweeps = 0
        self.complete = 0
        self.last: SweepEnded | None = None
        self.mark: WatermarkMoved | None = None
        self.tape_no = 0

    def add(self, record: DropCopyJournalEntry) -> None:
        """Take the next record."""
        if isinstance(record, BreakNote):
            if record.status == brk.OPEN:
                self.open[record.break_id] = record
            elif self.open.pop(record.break_id, None) is not None:
                self.closed[record.kind] = self.closed.get(record.kind, 0) + 1
        elif isinstance(record, RecoveredNote):
            self.recovered += 1
        elif isinstance(record, SweepEnded):
            self.sweeps += 1
            self.complete += record.complete
            self.last = record
            self.tape_no = max(self.tape_no, record.tape_no)
        elif isinstance(record, WatermarkMoved):
            self.mark = record
            self.tape_no = max(self.tape_no, record.tape_no)


def name_of(slot: int, names: Mapping[int, str]) -> str:
    """Return what to call a slot: its strategy's name, `operator`, `foreign`, or `slot N`."""
    if slot == SLOT_FOREIGN:
        return "foreign"
    return names.get(slot, "operator" if slot == SLOT_OPERATOR else f"slot {slot}")


def build_report(
    order_events: Iterable[OrderEvent],
    dc_records: Iterable[DropCopyJournalEntry],
    *,
    names: Mapping[int, str] | None = None,
    multipliers: Mapping[str, int] | None = None,
    run: str = "",
    order_journal_rows: int = 0,
    order_journal_head: str = "",
    ended: str = "",
) -> Report:
    """Build the report of a run from what its journals hold, each in its order.

    Args:
        ended: empty while the engine runs. For a run that is over its shutdown policy, `cancel` or `leave`: then nothing
            may be left unexplained, and what is counts as a break: an order with an unknown outcome, under `cancel` any
            open order, reports that no sweep has confirmed, a last sweep that failed.
        order_events: the order journal. dc_records: drop copy's journal.
        names: slot to strategy name. multipliers: symbol to contract multiplier, 1 when not given.
        run: what to call the run. order_journal_rows, order_journal_head: of the order journal's file.
    """
    names = names or {}
    orders, sweeps = _Orders(multipliers or {}), _Sweeps()
    for event in order_events:
        orders.add(event)
    for record in dc_records:
        sweeps.add(record)
    proofs = _proofs(orders)
    broken = [*sweeps.open.values(), *orders.found, *_own_breaks(orders, sweeps, proofs)]
    if ended:
        broken += _end_breaks(orders, sweeps, ended)
    broken = sorted(
        {note.break_id: note for note in broken}.values(), key=lambda note: (note.kind, note.break_id)
    )
    lines = _lines(orders, names)
    last = sweeps.last
    return Report(
        run=run,
        verdict=BREAKS if broken else CLEAN,
        clean=not broken,
        orders=orders.orders,
        fills=orders.fills,
        open_orders=len(orders.live),
        unknown_orders=sum(event.state is OrderState.UNKNOWN for event in orders.live.values()),
        breaks=len(broken),
        first_ns=orders.first_ns,
        last_ns=orders.last_ns,
        lines=lines,
        proofs=proofs,
        resting=_resting(orders, names),
        break_list=broken,
        closed_breaks=dict(sorted(sweeps.closed.items())),
        confirmed=sweeps.mark.confirmed if sweeps.mark is not None else 0,
        unconfirmed=_unconfirmed(orders.newest, sweeps.mark),
        recovered=sweeps.recovered,
        foreign=orders.foreign,
        sweeps=sweeps.sweeps,
        complete_sweeps=sweeps.complete,
        last_sweep=None
        if last is None
        else LastSweep(no=last.no, began_ns=last.began_ns, complete=last.complete, reason=last.reason),
        watermark=_watermark(sweeps.mark),
        watermark_ns=sweeps.mark.wall_ns if sweeps.mark is not None else 0,
        order_journal_rows=order_journal_rows or orders.rows,
        order_journal_head=order_journal_head,
        volume=sum(line.volume for line in lines),
        fees=sum(line.fees for line in lines),
        realised=sum(line.realised for line in lines),
    )


def _proofs(orders: _Orders) -> list[Proof]:
    proofs = []
    for symbol in sorted(orders.markets):
        market = orders.markets[symbol]
        proofs.append(
            Proof(
                symbol=symbol,
                opening=market.opening,
                corrections=market.corrections,
                fills=market.fills,
                closing=market.qty,
                venue=market.venue,
                exec_id=market.exec_id if market.venue is not None else "",
                ok=market.venue is None or market.venue == market.qty,
            )
        )
    return proofs


def _own_breaks(orders: _Orders, sweeps: _Sweeps, proofs: list[Proof]) -> list[BreakNote]:
    found = []
    open_positions = {note.symbol for note in sweeps.open.values() if note.kind == brk.POSITION}
    for proof in proofs:
        if not proof.ok and proof.symbol not in open_positions and proof.venue is not None:
            key = key_of(proof.exec_id)
            assert key is not None, "the venue's word came with a key"
            text = f"own sum {QTY_TEXTS[proof.closing]}, the venue says {QTY_TEXTS[proof.venue]}"
            found.append(
                BreakNote(
                    break_id=f"{brk.id_of(brk.POSITION, key)}-{proof.symbol}",
                    kind=brk.POSITION,
                    status=brk.OPEN,
                    wall_ns=orders.last_ns,
                    exec_id=proof.exec_id,
                    symbol=proof.symbol,
                    text=text,
                )
            )
    if sweeps.tape_no > orders.tape_no:
        text = f"the order journal ends at {orders.tape_no}, drop copy had seen {sweeps.tape_no}: its tail was cut off"
        found.append(_gap("gap-journal-tail", text, orders.last_ns))
    if orders.newest and not sweeps.complete:
        text = "no sweep of drop copy was ever complete: what the session brought has no second witness"
        found.append(_gap("gap-never-swept", text, orders.last_ns))
    return found


def _end_breaks(orders: _Orders, sweeps: _Sweeps, policy: str) -> list[BreakNote]:
    """Return what an end must not leave behind."""
    found = []
    unknown = [event for event in orders.live.values() if event.state is OrderState.UNKNOWN]
    resting = [event for event in orders.live.values() if event.state is not OrderState.UNKNOWN]
    for event in [*unknown, *(resting if policy == "cancel" else [])]:
        kind = "an unknown outcome" if event.state is OrderState.UNKNOWN else f"state {event.state}"
        found.append(
            BreakNote(
                break_id=f"order-{event.order}",
                kind=brk.GAP,
                status=brk.OPEN,
                wall_ns=orders.last_ns,
                cl_ord_id=event.cl_ord_id,
                symbol=event.symbol,
                text=f"the run ended with the order in {kind}: {QTY_TEXTS[event.leaves_qty]} may rest at the venue",
            )
        )
    unconfirmed = _unconfirmed(orders.newest, sweeps.mark)
    if unconfirmed and sweeps.complete:
        text = (
            f"{unconfirmed} reports are newer than the last complete sweep: drop copy has not confirmed them"
        )
        found.append(_gap("gap-unconfirmed", text, orders.last_ns))
    if sweeps.last is not None and not sweeps.last.complete:
        text = f"the last sweep was not completed: {sweeps.last.reason or 'no reason given'}"
        found.append(_gap("gap-last-sweep", text, orders.last_ns))
    return found


def _gap(break_id: str, text: str, wall_ns: int) -> BreakNote:
    return BreakNote(break_id=break_id, kind=brk.GAP, status=brk.OPEN, wall_ns=wall_ns, text=text)


def _lines(orders: _Orders, names: Mapping[int, str]) -> list[Line]:
    lines = []
    for (strategy, symbol), totals in sorted(orders.totals.items()):
        position = totals.position
        lines.append(
            Line(
                strategy=strategy,
                name=name_of(strategy, names),
                symbol=symbol,
                orders=totals.orders,
                rejected=totals.rejected,
                fills=position.fills,
                bought=position.buy_qty,
                sold=position.sell_qty,
                maker=totals.maker,
                taker=totals.taker,
                volume=position.volume,
                fees=position.fees,
                realised=position.realised,
                qty=position.qty,
                cost=position.cost,
            )
        )
    return lines


def _resting(orders: _Orders, names: Mapping[int, str]) -> list[OpenOrder]:
    return [
        OpenOrder(
            order=event.order,
            name=name_of(event.strategy, names),
            symbol=event.symbol,
            side=event.side,
            price=event.price,
            qty=event.qty,
            cum_qty=event.cum_qty,
            leaves_qty=event.leaves_qty,
            state=event.state.value,
        )
        for event in orders.live.values()
    ]


def _watermark(mark: WatermarkMoved | None) -> str:
    keys = [
        (key, text) for text in (mark.marks if mark is not None else []) if (key := key_of(text)) is not None
    ]
    return max(keys)[1] if keys else ""


def _unconfirmed(keys: list[Key], mark: WatermarkMoved | None) -> int:
    past: dict[int, Key] = {}
    for text in [*mark.gone, *mark.marks] if mark is not None else []:
        key = key_of(text)
        if key is not None:
            past[key[2]] = max(key, past.get(key[2], key))
    return sum(key[2] not in past or key > past[key[2]] for key in keys)
