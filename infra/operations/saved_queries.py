"""Queries of CloudWatch Logs Insights, saved under the stack's name."""

from collections.abc import Sequence
from functools import reduce

from aws_cdk import Stack
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.api.metering_api import MeteringApi
from infra.metering_function import MeteringFunction

# CloudWatch Logs Insights cannot decode percent-encoding. These are the characters of a License ARN that
# are percent-encoded; letters and digits are not (RFC 3986, section 2.3).
_ENCODED = {"%3A": ":", "%3a": ":", "%2F": "/", "%2f": "/"}
_DECODED_PATH = reduce(
    lambda field, pair: f"replace({field}, '{pair[0]}', '{pair[1]}')", _ENCODED.items(), "path"
)
_COMPUTED = {"decodedPath": f"{_DECODED_PATH} as decodedPath"}
_CALLER = "userArn apiKeyId sourceIp"

_QUERIES = {
    "One request, by its id": (
        ("functions", "access"),
        "@timestamp @message",
        "correlation_id = 'REQUEST_ID' or extendedRequestId = 'REQUEST_ID'",
        "@timestamp asc",
    ),
    # The path of a bulk request has no customer; the request_id of its records identifies it.
    "One customer's calls": (
        ("access",),
        f"@timestamp httpMethod decodedPath status {_CALLER} responseLatency extendedRequestId",
        "decodedPath like 'CUSTOMER_IDENTIFIER'",
        "@timestamp desc",
    ),
    "Failures": (
        ("functions", "access"),
        f"@timestamp status route problem errorMessage {_CALLER} correlation_id extendedRequestId @message",
        "status >= 500 or level = 'ERROR'",
        "@timestamp desc",
    ),
    "Slowest requests": (
        ("functions",),
        "@timestamp duration_ms route status entries records retries throttled_chunks correlation_id",
        "message = 'Request answered'",
        "duration_ms desc",
    ),
    "Incomplete requests": (
        ("functions",),
        "@timestamp entries inserted chunks retries throttled_chunks slots_moved duration_ms correlation_id",
        "problem = 'incomplete'",
        "@timestamp desc",
    ),
    "Requests with known entries": (
        ("functions",),
        "@timestamp route customer entries duplicates inserted quantity idempotency_key correlation_id",
        "duplicates > 0",
        "@timestamp desc",
    ),
}
"""By name: the logs that are searched, the fields that are shown, the filter, and the order."""


def create_saved_queries(scope: Construct, functions: Sequence[MeteringFunction], api: MeteringApi) -> None:
    """Create the saved queries over the functions' logs and the API's access log."""
    log_groups = {
        "functions": [function.log_group for function in functions],
        "access": [api.access_log_group],
    }
    for number, (name, (searched, fields, condition, order)) in enumerate(_QUERIES.items()):
        logs.QueryDefinition(
            scope,
            f"Query{number}",
            query_definition_name=f"{Stack.of(scope).stack_name}/{name}",
            log_groups=[group for log in searched for group in log_groups[log]],
            query_string=logs.QueryString(
                fields=[_COMPUTED.get(field, field) for field in fields.split()],
                filter_statements=[condition],
                sort=order,
                limit=200,
            ),
        )
