"""What a report is made of besides the journals' events: where they come from, which time is asked for, market samples."""

from typing import Final

import msgspec

from engine.common.clock import SECOND, iso_time

DAY_NS: Final = 86_400 * SECOND
FOREVER_NS: Final = 1 << 62


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What produced the journals.

    Attributes:
        version: of the engine that makes the report. config_hash: SHA-256 of the effective configuration, hex.
        name, environment: of the engine.
    """

    version: str = ""
    config_hash: str = ""
    name: str = ""
    environment: str = ""


class Period(msgspec.Struct, frozen=True):
    """A time, from its beginning until before its end; wall ns. The whole journal by default."""

    from_ns: int = 0
    to_ns: int = FOREVER_NS

    @property
    def whole(self) -> bool:
        """Whether it is all time."""
        return self.from_ns <= 0 and self.to_ns >= FOREVER_NS

    def text(self) -> str:
        """Name it for people."""
        if self.whole:
            return "the whole journal"
        begin = iso_time(self.from_ns) if self.from_ns > 0 else "the beginning"
        return f"from {begin} to {iso_time(self.to_ns) if self.to_ns < FOREVER_NS else 'the end'}"


class MarketSample(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One market at a moment; prices in 1/10000 dollar, 0 where there is none."""

    symbol: str
    bid: int = 0
    ask: int = 0
    last: int = 0


class Sample(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag="sample"):
    """What the supervisor saw at a moment, for charts and marks; nothing is proven by it.

    Attributes:
        tokens, tokens_capacity: of the mirrored Write bucket; capacity -1 is unlimited.
        latency_us: tick-to-trade of this life of order entry, quantile (in 1/1000) to us; latency_count: of how many.
    """

    wall_ns: int
    markets: list[MarketSample] = []
    tokens: int = 0
    tokens_capacity: int = 0
    latency_us: dict[str, int] = {}
    latency_count: int = 0


class Mark(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The price that a position is valued at; `source`: `mid`, `last trade` or `last fill`."""

    symbol: str
    price: int
    wall_ns: int
    source: str
