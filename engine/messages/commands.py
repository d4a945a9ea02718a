"""Intents (worker or operator to guard, `guard.orders`) and approved commands (guard to order entry, `oe.orders`).

An intent is a wish; nothing is sent to the venue but what the guard wrapped into `Approved`. Each command carries the
guard's epoch, a number and an expiry; order entry refuses an old epoch, a seen number or a passed expiry, and says so
on the tape (NOT_SENT). The tape is the acknowledgement of a command; only a refusal comes back directly.
"""

from enum import IntEnum, StrEnum

import msgspec


class Side(IntEnum):
    """FIX Side(54)."""

    BUY = 1
    SELL = 2


class TimeInForce(StrEnum):
    """FIX TimeInForce(59), by its character."""

    DAY = "0"
    GTC = "1"
    IOC = "3"
    FOK = "4"
    GTD = "6"


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="new"):
    """A wish for a new limit order.

    Attributes:
        cl_ord_id: made by the sender (`engine.common.ids`), its slot the sender's own.
        side: 1 buy, 2 sell.
        qty: 1/100 contract; price: 1/10000 dollar.
        tif: TimeInForce(59) character: 0 day, 1 GTC, 3 IOC, 4 FOK, 6 GTD (then expire_ns, wall).
        group: order group id for SecondaryClOrdID(526), or empty.
        stp: SelfTradePreventionType(2964): 1 taker at cross, 2 maker.
        reduce_only: guard refuses it unless it only reduces the strategy's position (the venue has no such flag).
        trigger_ns: mono_ns when the bytes that caused it were read, or 0.
        made_ns: mono_ns when it was made; the guard refuses intents that are too old.
    """

    cl_ord_id: str
    symbol: str
    side: int
    qty: int
    price: int
    tif: str = "1"
    post_only: bool = False
    expire_ns: int = 0
    group: str = ""
    stp: int = 1
    cancel_on_pause: bool = True
    reduce_only: bool = False
    trigger_ns: int = 0
    made_ns: int = 0


class ReplaceOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="replace"):
    """A wish to change an order: qty is the new **total** (venue.md section 4), orig_cl_ord_id the id now in force."""

    cl_ord_id: str
    orig_cl_ord_id: str
    symbol: str
    side: int
    qty: int
    price: int
    trigger_ns: int = 0
    made_ns: int = 0


class CancelOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="cancel"):
    """A wish to cancel the order that orig_cl_ord_id (any id of its chain) names."""

    cl_ord_id: str
    orig_cl_ord_id: str
    symbol: str
    side: int
    trigger_ns: int = 0
    made_ns: int = 0


class MassCancel(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="mass_cancel"):
    """OrderMassCancelRequest for the session (KalshiNR only, once a second); only the guard makes it."""

    cl_ord_id: str


class CancelAll(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="cancel_all"):
    """Cancel every open order of the sender (operator: of `strategy`, or all), of `symbol` when it is named."""

    symbol: str = ""
    strategy: int | None = None
    request_id: str = ""


class WorkerBeat(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="worker_beat"):
    """A worker is alive (every 200 ms); hello with the first one after its start."""

    mono_ns: int
    hello: bool = False


class Halt(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="halt"):
    """Kill switch: for everything, or for one strategy (slot) or market. Latched until `Arm`."""

    request_id: str
    why: str
    who: str
    strategy: int | None = None
    symbol: str = ""


class Arm(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="arm"):
    """Release a latch of the same scope; with accept_gap and positions, also state what can't be known by FIX.

    Attributes:
        positions: symbol to quantity (1/100 contract, signed), as the operator read it at the venue.
    """

    request_id: str
    why: str
    who: str
    strategy: int | None = None
    symbol: str = ""
    accept_gap: bool = False
    positions: dict[str, int] = {}


class CancelById(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="cancel_id"):
    """Operator: cancel the order that any id of its chain names."""

    request_id: str
    cl_ord_id: str
    who: str


class Flatten(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="flatten"):
    """Operator: halt a market (all markets when empty), cancel what is open in it, and bring the account's position in it
    to zero with IOC orders in the collar. Answered at the end; the market stays halted until `Arm`.
    """

    request_id: str
    who: str
    symbol: str = ""


class GroupOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="group"):
    """Operator: reset a strategy's order group, or settle one in doubt. Answered when the outcome is known.

    Attributes:
        strategy: slot.
        action: `reset`; `adopt` (the venue has `group_id`), `new` (make one; none is there, or it is not wanted).
    """

    request_id: str
    who: str
    why: str
    strategy: int
    action: str
    group_id: str = ""


class GuardQuery(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="guard?"):
    """Ask the guard for its whole state (`ControlReply.data`)."""

    request_id: str


class LimitsQuery(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="limits?"):
    """Ask the guard for every limit, its use, and what was changed (`ControlReply.data`: `limits`)."""

    request_id: str


class SetLimit(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="set_limit"):
    """Operator: change a limit of the account, of a strategy (slot) or of a market. Journalled, holds over restarts.

    Attributes:
        name: as in the configuration (`max_position`...), or `collateral`.
        value: decimal text in the configuration's unit.
    """

    request_id: str
    name: str
    value: str
    why: str
    who: str
    strategy: int | None = None
    symbol: str = ""


class OpenOrdersQuery(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="open_orders?"
):
    """Ask the guard for the open orders as it knows them from the tape."""

    request_id: str


class Refused(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="refused"):
    """The guard refused an intent; it never reached order entry.

    Attributes:
        control: which control (`max_qty`, `collar`, `tokens`, `halted`...).
        limit, value: the control's limit and what the intent would have made of it, in the control's unit.
        scope: `account`, `market BTC-PERP`, `strategy quote_maker`...
        text: the whole in one sentence.
    """

    cl_ord_id: str
    control: str
    scope: str
    text: str
    limit: int = 0
    value: int = 0


class ControlReply(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="reply"):
    """Answer to an operator's request."""

    request_id: str
    ok: bool
    text: str = ""
    data: dict[str, msgspec.Raw] = {}


class StrategyLatched(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="latched"):
    """The guard tells a worker that its scope was halted or armed again, and why."""

    halted: bool
    why: str = ""


Request = NewOrder | ReplaceOrder | CancelOrder | MassCancel


class Approved(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="approved"):
    """One command that order entry may put on the wire.

    Attributes:
        epoch: of the guard that approved it; only the newest epoch passes.
        no: dense per epoch, from 1.
        expires_ns: mono_ns after which it must not be sent.
        strategy: slot of the strategy whose order it is or touches.
        reducing: the guard's own order that brings the account's position towards zero; it passes latches.
    """

    epoch: int
    no: int
    expires_ns: int
    strategy: int
    request: Request
    reducing: bool = False


class GuardHello(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="guard_hello"):
    """A guard takes over with a new epoch: older ones are fenced. Order entry answers `EpochAccepted`, or refuses."""

    epoch: int


class GuardBeat(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="guard_beat"):
    """Every 100 ms. Silence means: the guard is lost."""

    epoch: int
    no: int
    mono_ns: int


class HaltOrders(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="halt_orders"):
    """Order entry latches too: after this no new or replacing order of the scope leaves; cancels do."""

    epoch: int
    why: str
    strategy: int | None = None
    symbol: str = ""


class ArmOrders(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="arm_orders"):
    """Release order entry's latch of the same scope; healing: not when the halt file has it, nobody armed it."""

    epoch: int
    why: str
    strategy: int | None = None
    symbol: str = ""
    healing: bool = False


class AcceptGap(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="accept_gap"):
    """Operator, through the guard: what FIX can't show is accepted; opening positions are set.

    Of the unknown orders only those end that the venue says are not open and that a sweep failed to tell more of.
    """

    epoch: int
    why: str
    who: str
    positions: dict[str, int] = {}


class GroupCommand(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="group_command"
):
    """The guard's word on a strategy's order group.

    Attributes:
        action: `trigger` (a kill), `reset_killed` (after one), or an operator's (`GroupOrder`).
        request_id: the operator's; order entry answers `GroupAnswer` when it can't be done.
    """

    epoch: int
    strategy: int
    action: str
    why: str
    request_id: str = ""
    group_id: str = ""


class GroupAnswer(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="group_answer"
):
    """What stands against an operator's order about a group."""

    request_id: str
    text: str


class EpochAccepted(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="epoch"):
    """Order entry follows this epoch; the guard then takes a snapshot at `tape_no` or later from `oe.ask`."""

    epoch: int
    tape_no: int


class NotAccepted(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="not_accepted"
):
    """Order entry did not take a command; for one with an order id the tape has a NOT_SENT beside it.

    Attributes:
        reason: `epoch`, `seen`, `expired`, `session`, `halted`, `journal`, `duplicate`, `unknown_order`, `queue`.
    """

    epoch: int
    no: int
    reason: str
    cl_ord_id: str = ""
    text: str = ""


IntentMessage = (
    NewOrder
    | ReplaceOrder
    | CancelOrder
    | CancelAll
    | WorkerBeat
    | Halt
    | Arm
    | CancelById
    | Flatten
    | GroupOrder
    | GuardQuery
    | OpenOrdersQuery
    | LimitsQuery
    | SetLimit
)
IntentAnswer = Refused | ControlReply | StrategyLatched
CommandMessage = Approved | GroupCommand | GuardHello | GuardBeat | HaltOrders | ArmOrders | AcceptGap
CommandAnswer = EpochAccepted | GroupAnswer | NotAccepted
