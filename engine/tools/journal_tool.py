"""`scripts/journal verify|show|export`: the journals of a run directory, with the engine up or down.

Exit codes: 0 read to its end and unbroken, 2 usage, 3 no such run, 8 damaged (the row is named) or no such journal.
"""

import argparse
import csv
import json
import os
import sys
from collections import deque
from typing import NamedTuple

import msgspec

from engine.common.clock import iso_time
from engine.drop_copy.records import SweepEnded
from engine.errors import EXIT_OK, JournalError, NotRunningError
from engine.runtime import journal, snapshots
from engine.tools.running import latest_run

ACTORS = ("order_entry", "guard", "drop_copy", "venue")


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--run", default="", metavar="DIR", help="run directory (default: the one used last below .run)"
    )
    common.add_argument(
        "--actor", default="order_entry", choices=ACTORS, help="whose journal (default order_entry)"
    )
    parser = argparse.ArgumentParser(prog="scripts/journal", description="Verify, show or export a journal.")
    sub = parser.add_subparsers(dest="command", required=True)
    sub.add_parser(
        "verify",
        parents=[common],
        help="check the hash chain, and that its end is there; names the first row that was changed or is missing (exit code 8)",
    )
    show = sub.add_parser("show", parents=[common], help="print rows for people")
    show.add_argument("--from", dest="first", type=int, default=1, metavar="NO")
    show.add_argument("--last", type=int, default=0, metavar="N", help="only the last N rows")
    show.add_argument("--order", default="", metavar="CLORDID", help="only this ClOrdID")
    export = sub.add_parser("export", parents=[common], help="write all rows to standard output")
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")
    return parser


def _fields(row: journal.Row) -> dict[str, object]:
    message = msgspec.msgpack.decode(row.message)
    return {
        "no": row.no,
        "wall_ns": row.wall_ns,
        "kind": row.kind,
        "cl_ord_id": row.cl_ord_id,
        "exec_id": row.exec_id or "",
        "message": message,
    }


def _json(value: object) -> str:
    return json.dumps(value, default=lambda data: data.hex())


def main(argv: list[str]) -> int:
    """Carry out one command. Raises JournalError, NotRunningError."""
    arguments = _parser().parse_args(argv)
    run = arguments.run or latest_run()
    state = os.path.join(run, "state")
    if not os.path.isdir(state):
        raise NotRunningError(f"{run}: no such run (there is no {state})")
    path = os.path.join(state, f"{arguments.actor}.sqlite")
    if arguments.command == "verify":
        _verify(path, arguments.actor)
        return EXIT_OK
    if arguments.command == "show":
        _show(path, arguments)
        return EXIT_OK
    if arguments.format == "jsonl":
        for row in journal.read(path):
            print(_json({**_fields(row), "hash": row.hash.hex()}))
        return EXIT_OK
    writer = csv.writer(sys.stdout)
    writer.writerow(["no", "wall_ns", "time", "kind", "cl_ord_id", "exec_id", "message", "hash"])
    for row in journal.read(path):
        message = _json(msgspec.msgpack.decode(row.message))
        writer.writerow(
            [
                row.no,
                row.wall_ns,
                iso_time(row.wall_ns),
                row.kind,
                row.cl_ord_id,
                row.exec_id or "",
                message,
                row.hash.hex(),
            ]
        )
    return EXIT_OK


class _Witness(NamedTuple):
    """What somebody else has kept of a journal: the hash of a row, and who says so."""

    no: int
    head: bytes
    who: str


def _witnesses(path: str, actor: str) -> list[_Witness]:
    # The chain can't show that its end is missing; drop copy's journal has heads of the order journal.
    found = []
    snapshot = snapshots.read(snapshots.path_of(path))
    if not isinstance(snapshot, str):
        found.append(_Witness(snapshot[0].no, snapshot[0].hash, "the snapshot beside it"))
    drop_copy = os.path.join(os.path.dirname(path), "drop_copy.sqlite")
    if actor == "order_entry" and os.path.exists(drop_copy):
        for row in journal.read(drop_copy):
            if row.kind == "sweep":
                said = msgspec.msgpack.decode(row.message, type=SweepEnded)
                if said.order_journal_no:
                    head = bytes.fromhex(said.order_journal_head)
                    found.append(_Witness(said.order_journal_no, head, f"row {row.no} of {drop_copy}"))
    return found


def _verify(path: str, actor: str) -> None:
    # Witnesses are read first: what they saw was there before, while the engine runs too.
    problem = ""
    try:
        witnesses = _witnesses(path, actor)
    except JournalError as error:
        witnesses, problem = [], f"{error}; so nothing shows whether the end of {path} is there"
    seen = {witness.no: witness for witness in witnesses}
    count, head = 0, journal.GENESIS
    for row in journal.read(path):
        witness = seen.get(row.no)
        if witness is not None and witness.head != row.hash:
            raise JournalError(
                f"{path}: row {row.no} is not the one that was there: it, or a row before it, was written anew "
                f"({witness.who} has another hash)"
            )
        count, head = row.no, row.hash
    known = max(witnesses, default=None)
    if known is not None and known.no > count:
        raise JournalError(
            f"{path}: row {count + 1} is missing: the journal ends at row {count}, its tail was cut "
            f"({known.who} knows row {known.no})"
        )
    if problem:
        raise JournalError(problem)
    beside = f", row {known.no} confirmed by {known.who}" if known is not None else ""
    print(f"{path}: {count} rows, chain unbroken, head {head.hex()}{beside}")


def _show(path: str, arguments: argparse.Namespace) -> None:
    # Row by row, so that what is before a damage is seen.
    last: deque[journal.Row] = deque(maxlen=arguments.last or None)
    for row in journal.read(path):
        if row.no < arguments.first:
            continue
        if arguments.order and arguments.order not in {row.cl_ord_id, *_ids(row)}:
            continue
        if arguments.last:
            last.append(row)
        else:
            _print(row)
    for row in last:
        _print(row)


def _print(row: journal.Row) -> None:
    message = msgspec.msgpack.decode(row.message)
    text = " ".join(f"{key}={value}" for key, value in message.items() if key != "type")
    print(f"{row.no:8} {iso_time(row.wall_ns)} {row.kind:8} {text}")


def _ids(row: journal.Row) -> set[str]:
    message = msgspec.msgpack.decode(row.message)
    return {str(message.get(key, "")) for key in ("order", "cl_ord_id", "request_id")}
