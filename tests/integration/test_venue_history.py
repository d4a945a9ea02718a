"""The venue's past, with real processes: KalshiRT gives back all of its retention, a start takes seconds, memory is bounded."""

import os
import re
import subprocess
import sys
import time

import pytest
from integration.test_venue_alone import order
from integration.venue_alone import ROOT

BATCH = 500


@pytest.fixture
def start(alone):
    def start(*settings, seconds=120):
        arguments = ["--config", "configs/demo.toml", "--for", f"{seconds}s"]
        for setting in (
            "venue.tier=unlimited",
            "venue.maintenance=none",
            "venue.accounts=['second']",
            *settings,
        ):
            arguments += ["--set", setting]
        return alone(*arguments)

    return start


def kill(venue):
    venue.process.kill()
    venue.process.communicate()


def trade(client, count, name, got):
    """Orders that rest and are cancelled; each report goes to `got` by its number."""
    for begin in range(0, count, BATCH):
        numbers = range(begin, min(begin + BATCH, count))
        for number in numbers:
            if number % 2 == 0:
                client.send("D", order(f"{name}{number}", 1, 1, "18.0000"))
            else:
                client.send("F", f"11={name}{number}|41={name}{number - 1}|54=1|55=BTC-PERP|")
        take(client, len(numbers), got)


def take(client, count, got):
    while count:
        message = dict(client.next())
        if message[35] == "8":
            assert int(message[34]) not in got
            got[int(message[34])] = (message[11], message[17], message[150])
            count -= 1


def resent(client, begin, last):
    """What comes for a ResendRequest of `begin` to `last`: every number there or filled over, in order, once."""
    client.send("2", f"7={begin}|16={last}|")
    got, at = {}, begin
    while at <= last:
        message = dict(client.next())
        assert message[35] != "3", message
        if message.get(43) != "Y":
            continue
        assert int(message[34]) == at
        if message[35] == "4":
            at = int(message[36])
        else:
            got[at] = (message[11], message[17], message[150])
            at += 1
    return got


def connect(venue, seq=0):
    client = venue.client("KalshiRT")
    client.seq = seq
    return client, client.logon(head="" if seq else "141=Y|")


def test_kalshi_rt_resends_what_left_memory_over_a_kill_9_of_the_venue(start):
    """With 40 messages of a session in memory, 1,200 come back from the journal; another session is served meanwhile."""
    venue = start("venue.rt_recent_max=40")
    client, _ = connect(venue)
    told = {}
    trade(client, 800, "a", told)
    kill(venue)
    venue = start("venue.rt_recent_max=40")
    client, answer = connect(venue, client.seq)
    assert int(answer[34]) == max(told) + 1
    trade(client, 400, "b", told)
    other = venue.client("KalshiNR", "second")
    other.logon()
    client.send("2", "7=1|16=0|")
    other.send("D", order("other", 1, 1, "18.0000"))
    assert other.until(t35="8")[11] == "other"
    client.close()
    client, answer = connect(venue, client.seq)
    assert resent(client, 1, int(answer[34])) == told
    client.close()


def snapshot(venue):
    done = subprocess.run(
        [sys.executable, "-m", "engine", "snapshot", "venue", "--run", str(venue.run)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return os.path.join(venue.run, "state", "venue.snapshot")


def truth(venue, told):
    """What the account looks like from outside: an id that is taken, an order that rests, drop copy's past."""
    client, copy = venue.client("KalshiNR"), venue.client("KalshiDC")
    client.logon()
    client.send("D", order("rests", 1, 1, "18.0000"))
    seen = [client.until(t35="8", t11="rests")[58]]
    client.send("F", "11=look|41=rests|54=2|55=BTC-PERP|")
    seen += [client.until(t35="9")[58]]
    copy.logon("")
    copy.send("U1", f"21001={told[min(told)][1]}|21002={told[max(told)][1]}|")
    while (message := dict(copy.next()))[35] == "8":
        seen.append((message[11], message[17], message[150]))
    for each in (client, copy):
        each.close()
    return seen


def test_a_start_takes_a_snapshot_that_holds_and_says_why_it_does_not_take_another(start):
    """State from snapshot and rest is that of the whole journal; a torn or changed one is replayed past, and that is said."""
    venue = start()
    client, _ = connect(venue)
    told = {}
    trade(client, 40, "a", told)
    path = snapshot(venue)
    client.send("D", order("rests", 1, 3, "18.0000"))
    take(client, 1, told)
    client.close()
    kill(venue)
    states = []
    with open(path, "rb") as file:
        good = file.read()
    for data, why in (
        (good, ""),
        (good[: len(good) // 2], "it is not whole"),
        (good[:-9] + bytes([good[-9] ^ 1]) + good[-8:], "it is not whole"),
        (good[:3], "it is no snapshot"),
        (None, ""),
    ):
        if data is None:
            os.unlink(path)
        else:
            with open(path, "wb") as file:
                file.write(data)
        venue = start()
        state = truth(venue, told)
        client, _ = connect(venue, client.seq)
        assert resent(client, 1, max(told)) == told
        states.append(state)
        client.close()
        venue.process.kill()
        _, err = venue.process.communicate()
        said = [line for line in err.splitlines() if "the snapshot of the journal was not used" in line]
        assert len(said) == bool(why) and why in "".join(said), err
    assert states[0] == ["ORDER_ALREADY_EXISTS", "INVALID_ORDER", *told.values()]
    assert all(state == states[0] for state in states)


def test_without_keep_state_history_is_on_disk_while_it_runs_and_gone_at_the_next_start(start):
    venue = start("venue.keep_state=false", "venue.rt_recent_max=40")
    client, _ = connect(venue)
    told = {}
    trade(client, 300, "a", told)
    assert resent(client, 1, max(told)) == told
    spilled = os.path.join(venue.run, "state", "venue.spilled.sqlite")
    assert os.path.exists(spilled) and not os.path.exists(os.path.join(venue.run, "state", "venue.sqlite"))
    client.close()
    kill(venue)
    venue = start("venue.keep_state=false")
    client, _ = connect(venue)
    trade(client, 2, "a", {})  # the same ids: nothing is remembered
    client.close()
    assert venue.end()[0] == 0
    assert not os.path.exists(spilled)


def peak_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) / 1024


@pytest.mark.soak
def test_more_than_a_hundred_thousand_messages_come_back_and_a_restart_takes_seconds(start):
    """120,000 messages: all resent in order while another session is answered within 0.2 s; memory bounded; a start under 5 s."""
    venue = start(seconds=600)
    client, _ = connect(venue)
    told = {}
    trade(client, 40_000, "warm", told)
    before = peak_mib(venue.process.pid)
    trade(client, 80_000, "a", told)
    assert peak_mib(venue.process.pid) < before + 40
    other = venue.client("KalshiNR", "second")
    other.logon()
    client.send("2", "7=1|16=0|")
    worst = 0.0
    got, at, last, number = {}, 1, max(told), 0
    while at <= last:
        message = dict(client.next())
        if message.get(43) != "Y":
            continue
        assert int(message[34]) == at
        at = int(message[36]) if message[35] == "4" else at + 1
        if message[35] == "8":
            got[at - 1] = (message[11], message[17], message[150])
        if at % 4000 == 0:
            number += 1
            begin = time.monotonic()
            other.send("D", order(f"o{number}", 1, 1, "18.0000"))
            other.until(t35="8", t11=f"o{number}")
            worst = max(worst, time.monotonic() - begin)
    assert got == told
    assert worst < 0.2, worst
    assert peak_mib(venue.process.pid) < before + 60
    client.close()
    kill(venue)
    begin = time.monotonic()
    venue = start()
    took = time.monotonic() - begin
    print(
        f"start after {len(told)} messages: {took:.1f} s; worst answer during the resend {worst * 1000:.0f} ms"
    )
    assert took < 5
    client, answer = connect(venue, client.seq)
    assert int(answer[34]) == last + 1
    client.close()
