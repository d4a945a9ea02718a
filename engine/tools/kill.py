"""`scripts/ctl halt`: the kill switch from outside, which works whatever of the engine still does.

The guard is told first. If it doesn't answer, or no engine runs, the halt file of the run directory is written instead:
order entry obeys it within 50 ms, and whatever is started later starts halted.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from engine.bus.sockets import tool_socket
from engine.common import halt_file
from engine.config import Config
from engine.errors import EXIT_FAILURE, EXIT_OK, EXIT_TIMEOUT, NotRunningError, UsageError
from engine.messages.decisions import GuardStatus
from engine.tools.running import is_running, latest_run, running_config, running_run

FOLLOW_MORE_S = 5  # beyond kill_within_s, until which everything must be cancelled


def find_run(run: str) -> str:
    """Return the run directory that is meant, running or not. Raises NotRunningError, UsageError."""
    try:
        return running_run(run)
    except NotRunningError:
        if not run:
            return latest_run()
        if os.path.exists(os.path.join(run, "config.json")):
            return run
        raise


def write_halt(run: str, strategy: str, market: str, why: str) -> str:
    """Add a line to the halt file, so that everybody who reads it halts; return its path. Raises UsageError."""
    path = os.path.join(run, halt_file.NAME)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            os.write(handle, ("\n" + halt_file.line(strategy, market, why)).encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error.strerror}; stop the engine") from None
    return path


def halt(
    run: str, strategy: str, market: str, why: str, ask: Callable[[], Any]
) -> tuple[dict[str, Any], int]:
    """Tell the guard, or else the halt file; return what to say (`ok`, `text`) and the exit code."""
    runs = is_running(run)
    answer = None
    if runs:
        with contextlib.suppress(NotRunningError):  # the guard has no socket (any more)
            answer = ask()
    if answer is not None:
        return {"ok": answer.ok, "text": answer.text}, EXIT_OK if answer.ok else EXIT_FAILURE
    path = write_halt(run, strategy, market, why)
    if runs:
        text = f"the guard does not answer: the halt was written to {path}, which order entry obeys, and the guard when it is back"
    else:
        text = f"no engine runs on {run}: the halt was written to {path}; the engine will start halted"
    return {"ok": True, "text": text, "written": path}, EXIT_OK


def follow(run: str, config: Config, scope: str, say: Callable[[str], None]) -> tuple[int, str]:
    """Follow the cancelling until nothing of a scope is open; return how many are, and why it doesn't end, if it doesn't.

    `say` is told each time the count changes.
    """
    ends = time.monotonic() + config.risk.kill_within_s + FOLLOW_MORE_S
    said = -1
    status: GuardStatus | None = None
    try:
        bus = tool_socket(run, "guard.feed", f"tool.ctl.{os.getpid()}.follow", ("status",))
    except NotRunningError:
        return -1, "the guard is gone"
    try:
        while (left := ends - time.monotonic()) > 0:
            status = bus.receive(min(int(left * 1000) + 1, 1500))
            if status is None:
                return max(said, 0), "the guard is silent"
            still = status.still_open.get(scope)
            if not still:
                return 0 if still is not None else -1, ""
            if still != said:
                said = still
                say(f"{still} orders still open")
            if status.cannot_cancel:
                return still, status.cannot_cancel
        return said, "not everything was cancelled in time; the guard goes on"
    finally:
        bus.close()


def scope_text(strategy: str, market: str) -> str:
    """Name a scope as the guard's status does."""
    parts = [f"strategy {strategy}"] if strategy else []
    parts += [f"market {market}"] if market else []
    return " ".join(parts) or "all"


def command(arguments: Any, run: str, ask: Callable[[], Any], show: Callable[[dict[str, Any]], None]) -> int:
    """Carry out `ctl halt`; show is given the answer."""
    said, code = halt(run, arguments.strategy, arguments.market, arguments.why, ask)
    as_json = arguments.json
    if not as_json:
        show(said)
    if code == EXIT_OK and "written" not in said and not arguments.no_wait:

        def line(text: str) -> None:
            if not as_json:
                print(f"  {text}", flush=True)

        scope = scope_text(arguments.strategy, arguments.market)
        still, why = follow(run, running_config(run), scope, line)
        if still >= 0:
            said["still_open"] = still
        if still > 0:
            said["ok"] = False
            said["why_open"] = why
            code = EXIT_TIMEOUT
            if not as_json:
                print(f"error: {still} orders are still open: {why}", file=sys.stderr)
        elif still == 0:
            line("no order is open")
    if as_json:
        show(said)
    return code
