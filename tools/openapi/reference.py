"""Server of the API reference, which sends the calls tried in a browser to the local cloud.

A browser cannot sign requests, and the API does not support CORS. This server therefore signs the page's
calls with the key that ``make local`` has created, and forwards them. It listens on the loopback address
only, and calls no other API.
"""

import json
import logging
import socket
from contextlib import suppress
from functools import partial
from importlib import resources
from pathlib import Path
from string import Template

from requests import RequestException
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.wrappers import Request, Response

from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import API_FILE, Api
from tools.local_cloud.steps import say
from tools.openapi.document import FILE

_LOOPBACK = "127.0.0.1"
_PORT = 8000
_PAGE = Path(__file__).with_name("reference.html")
# Powertools contains Swagger UI, for functions that serve it themselves.
_SWAGGER_UI = resources.files("aws_lambda_powertools.event_handler.openapi.swagger_ui")
_API_PATH = "/api"
_PASSED_ON = ("Accept", "Content-Type", "Idempotency-Key", "Prefer")
# Headers of this server's own connection; requests has decoded the body.
_NOT_PASSED_ON = frozenset(
    {"connection", "content-encoding", "content-length", "date", "keep-alive", "server", "transfer-encoding"}
)
# The page may not load anything from other origins.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'"
)
_UP = "“Try it out” calls the local cloud; this page's server signs for you, with its test credentials."
_DOWN = (
    "The local cloud is not running, so “Try it out” cannot work yet: "
    "start it with <code>make local</code> in another terminal, and reload this page."
)


class ReferenceServer(ThreadedWSGIServer):
    """HTTP server of the page, on the loopback address; port 0 takes a free one."""

    def __init__(self, port: int, api_file: Path = API_FILE) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise it logs each request
        super().__init__(_LOOPBACK, port, Request.application(partial(_answer, api_file)))
        self.url = f"http://{_LOOPBACK}:{self.server_port}/"


def serve() -> None:
    """Serve the page until Ctrl-C, at port 8000 if that is free."""
    port = 0
    with suppress(OSError), socket.create_server((_LOOPBACK, _PORT)):
        port = _PORT
    server = ReferenceServer(port)
    say(f"The API reference is at {server.url}\nCtrl-C stops it.")
    if not API_FILE.exists():
        say("To try calls there, start the local cloud in another terminal: make local")
    server.serve_forever()
    say("\nStopped.")


def _answer(api_file: Path, request: Request) -> Response:
    """Answer with a part of the page, or from the API that ``api_file`` has; it exists while that is up."""
    match request.path:
        case "/":
            state, notice = ("up", _UP) if api_file.exists() else ("down", _DOWN)
            page = Template(_PAGE.read_text(encoding="utf-8")).substitute(state=state, notice=notice)
            return Response(page, headers={"Content-Security-Policy": _POLICY}, mimetype="text/html")
        case "/openapi.json":
            # With this server as its only one.
            servers = [{"url": _API_PATH, "description": "The local cloud, through this page's server."}]
            document = json.loads(FILE.read_text(encoding="utf-8")) | {"servers": servers}
            return Response(json.dumps(document), mimetype="application/json")
        case "/swagger-ui-bundle.min.js" | "/swagger-ui.min.css" as path:
            mimetype = "text/javascript" if path.endswith(".js") else "text/css"
            return Response(_SWAGGER_UI.joinpath(path.removeprefix("/")).read_bytes(), mimetype=mimetype)
        case path if path.startswith(f"{_API_PATH}/"):
            return _call_api(api_file, request)
        case _:
            return Response("There is no such page.\n", 404)


def _call_api(api_file: Path, request: Request) -> Response:
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    # As it was sent: the path's escapes are not decoded.
    path: str = request.environ["REQUEST_URI"].removeprefix(_API_PATH)
    try:
        api = Api(**json.loads(api_file.read_text()))
        answer = send(api, request.method, path, request.get_data() or None, headers)
    except FileNotFoundError:
        return _unreachable("is not running")
    except RequestException as error:
        return _unreachable(f"does not answer ({error})")
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON}
    return Response(answer.content, answer.status_code, kept)


def _unreachable(what: str) -> Response:
    problem = {
        "type": "about:blank",
        "title": "No local cloud",
        "status": 502,
        "detail": f"The local cloud {what}. Start it in another terminal: make local",
    }
    return Response(json.dumps(problem), 502, content_type="application/problem+json")
