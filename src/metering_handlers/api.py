"""Code shared by the functions: the resolver with its error responses, and the Lambda handler around it."""

import binascii
import json
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

from metering_handlers.metering_table import UnavailableError
from metering_handlers.problems import (
    MAX_LISTED_VIOLATIONS,
    ProblemError,
    ProblemType,
    problem_response,
    violations,
)

JSON_MEDIA_TYPE = "application/json"
RETRY_AFTER_SECONDS = 5
"""Seconds that a 503 asks the caller to wait: DynamoDB's on-demand capacity grows within seconds."""
_GREEDY_PARAMETER = re.compile(r"\{(\w+)\+\}")

logger = Logger()
metrics = Metrics()

LambdaHandler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


class MeteringResolver(APIGatewayRestResolver):
    """Powertools' resolver with request validation and this API's error responses."""

    def __init__(self) -> None:
        super().__init__(enable_validation=True, json_body_deserializer=_load_json_object)
        self.exception_handler(RequestValidationError)(self._answer_violations)
        self.exception_handler(RequestUnsupportedContentType)(self._answer_unsupported_content_type)
        self.exception_handler([UnicodeDecodeError, binascii.Error])(self._answer_undecodable_body)
        self.exception_handler(ProblemError)(self._answer)
        self.exception_handler(NotFoundError)(self._answer_not_found)
        self.exception_handler(UnavailableError)(self._answer_unavailable)
        self.exception_handler(Exception)(self._answer_unexpected)

    @property
    def request_id(self) -> str:
        """Id of the current request, which callers quote to the operator."""
        return request_id_of(self.current_event, self.lambda_context)

    def resolve(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Resolve a proxy event, with any base path and any spelling of the path."""
        return super().resolve(_normalized(event), context)

    def _answer(self, problem: ProblemError) -> Response[str]:
        logger.append_keys(problem=problem.problem_type)
        return problem_response(problem, self.request_id)

    def _answer_violations(self, error: RequestValidationError) -> Response[str]:
        found = violations(error.errors())
        locations = {violation["location"] for violation in found}
        if any(
            violation["location"] == "body" and violation["code"] == "required" and not violation["pointer"]
            for violation in found
        ):
            return self._answer(
                ProblemError(
                    HTTPStatus.BAD_REQUEST,
                    ProblemType.MISSING_BODY,
                    "The request has no body; send a JSON object.",
                )
            )
        if locations & {"query", "header"}:
            status, problem_type = HTTPStatus.BAD_REQUEST, ProblemType.INVALID_PARAMETER
        else:
            status, problem_type = HTTPStatus.UNPROCESSABLE_ENTITY, ProblemType.INVALID_REQUEST
        count = len(found)
        detail = f"The request breaks {count} rule(s); nothing was written. Correct what errors lists."
        if count > MAX_LISTED_VIOLATIONS:
            detail += f" Only the first {MAX_LISTED_VIOLATIONS} are listed."
        return self._answer(ProblemError(status, problem_type, detail, errors=found[:MAX_LISTED_VIOLATIONS]))

    def _answer_unsupported_content_type(self, _: RequestUnsupportedContentType) -> Response[str]:
        detail = f"The body must be JSON: send it with Content-Type: {JSON_MEDIA_TYPE}."
        return self._answer(
            ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, ProblemType.UNSUPPORTED_MEDIA_TYPE, detail)
        )

    def _answer_undecodable_body(self, _: UnicodeDecodeError | binascii.Error) -> Response[str]:
        return self._answer(
            ProblemError(
                HTTPStatus.BAD_REQUEST,
                ProblemType.MALFORMED_JSON,
                "The body is not UTF-8 text; send JSON in UTF-8.",
            )
        )

    def _answer_not_found(self, _: NotFoundError) -> Response[str]:
        detail = "The API has no such path; correct it."
        return self._answer(ProblemError(HTTPStatus.NOT_FOUND, ProblemType.NOT_FOUND, detail))

    def _answer_unavailable(self, _: UnavailableError) -> Response[str]:
        return self._answer(
            ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                ProblemType.UNAVAILABLE,
                "The metering table did not answer in time. Try again.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        )

    def _answer_unexpected(self, error: Exception) -> Response[str]:
        logger.exception("Unexpected error", exc_info=error)
        detail = "Something went wrong on our side. Quote the request id in instance to the operator."
        return self._answer(
            ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, ProblemType.INTERNAL_ERROR, detail)
        )


def lambda_handler_of(app: MeteringResolver) -> LambdaHandler:
    """Create a function's Lambda handler: correlation id, metrics, and one log line for each request.

    Parameters
    ----------
    app : MeteringResolver
        Resolver with the function's route.
    """

    @logger.inject_lambda_context(clear_state=True)
    def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        started = time.perf_counter()
        logger.set_correlation_id(request_id_of(event, context))
        answer = app.resolve(event, context)
        logger.info(
            "Request answered",
            method=event["httpMethod"],
            route=event["resource"],
            status=answer["statusCode"],
            duration_ms=round((time.perf_counter() - started) * 1000, 1),
        )
        if metrics.metric_set:
            metrics.flush_metrics()
        return answer

    return lambda_handler


def request_id_of(event: Mapping[str, Any], context: LambdaContext) -> str:
    """Return the request's id, which no client can choose.

    A client sets ``requestId`` by sending ``X-Amzn-RequestId``, and may send the same one twice;
    ``extendedRequestId`` is always API Gateway's own ("Variables for data transformations", Amazon API
    Gateway Developer Guide). Clients find it in the response header ``x-amz-apigw-id``.
    """
    return event["requestContext"].get("extendedRequestId") or context.aws_request_id


def _normalized(event: Mapping[str, Any]) -> dict[str, Any]:
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


def _load_json_object(text: str) -> dict[str, object]:
    """Parse a body strictly: a JSON object, without NaN and without duplicate members.

    Raises
    ------
    ProblemError
        If the text is not JSON (400), or not a JSON object (422).
    """
    try:
        document: object = json.loads(
            text, object_pairs_hook=_unique_members, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        detail = f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise ProblemError(HTTPStatus.BAD_REQUEST, ProblemType.MALFORMED_JSON, detail) from error
    except RecursionError as error:
        detail = "The body is nested too deeply; see the README for its form."
        raise ProblemError(HTTPStatus.BAD_REQUEST, ProblemType.MALFORMED_JSON, detail) from error
    except ValueError as error:
        # Python refuses to read integers of more than 4,300 digits.
        detail = "The body has a number with too many digits."
        raise ProblemError(HTTPStatus.BAD_REQUEST, ProblemType.MALFORMED_JSON, detail) from error
    if not isinstance(document, dict):
        detail = "The body must be a JSON object, { … }, not another JSON value."
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, ProblemType.INVALID_REQUEST, detail)
    return document


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse duplicate members: the API cannot know which of two usages to bill."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            ProblemType.MALFORMED_JSON,
            f"A JSON object in the body has the member {twice[:255]!r} twice.",
        )
    return members


def _refuse_constant(name: str) -> None:
    raise ProblemError(
        HTTPStatus.BAD_REQUEST,
        ProblemType.MALFORMED_JSON,
        f"The body is not JSON: {name} is not a JSON number.",
    )
