"""Field types: how a value must look, and the fields whose value may hold any byte.

A data field is announced by a length field directly before it; only its length says where it ends, because SOH and
`=` may stand inside it.
"""

import re
from enum import Enum
from typing import Final

from engine.common.clock import MS, parse_fix_time

SOH: Final = "\x01"

# length field -> data field (FIXT.1.1 and FIX 5.0 SP2, those that can meet us)
DATA_FIELDS: Final[dict[int, int]] = {
    90: 91, 93: 89, 95: 96, 212: 213, 348: 349, 350: 351, 352: 353, 354: 355,
    356: 357, 358: 359, 360: 361, 362: 363, 364: 365, 445: 446, 618: 619, 621: 622,
}  # fmt: skip
HAS_DATA: Final = re.compile("\x01(?:" + "|".join(str(tag) for tag in DATA_FIELDS) + ")=").search


class FieldType(Enum):
    """FIX's data types, those with one form merged."""

    INT = "int"  # optional sign, digits
    COUNT = "count"  # SeqNum, Length, NumInGroup: digits only
    DECIMAL = "decimal"  # Price, Qty, Amt, float: no exponent
    BOOLEAN = "boolean"  # Y or N
    CHAR = "char"  # one character
    STRING = "string"
    MULTIPLE = "multiple"  # values separated by one blank
    TIMESTAMP = "timestamp"  # YYYYMMDD-HH:MM:SS with up to 9 decimals
    DATE = "date"  # YYYYMMDD
    TIME = "time"  # HH:MM:SS with up to 9 decimals
    DATA = "data"  # any bytes


_FORMS: Final = {
    FieldType.INT: re.compile(r"-?[0-9]{1,18}").fullmatch,
    FieldType.COUNT: re.compile(r"[0-9]{1,18}").fullmatch,
    FieldType.DECIMAL: re.compile(r"-?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})").fullmatch,
    FieldType.BOOLEAN: re.compile(r"[YN]").fullmatch,
    FieldType.CHAR: re.compile(r"[^\x01]", re.DOTALL).fullmatch,
    FieldType.MULTIPLE: re.compile(r"[^\x01 ]+(?: [^\x01 ]+)*").fullmatch,
}


def well_formed(kind: FieldType, value: str) -> bool:
    """Tell whether a value has the form of its type (otherwise 373=6)."""
    form = _FORMS.get(kind)
    if form is not None:
        return form(value) is not None
    try:
        match kind:
            case FieldType.TIMESTAMP:
                parse_fix_time(value)
            case FieldType.DATE:
                parse_fix_time(f"{value}-00:00:00")
            case FieldType.TIME:
                parse_fix_time(f"20000101-{value}")
            case _:
                return True
    except ValueError:
        return False
    return True


class Timestamps:
    """Parses UTC timestamps, remembering the last second: a stream repeats it."""

    __slots__ = ("_ns", "_second")

    def __init__(self) -> None:
        self._second = ""
        self._ns = 0

    def parse(self, text: str) -> int:
        """Return ns since the epoch. Raises ValueError as `parse_fix_time`."""
        if len(text) == 21 and text[:18] == self._second:
            ms = text[18:]
            if ms.isdigit() and ms.isascii():
                return self._ns + int(ms) * MS
        ns = parse_fix_time(text)
        if len(text) == 21:
            self._second = text[:18]
            self._ns = ns - int(text[18:]) * MS
        return ns


def clean_text(text: str) -> str:
    """Make text fit for a FIX value: SOH becomes a blank, what latin-1 lacks a question mark."""
    return text.replace(SOH, " ").encode("latin-1", "replace").decode("latin-1")
