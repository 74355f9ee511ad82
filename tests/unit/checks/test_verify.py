"""``make verify`` against other servers, and its check of TLS 1.1.

tests/integration/test_verify.py has the rest: deployments that work, and that were broken on purpose.
"""

import json
import shutil
import ssl
import subprocess
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from moto import mock_aws

from checks.deployment import Deployment
from checks.target_account import TargetAccount
from checks.verify import main

INVALID = b'{"type": "urn:marketplace-metering:problem:invalid-request", "instance": "lost"}'
OPENSSL = shutil.which("openssl")


class StubbornApi(ThreadingHTTPServer):
    """Answers each method with a fixed response, by default 200 and an empty object."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), StubbornApiHandler)
        self.answers = {"GET": (200, b"{}"), "POST": (200, b"{}")}
        self.replayed = "false"


class StubbornApiHandler(BaseHTTPRequestHandler):
    server: StubbornApi

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.server.answers[self.command]
        self.send_response(status)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Idempotent-Replayed", self.server.replayed)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that the base class calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Do not log requests."""


@pytest.fixture(autouse=True)
def account() -> Iterator[None]:
    with mock_aws(config={"core": {"passthrough": {"urls": [r"https?://127\.0\.0\.1.*"]}}}):
        yield


def serve(
    monkeypatch: pytest.MonkeyPatch,
    context: ssl.SSLContext | None = None,
    resources: dict[str, dict[str, str]] | None = None,
) -> StubbornApi:
    """Start a server, and create a stack that has only its URL and the resources."""
    server = StubbornApi()
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever).start()
    scheme = "https" if context else "http"

    def find(target: TargetAccount) -> Deployment:
        return Deployment(
            target=target,
            api_url=f"{scheme}://127.0.0.1:{server.server_port}",
            credentials=target.session.get_credentials(),
            authorization_headers={},
            resources=resources or {},
        )

    monkeypatch.setattr(Deployment, "find", find)
    return server


def verify(capsys: pytest.CaptureFixture[str], **params: object) -> tuple[int, dict[str, str]]:
    """Return the exit code, and the result of each check by its title."""
    configured = {"aws_region_name": "us-east-1", "metering_table_name": "records"} | params
    code = main(["--context", f"params={json.dumps(configured)}"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line[0] in "✓✗-"]
    return code, {line[2:].partition(":")[0]: line for line in lines}


def test_a_program_that_answers_anything_with_200_passes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(monkeypatch) as server:
        code, lines = verify(capsys, create_metering_table=True)
        server.shutdown()

    tls = lines.pop("TLS 1.1 is refused")
    assert code == 1
    assert "not https" in tls
    assert len(lines) == 9
    for line in lines.values():
        assert line.startswith("✗"), line
    assert "200 instead of 403" in lines["A call without authorization is refused with a problem"]
    assert "does not answer as this API does" in lines["A customer that does not exist has an empty list"]


def test_a_refusal_that_is_not_a_problem_is_not_this_apis(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(monkeypatch) as server:
        server.answers["GET"] = (403, b"Forbidden")
        _, lines = verify(capsys)
        server.shutdown()

    line = lines["A call without authorization is refused with a problem"]
    assert "answered 403, but not with the problem forbidden" in line
    assert (
        "May your identity call execute-api:Invoke"
        in lines["A customer that does not exist has an empty list"]
    )


def test_an_api_that_forgets_requests_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(monkeypatch) as server:
        server.answers["GET"] = (200, b'{"records": [{}]}')
        _, lines = verify(capsys, create_metering_table=True)
        server.shutdown()

    assert "with the same Idempotency-Key did not" in lines["An insert and its repeat write one record"]
    assert "does not exist has records" in lines["A customer that does not exist has an empty list"]


def test_an_api_that_forgets_ids_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(monkeypatch) as server:
        server.replayed = "true"
        _, lines = verify(capsys, create_metering_table=True)
        server.shutdown()

    line = lines["An insert and its repeat write one record"]
    assert "with the same transaction_id did not name the duplicate" in line


def test_a_refused_insert_that_left_a_record_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(monkeypatch) as server:
        server.answers = {"GET": (200, b'{"records": [{}]}'), "POST": (422, INVALID)}
        _, lines = verify(capsys)
        server.shutdown()

    line = lines["Inserts with bad bodies are refused, and nothing is written"]
    assert "was refused, and yet it wrote a record" in line


def test_a_request_without_its_log_line_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    boto3.client("logs", region_name="us-east-1").create_log_group(logGroupName="group")
    monkeypatch.setattr("checks.verify._LOG_SECONDS", 0)
    with serve(
        monkeypatch, resources={"AWS::Logs::LogGroup": {"InsertMeteringRecordLogs": "group"}}
    ) as server:
        server.answers["POST"] = (422, INVALID)
        _, lines = verify(capsys)
        server.shutdown()

    line = lines["A request's log line is found by its id"]
    assert line.startswith("✗")
    assert "No line with the request id lost came" in line


def test_what_the_credentials_may_not_look_at_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeTable")

    monkeypatch.setattr("checks.verify.metering_table_problem", refuse)
    with serve(monkeypatch) as server:
        _, lines = verify(capsys)
        server.shutdown()

    line = lines["The metering table has the quickstart's keys and index, in this region"]
    assert line.startswith("-")
    assert "Your credentials may not look at this" in line


def test_an_api_that_cannot_be_reached_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(monkeypatch) as server:
        server.shutdown()

    _, lines = verify(capsys)

    assert (
        "does not answer (ConnectionError). Check the URL"
        in lines["A customer that does not exist has an empty list"]
    )


@pytest.mark.parametrize(
    ("params", "title", "reason"),
    [
        ({"log_level": "ERROR"}, "A request's log line is found by its id", 'log_level is "ERROR"'),
        (
            {"authorization": "NONE", "allowed_cidrs": ["203.0.113.0/24"]},
            "A call without authorization is refused with a problem",
            "the network decides",
        ),
        ({}, "An insert and its repeat write one record", "would be billed"),
    ],
)
def test_what_the_configuration_rules_out_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    params: dict[str, object],
    title: str,
    reason: str,
) -> None:
    with serve(monkeypatch) as server:
        _, lines = verify(capsys, **params)
        server.shutdown()

    assert lines[title].startswith("-")
    assert reason in lines[title]


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        ClientError({"Error": {"Code": "AccessDenied", "Message": "Not allowed."}}, "GetApiKey"),
    ],
    ids=str,
)
def test_credentials_that_do_not_do_are_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def find(_: TargetAccount) -> Deployment:
        raise error

    monkeypatch.setattr(Deployment, "find", find)

    assert main([]) == 1

    said = capsys.readouterr().err
    assert said == f'error: {str(error).rstrip(".")}. Log in, or name a profile: ARGS="--profile NAME".\n'


@pytest.mark.parametrize(("oldest", "sign"), [("TLSv1_1", "✗"), ("TLSv1_2", "✓")])
@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed, which makes the certificate")
def test_the_oldest_tls_version_that_the_api_takes_is_seen(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    oldest: str,
    sign: str,
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(  # noqa: S603 - found on the path
        [
            *(str(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-out", str(certificate), "-keyout", str(key)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion[oldest]
    context.set_ciphers("ALL:@SECLEVEL=0")

    with serve(monkeypatch, context) as server:
        _, lines = verify(capsys)
        server.shutdown()

    line = lines["TLS 1.1 is refused"]
    if "does not speak TLS 1.1" in line:
        pytest.skip(line)
    assert line.startswith(sign)
