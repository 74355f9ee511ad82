"""API Gateway's own responses, as problem details (RFC 9457) like those of the functions."""

import json

from aws_cdk import aws_apigateway as apigateway

from infra.config import Authorization
from metering_handlers.contract.problem_types import PROBLEM_JSON, SAFE_REPEAT, ProblemType

# By type ("Gateway response types for API Gateway", Amazon API Gateway Developer Guide): the status, None to
# keep the one that API Gateway chose; the problem's type and detail.
_RESPONSES = {
    # What has no response type of its own: an Authorization header that is no signature (403), or a body
    # between Lambda's 6 MB and API Gateway's 10 MB, which Lambda refuses (413; "Lambda quotas", AWS Lambda
    # Developer Guide).
    "DEFAULT_4XX": (
        None,
        ProblemType.REQUEST_REFUSED,
        "API Gateway refused the request; nothing was written. The HTTP status says why. 403: the "
        "authorization was not accepted. 413: the body is larger than 6 MB; split the request.",
    ),
    "BAD_REQUEST_PARAMETERS": (400, ProblemType.BAD_REQUEST, "A parameter of the path is missing."),
    "BAD_REQUEST_BODY": (400, ProblemType.BAD_REQUEST, "The body could not be read."),
    "WAF_FILTERED": (403, ProblemType.FORBIDDEN, "The firewall has refused the request."),
    "RESOURCE_NOT_FOUND": (404, ProblemType.NOT_FOUND, "The API has no such path; correct it."),
    "REQUEST_TOO_LARGE": (
        413,
        ProblemType.PAYLOAD_TOO_LARGE,
        "Split the request: its body must stay below 6 MB.",
    ),
    "UNSUPPORTED_MEDIA_TYPE": (
        415,
        ProblemType.UNSUPPORTED_MEDIA_TYPE,
        "Send JSON, with Content-Type: application/json.",
    ),
    "THROTTLED": (429, ProblemType.TOO_MANY_REQUESTS, "Slow down, and send the request again."),
    "QUOTA_EXCEEDED": (429, ProblemType.TOO_MANY_REQUESTS, "The API key's quota for today is used up."),
    "DEFAULT_5XX": (500, ProblemType.INTERNAL_ERROR, f"Something went wrong. {SAFE_REPEAT}"),
    "INTEGRATION_FAILURE": (502, ProblemType.INTERNAL_ERROR, f"The function has failed. {SAFE_REPEAT}"),
    "INTEGRATION_TIMEOUT": (
        504,
        ProblemType.GATEWAY_TIMEOUT,
        f"The function did not answer in time. {SAFE_REPEAT}",
    ),
}
_UNAUTHORIZED = ("ACCESS_DENIED", "EXPIRED_TOKEN", "INVALID_API_KEY", "INVALID_SIGNATURE", "UNAUTHORIZED")
_ADVICE = {
    Authorization.IAM: "Sign the request with AWS Signature Version 4, as an identity that may call "
    "execute-api:Invoke on this API.",
    Authorization.API_KEY: "Send a valid API key in the header x-api-key.",
    Authorization.NONE: "The API may be called from certain networks only.",
}
# Only here: clients obey Retry-After by themselves, and after a 5xx an insert without a key or ids is not
# safe to repeat as it was sent.
_RETRY_AFTER = {"THROTTLED": {"Retry-After": "'5'"}}


def add_gateway_responses(rest_api: apigateway.RestApi, authorization: Authorization) -> None:
    """Define all gateway responses as problem details; a 403 says what ``authorization`` asks for."""
    advice = _ADVICE[authorization]
    forbidden = dict.fromkeys(_UNAUTHORIZED, (403, ProblemType.FORBIDDEN, advice))
    hint = f"Check path and method: the API may have no such route. {advice}"
    forbidden["MISSING_AUTHENTICATION_TOKEN"] = (403, ProblemType.FORBIDDEN, hint)
    for name, (status, problem_type, detail) in (_RESPONSES | forbidden).items():
        document = problem_document(status, problem_type, detail)
        rest_api.add_gateway_response(
            name.title().replace("_", ""),
            type=apigateway.ResponseType.of(name),
            status_code=None if status is None else str(status),
            response_headers={"Content-Type": f"'{PROBLEM_JSON}'"} | _RETRY_AFTER.get(name, {}),
            templates={"application/json": json.dumps(document | {"instance": "$context.extendedRequestId"})},
        )


def problem_document(status: int | None, problem_type: ProblemType, detail: str) -> dict[str, str | int]:
    """Return the members of a problem (RFC 9457) except ``instance``, in the order in which they are sent."""
    return {
        "type": problem_type.uri,
        "title": problem_type.summary,
        **({} if status is None else {"status": status}),
        "detail": detail,
    }
