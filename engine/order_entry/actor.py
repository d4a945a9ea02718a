"""Order entry: the only way to the venue, and the owner of every order's state.

It takes approved commands from the guard, records each before its bytes leave, and turns all that the venue says into
numbered events on the tape. Nothing else in the engine writes to the order-entry session, and nothing else derives
order state from anything but the tape.

* Commands pass or are refused by the rules of `commands`.
* After a restart, and when a session is lost, every live order is UNKNOWN until the venue's word settles it (`recovery`);
  on KalshiRT, whose numbers go on (`continuity`), only those that the venue had not answered. `ready` on the beat is
  false meanwhile.
* A guard that is silent is lost: order entry then cancels everything, or holds, as configured.

The journal holds `OrderEvent`: what is on the tape is what was committed, and replaying it gives the state; and for
KalshiRT the session's numbers, in the same transaction.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.common import halt_file
from engine.common.actor import Actor, LinkEvent, Outbox, PeerEvent, Status
from engine.common.clock import MS, SECOND, Now
from engine.common.ids import SLOT_OPERATOR, ClOrdIDs
from engine.config import Config
from engine.fix.events import (
    App,
    Close,
    Event,
    GapDetected,
    LoggedOn,
    LoggedOut,
    PeerReject,
    Refused,
    Renumbered,
    ResendAsked,
    Warn,
)
from engine.fix.message import FixMessage
from engine.kalshi import codec
from engine.kalshi.gateways import GatewayClient
from engine.kalshi.hot import HOT
from engine.kalshi.messages import (
    BusinessMessageReject,
    ExecutionReport,
    OrderCancelReject,
    OrderGroupResponse,
    OrderMassCancelReport,
)
from engine.messages.commands import (
    AcceptGap,
    Approved,
    ArmOrders,
    EpochAccepted,
    GroupAnswer,
    GroupCommand,
    GuardBeat,
    GuardHello,
    HaltOrders,
    NotAccepted,
)
from engine.messages.executions import (
    TOPIC_BEAT,
    OrderEvent,
    RecoveredReports,
    SnapshotRequest,
    Source,
    SweepDone,
    TapeBeat,
    TapeRequest,
)
from engine.order_entry import opening, wire
from engine.order_entry.answers import Answers
from engine.order_entry.commands import Commands, Scope
from engine.order_entry.continuity import Continuity, Stored
from engine.order_entry.desk import Client, Desk
from engine.order_entry.groups import Groups
from engine.order_entry.records import GroupRecord, SessionNumbers
from engine.order_entry.recovery import Clearing, Recovery
from engine.order_entry.reports import Reports, copy_of, exec_key
from engine.orders.ledger import Ledger
from engine.orders.saved import SavedLedger

LINK: Final = "order_entry"
BEAT_NS: Final = 100 * MS
PACE_NS_MIN: Final = 10 * MS
EPOCH_AHEAD_MS: Final = 24 * 60 * 60 * 1000
"""A guard's epoch is its wall clock's ms, or one more than its last: what is further ahead of ours is nobody's."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds: all that `replay` made."""

    ledger: SavedLedger
    numbers: SessionNumbers | None
    groups: list[GroupRecord]


class OrderEntry(Actor):
    """See the module.

    Args:
        config: the effective configuration.
        out: effects.
        sign: signs a Logon's text: bytes to base64.
        rng: random numbers in [0, 1).
        dry_run: open no session; say what would be sent.
        client: the FIX session, when it is not made from the configuration (tests).
    """

    name = "order_entry"

    tells_only_committed = True
    takes_snapshots = True

    def __init__(
        self,
        config: Config,
        out: Outbox,
        sign: Callable[[bytes], str] | None,
        rng: Callable[[], float] | None,
        dry_run: bool = False,
        client: Client | None = None,
    ) -> None:
        super().__init__(out)
        self._config = config
        self._rng = rng
        session = config.sessions.order_entry
        self._session = session.target_comp_id
        multipliers = {symbol: i.contract_multiplier for symbol, i in config.instruments.items()}
        self._multipliers = multipliers
        self.ledger = Ledger(multipliers, exec_key)
        self.desk = Desk(out, self.ledger)
        self.recovery = Recovery(self.desk)
        self.clearing = Clearing(self.desk)
        self.groups = Groups(
            out,
            {s.slot: s.order_group_limit for s in config.strategies.values() if s.order_group_limit},
        )
        self.commands = Commands(self.desk, session, self.groups)
        self.desk.watch = self._watch
        self.answers = Answers(out, self.ledger, config.strategies)
        self.reports = Reports(self.desk, self.recovery, silent_end=not session.enable_ioc_cancel_report)
        if client is None and not dry_run:
            assert sign is not None, "a session needs a signature"
            assert rng is not None, "a session needs random numbers for its back-off"
            client = GatewayClient(LINK, session, out, sign, rng, hot={"8": HOT["8"]})
        self._client = self.desk.client = self.groups.client = client
        self.stored = Stored()
        retransmits = session.target_comp_id == "KalshiRT"
        self._continuity = Continuity(session, self.desk, self.stored) if retransmits else None
        self.desk.mass_cancel_works = session.target_comp_id == "KalshiNR"
        self.desk.pace_ns = max(PACE_NS_MIN, wire.request_ns(config.rate))
        self._up = False
        self._is_settled = False
        self._guard_lost = False
        self._file_latches: frozenset[Scope] = frozenset()
        self._refuse_epoch_ns = 0
        self._quiescing = False
        self._quiesce_ns = 0
        self._stopping = False
        self._life_ns = 0
        self._beat_ns = 0
        self._beat_said: tuple[object, ...] = ()

    # -- life

    def replay(self, entry: msgspec.Struct) -> None:
        if isinstance(entry, SessionNumbers):
            self.stored.take(entry)
        elif isinstance(entry, GroupRecord):
            self.groups.replay(entry)
        else:
            assert isinstance(entry, OrderEvent), "the order journal holds nothing else (records.py)"
            self.ledger.apply(entry)

    def dump(self) -> bytes:
        state = State(ledger=self.ledger.save(), numbers=self.stored.save(), groups=self.groups.save())
        return msgspec.msgpack.encode(state)

    def load(self, state: bytes) -> None:
        saved = msgspec.msgpack.decode(state, type=State)
        self.ledger.restore(saved.ledger)
        if saved.numbers is not None:
            self.stored.take(saved.numbers)
        for record in saved.groups:
            self.groups.replay(record)

    def snapshot_of(self) -> str:
        return repr(sorted(self._multipliers.items()))

    def start(self, now: Now) -> None:
        self._life_ns = now.wall_ns
        random_bits = int(self._rng() * (1 << 30)) if self._rng is not None else 0
        self.desk.own_ids = ClOrdIDs(SLOT_OPERATOR, now.wall_ns // MS, random_bits)
        self.commands.heard_ns = now.mono_ns
        client, continuity = self._client, self._continuity
        goes_on = continuity is not None and client is not None and continuity.begin(client, now)
        opening.open_positions(self._config, self.desk, now)
        if continuity is None and client is not None:
            self.stored.give_up(self.out)
        if not goes_on:
            self._tell_of_left()
        self.recovery.start(now, answered_too=not goes_on)
        self.reports.start(now)
        self.groups.start(now)
        if client is not None:
            client.start(now)
        self._after(now)

    def _tell_of_left(self) -> None:
        # With CancelOrdersOnDisconnect=Y the venue has cancelled them, and asking only makes sure.
        left = len(self.ledger.orders)
        if (
            left
            and self._client is not None
            and not self._config.sessions.order_entry.cancel_orders_on_disconnect
        ):
            text = "they are cancelled now, because FIX has no query for open orders"
            self.out.log("alert", f"{left} orders were left resting; {text}")

    def state_digest(self) -> str:
        """Return SHA-256 of the journalled state, hex: what a replay must give again."""
        digest = self.ledger.digest() + self.groups.digest()
        numbers = self.stored.save()
        return digest if numbers is None else f"{digest} {msgspec.msgpack.encode(numbers).hex()}"

    def quiesce(self, now: Now) -> None:
        if self._quiescing:
            return
        self._quiescing = self.commands.closing = True
        if self._config.engine.shutdown == "cancel" and self._client is not None:
            self._quiesce_ns = now.mono_ns + self._config.engine.shutdown_s * SECOND
            self.clearing.start(now)
        else:
            self.quiesced = True
            if self.ledger.orders and self._config.sessions.order_entry.cancel_orders_on_disconnect:
                self.out.log(
                    "warning", "CancelOrdersOnDisconnect=Y: the venue cancels what is left at the logout"
                )
        self._after(now)

    def stop(self, now: Now) -> None:
        self._quiescing = self.commands.closing = self.quiesced = self._stopping = True
        self.clearing.stop()
        if self.ledger.orders:
            self.out.log("alert", f"{len(self.ledger.orders)} orders are open or unknown at the stop")
        if self._client is not None:
            self._client.stop(now)
        self._after(now)
        self.on_drained(now)  # the Logout took a number, and may leave with this step

    def _watch_quiesce(self, now: Now) -> None:
        if self.quiesced:
            return
        if not self.ledger.orders:
            self.quiesced = True
        elif now.mono_ns >= self._quiesce_ns:
            self.out.log("alert", f"{len(self.ledger.orders)} orders could not be cancelled in time")
            self.quiesced = True
        if self.quiesced:
            self.clearing.stop()

    def _watch(self, event: OrderEvent) -> None:
        self.recovery.watch(event)
        if event.text:
            self.groups.watch(event)

    # -- commands (oe.orders)

    def on_message(self, channel: str, peer: str, message: Any, now: Now) -> None:
        kind = type(message)
        if kind is Approved:
            # No timer is moved on the hot path: the beat is never more than 100 ms away.
            self.commands.on_approved(peer, message, now)
            return
        if channel == "oe.orders":
            self._on_guard(peer, message, now)
        else:
            self._on_ask(peer, message, now)
        self._after(now)

    # -- the guard

    def _on_guard(self, peer: str, message: Any, now: Now) -> None:
        kind = type(message)
        if kind is GuardBeat:
            if message.epoch == self.commands.epoch:
                self._guard_is_there(now)
        elif kind is GuardHello:
            self._on_hello(peer, message, now)
        elif kind is HaltOrders:
            # A halt is obeyed whoever's it is: it can only make less leave.
            self.commands.latch(message.strategy, message.symbol, message.why)
            self.out.log("warning", f"halted {_scope_text(message.strategy, message.symbol)}: {message.why}")
        elif message.epoch != self.commands.epoch:
            self.out.send(
                "oe.orders",
                NotAccepted(
                    epoch=message.epoch, no=0, reason="epoch", text=f"the epoch is {self.commands.epoch}"
                ),
                to=peer,
            )
        elif kind is ArmOrders:
            scope = message.strategy, message.symbol
            if message.healing and scope in self._file_latches:
                return  # the guard has not seen the halt file yet: nobody armed this
            if self.commands.latches.pop(scope, None) is not None:
                self.out.log(
                    "warning", f"armed {_scope_text(message.strategy, message.symbol)}: {message.why}"
                )
        elif kind is AcceptGap:
            self._on_accept_gap(message, now)
        elif kind is GroupCommand:
            self._on_group(peer, message, now)

    def _on_group(self, peer: str, command: GroupCommand, now: Now) -> None:
        problem = self.groups.command(command, now)
        if problem and command.request_id:
            self.out.send("oe.orders", GroupAnswer(request_id=command.request_id, text=problem), to=peer)

    def _on_hello(self, peer: str, hello: GuardHello, now: Now) -> None:
        text = ""
        latest = max(self.commands.epoch, now.wall_ns // MS + EPOCH_AHEAD_MS)
        if hello.epoch < self.commands.epoch:
            text = f"epoch {self.commands.epoch} has taken over"
        elif not 0 < hello.epoch <= latest:
            if now.mono_ns < self._refuse_epoch_ns:
                return  # a guard answers a refusal with a higher epoch: the two must not spin
            self._refuse_epoch_ns = now.mono_ns + SECOND
            text = f"epoch {hello.epoch} is not of this time"
            self.out.log("alert", f"{peer}: {text}, refused")
        if text:
            self.out.send(
                "oe.orders", NotAccepted(epoch=hello.epoch, no=0, reason="epoch", text=text), to=peer
            )
            return
        if hello.epoch > self.commands.epoch:
            self.commands.epoch = hello.epoch
            self.commands.last_no = 0
        self._guard_is_there(now)
        self.out.send(
            "oe.orders", EpochAccepted(epoch=self.commands.epoch, tape_no=self.ledger.tape_no), to=peer
        )

    def _guard_is_there(self, now: Now) -> None:
        self.commands.heard_ns = now.mono_ns
        if self._guard_lost:
            self._guard_lost = False
            if not self._quiescing:
                self.clearing.stop()
            self.out.log("warning", "the guard is back")

    def _watch_guard(self, now: Now) -> None:
        silent_ns = now.mono_ns - self.commands.heard_ns
        if self._guard_lost or self._stopping or silent_ns < self._config.engine.guard_loss_ms * MS:
            return
        self._guard_lost = True
        if self._config.engine.guard_loss == "cancel" and self._client is not None:
            self.out.log("alert", f"the guard is lost: cancelling {len(self.ledger.orders)} open orders")
            self.clearing.start(now)
        else:
            self.out.log("alert", f"the guard is lost: {len(self.ledger.orders)} open orders are held")
            self._clear_by_file(now)

    # -- the halt file

    def on_halt_file(self, text: str | None, now: Now) -> None:
        if text is None:
            self._file_latches = frozenset()
            return  # releases nothing: the guard does
        slots = {name: strategy.slot for name, strategy in self._config.strategies.items()}
        halted = halt_file.parse(text, slots, self._config.instruments)
        for strategy, symbol, why in halted:
            if (strategy, symbol) not in self.commands.latches:
                self.commands.latch(strategy, symbol, why)
                self.out.log("alert", f"halted {_scope_text(strategy, symbol)} by the halt file: {why}")
        self._file_latches = frozenset((strategy, symbol) for strategy, symbol, _ in halted)
        if self._guard_lost:
            self._clear_by_file(now)
        self._after(now)

    def _clear_by_file(self, now: Now) -> None:
        # Nobody else is there to cancel what a person halted by hand.
        if self._file_latches and self._client is not None and not self._quiescing:
            self.clearing.start(now, self._file_latches)

    def _on_accept_gap(self, accept: AcceptGap, now: Now) -> None:
        text = f"accepted by {accept.who}: {accept.why}"
        for symbol in sorted(accept.positions):
            qty = accept.positions[symbol]
            cost = self.ledger.positions.cost_of(symbol, qty)
            opening.set_position(self.desk, symbol, qty, cost, text, Source.OPERATOR, now)
        self.out.log("alert", f"gap {text}")
        self.recovery.accept(f"{accept.who}: {accept.why}", now, accept.positions)

    def on_peer(self, channel: str, peer: str, event: PeerEvent, message: Any, now: Now) -> None:  # noqa: ARG002
        if event is PeerEvent.REFUSED:
            self.out.log("warning", f"{channel}: {peer} could not take {type(message).__name__}")
        if channel == "oe.ask" and event is not PeerEvent.JOINED:
            self.answers.forget(peer)

    # -- questions (oe.ask)

    def _on_ask(self, peer: str, message: Any, now: Now) -> None:
        kind = type(message)
        if kind is TapeRequest or kind is SnapshotRequest:
            self.answers.ask(peer, message)
        elif kind is RecoveredReports:
            for report in sorted(message.reports, key=lambda report: exec_key(report.exec_id)):
                self.reports.on_report(report, Source.RECOVERED, now)
        elif kind is SweepDone:
            self._on_swept(message, now)

    def _on_swept(self, swept: SweepDone, now: Now) -> None:
        if swept.wanted > self.recovery.sweep_wanted:
            self.out.log("warning", f"a sweep for {swept.wanted} was never asked for")
            return
        self.recovery.on_swept(swept.wanted, complete=swept.complete, now=now)
        if swept.complete and not self.recovery.settling(now):
            for symbol, ours, theirs in self.ledger.positions.broken():
                self.out.log("alert", f"position break: {symbol} ours {ours}, the venue's {theirs}")

    # -- the session

    def on_link(self, link: str, event: LinkEvent, reason: str, now: Now) -> None:
        if self._client is not None and link == LINK:
            self._on_events(self._client.on_link(event, reason, now), now)
            self._after(now)

    def on_bytes(self, link: str, data: bytes, now: Now) -> None:
        if self._client is not None and link == LINK:
            self._on_events(self._client.on_bytes(data, now), now)
            self._after(now)

    def _on_events(self, events: list[Event], now: Now) -> None:
        lost = warned = ""
        for event in events:
            if isinstance(event, App):
                self._on_app(event, now)
            elif isinstance(event, LoggedOn):
                self._on_logged_on(now)
            elif isinstance(event, PeerReject):
                text = f"Reject {event.reason}, tag {event.ref_tag}: {event.text}"
                if not self.groups.on_refused(event.ref_seq, -1, text, now):
                    self.reports.on_refused_request(event.ref_seq, "", event.reason or 0, text, now)
            elif isinstance(event, LoggedOut):
                lost = f"logged out: {event.text}"
            elif isinstance(event, Close):
                lost = lost or event.reason
            elif isinstance(event, GapDetected):
                lost = f"sequence gap: expected {event.expected}, received {event.received}"
            elif isinstance(event, Refused):
                self.recovery.want_sweep()  # whatever it said, drop copy has it
            elif isinstance(event, ResendAsked):
                self._on_resend_asked(event, now)
            elif isinstance(event, Renumbered):
                self._on_renumbered(event.text, now, lost=event.lost)
            elif isinstance(event, Warn):
                warned = event.text
                self.out.log("warning", f"{self._session}: {event.text}")
        client = self._client
        if self._up and client is not None and not client.logged_on:
            self._on_session_lost(lost or warned or "disconnected", now)

    def _on_logged_on(self, now: Now) -> None:
        if self._up:
            self._on_session_lost("a new logon", now)
        self._up = True
        client = self._client
        if client is None or client.began_anew:
            self._on_renumbered("the session began anew", now, lost=True)
        if self._continuity is not None:
            self._continuity.logged_on(now)
        self.recovery.on_logon(now)
        self.groups.on_logon(now, anew=client is None or client.began_anew)

    def _on_renumbered(self, text: str, now: Now, *, lost: bool) -> None:
        # No request can be answered by number any more; what is lost of the venue's messages only drop copy has.
        self.desk.forget_requests()
        if self._continuity is not None:
            self.recovery.doubt_all(text, now, answered_too=lost)
            self.recovery.want_sweep()

    def _on_resend_asked(self, event: ResendAsked, now: Now) -> None:
        self.reports.on_never_got(event.begin, event.sure_end, now)
        if self._continuity is not None:
            self._continuity.doubt(event.sure_end + 1, event.end, now)

    def _on_session_lost(self, reason: str, now: Now) -> None:
        self._up = False
        self.groups.on_lost(now)
        if not self._stopping:  # the next start doubts all the same
            answered_too = self._continuity is None
            self.recovery.doubt_all(f"session lost: {reason}", now, answered_too=answered_too)

    def _on_app(self, event: App, now: Now) -> None:
        message = event.message
        if isinstance(message, FixMessage):
            try:
                message = codec.decode(message)
            except codec.BadField as error:
                self.out.log(
                    "alert",
                    f"{self._session}: message {event.seq} ({event.msg_type}) not understood: {error}",
                )
                return
        if isinstance(message, ExecutionReport):
            self.reports.on_report(copy_of(message), Source.SESSION, now)
        elif isinstance(message, OrderCancelReject):
            self.reports.on_cancel_reject(message, now)
        elif isinstance(message, BusinessMessageReject):
            if not self.groups.on_refused(
                message.ref_seq_num, message.business_reject_reason, message.text, now
            ):
                self.reports.on_business_reject(message, now)
        elif isinstance(message, OrderGroupResponse):
            self.groups.on_answer(message, now)
        elif isinstance(message, OrderMassCancelReport):
            self.desk.answered(message.cl_ord_id)
            if message.mass_cancel_response == "0":
                self.out.log("alert", f"mass cancel rejected, reason {message.mass_cancel_reject_reason}")
        else:
            self.out.log("warning", f"{self._session}: {event.msg_type} is not expected here")

    # -- the journal

    def on_journal_failed(self, reason: str, now: Now) -> None:
        self.desk.journal_ok = False
        self.out.log("alert", f"the order journal failed, no new orders: {reason}")
        self._after(now)

    def on_journal_ok(self, now: Now) -> None:
        self.desk.journal_ok = True
        self.out.log("warning", "the order journal takes records again")
        self._after(now)

    # -- time, the beat, status

    def on_deadline(self, now: Now) -> None:
        client = self._client
        if client is not None and client.deadline is not None and now.mono_ns >= client.deadline:
            self._on_events(client.on_deadline(now), now)
        self._watch_guard(now)
        if self._settled(now):
            self.reports.tick(now)
            self.recovery.tick(now)
        self.clearing.tick(now)
        self.groups.tick(now)
        self.answers.tick(now)
        self._after(now)

    def on_drained(self, now: Now) -> None:
        if self._continuity is not None:
            self._continuity.note(now)

    def _settled(self, now: Now) -> bool:
        return self._continuity is None or self._continuity.settled(now)

    def _after(self, now: Now) -> None:
        # At the end of each step but a command's: what changed is said, the next deadline set.
        client = self._client
        if self._quiescing and not self.quiesced:
            self._watch_quiesce(now)
        if self._stopping and (client is None or client.stopped):
            self.stopped = True
        settled = self._is_settled = self._settled(now)
        said = (
            self.ready,
            self.commands.epoch,
            self._session_state(),
            len(self.ledger.unknown),
            self.recovery.sweep_wanted,
            self.recovery.sweep_done,
            self.groups.requests,
            self.groups.changes,
        )
        if said != self._beat_said or now.mono_ns >= self._beat_ns:
            self._beat_said = said
            self._beat(now)
        deadline = self._beat_ns
        for due in (
            client.deadline if client is not None else None,
            self.reports.due() if settled else None,
            self.recovery.due() if settled else None,
            self.clearing.due(),
            self.groups.due(),
            self.answers.due(),
        ):
            if due is not None and due < deadline:
                deadline = due
        self.deadline = deadline

    @property
    def ready(self) -> bool:
        """Logged on, nothing from before the logon left to find out, journal writable, not on the way down."""
        client = self._client
        up = self._up and self._is_settled if client is not None else True
        return up and self.desk.journal_ok and not self.recovery.running and not self._quiescing

    def _session_state(self) -> str:
        return self._client.state if self._client is not None else "logged on"

    def _beat(self, now: Now) -> None:
        self._beat_ns = now.mono_ns + BEAT_NS
        ledger, client = self.ledger, self._client
        journal_no, journal_head = self.committed()
        self.out.send(
            "oe.tape",
            TapeBeat(
                tape_no=ledger.tape_no,
                mono_ns=now.mono_ns,
                session=self._session_state(),
                ready=self.ready,
                epoch=self.commands.epoch,
                strategies={str(slot): no for slot, no in ledger.strategy_nos.items()},
                open_orders=len(ledger.orders),
                unknown=len(ledger.unknown),
                sweep_wanted=self.recovery.sweep_wanted,
                sweep_done=self.recovery.sweep_done,
                skew_ns=client.skew_ns if client is not None else 0,
                detail=self._detail(),
                logon_sweep=self.recovery.logon_sweep,
                journal_no=journal_no,
                journal_head=journal_head.hex(),
                groups=self.groups.status(),
                group_requests=self.groups.requests,
                life_ns=self._life_ns,
            ),
            topic=TOPIC_BEAT,
        )

    def _detail(self) -> str:
        if self._quiescing:
            return f"stopping, {len(self.ledger.orders)} orders open"
        if not self.desk.journal_ok:
            return "the journal can't be written"
        client = self._client
        if client is None:
            return "dry run: nothing is sent"
        if not self._up:
            return client.failed or f"{self._session} is {client.state}"
        if not self._is_settled:
            return f"{self._session} is catching up"
        if self.recovery.running:
            return f"finding out about {len(self.recovery.gating)} orders"
        return "the guard is lost" if self._guard_lost else ""

    def _state(self) -> str:
        if self.stopped:
            return "STOPPED"
        if self._quiescing:
            return "STOPPING"
        if self.ready:
            return "HALTED" if self.commands.latches else "READY"
        return "RECOVERING" if self._up or self.ledger.tape_no else "STARTING"

    def status(self, now: Now) -> Status:  # noqa: ARG002
        metrics = self.desk.count.metrics()
        client = self._client
        metrics.update(
            unknown=len(self.ledger.unknown),
            open_orders=len(self.ledger.orders),
            tape_no=self.ledger.tape_no,
            logons=client.logons if client is not None else 0,
            skew_ns=client.skew_ns if client is not None else 0,
        )
        return Status(
            state=self._state(),
            detail=self._detail(),
            sessions={self._session: self._session_state() if client is not None else "dry run"},
            metrics=metrics,
        )


def _scope_text(strategy: int | None, symbol: str) -> str:
    scope = "everything" if strategy is None else f"strategy slot {strategy}"
    return f"{scope} in {symbol}" if symbol else scope
