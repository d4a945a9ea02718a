"""The reconciliation report: exact numbers, the position proof, exit codes."""

import json
import time

import pytest

from engine.common.clock import SECOND
from engine.drop_copy.records import SweepEnded, WatermarkMoved
from engine.drop_copy.report.summary import build_report
from engine.drop_copy.report.text import render_text
from engine.messages.executions import EventKind, OrderEvent, OrderState, Source
from engine.messages.reconciliation import BreakNote, RecoveredNote
from engine.runtime.journal import Entry, Journal
from engine.tools import reconcile

START = 1_763_978_400 * SECOND  # 2025-11-24T10:00:00Z


class Tape:
    """Builds an order journal."""

    def __init__(self):
        self.events = []
        self.position = 0

    def add(self, kind, state, order, strategy=1, **changes):
        no = len(self.events) + 1
        self.events.append(
            OrderEvent(
                **{
                    "tape_no": no,
                    "strategy": strategy,
                    "strategy_no": no,
                    "kind": kind,
                    "state": state,
                    "order": order,
                    "cl_ord_id": order,
                    "wall_ns": START + no * SECOND,
                    "symbol": "BTC-PERP",
                    "side": 1,
                    "price": 100_000,
                    "qty": 500,
                }
                | changes
            )
        )
        return self

    def submit(self, order, **changes):
        return self.add(EventKind.SUBMITTED, OrderState.SUBMITTING, order, **changes)

    def trade(
        self,
        order,
        exec_id,
        side=1,
        qty=100,
        px=100_000,
        venue=None,
        state=OrderState.PARTIALLY_FILLED,
        **changes,
    ):
        self.position += qty if side == 1 else -qty
        net = self.position if venue is None else venue
        said = {"long_qty": max(net, 0), "short_qty": max(-net, 0), "position": self.position}
        fields = {"exec_id": exec_id, "side": side, "last_qty": qty, "last_px": px} | said | changes
        return self.add(EventKind.TRADE, state, order, **fields)

    def opening(self, qty, cost, source=Source.ENGINE):
        self.position = qty
        said = {
            "long_qty": max(qty, 0),
            "short_qty": max(-qty, 0),
            "position": qty,
            "cost": cost,
            "source": source,
        }
        return self.add(EventKind.POSITION, OrderState.FILLED, "", strategy=-1, **said)


def swept(tape_no=0, mark="9;1", complete=True):
    return [
        WatermarkMoved(wall_ns=START, marks=[mark], tape_no=tape_no, tape_from=1, confirmed=3),
        SweepEnded(no=1, began_ns=START, wall_ns=START, wanted=1, complete=complete, tape_no=tape_no),
    ]


def good_run():
    tape = Tape().opening(200, 20_000_000)
    tape.submit("a").trade("a", "1;1", qty=300, px=100_000, fee=1500, aggressor="Y")
    tape.submit("b", strategy=2, side=2)
    tape.trade(
        "b", "2;1", side=2, qty=100, px=110_050, strategy=2, fee=-7, aggressor="N", state=OrderState.FILLED
    )
    tape.trade("a", "3;1", side=2, qty=200, px=100_001, state=OrderState.FILLED)
    return tape


def test_a_run_with_agreeing_witnesses_is_clean_and_proves_each_market():
    report = build_report(good_run().events, swept(6), names={1: "quote_maker"})
    assert (report.verdict, report.clean, report.breaks) == ("clean", True, 0)
    assert (report.orders, report.fills, report.open_orders) == (2, 3, 0)
    (proof,) = report.proofs
    assert (proof.opening, proof.fills, proof.closing, proof.venue, proof.exec_id, proof.ok) == (
        200,
        0,
        200,
        200,
        "3;1",
        True,
    )


def test_numbers_of_each_strategy_are_exact():
    report = build_report(good_run().events, swept(6), names={1: "quote_maker"})
    lines = {line.name: line for line in report.lines}
    assert list(lines) == ["foreign", "quote_maker", "slot 2"]
    maker = lines["quote_maker"]
    assert (maker.orders, maker.fills, maker.bought, maker.sold, maker.qty) == (1, 2, 300, 200, 100)
    assert (maker.taker, maker.maker, maker.fees) == (300, 0, 1500)
    assert maker.volume == 300 * 100_000 + 200 * 100_001
    assert maker.realised == 200  # two contracts, a tick each: 0.0002 dollar
    assert (lines["slot 2"].maker, lines["slot 2"].fees, lines["slot 2"].qty) == (100, -7, -100)
    assert report.fees == 1493


def test_contract_multiplier_counts_in_money():
    report = build_report(good_run().events, swept(6), multipliers={"BTC-PERP": 10})
    assert report.lines[1].realised == 2000


def test_text_says_the_verdict_first_and_hides_nothing_below_a_cent():
    text = render_text(
        build_report(good_run().events, swept(6), names={1: "quote_maker", 2: "taker"}, run="demo")
    )
    lines = text.splitlines()
    assert lines[0] == "Reconciliation demo: CLEAN"
    assert lines[1] == "2025-11-24T10:00:01.000Z to 2025-11-24T10:00:06.000Z"
    assert lines[2] == "2 orders, 3 fills, 0 open, volume $61.0052, fees $0.001493, realised $0.0002"
    assert "BTC-PERP     2.00     0.00       2.00     2.00  3;1  ok" in text


def test_a_position_that_the_venue_does_not_confirm_is_a_break():
    tape = Tape().submit("a").trade("a", "1;1", venue=300)
    report = build_report(tape.events, swept(2))
    assert report.verdict == "breaks"
    assert [(note.break_id, note.text) for note in report.break_list] == [
        ("position-1.1-BTC-PERP", "own sum 1.00, the venue says 3.00")
    ]


def test_the_newest_exec_id_is_the_venues_last_word_not_the_newest_row():
    tape = Tape().submit("a")
    tape.trade("a", "10;1", venue=200).trade("a", "9;1", venue=100, source=Source.RECOVERED)
    assert build_report(tape.events, swept(3, mark="10;1")).clean


def test_an_accepted_position_is_a_correction_not_a_fill():
    tape = Tape().opening(0, 0).submit("a").trade("a", "1;1", venue=300)
    tape.opening(300, 30_000_000, source=Source.OPERATOR)
    report = build_report(tape.events, swept(4))
    (proof,) = report.proofs
    assert (proof.opening, proof.corrections, proof.fills, proof.closing, proof.ok) == (
        0,
        200,
        100,
        300,
        True,
    )


def test_breaks_that_drop_copy_left_open_count_and_closed_ones_do_not():
    def note(break_id, status):
        return BreakNote(break_id=break_id, kind="missing_here", status=status, wall_ns=START)

    records = [note("a", "open"), note("b", "open"), note("a", "closed"), *swept(2)]
    records.append(RecoveredNote(wall_ns=START, exec_id="1;1", cl_ord_id="a", symbol="", exec_type="F"))
    report = build_report(Tape().submit("a").trade("a", "1;1").events, records)
    assert ([one.break_id for one in report.break_list], report.closed_breaks) == (["b"], {"missing_here": 1})
    assert report.recovered == 1


def test_a_cut_tail_of_the_order_journal_shows():
    """Its own hash chain can't show it; drop copy had seen more."""
    report = build_report(Tape().submit("a").trade("a", "1;1").events, swept(5))
    assert [note.break_id for note in report.break_list] == ["gap-journal-tail"]


def test_executions_without_a_complete_sweep_are_not_clean():
    tape = Tape().submit("a").trade("a", "1;1")
    assert [note.break_id for note in build_report(tape.events, []).break_list] == ["gap-never-swept"]
    assert build_report([], []).clean


def test_a_hole_in_the_tape_and_a_second_row_of_one_exec_id_are_breaks():
    tape = Tape().submit("a").trade("a", "1;1").trade("a", "1;1")
    del tape.events[0]
    report = build_report(tape.events, swept(3))
    assert [note.break_id for note in report.break_list] == [
        "gap-tape-1",
        "missing_order-a",
        "position-1.1-BTC-PERP",
        "duplicate-1.1",
    ]


def test_open_and_unknown_orders_are_listed():
    tape = Tape().submit("a").add(EventKind.NEW, OrderState.NEW, "a", exec_id="1;1", leaves_qty=500)
    tape.submit("b").add(EventKind.UNKNOWN, OrderState.UNKNOWN, "b")
    report = build_report(tape.events, swept(4))
    assert (report.open_orders, report.unknown_orders) == (2, 1)
    assert [order.order for order in report.resting] == ["a", "b"]


def test_reports_newer_than_the_watermark_are_counted_as_unconfirmed():
    tape = Tape().submit("a").trade("a", "9;1").trade("a", "9;2").trade("a", "1;1;1", symbol="X", venue=100)
    report = build_report(tape.events, swept(4))
    assert (report.unconfirmed, report.clean) == (2, True)


def test_the_same_journals_give_the_same_report():
    one, two = (build_report(good_run().events, swept(6)) for _ in range(2))
    assert reconcile.render_json(one) == reconcile.render_json(two)


def test_hundred_thousand_executions_take_one_pass():
    tape = Tape().submit("a")
    for no in range(1, 100_001):
        tape.trade("a", f"{no};1", side=1 + no % 2)
    began = time.process_time()
    report = build_report(tape.events, swept(100_001, mark="100000;1"))
    assert time.process_time() - began < 10
    assert (report.fills, report.unconfirmed, report.clean) == (100_000, 0, True)


# ---- the tool


@pytest.fixture
def run_dir(tmp_path):
    def write(events, records, config=None):
        for name, entries in (("order_entry", events), ("drop_copy", records)):
            journal = Journal(str(tmp_path / "state" / f"{name}.sqlite"))
            if entries:
                journal.append(
                    [Entry(entry, "", getattr(entry, "exec_id", "") or None) for entry in entries], START
                )
            journal.close()
        if config is not None:
            (tmp_path / "config.json").write_text(json.dumps(config))
        return str(tmp_path)

    return write


CONFIG = {
    "strategies": {"quote_maker": {"slot": 1}},
    "instruments": {"BTC-PERP": {"contract_multiplier": 10}},
}


def test_report_of_a_clean_run_exits_0(run_dir, capsys):
    directory = run_dir(good_run().events, swept(6), CONFIG)
    assert reconcile.main(["report", "--run", directory]) == 0
    out = capsys.readouterr().out
    assert "CLEAN" in out.splitlines()[0]
    assert "quote_maker" in out
    head = reconcile.report_for_run(directory).order_journal_head
    assert len(head) == 64
    assert f"6 rows, head {head}" in out


def test_report_as_json_has_every_number_as_an_exact_int(run_dir, capsys):
    directory = run_dir(good_run().events, swept(6), CONFIG)
    assert reconcile.main(["report", "--run", directory, "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["verdict"], data["fills"], data["realised"]) == ("clean", 3, 2000)


def test_given_names_go_before_the_runs_own(run_dir):
    directory = run_dir(good_run().events, swept(6), CONFIG)
    report = reconcile.report_for_run(directory, {1: "other"})
    assert [line.name for line in report.lines] == ["foreign", "other", "slot 2"]


def test_open_breaks_exit_6_and_show_tells_their_history(run_dir, capsys):
    notes = [
        BreakNote(
            break_id="different-1.1",
            kind="different",
            status="open",
            wall_ns=START,
            exec_id="1;1",
            text="fee one",
        ),
        BreakNote(
            break_id="different-1.1",
            kind="different",
            status="open",
            wall_ns=START,
            exec_id="1;1",
            text="fee two",
        ),
    ]
    directory = run_dir(good_run().events, [*notes[:1], *swept(6)])
    assert reconcile.main(["report", "--run", directory]) == 6
    assert reconcile.main(["breaks", "--run", directory]) == 6
    assert "different-1.1" in capsys.readouterr().out
    assert reconcile.main(["show", "different-1.1", "--run", directory]) == 6
    out = capsys.readouterr().out
    assert "ExecID     1;1" in out
    assert "2025-11-24T10:00:00.000Z  open: fee one" in out


def test_no_such_run_exits_3_and_names_what_is_missing(tmp_path, capsys):
    assert reconcile.main(["report", "--run", str(tmp_path / "none")]) == 3
    assert "no such run" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["bogus"], ["report", "--format", "xml"], ["show"]])
def test_wrong_usage_exits_2(argv, capsys):
    assert reconcile.main(argv) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_unknown_break_id_exits_2(run_dir, capsys):
    assert reconcile.main(["show", "nothing", "--run", run_dir(good_run().events, swept(6))]) == 2


def test_a_damaged_journal_exits_8_and_says_where(run_dir, capsys):
    import sqlite3

    directory = run_dir(good_run().events, swept(6))
    with sqlite3.connect(f"{directory}/state/order_entry.sqlite") as db:
        db.execute("UPDATE journal SET wall_ns = 0 WHERE no = 3")
    db.close()
    assert reconcile.main(["report", "--run", directory]) == 8
    assert "row 3 was changed" in capsys.readouterr().err


def test_a_run_without_drop_copys_journal_is_reported_as_unswept(run_dir, tmp_path, capsys):
    directory = run_dir(good_run().events, [])
    (tmp_path / "state" / "drop_copy.sqlite").unlink()
    assert reconcile.main(["report", "--run", directory]) == 6
    assert "no sweep of drop copy was ever complete" in capsys.readouterr().out


def ids(tape, sweeps, ended):
    return [note.break_id for note in build_report(tape.events, sweeps, ended=ended).break_list]


def test_a_run_that_is_over_may_leave_nothing_unexplained():
    """What is open under `cancel`, unknown under any policy, unconfirmed or unswept is a break of its own."""
    assert ids(good_run(), swept(6, "9;1"), "cancel") == []
    resting = good_run().submit("c")
    assert ids(resting, swept(7, "9;1"), "cancel") == ["order-c"]
    assert ids(resting, swept(7, "9;1"), "leave") == []
    assert ids(resting, swept(7, "9;1"), "") == []
    unknown = good_run().submit("c").add(EventKind.UNKNOWN, OrderState.UNKNOWN, "c")
    assert ids(unknown, swept(8, "9;1"), "leave") == ["order-c"]
    assert ids(good_run(), swept(6, "2;1"), "cancel") == ["gap-unconfirmed"]
    failed = [
        *swept(6, "9;1"),
        SweepEnded(no=2, began_ns=START, wall_ns=START, wanted=2, complete=False, tape_no=6),
    ]
    assert ids(good_run(), failed, "cancel") == ["gap-last-sweep"]
    assert ids(good_run(), failed, "") == []


def test_fills_that_are_missing_at_the_end_are_a_break():
    """CumQty told of them, the journal does not have them; made whole, there is none."""
    short = good_run().submit("c").add(EventKind.CANCELED, OrderState.CANCELED, "c", missing_qty=300)
    (found,) = build_report(short.events, swept(8, "9;1"), ended="leave").break_list
    assert (found.break_id, found.text) == (
        "order-fills-c",
        "by CumQty 3.00 more were filled than the journal has",
    )
    short.trade("c", "8;1", qty=300, state=OrderState.CANCELED, source=Source.RECOVERED)
    assert "order-fills-c" not in ids(short, swept(9, "9;1"), "leave")
