"""The operator's desk: halt, arm, cancel, flatten, and questions. Every request is answered with a `ControlReply`.

Arm releases the latch of exactly the scope it names. Where that scope had lost its limit, the loss counts anew from
now: the operator has seen it, and else it would trip again at once. Flatten takes its time (`flattening.py`) and is
answered at its end.
"""

from collections.abc import Callable

import msgspec

from engine.common.actor import Outbox
from engine.common.clock import Now
from engine.common.ids import SLOT_FOREIGN
from engine.guard.breakers import Breakers
from engine.guard.commander import ORDERS, Commander
from engine.guard.exposure import Exposure
from engine.guard.flattening import Flattening
from engine.guard.gate import Gate
from engine.guard.groups import OrderGroups
from engine.guard.halting import Halting
from engine.guard.kill_switch import LatchScope, Sweep
from engine.guard.limit_changes import LimitChanges
from engine.guard.lines import Scope
from engine.guard.losses import Losses
from engine.guard.records import GapAccepted, GuardJournalEntry, PositionAccepted
from engine.guard.refusals import INTENTS
from engine.guard.report import Report
from engine.messages.commands import (
    AcceptGap,
    Arm,
    CancelAll,
    CancelById,
    ControlReply,
    Flatten,
    GroupOrder,
    GuardQuery,
    Halt,
    LimitsQuery,
    OpenOrdersQuery,
    SetLimit,
)

OperatorMessage = (
    Halt
    | Arm
    | CancelAll
    | CancelById
    | Flatten
    | GroupOrder
    | GuardQuery
    | OpenOrdersQuery
    | LimitsQuery
    | SetLimit
)
OPERATOR_TYPES = (
    Halt,
    Arm,
    CancelAll,
    CancelById,
    Flatten,
    GroupOrder,
    GuardQuery,
    OpenOrdersQuery,
    LimitsQuery,
    SetLimit,
)


class Desk:
    """Answers operators."""

    def __init__(
        self,
        out: Outbox,
        record: Callable[[GuardJournalEntry], None],
        exposure: Exposure,
        commander: Commander,
        gate: Gate,
        halting: Halting,
        report: Report,
        losses: Losses,
        breakers: Breakers,
        limits: LimitChanges,
        flattening: Flattening,
        groups: OrderGroups,
    ) -> None:
        self._out = out
        self._record = record
        self._exposure = exposure
        self._commander = commander
        self._gate = gate
        self._halting = halting
        self._report = report
        self._losses = losses
        self._breakers = breakers
        self._limits = limits
        self._flattening = flattening
        self._groups = groups

    def handle(self, peer: str, message: OperatorMessage, now: Now) -> None:
        """Do what an operator asks and answer."""
        if isinstance(message, Flatten):
            self._flattening.start(peer, message, now)
            return
        if isinstance(message, GroupOrder):
            self._groups.order(peer, message, now)
            return
        data: dict[str, msgspec.Raw] = {}
        ok, text = True, ""
        match message:
            case GuardQuery():
                data = self._report.state(now)
            case OpenOrdersQuery():
                data = self._report.open_orders()
            case LimitsQuery():
                data = self._report.pack({"limits": self._limits.show()})
            case SetLimit():
                ok, text = self._set_limit(message, now)
            case Halt():
                ok, text = self._halt(message, now)
            case Arm():
                ok, text = self._arm(message, now)
            case CancelAll():
                ok, text = self._cancel_all(message, now)
            case CancelById():
                ok, text = self._cancel_by_id(message, now)
        self._out.send(
            INTENTS, ControlReply(request_id=message.request_id, ok=ok, text=text, data=data), to=peer
        )

    # -- latches

    def _unknown_scope(self, strategy: int | None, symbol: str) -> str:
        if strategy is not None and strategy not in self._exposure.names:
            return f"no strategy has slot {strategy}"
        if symbol and symbol not in self._exposure.markets:
            return f"there is no market {symbol}"
        return ""

    def _halt(self, message: Halt, now: Now) -> tuple[bool, str]:
        problem = self._unknown_scope(message.strategy, message.symbol)
        if problem:
            return False, problem
        scope = LatchScope(message.strategy, message.symbol)
        why = message.why if message.why.strip() else "no reason given"
        fresh = self._halting.halt(scope, why, message.who, now)
        still = len(Sweep(scope, "", 0).open(self._exposure))
        state = "halted" if fresh else "was halted already"
        stuck = self._halting.cannot_cancel()
        text = f"{self._halting.text(scope)} {state}; {still} open orders are being cancelled"
        return True, f"{text}; {stuck}" if stuck else text

    def _arm(self, message: Arm, now: Now) -> tuple[bool, str]:
        problem = self._unknown_scope(message.strategy, message.symbol)
        if not message.why.strip():
            problem = "arming needs a reason"
        if not problem:
            problem = self._groups.keeps_from_arming(LatchScope(message.strategy, message.symbol))
        if not problem and message.positions and not message.accept_gap:
            problem = "positions are only taken with accept_gap"
        for symbol, qty in message.positions.items():
            market = self._exposure.markets.get(symbol)
            if market is None:
                problem = f"there is no market {symbol}"
            elif qty % market.lot:
                problem = f"{symbol}: {qty} is not a multiple of {market.lot} hundredths of a contract"
        if problem:
            return False, problem
        said = []
        if message.accept_gap:
            said.append(self._accept_gap(message, now))
        scope = LatchScope(message.strategy, message.symbol)
        if self._halting.arm(scope, message.why, message.who, now):
            said.append(f"{self._halting.text(scope)} armed")
            self._breakers.clear(scope.strategy)
            if self._lost(scope):
                self._losses.rebase(scope, now)
                said.append("its loss counts from now")
        elif not message.accept_gap:
            latched = ", ".join(self._report.latches()) or "nothing"
            return False, f"{self._halting.text(scope)} is not halted; halted: {latched}"
        rest = ", ".join(self._report.latches())
        if rest:
            said.append(f"still halted: {rest}")
        return True, "; ".join(said)

    def _lost(self, scope: LatchScope) -> bool:
        limits: Scope = self._exposure.account
        if scope.strategy is not None:
            limits = self._exposure.strategies[scope.strategy]
        elif scope.symbol:
            limits = self._exposure.market_scopes[scope.symbol]
        return self._losses.lost(limits)

    def _set_limit(self, message: SetLimit, now: Now) -> tuple[bool, str]:
        problem = self._unknown_scope(message.strategy, message.symbol)
        if problem:
            return False, problem
        ok, text = self._limits.set(message, now)
        if ok:
            self._losses.check(now)
        return ok, text

    def _accept_gap(self, message: Arm, now: Now) -> str:
        status = self._gate.reconciliation
        gap = status.gap if status is not None else ""
        if gap:
            self._gate.accepted_gap = gap
            self._record(GapAccepted(wall_ns=now.wall_ns, gap=gap, why=message.why, who=message.who))
        for symbol, qty in message.positions.items():
            self._record(
                PositionAccepted(
                    wall_ns=now.wall_ns, symbol=symbol, qty=qty, why=message.why, who=message.who
                )
            )
        self._out.send(
            ORDERS,
            AcceptGap(
                epoch=self._commander.epoch, why=message.why, who=message.who, positions=message.positions
            ),
        )
        return f"gap accepted{f' ({gap})' if gap else ''}, positions given to order entry: {len(message.positions)}"

    # -- orders

    def _cancel_all(self, message: CancelAll, now: Now) -> tuple[bool, str]:
        problem = self._unknown_scope(message.strategy, message.symbol)
        if problem:
            return False, problem
        scope = LatchScope(message.strategy, message.symbol)
        return True, f"{self.sweep(scope, 'cancel all', now)} open orders are being cancelled"

    def sweep(self, scope: LatchScope, why: str, now: Now) -> int:
        """Cancel the orders that are open in a scope now, and no later ones; return how many."""
        if self._halting.waiting is not None:
            self._halting.waiting.drop(scope, "superseded", why, now)
        orders = tuple(order.order for order in Sweep(scope, why, 0).open(self._exposure))
        if orders:
            self._halting.sweep(Sweep(scope, why, now.mono_ns, orders=orders))
            self._halting.run(now)
        return len(orders)

    def _cancel_by_id(self, message: CancelById, now: Now) -> tuple[bool, str]:
        order = self._exposure.orders.get(message.cl_ord_id)
        if order is None:
            return False, f"no open order has the id {message.cl_ord_id[:64]}"
        if order.slot == SLOT_FOREIGN:
            return False, "the order is not this engine's; it can't cancel it"
        if not self._commander.cancel_order(order, now.mono_ns):
            return False, "no tokens are left for a cancel; try again"
        return True, f"cancel of {order.order} is on its way"
