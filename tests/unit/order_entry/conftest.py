"""A rig: order entry with a session of its own making, a journal that collects, a clock that is moved by hand."""

import pytest

from engine.common.actor import LinkEvent
from engine.common.clock import MS, Now
from engine.common.ids import ClOrdIDs
from engine.config import (
    Config,
    EngineConfig,
    InstrumentConfig,
    LimitsConfig,
    OpeningConfig,
    RateConfig,
    RiskConfig,
    SessionConfig,
    SessionsConfig,
    StrategyConfig,
)
from engine.fix.events import App, Close, LoggedOn, PeerReject
from engine.fix.message import FixMessage
from engine.kalshi.messages import (
    BusinessMessageReject,
    ExecutionReport,
    OrderCancelReject,
    OrderMassCancelReport,
)
from engine.messages.commands import Approved, CancelOrder, GuardBeat, GuardHello, NewOrder, ReplaceOrder
from engine.messages.executions import OrderEvent, SnapshotRequest, TapeBeat, TapeRequest
from engine.order_entry.actor import OrderEntry

START = Now(1_795_514_400_000_000_000, 5_000_000_000)


class CollectingOut:
    """An Outbox that keeps everything in the order in which it was emitted."""

    def __init__(self) -> None:
        self.done = []
        self.journal = []
        self.exec_ids = set()

    def send(self, channel, message, to=None, topic="") -> None:
        self.done.append(("send", channel, message, to or topic))

    def write(self, link, data, trigger_ns=0) -> None:
        self.done.append(("write", link, data, trigger_ns))

    def record(self, entry, *, cl_ord_id="", exec_id="") -> None:
        assert exec_id == "" or exec_id not in self.exec_ids
        self.exec_ids.add(exec_id)
        self.journal.append(entry)
        self.done.append(("record", entry))

    def connect(self, link) -> None:
        self.done.append(("connect", link))

    def close(self, link, reason="") -> None:
        self.done.append(("close", link))

    def keep_halts(self, text) -> None:
        raise AssertionError(text)

    def log(self, level, text) -> None:
        self.done.append(("log", level, text))

    def logged(self, level: str) -> list[str]:
        return [entry[2] for entry in self.done if entry[0] == "log" and entry[1] == level]


class FakeClient:
    """A session that is as the test says."""

    def __init__(self, out: CollectingOut) -> None:
        self.out = out
        self.logged_on = False
        self.state = "connecting"
        self.skew_ns = 0
        self.failed = ""
        self.logons = 0
        self.stopped = False
        self.deadline = None
        self.started = 0
        self.seq = 1
        self.wire = []
        self.target = 2
        self.goes_on = True
        self.caught_up = True
        self.began_anew = True
        self.restored = None

    @property
    def numbers(self):
        return self.seq + 1, self.target, self.goes_on

    def restore(self, snapshot, alive_wall_ns=0) -> None:
        self.restored = snapshot

    def start(self, now) -> None:
        self.started += 1

    def stop(self, now) -> None:
        self.stopped, self.logged_on, self.state = True, False, "stopped"

    def on_link(self, event, reason, now):
        was, self.logged_on, self.state = self.logged_on, False, "connecting"
        return [Close(reason)] if was else []

    def on_bytes(self, data, now):
        return self.events

    def on_deadline(self, now):
        return []

    def send(self, msg_type, body, now, trigger_ns=0) -> int:
        assert self.logged_on
        self.seq += 1
        self.wire.append(f"35={msg_type}|" + body.replace("\x01", "|"))
        self.out.write("order_entry", body.encode(), trigger_ns)
        return self.seq


class Rig:
    """Order entry and everything around it."""

    def __init__(
        self,
        journal=(),
        *,
        session=None,
        engine=None,
        opening=None,
        dry_run=False,
        rate=None,
        groups=None,
    ) -> None:
        self.config = config_of(session or {}, engine or {}, opening, rate, groups or {})
        self.out = CollectingOut()
        self.past = list(journal)
        self.client = None if dry_run else FakeClient(self.out)
        self.now = START
        self.oe = OrderEntry(self.config, self.out, None, lambda: 0.5, dry_run=dry_run, client=self.client)
        for event in self.past:
            self.oe.replay(event)
            self.out.exec_ids.add(getattr(event, "exec_id", ""))
        self.out.exec_ids.discard("")
        self.ids = ClOrdIDs(1, START.wall_ns // MS - 7, 77)
        self.no = 0
        self.event_no = 0

    def up(self) -> "Rig":
        """Start, log on, have a guard of epoch 1, forget what that emitted."""
        self.oe.start(self.now)
        self.logon()
        self.guard(GuardHello(epoch=1))
        self.out.done.clear()
        return self

    def logon(self) -> None:
        self.client.logged_on, self.client.state = True, "logged on"
        self.client.logons += 1
        self.client.seq = 1
        self.feed(LoggedOn(FixMessage(b"", "FIXT.1.1", [(35, "A")])))

    def drop(self) -> None:
        self.oe.on_link("order_entry", LinkEvent.DISCONNECTED, "reset by peer", self.now)

    def feed(self, *events) -> None:
        self.client.events = list(events)
        self.oe.on_bytes("order_entry", b"", self.now)
        self.oe.on_drained(self.now)

    def app(self, *messages) -> None:
        self.feed(*(App(9, 0, message, False, "8") for message in messages))

    def reject(self, seq: int, text: str = "no") -> None:
        self.feed(PeerReject(seq, "D", None, 99, text))

    def guard(self, message) -> None:
        self.oe.on_message("oe.orders", "guard", message, self.now)

    def ask(self, message, peer="drop_copy") -> list:
        before = len(self.out.done)
        self.oe.on_message("oe.ask", peer, message, self.now)
        if isinstance(message, TapeRequest | SnapshotRequest):
            self.wait(5)
        return [entry[2] for entry in self.out.done[before:] if entry[0] == "send" and entry[1] == "oe.ask"]

    def approve(self, request, **more) -> None:
        self.no += 1
        fields = {"epoch": 1, "no": self.no, "expires_ns": self.now.mono_ns + 500 * MS, "strategy": 1, **more}
        self.guard(Approved(request=request, **fields))

    def new(self, cl_ord_id=None, qty=1000, price=195_000, side=1, **more) -> str:
        cl_ord_id = cl_ord_id or self.ids()
        self.approve(
            NewOrder(cl_ord_id=cl_ord_id, symbol="BTC-PERP", side=side, qty=qty, price=price, **more)
        )
        return cl_ord_id

    def cancel(self, orig: str) -> str:
        cl_ord_id = self.ids()
        self.approve(CancelOrder(cl_ord_id=cl_ord_id, orig_cl_ord_id=orig, symbol="BTC-PERP", side=1))
        return cl_ord_id

    def replace(self, orig: str, qty: int, price: int = 196_000) -> str:
        cl_ord_id = self.ids()
        request = ReplaceOrder(
            cl_ord_id=cl_ord_id, orig_cl_ord_id=orig, symbol="BTC-PERP", side=1, qty=qty, price=price
        )
        self.approve(request)
        return cl_ord_id

    def live(self, **more) -> str:
        """An order that the venue has acknowledged."""
        cl_ord_id = self.new(**more)
        self.report(cl_ord_id, "0", "0")
        return cl_ord_id

    def report(self, cl_ord_id: str, exec_type: str, status: str, exec_id=None, **more) -> str:
        message = self.make(cl_ord_id, exec_type, status, exec_id, **more)
        self.app(message)
        return message.exec_id

    def make(self, cl_ord_id: str, exec_type: str, status: str, exec_id=None, **more) -> ExecutionReport:
        if exec_id is None:
            self.event_no += 1
            exec_id = f"10;{self.event_no}"
        order = self.oe.ledger.find(cl_ord_id, more.get("orig_cl_ord_id", ""))
        fields = {
            "order_id": f"V-{cl_ord_id if order is None else order.event.order}",
            "side": "1",
            "symbol": "BTC-PERP",
            "leaves_qty": 0,
            "cum_qty": more.get("last_qty", 0),
            "order_qty": 0,
            **more,
        }
        return ExecutionReport(
            cl_ord_id=cl_ord_id, exec_id=exec_id, exec_type=exec_type, ord_status=status, **fields
        )

    def fill(self, cl_ord_id: str, qty: int, status: str = "1", **more) -> str:
        order = self.oe.ledger.find(cl_ord_id, more.get("orig_cl_ord_id", ""))
        fields = {"cum_qty": qty + (order.event.cum_qty if order else 0), "last_px": 195_000, **more}
        return self.report(cl_ord_id, "F", status, last_qty=qty, **fields)

    def cancel_reject(self, cl_ord_id: str, orig: str, reason: int, text: str = "", to: str = "1") -> None:
        reject = OrderCancelReject(
            order_id="",
            cl_ord_id=cl_ord_id,
            ord_status="8",
            cxl_rej_response_to=to,
            orig_cl_ord_id=orig,
            cxl_rej_reason=reason,
            text=text,
        )
        self.app(reject)

    def business_reject(self, seq: int | None, reason: int = 8, ref_id: str = "") -> None:
        self.app(
            BusinessMessageReject(
                business_reject_reason=reason,
                ref_seq_num=seq,
                business_reject_ref_id=ref_id,
                text="slow down",
            )
        )

    def mass_report(self, cl_ord_id: str, response: str) -> None:
        self.app(OrderMassCancelReport(cl_ord_id=cl_ord_id, order_id="op", mass_cancel_response=response))

    def wait(self, ms: int, *, guard: bool = True) -> None:
        """Let time pass; the actor is woken at its deadlines only, and the guard beats."""
        end = self.now.mono_ns + ms * MS
        while True:
            if guard:
                self.guard(GuardBeat(epoch=1, no=1, mono_ns=self.now.mono_ns))
            deadline = self.oe.deadline
            step = max(min(deadline, end) - self.now.mono_ns, 0)
            self.now = Now(self.now.wall_ns + step, self.now.mono_ns + step)
            if deadline > end:
                return
            self.oe.on_deadline(self.now)
            self.oe.on_drained(self.now)
            assert self.oe.deadline > self.now.mono_ns, "it must move its deadline"

    @property
    def tape(self) -> list[OrderEvent]:
        return [e[2] for e in self.out.done if e[0] == "send" and isinstance(e[2], OrderEvent)]

    @property
    def kinds(self) -> list[str]:
        return [f"{event.kind.value} {event.state.value}" for event in self.tape]

    @property
    def wire(self) -> list[str]:
        return self.client.wire

    @property
    def beat(self) -> TapeBeat:
        return [e[2] for e in self.out.done if e[0] == "send" and isinstance(e[2], TapeBeat)][-1]

    def answers(self) -> list:
        return [e[2] for e in self.out.done if e[0] == "send" and e[1] == "oe.orders"]

    def state(self, cl_ord_id: str) -> str:
        return self.oe.ledger.find(cl_ord_id).event.state.value

    def restarted(self, **more) -> "Rig":
        """A new life from the journal; the digest must be the same."""
        digest = self.oe.state_digest()
        again = Rig([*self.past, *self.out.journal], **more)
        assert again.oe.state_digest() == digest
        again.now = Now(self.now.wall_ns + 1000 * MS, self.now.mono_ns + 1000 * MS)
        again.event_no = self.event_no
        return again


def config_of(session, engine, opening, rate, groups) -> Config:
    limits = LimitsConfig(
        max_order_qty="10",
        max_order_notional="1000",
        max_position="10",
        max_open_orders=5,
        max_gross_notional="1000",
        max_loss="1000",
    )
    oe = SessionConfig(**{"target_comp_id": "KalshiNR", "key_id": "key-oe", **session})
    return Config(
        engine=EngineConfig(**{"name": "test", "shutdown": "cancel", **engine}),
        sessions=SessionsConfig(
            order_entry=oe,
            market_data=SessionConfig(target_comp_id="KalshiMD"),
            drop_copy=SessionConfig(target_comp_id="KalshiDC"),
        ),
        instruments={"BTC-PERP": InstrumentConfig()},
        risk=RiskConfig(account=limits, markets={"BTC-PERP": limits}),
        strategies={
            name: StrategyConfig(
                strategy="strategies.none:None",
                slot=slot,
                markets=["BTC-PERP"],
                limits=limits,
                order_group_limit=groups.get(slot, 0),
            )
            for name, slot in (("x", 1), ("y", 2))
        },
        opening={"BTC-PERP": OpeningConfig(qty="0")} if opening is None else opening,
        rate=rate or RateConfig(tier="Prime"),
    )


@pytest.fixture
def rig() -> Rig:
    """An order entry that is up."""
    return Rig().up()


@pytest.fixture
def make_rig() -> type[Rig]:
    """Makes rigs of other kinds."""
    return Rig
