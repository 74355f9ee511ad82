"""The report beside the list endpoint and what the hourly job's model was billed for, over every outcome.

``REPORT_RECORDS`` sets the table's size (``make test-report``: 50,000); ``REPORT_FOLDER`` keeps what the
report prints and writes.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import boto3
import pytest

from tests.integration.browser import chromium_page
from tests.unit.faults.hourly_job import HourlyJob, Marketplace, MeteringError
from tests.unit.metering_cli.metering_items import answered, billed, failed_with, pending
from tools.local_cloud.api_client import send

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, WriteRequestTypeDef

    from tools.local_cloud.deploy import Api

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
STATUSES = ("pending", "metered", "failed")
DOUBTFUL = ("DuplicateRecord", "InternalServiceErrorException", "TimeoutError")


def test_report_lists_and_ledger_agree_and_failures_are_billed_once(
    api: Api, empty_table: DynamoDBClient, tmp_path: Path
) -> None:
    marketplace = Marketplace()
    job = HourlyJob(empty_table, api.metering_table, marketplace)
    inserted: Usage = Counter()
    now = time.time_ns() // 1_000_000
    closed = now - 5 * MS_OF_AN_HOUR
    chosen = random.Random(20261124)  # noqa: S311 - the same table each time
    customers = [identifier(number) for number in range(CUSTOMERS)]
    turns = itertools.count()
    batches = DAYS * BATCHES_A_DAY
    for batch in range(batches + 1):
        is_last = batch == batches
        # The last ones still wait: they were recorded after the range that is exported below.
        start = now - 2 * MS_OF_AN_HOUR if is_last else closed - (batches - batch) * 12 * MS_OF_AN_HOUR
        insert(api, empty_table, some_records(chosen, customers, start, batch), inserted)
        if not is_last:
            fail_some(marketplace, chosen, customers, turns)
            run_until_nothing_waits(job)
    marketplace.failures.clear()

    report = run_report(api, "--json")
    totals = {
        (one["customerIdentifier"], one["dimension"]): one for one in json.loads(report.stdout)["totals"]
    }

    assert report.returncode == 1
    assert quantities(totals, "metered") == +marketplace.metered
    everything = quantities(totals, "pending") + quantities(totals, "metered") + quantities(totals, "failed")
    assert everything == +inserted
    assert set(json.loads(report.stdout)["reasons"]) >= {*DOUBTFUL, "CustomerNotSubscribed", "Unprocessed"}
    for customer in customers:
        assert listed_totals(api, customer) == {
            dimension: {status: one[status] for status in STATUSES}
            for (name, dimension), one in totals.items()
            if name == customer
        }

    keep(api, customers[2])
    path = tmp_path / "failed.csv"
    failed = run_report(api, "--status", "failed", "--csv", str(path), "--to", str(closed))
    to_send = usage_in(path)
    assert "WARNING" not in failed.stderr
    doubtful = quantities(totals, "failed") - to_send
    assert marketplace.metered_unanswered
    imports = [run_import(api, path) for _ in range(3)]
    copy = tmp_path / "copy-without-journal.csv"
    copy.write_bytes(path.read_bytes())
    imports.append(run_import(api, copy))
    run_until_nothing_waits(job)

    assert [one.returncode for one in imports] == [0, 0, 0, 4], imports[0].stderr
    assert +marketplace.metered == inserted - doubtful
    assert marketplace.metered_unanswered <= doubtful
    again = run_report(api, "--json", "--from", str(now))
    assert again.returncode == 0, again.stderr
    resent = {
        (one["customerIdentifier"], one["dimension"]): one for one in json.loads(again.stdout)["totals"]
    }
    assert quantities(resent, "metered") == to_send


def test_the_page_opens_by_itself(api: Api, empty_table: DynamoDBClient, tmp_path: Path) -> None:
    odd = '"><script>document.title="owned"</script>'
    now = time.time_ns() // 1_000_000
    for item in (
        pending("a", now, m=1),
        billed("a", now - 1, m=1),
        answered(odd, now - 2, {odd: "Unprocessed"}, **{odd: 1}),
        failed_with(odd, "b", now - 3, m=1),
    ):
        empty_table.put_item(TableName=api.metering_table, Item=item)
    path = tmp_path / "report.html"
    assert run_report(api, "--html", str(path)).returncode == 1

    with chromium_page() as page:
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(path.as_uri())
        title, text, bars = page.title(), page.inner_text("body"), page.locator("svg rect title").count()

    assert asked == [path.as_uri()]
    assert said == []
    assert title == "AWS Marketplace usage report"
    assert odd in text
    assert bars == 3


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
    usage: Usage = Counter()
    for line in path.read_text().splitlines()[1:]:
        customer, dimension, quantity = line.split(",")
        usage[customer, dimension] += int(quantity)
    return +usage


def listed_totals(api: Api, customer: str) -> dict[str, dict[str, Any]]:
    answer = send(api, "GET", f"/listMeteringRecords/{quote(customer, safe='')}?group_by=dimension")
    assert answer.status == 200, answer.body
    page = json.loads(answer.body)
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
    return run_program(os.environ, "report", *where, *arguments)


def run_import(api: Api, path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | api.caller_variables
    return run_program(
        environment, "import", str(path), "--api-url", api.api_url, "--import-id", "failed-today"
    )


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
