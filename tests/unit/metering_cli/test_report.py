"""What the report says about a table: sums to the unit, reasons, waiting records, and its exit code."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from metering_cli.importing.usage_file import read_usage_file
from metering_cli.reporting import command
from metering_cli.reporting.failures import FailedUsage, to_resend, write_usage_file
from metering_cli.reporting.report import Report, milliseconds
from metering_handlers.contract.limits import MAX_QUANTITY
from tests.environment import METERING_TABLE_NAME
from tests.unit.metering_cli.conftest import PROJECT
from tests.unit.metering_cli.metering_items import EXCEPTION, answered, billed, failed_with, pending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.conftest import StoredItems

DAY = 1795392000000
"""2026-11-23T00:00:00Z."""
MS_OF_A_DAY = 86_400_000
WHOLE_DAY = ("--from", "2026-11-23", "--to", "2026-11-23T23:59:59.999Z")
LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"


@pytest.fixture
def run(dynamodb: DynamoDBClient) -> Callable[..., Result]:  # noqa: ARG001 - the command needs the table
    def run(*arguments: str) -> Result:
        place = ("--table", METERING_TABLE_NAME, "--region", "us-east-1")
        return CliRunner().invoke(command.report_command, [*place, *arguments], catch_exceptions=False)

    return run


@pytest.fixture
def every_outcome(stored: StoredItems) -> None:
    stored.put(**billed("a", DAY, m=10, n=20))
    stored.put(**answered("a", DAY + 1, {"n": "CustomerNotSubscribed"}, m=1, n=2))
    stored.put(**answered("a", DAY + 2, {"n": "Unprocessed"}, m=3, n=4))
    stored.put(**answered("b", DAY + 3, {"m": "DuplicateRecord"}, m=5))
    stored.put(**failed_with(EXCEPTION, LICENSE_ARN, DAY + 4, m=6, n=7))
    stored.put(**failed_with("TimeoutError", LICENSE_ARN, DAY + 5, m=8))
    stored.put(**pending("b", DAY + 6, m=9))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def sums(records: int, quantity: int) -> dict[str, int]:
    return {"records": records, "quantity": quantity}


def total(
    customer: str,
    dimension: str,
    waiting: tuple[int, int] = (0, 0),
    metered: tuple[int, int] = (0, 0),
    failed: tuple[int, int] = (0, 0),
) -> dict[str, object]:
    return {
        "customerIdentifier": customer,
        "dimension": dimension,
        "pending": sums(*waiting),
        "metered": sums(*metered),
        "failed": sums(*failed),
    }


def printed(result: Result) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


@pytest.mark.usefixtures("every_outcome")
def test_each_dimension_is_added_up_by_what_became_of_it(run: Callable[..., Result]) -> None:
    result = run("--json")

    report = printed(result)
    assert report["totals"] == [
        total("a", "m", metered=(3, 14)),
        total("a", "n", metered=(1, 20), failed=(2, 6)),
        total(LICENSE_ARN, "m", failed=(2, 14)),
        total(LICENSE_ARN, "n", failed=(1, 7)),
        total("b", "m", waiting=(1, 9), failed=(1, 5)),
    ]
    assert report["reasons"] == {
        "CustomerNotSubscribed": 1,
        "DuplicateRecord": 1,
        EXCEPTION: 2,
        "TimeoutError": 1,
        "Unprocessed": 1,
    }
    assert set(report) == {"totals", "reasons", "oldest_pending_age_seconds"}
    assert result.exit_code == 1


def test_sums_are_exact_beyond_what_a_double_holds(run: Callable[..., Result], stored: StoredItems) -> None:
    stored.put(**billed("a", DAY, m=2**53 + 1))
    stored.put(**billed("a", DAY + 1, m=2**53))

    assert printed(run("--json"))["totals"] == [total("a", "m", metered=(2, 2**54 + 1))]


def test_records_made_by_hand_are_added_up_as_well_as_they_can_be(
    run: Callable[..., Result], stored: StoredItems
) -> None:
    stored.put(customerIdentifier={"S": "a"}, create_timestamp={"N": "1795392000.5"})
    stored.put(**pending("a", "1795392001", m="1.5"))
    stored.put(**pending("a", DAY, m="1.5"))
    odd = pending("a", DAY + 1, m=1)
    odd["dimension_usage"] = {"L": [{"S": "odd"}, {"M": {"value": {"S": "many"}, "dimension": {"S": "m"}}}]}
    stored.put(**odd)

    result = run("--json", "--overdue", "99999d")

    totals = {one["dimension"]: one["pending"] for one in printed(result)["totals"]}
    # What is no whole number can never be billed; an entry of no dimension has no name.
    assert totals["m"] == sums(3, 0)
    assert result.exit_code == 0


def test_an_empty_table_is_all_billed(run: Callable[..., Result]) -> None:
    result = run("--json")

    assert printed(result) == {"totals": [], "reasons": {}, "oldest_pending_age_seconds": None}
    assert (result.exit_code, result.stderr) == (0, "")


# --- which records ---


def test_the_range_holds_its_two_ends(run: Callable[..., Result], stored: StoredItems) -> None:
    for number, created in enumerate((DAY - 1, DAY, DAY + MS_OF_A_DAY - 1, DAY + MS_OF_A_DAY)):
        stored.put(**billed("a", created, m=10**number))

    assert printed(run("--json", *WHOLE_DAY))["totals"] == [total("a", "m", metered=(2, 110))]
    assert printed(run("--json", "--to", str(DAY)))["totals"] == [total("a", "m", metered=(2, 11))]


def test_times_in_seconds_microseconds_and_nanoseconds_are_found_in_the_range(
    run: Callable[..., Result], stored: StoredItems
) -> None:
    for created in (DAY, DAY // 1000, DAY * 1000, DAY * 10**6):
        stored.put(**billed("a", created, m=1))

    assert printed(run("--json", *WHOLE_DAY))["totals"] == [total("a", "m", metered=(4, 4))]


@pytest.mark.parametrize(
    ("created", "expected"),
    [("0", 0), ("1795392000.5", DAY + 500), (str(DAY), DAY), ("1" + "0" * 30, None), ("-1", None)],
)
def test_a_time_is_read_in_the_unit_it_was_written_in(created: str, expected: int | None) -> None:
    report = Report()
    report.add([billed("a", created, m=1)])

    assert report.records == 1
    assert report.without_time == (expected is None)
    (day,) = report.days or [None]
    assert (day is None) == (expected is None)
    assert milliseconds(Decimal(created)) == expected


def test_a_record_of_no_time_is_left_out_of_a_range_and_said_to_be(
    run: Callable[..., Result], stored: StoredItems
) -> None:
    stored.put(**billed("a", -5, m=1))

    result = run("--json", *WHOLE_DAY)

    assert printed(result)["totals"] == []
    assert "The create_timestamp of 1 record is not a time" in result.stderr


@pytest.mark.usefixtures("every_outcome")
def test_one_customers_report_is_the_part_of_the_whole_about_it(run: Callable[..., Result]) -> None:
    whole = printed(run("--json"))["totals"]

    for customer in ("a", "b", LICENSE_ARN):
        part = printed(run("--json", "--customer", customer))["totals"]
        assert part == [one for one in whole if one["customerIdentifier"] == customer]


@pytest.mark.usefixtures("every_outcome")
def test_a_status_shows_only_its_usage_and_the_exit_code_is_about_everything(
    run: Callable[..., Result],
) -> None:
    failed = run("--json", "--status", "failed")
    metered = run("--json", "--status", "metered")
    waiting = run("--json", "--status", "pending")

    assert printed(metered)["totals"] == [
        total("a", "m", metered=(3, 14)),
        total("a", "n", metered=(1, 20)),
    ]
    assert printed(metered)["reasons"] == {}
    assert printed(metered)["oldest_pending_age_seconds"] is None
    assert printed(waiting)["totals"] == [total("b", "m", waiting=(1, 9))]
    assert printed(failed)["totals"][0] == total("a", "n", failed=(2, 6))
    assert [result.exit_code for result in (failed, metered, waiting)] == [1, 1, 1]


# --- the exit code ---


@pytest.mark.parametrize(
    ("minutes", "arguments", "exit_code"),
    [
        (179, [], 0),
        (181, [], 1),
        (181, ["--overdue", "4h"], 0),
        (61, ["--overdue", "60m"], 1),
        (60 * 25, ["--overdue", "1d"], 1),
        (-60, [], 0),
    ],
)
def test_usage_may_wait_for_so_long(
    run: Callable[..., Result], stored: StoredItems, minutes: int, arguments: list[str], exit_code: int
) -> None:
    stored.put(**pending("a", now_ms() - minutes * 60_000, m=1))
    stored.put(**pending("b", now_ms(), m=1))

    result = run("--json", *arguments)

    assert result.exit_code == exit_code
    age = printed(result)["oldest_pending_age_seconds"]
    assert max(minutes, 0) * 60 <= age < max(minutes, 0) * 60 + 60
    assert ("The oldest of 2 pending records waits" in result.stderr) == bool(exit_code)


def test_usage_not_billed_is_exit_code_1_even_if_the_jobs_flag_says_billed(
    run: Callable[..., Result], stored: StoredItems
) -> None:
    item = answered("a", DAY, {"m": "Unprocessed"}, m=1)
    assert item["metering_failed"] == {"BOOL": False}
    stored.put(**item)

    result = run()

    assert result.exit_code == 1
    assert "Not billed: 1 usage entry (Unprocessed 1)." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "yesterday"], "ISO 8601"),
        (["--from", "2026-11-23", "--to", "2026-11-22"], "--to is before --from"),
        (["--overdue", "3"], "such as 90m"),
        (["--customer", ""], "--customer is empty"),
        (["--reason", "DuplicateRecord"], "--reason goes with --csv"),
        (["--reason", "Unprocessed"], "usage that failed for Unprocessed is in the file without this option"),
        (["--read-capacity", "0"], "--read-capacity"),
        (["--status", "billed"], "--status"),
        (["--csv", "/no-such-folder/report.csv"], "there is no folder /no-such-folder"),
        (["--html", "/no-such-folder/report.html"], "there is no folder /no-such-folder"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    run: Callable[..., Result], arguments: list[str], said: str
) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert said in result.stderr


def test_without_options_table_and_region_are_those_of_the_app(
    dynamodb: DynamoDBClient,  # noqa: ARG001 - the command needs the table
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = tmp_path / "cdk.context.json"
    monkeypatch.setattr(command, "_CONTEXT_FILE", context)

    missing = CliRunner().invoke(command.report_command, ["--json"])
    context.write_text('{"params": {"aws_region_name": "us-east-1", "metering_table_name": "elsewhere"}}')
    wrong = CliRunner().invoke(command.report_command, ["--json"])
    given = CliRunner().invoke(command.report_command, ["--json", "--table", METERING_TABLE_NAME])

    assert missing.exit_code == 2
    assert "--table and --region" in missing.stderr
    assert wrong.exit_code == 3
    assert "The region us-east-1 has no table elsewhere" in wrong.stderr
    assert (given.exit_code, wrong.stdout) == (0, "")


def test_interrupted_there_is_no_report_and_no_file(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Report, "add", interrupt)

    result = run("--json", "--html", str(tmp_path / "report.html"), "--csv", str(tmp_path / "report.csv"))

    assert (result.exit_code, result.stdout) == (130, "")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_program_though_dynamodb_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        program = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "metering_cli", "report", "--html", str(tmp_path / "report.html")],
            cwd=PROJECT,
            env=os.environ | {"AWS_ENDPOINT_URL_DYNAMODB": endpoint},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with server.accept()[0]:
            program.send_signal(signal.SIGINT)
            stdout, stderr = program.communicate()

    assert (program.returncode, stdout, stderr) == (130, b"", b"Interrupted. There is no report.\n")
    assert list(tmp_path.iterdir()) == []


def test_without_one_file_there_is_no_report_and_no_other_file(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    too_long = "x" * 300

    result = run("--json", "--csv", str(tmp_path / "report.csv"), "--html", str(tmp_path / too_long))

    assert (result.exit_code, result.stdout) == (3, "")
    assert too_long in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_without_standard_output_there_is_no_file(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def echo(_text: str, *, err: bool = False, **_: object) -> None:
        if not err:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("click.echo", echo)

    assert run(*arguments, "--html", str(tmp_path / "report.html")).exit_code == 3
    assert list(tmp_path.iterdir()) == []


# --- for people and spreadsheets ---


@pytest.mark.usefixtures("every_outcome")
def test_the_table_names_customers_sums_and_reasons(run: Callable[..., Result]) -> None:
    result = run()

    assert LICENSE_ARN in result.stdout
    assert "CustomerNotSubscribed" in result.stdout
    assert (
        "Usage entries: billed 4, pending 1, not billed 6; the oldest pending record waits" in result.stdout
    )


def test_names_cannot_steer_the_terminal(run: Callable[..., Result], stored: StoredItems) -> None:
    stored.put(**failed_with("\x1b[2Jodd", "a\x1b]0;title\x07", DAY, **{"[red]m\x1b[31m": 1}))

    result = run()

    assert "\x1b" not in result.stdout + result.stderr
    assert "[red]m\\x1b[31m" in result.stdout


@pytest.mark.usefixtures("every_outcome")
def test_the_csv_file_has_the_totals(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "totals.csv"
    run("--csv", str(path))

    header, *rows = csv.reader(path.read_text().splitlines())
    assert header[:4] == ["customerIdentifier", "dimension", "pending_records", "pending_quantity"]
    assert rows[1] == ["a", "n", "0", "0", "1", "20", "2", "6"]
    assert len(rows) == 5


@pytest.mark.usefixtures("every_outcome")
def test_the_page_escapes_what_it_shows_and_loads_nothing(
    run: Callable[..., Result], stored: StoredItems, tmp_path: Path
) -> None:
    script = "<script>alert('x')</script>"
    stored.put(**failed_with(script, script, DAY, **{script: 1}))
    path = tmp_path / "report.html"

    run("--html", str(path))

    page = path.read_text()
    assert script not in page
    assert page.count("&lt;script&gt;") >= 3
    assert "http://" not in page
    assert "https://" not in page
    assert "2026-11-23: 4 billed" in page


@pytest.mark.usefixtures("every_outcome")
@pytest.mark.parametrize(
    ("status", "other_labels"),
    [
        ("pending", ["Billed", "Not billed"]),
        ("metered", ["Pending", "Not billed"]),
        ("failed", ["Billed", "Pending"]),
    ],
)
def test_the_page_and_the_table_of_one_status_say_nothing_of_the_others(
    run: Callable[..., Result], tmp_path: Path, status: str, other_labels: list[str]
) -> None:
    path = tmp_path / "report.html"

    printed_table = run("--status", status, "--html", str(path)).stdout

    page = path.read_text()
    for label in other_labels:
        assert label not in printed_table
        assert f"{label}<b>" not in page
        assert f"{label}: entries" not in page
    assert ("<h2>Not billed</h2>" in page) == (status == "failed")


# --- what is sent again ---

RESENT = ("--status", "failed", *WHOLE_DAY)


@pytest.mark.usefixtures("every_outcome")
def test_the_file_to_import_is_exactly_what_aws_has_certainly_not_billed(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    path = tmp_path / "failed.csv"

    result = run("--csv", str(path), *RESENT)

    assert path.read_text() == (
        "customerIdentifier,dimension_name,dimension_value\n"
        f"a,n,2\na,n,4\n{LICENSE_ARN},m,6\n{LICENSE_ARN},n,7\n"
    )
    assert "NOT in failed.csv, because AWS may have billed them: 2 usage entries." in result.stderr
    assert f"b {DAY + 3} m 5 (DuplicateRecord)" in result.stderr
    assert f"{LICENSE_ARN} {DAY + 5} m 8 (TimeoutError)" in result.stderr


def test_usage_without_an_answer_is_not_billed_and_not_sent_again(
    run: Callable[..., Result], stored: StoredItems, tmp_path: Path
) -> None:
    item = billed("a", DAY, m=1)
    del item["metering_response"]
    stored.put(**item)
    path = tmp_path / "failed.csv"

    result = run("--csv", str(path), *RESENT)

    assert result.exit_code == 1
    assert "Not billed: 1 usage entry (Unknown 1)." in result.stderr
    assert path.read_text() == "customerIdentifier,dimension_name,dimension_value\n"
    assert f"a {DAY} m 1 (Unknown)" in result.stderr


@pytest.mark.usefixtures("every_outcome")
def test_usage_of_doubtful_reasons_is_written_to_files_of_its_own(
    run: Callable[..., Result], dynamodb: DynamoDBClient, tmp_path: Path
) -> None:
    key = {"customerIdentifier": {"S": "b"}, "create_timestamp": {"N": str(DAY + 6)}}
    dynamodb.delete_item(TableName=METERING_TABLE_NAME, Key=key)
    path = tmp_path / "failed.csv"
    certain, duplicates, both = (
        (run("--csv", str(path), *options, *RESENT), path.read_text().splitlines()[1:])
        for options in (
            [],
            ["--reason", "DuplicateRecord"],
            ["--reason", "DuplicateRecord", "--reason", "TimeoutError"],
        )
    )

    assert len(certain[1]) == 4
    assert duplicates[1] == ["b,m,5"]
    assert both[1] == [f"{LICENSE_ARN},m,8", "b,m,5"]
    # Files of the same lines must not be taken for a repeat.
    ids = {result.stderr.rpartition("--import-id ")[2] for result, _ in (certain, duplicates, both)}
    assert len(ids) == 3
    assert "NOT in" not in duplicates[0].stderr


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (answered("a b", DAY, {"m": "Unprocessed"}, m=1), "printable ASCII"),
        (answered("1234", DAY, {"m": "Unprocessed"}, m=1), "12 digits"),
        (answered("a", DAY, {"m": "Unprocessed"}, m=MAX_QUANTITY + 1), "less than or equal"),
        (answered("a", DAY, {" m": "Unprocessed"}, **{" m": 1}), "white space"),
        (failed_with(EXCEPTION, "a", DAY, m="1.5"), "valid integer"),
        (failed_with(EXCEPTION, "a", DAY, m="-1"), "greater than or equal"),
    ],
)
def test_what_the_importer_would_refuse_or_change_is_said_and_not_dropped(
    run: Callable[..., Result], stored: StoredItems, tmp_path: Path, item: dict[str, Any], why: str
) -> None:
    stored.put(**item)
    stored.put(**answered("fine", DAY, {"m": "Unprocessed"}, m=1))
    path = tmp_path / "failed.csv"

    result = run("--csv", str(path), *RESENT)

    assert path.read_text().splitlines()[1:] == ["fine,m,1"]
    assert "NOT in failed.csv, because the API does not take them: 1 usage entry" in result.stderr
    assert why in result.stderr
    assert read_usage_file(path).lines == 1


FAILED_USAGE = st.builds(
    FailedUsage,
    customer=st.sampled_from(["a", "a,b", '"q"', LICENSE_ARN, "=1+1", "999999999999", "a\\b;c", "10", "a b"]),
    create_timestamp=st.integers(0, 3),
    position=st.integers(0, 30),
    dimension=st.none() | st.text(min_size=0, max_size=5) | st.sampled_from(["m", "n", "a;b", "a\tb"]),
    value=st.integers(-1, MAX_QUANTITY // 25) | st.sampled_from([MAX_QUANTITY + 1, 1.5, None, "1"]),
    reason=st.sampled_from(["Unprocessed", "DuplicateRecord", "CustomerNotSubscribed", "ECONNRESET"]),
)


# AWS takes 25 dimensions of a customer an hour.
@given(failed=st.lists(FAILED_USAGE, max_size=25))
def test_the_importer_reads_back_every_line_and_what_is_left_out_is_known(
    failed: list[FailedUsage], tmp_path_factory: pytest.TempPathFactory
) -> None:
    resend = to_resend(failed, ())
    file = io.StringIO(newline="")
    write_usage_file(resend.lines, file)
    path = tmp_path_factory.mktemp("resend") / "failed.csv"
    path.write_text(file.getvalue(), encoding="utf-8", newline="")

    read_back = {
        (buyer["customerIdentifier"], dimension["dimension_name"]): dimension["dimension_value"]
        for part in read_usage_file(path).parts
        for buyer in json.loads(part.body)["buyers"]
        for dimension in buyer["metered_dimensions"]
    }

    written: dict[tuple[str, str | None], int] = {}
    for one in resend.lines:
        assert isinstance(one.value, int)
        written[one.customer, one.dimension] = written.get((one.customer, one.dimension), 0) + one.value
    assert read_back == written
    everything = [*resend.lines, *resend.doubtful, *(usage for usage, _ in resend.unsendable)]
    assert sorted(map(repr, everything)) == sorted(map(repr, failed))


def test_failures_of_one_reason_are_added_up_with_their_quantities_and_times() -> None:
    report = Report()

    report.add(
        [
            failed_with("TimeoutError", "a", DAY + created, m=quantity)
            for created, quantity in ((5, 7), (1, 8))
        ]
    )

    (failures,) = report.failures.values()
    assert (failures.records, failures.quantity) == (2, 15)
    assert (failures.oldest, failures.newest) == (DAY + 1, DAY + 5)


def test_the_same_failures_make_the_same_file_in_whatever_order_they_are_read() -> None:
    failed = [FailedUsage("a", Decimal(DAY + number), 0, "m", number, "Unprocessed") for number in range(10)]

    assert to_resend(reversed(failed), ()).lines == to_resend(failed, ()).lines == failed


@pytest.mark.usefixtures("every_outcome")
def test_while_usage_of_the_range_may_still_fail_the_command_warns(
    run: Callable[..., Result], tmp_path: Path, dynamodb: DynamoDBClient
) -> None:
    path = str(tmp_path / "failed.csv")

    no_end = run("--csv", path, "--status", "failed", "--from", "2026-11-23")
    in_future = run("--csv", path, "--status", "failed", "--to", str(now_ms() + 10**9))
    just_ended = run("--csv", path, "--status", "failed", "--to", str(now_ms() - 1000))
    waiting = run("--csv", path, *RESENT)
    dynamodb.delete_item(
        TableName=METERING_TABLE_NAME,
        Key={"customerIdentifier": {"S": "b"}, "create_timestamp": {"N": str(DAY + 6)}},
    )
    closed = run("--csv", path, *RESENT)

    assert "WARNING: the range is still open, because it has no end" in no_end.stderr
    assert "it ends less than 5 min ago or in the future" in in_future.stderr
    assert "it ends less than 5 min ago" in just_ended.stderr
    assert "because 1 record in it wait" in waiting.stderr
    assert "WARNING" not in closed.stderr
    assert "--import-id failed-20261123T0000-20261123T2359" in closed.stderr


@pytest.mark.usefixtures("every_outcome")
def test_a_file_that_was_imported_is_not_overwritten_by_something_else(
    run: Callable[..., Result], stored: StoredItems, tmp_path: Path
) -> None:
    path = tmp_path / "failed.csv"
    run("--csv", str(path), *RESENT)
    path.with_name("failed.csv.imported.jsonl").touch()
    imported = path.read_text()

    again = run("--csv", str(path), *RESENT)
    stored.put(**answered("late", DAY, {"m": "Unprocessed"}, m=1))
    more = run("--csv", str(path), *RESENT)

    assert again.exit_code == 1
    assert more.exit_code == 3
    assert "failed.csv was imported" in more.stderr
    assert path.read_text() == imported
