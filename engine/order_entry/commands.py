"""Approved commands: which may leave, and how they leave.

A command passes when its epoch is the newest, its number new, its expiry ahead, its ClOrdID never used, no latch holds
its scope, the journal is healthy and the session up. Latches, the journal and a shutdown stop new and replacing orders
only: cancels leave as long as there is a session, and what the guard sends to flatten (`reducing`) passes latches. What does not pass is NotAccepted; a new order's refusal is a
NOT_SENT event too, unless its ClOrdID names an order already (it must not spoil that one's state).
"""

from typing import Final

import msgspec

from engine.common.clock import Now
from engine.common.ids import SLOT_OPERATOR
from engine.config import SessionConfig
from engine.fix.errors import LocalProtocolError
from engine.messages.commands import (
    Approved,
    CancelOrder,
    MassCancel,
    NewOrder,
    NotAccepted,
    ReplaceOrder,
)
from engine.messages.executions import EventKind, OrderState
from engine.order_entry import wire
from engine.order_entry.desk import Desk, trigger_of
from engine.order_entry.groups import Groups
from engine.orders import order as orders
from engine.orders.order import Order

_ID_LENGTH_MAX: Final = 64  # ClOrdID(11), venue.md section 4

Scope = tuple[int | None, str]


class Commands:
    """Takes approved commands.

    Args:
        desk: shared state.
        session: the order-entry session's configuration.
        groups: what a new order of a strategy carries as its order group.

    Attributes:
        epoch: of the guard that is followed; 0 before the first.
        last_no: number of the last command of this epoch.
        heard_ns: mono_ns when the guard was last heard.
        latches: scope (strategy slot or None for all, symbol or "" for all) to why nothing new may leave.
        closing: on the way down: nothing new leaves any more.
    """

    def __init__(self, desk: Desk, session: SessionConfig, groups: Groups) -> None:
        self.epoch = 0
        self.last_no = 0
        self.heard_ns = 0
        self.latches: dict[Scope, str] = {}
        self.closing = False
        self._desk = desk
        self._session = session
        self._groups = groups
        groups.held, groups.halted = self._keeps_groups, self._halts_group

    def on_approved(self, peer: str, command: Approved, now: Now) -> None:
        """Send one command, or refuse it. This is the hot path."""
        if command.epoch != self.epoch:
            self._not_accepted(peer, command, "epoch", f"the epoch is {self.epoch}", now)
            return
        if command.no <= self.last_no:
            self._not_accepted(peer, command, "seen", f"command {self.last_no} came already", now)
            return
        self.last_no = command.no
        self.heard_ns = now.mono_ns
        if now.mono_ns > command.expires_ns:
            late_us = (now.mono_ns - command.expires_ns) // 1000
            self._not_accepted(peer, command, "expired", f"too late by {late_us} us", now)
            return
        request = command.request
        if isinstance(request, NewOrder):
            self._on_new(peer, command, request, now)
        elif isinstance(request, CancelOrder):
            self._on_cancel(peer, command, request, now)
        elif isinstance(request, ReplaceOrder):
            self._on_replace(peer, command, request, now)
        else:
            self._on_mass_cancel(peer, command, request, now)

    def _on_new(self, peer: str, command: Approved, request: NewOrder, now: Now) -> None:
        ledger, strategy, cl_ord_id = self._desk.ledger, command.strategy, request.cl_ord_id
        if ledger.used(cl_ord_id):
            self._not_accepted(peer, command, "duplicate", "the ClOrdID was used before", now)
            return
        reason = self._closed_to(
            strategy, request.symbol, latched=not (command.reducing and strategy == SLOT_OPERATOR)
        )
        if reason:
            self._not_accepted(peer, command, reason, self._why(reason, strategy, request.symbol), now)
            return
        group, closed = self._groups.for_order(strategy)
        if closed:
            self._not_accepted(peer, command, "group", closed, now)
            return
        if group:
            request = msgspec.structs.replace(request, group=group)
        elif request.group and self._groups.is_anothers(strategy, request.group):
            self._not_accepted(peer, command, "group", "the order group is another strategy's", now)
            return
        if not _clean(cl_ord_id, request.symbol, request.group):
            self._not_accepted(
                peer, command, "malformed", "a text is empty, too long or has control characters", now
            )
            return
        try:
            body = wire.new_order_body(request)
        except LocalProtocolError as error:
            self._not_accepted(peer, command, "malformed", str(error), now)
            return
        desk = self._desk
        desk.emit(orders.submitted(request, strategy, ledger.numbers(strategy), now.wall_ns))
        client = self._desk.client
        if client is None:
            self._would_send("D", body, now)
            desk.tell(ledger.orders[cl_ord_id], EventKind.NOT_SENT, now, request_id=cl_ord_id, text="dry run")
            return
        seq = client.send("D", body, now, trigger_of(request, now))
        desk.on_wire(seq, "D", cl_ord_id, cl_ord_id, now.mono_ns)
        desk.count.orders += 1

    def _on_replace(self, peer: str, command: Approved, request: ReplaceOrder, now: Now) -> None:
        ledger = self._desk.ledger
        order = self._target(peer, command, request, now)
        if order is None:
            return
        event = order.event
        reason = self._closed_to(event.strategy, event.symbol)
        if reason:
            self._not_accepted(peer, command, reason, self._why(reason, event.strategy, event.symbol), now)
            return
        if event.state is OrderState.UNKNOWN:
            self._not_accepted(
                peer, command, "unknown_order", "its outcome is unknown: it can only be cancelled", now
            )
            return
        try:
            body = wire.replace_body(request, event.cl_ord_id, event.order_id)
        except LocalProtocolError as error:
            self._not_accepted(peer, command, "malformed", str(error), now)
            return
        desk, client = self._desk, self._desk.client
        assert client is not None, "a dry run has no open orders"
        desk.emit(orders.requested(order, request, ledger.numbers(event.strategy), now.wall_ns))
        seq = client.send("G", body, now, trigger_of(request, now))
        desk.on_wire(seq, "G", request.cl_ord_id, event.order, now.mono_ns)
        desk.count.replaces += 1

    def _on_cancel(self, peer: str, command: Approved, request: CancelOrder, now: Now) -> None:
        order = self._target(peer, command, request, now)
        if order is None:
            return
        if not self._desk.logged_on:
            self._not_accepted(peer, command, "session", self._why("session", 0, ""), now)
            return
        self._desk.send_cancel(order, request, order.event.cl_ord_id or order.event.order, now)

    def _on_mass_cancel(self, peer: str, command: Approved, request: MassCancel, now: Now) -> None:
        if self._desk.client is None:
            self._would_send("q", wire.mass_cancel_body(request.cl_ord_id), now)
        elif not self._desk.mass_cancel_works:
            self._not_accepted(
                peer, command, "session", f"{self._session.target_comp_id} has no mass cancel", now
            )
        elif not self._desk.logged_on:
            self._not_accepted(peer, command, "session", self._why("session", 0, ""), now)
        elif not _clean(request.cl_ord_id, "-", ""):
            self._not_accepted(
                peer, command, "malformed", "a text is empty, too long or has control characters", now
            )
        else:
            self._desk.mass_cancel(request.cl_ord_id, now)

    def _target(
        self, peer: str, command: Approved, request: ReplaceOrder | CancelOrder, now: Now
    ) -> Order | None:
        # The open order that a request is about, or None when it was refused.
        if self._desk.ledger.used(request.cl_ord_id):
            self._not_accepted(peer, command, "duplicate", "the ClOrdID was used before", now)
            return None
        order = self._desk.ledger.find(request.orig_cl_ord_id)
        if order is None or order.terminal:
            text = "no such order" if order is None else f"it is {order.event.state.value}"
            self._not_accepted(peer, command, "unknown_order", text, now)
            return None
        if not _clean(request.cl_ord_id, request.symbol, ""):
            self._not_accepted(
                peer, command, "malformed", "a text is empty, too long or has control characters", now
            )
            return None
        return order

    def _closed_to(self, strategy: int, symbol: str, *, latched: bool = True) -> str:
        # Why no new or replacing order of the scope may leave, "" when it may; latched: latches hold it.
        if latched and self.latches and self._latched(strategy, symbol):
            return "halted"
        if self.closing:
            return "halted"
        if not self._desk.journal_ok:
            return "journal"
        client = self._desk.client
        if client is not None and not client.logged_on:
            return "session"
        return ""

    def _keeps_groups(self) -> str:
        # Why nothing about an order group but a trigger may leave.
        if self.closing:
            return "order entry is stopping"
        return "" if self._desk.journal_ok else "the journal can't be written"

    def _halts_group(self, strategy: int) -> str:
        # The latch that holds a strategy as a whole: that of one market lets its group serve the others.
        why = self._latched(strategy, "")
        return f"it is halted: {why}" if why else ""

    def latch(self, strategy: int | None, symbol: str, why: str) -> None:
        """Let nothing new of a scope (strategy slot or None, symbol or "") leave any more."""
        if not symbol and (strategy, symbol) not in self.latches:
            self._groups.on_halted(strategy)
        self.latches[strategy, symbol] = why

    def _latched(self, strategy: int, symbol: str) -> str:
        for (of_strategy, of_symbol), why in self.latches.items():
            if (of_strategy is None or of_strategy == strategy) and of_symbol in ("", symbol):
                return why or "halted"
        return ""

    def _why(self, reason: str, strategy: int, symbol: str) -> str:
        if reason == "halted":
            return self._latched(strategy, symbol) or "order entry is stopping"
        if reason == "journal":
            return "the journal can't be written"
        return f"{self._session.target_comp_id} is {self._desk.client.state if self._desk.client is not None else 'not there'}"

    def _not_accepted(self, peer: str, command: Approved, reason: str, text: str, now: Now) -> None:
        request = command.request
        cl_ord_id = request.cl_ord_id
        self._desk.count.not_accepted += 1
        if isinstance(request, NewOrder) and self._may_be_told(request) and reason != "malformed":
            numbers = self._desk.ledger.numbers(command.strategy)
            self._desk.emit(
                orders.refused(request, command.strategy, numbers, now.wall_ns, f"{reason}: {text}")
            )
        self._desk.out.send(
            "oe.orders",
            NotAccepted(epoch=command.epoch, no=command.no, reason=reason, cl_ord_id=cl_ord_id, text=text),
            to=peer,
        )

    def _may_be_told(self, request: NewOrder) -> bool:
        # A NOT_SENT must not spoil another order's state, nor bring into the journal what no message may carry.
        cl_ord_id = request.cl_ord_id
        return not self._desk.ledger.used(cl_ord_id) and _clean(cl_ord_id, request.symbol, request.group)

    def _would_send(self, msg_type: str, body: str, now: Now) -> None:
        text = wire.frame_text(msg_type, body, self._session, now)
        self._desk.out.log("info", f"would send: {text}")


def _clean(cl_ord_id: str, symbol: str, group: str) -> bool:
    # No text of a command may carry SOH or another control character into a message.
    text = cl_ord_id + symbol + group
    return 0 < len(cl_ord_id) <= _ID_LENGTH_MAX and symbol != "" and text.isascii() and text.isprintable()
