"""Following the tape without gaps, with replay, and knowing when it is caught up.

Events come on `oe.tape` (which may lose them) and in replays on `oe.ask`; only the next number is ever taken, so that
what comes out is the tape, each event once, in order. Anything further shows a gap, and the rest is asked for.

`caught_up_since(t)`: order entry's beat carries the last number and order entry's monotonic clock. When a beat made
after `t` has arrived and the tape stands at its number, then everything that order entry had published at `t` is
here. All processes but remote workers run on one host, so their monotonic clocks are one.

When order entry can't replay so far back it answers with a snapshot. Then the tape is taken up as far back as it goes
(order entry keeps the newest 65,536 events), and what lies before is unseen, which `unseen` says.
"""

from collections.abc import Iterator
from typing import Final

from engine.common.clock import MS
from engine.messages.executions import OrderEvent, OrdersSnapshot, TapeBeat, TapeReplay, TapeRequest

ASK_AGAIN_NS: Final = 500 * MS
BEAT_FRESH_NS: Final = 2000 * MS
_REPLAY_REACH: Final = 49_152  # well within the newest 65,536 that order entry keeps


class TapeFollower:
    """A reader of the whole tape.

    Attributes:
        tape_no: the last number taken.
        unseen: events were skipped that nobody replays any more.
    """

    def __init__(self) -> None:
        self.tape_no = 0
        self.unseen = False
        self.beat: TapeBeat | None = None
        self._beat_seen_ns = 0
        self._primed = False
        self._behind = True
        self._ask_at_ns = 0
        self._snapshots = 0

    def start(self, from_no: int) -> None:
        """Begin with this number; the first answer to a request shows where the tape stands."""
        self.tape_no = from_no - 1

    def live(self, event: OrderEvent) -> bool:
        """Say whether an event from `oe.tape` is the next one, and take its number."""
        if event.tape_no == self.tape_no + 1:
            self.tape_no = event.tape_no
            return True
        if event.tape_no > self.tape_no:
            self._behind = True
        return False

    def replayed(self, replay: TapeReplay) -> Iterator[OrderEvent]:
        """Yield the events of a replay that are new, in order."""
        for event in replay.events:
            if event.tape_no == self.tape_no + 1:
                self.tape_no = event.tape_no
                yield event
        self._snapshots = 0
        if not replay.more:
            self._settle()

    def snapshot(self, snapshot: OrdersSnapshot) -> None:
        """Take a snapshot as the answer `not so far back`: go on from the oldest number that may be replayed."""
        if snapshot.tape_no <= self.tape_no:
            self._settle()
            return
        self._snapshots += 1
        reach = _REPLAY_REACH >> (self._snapshots - 1)
        self.tape_no = max(self.tape_no, snapshot.tape_no - reach)
        self.unseen = True
        self._behind = self.tape_no < snapshot.tape_no
        self._ask_at_ns = 0

    def on_beat(self, beat: TapeBeat, mono_ns: int) -> None:
        """Take a beat."""
        self.beat = beat
        self._beat_seen_ns = mono_ns
        if beat.tape_no > self.tape_no:
            self._behind = True
        else:
            self._settle()

    def _settle(self) -> None:
        # Up to date with the newest beat, as far as that is known.
        if self.beat is not None and self.tape_no >= self.beat.tape_no:
            self._primed = True
            self._behind = False
            self._ask_at_ns = 0

    def ask(self, mono_ns: int) -> TapeRequest | None:
        """Return the request to send now, if one is due."""
        if not self._behind or mono_ns < self._ask_at_ns:
            return None
        self._ask_at_ns = mono_ns + ASK_AGAIN_NS
        return TapeRequest(from_no=self.tape_no + 1)

    @property
    def deadline(self) -> int | None:
        """mono_ns at which `ask` has something to say, or None."""
        return self._ask_at_ns if self._behind else None

    def is_live(self, mono_ns: int) -> bool:
        """Say whether order entry is there and the tape was caught up once."""
        return self._primed and self.beat is not None and mono_ns - self._beat_seen_ns < BEAT_FRESH_NS

    def caught_up_since(self, mono_ns: int) -> bool:
        """Say whether everything is here that order entry had published at `mono_ns`."""
        beat = self.beat
        return beat is not None and beat.mono_ns > mono_ns and self.tape_no >= beat.tape_no
