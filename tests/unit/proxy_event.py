"""Proxy events as API Gateway sends them for a REST API.

The shape is that of "Input format of a Lambda function for proxy integration" in the Amazon API Gateway
Developer Guide; how ids, paths and base path mappings behave is from the same guide ("Variables for data
transformations", "Custom domain name for public REST APIs").
"""

import json
import time
from collections.abc import Mapping
from typing import Any

ACCOUNT_ID = "123456789012"
API_ID = "abcde12345"
DOMAIN = f"{API_ID}.execute-api.us-east-1.amazonaws.com"
STAGE = "prod"
CUSTOMER_PARAMETER = "customerIdentifier"

REQUEST_ID = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
"""``requestContext.requestId``: a client chooses it by sending ``X-Amzn-RequestId``."""
EXTENDED_REQUEST_ID = "JKJaXmPLvHcESHA="
"""``requestContext.extendedRequestId``: always API Gateway's own."""


def proxy_event(
    method: str,
    path: str,
    *,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, list[str]] | None = None,
    request_id: str = REQUEST_ID,
    extended_request_id: str = EXTENDED_REQUEST_ID,
    request_time_ms: int | None = None,
    base_path: str = "",
) -> dict[str, Any]:
    """Build the event of a request.

    ``path`` is the one below the stage, the identifier as the client spelled it; ``query`` has all values of
    each parameter. The request was received at ``request_time_ms``, in ms since the epoch; by default now.
    ``base_path`` is that of a custom domain's mapping, such as ``/billing``; it stays in ``path``.
    """
    _, route, *rest = path.split("/", 2)
    received_ms = request_time_ms if request_time_ms is not None else time.time_ns() // 1_000_000
    all_headers = {
        "Accept": "*/*",
        "Host": "api.example.com" if base_path else DOMAIN,
        "User-Agent": "billing/1.0",
        "X-Amzn-Trace-Id": "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e",
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
        **(headers or {}),
    }
    resource = f"/{route}/{{{CUSTOMER_PARAMETER}+}}" if rest else f"/{route}"
    return {
        "resource": resource,
        "path": f"{base_path}{path}",
        "httpMethod": method,
        "headers": all_headers,
        "multiValueHeaders": {name: [value] for name, value in all_headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in (query or {}).items()} or None,
        "multiValueQueryStringParameters": dict(query or {}) or None,
        "pathParameters": {CUSTOMER_PARAMETER: rest[0]} if rest else None,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT_ID,
            "apiId": API_ID,
            "authorizer": None,
            "domainName": all_headers["Host"],
            "domainPrefix": all_headers["Host"].partition(".")[0],
            "extendedRequestId": extended_request_id,
            "httpMethod": method,
            "identity": {
                "accessKey": "AKIAIOSFODNN7EXAMPLE",
                "accountId": ACCOUNT_ID,
                "apiKey": None,
                "apiKeyId": None,
                "caller": "AIDACKCEVSQ6C2EXAMPLE",
                "clientCert": None,
                "cognitoAuthenticationProvider": None,
                "cognitoAuthenticationType": None,
                "cognitoIdentityId": None,
                "cognitoIdentityPoolId": None,
                "principalOrgId": None,
                "sourceIp": "203.0.113.7",
                "user": "AIDACKCEVSQ6C2EXAMPLE",
                "userAgent": "billing/1.0",
                "userArn": f"arn:aws:iam::{ACCOUNT_ID}:user/billing",
            },
            "path": f"{base_path or f'/{STAGE}'}{path}",
            "protocol": "HTTP/1.1",
            "requestId": request_id,
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(received_ms / 1000)),
            "requestTimeEpoch": received_ms,
            "resourceId": "a1b2c3",
            "resourcePath": resource,
            "stage": STAGE,
        },
        "body": body,
        "isBase64Encoded": False,
    }


def as_json(body: object) -> str | None:
    """Return a body as it goes over the wire: text as it is, anything else as JSON."""
    return body if body is None or isinstance(body, str) else json.dumps(body)
