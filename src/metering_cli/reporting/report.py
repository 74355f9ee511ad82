"""Sums of the report: pending, billed and not billed usage."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from metering_cli.reporting.failures import Failure
from metering_handlers.contract.attributes import CREATE_TIMESTAMP, CUSTOMER_IDENTIFIER, REQUEST_ID
from metering_handlers.contract.queries import EPOCH, RecordStatus
from metering_handlers.listing.outcomes import UNKNOWN, outcome_of
from metering_handlers.listing.totals import TotalsByDimension

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from metering_cli.reporting.scan import Item
    from metering_handlers.contract.answers import DimensionTotals
    from metering_handlers.listing.outcomes import Outcome

    Status = Literal["metered", "pending", "failed"]
    Days = dict[date, Counter[str]]
    """Quantities by day (UTC) and status."""

LABELS: dict[Status, str] = {"metered": "Billed", "pending": "Pending", "failed": "Not billed"}
"""The report's word for each status of the API, in the order of display."""
NO_NAME = "(no name)"
"""Stands for a dimension that is not text, in a record made by hand."""
LATEST_INSTANT = 10**14
"""Milliseconds, in the year 5138; further away, dates and the units of time cannot be told."""
_MS_PER_UNIT = (
    (10**11, Decimal(1000)),
    (LATEST_INSTANT, Decimal(1)),
    (10**17, Decimal("1e-3")),
    (10**20, Decimal("1e-6")),
)
"""Up to which magnitude a time is in s, ms, µs or ns: each unit's limit is a time beyond the year 5000,
and the one before it had reached that by 1973."""
MS_OF_A_DAY = 86_400_000


@dataclass(frozen=True)
class TimeRange:
    """Range of ``create_timestamp`` in ms since 1970, both ends included."""

    oldest: int = 0
    newest: int = LATEST_INSTANT

    def __contains__(self, recorded_at: int | None) -> bool:
        """Return whether a time is in the range; no time (None) is only where there are no bounds."""
        if recorded_at is None:
            return self == TimeRange()
        return self.oldest <= recorded_at <= self.newest

    def __str__(self) -> str:
        """Name the range as on the command line, where whole days are dates."""
        words = []
        if self.oldest > 0:
            words.append(f"from {_named(self.oldest, self.oldest)}")
        if self.newest < LATEST_INSTANT:
            words.append(f"to {_named(self.newest, self.newest + 1)}")
        return " ".join(words) or "all of it"


def _named(bound: int, edge: int) -> str:
    return time_of(bound) if edge % MS_OF_A_DAY else _day(bound).isoformat()


@dataclass
class Report:
    """Outcome of the usage in a table: sums and failures of the records in a range."""

    time_range: TimeRange = field(default_factory=TimeRange)
    overall: TotalsByDimension = field(default_factory=TotalsByDimension)
    by_customer: dict[str, TotalsByDimension] = field(default_factory=lambda: defaultdict(TotalsByDimension))
    """The same sums as the list endpoint's ``group_by=dimension``."""
    failures: list[Failure] = field(default_factory=list)
    days: dict[str | None, Days] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Counter)))
    waiting: dict[str, TotalsByDimension] = field(default_factory=lambda: defaultdict(TotalsByDimension))
    """Pending usage by customer, in the range or not: the hourly job takes all of it."""
    waiting_since: dict[str, int] = field(default_factory=dict)
    """Time of each customer's oldest pending record, in ms since 1970; absent if no record has a time."""
    without_time: int = 0
    """Number of records whose ``create_timestamp`` is not a time."""

    def add(self, items: Iterable[Item]) -> None:
        """Add items of the metering table, each of which must be added only once."""
        for item in items:
            customer = item[CUSTOMER_IDENTIFIER]["S"]
            recorded_at = milliseconds(Decimal(item[CREATE_TIMESTAMP]["N"]))
            outcome = outcome_of(item)
            self.without_time += recorded_at is None
            if outcome.status is RecordStatus.PENDING:
                self.waiting[customer].add(outcome)
                if recorded_at is not None:
                    oldest = self.waiting_since.get(customer, recorded_at)
                    self.waiting_since[customer] = min(oldest, recorded_at)
            if recorded_at in self.time_range:
                self.overall.add(outcome)
                self.by_customer[customer].add(outcome)
                self._add_days_and_failures(item, outcome, recorded_at)

    def _add_days_and_failures(self, item: Item, outcome: Outcome, recorded_at: int | None) -> None:
        failures: dict[str | None, Failure] = {}
        for used in outcome.dimensions:
            if recorded_at is not None and type(used.value) is int:
                self.days[used.name][_day(recorded_at)][used.status] += used.value
            if used.status is not RecordStatus.FAILED:
                continue
            if used.name in failures:
                failures[used.name].add(used.value)
                continue
            failures[used.name] = Failure(
                customer=item[CUSTOMER_IDENTIFIER]["S"],
                created=item[CREATE_TIMESTAMP]["N"],
                dimension=used.name,
                quantity=used.value,
                reason=used.reason or UNKNOWN,
                recorded_at=recorded_at,
                request_id=item.get(REQUEST_ID, {}).get("S"),
            )
        self.failures += failures.values()

    def totals(self) -> list[tuple[str, DimensionTotals]]:
        """Return the sums by customer and dimension, sorted; a dimension that is not text comes last."""
        return [(customer, row) for customer, sums in sorted(self.by_customer.items()) for row in sums.rows()]


def milliseconds(create_timestamp: Decimal) -> int | None:
    """Convert a record's timestamp to ms since 1970; None if it is not a time.

    This API writes ms; other writers have used seconds, microseconds or nanoseconds.
    """
    for limit, milliseconds_per_unit in _MS_PER_UNIT:
        if 0 <= create_timestamp < limit:
            return int(create_timestamp * milliseconds_per_unit)
    return None


def time_of(recorded_at: int | None) -> str:
    """Format a time in ms since 1970 as ISO 8601 in UTC; empty for None."""
    if recorded_at is None:
        return ""
    instant = EPOCH + timedelta(milliseconds=recorded_at)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _day(recorded_at: int) -> date:
    return (EPOCH + timedelta(milliseconds=recorded_at)).date()
