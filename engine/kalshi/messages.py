"""The venue's messages as structs, both directions, as venue.md sections 2 to 7 give them.

Names are FIX's in snake case. Prices are ints in 1/10000 dollar, quantities ints in 1/100 contract, money ints in
1/1000000 dollar, times ns since the epoch (UTC). Enumerated fields keep FIX's characters. Absent optional text is "",
absent optional numbers are None where zero means something.
"""

import msgspec


class NewOrderSingle(msgspec.Struct, frozen=True, gc=False):
    """35=D."""

    cl_ord_id: str
    symbol: str
    side: str
    order_qty: int
    price: int
    ord_type: str = "2"
    time_in_force: str = "0"
    expire_time_ns: int | None = None
    exec_inst: str = ""
    alloc_account: int | None = None
    party_id: str = ""
    party_role: str = ""
    secondary_cl_ord_id: str = ""
    self_trade_prevention_type: str = ""
    cancel_order_on_pause: bool | None = None


class OrderCancelReplaceRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=G; order_qty is the new total; price None keeps the price."""

    cl_ord_id: str
    orig_cl_ord_id: str
    symbol: str
    side: str
    order_qty: int
    price: int | None = None
    ord_type: str = "2"
    order_id: str = ""
    alloc_account: int | None = None
    party_id: str = ""
    party_role: str = ""


class OrderCancelRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=F."""

    cl_ord_id: str
    orig_cl_ord_id: str
    symbol: str
    side: str
    order_id: str = ""
    alloc_account: int | None = None
    party_id: str = ""
    party_role: str = ""


class OrderMassCancelRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=q; 530=6 cancels for the session; KalshiNR only."""

    cl_ord_id: str
    mass_cancel_request_type: str = "6"


class OrderMassCancelReport(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=r; 531: 6 success, 0 rejected."""

    cl_ord_id: str
    order_id: str
    mass_cancel_response: str
    mass_cancel_reject_reason: str = ""


class ExecutionReport(msgspec.Struct, frozen=True, gc=False):
    """35=8. misc_fee_amt and collateral_amount_change are sums over their groups; None when the group is absent.

    avg_px stays text: money is never computed from it.
    """

    order_id: str
    cl_ord_id: str
    exec_id: str
    exec_type: str
    ord_status: str
    side: str
    symbol: str
    leaves_qty: int
    cum_qty: int
    order_qty: int
    avg_px: str = "0.0000"
    last_mkt: str = ""
    last_px: int | None = None
    last_qty: int | None = None
    ord_rej_reason: int | None = None
    orig_cl_ord_id: str = ""
    price: int | None = None
    transact_time_ns: int | None = None
    text: str = ""
    expire_time_ns: int | None = None
    misc_fee_amt: int | None = None
    alloc_account: int | None = None
    party_id: str = ""
    party_role: str = ""
    long_qty: int | None = None
    short_qty: int | None = None
    collateral_amount_change: int | None = None
    collateral_amount_type: str = ""
    trd_match_id: str = ""
    aggressor_indicator: str = ""
    self_trade_prevention_type: str = ""


class OrderCancelReject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=9; cxl_rej_response_to: 1 cancel, 2 replace."""

    order_id: str
    cl_ord_id: str
    ord_status: str
    cxl_rej_response_to: str
    orig_cl_ord_id: str = ""
    cxl_rej_reason: int | None = None
    text: str = ""


class BusinessMessageReject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=j."""

    business_reject_reason: int
    ref_seq_num: int | None = None
    ref_msg_type: str = ""
    business_reject_ref_id: str = ""
    text: str = ""


class OrderGroupRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=UOG; action: 1 create, 2 reset, 3 delete, 4 trigger, 5 update; the limit is in whole contracts."""

    order_group_action: str
    order_group_contracts_limit: int | None = None
    order_group_id: str = ""
    alloc_account: int | None = None


class OrderGroupResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=UOH."""

    order_group_id: str
    order_group_contracts_limit: int | None = None
    alloc_account: int | None = None


class EventResendRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=U1; both ends inclusive; no end means the latest."""

    begin_exec_id: str
    end_exec_id: str = ""


class EventResendComplete(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=U2."""

    ref_seq_num: int
    resend_event_count: int


class EventResendReject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=U3; 1 too many requests, 2 server error, 3 begin too small, 4 end too large, 5 not enabled."""

    ref_seq_num: int
    event_resend_reject_reason: int


class MarketDataRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=V; 0 snapshot, 1 snapshot and updates, 2 unsubscribe (no symbols: all)."""

    subscription_request_type: str
    symbols: tuple[str, ...] = ()


class MarketDataSnapshot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=W. levels: flat, three ints a level: side (0 bid, 1 offer), price, quantity."""

    symbol: str
    levels: list[int]


class MarketDataEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of 35=X: action 0 new, 1 change, 2 delete; entry_type 0 bid, 1 offer, 2 trade; aggressor_side 1, 2 or 0."""

    action: int
    symbol: str
    entry_type: int
    price: int
    qty: int
    aggressor_side: int = 0


class MarketDataIncremental(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=X."""

    entries: list[MarketDataEntry]


class MarketDataRequestReject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=Y; 2 insufficient bandwidth, 4 unsupported SubscriptionRequestType."""

    md_req_rej_reason: str = ""
    text: str = ""


class SecurityStatusRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=e."""

    subscription_request_type: str
    symbol: str


class SecurityStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """35=f; 2 halt, 3 resume."""

    symbol: str
    security_trading_status: int


class Logon(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The venue's own fields of 35=A (venue.md section 2), beside the session layer's (98, 108, 141, 1137, 95/96)."""

    cancel_orders_on_disconnect: bool | None = None
    listener_session: bool | None = None
    message_retention_period_h: int | None = None
    use_dollars: bool | None = None
    enable_ioc_cancel_report: bool | None = None
    preserve_original_order_qty: bool | None = None
    skip_pending_exec_reports: bool | None = None
    use_expired_ord_status: bool | None = None
    always_emit_new_before_trade: bool | None = None


ApplicationMessage = (
    NewOrderSingle
    | OrderCancelReplaceRequest
    | OrderCancelRequest
    | OrderMassCancelRequest
    | OrderMassCancelReport
    | ExecutionReport
    | OrderCancelReject
    | BusinessMessageReject
    | OrderGroupRequest
    | OrderGroupResponse
    | EventResendRequest
    | EventResendComplete
    | EventResendReject
    | MarketDataRequest
    | MarketDataSnapshot
    | MarketDataIncremental
    | MarketDataRequestReject
    | SecurityStatusRequest
    | SecurityStatus
)
