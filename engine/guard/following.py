"""Following order entry: its tape, its snapshots, the commands that it did not take, and the epoch it follows.

The tape is the only truth about orders. Whenever our picture of it can't be mended by a replay, everything is taken
over anew from a snapshot, under a new epoch that fences whatever is still on its way.
"""

from collections.abc import Callable
from typing import Final

from engine.common.actor import Outbox
from engine.common.clock import MS, SECOND, Now
from engine.common.ids import SLOT_OPERATOR, slot_of
from engine.guard.breakers import Breakers, Trip
from engine.guard.commander import Commander
from engine.guard.doubts import Doubts
from engine.guard.exposure import SUBMITS, Exposure, Request
from engine.guard.flattening import Flattening
from engine.guard.gate import Gate
from engine.guard.groups import OrderGroups
from engine.guard.halting import LOGGED_ON, Halting
from engine.guard.limits import Breach
from engine.guard.losses import Losses
from engine.guard.refusals import Refusals
from engine.guard.tape import TapeFollower
from engine.kalshi.texts import EXCHANGE_PAUSED, RATE_LIMIT_EXCEEDED, TRADING_PAUSED
from engine.messages.commands import EpochAccepted, NotAccepted
from engine.messages.executions import (
    EventKind,
    OrderEvent,
    OrdersSnapshot,
    SnapshotRequest,
    TapeBeat,
    TapeReplay,
    TapeRequest,
)

HELLO_AGAIN_NS: Final = 500 * MS
EPOCH_SETTLES_NS: Final = 300 * MS  # beats from before the acceptance may still arrive so long
RESERVATION_ASK_NS: Final = 500 * MS
RESERVATION_RESYNC_NS: Final = 2 * SECOND
ASK_ORDERS: Final = "oe.ask"
UNTOLD: Final = ("malformed", "duplicate")  # NotAccepted of a new order that the tape does not show
REFUSING: Final = frozenset(
    {EventKind.REJECTED, EventKind.NOT_SENT, EventKind.REPLACE_REJECTED, EventKind.CANCEL_REJECTED}
)


class Following:
    """Keeps the exposure equal to what order entry says.

    Attributes:
        tape: where we are on it. counters: what went wrong on the way, and how often.
    """

    def __init__(
        self,
        out: Outbox,
        exposure: Exposure,
        commander: Commander,
        gate: Gate,
        halting: Halting,
        doubts: Doubts,
        flattening: Flattening,
        losses: Losses,
        breakers: Breakers,
        refusals: Refusals,
        settle: Callable[[Now], None],
        groups: OrderGroups,
    ) -> None:
        self.tape = TapeFollower()
        self.counters = dict.fromkeys(("reservations_queried", "resyncs", "fenced", "late"), 0)
        self._out = out
        self._exposure = exposure
        self._commander = commander
        self._budget = commander.budget
        self._gate = gate
        self._halting = halting
        self._doubts = doubts
        self._flattening = flattening
        self._losses = losses
        self._breakers = breakers
        self._refusals = refusals
        self._settle = settle
        self._groups = groups
        self._accepted_tape_no = -1
        self._snapshot_asked_ns: int | None = None
        self._resync_ns: int | None = None
        self._session = ""
        self._logon_sweep = 0

    # -- epochs and what order entry did not take

    def resync(self, why: str, now: Now) -> None:
        """Take everything over anew, with a new epoch that fences whatever is still on its way."""
        if self._resync_ns is not None and now.mono_ns - self._resync_ns < RESERVATION_RESYNC_NS:
            return
        self._resync_ns = now.mono_ns
        self.counters["resyncs"] += 1
        self._out.log("warning", f"new epoch: {why}")
        self.new_epoch(why, now)

    def new_epoch(self, why: str, now: Now, at_least: int = 0) -> None:
        """Begin a new epoch."""
        self._gate.epoch_accepted = self._gate.tape_synced = False
        self._commander.start_epoch(why, now, at_least)
        self._settle(now)

    def on_epoch_accepted(self, _peer: str, message: EpochAccepted, now: Now) -> None:
        """Order entry follows us: take its state over."""
        commander = self._commander
        if message.epoch != commander.epoch or commander.accepted:
            return
        commander.accepted = True
        commander.accepted_ns = now.mono_ns
        self._gate.epoch_accepted = True
        self._accepted_tape_no = message.tape_no
        self.ask_snapshot(now)
        self._halting.repeat(now)
        self._settle(now)

    def on_not_accepted(self, _peer: str, message: NotAccepted, now: Now) -> None:
        """Give up what a command had reserved."""
        commander, exposure = self._commander, self._exposure
        current = message.epoch == commander.epoch
        if message.reason == "epoch" and current:
            self._on_other_epoch(now)
        if message.no == 0:
            return
        if current:
            request = exposure.reserved.get(commander.base + message.no)
        else:  # by its id, which a worker may have used again since
            request = exposure.requests.get(message.cl_ord_id)
        if request is None or request.seen or request.epoch != message.epoch:
            if slot_of(message.cl_ord_id) == SLOT_OPERATOR:  # a mass cancel, which reserves nothing
                self._budget.returned(message.cl_ord_id)
            return
        exposure.release(request)
        self._budget.returned(request.cl_ord_id)
        # The tape has a NOT_SENT for a new order, unless its id was used before or is no id at all.
        if request.kind != "new" or message.reason in UNTOLD or not message.cl_ord_id:
            self.tell_lost(request, message.reason, message.text or f"not accepted: {message.reason}", now)
        if message.reason == "halted":
            self._halting.heal(request.order, now)

    def _on_other_epoch(self, now: Now) -> None:
        # Order entry follows another epoch, perhaps a higher one: the clock was set back, or our journal lost its end.
        if self._commander.accepted:
            self.resync("order entry does not follow this guard any more", now)
        else:
            theirs = self._gate.beat.epoch if self._gate.beat is not None else 0
            self.new_epoch("order entry follows a newer epoch", now, theirs + 1)

    def tell_lost(self, request: Request, control: str, text: str, now: Now) -> None:
        """Tell a worker that an approved request of it came to nothing."""
        if request.peer:
            self._refusals.say(
                request.peer, request.cl_ord_id, request.order.slot, Breach(control, "account", text), now
            )

    # -- the tape

    def on_event(self, _peer: str, event: OrderEvent, now: Now) -> None:
        """Take an event that comes on the tape."""
        tape = self.tape
        if tape.offer(event):
            self._apply(event, now)
            self._apply_waiting(now)
        elif event.tape_no <= tape.last:
            self._exposure.witness(event)
            if event.kind not in SUBMITS:
                self._budget.answered(event.request_id, now.mono_ns)
        else:
            self.mend(now)

    def _apply_waiting(self, now: Now) -> None:
        tape = self.tape
        while (event := tape.waiting()) is not None:
            if tape.offer(event):
                self._apply(event, now)

    def on_replay(self, _peer: str, message: TapeReplay, now: Now) -> None:
        """Take a part of the tape that was asked for."""
        if message.strategy is None:
            for event in message.events:
                self.on_event("", event, now)
            self._settle(now)

    def mend(self, now: Now) -> None:
        """Ask for what is missing on the tape."""
        if self.tape.ask(now.mono_ns):
            self._out.send(ASK_ORDERS, TapeRequest(from_no=self.tape.last + 1))
        problem = "events are missing on the tape" if self.tape.behind else ""
        if problem != self._gate.tape_problem:
            self._gate.tape_problem = problem
            self._gate.update(now)

    def on_beat(self, _peer: str, beat: TapeBeat, now: Now) -> None:
        """Take order entry's beat in."""
        gate, commander = self._gate, self._commander
        gate.beat = beat
        gate.order_entry_ns = now.mono_ns
        if beat.session != self._session or beat.logon_sweep != self._logon_sweep:
            # What was under way on another connection gets no answer on this one, which may have come between two beats.
            self._budget.settle(now.mono_ns, 0)
            if beat.session == LOGGED_ON:
                self._budget.spent(self._budget.cost_logon, now.mono_ns)
            self._session, self._logon_sweep = beat.session, beat.logon_sweep
        if commander.accepted:
            settled = now.mono_ns - commander.accepted_ns > EPOCH_SETTLES_NS
            if settled and beat.epoch != commander.epoch:
                self.resync(f"order entry follows epoch {beat.epoch}", now)
            elif self.tape.last >= 0 and self.tape.hear(beat.tape_no, now.mono_ns):
                self.resync("order entry's tape ends before what we saw of it", now)
        if beat.groups:
            self._groups.on_beat(beat, now)
        self._settle(now)

    def ask_snapshot(self, now: Now) -> None:
        """Ask for the state of everything."""
        self._snapshot_asked_ns = now.mono_ns
        self._out.send(ASK_ORDERS, SnapshotRequest())

    def on_snapshot(self, _peer: str, snapshot: OrdersSnapshot, now: Now) -> None:
        """Take everything over as order entry says it."""
        awaited = self._snapshot_asked_ns is not None
        if snapshot.strategy is not None or (snapshot.tape_no <= self.tape.last and not awaited):
            return
        commander = self._commander
        fenced = commander.accepted and snapshot.tape_no >= self._accepted_tape_no
        lost = self._exposure.rebuild(snapshot, commander.epoch, fenced=fenced)
        if snapshot.tape_no > self.tape.last:
            # What order entry sent of its own meanwhile is on none of our events.
            self._budget.start(now.mono_ns)
        self.tape.restart(snapshot.tape_no)
        for request in lost:
            self.counters["fenced"] += 1
            self._budget.returned(request.cl_ord_id)
            self.tell_lost(request, "lost", "order entry never took this command", now)
        if fenced:
            self._snapshot_asked_ns = None
            self._gate.tape_synced = True
            self._doubts.clear()
        self._apply_waiting(now)
        self._losses.open_day(now)
        self._losses.check(now)
        if fenced:
            self._halting.repeat(now)
        self._settle(now)

    def _apply(self, event: OrderEvent, now: Now) -> None:
        exposure, kind = self._exposure, event.kind
        if kind not in SUBMITS:
            if self._budget.pending:
                self._settle_tokens(event, now)
        elif event.request_id not in exposure.requests:
            budget = self._budget  # order entry's own, or approved by a guard before us
            costs = {EventKind.SUBMITTED: budget.cost_new, EventKind.REPLACE_SUBMITTED: budget.cost_replace}
            budget.hold(event.request_id, costs.get(kind, budget.cost_cancel), now.mono_ns)
        unknown = exposure.unknown
        exposure.apply(event)
        if kind is EventKind.TRADE or kind is EventKind.POSITION:
            self._on_position(event, now)
        elif kind in REFUSING:
            self._on_venue_refusal(event, now)
        if self._gate.pauses.exchange:
            self._gate.pauses.hear(event)
        for trip in self._breakers.hear(event, now.mono_ns):
            self._on_trip(trip, now)
        if event.strategy == SLOT_OPERATOR:
            self._flattening.hear(event)
        self._groups.on_event(event, now)
        if event.late:
            self.counters["late"] += 1
        if exposure.unknown != unknown:
            self._settle(now)

    def _settle_tokens(self, event: OrderEvent, now: Now) -> None:
        # Any word about a request says that the venue has had it, but that it never left, or was over the rate.
        cl_ord_id = event.request_id or event.order
        if event.kind is EventKind.NOT_SENT:
            request = self._exposure.requests.get(cl_ord_id)
            if request is None or not request.seen or event.reason == RATE_LIMIT_EXCEEDED:
                self._budget.returned(cl_ord_id)
                return
        self._budget.answered(cl_ord_id, now.mono_ns)

    def _on_venue_refusal(self, event: OrderEvent, now: Now) -> None:
        # OrdRejReason 8 (stale) is another 8: only requests refused before the book are meant (35=j, 380=8).
        if event.reason == RATE_LIMIT_EXCEEDED and event.kind is not EventKind.REJECTED:
            self._budget.refused_by_venue(now.mono_ns)
        elif event.text in (TRADING_PAUSED, EXCHANGE_PAUSED):
            self._gate.pauses.refused(event.text, now)
            self._settle(now)

    def _on_position(self, event: OrderEvent, now: Now) -> None:
        self._doubts.hear(event, now.mono_ns)
        self._losses.check(now)
        if event.kind is EventKind.POSITION:
            self._settle(now)

    def _on_trip(self, trip: Trip, now: Now) -> None:
        if trip.level == "warn":
            self._out.log("alert" if not trip.limit else "warning", trip.why)
        elif trip.scope not in self._halting.kill.latches:
            self._halting.halt(trip.scope, trip.why, "guard", now)
            self._settle(now)

    # -- time

    def on_time(self, now: Now) -> None:
        """Say or ask again what was not answered; every beat."""
        commander, mono_ns = self._commander, now.mono_ns
        if not commander.accepted and mono_ns - commander.hello_ns >= HELLO_AGAIN_NS:
            commander.hello(now)
        asked_ns = self._snapshot_asked_ns
        if commander.accepted and asked_ns is not None and mono_ns - asked_ns >= HELLO_AGAIN_NS:
            self.ask_snapshot(now)

    def look_after_reservations(self, now: Now) -> None:
        """Ask about a command that is on no tape, and at last take everything over anew."""
        request = next(iter(self._exposure.reserved.values()), None)  # the oldest
        if request is None or not self._commander.accepted:
            return
        age_ns = now.mono_ns - request.sent_ns
        if age_ns >= RESERVATION_RESYNC_NS:
            self.resync(f"command {request.cl_ord_id} is on no tape after {age_ns // MS} ms", now)
        elif age_ns >= RESERVATION_ASK_NS and not request.asked:
            request.asked = True
            self.counters["reservations_queried"] += 1
            self._out.send(ASK_ORDERS, TapeRequest(from_no=self.tape.last + 1))
