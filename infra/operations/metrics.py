"""Metrics used by both alarms and dashboard, as sums over five minutes where no expression says otherwise."""

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.functions import METRICS_NAMESPACE


def count_of(scope: Construct, metric_name: str, label: str | None = None) -> cloudwatch.Metric:
    """Return the sum of a metric that the functions of the scope's stack emit."""
    return cloudwatch.Metric(
        namespace=METRICS_NAMESPACE,
        metric_name=metric_name,
        dimensions_map={"service": Stack.of(scope).stack_name},
        statistic="Sum",
        label=label,
    )


def records_marked(metering_table_name: str, label: str | None = None) -> cloudwatch.Metric:
    """Return the number of records that the hourly job has marked as metered or failed.

    Only the job calls UpdateItem on the metering table, once for each record. ``SuccessfulRequestLatency``
    has one sample for each successful call ("DynamoDB metrics and dimensions", Amazon DynamoDB Developer
    Guide).
    """
    return cloudwatch.Metric(
        namespace="AWS/DynamoDB",
        metric_name="SuccessfulRequestLatency",
        dimensions_map={"TableName": metering_table_name, "Operation": "UpdateItem"},
        statistic="SampleCount",
        label=label,
    )
