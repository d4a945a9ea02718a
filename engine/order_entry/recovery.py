"""How an order in doubt is found out, and how all open orders are cancelled.

UNKNOWN ends by the venue's word only (design: an order's life). `Recovery` asks for it: it cancels the order by its
ClOrdID (and by the ClOrdIDs of replaces in flight, which may be the ones in force). A cancel report is an answer.
"Unknown order" proves only that the order does not rest now; it may have been filled. So drop copy is asked to sweep
(`sweep_wanted` is raised), and only a complete sweep begun after that answer ends the order by what it showed. A
question without an answer is asked again; a refusal for another reason (a pause, a rate limit) is asked again later.

An operator's word (`accept`) can stand for the sweep, where drop copy can't complete one; never for the venue's.
An order that was concluded and shows up open is UNKNOWN again (`orders.order`), and so is asked for again.

Fills that a CumQty told of and that did not come are asked of drop copy too. The venue contradicts itself where a
complete sweep does not bring them: one that began DENIED_NS after they were missed is believed, and said on the tape
with an alert. They are missing as before, until they come or an operator states the market's position. Where a sweep
failed to tell, his accepted gap settles them too.

An IOC or FOK order that ends without a word (21007=N) may have been filled without one, too: it is live, and counts, until
a complete sweep begun after its silence has shown what it was filled.

`Clearing` cancels everything that is open: at a lost guard and on the way down. The mass cancel goes first where the
session has one; singles follow for what it did not reach (it may not know orders of an earlier connection). Both
keep order entry's own pace, so that they never spend tokens that the account does not get.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Container
from typing import Final

from engine.common.clock import MS, SECOND, Now
from engine.common.fixed_point import QTY_DECIMALS, format_fixed
from engine.messages.executions import EventKind, OrderEvent, OrderState, Source
from engine.order_entry.desk import Desk
from engine.orders.order import Order, denied

SILENT_TEXT: Final = "IOC/FOK: no cancel report comes (21007=N), the rest is gone by its terms"
ASK_AGAIN_NS: Final = 5 * SECOND
RETRY_NS: Final = SECOND
UNAVAILABLE_NS: Final = 500 * MS
MASS_EVERY_NS: Final = SECOND
MASS_GRACE_NS: Final = 300 * MS
CANCEL_AGAIN_NS: Final = 2 * SECOND
BREAK_GRACE_NS: Final = 30 * SECOND
EVERYTHING: Final[frozenset[tuple[int | None, str]]] = frozenset({(None, "")})
DENIED_NS: Final = 15 * SECOND
"""As long as the venue may take to answer a request, its drop copy may take to show what its session told of."""
REFUSED_KEPT: Final = 1000
UNANSWERED_NS: Final = 20 * SECOND
"""After so long a request without an answer on a whole session is in doubt; the venue may take 15 s to answer."""


class Ask:
    """One order in doubt: what was asked, when to ask next (mono_ns, 0 at once), which sweep will tell."""

    __slots__ = ("due", "order", "sweep", "tried")

    def __init__(self, order: str) -> None:
        self.order = order
        self.tried: list[str] = []
        self.due: int | None = 0
        self.sweep = 0


class Missing:
    """Fills of an order that did not come.

    Attributes:
        qty: how much. since_ns: since when it is known (mono_ns).
        sweep: the one that must bring them. last: if that has none either, drop copy has none.
        denied: that was so.
    """

    __slots__ = ("denied", "last", "qty", "since_ns", "sweep")

    def __init__(self, qty: int, sweep: int, since_ns: int) -> None:
        self.qty = qty
        self.sweep = sweep
        self.since_ns = since_ns
        self.last = False
        self.denied = False


class Recovery:
    """Finds out what became of UNKNOWN orders, and of fills that did not come.

    Attributes:
        short: orders of which fills are missing.
        silent: orders that ended without a word, to the sweep that must have shown their fills.
        refused: the newest ExecID that drop copy brought of an order and that can't be true, by order.
        sweep_wanted: see TapeBeat; begins above every value of an earlier life (`start`).
        sweep_done: the highest that a complete sweep satisfied.
        sweep_failed: the highest that an incomplete sweep was for.
        logon_sweep: what the last Logon wanted.
        gating: orders in doubt since a restart or a lost session; order entry isn't ready while there are any.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.asks: dict[str, Ask] = {}
        self.short: dict[str, Missing] = {}
        self.silent: dict[str, int] = {}
        self.refused: OrderedDict[str, str] = OrderedDict()
        self.gating: dict[str, None] = {}
        self.sweep_wanted = 0
        self.sweep_done = 0
        self.sweep_failed = 0
        self.logon_sweep = 0
        self._logon_ns = 0
        self._heap: list[tuple[int, int, str]] = []
        self._pushed = 0
        desk.watch = self.watch

    @property
    def running(self) -> bool:
        """Something from before the logon is left to find out."""
        return bool(self.gating)

    def start(self, now: Now, *, answered_too: bool = True) -> None:
        """Begin a life: drop copy may remember the numbers of the last one, so they go on from the wall clock.

        Args:
            now: now.
            answered_too: orders that the venue has acknowledged are in doubt as well.
        """
        self.sweep_wanted = now.wall_ns // MS
        ledger = self.desk.ledger
        kept = [order.event for order in (*ledger.orders.values(), *ledger.short.values())]
        for event in (*kept, *ledger.foreign.values()):
            self.follow_missing(event, now)
        self.doubt_all("order entry was restarted", now, answered_too=answered_too)

    def watch(self, event: OrderEvent) -> None:
        """Follow an emitted event: an order that got into doubt is asked about, one that left it is not."""
        key = event.order
        if event.state is OrderState.UNKNOWN:
            if key and event.strategy >= 0 and (key not in self.asks or self._shows_open(event)):
                self.asks[key] = Ask(key)
                self._push(0, key)
        elif key in self.asks:
            del self.asks[key]
            self.gating.pop(key, None)

    def _shows_open(self, event: OrderEvent) -> bool:
        # The session shows an order resting that the venue said was not there: that answer is worth nothing any more.
        said = event.source is Source.SESSION and event.kind in (
            EventKind.NEW,
            EventKind.REPLACED,
            EventKind.TRADE,
        )
        return said and self.asks[event.order].sweep > 0

    def doubt_all(self, text: str, now: Now, *, answered_too: bool) -> None:
        """Make UNKNOWN of every live order whose outcome can't be known now, and hold the gate for them."""
        sure = (OrderState.NEW, OrderState.PARTIALLY_FILLED)
        for key, order in list(self.desk.ledger.orders.items()):
            state = order.event.state
            if state is OrderState.UNKNOWN:
                self.watch(order.event)
            elif answered_too or state not in sure:
                self.desk.tell(order, EventKind.UNKNOWN, now, text=text)
            else:
                continue
            self.gating[key] = None

    def want_sweep(self) -> int:
        """Have drop copy sweep; return the number that the sweep must reach."""
        self.sweep_wanted += 1
        return self.sweep_wanted

    def await_fills(self, orders: list[str]) -> None:
        """Let orders that ended without a word end by the next complete sweep."""
        self.silent.update(dict.fromkeys(orders, self.want_sweep()))

    def _end_silent(self, wanted: int, now: Now, text: str) -> None:
        for key in [key for key, sweep in self.silent.items() if sweep <= wanted]:
            del self.silent[key]
            order = self.desk.ledger.orders.get(key)
            if order is not None and not self.desk.is_unknown(order):
                self.desk.tell(order, EventKind.DONE_SILENTLY, now, text=f"{SILENT_TEXT}; {text}")

    def follow_missing(self, event: OrderEvent, now: Now) -> None:
        """Follow an event of an order of which fills are, or were, missing; one sweep is to bring them, unless more get lost."""
        known = self.short.get(event.order)
        qty = event.missing_qty
        if not qty:
            self.short.pop(event.order, None)
        elif known is None or qty > known.qty:
            self.short[event.order] = Missing(qty, self.want_sweep(), now.mono_ns)
        else:
            known.qty = qty

    def note_refused(self, order: str, exec_id: str) -> None:
        """Remember that drop copy brought a report of an order which can't be true, and so was not applied."""
        self.refused[order] = exec_id
        if len(self.refused) > REFUSED_KEPT:
            self.refused.popitem(last=False)

    def _judge_missing(self, wanted: int, now: Now) -> None:
        # A complete sweep did not bring them. What it says is from when it began: old enough, another one is to tell.
        again = 0
        for key, missing in self.short.items():
            if missing.sweep > wanted or missing.denied:
                continue
            if missing.last:
                missing.denied = True
                refused = self.refused.get(key, "")
                text = (
                    f"drop copy shows {refused} of it, which was refused because it can't be true"
                    if refused
                    else "drop copy shows no such fill"
                )
                self._deny(key, text, Source.RECOVERED, now)
            elif now.mono_ns - missing.since_ns >= DENIED_NS:
                missing.sweep = again = again or self.want_sweep()
                missing.last = True

    def _deny(self, key: str, text: str, source: Source, now: Now) -> None:
        desk = self.desk
        event = self._newest(key)
        if event is not None:
            missing = format_fixed(event.missing_qty, QTY_DECIMALS)
            desk.out.log("alert", f"{key}: CumQty told of {missing} more than was filled; {text}")
            desk.emit(denied(event, desk.ledger.numbers(event.strategy), now.wall_ns, text, source))

    def _newest(self, key: str) -> OrderEvent | None:
        ledger = self.desk.ledger
        order = ledger.find(key)
        return order.event if order is not None else ledger.foreign.get(key)

    def on_logon(self, now: Now) -> None:
        """Ask about everything in doubt, anew: what the last session was asked it won't answer any more."""
        self.logon_sweep = self.want_sweep()
        self._logon_ns = now.mono_ns
        for key, ask in self.asks.items():
            if not ask.sweep:
                ask.tried.clear()
                self._schedule(key, now.mono_ns)

    def hold_off(self, order: Order, delay_ns: int, now: Now) -> None:
        """Let some time pass before the order is asked about."""
        if order.event.order in self.asks:
            self._schedule(order.event.order, now.mono_ns + delay_ns)

    def settling(self, now: Now) -> bool:
        """Fills of the time without a session may still be missing, so that 704/705 prove nothing."""
        return self.sweep_done < self.logon_sweep and now.mono_ns - self._logon_ns < BREAK_GRACE_NS

    # -- answers

    def on_refused(self, order: Order, *, gone: bool, now: Now, unheard_of: bool = False) -> None:
        """A request for the order was refused.

        Args:
            order: as it is after the refusal's event.
            gone: the venue says that the order is not open (unknown order, too late, filled).
            now: now.
            unheard_of: it says more: that it has no such order.
        """
        ask = self.asks.get(order.event.order)
        if ask is None:
            if order.terminal or not gone:
                return
            if not unheard_of:
                self.want_sweep()  # its last report is on its way, or was lost
            else:
                # It is open by all that we heard: what ended it must still be coming, or was lost.
                self.desk.tell(order, EventKind.UNKNOWN, now, text="the venue has no such open order")
                ask = self.asks.get(order.event.order)
                if ask is not None:
                    self._await_sweep(ask)
            return
        if ask.sweep:
            return
        if not gone:
            if ask.tried:
                ask.tried.pop()
            self._schedule(ask.order, now.mono_ns + RETRY_NS)
        elif self._next_id(order, ask):
            self._schedule(ask.order, now.mono_ns)
        else:
            self._await_sweep(ask)

    def on_swept(self, wanted: int, *, complete: bool, now: Now) -> None:
        """A sweep that began when `wanted` was asked for is over; an incomplete one proves nothing."""
        if not complete:
            self.sweep_failed = max(self.sweep_failed, wanted)
            return
        self.sweep_done = max(self.sweep_done, wanted)
        if self.short:
            self._judge_missing(wanted, now)
        if self.silent:
            self._end_silent(wanted, now, "drop copy shows no other fill")
        for ask in [ask for ask in self.asks.values() if 0 < ask.sweep <= wanted]:
            order = self.desk.ledger.orders[ask.order]
            self.desk.tell(
                order,
                EventKind.RESOLVED,
                now,
                text="the venue has no such open order, and drop copy shows nothing more of it",
                source=Source.RECOVERED,
            )

    def accept(self, why: str, now: Now, symbols: Container[str] = ()) -> None:
        """Conclude, on an operator's word, the orders that only a sweep keeps in doubt or live, and a sweep failed to tell.

        Of these the venue has said itself that they are not open. All others are asked for as before; without a session,
        by which the venue could still speak, all are. Fills that a sweep failed to bring are settled, and so are those
        of a market whose position was stated (`symbols`); what drop copy denied, only so.
        """
        for key, missing in list(self.short.items()):
            event = self._newest(key)
            untold = missing.sweep <= self.sweep_failed and not missing.denied
            if untold or event is None or event.symbol in symbols:
                del self.short[key]
                self._deny(key, f"accepted: {why}", Source.OPERATOR, now)
        self._end_silent(self.sweep_failed, now, f"accepted: {why}")
        if not self.desk.logged_on:
            if self.asks:
                text = "no session, so no order is concluded: accept it again when the session is logged on"
                self.desk.out.log("alert", f"gap accepted, {text}; in doubt: {', '.join(self.asks)}")
            return
        concluded = [ask.order for ask in self.asks.values() if 0 < ask.sweep <= self.sweep_failed]
        for key in concluded:
            order = self.desk.ledger.orders[key]
            self.desk.tell(order, EventKind.RESOLVED, now, text=f"accepted: {why}", source=Source.OPERATOR)
        log = self.desk.out.log
        if concluded:
            text = "concluded, the venue has no such open orders and no sweep could be completed"
            log("alert", f"gap accepted; {len(concluded)} {text}: {', '.join(concluded)}")
        if self.asks:
            text = "still asked for, only the venue's word or a complete sweep ends them"
            log("alert", f"gap accepted; {len(self.asks)} {text}: {', '.join(self.asks)}")

    # -- asking

    def _doubt_unanswered(self, now: Now) -> None:
        # An answer that was lost on a whole session never comes by itself: a refusal is not on drop copy either.
        desk = self.desk
        while desk.sent:
            sent = next(iter(desk.sent.values()))
            if now.mono_ns - sent.mono_ns < UNANSWERED_NS:
                return
            desk.answered(sent.request_id)
            order = desk.ledger.find(sent.request_id) if sent.order else None
            if order is None or order.terminal or desk.is_unknown(order):
                continue
            if sent.request_id in order.requests or (sent.msg_type == "D" and not order.heard_of):
                text = f"35={sent.msg_type} has no answer after {UNANSWERED_NS // SECOND} s"
                desk.out.log("warning", f"order {sent.order}: {text}")
                desk.tell(order, EventKind.UNKNOWN, now, request_id=sent.request_id, text=text)

    def tick(self, now: Now) -> None:
        """Ask what is due, at order entry's own pace."""
        desk = self.desk
        if not desk.logged_on:
            return
        self._doubt_unanswered(now)
        heap = self._heap
        while heap and heap[0][0] <= now.mono_ns and now.mono_ns >= desk.own_ns:
            due, _, key = heapq.heappop(heap)
            ask = self.asks.get(key)
            if ask is None or ask.due != due:
                continue
            order = desk.ledger.orders[key]
            cl_ord_id = self._next_id(order, ask)
            if not cl_ord_id:
                ask.tried.clear()
                cl_ord_id = self._next_id(order, ask)
            ask.tried.append(cl_ord_id)
            self._schedule(key, now.mono_ns + ASK_AGAIN_NS)
            desk.cancel_by_ourselves(order, cl_ord_id, now)

    def due(self) -> int | None:
        """Return when `tick` is wanted (mono_ns), or None."""
        if not self.desk.logged_on:
            return None
        asks = max(self._heap[0][0], self.desk.own_ns) if self._heap else None
        sent = next(iter(self.desk.sent.values()), None)
        doubts = sent.mono_ns + UNANSWERED_NS if sent is not None else None
        return min((due for due in (asks, doubts) if due is not None), default=None)

    def _next_id(self, order: Order, ask: Ask) -> str:
        # The ClOrdID in force, then those of replaces in flight; "" when all were tried.
        ids = [order.event.cl_ord_id or order.event.order]
        ids += [request_id for request_id, pending in order.requests.items() if pending.replace]
        return next((cl_ord_id for cl_ord_id in ids if cl_ord_id not in ask.tried), "")

    def _await_sweep(self, ask: Ask) -> None:
        ask.due = None
        ask.sweep = self.want_sweep()

    def _schedule(self, key: str, at: int) -> None:
        self.asks[key].due = at
        self._push(at, key)

    def _push(self, at: int, key: str) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (at, self._pushed, key))


class Clearing:
    """Cancels every open order, or those of some scopes, until none is left, or it is told to stop."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.active = False
        self._scopes = EVERYTHING
        self._queue: deque[str] = deque()
        self._asked: dict[str, int] = {}
        self._mass_ns: int | None = None
        self._mass_due = False
        self._next_ns = 0

    def start(self, now: Now, scopes: frozenset[tuple[int | None, str]] = EVERYTHING) -> None:
        """Begin with the orders of these scopes (strategy or None, symbol or ""), unless it does so already."""
        if not (self.active and (scopes <= self._scopes or self._scopes >= EVERYTHING)):
            self._scopes = scopes | self._scopes if self.active else scopes
            self.active = True
            self._asked.clear()
            self._queue.clear()
            self._next_ns = now.mono_ns
            self._mass_due = self.desk.mass_cancel_works and self._scopes >= EVERYTHING

    def stop(self) -> None:
        """End it."""
        self.active = False

    def due(self) -> int | None:
        """Return when `tick` is wanted (mono_ns), or None."""
        return max(self._next_ns, self.desk.own_ns) if self.active and self.desk.ledger.orders else None

    def tick(self, now: Now) -> None:
        """Send the next cancel if it may leave now."""
        desk = self.desk
        if not self.active or now.mono_ns < self._next_ns or now.mono_ns < desk.own_ns:
            return
        if not desk.ledger.orders or not desk.logged_on:
            self._next_ns = now.mono_ns + 100 * MS
            return
        if self._mass_due and (self._mass_ns is None or now.mono_ns - self._mass_ns >= MASS_EVERY_NS):
            self._mass_due = False
            self._mass_ns = now.mono_ns
            self._next_ns = now.mono_ns + MASS_GRACE_NS
            desk.mass_cancel_by_ourselves(now)
            return
        self._next_ns = now.mono_ns if self._single(now) else now.mono_ns + 50 * MS

    def _single(self, now: Now) -> bool:
        # True when a cancel left; orders in doubt are Recovery's.
        desk = self.desk
        if not self._queue:
            self._queue.extend(desk.ledger.orders)
        for _ in range(len(self._queue)):
            order = desk.ledger.orders.get(self._queue.popleft())
            if order is None or desk.is_unknown(order) or not self._means(order):
                continue
            key = order.event.order
            asked = self._asked.get(key)
            if asked is None and any(not pending.replace for pending in order.requests.values()):
                self._asked[key] = now.mono_ns  # a cancel is on its way already
                continue
            if asked is not None and now.mono_ns - asked < CANCEL_AGAIN_NS:
                continue
            self._asked[key] = now.mono_ns
            desk.cancel_by_ourselves(order, order.event.cl_ord_id, now)
            return True
        return False

    def _means(self, order: Order) -> bool:
        event = order.event
        return any(
            strategy in (None, event.strategy) and symbol in ("", event.symbol)
            for strategy, symbol in self._scopes
        )
