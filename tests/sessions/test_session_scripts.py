"""Every session scenario that is written as text, for each role it names."""

from pathlib import Path

import pytest
from sessions.script_runner import load, play

HERE = Path(__file__).parent
CASES = [
    pytest.param(path, role, kind, lines, id=f"{role} {kind} {name}")
    for path in sorted(HERE.glob("*.txt"))
    for name, roles, kind, lines in load(path)
    for role in roles
]


@pytest.mark.parametrize(("path", "role", "kind", "lines"), CASES)
def test_scenario(path, role, kind, lines):
    play(path, role, kind, lines)
