"""The metering table: records are only ever added to it, and read back.

The quickstart owns the table; its attributes, and what its hourly job makes of them, decide what is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS
from metering_handlers.models import RecordStatus, SortOrder
from metering_handlers.table_attributes import (
    CREATE_TIMESTAMP,
    CUSTOMER_IDENTIFIER,
    DIMENSION,
    DIMENSION_USAGE,
    HAS_FAILED,
    IS_PENDING,
    METERING_FAILED,
    METERING_PENDING,
    REQUEST_ID,
    VALUE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        PutTypeDef,
        QueryInputTypeDef,
    )

    from metering_handlers.models import BuyerUsage

    Item = dict[str, AttributeValueTypeDef]

_RECORD_BYTES = 320
"""An item without its dimensions: attribute names, a customer's and a request's id of the usual lengths."""
_DIMENSION_BYTES = 32
"""A dimension without its name: the names and overhead of its map, and its value."""

MAX_PAGE_BYTES = 3_000_000
"""DynamoDB answers gathered into one page; one more may add its 1 MB. Lambda's answers end at 6 MB."""


def new_item(usage: BuyerUsage, create_timestamp: int, request_id: str) -> Item:
    """Make the item of a new record, pending, as the hourly job reads it.

    Parameters
    ----------
    usage : BuyerUsage
        Who has used what.
    create_timestamp : int
        The record's sort key, in ms since the epoch.
    request_id : str
        Stored with the record, for tracing; the job leaves it alone.
    """
    return {
        CUSTOMER_IDENTIFIER: {"S": usage.customerIdentifier},
        CREATE_TIMESTAMP: {"N": str(create_timestamp)},
        METERING_PENDING: IS_PENDING,
        DIMENSION_USAGE: {
            "L": [
                {"M": {DIMENSION: {"S": used.dimension_name}, VALUE: {"N": str(used.dimension_value)}}}
                for used in usage.metered_dimensions
            ]
        },
        REQUEST_ID: {"S": request_id},
    }


def write_units(usage: BuyerUsage) -> int:
    """Return the write units of a new record's item: one for each KB, begun or whole.

    Sizes are estimated, on the safe side, by the rules of the Amazon DynamoDB Developer Guide ("DynamoDB item
    sizes and formats"): UTF-8 bytes of names and texts, and a few for each number, list and map.
    """
    names = sum(len(used.dimension_name.encode()) for used in usage.metered_dimensions)
    size = _RECORD_BYTES + names + _DIMENSION_BYTES * len(usage.metered_dimensions)
    return -(-size // 1024)


def put_new(table_name: str, item: Item) -> PutTypeDef:
    """Make the transaction's action that adds a record, and fails rather than overwrite one."""
    return {
        "TableName": table_name,
        "Item": item,
        "ConditionExpression": f"attribute_not_exists({CUSTOMER_IDENTIFIER})",
    }


@dataclass(frozen=True)
class Page:
    """Items as DynamoDB holds them, and where the next page starts (None on the last)."""

    items: Sequence[Item]
    last_timestamp: str | None


class MeteringTable:
    """The metering table, through one DynamoDB client.

    Parameters
    ----------
    name : str
        The table's name.
    client : DynamoDBClient
        Retries by itself.
    """

    def __init__(self, name: str, client: DynamoDBClient) -> None:
        self._name = name
        self._client = client

    def query(  # noqa: PLR0913 - one for each choice a listing has
        self,
        customer_identifier: str,
        *,
        status: RecordStatus | None,
        oldest: int | None,
        newest: int | None,
        order: SortOrder,
        limit: int,
        after_timestamp: str | None,
        remaining_ms: Callable[[], int],
    ) -> Page:
        """Read one page of a customer's records, strongly consistent.

        Parameters
        ----------
        customer_identifier : str
            The customer.
        status : RecordStatus | None
            Only records of which this became.
        oldest, newest : int | None
            Only records with a ``create_timestamp`` in this range, both ends included.
        order : SortOrder
            By ``create_timestamp``.
        limit : int
            At most so many records; fewer when they are large, or when a filter reads long without a match.
        after_timestamp : str | None
            Where the page before this one ended.
        remaining_ms : Callable[[], int]
            Tells how many ms the function has left.
        """
        request = self._query_request(customer_identifier, status, oldest, newest, order)
        items: list[Item] = []
        received_bytes = 0
        while True:
            if after_timestamp is not None:
                request["ExclusiveStartKey"] = {
                    CUSTOMER_IDENTIFIER: {"S": customer_identifier},
                    CREATE_TIMESTAMP: {"N": after_timestamp},
                }
            if status is None:
                # With a filter the limit would count what the filter drops.
                request["Limit"] = limit - len(items)
            answer = self._client.query(**request)
            items += answer["Items"]
            received_bytes += int(answer["ResponseMetadata"]["HTTPHeaders"].get("content-length", 0))
            last_key = answer.get("LastEvaluatedKey")
            if len(items) > limit or (len(items) == limit and last_key):
                return Page(items[:limit], items[limit - 1][CREATE_TIMESTAMP]["N"])
            if last_key is None:
                return Page(items, None)
            after_timestamp = last_key[CREATE_TIMESTAMP]["N"]
            if received_bytes > MAX_PAGE_BYTES or remaining_ms() < ATTEMPT_BUDGET_MS:
                return Page(items, after_timestamp)

    def _query_request(
        self,
        customer_identifier: str,
        status: RecordStatus | None,
        oldest: int | None,
        newest: int | None,
        order: SortOrder,
    ) -> QueryInputTypeDef:
        names = {"#customer": CUSTOMER_IDENTIFIER}
        values: dict[str, AttributeValueTypeDef] = {":customer": {"S": customer_identifier}}
        condition = "#customer = :customer"
        if oldest is not None:
            values[":oldest"] = {"N": str(oldest)}
        if newest is not None:
            values[":newest"] = {"N": str(newest)}
        if oldest is not None and newest is not None:
            condition += " AND #created BETWEEN :oldest AND :newest"
        elif oldest is not None:
            condition += " AND #created >= :oldest"
        elif newest is not None:
            condition += " AND #created <= :newest"
        if oldest is not None or newest is not None:
            names["#created"] = CREATE_TIMESTAMP
        request: QueryInputTypeDef = {
            "TableName": self._name,
            "ConsistentRead": True,
            "ScanIndexForward": order is SortOrder.ASCENDING,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
        if status is not None:
            names["#pending"] = METERING_PENDING
            values[":pending"] = IS_PENDING
            if status is RecordStatus.PENDING:
                request["FilterExpression"] = "#pending = :pending"
            else:
                names["#failed"] = METERING_FAILED
                values[":failed"] = HAS_FAILED
                failed = "#failed = :failed" if status is RecordStatus.FAILED else "NOT #failed = :failed"
                request["FilterExpression"] = f"NOT #pending = :pending AND {failed}"
        return request
