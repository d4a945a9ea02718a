"""What order entry wants of drop copy, as its beat says: which sweep, since when, and whether it was satisfied. Pure.

What it wants after a Logon must be there before anything trades; what it wants because a cancel crossed a fill is an
everyday matter, and counts only when it takes too long.
"""

from typing import Final

from engine.common.clock import SECOND
from engine.messages.executions import TapeBeat

LOGGED_ON: Final = "logged on"
ANSWERED_NS: Final = SECOND  # how long a SweepDone may take to show in the beat
WANTED_NS: Final = 2 * SECOND  # how long a sweep that no Logon asked for may take


class Wants:
    """Follows `TapeBeat.sweep_wanted`.

    Attributes:
        accepted: what an operator's word for a gap stands for: nothing up to it is wanted any more.
        must: sweep_wanted as of order entry's last Logon. proven: the last `must` that a complete sweep has reached.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.must = 0
        self.proven = -1
        self._answered = (0, 0)  # wanted, mono_ns of the last complete SweepDone
        self._order_entry_up = False
        self._since_ns: int | None = None

    def on_beat(self, beat: TapeBeat, mono_ns: int) -> None:
        """Take a beat."""
        up = beat.session == LOGGED_ON
        if not up or not self._order_entry_up:
            self.must = beat.sweep_wanted
        self.must = max(
            self.must, beat.logon_sweep
        )  # a life of order entry may have begun and logged on unheard
        self._order_entry_up = up
        if not self.is_wanted(beat, mono_ns):
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = mono_ns

    def is_wanted(self, beat: TapeBeat | None, mono_ns: int) -> bool:
        """Say whether order entry waits for a sweep: its own word, unless it was just answered and the beat is older."""
        if beat is None or beat.sweep_wanted <= beat.sweep_done:
            return False
        wanted, at_ns = self._answered
        return beat.sweep_wanted > wanted or mono_ns - at_ns >= ANSWERED_NS

    def is_satisfied(self, beat: TapeBeat, mono_ns: int) -> bool:
        """Say whether nothing that must be swept before trading is left."""
        if not self.is_wanted(beat, mono_ns) or beat.sweep_wanted <= self.accepted:
            return True
        overdue = self._since_ns is None or mono_ns - self._since_ns >= WANTED_NS
        return not overdue and max(beat.sweep_done, self._answered[0], self.accepted) >= self.must

    def answered(self, wanted: int, mono_ns: int) -> None:
        """Note a complete sweep that began when `wanted` was the beat's."""
        self._answered = (wanted, mono_ns)
        if wanted >= self.must:
            self.proven = self.must

    def forget_answer(self) -> None:
        """Note that what was answered has not left."""
        self._answered = (0, 0)
