"""Queries of the metering table."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from metering_handlers.contract.attributes import (
    CREATE_TIMESTAMP,
    CUSTOMER_IDENTIFIER,
    IS_PENDING,
    METERING_PENDING,
)
from metering_handlers.contract.queries import RecordStatus, SortOrder
from metering_handlers.dynamodb import UnavailableError, repeat_read, spare_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, QueryInputTypeDef

    Item = dict[str, AttributeValueTypeDef]

# DynamoDB's largest number (Amazon DynamoDB Developer Guide, "Data types"): records inserted by hand may have
# any sort key.
_LARGEST = f"9.{'9' * 37}E+125"


class Batch(NamedTuple):
    """One response of DynamoDB to a query."""

    items: Sequence[Item]
    """In query order; empty if the filter excluded all items read."""
    last_timestamp: str | None
    """Sort key after which to continue; None if there are no more items."""


class MeteringTable:
    """Queries of the metering table, with a client that does not retry: this class does."""

    def __init__(self, name: str, client: DynamoDBClient) -> None:
        self._name = name
        self._client = client

    def query(  # noqa: PLR0913 - one for each option of a listing
        self,
        customer_identifier: str,
        *,
        oldest: int | None,
        newest: int | None,
        order: SortOrder,
        status: RecordStatus | None,
        limit: int | None,
        after: str | None,
        remaining_ms: Callable[[], int],
    ) -> Iterator[Batch]:
        """Read a customer's records, strongly consistent, with one call to DynamoDB for each batch.

        ``oldest`` and ``newest`` are in ms, and included; the first batch starts after the sort key
        ``after``. A filter can tell pending records from others, not metered from failed ones
        (:mod:`metering_handlers.listing.outcomes`): ``status`` excludes most records with another one, not
        all. ``limit`` is of a batch, and ignored with ``status``: DynamoDB would count what is excluded.

        The batches end early, so that more items follow the last, if there is no time for another call or
        DynamoDB stops answering. Raises UnavailableError if DynamoDB did not answer the first call in time,
        and botocore's ClientError if it refused for a reason that a retry does not change.
        """
        values: dict[str, AttributeValueTypeDef] = {
            ":customer": {"S": customer_identifier},
            ":oldest": {"N": f"-{_LARGEST}" if oldest is None else str(oldest)},
            ":newest": {"N": _LARGEST if newest is None else str(newest)},
        }
        keys = f"{CUSTOMER_IDENTIFIER} = :customer AND {CREATE_TIMESTAMP} BETWEEN :oldest AND :newest"
        request: QueryInputTypeDef = {
            "TableName": self._name,
            "ConsistentRead": True,
            "ScanIndexForward": order is SortOrder.ASCENDING,
            "KeyConditionExpression": keys,
            "ExpressionAttributeValues": values,
        }
        if status is not None:
            values[":pending"] = IS_PENDING
            pending = f"{METERING_PENDING} = :pending"
            request["FilterExpression"] = pending if status is RecordStatus.PENDING else f"NOT {pending}"
        elif limit is not None:
            request["Limit"] = limit
        is_first = True
        while is_first or (after is not None and spare_ms(remaining_ms) >= 0):
            if after is not None:
                key: Item = {CUSTOMER_IDENTIFIER: values[":customer"], CREATE_TIMESTAMP: {"N": after}}
                request["ExclusiveStartKey"] = key
            try:
                answer = repeat_read(partial(self._client.query, **request), remaining_ms)
            except UnavailableError:
                if is_first:
                    raise
                return
            is_first = False
            last_key = answer.get("LastEvaluatedKey")
            after = last_key[CREATE_TIMESTAMP]["N"] if last_key else None
            yield Batch(answer["Items"], after)
