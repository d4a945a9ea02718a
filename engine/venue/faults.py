"""Faults on command (`VenueFault`), for tests and drills.

kind                  session     arguments
drop                  name or ""  -                        the session's connections (all when empty) end without Logout
exchange_unavailable  -           applied=yes|no           the next new order is answered EXCHANGE_UNAVAILABLE
internal_error        -           -                        the next new order is answered INTERNAL_ERROR
lose_report           -           count=N (1)              the next N reports are issued but not sent
duplicate_report      -           count=N (1)              the next N reports are sent twice
resend_reject         -           reason=1..5 count=N (1)  the next N drop-copy requests are refused
trading_pause         -           -                        no new orders, no amends; cancels work
exchange_pause        -           -                        nothing works
resume                -           -                        ends either pause
skew                  -           ms=N                     the venue's clock is so far ahead (or behind: negative)
"""

import msgspec

from engine.messages.control import VenueFault

KINDS = frozenset(
    {
        "drop",
        "exchange_unavailable",
        "internal_error",
        "lose_report",
        "duplicate_report",
        "resend_reject",
        "trading_pause",
        "exchange_pause",
        "resume",
        "skew",
    }
)
_COUNT_MAX = 1_000_000


class FaultPlan(msgspec.Struct, kw_only=True):
    """What is still to go wrong. skew_ns: the venue's clock minus the true one."""

    lose_reports: int = 0
    duplicate_reports: int = 0
    skew_ns: int = 0


def check(fault: VenueFault) -> str:
    """Return why a fault can't be carried out, or empty."""
    if fault.kind not in KINDS:
        return f"unknown kind {fault.kind!r}: one of {', '.join(sorted(KINDS))}"
    arguments = fault.arguments
    if fault.kind == "exchange_unavailable" and arguments.get("applied", "no") not in {"yes", "no"}:
        return "applied must be yes or no"
    if not 1 <= number(arguments, "count", 1) <= _COUNT_MAX:
        return "count must be a number from 1"
    if fault.kind == "resend_reject" and not 1 <= number(arguments, "reason", 2) <= 5:
        return "reason must be 1 to 5"
    if fault.kind == "skew" and number(arguments, "ms", None) == NOT_A_NUMBER:
        return "ms must be a number"
    return ""


NOT_A_NUMBER = -(10**15)


def number(arguments: dict[str, str], name: str, default: int | None) -> int:
    """Return an argument as int, its default when absent, NOT_A_NUMBER when it is none."""
    text = arguments.get(name)
    if text is None:
        return NOT_A_NUMBER if default is None else default
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 12 else NOT_A_NUMBER
