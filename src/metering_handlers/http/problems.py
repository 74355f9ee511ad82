"""Problem documents (RFC 9457), the format of all error responses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from aws_lambda_powertools.event_handler import Response

from metering_handlers.contract.answers import Violation
from metering_handlers.contract.limits import MAX_LISTED_VIOLATIONS
from metering_handlers.contract.problem_types import PROBLEM_JSON, ProblemType


@dataclass(eq=False)
class ProblemError(Exception):
    """An error response."""

    status: HTTPStatus
    problem_type: ProblemType
    detail: str
    """What was wrong and what to do, for the caller."""
    errors: Sequence[Violation] = ()
    """The broken rules, if they are listed."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further response headers."""
    members: Mapping[str, int | str] = field(default_factory=dict)
    """Further members of the problem document."""


def problem_response(problem: ProblemError, request_id: str) -> Response[str]:
    """Render a problem as the response to the request with that id."""
    document: dict[str, object] = {
        "type": problem.problem_type.uri,
        "title": problem.problem_type.summary,
        "status": problem.status.value,
        "detail": problem.detail,
        "instance": request_id,
        **problem.members,
    }
    if problem.errors:
        document["errors"] = problem.errors
    return Response(
        status_code=problem.status.value,
        content_type=PROBLEM_JSON,
        headers=dict(problem.headers),
        body=json.dumps(document),
    )


def refusal(
    found: Sequence[Violation],
    status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY,
    problem_type: ProblemType = ProblemType.INVALID_REQUEST,
) -> ProblemError:
    """Create the answer to a request that breaks rules; nothing of it was written."""
    detail = f"The request breaks {len(found)} rule(s); nothing was written. Correct what errors lists."
    if len(found) > MAX_LISTED_VIOLATIONS:
        detail += f" Only the first {MAX_LISTED_VIOLATIONS} are listed."
    return ProblemError(status, problem_type, detail, errors=found[:MAX_LISTED_VIOLATIONS])


def bad_parameter(code: str, detail: str, *names: str) -> ProblemError:
    """Create the answer to query parameters that break a rule which no single type expresses."""
    return ProblemError(
        HTTPStatus.BAD_REQUEST,
        ProblemType.INVALID_PARAMETER,
        f"The query parameter {', '.join(names)} {detail}.",
        errors=[Violation(location="query", pointer=f"/{name}", code=code, detail=detail) for name in names],
    )
