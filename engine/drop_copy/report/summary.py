"""The reconciliation report: one pass over the order journal and one over drop copy's. Pure.

What it proves, market by market, and from the events alone (not from the numbers that order entry kept):

    opening + accepted corrections + bought - sold = closing = what the venue said last (704 - 705)
    realised - change of cost                      = received for sales - paid for purchases

A difference there is a break, like those that drop copy found and did not close, an ExecID that is journalled twice, an
order that only its reports tell of, a hole in the tape's numbers, an order journal that ends before drop copy had seen
it end, and executions of a run in which no sweep was ever complete. `clean` means: none of these, or an operator
explained each. Executions newer than the watermark are said, not held against the run while sweeps go on; they are what
the next sweep will confirm.

The verdict depends on the journals only: the same journals give the same report, byte for byte, and the same hash.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from engine.common.fixed_point import QTY_TEXTS
from engine.common.ids import SLOT_FOREIGN, SLOT_OPERATOR
from engine.drop_copy import breaks as brk
from engine.drop_copy.breaks import Tolerance, difference_of
from engine.drop_copy.keys import Key, key_of
from engine.drop_copy.records import DropCopyJournalEntry
from engine.drop_copy.report.inputs import Mark, Origin, Period, Sample
from engine.drop_copy.report.model import (
    BREAKS,
    CLEAN,
    Assignment,
    FundingLine,
    LastSweep,
    Line,
    MoneyProof,
    OpenOrder,
    Proof,
    Recovered,
    Report,
)
from engine.drop_copy.report.orders_pass import OnReport, OrdersPass
from engine.drop_copy.report.sweeps_pass import SweepsPass
from engine.messages.executions import OrderEvent, OrderState
from engine.messages.reconciliation import BreakNote

ACCOUNT = "account"


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A report, and what charts need besides."""

    report: Report
    orders: OrdersPass
    samples: list[Sample]


def name_of(slot: int, names: Mapping[int, str]) -> str:
    """Return what to call a slot: its strategy's name, `operator`, `foreign`, or `slot N`."""
    if slot == SLOT_FOREIGN:
        return "foreign"
    return names.get(slot, "operator" if slot == SLOT_OPERATOR else f"slot {slot}")


def build_report(
    order_events: Iterable[OrderEvent], dc_records: Iterable[DropCopyJournalEntry], **more: object
) -> Report:
    """Build the report of a run; arguments as `build`."""
    return build(order_events, dc_records, **more).report  # type: ignore[arg-type]


def build(
    order_events: Iterable[OrderEvent],
    dc_records: Iterable[DropCopyJournalEntry],
    *,
    names: Mapping[int, str] | None = None,
    multipliers: Mapping[str, int] | None = None,
    run: str = "",
    ended: str = "",
    period: Period = Period(),  # noqa: B008 - frozen
    samples: list[Sample] | None = None,
    origin: Origin = Origin(),  # noqa: B008 - frozen
    latches: Mapping[str, str] | None = None,
    on_report: OnReport | None = None,
) -> Built:
    """Build the report of a run from what its journals hold, each in its order.

    Args:
        order_events: the order journal. dc_records: drop copy's journal.
        names: slot to strategy name. multipliers: symbol to contract multiplier, 1 when not given.
        run: what to call the run.
        ended: empty while the engine runs. For a run that is over its shutdown policy, `cancel` or `leave`: then nothing
            may be left unexplained, and what is counts as a break: an order with an unknown outcome, under `cancel` any
            open order, reports that no sweep has confirmed, a last sweep that failed.
        period: what is counted. samples: of markets and tokens, for marks and charts.
        origin: what made the journals. latches: risk latches that are set.
        on_report: as in `OrdersPass`.
    """
    names = names or {}
    samples = samples or []
    sweeps = SweepsPass(dc_records)
    orders = OrdersPass(multipliers or {}, sweeps, period, on_report)
    for event in order_events:
        orders.add(event)
    if period.from_ns > orders.end_ns:
        orders.begin_period()
    marks = marks_of(orders, samples, period)
    proofs = _proofs(orders)
    broken, ended_notes = _breaks(orders, sweeps, proofs, ended)
    lines = _lines(orders, sweeps, names, marks, period)
    report = _report(orders, sweeps, lines, broken, ended_notes, marks)
    report = msgspec.structs.replace(
        report,
        run=run,
        proofs=proofs,
        money=_money(orders, sweeps, period),
        resting=_resting(orders, names),
        recovered_list=_recovered(orders, sweeps, period),
        fundings=_fundings(sweeps, period),
        assignments=_assignments(sweeps, names),
        latches=dict(latches or {}),
        origin=origin,
        period=period.text(),
    )
    return Built(report=report, orders=orders, samples=samples)


def sealed(report: Report) -> Report:
    """Return the report with its hash: SHA-256 of all the rest of it."""
    bare = msgspec.structs.replace(report, report_hash="")
    digest = hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).hexdigest()
    return msgspec.structs.replace(report, report_hash=digest)


def _report(
    orders: OrdersPass,
    sweeps: SweepsPass,
    lines: list[Line],
    broken: list[BreakNote],
    ended: list[BreakNote],
    marks: dict[str, Mark],
) -> Report:
    last, mark = sweeps.last, sweeps.mark
    account = _account(lines)
    return Report(
        run="",
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
        proofs=[],
        resting=[],
        break_list=broken,
        closed_breaks=dict(sorted(sweeps.closed.items())),
        confirmed=mark.confirmed if mark is not None else 0,
        unconfirmed=sum(not sweeps.is_confirmed(key) for key in orders.newest),
        recovered=len(sweeps.recovered),
        foreign=orders.foreign,
        sweeps=sweeps.sweeps,
        complete_sweeps=sweeps.complete,
        last_sweep=None
        if last is None
        else LastSweep(no=last.no, began_ns=last.began_ns, complete=last.complete, reason=last.reason),
        watermark=sweeps.watermark,
        watermark_ns=mark.wall_ns if mark is not None else 0,
        order_journal_rows=orders.rows,
        order_journal_head="",
        volume=sum(line.volume for line in lines),
        fees=sum(line.fees for line in lines),
        realised=sum(line.realised for line in lines),
        collateral=sum(line.collateral for line in lines),
        funding=sum(line.funding for line in lines),
        net=sum(line.net for line in lines),
        marked=_sum_marked(lines),
        account=account,
        marks=[marks[symbol] for symbol in sorted(marks)],
        classes={name: orders.classes[name] for name in sorted(orders.classes)},
        ended=ended,
        explained=sum(note.status == brk.EXPLAINED and note.kind != brk.FOREIGN for note in ended),
        listener=sweeps.listener,
        drop_copy_rows=sweeps.rows,
    )


# ---- breaks


def _breaks(
    orders: OrdersPass, sweeps: SweepsPass, proofs: list[Proof], ended: str
) -> tuple[list[BreakNote], list[BreakNote]]:
    found = [*sweeps.open.values(), *orders.found, *_own_breaks(orders, sweeps, proofs)]
    if ended and not orders.over:
        found += _end_breaks(orders, sweeps, ended)
    tolerance = Tolerance()
    explained = sweeps.explanations
    unique: dict[str, BreakNote] = {}
    for note in found:
        known = explained.get(note.break_id)
        if known is not None and known.about == difference_of(note):
            continue
        unique[note.break_id] = (
            note if note.severity else msgspec.structs.replace(note, severity=tolerance.severity_of(note))
        )
    order = {severity: rank for rank, severity in enumerate(brk.SEVERITIES)}
    broken = sorted(unique.values(), key=lambda note: (order.get(note.severity, 9), note.kind, note.break_id))
    rest = [note for break_id, note in sweeps.ended.items() if break_id not in unique]
    return broken, sorted(rest, key=lambda note: (note.wall_ns, note.break_id))


def _proofs(orders: OrdersPass) -> list[Proof]:
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


def _own_breaks(orders: OrdersPass, sweeps: SweepsPass, proofs: list[Proof]) -> list[BreakNote]:
    found = []
    open_positions = {note.symbol for note in sweeps.open.values() if note.kind == brk.POSITION}
    explained = {
        (note.symbol, note.amount) for note in sweeps.explanations.values() if note.kind == brk.POSITION
    }
    for proof in proofs:
        if proof.ok or proof.venue is None or (proof.symbol in open_positions and not orders.over):
            continue
        distance = proof.venue - proof.closing
        key = key_of(proof.exec_id)
        assert key is not None, "the venue's word came with a key"
        if (proof.symbol, distance) not in explained:
            text = f"own sum {QTY_TEXTS[proof.closing]}, the venue says {QTY_TEXTS[proof.venue]}"
            found.append(
                BreakNote(
                    break_id=f"{brk.id_of(brk.POSITION, key)}-{proof.symbol}",
                    kind=brk.POSITION,
                    status=brk.OPEN,
                    wall_ns=orders.last_ns,
                    first_ns=orders.last_ns,
                    exec_id=proof.exec_id,
                    symbol=proof.symbol,
                    text=text,
                    amount=distance,
                )
            )
    if sweeps.tape_no > orders.tape_no:
        text = f"the order journal ends at {orders.tape_no}, drop copy had seen {sweeps.tape_no}: its tail was cut off"
        found.append(_gap("gap-journal-tail", text, orders.end_ns))
    if orders.newest and not sweeps.complete:
        text = "no sweep of drop copy was ever complete: what the session brought has no second witness"
        found.append(_gap("gap-never-swept", text, orders.end_ns, orders.first_ns))
    return found


def _end_breaks(orders: OrdersPass, sweeps: SweepsPass, policy: str) -> list[BreakNote]:
    """Return what an end must not leave behind."""
    found = []
    unknown = [event for event in orders.live.values() if event.state is OrderState.UNKNOWN]
    resting = [event for event in orders.live.values() if event.state is not OrderState.UNKNOWN]
    for event in [*unknown, *(resting if policy == "cancel" else [])]:
        kind = "an unknown outcome" if event.state is OrderState.UNKNOWN else f"state {event.state}"
        text = f"the run ended with the order in {kind}: {QTY_TEXTS[event.leaves_qty]} may rest at the venue"
        found.append(_order_break(f"order-{event.order}", event, text, orders.last_ns))
    for event in orders.short.values():
        text = f"by CumQty {QTY_TEXTS[event.missing_qty]} more were filled than the journal has"
        found.append(_order_break(f"order-fills-{event.order}", event, text, orders.last_ns))
    since = sweeps.mark.wall_ns if sweeps.mark is not None else 0
    unconfirmed = sum(not sweeps.is_confirmed(key) for key in orders.newest)
    if unconfirmed and sweeps.complete:
        text = (
            f"{unconfirmed} reports are newer than the last complete sweep: drop copy has not confirmed them"
        )
        found.append(_gap("gap-unconfirmed", text, orders.last_ns, since))
    if sweeps.last is not None and not sweeps.last.complete:
        text = f"the last sweep was not completed: {sweeps.last.reason or 'no reason given'}"
        found.append(_gap("gap-last-sweep", text, orders.last_ns, since))
    return found


def _order_break(break_id: str, event: OrderEvent, text: str, wall_ns: int) -> BreakNote:
    return BreakNote(
        break_id=break_id,
        kind=brk.ORDER,
        status=brk.OPEN,
        wall_ns=wall_ns,
        first_ns=event.wall_ns,
        cl_ord_id=event.cl_ord_id,
        symbol=event.symbol,
        text=text,
    )


def _gap(break_id: str, text: str, wall_ns: int, since_ns: int = 0) -> BreakNote:
    return BreakNote(
        break_id=break_id,
        kind=brk.GAP,
        status=brk.OPEN,
        wall_ns=wall_ns,
        first_ns=since_ns or wall_ns,
        until_ns=wall_ns,
        text=text,
    )


# ---- money


def marks_of(orders: OrdersPass, samples: list[Sample], period: Period) -> dict[str, Mark]:
    """Return what each market is valued at: the newest mid, else the last trade, else our last fill of the period."""
    marks = {}
    for symbol, market in orders.markets.items():
        if market.last_px:
            marks[symbol] = Mark(
                symbol=symbol, price=market.last_px, wall_ns=market.last_px_ns, source="last fill"
            )
    for sample in samples:
        if not sample.wall_ns < period.to_ns:
            break
        for seen in sample.markets:
            price = (seen.bid + seen.ask) // 2 if seen.bid and seen.ask else seen.last
            if price and seen.symbol in orders.markets:
                source = "mid" if seen.bid and seen.ask else "last trade"
                marks[seen.symbol] = Mark(
                    symbol=seen.symbol, price=price, wall_ns=sample.wall_ns, source=source
                )
    return marks


def _funding_of(sweeps: SweepsPass, period: Period) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in sweeps.funding.values():
        if period.from_ns <= entry.at_ns < period.to_ns:
            sums[entry.symbol] = sums.get(entry.symbol, 0) + entry.amount
    return sums


def _lines(
    orders: OrdersPass,
    sweeps: SweepsPass,
    names: Mapping[int, str],
    marks: dict[str, Mark],
    period: Period,
) -> list[Line]:
    lines = []
    funding = _funding_of(sweeps, period)
    for symbol in funding:
        orders.totals_of(SLOT_FOREIGN, symbol)  # the account's money is nobody's strategy
    for (strategy, symbol), totals in sorted(orders.totals.items()):
        count = totals.in_period()
        position = totals.position
        marked: int | None = 0
        if position.qty:
            mark = marks.get(symbol)
            unit = orders.multipliers.get(symbol, 1)
            marked = None if mark is None else position.qty * mark.price * unit - position.cost
        paid = funding.get(symbol, 0) if strategy == SLOT_FOREIGN else 0
        lines.append(
            Line(
                strategy=strategy,
                name=name_of(strategy, names),
                symbol=symbol,
                orders=count[0],
                rejected=count[1],
                fills=count[2],
                bought=count[3],
                sold=count[4],
                maker=count[5],
                taker=count[6],
                volume=count[7],
                fees=count[8],
                realised=count[9],
                collateral=count[10],
                qty=position.qty,
                cost=position.cost,
                marked=marked,
                funding=paid,
                net=count[9] + (marked - totals.base_open if marked is not None else 0) - count[8] + paid,
            )
        )
    return lines


def _sum_marked(lines: list[Line]) -> int | None:
    values = [line.marked for line in lines]
    return None if None in values else sum(value for value in values if value is not None)


_SUMMED = (
    "orders",
    "rejected",
    "fills",
    "bought",
    "sold",
    "maker",
    "taker",
    "volume",
    "fees",
    "realised",
    "qty",
    "cost",
    "collateral",
    "funding",
    "net",
)


def _account(lines: list[Line]) -> list[Line]:
    """Return the account's line in each market: the sum of everybody's."""
    rows = []
    for symbol in dict.fromkeys(sorted(line.symbol for line in lines)):
        own = [line for line in lines if line.symbol == symbol]
        sums = {name: sum(getattr(line, name) for line in own) for name in _SUMMED}
        rows.append(Line(strategy=SLOT_FOREIGN, name=ACCOUNT, symbol=symbol, marked=_sum_marked(own), **sums))
    return rows


def _money(orders: OrdersPass, sweeps: SweepsPass, period: Period) -> list[MoneyProof]:
    funding = _funding_of(sweeps, period)
    rows = []
    for symbol in sorted(orders.markets):
        market = orders.markets[symbol]
        own = [t.position for (_, name), t in orders.totals.items() if name == symbol]
        cost, realised, fees = market.start
        change = sum(position.cost for position in own) - cost - market.corrected_cost
        made = sum(position.realised for position in own) - realised
        rows.append(
            MoneyProof(
                symbol=symbol,
                received=market.received,
                paid=market.paid,
                realised=made,
                cost_change=change,
                fees=sum(position.fees for position in own) - fees,
                collateral=market.collateral,
                funding=funding.get(symbol, 0),
                ok=made - change == market.received - market.paid,
            )
        )
    return rows


# ---- lists


def _resting(orders: OrdersPass, names: Mapping[int, str]) -> list[OpenOrder]:
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


def _recovered(orders: OrdersPass, sweeps: SweepsPass, period: Period) -> list[Recovered]:
    rows = []
    for note in sweeps.recovered:
        if not period.from_ns <= note.wall_ns < period.to_ns:
            continue
        key: Key | None = key_of(note.exec_id)
        event = orders.entered.get(key) if key is not None else None
        rows.append(
            Recovered(
                exec_id=note.exec_id,
                cl_ord_id=note.cl_ord_id,
                symbol=note.symbol,
                exec_type=note.exec_type,
                at_ns=event.transact_ns if event is not None else 0,
                found_ns=note.wall_ns,
                entered_ns=event.wall_ns if event is not None else 0,
                way=note.way,
            )
        )
    return rows


def _fundings(sweeps: SweepsPass, period: Period) -> list[FundingLine]:
    entries = [entry for entry in sweeps.funding.values() if period.from_ns <= entry.at_ns < period.to_ns]
    return [
        FundingLine(
            key=entry.key,
            symbol=entry.symbol,
            amount=entry.amount,
            at_ns=entry.at_ns,
            why=entry.why,
            who=entry.who,
        )
        for entry in sorted(entries, key=lambda entry: (entry.at_ns, entry.key))
    ]


def _assignments(sweeps: SweepsPass, names: Mapping[int, str]) -> list[Assignment]:
    return [
        Assignment(
            exec_id=entry.exec_id,
            strategy=entry.strategy,
            name=name_of(entry.strategy, names),
            why=entry.why,
            who=entry.who,
            wall_ns=entry.wall_ns,
        )
        for _, entry in sorted(sweeps.assigned.items())
    ]
