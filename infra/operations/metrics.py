"""The metrics that alarms and dashboard speak of."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch

PERIOD = Duration.minutes(5)


def count_of(metric_name: str, label: str) -> cloudwatch.Metric:
    """Take one of the functions' own metrics, summed up.

    Parameters
    ----------
    metric_name : str
        As ``src/metering_handlers/insertion.py`` names it.
    label : str
        What a graph calls it.
    """
    return cloudwatch.Metric(
        namespace="MarketplaceMetering",
        metric_name=metric_name,
        dimensions_map={"service": "metering-api"},
        statistic="Sum",
        period=PERIOD,
        label=label,
    )
