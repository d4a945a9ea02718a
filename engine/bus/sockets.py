"""The bus's sockets, built from the topology table.

A PUB frame is one frame: topic, a zero byte, the message in msgpack; so a subscriber filters by prefix and splits at
the first zero byte. A DEALER sends one frame, the message; a ROUTER sees the sender's name before it. DEALERs set
IMMEDIATE and ROUTERs MANDATORY, so a message that can't be queued for a living peer is refused at once and never waits
silently. Sockets are drained until they say Again: their descriptor announces edges, not levels.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import zmq
import zmq.backend

from engine.errors import NotRunningError, RunDirError
from engine.messages.topology import CHANNELS, Channel, Pattern, role_of

MESSAGE_BYTES_MAX: Final = 16 << 20
_PATH_BYTES_MAX = 95
_LINGER_MS = 300
Again = zmq.Again
NOBLOCK: Final = int(zmq.NOBLOCK)
SNDMORE: Final = int(zmq.SNDMORE)
EVENTS: Final = int(zmq.EVENTS)
RCVMORE: Final = int(zmq.RCVMORE)
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What bytes that are no message raise: the wrong shape, text that isn't UTF-8, nesting without end."""
_send: Final = zmq.backend.Socket.send  # the sugared method above it only adds options that are not used here


def bus_directory(run_dir: str) -> str:
    """Return where the sockets of a run directory live: inside it, or, where its path is too long for a Unix socket, in a
    private directory named by it below the system's directory for temporary files.
    """
    inside = os.path.join(os.path.abspath(run_dir), "bus")
    if len(os.fsencode(inside)) <= _PATH_BYTES_MAX - 20:
        return inside
    digest = hashlib.sha256(os.fsencode(os.path.realpath(run_dir))).hexdigest()[:16]
    return os.path.join(tempfile.gettempdir(), f"engine-{os.getuid()}-{digest}")


def make_bus_directory(run_dir: str) -> str:
    """Make the directory of the sockets, 0700, ours, no link. Raises RunDirError."""
    path = bus_directory(run_dir)
    os.makedirs(path, mode=0o700, exist_ok=True)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise RunDirError(f"{path}: is not a directory of yours; the bus's sockets can't be put there")
    os.chmod(path, 0o700)
    return path


def endpoint(run_dir: str, channel: str) -> str:
    """Return the ZeroMQ address of a channel."""
    return f"ipc://{bus_directory(run_dir)}/{channel}"


class BusSocket:
    """One end of one channel.

    Attributes:
        lazy: read before something else is handled, and when idle. idle: read only when idle.
        fd: the descriptor to poll. readable: whether this end ever receives.
    """

    __slots__ = (
        "_decode",
        "_encode",
        "_is_published",
        "_routed_binder",
        "_zmq",
        "channel",
        "fd",
        "idle",
        "lazy",
        "name",
        "pattern",
        "readable",
        "sent",
    )

    def __init__(
        self, socket: "zmq.Socket[bytes]", channel: Channel, *, binder: bool, role: str = ""
    ) -> None:
        self.channel = channel
        self.name = channel.name
        self.pattern = channel.pattern
        self.lazy = role in channel.lazy
        self.idle = role in channel.idle
        self._zmq = socket
        self._is_published = channel.pattern is Pattern.PUBSUB
        self._routed_binder = binder and channel.pattern is Pattern.ROUTED
        self._encode = msgspec.msgpack.Encoder().encode
        inbound = channel.up if binder else channel.down
        self.readable = inbound is not None
        self._decode = msgspec.msgpack.Decoder(inbound if inbound is not None else None).decode
        self.fd: int = socket.getsockopt(zmq.FD)  # type: ignore[assignment]
        self.sent = False

    def waiting(self) -> bool:
        """Whether something can be received now; far cheaper than a receive that fails."""
        return self._zmq.get(EVENTS) & 1 == 1  # type: ignore[operator]

    def receive(self) -> tuple[str, Any]:
        """Return (peer, message); message is None when the bytes are no message of this channel. Raises Again."""
        peer = ""
        if self._routed_binder:
            peer = self._zmq.recv(NOBLOCK).decode("utf-8", "replace")
            data = self._zmq.recv(NOBLOCK)
            if self._zmq.get(RCVMORE):
                self._discard_parts()
                return peer, None
        else:
            data = self._zmq.recv(NOBLOCK)
            if self._is_published:
                data = data[data.find(b"\0") + 1 :]
        try:
            return peer, self._decode(data)
        except UNREADABLE:
            return peer, None

    def _discard_parts(self) -> None:
        """Read away what follows a message's one frame."""
        while self._zmq.get(RCVMORE):
            self._zmq.recv(NOBLOCK)

    def publish(self, topic: str, message: msgspec.Struct) -> None:
        """Publish; a subscriber that is behind its mark loses it and sees that by its number."""
        _send(self._zmq, topic.encode() + b"\0" + self._encode(message), NOBLOCK)

    def send(self, message: msgspec.Struct, to: str | None) -> bool:
        """Send to the binder, or to the peer `to`; False when it could not be queued."""
        self.sent = True
        try:
            if self._routed_binder:
                assert to is not None, "a ROUTER needs to know to whom"
                _send(self._zmq, to.encode(), NOBLOCK | SNDMORE)
                _send(self._zmq, self._encode(message), NOBLOCK)
            else:
                _send(self._zmq, self._encode(message), NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return False
            raise
        return True

    def close(self) -> None:
        """Close; what was sent has a moment to leave."""
        self._zmq.close(_LINGER_MS)


class Bus:
    """All sockets of one process.

    Args:
        name: the process's name: its identity on ROUTER channels.
        run_dir: whose bus.
        topics: fills `{slot}` in the table's topics.

    Raises:
        RunDirError: an address is in use or can't be bound.
    """

    def __init__(self, name: str, run_dir: str, topics: dict[str, str] | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self.name = name
        self.sockets: dict[str, BusSocket] = {}
        role = role_of(name)
        for channel in CHANNELS.values():
            if channel.bound_by == role:
                self.sockets[channel.name] = self._bind(channel, run_dir)
        for channel in CHANNELS.values():
            if role in channel.connected_by and role != "tool":
                self.sockets[channel.name] = self.connect(channel, run_dir, role, topics or {})

    def _bind(self, channel: Channel, run_dir: str) -> BusSocket:
        kind = zmq.PUB if channel.pattern is Pattern.PUBSUB else zmq.ROUTER
        socket = self._context.socket(kind)
        _limit(socket, channel, channel.bytes_max)
        if kind == zmq.ROUTER:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        address = endpoint(run_dir, channel.name)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            raise RunDirError(f"{address}: can't be bound: {error.strerror}") from None
        return BusSocket(socket, channel, binder=True)

    def connect(
        self, channel: Channel, run_dir: str, role: str, topics: dict[str, str], only: tuple[str, ...] = ()
    ) -> BusSocket:
        """Connect to a channel; `only` are topic prefixes instead of the table's."""
        kind = zmq.SUB if channel.pattern is Pattern.PUBSUB else zmq.DEALER
        socket = self._context.socket(kind)
        _limit(socket, channel)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 250)
        if kind == zmq.DEALER:
            socket.setsockopt(zmq.ROUTING_ID, self.name.encode())
            socket.setsockopt(zmq.IMMEDIATE, 1)
        else:
            for topic in only or channel.topics.get(role, ("",)):
                socket.setsockopt(zmq.SUBSCRIBE, topic.format(**topics).encode())
        socket.connect(endpoint(run_dir, channel.name))
        return BusSocket(socket, channel, binder=False, role=role)

    def close(self) -> None:
        """Close all sockets."""
        for socket in self.sockets.values():
            socket.close()
        self._context.term()


def _limit(socket: "zmq.Socket[bytes]", channel: Channel, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
    socket.setsockopt(zmq.SNDHWM, channel.high_water)
    socket.setsockopt(zmq.RCVHWM, channel.high_water)
    socket.setsockopt(zmq.MAXMSGSIZE, bytes_max)
    socket.setsockopt(zmq.LINGER, _LINGER_MS)


class ToolBus:
    """A tool's way onto the bus of a running engine: one channel, blocking with a deadline; it never disturbs the engine.

    Raises:
        NotRunningError: no engine runs on the run directory.
    """

    def __init__(self, run_dir: str, channel: str, name: str, topics: tuple[str, ...] = ()) -> None:
        path = os.path.join(bus_directory(run_dir), channel)
        if not os.path.exists(path):
            raise NotRunningError(
                f"{run_dir}: no engine runs here ({channel} isn't there); start one with scripts/launch, or name its directory with --run"
            )
        bus = Bus.__new__(Bus)
        bus._context = zmq.Context(io_threads=1)  # noqa: SLF001 - a bus with no sockets but the one asked for
        bus.name = name
        bus.sockets = {}
        self._bus = bus
        self.socket = bus.connect(CHANNELS[channel], run_dir, "tool", {}, topics)
        self._zmq = self.socket._zmq  # noqa: SLF001

    def send(self, message: msgspec.Struct, timeout_ms: int = 2000) -> bool:
        """Send to the binder, waiting for the connection up to timeout_ms; False when nobody took it."""
        if not self._zmq.poll(timeout_ms, zmq.POLLOUT):
            return False
        return self.socket.send(message, None)

    def receive(self, timeout_ms: int) -> Any | None:
        """Return the next message, or None when none came in time."""
        if not self._zmq.poll(timeout_ms, zmq.POLLIN):
            return None
        return self.socket.receive()[1]

    def request(
        self, message: msgspec.Struct, accept: Callable[[Any], bool], timeout_ms: int = 5000
    ) -> Any | None:
        """Send and return the first message that `accept` takes, or None."""
        import time

        deadline = time.monotonic() + timeout_ms / 1000
        if not self.send(message, timeout_ms):
            return None
        while (left := deadline - time.monotonic()) > 0:
            answer = self.receive(int(left * 1000) + 1)
            if answer is not None and accept(answer):
                return answer
        return None

    def stream(self, timeout_ms: int = 250) -> Iterator[tuple[str, Any] | None]:
        """Yield (topic, message) for ever; None when nothing came for timeout_ms."""
        decode = msgspec.msgpack.Decoder(self.socket.channel.down).decode
        while True:
            if not self._zmq.poll(timeout_ms, zmq.POLLIN):
                yield None
                continue
            frame = self._zmq.recv()
            topic, _, data = frame.partition(b"\0")
            try:
                yield topic.decode(), decode(data)
            except UNREADABLE:
                continue

    def close(self) -> None:
        """Close."""
        self.socket.close()
        self._bus._context.term()  # noqa: SLF001


def tool_socket(run_dir: str, channel: str, name: str, topics: tuple[str, ...] = ()) -> ToolBus:
    """Connect a tool to one channel. Raises NotRunningError."""
    return ToolBus(run_dir, channel, name, topics)
