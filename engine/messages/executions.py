"""The tape (`oe.tape`) and what order entry answers (`oe.ask`).

The tape is the only source of order state. Every `OrderEvent` carries a dense `tape_no` and a dense number of its
strategy's own, and the order's whole state after the event, so that the newest event of an order is its state. The
same struct is the order journal's row: what is on the tape was committed first. PUB/SUB may lose messages, the tape
may not: a beat carries the last numbers, and a reader that sees a gap asks `oe.ask` to replay.
"""

from enum import StrEnum

import msgspec

TOPIC_BEAT = "beat"
TOPIC_SLOT = "slot."  # + slot in three hex digits, or `foreign`


def tape_topic(strategy: int) -> str:
    """Return the tape's topic of a strategy's slot; SLOT_FOREIGN (-1) has its own."""
    return f"{TOPIC_SLOT}{strategy:03x}" if strategy >= 0 else f"{TOPIC_SLOT}foreign"


class OrderState(StrEnum):
    """Where an order is in its life (docs/orders.md). The last five are terminal."""

    __hash__ = str.__hash__  # Enum's own is a Python function, and tables are asked by states for every event

    SUBMITTING = "SUBMITTING"  # journalled and given to the session, not answered
    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    PENDING_REPLACE = "PENDING_REPLACE"
    PENDING_CANCEL = "PENDING_CANCEL"
    UNKNOWN = (
        "UNKNOWN"  # the venue may or may not have it: counted at its worst, resolved only by the venue's word
    )
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    NOT_SENT = "NOT_SENT"  # it never left, or the venue said that it never got it


TERMINAL = frozenset(
    {OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED, OrderState.NOT_SENT}
)


class EventKind(StrEnum):
    """What happened."""

    __hash__ = str.__hash__

    SUBMITTED = "submitted"  # a new order is about to go on the wire
    REPLACE_SUBMITTED = "replace_submitted"
    CANCEL_SUBMITTED = "cancel_submitted"
    NOT_SENT = "not_sent"  # a request will never be on the wire
    PENDING_NEW = "pending_new"
    NEW = "new"
    TRADE = "trade"
    PENDING_REPLACE = "pending_replace"
    REPLACED = "replaced"
    PENDING_CANCEL = "pending_cancel"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"  # of a new order
    CANCEL_REJECTED = "cancel_rejected"  # OrderCancelReject(35=9) answering a cancel
    REPLACE_REJECTED = "replace_rejected"
    UNKNOWN = "unknown"  # the outcome can't be known now; text says why
    RESOLVED = "resolved"  # an unknown order was found out: by what, is in text
    DONE_SILENTLY = (
        "done_silently"  # IOC/FOK without a cancel report (21007=N): the rest is gone by its terms
    )
    FILLS_DENIED = "fills_denied"  # a CumQty told of more fills than we have: drop copy has none, or an operator settles it
    POSITION = (
        "position"  # an opening or accepted position of a market: long_qty - short_qty is the new position
    )


class Source(StrEnum):
    """Where the event was learned."""

    ENGINE = "engine"  # our own act
    SESSION = "session"  # the order-entry session
    RECOVERED = "recovered"  # drop copy had it and the session did not bring it
    OPERATOR = "operator"


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="order"):
    """One event of one order, with the order's state after it.

    Attributes:
        tape_no: dense over all events, from 1, across restarts.
        strategy: slot; 0 operator and guard, -1 foreign (not ours).
        strategy_no: dense per strategy, from 1, across restarts.
        order: ClOrdID of the chain's first request: names the order for its whole life; a foreign one's OrderID.
        cl_ord_id: the ClOrdID in force after this event.
        request_id: ClOrdID of the request that this event is about or answers, or empty.
        qty: total order quantity in force (ours; 38 of reports is not trusted); leaves_qty 0 when terminal.
        exec_id: ExecID(17) in its one form (`clock;event`, an index only where it is not 0), or empty when there is none (pending reports carry -1;-1 and are not kept as key).
        fee: money, as the venue charged it (may be negative: a rebate); collateral: money, sum of 1704.
        long_qty, short_qty: 704/705, the account's position in the market after the trade, -1 when not said.
        position: the account's position in the market by our own sum after this event, signed (trade events).
        late: the report came for an order that was already terminal: recorded, position moved, state kept, unless
            that was our own conclusion, which the venue's word overrides (docs/architecture.md).
        trigger_ns: mono_ns of the bytes that caused the request (submit events).
        transact_ns: TransactTime(60), wall ns, 0 when absent.
        cost: money that a position of kind POSITION cost, signed as the position; 0 on every other kind.
        missing_qty: how far the venue's CumQty was ahead of cum_qty and settled_qty: filled, but not here yet.
        settled_qty: what of CumQty an operator settled: his word about the position stands for these fills.
    """

    tape_no: int
    strategy: int
    strategy_no: int
    kind: EventKind
    state: OrderState
    order: str
    wall_ns: int
    cl_ord_id: str = ""
    request_id: str = ""
    order_id: str = ""
    exec_id: str = ""
    symbol: str = ""
    side: int = 0
    price: int = 0
    qty: int = 0
    cum_qty: int = 0
    leaves_qty: int = 0
    last_px: int = 0
    last_qty: int = 0
    fee: int = 0
    collateral: int = 0
    long_qty: int = -1
    short_qty: int = -1
    position: int = 0
    aggressor: str = ""
    trd_match_id: str = ""
    reason: int = -1
    text: str = ""
    tif: str = "1"
    post_only: bool = False
    group: str = ""
    stp: int = 1
    cancel_on_pause: bool = False
    expire_ns: int = 0
    new_price: int = 0
    new_qty: int = 0
    source: Source = Source.SESSION
    late: bool = False
    msg_seq_num: int = 0
    trigger_ns: int = 0
    transact_ns: int = 0
    cost: int = 0
    missing_qty: int = 0
    settled_qty: int = 0


class GroupState(StrEnum):
    """How a strategy's order group is (`order_entry.groups`)."""

    ABSENT = "ABSENT"
    CREATING = "CREATING"
    DOUBT = "DOUBT"  # a create was not answered: the group may exist
    READY = "READY"
    TRIGGERED = "TRIGGERED"  # by the venue: only an operator resets it
    KILLED = "KILLED"  # by our own kill: arming resets it


class GroupStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A strategy's order group.

    Attributes:
        usable: orders may carry it now; text says why not.
        limit: contracts in 15 s, as configured.
    """

    state: GroupState
    usable: bool
    group_id: str = ""
    limit: int = 0
    text: str = ""


class TapeBeat(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="beat"):
    """Every 100 ms and at each change of what it says, topic `beat`.

    Attributes:
        strategies: slot (decimal text; msgpack maps of other languages like text keys) to its last strategy_no.
        session: state of the order-entry session in words; `logged on` when orders can go.
        ready: logged on, nothing left to resolve, journal writable.
        sweep_wanted: raised by one whenever drop copy must sweep: after each logon, after an unknown-order answer.
        sweep_done: the last one that a sweep has satisfied.
        logon_sweep: what sweep_wanted became by the last Logon: nothing may trade before that was swept.
        unknown: orders in UNKNOWN.
        detail: why it isn't ready.
        journal_no, journal_head: row and hash (hex) up to which the order journal was committed when this was said.
        groups: slot (decimal text) to its order group, where it has one; group_requests: UOG messages of this life.
        life_ns: wall clock at order entry's start; another one is another life.
    """

    tape_no: int
    mono_ns: int
    session: str
    ready: bool
    epoch: int = 0
    strategies: dict[str, int] = {}
    open_orders: int = 0
    unknown: int = 0
    sweep_wanted: int = 0
    sweep_done: int = 0
    skew_ns: int = 0
    detail: str = ""
    logon_sweep: int = 0
    journal_no: int = 0
    journal_head: str = ""
    groups: dict[str, GroupStatus] = {}
    group_requests: int = 0
    life_ns: int = 0


class TapeRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="replay?"):
    """Ask for the tape from a number on: of everything (tape_no), or of one strategy (strategy_no)."""

    from_no: int
    strategy: int | None = None


class TapeReplay(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="replay"):
    """A part of the tape, in order, without gaps; `more` when another part follows this one unasked."""

    events: list[OrderEvent]
    strategy: int | None = None
    more: bool = False


class SnapshotRequest(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="snapshot?"
):
    """Ask for the state as of now: of everything, or of one strategy."""

    strategy: int | None = None


class PositionState(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="position"):
    """A strategy's position in a market and what it made (strategy None: the account's).

    Attributes:
        qty: signed, 1/100 contract.
        cost: money paid for the open quantity, signed as qty (average cost times quantity, rounding kept in it).
        realised: money, fees not included; fees: money paid. collateral: money, sum of 1704 over its trades.
        known: an opening position is known (journal, configuration or operator).
    """

    symbol: str
    strategy: int | None = None
    qty: int = 0
    cost: int = 0
    realised: int = 0
    fees: int = 0
    volume: int = 0
    fills: int = 0
    buy_qty: int = 0
    sell_qty: int = 0
    known: bool = False
    collateral: int = 0


class OrdersSnapshot(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="snapshot"):
    """Everything that is not over, as it was after `tape_no`; go on with the next number.

    Attributes:
        orders: the newest event of each order that is not terminal; with strategy None also of each that is, and of
            foreign ones, while fills of it are missing.
        positions: of each strategy and market; with strategy None also the account's.
    """

    tape_no: int
    strategy: int | None = None
    strategies: dict[str, int] = {}
    orders: list[OrderEvent] = []
    positions: list[PositionState] = []


class ReportCopy(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An ExecutionReport as drop copy or a listener saw it, in bus units; fields as in `OrderEvent`."""

    exec_id: str
    cl_ord_id: str
    exec_type: str
    ord_status: str
    symbol: str
    side: int
    orig_cl_ord_id: str = ""
    order_id: str = ""
    price: int = 0
    qty: int = 0
    cum_qty: int = 0
    leaves_qty: int = 0
    last_px: int = 0
    last_qty: int = 0
    fee: int = 0
    collateral: int = 0
    long_qty: int = -1
    short_qty: int = -1
    aggressor: str = ""
    trd_match_id: str = ""
    reason: int = -1
    text: str = ""
    transact_ns: int = 0


class RecoveredReports(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="recovered"
):
    """drop_copy to order_entry: reports that the tape does not have, in ExecID order. Idempotent by ExecID."""

    reports: list[ReportCopy]


class SweepDone(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="swept"):
    """drop_copy to order_entry: a whole sweep, begun when `wanted` was the beat's sweep_wanted, is finished and sent.

    Attributes:
        complete: from the watermark to the latest, count checked; False: degraded, nothing may be concluded from it.
    """

    wanted: int
    complete: bool
    reason: str = ""


TapeMessage = OrderEvent | TapeBeat
AskOrders = TapeRequest | SnapshotRequest | RecoveredReports | SweepDone
OrdersAnswer = TapeReplay | OrdersSnapshot
