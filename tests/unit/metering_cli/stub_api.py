"""A stand-in for the API on the loopback address: it remembers keys, and fails on demand."""

import json
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    raw_body: bytes

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.raw_body)
        return body

    @property
    def key(self) -> str:
        return self.headers["Idempotency-Key"]


@dataclass(frozen=True)
class Answer:
    """A response without storing anything; without a status, the connection is closed."""

    status: int | None
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


HANG_UP = Answer(None)
ALL_WELL = None


@dataclass(frozen=True)
class StoreBut:
    """Store the records, then wait as the test asks, and send another response."""

    answer: Answer = HANG_UP
    meanwhile: Callable[[], object] = lambda: None


class StubApi:
    """The API. What is in ``script`` happens to the next requests; after that all goes well."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.records: list[dict[str, Any]] = []
        self.script: deque[Answer | StoreBut | None] = deque()
        self._payloads: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/prod"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def use_tls(self, folder: Path) -> None:
        """Use TLS, with a certificate that clients do not trust."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, SHA256())
        )
        pem = folder / "stub.pem"
        pem.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def usage(self) -> list[tuple[str, str, int]]:
        """All stored usage, as lines of the CSV file, sorted."""
        return sorted(
            (record["customerIdentifier"], dimension["dimension_name"], dimension["dimension_value"])
            for record in self.records
            for dimension in record["metered_dimensions"]
        )

    def forget_keys(self) -> None:
        """Let 24 hours pass."""
        self._payloads.clear()

    def answer(self, received: Received) -> Answer:
        self.received.append(received)
        step = self.script.popleft() if self.script else ALL_WELL
        if isinstance(step, Answer):
            return step
        answer = self._insert(received)
        if step is ALL_WELL:
            return answer
        step.meanwhile()
        return step.answer

    def _insert(self, received: Received) -> Answer:
        replayed = received.key in self._payloads
        if self._payloads.setdefault(received.key, received.raw_body) != received.raw_body:
            return problem(422, "The key was used for another payload.")
        if not replayed:
            self.records += received.body["buyers"]
        keys = [
            {"customerIdentifier": buyer["customerIdentifier"], "create_timestamp": 1}
            for buyer in received.body["buyers"]
        ]
        return Answer(200, {"records": keys}, {"Idempotent-Replayed": "true"} if replayed else {})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = api.answer(Received(self.path, dict(self.headers), body))
                if answer.status is None:
                    self.close_connection = True
                    return
                content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **members: object) -> Answer:
    """Answer as the API does when it refuses something."""
    body = {"title": "A title", "status": status, "detail": detail, "instance": "request-1", **members}
    return Answer(status, body, {"Content-Type": "application/problem+json", **(headers or {})})
