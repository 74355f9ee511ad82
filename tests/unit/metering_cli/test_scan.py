"""Both tables are read completely, within the read capacity; whatever prevents it is a sentence."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from annotated_types import Ge
from botocore.config import Config
from click.testing import CliRunner
from werkzeug.wrappers import Response

from infra.config import Config as AppConfig
from metering_cli.reporting import command, options, scan
from metering_cli.reporting.failures import FEWEST_DAYS_KNOWN, Failure
from tests.environment import METERING_TABLE_NAME
from tests.serving import serving
from tests.unit.conftest import StoredItems
from tests.unit.metering_cli.metering_items import DAY, FakeTables, billed, failed_with, report, report_on

APP = {"aws_region_name": "us-east-1", "metering_table_name": "t12"}
PLACE = ("--table", "t12", "--region", "us-east-1")
ERROR = '{{"__type": "com.amazon.coral.service#{}", "message": "{}"}}'


def test_each_page_and_row_is_read_once_and_consistently() -> None:
    """DynamoDB refuses a key twice, and answers a part of a call only."""
    items = [failed_with("Unprocessed", "c", DAY + number, m=1) for number in range(250)]
    items[0]["dimension_usage"]["L"] = [{"M": {"dimension": {"S": ""}}}, {"M": {}}]
    rows = [Failure("c", str(DAY + number), "m", 1, "", None).row_id for number in range(1, 250)]
    tables = FakeTables([items[:100], [], items[100:]], rows)

    printed = json.loads(report_on(tables, "--json").stdout)

    assert Counter(one["state"] for one in printed["failures"]) == {"sent again": 249, "open": 2}
    request = {"TableName": METERING_TABLE_NAME, "ConsistentRead": True, "ReturnConsumedCapacity": "TOTAL"}
    assert tables.asked == ["scan", request, 100, 100, 100, 70, 10]


def test_one_customers_report_reads_no_other(stored: StoredItems) -> None:
    for customer in ("a", "b"):
        stored.put(**billed(customer, DAY, m=1))

    result = report("--customer", "a")

    assert " · all of it · customer a · 1 record · " in result.stdout
    assert "│ a " in result.stdout


def test_a_page_is_paid_for_before_the_next_and_idle_time_is_not_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(scan, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    client: Any = FakeTables([[]] * 6)
    times = []

    for _ in scan.Reader(client, 100).pages("t", None):
        times.append(now)
        if len(times) == 2:
            now += 3600

    assert times == pytest.approx([100, 102.56, 3702.56, 3705.12, 3707.68, 3710.24])


@pytest.mark.parametrize(
    ("table", "rows_a_call", "said"),
    [
        ("rows", 0, " The table rows cannot be read: The table rows has no read capacity left.\n"),
        ("rows", 60, " The table rows cannot be read: What answers is not DynamoDB: is there a proxy,"),
        ("", 60, "\n"),
    ],
)
def test_rows_that_are_never_returned_are_not_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, rows_a_call: int, said: str
) -> None:
    """No row would mean that nothing was sent again."""
    monkeypatch.chdir(tmp_path)
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=waits.append))
    tables = FakeTables([[failed_with("Unprocessed", "a", DAY, m=1)]])
    tables.rows_a_call = rows_a_call
    if rows_a_call:
        monkeypatch.setattr(tables, "batch_get_item", lambda **_: {})

    result = report_on(tables, "--json", "--days-known", 36_500, "--idempotency-table", table)

    assert [one["state"] for one in json.loads(result.stdout)["failures"]] == ["unknown"]
    assert f"again is unknown: name the table with --idempotency-table.{said}" in result.stderr
    assert (result.exit_code, len(waits)) == (1, 0 if rows_a_call else 9)


# --- the command line and the app's settings ---


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "20261101", "--to", "20261130"], "not before the year 2000"),
        (["--day", "1970-01-01"], "before the year 2000"),
        (["--from", "soon"], "ISO 8601"),
        (["--day", "23.11.2026"], "a day such as 2026-11-23"),
        (["--month", "2026-11-23"], "a month such as 2026-11"),
        (["--month", "2026W07"], "a month such as 2026-11"),
        (["--day", "2026W07-01"], "a day such as 2026-11-23"),
        (["--month", "9999-12"], "after 5000"),
        (["--to", str(2**53 - 1)], "after 5000"),
        (["--day", ""], "a day such as 2026-11-23"),
        (["--from", "2026-11-23", "--to", "2026-11-22"], "--to is before --from"),
        (["--day", "2026-11-23", "--month", "2026-11"], "Use either"),
        (["--day", "2026-11-23T10:00"], "a day such as 2026-11-23"),
        (["--overdue", "3"], "such as 90m"),
        (["--days-known", "34"], "x>=35"),
        (["--read-capacity", "0"], "x>=1."),
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
@pytest.mark.usefixtures("dynamodb")
def test_a_wrong_command_line_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(Path(__file__).parent)

    result = report(*arguments)

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.usefixtures("dynamodb")
@pytest.mark.parametrize(
    ("text", "exit_code", "said"),
    [
        (None, 2, "use --table and --region"),
        ("{", 2, "cdk.context.json cannot be read"),
        (json.dumps({"params": APP | {"waf": True}}), 3, "The region us-east-1 has no table t12 (--table"),
    ],
)
def test_tables_and_region_are_those_of_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, exit_code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        # Windows editors write a byte order mark.
        (tmp_path / "cdk.context.json").write_text(text, encoding="utf-8-sig")

    result = CliRunner().invoke(command.report_command, ["--json"], catch_exceptions=False)

    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert said in result.stderr


def test_the_idempotency_table_is_the_one_of_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another table or region, the stack is not known."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cdk.context.json").write_text(json.dumps({"params": APP | {"stack_name": "mine"}}))

    assert options.settings(None, None, None) == ("t12", "us-east-1", "mine-idempotency", ())
    assert options.settings("t12", "us-east-1", None).idempotency_table == "mine-idempotency"
    assert options.settings("other", None, None) == ("other", "us-east-1", None, ())
    assert options.settings(None, "eu-west-1", None) == ("t12", "eu-west-1", None, ())
    assert options.settings("other", None, "named").idempotency_table == "named"


def test_the_defaults_are_those_of_the_app() -> None:
    for name in ("stack_name", "dimensions"):
        assert options._Params.model_fields[name].default == AppConfig.model_fields[name].default
    assert Ge(FEWEST_DAYS_KNOWN) in AppConfig.model_fields["transaction_id_days"].metadata


# --- how it ends ---


ENDPOINT = "AWS_ENDPOINT_URL_DYNAMODB"
HTML = "text/html"


@pytest.mark.parametrize(
    ("name", "value", "answer", "ending"),
    [
        (ENDPOINT, "http{}", Response("<html>Log in</html>", content_type=HTML), (3, "is not DynamoDB: is")),
        (ENDPOINT, "http{}", Response("", 302, {"Location": "http://127.0.0.1:1/login"}), (3, "302")),
        (ENDPOINT, "http{}", Response(ERROR.format("ExpiredToken", "Is old."), 400), (3, "Is old. There is")),
        (ENDPOINT, "http{}", Response(ERROR.format("AccessDenied", "No right"), 400), (3, "No right. There")),
        (ENDPOINT, "http{}", Response("<html>Bad gateway</html>", 502, content_type=HTML), (3, "502")),
        (ENDPOINT, "https{}", None, (3, "SSL")),
        (ENDPOINT, "http://127.0.0.1:1", None, (3, "Could not connect")),
        (ENDPOINT, "htp:/dynamodb", None, (2, "Invalid endpoint")),
        ("HTTPS_PROXY", "http://127.0.0.1:1", None, (3, "proxy")),
        ("AWS_CA_BUNDLE", "/no-such-bundle.pem", None, (2, "There is no file /no-such-bundle.pem")),
        ("AWS_PROFILE", "no-such-profile", None, (2, "no-such-profile")),
    ],
)
def test_what_prevents_the_report_is_a_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, answer: Response | None, ending: tuple[int, str]
) -> None:
    monkeypatch.setattr(command, "_CLIENT_CONFIG", Config(retries={"total_max_attempts": 1}))
    with serving(lambda _request: answer or Response()) as url:
        monkeypatch.setenv(name, value.format(url.removeprefix("http")))

        result = CliRunner().invoke(command.report_command, PLACE)

    exit_code, said = ending
    assert result.exit_code == exit_code
    assert said in result.stderr
    assert result.stderr.endswith(" There is no report.\n") == (exit_code == 3)


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ("", "", "There are no AWS credentials"),
        ("no-such", "", "settings cannot be used"),
        ("echo secret", "", "settings cannot be used"),
        ("cat valid", "echo secret", "There is no report."),
        ("cat valid", "exit 1", "There is no report."),
    ],
)
def test_credentials_of_no_use_are_a_sentence_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, then: str, said: str
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
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {process}\n" if first else "")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    result = CliRunner().invoke(command.report_command, PLACE)

    assert result.exit_code == (3 if then else 2)
    assert said in result.stderr
    assert "secret" not in result.stderr


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


@pytest.mark.usefixtures("dynamodb")
@pytest.mark.parametrize("arguments", [["--json"], []])
def test_without_standard_output_there_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def echo(_text: str, *, err: bool = False, **_: object) -> None:
        if not err:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("click.echo", echo)

    assert report(*arguments, "--html", tmp_path / "report.html").exit_code == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("dynamodb")
def test_without_one_file_there_is_no_other_file(tmp_path: Path) -> None:
    too_long = f"{'x' * 300}.html"

    result = report("--json", "--totals", tmp_path / "report.csv", "--html", tmp_path / too_long)

    assert (result.exit_code, result.stdout) == (3, "")
    assert too_long in result.stderr
    assert list(tmp_path.iterdir()) == []
