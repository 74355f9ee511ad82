"""Validation of responses against docs/openapi.json."""

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from tools.openapi.document import FILE

if TYPE_CHECKING:
    from tools.openapi.answers import JsonObject

DOCUMENT: "JsonObject" = json.loads(FILE.read_text(encoding="utf-8"))


def assert_documented(
    method: str, route: str, status: int, headers: Mapping[str, str], document: object
) -> None:
    """Check that a response has the schema of its operation, status and media type.

    Parameters
    ----------
    method : str
        The request's method.
    route : str
        The path without its parameter, such as ``/listMeteringRecords``.
    status : int
        The answer's status.
    headers : Mapping[str, str]
        The answer's headers.
    document : object
        The answer's body, parsed.
    """
    validator = validators(method, route).get((status, headers["Content-Type"]))
    assert validator, f"{method} {route} is not known to answer {status} as {headers['Content-Type']}"
    validator.validate(document)


@functools.cache
def validators(method: str, route: str) -> dict[tuple[int, str], jsonschema_rs.Draft202012Validator]:
    """Create a validator for each documented status and media type of an operation."""
    (path,) = (path for path in DOCUMENT["paths"] if path.partition("/{")[0] == route)
    operation: JsonObject = DOCUMENT["paths"][path][method.lower()]
    return {
        (int(status), media_type): jsonschema_rs.Draft202012Validator(
            content["schema"] | {"components": DOCUMENT["components"]}
        )
        for status, answer in operation["responses"].items()
        for media_type, content in resolved(answer)["content"].items()
    }


def resolved(answer: "JsonObject") -> dict[str, Any]:
    """Resolve a reference; return other objects unchanged."""
    reference: str = answer.get("$ref", "")
    found: JsonObject = (
        DOCUMENT["components"]["responses"][reference.rpartition("/")[2]] if reference else answer
    )
    return found
