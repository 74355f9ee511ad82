"""The alarms; each has its section in docs/operations.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_cdk import aws_cloudwatch as cloudwatch

from infra.operations.metrics import PERIOD, count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from constructs import Construct

    from infra.api.metering_api import MeteringApi
    from infra.metering_function import MeteringFunction

_FEW_REQUESTS = 20
"""Below so many requests in five minutes a rate says little: they count as this many, so one error is 5 %."""


@dataclass(frozen=True)
class _AlarmSpec:
    """An alarm that goes off when ``metric`` is above ``threshold`` in ``periods`` periods in a row."""

    name: str
    metric: cloudwatch.Metric | cloudwatch.MathExpression
    threshold: float
    meaning: str
    periods: int = 1


def create_alarms(
    scope: Construct, functions: Sequence[MeteringFunction], api: MeteringApi, *, metric_math: bool
) -> list[cloudwatch.Alarm]:
    """Create the CloudWatch alarms.

    Parameters
    ----------
    scope : Construct
        Parent construct.
    functions : Sequence[MeteringFunction]
        The functions to watch.
    api : MeteringApi
        The API to watch.
    metric_math : bool
        Whether to create the alarms on expressions over several metrics.
    """
    return [
        cloudwatch.Alarm(
            scope,
            spec.name,
            alarm_description=f"{spec.meaning} What to do: docs/operations.md, section {spec.name}.",
            metric=spec.metric,
            threshold=spec.threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=spec.periods,
            # Without traffic there is no data, and nothing to alarm about.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        for spec in _alarm_specs(functions, api)
        if metric_math or isinstance(spec.metric, cloudwatch.Metric)
    ]


def _alarm_specs(functions: Sequence[MeteringFunction], api: MeteringApi) -> Iterator[_AlarmSpec]:
    stage = api.rest_api.deployment_stage
    error_rate = cloudwatch.MathExpression(
        expression=f"100 * errors / IF(requests < {_FEW_REQUESTS}, {_FEW_REQUESTS}, requests)",
        using_metrics={
            "errors": stage.metric_server_error(statistic="Sum", period=PERIOD),
            "requests": stage.metric_count(statistic="Sum", period=PERIOD),
        },
        label="5xx answers, %",
        period=PERIOD,
    )
    throttles = cloudwatch.MathExpression(
        expression=" + ".join(f"t{number}" for number in range(len(functions))),
        using_metrics={
            f"t{number}": function.function.metric_throttles(statistic="Sum", period=PERIOD)
            for number, function in enumerate(functions)
        },
        label="Function throttles",
        period=PERIOD,
    )
    incomplete = count_of("IncompleteRequests")
    yield _AlarmSpec("ServerErrors", error_rate, 5, "More than 5 % of the requests were answered with 5xx.")
    yield _AlarmSpec("FunctionThrottles", throttles, 0, "Lambda refused to run a function.", periods=2)
    yield _AlarmSpec(
        "IncompleteRequests",
        incomplete,
        0,
        "A request was answered before all of its records were in; its caller has to resume it.",
    )
    for function in functions:
        spec = function.spec
        yield _AlarmSpec(
            f"{spec.name}Errors",
            function.function.metric_errors(statistic="Sum", period=PERIOD),
            0,
            "The function crashed, ran out of time or of memory.",
        )
        yield _AlarmSpec(
            f"{spec.name}Slow",
            function.function.metric_duration(statistic="p99", period=PERIOD),
            spec.slow_seconds * 1000,
            f"One request in a hundred took over {spec.slow_seconds} s.",
        )
