"""Where to begin to ask when nothing was ever confirmed, and how the beginning of the venue's window is found."""

from engine.common.clock import MS, SECOND
from engine.drop_copy.beginnings import guesses
from engine.drop_copy.keys import key_of
from engine.drop_copy.queries import Begin, EventResendQuery, QueryState
from engine.kalshi.messages import EventResendComplete, EventResendReject, ExecutionReport

WALL = 1_763_978_400 * SECOND


def clocks(first, heard_ns=0, since_ns=0, whole=True):
    return [key_of(begin.exec_id)[0] for begin in guesses(first, heard_ns, since_ns, whole=whole)]


def test_guesses_go_back_from_far_to_near_and_never_below_nothing():
    assert clocks((5000, 1, 0)) == [5000 - 4096, 5000 - 256, 5000 - 16]
    assert clocks((10, 1, 0)) == []


def test_a_clock_that_keeps_time_gives_our_beginning_and_the_clocks_tolerance():
    first = (WALL // MS + 2000, 1, 0)
    guess = WALL // MS - 30_001
    assert guess in clocks(first, WALL + 2 * SECOND, WALL)
    assert guess not in clocks(first, WALL + 2 * SECOND)
    assert guess not in clocks((7_000_000, 1, 0), WALL + 2 * SECOND, WALL)
    assert guess not in clocks(first, WALL - SECOND, WALL)  # our clock leapt back: it tells nothing


def test_what_lies_before_a_guess_is_unproven_unless_the_session_was_whole():
    assert not any(begin.hole for begin in guesses((5000, 1, 0), 0, 0, whole=True))
    assert all(begin.hole for begin in guesses((5000, 1, 0), 0, 0, whole=False))


def test_a_guess_as_early_as_our_beginning_leaves_no_hole():
    first = (WALL // MS + 2000, 1, 0)
    heard_ns = WALL + 2 * SECOND
    early = {
        key_of(begin.exec_id)[0]
        for begin in guesses(first, heard_ns, WALL, whole=False, sure=True)
        if not begin.hole
    }
    assert max(early) == WALL // MS - 30_001
    assert all(begin.hole for begin in guesses(first, heard_ns, WALL, whole=False))
    assert all(begin.hole for begin in guesses((5000, 1, 0), heard_ns, WALL, whole=False, sure=True))


def test_a_report_that_was_executed_long_after_its_order_proves_no_less():
    """TransactTime may be the order's: what counts is when the report was heard."""
    first = (WALL // MS + 300_000, 1, 0)
    early = [b for b in guesses(first, WALL + 300 * SECOND, WALL, whole=False, sure=True) if not b.hole]
    assert key_of(early[-1].exec_id)[0] == WALL // MS - 30_001


def report(exec_id):
    return ExecutionReport(
        order_id="o", cl_ord_id="c", exec_id=exec_id, exec_type="0", ord_status="0", side="1", symbol="BTC-PERP",
        leaves_qty=100, cum_qty=0, order_qty=100,
    )  # fmt: skip


def ask(query, window, clocks_there):
    """Play a venue whose window begins at a clock; return how many requests it took."""
    seq = 0
    while query.state is not QueryState.DONE:
        seq += 1
        assert seq < 60
        begin = key_of(query.begin.exec_id)
        query.sent(seq, 0)
        if begin < (window, 0, 0):
            query.on_reject(EventResendReject(ref_seq_num=seq, event_resend_reject_reason=3), 0)
            continue
        shown = [clock for clock in clocks_there if (clock, 1, 0) >= begin]
        for clock in shown:
            query.on_report(report(f"{clock};1"), 0)
        query.on_complete(EventResendComplete(ref_seq_num=seq, resend_event_count=len(shown)), 0)
    return seq


def test_halving_finds_everything_that_the_venue_still_has():
    """Whatever was lost first: the oldest known is 1050, the window begins at 1000."""
    for lost in (1000, 1001, 1017, 1044, 1049):
        query = EventResendQuery([*guesses((1050, 1, 0), 0, 0, whole=True), Begin("1050;1")])
        requests = ask(query, 1000, [lost, 1050, 1051])
        assert list(query.reports) == [(lost, 1, 0), (1050, 1, 0), (1051, 1, 0)], lost
        assert requests < 15


def test_a_window_that_begins_after_us_leaves_a_hole_however_young_we_are():
    """Nobody knows why it begins there: drop copy may have been restarted, with our first fill before it."""
    first = WALL // MS + 300_000
    window = WALL // MS + 240_000
    query = EventResendQuery(
        [
            *guesses((first, 1, 0), WALL + 300 * SECOND, WALL, whole=False, sure=True),
            Begin(f"{first};1", hole=True),
        ]
    )
    ask(query, window, [first])
    assert (query.begin.exec_id, query.begin.hole) == (f"{window};0", True)


def test_halving_that_gets_before_our_beginning_leaves_no_hole():
    """The window begins a minute before us: the guess was too early for it, the next ones not early enough."""
    first = WALL // MS + 300_000
    window = WALL // MS - 30_500
    begins = guesses((first, 1, 0), WALL + 300 * SECOND, WALL, whole=False, sure=True)
    late = [begin for begin in begins if begin.hole]
    query = EventResendQuery([begins[0], *late, Begin(f"{first};1", hole=True)])
    ask(query, window, [WALL // MS + 1, first])
    assert (query.begin.exec_id, query.begin.hole) == (f"{window};0", False)
    assert len(query.reports) == 2


def test_the_best_answer_counts_when_a_better_one_fails():
    query = EventResendQuery([*guesses((1050, 1, 0), 0, 0, whole=True), Begin("1050;1")])
    seq = 0
    while query.reports == {} or query.state is QueryState.ASKED:
        seq += 1
        query.sent(seq, 0)
        if key_of(query.begin.exec_id)[0] < 1000:
            query.on_reject(EventResendReject(ref_seq_num=seq, event_resend_reject_reason=3), 0)
        else:
            query.on_report(report("1050;1"), 0)
            query.on_complete(EventResendComplete(ref_seq_num=seq, resend_event_count=1), 0)
            break
    assert query.state is QueryState.WAITING
    query.sent(seq + 1, 0)
    query.on_reject(EventResendReject(ref_seq_num=seq + 1, event_resend_reject_reason=5), 0)
    assert query.state is QueryState.DONE and list(query.reports) == [(1050, 1, 0)]


def test_a_plain_beginning_is_not_looked_behind():
    query = EventResendQuery([Begin("5;1"), Begin("9;1")])
    assert ask(query, 8, [8, 9]) == 2
    assert list(query.reports) == [(9, 1, 0)]
