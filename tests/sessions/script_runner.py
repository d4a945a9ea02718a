"""Runs session scenarios written as text. SOH is written `|`; length and checksum are reckoned here, not by the engine.

    == NUMBER ROLES KIND: rule      ROLES: I, A or IA (run for both), O or V (`ends`); KIND: NR or RT
    connect | disconnect | logon    `logon` is a whole handshake that leaves both next numbers at 2
    I 35=0|34=2|                    comes in; 49, 56 and 52 are put in where they are not written
    X 8=FIXT.1.1|9=...              comes in exactly as written
    E 35=0|34=2|                    goes out: the next message must be this; 49, 56, 52 likewise
    ! App seq=2 msg_type=D          the next event, with some of its attributes; `~` compares a part of the text
    accept | refuse TEXT | send 35=D|11=x| | logout TEXT | reset
    wait 30 | wall 3600             both clocks, or the wall clock alone, in seconds
    state logged on | next 2 3 | restore 5 7 | settings held_max=2

After each input everything that came of it must have been named, Skew aside.
"""

import re
import shlex
from datetime import UTC, datetime, timedelta

import msgspec

from engine.common.clock import Now
from engine.fix.acceptor import Acceptor
from engine.fix.config import SessionSettings
from engine.fix.dictionary import Condition, Dictionary, FieldSpec, GroupSpec, MessageSpec, Use
from engine.fix.events import LoggedOn, LogonReceived
from engine.fix.fields import FieldType
from engine.fix.initiator import Initiator
from engine.fix.snapshot import SessionSnapshot

SECOND = 1_000_000_000
START = datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC)
START_NS = int(START.timestamp()) * SECOND
INPUTS = {
    "connect", "disconnect", "logon", "I", "X", "accept", "refuse", "send", "logout", "reset", "wait", "wall",
}  # fmt: skip


def wrap(text, begin="FIXT.1.1"):
    """`35=..|...|` to a whole message."""
    body = text.replace("|", "\x01").encode("latin-1")
    head = b"8=" + begin.encode() + b"\x019=" + str(len(body)).encode() + b"\x01"
    total = 0
    for byte in head + body:
        total += byte
    return head + body + f"10={total % 256:03d}\x01".encode()


def split(data):
    """Cut what the engine wrote into messages, checking length and sum."""
    messages = []
    while data:
        match = re.match(rb"8=FIXT\.1\.1\x019=(\d+)\x01", data)
        assert match, f"no header in {data[:40]!r}"
        end = match.end() + int(match[1])
        trailer = data[end : end + 7]
        assert trailer == b"10=%03d\x01" % (sum(data[:end]) % 256), f"bad trailer in {data[: end + 7]!r}"
        messages.append(data[match.end() : end].decode("latin-1").replace("\x01", "|"))
        data = data[end + 7 :]
    return messages


_F = FieldType
DICTIONARY = Dictionary(
    fields=(
        FieldSpec(tag=7, name="BeginSeqNo", type=_F.COUNT),
        FieldSpec(tag=11, name="ClOrdID"),
        FieldSpec(tag=16, name="EndSeqNo", type=_F.COUNT),
        FieldSpec(tag=34, name="MsgSeqNum", type=_F.COUNT),
        FieldSpec(tag=35, name="MsgType"),
        FieldSpec(tag=36, name="NewSeqNo", type=_F.COUNT),
        FieldSpec(tag=38, name="OrderQty", type=_F.DECIMAL),
        FieldSpec(tag=45, name="RefSeqNum", type=_F.COUNT),
        FieldSpec(tag=52, name="SendingTime", type=_F.TIMESTAMP),
        FieldSpec(tag=54, name="Side", type=_F.CHAR, values=frozenset("12")),
        FieldSpec(tag=58, name="Text"),
        FieldSpec(tag=59, name="TimeInForce", type=_F.CHAR, values=frozenset("0136"), open=True),
        FieldSpec(tag=95, name="RawDataLength", type=_F.COUNT),
        FieldSpec(tag=96, name="RawData", type=_F.DATA),
        FieldSpec(tag=98, name="EncryptMethod", type=_F.INT),
        FieldSpec(tag=108, name="HeartBtInt", type=_F.COUNT),
        FieldSpec(tag=112, name="TestReqID"),
        FieldSpec(tag=123, name="GapFillFlag", type=_F.BOOLEAN),
        FieldSpec(tag=126, name="ExpireTime", type=_F.TIMESTAMP),
        FieldSpec(tag=141, name="ResetSeqNumFlag", type=_F.BOOLEAN),
        FieldSpec(tag=371, name="RefTagID", type=_F.COUNT),
        FieldSpec(tag=372, name="RefMsgType"),
        FieldSpec(tag=373, name="SessionRejectReason", type=_F.COUNT),
        FieldSpec(tag=448, name="PartyID"),
        FieldSpec(tag=452, name="PartyRole", type=_F.INT),
        FieldSpec(tag=453, name="NoPartyIDs", type=_F.COUNT),
        FieldSpec(tag=1137, name="DefaultApplVerID"),
    ),
    messages=(
        MessageSpec(msg_type="0", name="Heartbeat", fields=(Use(112),)),
        MessageSpec(msg_type="1", name="TestRequest", fields=(Use(112, True),)),
        MessageSpec(msg_type="2", name="ResendRequest", fields=(Use(7, True), Use(16, True))),
        MessageSpec(
            msg_type="3", name="Reject", fields=(Use(45, True), Use(58), Use(371), Use(372), Use(373))
        ),
        MessageSpec(msg_type="4", name="SequenceReset", fields=(Use(123), Use(36, True))),
        MessageSpec(msg_type="5", name="Logout", fields=(Use(58),)),
        MessageSpec(
            msg_type="A",
            name="Logon",
            fields=(Use(98, True), Use(108, True), Use(95), Use(96), Use(141), Use(1137, True)),
        ),
        MessageSpec(
            msg_type="D",
            name="NewOrderSingle",
            fields=(Use(11, True), Use(38, True), Use(54, True), Use(58), Use(59), Use(126)),
            groups=(GroupSpec(count_tag=453, members=(Use(448), Use(452, True))),),
            conditions=(Condition(tag=126, when_tag=59, when_values=frozenset("6")),),
        ),
    ),
    elsewhere=frozenset({"V"}),
)
US = {"I": ("KEY", "KalshiNR"), "A": ("KalshiNR", "KEY")}  # (our SenderCompID, the peer's)


def logon_body(reset, heart_bt_int=30):
    return lambda _time, _seq: f"98=0\x01108={heart_bt_int}\x01{'141=Y' + chr(1) if reset else ''}1137=9\x01"


class Bench:
    """One session and what came out of it."""

    def __init__(self, role, kind):
        self.role = role
        self.ours, self.peer = US[role]
        self.wall = START_NS
        self.mono = 1_000 * SECOND
        self.settings = SessionSettings(
            sender_comp_id=self.ours,
            target_comp_id=self.peer,
            peer_comp_ids=(self.peer, "Kalshi") if role == "I" else (self.peer,),
            reset_on_logon=kind == "NR",
            retransmission=kind == "RT",
            strict=role == "A",
        )
        self.kind = kind
        self.make()
        self.events = []
        self.written = []

    def make(self):
        if self.role == "I":
            self.session = Initiator(self.settings, DICTIONARY, logon_body=logon_body(self.kind == "NR"))
        else:
            self.session = Acceptor(self.settings, DICTIONARY)

    @property
    def now(self):
        return Now(self.wall, self.mono)

    def time(self, offset=0.0):
        at = START + timedelta(microseconds=(self.wall - START_NS) // 1000) + timedelta(seconds=offset)
        return at.strftime("%Y%m%d-%H:%M:%S.") + f"{at.microsecond // 1000:03d}"

    def complete(self, text, sender, target):
        """Put the header in the order 35, 49, 56, 34, 52; `52=-` and the like leave a field out; {T+n} is a time."""
        text = re.sub(r"\{T([+-][\d.]+)?\}", lambda match: self.time(float(match[1] or 0)), text)
        fields = [field for field in text.split("|") if field]
        header = {"49": sender, "56": target, "52": self.time()}
        rest = []
        for field in fields[1:]:
            tag, _, value = field.partition("=")
            if tag in header or (tag == "34" and "34" not in header):
                header[tag] = value
            else:
                rest.append(field)
        order = [f"{tag}={header[tag]}" for tag in ("49", "56", "34", "52") if header.get(tag, "-") != "-"]
        return "|".join([fields[0], *order, *rest]) + "|"

    def note(self, events):
        self.events += [event for event in events or [] if type(event).__name__ != "Skew"]
        self.written += split(self.session.data_to_send())

    def feed(self, data):
        self.note(self.session.receive(data, self.now))

    def logon(self):
        self.session.connected(self.now)
        reset = "141=Y|" if self.kind == "NR" else ""
        self.feed(wrap(self.complete(f"35=A|34=1|98=0|108=30|{reset}1137=9|", self.peer, self.ours)))
        if self.role == "A":
            assert isinstance(self.events.pop(), LogonReceived)
            self.note(self.session.accept(self.now))
        assert isinstance(self.events.pop(), LoggedOn), self.events
        assert len(self.written) == 1
        self.written.clear()

    def settle(self, where):
        assert not self.written, f"{where}: also written: {self.written}"
        assert not self.events, f"{where}: also said: {self.events}"

    def wait(self, seconds):
        """Pass time in the steps that the session's deadline asks for."""
        end = self.mono + int(float(seconds) * SECOND)
        while (due := self.session.deadline) is not None and due <= end and not self.events:
            step = max(due - self.mono, 0)
            self.mono += step
            self.wall += step
            self.note(self.session.on_deadline(self.now))
            assert self.session.deadline != due, "a deadline must move"
        self.wall += end - self.mono
        self.mono = end

    def expect_event(self, text, where):
        name, *pairs = shlex.split(text)
        assert self.events, f"{where}: expected {text}, nothing was said; written: {self.written}"
        event = self.events.pop(0)
        assert type(event).__name__ == name, f"{where}: expected {text}, got {event}"
        for pair in pairs:
            key, operator, value = re.fullmatch(r"(\w+)([=~])(.*)", pair, re.DOTALL).groups()
            got = str(getattr(event, key))
            assert got == value if operator == "=" else value in got, (
                f"{where}: {key} is {got!r}, not {value!r}"
            )

    def run(self, line, where):
        command, _, rest = line.partition(" ")
        if command in INPUTS:
            self.settle(where)
        session = self.session
        match command:
            case "connect":
                self.note(session.connected(self.now))
            case "disconnect":
                self.note(session.disconnected(self.now))
            case "logon":
                self.logon()
            case "I":
                self.feed(wrap(self.complete(rest, self.peer, self.ours)))
            case "X":
                self.feed(rest.replace("|", "\x01").encode("latin-1"))
            case "E":
                assert self.written, f"{where}: nothing was written; said: {self.events}"
                assert self.written.pop(0) == self.complete(rest, self.ours, self.peer), where
            case "!":
                self.expect_event(rest, where)
            case "accept":
                self.note(session.accept(self.now))
            case "refuse":
                self.note(session.refuse(rest, self.now))
            case "send":
                head, body = rest.split("|", 1)
                session.send(head[3:], body.replace("|", "\x01"), self.now)
                self.note([])
            case "logout":
                session.logout(rest, self.now)
                self.note([])
            case "reset":
                session.reset(self.now)
                self.note([])
            case "wait":
                self.wait(rest)
            case "wall":
                self.wall += int(rest) * SECOND
            case "state":
                assert session.state.value == rest, f"{where}: {session.state.value}"
            case "next":
                got = f"{session.next_sender_msg_seq_num} {session.next_target_msg_seq_num}"
                assert got == rest, f"{where}: next numbers are {got}"
            case "restore":
                sender, target = rest.split()
                session.restore(
                    SessionSnapshot(next_sender_msg_seq_num=int(sender), next_target_msg_seq_num=int(target))
                )
            case "settings":
                changes = {key: int(value) for key, value in (pair.split("=") for pair in rest.split())}
                self.settings = msgspec.structs.replace(self.settings, **changes)
                self.make()
            case _:
                raise AssertionError(f"{where}: {command!r} is no command")


def load(path):
    """Read (id, roles, kind, [(line number, line)]) of each scenario in a file."""
    scenarios = []
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), 1):
        line = line.rstrip()
        if line.startswith("== "):
            match = re.fullmatch(r"== (\S+) (I|A|IA|O|V) (NR|RT): (.+)", line)
            assert match, f"{path.name}:{number}: {line}"
            scenarios.append((f"{match[1]} {match[4]}", match[2], match[3], []))
        elif line and not line.startswith("#"):
            scenarios[-1][3].append((number, line))
    return scenarios
