"""The exchange's refusals: OrdRejReason(103) or CxlRejReason(102) with their Text(58) (venue.md section 4).

Written out again here, not shared with the engine: what the engine is checked against must not be the engine. Where
the venue's documents give no text for a case, the nearest documented one stands and the comment says so.
"""

from typing import Final

from engine.venue.order import Refusal

# OrdRejReason(103), of a new order
MARKET_NOT_FOUND: Final = Refusal(1, "MARKET_NOT_FOUND")
EXCHANGE_PAUSED: Final = Refusal(2, "EXCHANGE_PAUSED")
TRADING_PAUSED: Final = Refusal(2, "TRADING_PAUSED")
INSUFFICIENT_BALANCE: Final = Refusal(3, "INSUFFICIENT_BALANCE")
GROUP_RISK_LIMIT: Final = Refusal(3, "EXCEEDED_ORDER_GROUP_RISK_LIMIT")
MARKET_ALREADY_CLOSED: Final = Refusal(2, "MARKET_ALREADY_CLOSED")
MARKET_INACTIVE: Final = Refusal(2, "MARKET_INACTIVE")
PER_MARKET_RISK_LIMIT: Final = Refusal(3, "EXCEEDED_PER_MARKET_RISK_LIMIT")
SELL_POSITION_FLOOR: Final = Refusal(3, "EXCEEDED_SELL_POSITION_FLOOR")
TOO_LATE_TO_ENTER: Final = Refusal(4, "")  # 4 is listed, a text is not
ORDER_ALREADY_EXISTS: Final = Refusal(6, "ORDER_ALREADY_EXISTS")
INVALID_ORDER: Final = Refusal(
    11, "INVALID_ORDER"
)  # also a price outside the band: no text is documented for it
ORDER_GROUP_NOT_FOUND: Final = Refusal(11, "ORDER_GROUP_NOT_FOUND")
INCORRECT_QUANTITY: Final = Refusal(13, "INVALID_ORDER")  # 13 comes without a documented text
CUSTOMER_ACCOUNT_NOT_FOUND: Final = Refusal(15, "CUSTOMER_ACCOUNT_NOT_FOUND")
CUSTOMER_ACCOUNT_DENIED: Final = Refusal(15, "PERMISSION_DENIED_FOR_CUSTOMER_ACCOUNT")
EXCHANGE_UNAVAILABLE: Final = Refusal(99, "EXCHANGE_UNAVAILABLE")
INTERNAL_ERROR: Final = Refusal(99, "INTERNAL_ERROR")

# by their texts, for a refusal on command
NAMED: Final = {
    refusal.text: refusal
    for refusal in (
        MARKET_NOT_FOUND,
        MARKET_ALREADY_CLOSED,
        MARKET_INACTIVE,
        EXCHANGE_PAUSED,
        TRADING_PAUSED,
        INSUFFICIENT_BALANCE,
        PER_MARKET_RISK_LIMIT,
        GROUP_RISK_LIMIT,
        SELL_POSITION_FLOOR,
        ORDER_ALREADY_EXISTS,
        INVALID_ORDER,
        ORDER_GROUP_NOT_FOUND,
        CUSTOMER_ACCOUNT_NOT_FOUND,
        CUSTOMER_ACCOUNT_DENIED,
        EXCHANGE_UNAVAILABLE,
        INTERNAL_ERROR,
    )
}

# CxlRejReason(102), of a cancel or replace
CXL_TOO_LATE: Final = Refusal(0, "TOO_LATE")  # the order is closed; no text is documented
CXL_UNKNOWN: Final = Refusal(1, "ORDER_NOT_FOUND")  # no text is documented
CXL_INVALID_QTY: Final = Refusal(2, "INVALID_AMEND_QTY_FOR_ORDER")
CXL_FILLED: Final = Refusal(2, "CANNOT_UPDATE_FILLED_ORDER")
CXL_DUPLICATE: Final = Refusal(6, "ORDER_ALREADY_EXISTS")
CXL_SELF_CROSS: Final = Refusal(18, "SELF_CROSS_ATTEMPT")
CXL_TICK: Final = Refusal(
    18, "INVALID_ORDER"
)  # 18 is for price increments; its text is documented for self-crosses only
CXL_MISMATCH: Final = Refusal(
    99, "INVALID_ORDER"
)  # 54, 55 or 79 differ from the order, a price form or a price band
CXL_POST_ONLY_CROSS: Final = Refusal(
    99, "POST_ONLY_CROSS"
)  # [?] whether post only survives an amend is not documented
CXL_EXCHANGE_PAUSED: Final = Refusal(99, "EXCHANGE_PAUSED")
CXL_TRADING_PAUSED: Final = Refusal(99, "TRADING_PAUSED")
CXL_MARKET_CLOSED: Final = Refusal(99, "MARKET_ALREADY_CLOSED")
CXL_MARKET_INACTIVE: Final = Refusal(99, "MARKET_INACTIVE")
CXL_PER_MARKET_RISK_LIMIT: Final = Refusal(99, "EXCEEDED_PER_MARKET_RISK_LIMIT")
CXL_SELL_POSITION_FLOOR: Final = Refusal(99, "EXCEEDED_SELL_POSITION_FLOOR")
CXL_INSUFFICIENT_BALANCE: Final = Refusal(99, "INSUFFICIENT_BALANCE")

# Text(58) of cancels that the exchange makes itself (150=4)
FOK_INSUFFICIENT_VOLUME: Final = "FOK_INSUFFICIENT_VOLUME"
POST_ONLY_CROSS: Final = "POST_ONLY_CROSS"
TAKER_SELF_TRADE: Final = "TAKER_CANCEL_FOR_SELF_TRADE_PREVENTION"
MAKER_SELF_TRADE: Final = "MAKER_CANCEL_FOR_SELF_TRADE_PREVENTION"
IMMEDIATE_OR_CANCELLED: Final = "IMMEDIATE_OR_CANCELLED"
ORDER_GROUP_CANCEL: Final = "ORDER_GROUP_CANCEL"
SELF_CROSS_ATTEMPT: Final = "SELF_CROSS_ATTEMPT"  # listed as a cancel's text; here it comes on command only
MARGIN_CANCEL: Final = "MARGIN_CANCEL"  # of a liquidated account's orders; no text is documented
CANCEL_TEXTS: Final = frozenset(
    {
        FOK_INSUFFICIENT_VOLUME,
        POST_ONLY_CROSS,
        SELF_CROSS_ATTEMPT,
        ORDER_GROUP_CANCEL,
        TAKER_SELF_TRADE,
        MAKER_SELF_TRADE,
        IMMEDIATE_OR_CANCELLED,
    }
)
