"""A snapshot of the order journal, made while the engine trades, and used by the next start of order entry."""

import os
import re
import shutil

from integration.harness import FAST, assert_equal_to_venue, wait_for

from engine import config_loader
from engine.runtime import factory, snapshots
from engine.runtime.journal import Journal

TAKEN = re.compile(r"order_entry: journal: state of row (\d+) by its snapshot, (\d+) rows replayed")


def replayed(run, directory, *, by_snapshot):
    """Return (row of the snapshot that was used, digest of the state) of a copy of the journal."""
    os.makedirs(directory)
    for name in os.listdir(os.path.join(run, "state")):
        if name.startswith("order_entry.sqlite") or (by_snapshot and name == "order_entry.snapshot"):
            shutil.copy(os.path.join(run, "state", name), directory)
    with open(os.path.join(run, "config.json"), "rb") as file:
        actor = factory.build_for_replay("order_entry", config_loader.decode(file.read()))
    journal = Journal(os.path.join(directory, "order_entry.sqlite"))
    assert snapshots.replay(journal, actor, factory.entry_types("order_entry")) == ""
    journal.close()
    return journal.snapshot_no, actor.state_digest()


def test_a_snapshot_is_made_while_it_trades_and_the_next_start_goes_on_from_it(launch, tmp_path):
    """Nothing is lost by it, and the state is that of a replay of every row."""
    engine = launch("--plain", "--json", changes=FAST | {"engine.snapshot_rows": 100})
    engine.until_trading()
    engine.until_said("order_entry: journal: state of row 0 by its snapshot, 0 rows replayed")
    engine.until_reconciled()
    engine.until_said("order_entry: a snapshot of the journal was made, of row", timeout=60)
    engine.until_fills()
    mark = engine.mark()
    engine.kill("order_entry")
    restart = wait_for("the restart", lambda: TAKEN.search(engine.since(mark)), 15, engine._seen)
    row = int(restart[1])
    assert row >= 100
    engine.until_trading(30)
    engine.until_fills()
    assert_equal_to_venue(engine)
    engine.interrupt()
    assert engine.wait(40) == 0, engine.said
    assert engine.summary()["clean"] is True
    used, quick = replayed(engine.run, tmp_path / "quick", by_snapshot=True)
    unused, whole = replayed(engine.run, tmp_path / "whole", by_snapshot=False)
    assert used >= row and unused == 0
    assert quick == whole
