"""Where to begin to ask when nothing was ever confirmed: guesses at the ExecID clock of our first request. Pure.

The venue documents no way to ask from the beginning (venue.md section 6), only that a BeginExecID outside its window is
refused, and ours may begin with any clock. If the clocks of its ExecIDs keep time (the oldest report that we know shows
it: its clock, in s, ms, us or ns, is about its TransactTime), the clock of any moment is known as well. Nothing of ours
was executed before our first request, give or take how far the two clocks may be apart.
"""

from typing import Final

from engine.common.clock import MS, SECOND
from engine.drop_copy.keys import Key, text_of
from engine.drop_copy.queries import Begin

_UNITS: Final = (SECOND, MS, 1000, 1)
_APART_NS: Final = 30 * SECOND  # SendingTime's tolerance
_BEFORE_NS: Final = (_APART_NS, 10 * SECOND, 3 * SECOND, SECOND, 300 * MS, 100 * MS, 30 * MS, 0)
_DAY_NS: Final = 86_400 * SECOND


def guesses(first: Key, transact_ns: int, sent_ns: int, *, whole: bool) -> list[Begin]:
    """Return BeginExecIDs to try before that of the oldest report that is known, the earliest first.

    Args:
        first: the oldest known report's key. transact_ns: its TransactTime, 0 when not said.
        sent_ns: wall clock of our first request, 0 when not known.
        whole: nothing that was sent can have been lost; else what lies before a guess stays unproven, unless the guess
            is as far back as the clocks may be apart.
    """
    clock, _, index = first
    unit = next((unit for unit in _UNITS if abs(clock * unit - transact_ns) < _DAY_NS), 0)
    if not unit or not transact_ns or not sent_ns:
        return []
    begins = []
    for before_ns in _BEFORE_NS:
        at = clock - max(transact_ns - sent_ns + before_ns, 0) // unit
        if 0 < at < clock:
            begins.append(Begin(text_of((at, 0, index)), hole=not whole and before_ns < _APART_NS))
    return begins
