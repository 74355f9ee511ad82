"""The demo: sends the API's main requests, shows them, and checks the results."""

from __future__ import annotations

import json
import time
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import boto3

from tools.example_requests import CUSTOMER, INSERT_MANY, INSERT_ONE
from tools.local_cloud.api_client import send
from tools.local_cloud.steps import StepError, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from tools.local_cloud.deploy import Api

IDEMPOTENCY_KEY = "demo-2026-11"
TRANSACTION_ID = "demo-2026-11-23T10"
WITH_ID: dict[str, Any] = {
    "transaction_id": TRANSACTION_ID,
    "metered_dimensions": [{"dimension_name": "metered_1_id", "dimension_value": 5}],
}
WITH_ANOTHER_ID: dict[str, Any] = {
    "transaction_id": "demo-2026-11-23T11",
    "metered_dimensions": [{"dimension_name": "metered_1_id", "dimension_value": 7}],
}

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
    insert_one, insert_many = f"/insertMeteringRecord/{CUSTOMER}", "/insertMeteringRecords"
    list_records = f"/listMeteringRecords/{CUSTOMER}"

    say("\n1. One customer's usage\n")
    _expect_empty(_exchange(api, "POST", insert_one, INSERT_ONE))

    say("\n2. Several entries in one request: those of one customer are added up to one record\n")
    _expect_empty(_exchange(api, "POST", insert_many, INSERT_MANY, IDEMPOTENCY_KEY))

    say("\n3. The same request again, as from a client that got no answer: nothing is stored twice\n")
    _expect_empty(_exchange(api, "POST", insert_many, INSERT_MANY, IDEMPOTENCY_KEY))

    say("\n4. Usage with a transaction_id, an id of your own\n")
    _expect_empty(_exchange(api, "POST", insert_one, WITH_ID))

    say("\n5. The same usage in another request, beside new usage: only the new usage is stored\n")
    regrouped = [{"customerIdentifier": CUSTOMER, **entry} for entry in (WITH_ID, WITH_ANOTHER_ID)]
    answer = _exchange(api, "POST", insert_many, {"buyers": regrouped})

    say("\n6. The record that holds the usage with that id\n")
    found = _exchange(api, "GET", f"{list_records}?{urlencode({'transaction_id': TRANSACTION_ID})}")
    (record,) = _checked_records(found, [WITH_ID])
    duplicate = {
        "customerIdentifier": CUSTOMER,
        "transaction_id": TRANSACTION_ID,
        "create_timestamp": record["create_timestamp"],
        "differs": False,
    }
    _expect(answer == {"duplicates": [duplicate]}, "The insert must have named the usage that is known.")

    say("\n7. All records of the customer\n")
    expected = [INSERT_ONE, _added_up(INSERT_MANY["buyers"]), WITH_ID, WITH_ANOTHER_ID]
    _checked_records(_exchange(api, "GET", list_records), expected)

    say("\n8. The same records as DynamoDB stores them, ready for the quickstart's hourly job\n")
    items = boto3.client("dynamodb").scan(TableName=api.metering_table, ConsistentRead=True)["Items"]
    items.sort(key=lambda item: int(item["create_timestamp"]["N"]))
    for item in items:
        say(f"   {json.dumps(item)}")
    _check_stored(items, expected)

    say("\n9. What a function logged about the last insert, from CloudWatch Logs\n")
    say(f"   {log_line_of(api, items[-1]['request_id']['S'])}")


def _exchange(
    api: Api, method: str, path: str, payload: object = None, idempotency_key: str | None = None
) -> dict[str, Any]:
    """Send a signed request, print both sides of it, and return the answer if it is a 200 and an object."""
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
    if not isinstance(parsed, dict):
        raise StepError("The API's answer is not a JSON object.")
    return parsed


def _say_json(value: object, direction: str) -> None:
    for line in json.dumps(value, indent=2).splitlines():
        say(f"   {direction} {line}")


def _expect_empty(answer: Mapping[str, Any]) -> None:
    _expect(answer == {}, "An insert must answer with the empty object {}.")


def _added_up(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the body of a single insert with the same usage as several entries of one customer."""
    sums: Counter[str] = Counter()
    for entry in entries:
        for used in entry["metered_dimensions"]:
            sums[used["dimension_name"]] += used["dimension_value"]
    return {
        "metered_dimensions": [
            {"dimension_name": name, "dimension_value": value} for name, value in sorted(sums.items())
        ]
    }


def _checked_records(
    answer: Mapping[str, Any], expected: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Check that an answer lists the usage of single inserts, all pending, and return its records."""
    records: list[dict[str, Any]] = answer.get("records", [])
    _expect(answer == {"records": records, "next_token": None}, "The list must be one page of records.")
    listed = [
        {
            "customerIdentifier": CUSTOMER,
            "dimension_usage": [
                {"dimension": used["dimension_name"], "value": used["dimension_value"], "status": "pending"}
                for used in usage["metered_dimensions"]
            ],
            "status": "pending",
            "metering_response": None,
        }
        for usage in expected
    ]
    _expect(
        [_without_trace(record) for record in records] == listed,
        f"The list must hold {len(listed)} record(s), in the order they were inserted, all pending.",
    )
    return records


def _check_stored(
    items: Sequence[Mapping[str, AttributeValueTypeDef]], expected: Sequence[Mapping[str, Any]]
) -> None:
    stored = [
        {
            "customerIdentifier": {"S": CUSTOMER},
            "metering_pending": {"S": "true"},
            "dimension_usage": {
                "L": [
                    {
                        "M": {
                            "dimension": {"S": used["dimension_name"]},
                            "value": {"N": str(used["dimension_value"])},
                        }
                    }
                    for used in usage["metered_dimensions"]
                ]
            },
        }
        for usage in expected
    ]
    _expect(
        [_without_trace(item) for item in items] == stored,
        f"The table must hold the {len(stored)} records, as the quickstart's job reads them.",
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
