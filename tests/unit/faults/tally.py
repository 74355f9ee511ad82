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
    job_runs: int = 0
    records: int = 0
    entries: int = 0
    """Acknowledged ones, in all uses."""
    lost: int = 0
    doubled: int = 0
    largest_step_ms: int = 0
    """From a request's time to the timestamp of a record that it wrote."""
    choices: Counter[str] = field(default_factory=Counter)
    """How often something came about that schedules choose."""
    answers: Counter[str] = field(default_factory=Counter)
    """By status."""
    requests: Counter[str] = field(default_factory=Counter)
    """To DynamoDB, by what happened to them: the value of a ``Fault``."""

    def add(self, counts: dict[str, int | dict[str, int]]) -> None:
        """Add another process's counts, as ``as_counts`` gives them."""
        for name, count in counts.items():
            mine = getattr(self, name)
            if isinstance(count, dict):
                mine.update(count)
            else:
                setattr(self, name, max(mine, count) if name == "largest_step_ms" else mine + count)

    def as_counts(self) -> dict[str, int | dict[str, int]]:
        """Return the counts as plain data, which can be sent to another process."""
        return {
            name: dict(count) if isinstance(count, Counter) else count for name, count in vars(self).items()
        }

    def report(self) -> str:
        """Format the counts as lines of text."""
        injected = {fault: self.requests[fault.value] for fault in Fault if fault is not Fault.NONE}
        answers = ", ".join(f"{count:,} {status}" for status, count in sorted(self.answers.items()))
        lines = [
            f"{self.schedules:,} schedules, {self.failed:,} of them failed",
            f"{self.lost:,} lost, {self.doubled:,} doubled",
            f"{self.entries:,} acknowledged entries in {self.records:,} records checked; "
            f"{self.job_runs:,} runs of the hourly job",
            f"largest step ahead of a request's time: {self.largest_step_ms:,} ms",
            f"{self.invocations:,} calls ({answers}), among what came about:",
            *(f"{count:>10,}  {choice}" for choice, count in sorted(self.choices.items())),
            f"{self.requests.total():,} requests to DynamoDB, {sum(injected.values()):,} faults injected:",
            *(f"{count:>10,}  {fault.value}" for fault, count in injected.items()),
        ]
        return "\n".join(lines) + "\n"
