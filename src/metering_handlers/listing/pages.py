"""Pages of records as JSON, including unusual records that were inserted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import to_json

from metering_handlers.contract.attributes import CREATE_TIMESTAMP, CUSTOMER_IDENTIFIER, REQUEST_ID
from metering_handlers.listing.answer_size import MAX_ANSWER_BYTES, sent_bytes
from metering_handlers.listing.attribute_values import as_number
from metering_handlers.listing.outcomes import outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from metering_handlers.contract.answers import MeteringRecord, UsageOutcome
    from metering_handlers.contract.queries import RecordStatus
    from metering_handlers.listing.outcomes import DimensionOutcome, Outcome
    from metering_handlers.listing.query import Batch, Item


class Page(NamedTuple):
    """A page of records."""

    records: Sequence[bytes]
    """Each a ``MeteringRecord`` as JSON, in UTF-8."""
    last_timestamp: str | None
    """Sort key after which the next page starts; None if there is none."""

    def to_json(self, next_token: str | None) -> str:
        """Render a ``RecordPage`` of the records, which were rendered one by one to know the size."""
        records = b",".join(self.records).decode()
        return f'{{"records":[{records}],"next_token":{to_json(next_token).decode()}}}'


def page_of(batches: Iterable[Batch], *, status: RecordStatus | None, limit: int) -> Page:
    """Collect at most ``limit`` records; the page ends early if the response would become too large."""
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
    """Render a record, and return its size in the response too."""
    record: MeteringRecord = {
        "customerIdentifier": item[CUSTOMER_IDENTIFIER]["S"],
        "create_timestamp": as_number(item[CREATE_TIMESTAMP]["N"]),
        "dimension_usage": [_usage(dimension) for dimension in outcome.dimensions],
        "status": str(outcome.status),
        "metering_response": outcome.metering_response,
    }
    if (request_id := item.get(REQUEST_ID, {}).get("S")) is not None:
        record["request_id"] = request_id
    # JSON has no infinite numbers, but may hold one beyond what a double can (RFC 8259, section 6).
    text = to_json(record, inf_nan_mode="null")
    size_bytes = sent_bytes(text)
    if size_bytes > MAX_ANSWER_BYTES:
        # Inserted by hand, and too large for any response.
        record["dimension_usage"] = []
        record["metering_response"] = None
        text = to_json(record)
        size_bytes = sent_bytes(text)
    return text, size_bytes


def _usage(outcome: DimensionOutcome) -> UsageOutcome:
    value = outcome.value
    # A bool is an int too.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        value = None
    # A literal: most of the time of a list is spent here and in outcome_of.
    usage: UsageOutcome = {"dimension": outcome.name, "value": value, "status": str(outcome.status)}
    if outcome.reason is not None:
        usage["reason"] = outcome.reason
    return usage
