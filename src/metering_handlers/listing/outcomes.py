"""Outcome of each record and dimension: pending, metered (billed) or failed, and the reason of a failure.

Usage is ``metered`` only where the stored answer of BatchMeterUsage names its dimension with ``Success``. The
hourly job's flag ``metering_failed`` decides nothing: one dimension that AWS Marketplace refused sets it for
all of a customer's records of the hour, and dimensions in ``UnprocessedRecords``, which are never billed, do
not set it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import from_json

from metering_handlers.contract.attributes import (
    DIMENSION,
    DIMENSION_USAGE,
    IS_PENDING,
    METERING_PENDING,
    METERING_RESPONSE,
    VALUE,
)
from metering_handlers.contract.queries import RecordStatus
from metering_handlers.listing.attribute_values import as_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from metering_handlers.listing.attribute_values import Json

    Verdict = tuple[RecordStatus, str | None]
    """A dimension's status, and the reason of a failure."""

UNPROCESSED = "Unprocessed"
"""Reason of a dimension in ``UnprocessedRecords``, which was not billed and which the job drops."""
UNKNOWN = "Unknown"
"""Reason of usage that is not pending, where no readable answer names its dimension."""

_PENDING: Verdict = (RecordStatus.PENDING, None)
_METERED: Verdict = (RecordStatus.METERED, None)
_MAX_REASON_LENGTH = 128
"""Characters. Statuses and exception names are shorter; longer text, written by hand, is not a reason."""


class DimensionOutcome(NamedTuple):
    """Outcome of one dimension of a record."""

    dimension: Json
    """The dimension's API identifier; a string unless inserted otherwise by hand."""
    value: Json
    """The quantity; an int unless inserted otherwise by hand."""
    status: RecordStatus
    """``metered`` if it was billed."""
    reason: str | None
    """Of a failure only: BatchMeterUsage's status of the dimension (``CustomerNotSubscribed``,
    ``DuplicateRecord``), an exception's code or name, `UNPROCESSED` or `UNKNOWN`."""

    @property
    def name(self) -> str | None:
        """The dimension; None if it is not a string."""
        return self.dimension if isinstance(self.dimension, str) else None


class Outcome(NamedTuple):
    """Outcome of one record."""

    status: RecordStatus
    """``failed`` if any of its dimensions is."""
    dimensions: Sequence[DimensionOutcome]
    """In their stored order."""
    metering_response: Json
    """The stored response, parsed, also where it is JSON within JSON; text that is not JSON is unchanged.
    Records may share it: it must not be modified."""


class _Answer(NamedTuple):
    """The response of BatchMeterUsage that the hourly job stored."""

    content: Json
    of_dimensions: Mapping[str, Verdict]
    of_others: Verdict
    """Verdict of dimensions that are not named: the reason is an exception's, if the job stored one."""


def outcome_of(item: Mapping[str, AttributeValueTypeDef]) -> Outcome:
    """Determine the outcome of a record, any of whose attributes may be missing or of another type."""
    stored = item.get(METERING_RESPONSE)
    if not stored:
        content, named, others = _NO_ANSWER
    else:
        content, named, others = _parsed(stored["S"]) if "S" in stored else _answer(as_json(stored))
    if item.get(METERING_PENDING) == IS_PENDING:
        named, others = {}, _PENDING
    dimensions = []
    for entry in item.get(DIMENSION_USAGE, {}).get("L", ()):
        fields = entry.get("M")
        if fields is None:
            continue
        dimension = as_json(fields.get(DIMENSION))
        status, reason = named.get(dimension, others) if isinstance(dimension, str) else others
        dimensions.append(DimensionOutcome(dimension, as_json(fields.get(VALUE)), status, reason))
    # Without dimensions, there is no evidence that the record was billed.
    # A list: the hash of an enumeration's member is slow.
    statuses = [used.status for used in dimensions] or [others[0]]
    failed = RecordStatus.FAILED
    return Outcome(failed if failed in statuses else statuses[0], dimensions, content)


# The job stores the same text with all of a customer's records of an hour.
@lru_cache(maxsize=16)
def _parsed(text: str) -> _Answer:
    content: Json = text
    with suppress(ValueError):
        content = from_json(text, allow_inf_nan=False)
        if isinstance(content, str):
            # The job stores an exception as JSON text within JSON text.
            content = from_json(content, allow_inf_nan=False)
    return _answer(content)


def _answer(content: Json) -> _Answer:
    members = content if isinstance(content, dict) else {}
    results, unprocessed = members.get("Results"), members.get("UnprocessedRecords")
    if not isinstance(results, list) and not isinstance(unprocessed, list):
        # The SDK's version 2 names an exception in "code", version 3 in "name".
        reason = _reason(members.get("code")) or _reason(members.get("name")) or UNKNOWN
        return _Answer(content, {}, (RecordStatus.FAILED, reason))
    verdicts: dict[str, Verdict] = {}
    # A dimension can be there more than once, with its allocations. Success wins: whoever sends failed
    # usage again sends all of it, and what was billed must not be billed again.
    for record in unprocessed if isinstance(unprocessed, list) else ():
        if dimension := _dimension_of(record):
            verdicts[dimension] = (RecordStatus.FAILED, UNPROCESSED)
    for result in results if isinstance(results, list) else ():
        if not isinstance(result, dict):
            continue
        dimension, status = _dimension_of(result.get("UsageRecord")), _reason(result.get("Status"))
        if dimension and status and verdicts.get(dimension) != _METERED:
            verdicts[dimension] = _METERED if status == "Success" else (RecordStatus.FAILED, status)
    return _Answer(content, verdicts, (RecordStatus.FAILED, UNKNOWN))


def _dimension_of(usage_record: Json) -> str | None:
    dimension = usage_record.get("Dimension") if isinstance(usage_record, dict) else None
    return dimension if isinstance(dimension, str) else None


def _reason(text: Json) -> str | None:
    return text if isinstance(text, str) and 0 < len(text) <= _MAX_REASON_LENGTH else None


_NO_ANSWER = _answer(None)
