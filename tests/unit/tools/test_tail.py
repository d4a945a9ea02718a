"""The subscriber tool: decodes, filters, ends by itself, and says why it can't listen."""

import json
import subprocess
import sys

import pytest

from engine import cli
from engine.bus.sockets import endpoint
from engine.errors import EXIT_NOT_RUNNING, EXIT_USAGE
from engine.messages.decisions import GuardStatus, RefusalNote, StrategyUse
from engine.messages.executions import EventKind, OrderEvent, OrderState, TapeBeat
from engine.messages.market_data import MarketChanges, MarketUpdate
from engine.messages.reconciliation import BreakNote
from engine.tools import docs_gen, tail

ORDER_OF_1 = "01a20d3f-bb5a-8001-8000-000adf010afa"


def event(strategy, no, symbol="BTC-PERP"):
    return OrderEvent(
        tape_no=no,
        strategy=strategy,
        strategy_no=no,
        kind=EventKind.TRADE,
        state=OrderState.FILLED,
        order=ORDER_OF_1,
        wall_ns=1,
        symbol=symbol,
        last_px=195_000,
    )


BEAT = TapeBeat(tape_no=2, mono_ns=1, session="logged on", ready=True, epoch=1, strategies={})


@pytest.fixture
def tape(stand_in):
    process = stand_in("order_entry")
    process.published = [
        ("oe.tape", "slot.001", event(1, 1)),
        ("oe.tape", "slot.002", event(2, 2, "ETH-PERP")),
        ("oe.tape", "beat", BEAT),
    ]
    return process


def lines(capsys, *argv):
    assert cli.main(["tail", *argv]) == 0
    return capsys.readouterr().out.splitlines()


def test_every_message_of_a_channel_is_decoded(tape, run, capsys):
    """One JSON object a line, with the message's type and the fields that differ from their defaults."""
    found = [json.loads(line) for line in lines(capsys, "oe.tape", "--run", run, "--json", "--count", "6")]
    assert {message["type"] for message in found} == {"order", "beat"}
    trade = next(message for message in found if message.get("strategy") == 1)
    assert (trade["tape_no"], trade["last_px"], trade["kind"]) == (1, 195_000, "trade")


def test_a_strategy_is_named_and_only_its_topic_is_read(tape, run, capsys):
    """--strategy takes the name; the tape's topic is its slot."""
    found = lines(capsys, "oe.tape", "--run", run, "--strategy", "momentum_taker", "--json", "--count", "3")
    assert {json.loads(line)["strategy"] for line in found} == {2}


def test_a_market_filters_any_channel(tape, run, capsys):
    """--market keeps what names it; beats name none."""
    found = lines(capsys, "oe.tape", "--run", run, "--market", "ETH-PERP", "--count", "2")
    assert all(" slot.002 order " in line and "symbol=ETH-PERP" in line for line in found)


def test_it_ends_after_its_time_when_nothing_comes(stand_in, run, capsys):
    """--for ends a silent channel too."""
    stand_in("drop_copy")
    assert lines(capsys, "dc.feed", "--run", run, "--for", "150ms") == []


def test_of_an_update_of_several_markets_one_is_kept():
    """A multi-market X stays one message; the filter cuts it."""
    update = MarketUpdate(
        feed=1,
        feed_no=1,
        trigger_ns=1,
        sending_ns=1,
        markets=[
            MarketChanges(symbol="BTC-PERP", symbol_no=1),
            MarketChanges(symbol="ETH-PERP", symbol_no=1),
        ],
    )
    kept = tail.keep_market("ETH-PERP")(update)
    assert [part.symbol for part in kept.markets] == ["ETH-PERP"]
    assert tail.keep_market("SOL-PERP")(update) is None


def test_a_strategy_is_known_by_its_slot_or_by_the_slot_in_an_order_id():
    """A break has no slot, but a ClOrdID tells it."""
    keep = tail.keep_strategy(1)
    note = RefusalNote(wall_ns=1, strategy=2, control="tokens", scope="account", text="no")
    found = BreakNote(break_id="b", kind="different", status="open", wall_ns=1, cl_ord_id=ORDER_OF_1)
    status = GuardStatus(
        wall_ns=1,
        gate="TRADING",
        epoch=1,
        strategies=[StrategyUse(strategy=1, symbol="A"), StrategyUse(strategy=2, symbol="A")],
    )
    assert keep(note) is None
    assert keep(found) is found
    assert [use.strategy for use in keep(status).strategies] == [1]


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["guard.orders"], EXIT_USAGE, "is ROUTER/DEALER: each message has one receiver"),
        (["oe.tpe"], EXIT_USAGE, "there is no channel 'oe.tpe'; did you mean oe.tape?"),
        (["oe.tape", "--strategy", "x"], EXIT_USAGE, "there is no strategy 'x'; there are: quote_maker, momentum_taker"),
        (["oe.tape", "--market", "x"], EXIT_USAGE, "there is no market 'x'; there are: BTC-PERP, ETH-PERP"),
        (["md.feed", "--strategy", "quote_maker"], EXIT_USAGE, "md.feed knows no strategies"),
        (["oe.tape", "--for", "x"], EXIT_USAGE, "'x' is no duration"),
    ],
)  # fmt: skip
def test_what_cannot_be_listened_to_is_explained(run, capsys, argv, code, text):
    """One line and an exit code."""
    assert cli.main(["tail", *argv, "--run", run]) == code
    assert text in capsys.readouterr().err


def test_without_an_engine_it_says_so(tmp_path, monkeypatch, capsys):
    """A directory without an engine, and no directory at all."""
    assert cli.main(["tail", "oe.tape", "--run", str(tmp_path)]) == EXIT_NOT_RUNNING
    monkeypatch.chdir(tmp_path)
    assert cli.main(["tail", "oe.tape"]) == EXIT_NOT_RUNNING
    assert capsys.readouterr().err.count("error: ") == 2


def test_the_documented_subscriber_works_as_it_stands(tape, run):
    """The ten lines of docs/bus.md, with the socket's path put in and msgpack read by what is installed."""
    code = docs_gen.bus().partition("```python\n")[2].partition("```")[0]
    assert len(code.splitlines()) <= 10
    code = code.replace("ipc://.run/demo/bus/oe.tape", endpoint(run, "oe.tape"))
    code = code.replace("import msgpack, zmq", "import zmq; import msgspec.msgpack as msgpack")
    code = code.replace("msgpack.unpackb", "msgpack.decode").replace("while True:", "for _ in range(2):")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout.splitlines() == [f"1 trade {ORDER_OF_1} 19.5"] * 2, done.stderr


def test_a_line_for_people_is_one_line_whatever_a_strategy_wrote():
    """What a strategy put into an order that was refused may not move the terminal's cursor or forge a line."""
    note = RefusalNote(
        strategy=1,
        control="form",
        scope="",
        text="symbol is \x1b]0;x\x07\n2026 alert",
        wall_ns=1,
    )
    line = tail.line_of("refused", note, 1)
    assert line.isprintable() and "symbol is ?]0;x??2026 alert" in line
