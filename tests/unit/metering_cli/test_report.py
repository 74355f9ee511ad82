"""What the report says about a table: sums to the unit, its range, usage at risk, and its exit code."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge
from botocore.config import Config
from click.testing import CliRunner, Result
from mypy_boto3_dynamodb import DynamoDBClient

from infra.config import Config as AppConfig
from metering_cli.reporting import command, options
from metering_cli.reporting.failures import FEWEST_DAYS_KNOWN
from metering_cli.reporting.report import Report, milliseconds
from metering_handlers.contract.limits import MAX_QUANTITY
from tests.environment import IDEMPOTENCY_TABLE_NAME, METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.metering_cli.metering_items import EXCEPTION, answered, billed, failed_with, pending

Run = Callable[..., Result]
Answer = tuple[int, dict[str, str], str]
"""Status, headers and body."""

DAY = 1795392000000
"""2026-11-23T00:00:00Z."""
MS_OF_A_DAY = 86_400_000
LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"


@pytest.fixture
def run(dynamodb: DynamoDBClient) -> Run:  # noqa: ARG001 - the command needs the tables
    def run(*arguments: str) -> Result:
        tables = ("--table", METERING_TABLE_NAME, "--idempotency-table", IDEMPOTENCY_TABLE_NAME)
        place = (*tables, "--region", "us-east-1")
        return CliRunner().invoke(command.report_command, [*place, *arguments], catch_exceptions=False)

    return run


@pytest.fixture
def every_outcome(stored: StoredItems) -> None:
    yesterday = now_ms() - MS_OF_A_DAY
    stored.put(**billed("a", yesterday, m=10, n=20))
    stored.put(**answered("a", yesterday + 1, {"n": "CustomerNotSubscribed"}, m=1, n=2))
    stored.put(**answered("a", yesterday + 2, {"n": "Unprocessed"}, m=3, n=4))
    stored.put(**answered("b", yesterday + 3, {"m": "DuplicateRecord"}, m=5))
    stored.put(**failed_with(EXCEPTION, LICENSE_ARN, yesterday + 4, m=6, n=7))
    stored.put(**failed_with("TimeoutError", LICENSE_ARN, yesterday + 5, m=8))
    stored.put(**pending("b", yesterday + 6, m=9))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


NONE = (0, 0)


def totals_of(result: Result) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Return (quantity, records) of what is billed, pending and not billed, by customer and dimension."""
    return {
        (one["customer"], one["dimension"]): [
            (one[word]["quantity"], one[word]["records"]) for word in ("billed", "pending", "not_billed")
        ]
        for one in printed(result)["totals"]
    }


def printed(result: Result) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


@pytest.mark.usefixtures("every_outcome")
def test_each_dimension_is_added_up_by_its_outcome(run: Run) -> None:
    result = run("--json")

    assert totals_of(result) == {
        ("a", "m"): [(14, 3), NONE, NONE],
        ("a", "n"): [(20, 1), NONE, (6, 2)],
        (LICENSE_ARN, "m"): [NONE, NONE, (14, 2)],
        (LICENSE_ARN, "n"): [NONE, NONE, (7, 1)],
        ("b", "m"): [NONE, (9, 1), (5, 1)],
    }
    failures = [
        (one["customer"], one["dimension"], one["quantity"], one["reason"])
        for one in printed(result)["failures"]
    ]
    assert sorted(failures) == [
        ("a", "n", 2, "CustomerNotSubscribed"),
        ("a", "n", 4, "Unprocessed"),
        (LICENSE_ARN, "m", 6, EXCEPTION),
        (LICENSE_ARN, "m", 8, "TimeoutError"),
        (LICENSE_ARN, "n", 7, EXCEPTION),
        ("b", "m", 5, "DuplicateRecord"),
    ]
    assert {one["state"] for one in printed(result)["failures"]} == {"open"}
    assert result.exit_code == 1
    assert "Not billed and open: 6 failures of 3 customers (CustomerNotSubscribed 1, " in result.stderr


@pytest.mark.usefixtures("every_outcome")
def test_one_customers_report_is_its_part_of_the_whole(run: Run) -> None:
    whole = totals_of(run("--json"))

    part = totals_of(run("--json", "--customer", LICENSE_ARN))

    assert part == {key: whole[key] for key in whole if key[0] == LICENSE_ARN}


def test_records_made_by_hand_are_added_up_as_far_as_possible(run: Run, stored: StoredItems) -> None:
    """What is no whole number can never be billed; usage of no dimension has no name."""
    stored.put(customerIdentifier={"S": "a"}, create_timestamp={"N": "1795392000.5"})
    stored.put(**pending("a", "1795392001", m="1.5"))
    odd = pending("a", DAY + 1, m=1)
    odd["dimension_usage"] = {"L": [{"S": "odd"}, {"M": {"value": {"S": "many"}, "dimension": {"S": "m"}}}]}
    stored.put(**odd)

    result = run("--json", "--overdue", "99999d")

    assert totals_of(result) == {("a", "m"): [NONE, (0, 2), NONE]}
    assert result.exit_code == 0


def test_a_dimension_twice_in_a_record_is_one_failure() -> None:
    """Its id to send it again is derived from customer, record and dimension."""
    item = failed_with("Unprocessed", "a", DAY, m=2)
    item["dimension_usage"] = {"L": [*item["dimension_usage"]["L"], *item["dimension_usage"]["L"]]}
    report = Report()
    report.add([item])

    assert [one.quantity for one in report.failures] == [4]


def test_an_empty_table_has_nothing_open(run: Run) -> None:
    result = run("--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert not any(printed(result).values())


# --- the range ---


@pytest.mark.parametrize(
    ("arguments", "quantity"),
    [
        (["--from", "2026-11-23", "--to", "2026-11-23"], 110),
        (["--from", "2026-11-23", "--to", "2026-11-23T00:00:00Z"], 10),
        (["--from", str(DAY)], 1110),
        (["--to", str(DAY)], 11),
        (["--day", "2026-11-23"], 110),
        (["--month", "2026-11"], 1111),
        (["--month", "2026-12"], 0),
    ],
)
def test_a_range_includes_both_ends_and_a_date_its_day(
    run: Run, stored: StoredItems, arguments: list[str], quantity: int
) -> None:
    """Others have written seconds and nanoseconds."""
    for number, created in enumerate(
        (DAY - 1, DAY // 1000, DAY + MS_OF_A_DAY - 1, (DAY + MS_OF_A_DAY) * 10**6)
    ):
        stored.put(**billed("a", created, m=10**number))

    assert sum(billed[0] for billed, *_ in totals_of(run("--json", *arguments)).values()) == quantity


@pytest.mark.parametrize("word", [["--day", "yesterday"], ["--from", "yesterday", "--to", "yesterday"]])
def test_yesterday_is_the_day_before_today_in_utc(run: Run, stored: StoredItems, word: list[str]) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for number, hours in enumerate((-24, -1, 0)):
        at = int((today + timedelta(hours=hours)).timestamp()) * 1000
        stored.put(**billed("a", at, m=10**number))

    assert totals_of(run("--json", *word)) == {("a", "m"): [(11, 2), NONE, NONE]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "20261101", "--to", "20261130"], "not before the year 2000"),
        (["--from", "1999-12-31"], "before the year 2000"),
        (["--day", "1970-01-01"], "before the year 2000"),
        (["--month", "1999-12"], "before the year 2000"),
        (["--from", "soon"], "ISO 8601"),
        (["--day", "23.11.2026"], "a day such as 2026-11-23"),
        (["--month", "November"], "a month such as 2026-11"),
        (["--month", "2026-11-23"], "a month such as 2026-11"),
        (["--month", "9999-12"], "after 5000"),
        (["--to", str(2**53 - 1)], "after 5000"),
        (["--day", ""], "a day such as 2026-11-23"),
        (["--from", "2026-11-23", "--to", "2026-11-22"], "--to is before --from"),
        (["--day", "2026-11-23", "--month", "2026-11"], "Use either"),
        (["--day", "2026-11-23T10:00"], "a day such as 2026-11-23"),
        (["--overdue", "3"], "such as 90m"),
        (["--totals", "f.csv", "--failures", "../metering_cli/f.csv"], "Two options name the same file"),
        (["--totals", "f-to-correct.csv", "--send-again", "f.csv"], "Two options name the same file"),
        (["--customer", ""], "--customer is empty"),
        (["--reason", "DuplicateRecord"], "--reason goes with --send-again"),
        (["--send-again", "f.csv", "--reason", "Unprocessed"], "is written without --reason"),
        (["--send-again", "f.csv", "--reason", "TimeoutEror"], "Known are DuplicateRecord, "),
        (["--totals", "/no-such-folder/report.csv"], "there is no folder /no-such-folder"),
        (["--failures", "failures.txt"], "must end with .csv or .xlsx"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(Path(__file__).parent)

    result = run(*arguments)

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("created", "expected"),
    [("0", 0), ("1795392000.5", DAY + 500), (str(DAY), DAY), ("1" + "0" * 30, None), ("-1", None)],
)
def test_a_time_is_read_in_the_unit_it_was_written_in(created: str, expected: int | None) -> None:
    assert milliseconds(Decimal(created)) == expected


def test_a_record_of_no_time_is_left_out_of_a_range(run: Run, stored: StoredItems) -> None:
    stored.put(**billed("a", -5, m=1))

    result = run("--json", "--day", "2026-11-23")

    assert totals_of(result) == {}
    assert "The create_timestamp of 1 record is not a time" in result.stderr
    assert totals_of(run("--json")) == {("a", "m"): [(1, 1), NONE, NONE]}


# --- pending usage at risk ---


@pytest.mark.parametrize(
    ("minutes", "arguments", "exit_code"),
    [
        (179, [], 0),
        (181, [], 1),
        (181, ["--day", "2026-11-23"], 1),
        (181, ["--overdue", "4h"], 0),
        (61, ["--overdue", "60m"], 1),
        (60 * 25, ["--overdue", "1d"], 1),
        (-60, [], 0),
    ],
)
def test_usage_is_overdue_whatever_the_range(
    run: Run, stored: StoredItems, minutes: int, arguments: list[str], exit_code: int
) -> None:
    stored.put(**pending("a", now_ms() - minutes * 60_000, m=1))
    stored.put(**pending("b", now_ms(), m=1))

    result = run("--json", *arguments)

    assert result.exit_code == exit_code
    assert [one["customer"] for one in printed(result)["at_risk"]] == ["a"] * exit_code
    assert ("a: 1 record pending, the oldest for " in result.stderr) == bool(exit_code)


@pytest.mark.parametrize(
    ("records", "dimensions", "quantity", "risk"),
    [
        (1, 25, 1, None),
        (1, 26, 1, "26 dimensions wait together; AWS takes 25"),
        (2, 1, MAX_QUANTITY // 2, None),
        (2, 1, MAX_QUANTITY // 2 + 1, "2,147,483,648 of d0 wait together"),
        (500, 1, 1, None),
        (501, 1, 1, "501 records wait together; above 500"),
    ],
)
def test_what_the_hourly_job_cannot_bill_once_is_at_risk(
    records: int, dimensions: int, quantity: int, risk: str | None
) -> None:
    report = Report()
    usage = {f"d{number}": quantity for number in range(dimensions)}
    report.add([pending("a", DAY + number, **usage) for number in range(records)])

    risks = report.waiting["a"].risks(datetime.fromtimestamp(DAY / 1000, UTC), timedelta(hours=3))

    assert len(risks) == (risk is not None)
    assert (risk or "") in "".join(risks)


@pytest.mark.parametrize(
    ("waiting", "found"),
    [
        ({LICENSE_ARN: 1, "123456789012": 2, "c": 3}, "123456789012"),
        ({LICENSE_ARN: 1, "210987654321": 2, "c": 3}, None),
        ({LICENSE_ARN: 7, "ExWoL3vTir2": 7, "c": 3}, "ExWoL3vTir2"),
        ({LICENSE_ARN: 7, "ExWoL3vTir2": 7, "c": 7}, None),
        ({"a": 7, "b": 7, "c": 3}, None),
    ],
)
def test_identifiers_of_what_may_be_one_buyer_are_named(
    run: Run, stored: StoredItems, waiting: dict[str, int], found: str | None
) -> None:
    for customer, quantity in waiting.items():
        stored.put(**pending(customer, now_ms(), m=quantity))

    result = run()

    assert ("may be one buyer" in result.stderr) == bool(found)
    assert not found or f"{LICENSE_ARN} and {found} may be" in result.stderr
    assert result.exit_code == 0


# --- where it reads, and how it ends ---


def test_tables_and_region_are_those_of_the_app(
    dynamodb: DynamoDBClient,  # noqa: ARG001 - the command needs the tables
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    context = tmp_path / "cdk.context.json"

    def report(*arguments: str) -> Result:
        return CliRunner().invoke(command.report_command, ["--json", *arguments], catch_exceptions=False)

    missing = report()
    # Windows editors write a byte order mark.
    params = {"aws_region_name": "us-east-1", "metering_table_name": "elsewhere", "waf": True}
    context.write_text(json.dumps({"params": params}), encoding="utf-8-sig")
    wrong = report()
    given = report("--table", METERING_TABLE_NAME)
    context.write_text("{")
    broken = report()

    assert (missing.exit_code, given.exit_code, broken.exit_code) == (2, 0, 2)
    assert "use --table and --region" in missing.stderr
    assert (wrong.exit_code, wrong.stdout) == (3, "")
    assert "The region us-east-1 has no table elsewhere" in wrong.stderr
    assert "cdk.context.json cannot be read" in broken.stderr


def test_the_idempotency_table_is_the_one_of_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another table or region, the stack is not known."""
    monkeypatch.chdir(tmp_path)
    params = {"aws_region_name": "us-east-1", "metering_table_name": "t12", "stack_name": "mine"}
    (tmp_path / "cdk.context.json").write_text(json.dumps({"params": params}))

    assert options.settings(None, None, None).idempotency_table == "mine-idempotency"
    assert options.settings("t12", "us-east-1", None).idempotency_table == "mine-idempotency"
    assert options.settings("other", None, None).idempotency_table is None
    assert options.settings(None, "eu-west-1", None).idempotency_table is None
    assert options.settings("other", None, "named").idempotency_table == "named"


def test_the_defaults_are_those_of_the_app() -> None:
    for name in ("stack_name", "dimensions"):
        assert options._Params.model_fields[name].default == AppConfig.model_fields[name].default
    assert Ge(FEWEST_DAYS_KNOWN) in AppConfig.model_fields["transaction_id_days"].metadata


def test_a_larger_transaction_id_days_of_today_makes_no_older_failure_open(
    run: Run, stored: StoredItems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been sent again while the API knew ids for 35 days, and the row be gone."""
    monkeypatch.chdir(tmp_path)
    Path("cdk.context.json").write_text('{"params": {"transaction_id_days": 400}}')
    stored.put(**failed_with("Unprocessed", "a", now_ms() - 36 * MS_OF_A_DAY, m=1))

    default = run("--json", "--send-again", "failed.csv")
    told = run("--json", "--days-known", "90")

    assert [printed(one)["failures"][0]["state"] for one in (default, told)] == ["too old to tell", "open"]
    assert (default.exit_code, told.exit_code) == (0, 1)
    assert not Path("failed.csv").exists()


@pytest.mark.usefixtures("every_outcome")
@pytest.mark.parametrize("table", [None, "no-such-table"])
def test_without_the_idempotency_table_the_state_is_unknown(table: str | None, tmp_path: Path) -> None:
    arguments = ["--table", METERING_TABLE_NAME, "--region", "us-east-1", "--json"]
    arguments += ["--idempotency-table", table] if table else []
    path = tmp_path / "again.csv"

    result = CliRunner().invoke(command.report_command, [*arguments, "--send-again", str(path)])

    assert result.exit_code == 1
    assert "Whether failed usage was sent again is unknown" in result.stderr
    assert {one["state"] for one in printed(result)["failures"]} == {"unknown"}
    assert path.exists()


def test_ctrl_c_ends_the_program_though_dynamodb_is_silent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        program = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "metering_cli", "report", "--html", str(tmp_path / "report.html")],
            cwd=Path(__file__).parents[3],
            env=os.environ | {"AWS_ENDPOINT_URL_DYNAMODB": endpoint},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with server.accept()[0]:
            program.send_signal(signal.SIGINT)
            stdout, stderr = program.communicate()

    assert (program.returncode, stdout, stderr) == (130, b"", b"Interrupted. There is no report.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_without_standard_output_there_is_no_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def echo(_text: str, *, err: bool = False, **_: object) -> None:
        if not err:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("click.echo", echo)

    assert run(*arguments, "--html", str(tmp_path / "report.html")).exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_without_one_file_there_is_no_other_file(run: Run, tmp_path: Path) -> None:
    too_long = f"{'x' * 300}.html"

    result = run("--json", "--totals", str(tmp_path / "report.csv"), "--html", str(tmp_path / too_long))

    assert (result.exit_code, result.stdout) == (3, "")
    assert too_long in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A server in DynamoDB's place, which gives the ``answer``."""
    known: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, headers, body = known["answer"]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setattr(command, "_CLIENT_CONFIG", Config(retries={"total_max_attempts": 1}))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        known["port"] = server.server_port
        yield known
        server.shutdown()


EXPIRED = '{"__type": "com.amazon.coral.service#ExpiredTokenException", "message": "The token is expired."}'
DENIED = '{"__type": "com.amazon.coral.service#AccessDeniedException", "message": "Not authorized to Scan"}'
HTML = {"Content-Type": "text/html"}
PLACE = ("--table", "t12", "--region", "us-east-1")


@pytest.mark.parametrize(
    ("scheme", "answer", "said"),
    [
        ("http", (200, HTML, "<html>Log in</html>"), "What answers is not DynamoDB"),
        ("http", (302, {"Location": "http://127.0.0.1:1/login"}, ""), "302"),
        ("http", (400, {}, EXPIRED), "The token is expired."),
        ("http", (400, {}, DENIED), "Not authorized to Scan"),
        ("http", (502, HTML, "<html>Bad gateway</html>"), "502"),
        ("https", (200, {}, ""), "SSL"),
    ],
)
def test_an_answer_of_no_use_is_a_sentence_and_exit_code_3(
    stranger: dict[str, Any], monkeypatch: pytest.MonkeyPatch, scheme: str, answer: Answer, said: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"{scheme}://127.0.0.1:{stranger['port']}")
    stranger["answer"] = answer

    result = CliRunner().invoke(command.report_command, PLACE)

    assert result.exit_code == 3
    assert said in result.stderr
    assert "There is no report." in result.stderr


@pytest.mark.parametrize(
    ("first", "then", "exit_code"),
    [("no-such", "", 2), ("echo secret", "", 2), ("cat valid", "echo secret", 3), ("cat valid", "exit 1", 3)],
)
def test_credentials_of_no_use_are_a_sentence_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, then: str, exit_code: int
) -> None:
    """Valid ones expire within minutes, and are refreshed before the first call."""
    expires = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    valid = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "secret", "Expiration": expires}
    (tmp_path / "valid").write_text(json.dumps(valid))
    process = tmp_path / "process"
    process.write_text(
        f"#!/bin/sh\ncd {tmp_path}; if [ -e once ]; then {then or first}; else touch once; {first}; fi"
    )
    process.chmod(0o700)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {process}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    result = CliRunner().invoke(command.report_command, PLACE)

    assert result.exit_code == exit_code
    assert ("settings cannot be used" if exit_code == 2 else "There is no report.") in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "exit_code", "said"),
    [
        ("AWS_ENDPOINT_URL_DYNAMODB", "htp:/dynamodb", 2, "Invalid endpoint"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1", 3, "Could not connect"),
        ("HTTPS_PROXY", "http://127.0.0.1:1", 3, "proxy"),
        ("AWS_CA_BUNDLE", "/no-such-bundle.pem", 2, "/no-such-bundle.pem"),
        ("AWS_PROFILE", "no-such-profile", 2, "no-such-profile"),
    ],
)
def test_settings_of_no_use_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, exit_code: int, said: str
) -> None:
    monkeypatch.setattr(command, "_CLIENT_CONFIG", Config(retries={"total_max_attempts": 1}))
    monkeypatch.setenv(name, value)

    result = CliRunner().invoke(command.report_command, PLACE)

    assert result.exit_code == exit_code
    assert said in result.stderr
