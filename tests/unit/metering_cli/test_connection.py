"""Credentials, the network and the command line: every failure is a sentence and an exit code."""

import itertools
import re
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from botocore.credentials import Credentials
from botocore.session import Session
from werkzeug.serving import make_ssl_devcert
from werkzeug.wrappers import Response

from metering_cli.importing import client
from metering_cli.importing.command import signing_region
from tests.serving import serving
from tests.unit.metering_cli.conftest import FOUR, FOUR_STORED, KEY, PROJECT, Importer, summary
from tests.unit.metering_cli.stub_api import HANG_UP, Step, answer, problem

REFUSED = {
    "write the URL of the API's stage": [
        *("--api-url=metering.example.com", "--api-url=ftp://example.com", "--api-url="),
        *("--api-url=https://example.com/prod?x=1", "--api-url=https://user:sesame@example.com"),
    ],
    "write https: with http, others could read": ["--api-url=http://example.com/prod"],
    "'--api-url' (env var: 'METERING_API_URL'): is no URL": ["--api-url=https://user:sesame@[::1"],
    "'--api-key' (env var: 'METERING_API_KEY'): has white space": [
        *("--api-key=sesame\r", "--api-key=sesame\n", "--api-key= sesame"),
        *("--api-key=sesame\r\nHost: evil", "--api-key=schlüssel-sesame"),
    ],
    "'--import-id': use 1 to 64": ["--import-id=", "--import-id=with space", f"--import-id={'x' * 65}"],
}


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [(argument, sentence) for sentence, arguments in REFUSED.items() for argument in arguments],
)
def test_an_option_that_cannot_be_meant_is_refused(importer: Importer, argument: str, sentence: str) -> None:
    outcome = importer.run(importer.csv("one,seats,1"), argument)

    assert outcome.exit_code == 2
    assert sentence in outcome.stderr
    assert "sesame" not in outcome.stderr
    assert importer.api.received == []


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("", "There are no AWS credentials"),
        ("credential_process = /no/such/program", "No such file"),
        (f"credential_process = {sys.executable} -c 'exit(3)'", "custom-process"),
        (f"credential_process = {sys.executable} -c 'print(\"sesame\")'", "credential_process prints"),
        (f"credential_process = {sys.executable} -c 'print([])'", "credential_process prints"),
        ("role_arn = arn:aws:iam::123456789012:role/x\nsource_profile = none", 'The source_profile "none"'),
    ],
)
def test_without_credentials_nothing_begins(
    importer: Importer, monkeypatch: pytest.MonkeyPatch, config: str, sentence: str
) -> None:
    path = importer.csv("one,seats,1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    path.with_name("config").write_text(f"[default]\n{config}\n")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path.with_name("none")))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path.with_name("config")))

    outcome = importer.run(path)

    assert outcome.exit_code == 2
    assert sentence in outcome.stderr
    assert "sesame" not in outcome.stderr
    assert importer.api.received == []


def test_credentials_that_cannot_be_refreshed_end_the_import(
    importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refresh(_: Credentials) -> None:
        raise OSError("the token has gone")

    break_them = partial(monkeypatch.setattr, Credentials, "get_frozen_credentials", refresh)
    importer.api.script = iter([Step(meanwhile=break_them)])

    path = importer.csv("one,seats,1")
    outcome, begun_without = importer.run(path), importer.run(path)

    assert (outcome.exit_code, begun_without.exit_code) == (3, 2)
    assert "could not be signed and sent: the token has gone" in outcome.stderr
    assert "Not all usage is in the table" in outcome.stderr
    assert "There are no AWS credentials: the token has gone" in begun_without.stderr


def test_a_secret_that_is_no_header_is_not_shown(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "sesame\r\nx: y")

    outcome = importer.run(importer.csv("one,seats,1"))

    assert outcome.exit_code == 3
    assert "are not valid" in outcome.stderr
    assert "sesame" not in outcome.stderr


def test_requests_are_signed_whatever_netrc_has(
    importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))

    importer.run(importer.csv("one,seats,1"), "--region", "eu-west-1")

    signature = r"AWS4-HMAC-SHA256 Credential=test/\d+/eu-west-1/execute-api/aws4_request, .*"
    signed = [re.fullmatch(signature, request.headers["Authorization"]) for request in importer.api.received]
    assert [bool(found) for found in signed] == [True, True]


def test_an_api_key_is_sent_instead_of_a_signature(
    importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERING_API_URL", importer.api.url + "/")
    monkeypatch.setenv("METERING_API_KEY", KEY)

    assert importer(importer.csv("one,seats,1"), "--import-id", "x").exit_code == 0
    assert [request.headers["x-api-key"] for request in importer.api.received] == [KEY] * 2
    assert not any("Authorization" in request.headers for request in importer.api.received)


def test_the_region_is_the_hosts_or_the_usual_setting() -> None:
    regions = {
        "abc.execute-api.eu-north-1.amazonaws.com": "eu-north-1",
        "abc.execute-api.us-gov-west-1.amazonaws.com": "us-gov-west-1",
        "abc.execute-api.cn-north-1.amazonaws.com.cn": "cn-north-1",
        "abc.execute-api.eusc-de-east-1.amazonaws.eu": "eusc-de-east-1",
        "vpce-1.execute-api.eu-west-1.vpce.amazonaws.com": "eu-west-1",
        "metering.example.com": "us-east-1",
    }
    assert {host: signing_region(f"https://{host}/prod", Session()) for host in regions} == regions


def test_a_throttled_or_failing_api_is_asked_again_when_it_says(
    importer: Importer, waits: list[float]
) -> None:
    importer.api.script = iter(
        [
            *(problem(429, "Too many requests.", retry_after="7"), HANG_UP, Step()),
            problem(500, "Something went wrong."),
            Step(problem(503, "The table took 1 of 4.", retry_after="5"), share=0.25),
            Step(HANG_UP),
        ]
    )

    outcome = importer.run(importer.csv(*FOUR))

    assert outcome.exit_code == 0
    assert waits == [7 + 1, 2, 1, 5 + 2, 4]
    assert "429: Too many requests. (request id request-1) Trying again in 8 s." in outcome.stderr
    assert len(set(importer.api.bodies_stored)) == 1
    assert summary(outcome)["lines_found_stored"] == 4
    assert importer.api.usage() == FOUR_STORED


def test_the_program_gives_up_after_three_minutes(importer: Importer, waits: list[float]) -> None:
    path = importer.csv(*FOUR)
    importer.api.script = (problem(502, "Bad.") for _ in itertools.count())

    assert importer.run(path).exit_code == 3
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    importer.api.script = iter([problem(503, "Busy.", retry_after="Fri, 01 Jan 2100 00:00:00 GMT")])
    assert importer.run(path).exit_code == 3
    assert len(waits) == 9


def test_a_retry_after_that_says_nothing_is_ignored(importer: Importer, waits: list[float]) -> None:
    said = ("soon", "Fri, 31 Dec 99999 23:59:59 GMT", "9" * 5_000)
    importer.api.script = iter([problem(503, "Busy.", retry_after=each) for each in said])

    assert importer.run(importer.csv(*FOUR)).exit_code == 0
    assert waits == [1, 2, 4]


OTHERS = {"customerIdentifier": "two", "create_timestamp": 1}
OTHERS_DUPLICATE = {**OTHERS, "transaction_id": "x", "differs": False}
NOTHING, PERHAPS = "Nothing was written.", "Not all usage is in the table."


@pytest.mark.parametrize(
    ("steps", "sentence", "outlook"),
    [
        ([problem(403, "Not you.")], "403: Not you. (request id request-1)", NOTHING),
        ([problem(422, "No.", ("/buyers/0", "x"), ("/a", "y"))], "422: No.\n  /buyers/0: x\n  /a", NOTHING),
        ([answer(403, {"message": "The token has expired"})], "403: The token has expired", NOTHING),
        ([answer(403, b"<html>\x1b[2Jno</html>")], "403: <html>\\x1b[2Jno</html>", NOTHING),
        ([answer(400, b"")], "400: BAD REQUEST", NOTHING),
        pytest.param([answer(400, b"[" * 100_000)], "400: [[", NOTHING, id="deeply-nested"),
        ([answer(302, b"", {"Location": "https://example.com/"})], "302: FOUND", NOTHING),
        ([answer(200, b"<html>Log in</html>")], "whether the network wants you to log in", NOTHING),
        ([answer(200, {})], "not as the metering API does", NOTHING),
        ([Step(), answer(200, b"<html>Log in</html>")], "not as the metering API does", PERHAPS),
        ([Step(), answer(200, {})], "all but 1 of 1 lines", PERHAPS),
        ([Step(), answer(200, {"records": [OTHERS]})], "all but 1 of 1 lines", PERHAPS),
        ([Step(), answer(200, {"duplicates": [OTHERS_DUPLICATE]})], "duplicates that were not sent", PERHAPS),
    ],
)
def test_whatever_else_answers_is_not_taken_for_success(
    importer: Importer, steps: list[Step | Response], sentence: str, outlook: str
) -> None:
    importer.api.script = iter(steps)

    outcome = importer.run(importer.csv("one,seats,1"))

    assert (outcome.exit_code, summary(outcome)["lines_written"]) == (3, 0)
    assert sentence in outcome.stderr
    assert outlook in outcome.stderr
    assert len(importer.api.received) == len(steps)


@pytest.mark.parametrize(
    ("url", "proxy", "sentence"),
    [
        ("https://no-such-host.invalid/prod", "", "The API's host is not found"),
        ("https://127.0.0.1:9/prod", "", "or does not answer"),
        ("https://a..b/prod", "", "The request cannot be sent"),
        ("https://example.com", "http://user:sesame@127.0.0.1:9", "The proxy cannot be reached"),
        ("https://example.com", "ftp://user:sesame@127.0.0.1:9", "check the URL, HTTPS_PROXY"),
        ("https://example.com", "http://user:sesame@127.0.0.1:x", "check the URL, HTTPS_PROXY"),
        ("https://example.com", "http://", "check the URL, HTTPS_PROXY"),
    ],
)
def test_an_api_that_cannot_be_reached_is_a_sentence(
    importer: Importer, monkeypatch: pytest.MonkeyPatch, url: str, proxy: str, sentence: str
) -> None:
    def look_up(host: str, port: int, *_: object) -> object:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]

    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    outcome = importer.run(importer.csv("one,seats,1"), "--api-url", url)

    assert outcome.exit_code == 3
    assert sentence in outcome.stderr
    assert not re.search("sesame|Pool", outcome.stderr)


def test_certificates_are_trusted_as_aws_ca_bundle_says(
    importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = importer.csv("one,seats,1")
    certificate, key = make_ssl_devcert(str(tmp_path / "stub"), host="localhost")
    wrong_scheme = importer.run(path, "--api-url", importer.api.url.replace("http:", "https:"))
    with serving(importer.api.respond, (certificate, key)) as url:
        importer.api.url = url
        untrusted = importer.run(path)
        monkeypatch.setenv("AWS_CA_BUNDLE", certificate)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/none")
        signed, by_key = importer.run(path), importer.run(path, "--api-key", KEY)
        monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/file.pem")
        missing = importer.run(path)

    assert "begins with the right scheme" in wrong_scheme.stderr
    assert "certificate is not trusted (self-signed certificate)" in untrusted.stderr
    assert "set AWS_CA_BUNDLE" in untrusted.stderr
    outcomes = (wrong_scheme, untrusted, signed, by_key, missing)
    assert [outcome.exit_code for outcome in outcomes] == [3, 3, 0, 0, 2]


@pytest.mark.parametrize(
    ("output", "exit_code", "sentence"),
    [
        ("/dev/full", 3, "The output cannot be written: No space left on device. Run the command again.\n"),
        pytest.param("/dev/null", 0, "", id="a name that latin-1 lacks"),
    ],
)
def test_the_output_does_not_decide_that_files_have_problems(
    importer: Importer, output: str, exit_code: int, sentence: str
) -> None:
    """Python's own exit code for it is 1, which would say so with all of the usage stored."""
    program = [str(Path(sys.executable).with_name("metering")), "import", "--import-id", "x", "--dry-run"]
    variables = {"METERING_API_URL": importer.api.url, "METERING_API_KEY": KEY, "PYTHONIOENCODING": "latin-1"}
    with Path(output).open("w", encoding="utf-8") as stdout:
        finished = subprocess.run(  # noqa: S603 - the console script
            [*program, importer.csv("one,日本,1")],
            env=variables,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (finished.returncode, finished.stderr) == (exit_code, sentence)


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
