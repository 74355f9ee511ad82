"""What the report says: one table with every kind of record in each form, its range, and usage at risk."""

import csv
import html
import io
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import openpyxl
import pytest
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

from metering_cli.reporting import command, options
from metering_cli.reporting.failures import Failure
from metering_cli.reporting.files import csv_file, tables
from metering_cli.reporting.findings import Findings
from metering_cli.reporting.page import MAX_ROWS, render_page
from metering_cli.reporting.reasons import reason_of
from metering_cli.reporting.report import Report, milliseconds
from metering_cli.usage_format import HEADER as IMPORT_HEADER
from metering_handlers.contract.limits import MAX_QUANTITY
from tests.unit.metering_cli.metering_items import (
    DAY,
    LICENSE_ARN,
    MS_OF_A_DAY,
    FakeTables,
    Item,
    answered,
    billed,
    failed_with,
    pending,
    report_on,
)

NOW = datetime(2026, 11, 24, 3, 2, tzinfo=UTC)
NOW_MS = DAY + MS_OF_A_DAY + 182 * 60_000
SCRIPT = "<script>alert('x')</script>"
SEATS: AttributeValueTypeDef = {"M": {"dimension": {"S": "seats"}, "value": {"N": "2"}}}
MANY_SEATS: AttributeValueTypeDef = {"M": {"dimension": {"S": "seats"}, "value": {"S": "many"}}}
NO_NAME: AttributeValueTypeDef = {"M": {"value": {"N": "1.5"}}}
ITEMS = [
    billed("012345678901", DAY, seats=10, storage=20),
    answered("012345678901", DAY + 1, {"seats": "CustomerNotSubscribed"}, seats=1, storage=2**31)
    | {"request_id": {"S": "r1="}},
    failed_with("TimeoutError", "=A1", DAY + 2, seats=7),
    failed_with("TimeoutError", "=A1", DAY + 60_000, seats=8),
    billed("fine", NOW_MS // 1000, seats=3),
    pending("late", DAY, seats=9),
    failed_with("Unprocessed", "made by hand", "1795392000.5") | {"dimension_usage": {"L": [SEATS, SEATS]}},
    pending("made by hand", -5) | {"dimension_usage": {"L": [{"S": "odd"}, MANY_SEATS, NO_NAME]}},
    failed_with("ValidationException", "settled", DAY - 36 * MS_OF_A_DAY, seats=3),
    answered("settled", DAY, {"seats": "Unprocessed"}, seats=4),
    answered("settled", DAY + 1, {"seats": "DuplicateRecord"}, seats=0),
]
SENT_AGAIN = Failure("settled", str(DAY), "seats", 4, "Unprocessed", DAY).row_id
TOTALS_HEADER = [
    *("customer", "dimension", "billed_quantity", "billed_records", "pending_quantity", "pending_records"),
    *("not_billed_quantity", "not_billed_records"),
]
TOTALS: list[list[object]] = [
    ["012345678901", "seats", 10, 1, 0, 0, 1, 1],
    ["012345678901", "storage", 2147483668, 2, 0, 0, 0, 0],
    ["=A1", "seats", 0, 0, 0, 0, 15, 2],
    ["fine", "seats", 3, 1, 0, 0, 0, 0],
    ["late", "seats", 0, 0, 9, 1, 0, 0],
    ["made by hand", "seats", 0, 0, 0, 1, 4, 1],
    ["made by hand", None, 0, 0, 0, 1, 0, 0],
    ["settled", "seats", 0, 0, 0, 0, 7, 3],
]
FAILURES = [
    ("012345678901", 1, "open", "CustomerNotSubscribed", "2026-11-23T00:00:00.001Z", "1795392000001"),
    ("=A1", 7, "open", "TimeoutError", "2026-11-23T00:00:00.002Z", "1795392000002"),
    ("=A1", 8, "open", "TimeoutError", "2026-11-23T00:01:00.000Z", "1795392060000"),
    ("made by hand", 4, "open", "Unprocessed", "2026-11-23T00:00:00.500Z", "1795392000.5"),
    ("settled", 3, "too old to tell", "ValidationException", "2026-10-18T00:00:00.000Z", "1792281600000"),
    ("settled", 4, "sent again", "Unprocessed", "2026-11-23T00:00:00.000Z", "1795392000000"),
    ("settled", 0, "nothing to bill", "DuplicateRecord", "2026-11-23T00:00:00.001Z", "1795392000001"),
]
MESSAGES = """\
Not billed and open: 4 failures of 3 customers (CustomerNotSubscribed 1, TimeoutError 2, Unprocessed 1).
At risk: pending usage of 1 customer. Does the hourly job run, and does it keep up?
  late: 1 record pending, the oldest for 1 d 3 h
The create_timestamp of 1 record is not a time; made by hand.
"""
SUBTITLE = (
    "Table AWSMarketplaceMeteringRecords in us-east-1 · all of it · 11 records · read 2026-11-24 03:02 UTC"
)
TABLES = f"""\
{SUBTITLE}
Quantities by dimension
┏━━━━━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━┓
┃ Dimension ┃        Billed ┃ Pending ┃ Not billed ┃
┡━━━━━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━┩
│ seats     │            13 │       9 │         27 │
│ storage   │ 2,147,483,668 │       0 │          0 │
│ (no name) │             0 │       0 │          0 │
└───────────┴───────────────┴─────────┴────────────┘
Quantities by customer and dimension
┏━━━━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━┓
┃ Customer     ┃ Dimension ┃        Billed ┃ Pending ┃ Not billed ┃
┡━━━━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━┩
│ 012345678901 │ seats     │            10 │       0 │          1 │
│ 012345678901 │ storage   │ 2,147,483,668 │       0 │          0 │
│ =A1          │ seats     │             0 │       0 │         15 │
│ late         │ seats     │             0 │       9 │          0 │
│ made by hand │ seats     │             0 │       0 │          4 │
│ made by hand │ (no name) │             0 │       0 │          0 │
│ fine         │ seats     │             3 │       0 │          0 │
│ settled      │ seats     │             0 │       0 │          7 │
└──────────────┴───────────┴───────────────┴─────────┴────────────┘
"""
PAGE = f"""\
AWS Marketplace usage report
{SUBTITLE}
Not billed and open: 4 failures of 3 customers (CustomerNotSubscribed 1, TimeoutError 2, Unprocessed 1).
At risk: pending usage of 1 customer. Does the hourly job run, and does it keep up?
Quantities by dimension
In each dimension's own unit. Open: not billed, and not sent again yet.
Dimension Billed Pending Not billed
seats 13 9 27 20 open
storage 2,147,483,668 0 0
(no name) 0 0 0
Quantities by day
2026-10-18 to 2026-11-24 (UTC) Billed Pending Not billed
seats at most 43, on 2026-11-23
storage at most 2,147,483,668, on 2026-11-23
Customers to look at
Show only customers, dimensions or reasons with
Usage not billed and open, or at risk: 4 customers
Customer and dimension Billed Pending Not billed
012345678901
seats 10 0 1
1 open: CustomerNotSubscribed, 1 record of 2026-11-23 00:00
storage 2,147,483,668 0 0
=A1
seats 0 0 15
15 open: TimeoutError, 2 records of 2026-11-23 00:00 to 2026-11-23 00:01
late 1 record pending, the oldest for 1 d 3 h
seats 0 9 0
made by hand
seats 0 0 4
4 open: Unprocessed, 1 record of 2026-11-23 00:00
(no name) 0 0 0
Why usage was not billed
CustomerNotSubscribed: 1 open
DuplicateRecord: 1 nothing to bill
TimeoutError: 2 open
Unprocessed: 1 open, 1 sent again
ValidationException: 1 too old to tell
All other customers
2 customers with nothing open, overdue or at risk
Quantities
Customer and dimension Billed Pending Not billed
fine
seats 3 0 0
settled
seats 0 0 7
"""


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (command, options):
        monkeypatch.setattr(module, "datetime", SimpleNamespace(now=lambda _zone: NOW))


# --- each form ---


def every_kind() -> FakeTables:
    return FakeTables([ITEMS], [SENT_AGAIN])


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def read_workbook(path: Path) -> list[list[object]]:
    return [[cell.value for cell in row] for row in openpyxl.load_workbook(path).worksheets[0].iter_rows()]


def as_text(rows: list[list[object]]) -> list[list[str]]:
    """Return a spreadsheet's rows as CSV, where text that looks like a formula has an apostrophe."""
    return [["" if one is None else str(one).replace("=A1", "'=A1") for one in row] for row in rows]


def test_json_and_spreadsheets_have_the_same_rows(tmp_path: Path) -> None:
    for kind in ("csv", "xlsx"):
        files = ("--totals", tmp_path / f"totals.{kind}", "--failures", tmp_path / f"failures.{kind}")
        result = report_on(every_kind(), "--json", *files)
    printed = json.loads(result.stdout)
    words = [(word, what) for word in ("billed", "pending", "not_billed") for what in ("quantity", "records")]
    totals = [
        [one["customer"], one["dimension"], *(one[word][what] for word, what in words)]
        for one in printed["totals"]
    ]
    header, failures = list(printed["failures"][0]), [list(one.values()) for one in printed["failures"]]

    assert (result.exit_code, result.stderr) == (1, MESSAGES)
    assert totals == TOTALS
    shown = ("customer", "quantity", "state", "reason", "time", "create_timestamp")
    assert [tuple(one[name] for name in shown) for one in printed["failures"]] == FAILURES
    for one in printed["failures"]:
        assert (one["dimension"], one["request_id"]) == ("seats", "r1=" if one["quantity"] == 1 else None)
        assert (one["meaning"], one["to_do"]) == reason_of(one["reason"])[1:3]
        assert re.fullmatch(f"failed-1-{one['create_timestamp']}-[0-9a-f]{{32}}", one["id_to_send_again"])
    late = {"customer": "late", "risks": ["1 record pending, the oldest for 1 d 3 h"]}
    assert (printed["at_risk"], printed["maybe_one_buyer"]) == ([late], [])
    assert printed["oldest_pending"] == "2026-11-23T00:00:00.000Z"
    assert read_csv(tmp_path / "totals.csv") == [TOTALS_HEADER, *as_text(TOTALS)]
    assert read_csv(tmp_path / "failures.csv") == [header, *as_text(failures)]
    assert read_workbook(tmp_path / "totals.xlsx") == [TOTALS_HEADER, *TOTALS]
    assert read_workbook(tmp_path / "failures.xlsx") == [header, *failures]
    assert openpyxl.load_workbook(tmp_path / "failures.xlsx").worksheets[0]["A3"].data_type == "s"
    # metering import must refuse this file: it has what may have been billed, or sent again.
    assert not set(IMPORT_HEADER) & set(header)


def test_the_tables_have_quantities_and_customers_to_look_at_first() -> None:
    result = report_on(every_kind())

    quantities, not_billed = result.stdout.split("Not billed  ")
    assert [line.rstrip() for line in quantities.splitlines()] == TABLES.splitlines()
    rows = [
        [cell.strip() for cell in line.split("│")][1:5] for line in not_billed.splitlines() if "│" in line
    ]
    assert ["Unprocessed", "open", "1", "AWS took the call, but not this usage. Send it again."] in rows
    counts = Counter((reason, state) for _, _, state, reason, *_ in FAILURES)
    assert {(one[0], one[1]): int(one[2]) for one in rows if one[0]} == counts
    assert (result.exit_code, result.stderr) == (1, MESSAGES)


def test_the_page_has_the_same_and_folds_customers_without_findings(tmp_path: Path) -> None:
    report_on(every_kind(), "--html", tmp_path / "report.html")

    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    [main] = re.findall("<main>(.*)</main>", page.replace("<wbr>", "").replace("\n", " "))
    ended = re.sub(r"</(tr|p|h.|caption|figure|summary|d.)>", "\n", main)
    lines = [" ".join(html.unescape(re.sub("<[^>]+>", " ", line)).split()) for line in ended.splitlines()]
    assert [line for line in lines if line and "AWS on " not in line] == PAGE.splitlines()
    assert page.index("<details>") < page.index("fine</th>")
    assert 'class="metered" d="M348.6 72.0h7.7v-15.8h-7.7zM358.3 72.0h7.7v-4.7h-7.7z"' in page
    assert 'class="pending" d="M348.6 56.2h7.7v-14.2h-7.7z"' in page
    assert 'class="failed" d="M0.0 72.0h7.7v-4.7h-7.7zM348.6 42.0h7.7v-38.0h-7.7z"' in page


def test_names_can_steer_neither_the_terminal_nor_the_page(tmp_path: Path) -> None:
    odd, shown = f"[red]\x1b]0;title\x07{SCRIPT}", rf"[red]\x1b]0;title\x07{SCRIPT}"
    waiting = [pending(customer, DAY, m=7) for customer in (odd, LICENSE_ARN)]
    items = [failed_with(odd, odd, DAY, **{odd: 1}), *waiting]

    files = ("--html", tmp_path / "report.html", "--totals", tmp_path / "totals.xlsx")
    result = report_on(items, "--customer", odd, *files, "--send-again", tmp_path / "failed.csv")

    assert read_workbook(tmp_path / "totals.xlsx")[1][0] == shown
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search("<script>alert|src=|@import|\x1b", page + result.output.replace(SCRIPT, ""))
    texts = (result.stdout, result.stderr, html.unescape(page))
    assert [text.count(shown) for text in texts] == [6, 7, 11]
    assert "default-src 'none'" in page


def test_names_outside_the_code_page_are_escaped() -> None:
    """Windows redirects standard output in a code page."""
    assert r"\u5229\u7528" in report_on([billed("c", DAY, 利用=1)], charset="cp1252").stdout


def test_the_page_of_5000_customers_is_below_1_mb() -> None:
    """Every second customer has failures; what has no room is said to be in the file."""
    dimensions = {f"dimension_{number}": 2_000_000_000 for number in range(4)}
    whole = Report()
    for number in range(2_500):
        name = f"arn:aws:license-manager::123456789012:license/lic-{number:032}"
        failure = failed_with("TimeoutError", f"{name}0", DAY + number, **dimensions)
        whole.add([failure, billed(f"{name}1", DAY + number, **dimensions)])

    findings = Findings.of(whole, NOW, timedelta(hours=3))
    page = render_page(whole, findings, "", NOW)

    shown = page.count('<tbody class="customer">')
    # A failure takes a row more for each dimension.
    assert shown == MAX_ROWS // 9
    assert len(page.encode()) < 1_000_000
    assert f"{5_000 - shown:,} further customers are not on this page" in page
    assert "… and 19,800 further rows: --totals FILE writes all of them." in tables(whole, findings, "")


def test_an_old_failure_is_open_only_if_ids_are_known_as_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the API knew ids for 35 days only, a row may have gone: today's setting says nothing."""
    monkeypatch.chdir(tmp_path)
    Path("cdk.context.json").write_text('{"params": {"transaction_id_days": 400}}')

    printed = [
        json.loads(report_on(every_kind(), "--json", *told).stdout) for told in ([], ["--days-known", 90])
    ]

    states = [one["failures"][4]["state"] for one in printed]
    assert states == ["too old to tell", "open"]


# --- the range ---

THE_DAY = "from 2026-11-23 to 2026-11-23"


@pytest.mark.parametrize(
    ("arguments", "words", "quantity"),
    [
        ([], "all of it", "1,111"),
        (["--from", "2026-11-23", "--to", "2026-11-23"], THE_DAY, "110"),
        (["--from", "yesterday", "--to", "yesterday"], THE_DAY, "110"),
        (["--day", "2026-11-23"], THE_DAY, "110"),
        (["--day", "yesterday"], THE_DAY, "110"),
        (["--to", "2026-11-23T00:00:00Z"], "to 2026-11-23T00:00:00.000Z", "11"),
        (["--to", DAY - 1], "to 2026-11-22", "1"),
        (["--from", DAY], "from 2026-11-23", "1,110"),
        (["--from", DAY + 1], "from 2026-11-23T00:00:00.001Z", "1,100"),
        (["--month", "2026-11"], "from 2026-11-01 to 2026-11-30", "1,111"),
        (["--month", "2028-02"], "from 2028-02-01 to 2028-02-29", None),
    ],
)
def test_a_range_includes_both_ends_and_a_date_its_day(
    arguments: list[object], words: str, quantity: str | None
) -> None:
    """Others have written seconds and nanoseconds."""
    times = (DAY - 1, DAY // 1000, DAY + MS_OF_A_DAY - 1, (DAY + MS_OF_A_DAY) * 10**6)
    items = [billed("a", created, m=10**number) for number, created in enumerate(times)]

    result = report_on(items, *arguments)

    assert f" us-east-1 · {words} · {quantity.count('1') if quantity else 0} record" in result.stdout
    assert (f" {quantity} │       0 │" in result.stdout) == bool(quantity)
    assert "What it means" not in result.stdout
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("created", "expected"),
    [("0", 0), ("1795392000.5", DAY + 500), (str(DAY), DAY), (f"{DAY}999", DAY), ("1" + "0" * 30, None)],
)
def test_a_time_is_read_in_the_unit_it_was_written_in(created: str, expected: int | None) -> None:
    assert milliseconds(Decimal(created)) == expected


def test_a_record_of_no_time_is_left_out_of_a_range() -> None:
    result = report_on([billed("a", -5, m=1)], "--json", "--day", "2026-11-23")

    assert not any(json.loads(result.stdout).values())
    assert result.stderr == (
        "The create_timestamp of 1 record is not a time; made by hand and left out of this range.\n"
    )


# --- pending usage at risk ---


def records(number: int, quantity: int = 1, dimensions: int = 1) -> list[Item]:
    usage = {f"d{one}": quantity for one in range(dimensions)}
    return [pending("a", NOW_MS + one, **usage) for one in range(number)]


def minutes_ago(minutes: int) -> list[Item]:
    return [*records(1), pending("a", NOW_MS - minutes * 60_000, m=1), pending("a", NOW_MS + 1, m=1)]


@pytest.mark.parametrize(
    ("items", "arguments", "risk"),
    [
        (records(1, dimensions=25), [], None),
        (records(1, dimensions=26), [], "26 dimensions wait together; AWS takes 25 in a call"),
        (records(1, MAX_QUANTITY), [], None),
        (records(2, MAX_QUANTITY // 2 + 1), [], "2,147,483,648 of d0 wait together; AWS takes 2,147,483,647"),
        (records(500), [], None),
        (records(501), [], "501 records wait together; above 500, the hourly job may be cut off"),
        (minutes_ago(180), [], None),
        (minutes_ago(181), [], "3 records pending, the oldest for 3 h 1 min"),
        (minutes_ago(181), ["--day", "2026-11-20"], "3 records pending, the oldest for 3 h 1 min"),
        (minutes_ago(181), ["--overdue", "4h"], None),
        (minutes_ago(45), ["--overdue", "44m"], "3 records pending, the oldest for 45 min"),
        (minutes_ago(60 * 24 + 1), ["--overdue", "1d"], "3 records pending, the oldest for 1 d 0 h"),
        (minutes_ago(-60), [], None),
    ],
)
def test_what_the_hourly_job_may_not_bill_once_is_at_risk_in_any_range(
    items: list[Item], arguments: list[str], risk: str | None
) -> None:
    result = report_on([*items, pending("b", NOW_MS, m=1)], "--json", *arguments)

    found = [(one["customer"], *one["risks"]) for one in json.loads(result.stdout)["at_risk"]]
    assert result.exit_code == len(found) == (risk is not None)
    assert not risk or found[0][1].startswith(risk)
    assert not risk or f"\n  a: {found[0][1]}\n" in result.stderr


@pytest.mark.parametrize(
    ("waiting", "found"),
    [
        ({LICENSE_ARN: 1, "123456789012": 2, "c": 3}, "123456789012"),
        ({LICENSE_ARN: 1, "210987654321": 2, "c": 3}, None),
        ({LICENSE_ARN: 7, "ExWoL3vTir2": 7, "c": 3}, "ExWoL3vTir2"),
        ({LICENSE_ARN: 7, "ExWoL3vTir2": 7, "c": 7}, None),
        ({LICENSE_ARN: 0, "ExWoL3vTir2": 0, "c": 7}, None),
        ({"a": 7, "b": 7, "c": 3}, None),
    ],
)
def test_identifiers_of_what_may_be_one_buyer_are_named(waiting: dict[str, int], found: str | None) -> None:
    items = [pending(customer, NOW_MS, m=quantity) for customer, quantity in waiting.items()]

    result = report_on(items, "--json")

    pair = {"license_arn": LICENSE_ARN, "other": found}
    assert json.loads(result.stdout)["maybe_one_buyer"] == ([pair] if found else [])
    assert (f"{LICENSE_ARN} and {found} may be one buyer" in result.stderr) == bool(found)
    assert result.exit_code == 0


def test_a_name_with_a_carriage_return_stays_in_its_row() -> None:
    rows = [["a\rb", "1"], ["=c", "2"]]

    assert [*csv.reader(io.StringIO(csv_file(rows).decode(), newline=""))] == rows
