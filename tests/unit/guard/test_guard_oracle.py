"""The guard against a slow, independent reading of the same rules, on random orders and replaces with a random tape between.

The oracle keeps plain lists of orders and fills and sums everything up from the start for every request. It shares no
code with the guard: limits are read from the configuration's text here. 100,000 requests are a soak; the suite has 10,000.
"""

import random
from decimal import Decimal

import pytest
from msgspec import structs

from engine.messages.commands import Approved, NewOrder, ReplaceOrder

BTC, ETH = "BTC-PERP", "ETH-PERP"
MARKET = {
    BTC: {"collar": 200, "bid": 9900, "ask": 10100},
    ETH: {"collar": 100, "bid": 490_000, "ask": 510_000},
}
OWNED = {1: (BTC, ETH), 2: (BTC,)}
DUPLICATE_MS = 40
COLLATERAL, STOP, RATE = 110_000_000, 90, 1000


class Row:
    """One order that is not over, as the oracle knows it."""

    def __init__(self, key, slot, symbol, side, price, total):
        self.key, self.slot, self.symbol, self.side = key, slot, symbol, side
        self.price, self.total, self.cum = price, total, 0
        self.asked = None  # (price, total, id) of a replace without an answer
        self.quiet = True  # nothing was heard of it yet

    @property
    def leaves(self):
        """The larger of old and new."""
        new = self.asked[1] - self.cum if self.asked else 0
        return max(self.total - self.cum, new)

    @property
    def money(self):
        new = (self.asked[1] - self.cum) * self.asked[0] if self.asked else 0
        return max((self.total - self.cum) * self.price, new)

    def prices(self):
        return (self.price, self.asked[0]) if self.asked else (self.price,)


class Oracle:
    def __init__(self, config):
        risk = config.risk
        names = {s.slot: s.limits for s in config.strategies.values()}
        self.limits = {"account": risk.account, **{("m", s): x for s, x in risk.markets.items()}}
        self.limits |= {("s", slot): x for slot, x in names.items()}
        self.live = []
        self.held_by = {}  # (slot, symbol) to signed quantity
        self.books = {BTC: [0, 0], ETH: [0, 0]}  # quantity and cost of the account, at average cost
        self.passed = []  # (slot, symbol, side, price, qty, ms)
        self.top = {symbol: dict(values) for symbol, values in MARKET.items()}

    # -- what happened

    def filled(self, row, qty, price):
        signed = qty if row.side == 1 else -qty
        key = row.slot, row.symbol
        self.held_by[key] = self.held_by.get(key, 0) + signed
        book = self.books[row.symbol]
        held, cost = book
        if held * signed >= 0:
            book[:] = [held + signed, cost + signed * price]
            return
        closed = min(abs(signed), abs(held))
        kept = (
            0 if closed == abs(held) else cost - (abs(cost) * closed // abs(held)) * (1 if cost > 0 else -1)
        )
        rest = abs(signed) - closed
        way = 1 if signed > 0 else -1
        book[:] = [held + way * closed, kept] if not rest else [way * rest, way * rest * price]

    # -- sums

    def held(self, symbol, slot=None):
        return sum(q for (s, m), q in self.held_by.items() if m == symbol and slot in (None, s))

    def mine(self, symbols, slot):
        return [o for o in self.live if o.symbol in symbols and slot in (None, o.slot)]

    def opened(self, symbol, side, slot=None):
        return sum(o.leaves for o in self.mine((symbol,), slot) if o.side == side)

    def worse(self, symbol, slot=None):
        held = self.held(symbol, slot)
        return max(held + self.opened(symbol, 1, slot), self.opened(symbol, 2, slot) - held)

    def side_after(self, symbol, side, qty, slot=None):
        held = self.held(symbol, slot)
        return (held if side == 1 else -held) + self.opened(symbol, side, slot) + qty

    def mark(self, symbol):
        return (self.top[symbol]["bid"] + self.top[symbol]["ask"]) // 2

    def gross(self, symbols, slot=None):
        total = sum(abs(self.held(symbol, slot)) * self.mark(symbol) for symbol in symbols)
        return total + sum(o.money for o in self.mine(symbols, slot))

    def requests(self, symbols, slot):
        return sum(o.quiet + (o.asked is not None) for o in self.mine(symbols, slot))

    # -- the verdict

    def verdict(self, slot, symbol, side, qty, price, ms, row=None):
        """Return the first control that says no to a new order, or to a replace of `row`, or None."""
        leaves = qty if row is None else qty - row.cum
        if row is not None and (leaves <= 0 or row.asked):
            return "form"
        scopes = [
            (("s", slot), OWNED[slot], slot),
            (("m", symbol), (symbol,), None),
            ("account", (BTC, ETH), None),
        ]
        if any(leaves > Decimal(self.limits[key].max_order_qty) * 100 for key, _, _ in scopes):
            return "max_qty"
        if any(
            leaves * price > Decimal(self.limits[key].max_order_notional) * 1_000_000 for key, _, _ in scopes
        ):
            return "max_notional"
        told = self.of_price(slot, symbol, side, price)
        if told:
            return told
        if row is None and any(
            key == (slot, symbol, side, price, qty) and ms - at < DUPLICATE_MS
            for *key_, at in self.passed
            for key in [tuple(key_)]
        ):
            return "duplicate"
        for key, symbols, who in scopes:
            if row is None and len(self.mine(symbols, who)) + 1 > self.limits[key].max_open_orders:
                return "open_orders"
        for key, symbols, who in scopes:
            if self.requests(symbols, who) + 1 > self.limits[key].max_unacknowledged:
                return "unacknowledged"
        more = leaves if row is None else max(0, leaves - row.leaves)
        money = leaves * price if row is None else max(0, leaves * price - row.money)
        return self.of_stake(scopes, slot, symbol, side, price, more, money)

    def of_price(self, slot, symbol, side, price):
        top, collar = self.top[symbol], Decimal(MARKET[symbol]["collar"]) / 10_000
        if (side == 1 and price > top["ask"] * (1 + collar)) or (
            side == 2 and price < top["bid"] * (1 - collar)
        ):
            return "collar"
        if side == 1 and price < min(top["bid"] * Decimal("0.8"), top["bid"] - 1000):
            return "band"
        if side == 2 and price > max(top["ask"] * Decimal("1.2"), top["ask"] + 1000):
            return "band"
        for other in self.live:
            if other.symbol == symbol and other.slot != slot and other.side != side:
                at = max(other.prices()) if other.side == 1 else min(other.prices())
                if price >= at if side == 1 else price <= at:
                    return "self_cross"
        return None

    def of_stake(self, scopes, slot, symbol, side, price, more, money):
        for key, symbols, who in scopes:
            after = self.side_after(symbol, side, more, who)
            rest = sum(self.worse(s, who) for s in symbols if s != symbol)
            if more and after > 0 and rest + after > Decimal(self.limits[key].max_position) * 100:
                return "max_position"
        for key, symbols, who in scopes:
            over = self.gross(symbols, who) + money > Decimal(self.limits[key].max_gross_notional) * 1_000_000
            reduces = all(self.side_after(symbol, side, more, w) <= 0 for w in (slot, None))
            if money and over and not reduces:
                return "max_gross"
        added = self.side_after(symbol, side, more) - self.worse(symbol)
        if added > 0:
            due = sum(self.worse(s) * self.mark(s) * RATE for s in (BTC, ETH)) // 10_000
            due += added * max(price, self.mark(symbol)) * RATE // 10_000
            equity = COLLATERAL + sum(q * self.mark(s) - c for s, (q, c) in self.books.items())
            if due > equity * STOP // 100:
                return "margin"
        return None


LIMITS = {
    "max_order_qty": "10", "max_order_notional": "400.00", "max_position": "25", "max_open_orders": 7,
    "max_gross_notional": "1200.00", "max_unacknowledged": 5, "max_loss": "1000000",
}  # fmt: skip
WIDE = {
    **LIMITS,
    "max_position": "40",
    "max_open_orders": 9,
    "max_gross_notional": "1700.00",
    "max_unacknowledged": 7,
}


def random_price(rng, oracle, symbol):
    tick = 100 if symbol == BTC else 1
    spread = rng.choice((0.005, 0.02, 0.04, 0.3))
    price = int(oracle.mark(symbol) * (1 + rng.uniform(-spread, spread))) // tick * tick
    return max(price, tick)


class Tape:
    """Says what becomes of the orders: to the guard by events, to the oracle by its rows."""

    def __init__(self, rig, oracle, rng):
        self.rig, self.oracle, self.rng = rig, oracle, rng

    def say(self, row, kind, state, **more):
        asked = {"new_price": row.asked[0], "new_qty": row.asked[1]} if row.asked else {}
        fields = {
            "strategy": row.slot, "symbol": row.symbol, "side": row.side, "price": row.price, "qty": row.total,
            "cum_qty": row.cum, "leaves_qty": row.total - row.cum, "cl_ord_id": row.key, **asked, **more,
        }  # fmt: skip
        self.rig.event(kind, state, row.key, **fields)

    def working(self, row):
        if row.asked:
            return "PENDING_REPLACE"
        return "PARTIALLY_FILLED" if row.cum else "NEW"

    def happen(self):
        """Let something happen to one order."""
        rng, oracle = self.rng, self.oracle
        row = rng.choice(oracle.live)
        dice = rng.random()
        if row.asked and dice < 0.5:
            self.answer(row)
        elif row.quiet and dice < 0.4:
            row.quiet = False
            self.say(row, "new", self.working(row), request_id=row.key)
        elif dice < 0.7:
            self.fill(row)
        else:
            oracle.live.remove(row)
            row.asked = None
            self.say(row, "canceled", "CANCELED", leaves_qty=0)

    def answer(self, row):
        price, total, request_id = row.asked
        row.asked, row.quiet = None, False
        if total > row.cum and self.rng.random() < 0.7:
            row.price, row.total = price, total
            self.say(row, "replaced", self.working(row), request_id=request_id, cl_ord_id=request_id)
        else:
            self.say(row, "replace_rejected", self.working(row), request_id=request_id)

    def fill(self, row):
        left = row.total - row.cum
        part = left if self.rng.random() < 0.5 else max(100, left // 200 * 100)
        row.cum += part
        row.quiet = False
        self.oracle.filled(row, part, row.price)
        over = row.cum == row.total
        if over:
            self.oracle.live.remove(row)
            row.asked = None
        self.say(
            row, "trade", "FILLED" if over else self.working(row), last_qty=part, last_px=row.price, exec_id=f"1;{self.rig.tape_no}"
        )  # fmt: skip

    def move(self, symbol):
        at = self.oracle.top[symbol]
        step = self.rng.choice((-100, 100)) if symbol == BTC else self.rng.choice((-3000, 3000))
        if 8000 < at["bid"] + step < 12_000 or 400_000 < at["bid"] + step < 600_000:
            at["bid"], at["ask"] = at["bid"] + step, at["ask"] + step
            self.rig.top(symbol, at["bid"], at["ask"])


def agree(make, count, seed):
    """Ask the guard and the oracle `count` times; return how often each control said no."""
    rig = make(
        strategies__alpha__limits=LIMITS, strategies__beta__limits=LIMITS, risk__account=WIDE,
        risk__markets__btc=WIDE, risk__markets__eth=WIDE, risk__duplicate_window_ms=DUPLICATE_MS,
        margin__collateral="110.00", margin__stop_percent=STOP,
        instruments__btc={"tick": "0.0100", "collar_bp": 200, "initial_margin_bp": RATE},
        instruments__eth={"collar_bp": 100, "initial_margin_bp": RATE},
    )  # fmt: skip
    rng = random.Random(seed)
    oracle = Oracle(rig.config)
    tape = Tape(rig, oracle, rng)
    seen = {}
    for step in range(count):
        if rng.random() < 0.3:
            rig.now = structs.replace(
                rig.now, mono_ns=rig.now.mono_ns + 5_000_000, wall_ns=rig.now.wall_ns + 5_000_000
            )
            rig.beats()
        ms = rig.now.mono_ns // 1_000_000
        slot = rng.choice((1, 1, 2))
        open_ones = [o for o in oracle.live if o.slot == slot and not o.quiet]
        row = rng.choice(open_ones) if open_ones and rng.random() < 0.3 else None
        symbol = row.symbol if row else rng.choice(OWNED[slot])
        side = row.side if row else rng.choice((1, 2))
        qty = 100 * rng.choice((1, 1, 2, 3, 5, 8, 10, 11))
        price = random_price(rng, oracle, symbol)
        wanted = oracle.verdict(slot, symbol, side, qty, price, ms, row)
        answer = ask(rig, slot, symbol, side, qty, price, row)
        got = None if isinstance(answer, Approved) else answer.control
        assert got == wanted, (step, slot, symbol, side, qty, price, row and vars(row))
        assert got is None or (answer.text and answer.scope), answer
        seen[got, row is not None] = seen.get((got, row is not None), 0) + 1
        if got is None:
            accept(rig, oracle, tape, answer.request, slot, row, ms)
        while oracle.live and (len(oracle.live) > 9 or rng.random() < 0.4):
            tape.happen()
        if rng.random() < 0.02:
            tape.move(symbol)
        oracle.passed = [p for p in oracle.passed if ms - p[5] < DUPLICATE_MS]
    return seen


def ask(rig, slot, symbol, side, qty, price, row):
    rig.out.all.clear()
    fields = {"cl_ord_id": rig.ids[slot](), "symbol": symbol, "side": side, "qty": qty, "price": price}
    intent = NewOrder(**fields) if row is None else ReplaceOrder(orig_cl_ord_id=row.key, **fields)
    rig.give(intent, {1: "strategy.alpha", 2: "strategy.beta"}[slot])
    return rig.answer()


def accept(rig, oracle, tape, request, slot, row, ms):
    if row is None:
        row = Row(request.cl_ord_id, slot, request.symbol, request.side, request.price, request.qty)
        oracle.live.append(row)
        oracle.passed.append((slot, row.symbol, row.side, row.price, row.total, ms))
        tape.say(row, "submitted", "SUBMITTING", request_id=request.cl_ord_id)
    else:
        row.asked = (request.price, request.qty, request.cl_ord_id)
        tape.say(row, "replace_submitted", "PENDING_REPLACE", request_id=request.cl_ord_id)


EVERY = {
    None, "max_qty", "max_notional", "collar", "band", "self_cross", "duplicate", "open_orders", "unacknowledged",
    "max_position", "max_gross", "margin",
}  # fmt: skip


def test_the_guard_agrees_with_the_oracle_on_10000_random_orders(make):
    seen = agree(make, 10_000, 20_260_824)
    assert {control for control, _ in seen} >= EVERY, seen
    assert seen[None, False] > 500 and seen[None, True] > 200, seen


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_the_guard_agrees_with_the_oracle_on_100000_random_orders(make):
    seen = agree(make, 100_000, 1)
    print(seen)
