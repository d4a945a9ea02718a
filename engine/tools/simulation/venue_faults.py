"""What the venue may be told to do wrong in a simulated run: every kind of fault that it knows, with drawn arguments."""

import random
from collections.abc import Mapping
from typing import Final, NamedTuple

from engine.config import Config
from engine.venue.faults import KINDS
from engine.venue.refusals import CANCEL_TEXTS, NAMED
from engine.venue.sessions import GATEWAYS


class Drawn(NamedTuple):
    """A fault and what ends it (kind, session and arguments), if it doesn't end by itself."""

    kind: str
    session: str
    arguments: dict[str, str]
    undo: tuple[str, dict[str, str]] | None = None


# Much hangs on which report or order it hits, so what hits one is drawn more often than what hits a session.
WEIGHTS: Final = {
    "drop": 2,
    "half_open": 1,
    "unanswered_test_request": 1,
    "already_exists": 2,
    "sequence_gap": 2,
    "sequence_low": 1,
    "sequence_reset": 1,
    "resend_request": 2,
    "test_request": 1,
    "delay": 2,
    "split": 1,
    "coalesce": 1,
    "bad_checksum": 1,
    "bad_length": 1,
    "lose_report": 8,
    "lose_fill": 4,
    "duplicate_report": 3,
    "reorder_report": 3,
    "resend_reject": 3,
    "exchange_unavailable": 4,
    "internal_error": 2,
    "stale": 3,
    "refuse": 3,
    "trading_pause": 2,
    "exchange_pause": 2,
    "market": 2,
    "skew": 3,
    "liquidate": 1,
    "exit_trigger": 1,
    "foreign_order": 2,
    "cash": 1,
}
NEVER: Final = ("resume", "forget")  # the one does nothing by itself, the other is for KalshiRT alone
assert {*WEIGHTS, *NEVER} == set(KINDS), "every kind of fault is drawn"

_UNDO: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "delay": ("delay", {"ms": "0"}),
    "split": ("split", {"on": "no"}),
    "coalesce": ("coalesce", {"ms": "0"}),
    "trading_pause": ("resume", {}),
    "exchange_pause": ("resume", {}),
    "skew": ("skew", {"ms": "0"}),
}
# Those by which an account's cash, or what is done in its name, changes from outside.
MOVES_CASH: Final = "cash"


def draw(config: Config, rng: random.Random, weights: Mapping[str, int] = WEIGHTS) -> Drawn:
    """Draw one fault for a configuration's venue."""
    kind = rng.choices(list(weights), list(weights.values()))[0]
    session = ""
    if KINDS[kind].needs_session or (kind in ("drop", "already_exists") and rng.random() < 0.8):
        sessions = config.sessions
        orders = sessions.order_entry.target_comp_id
        session = rng.choice((orders, orders, "KalshiDC", "KalshiMD"))
    arguments = _arguments(kind, config, rng)
    undo = _UNDO.get(kind)
    if kind == "market":
        undo = ("market", {**arguments, "state": "open"})
    elif kind == MOVES_CASH:
        assert config.venue is not None, "a simulated venue has its section"
        undo = (kind, {"dollars": config.venue.balance})
    return Drawn(kind, session, arguments, undo)


def times(drawn: Drawn) -> int:
    """Return how often a fault is to spoil something."""
    count = int(drawn.arguments.get("count", "1"))
    return count * len(GATEWAYS) if drawn.kind == "already_exists" and not drawn.session else count


def _arguments(kind: str, config: Config, rng: random.Random) -> dict[str, str]:
    match kind:
        case "drop":
            return {"linger": rng.choice(("no", "no", "yes"))}
        case "already_exists" | "sequence_gap" | "sequence_low" | "bad_checksum" | "bad_length":
            return {"count": str(rng.randint(1, 2))}
        case "sequence_reset":
            return {"by": str(rng.randint(1, 5)), "gap_fill": rng.choice(("no", "yes"))}
        case "resend_request":
            return {"begin": str(rng.randint(1, 20)), "end": "0"}
        case "delay":
            return {"ms": str(rng.randint(1, 600)), "jitter_ms": str(rng.randint(0, 400))}
        case "coalesce":
            return {"ms": str(rng.randint(1, 300))}
        case "lose_report" | "lose_fill" | "duplicate_report" | "reorder_report":
            return {"count": str(rng.choice((1, 1, 1, 2, 3)))}
        case "resend_reject":
            return {"reason": str(rng.choice((1, 2, 4))), "count": str(rng.randint(1, 2))}
        case "exchange_unavailable":
            return {"applied": rng.choice(("no", "yes"))}
        case "refuse":
            return {"text": rng.choice(sorted({*NAMED, *CANCEL_TEXTS}))}
        case "market":
            symbol = rng.choice(sorted(config.instruments))
            return {"symbol": symbol, "state": rng.choice(("inactive", "closed"))}
        case "skew":
            return {"ms": str(rng.choice((400, -1500, -7000, 7000, 31_000, -31_000)))}
        case "exit_trigger" | "foreign_order":
            return _order(kind, config, rng)
        case "cash":
            return {"dollars": str(rng.choice((0, 5, 50, 500)))}
        case _:
            return {}


def _order(kind: str, config: Config, rng: random.Random) -> dict[str, str]:
    symbol = rng.choice(sorted(config.instruments))
    arguments = {"symbol": symbol, "qty": str(rng.randint(1, 4))}
    if kind == "foreign_order":
        assert config.venue is not None, "a simulated venue has its section"
        whole, _, cents = config.venue.markets[symbol].price.partition(".")
        side = rng.choice(("1", "2"))
        mid = int(whole) * 100 + int((cents + "00")[:2])
        price = mid * (101 if side == "1" else 99) // 100
        arguments |= {"side": side, "tif": "3", "price": f"{price // 100}.{price % 100:02}"}
    return arguments
