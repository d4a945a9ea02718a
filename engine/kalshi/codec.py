"""The generic codec: every application message of the venue, both directions, from tables.

One row per field says tag, attribute and kind; the rows stand in the order of the venue's dictionary and are read by
both directions. Slower than `engine.kalshi.hot` and the measure of it: what hot decodes must equal what this decodes.

Decoding takes the first value of a tag, skips tags that it doesn't know (the venue adds fields at any time) and raises
`BadField` for a value that it can't read exactly. Market-data entries of a type other than bid, offer and trade are
left out, because they change no level; an update action that isn't known can't be left out and is a BadField.

Encoding refuses values that hold a SOH or what latin-1 lacks: no id, text or symbol can smuggle in a field.
"""

import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

import msgspec

from engine.common.clock import fix_time, parse_fix_time
from engine.common.fixed_point import (
    PRICE_TEXTS,
    PRICES,
    QTY_TEXTS,
    QUANTITIES,
    OutOfRangeError,
    format_money,
    parse_money,
)
from engine.fix.errors import LocalProtocolError, RemoteProtocolError
from engine.fix.fields import clean_text
from engine.fix.message import FixMessage, groups
from engine.kalshi import messages as m
from engine.kalshi.dictionary import DICTIONARY
from engine.kalshi.messages import ApplicationMessage, Logon, MarketDataEntry

_UNFIT: Final = re.compile("[\x01\u0100-\U0010ffff]").search
_INT: Final = re.compile(r"-?[0-9]{1,18}").fullmatch
_AGGRESSORS: Final = {"1": 1, "2": 2}
_FEE_MEMBERS: Final = (137, 138, 139, 891)
_PARTY_MEMBERS: Final = (448, 452)
_COLLATERAL_MEMBERS: Final = (1704, 1705)
_LEVEL_MEMBERS: Final = (269, 270, 271, 272, 273)
_ENTRY_MEMBERS: Final = (279, 55, 269, 270, 271, 272, 273, 2446)


class BadField(ValueError):  # noqa: N818 - it names what is bad, in the session's words
    """A field is missing or can't be read.

    Attributes:
        tag: RefTagID(371). text: what is wrong, for Text(58).
        reason: SessionRejectReason(373): 6 for a wrong format, 5 for a value out of range.
    """

    def __init__(self, tag: int, text: str, reason: int = 6) -> None:
        super().__init__(text)
        self.tag = tag
        self.text = text
        self.reason = reason


class _Kind(Enum):
    TEXT = auto()
    FREE = auto()  # Text(58): cleaned instead of refused
    CHAR = auto()
    FLAG = auto()  # Y or N kept as text
    DIGITS = auto()  # a number kept as text
    INT = auto()
    PRICE = auto()
    QTY = auto()
    TIME = auto()
    BOOL = auto()
    FEES = auto()
    PARTIES = auto()
    COLLATERAL = auto()
    SYMBOLS = auto()
    LEVELS = auto()
    ENTRIES = auto()


_K = _Kind
Row = tuple[int, str, _Kind]

_PARTY_ROWS: Final[tuple[Row, ...]] = ((453, "", _K.PARTIES), (79, "alloc_account", _K.INT))
_ROWS: Final[dict[type[msgspec.Struct], tuple[str, tuple[Row, ...]]]] = {
    m.NewOrderSingle: (
        "D",
        (
            (11, "cl_ord_id", _K.TEXT),
            (18, "exec_inst", _K.TEXT),
            (38, "order_qty", _K.QTY),
            (40, "ord_type", _K.CHAR),
            (44, "price", _K.PRICE),
            (54, "side", _K.CHAR),
            (55, "symbol", _K.TEXT),
            (59, "time_in_force", _K.CHAR),
            (126, "expire_time_ns", _K.TIME),
            *_PARTY_ROWS,
            (526, "secondary_cl_ord_id", _K.TEXT),
            (2964, "self_trade_prevention_type", _K.DIGITS),
            (21006, "cancel_order_on_pause", _K.BOOL),
        ),
    ),
    m.OrderCancelReplaceRequest: (
        "G",
        (
            (11, "cl_ord_id", _K.TEXT),
            (37, "order_id", _K.TEXT),
            (41, "orig_cl_ord_id", _K.TEXT),
            (38, "order_qty", _K.QTY),
            (40, "ord_type", _K.CHAR),
            (44, "price", _K.PRICE),
            (54, "side", _K.CHAR),
            (55, "symbol", _K.TEXT),
            *_PARTY_ROWS,
        ),
    ),
    m.OrderCancelRequest: (
        "F",
        (
            (11, "cl_ord_id", _K.TEXT),
            (37, "order_id", _K.TEXT),
            (41, "orig_cl_ord_id", _K.TEXT),
            (54, "side", _K.CHAR),
            (55, "symbol", _K.TEXT),
            *_PARTY_ROWS,
        ),
    ),
    m.ExecutionReport: (
        "8",
        (
            (37, "order_id", _K.TEXT),
            (11, "cl_ord_id", _K.TEXT),
            (17, "exec_id", _K.TEXT),
            (150, "exec_type", _K.CHAR),
            (39, "ord_status", _K.CHAR),
            (54, "side", _K.CHAR),
            (55, "symbol", _K.TEXT),
            (151, "leaves_qty", _K.QTY),
            (14, "cum_qty", _K.QTY),
            (6, "avg_px", _K.TEXT),
            (38, "order_qty", _K.QTY),
            (30, "last_mkt", _K.TEXT),
            (31, "last_px", _K.PRICE),
            (32, "last_qty", _K.QTY),
            (103, "ord_rej_reason", _K.INT),
            (41, "orig_cl_ord_id", _K.TEXT),
            (44, "price", _K.PRICE),
            (60, "transact_time_ns", _K.TIME),
            (58, "text", _K.FREE),
            (126, "expire_time_ns", _K.TIME),
            (136, "misc_fee_amt", _K.FEES),
            *_PARTY_ROWS,
            (704, "long_qty", _K.QTY),
            (705, "short_qty", _K.QTY),
            (1703, "collateral_amount_change", _K.COLLATERAL),
            (880, "trd_match_id", _K.TEXT),
            (1057, "aggressor_indicator", _K.FLAG),
            (2964, "self_trade_prevention_type", _K.DIGITS),
        ),
    ),
    m.OrderCancelReject: (
        "9",
        (
            (37, "order_id", _K.TEXT),
            (11, "cl_ord_id", _K.TEXT),
            (41, "orig_cl_ord_id", _K.TEXT),
            (39, "ord_status", _K.CHAR),
            (434, "cxl_rej_response_to", _K.CHAR),
            (102, "cxl_rej_reason", _K.INT),
            (58, "text", _K.FREE),
        ),
    ),
    m.OrderMassCancelRequest: ("q", ((11, "cl_ord_id", _K.TEXT), (530, "mass_cancel_request_type", _K.CHAR))),
    m.OrderMassCancelReport: (
        "r",
        (
            (11, "cl_ord_id", _K.TEXT),
            (37, "order_id", _K.TEXT),
            (531, "mass_cancel_response", _K.CHAR),
            (532, "mass_cancel_reject_reason", _K.DIGITS),
        ),
    ),
    m.BusinessMessageReject: (
        "j",
        (
            (45, "ref_seq_num", _K.INT),
            (372, "ref_msg_type", _K.TEXT),
            (379, "business_reject_ref_id", _K.TEXT),
            (380, "business_reject_reason", _K.INT),
            (58, "text", _K.FREE),
        ),
    ),
    m.OrderGroupRequest: (
        "UOG",
        (
            (20131, "order_group_action", _K.DIGITS),
            (20132, "order_group_contracts_limit", _K.INT),
            (20130, "order_group_id", _K.TEXT),
            (79, "alloc_account", _K.INT),
        ),
    ),
    m.OrderGroupResponse: (
        "UOH",
        (
            (20130, "order_group_id", _K.TEXT),
            (20132, "order_group_contracts_limit", _K.INT),
            (79, "alloc_account", _K.INT),
        ),
    ),
    m.EventResendRequest: ("U1", ((21001, "begin_exec_id", _K.TEXT), (21002, "end_exec_id", _K.TEXT))),
    m.EventResendComplete: ("U2", ((45, "ref_seq_num", _K.INT), (21003, "resend_event_count", _K.INT))),
    m.EventResendReject: ("U3", ((45, "ref_seq_num", _K.INT), (21004, "event_resend_reject_reason", _K.INT))),
    m.MarketDataRequest: ("V", ((263, "subscription_request_type", _K.CHAR), (146, "symbols", _K.SYMBOLS))),
    m.MarketDataSnapshot: ("W", ((55, "symbol", _K.TEXT), (268, "levels", _K.LEVELS))),
    m.MarketDataIncremental: ("X", ((268, "entries", _K.ENTRIES),)),
    m.MarketDataRequestReject: ("Y", ((281, "md_req_rej_reason", _K.CHAR), (58, "text", _K.FREE))),
    m.SecurityStatusRequest: ("e", ((263, "subscription_request_type", _K.CHAR), (55, "symbol", _K.TEXT))),
    m.SecurityStatus: ("f", ((55, "symbol", _K.TEXT), (326, "security_trading_status", _K.INT))),
}

# in the order of venue.md section 2
_LOGON_ROWS: Final[tuple[Row, ...]] = (
    (8013, "cancel_orders_on_disconnect", _K.BOOL),
    (20126, "listener_session", _K.BOOL),
    (20200, "message_retention_period_h", _K.INT),
    (21005, "use_dollars", _K.BOOL),
    (21007, "enable_ioc_cancel_report", _K.BOOL),
    (21008, "preserve_original_order_qty", _K.BOOL),
    (21011, "skip_pending_exec_reports", _K.BOOL),
    (21012, "use_expired_ord_status", _K.BOOL),
    (21026, "always_emit_new_before_trade", _K.BOOL),
)


def _required(kind: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.name for field in msgspec.structs.fields(kind) if field.required)


_BY_MSG_TYPE: Final = {msg_type: (kind, rows, _required(kind)) for kind, (msg_type, rows) in _ROWS.items()}


def _name(tag: int) -> str:
    return DICTIONARY.name(tag)


# -- decoding ----------------------------------------------------------------------------------------------------


def _char(value: str) -> str:
    if len(value) != 1:
        raise ValueError(f"{value[:40]!r} is not one character")
    return value


def _flag(value: str) -> str:
    if value not in {"Y", "N"}:
        raise ValueError(f"{value[:40]!r} is not Y or N")
    return value


def _digits(value: str) -> str:
    if _INT(value) is None:
        raise ValueError(f"{value[:40]!r} is not a whole number")
    return value


def _bool(value: str) -> bool:
    return _flag(value) == "Y"


def _int(value: str) -> int:
    return int(_digits(value))


_READERS: Final[dict[_Kind, Callable[[str], Any]]] = {
    _K.TEXT: str,
    _K.FREE: str,
    _K.CHAR: _char,
    _K.FLAG: _flag,
    _K.DIGITS: _digits,
    _K.INT: _int,
    _K.PRICE: PRICES.__getitem__,
    _K.QTY: QUANTITIES.__getitem__,
    _K.TIME: parse_fix_time,
    _K.BOOL: _bool,
}


def _read(reader: Callable[[str], Any], tag: int, value: str) -> Any:
    if not value:
        raise BadField(tag, f"{_name(tag)} has no value")
    try:
        return reader(value)
    except ValueError as error:
        reason = 5 if isinstance(error, OutOfRangeError) else 6
        raise BadField(tag, f"{_name(tag)}: {error}", reason) from None


def _member(entry: dict[int, str], tag: int, reader: Callable[[str], Any]) -> Any:
    value = entry.get(tag)
    if value is None:
        raise BadField(tag, f"{_name(tag)} is missing in its group")
    return _read(reader, tag, value)


def _entries(message: FixMessage, count_tag: int, members: tuple[int, ...]) -> list[dict[int, str]]:
    try:
        return groups(message.pairs, count_tag, members)
    except RemoteProtocolError as error:
        raise BadField(error.ref_tag or count_tag, error.text) from None


def _fees(message: FixMessage) -> dict[str, Any]:
    entries = _entries(message, 136, _FEE_MEMBERS)
    if not entries:
        return {}
    return {"misc_fee_amt": sum(_member(entry, 137, parse_money) for entry in entries)}


def _parties(message: FixMessage) -> dict[str, Any]:
    entries = _entries(message, 453, _PARTY_MEMBERS)
    if not entries:
        return {}
    found = {"party_id": _member(entries[0], 448, str)}
    if 452 in entries[0]:
        found["party_role"] = _member(entries[0], 452, _digits)
    return found


def _collateral(message: FixMessage) -> dict[str, Any]:
    entries = _entries(message, 1703, _COLLATERAL_MEMBERS)
    if not entries:
        return {}
    changes = [_member(entry, 1704, parse_money) for entry in entries]
    types = [_member(entry, 1705, str) for entry in entries]
    return {"collateral_amount_change": sum(changes), "collateral_amount_type": types[0]}


def _symbols(message: FixMessage) -> dict[str, Any]:
    return {"symbols": tuple(_member(entry, 55, str) for entry in _entries(message, 146, (55,)))}


def _levels(message: FixMessage) -> dict[str, Any]:
    levels: list[int] = []
    for entry in _entries(message, 268, _LEVEL_MEMBERS):
        kind = _member(entry, 269, _char)
        if kind in {"0", "1"}:
            levels += (
                int(kind),
                _member(entry, 270, PRICES.__getitem__),
                _member(entry, 271, QUANTITIES.__getitem__),
            )
    return {"levels": levels}


def _updates(message: FixMessage) -> dict[str, Any]:
    found: list[MarketDataEntry] = []
    for entry in _entries(message, 268, _ENTRY_MEMBERS):
        action, kind = _member(entry, 279, _char), _member(entry, 269, _char)
        if kind not in {"0", "1", "2"}:
            continue
        if action not in {"0", "1", "2"}:
            raise BadField(279, f"{_name(279)}: {action!r} is not known")
        found.append(
            MarketDataEntry(
                action=int(action),
                symbol=_member(entry, 55, str),
                entry_type=int(kind),
                price=_member(entry, 270, PRICES.__getitem__),
                qty=_member(entry, 271, QUANTITIES.__getitem__),
                aggressor_side=_AGGRESSORS.get(entry.get(2446, ""), 0),
            )
        )
    return {"entries": found}


_GROUP_READERS: Final[dict[_Kind, Callable[[FixMessage], dict[str, Any]]]] = {
    _K.FEES: _fees,
    _K.PARTIES: _parties,
    _K.COLLATERAL: _collateral,
    _K.SYMBOLS: _symbols,
    _K.LEVELS: _levels,
    _K.ENTRIES: _updates,
}


def _read_rows(message: FixMessage, rows: tuple[Row, ...], required: frozenset[str]) -> dict[str, Any]:
    values: dict[int, str] = {}
    for tag, value in message.pairs:
        values.setdefault(tag, value)
    found: dict[str, Any] = {}
    for tag, attribute, kind in rows:
        group = _GROUP_READERS.get(kind)
        if group is not None:
            found.update(group(message))
        elif tag in values:
            found[attribute] = _read(_READERS[kind], tag, values[tag])
        elif attribute in required:
            raise BadField(tag, f"{_name(tag)} is missing")
    return found


def decode(message: FixMessage) -> ApplicationMessage:
    """Decode an application message by its MsgType(35).

    Raises:
        BadField: the type is none of the venue's, or a field is missing or can't be read.
    """
    known = _BY_MSG_TYPE.get(message.msg_type)
    if known is None:
        raise BadField(35, f"MsgType(35) {message.msg_type[:10]!r} is no application message of the venue")
    kind, rows, required = known
    decoded: ApplicationMessage = kind(**_read_rows(message, rows, required))  # type: ignore[assignment]
    return decoded


def parse_logon(message: FixMessage) -> Logon:
    """Read the venue's own fields of a Logon (35=A).

    Raises:
        BadField: one of them can't be read.
    """
    return Logon(**_read_rows(message, _LOGON_ROWS, frozenset()))


# -- encoding ----------------------------------------------------------------------------------------------------


def _checked(value: str) -> str:
    if _UNFIT(value) is not None:
        raise LocalProtocolError(f"{value[:40]!r} holds a control character or one that latin-1 lacks")
    return value


def money_text(value: int) -> str:
    """Write money as dollars: four decimals, six where four would hide something."""
    return format_money(value) if value % 100 else format_money(value, 4)


_WRITERS: Final[dict[_Kind, Callable[[Any], str]]] = {
    _K.TEXT: _checked,
    _K.FREE: clean_text,
    _K.CHAR: _checked,
    _K.FLAG: _checked,
    _K.DIGITS: _checked,
    _K.INT: str,
    _K.PRICE: PRICE_TEXTS.__getitem__,
    _K.QTY: QTY_TEXTS.__getitem__,
    _K.TIME: fix_time,
    _K.BOOL: lambda value: "Y" if value else "N",
}


def _write_fees(message: Any) -> str:
    if message.misc_fee_amt is None:
        return ""
    return f"136=1\x01137={money_text(message.misc_fee_amt)}\x01138=USD\x01139=4\x01891=0\x01"


def _write_parties(message: Any) -> str:
    if not message.party_id:
        return ""
    role = f"452={_checked(message.party_role)}\x01" if message.party_role else ""
    return f"453=1\x01448={_checked(message.party_id)}\x01{role}"


def _write_collateral(message: Any) -> str:
    if message.collateral_amount_change is None:
        return ""
    kind = _checked(message.collateral_amount_type) or "BALANCE"
    return f"1703=1\x011704={money_text(message.collateral_amount_change)}\x011705={kind}\x01"


def _write_symbols(message: Any) -> str:
    if not message.symbols:
        return ""
    return f"146={len(message.symbols)}\x01" + "".join(
        f"55={_checked(symbol)}\x01" for symbol in message.symbols
    )


def _write_levels(message: Any) -> str:
    levels = message.levels
    parts = [f"268={len(levels) // 3}\x01"]
    for at in range(0, len(levels), 3):
        side, price, qty = levels[at : at + 3]
        parts.append(f"269={side}\x01270={PRICE_TEXTS[price]}\x01271={QTY_TEXTS[qty]}\x01")
    return "".join(parts)


def _write_updates(message: Any, times: str = "") -> str:
    parts = [f"268={len(message.entries)}\x01"]
    for entry in message.entries:
        aggressor = f"2446={entry.aggressor_side}\x01" if entry.aggressor_side else ""
        parts.append(
            f"279={entry.action}\x0155={_checked(entry.symbol)}\x01269={entry.entry_type}"
            f"\x01270={PRICE_TEXTS[entry.price]}\x01271={QTY_TEXTS[entry.qty]}\x01{times}{aggressor}"
        )
    return "".join(parts)


_GROUP_WRITERS: Final[dict[_Kind, Callable[[Any], str]]] = {
    _K.FEES: _write_fees,
    _K.PARTIES: _write_parties,
    _K.COLLATERAL: _write_collateral,
    _K.SYMBOLS: _write_symbols,
    _K.LEVELS: _write_levels,
    _K.ENTRIES: _write_updates,
}


def _write_rows(message: msgspec.Struct, rows: tuple[Row, ...], required: frozenset[str]) -> str:
    parts: list[str] = []
    for tag, attribute, kind in rows:
        group = _GROUP_WRITERS.get(kind)
        if group is not None:
            parts.append(group(message))
            continue
        value = getattr(message, attribute)
        if value is None or value == "":
            if attribute in required:
                raise LocalProtocolError(f"{_name(tag)} is required and empty")
            continue
        parts.append(f"{tag}={_WRITERS[kind](value)}\x01")
    return "".join(parts)


def encode_body(message: ApplicationMessage) -> tuple[str, str]:
    """Return MsgType(35) and the SOH-terminated body.

    Raises:
        LocalProtocolError: a required text is empty, or one holds a SOH or what latin-1 lacks.
    """
    msg_type, rows = _ROWS[type(message)]
    return msg_type, _write_rows(message, rows, _BY_MSG_TYPE[msg_type][2])


def encode_incremental(message: m.MarketDataIncremental, entry_time_ns: int) -> str:
    """Return the body of 35=X with MDEntryDate(272) and MDEntryTime(273) in each entry, as the event pages show it."""
    date, _, time = fix_time(entry_time_ns).partition("-")
    return _write_updates(message, f"272={date}\x01273={time}\x01")


def logon_fields(logon: Logon) -> str:
    """Return the venue's own part of a Logon's body, SOH-terminated, in the order of venue.md section 2."""
    return _write_rows(logon, _LOGON_ROWS, frozenset())
