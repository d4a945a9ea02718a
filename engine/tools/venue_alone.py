"""`scripts/venue [CONFIG]`: the embedded venue alone, for any FIX client.

Real FIX over TLS on a port for each session type. It says where it listens, which API keys it knows and where their
private keys are; keys, certificates and ports of a run directory stay the same from start to start.
"""

import argparse
import os
import sys

import msgspec

from engine import config_loader
from engine.config import Config
from engine.errors import ConfigError
from engine.net import keys
from engine.runtime import links, run_dir, venue_keys
from engine.runtime.supervisor import Supervisor
from engine.tools.arguments import duration
from engine.tools.live_view import PlainView

_VENUE = "venue"


class VenueView(PlainView):
    """Says once, when the venue runs, how to log on; after that what it says itself."""

    def __init__(self, directory: str) -> None:
        super().__init__(sys.stdout)
        self._directory = directory
        self._told = False

    def update(self, supervisor: Supervisor) -> None:
        """See View."""
        if self._told or supervisor.children[_VENUE].state != "running":
            return
        self._told = True
        print("\n".join(description(self._directory)), flush=True)


def description(directory: str) -> list[str]:
    """Return how a client logs on to the venue of a run directory, line by line."""
    venue_directory = os.path.join(directory, links.VENUE_DIRECTORY)
    lines = [f"certificate authority  {os.path.join(venue_directory, 'ca.pem')}", ""]
    for session, place in links.venue_endpoints(directory).items():
        lines.append(f"{session:10} {place['host']}:{place['port']}")
    lines += ["", "SenderCompID (API key)                sessions             private key"]
    for record in venue_keys.load(venue_directory):
        lines.append(f"{record.api_key}  {','.join(record.sessions):20} {record.private_key}")
    return lines


def _config(arguments: argparse.Namespace) -> Config:
    config = config_loader.load(arguments.config, arguments.overrides)
    if config.venue is None:
        raise ConfigError(f"{arguments.config}: venue: is missing; there is nothing to start")
    engine = msgspec.structs.replace(config.engine, name="venue", environment="embedded")
    return msgspec.structs.replace(config, engine=engine)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/venue", description="Start the embedded venue alone, for any FIX client."
    )
    parser.add_argument("config", nargs="?", default="configs/demo.toml", help="default configs/demo.toml")
    parser.add_argument(
        "--run", default=".run/venue", metavar="DIR", help="run directory (default .run/venue)"
    )
    parser.add_argument(
        "--for", dest="duration", default="", metavar="TIME", help="end by itself after 30s ..."
    )
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    return parser


def main(argv: list[str]) -> int:
    """Run the venue until told to stop. Raises ConfigError, RunDirError."""
    arguments = _parser().parse_args(argv)
    config = _config(arguments)
    assert config.venue is not None
    directory = os.path.abspath(arguments.run)
    run_dir.prepare(directory)
    lock = run_dir.RunDirLock(directory)
    try:
        venue_keys.ensure(os.path.join(directory, links.VENUE_DIRECTORY), config.venue.host)
        keys.write_private(os.path.join(directory, "config.json"), config_loader.encode(config))
        supervisor = Supervisor(
            config,
            config_loader.digest(config),
            directory,
            lock,
            VenueView(directory),
            seconds=duration(arguments.duration) if arguments.duration else None,
        )
        supervisor.children = {_VENUE: supervisor.children[_VENUE]}
        return supervisor.run()
    finally:
        lock.release()
