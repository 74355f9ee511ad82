"""Queries of the metering table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from metering_handlers.contract.attributes import (
    CREATE_TIMESTAMP,
    CUSTOMER_IDENTIFIER,
    IS_PENDING,
    METERING_PENDING,
)
from metering_handlers.contract.queries import RecordStatus, SortOrder
from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS, UnavailableError, repeat_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, QueryInputTypeDef

    Item = dict[str, AttributeValueTypeDef]


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

        The batches end early, so that more items follow the last, if there is no time for another call or
        DynamoDB stops answering.

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
            not metered from failed ones (see :mod:`metering_handlers.listing.outcomes`).
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
        request = self._query_request(customer_identifier, oldest, newest, order, status)
        if limit is not None and status is None:
            request["Limit"] = limit
        is_first = True
        while is_first or (after_timestamp is not None and remaining_ms() >= ATTEMPT_BUDGET_MS):
            if after_timestamp is not None:
                request["ExclusiveStartKey"] = {
                    CUSTOMER_IDENTIFIER: {"S": customer_identifier},
                    CREATE_TIMESTAMP: {"N": after_timestamp},
                }
            try:
                answer = repeat_read(partial(self._client.query, **request), remaining_ms)
            except UnavailableError:
                if is_first:
                    raise
                return
            is_first = False
            last_key = answer.get("LastEvaluatedKey")
            after_timestamp = last_key[CREATE_TIMESTAMP]["N"] if last_key else None
            yield Batch(answer["Items"], after_timestamp)

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
