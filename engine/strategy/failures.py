"""What becomes of an exception in a strategy's callback: one compact line, a count, and after too many the end.

A callback that fails harms nothing but itself: the worker goes on. A strategy that keeps failing is stopped, since what
it does between its failures is not what its author meant.
"""

from collections import deque
from types import TracebackType
from typing import Final

from engine.common.clock import SECOND

FAILURES_MAX: Final = 10
WINDOW_NS: Final = 60 * SECOND
_FRAMES = 4
_TEXT_MAX = 300


class Failures:
    """Counts failures, and says when there are too many within the window."""

    def __init__(self) -> None:
        self.total = 0
        self._recent: deque[int] = deque(maxlen=FAILURES_MAX)

    def too_many(self, mono_ns: int) -> bool:
        """Count one more; True: it is the tenth within 60 s."""
        self.total += 1
        self._recent.append(mono_ns)
        return len(self._recent) == FAILURES_MAX and mono_ns - self._recent[0] <= WINDOW_NS


def _frames(trace: TracebackType | None) -> list[str]:
    places: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return places


def compact(problem: BaseException) -> str:
    """Write an exception in one line: where it was raised, what it says, and the last calls that led there."""
    places = _frames(problem.__traceback__)[1:]  # the first is the worker's own call of the callback
    text = " ".join(_say(problem).split())[:_TEXT_MAX]
    at = places[-1] if places else "the worker's call"
    way = f" [{' > '.join(places[-_FRAMES:])}]" if len(places) > 1 else ""
    return f"{at}: {type(problem).__name__}: {text}{way}"


def _say(problem: BaseException) -> str:
    try:
        return str(problem)
    except Exception:  # noqa: BLE001 - user code again: its __str__ may fail too
        return "(its text can't be had)"
