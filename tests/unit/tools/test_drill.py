"""A drill says whether the kill switch held, and never that it failed where nothing was tried."""

from engine.errors import EXIT_FAILURE
from engine.messages.decisions import GuardStatus
from engine.tools import drill


def test_an_engine_without_an_order_is_not_said_to_have_a_broken_kill_switch(
    stand_in, run, monkeypatch, capsys
):
    guard, _ = stand_in("guard"), stand_in("order_entry")
    status = GuardStatus(
        wall_ns=1, gate="PAUSED", epoch=1, tokens=90, tokens_capacity=100, names={}, strategies=[]
    )
    guard.published = [("guard.feed", "status", status)]
    monkeypatch.setattr(drill.Drill._until, "__defaults__", (0.3, 0))
    assert drill.main(run, as_json=False) == EXIT_FAILURE
    said = capsys.readouterr().out
    assert "gate PAUSED, 0 open" in said and "the drill was not begun, nothing was halted" in said
    assert "did not hold" not in said and guard.asked == []
