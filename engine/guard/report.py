"""What the guard tells about itself: its status on guard.feed and in heartbeats, its whole state on request."""

from typing import Any

import msgspec

from engine.common.clock import Now
from engine.guard.commander import Commander
from engine.guard.exposure import Exposure
from engine.guard.gate import Gate
from engine.guard.groups import OrderGroups
from engine.guard.halting import Halting
from engine.guard.kill_switch import Sweep
from engine.guard.lines import Line, Scope
from engine.guard.refusals import Refusals
from engine.guard.workers import ALIVE, Workers
from engine.messages.decisions import GuardStatus, StrategyUse


class Report:
    """Reads everything, changes nothing."""

    def __init__(
        self,
        exposure: Exposure,
        commander: Commander,
        gate: Gate,
        halting: Halting,
        workers: Workers,
        refusals: Refusals,
        groups: OrderGroups,
        warned: dict[tuple[str, str], int],
    ) -> None:
        self._exposure = exposure
        self._commander = commander
        self._gate = gate
        self._halting = halting
        self._kill = halting.kill
        self._workers = workers
        self._refusals = refusals
        self._groups = groups
        self._warned = warned
        self._encode = msgspec.msgpack.Encoder().encode
        self._names = {str(slot): name for slot, name in exposure.names.items()}

    def status(self, now: Now) -> GuardStatus:
        """Return the status for guard.feed."""
        commander, account = self._commander, self._exposure.account
        return GuardStatus(
            wall_ns=now.wall_ns,
            gate=self._gate.state.value,
            epoch=commander.epoch,
            reasons=list(self._gate.reasons),
            tokens=commander.budget.available(now.mono_ns),
            tokens_capacity=commander.budget.capacity,
            approved=commander.approved,
            refused=self._refusals.total,
            unacknowledged=account.unacknowledged,
            open_orders=account.open_orders,
            latches=self.latches(),
            still_open=self.still_open(),
            cannot_cancel=self._halting.cannot_cancel(),
            near_limits=[f"{scope}: {control}" for scope, control in self._warned],
            strategies=[self._use(line) for line in self._exposure.lines.values()],
            names=self._names,
            groups=self._groups.texts(),
        )

    def latches(self) -> dict[str, str]:
        """Return scope to why."""
        names = self._exposure.names
        return {scope.text(names): latch.why for scope, latch in self._kill.latches.items()}

    def still_open(self) -> dict[str, int]:
        """Return how many orders of each halted scope are open yet."""
        names = self._exposure.names
        return {
            scope.text(names): len(Sweep(scope, "", 0).open(self._exposure)) for scope in self._kill.latches
        }

    def _use(self, line: Line) -> StrategyUse:
        slot = line.strategy
        assert slot is not None, "the account's lines are not among the strategies'"
        position, symbol = line.position, line.market.symbol
        return StrategyUse(
            strategy=slot,
            symbol=symbol,
            position=position.qty,
            open_buy=line.open_buy,
            open_sell=line.open_sell,
            open_orders=line.open_orders,
            fills=position.fills,
            volume=position.volume,
            realised=position.realised,
            unrealised=line.unrealised,
            fees=position.fees,
            state=self._state_of(slot, symbol),
        )

    def _state_of(self, slot: int, symbol: str) -> str:
        if self._kill.everything or self._kill.why(slot, symbol) or self._kill.market(symbol):
            return "halted"
        worker = self._workers.by_slot.get(slot)
        return worker.state if worker is not None else ALIVE

    # -- on request

    def state(self, now: Now) -> dict[str, msgspec.Raw]:
        """Return the whole state as plain values by name (`ControlReply.data`)."""
        exposure, gate, commander = self._exposure, self._gate, self._commander
        scopes = (exposure.account, *exposure.market_scopes.values(), *exposure.strategies.values())
        values: dict[str, Any] = {
            "gate": gate.state.value,
            "reasons": gate.reasons,
            "epoch": commander.epoch,
            "command_no": commander.no,
            "latches": self.latches(),
            "latched_by": {
                scope.text(exposure.names): {"why": latch.why, "who": latch.who, "wall_ns": latch.wall_ns}
                for scope, latch in self._kill.latches.items()
            },
            "tokens": {
                "available": commander.budget.available(now.mono_ns),
                "capacity": commander.budget.capacity,
                "reserve": commander.budget.reserve,
                "pending": commander.budget.pending,
                "emptied": commander.budget.emptied,
            },
            "limits": {scope.text: _limits(scope) for scope in scopes},
            "markets": {
                symbol: {
                    "state": market.state.value,
                    "bid": market.bid,
                    "ask": market.ask,
                    "last": market.last,
                    "mark": market.mark,
                    "position": exposure.account_lines[symbol].position.qty,
                    "position_known": market.position_known,
                    "latched": market.latched,
                    "doubt": market.doubt,
                }
                for symbol, market in exposure.markets.items()
            },
            "strategies": [msgspec.to_builtins(self._use(line)) for line in exposure.lines.values()],
            "workers": {worker.name: worker.state for worker in self._workers.by_peer.values()},
            "reserved": len(exposure.reserved),
            "missing_fills": {key: short.qty for key, short in exposure.short.items()},
            "unknown": exposure.unknown,
            "foreign": exposure.foreign,
            "approved": commander.approved,
            "refused": self._refusals.by_control,
        }
        return self.pack(values)

    def open_orders(self) -> dict[str, msgspec.Raw]:
        """Return the open orders, as `orders`, in the order of their approval."""
        rows = [
            {
                "order": order.order,
                "cl_ord_id": order.cl_ord_id,
                "order_id": order.order_id,
                "strategy": order.slot,
                "name": self._exposure.names.get(order.slot, str(order.slot)),
                "symbol": order.market.symbol,
                "side": order.side,
                "price": order.price,
                "qty": order.qty,
                "cum_qty": order.cum,
                "leaves_qty": order.leaves,
                "new_price": order.new_price,
                "new_qty": order.new_qty,
                "state": order.state.value,
                "wall_ns": order.wall_ns,
                "reserved": order.order in self._exposure.requests
                and not self._exposure.requests[order.order].seen,
            }
            for order in self._exposure.open.values()
        ]
        return self.pack({"orders": rows})

    def pack(self, values: dict[str, Any]) -> dict[str, msgspec.Raw]:
        """Pack plain values for a reply."""
        return {name: msgspec.Raw(self._encode(value)) for name, value in values.items()}


def _limits(scope: Scope) -> dict[str, list[int]]:
    # Used and limit, of what has a running use; limit alone where there is none.
    return {
        "max_order_qty": [scope.max_order_qty],
        "max_order_notional": [scope.max_order_notional],
        "max_position": [scope.worst, scope.max_position],
        "max_open_orders": [scope.open_orders, scope.max_open_orders],
        "max_gross_notional": [scope.gross, scope.max_gross_notional],
        "max_unacknowledged": [scope.unacknowledged, scope.max_unacknowledged],
        "max_loss": [-scope.profit, scope.max_loss],
        "max_drawdown": [scope.drawdown, scope.max_drawdown],
    }
