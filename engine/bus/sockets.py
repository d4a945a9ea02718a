"""The bus's sockets, built from the topology table.

A PUB frame is one frame: topic, a zero byte, the message in msgpack; so a subscriber filters by prefix and splits at
the first zero byte. A DEALER sends one frame, the message; a ROUTER sees the sender's name before it. DEALERs set
IMMEDIATE and ROUTERs MANDATORY, so a message that can't be queued for a living peer is refused at once and never waits
silently. Sockets are drained until they say Again: their descriptor announces edges, not levels.

Rates of ROUTER channels are capped (`meter.py`); workers that run as another Unix user come through doors of their own
(`security.py`).
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
import zmq
import zmq.backend

from engine.bus.meter import ASKING, MALFORMED_COSTS, Flood, Meter, Rate, Sender
from engine.bus.security import Door, give, make_doors_directory
from engine.errors import NotRunningError, RunDirError
from engine.messages.topology import CHANNELS, Channel, Pattern, may_send, role_of

INTENTS: Final = "guard.orders"
MESSAGE_BYTES_MAX: Final = 16 << 20
_SEAL: Final = "seal"
_SEAL_BYTES: Final = 16
_PATH_BYTES_MAX = 95
_LINGER_MS = 300
_HANDSHAKE_MS = 2000  # who connects and says nothing is cut off after so long
Again = zmq.Again
NOBLOCK: Final = int(zmq.NOBLOCK)
SNDMORE: Final = int(zmq.SNDMORE)
RCVMORE: Final = int(zmq.RCVMORE)
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What bytes that are no message raise: the wrong shape, text that isn't UTF-8, nesting without end."""
_poll: Final = zmq.zmq_poll
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


def draw_seal(run_dir: str) -> None:
    """Draw the seal of a new engine, before its first process starts. See `meter.py`. Raises RunDirError."""
    path = os.path.join(bus_directory(run_dir), _SEAL)
    try:
        handle = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(os.urandom(_SEAL_BYTES))
        os.replace(f"{path}.new", path)
    except OSError as error:
        raise RunDirError(f"{path}: can't be written: {error.strerror}") from None


def seal_of(run_dir: str) -> bytes:
    """Return what the names of an engine's processes end with on the bus; empty before one was drawn."""
    try:
        with open(os.path.join(bus_directory(run_dir), _SEAL), "rb") as file:
            return b"\0" + file.read()
    except FileNotFoundError:
        return b""


def endpoint(run_dir: str, channel: str) -> str:
    """Return the ZeroMQ address of a channel."""
    return f"ipc://{bus_directory(run_dir)}/{channel}"


class BusSocket:
    """One end of one channel.

    Attributes:
        idle: read only when idle.
        fd: the descriptor to poll. readable: whether this end ever receives.
        meter: of a ROUTER, who may send how much. discarding: what `receive` gave last was thrown away undecoded.
        known: (peer, type of message) that were found to be allowed.
        doors: by peer, the sockets that it is reached by instead of this one; of a PUB socket, those that give a peer its
            own topics only. topics: what this one gives, where not everything.
    """

    __slots__ = (
        "_decode",
        "_encode",
        "_is_published",
        "_polled",
        "_routed_binder",
        "_zmq",
        "channel",
        "discarding",
        "doors",
        "fd",
        "idle",
        "known",
        "meter",
        "name",
        "pattern",
        "readable",
        "sent",
        "topics",
    )

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        channel: Channel,
        *,
        binder: bool,
        role: str = "",
        meter: Meter | None = None,
    ) -> None:
        self.meter = meter if meter is not None else Meter()
        self.discarding = False
        self.known: set[tuple[str, type]] = set()
        self.doors: dict[str, BusSocket] = {}
        self.topics: tuple[str, ...] = ()
        self.channel = channel
        self.name = channel.name
        self.pattern = channel.pattern
        self.idle = role in channel.idle
        self._zmq = socket
        self._polled = [(socket, int(zmq.POLLIN))]
        self._is_published = channel.pattern is Pattern.PUBSUB
        self._routed_binder = binder and channel.pattern is Pattern.ROUTED
        self._encode = msgspec.msgpack.Encoder().encode
        inbound = channel.up if binder else channel.down
        self.readable = inbound is not None
        self._decode = msgspec.msgpack.Decoder(inbound if inbound is not None else None).decode
        self.fd: int = socket.getsockopt(zmq.FD)  # type: ignore[assignment]
        self.sent = False

    def waiting(self) -> bool:
        """Whether something can be received now; far cheaper than a receive that fails, or than asking for EVENTS."""
        return bool(_poll(self._polled, 0))

    def receive(self) -> tuple[str, Any]:
        """Return (peer, message); message is None when the bytes are no message of this channel, or were not looked at
        because their sender is over its rate or has no business here (`discarding`). Raises Again.
        """
        peer = ""
        sender: Sender | None = None
        data: bytes | memoryview
        if self._routed_binder:
            address = self._zmq.recv(NOBLOCK)
            sender = self.meter.senders.get(address) or self.meter.meet(address)
            # A frame knows whether more follows: asking the socket costs twice that.
            frame = self._zmq.recv(NOBLOCK, False)
            peer = sender.name
            sender.left -= 1
            if sender.left < 0 or frame.more:
                self._reject(sender)
                return peer, None
            data = frame.buffer
        else:
            data = whole = self._zmq.recv(NOBLOCK)
            if self._is_published:
                data = whole[whole.find(b"\0") + 1 :]
        try:
            return peer, self._decode(data)
        except UNREADABLE:
            if sender is not None:
                self._reject(sender)
            return peer, None

    def _reject(self, sender: Sender) -> None:
        """Throw away what is over its sender's rate, or malformed, which costs its sender more."""
        self._discard_parts()
        self.discarding = sender.left < 0
        if self.discarding:
            sender.discarded += 1
        else:
            sender.left -= MALFORMED_COSTS

    def _discard_parts(self) -> None:
        """Read away what follows a message's one frame."""
        while self._zmq.get(RCVMORE):
            self._zmq.recv(NOBLOCK)

    def lets(self, peer: str, message: object, names: frozenset[str]) -> bool:
        """Say whether a peer may send a message here, and remember it of the engine's processes (`names`)."""
        if not may_send(self.channel, peer, message, names):
            return False
        if peer in names:  # tools come and go under ever new names
            self.known.add((peer, type(message)))
        return True

    def publish(self, topic: str, message: msgspec.Struct) -> None:
        """Publish; a subscriber that is behind its mark loses it and sees that by its number."""
        frame = topic.encode() + b"\0" + self._encode(message)
        _send(self._zmq, frame, NOBLOCK)
        if self.doors:
            for door in self.doors.values():
                if topic.startswith(door.topics):
                    _send(door._zmq, frame, NOBLOCK)  # noqa: SLF001

    def send(self, message: msgspec.Struct, to: str | None) -> bool:
        """Send to the binder, or to the peer `to`; False when it could not be queued."""
        self.sent = True
        try:
            if self._routed_binder:
                assert to is not None, "a ROUTER needs to know to whom"
                if to in self.doors:
                    return self.doors[to].send(message, to)
                _send(self._zmq, self.meter.address(to), NOBLOCK | SNDMORE)
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
        rates: of workers, how much they may send to the guard. doors: of workers that run as other users, by name.
        own: the door that this process itself goes through.

    Raises:
        RunDirError: an address is in use or can't be bound.
    """

    def __init__(
        self,
        name: str,
        run_dir: str,
        topics: dict[str, str] | None = None,
        *,
        rates: Mapping[str, Rate] | None = None,
        doors: Mapping[str, Door] | None = None,
        own: Door | None = None,
    ) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self.name = name
        self.sockets: dict[str, BusSocket] = {}
        self._rates = rates or {}
        self._doors = doors or {}
        self._own = own
        self._seal = seal_of(run_dir) if own is None else b""  # nobody but its owner opens a door
        role = role_of(name)
        for channel in CHANNELS.values():
            if channel.bound_by == role:
                self.sockets[channel.name] = self._bind(channel, run_dir)
        for channel in CHANNELS.values():
            if role in channel.connected_by and role != "tool":
                self.sockets[channel.name] = self.connect(channel, run_dir, role, topics or {})

    def _bind(self, channel: Channel, run_dir: str) -> BusSocket:
        socket = self._listener(channel)
        _bind_to(socket, endpoint(run_dir, channel.name))
        rates = self._rates
        if channel.name != INTENTS:
            rates = dict.fromkeys(rates, ASKING)
        made = BusSocket(socket, channel, binder=True, meter=Meter(rates, seal=self._seal))
        made.meter.elsewhere = frozenset(self._doors)
        if not self._doors or "strategy" not in channel.connected_by:
            return made
        make_doors_directory(run_dir)
        for door in self._doors.values():
            topics = door.own_topics(channel)
            is_shared = channel.pattern is Pattern.PUBSUB and not topics
            inner = socket if is_shared else self._listener(channel)
            _bind_to(inner, door.endpoint(channel.name))
            give(door, channel.name)
            if not is_shared:
                meter = Meter(rates, owner=door.name)
                made.doors[door.name] = BusSocket(inner, channel, binder=True, meter=meter)
                made.doors[door.name].topics = topics
        return made

    def _listener(self, channel: Channel) -> "zmq.Socket[bytes]":
        kind = zmq.PUB if channel.pattern is Pattern.PUBSUB else zmq.ROUTER
        socket = self._context.socket(kind)
        _limit(socket, channel, channel.bytes_max)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        if kind == zmq.ROUTER:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        return socket

    def all(self) -> list[BusSocket]:
        """Return every socket, doors too."""
        return [each for socket in self.sockets.values() for each in (socket, *socket.doors.values())]

    def admit(self, names: frozenset[str]) -> None:
        """Say which processes there are: what claims another name is not heard."""
        for socket in self.all():
            socket.meter.names = names

    def refill(self, mono_ns: int) -> list[tuple[str, Flood]]:
        """Let allowances flow in; return (channel, what was thrown away since the last time)."""
        return [(s.name, flood) for s in self.all() if s.meter.senders for flood in s.meter.refill(mono_ns)]

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
            socket.setsockopt(zmq.ROUTING_ID, self.name.encode() + self._seal)
            socket.setsockopt(zmq.IMMEDIATE, 1)
        else:
            for topic in only or channel.topics.get(role, ("",)):
                socket.setsockopt(zmq.SUBSCRIBE, topic.format(**topics).encode())
        own = self._own
        socket.connect(own.endpoint(channel.name) if own is not None else endpoint(run_dir, channel.name))
        return BusSocket(socket, channel, binder=False, role=role)

    def close(self) -> None:
        """Close all sockets."""
        for socket in self.all():
            socket.close()
        self._context.term()


def _bind_to(socket: "zmq.Socket[bytes]", address: str) -> None:
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        raise RunDirError(f"{address}: can't be bound: {error.strerror}") from None


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
        bus._own = None  # noqa: SLF001
        bus._seal = b""  # noqa: SLF001 - tools have names of their own
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
