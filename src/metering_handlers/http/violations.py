"""Violations: pydantic's errors in the API's words."""

from collections.abc import Iterable, Mapping
from typing import NotRequired, TypedDict

from metering_handlers.contract.answers import Violation

_MAX_POINTER_TOKEN_LENGTH = 255
"""Characters of a member's name shown in a pointer: an unknown name can be megabytes long."""


class ErrorLine(TypedDict):
    """The members of a line of ``pydantic.ValidationError.errors()`` that this module uses."""

    type: str
    loc: tuple[str | int, ...]
    msg: str
    input: NotRequired[object]
    ctx: NotRequired[Mapping[str, object]]


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


def violations(lines: Iterable[ErrorLine]) -> list[Violation]:
    """Translate pydantic's errors for the caller, in their order.

    A ``loc`` begins with the part of the request (body, path, query or header); ``pointer`` is a JSON pointer
    (RFC 6901) into that part.
    """
    found: list[Violation] = []
    for line in lines:
        location, *path = line["loc"]
        tokens = [f"/{_pointer_token(part)}" for part in path]
        if location == "query" and isinstance(line.get("input"), list):
            code, detail = "repeated", "must be given once"
        elif line["type"] in _RULES:
            code, template = _RULES[line["type"]]
            # "list" is the pointer to the list that contains the entry.
            context = {"list": "".join(tokens[:-2]), **(line.get("ctx") or {})}
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
