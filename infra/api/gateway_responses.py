"""API Gateway's own responses, as problem details (RFC 9457) like those of the functions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aws_cdk import aws_apigateway as apigateway

from infra.config import Authorization
from metering_handlers.contract.problem_types import PROBLEM_JSON, SAFE_REPEAT, ProblemType

if TYPE_CHECKING:
    from collections.abc import Mapping

_RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True)
class _Problem:
    """A gateway response.

    Parameters
    ----------
    response_type : ResponseType
        Type of the gateway response.
    status : int | None
        The HTTP status; None keeps the one that API Gateway chose.
    problem_type : ProblemType
        Type of the problem.
    detail : str
        What to do.
    headers : Mapping[str, str]
        Further headers.
    """

    response_type: apigateway.ResponseType
    status: int | None
    problem_type: ProblemType
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)


def add_gateway_responses(rest_api: apigateway.RestApi, authorization: Authorization) -> None:
    """Define all gateway responses as problem details.

    Parameters
    ----------
    rest_api : RestApi
        The API.
    authorization : Authorization
        Decides the advice in the detail of a 403.
    """
    for problem in _problems(authorization):
        document = problem_document(problem.status, problem.problem_type, problem.detail) | {
            "instance": "$context.extendedRequestId"
        }
        rest_api.add_gateway_response(
            problem.response_type.response_type.title().replace("_", ""),
            type=problem.response_type,
            status_code=None if problem.status is None else str(problem.status),
            response_headers={"Content-Type": f"'{PROBLEM_JSON}'"}
            | {name: f"'{value}'" for name, value in problem.headers.items()},
            templates={"application/json": json.dumps(document)},
        )


def problem_document(status: int | None, problem_type: ProblemType, detail: str) -> dict[str, str | int]:
    """Return the members of a problem (RFC 9457) without ``instance``, in the order in which they are sent.

    Parameters
    ----------
    status : int | None
        The HTTP status, if it is known.
    problem_type : ProblemType
        Type of the problem.
    detail : str
        What to do.
    """
    return {
        "type": problem_type.uri,
        "title": problem_type.summary,
        **({} if status is None else {"status": status}),
        "detail": detail,
    }


def _problems(authorization: Authorization) -> list[_Problem]:
    kind = apigateway.ResponseType
    forbidden = {
        Authorization.IAM: "Sign the request with AWS Signature Version 4, as an identity that may call "
        "execute-api:Invoke on this API.",
        Authorization.API_KEY: "Send a valid API key in the header x-api-key.",
        Authorization.NONE: "The API may be called from certain networks only.",
    }[authorization]
    return [
        # What has no response type of its own: an Authorization header that is no signature (403), or a
        # body between Lambda's 6 MB and API Gateway's 10 MB, which Lambda refuses (413; "Lambda quotas",
        # AWS Lambda Developer Guide).
        _Problem(
            kind.DEFAULT_4_XX,
            None,
            ProblemType.REQUEST_REFUSED,
            "API Gateway refused the request; nothing was written. The HTTP status says why. 403: the "
            "authorization was not accepted. 413: the body is larger than 6 MB; split the request.",
        ),
        _Problem(
            kind.BAD_REQUEST_PARAMETERS, 400, ProblemType.BAD_REQUEST, "A parameter of the path is missing."
        ),
        _Problem(kind.BAD_REQUEST_BODY, 400, ProblemType.BAD_REQUEST, "The body could not be read."),
        *(
            _Problem(response_type, 403, ProblemType.FORBIDDEN, forbidden)
            for response_type in (
                *(kind.ACCESS_DENIED, kind.EXPIRED_TOKEN, kind.INVALID_API_KEY),
                *(kind.INVALID_SIGNATURE, kind.UNAUTHORIZED),
            )
        ),
        _Problem(
            kind.MISSING_AUTHENTICATION_TOKEN,
            403,
            ProblemType.FORBIDDEN,
            f"{forbidden} Or the path is wrong.",
        ),
        _Problem(kind.WAF_FILTERED, 403, ProblemType.FORBIDDEN, "The firewall has refused the request."),
        _Problem(
            kind.RESOURCE_NOT_FOUND, 404, ProblemType.NOT_FOUND, "The API has no such path; correct it."
        ),
        _Problem(
            kind.REQUEST_TOO_LARGE,
            413,
            ProblemType.PAYLOAD_TOO_LARGE,
            "Split the request: its body must stay below 6 MB.",
        ),
        _Problem(
            kind.UNSUPPORTED_MEDIA_TYPE,
            415,
            ProblemType.UNSUPPORTED_MEDIA_TYPE,
            "Send JSON, with Content-Type: application/json.",
        ),
        _Problem(
            kind.THROTTLED,
            429,
            ProblemType.TOO_MANY_REQUESTS,
            "Slow down, and send the request again.",
            {"Retry-After": str(_RETRY_AFTER_SECONDS)},
        ),
        _Problem(
            kind.QUOTA_EXCEEDED,
            429,
            ProblemType.TOO_MANY_REQUESTS,
            "The API key's quota for today is used up.",
        ),
        # Without Retry-After: clients obey it by themselves, and an insert without a key or ids is not safe
        # to repeat as it was sent.
        _Problem(kind.DEFAULT_5_XX, 500, ProblemType.INTERNAL_ERROR, f"Something went wrong. {SAFE_REPEAT}"),
        _Problem(
            kind.INTEGRATION_FAILURE,
            502,
            ProblemType.INTERNAL_ERROR,
            f"The function has failed. {SAFE_REPEAT}",
        ),
        _Problem(
            kind.INTEGRATION_TIMEOUT,
            504,
            ProblemType.GATEWAY_TIMEOUT,
            f"The function did not answer in time. {SAFE_REPEAT}",
        ),
    ]
