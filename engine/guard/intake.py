"""What workers want: new orders, replaces and cancels, judged and passed on, or refused.

This is the path from tick to order. Everything that can be known before an intent comes is looked up once per strategy
and market (`Way`), what the intent itself adds is worked out once (`Ask`), and then every control has its say.
Cancels skip the controls: they pass in every state.
"""

import msgspec

from engine.common.actor import Outbox
from engine.common.clock import Now
from engine.common.ids import SLOT_OPERATOR, slot_of
from engine.guard.commander import Commander
from engine.guard.desk import Desk
from engine.guard.exposure import Exposure, Order
from engine.guard.groups import OrderGroups
from engine.guard.halting import Halting
from engine.guard.kill_switch import CANCEL_AGAIN_NS, LatchScope
from engine.guard.limits import (
    Ask,
    Breach,
    Control,
    Duplicate,
    Halted,
    MaxNotional,
    MaxQty,
    Repeats,
    Tokens,
    Trading,
    Way,
    rank_of_replace,
)
from engine.guard.pauses import Pauses
from engine.guard.rate_limit import RANK_CANCEL, RANK_NEW
from engine.guard.refusals import Refusals
from engine.guard.soft import SoftLevels
from engine.guard.waiting import Waiter, Waiting
from engine.guard.workers import Worker, Workers
from engine.messages.commands import CancelAll, CancelOrder, NewOrder, ReplaceOrder


class Intake:
    """Judges what workers send.

    Attributes:
        slot_violations: messages of somebody who may not send them.
    """

    def __init__(
        self,
        out: Outbox,
        chain: tuple[Control, ...],
        exposure: Exposure,
        commander: Commander,
        workers: Workers,
        refusals: Refusals,
        desk: Desk,
        waiting: Waiting,
        halting: Halting,
        pauses: Pauses,
        soft: SoftLevels,
    ) -> None:
        self.slot_violations = 0
        self._waiting = waiting
        self._leaver: Waiter | None = None
        self._out = out
        self._checks = tuple(control.check for control in chain)
        self._rememberers = tuple(
            control.passed for control in chain if isinstance(control, Duplicate | Repeats)
        )
        self._states = tuple(c.check for c in chain if isinstance(c, Halted | Trading | OrderGroups))
        self._ask = Ask()
        self._exposure = exposure
        self._commander = commander
        self._budget = commander.budget
        self._by_peer = workers.by_peer
        self._refusals = refusals
        self._desk = desk
        self._halting = halting
        self._pauses = pauses
        self._soft = soft

    def new(self, peer: str, intent: NewOrder, now: Now) -> None:
        """Judge a new order."""
        worker = self._by_peer.get(peer)
        cl_ord_id = intent.cl_ord_id
        if worker is None or slot_of(cl_ord_id) != worker.slot:
            self.refuse_stranger(peer, cl_ord_id, worker, now)
            return
        way = worker.ways.get(intent.symbol)
        if way is None or self._used(cl_ord_id):
            self._refuse(peer, cl_ord_id, worker, self._misfit(intent.symbol, way), now)
            return
        ask, mono_ns = self._ask, now.mono_ns
        ask.of_new(intent, way, now.wall_ns, mono_ns)
        if self._waiting.count and self._waits(worker, intent, way, now):
            return
        for check in self._checks:
            breach = check(ask, way)
            if breach is not None:
                self._say_no(worker, intent, breach, now)
                return
        self._commander.place(intent, way, mono_ns, peer)
        for passed in self._rememberers:
            passed(ask, way)
        if ask.leaves > way.soft_qty or ask.notional > way.soft_notional:
            self._warn(ask, way, now)

    def replace(self, peer: str, intent: ReplaceOrder, now: Now) -> None:
        """Judge a replace."""
        worker = self._by_peer.get(peer)
        cl_ord_id = intent.cl_ord_id
        if worker is None or slot_of(cl_ord_id) != worker.slot:
            self.refuse_stranger(peer, cl_ord_id, worker, now)
            return
        way = worker.ways.get(intent.symbol)
        order = self._exposure.orders.get(intent.orig_cl_ord_id)
        if way is None or order is None or order.slot != worker.slot or self._used(cl_ord_id):
            known = way is None or (order is not None and order.slot == worker.slot)
            breach = (
                self._misfit(intent.symbol, way) if known else self._no_order(worker, intent.orig_cl_ord_id)
            )
            self._refuse(peer, cl_ord_id, worker, breach, now)
            return
        ask = self._ask
        ask.of_replace(intent, order, way, now.wall_ns, now.mono_ns)
        if self._waiting.count and self._waits(worker, intent, way, now, order):
            return
        for check in self._checks:
            breached = check(ask, way)
            if breached is not None:
                self._say_no(worker, intent, breached, now, order)
                return
        self._commander.replace(intent, order, now.mono_ns, peer)

    def cancel(self, peer: str, intent: CancelOrder, now: Now) -> None:
        """Judge a cancel: a known open order of the same strategy, and tokens."""
        worker = self._by_peer.get(peer)
        cl_ord_id = intent.cl_ord_id
        if worker is None or slot_of(cl_ord_id) != worker.slot:
            self.refuse_stranger(peer, cl_ord_id, worker, now)
            return
        exposure, mono_ns = self._exposure, now.mono_ns
        scope = f"strategy {worker.name}"
        order = exposure.orders.get(intent.orig_cl_ord_id)
        breach: Breach | None = None
        pauses = self._pauses
        if order is None or order.slot != worker.slot:
            if self._waiting.count and self._cancels_waiter(worker, intent, now):
                return
            breach = self._no_order(worker, intent.orig_cl_ord_id)
        elif intent.symbol != order.market.symbol or intent.side != order.side:
            breach = Breach("form", scope, "side and market of a cancel must be its order's")
        elif self._used(cl_ord_id):
            breach = Breach("duplicate", scope, "this ClOrdID is in use")
        elif order.cancel_ns and mono_ns - order.cancel_ns < CANCEL_AGAIN_NS:
            breach = Breach("duplicate", scope, "the order has a cancel in flight")
        elif not pauses.may_cancel(mono_ns):
            self._halting.wait_to_cancel(order, now)
            breach = Breach(
                "exchange_pause", "account", "not even cancels work now: it leaves when that is over"
            )
        elif not self._budget.take_cancel(mono_ns, cl_ord_id):
            there = self._budget.available(mono_ns)
            breach = Breach("tokens", "account", f"{there} tokens are there", self._budget.cost_cancel, there)
        if breach is not None:
            self._say_no(worker, intent, breach, now, order)
            return
        assert order is not None, "a cancel without an order was refused"
        if self._waiting.count:
            self._waiting.overtake(order.order, now)
        pauses.cancelled(mono_ns)
        self._commander.cancel(intent, order, mono_ns, peer)

    def cancel_all(self, peer: str, intent: CancelAll, now: Now) -> None:
        """Cancel what a worker has open."""
        worker = self._by_peer[peer]
        if intent.strategy not in (None, worker.slot):
            self.refuse_stranger(peer, "", worker, now)
        else:
            self._desk.sweep(LatchScope(worker.slot, intent.symbol), f"{worker.name} cancels all", now)

    def _used(self, cl_ord_id: str) -> bool:
        # An id of an order that is not over, of any unanswered request (a cancel's too), or of one that waits.
        exposure, waiting = self._exposure, self._waiting
        return (
            cl_ord_id in exposure.orders
            or cl_ord_id in exposure.requests
            or (waiting.count > 0 and waiting.find(cl_ord_id) is not None)
        )

    # -- waiting for tokens

    def _say_no(
        self,
        worker: Worker,
        intent: NewOrder | ReplaceOrder | CancelOrder,
        breach: Breach,
        now: Now,
        order: Order | None = None,
    ) -> None:
        # Refuse; or let wait, when only tokens were missing and the strategy wants that.
        if breach.control != Tokens.name or not worker.queue_ns:
            self._refuse(worker.peer, intent.cl_ord_id, worker, breach, now)
            return
        rank, cost = self._rank(intent)
        if self._leaver is not None:
            self._waiting.put_back(self._leaver, rank, now.mono_ns)
            self._leaver = None
        else:
            self._waiting.add(worker, intent, rank, cost, now, order)

    def _rank(self, intent: NewOrder | ReplaceOrder | CancelOrder) -> tuple[int, int]:
        budget = self._budget
        if isinstance(intent, NewOrder):
            return RANK_NEW, budget.cost_new
        if isinstance(intent, ReplaceOrder):
            return rank_of_replace(self._ask), budget.cost_replace
        return RANK_CANCEL, budget.cost_cancel

    def _waits(
        self,
        worker: Worker,
        intent: NewOrder | ReplaceOrder,
        way: Way,
        now: Now,
        order: Order | None = None,
    ) -> bool:
        # What comes behind others of its strategy that wait is judged when it leaves, not twice; but what no state of
        # now lets pass (a halt, a closed gate) is refused now: it must not be there when that state is over.
        if self._leaver is not None or not worker.queue_ns or not self._waiting.has(worker.slot):
            return False
        for check in self._states:
            if check(self._ask, way) is not None:
                return False
        rank, cost = self._rank(intent)
        self._waiting.add(worker, intent, rank, cost, now, order)
        return True

    def _cancels_waiter(self, worker: Worker, intent: CancelOrder, now: Now) -> bool:
        # A cancel of an order that still waits here: neither leaves.
        waiter = self._waiting.find(intent.orig_cl_ord_id)
        if waiter is None or waiter.worker is not worker or not isinstance(waiter.intent, NewOrder):
            return False
        self._waiting.give_up(waiter, "superseded", "it was cancelled while it waited for tokens", now)
        text = "its order had not left yet and won't"
        self._refuse(
            worker.peer, intent.cl_ord_id, worker, Breach("superseded", f"strategy {worker.name}", text), now
        )
        return True

    def leave(self, waiter: Waiter, now: Now) -> bool:
        """Judge a request that waited, by all that is known now; False when there are no tokens for it after all.

        Its age is what it was when it came: that it waited is what its strategy asked for.
        """
        intent = waiter.intent
        if intent.made_ns:
            made_ns = intent.made_ns + now.mono_ns - waiter.since_ns
            intent = msgspec.structs.replace(intent, made_ns=made_ns)
        self._waiting.taken(waiter, now)
        self._leaver = waiter
        peer = waiter.worker.peer
        if isinstance(intent, NewOrder):
            self.new(peer, intent, now)
        elif isinstance(intent, ReplaceOrder):
            self.replace(peer, intent, now)
        else:
            self.cancel(peer, intent, now)
        left = self._leaver is not None
        self._leaver = None
        return left

    # -- refusals

    def _refuse(self, peer: str, cl_ord_id: str, worker: Worker, breach: Breach, now: Now) -> None:
        self._refusals.say(peer, cl_ord_id, worker.slot, breach, now)
        if breach.control == Repeats.name:
            self._halting.halt(
                LatchScope(worker.slot), f"repeats: {worker.name}: {breach.text}", "guard", now
            )

    def _warn(self, ask: Ask, way: Way, now: Now) -> None:
        for scope in way.scopes:
            for control, value, limit in (
                (MaxQty.name, ask.leaves, scope.max_order_qty),
                (MaxNotional.name, ask.notional, scope.max_order_notional),
            ):
                self._soft.order(scope.text, control, value, limit, now)

    def refuse_stranger(self, peer: str, cl_ord_id: str, worker: Worker | None, now: Now) -> None:
        """Refuse somebody who speaks for a slot that is not its own, or says what its role may not say."""
        self.slot_violations += 1
        slot = worker.slot if worker is not None else SLOT_OPERATOR
        if worker is None or not worker.strangers:
            self._out.log("alert", f"{peer} sent what it may not: ClOrdID {cl_ord_id[:64]!r}")
        if worker is not None:
            worker.strangers += 1
        text = f"{peer} may not send this: it speaks for slot {slot} only"
        self._refusals.say(
            peer, cl_ord_id, slot, Breach("slot", peer, text, slot, slot_of(cl_ord_id) or 0), now
        )

    @staticmethod
    def _misfit(symbol: str, way: Way | None) -> Breach:
        if way is None:
            return Breach("symbol", symbol[:64], f"{symbol[:64]} is not among the strategy's markets")
        return Breach("duplicate", way.scopes[0].text, "this ClOrdID is in use")

    @staticmethod
    def _no_order(worker: Worker, cl_ord_id: str) -> Breach:
        text = f"no open order of this strategy has the id {cl_ord_id[:64]}"
        return Breach("unknown_order", f"strategy {worker.name}", text)
