"""`scripts/bench` measures every chain and writes what it measured; nothing here looks at how fast it was."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_chain_is_measured_beside_its_floor_and_written_as_json(tmp_path):
    """Engine, and engine without journal, each beside the bare chain: one short round."""
    target = tmp_path / "bench.json"
    command = [sys.executable, "-m", "engine", "bench", "--only", "chain", "--rounds", "1", "--count", "20"]
    done = subprocess.run(
        [*command, "--cpu", "-1", "--json", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads(target.read_text())["tick_to_trade"]
    assert measured["p50_ratio"] > 0
    assert measured["p50_ratio_no_journal"] > 0
    assert measured["p99_ratio"] > 0
    chains = {"bare chain", "engine", "bare chain beside engine, no journal", "engine, no journal"}
    assert set(measured["p50_us"]) == chains


def test_the_guards_decision_is_measured_and_written_as_json(tmp_path):
    """An order that passes every control; what is measured is said with its count."""
    target = tmp_path / "bench.json"
    command = [
        sys.executable,
        "-m",
        "engine",
        "bench",
        "--only",
        "guard",
        "--cpu",
        "-1",
        "--json",
        str(target),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads(target.read_text())["guard"]
    assert 0 < measured["decision_us"] <= measured["decision_p99_us"]
    assert measured["count"] == 5000
