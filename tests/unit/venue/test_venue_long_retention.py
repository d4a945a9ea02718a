"""KalshiRT gives back all that its retention holds: what left memory is read from the journal, a piece at a time."""

import random
import re

import pytest
from unit.venue.test_venue_retention import HOUR, numbers, rt
from unit.venue.venue_world import T0, World, config, on, order, verify

from engine.common.clock import SECOND
from engine.errors import JournalError
from engine.venue import resending, retention, sessions
from engine.venue.actor import Venue


@pytest.fixture
def small(monkeypatch):
    """Few rows and messages at a time, so that a short history shows what a long one does."""
    monkeypatch.setattr(retention, "ROWS", 7)
    monkeypatch.setattr(sessions, "RESEND_PIECE", 5)


def world_of(recent=8, **kwargs):
    return World(config(rt_recent_max=recent), archived=True, **kwargs)


def fill(client, count, heard, name="r"):
    """Orders with their reports, session messages and a second session's messages between them."""
    rng = random.Random(count)
    for number in range(count):
        heard += client.say("D", order(f"{name}{number}", 1, 1, "9.5000"))
        if rng.random() < 0.3:
            heard += client.say("1", "112=x|")


def through(client):
    """What is resent until nothing more comes."""
    heard, venue = client.heard(), client.world.venue
    while venue._resender.due is not None:
        assert venue.deadline is not None and venue.deadline <= client.world.mono
        venue.on_deadline(client.world.now)
        heard += client.heard()
    return heard


def covered(texts, begin):
    """Return the resent application messages by number; every number from `begin` on is there or filled over, in order."""
    found, at = {}, begin
    for text in texts:
        if "|43=Y|" not in text:
            continue
        seq = int(re.search(r"\|34=(\d+)\|", text)[1])
        assert seq == at, f"{at} is missing before {text}"
        if text.startswith("35=4|"):
            at = int(re.search(r"\|36=(\d+)\|", text)[1])
            assert at > seq
        else:
            found[seq], at = body(text), seq + 1
    return found, at


def body(text):
    return re.sub(r"\|(34|52|43|122)=[^|]*(?=\|)", "", text)


def original(texts):
    return {
        int(re.search(r"\|34=(\d+)\|", text)[1]): body(text) for text in texts if text.startswith("35=8|")
    }


def in_memory(world, key="KalshiRT|key-oe"):
    kept = world.venue.retention.sessions[key]
    return len(kept.sent) if kept.acceptor is None else len(kept.acceptor.snapshot().sent)


@pytest.mark.parametrize("recent", [4, 8, 50, 1000])
def test_what_left_memory_is_resent_whole_and_in_order(small, recent):
    """venue.md 2: BeginSeqNo within the retention, however long ago; session messages are filled over."""
    world = world_of(recent)
    heard = []
    client, _answer = rt(world, head="141=Y|")
    fill(client, 200, heard)
    assert in_memory(world) <= recent * 1.5 + 2
    said = client.say("2", "7=1|16=0|")
    found, at = covered(said + through(client), 1)
    assert found == original(heard)
    assert at == client.world.venue.connections[client.link].acceptor.next_sender_msg_seq_num
    for begin, end in ((1, 3), (17, 90), (100, 100), (30, 0), (199, 5000)):
        found, at = covered(client.say("2", f"7={begin}|16={end}|") + through(client), begin)
        assert found == {s: b for s, b in original(heard).items() if s >= begin and (not end or s <= end)}


def test_what_happened_while_nobody_was_there_is_bounded_in_memory_too(small):
    world = world_of()
    client, _ = rt(world, head="141=Y|")
    client.say("D", order("r", 1, 60, "9.5000"))
    client.leave()
    other = on(world, key="key-other")
    for number in range(60):
        other.say("D", order(f"s{number}", 2, 1, "9.5000"))
    assert in_memory(world) <= 11
    client, answer = rt(world, seq=2)
    assert numbers(answer) == [("35=A", 63)]
    found, _at = covered(client.say("2", "7=3|16=62|") + through(client), 3)
    assert list(found) == list(range(3, 63)) and all("|150=F|" in text for text in found.values())


def test_others_are_served_between_the_pieces_and_new_messages_have_their_own_numbers(small):
    world = world_of()
    heard = []
    client, _ = rt(world, head="141=Y|")
    client.say("D", order("rests", 1, 5, "9.6000"))
    fill(client, 100, heard)
    other = on(world, key="key-other")
    said = client.say("2", "7=1|16=0|")
    world.venue.on_deadline(world.now)
    assert world.venue._resender.due is not None
    assert any("|150=F|" in text for text in other.say("D", order("s", 2, 5, "9.6000")))
    said += client.heard()
    live = [text for text in said if "|43=Y|" not in text]
    assert [text for text in live if "|150=F|" in text]  # not behind the resend
    found, at = covered(said + through(client), 1)
    assert at == int(re.search(r"\|34=(\d+)\|", live[0])[1])  # up to what had been sent when it was asked for
    assert {**found, 2: ""} == {**original(heard), 2: ""}


def test_several_resends_take_turns_a_piece_each(small):
    """One step resends one piece, however many ask; and each of them gets all of its own."""
    world = world_of()
    heard = {"key-oe": [], "key-2": [], "key-other": []}
    clients = {}
    for key, told in heard.items():
        clients[key], _ = rt(world, head="141=Y|", key=key)
        fill(clients[key], 40, told, name=key)
    for client in clients.values():
        assert client.say("2", "7=1|16=0|") == []
    got = {key: [] for key in heard}
    told = []
    while world.venue._resender.due is not None:
        world.venue.on_deadline(world.now)
        said = {key: client.heard() for key, client in clients.items()}
        assert sum(bool(texts) for texts in said.values()) <= 1
        for key, texts in said.items():
            got[key] += texts
            told += [key] if texts else []
    assert len(set(told[:5])) == 3
    assert {key: covered(texts, 1)[0] for key, texts in got.items()} == {
        key: original(texts) for key, texts in heard.items()
    }


def test_a_reader_that_does_not_keep_up_is_waited_for(small):
    world = world_of()
    client, _ = rt(world, head="141=Y|")
    fill(client, 50, [])
    world.out.waiting[client.link] = resending.UNREAD_MAX + 1
    client.say("2", "7=1|16=0|")
    world.advance(SECOND)
    assert client.heard() == []
    world.out.waiting.clear()
    world.advance(SECOND)
    assert len(covered(client.heard(), 1)[0]) == 50


def test_a_slow_line_holds_a_resend_back_as_a_slow_reader_does(small, monkeypatch):
    """What waits on a line that was made slow is in memory as well."""
    monkeypatch.setattr(resending, "UNREAD_MAX", 2000)
    world = world_of()
    heard = []
    client, _ = rt(world, head="141=Y|")
    fill(client, 200, heard)
    world.fault("delay", "KalshiRT", ms="500")
    said = client.say("2", "7=1|16=0|")
    for _ in range(100):
        world.venue.on_deadline(world.now)
    assert 0 < world.venue.wire.waiting(client.link) < 2000 + 7 * 400
    for _ in range(300):
        world.advance(SECOND)
        said += client.heard()
    assert covered(said, 1)[0] == original(heard)


def test_a_resend_that_a_disconnect_cut_is_asked_for_again_from_what_is_missing(small):
    """Scenario 8.6."""
    world = world_of()
    heard = []
    client, _ = rt(world, head="141=Y|")
    fill(client, 100, heard)
    client.say("2", "7=1|16=0|")
    world.venue.on_deadline(world.now)
    world.venue.on_deadline(world.now)
    got, at = covered(client.heard(), 1)
    assert 0 < len(got) < 100
    seq = client.seq
    client.leave()
    world.advance(SECOND)
    assert world.venue._resender.due is None
    client, _ = rt(world, seq=seq)
    found, _ = covered(client.say("2", f"7={at}|16=0|") + through(client), at)
    assert got | found == original(heard)
    client.say("2", "7=1|16=0|")  # and one that begins where the first was cut reads its block anew
    assert covered(client.heard() + through(client), 1)[0] == original(heard)


def test_what_is_forgotten_during_its_resend_is_rejected_never_filled_over(small):
    """Scenario 8.4: a gap fill would say that nothing was missed."""
    world = world_of()
    client, _ = rt(world, head="141=Y|", flags="21011=Y|20200=1|")
    fill(client, 50, [])
    request = client.seq + 1
    client.say("2", "7=1|16=0|")
    world.wall += HOUR + SECOND
    said = client.say("0") + through(client)
    assert covered(said, 1)[0] == {}
    (rejected,) = [text for text in said if text.startswith("35=3|")]
    assert f"|45={request}|371=7|372=2|373=5|58=BeginSeqNo(7) 1 is outside the retention window" in rejected


def test_a_journal_that_can_not_be_read_is_a_reject_and_the_session_goes_on(small, monkeypatch):
    world = world_of()
    client, _ = rt(world, head="141=Y|")
    fill(client, 50, [])

    def broken(*_):
        raise JournalError("disk gone")

    monkeypatch.setattr(world.archive, "sent", broken)
    said = client.say("2", "7=1|16=0|") + through(client)
    assert said[-1].endswith("|371=7|372=2|373=5|58=what was sent can't be read back|") and len(said) == 1
    assert client.say("1", "112=on|")[0].startswith("35=0|")


def test_a_row_that_is_missing_is_noticed(small, monkeypatch):
    """A resend has all of a block or is refused."""
    world = world_of()
    client, _ = rt(world, head="141=Y|")
    heard = []
    fill(client, 50, heard)
    whole, lost = world.archive.sent, list(original(heard))[3]
    monkeypatch.setattr(world.archive, "sent", lambda *row: [m for m in whole(*row) if m.seq != lost])
    said = client.say("2", "7=1|16=0|") + through(client)
    assert said[-1].startswith("35=3|")


def test_too_many_resends_at_once_are_refused(small):
    world = world_of()
    heard = []
    client, _ = rt(world, head="141=Y|")
    fill(client, 50, heard)
    for _ in range(16):
        assert client.say("2", "7=1|16=3|") == []
    assert "|373=5|58=16 resends are under way already|" in client.say("2", "7=1|16=3|")[0]
    texts = through(client)
    assert len([text for text in texts if text.startswith("35=8|")]) == 16 * sum(
        s <= 3 for s in original(heard)
    )


def test_a_reset_forgets_what_is_on_disk_too(small):
    world = world_of()
    client, _ = rt(world, head="141=Y|")
    fill(client, 50, [])
    client.leave()
    heard = []
    client, _ = rt(world, head="141=Y|")
    fill(client, 40, heard, name="again")
    assert covered(client.say("2", "7=1|16=0|") + through(client), 1)[0] == original(heard)


@pytest.mark.parametrize("count", [1, 7, 49])
def test_numbers_that_a_fault_moved_back_break_nothing(small, count):
    """`sequence_low`: the client leaves over it; the session goes on until somebody resets it."""
    world = world_of()
    client, _ = rt(world, head="141=Y|")
    fill(client, 50, [])
    world.fault("sequence_low", "KalshiRT", count=str(count))
    fill(client, 60, [], name="again")
    client.say("2", "7=1|16=0|")
    through(client)
    seq = client.seq
    client.leave()
    other = on(world, key="key-other")
    for number in range(30):
        other.say("D", order(f"s{number}", 2, 1, "9.5000"))
    rows = world.out.records
    half = replayed(8, rows[: len(rows) // 2]).dump()
    assert (
        replayed(8, rows[len(rows) // 2 :], rows[: len(rows) // 2], half).dump() == replayed(8, rows).dump()
    )
    client, _ = rt(world, seq=seq)
    client.say("2", "7=1|16=0|")
    through(client)
    client.leave()
    heard = []
    client, answer = rt(world, head="141=Y|")
    assert numbers(answer) == [("35=A", 1)]
    fill(client, 40, heard, name="anew")
    assert covered(client.say("2", "7=1|16=0|") + through(client), 1)[0] == original(heard)


def test_forgetting_on_command_is_the_end_of_the_retention_for_what_was_sent(small):
    """Up or away: what comes after it can be asked for."""
    world = world_of()
    client, _ = rt(world, head="141=Y|")
    fill(client, 40, [])
    assert world.fault("forget", "KalshiNR") == "only KalshiRT keeps what it sent"
    assert world.fault("forget", "KalshiRT") == "ok"
    first = world.venue.connections[client.link].acceptor.next_sender_msg_seq_num
    later = []
    fill(client, 30, later, name="later")
    assert f"outside the retention window, which begins at {first}|" in client.say("2", "7=1|16=0|")[0]
    found, _ = covered(client.say("2", f"7={first}|16=0|") + through(client), first)
    assert found == original(later)
    client.leave()
    world.fault("forget")
    client, _answer = rt(world, seq=client.seq)
    assert "outside the retention window" in client.say("2", f"7={first}|16=0|")[0]


def test_a_refused_logon_changes_nothing_of_the_retention():
    """What a Logon asks for (20200, 20126) holds once it is granted."""
    world = World()
    client, _ = rt(world, head="141=Y|", flags="21011=Y|20200=48|")
    client.say("D", order("r1", 1, 1, "9.5000"))
    client.leave()
    _refused, answer = rt(world, seq=0, flags="20126=Y|21011=Y|20200=1|")
    assert "too low" in answer[0]
    world.wall += 2 * HOUR
    other = on(world, key="key-2")
    other.say("D", order("x1", 1, 1, "9.5000"))  # of the account, and no listener is there to be told
    client, answer = rt(world, seq=2, flags="21011=Y|20200=48|")
    assert numbers(answer) == [("35=A", 4)]
    assert numbers(client.say("2", "7=2|16=2|")) == [("35=8", 2)]


def test_without_an_archive_the_newest_are_kept(monkeypatch):
    monkeypatch.setattr(retention, "KEPT_MAX", 20)
    world = World()
    heard = []
    client, _ = rt(world, head="141=Y|")
    fill(client, 60, heard)
    assert in_memory(world) <= 26
    assert "outside the retention window" in client.say("2", "7=1|16=0|")[0]
    first = min(world.venue.connections[client.link].acceptor.snapshot().sent, key=lambda m: m.seq).seq
    found, _ = covered(client.say("2", f"7={first}|16=0|"), first)
    assert found == {s: b for s, b in original(heard).items() if s >= first}


def test_while_the_disk_takes_nothing_messages_stay_in_memory(small, monkeypatch):
    world = world_of()
    client, _ = rt(world, head="141=Y|")
    monkeypatch.setattr(world.archive, "last_row", lambda: 0)
    fill(client, 50, [])
    assert in_memory(world) == 50
    monkeypatch.undo()
    fill(client, 5, [], name="later")
    assert in_memory(world) <= 11


@pytest.mark.parametrize("seed", range(20))
def test_a_snapshot_and_the_rest_of_the_journal_give_what_the_whole_journal_gives(small, seed):
    """Random flow over two accounts, several sessions, groups and resets; cut anywhere: the same state, the same answers."""
    rng = random.Random(seed)
    world = world_of(rng.choice([4, 20]))
    heard = flow(world, rng)
    rows = world.out.records
    whole = world_of(world.venue._config.rt_recent_max, journal=rows, now=world.wall + SECOND)
    for cut in (0, *rng.sample(range(len(rows)), 3), len(rows)):
        recent = world.venue._config.rt_recent_max
        maker = replayed(recent, rows[:cut])
        state = maker.dump()
        other = replayed(recent, rows[cut:], rows[:cut], state)
        assert other.dump() == replayed(recent, rows).dump()
        again = world_of(recent, journal=rows[cut:], now=world.wall + SECOND, before=rows[:cut], state=state)
        assert seen(again) == seen(whole)
        client, answer = rt(again, seq=10_000)
        twin, twin_answer = rt(whole, seq=10_000)
        assert [body(t) for t in answer] == [body(t) for t in twin_answer]
        ask = client.say("2", "7=1|16=0|") + through(client)
        assert ask == twin.say("2", "7=1|16=0|") + through(twin)
        client.leave()
        twin.leave()
        whole = world_of(recent, journal=rows, now=world.wall + SECOND)
    assert heard


def replayed(recent, rows, before=(), state=b""):
    """A venue that has replayed, and not started."""
    fresh = world_of(recent)
    venue = Venue(config(rt_recent_max=recent), fresh.out, verify, random.Random(0), [], fresh.archive)
    if state:
        venue.load(state)
    for entry in rows:
        venue.replay(entry)
    return venue


def seen(world):
    exchange = world.venue.exchange
    return (
        [world.truth(name) for name in ("main", "other")],
        {name: (g.limit, g.triggered, g.alloc_account) for name, g in exchange.groups.items()},
        {name: list(ids) for name, ids in exchange._ids.items()},
        [(o.cl_ord_id, o.priority, o.leaves, o.expire_ns, o.owner.key) for o in exchange.open.values()],
        {symbol: book.levels() for symbol, book in exchange.books.items()},
        exchange.groups_made,
        exchange.latest,
        world.venue.history.first,
        world.venue._rows,
        world.venue.retention.dump(),
    )


def flow(world, rng):
    heard, seq = [], {"key-oe": 0, "key-2": 0}
    clients = {}
    other = on(world, key="key-other")
    for number in range(150):
        key = rng.choice(list(seq))
        if key not in clients:
            head = "" if seq[key] and rng.random() < 0.8 else "141=Y|"
            flags = rng.choice(["21011=Y|21008=Y|", "20126=Y|21011=Y|" if key == "key-2" else "8013=Y|"])
            clients[key], answer = rt(world, seq[key] if not head else 0, head, key, flags)
            heard += answer
        client = clients[key]
        side, price = rng.choice([(1, "9.5000"), (2, "9.5000"), (1, "9.4000"), (2, "9.6000")])
        tif = rng.choice(["", "59=0|", "59=3|", "2964=2|"])
        what = rng.random()
        if what < 0.35:
            heard += client.say("D", order(f"c{number}", side, rng.randint(1, 5), price, tif))
        elif what < 0.6:
            other.say("D", order(f"o{number}", side, rng.randint(1, 5), price, tif))
        elif what < 0.7 and world.venue.exchange.open:
            chosen = rng.choice(list(world.venue.exchange.open.values()))
            heard += client.say("F", f"11=x{number}|41={chosen.cl_ord_id}|54={chosen.side}|55=BTC-PERP|")
        elif what < 0.78:
            heard += client.say("UOG", f"20131=1|20132={rng.randint(1, 9)}|")
        elif what < 0.82 and world.venue.exchange.groups:
            group = rng.choice(list(world.venue.exchange.groups))
            heard += client.say("UOG", f"20131={rng.choice('234')}|20130={group}|")
        elif what < 0.9:
            seq[key] = client.seq
            clients.pop(key).leave()
        else:
            world.advance(rng.choice([SECOND, 20 * SECOND, 1900 * SECOND]))
            clients.clear()
            seq = {"key-oe": 0, "key-2": 0}
            other = on(world, key="key-other") if other.link in world.out.closed else other
    return heard


def test_a_start_from_a_snapshot_keeps_the_retention(small):
    """After the restart all of it can be asked for again, and what is new has its rows behind the old ones."""
    world = world_of()
    heard = []
    client, _ = rt(world, head="141=Y|")
    fill(client, 60, heard)
    rows = world.out.records
    cut = len(rows) // 2
    state = replayed(8, rows[:cut]).dump()
    later = world_of(journal=rows[cut:], before=rows[:cut], state=state, now=T0 + HOUR)
    assert in_memory(later) <= 11
    client, _answer = rt(later, seq=client.seq)
    fill(client, 60, heard, name="later")
    found, _ = covered(client.say("2", "7=1|16=0|") + through(client), 1)
    assert found == original(heard)
