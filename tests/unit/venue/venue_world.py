"""A venue on virtual time, and clients that write FIX text with | for SOH; the helpers count and sum for themselves."""

import random

import msgspec

from engine.common.actor import LinkEvent
from engine.common.clock import SECOND, Now, fix_time, parse_fix_time
from engine.config import (
    Config,
    EngineConfig,
    InstrumentConfig,
    LimitsConfig,
    RateConfig,
    RiskConfig,
    SessionConfig,
    SessionsConfig,
    VenueConfig,
    VenueMarketConfig,
)
from engine.messages.control import VenueFault, VenueQuery
from engine.venue.accounts import VenueKey
from engine.venue.actor import Venue
from engine.venue.records import Reported, RtSent, VenueRecord

T0 = parse_fix_time("20261124-15:00:00.000")
KEYS = [
    VenueKey(api_key="key-oe", account="main"),
    VenueKey(api_key="key-2", account="main"),
    VenueKey(api_key="key-dc", account="main"),
    VenueKey(api_key="key-md", account="main"),
    VenueKey(api_key="key-other", account="other"),
    VenueKey(api_key="key-only-md", account="other", sessions=("KalshiMD",)),
]


def frame(text):
    body = text.replace("|", "\x01").encode("latin-1")
    head = b"8=FIXT.1.1\x019=%d\x01" % len(body)
    total = 0
    for byte in head + body:
        total += byte
    return head + body + b"10=%03d\x01" % (total % 256)


def unframe(data):
    """Split bytes into messages as text, checking BodyLength and CheckSum on the way."""
    texts = []
    while data:
        assert data.startswith(b"8=FIXT.1.1\x019=")
        length_end = data.index(b"\x01", 11)
        length = int(data[13:length_end])
        body = data[length_end + 1 : length_end + 1 + length]
        whole = data[: length_end + 1 + length + 7]
        assert whole == frame(body.decode("latin-1").replace("\x01", "|"))
        texts.append(body.decode("latin-1").replace("\x01", "|"))
        data = data[len(whole) :]
    return texts


class Out:
    """Collects what the venue does, in order."""

    def __init__(self):
        self.written = {}
        self.sent = []
        self.records = []
        self.closed = {}
        self.exec_ids = set()
        self.waiting = {}

    def send(self, channel, message, to=None, topic=""):
        self.sent.append((channel, to, message))

    def write(self, link, data, trigger_ns=0):
        assert link not in self.closed
        self.written[link] = self.written.get(link, b"") + data

    def unsent(self, link):
        return self.waiting.get(link, 0)

    def record(self, entry, *, cl_ord_id="", exec_id=""):
        assert exec_id not in self.exec_ids or not exec_id
        self.exec_ids.add(exec_id)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=VenueRecord) == entry
        self.records.append(entry)

    def connect(self, link):
        raise AssertionError("the venue connects to nobody")

    def close(self, link, reason=""):
        self.closed[link] = reason

    def log(self, level, text):
        pass


LIMITS = LimitsConfig(
    max_order_qty="10",
    max_order_notional="1000",
    max_position="10",
    max_open_orders=10,
    max_gross_notional="1000",
    max_loss="1000",
)


def config(levels=0, rate=None, **venue):
    market = VenueMarketConfig(price="10.0000", levels=levels)
    venue.setdefault("tier", "unlimited")
    return Config(
        engine=EngineConfig(name="t", shutdown="cancel"),
        sessions=SessionsConfig(
            order_entry=SessionConfig(target_comp_id="KalshiNR"),
            market_data=SessionConfig(target_comp_id="KalshiMD"),
            drop_copy=SessionConfig(target_comp_id="KalshiDC"),
        ),
        instruments={"BTC-PERP": InstrumentConfig(), "ETH-PERP": InstrumentConfig()},
        risk=RiskConfig(account=LIMITS, markets={}),
        strategies={},
        rate=rate or RateConfig(),
        venue=VenueConfig(markets={"BTC-PERP": market, "ETH-PERP": market}, **venue),
    )


def verify(api_key, message, signature):
    return signature == f"{api_key}/{message.decode('latin-1').replace(chr(1), '/')}"


class Rows:
    """An archive over what was recorded, as the journal on disk would give it."""

    def __init__(self, *lists):
        self.lists = lists

    def _rows(self):
        return [entry for entries in self.lists for entry in entries]

    def sent(self, key, first_row, last_row):
        rows = self._rows()[first_row - 1 : last_row]
        return [e.message for e in rows if isinstance(e, RtSent) and e.key == key]

    def reports(self, account, begin, end, limit):
        found = [
            e.report
            for e in self._rows()
            if isinstance(e, Reported) and e.account == account and begin <= (e.clock, e.event) < end
        ]
        return [report for report in found if report.exec_type != "8"], None

    def last_row(self):
        return len(self._rows())


class World:
    """A venue, and clients that write text; archived: what left memory is read back from what was recorded.

    journal: what it begins with; state: a snapshot of rows before that (`before`).
    """

    def __init__(self, cfg=None, journal=(), now=T0, *, archived=False, before=(), state=b""):
        self.out = Out()
        self.archive = Rows(before, journal, self.out.records) if archived else None
        self.venue = Venue(cfg or config(), self.out, verify, random.Random(5), KEYS, self.archive)
        self.wall = now
        self.mono = 10 * SECOND
        if state:
            self.venue.load(state)
        for entry in journal:
            self.venue.replay(entry)
        self.venue.start(self.now)
        self.links = 0

    @property
    def now(self):
        return Now(self.wall, self.mono)

    def advance(self, ns):
        until = self.mono + ns
        while self.venue.deadline is not None and self.venue.deadline <= until:
            step = max(self.venue.deadline - self.mono, 0)
            self.wall, self.mono = self.wall + step, self.mono + step
            self.venue.on_deadline(self.now)
        self.wall, self.mono = self.wall + until - self.mono, until

    def client(self, gateway, key):
        self.links += 1
        return Client(self, f"{gateway}/{self.links}", gateway, key)

    def fault(self, kind, session="", **arguments):
        self.venue.on_message(
            "venue.ask",
            "tool.t",
            VenueFault(request_id="f", kind=kind, session=session, arguments=arguments),
            self.now,
        )
        reply = self.out.sent.pop()[2]
        return reply.text if not reply.ok else "ok"

    def truth(self, account="main"):
        self.venue.on_message("venue.ask", "tool.t", VenueQuery(request_id="q", account=account), self.now)
        (found,) = self.out.sent.pop()[2].accounts
        return found


class Client:
    """One connection; `say` writes a message and returns what the venue wrote back."""

    def __init__(self, world, link, gateway, key):
        self.world, self.link, self.gateway, self.key = world, link, gateway, key
        self.seq = 0
        world.venue.on_link(link, LinkEvent.ACCEPTED, "127.0.0.1:5", world.now)

    def say(self, msg_type, fields=""):
        self.seq += 1
        head = f"35={msg_type}|49={self.key}|56={self.gateway}|34={self.seq}|52={fix_time(self.world.wall)}|"
        self.world.venue.on_bytes(self.link, frame(head + fields), self.world.now)
        return self.heard()

    def heard(self):
        return unframe(self.world.out.written.pop(self.link, b""))

    def logon(self, flags="21011=Y|21008=Y|", head="141=Y|", heart=30, tail=""):
        at = fix_time(self.world.wall)
        signed = f"{self.key}/{at}/A/{self.seq + 1}/{self.key}/{self.gateway}"
        return self.say("A", f"98=0|108={heart}|95={len(signed)}|96={signed}|{head}1137=9|{flags}{tail}")

    def leave(self):
        self.world.venue.on_link(self.link, LinkEvent.DISCONNECTED, "reset by peer", self.world.now)


def on(world, gateway="KalshiNR", key="key-oe", flags="21011=Y|21008=Y|"):
    client = world.client(gateway, key)
    (answer,) = client.logon(flags)
    assert answer.startswith("35=A|"), answer
    return client


def order(cl_ord_id, side, qty, price, more="59=1|"):
    return f"11={cl_ord_id}|38={qty}|40=2|44={price}|54={side}|55=BTC-PERP|{more}"


def bodies(texts):
    """What follows SendingTime(52)."""
    return [f"{text.split('|', 1)[0]}|{text.split('|52=', 1)[1].split('|', 1)[1]}" for text in texts]
