"""What workers want: new orders, replaces and cancels, judged and passed on, or refused.

This is the path from tick to order. Everything that can be known before an intent comes is looked up once per strategy
and market (`Way`), what the intent itself adds is worked out once (`Ask`), and then every control has its say.
Cancels skip the controls: they pass in every state.
"""

from engine.common.actor import Outbox
from engine.common.clock import Now
from engine.common.ids import SLOT_OPERATOR, slot_of
from engine.guard.commander import Commander
from engine.guard.desk import Desk
from engine.guard.exposure import Exposure
from engine.guard.kill_switch import CANCEL_AGAIN_NS, LatchScope
from engine.guard.limits import Ask, Breach, Control, Duplicate, Way
from engine.guard.refusals import Refusals
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
    ) -> None:
        self.slot_violations = 0
        self._out = out
        self._checks = tuple(control.check for control in chain)
        self._duplicate = next((control for control in chain if isinstance(control, Duplicate)), None)
        self._ask = Ask()
        self._exposure = exposure
        self._commander = commander
        self._budget = commander.budget
        self._by_peer = workers.by_peer
        self._refusals = refusals
        self._desk = desk

    def new(self, peer: str, intent: NewOrder, now: Now) -> None:
        """Judge a new order."""
        worker = self._by_peer.get(peer)
        cl_ord_id = intent.cl_ord_id
        if worker is None or slot_of(cl_ord_id) != worker.slot:
            self.refuse_stranger(peer, cl_ord_id, worker, now)
            return
        way = worker.ways.get(intent.symbol)
        if way is None or cl_ord_id in self._exposure.orders:
            self._refuse(peer, cl_ord_id, worker, self._misfit(intent.symbol, way), now)
            return
        ask, mono_ns = self._ask, now.mono_ns
        ask.of_new(intent, way, now.wall_ns, mono_ns)
        for check in self._checks:
            breach = check(ask, way)
            if breach is not None:
                self._refuse(peer, cl_ord_id, worker, breach, now)
                return
        self._commander.place(intent, way, mono_ns, peer)
        if self._duplicate is not None:
            self._duplicate.passed(ask, way)

    def replace(self, peer: str, intent: ReplaceOrder, now: Now) -> None:
        """Judge a replace."""
        worker = self._by_peer.get(peer)
        cl_ord_id = intent.cl_ord_id
        if worker is None or slot_of(cl_ord_id) != worker.slot:
            self.refuse_stranger(peer, cl_ord_id, worker, now)
            return
        way = worker.ways.get(intent.symbol)
        order = self._exposure.orders.get(intent.orig_cl_ord_id)
        if way is None or order is None or order.slot != worker.slot or cl_ord_id in self._exposure.orders:
            known = way is None or (order is not None and order.slot == worker.slot)
            breach = (
                self._misfit(intent.symbol, way) if known else self._no_order(worker, intent.orig_cl_ord_id)
            )
            self._refuse(peer, cl_ord_id, worker, breach, now)
            return
        ask = self._ask
        ask.of_replace(intent, order, way, now.wall_ns, now.mono_ns)
        for check in self._checks:
            breached = check(ask, way)
            if breached is not None:
                self._refuse(peer, cl_ord_id, worker, breached, now)
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
        if order is None or order.slot != worker.slot:
            breach = self._no_order(worker, intent.orig_cl_ord_id)
        elif intent.symbol != order.market.symbol or intent.side != order.side:
            breach = Breach("form", scope, "side and market of a cancel must be its order's")
        elif cl_ord_id in exposure.requests or cl_ord_id in exposure.orders:
            breach = Breach("duplicate", scope, "this ClOrdID is in use")
        elif order.cancel_ns and mono_ns - order.cancel_ns < CANCEL_AGAIN_NS:
            breach = Breach("duplicate", scope, "the order has a cancel in flight")
        elif not self._budget.take_cancel(mono_ns):
            there = self._budget.available(mono_ns)
            breach = Breach("tokens", "account", f"{there} tokens are there", self._budget.cost_cancel, there)
        if breach is not None:
            self._refuse(peer, cl_ord_id, worker, breach, now)
            return
        assert order is not None, "a cancel without an order was refused"
        self._commander.cancel(intent, order, mono_ns, peer)

    def cancel_all(self, peer: str, intent: CancelAll, now: Now) -> None:
        """Cancel what a worker has open."""
        worker = self._by_peer[peer]
        if intent.strategy not in (None, worker.slot):
            self.refuse_stranger(peer, "", worker, now)
        else:
            self._desk.sweep(LatchScope(worker.slot, intent.symbol), f"{worker.name} cancels all", now)

    # -- refusals

    def _refuse(self, peer: str, cl_ord_id: str, worker: Worker, breach: Breach, now: Now) -> None:
        self._refusals.say(peer, cl_ord_id, worker.slot, breach, now)

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
