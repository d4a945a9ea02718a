"""A simulated run as lines to read: who said what to whom and when, FIX as text, messages as their fields."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.common.clock import SECOND
from engine.runtime.virtual import VirtualWorld

_LOUD: Final = ("log", "disk", "halt file", "fault", "kill", "start", "cut", "silence", "link", "close")
_DULL_CHANNELS: Final = ("md.feed", "md.ask")
_DULL_TYPES: Final = ("beat", "guard_beat", "worker_beat", "status")
_DULL_FIX: Final = (b"\x0135=0\x01", b"\x0135=1\x01", b"\x0135=X\x01", b"\x0135=W\x01")
_WIDTH: Final = 400


def tracer(world: VirtualWorld, write: Callable[[str], Any], *, everything: bool) -> Callable[..., None]:
    """Return what `VirtualWorld.trace` calls: writes a line a happening; market data, beats only with `everything`."""
    begin = world.mono_ns

    def trace(kind: str, source: str, target: str, data: bytes) -> None:
        if kind in _LOUD:
            text = data.decode("utf-8", "replace")
        elif kind == "bytes":
            if not everything and any(dull in data for dull in _DULL_FIX):
                return
            text = data.decode("latin-1").replace("\x01", "|")
        else:
            if not everything and kind in _DULL_CHANNELS:
                return
            fields = msgspec.msgpack.decode(data)
            tag = fields.pop("type", "")
            if not everything and tag in _DULL_TYPES:
                return
            text = f"{tag} " + " ".join(f"{name}={value}" for name, value in fields.items())
        seconds = (world.mono_ns - begin) / SECOND
        write(f"{seconds:11.6f} {kind:12} {source} > {target}: {text}"[:_WIDTH])

    return trace
