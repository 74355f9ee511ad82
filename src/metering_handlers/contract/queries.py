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


# One text, and no choice of types, which some generators of clients cannot write into a query.
_DATE = "(19[89]|20[0-9])[0-9]-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_HOUR = "([01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = f"T{_HOUR}:[0-5][0-9]([.][0-9]{{1,6}})?(Z|[+-]{_HOUR})?"
Instant = Annotated[
    int,
    Field(ge=0, le=MAX_TIMESTAMP),
    BeforeValidator(_parse_instant),
    WithJsonSchema(
        {
            "type": "string",
            "description": "An ISO 8601 date (its beginning, in UTC) or time (UTC unless it has an offset); "
            "or epoch milliseconds, not before the year 2000.",
            "pattern": f"^([0-9]{{12,15}}|{_DATE}({_TIME})?)$",
            "examples": ["2026-11-23T10:00:00Z", "2026-11-23", "1795446956551"],
        }
    ),
]
"""A point in time, in ms since 1970-01-01T00:00:00Z."""
