"""What the guard sends to order entry: epochs, approved commands with their numbers, halts.

An approval is a number and a reservation, then the message: whoever looks at the exposure between sees it counted.
A new epoch voids every command of the older ones; the numbers begin again at 1.
"""

from collections.abc import Callable

from engine.common.actor import Outbox
from engine.common.clock import MS, Now
from engine.common.ids import ClOrdIDs
from engine.config import RiskConfig
from engine.guard.exposure import Exposure, Order
from engine.guard.kill_switch import LatchScope
from engine.guard.limits import Way
from engine.guard.rate_limit import WriteBudget
from engine.guard.records import EpochStarted
from engine.messages.commands import (
    Approved,
    ArmOrders,
    CancelOrder,
    GroupCommand,
    GuardBeat,
    GuardHello,
    HaltOrders,
    MassCancel,
    NewOrder,
    ReplaceOrder,
)

ORDERS = "oe.orders"


class Commander:
    """Makes commands.

    Attributes:
        epoch: ours; no: the last command's number in it. accepted: order entry follows it.
        hello_ns: when it was last announced. approved: commands so far.
        base: commands of all older epochs: base + no is the key of a reservation, unique over epochs.
    """

    __slots__ = (
        "_expiry_ns",
        "_exposure",
        "_record",
        "_send",
        "accepted",
        "accepted_ns",
        "approved",
        "base",
        "budget",
        "epoch",
        "hello_ns",
        "ids",
        "mass_no",
        "no",
    )

    def __init__(
        self,
        out: Outbox,
        record: Callable[[EpochStarted], None],
        exposure: Exposure,
        budget: WriteBudget,
        ids: ClOrdIDs,
        risk: RiskConfig,
    ) -> None:
        self._record = record
        self._send = out.send
        self._exposure = exposure
        self.budget = budget
        self.ids = ids
        self._expiry_ns = risk.command_expiry_ms * MS
        self.epoch = 0
        self.no = 0
        self.base = 0
        self.accepted = False
        self.accepted_ns = 0
        self.hello_ns = 0
        self.approved = 0
        self.mass_no = 0

    # -- epochs

    def start_epoch(self, why: str, now: Now, at_least: int = 0) -> None:
        """Take over with a new epoch, higher than any before and than the wall clock's ms."""
        self.epoch = max(self.epoch + 1, now.wall_ns // MS, at_least)
        self.base += self.no
        self.no = 0
        self.mass_no = 0
        self.accepted = False
        self._record(EpochStarted(epoch=self.epoch, wall_ns=now.wall_ns, why=why))
        self.hello(now)

    def hello(self, now: Now) -> None:
        """Announce the epoch."""
        self.hello_ns = now.mono_ns
        self._send(ORDERS, GuardHello(epoch=self.epoch))

    def beat(self, mono_ns: int) -> None:
        """Say that we are alive."""
        self._send(ORDERS, GuardBeat(epoch=self.epoch, no=self.no, mono_ns=mono_ns))

    # -- approved commands; the controls and tokens are the caller's

    def place(
        self, intent: NewOrder, way: Way, mono_ns: int, peer: str = "", *, reducing: bool = False
    ) -> None:
        """Approve a new order; reducing: it brings the account's position towards zero and passes latches."""
        no = self.no = self.no + 1
        line = way.line
        epoch = self.epoch
        self._exposure.reserve_new(
            intent, line, way.account, epoch=epoch, no=self.base + no, mono_ns=mono_ns, peer=peer
        )
        self._approve(no, mono_ns, line.strategy or 0, intent, reducing=reducing)

    def replace(self, intent: ReplaceOrder, order: Order, mono_ns: int, peer: str = "") -> None:
        """Approve a replace."""
        no = self.no = self.no + 1
        self._exposure.reserve_replace(
            intent, order, epoch=self.epoch, no=self.base + no, mono_ns=mono_ns, peer=peer
        )
        self._approve(no, mono_ns, order.slot, intent)

    def cancel(self, intent: CancelOrder, order: Order, mono_ns: int, peer: str = "") -> None:
        """Approve a cancel."""
        no = self.no = self.no + 1
        self._exposure.reserve_cancel(
            intent.cl_ord_id, order, epoch=self.epoch, no=self.base + no, mono_ns=mono_ns, peer=peer
        )
        self._approve(no, mono_ns, order.slot, intent)

    def cancel_order(self, order: Order, mono_ns: int, *, kill: bool = False) -> bool:
        """Cancel an order of our own accord, kill: before anybody else's cancel; False when there are no tokens."""
        cl_ord_id = self.ids()
        if not self.budget.take_cancel(mono_ns, cl_ord_id, kill=kill):
            return False
        self.cancel(
            CancelOrder(
                cl_ord_id=cl_ord_id,
                orig_cl_ord_id=order.cl_ord_id or order.order,
                symbol=order.market.symbol,
                side=order.side,
                made_ns=mono_ns,
            ),
            order,
            mono_ns,
        )
        return True

    def mass_cancel(self, mono_ns: int) -> bool:
        """Cancel everything of the session; False when there are no tokens or the last one is younger than 1 s."""
        cl_ord_id = self.ids()
        if not self.budget.take_mass_cancel(mono_ns, cl_ord_id):
            return False
        no = self.no = self.mass_no = self.no + 1
        self._approve(no, mono_ns, 0, MassCancel(cl_ord_id=cl_ord_id))
        return True

    def _approve(
        self,
        no: int,
        mono_ns: int,
        slot: int,
        request: NewOrder | ReplaceOrder | CancelOrder | MassCancel,
        *,
        reducing: bool = False,
    ) -> None:
        self.approved += 1
        self._send(
            ORDERS,
            Approved(
                epoch=self.epoch,
                no=no,
                expires_ns=mono_ns + self._expiry_ns,
                strategy=slot,
                request=request,
                reducing=reducing,
            ),
        )

    def group(self, slot: int, action: str, why: str, *, request_id: str = "", group_id: str = "") -> None:
        """Tell order entry what to do with a strategy's order group; tokens are the caller's."""
        self._send(
            ORDERS,
            GroupCommand(
                epoch=self.epoch,
                strategy=slot,
                action=action,
                why=why,
                request_id=request_id,
                group_id=group_id,
            ),
        )

    # -- latches

    def halt(self, scope: LatchScope, why: str) -> None:
        """Make order entry latch a scope."""
        self._send(
            ORDERS, HaltOrders(epoch=self.epoch, why=why, strategy=scope.strategy, symbol=scope.symbol)
        )

    def arm(self, scope: LatchScope, why: str, *, healing: bool = False) -> None:
        """Make order entry release its latch of a scope."""
        self._send(
            ORDERS,
            ArmOrders(
                epoch=self.epoch, why=why, strategy=scope.strategy, symbol=scope.symbol, healing=healing
            ),
        )
