"""The embedded venue: four FIX gateways before one exchange, in one actor.

    bytes -> acceptor -> gateway -> exchange -> events -> journal, sessions, market data

Rules that hold here:

* Every step ends in `_settle`: market data is published, what sessions have to say is written, the deadline is moved.
* A report is journalled, then kept for drop copy, then sent: to its owner's connection, to the one that asked, to the
  account's listeners. Faults on command may lose or double the sending, never the rest.
* A session that ends, by Logout or by its transport, cancels its orders if it logged on with 8013=Y; so does a restart,
  which is the end of every session.
* KalshiRT's sessions live on between connections: what happens meanwhile is numbered and kept (`retention`).
* A connection that is dead without anyone having been told keeps its key busy until its heartbeat is missed.
* The venue's own clock is the true one plus the configured skew; everything in it runs on that clock.
* Every record is a row of the journal; its number is counted here, so that what left memory can be read back by it.
* The synthetic flow is neither journalled nor reported; it starts anew with every start.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from engine.common.actor import Actor, LinkEvent, Outbox, Status
from engine.common.clock import SECOND, Now
from engine.config import Config
from engine.fix.events import App, Close, Event, LoggedOut, LogonReceived, Refused
from engine.fix.message import FixMessage
from engine.kalshi.codec import BadField, decode
from engine.kalshi.hot import VENUE_HOT
from engine.kalshi.messages import EventResendRequest, MarketDataRequest, SecurityStatusRequest
from engine.messages.control import VenueFault, VenueQuery, VenueReply
from engine.venue import faults
from engine.venue.accounts import VenueKey
from engine.venue.drop_copy_gateway import DropCopyGateway
from engine.venue.fault_desk import FaultDesk
from engine.venue.flow import Flow, Random
from engine.venue.history import Archive, History
from engine.venue.market_gateway import MarketGateway
from engine.venue.order import REJECTED, Owner
from engine.venue.order_gateway import OrderGateway
from engine.venue.order_groups import Group
from engine.venue.records import group_changed, reported
from engine.venue.reports import CancelRefused, ExchangeEvent, GroupTriggered, Print, Report
from engine.venue.resending import Resender
from engine.venue.restart import Restart
from engine.venue.retention import DEFAULT_H, Kept, Retention
from engine.venue.schedule import Pauses
from engine.venue.sessions import (
    GATEWAYS,
    LOGON,
    RATE_LIMITED,
    UNSUPPORTED_TYPE,
    Connection,
    Granted,
    Verify,
    body_of,
    check_logon,
    new_acceptor,
)
from engine.venue.setup import buckets_of, exchange_of, flow_markets
from engine.venue.truth import truth
from engine.venue.wire_faults import WireFaults

ASK = "venue.ask"
_TAG_NOT_DEFINED = 2
_NEW_BEFORE_TRADE = 21026
_HELD_NS = SECOND // 2
_RESEND_REQUEST = "2"


class Venue(Actor):
    """The embedded venue.

    Args:
        config: with its [venue] section.
        out: where effects go. Accepted connections come as `<session>/<n>` links.
        verify: (api_key, message, base64 signature) to whether the signature is good.
        rng: seeded generator of the synthetic flow.
        accounts: the API keys and whose they are; keys of one account share it.
        archive: reads reports and messages back from the journal; None keeps all of them in memory.
    """

    name = "venue"
    takes_snapshots = True

    def __init__(
        self,
        config: Config,
        out: Outbox,
        verify: Verify,
        rng: Random,
        accounts: list[VenueKey],
        archive: Archive | None = None,
    ) -> None:
        super().__init__(out)
        assert config.venue is not None, "the embedded venue needs a [venue] section"
        self._config = config.venue
        self._verify = verify
        self._keys: Mapping[str, VenueKey] = {key.api_key: key for key in accounts}
        venue = config.venue
        names = list(dict.fromkeys([*(key.account for key in accounts), *venue.accounts]))
        self.exchange = exchange_of(config, venue, names)
        self.history = History(archive)
        self.connections: dict[str, Connection] = {}
        self.plan = faults.FaultPlan()
        self.wire = WireFaults(venue.seed)
        self.pauses = Pauses(scheduled=venue.maintenance != "none")
        self.drop_copy = DropCopyGateway(
            self.history, enabled=venue.drop_copy == "enabled", any_begin=venue.drop_copy_begin == "any"
        )
        self._rows = 0
        self.retention = Retention(self._append, archive, venue.rt_recent_max)
        self._resender = Resender(self.retention)
        self._owners: dict[str, Owner] = {}
        self._live: dict[str, Connection] = {}  # by owner's key
        self._listeners: dict[str, list[Connection]] = {name: [] for name in names}
        self._buckets = {name: buckets_of(config, venue) for name in names}
        self._orders = OrderGateway(
            self.exchange,
            self.dispatch,
            self._record_group,
            self._cancel_all,
            this_connection_only=venue.mass_cancel_scope == "connection",
        )
        self._market_data = MarketGateway(
            self.exchange.books, venue.symbols_max, entry_times=venue.entry_times
        )
        self._flow = Flow(self.exchange, flow_markets(venue), venue.book_changes_per_s, rng)
        self._fault_desk = FaultDesk(self)
        self._restart = Restart(self.retention, archived=archive is not None)
        self._touched: dict[str, Connection] = {}
        self.hold_next = 0
        self._hold_for = ""
        self._cancelling: list[
            tuple[Owner, int, int]
        ] = []  # whose orders of which numbers are still being cancelled
        self._held: Report | None = None
        self._held_behind = 0
        self._held_until = 0
        self._messages = 0
        self._reports = 0
        self._is_recorded = True

    # --- life ------------------------------------------------------------------------------------------------------

    def replay(self, entry: msgspec.Struct) -> None:
        self._restart.take(entry)

    def dump(self) -> bytes:
        return self._restart.dump()

    def load(self, state: bytes) -> None:
        self._restart.load(state)

    def start(self, now: Now) -> None:
        self._rows = self._restart.rows
        for text in self._restart.apply(self.exchange, self.history, self._owners, now):
            self.out.log("warning", text)
        self._restart = Restart(self.retention)  # what was collected is in place now
        for owner in self._owners.values():
            if owner.flags.cancel_on_disconnect and owner.orders:
                self._cancel_all(owner, 0, now)
        while self._cancelling:
            self._go_on_cancelling(now)
        if self.pauses.look(now.wall_ns):
            self.apply_pause(now)
        self._flow.start(now.mono_ns)
        if self._flow.due is not None:
            self._step_flow(now)  # so that nobody ever sees a market without its book
        self._settle(now)

    def stop(self, now: Now) -> None:
        now = self._clock(now)
        for connection in list(self.connections.values()):
            connection.acceptor.logout("the venue stops", now)
            self._end(connection, "the venue stops", now)
        while self._cancelling:
            self._go_on_cancelling(now)
        self._settle(now)
        self.deadline = None
        self.stopped = True

    def status(self, now: Now) -> Status:  # noqa: ARG002 - the base's signature
        sessions = {
            link: f"{connection.acceptor.state.value}{' (listener)' if connection.read_only else ''}"
            for link, connection in self.connections.items()
        }
        return Status(
            state="PAUSED" if self.exchange.paused else "READY",
            detail=f"{self.exchange.paused} pause{' (Thursday window)' if self.pauses.in_window else ''}"
            if self.exchange.paused
            else "",
            sessions=sessions,
            metrics={
                "messages": self._messages,
                "reports": self._reports,
                "open_orders": len(self.exchange.open),
                "flow_changes": self._flow.changes,
                "flow_trades": self._flow.trades,
            },
        )

    def on_journal_failed(self, reason: str, now: Now) -> None:
        # What sessions were told with these numbers never left: only new connections can be true to their numbers.
        self.out.log("alert", f"venue: the journal failed, all sessions end: {reason}")
        self._is_recorded = False
        for connection in list(self.connections.values()):
            self.drop(connection, "journal failed", self._clock(now))

    def on_journal_ok(self, now: Now) -> None:  # noqa: ARG002 - the base's signature
        self._is_recorded = True

    # --- links -----------------------------------------------------------------------------------------------------

    def on_link(self, link: str, event: LinkEvent, reason: str, now: Now) -> None:
        now = self._clock(now)
        if event is LinkEvent.ACCEPTED:
            gateway = GATEWAYS.get(link.rpartition("/")[0])
            if gateway is None:
                self.out.close(link, "no such session")
                return
            if not self._is_recorded:  # a venue tells nobody what a restart of it would not know of
                self.out.close(link, "the venue's journal can't be written")
                return
            acceptor = new_acceptor(gateway, self._config, VENUE_HOT)
            acceptor.connected(now)
            self.connections[link] = Connection(link, gateway, reason, acceptor)
        elif event in {LinkEvent.DISCONNECTED, LinkEvent.REFUSED}:
            connection = self.connections.get(link)
            if connection is not None and connection.live and self._is_unnoticed(connection):
                connection.gone = True
            elif connection is not None:
                self._forget(connection, now)
        self._settle(now)

    def _is_unnoticed(self, connection: Connection) -> bool:
        """Tell whether the end of a link stays unknown until the session's heartbeat is missed (venue.md section 1)."""
        return connection.dead or self._config.unclean_drop == "by_heartbeat"

    def on_bytes(self, link: str, data: bytes, now: Now) -> None:
        now = self._clock(now)
        connection = self.connections.get(link)
        if connection is None or connection.dead:
            return
        if connection.kept is not None:
            connection.kept.expire(now.wall_ns)
        self._touched[link] = connection
        self._handle(connection, connection.acceptor.receive(data, now), now)
        self._resender.look(connection, now)
        self._settle(now)

    def on_deadline(self, now: Now) -> None:
        now = self._clock(now)
        for connection in list(self.connections.values()):
            deadline = connection.acceptor.deadline
            if deadline is not None and deadline <= now.mono_ns:
                self._touched[connection.link] = connection
                self._handle(connection, connection.acceptor.on_deadline(now), now)
        expiry = self.exchange.next_expiry_ns
        if expiry is not None and expiry <= now.wall_ns:
            self.dispatch(self.exchange.expire(now), now)
        if self.pauses.due_ns is not None and self.pauses.due_ns <= now.wall_ns:
            self.look_at_schedule(now)
        if self._held is not None and self._held_until <= now.mono_ns:
            self._release_held(now)
        if self._flow.due is not None and self._flow.due <= now.mono_ns:
            self._step_flow(now)
        for link, data in self.wire.release(now.mono_ns):
            self.out.write(link, data)
        if self.drop_copy.due is not None and self.drop_copy.due <= now.mono_ns:
            for connection in self.drop_copy.advance(self._unsent, now):
                self._touched[connection.link] = connection
        if self._resender.due is not None and self._resender.due <= now.mono_ns:
            for connection in self._resender.advance(self._unsent, self.out.log, now):
                self._touched[connection.link] = connection
        if self._cancelling:
            self._go_on_cancelling(now)
        self._settle(now)

    # --- pauses ----------------------------------------------------------------------------------------------------

    def look_at_schedule(self, now: Now) -> None:
        """Begin or end the Thursday window if its time has come."""
        if not self.pauses.look(now.wall_ns):
            return
        self.out.log("info", f"venue: the Thursday window {'begins' if self.pauses.in_window else 'ends'}")
        self.apply_pause(now)
        if not self.pauses.in_window:
            return
        if self._config.rt_after_maintenance == "reset":
            self.retention.maintenance()
        if self._config.maintenance in {"disconnect", "closed"}:
            for connection in list(self.connections.values()):
                connection.acceptor.logout("maintenance", now)
                self._end(connection, "maintenance", now)

    def apply_pause(self, now: Now) -> None:
        """Bring the exchange to the pause that is in effect."""
        wanted = self.pauses.effective
        if wanted == self.exchange.paused:
            return
        if wanted:
            self.dispatch(self.exchange.pause(wanted, now), now)
        else:
            self.exchange.resume()
        self.tell_statuses(now)

    def _is_halted(self, symbol: str) -> bool:
        return bool(self.exchange.paused) or symbol in self.exchange.states

    def tell_statuses(self, now: Now) -> None:
        """Tell who follows SecurityStatus that something was halted or resumed."""
        for connection in self._market_data.status_changed(self.connections.values(), self._is_halted, now):
            self._touched[connection.link] = connection

    # --- steps -----------------------------------------------------------------------------------------------------

    def _step_flow(self, now: Now) -> None:
        self.exchange.begin(now)
        self._flow.step(now.mono_ns)
        self.dispatch(self.exchange.end(), now)

    def _clock(self, now: Now) -> Now:
        skew = self.plan.skew_ns
        return Now(now.wall_ns + skew, now.mono_ns) if skew else now

    def _settle(self, now: Now) -> None:
        """End a step: publish, write, and look when to wake."""
        for connection in self._market_data.publish(now):
            self._touched[connection.link] = connection
        if self._touched:
            touched, self._touched = self._touched, {}
            for connection in touched.values():
                if connection.kept is not None:
                    self.retention.settle(connection.kept, now)
                data = connection.acceptor.data_to_send()
                if data and connection.link in self.connections:
                    self._put(connection, data, now)
        deadlines = [self._flow.due] if self._flow.due is not None else []
        for connection in self.connections.values():
            deadline = connection.acceptor.deadline
            if deadline is not None:
                deadlines.append(deadline)
        expiry = self.exchange.next_expiry_ns
        if expiry is not None:
            deadlines.append(now.mono_ns + max(0, expiry - now.wall_ns))
        if self.pauses.due_ns is not None:
            deadlines.append(now.mono_ns + max(0, self.pauses.due_ns - now.wall_ns))
        if self._held is not None:
            deadlines.append(self._held_until)
        deadlines += [
            due for due in (self.wire.due, self.drop_copy.due, self._resender.due) if due is not None
        ]
        if self._cancelling:
            deadlines.append(now.mono_ns)
        self.deadline = min(deadlines, default=None)

    def _unsent(self, link: str) -> int:
        return self.out.unsent(link) + self.wire.waiting(link)

    def _put(self, connection: Connection, data: bytes, now: Now) -> None:
        """Write to a connection, over whatever line it has."""
        if connection.dead or connection.mute:
            return
        for piece in self.wire.put(connection.link, connection.gateway.name, data, now.mono_ns):
            self.out.write(connection.link, piece)

    # --- sessions --------------------------------------------------------------------------------------------------

    def _handle(self, connection: Connection, events: list[Event], now: Now) -> None:
        for event in events:
            if isinstance(event, App):
                self._on_app(connection, event, now)
            elif isinstance(event, LogonReceived):
                self._on_logon(connection, event.logon, now)
            elif isinstance(event, LoggedOut):
                self._session_over(connection, now)
            elif isinstance(event, Close):
                self._end(connection, event.reason, now)
            elif isinstance(event, Refused):
                msg_type = event.message.msg_type
                self.out.log("info", f"{connection.link}: refused 35={msg_type[:10]}: {event.text}")
                if msg_type == _RESEND_REQUEST and self._ends_for_resend(connection):
                    connection.acceptor.logout(event.text, now)
                    self._end(connection, event.text, now)

    def _ends_for_resend(self, connection: Connection) -> bool:
        return self._config.resend_on_nr == "logout" and not connection.gateway.retransmission

    def _on_logon(self, connection: Connection, message: FixMessage, now: Now) -> None:
        granted = check_logon(message, connection.gateway, self._keys, self._verify, self._config)
        if isinstance(granted, Granted):
            refusal = self._refuse_connection(connection, granted.key, now)
        else:
            refusal = granted
        acceptor = connection.acceptor
        if refusal or not isinstance(granted, Granted):
            self.out.log("info", f"{connection.link}: Logon refused: {refusal}")
            self._handle(connection, acceptor.refuse(refusal, now), now)
            return
        if self._config.new_before_trade == "refuse" and message.get(_NEW_BEFORE_TRADE) is not None:
            text = f"tag {_NEW_BEFORE_TRADE} is not defined for Logon"
            events = acceptor.refuse(text, now, _TAG_NOT_DEFINED, _NEW_BEFORE_TRADE)
            self._handle(connection, events, now)
            return
        if connection.gateway.retransmission and not self._go_on(connection, granted, message, now):
            return
        self._log_on(connection, granted)
        self._handle(connection, acceptor.accept(now, heart_bt_int_s=granted.heart_bt_int_s), now)

    def _go_on(self, connection: Connection, granted: Granted, message: FixMessage, now: Now) -> bool:
        """Go on with a session of KalshiRT where it was; False when its Logon can't be."""
        acceptor = connection.acceptor
        kept = self.retention.of(f"{connection.gateway.name}|{granted.key.api_key}", granted.key.account)
        reset = message.get(141) == "Y"
        expected = 1 if reset else kept.next_target
        kept.expire(now.wall_ns)
        if reset and message.seq != expected:
            return True  # the acceptor refuses it under number 1, and the session stays as it was
        refusal = ""
        if kept.must_reset and not reset:
            refusal = "ResetSeqNumFlag(141) must be Y after maintenance"
        elif message.seq < expected:
            refusal = f"MsgSeqNum(34) too low, expected {expected}, received {message.seq}"
        if not refusal:
            kept.hours = granted.logon.message_retention_period_h or DEFAULT_H
            kept.listener = granted.flags.listener
        self.retention.begin(kept, acceptor, reset=reset)
        connection.kept = kept
        if refusal:
            self._handle(connection, acceptor.refuse(refusal, now), now)
        return not refusal

    def _refuse_connection(self, connection: Connection, key: VenueKey, now: Now) -> str:
        name = connection.gateway.name
        if self.plan.already_exists.get(name, 0):
            self.plan.already_exists[name] -= 1
            return "already exists"
        if self._config.maintenance == "closed" and self.pauses.in_window:
            return "maintenance"
        per_key = self._config.connections == "per_key"
        for other in self._live.values():
            if other.key is key and (per_key or other.gateway is connection.gateway):
                return "already exists"
        return self._pay_logon(connection, key, now)

    def _pay_logon(self, connection: Connection, key: VenueKey, now: Now) -> str:
        bucket = self._config.logon_bucket  # [?] which one is not documented
        write = connection.gateway.order_entry if bucket == "session" else bucket == "write"
        paid = self._buckets[key.account].take(LOGON, now.mono_ns, write=write)
        return "" if paid else "rate limit exceeded"

    def _vet(self, connection: Connection, message: FixMessage, now: Now) -> str:
        """Judge a Logon that resets a session that is up."""
        granted = check_logon(message, connection.gateway, self._keys, self._verify, self._config)
        return granted if isinstance(granted, str) else self._pay_logon(connection, granted.key, now)

    def _log_on(self, connection: Connection, granted: Granted) -> None:
        owner_key = f"{connection.gateway.name}|{granted.key.api_key}"
        owner = self._owners.get(owner_key)
        if owner is None:
            owner = self._owners[owner_key] = Owner(owner_key, granted.key.account)
        owner.flags = granted.flags
        owner.first_order = self.exchange.orders_made + 1
        connection.key = granted.key
        connection.owner = owner
        connection.live = True
        connection.acceptor.vet = partial(self._vet, connection)
        connection.read_only = granted.flags.listener
        self._live[owner_key] = connection
        if connection.read_only:
            self._listeners[owner.account].append(connection)
        self.out.log("info", f"{connection.link}: {granted.key.account} logged on from {connection.peer}")

    def _session_over(self, connection: Connection, now: Now) -> None:
        """The session ended, whatever its transport does: cancel with 8013=Y, tell it nothing more."""
        if connection.kept is not None:
            self.retention.end(connection.kept, now)
            connection.kept = None
        if not connection.live:
            return
        connection.live = False
        owner = connection.owner
        assert owner is not None, "a live connection has an owner"
        self._live.pop(owner.key, None)
        self._market_data.gone(connection)
        if connection.read_only:
            self._listeners[owner.account].remove(connection)
        self.drop_copy.gone(connection)
        if owner.flags.cancel_on_disconnect and owner.orders:
            self._cancel_all(owner, 0, now)

    def _cancel_all(self, owner: Owner, first: int, now: Now) -> None:
        """Cancel an owner's open orders from number `first` on, in pieces when they are many."""
        self._cancelling.append((owner, first, self.exchange.orders_made))
        self._go_on_cancelling(now)

    def _go_on_cancelling(self, now: Now) -> None:
        """Cancel one piece more of what was begun; nobody else waits for twenty thousand reports."""
        owner, first, last = self._cancelling.pop(0)
        if self.exchange.has_orders(owner, first, last):
            self.dispatch(self.exchange.cancel_all_of(owner, now, first, last), now)
            if self.exchange.has_orders(owner, first, last):
                self._cancelling.append((owner, first, last))

    def _end(self, connection: Connection, reason: str, now: Now) -> None:
        """Close a connection after what it still has to say."""
        data = self.wire.flush(connection.link) + connection.acceptor.data_to_send()
        if data and not (connection.dead or connection.mute):
            self.out.write(connection.link, data)
        self.drop(connection, reason, now)

    def drop(self, connection: Connection, reason: str, now: Now) -> None:
        """Close a connection at once."""
        self._forget(connection, now)
        self.out.close(connection.link, reason)

    def _forget(self, connection: Connection, now: Now) -> None:
        if self.connections.pop(connection.link, None) is None:
            return
        self._session_over(connection, now)
        connection.acceptor.disconnected(now)
        self.wire.forget(connection.link)

    def _on_app(self, connection: Connection, event: App, now: Now) -> None:
        owner = connection.owner
        if owner is None or not connection.live:
            return
        self._messages += 1
        gateway = connection.gateway
        buckets = self._buckets[owner.account]
        if not buckets.take(event.msg_type, now.mono_ns, write=gateway.order_entry):
            ref_id = _cl_ord_id(event.message)
            connection.business_reject(
                event.seq, event.msg_type, RATE_LIMITED, "rate limit exceeded", now, ref_id
            )
            return
        unknown = event.msg_type == "e" and not self._config.security_status  # [?] documented elsewhere only
        if event.msg_type not in gateway.msg_types or connection.read_only or unknown:
            text = "not on a listener session" if connection.read_only else f"not on {gateway.name}"
            connection.business_reject(event.seq, event.msg_type, UNSUPPORTED_TYPE, text, now)
            return
        message = event.message
        if isinstance(message, FixMessage):
            try:
                message = decode(message)
            except BadField as error:
                connection.session_reject(event.seq, event.msg_type, error.reason, error.tag, error.text, now)
                return
        if isinstance(message, MarketDataRequest):
            self._market_data.on_request(connection, message, event.seq, now)
        elif isinstance(message, SecurityStatusRequest):
            self._market_data.on_status_request(connection, message, event.seq, self._is_halted, now)
        elif isinstance(message, EventResendRequest):
            self.drop_copy.on_request(connection, message, event.seq, self.exchange.latest, now)
        else:
            self._orders.on_message(connection, message, event.seq, buckets, now)

    # --- events of the exchange ------------------------------------------------------------------------------------

    def dispatch(self, events: list[ExchangeEvent], now: Now) -> None:
        for event in events:
            if isinstance(event, Report):
                self._report(event, now)
            elif isinstance(event, Print):
                self._market_data.traded(event)
            elif isinstance(event, CancelRefused):
                self._send(event.owner.key, event.reject, now)
            elif isinstance(event, GroupTriggered):
                self._record_group(self.exchange.groups[event.group_id], now)

    def _report(self, event: Report, now: Now) -> None:
        report = event.report
        if event.key is not None:
            self._reports += 1
            self._record(event, event.key, now)
            if report.exec_type != REJECTED:
                self.history.add(event.owner.account, event.key, report, now.wall_ns)
        if self.hold_next and event.key is not None and self._is_of(event.owner, self._hold_for):
            self._held, self._held_behind, self.hold_next = event, self.hold_next, 0
            self._held_until = now.mono_ns + _HELD_NS
            return
        self._tell(event, now)
        if self._held is not None and self._is_of(event.owner, self._hold_for):
            self._held_behind -= 1
            if not self._held_behind:
                self._release_held(now)

    def _release_held(self, now: Now) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._tell(held, now)

    def _tell(self, event: Report, now: Now) -> None:
        """Send a report to everyone who is to hear it."""
        report, owner = event.report, event.owner
        if owner.system:
            self._tell_sessions(owner.account, report, now)
        elif not event.hidden:
            self._send_report(owner.key, report, now)
        if event.also is not None:
            self._send_report(event.also.key, report, now)
        if event.key is None:
            return
        for listener in self._listeners[owner.account]:
            self._touched[listener.link] = listener
            for _ in range(self.plan.copies(listener.link, listener.link, report)):
                listener.send(report, now)
        for kept in self.retention.sessions.values():
            if kept.listener and kept.acceptor is None and kept.account == owner.account:
                self._keep(kept, report, now)

    def _tell_sessions(self, account: str, report: Any, now: Now) -> None:
        """Tell an account's order-entry sessions of an order that the venue itself sent."""
        if self._config.system_reports != "sessions":
            return
        for owner in list(self._owners.values()):
            if owner.account == account and not owner.flags.listener and not owner.system:
                self._send_report(owner.key, report, now)

    def _send_report(self, owner_key: str, report: Any, now: Now) -> None:
        """Send a report to a session as often as the faults on command have it."""
        connection = self._live.get(owner_key)
        if connection is None and owner_key not in self.retention.sessions:
            return
        session = owner_key.partition("|")[0]
        link = connection.link if connection is not None else session
        for _ in range(self.plan.copies(session, link, report)):
            self._send(owner_key, report, now)

    def _is_of(self, owner: Owner, session: str) -> bool:
        """Tell whether a fault for `session` (a name, a link, or empty) is for this owner."""
        if not session or session == owner.key.partition("|")[0]:
            return True
        connection = self._live.get(owner.key)
        return connection is not None and connection.link == session

    def _send(self, owner_key: str, message: Any, now: Now) -> None:
        connection = self._live.get(owner_key)
        if connection is not None:
            if connection.gateway.order_entry:
                self._touched[connection.link] = connection
                connection.send(message, now)
            return
        kept = self.retention.sessions.get(owner_key)
        if kept is not None and kept.acceptor is None:
            self._keep(kept, message, now)

    def _keep(self, kept: Kept, message: Any, now: Now) -> None:
        msg_type, body = body_of(message)
        self.retention.keep(kept, msg_type, body, now)

    def _append(self, entry: msgspec.Struct, cl_ord_id: str = "", exec_id: str = "") -> int:
        """Record an entry; return the number of its row."""
        self.out.record(entry, cl_ord_id=cl_ord_id, exec_id=exec_id)
        self._rows += 1
        return self._rows

    def _record(self, event: Report, key: tuple[int, int], now: Now) -> None:
        entry = reported(event, key, self.exchange.accounts[event.owner.account], now)
        self._append(entry, event.report.cl_ord_id, event.report.exec_id)

    def _record_group(self, group: Group, now: Now) -> None:
        self._append(group_changed(group, self.exchange.groups_made, now))

    # --- questions and faults --------------------------------------------------------------------------------------

    def on_message(self, channel: str, peer: str, message: Any, now: Now) -> None:
        if channel != ASK:
            return
        now = self._clock(now)
        if isinstance(message, VenueQuery):
            self.out.send(ASK, truth(message, self.exchange, self.history), to=peer)
        elif isinstance(message, VenueFault):
            skew = self.plan.skew_ns
            text = self._fault_desk.apply(message, now)
            self.out.send(ASK, VenueReply(request_id=message.request_id, ok=not text, text=text), to=peer)
            now = Now(now.wall_ns - skew + self.plan.skew_ns, now.mono_ns)
        self._settle(now)

    def hold_reports(self, session: str, count: int, now: Now) -> None:
        """Have a session's next report wait until `count` others of it went before it, or half a second."""
        self._release_held(now)
        self.hold_next, self._hold_for = count, session

    def touch(self, connection: Connection) -> None:
        """Have what a connection says written when this step ends."""
        self._touched[connection.link] = connection


def _cl_ord_id(message: Any) -> str:
    """Return the ClOrdID(11) of a message, decoded or not, for BusinessRejectRefID(379); empty when it has none."""
    if isinstance(message, FixMessage):
        return message.get(11) or ""
    return str(getattr(message, "cl_ord_id", ""))
