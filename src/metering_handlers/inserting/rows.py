"""Rows of the idempotency table: one for each entry with an id, and one for each chunk of a request.

A row is written in the transaction that writes its records, so that it exists if and only if they do. It
counts an hour longer than is promised, so that neither a clock nor a pause before a retry decides; DynamoDB's
time to live deletes it a day after that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from metering_handlers.contract.attributes import (
    CREATE_TIMESTAMP,
    CUSTOMER_IDENTIFIER,
    DELETE_AFTER,
    DIGEST,
    DIVISION,
    EXPIRES_AT,
    REQUEST_ID,
    REQUEST_TIME,
    RESULT,
    ROW_ID,
)
from metering_handlers.contract.row_ids import request_row_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, PutTypeDef

    from metering_handlers.dynamodb import Item

GRACE_SECONDS = 3_600
"""Seconds for which a row counts longer than is promised."""
_TIDY_UP_SECONDS = 86_400
"""Seconds from a row's expiry to its deletion: time to live never decides what counts."""


@dataclass(frozen=True, slots=True)
class EntryRow:
    """The row of an entry: says in which record it is."""

    row_id: str
    customer: str
    digest: str
    """Of the entry's usage."""
    create_timestamp: int
    """Of the record, in ms since the epoch."""
    request_id: str
    """Id of the request that wrote it."""
    expires_at: int
    """Seconds since the epoch."""

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read a row."""
        return cls(
            row_id=item[ROW_ID]["S"],
            customer=item[CUSTOMER_IDENTIFIER]["S"],
            digest=item[DIGEST]["S"],
            create_timestamp=int(item[CREATE_TIMESTAMP]["N"]),
            request_id=item[REQUEST_ID]["S"],
            expires_at=int(item[EXPIRES_AT]["N"]),
        )

    def is_known(self, now: int) -> bool:
        """Return whether the entry is known at a time, in s: exactly if :meth:`put` would fail."""
        return self.expires_at >= now

    def put(self, table_name: str, now: int) -> PutTypeDef:
        """Create the action that puts the row; it fails if the entry is known at the time ``now``, in s."""
        attributes: dict[str, AttributeValueTypeDef] = {
            CUSTOMER_IDENTIFIER: {"S": self.customer},
            CREATE_TIMESTAMP: {"N": str(self.create_timestamp)},
            DIGEST: {"S": self.digest},
            REQUEST_ID: {"S": self.request_id},
        }
        return _put(table_name, self.row_id, self.expires_at, attributes, expired_before=now)


@dataclass(frozen=True, slots=True)
class RequestRow:
    """The row of one chunk of a request: holds what a repeat needs to answer as the first did."""

    key: str
    chunk: int
    """Number of the chunk within its request, from 0."""
    digest: str
    """Of the whole request."""
    division: int
    """Version of the division into chunks."""
    request_time: int
    """Time of the request that wrote it, in ms since the epoch."""
    result: bytes
    """What became of each record and entry; see :meth:`Progress.to_bytes`."""
    request_id: str
    """Id of the request that wrote it."""
    expires_at: int
    """Seconds since the epoch; all rows of one use of a key have the same."""

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read a row."""
        key, _, chunk = item[ROW_ID]["S"].rpartition("#")
        return cls(
            key=key,
            chunk=int(chunk),
            digest=item[DIGEST]["S"],
            division=int(item[DIVISION]["N"]),
            request_time=int(item[REQUEST_TIME]["N"]),
            result=item[RESULT]["B"],
            request_id=item[REQUEST_ID]["S"],
            expires_at=int(item[EXPIRES_AT]["N"]),
        )

    def put(self, table_name: str, expired_before: int) -> PutTypeDef:
        """Create the action that puts the row; it fails if one is there that does not expire before, in s.

        The condition's failure returns the row.
        """
        attributes: dict[str, AttributeValueTypeDef] = {
            DIGEST: {"S": self.digest},
            DIVISION: {"N": str(self.division)},
            REQUEST_TIME: {"N": str(self.request_time)},
            RESULT: {"B": self.result},
            REQUEST_ID: {"S": self.request_id},
        }
        row_id = request_row_id(self.key, self.chunk)
        put = _put(table_name, row_id, self.expires_at, attributes, expired_before=expired_before)
        put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return put


def _put(
    table_name: str,
    row_id: str,
    expires_at: int,
    attributes: Mapping[str, AttributeValueTypeDef],
    *,
    expired_before: int,
) -> PutTypeDef:
    return {
        "TableName": table_name,
        "Item": {
            ROW_ID: {"S": row_id},
            EXPIRES_AT: {"N": str(expires_at)},
            DELETE_AFTER: {"N": str(expires_at + _TIDY_UP_SECONDS)},
            **attributes,
        },
        "ConditionExpression": f"attribute_not_exists({ROW_ID}) OR {EXPIRES_AT} < :before",
        "ExpressionAttributeValues": {":before": {"N": str(expired_before)}},
    }
