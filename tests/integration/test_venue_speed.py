"""The venue's pace over real TLS with its journal on: 2,000 order messages a second beside 20,000 resting orders."""

import datetime as dt
import threading
import time

import pytest

from integration.test_venue_alone import Alone, order

pytestmark = pytest.mark.soak
RESTING = 20_000
PER_S = 2_000
SECONDS = 5


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


class Reader(threading.Thread):
    """Reads a session to its end; counts messages and keeps the greatest delay behind SendingTime(52)."""

    def __init__(self, client, msg_type):
        super().__init__(daemon=True)
        self.client, self.msg_type = client, msg_type
        self.count, self.worst_ms, self.delays = 0, 0.0, []

    def run(self):
        try:
            while True:
                message = dict(self.client.next())
                if message[35] != self.msg_type:
                    continue
                self.count += 1
                sent = dt.datetime.strptime(message[52], "%Y%m%d-%H:%M:%S.%f").replace(tzinfo=dt.UTC)
                self.delays.append((dt.datetime.now(dt.UTC) - sent).total_seconds() * 1000)
        except (OSError, AssertionError):
            pass


def wait(reader, count, seconds):
    limit = time.monotonic() + seconds
    while reader.count < count and time.monotonic() < limit:
        time.sleep(0.01)
    return reader.count


def test_two_thousand_messages_a_second_beside_twenty_thousand_resting_orders(venue):
    client, data = venue.client("KalshiNR"), venue.client("KalshiMD")
    client.logon()
    data.logon("")
    data.send("V", "263=1|146=1|55=BTC-PERP|")
    reports, feed = Reader(client, "8"), Reader(data, "X")
    reports.start()
    feed.start()
    for number in range(RESTING):
        client.send("D", order(ids(number), 1, 1, f"{17 + number % 1000 / 1000:.4f}"))
        if number % 500 == 499:
            assert wait(reports, number + 1, 30) == number + 1
    reports.count, reports.delays, feed.delays = 0, [], []
    begin = time.monotonic()
    total = PER_S * SECONDS
    for number in range(total):
        due = begin + number / PER_S
        if due > time.monotonic():
            time.sleep(max(0.0, due - time.monotonic()))
        if number % 2 == 0:
            client.send("D", order(ids(RESTING + number), 1, 1, f"{17 + number % 1000 / 1000:.4f}"))
        else:
            name = ids(RESTING + number - 1)
            client.send("F", f"11=x{number}|41={name}|54=1|55=BTC-PERP|")
    assert wait(reports, total, 5) == total
    took = time.monotonic() - begin
    feed.delays.sort()
    print(f"{total / took:.0f} messages/s; feed behind by {feed.delays[len(feed.delays) // 2]:.1f} ms (half), "
          f"{feed.delays[-1]:.1f} ms (worst)")  # fmt: skip
    assert total / took > PER_S * 0.95
    assert feed.delays[-1] < 100
