"""CloudWatch's metric math and alarm evaluation, as far as this project's alarms use them.

The rules are those of "Using math expressions with CloudWatch metrics" and "Alarm evaluation" in the Amazon
CloudWatch User Guide.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MULTI_DAY_MINUTES = 24 * 60
"""An alarm over a longer window is evaluated at each full hour only ("Alarm evaluation")."""

Value = float | None
"""A data point; None where there is none."""


class TimeSeries:
    """The data points of some periods in a row, oldest first."""

    def __init__(self, values: Sequence[Value]) -> None:
        self.values = list(values)

    def _combine(self, other: TimeSeries | float, operation: Callable[[float, float], float]) -> TimeSeries:
        """Treat a value that is missing on one side only as 0."""
        is_series = isinstance(other, TimeSeries)
        others: list[Value] = other.values if isinstance(other, TimeSeries) else [other] * len(self.values)
        return TimeSeries(
            [
                float(operation(left or 0, right or 0))
                if left is not None or (is_series and right is not None)
                else None
                for left, right in zip(self.values, others, strict=True)
            ]
        )

    def __add__(self, other: TimeSeries | float) -> TimeSeries:
        return self._combine(other, operator.add)

    def __sub__(self, other: TimeSeries | float) -> TimeSeries:
        return self._combine(other, operator.sub)

    def __gt__(self, other: TimeSeries | float) -> TimeSeries:
        return self._combine(other, operator.gt)

    def __and__(self, other: TimeSeries) -> TimeSeries:
        return self._combine(other, lambda left, right: bool(left) and bool(right))

    def equals(self, other: TimeSeries | float) -> TimeSeries:
        return self._combine(other, operator.eq)


def _fill(series: TimeSeries, filler: float) -> TimeSeries:
    return TimeSeries([filler if value is None else value for value in series.values])


def _diff(series: TimeSeries) -> TimeSeries:
    return TimeSeries(
        [
            None,
            *(
                None if before is None or value is None else value - before
                for before, value in pairwise(series.values)
            ),
        ]
    )


def _if(
    condition: TimeSeries, then: TimeSeries | float, otherwise: TimeSeries | float | None = None
) -> TimeSeries:
    def at(source: TimeSeries | float | None, index: int) -> Value:
        return source.values[index] if isinstance(source, TimeSeries) else source

    return TimeSeries(
        [
            None if value is None else (at(then, index) or 0 if value else at(otherwise, index))
            for index, value in enumerate(condition.values)
        ]
    )


def evaluated(expression: str, metrics: Mapping[str, TimeSeries]) -> TimeSeries:
    """Evaluate an expression over metrics of the same periods."""
    python = expression.replace(" AND ", " & ").replace(" == 0)", ").equals(0)")
    names: dict[str, Any] = {"FILL": _fill, "DIFF": _diff, "IF": _if, "__builtins__": {}, **metrics}
    result: TimeSeries = eval(python, names)  # noqa: S307 - an expression of this project's own template
    return result


@dataclass(frozen=True)
class SimulatedAlarm:
    """An alarm of the template with one evaluation period, which keeps its state where data is missing."""

    expression: str
    threshold: float
    period_minutes: int

    @classmethod
    def from_template(cls, alarm: Mapping[str, Any]) -> SimulatedAlarm:
        assert alarm["EvaluationPeriods"] == 1
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        assert alarm["TreatMissingData"] == "ignore"
        (expression,) = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
        (period,) = {metric["MetricStat"]["Period"] for metric in alarm["Metrics"] if "MetricStat" in metric}
        return cls(expression, alarm["Threshold"], period // 60)

    def states(self, metrics: Mapping[str, Sequence[Value]], retrieved: int) -> Iterator[bool]:
        """Return whether the alarm is on after each minute.

        Parameters
        ----------
        metrics : Mapping[str, Sequence[float | None]]
            By metric, the value of each minute.
        retrieved : int
            Data points that CloudWatch looks at: more than the evaluation period, how many is not documented.
        """
        totals = {name: _running_totals(values) for name, values in metrics.items()}
        every = 60 if self.period_minutes > MULTI_DAY_MINUTES else 1
        is_on = False
        for minute in range(len(next(iter(metrics.values())))):
            if (minute + 1) % every:
                yield is_on
                continue
            ends = [minute + 1 - self.period_minutes * back for back in reversed(range(retrieved))]
            windows = {
                name: TimeSeries([self._sum(total, end) for end in ends]) for name, total in totals.items()
            }
            points = [value for value in evaluated(self.expression, windows).values if value is not None]
            if points:
                is_on = points[-1] > self.threshold
            yield is_on

    def _sum(self, totals: Sequence[tuple[float, int]], end: int) -> Value:
        total, count = (
            after - before
            for after, before in zip(
                totals[max(0, end)], totals[max(0, end - self.period_minutes)], strict=True
            )
        )
        return total if count else None


def _running_totals(values: Sequence[Value]) -> list[tuple[float, int]]:
    """Sum and number of the data points before each minute, and before the end."""
    totals = [(0.0, 0)]
    for value in values:
        total, count = totals[-1]
        totals.append((total, count) if value is None else (total + value, count + 1))
    return totals
