"""Problem documents (RFC 9457), the format of all error responses, and pydantic's errors as violations."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aws_lambda_powertools.event_handler import Response
from pydantic_core import ErrorDetails

from metering_handlers.contract.answers import Violation
from metering_handlers.contract.limits import MAX_LISTED_VIOLATIONS
from metering_handlers.contract.problem_types import PROBLEM_JSON, ProblemType

_MAX_POINTER_TOKEN_LENGTH = 255
"""Characters of a member's name shown in a pointer: an unknown name can be megabytes long."""

# For each error type of pydantic: the API's stable code, and what the caller should change.
_RULES: Mapping[str, tuple[str, str]] = {
    "missing": ("required", "is required; add it"),
    "extra_forbidden": ("unknown_field", "is not a known field; remove it"),
    "unexpected_keyword_argument": ("unknown_field", "is not a known field; remove it"),
    "int_type": ("not_an_integer", "must be a JSON integer, not a string, a float or a boolean"),
    "int_parsing": ("not_an_integer", "must be a whole number"),
    "int_parsing_size": ("too_large", "is too large a number"),
    "string_type": ("not_a_string", "must be a string, given once"),
    "string_unicode": ("not_unicode", "must be valid Unicode text"),
    "string_too_short": ("too_short", "must have at least {min_length} character(s)"),
    "string_too_long": ("too_long", "must have at most {max_length} characters"),
    "list_type": ("not_a_list", "must be a JSON array"),
    "too_short": ("too_few", "must have at least {min_length} entry"),
    "too_long": ("too_many", "must have at most {max_length} entries; split the request"),
    "model_type": ("not_an_object", "must be a JSON object"),
    "model_attributes_type": ("not_an_object", "must be a JSON object"),
    "dataclass_type": ("not_an_object", "must be a JSON object"),
    "greater_than_equal": ("too_small", "must be at least {ge}"),
    "less_than_equal": ("too_large", "must be at most {le}"),
    "enum": ("not_a_choice", "must be {expected}"),
    "duplicate_dimension": (
        "duplicate_dimension",
        "repeats {list}/{first_index}/dimension_name; send each dimension once, with the sum",
    ),
}


@dataclass(eq=False)
class ProblemError(Exception):
    """An error response."""

    status: int
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
        "status": problem.status,
        "detail": problem.detail,
        "instance": request_id,
        **problem.members,
    }
    if problem.errors:
        document["errors"] = problem.errors
    return Response(problem.status, PROBLEM_JSON, json.dumps(document), headers=dict(problem.headers))


def refusal(
    found: Sequence[Violation], status: int = 422, problem_type: ProblemType = ProblemType.INVALID_REQUEST
) -> ProblemError:
    """Create the answer to a request that breaks rules; nothing of it was written."""
    detail = f"The request breaks {len(found)} rule(s); nothing was written. Correct what errors lists."
    if len(found) > MAX_LISTED_VIOLATIONS:
        detail += f" Only the first {MAX_LISTED_VIOLATIONS} are listed."
    return ProblemError(status, problem_type, detail, errors=found[:MAX_LISTED_VIOLATIONS])


def bad_parameter(code: str, detail: str, *names: str) -> ProblemError:
    """Create the answer to query parameters that break a rule which no single type expresses."""
    return ProblemError(
        400,
        ProblemType.INVALID_PARAMETER,
        f"The query parameter {', '.join(names)} {detail}.",
        errors=[Violation(location="query", pointer=f"/{name}", code=code, detail=detail) for name in names],
    )


def invalid(lines: Iterable[ErrorDetails]) -> ProblemError:
    """Create the answer to what pydantic refuses; each ``loc`` begins with the part of the request."""
    found = [_violation(line) for line in lines]
    if any((each["location"], each["pointer"], each["code"]) == ("body", "", "required") for each in found):
        return ProblemError(400, ProblemType.MISSING_BODY, "The request has no body; send a JSON object.")
    if any(each["location"] in {"query", "header"} for each in found):
        return refusal(found, 400, ProblemType.INVALID_PARAMETER)
    return refusal(found)


def _violation(line: ErrorDetails) -> Violation:
    location, *path = line["loc"]
    tokens = [f"/{_pointer_token(str(part))}" for part in path]
    if location == "query" and isinstance(line.get("input"), list):
        code, detail = "repeated", "must be given once"
    elif line["type"] in _RULES:
        code, template = _RULES[line["type"]]
        # "list" is the pointer to the list that contains the entry.
        detail = template.format_map({"list": "".join(tokens[:-2]), **(line.get("ctx") or {})})
    else:
        code, detail = line["type"], line["msg"]
    return Violation(location=str(location), pointer="".join(tokens), code=code, detail=detail)


def _pointer_token(token: str) -> str:
    """Escape a reference token (RFC 6901, section 3)."""
    if len(token) > _MAX_POINTER_TOKEN_LENGTH:
        token = token[:_MAX_POINTER_TOKEN_LENGTH] + "…"
    return token.replace("~", "~0").replace("/", "~1")
