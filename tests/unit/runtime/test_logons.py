"""At most three Logons of a session in any ten seconds, whatever dies in between."""

from types import SimpleNamespace

from engine.common.clock import SECOND
from engine.config import SessionConfig
from engine.runtime.links import Links
from engine.runtime.logons import LogonTimes


def test_three_logons_in_ten_seconds_and_then_a_wait_over_all_lives(tmp_path):
    """Each life reads what the ones before have noted."""
    for second in (100, 101, 102):
        life = LogonTimes(str(tmp_path))
        assert life.wait_ns("order_entry", second * SECOND) == 0
        life.note("order_entry", second * SECOND)
    life = LogonTimes(str(tmp_path))
    assert life.wait_ns("order_entry", 103 * SECOND) == 7 * SECOND
    assert life.wait_ns("listener", 103 * SECOND) == 0, "each session by itself"
    assert life.wait_ns("order_entry", 110 * SECOND) == 0
    life.note("order_entry", 110 * SECOND)
    assert life.wait_ns("order_entry", 110 * SECOND) == SECOND


def test_times_of_before_a_reboot_and_damaged_files_count_no_more(tmp_path):
    """The monotonic clock begins anew; nobody is kept waiting by garbage."""
    before = LogonTimes(str(tmp_path))
    for _ in range(3):
        before.note("order_entry", 10_000 * SECOND)
    assert LogonTimes(str(tmp_path)).wait_ns("order_entry", 5 * SECOND) == 0
    (tmp_path / "order_entry.logons").write_text("what is this")
    assert LogonTimes(str(tmp_path)).wait_ns("order_entry", 10_000 * SECOND) == 0


def test_a_disk_that_takes_nothing_ends_no_session(tmp_path):
    times = LogonTimes(str(tmp_path / "not there"))
    for _ in range(3):
        times.note("order_entry", SECOND)
    assert times.wait_ns("order_entry", SECOND) == 10 * SECOND


def test_a_link_that_must_wait_is_refused_with_the_reason(tmp_path):
    """The session then waits as after any refusal, and tries again."""
    told = []
    runtime = SimpleNamespace(
        run_dir=str(tmp_path), link_event=lambda name, event, reason: told.append((name, event.value, reason))
    )
    (tmp_path / "state").mkdir()
    links = Links(runtime)
    links.configure("order_entry", SessionConfig(target_comp_id="KalshiNR", host="127.0.0.1", port=1))
    for _ in range(3):
        links.logons.note("order_entry", links.mono_ns())
    links.connect("order_entry")
    links.tell_deferred()
    ((name, event, reason),) = told
    assert (name, event) == ("order_entry", "refused")
    assert reason.startswith("3 Logons in the last 10 s already: the next one waits")
