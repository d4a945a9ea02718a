"""The two whole ends of a session for scripts: order entry with its client, journal and back-off; the venue's gateways.

    == NUMBER O KIND: rule          order entry (KIND names its session: NR, RT) on a manual clock
    key=value                       `configure` takes session settings, before anything else
    start                           a process begins: its journal is replayed, it connects
    up | down REASON | refused REASON     the link: connected, gone, or no connection came about
    I 35=A|34=1|...                 the venue sends; 49, 56 and 52 are put in where they are not written
    E 35=A|34=1|...                 order entry has written exactly this next
    L connect | L close REASON      ... and done this to its link
    ! alert TEXT | ! warning TEXT   ... and said this to the operator (a part of the text); what is not named was not said
    new NAME                        the guard commands an order; {NAME} is its ClOrdID from then on
    state NAME NEW                  the order's state on the tape
    crash before the socket         the next batch is committed, and its bytes never leave
    crash                           the process dies here
    lose the numbers | keep the numbers of N     of the journal, while it is dead: all, or those up to our number N
    wait 30 | wall 3600             both clocks, or the wall clock alone
    session TEXT                    the session's state in words; ready yes|no: of the beat

    == NUMBER V KIND: rule          the venue's gateways, and connections named by a letter
    configure key=value             of [venue]
    open a KalshiNR key-oe          a connection
    I a 35=A|34=1|...|96={sig}|     it sends; {sig} is its signature, {bad} another's, {len} their length
    E a 35=A|34=1|...               the venue has written exactly this next
    closed a | cut a                the venue has closed it | the network does

`{?}` in an expected line stands for one value that the script can't know (ids of order entry's own requests, OrderIDs).
"""

import re

from sessions.script_runner import SECOND, START_NS, split, wrap

from engine.common.actor import LinkEvent
from engine.common.clock import MS, Now, fix_time
from engine.common.ids import ClOrdIDs
from engine.messages.commands import Approved, GuardBeat, GuardHello, NewOrder
from engine.order_entry.actor import OrderEntry
from engine.order_entry.records import SessionNumbers

KEY = "KEY"


def header(text, sender, target, time):
    """Put 49, 56, 34, 52 behind 35, in this order, as in the venue's pages; {T+n} is a time."""
    text = re.sub(r"\{T([+-][\d.]+)?\}", lambda m: time(float(m[1] or 0)), text)
    fields = [field for field in text.split("|") if field]
    head, rest = {"49": sender, "56": target, "52": time(0)}, []
    for field in fields[1:]:
        tag, _, value = field.partition("=")
        if tag in head or (tag == "34" and "34" not in head):
            head[tag] = value
        else:
            rest.append(field)
    order = [f"{tag}={head[tag]}" for tag in ("49", "56", "34", "52") if head.get(tag, "-") != "-"]
    return "|".join([fields[0], *order, *rest]) + "|"


def same(got, expected):
    """Compare a message with what a script expects of it."""
    return re.fullmatch(re.escape(expected).replace(re.escape("{?}"), "[^|]+"), got) is not None


class Clocks:
    """A wall clock and a monotonic one, moved by hand."""

    def __init__(self):
        self.wall, self.mono = START_NS, 1_000 * SECOND

    @property
    def now(self):
        return Now(self.wall, self.mono)

    def time(self, offset=0.0):
        return fix_time(self.wall + int(offset * SECOND))


class OrderEntryEnd(Clocks):
    """Order entry as a process: what it recorded is committed at the end of a batch, then its bytes leave."""

    def __init__(self, kind, config_of):
        super().__init__()
        self.session = f"Kalshi{kind}"
        self._config_of = config_of
        self._changes = {"target_comp_id": self.session, "key_id": KEY, "cancel_orders_on_disconnect": False}
        self.journal = []
        self.actor = None
        self.names = {}
        self.ids = ClOrdIDs(1, START_NS // MS, 7)
        self._no = 0
        self._dies = False
        self._forget()

    def _forget(self):
        self._records, self._writes = [], []
        self.written, self.links, self.said = [], [], []
        self._beat = None

    # -- Outbox

    def record(self, entry, *, cl_ord_id="", exec_id=""):
        self._records.append(entry)

    def write(self, link, data, trigger_ns=0):
        self._writes.append(data)

    def send(self, channel, message, to=None, topic=""):
        if topic == "beat":
            self._beat = message

    def connect(self, link):
        self.links.append("connect")

    def close(self, link, reason=""):
        self.links.append(f"close {reason}")

    def log(self, level, text):
        if level != "info":
            self.said.append(f"{level} {text}")

    # -- steps

    def batch(self, step):
        step(self.actor)
        self.actor.on_drained(self.now)
        self.journal += self._records
        self._records = []
        if self._dies:
            self._dies = False
            self.actor = None
            self._forget()
            return
        for data in self._writes:
            self.written += split(data)
        self._writes = []

    def beats(self):
        self.batch(
            lambda a: a.on_message(
                "oe.orders", "guard", GuardBeat(epoch=1, no=1, mono_ns=self.mono), self.now
            )
        )

    def wait(self, seconds):
        end = self.mono + int(float(seconds) * SECOND)
        while self.actor is not None and self.actor.deadline <= end:
            step = max(self.actor.deadline - self.mono, 0)
            self.wall, self.mono = self.wall + step, self.mono + step
            self.beats()
            self.batch(lambda a: a.on_deadline(self.now))
        self.wall, self.mono = self.wall + end - self.mono, end

    def settle(self, where):
        assert not self.written, f"{where}: also written: {self.written}"
        assert not self.links, f"{where}: also did to its link: {self.links}"
        assert not self.said, f"{where}: also said: {self.said}"

    def run(self, line, where):
        command, _, rest = line.partition(" ")
        if command not in {"E", "L", "!", "state", "session", "ready", "skew"}:
            self.settle(where)
        getattr(self, f"_{_COMMANDS.get(command, command)}")(rest, where)

    # -- commands

    def _configure(self, rest, _where):
        key, _, value = rest.partition("=")
        self._changes[key] = {"Y": True, "N": False}.get(value, int(value) if value.isdigit() else value)

    def _start(self, _rest, _where):
        self._forget()
        self.actor = OrderEntry(self._config_of(self._changes), self, lambda _text: "SIG", lambda: 0.5)
        for entry in self.journal:
            self.actor.replay(entry)
        self.batch(lambda a: a.start(self.now))
        self.batch(lambda a: a.on_message("oe.orders", "guard", GuardHello(epoch=1), self.now))
        self._no = 0

    def _link(self, event, reason):
        self.batch(lambda a: a.on_link("order_entry", event, reason, self.now))

    def _up(self, _rest, _where):
        self._link(LinkEvent.CONNECTED, "")

    def _down(self, rest, _where):
        self._link(LinkEvent.DISCONNECTED, rest)

    def _refused(self, rest, _where):
        self._link(LinkEvent.REFUSED, rest)

    def _expand(self, text):
        return re.sub(r"\{(\w+)\}", lambda m: self.names.get(m[1], m[0]), text)

    def _in(self, rest, _where):
        data = wrap(header(self._expand(rest), self.session, KEY, self.time))
        self.batch(lambda a: a.on_bytes("order_entry", data, self.now))

    def _out(self, rest, where):
        assert self.written, f"{where}: nothing was written; said: {self.said}"
        got, expected = self.written.pop(0), header(self._expand(rest), KEY, self.session, self.time)
        assert same(got, expected), f"{where}:\n  written  {got}\n  expected {expected}"

    def _did(self, rest, where):
        assert self.links and self.links[0] == rest, f"{where}: {self.links}"
        self.links.pop(0)

    def _say(self, rest, where):
        assert self.said, f"{where}: nothing was said"
        level, _, text = self._expand(rest).partition(" ")
        got = self.said.pop(0)
        assert got.startswith(level) and text in got, f"{where}: said {got!r}"

    def _new(self, rest, _where):
        self.names[rest] = self.ids()
        self._no += 1
        request = NewOrder(cl_ord_id=self.names[rest], symbol="BTC-PERP", side=1, qty=1000, price=195_000)
        command = Approved(epoch=1, no=self._no, expires_ns=self.mono + SECOND, strategy=1, request=request)
        self.batch(lambda a: a.on_message("oe.orders", "guard", command, self.now))

    def _state(self, rest, where):
        name, _, expected = rest.partition(" ")
        order = self.actor.ledger.find(self.names[name])
        state = order.event.state.value if order is not None else "gone"
        assert state == expected, f"{where}: it is {state}"

    def _crash(self, rest, _where):
        if rest:
            self._dies = True
        else:
            self.actor = None
            self._forget()

    def _lose(self, _rest, _where):
        self.journal = [entry for entry in self.journal if not isinstance(entry, SessionNumbers)]

    def _keep(self, rest, _where):
        last = int(rest.rpartition(" ")[2])
        self.journal = [e for e in self.journal if not isinstance(e, SessionNumbers) or e.next_sender <= last]

    def _skew(self, rest, where):
        assert self.actor._client.skew_ns == int(rest) * MS, f"{where}: {self.actor._client.skew_ns // MS} ms"

    def _wait(self, rest, _where):
        self.wait(rest)

    def _wall(self, rest, _where):
        self.wall += int(float(rest) * SECOND)

    def _session(self, rest, where):
        state = self.actor._client.state
        assert state == rest, f"{where}: it is {state!r}"

    def _ready(self, rest, where):
        said = "yes" if self.actor.ready else f"no: {self.actor._detail()}"
        assert said.startswith(rest), f"{where}: {said}"


_COMMANDS = {"I": "in", "E": "out", "L": "did", "!": "say"}


class VenueEnd:
    """The venue's gateways and some connections to them."""

    def __init__(self, kind, world_of):
        self.kind = kind
        self._world_of = world_of
        self._changes = {}
        self._world = None
        self._links = {}
        self._written = {}

    @property
    def world(self):
        if self._world is None:
            self._world = self._world_of(self._changes, START_NS)
        return self._world

    def _take(self, name):
        link = self._links[name][0]
        data = self.world.out.written.pop(link, b"")
        self._written.setdefault(name, []).extend(split(data))
        return self._written[name]

    def settle(self, where):
        for name in self._links:
            assert not self._take(name), f"{where}: also written to {name}: {self._written[name]}"

    def run(self, line, where):
        command, _, rest = line.partition(" ")
        name, _, text = rest.partition(" ")
        if command not in {"E", "closed", "is"}:
            self.settle(where)
        world = self.world if command != "configure" else None
        match command:
            case "configure":
                key, _, value = rest.partition("=")
                self._changes[key] = int(value) if value.isdigit() else value
            case "open":
                gateway, key = text.split()
                world.links += 1
                self._links[name] = (f"{gateway}/{world.links}", gateway, key)
                world.venue.on_link(self._links[name][0], LinkEvent.ACCEPTED, "127.0.0.1:5", world.now)
            case "I":
                link, gateway, key = self._links[name]
                data = wrap(self._signed(header(text, key, gateway, self._time)))
                world.venue.on_bytes(link, data, world.now)
            case "E":
                _, gateway, key = self._links[name]
                written = self._take(name)
                expected = header(text, gateway, key, self._time)
                assert written, f"{where}: nothing was written"
                got = written.pop(0)
                assert same(got, expected), f"{where}:\n  written  {got}\n  expected {expected}"
            case "closed":
                assert self._links[name][0] in world.out.closed, f"{where}: {name} is open"
            case "is":
                assert self._links[name][0] not in world.out.closed, f"{where}: {name} is closed"
            case "cut":
                world.venue.on_link(self._links[name][0], LinkEvent.DISCONNECTED, "reset", world.now)
            case "wait":
                world.advance(int(float(rest) * SECOND))
            case _:
                raise AssertionError(f"{where}: {command!r} is no command")

    def _time(self, offset=0.0):
        return fix_time(self.world.wall + int(offset * SECOND))

    @staticmethod
    def _signed(text):
        fields = dict(field.split("=", 1) for field in text.split("|") if "=" in field)
        of = [fields.get(tag, "") for tag in ("49", "52", "35", "34", "49", "56")]
        signature = "/".join(of)
        return (
            text.replace("{sig}", signature)
            .replace("{bad}", "x" * len(signature))
            .replace("{len}", str(len(signature)))
        )
