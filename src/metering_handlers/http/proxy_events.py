"""Proxy events of API Gateway: the request's id, and what Powertools needs changed before it routes them."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aws_lambda_powertools.utilities.typing import LambdaContext

JSON_MEDIA_TYPE = "application/json"
_GREEDY_PARAMETER = re.compile(r"\{(\w+)\+\}")


def request_id_of(event: Mapping[str, Any], context: LambdaContext) -> str:
    """Return the request's id, which no client can choose.

    A client sets ``requestId`` by sending ``X-Amzn-RequestId``, and may send the same one twice;
    ``extendedRequestId`` is always API Gateway's own ("Variables for data transformations", Amazon API
    Gateway Developer Guide). Clients find it in the response header ``x-amz-apigw-id``.
    """
    return event["requestContext"].get("extendedRequestId") or context.aws_request_id


def normalized(event: Mapping[str, Any]) -> dict[str, Any]:
    """Normalize path and content type for Powertools' routing and body parsing.

    ``path`` begins with the base path of a custom domain; ``resource`` and ``pathParameters`` are the same
    with and without one. API Gateway passes a parameter decoded or not, and Powertools' ``<name>`` does
    not match a slash: the identifier is therefore percent-encoded here in either case, and decoded once
    during validation. Powertools would also parse forms, which this API does not accept, and compares media
    types literally. Of a header sent in two spellings, such as ``idempotency-key`` and ``Idempotency-Key``,
    it would silently take the last.
    """
    parameters = event["pathParameters"] or {}
    path = _GREEDY_PARAMETER.sub(
        lambda name: quote(parameters.get(name[1], ""), safe="%", errors="surrogatepass"), event["resource"]
    )
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    all_headers: dict[str, list[str]] = {}
    for name, values in (event.get("multiValueHeaders") or {}).items():
        all_headers.setdefault(name.lower(), []).extend(values)
    if content_type := headers.get("content-type"):
        is_json = content_type.partition(";")[0].strip().lower() == JSON_MEDIA_TYPE
        headers["content-type"] = JSON_MEDIA_TYPE if is_json else "unsupported"
    return {**event, "path": path, "headers": headers, "multiValueHeaders": all_headers}
