"""The venue's pace over real TLS with its journal on: 2,000 order messages a second beside 20,000 resting orders."""

import datetime as dt
import threading
import time

import pytest
from integration.test_venue_alone import order
from integration.venue_alone import Alone

pytestmark = pytest.mark.soak
RESTING = 20_000
PER_S = 2_000
SECONDS = 5
MARK = b"\x0135=8\x01"


@pytest.fixture
def venue(tmp_path):
    settings = ("venue.tier=unlimited", "venue.balance=1000000000", "venue.accounts=['second']")
    arguments = ["--config", "configs/demo.toml"]
    for setting in settings:
        arguments += ["--set", setting]
    venue = Alone(tmp_path / "v", *arguments)
    yield venue
    venue.process.kill()
    venue.process.communicate()


def ids(number):
    return f"{number:08d}-0000-4000-8000-000000000000"


class Feed(threading.Thread):
    """Reads a session to its end and keeps how far each message came behind its SendingTime(52), in ms."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.delays = client, []

    def run(self):
        try:
            while True:
                message = dict(self.client.next())
                if message[35] == "X":
                    sent = dt.datetime.strptime(message[52], "%Y%m%d-%H:%M:%S.%f").replace(tzinfo=dt.UTC)
                    self.delays.append((dt.datetime.now(dt.UTC) - sent).total_seconds() * 1000)
        except (OSError, AssertionError):
            pass


class Reports:
    """Counts the reports that a client has got; one thread writes and reads, as a TLS object demands."""

    def __init__(self, client):
        self.client, self.count, self.tail = client, 0, b""

    def read(self, seconds):
        self.client.sock.settimeout(max(seconds, 0.0002))
        try:
            data = self.tail + self.client.sock.recv(1 << 18)
        except TimeoutError:
            return
        self.count += data.count(MARK)
        self.tail = data[-len(MARK) + 1 :]

    def wait(self, count, seconds):
        limit = time.monotonic() + seconds
        while self.count < count and time.monotonic() < limit:
            self.read(0.01)
        return self.count


def test_two_thousand_messages_a_second_beside_twenty_thousand_resting_orders(venue):
    client, data = venue.client("KalshiNR"), venue.client("KalshiMD")
    client.logon()
    data.logon("")
    data.send("V", "263=1|146=1|55=BTC-PERP|")
    reports, feed = Reports(client), Feed(data)
    feed.start()
    for number in range(RESTING):
        client.send("D", order(ids(number), 1, 1, f"{17 + number % 1000 / 1000:.4f}"))
        if number % 500 == 499:
            assert reports.wait(number + 1, 30) == number + 1
    reports.count, feed.delays = 0, []
    begin = time.monotonic()
    total = PER_S * SECONDS
    for number in range(total):
        due = begin + number / PER_S
        while due > time.monotonic():
            reports.read(due - time.monotonic())
        if number % 2 == 0:
            client.send("D", order(ids(RESTING + number), 1, 1, f"{17 + number % 1000 / 1000:.4f}"))
        else:
            name = ids(RESTING + number - 1)
            client.send("F", f"11=x{number}|41={name}|54=1|55=BTC-PERP|")
    assert reports.wait(total, 5) == total
    took = time.monotonic() - begin
    feed.delays.sort()
    print(f"{total / took:.0f} messages/s; feed behind by {feed.delays[len(feed.delays) // 2]:.1f} ms (half), "
          f"{feed.delays[-1]:.1f} ms (worst)")  # fmt: skip
    assert total / took > PER_S * 0.95
    assert feed.delays[-1] < 100
