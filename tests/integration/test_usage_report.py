"""The report beside the list endpoint and what the hourly job's model was billed for, over every outcome.

``REPORT_RECORDS`` sets the table's size (``make test-report``: 50,000); ``REPORT_FOLDER`` keeps what the
report prints and writes.
"""

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
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from metering_handlers.contract.deployment import idempotency_table_name
from tests.integration.browser import chromium_page
from tests.integration.http_calls import stored
from tests.integration.programs import run
from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import Api
from tools.local_cloud.hourly_job import HourlyJob, Marketplace, MeteringError

Usage = Counter[tuple[str, str]]

RECORDS = int(os.environ.get("REPORT_RECORDS", "1200"))
CUSTOMERS = max(RECORDS * 300 // 50_000, 12)
BATCHES = 28
"""Runs of the hourly job that find something, two a day."""
DIMENSIONS = ("seats", "storage_gb", "requests", "vcpu_hours", "support", "egress_gb")
FOLDER = os.environ.get("REPORT_FOLDER")
MS_OF_AN_HOUR = 3_600_000
WORDS = {"pending": "pending", "metered": "billed", "failed": "not_billed"}
"""The report's word for each status of the API."""
DOUBTFUL = {"DuplicateRecord", "InternalServiceErrorException", "TimeoutError"}
REFUSALS = ("CustomerNotSubscribed", "DuplicateRecord", "Unprocessed")
EXCEPTIONS = (
    MeteringError({"code": "InvalidUsageDimensionException", "message": "no such dimension"}),
    MeteringError({"name": "ThrottlingException", "$fault": "client"}),
    MeteringError({"name": "InternalServiceErrorException", "$fault": "server"}),
    MeteringError({"code": "TimeoutError"}),
    MeteringError({"code": "TimeoutError"}, was_billed=True),
)


class Fortnight:
    """Two weeks of usage, part of which has failed in each way, and some of which still waits."""

    def __init__(self, table: str) -> None:
        self._records = boto3.resource("dynamodb").Table(table)
        self._chosen = random.Random(20261124)  # noqa: S311 - the same table each time
        self._ways: Iterator[str | MeteringError] = itertools.cycle((*REFUSALS, *EXCEPTIONS))
        self.marketplace = Marketplace()
        self.job = HourlyJob(boto3.client("dynamodb"), table, self.marketplace)
        self.customers = [identifier(number) for number in range(CUSTOMERS)]
        self.inserted: Usage = Counter()
        now = time.time_ns() // 1_000_000
        self.closed = now - 5 * MS_OF_AN_HOUR
        """Time in ms after which usage still waits."""
        share, rest = divmod(RECORDS, BATCHES + 1)
        for batch in range(BATCHES):
            start = self.closed - (BATCHES - batch) * 12 * MS_OF_AN_HOUR
            self._insert(share + (rest if batch == 0 else 0), start)
            self._fail_some()
            self.run_job()
        self._insert(share, now - 2 * MS_OF_AN_HOUR)
        self.marketplace.failures.clear()

    def _insert(self, count: int, start: int) -> None:
        with self._records.batch_writer() as writer:
            for number in range(count):
                customer = self._chosen.choice(self.customers)
                names = self._chosen.sample(DIMENSIONS, self._chosen.randint(1, 3))
                # Heartbeats of zero, everyday numbers, and such as add up beyond 32 bits.
                choices = (0, self._chosen.randrange(1_000), 50_000_000)
                usage = {name: self._chosen.choice(choices) for name in names}
                writer.put_item(
                    Item={
                        "customerIdentifier": customer,
                        "create_timestamp": start + number,
                        "metering_pending": "true",
                        "dimension_usage": [{"dimension": name, "value": usage[name]} for name in names],
                    }
                )
                self.inserted.update({(customer, name): quantity for name, quantity in usage.items()})

    def _fail_some(self) -> None:
        """Let a tenth of the customers fail in the next hour, in each way in turn."""
        self.marketplace.failures.clear()
        for customer in self.customers:
            if self._chosen.random() < 0.1:
                way = next(self._ways)
                self.marketplace.failures[customer] = (
                    way
                    if isinstance(way, MeteringError)
                    else dict.fromkeys(self._chosen.sample(DIMENSIONS, 4), way)
                )

    def run_job(self) -> None:
        """Run it until nothing waits."""
        while self.job.run():
            pass


def identifier(number: int) -> str:
    """Return a legacy identifier, an account id or a License ARN."""
    return (
        f"ExWoL3vTir{number:03}",
        f"{number:012}",
        f"arn:aws:license-manager::123456789012:license/lic-{number:032x}",
    )[number % 3]


@pytest.fixture
def fortnight(api: Api) -> Fortnight:
    """Start from an empty table: the model of the job and the report are about all of it."""
    table = boto3.resource("dynamodb").Table(api.metering_table)
    with table.batch_writer() as writer:
        for item in stored(api, ""):
            created = int(item["create_timestamp"]["N"])
            key = {"customerIdentifier": item["customerIdentifier"]["S"], "create_timestamp": created}
            writer.delete_item(Key=key)
    return Fortnight(api.metering_table)


def test_report_lists_and_ledger_agree_and_failures_are_billed_once(
    api: Api, fortnight: Fortnight, tmp_path: Path
) -> None:
    marketplace, inserted = fortnight.marketplace, fortnight.inserted

    report = run_report(api, "--json")
    printed = json.loads(report.stdout)
    totals = {(one["customer"], one["dimension"]): one for one in printed["totals"]}

    assert report.returncode == 1
    assert quantities(totals, "billed") == +marketplace.metered
    assert sum((quantities(totals, word) for word in WORDS.values()), Counter()) == +inserted
    reasons = {one["reason"] for one in printed["failures"]}
    assert reasons >= {*DOUBTFUL, "CustomerNotSubscribed", "Unprocessed"}
    for customer in fortnight.customers:
        assert listed_totals(api, customer) == {
            dimension: {status: one[word] for status, word in WORDS.items()}
            for (name, dimension), one in totals.items()
            if name == customer
        }

    if FOLDER:
        keep_reports(api, Path(FOLDER), fortnight.customers[2])
    path, to_correct = tmp_path / "failed.csv", tmp_path / "failed-to-correct.csv"
    run_report(api, "--send-again", str(path), "--to", str(fortnight.closed))
    doubtful = quantities(totals, "not_billed") - usage_in(path) - usage_in(to_correct)
    assert marketplace.metered_unanswered
    for file in (path, path, to_correct, to_correct):
        imported = run_command("import", file, "--api-url", api.api_url, **api.caller_variables)
        assert imported.returncode == 0, imported.stderr
    fortnight.run_job()

    assert +marketplace.metered == inserted - doubtful
    assert marketplace.metered_unanswered <= doubtful
    again = json.loads(run_report(api, "--json").stdout)
    still_open = [one for one in again["failures"] if one["state"] == "open"]
    assert {one["reason"] for one in still_open} == DOUBTFUL
    assert sum_of(still_open) == doubtful


def quantities(totals: dict[tuple[str, str], dict[str, Any]], status: str) -> Usage:
    return +Counter({key: one[status]["quantity"] for key, one in totals.items()})


def usage_in(path: Path) -> Usage:
    with path.open(newline="") as file:
        lines = csv.DictReader(file, ["customer", "dimension", "quantity"], restkey="others")
        next(lines)
        return sum_of(lines)


def sum_of(failures: Iterable[Mapping[str, Any]]) -> Usage:
    usage: Usage = Counter()
    for one in failures:
        usage[one["customer"], one["dimension"]] += int(one["quantity"])
    return +usage


def listed_totals(api: Api, customer: str) -> dict[str, dict[str, Any]]:
    answer = send(api, "GET", f"/listMeteringRecords/{quote(customer, safe='')}?group_by=dimension")
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert page["next_token"] is None
    return {total.pop("dimension"): total for total in page["totals"]}


def keep_reports(api: Api, folder: Path, customer: str) -> None:
    """Keep the report of the whole table, and of one customer."""
    folder.mkdir(parents=True, exist_ok=True)
    page_path = folder.resolve() / "usage-report.html"
    for name, arguments in (
        ("usage-report", ("--html", str(page_path))),
        ("usage-report-customer", ("--customer", customer)),
    ):
        report = run_report(api, *arguments)
        (folder / f"{name}.txt").write_text(report.stdout + report.stderr)
    with chromium_page() as page:
        page.goto(page_path.as_uri())
        page.screenshot(path=folder / "usage-report.png")


def run_report(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    where = ("--table", api.metering_table, "--region", api.region, "--read-capacity", "100000")
    return run_command(
        "report", *where, "--idempotency-table", idempotency_table_name(api.stack_name), *arguments
    )


def run_command(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "metering_cli", *arguments, **variables)
