"""The guard against a slow, independent reading of the same rules, on 20,000 random orders with a random tape between.

The oracle keeps plain lists of orders and fills and sums everything up from the start for every order. It shares no
code with the guard: limits are read from the configuration's text here.
"""

import random
from decimal import Decimal

from engine.messages.commands import Approved

BTC, ETH = "BTC-PERP", "ETH-PERP"
MARKET = {
    BTC: {"collar": 200, "bid": 9900, "ask": 10100},
    ETH: {"collar": 100, "bid": 490_000, "ask": 510_000},
}
OWNED = {1: (BTC, ETH), 2: (BTC,)}


class Oracle:
    def __init__(self, config):
        risk = config.risk
        names = {s.slot: s.limits for s in config.strategies.values()}
        self.limits = {"account": risk.account, **{("m", s): x for s, x in risk.markets.items()}}
        self.limits |= {("s", slot): x for slot, x in names.items()}
        self.live = []  # [slot, symbol, side, price, leaves]
        self.fills = []  # (slot, symbol, signed qty)
        self.top = {symbol: dict(values) for symbol, values in MARKET.items()}

    def held(self, symbol, slot=None):
        return sum(q for s, m, q in self.fills if m == symbol and slot in (None, s))

    def opened(self, symbol, side, slot=None):
        return sum(o[4] for o in self.live if o[1] == symbol and o[2] == side and slot in (None, o[0]))

    def worse(self, symbol, slot=None):
        held = self.held(symbol, slot)
        return max(held + self.opened(symbol, 1, slot), self.opened(symbol, 2, slot) - held)

    def side_after(self, symbol, side, qty, slot=None):
        held = self.held(symbol, slot)
        return (held if side == 1 else -held) + self.opened(symbol, side, slot) + qty

    def gross(self, symbols, slot=None):
        total = 0
        for symbol in symbols:
            mark = (self.top[symbol]["bid"] + self.top[symbol]["ask"]) // 2
            total += abs(self.held(symbol, slot)) * mark
            total += sum(o[3] * o[4] for o in self.live if o[1] == symbol and slot in (None, o[0]))
        return total

    def verdict(self, slot, symbol, side, qty, price):
        """Return the first control that says no, or None."""
        scopes = [
            (("s", slot), OWNED[slot], slot),
            (("m", symbol), (symbol,), None),
            ("account", (BTC, ETH), None),
        ]
        if any(qty > Decimal(self.limits[key].max_order_qty) * 100 for key, _, _ in scopes):
            return "max_qty"
        if any(
            qty * price > Decimal(self.limits[key].max_order_notional) * 1_000_000 for key, _, _ in scopes
        ):
            return "max_notional"
        top, collar = self.top[symbol], Decimal(MARKET[symbol]["collar"]) / 10_000
        if (side == 1 and price > top["ask"] * (1 + collar)) or (
            side == 2 and price < top["bid"] * (1 - collar)
        ):
            return "collar"
        if side == 1 and price < min(top["bid"] * Decimal("0.8"), top["bid"] - 1000):
            return "band"
        if side == 2 and price > max(top["ask"] * Decimal("1.2"), top["ask"] + 1000):
            return "band"
        for other, where, way, at, _ in self.live:
            if (
                where == symbol
                and other != slot
                and way != side
                and (price >= at if side == 1 else price <= at)
            ):
                return "self_cross"
        for key, symbols, who in scopes:
            mine = [o for o in self.live if o[1] in symbols and who in (None, o[0])]
            if len(mine) + 1 > self.limits[key].max_open_orders:
                return "open_orders"
        for key, symbols, who in scopes:
            after = self.side_after(symbol, side, qty, who)
            rest = sum(self.worse(s, who) for s in symbols if s != symbol)
            if after > 0 and rest + after > Decimal(self.limits[key].max_position) * 100:
                return "max_position"
        for key, symbols, who in scopes:
            over = (
                self.gross(symbols, who) + qty * price
                > Decimal(self.limits[key].max_gross_notional) * 1_000_000
            )
            reduces = all(self.side_after(symbol, side, qty, w) <= 0 for w in (slot, None))
            if over and not reduces:
                return "max_gross"
        return None


LIMITS = {
    "max_order_qty": "10", "max_order_notional": "400.00", "max_position": "25", "max_open_orders": 7,
    "max_gross_notional": "900.00", "max_unacknowledged": 1000, "max_loss": "1000000",
}  # fmt: skip
WIDE = {**LIMITS, "max_position": "32", "max_open_orders": 9, "max_gross_notional": "1000.00"}


def random_order(rng, oracle):
    slot = rng.choice((1, 1, 2))
    symbol = rng.choice(OWNED[slot])
    side = rng.choice((1, 2))
    qty = 100 * rng.choice((1, 1, 2, 3, 5, 8, 10, 11))
    top = oracle.top[symbol]
    tick = 100 if symbol == BTC else 1
    middle = (top["bid"] + top["ask"]) // 2
    spread = rng.choice((0.005, 0.02, 0.04, 0.3))
    price = int(middle * (1 + rng.uniform(-spread, spread))) // tick * tick
    return slot, symbol, side, qty, max(price, tick)


def test_the_guard_agrees_with_the_oracle_on_20000_random_orders(make):
    rig = make(
        strategies__alpha__limits=LIMITS, strategies__beta__limits=LIMITS, risk__account=WIDE,
        risk__markets__btc=WIDE, risk__markets__eth=WIDE,
    )  # fmt: skip
    rng = random.Random(20_260_824)
    oracle = Oracle(rig.config)
    alive = []  # (Approved, oracle's row, cum)
    seen = {}
    for step in range(20_000):
        slot, symbol, side, qty, price = random_order(rng, oracle)
        wanted = oracle.verdict(slot, symbol, side, qty, price)
        answer = rig.new(slot=slot, symbol=symbol, side=side, qty=qty, price=price)
        got = None if isinstance(answer, Approved) else answer.control
        assert got == wanted, (step, slot, symbol, side, qty, price)
        seen[got] = seen.get(got, 0) + 1
        if got is None:
            row = [slot, symbol, side, price, qty]
            oracle.live.append(row)
            alive.append([answer, row, 0])
            rig.submitted(answer)
        while alive and (len(alive) > 8 or rng.random() < 0.35):
            at = rng.randrange(len(alive))
            order = alive[at]
            approved, row, cum = order
            if rng.random() < 0.5:
                part = row[4] if rng.random() < 0.5 else max(100, row[4] // 200 * 100)
                order[2] = cum = cum + part
                row[4] -= part
                oracle.fills.append((row[0], row[1], part if row[2] == 1 else -part))
                rig.fill(approved, part, row[3], cum=cum)
            else:
                row[4] = 0
                rig.end(approved, cum_qty=cum)
            if row[4] == 0:
                alive.pop(at)
                oracle.live.remove(row)
        if rng.random() < 0.02:
            at = oracle.top[symbol]
            move = rng.choice((-100, 100)) if symbol == BTC else rng.choice((-3000, 3000))
            if 8000 < at["bid"] + move < 12_000 or 400_000 < at["bid"] + move < 600_000:
                at["bid"], at["ask"] = at["bid"] + move, at["ask"] + move
                rig.top(symbol, at["bid"], at["ask"])
        if len(oracle.fills) > 40:  # sums stay short without changing what they say
            sums = {}
            for who, where, signed in oracle.fills:
                sums[who, where] = sums.get((who, where), 0) + signed
            oracle.fills = [(*key, total) for key, total in sums.items() if total]
    assert set(seen) == {
        None, "max_qty", "max_notional", "collar", "band", "self_cross", "open_orders", "max_position", "max_gross"
    }, seen  # fmt: skip
    assert seen[None] > 2000, seen
