"""What somebody has to look at: open failures, and pending usage that the hourly job may not bill once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple, Self

from metering_cli.reporting.failures import OPEN_STATES, Failure, by_reason, listed
from metering_cli.reporting.report import LATEST_INSTANT, NO_NAME, Report
from metering_cli.wording import counted, printable
from metering_handlers.contract.limits import MAX_DIMENSIONS, MAX_QUANTITY
from metering_handlers.contract.queries import EPOCH

Sums = Sequence[tuple[str, int]]
"""Dimensions and quantities."""

_MAX_RECORDS = 500
"""Of one customer: with many more, the hourly job is cut off after AWS has billed, and bills again."""
_LICENSE_ARN = re.compile(r"arn:[a-z-]+:license-manager::(\d{12}):license/.*")


class OneBuyer(NamedTuple):
    """Two identifiers of what may be one buyer, who would be billed twice within an hour."""

    license_arn: str
    other: str


@dataclass(frozen=True)
class Findings:
    """Findings of a report."""

    unsettled: list[Failure]
    """Failures that are open, or that may be."""
    risks: dict[str, list[str]]
    """Why the hourly job may not bill a customer's pending usage, or not once."""
    one_buyer: list[OneBuyer]

    @classmethod
    def of(cls, report: Report, now: datetime, overdue: timedelta) -> Self:
        """Find them; ``overdue`` is how long usage may wait."""
        sums = {
            customer: sorted((row["dimension"] or NO_NAME, row["pending"].quantity) for row in usage.rows())
            for customer, usage in sorted(report.waiting.items())
        }
        risks = {}
        for customer, quantities in sums.items():
            since = EPOCH + timedelta(milliseconds=report.waiting_since.get(customer, LATEST_INSTANT))
            if found := _risks(quantities, report.waiting[customer].records, now - since, overdue):
                risks[customer] = found
        return cls(
            unsettled=[failure for failure in report.failures if failure.state in OPEN_STATES],
            risks=risks,
            one_buyer=_maybe_one_buyer(sums),
        )

    @cached_property
    def customers(self) -> set[str]:
        """The customers that they are about."""
        return {failure.customer for failure in self.unsettled}.union(self.risks, *self.one_buyer)

    def problems(self) -> list[str]:
        """Return the reasons for exit code 1."""
        found = []
        if self.unsettled:
            customers = counted(len({failure.customer for failure in self.unsettled}), "customer")
            found.append(
                f"Not billed and open: {counted(len(self.unsettled), 'failure')} of {customers}"
                f" ({by_reason(self.unsettled)})."
            )
        if self.risks:
            found.append(
                f"At risk: pending usage of {counted(len(self.risks), 'customer')}. Does the hourly job run,"
                " and does it keep up?"
            )
        return found

    def messages(self) -> list[str]:
        """Return the problems, with the customers at risk, and the hints."""
        messages = self.problems()
        if self.risks:
            messages[-1] += listed(
                f"{customer}: {'; '.join(risks)}" for customer, risks in self.risks.items()
            )
        for pair in self.one_buyer:
            arn, other = map(printable, pair)
            messages.append(
                f"{arn} and {other} may be one buyer, who is billed twice if both are metered within an hour."
            )
        return messages


def _risks(quantities: Sums, records: int, age: timedelta, overdue: timedelta) -> list[str]:
    """Return why the hourly job may not bill it, or not once: the limits are those of its call to AWS."""
    risks = []
    if len(quantities) > MAX_DIMENSIONS:
        risks.append(f"{len(quantities)} dimensions wait together; AWS takes {MAX_DIMENSIONS} in a call")
    risks += [
        f"{quantity:,} of {name} wait together; AWS takes {MAX_QUANTITY:,}"
        for name, quantity in quantities
        if quantity > MAX_QUANTITY
    ]
    if records > _MAX_RECORDS:
        risks.append(
            f"{records:,} records wait together; above {_MAX_RECORDS}, the hourly job may be cut off"
            " and bill them twice"
        )
    if age > overdue:
        hours, minutes = divmod(age // timedelta(minutes=1), 60)
        waits = f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h {minutes} min"
        risks.append(f"{counted(records, 'record')} pending, the oldest for {waits.removeprefix('0 h ')}")
    return risks


def _maybe_one_buyer(waiting: Mapping[str, Sums]) -> list[OneBuyer]:
    """Find License ARNs and other identifiers that may be of one buyer.

    AWS bills a buyer twice who is metered by product code and by License ARN within an hour (BatchMeterUsage,
    AWS Marketplace Metering Service API Reference). The signs: the ARN has the account id, or no other
    customer waits with the same usage.
    """
    found = set()
    by_usage: defaultdict[frozenset[tuple[str, int]], list[str]] = defaultdict(list)
    for customer, quantities in waiting.items():
        if any(quantity for _, quantity in quantities):
            by_usage[frozenset(quantities)].append(customer)
        arn = _LICENSE_ARN.fullmatch(customer)
        if arn and arn[1] in waiting:
            found.add(OneBuyer(customer, arn[1]))
    for customers in by_usage.values():
        arns = [customer for customer in customers if _LICENSE_ARN.fullmatch(customer)]
        if len(customers) == 2 and len(arns) == 1:
            customers.remove(arns[0])
            found.add(OneBuyer(arns[0], customers[0]))
    return sorted(found)
