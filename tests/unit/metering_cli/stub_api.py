"""A stand-in for the API on the loopback address: it remembers ids, and fails on demand."""

import json
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import urlsplit

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
    def entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads(self.raw_body)["buyers"]
        return entries

    @property
    def is_dry_run(self) -> bool:
        return urlsplit(self.path).query == "dry_run=true"


@dataclass(frozen=True)
class Answer:
    """A response without storing anything; without a status, the connection is closed."""

    status: int | None
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


HANG_UP = Answer(None)


@dataclass(frozen=True)
class StoreBut:
    """Store the first ``share`` of the entries, do what the test asks, and send another response."""

    answer: Answer = HANG_UP
    meanwhile: Callable[[], object] = lambda: None
    share: float = 1


class StubApi:
    """The API. What is in ``checks`` happens to the next dry runs, what is in ``stores`` to inserts."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.stored: dict[tuple[str, str], tuple[str, int]] = {}
        self.checks: deque[Answer | StoreBut | None] = deque()
        self.stores: deque[Answer | StoreBut | None] = deque()
        self.chaos: Callable[[], Answer | StoreBut | None] = lambda: None
        self._lock = Lock()
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

    def use_tls(self, folder: Path) -> Path:
        """Use TLS; return the certificate, which clients do not trust unless they are told to."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
            )
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
        self.url = self.url.replace("http:", "https:")
        return pem

    def usage(self) -> list[tuple[str, str, int]]:
        """All stored usage, as lines of a file, sorted."""
        return sorted((customer, *used) for (customer, _), used in self.stored.items())

    @property
    def inserts(self) -> list[Received]:
        return [received for received in self.received if not received.is_dry_run]

    def answer(self, received: Received) -> Answer:
        with self._lock:
            self.received.append(received)
            script = self.checks if received.is_dry_run else self.stores
            step = script.popleft() if script else self.chaos()
            if isinstance(step, Answer):
                return step
            share = step.share if step and not received.is_dry_run else 1
            entries = received.entries[: int(len(received.entries) * share)]
            answer = self._insert(entries, dry_run=received.is_dry_run)
        if step is None:
            return answer
        step.meanwhile()
        return step.answer

    def _insert(self, entries: list[dict[str, Any]], *, dry_run: bool = False) -> Answer:
        duplicates, holders = [], set()
        for entry in entries:
            customer, transaction_id = key = entry["customerIdentifier"], entry["transaction_id"]
            [dimension] = entry["metered_dimensions"]
            used = (dimension["dimension_name"], dimension["dimension_value"])
            if key in self.stored:
                named = {"customerIdentifier": customer, "transaction_id": transaction_id}
                differs = self.stored[key] != used
                duplicates.append({**named, "create_timestamp": 1, "differs": differs})
                continue
            holders.add(customer)
            if not dry_run:
                self.stored[key] = used
        if dry_run:
            return Answer(200, {"dry_run": True, "records": len(holders), "duplicates": duplicates})
        records = [{"customerIdentifier": customer, "create_timestamp": 1} for customer in sorted(holders)]
        return Answer(200, {"records": records, **({"duplicates": duplicates} if duplicates else {})})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # A body after its headers would wait for the client's delayed acknowledgement, 40 ms.
            disable_nagle_algorithm = True

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


def violation(pointer: str, detail: str) -> dict[str, str]:
    return {"location": "body", "pointer": pointer, "code": "some_rule", "detail": detail}
