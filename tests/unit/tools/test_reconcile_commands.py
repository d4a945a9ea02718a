"""`scripts/reconcile` beside the report itself: an operator's words, periods, forms, and comparing files."""

import csv
import io
import json
import re

import pytest

from engine.common.clock import SECOND
from engine.drop_copy.breaks import id_of
from engine.drop_copy.report import model
from engine.drop_copy.report.html import STYLE
from engine.drop_copy.report.inputs import MarketSample, Sample
from engine.drop_copy.report.table_csv import COLUMNS
from engine.errors import EXIT_BREAKS, EXIT_OK, EXIT_RISK_LATCH, EXIT_TIMEOUT, EXIT_USAGE
from engine.guard.records import LatchSet
from engine.messages.executions import EventKind, OrderState, Source
from engine.messages.reconciliation import (
    AssignExecution,
    BreakNote,
    EnterFunding,
    ExplainBreak,
    ReconciliationReply,
)
from engine.runtime.journal import Entry, Journal
from engine.tools import reconcile
from engine.tools.reconciling import operator
from tests.unit.tools.test_reconcile_report import START, Tape, good_run, swept

FOREIGN = -1


@pytest.fixture
def run_dir(tmp_path):
    def write(events, records, **more):
        for name, entries in ({"order_entry": events, "drop_copy": records} | more).items():
            journal = Journal(str(tmp_path / "state" / f"{name}.sqlite"))
            journal.append(
                [Entry(entry, "", getattr(entry, "exec_id", "") or None) for entry in entries], START
            )
            journal.close()
        config = {
            "engine": {"name": "mine", "environment": "embedded"},
            "strategies": {"quote_maker": {"slot": 1}},
            "instruments": {"BTC-PERP": {}},
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        return str(tmp_path)

    return write


def call(capsys, *argv):
    code = reconcile.main(list(argv))
    got = capsys.readouterr()
    return code, got.out, got.err


def answer(capsys, *argv):
    code, out, _ = call(capsys, *argv, "--json")
    return code, json.loads(out)


DIFFERENT = BreakNote(
    break_id="different-1.1", kind="different", status="open", wall_ns=START, first_ns=START, exec_id="1;1",
    symbol="BTC-PERP", text="fee here 0.001500, there 0.001600", amount=100, severity="major",
)  # fmt: skip


def test_breaks_say_class_severity_first_seen_status_and_history(run_dir, capsys):
    directory = run_dir(good_run().events, [DIFFERENT, *swept(6)])
    code, data = answer(capsys, "breaks", "--run", directory)
    assert (code, data["exit_code"], data["open"], data["clean"]) == (EXIT_BREAKS, 6, 1, False)
    (found,) = data["breaks"]
    assert (found["id"], found["class"], found["severity"], found["status"], found["first_seen"]) == (
        "different-1.1",
        "different",
        "major",
        "open",
        "2025-11-24T10:00:00.000Z",
    )
    assert [entry["status"] for entry in found["history"]] == ["open"]


def test_an_explanation_is_kept_makes_the_report_clean_and_is_shown(run_dir, capsys):
    """With the engine down it goes into drop copy's journal, whose chain stays whole."""
    directory = run_dir(good_run().events, [DIFFERENT, *swept(6)])
    before = answer(capsys, "report", "--run", directory)[1]["report_hash"]
    assert call(capsys, "explain", "different-1.1", "--run", directory)[0] == EXIT_USAGE
    code, out, _ = call(
        capsys, "explain", "different-1.1", "--why", "rounded by the venue", "--run", directory
    )
    assert (code, out) == (EXIT_OK, "different-1.1 is explained\n")
    code, data = answer(capsys, "report", "--run", directory)
    assert (code, data["clean"], data["explained"]) == (EXIT_OK, True, 1)
    assert data["report_hash"] != before
    code, shown = answer(capsys, "show", "different-1.1", "--run", directory)
    assert (code, shown["status"], shown["text"]) == (EXIT_OK, "explained", "rounded by the venue")
    assert [entry["status"] for entry in shown["history"]] == ["open", "explained"]
    again = call(capsys, "explain", "different-1.1", "--why", "x", "--run", directory)
    assert again[:2] == (EXIT_OK, "different-1.1 is explained already\n")
    assert call(capsys, "breaks", "--run", directory)[0] == EXIT_OK


def test_a_gap_of_a_run_that_is_over_is_only_accepted_by_that_name(run_dir, capsys):
    directory = run_dir(good_run().events, swept(6, "2;1"))
    explain = ("explain", "gap-unconfirmed", "--why", "seen on the web", "--run", directory)
    code, _, err = call(capsys, *explain)
    assert code == EXIT_USAGE and "--accept-gap" in err
    assert call(capsys, *explain, "--accept-gap")[0] == EXIT_OK
    assert call(capsys, "report", "--run", directory)[0] == EXIT_OK


def test_a_gap_that_drop_copy_holds_is_accepted_on_the_running_engine_only(run_dir, capsys):
    gap = BreakNote(
        break_id="gap-5-1.1", kind="gap", status="open", wall_ns=START, first_ns=START, text="not enabled"
    )
    directory = run_dir(good_run().events, [gap, *swept(6)])
    code, _, err = call(capsys, "explain", "gap-5-1.1", "--why", "x", "--accept-gap", "--run", directory)
    assert code == EXIT_USAGE and "ctl arm --accept-gap" in err


def foreign_fill():
    tape = good_run()
    tape.trade("f-1", "4;1", qty=100, px=120_000, fee=7, strategy=FOREIGN, state=OrderState.FILLED)
    return tape


def test_a_foreign_fill_counts_for_the_strategy_that_it_is_assigned_to(run_dir, capsys):
    directory = run_dir(foreign_fill().events, swept(7))
    before = answer(capsys, "report", "--run", directory)[1]
    assert before["classes"]["foreign"] == 1
    code, out, _ = call(capsys, "assign", "4;1", "quote_maker", "--why", "by hand", "--run", directory)
    assert (code, out) == (EXIT_OK, "4;1 counts for quote_maker in reports\n")
    after = answer(capsys, "report", "--run", directory)[1]
    fills = [{line["name"]: line["fills"] for line in data["lines"]} for data in (before, after)]
    assert fills[0]["quote_maker"] == 2 and fills[1]["quote_maker"] == 3
    assert (before["net"], before["proofs"], before["fees"]) == (after["net"], after["proofs"], after["fees"])
    assert after["assignments"][0]["why"] == "by hand"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["assign", "1;1", "quote_maker"], "only a foreign fill"),
        (["assign", "9;9", "quote_maker"], "no such execution"),
        (["assign", "x", "quote_maker"], "is no ExecID"),
        (["assign", "4;1", "nobody"], "there is no strategy 'nobody'"),
        (["funding", "BTC-PERP", "1.0000001", "--at", "2025-11-24"], "more than 6 decimals"),
        (["funding", "XRP", "1", "--at", "2025-11-24"], "there is no market 'XRP'"),
        (["funding", "BTC-PERP", "1", "--at", "yesterday"], "is no time"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(run_dir, capsys, argv, text):
    directory = run_dir(foreign_fill().events, swept(7))
    code, _, err = call(capsys, *argv, "--why", "x", "--run", directory)
    assert code == EXIT_USAGE and text in err
    assert answer(capsys, "report", "--run", directory)[1]["drop_copy_rows"] == 2


def test_funding_closes_the_equation_and_is_entered_once(run_dir, capsys, tmp_path):
    directory = run_dir(good_run().events, swept(6))
    net = answer(capsys, "report", "--run", directory)[1]["net"]
    enter = (
        "funding",
        "BTC-PERP",
        "-1.250001",
        "--at",
        "2025-11-24T10:00:03Z",
        "--why",
        "web",
        "--run",
        directory,
    )
    assert call(capsys, *enter)[0] == call(capsys, *enter)[0] == EXIT_OK
    data = answer(capsys, "report", "--run", directory)[1]
    assert (data["funding"], data["net"]) == (-1_250_001, net - 1_250_001)
    file = tmp_path / "funding.csv"
    file.write_text("time,market,amount,key\n2025-11-24T16:00,BTC-PERP,0.5,a\n2025-11-25,BTC-PERP,0.25,b\n")
    assert call(capsys, "funding", "--file", str(file), "--run", directory)[0] == EXIT_OK
    assert answer(capsys, "report", "--run", directory)[1]["funding"] == -500_001
    day = answer(capsys, "report", "--day", "2025-11-25", "--run", directory)[1]
    assert day["funding"] == 250_000
    file.write_text("time,market,amount\n2025-11-24,BTC-PERP,many\n")
    code, _, err = call(capsys, "funding", "--file", str(file), "--run", directory)
    assert code == EXIT_USAGE and "funding.csv, line 2" in err


def test_a_period_opens_with_what_was_before_it_and_the_parts_add_up(run_dir, capsys):
    directory = run_dir(good_run().events, swept(6))
    cut = "2025-11-24T10:00:04Z"
    whole, before, after = (
        answer(capsys, "report", *span, "--run", directory)[1]
        for span in ((), ("--to", cut), ("--from", cut))
    )
    for name in ("fills", "volume", "fees", "realised", "orders"):
        assert before[name] + after[name] == whole[name], name
    assert (before["proofs"][0]["closing"], after["proofs"][0]["opening"]) == (500, 500)
    assert after["proofs"][0]["closing"] == whole["proofs"][0]["closing"]
    assert all(row["ok"] for data in (whole, before, after) for row in data["money"])
    day = answer(capsys, "report", "--day", "2025-11-24", "--run", directory)[1]
    assert (day["fills"], day["net"]) == (whole["fills"], whole["net"])
    assert answer(capsys, "report", "--day", "2025-11-25", "--run", directory)[1]["fills"] == 0


@pytest.mark.parametrize(
    "span", [["--day", "2025-13-01"], ["--from", "x"], ["--from", "2025-11-25", "--to", "2025-11-24"], ["--day", "2025-11-24", "--to", "2025-11-25"]]
)  # fmt: skip
def test_a_wrong_period_is_a_usage_error(run_dir, capsys, span):
    directory = run_dir(good_run().events, swept(6))
    assert call(capsys, "report", *span, "--run", directory)[0] == EXIT_USAGE


def test_the_same_journals_give_the_same_hash_in_every_form(run_dir, capsys):
    directory = run_dir(good_run().events, swept(6))
    digest = answer(capsys, "report", "--run", directory)[1]["report_hash"]
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    for form in ("text", "html"):
        first, second = (call(capsys, "report", "--format", form, "--run", directory)[1] for _ in range(2))
        assert first == second and digest in first


def test_a_risk_latch_ends_a_clean_report_with_7(run_dir, capsys):
    latch = LatchSet(wall_ns=START, why="max_loss", who="guard", strategy=1)
    directory = run_dir(good_run().events, swept(6), guard=[latch])
    code, data = answer(capsys, "report", "--run", directory)
    assert (code, data["latches"]) == (EXIT_RISK_LATCH, {"strategy quote_maker": "max_loss"})


def test_csv_has_exact_decimals_and_nothing_that_a_spreadsheet_runs(run_dir, capsys):
    tape = good_run()
    tape.trade(
        "e",
        "5;1",
        px=123_456,
        qty=100,
        fee=-1,
        strategy=FOREIGN,
        state=OrderState.FILLED,
        text='=cmd|"x"',
        trd_match_id="+1",
    )
    directory = run_dir(tape.events, swept(7))
    code, out, _ = call(capsys, "report", "--format", "csv", "--run", directory)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert tuple(rows[0]) == COLUMNS and code == EXIT_OK
    last = rows[-1]
    assert (last["last_px"], last["last_qty"], last["fee"], last["notional"]) == (
        "12.3456",
        "1.00",
        "-0.000001",
        "12.345600",
    )
    assert (last["text"], last["trd_match_id"], last["class"]) == ('\'=cmd|"x"', "'+1", "foreign")
    assert rows[0]["time"].endswith("Z") and "." in rows[0]["time"]


def test_html_is_one_file_without_addresses_and_escapes_what_journals_say(run_dir, capsys, tmp_path):
    evil = "<script>alert(1)</script>&$x^2$"
    tape = good_run()
    tape.trade("f", "4;1", qty=100, symbol="BTC-PERP", strategy=FOREIGN, text=evil)
    note = BreakNote(
        break_id="different-1.1", kind="different", status="open", wall_ns=START, symbol=evil, text=evil
    )
    sample = Sample(
        wall_ns=START + SECOND, markets=[MarketSample(symbol="BTC-PERP", bid=99_000, ask=101_000)],
        tokens=10, tokens_capacity=100, latency_us={"500": 900, "990": 2000}, latency_count=5,
    )  # fmt: skip
    directory = run_dir(tape.events, [note, *swept(7)], samples=[sample])
    out = tmp_path / "report.html"
    assert call(capsys, "report", "--format", "html", "--out", str(out), "--run", directory)[0] == EXIT_BREAKS
    text = out.read_text()
    assert "<script" not in text and "&lt;script&gt;" in text
    bare = re.sub(r'xmlns(:xlink)?="[^"]*"', "", text)
    assert not re.search(r"https?://", bare)
    for part in (
        "OPEN BREAK",
        "Proof of positions",
        "Proof of money",
        "Recovery",
        "Signature",
        "Tick to trade",
    ):
        assert part in text
    assert text.count("<svg") == 3 and STYLE in text
    assert "mid, " in text  # marked at the market, not at our own fill


def test_every_report_has_one_class(run_dir, capsys):
    tape = good_run()
    tape.trade("b", "5;1", strategy=2, source=Source.RECOVERED)
    tape.trade("f", "6;1", strategy=FOREIGN)
    tape.submit("c").add(EventKind.REJECTED, OrderState.REJECTED, "c", exec_id="7;1")
    tape.trade("a", "8;1").trade("a", "99;1")
    gone = BreakNote(
        break_id=id_of("missing_there", (8, 1, 0)),
        kind="missing_there",
        status="open",
        wall_ns=START,
        exec_id="8;1",
    )
    directory = run_dir(tape.events, [DIFFERENT, gone, *swept(12, "9;1")])
    data = answer(capsys, "report", "--run", directory)[1]
    assert data["classes"] == {
        model.CONFIRMED: 2, model.DIFFERENT: 1, model.RECOVERED: 1, model.FOREIGN: 1,
        model.SESSION_ONLY: 1, model.NOT_THERE: 1, model.NOT_YET_THERE: 1,
    }  # fmt: skip


def test_an_order_that_only_its_reports_tell_of_is_named(run_dir, capsys):
    tape = Tape().submit("a").trade("a", "1;1").trade("lost", "2;1").trade("lost", "3;1")
    directory = run_dir(tape.events, swept(4))
    code, data = answer(capsys, "breaks", "--run", directory)
    assert code == EXIT_BREAKS
    assert "missing_order-lost" in [found["id"] for found in data["breaks"]]


# ---- compare


HEAD = "exec_id,market,side,last_qty,last_px,fee,cl_ord_id\n"
ROWS = {
    "1;1": "1;1,BTC-PERP,buy,3,10.0000,0.0015,a\n",
    "2;1": "2;1,BTC-PERP,sell,1.00,11.0050,-0.000007,b\n",
    "3;1": "3;1,BTC-PERP,sell,2,10.0001,0,a\n",
}


def compared(capsys, tmp_path, directory, rows, *more):
    path = tmp_path / "theirs.csv"
    path.write_text(HEAD + "".join(rows))
    code, data = answer(capsys, "compare", "--ours", directory, "--theirs", str(path), *more)
    return code, [found["id"] for found in data["breaks"]]


def test_a_journal_and_the_venues_csv_of_fills_agree(run_dir, capsys, tmp_path):
    directory = run_dir(good_run().events, [])
    assert compared(capsys, tmp_path, directory, ROWS.values()) == (EXIT_OK, [])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([ROWS["1;1"], ROWS["3;1"]], ["missing_there-2.1"]),
        ([*ROWS.values(), "9;1,BTC-PERP,buy,1,10,0,a\n"], ["missing_here-9.1"]),
        ([*ROWS.values(), "9;1,BTC-PERP,buy,1,10,0,zz\n"], ["missing_order-zz", "missing_here-9.1"]),
        ([*ROWS.values(), ROWS["1;1"]], ["duplicate-1.1"]),
        ([ROWS["1;1"], ROWS["2;1"], ROWS["3;1"].replace(",2,", ",3,")], ["different-3.1"]),
    ],
)
def test_each_class_of_difference_is_named_exactly(run_dir, capsys, tmp_path, rows, expected):
    directory = run_dir(good_run().events, [])
    assert compared(capsys, tmp_path, directory, rows) == (EXIT_BREAKS, expected)


def test_a_tolerance_lets_fees_differ_and_a_column_that_is_absent_says_nothing(run_dir, capsys, tmp_path):
    directory = run_dir(good_run().events, [])
    rows = [ROWS["1;1"].replace("0.0015", "0.0016"), ROWS["2;1"], ROWS["3;1"]]
    assert compared(capsys, tmp_path, directory, rows) == (EXIT_BREAKS, ["different-1.1"])
    assert compared(capsys, tmp_path, directory, rows, "--tolerance", "0.0001") == (EXIT_OK, [])
    bare = tmp_path / "bare.csv"
    bare.write_text(
        "exec_id,market,side,last_qty,last_px\n"
        + "".join(",".join(row.split(",")[:5]) + "\n" for row in ROWS.values())
    )
    assert call(capsys, "compare", "--ours", directory, "--theirs", str(bare))[0] == EXIT_OK


def test_what_the_report_writes_as_csv_compares_clean_with_its_journal(run_dir, capsys, tmp_path):
    directory = run_dir(good_run().events, swept(6))
    out = str(tmp_path / "own.csv")
    assert call(capsys, "report", "--format", "csv", "--out", out, "--run", directory)[0] == EXIT_OK
    assert call(capsys, "compare", "--ours", directory, "--theirs", out)[0] == EXIT_OK


def wire(exec_id, cl_ord_id, side, qty, px, fee):
    fields = (
        f"35=8|49=KalshiDC|56=key***|34=3|52=20251124-10:00:00.000|37=o1|11={cl_ord_id}|17={exec_id}|150=F|39=1|54={side}"
        f"|55=BTC-PERP|151=0.00|14=1.00|38=1.00|31={px}|32={qty}|136=1|137={fee}|138=USD|139=4|891=0|"
    )
    return f"2025-11-24T10:00:00.000Z drop_copy < 8=FIXT.1.1|9={len(fields)}|{fields}10=000|\n"


def test_a_raw_fix_log_is_read_resent_reports_are_one(run_dir, capsys, tmp_path):
    log = tmp_path / "drop_copy.fix"
    lines = [
        wire("1;1", "a", 1, "3.00", "10.0000", "0.0015"),
        wire("2;1", "b", 2, "1.00", "11.0050", "-0.000007"),
        wire("3;1", "a", 2, "2.00", "10.0001", "0.00"),
    ]
    log.write_text(
        "".join([*lines, lines[0], "2025-11-24T10:00:00.000Z drop_copy > 8=FIXT.1.1|9=5|35=0|10=000|\n"])
    )
    tape = good_run()
    directory = run_dir(tape.events, [])
    assert call(capsys, "compare", "--ours", directory, "--theirs", str(log))[0] == EXIT_OK
    log.write_text("".join([*lines[:2], wire("3;1", "a", 2, "2.00", "10.0009", "0.00")]))
    code, data = answer(capsys, "compare", "--ours", directory, "--theirs", str(log))
    assert (code, [found["id"] for found in data["breaks"]]) == (EXIT_BREAKS, ["different-3.1"])
    assert "LastPx ours 10.0001, theirs 10.0009" in data["breaks"][0]["text"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "column 'exec_id' is missing"),
        ("exec_id,market,side,last_qty,last_px\n1;1,B,up,1,1\n", "is not buy or sell"),
        ("exec_id,market,side,last_qty,last_px\n1;1,B,buy,1.001,1\n", "line 2: last_qty"),
        ("exec_id,market,side,last_qty,last_px\nx,B,buy,1,1\n", "is no ExecID"),
    ],
)
def test_a_file_that_is_none_of_the_three_is_named(run_dir, capsys, tmp_path, content, text):
    directory = run_dir(good_run().events, [])
    path = tmp_path / "theirs"
    path.write_text(content)
    code, _, err = call(capsys, "compare", "--ours", directory, "--theirs", str(path))
    assert code == EXIT_USAGE and text in err and "Traceback" not in err


# ---- beside a running engine


@pytest.fixture
def live(run, stand_in):
    """A run directory that is held, with journals, and a drop copy that answers."""
    for name, entries in (("order_entry", foreign_fill().events), ("drop_copy", [DIFFERENT, *swept(7)])):
        journal = Journal(f"{run}/state/{name}.sqlite")
        journal.append([Entry(entry, "", getattr(entry, "exec_id", "") or None) for entry in entries], START)
        journal.close()
    drop_copy = stand_in("drop_copy")
    drop_copy.answer = lambda channel, message: ReconciliationReply(
        request_id=message.request_id, ok=message.why != "bad", text="done so"
    )
    return run, drop_copy


def test_beside_a_running_engine_drop_copy_itself_writes_down_what_is_said(live, capsys):
    run, drop_copy = live
    for argv, kind in (
        (["explain", "different-1.1", "--why", "seen"], ExplainBreak),
        (["assign", "4;1", "quote_maker", "--why", "mine"], AssignExecution),
        (["funding", "BTC-PERP", "1", "--at", "2025-11-24", "--why", "web"], EnterFunding),
    ):
        code, out, _ = call(capsys, *argv, "--run", run)
        assert (code, out) == (EXIT_OK, "done so\n")
        assert isinstance(drop_copy.asked[-1][2], kind)
    assert drop_copy.asked[0][2].note.break_id == "different-1.1"
    assert answer(capsys, "report", "--run", run)[1]["drop_copy_rows"] == 3  # nothing was written past it


def test_what_drop_copy_refuses_or_does_not_answer_is_said(live, capsys, monkeypatch):
    run, drop_copy = live
    assert call(capsys, "explain", "different-1.1", "--why", "bad", "--run", run)[0] == EXIT_USAGE
    monkeypatch.setattr(operator, "TIMEOUT_MS", 50)
    drop_copy.answer = lambda channel, message: None
    code, _, err = call(capsys, "explain", "different-1.1", "--why", "x", "--run", run)
    assert code == EXIT_TIMEOUT and "did not answer" in err
