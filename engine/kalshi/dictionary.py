"""The margin gateway's messages as data (venue.md sections 2 to 7; the venue's dictionary v1.03 cut to margin).

`DICTIONARY` holds every message of both directions. A side takes only some of them: `CLIENT_DICTIONARY` is what comes
to us, `venue_dictionary(session)` what a gateway takes; the rest counts as known elsewhere (35=j 380=3).

A field is `open` when the venue may send values that are not listed: a report must not be lost over a new reason. What
code must branch on to book a report (Side) stays closed. 279 and 269 are open so that the codec decides: an entry that
it can't read makes a book unusable, and the book's owner must learn of it.

The conditions are the pages' prose, which the venue's XML can't say.
"""

from enum import IntEnum
from typing import Final

from engine.fix.dictionary import Condition, Dictionary, FieldSpec, GroupSpec, MessageSpec, Use
from engine.fix.fields import FieldType
from engine.fix.tags import Tag
from engine.kalshi.tags import VenueTag

_T = FieldType
_N = VenueTag
_ADMIN: Final = frozenset("012345A")
_NO_VALUES: Final[frozenset[str]] = frozenset()

SESSIONS: Final = ("KalshiNR", "KalshiDC", "KalshiRT", "KalshiMD")
# application messages that a gateway takes (sections 4, 5, 6); OrderMassCancelRequest is KalshiNR's only
VENUE_TAKES: Final[dict[str, frozenset[str]]] = {
    "KalshiNR": frozenset({"D", "F", "G", "q", "UOG"}),
    "KalshiRT": frozenset({"D", "F", "G", "UOG"}),
    "KalshiDC": frozenset({"U1"}),
    "KalshiMD": frozenset({"V", "e"}),
}
CLIENT_TAKES: Final = frozenset({"8", "9", "r", "j", "UOH", "U2", "U3", "W", "X", "Y", "f"})


def _field(tag: IntEnum, kind: FieldType, values: frozenset[str] = _NO_VALUES) -> FieldSpec:
    return FieldSpec(tag=int(tag), name=tag.name, type=kind, values=values)


def _open(tag: IntEnum, kind: FieldType, values: str) -> FieldSpec:
    return FieldSpec(tag=int(tag), name=tag.name, type=kind, values=frozenset(values.split()), open=True)


_MSG_TYPES: Final = _ADMIN | frozenset("89DFGVWXYefjqr") | {"U1", "U2", "U3", "UOG", "UOH"}
_FIELDS: Final[tuple[FieldSpec, ...]] = (
    _field(Tag.AvgPx, _T.DECIMAL),
    _field(Tag.BeginSeqNo, _T.COUNT),
    _field(Tag.BeginString, _T.STRING),
    _field(Tag.BodyLength, _T.COUNT),
    _field(Tag.CheckSum, _T.STRING),
    _field(Tag.ClOrdID, _T.STRING),
    _field(Tag.CumQty, _T.DECIMAL),
    _field(Tag.EndSeqNo, _T.COUNT),
    _field(Tag.ExecID, _T.STRING),
    _field(Tag.ExecInst, _T.MULTIPLE, frozenset("6")),
    _field(Tag.LastMkt, _T.STRING),
    _field(Tag.LastPx, _T.DECIMAL),
    _field(Tag.LastQty, _T.DECIMAL),
    _field(Tag.MsgSeqNum, _T.COUNT),
    _field(Tag.MsgType, _T.STRING, _MSG_TYPES),
    _field(Tag.NewSeqNo, _T.COUNT),
    _field(Tag.OrderID, _T.STRING),
    _field(Tag.OrderQty, _T.DECIMAL),
    _open(Tag.OrdStatus, _T.CHAR, "0 1 2 4 5 6 8 A C E"),
    _field(Tag.OrdType, _T.CHAR, frozenset("2")),
    _field(Tag.OrigClOrdID, _T.STRING),
    _field(Tag.PossDupFlag, _T.BOOLEAN),
    _field(Tag.Price, _T.DECIMAL),
    _field(Tag.RefSeqNum, _T.COUNT),
    _field(Tag.SenderCompID, _T.STRING),
    _field(Tag.SenderSubID, _T.STRING),
    _field(Tag.SendingTime, _T.TIMESTAMP),
    _field(Tag.Side, _T.CHAR, frozenset("12")),
    _field(Tag.Symbol, _T.STRING),
    _field(Tag.TargetCompID, _T.STRING),
    _field(Tag.TargetSubID, _T.STRING),
    _field(Tag.Text, _T.STRING),
    _field(Tag.TimeInForce, _T.CHAR, frozenset("01346")),
    _field(Tag.TransactTime, _T.TIMESTAMP),
    _field(Tag.AllocAccount, _T.INT),
    _field(Tag.RawDataLength, _T.COUNT),
    _field(Tag.RawData, _T.DATA),
    _field(Tag.PossResend, _T.BOOLEAN),
    _field(Tag.EncryptMethod, _T.INT, frozenset("0")),
    _open(Tag.CxlRejReason, _T.INT, "0 1 2 6 18 99"),
    _open(Tag.OrdRejReason, _T.INT, "1 2 3 4 5 6 8 11 13 15 99"),
    _field(Tag.HeartBtInt, _T.INT),
    _field(Tag.TestReqID, _T.STRING),
    _field(Tag.OrigSendingTime, _T.TIMESTAMP),
    _field(Tag.GapFillFlag, _T.BOOLEAN),
    _field(Tag.ExpireTime, _T.TIMESTAMP),
    _field(Tag.NoMiscFees, _T.COUNT),
    _field(Tag.MiscFeeAmt, _T.DECIMAL),
    _field(Tag.MiscFeeCurr, _T.STRING),
    _open(Tag.MiscFeeType, _T.CHAR, "4"),
    _field(Tag.ResetSeqNumFlag, _T.BOOLEAN),
    _field(Tag.NoRelatedSym, _T.COUNT),
    _open(Tag.ExecType, _T.CHAR, "0 4 5 6 8 A C E F"),
    _field(Tag.LeavesQty, _T.DECIMAL),
    _open(Tag.SubscriptionRequestType, _T.CHAR, "0 1 2"),  # another one gets 35=Y 281=4, not a session reject
    _field(Tag.NoMDEntries, _T.COUNT),
    _open(Tag.MDEntryType, _T.CHAR, "0 1 2"),
    _field(Tag.MDEntryPx, _T.DECIMAL),
    _field(Tag.MDEntrySize, _T.DECIMAL),
    _field(Tag.MDEntryDate, _T.DATE),
    _field(Tag.MDEntryTime, _T.TIME),
    _open(Tag.MDUpdateAction, _T.CHAR, "0 1 2"),
    _open(Tag.MDReqRejReason, _T.CHAR, "2 4"),
    _open(Tag.SecurityTradingStatus, _T.INT, "2 3"),
    _field(Tag.RefTagID, _T.INT),
    _field(Tag.RefMsgType, _T.STRING),
    _open(Tag.SessionRejectReason, _T.INT, "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99"),
    _field(Tag.BusinessRejectRefID, _T.STRING),
    _open(Tag.BusinessRejectReason, _T.INT, "0 1 2 3 4 5 6 8"),
    _open(Tag.CxlRejResponseTo, _T.CHAR, "1 2"),
    _field(Tag.PartyID, _T.STRING),
    _open(Tag.PartyRole, _T.INT, "24"),
    _field(Tag.NoPartyIDs, _T.COUNT),
    _field(Tag.SecondaryClOrdID, _T.STRING),
    _field(Tag.MassCancelRequestType, _T.CHAR, frozenset("6")),
    _open(Tag.MassCancelResponse, _T.CHAR, "0 6"),
    _field(Tag.MassCancelRejectReason, _T.INT),
    _field(Tag.LongQty, _T.DECIMAL),
    _field(Tag.ShortQty, _T.DECIMAL),
    _field(Tag.TrdMatchID, _T.STRING),
    _open(Tag.MiscFeeBasis, _T.INT, "0"),
    _field(Tag.AggressorIndicator, _T.BOOLEAN),
    _field(Tag.ApplVerID, _T.STRING, frozenset("9")),
    _field(Tag.DefaultApplVerID, _T.STRING, frozenset("9")),
    _field(_N.NoCollateralAmountChanges, _T.COUNT),
    _field(_N.CollateralAmountChange, _T.DECIMAL),
    _open(_N.CollateralAmountType, _T.STRING, "BALANCE PAYOUT"),
    _open(Tag.AggressorSide, _T.CHAR, "1 2"),
    _open(Tag.SelfTradePreventionType, _T.INT, "1 2"),
    _field(_N.CancelOrdersOnDisconnect, _T.BOOLEAN),
    _field(_N.ListenerSession, _T.BOOLEAN),
    _field(_N.OrderGroupID, _T.STRING),
    _field(_N.OrderGroupAction, _T.INT, frozenset("12345")),
    _field(_N.OrderGroupContractsLimit, _T.INT),
    _field(_N.MessageRetentionPeriod, _T.INT),
    _field(_N.BeginExecID, _T.STRING),
    _field(_N.EndExecID, _T.STRING),
    _field(_N.ResendEventCount, _T.INT),
    _open(_N.EventResendRejectReason, _T.INT, "1 2 3 4 5"),
    _field(_N.UseDollars, _T.BOOLEAN),
    _field(_N.CancelOrderOnPause, _T.BOOLEAN),
    _field(_N.EnableIocCancelReport, _T.BOOLEAN),
    _field(_N.PreserveOriginalOrderQty, _T.BOOLEAN),
    _field(_N.SkipPendingExecReports, _T.BOOLEAN),
    _field(_N.UseExpiredOrdStatus, _T.BOOLEAN),
    _field(_N.AlwaysEmitNewBeforeTrade, _T.BOOLEAN),
)


def _must(*tags: IntEnum) -> tuple[Use, ...]:
    return tuple(Use(int(tag), required=True) for tag in tags)


def _may(*tags: IntEnum) -> tuple[Use, ...]:
    return tuple(Use(int(tag)) for tag in tags)


_PARTIES: Final = GroupSpec(count_tag=Tag.NoPartyIDs, members=_may(Tag.PartyID, Tag.PartyRole))
_FEES: Final = GroupSpec(
    count_tag=Tag.NoMiscFees,
    members=_must(Tag.MiscFeeAmt, Tag.MiscFeeCurr, Tag.MiscFeeType, Tag.MiscFeeBasis),
)
_COLLATERAL: Final = GroupSpec(
    count_tag=_N.NoCollateralAmountChanges,
    members=_must(_N.CollateralAmountChange, _N.CollateralAmountType),
)
_SYMBOLS: Final = GroupSpec(count_tag=Tag.NoRelatedSym, members=_must(Tag.Symbol))
_ENTRY_TIMES: Final = _may(Tag.MDEntryDate, Tag.MDEntryTime)
_LEVELS: Final = GroupSpec(
    count_tag=Tag.NoMDEntries,
    members=_must(Tag.MDEntryType, Tag.MDEntryPx, Tag.MDEntrySize) + _ENTRY_TIMES,
    required=True,
)
_ENTRIES: Final = GroupSpec(
    count_tag=Tag.NoMDEntries,
    members=_must(Tag.MDUpdateAction, Tag.Symbol, Tag.MDEntryType, Tag.MDEntryPx, Tag.MDEntrySize)
    + _ENTRY_TIMES
    + _may(Tag.AggressorSide),
    required=True,
)


def _message(
    msg_type: str,
    name: str,
    fields: tuple[Use, ...],
    groups: tuple[GroupSpec, ...] = (),
    conditions: tuple[Condition, ...] = (),
) -> MessageSpec:
    return MessageSpec(msg_type=msg_type, name=name, fields=fields, groups=groups, conditions=conditions)


def _when(tag: IntEnum, when_tag: IntEnum, values: str) -> Condition:
    return Condition(tag=int(tag), when_tag=int(when_tag), when_values=frozenset(values))


_MESSAGES: Final[tuple[MessageSpec, ...]] = (
    _message("0", "Heartbeat", _may(Tag.TestReqID)),
    _message("1", "TestRequest", _must(Tag.TestReqID)),
    _message("2", "ResendRequest", _must(Tag.BeginSeqNo, Tag.EndSeqNo)),
    _message(
        "3",
        "Reject",
        _must(Tag.RefSeqNum) + _may(Tag.RefTagID, Tag.RefMsgType, Tag.SessionRejectReason, Tag.Text),
    ),
    _message("4", "SequenceReset", _may(Tag.GapFillFlag) + _must(Tag.NewSeqNo)),
    _message("5", "Logout", _may(Tag.Text)),
    _message(
        "A",
        "Logon",
        _must(Tag.EncryptMethod, Tag.HeartBtInt)
        + _may(Tag.RawDataLength, Tag.RawData, Tag.ResetSeqNumFlag)
        + _must(Tag.DefaultApplVerID)
        + _may(
            _N.CancelOrdersOnDisconnect,
            _N.ListenerSession,
            _N.MessageRetentionPeriod,
            _N.UseDollars,
            _N.EnableIocCancelReport,
            _N.PreserveOriginalOrderQty,
            _N.SkipPendingExecReports,
            _N.UseExpiredOrdStatus,
            _N.AlwaysEmitNewBeforeTrade,
        ),
    ),
    _message(
        "D",
        "NewOrderSingle",
        _must(Tag.ClOrdID)
        + _may(Tag.ExecInst)
        + _must(Tag.OrderQty, Tag.OrdType, Tag.Price, Tag.Side, Tag.Symbol)
        + _may(Tag.TimeInForce, Tag.ExpireTime, Tag.AllocAccount, Tag.SecondaryClOrdID)
        + _may(Tag.SelfTradePreventionType, _N.CancelOrderOnPause),
        (_PARTIES,),
        (_when(Tag.ExpireTime, Tag.TimeInForce, "6"),),  # GTD
    ),
    _message(
        "G",
        "OrderCancelReplaceRequest",
        _must(Tag.ClOrdID)
        + _may(Tag.OrderID)
        + _must(Tag.OrigClOrdID, Tag.OrderQty, Tag.OrdType)
        + _may(Tag.Price)
        + _must(Tag.Side, Tag.Symbol)
        + _may(Tag.AllocAccount),
        (_PARTIES,),
    ),
    _message(
        "F",
        "OrderCancelRequest",
        _must(Tag.ClOrdID)
        + _may(Tag.OrderID)
        + _must(Tag.OrigClOrdID, Tag.Side, Tag.Symbol)
        + _may(Tag.AllocAccount),
        (_PARTIES,),
    ),
    _message(
        "8",
        "ExecutionReport",
        _must(Tag.OrderID, Tag.ClOrdID, Tag.ExecID, Tag.ExecType, Tag.OrdStatus, Tag.Side, Tag.Symbol)
        + _must(Tag.LeavesQty, Tag.CumQty, Tag.AvgPx, Tag.OrderQty)
        + _may(Tag.LastMkt, Tag.LastPx, Tag.LastQty, Tag.OrdRejReason, Tag.OrigClOrdID, Tag.Price)
        + _may(Tag.TransactTime, Tag.Text, Tag.ExpireTime, Tag.AllocAccount, Tag.LongQty, Tag.ShortQty)
        + _may(Tag.TrdMatchID, Tag.AggressorIndicator, Tag.SelfTradePreventionType),
        (_FEES, _PARTIES, _COLLATERAL),
    ),
    _message(
        "9",
        "OrderCancelReject",
        _must(Tag.OrderID, Tag.ClOrdID)
        + _may(Tag.OrigClOrdID)
        + _must(Tag.OrdStatus, Tag.CxlRejResponseTo)
        + _may(Tag.CxlRejReason, Tag.Text),
    ),
    _message("q", "OrderMassCancelRequest", _must(Tag.ClOrdID, Tag.MassCancelRequestType)),
    _message(
        "r",
        "OrderMassCancelReport",
        _must(Tag.ClOrdID, Tag.OrderID, Tag.MassCancelResponse) + _may(Tag.MassCancelRejectReason),
    ),
    _message(
        "j",
        "BusinessMessageReject",
        _may(Tag.RefSeqNum, Tag.RefMsgType, Tag.BusinessRejectRefID)
        + _must(Tag.BusinessRejectReason)
        + _may(Tag.Text),
    ),
    _message(
        "UOG",
        "OrderGroupRequest",
        _must(_N.OrderGroupAction) + _may(_N.OrderGroupContractsLimit, _N.OrderGroupID, Tag.AllocAccount),
        conditions=(
            _when(_N.OrderGroupContractsLimit, _N.OrderGroupAction, "15"),
            _when(_N.OrderGroupID, _N.OrderGroupAction, "2345"),
        ),
    ),
    _message(
        "UOH",
        "OrderGroupResponse",
        _must(_N.OrderGroupID) + _may(_N.OrderGroupContractsLimit, Tag.AllocAccount),
    ),
    _message("U1", "EventResendRequest", _must(_N.BeginExecID) + _may(_N.EndExecID)),
    _message("U2", "EventResendComplete", _must(Tag.RefSeqNum, _N.ResendEventCount)),
    _message("U3", "EventResendReject", _must(Tag.RefSeqNum, _N.EventResendRejectReason)),
    _message(
        "V",
        "MarketDataRequest",
        _must(Tag.SubscriptionRequestType),
        (_SYMBOLS,),
        (_when(Tag.NoRelatedSym, Tag.SubscriptionRequestType, "01"),),  # 2 without symbols means all
    ),
    _message("W", "MarketDataSnapshotFullRefresh", _must(Tag.Symbol), (_LEVELS,)),
    _message("X", "MarketDataIncrementalRefresh", (), (_ENTRIES,)),
    _message("Y", "MarketDataRequestReject", _may(Tag.MDReqRejReason, Tag.Text)),
    _message("e", "SecurityStatusRequest", _must(Tag.SubscriptionRequestType, Tag.Symbol)),
    _message("f", "SecurityStatus", _must(Tag.Symbol, Tag.SecurityTradingStatus)),
)

DICTIONARY: Final = Dictionary(_FIELDS, _MESSAGES)
CLIENT_DICTIONARY: Final = DICTIONARY.only(_ADMIN | CLIENT_TAKES)


def venue_dictionary(session: str) -> Dictionary:
    """Return what the gateway of a session (its TargetCompID) takes.

    Raises:
        KeyError: there is no such session.
    """
    return DICTIONARY.only(_ADMIN | VENUE_TAKES[session])
