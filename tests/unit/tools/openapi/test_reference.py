"""The server of the API reference: what it serves, and whom it calls."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from werkzeug.wrappers import Request, Response

from tests.serving import serving
from tools.openapi.reference import ReferenceServer


@pytest.fixture
def api_file(tmp_path: Path) -> Path:
    return tmp_path / "api.json"


@pytest.fixture
def page(api_file: Path) -> Iterator[str]:
    with ReferenceServer(0, api_file) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.url.rstrip("/")
        server.shutdown()


def say_where(api_file: Path, url: str) -> None:
    names = ("region", "metering_table", "aws_endpoint_url", "stack_name", "secret_access_key")
    api = dict.fromkeys(names, "any") | {"api_url": f"{url}/prod", "access_key_id": "caller"}
    api_file.write_text(json.dumps(api))


def test_a_call_reaches_the_api_signed_and_its_answer_comes_back(page: str, api_file: Path) -> None:
    received: list[Request] = []

    def api(request: Request) -> Response:
        request.get_data()
        received.append(request)
        return Response("{}", 503, {"Retry-After": "5"}, content_type="application/problem+json")

    path = "/insertMeteringRecord/arn%3Aaws%3Alicense%2Flic-1?x=1"
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k", "Cookie": "c=1"}
    with serving(api) as url:
        say_where(api_file, url)
        returned = requests.post(f"{page}/api{path}", b'{"a":1}', headers=headers, timeout=10)

    (request,) = received
    assert (request.method, request.environ["REQUEST_URI"]) == ("POST", f"/prod{path}")
    assert request.get_data() == b'{"a":1}'
    assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=caller/")
    assert request.headers["Idempotency-Key"] == "k"
    assert "Cookie" not in request.headers
    assert (returned.status_code, returned.headers["Retry-After"], returned.text) == (503, "5", "{}")


def test_without_a_local_cloud_a_call_says_how_to_start_it(page: str, api_file: Path) -> None:
    def called() -> str:
        returned = requests.get(f"{page}/api/listMeteringRecords/c", timeout=10)
        problem: dict[str, str | int] = returned.json()
        assert returned.headers["Content-Type"] == "application/problem+json"
        assert returned.status_code == problem["status"] == 502
        return str(problem["detail"])

    assert called() == "The local cloud is not running. Start it in another terminal: make local"
    assert "cannot work yet" in requests.get(page, timeout=10).text
    with socket.create_server(("127.0.0.1", 0)) as gone:
        say_where(api_file, f"http://127.0.0.1:{gone.getsockname()[1]}")
    assert "The local cloud does not answer" in called()
    assert "signs for you" in requests.get(page, timeout=10).text


def test_the_page_loads_and_calls_this_server_only(page: str) -> None:
    for path, content_type in (
        ("/", "text/html; charset=utf-8"),
        ("/swagger-ui-bundle.min.js", "text/javascript; charset=utf-8"),
        ("/swagger-ui.min.css", "text/css; charset=utf-8"),
        ("/openapi.json", "application/json"),
    ):
        returned = requests.get(page + path, timeout=10)
        assert (returned.status_code, bool(returned.content)) == (200, True)
        assert returned.headers["Content-Type"] == content_type
    policy = requests.get(page, timeout=10).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    document = requests.get(f"{page}/openapi.json", timeout=10).json()
    assert [server["url"] for server in document["servers"]] == ["/api"]


@pytest.mark.parametrize("path", ["/elsewhere", "/api", "/apiary"])
def test_other_paths_are_not_found(page: str, path: str) -> None:
    assert requests.get(page + path, timeout=10).status_code == 404
