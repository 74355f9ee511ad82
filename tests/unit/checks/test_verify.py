"""``make verify`` where an account or a server answers otherwise, and its check of TLS 1.1.

tests/integration/test_verify.py has the rest: deployments that work, and that were broken on purpose.
"""

import io
import json
import ssl
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import create_server
from threading import Thread

import boto3
import pytest
import requests
from requests.adapters import HTTPAdapter

from checks.deployment import Deployment, authorization
from checks.target_account import TargetAccount
from checks.verify import CHECKS, main

Answers = dict[str, object]
Verify = Callable[..., str]

TABLE = "The metering table has the quickstart's keys and index, in this region"
RECOVERY = "The metering table survives a mistake"
UNAUTHORIZED = "A call without authorization is refused with a problem"
LISTS = "Customers that do not exist have empty lists, License ARNs too"
BODIES = "Inserts with bad bodies are refused, and nothing is written"
LOG = "A request's log line is found by its id"
INSERT = "An insert and its repeat write one record"
TLS = "TLS 1.1 is refused"

INVALID = (422, {"type": "urn:marketplace-metering:problem:invalid-request", "instance": "lost"})
RECORDS = (200, {"records": ["one"]})


class StubbornApi:
    """Answers each method alike, by default with 200 and an empty object; with None, not at all."""

    def __init__(self) -> None:
        self.url = "http://api.example.com"
        self.answers: dict[str, tuple[int, object] | None] = {"GET": (200, {}), "POST": (200, {})}
        self.headers = {"Content-Type": "application/problem+json"}
        self.requests: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:
        self.requests.append(request)
        answer = self.answers[str(request.method)]
        if answer is None:
            raise requests.ConnectionError
        response = requests.Response()
        response.status_code, body = answer
        response.headers.update(self.headers)
        response.raw = io.BytesIO(json.dumps(body).encode())
        return response


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> StubbornApi:
    stub = StubbornApi()
    monkeypatch.setattr(HTTPAdapter, "send", stub.send)
    return stub


@pytest.fixture
def verify(api: StubbornApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Return a function that runs one check, or all, and returns what it printed between title and sums."""
    groups = {"ListMeteringRecordsLogs": "other", "InsertMeteringRecordLogs": "group"}
    resources = {"AWS::Logs::LogGroup": groups}

    def find(target: TargetAccount) -> Deployment:
        authorize = authorization(target, "id")
        return Deployment(target.session, target.config, target.account_id, api.url, authorize, resources)

    def run(*titles: str, **params: object) -> str:
        monkeypatch.setattr("checks.verify.find_deployment", find)
        monkeypatch.setattr("checks.verify.CHECKS", {title: CHECKS[title] for title in titles or CHECKS})
        configured = {"aws_region_name": "us-east-1", "metering_table_name": "records"} | params
        code = main(["--context", f"params={json.dumps(configured)}"])
        _, *lines, _ = capsys.readouterr().out.splitlines()
        assert code == any(line.startswith("✗") for line in lines)
        return "\n".join(lines)

    return run


def test_a_server_that_answers_anything_with_200_passes_no_check(verify: Verify) -> None:
    lines = verify(create_metering_table=True).splitlines()

    assert sorted(line[0] for line in lines) == ["-"] * 2 + ["✗"] * (len(CHECKS) - 2)


@pytest.mark.parametrize(
    ("title", "answers_", "headers", "reason"),
    [
        (UNAUTHORIZED, {}, {}, "200 instead of 403"),
        (UNAUTHORIZED, {"GET": (403, "")}, {}, "403, but not with the problem forbidden"),
        (LISTS, {}, {}, "does not answer as this API does"),
        (LISTS, {"GET": (403, "")}, {}, "May your identity call execute-api:Invoke"),
        (LISTS, {"GET": (500, "")}, {}, "See ServerErrors in docs/operations.md."),
        (LISTS, {"GET": RECORDS}, {}, "does not exist has records"),
        (LISTS, {"GET": None}, {}, "does not answer (ConnectionError). Check the URL"),
        (BODIES, {"GET": RECORDS, "POST": INVALID}, {}, "was refused, and yet it wrote a record"),
        (BODIES, {"POST": INVALID}, {"Content-Type": "application/json"}, "422, but not with the problem"),
        (LOG, {"POST": INVALID}, {}, "No line with the request id lost came"),
        (INSERT, {}, {}, "with the same Idempotency-Key did not"),
        (INSERT, {}, {"Idempotent-Replayed": "true"}, "the same transaction_id did not name the duplicate"),
    ],
)
def test_a_wrong_answer_fails_its_check(  # noqa: PLR0917
    api: StubbornApi,
    verify: Verify,
    monkeypatch: pytest.MonkeyPatch,
    title: str,
    answers_: dict[str, tuple[int, object] | None],
    headers: dict[str, str],
    reason: str,
) -> None:
    boto3.client("logs", region_name="us-east-1").create_log_group(logGroupName="group")
    monkeypatch.setattr("checks.log_lines.LOG_SECONDS", 0)
    api.answers |= answers_
    api.headers |= headers

    line = verify(title, create_metering_table=True)

    assert line.startswith("✗")
    assert reason in line


BACKUPS = {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}}


@pytest.mark.parametrize(
    ("title", "account", "told"),
    [
        (TABLE, {"DescribeTable": "AccessDeniedException"}, "- Your credentials may not look at this"),
        (TABLE, {"DescribeTable": "InternalServerError"}, "✗ InternalServerError"),
        (RECOVERY, {}, "! Have both:\n    aws dynamodb update-continuous-backups"),
        (RECOVERY, {"DescribeContinuousBackups": {"ContinuousBackupsDescription": BACKUPS}}, "✓"),
        (RECOVERY, {"DescribeTable": {"Table": {"DeletionProtectionEnabled": True}}}, "✓"),
    ],
)
def test_a_check_tells_what_the_account_answers(
    verify: Verify, answers: Answers, title: str, account: Answers, told: str
) -> None:
    answers |= {
        "DescribeContinuousBackups": {"ContinuousBackupsDescription": {}},
        "DescribeTable": {"Table": {}},
    } | account

    line = verify(title)

    assert line[0] == told[0]
    assert told[2:] in line


@pytest.mark.parametrize(
    ("params", "title", "reason"),
    [
        ({"log_level": "ERROR"}, LOG, 'log_level is "ERROR"'),
        ({"authorization": "NONE", "allowed_cidrs": ["203.0.113.0/24"]}, UNAUTHORIZED, "the network decides"),
        ({}, INSERT, "would be billed"),
        ({"create_metering_table": True, "subscribers_table_name": "buyers"}, INSERT, "The table buyers"),
        ({}, TLS, "The API's URL is not https"),
    ],
)
def test_checks_that_the_configuration_rules_out_are_skipped(
    verify: Verify, params: dict[str, object], title: str, reason: str
) -> None:
    line = verify(title, **params)

    assert line.startswith(f"- {title}: skipped. ")
    assert reason in line


@pytest.mark.parametrize("scheme", ["IAM", "API_KEY"])
def test_a_netrc_password_replaces_neither_signature_nor_key(
    api: StubbornApi,
    verify: Verify,
    answers: Answers,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    scheme: str,
) -> None:
    """Requests sends the host's password, unless a call has an ``auth`` of its own."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.example.com login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    answers["GetApiKey"] = {"value": "key"}

    verify(UNAUTHORIZED, LISTS, authorization=scheme)

    sent = [(each.headers.get("Authorization"), each.headers.get("x-api-key")) for each in api.requests]
    assert sent[0] == (None, None)
    if scheme == "IAM":
        assert str(sent[1][0]).startswith("AWS4-HMAC-SHA256 ")
    else:
        assert sent[1] == (None, "key")


@pytest.mark.parametrize(("oldest", "sign"), [("TLSv1_1", "✗"), ("TLSv1_2", "✓")])
def test_the_oldest_tls_version_of_the_api_is_found(
    api: StubbornApi, verify: Verify, oldest: str, sign: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion[oldest]
    context.set_ciphers("aNULL:@SECLEVEL=0")  # those without a certificate

    with context.wrap_socket(create_server(("127.0.0.1", 0)), server_side=True) as server:
        api.url = f"https://127.0.0.1:{server.getsockname()[1]}"

        def accept() -> None:
            with suppress(OSError):  # a refused handshake
                server.accept()[0].close()

        thread = Thread(target=accept)
        thread.start()
        line = verify(TLS)
        thread.join()

    if "does not speak TLS 1.1" in line:
        pytest.skip(line)
    assert line.startswith(sign)
