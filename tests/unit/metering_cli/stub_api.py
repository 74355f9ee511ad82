"""A stand-in for the API: it remembers ids, and fails on demand."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from socket import SHUT_RDWR
from threading import Lock
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.unit import lambda_calls

HANG_UP = Response()
"""Closes the connection instead."""


def answer(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with bytes, or with JSON."""
    return Response(body if isinstance(body, bytes) else json.dumps(body), status, headers)


def problem(status: int, detail: str, *broken: tuple[str, str], retry_after: str | None = None) -> Response:
    """Answer as the API does when it refuses something; ``broken`` has pointers and details."""
    errors = [{"location": "body", "pointer": at, "code": "some_rule", "detail": rule} for at, rule in broken]
    body = {"title": "A title", "status": status, "detail": detail, "instance": "request-1", "errors": errors}
    return answer(status, body, {"Retry-After": retry_after} if retry_after else None)


@dataclass(frozen=True)
class Step:
    """What happens to a request: a share of its entries is stored, and another answer may come."""

    answer: Response | None = None
    share: float = 1
    meanwhile: Callable[[], object] = lambda: None


class StubApi:
    """The API. ``script`` has what happens to the next requests; with an answer alone, nothing is stored."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Request] = []
        self.stored: dict[tuple[str, str], tuple[str, int]] = {}
        self.script: Iterator[Step | Response] = iter(())
        self._lock = Lock()

    @property
    def bodies_stored(self) -> list[bytes]:
        return [request.get_data() for request in self.received if not request.args]

    def usage(self) -> list[tuple[str, str, int]]:
        """All stored usage, as lines of a file, sorted."""
        return sorted((customer, *used) for (customer, _), used in self.stored.items())

    def respond(self, request: Request) -> Response:
        entries = request.get_json()["buyers"]
        with self._lock:
            self.received.append(request)
            step = next(self.script, Step())
            if isinstance(step, Response):
                step = Step(step, share=0)
            usual = self.insert(request, entries[: int(len(entries) * step.share)])
        step.meanwhile()
        if step.answer is HANG_UP:
            request.environ["werkzeug.socket"].shutdown(SHUT_RDWR)
        return step.answer or usual

    def insert(self, request: Request, entries: Sequence[Mapping[str, Any]]) -> Response:
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
            if not request.args:
                self.stored[key] = used
        if request.args:
            return answer(200, {"dry_run": True, "records": len(holders), "duplicates": duplicates})
        records = [{"customerIdentifier": customer, "create_timestamp": 1} for customer in sorted(holders)]
        return answer(200, {"records": records, **({"duplicates": duplicates} if duplicates else {})})


class Functions(StubApi):
    """The insert function itself, whose answers the stub imitates."""

    def __init__(self) -> None:
        super().__init__()
        self._functions = lambda_calls.Api()

    def insert(self, request: Request, entries: Sequence[Mapping[str, Any]]) -> Response:
        headers = {"Prefer": request.headers["Prefer"]}
        inserted = self._functions.insert_many({"buyers": entries}, headers, query=request.args.to_dict())
        if inserted.status == 200:
            super().insert(request, entries)
        return answer(inserted.status, inserted.body, inserted.headers)
