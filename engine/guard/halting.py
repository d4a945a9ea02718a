"""Halting and arming: what happens, in which order, when a scope is latched or released.

Halting: the latch is journalled and written to the halt file (`engine.common.halt_file`), which order entry reads too;
order entry is told to latch (so nothing that is queued there leaves); the cancels follow, the triggers of order groups first, then a mass cancel when everything is meant and the session knows it, then single cancels as tokens
allow, again and again until nothing of the scope is open; the notes for humans and workers come last. Nothing in it can
fail: without a journal the same is done unrecorded, and recorded when the journal works again.
"""

from collections.abc import Callable
from typing import Final

from engine.common import halt_file
from engine.common.actor import Outbox
from engine.common.clock import MS, SECOND, Now
from engine.config import Config
from engine.guard.commander import Commander
from engine.guard.exposure import Exposure, Order
from engine.guard.gate import NEVER, ORDER_ENTRY_SILENT_NS, Gate
from engine.guard.groups import GROUP_FIRST_NS, OrderGroups
from engine.guard.kill_switch import ALL, LOOK_AGAIN_NS, MASS_CANCEL_FIRST_NS, KillSwitch, LatchScope, Sweep
from engine.guard.records import LatchReleased, LatchSet
from engine.guard.refusals import FEED, INTENTS
from engine.guard.waiting import Waiting
from engine.guard.workers import Worker, Workers
from engine.messages.commands import StrategyLatched
from engine.messages.decisions import TOPIC_LATCH, LatchNote

LOGGED_ON: Final = "logged on"
WAIT_MAX_NS: Final = 100 * MS
NAMED_MAX: Final = 5
MASS_CANCEL_SESSION: Final = "KalshiNR"  # KalshiRT has no mass cancel (venue.md section 4)


class Halting:
    """Latches, releases, and cancels.

    Attributes:
        kill: the latches. sweeps: cancelling that is not finished. waiting: the queue, of which a halt refuses its scope.
    """

    def __init__(
        self,
        config: Config,
        out: Outbox,
        record: Callable[[LatchSet | LatchReleased], None],
        exposure: Exposure,
        commander: Commander,
        gate: Gate,
        workers: Workers,
        groups: OrderGroups,
    ) -> None:
        self.kill = KillSwitch()
        self.sweeps: list[Sweep] = []
        self.waiting: Waiting | None = None
        self._out = out
        self._record = record
        self._exposure = exposure
        self._commander = commander
        self._gate = gate
        self._workers = workers
        self._groups = groups
        groups.halting = self
        self._healed_ns = NEVER
        self._slots = {name: strategy.slot for name, strategy in config.strategies.items()}
        self._file: str | None = None
        self._mass = config.sessions.order_entry.target_comp_id == MASS_CANCEL_SESSION

    # -- latches

    def halt(self, scope: LatchScope, why: str, who: str, now: Now) -> bool:
        """Latch a scope and cancel what is open in it; False when it was latched already (it is cancelled again)."""
        entry = self.kill.set(scope, why, who, now.wall_ns)
        if entry is not None:
            self._record(entry)
            self.show()
            self._keep()
        self._commander.halt(scope, why)
        if self.waiting is not None:
            self.waiting.drop(scope, "halted", f"{self.text(scope)} is halted: {why}", now)
        mass = scope == ALL and self._mass
        self.sweep(Sweep(scope, f"halted: {why}", now.mono_ns, mass=mass, groups=True))
        self.run(now)
        if entry is not None:
            self._out.log("alert", f"{self.text(scope)} halted by {who}: {why}")
            self._note(scope, why, who, now, halted=True)
        return entry is not None

    def arm(self, scope: LatchScope, why: str, who: str, now: Now) -> bool:
        """Release the latch of exactly this scope; False when there is none."""
        entry = self.kill.release(scope, why, who, now.wall_ns)
        if entry is None:
            return False
        self._record(entry)
        self.show()
        self._keep()  # first: order entry must not read there what it is told to forget
        self.sweeps = [sweep for sweep in self.sweeps if sweep.orders is not None or sweep.scope != scope]
        self._commander.arm(scope, why)
        self._groups.armed(scope)
        self._out.log("alert", f"{self.text(scope)} armed by {who}: {why}")
        self._note(scope, why, who, now, halted=False)
        return True

    def heal(self, order: Order, now: Now) -> None:
        """Arm order entry where it has a latch and we don't: the guard owns the latches, an Arm was lost."""
        if self._gate.stopping or now.mono_ns - self._healed_ns < SECOND:
            return
        self._healed_ns = now.mono_ns
        symbol = order.market.symbol
        for scope in (ALL, LatchScope(order.slot), LatchScope(None, symbol), LatchScope(order.slot, symbol)):
            if scope not in self.kill.latches:
                self._commander.arm(scope, "the guard has no such latch", healing=True)

    # -- the halt file

    def on_file(self, text: str | None, now: Now) -> None:
        """Latch what the halt file says and we have not; a file that says less than our latches is written anew."""
        if text is None and self._file is not None and self.kill.latches:
            self._out.log(
                "alert", "the halt file was taken away: that releases nothing, scripts/ctl arm does"
            )
        self._file = text
        if text is not None:
            for halted in halt_file.parse(text, self._slots, self._exposure.markets):
                scope = LatchScope(halted.strategy, halted.symbol)
                if scope not in self.kill.latches:
                    self.halt(scope, halted.why, "the halt file", now)
        self._keep()

    def _keep(self) -> None:
        names = {slot: name for name, slot in self._slots.items()}
        text = halt_file.render(
            halt_file.line(
                "" if scope.strategy is None else names.get(scope.strategy, str(scope.strategy)),
                scope.symbol,
                latch.why,
            )
            for scope, latch in self.kill.latches.items()
        )
        if text != (self._file or ""):
            self._file = text or None
            self._out.keep_halts(text)

    def show(self) -> None:
        """Write the latches to where orders are decided."""
        self._gate.halted = self.kill.everything
        self._workers.latch(self.kill)
        for symbol, market in self._exposure.markets.items():
            market.latched = self.kill.market(symbol)

    def repeat(self, now: Now) -> None:
        """Tell order entry every latch again, and go on cancelling: it is new, or may not have heard."""
        for scope, latch in self.kill.latches.items():
            self._commander.halt(scope, latch.why)
            if not any(sweep.scope == scope and sweep.orders is None for sweep in self.sweeps):
                self.sweep(Sweep(scope, f"halted: {latch.why}", now.mono_ns))

    def tell(self, worker: Worker) -> None:
        """Tell a worker that came to life whether it is halted."""
        why = self.kill.everything or self.kill.why(worker.slot, "")
        self._out.send(INTENTS, StrategyLatched(halted=bool(why), why=why), to=worker.peer)

    def text(self, scope: LatchScope) -> str:
        """Name a scope for a human."""
        return scope.text(self._exposure.names)

    def _note(self, scope: LatchScope, why: str, who: str, now: Now, *, halted: bool) -> None:
        note = LatchNote(wall_ns=now.wall_ns, halted=halted, scope=self.text(scope), why=why, who=who)
        self._out.send(FEED, note, topic=TOPIC_LATCH)
        if scope.symbol:
            return  # the worker's other markets go on; it learns of this one by refusals
        for worker in self._workers.by_peer.values():
            if scope.strategy in (None, worker.slot):
                still = self.kill.everything or self.kill.why(worker.slot, "")
                text = why if halted else still
                self._out.send(
                    INTENTS, StrategyLatched(halted=halted or bool(still), why=text), to=worker.peer
                )

    # -- cancelling

    def sweep(self, sweep: Sweep) -> None:
        """Begin to cancel; what is not finished of the same scope is replaced where this one goes on with it."""
        kept = []
        for other in self.sweeps:
            if self._replaces(sweep, other):
                sweep.waits |= other.waits  # it is said once that they can't be cancelled
            else:
                kept.append(other)
        self.sweeps = [*kept, sweep]

    def _replaces(self, sweep: Sweep, other: Sweep) -> bool:
        if other.scope != sweep.scope or (other.orders is None) != (sweep.orders is None):
            return False
        if other.orders is None or sweep.orders is None:
            return True
        still = self._exposure.open.keys() & set(other.orders)
        return still <= set(sweep.orders)

    def run(self, now: Now) -> None:
        """Go on with every sweep that is due."""
        unfinished = []
        for sweep in self.sweeps:
            if now.mono_ns >= sweep.next_ns and self._step(sweep, now):
                continue
            unfinished.append(sweep)
        self.sweeps = unfinished

    def _step(self, sweep: Sweep, now: Now) -> bool:
        # Cancels what can be cancelled now; True when nothing is open any more.
        mono_ns = now.mono_ns
        orders = sweep.open(self._exposure)
        if not orders:
            self._out.log(
                "info", f"{sweep.why}: nothing is open in {self.text(sweep.scope)} ({sweep.cancels} cancels)"
            )
            return True
        gate = self._gate
        beat = gate.beat
        if not gate.pauses.may_cancel(mono_ns):
            self._wait_for_exchange(sweep, orders, now)
            return False
        if beat is None or beat.session != LOGGED_ON or mono_ns - gate.order_entry_ns > ORDER_ENTRY_SILENT_NS:
            sweep.next_ns = mono_ns + WAIT_MAX_NS  # nothing can leave now
            return False
        if sweep.groups and not gate.pauses.exchange:
            sweep.groups = False
            if self._groups.trigger(sweep):
                sweep.next_ns = mono_ns + GROUP_FIRST_NS
                return False
        if sweep.mass and not gate.pauses.exchange and self._commander.mass_cancel(mono_ns):
            sweep.mass = False
            sweep.next_ns = mono_ns + MASS_CANCEL_FIRST_NS
            return False
        wait_ns = LOOK_AGAIN_NS
        for order in orders:
            if not sweep.due(order, mono_ns):
                continue
            if not self._commander.cancel_order(order, mono_ns, kill=sweep.orders is None):
                wait_ns = min(max(self._commander.budget.cancel_wait_ns(mono_ns), MS), WAIT_MAX_NS)
                break
            sweep.cancels += 1
            gate.pauses.cancelled(mono_ns)
            if not gate.pauses.may_cancel(mono_ns):
                break  # it was the probe of an exchange pause
        sweep.next_ns = mono_ns + wait_ns
        return False

    def _wait_for_exchange(self, sweep: Sweep, orders: list[Order], now: Now) -> None:
        sweep.next_ns = max(self._gate.pauses.probe_ns, now.mono_ns + LOOK_AGAIN_NS)
        if not sweep.waits:
            sweep.waits = True
            self._out.log("alert", f"{sweep.why}: {self._cannot_cancel(sweep, orders)}")

    def _cannot_cancel(self, sweep: Sweep, orders: list[Order]) -> str:
        named = ", ".join(order.cl_ord_id or order.order for order in orders[:NAMED_MAX])
        more = ", ..." if len(orders) > NAMED_MAX else ""
        return (
            f"the venue is in an exchange pause: {len(orders)} orders of {self.text(sweep.scope)} "
            f"can't be cancelled until it ends: {named}{more}"
        )

    def cannot_cancel(self) -> str:
        """Say what an exchange pause keeps from being cancelled, or nothing."""
        if not self._gate.pauses.exchange:
            return ""
        waiting = ((sweep, sweep.open(self._exposure)) for sweep in self.sweeps)
        return "; ".join(self._cannot_cancel(sweep, orders) for sweep, orders in waiting if orders)

    def wait_to_cancel(self, order: Order, now: Now) -> None:
        """Cancel an order as soon as the venue's exchange pause is over."""
        key = (order.order,)
        if not any(sweep.orders == key for sweep in self.sweeps):
            scope = LatchScope(order.slot, order.market.symbol)
            self.sweep(Sweep(scope, "a cancel that waits", now.mono_ns, orders=key))

    @property
    def next_ns(self) -> int | None:
        """When the next sweep is due, mono_ns."""
        return min((sweep.next_ns for sweep in self.sweeps), default=None)
