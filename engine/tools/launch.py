"""`scripts/launch`: from a configuration file to a running engine, and its summary at the end."""

import json
import os
import subprocess
import sys
from typing import Any

import msgspec
from setproctitle import setproctitle

from engine import config_loader
from engine.bus import security
from engine.config import Config, SessionConfig, SessionsConfig
from engine.errors import EXIT_BREAKS, EXIT_OK, EXIT_RISK_LATCH, ConfigError, EngineError
from engine.net import keys
from engine.runtime import links, planted_code, run_dir, venue_keys
from engine.runtime.alerts import Alerts
from engine.runtime.child import harden
from engine.runtime.environment import child_environment
from engine.runtime.supervisor import Supervisor
from engine.tools.live_view import PlainView, RichView


class LaunchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `launch`.

    Attributes:
        seconds: end by itself after so long. as_json: the summary as one JSON line, last on standard output.
        check: validate and start nothing. dry_run: everything to the last step, orders shown instead of sent.
        run: run directory instead of the configured one. production: allow environment `production`.
        plain: lines instead of the live screen.
    """

    config_path: str
    overrides: list[str] = []
    seconds: float | None = None
    as_json: bool = False
    check: bool = False
    dry_run: bool = False
    run: str = ""
    production: bool = False
    plain: bool = False


def launch(options: LaunchOptions) -> int:
    """Run one engine to its end; return the exit code. Raises EngineError for a user's mistake."""
    config = config_loader.load(options.config_path, options.overrides, production=options.production)
    if options.check:
        return check(config, options)
    directory = os.path.abspath(options.run or config.engine.run_dir)
    _refuse_problems(config, options, directory)
    run_dir.prepare(directory)
    embedded = config.engine.environment == "embedded"
    key_ids = () if embedded else tuple(s.key_id for s in _sessions(config.sessions).values())
    lock = run_dir.RunDirLock(directory, key_ids)
    try:
        return _run(
            _effective(config, directory) if embedded else _checked_keys(config), directory, lock, options
        )
    finally:
        lock.release()


def _problems(config: Config, options: LaunchOptions, directory: str) -> list[str]:
    """Return limits that a halt could not cancel in time, and what would let another user in."""
    from engine.guard.limits import check_config

    return [
        *check_config(config),
        *security.problems(config),
        *planted_code.problems(config, options.config_path, directory),
    ]


def _refuse_problems(config: Config, options: LaunchOptions, directory: str) -> None:
    """Refuse what must not be, before anything starts. Raises ConfigError."""
    problems = _problems(config, options, directory)
    if problems:
        raise ConfigError("\n".join(f"{options.config_path}: {problem}" for problem in problems))


def _run(config: Config, directory: str, lock: run_dir.RunDirLock, options: LaunchOptions) -> int:
    harden()
    setproctitle(f"engine {config.engine.name}: supervisor")
    keys.write_private(os.path.join(directory, "config.json"), config_loader.encode(config))
    interactive = sys.stdout.isatty() and not (options.plain or options.as_json)
    view: RichView | PlainView = (
        RichView() if interactive else PlainView(sys.stderr if options.as_json else sys.stdout)
    )
    view.say(
        "info",
        "engine",
        f"{config.engine.name} ({config.engine.environment}) in {os.path.relpath(directory)}",
    )
    if lock.stale_pid:
        view.say(
            "warning",
            "engine",
            f"the engine before this one (pid {lock.stale_pid}) did not end properly; its state is taken up from the journals",
        )
    supervisor = Supervisor(
        config,
        config_loader.digest(config),
        directory,
        lock,
        view,
        seconds=options.seconds,
        dry_run=options.dry_run,
    )
    code = supervisor.run()
    if isinstance(view, RichView):
        view.close()
    if options.dry_run:
        if options.as_json:
            summary = {"name": config.engine.name, "environment": config.engine.environment, "dry_run": True}
            print(json.dumps({**summary, "exit_code": code, "run_dir": directory}), flush=True)
        return code
    return _finish(config, directory, supervisor, options, code)


def _finish(config: Config, directory: str, supervisor: Supervisor, options: LaunchOptions, code: int) -> int:
    """Print the summary and the reconciliation report, and turn them into the exit code."""
    from engine.tools import reconcile

    names = {strategy.slot: name for name, strategy in config.strategies.items()}
    try:
        report = reconcile.report_for_run(directory, names, ended=True)
    except EngineError as error:
        print(f"error: no report can be made: {error}", file=sys.stderr)
        return code or error.exit_code
    latches = supervisor.guard_status.latches if supervisor.guard_status is not None else {}
    if code == EXIT_OK and not report.clean:
        code = EXIT_BREAKS
    if code == EXIT_OK and latches:
        code = EXIT_RISK_LATCH
    summary: dict[str, Any] = {
        "name": config.engine.name,
        "environment": config.engine.environment,
        "fills": report.fills,
        "orders": report.orders,
        "open_orders": report.open_orders,
        "breaks": report.breaks,
        "clean": report.clean and not latches,
        "latches": latches,
        "restarts": {child.name: child.restarts for child in supervisor.children.values() if child.restarts},
        "exit_code": code,
        "run_dir": directory,
    }
    if options.as_json:
        print(reconcile.render_text(report), file=sys.stderr)
        print(json.dumps(summary), flush=True)
    else:
        print(reconcile.render_text(report), flush=True)
        for scope, why in latches.items():
            print(f"halted: {scope}: {why}")
    return code


def _sessions(sessions: SessionsConfig) -> dict[str, SessionConfig]:
    found = {
        "order_entry": sessions.order_entry,
        "market_data": sessions.market_data,
        "drop_copy": sessions.drop_copy,
    }
    if sessions.listener is not None:
        found["listener"] = sessions.listener
    return found


def _effective(config: Config, directory: str) -> Config:
    """Fill in what the embedded venue's sessions need: its keys and its certificate authority."""
    assert config.venue is not None
    venue_directory = os.path.join(directory, links.VENUE_DIRECTORY)
    records = {record.purpose: record for record in venue_keys.ensure(venue_directory, config.venue.host)}
    changed: dict[str, SessionConfig] = {}
    for name, session in _sessions(config.sessions).items():
        record = records[name]
        changed[name] = msgspec.structs.replace(
            session,
            key_id=record.api_key,
            key_file=record.private_key,
            ca_file=os.path.join(venue_directory, "ca.pem"),
            server_name=config.venue.host,
        )
    return msgspec.structs.replace(config, sessions=SessionsConfig(**changed))


def _checked_keys(config: Config) -> Config:
    """Read every key once before anything starts, so that a wrong one is named at once. Raises KeyFileError."""
    changed: dict[str, SessionConfig] = {}
    for name, session in _sessions(config.sessions).items():
        path = os.path.abspath(os.path.expanduser(session.key_file))
        keys.load_private_key(path)
        ca_file = os.path.abspath(os.path.expanduser(session.ca_file)) if session.ca_file else ""
        changed[name] = msgspec.structs.replace(session, key_file=path, ca_file=ca_file)
    return msgspec.structs.replace(config, sessions=SessionsConfig(**changed))


def check(config: Config, options: LaunchOptions) -> int:
    """Validate limits, keys, certificates and strategies; start nothing. Raises ConfigError."""
    from engine.net.tls import client_context

    directory = os.path.abspath(options.run or config.engine.run_dir)
    problems = [
        *_problems(config, options, directory),
        *filter(None, [Alerts(config, print).problem()]),
    ]
    if config.engine.environment != "embedded":
        for name, session in _sessions(config.sessions).items():
            try:
                keys.load_private_key(os.path.expanduser(session.key_file))
                client_context(os.path.expanduser(session.ca_file) if session.ca_file else "")
            except ConfigError as error:
                problems.append(f"sessions.{name}: {error}")
    for name, strategy in config.strategies.items():
        # User code runs in a process of its own even here.
        command = [sys.executable, "-m", "engine", "check-strategy", name, "--config", options.config_path]
        command += [part for override in options.overrides for part in ("--set", override)]
        command += ["--production"] if options.production else []
        environment = child_environment(config.engine.pass_environment)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env=environment
        )
        if done.returncode:
            text = done.stderr.strip().splitlines()[-1:] or [f"ended with code {done.returncode}"]
            problems.append(f"strategies.{name} ({strategy.strategy}): {text[0].removeprefix('error: ')}")
    if problems:
        raise ConfigError("\n".join(f"{options.config_path}: {problem}" for problem in problems))
    print(f"{options.config_path}: configuration, keys and strategies are good; nothing was started")
    return EXIT_OK
