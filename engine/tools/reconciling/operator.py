"""What an operator says about a run (`explain`, `assign`, `funding`): to a running drop copy, else into its journal.

There is one place for it, drop copy's journal. While the engine runs drop copy itself writes there; while it doesn't,
the run directory is locked, so that none starts meanwhile, and the entry is appended with its hash.
"""

import contextlib
import csv
import getpass
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from typing import Final

import msgspec

from engine.common.fixed_point import parse_money
from engine.common.ids import SLOT_FOREIGN, SLOT_MAX
from engine.drop_copy import breaks as brk
from engine.drop_copy.keys import key_of, text_of
from engine.drop_copy.operator import explanation, funding
from engine.drop_copy.records import ExecutionAssigned
from engine.errors import EngineError, NotRunningError, UsageError
from engine.messages.executions import EventKind
from engine.messages.reconciliation import (
    AssignExecution,
    BreakNote,
    EnterFunding,
    ExplainBreak,
    ReconciliationReply,
)
from engine.runtime.journal import Entry, Journal
from engine.runtime.run_dir import RunDirLock
from engine.tools.reconciling.journals import OrderJournal, RunConfig, paths_of
from engine.tools.reconciling.times import wall_time
from engine.tools.running import is_running

TIMEOUT_MS: Final = 3000
FUNDING_COLUMNS: Final = ("time", "market", "amount", "key")


class NoAnswerError(EngineError):
    """The engine runs, but drop copy said nothing."""

    exit_code = 5


def explain(run_dir: str, note: BreakNote, why: str, *, accept_gap: bool) -> str:
    """Explain an open break; return what came of it. Raises UsageError, NoAnswerError, RunDirError, JournalError."""
    _reason(why)
    if note.kind == brk.GAP and not accept_gap:
        raise UsageError(
            f"{note.break_id} is a gap: nothing in it is proven. With the engine up accept it by "
            "`scripts/ctl arm --accept-gap --why TEXT`; for a run that is over add --accept-gap here"
        )
    request_id = uuid.uuid4().hex
    ask = ExplainBreak(request_id=request_id, break_id=note.break_id, why=why, who=_who(), note=note)
    if is_running(run_dir):
        return _tell(run_dir, ask)
    known_gap = note.kind == brk.GAP and not note.break_id.startswith(("gap-journal", "gap-never", "gap-unc", "gap-last", "gap-tape"))  # fmt: skip
    if known_gap:
        raise UsageError(
            f"{note.break_id} is drop copy's own: start the engine and accept it by `scripts/ctl arm --accept-gap --why TEXT`, "
            "so that it goes on behind it"
        )
    _append(run_dir, explanation(note, why, _who(), time.time_ns()))
    return f"{note.break_id} is explained"


def assign(run_dir: str, config: RunConfig, exec_id: str, strategy: str, why: str) -> str:
    """Have a foreign fill count for a strategy; return what came of it. Raises as `explain`."""
    _reason(why)
    slot = _slot(config, strategy)
    key = key_of(exec_id)
    if key is None:
        raise UsageError(f"{exec_id!r} is no ExecID: write it as 'clock;event', in quotes")
    found = next(
        (
            event
            for event in OrderJournal(paths_of(run_dir).orders)
            if event.exec_id and key_of(event.exec_id) == key
        ),
        None,
    )
    if found is None:
        raise UsageError(f"{exec_id}: the order journal has no such execution")
    if found.strategy != SLOT_FOREIGN or found.kind is not EventKind.TRADE:
        what = f"a {found.kind} of slot {found.strategy}" if found.strategy >= 0 else f"a {found.kind}"
        raise UsageError(f"{exec_id}: is {what}; only a foreign fill can be assigned")
    ask = AssignExecution(
        request_id=uuid.uuid4().hex, exec_id=text_of(key), strategy=slot, why=why, who=_who()
    )
    if is_running(run_dir):
        return _tell(run_dir, ask)
    _append(
        run_dir,
        ExecutionAssigned(wall_ns=time.time_ns(), exec_id=text_of(key), strategy=slot, why=why, who=_who()),
    )
    return f"{text_of(key)} counts for {strategy} in reports"


def enter_funding(run_dir: str, entries: list[EnterFunding]) -> list[str]:
    """Enter payments; return what came of each. Raises as `explain`."""
    said = []
    for entry in entries:
        _reason(entry.why)
        if is_running(run_dir):
            said.append(_tell(run_dir, entry))
        else:
            _append(run_dir, funding(entry, time.time_ns()))
            said.append(f"funding {entry.key} of {entry.symbol} is entered")
    return said


def funding_entry(
    config: RunConfig, market: str, amount: str, at: str, why: str, key: str = "", where: str = ""
) -> EnterFunding:
    """Return one payment as a command line or a file's row gives it. Raises UsageError."""
    if market not in config.multipliers:
        known = ", ".join(config.multipliers) or "none is known"
        raise UsageError(f"{where}there is no market {market!r}; there are: {known}")
    try:
        money = parse_money(amount)
    except ValueError as error:
        raise UsageError(f"{where}{error}; dollars are needed, positive when they were received") from None
    at_ns = wall_time(at, f"{where}time" if where else "--at")
    named = key or hashlib.sha256(f"{market}|{at_ns}|{money}".encode()).hexdigest()[:12]
    return EnterFunding(
        request_id=uuid.uuid4().hex,
        key=named,
        symbol=market,
        amount=money,
        at_ns=at_ns,
        why=why,
        who=_who(),
    )


def funding_file(config: RunConfig, path: str, why: str) -> list[EnterFunding]:
    """Read payments from a CSV file with the columns time, market, amount and (optional) key. Raises UsageError."""
    return [
        funding_entry(
            config,
            row["market"],
            row["amount"],
            row["time"],
            why or f"file {os.path.basename(path)}",
            row.get("key") or "",
            f"{path}, line {number}: ",
        )
        for number, row in _rows(path)
    ]


def _rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in FUNDING_COLUMNS[:3] if name not in (reader.fieldnames or [])]
            if missing:
                raise UsageError(
                    f"{path}: the column {missing[0]!r} is missing; needed: time, market, amount"
                )
            for row in reader:
                if any(row.get(name) is None for name in FUNDING_COLUMNS[:3]):
                    raise UsageError(f"{path}, line {reader.line_num}: has too few columns")
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: can't be read as CSV: {error}") from None


def _slot(config: RunConfig, strategy: str) -> int:
    slots = {name: slot for slot, name in config.names.items()}
    if strategy in slots:
        return slots[strategy]
    if strategy.isascii() and strategy.isdigit() and 1 <= int(strategy) <= SLOT_MAX:
        return int(strategy)
    raise UsageError(
        f"there is no strategy {strategy!r}; there are: {', '.join(slots) or 'none known: give its slot'}"
    )


def _reason(why: str) -> None:
    if not why.strip():
        raise UsageError("--why: a reason is needed; it stays on record")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _tell(run_dir: str, message: ExplainBreak | AssignExecution | EnterFunding) -> str:
    from engine.bus.sockets import tool_socket

    bus = tool_socket(run_dir, "dc.ask", f"tool.reconcile.{os.getpid()}")
    try:
        reply = bus.request(
            message,
            lambda answer: getattr(answer, "request_id", None) == message.request_id,
            TIMEOUT_MS,
        )
    finally:
        bus.close()
    if not isinstance(reply, ReconciliationReply):
        raise NoAnswerError(f"drop copy did not answer within {TIMEOUT_MS / 1000:g} s: say it again")
    if not reply.ok:
        raise UsageError(reply.text)
    return reply.text


def _append(run_dir: str, entry: msgspec.Struct) -> None:
    path = paths_of(run_dir).drop_copy
    if not os.path.exists(path):
        raise NotRunningError(f"{run_dir}: drop copy never ran here (there is no {path})")
    lock = RunDirLock(run_dir)
    try:
        journal = Journal(path, "full")
        try:
            journal.append([Entry(entry, "", None)], time.time_ns())
        finally:
            journal.close()
    finally:
        lock.release()
        if lock.stale_pid:  # that the engine did not end properly is for the next start to hear
            with contextlib.suppress(OSError), open(os.path.join(run_dir, "lock"), "w") as file:
                file.write(f"{lock.stale_pid}\n")
