"""Counts over all schedules of a test session."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.unit.faults.faults import Fault


@dataclass
class Tally:
    """Counts of a test session."""

    schedules: int = 0
    failed: int = 0
    invocations: int = 0
    chosen_request_ids: int = 0
    """Invocations whose client chose ``requestContext.requestId``, by sending ``X-Amzn-RequestId``."""
    repeated_request_ids: int = 0
    """Those of them whose id an earlier invocation of the schedule had too."""
    job_runs: int = 0
    records: int = 0
    lost: int = 0
    doubled: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """By status."""
    requests: Counter[str] = field(default_factory=Counter)
    """To DynamoDB, by what happened to them: the value of a ``Fault``."""

    def add(self, counts: dict[str, int | dict[str, int]]) -> None:
        """Add another process's counts, as ``as_counts`` gives them."""
        for name, count in counts.items():
            if isinstance(count, dict):
                getattr(self, name).update(count)
            else:
                setattr(self, name, getattr(self, name) + count)

    def as_counts(self) -> dict[str, int | dict[str, int]]:
        """Return the counts as plain data, which can be sent to another process."""
        return {
            name: dict(count) if isinstance(count, Counter) else count for name, count in vars(self).items()
        }

    def report(self) -> str:
        """Format the counts as lines of text."""
        injected = {fault: self.requests[fault.value] for fault in Fault if fault is not Fault.NONE}
        chosen, repeated = self.chosen_request_ids, self.repeated_request_ids
        answers = ", ".join(f"{count:,} {status}" for status, count in sorted(self.answers.items()))
        lines = [
            f"{self.schedules:,} schedules, {self.failed:,} of them failed",
            f"{self.lost:,} lost, {self.doubled:,} doubled",
            f"{self.records:,} records checked, {self.job_runs:,} runs of the hourly job among them",
            f"{self.invocations:,} calls ({answers})",
            f"{chosen:,} calls with an X-Amzn-RequestId, {repeated:,} of them with a repeated one",
            f"{self.requests.total():,} transactions, {sum(injected.values()):,} faults injected:",
            *(f"{count:>10,}  {fault.value}" for fault, count in injected.items()),
        ]
        return "\n".join(lines) + "\n"
