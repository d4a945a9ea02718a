"""`scripts/reconcile`: what the witnesses of a run say, reported, explained and compared, with the engine down or up.

    report [--from T --to T | --day D] [--format text|html|csv|json] [--out FILE]    the whole report
    breaks [--all]                               the open breaks; with --all those that ended, too
    show ID                                      one break and its history
    explain ID --why TEXT                        take responsibility for a break; it stays on record
    assign EXECID STRATEGY --why TEXT            a foreign fill counts for a strategy in reports
    funding MARKET DOLLARS --at TIME --why TEXT  money that FIX does not show; or --file CSV
    compare --ours FILE --theirs FILE            any two of: journal, raw FIX log, CSV of fills

It reads `<run>/state/*.sqlite` (the chain of each is verified on the way) and, for names and contract multipliers,
`<run>/config.json`. Only explain, assign and funding write. `--json` works on everything (docs/reconciliation.md).

Exit codes: 0 clean, 2 usage, 3 no such run, 5 no answer from a running engine, 6 open breaks, 7 clean but a risk latch
is set, 8 a damaged journal.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.drop_copy.report.inputs import Period
from engine.drop_copy.report.model import Report
from engine.drop_copy.report.summary import Built, build, sealed
from engine.drop_copy.report.text import break_record, render_break, render_breaks, render_json, render_text
from engine.errors import EXIT_BREAKS, EXIT_OK, EXIT_RISK_LATCH, EngineError, UsageError
from engine.messages.executions import OrderEvent
from engine.messages.reconciliation import BreakNote
from engine.tools.reconciling import journals
from engine.tools.reconciling.times import period_of
from engine.tools.running import is_running, latest_run

FORMATS = ("text", "html", "csv", "json")

__all__ = ["main", "render_json", "render_text", "report_for_run"]


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
    return built_for_run(run_dir, names, ended=ended).report


def built_for_run(
    run_dir: str,
    names: Mapping[int, str] | None = None,
    *,
    ended: bool | None = None,
    period: Period = Period(),  # noqa: B008 - frozen
    progress: journals.Progress | None = None,
    on_report: Any = None,
) -> Built:
    """Build report and series of a run directory; arguments and errors as `report_for_run`.

    Args:
        period: what is counted. progress: called with the rows read so far.
        on_report: called with a report's event, class, strategy's name and contract multiplier.
    """
    paths = journals.paths_of(run_dir)
    config = journals.config_of(run_dir)
    known = {**config.names, **(names or {})}
    over = not is_running(run_dir) if ended is None else ended
    # Drop copy's first: what it has seen of the tape was in the order journal before, while the engine runs too.
    records = list(journals.drop_copy_records(paths.drop_copy))
    orders = journals.OrderJournal(paths.orders, progress)

    def told(event: OrderEvent, kind: str, slot: int) -> None:
        on_report(event, kind, slot, known, config.multipliers.get(event.symbol, 1))

    built = build(
        orders,
        records,
        names=known,
        multipliers=config.multipliers,
        run=run_dir,
        ended=config.policy if over else "",
        period=period,
        samples=journals.samples_of(paths.samples),
        origin=config.origin,
        latches=journals.latches_of(paths.guard, known),
        on_report=told if on_report is not None else None,
    )
    report = msgspec.structs.replace(
        built.report, order_journal_rows=orders.rows, order_journal_head=orders.head
    )
    return Built(report=sealed(report), orders=built.orders, samples=built.samples)


def exit_code_of(report: Report) -> int:
    """Return what a report ends with: breaks before latches."""
    if not report.clean:
        return EXIT_BREAKS
    return EXIT_RISK_LATCH if report.latches else EXIT_OK


# ---- the command


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="scripts/reconcile", description="What the witnesses of a run say.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    as_json = _Parser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="the answer as JSON, for programs")
    common = _Parser(add_help=False, parents=[as_json])
    common.add_argument(
        "--run", default="", metavar="DIR", help="run directory (default: the one used last below .run)"
    )
    report = commands.add_parser("report", parents=[common], help="the whole report")
    report.add_argument("--format", default="", choices=FORMATS, help="how to write it (default text)")
    report.add_argument("--from", dest="begin", default="", metavar="TIME", help="from this time on, UTC")
    report.add_argument("--to", dest="end", default="", metavar="TIME", help="until before this time, UTC")
    report.add_argument("--day", default="", metavar="DAY", help="one day, UTC, such as 2026-11-24")
    report.add_argument("--out", default="", metavar="FILE", help="write it there instead of printing it")
    breaks = commands.add_parser("breaks", parents=[common], help="the open breaks")
    breaks.add_argument("--all", action="store_true", help="those that ended, too")
    breaks.add_argument("--format", default="", choices=("text", "json"), help=argparse.SUPPRESS)
    show = commands.add_parser("show", parents=[common], help="one break and its history")
    show.add_argument("id", metavar="ID", help="a break's id, as `breaks` lists it")
    show.add_argument("--format", default="", choices=("text", "json"), help=argparse.SUPPRESS)
    explain = commands.add_parser("explain", parents=[common], help="take responsibility for an open break")
    explain.add_argument("id", metavar="ID", help="a break's id, as `breaks` lists it")
    explain.add_argument("--why", required=True, metavar="TEXT", help="reason, kept in the journal")
    explain.add_argument(
        "--accept-gap", action="store_true", help="accept a gap of a run that is over as it is"
    )
    assign = commands.add_parser("assign", parents=[common], help="a foreign fill counts for a strategy")
    assign.add_argument("exec_id", metavar="EXECID", help="'clock;event', in quotes")
    assign.add_argument("strategy", metavar="STRATEGY", help="name, or slot")
    assign.add_argument("--why", required=True, metavar="TEXT", help="reason, kept in the journal")
    funding = commands.add_parser("funding", parents=[common], help="enter money that FIX does not show")
    funding.add_argument("market", nargs="?", default="", metavar="MARKET")
    funding.add_argument("amount", nargs="?", default="", metavar="DOLLARS", help="negative when it was paid")
    funding.add_argument("--at", default="", metavar="TIME", help="when the venue booked it, UTC")
    funding.add_argument("--why", default="", metavar="TEXT", help="reason or source, kept in the journal")
    funding.add_argument("--key", default="", help="names the payment; entered again it replaces the earlier")
    funding.add_argument(
        "--file", default="", metavar="CSV", help="columns time, market, amount and maybe key"
    )
    compare = commands.add_parser("compare", parents=[as_json], help="two files, without an engine")
    for name in ("ours", "theirs"):
        compare.add_argument(
            f"--{name}",
            required=True,
            metavar="FILE",
            help="journal (or run directory), raw FIX log or CSV of fills",
        )
    compare.add_argument(
        "--tolerance", default="0", metavar="DOLLARS", help="fees and collateral may differ by so much"
    )
    compare.add_argument(
        "--overlap-only", action="store_true", help="only between the first and last ExecID that both have"
    )
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
    if options.command == "compare":
        from engine.tools.reconciling.compare import compare

        return compare(
            options.ours,
            options.theirs,
            options.tolerance,
            as_json=options.json,
            overlap_only=options.overlap_only,
        )
    options.run = options.run or latest_run()
    options.json = options.json or getattr(options, "format", "") == "json"
    match options.command:
        case "report":
            return _report(options)
        case "breaks":
            return _breaks(options)
        case "show":
            return _show(options)
        case "explain":
            return _explain(options)
        case "assign":
            from engine.tools.reconciling import operator

            config = journals.config_of(options.run)
            text = operator.assign(options.run, config, options.exec_id, options.strategy, options.why)
            return _done(text, as_json=options.json)
        case _:
            return _funding(options)


def _done(text: str, *, as_json: bool) -> int:
    print(json.dumps({"ok": True, "text": text}) if as_json else text)
    return EXIT_OK


def _report(options: argparse.Namespace) -> int:
    from engine.tools.reconciling.writing import write_report

    if options.json and options.format not in {"", "json"}:
        raise UsageError(f"--json, or --format {options.format}, not both")
    chosen = "json" if options.json else options.format or "text"
    period = period_of(options.begin, options.end, options.day)
    report = write_report(options.run, chosen, period, options.out)
    return exit_code_of(report)


def _breaks(options: argparse.Namespace) -> int:
    report = report_for_run(options.run)
    history = _history(options.run)
    if options.json:
        notes = [*report.break_list, *(report.ended if options.all else [])]
        records = [break_record(note, history.get(note.break_id, [])) for note in notes]
        print(
            _json({
                "run": options.run, "clean": report.clean, "open": report.breaks, "explained": report.explained,
                "exit_code": exit_code_of(report), "breaks": records,
            })
        )  # fmt: skip
    else:
        print(render_breaks(report, ended=options.all))
    return exit_code_of(report)


def _history(run_dir: str) -> dict[str, list[BreakNote]]:
    found: dict[str, list[BreakNote]] = {}
    for record in journals.drop_copy_records(journals.paths_of(run_dir).drop_copy):
        if isinstance(record, BreakNote):
            found.setdefault(record.break_id, []).append(record)
    return found


def _find(options: argparse.Namespace) -> tuple[BreakNote, list[BreakNote], bool]:
    """Return a break, its history, and whether it is open. Raises UsageError when there is none."""
    report = report_for_run(options.run)
    history = _history(options.run).get(options.id, [])
    note = next((note for note in report.break_list if note.break_id == options.id), None)
    if note is not None:
        return note, history, True
    if not history:
        raise UsageError(
            f"there is no break {options.id!r} in {options.run}; `reconcile breaks` lists the open ones"
        )
    return history[-1], history, False


def _show(options: argparse.Namespace) -> int:
    note, history, is_open = _find(options)
    print(_json(break_record(note, history)) if options.json else render_break(note, history))
    return EXIT_BREAKS if is_open else EXIT_OK


def _explain(options: argparse.Namespace) -> int:
    from engine.tools.reconciling import operator

    note, _, is_open = _find(options)
    if not is_open:
        return _done(f"{options.id} is {note.status} already", as_json=options.json)
    text = operator.explain(options.run, note, options.why, accept_gap=options.accept_gap)
    return _done(text, as_json=options.json)


def _funding(options: argparse.Namespace) -> int:
    from engine.tools.reconciling import operator

    config = journals.config_of(options.run)
    if options.file:
        if options.market:
            raise UsageError("MARKET DOLLARS, or --file CSV, not both")
        entries = operator.funding_file(config, options.file, options.why)
    else:
        if not (options.market and options.amount and options.at and options.why):
            raise UsageError("funding MARKET DOLLARS --at TIME --why TEXT, or funding --file CSV")
        entries = [
            operator.funding_entry(
                config, options.market, options.amount, options.at, options.why, options.key
            )
        ]
    said = operator.enter_funding(options.run, entries)
    if options.json:
        print(json.dumps({"ok": True, "entered": said}))
    else:
        print("\n".join(said) or "the file has no payments")
    return EXIT_OK


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
