"""The simulation's checker of an order's life: what the venue ended stays so, what we concluded it may overrule."""

from types import SimpleNamespace

import pytest

from engine.messages.executions import EventKind, OrderEvent, OrderState, Source
from engine.tools.simulation.checker import InvariantBroken
from engine.tools.simulation.invariants import OrderLife

NODE = SimpleNamespace(name="order_entry")


def told(kind: str, state: str, *, late: bool = True, source: Source = Source.SESSION) -> OrderEvent:
    return OrderEvent(
        tape_no=1,
        strategy=1,
        strategy_no=1,
        kind=EventKind(kind),
        state=OrderState(state),
        order="a",
        wall_ns=1,
        exec_id="1;1",
        qty=100,
        leaves_qty=0 if state != "UNKNOWN" else 100,
        late=late,
        source=source,
    )


def watch(*events: OrderEvent) -> None:
    checker = OrderLife(None)
    for event in events:
        checker.recorded(NODE, event)


NOT_SENT = told("not_sent", "NOT_SENT", late=False, source=Source.ENGINE)
REOPENED = told("new", "UNKNOWN")


def test_the_venue_may_overrule_what_we_concluded() -> None:
    watch(NOT_SENT, REOPENED, told("canceled", "CANCELED", late=False))
    watch(NOT_SENT, told("trade", "FILLED"))
    watch(NOT_SENT, told("trade", "NOT_SENT"), told("expired", "EXPIRED", source=Source.RECOVERED))


@pytest.mark.parametrize(
    "events",
    [
        (told("canceled", "CANCELED", late=False), REOPENED),
        (NOT_SENT, told("expired", "EXPIRED"), REOPENED),
        (NOT_SENT, told("new", "NEW")),
        (NOT_SENT, told("trade", "CANCELED")),
        (NOT_SENT, told("new", "UNKNOWN", source=Source.ENGINE)),
    ],
)
def test_nothing_else_changes_what_is_over(events) -> None:
    with pytest.raises(InvariantBroken):
        watch(*events)
