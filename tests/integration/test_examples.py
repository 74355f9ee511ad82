"""The examples, run as their readers would run them, against the deployed API."""

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.http_calls import stored
from tools.local_cloud.deploy import Api

EXAMPLES = Path(__file__).parents[2] / "examples"
CUSTOMER = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
COMMANDS = {
    "curl": [str(EXAMPLES / "insert.sh")],
    "python": [sys.executable, str(EXAMPLES / "insert.py")],
    "node": ["node", str(EXAMPLES / "insert.mjs")],
}


def run(command: list[str], **variables: str) -> str:
    finished = subprocess.run(  # noqa: S603 - the project's own examples
        command, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_the_examples_report_the_same_usage_once(api: Api) -> None:
    before = len(stored(api, CUSTOMER))
    hour = str(uuid.uuid4())

    for command in [*COMMANDS.values()] * 2:
        assert CUSTOMER in run([*command, hour], METERING_API_URL=api.api_url, **api.caller_variables)

    assert len(stored(api, CUSTOMER)) == before + 1


class BusyApi(ThreadingHTTPServer):
    """Answers the first request with a 503, and notes when requests were signed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), BusyApiHandler)
        self.signed_at: list[str] = []


class BusyApiHandler(BaseHTTPRequestHandler):
    server: BusyApi

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.signed_at.append(self.headers["X-Amz-Date"])
        is_first = len(self.server.signed_at) == 1
        body = json.dumps({"status": 503} if is_first else {}).encode()
        self.send_response(503 if is_first else 200)
        if is_first:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Do not log requests."""


@pytest.fixture
def busy_api() -> Iterator[BusyApi]:
    with BusyApi() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_an_example_signs_each_attempt_when_it_is_sent(busy_api: BusyApi, command: list[str]) -> None:
    """A signature is valid for five minutes, and its time is in seconds; Retry-After asks for one."""
    run(
        command,
        METERING_API_URL=f"http://127.0.0.1:{busy_api.server_port}",
        AWS_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",  # noqa: S106 - opens nothing
        NO_PROXY="127.0.0.1",
    )

    first, second = busy_api.signed_at
    assert first < second
