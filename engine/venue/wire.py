"""The quick way to write an ExecutionReport: it is most of what an order-entry session says.

The text equals what the generic encoder writes, field by field (a test holds the two together). Its values come from
frames that were split at SOH and from the venue itself, so none can hold a SOH.
"""

from engine.common.clock import fix_time
from engine.common.fixed_point import PRICE_TEXTS, QTY_TEXTS
from engine.kalshi.codec import money_text
from engine.kalshi.messages import ExecutionReport


def report_body(report: ExecutionReport) -> str:
    """Return the body of 35=8, SOH-terminated, in the order of the venue's dictionary."""
    r = report
    qty = QTY_TEXTS
    return (
        f"37={r.order_id}\x0111={r.cl_ord_id}\x0117={r.exec_id}\x01150={r.exec_type}\x0139={r.ord_status}\x01"
        f"54={r.side}\x0155={r.symbol}\x01151={qty[r.leaves_qty]}\x0114={qty[r.cum_qty]}\x016={r.avg_px}\x01"
        f"38={qty[r.order_qty]}\x01{f'30={r.last_mkt}{_SOH}' if r.last_mkt else ''}"
        f"{_trade(r) if r.last_px is not None else ''}"
        f"{f'103={r.ord_rej_reason}{_SOH}' if r.ord_rej_reason is not None else ''}"
        f"{f'41={r.orig_cl_ord_id}{_SOH}' if r.orig_cl_ord_id else ''}"
        f"{f'44={PRICE_TEXTS[r.price]}{_SOH}' if r.price is not None else ''}"
        f"{f'60={fix_time(r.transact_time_ns)}{_SOH}' if r.transact_time_ns is not None else ''}"
        f"{f'58={r.text}{_SOH}' if r.text else ''}"
        f"{f'126={fix_time(r.expire_time_ns)}{_SOH}' if r.expire_time_ns is not None else ''}"
        f"{_fee(r.misc_fee_amt) if r.misc_fee_amt is not None else ''}"
        f"{_party(r) if r.party_id else ''}"
        f"{f'79={r.alloc_account}{_SOH}' if r.alloc_account is not None else ''}"
        f"{_position(r) if r.long_qty is not None or r.short_qty is not None else ''}"
        f"{_collateral(r) if r.collateral_amount_change is not None else ''}"
        f"{f'880={r.trd_match_id}{_SOH}' if r.trd_match_id else ''}"
        f"{f'1057={r.aggressor_indicator}{_SOH}' if r.aggressor_indicator else ''}"
        f"{f'2964={r.self_trade_prevention_type}{_SOH}' if r.self_trade_prevention_type else ''}"
    )


_SOH = "\x01"


def _trade(r: ExecutionReport) -> str:
    qty = f"32={QTY_TEXTS[r.last_qty]}\x01" if r.last_qty is not None else ""
    return f"31={PRICE_TEXTS[r.last_px]}\x01{qty}"  # type: ignore[index]


def _fee(amount: int) -> str:
    return f"136=1\x01137={money_text(amount)}\x01138=USD\x01139=4\x01891=0\x01"


def _party(r: ExecutionReport) -> str:
    role = f"452={r.party_role}\x01" if r.party_role else ""
    return f"453=1\x01448={r.party_id}\x01{role}"


def _position(r: ExecutionReport) -> str:
    long = f"704={QTY_TEXTS[r.long_qty]}\x01" if r.long_qty is not None else ""
    short = f"705={QTY_TEXTS[r.short_qty]}\x01" if r.short_qty is not None else ""
    return long + short


def _collateral(r: ExecutionReport) -> str:
    amount = money_text(r.collateral_amount_change)  # type: ignore[arg-type]
    return f"1703=1\x011704={amount}\x011705={r.collateral_amount_type or 'BALANCE'}\x01"
