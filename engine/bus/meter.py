"""Who sends how much on a channel that we bind: rates are capped before anything is decoded.

Each sender has an allowance that flows in at its rate and is spent by one for a message, by MALFORMED_COSTS for bytes that
are none. What comes without allowance is read and thrown away undecoded, and counted; as it is spent all the same, a
sender that goes on flooding is not heard at all, and is heard again when it was quiet for a moment. Senders that have
no business on the channel have no allowance ever.

A process's name counts only with the engine's seal behind it: bytes that the supervisor drew at its start and that only the
engine's processes add to their names. So a peer that merely takes a process's name (a script, a second engine's leftover) is
a stranger. It does not even come into conflict with the one whose name it is: ZeroMQ gives a name to who claimed it last, and
the one before it would talk to nobody, on a connection that stays open.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from engine.common.clock import SECOND
from engine.config import Config

MALFORMED_COSTS: Final = 100
STRANGERS_MAX: Final = 1000
NEVER: Final = -(1 << 62)


class Rate(NamedTuple):
    """Messages a second, and at once."""

    per_s: int
    burst: int


PLAIN: Final = Rate(5_000, 20_000)
ASKING: Final = Rate(
    50, 500
)  # of workers, for snapshots and replays: each answer costs its giver far more than the question


def rates_of(config: Config) -> dict[str, Rate]:
    """Return how much each worker may send, by process name."""
    return {
        f"strategy.{name}": Rate(strategy.max_messages_per_s, strategy.max_message_burst)
        for name, strategy in config.strategies.items()
    }


class Sender:
    """One name on a channel. `left`: its allowance. `barred`: it may send nothing."""

    __slots__ = ("barred", "discarded", "left", "name", "rate")

    def __init__(self, name: str, rate: Rate, *, barred: bool) -> None:
        self.name = name
        self.rate = rate
        self.barred = barred
        self.left = NEVER if barred else rate.burst
        self.discarded = 0


class Flood(NamedTuple):
    """What was thrown away of a sender since the last look."""

    name: str
    discarded: int
    barred: bool


class Meter:
    """The allowances of one socket.

    Args:
        rates: of names that have another than PLAIN. seal: what processes' names end with on the wire; empty: nothing.

    Attributes:
        senders: by the name's bytes, as the socket gives them. owner: the only name that may send here, or empty: any
            of `names` but those of `elsewhere`, and tools. names: None knows no names and bars nobody.
    """

    def __init__(self, rates: Mapping[str, Rate] | None = None, owner: str = "", seal: bytes = b"") -> None:
        self.senders: dict[bytes, Sender] = {}
        self._seal = seal
        self.owner = owner
        self.names: frozenset[str] | None = None
        self.elsewhere: frozenset[str] = frozenset()
        self._rates = rates or {}
        self._at_ns: int | None = None

    def meet(self, frame: bytes) -> Sender:
        """Return the sender of a name that was not heard before."""
        if len(self.senders) >= STRANGERS_MAX:
            self.senders = {
                key: sender for key, sender in self.senders.items() if sender.name in (self.names or ())
            }
        is_sealed = frame.endswith(self._seal)
        name = (frame.removesuffix(self._seal) if is_sealed else frame).decode("utf-8", "replace")
        may_speak = self._may_speak(name, is_sealed=is_sealed)
        sender = Sender(name, self._rates.get(name, PLAIN), barred=not may_speak)
        self.senders[frame] = sender
        return sender

    def address(self, name: str) -> bytes:
        """Return a peer's name as the socket has it."""
        return name.encode() + self._seal if self.names and name in self.names else name.encode()

    def _may_speak(self, name: str, *, is_sealed: bool) -> bool:
        if self.owner:
            return name == self.owner
        if self.names is None:
            return True
        if name in self.names:
            return is_sealed and name not in self.elsewhere
        return name.startswith("tool.")

    def refill(self, mono_ns: int) -> list[Flood]:
        """Let allowances flow in; return what was thrown away since the last time."""
        passed_ns = mono_ns - self._at_ns if self._at_ns is not None else 0
        self._at_ns = mono_ns
        floods = []
        for sender in self.senders.values():
            rate = sender.rate
            if sender.discarded:
                floods.append(Flood(sender.name, sender.discarded, sender.barred))
                sender.discarded = 0
            if sender.left < rate.burst and not sender.barred:
                floor = max(sender.left, -rate.per_s)  # quiet for a second, and it is heard again
                sender.left = min(rate.burst, floor + rate.per_s * passed_ns // SECOND)
        return floods
