"""Builds the actor of a process from the configuration, with what only a process may have: keys, randomness, links."""

import os
import random
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from engine.common.actor import Actor, Outbox
from engine.common.ids import SLOT_OPERATOR, ClOrdIDs
from engine.config import Config, SessionConfig
from engine.errors import ConfigError
from engine.net import keys
from engine.runtime import links, venue_keys
from engine.runtime.journal import Journal, NoJournal, SpilledJournal

if TYPE_CHECKING:
    from engine.runtime.process import ProcessRuntime

JOURNALLED: Final = ("order_entry", "guard", "drop_copy", "venue")


def keeps_state(name: str, config: Config) -> bool:
    """Tell whether a process's journal outlives it."""
    if name == "venue" and config.venue is not None and not config.venue.keep_state:
        return False
    return config.engine.journal_sync != "off"


def open_journal(name: str, config: Config, run_dir: str) -> Journal:
    """Open a process's journal; the venue has one on disk even where it keeps no state: its history is no memory's.

    Raises:
        JournalError: as `Journal`.
    """
    directory = os.path.join(run_dir, "state")
    path = os.path.join(directory, f"{name}.sqlite")
    if keeps_state(name, config):
        return Journal(path, config.engine.journal_sync)
    if name == "venue":
        return SpilledJournal(os.path.join(directory, "venue.spilled.sqlite"))
    return NoJournal(path)


def session_links(name: str, config: Config) -> dict[str, SessionConfig]:
    """Return the links that a process may open, by name."""
    sessions = config.sessions
    if name == "drop_copy":
        found = {"drop_copy": sessions.drop_copy}
        if sessions.listener is not None:
            found["listener"] = sessions.listener
        return found
    return {
        "order_entry": {"order_entry": sessions.order_entry},
        "market_data": {"market_data": sessions.market_data},
    }.get(name, {})


def entry_types(name: str) -> Any:
    """Return the union of journal entries of an actor, or None when it has no journal."""
    match name:
        case "order_entry":
            from engine.order_entry.records import OrderJournalEntry

            return OrderJournalEntry
        case "guard":
            from engine.guard.records import GuardJournalEntry

            return GuardJournalEntry
        case "drop_copy":
            from engine.drop_copy.records import DropCopyJournalEntry

            return DropCopyJournalEntry
        case "venue":
            from engine.venue.records import VenueRecord

            return VenueRecord
        case _:
            return None


def _ids(slot: int) -> ClOrdIDs:
    return ClOrdIDs(slot, time.time_ns() // 1_000_000, secrets.randbits(30))


def build(name: str, config: Config, runtime: "ProcessRuntime", *, dry_run: bool = False) -> Actor:
    """Build one actor around its runtime.

    Raises:
        ConfigError: a key file or a strategy can't be used; the message says what and why.
    """
    rng = random.SystemRandom().random
    for link, session in session_links(name, config).items():
        if not (dry_run and link == "order_entry"):
            runtime.links.configure(link, session)

    def sign(session: SessionConfig) -> Callable[[bytes], str]:
        return keys.signer(session.key_file)

    sessions = config.sessions
    match name:
        case "market_data":
            from engine.market_data.actor import MarketData

            return MarketData(config, runtime, sign(sessions.market_data), rng)
        case "order_entry":
            from engine.order_entry.actor import OrderEntry

            signer = None if dry_run else sign(sessions.order_entry)
            return OrderEntry(config, runtime, signer, rng, dry_run=dry_run)
        case "drop_copy":
            from engine.drop_copy.actor import DropCopy

            listener = sessions.listener
            return DropCopy(
                config,
                runtime,
                sign(sessions.drop_copy),
                rng,
                sign(listener) if listener is not None else None,
            )
        case "guard":
            from engine.guard.actor import Guard

            return Guard(config, runtime, _ids(SLOT_OPERATOR))
        case "venue":
            return _build_venue(config, runtime)
        case _ if name.startswith("strategy."):
            from engine.strategy.host import StrategyHost
            from engine.strategy.loader import load_strategy

            short = name.partition(".")[2]
            strategy = config.strategies[short]
            return StrategyHost(
                short, config, runtime, _ids(strategy.slot), load_strategy(short, strategy.strategy)
            )
        case _:
            raise ConfigError(f"there is no process {name!r}")


class _Nowhere:
    """The Outbox of an actor that only replays: everything goes nowhere."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def build_for_replay(name: str, config: Config) -> Actor:
    """Build an actor that takes its journal in and does nothing else.

    Raises:
        ConfigError: this process's state has no snapshots.
    """
    out = cast(Outbox, _Nowhere())
    match name:
        case "order_entry":
            from engine.order_entry.actor import OrderEntry

            return OrderEntry(config, out, None, None, dry_run=True)
        case "venue":
            from engine.runtime.venue_archive import JournalArchive
            from engine.venue.actor import Venue

            # what it replays is committed, so it never asks its archive
            return Venue(config, out, lambda *_: False, random.Random(0), [], JournalArchive(""))  # noqa: S311
        case _:
            raise ConfigError(f"{name} takes no snapshots of its journal; order_entry and venue do")


def _build_venue(config: Config, runtime: "ProcessRuntime") -> Actor:
    from engine.runtime.venue_archive import JournalArchive
    from engine.venue.accounts import VenueKey
    from engine.venue.actor import Venue

    assert config.venue is not None, "the embedded venue has a [venue]"
    directory = os.path.join(runtime.run_dir, links.VENUE_DIRECTORY)
    records = venue_keys.ensure(directory, config.venue.host, config.venue.accounts)
    public = {record.api_key: keys.load_public_key(record.public_key) for record in records}
    accounts = [
        VenueKey(api_key=record.api_key, account=record.account, sessions=tuple(record.sessions))
        for record in records
    ]
    assert runtime.journal is not None, "the embedded venue has a journal"
    archive = JournalArchive(runtime.journal.path)
    actor = Venue(config, runtime, keys.verifier(public), random.Random(config.venue.seed), accounts, archive)  # noqa: S311 - synthetic flow, not a secret
    actor.takes_snapshots = keeps_state("venue", config)
    host, ports = config.venue.host, config.venue.ports
    runtime.on_started = lambda: links.listen_all(runtime.links, directory, host, ports, venue_keys.SESSIONS)
    return actor
