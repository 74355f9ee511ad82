"""The forms of the report: tables, files and the page, all of the same numbers and in the same words."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openpyxl
import pytest

from metering_cli.reporting.failures import State, set_states
from metering_cli.reporting.files import as_json, failures_rows, table_file, totals_rows
from metering_cli.reporting.findings import Findings
from metering_cli.reporting.page import MAX_ROWS, render_page
from metering_cli.reporting.report import Report, TimeRange
from metering_cli.reporting.terminal import tables
from metering_cli.usage_format import HEADER
from tests.unit.metering_cli.metering_items import Item, answered, billed, failed_with, pending

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY = 1795392000000
"""2026-11-23T00:00:00Z."""
SCRIPT = "<script>alert('x')</script>"


def report_of(items: Iterable[Item]) -> tuple[Report, Findings]:
    report = Report()
    report.add(items)
    set_states(report.failures, set(), 35, NOW)
    return report, Findings.of(report, NOW, timedelta(hours=3))


def some() -> tuple[Report, Findings]:
    return report_of(
        [
            billed("012345678901", DAY, m=10),
            answered("012345678901", DAY + 1, {"m": "Unprocessed"}, m=1, n=2**31)
            | {"request_id": {"S": "r1="}},
            failed_with("TimeoutError", "=A1\x1b", DAY + 2, m=7),
            billed("fine", DAY, m=3),
            pending("late", DAY, m=4),
        ]
    )


def cells(path: Path) -> list[list[object]]:
    return [[cell.value for cell in row] for row in openpyxl.load_workbook(path).worksheets[0].iter_rows()]


def test_totals_are_the_same_in_both_file_formats(tmp_path: Path) -> None:
    report, _ = some()
    text, book = tmp_path / "totals.csv", tmp_path / "totals.xlsx"
    for path in (text, book):
        path.write_bytes(table_file(path, totals_rows(report)))

    header, *rows = cells(book)
    assert header[:4] == ["customer", "dimension", "billed_quantity", "billed_records"]
    assert header[4::2] == ["pending_quantity", "not_billed_quantity"]
    assert rows[0] == ["012345678901", "m", 10, 1, 0, 0, 1, 1]
    assert rows[1] == ["012345678901", "n", 2**31, 1, 0, 0, 0, 0]
    in_text = list(csv.reader(text.read_text().splitlines()))
    assert len(in_text) == len(rows) + 1 == 6
    assert in_text[1:3] == [[str(value) for value in row] for row in rows[:2]]


def test_failed_usage_is_data_with_ids_as_text(tmp_path: Path) -> None:
    report, findings = some()
    book = tmp_path / "failures.xlsx"
    book.write_bytes(table_file(book, failures_rows(report.failures)))

    header, first, second = cells(book)
    row = dict(zip(header, first, strict=True))
    assert row == as_json(report, findings)["failures"][0]  # type: ignore[index]
    assert (row["customer"], row["dimension"], row["quantity"]) == ("012345678901", "m", 1)
    assert (row["state"], row["reason"], row["request_id"]) == ("open", "Unprocessed", "r1=")
    assert row["meaning"] == "AWS took the call, but not this usage."
    assert row["time"] == "2026-11-23T00:00:00.001Z"
    assert row["create_timestamp"] == str(DAY + 1)
    # No formula, and nothing that a workbook cannot hold.
    assert second[0] == r"=A1\x1b"
    assert openpyxl.load_workbook(book).worksheets[0]["A3"].data_type == "s"
    in_text = list(
        csv.reader(table_file(tmp_path / "f.csv", failures_rows(report.failures)).decode().split("\n"))
    )
    assert in_text[2][:3] == ["'=A1\x1b", "m", "7"]
    # metering import must refuse this file: it has what may have been billed, or sent again.
    assert not set(HEADER) & set(header)


def test_the_tables_have_quantities_and_customers_to_look_at_first() -> None:
    text = tables(*some(), "subtitle")

    assert "2,147,483,648" in text
    assert text.index("late") < text.index("fine")
    assert all(word in text for word in ("Billed", "Pending", "Not billed", "TimeoutError", "Unprocessed"))


def test_names_cannot_steer_the_terminal() -> None:
    odd = "[red]\x1b]0;title\x07"
    usage = [pending("arn:aws:license-manager::123456789012:license/lic-1", DAY, m=7), pending(odd, DAY, m=7)]
    report, findings = report_of([failed_with(odd, odd, DAY, **{odd: 1}), *usage])

    text = tables(report, findings, odd) + "".join(findings.messages())

    assert "\x1b" not in text
    assert text.count(r"[red]\x1b]0;title\x07") >= 6


def test_names_outside_the_code_page_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows redirects standard output in a code page."""
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "cp1252"))

    text = tables(*report_of([billed("c", DAY, 利用=1)]), "subtitle")

    assert rb"\u5229\u7528" in text.encode("cp1252")


def test_the_page_escapes_names_and_loads_nothing() -> None:
    report, findings = report_of([failed_with(SCRIPT, SCRIPT, DAY, **{SCRIPT: 1})])

    page = render_page(report, findings, SCRIPT, NOW)

    assert SCRIPT not in page
    assert page.count("&lt;script&gt;") >= 4
    assert "src=" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_the_page_shows_open_failures_and_risks_and_folds_the_rest() -> None:
    report, findings = some()
    report.failures[1].state = State.SENT_AGAIN
    findings = Findings.of(report, NOW, timedelta(hours=3))

    to_look_at, folded = render_page(report, findings, "", NOW).split("<details>")

    assert "<b>1</b> open: Unprocessed" in to_look_at
    assert "1 record pending, the oldest for 1 d 0 h" in to_look_at
    assert "sent again" not in to_look_at.split("<dl>", maxsplit=1)[0].split("Customers to look at")[1]
    assert "fine" in folded
    assert r"=A1\x1b" in folded


def test_the_page_of_5000_customers_is_below_1_mb() -> None:
    """Every second customer has failures; what has no room is said to be in the file."""
    names = [f"arn:aws:license-manager::123456789012:license/lic-{number:032}" for number in range(5_000)]
    dimensions = {f"dimension_{number}": 2_000_000_000 for number in range(4)}
    items = [
        failed_with("TimeoutError", name, DAY + number, **dimensions)
        if number % 2
        else billed(name, DAY + number, **dimensions)
        for number, name in enumerate(names)
    ]

    page = render_page(*report_of(items), "", NOW)

    assert page.count("<tr>") < MAX_ROWS + 20
    assert len(page.encode()) < 1_000_000
    shown = page.count('<tbody class="customer">')
    assert f"{5_000 - shown:,} further customers are not on this page" in page


@pytest.mark.parametrize("state", [*State])
def test_only_an_open_failure_is_a_problem(state: State) -> None:
    report, _ = report_of([failed_with("TimeoutError", "a", DAY, m=1)])
    report.failures[0].state = state

    assert bool(Findings.of(report, NOW, timedelta(hours=3)).problems()) == (
        state in {State.OPEN, State.UNKNOWN}
    )


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (TimeRange(), "all of it"),
        (TimeRange(DAY, DAY + 86_400_000 - 1), "from 2026-11-23 to 2026-11-23"),
        (TimeRange(DAY + 1, None), "from 2026-11-23T00:00:00.001Z"),
        (TimeRange(None, DAY), "to 2026-11-23T00:00:00.000Z"),
    ],
)
def test_a_range_is_named_as_on_the_command_line(chosen: TimeRange, words: str) -> None:
    assert str(chosen) == words
