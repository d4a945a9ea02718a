"""`scripts/journal verify|show|export`: the journals of a run directory, with the engine up or down."""

import argparse
import csv
import json
import os
import sys

import msgspec

from engine.common.clock import iso_time
from engine.errors import EXIT_FAILURE, EXIT_OK, JournalError
from engine.runtime import journal
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
        help="check the hash chain; names the first row that was changed or is missing",
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


def main(argv: list[str]) -> int:
    """Carry out one command. Raises JournalError, NotRunningError."""
    arguments = _parser().parse_args(argv)
    run = arguments.run or latest_run()
    path = os.path.join(run, "state", f"{arguments.actor}.sqlite")
    if arguments.command == "verify":
        return _verify(path)
    if arguments.command == "show":
        _show(path, arguments)
        return EXIT_OK
    if arguments.format == "jsonl":
        for row in journal.read(path):
            print(json.dumps({**_fields(row), "hash": row.hash.hex()}))
        return EXIT_OK
    writer = csv.writer(sys.stdout)
    writer.writerow(["no", "wall_ns", "time", "kind", "cl_ord_id", "exec_id", "message", "hash"])
    for row in journal.read(path):
        message = json.dumps(msgspec.msgpack.decode(row.message))
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


def _verify(path: str) -> int:
    count, head = 0, journal.GENESIS
    try:
        for row in journal.read(path):
            count, head = row.no, row.hash
    except JournalError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILURE
    print(f"{path}: {count} rows, chain unbroken, head {head.hex()}")
    return EXIT_OK


def _show(path: str, arguments: argparse.Namespace) -> None:
    rows = [
        row
        for row in journal.read(path)
        if row.no >= arguments.first
        and (not arguments.order or arguments.order in {row.cl_ord_id, *_ids(row)})
    ]
    for row in rows[-arguments.last :] if arguments.last else rows:
        fields = _fields(row)
        message = fields["message"]
        assert isinstance(message, dict)
        text = " ".join(f"{key}={value}" for key, value in message.items() if key != "type")
        print(f"{row.no:8} {iso_time(row.wall_ns)} {row.kind:8} {text}")


def _ids(row: journal.Row) -> set[str]:
    message = msgspec.msgpack.decode(row.message)
    return {str(message.get(key, "")) for key in ("order", "cl_ord_id", "request_id")}
