"""Queries of CloudWatch Logs Insights, saved under the stack's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Stack
from aws_cdk import aws_logs as logs

if TYPE_CHECKING:
    from constructs import Construct

    from infra.metering_records_stack import MeteringRecordsStack


def save_queries(scope: Construct, metering: MeteringRecordsStack) -> None:
    """Save the queries.

    Parameters
    ----------
    scope : Construct
        The stack they belong to.
    metering : MeteringRecordsStack
        Whose logs are searched.
    """
    functions = [
        metering.insert_one.log_group,
        metering.insert_many.log_group,
        metering.list_records.log_group,
    ]
    access = metering.api.access_log_group
    queries = {
        "One request, by its id": (
            [*functions, access],
            ["@timestamp", "@message"],
            ["correlation_id = 'REQUEST_ID' or requestId = 'REQUEST_ID'"],
            "@timestamp asc",
        ),
        # A bulk request's path names nobody; its records' request_id leads to it.
        "One customer's calls": (
            [access],
            ["@timestamp", "httpMethod", "path", "status", "responseLatency", "requestId"],
            ["path like 'CUSTOMER_IDENTIFIER'"],
            "@timestamp desc",
        ),
        "Failures": (
            [*functions, access],
            [
                "@timestamp",
                "status",
                "route",
                "problem",
                "errorMessage",
                "correlation_id",
                "requestId",
                "@message",
            ],
            ["status >= 500 or level = 'ERROR'"],
            "@timestamp desc",
        ),
        "Slowest requests": (
            functions,
            ["@timestamp", "duration_ms", "route", "status", "records", "retries", "correlation_id"],
            ["message = 'Request answered'"],
            "duration_ms desc",
        ),
        "Incomplete requests": (
            functions,
            [
                "@timestamp",
                "records",
                "chunks",
                "retries",
                "throttled_chunks",
                "duration_ms",
                "correlation_id",
            ],
            ["problem = 'incomplete'"],
            "@timestamp desc",
        ),
    }
    for number, (name, (log_groups, fields, filters, sort)) in enumerate(queries.items()):
        logs.QueryDefinition(
            scope,
            f"Query{number}",
            query_definition_name=f"{Stack.of(scope).stack_name}/{name}",
            log_groups=log_groups,
            query_string=logs.QueryString(fields=fields, filter_statements=filters, sort=sort, limit=200),
        )
