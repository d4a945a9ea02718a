"""Which of a plan's faults took effect: that a kind was drawn says nothing of a venue that was dead or a queue that was empty.

A VenueFault counts when the venue says yes; one that waits for something to spoil (the next report, order, Logon)
counts when it has spoilt it. A command of an operator counts when its answer says yes. What the network, the disks and the
signals did is counted where it happens (`VirtualWorld.struck`).
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from engine.common.clock import MS
from engine.messages.commands import ControlReply
from engine.messages.control import VenueReply
from engine.runtime.virtual import VirtualWorld
from engine.tools.simulation import venue_faults
from engine.venue.actor import Venue
from engine.venue.sessions import GATEWAYS

_LOOK_NS: Final = 100 * MS


def _by_session(kind: str) -> Callable[[Venue, str], int]:
    def left(venue: Venue, session: str) -> int:
        counts: dict[str, int] = getattr(venue.plan, kind)
        return counts.get(session, 0)

    return left


def _logons(venue: Venue, session: str) -> int:
    return sum(venue.plan.already_exists.get(name, 0) for name in ((session,) if session else GATEWAYS))


def _of_order(venue: Venue, session: str) -> int:  # noqa: ARG001 - one form for all
    return int(venue.exchange.fault is not None)


# What waits, by kind: a place at the venue (a later fault takes it from an earlier one), and how much is still to be spoilt.
_WAITING: Final[dict[str, tuple[str, Callable[[Venue, str], int]]]] = {
    "lose_report": ("lose", _by_session("lose_reports")),
    "lose_fill": ("lose a fill", _by_session("lose_fills")),
    "duplicate_report": ("duplicate", _by_session("duplicate_reports")),
    "reorder_report": ("reorder", lambda venue, _: venue.hold_next),
    "already_exists": ("logon", _logons),
    "resend_reject": ("resend", lambda venue, _: len(venue.drop_copy.refuse_with)),
    "exchange_unavailable": ("order", _of_order),
    "internal_error": ("order", _of_order),
    "stale": ("order", _of_order),
    "refuse": ("order", _of_order),
    "bad_checksum": ("checksum", lambda venue, session: venue.wire.line(session).bad_checksums),
    "bad_length": ("length", lambda venue, session: venue.wire.line(session).bad_lengths),
}


_ONE_FOR_ALL: Final = ("reorder", "resend", "order")  # whatever the session


class _Armed(NamedTuple):
    kind: str
    session: str
    life: int
    times: int


class Coverage:
    """Counts into `VirtualWorld.struck`.

    Args:
        world: whose answers to the tool `peer` are read.
    """

    def __init__(self, world: VirtualWorld, peer: str) -> None:
        self._world = world
        self._peer = peer
        self._read = 0
        self._asked: dict[str, tuple[str, str, int]] = {}  # request to kind, session, and what was asked for
        self._armed: dict[tuple[str, str], _Armed] = {}
        self._looks = False

    def asked(self, request_id: str, kind: str, session: str = "", count: int = 1) -> None:
        """Expect an answer; what it means is counted as `kind`."""
        self._asked[request_id] = (kind, session, count)
        if not self._looks:
            self._looks = True
            self._world.after(_LOOK_NS, self._look)

    def _look(self) -> None:
        self._looks = False
        self.look()
        if self._asked or self._armed:
            self._looks = True
            self._world.after(_LOOK_NS, self._look)

    def look(self) -> None:
        """Count what was answered, and what has been spoilt since."""
        world = self._world
        node = world.nodes["venue"]
        while self._read < len(world.answers):
            peer, answer = world.answers[self._read]
            self._read += 1
            if peer == self._peer and isinstance(answer, VenueReply | ControlReply) and answer.ok:
                self._answered(answer.request_id, node.life)
        for place, armed in list(self._armed.items()):
            venue = node.actor
            if not isinstance(venue, Venue) or node.life != armed.life:
                del self._armed[place]
            elif _WAITING[armed.kind][1](venue, armed.session) < armed.times:
                world.strike(f"venue.{armed.kind}")
                del self._armed[place]

    def _answered(self, request_id: str, life: int) -> None:
        kind, session, count = self._asked.pop(request_id, ("", "", 0))
        waiting = _WAITING.get(kind.removeprefix("venue."))
        if waiting is None:
            if kind:
                self._world.strike(kind)
            return
        place = waiting[0]
        self._armed[place, "" if place in _ONE_FOR_ALL else session] = _Armed(
            kind.removeprefix("venue."), session, life, count
        )


def expected_kinds() -> frozenset[str]:
    """Return every kind that a search must have had take effect."""
    roles = ("order_entry", "guard", "drop_copy", "market_data", "venue", "strategy")
    sessions = ("order_entry", "drop_copy", "market_data", "listener")
    commands = ("Halt", "Arm", "CancelAll", "Flatten", "GroupReset", "GroupAdopt", "by_hand")
    return frozenset(
        (
            *(f"kill.{name}" for name in (*roles, "amid", "two", "unsent")),
            *(f"{how}.{name}" for how in ("cut", "tear") for name in sessions),
            *("cut.lost", "cut.amid", "create"),
            *(f"silence.{name}" for name in sessions),
            *(f"operator.{name}" for name in commands),
            *(f"venue.{name}" for name in venue_faults.WEIGHTS),
            *("power", "storm", "full", "refused", "drop", "bus", "wire", "freeze", "freeze.backlog"),
            *("busy", "batch", "disk", "disk.reserve", "clock", "rogue", "flood", "replay", "replay.fenced"),
        )
    )
