"""CloudWatch's metric math and alarm evaluation, as far as this project's alarms use them.

The rules are those of "Using math expressions with CloudWatch metrics" and "Alarm evaluation" in the Amazon
CloudWatch User Guide.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

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

    def __rmul__(self, factor: float) -> TimeSeries:
        return self._combine(factor, operator.mul)

    def __truediv__(self, other: TimeSeries | float) -> TimeSeries:
        return self._combine(other, operator.truediv)

    def __gt__(self, other: TimeSeries | float) -> TimeSeries:
        return self._combine(other, operator.gt)

    def __ge__(self, other: TimeSeries | float) -> TimeSeries:
        return self._combine(other, operator.ge)

    def __lt__(self, other: TimeSeries | float) -> TimeSeries:
        return self._combine(other, operator.lt)

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
    """An alarm of the template."""

    expression: str
    threshold: float
    period_minutes: int
    periods: int
    """Periods in a row above the threshold."""
    missing_data: bool | None
    """State where there is no data; None keeps the one before."""

    @classmethod
    def from_template(cls, alarm: Mapping[str, Any]) -> SimulatedAlarm:
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        missing_data = {"ignore": None, "notBreaching": False, "breaching": True}[alarm["TreatMissingData"]]
        if "Metrics" in alarm:
            (expression,) = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
            stats = [metric["MetricStat"] for metric in alarm["Metrics"] if "MetricStat" in metric]
            (period,) = {stat["Period"] for stat in stats}
            assert {stat["Stat"] for stat in stats} <= {"Sum", "SampleCount"}
        else:
            expression, period = alarm["MetricName"], alarm["Period"]
            # A series has one value a minute; with a percentile it must have one value a period.
            assert alarm.get("Statistic", alarm.get("ExtendedStatistic")) in {"Sum", "p99"}
        # A percentile of a few requests counts too ("PutMetricAlarm", EvaluateLowSampleCountPercentile).
        assert "EvaluateLowSampleCountPercentile" not in alarm
        periods = alarm["EvaluationPeriods"]
        assert periods == 1 or missing_data is False
        return cls(expression, alarm["Threshold"], period // 60, periods, missing_data)

    def states(self, metrics: Mapping[str, Sequence[Value]], retrieved: int) -> Iterator[bool]:
        """Return whether the alarm is on after each minute.

        Parameters
        ----------
        metrics : Mapping[str, Sequence[float | None]]
            By metric, the value of each minute.
        retrieved : int
            Data points that CloudWatch looks at: more than the evaluation period, how many is not documented.
        """
        sums = {
            name: list(accumulate((value or 0 for value in values), initial=0.0))
            for name, values in metrics.items()
        }
        counts = {
            name: list(accumulate((value is not None for value in values), initial=0))
            for name, values in metrics.items()
        }
        every = 60 if self.period_minutes > MULTI_DAY_MINUTES else 1
        is_on = False
        before: dict[str, list[Value]] = {}
        for minute in range(len(next(iter(metrics.values())))):
            if (minute + 1) % every == 0:
                windows = {
                    name: self._window(sums[name], counts[name], minute + 1, retrieved) for name in metrics
                }
                # Between two changes the alarm has nothing new to evaluate.
                if windows != before:
                    is_on = self._state(windows, is_on)
                before = windows
            yield is_on

    def _window(self, sums: Sequence[float], counts: Sequence[int], end: int, retrieved: int) -> list[Value]:
        """The periods before a minute, oldest first."""
        edges = [max(0, end - self.period_minutes * back) for back in range(retrieved, -1, -1)]
        return [
            sums[end] - sums[start] if counts[end] > counts[start] else None for start, end in pairwise(edges)
        ]

    def _state(self, windows: Mapping[str, Sequence[Value]], is_on: bool) -> bool:
        # Some metrics' names begin with a digit.
        names = {name: f"metric_{name}" for name in windows if not name.isidentifier()}
        expression = names.get(self.expression, self.expression)
        metrics = {names.get(name, name): TimeSeries(values) for name, values in windows.items()}
        points = [value for value in evaluated(expression, metrics).values if value is not None]
        if not points:
            return is_on if self.missing_data is None else self.missing_data
        return len(points) >= self.periods and min(points[-self.periods :]) > self.threshold
