"""The server of the API reference: what it serves, and whom it calls."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tools.openapi.reference import ReferenceServer


class StandIn(HTTPServer):
    """A stand-in for the API, which keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), StandInHandler)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []


class StandInHandler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        self.send_response(503)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Retry-After", "5")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def serve(server: HTTPServer) -> Iterator[HTTPServer]:
    with server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


@pytest.fixture
def stand_in() -> Iterator[HTTPServer]:
    yield from serve(StandIn())


@pytest.fixture
def api_file(tmp_path: Path) -> Path:
    return tmp_path / "api.json"


@pytest.fixture
def reference(api_file: Path) -> Iterator[HTTPServer]:
    yield from serve(ReferenceServer(0, api_file))


def call(
    server: HTTPServer,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def say_where(api_file: Path, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    api: dict[str, Any] = {
        "api_url": f"{url}/prod",
        "region": "us-east-1",
        "metering_table": "t",
        "aws_endpoint_url": url,
        "stack_name": "stack",
        "access_key_id": "caller",
        "secret_access_key": "secret",
    }
    api_file.write_text(json.dumps(api))


def test_a_call_reaches_the_api_signed_and_its_answer_comes_back(
    reference: HTTPServer, stand_in: StandIn, api_file: Path
) -> None:
    say_where(api_file, stand_in.server_port)

    answer, body = call(
        reference,
        "POST",
        "/api/insertMeteringRecord/arn%3Aaws%3Alicense%2Flic-1?x=1",
        b'{"a":1}',
        {"Content-Type": "application/json", "Idempotency-Key": "k", "Cookie": "c=1"},
    )

    ((method, path, headers, sent),) = stand_in.requests
    assert (method, path, sent) == (
        "POST",
        "/prod/insertMeteringRecord/arn%3Aaws%3Alicense%2Flic-1?x=1",
        b'{"a":1}',
    )
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=caller/")
    assert headers["Idempotency-Key"] == "k"
    assert "Cookie" not in headers
    assert (answer.status, answer.headers["Retry-After"], body) == (503, "5", b"{}")


def test_a_call_without_a_local_cloud_says_how_to_start_it(reference: HTTPServer) -> None:
    answer, body = call(reference, "GET", "/api/listMeteringRecords/c")

    assert (answer.status, answer.headers["Content-Type"]) == (502, "application/problem+json")
    assert "make local" in json.loads(body)["detail"]


def test_a_local_cloud_that_was_killed_does_not_answer(reference: HTTPServer, api_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        say_where(api_file, gone.getsockname()[1])

    answer, body = call(reference, "GET", "/api/listMeteringRecords/c")

    assert answer.status == 502
    assert "does not answer" in json.loads(body)["detail"]


def test_the_page_loads_and_calls_this_server_only(reference: HTTPServer) -> None:
    for path in ("/", "/swagger-ui-bundle.min.js", "/swagger-ui.min.css"):
        answer, body = call(reference, "GET", path)
        assert (answer.status, bool(body)) == (200, True)
    page, _ = call(reference, "GET", "/")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    _, body = call(reference, "GET", "/openapi.json")
    assert [server["url"] for server in json.loads(body)["servers"]] == ["/api"]


@pytest.mark.parametrize("path", ["/elsewhere", "/api", "/apiary", "/../openapi/reference.py"])
def test_other_paths_are_not_found(reference: HTTPServer, path: str) -> None:
    assert call(reference, "GET", path)[0].status == 404
