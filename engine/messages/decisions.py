"""What the guard publishes (`guard.feed`): refusals, its whole state in short, changes of latches."""

import msgspec

TOPIC_STATUS = "status"
TOPIC_REFUSED = "refused"
TOPIC_LATCH = "latch"
TOPIC_LIMIT = "limit"


class RefusalNote(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="refused"):
    """One refusal, topic `refused`; the first of its kind at once, further ones of a second as one with `count`."""

    wall_ns: int
    strategy: int
    control: str
    scope: str
    text: str
    count: int = 1


class LatchNote(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="latch"):
    """A kill switch or trip was set or released, topic `latch`."""

    wall_ns: int
    halted: bool
    scope: str
    why: str
    who: str


class LimitNote(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="limit"):
    """A use reached its soft level (over), or left it again, topic `limit`. Units are the control's (docs/guard.md)."""

    wall_ns: int
    scope: str
    control: str
    value: int
    soft: int
    limit: int
    over: bool = True


class StrategyUse(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a strategy holds in a market: exposure and money. Quantities in 1/100 contract, money in 1/1000000 dollar."""

    strategy: int
    symbol: str
    position: int = 0
    open_buy: int = 0
    open_sell: int = 0
    open_orders: int = 0
    fills: int = 0
    volume: int = 0
    realised: int = 0
    unrealised: int = 0
    fees: int = 0
    state: str = "trading"


class GuardStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="status"):
    """Every 250 ms and at each change of the gate, topic `status`.

    Attributes:
        gate: TRADING, or the state that keeps new orders out (STARTING, RECOVERING, READY, PAUSED, HALTED, STOPPING).
        reasons: what keeps the gate closed, for a human; empty when TRADING.
        tokens, tokens_capacity: the mirrored Write bucket, whole tokens; -1 capacity means unlimited.
        latches: scope to why. still_open: the same scopes to how many of their orders are open yet.
        near_limits: uses that are over their soft level, `scope: control`.
        cannot_cancel: what can't be cancelled now and why (an exchange pause), or empty.
        names: slot (decimal text) to strategy name.
        groups: strategy to how its order group is, for people; only those that have one.
    """

    wall_ns: int
    gate: str
    epoch: int
    reasons: list[str] = []
    tokens: int = 0
    tokens_capacity: int = 0
    approved: int = 0
    refused: int = 0
    unacknowledged: int = 0
    open_orders: int = 0
    latches: dict[str, str] = {}
    still_open: dict[str, int] = {}
    cannot_cancel: str = ""
    near_limits: list[str] = []
    strategies: list[StrategyUse] = []
    names: dict[str, str] = {}
    groups: dict[str, str] = {}


GuardMessage = RefusalNote | LatchNote | LimitNote | GuardStatus
