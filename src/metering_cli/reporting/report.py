"""Sums of the report: pending, billed and not billed usage."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from metering_cli.reporting.failures import FailedUsage
from metering_handlers.contract.attributes import CREATE_TIMESTAMP, CUSTOMER_IDENTIFIER
from metering_handlers.contract.queries import EPOCH, RecordStatus
from metering_handlers.listing.outcomes import UNKNOWN, outcome_of
from metering_handlers.listing.totals import DimensionTotals, Total

if TYPE_CHECKING:
    from collections.abc import Iterable

    from metering_handlers.listing.query import Item

Totals = dict[RecordStatus, Total]

_MS_PER_UNIT = (
    (10**11, Decimal(1000)),
    (10**14, Decimal(1)),
    (10**17, Decimal("1e-3")),
    (10**20, Decimal("1e-6")),
)
"""Up to which magnitude a time is in s, ms, µs or ns: each unit's limit is a time beyond the year 5000,
and the one before it had reached that by 1973."""


class TotalKey(NamedTuple):
    """Key by which usage is added up; a dimension that is not a string, in a record made by hand, is None."""

    customer: str
    dimension: str | None


class FailureKey(NamedTuple):
    """Key by which failures are added up."""

    customer: str
    dimension: str | None
    reason: str


@dataclass
class Failures(Total):
    """Usage of one customer's dimension that was not billed for one reason.

    Attributes
    ----------
    records, quantity : int
        As in the totals.
    oldest, newest : int or None
        Time of the first and the last record, in ms since 1970; None if no record has a time.
    """

    oldest: int | None = None
    newest: int | None = None

    def add(self, value: object, recorded_at: int | None) -> None:
        """Add one record's usage; what is not a whole number can never be billed, and counts as 0."""
        self.records += 1
        if type(value) is int:
            self.quantity += value
        if recorded_at is not None:
            self.oldest = recorded_at if self.oldest is None else min(self.oldest, recorded_at)
            self.newest = recorded_at if self.newest is None else max(self.newest, recorded_at)


@dataclass(frozen=True)
class TimeRange:
    """Range of ``create_timestamp`` of the reported records.

    Attributes
    ----------
    oldest, newest : int or None
        In ms since 1970, both inclusive; None for no bound.
    """

    oldest: int | None = None
    newest: int | None = None

    def __contains__(self, recorded_at: int) -> bool:
        """Return whether a time is in the range."""
        return (self.oldest is None or self.oldest <= recorded_at) and (
            self.newest is None or recorded_at <= self.newest
        )

    @property
    def is_bounded(self) -> bool:
        """Whether the range has any bound."""
        return self.oldest is not None or self.newest is not None


@dataclass
class Report:
    """Outcome of the usage in a table.

    Attributes
    ----------
    time_range : TimeRange
        Range of the records that are added up.
    records : int
        Number of these records.
    by_customer : dict of str to DimensionTotals
        The same sums as the list endpoint's ``group_by=dimension``, for each customer.
    failures : dict of FailureKey to Failures
        Sums of what was not billed, by reason.
    failed : list of FailedUsage
        Each dimension that was not billed.
    days : dict of date to Counter of RecordStatus
        Number of usage entries of each status, by day (UTC).
    pending_records : int
        Records that wait for the hourly job.
    oldest_pending : int or None
        Time of the oldest pending record, in ms since 1970.
    shown : RecordStatus or None
        The only status whose sums are shown.
    without_time : int
        Records whose ``create_timestamp`` is not a time; a bounded range excludes them.
    """

    time_range: TimeRange = field(default_factory=TimeRange)
    records: int = 0
    by_customer: dict[str, DimensionTotals] = field(default_factory=lambda: defaultdict(DimensionTotals))
    failures: dict[FailureKey, Failures] = field(default_factory=lambda: defaultdict(Failures))
    failed: list[FailedUsage] = field(default_factory=list)
    days: dict[date, Counter[RecordStatus]] = field(default_factory=lambda: defaultdict(Counter))
    pending_records: int = 0
    oldest_pending: int | None = None
    without_time: int = 0
    shown: RecordStatus | None = None

    def add(self, items: Iterable[Item]) -> None:
        """Add items of the metering table, each of which must be added only once."""
        for item in items:
            created = Decimal(item[CREATE_TIMESTAMP]["N"])
            recorded_at = milliseconds(created)
            if recorded_at is None:
                self.without_time += 1
            if recorded_at in self.time_range if recorded_at is not None else not self.time_range.is_bounded:
                self._add(item, created, recorded_at)

    def _add(self, item: Item, created: Decimal, recorded_at: int | None) -> None:
        customer = item[CUSTOMER_IDENTIFIER]["S"]
        outcome = outcome_of(item)
        self.records += 1
        if outcome.status is RecordStatus.PENDING:
            self.pending_records += 1
            if recorded_at is not None and (self.oldest_pending is None or recorded_at < self.oldest_pending):
                self.oldest_pending = recorded_at
        self.by_customer[customer].add(outcome)
        day = None if recorded_at is None else _day(recorded_at)
        for position, usage in enumerate(outcome.dimensions):
            if day is not None:
                self.days[day][usage.status] += 1
            if usage.status is RecordStatus.FAILED:
                reason = usage.reason or UNKNOWN
                name = usage.dimension if isinstance(usage.dimension, str) else None
                self.failures[FailureKey(customer, name, reason)].add(usage.value, recorded_at)
                self.failed.append(FailedUsage(customer, created, position, name, usage.value, reason))

    def only(self, status: RecordStatus) -> Report:
        """Return the part of the report about usage of one status; the other sums in it are zero."""
        is_pending, is_failed = status is RecordStatus.PENDING, status is RecordStatus.FAILED
        return replace(
            self,
            shown=status,
            failures=self.failures if is_failed else {},
            failed=self.failed if is_failed else [],
            days={
                day: Counter({status: counts[status]}) for day, counts in self.days.items() if counts[status]
            },
            pending_records=self.pending_records if is_pending else 0,
            oldest_pending=self.oldest_pending if is_pending else None,
        )

    @property
    def totals(self) -> dict[TotalKey, Totals]:
        """Return the sums by customer and dimension, sorted; those of a status not shown are zero."""
        totals = {
            TotalKey(customer, dimension): sums
            for customer, one in sorted(self.by_customer.items())
            for dimension, sums in sorted(one.by_dimension.items(), key=_none_last)
        }
        if self.shown is None:
            return totals
        return {
            key: {status: sums[status] if status is self.shown else Total() for status in RecordStatus}
            for key, sums in totals.items()
            if sums[self.shown].records
        }

    @property
    def reasons(self) -> Counter[str]:
        """Number of usage entries that were not billed, by reason, in alphabetical order."""
        reasons: Counter[str] = Counter()
        for key, failures in self.failures.items():
            reasons[key.reason] += failures.records
        return Counter(dict(sorted(reasons.items())))

    def by_status(self) -> Counter[RecordStatus]:
        """Return the number of usage entries of each status."""
        return Counter(
            {
                status: sum(totals[status].records for totals in self.totals.values())
                for status in RecordStatus
            }
        )

    def oldest_pending_age(self, now: datetime) -> timedelta | None:
        """Return how long the oldest pending record has waited; None if none waits."""
        if self.oldest_pending is None:
            return None
        age = now - (EPOCH + timedelta(milliseconds=self.oldest_pending))
        return max(age, timedelta(0))


def milliseconds(create_timestamp: Decimal) -> int | None:
    """Convert a record's timestamp, in any unit, to milliseconds.

    Parameters
    ----------
    create_timestamp : Decimal
        Sort key of the record. This API writes ms; other writers have used seconds or nanoseconds.

    Returns
    -------
    int or None
        Milliseconds since 1970; None if it is not a time.
    """
    for limit, milliseconds_per_unit in _MS_PER_UNIT:
        if 0 <= create_timestamp < limit:
            return int(create_timestamp * milliseconds_per_unit)
    return None


def _day(recorded_at: int) -> date:
    return (EPOCH + timedelta(milliseconds=recorded_at)).astimezone(UTC).date()


def _none_last(row: tuple[str | None, Totals]) -> tuple[bool, str]:
    return row[0] is None, row[0] or ""
