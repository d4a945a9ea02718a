"""KalshiRT's numbers in the order journal: what is stored with what, and what a restart makes of it."""

import msgspec
import pytest

from engine.fix.events import Renumbered, ResendAsked
from engine.fix.snapshot import SessionSnapshot
from engine.messages.commands import GuardHello
from engine.messages.executions import SweepDone
from engine.order_entry.continuity import SENT_KEPT, fingerprint
from engine.order_entry.records import OrderJournalEntry, SentRequest, SessionNumbers

RT = {"target_comp_id": "KalshiRT"}


@pytest.fixture
def rt(make_rig):
    """Order entry on KalshiRT, whose session goes on."""
    rig = make_rig(session=RT).up()
    rig.client.began_anew = False
    rig.oe.on_drained(rig.now)
    rig.out.done.clear()
    return rig


def numbers(rig):
    return [entry for entry in rig.out.journal if isinstance(entry, SessionNumbers)]


def batch(rig):
    """End the batch; return what it emitted, by kind."""
    rig.oe.on_drained(rig.now)
    kinds = [entry[0] if entry[0] != "record" else type(entry[1]).__name__ for entry in rig.out.done]
    rig.out.done.clear()
    return kinds


def test_an_order_and_its_number_are_recorded_in_one_batch(rt):
    """One transaction: a restart knows of every number that may be on the wire, and which request it was."""
    order = rt.new()
    assert [kind for kind in batch(rt) if kind != "send"] == ["OrderEvent", "write", "SessionNumbers"]
    last = numbers(rt)[-1]
    assert (last.next_sender, last.next_target, last.goes_on) == (3, 2, True)
    assert last.sent == [SentRequest(seq=2, msg_type="D", request_id=order, order=order)]


def test_a_batch_that_changes_no_number_records_none(rt):
    before = len(rt.out.journal)
    batch(rt)
    rt.wait(500)
    assert len(rt.out.journal) == before


def test_several_requests_of_one_batch_are_one_record(rt):
    """And only those that the last record did not have."""
    rt.new()
    rt.oe.on_drained(rt.now)
    first, second = rt.new(), rt.new()
    rt.oe.on_drained(rt.now)
    assert [request.request_id for request in numbers(rt)[-1].sent] == [first, second]


def test_the_number_of_the_logout_is_recorded_in_the_step_of_the_stop(rt):
    """A process that dies right behind its Logout must not use the number again."""
    rt.client.seq += 1
    rt.oe.stop(rt.now)
    assert numbers(rt)[-1].next_sender == rt.client.seq + 1


def test_the_record_comes_back_from_its_bytes(rt):
    """As from disk, beside order events."""
    rt.new()
    rt.oe.on_drained(rt.now)
    for entry in rt.out.journal:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=OrderJournalEntry) == entry


def test_a_restart_goes_on_and_doubts_only_what_was_not_answered(rt):
    """The session gets its numbers back; acknowledged orders stay as they are."""
    resting, pending = rt.live(), rt.new()
    rt.client.target = 9
    rt.oe.on_drained(rt.now)
    again = rt.restarted(session=RT)
    again.oe.start(again.now)
    assert again.client.restored == SessionSnapshot(next_sender_msg_seq_num=4, next_target_msg_seq_num=9)
    assert (again.state(resting), again.state(pending)) == ("NEW", "UNKNOWN")
    assert again.out.logged("alert") == []
    assert again.out.logged("info") == ["KalshiRT: goes on with number 4, expects 9 of the venue"]


def test_what_was_committed_and_never_left_is_not_sent_by_the_venues_word(rt):
    """Scenario 12.1: the ResendRequest names numbers of the last life."""
    resting, pending = rt.live(), rt.new()
    rt.oe.on_drained(rt.now)
    again = rt.restarted(session=RT)
    again.oe.start(again.now)
    again.client.began_anew = False
    again.logon()
    again.feed(ResendAsked(2, 4, 4))
    assert (again.state(resting), again.state(pending)) == ("NEW", "NOT_SENT")


def test_nothing_is_asked_about_before_the_retransmission_is_through(rt):
    """A cancel would end an order whose report is on its way."""
    rt.new()
    rt.oe.on_drained(rt.now)
    again = rt.restarted(session=RT)
    again.oe.start(again.now)
    again.client.began_anew = again.client.caught_up = False
    again.logon()
    again.wait(5_000)
    assert again.wire == [] and again.beat.detail == "KalshiRT is catching up"
    again.client.caught_up = True
    again.wait(200)
    assert [line[:5] for line in again.wire] == ["35=F|"]


def test_requests_behind_the_gap_of_an_open_ended_resend_request_are_in_doubt(rt):
    """16=0 asks for what follows too, which may be on its way: not known is not `not sent`."""
    first, second = rt.new(), rt.new()
    rt.feed(ResendAsked(2, 3, 2))
    assert (rt.state(first), rt.state(second)) == ("NOT_SENT", "UNKNOWN")
    assert rt.tape[-1].text.startswith("the venue asked for everything")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"session": fingerprint.__name__}, "the stored numbers are of another API key or session"),
        ({"goes_on": False}, "the stored numbers had been given up"),
        (None, "there are no stored numbers"),
    ],
)
def test_numbers_that_are_no_good_are_a_loud_new_beginning(rt, change, said):
    """Scenario 12.3: 141=Y, every live order in doubt, drop copy asked."""
    resting = rt.live()
    rt.oe.on_drained(rt.now)
    last = numbers(rt)[-1]
    rt.out.journal = [entry for entry in rt.out.journal if entry is not last or change is not None]
    if change is None:
        rt.out.journal = [entry for entry in rt.out.journal if not isinstance(entry, SessionNumbers)]
    else:
        rt.out.journal.append(msgspec.structs.replace(last, **change))
    again = type(rt)([*rt.past, *rt.out.journal], session=RT)
    again.oe.start(again.now)
    assert again.client.restored is None
    assert again.state(resting) == "UNKNOWN"
    text = f"KalshiRT: {said}: numbers begin anew (141=Y), what was missed must come by drop copy"
    assert text in again.out.logged("alert")


def test_the_first_start_of_all_is_no_alarm(make_rig):
    """There is nothing that could have been missed."""
    rig = make_rig(session=RT)
    rig.oe.start(rig.now)
    assert rig.out.logged("alert") == []


def test_numbers_that_began_anew_at_the_logon_put_every_live_order_in_doubt(rt):
    """What the venue said meanwhile is in no retransmission any more."""
    resting = rt.live()
    wanted = rt.oe.recovery.sweep_wanted
    rt.drop()
    rt.client.began_anew = True
    rt.logon()
    assert rt.state(resting) == "UNKNOWN" and rt.oe.recovery.sweep_wanted > wanted


def test_numbers_that_jump_inside_the_session_lose_messages(rt):
    """SequenceReset-Reset of the venue (scenario 9.4): drop copy must bring what was skipped."""
    resting = rt.live()
    wanted = rt.oe.recovery.sweep_wanted
    rt.feed(Renumbered("the peer reset its numbers from 4 to 9", lost=True))
    assert rt.state(resting) == "UNKNOWN" and rt.oe.recovery.sweep_wanted > wanted


def test_a_life_on_kalshi_nr_between_ends_the_continuity(rt, make_rig):
    """Its orders are in no retransmission of KalshiRT."""
    rt.live()
    rt.oe.on_drained(rt.now)
    between = make_rig([*rt.past, *rt.out.journal])
    between.oe.start(between.now)
    assert numbers(between)[-1].goes_on is False
    again = make_rig([*between.past, *between.out.journal], session=RT)
    again.oe.start(again.now)
    assert again.client.restored is None


def test_the_journal_does_not_hold_the_api_key(rt):
    """Only what tells one session from another."""
    rt.oe.on_drained(rt.now)
    assert b"key-oe" not in b"".join(msgspec.msgpack.encode(entry) for entry in rt.out.journal)


def test_what_is_remembered_by_number_is_bounded(rt):
    """A long journal costs no more memory than the newest requests of it."""
    stored, last = rt.oe.stored, numbers(rt)[-1]
    for seq in range(2, SENT_KEPT + 50, 10):
        sent = [
            SentRequest(seq=n, msg_type="D", request_id=str(n), order=str(n)) for n in range(seq, seq + 10)
        ]
        stored.take(msgspec.structs.replace(last, next_sender=seq + 10, sent=sent))
    assert len(stored.sent) == SENT_KEPT
    stored.take(msgspec.structs.replace(last, next_sender=2))
    assert stored.sent == {}


def test_the_numbers_are_in_a_snapshot_of_the_state(rt, make_rig):
    """A start from a snapshot goes on as one from the whole journal does."""
    resting, pending = rt.live(), rt.new()
    rt.oe.on_drained(rt.now)
    again = make_rig(session=RT)
    again.oe.load(rt.oe.dump())
    assert again.oe.state_digest() == rt.oe.state_digest()
    again.oe.start(again.now)
    assert again.client.restored == SessionSnapshot(next_sender_msg_seq_num=4, next_target_msg_seq_num=2)
    again.client.began_anew = False
    again.logon()
    again.feed(ResendAsked(3, 3, 3))
    assert (again.state(resting), again.state(pending)) == ("NEW", "NOT_SENT")


SILENT = {**RT, "enable_ioc_cancel_report": False}


@pytest.fixture
def silent(make_rig):
    """As `rt`, where an IOC order without a cancel report has been filled in part."""
    rig = make_rig(session=SILENT).up()
    rig.client.began_anew = False
    rig.ioc = rig.new(tif="3")
    rig.fill(rig.ioc, 300)
    rig.oe.on_drained(rig.now)
    return rig


def test_an_ioc_that_ends_without_a_word_ends_after_a_restart_too(silent):
    """21007=N: the venue says nothing more of it, whoever has died meanwhile."""
    again = silent.restarted(session=SILENT)
    again.oe.start(again.now)
    again.guard(GuardHello(epoch=1))
    again.client.began_anew = False
    again.logon()
    again.wait(5_000)
    again.ask(SweepDone(wanted=again.oe.recovery.sweep_wanted, complete=True))
    assert again.kinds[-1] == "done_silently CANCELED"


@pytest.mark.parametrize("restart", [True, False])
def test_no_order_ends_silently_before_the_retransmission_is_through(silent, restart):
    """What it was filled meanwhile may be on its way: a silence on no session says nothing."""
    rig = silent
    if restart:
        rig = silent.restarted(session=SILENT)
    rig.client.caught_up = rig.client.began_anew = False
    if restart:
        rig.oe.start(rig.now)
        rig.guard(GuardHello(epoch=1))
    else:
        rig.drop()
    rig.wait(3_000)
    assert rig.state(silent.ioc) == "PARTIALLY_FILLED"
    rig.logon()
    rig.wait(3_000)
    assert rig.state(silent.ioc) == "PARTIALLY_FILLED"
    rig.fill(silent.ioc, 200)
    rig.client.caught_up = True
    rig.wait(3_000)
    rig.ask(SweepDone(wanted=rig.oe.recovery.sweep_wanted, complete=True))
    assert rig.kinds[-1] == "done_silently CANCELED" and rig.tape[-1].cum_qty == 500
