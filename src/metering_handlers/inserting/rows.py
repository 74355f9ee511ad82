"""Rows of the idempotency table: one for each entry with an id, and one for each chunk of a request.

A row is written in the transaction that writes its records, so that it exists if and only if they do. It
counts an hour longer than is promised, so that neither a clock nor a pause before a retry decides; DynamoDB's
time to live deletes it a day after that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from metering_handlers.contract import attributes as names

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, PutTypeDef

    from metering_handlers.dynamodb import Item

GRACE_SECONDS = 3_600
"""Seconds for which a row counts longer than is promised."""
_TIDY_UP_SECONDS = 86_400
"""Seconds from a row's expiry to its deletion: time to live never decides what counts."""


def is_known(entry_row: Item, now: int) -> bool:
    """Return whether an entry's row counts at the time ``now``, in s: exactly if :func:`put_row` fails."""
    return int(entry_row[names.EXPIRES_AT]["N"]) >= now


def put_row(
    table_name: str, item: dict[str, AttributeValueTypeDef], expires_at: int, expired_before: int
) -> PutTypeDef:
    """Create the action that puts a row; it fails if one is there that had not expired before a time.

    Both times are in s since the epoch.
    """
    item[names.EXPIRES_AT] = {"N": str(expires_at)}
    item[names.DELETE_AFTER] = {"N": str(expires_at + _TIDY_UP_SECONDS)}
    return {
        "TableName": table_name,
        "Item": item,
        "ConditionExpression": f"attribute_not_exists({names.ROW_ID}) OR {names.EXPIRES_AT} < :before",
        "ExpressionAttributeValues": {":before": {"N": str(expired_before)}},
    }
