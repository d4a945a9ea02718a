"""What every checker of an invariant is made of."""

import re
from collections.abc import Iterable
from typing import Final

from engine.runtime.virtual import VirtualWorld
from engine.runtime.virtual_node import Watcher

OE: Final = "order_entry"
_REQUEST: Final = re.compile(rb"\x0135=([ADFGq]|UOG)\x01.*?\x0110=\d\d\d\x01", re.DOTALL)
_CL_ORD_ID: Final = re.compile(rb"\x0111=([^\x01]*)\x01")


class InvariantBroken(AssertionError):  # noqa: N818 - what it says is what it is called
    """An invariant does not hold.

    Attributes:
        number: of the invariant.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"invariant {number}: {text}")
        self.number = number


class Checker(Watcher):
    """One invariant."""

    number = 0

    def __init__(self, world: VirtualWorld) -> None:
        self.world = world

    def fail(self, text: str) -> None:
        """Say that the invariant is broken."""
        raise InvariantBroken(self.number, text)

    def check(self, holds: bool, text: str) -> None:
        """Fail unless it holds."""
        if not holds:
            self.fail(text)

    def at_rest(self) -> None:
        """Check what must hold when nothing is under way any more."""


def requests_of(data: bytes) -> Iterable[tuple[str, str]]:
    """Yield (MsgType, ClOrdID) of each request in bytes of the order-entry session."""
    for match in _REQUEST.finditer(data):
        cl_ord_id = _CL_ORD_ID.search(match[0])
        yield match[1].decode(), cl_ord_id[1].decode() if cl_ord_id else ""


def exec_key(exec_id: str) -> tuple[int, int]:
    """Return an ExecID's (clock, event)."""
    clock, event = exec_id.split(";")[:2]
    return int(clock), int(event)
