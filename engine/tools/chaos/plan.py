"""What goes wrong in a chaos run, drawn from its seed: which process, which link, when and for how long.

The seed fixes what is done and in which order; what it hits is up to the machine, as on any other day.
"""

import random
from collections.abc import Iterator
from typing import Final

import msgspec

KINDS: Final = {"kill": 8, "kill two": 2, "stop": 5, "link": 10, "report": 4, "order": 3, "pause": 2}
PROCESSES: Final = {"order_entry": 5, "guard": 4, "drop_copy": 3, "market_data": 3, "venue": 2}
_STRATEGY: Final = 2
_GAP_S: Final = (0.2, 4.0)
_STOP_S: Final = (0.1, 0.7, 2.5, 7.0)  # beyond engine.silent_kill_s it is killed by its supervisor
_LINKS: Final[tuple[tuple[str, dict[str, str], dict[str, str] | None], ...]] = (
    ("drop", {}, None),
    ("drop", {}, None),
    ("drop", {}, None),
    ("drop", {"linger": "yes"}, None),
    ("half_open", {}, None),
    ("unanswered_test_request", {}, None),
    ("sequence_gap", {"count": "2"}, None),
    ("bad_checksum", {}, None),
    ("bad_length", {}, None),
    ("test_request", {}, None),
    ("delay", {"ms": "300", "jitter_ms": "300"}, {"ms": "0"}),
    ("split", {}, {"on": "no"}),
)
_REPORTS: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("lose_report", {"count": "1"}),
    ("lose_report", {"count": "3"}),
    ("duplicate_report", {"count": "3"}),
    ("reorder_report", {"count": "2"}),
    ("resend_reject", {"reason": "2", "count": "1"}),
)
_ORDERS: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("exchange_unavailable", {"applied": "yes"}),
    ("exchange_unavailable", {"applied": "no"}),
    ("internal_error", {}),
)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes wrong.

    Attributes:
        after_s: since the one before. kind: of KINDS. names: processes that it is about.
        fault, session, arguments: what the venue is told. for_s: how long it lasts; undo: what ends it at the venue.
    """

    after_s: float
    kind: str
    names: tuple[str, ...] = ()
    fault: str = ""
    session: str = ""
    arguments: dict[str, str] = {}
    for_s: float = 0.0
    undo: tuple[str, dict[str, str]] | None = None

    @property
    def text(self) -> str:
        """One line for a human."""
        if self.kind in ("kill", "kill two"):
            return f"kill -9 {' and '.join(self.names)}"
        if self.kind == "stop":
            return f"stop {self.names[0]} for {self.for_s:g} s"
        arguments = " ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"venue: {' '.join(filter(None, (self.fault, self.session, arguments)))}"


def draw(seed: int, strategies: list[str], sessions: list[str]) -> Iterator[Step]:
    """Yield steps for ever.

    Args:
        seed: of everything. strategies: their processes. sessions: order entry's first.
    """
    rng = random.Random(f"{seed}/chaos")  # noqa: S311 - a repeatable plan is the point
    processes = PROCESSES | dict.fromkeys(strategies, _STRATEGY)

    def process() -> str:
        return rng.choices(list(processes), list(processes.values()))[0]

    while True:
        after_s = round(rng.uniform(*_GAP_S), 2)
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        session = rng.choice((sessions[0], *sessions))
        match kind:
            case "kill":
                yield Step(after_s=after_s, kind=kind, names=(process(),))
            case "kill two":
                first = process()
                other = rng.choice([name for name in processes if name != first])
                yield Step(after_s=after_s, kind=kind, names=(first, other))
            case "stop":
                yield Step(after_s=after_s, kind=kind, names=(process(),), for_s=rng.choice(_STOP_S))
            case "link":
                fault, arguments, undo = rng.choice(_LINKS)
                yield Step(
                    after_s=after_s,
                    kind=kind,
                    fault=fault,
                    session=session,
                    arguments=arguments,
                    for_s=round(rng.uniform(0.2, 3.0), 2),
                    undo=None if undo is None else (fault, undo),
                )
            case "pause":
                fault = rng.choice(("trading_pause", "exchange_pause"))
                for_s = round(rng.uniform(0.3, 3.0), 2)
                yield Step(after_s=after_s, kind=kind, fault=fault, for_s=for_s, undo=("resume", {}))
            case _:
                fault, arguments = rng.choice(_REPORTS if kind == "report" else _ORDERS)
                yield Step(after_s=after_s, kind=kind, fault=fault, arguments=arguments)
