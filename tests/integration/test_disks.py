"""The engine on a disk of its own that fills up, or turns read-only, while it trades, and processes that die meanwhile.

scripts/test --mounts tests/integration/test_disks.py      # as root, where mounts may be made

`test_journal_failure.py` has what shows the same anywhere. Other files on the disk take every byte that is given back:
the reserves of the journals, too.
"""

import os
import shutil
import subprocess
import threading

import pytest
from integration.harness import assert_equal_to_venue, wait_for

pytestmark = [pytest.mark.mounts, pytest.mark.timeout(240)]
PARTS = ("state", "logs", "bus", "venue", ".")


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def umount(path):
    wait_for(
        f"{path} to be free", lambda: subprocess.run(["umount", path], capture_output=True).returncode == 0
    )


class Full:
    """Takes all the space of a disk, and whatever is given back."""

    def __init__(self, run):
        self._path = os.path.join(run, "ballast")
        self._over = threading.Event()
        self._taker = threading.Thread(target=self._take)

    def __enter__(self):
        self._taker.start()

    def __exit__(self, *_):
        self._over.set()
        self._taker.join()
        os.unlink(self._path)

    def _take(self):
        with open(self._path, "ab", buffering=0) as file:
            while not self._over.wait(0.01):
                try:
                    while not self._over.is_set():
                        file.write(bytes(1 << 16))
                except OSError:
                    continue


class ReadOnly:
    """Nothing can be opened for writing, made, renamed or deleted any more; files that are open stay so."""

    def __init__(self, run):
        self._paths = [os.path.join(run, part) for part in PARTS]

    def __enter__(self):
        for path in self._paths:
            mount("--bind", path, path)
            mount("-o", "remount,bind,ro", path)

    def __exit__(self, *_):
        for path in reversed(self._paths):
            umount(path)


@pytest.fixture
def engine(launch):
    run = launch.directory()
    keys = os.path.join(run, "venue")
    beside = os.path.join(os.path.dirname(run), "keys")
    os.rename(keys, beside)
    mount("-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", run)
    try:
        shutil.copytree(beside, keys)
        engine = launch("--plain", "--json", run=run)
        engine.until_trading(30)
        engine.until_fills()
        engine.until_reconciled()
        yield engine
        engine.destroy()
    finally:
        umount(run)


ALL = ("order_entry", "guard", "drop_copy", "market_data", "venue", "strategy.quote_maker")


@pytest.mark.parametrize("bad", [Full, ReadOnly])
@pytest.mark.parametrize("killed", [(), ("order_entry",), ("guard", "drop_copy"), ("venue",), ALL])
def test_a_disk_that_takes_nothing_closes_the_gate_and_all_is_there_when_it_does_again(engine, bad, killed):
    """Without a human; no traceback, nothing lost; what is needed is said."""
    mark = engine.mark()
    pids = {}
    with bad(engine.run):
        if bad is Full:
            wait_for("the gate to close", lambda: engine.gate() != "TRADING", 10, seen=engine._seen)
        for name in killed:
            pids[name] = engine.kill(name)
        if bad is ReadOnly and {"order_entry", "guard"} & set(killed):
            wait_for("the gate to close", lambda: engine.gate() != "TRADING", 10, seen=engine._seen)
        if bad is ReadOnly and "order_entry" in killed:
            engine.until_said("order_entry: pid", mark)
            engine.until_said("its journal can't be written now: free space on its disk", mark, 10)
        if bad is Full:
            wait_for(
                "nothing to rest", lambda: (t := engine.truth()) is None or not t.orders, 15, engine._seen
            )
    for name, pid in pids.items():
        wait_for(
            f"{name} to be back",
            lambda n=name, p=pid: (c := engine.child(n)) and c.state == "running" and c.pid not in (0, p),
            30,
            seen=engine._seen,
        )
    engine.until_trading(60)
    engine.until_fills()
    assert_equal_to_venue(engine, 30)
    engine.until_trading(30)
    engine.interrupt()
    assert engine.wait(60) == 0, engine.said
    assert engine.summary()["clean"] is True
    assert "Traceback" not in engine.said
    for name in os.listdir(os.path.join(engine.run, "logs")):
        with open(os.path.join(engine.run, "logs", name), encoding="latin-1") as file:
            assert "Traceback" not in file.read(), name
