"""The idempotency table: one row for each chunk of a request that was written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
    """The row of one chunk.

    Parameters
    ----------
    key : str
        The idempotency key.
    chunk : int
        Number of the chunk within its request, from 0.
    expiration : int
        Time from which the row counts as absent, in s since the epoch.
    payload_hash : str
        :func:`payload_hash` of the whole request.
    request_time : int
        First ``create_timestamp`` of the first request with the key, in ms since the epoch.
    create_timestamps : Sequence[int]
        ``create_timestamp`` of the stored records, in ms, in the order of the chunk's entries.
    request_id : str
        Id of the request that wrote the chunk.
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
        """Create a row from an item of the table."""
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
        """Create the transaction's Put action, which fails if there is a row that has not expired.

        Time to live deletes expired rows within days; until then they count as absent.

        Parameters
        ----------
        table_name : str
            Name of the idempotency table.
        now : int
            Current time, in s since the epoch.
        """
        # Offsets in one short string: a list of numbers would cost another write unit per row.
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


def payload_hash(chunks: Iterable[Sequence[BuyerUsage]]) -> str:
    """Return a digest of a request: equal for the same entries in the same order, in any JSON notation.

    Parameters
    ----------
    chunks : Iterable[Sequence[BuyerUsage]]
        The request's entries by chunk. The division is included because a retry that is divided differently,
        after an upgrade, does not have the chunks that the rows describe.
    """
    digest = hashlib.sha256()
    # Chunk by chunk, because the JSON of a whole request would take megabytes.
    for chunk in chunks:
        digest.update(to_json(chunk))
    return digest.hexdigest()
