"""What is alerted: each condition once, when it begins, and again only when it had ended."""

import pytest

from engine.common.actor import Status
from engine.messages.decisions import GuardStatus, LatchNote
from engine.messages.reconciliation import BreakNote
from engine.runtime.conditions import Conditions, Known

SECOND = 1_000_000_000
UP = {"KalshiNR": "logged on"}


class Rig:
    """Looks once a quarter second, as the supervisor does."""

    def __init__(self, unknown_s=5, again_s=0):
        self.now = SECOND
        self.conditions = Conditions(unknown_s, again_s, self.now)
        self.gate, self.latches, self.reasons, self.breaks = "TRADING", {}, [], {}
        self.sessions, self.metrics, self.running, self.alive = dict(UP), {}, True, True
        self.others = {}

    def look(self, seconds=0.25):
        told = []
        for _ in range(round(seconds * 4)):
            self.now += SECOND // 4
            guard = GuardStatus(
                wall_ns=self.now, gate=self.gate, epoch=1, reasons=self.reasons, latches=self.latches
            )
            order_entry = Status(state="TRADING", sessions=self.sessions) if self.alive else None
            statuses = {
                "guard": Status(state="x", metrics=self.metrics),
                "order_entry": order_entry,
                **self.others,
            }
            known = Known(self.gate, guard, statuses, self.breaks, self.running)
            told += [(c.kind, c.key) for c in self.conditions.begun(known, self.now)]
        return told


@pytest.fixture
def rig():
    made = Rig()
    assert made.look(2) == []
    return made


def note(scope, why, who, *, halted=True):
    return LatchNote(wall_ns=0, halted=halted, scope=scope, why=why, who=who)


@pytest.mark.parametrize(
    ("who", "why", "kind"),
    [("ann", "news", "halt"), ("guard", "loss limit: account lost 5", "trip"), ("guard", "liquidation: BTC", "liquidation")],
)  # fmt: skip
def test_a_latch_is_told_once_by_what_set_it(rig, who, why, kind):
    rig.conditions.latch(note("all", why, who))
    rig.latches = {"all": why}
    rig.gate = "HALTED"
    assert rig.look(5) == [(kind, "halt:all")]


def test_a_latch_of_another_scope_is_another_condition(rig):
    rig.latches = {"all": "x"}
    rig.look()
    rig.latches = {"all": "x", "market BTC-PERP": "y"}
    assert rig.look(2) == [("halt", "halt:market BTC-PERP")]


def test_a_latch_that_was_released_and_set_again_is_told_again(rig):
    rig.latches = {"all": "x"}
    assert len(rig.look()) == 1
    rig.latches = {}
    assert rig.look() == []
    rig.latches = {"all": "x"}
    assert len(rig.look()) == 1


def test_what_flaps_is_told_again_after_its_pause_only():
    rig = Rig(again_s=10)
    told = []
    for turn in range(40):
        rig.latches = {"all": "x"} if turn % 2 else {}
        told += rig.look(0.5)
    assert len(told) == 2


def test_what_came_again_within_the_pause_and_lasts_is_told_when_the_pause_is_over():
    rig = Rig(again_s=10)
    rig.latches = {"all": "x"}
    assert len(rig.look()) == 1
    rig.latches = {}
    rig.look()
    rig.latches = {"all": "x"}
    assert rig.look(9) == [] and len(rig.look(2)) == 1


def test_a_session_that_is_down_is_told_and_one_that_blinks_is_not(rig):
    rig.sessions = {"KalshiNR": "connecting"}
    assert rig.look(0.5) == []
    rig.sessions = dict(UP)
    assert rig.look(3) == []
    rig.sessions = {"KalshiNR": "waiting 5 s"}
    assert rig.look(4) == [("session", "session:KalshiNR")]


def test_a_session_whose_process_is_gone_is_down(rig):
    rig.alive = False
    assert rig.look(3) == [("session", "session:KalshiNR")]


def test_of_a_session_only_its_own_process_is_believed(rig):
    """A worker can neither hide that a session is down nor invent ones that are."""
    rig.sessions = {"KalshiNR": "waiting 5 s"}
    rig.others = {"strategy.x": Status(state="x", sessions={"KalshiNR": "logged on", "Mine": "logged on"})}
    assert rig.look(4) == [("session", "session:KalshiNR")]
    rig.others = {}
    assert rig.look(4) == []


def test_a_session_that_never_came_up_is_told_after_the_start():
    rig = Rig()
    rig.sessions, rig.gate = {"KalshiNR": "connecting"}, "STARTING"
    assert rig.look(15) == []
    assert rig.look(10) == [("session", "session:KalshiNR")]


def test_a_closed_gate_is_told_with_its_reason_but_not_before_trading_began():
    rig = Rig()
    rig.gate = "RECOVERING"
    assert rig.look(30) == []
    rig.gate = "TRADING"
    rig.look()
    rig.gate, rig.reasons = "PAUSED", ["market data is silent"]
    assert rig.look(5) == [("gate", "gate")]


def test_a_halt_is_not_told_a_second_time_as_a_closed_gate(rig):
    rig.gate, rig.latches = "HALTED", {"all": "x"}
    assert rig.look(5) == [("halt", "halt:all")]


def test_unknown_orders_are_told_when_they_are_old_enough(rig):
    rig.metrics = {"unknown": 1, "unknown_ms": 4900}
    assert rig.look() == []
    rig.metrics = {"unknown": 1, "unknown_ms": 5100}
    assert rig.look(3) == [("unknown", "unknown")]


def test_a_break_is_told_once_and_one_that_is_explained_is_not(rig):
    fields = {"kind": "position", "wall_ns": 1, "symbol": "BTC-PERP", "text": "5 against 4"}
    rig.breaks = {"b": BreakNote(break_id="b", status="open", **fields)}
    assert rig.look(3) == [("break", "break:b")]
    rig.breaks = {"c": BreakNote(break_id="c", status="explained", **fields)}
    assert rig.look(3) == []


def test_a_liquidation_that_halts_nothing_is_told_too(rig):
    rig.conditions.notice("liquidation: BTC-PERP: the venue closes our position (x)")
    rig.conditions.notice("worker alpha is silent")
    assert [kind for kind, _ in rig.look(2)] == ["liquidation"]


def test_an_engine_that_stops_is_no_alert(rig):
    rig.running, rig.gate, rig.sessions = False, "STOPPING", {"KalshiNR": "logged out"}
    assert rig.look(5) == []
