"""The CloudWatch dashboard: alarms, availability, latency, inserted records, throttling."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.api.metering_api import MeteringApi
from infra.metering_function import MeteringFunction
from infra.operations.metrics import count_of, records_marked
from metering_handlers.contract.attributes import PENDING_INDEX

_THIRD = 8
_HALF = 12
_WHOLE = 24

_Row = list[cloudwatch.IWidget]


def create_dashboard(
    scope: Construct,
    functions: Sequence[MeteringFunction],
    api: MeteringApi,
    alarms: Sequence[cloudwatch.Alarm],
    metering_table_name: str,
) -> None:
    """Create the dashboard, with the alarms at its top."""
    labelled = {function.spec.label: function.function for function in functions}
    title = cloudwatch.TextWidget(
        markdown="# Marketplace Metering API\nEvery alarm has its section in docs/operations.md. "
        "Times are UTC; each point is five minutes.",
        width=_WHOLE,
        height=2,
    )
    status = cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=_WHOLE, height=3)
    rows: list[_Row] = [
        [title],
        [status],
        *_traffic(api.rest_api.deployment_stage, labelled),
        _records(scope, metering_table_name),
        _limits(scope, labelled, metering_table_name),
    ]
    cloudwatch.Dashboard(scope, "Dashboard", default_interval=Duration.hours(12), widgets=rows)


def _traffic(stage: apigateway.Stage, functions: Mapping[str, lambda_.Function]) -> tuple[_Row, _Row]:
    """Return what callers see: requests, errors, and latency."""
    errors = [
        stage.metric_client_error(label="4xx: the caller's"),
        stage.metric_server_error(label="5xx: ours"),
        *(function.metric_errors(label=f"crashes: {name}") for name, function in functions.items()),
    ]
    latencies = [stage.metric_latency(statistic=name, label=name) for name in ("p50", "p90", "p99")]
    durations = [
        function.metric_duration(statistic="p99", label=name) for name, function in functions.items()
    ]
    requests = stage.metric_count(statistic="Sum", label="requests")
    return (
        [_graph("Requests", [requests]), _graph("Errors", errors)],
        [
            _graph("Latency of the API, ms", latencies),
            _graph("Duration of the functions, p99, ms", durations),
        ],
    )


def _records(scope: Construct, metering_table_name: str) -> _Row:
    """Return what came in, and what the hourly job did with it."""
    inserted = count_of(scope, "RecordsInserted", "inserted")
    marked = records_marked(metering_table_name, "marked as metered or failed")
    waiting = cloudwatch.MathExpression(
        expression="RUNNING_SUM(FILL(inserted, 0) - FILL(marked, 0))",
        using_metrics={"inserted": inserted, "marked": records_marked(metering_table_name)},
        label="inserted and not marked",
    )
    return [
        _graph("Records inserted, and marked by the hourly job", [inserted, marked]),
        _graph("Inserted minus marked, since the graph's start", [waiting], minimum=None),
    ]


def _limits(scope: Construct, functions: Mapping[str, lambda_.Function], metering_table_name: str) -> _Row:
    """Return repeats, and what was throttled."""
    repeats = [
        count_of(scope, "Replays", "requests answered as before, by their key"),
        count_of(scope, "Duplicates", "entries skipped, because their id is known"),
        count_of(scope, "IncompleteRequests", "incomplete requests: the caller has to resume"),
    ]
    throttles = [
        *(function.metric_throttles(label=f"Lambda: {name}") for name, function in functions.items()),
        count_of(scope, "ThrottledChunks", "chunks that DynamoDB throttled"),
        count_of(scope, "SlotsMoved", "records whose timestamp was taken"),
    ]
    indexes = {"table": {}, "index of pending records": {"GlobalSecondaryIndexName": PENDING_INDEX}}
    throttled_writes = [
        cloudwatch.Metric(
            namespace="AWS/DynamoDB",
            metric_name="WriteThrottleEvents",
            dimensions_map={"TableName": metering_table_name} | index,
            statistic="Sum",
            label=label,
        )
        for label, index in indexes.items()
    ]
    return [
        _graph("Repeats, and requests cut short", repeats, width=_THIRD),
        _graph("Throttling", throttles, width=_THIRD),
        _graph("Writes that DynamoDB throttled", throttled_writes, width=_THIRD),
    ]


def _graph(
    title: str, metrics: Sequence[cloudwatch.IMetric], *, width: int = _HALF, minimum: float | None = 0
) -> cloudwatch.GraphWidget:
    axis = cloudwatch.YAxisProps(min=minimum, show_units=False)
    return cloudwatch.GraphWidget(title=title, left=list(metrics), left_y_axis=axis, width=width, height=6)
