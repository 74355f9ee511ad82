"""Answers as OpenAPI components: the schemas of ``metering_handlers.contract.answers``, and the problems."""

from collections.abc import Mapping
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

_IDEMPOTENCY_KEY = "usage-2026-11-23T10"
_RESUME_UNTIL = "2026-11-24T10:15:56Z"
_REF = "#/components/schemas/{model}"
_Cases = Mapping[ProblemType, JsonObject]


def _problem(status: int, description: str, **examples: str | JsonObject) -> tuple[int, str, _Cases]:
    """Take an example of each of a problem's types: its detail, or its members beside the usual ones."""
    cases: dict[ProblemType, JsonObject] = {}
    for name, example in examples.items():
        problem_type = ProblemType[name.upper()]
        usual = {"type": problem_type.uri, "title": problem_type.summary, "status": status}
        if problem_type is ProblemType.REQUEST_REFUSED:
            del usual["status"]
        members = example if isinstance(example, dict) else {"detail": example}
        cases[problem_type] = {**usual, **members, "instance": "JKJaXmPLvHcESHA="}
    return status, description, cases


def _broken_rule(location: str, pointer: str, code: str, detail: str) -> JsonObject:
    return {
        "detail": "The request breaks 1 rule(s); nothing was written. Correct what errors lists.",
        "errors": [Violation(location=location, pointer=pointer, code=code, detail=detail)],
    }


_REQUEST_REFUSED = "API Gateway refused the request; nothing was written. The HTTP status says why."
_BAD_REQUEST = "A parameter of the path is missing."
_UNAVAILABLE = "The metering table did not answer in time. Try again."

PROBLEMS = {
    "InvalidInsert": _problem(
        400,
        "The body is missing or not JSON, a header is wrong, or a query parameter is wrong or unknown. "
        "Nothing is written.",
        missing_body="The request has no body; send a JSON object.",
        malformed_json="The body is not JSON: Expecting value at line 1, column 1.",
        invalid_parameter=_broken_rule(
            "header", "/idempotency-key", "too_long", "must have at most 255 characters"
        ),
        bad_request=_BAD_REQUEST,
    ),
    "InvalidListing": _problem(
        400,
        "A query parameter is wrong or unknown.",
        invalid_parameter=_broken_rule("query", "/limit", "too_large", "must be at most 1000"),
        bad_request=_BAD_REQUEST,
    ),
    "Forbidden": _problem(
        403,
        "Access denied: no signature, a wrong one, no permission, or no API key; or the API has no such path "
        "or method.",
        forbidden="Sign the request with AWS Signature Version 4, as an identity that may call "
        "execute-api:Invoke on this API.",
        request_refused=_REQUEST_REFUSED,
    ),
    "NotFound": _problem(404, "There is no such path.", not_found="The API has no such path; correct it."),
    "KeyConflict": _problem(
        409,
        "The request cannot be completed under its `Idempotency-Key`: what is remembered of the key was "
        "written by another release, or by a later use of it. A part may be stored.",
        idempotency_key_conflict="The request cannot be completed under this Idempotency-Key: it has "
        f"expired, and was used again meanwhile. {SEE_STORED}",
    ),
    "PayloadTooLarge": _problem(
        413,
        "The body is too large. Nothing is written.",
        payload_too_large="Split the request: its body must stay below 6 MB.",
        request_refused=_REQUEST_REFUSED,
    ),
    "UnsupportedMediaType": _problem(
        415,
        "The body's content type is not JSON. Nothing is written.",
        unsupported_media_type="The body must be JSON: send it with Content-Type: application/json.",
    ),
    "UnprocessableInsert": _problem(
        422,
        "The body or the path breaks a rule, or the `Idempotency-Key` belongs to other entries. Nothing is "
        "written.",
        invalid_request=_broken_rule(
            "body", "/metered_dimensions/0/dimension_value", "too_small", "must be at least 0"
        ),
        idempotency_key_reused="This Idempotency-Key belongs to other entries; nothing was written now. "
        f"{SEE_STORED}",
    ),
    "UnprocessableListing": _problem(
        422,
        "The customer identifier breaks a rule.",
        invalid_request=_broken_rule(
            "path", "/customerIdentifier", "too_long", "must have at most 128 characters"
        ),
    ),
    "TooManyRequests": _problem(
        429,
        "Too many requests per second or per day. Nothing is written.",
        too_many_requests="Slow down, and send the request again.",
    ),
    "InternalError": _problem(
        500,
        f"Something went wrong. {SAFE_REPEAT}",
        internal_error=f"Something went wrong on our side. {SAFE_REPEAT} Quote the request id in instance to "
        "the operator.",
    ),
    "BadGateway": _problem(
        502,
        f"The function failed. {SAFE_REPEAT}",
        internal_error=f"The function has failed. {SAFE_REPEAT}",
    ),
    "IncompleteInsert": _problem(
        503,
        "The table could not take all entries in time. `inserted` entries are stored; the same request "
        "stores the rest, with `idempotency_key` as its `Idempotency-Key` where that is given, until "
        "`resume_until`. `Retry-After` is present where it is safe to repeat the request as it was.",
        incomplete={
            "detail": "The metering table took 99 of 5000 entries in time. Send the request again with the "
            f"header Idempotency-Key: {_IDEMPOTENCY_KEY}, until {_RESUME_UNTIL}; stored usage is not written "
            "again.",
            "inserted": 99,
            "idempotency_key": _IDEMPOTENCY_KEY,
            "resume_until": _RESUME_UNTIL,
        },
        unavailable=_UNAVAILABLE,
    ),
    "Unavailable": _problem(503, "The table did not answer in time.", unavailable=_UNAVAILABLE),
    "GatewayTimeout": _problem(
        504,
        f"The function did not answer in time. {SAFE_REPEAT}",
        gateway_timeout=f"The function did not answer in time. {SAFE_REPEAT}",
    ),
}
"""Status, description, and types with an example of each; sorted by status."""
_MODELS: Mapping[ProblemType, type[Refusal]] = {
    ProblemType.REQUEST_REFUSED: Refusal,
    ProblemType.INVALID_PARAMETER: InvalidRequest,
    ProblemType.INVALID_REQUEST: InvalidRequest,
    ProblemType.INCOMPLETE: Incomplete,
}
"""The members of a problem; of others, those of ``Problem``."""


class _AnswerSchema(GenerateJsonSchema):
    """JSON Schema of answers: without defaults and generated titles, and with null as a second type."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        return inner | {"type": [inner["type"], "null"]}

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False


_TYPES = (Inserted, DryRun, RecordPage, TotalsPage, Refusal, Problem, InvalidRequest, Incomplete)
_, _schemas = TypeAdapter.json_schemas(
    [(each, "serialization", TypeAdapter(each)) for each in _TYPES],
    ref_template=_REF,
    schema_generator=_AnswerSchema,
)
_PARTS: JsonObject = _schemas["$defs"]
for _part in _PARTS.values():
    for _member in _part["properties"].values():
        # One type in generated clients, that of the query parameter.
        if _member.get("enum") == [*RecordStatus]:
            del _member["enum"], _member["type"]
            _member["$ref"] = _REF.format(model=RecordStatus.__name__)


def _problem_schema(title: str, status: int, cases: _Cases) -> JsonObject:
    """Return one schema of all cases, since many generators of clients do not know compositions."""
    models = [_MODELS.get(problem_type, Problem) for problem_type in cases]
    # A docstring belongs to the class that has the member; the later ones have it without.
    base, problem, *parts = (_PARTS[model.__name__] for model in (Refusal, Problem, *models))
    properties = base["properties"]
    for part in (problem, *parts):
        properties = properties | part["properties"] | properties
    properties["type"] = properties["type"] | {"enum": [problem_type.uri for problem_type in cases]}
    properties["status"] = properties["status"] | {"enum": [status]}
    required = [member for member in properties if all(member in part["required"] for part in parts)]
    return {"title": title, "type": "object", "properties": properties, "required": required}


def _problem_response(name: str, status: int, description: str, cases: _Cases) -> JsonObject:
    headers = {"x-amz-apigw-id": {"$ref": "#/components/headers/RequestId"}}
    if status in {429, 503}:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    content = {
        "schema": {"$ref": _REF.format(model=f"{name}Problem")},
        "examples": {problem_type.value: {"value": example} for problem_type, example in cases.items()},
    }
    return {"description": description, "headers": headers, "content": {PROBLEM_JSON: content}}


def _either(usual: type, other: type, description: str) -> JsonObject:
    """Return the schema of answers of two kinds, as one object.

    Not as ``oneOf``: generated clients in Go take ``{}`` for none of two, and those in Java a page for both.
    For the same reason a member that has another type in the other answer has none here.
    """
    first, second = (_PARTS[kind.__name__] for kind in (usual, other))
    properties = first["properties"] | second["properties"] | first["properties"]
    for name, member in second["properties"].items():
        if properties[name].get("type") != member.get("type"):
            text = f"{properties[name]['description']} In the other answer: {member['description']}"
            properties[name] = {"description": text}
    schema = {"type": "object", "description": description, "properties": properties}
    required = [name for name in first.get("required", ()) if name in second["required"]]
    return schema | {"required": required} if required else schema


RESPONSES: JsonObject = {name: _problem_response(name, *problem) for name, problem in PROBLEMS.items()}
SCHEMAS: JsonObject = {
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
    **{
        name: _PARTS[name]
        for name in ("DimensionTotals", "Duplicate", "MeteringRecord", "Total", "UsageOutcome")
    },
    **{
        f"{name}Problem": _problem_schema(f"{name}Problem", status, cases)
        for name, (status, _, cases) in PROBLEMS.items()
    },
    "Violation": _PARTS["Violation"],
}
