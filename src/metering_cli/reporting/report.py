"""Sums of the report: pending, billed and not billed usage."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from metering_cli.reporting.failures import Failure
from metering_cli.reporting.waiting import Waiting
from metering_cli.reporting.wording import time_of
from metering_handlers.contract.attributes import CREATE_TIMESTAMP, CUSTOMER_IDENTIFIER, REQUEST_ID
from metering_handlers.contract.queries import EPOCH, RecordStatus
from metering_handlers.listing.outcomes import UNKNOWN, outcome_of
from metering_handlers.listing.totals import TotalsByDimension

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from metering_cli.reporting.scan import Item
    from metering_handlers.contract.answers import Total
    from metering_handlers.listing.outcomes import Outcome

    Totals = dict[RecordStatus, Total]
    Days = dict[date, Counter[RecordStatus]]
    """Quantities by day (UTC)."""

_MS_PER_UNIT = (
    (10**11, Decimal(1000)),
    (10**14, Decimal(1)),
    (10**17, Decimal("1e-3")),
    (10**20, Decimal("1e-6")),
)
"""Up to which magnitude a time is in s, ms, µs or ns: each unit's limit is a time beyond the year 5000,
and the one before it had reached that by 1973."""
MS_OF_A_DAY = 86_400_000


@dataclass(frozen=True)
class TimeRange:
    """Range of ``create_timestamp`` in ms since 1970, both ends included; None for no bound."""

    oldest: int | None = None
    newest: int | None = None

    def __contains__(self, recorded_at: int | None) -> bool:
        """Return whether a time is in the range; no time (None) is only where there are no bounds."""
        if recorded_at is None:
            return self == TimeRange()
        return (self.oldest is None or self.oldest <= recorded_at) and (
            self.newest is None or recorded_at <= self.newest
        )

    def __str__(self) -> str:
        """Name the range as on the command line, where whole days are dates."""
        words = []
        if self.oldest is not None:
            words.append(f"from {_named(self.oldest, self.oldest)}")
        if self.newest is not None:
            words.append(f"to {_named(self.newest, self.newest + 1)}")
        return " ".join(words) or "all of it"


@dataclass
class Report:
    """Outcome of the usage in a table: sums and failures of the records in a range.

    Attributes
    ----------
    overall, by_customer
        The same sums as the list endpoint's ``group_by=dimension``.
    waiting
        Pending usage by customer, in the range or not: the hourly job takes all of it.
    without_time
        Number of records whose ``create_timestamp`` is not a time.
    """

    time_range: TimeRange = field(default_factory=TimeRange)
    overall: TotalsByDimension = field(default_factory=TotalsByDimension)
    by_customer: dict[str, TotalsByDimension] = field(default_factory=lambda: defaultdict(TotalsByDimension))
    failures: list[Failure] = field(default_factory=list)
    days: dict[str | None, Days] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Counter)))
    waiting: dict[str, Waiting] = field(default_factory=lambda: defaultdict(Waiting))
    without_time: int = 0

    def add(self, items: Iterable[Item]) -> None:
        """Add items of the metering table, each of which must be added only once."""
        for item in items:
            recorded_at = milliseconds(Decimal(item[CREATE_TIMESTAMP]["N"]))
            outcome = outcome_of(item)
            if recorded_at is None:
                self.without_time += 1
            if outcome.status is RecordStatus.PENDING:
                self.waiting[item[CUSTOMER_IDENTIFIER]["S"]].add(outcome, recorded_at)
            if recorded_at in self.time_range:
                self._add(item, outcome, recorded_at)

    def _add(self, item: Item, outcome: Outcome, recorded_at: int | None) -> None:
        customer = item[CUSTOMER_IDENTIFIER]["S"]
        self.overall.add(outcome)
        self.by_customer[customer].add(outcome)
        failures: dict[str | None, Failure] = {}
        for used in outcome.dimensions:
            if recorded_at is not None and type(used.value) is int:
                self.days[used.name][_day(recorded_at)][used.status] += used.value
            if used.status is not RecordStatus.FAILED:
                continue
            if earlier := failures.get(used.name):
                earlier.add(used.value)
                continue
            failures[used.name] = Failure(
                customer=customer,
                created=item[CREATE_TIMESTAMP]["N"],
                dimension=used.name,
                quantity=used.value,
                reason=used.reason or UNKNOWN,
                recorded_at=recorded_at,
                request_id=item.get(REQUEST_ID, {}).get("S"),
            )
        self.failures += failures.values()

    def totals(self) -> dict[str, list[tuple[str | None, Totals]]]:
        """Return the sums by customer and dimension, sorted; one that is not text is None, and last."""
        return {customer: _sorted(sums) for customer, sums in sorted(self.by_customer.items())}

    def by_dimension(self) -> dict[str | None, Totals]:
        """Return the sums of all customers."""
        return dict(_sorted(self.overall))


def milliseconds(create_timestamp: Decimal) -> int | None:
    """Convert a record's timestamp to ms since 1970; None if it is not a time.

    This API writes ms; other writers have used seconds, microseconds or nanoseconds.
    """
    for limit, milliseconds_per_unit in _MS_PER_UNIT:
        if 0 <= create_timestamp < limit:
            return int(create_timestamp * milliseconds_per_unit)
    return None


def _named(bound: int, edge: int) -> str:
    return time_of(bound) if edge % MS_OF_A_DAY else _day(bound).isoformat()


def _day(recorded_at: int) -> date:
    return (EPOCH + timedelta(milliseconds=recorded_at)).date()


def _sorted(sums: TotalsByDimension) -> list[tuple[str | None, Totals]]:
    return sorted(sums.by_dimension.items(), key=lambda row: (row[0] is None, row[0] or ""))
