"""Reads the two tables, within a limit of read capacity."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from metering_handlers.contract.attributes import CUSTOMER_IDENTIFIER, ROW_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item = Mapping[str, AttributeValueTypeDef]

_MAX_KEYS = 100
"""Keys in one BatchGetItem call (Amazon DynamoDB API Reference)."""


class NotDynamoDBError(Exception):
    """A proxy or a captive portal answers; botocore takes its page for an empty answer."""

    def __str__(self) -> str:
        return "What answers is not DynamoDB: is there a proxy, or a network that asks for a login?"


class ThrottledError(Exception):
    """DynamoDB returned none of the keys that it was asked for."""


class Reader:
    """Reads tables, strongly consistent.

    The cost of a call is known only afterwards, so that a pause follows it. A page of 1 MB costs 256 read
    capacity units (DynamoDB Developer Guide, "Read consistency").
    """

    def __init__(self, client: DynamoDBClient, units_per_second: float) -> None:
        self.client = client
        self._units_per_second = units_per_second
        self._free_at = time.monotonic()

    def pages(self, table: str, customer: str | None) -> Iterator[Sequence[Item]]:
        """Read all items of the metering table, or of one customer, page by page."""
        pages = (
            self.client.get_paginator("scan").paginate(
                TableName=table, ConsistentRead=True, ReturnConsumedCapacity="TOTAL"
            )
            if customer is None
            else self.client.get_paginator("query").paginate(
                TableName=table,
                ConsistentRead=True,
                ReturnConsumedCapacity="TOTAL",
                KeyConditionExpression=f"{CUSTOMER_IDENTIFIER} = :customer",
                ExpressionAttributeValues={":customer": {"S": customer}},
            )
        )
        for page in pages:
            if "Items" not in page or "ConsumedCapacity" not in page:
                raise NotDynamoDBError
            yield page["Items"]
            self._pause(page["ConsumedCapacity"]["CapacityUnits"])

    def existing_rows(self, table: str, row_ids: Iterable[str]) -> set[str]:
        """Return those ids of which the idempotency table has a row, expired or not."""
        found: set[str] = set()
        # DynamoDB refuses a call that has a key twice.
        left = list(dict.fromkeys(row_ids))
        while left:
            rows, unprocessed = self._some_rows(table, left[:_MAX_KEYS])
            found.update(rows)
            left = left[_MAX_KEYS:] + unprocessed
        return found

    @retry(
        retry=retry_if_exception_type(ThrottledError),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        stop=stop_after_attempt(10),
        reraise=True,
    )
    def _some_rows(self, table: str, row_ids: Sequence[str]) -> tuple[set[str], list[str]]:
        """Look rows up with one call; return their ids, and those that DynamoDB did not get to."""
        keys = [{ROW_ID: {"S": row_id}} for row_id in row_ids]
        answer = self.client.batch_get_item(
            RequestItems={table: {"Keys": keys, "ConsistentRead": True}}, ReturnConsumedCapacity="TOTAL"
        )
        if "Responses" not in answer:
            raise NotDynamoDBError
        # The local cloud does not count them.
        self._pause(sum(one["CapacityUnits"] for one in answer.get("ConsumedCapacity", ())))
        left = answer.get("UnprocessedKeys", {}).get(table, {"Keys": []})
        unprocessed = [str(key[ROW_ID]["S"]) for key in left["Keys"]]
        if len(unprocessed) == len(row_ids):
            raise ThrottledError(f"The table {table} has no read capacity left.")
        return {item[ROW_ID]["S"] for item in answer["Responses"].get(table, [])}, unprocessed

    def _pause(self, units: float) -> None:
        """Wait until the units of a call are covered; time without calls is not saved up."""
        self._free_at += units / self._units_per_second
        time.sleep(max(0.0, self._free_at - time.monotonic()))
        self._free_at = time.monotonic()
