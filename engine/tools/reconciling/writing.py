"""Writing a report in its four forms, with a progress bar where somebody looks at a terminal."""

import contextlib
import csv
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from engine.drop_copy.report.inputs import Period
from engine.drop_copy.report.model import Report
from engine.drop_copy.report.summary import name_of
from engine.drop_copy.report.text import render_json, render_text
from engine.errors import EngineError
from engine.runtime.journal import open_read_only
from engine.tools import reconcile
from engine.tools.reconciling.journals import Progress, paths_of


def write_report(run_dir: str, form: str, period: Period, out: str) -> Report:
    """Write a report to a file, or to standard output when `out` is empty; return it.

    Raises:
        NotRunningError, JournalError: as `report_for_run`. EngineError: the file can't be written.
    """
    with _progress(run_dir) as progress:
        if form == "csv":
            return _write_csv(run_dir, period, out, progress)
        built = reconcile.built_for_run(run_dir, period=period, progress=progress)
        if form == "html":
            from engine.drop_copy.report.charts import draw
            from engine.drop_copy.report.html import render_html

            text = render_html(built.report, draw(built.orders, built.samples, period))
        else:
            text = f"{render_json(built.report) if form == 'json' else render_text(built.report)}\n"
    with _target(out) as file:
        file.write(text)
    return built.report


def _write_csv(run_dir: str, period: Period, out: str, progress: Progress | None) -> Report:
    from engine.drop_copy.report.table_csv import COLUMNS, row_of

    with _target(out) as file:
        writer = csv.writer(file, lineterminator="\r\n" if out else "\n")
        writer.writerow(COLUMNS)

        def on_report(event: Any, kind: str, slot: int, names: dict[int, str], multiplier: int) -> None:
            writer.writerow(row_of(event, kind, name_of(slot, names), multiplier))

        return reconcile.built_for_run(run_dir, period=period, progress=progress, on_report=on_report).report


@contextlib.contextmanager
def _target(out: str) -> Iterator[IO[str]]:
    """Open the file to write, readable by its owner only, there as a whole or not at all; or standard output."""
    if not out:
        yield sys.stdout
        return
    temporary = f"{out}.tmp"
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(temporary, out)
    except OSError as error:
        raise EngineError(f"{out}: can't be written: {error.strerror}") from None


@contextlib.contextmanager
def _progress(run_dir: str) -> Iterator[Progress | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    path = paths_of(run_dir).orders
    with contextlib.closing(open_read_only(path)) as db:
        total = db.execute("SELECT max(no) FROM journal").fetchone()[0] or 0
    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading the order journal", total=total)
        yield lambda rows: bar.update(task, completed=rows)
