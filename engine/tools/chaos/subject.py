"""The engine that chaos is brought upon: launched as a user would, asked over its own bus, broken by signals and faults."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO, Any, Final

from engine.bus.sockets import tool_socket
from engine.errors import EngineError, NotRunningError
from engine.messages import commands, control
from engine.messages.executions import OrdersSnapshot, SnapshotRequest
from engine.messages.reconciliation import ReconciliationStatus

ACCOUNT: Final = "main"
POLL_S: Final = 0.05
ASK_MS: Final = 1000
_TAIL_BYTES: Final = 6000


class NotThereError(EngineError):
    """The engine did not do what was waited for, or ended by itself."""


class Subject:
    """One launched engine.

    Args:
        config: path of its configuration. run: its run directory. overrides: `KEY=VALUE`, as `--set` takes them.

    Attributes:
        process: the supervisor. strategies, symbols: what can be latched, set by the caller.
    """

    def __init__(self, config: str, run: str, overrides: list[str]) -> None:
        self.run = run
        os.makedirs(run, mode=0o700, exist_ok=True)
        self.out_path = os.path.join(run, "chaos.out")
        self.err_path = os.path.join(run, "chaos.err")
        command = [sys.executable, "-m", "engine", "launch", config, "--run", run, "--plain", "--json"]
        for override in overrides:
            command += ["--set", override]
        with _appended(self.out_path) as out, _appended(self.err_path) as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        self.stopped: dict[int, str] = {}
        self._asked = 0

    # -- asking

    def ask(self, channel: str, message: Any, accept: Callable[[Any], bool] | None = None) -> Any | None:
        """Return the answer to a message, or None when nobody gives one."""
        self._asked += 1
        try:
            bus = tool_socket(self.run, channel, f"tool.chaos.{os.getpid()}.{self._asked}")
        except NotRunningError:
            return None
        request_id = getattr(message, "request_id", None)
        try:
            return bus.request(
                message, accept or (lambda a: getattr(a, "request_id", None) == request_id), ASK_MS
            )
        finally:
            bus.close()

    def state(self) -> control.EngineState | None:
        """Return how the supervisor sees the engine."""
        answer = self.ask("control", control.EngineQuery(request_id="chaos"))
        return answer if isinstance(answer, control.EngineState) else None

    def truth(self) -> control.VenueAccount | None:
        """Return the engine's account as the venue has it."""
        answer = self.ask("venue.ask", control.VenueQuery(request_id="chaos", account=ACCOUNT))
        return answer.accounts[0] if isinstance(answer, control.VenueTruth) and answer.accounts else None

    def snapshot(self) -> OrdersSnapshot | None:
        """Return orders and positions as order entry has them."""
        answer = self.ask("oe.ask", SnapshotRequest(), lambda a: isinstance(a, OrdersSnapshot))
        return answer if isinstance(answer, OrdersSnapshot) else None

    def reconciliation(self) -> ReconciliationStatus | None:
        """Return drop copy's next status."""
        try:
            bus = tool_socket(self.run, "dc.feed", f"tool.chaos.{os.getpid()}.dc", ("status",))
        except NotRunningError:
            return None
        try:
            status = bus.receive(ASK_MS)
            return status if isinstance(status, ReconciliationStatus) else None
        finally:
            bus.close()

    # -- waiting

    def wait_for(self, what: str, condition: Callable[[], Any], seconds: float) -> Any:
        """Poll until a condition holds and return its value. Raises NotThereError."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if self.process.poll() is not None:
                raise NotThereError(f"the engine ended with code {self.process.poll()}: {self.tail()}")
            if time.monotonic() > deadline:
                raise NotThereError(f"waited {seconds:g} s for {what}: {self.why_not()}")
            time.sleep(POLL_S)

    def trading(self) -> bool:
        """Say whether new orders pass."""
        state = self.state()
        return state is not None and state.state == "TRADING"

    def anchored(self) -> bool:
        """Say whether drop copy has a watermark: what is lost before the first one only an operator can account for."""
        status = self.reconciliation()
        return status is not None and status.caught_up and bool(status.watermark)

    def why_not(self) -> str:
        """Say how things stand, for a message."""
        state = self.state()
        if state is None:
            return f"the supervisor does not answer; {self.tail()}"
        return f"{state.state}: {'; '.join(state.reasons) or 'no reason given'}; {self.tail()}"

    def tail(self) -> str:
        """Return the end of what the engine said."""
        with open(self.err_path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")

    # -- breaking

    def signal(self, name: str, number: signal.Signals) -> bool:
        """Send a signal to one process by its name; False when it doesn't run."""
        state = self.state()
        pid = next((p.pid for p in state.processes if p.name == name), 0) if state is not None else 0
        if not pid:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        if number == signal.SIGSTOP:
            self.stopped[pid] = name
        return True

    def go_on(self, name: str = "") -> None:
        """Let stopped processes (of one name, or all) go on."""
        for pid in [pid for pid, stopped in self.stopped.items() if name in ("", stopped)]:
            del self.stopped[pid]
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue

    def fault(self, kind: str, session: str, arguments: dict[str, str]) -> bool:
        """Have the venue misbehave; False when it didn't take the command."""
        fault = control.VenueFault(request_id="chaos", kind=kind, session=session, arguments=arguments)
        answer = self.ask("venue.ask", fault)
        return isinstance(answer, control.VenueReply) and answer.ok

    def halt(self) -> bool:
        """Halt everything; False when the guard doesn't confirm."""
        reply = self.ask("guard.orders", commands.Halt(request_id="chaos", why="compare", who="chaos"))
        return reply is not None and reply.ok

    def arm(self, slots: list[int], symbols: list[str]) -> None:
        """Release whatever was latched."""
        scopes: list[tuple[int | None, str]] = [(None, "")]
        scopes += [(slot, "") for slot in slots] + [(None, symbol) for symbol in symbols]
        for strategy, symbol in scopes:
            self.ask(
                "guard.orders",
                commands.Arm(request_id="chaos", why="over", who="chaos", strategy=strategy, symbol=symbol),
            )

    # -- ending

    def end(self, seconds: float) -> int:
        """Stop the engine as Ctrl-C does and return its exit code. Raises NotThereError."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise NotThereError(f"the engine did not end within {seconds:g} s: {self.tail()}") from None

    def summary(self) -> dict[str, Any]:
        """Return the summary that the engine ended with, empty without one."""
        with open(self.out_path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        try:
            return dict(json.loads(lines[-1]))
        except (IndexError, ValueError):
            return {}

    def destroy(self) -> None:
        """End whatever still lives of it: the supervisor, and processes that it left."""
        self.go_on()
        state = self.state() if self.process.poll() is None else None
        pids = [p.pid for p in state.processes if p.pid] if state is not None else []
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _appended(path: str) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
