"""The `Context` of a real worker: checks what a strategy asks for and turns it into intents.

Nothing here knows whether a request succeeds: an intent goes to the guard, the order's state comes back by the tape. What
can't be right in any state of the world (a float, half a tick, an unknown market) raises ValueError in the callback; what
is only not possible now (latched, a request pending) is a value: a REFUSED order, or False.
"""

from typing import Any, Final, NoReturn

from engine.book.book import Book
from engine.common.actor import Outbox
from engine.common.clock import MS, SECOND, Now
from engine.common.ids import ClOrdIDs
from engine.messages.commands import CancelAll, CancelOrder, NewOrder, ReplaceOrder, Side
from engine.messages.executions import OrderState
from engine.messages.market_data import FeedState
from engine.strategy.api import (
    REFUSED,
    STP_CODES,
    TIF_CODES,
    Instrument,
    Local,
    Order,
    Refusal,
    fmt_price,
    fmt_qty,
)
from engine.strategy.feed import FeedReader
from engine.strategy.tape import TapeReader

NUMBER_MAX: Final = 10**13  # the wire and the bus carry more; no market does
GROUP_MAX: Final = 64
LOG_LINES_PER_S: Final = 20
LOG_TEXT_MAX: Final = 1_000
_WORKING: Final = frozenset({OrderState.NEW.value, OrderState.PARTIALLY_FILLED.value})
_BUY: Final = Side.BUY.value
_SELL: Final = Side.SELL.value
_ON_THE_SPOT: Final = frozenset({"IOC", "FOK"})


class Timer:
    """A timer that is set: when it is due (mono_ns), and its period, 0 for once."""

    __slots__ = ("due_ns", "period_ns")

    def __init__(self, due_ns: int, period_ns: int) -> None:
        self.due_ns = due_ns
        self.period_ns = period_ns


class WorkerContext:
    """See `engine.strategy.api.Context`; what is more is the worker's.

    Attributes:
        mono_ns: monotonic time of this step.
        trigger_ns: of the bytes that caused this callback, 0 when none did.
        refused: orders and refusals made here, for on_refused after this callback.
        timers: by name. queues: what is over the token budget waits in the guard (`over_budget = "queue"`).
    """

    def __init__(
        self,
        name: str,
        instruments: dict[str, Instrument],
        out: Outbox,
        ids: ClOrdIDs,
        feed: FeedReader,
        tape: TapeReader,
    ) -> None:
        self.name = name
        self.markets = tuple(instruments)
        self.now = 0
        self.latched = ""
        self.mono_ns = 0
        self.trigger_ns = 0
        self.refused: list[tuple[Order, Refusal]] = []
        self.timers: dict[str, Timer] = {}
        self.intents = 0
        self.queues = False
        self._instruments = instruments
        self._out = out
        self._ids = ids
        self._feed = feed
        self._tape = tape
        self._log_second = -1
        self._log_lines = 0

    def step(self, now: Now) -> None:
        """Take the time of a step."""
        self.now = now.wall_ns
        self.mono_ns = now.mono_ns

    # -- orders --------------------------------------------------------------------------------------------------

    def buy(self, symbol: str, qty: int, price: int, **terms: Any) -> Order:
        """See `Context.buy`."""
        return self._new(_BUY, symbol, qty, price, **terms)

    def sell(self, symbol: str, qty: int, price: int, **terms: Any) -> Order:
        """See `Context.sell`."""
        return self._new(_SELL, symbol, qty, price, **terms)

    def _new(
        self,
        side: int,
        symbol: str,
        qty: int,
        price: int,
        *,
        tif: str = "GTC",
        post_only: bool = False,
        group: str = "",
        reduce_only: bool = False,
        expire: int | None = None,
        stp: str = "taker",
    ) -> Order:
        instrument = self.instrument(symbol)
        _check_number("qty", qty, instrument.lot, "lot", "1/100 contract", fmt_qty, symbol)
        _check_number("price", price, instrument.tick, "tick", "1/10000 dollar", fmt_price, symbol)
        code = TIF_CODES.get(tif) or _wrong("tif", tif, "one of " + ", ".join(TIF_CODES))
        stp_code = STP_CODES.get(stp) or _wrong("stp", stp, "`taker` or `maker`")
        self._check_terms(tif, post_only, group, expire)
        order = Order(
            self,
            self._ids(),
            symbol,
            side,
            qty,
            price,
            tif=code,
            post_only=post_only,
            group=group,
            made_ns=self.mono_ns,
        )
        if self.latched:
            order.state = REFUSED
            order.text = self.latched
            order.leaves_qty = 0
            self.refused.append((order, Refusal("new", Local.LATCHED, f"not sent: {self.latched}")))
            return order
        self._tape.add(order)
        self._send(
            NewOrder(
                cl_ord_id=order.id,
                symbol=symbol,
                side=side,
                qty=qty,
                price=price,
                tif=code,
                post_only=post_only,
                expire_ns=expire or 0,
                group=group,
                stp=stp_code,
                reduce_only=reduce_only,
                trigger_ns=self.trigger_ns,
                made_ns=self.mono_ns,
            )
        )
        return order

    def _check_terms(self, tif: str, post_only: bool, group: str, expire: int | None) -> None:
        if post_only and tif in _ON_THE_SPOT:
            raise ValueError(
                f"post_only=True with tif={tif!r}: an order that must take now can't be post only"
            )
        if tif == "GTD":
            if type(expire) is not int or expire <= self.now:
                _wrong("expire", expire, "wall ns later than ctx.now, with tif='GTD'")
        elif expire is not None:
            _wrong("expire", expire, f"left out with tif={tif!r}: only GTD expires")
        if group and not _is_plain(group):
            _wrong("group", group, f"printable ASCII of at most {GROUP_MAX} characters")

    def cancel(self, order: Order) -> bool:
        """See `Context.cancel`."""
        if self._is_held(order) or not order.is_open:
            return False
        order.request_id = self._ids()
        order.request_kind = "cancel"
        order.made_ns = self.mono_ns
        self._send(
            CancelOrder(
                cl_ord_id=order.request_id,
                orig_cl_ord_id=order.cl_ord_id,
                symbol=order.symbol,
                side=order.side,
                trigger_ns=self.trigger_ns,
                made_ns=self.mono_ns,
            )
        )
        return True

    def replace(self, order: Order, qty: int | None = None, price: int | None = None) -> bool:
        """See `Context.replace`."""
        instrument = self.instrument(order.symbol)
        if qty is not None:
            _check_number("qty", qty, instrument.lot, "lot", "1/100 contract", fmt_qty, order.symbol)
        if price is not None:
            _check_number("price", price, instrument.tick, "tick", "1/10000 dollar", fmt_price, order.symbol)
        if self.latched or self._is_held(order) or not order.is_open:
            return False
        new_qty = order.qty if qty is None else qty
        new_price = order.price if price is None else price
        if new_qty <= order.cum_qty:
            _wrong(
                "qty",
                qty,
                f"above the {fmt_qty(order.cum_qty)} that are filled: it is the new total; or cancel",
            )
        if new_qty == order.qty and new_price == order.price:
            return False
        order.request_id = self._ids()
        order.request_kind = "replace"
        order.made_ns = self.mono_ns
        self._send(
            ReplaceOrder(
                cl_ord_id=order.request_id,
                orig_cl_ord_id=order.cl_ord_id,
                symbol=order.symbol,
                side=order.side,
                qty=new_qty,
                price=new_price,
                trigger_ns=self.trigger_ns,
                made_ns=self.mono_ns,
            )
        )
        return True

    def _is_held(self, order: Order) -> bool:
        # A replace may still wait in the guard's queue: a newer one takes its place there, a cancel overtakes it.
        waits = self.queues and order.request_kind == "replace" and order.state in _WORKING
        return order.pending and not waits

    def cancel_all(self, symbol: str | None = None) -> None:
        """See `Context.cancel_all`."""
        if symbol is not None:
            self.instrument(symbol)
        self._send(CancelAll(symbol=symbol or ""))

    def _send(self, intent: NewOrder | ReplaceOrder | CancelOrder | CancelAll) -> None:
        self.intents += 1
        self._out.send("guard.orders", intent)

    # -- what can be seen ----------------------------------------------------------------------------------------

    def book(self, symbol: str) -> Book | None:
        """See `Context.book`."""
        self.instrument(symbol)
        view = self._feed.views[symbol]
        return view.book if view.usable else None

    def market_state(self, symbol: str) -> FeedState:
        """See `Context.market_state`."""
        self.instrument(symbol)
        return self._feed.views[symbol].state

    def instrument(self, symbol: str) -> Instrument:
        """See `Context.instrument`."""
        try:
            return self._instruments[symbol]
        except (KeyError, TypeError):
            _wrong("symbol", symbol, "one of this strategy's markets: " + ", ".join(self.markets))

    def position(self, symbol: str) -> int:
        """See `Context.position`."""
        self.instrument(symbol)
        return self._tape.positions.get(symbol, 0)

    def orders(self, symbol: str | None = None) -> list[Order]:
        """See `Context.orders`."""
        if symbol is None:
            return list(self._tape.orders.values())
        self.instrument(symbol)
        return [order for order in self._tape.orders.values() if order.symbol == symbol]

    # -- timers and words ----------------------------------------------------------------------------------------

    def set_timer(self, name: str, seconds: float = 0, *, ns: int = 0, repeat: bool = False) -> None:
        """See `Context.set_timer`."""
        if type(name) is not str:
            _wrong("name", name, "text")
        if type(seconds) not in {int, float} or not 0 <= seconds < 1e9:  # NaN fails the comparison
            _wrong("seconds", seconds, "a number from 0 to 1e9")
        if type(ns) is not int or ns < 0:
            _wrong("ns", ns, "an int, 0 or more")
        after_ns = ns + round(seconds * SECOND)
        if after_ns <= 0:
            _wrong("seconds", seconds, "a positive time (or ns=...)")
        if repeat and after_ns < MS:
            _wrong("seconds", seconds, "at least 0.001 for a repeating timer")
        self.timers.pop(name, None)  # so that timers of one instant fire in the order in which they were set
        self.timers[name] = Timer(self.mono_ns + after_ns, after_ns if repeat else 0)

    def cancel_timer(self, name: str) -> None:
        """See `Context.cancel_timer`."""
        self.timers.pop(name, None)

    def due_timers(self) -> list[str]:
        """Return the names of the timers that are due, earliest first, and move or forget them."""
        due = [(timer.due_ns, name) for name, timer in self.timers.items() if timer.due_ns <= self.mono_ns]
        due.sort(key=lambda pair: pair[0])  # stable: names of one instant stay in the order of setting
        for _, name in due:
            timer = self.timers[name]
            if timer.period_ns:
                # a late worker skips what it missed: a timer fires once, then in step again
                missed = (self.mono_ns - timer.due_ns) // timer.period_ns
                timer.due_ns += (missed + 1) * timer.period_ns
            else:
                del self.timers[name]
        return [name for _, name in due]

    def log(self, text: str) -> None:
        """See `Context.log`."""
        second = self.mono_ns // SECOND
        if second != self._log_second:
            self._log_second, self._log_lines = second, 0
        self._log_lines += 1
        if self._log_lines <= LOG_LINES_PER_S:
            self._out.log("info", " ".join(str(text)[:LOG_TEXT_MAX].split()))
        elif self._log_lines == LOG_LINES_PER_S + 1:
            self._out.log(
                "warning", f"more than {LOG_LINES_PER_S} lines a second: the rest of this second is left out"
            )


def _is_plain(text: object) -> bool:
    return type(text) is str and len(text) <= GROUP_MAX and text.isascii() and text.isprintable()


def _wrong(what: str, value: object, right: str) -> NoReturn:
    raise ValueError(f"{what}={value!r} is not possible: {right}")


def _check_number(
    what: str, value: object, step: int, step_name: str, unit: str, fmt: Any, symbol: str
) -> None:
    if type(value) is int and 0 < value <= NUMBER_MAX and value % step == 0:
        return
    helper = "contracts(5) makes one" if what == "qty" else 'price("19.50") makes one'
    if type(value) is not int:
        _wrong(what, value, f"an int in {unit} ({helper}), not {type(value).__name__}")
    if not 0 < value <= NUMBER_MAX:
        _wrong(what, value, f"more than 0 and at most {NUMBER_MAX}, in {unit} ({helper})")
    _wrong(what, value, f"a multiple of {symbol}'s {step_name} of {fmt(step)} ({step} in {unit})")
