"""The demo: sends the API's main requests, shows them, and checks the results."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import boto3

from tools.example_requests import CUSTOMER, INSERT_MANY, INSERT_ONE
from tools.local_cloud.api_client import send
from tools.local_cloud.steps import StepError, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from tools.local_cloud.deploy import Api

IDEMPOTENCY_KEY = "demo-2026-11"

# Usage of the three records, in the order in which they are inserted.
_USAGE = [
    {entry["dimension_name"]: entry["dimension_value"] for entry in buyer["metered_dimensions"]}
    for buyer in (INSERT_ONE, *INSERT_MANY["buyers"])
]
_LOG_SECONDS = 30
_POLL_SECONDS = 0.5


def run_demo(api: Api) -> None:
    """Insert the examples, list them, and show what was stored and logged.

    Parameters
    ----------
    api : Api
        The API, deployed to an empty local cloud.

    Raises
    ------
    StepError
        If a result is not as expected.
    """
    say("\n1. One record for one customer\n")
    answer = _exchange(api, "POST", f"/insertMeteringRecord/{CUSTOMER}", INSERT_ONE)
    _expect(answer == {}, "Inserting one record must answer with the empty object {}.")

    say("\n2. Several records in one request, here both for the same customer\n")
    answer = _exchange(api, "POST", "/insertMeteringRecords", INSERT_MANY, IDEMPOTENCY_KEY)
    _expect(answer == {}, "Inserting several records must answer with the empty object {}.")

    say("\n3. The same request again, as from a client that got no answer: nothing is written twice\n")
    answer = _exchange(api, "POST", "/insertMeteringRecords", INSERT_MANY, IDEMPOTENCY_KEY)
    _expect(answer == {}, "A repeated request must answer as the first did.")

    say("\n4. The customer's records, listed\n")
    _check_listed(_exchange(api, "GET", f"/listMeteringRecords/{CUSTOMER}"))

    say("\n5. The same records as DynamoDB stores them, ready for the quickstart's hourly job\n")
    items = boto3.client("dynamodb").scan(TableName=api.metering_table, ConsistentRead=True)["Items"]
    items.sort(key=lambda item: int(item["create_timestamp"]["N"]))
    for item in items:
        say(f"   {json.dumps(item)}")
    _check_stored(items)

    say("\n6. What a function logged about the last insert, from CloudWatch Logs\n")
    say(f"   {log_line_of(api, items[-1]['request_id']['S'])}")


def _exchange(
    api: Api, method: str, path: str, payload: object = None, idempotency_key: str | None = None
) -> object:
    """Send a signed request, print both sides of it, and return the parsed answer if it is a 200."""
    say(f"   > {method} {api.api_url}{path}")
    if payload is not None:
        say("   > Content-Type: application/json")
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    for name, value in headers.items():
        say(f"   > {name}: {value}")
    if payload is not None:
        _say_json(payload, ">")
    answer = send(api, method, path, None if payload is None else json.dumps(payload).encode(), headers)
    say(f"   < {answer.status} {HTTPStatus(answer.status).phrase}")
    for name in ("Content-Type", "Idempotent-Replayed"):
        if name.lower() in answer.headers:
            say(f"   < {name}: {answer.headers[name.lower()]}")
    try:
        parsed = answer.json()
    except ValueError:
        say(f"   < {answer.body.decode(errors='replace')}")
        raise StepError("The API's answer is not JSON.") from None
    _say_json(parsed, "<")
    _expect(answer.status == HTTPStatus.OK, f"The API must answer with 200, not {answer.status}.")
    return parsed


def _say_json(value: object, direction: str) -> None:
    for line in json.dumps(value, indent=2).splitlines():
        say(f"   {direction} {line}")


def _check_listed(answer: object) -> None:
    expected = [
        {
            "customerIdentifier": CUSTOMER,
            "dimension_usage": [
                {"dimension": name, "value": value, "status": "pending"} for name, value in usage.items()
            ],
            "status": "pending",
            "metering_response": None,
        }
        for usage in _USAGE
    ]
    listed = answer.get("records") if isinstance(answer, dict) else None
    _expect(
        isinstance(listed, list) and [_without_trace(record) for record in listed] == expected,
        "The list must hold the three records in the order they were inserted, all pending.",
    )
    _expect(answer == {"records": listed, "next_token": None}, "Three records must make one page.")


def _check_stored(items: list[dict[str, AttributeValueTypeDef]]) -> None:
    expected = [
        {
            "customerIdentifier": {"S": CUSTOMER},
            "metering_pending": {"S": "true"},
            "dimension_usage": {
                "L": [
                    {"M": {"dimension": {"S": name}, "value": {"N": str(value)}}}
                    for name, value in usage.items()
                ]
            },
        }
        for usage in _USAGE
    ]
    _expect(
        [_without_trace(item) for item in items] == expected,
        "The table must hold the three records, as the quickstart's job reads them.",
    )


def _without_trace(record: Mapping[str, object]) -> dict[str, object]:
    """Leave out what differs between runs: timestamp and request id."""
    return {name: value for name, value in record.items() if name not in {"create_timestamp", "request_id"}}


def log_line_of(api: Api, request_id: str) -> str:
    """Wait for a log line that has the request's id as its correlation id, and return it."""
    logs = boto3.client("logs")
    stack = boto3.client("cloudformation").describe_stack_resources(StackName=api.stack_name)
    groups = [
        resource["PhysicalResourceId"]
        for resource in stack["StackResources"]
        if resource["ResourceType"] == "AWS::Logs::LogGroup"
    ]
    deadline = time.monotonic() + _LOG_SECONDS
    while time.monotonic() < deadline:
        for group in groups:
            for event in logs.filter_log_events(logGroupName=group)["events"]:
                if _correlation_id(event["message"]) == request_id:
                    return event["message"].strip()
        time.sleep(_POLL_SECONDS)
    raise StepError(f"No log line with the correlation id {request_id} came within {_LOG_SECONDS} s.")


def _correlation_id(message: str) -> object:
    try:
        line = json.loads(message)
    except ValueError:
        return None
    return line.get("correlation_id") if isinstance(line, dict) else None


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise StepError(otherwise)
