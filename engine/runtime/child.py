"""The life of one process of an engine, from its command line to its exit code."""

import contextlib
import os
import resource
import sys
from typing import Final

from engine.bus import security
from engine.errors import EXIT_LATER, JournalUnwritableError
from engine.runtime import life_points, secrets_free
from engine.runtime.environment import add_users_path
from engine.runtime.fix_log import FixLog
from engine.runtime.process import ProcessRuntime

FILES: Final = 65_536


def harden() -> None:
    """Files are ours alone; no core dump may hold a key; connections are not short (ZeroMQ ends its process when they are)."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def preload() -> None:
    """Import what a worker needs before it becomes another user. Nothing of a strategy is among it."""
    import importlib

    for module in ("engine.strategy.host", "engine.strategy.loader", "traceback", "linecache", "random"):
        importlib.import_module(module)


def main(name: str, run_dir: str, *, dry_run: bool = False) -> int:
    """Run one process of an engine whose supervisor wrote its effective configuration into run_dir."""
    harden()
    from setproctitle import setproctitle

    from engine import config_loader
    from engine.runtime import factory

    parent = os.getppid()
    path = secrets_free.path_of(run_dir, name)  # is there for a worker of another Unix user
    if not os.path.exists(path):
        path = os.path.join(run_dir, "config.json")
    with open(path, "rb") as file:
        config = config_loader.decode(file.read())
    door = security.doors(config, run_dir).get(name)
    setproctitle(f"engine {config.engine.name}: {name}")
    cpu = config.engine.cpus.get(name)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    journal = None
    if name in factory.JOURNALLED:
        try:
            journal = factory.open_journal(name, config, run_dir)
        except JournalUnwritableError as error:
            with contextlib.suppress(OSError):  # the log may be on the same disk
                os.write(sys.stderr.fileno(), f"error: {error}\n".encode())
            return EXIT_LATER
    fix_log = None
    if config.engine.raw_fix_log and factory.session_links(name, config):
        secrets = tuple(session.key_id for session in factory.session_links(name, config).values())
        fix_log = FixLog(os.path.join(run_dir, "logs", f"{name}.fix"), secrets)
    if door is not None:
        preload()  # another user may not be able to read where this Python lies
        security.become(door)
    topics = {}
    if name.startswith("strategy."):
        add_users_path()
        topics["slot"] = f"{config.strategies[name.partition('.')[2]].slot:03x}"
    runtime_class = ProcessRuntime
    if life_points.wanted():
        runtime_class = life_points.MortalRuntime
    runtime = runtime_class(
        name,
        config,
        run_dir,
        config_hash=config_loader.digest(config),
        journal=journal,
        fix_log=fix_log,
        topics=topics,
        parent_pid=parent,
        door=door,
    )
    if isinstance(runtime, life_points.MortalRuntime):
        runtime.prepare()
    actor = factory.build(name, config, runtime, dry_run=dry_run)
    runtime.report_for_duty()
    return runtime.run(actor, factory.entry_types(name))


def snapshot(name: str, run_dir: str) -> int:
    """Make a snapshot of a process's journal, out of everybody's way. Raises JournalError, EngineError."""
    harden()
    os.nice(19)
    from engine import config_loader
    from engine.runtime import factory, snapshots

    path = os.path.join(run_dir, name, "config.json")  # of a venue alone
    if not os.path.exists(path):
        path = os.path.join(run_dir, "config.json")
    with open(path, "rb") as file:
        config = config_loader.decode(file.read())
    path = os.path.join(run_dir, "state", f"{name}.sqlite")
    amid = life_points.amid_snapshot(run_dir) if life_points.wanted() else None
    snapshots.make(path, factory.build_for_replay(name, config), factory.entry_types(name), amid)
    return 0
