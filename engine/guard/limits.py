"""All pre-trade controls, in the order in which they run.

Whether they can be held at all is `check_config`, which lives in `check.py` and is given on from here.

Each control is a small class with its own configuration and one method, `check`, that answers None or a `Breach`: a
value, never an exception. A control reads the ask (what an intent wants, worked out once), the way (everything that
belongs to one strategy in one market, looked up once) and the time; none of them changes anything, but the tokens,
which are taken and therefore run last. What passed is remembered for the duplicate throttle after that.

Replaces run through the same controls as new orders. Their size is what they leave open (the new total less what is
filled); on what is at stake they are judged by what they add: the larger of old and new less what is counted already. A request that can only reduce what is at stake passes the limits on stakes, so that a scope
that is outside a limit (foreign fills, a tightened limit) can be brought back, and only that.
"""

from collections import deque
from typing import Final

from engine.common.clock import MS, SECOND
from engine.config import BreakersConfig, RiskConfig
from engine.guard.ask import Ask, Breach, Control, Way
from engine.guard.check import check_config
from engine.guard.exposure import Exposure
from engine.guard.gate import Gate
from engine.guard.lines import Scope
from engine.guard.markets import BP, BUY, SELL
from engine.guard.rate_limit import RANK_NEW, RANK_REDUCING, RANK_REPLACE, WriteBudget
from engine.messages.commands import NewOrder, TimeInForce
from engine.messages.executions import OrderState

__all__ = ["Ask", "Breach", "Control", "Duplicate", "Way", "check_config", "controls", "way_of"]

BAND_TICKS: Final = 1000  # venue.md section 4, price bands: 1000 ticks of 0.0001
GROUP_MAX: Final = 64
RECENT_MAX: Final = 4096
PRICE_FORM_MAX: Final = 10**12  # far above any price, far below what 64 bits hold
TIMES_IN_FORCE: Final = frozenset(tif.value for tif in TimeInForce)
GTD: Final = TimeInForce.GTD.value
IMMEDIATE: Final = frozenset({TimeInForce.IOC.value, TimeInForce.FOK.value})


class Halted:
    """Protects from trading on after somebody, or a trip, said stop: latches of account, strategy and market.

    Source: design section 9, kill switch; scenario INV5. No unit.
    """

    name = "halted"

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def check(self, ask: Ask, way: Way) -> Breach | None:  # noqa: ARG002
        if self._gate.halted:
            return Breach(self.name, "account", f"everything is halted: {self._gate.halted}")
        if way.latched:
            return Breach(self.name, way.scopes[0].text, f"{way.scopes[0].text} is halted: {way.latched}")
        if way.market.latched:
            return Breach(
                self.name, way.scopes[1].text, f"{way.scopes[1].text} is halted: {way.market.latched}"
            )
        return None


class Trading:
    """Protects from orders while the engine can't follow them: the gate, and the age of order entry's last beat.

    Source: design section 2, engine states. Unit: ns of silence.
    """

    name = "gate"

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def check(self, ask: Ask, way: Way) -> Breach | None:
        gate = self._gate
        if not gate.open:
            why = "; ".join(gate.reasons) or "not evaluated yet"
            return Breach(self.name, "account", f"the gate is {gate.state}: {why}")
        silent_ns = ask.mono_ns - gate.order_entry_ns
        if silent_ns > gate.order_entry_silent_ns:
            text = f"order entry is silent for {silent_ns // MS} ms"
            return Breach(self.name, "account", text, gate.order_entry_silent_ns, silent_ns)
        if way.silent:
            return Breach("silent", way.scopes[0].text, f"{way.scopes[0].text}: {way.silent}")
        return None


class Fresh:
    """Protects from trading on a book that nobody sees any more: market known, feed fresh, book LIVE, position known.

    Source: design section 2; venue.md section 5 (no retransmission: only a fresh snapshot is the truth).
    Unit: ns of silence.
    """

    name = "market"

    def __init__(self, gate: Gate, risk: RiskConfig) -> None:
        self._gate = gate
        self._stale_ns = risk.stale_feed_ms * MS

    def check(self, ask: Ask, way: Way) -> Breach | None:
        market, scope = way.market, way.scopes[1].text
        silent_ns = ask.mono_ns - self._gate.feed_ns
        if silent_ns > self._stale_ns:
            return Breach(
                self.name, scope, f"market data is silent for {silent_ns // MS} ms", self._stale_ns, silent_ns
            )
        if not market.usable:
            why = (
                market.state.value if market.bid or market.ask else f"{market.state.value}, both sides empty"
            )
            return Breach(self.name, scope, f"the book of {market.symbol} can't be traded on: {why}")
        if market.top_ns < self._gate.pauses.fresh_ns:
            return Breach(self.name, scope, f"after a pause: no book of {market.symbol} was told since")
        if not market.position_known:
            return Breach(self.name, scope, f"no opening position of {market.symbol} is known")
        if market.doubt:
            return Breach(self.name, scope, market.doubt)
        return None


class Form:
    """Protects the venue's price and quantity form, and the wire from text that isn't harmless.

    Whole contracts, prices on the market's tick, known codes, a GTD in the future (a past one would act as IOC).
    Source: venue.md section 4. Units: 1/100 contract, 1/10000 dollar.
    """

    name = "form"

    def check(self, ask: Ask, way: Way) -> Breach | None:
        market, qty, price = way.market, ask.qty, ask.price
        if qty <= 0 or qty % market.lot or qty > PRICE_FORM_MAX:
            return self._no(
                way, f"quantity {qty} is not a positive multiple of {market.lot}", market.lot, qty
            )
        if price <= 0 or price % market.tick or price > PRICE_FORM_MAX:
            return self._no(
                way, f"price {price} is not a positive multiple of the tick {market.tick}", market.tick, price
            )
        if ask.side not in (BUY, SELL):
            return self._no(way, f"side {ask.side} is neither 1 nor 2", 0, ask.side)
        new = ask.new
        return self._new(new, ask, way) if new is not None else self._replace(ask, way)

    def _new(self, new: NewOrder, ask: Ask, way: Way) -> Breach | None:
        tif = new.tif
        if tif not in TIMES_IN_FORCE:
            return self._no(way, f"time in force {tif[:8]!r} is not one of the venue's")
        if tif == GTD and new.expire_ns <= ask.wall_ns:
            return self._no(way, "a GTD order must expire in the future", ask.wall_ns, new.expire_ns)
        if new.post_only and tif in IMMEDIATE:
            return self._no(way, "post only and immediate contradict each other")
        if new.stp not in (1, 2):
            return self._no(way, f"self-trade prevention {new.stp} is neither 1 nor 2", 0, new.stp)
        group = new.group
        if group and (len(group) > GROUP_MAX or not group.isascii() or not group.isprintable()):
            return self._no(way, "the order group's id is not printable ASCII of at most 64 characters")
        return None

    def _replace(self, ask: Ask, way: Way) -> Breach | None:
        order = ask.order
        assert order is not None, "a replace has its order"
        if ask.side != order.side or way.market is not order.market:
            return self._no(way, "a replace can't change side or market")
        if ask.leaves <= 0:
            return self._no(
                way, f"the new total is not above the {order.cum} that are filled", order.cum, ask.qty
            )
        if order.new_qty or order.state is OrderState.UNKNOWN:
            return self._no(way, "the order has a replace in flight or an unknown outcome")
        return None

    def _no(self, way: Way, text: str, limit: int = 0, value: int = 0) -> Breach:
        return Breach(self.name, way.scopes[0].text, text, limit, value)


class ReduceOnly:
    """Protects an order that is meant to close from opening: it must fit into the strategy's position.

    Source: ours, the venue has no such flag. Unit: 1/100 contract.
    """

    name = "reduce_only"

    def check(self, ask: Ask, way: Way) -> Breach | None:
        new = ask.new
        if new is None or not new.reduce_only:
            return None
        line = way.line
        held = line.position.qty
        room = held - line.open_sell if ask.side == SELL else -held - line.open_buy
        if ask.qty <= room:
            return None
        text = f"reduce only: {ask.qty} does not fit into what is left of the position, {max(room, 0)}"
        return Breach(self.name, way.scopes[0].text, text, max(room, 0), ask.qty)


class IntentAge:
    """Protects from acting on an old wish (a stalled worker, a queue that was full).

    Source: design section 3, commands can't arrive stale. Unit: ns. An intent without made_ns has no age.
    """

    name = "age"

    def __init__(self, risk: RiskConfig) -> None:
        self._max_ns = risk.intent_max_age_ms * MS

    def check(self, ask: Ask, way: Way) -> Breach | None:
        age_ns = ask.mono_ns - ask.made_ns
        if age_ns <= self._max_ns or not ask.made_ns:
            return None
        text = f"the intent is {age_ns // MS} ms old"
        return Breach(self.name, way.scopes[0].text, text, self._max_ns, age_ns)


class MaxQty:
    """Protects from a finger or loop that asks for far too many, counted by what would be open.

    Source: max_order_qty. Unit: 1/100 contract.
    """

    name = "max_qty"

    def check(self, ask: Ask, way: Way) -> Breach | None:
        qty = ask.leaves
        for scope in way.scopes:
            if qty > scope.max_order_qty:
                text = f"{scope.text}: {qty} in one order is above {scope.max_order_qty}"
                return Breach(self.name, scope.text, text, scope.max_order_qty, qty)
        return None


class MaxNotional:
    """Protects from an order that is too much money, counted by what would be open.

    Source: max_order_notional. Unit: money.
    """

    name = "max_notional"

    def check(self, ask: Ask, way: Way) -> Breach | None:
        notional = ask.notional
        for scope in way.scopes:
            if notional > scope.max_order_notional:
                text = f"{scope.text}: {notional} in one order is above {scope.max_order_notional}"
                return Breach(self.name, scope.text, text, scope.max_order_notional, notional)
        return None


class Collar:
    """Protects from an aggressive price far through the market; the venue has no such limit (pitfall 36).

    A buy may be at most collar_bp above the best offer (else the last trade, else the best bid), a sell at most so far
    below the best bid. Source: collar_bp. Unit: 1/10000 dollar.
    """

    name = "collar"

    def check(self, ask: Ask, way: Way) -> Breach | None:
        market, price = way.market, ask.price
        if ask.side == BUY:
            reference = market.ask or market.last or market.bid
            if price * BP <= reference * (BP + market.collar_bp):
                return None
            limit, word = reference * (BP + market.collar_bp) // BP, "above"
        else:
            reference = market.bid or market.last or market.ask
            if price * BP >= reference * (BP - market.collar_bp):
                return None
            limit, word = -(-reference * (BP - market.collar_bp) // BP), "below"
        text = f"price {price} is more than {market.collar_bp} bp {word} the market's {reference}"
        return Breach(self.name, way.scopes[1].text, text, limit, price)


class Band:
    """Protects from a refusal that costs tokens: the venue's band for passive prices.

    A bid at least the lower of 80 % of the best bid and best bid - 1000 ticks, an ask at most the higher of 120 % of
    the best ask and best ask + 1000 ticks; no orders on that side, no band. Source: venue.md section 4. Unit: 1/10000
    dollar.
    """

    name = "band"

    def check(self, ask: Ask, way: Way) -> Breach | None:
        market, price = way.market, ask.price
        if ask.side == BUY:
            best = market.bid
            if not best or price * 10 >= best * 8 or price >= best - BAND_TICKS:
                return None
            limit = min(-(-best * 8 // 10), best - BAND_TICKS)
        else:
            best = market.ask
            if not best or price * 10 <= best * 12 or price <= best + BAND_TICKS:
                return None
            limit = max(best * 12 // 10, best + BAND_TICKS)
        return Breach(
            self.name, way.scopes[1].text, f"price {price} is outside the venue's band, {limit}", limit, price
        )


class SelfCross:
    """Protects from trading with ourselves: not against a resting order of another strategy of this account.

    Within one strategy the venue's self-trade prevention acts. Source: venue.md section 4 (2964), pitfall 39. Unit:
    1/10000 dollar.
    """

    name = "self_cross"

    def check(self, ask: Ask, way: Way) -> Breach | None:
        strategy = way.line.strategy
        assert strategy is not None, "a way belongs to a strategy"
        other = way.market.crossed_by(ask.side, ask.price, strategy)
        if other is None:
            return None
        text = f"price {ask.price} would trade with an own order of slot {other.slot} at {other.price}"
        return Breach(self.name, "account", text, other.price, ask.price)


class Repeats:
    """Protects from an order machine that runs wild: too many identical orders of a strategy in a market latch it.

    Source: risk.breakers.repeat_max within repeat_window_s. Unit: orders. What `duplicate` refuses doesn't count.
    """

    name = "repeats"

    def __init__(self, breakers: BreakersConfig) -> None:
        self._most = breakers.repeat_max
        self._window_ns = breakers.repeat_window_s * SECOND

    def check(self, ask: Ask, way: Way) -> Breach | None:
        if ask.new is None:
            return None
        times = way.repeats.get((ask.side, ask.price, ask.qty))
        if times is None or len(times) < self._most or ask.mono_ns - times[0] >= self._window_ns:
            return None
        text = f"{len(times)} identical orders passed within {self._window_ns // SECOND} s"
        return Breach(self.name, way.scopes[0].text, text, self._most, len(times) + 1)

    def passed(self, ask: Ask, way: Way) -> None:
        """Remember an order that was approved: the newest repeat_max times of each."""
        repeats = way.repeats
        key = (ask.side, ask.price, ask.qty)
        times = repeats.pop(key, None) or deque(maxlen=self._most)
        times.append(ask.mono_ns)
        repeats[key] = times
        if len(repeats) > RECENT_MAX:
            for old in [k for k, at in repeats.items() if ask.mono_ns - at[-1] >= self._window_ns]:
                del repeats[old]


class Duplicate:
    """Protects from a loop that sends the same order again and again. Source: duplicate_window_ms. Unit: ns."""

    name = "duplicate"

    def __init__(self, risk: RiskConfig) -> None:
        self._window_ns = risk.duplicate_window_ms * MS

    def check(self, ask: Ask, way: Way) -> Breach | None:
        if ask.new is None:
            return None
        before = way.recent.get((ask.side, ask.price, ask.qty))
        if before is None or ask.mono_ns - before >= self._window_ns:
            return None
        age_ns = ask.mono_ns - before
        text = f"the same order passed {age_ns // MS} ms ago"
        return Breach(self.name, way.scopes[0].text, text, self._window_ns, age_ns)

    def passed(self, ask: Ask, way: Way) -> None:
        """Remember an order that was approved; what is older than the window is forgotten, oldest first."""
        recent = way.recent
        key = (ask.side, ask.price, ask.qty)
        recent.pop(key, None)
        recent[key] = ask.mono_ns
        if len(recent) > RECENT_MAX:
            for old in [k for k, at in recent.items() if ask.mono_ns - at >= self._window_ns]:
                del recent[old]


class OpenOrders:
    """Protects from more orders than a halt can cancel in time. Source: max_open_orders. Unit: orders."""

    name = "open_orders"

    def check(self, ask: Ask, way: Way) -> Breach | None:
        if ask.new is None:
            return None
        for scope in way.scopes:
            if scope.open_orders >= scope.max_open_orders:
                text = f"{scope.text}: {scope.open_orders} orders are open, {scope.max_open_orders} may be"
                return Breach(self.name, scope.text, text, scope.max_open_orders, scope.open_orders + 1)
        return None


class Unacknowledged:
    """Protects from piling orders onto a venue that does not answer. Source: max_unacknowledged. Unit: requests."""

    name = "unacknowledged"

    def check(self, ask: Ask, way: Way) -> Breach | None:  # noqa: ARG002
        for scope in way.scopes:
            if scope.unacknowledged >= scope.max_unacknowledged:
                text = f"{scope.text}: {scope.unacknowledged} requests are unanswered, {scope.max_unacknowledged} may be"
                return Breach(self.name, scope.text, text, scope.max_unacknowledged, scope.unacknowledged + 1)
        return None


class MaxPosition:
    """Protects from a position that is too large even if all that is open and unknown were filled.

    The worse side over all lines of the scope, the order's line at the order's side. Source: max_position. Unit: 1/100
    contract.
    """

    name = "max_position"

    def check(self, ask: Ask, way: Way) -> Breach | None:
        extra = ask.extra
        if not extra:
            return None
        line, account = way.line, way.account
        buy = ask.side == BUY
        own = line.position.qty + line.open_buy if buy else line.open_sell - line.position.qty
        all_own = account.position.qty + account.open_buy if buy else account.open_sell - account.position.qty
        strategy, market, whole = way.scopes
        return (
            self._over(strategy, own + extra, line.worst)
            or self._over(market, all_own + extra, account.worst)
            or self._over(whole, all_own + extra, account.worst)
        )

    def _over(self, scope: Scope, side: int, counted: int) -> Breach | None:
        # `side`: this line if all of it fills; `counted`: what the line adds to the scope now.
        if side <= 0:
            return None  # it only brings the position back towards zero
        value = scope.worst - counted + side
        if value <= scope.max_position:
            return None
        text = f"{scope.text}: the position could become {value}, {scope.max_position} is allowed"
        return Breach(self.name, scope.text, text, scope.max_position, value)


class MaxGross:
    """Protects from too much money at work: positions at their marks and open orders at their prices.

    An order that can only reduce the position, its strategy's and the account's, passes. Source: max_gross_notional.
    Unit: money.
    """

    name = "max_gross"

    def check(self, ask: Ask, way: Way) -> Breach | None:
        extra = ask.extra_notional
        if not extra:
            return None
        for scope in way.scopes:
            if scope.gross + extra > scope.max_gross_notional and not self._reduces(ask, way):
                value = scope.gross + extra
                text = f"{scope.text}: gross notional would be {value}, {scope.max_gross_notional} is allowed"
                return Breach(self.name, scope.text, text, scope.max_gross_notional, value)
        return None

    @staticmethod
    def _reduces(ask: Ask, way: Way) -> bool:
        for line in (way.line, way.account):
            held = line.position.qty
            side = held + line.open_buy if ask.side == BUY else line.open_sell - held
            if side + ask.extra > 0:
                return False
        return True


class MaxLoss:
    """Protects from losing on: today's realised + marked - fees of strategy, market and account.

    The guard latches the scope when its loss reaches the limit; this control covers the moment before the latch is out.
    Source: max_loss. Unit: money.
    """

    name = "max_loss"

    def check(self, ask: Ask, way: Way) -> Breach | None:  # noqa: ARG002
        for scope in way.scopes:
            if -scope.profit >= scope.max_loss:
                text = f"{scope.text}: {-scope.profit} lost today, {scope.max_loss} is the limit"
                return Breach(self.name, scope.text, text, scope.max_loss, -scope.profit)
        return None


class Tokens:
    """Protects the venue's Write bucket, and the reserve in it that only cancels may use. Takes the tokens.

    Source: venue.md section 3. Unit: tokens.
    """

    name = "tokens"

    def __init__(self, budget: WriteBudget) -> None:
        self._budget = budget

    def check(self, ask: Ask, way: Way) -> Breach | None:
        budget = self._budget
        if ask.new is not None:
            cost, rank = budget.cost_new, RANK_NEW
        else:
            cost, rank = budget.cost_replace, rank_of_replace(ask)
        slot = way.line.strategy
        assert slot is not None, "a way belongs to a strategy"
        if budget.take_order(cost, ask.mono_ns, ask.intent.cl_ord_id, slot, rank):
            return None
        there = budget.available(ask.mono_ns)
        text = f"{there} tokens are there, {cost} are needed and {budget.reserve} are kept for cancels"
        if there >= cost + budget.reserve:
            text += "; another strategy has had less and goes first"
        return Breach(self.name, "account", text, cost + budget.reserve, there)


def rank_of_replace(ask: Ask) -> int:
    """Return how urgent a replace is: one that leaves less open, or moves it away, and the other no worse, comes first."""
    order = ask.order
    assert order is not None, "a replace has its order"
    away = order.price - ask.price if ask.side == BUY else ask.price - order.price
    less = order.leaves - ask.leaves
    return RANK_REDUCING if away >= 0 and less >= 0 and (away or less) else RANK_REPLACE


def controls(
    gate: Gate,
    budget: WriteBudget,
    risk: RiskConfig,
    groups: Control | None = None,
    more: tuple[Control, ...] = (),
) -> tuple[Control, ...]:
    """Return every control in the order in which they run (design section 9); `more` run last before the tokens."""
    return (
        Halted(gate),
        Trading(gate),
        *((groups,) if groups is not None else ()),
        Fresh(gate, risk),
        Form(),
        IntentAge(risk),
        ReduceOnly(),
        MaxQty(),
        MaxNotional(),
        Collar(),
        Band(),
        SelfCross(),
        *((Duplicate(risk),) if risk.duplicate_window_ms else ()),
        *((Repeats(risk.breakers),) if risk.breakers.repeat_max else ()),
        OpenOrders(),
        Unacknowledged(),
        MaxPosition(),
        MaxGross(),
        MaxLoss(),
        *more,
        Tokens(budget),
    )


def way_of(exposure: Exposure, slot: int, symbol: str) -> Way:
    """Return the way of a strategy in a market."""
    line = exposure.line(slot, symbol)
    account = exposure.account_lines[symbol]
    return Way(line, account, (exposure.strategies[slot], exposure.market_scopes[symbol], exposure.account))
