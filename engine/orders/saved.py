"""What a snapshot of order entry's state holds, as structs: plain data, in the order in which it was learned.

`Ledger.save` and `Ledger.restore` make and take it; a restored ledger has the digest of the saved one, and goes on alike.
"""

import msgspec

from engine.messages.executions import OrderEvent, OrderState


class SavedOrder(msgspec.Struct, frozen=True, array_like=True):
    """One `Order`; requests are (ClOrdID, replace, price, qty)."""

    event: OrderEvent
    ids: list[str]
    requests: list[tuple[str, bool, int, int]]
    heard_of: bool
    pending_new: bool
    concluded: bool
    reopened: bool
    terms_key: tuple[int, ...]


class SavedWord(msgspec.Struct, frozen=True, array_like=True):
    """What the venue said last of a market's position."""

    symbol: str
    key: tuple[int, ...]
    position: int
    said: bool
    last_px: int


class SavedPositions(msgspec.Struct, frozen=True, array_like=True):
    """All positions; totals are in the order of `Position.totals`."""

    account: list[tuple[str, tuple[int, ...]]]
    of: list[tuple[int, str, tuple[int, ...]]]
    known: list[tuple[str, int, int]]
    said: list[SavedWord]


class SavedClosed(msgspec.Struct, frozen=True, array_like=True):
    """What is left of an order that was over long ago."""

    strategy: int
    order: str
    state: OrderState
    concluded: bool


class SavedLedger(msgspec.Struct, frozen=True, array_like=True):
    """Everything of a `Ledger`. Orders are named by their place in `orders`, what is left of old ones by that in `closed`."""

    tape_no: int
    strategy_nos: list[tuple[int, int]]
    orders: list[SavedOrder]
    open_orders: list[int]
    unknown: list[str]
    lately_closed: list[int]
    short: list[int]
    foreign: list[OrderEvent]
    by_id: list[tuple[str, int]]
    by_order_id: list[tuple[str, int]]
    closed: list[SavedClosed]
    closed_ids: list[str]
    closed_of: list[int]
    exec_ids: list[str]
    tape: list[OrderEvent]
    positions: SavedPositions
