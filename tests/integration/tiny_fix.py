"""A FIX client that shares nothing with the engine: its own framing, sums and signature over a TLS socket."""

import base64
import datetime as dt
import socket
import ssl
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding


class TinyFix:
    def __init__(self, place, ca, api_key, private_key, target):
        context = ssl.create_default_context(cafile=ca)
        raw = socket.create_connection((place["host"], place["port"]), timeout=10)
        self.sock = context.wrap_socket(raw, server_hostname=place["host"])
        self.sock.settimeout(10)
        self.api_key, self.target = api_key, target
        self.seq = 0
        self.data = b""
        with open(private_key, "rb") as file:
            self.key = serialization.load_pem_private_key(file.read(), None)

    def send(self, msg_type, body, seq=None, extra=""):
        if seq is None:
            self.seq += 1
            seq = self.seq
        at = dt.datetime.now(dt.UTC).strftime("%Y%m%d-%H:%M:%S.%f")[:-3]
        if msg_type == "A":
            signed = "\x01".join((at, "A", str(seq), self.api_key, self.target))
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            raw = base64.b64encode(self.key.sign(signed.encode(), pss, hashes.SHA256())).decode()
            body = f"98=0|108=30|95={len(raw)}|96={raw}|" + body
        head = f"35={msg_type}|49={self.api_key}|56={self.target}|34={seq}|52={at}|{extra}"
        inner = (head + body).replace("|", "\x01").encode("latin-1")
        message = b"8=FIXT.1.1\x019=" + str(len(inner)).encode() + b"\x01" + inner
        self.sock.sendall(message + b"10=%03d\x01" % (sum(message) % 256))

    def next(self):
        """The next message as a list of (tag, value), its length and sum checked."""
        while True:
            end = self.data.find(b"\x0110=")
            if end >= 0 and len(self.data) >= end + 8:
                whole, self.data = self.data[: end + 8], self.data[end + 8 :]
                assert int(whole[-4:-1]) == sum(whole[:-7]) % 256
                fields = [part.split(b"=", 1) for part in whole[:-1].split(b"\x01")]
                pairs = [(int(tag), value.decode("latin-1")) for tag, value in fields]
                assert pairs[0] == (8, "FIXT.1.1") and pairs[1][0] == 9
                start = whole.index(b"\x01", whole.index(b"\x019=") + 1) + 1
                assert int(pairs[1][1]) == len(whole) - 7 - start
                return pairs
            part = self.sock.recv(65536)
            assert part, "the venue closed the connection"
            self.data += part

    def until(self, **wanted):
        """The next message that has all of these values (`t35="8"`), others skipped."""
        wanted = {int(name[1:]): value for name, value in wanted.items()}
        limit = time.monotonic() + 10
        while time.monotonic() < limit:
            message = dict(self.next())
            if all(message.get(tag) == value for tag, value in wanted.items()):
                return message
        raise AssertionError(f"nothing came with {wanted}")

    def logon(self, flags="21011=Y|21008=Y|", head="141=Y|"):
        self.send("A", f"{head}1137=9|{flags}")
        return dict(self.next())

    def close(self):
        self.sock.close()
