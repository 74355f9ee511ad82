"""The alarms; each has its section in docs/operations.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_cloudwatch as cloudwatch

from infra.metering_function import TIMEOUT
from infra.operations.metrics import PERIOD, count_of

if TYPE_CHECKING:
    from constructs import Construct

    from infra.metering_function import MeteringFunction
    from infra.metering_records_stack import MeteringRecordsStack

_FEW_REQUESTS = 20
"""Below so many requests in five minutes a rate says little: they count as this many, so one error is 5 %."""
_SLOW_SECONDS = 5
"""For a request of one record or one page, which takes milliseconds."""
_SLOW_BULK_SECONDS = TIMEOUT.to_seconds() * 0.7
"""Beyond it a bulk request is close to being cut short."""


def metering_alarms(scope: Construct, metering: MeteringRecordsStack) -> list[cloudwatch.Alarm]:
    """Make the alarms.

    Parameters
    ----------
    scope : Construct
        The stack they belong to.
    metering : MeteringRecordsStack
        What is watched.
    """
    functions = {
        "InsertMeteringRecord": metering.insert_one,
        "InsertMeteringRecords": metering.insert_many,
        "ListMeteringRecords": metering.list_records,
    }
    stage = metering.api.rest_api.deployment_stage
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
            for number, function in enumerate(functions.values())
        },
        label="Function throttles",
        period=PERIOD,
    )
    alarms = [
        _alarm(scope, "ServerErrors", error_rate, 5, "More than 5 % of the requests were answered with 5xx."),
        _alarm(scope, "FunctionThrottles", throttles, 0, "Lambda refused to run a function.", datapoints=2),
        _alarm(
            scope,
            "IncompleteRequests",
            count_of("IncompleteRequests", "Incomplete requests"),
            0,
            "A request was answered before all of its records were in; its caller has to resume it.",
        ),
    ]
    for name, function in functions.items():
        alarms.append(_errors_alarm(scope, name, function))
        alarms.append(_slow_alarm(scope, name, function, is_bulk=function is metering.insert_many))
    return alarms


def _errors_alarm(scope: Construct, name: str, function: MeteringFunction) -> cloudwatch.Alarm:
    errors = function.function.metric_errors(statistic="Sum", period=PERIOD)
    return _alarm(scope, f"{name}Errors", errors, 0, "The function crashed, ran out of time or of memory.")


def _slow_alarm(
    scope: Construct, name: str, function: MeteringFunction, *, is_bulk: bool
) -> cloudwatch.Alarm:
    seconds = _SLOW_BULK_SECONDS if is_bulk else _SLOW_SECONDS
    p99 = function.function.metric_duration(statistic="p99", period=PERIOD)
    return _alarm(
        scope, f"{name}Slow", p99, seconds * 1000, f"One request in a hundred took over {seconds:.0f} s."
    )


def _alarm(  # noqa: PLR0913, PLR0917 - what an alarm consists of
    scope: Construct,
    name: str,
    metric: cloudwatch.IMetric,
    threshold: float,
    meaning: str,
    datapoints: int = 1,
) -> cloudwatch.Alarm:
    return cloudwatch.Alarm(
        scope,
        name,
        alarm_description=f"{meaning} What to do: docs/operations.md, section {name}.",
        metric=metric,
        threshold=threshold,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluation_periods=datapoints,
        datapoints_to_alarm=datapoints,
        # No traffic is no trouble.
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )
