"""`scripts/ctl drill`: the kill switch, tried out in the embedded venue, step by step, with what each step took.

On a running engine of the embedded venue it is tried there; otherwise a demo of its own is started in a directory that
is thrown away. Never on an engine of a real venue: its orders are worth more than a drill.

    1  halted by message: nothing new leaves after the answer, nothing is open after a while
    2  armed: it trades again
    3  halted by the halt file, written by hand: the same
    4  armed: it trades again
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from engine.bus.sockets import ToolBus, tool_socket
from engine.common import halt_file
from engine.common.clock import MS
from engine.config import Config
from engine.errors import EXIT_FAILURE, EXIT_OK, EngineError, NotRunningError, UsageError
from engine.messages import commands
from engine.messages.decisions import GuardStatus
from engine.messages.executions import EventKind, OrderEvent
from engine.tools.docs_gen import ROOT
from engine.tools.kill import write_halt
from engine.tools.running import running_config, running_run

EMBEDDED: Final = "embedded"
HALTED_NS: Final = 50 * MS  # from the guard's answer until nothing new may leave any more
NOTICED_NS: Final = 150 * MS  # of a file: 50 ms until it is read, 50 ms as above, and a busy machine
START_S: Final = 60.0
TRADING_S: Final = 30.0
QUIET_S: Final = 1.0
_NEW: Final = (EventKind.SUBMITTED, EventKind.REPLACE_SUBMITTED)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step: what was done, whether it held, and what it took in ms."""

    step: str
    ok: bool
    text: str
    ms: float = 0.0


class _Failed(Exception):  # noqa: N818 - it ends a drill, and is no error of the program
    pass


class Drill:
    """Tries the kill switch of one engine.

    Args:
        run: its run directory. say: is told each step.

    Attributes:
        steps: what was done. began: something was halted at all.
    """

    def __init__(self, run: str, config: Config, say: Callable[[Step], None]) -> None:
        self.steps: list[Step] = []
        self.began = False
        self._run = run
        self._config = config
        self._say = say

    def run(self) -> bool:
        """Do all steps; say whether all of them held."""
        try:
            with self._bus("oe.tape", ("slot.",)) as tape:
                self._until(
                    "the engine trades and has an order", lambda s: s.gate == "TRADING" and s.open_orders > 0
                )
                self.began = True
                self._halt("halted by message", tape, self._by_message)
                self._arm()
                self._until("it has an order again", lambda s: s.open_orders > 0)
                self._halt("halted by the halt file", tape, self._by_file)
                self._arm()
        except _Failed:
            return False
        return all(step.ok for step in self.steps)

    # -- steps

    def _halt(self, name: str, tape: ToolBus, throw: Callable[[], int]) -> None:
        began = time.monotonic_ns()
        due_wall_ns = throw()
        self._until(f"{name}: latched", lambda s: "all" in s.latches, 5.0, began)
        scope = self._config.risk.kill_within_s + 5.0
        self._until(f"{name}: nothing is open", lambda s: s.open_orders == 0, scope, began)
        late = [event.cl_ord_id for event in self._sent(tape) if event.wall_ns > due_wall_ns]
        self._note(f"{name}: no order left late", not late, ", ".join(late[:5]) or "none did", began)
        kept = os.path.exists(os.path.join(self._run, halt_file.NAME))
        self._note(f"{name}: the halt file says so", kept, os.path.join(self._run, halt_file.NAME), began)

    def _by_message(self) -> int:
        self._ask(lambda i: commands.Halt(request_id=i, why="drill", who="ctl drill"))
        return time.time_ns() + HALTED_NS

    def _by_file(self) -> int:
        write_halt(self._run, "", "", "drill")
        return time.time_ns() + NOTICED_NS

    def _arm(self) -> None:
        began = time.monotonic_ns()
        self._ask(lambda i: commands.Arm(request_id=i, why="drill", who="ctl drill"))
        self._until("armed: it trades again", lambda s: s.gate == "TRADING", TRADING_S, began)
        gone = not os.path.exists(os.path.join(self._run, halt_file.NAME))
        self._note("armed: the halt file is gone", gone, "", began)

    # -- asking

    def _ask(self, make: Callable[[str], msgspec.Struct]) -> None:
        request_id = uuid.uuid4().hex
        with self._bus("guard.orders") as bus:
            answer = bus.request(make(request_id), lambda a: getattr(a, "request_id", "") == request_id, 3000)
        if answer is None or not answer.ok:
            self._note(
                "the guard answers",
                False,
                "no answer" if answer is None else answer.text,
                time.monotonic_ns(),
            )
            raise _Failed

    def _until(
        self, step: str, holds: Callable[[GuardStatus], bool], seconds: float = TRADING_S, began: int = 0
    ) -> None:
        began = began or time.monotonic_ns()
        ends = time.monotonic() + seconds
        last: GuardStatus | None = None
        with self._bus("guard.feed", ("status",)) as bus:
            while time.monotonic() < ends:
                message = bus.receive(500)
                if isinstance(message, GuardStatus):
                    last = message
                    if holds(message):
                        self._note(step, True, f"gate {last.gate}, {last.open_orders} open", began)
                        return
        text = "the guard is silent" if last is None else f"gate {last.gate}, {last.open_orders} open"
        self._note(step, False, f"not within {seconds:g} s: {text}", began)
        raise _Failed

    def _sent(self, tape: ToolBus) -> list[OrderEvent]:
        found = []
        ends = time.monotonic() + QUIET_S
        while (left := ends - time.monotonic()) > 0:
            message = tape.receive(int(left * 1000) + 1)
            if isinstance(message, OrderEvent) and message.kind in _NEW:
                found.append(message)
        return found

    @contextlib.contextmanager
    def _bus(self, channel: str, topics: tuple[str, ...] = ()) -> Iterator[ToolBus]:
        bus = tool_socket(self._run, channel, f"tool.drill.{os.getpid()}.{uuid.uuid4().hex[:6]}", topics)
        try:
            yield bus
        finally:
            bus.close()

    def _note(self, step: str, ok: bool, text: str, began: int) -> None:
        self.steps.append(Step(step=step, ok=ok, text=text, ms=round((time.monotonic_ns() - began) / MS, 1)))
        self._say(self.steps[-1])


@contextlib.contextmanager
def _engine(run: str) -> Iterator[str]:
    """Give the run directory of an embedded engine: the one that runs, or one of our own that ends with us."""
    with contextlib.suppress(NotRunningError):
        found = running_run(run)
        if running_config(found).engine.environment == EMBEDDED:
            yield found
            return
        if run:
            raise UsageError(
                f"{run}: this engine is at a real venue; without --run a drill has a demo of its own"
            )
    if run:
        raise NotRunningError(f"{run}: no engine runs here; without --run a drill has a demo of its own")
    with tempfile.TemporaryDirectory(prefix="drill") as directory:
        command = [sys.executable, "-m", "engine", "launch", os.path.join(ROOT, "configs", "demo.toml")]
        process = subprocess.Popen(
            [*command, "--run", directory, "--plain"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _await_start(directory, process)
            yield directory
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)


def _await_start(directory: str, process: "subprocess.Popen[bytes]") -> None:
    ends = time.monotonic() + START_S
    channels = [os.path.join(directory, "bus", name) for name in ("guard.feed", "guard.orders", "oe.tape")]
    while not all(os.path.exists(path) for path in channels):
        if process.poll() is not None or time.monotonic() > ends:
            raise EngineError("the demo for the drill did not start; try scripts/launch configs/demo.toml")
        time.sleep(0.05)


def _verdict(*, ok: bool, began: bool) -> str:
    if ok:
        return "the kill switch works"
    if began:
        return "error: the kill switch did not hold; see above"
    return "error: the drill was not begun, nothing was halted: it needs an engine that trades and has an order open"


def main(run: str, *, as_json: bool) -> int:
    """Carry out a drill and print it. Raises NotRunningError, UsageError."""

    def say(step: Step) -> None:
        if not as_json:
            print(
                f"  {'ok  ' if step.ok else 'FAIL'} {step.ms:9.1f} ms  {step.step}: {step.text}", flush=True
            )

    with _engine(run) as directory:
        drill = Drill(directory, running_config(directory), say)
        ok = drill.run()
    if as_json:
        print(msgspec.json.encode({"ok": ok, "began": drill.began, "steps": drill.steps}).decode())
    else:
        print(_verdict(ok=ok, began=drill.began))
    return EXIT_OK if ok else EXIT_FAILURE
