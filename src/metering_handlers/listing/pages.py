"""Pages of records as JSON, including unusual records that were inserted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import to_json

from metering_handlers.contract.attributes import (
    CREATE_TIMESTAMP,
    CUSTOMER_IDENTIFIER,
    DIMENSION,
    DIMENSION_USAGE,
    METERING_RESPONSE,
    REQUEST_ID,
    VALUE,
)
from metering_handlers.listing.answer_size import MAX_ANSWER_BYTES, sent_bytes
from metering_handlers.listing.attribute_values import as_json, as_number
from metering_handlers.listing.outcomes import Outcome, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from metering_handlers.contract.queries import RecordStatus
    from metering_handlers.listing.attribute_values import Json
    from metering_handlers.listing.outcomes import DimensionOutcome
    from metering_handlers.listing.query import Batch, Item


class Page(NamedTuple):
    """A page of records.

    Attributes
    ----------
    records : Sequence[bytes]
        Records as JSON, in UTF-8.
    last_timestamp : str | None
        Sort key after which the next page starts; None if there is none.
    """

    records: Sequence[bytes]
    last_timestamp: str | None


def page_of(batches: Iterable[Batch], *, status: RecordStatus | None, limit: int) -> Page:
    """Collect one page of records; it ends early if the response would become too large.

    Parameters
    ----------
    batches : Iterable[Batch]
        What DynamoDB holds, read as far as needed.
    status : RecordStatus | None
        Only records with this status.
    limit : int
        Maximum number of records.
    """
    records: list[bytes] = []
    size_bytes = 0
    last: str | None = None
    for batch in batches:
        for item in batch.items:
            if len(records) == limit:
                return Page(records, last)
            outcome = outcome_of(item)
            if status in (None, outcome.status):
                record, record_bytes = _rendered(item, outcome)
                size_bytes += record_bytes
                if size_bytes > MAX_ANSWER_BYTES:
                    return Page(records, last)
                records.append(record)
            last = item[CREATE_TIMESTAMP]["N"]
        last = batch.last_timestamp
        if len(records) == limit:
            break
    return Page(records, last)


def _rendered(item: Item, outcome: Outcome) -> tuple[bytes, int]:
    """Render a record, and return its size in the response too.

    One that was inserted by hand and is too large for any response is rendered with key and status only.
    """
    text = to_json(_record(item, outcome))
    size_bytes = sent_bytes(text)
    if size_bytes > MAX_ANSWER_BYTES:
        key = {name: item[name] for name in (CUSTOMER_IDENTIFIER, CREATE_TIMESTAMP)}
        text = to_json(_record(key, Outcome(outcome.status, (), None)))
        size_bytes = sent_bytes(text)
    return text, size_bytes


def _record(item: Item, outcome: Outcome) -> dict[str, Json]:
    """Return the members of a record, with ``request_id`` only if one is stored."""
    # A status becomes a plain string: pydantic serializes members of an enum several times slower.
    record: dict[str, Json] = {
        CUSTOMER_IDENTIFIER: item[CUSTOMER_IDENTIFIER]["S"],
        CREATE_TIMESTAMP: as_number(item[CREATE_TIMESTAMP]["N"]),
        DIMENSION_USAGE: [_usage(dimension) for dimension in outcome.dimensions],
        "status": str(outcome.status),
        METERING_RESPONSE: outcome.metering_response,
    }
    if REQUEST_ID in item:
        record[REQUEST_ID] = as_json(item[REQUEST_ID])
    return record


def _usage(outcome: DimensionOutcome) -> dict[str, Json]:
    usage: dict[str, Json] = {
        DIMENSION: outcome.dimension,
        VALUE: outcome.value,
        "status": str(outcome.status),
    }
    if outcome.reason is not None:
        usage["reason"] = outcome.reason
    return usage
