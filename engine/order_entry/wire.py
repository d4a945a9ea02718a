"""Commands as wire text: bodies of D, F, G and q by the plans in `kalshi.hot`, and what a dry run shows instead."""

from typing import Final

from engine.common.clock import SECOND, Now, fix_time
from engine.config import RateConfig, SessionConfig
from engine.fix import encoder
from engine.kalshi import codec, hot
from engine.kalshi.messages import (
    NewOrderSingle,
    OrderCancelReplaceRequest,
    OrderCancelRequest,
    OrderMassCancelRequest,
)
from engine.kalshi.rate_limits import TIERS
from engine.messages.commands import CancelOrder, NewOrder, ReplaceOrder

_SOH: Final = "\x01"
_POST_ONLY: Final = "6"  # ExecInst(18)


def new_order_body(request: NewOrder) -> str:
    """Return the body of a NewOrderSingle(35=D)."""
    return hot.encode_new_order(
        NewOrderSingle(
            cl_ord_id=request.cl_ord_id,
            symbol=request.symbol,
            side="1" if request.side == 1 else "2",
            order_qty=request.qty,
            price=request.price,
            time_in_force=request.tif,
            expire_time_ns=request.expire_ns or None,
            exec_inst=_POST_ONLY if request.post_only else "",
            secondary_cl_ord_id=request.group,
            self_trade_prevention_type=str(request.stp),
            cancel_order_on_pause=request.cancel_on_pause,
        )
    )


def cancel_body(request: CancelOrder, orig_cl_ord_id: str, order_id: str) -> str:
    """Return the body of an OrderCancelRequest(35=F) for the ClOrdID in force."""
    return hot.encode_cancel(
        OrderCancelRequest(
            cl_ord_id=request.cl_ord_id,
            orig_cl_ord_id=orig_cl_ord_id,
            symbol=request.symbol,
            side="1" if request.side == 1 else "2",
            order_id=order_id,
        )
    )


def replace_body(request: ReplaceOrder, orig_cl_ord_id: str, order_id: str) -> str:
    """Return the body of an OrderCancelReplaceRequest(35=G) for the ClOrdID in force."""
    return hot.encode_replace(
        OrderCancelReplaceRequest(
            cl_ord_id=request.cl_ord_id,
            orig_cl_ord_id=orig_cl_ord_id,
            symbol=request.symbol,
            side="1" if request.side == 1 else "2",
            order_qty=request.qty,
            price=request.price,
            order_id=order_id,
        )
    )


def mass_cancel_body(cl_ord_id: str) -> str:
    """Return the body of an OrderMassCancelRequest(35=q)."""
    return codec.encode_body(OrderMassCancelRequest(cl_ord_id=cl_ord_id))[1]


def frame_text(msg_type: str, body: str, session: SessionConfig, now: Now) -> str:
    """Return the message as a session with MsgSeqNum 1 would send it, `|` for SOH, the API key masked as in every log."""
    header = f"49={session.key_id}{_SOH}56={session.target_comp_id}{_SOH}34=1{_SOH}52={fix_time(now.wall_ns)}{_SOH}"
    text = encoder.encode(msg_type, header, body).decode("latin-1").replace(_SOH, "|")
    return text.replace(session.key_id, session.key_id[:4] + "***") if session.key_id else text


def request_ns(rate: RateConfig) -> int:
    """Return the time in which the account's Write bucket refills by one request's cost; 0 when it is unlimited."""
    tier = TIERS.get(rate.tier)
    per_s = tier.write_per_s if tier is not None else rate.write_per_s
    cost = max(rate.costs.get("F", rate.cost), rate.costs.get("q", rate.cost))
    return cost * SECOND // per_s if per_s > 0 else 0
