"""The table of docs/guard.md is complete: every control that can say no has its duty and its accident."""

import ast
import os

from engine.guard import limits
from engine.guard.duties import DUTIES
from engine.tools.docs_gen import ROOT

SAYS = {"breakers.py": ("_judge", "_policy")}
NAMED = {duty.control for duty in DUTIES}


def test_every_control_of_the_chain_has_a_row(rig):
    chain = limits.controls(
        rig.guard.gate, rig.guard.budget, rig.config.risk, rig.guard.groups, (rig.guard.margin,)
    )
    assert {control.name for control in chain} <= NAMED
    assert limits.Repeats.name in NAMED and limits.Duplicate.name in NAMED


def test_every_name_that_a_refusal_or_a_breaker_gives_has_a_row():
    """Read from the source: the first argument of Breach and of the breakers' judgements."""
    said = set()
    folder = os.path.join(ROOT, "engine", "guard")
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".py"):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            called = getattr(node, "func", None)
            label = getattr(called, "id", "") or getattr(called, "attr", "")
            if label in SAYS.get(name, ("Breach",)) and node.args and isinstance(node.args[0], ast.Constant):
                said.add(node.args[0].value)
    assert {"silent", "slot", "reject_rate", "liquidation"} <= said
    # what became of an approved command is no control: order entry's own words, and unknown orders
    assert said - NAMED <= {"unknown_order", "lost", "queue", "superseded"}


def test_every_row_names_each_duty_and_an_accident():
    for duty in DUTIES:
        assert all((duty.sec, duty.rts6, duty.fia, duty.accident, duty.scopes, duty.unit, duty.hard)), (
            duty.control
        )
        assert duty.source.__doc__, duty.control


def test_every_control_says_what_it_protects_from_its_unit_and_its_source():
    for name, control in vars(limits).items():
        if isinstance(control, type) and hasattr(control, "check") and name != "Control":
            doc = control.__doc__
            assert doc.startswith("Protects"), name
            assert "Unit" in doc or "No unit" in doc, name
            assert "Source" in doc, name
