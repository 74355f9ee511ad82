"""The metrics that alarms and dashboard share."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch

PERIOD = Duration.minutes(5)


def count_of(metric_name: str, label: str | None = None) -> cloudwatch.Metric:
    """Return the sum of a custom metric emitted by the functions.

    Parameters
    ----------
    metric_name : str
        Its name in ``src/metering_handlers``.
    label : str | None
        Name in a graph.
    """
    return cloudwatch.Metric(
        namespace="MarketplaceMetering",
        metric_name=metric_name,
        dimensions_map={"service": "metering-api"},
        statistic="Sum",
        period=PERIOD,
        label=label,
    )
