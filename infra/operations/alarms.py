"""CloudWatch alarms; each has a section in docs/operations.md.

Periods are five minutes where none is given; an expression's period is that of all its metrics.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.api.metering_api import MeteringApi
from infra.config import Config
from infra.metering_function import MeteringFunction
from infra.ministack import is_local_cloud
from infra.operations.metrics import count_of, records_marked

_FEW_REQUESTS = 20
"""Fewer requests than this in five minutes count as this many, so that a single error is at most 5 %."""
_HOUR = Duration.hours(1)
"""Period of the alarms that a seller with one request an hour needs."""


@dataclass(frozen=True)
class _AlarmSpec:
    """An alarm that goes off when ``metric`` is above ``threshold`` in ``periods`` periods in a row."""

    name: str
    meaning: str
    metric: cloudwatch.Metric | cloudwatch.MathExpression
    threshold: float = 0
    periods: int = 1
    # No data means no traffic.
    missing_data: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING


def create_alarms(
    scope: Construct, functions: Sequence[MeteringFunction], api: MeteringApi, config: Config
) -> list[cloudwatch.Alarm]:
    """Create the alarms; in the local cloud only those without an expression, which it refuses."""
    is_local = is_local_cloud(scope.node)
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
        if isinstance(spec.metric, cloudwatch.Metric) or not is_local
    ]


def _request_alarms(stage: apigateway.Stage) -> Iterator[_AlarmSpec]:
    requests = stage.metric_count(statistic="Sum")
    error_rate = cloudwatch.MathExpression(
        expression=f"100 * errors / IF(requests < {_FEW_REQUESTS}, {_FEW_REQUESTS}, requests)",
        using_metrics={"errors": stage.metric_server_error(), "requests": requests},
        label="5xx answers, %",
    )
    yield _AlarmSpec(
        "ServerErrors", "More than 5 % of the requests were answered with 5xx.", error_rate, threshold=5
    )
    yield _AlarmSpec(
        "HourOfServerErrors",
        "Requests of the last hour were answered with 5xx.",
        stage.metric_server_error(period=_HOUR),
    )
    all_refused = cloudwatch.MathExpression(
        expression="IF((requests > 0) AND (refused >= requests), 1, 0)",
        using_metrics={"refused": stage.metric_client_error(), "requests": requests},
        label="1: all requests were refused",
        period=_HOUR,
    )
    yield _AlarmSpec(
        "HourOfRefusals",
        "All requests of an hour were refused with 4xx.",
        all_refused,
        # On until a request is accepted: a daily batch that is refused must not end as OK an hour later.
        missing_data=cloudwatch.TreatMissingData.IGNORE,
    )


def _function_alarms(scope: Construct, functions: Sequence[MeteringFunction]) -> Iterator[_AlarmSpec]:
    throttles = {
        f"t{number}": function.function.metric_throttles() for number, function in enumerate(functions)
    }
    all_throttles = cloudwatch.MathExpression(
        expression=" + ".join(throttles), using_metrics=throttles, label="Function throttles"
    )
    yield _AlarmSpec("FunctionThrottles", "Lambda refused to run a function.", all_throttles, periods=2)
    yield _AlarmSpec(
        "IncompleteRequests",
        "A request was answered before all of its usage was stored; its caller has to resume it.",
        count_of(scope, "IncompleteRequests"),
    )
    for function in functions:
        name, seconds = function.spec.name, function.spec.slow_seconds
        yield _AlarmSpec(
            f"{name}Errors",
            "The function crashed, ran out of time or of memory.",
            function.function.metric_errors(),
        )
        yield _AlarmSpec(
            f"{name}Slow",
            f"One request in a hundred took over {seconds} s.",
            function.function.metric_duration(statistic="p99"),
            threshold=seconds * 1000,
        )


def _usage_alarms(scope: Construct, expected_hours: int | None) -> Iterator[_AlarmSpec]:
    if expected_hours is None:
        return
    # Filled, because an alarm on a metric alone would go on with its last data point ("Alarm evaluation",
    # Amazon CloudWatch User Guide).
    nothing = cloudwatch.MathExpression(
        expression="IF(FILL(inserted, 0) > 0, 0, 1)",
        using_metrics={"inserted": count_of(scope, "RecordsInserted")},
        label="1: nothing was inserted",
        period=Duration.hours(expected_hours),
    )
    yield _AlarmSpec(
        "NothingInserted",
        f"No record was inserted for {expected_hours} hours.",
        nothing,
        missing_data=cloudwatch.TreatMissingData.BREACHING,
    )


def _job_alarms(scope: Construct, config: Config) -> Iterator[_AlarmSpec]:
    """Yield the alarms on the quickstart's hourly job.

    An alarm on a metric of DynamoDB keeps its state where data is missing, whatever its settings
    ("PutMetricAlarm", Amazon CloudWatch API Reference); both alarms build on that.
    """
    metrics = {
        "inserted": count_of(scope, "RecordsInserted"),
        "marked": records_marked(config.metering_table_name),
    }
    # x - DIFF(x) is x of the period before; CloudWatch retrieves more data points than it evaluates ("Alarm
    # evaluation", Amazon CloudWatch User Guide). The expression is 0 if the job marked records in a period;
    # 1 if it marked none in this period and the one before, although records were inserted; otherwise
    # there is no data: the alarm stays on while nobody inserts, until the job marks something.
    silent = cloudwatch.MathExpression(
        expression="IF(FILL(marked, 0) > 0, 0, "
        "IF((FILL(inserted, 0) - DIFF(FILL(inserted, 0)) > 0)"
        " AND (FILL(marked, 0) - DIFF(FILL(marked, 0)) == 0), 1))",
        using_metrics=metrics,
        label="1: records wait, and none was marked",
        # Half of the three hours without a marked record after which the job counts as silent.
        period=Duration.minutes(90),
    )
    yield _AlarmSpec(
        "HourlyJobSilent",
        "Records came in, and the quickstart's hourly job has marked none for three hours.",
        silent,
        missing_data=cloudwatch.TreatMissingData.IGNORE,
    )
    backlog = cloudwatch.MathExpression(
        expression="inserted - marked",
        using_metrics=metrics,
        label="Records inserted and not marked",
        # The longest window that an alarm may have ("PutMetricAlarm", Amazon CloudWatch API Reference), so
        # that a slow growth is seen too. Records inserted before it and marked within it make the difference
        # too small, never too large.
        period=Duration.days(7),
    )
    yield _AlarmSpec(
        "PendingBacklog",
        "More records wait than the quickstart's hourly job can bill in an hour.",
        backlog,
        threshold=config.job_records_per_hour,
        missing_data=cloudwatch.TreatMissingData.IGNORE,
    )
