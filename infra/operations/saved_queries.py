"""Queries of CloudWatch Logs Insights, saved under the stack's name."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from aws_cdk import Stack
from aws_cdk import aws_logs as logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from constructs import Construct

    from infra.api.metering_api import MeteringApi
    from infra.metering_function import MeteringFunction


# CloudWatch Logs Insights cannot decode percent-encoding. These are the characters of a License ARN that
# are percent-encoded; letters and digits are not (RFC 3986, section 2.3).
_ENCODED = {"%3A": ":", "%3a": ":", "%2F": "/", "%2f": "/"}
_DECODED_PATH = reduce(
    lambda field, pair: f"replace({field}, '{pair[0]}', '{pair[1]}')", _ENCODED.items(), "path"
)


def create_saved_queries(scope: Construct, functions: Sequence[MeteringFunction], api: MeteringApi) -> None:
    """Create the saved queries.

    Parameters
    ----------
    scope : Construct
        Parent construct.
    functions : Sequence[MeteringFunction]
        Functions whose logs are searched.
    api : MeteringApi
        API whose access log is searched.
    """
    function_logs = [function.log_group for function in functions]
    access = api.access_log_group
    queries = {
        "One request, by its id": (
            [*function_logs, access],
            ["@timestamp", "@message"],
            ["correlation_id = 'REQUEST_ID' or extendedRequestId = 'REQUEST_ID'"],
            "@timestamp asc",
        ),
        # The path of a bulk request has no customer; the request_id of its records identifies it.
        "One customer's calls": (
            [access],
            [
                "@timestamp",
                "httpMethod",
                f"{_DECODED_PATH} as decodedPath",
                "status",
                "responseLatency",
                "extendedRequestId",
            ],
            ["decodedPath like 'CUSTOMER_IDENTIFIER'"],
            "@timestamp desc",
        ),
        "Failures": (
            [*function_logs, access],
            [
                "@timestamp",
                "status",
                "route",
                "problem",
                "errorMessage",
                "correlation_id",
                "extendedRequestId",
                "@message",
            ],
            ["status >= 500 or level = 'ERROR'"],
            "@timestamp desc",
        ),
        "Slowest requests": (
            function_logs,
            [
                "@timestamp",
                "duration_ms",
                "route",
                "status",
                "entries",
                "records",
                "retries",
                "throttled_chunks",
                "correlation_id",
            ],
            ["message = 'Request answered'"],
            "duration_ms desc",
        ),
        "Incomplete requests": (
            function_logs,
            [
                "@timestamp",
                "entries",
                "inserted",
                "chunks",
                "retries",
                "throttled_chunks",
                "slots_moved",
                "duration_ms",
                "correlation_id",
            ],
            ["problem = 'incomplete'"],
            "@timestamp desc",
        ),
        "Requests with known entries": (
            function_logs,
            ["@timestamp", "route", "entries", "duplicates", "inserted", "correlation_id"],
            ["duplicates > 0"],
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
