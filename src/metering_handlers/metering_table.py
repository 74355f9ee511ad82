"""The metering table: items of new records, and queries.

The quickstart owns the table: its attributes, and how its hourly job uses them, decide what is written.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS, NO_ANSWER_ERRORS, is_retryable, random_backoff_ms
from metering_handlers.models import RecordStatus, SortOrder
from metering_handlers.table_attributes import (
    CREATE_TIMESTAMP,
    CUSTOMER_IDENTIFIER,
    DIMENSION,
    DIMENSION_USAGE,
    IS_PENDING,
    METERING_PENDING,
    REQUEST_ID,
    VALUE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        PutTypeDef,
        QueryInputTypeDef,
        QueryOutputTypeDef,
    )

    from metering_handlers.models import BuyerUsage

    Item = dict[str, AttributeValueTypeDef]

_RECORD_BYTES = 320
"""Size of an item without its dimensions: attribute names, and ids of the usual lengths."""
_DIMENSION_BYTES = 32
"""Size of a dimension without its name: attribute names, value, and the overhead of a map."""


def new_item(usage: BuyerUsage, create_timestamp: int, request_id: str) -> Item:
    """Create the item of a new, pending record.

    Parameters
    ----------
    usage : BuyerUsage
        Customer and usage.
    create_timestamp : int
        Sort key, in ms since the epoch.
    request_id : str
        Stored for tracing; the hourly job ignores it.
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
    """Return the write units of a new record's item: one for each KB, rounded up.

    The size is an upper estimate, by the rules of the Amazon DynamoDB Developer Guide ("DynamoDB item sizes
    and formats"): UTF-8 bytes of names and strings, and a few for each number, list and map.
    """
    names = sum(len(used.dimension_name.encode()) for used in usage.metered_dimensions)
    size = _RECORD_BYTES + names + _DIMENSION_BYTES * len(usage.metered_dimensions)
    return -(-size // 1024)


def put_new(table_name: str, item: Item) -> PutTypeDef:
    """Create the transaction's Put action, which fails rather than overwrite a record."""
    return {
        "TableName": table_name,
        "Item": item,
        "ConditionExpression": f"attribute_not_exists({CUSTOMER_IDENTIFIER})",
    }


class UnavailableError(Exception):
    """DynamoDB throttled or did not answer until too little time was left."""


@dataclass(frozen=True)
class Batch:
    """One response of DynamoDB to a query.

    Attributes
    ----------
    items : Sequence[Item]
        Items in query order; empty if the filter excluded all items read.
    last_timestamp : str | None
        Sort key after which to continue; None if there are no more items.
    """

    items: Sequence[Item]
    last_timestamp: str | None


class MeteringTable:
    """Queries of the metering table.

    Parameters
    ----------
    name : str
        Name of the table.
    client : DynamoDBClient
        Client without retries of its own: this class retries, within the function's remaining time.
    """

    def __init__(self, name: str, client: DynamoDBClient) -> None:
        self._name = name
        self._client = client

    def query(  # noqa: PLR0913 - one for each option of a listing
        self,
        customer_identifier: str,
        *,
        oldest: int | None,
        newest: int | None,
        order: SortOrder = SortOrder.ASCENDING,
        status: RecordStatus | None = None,
        limit: int | None = None,
        after_timestamp: str | None = None,
        remaining_ms: Callable[[], int],
    ) -> Iterator[Batch]:
        """Read a customer's records, strongly consistent, with one call to DynamoDB for each batch.

        If DynamoDB stops answering after the first batch, the batches end early: more items follow the last.

        Parameters
        ----------
        customer_identifier : str
            The customer.
        oldest, newest : int | None
            Only records with a ``create_timestamp`` in this range, in ms, both ends included.
        order : SortOrder
            By ``create_timestamp``.
        status : RecordStatus | None
            Excludes most records with another status, not all: a filter can tell pending records from others,
            not metered from failed ones (see :mod:`metering_handlers.outcomes`).
        limit : int | None
            Maximum number of records in a batch; ignored with ``status``, as DynamoDB would count what
            the filter excludes.
        after_timestamp : str | None
            Sort key after which to start.
        remaining_ms : Callable[[], int]
            Returns the function's remaining time, in ms.

        Raises
        ------
        UnavailableError
            If DynamoDB did not answer the first call in time.
        botocore.exceptions.ClientError
            If DynamoDB refused for a reason that a retry does not change.
        """
        is_first = True
        request = self._query_request(customer_identifier, oldest, newest, order, status)
        if limit is not None and status is None:
            request["Limit"] = limit
        while True:
            if after_timestamp is not None:
                request["ExclusiveStartKey"] = {
                    CUSTOMER_IDENTIFIER: {"S": customer_identifier},
                    CREATE_TIMESTAMP: {"N": after_timestamp},
                }
            try:
                answer = self._read(request, remaining_ms)
            except UnavailableError:
                if is_first:
                    raise
                return
            is_first = False
            last_key = answer.get("LastEvaluatedKey")
            after_timestamp = last_key[CREATE_TIMESTAMP]["N"] if last_key else None
            yield Batch(answer["Items"], after_timestamp)
            if after_timestamp is None:
                return

    def _read(self, request: QueryInputTypeDef, remaining_ms: Callable[[], int]) -> QueryOutputTypeDef:
        attempt = 0
        while True:
            try:
                return self._client.query(**request)
            except (ClientError, *NO_ANSWER_ERRORS) as error:
                if not is_retryable(error):
                    raise
                attempt += 1
                delay_ms = random_backoff_ms(attempt)
                if remaining_ms() - delay_ms < ATTEMPT_BUDGET_MS:
                    raise UnavailableError from error
            time.sleep(delay_ms / 1000)

    def _query_request(
        self,
        customer_identifier: str,
        oldest: int | None,
        newest: int | None,
        order: SortOrder,
        status: RecordStatus | None,
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
            pending = "#pending = :pending"
            request["FilterExpression"] = pending if status is RecordStatus.PENDING else f"NOT {pending}"
        return request
