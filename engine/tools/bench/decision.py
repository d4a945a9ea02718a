"""How long the guard thinks: from an order's arrival at the guard to the approved command, for one that passes everything.

A guard of the demo's configuration, trading, with every control on, some orders open and a position; each round judges
orders at slightly different prices and then lets the tape answer and end them, which is not measured. What is measured
is one call, `Guard.on_message`: every control, the reservation, the command. Decoding and encoding are the bus's and
are told beside it.
"""

import gc
import statistics
import time
from typing import Any, Final

import msgspec

from engine import config_loader
from engine.common.clock import MS, Now
from engine.common.ids import ClOrdIDs
from engine.config import BreakersConfig, Config, MarginConfig, RateConfig
from engine.guard.actor import Guard
from engine.messages.commands import (
    Approved,
    CommandMessage,
    EpochAccepted,
    IntentMessage,
    NewOrder,
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
from engine.tools.docs_gen import ROOT

SYMBOL: Final = "BTC-PERP"
PEER: Final = "strategy.quote_maker"
SLOT: Final = 1
OPEN: Final = 5
BID: Final = 194_900
START: Final = Now(1_790_000_000_000_000_000, 5_000_000_000_000)


def _config() -> Config:
    """Every control on, and limits that a run never reaches."""
    config = config_loader.load(f"{ROOT}/configs/demo.toml", [])
    replace = msgspec.structs.replace
    return replace(
        config,
        rate=RateConfig(tier="Prestige"),
        risk=replace(config.risk, duplicate_window_ms=1, breakers=BreakersConfig(repeat_max=1000)),
        margin=MarginConfig(collateral="100000"),
    )


class _Out:
    """Takes what the guard emits."""

    def __init__(self) -> None:
        self.approved: Approved | None = None

    def send(self, channel: str, message: msgspec.Struct, to: str | None = None, topic: str = "") -> None:
        del channel, to, topic
        if isinstance(message, Approved):
            self.approved = message

    def write(self, link: str, data: bytes, trigger_ns: int = 0) -> None:
        """Nothing is written."""

    def record(self, entry: msgspec.Struct, *, cl_ord_id: str = "", exec_id: str = "") -> None:
        """Nothing is kept."""

    def connect(self, link: str) -> None:
        """Nothing is opened."""

    def close(self, link: str, reason: str = "") -> None:
        """Nothing is closed."""

    def unsent(self, link: str) -> int:
        """Nothing waits."""
        del link
        return 0

    def keep_halts(self, text: str) -> None:
        """Nothing is halted."""

    def log(self, level: str, text: str) -> None:
        """Nothing is said."""


class _World:
    """What is around the guard."""

    def __init__(self) -> None:
        config = _config()
        self.out = _Out()
        self.guard = Guard(config, self.out, ClOrdIDs(0, 1_700_000_000_000, 1))
        self.ids = ClOrdIDs(SLOT, 1_700_000_000_000, 2)
        self.now = START
        self.no = 0
        guard = self.guard
        guard.start(self.now)
        self.give(EpochAccepted(epoch=guard.commander.epoch, tape_no=0))
        known = [PositionState(symbol=symbol, known=True) for symbol in config.instruments]
        self.give(OrdersSnapshot(tape_no=0, positions=known))
        self.give(WorkerBeat(mono_ns=self.now.mono_ns, hello=True), PEER)
        self.beat()
        self.wait(2000)

    def give(self, message: msgspec.Struct, peer: str = "") -> None:
        self.guard.on_message("", peer, message, self.now)

    def wait(self, ms: int) -> None:
        for _ in range(0, ms, 100):
            self.now = Now(self.now.wall_ns + 100 * MS, self.now.mono_ns + 100 * MS)
            self.beat()
            self.guard.on_deadline(self.now)

    def beat(self) -> None:
        mono_ns, wall_ns = self.now.mono_ns, self.now.wall_ns
        epoch = self.guard.commander.epoch
        self.give(TapeBeat(tape_no=self.no, mono_ns=mono_ns, session="logged on", ready=True, epoch=epoch))
        self.give(FeedBeat(feed=1, feed_no=1, mono_ns=mono_ns, session="logged on"))
        self.give(
            ReconciliationStatus(
                wall_ns=wall_ns, session="logged on", caught_up=True, watermark_wall_ns=wall_ns
            )
        )
        self.give(
            TopOfBook(
                feed=1, feed_no=1, symbol=SYMBOL, state=FeedState.LIVE, bid=BID, bid_qty=100, ask=BID + 200, ask_qty=100
            )
        )  # fmt: skip
        self.give(WorkerBeat(mono_ns=mono_ns), PEER)

    def order(self, number: int) -> NewOrder:
        return NewOrder(
            cl_ord_id=self.ids(),
            symbol=SYMBOL,
            side=1,
            qty=100,
            price=BID - number % 200,
            made_ns=self.now.mono_ns,
        )

    def tell(self, order: NewOrder, kind: EventKind, state: OrderState, *, answers: bool) -> None:
        self.no += 1
        live = state is not OrderState.CANCELED
        self.give(
            OrderEvent(
                tape_no=self.no, strategy=SLOT, strategy_no=self.no, kind=kind, state=state, order=order.cl_ord_id,
                wall_ns=self.now.wall_ns, cl_ord_id=order.cl_ord_id, symbol=SYMBOL, side=1, price=order.price,
                qty=order.qty, leaves_qty=order.qty if live else 0, request_id=order.cl_ord_id if answers else "",
            )
        )  # fmt: skip

    def rest(self, order: NewOrder) -> None:
        self.tell(order, EventKind.SUBMITTED, OrderState.SUBMITTING, answers=True)
        self.tell(order, EventKind.NEW, OrderState.NEW, answers=True)

    def end(self, order: NewOrder) -> None:
        self.tell(order, EventKind.CANCELED, OrderState.CANCELED, answers=False)


def measure(count: int) -> dict[str, float]:
    """Judge `count` orders; return medians and the 99th percentile in us.

    Raises:
        AssertionError: an order did not pass: what would be measured is not what was asked for.
    """
    world = _World()
    guard, out, clock = world.guard, world.out, time.perf_counter_ns
    for number in range(OPEN):
        order = world.order(190 + number)
        world.give(order, PEER)
        world.rest(order)
    times: list[int] = []
    gc.collect()
    gc.disable()
    for number in range(count + 500):
        order = world.order(number % 180)
        now = world.now
        out.approved = None
        begin = clock()
        guard.on_message("guard.orders", PEER, order, now)
        end = clock()
        assert out.approved is not None, f"order {number} did not pass: {guard.refusals.by_control}"
        if number >= 500:
            times.append(end - begin)
        world.rest(order)
        world.end(order)
        world.wait(100)
    gc.enable()
    times.sort()
    codec = _codec(world.order(1), out.approved)
    median = statistics.median(times) / 1000
    return {
        "decision_us": round(median, 2),
        "decision_p99_us": round(times[int(len(times) * 0.99)] / 1000, 2),
        "with_decode_and_encode_us": round(median + codec, 2),
        "count": count,
    }


def _codec(order: NewOrder, approved: Any) -> float:
    # One intent decoded and one command encoded, as the bus does it, in us.
    decode, encode = msgspec.msgpack.Decoder(IntentMessage).decode, msgspec.msgpack.Encoder().encode
    data = msgspec.msgpack.encode(order)
    assert isinstance(approved, CommandMessage)
    times: list[int] = []
    for _ in range(2000):
        begin = time.perf_counter_ns()
        decode(data)
        encode(approved)
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times) / 1000
