"""A QuickFIX initiator logs on to all four sessions of `scripts/venue` and trades; it reads by the exported dictionary.

QuickFIX is the independent reader that most FIX users have. Its package is compiled from source when it is installed
(a C++ compiler and OpenSSL's headers are needed), so it is never required:

    .venv/bin/pip install quickfix==1.16.0
    .venv/bin/python -m pytest -m quickfix tests/integration/test_quickfix.py

A thread of the test is the local TLS proxy that a FIX engine without TLS needs (stunnel, usually).
"""

import base64
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from integration.test_venue_alone import order
from integration.venue_alone import ROOT, Alone

pytestmark = pytest.mark.quickfix
fix = pytest.importorskip("quickfix")

SESSION = """
[SESSION]
BeginString=FIXT.1.1
DefaultApplVerID=FIX.5.0SP2
SenderCompID={api_key}
TargetCompID={session}
SocketConnectHost=127.0.0.1
SocketConnectPort={port}
HeartBtInt=5
ResetOnLogon={reset}
TransportDataDictionary={dictionary}
AppDataDictionary={dictionary}
"""
DEFAULT = """
[DEFAULT]
ConnectionType=initiator
StartTime=00:00:00
EndTime=00:00:00
NonStopSession=Y
ReconnectInterval=1
TimeStampPrecision=3
UseDataDictionary=Y
ValidateUserDefinedFields=Y
FileStorePath={store}
FileLogPath={store}
"""


class Proxy(threading.Thread):
    """Takes plain TCP on a port of its own and speaks TLS to the venue, for one session."""

    def __init__(self, place, ca):
        super().__init__(daemon=True)
        self.place, self.context = place, ssl.create_default_context(cafile=ca)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            try:
                raw = socket.create_connection((self.place["host"], self.place["port"]), timeout=10)
                secure = self.context.wrap_socket(raw, server_hostname=self.place["host"])
            except OSError:
                plain.close()  # the venue is gone; QuickFIX tries again
                continue
            threading.Thread(target=self.shovel, args=(plain, secure), daemon=True).start()

    @staticmethod
    def shovel(plain, secure):
        """One thread for both ways: a TLS object is not for two."""
        secure.settimeout(0.01)
        plain.settimeout(0.01)
        while True:
            for source, sink in ((plain, secure), (secure, plain)):
                try:
                    data = source.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    plain.close()
                    secure.close()
                    return
                sink.settimeout(10)
                sink.sendall(data)
                sink.settimeout(0.01)


class Client(fix.Application):
    """Signs Logons and queues what comes, by TargetCompID, as {tag: first value}."""

    def __init__(self, keys):
        super().__init__()
        self.keys = keys
        self.heard = {session: queue.Queue() for session in keys}
        self.faults = []

    def onCreate(self, session):
        pass

    def onLogon(self, session):
        self.heard[session.getTargetCompID().getString()].put({35: "logged on"})

    def onLogout(self, session):
        pass

    def toAdmin(self, message, session):
        if message.getHeader().getField(35) == "3":
            self.faults.append(message.toString())  # QuickFIX found something of the venue's wrong
        if message.getHeader().getField(35) != "A":
            return
        api_key, path = self.keys[session.getTargetCompID().getString()]
        header = message.getHeader()
        signed = "\x01".join((header.getField(52), "A", header.getField(34), api_key, header.getField(56)))
        with open(path, "rb") as file:
            key = serialization.load_pem_private_key(file.read(), None)
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        raw = base64.b64encode(key.sign(signed.encode(), pss, hashes.SHA256())).decode()
        message.setField(95, str(len(raw)))
        message.setField(96, raw)
        if session.getTargetCompID().getString() in {"KalshiNR", "KalshiRT"}:
            message.setField(21011, "Y")
            message.setField(21008, "Y")

    def fromAdmin(self, message, session):
        self.take(message, session)

    def toApp(self, message, session):
        pass

    def fromApp(self, message, session):
        self.take(message, session)

    def take(self, message, session):
        pairs = [part.split("=", 1) for part in message.toString().split("\x01") if part]
        values = {}
        for tag, value in pairs:
            values.setdefault(int(tag), value)
        self.heard[session.getTargetCompID().getString()].put(values)

    def until(self, session, **wanted):
        wanted = {int(name[1:]): value for name, value in wanted.items()}
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            try:
                message = self.heard[session].get(timeout=1)
            except queue.Empty:
                continue
            if all(message.get(tag) == value for tag, value in wanted.items()):
                return message
        raise AssertionError(f"nothing came with {wanted}; QuickFIX refused: {self.faults}")


class Initiator:
    """A QuickFIX initiator over all four sessions of a venue."""

    def __init__(self, venue, directory, dictionary):
        keys = {session: venue.key("main", session) for session in venue.places["sessions"]}
        # one connection a key and session type: KalshiNR and KalshiRT may share the key of order entry
        self.client = Client({name: (key["api_key"], key["private_key"]) for name, key in keys.items()})
        self.proxies = {
            name: Proxy(place, venue.places["ca"]) for name, place in venue.places["sessions"].items()
        }
        text = DEFAULT.format(store=directory)
        for name, proxy in self.proxies.items():
            proxy.start()
            text += SESSION.format(
                api_key=keys[name]["api_key"],
                session=name,
                port=proxy.port,
                dictionary=dictionary,
                reset="N" if name == "KalshiRT" else "Y",
            )
        path = directory / "quickfix.cfg"
        path.write_text(text)
        self.settings = fix.SessionSettings(str(path))
        self.store = fix.FileStoreFactory(self.settings)
        self.log = fix.FileLogFactory(self.settings)
        self.initiator = fix.SocketInitiator(self.client, self.store, self.settings, self.log)
        self.keys = keys
        self.initiator.start()

    def send(self, session, msg_type, fields, symbols=()):
        message = fix.Message()
        message.getHeader().setField(8, "FIXT.1.1")
        message.getHeader().setField(35, msg_type)
        for part in fields.split("|"):
            if part:
                tag, value = part.split("=", 1)
                message.setField(int(tag), value)
        for symbol in symbols:
            group = fix.Group(146, 55)
            group.setField(55, symbol)
            message.addGroup(group)
        name = fix.SessionID("FIXT.1.1", self.keys[session]["api_key"], session)
        assert fix.Session.sendToTarget(message, name)

    def stop(self):
        self.initiator.stop()
        self.initiator = None  # QuickFIX keeps sessions by name for as long as their initiator lives
        for proxy in self.proxies.values():
            proxy.listener.close()


@pytest.fixture
def venue(tmp_path):
    venue = Alone(tmp_path / "v")
    yield venue
    venue.process.kill()
    venue.process.communicate()


def test_a_quickfix_initiator_logs_on_and_trades(venue, tmp_path):
    """All four sessions, every kind of answer validated by QuickFIX with the venue's own dictionary."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", "venue", "--dictionary"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    dictionary = tmp_path / "kalshi.xml"
    dictionary.write_text(done.stdout)
    store = tmp_path / "store"
    store.mkdir()
    quick = Initiator(venue, store, dictionary)
    client = quick.client
    for session in venue.places["sessions"]:
        client.until(session, t35="logged on")

    quick.send("KalshiNR", "D", order("q1", 1, 3, "25.0000", 3))
    trade = client.until("KalshiNR", t35="8", t11="q1", t150="F")
    assert (trade[138], trade[1057], trade[704]) == ("USD", "Y", trade[14])
    quick.send("KalshiNR", "D", order("q2", 1, 3, "19.0000"))
    client.until("KalshiNR", t35="8", t11="q2", t150="0")
    quick.send("KalshiNR", "G", "11=q3|41=q2|38=2|40=2|44=18.9000|54=1|55=BTC-PERP|")
    assert client.until("KalshiNR", t35="8", t11="q3")[150] == "5"
    quick.send("KalshiNR", "F", "11=q4|41=q3|54=2|55=BTC-PERP|")
    assert client.until("KalshiNR", t35="9", t11="q4")[102] == "99"
    quick.send("KalshiNR", "D", order("q5", 1, 3, "1.0000"))
    assert client.until("KalshiNR", t35="8", t11="q5")[58] == "INVALID_ORDER"
    quick.send("KalshiNR", "UOG", "20131=1|20132=50|")
    assert client.until("KalshiNR", t35="UOH")[20132] == "50"
    quick.send("KalshiNR", "q", "11=q6|530=6|")
    assert client.until("KalshiNR", t35="r", t11="q6")[531] == "6"
    assert client.until("KalshiNR", t35="8", t11="q3")[150] == "4"

    quick.send("KalshiMD", "V", "263=1|", ("BTC-PERP", "ETH-PERP", "NO-SUCH"))
    assert [client.until("KalshiMD", t35="W")[55] for _ in range(3)] == ["BTC-PERP", "ETH-PERP", "NO-SUCH"]
    assert int(client.until("KalshiMD", t35="X")[268]) > 0
    quick.send("KalshiMD", "V", "263=7|", ("BTC-PERP",))
    quick.send("KalshiDC", "U1", f"21001={trade[17]}|")
    assert client.until("KalshiDC", t35="8")[17] == trade[17]
    assert int(client.until("KalshiDC", t35="U2")[21003]) >= 4
    quick.send("KalshiDC", "U1", "21001=0;1|")
    assert client.until("KalshiDC", t35="U3")[21004] == "3"

    # KalshiRT: what happens while QuickFIX is away comes by its own ResendRequest when it is back
    quick.send("KalshiRT", "D", order("q7", 1, 3, "19.0000"))
    client.until("KalshiRT", t35="8", t11="q7", t150="0")
    quick.stop()
    other = venue.client("KalshiNR", "second")
    other.logon()
    other.send("D", order("s1", 2, 400, "19.0000", 3))
    other.until(t35="8", t11="s1", t150="F")
    other.close()
    again = Initiator(venue, store, dictionary)
    resent = again.client.until("KalshiRT", t35="8", t11="q7", t150="F")
    assert (resent[43], resent[39]) == ("Y", "2")
    again.send("KalshiRT", "D", order("q8", 1, 3, "18.0000"))
    again.client.until("KalshiRT", t35="8", t11="q8", t150="0")
    again.stop()
    assert (client.faults, again.client.faults) == ([], [])
