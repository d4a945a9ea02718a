"""Cut a byte stream into messages by BodyLength(9), and check CheckSum(10).

Rules:
* Any chunking of a stream gives the same messages and the same count of garbled ones.
* A frame begins `8=FIX...|9=n|35=` in that order and ends `|10=nnn|` where n says; anything else is garbled: skipped up
  to the next `8=FIX`, counted once, and it consumes no sequence number (session scenarios 2.10, 2.11, 2.16).
* Only BodyLength decides where a message ends, so data fields may hold any bytes.
* Nothing beyond the cap is ever buffered: a header that announces more raises `MessageTooLong`.
"""

import re
from typing import Final

from engine.fix.encoder import BEGIN_STRING, TRAILERS, checksum
from engine.fix.errors import MessageTooLong

_MARK: Final = b"8=FIX"
_HEAD: Final = re.compile(rb"8=FIX[A-Z0-9.]{0,10}\x019=([0-9]{1,9})\x01(?=35=)").match
# every proper prefix of what _HEAD matches
_PARTIAL: Final = re.compile(
    rb"8(?:=(?:F(?:I(?:X[A-Z0-9.]{0,10}(?:\x01(?:9(?:=(?:[0-9]{1,9}(?:\x01(?:3(?:5)?)?)?)?)?)?)?)?)?)?)?"
).fullmatch
_HEAD_BYTES_MAX: Final = 40
_TRAILER_BYTES: Final = 7
# trailer -> sum of the whole message with its trailer; spares a copy of the message without it
_SUMS: Final = {trailer: (total + sum(trailer)) & 255 for total, trailer in enumerate(TRAILERS)}


class _Heads(dict[int, bytes | tuple[()]]):
    """The length of a whole message to how one of it begins, BodyLength in its usual form; bounded.

    Nothing begins with `()`: there is no message so long (one byte of body more is two where BodyLength grows a digit).
    """

    def __missing__(self, length: int) -> bytes | tuple[()]:
        if len(self) >= _HEADS_MAX:
            self.clear()
        head: bytes | tuple[()] = ()
        for digits in range(1, 10):
            size = length - len(f"8={BEGIN_STRING}|9=|") - digits - _TRAILER_BYTES
            if len(str(size)) == digits:
                head = f"8={BEGIN_STRING}\x019={size}\x0135=".encode()
        self[length] = head
        return head


_HEADS_MAX: Final = 4096
_HEADS: Final = _Heads()


class Framer:
    """Cuts one connection's inbound bytes.

    Attributes:
        garbled: how many garbled messages or runs of junk were skipped.

    Args:
        max_bytes: the longest message that is accepted, whole.
    """

    __slots__ = ("_have", "_in_junk", "_max_bytes", "_need", "_parts", "garbled")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0  # bytes that must be there before another look is worth it
        self._in_junk = False
        self.garbled = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the messages that are now whole.

        Raises:
            MessageTooLong: over the cap; its `frames` are those before. The framer must not be used further.
        """
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._parts)
            self._parts = []
        elif (
            data.startswith(_HEADS[len(data)])
            and len(data) <= self._max_bytes
            and _SUMS.get(data[-_TRAILER_BYTES:], -1) == checksum(data)
            and data[-8] == 1
        ):
            self._in_junk = False  # one whole message, as mostly
            return [data]
        frames: list[bytes] = []
        at = 0
        size = len(data)
        self._need = 0
        while at < size:
            head = _HEAD(data, at)
            if head is None:
                after = self._after_bad_head(data, at)
                if after == at:
                    break
                at = after
                continue
            end = head.end() + int(head[1]) + _TRAILER_BYTES
            if end - at > self._max_bytes:
                raise MessageTooLong(end - at, self._max_bytes, frames)
            if end > size:
                self._need = end - at
                break
            frame = data[at:end]
            if _SUMS.get(frame[-_TRAILER_BYTES:], -1) == checksum(frame) and frame[-8] == 1:
                frames.append(frame)
                self._in_junk = False
                at = end
            else:
                self.garbled += 1
                self._in_junk = True
                at = self._next_mark(data, at + 1)
        if at < size:
            self._parts.append(data[at:])
            self._have = size - at
        return frames

    def _after_bad_head(self, data: bytes, at: int) -> int:
        """Return where to look next; `at` itself when the header may still become whole."""
        if len(data) - at < _HEAD_BYTES_MAX and _PARTIAL(data, at) is not None:
            return at
        if data.startswith(_MARK, at) or not self._in_junk:
            self.garbled += 1
        self._in_junk = True
        return self._next_mark(data, at + 1)

    @staticmethod
    def _next_mark(data: bytes, at: int) -> int:
        """Return the next place from `at` where a message may begin: a whole mark, or a part of one at the end."""
        found = data.find(_MARK, at)
        if found >= 0:
            return found
        for length in range(min(len(_MARK) - 1, len(data) - at), 0, -1):
            if data.endswith(_MARK[:length]):
                return len(data) - length
        return len(data)
