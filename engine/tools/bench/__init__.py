"""`scripts/bench`: what the engine costs, as ratios measured in one run, interleaved.

1. tick to trade: bytes of a tick written by a peer to bytes of the order read by it, through market_data, a worker, the
   guard and order_entry over real TLS, ZeroMQ and SQLite; beside the bare chain of four processes doing no work, with the
   same pinning and the same idle gap, measured in turns (the engine is stopped while the bare chain has its turn); with
   the journal, and without. A ratio is that of one round's medians, and the median of the rounds' is told.
2. the codec beside simplefix.
3. the guard's whole decision for an order that passes every control.
4. order round trip and sustained orders a second, against the embedded venue without token limits.
5. start-up and memory of each process.

Benchmarks are not tests: nothing fails on a slow machine.
"""

import argparse
import json
import os
import statistics
import tempfile
from typing import Any

from engine.tools.bench import engine_chain

GUARD_ORDERS = 5000


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):8.1f} us   ({min(values):.0f}..{max(values):.0f})"


def _quantile(trips: list[int], fraction: float) -> float:
    ordered = sorted(trips)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))] / 1000


def _tick_to_trade(arguments: argparse.Namespace, directory: str) -> dict[str, Any]:
    rows: dict[str, dict[str, list[float]]] = {}
    for number in range(arguments.rounds):
        for name, trips in engine_chain.one_round(directory, number, arguments):
            beside = "" if name == "engine" else f" beside {name}"
            for chain, times in ((f"bare chain{beside}", trips.bare), (name, trips.engine)):
                row = rows.setdefault(chain, {})
                row.setdefault("p50", []).append(_quantile(times, 0.5))
                row.setdefault("p99", []).append(_quantile(times, 0.99))
            for hop, value in trips.hops.items():
                rows[name].setdefault(hop, []).append(value)
            for key in ("p50", "p99"):
                ratio = rows[name][key][-1] / rows[f"bare chain{beside}"][key][-1]
                rows[name].setdefault(f"{key} ratio", []).append(ratio)
    median = {
        name: {key: statistics.median(values) for key, values in row.items()} for name, row in rows.items()
    }
    full, free = median["engine"], median["engine, no journal"]
    where = f"one core (cpu {arguments.cpu})" if arguments.cpu >= 0 else "not pinned"
    print(
        f"tick to trade: {arguments.rounds} rounds of {arguments.count} beside the bare chain, in turns, {arguments.gap_us} us idle before each tick, {where}"
    )
    hops = {hop: value for hop, value in full.items() if hop[:3] not in {"p50", "p99"}}
    for name, row in rows.items():
        print(f"  {name:36} p50 {_spread(row['p50'])}   p99 {_spread(row['p99'])}")
    if hops:
        print("      " + "   ".join(f"{hop} {value:.0f} us" for hop, value in hops.items()))
    result = {
        "p50_ratio": round(full["p50 ratio"], 3),
        "p99_ratio": round(full["p99 ratio"], 3),
        "p50_ratio_no_journal": round(free["p50 ratio"], 3),
        "p50_us": {name: round(row["p50"], 1) for name, row in median.items()},
        "p99_us": {name: round(row["p99"], 1) for name, row in median.items()},
        "hops_us": {hop: round(value, 1) for hop, value in hops.items()},
    }
    ratios = rows["engine"]["p50 ratio"]
    print(
        f"  ratio p50 {result['p50_ratio']} ({min(ratios):.2f}..{max(ratios):.2f})   p99 {result['p99_ratio']}   "
        f"p50 without journal {result['p50_ratio_no_journal']}"
    )
    return result


def _codec(rounds: int) -> dict[str, Any]:
    from engine.tools.bench import codec

    result = codec.measure(rounds)
    print("codec, times faster than simplefix:")
    for kind in ("decode", "encode"):
        print(f"  {kind}: " + "   ".join(f"{name} {value:.1f}" for name, value in result[kind].items()))
    return result


def _guard(arguments: argparse.Namespace) -> dict[str, float]:
    from engine.tools.bench import decision

    cpus = os.sched_getaffinity(0)
    if arguments.cpu in cpus:
        os.sched_setaffinity(0, {arguments.cpu})
    result = decision.measure(GUARD_ORDERS)
    os.sched_setaffinity(0, cpus)
    print(
        f"guard: an order that passes every control: median {result['decision_us']:.1f} us, p99 {result['decision_p99_us']:.1f} us; "
        f"with decoding and encoding {result['with_decode_and_encode_us']:.1f} us"
    )
    return result


def main(argv: list[str]) -> int:
    """Measure and print; with --json FILE also write the numbers."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE", default="", help="write the numbers to FILE")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--count", type=int, default=1000, help="ticks a round (default 1000)")
    parser.add_argument("--gap-us", type=int, default=2000, help="idle time before each tick (default 2000)")
    parser.add_argument(
        "--cpu", type=int, default=1, help="CPU that everything is pinned to, -1: not pinned (default 1)"
    )
    parser.add_argument(
        "--only", choices=("chain", "codec", "guard", "orders"), default="", help="measure only this"
    )
    arguments = parser.parse_args(argv)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        if arguments.only in {"", "chain"}:
            result["tick_to_trade"] = _tick_to_trade(arguments, directory)
        if arguments.only in {"", "codec"}:
            result.update(_codec(arguments.rounds))
        if arguments.only in {"", "guard"}:
            result["guard"] = _guard(arguments)
        if arguments.only in {"", "orders"}:
            result.update(engine_chain.orders_and_start(directory))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    return 0
