"""API Gateway's own responses, as problem details (RFC 9457) like those of the functions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_cdk import aws_apigateway as apigateway

from infra.config import Authorization

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROBLEM_JSON = "application/problem+json"
_RETRY_AFTER_SECONDS = 5
_KEY_RESUMES = (
    "If you sent no Idempotency-Key, repeat the request with instance as its Idempotency-Key: "
    "what is in is not written again."
)


@dataclass(frozen=True)
class _Problem:
    """A gateway response.

    Parameters
    ----------
    response_type : ResponseType
        Type of the gateway response.
    status : int | None
        The HTTP status; None keeps the one that API Gateway chose.
    slug : str
        The problem's stable name.
    detail : str
        What to do.
    headers : Mapping[str, str]
        Further headers.
    """

    response_type: apigateway.ResponseType
    status: int | None
    slug: str
    detail: str
    headers: Mapping[str, str]


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
        document = problem_document(problem.status, problem.slug, problem.detail) | {
            "instance": "$context.extendedRequestId"
        }
        rest_api.add_gateway_response(
            problem.response_type.response_type.title().replace("_", ""),
            type=problem.response_type,
            status_code=None if problem.status is None else str(problem.status),
            response_headers={"Content-Type": f"'{_PROBLEM_JSON}'"}
            | {name: f"'{value}'" for name, value in problem.headers.items()},
            templates={"application/json": json.dumps(document)},
        )


def problem_document(status: int | None, slug: str, detail: str) -> dict[str, str | int]:
    """Return the members of a problem (RFC 9457) without ``instance``.

    Parameters
    ----------
    status : int | None
        The HTTP status, if it is known.
    slug : str
        The problem's stable name; its title follows from it.
    detail : str
        What to do.

    Returns
    -------
    dict[str, str | int]
        The members, in the order in which they are sent.
    """
    return {
        "type": f"urn:marketplace-metering:problem:{slug}",
        "title": slug.replace("-", " ").capitalize(),
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
    wrong_path = "The API has no such path; correct it."
    retry = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
    return [
        # What has no response type of its own: an Authorization header that is no signature (403), or a
        # body between Lambda's 6 MB and API Gateway's 10 MB, which Lambda refuses (413; "Lambda quotas",
        # AWS Lambda Developer Guide).
        _Problem(
            kind.DEFAULT_4_XX,
            None,
            "request-refused",
            "API Gateway refused the request; nothing was written. The HTTP status says why. 403: the "
            "authorization was not accepted. 413: the body is larger than 6 MB; split the request.",
            {},
        ),
        _Problem(kind.BAD_REQUEST_PARAMETERS, 400, "bad-request", "A parameter of the path is missing.", {}),
        _Problem(kind.BAD_REQUEST_BODY, 400, "bad-request", "The body could not be read.", {}),
        _Problem(kind.ACCESS_DENIED, 403, "forbidden", forbidden, {}),
        _Problem(kind.EXPIRED_TOKEN, 403, "forbidden", forbidden, {}),
        _Problem(kind.INVALID_API_KEY, 403, "forbidden", forbidden, {}),
        _Problem(kind.INVALID_SIGNATURE, 403, "forbidden", forbidden, {}),
        _Problem(
            kind.MISSING_AUTHENTICATION_TOKEN, 403, "forbidden", f"{forbidden} Or the path is wrong.", {}
        ),
        _Problem(kind.UNAUTHORIZED, 403, "forbidden", forbidden, {}),
        _Problem(kind.WAF_FILTERED, 403, "forbidden", "The firewall has refused the request.", {}),
        _Problem(kind.RESOURCE_NOT_FOUND, 404, "not-found", wrong_path, {}),
        _Problem(
            kind.REQUEST_TOO_LARGE,
            413,
            "payload-too-large",
            "Split the request: its body must stay below 6 MB.",
            {},
        ),
        _Problem(
            kind.UNSUPPORTED_MEDIA_TYPE,
            415,
            "unsupported-media-type",
            "Send JSON, with Content-Type: application/json.",
            {},
        ),
        _Problem(kind.THROTTLED, 429, "too-many-requests", "Slow down, and send the request again.", retry),
        _Problem(
            kind.QUOTA_EXCEEDED, 429, "too-many-requests", "The API key's quota for today is used up.", {}
        ),
        _Problem(kind.DEFAULT_5_XX, 500, "internal-error", f"Something went wrong. {_KEY_RESUMES}", {}),
        _Problem(
            kind.INTEGRATION_FAILURE, 502, "internal-error", f"The function has failed. {_KEY_RESUMES}", retry
        ),
        _Problem(
            kind.INTEGRATION_TIMEOUT,
            504,
            "gateway-timeout",
            f"The function did not answer in time. {_KEY_RESUMES}",
            retry,
        ),
    ]
