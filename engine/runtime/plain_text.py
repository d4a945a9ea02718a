"""Text from outside, made fit for a log and a terminal: one line, printable, not longer than it may be."""

from typing import Final

LENGTH_MAX: Final = 500


def plain(text: str, length_max: int = LENGTH_MAX) -> str:
    """Return text without line ends, escapes and other controls, cut to length_max."""
    if len(text) > length_max:
        text = text[: length_max - 3] + "..."
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
