"""Problem details (RFC 9457), the format of all error responses."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import NotRequired, TypedDict

from aws_lambda_powertools.event_handler import Response

from metering_handlers import known_dimensions

PROBLEM_JSON = "application/problem+json"
MAX_LISTED_VIOLATIONS = 1_000
"""Violations in one response: 10,000 entries can break 250,000 rules, and Lambda allows 6 MB."""
_MAX_POINTER_TOKEN_LENGTH = 255
"""Characters of a member's name shown in a pointer: an unknown name can be megabytes long."""


class ProblemType(StrEnum):
    """Every problem type of the API, by the last part of its URI.

    API Gateway's own answers use some of them too. ``infra/`` cannot import this list, so tests compare it
    with the deployed gateway responses, and with ``docs/``.
    """

    MALFORMED_JSON = "malformed-json"
    MISSING_BODY = "missing-body"
    INVALID_PARAMETER = "invalid-parameter"
    BAD_REQUEST = "bad-request"
    FORBIDDEN = "forbidden"
    REQUEST_REFUSED = "request-refused"
    NOT_FOUND = "not-found"
    PAYLOAD_TOO_LARGE = "payload-too-large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    INVALID_REQUEST = "invalid-request"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    TOO_MANY_REQUESTS = "too-many-requests"
    INTERNAL_ERROR = "internal-error"
    INCOMPLETE = "incomplete"
    UNAVAILABLE = "unavailable"
    GATEWAY_TIMEOUT = "gateway-timeout"

    @property
    def uri(self) -> str:
        """The member ``type`` of a problem document."""
        return f"urn:marketplace-metering:problem:{self}"

    @property
    def summary(self) -> str:
        """The member ``title`` of a problem document."""
        return self.replace("-", " ").capitalize()


class Violation(TypedDict):
    """A broken rule: where, which one, and what to change."""

    location: str
    pointer: str
    code: str
    detail: str


class ErrorLine(TypedDict):
    """The members of a line of ``pydantic.ValidationError.errors()`` that this module uses."""

    type: str
    loc: tuple[str | int, ...]
    msg: str
    ctx: NotRequired[Mapping[str, object]]


@dataclass(eq=False)
class ProblemError(Exception):
    """An error response.

    Parameters
    ----------
    status : HTTPStatus
        The HTTP status.
    problem_type : ProblemType
        The problem type.
    detail : str
        What was wrong and what to do, for the caller.
    errors : Sequence[Violation]
        The broken rules, if they are listed.
    headers : Mapping[str, str]
        Further response headers.
    members : Mapping[str, int | str]
        Further members of the problem document.
    """

    status: HTTPStatus
    problem_type: ProblemType
    detail: str
    errors: Sequence[Violation] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, int | str] = field(default_factory=dict)


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
    "string_pattern_mismatch": ("not_unicode", "must be valid Unicode text; send the body in UTF-8"),
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
    "unknown_dimension": ("unknown_dimension", "is not a dimension of the product{hint}"),
}


def violations(lines: Iterable[ErrorLine]) -> list[Violation]:
    """Translate pydantic's errors for the caller.

    Parameters
    ----------
    lines : Iterable[ErrorLine]
        Error lines whose ``loc`` begins with the part of the request: body, path, query or header.

    Returns
    -------
    list[Violation]
        One for each line, in the same order; ``pointer`` is a JSON pointer (RFC 6901) into that part.
    """
    found: list[Violation] = []
    suggestions = known_dimensions.Suggestions(known_dimensions.KNOWN_DIMENSIONS or frozenset())
    for line in lines:
        location, *path = line["loc"]
        tokens = [f"/{_pointer_token(part)}" for part in path]
        if line["type"] in _RULES:
            code, template = _RULES[line["type"]]
            # "list" is the pointer to the list that contains the entry.
            context = {"list": "".join(tokens[:-2]), **(line.get("ctx") or {})}
            if line["type"] == "unknown_dimension":
                meant = suggestions.nearest(str(context["name"]))
                context["hint"] = f"; did you mean {meant}?" if meant else ""
            detail = template.format_map(context)
        else:
            code, detail = line["type"], line["msg"]
        found.append(Violation(location=str(location), pointer="".join(tokens), code=code, detail=detail))
    return found


def _pointer_token(part: str | int) -> str:
    """Escape a reference token (RFC 6901, section 3)."""
    token = str(part)
    if len(token) > _MAX_POINTER_TOKEN_LENGTH:
        token = token[:_MAX_POINTER_TOKEN_LENGTH] + "…"
    return token.replace("~", "~0").replace("/", "~1")
