"""Calls of the functions with proxy events; imports the standard library alone, whatever is measured.

``python -m tools.benchmarks.calls <module> <function> <arguments>`` calls a function of this package, whose
arguments are a JSON array, in a process of its own, and prints what it returns.
"""

import importlib
import json
import os
import resource
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

Event = dict[str, Any]
Handler = Callable[[Event, Any], Event]

MODULES = {
    "insert_one": "metering_handlers.insert_metering_record",
    "insert_many": "metering_handlers.insert_metering_records",
    "list": "metering_handlers.list_metering_records",
    "peer": "tools.benchmarks.peer",
    "empty_route": "tools.benchmarks.empty_route",
}
USAGE: list[Event] = [
    {"dimension_name": "metered_1_id", "dimension_value": 10},
    {"dimension_name": "metered_3_id", "dimension_value": 20},
]


class Context:
    """What a function uses of Lambda's context, with the insert functions' time-out."""

    function_name = "benchmark"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:benchmark"
    aws_request_id = "3f1f0a5e-2a4b-4f1c-9d5e-5d8f2f0f7c11"

    def __init__(self) -> None:
        self._end = time.monotonic() + 27

    def get_remaining_time_in_millis(self) -> int:
        """Return the time that is left."""
        return round((self._end - time.monotonic()) * 1000)


def handler_of(function: str) -> Handler:
    """Import a function's module, which creates its client."""
    handler: Handler = importlib.import_module(MODULES[function]).lambda_handler
    return handler


def call(handler: Handler, event: Event) -> Event:
    """Call a function, which has to succeed."""
    answer = handler(event, Context())
    if answer["statusCode"] != 200:
        raise RuntimeError(answer["body"])
    return answer


def new_customer() -> str:
    """Return an identifier that is in no other event, as long as a legacy one."""
    return f"c{uuid.uuid4().hex[:10]}"


def insert_one(**members: str) -> Event:
    """Create a single insert."""
    body = {"metered_dimensions": USAGE, **members}
    return _event("/insertMeteringRecord/{customerIdentifier+}", new_customer(), body)


def insert_many(entries: int, customers: int, *, with_ids: bool = False) -> Event:
    """Create a bulk insert with entries of so many customers in turn."""
    identifiers = [new_customer() for _ in range(customers)]
    buyers = [
        {"customerIdentifier": identifiers[number % customers], "metered_dimensions": USAGE}
        | ({"transaction_id": str(uuid.uuid4())} if with_ids else {})
        for number in range(entries)
    ]
    return _event("/insertMeteringRecords", body={"buyers": buyers})


def list_records(customer: str, **query: str) -> Event:
    """Create a list, or with ``group_by`` totals."""
    return _event("/listMeteringRecords/{customerIdentifier+}", customer, query=query)


def customers_of(event: Event) -> list[str]:
    """Return the customers of an insert."""
    if event["pathParameters"]:
        return [event["pathParameters"]["customerIdentifier"]]
    return [buyer["customerIdentifier"] for buyer in json.loads(event["body"])["buyers"]]


def _event(resource: str, customer: str = "", body: object = None, query: Event | None = None) -> Event:
    headers = {"Content-Type": "application/json", "Host": "api", "User-Agent": "benchmark"}
    path = resource.replace("{customerIdentifier+}", customer)
    return {
        "resource": resource,
        "path": path,
        "httpMethod": "POST" if body else "GET",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": query and {name: [value] for name, value in query.items()},
        "pathParameters": {"customerIdentifier": customer} if customer else None,
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "extendedRequestId": uuid.uuid4().hex[:16],
            "requestTimeEpoch": time.time_ns() // 1_000_000,
            "stage": "prod",
            "path": f"/prod{path}",
        },
        "body": json.dumps(body) if body else None,
        "isBase64Encoded": False,
    }


def cold_start(function: str) -> float:
    """Return the ms until a function's handler is ready; ``reference`` is boto3 and its client."""
    started = time.perf_counter()
    if function == "reference":
        importlib.import_module("boto3").client("dynamodb")
    else:
        handler_of(function)
    return (time.perf_counter() - started) * 1000


def bulk(entries: int, customers: int) -> tuple[float, float]:
    """Insert entries of so many customers after a cold start; return the call's s, and peak memory in MB."""
    handler, event = handler_of("insert_many"), insert_many(entries, customers)
    started = time.perf_counter()
    call(handler, event)
    seconds = time.perf_counter() - started
    if sys.platform == "linux":
        # ru_maxrss would count what the parent process had when it started this one.
        status = Path("/proc/self/status").read_text()
        return seconds, int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


if __name__ == "__main__":
    module, name, arguments = sys.argv[1:]
    # What is called prints to the null device, at the same cost.
    output = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    measure = getattr(importlib.import_module(f"tools.benchmarks.{module}"), name)
    os.write(output, json.dumps(measure(*json.loads(arguments))).encode())
