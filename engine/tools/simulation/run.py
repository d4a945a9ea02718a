"""One simulated run: start, trade under faults, heal, recover, quiesce, compare. Everything in it follows from its seed."""

import time
import traceback
from collections.abc import Callable
from typing import Final

import msgspec

from engine.common.clock import SECOND
from engine.config import Config
from engine.drop_copy.actor import DropCopy
from engine.guard.actor import Guard
from engine.messages.commands import Arm
from engine.order_entry.actor import OrderEntry
from engine.runtime.virtual import VirtualWorld
from engine.tools.simulation.checker import InvariantBroken
from engine.tools.simulation.comparison import differences
from engine.tools.simulation.faults import TOOL, FaultPlan
from engine.tools.simulation.invariants import watch_all
from engine.tools.simulation.order_groups import groups_to_mend
from engine.tools.simulation.settings import drawn
from engine.venue.actor import Venue

RECOVER_S: Final = 90.0
SETTLE_S: Final = 2.0
SURE_S: Final = 90.0
QUIESCE_S: Final = 40.0
AGREE_S: Final = 40.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to.

    Attributes:
        violation: what did not hold, or empty. invariant: its number; 0 for what is none of them (a crash, no recovery).
        virtual_s: how much time passed in it; wall_s: how long it took.
        faults: kind to how often it happened, as far as it had an effect.
    """

    seed: int
    violation: str = ""
    invariant: int = 0
    trace_hash: str = ""
    steps: int = 0
    fills: int = 0
    virtual_s: float = 0.0
    wall_s: float = 0.0
    faults: dict[str, int] = {}


class Unrecovered(AssertionError):  # noqa: N818 - what it says is what it is called
    """Faults were over for long enough, and the engine is not back or does not agree with the venue."""


def run(
    config: Config,
    seed: int,
    seconds: float,
    *,
    faults: bool = True,
    prepare: Callable[[VirtualWorld], None] | None = None,
) -> Outcome:
    """Run one seed; never raises for what it finds.

    Args:
        config: to draw from (`settings.drawn`). seed: of everything. seconds: virtual time with faults.
        faults: let things go wrong. prepare: called with the world before it starts (traces, planted bugs).
    """
    began = time.perf_counter()
    settings, classes = drawn(config, seed)
    world = VirtualWorld(settings, seed, classes)
    start_ns = world.mono_ns
    plan: FaultPlan | None = None
    violation, invariant = "", 0
    try:
        checkers = watch_all(world)
        if prepare is not None:
            prepare(world)
        world.start()
        if faults:
            plan = FaultPlan(world, world.mono_ns + int(seconds * SECOND))
        world.run(seconds)
        if plan is not None:
            plan.heal()
        _recover(world)
        _quiesce(world, cash=plan is None or "venue.cash" not in plan.drawn)
        for checker in checkers:
            checker.at_rest()
    except InvariantBroken as broken:
        violation, invariant = str(broken), broken.number
    except Unrecovered as missing:
        violation = str(missing)
    except Exception as error:  # noqa: BLE001 - an actor that raises is what is looked for
        place = traceback.format_exception(error)[-4:]
        violation = f"{type(error).__name__}: {error}\n{''.join(place)}"
    return Outcome(
        seed=seed,
        violation=violation,
        invariant=invariant,
        trace_hash=world.trace_hash,
        steps=world.steps,
        fills=_fills(world),
        virtual_s=(world.mono_ns - start_ns) / SECOND,
        wall_s=time.perf_counter() - began,
        faults=world.struck,
    )


def _fills(world: VirtualWorld) -> int:
    venue = world.nodes["venue"].actor
    if not isinstance(venue, Venue):
        return 0
    return sum(account.fills for account in venue.exchange.accounts.values() if not account.synthetic)


def _recover(world: VirtualWorld) -> None:
    """Wait until new orders pass again, arming what is halted and settling what is wrong with order groups."""
    world.run(SETTLE_S)
    asked = 0

    def trading() -> bool:
        nonlocal asked
        guard = world.nodes["guard"].actor
        if not isinstance(guard, Guard):
            return False
        groups = groups_to_mend(world, "heal")
        if (groups or guard.halting.kill.latches) and world.mono_ns - asked >= SECOND:
            asked = world.mono_ns
            for order in groups:
                world.tell("guard", "guard.orders", order, TOOL)
            for scope in guard.halting.kill.latches:
                arm = Arm(
                    request_id="heal",
                    why="over",
                    who="simulation",
                    strategy=scope.strategy,
                    symbol=scope.symbol,
                )
                world.tell("guard", "guard.orders", arm, TOOL)
        return guard.gate.open and not guard.halting.kill.latches and not groups

    if not world.run(RECOVER_S, trading):
        guard = world.nodes["guard"].actor
        reasons = guard.gate.reasons if isinstance(guard, Guard) else ["the guard is dead"]
        reasons = [
            *reasons,
            *(f"{order.action} group of {order.strategy}" for order in groups_to_mend(world, "")),
        ]
        raise Unrecovered(f"not trading {RECOVER_S:.0f} s after the last fault: {'; '.join(reasons)}")


def _quiesce(world: VirtualWorld, *, cash: bool) -> None:
    """End in the supervisor's order, and compare."""
    workers = [name for name in world.nodes if name.startswith("strategy.")]
    for names in (workers, ["guard"], ["order_entry"], ["drop_copy"]):
        if names == ["order_entry"] and not world.run(SURE_S, lambda: _sure(world)):
            raise Unrecovered(
                f"requests without an answer, orders in doubt or no drop copy {SURE_S:.0f} s after the last fault"
            )
        for name in names:
            world.nodes[name].step("", lambda actor, now: actor.quiesce(now))
        if not world.run(QUIESCE_S, lambda names=names: _quiesced(world, names)):  # type: ignore[misc]
            raise Unrecovered(f"{', '.join(names)} did not finish what was open within {QUIESCE_S:.0f} s")
    if not world.run(AGREE_S, lambda: not differences(world, cash=cash)):
        raise Unrecovered("at rest: " + "; ".join(differences(world, cash=cash)))


def _sure(world: VirtualWorld) -> bool:
    """Say whether order entry knows of everything what became of it; a report that was lost takes its time to be missed.

    Drop copy must be there for its last sweep: a venue that believes in a connection that is gone refuses it for a while.
    """
    order_entry, drop_copy = world.nodes["order_entry"].actor, world.nodes["drop_copy"].actor
    assert isinstance(order_entry, OrderEntry), "order_entry is an OrderEntry"
    assert isinstance(drop_copy, DropCopy), "drop_copy is a DropCopy"
    ledger = order_entry.ledger
    return drop_copy.gateway.state == "logged on" and not (
        order_entry.desk.sent or ledger.unknown or any(o.requests for o in ledger.orders.values())
    )


def _quiesced(world: VirtualWorld, names: list[str]) -> bool:
    actors = [world.nodes[name].actor for name in names]
    return all(actor is not None and actor.quiesced for actor in actors)
