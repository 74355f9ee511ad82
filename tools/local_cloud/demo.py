"""The demo: sends the API's main requests, bills what they stored, and checks what is shown of it."""

import json
import subprocess
import sys
from collections import Counter
from http import HTTPStatus
from typing import Any

import boto3
from requests import JSONDecodeError

from checks.log_lines import find_log_line
from metering_handlers.contract.deployment import idempotency_table_name
from tools.example_requests import CUSTOMER, INSERT_MANY, INSERT_ONE
from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import Api, stack_resources
from tools.local_cloud.hourly_job import HourlyJob, Marketplace
from tools.local_cloud.steps import PROJECT, StepError, say

JsonObject = dict[str, Any]
Quantities = Counter[str]
"""By dimension."""

IDEMPOTENCY_KEY = {"Idempotency-Key": "demo-2026-11"}
TRANSACTION_ID = "demo-2026-11-23T10"
REFUSED, REASON = "metered_3_id", "DuplicateRecord"
"""A dimension of which AWS Marketplace has another quantity for this hour, and what it answers then."""

_INSERT_ONE = f"/insertMeteringRecord/{CUSTOMER}"
_INSERT_MANY = "/insertMeteringRecords"
_LIST = f"/listMeteringRecords/{CUSTOMER}"
_HAS_FAILED_USAGE = 1
"""Exit code of ``metering report``."""


def run_demo(api: Api) -> None:
    """Run it against an API on an empty local cloud; raises StepError if a result is not as expected."""
    stored = _insert(api)
    _show_table(api, stored)
    _show_bill(api, stored)
    _show_report(api)


def _insert(api: Api) -> list[Quantities]:
    """Insert usage in every way; return the records that are stored now."""
    with_id = _entry(TRANSACTION_ID, 5)
    with_another_id = _entry("demo-2026-11-23T11", 7)
    many = "Several entries in one request: those of one customer are added up to one record"
    again = "The same request again, as from a client that got no answer: nothing is stored twice"
    for title, path, payload, headers in (
        ("1. One customer's usage", _INSERT_ONE, INSERT_ONE, {}),
        (f"2. {many}", _INSERT_MANY, INSERT_MANY, IDEMPOTENCY_KEY),
        (f"3. {again}", _INSERT_MANY, INSERT_MANY, IDEMPOTENCY_KEY),
        ("4. Usage with a transaction_id, an id of your own", _INSERT_ONE, with_id, {}),
    ):
        answer = _exchange(api, title, path, payload, headers)
        _expect(answer == {}, "An insert must answer with the empty object {}.")

    title = "5. The same usage in another request, beside new usage: only the new usage is stored"
    regrouped = [{"customerIdentifier": CUSTOMER, **entry} for entry in (with_id, with_another_id)]
    answer = _exchange(api, title, _INSERT_MANY, {"buyers": regrouped})

    title = "6. The record that holds the usage with that id"
    found = _exchange(api, title, f"{_LIST}?transaction_id={TRANSACTION_ID}")
    duplicate = {
        "customerIdentifier": CUSTOMER,
        "transaction_id": TRANSACTION_ID,
        "create_timestamp": found["records"][0]["create_timestamp"],
        "differs": False,
    }
    _expect(answer == {"duplicates": [duplicate]}, "The insert must have named the usage that is known.")
    return [_sums(INSERT_ONE), _sums(*INSERT_MANY["buyers"]), _sums(with_id), _sums(with_another_id)]


def _entry(transaction_id: str, quantity: int) -> JsonObject:
    return {
        "transaction_id": transaction_id,
        "metered_dimensions": [{"dimension_name": "metered_1_id", "dimension_value": quantity}],
    }


def _sums(*entries: JsonObject) -> Quantities:
    sums: Quantities = Counter()
    for entry in entries:
        for used in entry["metered_dimensions"]:
            sums[used["dimension_name"]] += used["dimension_value"]
    return sums


def _show_table(api: Api, stored: list[Quantities]) -> None:
    """Show the records as the API lists them, as DynamoDB stores them, and what was logged."""
    listed = _exchange(api, "7. All records of the customer", _LIST)
    outcomes = [_outcomes(record) for record in listed["records"]]
    wanted = [{name: (each[name], "pending", None) for name in each} for each in stored]
    _expect(outcomes == wanted, f"The list must hold {len(stored)} pending records, in the order inserted.")
    _expect(listed["next_token"] is None, "The list must be one page.")

    say("\n8. The same records as DynamoDB stores them, ready for the quickstart's hourly job\n")
    items = boto3.client("dynamodb").scan(TableName=api.metering_table, ConsistentRead=True)["Items"]
    items.sort(key=lambda item: int(item["create_timestamp"]["N"]))
    for item in items:
        say(f"   {json.dumps(item)}")
    _expect(len(items) == len(stored), "The table must hold the records of the list.")

    say("\n9. What a function logged about the last insert, from CloudWatch Logs\n")
    groups = stack_resources(api.stack_name)["AWS::Logs::LogGroup"]
    line = find_log_line(boto3.client("logs"), groups, items[-1]["request_id"]["S"])
    _expect(line is not None, "The request's id must be in a line of the log.")
    say(f"   {line}")


def _show_bill(api: Api, stored: list[Quantities]) -> None:
    """Bill what is stored, but for one dimension, and show what list and totals say of it."""
    say("\n10. The hour is over: the quickstart's job (here a stand-in for it) adds up what is pending, and")
    say(f"    reports it to AWS Marketplace, which refuses {REFUSED}: {REASON}\n")
    marketplace = Marketplace()
    marketplace.failures[CUSTOMER] = {REFUSED: REASON}
    records = HourlyJob(boto3.client("dynamodb"), api.metering_table, marketplace).run()
    billed = {name: quantity for (_, name), quantity in marketplace.metered.items()}
    say(f"   {records} records read and marked; billed: {json.dumps(billed)}")
    sums: Quantities = sum(stored, Counter())
    failing = {REFUSED: sums.pop(REFUSED)}
    _expect(billed == dict(sums), "All usage but the refused dimension's must be billed, exactly once.")

    title = "11. The records that were not billed as a whole, each dimension with what became of it"
    failed = _exchange(api, title, f"{_LIST}?status=failed")["records"]
    wanted = [
        {name: (each[name], *(("failed", REASON) if name == REFUSED else ("metered", None))) for name in each}
        for each in stored
        if REFUSED in each
    ]
    outcomes = [_outcomes(record) for record in failed]
    _expect(
        outcomes == wanted, f"The records with {REFUSED} must be listed, and no other dimension as failed."
    )

    totals = _exchange(api, "12. The totals by dimension", f"{_LIST}?group_by=dimension")["totals"]
    for status, quantities in (("metered", dict(sums)), ("failed", failing)):
        told = {total["dimension"]: total[status]["quantity"] for total in totals if total[status]["records"]}
        _expect(told == quantities, f"The totals must have {quantities} as {status}.")


def _outcomes(record: JsonObject) -> dict[str, tuple[int, str, str | None]]:
    """Return a listed record's quantities, statuses and reasons, by dimension."""
    return {
        used["dimension"]: (used["value"], used["status"], used.get("reason"))
        for used in record["dimension_usage"]
    }


def _show_report(api: Api) -> None:
    say("\n13. The seller's report of all customers: metering report\n")
    where = ["--table", api.metering_table, "--region", api.region]
    command = ["report", *where, "--idempotency-table", idempotency_table_name(api.stack_name)]
    finished = subprocess.run(  # noqa: S603 - the project's own command
        [sys.executable, "-m", "metering_cli", *command],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    for line in finished.stdout.splitlines():
        say(f"   {line}")
    _expect(
        finished.returncode == _HAS_FAILED_USAGE and REFUSED in finished.stdout,
        f"The report must name {REFUSED}, and exit with {_HAS_FAILED_USAGE}, not {finished.returncode}.",
    )


def _exchange(
    api: Api, title: str, path: str, payload: object = None, headers: dict[str, str] | None = None
) -> JsonObject:
    """Insert a payload, or without one list; print both sides, and return the answer if it is a 200."""
    say(f"\n{title}\n")
    method = "POST" if payload else "GET"
    fields = ({"Content-Type": "application/json"} if payload else {}) | (headers or {})
    answer = send(api, method, path, json.dumps(payload).encode() if payload else None, fields)
    say(f"   > {method} {answer.url}")
    for name, value in fields.items():
        say(f"   > {name}: {value}")
    if payload:
        _say_json(payload, ">")
    say(f"   < {answer.status_code} {HTTPStatus(answer.status_code).phrase}")
    for name in ("Content-Type", "Idempotent-Replayed"):
        if name in answer.headers:
            say(f"   < {name}: {answer.headers[name]}")
    try:
        returned: JsonObject = answer.json()
    except JSONDecodeError as error:
        say(f"   < {answer.text}")
        raise StepError("The API's answer is not JSON.") from error
    _say_json(returned, "<")
    _expect(answer.status_code == HTTPStatus.OK, f"The API must answer with 200, not {answer.status_code}.")
    return returned


def _say_json(value: object, direction: str) -> None:
    for line in json.dumps(value, indent=2).splitlines():
        say(f"   {direction} {line}")


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise StepError(otherwise)
