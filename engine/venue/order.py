"""What the exchange keeps of an order, and of the session that sent it.

An `Owner` is a session in the venue's sense (TargetCompID and API key), not a connection: it outlives disconnects, so
that an order that rests while its sender is away reports to the sender's next connection. Its `Flags` are those of
the last Logon.
"""

from typing import NamedTuple

import msgspec

from engine.venue.matching import STP_TAKER, BookOrder

NEW = "0"
PARTIALLY_FILLED = "1"
FILLED = "2"
CANCELED = "4"
REPLACED = "5"
PENDING_CANCEL = "6"
REJECTED = "8"
PENDING_NEW = "A"
EXPIRED = "C"
PENDING_REPLACE = "E"
TRADE = "F"

DAY = "0"
GTC = "1"
IOC = "3"
FOK = "4"
GTD = "6"


SYSTEM = "system|"  # an owner's key begins so: the venue's own orders for an account
FOREIGN = "foreign|"  # orders from elsewhere: the web, REST, keys that no session here has


class Flags(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The Logon flags that shape an owner's reports and the fate of its orders (venue.md section 2).

    Attributes:
        cancel_on_disconnect: 8013. ioc_cancel_report: 21007. original_qty: 21008. skip_pending: 21011.
        expired_status: 21012. new_before_trade: 21026. listener: 20126.
    """

    cancel_on_disconnect: bool = False
    ioc_cancel_report: bool = False
    original_qty: bool = False
    skip_pending: bool = False
    expired_status: bool = False
    new_before_trade: bool = False
    listener: bool = False


class Owner:
    """A session that owns orders. orders holds its open ones by OrderID, in the order in which they came.

    first_order: number of the first order that its present connection can have sent.
    system: it stands for the venue itself (liquidations, exit triggers) or for sessions elsewhere (`foreign`).
    """

    __slots__ = ("account", "first_order", "flags", "key", "orders", "system")

    def __init__(self, key: str, account: str, flags: Flags | None = None) -> None:
        self.key = key  # `KalshiNR|<api key>`
        self.account = account
        self.flags = flags or Flags()
        self.orders: dict[str, Order] = {}
        self.first_order = 0
        self.system = key.startswith(SYSTEM)


class OrderTerms(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An order as the journal keeps it: enough to let it rest again after a restart."""

    order_id: str
    account: str
    owner: str
    cl_ord_ids: list[str]
    symbol: str
    side: int
    price: int
    qty: int
    leaves: int
    cum: int = 0
    value: int = 0
    status: str = NEW
    tif: str = GTC
    expire_ns: int = 0
    post_only: bool = False
    stp: str = STP_TAKER
    cancel_on_pause: bool = False
    alloc_account: int | None = None
    group: str = ""
    priority: int = 0
    flags: Flags = Flags()


class Order(BookOrder):
    """A client's order, or (owner None) one of the synthetic flow.

    Attributes:
        qty: total in force; cum: filled; leaves (of BookOrder): what may still trade, kept when it is closed.
        value: sum of price * quantity of its fills, for AvgPx.
        closed: it will never trade again; status then says how it ended.
        announced: a report about it has gone out already.
        priority: number of the event that gave it its place in the queue. number: in the order of acceptance.
    """

    __slots__ = (
        "alloc_account",
        "announced",
        "cancel_on_pause",
        "cl_ord_ids",
        "closed",
        "cum",
        "expire_ns",
        "group",
        "number",
        "order_id",
        "owner",
        "post_only",
        "priority",
        "qty",
        "status",
        "stp",
        "symbol",
        "tif",
        "value",
    )

    def __init__(
        self, order_id: str, account: str, owner: Owner | None, symbol: str, side: int, price: int, qty: int
    ) -> None:
        super().__init__(account, side, price, qty)
        self.order_id = order_id
        self.owner = owner
        self.symbol = symbol
        self.qty = qty
        self.cum = 0
        self.value = 0
        self.status = NEW
        self.closed = False
        self.announced = False
        self.tif = GTC
        self.expire_ns = 0
        self.post_only = False
        self.stp = STP_TAKER
        self.cancel_on_pause = False
        self.alloc_account: int | None = None
        self.group = ""
        self.cl_ord_ids: list[str] = []
        self.priority = 0
        self.number = 0

    @property
    def cl_ord_id(self) -> str:
        """ClOrdID of the last request that changed it."""
        return self.cl_ord_ids[-1]

    def terms(self) -> OrderTerms:
        """Return what the journal keeps."""
        assert self.owner is not None, "the synthetic flow is not journalled"
        return OrderTerms(
            order_id=self.order_id,
            account=self.account,
            owner=self.owner.key,
            cl_ord_ids=list(self.cl_ord_ids),
            symbol=self.symbol,
            side=self.side,
            price=self.price,
            qty=self.qty,
            leaves=0 if self.closed else self.leaves,
            cum=self.cum,
            value=self.value,
            status=self.status,
            tif=self.tif,
            expire_ns=self.expire_ns,
            post_only=self.post_only,
            stp=self.stp,
            cancel_on_pause=self.cancel_on_pause,
            alloc_account=self.alloc_account,
            group=self.group,
            priority=self.priority,
            flags=self.owner.flags,
        )

    @classmethod
    def from_terms(cls, terms: OrderTerms, owner: Owner) -> "Order":
        """Make the order again that a journal entry describes."""
        order = cls(terms.order_id, terms.account, owner, terms.symbol, terms.side, terms.price, terms.qty)
        order.leaves = terms.leaves
        order.cum = terms.cum
        order.value = terms.value
        order.status = terms.status
        order.closed = terms.leaves == 0
        order.announced = True
        order.tif = terms.tif
        order.expire_ns = terms.expire_ns
        order.post_only = terms.post_only
        order.stp = terms.stp
        order.cancel_on_pause = terms.cancel_on_pause
        order.alloc_account = terms.alloc_account
        order.group = terms.group
        order.cl_ord_ids = list(terms.cl_ord_ids)
        order.priority = terms.priority
        return order


class Refusal(NamedTuple):
    """Why the exchange refuses: OrdRejReason(103) or CxlRejReason(102), and Text(58)."""

    reason: int
    text: str
