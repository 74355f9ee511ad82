"""``make verify`` against other servers, and its check of TLS 1.1.

tests/integration/test_verify.py has the rest: deployments that work, and that were broken on purpose.
"""

import json
import shutil
import ssl
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest

from checks.deployment import Deployment, authorization
from checks.target_account import TargetAccount
from checks.verify import CHECKS, main

INVALID = (422, b'{"type": "urn:marketplace-metering:problem:invalid-request", "instance": "lost"}')
RECORDS = (200, b'{"records": [{}]}')
OPENSSL = shutil.which("openssl")
TABLE = "The metering table has the quickstart's keys and index, in this region"
RECOVERY = "The metering table survives a mistake"
UNAUTHORIZED = "A call without authorization is refused with a problem"
LISTS = "Customers that do not exist have empty lists, License ARNs too"
BODIES = "Inserts with bad bodies are refused, and nothing is written"
LOG = "A request's log line is found by its id"
INSERT = "An insert and its repeat write one record"
TLS = "TLS 1.1 is refused"


class StubbornApi(ThreadingHTTPServer):
    """Answers each method with a fixed response, by default 200 and an empty object."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), StubbornApiHandler)
        self.responses = {"GET": (200, b"{}"), "POST": (200, b"{}")}
        self.content_type = "application/problem+json"
        self.replayed = "false"
        self.requests: list[Message] = []


class StubbornApiHandler(BaseHTTPRequestHandler):
    server: StubbornApi

    def do_GET(self) -> None:
        self.server.requests.append(self.headers)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.server.responses[self.command]
        self.send_response(status)
        self.send_header("Content-Type", self.server.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Idempotent-Replayed", self.server.replayed)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that the base class calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Do not log requests."""


Serve = Callable[..., AbstractContextManager[StubbornApi]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Return a function that starts a server, and finds a stack with only its URL and these resources."""

    @contextmanager
    def started(
        context: ssl.SSLContext | None = None,
        resources: dict[str, dict[str, str]] | None = None,
    ) -> Iterator[StubbornApi]:
        with StubbornApi() as server:
            if context:
                server.socket = context.wrap_socket(server.socket, server_side=True)
            url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"

            def find(target: TargetAccount) -> Deployment:
                return Deployment(target, url, authorization(target, "id"), resources or {})

            monkeypatch.setattr(Deployment, "find", find)
            threading.Thread(target=server.serve_forever).start()
            try:
                yield server
            finally:
                server.shutdown()

    return started


Verify = Callable[..., str]


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Return a function that runs one check, and returns the line that it printed."""

    def run(title: str, **params: object) -> str:
        monkeypatch.setattr("checks.verify.CHECKS", [check for check in CHECKS if check[0] == title])
        configured = {"aws_region_name": "us-east-1", "metering_table_name": "records"} | params
        code = main(["--context", f"params={json.dumps(configured)}"])
        _, line, *_ = capsys.readouterr().out.splitlines()
        assert code == line.startswith("✗")
        return line

    return run


def test_a_server_that_answers_anything_with_200_passes_no_check(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    params = {"aws_region_name": "us-east-1", "metering_table_name": "records", "create_metering_table": True}
    with serve():
        code = main(["--context", f"params={json.dumps(params)}"])

    _, *lines, summary = capsys.readouterr().out.splitlines()
    assert code == 1
    assert not [line for line in lines if line[0] not in "✗-"]
    assert summary == f"0 passed, 0 with a warning, 2 skipped, {len(CHECKS) - 2} failed."


@pytest.mark.parametrize(
    ("title", "responses", "reason"),
    [
        (UNAUTHORIZED, {}, "200 instead of 403"),
        (UNAUTHORIZED, {"GET": (403, b"Forbidden")}, "403, but not with the problem forbidden"),
        (LISTS, {}, "does not answer as this API does"),
        (LISTS, {"GET": (403, b"Forbidden")}, "May your identity call execute-api:Invoke"),
        (LISTS, {"GET": RECORDS}, "does not exist has records"),
        (BODIES, {"GET": RECORDS, "POST": INVALID}, "was refused, and yet it wrote a record"),
        (INSERT, {}, "with the same Idempotency-Key did not"),
    ],
)
def test_a_wrong_answer_fails_its_check(
    serve: Serve, verify: Verify, title: str, responses: dict[str, tuple[int, bytes]], reason: str
) -> None:
    with serve() as server:
        server.responses |= responses
        line = verify(title, create_metering_table=True)

    assert line.startswith("✗")
    assert reason in line


def test_a_repeat_that_is_not_named_as_duplicate_fails(serve: Serve, verify: Verify) -> None:
    with serve() as server:
        server.replayed = "true"
        line = verify(INSERT, create_metering_table=True)

    assert line.startswith("✗")
    assert "with the same transaction_id did not name the duplicate" in line


def test_a_problem_that_is_plain_json_fails(serve: Serve, verify: Verify) -> None:
    with serve() as server:
        server.responses["POST"] = INVALID
        server.content_type = "application/json"

        assert "422, but not with the problem invalid-request" in verify(BODIES)


def test_a_missing_log_line_fails(serve: Serve, verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("logs", region_name="us-east-1").create_log_group(logGroupName="group")
    monkeypatch.setattr("checks.log_lines.LOG_SECONDS", 0)
    with serve(resources={"AWS::Logs::LogGroup": {"InsertMeteringRecordLogs": "group"}}) as server:
        server.responses["POST"] = INVALID
        line = verify(LOG)

    assert line.startswith("✗")
    assert "No line with the request id lost came" in line


def test_a_check_without_permission_is_skipped(
    serve: Serve, verify: Verify, answers: dict[str, object]
) -> None:
    answers["DescribeTable"] = "AccessDeniedException"
    with serve():
        line = verify(TABLE)

    assert line.startswith("-")
    assert "Your credentials may not look at this" in line


def test_a_warning_does_not_fail(serve: Serve, verify: Verify, answers: dict[str, object]) -> None:
    answers |= {
        "DescribeContinuousBackups": {"ContinuousBackupsDescription": {}},
        "DescribeTable": {"Table": {}},
    }
    with serve():
        assert verify(RECOVERY).startswith("! ")


def test_an_unreachable_api_fails_with_advice(serve: Serve, verify: Verify) -> None:
    with serve():
        pass

    assert "does not answer (ConnectionError). Check the URL" in verify(LISTS)


@pytest.mark.parametrize(
    ("params", "title", "reason"),
    [
        ({"log_level": "ERROR"}, LOG, 'log_level is "ERROR"'),
        (
            {"authorization": "NONE", "allowed_cidrs": ["203.0.113.0/24"]},
            UNAUTHORIZED,
            "the network decides",
        ),
        ({}, INSERT, "would be billed"),
        ({"create_metering_table": True, "subscribers_table_name": "buyers"}, INSERT, "The table buyers"),
    ],
)
def test_checks_that_the_configuration_rules_out_are_skipped(
    serve: Serve, verify: Verify, params: dict[str, object], title: str, reason: str
) -> None:
    with serve():
        line = verify(title, **params)

    assert line.startswith("-")
    assert reason in line


@pytest.mark.parametrize("scheme", ["IAM", "API_KEY"])
def test_a_netrc_password_replaces_neither_signature_nor_key(
    serve: Serve,
    verify: Verify,
    answers: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    scheme: str,
) -> None:
    """Requests sends the host's password, unless a call has an ``auth`` of its own."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    answers["GetApiKey"] = {"value": "key"}
    with serve() as server:
        verify(UNAUTHORIZED, authorization=scheme)
        verify(LISTS, authorization=scheme)

    unauthorized, authorized = (
        (request["Authorization"], request["x-api-key"]) for request in server.requests
    )
    assert unauthorized == (None, None)
    if scheme == "IAM":
        assert authorized[0].startswith("AWS4-HMAC-SHA256 ")
    else:
        assert authorized == (None, "key")


@pytest.mark.parametrize(("oldest", "sign"), [("TLSv1_1", "✗"), ("TLSv1_2", "✓")])
@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed, which makes the certificate")
def test_the_oldest_tls_version_of_the_api_is_found(
    serve: Serve, verify: Verify, tmp_path: Path, oldest: str, sign: str
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

    with serve(context):
        line = verify(TLS)

    if "does not speak TLS 1.1" in line:
        pytest.skip(line)
    assert line.startswith(sign)
