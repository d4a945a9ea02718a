"""`reconcile`: the reconciliation report of a run, from its journals, with the engine down or up.

    reconcile report [--run DIR] [--format text|json]    the whole report
    reconcile breaks [--run DIR] [--format text|json]    the open breaks
    reconcile show ID [--run DIR] [--format text|json]   one break and its history

It reads `<run>/state/order_entry.sqlite` and `<run>/state/drop_copy.sqlite` (the chain of each is verified on the way)
and, for names and contract multipliers, `<run>/config.json`. It writes nothing and talks to nobody.

Exit codes: 0 clean, 1 a damaged journal, 2 usage, 3 no such run, 6 open breaks.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from engine.drop_copy.records import DropCopyJournalEntry
from engine.drop_copy.report.summary import Report, build_report
from engine.drop_copy.report.text import render_break, render_breaks, render_json, render_text
from engine.errors import EXIT_BREAKS, EXIT_OK, EngineError, JournalError, NotRunningError, UsageError
from engine.messages.executions import OrderEvent
from engine.messages.reconciliation import BreakNote
from engine.runtime.journal import read
from engine.tools.running import is_running, latest_run

_ORDER_EVENT: Final = "order"

__all__ = ["main", "render_json", "render_text", "report_for_run"]


class _OrderJournal:
    """The order journal's events, and what its file is like once they are all read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows = 0
        self.head = ""

    def __iter__(self) -> Iterator[OrderEvent]:
        decode = msgspec.msgpack.Decoder(OrderEvent).decode
        head = b""
        for row in read(self.path):
            self.rows, head = row.no, row.hash
            if row.kind == _ORDER_EVENT:
                yield _decoded(decode, self.path, row.no, row.message)
        self.head = head.hex()


def _decoded(decode: Any, path: str, no: int, message: bytes) -> Any:
    try:
        return decode(message)
    except msgspec.MsgspecError as error:
        raise JournalError(f"{path}: row {no} can't be read: {error}") from error


def _drop_copy_records(path: str) -> Iterator[DropCopyJournalEntry]:
    if not os.path.exists(path):
        return
    decode = msgspec.msgpack.Decoder(DropCopyJournalEntry).decode
    for row in read(path):
        yield _decoded(decode, path, row.no, row.message)


def _configured(run_dir: str) -> tuple[dict[int, str], dict[str, int], str]:
    # Names, multipliers and shutdown policy from the run's effective configuration; a report can do without it.
    try:
        with open(os.path.join(run_dir, "config.json"), "rb") as file:
            config = json.load(file)
        names = {int(strategy["slot"]): name for name, strategy in config["strategies"].items()}
        multipliers = {
            symbol: int(instrument.get("contract_multiplier", 1))
            for symbol, instrument in config["instruments"].items()
        }
        policy = str(config.get("engine", {}).get("shutdown", "cancel"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}, "cancel"
    return names, multipliers, policy


def _paths(run_dir: str) -> tuple[str, str]:
    state = os.path.join(run_dir, "state")
    orders = os.path.join(state, "order_entry.sqlite")
    if not os.path.exists(orders):
        raise NotRunningError(f"{run_dir}: no such run (there is no {orders})")
    return orders, os.path.join(state, "drop_copy.sqlite")


def report_for_run(
    run_dir: str, names: Mapping[int, str] | None = None, *, ended: bool | None = None
) -> Report:
    """Build the report of a run directory.

    Args:
        run_dir: the run's directory.
        names: slot to strategy name, over what the run's own configuration says.
        ended: the run is over, so that nothing may be left unexplained; by default, when no engine holds the directory.

    Raises:
        NotRunningError: there is no such run.
        JournalError: a journal is damaged.
    """
    orders_path, drop_copy_path = _paths(run_dir)
    known, multipliers, policy = _configured(run_dir)
    over = not is_running(run_dir) if ended is None else ended
    # Drop copy's first: what it has seen of the tape was in the order journal before, while the engine runs too.
    records = list(_drop_copy_records(drop_copy_path))
    orders = _OrderJournal(orders_path)
    report = build_report(
        orders,
        records,
        names={**known, **(names or {})},
        multipliers=multipliers,
        run=run_dir,
        ended=policy if over else "",
    )
    return msgspec.structs.replace(report, order_journal_rows=orders.rows, order_journal_head=orders.head)


def _history(run_dir: str, break_id: str) -> list[BreakNote]:
    _, path = _paths(run_dir)
    return [
        record
        for record in _drop_copy_records(path)
        if isinstance(record, BreakNote) and record.break_id == break_id
    ]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="reconcile", description="The reconciliation report of a run, from its journals.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    common = _Parser(add_help=False)
    common.add_argument(
        "--run", default="", metavar="DIR", help="run directory (default: the one used last below .run)"
    )
    common.add_argument(
        "--format", default="text", choices=("text", "json"), help="how to write it (default text)"
    )
    commands.add_parser("report", parents=[common], help="the whole report")
    commands.add_parser("breaks", parents=[common], help="the open breaks")
    show = commands.add_parser("show", parents=[common], help="one break and its history")
    show.add_argument("id", metavar="ID", help="a break's id, as `breaks` lists it")
    return parser


def main(argv: list[str]) -> int:
    """Run the tool; return the exit code."""
    try:
        options = _parser().parse_args(argv)
        return _run(options)
    except SystemExit as done:  # --help
        return int(done.code or 0)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    options.run = options.run or latest_run()
    report = report_for_run(options.run)
    as_json = options.format == "json"
    if options.command == "show":
        return _show(report, options, as_json=as_json)
    if options.command == "breaks":
        print(_json(report.break_list) if as_json else render_breaks(report))
    else:
        print(render_json(report) if as_json else render_text(report))
    return EXIT_OK if report.clean else EXIT_BREAKS


def _show(report: Report, options: argparse.Namespace, *, as_json: bool) -> int:
    history = _history(options.run, options.id)
    note = next(
        (note for note in report.break_list if note.break_id == options.id), history[-1] if history else None
    )
    if note is None:
        raise UsageError(
            f"there is no break {options.id!r} in {options.run}; `reconcile breaks` lists the open ones"
        )
    print(_json(history or [note]) if as_json else render_break(note, history))
    return EXIT_BREAKS if note.status == "open" else EXIT_OK


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
