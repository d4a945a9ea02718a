"""Whatever the order in which reports come, however often, by whom: the same end; and the journal gives it again."""

import random

import pytest

from engine.messages.executions import TERMINAL, RecoveredReports, SweepDone
from engine.order_entry.reports import copy_of


def reports_of(rig, order, replace, cancel, rng):
    """What a venue could report of an order of 10 contracts with a replace to 15 and a cancel in flight."""
    out, cum, total, current = [], 0, 1000, order
    if rng.random() < 0.3:
        out.append(rig.make(order, "A", "A", "-1;-1"))
    if rng.random() < 0.7:
        out.append(rig.make(order, "0", "0", leaves_qty=1000))
    for step in range(rng.randrange(4)):
        if step == 1 and rng.random() < 0.6:
            current, total = replace, 1500
            leaves = total - cum
            out.append(rig.make(replace, "5", "0", orig_cl_ord_id=order, cum_qty=cum, leaves_qty=leaves))
        cum += 100
        fields = {"last_qty": 100, "last_px": 195_000, "cum_qty": cum, "leaves_qty": total - cum}
        out.append(rig.make(current, "F", "1", **fields))
    end = rng.choice(["fill", "cancel", "expire"])
    if end == "fill":
        out.append(rig.make(current, "F", "2", last_qty=total - cum, last_px=195_000, cum_qty=total))
    elif end == "cancel":
        out.append(rig.make(cancel, "4", "4", orig_cl_ord_id=current, cum_qty=cum))
    else:
        out.append(rig.make(current, "C", "C", cum_qty=cum))
    return out


def conclude(rig, order: str) -> None:
    """Bring an order to an end by our own conclusion: the venue denies it, and drop copy shows nothing of it."""
    rig.drop()
    rig.logon()
    for _ in range(3):
        rig.wait(40)
        for request_id, pending in list(rig.oe.ledger.find(order).requests.items()):
            if not pending.replace:
                rig.cancel_reject(request_id, order, 1, "unknown order")
    for ask in rig.oe.recovery.asks.values():
        if ask.order == order:
            rig.ask(SweepDone(wanted=ask.sweep, complete=True))
            break


def run(make_rig, seed: int, *, scramble: bool, wrong: bool = False):
    rng = random.Random(seed)
    rig = make_rig().up()
    lives = []
    for _ in range(3):
        order = rig.new()
        lives.append((order, rig.replace(order, 1500), rig.cancel(order)))
    reports = [report for life in lives for report in reports_of(rig, *life, rng)]
    if scramble:
        reports += rng.choices(reports, k=6)
        rng.shuffle(reports)
    at = rng.randrange(len(reports) // 4 + 1) if wrong else -1
    for no, report in enumerate(reports):
        if no == at:
            for order, _, _ in lives:
                conclude(rig, order)
        if scramble and rng.random() < 0.3 and report.exec_id != "-1;-1":
            rig.ask(RecoveredReports(reports=[copy_of(report)]))
        else:
            rig.app(report)
        if scramble and rng.random() < 0.1:
            rig.drop()
            rig.logon()
        if scramble and rng.random() < 0.2:
            rig.wait(rng.randrange(40))
    orders = [rig.oe.ledger.find(order).event for order, _, _ in lives]
    assert all(event.state in TERMINAL and event.leaves_qty == 0 for event in orders)
    assert rig.oe.ledger.orders == {} and rig.oe.recovery.asks == {}
    ends = [(event.order, event.state, event.cum_qty, event.qty, event.cl_ord_id) for event in orders]
    return rig, (ends, rig.oe.ledger.positions.qty("BTC-PERP"))


@pytest.mark.parametrize("seed", range(60))
def test_any_arrival_of_valid_reports_ends_the_same_and_replays(make_rig, seed) -> None:
    """Permuted, duplicated, partly recovered, with lost sessions between: state, CumQty, terms and position agree."""
    _, plain = run(make_rig, seed, scramble=False)
    rig, scrambled = run(make_rig, seed, scramble=True)
    assert scrambled == plain
    rig.restarted()


@pytest.mark.parametrize("seed", range(60))
def test_a_wrong_conclusion_at_any_time_changes_no_end(make_rig, seed) -> None:
    """What the venue tells afterwards, in any order, overrides it: the same end as without it, nothing left open."""
    _, plain = run(make_rig, seed, scramble=False)
    rig, scrambled = run(make_rig, seed, scramble=True, wrong=True)
    assert any(event.kind == "resolved" for event in rig.tape)
    assert scrambled == plain
    rig.restarted()


@pytest.mark.parametrize("seed", range(20))
def test_the_same_inputs_give_the_same_trace(make_rig, seed) -> None:
    """Nothing random or unordered decides: two runs emit the same, in the same order."""
    first, _ = run(make_rig, seed, scramble=True)
    second, _ = run(make_rig, seed, scramble=True)
    assert first.out.done == second.out.done


@pytest.mark.parametrize("seed", range(30))
def test_the_journal_cut_anywhere_is_a_state_to_start_from(make_rig, seed) -> None:
    """A kill after any commit: the next life doubts what was live, asks, and comes to an end by the venue's word."""
    rng = random.Random(seed)
    rig, _ = run(make_rig, seed, scramble=True)
    cut = rng.randrange(1, len(rig.out.journal))
    again = make_rig(rig.out.journal[:cut]).up()
    for _ in range(40):
        unknown = list(again.oe.ledger.unknown)
        if not unknown:
            break
        again.wait(100)
        for order in unknown:
            for request_id, pending in list(again.oe.ledger.find(order).requests.items()):
                if not pending.replace:
                    again.cancel_reject(request_id, order, 1, "unknown order")
        again.ask(SweepDone(wanted=again.oe.recovery.sweep_wanted, complete=True))
    assert again.oe.ledger.unknown == {} and again.oe.ready
    again.restarted()
