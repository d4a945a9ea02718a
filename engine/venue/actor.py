"""The embedded venue: four FIX gateways before one exchange, in one actor.

    bytes -> acceptor -> gateway -> exchange -> events -> journal, sessions, market data

Rules that hold here:

* Every step ends in `_settle`: market data is published, what sessions have to say is written, the deadline is moved.
* A report is journalled, then kept for drop copy, then sent: to its owner's connection, to the one that asked, to the
  account's listeners. Faults on command may lose or double the sending, never the rest.
* A session that ends, by Logout or by its transport, cancels its orders if it logged on with 8013=Y; so does a restart,
  which is the end of every session.
* The venue's own clock is the true one plus the configured skew; everything in it runs on that clock.
* The synthetic flow is neither journalled nor reported; it starts anew with every start.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.common.actor import Actor, LinkEvent, Outbox, Status
from engine.common.clock import Now
from engine.common.fixed_point import parse_fixed, parse_money
from engine.config import Config, VenueConfig
from engine.fix.events import App, Close, Event, LoggedOut, LogonReceived, Refused
from engine.fix.message import FixMessage
from engine.kalshi.codec import BadField, decode
from engine.kalshi.hot import VENUE_HOT
from engine.kalshi.messages import EventResendRequest, MarketDataRequest, SecurityStatusRequest
from engine.messages.control import VenueAccount, VenueFault, VenueOrder, VenueQuery, VenueReply, VenueTruth
from engine.venue import faults
from engine.venue.accounts import Account, Market, VenueKey
from engine.venue.buckets import Buckets, Budget, budget_of
from engine.venue.drop_copy_gateway import DropCopyGateway
from engine.venue.exchange import Exchange, Terms
from engine.venue.flow import MAKER, TAKER, Flow, FlowMarket, Random
from engine.venue.history import History
from engine.venue.market_gateway import MarketGateway
from engine.venue.order import REJECTED, Owner
from engine.venue.order_gateway import OrderGateway
from engine.venue.order_groups import Group
from engine.venue.records import GroupChanged, Reported
from engine.venue.reports import CancelRefused, ExchangeEvent, GroupTriggered, Print, Report
from engine.venue.restart import Restart
from engine.venue.sessions import (
    GATEWAYS,
    LOGON,
    RATE_LIMITED,
    UNSUPPORTED_TYPE,
    Connection,
    Granted,
    Verify,
    check_logon,
    new_acceptor,
)

ASK = "venue.ask"
_INCORRECT_FORMAT = 6


class Venue(Actor):
    """The embedded venue.

    Args:
        config: with its [venue] section.
        out: where effects go. Accepted connections come as `<session>/<n>` links.
        verify: (api_key, message, base64 signature) to whether the signature is good.
        rng: seeded generator of the synthetic flow.
        accounts: the API keys and whose they are; keys of one account share it.
    """

    name = "venue"

    def __init__(
        self, config: Config, out: Outbox, verify: Verify, rng: Random, accounts: list[VenueKey]
    ) -> None:
        super().__init__(out)
        assert config.venue is not None, "the embedded venue needs a [venue] section"
        self._config = config.venue
        self._verify = verify
        self._keys: Mapping[str, VenueKey] = {key.api_key: key for key in accounts}
        names = list(dict.fromkeys(key.account for key in accounts))
        self.exchange = _exchange(config, config.venue, names)
        self.history = History()
        self._owners: dict[str, Owner] = {}
        self._connections: dict[str, Connection] = {}
        self._live: dict[str, Connection] = {}  # by owner's key
        self._listeners: dict[str, list[Connection]] = {name: [] for name in names}
        self._buckets = {name: _buckets(config, config.venue) for name in names}
        self._orders = OrderGateway(self.exchange, self._dispatch, self._record_group)
        self._market_data = MarketGateway(
            self.exchange.books, config.venue.symbols_max, entry_times=config.venue.entry_times
        )
        self._drop_copy = DropCopyGateway(self.history)
        self._flow = Flow(self.exchange, _flow_markets(config.venue), config.venue.book_changes_per_s, rng)
        self._faults = faults.FaultPlan()
        self._restart = Restart()
        self._touched: dict[str, Connection] = {}
        self._messages = 0
        self._reports = 0

    # --- life ------------------------------------------------------------------------------------------------------

    def replay(self, entry: msgspec.Struct) -> None:
        self._restart.take(entry)

    def start(self, now: Now) -> None:
        for text in self._restart.apply(self.exchange, self.history, self._owners, now):
            self.out.log("warning", text)
        self._restart = Restart()
        for owner in self._owners.values():
            if owner.flags.cancel_on_disconnect and owner.orders:
                self._dispatch(self.exchange.cancel_all_of(owner, now), now)
        self._flow.start(now.mono_ns)
        if self._flow.due is not None:
            self._step_flow(now)  # so that nobody ever sees a market without its book
        self._settle(now)

    def stop(self, now: Now) -> None:
        now = self._clock(now)
        for connection in list(self._connections.values()):
            connection.acceptor.logout("the venue stops", now)
            self._end(connection, "the venue stops", now)
        self._settle(now)
        self.deadline = None
        self.stopped = True

    def status(self, now: Now) -> Status:  # noqa: ARG002 - the base's signature
        sessions = {
            link: f"{connection.acceptor.state.value}{' (listener)' if connection.read_only else ''}"
            for link, connection in self._connections.items()
        }
        return Status(
            state="PAUSED" if self.exchange.paused else "READY",
            detail=f"{self.exchange.paused} pause" if self.exchange.paused else "",
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
        for connection in list(self._connections.values()):
            self._drop(connection, "journal failed", self._clock(now))

    # --- links -----------------------------------------------------------------------------------------------------

    def on_link(self, link: str, event: LinkEvent, reason: str, now: Now) -> None:
        now = self._clock(now)
        if event is LinkEvent.ACCEPTED:
            gateway = GATEWAYS.get(link.rpartition("/")[0])
            if gateway is None:
                self.out.close(link, "no such session")
                return
            acceptor = new_acceptor(gateway, self._config.comp_id, VENUE_HOT)
            acceptor.connected(now)
            self._connections[link] = Connection(link, gateway, reason, acceptor)
        elif event in {LinkEvent.DISCONNECTED, LinkEvent.REFUSED}:
            connection = self._connections.get(link)
            if connection is not None:
                self._forget(connection, now)
        self._settle(now)

    def on_bytes(self, link: str, data: bytes, now: Now) -> None:
        now = self._clock(now)
        connection = self._connections.get(link)
        if connection is None:
            return
        self._touched[link] = connection
        self._handle(connection, connection.acceptor.receive(data, now), now)
        self._settle(now)

    def on_deadline(self, now: Now) -> None:
        now = self._clock(now)
        for connection in list(self._connections.values()):
            deadline = connection.acceptor.deadline
            if deadline is not None and deadline <= now.mono_ns:
                self._touched[connection.link] = connection
                self._handle(connection, connection.acceptor.on_deadline(now), now)
        expiry = self.exchange.next_expiry_ns
        if expiry is not None and expiry <= now.wall_ns:
            self._dispatch(self.exchange.expire(now), now)
        if self._flow.due is not None and self._flow.due <= now.mono_ns:
            self._step_flow(now)
        self._settle(now)

    def _step_flow(self, now: Now) -> None:
        self.exchange.begin(now)
        self._flow.step(now.mono_ns)
        self._dispatch(self.exchange.end(), now)

    def _clock(self, now: Now) -> Now:
        skew = self._faults.skew_ns
        return Now(now.wall_ns + skew, now.mono_ns) if skew else now

    def _settle(self, now: Now) -> None:
        """End a step: publish, write, and look when to wake."""
        for connection in self._market_data.publish(now):
            self._touched[connection.link] = connection
        if self._touched:
            touched, self._touched = self._touched, {}
            for connection in touched.values():
                data = connection.acceptor.data_to_send()
                if data and connection.link in self._connections:
                    self.out.write(connection.link, data)
        deadlines = [self._flow.due] if self._flow.due is not None else []
        for connection in self._connections.values():
            deadline = connection.acceptor.deadline
            if deadline is not None:
                deadlines.append(deadline)
        expiry = self.exchange.next_expiry_ns
        if expiry is not None:
            deadlines.append(now.mono_ns + max(0, expiry - now.wall_ns))
        self.deadline = min(deadlines, default=None)

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
                self.out.log(
                    "info", f"{connection.link}: refused 35={event.message.msg_type[:10]}: {event.text}"
                )

    def _on_logon(self, connection: Connection, message: FixMessage, now: Now) -> None:
        try:
            granted = check_logon(
                message,
                connection.gateway,
                self._keys,
                self._verify,
                require_length=self._config.require_raw_data_length,
            )
        except BadField as error:
            granted = str(error)
        if isinstance(granted, Granted):
            refusal = self._refuse_connection(connection, granted.key, now)
        else:
            refusal = granted
        acceptor = connection.acceptor
        if refusal or not isinstance(granted, Granted):
            self.out.log("info", f"{connection.link}: Logon refused: {refusal}")
            self._handle(connection, acceptor.refuse(refusal, now), now)
            return
        self._log_on(connection, granted)
        self._handle(connection, acceptor.accept(now, heart_bt_int_s=granted.heart_bt_int_s), now)

    def _refuse_connection(self, connection: Connection, key: VenueKey, now: Now) -> str:
        per_key = self._config.connections == "per_key"
        for other in self._live.values():
            if other.key is key and (per_key or other.gateway is connection.gateway):
                return "already exists"
        if not self._buckets[key.account].take(LOGON, now.mono_ns, write=connection.gateway.order_entry):
            return "rate limit exceeded"
        return ""

    def _log_on(self, connection: Connection, granted: Granted) -> None:
        owner_key = f"{connection.gateway.name}|{granted.key.api_key}"
        owner = self._owners.get(owner_key)
        if owner is None:
            owner = self._owners[owner_key] = Owner(owner_key, granted.key.account)
        owner.flags = granted.flags
        connection.key = granted.key
        connection.owner = owner
        connection.live = True
        connection.read_only = granted.flags.listener
        self._live[owner_key] = connection
        if connection.read_only:
            self._listeners[owner.account].append(connection)
        self.out.log("info", f"{connection.link}: {granted.key.account} logged on from {connection.peer}")

    def _session_over(self, connection: Connection, now: Now) -> None:
        """The session ended, whatever its transport does: cancel with 8013=Y, tell it nothing more."""
        if not connection.live:
            return
        connection.live = False
        owner = connection.owner
        assert owner is not None, "a live connection has an owner"
        self._live.pop(owner.key, None)
        self._market_data.gone(connection)
        if connection.read_only:
            self._listeners[owner.account].remove(connection)
        if owner.flags.cancel_on_disconnect and owner.orders:
            self._dispatch(self.exchange.cancel_all_of(owner, now), now)

    def _end(self, connection: Connection, reason: str, now: Now) -> None:
        """Close a connection after what it still has to say."""
        data = connection.acceptor.data_to_send()
        if data:
            self.out.write(connection.link, data)
        self._drop(connection, reason, now)

    def _drop(self, connection: Connection, reason: str, now: Now) -> None:
        """Close a connection at once."""
        self._forget(connection, now)
        self.out.close(connection.link, reason)

    def _forget(self, connection: Connection, now: Now) -> None:
        if self._connections.pop(connection.link, None) is None:
            return
        self._session_over(connection, now)
        connection.acceptor.disconnected(now)

    def _on_app(self, connection: Connection, event: App, now: Now) -> None:
        owner = connection.owner
        if owner is None or not connection.live:
            return
        self._messages += 1
        gateway = connection.gateway
        buckets = self._buckets[owner.account]
        if not buckets.take(event.msg_type, now.mono_ns, write=gateway.order_entry):
            connection.business_reject(event.seq, event.msg_type, RATE_LIMITED, "rate limit exceeded", now)
            return
        if event.msg_type not in gateway.msg_types or connection.read_only:
            text = "not on a listener session" if connection.read_only else f"not on {gateway.name}"
            connection.business_reject(event.seq, event.msg_type, UNSUPPORTED_TYPE, text, now)
            return
        message = event.message
        if isinstance(message, FixMessage):
            try:
                message = decode(message)
            except BadField as error:
                connection.session_reject(
                    event.seq, event.msg_type, _INCORRECT_FORMAT, error.tag, error.text, now
                )
                return
        if isinstance(message, MarketDataRequest):
            self._market_data.on_request(connection, message, event.seq, now)
        elif isinstance(message, SecurityStatusRequest):
            paused = bool(self.exchange.paused)
            self._market_data.on_status_request(connection, message, now, paused=paused)
        elif isinstance(message, EventResendRequest):
            self._drop_copy.on_request(connection, message, event.seq, self.exchange.latest, now)
        else:
            self._orders.on_message(connection, message, event.seq, buckets, now)

    # --- events of the exchange ------------------------------------------------------------------------------------

    def _dispatch(self, events: list[ExchangeEvent], now: Now) -> None:
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
        plan = self._faults
        times = 1
        if plan.lose_reports:
            plan.lose_reports -= 1
            times = 0
        elif plan.duplicate_reports:
            plan.duplicate_reports -= 1
            times = 2
        for _ in range(times):
            if not event.hidden:
                self._send(event.owner.key, report, now)
            if event.also is not None:
                self._send(event.also.key, report, now)
        if event.key is not None:
            for listener in self._listeners[event.owner.account]:
                self._touched[listener.link] = listener
                listener.send(report, now)

    def _send(self, owner_key: str, message: Any, now: Now) -> None:
        connection = self._live.get(owner_key)
        if connection is not None:
            self._touched[connection.link] = connection
            connection.send(message, now)

    def _record(self, event: Report, key: tuple[int, int], now: Now) -> None:
        report = event.report
        account = self.exchange.accounts[event.owner.account]
        position = account.positions.get(report.symbol)
        self.out.record(
            Reported(
                wall_ns=now.wall_ns,
                account=account.name,
                clock=key[0],
                event=key[1],
                report=report,
                order=event.order.terms() if event.order is not None else None,
                cash=account.cash,
                fees=account.fees,
                fills=account.fills,
                position_qty=position.qty if position is not None else 0,
                position_cost=position.cost if position is not None else 0,
            ),
            cl_ord_id=report.cl_ord_id,
            exec_id=report.exec_id,
        )

    def _record_group(self, group: Group, now: Now) -> None:
        self.out.record(
            GroupChanged(
                wall_ns=now.wall_ns,
                account=group.account,
                group_id=group.group_id,
                limit=group.limit,
                number=self.exchange.groups_made,
                alloc_account=group.alloc_account,
                triggered=group.triggered,
            )
        )

    # --- questions and faults --------------------------------------------------------------------------------------

    def on_message(self, channel: str, peer: str, message: Any, now: Now) -> None:
        if channel != ASK:
            return
        now = self._clock(now)
        if isinstance(message, VenueQuery):
            self.out.send(ASK, self._truth(message), to=peer)
        elif isinstance(message, VenueFault):
            text = faults.check(message)
            if not text:
                self._fault(message, now)
            self.out.send(ASK, VenueReply(request_id=message.request_id, ok=not text, text=text), to=peer)
        self._settle(self._clock(now) if isinstance(message, VenueFault) and message.kind == "skew" else now)

    def _truth(self, query: VenueQuery) -> VenueTruth:
        accounts = [
            VenueAccount(
                account=account.name,
                cash=account.cash,
                positions={symbol: held.qty for symbol, held in account.positions.items() if held.qty},
                fees=account.fees,
                fills=account.fills,
                orders=[
                    VenueOrder(
                        cl_ord_id=order.cl_ord_id,
                        order_id=order.order_id,
                        symbol=order.symbol,
                        side=order.side,
                        price=order.price,
                        qty=order.qty,
                        cum_qty=order.cum,
                        leaves_qty=order.leaves,
                    )
                    for order in self.exchange.open.values()
                    if order.account == account.name
                ],
                exec_ids=self.history.exec_ids(account.name),
            )
            for account in self.exchange.accounts.values()
            if not account.synthetic and query.account in {"", account.name}
        ]
        return VenueTruth(request_id=query.request_id, accounts=accounts)

    def _fault(self, fault: VenueFault, now: Now) -> None:
        count = faults.number(fault.arguments, "count", 1)
        match fault.kind:
            case "drop":
                for connection in list(self._connections.values()):
                    if fault.session in {"", connection.gateway.name, connection.link}:
                        self._drop(connection, "dropped on command", now)
            case "exchange_unavailable":
                applied = fault.arguments.get("applied", "no") == "yes"
                self.exchange.fault = "unavailable_applied" if applied else "unavailable"
            case "internal_error":
                self.exchange.fault = "internal_error"
            case "lose_report":
                self._faults.lose_reports = count
            case "duplicate_report":
                self._faults.duplicate_reports = count
            case "resend_reject":
                self._drop_copy.refuse_with = [faults.number(fault.arguments, "reason", 2)] * count
            case "trading_pause" | "exchange_pause":
                self._dispatch(self.exchange.pause(fault.kind.removesuffix("_pause"), now), now)
                self._tell_statuses(now)
            case "resume":
                self.exchange.resume()
                self._tell_statuses(now)
            case _:
                self._faults.skew_ns = faults.number(fault.arguments, "ms", 0) * 1_000_000

    def _tell_statuses(self, now: Now) -> None:
        paused = bool(self.exchange.paused)
        for connection in self._market_data.status_changed(self._connections.values(), now, paused=paused):
            self._touched[connection.link] = connection


def _exchange(config: Config, venue: VenueConfig, names: list[str]) -> Exchange:
    markets = []
    for symbol, market in venue.markets.items():
        instrument = config.instruments.get(symbol)
        terms: dict[str, int] = {}
        if instrument is not None:
            terms = {
                "tick": parse_fixed(instrument.tick, 4),
                "lot": parse_fixed(instrument.lot, 2),
                "multiplier": instrument.contract_multiplier,
                "initial_margin_bp": instrument.initial_margin_bp,
            }
        markets.append(Market(symbol=symbol, price=parse_fixed(market.price, 4), **terms))
    balance = parse_money(venue.balance)
    accounts = [Account(name, balance) for name in names]
    accounts += [Account(name, 0, synthetic=True) for name in (MAKER, TAKER)]
    terms_of_trade = Terms(
        maker_fee=venue.maker_fee_bp,
        taker_fee=venue.taker_fee_bp,
        closed_ids_again=venue.closed_cl_ord_id == "accept",
    )
    return Exchange(markets, accounts, terms_of_trade)


def _flow_markets(venue: VenueConfig) -> list[FlowMarket]:
    return [
        FlowMarket(
            symbol=symbol,
            price=parse_fixed(market.price, 4),
            volatility_bp=market.volatility_bp,
            step=parse_fixed(market.step, 4),
            spread_steps=max(market.spread_ticks, 1),
            levels=market.levels,
            level_qty=market.level_qty,
            trades_per_s=market.trades_per_s,
        )
        for symbol, market in venue.markets.items()
        if market.levels
    ]


def _buckets(config: Config, venue: VenueConfig) -> Buckets:
    rate = config.rate
    explicit = Budget(rate.read_per_s, rate.read_capacity, rate.write_per_s, rate.write_capacity)
    return Buckets(budget_of(venue.tier, explicit), rate.cost, rate.costs)
