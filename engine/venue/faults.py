"""Faults on command (`VenueFault`): what there is, and what each needs. `fault_desk` carries them out.

SESSION is a session's name (KalshiNR), one connection's link (KalshiNR/7), or empty: all. docs/venue.md has the table.
"""

from typing import Final, NamedTuple

import msgspec

from engine.kalshi.messages import ExecutionReport
from engine.messages.control import VenueFault
from engine.venue import refusals as r

COUNT_MAX: Final = 1_000_000
NOT_A_NUMBER: Final = -(10**15)
_TRADE: Final = "F"


class Kind(NamedTuple):
    """A kind of fault.

    Attributes:
        about: what happens. numbers: arguments that are numbers, with (default, least, most); default None: required.
        choices: arguments that are one of some texts, the first being the default. free: other arguments.
        needs_session: SESSION must be given.
    """

    about: str
    numbers: dict[str, tuple[int | None, int, int]] = {}  # noqa: RUF012 - never changed
    choices: dict[str, tuple[str, ...]] = {}  # noqa: RUF012
    free: tuple[str, ...] = ()
    needs_session: bool = False


_COUNT: Final[dict[str, tuple[int | None, int, int]]] = {"count": (1, 1, COUNT_MAX)}
_MS: Final[dict[str, tuple[int | None, int, int]]] = {"ms": (None, 0, 600_000)}
_ORDER: Final = ("account", "symbol", "price")
_REQUESTS: Final = ("new", "replace", "cancel")

KINDS: Final = {
    # sessions
    "drop": Kind(
        "connections end without Logout; linger=yes: the venue goes on believing in them until their heartbeat is missed",
        choices={"linger": ("no", "yes")},
    ),
    "half_open": Kind("connections go dead both ways, and nobody is told", needs_session=True),
    "unanswered_test_request": Kind("connections hear and obey but say nothing any more", needs_session=True),
    "already_exists": Kind("the next N Logons are refused with `already exists`", numbers=_COUNT),
    "sequence_gap": Kind(
        "N numbers are left out before the next message", numbers=_COUNT, needs_session=True
    ),
    "sequence_low": Kind("the next message's number is N too low", numbers=_COUNT, needs_session=True),
    "sequence_reset": Kind(
        "SequenceReset to a number above the next (gap_fill=yes: as a gap fill)",
        numbers={"by": (10, 1, COUNT_MAX)},
        choices={"gap_fill": ("no", "yes")},
        needs_session=True,
    ),
    "resend_request": Kind(
        "the venue asks for the client's messages again",
        numbers={"begin": (1, 0, COUNT_MAX), "end": (0, 0, COUNT_MAX)},
        needs_session=True,
    ),
    "test_request": Kind("the venue sends a TestRequest", needs_session=True),
    "forget": Kind("the retention of what was sent until now is over: a ResendRequest for it is rejected"),
    # the line
    "delay": Kind(
        "everything to the client is so late (0: no longer), and up to jitter_ms more, in order",
        numbers={**_MS, "jitter_ms": (0, 0, 600_000)},
        needs_session=True,
    ),
    "split": Kind("every byte to the client leaves alone", choices={"on": ("yes", "no")}, needs_session=True),
    "coalesce": Kind(
        "what is sent within so many ms leaves at once (0: no longer)", numbers=_MS, needs_session=True
    ),
    "bad_checksum": Kind("the next N writes begin with a wrong CheckSum", numbers=_COUNT, needs_session=True),
    "bad_length": Kind("the next N writes begin with a wrong BodyLength", numbers=_COUNT, needs_session=True),
    # reports
    "lose_report": Kind("the next N reports to SESSION are issued but not sent", numbers=_COUNT),
    "lose_fill": Kind("SESSION's next N partial fills are issued but not sent", numbers=_COUNT),
    "duplicate_report": Kind("the next N reports to SESSION are sent twice", numbers=_COUNT),
    "reorder_report": Kind("SESSION's next report is sent behind the N that follow it", numbers=_COUNT),
    "resend_reject": Kind(
        "the next N drop-copy requests are refused with 21004=reason", numbers={**_COUNT, "reason": (2, 1, 5)}
    ),
    # orders
    "exchange_unavailable": Kind(
        "SESSION's next new order, amend or cancel (of=) is answered EXCHANGE_UNAVAILABLE, applied or not",
        choices={"applied": ("no", "yes"), "of": _REQUESTS},
    ),
    "internal_error": Kind(
        "SESSION's next new order, amend or cancel (of=) is answered INTERNAL_ERROR, not applied",
        choices={"of": _REQUESTS},
    ),
    "stale": Kind("SESSION's next new order is refused as stale (venue.stale_code)"),
    "refuse": Kind(
        "SESSION's next new order is refused, or accepted and cancelled, with text=TEXT", free=("text",)
    ),
    # the venue
    "trading_pause": Kind("no new orders, no amends; cancels work"),
    "exchange_pause": Kind("nothing works"),
    "resume": Kind("ends a pause on command"),
    "market": Kind(
        "a market is inactive or closed: no new orders, no amends",
        choices={"state": ("open", "inactive", "closed")},
        free=("symbol",),
    ),
    "skew": Kind(
        "the venue's clock is so far ahead (or behind: negative)",
        numbers={"ms": (None, -86_400_000, 86_400_000)},
    ),
    # the account
    "liquidate": Kind("the account is liquidated, whatever its margin", free=("account",)),
    "exit_trigger": Kind(
        "a system order reduces a position", numbers={"qty": (None, 1, COUNT_MAX)}, free=_ORDER[:2]
    ),
    "foreign_order": Kind(
        "another session of the account sends an order",
        numbers={"qty": (None, 1, COUNT_MAX)},
        choices={"side": ("1", "2"), "tif": ("1", "3")},
        free=_ORDER,
    ),
    "cash": Kind(
        "the account's cash is so many dollars",
        numbers={"dollars": (None, -(10**9), 10**9)},
        free=("account",),
    ),
}


class FaultPlan(msgspec.Struct, kw_only=True):
    """What is still to go wrong.

    Attributes:
        lose_reports, lose_fills (partial ones), duplicate_reports: how many, by session's name, link, or "" for whichever comes first.
        skew_ns: the venue's clock minus the true one. already_exists: Logons by session.
    """

    lose_reports: dict[str, int] = {}
    lose_fills: dict[str, int] = {}
    duplicate_reports: dict[str, int] = {}
    skew_ns: int = 0
    already_exists: dict[str, int] = {}

    def copies(self, session: str, link: str, report: ExecutionReport) -> int:
        """Return how often a report to a session is sent: 0, 1 or 2; what was planned for it is used up."""
        if self.lose_reports and _use(self.lose_reports, session, link):
            return 0
        is_partial_fill = report.exec_type == _TRADE and report.leaves_qty > 0
        if self.lose_fills and is_partial_fill and _use(self.lose_fills, session, link):
            return 0
        return 2 if self.duplicate_reports and _use(self.duplicate_reports, session, link) else 1


def _use(counts: dict[str, int], session: str, link: str) -> bool:
    for name in (link, session, ""):
        if name in counts:
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
            return True
    return False


def check(fault: VenueFault) -> str:
    """Return why a fault can't be carried out, or empty."""
    kind = KINDS.get(fault.kind)
    if kind is None:
        return f"unknown kind {fault.kind!r}: one of {', '.join(sorted(KINDS))}"
    if kind.needs_session and not fault.session:
        return f"{fault.kind} needs a session"
    arguments = fault.arguments
    known = {*kind.numbers, *kind.choices, *kind.free}
    for name in arguments:
        if name not in known:
            return f"{fault.kind} has no argument {name!r}; known: {', '.join(sorted(known)) or 'none'}"
    for name, (default, least, most) in kind.numbers.items():
        value = number(arguments, name, default)
        if value == NOT_A_NUMBER:
            return f"{name} must be a number"
        if not least <= value <= most:
            return f"{name} must be {least} to {most}"
    for name, choices in kind.choices.items():
        if arguments.get(name, choices[0]) not in choices:
            return f"{name} must be {' or '.join(choices)}"
    if fault.kind == "refuse" and arguments.get("text", "") not in {*r.NAMED, *r.CANCEL_TEXTS}:
        return f"text must be one of {', '.join(sorted({*r.NAMED, *r.CANCEL_TEXTS}))}"
    return ""


def number(arguments: dict[str, str], name: str, default: int | None) -> int:
    """Return an argument as int, its default when absent, NOT_A_NUMBER when it is none."""
    text = arguments.get(name)
    if text is None:
        return NOT_A_NUMBER if default is None else default
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 12 else NOT_A_NUMBER
