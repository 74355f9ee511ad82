"""Reads the two tables, within a limit of read capacity."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from metering_handlers.contract.attributes import CUSTOMER_IDENTIFIER, ROW_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item = Mapping[str, AttributeValueTypeDef]

_MAX_KEYS = 100
"""Keys in one BatchGetItem call (Amazon DynamoDB API Reference)."""


class ReadCapacity:
    """Limits the read capacity units consumed per second.

    The cost of a call is known only afterwards, so that it is the next call that waits for it. A page of 1 MB
    costs 256 units (DynamoDB Developer Guide, "Read consistency").
    """

    def __init__(
        self,
        units_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._units_per_second = units_per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def wait(self) -> None:
        """Wait until the units of the calls before are covered; time without calls is not saved up."""
        self._sleep(max(0.0, self._free_at - self._clock()))
        self._free_at = self._clock()

    def consumed(self, units: float) -> None:
        """Count the units of a call."""
        self._free_at += units / self._units_per_second


class NotDynamoDBError(Exception):
    """A proxy or a captive portal answers; botocore takes its page for an empty answer."""

    def __init__(self) -> None:
        super().__init__(
            "What answers is not DynamoDB: is there a proxy, or a network that asks for a login?"
        )


class ThrottledError(Exception):
    """DynamoDB returned none of the keys that it was asked for."""


class Table(NamedTuple):
    """A table, and the limit within which it is read."""

    client: DynamoDBClient
    name: str
    capacity: ReadCapacity


def read_pages(table: Table, customer: str | None) -> Iterator[Sequence[Item]]:
    """Read all items of the metering table, or of one customer, page by page; strongly consistent."""
    pages = (
        table.client.get_paginator("scan").paginate(
            TableName=table.name, ConsistentRead=True, ReturnConsumedCapacity="TOTAL"
        )
        if customer is None
        else table.client.get_paginator("query").paginate(
            TableName=table.name,
            ConsistentRead=True,
            ReturnConsumedCapacity="TOTAL",
            KeyConditionExpression="#customer = :customer",
            ExpressionAttributeNames={"#customer": CUSTOMER_IDENTIFIER},
            ExpressionAttributeValues={":customer": {"S": customer}},
        )
    )
    table.capacity.wait()
    for page in pages:
        if "Items" not in page or "ConsumedCapacity" not in page:
            raise NotDynamoDBError
        table.capacity.consumed(page["ConsumedCapacity"]["CapacityUnits"])
        yield page["Items"]
        table.capacity.wait()


def existing_rows(table: Table, row_ids: Iterable[str]) -> set[str]:
    """Return those ids of which the idempotency table has a row, expired or not; strongly consistent."""
    found: set[str] = set()
    # DynamoDB refuses a call that has a key twice.
    left = list(dict.fromkeys(row_ids))
    while left:
        rows, unprocessed = _some_rows(table, left[:_MAX_KEYS])
        found.update(rows)
        left = left[_MAX_KEYS:] + unprocessed
    return found


@retry(
    retry=retry_if_exception_type(ThrottledError),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    stop=stop_after_attempt(10),
    reraise=True,
)
def _some_rows(table: Table, row_ids: Sequence[str]) -> tuple[set[str], list[str]]:
    """Look rows up with one call; return their ids, and those that DynamoDB did not get to."""
    table.capacity.wait()
    answer = table.client.batch_get_item(
        RequestItems={
            table.name: {"Keys": [{ROW_ID: {"S": row_id}} for row_id in row_ids], "ConsistentRead": True}
        },
        ReturnConsumedCapacity="TOTAL",
    )
    if "Responses" not in answer:
        raise NotDynamoDBError
    # The local cloud does not count them.
    table.capacity.consumed(sum(one["CapacityUnits"] for one in answer.get("ConsumedCapacity", ())))
    left = answer.get("UnprocessedKeys", {}).get(table.name, {"Keys": []})
    unprocessed = [str(key[ROW_ID]["S"]) for key in left["Keys"]]
    if len(unprocessed) == len(row_ids):
        raise ThrottledError(f"The table {table.name} has no read capacity left.")
    return {item[ROW_ID]["S"] for item in answer["Responses"].get(table.name, [])}, unprocessed
