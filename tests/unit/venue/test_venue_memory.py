"""Memory holds what is live: reports, closed orders and level queues of the past do not pile up."""

import gc

import pytest
from unit.venue.venue_world import T0, World, bodies, config, on, order

from engine.errors import JournalError
from engine.kalshi.messages import ExecutionReport
from engine.runtime import venue_archive
from engine.runtime.journal import Entry, Journal
from engine.runtime.venue_archive import JournalArchive
from engine.venue import exchange as exchange_module
from engine.venue import history as history_module
from engine.venue.history import History
from engine.venue.records import GroupChanged, Reported


def report(clock, event=1, account="main", exec_type="0"):
    made = ExecutionReport(
        order_id="o", cl_ord_id=f"c{clock}", exec_id=f"{clock};{event}", exec_type=exec_type, ord_status="0", side="1",
        symbol="M", leaves_qty=1, cum_qty=0, order_qty=1,
    )  # fmt: skip
    return Reported(wall_ns=T0, account=account, clock=clock, event=event, report=made)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(str(tmp_path / "venue.sqlite"), "normal")
    yield journal
    journal.close()


def test_reports_that_left_memory_come_from_the_journal(journal):
    """Ranges over both are whole and in order, other accounts and rejects left out."""
    history = History(JournalArchive(journal.path), recent_max=1000)
    for clock in range(1, 6001):
        entry = report(
            clock, account="other" if clock % 5 == 0 else "main", exec_type="8" if clock % 7 == 0 else "0"
        )
        rows = [Entry(entry, "", entry.report.exec_id)]
        if clock % 3 == 0:
            rows.append(
                Entry(GroupChanged(wall_ns=T0, account="main", group_id="g", limit=1, number=1), "", None)
            )
        journal.append(rows, T0)
        if entry.report.exec_type != "8":
            history.add(entry.account, (clock, 1), entry.report, T0)
    mine = [clock for clock in range(1, 6001) if clock % 5 and clock % 7]
    assert len(history._accounts["main"][0]) < 2100

    def found(begin, end):
        reports = history.select("main", (begin, 0), None if end is None else (end, 9), (6000, 9))
        return [int(r.exec_id.partition(";")[0]) for r in reports]

    assert found(1, None) == mine
    for begin, end in ((1, 1), (2, 17), (17, 5990), (3500, 3501), (5500, 5990), (1, 6000)):
        assert found(begin, end) == [clock for clock in mine if begin <= clock <= end]
    assert history.exec_ids("main") == [f"{clock};1" for clock in mine]


def test_an_archive_without_rows_gives_nothing(journal):
    assert JournalArchive(journal.path).reports("main", (1, 1), (9, 9), 5) == ([], None)


def test_a_page_of_a_quiet_account_does_not_read_a_busy_ones_whole_past(journal, monkeypatch):
    """Others wait for a page: it is cut after so many rows, and goes on from there."""
    monkeypatch.setattr(venue_archive, "LOOKED_MAX", 100)
    rows = [report(clock, account="main" if clock % 400 == 0 else "other") for clock in range(1, 2001)]
    journal.append([Entry(row, "", row.report.exec_id) for row in rows], T0)
    archive = JournalArchive(journal.path)
    found, at, pages = [], (1, 0), 0
    while at is not None:
        page, at = archive.reports("main", at, (2001, 0), 500)
        assert len(page) <= 1
        found += page
        pages += 1
    assert [r.exec_id for r in found] == [f"{clock};1" for clock in range(400, 2001, 400)] and pages >= 20


def test_a_journal_that_can_not_be_read_is_said_as_such(tmp_path):
    (tmp_path / "venue.sqlite").write_bytes(b"no database" * 500)
    archive = JournalArchive(str(tmp_path / "venue.sqlite"))
    for question in (
        lambda: archive.reports("main", (1, 1), (9, 9), 5),
        lambda: archive.sent("k", 1, 9),
        archive.last_row,
    ):
        with pytest.raises(JournalError, match="can't be read"):
            question()


def test_drop_copy_that_can_not_read_the_past_refuses_with_server_error(monkeypatch):
    """21004=2, never a U2 whose count leaves reports out."""
    world = World(archived=True)
    world.venue.history._recent_max = 10
    monkeypatch.setattr(history_module, "_CUT_AT", 5)
    client = on(world)
    for number in range(30):
        client.say("D", order(f"c{number}", 1, 1, "9.5000"))
    copy = world.client("KalshiDC", "key-dc")
    copy.logon("")
    first = world.truth().exec_ids[0]
    assert "|21003=30|" in copy.say("U1", f"21001={first}|")[-1]

    def broken(*_):
        raise JournalError("disk gone")

    monkeypatch.setattr(world.archive, "reports", broken)
    said = copy.say("U1", f"21001={first}|")
    assert len(said) == 1 and said[0].startswith("35=U3|") and said[0].endswith("|45=3|21004=2|")


def test_status_subscriptions_are_limited_like_those_of_books():
    """A session's symbols are bounded, whatever they are called."""
    world = World(config(symbols_max=3))
    client = world.client("KalshiMD", "key-md")
    client.logon()
    for number in range(3):
        assert client.say("e", f"263=1|55=S{number}|")[0].startswith("35=f|")
    refused = client.say("e", "263=1|55=S3|")
    assert bodies(refused) == ["35=j|45=5|372=e|380=0|58=more than 3 symbols|"]
    assert client.say("e", "263=1|55=S2|")[0].startswith("35=f|")
    client.say("e", "263=2|55=S2|")
    assert client.say("e", "263=1|55=S3|")[0].startswith("35=f|")


def test_closed_orders_are_remembered_up_to_a_number(monkeypatch):
    monkeypatch.setattr(exchange_module, "CLOSED_MAX", 100)
    world = World()
    client = on(world)
    for number in range(150):
        client.say("D", order(f"c{number}", 1, 1, "9.5000"))
        client.say("F", f"11=x{number}|41=c{number}|54=1|55=BTC-PERP|")
    world.out.records.clear()
    gc.collect()
    assert len(world.venue.exchange._ids["main"]) <= 102
    assert "ORDER_ALREADY_EXISTS" in client.say("D", order("c149", 1, 1, "9.5000"))[0]
    assert "|150=0|" in client.say("D", order("c1", 1, 1, "9.5000"))[0]


def test_the_ends_of_orders_that_are_gone_do_not_pile_up():
    world = World()
    client = on(world)
    for number in range(2000):
        client.say("D", order(f"c{number}", 1, 1, "9.5000", "59=0|"))
        client.say("F", f"11=x{number}|41=c{number}|54=1|55=BTC-PERP|")
    assert len(world.venue.exchange._expiries) <= 1003


def test_a_restart_keeps_no_more_than_the_running_venue():
    world = World(config())
    client = on(world)
    for number in range(30):
        client.say("D", order(f"c{number}", 1, 1, "9.5000"))
        client.say("F", f"11=x{number}|41=c{number}|54=1|55=BTC-PERP|")
    client.say("D", order("last", 1, 1, "9.5000"))
    later = World(config(), world.out.records, T0 + 1)
    assert [entry.cl_ord_id for entry in later.truth().orders] == ["last"]
    assert later.venue._restart._orders == {} == later.venue._restart._closed
    assert later.truth().exec_ids == world.truth().exec_ids
