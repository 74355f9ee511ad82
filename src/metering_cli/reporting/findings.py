"""What somebody has to look at: open failures, and pending usage at risk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from metering_cli.reporting.failures import OPEN_STATES, Failure
from metering_cli.reporting.waiting import OneBuyer, maybe_one_buyer
from metering_cli.reporting.wording import listed
from metering_cli.wording import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from metering_cli.reporting.report import Report, Totals


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
        return cls(
            unsettled=[failure for failure in report.failures if failure.state in OPEN_STATES],
            risks={
                customer: risks
                for customer, usage in sorted(report.waiting.items())
                if (risks := usage.risks(now, overdue))
            },
            one_buyer=maybe_one_buyer(report.waiting),
        )

    @cached_property
    def customers(self) -> set[str]:
        """The customers that they are about."""
        return {failure.customer for failure in self.unsettled}.union(self.risks, *self.one_buyer)

    def totals(self, report: Report) -> list[tuple[str, list[tuple[str | None, Totals]]]]:
        """Return the sums by customer and dimension: these customers first."""
        return sorted(report.totals().items(), key=lambda row: (row[0] not in self.customers, row[0]))

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
        at_risk = listed(f"{customer}: {'; '.join(risks)}" for customer, risks in self.risks.items())
        messages = self.problems()
        if at_risk:
            messages[-1] += at_risk
        for pair in self.one_buyer:
            arn, other = map(printable, pair)
            messages.append(
                f"{arn} and {other} may be one buyer, who is billed twice if both are metered within an hour."
            )
        return messages


def by_reason(failures: Iterable[Failure]) -> str:
    """Count failures by reason, such as ``DuplicateRecord 2, Unprocessed 1``."""
    reasons = Counter(failure.reason for failure in failures)
    return ", ".join(f"{printable(reason)} {count:,}" for reason, count in sorted(reasons.items()))
