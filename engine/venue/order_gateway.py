"""KalshiNR and KalshiRT: what order-entry messages become (venue.md section 4).

Refusals by the session layer are done before this; here are the ones that need the exchange. Every request takes its
tokens from the account's Write bucket before anything else looks at it; with an empty bucket it is answered with
35=j 380=8 and nothing is applied. The exchange's events go back to the venue, which sends and records them.
"""

from collections.abc import Callable
from typing import Any, Final

from engine.common.clock import Now
from engine.kalshi.messages import (
    NewOrderSingle,
    OrderCancelReplaceRequest,
    OrderCancelRequest,
    OrderGroupRequest,
    OrderGroupResponse,
    OrderMassCancelReport,
    OrderMassCancelRequest,
)
from engine.venue import order as o
from engine.venue import order_groups as g
from engine.venue import refusals as r
from engine.venue.buckets import Buckets
from engine.venue.exchange import SUBACCOUNT_MAX, Exchange
from engine.venue.order import Owner
from engine.venue.order_groups import Group
from engine.venue.reports import ExchangeEvent
from engine.venue.sessions import CONDITIONALLY_REQUIRED, RATE_LIMITED, UNSUPPORTED_TYPE, Connection

INCORRECT_VALUE: Final = 5
OTHER: Final = 0
UNKNOWN_ID: Final = 1
_SIDES = frozenset({"1", "2"})
_TIMES = frozenset({o.DAY, o.GTC, o.IOC, o.FOK, o.GTD})
_STP = frozenset({"", "1", "2"})
_NUMBER_MAX = 10**15  # of prices and quantities: anything above is a mistake, and the journal holds 64 bits
_TIME_MAX_NS = 8_000_000_000 * 1_000_000_000  # in the year 2223
_MASS_CANCEL_SESSION = "6"
_MASS_CANCEL_REFUSED = "0"
_MASS_CANCEL_OTHER = "99"


class OrderGateway:
    """Takes order-entry messages.

    Args:
        exchange: where they go.
        dispatch: takes the exchange's events, in order, to sessions and journal.
        group_changed: records a group.
        cancel_all: cancels a session's orders from a number on.
        this_connection_only: a mass cancel reaches the orders of the present connection, not the session's older ones.
    """

    __slots__ = (
        "_cancel_all",
        "_dispatch",
        "_exchange",
        "_group_changed",
        "_this_connection_only",
        "mass_cancels",
    )

    def __init__(
        self,
        exchange: Exchange,
        dispatch: Callable[[list[ExchangeEvent], Now], None],
        group_changed: Callable[[Group, Now], None],
        cancel_all: Callable[[Owner, int, Now], None],
        *,
        this_connection_only: bool = False,
    ) -> None:
        self._exchange = exchange
        self._this_connection_only = this_connection_only
        self._dispatch = dispatch
        self._group_changed = group_changed
        self._cancel_all = cancel_all
        self.mass_cancels = 0

    def on_message(self, connection: Connection, message: Any, seq: int, buckets: Buckets, now: Now) -> None:
        """Take one decoded message; its tokens are paid."""
        owner = connection.owner
        assert owner is not None, "only a session that is logged on is served"
        match message:
            case NewOrderSingle():
                if self._well_formed(connection, message, "D", seq, now):
                    self._dispatch(self._exchange.new_order(owner, message, now), now)
            case OrderCancelReplaceRequest():
                if self._well_formed(connection, message, "G", seq, now):
                    self._dispatch(self._exchange.replace(owner, message, now), now)
            case OrderCancelRequest():
                if self._well_formed(connection, message, "F", seq, now):
                    self._dispatch(self._exchange.cancel(owner, message, now), now)
            case OrderMassCancelRequest():
                self._mass_cancel(connection, message, seq, buckets, now)
            case OrderGroupRequest():
                self._group(connection, message, seq, now)
            case _:
                connection.business_reject(seq, "", UNSUPPORTED_TYPE, "not an order-entry message", now)

    def _well_formed(
        self,
        connection: Connection,
        message: NewOrderSingle | OrderCancelReplaceRequest | OrderCancelRequest,
        msg_type: str,
        seq: int,
        now: Now,
    ) -> bool:
        """Check enumerations once more: the quick decoders read a known layout and skip the dictionary."""
        bad = 0
        if message.side not in _SIDES:
            bad = 54
        elif not isinstance(message, OrderCancelRequest) and message.ord_type != "2":
            bad = 40
        elif not isinstance(message, OrderCancelRequest) and abs(message.order_qty) > _NUMBER_MAX:
            bad = 38
        elif not isinstance(message, OrderCancelRequest) and abs(message.price or 0) > _NUMBER_MAX:
            bad = 44
        elif isinstance(message, NewOrderSingle):
            if message.time_in_force not in _TIMES:
                bad = 59
            elif message.exec_inst not in {"", "6"}:
                bad = 18
            elif message.self_trade_prevention_type not in _STP:
                bad = 2964
            elif (message.expire_time_ns or 0) > _TIME_MAX_NS:
                bad = 126
            elif message.time_in_force == o.GTD and message.expire_time_ns is None:
                text = "ExpireTime(126) is required with TimeInForce(59)=6"
                connection.business_reject(
                    seq, msg_type, CONDITIONALLY_REQUIRED, text, now, message.cl_ord_id
                )
                return False
        if bad:
            connection.session_reject(
                seq, msg_type, INCORRECT_VALUE, bad, f"value is incorrect for tag {bad}", now
            )
        return not bad

    def _mass_cancel(
        self, connection: Connection, message: OrderMassCancelRequest, seq: int, buckets: Buckets, now: Now
    ) -> None:
        assert connection.owner is not None, "only a session that is logged on is served"
        if not buckets.mass_cancel(now.mono_ns):
            connection.business_reject(
                seq, "q", RATE_LIMITED, "one mass cancel a second", now, message.cl_ord_id
            )
            return
        if message.mass_cancel_request_type != _MASS_CANCEL_SESSION:
            connection.session_reject(
                seq, "q", INCORRECT_VALUE, 530, "MassCancelRequestType(530) must be 6", now
            )
            return
        self.mass_cancels += 1
        paused = self._exchange.paused == "exchange"
        connection.send(
            OrderMassCancelReport(
                cl_ord_id=message.cl_ord_id,
                order_id=f"6d617373-{self._exchange.latest[0] & 0xFFFF_FFFF_FFFF:012x}-{self.mass_cancels:012x}",
                mass_cancel_response=_MASS_CANCEL_REFUSED if paused else _MASS_CANCEL_SESSION,
                mass_cancel_reject_reason=_MASS_CANCEL_OTHER if paused else "",
            ),
            now,
        )
        if not paused:
            # [?] "for the session": whether orders of an earlier connection are reached is not documented
            first = connection.owner.first_order if self._this_connection_only else 0
            self._cancel_all(connection.owner, first, now)

    # --- order groups ----------------------------------------------------------------------------------------------

    def _group(self, connection: Connection, message: OrderGroupRequest, seq: int, now: Now) -> None:
        if message.order_group_action == g.CREATE:
            self._create_group(connection, message, seq, now)
            return
        if message.order_group_action not in {g.RESET, g.DELETE, g.TRIGGER, g.UPDATE}:
            connection.session_reject(
                seq, "UOG", INCORRECT_VALUE, 20131, "OrderGroupAction(20131) must be 1 to 5", now
            )
            return
        if not _is_uuid(message.order_group_id):
            connection.session_reject(
                seq, "UOG", INCORRECT_VALUE, 20130, "OrderGroupID(20130) must be a UUID", now
            )
            return
        assert connection.owner is not None, "only a session that is logged on is served"
        group = self._exchange.groups.get(message.order_group_id)
        account = connection.owner.account
        if group is None or not self._exchange.group_is_of(group, account, message.alloc_account):
            connection.business_reject(
                seq, "UOG", UNKNOWN_ID, "ORDER_GROUP_NOT_FOUND", now, message.order_group_id
            )
            return
        limit = message.order_group_contracts_limit
        if message.order_group_action == g.UPDATE and not _is_limit(limit):
            connection.business_reject(
                seq, "UOG", OTHER, "the limit must be 1 to 1,000,000", now, group.group_id
            )
            return
        if message.order_group_action in {g.DELETE, g.TRIGGER} and self._exchange.paused == "exchange":
            # they cancel, and in an exchange pause not even cancels work (venue.md section 2)
            connection.business_reject(seq, "UOG", OTHER, r.EXCHANGE_PAUSED.text, now, group.group_id)
            return
        self._change_group(connection, group, message, now)

    def _create_group(self, connection: Connection, message: OrderGroupRequest, seq: int, now: Now) -> None:
        assert connection.owner is not None, "only a session that is logged on is served"
        limit = message.order_group_contracts_limit
        if limit is None or not _is_limit(limit):
            connection.business_reject(seq, "UOG", OTHER, "the limit must be 1 to 1,000,000", now)
            return
        if message.alloc_account is not None and not 0 <= message.alloc_account <= SUBACCOUNT_MAX:
            connection.business_reject(seq, "UOG", OTHER, r.CUSTOMER_ACCOUNT_NOT_FOUND.text, now)
            return
        self._exchange.groups_made += 1
        group_id = g.group_id_of(self._exchange.groups_made)
        group = Group(group_id, connection.owner.account, limit, message.alloc_account)
        self._exchange.groups[group_id] = group
        self._group_changed(group, now)
        self._answer(connection, group, now, with_limit=True)

    def _change_group(
        self, connection: Connection, group: Group, message: OrderGroupRequest, now: Now
    ) -> None:
        action = message.order_group_action
        cancels = False
        if action == g.RESET:
            group.reset()
        elif action == g.UPDATE:
            assert message.order_group_contracts_limit is not None, "an update's limit was checked"
            cancels = group.update(message.order_group_contracts_limit, now.mono_ns)
        elif action == g.TRIGGER:
            group.triggered = cancels = True
        else:
            cancels = True
            group.limit = 0
            del self._exchange.groups[group.group_id]
        self._group_changed(group, now)
        self._answer(connection, group, now, with_limit=action == g.UPDATE)
        if cancels:
            self._dispatch(self._exchange.trigger_group(group, now), now)

    def _answer(self, connection: Connection, group: Group, now: Now, *, with_limit: bool) -> None:
        connection.send(
            OrderGroupResponse(
                order_group_id=group.group_id,
                order_group_contracts_limit=group.limit if with_limit else None,
                alloc_account=group.alloc_account,
            ),
            now,
        )


def _is_limit(limit: int | None) -> bool:
    return limit is not None and 1 <= limit <= g.LIMIT_MAX


def _is_uuid(text: str) -> bool:
    parts = text.split("-")
    hexadecimal = all(part and all(c in "0123456789abcdefABCDEF" for c in part) for part in parts)
    return hexadecimal and [len(part) for part in parts] == [8, 4, 4, 4, 12]
