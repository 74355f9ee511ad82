"""Outcome of each record and dimension: pending, metered (billed) or failed, and the reason of a failure.

Usage is ``metered`` only where the stored answer of BatchMeterUsage names its dimension with ``Success``. The
hourly job's flag ``metering_failed`` decides nothing: one dimension that AWS Marketplace refused sets it for
all of a customer's records of the hour, and dimensions in ``UnprocessedRecords``, which are never billed, do
not set it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import to_json

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

_SUCCESS = "Success"
_PENDING: Verdict = (RecordStatus.PENDING, None)
_METERED: Verdict = (RecordStatus.METERED, None)
_UNKNOWN: Verdict = (RecordStatus.FAILED, UNKNOWN)
_MAX_REASON_LENGTH = 128
"""Characters. Statuses and exception names are shorter; longer text, written by hand, is not a reason."""
_SAFE_DEPTH = 100
"""Nesting that pydantic can serialize for certain: it refuses more than 255 levels."""


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


def outcome_of(item: Mapping[str, AttributeValueTypeDef]) -> Outcome:
    """Determine the outcome of a record, any of whose attributes may be missing or of another type."""
    stored = item.get(METERING_RESPONSE)
    if not stored:
        answer = _NO_ANSWER
    elif "S" in stored:
        answer = _parsed_answer(stored["S"])
    else:
        answer = _Answer(as_json(stored))
    is_pending = item.get(METERING_PENDING) == IS_PENDING
    named: Mapping[str, Verdict] = {} if is_pending else answer.of_dimensions
    others = _PENDING if is_pending else answer.of_others
    dimensions = []
    record_status = None
    for entry in item.get(DIMENSION_USAGE, {}).get("L", ()):
        fields = entry.get("M")
        if fields is None:
            continue
        dimension = as_json(fields.get(DIMENSION))
        status, reason = named.get(dimension, others) if isinstance(dimension, str) else others
        dimensions.append(DimensionOutcome(dimension, as_json(fields.get(VALUE)), status, reason))
        if record_status is not RecordStatus.FAILED:
            record_status = status
    # Without dimensions, there is no evidence that the record was billed.
    return Outcome(record_status or others[0], dimensions, answer.content)


class _Answer:
    """The response of BatchMeterUsage that the hourly job stored, parsed."""

    __slots__ = ("content", "of_dimensions", "of_others")

    def __init__(self, content: Json) -> None:
        self.content = content
        self.of_dimensions: dict[str, Verdict] = {}
        self.of_others = _UNKNOWN
        """Verdict of dimensions that are not named: the reason is an exception's, if the job stored one."""
        if not isinstance(content, dict):
            return
        results, unprocessed = content.get("Results"), content.get("UnprocessedRecords")
        if not isinstance(results, list) and not isinstance(unprocessed, list):
            # The SDK's version 2 names an exception in "code", version 3 in "name".
            if reason := _reason(content.get("code")) or _reason(content.get("name")):
                self.of_others = (RecordStatus.FAILED, reason)
            return
        # A dimension can be there more than once, with its allocations. Success wins: whoever sends failed
        # usage again sends all of it, and what was billed must not be billed again.
        for record in unprocessed if isinstance(unprocessed, list) else ():
            if dimension := _dimension_of(record):
                self.of_dimensions[dimension] = (RecordStatus.FAILED, UNPROCESSED)
        for result in results if isinstance(results, list) else ():
            if not isinstance(result, dict):
                continue
            dimension, status = _dimension_of(result.get("UsageRecord")), _reason(result.get("Status"))
            if not dimension or not status or self.of_dimensions.get(dimension) == _METERED:
                continue
            self.of_dimensions[dimension] = _METERED if status == _SUCCESS else (RecordStatus.FAILED, status)


_NO_ANSWER = _Answer(None)


def _dimension_of(usage_record: Json) -> str | None:
    dimension = usage_record.get("Dimension") if isinstance(usage_record, dict) else None
    return dimension if isinstance(dimension, str) else None


def _reason(text: Json) -> str | None:
    return text if isinstance(text, str) and 0 < len(text) <= _MAX_REASON_LENGTH else None


# The job stores the same text with all of a customer's records of an hour.
@lru_cache(maxsize=16)
def _parsed_answer(text: str) -> _Answer:
    content = _parsed(text)
    # The job stores an exception as JSON text within JSON text.
    return _Answer(_parsed(content) if isinstance(content, str) and content is not text else content)


def _parsed(text: str) -> Json:
    """Parse JSON; return text unchanged that is not JSON, or that a response could not contain as JSON."""
    try:
        parsed: Json = json.loads(text, parse_float=_finite, parse_constant=_refuse_constant)
        # What Python parses and pydantic refuses: deep nesting, and an escaped lone surrogate, which UTF-8
        # cannot encode (RFC 8259, section 8.2).
        if "\\u" in text or text.count("[") + text.count("{") > _SAFE_DEPTH:
            to_json([parsed])
    except (ValueError, RecursionError):
        return text
    return parsed


def _finite(text: str) -> float:
    """Refuse a number outside the range of doubles: JSON has no Infinity (RFC 8259, section 6)."""
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return number


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which JSON does not have (RFC 8259, section 6)."""
    raise ValueError(name)
