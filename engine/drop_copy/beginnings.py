"""Where to begin to ask when nothing was ever confirmed: guesses before the oldest report that is known. Pure.

The venue documents no way to ask from the beginning (venue.md section 6), only that a BeginExecID outside its window is
refused. So the session's first reports, if the venue issued and did not send them, lie before everything that is known.

* If the clocks of its ExecIDs keep time (the oldest known report shows it: its clock, in s, ms, us or ns, is about the time at
  which it was heard), the clock of our beginning is known, and nothing of ours was executed before it, give or take how far
  the two clocks may be apart.
* In any case, some way back: 2**28 clocks, 2**24, and so on. The first that is answered is made better by halving
  (`queries`), so that the whole of the venue's window is seen, as long as there is not much in it.

After a loss of the session, what lies before a guess stays unproven, unless the guess is as early as our beginning. That the
venue refuses to look back so far is no proof: nobody knows why its window begins where it does.
"""

from typing import Final

from engine.common.clock import MS, SECOND
from engine.drop_copy.keys import Key, text_of
from engine.drop_copy.queries import Begin

_UNITS: Final = (SECOND, MS, 1000, 1)
_APART_NS: Final = 30 * SECOND  # SendingTime's tolerance
_DAY_NS: Final = 86_400 * SECOND
_BITS: Final = (28, 24, 20, 16, 12, 8, 4)


def guesses(first: Key, heard_ns: int, since_ns: int, *, whole: bool, sure: bool = False) -> list[Begin]:
    """Return BeginExecIDs to try before that of the oldest report that is known, the earliest first.

    Args:
        first: the oldest known report's key. heard_ns: our wall clock when it was heard, or later.
        since_ns: our wall clock when our part of it all began; 0 when not known.
        whole: nothing that was sent can have been lost; else what lies before a guess stays unproven, unless:
        sure: nothing of ours was before `since_ns`.
    """
    clock, _, index = first
    unit = next((unit for unit in _UNITS if abs(clock * unit - heard_ns) < _DAY_NS), 0)
    back = {1 << bits for bits in _BITS}
    all_from = -1
    if unit and 0 < since_ns <= heard_ns:
        enough = (heard_ns - since_ns + _APART_NS) // unit + 1
        back.add(enough)
        if sure:
            all_from = clock - enough
    return [
        Begin(
            text_of((clock - distance, 0, index)),
            hole=not whole and clock - distance > all_from,
            guess=True,
            all_from=all_from,
        )
        for distance in sorted(back, reverse=True)
        if clock > distance
    ]
