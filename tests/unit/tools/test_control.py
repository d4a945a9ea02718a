"""What an operator says, to whom it goes, and what the exit code says."""

import json
import os
from types import SimpleNamespace

import msgspec
import pytest

from engine import cli, config_loader
from engine.common import halt_file
from engine.common.clock import MS
from engine.errors import (
    EXIT_FAILURE,
    EXIT_NOT_RUNNING,
    EXIT_OK,
    EXIT_RISK_LATCH,
    EXIT_TIMEOUT,
    EXIT_USAGE,
)
from engine.guard.flattening import FLATTEN_NS
from engine.messages import commands, control
from engine.messages.decisions import GuardStatus, StrategyUse
from engine.tools import control as tool
from engine.tools.docs_gen import ROOT

ORDER = {
    "order": "a",
    "cl_ord_id": "01a20d3f-bb5a-8001-8000-000adf010afa",
    "name": "quote_maker",
    "symbol": "BTC-PERP",
    "side": 2,
    "price": 195_000,
    "qty": 500,
    "cum_qty": 100,
    "state": "PARTIALLY_FILLED",
}


def status(**changes):
    return GuardStatus(**{
        "wall_ns": 1, "gate": "TRADING", "epoch": 1, "tokens": 90, "tokens_capacity": 100, "names": {"1": "quote_maker"},
        "strategies": [StrategyUse(strategy=1, symbol="BTC-PERP", position=-1250)], **changes,
    })  # fmt: skip


@pytest.fixture
def guard(stand_in):
    """A guard that says yes to everything."""
    process = stand_in("guard")
    process.published = [("guard.feed", "status", status())]

    def answer(channel, message):
        data = {}
        if isinstance(message, commands.OpenOrdersQuery):
            data = {"orders": msgspec.Raw(msgspec.msgpack.encode([ORDER]))}
        return commands.ControlReply(
            request_id=message.request_id, ok=True, text="" if data else "done so", data=data
        )

    process.answer = answer
    return process


@pytest.fixture
def supervisor(stand_in):
    """A supervisor with two processes."""
    process = stand_in("supervisor")

    def answer(channel, message):
        match message:
            case control.EngineQuery():
                return control.EngineState(
                    request_id=message.request_id, name="demo", environment="embedded", state="TRADING", version="0", config_hash="ab" * 32,
                    started_wall_ns=1, processes=[control.ProcessState(name="guard", pid=7, state="running", rss_bytes=40 << 20)],
                )  # fmt: skip
            case control.RestartProcess():
                known = message.name == "guard"
                return control.Reply(
                    request_id=message.request_id,
                    ok=known,
                    text="guard is restarted" if known else "there is no process",
                )
            case _:
                return control.Reply(
                    request_id=message.request_id, ok=True, text=f"stopping: {getattr(message, 'why', '')}"
                )

    process.answer = answer
    return process


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(tool, "TIMEOUT_MS", 200)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["halt", "--why", "news"], commands.Halt(request_id="", why="news", who="")),
        (["halt", "--why", "x", "--strategy", "momentum_taker"], commands.Halt(request_id="", why="x", who="", strategy=2)),
        (["halt", "--why", "x", "--market", "ETH-PERP"], commands.Halt(request_id="", why="x", who="", symbol="ETH-PERP")),
        (["arm", "--why", "looked"], commands.Arm(request_id="", why="looked", who="")),
        (
            ["arm", "--why", "x", "--accept-gap", "--position", "BTC-PERP=-12", "--position", "ETH-PERP=0.5"],
            commands.Arm(request_id="", why="x", who="", accept_gap=True, positions={"BTC-PERP": -1200, "ETH-PERP": 50}),
        ),
        (["cancel", "an-id"], commands.CancelById(request_id="", cl_ord_id="an-id", who="")),
        (["cancel", "--all"], commands.CancelAll(request_id="")),
        (["cancel", "--all", "--strategy", "quote_maker", "--market", "BTC-PERP"], commands.CancelAll(request_id="", strategy=1, symbol="BTC-PERP")),
        (["flatten"], commands.Flatten(request_id="", who="")),
        (["flatten", "BTC-PERP"], commands.Flatten(request_id="", who="", symbol="BTC-PERP")),
    ],
)  # fmt: skip
def test_a_command_reaches_the_guard_as_its_message(guard, run, capsys, argv, expected):
    """Names become slots, contracts become hundredths; who said it is the user's name."""
    assert cli.main(["ctl", *argv, "--run", run]) == EXIT_OK
    said = "; drop copy did not answer: say it again when it runs" if "--accept-gap" in argv else ""
    assert capsys.readouterr().out == f"done so{said}\n"
    ((channel, peer, message),) = guard.asked
    assert channel == "guard.orders"
    assert peer.startswith("tool.ctl.")
    assert message.request_id
    blank = {"request_id": ""}
    if hasattr(message, "who"):
        assert message.who
        blank["who"] = ""
    assert msgspec.structs.replace(message, **blank) == expected


def test_open_orders_are_shown_with_prices_in_dollars(guard, run, capsys):
    """One line an order, and how many."""
    assert cli.main(["ctl", "orders", "--run", run]) == EXIT_OK
    first, last = capsys.readouterr().out.splitlines()
    assert first.split() == [
        ORDER["cl_ord_id"],
        "quote_maker",
        "BTC-PERP",
        "sell",
        "5.00",
        "at",
        "19.5000",
        "filled",
        "1.00",
        "PARTIALLY_FILLED",
    ]
    assert last == "1 open orders"
    assert cli.main(["ctl", "orders", "--run", run, "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out) == {"ok": True, "text": "", "orders": [ORDER]}


def test_status_shows_processes_and_the_gate(guard, supervisor, run, capsys):
    """Both halves: the supervisor's processes and the guard's gate."""
    assert cli.main(["ctl", "status", "--run", run]) == EXIT_OK
    text = capsys.readouterr().out
    assert "demo (embedded) TRADING" in text
    assert "guard" in text
    assert "40 MiB" in text
    assert "gate TRADING" in text
    assert "write tokens 90/100" in text
    assert "-12.50" in text
    assert cli.main(["ctl", "status", "--run", run, "--json"]) == EXIT_OK
    answer = json.loads(capsys.readouterr().out)
    assert (answer["engine"]["state"], answer["guard"]["gate"]) == ("TRADING", "TRADING")


def test_status_of_a_halted_engine_says_so_by_its_exit_code(guard, supervisor, run, capsys):
    """A script can tell a latch from the exit code."""
    guard.published = [("guard.feed", "status", status(gate="HALTED", latches={"account": "news"}))]
    assert cli.main(["ctl", "status", "--run", run]) == EXIT_RISK_LATCH
    assert "halted: account: news" in capsys.readouterr().out


def test_stop_and_restart_go_to_the_supervisor(supervisor, run, capsys):
    """And a refusal is an exit code."""
    assert cli.main(["ctl", "restart", "guard", "--run", run]) == EXIT_OK
    assert cli.main(["ctl", "stop", "--run", run, "--why", "lunch"]) == EXIT_OK
    assert capsys.readouterr().out == "guard is restarted\nstopping: lunch\n"
    assert cli.main(["ctl", "restart", "gaurd", "--run", run]) == EXIT_FAILURE
    assert capsys.readouterr().err == "error: there is no process\n"


def test_no_answer_is_told_after_a_deadline(stand_in, run, capsys, impatient):
    """A hanging guard does not hang the tool."""
    stand_in("guard")
    assert cli.main(["ctl", "arm", "--why", "x", "--run", run]) == EXIT_TIMEOUT
    assert capsys.readouterr().err == "error: the guard did not answer within 0.2 s\n"


def test_flatten_waits_longer_than_the_guard_works_on_it(stand_in, run, capsys, impatient, monkeypatch):
    """Its answer comes at the end."""
    assert FLATTEN_NS // MS <= tool.FLATTEN_MS
    monkeypatch.setattr(tool, "FLATTEN_MS", 300)
    stand_in("guard")
    assert cli.main(["ctl", "flatten", "--run", run]) == EXIT_TIMEOUT
    assert capsys.readouterr().err == "error: the guard did not answer within 0.5 s\n"


def test_status_shows_what_the_account_holds(guard, supervisor, run, capsys):
    """The net of all rows of a market, operator and foreign too."""
    uses = [
        StrategyUse(strategy=1, symbol="BTC-PERP", position=-1250, open_orders=2),
        StrategyUse(strategy=2, symbol="ETH-PERP", position=300),
        StrategyUse(strategy=0, symbol="BTC-PERP", position=1150, fills=3),
        StrategyUse(strategy=-1, symbol="BTC-PERP", position=100, open_orders=1),
    ]
    guard.published = [("guard.feed", "status", status(strategies=uses))]
    assert cli.main(["ctl", "status", "--run", run]) == EXIT_OK
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "ACCOUNT" in line]
    assert rows == [
        ["ACCOUNT", "BTC-PERP", "position", "0.00", "open", "3", "fills", "3", "flat"],
        ["ACCOUNT", "ETH-PERP", "position", "3.00", "open", "0", "fills", "0", "long"],
    ]


def test_halt_works_with_the_supervisor_dead(guard, run, capsys):
    """It goes to the guard directly."""
    assert cli.main(["ctl", "halt", "--why", "x", "--run", run]) == EXIT_OK


def test_a_halt_that_the_guard_does_not_answer_goes_into_the_halt_file(stand_in, run, capsys, impatient):
    """Order entry reads it; what is there already stays."""
    path = os.path.join(run, "halt")
    with open(path, "w", encoding="utf-8") as file:
        file.write("strategy quote_maker: before")
    stand_in("guard")
    assert cli.main(["ctl", "halt", "--why", "it hangs", "--market", "BTC-PERP", "--run", run]) == EXIT_OK
    assert f"the halt was written to {path}" in capsys.readouterr().out
    with open(path, encoding="utf-8") as file:
        text = file.read()
    scopes = [halted[:2] for halted in halt_file.parse(text, {"quote_maker": 1}, ["BTC-PERP"])]
    assert scopes == [(1, ""), (None, "BTC-PERP")]


def test_a_halt_without_an_engine_halts_the_next_start(tmp_path, capsys):
    """The run directory is named, or the one that was used last."""
    (tmp_path / "config.json").write_bytes(
        config_loader.encode(config_loader.load(os.path.join(ROOT, "configs", "demo.toml")))
    )
    assert cli.main(["ctl", "halt", "--why", "not today", "--run", str(tmp_path)]) == EXIT_OK
    assert "the engine will start halted" in capsys.readouterr().out
    assert "all: not today" in (tmp_path / "halt").read_text(encoding="utf-8")


def test_a_halt_shows_how_many_orders_are_open_until_none_is(guard, run, capsys, impatient, monkeypatch):
    """As the guard's status says; what doesn't end is an exit code and a reason."""
    counts = iter([3, 3, 1, 0])
    monkeypatch.setattr(
        tool.kill, "tool_socket",
        lambda *_: SimpleNamespace(
            receive=lambda _ms: status(latches={"all": "x"}, still_open={"all": next(counts)}), close=lambda: None
        ),
    )  # fmt: skip
    assert cli.main(["ctl", "halt", "--why", "x", "--run", run]) == EXIT_OK
    assert capsys.readouterr().out.splitlines() == [
        "done so",
        "  3 orders still open",
        "  1 orders still open",
        "  no order is open",
    ]
    stuck = status(latches={"all": "x"}, still_open={"all": 2}, cannot_cancel="exchange pause: 2 orders")
    monkeypatch.setattr(
        tool.kill, "tool_socket", lambda *_: SimpleNamespace(receive=lambda _ms: stuck, close=lambda: None)
    )
    assert cli.main(["ctl", "halt", "--why", "x", "--run", run]) == EXIT_TIMEOUT
    assert capsys.readouterr().err == "error: 2 orders are still open: exchange pause: 2 orders\n"


def test_without_an_engine_it_says_so(tmp_path, capsys):
    """Exit code 3, one line."""
    assert cli.main(["ctl", "halt", "--why", "x", "--run", str(tmp_path)]) == EXIT_NOT_RUNNING
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: no engine runs here")


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (
            ["halt", "--why", "x", "--strategy", "maker"],
            "there is no strategy 'maker'; there are: quote_maker",
        ),
        (["flatten", "BTC"], "there is no market 'BTC'; there are: BTC-PERP, ETH-PERP"),
        (["cancel"], "cancel: name an order's ClOrdID, or give --all"),
        (["arm", "--why", "x", "--position", "BTC-PERP"], "write it as BTC-PERP=-12"),
        (["arm", "--why", "x", "--position", "BTC-PERP=1.234"], "'1.234' has more than 2 decimals"),
    ],
)
def test_a_wrong_command_line_never_reaches_the_engine(guard, run, capsys, argv, text):
    """Names are checked against the run's own configuration."""
    assert cli.main(["ctl", *argv, "--run", run]) == EXIT_USAGE
    assert text in capsys.readouterr().err
    assert guard.asked == []
