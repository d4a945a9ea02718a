"""What a strategy is written against: `Strategy`, `Context`, `Order`, and a few values.

A strategy is a class with a typed `Config` and callbacks. Callbacks are plain functions, called one at a time; they may
keep any state on `self`, and act through `self.ctx`. They must return soon: while one runs, nothing else does.

    class Mine(Strategy):
        class Config(StrategyConfigBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
            qty: int = 5

        config: Config

        def on_book(self, book: Book) -> None:
            if book.two_sided and not self.ctx.orders(book.symbol):
                self.ctx.buy(book.symbol, contracts(self.config.qty), book.bid, post_only=True)

Numbers are exact and are ints everywhere: prices in 1/10000 dollar, quantities in 1/100 contract, money in 1/1000000
dollar. `price("19.50")` and `contracts(5)` make them, `fmt_price`, `fmt_qty` and `fmt_money` show them. What isn't an
int, isn't positive or isn't a multiple of the market's tick or lot raises ValueError in the callback that said it.

An order is what the venue says it is: `Order` objects change only by the tape of order events (and by the guard's
refusal), never because a request was sent.
"""

from enum import StrEnum
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import msgspec

from engine.book.book import Book
from engine.common.fixed_point import (
    ONE_CONTRACT,
    PRICE_DECIMALS,
    QTY_DECIMALS,
    format_fixed,
    format_money,
    notional,
    parse_fixed,
)
from engine.messages.commands import Side, TimeInForce
from engine.messages.executions import TERMINAL, OrderState
from engine.messages.market_data import FeedState

__all__ = [
    "CLOSED",
    "PENDING_GUARD",
    "REFUSED",
    "Book",
    "Context",
    "FeedState",
    "Fill",
    "Instrument",
    "Order",
    "OrderState",
    "Refusal",
    "Side",
    "Strategy",
    "StrategyConfigBase",
    "TimeInForce",
    "Trade",
    "contracts",
    "fmt_money",
    "fmt_price",
    "fmt_qty",
    "notional",
    "price",
]

PENDING_GUARD: Final = "PENDING_GUARD"  # sent to the guard, nothing on the tape yet
REFUSED: Final = "REFUSED"  # the guard, or this worker, refused it: it never left
CLOSED: Final = "CLOSED"  # it is over, but how was missed while the tape couldn't be read

_OVER: Final = frozenset({*TERMINAL, REFUSED, CLOSED})
_BUSY: Final = frozenset(
    {
        PENDING_GUARD,
        OrderState.SUBMITTING,
        OrderState.PENDING_NEW,
        OrderState.PENDING_REPLACE,
        OrderState.PENDING_CANCEL,
        OrderState.UNKNOWN,
    }
)


def price(dollars: str) -> int:
    """Return a price in 1/10000 dollar from decimal text: `price("19.50")` is 195000.

    Raises:
        ValueError: not text, not a plain decimal, or more than 4 decimals.
    """
    if not isinstance(dollars, str):
        raise ValueError(  # noqa: TRY004 - one error for every impossible value
            f'price({dollars!r}): write the price as text, like price("19.50"); floats are not exact'
        )
    return parse_fixed(dollars, PRICE_DECIMALS)


def contracts(number: int | str) -> int:
    """Return a quantity in 1/100 contract: `contracts(5)` is 500.

    Raises:
        ValueError: a float, a bool, not a plain decimal, or more than 2 decimals.
    """
    if isinstance(number, str):
        return parse_fixed(number, QTY_DECIMALS)
    if type(number) is not int:
        raise ValueError(f"contracts({number!r}): give whole contracts as an int, or decimal text")
    return number * ONE_CONTRACT


def fmt_price(value: int) -> str:
    """Write a price for people: 195000 is `19.5000`."""
    return format_fixed(value, PRICE_DECIMALS)


def fmt_qty(value: int) -> str:
    """Write a quantity for people, without the decimals of whole contracts: 500 is `5`."""
    return str(value // ONE_CONTRACT) if value % ONE_CONTRACT == 0 else format_fixed(value, QTY_DECIMALS)


def fmt_money(value: int) -> str:
    """Write money for people, to the cent: 12345678 is `12.35`."""
    return format_money(value, 2)


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a market: tick in 1/10000 dollar, lot in 1/100 contract, dollars per contract and dollar of price."""

    symbol: str
    tick: int = 1
    lot: int = ONE_CONTRACT
    contract_multiplier: int = 1


class Trade(NamedTuple):
    """A trade of the market, anybody's.

    Attributes:
        price: 1/10000 dollar. qty: 1/100 contract.
        aggressor: 1 a buyer took, 2 a seller took, 0 not said.
        sending_ns: the venue's SendingTime, wall ns.
    """

    symbol: str
    price: int
    qty: int
    aggressor: int
    sending_ns: int


class Fill(NamedTuple):
    """A trade of an own order.

    Attributes:
        side: 1 buy, 2 sell. price: 1/10000 dollar. qty: 1/100 contract. fee: money as the venue charged it.
        taker: the order took; False: it rested, or the venue didn't say.
        position: this strategy's position in the market after it, 1/100 contract, signed.
        late: the fill came after the order had ended; the position moved all the same.
    """

    symbol: str
    side: int
    price: int
    qty: int
    fee: int
    taker: bool
    exec_id: str
    position: int
    late: bool


class Refusal(NamedTuple):
    """A request that never left: by the guard, or by this worker.

    Attributes:
        request: `new`, `replace` or `cancel`.
        control: which control refused (`max_qty`, `collar`, `tokens`, `halted`, `queue`, `no_answer`...).
        limit, value: the control's limit and what the request would have made of it.
        text: the whole in one sentence.
    """

    request: str
    control: str
    text: str
    limit: int = 0
    value: int = 0


class OrderActions(Protocol):
    """What an order needs of its context."""

    def cancel(self, order: "Order") -> bool:
        """See `Context.cancel`."""

    def replace(self, order: "Order", qty: int | None = None, price: int | None = None) -> bool:
        """See `Context.replace`."""


class Order:
    """An order of this strategy, as the tape last showed it.

    Attributes:
        id: ClOrdID of its first request; names the order for its whole life.
        cl_ord_id: the ClOrdID in force.
        side: 1 buy, 2 sell. qty: total, 1/100 contract. price: 1/10000 dollar.
        state: PENDING_GUARD, one of `OrderState`, REFUSED or CLOSED.
        leaves_qty, cum_qty: what is open and what is filled, 1/100 contract.
        missing_qty: filled as well, by the venue's CumQty, but these fills were lost and are not in `position` yet.
        text: the venue's or the guard's last word about it (`POST_ONLY_CROSS`...).
    """

    __slots__ = (
        "_actions",
        "cl_ord_id",
        "cum_qty",
        "group",
        "id",
        "leaves_qty",
        "made_ns",
        "missing_qty",
        "post_only",
        "price",
        "qty",
        "request_id",
        "request_kind",
        "side",
        "state",
        "symbol",
        "text",
        "tif",
    )

    def __init__(
        self,
        actions: OrderActions,
        order_id: str,
        symbol: str,
        side: int,
        qty: int,
        price: int,
        *,
        tif: str = "1",
        post_only: bool = False,
        group: str = "",
        made_ns: int = 0,
    ) -> None:
        self._actions = actions
        self.id = order_id
        self.cl_ord_id = order_id
        self.symbol = symbol
        self.side = side
        self.qty = qty
        self.price = price
        self.tif = tif
        self.post_only = post_only
        self.group = group
        self.state: str = PENDING_GUARD
        self.leaves_qty = qty
        self.cum_qty = 0
        self.missing_qty = 0
        self.text = ""
        self.request_id = ""  # of a cancel or replace that the tape hasn't answered
        self.request_kind = ""
        self.made_ns = made_ns  # mono, of the last request

    def __repr__(self) -> str:
        word = "buy" if self.side == Side.BUY else "sell"
        return (
            f"Order({word} {fmt_qty(self.qty)} {self.symbol} at {fmt_price(self.price)}, {self.state}, "
            f"filled {fmt_qty(self.cum_qty)})"
        )

    @property
    def is_open(self) -> bool:
        """It may still trade (or nobody knows yet that it can't)."""
        return self.state not in _OVER

    @property
    def pending(self) -> bool:
        """A request of it is unanswered, or its outcome unknown: cancel and replace return False until that is over.

        With `over_budget = "queue"` a replace that has not left yet holds neither: a newer replace takes its place in the
        guard's queue, a cancel overtakes it.
        """
        return bool(self.request_id) or self.state in _BUSY

    @property
    def is_buy(self) -> bool:
        """Side is buy."""
        return self.side == Side.BUY

    def cancel(self) -> bool:
        """Ask for its cancel; False: not sent, because it is over or a request is pending."""
        return self._actions.cancel(self)

    def replace(self, qty: int | None = None, price: int | None = None) -> bool:
        """Ask for a new total quantity or price; False: not sent, because it is over or a request is pending."""
        return self._actions.replace(self, qty, price)


class Context(Protocol):
    """What a strategy can do and see; `self.ctx` in every callback.

    Attributes:
        name: the strategy's name in the configuration.
        markets: symbols that it sees and may trade, in the configuration's order.
        now: wall clock of this callback, ns since the epoch (UTC).
        latched: why no new order is sent (halted by the guard, stopping), or empty.
    """

    name: str
    markets: tuple[str, ...]
    now: int
    latched: str

    def buy(
        self,
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
        """Wish for a limit order to buy.

        Args:
            symbol: one of `markets`.
            qty: 1/100 contract, a multiple of the lot. price: 1/10000 dollar, a multiple of the tick.
            tif: `GTC`, `DAY`, `IOC`, `FOK` or `GTD` (then `expire`).
            post_only: the venue cancels it with POST_ONLY_CROSS rather than let it take.
            group: id of an order group, or empty.
            reduce_only: the guard refuses it unless it only reduces the strategy's position.
            expire: wall ns, with GTD only.
            stp: whose order yields when it meets another one of the account: `taker` or `maker`.

        Returns:
            The order, PENDING_GUARD; while `latched` it is REFUSED at once and on_refused follows.

        Raises:
            ValueError: an argument is not possible; the text says which and what would be.
        """

    def sell(
        self,
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
        """Wish for a limit order to sell; as `buy`."""

    def cancel(self, order: Order) -> bool:
        """Ask for an order's cancel; False: not sent, because it is over or a request of it is pending."""

    def replace(self, order: Order, qty: int | None = None, price: int | None = None) -> bool:
        """Ask for a new total quantity (filled part included) or price; what is None stays.

        More quantity or another price loses the place in the queue (venue.md section 4).

        Returns:
            False: not sent, because it is over, a request of it is pending, nothing would change, or the strategy is latched.

        Raises:
            ValueError: an argument is not possible, or the new total is not above what is filled.
        """

    def cancel_all(self, symbol: str | None = None) -> None:
        """Cancel every open order of this strategy, of one market when it is named; passes while latched too."""

    def book(self, symbol: str) -> Book | None:
        """Return the book of a market, or None while it can't be trusted. Read it now, don't keep it."""

    def market_state(self, symbol: str) -> FeedState:
        """Return how far a market's data can be trusted."""

    def instrument(self, symbol: str) -> Instrument:
        """Return tick, lot and multiplier of a market."""

    def position(self, symbol: str) -> int:
        """Return this strategy's position in a market, 1/100 contract, signed."""

    def orders(self, symbol: str | None = None) -> list[Order]:
        """Return the open orders of this strategy, oldest first."""

    def set_timer(self, name: str, seconds: float = 0, *, ns: int = 0, repeat: bool = False) -> None:
        """Call `on_timer(name)` after `seconds` (or `ns`), again and again with `repeat`; a set timer of that name moves.

        Raises:
            ValueError: not a positive time; a repeating timer has at least 1 ms.
        """

    def cancel_timer(self, name: str) -> None:
        """Forget a timer."""

    def log(self, text: str) -> None:
        """Say something to the operator; at most 20 lines a second."""


class StrategyConfigBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every strategy's Config: frozen, by keyword, unknown keys refused.

    Check values in `__post_init__` and raise ValueError with a sentence: the user reads it beside strategy and key.
    """


class Strategy:
    """Base of all strategies; every callback may be left out."""

    Config: ClassVar[Any] = StrategyConfigBase  # a subclass of it, nested or named

    def __init__(self, ctx: Context, config: Any) -> None:
        self.ctx = ctx
        self.config = config

    def on_start(self) -> None:
        """Positions and open orders are known; called once, before any other callback."""

    def on_book(self, book: Book) -> None:
        """A live, uncrossed book changed; once for all that was queued, unless `conflate = false`."""

    def on_trade(self, trade: Trade) -> None:
        """Somebody traded; once per trade."""

    def on_order(self, order: Order) -> None:
        """An own order changed."""

    def on_fill(self, order: Order, fill: Fill) -> None:
        """An own order traded; on_order follows."""

    def on_refused(self, order: Order, refusal: Refusal) -> None:
        """A request never left; a new order has ended with it, an order refused a cancel or replace lives on."""

    def on_timer(self, name: str) -> None:
        """A timer is due."""

    def on_market_state(self, symbol: str, state: FeedState, reason: str) -> None:
        """A market's data became usable (LIVE) or unusable."""

    def on_latched(self, halted: bool, why: str) -> None:
        """The guard halted this strategy (no new order is sent) or armed it again."""

    def on_order_entry(self, up: bool, why: str) -> None:
        """Order entry was lost, or is back: while it is not there no request leaves, and what rests stays as it is.

        Told within half a second. `up` is False as well while it is there but not ready, a lost session say.
        """

    def on_stop(self) -> None:
        """The engine stops: the last callback; new orders are refused from here on, cancels pass."""


# what the venue's TimeInForce characters are called in strategies
TIF_CODES: Final = {
    "GTC": TimeInForce.GTC.value,
    "DAY": TimeInForce.DAY.value,
    "IOC": TimeInForce.IOC.value,
    "FOK": TimeInForce.FOK.value,
    "GTD": TimeInForce.GTD.value,
}
STP_CODES: Final = {"taker": 1, "maker": 2}


class Local(StrEnum):
    """Names of the controls with which this worker itself refuses."""

    LATCHED = "halted"
    QUEUE = "queue"
    NO_ANSWER = "no_answer"
