"""The floor: the four processes of the chain doing no work, one message in flight.

    peer TLS -> md -PUB/SUB-> worker -DEALER/ROUTER-> guard -DEALER/ROUTER-> order entry -> TLS peer

Each forwards 150 opaque bytes over the transports that the engine uses; uvloop (when it is installed) with `add_reader`
on the sockets' descriptors, drained until Again. What the engine's own latency is divided by.
"""

import asyncio
import contextlib
import functools
import gc
import multiprocessing
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import zmq

from engine.net.tls import client_context

MESSAGE_BYTES: Final = 150
STAGES: Final = ("md", "worker", "guard", "oe")
_NEXT: Final = {"md": "worker", "worker": "guard", "guard": "oe"}
NB = zmq.NOBLOCK


def _connect(port: int, ca_file: str) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link = client_context(ca_file).wrap_socket(sock, server_hostname="127.0.0.1")
    link.setblocking(False)
    return link


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _inbound(context: Any, stage: str, directory: str) -> tuple[Any, Callable[[], bytes]]:
    address = f"ipc://{directory}/{stage}"
    if stage == "worker":
        sock = context.socket(zmq.SUB)
        sock.setsockopt(zmq.SUBSCRIBE, b"")
        sock.bind(address)
        return sock, lambda: sock.recv(NB)
    sock = context.socket(zmq.ROUTER)
    sock.bind(address)
    return sock, lambda: sock.recv_multipart(NB)[1]


def _outbound(context: Any, stage: str, directory: str) -> Callable[[bytes], Any]:
    sock = context.socket(zmq.PUB if stage == "md" else zmq.DEALER)
    sock.connect(f"ipc://{directory}/{_NEXT[stage]}")
    return lambda data: sock.send(data, NB)


def _link_out(link: ssl.SSLSocket) -> Callable[[bytes], Any]:
    def out(data: bytes) -> None:
        while True:
            try:
                link.send(data)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                select.select([], [link], [], 1)
            else:
                return

    return out


def _stage(stage: str, directory: str, port: int, ca_file: str, cpu: int | None) -> None:
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    context = zmq.Context()
    loop = _loop()
    asyncio.set_event_loop(loop)
    out = _link_out(_connect(port, ca_file)) if stage == "oe" else _outbound(context, stage, directory)
    if stage == "md":
        _read_link(loop, _connect(port, ca_file), out)
    else:
        _read_bus(loop, *_inbound(context, stage, directory), out)
    gc.collect()
    gc.freeze()
    gc.disable()
    loop.run_forever()


def _read_link(loop: asyncio.AbstractEventLoop, link: ssl.SSLSocket, out: Callable[[bytes], Any]) -> None:
    buffer = b""

    def readable() -> None:
        nonlocal buffer
        try:
            while True:
                data = link.recv(65536)
                if not data:
                    loop.stop()
                    return
                buffer += data
                while len(buffer) >= MESSAGE_BYTES:
                    out(buffer[:MESSAGE_BYTES])
                    buffer = buffer[MESSAGE_BYTES:]
                if not link.pending():
                    return
        except ssl.SSLWantReadError:
            return

    loop.add_reader(link.fileno(), readable)


def _read_bus(
    loop: asyncio.AbstractEventLoop, sock: Any, receive: Callable[[], bytes], out: Callable[[bytes], Any]
) -> None:
    def readable() -> None:
        try:
            while True:
                out(receive())
        except zmq.Again:
            return

    loop.add_reader(sock.getsockopt(zmq.FD), readable)
    loop.call_soon(readable)


@contextlib.contextmanager
def started(
    directory: str, server: ssl.SSLContext, ca_file: str, *, cpu: int | None
) -> Iterator[Callable[[], int]]:
    """Start the chain; give what sends one tick and returns its round trip in ns, tick written to order read."""
    listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in ("md", "oe")}
    processes = []
    spawn = multiprocessing.get_context("fork")
    try:
        for stage in reversed(STAGES):
            listener = listeners.get(stage)
            port = listener.getsockname()[1] if listener is not None else 0
            process = spawn.Process(target=_stage, args=(stage, directory, port, ca_file, cpu), daemon=True)
            process.start()
            processes.append(process)
        links = {}
        for name, listener in listeners.items():
            listener.settimeout(10)
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(10)
            links[name] = server.wrap_socket(sock, server_side=True)
        _join(links["md"], links["oe"])
        yield functools.partial(_trip, links["md"], links["oe"])
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(3)
        for listener in listeners.values():
            listener.close()


_TICK: Final = bytes(MESSAGE_BYTES)


def _join(md: ssl.SSLSocket, oe: ssl.SSLSocket) -> None:
    """Repeat until the first tick comes through, as the subscriber joins late; then take the rest."""
    oe.settimeout(0.2)
    sent = got = 0
    while not got:
        md.sendall(_TICK)
        sent += 1
        try:
            got += len(oe.recv(65536)) // MESSAGE_BYTES
        except TimeoutError:
            assert sent < 100, "the bare chain never answered"
    with contextlib.suppress(TimeoutError):
        while got < sent:
            got += len(oe.recv(65536)) // MESSAGE_BYTES
    oe.settimeout(10)


def _trip(md: ssl.SSLSocket, oe: ssl.SSLSocket) -> int:
    clock = time.perf_counter_ns
    begin = clock()
    md.sendall(_TICK)
    data = oe.recv(65536)
    end = clock()
    while len(data) % MESSAGE_BYTES:
        data += oe.recv(65536)
        end = clock()
    return end - begin
