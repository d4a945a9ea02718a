"""Flattening: bringing the account's position in a market to zero, and keeping it there.

Of each market that is meant, in this order:

1. It is latched, so that no strategy adds to it or trades against us; the latch stays until an operator's Arm.
2. Its own open orders are cancelled, and the venue's word about each is awaited: an own order could still be filled, or
   our own quote be in the way (self-trade prevention cancels the taker).
3. One IOC order at the far edge of the collar is sent for what the account holds, less what others have open on that
   side. It passes latches (`Approved.reducing`) and limits, never the token budget nor the price form.
4. What it left over is sent again, a few times. Then the operator is answered.

Rules that hold here:

* Nothing is sent unless the position is certain: known, not in doubt, no break, no fill missing, drop copy caught up, the
  tape complete, no own order of the market open or with an unknown outcome. So nothing is ever sent twice, and never more than held.
* What is uncertain at the beginning is a refusal that changes nothing; what becomes so later is waited for.
* Every wait ends: with CANCELS_NS for the cancels, with FLATTEN_NS for everything. A deadline ends the work and names
  what still was open; it never concludes anything about an order.
* The fills are the operator's: strategies keep the positions that they made, the operator's slot holds the opposite.
"""

from typing import Any, Final

import msgspec

from engine.common.actor import Outbox
from engine.common.clock import MS, SECOND, Now
from engine.common.fixed_point import QTY_DECIMALS, format_fixed
from engine.common.ids import SLOT_FOREIGN, SLOT_OPERATOR
from engine.guard.commander import Commander
from engine.guard.doubts import Doubts
from engine.guard.exposure import Exposure, Order
from engine.guard.gate import Gate
from engine.guard.halting import LOGGED_ON, Halting
from engine.guard.kill_switch import LatchScope
from engine.guard.limits import way_of
from engine.guard.lines import Line
from engine.guard.markets import Market
from engine.guard.refusals import INTENTS
from engine.messages.commands import ControlReply, Flatten, NewOrder, Side, TimeInForce
from engine.messages.executions import TERMINAL, OrderEvent, OrderState

CANCELS_NS: Final = 5 * SECOND  # for the venue's word about every own order, before the first IOC order
FLATTEN_NS: Final = 10 * SECOND  # for everything
TRIES: Final = 5  # IOC orders a market
AGAIN_NS: Final = 250 * MS  # between two of them: the book must show what the last one left
LOOK_NS: Final = 20 * MS
NAMED_MAX: Final = 5  # orders that a text names


class _Request:
    # One operator's Flatten: answered when none of its markets is left.
    __slots__ = ("ok", "peer", "request_id", "rows", "texts", "under_way")

    def __init__(self, peer: str, request_id: str) -> None:
        self.peer = peer
        self.request_id = request_id
        self.ok = True
        self.under_way = 0
        self.texts: list[str] = []
        self.rows: list[dict[str, Any]] = []


class _Job:
    # One market that is being flattened. `sent`: ClOrdID of the newest IOC order; `last`: how it ended, in words.
    __slots__ = (
        "again_ns",
        "bought",
        "last",
        "line",
        "market",
        "request",
        "sent",
        "sold",
        "started_ns",
        "tries",
    )

    def __init__(self, request: _Request, market: Market, line: Line, mono_ns: int) -> None:
        self.request = request
        self.market = market
        self.line = line
        self.started_ns = mono_ns
        self.bought, self.sold = (
            line.position.buy_qty,
            line.position.sell_qty,
        )  # what the operator's were before
        self.tries = 0
        self.again_ns = mono_ns
        self.sent = ""
        self.last = ""

    def over(self, mono_ns: int) -> bool:
        """Say whether it must not wait any longer."""
        return mono_ns - self.started_ns >= (FLATTEN_NS if self.tries else CANCELS_NS)


class Flattening:
    """Carries out what operators want flat. See the module.

    Attributes:
        next_ns: mono_ns at which to look again, or None when nothing is under way.
    """

    def __init__(
        self,
        out: Outbox,
        exposure: Exposure,
        commander: Commander,
        gate: Gate,
        halting: Halting,
        doubts: Doubts,
    ) -> None:
        self._out = out
        self._exposure = exposure
        self._commander = commander
        self._gate = gate
        self._halting = halting
        self._doubts = doubts
        self._jobs: list[_Job] = []
        self.next_ns: int | None = None

    def start(self, peer: str, message: Flatten, now: Now) -> None:
        """Begin; the operator is answered at the end, or at once when nothing can be begun."""
        request = _Request(peer, message.request_id)
        if message.symbol and message.symbol not in self._exposure.markets:
            request.ok = False
            request.texts.append(f"there is no market {message.symbol}")
        for symbol, market in tuple(self._exposure.markets.items()):
            if message.symbol not in ("", symbol):
                continue
            problem = self._refusal(market, now)
            if problem:
                request.ok = False
                request.texts.append(f"{symbol}: {problem}; nothing was changed")
                continue
            request.under_way += 1
            self._jobs.append(_Job(request, market, self._exposure.line(SLOT_OPERATOR, symbol), now.mono_ns))
            self._halting.halt(LatchScope(None, symbol), f"flatten by {message.who}", message.who, now)
        if request.under_way:
            self.run(now)
        else:
            self._answer(request)

    def hear(self, event: OrderEvent) -> None:
        """Remember in which words an order of ours ended."""
        for job in self._jobs:
            if event.order == job.sent and event.state in TERMINAL:
                job.last = f"{event.state.value} {event.text}".strip()

    def run(self, now: Now) -> None:
        """Go on with every market."""
        self._jobs = [job for job in self._jobs if not self._step(job, now)]
        self.next_ns = now.mono_ns + LOOK_NS if self._jobs else None

    # -- one market

    def _step(self, job: _Job, now: Now) -> bool:
        # Does what can be done now; True when the market is finished.
        market = job.market
        if not market.latched:
            return self._end(job, "it was armed meanwhile")
        waits = (self._cannot_send(now), self._still_open(market), self._uncertain(market, now))
        wait = "; ".join(filter(None, waits))
        if self._gate.stopping or (wait and job.over(now.mono_ns)):
            return self._end(job, wait)
        if wait:
            return False
        held = self._exposure.account_lines[market.symbol].position.qty
        if not held:
            return self._end(job, "")
        if now.mono_ns < job.again_ns:
            return False
        if job.tries >= TRIES:
            return self._end(job, f"{TRIES} orders took what there was in the collar; the last: {job.last}")
        wait = self._send(job, held, now)
        return bool(wait) and job.over(now.mono_ns) and self._end(job, wait)

    def _send(self, job: _Job, held: int, now: Now) -> str:
        # Sends one order, or says why it can't be sent now.
        market = job.market
        account = self._exposure.account_lines[market.symbol]
        side = Side.SELL if held > 0 else Side.BUY
        others = account.open_sell if held > 0 else account.open_buy
        qty = abs(held) - others
        qty -= qty % market.lot
        if qty <= 0:
            return (
                f"others have {_contracts(others)} open on that side" if others else "it is no whole contract"
            )
        if not market.usable or now.mono_ns - self._gate.feed_ns > self._gate.stale_ns:
            return f"its book can't be traded on ({market.state.value})"
        price = market.aggressive_limit(side)
        if price <= 0:
            return "there is no price"
        budget = self._commander.budget
        cl_ord_id = self._commander.ids()
        if not budget.take_order(budget.cost_new, now.mono_ns, cl_ord_id):
            return "no tokens are left for an order"
        intent = NewOrder(
            cl_ord_id=cl_ord_id,
            symbol=market.symbol,
            side=side,
            qty=qty,
            price=price,
            tif=TimeInForce.IOC.value,
            made_ns=now.mono_ns,
        )
        way = way_of(self._exposure, SLOT_OPERATOR, market.symbol)
        self._commander.place(intent, way, now.mono_ns, reducing=True)
        job.tries += 1
        job.again_ns = now.mono_ns + AGAIN_NS
        job.sent = intent.cl_ord_id
        job.last = "not sent"
        return ""

    def _end(self, job: _Job, why: str) -> bool:
        symbol, position = job.market.symbol, job.line.position
        held = self._exposure.account_lines[symbol].position.qty
        bought, sold = position.buy_qty - job.bought, position.sell_qty - job.sold
        said = [f"{verb} {_contracts(qty)}" for verb, qty in (("bought", bought), ("sold", sold)) if qty]
        text = f"{symbol}: {' and '.join(said) or 'nothing to sell or buy'}, the account is flat"
        if held:
            left = f"{_contracts(abs(held))} remain to be {'sold' if held > 0 else 'bought'}"
            text = f"{symbol}: {' and '.join(said) or 'nothing was traded'}, {left}"
        text += f": {why}" if why else ""
        if job.market.latched:
            text += f"; the market stays halted until `ctl arm --market {symbol}`"
        if said:
            text += "; strategies keep the positions they made, the operator's holds the opposite"
        request = job.request
        request.ok = request.ok and not held and not why
        request.texts.append(text)
        request.rows.append({"symbol": symbol, "bought": bought, "sold": sold, "remaining": held})
        self._out.log("info" if not held and not why else "alert", f"flatten: {text}")
        request.under_way -= 1
        if not request.under_way:
            self._answer(request)
        return True

    def _answer(self, request: _Request) -> None:
        data = {"flattened": msgspec.Raw(msgspec.msgpack.encode(request.rows))} if request.rows else {}
        self._out.send(
            INTENTS,
            ControlReply(
                request_id=request.request_id, ok=request.ok, text="\n".join(request.texts), data=data
            ),
            to=request.peer,
        )

    # -- why not

    def _refusal(self, market: Market, now: Now) -> str:
        # Why a market can't be begun with: these don't end by our cancels.
        symbol = market.symbol
        if any(job.market is market for job in self._jobs):
            return "a flatten of it is under way already"
        unknown = [order for order in self._own(symbol) if order.state is OrderState.UNKNOWN]
        return (
            self._cannot_send(now)
            or self._uncertain(market, now)
            or (_named(unknown, "orders with an unknown outcome") if unknown else "")
            or self._halting.kill.why(SLOT_OPERATOR, symbol)
        )

    def _cannot_send(self, now: Now) -> str:
        gate = self._gate
        if gate.stopping:
            return "the engine stops"
        if gate.journal_problem:
            return f"the journal takes no records: {gate.journal_problem}"
        beat = gate.beat
        silent = now.mono_ns - gate.order_entry_ns > gate.order_entry_silent_ns
        synced = gate.epoch_accepted and gate.tape_synced and not gate.tape_problem
        if beat is None or silent or beat.session != LOGGED_ON or not synced:
            return "order entry can't send orders now"
        return ""

    def _uncertain(self, market: Market, now: Now) -> str:
        # Why the account's position in a market can't be relied on.
        if not market.position_known:
            return "no opening position is known"
        broken = market.doubt or self._doubts.broken.get(market.symbol, "")
        if broken:
            return broken
        missing = sum(short.qty for short in self._exposure.short.values() if short.line.market is market)
        if missing:
            return f"fills of {_contracts(missing)} contracts are missing, which drop copy must bring or a stated position settle"
        return "; ".join(self._gate.unreconciled(now))

    def _still_open(self, market: Market) -> str:
        orders = self._own(market.symbol)
        if not orders:
            return ""
        unknown = [order for order in orders if order.state is OrderState.UNKNOWN]
        return (
            _named(unknown, "orders with an unknown outcome")
            if unknown
            else _named(orders, "own orders are open")
        )

    def _own(self, symbol: str) -> list[Order]:
        return [
            order
            for order in self._exposure.open.values()
            if order.slot != SLOT_FOREIGN and order.market.symbol == symbol
        ]


def _contracts(qty: int) -> str:
    return format_fixed(qty, QTY_DECIMALS)


def _named(orders: list[Order], what: str) -> str:
    names = ", ".join(order.cl_ord_id or order.order for order in orders[:NAMED_MAX])
    return f"{len(orders)} {what}: {names}{', ...' if len(orders) > NAMED_MAX else ''}"
