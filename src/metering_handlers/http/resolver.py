"""Code shared by the functions: the resolver with its error responses, and the Lambda handler around it."""

import binascii
import logging
import time
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

from metering_handlers import settings
from metering_handlers.contract.problem_types import ProblemType
from metering_handlers.dynamodb import UnavailableError
from metering_handlers.http.problems import ProblemError, bad_parameter, problem_response, refusal
from metering_handlers.http.proxy_events import JSON_MEDIA_TYPE, normalized, request_id_of
from metering_handlers.http.strict_json import load_json_object
from metering_handlers.http.violations import violations

RETRY_AFTER_SECONDS = 5
"""Seconds that a 503 asks the caller to wait: DynamoDB's on-demand capacity grows within seconds."""

_QUOTE_THE_ID = "Quote the request id in instance to the operator."

logger = Logger()
# Not through Powertools, which obeys AWS_LAMBDA_LOG_LEVEL: Lambda's JSON log format always sets that.
logging.getLogger(logger.name).setLevel((settings.optional("METERING_LOG_LEVEL") or "INFO").upper())
metrics = Metrics()

LambdaHandler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


class MeteringResolver(APIGatewayRestResolver):
    """Powertools' resolver with request validation and this API's error responses.

    It refuses query parameters other than ``query_parameters``; ``after_failure`` says what the caller does
    after an unexpected error.
    """

    def __init__(self, query_parameters: Collection[str], *, after_failure: str = "") -> None:
        self._query_parameters = query_parameters
        self._after_failure = after_failure
        super().__init__(enable_validation=True, json_body_deserializer=load_json_object)
        self.exception_handler(RequestValidationError)(self._answer_violations)
        self.exception_handler(RequestUnsupportedContentType)(self._answer_unsupported_content_type)
        self.exception_handler([UnicodeDecodeError, binascii.Error])(self._answer_undecodable_body)
        self.exception_handler(ProblemError)(self.answer)
        self.exception_handler(NotFoundError)(self._answer_not_found)
        self.exception_handler(UnavailableError)(self._answer_unavailable)
        self.exception_handler(Exception)(self._answer_unexpected)

    @property
    def request_id(self) -> str:
        """Id of the current request, which callers quote to the operator."""
        return request_id_of(self.current_event, self.lambda_context)

    def resolve(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Resolve a proxy event, with any base path and any spelling of the path."""
        return super().resolve(normalized(event), context)

    def answer(self, problem: ProblemError) -> Response[str]:
        """Render a problem, and name it in the request's log line."""
        logger.append_keys(problem=problem.problem_type)
        return problem_response(problem, self.request_id)

    def refuse_unknown_parameters(self) -> None:
        """Check the query's names: one that is misspelled must not be ignored.

        Raises
        ------
        ProblemError
            If the route has no such parameter (400).
        """
        unknown = [
            name
            for name in self.current_event.query_string_parameters
            # Those of a presigned URL (AWS IAM User Guide, "Signature Version 4 request elements").
            if name not in self._query_parameters and not name.startswith("X-Amz-")
        ]
        if unknown:
            raise bad_parameter("unknown_parameter", "is not a known parameter; remove it", *unknown)

    def _answer_violations(self, error: RequestValidationError) -> Response[str]:
        found = violations(error.errors())
        locations = {violation["location"] for violation in found}
        if any(
            violation["location"] == "body" and violation["code"] == "required" and not violation["pointer"]
            for violation in found
        ):
            detail = "The request has no body; send a JSON object."
            return self.answer(ProblemError(HTTPStatus.BAD_REQUEST, ProblemType.MISSING_BODY, detail))
        if locations & {"query", "header"}:
            status, problem_type = HTTPStatus.BAD_REQUEST, ProblemType.INVALID_PARAMETER
        else:
            status, problem_type = HTTPStatus.UNPROCESSABLE_ENTITY, ProblemType.INVALID_REQUEST
        return self.answer(refusal(found, status, problem_type))

    def _answer_unsupported_content_type(self, _: RequestUnsupportedContentType) -> Response[str]:
        detail = f"The body must be JSON: send it with Content-Type: {JSON_MEDIA_TYPE}."
        return self.answer(
            ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, ProblemType.UNSUPPORTED_MEDIA_TYPE, detail)
        )

    def _answer_undecodable_body(self, _: UnicodeDecodeError | binascii.Error) -> Response[str]:
        detail = "The body is not UTF-8 text; send JSON in UTF-8."
        return self.answer(ProblemError(HTTPStatus.BAD_REQUEST, ProblemType.MALFORMED_JSON, detail))

    def _answer_not_found(self, _: NotFoundError) -> Response[str]:
        detail = "The API has no such path; correct it."
        return self.answer(ProblemError(HTTPStatus.NOT_FOUND, ProblemType.NOT_FOUND, detail))

    def _answer_unavailable(self, error: UnavailableError) -> Response[str]:
        logger.error("DynamoDB was not available", exc_info=error)
        return self.answer(
            ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                ProblemType.UNAVAILABLE,
                "A table did not answer in time; nothing was written. Try again.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        )

    def _answer_unexpected(self, error: Exception) -> Response[str]:
        logger.exception("Unexpected error", exc_info=error)
        sentences = ["Something went wrong on our side.", self._after_failure, _QUOTE_THE_ID]
        detail = " ".join(filter(None, sentences))
        return self.answer(ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, ProblemType.INTERNAL_ERROR, detail))


def lambda_handler_of(app: MeteringResolver) -> LambdaHandler:
    """Create a function's Lambda handler: correlation id, metrics, and one log line for each request."""

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
