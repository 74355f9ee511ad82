"""A usual import, its signature and output, and errors of the API."""

import subprocess
import sys
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session

from metering_cli.importing.command import signing_region
from tests.unit.metering_cli.conftest import HEADER, PROJECT, Importer, WriteCsv
from tests.unit.metering_cli.stub_api import HANG_UP, Answer, StoreBut, StubApi, problem


def test_the_files_usage_is_stored_and_counted(api: StubApi, importer: Importer, write_csv: WriteCsv) -> None:
    path = write_csv("one,seats,1", "two,seats,2", "one,storage,3", "one,seats,4")

    outcome = importer.run(path)

    assert outcome.exit_code == 0
    assert outcome.summary == {
        "file": str(path),
        "journal": f"{path}.imported.jsonl",
        "import_id": "",
        "status": "imported",
        "lines": 4,
        "records": 2,
        "requests": 1,
        "records_before": 0,
        "records_written": 2,
        "records_already_there": 0,
        "bad_lines": [],
        "error": None,
    }
    assert api.usage() == [
        ("one", "seats", 5),
        ("one", "storage", 3),
        ("two", "seats", 2),
    ]
    assert [request.path for request in api.received] == ["/prod/insertMeteringRecords"]


@pytest.mark.usefixtures("small_parts")
def test_each_request_has_a_key_of_its_own(api: StubApi, importer: Importer, write_csv: WriteCsv) -> None:
    importer.run(write_csv("one,seats,1", "two,seats,1", "three,seats,1"))

    keys = {request.key for request in api.received}
    assert len(keys) == 3
    assert all(len(key) <= 255 and key.isascii() for key in keys)


def test_requests_are_signed_for_api_gateway(api: StubApi, importer: Importer, write_csv: WriteCsv) -> None:
    importer.run(write_csv("one,seats,1"), "--region", "eu-west-1")

    [request] = api.received
    authorization = request.headers["Authorization"]
    assert "/eu-west-1/execute-api/aws4_request" in authorization
    assert "SignedHeaders=content-type;host;idempotency-key;prefer;x-amz-date" in authorization
    # The signature, computed again from the received request, is the same.
    again = AWSRequest(
        "POST",
        f"{api.url}/insertMeteringRecords",
        headers={name: request.headers[name] for name in ("Content-Type", "Idempotency-Key", "Prefer")},
        data=request.raw_body,
    )
    again.context["timestamp"] = request.headers["X-Amz-Date"]
    again.headers["X-Amz-Date"] = request.headers["X-Amz-Date"]
    signer = SigV4Auth(Credentials("test", "test"), "execute-api", "eu-west-1")
    signature = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    assert authorization.endswith(f"Signature={signature}")


def test_an_api_key_is_sent_instead_of_a_signature(
    api: StubApi, importer: Importer, write_csv: WriteCsv
) -> None:
    variables = {"METERING_API_URL": api.url + "/", "METERING_API_KEY": "key-of-20-characters"}
    outcome = importer(write_csv("one,seats,1"), env=variables)

    assert outcome.exit_code == 0
    [request] = api.received
    assert request.headers["x-api-key"] == "key-of-20-characters"
    assert "Authorization" not in request.headers


def test_without_credentials_nothing_begins(
    api: StubApi, importer: Importer, write_csv: WriteCsv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    path = write_csv("one,seats,1")

    outcome = importer.run(path)

    assert outcome.exit_code == 2
    assert "no AWS credentials" in outcome.stderr
    assert api.received == []
    assert not path.with_name("usage.csv.imported.jsonl").exists()


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://abc.execute-api.eu-north-1.amazonaws.com/prod/", "eu-north-1"),
        ("https://metering.example.com", "us-east-1"),
    ],
)
def test_the_region_is_the_one_in_the_url_or_else_the_usual_setting(url: str, region: str) -> None:
    assert signing_region(url, Session()) == region


def test_a_dry_run_checks_and_counts_but_sends_nothing(
    api: StubApi, importer: Importer, write_csv: WriteCsv
) -> None:
    path = write_csv("one,seats,1", "two,seats,2")

    outcome = importer(path, "--dry-run")

    assert outcome.exit_code == 0
    assert (outcome.summary["status"], outcome.summary["records"], outcome.summary["requests"]) == (
        "checked",
        2,
        1,
    )
    assert api.received == []
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["usage.csv"]


def test_a_url_is_needed_to_send(importer: Importer, write_csv: WriteCsv) -> None:
    assert importer(write_csv("one,seats,1")).exit_code == 2


@pytest.mark.parametrize("url", ["metering.example.com", "ftp://example.com", "https://example.com/prod?x=1"])
def test_a_url_that_cannot_be_the_apis_is_refused(importer: Importer, write_csv: WriteCsv, url: str) -> None:
    assert importer(write_csv("one,seats,1"), "--api-url", url).exit_code == 2


def test_a_throttled_or_failing_api_is_asked_again_as_late_as_it_says(
    api: StubApi, importer: Importer, write_csv: WriteCsv, waits: list[float]
) -> None:
    api.script += [
        problem(429, "Too many requests.", {"Retry-After": "7"}),
        problem(
            503, "The metering table took 5 record(s).", {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}
        ),
    ]
    outcome = importer.run(write_csv("one,seats,1"))

    # The program does not wait until that date.
    assert outcome.exit_code == 3
    assert len(waits) == 1
    assert waits[0] >= 7
    assert "The API answered 429: Too many requests." in outcome.stderr

    api.script += [
        problem(500, "Something went wrong."),
        problem(503, "Busy.", {"Retry-After": "5"}),
        HANG_UP,
    ]
    outcome = importer.run(write_csv("one,seats,1"))

    assert outcome.exit_code == 0
    assert len(waits) == 4
    assert 0 <= waits[1] <= 30
    assert waits[2] >= 5
    assert len({request.key for request in api.received}) == 1
    assert api.usage() == [("one", "seats", 1)]


def test_an_answer_lost_after_the_records_were_stored_does_not_store_them_twice(
    api: StubApi, importer: Importer, write_csv: WriteCsv, waits: list[float]
) -> None:
    api.script.append(StoreBut(HANG_UP))

    outcome = importer.run(write_csv("one,seats,1"))

    assert outcome.exit_code == 0
    assert outcome.summary["records_written"] == 1
    assert len(waits) == 1
    assert len(api.received) == 2
    assert api.usage() == [("one", "seats", 1)]


def test_a_refusal_stops_the_import_and_shows_what_the_api_says(
    api: StubApi, importer: Importer, write_csv: WriteCsv, waits: list[float]
) -> None:
    errors = [{"pointer": "/buyers/0", "code": "some_rule", "detail": "must be otherwise"}]
    api.script.append(problem(422, "The request breaks 1 rule(s).", errors=errors))

    outcome = importer.run(write_csv("one,seats,1"))

    assert outcome.exit_code == 3
    assert outcome.summary["status"] == "not_completed"
    assert "422: The request breaks 1 rule(s).\n  /buyers/0: must be otherwise" in outcome.stderr
    assert "(request id request-1)" in outcome.stderr
    assert waits == []
    assert len(api.received) == 1


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (Answer(403, {"message": "Missing Authentication Token"}), "403: Missing Authentication Token"),
        (Answer(403, b"<html>no</html>"), "403: <html>no</html>"),
        (Answer(400, b""), "400: Bad Request"),
        (Answer(302, b"", {"Location": "https://example.com/"}), "302: Found"),
        (Answer(200, b"<html>welcome</html>"), "not as the metering API does"),
        (Answer(200, {}), "not as the metering API does"),
        (Answer(200, {"records": []}), "stored 0 records of 1"),
    ],
)
def test_whatever_else_answers_is_not_taken_for_success(
    api: StubApi, importer: Importer, write_csv: WriteCsv, answer: Answer, shown: str
) -> None:
    api.script.append(answer)

    outcome = importer.run(write_csv("one,seats,1"))

    assert outcome.exit_code == 3
    assert shown in outcome.stderr
    assert outcome.summary["records_written"] == 0


def test_an_api_that_cannot_be_reached_is_tried_again(
    importer: Importer, write_csv: WriteCsv, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metering_cli.importing.importer.PATIENCE_SECONDS", 1)
    with StubApi() as gone:
        url = gone.url

    outcome = importer(write_csv("one,seats,1"), "--api-url", url)

    assert outcome.exit_code == 3
    assert "cannot be reached" in outcome.stderr
    assert sum(waits) > 0


def test_the_program_runs_from_a_checkout_without_any_setting_up(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(HEADER + "one,seats,1\n")

    finished = subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-m", "metering_cli", "import", str(path), "--dry-run"],
        cwd=PROJECT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.stderr == ""
    assert finished.returncode == 0
    assert finished.stdout == "usage.csv: 1 line, 1 record in 1 request: 1 would be sent.\n"


def test_the_program_needs_no_more_than_its_own_requirements() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", "import sys, metering_cli.__main__; print(*sys.modules)"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    packages = {module.partition(".")[0] for module in finished.stdout.split()}
    assert "metering_handlers" in packages
    assert not packages & {"aws_lambda_powertools", "aws_cdk", "boto3", "moto"}
