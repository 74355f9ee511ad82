"""Totals of usage by dimension and status, to reconcile an invoice with."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pydantic_core import to_json

from metering_handlers.contract.answers import DimensionTotals, Total
from metering_handlers.contract.attributes import CREATE_TIMESTAMP
from metering_handlers.contract.queries import RecordStatus
from metering_handlers.listing.answer_size import MAX_ANSWER_BYTES, sent_bytes
from metering_handlers.listing.outcomes import outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from metering_handlers.listing.outcomes import Outcome
    from metering_handlers.listing.query import Batch

_MAX_TOTAL_BYTES = 400
"""Bytes of one dimension's totals, without its name."""


class TotalsByDimension:
    """Adds up the usage of many records."""

    def __init__(self) -> None:
        self.records = 0
        """Records added."""
        self.by_dimension: dict[str | None, dict[RecordStatus, Total]] = defaultdict(
            lambda: {status: Total() for status in RecordStatus}
        )
        """Usage whose dimension is not a string, inserted by hand, is under None."""

    def add(self, outcome: Outcome) -> None:
        """Add one record."""
        self.records += 1
        counted = set()
        for used in outcome.dimensions:
            name = used.name
            total = self.by_dimension[name][used.status]
            # A record inserted by hand may hold a dimension more than once, with one status.
            if name not in counted:
                counted.add(name)
                total.records += 1
            # Not isinstance: a bool is an int too.
            if type(used.value) is int:
                total.quantity += used.value

    def rows(self) -> list[DimensionTotals]:
        """Return one row for each dimension, sorted by name, with the one of None last."""
        return [
            DimensionTotals(
                dimension=name,
                pending=totals[RecordStatus.PENDING],
                metered=totals[RecordStatus.METERED],
                failed=totals[RecordStatus.FAILED],
            )
            for name, totals in sorted(
                self.by_dimension.items(), key=lambda row: (row[0] is None, row[0] or "")
            )
        ]


def totals_of(batches: Iterable[Batch]) -> tuple[TotalsByDimension, str | None]:
    """Add up records until all are read, or the response would become too large.

    Returns the totals, and the sort key after which the rest follows; None if all records are included.
    """
    totals = TotalsByDimension()
    size_bytes = 0
    last: str | None = None
    for batch in batches:
        for item in batch.items:
            outcome = outcome_of(item)
            for name in {used.name for used in outcome.dimensions} - totals.by_dimension.keys():
                size_bytes += sent_bytes(to_json(name)) + _MAX_TOTAL_BYTES
            if totals.records and size_bytes > MAX_ANSWER_BYTES:
                return totals, last
            totals.add(outcome)
            last = item[CREATE_TIMESTAMP]["N"]
        last = batch.last_timestamp
    return totals, last
