"""Where to begin to ask when nothing was ever confirmed: guesses before the oldest report that is known. Pure.

The venue documents no way to ask from the beginning (venue.md section 6), only that a BeginExecID outside its window is
refused. So the session's first reports, if the venue issued and did not send them, lie before everything that is known.

* If the clocks of its ExecIDs keep time (the oldest known report shows it: its clock, in s, ms, us or ns, is about its
  TransactTime), the clock of our first request is known, and nothing of ours was executed before it, give or take how
  far the two clocks may be apart.
* In any case, some way back: 2**28 clocks, 2**24, and so on. The first that is answered is made better by halving
  (`queries`), so that the whole of the venue's window is seen, as long as there is not much in it.

After a loss of the session, what lies before a guess stays unproven, unless it is known that we asked for nothing before
that first request, and that this was `young`: less long ago than the venue looks back. Then a guess that is as early as
the request shows everything, and so does one that is the very beginning of the venue's window.
"""

from typing import Final

from engine.common.clock import MS, SECOND
from engine.drop_copy.keys import Key, text_of
from engine.drop_copy.queries import Begin

_UNITS: Final = (SECOND, MS, 1000, 1)
_APART_NS: Final = 30 * SECOND  # SendingTime's tolerance
_DAY_NS: Final = 86_400 * SECOND
_BITS: Final = (28, 24, 20, 16, 12, 8, 4)


def guesses(first: Key, transact_ns: int, sent_ns: int, *, whole: bool, young: bool = False) -> list[Begin]:
    """Return BeginExecIDs to try before that of the oldest report that is known, the earliest first.

    Args:
        first: the oldest known report's key. transact_ns: its TransactTime, 0 when not said.
        sent_ns: wall clock of our first request, 0 when not known.
        whole: nothing that was sent can have been lost; else what lies before a guess stays unproven, unless:
        young: nothing was asked for before `sent_ns`, and the venue looks back further than that.
    """
    clock, _, index = first
    unit = next((unit for unit in _UNITS if abs(clock * unit - transact_ns) < _DAY_NS), 0)
    back = {1 << bits for bits in _BITS}
    enough = clock
    if unit and transact_ns and sent_ns:
        enough = max(transact_ns - sent_ns + _APART_NS, 0) // unit
        back.add(enough)
    return [
        Begin(
            text_of((clock - distance, 0, index)),
            hole=not (whole or (young and distance >= enough)),
            guess=True,
            young=young,
        )
        for distance in sorted(back, reverse=True)
        if clock > distance
    ]
