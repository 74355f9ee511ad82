"""Pending usage that the hourly job cannot bill, or has not billed in time."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from metering_cli.reporting.wording import NO_NAME, duration
from metering_cli.wording import counted
from metering_handlers.contract.limits import MAX_DIMENSIONS, MAX_QUANTITY
from metering_handlers.contract.queries import EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from metering_handlers.listing.outcomes import Outcome

MAX_RECORDS = 500
"""Of one customer: with many more, the hourly job is cut off after AWS has billed, and bills again."""
_LICENSE_ARN = re.compile(r"arn:[a-z-]+:license-manager::(\d{12}):license/.*")


@dataclass
class Waiting:
    """One customer's pending usage."""

    records: int = 0
    oldest: int | None = None
    """Time of the oldest record, in ms since 1970; None if no record has a time."""
    sums: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Quantity by dimension."""

    def add(self, outcome: Outcome, recorded_at: int | None) -> None:
        """Add one record."""
        self.records += 1
        if recorded_at is not None:
            self.oldest = recorded_at if self.oldest is None else min(self.oldest, recorded_at)
        for used in outcome.dimensions:
            self.sums[used.name or NO_NAME] += used.value if type(used.value) is int else 0

    def age(self, now: datetime) -> timedelta:
        """Return how long the oldest record has waited."""
        if self.oldest is None:
            return timedelta(0)
        return max(now - (EPOCH + timedelta(milliseconds=self.oldest)), timedelta(0))

    def risks(self, now: datetime, overdue: timedelta) -> list[str]:
        """Return why the hourly job may not bill it, or not once: the limits are those of its call to AWS."""
        risks = []
        if len(self.sums) > MAX_DIMENSIONS:
            risks.append(f"{len(self.sums)} dimensions wait together; AWS takes {MAX_DIMENSIONS} in a call")
        risks += [
            f"{quantity:,} of {name} wait together; AWS takes {MAX_QUANTITY:,}"
            for name, quantity in sorted(self.sums.items())
            if quantity > MAX_QUANTITY
        ]
        if self.records > MAX_RECORDS:
            risks.append(
                f"{self.records:,} records wait together; above {MAX_RECORDS}, the hourly job may be cut off"
                " and bill them twice"
            )
        if (age := self.age(now)) > overdue:
            risks.append(f"{counted(self.records, 'record')} pending, the oldest for {duration(age)}")
        return risks


class OneBuyer(NamedTuple):
    """Two identifiers of what may be one buyer, who would be billed twice within an hour."""

    license_arn: str
    other: str


def maybe_one_buyer(waiting: Mapping[str, Waiting]) -> list[OneBuyer]:
    """Find License ARNs and other identifiers that may be of one buyer.

    AWS bills a buyer twice who is metered by product code and by License ARN within an hour (BatchMeterUsage,
    AWS Marketplace Metering Service API Reference). The signs: the ARN has the account id, or no other
    customer waits with the same usage.
    """
    found = set()
    by_usage: defaultdict[frozenset[tuple[str, int]], list[str]] = defaultdict(list)
    for customer, usage in waiting.items():
        if any(usage.sums.values()):
            by_usage[frozenset(usage.sums.items())].append(customer)
        arn = _LICENSE_ARN.fullmatch(customer)
        if arn and arn[1] in waiting:
            found.add(OneBuyer(customer, arn[1]))
    for customers in by_usage.values():
        arns = [customer for customer in customers if _LICENSE_ARN.fullmatch(customer)]
        if len(customers) == 2 and len(arns) == 1:
            found.add(OneBuyer(arns[0], next(one for one in customers if one not in arns)))
    return sorted(found)
