"""The README says what is so."""

import os
import re
import sys
import types

import msgspec
import pytest

from engine import cli, config_loader
from engine.config import StrategyConfig
from engine.strategy.api import Strategy
from engine.tools.docs_gen import ROOT
from engine.tools.simulate import simulate

PAGES = (
    "README.md",
    "docs/architecture.md",
    "docs/bus.md",
    "docs/orders.md",
    "configs/README.md",
    "CHANGELOG.md",
)


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def block(language):
    return text_of("README.md").partition(f"```{language}\n")[2].partition("```")[0]


@pytest.fixture
def joiner(tmp_path, monkeypatch):
    """The README's strategy, as a file of a user's."""
    from engine.strategy.loader import load_strategy

    (tmp_path / "joiner.py").write_text(block("python"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return load_strategy("joiner", "joiner:Joiner", tmp_path)


def test_the_strategy_in_twenty_lines_trades(joiner, monkeypatch):
    """The code and the table of the README as they stand, beside the demo's strategies; and it agrees with the venue."""
    import tomllib

    code = [line for line in block("python").splitlines() if line.strip()]
    assert len(code) <= 20
    assert issubclass(joiner, Strategy)
    monkeypatch.chdir(ROOT)
    demo = config_loader.load("configs/demo.toml")
    table = msgspec.convert(tomllib.loads(block("toml"))["strategies"]["joiner"], StrategyConfig)
    config = msgspec.structs.replace(demo, strategies={**demo.strategies, "joiner": table})
    outcome = simulate(config, seed=1, seconds=20, strategies={"joiner": joiner})
    assert outcome.clean, outcome.differences
    rows = [line for line in outcome.report.lines if line.name == "joiner"]
    assert sum(row.fills for row in rows) > 0


def test_links_between_pages_lead_somewhere():
    """Relative links name files that are there."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", text_of(page)):
            path = os.path.join(ROOT, os.path.dirname(page), target)
            assert os.path.exists(path), f"{page}: {target}"


def test_every_script_that_is_named_is_there():
    """And every script is named."""
    named = set(re.findall(r"scripts/([a-z]+)", text_of("README.md")))
    there = {name for name in os.listdir(os.path.join(ROOT, "scripts")) if not name.startswith("_")}
    assert named <= there
    assert there - named <= {"check"}


def test_every_launch_option_of_the_changelog_is_one(capsys):
    """By the command's own help."""
    with pytest.raises(SystemExit):
        cli.main(["launch", "--help"])
    text = capsys.readouterr().out
    for option in re.findall(r"`(--[a-z-]+)`", text_of("CHANGELOG.md")):
        assert option in text
    assert isinstance(cli, types.ModuleType)
