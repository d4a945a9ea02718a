"""Following the tape and taking over a snapshot lead to the same exposure, whatever happened before."""

import random

import pytest

from engine.messages.commands import Approved, CancelOrder, ReplaceOrder
from engine.messages.executions import OrderEvent, PositionState

BTC = "BTC-PERP"
TERMINAL = ("FILLED", "CANCELED", "REJECTED", "NOT_SENT", "EXPIRED")


def sums(rig):
    """Everything that limits look at, scope by scope and line by line."""
    exposure = rig.guard.exposure
    scopes = (exposure.account, *exposure.market_scopes.values(), *exposure.strategies.values())
    lines = {(line.strategy, line.market.symbol): line for line in exposure.all_lines()}
    return (
        {s.text: (s.open_orders, s.gross, s.worst, s.profit) for s in scopes},
        {k: (x.open_buy, x.open_sell, x.open_orders, x.worst, x.position.totals()) for k, x in lines.items()},
        exposure.unknown,
    )


def positions(rig):
    rows = []
    for line in rig.guard.exposure.all_lines():
        p = line.position
        rows.append(
            PositionState(
                symbol=line.market.symbol, strategy=line.strategy, qty=p.qty, cost=p.cost, realised=p.realised,
                fees=p.fees, volume=p.volume, fills=p.fills, buy_qty=p.buy_qty, sell_qty=p.sell_qty, known=True,
            )
        )  # fmt: skip
    return rows


class Venue:
    """A loose order entry: answers approved requests at random, with the whole state in every event."""

    def __init__(self, rig, rng):
        self.rig, self.rng = rig, rng
        self.newest = {}
        self.requests = []
        rig.give = self.spy(rig.give)

    def spy(self, give):
        def inner(message, *more, **kwargs):
            if isinstance(message, OrderEvent):
                self.newest[message.order] = message
            give(message, *more, **kwargs)

        return inner

    def alive(self):
        return [e for e in self.newest.values() if e.state not in TERMINAL]

    def say(self, event, kind, state, **changes):
        names = (
            "cl_ord_id",
            "symbol",
            "side",
            "price",
            "qty",
            "cum_qty",
            "leaves_qty",
            "tif",
            "strategy",
            "new_qty",
            "new_price",
        )
        fields = {name: getattr(event, name) for name in names}
        self.rig.event(kind, state, event.order, **{**fields, **changes})

    def working(self, event):
        return "PARTIALLY_FILLED" if event.cum_qty else "NEW"

    def step(self):
        rng, alive = self.rng, self.alive()
        if rng.random() < 0.45 or not alive:
            answer = self.rig.new(
                side=rng.choice((1, 2)),
                qty=100 * rng.randint(1, 5),
                price=rng.choice((99_00, 100_00, 101_00)),
            )
            if isinstance(answer, Approved):
                self.rig.submitted(answer)
                self.requests.append(("new", answer.request.cl_ord_id, answer.request.cl_ord_id))
            return
        event = rng.choice(alive)
        if self.requests and rng.random() < 0.6:
            self.answer(*self.requests.pop(rng.randrange(len(self.requests))))
        elif rng.random() < 0.5 and event.leaves_qty:
            part = rng.choice((event.leaves_qty, 100))
            cum, left = event.cum_qty + part, event.leaves_qty - part
            state = (
                event.state
                if left and event.state.startswith("PENDING")
                else "PARTIALLY_FILLED"
                if left
                else "FILLED"
            )
            self.say(
                event,
                "trade",
                state,
                cum_qty=cum,
                leaves_qty=left,
                last_qty=part,
                last_px=event.price,
                fee=part,
            )
        elif rng.random() < 0.2:
            self.say(event, "unknown", "UNKNOWN")
            self.say(event, "resolved", "CANCELED", leaves_qty=0)
        else:
            self.request(event)

    def request(self, event):
        rig, rng = self.rig, self.rng
        kind = rng.choice((ReplaceOrder, CancelOrder))
        fields = {
            "cl_ord_id": rig.ids[1](),
            "orig_cl_ord_id": event.cl_ord_id,
            "symbol": BTC,
            "side": event.side,
        }
        if kind is ReplaceOrder:
            fields |= {"qty": 100 * rng.randint(1, 8), "price": rng.choice((99_00, 100_00))}
        rig.out.all.clear()
        rig.give(kind(**fields), "strategy.alpha")
        answer = rig.answer()
        if not isinstance(answer, Approved):
            return
        request = answer.request
        word = "replace" if kind is ReplaceOrder else "cancel"
        new = {"new_qty": request.qty, "new_price": request.price} if word == "replace" else {}
        self.say(event, f"{word}_submitted", f"PENDING_{word.upper()}", request_id=request.cl_ord_id, **new)
        self.requests.append((word, request.cl_ord_id, event.order))

    def answer(self, word, request_id, order):
        event = self.newest[order]
        if event.state in TERMINAL:
            return
        if word == "new":
            self.say(
                event,
                "new",
                event.state if event.state.startswith("PENDING") else self.working(event),
                request_id=request_id,
            )
        elif word == "cancel" and self.rng.random() < 0.5:
            self.say(
                event, "canceled", "CANCELED", request_id=request_id, leaves_qty=0, new_qty=0, new_price=0
            )
        elif word == "replace" and event.new_qty > event.cum_qty and self.rng.random() < 0.6:
            terms = {
                "qty": event.new_qty,
                "price": event.new_price,
                "leaves_qty": event.new_qty - event.cum_qty,
            }
            self.say(
                event,
                "replaced",
                self.working(event),
                request_id=request_id,
                new_qty=0,
                new_price=0,
                cl_ord_id=request_id,
                **terms,
            )
        elif word == "replace":
            self.say(
                event, "replace_rejected", self.working(event), request_id=request_id, new_qty=0, new_price=0
            )
        else:
            state = "PENDING_REPLACE" if event.new_qty else self.working(event)
            self.say(event, f"{word}_rejected", state, request_id=request_id)


@pytest.mark.parametrize("seed", range(12))
def test_a_snapshot_gives_what_following_gave(make, seed):
    """Counted quantities, money and positions agree after a rebuild; and nothing is left when every order is over."""
    wide = {
        "max_order_qty": "10", "max_order_notional": "1000.00", "max_position": "500", "max_open_orders": 80,
        "max_gross_notional": "100000.00", "max_unacknowledged": 500, "max_loss": "100000.00",
    }  # fmt: skip
    rig = make(strategies__alpha__limits=wide, risk__account=wide, risk__markets__btc=wide)
    venue = Venue(rig, random.Random(seed))
    for step in range(250):
        venue.step()
        if step % 50 == 49:
            before = sums(rig)
            rig.guard.following.ask_snapshot(rig.now)
            rig.snapshot(orders=venue.alive(), positions=positions(rig))
            assert sums(rig) == before, step
    for event in venue.alive():
        venue.say(event, "canceled", "CANCELED", leaves_qty=0, new_qty=0)
    exposure = rig.guard.exposure
    assert not (
        exposure.open or exposure.orders or exposure.requests or exposure.reserved or exposure.unknown
    )
    assert exposure.account.unacknowledged == 0 == exposure.strategies[1].unacknowledged
    assert not (exposure.markets[BTC].buys or exposure.markets[BTC].sells)
    assert rig.guard.commander.approved > 60
