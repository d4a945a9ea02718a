"""Carries out faults on command: each kind of `faults.KINDS` has its method here.

It works through what the venue has anyway (sessions, exchange, line faults), so that a fault takes the same way as the
real thing, and every step of it ends as any other: journalled, dispatched, settled.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from engine.common.clock import MS, Now
from engine.common.fixed_point import PRICE_DECIMALS, parse_fixed
from engine.fix import admin
from engine.fix.msg_types import MsgType
from engine.fix.state import SessionState
from engine.kalshi.messages import NewOrderSingle
from engine.messages.control import VenueFault
from engine.venue import faults, liquidation
from engine.venue import refusals as r
from engine.venue.order import Refusal
from engine.venue.schedule import EXCHANGE, TRADING
from engine.venue.sessions import GATEWAYS, Connection
from engine.venue.terms import Fault

if TYPE_CHECKING:
    from engine.venue.accounts import Account
    from engine.venue.actor import Venue

_MONEY: Final = 1_000_000
ORDER_SESSIONS: Final = ("KalshiNR", "KalshiRT")


class FaultDesk:
    """Takes commands that `faults.check` let pass."""

    def __init__(self, venue: "Venue") -> None:
        self._venue = venue
        self._done: dict[str, Callable[[VenueFault, Now], str]] = {
            "drop": self._drop,
            "half_open": self._half_open,
            "unanswered_test_request": self._mute,
            "already_exists": self._already_exists,
            "sequence_gap": self._sequence,
            "sequence_low": self._sequence,
            "sequence_reset": self._sequence_reset,
            "resend_request": self._resend_request,
            "test_request": self._test_request,
            "forget": self._forget,
            "delay": self._line,
            "split": self._line,
            "coalesce": self._line,
            "bad_checksum": self._line,
            "bad_length": self._line,
            "lose_report": self._report,
            "lose_fill": self._report,
            "duplicate_report": self._report,
            "reorder_report": self._report,
            "resend_reject": self._resend_reject,
            "exchange_unavailable": self._order,
            "internal_error": self._order,
            "stale": self._order,
            "refuse": self._order,
            "trading_pause": self._pause,
            "exchange_pause": self._pause,
            "resume": self._pause,
            "market": self._market,
            "skew": self._skew,
            "liquidate": self._account,
            "exit_trigger": self._account,
            "foreign_order": self._account,
            "cash": self._account,
        }
        assert self._done.keys() == faults.KINDS.keys(), "every kind of fault is carried out"

    def apply(self, fault: VenueFault, now: Now) -> str:
        """Carry a fault out; return why it couldn't be, or empty."""
        return faults.check(fault) or self._done[fault.kind](fault, now)

    def _number(self, fault: VenueFault, name: str) -> int:
        return faults.number(fault.arguments, name, faults.KINDS[fault.kind].numbers[name][0])

    def _choice(self, fault: VenueFault, name: str) -> str:
        return fault.arguments.get(name, faults.KINDS[fault.kind].choices[name][0])

    def _connections(self, fault: VenueFault) -> list[Connection]:
        return [
            connection
            for connection in self._venue.connections.values()
            if fault.session in {"", connection.gateway.name, connection.link}
        ]

    # --- sessions --------------------------------------------------------------------------------------------------

    def _drop(self, fault: VenueFault, now: Now) -> str:
        linger = self._choice(fault, "linger") == "yes"
        for connection in self._connections(fault):
            if linger and connection.live:
                connection.dead = connection.gone = True
                self._venue.out.close(connection.link, "dropped on command")
            else:
                self._venue.drop(connection, "dropped on command", now)
        return ""

    def _half_open(self, fault: VenueFault, now: Now) -> str:  # noqa: ARG002 - one form for all kinds
        found = self._connections(fault)
        for connection in found:
            connection.dead = True
        return "" if found else f"there is no connection {fault.session}"

    def _mute(self, fault: VenueFault, now: Now) -> str:  # noqa: ARG002
        found = self._connections(fault)
        for connection in found:
            connection.mute = True
        return "" if found else f"there is no connection {fault.session}"

    def _already_exists(self, fault: VenueFault, now: Now) -> str:  # noqa: ARG002
        names = [fault.session] if fault.session else list(GATEWAYS)
        for name in names:
            self._venue.plan.already_exists[name] = self._number(fault, "count")
        return ""

    def _up(self, fault: VenueFault) -> list[Connection]:
        return [c for c in self._connections(fault) if c.acceptor.state is SessionState.LOGGED_ON]

    def _sequence(self, fault: VenueFault, now: Now) -> str:
        """Move the next number, and say something under it at once."""
        found = self._up(fault)
        count = self._number(fault, "count")
        for connection in found:
            acceptor = connection.acceptor
            before = acceptor.next_sender_msg_seq_num
            acceptor.next_sender_msg_seq_num = max(
                1, before + (count if fault.kind == "sequence_gap" else -count)
            )
            if fault.kind == "sequence_low":  # what was sent under these numbers can't be asked for any more
                acceptor.forget_before(before)
            acceptor.send_session_message(MsgType.HEARTBEAT, "", now)
            self._venue.touch(connection)
        return "" if found else f"no session of {fault.session} is logged on"

    def _sequence_reset(self, fault: VenueFault, now: Now) -> str:
        found = self._up(fault)
        for connection in found:
            acceptor = connection.acceptor
            new = acceptor.next_sender_msg_seq_num + self._number(fault, "by")
            fill = self._choice(fault, "gap_fill") == "yes"
            body = admin.gap_fill(new) if fill else f"123=N\x0136={new}\x01"
            acceptor.send_session_message(MsgType.SEQUENCE_RESET, body, now)
            acceptor.next_sender_msg_seq_num = new
            self._venue.touch(connection)
        return "" if found else f"no session of {fault.session} is logged on"

    def _resend_request(self, fault: VenueFault, now: Now) -> str:
        found = self._up(fault)
        body = admin.resend_request(self._number(fault, "begin"), self._number(fault, "end"))
        for connection in found:
            connection.acceptor.send_session_message(MsgType.RESEND_REQUEST, body, now)
            self._venue.touch(connection)
        return "" if found else f"no session of {fault.session} is logged on"

    def _test_request(self, fault: VenueFault, now: Now) -> str:
        found = self._up(fault)
        for connection in found:
            connection.acceptor.send_session_message(MsgType.TEST_REQUEST, admin.test_request("drill"), now)
            self._venue.touch(connection)
        return "" if found else f"no session of {fault.session} is logged on"

    def _forget(self, fault: VenueFault, now: Now) -> str:  # noqa: ARG002
        if fault.session not in {"", "KalshiRT"}:
            return "only KalshiRT keeps what it sent"
        self._venue.retention.forget()
        return ""

    # --- the line and reports --------------------------------------------------------------------------------------

    def _line(self, fault: VenueFault, now: Now) -> str:  # noqa: ARG002
        name = fault.session.partition("/")[0]
        if name not in GATEWAYS:
            return f"there is no session {fault.session}"
        line = self._venue.wire.line(name)
        match fault.kind:
            case "delay":
                line.delay_ns = self._number(fault, "ms") * MS
                line.jitter_ns = self._number(fault, "jitter_ms") * MS
            case "split":
                line.split = self._choice(fault, "on") == "yes"
            case "coalesce":
                line.coalesce_ns = self._number(fault, "ms") * MS
            case "bad_checksum":
                line.bad_checksums = self._number(fault, "count")
            case _:
                line.bad_lengths = self._number(fault, "count")
        return ""

    def _report(self, fault: VenueFault, now: Now) -> str:
        if fault.session and not self._connections(fault) and fault.session not in ORDER_SESSIONS:
            return f"there is no connection {fault.session}"
        count = self._number(fault, "count")
        if fault.kind == "lose_report":
            self._venue.plan.lose_reports[fault.session] = count
        elif fault.kind == "lose_fill":
            self._venue.plan.lose_fills[fault.session] = count
        elif fault.kind == "duplicate_report":
            self._venue.plan.duplicate_reports[fault.session] = count
        else:
            self._venue.hold_reports(fault.session, count, now)
        return ""

    def _resend_reject(self, fault: VenueFault, now: Now) -> str:  # noqa: ARG002
        self._venue.drop_copy.refuse_with = [self._number(fault, "reason")] * self._number(fault, "count")
        return ""

    # --- orders and the venue --------------------------------------------------------------------------------------

    def _order(self, fault: VenueFault, now: Now) -> str:  # noqa: ARG002
        owner_key = fault.session
        if owner_key and owner_key not in ORDER_SESSIONS:
            found = self._connections(fault)
            if not found or found[0].owner is None or not found[0].gateway.order_entry:
                return f"there is no order-entry session {owner_key}"
            owner_key = found[0].owner.key
        exchange = self._venue.exchange
        exchange.fault = Fault(fault.kind, r.INTERNAL_ERROR, owner_key)
        match fault.kind:
            case "exchange_unavailable":
                kind = "unavailable_applied" if self._choice(fault, "applied") == "yes" else "unavailable"
                of = self._choice(fault, "of")
                exchange.fault = Fault(kind, r.EXCHANGE_UNAVAILABLE, owner_key, of)
            case "internal_error":
                exchange.fault = exchange.fault._replace(kind="refuse", of=self._choice(fault, "of"))
            case "stale":
                exchange.fault = Fault("refuse", Refusal(exchange.terms.stale_code, ""), owner_key)
            case _:
                text = fault.arguments["text"]
                named = r.NAMED.get(text)
                exchange.fault = Fault("refuse" if named else "cancel", named or Refusal(0, text), owner_key)
        return ""

    def _pause(self, fault: VenueFault, now: Now) -> str:
        kinds = {"trading_pause": TRADING, "exchange_pause": EXCHANGE, "resume": ""}
        self._venue.pauses.commanded = kinds[fault.kind]
        self._venue.apply_pause(now)
        return ""

    def _market(self, fault: VenueFault, now: Now) -> str:
        symbol, state = fault.arguments.get("symbol", ""), self._choice(fault, "state")
        exchange = self._venue.exchange
        if symbol not in exchange.markets:
            return f"there is no market {symbol!r}; known: {', '.join(exchange.markets)}"
        if state == "open":
            exchange.states.pop(symbol, None)
        else:
            exchange.states[symbol] = state
        self._venue.tell_statuses(now)
        return ""

    def _skew(self, fault: VenueFault, now: Now) -> str:
        skew = self._number(fault, "ms") * MS
        there = Now(now.wall_ns - self._venue.plan.skew_ns + skew, now.mono_ns)
        self._venue.plan.skew_ns = skew
        self._venue.look_at_schedule(there)
        return ""

    # --- the account -----------------------------------------------------------------------------------------------

    def _account(self, fault: VenueFault, now: Now) -> str:
        exchange = self._venue.exchange
        clients = [account for account in exchange.accounts.values() if not account.synthetic]
        name = fault.arguments.get("account", clients[0].name if clients else "")
        account = next((account for account in clients if account.name == name), None)
        if account is None:
            return f"there is no account {name!r}"
        symbol = fault.arguments.get("symbol", next(iter(exchange.markets)))
        if symbol not in exchange.markets:
            return f"there is no market {symbol!r}; known: {', '.join(exchange.markets)}"
        text = ""
        exchange.begin(now)
        if fault.kind == "liquidate":
            liquidation.liquidate(exchange, account)
        elif fault.kind == "cash":
            account.cash = self._number(fault, "dollars") * _MONEY
            exchange.marked()
        elif fault.kind == "exit_trigger":
            liquidation.close(exchange, account, symbol, self._number(fault, "qty") * 100, "exit")
        else:
            text = self._foreign(fault, account, symbol)
        self._venue.dispatch(exchange.end(), now)
        return text

    def _foreign(self, fault: VenueFault, account: "Account", symbol: str) -> str:
        exchange = self._venue.exchange
        try:
            price = parse_fixed(fault.arguments.get("price", ""), PRICE_DECIMALS)
        except ValueError as error:
            return f"price: {error}"
        if price <= 0 or price % exchange.markets[symbol].tick:
            return "price must be positive and of the market's tick"
        exchange.system_order(
            liquidation.foreign_owner(account.name),
            NewOrderSingle(
                cl_ord_id=f"web-{exchange.orders_made + 1}",
                symbol=symbol,
                side=self._choice(fault, "side"),
                order_qty=self._number(fault, "qty") * 100,
                price=price,
                time_in_force=self._choice(fault, "tif"),
            ),
        )
        return ""
