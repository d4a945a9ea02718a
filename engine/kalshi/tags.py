"""Tags that the venue defines, or uses in a meaning of its own, ordered by number (venue.md sections 2 to 6).

Standard numbers are in `engine.fix.tags`. 1703 to 1705 are standard numbers too, but of another group: FIX has them
within collateral amounts of a position, the venue counts the changes that one trade makes to the account.
"""

from enum import IntEnum


class VenueTag(IntEnum):
    """The venue's own tags."""

    NoCollateralAmountChanges = 1703
    CollateralAmountChange = 1704
    CollateralAmountType = 1705
    CancelOrdersOnDisconnect = 8013
    ListenerSession = 20126
    OrderGroupID = 20130
    OrderGroupAction = 20131
    OrderGroupContractsLimit = 20132
    MessageRetentionPeriod = 20200
    BeginExecID = 21001
    EndExecID = 21002
    ResendEventCount = 21003
    EventResendRejectReason = 21004
    UseDollars = 21005
    CancelOrderOnPause = 21006
    EnableIocCancelReport = 21007
    PreserveOriginalOrderQty = 21008
    SkipPendingExecReports = 21011
    UseExpiredOrdStatus = 21012
    AlwaysEmitNewBeforeTrade = 21026
