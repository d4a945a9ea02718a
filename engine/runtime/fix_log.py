"""Raw FIX on disk for one session: one line a message, `|` for SOH, RawData and API keys masked, rotated by size."""

import contextlib
import os
import re
from collections.abc import Callable
from typing import Final

from engine.common.clock import iso_time

_RAW_DATA = re.compile(rb"\x01(?:95=(\d{1,6})\x01)?96=")
BYTES_MAX: Final = 64 << 20
_KEPT: Final = 4
# So many are added in any quiet moment; fewer with the next flush, when they cost least.
NOTED_WORTH: Final = 64
_PARTIAL_BYTES_MAX: Final = 1 << 16
_WAITING_BYTES_MAX: Final = 1 << 18


def _masked(data: bytes) -> bytes:
    """Replace every RawData(96): as long as RawDataLength(95) before it says, SOH included, and up to the next SOH."""
    parts, at = [], 0
    for found in _RAW_DATA.finditer(data):
        if found.start() < at:
            continue  # within a RawData that was masked
        end = data.find(b"\x01", found.end() + int(found[1] or 0))
        parts += [data[at : found.end()], b"***"]
        at = len(data) if end < 0 else end
    parts.append(data[at:])
    return b"".join(parts)


class FixLog:
    """Appends what went over one session's links.

    Attributes:
        noted: (link, direction, bytes, wall ns) that nobody has had time for yet; the owner appends.
        lost_bytes: of lines that the disk did not take.
        bytes_max: size at which a file is put aside.
        amid_rotation: called when the old file is put aside and the new one is not there yet (tests).

    Args:
        path: the file; older ones are `path.1` to `path.4`.
        secrets: texts that are masked wherever they stand (API keys).
    """

    def __init__(self, path: str, secrets: tuple[str, ...] = ()) -> None:
        self._path = path
        self._masks = [(text.encode(), text[:4].encode() + b"***") for text in secrets if text]
        self._partial: dict[str, bytes] = {}
        self._lines: list[bytes] = []
        self.noted: list[tuple[str, str, bytes, int]] = []
        self._waiting = 0
        self.lost_bytes = 0
        self.bytes_max = BYTES_MAX
        self.amid_rotation: Callable[[], None] | None = None
        self._handle: int | None = None
        with contextlib.suppress(OSError):
            self._handle = self._open()

    def _open(self) -> int:
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(handle).st_size
        return handle

    def add(self, link: str, direction: str, data: bytes, wall_ns: int) -> None:
        """Add bytes of a link (`>` sent, `<` received); what isn't a whole message yet waits for its rest."""
        key = direction + link
        data = self._partial.pop(key, b"") + data
        end = data.rfind(b"\x0110=")
        end = data.find(b"\x01", end + 4) + 1 if end >= 0 else 0
        if end < len(data) and len(data) - end <= _PARTIAL_BYTES_MAX:
            self._partial[key] = data[end:]
            data = data[:end]
        if not data:
            return
        head = f"{iso_time(wall_ns)} {link} {direction} ".encode()
        if b"\x0196=" in data:
            data = _masked(data)
        for secret, mask in self._masks:
            data = data.replace(secret, mask)
        body = head + data.replace(b"\x018=FIX", b"\x01\n" + head + b"8=FIX").replace(b"\x01", b"|") + b"\n"
        self._lines.append(body)
        self._waiting += len(body)
        if self._waiting > _WAITING_BYTES_MAX:
            self.flush()

    def add_noted(self) -> None:
        """Add what was noted."""
        noted, self.noted = self.noted, []
        for entry in noted:
            self.add(*entry)

    def forget(self, link: str) -> None:
        """A link is gone: so are its partial messages."""
        self.add_noted()
        self._partial.pop("<" + link, None)
        self._partial.pop(">" + link, None)

    def _rotate(self) -> None:
        # The old file stays open until there is a new one: a closed descriptor's number may soon be a journal's.
        if os.path.exists(self._path):
            for number in range(_KEPT, 0, -1):
                older = f"{self._path}.{number - 1}" if number > 1 else self._path
                if os.path.exists(older):
                    os.replace(older, f"{self._path}.{number}")
        if self.amid_rotation is not None:
            self.amid_rotation()
        old, self._handle = self._handle, self._open()
        if old is not None:
            os.close(old)

    def flush(self) -> None:
        """Hand what is buffered to the system. A disk that takes nothing costs log lines (`lost_bytes`), never the session."""
        self.add_noted()
        body, self._lines = b"".join(self._lines), []
        self._waiting = 0
        if not body:
            return
        written = 0
        with contextlib.suppress(OSError):
            if self._handle is None:
                self._handle = self._open()
            written = os.write(self._handle, body)
            self._size += written
            if self._size > self.bytes_max:
                self._rotate()
        self.lost_bytes += len(body) - written
