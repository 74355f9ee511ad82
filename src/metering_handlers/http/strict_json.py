"""Strict JSON: request bodies, without NaN and without duplicate members."""

import json
from collections import Counter

from metering_handlers.contract.problem_types import ProblemType
from metering_handlers.http.problems import ProblemError


def load_json_object(text: str) -> dict[str, object]:
    """Parse a body; raise what to answer if it is not JSON (400), or not a JSON object (422)."""
    try:
        # A byte order mark may be ignored (RFC 8259, section 8.1); spreadsheets' exports begin with one.
        document: object = json.loads(
            text.lstrip("\ufeff"), object_pairs_hook=_unique_members, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _malformed(f"The body is not JSON: {error.msg} at {place}.") from error
    except RecursionError as error:
        raise _malformed("The body is nested too deeply; see the README for its form.") from error
    except ValueError as error:
        # Python refuses to read integers of more than 4,300 digits.
        raise _malformed("The body has a number with too many digits.") from error
    if not isinstance(document, dict):
        detail = "The body must be a JSON object, { … }, not another JSON value."
        raise ProblemError(422, ProblemType.INVALID_REQUEST, detail)
    return document


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse duplicate members: the API cannot know which of two usages to bill."""
    members = dict(pairs)
    if len(members) < len(pairs):
        count = Counter(name for name, _ in pairs)
        twice = next(name for name in members if count[name] > 1)
        raise _malformed(f"A JSON object in the body has the member {twice[:255]!r} twice.")
    return members


def _refuse_constant(name: str) -> None:
    raise _malformed(f"The body is not JSON: {name} is not a JSON number.")


def _malformed(detail: str) -> ProblemError:
    return ProblemError(400, ProblemType.MALFORMED_JSON, detail)
