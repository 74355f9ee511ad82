"""The report beside the list endpoint and what the hourly job's model was billed for, over every outcome.

``REPORT_RECORDS`` sets the table's size (``make test-report``: 50,000); ``REPORT_FOLDER`` keeps what the
report prints and writes.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import boto3
import pytest
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, WriteRequestTypeDef

from tests.integration.browser import chromium_page
from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import Api
from tools.local_cloud.hourly_job import HourlyJob, Marketplace, MeteringError

Item = dict[str, AttributeValueTypeDef]
Usage = Counter[tuple[str, str]]

PROJECT = Path(__file__).parents[2]
PROGRAM_SECONDS = 1_200
RECORDS = int(os.environ.get("REPORT_RECORDS", "1200"))
CUSTOMERS = max(RECORDS * 300 // 50_000, 12)
DAYS = 14
BATCHES_A_DAY = 2
"""Runs of the hourly job that find something."""
DIMENSIONS = ("seats", "storage_gb", "requests", "vcpu_hours", "support", "egress_gb")
FOLDER = os.environ.get("REPORT_FOLDER")
MS_OF_AN_HOUR = 3_600_000
WORDS = {"pending": "pending", "metered": "billed", "failed": "not_billed"}
"""The report's word for each status of the API."""
DOUBTFUL = ("DuplicateRecord", "InternalServiceErrorException", "TimeoutError")


class Fortnight(NamedTuple):
    """Two weeks of usage, part of which has failed in each way."""

    job: HourlyJob
    marketplace: Marketplace
    inserted: Usage
    customers: list[str]
    closed: int
    """Time in ms after which usage still waits."""


def a_fortnight(api: Api, table: DynamoDBClient) -> Fortnight:
    marketplace = Marketplace()
    job = HourlyJob(table, api.metering_table, marketplace)
    inserted: Usage = Counter()
    now = time.time_ns() // 1_000_000
    closed = now - 5 * MS_OF_AN_HOUR
    chosen = random.Random(20261124)  # noqa: S311 - the same table each time
    customers = [identifier(number) for number in range(CUSTOMERS)]
    turns = itertools.count()
    batches = DAYS * BATCHES_A_DAY
    for batch in range(batches):
        start = closed - (batches - batch) * 12 * MS_OF_AN_HOUR
        insert(api, table, some_records(chosen, customers, start, batch), inserted)
        fail_some(marketplace, chosen, customers, turns)
        run_until_nothing_waits(job)
    insert(api, table, some_records(chosen, customers, now - 2 * MS_OF_AN_HOUR, batches), inserted)
    marketplace.failures.clear()
    return Fortnight(job, marketplace, inserted, customers, closed)


def test_report_lists_and_ledger_agree_and_failures_are_billed_once(
    api: Api, empty_table: DynamoDBClient, tmp_path: Path
) -> None:
    job, marketplace, inserted, customers, closed = a_fortnight(api, empty_table)

    report = run_report(api, "--json")
    printed = json.loads(report.stdout)
    totals = {(one["customer"], one["dimension"]): one for one in printed["totals"]}

    assert report.returncode == 1
    assert quantities(totals, "billed") == +marketplace.metered
    assert sum((quantities(totals, word) for word in WORDS.values()), Counter()) == +inserted
    reasons = {one["reason"] for one in printed["failures"]}
    assert reasons >= {*DOUBTFUL, "CustomerNotSubscribed", "Unprocessed"}
    for customer in customers:
        assert listed_totals(api, customer) == {
            dimension: {status: one[word] for status, word in WORDS.items()}
            for (name, dimension), one in totals.items()
            if name == customer
        }

    keep(api, customers[2])
    path, to_correct = tmp_path / "failed.csv", tmp_path / "failed-to-correct.csv"
    run_report(api, "--send-again", str(path), "--to", str(closed))
    to_send = usage_in(path) + usage_in(to_correct)
    doubtful = quantities(totals, "not_billed") - to_send
    assert marketplace.metered_unanswered
    imports = [run_import(api, file) for file in (path, path, to_correct, to_correct)]
    run_until_nothing_waits(job)

    assert [one.returncode for one in imports] == [0, 0, 0, 0], imports[0].stderr
    assert +marketplace.metered == inserted - doubtful
    assert marketplace.metered_unanswered <= doubtful
    again = json.loads(run_report(api, "--json").stdout)
    still_open = [one for one in again["failures"] if one["state"] == "open"]
    assert {one["reason"] for one in still_open} == set(DOUBTFUL)
    assert sum_of(still_open) == doubtful


@pytest.fixture
def empty_table(api: Api) -> DynamoDBClient:
    """Delete what other tests have left: the model of the job and the report are about all of a table."""
    client = boto3.client("dynamodb")
    keys = ("customerIdentifier", "create_timestamp")
    pages = client.get_paginator("scan").paginate(TableName=api.metering_table)
    deletes: list[WriteRequestTypeDef] = [
        {"DeleteRequest": {"Key": {key: item[key] for key in keys}}}
        for page in pages
        for item in page["Items"]
    ]
    write(client, api, deletes)
    return client


def write(client: DynamoDBClient, api: Api, requests: list[WriteRequestTypeDef]) -> None:
    for start in range(0, len(requests), 25):
        answer = client.batch_write_item(RequestItems={api.metering_table: requests[start : start + 25]})
        assert not answer["UnprocessedItems"]


def identifier(number: int) -> str:
    """Return a legacy identifier, an account id or a License ARN."""
    return (
        f"ExWoL3vTir{number:03}",
        f"{number:012}",
        f"arn:aws:license-manager::123456789012:license/lic-{number:032x}",
    )[number % 3]


def some_records(
    chosen: random.Random, customers: list[str], start: int, batch: int
) -> Iterator[tuple[str, int, dict[str, int]]]:
    """Choose a batch's records: customer, time and usage, all of different times."""
    share = RECORDS // (DAYS * BATCHES_A_DAY + 1)
    rest = RECORDS - share * (DAYS * BATCHES_A_DAY + 1)
    for number in range(share + (rest if batch == 0 else 0)):
        dimensions = chosen.sample(DIMENSIONS, chosen.randint(1, 3))
        # Heartbeats of zero, everyday numbers, and such as add up beyond 32 bits.
        usage = {name: chosen.choice((0, chosen.randrange(1_000), 50_000_000)) for name in dimensions}
        yield chosen.choice(customers), start + number, usage


def insert(
    api: Api, client: DynamoDBClient, records: Iterator[tuple[str, int, dict[str, int]]], inserted: Usage
) -> None:
    requests: list[WriteRequestTypeDef] = []
    for customer, created, usage in records:
        item: Item = {
            "customerIdentifier": {"S": customer},
            "create_timestamp": {"N": str(created)},
            "metering_pending": {"S": "true"},
            "dimension_usage": {
                "L": [
                    {"M": {"dimension": {"S": name}, "value": {"N": str(quantity)}}}
                    for name, quantity in usage.items()
                ]
            },
        }
        requests.append({"PutRequest": {"Item": item}})
        inserted.update({(customer, name): quantity for name, quantity in usage.items()})
    write(client, api, requests)


def fail_some(
    marketplace: Marketplace, chosen: random.Random, customers: list[str], turns: Iterator[int]
) -> None:
    """Let a tenth of the customers fail in the next hour, in each way in turn."""
    marketplace.failures.clear()
    for customer in customers:
        if chosen.random() < 0.1:
            ways: list[dict[str, str] | MeteringError] = [
                dict.fromkeys(chosen.sample(DIMENSIONS, 4), "CustomerNotSubscribed"),
                dict.fromkeys(chosen.sample(DIMENSIONS, 4), "DuplicateRecord"),
                dict.fromkeys(chosen.sample(DIMENSIONS, 4), "Unprocessed"),
                MeteringError({"code": "InvalidUsageDimensionException", "message": "no such dimension"}),
                MeteringError({"name": "ThrottlingException", "$fault": "client"}),
                MeteringError({"name": "InternalServiceErrorException", "$fault": "server"}),
                MeteringError({"code": "TimeoutError"}),
                MeteringError({"code": "TimeoutError"}, was_billed=True),
            ]
            marketplace.failures[customer] = ways[next(turns) % len(ways)]


def run_until_nothing_waits(job: HourlyJob) -> None:
    while job.run():
        pass


def quantities(totals: dict[tuple[str, str], dict[str, Any]], status: str) -> Usage:
    return +Counter({key: one[status]["quantity"] for key, one in totals.items()})


def usage_in(path: Path) -> Usage:
    with path.open(newline="") as file:
        return sum_of(
            {
                "customer": line["customerIdentifier"],
                "dimension": line["dimension_name"],
                "quantity": int(line["dimension_value"]),
            }
            for line in csv.DictReader(file)
        )


def sum_of(failures: Iterable[Mapping[str, Any]]) -> Usage:
    usage: Usage = Counter()
    for one in failures:
        usage[one["customer"], one["dimension"]] += one["quantity"]
    return +usage


def listed_totals(api: Api, customer: str) -> dict[str, dict[str, Any]]:
    answer = send(api, "GET", f"/listMeteringRecords/{quote(customer, safe='')}?group_by=dimension")
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert page["next_token"] is None
    return {total.pop("dimension"): total for total in page["totals"]}


def keep(api: Api, customer: str) -> None:
    """Keep the report of the whole table, if a folder is given."""
    if not FOLDER:
        return
    folder = Path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    page_path = folder / "usage-report.html"
    whole = run_report(api, "--html", str(page_path))
    (folder / "usage-report.txt").write_text(whole.stdout + whole.stderr)
    one = run_report(api, "--customer", customer)
    (folder / "usage-report-customer.txt").write_text(one.stdout + one.stderr)
    with chromium_page() as page:
        page.goto(page_path.resolve().as_uri())
        page.screenshot(path=folder / "usage-report.png")


def run_report(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    where = ("--table", api.metering_table, "--region", api.region, "--read-capacity", "100000")
    idempotency_table = ("--idempotency-table", f"{api.stack_name}-idempotency")
    return run_program(os.environ, "report", *where, *idempotency_table, *arguments)


def run_import(api: Api, path: Path) -> subprocess.CompletedProcess[str]:
    return run_program(os.environ | api.caller_variables, "import", str(path), "--api-url", api.api_url)


def run_program(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-m", "metering_cli", *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
