"""The reconciliation report as data. Quantities in 1/100 contract, prices in 1/10000 dollar, money in 1/1000000 dollar."""

from typing import Final

import msgspec

from engine.drop_copy.report.inputs import Mark, Origin
from engine.messages.reconciliation import BreakNote

CLEAN: Final = "clean"
BREAKS: Final = "breaks"

# How every report is classified.
CONFIRMED: Final = "confirmed"
RECOVERED: Final = "missing_here"
NOT_YET_THERE: Final = "missing_there_yet"
NOT_THERE: Final = "missing_there"
DIFFERENT: Final = "different"
FOREIGN: Final = "foreign"
DUPLICATE: Final = "duplicate"
SESSION_ONLY: Final = "session_only"
CLASSES: Final = {
    CONFIRMED: "confirmed by all witnesses that can see it",
    SESSION_ONLY: "rejects and cancels of other kinds that drop copy never shows",
    RECOVERED: "missing here: recovered by another witness and entered",
    NOT_YET_THERE: "missing there yet: newer than the last sweep",
    NOT_THERE: "missing there, past the deadline",
    DIFFERENT: "different",
    FOREIGN: "foreign: a system order or another session of the account",
    DUPLICATE: "duplicate",
}


class Line(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One strategy in one market, or the account in it (name `account`).

    Attributes:
        orders: new orders submitted. rejected: of them, refused by the venue or never sent.
        bought, sold, maker, taker: quantities; what the venue did not classify is in neither maker nor taker.
        volume: money traded. fees: money paid, a rebate negative. collateral: sum of 1704.
        realised: money made on what was closed, fees apart, at average cost. marked: what the open position would make
            at the mark; None without one. funding: money that the account got.
        net: realised + change of marked in the period - fees + funding.
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
    collateral: int = 0
    marked: int | None = None
    funding: int = 0
    net: int = 0


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


class MoneyProof(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One market's money: realised - change of cost = received for sales - paid for purchases, to the last millionth.

    Attributes:
        received, paid: at the fills' prices. cost_change: of the open position, corrections apart.
    """

    symbol: str
    received: int
    paid: int
    realised: int
    cost_change: int
    fees: int
    collateral: int
    funding: int
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


class Recovered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A report that the session did not bring.

    Attributes:
        at_ns: when the venue made it (TransactTime), 0 when not said. found_ns: when a witness showed it.
        entered_ns: when it was in the journal, 0 while it is not. way: by which it came back.
    """

    exec_id: str
    cl_ord_id: str
    symbol: str
    exec_type: str
    at_ns: int
    found_ns: int
    entered_ns: int
    way: str


class FundingLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One payment of funding, as entered."""

    key: str
    symbol: str
    amount: int
    at_ns: int
    why: str
    who: str


class Assignment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A foreign fill that counts for a strategy by an operator's word."""

    exec_id: str
    strategy: int
    name: str
    why: str
    who: str
    wall_ns: int


class BreakRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A break with its history, as `reconcile breaks --json` shows it; `class` is its kind."""

    id: str
    kind: str = msgspec.field(name="class")
    severity: str
    status: str
    first_seen: str
    last_seen: str
    market: str
    exec_id: str
    cl_ord_id: str
    text: str
    amount: int
    who: str
    history: list[dict[str, str]]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report.

    Attributes:
        verdict: `clean` or `breaks`.
        breaks: how many are open; break_list: them; ended: explained and closed ones; closed_breaks: those that ended, by
            kind; explained: how many an operator explained.
        classes: how many reports are of each class.
        confirmed: reports that both witnesses have; unconfirmed: executions newer than the watermark.
        recovered: reports that another witness brought; foreign: reports of orders that aren't ours.
        sweeps, complete_sweeps, last_sweep, watermark, watermark_ns: of drop copy.
        listener: reports that the listener heard, None when there is none.
        order_journal_rows, order_journal_head: row count and hash of the last row, hex.
        first_ns, last_ns: wall clock of the first and last order event in the period, 0 when there is none.
        period: the time it is about. latches: scope to why, as of the guard's journal.
        marked: None when a position has no mark. net: realised + marked - fees + funding.
        report_hash: SHA-256 of everything else in it: the same inputs give the same.
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
    collateral: int = 0
    marked: int | None = None
    funding: int = 0
    net: int = 0
    period: str = ""
    account: list[Line] = []
    money: list[MoneyProof] = []
    marks: list[Mark] = []
    classes: dict[str, int] = {}
    ended: list[BreakNote] = []
    explained: int = 0
    recovered_list: list[Recovered] = []
    fundings: list[FundingLine] = []
    assignments: list[Assignment] = []
    listener: int | None = None
    latches: dict[str, str] = {}
    origin: Origin = Origin()
    drop_copy_rows: int = 0
    report_hash: str = ""
