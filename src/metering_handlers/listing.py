"""A response of the list endpoint: a page of records, or totals, within Lambda's limits of size and time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import to_json

from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS
from metering_handlers.outcomes import outcome_of
from metering_handlers.stored_records import shown, shown_in_brief
from metering_handlers.table_attributes import CREATE_TIMESTAMP
from metering_handlers.totals import DimensionTotals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from metering_handlers.metering_table import Batch, Item
    from metering_handlers.models import RecordStatus
    from metering_handlers.outcomes import Outcome

MAX_ANSWER_BYTES = 5_500_000
"""Bytes of records or totals in one response, of the 6 MB that Lambda allows with headers and ``next_token``
(Lambda Developer Guide, "Lambda quotas", invocation payload)."""
_MAX_TOTAL_BYTES = 400
"""Bytes of one dimension's totals, without its name."""


@dataclass(frozen=True)
class Page:
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


@dataclass(frozen=True)
class TotalsPage:
    """Totals of the records read.

    Attributes
    ----------
    totals : DimensionTotals
        Totals of the records up to ``last_timestamp``.
    last_timestamp : str | None
        Sort key after which the rest follows; None if all records are included.
    """

    totals: DimensionTotals
    last_timestamp: str | None


def page_of(
    batches: Iterable[Batch],
    *,
    status: RecordStatus | None,
    limit: int,
    remaining_ms: Callable[[], int],
) -> Page:
    """Collect one page of records.

    The page ends early if the response would become too large, or if there is no time for another query.

    Parameters
    ----------
    batches : Iterable[Batch]
        What DynamoDB holds, read as far as needed.
    status : RecordStatus | None
        Only records with this status.
    limit : int
        Maximum number of records.
    remaining_ms : Callable[[], int]
        Returns the function's remaining time, in ms.
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
                if records and size_bytes > MAX_ANSWER_BYTES:
                    return Page(records, last)
                records.append(record)
            last = item[CREATE_TIMESTAMP]["N"]
        last = batch.last_timestamp
        if last is None or len(records) == limit or remaining_ms() < ATTEMPT_BUDGET_MS:
            break
    return Page(records, last)


def totals_of(batches: Iterable[Batch], *, remaining_ms: Callable[[], int]) -> TotalsPage:
    """Add up records until all are read, the response would become too large, or there is no time left.

    Parameters
    ----------
    batches : Iterable[Batch]
        What DynamoDB holds, read as far as possible.
    remaining_ms : Callable[[], int]
        Returns the function's remaining time, in ms.
    """
    totals = DimensionTotals()
    size_bytes = 0
    last: str | None = None
    for batch in batches:
        for item in batch.items:
            outcome = outcome_of(item)
            for name in totals.new_dimensions(outcome):
                size_bytes += sent_bytes(to_json(name)) + _MAX_TOTAL_BYTES
            if totals.records and size_bytes > MAX_ANSWER_BYTES:
                return TotalsPage(totals, last)
            totals.add(outcome)
            last = item[CREATE_TIMESTAMP]["N"]
        last = batch.last_timestamp
        if last is None or remaining_ms() < ATTEMPT_BUDGET_MS:
            break
    return TotalsPage(totals, last)


def sent_bytes(json_text: bytes) -> int:
    """Return the size in bytes of JSON within Lambda's response, where the body is a string.

    Non-ASCII characters are counted as escaped, which is how some of Lambda's runtimes send them.
    """
    if json_text.isascii():
        # JSON has no raw control characters, so only these two are escaped.
        return len(json_text) + json_text.count(b'"') + json_text.count(b"\\") + len('""')
    return len(json.dumps(json_text.decode()))


def _rendered(item: Item, outcome: Outcome) -> tuple[bytes, int]:
    """Render a record as JSON, and return its size in the response too.

    A record inserted by hand that is too large for any response is rendered in brief.
    """
    text = to_json(shown(item, outcome))
    size_bytes = sent_bytes(text)
    if size_bytes > MAX_ANSWER_BYTES:
        text = to_json(shown_in_brief(item, outcome))
        size_bytes = sent_bytes(text)
    return text, size_bytes
