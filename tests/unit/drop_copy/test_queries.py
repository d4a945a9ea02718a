"""One EventResendRequest at a time: venue.md section 6."""

import pytest

from engine.common.clock import SECOND
from engine.drop_copy.queries import ATTEMPTS_MAX, Begin, EventResendQuery, QueryState
from engine.kalshi.messages import (
    BusinessMessageReject,
    EventResendComplete,
    EventResendReject,
    ExecutionReport,
)


def report(exec_id="5;1", **changes):
    fields = {
        "order_id": "o1",
        "cl_ord_id": "c1",
        "exec_id": exec_id,
        "exec_type": "0",
        "ord_status": "0",
        "side": "1",
        "symbol": "BTC-PERP",
        "leaves_qty": 100,
        "cum_qty": 0,
        "order_qty": 100,
    } | changes
    return ExecutionReport(**fields)


def asked(*begins, seq=7):
    query = EventResendQuery(list(begins) or [Begin("5;1")])
    query.sent(seq, 0)
    return query


def complete(count, seq=7):
    return EventResendComplete(ref_seq_num=seq, resend_event_count=count)


def reject(reason, seq=7):
    return EventResendReject(ref_seq_num=seq, event_resend_reject_reason=reason)


def test_request_leaves_the_end_out():
    """No EndExecID means the latest; then reason 4 can't happen."""
    query = EventResendQuery([Begin("5;1")])
    assert (query.request().begin_exec_id, query.request().end_exec_id) == ("5;1", "")


def test_answer_with_the_right_count_is_done():
    query = asked()
    query.on_report(report("5;1"), 1)
    query.on_report(report("6;1"), 2)
    query.on_complete(complete(2), 3)
    assert query.state is QueryState.DONE
    assert list(query.reports) == [(5, 1, 0), (6, 1, 0)]


def test_empty_answer_is_an_answer():
    query = asked()
    query.on_complete(complete(0), 3)
    assert query.state is QueryState.DONE


def test_wrong_count_is_asked_again_and_never_taken():
    """A hole must never read as `nothing happened`."""
    query = asked()
    query.on_report(report("5;1"), 1)
    query.on_complete(complete(2), 3)
    assert query.state is QueryState.WAITING
    assert query.not_before_ns == 3 + SECOND
    assert query.failure == "drop copy counts 2 reports, 1 different ones came"


def test_the_same_report_twice_does_not_stand_in_for_a_missing_one():
    query = asked()
    query.on_report(report("5;1"), 1)
    query.on_report(report("5;1"), 2)
    query.on_complete(complete(2), 3)
    assert query.state is QueryState.WAITING


def test_an_answer_that_comes_twice_whole_is_good():
    query = asked()
    for _ in range(2):
        query.on_report(report("5;1"), 1)
        query.on_report(report("6;1"), 2)
    query.on_complete(complete(2), 3)
    assert query.state is QueryState.DONE
    assert query.contradictions == []


def test_one_exec_id_with_two_contents_is_a_contradiction():
    query = asked()
    query.on_report(report("5;1"), 1)
    query.on_report(report("5;1", cum_qty=100), 2)
    query.on_complete(complete(1), 3)
    assert query.contradictions == ["5;1"]


def test_pending_reports_are_no_keys():
    """`-1;-1` is on every pending report and counts for nothing."""
    query = asked()
    query.on_report(report("-1;-1", exec_type="A"), 1)
    query.on_complete(complete(0), 2)
    assert query.state is QueryState.DONE
    assert query.reports == {}


@pytest.mark.parametrize("reason", [1, 2])
def test_too_many_requests_and_server_error_back_off_and_double(reason):
    query = asked()
    waits = []
    now = 0
    for attempt in range(1, ATTEMPTS_MAX):
        query.on_reject(reject(reason, seq=7), now)
        waits.append(query.not_before_ns - now)
        assert query.state is QueryState.WAITING, attempt
        now = query.not_before_ns
        query.sent(7, now)
    assert waits == [SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND, 16 * SECOND]
    query.on_reject(reject(reason), now)
    assert query.state is QueryState.FAILED
    assert not query.degraded


def test_rate_limit_by_business_reject_backs_off():
    """380=8 means: not applied, the bucket was empty."""
    query = asked()
    query.on_business_reject(BusinessMessageReject(business_reject_reason=8, ref_seq_num=7), 0)
    assert query.state is QueryState.WAITING
    assert query.not_before_ns == SECOND


def test_other_business_rejects_degrade():
    query = asked()
    query.on_business_reject(BusinessMessageReject(business_reject_reason=6, ref_seq_num=7, text="no"), 0)
    assert query.state is QueryState.FAILED
    assert query.failure == "drop copy refuses the request: BusinessRejectReason(380) 6 no"


def test_session_reject_of_the_request_degrades():
    query = asked()
    query.on_session_reject(6, "another message")
    assert query.state is QueryState.ASKED
    query.on_session_reject(7, "Incorrect format")
    assert query.state is QueryState.FAILED


def test_begin_too_small_goes_on_to_the_next_begin_at_once():
    query = asked(Begin("5;1"), Begin("9;1", hole=True))
    query.on_reject(reject(3), 10)
    assert query.state is QueryState.WAITING
    assert (query.begin.exec_id, query.begin.hole, query.not_before_ns) == ("9;1", True, 10)


def test_begin_too_small_without_another_is_a_loud_failure():
    query = asked(Begin("5;1"))
    query.on_reject(reject(3), 10)
    assert query.state is QueryState.FAILED
    assert query.degraded
    assert query.failure == "BeginExecID is older than the venue's window of 3 hours (BeginExecID 5;1)"


def test_not_enabled_says_what_to_do():
    query = asked()
    query.on_reject(reject(5), 10)
    assert query.degraded
    assert "ask the venue to enable it" in query.failure


def test_late_end_of_an_older_request_throws_its_reports_away():
    """Reports carry no reference: those before the end of an older request were its answer."""
    query = asked(seq=8)
    query.on_report(report("5;1"), 1)
    query.on_complete(complete(1, seq=7), 2)
    assert query.state is QueryState.ASKED
    query.on_report(report("6;1"), 3)
    query.on_complete(complete(1, seq=8), 4)
    assert query.state is QueryState.DONE
    assert list(query.reports) == [(6, 1, 0)]


def test_silence_times_out_since_the_last_report():
    query = asked()
    query.on_report(report("5;1"), 4 * SECOND)
    query.on_deadline(13 * SECOND)
    assert query.state is QueryState.ASKED
    query.on_deadline(14 * SECOND)
    assert query.state is QueryState.WAITING
    assert query.timed_out
