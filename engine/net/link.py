"""One TLS connection as a non-blocking machine: resolve, connect, handshake, open, closed.

A link never blocks: each step does what can be done now and says which poll events it waits for. What is read goes to
`on_bytes` whole; what is written and can't leave waits in order. After a read the loop goes on while the TLS layer
holds decrypted bytes, because no descriptor announces those. No FIX byte is sent to a peer that failed verification
or the pin.
"""

import contextlib
import errno
import select
import socket
import ssl
import threading
from collections.abc import Callable

from engine.net import keys, tls

POLLIN, POLLOUT = select.POLLIN, select.POLLOUT
_READ_BYTES = 65536
_WAITING_BYTES_MAX = 16 << 20
_RECORD_BYTES = 16384
_READS_PER_WAKE = 64


class Link:
    """A TLS connection, initiated by us or accepted.

    Args:
        name: the link's name, as actors know it.
        on_open, on_bytes, on_closed: called with what happened; on_closed's first argument says whether it was ever open.
        watch: called as watch(fd, events) whenever the poll events that the link waits for change; events 0 means forget fd.
    """

    def __init__(
        self,
        name: str,
        on_open: Callable[[], None],
        on_bytes: Callable[[bytes], None],
        on_closed: Callable[[bool, str], None],
        watch: Callable[["Link", int, int], None],
    ) -> None:
        self.name = name
        self._on_open, self._on_bytes, self._on_closed = on_open, on_bytes, on_closed
        self._watch = watch
        self._sock: socket.socket | ssl.SSLSocket | None = None
        self._tls: ssl.SSLSocket | None = None
        self._waiting = bytearray()
        self._retry = b""
        self._state = "idle"  # idle, resolving, connecting, handshaking, open, closed
        self._closing = ""
        self._watched = 0
        self._host = ""
        self._pins: tuple[str, ...] = ()
        self._context: ssl.SSLContext | None = None
        self._server_name = ""
        self._addresses: list[tuple[int, tuple[str, int]]] = []
        self._resolved: socket.socket | None = None

    # -- opening

    def connect(
        self, host: str, port: int, context: ssl.SSLContext, server_name: str, pins: tuple[str, ...] = ()
    ) -> None:
        """Begin to connect; the outcome comes by on_open or on_closed."""
        self._host, self._context, self._server_name, self._pins = host, context, server_name or host, pins
        self._state = "resolving"
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._resolved = ours
        self._set_watch(ours.fileno(), POLLIN)

        def resolve() -> None:
            text = b""
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                self._addresses = [(family, address[:2]) for family, _, _, _, address in found]  # type: ignore[misc]
            except OSError as error:
                text = (error.strerror or str(error)).encode()
            with contextlib.suppress(OSError):
                theirs.sendall(text or b"\0")
                theirs.close()

        if host.replace(".", "").isdigit() or ":" in host:
            resolve()
        else:
            threading.Thread(target=resolve, name=f"resolve {host}", daemon=True).start()

    def _on_resolved(self) -> None:
        assert self._resolved is not None
        answer = self._resolved.recv(4096)
        self._set_watch(self._resolved.fileno(), 0)
        self._resolved.close()
        self._resolved = None
        if answer != b"\0" or not self._addresses:
            self._fail(f"{self._host} can't be resolved: {answer.decode(errors='replace')}")
            return
        self._state = "connecting"
        self._try_next_address("")

    def _try_next_address(self, why: str) -> None:
        if not self._addresses:
            self._fail(why)
            return
        family, address = self._addresses.pop(0)
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        code = sock.connect_ex(address)
        if code not in {0, errno.EINPROGRESS}:
            sock.close()
            self._sock = None
            self._try_next_address(f"{address[0]}:{address[1]}: {errno.errorcode.get(code, code)}")
            return
        self._set_watch(sock.fileno(), POLLOUT)

    def _on_connected(self) -> None:
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            fd = self._sock.fileno()
            self._set_watch(fd, 0)
            self._sock.close()
            self._sock = None
            import os

            self._try_next_address(f"{self._host}: {os.strerror(code)}")
            return
        assert self._context is not None
        self._begin_tls(self._sock, self._context, server_side=False)

    def accepted(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Take a connection that a listener accepted and begin TLS as the server."""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begin_tls(sock, context, server_side=True)

    def _begin_tls(self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> None:
        fd = sock.fileno()
        if self._watched:
            self._set_watch(fd, 0)
        try:
            self._tls = context.wrap_socket(
                sock,
                server_side=server_side,
                server_hostname=None if server_side else self._server_name,
                do_handshake_on_connect=False,
            )
        except OSError as error:
            sock.close()
            self._fail(tls.explain(error, self._host))
            return
        self._sock = self._tls
        self._state = "handshaking"
        self._handshake()

    def _handshake(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._set_watch(self._tls.fileno(), POLLIN)
            return
        except ssl.SSLWantWriteError:
            self._set_watch(self._tls.fileno(), POLLOUT)
            return
        except OSError as error:
            self._fail(tls.explain(error, self._server_name or "the peer"))
            return
        if self._pins:
            der = self._tls.getpeercert(binary_form=True)
            pin = keys.public_key_sha256(der) if der else ""
            if pin not in self._pins:
                self._fail(
                    f"the certificate's public key has SHA-256 {pin}, not the pinned {' or '.join(self._pins)}"
                )
                return
        self._state = "open"
        self._set_watch(self._tls.fileno(), POLLIN)
        self._on_open()
        if self._state == "open":
            self._read()

    # -- open

    @property
    def is_open(self) -> bool:
        """Whether bytes can be written."""
        return self._state == "open"

    @property
    def unsent(self) -> int:
        """How many bytes wait for the peer to read."""
        return len(self._waiting) + len(self._retry)

    def on_poll(self, events: int) -> None:
        """Go on: the descriptor has what the link waited for."""
        state = self._state
        if state == "open":
            if events & POLLOUT:
                self._flush()
            if self._state == "open":
                self._read()
        elif state == "handshaking":
            self._handshake()
        elif state == "connecting":
            self._on_connected()
        elif state == "resolving":
            self._on_resolved()

    def _read(self) -> None:
        link = self._tls
        assert link is not None
        for _ in range(_READS_PER_WAKE):
            try:
                data = link.read(_READ_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._fail(error.strerror or str(error))
                return
            if not data:
                self._fail("closed by the peer")
                return
            self._on_bytes(data)
            if self._state != "open" or not link.pending():
                return
        # More is decrypted than one wake may take, and no descriptor announces it: being writable wakes us again.
        self._set_watch(link.fileno(), POLLIN | POLLOUT)

    def write(self, data: bytes) -> None:
        """Write now what can be written, keep the rest in order; silently nothing on a link that isn't open."""
        if self._state != "open":
            return
        if self._waiting or self._retry:
            self._waiting += data
            if len(self._waiting) > _WAITING_BYTES_MAX:
                self._fail("the peer does not read: more than 16 MiB wait to be sent")
            return
        if len(data) > _RECORD_BYTES:
            self._waiting += data
            self._flush()
            return
        link = self._tls
        assert link is not None
        try:
            link.send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._retry = data
            self._set_watch(link.fileno(), POLLIN | POLLOUT)
        except OSError as error:
            self._fail(error.strerror or str(error))

    def _flush(self) -> None:
        """Write what waits, a TLS record at a time: after a want-write the same bytes must be given again."""
        link = self._tls
        assert link is not None
        try:
            while self._retry or self._waiting:
                if not self._retry:
                    self._retry = bytes(self._waiting[:_RECORD_BYTES])
                    del self._waiting[:_RECORD_BYTES]
                link.send(self._retry)
                self._retry = b""
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._set_watch(link.fileno(), POLLIN | POLLOUT)
            return
        except OSError as error:
            self._fail(error.strerror or str(error))
            return
        self._set_watch(link.fileno(), POLLIN)
        if self._closing:
            self._fail(self._closing)

    # -- closing

    def close(self, reason: str) -> None:
        """Close once everything written is out."""
        if self._state == "open" and (self._waiting or self._retry):
            self._closing = reason or "closed here"
            return
        self._fail(reason or "closed here")

    def abort(self, reason: str) -> None:
        """Close at once, whatever waits."""
        self._fail(reason)

    def _set_watch(self, fd: int, events: int) -> None:
        self._watched = events
        self._watch(self, fd, events)

    def _fail(self, reason: str) -> None:
        if self._state == "closed":
            return
        was_open = self._state == "open"
        self._state = "closed"
        if self._resolved is not None:
            self._set_watch(self._resolved.fileno(), 0)
            self._resolved.close()
        if self._sock is not None:
            fd = self._sock.fileno()
            if fd >= 0:
                self._set_watch(fd, 0)
            with contextlib.suppress(OSError):
                if self._tls is not None and was_open:
                    self._tls.unwrap()
            self._sock.close()
        self._on_closed(was_open, reason)


class Listener:
    """Accepts TLS connections on one port.

    Raises:
        OSError: the address can't be bound.
    """

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext, on_accept: Callable[[socket.socket, str], None]
    ) -> None:
        self._context = context
        self._on_accept = on_accept
        self._sock = socket.create_server((host, port), backlog=64, reuse_port=False)
        self._sock.setblocking(False)
        self.port: int = self._sock.getsockname()[1]

    def fileno(self) -> int:
        """Return the listening descriptor."""
        return self._sock.fileno()

    def on_poll(self) -> None:
        """Accept all that wait."""
        while True:
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError:
                return
            self._on_accept(sock, f"{address[0]}:{address[1]}")

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS context for what was accepted."""
        return self._context

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()
