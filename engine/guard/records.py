"""What the guard journals: latches, epochs, what an operator stated, and where the day's profit and loss began.

Approvals are not here: the order journal and its tape are order entry's. A guard that replays these entries knows
what was latched and by whom, never reuses an epoch, and measures today's loss from where today began.
"""

import hashlib
from collections.abc import Iterable

import msgspec


class EpochStarted(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="epoch_started"
):
    """The guard took over, or took over again, with a new epoch; every older one is void."""

    epoch: int
    wall_ns: int
    why: str = ""


class LatchSet(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="latch_set"):
    """A kill switch was thrown or a trip latched: for everything, a strategy's slot or a market."""

    wall_ns: int
    why: str
    who: str
    strategy: int | None = None
    symbol: str = ""


class LatchReleased(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="latch_released"
):
    """An operator armed a scope again."""

    wall_ns: int
    why: str
    who: str
    strategy: int | None = None
    symbol: str = ""


class PositionAccepted(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="position_accepted"
):
    """An operator stated a position (1/100 contract, signed) that FIX can't show."""

    wall_ns: int
    symbol: str
    qty: int
    why: str
    who: str


class GapAccepted(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="gap_accepted"
):
    """An operator accepted a hole in the drop copy, named by drop copy's own text."""

    wall_ns: int
    gap: str
    why: str
    who: str


class DayOpened(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="day_opened"):
    """Profit and loss of a strategy in a market (strategy None: of the account) from which a day's loss counts.

    Attributes:
        day: of `Days`: its local date, counted from 1970-01-01.
        profit: realised + marked - fees at that moment, money.
    """

    day: int
    symbol: str
    profit: int
    strategy: int | None = None


class PeakSeen(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="peak_seen"):
    """The highest profit of a scope so far (or since it was armed), from which its drawdown counts."""

    profit: int
    strategy: int | None = None
    symbol: str = ""


class LimitSet(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="limit_set"):
    """An operator changed a limit.

    Attributes:
        name: as in the configuration, or `collateral`.
        value: in the limit's unit. was: what the configuration said (of `collateral`: the changes by 1704 by then).
    """

    wall_ns: int
    name: str
    value: int
    was: int
    why: str
    who: str
    strategy: int | None = None
    symbol: str = ""


GuardJournalEntry = (
    EpochStarted | LatchSet | LatchReleased | PositionAccepted | GapAccepted | DayOpened | PeakSeen | LimitSet
)


def digest(*parts: Iterable[object] | int | str) -> str:
    """Return SHA-256 of journalled state, hex."""
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()
