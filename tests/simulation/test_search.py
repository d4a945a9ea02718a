"""Seeded fault schedules: kills, cuts, losses, stops, a misbehaving venue; in the end all agree, and nothing broke on the way."""

import functools

import pytest

from engine import cli, config_loader
from engine.tools.docs_gen import ROOT
from engine.tools.simulation.run import run
from engine.tools.simulation.settings import drawn

SEEDS = 100
SECONDS = 20.0
AT_ONCE = 10


@functools.cache
def demo():
    return config_loader.load(f"{ROOT}/configs/demo.toml", [])


@pytest.mark.parametrize("first", range(1, SEEDS + 1, AT_ONCE))
def test_no_schedule_of_faults_breaks_an_invariant_or_leaves_a_difference(first):
    """On a failure: scripts/simulate --seed SEED --minutes 0.3333333333333333."""
    outcomes = [run(demo(), seed, SECONDS) for seed in range(first, first + AT_ONCE)]
    failed = [f"seed {outcome.seed}: {outcome.violation}" for outcome in outcomes if outcome.violation]
    assert not failed, "\n".join(failed)
    assert sum(sum(outcome.faults.values()) for outcome in outcomes) > 10 * AT_ONCE
    assert sum(outcome.fills for outcome in outcomes) > 5 * AT_ONCE


def test_one_seed_with_faults_happens_again_exactly():
    first, again, other = (run(demo(), seed, SECONDS) for seed in (11, 11, 12))
    assert (first.trace_hash, first.steps) == (again.trace_hash, again.steps)
    assert first.trace_hash != other.trace_hash


def test_settings_are_drawn_from_the_seed_and_differ():
    configs = [drawn(demo(), seed)[0] for seed in range(20)]
    assert drawn(demo(), 3)[0] == configs[3]
    assert {c.sessions.order_entry.target_comp_id for c in configs} == {"KalshiNR", "KalshiRT"}
    assert {c.engine.shutdown for c in configs} == {"cancel", "leave"}


def test_the_command_replays_a_seed_with_a_trace_to_read(capsys):
    assert cli.main(["simulate", f"{ROOT}/configs/demo.toml", "--seed", "11", "--minutes", "0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("35=D|" in line for line in lines) and any(" fault " in line for line in lines)
    assert lines[-1].startswith("seed 11, ")


def test_the_command_searches_on_all_cores_and_prints_its_rate(capsys):
    assert (
        cli.main(
            [
                "simulate",
                f"{ROOT}/configs/demo.toml",
                "--seeds",
                "2",
                "--first-seed",
                "11",
                "--minutes",
                "0.1",
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "2/2 seeds" in out and "times real time" in out and "no violation in 2 seeds" in out
