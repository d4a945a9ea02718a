"""`scripts/chaos`: the real engine with real sockets is broken for a while, then compared with its venue exactly.

    scripts/chaos --for 10m --seed 7

Launches the engine on a configuration with an embedded venue, waits until it trades and is reconciled, then kills and stops
processes, cuts TLS links and lets the venue misbehave, as the seed draws it. Then nothing goes wrong any more: the
engine must trade again by itself (latches are armed), and its open orders, positions, fills and fees must equal the
venue's, while it trades and after a halt; it must end cleanly, and every ExecID that the venue issued must be in the
order journal exactly once. Exit code 0 when all of that holds, 1 when not; the run directory is kept then.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from engine import config_loader
from engine.config import Config
from engine.errors import EXIT_FAILURE, EXIT_OK, ConfigError, EngineError, UsageError
from engine.tools.arguments import duration
from engine.tools.chaos import comparison, plan
from engine.tools.chaos.subject import POLL_S, NotThereError, Subject

START_S: Final = 60.0
RECOVER_S: Final = 120.0
AGREE_S: Final = 30.0
END_S: Final = 90.0
ARM_EVERY_S: Final = 1.0
STEADY_S: Final = 1.0
"""A gate that has stood open for so long knows of the last kill: a loss of order entry is known within 500 ms."""
_ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_DEMO: Final = os.path.join(_ROOT, "configs", "demo.toml")
_LINE_FAULTS: Final = (("delay", {"ms": "0"}), ("split", {"on": "no"}))


class Chaos:
    """One run.

    Args:
        subject: the engine, just launched. config: its configuration. seed: of what goes wrong.
        say: takes a line for a human.

    Attributes:
        done: kind of what went wrong to how often.
    """

    def __init__(self, subject: Subject, config: Config, seed: int, say: Callable[[str], None]) -> None:
        self.subject = subject
        self.done: Counter[str] = Counter()
        self._config = config
        self._say = say
        self._sessions = [
            config.sessions.order_entry.target_comp_id,
            config.sessions.drop_copy.target_comp_id,
            config.sessions.market_data.target_comp_id,
        ]
        self._steps = plan.draw(seed, [f"strategy.{name}" for name in config.strategies], self._sessions)
        self._later: list[tuple[float, Callable[[], object]]] = []

    def begin(self) -> None:
        """Wait until the engine trades and has something to be compared by. Raises NotThereError."""
        self.subject.wait_for("TRADING", self.subject.trading, START_S)
        self.subject.wait_for("the first reconciled execution", self.subject.anchored, START_S)

    def torment(self, seconds: float) -> None:
        """Let things go wrong for so long. Raises NotThereError when the engine itself ends."""
        begin = time.monotonic()
        step = next(self._steps)
        due = begin + step.after_s
        while (now := time.monotonic()) < begin + seconds:
            for at, action in list(self._later):
                if now >= at:
                    self._later.remove((at, action))
                    action()
            if now >= due:
                self._say(f"{now - begin:7.1f} s  {step.text}")
                self._carry_out(step, now)
                self.done[step.kind] += 1
                step = next(self._steps)
                due = time.monotonic() + step.after_s
            if self.subject.process.poll() is not None:
                raise NotThereError(
                    f"the engine ended with code {self.subject.process.poll()}: {self.subject.tail()}"
                )
            time.sleep(POLL_S)

    def _carry_out(self, step: plan.Step, now: float) -> None:
        subject = self.subject
        match step.kind:
            case "kill" | "kill two":
                for name in step.names:
                    subject.signal(name, signal.SIGKILL)
            case "stop":
                name = step.names[0]
                if subject.signal(name, signal.SIGSTOP):
                    self._later.append((now + step.for_s, lambda: subject.go_on(name)))
            case _:
                subject.fault(step.fault, step.session, step.arguments)
                if step.undo is not None:
                    kind, arguments = step.undo
                    self._later.append(
                        (now + step.for_s, lambda: subject.fault(kind, step.session, arguments))
                    )

    def recover(self) -> None:
        """End all faults and wait until the engine trades. Raises NotThereError."""
        subject = self.subject
        subject.go_on()
        self._later.clear()
        armed = 0.0
        since = 0.0

        def is_back() -> bool:
            nonlocal armed, since
            now = time.monotonic()
            if subject.trading():
                since = since or now
                return now - since >= STEADY_S
            since = 0.0
            if now - armed >= ARM_EVERY_S:
                armed = now
                self._heal()
                self._arm()
            return False

        self._heal()
        subject.wait_for("TRADING after the last fault", is_back, RECOVER_S)
        self._arm()

    def _arm(self) -> None:
        slots = [strategy.slot for strategy in self._config.strategies.values()]
        self.subject.arm(slots, list(self._config.instruments))

    def _heal(self) -> None:
        self.subject.fault("resume", "", {})
        for kind, arguments in _LINE_FAULTS:
            for session in self._sessions:
                self.subject.fault(kind, session, arguments)

    def compare(self, what: str) -> list[str]:
        """Return how engine and venue differ, empty when they agree within a while. Raises NotThereError."""
        deadline = time.monotonic() + AGREE_S
        found = [
            "nothing could be compared: the venue, order entry or both don't answer, or never stand still"
        ]
        while time.monotonic() < deadline:
            before, ours, after = self.subject.truth(), self.subject.snapshot(), self.subject.truth()
            if before is not None and after is not None and ours is not None and before == after:
                found = comparison.differences(before, ours)
                if not found:
                    self._say(
                        f"{what}: engine and venue agree on {len(ours.orders)} open orders, {before.fills} fills"
                    )
                    return []
            time.sleep(POLL_S)
        return [f"{what}: {text}" for text in found]

    def finish(self) -> list[str]:
        """Compare, halt, compare, end, compare; return all differences. Raises NotThereError, JournalError."""
        subject = self.subject
        found = self.compare("while trading")
        subject.wait_for("the halt", subject.halt, AGREE_S)
        found += self.compare("halted")
        self._arm()  # or the engine would end with the latch that was only ours
        code = subject.end(END_S)
        summary = subject.summary()
        for key in ("breaks", "open_orders"):
            if summary.get(key, 0):
                found.append(f"at the end: {summary[key]} {key.replace('_', ' ')}")
        if not summary.get("clean", False) and not found:
            found.append(f"the engine ended with code {code}, and not cleanly: {subject.tail()}")
        wrong, issued = comparison.lost_and_doubled(subject.run)
        if not wrong:
            self._say(f"at the end: all {issued} executions of the venue are in the order journal once")
        return found + wrong


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Break a real engine with an embedded venue for a while, then compare the two exactly.",
    )
    parser.add_argument("config", nargs="?", default=_DEMO, help="default configs/demo.toml")
    parser.add_argument(
        "--for", dest="duration", default="10m", metavar="TIME", help="how long (default 10m)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what goes wrong (default 1)")
    parser.add_argument(
        "--run",
        default="",
        metavar="DIR",
        help="run directory to use and keep (default: one that is removed)",
    )
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON line, last")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    return parser


def _busier(config: Config) -> list[str]:
    """Return overrides that make fills and sweeps come quickly, so that there is something to lose."""
    assert config.venue is not None, "asked for an embedded venue only"
    found = ["reconciliation.sweep_s=1", "venue.book_changes_per_s=100"]
    return found + [f'venue.markets."{symbol}".trades_per_s=20' for symbol in config.venue.markets]


def main(argv: list[str]) -> int:
    """Run chaos. Raises ConfigError, UsageError, EngineError."""
    arguments = _parser().parse_args(argv)
    seconds = duration(arguments.duration)
    if not 0 < seconds < float("inf"):
        raise UsageError("--for: the time must be longer than nothing")
    config = config_loader.load(arguments.config, arguments.overrides)
    if config.venue is None or config.engine.environment != "embedded":
        raise ConfigError(f"{arguments.config}: chaos is only for environment 'embedded', never a real venue")
    overrides = _busier(config) + arguments.overrides
    config = config_loader.load(arguments.config, overrides)
    base = "" if arguments.run else tempfile.mkdtemp(prefix="chaos-")
    run = os.path.abspath(arguments.run or os.path.join(base, "run"))
    if os.path.exists(os.path.join(run, "state", "order_entry.sqlite")):
        raise UsageError(f"--run {run}: there are journals of another run; give an empty directory")

    def say(text: str) -> None:
        print(text, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    say(f"chaos for {seconds:g} s, seed {arguments.seed}, in {run}")
    subject = Subject(arguments.config, run, overrides)
    chaos = Chaos(subject, config, arguments.seed, say)
    found: list[str] = []
    try:
        chaos.begin()
        chaos.torment(seconds)
        say("nothing goes wrong any more")
        chaos.recover()
        found = chaos.finish()
    except EngineError as error:
        found = [str(error)]
    finally:
        subject.destroy()
    for text in found:
        say(f"DIFFERENT  {text}")
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(chaos.done.items()))
    say(
        f"seed {arguments.seed}: {counts or 'nothing went wrong'}: {'FAILED' if found else 'engine and venue are equal'}"
    )
    if arguments.json:
        outcome = {"seed": arguments.seed, "seconds": seconds, "done": dict(chaos.done), "differences": found}
        print(json.dumps(outcome | {"run_dir": run, "equal": not found}))
    if base and not found:
        shutil.rmtree(base, ignore_errors=True)
    elif found:
        say(f"journals and logs are kept in {run}")
    return EXIT_FAILURE if found else EXIT_OK
