"""Links talk real TLS over real sockets; every wrong certificate is refused before a byte of ours leaves."""

import datetime as dt
import select
import socket
import ssl
import threading
import time
import warnings

import pytest

from engine.errors import KeyFileError
from engine.net import keys, tls
from engine.net.link import Link, Listener


class Pump:
    """A small poll loop for links under test."""

    def __init__(self):
        self.poll = select.poll()
        self.links = {}

    def close(self):
        for link in list(self.links.values()):
            link.close("the test is over") if isinstance(link, Link) else link.listener.close()

    def watch(self, link, fd, events):
        if events:
            self.poll.register(fd, events)
            self.links[fd] = link
        elif fd in self.links:
            self.poll.unregister(fd)
            del self.links[fd]

    def until(self, condition, seconds=5):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            for fd, events in self.poll.poll(20):
                if fd in self.links:
                    self.links[fd].on_poll(events)


class End:
    def __init__(self, pump, name):
        self.got, self.opened, self.closed = b"", False, None
        self.link = Link(name, self._open, self._bytes, self._closed, pump.watch)

    def _open(self):
        self.opened = True

    def _bytes(self, data):
        self.got += data

    def _closed(self, was_open, reason):
        self.closed = (was_open, reason)


@pytest.fixture
def pump():
    pump = Pump()
    yield pump
    pump.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    path = tmp_path_factory.mktemp("certificates")
    keys.make_certificates(str(path), ["127.0.0.1", "localhost"])
    return path


class Server:
    def __init__(self, pump, directory):
        self.pump, self.ends = pump, []
        context = tls.server_context(str(directory / "server.pem"), str(directory / "server.key"))
        self.listener = Listener("127.0.0.1", 0, context, self._accept)
        self.context = context
        pump.poll.register(self.listener.fileno(), select.POLLIN)
        pump.links[self.listener.fileno()] = self

    def on_poll(self, _events):
        self.listener.on_poll()

    def _accept(self, sock, _address):
        end = End(self.pump, f"server/{len(self.ends)}")
        self.ends.append(end)
        end.link.accepted(sock, self.context)


def connected(pump, server, directory, *, name="127.0.0.1", host="127.0.0.1", pins=(), ca=None):
    end = End(pump, "client")
    end.link.connect(
        host, server.listener.port, tls.client_context(str(ca or directory / "ca.pem")), name, pins
    )
    return end


def test_bytes_go_both_ways_whole_and_in_order(pump, certificates):
    server = Server(pump, certificates)
    client = connected(pump, server, certificates)
    pump.until(lambda: client.opened and server.ends and server.ends[0].opened)
    big = bytes(range(256)) * 4096 * 4
    client.link.write(big)
    client.link.write(b"end")
    server.ends[0].link.write(b"hello")
    pump.until(lambda: len(server.ends[0].got) == len(big) + 3 and client.got == b"hello", 20)
    assert server.ends[0].got == big + b"end"
    client.link.close("done")
    pump.until(lambda: server.ends[0].closed is not None)
    assert client.closed == (True, "done")
    assert server.ends[0].closed == (True, "closed by the peer")


def test_a_close_lets_what_was_written_out_first(pump, certificates):
    server = Server(pump, certificates)
    client = connected(pump, server, certificates)
    pump.until(lambda: client.opened and server.ends and server.ends[0].opened)
    big = b"x" * 5_000_000
    client.link.write(big)
    client.link.close("done")
    pump.until(lambda: server.ends[0].closed is not None, 20)
    assert server.ends[0].got == big


def test_a_host_name_is_resolved_without_blocking(pump, certificates):
    server = Server(pump, certificates)
    client = connected(pump, server, certificates, host="localhost", name="localhost")
    pump.until(lambda: client.opened)


def test_an_unknown_authority_is_refused_with_what_to_do(pump, certificates, tmp_path):
    server = Server(pump, certificates)
    keys.make_certificates(str(tmp_path), ["127.0.0.1"])
    client = connected(pump, server, certificates, ca=tmp_path / "ca.pem")
    pump.until(lambda: client.closed)
    assert not client.opened
    assert "set ca_file" in client.closed[1]


def test_a_wrong_name_is_refused(pump, certificates):
    server = Server(pump, certificates)
    client = connected(pump, server, certificates, name="example.org")
    pump.until(lambda: client.closed)
    assert "not for" in client.closed[1]


def test_an_expired_certificate_is_refused(pump, tmp_path):
    keys.make_certificates(str(tmp_path), ["127.0.0.1"], now=dt.datetime(2020, 1, 1, tzinfo=dt.UTC), days=10)
    server = Server(pump, tmp_path)
    client = connected(pump, server, tmp_path)
    pump.until(lambda: client.closed)
    assert "expired" in client.closed[1]


def test_a_pin_must_match_and_the_next_pin_also_passes(pump, certificates):
    server = Server(pump, certificates)
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    der = x509.load_pem_x509_certificate((certificates / "server.pem").read_bytes()).public_bytes(
        Encoding.DER
    )
    pin = keys.public_key_sha256(der)
    good = connected(pump, server, certificates, pins=("00" * 32, pin))
    pump.until(lambda: good.opened)
    bad = connected(pump, server, certificates, pins=("00" * 32,))
    pump.until(lambda: bad.closed)
    assert not bad.opened
    assert "not the pinned" in bad.closed[1]


def test_plain_tcp_at_the_other_end_is_said_and_gets_no_fix_byte(pump, certificates):
    got = []
    plain = socket.create_server(("127.0.0.1", 0))

    def serve():
        conn, _ = plain.accept()
        got.append(conn.recv(65536))
        conn.sendall(b"8=FIXT.1.1\x019=5\x0135=0\x0110=001\x01")
        conn.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = End(pump, "client")
    client.link.connect(
        "127.0.0.1", plain.getsockname()[1], tls.client_context(str(certificates / "ca.pem")), "127.0.0.1"
    )
    client.link.write(b"8=FIXT.1.1|35=A")
    pump.until(lambda: client.closed)
    thread.join(5)
    plain.close()
    assert "does not speak TLS" in client.closed[1]
    assert b"FIXT" not in b"".join(got)


def raw_server(context):
    """A TLS server of the test's own; returns (port, list that gets what came decrypted, thread)."""
    listener = socket.create_server(("127.0.0.1", 0))
    got = []

    def serve():
        conn, _ = listener.accept()
        conn.settimeout(5)
        try:
            with context.wrap_socket(conn, server_side=True) as tls_conn:
                got.append(tls_conn.recv(65536))
        except OSError as error:
            got.append(error)
        finally:
            conn.close()
            listener.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener.getsockname()[1], got, thread


@pytest.mark.parametrize("wrong", ["unknown authority", "wrong name", "expired", "pin"])
def test_no_fix_byte_reaches_a_peer_that_failed(pump, certificates, tmp_path, wrong):
    """What is written while the link is not open goes nowhere, and a failed link never opens."""
    directory, ca, name, pins = certificates, certificates / "ca.pem", "127.0.0.1", ()
    if wrong == "unknown authority":
        keys.make_certificates(str(tmp_path), ["127.0.0.1"])
        ca = tmp_path / "ca.pem"
    elif wrong == "wrong name":
        name = "fix.example.org"
    elif wrong == "expired":
        old = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        keys.make_certificates(str(tmp_path), ["127.0.0.1"], now=old, days=10)
        directory, ca = tmp_path, tmp_path / "ca.pem"
    else:
        pins = ("ab" * 32,)
    context = tls.server_context(str(directory / "server.pem"), str(directory / "server.key"))
    port, got, thread = raw_server(context)
    client = End(pump, "client")
    client.link.connect("127.0.0.1", port, tls.client_context(str(ca)), name, pins)
    while client.closed is None:
        client.link.write(b"8=FIXT.1.1|35=A")
        pump.until(lambda: client.closed is not None or pump.links)
        for fd, events in pump.poll.poll(20):
            if fd in pump.links:
                pump.links[fd].on_poll(events)
    thread.join(5)
    assert not client.opened and client.closed[0] is False
    assert not [data for data in got if isinstance(data, bytes) and data], got


def test_the_server_is_asked_for_by_name(pump, certificates):
    """SNI: the configured server_name, or the host."""
    asked = []
    context = tls.server_context(str(certificates / "server.pem"), str(certificates / "server.key"))
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    for host, name in (("localhost", ""), ("127.0.0.1", "localhost")):
        port, got, thread = raw_server(context)
        client = End(pump, "client")
        client.link.connect(host, port, tls.client_context(str(certificates / "ca.pem")), name)
        pump.until(lambda client=client: client.opened)
        client.link.write(b"hello")
        thread.join(5)
        assert got == [b"hello"]
        client.link.close("done")
    assert asked == ["localhost", "localhost"]


def test_a_peer_without_tls_1_2_is_refused_and_said(pump, certificates):
    """Minimum 1.2, whatever the system's default is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(certificates / "server.pem"), str(certificates / "server.key"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    port, got, thread = raw_server(context)
    client = End(pump, "client")
    client.link.connect("127.0.0.1", port, tls.client_context(str(certificates / "ca.pem")), "127.0.0.1")
    pump.until(lambda: client.closed)
    thread.join(5)
    assert not client.opened
    assert "TLS 1.2" in client.closed[1]
    assert not [data for data in got if isinstance(data, bytes) and data], got


def test_a_client_context_takes_nothing_older_than_tls_1_2_and_checks_names(certificates):
    context = tls.client_context(str(certificates / "ca.pem"))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_peer_that_closes_amid_the_handshake_is_said(pump, certificates):
    """Not a TLS error in words of the library."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        conn, _ = listener.accept()
        conn.recv(65536)
        conn.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = End(pump, "client")
    client.link.connect(
        "127.0.0.1", listener.getsockname()[1], tls.client_context(str(certificates / "ca.pem")), "127.0.0.1"
    )
    pump.until(lambda: client.closed)
    thread.join(5)
    listener.close()
    assert client.closed == (
        False,
        "the other end closed the connection before TLS was up; check host and port",
    )


def test_nobody_listening_is_refused_with_the_reason(pump, certificates):
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    client = End(pump, "client")
    client.link.connect("127.0.0.1", port, tls.client_context(str(certificates / "ca.pem")), "127.0.0.1")
    pump.until(lambda: client.closed)
    assert client.closed == (False, "127.0.0.1: Connection refused")


@pytest.mark.parametrize("kind", ["missing", "readable", "not a key", "short", "ec"])
def test_a_key_file_that_must_not_be_used_is_refused_with_its_reason(tmp_path, kind):
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = tmp_path / "a.key"
    says = {
        "missing": "no such key file",
        "readable": "chmod 600",
        "not a key": "not a private key",
        "short": "1024 bits",
        "ec": "not an RSA key",
    }[kind]
    if kind != "missing":
        key = (
            ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 1024)
        )
        data = (
            b"rubbish"
            if kind == "not a key"
            else key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        path.write_bytes(data)
        path.chmod(0o644 if kind == "readable" else 0o600)
    with pytest.raises(KeyFileError, match=says) as caught:
        keys.load_private_key(str(path))
    assert str(path) in str(caught.value)


def test_a_signature_verifies_with_its_own_key_only(tmp_path):
    for name in "ab":
        keys.make_rsa_key(str(tmp_path / f"{name}.key"), str(tmp_path / f"{name}.pub"))
    public = {name: keys.load_public_key(str(tmp_path / f"{name}.pub")) for name in "ab"}
    verify = keys.verifier(public)
    signature = keys.signer(str(tmp_path / "a.key"))(b"text")
    assert verify("a", b"text", signature)
    assert not verify("b", b"text", signature)
    assert not verify("a", b"texT", signature)
    assert not verify("a", b"text", "%%%")
    assert not verify("nobody", b"text", signature)
