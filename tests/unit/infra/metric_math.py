"""CloudWatch's metric math and alarm evaluation, as far as this project's alarms use them.

The rules are those of "Using math expressions with CloudWatch metrics" and "Alarm evaluation" in the Amazon
CloudWatch User Guide. A series has one value a minute; NaN is a missing data point.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Series = NDArray[np.float64]
Times = list[tuple[int, int]]
"""The first and the last minute of each time that an alarm is on."""


def _fill(values: Series, filler: float) -> Series:
    return np.where(np.isnan(values), filler, values)


def _diff(values: Series) -> Series:
    return np.diff(values, axis=0, prepend=np.nan)


def _if(condition: ArrayLike, then: ArrayLike, otherwise: ArrayLike = np.nan) -> Series:
    return np.where(condition, then, otherwise)


def evaluated(expression: str, metrics: Mapping[str, Series]) -> Series:
    """Evaluate an expression over metrics of the same periods, oldest first.

    A value that is missing in some of the metrics only counts as 0.
    """
    is_missing = np.all([np.isnan(values) for values in metrics.values()], axis=0)
    names: dict[str, Any] = {"FILL": _fill, "DIFF": _diff, "IF": _if, "__builtins__": {}}
    names |= {name: np.where(np.isnan(values) & ~is_missing, 0, values) for name, values in metrics.items()}
    result = eval(expression.replace(" AND ", " & "), names)  # noqa: S307 - of this project's own template
    return result if "FILL" in expression else np.where(is_missing, np.nan, result)


def times_on(alarm: Mapping[str, Any], metrics: Mapping[str, Series], retrieved: int) -> Times:
    """Return when an alarm of the template is on.

    CloudWatch looks at ``retrieved`` data points: more than it evaluates, how many is not documented.
    """
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    # A percentile of a few requests counts too ("PutMetricAlarm", EvaluateLowSampleCountPercentile).
    assert "EvaluateLowSampleCountPercentile" not in alarm
    if "Metrics" in alarm:
        (expression,) = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
        stats = [metric["MetricStat"] for metric in alarm["Metrics"] if "MetricStat" in metric]
        (seconds,) = {stat["Period"] for stat in stats}
        assert {stat["Stat"] for stat in stats} <= {"Sum", "SampleCount"}
    else:
        # A percentile's series must have one value a period.
        assert alarm.get("Statistic", alarm.get("ExtendedStatistic")) in {"Sum", "p99"}
        expression, seconds, metrics = "metric", alarm["Period"], {"metric": metrics[alarm["MetricName"]]}
    is_on_without_data = {"ignore": None, "notBreaching": False, "breaching": True}[alarm["TreatMissingData"]]
    needed = alarm["EvaluationPeriods"]
    # An alarm over more than a day is evaluated at each full hour only ("Alarm evaluation").
    every = 60 if seconds > 24 * 3600 else 1
    periods = {name: _periods(values, seconds // 60, retrieved) for name, values in metrics.items()}
    states = [False]
    for minute, column in enumerate(evaluated(expression, periods).T):
        is_on = states[-1]
        if (minute + 1) % every == 0:
            points = column[~np.isnan(column)]
            if len(points):
                is_on = len(points) >= needed and bool((points[-needed:] > alarm["Threshold"]).all())
            elif is_on_without_data is not None:
                is_on = is_on_without_data
        states.append(is_on)
    changes = np.flatnonzero(np.diff(np.array([*states, False], dtype=int))).tolist()
    return [(first, after - 1) for first, after in zip(changes[::2], changes[1::2], strict=True)]


def _periods(values: Series, minutes: int, count: int) -> Series:
    """The sums of so many periods up to the end of each minute, oldest first."""
    sums = np.concatenate(([0], np.nancumsum(values)))
    points = np.concatenate(([0], np.cumsum(~np.isnan(values))))
    ends = np.arange(1, len(values) + 1)
    edges = np.maximum(0, ends - minutes * np.arange(count, -1, -1)[:, None])
    return np.where(np.diff(points[edges], axis=0) > 0, np.diff(sums[edges], axis=0), np.nan)
