"""Items of the metering table as the hourly job leaves them, in every outcome, and the report on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner, Result
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

from metering_cli.reporting import command
from tests.environment import IDEMPOTENCY_TABLE_NAME, METERING_TABLE_NAME

Item = dict[str, AttributeValueTypeDef]

DAY = 1795392000000
"""2026-11-23T00:00:00Z."""
MS_OF_A_DAY = 86_400_000
LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"


class FakeTables:
    """DynamoDB with these pages of the metering table, and these rows of the other."""

    def __init__(self, pages: Sequence[Sequence[Item]], rows: Iterable[str] = ()) -> None:
        self.asked: list[object] = []
        self.rows_a_call = 60
        """The rest is to be asked for again."""
        self._pages = pages
        self._rows = set(rows)

    def get_paginator(self, name: str) -> FakeTables:
        self.asked.append(name)
        return self

    def paginate(self, **request: object) -> list[dict[str, Any]]:
        self.asked.append(request)
        return [{"Items": items, "ConsumedCapacity": {"CapacityUnits": 256}} for items in self._pages]

    def batch_get_item(self, *, RequestItems: dict[str, Any], **rest: object) -> dict[str, Any]:  # noqa: N803
        [(name, request)] = RequestItems.items()
        assert rest == {"ReturnConsumedCapacity": "TOTAL"}
        keys, left = request["Keys"][: self.rows_a_call], request["Keys"][self.rows_a_call :]
        assert request["ConsistentRead"] is True
        assert len({key["id"]["S"] for key in keys + left}) == len(keys + left) <= 100
        self.asked.append(len(keys + left))
        return {
            "Responses": {name: [key for key in keys if key["id"]["S"] in self._rows]},
            "UnprocessedKeys": {name: {"Keys": left}} if left else {},
            "ConsumedCapacity": [{"CapacityUnits": 1.0}],
        }


def report(*options: object, charset: str = "utf-8") -> Result:
    """Run ``metering report`` on the tests' tables."""
    tables = ("--table", METERING_TABLE_NAME, "--idempotency-table", IDEMPOTENCY_TABLE_NAME)
    words = [*tables, "--region", "us-east-1", *map(str, options)]
    return CliRunner(charset=charset).invoke(command.report_command, words, catch_exceptions=False)


def report_on(items: FakeTables | Sequence[Item], *options: object, charset: str = "utf-8") -> Result:
    """Run ``metering report`` on other items."""
    tables = items if isinstance(items, FakeTables) else FakeTables([items])
    with patch.object(command, "_client", lambda _region: tables):
        return report("--read-capacity", 10**9, *options, charset=charset)


def pending(customer: str, created: int | str, **dimensions: int | str) -> Item:
    return {
        "customerIdentifier": {"S": customer},
        "create_timestamp": {"N": str(created)},
        "metering_pending": {"S": "true"},
        "dimension_usage": {
            "L": [
                {"M": {"dimension": {"S": name}, "value": {"N": str(value)}}}
                for name, value in dimensions.items()
            ]
        },
    }


def billed(customer: str, created: int | str, **dimensions: int | str) -> Item:
    return answered(customer, created, {}, **dimensions)


def answered(customer: str, created: int | str, reasons: dict[str, str], **dimensions: int | str) -> Item:
    """Build a record that BatchMeterUsage answered; what ``reasons`` does not name was billed."""
    results, unprocessed = [], []
    for name, value in dimensions.items():
        record = {"CustomerIdentifier": customer, "Dimension": name, "Quantity": int(value)}
        if reasons.get(name) == "Unprocessed":
            unprocessed.append(record)
        else:
            results.append({"UsageRecord": record, "Status": reasons.get(name, "Success")})
    answer = {"Results": results, "UnprocessedRecords": unprocessed}
    return _marked(pending(customer, created, **dimensions), answer)


def failed_with(name: str, customer: str, created: int | str, **dimensions: int | str) -> Item:
    """Build a record whose BatchMeterUsage call ended with an exception, as the job stores that."""
    error = json.dumps({"name": name, "$fault": "client"})
    return _marked(pending(customer, created, **dimensions), error)


def _marked(item: Item, answer: object) -> Item:
    del item["metering_pending"]
    return item | {"metering_response": {"S": json.dumps(answer)}}
