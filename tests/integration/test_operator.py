"""What an operator does to a running engine: look, halt, arm, cancel, flatten, restart, stop; and who may not come in.

One engine for all of it, ended by `ctl stop`.
"""

import json
import os
import signal

import pytest
from integration.harness import DEMO, assert_equal_to_venue, command, start, wait_for

from engine.messages import commands


@pytest.fixture(scope="module")
def engine(launch_shared):
    engine = launch_shared("--plain", "--json")
    engine.until_trading()
    engine.until_reconciled()
    return engine


def test_status_names_every_process_and_session(engine):
    """`ctl status` is 0 while it trades, and says for people and for programs how everything is."""
    done = engine.ctl("status")
    assert done.returncode == 0, done.stderr
    assert "demo (embedded) TRADING" in done.stdout
    for name in ("venue", "order_entry", "market_data", "drop_copy", "guard", "strategy.quote_maker"):
        assert f"  {name} " in done.stdout
    for session in ("KalshiNR: logged on", "KalshiMD: logged on", "KalshiDC: logged on"):
        assert session in done.stdout
    status = json.loads(engine.ctl("status", "--json").stdout)
    assert status["engine"]["state"] == "TRADING"


def test_a_halt_cancels_what_rests_and_holds_until_it_is_armed(engine):
    """`ctl halt`: no order rests, none is sent; status says so by its exit code; `ctl arm` lets it trade on."""
    engine.until_fills()
    done = engine.ctl("halt", "--why", "something looks odd")
    assert done.returncode == 0 and "all halted" in done.stdout
    wait_for("no resting order", lambda: (t := engine.truth()) and not t.orders)
    fills = engine.truth().fills
    status = engine.ctl("status")
    assert status.returncode == 7
    assert "HALTED" in status.stdout and "halted: all: something looks odd" in status.stdout
    assert json.loads(engine.ctl("orders", "--json").stdout)["orders"] == []
    assert engine.truth().fills == fills
    done = engine.ctl("arm", "--why", "it was nothing")
    assert done.returncode == 0 and "all armed" in done.stdout
    engine.until_trading()
    engine.until_fills()


def test_a_halt_file_touched_by_hand_halts_and_only_arm_releases(engine):
    """`touch <run>/halt`: everything is latched and cancelled; taking the file away releases nothing."""
    path = os.path.join(engine.run, "halt")
    engine.until_fills()
    with open(path, "w", encoding="utf-8"):
        pass
    wait_for("the latch", lambda: engine.ctl("status").returncode == 7)
    wait_for("no resting order", lambda: (t := engine.truth()) and not t.orders)
    os.unlink(path)
    wait_for("the file to be back", lambda: os.path.exists(path))
    assert engine.ctl("status").returncode == 7
    assert engine.ctl("arm", "--why", "it was a test").returncode == 0
    assert not os.path.exists(path)
    engine.until_trading()
    engine.until_fills()


def test_a_limit_is_changed_while_the_engine_runs_and_after_a_restart_of_the_guard(engine):
    """`ctl limits set`: in force at once, shown with who and why, kept when the guard dies; `show` has every use."""
    done = engine.ctl("limits", "set", "max_order_qty", "3", "--strategy", "quote_maker", "--why", "smaller")
    assert done.returncode == 0 and "strategy quote_maker: max_order_qty 20.00 -> 3.00" in done.stdout
    engine.kill("guard")
    engine.until_trading()

    def row():
        answer = json.loads(
            engine.ctl("limits", "show", "--strategy", "quote_maker", "--json").stdout or "{}"
        )
        return next((r for r in answer.get("limits", ()) if r["name"] == "max_order_qty"), None)

    found = wait_for("the guard's answer", row)
    assert (found["limit"], found["configured"], found["why"]) == ("3.00", "20.00", "smaller")
    wait_for("a refusal by the new limit", lambda: engine.guard().refused)
    bad = engine.ctl("limits", "set", "max_order_qty", "none", "--why", "x")
    assert bad.returncode == 1 and "max_order_qty" in bad.stderr
    back = engine.ctl(
        "limits", "set", "max_order_qty", "20", "--strategy", "quote_maker", "--why", "as before"
    )
    assert back.returncode == 0
    engine.until_fills()


def test_a_drill_tries_the_kill_switch_and_leaves_the_engine_trading(engine):
    """`ctl drill`: each step with what it took; 0 when the switch held."""
    engine.until_trading()
    done = engine.ctl("drill", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 0 and said["ok"], said
    assert [s["step"] for s in said["steps"] if "late" in s["step"]] == [
        "halted by message: no order left late",
        "halted by the halt file: no order left late",
    ]
    engine.until_fills()


def test_orders_are_cancelled_by_id_and_all_at_once(engine):
    """`ctl cancel ID` ends that order at the venue; an unknown id is said; `cancel --all` takes what is open."""

    def cancelled():
        resting = next((o.cl_ord_id for o in engine.truth().orders), "")
        message = commands.CancelById(
            request_id="c", cl_ord_id=resting, who="test"
        )  # no process is as quick as a quote
        answer = engine.ask("guard.orders", message) if resting else None
        return resting if answer is not None and answer.ok else ""

    cl_ord_id = wait_for("a cancel by id", cancelled, timeout=60)
    wait_for(
        "it to be gone", lambda: (t := engine.truth()) and cl_ord_id not in {o.cl_ord_id for o in t.orders}
    )
    done = engine.ctl("cancel", "nosuch")
    assert done.returncode == 1 and "no open order has the id nosuch" in done.stderr
    assert engine.ctl("cancel").returncode == 2
    done = engine.ctl("cancel", "--all")
    assert done.returncode == 0 and "open orders are being cancelled" in done.stdout


def test_flatten_brings_the_position_to_zero(engine):
    """`ctl flatten` closes every position at the venue too, while strategies trade and while everything is halted.

    The markets stay halted, and the account flat, until each is armed.
    """
    engine.until_fills()
    for why in ("", "closing"):
        if why:
            assert engine.ctl("halt", "--why", why).returncode == 0
        done = engine.ctl("flatten", "--json")
        assert done.returncode == 0, (done.stdout, engine.said[-2000:])
        answer = json.loads(done.stdout)
        assert [row["remaining"] for row in answer["flattened"]] == [0, 0]
        truth = engine.truth()
        assert not truth.orders and not any(truth.positions.values())
        if why:
            assert engine.ctl("arm", "--why", "again").returncode == 0
        assert engine.truth().fills == truth.fills
        for market in ("BTC-PERP", "ETH-PERP"):
            assert f"ctl arm --market {market}" in answer["text"]
            assert engine.ctl("arm", "--why", "again", "--market", market).returncode == 0
        engine.until_trading()
    assert_equal_to_venue(engine)


def test_restart_ends_and_starts_one_process(engine):
    """`ctl restart` gives a process a new life; a name that isn't there is refused with those that are."""
    engine.until_trading()
    pid = engine.child("guard").pid
    assert engine.ctl("restart", "guard").returncode == 0
    wait_for("another guard", lambda: (c := engine.child("guard")) and c.state == "running" and c.pid != pid)
    engine.until_trading()
    done = engine.ctl("restart", "nobody")
    assert done.returncode == 1
    assert "there is no process 'nobody'; there are: venue, order_entry" in done.stderr


def test_tail_decodes_the_tape(engine):
    """`tail oe.tape --json --count 5` prints five JSON objects, numbered events and beats, and ends."""
    done = command("tail", "oe.tape", "--json", "--count", "5", "--run", engine.run)
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(messages) == 5
    assert all(m["type"] in {"beat", "order"} and m["tape_no"] > 0 for m in messages)


def test_a_reader_that_does_not_read_disturbs_nobody(engine):
    """A stopped `tail` of the books holds up nothing: the engine trades on, and the tail too when it is let go."""
    tail = start("tail", "md.feed", "--json", "--run", engine.run)
    try:
        assert tail.stdout.readline()
        tail.send_signal(signal.SIGSTOP)
        engine.until_fills(3)
        assert engine.gate() == "TRADING"
        tail.send_signal(signal.SIGCONT)
        assert json.loads(tail.stdout.readline())
    finally:
        tail.kill()
        tail.communicate()


def test_tail_refuses_a_channel_that_has_one_reader(engine):
    """Channels between two parties can't be listened to; the refusal says where to look."""
    done = command("tail", "oe.orders", "--run", engine.run)
    assert done.returncode == 2 and "oe.tape" in done.stderr


def test_a_second_engine_on_the_run_directory_is_refused(engine):
    """It is told who holds the directory, and disturbs nothing."""
    pid = engine.process.pid
    done = command("launch", DEMO, "--run", engine.run, "--plain")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {engine.run}: an engine runs here already")
    assert f"pid {pid}" in done.stderr
    assert engine.gate() == "TRADING"


def test_processes_are_named(engine):
    """`ps` shows each process by its engine's and its own name."""
    titles = sorted(engine.living().values())
    assert [t.partition(": ")[2] for t in titles if t.startswith("engine demo: ")] == [
        "drop_copy", "guard", "market_data", "order_entry", "strategy.momentum_taker", "strategy.quote_maker", "supervisor",
        "venue",
    ]  # fmt: skip


def test_ctl_stop_ends_it_clean(engine):
    """`ctl stop` ends everything in safe order; a tool that comes later is told that nothing runs."""
    done = engine.ctl("stop")
    assert done.returncode == 0 and "stopping in safe order" in done.stdout
    assert engine.wait() == 0, engine.said
    assert engine.summary()["clean"] is True
    assert engine.living() == {}
    done = engine.ctl("status")
    assert done.returncode == 3 and "no engine runs here" in done.stderr


def test_no_secret_is_written_anywhere_but_to_the_key_files(engine):
    """No private key, signature or whole API key is in any log; nothing in the run directory is open to others."""
    records = json.loads(_read(engine, "venue", "keys.json"))
    secrets = [record["api_key"].encode() for record in records]
    seen = 0
    for folder, folders, names in os.walk(engine.run):
        folders[:] = [name for name in folders if name != "bus"]  # sockets
        for name in names:
            path = os.path.join(folder, name)
            data = _read(path)
            seen += 1
            if not name.endswith(".key"):
                assert b"PRIVATE KEY" not in data, path
            if os.path.basename(folder) == "logs" or name.startswith(("out.", "err.")):
                assert not [s for s in secrets if s in data], path
                assert b"96=" not in data.replace(b"|96=***", b""), path
            if not name.startswith(("out.", "err.")):
                assert os.stat(path).st_mode & 0o077 == 0, path
    assert seen > 20
    assert b"|96=***|" in _read(engine, "logs", "order_entry.fix")


def _read(first, *parts):
    path = os.path.join(first.run, *parts) if parts else first
    with open(path, "rb") as file:
        return file.read()
