"""`scripts/venue`: the embedded venue alone, for any FIX client.

Real FIX over TLS, a port for each session type. It says where it listens, which API keys it knows and where their
private keys are; keys, certificates and ports of a run directory stay the same from start to start. It runs in this
process, without a supervisor; SIGINT and SIGTERM log every session out and end it.

    scripts/venue                                  two markets, two accounts, keys made on the first start
    scripts/venue --config FILE                    the [venue] and [instruments] of an engine's configuration
    scripts/venue --set KEY=VALUE                  with one key of that, or of the default, set otherwise (venue.tier=unlimited)
    scripts/venue --json                           where everything is, as one line
    scripts/venue --key API_KEY=PUBLIC_KEY_FILE    a key whose private half stays with its owner
    scripts/venue --dictionary                     the messages as QuickFIX XML; starts nothing
    scripts/venue fault KIND [SESSION] [NAME=VALUE ...]    tell a running one to misbehave (docs/venue.md)
"""

import argparse
import json
import os
import sys
import time
from typing import Any

from engine import config_loader
from engine.common.clock import SECOND
from engine.config import (
    Config,
    EngineConfig,
    InstrumentConfig,
    LimitsConfig,
    RiskConfig,
    SessionConfig,
    SessionsConfig,
    VenueConfig,
    VenueMarketConfig,
)
from engine.errors import EXIT_FAILURE, EXIT_OK, ConfigError, NotRunningError, UsageError
from engine.net import keys
from engine.runtime import factory, links, run_dir, venue_keys
from engine.tools.arguments import duration


def default_config() -> Config:
    """Return what runs without a configuration file: two markets with a synthetic flow, two accounts."""
    nothing = LimitsConfig(
        max_order_qty="1",
        max_order_notional="1",
        max_position="1",
        max_open_orders=1,
        max_gross_notional="1",
        max_loss="1",
    )
    return Config(
        engine=EngineConfig(name="venue", shutdown="cancel"),
        sessions=SessionsConfig(
            order_entry=SessionConfig(target_comp_id="KalshiNR"),
            market_data=SessionConfig(target_comp_id="KalshiMD"),
            drop_copy=SessionConfig(target_comp_id="KalshiDC"),
        ),
        instruments={"BTC-PERP": InstrumentConfig(), "ETH-PERP": InstrumentConfig()},
        risk=RiskConfig(account=nothing, markets={}),
        strategies={},
        venue=VenueConfig(
            markets={
                "BTC-PERP": VenueMarketConfig(price="19.5000"),
                "ETH-PERP": VenueMarketConfig(price="4.2000"),
            },
            accounts=["second"],
            maintenance="none",  # it is there whenever it is started; a configuration file says otherwise
        ),
    )


def _config(path: str, overrides: list[str]) -> Config:
    if not path:
        return config_loader.for_venue(default_config(), overrides, "--set")
    config = config_loader.load(path, overrides)
    if config.venue is None:
        raise ConfigError(f"{path}: venue: is missing; there is nothing to start")
    return config_loader.for_venue(config, [], path)


def places(directory: str) -> dict[str, Any]:
    """Return where the venue of a run directory listens and how to log on to it, as `--json` prints it."""
    venue_directory = os.path.join(directory, links.VENUE_DIRECTORY)
    return {
        "sessions": {
            session: {"host": place["host"], "port": place["port"]}
            for session, place in links.venue_endpoints(directory).items()
        },
        "ca": os.path.join(venue_directory, "ca.pem"),
        "keys": [
            {
                "api_key": record.api_key,
                "private_key": record.private_key,
                "account": record.account,
                "sessions": record.sessions or list(venue_keys.SESSIONS),
            }
            for record in venue_keys.load(venue_directory)
        ],
    }


def description(directory: str) -> list[str]:
    """Return how a client logs on to the venue of a run directory, line by line, for a human."""
    found = places(directory)
    lines = [f"certificate authority  {found['ca']}", "", "TargetCompID  host and port"]
    lines += [
        f"{session:12}  {place['host']}:{place['port']}" for session, place in found["sessions"].items()
    ]
    for account in dict.fromkeys(key["account"] for key in found["keys"]):
        lines += ["", f"account {account}: SenderCompID (API key), sessions, private key"]
        lines += [
            f"  {key['api_key']}  {','.join(key['sessions']):18}  {key['private_key'] or '(registered from outside)'}"
            for key in found["keys"]
            if key["account"] == account
        ]
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/venue", description="Start the embedded venue alone, for any FIX client."
    )
    parser.add_argument("file", nargs="?", default="", metavar="CONFIG", help="the same as --config")
    parser.add_argument(
        "--config", default="", metavar="FILE", help="a configuration with a [venue]; default: two markets"
    )
    parser.add_argument(
        "--run", default=".run/venue", metavar="DIR", help="run directory (default .run/venue)"
    )
    parser.add_argument("--json", action="store_true", help="say where everything is as one JSON line")
    parser.add_argument(
        "--key",
        dest="keys",
        action="append",
        default=[],
        metavar="API_KEY=PUBLIC_KEY_FILE",
        help="register a key of yours (RSA, PEM)",
    )
    parser.add_argument(
        "--account", default=venue_keys.MAIN_ACCOUNT, help="whose the keys of --key are (default main)"
    )
    parser.add_argument(
        "--for", dest="duration", default="", metavar="TIME", help="end by itself after 30s ..."
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a key of the configuration otherwise (venue.tier=unlimited)",
    )
    parser.add_argument(
        "--dictionary", action="store_true", help="print the messages as QuickFIX XML and end"
    )
    return parser


def _register(directory: str, host: str, accounts: list[str], arguments: argparse.Namespace) -> None:
    """Make the venue's own keys and take those of the command line in."""
    known = (venue_keys.MAIN_ACCOUNT, *accounts)
    if arguments.account not in known:
        raise UsageError(
            f"--account {arguments.account}: there is no such account; known: {', '.join(known)}"
        )
    venue_keys.ensure(directory, host, accounts)
    for text in arguments.keys:
        api_key, equals, path = text.partition("=")
        if not equals or not path:
            raise UsageError(f"--key {text}: must be API_KEY=PUBLIC_KEY_FILE")
        venue_keys.register(directory, api_key, path, arguments.account)


def _serve(config: Config, directory: str, arguments: argparse.Namespace) -> int:
    from engine.bus.sockets import make_bus_directory
    from engine.runtime.child import harden
    from engine.runtime.process import ProcessRuntime

    assert config.venue is not None, "a configuration without [venue] was refused"
    harden()
    make_bus_directory(directory)
    venue_directory = os.path.join(directory, links.VENUE_DIRECTORY)
    _register(venue_directory, config.venue.host, config.venue.accounts, arguments)
    # for the process that makes snapshots of the journal; a run directory's own one would be an engine's
    keys.write_private(os.path.join(venue_directory, "config.json"), config_loader.encode(config))
    journal = factory.open_journal("venue", config, directory)
    runtime = ProcessRuntime(
        "venue", config, directory, config_hash=config_loader.digest(config), journal=journal
    )
    actor = factory.build("venue", config, runtime)
    listen = runtime.on_started
    assert listen is not None, "the factory gives the venue its listeners"

    def started() -> None:
        try:
            listen()
        except OSError as error:
            raise ConfigError(
                f"venue.ports: can't listen on {config.venue and config.venue.host}: {error}"
            ) from None
        text = json.dumps(places(directory)) if arguments.json else "\n".join(description(directory))
        print(text, flush=True)

    runtime.on_started = started
    if arguments.duration:
        runtime.until_ns = time.monotonic_ns() + int(duration(arguments.duration) * SECOND)
    return runtime.run(actor, factory.entry_types("venue"))


def main(argv: list[str]) -> int:
    """Run the venue until told to stop. Raises ConfigError, KeyFileError, RunDirError, UsageError."""
    if argv[:1] == ["fault"]:
        return _fault(argv[1:])
    arguments = _parser().parse_args(argv)
    if arguments.dictionary:
        from engine.tools.quickfix_xml import quickfix_xml

        sys.stdout.write(quickfix_xml())
        return EXIT_OK
    config = _config(arguments.config or arguments.file, arguments.overrides)
    directory = os.path.abspath(arguments.run)
    run_dir.prepare(directory)
    lock = run_dir.RunDirLock(directory)
    try:
        return _serve(config, directory, arguments)
    finally:
        lock.release()


# -- faults on command


def _fault(argv: list[str]) -> int:
    from engine.bus.sockets import tool_socket
    from engine.messages.control import VenueFault, VenueReply

    parser = argparse.ArgumentParser(
        prog="scripts/venue fault", description="Make a running venue misbehave."
    )
    parser.add_argument("kind", help="see docs/venue.md")
    parser.add_argument("rest", nargs="*", metavar="SESSION or NAME=VALUE")
    parser.add_argument(
        "--run", default=".run/venue", metavar="DIR", help="run directory (default .run/venue)"
    )
    arguments = parser.parse_args(argv)
    sessions = [part for part in arguments.rest if "=" not in part]
    if len(sessions) > 1:
        raise UsageError(f"one session at most: {', '.join(sessions)}")
    fault = VenueFault(
        request_id="fault",
        kind=arguments.kind,
        session=sessions[0] if sessions else "",
        arguments=dict(part.split("=", 1) for part in arguments.rest if "=" in part),
    )
    directory = os.path.abspath(arguments.run)
    bus = tool_socket(directory, "venue.ask", f"tool.venue.{os.getpid()}")
    try:
        reply = bus.request(fault, lambda answer: isinstance(answer, VenueReply))
    finally:
        bus.close()
    if reply is None:
        raise NotRunningError(
            f"{directory}: no venue answers; start one with scripts/venue or scripts/launch"
        )
    print(reply.text or "ok")
    return EXIT_OK if reply.ok else EXIT_FAILURE
