"""The quick codec for what stands between a tick and an order: 35=X, W and 8 in, D, F and G out; for a venue D, F, G in.

A decoder takes a whole frame as latin-1 text and gives (MsgSeqNum, SendingTime, message), or None when the frame is not
one that it takes in full; then the general way (parse, validate, `codec.decode`) has it and gives the same or says
what is wrong. SendingTime is handed on as it stands: the session reads it. What a decoder gives always equals what
`codec.decode` gives; for market data after `book_message`.

Layout plans do the finding (`engine.kalshi.layouts`), memos of `common.fixed_point` the numbers: texts of prices and
quantities repeat. The encoders write one f-string around what orders of one kind share; a value that could smuggle in a
field goes to the generic encoder, which refuses it.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from engine.common.fixed_point import PRICE_TEXTS, PRICES, QTY_TEXTS, QUANTITIES, parse_money
from engine.fix.fields import Timestamps
from engine.kalshi import codec
from engine.kalshi.dictionary import DICTIONARY
from engine.kalshi.layouts import EntryLayouts, Layouts
from engine.kalshi.messages import (
    ExecutionReport,
    MarketDataIncremental,
    MarketDataSnapshot,
    NewOrderSingle,
    OrderCancelReplaceRequest,
    OrderCancelRequest,
)

_MEMO_MAX: Final = 50_000
_TRADE: Final = "2"  # MDEntryType(269)
_DELETE: Final = "2"  # MDUpdateAction(279)
_AGGRESSORS: Final = {"": 0, "1": 1, "2": 2}
_DATE_TIME: Final = {272: "[0-9]{8}", 273: "[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\\.[0-9]{1,9}+)?"}

MarketChange = tuple[str, list[int], list[int], bool]


class BookMessage(msgspec.Struct, frozen=True, gc=False):
    """What 35=X or 35=W says of books, in the order in which markets are first named.

    Attributes:
        markets: (symbol, levels, trades, reset): levels flat as side (0 bid, 1 offer), price, quantity (0 deletes);
            trades flat as price, quantity, aggressor (1 buy, 2 sell, 0 not said); reset forgets what was before.
    """

    markets: list[MarketChange]


# (MsgSeqNum, SendingTime, message): what a hot decoder gives
Decoded = tuple[int, str, object]


class _Optional(dict[str, int | None]):
    """Text to int like the memo behind it, and "" (absent) to None; bounded."""

    __slots__ = ("_parse",)

    def __init__(self, parse: Callable[[str], int]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: str) -> int | None:
        if len(self) >= _MEMO_MAX:
            self.clear()
        value = self[text] = self._parse(text) if text else None
        return value


_PRICES: Final = _Optional(PRICES.__getitem__)
_QUANTITIES: Final = _Optional(QUANTITIES.__getitem__)
_MONEY: Final = _Optional(parse_money)
_INTS: Final = _Optional(int)
_FLAGS: Final[dict[str | None, bool | None]] = {"": None, "Y": True, "N": False}
_times: Final = Timestamps()

_X: Final = EntryLayouts(
    DICTIONARY,
    "X",
    (34, 52),
    (279, 55, 269, 270, 271, 2446),
    {279: "[012]", 269: "[012]", 2446: "[12]", **_DATE_TIME},
)
_W: Final = EntryLayouts(DICTIONARY, "W", (34, 52, 55), (269, 270, 271), {269: "[01]", **_DATE_TIME})
_PARTY: Final = (79, 448, 452)
_EIGHT: Final = Layouts(
    DICTIONARY,
    "8",
    (
        *(34, 52, 37, 11, 17, 150, 39, 54, 55, 151, 14, 6, 38, 30, 31, 32, 103, 41, 44, 60, 58, 126, 137),
        *(*_PARTY, 704, 705, 1704, 1705, 880, 1057, 2964),
    ),
    strict=False,
    as_text=(6,),
)
_D: Final = Layouts(
    DICTIONARY, "D", (34, 52, 11, 18, 38, 40, 44, 54, 55, 59, 126, *_PARTY, 526, 2964, 21006), strict=True
)
_G: Final = Layouts(DICTIONARY, "G", (34, 52, 11, 37, 41, 38, 40, 44, 54, 55, *_PARTY), strict=True)
_F: Final = Layouts(DICTIONARY, "F", (34, 52, 11, 37, 41, 54, 55, *_PARTY), strict=True)


# -- market data -------------------------------------------------------------------------------------------------


def decode_incremental(text: str) -> Decoded | None:
    """Decode 35=X to a `BookMessage`."""
    values = _X.match(text)
    if values is None:
        return None
    prices, quantities = PRICES, QUANTITIES
    markets: list[MarketChange] = []
    levels: list[int] = []
    trades: list[int] = []
    current = ""
    try:
        for at in range(2, len(values), 6):
            action, symbol, kind, px, size, aggressor = values[at : at + 6]
            if symbol != current:
                current = symbol
                if markets:
                    levels, trades = _lists_of(markets, symbol)
                else:
                    markets.append((symbol, levels, trades, False))
            qty = quantities[size]
            if kind == _TRADE:
                if action == _DELETE:
                    prices[px]
                else:
                    trades += (prices[px], qty, _AGGRESSORS[aggressor])
            else:
                levels += (1 if kind == "1" else 0, prices[px], 0 if action == _DELETE else qty)
    except ValueError:
        return None
    return int(values[0]), values[1], BookMessage(markets)


def _lists_of(markets: list[MarketChange], symbol: str) -> tuple[list[int], list[int]]:
    """Return a market's lists of levels and trades, made when it is new; messages name few markets."""
    for name, levels, trades, _ in markets:
        if name == symbol:
            return levels, trades
    new: MarketChange = (symbol, [], [], False)
    markets.append(new)
    return new[1], new[2]


def decode_snapshot(text: str) -> Decoded | None:
    """Decode 35=W to a `BookMessage` with one market that is reset."""
    values = _W.match(text)
    if values is None:
        return None
    entries = iter(values)
    seq, sending_time, symbol = next(entries), next(entries), next(entries)
    prices, quantities = PRICES, QUANTITIES
    levels: list[int] = []
    try:
        for kind, px, size in zip(entries, entries, entries, strict=True):
            levels += (1 if kind == "1" else 0, prices[px], quantities[size])
    except ValueError:
        return None
    return int(seq), sending_time, BookMessage([(symbol, levels, [], True)])


def book_message(message: MarketDataIncremental | MarketDataSnapshot) -> BookMessage:
    """Convert what the generic codec gives to what the hot decoders give."""
    if isinstance(message, MarketDataSnapshot):
        return BookMessage([(message.symbol, message.levels, [], True)])
    markets: list[MarketChange] = []
    for entry in message.entries:
        levels, trades = _lists_of(markets, entry.symbol)
        is_delete = entry.action == 2
        if entry.entry_type != 2:
            levels += (entry.entry_type, entry.price, 0 if is_delete else entry.qty)
        elif not is_delete:  # a deleted trade changes no level and is no trade
            trades += (entry.price, entry.qty, entry.aggressor_side)
    return BookMessage(markets)


# -- orders and reports ------------------------------------------------------------------------------------------


def decode_execution_report(text: str) -> Decoded | None:
    """Decode 35=8 to an `ExecutionReport`."""
    values = _EIGHT.match(text)
    if values is None:
        return None
    (
        seq, sending_time, order_id, cl_ord_id, exec_id, exec_type, ord_status, side, symbol, leaves_qty, cum_qty,
        avg_px, order_qty, last_mkt, last_px, last_qty, ord_rej_reason, orig_cl_ord_id, price, transact_time,
        text_58, expire_time, fee, alloc_account, party_id, party_role, long_qty, short_qty, collateral,
        collateral_type, trd_match_id, aggressor, stp,
    ) = values  # fmt: skip
    try:
        report = ExecutionReport(  # by position, as by name it takes ten times as long
            order_id, cl_ord_id, exec_id, exec_type, ord_status, side, symbol, QUANTITIES[leaves_qty],
            QUANTITIES[cum_qty], QUANTITIES[order_qty], avg_px, last_mkt, _PRICES[last_px], _QUANTITIES[last_qty],
            _INTS[ord_rej_reason], orig_cl_ord_id, _PRICES[price],
            _times.parse(transact_time) if transact_time else None, text_58,
            _times.parse(expire_time) if expire_time else None, _MONEY[fee], _INTS[alloc_account], party_id,
            party_role, _QUANTITIES[long_qty], _QUANTITIES[short_qty], _MONEY[collateral], collateral_type,
            trd_match_id, aggressor, stp,
        )  # fmt: skip
    except ValueError:
        return None
    return int(seq), sending_time, report


def decode_new_order(text: str) -> Decoded | None:
    """Decode 35=D to a `NewOrderSingle`, as strictly as a gateway must."""
    values = _D.match(text)
    if values is None:
        return None
    (
        seq, sending_time, cl_ord_id, exec_inst, order_qty, ord_type, price, side, symbol, time_in_force,
        expire_time, alloc_account, party_id, party_role, secondary, stp, pause,
    ) = values  # fmt: skip
    try:
        order = NewOrderSingle(
            cl_ord_id, symbol, side, QUANTITIES[order_qty], PRICES[price], ord_type, time_in_force or "0",
            _times.parse(expire_time) if expire_time else None, exec_inst, _INTS[alloc_account], party_id,
            party_role, secondary, stp, _FLAGS[pause],
        )  # fmt: skip
    except ValueError:
        return None
    return int(seq), sending_time, order


def decode_replace(text: str) -> Decoded | None:
    """Decode 35=G to an `OrderCancelReplaceRequest`, as strictly as a gateway must."""
    values = _G.match(text)
    if values is None:
        return None
    (
        seq, sending_time, cl_ord_id, order_id, orig_cl_ord_id, order_qty, ord_type, price, side, symbol,
        alloc_account, party_id, party_role,
    ) = values  # fmt: skip
    try:
        request = OrderCancelReplaceRequest(
            cl_ord_id=cl_ord_id,
            orig_cl_ord_id=orig_cl_ord_id,
            symbol=symbol,
            side=side,
            order_qty=QUANTITIES[order_qty],
            price=_PRICES[price],
            ord_type=ord_type,
            order_id=order_id,
            alloc_account=_INTS[alloc_account],
            party_id=party_id,
            party_role=party_role,
        )
    except ValueError:
        return None
    return int(seq), sending_time, request


def decode_cancel(text: str) -> Decoded | None:
    """Decode 35=F to an `OrderCancelRequest`, as strictly as a gateway must."""
    values = _F.match(text)
    if values is None:
        return None
    (
        seq, sending_time, cl_ord_id, order_id, orig_cl_ord_id, side, symbol, alloc_account, party_id, party_role,
    ) = values  # fmt: skip
    request = OrderCancelRequest(
        cl_ord_id=cl_ord_id,
        orig_cl_ord_id=orig_cl_ord_id,
        symbol=symbol,
        side=side,
        order_id=order_id,
        alloc_account=_INTS[alloc_account],
        party_id=party_id,
        party_role=party_role,
    )
    return int(seq), sending_time, request


HotDecode = Callable[[str], Decoded | None]
HOT: Final[dict[str, HotDecode]] = {
    "X": decode_incremental,
    "W": decode_snapshot,
    "8": decode_execution_report,
}
VENUE_HOT: Final[dict[str, HotDecode]] = {
    "D": decode_new_order,
    "F": decode_cancel,
    "G": decode_replace,
}


# -- encoding ----------------------------------------------------------------------------------------------------


def encode_new_order(order: NewOrderSingle) -> str:
    """Return the body of 35=D. Raises LocalProtocolError as `codec.encode_body`."""
    cl_ord_id = order.cl_ord_id
    template = _TEMPLATES.get(
        (
            order.symbol,
            order.side,
            order.time_in_force,
            order.exec_inst,
            order.self_trade_prevention_type,
            order.cancel_order_on_pause,
            order.secondary_cl_ord_id,
            order.alloc_account,
            order.expire_time_ns,
            order.ord_type,
            order.party_id,
            order.party_role,
        )
    )
    if template is None:
        template = _new_template(order)
    if not cl_ord_id or "\x01" in cl_ord_id or not cl_ord_id.isascii():
        return codec.encode_body(order)[1]
    before, between, after = template
    return f"11={cl_ord_id}{before}{QTY_TEXTS[order.order_qty]}{between}{PRICE_TEXTS[order.price]}{after}"


# what all orders of one kind share, written and checked once by the generic encoder: before the quantity, between it
# and the price, and after that
_TEMPLATES: Final[dict[tuple[object, ...], tuple[str, str, str]]] = {}
_TEMPLATES_MAX: Final = 4096


def _new_template(order: NewOrderSingle) -> tuple[str, str, str]:
    body = codec.encode_body(order)[1]  # no value holds a SOH now, so a field's start is found for certain
    before, qty, rest = body[len(f"11={order.cl_ord_id}") :].partition("\x0138=")
    between, price, rest = rest[len(QTY_TEXTS[order.order_qty]) :].partition("\x0144=")
    template = (before + qty, between + price, rest[len(PRICE_TEXTS[order.price]) :])
    if len(_TEMPLATES) >= _TEMPLATES_MAX:
        _TEMPLATES.clear()
    key = (
        order.symbol,
        order.side,
        order.time_in_force,
        order.exec_inst,
        order.self_trade_prevention_type,
        order.cancel_order_on_pause,
        order.secondary_cl_ord_id,
        order.alloc_account,
        order.expire_time_ns,
        order.ord_type,
        order.party_id,
        order.party_role,
    )
    _TEMPLATES[key] = template
    return template


def encode_replace(request: OrderCancelReplaceRequest) -> str:
    """Return the body of 35=G. Raises LocalProtocolError as `codec.encode_body`."""
    if request.party_id or request.alloc_account is not None:
        return codec.encode_body(request)[1]
    order_id = f"37={request.order_id}\x01" if request.order_id else ""
    price = "" if request.price is None else f"44={PRICE_TEXTS[request.price]}\x01"
    body = (
        f"11={request.cl_ord_id}\x01{order_id}41={request.orig_cl_ord_id}\x01"
        f"38={QTY_TEXTS[request.order_qty]}\x0140={request.ord_type}\x01{price}"
        f"54={request.side}\x0155={request.symbol}\x01"
    )
    fields = 6 + (order_id != "") + (price != "")
    return body if _sound(body, fields) else codec.encode_body(request)[1]


def encode_cancel(request: OrderCancelRequest) -> str:
    """Return the body of 35=F. Raises LocalProtocolError as `codec.encode_body`."""
    if request.party_id or request.alloc_account is not None:
        return codec.encode_body(request)[1]
    order_id = f"37={request.order_id}\x01" if request.order_id else ""
    body = (
        f"11={request.cl_ord_id}\x01{order_id}41={request.orig_cl_ord_id}\x01"
        f"54={request.side}\x0155={request.symbol}\x01"
    )
    return body if _sound(body, 4 + (order_id != "")) else codec.encode_body(request)[1]


def _sound(body: str, fields: int) -> bool:
    # as many SOH as fields were written, no field empty, nothing beyond latin-1's first half
    return body.count("\x01") == fields and "=\x01" not in body and body.isascii()
