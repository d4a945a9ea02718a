"""`--dry-run`: everything up to the last step; the FIX that would be sent is shown, and nothing reaches KalshiNR."""

import json
import os
import re

from integration.harness import wait_for


def test_a_dry_run_shows_its_orders_and_sends_none(launch):
    """Whole NewOrderSingles of both strategies are shown; the venue has no session, no order and no fill of ours."""
    engine = launch("--plain", "--dry-run")
    engine.until_trading()
    shown = re.compile(r"order_entry: would send: (8=FIXT\.1\.1\|9=\d+\|35=D\|.*\|10=\d{3}\|)$", re.MULTILINE)
    wait_for("orders of both strategies", lambda: {"1", "3"} <= set(re.findall(r"\|59=(\d)\|", " ".join(shown.findall(engine.out)))), 10, seen=engine._seen)  # fmt: skip
    truth = engine.truth()
    assert (truth.fills, truth.orders, truth.exec_ids) == (0, [], [])
    assert engine.orders().orders == []
    venue = engine.child("venue").status.sessions
    assert sorted(name.partition("/")[0] for name in venue) == ["KalshiDC", "KalshiMD"]
    with open(os.path.join(engine.run, "venue", "keys.json"), encoding="utf-8") as file:
        secrets = [record["api_key"] for record in json.load(file)]
    engine.interrupt()
    assert engine.wait() == 0, engine.said
    assert os.path.getsize(os.path.join(engine.run, "logs", "order_entry.fix")) == 0
    texts = [engine.said, *(engine.log(name) for name in ("order_entry", "guard", "venue", "drop_copy"))]
    assert not [secret for secret in secrets for text in texts if secret in text]
