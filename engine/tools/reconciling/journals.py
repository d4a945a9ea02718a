"""A run directory read for a report: journals with their hash chains verified on the way, configuration, latches."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from engine import __version__
from engine.drop_copy.records import DropCopyJournalEntry
from engine.drop_copy.report.inputs import Origin, Sample
from engine.errors import JournalError, NotRunningError
from engine.messages.executions import OrderEvent
from engine.runtime.journal import GENESIS, Row, read

_ORDER_EVENT: Final = "order"
Progress = Callable[[int], None]
_TOLD_EVERY: Final = 2000


class RunPaths(msgspec.Struct, frozen=True):
    """Where the journals of a run directory are."""

    orders: str
    drop_copy: str
    guard: str
    samples: str


def paths_of(run_dir: str) -> RunPaths:
    """Return where a run's journals are. Raises NotRunningError when there is no such run."""
    state = os.path.join(run_dir, "state")
    orders = os.path.join(state, "order_entry.sqlite")
    if not os.path.exists(orders):
        raise NotRunningError(f"{run_dir}: no such run (there is no {orders})")
    names = ("drop_copy", "guard", "samples")
    return RunPaths(orders, *(os.path.join(state, f"{name}.sqlite") for name in names))


class OrderJournal:
    """The order journal's events, and what its file is like once they are all read."""

    def __init__(self, path: str, progress: Progress | None = None) -> None:
        self.path = path
        self.rows = 0
        self.head = ""
        self._progress = progress

    def __iter__(self) -> Iterator[OrderEvent]:
        decode = msgspec.msgpack.Decoder(OrderEvent).decode
        head = GENESIS
        progress = self._progress
        for row in read(self.path):
            self.rows, head = row.no, row.hash
            if progress is not None and row.no % _TOLD_EVERY == 0:
                progress(row.no)
            if row.kind == _ORDER_EVENT:
                yield decoded(decode, self.path, row)
        self.head = head.hex()
        if progress is not None:
            progress(self.rows)


def decoded(decode: Callable[[bytes], Any], path: str, row: Row) -> Any:
    """Decode a row's message. Raises JournalError."""
    try:
        return decode(row.message)
    except msgspec.MsgspecError as error:
        raise JournalError(f"{path}: row {row.no} can't be read: {error}") from error


def drop_copy_records(path: str) -> Iterator[DropCopyJournalEntry]:
    """Yield drop copy's records; none when it has no journal yet."""
    if not os.path.exists(path):
        return
    decode = msgspec.msgpack.Decoder(DropCopyJournalEntry).decode
    for row in read(path):
        yield decoded(decode, path, row)


def latches_of(path: str, names: Mapping[int, str]) -> dict[str, str]:
    """Return the risk latches that are set by the guard's journal: scope to why."""
    if not os.path.exists(path):
        return {}
    from engine.guard.kill_switch import LatchScope
    from engine.guard.records import GuardJournalEntry, LatchReleased, LatchSet

    decode = msgspec.msgpack.Decoder(GuardJournalEntry).decode
    found: dict[str, str] = {}
    for row in read(path):
        entry = decoded(decode, path, row)
        if isinstance(entry, (LatchSet, LatchReleased)):
            scope = LatchScope(entry.strategy, entry.symbol).text(dict(names))
            if isinstance(entry, LatchSet):
                found[scope] = entry.why
            else:
                found.pop(scope, None)
    return found


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a report takes from the run's effective configuration; it can do without."""

    names: dict[int, str] = {}
    multipliers: dict[str, int] = {}
    policy: str = "cancel"
    origin: Origin = Origin()


def config_of(run_dir: str) -> RunConfig:
    """Read the run's effective configuration as far as it can be read."""
    from engine import config_loader

    try:
        with open(os.path.join(run_dir, "config.json"), "rb") as file:
            data = file.read()
        config = json.loads(data)
        names = {int(strategy["slot"]): name for name, strategy in config["strategies"].items()}
        multipliers = {
            symbol: int(instrument.get("contract_multiplier", 1))
            for symbol, instrument in config["instruments"].items()
        }
        engine = config.get("engine", {})
        policy, name = str(engine.get("shutdown", "cancel")), str(engine.get("name", ""))
        environment = str(engine.get("environment", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return RunConfig(origin=Origin(version=__version__))
    try:
        digest = config_loader.digest(config_loader.decode(data))
    except (msgspec.MsgspecError, ValueError):
        digest = ""
    return RunConfig(
        names=names,
        multipliers=multipliers,
        policy=policy,
        origin=Origin(version=__version__, config_hash=digest, name=name, environment=environment),
    )


def samples_of(path: str) -> list[Sample]:
    """Return what the supervisor sampled; empty when it did not, or what it wrote is damaged: nothing is proven by it."""
    if not os.path.exists(path):
        return []
    decode = msgspec.msgpack.Decoder(Sample).decode
    try:
        return [decoded(decode, path, row) for row in read(path)]
    except JournalError:
        return []
