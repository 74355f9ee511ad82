"""Proxy events as API Gateway sends them for a REST API.

The shape is that of "Input format of a Lambda function for proxy integration" in the Amazon API Gateway
Developer Guide; how ids, paths and base path mappings behave is from the same guide ("Variables for data
transformations", "Custom domain name for public REST APIs").
"""

import json
import time
from collections.abc import Mapping
from typing import Any

REQUEST_ID = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
"""``requestContext.requestId``: a client chooses it by sending ``X-Amzn-RequestId``."""
EXTENDED_REQUEST_ID = "JKJaXmPLvHc0000="
"""``requestContext.extendedRequestId``: always API Gateway's own."""


def proxy_event(
    method: str,
    path: str,
    *,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str | list[str]] | None = None,
    request_id: str = REQUEST_ID,
    extended_request_id: str = EXTENDED_REQUEST_ID,
    request_time_ms: int | None = None,
    base_path: str = "",
) -> dict[str, Any]:
    """Build the event of a request, received at ``request_time_ms`` since the epoch; by default now.

    ``path`` is the one below the stage, the identifier as the client spelled it. ``base_path`` is that of a
    custom domain's mapping, such as ``/billing``; it stays in ``path``.
    """
    _, route, *customer = path.split("/", 2)
    received_ms = time.time_ns() // 1_000_000 if request_time_ms is None else request_time_ms
    domain = "api.example.com" if base_path else "abcde12345.execute-api.us-east-1.amazonaws.com"
    all_headers = {"Accept": "*/*", "Host": domain, **(headers or {})}
    if body is not None:
        all_headers.setdefault("Content-Type", "application/json")
    values = {name: each if isinstance(each, list) else [each] for name, each in (query or {}).items()}
    resource = f"/{route}/{{customerIdentifier+}}" if customer else f"/{route}"
    return {
        "resource": resource,
        "path": f"{base_path}{path}",
        "httpMethod": method,
        "headers": all_headers,
        "multiValueHeaders": {name: [value] for name, value in all_headers.items()},
        "queryStringParameters": {name: each[-1] for name, each in values.items()} or None,
        "multiValueQueryStringParameters": values or None,
        "pathParameters": {"customerIdentifier": customer[0]} if customer else None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcde12345",
            "authorizer": None,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "extendedRequestId": extended_request_id,
            "httpMethod": method,
            "identity": {"sourceIp": "203.0.113.7", "userAgent": "billing/1.0"},
            "path": f"{base_path or '/prod'}{path}",
            "protocol": "HTTP/1.1",
            "requestId": request_id,
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(received_ms / 1000)),
            "requestTimeEpoch": received_ms,
            "resourceId": "a1b2c3",
            "resourcePath": resource,
            "stage": "prod",
        },
        "body": as_json(body),
        "isBase64Encoded": False,
    }


def as_json(body: object) -> str | None:
    """Return a body as it goes over the wire: text as it is, anything else as JSON."""
    return body if body is None or isinstance(body, str) else json.dumps(body)
