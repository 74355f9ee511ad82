"""CloudWatch alarms; each has a section in docs/operations.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.api.metering_api import MeteringApi
from infra.config import Config
from infra.metering_function import MeteringFunction
from infra.operations.metrics import PERIOD, count_of, records_marked

_FEW_REQUESTS = 20
"""Fewer requests than this in five minutes count as this many, so that a single error is at most 5 %."""
_HOUR = Duration.hours(1)
"""Period of the alarms that a seller with one request an hour needs."""
_SILENCE = Duration.minutes(90)
"""Half of the three hours without a marked record after which the job counts as silent."""


@dataclass(frozen=True)
class _AlarmSpec:
    """An alarm that goes off when ``metric`` is above ``threshold`` in ``periods`` periods in a row."""

    name: str
    metric: cloudwatch.Metric | cloudwatch.MathExpression
    threshold: float
    meaning: str
    periods: int = 1
    # No data means no traffic.
    missing_data: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING


def create_alarms(
    scope: Construct,
    functions: Sequence[MeteringFunction],
    api: MeteringApi,
    config: Config,
    *,
    metric_math: bool,
) -> list[cloudwatch.Alarm]:
    """Create the alarms; those on expressions only with ``metric_math``, which the local cloud refuses."""
    specs = [
        *_request_alarms(api.rest_api.deployment_stage),
        *_function_alarms(scope, functions),
        *_usage_alarms(scope, config.expected_usage_hours),
        *_job_alarms(scope, config),
    ]
    return [
        cloudwatch.Alarm(
            scope,
            spec.name,
            alarm_description=f"{spec.meaning} What to do: docs/operations.md, section {spec.name}.",
            metric=spec.metric,
            threshold=spec.threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=spec.periods,
            treat_missing_data=spec.missing_data,
        )
        for spec in specs
        if metric_math or isinstance(spec.metric, cloudwatch.Metric)
    ]


def _request_alarms(stage: apigateway.Stage) -> Iterator[_AlarmSpec]:
    error_rate = cloudwatch.MathExpression(
        expression=f"100 * errors / IF(requests < {_FEW_REQUESTS}, {_FEW_REQUESTS}, requests)",
        using_metrics={
            "errors": stage.metric_server_error(statistic="Sum", period=PERIOD),
            "requests": stage.metric_count(statistic="Sum", period=PERIOD),
        },
        label="5xx answers, %",
        period=PERIOD,
    )
    all_refused = cloudwatch.MathExpression(
        expression="IF((requests > 0) AND (refused >= requests), 1, 0)",
        using_metrics={
            "refused": stage.metric_client_error(statistic="Sum", period=_HOUR),
            "requests": stage.metric_count(statistic="Sum", period=_HOUR),
        },
        label="1: all requests were refused",
        period=_HOUR,
    )
    yield _AlarmSpec("ServerErrors", error_rate, 5, "More than 5 % of the requests were answered with 5xx.")
    yield _AlarmSpec(
        "HourOfServerErrors",
        stage.metric_server_error(statistic="Sum", period=_HOUR),
        0,
        "Requests of the last hour were answered with 5xx.",
    )
    yield _AlarmSpec(
        "HourOfRefusals",
        all_refused,
        0,
        "All requests of an hour were refused with 4xx.",
        # On until a request is accepted: a daily batch that is refused must not end as OK an hour later.
        missing_data=cloudwatch.TreatMissingData.IGNORE,
    )


def _function_alarms(scope: Construct, functions: Sequence[MeteringFunction]) -> Iterator[_AlarmSpec]:
    throttles = cloudwatch.MathExpression(
        expression=" + ".join(f"t{number}" for number in range(len(functions))),
        using_metrics={
            f"t{number}": function.function.metric_throttles(statistic="Sum", period=PERIOD)
            for number, function in enumerate(functions)
        },
        label="Function throttles",
        period=PERIOD,
    )
    yield _AlarmSpec("FunctionThrottles", throttles, 0, "Lambda refused to run a function.", periods=2)
    yield _AlarmSpec(
        "IncompleteRequests",
        count_of(scope, "IncompleteRequests"),
        0,
        "A request was answered before all of its usage was stored; its caller has to resume it.",
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


def _usage_alarms(scope: Construct, expected_hours: int | None) -> Iterator[_AlarmSpec]:
    if expected_hours is None:
        return
    period = Duration.hours(expected_hours)
    # Filled, because an alarm on a metric alone would go on with its last data point ("Alarm evaluation",
    # Amazon CloudWatch User Guide).
    nothing = cloudwatch.MathExpression(
        expression="IF(FILL(inserted, 0) > 0, 0, 1)",
        using_metrics={"inserted": count_of(scope, "RecordsInserted", period=period)},
        label="1: nothing was inserted",
        period=period,
    )
    yield _AlarmSpec(
        "NothingInserted",
        nothing,
        0,
        f"No record was inserted for {expected_hours} hours.",
        missing_data=cloudwatch.TreatMissingData.BREACHING,
    )


def _job_alarms(scope: Construct, config: Config) -> Iterator[_AlarmSpec]:
    """Yield the alarms on the quickstart's hourly job.

    An alarm on a metric of DynamoDB keeps its state where data is missing, whatever its settings
    ("PutMetricAlarm", Amazon CloudWatch API Reference); both alarms build on that.
    """
    # x - DIFF(x) is x of the period before; CloudWatch retrieves more data points than it evaluates ("Alarm
    # evaluation", Amazon CloudWatch User Guide). The expression is 0 if the job marked records in a period;
    # 1 if it marked none in this period and the one before, although records were inserted; otherwise
    # there is no data: the alarm stays on while nobody inserts, until the job marks something.
    silent = cloudwatch.MathExpression(
        expression="IF(FILL(marked, 0) > 0, 0, "
        "IF((FILL(inserted, 0) - DIFF(FILL(inserted, 0)) > 0)"
        " AND (FILL(marked, 0) - DIFF(FILL(marked, 0)) == 0), 1))",
        using_metrics={
            "inserted": count_of(scope, "RecordsInserted", period=_SILENCE),
            "marked": records_marked(config.metering_table_name, period=_SILENCE),
        },
        label="1: records wait, and none was marked",
        period=_SILENCE,
    )
    # The longest window that an alarm may have ("PutMetricAlarm", Amazon CloudWatch API Reference), so that a
    # slow growth is seen too. Records inserted before it and marked within it make the difference too small,
    # never too large.
    week = Duration.days(7)
    backlog = cloudwatch.MathExpression(
        expression="inserted - marked",
        using_metrics={
            "inserted": count_of(scope, "RecordsInserted", period=week),
            "marked": records_marked(config.metering_table_name, period=week),
        },
        label="Records inserted and not marked",
        period=week,
    )
    yield _AlarmSpec(
        "HourlyJobSilent",
        silent,
        0,
        "Records came in, and the quickstart's hourly job has marked none for three hours.",
        missing_data=cloudwatch.TreatMissingData.IGNORE,
    )
    yield _AlarmSpec(
        "PendingBacklog",
        backlog,
        config.job_records_per_hour,
        "More records wait than the quickstart's hourly job can bill in an hour.",
        missing_data=cloudwatch.TreatMissingData.IGNORE,
    )
