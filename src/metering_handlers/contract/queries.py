"""What a list can be asked for: statuses, order, grouping and instants."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from metering_handlers.contract.limits import EARLIEST_INSTANT, MAX_TIMESTAMP

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RecordStatus(StrEnum):
    """Whether a record was billed."""

    PENDING = "pending"
    METERED = "metered"
    FAILED = "failed"


class GroupBy(StrEnum):
    """What totals are grouped by."""

    DIMENSION = "dimension"


NOT_WITH_GROUP_BY = ("status", "order", "limit")
"""Query parameters that choose or sort records: totals are of all records in the range."""
NOT_WITH_TRANSACTION_ID = ("status", "from", "to", "order", "limit", "group_by", "next_token")
"""Query parameters that choose or sort several records: an entry is in one."""


class SortOrder(StrEnum):
    """Order by ``create_timestamp``."""

    ASCENDING = "asc"
    DESCENDING = "desc"


def _parse_instant(value: object) -> int:
    """Parse epoch milliseconds, or an ISO 8601 date or time (UTC unless it has an offset)."""
    text = value if isinstance(value, str) else ""
    try:
        if text.isascii() and text.isdigit():
            milliseconds = int(text)
        else:
            instant = datetime.fromisoformat(text)
            if instant.tzinfo is None:
                instant = instant.replace(tzinfo=UTC)
            # Integer arithmetic: a float of seconds would sometimes lose a millisecond.
            return (instant - EPOCH) // timedelta(milliseconds=1)
    except ValueError as error:
        raise PydanticCustomError(
            "invalid_instant",
            "must be epoch milliseconds or an ISO 8601 time such as 2026-11-23T10:00:00Z; encode a plus sign",
        ) from error
    if milliseconds < EARLIEST_INSTANT:
        raise PydanticCustomError(
            "not_milliseconds",
            "is all digits and therefore milliseconds, of a time before the year 2000; multiply seconds by "
            "1,000, and write a date with hyphens, such as 2026-11-23",
        )
    return milliseconds


Instant = Annotated[
    int,
    Field(ge=0, le=MAX_TIMESTAMP),
    BeforeValidator(_parse_instant),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "integer",
                    "minimum": EARLIEST_INSTANT,
                    "maximum": MAX_TIMESTAMP,
                    "description": "Milliseconds, not before the year 2000.",
                },
                {"type": "string", "format": "date-time", "description": "Not before 1970."},
                {
                    "type": "string",
                    "format": "date",
                    "description": "Its beginning, in UTC. Not before 1970.",
                },
            ],
            "examples": [1795446956551, "2026-11-23T10:00:00Z", "2026-11-23"],
        }
    ),
]
"""A point in time, in ms since 1970-01-01T00:00:00Z."""
