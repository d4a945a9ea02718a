"""Finding the engine that a tool is meant for."""

import fcntl
import os

import msgspec

from engine import config_loader
from engine.config import Config
from engine.errors import NotRunningError, UsageError

RUNS = ".run"


def is_running(run: str) -> bool:
    """Whether an engine, or processes that a dead supervisor left, hold the run directory.

    The lock is only tried where an engine wrote its pid: one that starts in a clean directory never meets a tool's try.
    """
    try:
        with open(os.path.join(run, "lock"), "rb") as file:
            if not file.read(1):
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def running_run(run: str) -> str:
    """Return the run directory of a running engine: the one named, else the one that runs below `.run`.

    Raises:
        NotRunningError: no engine runs there. UsageError: several run and none was named.
    """
    if not run:
        return default_run()
    if not is_running(run):
        raise NotRunningError(f"{run}: no engine runs here; start one with scripts/launch")
    return run


def default_run() -> str:
    """Return the run directory of the one engine that runs below `.run`.

    Raises:
        NotRunningError: none does. UsageError: several do.
    """
    names = sorted(os.listdir(RUNS)) if os.path.isdir(RUNS) else []
    running = [path for name in names if is_running(path := os.path.join(RUNS, name))]
    if not running:
        raise NotRunningError(
            f"no engine runs below {RUNS}/ here; start one with scripts/launch, or name its directory with --run DIR"
        )
    if len(running) > 1:
        raise UsageError(f"several engines run: {', '.join(running)}; name one with --run DIR")
    return running[0]


def latest_run() -> str:
    """Return the run directory below `.run` that was used last, running or not. Raises NotRunningError when there is none."""
    names = os.listdir(RUNS) if os.path.isdir(RUNS) else []
    paths = [
        os.path.join(RUNS, name) for name in names if os.path.exists(os.path.join(RUNS, name, "config.json"))
    ]
    if not paths:
        raise NotRunningError(f"there is no run directory below {RUNS}/ here; name one with --run DIR")
    return max(
        paths,
        key=lambda path: (
            os.path.getmtime(os.path.join(path, "lock")) if os.path.exists(os.path.join(path, "lock")) else 0
        ),
    )


def running_config(run: str) -> Config:
    """Return the effective configuration of a run directory. Raises NotRunningError."""
    path = os.path.join(run, "config.json")
    try:
        with open(path, "rb") as file:
            return config_loader.decode(file.read())
    except (OSError, msgspec.MsgspecError) as error:
        raise NotRunningError(f"{path}: can't be read: {error}") from None
