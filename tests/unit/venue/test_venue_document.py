"""docs/venue.md says what is so: its tests exist, every switch and every fault is in it."""

import os
import re

import msgspec

from engine.config import VenueConfig
from engine.venue.faults import KINDS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def read(*parts):
    with open(os.path.join(ROOT, *parts), encoding="utf-8") as file:
        return file.read()


def test_every_test_that_the_document_names_exists():
    known = set()
    for folder in ("unit/venue", "golden", "integration", "simulation"):
        for name in os.listdir(os.path.join(ROOT, "tests", folder)):
            if name.endswith(".py"):
                known.update(re.findall(r"^def (test_\w+)", read("tests", folder, name), re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", read("docs", "venue.md"))) - set(KINDS)
    assert sorted(named - known) == []
    assert len(named) > 70


def test_every_key_of_the_venue_is_in_the_document():
    text = read("docs", "venue.md")
    assert [f.name for f in msgspec.structs.fields(VenueConfig) if f"`{f.name}`" not in text] == []


def test_every_kind_of_fault_is_in_the_document():
    text = read("docs", "venue.md")
    assert [kind for kind in KINDS if f"| `{kind}` |" not in text] == []
