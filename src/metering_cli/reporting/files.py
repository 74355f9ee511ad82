"""The report as text and data: tables for a terminal, CSV, workbooks and JSON."""

from __future__ import annotations

import csv
import io
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.worksheet._write_only import WriteOnlyWorksheet
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metering_cli.reporting.failures import Failure
from metering_cli.reporting.findings import Findings
from metering_cli.reporting.reasons import reason_of
from metering_cli.reporting.report import LABELS, NO_NAME, Report, time_of
from metering_cli.wording import printable
from metering_handlers.contract.answers import DimensionTotals

Row = Sequence[object]

_WORDS = {status: label.lower().replace(" ", "_") for status, label in LABELS.items()}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_MAX_NUMBER = 10**15
"""Excel keeps 15 digits of a number ("Excel specifications and limits", Microsoft)."""
_PIPE_WIDTH = 180
"""Width of the tables where there is no terminal."""
_MAX_ROWS = 200


def tables(report: Report, findings: Findings, subtitle: str) -> str:
    """Render the report, as wide as standard output: quantities by dimension, by customer, and failures."""
    console = Console()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.begin_capture()
    console.print(Text(printable(subtitle)))
    quantities: list[Row] = [_quantities(row) for row in report.overall.rows()]
    console.print(_table("Quantities by dimension", ["Dimension", *LABELS.values()], quantities))
    # The customers to look at come first.
    totals = sorted(report.totals(), key=lambda row: row[0] not in findings.customers)
    quantities = [[customer, *_quantities(row)] for customer, row in totals[:_MAX_ROWS]]
    header = ["Customer", "Dimension", *LABELS.values()]
    console.print(_table("Quantities by customer and dimension", header, quantities))
    if len(totals) > _MAX_ROWS:
        console.print(f"… and {len(totals) - _MAX_ROWS:,} further rows: --totals FILE writes all of them.")
    if report.failures:
        counts = Counter((failure.reason, failure.state) for failure in report.failures)
        failures: list[Row] = [
            [reason, state, count, f"{reason_of(reason).meaning} {reason_of(reason).to_do}"]
            for (reason, state), count in sorted(counts.items())
        ]
        header = ["Reason", "State", "Failures", "What it means, and what to do"]
        console.print(_table("Not billed", header, failures))
    # Windows redirects standard output in a code page that lacks most characters.
    return console.end_capture().encode(console.encoding, "backslashreplace").decode(console.encoding)


def _quantities(row: DimensionTotals) -> Row:
    return [row["dimension"] or NO_NAME, *(row[status].quantity for status in LABELS)]


def _table(title: str, header: Sequence[str], rows: Iterable[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in header:
        is_number = name in {"Failures", *LABELS.values()}
        table.add_column(name, overflow="fold", justify="right" if is_number else "left")
    for row in rows:
        cells = [Text(f"{one:,}" if isinstance(one, int) else printable(str(one))) for one in row]
        if header[-1] == LABELS["failed"] and row[-1]:
            cells[-1].stylize("red")
        table.add_row(*cells)
    return table


def totals_rows(report: Report) -> Iterator[Row]:
    """Yield a header, and a row for each customer and dimension."""
    words = [f"{word}_{what}" for word in _WORDS.values() for what in ("quantity", "records")]
    yield ["customer", "dimension", *words]
    for customer, row in report.totals():
        counts = [row[status] for status in _WORDS]
        yield [customer, row["dimension"], *(n for one in counts for n in (one.quantity, one.records))]


def failures_rows(failures: Iterable[Failure]) -> Iterator[Row]:
    """Yield a header that ``metering import`` refuses, and a row for each failure, whatever its state."""
    yield [
        *("customer", "dimension", "quantity", "state", "reason", "meaning", "to_do", "time", "request_id"),
        *("create_timestamp", "id_to_send_again"),
    ]
    for one in failures:
        reason = reason_of(one.reason)
        yield [
            *(one.customer, one.dimension, one.quantity, one.state.value, one.reason, reason.meaning),
            *(reason.to_do, time_of(one.recorded_at), one.request_id, one.created, one.transaction_id),
        ]


def table_file(path: Path, rows: Iterable[Row]) -> bytes:
    """Render rows for a spreadsheet, in the format that the file's name says."""
    if path.suffix.lower() == ".xlsx":
        return _workbook(rows)
    return csv_file([_no_formula(value) for value in row] for row in rows)


def _no_formula(value: object) -> object:
    """Put an apostrophe before text that a spreadsheet would run (OWASP, "CSV Injection")."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def csv_file(rows: Iterable[Row]) -> bytes:
    """Render rows as they are."""
    file = io.StringIO(newline="")
    # With line ends of their own, Python before 3.13 does not quote a carriage return within text.
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def _workbook(rows: Iterable[Row]) -> bytes:
    workbook = Workbook(write_only=True)
    sheet: WriteOnlyWorksheet = workbook.create_sheet()
    sheet.freeze_panes = "A2"
    for row in rows:
        sheet.append([_cell(sheet, value) for value in row])
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def _cell(sheet: WriteOnlyWorksheet, value: object) -> object:
    """Make a cell: everything but numbers is text, so that ids keep their zeros and ``=…`` is no formula."""
    if value is None or (type(value) is int and abs(value) < _MAX_NUMBER):
        return value
    cell = WriteOnlyCell(sheet, printable(str(value)))
    cell.data_type = "s"
    cell.number_format = "@"
    return cell


def as_json(report: Report, findings: Findings) -> dict[str, object]:
    """Return the report as one JSON object."""
    header, *rows = failures_rows(report.failures)
    return {
        "totals": [
            {"customer": customer, "dimension": row["dimension"]}
            | {word: asdict(row[status]) for status, word in _WORDS.items()}
            for customer, row in report.totals()
        ],
        "failures": [dict(zip(map(str, header), row, strict=True)) for row in rows],
        "at_risk": [{"customer": customer, "risks": risks} for customer, risks in findings.risks.items()],
        "maybe_one_buyer": [pair._asdict() for pair in findings.one_buyer],
        "oldest_pending": time_of(min(report.waiting_since.values(), default=None)) or None,
    }


@contextmanager
def written(files: Mapping[Path, bytes]) -> Iterator[None]:
    """Write files, which appear all together if the block succeeds, or not at all."""
    with ExitStack() as stack:
        partials = []
        for path, content in files.items():
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent, prefix=".report-"))
            partials.append((Path(folder) / path.name, path))
            partials[-1][0].write_bytes(content)
        yield
        for partial, path in partials:
            partial.replace(path)
