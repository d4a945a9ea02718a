"""Seeded fault schedules: kills, cuts, losses, stops, a misbehaving venue; in the end all agree, and nothing broke on the way."""

import functools
import os
import random
import re
import subprocess

import pytest
from simulation.test_planted_bugs import skips_the_journal

from engine import cli, config_loader
from engine.tools.docs_gen import ROOT
from engine.tools.simulation import faults, venue_faults
from engine.tools.simulation.coverage import expected_kinds
from engine.tools.simulation.run import run
from engine.tools.simulation.settings import drawn
from engine.tools.simulation.swarm import swarmed
from engine.venue.faults import KINDS

SEEDS = 100
SECONDS = 30.0
AT_ONCE = 10


@functools.cache
def demo():
    return config_loader.load(f"{ROOT}/configs/demo.toml", [])


@functools.cache
def outcomes_of(first):
    return [run(demo(), seed, SECONDS) for seed in range(first, first + AT_ONCE)]


@pytest.mark.parametrize("first", range(1, SEEDS + 1, AT_ONCE))
def test_no_schedule_of_faults_breaks_an_invariant_or_leaves_a_difference(first):
    """On a failure: scripts/simulate --seed SEED --minutes 0.5."""
    outcomes = outcomes_of(first)
    failed = [f"seed {outcome.seed}: {outcome.violation}" for outcome in outcomes if outcome.violation]
    assert not failed, "\n".join(failed)
    assert sum(sum(outcome.faults.values()) for outcome in outcomes) > 10 * AT_ONCE
    assert sum(outcome.fills for outcome in outcomes) > 5 * AT_ONCE


def test_one_seed_with_faults_happens_again_exactly():
    first, again, other = (run(demo(), seed, 10.0) for seed in (11, 11, 12))
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


def test_a_search_that_finds_something_says_which_seed_first_and_shows_its_trace(monkeypatch, capsys):
    """Exit code 1; the trace that is shown is of the same run, by its hash."""
    skips_the_journal(monkeypatch)
    command = ["simulate", "--seeds", "2", "--first-seed", "11", "--minutes", "0.1", "--jobs", "1"]
    assert cli.main(command) == 1
    out = capsys.readouterr().out
    assert (
        "2 of 2 seeds failed: [11, 12]" in out
        and "all of it: scripts/simulate --seed 11 --minutes 0.1" in out
    )
    assert "VIOLATION  invariant 2: 35=D" in out and " guard > order_entry: approved " in out
    found = re.search(r"seed 11 after .* \(trace (\w+)\)", out)
    assert found is not None and f"seed 11, trace {found[1]} (the same)" in out


def test_a_seed_is_one_trace_whatever_the_hashes_of_a_process(tmp_path):
    """Another process with other string hashes: no set's order may reach the trace."""
    traces = set()
    for hashes in ("1", "2"):
        done = subprocess.run(
            [f"{ROOT}/scripts/simulate", "--seed", "11", "--minutes", "0.2", "--trace", "none"],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        traces.add(done.stdout.splitlines()[-1])
    assert len(traces) == 1


def test_every_kind_of_fault_takes_effect_within_the_schedules_of_the_suite():
    """Not only drawn: a process died, a report was lost, an order was refused, an operator was obeyed."""
    struck: set[str] = set()
    for first in range(1, SEEDS + 1, AT_ONCE):
        for outcome in outcomes_of(first):
            struck |= outcome.faults.keys()
    assert sorted(expected_kinds() - struck) == []


def test_all_that_the_venue_can_be_told_to_do_is_drawn():
    assert set(venue_faults.WEIGHTS) == set(KINDS) - set(venue_faults.NEVER)
    assert all(callable(getattr(faults.FaultPlan, f"_{kind}")) for kind in faults.WEIGHTS)


def test_each_seed_has_faults_of_its_own():
    """Some kinds never, others often; every kind in some seed, and all kinds together in some."""
    drawn_weights = [swarmed(faults.WEIGHTS, random.Random(seed)) for seed in range(100)]
    assert all(drawn_weights) and any(set(each) == set(faults.WEIGHTS) for each in drawn_weights)
    assert any(len(each) < len(faults.WEIGHTS) // 3 for each in drawn_weights)
    assert all(any(kind not in each for each in drawn_weights) for kind in faults.WEIGHTS)
