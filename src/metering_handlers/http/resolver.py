"""Code shared by the functions: the resolver with its error responses, and the Lambda handler around it."""

import binascii
import logging
import time
from collections.abc import Callable, Collection, Mapping
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
from metering_handlers.http.problems import ProblemError, bad_parameter, invalid, problem_response
from metering_handlers.http.proxy_events import JSON_MEDIA_TYPE, normalized, request_id_of
from metering_handlers.http.strict_json import load_json_object

RETRY_AFTER = {"Retry-After": "5"}
"""Header of a 503 that may be repeated as sent: DynamoDB's on-demand capacity grows within seconds."""

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
        self.exception_handler(Exception)(self._answer)

    @property
    def request_id(self) -> str:
        """Id of the current request, which callers quote to the operator."""
        return request_id_of(self.current_event, self.lambda_context)

    def resolve(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Resolve a proxy event, with any base path and any spelling of the path."""
        return super().resolve(normalized(event), context)

    def refuse_unknown_parameters(self) -> None:
        """Refuse a query with other parameters (400): one that is misspelled must not be ignored."""
        unknown = [
            name
            for name in self.current_event.query_string_parameters
            # Those of a presigned URL (AWS IAM User Guide, "Signature Version 4 request elements").
            if name not in self._query_parameters and not name.startswith("X-Amz-")
        ]
        if unknown:
            raise bad_parameter("unknown_parameter", "is not a known parameter; remove it", *unknown)

    def _answer(self, error: Exception) -> Response[str]:
        """Answer with a problem, and name it in the request's log line."""
        match error:
            case ProblemError():
                problem = error
            case RequestValidationError():
                problem = invalid(error.errors())
            case RequestUnsupportedContentType():
                detail = f"The body must be JSON: send it with Content-Type: {JSON_MEDIA_TYPE}."
                problem = ProblemError(415, ProblemType.UNSUPPORTED_MEDIA_TYPE, detail)
            case UnicodeDecodeError() | binascii.Error():
                detail = "The body is not UTF-8 text; send JSON in UTF-8."
                problem = ProblemError(400, ProblemType.MALFORMED_JSON, detail)
            case NotFoundError():
                problem = ProblemError(404, ProblemType.NOT_FOUND, "The API has no such path; correct it.")
            case UnavailableError():
                logger.error("DynamoDB was not available", exc_info=error)
                detail = "A table did not answer in time; nothing was written. Try again."
                problem = ProblemError(503, ProblemType.UNAVAILABLE, detail, headers=RETRY_AFTER)
            case _:
                logger.exception("Unexpected error", exc_info=error)
                advice = f"{self._after_failure} Quote the request id in instance to the operator.".lstrip()
                detail = f"Something went wrong on our side. {advice}"
                problem = ProblemError(500, ProblemType.INTERNAL_ERROR, detail)
        logger.append_keys(problem=problem.problem_type)
        return problem_response(problem, self.request_id)


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
