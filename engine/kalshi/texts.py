"""The venue's refusals: every documented Text(58) with the code it comes with (venue.md sections 4 and 7).

A refusal is told by its text first and its code second: codes are shared and have changed (a stale order is 5 by one
page and 8 by another), and the text alone says whether an order was applied. What is unknown is classed by its code; a
code that is unknown too is an ordinary refusal. Nothing here ever raises: the venue adds texts at any time.
"""

from enum import Enum
from typing import Final

import msgspec

NO_ORDER_ID: Final = "NONE"
"""OrderID(37) of a report about something that is no order yet, or never became one: it names nothing."""


class Outcome(Enum):
    """What a refusal means for the request."""

    REFUSED = "refused"  # not applied
    CANCELED = "canceled"  # the order was taken and ended by the exchange
    UNKNOWN = "unknown"  # nobody knows whether it was applied: reconcile it, never treat it as refused


class Refusal(msgspec.Struct, frozen=True):
    """One documented text.

    Attributes:
        text: Text(58). code: OrdRejReason(103) or CxlRejReason(102); None for a cancel (150=4).
        outcome: what it means for the order. meaning: for a human.
    """

    text: str
    code: int | None
    outcome: Outcome
    meaning: str


_R, _C, _U = Outcome.REFUSED, Outcome.CANCELED, Outcome.UNKNOWN

EXCHANGE_UNAVAILABLE: Final = "EXCHANGE_UNAVAILABLE"
INTERNAL_ERROR: Final = "INTERNAL_ERROR"
TRADING_PAUSED: Final = "TRADING_PAUSED"
EXCHANGE_PAUSED: Final = "EXCHANGE_PAUSED"
ORDER_ALREADY_EXISTS: Final = "ORDER_ALREADY_EXISTS"
ORDER_GROUP_CANCEL: Final = "ORDER_GROUP_CANCEL"
ORDER_GROUP_NOT_FOUND: Final = "ORDER_GROUP_NOT_FOUND"
EXCEEDED_ORDER_GROUP_RISK_LIMIT: Final = "EXCEEDED_ORDER_GROUP_RISK_LIMIT"
CANNOT_UPDATE_FILLED_ORDER: Final = "CANNOT_UPDATE_FILLED_ORDER"

# ExecutionReport (35=8) with ExecType(150) Rejected or Canceled
ORDER_REFUSALS: Final[dict[str, Refusal]] = {
    refusal.text: refusal
    for refusal in (
        Refusal("MARKET_NOT_FOUND", 1, _R, "no such market"),
        Refusal("MARKET_ALREADY_CLOSED", 2, _R, "the market has closed"),
        Refusal("MARKET_INACTIVE", 2, _R, "the market is not active"),
        Refusal(EXCHANGE_PAUSED, 2, _R, "exchange pause: not even cancels work"),
        Refusal(TRADING_PAUSED, 2, _R, "trading pause: no new orders or amends, cancels work"),
        Refusal("INSUFFICIENT_BALANCE", 3, _R, "the account's collateral does not cover it"),
        Refusal("EXCEEDED_PER_MARKET_RISK_LIMIT", 3, _R, "over the venue's risk limit of this market"),
        Refusal(EXCEEDED_ORDER_GROUP_RISK_LIMIT, 3, _R, "its order group is triggered and needs a reset"),
        Refusal("EXCEEDED_SELL_POSITION_FLOOR", 3, _R, "it would sell below the position floor"),
        Refusal(ORDER_ALREADY_EXISTS, 6, _R, "an order with this ClOrdID exists"),
        Refusal("INVALID_ORDER", 11, _R, "the exchange does not take an order of this kind"),
        Refusal(ORDER_GROUP_NOT_FOUND, 11, _R, "no such order group"),
        Refusal("CUSTOMER_ACCOUNT_NOT_FOUND", 15, _R, "no such customer account"),
        Refusal("PERMISSION_DENIED_FOR_CUSTOMER_ACCOUNT", 15, _R, "not permitted for this customer account"),
        Refusal(EXCHANGE_UNAVAILABLE, 99, _U, "the gateway does not know whether it was applied"),
        Refusal(INTERNAL_ERROR, 99, _R, "refused by a healthy exchange for a reason without a name"),
        Refusal("FOK_INSUFFICIENT_VOLUME", None, _C, "fill or kill, and not enough volume"),
        Refusal("POST_ONLY_CROSS", None, _C, "post only, and it would have crossed"),
        Refusal("SELF_CROSS_ATTEMPT", None, _C, "it would have traded with the account's own order"),
        Refusal(ORDER_GROUP_CANCEL, None, _C, "its order group was triggered or deleted"),
        Refusal("TAKER_CANCEL_FOR_SELF_TRADE_PREVENTION", None, _C, "self-trade prevention: the taker goes"),
        Refusal("MAKER_CANCEL_FOR_SELF_TRADE_PREVENTION", None, _C, "self-trade prevention: the maker goes"),
        Refusal("IMMEDIATE_OR_CANCELLED", None, _C, "immediate or cancel: the rest goes"),
    )
}

# OrderCancelReject (35=9)
CANCEL_REFUSALS: Final[dict[str, Refusal]] = {
    refusal.text: refusal
    for refusal in (
        Refusal("INVALID_AMEND_QTY_FOR_ORDER", 2, _R, "the new total is below what is filled"),
        Refusal(CANNOT_UPDATE_FILLED_ORDER, 2, _R, "the order is filled: a fill may be on its way"),
        Refusal("SELF_CROSS_ATTEMPT", 18, _R, "it would have traded with the account's own order"),
        Refusal(EXCHANGE_UNAVAILABLE, 99, _U, "the gateway does not know whether it was applied"),
    )
}

# OrdRejReason(103); 5 and 8 both mean a stale order [?]
ORD_REJ_REASONS: Final[dict[int, str]] = {
    1: "unknown symbol",
    2: "exchange closed",
    3: "order exceeds limit",
    4: "too late to enter",
    5: "stale order",
    6: "duplicate order",
    8: "stale order",
    11: "unsupported order characteristic",
    13: "incorrect quantity",
    15: "unknown account",
    99: "other",
}

# CxlRejReason(102)
UNKNOWN_ORDER: Final = 1
CXL_REJ_REASONS: Final[dict[int, str]] = {
    0: "too late to cancel",
    1: "unknown order",
    2: "broker",
    6: "duplicate ClOrdID",
    18: "invalid price increment",
    99: "other",
}

# BusinessRejectReason(380)
RATE_LIMIT_EXCEEDED: Final = 8
BUSINESS_REJECT_REASONS: Final[dict[int, str]] = {
    0: "other",
    1: "unknown id",
    2: "unknown security",
    3: "unsupported message type",
    4: "application not available",
    5: "conditionally required field missing",
    6: "not authorized",
    8: "rate limit exceeded",
}

# SessionRejectReason(373)
SESSION_REJECT_REASONS: Final[dict[int, str]] = {
    0: "invalid tag number",
    1: "required tag missing",
    2: "tag not defined for this message",
    3: "undefined tag",
    4: "tag without value",
    5: "incorrect value",
    6: "incorrect format",
    7: "decryption problem",
    8: "signature problem",
    9: "CompID problem",
    10: "SendingTime accuracy problem",
    11: "invalid MsgType",
    12: "XML validation error",
    13: "tag appears more than once",
    14: "tag out of required order",
    15: "group fields out of order",
    16: "incorrect group count",
    17: "field delimiter inside a value",
    18: "unsupported application version",
    99: "other",
}

# EventResendRejectReason(21004)
EVENT_RESEND_REJECT_REASONS: Final[dict[int, str]] = {
    1: "too many requests",
    2: "server error",
    3: "BeginExecID too small",
    4: "EndExecID too large",
    5: "not enabled for the account",
}

# Text(58) of the Logout that answers a second connection (venue.md section 1)
ALREADY_EXISTS: Final = "already exists"


def order_outcome(text: str) -> Outcome:
    """Say what a report with ExecType Rejected means: only EXCHANGE_UNAVAILABLE leaves the outcome open."""
    return Outcome.UNKNOWN if text.strip() == EXCHANGE_UNAVAILABLE else Outcome.REFUSED


def cancel_outcome(text: str) -> Outcome:
    """Say what an OrderCancelReject means for the cancel or replace: as `order_outcome`."""
    return order_outcome(text)


def explain_order(reason: int | None, text: str) -> str:
    """Explain OrdRejReason(103) and Text(58) to a human, keeping both as they came."""
    return _explain(ORDER_REFUSALS, ORD_REJ_REASONS, reason, text)


def explain_cancel(reason: int | None, text: str) -> str:
    """Explain CxlRejReason(102) and Text(58) to a human, keeping both as they came."""
    return _explain(CANCEL_REFUSALS, CXL_REJ_REASONS, reason, text)


def _explain(known: dict[str, Refusal], reasons: dict[int, str], reason: int | None, text: str) -> str:
    refusal = known.get(text.strip())
    if refusal is not None:
        meaning = refusal.meaning
    elif reason is not None:
        meaning = reasons.get(reason, "undocumented reason")
    else:
        meaning = "no reason given"
    code = "" if reason is None else f" (reason {reason})"
    return f"{text}: {meaning}{code}" if text else f"{meaning}{code}"
