"""`scripts/simulate CONFIG`: a whole engine and its embedded venue on virtual time, in one process.

The same actors as in `scripts/launch`, with a seeded network between them: a minute takes about a second, and the same
configuration and seed give the same trace hash on every machine. At the end, after a stop in safe order, what the engine
believes it holds is compared with what the venue says.
"""

import argparse
import json
from typing import Any

import msgspec

from engine import config_loader
from engine.common.fixed_point import format_fixed, format_money, parse_money
from engine.config import Config
from engine.drop_copy.report.summary import Report, build_report
from engine.drop_copy.report.text import render_text
from engine.errors import EXIT_BREAKS, EXIT_OK, ConfigError, UsageError
from engine.messages.control import VenueAccount, VenueQuery, VenueTruth
from engine.messages.executions import OrderEvent, OrdersSnapshot, SnapshotRequest
from engine.runtime.virtual import VirtualWorld
from engine.tools.arguments import duration

QUIESCE_S = 30.0
_TOOL = "tool.simulate"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated run came to.

    Attributes:
        report: the reconciliation report of its journals.
        differences: where the engine's positions and money are not the venue's; empty when they agree.
        quiesced: every process finished what was open when it was told to stop.
        trace_hash: of everything that happened; steps: how many things that were.
    """

    report: Report
    account: VenueAccount
    differences: list[str]
    quiesced: bool
    trace_hash: str
    steps: int

    @property
    def clean(self) -> bool:
        """Whether nothing is unexplained."""
        return self.report.clean and self.quiesced and not self.differences


def simulate(config: Config, seed: int, seconds: float, strategies: dict[str, type] | None = None) -> Outcome:
    """Run a configuration with an embedded venue for virtual seconds, then end it in safe order."""
    world = VirtualWorld(config, seed, strategies)
    world.start()
    world.run(seconds)
    quiesced = True
    workers = [name for name in world.nodes if name.startswith("strategy.")]
    for name in (*workers, "guard", "order_entry", "drop_copy"):
        node = world.nodes[name]
        node.step("", lambda actor, now: actor.quiesce(now))
        quiesced &= world.run(QUIESCE_S, lambda node=node: node.actor is not None and node.actor.quiesced)  # type: ignore[misc]
    truth, held = _ask(world)
    names = {strategy.slot: name for name, strategy in config.strategies.items()}
    report = build_report(
        [entry for entry in world.nodes["order_entry"].journal if isinstance(entry, OrderEvent)],
        world.nodes["drop_copy"].journal,  # type: ignore[arg-type]
        names=names,
        multipliers={symbol: market.contract_multiplier for symbol, market in config.instruments.items()},
        run=f"simulation, seed {seed}",
    )
    account = truth.accounts[0]
    return Outcome(
        report=report,
        account=account,
        differences=_differences(config, account, held),
        quiesced=quiesced,
        trace_hash=world.trace_hash,
        steps=world.steps,
    )


def _ask(world: VirtualWorld) -> tuple[VenueTruth, OrdersSnapshot]:
    world.tell("venue", "venue.ask", VenueQuery(request_id="truth"), _TOOL)
    world.tell("order_entry", "oe.ask", SnapshotRequest(), _TOOL)
    world.run(1)
    answers = [answer for to, answer in world.answers if to == _TOOL]
    truth = next(answer for answer in answers if isinstance(answer, VenueTruth))
    held = next(answer for answer in answers if isinstance(answer, OrdersSnapshot))
    return truth, held


def _differences(config: Config, account: VenueAccount, held: OrdersSnapshot) -> list[str]:
    """Compare positions, cash, fees and open orders of the account."""
    assert config.venue is not None
    found = []
    mine = {position.symbol: position for position in held.positions if position.strategy is None}
    for symbol in config.instruments:
        here = mine[symbol].qty if symbol in mine else 0
        there = account.positions.get(symbol, 0)
        if here != there:
            found.append(
                f"{symbol}: position {format_fixed(here, 2)} here, {format_fixed(there, 2)} at the venue"
            )
    fees = sum(position.fees for position in mine.values())
    cash = parse_money(config.venue.balance) + sum(position.realised for position in mine.values()) - fees
    for what, ours, theirs in (("fees", fees, account.fees), ("cash", cash, account.cash)):
        if ours != theirs:
            found.append(f"{what}: {format_money(ours)} here, {format_money(theirs)} at the venue")
    if len(held.orders) != len(account.orders):
        found.append(f"open orders: {len(held.orders)} here, {len(account.orders)} at the venue")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate", description="Run a configuration on virtual time, with its embedded venue."
    )
    parser.add_argument("config", nargs="?", default="configs/demo.toml", help="default configs/demo.toml")
    parser.add_argument(
        "--for", dest="duration", default="60s", metavar="TIME", help="virtual time (default 60s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of the network between the processes (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON line")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    return parser


def main(argv: list[str]) -> int:
    """Simulate and print. Raises ConfigError, UsageError."""
    arguments = _parser().parse_args(argv)
    seconds = duration(arguments.duration)
    if seconds <= 0:
        raise UsageError("--for must be longer than nothing")
    config = config_loader.load(arguments.config, arguments.overrides)
    if config.venue is None or config.engine.environment != "embedded":
        raise ConfigError(f"{arguments.config}: only environment 'embedded' can be simulated")
    outcome = simulate(config, arguments.seed, seconds)
    if arguments.json:
        print(json.dumps(_summary(outcome, arguments.seed)))
    else:
        print(render_text(outcome.report))
        for difference in outcome.differences:
            print(f"DIFFERENT  {difference}")
        if not outcome.quiesced:
            print("a process did not finish what was open")
        print(f"seed {arguments.seed}, {outcome.steps} steps, trace {outcome.trace_hash}")
    return EXIT_OK if outcome.clean else EXIT_BREAKS


def _summary(outcome: Outcome, seed: int) -> dict[str, Any]:
    return {
        "fills": outcome.report.fills,
        "orders": outcome.report.orders,
        "open_orders": outcome.report.open_orders,
        "breaks": outcome.report.breaks,
        "clean": outcome.clean,
        "differences": outcome.differences,
        "seed": seed,
        "steps": outcome.steps,
        "trace": outcome.trace_hash,
    }
