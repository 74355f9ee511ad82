"""Queries of CloudWatch Logs Insights, saved under the stack's name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

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

_CALLER = "userArn apiKeyId sourceIp"
_FUNCTIONS = "functions"
_ACCESS = "access"


class _Query(NamedTuple):
    searched: tuple[str, ...]
    fields: str
    filter: str
    sort: str = "@timestamp desc"


_QUERIES = {
    "One request, by its id": _Query(
        (_FUNCTIONS, _ACCESS),
        "@timestamp @message",
        "correlation_id = 'REQUEST_ID' or extendedRequestId = 'REQUEST_ID'",
        "@timestamp asc",
    ),
    # The path of a bulk request has no customer; the request_id of its records identifies it.
    "One customer's calls": _Query(
        (_ACCESS,),
        f"@timestamp httpMethod decodedPath status {_CALLER} responseLatency extendedRequestId",
        "decodedPath like 'CUSTOMER_IDENTIFIER'",
    ),
    "Failures": _Query(
        (_FUNCTIONS, _ACCESS),
        f"@timestamp status route problem errorMessage {_CALLER} correlation_id extendedRequestId @message",
        "status >= 500 or level = 'ERROR'",
    ),
    "Slowest requests": _Query(
        (_FUNCTIONS,),
        "@timestamp duration_ms route status entries records retries throttled_chunks correlation_id",
        "message = 'Request answered'",
        "duration_ms desc",
    ),
    "Incomplete requests": _Query(
        (_FUNCTIONS,),
        "@timestamp entries inserted chunks retries throttled_chunks slots_moved duration_ms correlation_id",
        "problem = 'incomplete'",
    ),
    "Requests with known entries": _Query(
        (_FUNCTIONS,),
        "@timestamp route customer entries duplicates inserted quantity idempotency_key correlation_id",
        "duplicates > 0",
    ),
}


def create_saved_queries(scope: Construct, functions: Sequence[MeteringFunction], api: MeteringApi) -> None:
    """Create the saved queries over the functions' logs and the API's access log."""
    log_groups = {_FUNCTIONS: [function.log_group for function in functions], _ACCESS: [api.access_log_group]}
    for number, (name, query) in enumerate(_QUERIES.items()):
        fields = [
            f"{_DECODED_PATH} as {field}" if field == "decodedPath" else field
            for field in query.fields.split()
        ]
        logs.QueryDefinition(
            scope,
            f"Query{number}",
            query_definition_name=f"{Stack.of(scope).stack_name}/{name}",
            log_groups=[group for searched in query.searched for group in log_groups[searched]],
            query_string=logs.QueryString(
                fields=fields, filter_statements=[query.filter], sort=query.sort, limit=200
            ),
        )
