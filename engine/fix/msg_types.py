"""Values of MsgType(35) that FIX defines, and which of them belong to the session layer."""

from typing import Final


class MsgType:
    """MsgType(35) by FIX's names."""

    HEARTBEAT: Final = "0"
    TEST_REQUEST: Final = "1"
    RESEND_REQUEST: Final = "2"
    REJECT: Final = "3"
    SEQUENCE_RESET: Final = "4"
    LOGOUT: Final = "5"
    EXECUTION_REPORT: Final = "8"
    ORDER_CANCEL_REJECT: Final = "9"
    LOGON: Final = "A"
    NEW_ORDER_SINGLE: Final = "D"
    ORDER_CANCEL_REQUEST: Final = "F"
    ORDER_CANCEL_REPLACE_REQUEST: Final = "G"
    MARKET_DATA_REQUEST: Final = "V"
    MARKET_DATA_SNAPSHOT: Final = "W"
    MARKET_DATA_INCREMENTAL: Final = "X"
    MARKET_DATA_REQUEST_REJECT: Final = "Y"
    SECURITY_STATUS_REQUEST: Final = "e"
    SECURITY_STATUS: Final = "f"
    BUSINESS_MESSAGE_REJECT: Final = "j"
    ORDER_MASS_CANCEL_REQUEST: Final = "q"
    ORDER_MASS_CANCEL_REPORT: Final = "r"
