"""`kill -9` of the supervisor: the processes end by themselves in safe order, and the next launch goes on from the journals."""

import os
import signal

from integration.harness import DEMO, assert_equal_to_venue, command, wait_for


def test_the_processes_end_by_themselves_and_the_next_engine_goes_on(launch):
    """Strategies first, the venue last, nothing rests; meanwhile no second engine gets in; then the state is taken up."""
    engine = launch("--plain", "--json")
    engine.until_trading()
    engine.until_fills()
    engine.until_reconciled()
    before = engine.truth()
    os.kill(engine.process.pid, signal.SIGKILL)
    engine.process.wait()
    order = _watch_the_end(engine)
    assert order[-1] == "venue"
    assert order.index("strategy.quote_maker") < order.index("order_entry") < order.index("guard")
    for name in ("strategy.quote_maker", "guard", "order_entry", "drop_copy", "market_data", "venue"):
        assert "the supervisor is gone: shutting down in safe order" in engine.log(name)

    again = launch("--plain", "--json", run=engine.run)
    again.until_said(f"the engine before this one (pid {engine.process.pid}) did not end properly")
    again.until_trading()
    truth, _ = assert_equal_to_venue(again)
    assert truth.fills >= before.fills > 0
    again.until_trading()
    again.interrupt()
    assert again.wait() == 0, again.said
    summary = again.summary()
    assert (summary["clean"], summary["open_orders"]) == (True, 0)
    assert summary["fills"] >= truth.fills


def _watch_the_end(engine):
    """Return the processes' names in the order in which they began to end, having seen that the venue kept no order.

    The order is that of their own logs: several may end between two looks of ours.
    """
    ended, left, checked = [], set(engine.living().values()), []

    def over():
        now = set(engine.living().values())
        ended.extend(title.partition(": ")[2] for title in sorted(left - now))
        left.intersection_update(now)
        if "order_entry" not in ended and not checked:
            done = command("launch", DEMO, "--run", engine.run, "--plain")
            assert done.returncode == 1 and "its processes have not ended yet" in done.stderr
            checked.append("refused")
        if "order_entry" in ended and "venue" not in ended and len(checked) == 1:
            truth = engine.truth()
            assert truth is not None and truth.orders == []
            checked.append("nothing rests")
        return not left

    wait_for("the end of all processes", over, 20, seen=lambda: (ended, left))
    assert checked == ["refused", "nothing rests"]
    return sorted(ended, key=lambda name: _stopped_at(engine, name))


def _stopped_at(engine, name):
    return next(line for line in engine.log(name).splitlines() if " stopping: " in line).split(" ")[0]
