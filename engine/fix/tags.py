"""Tag numbers by FIX's names, ordered by number.

Only what FIX itself defines; numbers that a venue defines, or uses in a meaning of its own, live with that venue.
"""

from enum import IntEnum


class Tag(IntEnum):
    """Standard tags of FIXT.1.1 and FIX 5.0 SP2, as far as anything here names them."""

    AvgPx = 6
    BeginSeqNo = 7
    BeginString = 8
    BodyLength = 9
    CheckSum = 10
    ClOrdID = 11
    CumQty = 14
    Currency = 15
    EndSeqNo = 16
    ExecID = 17
    ExecInst = 18
    LastMkt = 30
    LastPx = 31
    LastQty = 32
    MsgSeqNum = 34
    MsgType = 35
    NewSeqNo = 36
    OrderID = 37
    OrderQty = 38
    OrdStatus = 39
    OrdType = 40
    OrigClOrdID = 41
    PossDupFlag = 43
    Price = 44
    RefSeqNum = 45
    SenderCompID = 49
    SenderSubID = 50
    SendingTime = 52
    Side = 54
    Symbol = 55
    TargetCompID = 56
    TargetSubID = 57
    Text = 58
    TimeInForce = 59
    TransactTime = 60
    AllocAccount = 79
    Signature = 89
    SecureDataLen = 90
    SecureData = 91
    SignatureLength = 93
    RawDataLength = 95
    RawData = 96
    PossResend = 97
    EncryptMethod = 98
    CxlRejReason = 102
    OrdRejReason = 103
    HeartBtInt = 108
    TestReqID = 112
    OrigSendingTime = 122
    GapFillFlag = 123
    ExpireTime = 126
    NoMiscFees = 136
    MiscFeeAmt = 137
    MiscFeeCurr = 138
    MiscFeeType = 139
    ResetSeqNumFlag = 141
    NoRelatedSym = 146
    ExecType = 150
    LeavesQty = 151
    XmlDataLen = 212
    XmlData = 213
    SubscriptionRequestType = 263
    NoMDEntries = 268
    MDEntryType = 269
    MDEntryPx = 270
    MDEntrySize = 271
    MDEntryDate = 272
    MDEntryTime = 273
    MDUpdateAction = 279
    MDReqRejReason = 281
    SecurityTradingStatus = 326
    EncodedTextLen = 354
    EncodedText = 355
    RefTagID = 371
    RefMsgType = 372
    SessionRejectReason = 373
    BusinessRejectRefID = 379
    BusinessRejectReason = 380
    CxlRejResponseTo = 434
    PartyIDSource = 447
    PartyID = 448
    PartyRole = 452
    NoPartyIDs = 453
    SecondaryClOrdID = 526
    MassCancelRequestType = 530
    MassCancelResponse = 531
    MassCancelRejectReason = 532
    LongQty = 704
    ShortQty = 705
    TrdMatchID = 880
    MiscFeeBasis = 891
    AggressorIndicator = 1057
    ApplVerID = 1128
    DefaultApplVerID = 1137
    AggressorSide = 2446
    SelfTradePreventionType = 2964
