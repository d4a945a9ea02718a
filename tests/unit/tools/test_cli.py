"""The command line: one clear message and an exit code for each mistake, never a traceback."""

import os
import re
import subprocess
import sys

import pytest

from engine import __version__, cli, errors
from engine.errors import EXIT_CONFIG, EXIT_NOT_RUNNING, EXIT_OK, EXIT_USAGE, UsageError
from engine.tools.arguments import duration
from engine.tools.docs_gen import ROOT

DEMO = os.path.join(ROOT, "configs", "demo.toml")


@pytest.fixture(autouse=True)
def in_the_clone(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_help_names_every_command(capsys):
    """With --help it is no error; with nothing it is."""
    assert cli.main(["--help"]) == EXIT_OK
    text = capsys.readouterr().out
    for command in (
        "launch",
        "check",
        "tail",
        "ctl",
        "reconcile",
        "journal",
        "venue",
        "bench",
        "simulate",
        "chaos",
        "docs",
    ):
        assert f"  {command} " in text
    assert cli.main([]) == EXIT_USAGE
    assert cli.main(["--version"]) == EXIT_OK
    assert capsys.readouterr().out.endswith(f"{__version__}\n")


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["lanuch"], EXIT_USAGE, "error: there is no command 'lanuch'; did you mean launch?\n"),
        (["launch", DEMO, "--for", "soon"], EXIT_USAGE, "error: 'soon' is no duration: write it as 30s, 10m, 1h or 500ms\n"),
        (["launch", "/nowhere.toml"], EXIT_CONFIG, "error: /nowhere.toml: there is no such configuration file\n"),
        (["check", DEMO, "--set", "engine.shutdown=x"], EXIT_CONFIG, f"error: {DEMO}: engine.shutdown: 'x' is not one of cancel, leave\n"),
        (["journal", "verify", "--run", "/nowhere"], EXIT_NOT_RUNNING, "error: /nowhere: no such run (there is no /nowhere/state)\n"),
        (["reconcile", "report", "--run", "/nowhere"], EXIT_NOT_RUNNING, "error: /nowhere: no such run (there is no /nowhere/state/order_entry.sqlite)\n"),
        (["simulate", os.path.join(ROOT, "configs", "kalshi-demo.toml")], EXIT_CONFIG, None),
    ],
)  # fmt: skip
def test_a_mistake_is_one_message_and_an_exit_code(capsys, argv, code, text):
    """On standard error, nothing on standard output."""
    assert cli.main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == text if text else captured.err.startswith("error: ")


def test_check_starts_nothing_and_says_that_all_is_good(capsys):
    """Configuration, keys and strategies, each strategy loaded in a process of its own."""
    assert cli.main(["check", DEMO]) == EXIT_OK
    assert capsys.readouterr().out.endswith("are good; nothing was started\n")


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("strategies.quote_maker.strategy=quote_maker:Nothing", "strategies.quote_maker (quote_maker:Nothing): "),
        ("strategies.quote_maker.strategy=nowhere:Thing", "there is no module 'nowhere'"),
        ("strategies.quote_maker.config.egde=1", "unknown key 'egde'"),
        ("strategies.quote_maker.config.qty=0", "qty = 0: at least 1 contract"),
    ],
)  # fmt: skip
def test_check_names_a_strategy_that_does_not_fit(capsys, override, text):
    """A class that isn't there, a setting that the class does not take."""
    assert cli.main(["check", DEMO, "--set", override]) == EXIT_CONFIG
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error


def test_a_reader_that_goes_away_is_no_traceback():
    """As in `| head`."""
    command = [
        sys.executable,
        "-c",
        "import sys; from engine.cli import main; sys.exit(main(['docs', '--help']))",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=20, check=False)
    assert done.returncode == 0
    assert "--check" in done.stdout
    broken = f"{sys.executable} -m engine reconcile --help | true"
    done = subprocess.run(
        ["bash", "-c", broken], capture_output=True, text=True, cwd=ROOT, timeout=20, check=False
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("1h", 3600), ("500ms", 0.5), ("7", 7), ("1.5s", 1.5)]
)
def test_durations(text, seconds):
    """As people write them."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "1 s", "1e3"])
def test_what_is_no_duration_is_refused(text):
    """And named."""
    with pytest.raises(UsageError, match="is no duration"):
        duration(text)


def test_the_documented_exit_codes_are_those_of_the_code():
    """docs/architecture.md lists each, and no other."""
    with open(os.path.join(ROOT, "docs", "architecture.md"), encoding="utf-8") as file:
        table = file.read().partition("## Exit codes")[2].partition("## ")[0]
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert listed == sorted(value for name, value in vars(errors).items() if name.startswith("EXIT_"))
