"""Mutated messages by the thousand, a million behind the soak marker: nothing raises, no number is used wrongly, memory is bounded.

An oracle of the test's own says of each message whether it is whole (length, sum, header), and so whether it may use a number.
"""

import random
import re

import pytest
from sessions.script_runner import SECOND, Bench, wrap

from engine.fix.state import SessionState

CAP = 4096
SEEDS = [
    "35=0|34={n}|",
    "35=1|34={n}|112=hello|",
    "35=2|34={n}|7=1|16=0|",
    "35=3|34={n}|45=2|371=11|372=D|373=5|58=no|",
    "35=4|34={n}|123=Y|36={m}|",
    "35=4|34={n}|36={m}|",
    "35=5|34={n}|58=bye|",
    "35=A|34={n}|98=0|108=30|95=7|96=ab|10=x|1137=9|",
    "35=A|34={n}|98=0|108=30|141=Y|1137=9|",
    "35=D|34={n}|11=a|38=1|54=1|453=2|448=x|452=24|448=y|452=24|59=6|126=20261124-10:00:00.000|",
    "35=D|34={n}|43=Y|122=20261124-10:00:00.000|11=a|38=1|54=1|58=caf\xe9|",
    "35=8|34={n}|11=a|",
    "35=zz|34={n}|1=2|",
]
PIECES = [b"\x01", b"=", b"8=FIX", b"8=FIXT.1.1\x01", b"9=", b"9=999999999\x01", b"10=000\x01", b"34=", b"34=-1\x01", b"34=99999999999999999999\x01",
          b"43=Y\x01", b"141=Y\x01", b"\x00", b"\xff" * 9, b"95=99999\x01", b"453=1000000\x01", b"7=0\x01", b"36=1\x01", b"x" * 300]  # fmt: skip
WHOLE = re.compile(rb"8=FIX[A-Z0-9.]{0,10}\x019=(\d{1,9})\x0135=", re.DOTALL)
RESETS = re.compile(rb"\x0135=[4A]\x01")


def whole(data):
    """Return the sound messages that begin anywhere in bytes; by this test's own reckoning."""
    found = []
    for mark in re.finditer(rb"8=FIX", data):
        match = WHOLE.match(data, mark.start())
        if match is not None:
            end = match.end() - 3 + int(match[1])
            message, trailer = data[mark.start() : end], data[end : end + 7]
            if message[-1:] == b"\x01" and trailer == b"10=%03d\x01" % (sum(message) % 256):
                found.append(message)
    return found


def mutated(rng, message):
    """Change a message in one to three places; half of them get their length and sum set right again."""
    data = bytearray(message)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randint(1, 20)]
            case 2:
                data[at:at] = rng.choice(PIECES)
            case 3:
                data[at:at] = data[at : at + rng.randint(1, 40)]
            case 4:
                fields = bytes(data).split(b"\x01")
                rng.shuffle(fields)
                data = bytearray(b"\x01".join(fields))
            case _:
                data[at:at] = b"%d" % rng.choice((0, 1, 5, 10**6, 2**31, 10**18))
    if rng.random() < 0.5:
        match = re.match(rb"8=FIX[^\x01]*\x019=[^\x01]*\x01", data)
        body = bytes(data[match.end() :] if match else data)
        body = re.sub(rb"10=[^\x01]*\x01?$", b"", body)
        return wrap(body.decode("latin-1").replace("\x01", "|")) if b"|" not in body else bytes(data)
    return bytes(data)


class Target:
    """One session that is brought back whenever it ends, and what may have changed by each input."""

    def __init__(self, role, kind):
        self.bench = Bench(role, kind)
        self.bench.settings = type(self.bench.settings)(
            **{**{f: getattr(self.bench.settings, f) for f in self.bench.settings.__struct_fields__},
               "max_message_bytes": CAP, "held_max": 50, "sent_window_max": 50}
        )  # fmt: skip
        self.bench.make()
        self.ends = 0
        self.resets = False
        self.up()

    def up(self):
        bench = self.bench
        bench.wall += SECOND
        bench.make()
        bench.events.clear()
        bench.written.clear()
        bench.logon()

    def feed(self, rng, data, sound):
        bench, session = self.bench, self.bench.session
        before, held = session.next_target_msg_seq_num, len(session._inbound._held)
        cut = rng.randrange(len(data) + 1)
        for chunk in (data[:cut], data[cut:]):
            session.receive(chunk, bench.now)
            out = session.data_to_send()
            assert len(out) < 64 * CAP
        after = session.next_target_msg_seq_num
        # a SequenceReset, also one that waits behind a gap, may set any number
        self.resets = (self.resets and held > 0) or any(RESETS.search(message) for message in sound)
        if not self.resets:
            said = f"{data!r} has {len(sound)} messages, {held} waited: {before} to {after}"
            assert before <= after <= before + len(sound) + held, said
            assert sound or after == before, said
        assert session._framer._have <= CAP + len(data)
        assert len(session._inbound._held) <= 50
        clean = session._framer._have == 0 or not session._framer._parts
        if session.state is not SessionState.LOGGED_ON or not clean or after > 10**6:
            self.ends += 1
            self.up()


def hammer(seed, count):
    rng = random.Random(seed)
    targets = [Target(role, kind) for role in "IA" for kind in ("NR", "RT")]
    for number in range(count):
        target = targets[number % len(targets)]
        bench = target.bench
        expected = bench.session.next_target_msg_seq_num
        text = rng.choice(SEEDS).format(
            n=expected + rng.choice((0, 0, 0, 1, 5, -1)), m=expected + rng.choice((1, 2, 0))
        )
        message = wrap(bench.complete(text, bench.peer, bench.ours))
        data = mutated(rng, message) if rng.random() < 0.9 else message
        target.feed(rng, data, whole(data))
    assert sum(target.ends for target in targets) > count // 100


@pytest.mark.parametrize("seed", range(2))
def test_mutated_messages_crash_nothing_and_use_no_number_wrongly(seed):
    """The short version, in every run."""
    hammer(seed, 6_000)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
def test_a_million_mutated_messages(seed):
    """Ten times a hundred thousand."""
    hammer(seed, 100_000)
