"""A guard with everything around it faked: order entry by its tape, market data by its tops, workers by their beats."""

import msgspec
import pytest

from engine.common.clock import Now
from engine.common.ids import ClOrdIDs
from engine.config import Config
from engine.guard.actor import Guard
from engine.messages.commands import (
    Approved,
    EpochAccepted,
    GuardHello,
    NewOrder,
    Refused,
    ReplaceOrder,
    WorkerBeat,
)
from engine.messages.executions import (
    EventKind,
    OrderEvent,
    OrdersSnapshot,
    OrderState,
    PositionState,
    TapeBeat,
)
from engine.messages.market_data import FeedBeat, FeedState, TopOfBook
from engine.messages.reconciliation import ReconciliationStatus

MS = 1_000_000
START = Now(1_790_000_000_000_000_000, 5_000_000_000_000)
BTC, ETH = "BTC-PERP", "ETH-PERP"

LIMITS = {
    "max_order_qty": "10",
    "max_order_notional": "1000.00",
    "max_position": "20",
    "max_open_orders": 8,
    "max_gross_notional": "4000.00",
    "max_unacknowledged": 6,
    "max_loss": "50.00",
}


def settings(**changes):
    """Return the configuration as plain values; `a__b=value` sets a.b."""
    values = {
        "engine": {"name": "test", "shutdown": "cancel"},
        "sessions": {
            "order_entry": {"target_comp_id": "KalshiNR"},
            "market_data": {"target_comp_id": "KalshiMD"},
            "drop_copy": {"target_comp_id": "KalshiDC"},
        },
        "instruments": {BTC: {"tick": "0.0100", "collar_bp": 200}, ETH: {"collar_bp": 100}},
        "risk": {
            "account": {
                **LIMITS,
                "max_position": "60",
                "max_open_orders": 40,
                "max_gross_notional": "20000.00",
                "max_unacknowledged": 40,
                "max_loss": "200.00",
            },
            "markets": {
                BTC: {
                    **LIMITS,
                    "max_position": "30",
                    "max_open_orders": 20,
                    "max_gross_notional": "9000.00",
                    "max_unacknowledged": 20,
                    "max_loss": "100.00",
                },
                ETH: {
                    **LIMITS,
                    "max_position": "30",
                    "max_open_orders": 20,
                    "max_gross_notional": "9000.00",
                    "max_unacknowledged": 20,
                    "max_loss": "100.00",
                },
            },
        },
        "rate": {"tier": "unlimited"},
        "strategies": {
            "alpha": {"strategy": "x:Alpha", "slot": 1, "markets": [BTC, ETH], "limits": dict(LIMITS)},
            "beta": {"strategy": "x:Beta", "slot": 2, "markets": [BTC], "limits": dict(LIMITS)},
        },
    }
    for path, value in changes.items():
        at = values
        *way, last = path.split("__")
        for key in way:
            at = at.setdefault({"btc": BTC, "eth": ETH}.get(key, key), {})
        at[{"btc": BTC, "eth": ETH}.get(last, last)] = value
    return values


class Out:
    """Collects what the guard emits, in order."""

    def __init__(self):
        self.log_lines = []
        self.all = []

    def send(self, channel, message, to=None, topic=""):
        self.all.append((channel, message, to, topic))

    def record(self, entry, *, cl_ord_id="", exec_id=""):
        self.all.append(("journal", entry, None, ""))

    def keep_halts(self, text):
        self.all.append(("halt file", text, None, ""))

    def log(self, level, text):
        self.log_lines.append((level, text))


class Rig:
    """Drives one guard; every method steps it and returns what it needs to be checked."""

    def __init__(self, guard, out, config):
        self.guard, self.out, self.config = guard, out, config
        self.now = START
        self.tape_no = 0
        self.numbers = {}
        self.ids = {slot: ClOrdIDs(slot, 1_700_000_000_000, 7 + slot) for slot in (0, 1, 2, 3)}

    # -- plumbing

    def take(self, kind=None, channel=None):
        """Take what was emitted so far, of one type when named."""
        found = [
            m for c, m, _, _ in self.out.all if (kind is None or isinstance(m, kind)) and channel in (None, c)
        ]
        self.out.all.clear()
        return found

    def give(self, message, peer="", channel="x"):
        self.guard.on_message(channel, peer, message, self.now)
        self.guard.on_drained(self.now)

    def wait(self, ms, beats=True):
        """Let time go by in steps of 20 ms; beats: everybody around lives on."""
        end = self.now.mono_ns + ms * MS
        while self.now.mono_ns < end:
            self.now = Now(self.now.wall_ns + 20 * MS, self.now.mono_ns + 20 * MS)
            if beats:
                self.beats()
            if self.guard.deadline <= self.now.mono_ns:
                self.guard.on_deadline(self.now)

    def beats(self, **changes):
        self.oe_beat(**changes)
        self.give(FeedBeat(feed=1, feed_no=9, mono_ns=self.now.mono_ns, session="logged on"))
        for name in self.config.strategies:
            self.give(WorkerBeat(mono_ns=self.now.mono_ns), f"strategy.{name}")

    def oe_beat(self, **changes):
        fields = {
            "tape_no": self.tape_no,
            "session": "logged on",
            "ready": True,
            "epoch": self.guard.commander.epoch,
        }
        self.give(TapeBeat(mono_ns=self.now.mono_ns, **{**fields, **changes}))

    # -- the world

    def start(self):
        self.guard.start(self.now)
        self.accept()
        self.snapshot()
        self.caught_up()
        self.top(BTC, 99_00, 101_00)
        self.top(ETH, 49_0000, 51_0000)
        for name in self.config.strategies:
            self.give(WorkerBeat(mono_ns=self.now.mono_ns, hello=True), f"strategy.{name}")
        self.beats()
        return self

    def accept(self):
        self.give(EpochAccepted(epoch=self.guard.commander.epoch, tape_no=self.tape_no))

    def snapshot(self, orders=(), positions=(), known=True):
        given = {p.symbol for p in positions if p.strategy is None}
        rows = list(positions) + [PositionState(symbol=s, known=known) for s in (BTC, ETH) if s not in given]
        self.give(OrdersSnapshot(tape_no=self.tape_no, orders=list(orders), positions=rows))

    def caught_up(self, **changes):
        fields = {"wall_ns": self.now.wall_ns, "session": "logged on", "caught_up": True}
        self.give(ReconciliationStatus(**{**fields, **changes}))

    def top(self, symbol, bid, ask, last=0, state=FeedState.LIVE):
        self.give(
            TopOfBook(
                feed=1,
                feed_no=1,
                symbol=symbol,
                state=state,
                bid=bid,
                bid_qty=100 if bid else 0,
                ask=ask,
                ask_qty=100 if ask else 0,
                last=last,
                last_qty=100 if last else 0,
            )
        )

    # -- intents: return Approved or Refused

    def answer(self):
        found = [m for m in self.take() if isinstance(m, Approved | Refused)]
        assert len(found) == 1, found
        return found[0]

    def new(self, side=1, qty=100, price=100_00, symbol=BTC, slot=1, **more):
        peer = {1: "strategy.alpha", 2: "strategy.beta"}[slot]
        self.out.all.clear()
        self.give(
            NewOrder(cl_ord_id=self.ids[slot](), symbol=symbol, side=side, qty=qty, price=price, **more), peer
        )
        return self.answer()

    def control(self, *args, **more):
        """Return the control that refuses a new order, or None."""
        answer = self.new(*args, **more)
        return answer.control if isinstance(answer, Refused) else None

    # -- the tape

    def event(self, kind, state, order, **more):
        """Publish the next tape event."""
        self.tape_no += 1
        strategy = more.pop("strategy", 1)
        self.numbers[strategy] = self.numbers.get(strategy, 0) + 1
        event = OrderEvent(
            tape_no=self.tape_no,
            strategy=strategy,
            strategy_no=self.numbers[strategy],
            kind=EventKind(kind),
            state=OrderState(state),
            order=order,
            wall_ns=self.now.wall_ns,
            **more,
        )
        if more.get("quietly"):
            return event
        self.give(event)
        return event

    def terms(self, approved):
        request = approved.request
        return {
            "cl_ord_id": request.cl_ord_id,
            "symbol": request.symbol,
            "side": request.side,
            "price": request.price,
            "qty": request.qty,
            "tif": getattr(request, "tif", "1"),
            "strategy": approved.strategy,
        }

    def submitted(self, approved):
        terms = self.terms(approved)
        self.event(
            "submitted",
            "SUBMITTING",
            approved.request.cl_ord_id,
            leaves_qty=terms["qty"],
            request_id=approved.request.cl_ord_id,
            **terms,
        )

    def rest(self, **more):
        """Place an order and let it rest; returns the Approved."""
        approved = self.new(**more)
        assert isinstance(approved, Approved), approved
        self.submitted(approved)
        self.event(
            "new",
            "NEW",
            approved.request.cl_ord_id,
            leaves_qty=approved.request.qty,
            request_id=approved.request.cl_ord_id,
            order_id="v1",
            **self.terms(approved),
        )
        return approved

    def end(self, approved, kind="canceled", state="CANCELED", **more):
        self.event(
            kind, state, approved.request.cl_ord_id, **{**self.terms(approved), "leaves_qty": 0, **more}
        )

    def fill(self, approved, qty, price, cum=None, fee=0, **more):
        total = approved.request.qty
        cum = qty if cum is None else cum
        state = "FILLED" if cum == total else "PARTIALLY_FILLED"
        self.event(
            "trade",
            state,
            approved.request.cl_ord_id,
            cum_qty=cum,
            leaves_qty=total - cum,
            last_qty=qty,
            last_px=price,
            fee=fee,
            exec_id=f"1;{self.tape_no}",
            **{**self.terms(approved), **more},
        )

    def hold(self, qty, price=100_00, symbol=BTC, slot=1, fee=0):
        """Give a strategy a position by fills of IOC-like orders that the guard never saw."""
        side = 1 if qty > 0 else 2
        self.event(
            "trade",
            "FILLED",
            f"held-{self.tape_no}",
            strategy=slot,
            symbol=symbol,
            side=side,
            price=price,
            qty=abs(qty),
            cum_qty=abs(qty),
            last_qty=abs(qty),
            last_px=price,
            fee=fee,
        )


@pytest.fixture
def make():
    """Build a rig; keyword arguments change the configuration."""

    def build(start=True, journal=(), **changes):
        config = msgspec.convert(settings(**changes), Config)
        out = Out()
        guard = Guard(config, out, ClOrdIDs(0, 1_700_000_000_000, 3))
        for entry in journal:
            guard.replay(entry)
        rig = Rig(guard, out, config)
        return rig.start() if start else rig

    return build


@pytest.fixture
def rig(make):
    """A guard that trades."""
    started = make()
    assert started.guard.gate.state == "TRADING", started.guard.gate.reasons
    return started


@pytest.fixture
def config_of():
    """Return a Config with changes, not started."""
    return lambda **changes: msgspec.convert(settings(**changes), Config)


__all__ = ["GuardHello", "ReplaceOrder"]
