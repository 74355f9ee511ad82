"""The report as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metering_cli.reporting.reasons import reason_of
from metering_cli.reporting.wording import LABELS, NO_NAME
from metering_cli.wording import printable
from metering_handlers.contract.queries import RecordStatus

if TYPE_CHECKING:
    from metering_cli.reporting.findings import Findings
    from metering_cli.reporting.report import Report, Totals

_PIPE_WIDTH = 180
"""Width of the tables where there is no terminal."""
_MAX_ROWS = 200


def tables(report: Report, findings: Findings, subtitle: str) -> str:
    """Render the report, as wide as standard output: quantities by dimension, by customer, and failures."""
    console = Console()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.begin_capture()
    console.print(_cell(subtitle))
    dimensions = _table("Quantities by dimension", "Dimension")
    for dimension, sums in report.by_dimension().items():
        dimensions.add_row(_cell(dimension or NO_NAME), *_quantities(sums))
    console.print(dimensions)
    rows = [
        (customer, dimension, sums)
        for customer, by_dimension in findings.totals(report)
        for dimension, sums in by_dimension
    ]
    customers = _table("Quantities by customer and dimension", "Customer", "Dimension")
    for customer, dimension, sums in rows[:_MAX_ROWS]:
        customers.add_row(_cell(customer), _cell(dimension or NO_NAME), *_quantities(sums))
    console.print(customers)
    if len(rows) > _MAX_ROWS:
        console.print(f"… and {len(rows) - _MAX_ROWS:,} further rows: --totals FILE writes all of them.")
    if report.failures:
        console.print(_failures(report))
    # Windows redirects standard output in a code page that lacks most characters.
    return console.end_capture().encode(console.encoding, "backslashreplace").decode(console.encoding)


def _table(title: str, *columns: str) -> Table:
    table = Table(*columns, title=title, title_justify="left")
    for column in table.columns:
        column.overflow = "fold"
    for label in LABELS.values():
        table.add_column(label, justify="right")
    return table


def _quantities(sums: Totals) -> list[Text]:
    return [
        Text(
            f"{sums[status].quantity:,}",
            "red" if status is RecordStatus.FAILED and sums[status].records else "",
        )
        for status in LABELS
    ]


def _failures(report: Report) -> Table:
    table = Table("Reason", "State", title="Not billed", title_justify="left")
    table.add_column("Failures", justify="right")
    table.add_column("What it means, and what to do")
    counts = Counter((failure.reason, failure.state) for failure in report.failures)
    for (reason, state), count in sorted(counts.items()):
        meaning = reason_of(reason)
        table.add_row(_cell(reason), state, f"{count:,}", f"{meaning.meaning} {meaning.to_do}")
    return table


def _cell(text: str) -> Text:
    return Text(printable(text))
