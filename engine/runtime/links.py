"""The links of one process: which gateway a link name means, and the listeners of the embedded venue."""

import json
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from engine.common.actor import LinkEvent
from engine.common.clock import SECOND
from engine.config import SessionConfig
from engine.errors import ConfigError, KeyFileError, RunDirError
from engine.kalshi.reconnect import LOGONS_MAX, LOGONS_WINDOW_NS
from engine.net.link import Link, Listener
from engine.net.tls import client_context, server_context
from engine.runtime.logons import LogonTimes

if TYPE_CHECKING:
    from engine.runtime.process import ProcessRuntime

VENUE_DIRECTORY = "venue"
ENDPOINTS_FILE = "endpoints.json"
HANDSHAKE_S = 10.0


def venue_endpoints(run_dir: str) -> dict[str, Any]:
    """Return what the embedded venue of a run directory listens on, empty before it does."""
    path = os.path.join(run_dir, VENUE_DIRECTORY, ENDPOINTS_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}


class Links:
    """Opens, closes and names links for the actor of one process."""

    def __init__(self, runtime: "ProcessRuntime") -> None:
        self._runtime = runtime
        self._links: dict[str, Link] = {}
        self._listeners: dict[str, Listener] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._sessions: dict[str, SessionConfig] = {}
        self._accepted = 0
        self.logons = LogonTimes(os.path.join(runtime.run_dir, "state"))
        self.mono_ns = time.monotonic_ns
        self._handshaking: dict[str, float] = {}  # accepted and not open yet, oldest first, to when it began
        self.closing: dict[str, str] = {}
        self.deferred: list[tuple[str, str]] = []

    def configure(self, link: str, session: SessionConfig) -> None:
        """Say where a link leads; its certificates are read now, so that a wrong file shows at start. Raises KeyFileError."""
        self._sessions[link] = session
        self._contexts[link] = client_context(session.ca_file)

    def connect(self, name: str) -> None:
        """Open a configured link; the outcome comes as a LinkEvent."""
        session = self._sessions[name]
        host, port = session.host, session.port
        if not host:
            endpoint = venue_endpoints(self._runtime.run_dir).get(session.target_comp_id)
            if endpoint is None:
                self.deferred.append((name, "the embedded venue isn't listening yet"))
                return
            host, port = endpoint["host"], endpoint["port"]
        wait_ns = self.logons.wait_ns(name, self.mono_ns())
        if wait_ns > 0:
            text = f"{LOGONS_MAX} Logons in the last {LOGONS_WINDOW_NS // SECOND} s already"
            self.deferred.append((name, f"{text}: the next one waits {wait_ns / SECOND:.1f} s"))
            return
        old = self._links.pop(name, None)
        if old is not None:
            old.abort("a new connection takes its place")
        link = self._make(name)
        self._links[name] = link
        pins = tuple(p.lower().replace(":", "") for p in (session.pin_sha256, session.next_pin_sha256) if p)
        link.connect(host, port, self._contexts[name], session.server_name, pins)

    def tell_deferred(self) -> None:
        """Tell of refusals that were known at once; never from inside the actor's own call."""
        while self.deferred:
            name, reason = self.deferred.pop(0)
            self._runtime.link_event(name, LinkEvent.REFUSED, reason)

    def _make(self, name: str, opened: LinkEvent = LinkEvent.CONNECTED, address: str = "") -> Link:
        runtime = self._runtime

        def on_closed(was_open: bool, reason: str) -> None:
            if self._links.get(name) is link:
                del self._links[name]
            if was_open or opened is LinkEvent.CONNECTED:
                runtime.link_event(name, LinkEvent.DISCONNECTED if was_open else LinkEvent.REFUSED, reason)

        def on_open() -> None:
            if opened is LinkEvent.CONNECTED:
                self.logons.note(name, self.mono_ns())
            runtime.link_event(name, opened, address)

        link = Link(
            name,
            on_open=on_open,
            on_bytes=lambda data: runtime.link_bytes(name, data),
            on_closed=on_closed,
            watch=lambda target, fd, events: runtime.watch_fd(fd, events, target.on_poll),
        )
        return link

    def listen(self, session: str, host: str, port: int, context: ssl.SSLContext) -> int:
        """Listen for one session type of the embedded venue; return the port. Raises OSError."""

        def on_accept(sock: socket.socket, address: str) -> None:
            self._accepted += 1
            name = f"{session}/{self._accepted}"
            self._drop_silent(time.monotonic())
            self._handshaking[name] = time.monotonic()
            link = self._links[name] = self._make(name, LinkEvent.ACCEPTED, address)
            link.accepted(sock, context)

        listener = Listener(host, port, context, on_accept)
        self._listeners[session] = listener
        self._runtime.watch_fd(listener.fileno(), 1, lambda _events: listener.on_poll())
        return listener.port

    def _drop_silent(self, now: float) -> None:
        """Close accepted connections that have not finished their TLS handshake, so that they do not pile up."""
        for name, begun in list(self._handshaking.items()):
            link = self._links.get(name)
            if link is None or link.is_open:
                del self._handshaking[name]
            elif now - begun >= HANDSHAKE_S:
                del self._handshaking[name]
                link.abort("no TLS handshake came")
            else:
                return

    @property
    def any_open(self) -> bool:
        """Whether somebody is connected, or about to be."""
        return bool(self._links)

    def write(self, name: str, data: bytes) -> None:
        """Write to a link; bytes for one that is gone are dropped, its DISCONNECTED was told."""
        link = self._links.get(name)
        if link is not None:
            link.write(data)

    def unsent(self, name: str) -> int:
        """Return how many bytes wait on a link."""
        link = self._links.get(name)
        return link.unsent if link is not None else 0

    def close(self, name: str, reason: str) -> None:
        """Close a link after what was written."""
        link = self._links.get(name)
        if link is not None:
            link.close(reason)

    def abort(self, name: str, reason: str) -> None:
        """Cut a link at once."""
        link = self._links.get(name)
        if link is not None:
            link.abort(reason)

    def close_all(self) -> None:
        """Close everything without telling the actor any more."""
        for listener in self._listeners.values():
            listener.close()
        for link in list(self._links.values()):
            link.close("the process ends")


def listen_all(
    links: Links, directory: str, host: str, ports: dict[str, int], sessions: tuple[str, ...]
) -> dict[str, Any]:
    """Open the embedded venue's listeners, on the ports of last time when they are free, and write down where they are.

    Raises:
        KeyFileError: the certificate can't be used. ConfigError: a port that was asked for can't be had.
        RunDirError: where they are can't be written down.
    """
    context = server_context(os.path.join(directory, "server.pem"), os.path.join(directory, "server.key"))
    path = os.path.join(directory, ENDPOINTS_FILE)
    previous: dict[str, Any] = {}
    if os.path.exists(path):
        try:
            with open(path, encoding="utf-8") as file:
                previous = dict(json.load(file))
        except (OSError, ValueError) as error:
            raise KeyFileError(f"{path}: can't be read: {error}") from None
    endpoints: dict[str, Any] = {}
    for session in sessions:
        wanted = ports.get(session, 0)
        usual = previous.get(session, {}).get("port", 0)
        if wanted:
            try:
                port = links.listen(session, host, wanted, context)
            except OSError as error:
                raise ConfigError(
                    f"venue.ports.{session} = {wanted}: the embedded venue can't listen there on {host}: "
                    f"{os.strerror(error.errno or 0)}; give another port, or 0 for a free one"
                ) from None
        else:
            try:
                port = links.listen(session, host, usual, context)
            except OSError:
                port = links.listen(session, host, 0, context)
        endpoints[session] = {"host": host, "port": port}
    if endpoints != previous:
        temporary = path + ".tmp"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump(endpoints, file)
            os.replace(temporary, path)
        except OSError as error:
            raise RunDirError(f"{path}: can't be written: {error.strerror}") from None
    return endpoints
