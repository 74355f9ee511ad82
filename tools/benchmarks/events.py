"""Proxy events of the requests that are measured; imports nothing that a cold start would pay."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

USAGE: list[dict[str, Any]] = [
    {"dimension_name": "metered_1_id", "dimension_value": 10},
    {"dimension_name": "metered_3_id", "dimension_value": 20},
]

Event = dict[str, Any]


class Context:
    """What a function uses of Lambda's context."""

    function_name = "benchmark"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:benchmark"
    aws_request_id = "3f1f0a5e-2a4b-4f1c-9d5e-5d8f2f0f7c11"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Return the whole time-out of the insert functions."""
        return 27_000


def new_customer() -> str:
    """Return an identifier that is in no other event, as long as a legacy one."""
    return f"c{uuid.uuid4().hex[:10]}"


def insert_one(transaction_id: str | None = None) -> Event:
    """Create a single insert."""
    body: Event = {"metered_dimensions": USAGE}
    if transaction_id:
        body["transaction_id"] = transaction_id
    return _event("POST", "/insertMeteringRecord/{customerIdentifier+}", new_customer(), body)


def insert_many(entries: int, customers: int, *, with_ids: bool = False) -> Event:
    """Create a bulk insert with entries of so many customers in turn."""
    identifiers = [new_customer() for _ in range(customers)]
    buyers: list[Event] = [
        {"customerIdentifier": identifiers[number % customers], "metered_dimensions": USAGE}
        for number in range(entries)
    ]
    if with_ids:
        for buyer in buyers:
            buyer["transaction_id"] = str(uuid.uuid4())
    return _event("POST", "/insertMeteringRecords", body={"buyers": buyers})


def list_records(customer: str, **query: str) -> Event:
    """Create a list, or with ``group_by`` totals."""
    return _event("GET", "/listMeteringRecords/{customerIdentifier+}", customer, query=query)


def customers_of(event: Event) -> list[str]:
    """Return the customers of an insert."""
    if event["pathParameters"]:
        return [event["pathParameters"]["customerIdentifier"]]
    return [buyer["customerIdentifier"] for buyer in json.loads(event["body"])["buyers"]]


def _event(
    method: str,
    resource: str,
    customer: str | None = None,
    body: object = None,
    query: dict[str, str] | None = None,
) -> Event:
    headers = {"Content-Type": "application/json", "Host": "api", "User-Agent": "benchmark"}
    path = resource.replace("{customerIdentifier+}", customer or "")
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": query and {name: [value] for name, value in query.items()},
        "pathParameters": {"customerIdentifier": customer} if customer else None,
        "stageVariables": None,
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "extendedRequestId": uuid.uuid4().hex[:16],
            "requestTimeEpoch": time.time_ns() // 1_000_000,
            "stage": "prod",
            "path": f"/prod{path}",
            "httpMethod": method,
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }
