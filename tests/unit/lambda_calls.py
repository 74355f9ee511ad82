"""Calls of the Lambda handlers with proxy events."""

import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from aws_lambda_powertools.utilities.typing import LambdaContext

from metering_handlers import insert_metering_record, insert_metering_records, list_metering_records
from metering_handlers.http.resolver import LambdaHandler
from tests.unit.contract import assert_documented
from tests.unit.proxy_event import proxy_event

Headers = Mapping[str, str]
Query = Mapping[str, str | list[str]]
Body = dict[str, object]

FUNCTION_TIME_MS = 27_000
LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
KEY = {"Idempotency-Key": "order 66"}
REPRESENTATION = {"Prefer": "return=representation"}
DRY_RUN = {"dry_run": "true"}


@dataclass
class FakeContext:
    """The attributes of a Lambda context that the functions and Powertools use."""

    remaining_ms: int = FUNCTION_TIME_MS
    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id: str = "3f1f0a5e-2a4b-4f1c-9d5e-5d8f2f0f7c11"

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass(frozen=True)
class Answer:
    """A function's response, parsed."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def is_replay(self) -> bool:
        return self.headers.get("Idempotent-Replayed") == "true"

    @property
    def outcome(self) -> tuple[int, Any, bool]:
        return self.status, self.body, self.is_replay

    @property
    def problem(self) -> tuple[int, str]:
        """Status, and the last part of the problem type."""
        return self.status, self.body["type"].rpartition(":")[2]

    @property
    def refusal(self) -> tuple[int, set[tuple[str, str]]]:
        """Status, and pointer and code of each violation."""
        return self.status, {(error["pointer"], error["code"]) for error in self.body["errors"]}


class Api:
    """The three functions, called with proxy events."""

    def __init__(self) -> None:
        self.context = FakeContext()
        # Each request's own; the first is EXTENDED_REQUEST_ID.
        self._ids = (f"JKJaXmPLvHc{number:04}=" for number in itertools.count())
        self.request_time = time.time_ns() // 1_000_000

    def insert_one(
        self, customer: str, body: object, headers: Headers | None = None, *, query: Query | None = None
    ) -> Answer:
        event = self.event("POST", f"/insertMeteringRecord/{customer}", body, headers, query)
        return self.call(insert_metering_record.lambda_handler, event)

    def insert_many(
        self, body: object, headers: Headers | None = None, *, query: Query | None = None
    ) -> Answer:
        event = self.event("POST", "/insertMeteringRecords", body, headers, query)
        return self.call(insert_metering_records.lambda_handler, event)

    def records(self, customer: str, **query: str | list[str]) -> Answer:
        # "from" is a keyword of Python's.
        parameters = {name.rstrip("_"): value for name, value in query.items()}
        event = self.event("GET", f"/listMeteringRecords/{customer}", query=parameters)
        return self.call(list_metering_records.lambda_handler, event)

    def event(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Headers | None = None,
        query: Query | None = None,
        *,
        base_path: str = "",
    ) -> dict[str, Any]:
        """Build a proxy event; a body that is text goes as it is, another one as JSON."""
        return proxy_event(
            method,
            path,
            body=body,
            headers=headers,
            query=query,
            extended_request_id=next(self._ids),
            request_time_ms=self.request_time,
            base_path=base_path,
        )

    def call(self, handler: LambdaHandler, event: dict[str, Any]) -> Answer:
        """Call a function, and check that docs/openapi.json describes the answer."""
        answer = handler(event, cast("LambdaContext", self.context))
        headers = {name: values[0] for name, values in answer["multiValueHeaders"].items()}
        body = json.loads(answer["body"])
        assert_documented(event["httpMethod"], event["resource"], answer["statusCode"], headers, body)
        return Answer(answer["statusCode"], headers, body)


def usage(transaction_id: str | None = None, /, **quantities: object) -> Body:
    """Build the body of an insert: dimension names and their quantities."""
    dimensions = [{"dimension_name": name, "dimension_value": value} for name, value in quantities.items()]
    body: Body = {"metered_dimensions": dimensions}
    return body if transaction_id is None else body | {"transaction_id": transaction_id}


def buyer(customer: str, transaction_id: str | None = None, /, **quantities: object) -> Body:
    """Build one entry of a bulk insert."""
    return {"customerIdentifier": customer, **usage(transaction_id, **quantities)}


def buyers(*entries: Body) -> Body:
    """Build the body of a bulk insert."""
    return {"buyers": entries}
