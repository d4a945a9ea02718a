"""Write a message: BodyLength(9) before, CheckSum(10) after.

The sum of bytes comes from Adler-32, whose low half is 1 + the sum modulo 65521: exact while the sum stays below
65520, so for 256 bytes of any kind or 512 of ASCII; longer messages are summed in pieces. Eight times quicker than
`sum` on an order.
"""

import zlib
from typing import Final

BEGIN_STRING: Final = "FIXT.1.1"
TRAILERS: Final = tuple(b"10=%03d\x01" % total for total in range(256))
_PIECE = 256
_ASCII_PIECE = 512


def checksum(data: bytes) -> int:
    """Return the sum of all bytes modulo 256, for any length."""
    length = len(data)
    if length <= _PIECE:
        return (zlib.adler32(data) - 1) & 255
    step = _ASCII_PIECE if data.isascii() else _PIECE
    if length <= step:
        return (zlib.adler32(data) - 1) & 255
    total = 0
    for at in range(0, length, step):
        total += (zlib.adler32(data[at : at + step]) - 1) & 255
    return total & 255


def encode(msg_type: str, header: str, body: str) -> bytes:
    """Return the whole message.

    Args:
        msg_type: MsgType(35).
        header: the fields after 35, SOH-terminated: `49=..|56=..|34=..|52=..|`.
        body: SOH-terminated fields, latin-1; may be empty.

    Raises:
        UnicodeEncodeError: a value holds a character that latin-1 lacks.
    """
    text = f"35={msg_type}\x01{header}{body}"
    message = f"8=FIXT.1.1\x019={len(text)}\x01{text}".encode("latin-1")
    return message + TRAILERS[checksum(message)]
