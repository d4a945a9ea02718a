"""The command line: one entry point, thin scripts in front of it.

A user's mistake is one clear message and an exit code, never a traceback (`engine.errors`). What a subcommand needs is
imported when it runs, so that a worker process starts fast.
"""

import argparse
import difflib
import os
import sys

from engine import __version__
from engine.errors import EXIT_FAILURE, EXIT_FORCED, EXIT_USAGE, EngineError, UsageError

# Subcommands that parse their own arguments: name to (module, one line of help).
_OWN = {
    "tail": ("engine.tools.tail", "decode a channel of a running engine"),
    "ctl": ("engine.tools.control", "status, halt, arm, stop, restart, cancel, flatten"),
    "reconcile": ("engine.tools.reconcile", "reconciliation report from the journals"),
    "journal": ("engine.tools.journal_tool", "verify, show or export a journal"),
    "venue": ("engine.tools.venue_alone", "the embedded venue alone, for any FIX client"),
    "bench": ("engine.tools.bench", "measure the engine against its floor"),
    "simulate": ("engine.tools.simulate", "a whole engine and its venue on virtual time, seeded"),
    "chaos": ("engine.tools.chaos", "a real engine, broken for a while, then compared with its venue"),
    "docs": ("engine.tools.docs_gen", "write the generated documentation"),
}


def _launch_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/launch", description="Start the engine on a configuration file."
    )
    parser.add_argument("config", help="a TOML file, such as configs/demo.toml")
    parser.add_argument("--for", dest="duration", metavar="TIME", help="end by itself after 30s, 10m, 1h")
    parser.add_argument(
        "--json", action="store_true", help="the summary as one JSON line, last on standard output"
    )
    parser.add_argument(
        "--check", action="store_true", help="validate configuration, keys and strategies; start nothing"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="run to the last step and show the FIX that would be sent"
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key, as engine.name=mine",
    )
    parser.add_argument(
        "--run", default="", metavar="DIR", help="run directory instead of the configured one"
    )
    parser.add_argument("--production", action="store_true", help="allow environment production: real money")
    parser.add_argument("--plain", action="store_true", help="lines instead of the live screen")
    return parser


def _launch(argv: list[str]) -> int:
    arguments = _launch_parser().parse_args(argv)
    from engine.tools.arguments import duration
    from engine.tools.launch import LaunchOptions, launch

    return launch(
        LaunchOptions(
            config_path=arguments.config,
            overrides=arguments.overrides,
            seconds=duration(arguments.duration) if arguments.duration else None,
            as_json=arguments.json,
            check=arguments.check,
            dry_run=arguments.dry_run,
            run=arguments.run,
            production=arguments.production,
            plain=arguments.plain,
        )
    )


def _process(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m engine process", description="One process of an engine; started by its supervisor."
    )
    parser.add_argument("name")
    parser.add_argument("--run", required=True)
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args(argv)
    from engine.runtime.child import main as run_process

    return run_process(arguments.name, arguments.run, dry_run=arguments.dry_run)


def _nursery(argv: list[str]) -> int:
    from engine.runtime import nursery

    del argv  # it has none
    return nursery.serve(lambda asked: main(["process", *asked]))


def _snapshot(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m engine snapshot", description="Make a snapshot of a process's journal."
    )
    parser.add_argument("name")
    parser.add_argument("--run", required=True)
    arguments = parser.parse_args(argv)
    from engine.runtime.child import snapshot

    return snapshot(arguments.name, arguments.run)


def _check_strategy(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m engine check-strategy", description="Load one strategy and validate its settings."
    )
    parser.add_argument("name")
    parser.add_argument("--config", required=True)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--production", action="store_true")
    arguments = parser.parse_args(argv)
    from engine import config_loader
    from engine.bus import security
    from engine.runtime.child import preload
    from engine.runtime.environment import add_users_path
    from engine.strategy.loader import load_strategy, strategy_config

    config = config_loader.load(arguments.config, arguments.overrides, production=arguments.production)
    strategy = config.strategies[arguments.name]
    if strategy.run_as and not security.problems(config):  # its code runs as nobody else, here neither
        preload()
        security.become(security.doors(config, config.engine.run_dir)[f"strategy.{arguments.name}"])
    add_users_path()
    strategy_config(arguments.name, load_strategy(arguments.name, strategy.strategy), strategy.config)
    return 0


def _usage() -> str:
    lines = [f"engine {__version__}", "", "usage: python -m engine COMMAND ...", ""]
    lines.append("  launch     start the engine on a configuration file")
    lines.append("  check      validate a configuration file, its keys and strategies; start nothing")
    lines += [f"  {name:10} {text}" for name, (_, text) in _OWN.items()]
    return "\n".join([*lines, "", "COMMAND --help says more."])


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in {"-h", "--help", "help"}:
        print(_usage())
        return 0 if argv else EXIT_USAGE
    if argv[0] in {"--version", "version"}:
        print(__version__)
        return 0
    command, rest = argv[0], argv[1:]
    own = {
        "launch": _launch,
        "check": lambda rest: _launch(["--check", *rest]),
        "process": _process,
        "nursery": _nursery,
        "snapshot": _snapshot,
        "check-strategy": _check_strategy,
    }.get(command)
    if own is not None:
        return own(rest)
    if command not in _OWN:
        close = difflib.get_close_matches(command, [*_OWN, "launch", "check"], 1)
        hint = f"did you mean {close[0]}?" if close else "python -m engine help lists them"
        raise UsageError(f"there is no command {command!r}; {hint}")
    import importlib

    return int(importlib.import_module(_OWN[command][0]).main(rest))


def main(argv: list[str]) -> int:
    """Run a command; return its exit code."""
    try:
        try:
            return _dispatch(argv)
        finally:
            sys.stdout.flush()
    except EngineError as error:
        for line in str(error).splitlines() or [type(error).__name__]:
            print(f"error: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_FORCED
    except (
        BrokenPipeError
    ):  # the reader went away, as `| head` does; what Python still holds must not raise again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
