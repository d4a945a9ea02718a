"""Exact numbers: prices, quantities and money as scaled integers, text only at the edges.

    price     int, 1/10000 dollar         (the venue's tick is 0.0001)
    quantity  int, 1/100 contract         (whole contracts are multiples of 100)
    money     int, 1/1000000 dollar       so that price * quantity is money exactly, with no rounding

No float and no Decimal past this module. `PRICES` and `QUANTITIES` remember the texts that they parsed, because
market data repeats them: a hit costs one dictionary look-up.
"""

from typing import Final, NewType

Price = NewType("Price", int)
Qty = NewType("Qty", int)
Money = NewType("Money", int)

PRICE_DECIMALS: Final = 4
QTY_DECIMALS: Final = 2
MONEY_DECIMALS: Final = 6
ONE_CONTRACT: Final = 100

_MEMO_MAX = 50_000
_DIGITS_MAX = 18
VALUE_MAX: Final = 10**12
"""The largest price or quantity that is taken from outside, scaled: 100 million dollars, ten thousand million contracts.
What is larger is no market's number, and sums of it might not fit the 64 bits of a bus message.
"""


def parse_fixed(text: str, decimals: int) -> int:
    """Parse decimal text to an int scaled by 10**decimals, exactly.

    Raises:
        ValueError: not a plain decimal, more than 18 digits, or a digit that the scale can't hold.
    """
    sign, body = (-1, text[1:]) if text[:1] == "-" else (1, text)
    whole, _, fraction = body.partition(".")
    digits = whole + fraction
    if not digits or not digits.isascii() or not digits.isdigit():
        raise ValueError(f"{text[:40]!r} is not a decimal number")
    if len(fraction) > decimals:
        if fraction[decimals:].strip("0"):
            raise ValueError(f"{text[:40]!r} has more than {decimals} decimals")
        fraction = fraction[:decimals]
    if len(digits) > _DIGITS_MAX:
        raise ValueError(f"{text[:40]!r} has too many digits")
    scale: int = 10**decimals
    return sign * (int(whole or "0") * scale + int(fraction.ljust(decimals, "0") or "0"))


def format_fixed(value: int, decimals: int) -> str:
    """Write a scaled int as decimal text with all its decimals, as `19.5000`."""
    scale = 10**decimals
    sign, magnitude = ("-", -value) if value < 0 else ("", value)
    return f"{sign}{magnitude // scale}.{magnitude % scale:0{decimals}d}"


MONEY_MAX: Final = 10**18


class OutOfRangeError(ValueError):
    """A number is well written but larger than any that a market has."""


class _ParseMemo(dict[str, int]):
    """Text to int, computed once per distinct text; bounded, so a hostile feed can't grow it."""

    __slots__ = ("_decimals",)

    def __init__(self, decimals: int) -> None:
        super().__init__()
        self._decimals = decimals

    def __missing__(self, text: str) -> int:
        if len(self) >= _MEMO_MAX:
            self.clear()
        value = parse_fixed(text, self._decimals)
        if not -VALUE_MAX <= value <= VALUE_MAX:
            raise OutOfRangeError(f"{text[:40]!r} is larger than any price or quantity can be")
        self[text] = value
        return value


class _FormatMemo(dict[int, str]):
    """Int to text, the reverse of `_ParseMemo`."""

    __slots__ = ("_decimals",)

    def __init__(self, decimals: int) -> None:
        super().__init__()
        self._decimals = decimals

    def __missing__(self, value: int) -> str:
        if len(self) >= _MEMO_MAX:
            self.clear()
        text = self[value] = format_fixed(value, self._decimals)
        return text


PRICES: Final = _ParseMemo(PRICE_DECIMALS)
QUANTITIES: Final = _ParseMemo(QTY_DECIMALS)
PRICE_TEXTS: Final = _FormatMemo(PRICE_DECIMALS)
QTY_TEXTS: Final = _FormatMemo(QTY_DECIMALS)


def parse_money(text: str) -> int:
    """Parse dollars to money (1/1000000 dollar). Raises ValueError as `parse_fixed`, and beyond a million million dollars."""
    value = parse_fixed(text, MONEY_DECIMALS)
    if not -MONEY_MAX <= value <= MONEY_MAX:
        raise OutOfRangeError(f"{text[:40]!r} is larger than any amount can be")
    return value


def format_money(value: int, decimals: int = MONEY_DECIMALS) -> str:
    """Write money as dollars with `decimals` places; it must not hide anything below them unless asked (0 to 6)."""
    if decimals == MONEY_DECIMALS:
        return format_fixed(value, MONEY_DECIMALS)
    step = 10 ** (MONEY_DECIMALS - decimals)
    rounded = (abs(value) + step // 2) // step
    text = format_fixed(rounded, decimals) if decimals else str(rounded)
    return f"-{text}" if value < 0 and rounded else text


def notional(price: int, qty: int, multiplier: int = 1) -> int:
    """Return price * quantity * contract multiplier as money, exactly."""
    return price * qty * multiplier
