"""What waits for tokens: order, shares, judged again, superseded, and answered in the end."""

import pytest

from engine.messages.commands import (
    Approved,
    Arm,
    CancelAll,
    CancelOrder,
    Halt,
    NewOrder,
    Refused,
    ReplaceOrder,
)

BTC = "BTC-PERP"
MS = 1_000_000
RATE = {"tier": "Basic", "cost": 10, "cancel_reserve_percent": 20}
WIDE = {
    "max_order_qty": "10", "max_order_notional": "1000.00", "max_position": "90", "max_open_orders": 90,
    "max_gross_notional": "90000.00", "max_unacknowledged": 90, "max_loss": "100.00",
}  # fmt: skip
PEERS = {1: "strategy.alpha", 2: "strategy.beta"}


@pytest.fixture
def queued(make):
    """Basic tier, a full bucket; both strategies let their requests wait for 2 s."""

    def build(**changes):
        wide = {f"strategies__{name}__limits": WIDE for name in ("alpha", "beta")}
        queue = {f"strategies__{name}__over_budget": "queue" for name in ("alpha", "beta")}
        waits = {f"strategies__{name}__queue_ms": 2000 for name in ("alpha", "beta")}
        rig = make(
            rate=RATE, risk__account=WIDE, risk__markets__btc=WIDE, **{**wide, **queue, **waits, **changes}
        )
        rig.wait(1300)
        rig.out.all.clear()
        return rig

    return build


def send(rig, slot=1, side=1, price=99_00, **more):
    """Send a new order; return its id."""
    cl_ord_id = rig.ids[slot]()
    intent = NewOrder(
        cl_ord_id=cl_ord_id, symbol=BTC, side=side, qty=100, price=price, made_ns=rig.now.mono_ns, **more
    )
    rig.give(intent, PEERS[slot])
    return cl_ord_id


def replace(rig, approved, price, qty=100, slot=1):
    intent = ReplaceOrder(
        cl_ord_id=rig.ids[slot](), orig_cl_ord_id=approved.request.cl_ord_id, symbol=BTC, side=1, qty=qty, price=price
    )  # fmt: skip
    rig.give(intent, PEERS[slot])
    return intent.cl_ord_id


def cancel(rig, cl_ord_id, slot=1):
    intent = CancelOrder(cl_ord_id=rig.ids[slot](), orig_cl_ord_id=cl_ord_id, symbol=BTC, side=1)
    rig.give(intent, PEERS[slot])
    return intent.cl_ord_id


def drain(rig, **more):
    """Spend what orders may use; the answers come at once, so that tokens flow again."""
    resting = [rig.rest(price=99_00, **more) for _ in range(8)]
    rig.out.all.clear()
    return resting


def settle(rig):
    """Answer what was approved; return the requests in the order in which they left, and the refusals."""
    found = [m for m in rig.take() if isinstance(m, Approved | Refused)]
    for message in found:
        if isinstance(message, Approved):
            rig.guard.budget.answered(message.request.cl_ord_id, rig.now.mono_ns)
    left = [m.request for m in found if isinstance(m, Approved)]
    return left, {m.cl_ord_id: m.control for m in found if isinstance(m, Refused)}


def leave(rig, ms):
    """Let time go by; return everything that left, in order, and all refusals."""
    left, refused = [], {}
    for _ in range(ms // 20):
        rig.wait(20)
        more, no = settle(rig)
        left += more
        refused.update(no)
    return [request.cl_ord_id for request in left], refused


def starve(rig):
    """Let no tokens come until `feed`: nothing is answered."""
    rig.guard.budget.pending += 10_000


def feed(rig):
    """Let tokens come again."""
    rig.guard.budget.pending -= 10_000


def test_what_is_over_budget_waits_and_leaves_as_tokens_come(queued):
    rig = queued()
    drain(rig)
    sent = [send(rig) for _ in range(5)]
    assert settle(rig) == ([], {})
    assert rig.guard.waiting.count == 5
    left, refused = leave(rig, 600)
    assert left == sent and not refused
    assert rig.guard.waiting.count == 0 and rig.guard.waiting.next_ns is None


def test_a_strategy_that_does_not_want_to_wait_is_refused_at_once(queued):
    rig = queued(strategies__alpha__over_budget="refuse")
    drain(rig)
    sent = send(rig)
    assert settle(rig) == ([], {sent: "tokens"})


def test_what_waits_too_long_is_refused(queued):
    rig = queued(strategies__alpha__queue_ms=150)
    drain(rig)
    sent = [send(rig) for _ in range(4)]
    left, refused = leave(rig, 400)
    assert left == sent[:1]
    assert refused == dict.fromkeys(sent[1:], "tokens")


def test_what_leaves_is_judged_by_what_is_known_then(queued):
    """The market has moved away while it waited: the collar of now refuses it."""
    rig = queued()
    drain(rig)
    sent = send(rig, price=101_00)
    rig.top(BTC, 90_00, 91_00)
    assert leave(rig, 200) == ([], {sent: "collar"})


def test_waiting_is_no_age(queued):
    """An intent may be 500 ms old; that it waited 700 ms for tokens is what its strategy asked for."""
    rig = queued()
    drain(rig)
    sent = [send(rig) for _ in range(9)]
    left, refused = leave(rig, 1200)
    assert left == sent and not refused


def test_a_halt_refuses_what_waits(queued):
    rig = queued()
    drain(rig)
    sent = [send(rig) for _ in range(3)]
    rig.give(Halt(request_id="h", why="test", who="me"), "tool.ctl")
    refused = {m.cl_ord_id: m.control for m in rig.take(Refused)}
    assert refused == dict.fromkeys(sent, "halted")
    assert rig.guard.waiting.count == 0


@pytest.mark.parametrize(
    "scope", [{"strategy": 1}, {}, {"symbol": BTC}, {"strategy": 1, "symbol": BTC}], ids=str
)
def test_what_is_made_while_halted_is_refused_and_never_waits_for_the_arm(queued, scope):
    """A cancel of the strategy waits for tokens: what comes behind it is judged now all the same."""
    rig = queued(strategies__alpha__queue_ms=5000)
    first, second, *_ = drain(rig)
    starve(rig)
    waits = cancel(rig, first.request.cl_ord_id)
    rig.give(Halt(request_id="h", who="me", why="stop", **scope), "tool.ctl")
    rig.out.all.clear()
    made = [send(rig), replace(rig, second, 98_00)]
    assert settle(rig) == ([], dict.fromkeys(made, "halted"))
    rig.give(Arm(request_id="a", who="me", why="go", **scope), "tool.ctl")
    feed(rig)
    left, _ = leave(rig, 400)
    assert waits in left and not set(made) & set(left)


def test_a_halt_ends_the_claim_on_tokens_too(queued):
    """A cancel of it still waits; the order that claimed tokens does not, and the others need leave it none."""
    rig = queued()
    first, *_ = drain(rig)
    starve(rig)
    send(rig)
    cancel(rig, first.request.cl_ord_id)
    assert 1 in rig.guard.budget.shares.claims
    rig.give(Halt(request_id="h", who="me", why="stop", strategy=1), "tool.ctl")
    assert rig.guard.waiting.count == 1 and 1 not in rig.guard.budget.shares.claims


def test_what_is_made_while_the_gate_is_closed_is_refused_and_never_waits_for_it_to_open(queued):
    rig = queued(strategies__alpha__queue_ms=5000)
    first, *_ = drain(rig)
    starve(rig)
    cancel(rig, first.request.cl_ord_id)
    rig.oe_beat(ready=False)
    rig.out.all.clear()
    made = send(rig)
    assert settle(rig) == ([], {made: "gate"})


def test_a_silent_workers_requests_wait_no_more(queued):
    rig = queued()
    drain(rig)
    sent = send(rig)
    rig.now = type(rig.now)(rig.now.wall_ns + 1100 * MS, rig.now.mono_ns + 1100 * MS)
    rig.guard.workers.by_peer["strategy.alpha"].beat_ns -= 1500 * MS
    rig.guard.budget.spent(200, rig.now.mono_ns)  # no tokens for it, so that only its silence can end it
    for worker in rig.guard.workers.silent(rig.now.mono_ns):
        rig.guard._worker_gone(worker, rig.now)
    assert {m.cl_ord_id: m.control for m in rig.take(Refused)}[sent] == "silent"


def test_of_an_order_only_the_newest_replace_waits(queued):
    rig = queued()
    resting = drain(rig)
    replaces = [replace(rig, resting[0], price) for price in (98_00, 97_00, 96_00)]
    rig.wait(120)
    found = [m for m in rig.take() if isinstance(m, Approved | Refused)]
    assert {m.cl_ord_id: m.control for m in found if isinstance(m, Refused)} == dict.fromkeys(
        replaces[:2], "superseded"
    )
    assert [(m.request.cl_ord_id, m.request.price) for m in found if isinstance(m, Approved)] == [
        (replaces[2], 96_00)
    ]


def test_what_waits_behind_a_replace_that_was_renewed_expires_in_its_own_time(queued):
    """The newer replace has a deadline of its own; the one behind it is refused at 2 s, not after that."""
    rig = queued()
    first, second, *_ = drain(rig)
    starve(rig)
    replace(rig, first, 98_00)
    behind = replace(rig, second, 97_00)
    rig.wait(1900)
    renewed = replace(rig, first, 96_00)
    settle(rig)
    rig.wait(160)
    assert settle(rig) == ([], {behind: "tokens"})
    feed(rig)
    assert leave(rig, 200) == ([renewed], {})


def test_what_waits_is_never_sent_after_its_deadline_however_late_the_guard_looks(queued):
    rig = queued()
    first, second, *_ = drain(rig)
    starve(rig)
    replace(rig, first, 98_00)
    behind = replace(rig, second, 97_00)
    rig.wait(1900)
    renewed = replace(rig, first, 96_00)
    settle(rig)
    feed(rig)
    rig.now = type(rig.now)(rig.now.wall_ns + 200 * MS, rig.now.mono_ns + 200 * MS)  # it was not running
    rig.beats()
    left, refused = settle(rig)
    assert [request.cl_ord_id for request in left] == [renewed] and refused == {behind: "tokens"}


def test_a_cancel_overtakes_its_own_replace(queued):
    """The reserve lets the cancel leave at once; the replace that waited is not wanted any more."""
    rig = queued()
    resting = drain(rig)
    waits = replace(rig, resting[0], 100_00)
    gone = cancel(rig, resting[0].request.cl_ord_id)
    left, refused = settle(rig)
    assert [request.cl_ord_id for request in left] == [gone]
    assert refused == {waits: "superseded"}


def test_the_cancel_of_an_order_that_waits_ends_it_here(queued):
    rig = queued()
    drain(rig)
    sent = send(rig)
    asked = cancel(rig, sent)
    assert settle(rig) == ([], {sent: "superseded", asked: "superseded"})


def test_cancel_all_takes_what_waits_too(queued):
    rig = queued()
    drain(rig)
    sent = send(rig)
    rig.give(CancelAll(), PEERS[1])
    assert {m.cl_ord_id: m.control for m in rig.take(Refused)} == {sent: "superseded"}


def test_the_most_urgent_leaves_first(queued):
    """Reducing replace before replace before new order, whatever came first; a cancel does not wait at all."""
    rig = queued()
    resting = drain(rig)
    new = send(rig)
    dearer = replace(rig, resting[0], 100_00)
    away = replace(rig, resting[1], 98_00)
    gone = cancel(rig, resting[2].request.cl_ord_id)
    left, refused = leave(rig, 500)
    assert left == [gone, away, dearer, new] and not refused


def test_a_replace_that_changes_nothing_is_no_reducing_one(queued):
    """Equal terms, equal terms of less, equal terms further away: only the last two come before what came first."""
    rig = queued()
    first, *resting = drain(rig, qty=200)
    dearer = replace(rig, first, 100_00, qty=200)
    same, less, away = (
        replace(rig, resting[n], price, qty)
        for n, (price, qty) in enumerate([(99_00, 200), (99_00, 100), (98_00, 200)])
    )
    left, refused = leave(rig, 600)
    assert left == [less, away, dearer, same] and not refused


@pytest.mark.parametrize("change", [100, 0, -100], ids=["nearer", "no change", "further away"])
def test_endless_replaces_starve_no_new_order_of_another(queued, change):
    """One replaces as fast as it can, by any rank; the other's new order leaves within the default queue_ms."""
    rig = queued(strategies__beta__queue_ms=1000)
    resting = drain(rig)
    sent, got, no, replaced = [], [], {}, 0
    for turn in range(150):
        for approved in resting:
            replace(rig, approved, 95_00 + change * (turn % 5))
        if turn % 50 == 0:
            sent.append(send(rig, slot=2, price=98_00))
        rig.wait(20)
        left, refused = settle(rig)
        got += [request.cl_ord_id for request in left]
        no.update(refused)
        for request in left:
            if isinstance(request, NewOrder):
                rig.submitted(Approved(epoch=0, no=0, expires_ns=0, strategy=2, request=request))
                continue
            replaced += 1
            terms = {"symbol": BTC, "side": 1, "price": request.price, "qty": 100, "leaves_qty": 100}
            rig.event(
                "replaced", "NEW", request.orig_cl_ord_id, request_id=request.cl_ord_id, cl_ord_id=request.cl_ord_id, **terms
            )  # fmt: skip
    assert set(sent) <= set(got) and replaced > 20, (replaced, [no.get(one) for one in sent])


def test_strategies_that_wait_share_alike(queued):
    """One sent 20 at once, the other 5 after them: they leave by turns."""
    rig = queued()
    drain(rig)
    many = [send(rig) for _ in range(20)]
    few = [send(rig, slot=2) for _ in range(5)]
    left, _ = leave(rig, 1100)
    first = left[:10]
    assert sum(one in few for one in first) == 5 and sum(one in many for one in first) == 5
    assert left[10:] == [one for one in many if one in left[10:]], "who is alone again gets everything"


def test_strategies_that_are_refused_share_alike(queued):
    """Both ask all the time, one far more often and always first: each gets every other token."""
    refuse = {f"strategies__{name}__over_budget": "refuse" for name in ("alpha", "beta")}
    rig = queued(**refuse)
    drain(rig)
    got = {1: 0, 2: 0}
    for turn in range(100):
        rig.wait(20)
        for slot in (1, 1, 1, 1, *((2,) if turn % 5 == 0 else ())):
            sent = send(rig, slot=slot)
            left, _ = settle(rig)
            got[slot] += [request.cl_ord_id for request in left] == [sent]
    assert abs(got[1] - got[2]) <= 2 and sum(got.values()) >= 18, got


def test_a_strategy_that_comes_no_more_leaves_its_share_after_a_second(queued):
    refuse = {f"strategies__{name}__over_budget": "refuse" for name in ("alpha", "beta")}
    rig = queued(**refuse)
    drain(rig)
    send(rig, slot=2)
    got = 0
    for _ in range(100):
        rig.wait(20)
        send(rig)
        got += len(settle(rig)[0])
    assert got == 20
    assert not [slot for slot in rig.guard.budget.shares.claims if slot == 2]


def test_alone_nobody_waits_for_a_share(queued):
    rig = queued(strategies__alpha__over_budget="refuse")
    drain(rig)
    for _ in range(5):
        send(rig)
    rig.wait(100)
    rig.out.all.clear()
    sent = send(rig)
    assert [request.cl_ord_id for request in settle(rig)[0]] == [sent]


def test_the_queue_is_bounded(queued, monkeypatch):
    monkeypatch.setattr("engine.guard.waiting.PER_STRATEGY_MAX", 3)
    rig = queued()
    drain(rig)
    sent = [send(rig) for _ in range(5)]
    assert settle(rig) == ([], dict.fromkeys(sent[3:], "tokens"))


def test_an_id_that_waits_is_in_use(queued):
    rig = queued()
    drain(rig)
    first = send(rig)
    rig.give(
        NewOrder(cl_ord_id=first, symbol=BTC, side=1, qty=100, price=99_00, made_ns=rig.now.mono_ns), PEERS[1]
    )
    assert settle(rig)[1] == {first: "duplicate"}


def test_a_venues_380_8_is_counted_and_what_waits_waits_on(queued):
    rig = queued()
    drain(rig)
    sent = send(rig)
    rig.guard.budget.refused_by_venue(rig.now.mono_ns)
    assert rig.guard.status(rig.now).metrics["rate_limited"] == 1
    assert leave(rig, 240) == ([], {})
    assert leave(rig, 120) == ([sent], {})
