"""ClOrdIDs are the workers' to choose: used twice, in any order, they are refused, and leave nothing behind."""

import random

import pytest

from engine.common.ids import ClOrdIDs
from engine.messages.commands import (
    Approved,
    Arm,
    CancelAll,
    CancelOrder,
    Halt,
    MassCancel,
    NewOrder,
    NotAccepted,
    Refused,
    ReplaceOrder,
)

BTC = "BTC-PERP"
PEERS = {1: "strategy.alpha", 2: "strategy.beta"}
RATE = {
    "tier": "explicit", "write_per_s": 2000, "write_capacity": 400, "cost": 10, "cancel_reserve_percent": 20,
}  # fmt: skip


def cancel(rig, approved):
    """Send a cancel of an own order; return its id."""
    cl_ord_id = rig.ids[1]()
    rig.give(
        CancelOrder(cl_ord_id=cl_ord_id, orig_cl_ord_id=approved.request.cl_ord_id, symbol=BTC, side=1),
        PEERS[1],
    )
    assert len(rig.take(Approved)) == 1
    return cl_ord_id


def test_the_id_of_a_cancel_in_flight_is_no_new_orders(rig):
    order = rig.rest(price=99_00)
    used = cancel(rig, order)
    rig.give(NewOrder(cl_ord_id=used, symbol=BTC, side=1, qty=100, price=98_00), PEERS[1])
    assert [(m.cl_ord_id, m.control) for m in rig.take(Refused)] == [(used, "duplicate")]
    rig.event("canceled", "CANCELED", order.request.cl_ord_id, request_id=used, **rig.terms(order))
    assert not rig.guard.exposure.requests and not rig.guard.exposure.account.open_orders


def test_the_id_of_a_cancel_in_flight_is_no_replaces(rig):
    order = rig.rest(price=99_00)
    used = cancel(rig, order)
    rig.give(
        ReplaceOrder(
            cl_ord_id=used, orig_cl_ord_id=order.request.cl_ord_id, symbol=BTC, side=1, qty=100, price=98_00
        ),
        PEERS[1],
    )
    assert [(m.cl_ord_id, m.control) for m in rig.take(Refused)] == [(used, "duplicate")]
    rig.event("unknown", "UNKNOWN", order.request.cl_ord_id, leaves_qty=100, **rig.terms(order))
    rig.end(order)
    assert not rig.guard.exposure.open


def test_an_answer_to_an_old_request_is_no_answer_to_a_new_order_of_its_id(rig):
    """A snapshot forgot the cancel in flight; its answer must not answer the new order that has its id now."""
    order = rig.rest(price=99_00)
    used = cancel(rig, order)
    rig.event("cancel_submitted", "NEW", order.request.cl_ord_id, request_id=used, **rig.terms(order))
    del rig.guard.exposure.requests[used]
    rig.guard.exposure.open[order.request.cl_ord_id].pending.clear()
    rig.give(NewOrder(cl_ord_id=used, symbol=BTC, side=1, qty=100, price=98_00), PEERS[1])
    (again,) = rig.take(Approved)
    rig.event("cancel_rejected", "NEW", order.request.cl_ord_id, request_id=used, **rig.terms(order))
    rig.give(NotAccepted(epoch=again.epoch, no=again.no, reason="duplicate", cl_ord_id=used, text="used"))
    assert list(rig.guard.exposure.open) == [order.request.cl_ord_id]


def test_a_refusal_of_an_older_epoch_gives_nothing_up_that_has_its_id_now(rig):
    refused = rig.new(price=99_00)
    rig.give(NotAccepted(epoch=refused.epoch, no=refused.no, reason="session", cl_ord_id="", text=""))
    rig.guard.following.new_epoch("test", rig.now)
    rig.accept()
    rig.snapshot()
    rig.out.all.clear()
    rig.give(refused.request, PEERS[1])
    assert isinstance(rig.answer(), Approved)
    rig.give(
        NotAccepted(
            epoch=refused.epoch, no=refused.no, reason="epoch", cl_ord_id=refused.request.cl_ord_id, text=""
        )
    )
    assert list(rig.guard.exposure.open) == [refused.request.cl_ord_id]


class OrderEntry:
    """Order entry and the venue behind it, as far as ids go: takes commands in order, late; answers in any order."""

    def __init__(self, rig, rng):
        self.rig, self.rng = rig, rng
        self.used, self.chain, self.terms = set(), {}, {}
        self.commands, self.asked, self.last = [], [], {}
        self.epoch = rig.guard.commander.epoch

    def hear(self):
        """Take what the guard approved; return what it answered to the workers."""
        found = self.rig.take()
        self.commands += [m for m in found if isinstance(m, Approved)]
        return [m for m in found if isinstance(m, Refused)]

    def refuse(self, command, reason):
        request = command.request
        self.rig.give(
            NotAccepted(
                epoch=command.epoch, no=command.no, reason=reason, cl_ord_id=request.cl_ord_id, text=reason
            )
        )

    def tell(self, kind, root, request_id="", state=None):
        terms = self.terms[root]
        terms["state"] = terms["state"] if terms["state"] == "CANCELED" else state or terms["state"]
        shown = {k: v for k, v in terms.items() if k != "state"}
        leaves = 0 if terms["state"] == "CANCELED" else terms["qty"]
        self.last[root] = self.rig.event(
            kind, terms["state"], root, request_id=request_id, leaves_qty=leaves, **shown
        )

    def take(self):
        """Take the next command."""
        command = self.commands.pop(0)
        request = command.request
        cl_ord_id = request.cl_ord_id
        if isinstance(request, MassCancel) or command.epoch != self.epoch:
            self.refuse(command, "session" if command.epoch == self.epoch else "epoch")
            return
        new = isinstance(request, NewOrder)
        root = cl_ord_id if new else self.chain.get(request.orig_cl_ord_id)
        closed = ("CANCELED", "UNKNOWN") if isinstance(request, ReplaceOrder) else ("CANCELED",)
        if cl_ord_id in self.used:
            self.refuse(command, "duplicate")
        elif root is None or (not new and self.terms[root]["state"] in closed):
            self.refuse(command, "unknown_order")
        else:
            self.used.add(cl_ord_id)
            if new:
                self.terms[root] = {**self.rig.terms(command), "state": "SUBMITTING"}
            if not isinstance(request, CancelOrder):
                self.chain[cl_ord_id] = root
            kind = {NewOrder: "submitted", ReplaceOrder: "replace_submitted", CancelOrder: "cancel_submitted"}
            self.tell(kind[type(request)], root, cl_ord_id)
            self.asked.append((request, root))

    def answer(self):
        """Answer one of the requests, well or badly."""
        request, root = self.asked.pop(self.rng.randrange(len(self.asked)))
        terms, well = self.terms[root], self.rng.random() < 0.6
        over, cl_ord_id = terms["state"] == "CANCELED", request.cl_ord_id
        if isinstance(request, NewOrder):
            self.tell("new" if well else "rejected", root, cl_ord_id, "NEW" if well else "CANCELED")
        elif isinstance(request, CancelOrder):
            done = well and not over
            self.tell(
                "canceled" if done else "cancel_rejected", root, cl_ord_id, "CANCELED" if done else "NEW"
            )
        else:
            done = well and not over
            if done:
                terms.update(cl_ord_id=cl_ord_id, price=request.price, qty=request.qty)
            self.tell("replaced" if done else "replace_rejected", root, cl_ord_id, "NEW")

    def lose(self):
        """The outcome of some order is unknown."""
        roots = [root for root, terms in self.terms.items() if terms["state"] != "CANCELED"]
        if roots:
            self.tell("unknown", self.rng.choice(roots), state="UNKNOWN")

    def find_out(self):
        """What was unknown is known."""
        for root, terms in self.terms.items():
            if terms["state"] == "UNKNOWN":
                self.tell("resolved", root, state="NEW")

    def follow(self):
        """Follow a new epoch of the guard, and say what is open."""
        self.rig.guard.following.new_epoch("test", self.rig.now)
        self.hear()
        self.epoch = self.rig.guard.commander.epoch
        self.rig.accept()
        self.hear()
        still = [self.last[root] for root, terms in self.terms.items() if terms["state"] != "CANCELED"]
        self.rig.snapshot(orders=still)

    def finish(self):
        """Take and answer everything, and end every order."""
        while self.commands or self.asked or self.rig.guard.waiting.count or self.rig.guard.halting.sweeps:
            self.hear()
            while self.commands:
                self.take()
            while self.asked:
                self.answer()
            self.rig.wait(20)
        for root, terms in self.terms.items():
            if terms["state"] != "CANCELED":
                self.tell("canceled", root, state="CANCELED")


def worker_says(rng, ids):
    """Return any message of a worker, its ids drawn from a few."""
    one, other = rng.choice(ids), rng.choice(ids)
    price = rng.choice((98_00, 99_00))
    qty = rng.choice((100, 200))
    what = rng.randrange(40)
    if what < 14:
        return NewOrder(cl_ord_id=one, symbol=BTC, side=1, qty=qty, price=price)
    if what < 24:
        return ReplaceOrder(cl_ord_id=one, orig_cl_ord_id=other, symbol=BTC, side=1, qty=qty, price=price)
    if what < 39:
        return CancelOrder(cl_ord_id=one, orig_cl_ord_id=other, symbol=BTC, side=1)
    return CancelAll(strategy=rng.choice((None, 1, 2)))


@pytest.mark.parametrize("seed", range(40))
def test_any_ids_in_any_order_leave_nothing_behind(make, seed):
    """Ids of the other slot, of cancels, of what waits, is over or in doubt: all is answered, nothing stays held."""
    rng = random.Random(seed)
    rig = make(rate=RATE, strategies__alpha__over_budget="queue", strategies__alpha__queue_ms=500)
    rig.wait(1300)
    rig.out.all.clear()
    entry = OrderEntry(rig, rng)
    fresh = {slot: ClOrdIDs(slot, 1_800_000_000_000, seed) for slot in PEERS}
    ids = [fresh[slot]() for slot in PEERS for _ in range(6)]
    for _ in range(200):
        slot = rng.choice((1, 2))
        if rng.random() < 0.3:
            ids[slot * 6 - 1 - rng.randrange(6)] = fresh[slot]()
        own = ids if rng.random() < 0.1 else ids[slot * 6 - 6 : slot * 6]
        rig.give(worker_says(rng, own), PEERS[slot])
        entry.hear()
        while entry.commands and rng.random() < 0.5:
            entry.take()
        while entry.asked and rng.random() < 0.3:
            entry.answer()
        if rng.random() < 0.03:
            entry.lose()
        if rng.random() < 0.3:
            entry.find_out()
        if rng.random() < 0.02:
            entry.follow()
        if rng.random() < 0.02:
            rig.give(Halt(request_id="h", who="me", why="test", strategy=slot), "tool.ctl")
            entry.hear()
        if rng.random() < 0.1:
            rig.give(Arm(request_id="a", who="me", why="test", strategy=slot), "tool.ctl")
        if rng.random() < 0.3:
            rig.wait(20)
    entry.finish()
    exposure = rig.guard.exposure
    assert not exposure.open and not exposure.orders and not exposure.requests and not exposure.reserved
    assert exposure.unknown == 0 and rig.guard.waiting.count == 0
    scopes = (exposure.account, *exposure.market_scopes.values(), *exposure.strategies.values())
    assert {(s.open_orders, s.unacknowledged, s.gross) for s in scopes} == {(0, 0, 0)}
    assert rig.guard.budget.pending == 0
