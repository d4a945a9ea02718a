"""The gate: each state by its condition, in the order in which they win; and configurations that can't be held."""

import pytest

from engine.errors import ConfigError
from engine.guard.limits import check_config
from engine.messages.commands import Halt
from engine.messages.decisions import GuardStatus
from engine.messages.market_data import FeedBeat, FeedState

BTC, ETH = "BTC-PERP", "ETH-PERP"


def test_the_way_to_trading_names_what_is_missing(make):
    rig = make(start=False)
    gate = rig.guard.gate
    rig.guard.start(rig.now)
    assert gate.state == "STARTING"
    rig.accept()
    assert gate.reasons[0] == "the state of orders was not taken over yet"
    rig.snapshot()
    assert gate.state == "RECOVERING" and gate.reasons[:2] == ["order entry is silent", "drop copy is silent"]
    rig.oe_beat()
    rig.caught_up()
    assert (gate.state, gate.reasons) == ("READY", ["market data is silent"])
    rig.top(BTC, 99_00, 101_00)
    assert (gate.state, gate.reasons) == ("TRADING", [])


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda r: r.oe_beat(ready=False, detail="resolving"), "RECOVERING"),
        (lambda r: r.oe_beat(unknown=1), "RECOVERING"),
        (lambda r: r.caught_up(caught_up=False), "RECOVERING"),
        (lambda r: r.caught_up(gating={"position": 1}), "PAUSED"),
        (lambda r: r.caught_up(gating={"foreign": 1}), "TRADING"),
        (lambda r: r.caught_up(watermark_wall_ns=r.now.wall_ns - 7201 * 10**9), "PAUSED"),
        (lambda r: r.caught_up(watermark_wall_ns=r.now.wall_ns - 7200 * 10**9), "TRADING"),
        (lambda r: r.oe_beat(skew_ns=5_000_000_001), "PAUSED"),
        (lambda r: r.oe_beat(skew_ns=-5_000_000_000), "TRADING"),
        (lambda r: r.guard.on_journal_failed("full", r.now), "PAUSED"),
        (lambda r: [r.top(s, 0, 0, state=FeedState.STALE) for s in (BTC, ETH)], "PAUSED"),
        (lambda r: r.give(Halt(request_id="h", why="w", who="me"), "tool.x"), "HALTED"),
        (lambda r: r.guard.quiesce(r.now), "STOPPING"),
    ],
)
def test_each_condition_has_its_state(rig, change, state):
    change(rig)
    assert rig.guard.gate.state == state
    assert (rig.control(price=99_00) is None) == (state == "TRADING")


def test_what_drop_copy_said_before_order_entrys_logon_does_not_open_the_gate(rig):
    """Caught up counts only from a drop copy that has heard of the sweep which the Logon wants."""
    rig.caught_up(wanted=6)
    rig.oe_beat(sweep_wanted=7, logon_sweep=7)
    assert rig.guard.gate.state == "RECOVERING"
    assert rig.guard.gate.reasons == [
        "drop copy is not caught up: it has not heard of order entry's logon yet"
    ]
    rig.oe_beat(sweep_wanted=8, logon_sweep=7)
    rig.caught_up(wanted=7)
    assert rig.guard.gate.state == "TRADING"


def test_stopping_wins_over_halted_and_halted_over_recovering(rig):
    rig.oe_beat(ready=False)
    rig.give(Halt(request_id="h", why="w", who="me"), "tool.x")
    assert rig.guard.gate.state == "HALTED"
    assert any("not ready" in reason for reason in rig.guard.gate.reasons)
    rig.guard.quiesce(rig.now)
    assert rig.guard.gate.state == "STOPPING"


def test_silence_closes_the_gate_by_itself(rig):
    rig.wait(1300, beats=False)
    assert rig.guard.gate.state == "RECOVERING"
    rig.beats()
    assert rig.guard.gate.state == "TRADING"


def test_a_refusal_that_names_a_pause_holds_new_orders_for_a_while(rig):
    """venue.md section 2: in a trading pause no new orders; no hot loop against it."""
    approved = rig.new(price=99_00)
    rig.submitted(approved)
    rig.end(
        approved,
        "rejected",
        "REJECTED",
        text="TRADING_PAUSED",
        reason=2,
        request_id=approved.request.cl_ord_id,
    )
    assert rig.guard.gate.state == "PAUSED"
    rig.wait(4900)
    assert rig.guard.gate.state == "PAUSED"
    rig.wait(200)
    rig.caught_up(watermark_wall_ns=rig.now.wall_ns)
    rig.top(BTC, 99_00, 101_00)
    rig.wait(100)
    assert rig.guard.gate.state == "TRADING"


def test_the_feeds_beat_speaks_for_each_market(rig):
    rig.give(
        FeedBeat(
            feed=1,
            feed_no=1,
            mono_ns=0,
            session="logged on",
            markets={BTC: FeedState.STALE, ETH: FeedState.LIVE},
        )
    )
    assert rig.control(price=99_00) == "market"
    assert rig.control(price=49_0000, symbol=ETH) is None


def test_a_new_market_data_process_is_asked_for_its_books(rig):
    rig.take()
    rig.give(FeedBeat(feed=2, feed_no=1, mono_ns=0, session="connecting"))
    assert [c for c, *_ in rig.out.all].count("md.ask") == 1


def test_status_every_250_ms_and_at_each_change(rig):
    rig.take()
    rig.wait(1000)
    assert 3 <= len(rig.take(GuardStatus)) <= 5
    rig.oe_beat(ready=False)
    assert [s.gate for s in rig.take(GuardStatus)] == ["RECOVERING"]


def test_status_shows_each_strategys_use(rig):
    rig.hold(300, fee=1000)
    rig.rest(qty=200, price=99_00)
    use = next(u for u in rig.guard.report.status(rig.now).strategies if (u.strategy, u.symbol) == (1, BTC))
    assert (use.position, use.open_buy, use.open_orders, use.fills, use.fees, use.state) == (
        300,
        200,
        1,
        1,
        1000,
        "trading",
    )
    assert rig.guard.report.status(rig.now).names["1"] == "alpha"


def test_the_same_inputs_give_the_same_trace(make):
    """Nothing random or unordered influences what is emitted."""
    traces = []
    for _ in range(2):
        rig = make()
        rig.rest(price=99_00)
        rig.rest(slot=2, price=98_00)
        rig.give(Halt(request_id="h", why="w", who="me"), "tool.x")
        rig.wait(2000)
        traces.append(rig.out.all)
    assert traces[0] == traces[1]


# -- configurations


def test_a_good_configuration_has_no_problems(config_of):
    assert check_config(config_of()) == []


@pytest.mark.parametrize(("open_orders", "good"), [(100, True), (101, False)])
def test_what_may_be_open_must_be_cancellable_in_time(config_of, open_orders, good):
    """Basic: 100 tokens a second, 10 a cancel, kill_within_s 10: 100 orders and not one more."""
    limits = {
        "max_order_qty": "1", "max_order_notional": "1", "max_position": "1", "max_open_orders": open_orders,
        "max_gross_notional": "1", "max_loss": "1",
    }  # fmt: skip
    problems = check_config(config_of(rate={"tier": "Basic"}, risk__account=limits))
    assert (problems == []) == good
    assert good or "max_open_orders" in problems[0]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"rate": {"tier": "Gold"}}, "rate.tier"),
        ({"rate": {"tier": "explicit"}}, "write_per_s"),
        ({"rate": {"tier": "Basic", "cancel_reserve_percent": 100}}, "cancel_reserve_percent"),
        ({"rate": {"tier": "Basic", "cancel_reserve_percent": 95}}, "only 5 are ever there"),
        ({"strategies__beta__slot": 1}, "slot 1"),
        ({"strategies__beta__slot": 0}, "slot must be"),
        ({"strategies__beta__markets": ["DOGE-PERP"]}, "DOGE-PERP has no [instruments]"),
        ({"risk__unknown_orders": "ignore"}, "unknown_orders"),
        ({"instruments__btc": {"tick": "abc"}}, "instruments.BTC-PERP.tick"),
        ({"instruments__btc": {"tick": "0"}}, "above zero"),
        ({"instruments__btc": {"collar_bp": 10_000}}, "collar_bp"),
        ({"risk__kill_within_s": 0}, "kill_within_s"),
        ({"risk__account__max_position": "0"}, "max_position"),
        ({"risk__account__max_position": "many"}, "risk.account"),
        ({"risk__account__max_unacknowledged": 0}, "max_unacknowledged"),
    ],
)
def test_a_configuration_that_cannot_be_held_is_refused(config_of, make, changes, word):
    assert any(word in problem for problem in check_config(config_of(**changes)))
    with pytest.raises(ConfigError, match=r"."):
        make(start=False, **changes)
