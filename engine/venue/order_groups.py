"""Order groups (venue.md section 4): a limit on the contracts filled within any 15 seconds.

When the fills of a group's orders exceed its limit it is triggered: its resting orders are cancelled and new ones
refused until it is reset. Lowering the limit under the rolling volume triggers it as well. A group belongs to one
account and, when it was made with AllocAccount(79), to one subaccount. The exchange cancels the orders; this module
only says when.
"""

from collections import deque
from typing import Final

from engine.common.clock import SECOND

WINDOW_NS: Final = 15 * SECOND
LIMIT_MAX: Final = 1_000_000
CREATE: Final = "1"
RESET: Final = "2"
DELETE: Final = "3"
TRIGGER: Final = "4"
UPDATE: Final = "5"


class Group:
    """One group. limit in whole contracts; filled quantities in 1/100 contract."""

    __slots__ = ("_fills", "_total", "account", "alloc_account", "group_id", "limit", "triggered")

    def __init__(self, group_id: str, account: str, limit: int, alloc_account: int | None) -> None:
        self.group_id = group_id
        self.account = account
        self.limit = limit
        self.alloc_account = alloc_account
        self.triggered = False
        self._fills: deque[tuple[int, int]] = deque()
        self._total = 0

    def volume(self, mono_ns: int) -> int:
        """Return what was filled within the last 15 s."""
        while self._fills and mono_ns - self._fills[0][0] >= WINDOW_NS:
            self._total -= self._fills.popleft()[1]
        return self._total

    def filled(self, qty: int, mono_ns: int) -> bool:
        """Count a fill; True when it triggers the group now."""
        self._fills.append((mono_ns, qty))
        self._total += qty
        return self._over(mono_ns)

    def update(self, limit: int, mono_ns: int) -> bool:
        """Set another limit; True when that triggers the group now."""
        self.limit = limit
        return self._over(mono_ns)

    def reset(self) -> None:
        """Let orders in again, with an empty window."""
        self.triggered = False
        self._fills.clear()
        self._total = 0

    def _over(self, mono_ns: int) -> bool:
        if self.triggered or self.volume(mono_ns) <= self.limit * 100:
            return False
        self.triggered = True
        return True


def group_id_of(number: int) -> str:
    """Return the id of the n-th group: a UUID of version 4's layout, as the venue makes them."""
    return f"6f726472-0000-4000-8000-{number:012x}"
