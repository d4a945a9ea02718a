"""How much each sender may send, and who may send nothing."""

from engine.bus.meter import MALFORMED_COSTS, Flood, Meter, Rate

SECOND = 1_000_000_000
NAMES = frozenset({"strategy.one", "strategy.two", "guard", "supervisor"})


def spend(meter, name, count):
    """Send; return how many were heard."""
    heard = 0
    for _ in range(count):
        frame = name.encode()
        sender = meter.senders.get(frame) or meter.meet(frame)
        sender.left -= 1
        if sender.left < 0:
            sender.discarded += 1
        else:
            heard += 1
    return heard


def made(**more):
    meter = Meter({"strategy.one": Rate(100, 200)}, **more)
    meter.names = NAMES
    meter.refill(0)
    return meter


def test_a_burst_passes_then_only_the_rate():
    meter = made()
    assert spend(meter, "strategy.one", 250) == 200
    assert meter.refill(0) == [Flood("strategy.one", 50, barred=False)]
    assert meter.refill(SECOND) == []
    assert spend(meter, "strategy.one", 100) == 50, "what was dropped was spent all the same"


def test_who_goes_on_flooding_is_not_heard_and_is_heard_again_after_a_quiet_moment():
    meter = made()
    spend(meter, "strategy.one", 10_000)
    heard = 0
    for tick in range(1, 101):
        meter.refill(tick * SECOND // 20)
        heard += spend(meter, "strategy.one", 2_500)
    assert heard == 0
    meter.refill(6 * SECOND)
    meter.refill(8 * SECOND)
    assert spend(meter, "strategy.one", 10) == 10


def test_one_senders_flood_is_not_anothers():
    meter = made()
    spend(meter, "strategy.one", 10_000)
    assert spend(meter, "strategy.two", 1000) == 1000


def test_names_that_are_no_process_and_no_tool_are_never_heard():
    meter = made()
    assert [spend(meter, name, 3) for name in ("evil", "strategy.three", "", "tool.ctl.1", "guard")] == [
        0,
        0,
        0,
        3,
        3,
    ]
    assert {flood for flood in meter.refill(1) if flood.barred} == {
        Flood("evil", 3, barred=True), Flood("strategy.three", 3, barred=True), Flood("", 3, barred=True),
    }  # fmt: skip
    meter.refill(100 * SECOND)
    assert spend(meter, "evil", 1) == 0


def test_through_a_door_only_its_owner_is_heard_and_not_elsewhere():
    door = made(owner="strategy.one")
    assert [spend(door, name, 1) for name in ("strategy.one", "strategy.two", "tool.ctl.1", "guard")] == [
        1,
        0,
        0,
        0,
    ]
    shared = made()
    shared.elsewhere = frozenset({"strategy.one"})
    assert [spend(shared, name, 1) for name in ("strategy.one", "strategy.two", "tool.ctl.1")] == [0, 1, 1]


def test_ten_thousand_names_take_no_memory():
    meter = made()
    spend(meter, "strategy.one", 200)
    for number in range(10_000):
        spend(meter, f"evil.{number}", 1)
    assert len(meter.senders) <= 1001
    assert spend(meter, "strategy.one", 1) == 0, "its allowance was not made anew"


def test_malformed_bytes_cost_more():
    assert MALFORMED_COSTS >= 10
