"""One order's life: the table, crossings, permutations."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages.commands import CancelOrder, NewOrder, ReplaceOrder
from engine.messages.executions import TERMINAL, EventKind, OrderState, ReportCopy, Source
from engine.orders import order as orders
from engine.orders.order import TRANSITIONS, Facts, Order, Rule, next_state, render_table, working_state

K, S = EventKind, OrderState
KINDS = {
    "0": K.NEW,
    "F": K.TRADE,
    "4": K.CANCELED,
    "5": K.REPLACED,
    "C": K.EXPIRED,
    "8": K.REJECTED,
    "A": K.PENDING_NEW,
}


def key(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(";"))


class Life:
    """An order with what a ledger would do: unique ExecIDs, what can't follow is dropped."""

    def __init__(self, qty: int = 1000) -> None:
        new = NewOrder(cl_ord_id="A", symbol="BTC-PERP", side=1, qty=qty, price=100_000)
        event = orders.submitted(new, 1, (1, 1), 0)
        self.order = Order(event)
        self.events = []
        self.seen = set()
        self.take(event)

    def take(self, event) -> None:
        self.order.apply(event, key)
        self.events.append(event)

    def numbers(self):
        return len(self.events) + 1, len(self.events) + 1

    def request(self, request) -> None:
        self.take(orders.requested(self.order, request, self.numbers(), 0))

    def cancel(self, cl_ord_id: str) -> None:
        self.request(CancelOrder(cl_ord_id=cl_ord_id, orig_cl_ord_id="A", symbol="BTC-PERP", side=1))

    def replace(self, cl_ord_id: str, qty: int, price: int = 110_000) -> None:
        request = ReplaceOrder(
            cl_ord_id=cl_ord_id, orig_cl_ord_id="A", symbol="BTC-PERP", side=1, qty=qty, price=price
        )
        self.request(request)

    def tell(self, kind, **more) -> None:
        self.take(orders.told(self.order, kind, self.numbers(), 0, **more))

    def report(self, report: ReportCopy, source=Source.SESSION) -> None:
        if report.exec_id and report.exec_id in self.seen:
            return
        self.seen.add(report.exec_id)
        kind = KINDS[report.exec_type]
        if (self.order.event.state, kind) not in TRANSITIONS:
            return
        exec_key = key(report.exec_id) if report.exec_id else ()
        self.take(
            orders.reported(self.order, kind, report, self.numbers(), 0, exec_key=exec_key, source=source)
        )

    @property
    def state(self):
        return self.order.event.state


def rep(exec_type: str, exec_id: str, status: str, cl_ord_id: str = "A", **more) -> ReportCopy:
    return ReportCopy(
        exec_id=exec_id,
        cl_ord_id=cl_ord_id,
        exec_type=exec_type,
        ord_status=status,
        symbol="BTC-PERP",
        side=1,
        **more,
    )


def fill(exec_id: str, qty: int, status: str = "1", cl_ord_id: str = "A") -> ReportCopy:
    return rep("F", exec_id, status, cl_ord_id, last_qty=qty, last_px=100_000)


def test_the_plain_life() -> None:
    """SUBMITTING, NEW, PARTIALLY_FILLED, FILLED; CumQty + LeavesQty = OrderQty all along."""
    life = Life()
    for report in (rep("0", "1;1", "0"), fill("1;2", 400), fill("1;3", 600, "2")):
        life.report(report)
    assert [e.state for e in life.events] == [S.SUBMITTING, S.NEW, S.PARTIALLY_FILLED, S.FILLED]
    assert [(e.cum_qty, e.leaves_qty) for e in life.events] == [(0, 1000), (0, 1000), (400, 600), (1000, 0)]


def test_new_may_be_folded_into_the_first_trade() -> None:
    """venue.md 21026: the first report of an order may be a Trade."""
    life = Life()
    life.report(fill("1;2", 400))
    assert life.state is S.PARTIALLY_FILLED and life.order.heard_of
    life.report(rep("0", "1;1", "0"))
    assert life.state is S.PARTIALLY_FILLED


def test_a_rejected_cancel_gives_the_working_state_back() -> None:
    """35=9 for a cancel: the order is as it was, with what came meanwhile."""
    life = Life()
    life.report(rep("0", "1;1", "0"))
    life.cancel("C1")
    assert life.state is S.PENDING_CANCEL
    life.report(fill("1;2", 100))
    assert life.state is S.PENDING_CANCEL
    life.tell(K.CANCEL_REJECTED, request_id="C1", reason=0)
    assert life.state is S.PARTIALLY_FILLED


def test_the_original_stands_until_replaced_arrives() -> None:
    """A replace chain: terms and ClOrdID in force change with the Replaced report only."""
    life = Life()
    life.report(rep("0", "1;1", "0"))
    life.replace("B", 800)
    event = life.order.event
    assert (event.state, event.cl_ord_id, event.qty, event.price) == (S.PENDING_REPLACE, "A", 1000, 100_000)
    assert (event.new_qty, event.new_price) == (800, 110_000)
    assert life.order.worst_qty == 1000
    life.report(rep("5", "1;2", "0", "B", orig_cl_ord_id="A", qty=5))
    event = life.order.event
    assert (event.state, event.cl_ord_id, event.qty, event.price) == (S.NEW, "B", 800, 110_000)
    assert (event.new_qty, event.order) == (0, "A")
    life.replace("C", 2000)
    assert life.order.worst_qty == 2000
    life.tell(K.REPLACE_REJECTED, request_id="C", reason=99)
    assert (life.state, life.order.event.qty) == (S.NEW, 800)


def test_two_replaced_reports_in_the_wrong_order_end_with_the_newer_terms() -> None:
    """Terms follow the highest ExecID, compared as integers."""
    life = Life()
    life.replace("B", 800)
    life.replace("C", 600, 120_000)
    life.report(rep("5", "10;1", "0", "C"))
    life.report(rep("5", "9;9", "0", "B"))
    event = life.order.event
    assert (event.state, event.cl_ord_id, event.qty, event.price) == (S.NEW, "C", 600, 120_000)


def test_order_qty_38_is_not_computed_from() -> None:
    """A replace that is not ours: the total is LeavesQty + CumQty, whatever 38 says."""
    life = Life()
    life.report(rep("5", "1;1", "0", "X", qty=1, leaves_qty=300, cum_qty=100, price=90_000))
    assert (life.order.event.qty, life.order.event.price) == (400, 90_000)


def test_a_late_fill_moves_cum_qty_but_not_the_state() -> None:
    """Invariant 4: no report moves a terminal order."""
    life = Life()
    life.report(rep("4", "1;5", "4"))
    life.report(fill("1;2", 400))
    event = life.order.event
    assert (event.state, event.late, event.cum_qty, event.leaves_qty) == (S.CANCELED, True, 400, 0)


@pytest.mark.parametrize(
    ("source", "state"), [(Source.SESSION, S.PARTIALLY_FILLED), (Source.RECOVERED, S.UNKNOWN)]
)
def test_only_the_session_brings_an_unknown_order_back_to_work(source, state) -> None:
    """Drop copy shows what was: the fill counts, the doubt stays."""
    life = Life()
    life.tell(K.UNKNOWN, text="session lost")
    life.report(fill("1;2", 400), source)
    assert (life.state, life.order.event.cum_qty) == (state, 400)


@pytest.mark.parametrize(
    ("reports", "end"),
    [
        ([], S.NOT_SENT),
        ([rep("0", "1;1", "0")], S.CANCELED),
        ([fill("1;2", 400)], S.CANCELED),
        ([fill("1;2", 1000)], S.FILLED),
    ],
)
def test_what_an_unknown_order_is_resolved_to(reports, end) -> None:
    """Never heard of: NOT_SENT; filled by its fills: FILLED; else CANCELED."""
    life = Life()
    life.tell(K.UNKNOWN)
    for report in reports:
        life.report(report, Source.RECOVERED)
    life.tell(K.RESOLVED)
    assert life.state is end


def test_an_absent_transition_is_an_error() -> None:
    """The table has no defaults."""
    facts = Facts(heard_of=False, pending_new=False, cum_qty=0, qty=1, cancelling=False, replacing=False)
    for state, kind in ((S.NEW, K.SUBMITTED), (S.FILLED, K.UNKNOWN), (S.NEW, K.RESOLVED), (None, K.TRADE)):
        with pytest.raises(KeyError):
            next_state(state, kind, facts, filled=False, source=Source.SESSION)


def test_no_event_leads_out_of_a_terminal_state() -> None:
    """Every row of a terminal state says that it stays, unless it was our own conclusion."""
    facts = Facts(heard_of=True, pending_new=False, cum_qty=0, qty=1, cancelling=False, replacing=False)
    for (state, kind), to in TRANSITIONS.items():
        if state in TERMINAL:
            assert to in (Rule.STAYS, Rule.OVERRULES)
            assert next_state(state, kind, facts, filled=True, source=Source.SESSION, resting=True) is state


@pytest.mark.parametrize(
    ("report", "state"),
    [
        (rep("0", "1;1", "0", leaves_qty=1000), S.UNKNOWN),
        (rep("5", "1;1", "0", leaves_qty=1000), S.UNKNOWN),
        (rep("F", "1;1", "1", last_qty=400, last_px=1, leaves_qty=600), S.UNKNOWN),
        (rep("F", "1;1", "2", last_qty=1000, last_px=1), S.FILLED),
        (rep("4", "1;1", "4"), S.CANCELED),
        (rep("C", "1;1", "C"), S.EXPIRED),
        (rep("8", "1;1", "8"), S.REJECTED),
        (rep("0", "1;1", "0"), S.NOT_SENT),
    ],
)
@pytest.mark.parametrize("source", [Source.SESSION, Source.RECOVERED])
def test_the_venues_word_overrides_our_conclusion(report, state, source) -> None:
    """An end that it tells is the state; what rests is UNKNOWN again, at its worst."""
    life = Life()
    life.tell(K.UNKNOWN)
    life.tell(K.RESOLVED)
    assert (life.state, life.order.concluded) == (S.NOT_SENT, True)
    life.report(report, source)
    event = life.order.event
    assert (life.state, event.late) == (state, True)
    assert event.leaves_qty == (1000 - event.cum_qty if state is S.UNKNOWN else 0)
    assert (life.order.reopened, life.order.concluded) == (state is S.UNKNOWN, state is S.NOT_SENT)


def test_what_the_venue_told_after_our_conclusion_stays() -> None:
    """Its end is no conclusion of ours any more: an older report opens nothing."""
    life = Life()
    life.tell(K.UNKNOWN)
    life.tell(K.RESOLVED)
    life.report(rep("4", "1;5", "4"))
    life.report(rep("0", "1;1", "0", leaves_qty=1000))
    assert (life.state, life.order.event.late) == (S.CANCELED, True)


def test_an_order_that_came_back_only_ends() -> None:
    """The session shows it working: it stays UNKNOWN, for nobody wants it any more."""
    life = Life()
    life.tell(K.NOT_SENT)
    life.report(rep("0", "1;1", "0", leaves_qty=1000))
    life.report(rep("F", "1;2", "1", last_qty=400, last_px=1, leaves_qty=600))
    assert (life.state, life.order.event.leaves_qty) == (S.UNKNOWN, 600)
    life.report(rep("C", "1;3", "C"))
    assert life.state is S.EXPIRED


@given(
    heard=st.booleans(),
    pending=st.booleans(),
    cum=st.integers(0, 5),
    cancel=st.booleans(),
    replace=st.booleans(),
)
def test_the_working_state_is_never_terminal_nor_unknown(heard, pending, cum, cancel, replace) -> None:
    """Facts alone end no order."""
    facts = Facts(
        heard_of=heard, pending_new=pending, cum_qty=cum, qty=5, cancelling=cancel, replacing=replace
    )
    assert working_state(facts) not in TERMINAL | {S.UNKNOWN}


def test_the_table_renders_as_markdown() -> None:
    """docs/orders.md is generated from the table."""
    lines = render_table().splitlines()
    assert lines[0].startswith("| event | (none) | SUBMITTING | PENDING_NEW | NEW |")
    assert "| `submitted` | SUBMITTING |" in render_table()
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert not any("`position`" in line for line in lines)


def valid_life(seed: int) -> list[ReportCopy]:
    """The reports of one order as a venue could send them, replaces B and C included."""
    rng = random.Random(seed)
    no, cum, qty, out = 0, 0, 1000, []

    def exec_id() -> str:
        nonlocal no
        no += 1
        return f"{8 + no // 4};{no}"

    end = rng.choice(["fill", "cancel", "expire", "reject"])
    if rng.random() < 0.5:
        out.append(rep("A", "", "A"))
    if end == "reject":
        return [*out, rep("8", exec_id(), "8", reason=99)]
    if rng.random() < 0.7:
        out.append(rep("0", exec_id(), "0"))
    current = "A"
    for replace, total in (("B", 1500), ("C", 1200)):
        for _ in range(rng.randrange(3)):
            cum += 100
            out.append(fill(exec_id(), 100, "1", current))
        if rng.random() < 0.6:
            current, qty = replace, total
            out.append(
                rep("5", exec_id(), "0", replace, orig_cl_ord_id="A", cum_qty=cum, leaves_qty=total - cum)
            )
    if end == "fill":
        out.append(fill(exec_id(), qty - cum, "2", current))
    else:
        kind = "4" if end == "cancel" else "C"
        out.append(rep(kind, exec_id(), kind, "Z", orig_cl_ord_id=current, cum_qty=cum))
    return out


@settings(max_examples=150)
@given(seed=st.integers(0, 10_000), shuffle=st.randoms(use_true_random=False), extra=st.integers(0, 6))
def test_any_order_of_any_valid_reports_duplicated_ends_the_same(seed, shuffle, extra) -> None:
    """Same terminal state, CumQty, OrderQty, price and ClOrdID in force, whatever the order of arrival."""
    reports = valid_life(seed)
    ends = []
    for _ in range(2):
        life = Life()
        life.replace("B", 1500, 120_000)
        life.replace("C", 1200, 130_000)
        life.cancel("Z")
        for report in reports:
            life.report(report)
        event = life.order.event
        assert event.state in TERMINAL and event.leaves_qty == 0
        ends.append((event.state, event.cum_qty, event.qty, event.price, event.cl_ord_id))
        reports = reports + shuffle.choices(reports, k=extra)
        shuffle.shuffle(reports)
    assert ends[0] == ends[1]


def test_a_settled_fill_that_comes_after_all_is_settled_no_more() -> None:
    """What gets lost after it is missing, not taken for what the operator settled."""
    life = Life()

    def lacks():
        return life.order.event.cum_qty, life.order.event.missing_qty, life.order.event.settled_qty

    def traded(event: int, qty: int, cum_qty: int) -> None:
        life.report(rep("F", f"1;{event}", "1", last_qty=qty, last_px=100_000, cum_qty=cum_qty))

    traded(2, 100, 400)
    life.take(orders.denied(life.order.event, life.numbers(), 0, "none there", Source.RECOVERED))
    assert lacks() == (100, 300, 0)
    life.take(orders.denied(life.order.event, life.numbers(), 0, "stated", Source.OPERATOR))
    assert lacks() == (100, 0, 300)
    traded(3, 100, 500)
    assert lacks() == (200, 0, 300)
    traded(1, 300, 300)
    assert lacks() == (500, 0, 0)
    traded(5, 100, 700)
    assert lacks() == (600, 100, 0)
