"""The far end of the measured engine: three TLS sockets that speak just enough FIX, in blocking calls.

It logs everyone on without looking at signatures, answers the subscription with a snapshot and each drop-copy query
with an empty completion, sends ticks, and reads orders. Not a venue: the embedded venue is one.
"""

import socket
import ssl
import threading
import time
from typing import Final

from engine.common.clock import fix_time
from engine.fix.encoder import encode

SYMBOL: Final = "BTC-PERP"
SESSIONS: Final = ("KalshiNR", "KalshiMD", "KalshiDC")


class PeerLink:
    """One accepted session, numbers kept.

    Attributes:
        read_ns: perf_counter when bytes were last read.
    """

    def __init__(self, link: ssl.SSLSocket, session: str) -> None:
        self.link = link
        self.session = session
        self.next_number = 1
        self.key_id = ""
        self.read_ns = 0
        self._buffer = b""

    def message(self, msg_type: str, body: str) -> bytes:
        """Return the next message as bytes."""
        header = f"49={self.session}\x0156={self.key_id}\x0134={self.next_number}\x0152={fix_time(time.time_ns())}\x01"
        self.next_number += 1
        return encode(msg_type, header, body)

    def send(self, msg_type: str, body: str) -> None:
        """Send one message."""
        self.link.sendall(self.message(msg_type, body))

    def read(self) -> bytes:
        """Return the next whole message (trusting it, as a measuring peer may)."""
        while True:
            end = self._buffer.find(b"\x0110=")
            if end >= 0 and len(self._buffer) >= end + 8:
                message, self._buffer = self._buffer[: end + 8], self._buffer[end + 8 :]
                return message
            data = self.link.recv(65536)
            self.read_ns = time.perf_counter_ns()
            if not data:
                raise ConnectionError(f"{self.session}: closed by the engine")
            self._buffer += data

    def read_of(self, msg_type: bytes) -> bytes:
        """Return the next message of a type, passing over others."""
        while True:
            message = self.read()
            if b"\x0135=" + msg_type + b"\x01" in message[:32]:
                return message


def field(message: bytes, tag: int) -> str:
    """Return a field's value."""
    begin = message.index(b"\x01%d=" % tag) + len(str(tag)) + 2
    return message[begin : message.index(b"\x01", begin)].decode("latin-1")


class GatewayPeer:
    """Listens for the three sessions of one engine."""

    def __init__(self, server: ssl.SSLContext) -> None:
        self._server = server
        self._listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in SESSIONS}
        self.ports = {name: listener.getsockname()[1] for name, listener in self._listeners.items()}
        self.links: dict[str, PeerLink] = {}
        self._threads = [
            threading.Thread(target=self._log_on, args=(name,), daemon=True) for name in SESSIONS
        ]

    def start(self) -> None:
        """Begin to accept."""
        for thread in self._threads:
            thread.start()

    def wait(self, timeout_s: float = 20) -> None:
        """Wait until order entry and market data are logged on."""
        deadline = time.monotonic() + timeout_s
        while not {"KalshiNR", "KalshiMD"} <= self.links.keys():
            if time.monotonic() > deadline:
                raise TimeoutError("the engine did not log on in time")
            time.sleep(0.01)

    def _log_on(self, name: str) -> None:
        listener = self._listeners[name]
        listener.settimeout(30)
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(30)
        peer = PeerLink(self._server.wrap_socket(sock, server_side=True), name)
        logon = peer.read()
        peer.key_id = field(logon, 49)
        peer.send("A", f"98=0\x01108={field(logon, 108)}\x01141=Y\x011137=9\x01")
        if name == "KalshiMD":
            peer.read_of(b"V")
            peer.send(
                "W",
                f"55={SYMBOL}\x01268=2\x01269=0\x01270=19.5000\x01271=50.00\x01269=1\x01270=19.5200\x01271=50.00\x01",
            )
        self.links[name] = peer
        if name == "KalshiDC":
            self._answer_queries(peer)

    def _answer_queries(self, peer: PeerLink) -> None:
        try:
            while True:
                message = peer.read()
                if b"\x0135=U1\x01" in message[:32]:
                    peer.send("U2", f"45={field(message, 34)}\x0121003=0\x01")
        except (OSError, ConnectionError):
            return

    def close(self) -> None:
        """Close everything."""
        for listener in self._listeners.values():
            listener.close()
        for peer in self.links.values():
            peer.link.close()
