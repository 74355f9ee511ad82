"""The report as data: CSV, workbooks and JSON, and the files of usage to send again."""

from __future__ import annotations

import csv
import io
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from metering_cli.reporting.reasons import reason_of
from metering_cli.reporting.wording import LABELS, time_of
from metering_cli.usage_format import HEADER
from metering_cli.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from openpyxl.worksheet._write_only import WriteOnlyWorksheet

    from metering_cli.reporting.failures import Failure
    from metering_cli.reporting.findings import Findings
    from metering_cli.reporting.report import Report

    Row = Sequence[object]

_WORDS = {status: label.lower().replace(" ", "_") for status, label in LABELS.items()}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_MAX_NUMBER = 10**15
"""Excel keeps 15 digits of a number ("Excel specifications and limits", Microsoft)."""


def totals_rows(report: Report) -> Iterator[Row]:
    """Yield a header, and a row for each customer and dimension."""
    words = [f"{word}_{what}" for word in _WORDS.values() for what in ("quantity", "records")]
    yield ["customer", "dimension", *words]
    for customer, by_dimension in report.totals().items():
        for dimension, sums in by_dimension:
            counts = [sums[status] for status in _WORDS]
            yield [customer, dimension, *(n for one in counts for n in (one.quantity, one.records))]


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


def usage_rows(failures: Iterable[Failure]) -> Iterator[Row]:
    """Yield a header and rows as ``metering import`` reads them."""
    yield HEADER
    for one in failures:
        yield [one.customer, one.dimension, one.quantity, one.transaction_id]


def corrections_rows(failures: Iterable[tuple[Failure, str]]) -> Iterator[Row]:
    """Yield the same, with what to correct in columns that ``metering import`` ignores."""
    yield [*HEADER, "reason", "to_correct"]
    for one, to_correct in failures:
        yield [one.customer, one.dimension, one.quantity, one.transaction_id, one.reason, to_correct]


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
    csv.writer(file, lineterminator="\n").writerows(rows)
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
    oldest = [usage.oldest for usage in report.waiting.values() if usage.oldest is not None]
    return {
        "totals": [
            {"customer": customer, "dimension": dimension}
            | {
                word: {"quantity": sums[status].quantity, "records": sums[status].records}
                for status, word in _WORDS.items()
            }
            for customer, by_dimension in report.totals().items()
            for dimension, sums in by_dimension
        ],
        "failures": [dict(zip(map(str, header), row, strict=True)) for row in rows],
        "at_risk": [{"customer": customer, "risks": risks} for customer, risks in findings.risks.items()],
        "maybe_one_buyer": [pair._asdict() for pair in findings.one_buyer],
        "oldest_pending": time_of(min(oldest)) if oldest else None,
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
