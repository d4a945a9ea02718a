"""Text from outside, made fit for a log and a terminal: one line, printable, not longer than it may be."""

from typing import Final

from engine.common.actor import Status

LENGTH_MAX: Final = 500
METRICS_MAX: Final = 200  # of a process; ours have about forty
_WORD_MAX: Final = 80
_SESSIONS_MAX: Final = 10


def plain(text: str, length_max: int = LENGTH_MAX) -> str:
    """Return text without line ends, escapes and other controls, cut to length_max."""
    if len(text) > length_max:
        text = text[: length_max - 3] + "..."
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def plain_status(status: Status, *, has_sessions: bool) -> Status:
    """Return what a process says of itself, fit to be shown; has_sessions: it may speak of FIX sessions at all."""
    sessions = list(status.sessions.items())[:_SESSIONS_MAX] if has_sessions else []
    metrics = list(status.metrics.items())[:METRICS_MAX]
    return Status(
        state=plain(status.state, _WORD_MAX),
        detail=plain(status.detail),
        sessions={plain(name, _WORD_MAX): plain(text) for name, text in sessions},
        metrics={plain(name, _WORD_MAX): value for name, value in metrics},
    )
