"""Items of new records in the metering table.

The quickstart owns the table: its attributes, and how its hourly job uses them, decide what is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from metering_handlers.contract.attributes import (
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
    from collections.abc import Iterable, Mapping

    from mypy_boto3_dynamodb.type_defs import PutTypeDef

_RECORD_BYTES = 320
"""Size of an item without its dimensions: attribute names, and ids of the usual lengths."""
_DIMENSION_BYTES = 32
"""Size of a dimension without its name: attribute names, value, and the overhead of a map."""


def put_record(
    table_name: str, customer: str, create_timestamp: int, quantities: Mapping[str, int], request_id: str
) -> PutTypeDef:
    """Create the action that puts a new, pending record; it fails rather than overwrite one.

    ``create_timestamp`` is in ms since the epoch; ``request_id`` is for tracing: the job ignores it.
    """
    return {
        "TableName": table_name,
        "Item": {
            CUSTOMER_IDENTIFIER: {"S": customer},
            CREATE_TIMESTAMP: {"N": str(create_timestamp)},
            METERING_PENDING: IS_PENDING,
            DIMENSION_USAGE: {
                "L": [
                    {"M": {DIMENSION: {"S": name}, VALUE: {"N": str(quantity)}}}
                    for name, quantity in quantities.items()
                ]
            },
            REQUEST_ID: {"S": request_id},
        },
        "ConditionExpression": f"attribute_not_exists({CUSTOMER_IDENTIFIER})",
    }


def write_units(dimensions: Iterable[str]) -> int:
    """Return the write units of a new record's item: one for each KB, rounded up.

    The size is an upper estimate, by the rules of the Amazon DynamoDB Developer Guide ("DynamoDB item sizes
    and formats"): UTF-8 bytes of names and strings, and a few for each number, list and map.
    """
    size = _RECORD_BYTES + sum(len(name.encode()) + _DIMENSION_BYTES for name in dimensions)
    return -(-size // 1024)
