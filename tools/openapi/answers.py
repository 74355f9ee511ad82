"""Answers as OpenAPI components: the schemas of ``metering_handlers.contract.answers``, and the problems."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import NullableSchema, WithDefaultSchema

from metering_handlers.contract.answers import (
    DryRun,
    Incomplete,
    Inserted,
    InvalidRequest,
    Problem,
    RecordPage,
    Refusal,
    TotalsPage,
    Violation,
)
from metering_handlers.contract.problem_types import PROBLEM_JSON, SAFE_REPEAT, SEE_STORED, ProblemType
from metering_handlers.contract.queries import RecordStatus

JsonObject = dict[str, Any]

_REQUEST_ID = "JKJaXmPLvHcESHA="
_IDEMPOTENCY_KEY = "usage-2026-11-23T10"
_REF_TEMPLATE = "#/components/schemas/{model}"


class _AnswerSchema(GenerateJsonSchema):
    """JSON Schema of answers: without defaults and generated titles, and with null as a second type."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        return inner | {"type": [inner["type"], "null"]}

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False


def _schemas(*types: type) -> dict[str, JsonObject]:
    """Return the schemas of types, and of those that they refer to, by their names."""
    _, document = TypeAdapter.json_schemas(
        [(each, "serialization", TypeAdapter(each)) for each in types],
        ref_template=_REF_TEMPLATE,
        schema_generator=_AnswerSchema,
    )
    schemas: dict[str, JsonObject] = document["$defs"]
    for schema in schemas.values():
        for member in schema["properties"].values():
            # One type in generated clients, that of the query parameter.
            if member.get("enum") == [*RecordStatus]:
                del member["enum"], member["type"]
                member["$ref"] = _REF_TEMPLATE.format(model=RecordStatus.__name__)
    return schemas


def _broken_rule(location: str, pointer: str, code: str, detail: str) -> JsonObject:
    """Return the members of a problem of one broken rule."""
    return {
        "detail": "The request breaks 1 rule(s); nothing was written. Correct what errors lists.",
        "errors": [Violation(location=location, pointer=pointer, code=code, detail=detail)],
    }


_REQUEST_REFUSED = "API Gateway refused the request; nothing was written. The HTTP status says why."
_BAD_REQUEST = "A parameter of the path is missing."
_UNAVAILABLE = "The metering table did not answer in time. Try again."
_RESUME_UNTIL = "2026-11-24T10:15:56Z"

PROBLEMS: Mapping[str, tuple[HTTPStatus, str, Mapping[ProblemType, str | JsonObject]]] = {
    "InvalidInsert": (
        HTTPStatus.BAD_REQUEST,
        "The body is missing or not JSON, a header is wrong, or a query parameter is wrong or unknown. "
        "Nothing is written.",
        {
            ProblemType.MISSING_BODY: "The request has no body; send a JSON object.",
            ProblemType.MALFORMED_JSON: "The body is not JSON: Expecting value at line 1, column 1.",
            ProblemType.INVALID_PARAMETER: _broken_rule(
                "header", "/idempotency-key", "too_long", "must have at most 255 characters"
            ),
            ProblemType.BAD_REQUEST: _BAD_REQUEST,
        },
    ),
    "InvalidListing": (
        HTTPStatus.BAD_REQUEST,
        "A query parameter is wrong or unknown.",
        {
            ProblemType.INVALID_PARAMETER: _broken_rule(
                "query", "/limit", "too_large", "must be at most 1000"
            ),
            ProblemType.BAD_REQUEST: _BAD_REQUEST,
        },
    ),
    "Forbidden": (
        HTTPStatus.FORBIDDEN,
        "Access denied: no signature, a wrong one, no permission, or no API key; or the API has no such path "
        "or method.",
        {
            ProblemType.FORBIDDEN: "Sign the request with AWS Signature Version 4, as an identity that may "
            "call execute-api:Invoke on this API.",
            ProblemType.REQUEST_REFUSED: _REQUEST_REFUSED,
        },
    ),
    "NotFound": (
        HTTPStatus.NOT_FOUND,
        "There is no such path.",
        {ProblemType.NOT_FOUND: "The API has no such path; correct it."},
    ),
    "KeyConflict": (
        HTTPStatus.CONFLICT,
        "The request cannot be completed under its `Idempotency-Key`: what is remembered of the key was "
        "written by another release, or by a later use of it. A part may be stored.",
        {
            ProblemType.IDEMPOTENCY_KEY_CONFLICT: "The request cannot be completed under this "
            f"Idempotency-Key: it has expired, and was used again meanwhile. {SEE_STORED}"
        },
    ),
    "PayloadTooLarge": (
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The body is too large. Nothing is written.",
        {
            ProblemType.PAYLOAD_TOO_LARGE: "Split the request: its body must stay below 6 MB.",
            ProblemType.REQUEST_REFUSED: _REQUEST_REFUSED,
        },
    ),
    "UnsupportedMediaType": (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body's content type is not JSON. Nothing is written.",
        {
            ProblemType.UNSUPPORTED_MEDIA_TYPE: "The body must be JSON: send it with Content-Type: "
            "application/json."
        },
    ),
    "UnprocessableInsert": (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The body or the path breaks a rule, or the `Idempotency-Key` belongs to other entries. Nothing is "
        "written.",
        {
            ProblemType.INVALID_REQUEST: _broken_rule(
                "body", "/metered_dimensions/0/dimension_value", "too_small", "must be at least 0"
            ),
            ProblemType.IDEMPOTENCY_KEY_REUSED: "This Idempotency-Key belongs to other entries; nothing was "
            f"written now. {SEE_STORED}",
        },
    ),
    "UnprocessableListing": (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The customer identifier breaks a rule.",
        {
            ProblemType.INVALID_REQUEST: _broken_rule(
                "path", "/customerIdentifier", "too_long", "must have at most 128 characters"
            )
        },
    ),
    "TooManyRequests": (
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many requests per second or per day. Nothing is written.",
        {ProblemType.TOO_MANY_REQUESTS: "Slow down, and send the request again."},
    ),
    "InternalError": (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"Something went wrong. {SAFE_REPEAT}",
        {
            ProblemType.INTERNAL_ERROR: f"Something went wrong on our side. {SAFE_REPEAT} Quote the request "
            "id in instance to the operator."
        },
    ),
    "BadGateway": (
        HTTPStatus.BAD_GATEWAY,
        f"The function failed. {SAFE_REPEAT}",
        {ProblemType.INTERNAL_ERROR: f"The function has failed. {SAFE_REPEAT}"},
    ),
    "IncompleteInsert": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The table could not take all entries in time. `inserted` entries are stored; the same request "
        "stores the rest, with `idempotency_key` as its `Idempotency-Key` where that is given, until "
        "`resume_until`. `Retry-After` is present where it is safe to repeat the request as it was.",
        {
            ProblemType.INCOMPLETE: {
                "detail": "The metering table took 99 of 5000 entries in time. Send the request again with "
                f"the header Idempotency-Key: {_IDEMPOTENCY_KEY}, until {_RESUME_UNTIL}; stored usage is not "
                "written again.",
                "inserted": 99,
                "idempotency_key": _IDEMPOTENCY_KEY,
                "resume_until": _RESUME_UNTIL,
            },
            ProblemType.UNAVAILABLE: _UNAVAILABLE,
        },
    ),
    "Unavailable": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The table did not answer in time.",
        {ProblemType.UNAVAILABLE: _UNAVAILABLE},
    ),
    "GatewayTimeout": (
        HTTPStatus.GATEWAY_TIMEOUT,
        f"The function did not answer in time. {SAFE_REPEAT}",
        {ProblemType.GATEWAY_TIMEOUT: f"The function did not answer in time. {SAFE_REPEAT}"},
    ),
}
_SAFE_TO_REPEAT = {"TooManyRequests", "IncompleteInsert", "Unavailable"}
_MODELS: Mapping[ProblemType, type[Refusal]] = {
    ProblemType.REQUEST_REFUSED: Refusal,
    ProblemType.INVALID_PARAMETER: InvalidRequest,
    ProblemType.INVALID_REQUEST: InvalidRequest,
    ProblemType.INCOMPLETE: Incomplete,
}
"""The members of a problem; of others, those of ``Problem``."""


def _problem_schema(name: str, status: HTTPStatus, cases: Mapping[ProblemType, object]) -> JsonObject:
    """Return one schema of all cases, since many generators of clients do not know compositions."""
    models = [_MODELS.get(problem_type, Problem) for problem_type in cases]
    # A docstring belongs to the class that has the member; the later ones have it without.
    schemas = _schemas(Refusal, Problem, *models)
    properties: JsonObject = {}
    for model in [Refusal, Problem, *models]:
        for member, schema in schemas[model.__name__]["properties"].items():
            properties.setdefault(member, schema)
    required = set.intersection(*(set(schemas[model.__name__]["required"]) for model in models))
    properties["type"] |= {"enum": [problem_type.uri for problem_type in cases]}
    properties["status"] |= {"enum": [status.value]}
    return {
        "title": name,
        "type": "object",
        "properties": properties,
        "required": [member for member in properties if member in required],
    }


def _problem(
    name: str, status: HTTPStatus, description: str, cases: Mapping[ProblemType, str | JsonObject]
) -> JsonObject:
    examples: JsonObject = {}
    for problem_type, case in cases.items():
        example = {"type": problem_type.uri, "title": problem_type.summary, "status": status.value}
        if problem_type is ProblemType.REQUEST_REFUSED:
            del example["status"]
        example |= case if isinstance(case, dict) else {"detail": case}
        examples[problem_type.value] = {"value": example | {"instance": _REQUEST_ID}}
    headers = {"x-amz-apigw-id": {"$ref": "#/components/headers/RequestId"}}
    if name in _SAFE_TO_REPEAT:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    schema = {"$ref": _REF_TEMPLATE.format(model=f"{name}Problem")}
    return {
        "description": description,
        "headers": headers,
        "content": {PROBLEM_JSON: {"schema": schema, "examples": examples}},
    }


RESPONSES: JsonObject = {name: _problem(name, *problem) for name, problem in PROBLEMS.items()}
_PARTS = _schemas(Inserted, DryRun, RecordPage, TotalsPage)
# Only the inserts' ``records`` have it, which get no type below: in a dry run they are a number.
del _PARTS["RecordKey"]


def _either(usual: type, other: type, description: str) -> JsonObject:
    """Return the schema of answers of two kinds, as one object.

    Not as ``oneOf``: generated clients in Go take ``{}`` for none of two, and those in Java a page for both.
    For the same reason a member that has another type in the other answer has none here.
    """
    first, second = (_PARTS.pop(kind.__name__) for kind in (usual, other))
    for name in first["properties"].keys() & second["properties"].keys():
        one, another = first["properties"][name], second["properties"][name]
        if one.get("type") != another.get("type"):
            one_text, other_text = one["description"], another["description"]
            first["properties"][name] = {"description": f"{one_text} In the other answer: {other_text}"}
    required = [name for name in first.get("required", ()) if name in second["required"]]
    return {
        "type": "object",
        "description": description,
        "properties": first["properties"] | second["properties"] | first["properties"],
        **({"required": required} if required else {}),
    }


SCHEMAS: JsonObject = (
    {
        "InsertAnswer": _either(
            Inserted,
            DryRun,
            "Everything is stored; empty unless there is something to tell. With `dry_run=true`: what would "
            "be written now, no promise; `dry_run`, `duplicates` and the number `records` are present.",
        ),
        "ListAnswer": _either(
            RecordPage,
            TotalsPage,
            "`records`, one page of them; with `group_by=dimension`, `totals` and `record_count` instead.",
        ),
    }
    | _PARTS
    | {
        f"{name}Problem": _problem_schema(f"{name}Problem", status, cases)
        for name, (status, _, cases) in PROBLEMS.items()
    }
    | {"Violation": _schemas(InvalidRequest)["Violation"]}
)
