"""Validation of responses against docs/openapi.json."""

import functools
import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from tools.openapi.answers import JsonObject
from tools.openapi.document import FILE

DOCUMENT: JsonObject = json.loads(FILE.read_text(encoding="utf-8"))
# The published schemas let clients ignore members that later versions add. These are closed, so that a member
# that is not documented fails a test.
_CLOSED_COMPONENTS = DOCUMENT["components"] | {
    "schemas": {
        name: schema | {"additionalProperties": False} if "properties" in schema else schema
        for name, schema in DOCUMENT["components"]["schemas"].items()
    }
}


def assert_documented(
    method: str, resource: str, status: int, headers: Mapping[str, str], document: object
) -> None:
    """Check that a response has the schema of its operation, status and media type."""
    validator = validators(method, resource).get((status, headers["Content-Type"]))
    assert validator, f"{method} {resource} is not known to answer {status} as {headers['Content-Type']}"
    validator.validate(document)


@functools.cache
def validators(method: str, resource: str) -> dict[tuple[int, str], jsonschema_rs.Draft202012Validator]:
    """Create a validator for each documented status and media type of an operation.

    ``resource`` is the API's, such as ``/listMeteringRecords/{customerIdentifier+}``.
    """
    operation: JsonObject = DOCUMENT["paths"][resource.replace("+}", "}")][method.lower()]
    return {
        (int(status), media_type): jsonschema_rs.Draft202012Validator(
            content["schema"] | {"components": _CLOSED_COMPONENTS}
        )
        for status, answer in operation["responses"].items()
        for media_type, content in resolved(answer)["content"].items()
    }


def resolved(answer: JsonObject) -> dict[str, Any]:
    """Resolve a reference; return other objects unchanged."""
    name = answer.get("$ref", "").rpartition("/")[2]
    found: JsonObject = DOCUMENT["components"]["responses"][name] if name else answer
    return found
