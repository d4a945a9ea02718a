"""A whole engine on virtual time: the demo trades, ends flat in orders, and agrees with the venue to the cent."""

import json
import os

import pytest

from engine import cli, config_loader
from engine.tools.docs_gen import ROOT
from engine.tools.simulate import simulate


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.chdir(ROOT)
    return config_loader.load(os.path.join("configs", "demo.toml"))


def test_the_demo_agrees_with_the_venue(demo):
    """Positions, cash, fees and open orders, after a stop in safe order."""
    outcome = simulate(demo, seed=1, seconds=15)
    assert outcome.differences == []
    assert outcome.quiesced
    assert outcome.clean
    assert outcome.report.fills > 0
    assert outcome.report.open_orders == 0


def test_one_seed_gives_one_trace(demo):
    """And another seed another."""
    first, again, other = (simulate(demo, seed, 3).trace_hash for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_the_outcome_is_one_line_of_json(demo, capsys):
    """With what a script wants to know."""
    assert cli.main(["simulate", "configs/demo.toml", "--for", "3s", "--seed", "2", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    answer = json.loads(line)
    assert answer["clean"] is True
    assert answer["breaks"] == 0
    assert answer["differences"] == []
    assert len(answer["trace"]) == 64
