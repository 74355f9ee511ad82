"""Server of the API reference, which sends the calls tried in a browser to the local cloud.

A browser cannot sign requests, and the API does not support CORS. This server therefore signs the page's
calls with the key that ``make local`` has created, and forwards them. It listens on the loopback address
only, and calls no other API.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from string import Template

from requests import RequestException

from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import API_FILE, Api
from tools.local_cloud.steps import say
from tools.openapi.answers import JsonObject
from tools.openapi.document import FILE

_PORT = 8000
_LOOPBACK = "127.0.0.1"
_PAGE = Path(__file__).with_name("reference.html")
# Powertools contains Swagger UI, for functions that serve it themselves.
_SWAGGER_UI = resources.files("aws_lambda_powertools.event_handler.openapi.swagger_ui")
_API_PATH = "/api"
_PASSED_ON = ("Accept", "Content-Type", "Idempotency-Key", "Prefer")
# Headers of this server's own connection; requests has decoded the body.
_NOT_PASSED_ON = frozenset(
    {"connection", "content-encoding", "content-length", "date", "keep-alive", "server", "transfer-encoding"}
)
_PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    # The page may not load anything from other origins.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
}
_UP = "“Try it out” calls the local cloud; this page's server signs for you, with its test credentials."
_DOWN = (
    "The local cloud is not running, so “Try it out” cannot work yet: "
    "start it with <code>make local</code> in another terminal, and reload this page."
)


class ReferenceServer(ThreadingHTTPServer):
    """HTTP server of the page, on the loopback address; port 0 takes a free one.

    ``api_file`` has the URL of the API, and exists while the API is up.
    """

    daemon_threads = True

    def __init__(self, port: int, api_file: Path = API_FILE) -> None:
        super().__init__((_LOOPBACK, port), _Handler)
        self._api_file = api_file

    @property
    def url(self) -> str:
        """URL of the page."""
        return f"http://{_LOOPBACK}:{self.server_port}/"

    def api(self) -> Api | None:
        """Find the API of the local cloud, if that is up."""
        try:
            return Api(**json.loads(self._api_file.read_text()))
        except FileNotFoundError:
            return None


def serve() -> None:
    """Serve the page until Ctrl-C, at port 8000 if that is free."""
    try:
        server = ReferenceServer(_PORT)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        server = ReferenceServer(0)
    with server:
        say(f"The API reference is at {server.url}\nCtrl-C stops it.")
        if server.api() is None:
            say("To try calls there, start the local cloud in another terminal: make local")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("\nStopped.")


class _Handler(BaseHTTPRequestHandler):
    server: ReferenceServer

    def do_GET(self) -> None:
        """Answer with a part of the page, or from the API."""
        match self.path.partition("?")[0]:
            case "/":
                self._answer(HTTPStatus.OK, _PAGE_HEADERS, self._page())
            case "/openapi.json":
                self._answer(HTTPStatus.OK, {"Content-Type": "application/json"}, _document_for_page())
            case "/swagger-ui-bundle.min.js" | "/swagger-ui.min.css" as path:
                content_type = "text/javascript" if path.endswith(".js") else "text/css"
                asset = _SWAGGER_UI.joinpath(path.removeprefix("/")).read_bytes()
                self._answer(HTTPStatus.OK, {"Content-Type": f"{content_type}; charset=utf-8"}, asset)
            case _:
                self._call_api()

    def do_POST(self) -> None:
        """Answer from the API."""
        self._call_api()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Do not log requests."""

    def _page(self) -> bytes:
        is_up = self.server.api() is not None
        page = Template(_PAGE.read_text(encoding="utf-8"))
        return page.substitute(state="up" if is_up else "down", notice=_UP if is_up else _DOWN).encode()

    def _call_api(self) -> None:
        if not self.path.startswith(f"{_API_PATH}/"):
            self._answer(HTTPStatus.NOT_FOUND, {"Content-Type": "text/plain"}, b"There is no such page.\n")
            return
        length = self.headers["Content-Length"]
        body = None if length is None else self.rfile.read(int(length))
        headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        api = self.server.api()
        if api is None:
            self._answer_unreachable("is not running")
            return
        try:
            answer = send(api, self.command, self.path.removeprefix(_API_PATH), body, headers)
        except RequestException as error:
            self._answer_unreachable(f"does not answer ({error})")
            return
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON}
        self._answer(answer.status_code, kept, answer.content)

    def _answer_unreachable(self, what: str) -> None:
        problem = {
            "type": "about:blank",
            "title": "No local cloud",
            "status": HTTPStatus.BAD_GATEWAY.value,
            "detail": f"The local cloud {what}. Start it in another terminal: make local",
        }
        headers = {"Content-Type": "application/problem+json"}
        self._answer(HTTPStatus.BAD_GATEWAY, headers, json.dumps(problem).encode())

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _document_for_page() -> bytes:
    """Return the document with this server as its only server."""
    document: JsonObject = json.loads(FILE.read_text(encoding="utf-8"))
    document["servers"] = [{"url": _API_PATH, "description": "The local cloud, through this page's server."}]
    return json.dumps(document).encode()
