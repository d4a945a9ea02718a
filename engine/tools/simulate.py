"""`scripts/simulate`: whole engines and their embedded venues on virtual time, in one process each.

The same actors as in `scripts/launch`, with a seeded network between them: a minute takes about a second, and the same
configuration and seed give the same trace hash on every machine.

    scripts/simulate CONFIG --for 60s            one run without faults, then the reconciliation report
    scripts/simulate --seeds 200 --minutes 2     a search: many seeds, each with drawn settings and faults, on all cores
    scripts/simulate --seed 17 --minutes 2       one seed of a search once more, exactly, as lines to read

A run of a search trades under faults, then heals, waits until the engine trades again, stops in safe order, and
compares every process with every other and with the venue; invariants are checked at each step (`simulation`). A search
that finds something ends with the last lines of the first such seed's trace, and exit code 1.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from engine import config_loader
from engine.config import Config
from engine.drop_copy.report.model import Report
from engine.drop_copy.report.summary import build_report
from engine.drop_copy.report.text import render_text
from engine.errors import EXIT_BREAKS, EXIT_FAILURE, EXIT_OK, ConfigError, UsageError
from engine.messages.executions import OrderEvent
from engine.runtime.virtual import VirtualWorld
from engine.tools.arguments import duration
from engine.tools.simulation.comparison import differences
from engine.tools.simulation.run import Outcome, run
from engine.tools.simulation.trace import tracer

QUIESCE_S: Final = 30.0
AGREE_S: Final = 5.0
SHOWN_MAX: Final = 10
SEARCH_S: Final = 120.0
TAIL_LINES: Final = 80
_ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_DEMO: Final = os.path.join(_ROOT, "configs", "demo.toml")


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run without faults came to.

    Attributes:
        report: the reconciliation report of its journals.
        differences: where the engine does not agree with the venue or with itself; empty when all agree.
        quiesced: every process finished what was open when it was told to stop.
        trace_hash: of everything that happened; steps: how many things that were.
    """

    report: Report
    differences: list[str]
    quiesced: bool
    trace_hash: str
    steps: int

    @property
    def clean(self) -> bool:
        """Whether nothing is unexplained."""
        return self.report.clean and self.quiesced and not self.differences


def simulate(config: Config, seed: int, seconds: float, strategies: dict[str, type] | None = None) -> Summary:
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
    world.run(AGREE_S, lambda: not differences(world))
    report = build_report(
        [entry for entry in world.nodes["order_entry"].journal if isinstance(entry, OrderEvent)],
        world.nodes["drop_copy"].journal,  # type: ignore[arg-type]
        names={strategy.slot: name for name, strategy in config.strategies.items()},
        multipliers={symbol: market.contract_multiplier for symbol, market in config.instruments.items()},
        run=f"simulation, seed {seed}",
    )
    return Summary(
        report=report,
        differences=differences(world),
        quiesced=quiesced,
        trace_hash=world.trace_hash,
        steps=world.steps,
    )


# -- searching


def _run_seed(task: tuple[Config, int, float]) -> Outcome:
    return run(*task)


def search(config: Config, seeds: range, seconds: float, jobs: int) -> int:
    """Run many seeds on `jobs` processes; print progress, rate and what was found. Return an exit code."""
    began = time.monotonic()
    tasks = [(config, seed, seconds) for seed in seeds]
    failed: list[Outcome] = []
    virtual_s, done = 0.0, 0
    with contextlib.ExitStack() as stack:
        outcomes: Iterable[Outcome] = map(_run_seed, tasks)
        if min(jobs, len(tasks)) > 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(min(jobs, len(tasks))))
            outcomes = pool.imap_unordered(_run_seed, tasks, chunksize=1)
        for outcome in outcomes:
            done += 1
            virtual_s += outcome.virtual_s
            if outcome.violation:
                failed.append(outcome)
                if len(failed) <= SHOWN_MAX:
                    print(
                        f"seed {outcome.seed} after {outcome.virtual_s:.1f} s: {outcome.violation}"
                        f" (trace {outcome.trace_hash})",
                        flush=True,
                    )
            if done % max(len(tasks) // 20, 1) == 0 or done == len(tasks):
                rate = virtual_s / max(time.monotonic() - began, 1e-9)
                print(
                    f"{done}/{len(tasks)} seeds, {virtual_s:.0f} virtual seconds, {rate:.0f} times real time",
                    flush=True,
                )
    if not failed:
        print(f"no violation in {len(tasks)} seeds")
        return EXIT_OK
    print(f"{len(failed)} of {len(tasks)} seeds failed: {sorted(outcome.seed for outcome in failed)}")
    show_tail(config, min(failed, key=lambda outcome: outcome.seed), seconds)
    return EXIT_FAILURE


def show_tail(config: Config, failed: Outcome, seconds: float) -> None:
    """Run a seed that failed once more and print the end of its trace, and how to see all of it."""
    lines: deque[str] = deque(maxlen=TAIL_LINES)

    def prepare(world: VirtualWorld) -> None:
        world.trace = tracer(world, lines.append, everything=False)

    again = run(config, failed.seed, seconds, prepare=prepare)
    print(f"the last {len(lines)} lines of seed {failed.seed}:")
    print("\n".join(lines))
    print(f"VIOLATION  {again.violation}")
    same = "the same" if again.trace_hash == failed.trace_hash else "ANOTHER ONE: that is a fault in itself"
    print(f"seed {failed.seed}, trace {again.trace_hash} ({same})")
    print(f"all of it: scripts/simulate --seed {failed.seed} --minutes {seconds / 60!r}")


def replay(config: Config, seed: int, seconds: float, trace: str) -> int:
    """Run one seed of a search once more, exactly, with its trace on standard output. Return an exit code."""

    def prepare(world: VirtualWorld) -> None:
        if trace != "none":
            world.trace = tracer(world, print, everything=trace == "all")

    outcome = run(config, seed, seconds, prepare=prepare)
    print(f"faults: {', '.join(f'{kind} {count}' for kind, count in sorted(outcome.faults.items()))}")
    print(f"seed {seed}, {outcome.steps} steps, {outcome.fills} fills, trace {outcome.trace_hash}")
    if outcome.violation:
        print(f"VIOLATION  {outcome.violation}")
        return EXIT_FAILURE
    return EXIT_OK


# -- the command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate", description="Run engines on virtual time, with their embedded venues."
    )
    parser.add_argument("config", nargs="?", default=_DEMO, help="default configs/demo.toml")
    parser.add_argument(
        "--for", dest="duration", metavar="TIME", help="virtual time of one run without faults"
    )
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="virtual time with faults (default 2 with --seed, --seeds)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="replay this seed of a search; with --for: of everything random"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="search N seeds for violations")
    parser.add_argument(
        "--first-seed", type=int, default=1, metavar="K", help="the first of them (default 1)"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes of a search (all cores)"
    )
    parser.add_argument(
        "--trace",
        default="short",
        choices=("none", "short", "all"),
        help="of a replayed seed: all has market data and beats, too",
    )
    parser.add_argument("--json", action="store_true", help="the outcome of one run as one JSON line")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    return parser


def _seconds(arguments: argparse.Namespace) -> float:
    if arguments.seed is not None and arguments.seeds is not None:
        raise UsageError("--seed (one seed, replayed) or --seeds (how many, from --first-seed on), not both")
    if arguments.duration and arguments.minutes is not None:
        raise UsageError("--for or --minutes, not both")
    seconds = float(duration(arguments.duration or "60s"))
    if arguments.minutes is not None:
        seconds = arguments.minutes * 60
    elif arguments.duration is None and (arguments.seed is not None or arguments.seeds is not None):
        seconds = SEARCH_S
    if not 0 < seconds < float("inf"):
        raise UsageError("the time must be longer than nothing")
    return seconds


def main(argv: list[str]) -> int:
    """Simulate and print. Raises ConfigError, UsageError."""
    arguments = _parser().parse_args(argv)
    seconds = _seconds(arguments)
    config = config_loader.load(arguments.config, arguments.overrides)
    if config.venue is None or config.engine.environment != "embedded":
        raise ConfigError(f"{arguments.config}: only environment 'embedded' can be simulated")
    if arguments.seeds is not None:
        if arguments.seeds < 1 or arguments.jobs < 1:
            raise UsageError("--seeds and --jobs must be at least 1")
        return search(
            config,
            range(arguments.first_seed, arguments.first_seed + arguments.seeds),
            seconds,
            arguments.jobs,
        )
    seed = 1 if arguments.seed is None else arguments.seed
    if arguments.minutes is not None or (arguments.seed is not None and arguments.duration is None):
        return replay(config, seed, seconds, arguments.trace)
    summary = simulate(config, seed, seconds)
    if arguments.json:
        json.dump(_as_json(summary, seed), sys.stdout)
        print()
    else:
        print(render_text(summary.report))
        for difference in summary.differences:
            print(f"DIFFERENT  {difference}")
        if not summary.quiesced:
            print("a process did not finish what was open")
        print(f"seed {seed}, {summary.steps} steps, trace {summary.trace_hash}")
    return EXIT_OK if summary.clean else EXIT_BREAKS


def _as_json(summary: Summary, seed: int) -> dict[str, Any]:
    return {
        "fills": summary.report.fills,
        "orders": summary.report.orders,
        "open_orders": summary.report.open_orders,
        "breaks": summary.report.breaks,
        "clean": summary.clean,
        "differences": summary.differences,
        "seed": seed,
        "steps": summary.steps,
        "trace": summary.trace_hash,
    }
