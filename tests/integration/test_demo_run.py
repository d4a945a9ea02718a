"""The demo from start to end: it trades, ends by itself in safe order, and says how it was."""

import json


def test_demo_trades_and_ends_by_itself_with_a_clean_summary(launch):
    """`--for` ends with exit code 0; the last line of standard output is the summary."""
    engine = launch("--for", "5s", "--json", "--plain")
    assert engine.wait(25) == 0, engine.said
    summary = engine.summary()
    assert summary["clean"] is True
    assert summary["fills"] > 0 and summary["orders"] > 0
    assert (summary["open_orders"], summary["breaks"], summary["restarts"]) == (0, 0, {})
    assert len(engine.out.splitlines()) == 1
    assert engine.living() == {}
    with open(f"{engine.run}/config.json", encoding="utf-8") as file:
        assert json.load(file)["reconciliation"]["sweep_s"] == 1
