"""The idempotency table: one row for each chunk of a request whose records are in the metering table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb.type_defs import PutTypeDef

    from metering_handlers.models import BuyerUsage

ID = "id"
EXPIRATION = "expiration"
PAYLOAD_HASH = "payload_hash"
REQUEST_TIME = "request_time"
OFFSETS = "offsets"
REQUEST_ID = "request_id"


@dataclass(frozen=True)
class Row:
    """What the table remembers of one chunk.

    Parameters
    ----------
    key : str
        The idempotency key.
    chunk : int
        The chunk's number in its request, from 0.
    expiration : int
        When the row stops to count, in s since the epoch.
    payload_hash : str
        What :func:`payload_hash` makes of the whole request.
    request_time : int
        The ``create_timestamp`` that the key's first request began with, in ms since the epoch.
    create_timestamps : Sequence[int]
        The stored records' ``create_timestamp``, in ms, in the order of the chunk's entries.
    request_id : str
        The request that wrote the chunk.
    """

    key: str
    chunk: int
    expiration: int
    payload_hash: str
    request_time: int
    create_timestamps: Sequence[int]
    request_id: str

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Self:
        """Read a row as DynamoDB holds it."""
        key, _, chunk = item[ID]["S"].rpartition("#")
        request_time = int(item[REQUEST_TIME]["N"])
        return cls(
            key=key,
            chunk=int(chunk),
            expiration=int(item[EXPIRATION]["N"]),
            payload_hash=item[PAYLOAD_HASH]["S"],
            request_time=request_time,
            create_timestamps=[request_time + int(offset) for offset in item[OFFSETS]["S"].split(",")],
            request_id=item[REQUEST_ID]["S"],
        )

    def put(self, table_name: str, now: int) -> PutTypeDef:
        """Make the transaction's action that writes the row, unless one is there that still counts.

        TTL removes an expired row some time later, within days; until then it counts as absent.

        Parameters
        ----------
        table_name : str
            The idempotency table's name.
        now : int
            The time, in s since the epoch.
        """
        # Offsets as one short text: a list of numbers would cost each row another write unit.
        offsets = ",".join(str(timestamp - self.request_time) for timestamp in self.create_timestamps)
        return {
            "TableName": table_name,
            "Item": {
                ID: {"S": f"{self.key}#{self.chunk}"},
                EXPIRATION: {"N": str(self.expiration)},
                PAYLOAD_HASH: {"S": self.payload_hash},
                REQUEST_TIME: {"N": str(self.request_time)},
                OFFSETS: {"S": offsets},
                REQUEST_ID: {"S": self.request_id},
            },
            "ConditionExpression": f"attribute_not_exists({ID}) OR {EXPIRATION} <= :now",
            "ExpressionAttributeValues": {":now": {"N": str(now)}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }


def payload_hash(usages: Sequence[BuyerUsage], chunk_size: int) -> str:
    """Condense a request's meaning: equal for the same entries in the same order, however JSON spelled them.

    Parameters
    ----------
    usages : Sequence[BuyerUsage]
        The request's entries.
    chunk_size : int
        Entries in a chunk. A retry that were cut differently, after an upgrade in between, must not be taken
        for the same: its chunks would not be those the rows speak of.
    """
    entries = [
        [
            usage.customerIdentifier,
            [[used.dimension_name, used.dimension_value] for used in usage.metered_dimensions],
        ]
        for usage in usages
    ]
    return hashlib.sha256(json.dumps([chunk_size, entries]).encode()).hexdigest()
