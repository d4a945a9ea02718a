"""Errors of the FIX core: whose fault, and which FIX code.

    ProtocolError
    ├── LocalProtocolError     we broke the rules: a bug of the caller
    └── RemoteProtocolError    the peer did; carries SessionRejectReason(373) and RefTagID(371)
        └── MessageTooLong     its message is longer than the cap; carries the frames before it

A session never lets a RemoteProtocolError past itself: it becomes a Reject(3), a Logout or a warning.
"""


class ProtocolError(Exception):
    """Base of the FIX core's errors."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something that the session's state or FIX does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something wrong.

    Attributes:
        reason: SessionRejectReason(373). ref_tag: RefTagID(371), or None.
    """

    def __init__(self, text: str, reason: int = 99, ref_tag: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.reason = reason
        self.ref_tag = ref_tag


class MessageTooLong(RemoteProtocolError):  # noqa: N818 - reads as what happened
    """A message is longer than the cap; nothing after it can be framed.

    Attributes:
        frames: the whole messages that came before it in the same bytes.
    """

    def __init__(self, length: int, cap: int, frames: list[bytes]) -> None:
        super().__init__(f"a message of {length} bytes is longer than the {cap} allowed")
        self.frames = frames
