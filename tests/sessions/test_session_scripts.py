"""Every session scenario that is written as text, for each role it names; and that every row has its scripts."""

from pathlib import Path

import pytest
from sessions.ends import OrderEntryEnd, VenueEnd
from sessions.script_runner import Bench, load
from unit.order_entry.conftest import Rig
from unit.venue.venue_world import World, config

HERE = Path(__file__).parent
# The session test cases of the FIX Trading Community as they apply to this venue: number to the roles that must pass.
ROWS = {
    "I": "1.1 1.3 1.8 12.1 12.2 12.3 13.1 13.2",
    "A": "1.2 1.4 1.5 1.6 1.11 6.4 8.4 8.7 14.1 14.2",
    "IA": "1.7 1.9 1.10 2.1 2.2 2.3 2.4 2.5 2.6 2.7 2.8 2.9 2.10 2.11 2.12 2.13 2.14 2.15 2.16 3.1 4.1 4.2 4.3 4.4 4.5 4.6 5.1 6.1 6.2 6.3 7.1 7.2 8.1 8.2 8.3 8.5 8.6 9.1 9.2 9.3 9.4 9.5 10.1 10.2 10.3 10.4 10.5 10.6 10.7 10.8 10.9 10.10 11.1",
}
PLAYS = {"I": "IO", "A": "AV"}  # which ends stand for a role
CASES = [
    pytest.param(path, role, kind, lines, id=f"{role} {kind} {name}")
    for path in sorted(HERE.glob("*.txt"))
    for name, roles, kind, lines in load(path)
    for role in roles
]


def end_of(role, kind):
    """Return what plays the role: a session, order entry as a whole, or the venue's gateways."""
    match role:
        case "O":
            return OrderEntryEnd(kind, lambda changes: Rig(session=changes).config)
        case "V":
            return VenueEnd(kind, lambda changes, wall: World(config(**changes), now=wall))
        case _:
            return Bench(role, kind)


@pytest.mark.parametrize(("path", "role", "kind", "lines"), CASES)
def test_scenario(path, role, kind, lines):
    end = end_of(role, kind)
    for number, line in lines:
        end.run(line, f"{path.name}:{number}")
    end.settle(f"{path.name}:{lines[-1][0]} (end)")


@pytest.mark.parametrize(("roles", "numbers"), ROWS.items())
def test_every_row_has_a_script_for_each_role_it_names(roles, numbers):
    there = {(case.id.split(" ")[2], case.id[0]) for case in CASES}
    missing = [
        f"{number} {role}"
        for number in numbers.split()
        for role in roles
        if not any((number, end) in there for end in PLAYS[role])
    ]
    assert not missing, missing
