"""What a bad line does to the venue's bytes, per session and on command: delay, split, coalesce, corrupt.

Bytes of one connection keep their order whatever is done to them. The only randomness is a generator of its own,
seeded by the configuration, so that the synthetic flow is the same with and without a bad line.
"""

import re
from typing import Final

_TRAILER: Final = re.compile(rb"\x0110=(\d{3})\x01")
_LENGTH: Final = re.compile(rb"8=FIXT\.1\.1\x019=(\d+)\x01")


class Line:
    """What is wrong with one session's line. Times in ns; counts are messages still to be spoilt."""

    __slots__ = ("bad_checksums", "bad_lengths", "coalesce_ns", "delay_ns", "jitter_ns", "split")

    def __init__(self) -> None:
        self.delay_ns = 0
        self.jitter_ns = 0
        self.coalesce_ns = 0
        self.split = False
        self.bad_checksums = 0
        self.bad_lengths = 0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong any more."""
        return not (
            self.delay_ns
            or self.jitter_ns
            or self.coalesce_ns
            or self.split
            or self.bad_checksums
            or self.bad_lengths
        )


class WireFaults:
    """Lines by session name, and bytes on their way.

    Args:
        seed: of the jitter.
    """

    __slots__ = ("_lines", "_random", "_waiting")

    def __init__(self, seed: int) -> None:
        self._lines: dict[str, Line] = {}
        self._waiting: dict[str, list[tuple[int, bytes]]] = {}  # by link, in order
        self._random = seed

    def line(self, session: str) -> Line:
        """Return a session's line, to be made worse or better."""
        return self._lines.setdefault(session, Line())

    def put(self, link: str, session: str, data: bytes, mono_ns: int) -> list[bytes]:
        """Take bytes for a link; return the pieces that leave now."""
        line = self._lines.get(session)
        waiting = self._waiting.get(link)
        if line is None or (line.sound and not waiting):
            return [data]
        data = self._spoil(line, data)
        due = self._due(line, mono_ns)
        if waiting:
            due = max(due, waiting[-1][0])
        if due > mono_ns:
            self._waiting.setdefault(link, []).append((due, data))
            return []
        return _pieces(data, split=line.split)

    def _due(self, line: Line, mono_ns: int) -> int:
        due = mono_ns + line.delay_ns
        if line.jitter_ns:
            self._random = (self._random * 6364136223846793005 + 1442695040888963407) % 2**64
            due += (self._random >> 33) * line.jitter_ns >> 31
        if line.coalesce_ns:
            due = (due // line.coalesce_ns + 1) * line.coalesce_ns
        return due

    @staticmethod
    def _spoil(line: Line, data: bytes) -> bytes:
        if line.bad_checksums:
            line.bad_checksums -= 1
            data = _TRAILER.sub(lambda m: b"\x0110=%03d\x01" % ((int(m[1]) + 1) % 256), data, count=1)
        if line.bad_lengths:
            line.bad_lengths -= 1
            data = _LENGTH.sub(lambda m: b"8=FIXT.1.1\x019=%d\x01" % (int(m[1]) - 1), data, count=1)
        return data

    @property
    def due(self) -> int | None:
        """mono_ns at which `release` has something."""
        return min((waiting[0][0] for waiting in self._waiting.values()), default=None)

    def release(self, mono_ns: int) -> list[tuple[str, bytes]]:
        """Return (link, bytes) of what is due; what is due together leaves together."""
        out: list[tuple[str, bytes]] = []
        for link, waiting in list(self._waiting.items()):
            count = sum(1 for due, _ in waiting if due <= mono_ns)
            if not count:
                continue
            data = b"".join(part for _, part in waiting[:count])
            line = self._lines.get(link.rpartition("/")[0])
            out += [(link, piece) for piece in _pieces(data, split=line is not None and line.split)]
            del waiting[:count]
            if not waiting:
                del self._waiting[link]
        return out

    def flush(self, link: str) -> bytes:
        """Return what waits for a link that is about to be closed."""
        return b"".join(part for _, part in self._waiting.pop(link, []))

    def waiting(self, link: str) -> int:
        """Return how many bytes wait for a link."""
        return sum(len(part) for _, part in self._waiting.get(link, ()))

    def forget(self, link: str) -> None:
        """Drop what waits for a link that is gone."""
        self._waiting.pop(link, None)


def _pieces(data: bytes, *, split: bool) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))] if split else [data]
