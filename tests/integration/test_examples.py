"""The examples, run as their readers would run them, against the deployed API."""

import json
import os
import subprocess
import sys
import threading
import uuid
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.http_calls import stored
from tools.local_cloud.deploy import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
CUSTOMER = "ExWoL3vTir2"


COMMANDS = {
    "curl": [str(EXAMPLES / "insert.sh")],
    "python": [sys.executable, str(EXAMPLES / "insert.py")],
    "node": ["node", str(EXAMPLES / "insert.mjs")],
}
EACH = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


def run(command: list[str], api: Api, **variables: str) -> str:
    finished = subprocess.run(  # noqa: S603 - the project's own examples
        command,
        env=os.environ | api.caller_variables | {"METERING_API_URL": api.api_url} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


class BusyApi(ThreadingHTTPServer):
    """Answers each path's first request with a 503, and notes when requests were signed, by method."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), BusyApiHandler)
        self.signed_at: defaultdict[str, list[str]] = defaultdict(list)


class BusyApiHandler(BaseHTTPRequestHandler):
    server: BusyApi

    def do_GET(self) -> None:
        self._answer({"records": []})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({})

    def _answer(self, success: dict[str, object]) -> None:
        attempts = self.server.signed_at[self.command]
        attempts.append(self.headers["X-Amz-Date"])
        is_first = len(attempts) == 1
        body = json.dumps({"status": 503} if is_first else success).encode()
        self.send_response(503 if is_first else 200)
        if is_first:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Do not log requests."""


@pytest.fixture
def busy_api() -> "Iterator[BusyApi]":
    with BusyApi() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@EACH
def test_an_example_reports_usage_once_however_often_it_is_run(api: Api, command: list[str]) -> None:
    before = len(stored(api, CUSTOMER))
    hour = str(uuid.uuid4())

    first = run([*command, hour], api)
    run([*command, hour], api)

    assert len(stored(api, CUSTOMER)) == before + 1
    assert CUSTOMER in first


def test_the_examples_report_the_same_usage_once(api: Api) -> None:
    before = len(stored(api, CUSTOMER))
    hour = str(uuid.uuid4())

    for command in COMMANDS.values():
        run([*command, hour], api)

    assert len(stored(api, CUSTOMER)) == before + 1


@EACH
def test_an_example_signs_each_attempt_when_it_is_sent(busy_api: BusyApi, command: list[str]) -> None:
    """A signature is valid for five minutes, and its time is in seconds; Retry-After asks for one."""
    run(
        command,
        Api(
            api_url=f"http://127.0.0.1:{busy_api.server_port}",
            region="us-east-1",
            metering_table="",
            aws_endpoint_url="",
            stack_name="",
            access_key_id="test",
            secret_access_key="test",  # noqa: S106 - opens nothing
        ),
        NO_PROXY="127.0.0.1",
    )

    for signed_at in (busy_api.signed_at["POST"], busy_api.signed_at["GET"]):
        first, second = signed_at
        assert first < second
