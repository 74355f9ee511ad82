"""Totals of usage by dimension and status, to reconcile an invoice with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import to_json

from metering_handlers.contract.attributes import CREATE_TIMESTAMP
from metering_handlers.contract.queries import RecordStatus
from metering_handlers.listing.answer_size import MAX_ANSWER_BYTES, sent_bytes
from metering_handlers.listing.outcomes import outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from metering_handlers.listing.attribute_values import Json
    from metering_handlers.listing.outcomes import Outcome
    from metering_handlers.listing.query import Batch

_MAX_TOTAL_BYTES = 400
"""Bytes of one dimension's totals, without its name."""


@dataclass(slots=True)
class Total:
    """Usage of one dimension with one status.

    Attributes
    ----------
    records : int
        Records in which the dimension has that status.
    quantity : int
        Sum of their quantities, exact at any size. A value that is not a whole number counts as 0:
        BatchMeterUsage takes whole numbers only, so such usage can never be billed.
    """

    records: int = 0
    quantity: int = 0


class DimensionTotals:
    """Adds up the usage of many records.

    Attributes
    ----------
    records : int
        Records added.
    by_dimension : dict[str | None, dict[RecordStatus, Total]]
        One total for each dimension and status; usage whose dimension is not a string, inserted by hand,
        is under None.
    """

    def __init__(self) -> None:
        self.records = 0
        self.by_dimension: dict[str | None, dict[RecordStatus, Total]] = {}

    def add(self, outcome: Outcome) -> None:
        """Add one record."""
        self.records += 1
        counted = set()
        for used in outcome.dimensions:
            name = _name_of(used.dimension)
            totals = self.by_dimension.get(name)
            if totals is None:
                totals = self.by_dimension[name] = {status: Total() for status in RecordStatus}
            total = totals[used.status]
            # A record inserted by hand may hold a dimension more than once.
            if (name, used.status) not in counted:
                counted.add((name, used.status))
                total.records += 1
            # Not isinstance: a bool is an int too.
            if type(used.value) is int:
                total.quantity += used.value

    def new_dimensions(self, outcome: Outcome) -> AbstractSet[str | None]:
        """Return the dimensions of a record that no record added before has."""
        return {_name_of(used.dimension) for used in outcome.dimensions} - self.by_dimension.keys()

    def rows(self) -> list[dict[str, Json]]:
        """Render one row for each dimension, sorted by name, with the one of None last."""
        return [
            {"dimension": name}
            | {
                status.value: {"records": total.records, "quantity": total.quantity}
                for status, total in totals.items()
            }
            for name, totals in sorted(
                self.by_dimension.items(), key=lambda row: (row[0] is None, row[0] or "")
            )
        ]


def totals_of(batches: Iterable[Batch]) -> tuple[DimensionTotals, str | None]:
    """Add up records until all are read, or the response would become too large.

    Returns
    -------
    tuple[DimensionTotals, str | None]
        The totals, and the sort key after which the rest follows; None if all records are included.
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
                return totals, last
            totals.add(outcome)
            last = item[CREATE_TIMESTAMP]["N"]
        last = batch.last_timestamp
    return totals, last


def _name_of(dimension: Json) -> str | None:
    return dimension if isinstance(dimension, str) else None
