"""Answers of the API, with examples, and the OpenAPI components built from them.

The answers to inserts are those of ``metering_handlers.contract.answers``. The others are pydantic models
here: the functions write them as plain dictionaries, and models would lengthen a cold start. Unit, contract
and integration tests hold real answers to the document built from both.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema

from metering_handlers.contract.answers import DryRun, Duplicate, Inserted, RecordKey
from metering_handlers.contract.limits import MAX_LISTED_VIOLATIONS
from metering_handlers.contract.problem_types import PROBLEM_JSON, SAFE_REPEAT, SEE_STORED, ProblemType
from metering_handlers.contract.queries import RecordStatus
from tools.example_requests import CUSTOMER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core.core_schema import NullableSchema, WithDefaultSchema

JsonObject = dict[str, Any]

_REQUEST_ID = "JKJaXmPLvHcESHA="
_IDEMPOTENCY_KEY = "usage-2026-11-23T10"
_TRANSACTION_ID = "2026-11-23T10:metered_1_id"
_TIMESTAMP = 1795446956551
_REF_TEMPLATE = "#/components/schemas/{model}"


class _Answer(BaseModel):
    # The docstring of an attribute is its description.
    model_config = ConfigDict(use_attribute_docstrings=True)


class UsageOutcome(_Answer):
    """Usage of one dimension, and whether it was billed."""

    dimension: object = Field(examples=["metered_1_id"])
    """The dimension's API identifier: a string, unless stored otherwise by hand."""
    value: object = Field(examples=[10])
    """The quantity: a whole number, unless stored otherwise by hand."""
    status: RecordStatus
    """`pending` until the hourly job has sent it; then `metered` if it was billed, or `failed`."""
    reason: str = Field("", examples=["CustomerNotSubscribed"])
    """Only if `failed`: the status that BatchMeterUsage returned, an exception's code or name, \
`Unprocessed` if BatchMeterUsage did not process it, or `Unknown`."""


class MeteringRecord(_Answer):
    """A stored record. One that was stored by hand is shown as well as possible."""

    customerIdentifier: str = Field(examples=[CUSTOMER])  # noqa: N815 - the API's name for it
    create_timestamp: Annotated[int | float, WithJsonSchema({"type": "number"})] = Field(
        examples=[_TIMESTAMP]
    )
    """Milliseconds since 1970-01-01T00:00:00Z. Records that were not inserted through this API may have \
another number."""
    dimension_usage: list[UsageOutcome]
    status: RecordStatus
    """`pending` until the hourly job has sent it; then `failed` if any of its dimensions is, else \
`metered`."""
    metering_response: object
    """Response of BatchMeterUsage or its exception; null while the record is pending."""
    request_id: object = Field(None, examples=[_REQUEST_ID])
    """Id of the request that inserted it; absent if it was not inserted through this API."""


class RecordPage(_Answer):
    """One page of a customer's records."""

    records: list[MeteringRecord]
    next_token: str | None
    """Token of the next page; null if this is the last one."""


class Total(_Answer):
    """Usage of one dimension with one status."""

    records: int = Field(ge=0)
    """Number of records."""
    quantity: int
    """Sum of the quantities, exact also beyond 2^53. A value stored by hand that is not a whole number \
counts as 0."""


class DimensionTotals(_Answer):
    """Totals of one dimension."""

    dimension: str | None = Field(examples=["metered_1_id"])
    """The dimension's API identifier; null for usage stored by hand whose dimension is not a string."""
    pending: Total
    """Waits for the hourly job."""
    metered: Total
    """Was billed."""
    failed: Total
    """Was not billed."""


class TotalsPage(_Answer):
    """Totals of a customer's records."""

    totals: list[DimensionTotals]
    """Sorted by dimension."""
    record_count: int = Field(ge=0)
    """Number of records added up."""
    next_token: str | None
    """Token of the totals of the remaining records, to be added to these; null if there are none."""


class Violation(_Answer):
    """One broken rule."""

    location: Literal["body", "path", "query", "header"]
    """The part of the request."""
    pointer: str
    """Position in that part: a JSON pointer (RFC 6901)."""
    code: str
    """The rule, for programs."""
    detail: str
    """What to change, for people."""


class Violations(
    RootModel[Annotated[list[Violation], Field(min_length=1, max_length=MAX_LISTED_VIOLATIONS)]]
):
    """All the rules that the request breaks, up to the maximum number listed."""


class Refusal(_Answer):
    """An answer of API Gateway, which refuses a request for a reason it does not name (RFC 9457)."""

    type: str = Field(json_schema_extra={"format": "uri"})
    """The problem type, for programs."""
    title: str
    """The problem type, for people."""
    detail: str
    """What was wrong, and what to do."""
    instance: str
    """The request id; quote it to the operator."""


class Problem(Refusal):
    """Any other answer but success (RFC 9457)."""

    status: int
    """The HTTP status."""


class InvalidRequest(Problem):
    """A request that breaks rules."""

    errors: Violations


class Incomplete(Problem):
    """An insert of which only a part is stored."""

    inserted: int = Field(ge=0)
    """Entries of a partially completed request that are known to be stored, new and known ones: there may \
be more."""
    idempotency_key: str = ""
    """The `Idempotency-Key` with which to complete a partially completed request. Absent if it is to be \
sent again as it was, because it had none and all of its entries have a `transaction_id`."""
    resume_until: Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})] = ""
    """Time until which a partially completed request may be completed. Absent if its `Idempotency-Key` may \
have been used before and it is not known when: it is remembered from then."""


class _AnswerSchema(GenerateJsonSchema):
    """JSON Schema of answers: a member with a default may be absent, and nothing has a generated title."""

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
        del schema["title"]
    return schemas


SCHEMAS: dict[str, JsonObject] = _schemas(
    Inserted, DryRun, RecordPage, TotalsPage, Problem, Refusal, Violations
)

HEADERS: JsonObject = {
    "IdempotentReplayed": {
        "description": "Present if nothing was written, because an earlier request with this "
        "`Idempotency-Key` had stored everything.",
        "schema": {"const": "true", "type": "string"},
    },
    "PreferenceApplied": {
        "description": "Present if the request preferred `return=representation`.",
        "schema": {"const": "return=representation", "type": "string"},
    },
    "RetryAfter": {
        "description": "Seconds to wait before the next attempt.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 5,
    },
}


def _success(description: str, examples: Mapping[str, tuple[str, type, object]]) -> JsonObject:
    """Create the answer with status 200; each of its examples has a summary, its type and its value."""
    models = {model.__name__: None for _, model, _ in examples.values()}
    schemas = [{"$ref": _REF_TEMPLATE.format(model=model)} for model in models]
    return {
        "description": description,
        "content": {
            "application/json": {
                "schema": {"oneOf": schemas} if len(schemas) > 1 else schemas[0],
                "examples": {
                    name: {"summary": summary, "value": _value(model, example)}
                    for name, (summary, model, example) in examples.items()
                },
            }
        },
    }


def _value(model: type, example: object) -> JsonObject:
    """Return an example as JSON, validated, without the members that it leaves out."""
    adapter: TypeAdapter[object] = TypeAdapter(model)
    value: JsonObject = adapter.dump_python(adapter.validate_python(example), mode="json", exclude_unset=True)
    return value


def _result(dimension: str, quantity: int, status: str) -> JsonObject:
    """Create an example of an entry in ``Results`` of BatchMeterUsage's response."""
    return {
        "UsageRecord": {
            "Timestamp": "2026-11-23T10:00:00.000Z",
            "CustomerIdentifier": CUSTOMER,
            "Dimension": dimension,
            "Quantity": quantity,
        },
        "MeteringRecordId": "35155d37-56cb-423f-8554-5c4f3e3ff56d",
        "Status": status,
    }


_DUPLICATE = Duplicate(
    customerIdentifier=CUSTOMER,
    transaction_id=_TRANSACTION_ID,
    create_timestamp=_TIMESTAMP,
    differs=False,
)

INSERTED: JsonObject = _success(
    "Everything is stored, by this request or by earlier ones. With `dry_run=true`: what would be written.",
    {
        "empty": ("By default", Inserted, Inserted()),
        "duplicates": (
            "With an entry whose transaction_id is known",
            Inserted,
            Inserted(duplicates=[_DUPLICATE]),
        ),
        "representation": (
            "With Prefer: return=representation",
            Inserted,
            Inserted(records=[RecordKey(customerIdentifier=CUSTOMER, create_timestamp=_TIMESTAMP)]),
        ),
        "dry run": (
            "With dry_run=true",
            DryRun,
            DryRun(dry_run=True, records=1, duplicates=[_DUPLICATE]),
        ),
    },
) | {
    "headers": {
        "Idempotent-Replayed": {"$ref": "#/components/headers/IdempotentReplayed"},
        "Preference-Applied": {"$ref": "#/components/headers/PreferenceApplied"},
    }
}

LISTED: JsonObject = _success(
    "One page of the customer's records, an empty one if there are none; or totals.",
    {
        "page": (
            "A record that was billed in part, and one that is still pending",
            RecordPage,
            RecordPage(
                records=[
                    MeteringRecord(
                        customerIdentifier=CUSTOMER,
                        create_timestamp=_TIMESTAMP,
                        dimension_usage=[
                            UsageOutcome(dimension="metered_1_id", value=10, status=RecordStatus.METERED),
                            UsageOutcome(
                                dimension="metered_3_id",
                                value=20,
                                status=RecordStatus.FAILED,
                                reason="CustomerNotSubscribed",
                            ),
                        ],
                        status=RecordStatus.FAILED,
                        metering_response={
                            "Results": [
                                _result("metered_1_id", 10, "Success"),
                                _result("metered_3_id", 20, "CustomerNotSubscribed"),
                            ],
                            "UnprocessedRecords": [],
                        },
                        request_id=_REQUEST_ID,
                    ),
                    MeteringRecord(
                        customerIdentifier=CUSTOMER,
                        create_timestamp=_TIMESTAMP + 3_600_000,
                        dimension_usage=[
                            UsageOutcome(dimension="metered_1_id", value=5, status=RecordStatus.PENDING)
                        ],
                        status=RecordStatus.PENDING,
                        metering_response=None,
                        request_id=_REQUEST_ID,
                    ),
                ],
                next_token=None,
            ),
        ),
        "totals": (
            "With group_by=dimension",
            TotalsPage,
            TotalsPage(
                totals=[
                    DimensionTotals(
                        dimension="metered_1_id",
                        pending=Total(records=1, quantity=5),
                        metered=Total(records=1, quantity=10),
                        failed=Total(records=0, quantity=0),
                    ),
                    DimensionTotals(
                        dimension="metered_3_id",
                        pending=Total(records=0, quantity=0),
                        metered=Total(records=0, quantity=0),
                        failed=Total(records=1, quantity=20),
                    ),
                ],
                record_count=2,
                next_token=None,
            ),
        ),
    },
) | {
    "links": {
        "nextPage": {
            "operationId": "listMeteringRecords",
            "description": "The next page, unless `next_token` is null.",
            "parameters": {
                "customerIdentifier": "$request.path.customerIdentifier",
                "next_token": "$response.body#/next_token",
            },
        }
    },
}


_OTHER_MODELS: Mapping[ProblemType, type[Refusal]] = {
    ProblemType.REQUEST_REFUSED: Refusal,
    ProblemType.INVALID_PARAMETER: InvalidRequest,
    ProblemType.INVALID_REQUEST: InvalidRequest,
    ProblemType.INCOMPLETE: Incomplete,
}


def _problem(
    status: HTTPStatus,
    description: str,
    cases: Mapping[ProblemType, str | JsonObject],
    *,
    retry_after: bool = False,
) -> JsonObject:
    """Create the answer with a status other than 200.

    Parameters
    ----------
    status : HTTPStatus
        The HTTP status.
    description : str
        What the status means, for people.
    cases : Mapping[ProblemType, str | JsonObject]
        An example of each problem type: its detail, or its detail and further members.
    retry_after : bool
        Whether the answer has the header ``Retry-After``.

    Returns
    -------
    JsonObject
        An OpenAPI response object.
    """
    members: JsonObject = {
        "type": {"enum": [problem_type.uri for problem_type in cases]},
        "status": {"const": status.value},
    }
    examples: JsonObject = {}
    common: type[Refusal] = Problem
    for problem_type, case in cases.items():
        model = _OTHER_MODELS.get(problem_type, Problem)
        properties = _schemas(model)[model.__name__]["properties"]
        members |= {name: properties[name] for name in properties if name not in Problem.model_fields}
        example = {
            "type": problem_type.uri,
            "title": problem_type.summary,
            "status": status.value,
            "instance": _REQUEST_ID,
            **(case if isinstance(case, dict) else {"detail": case}),
        }
        if model is Refusal:
            del example["status"]
            common = Refusal
        examples[problem_type.value] = {"value": _value(model, example)}
    response: JsonObject = {"description": description}
    if retry_after:
        response["headers"] = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
    response["content"] = {
        PROBLEM_JSON: {
            "schema": {
                "allOf": [{"$ref": _REF_TEMPLATE.format(model=common.__name__)}, {"properties": members}]
            },
            "examples": examples,
        }
    }
    return response


def _broken_rule(location: str, pointer: str, code: str, detail: str) -> JsonObject:
    """Return the detail and the errors of a request that breaks one rule."""
    return {
        "detail": "The request breaks 1 rule(s); nothing was written. Correct what errors lists.",
        "errors": [{"location": location, "pointer": pointer, "code": code, "detail": detail}],
    }


_REQUEST_REFUSED = "API Gateway refused the request; nothing was written. The HTTP status says why."
_BAD_REQUEST = "A parameter of the path is missing."
_UNAVAILABLE = "The metering table did not answer in time. Try again."
_RESUME_UNTIL = "2026-11-24T10:15:56Z"
_IN_DOUBT = (
    "A part of an insert may be stored. Repeat it as it was if it had an `Idempotency-Key`, or if all of its "
    "entries have a `transaction_id`; otherwise repeat it with `instance` as its `Idempotency-Key`."
)

RESPONSES: JsonObject = {
    "InvalidInsert": _problem(
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
    "InvalidListing": _problem(
        HTTPStatus.BAD_REQUEST,
        "A query parameter is wrong or unknown.",
        {
            ProblemType.INVALID_PARAMETER: _broken_rule(
                "query", "/limit", "too_large", "must be at most 1000"
            ),
            ProblemType.BAD_REQUEST: _BAD_REQUEST,
        },
    ),
    "Forbidden": _problem(
        HTTPStatus.FORBIDDEN,
        "Access denied: no signature, a wrong one, no permission, or no API key.",
        {
            ProblemType.FORBIDDEN: "Sign the request with AWS Signature Version 4, as an identity that may "
            "call execute-api:Invoke on this API.",
            ProblemType.REQUEST_REFUSED: _REQUEST_REFUSED,
        },
    ),
    "NotFound": _problem(
        HTTPStatus.NOT_FOUND,
        "There is no such path.",
        {ProblemType.NOT_FOUND: "The API has no such path; correct it."},
    ),
    "PayloadTooLarge": _problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The body is too large. Nothing is written.",
        {
            ProblemType.PAYLOAD_TOO_LARGE: "Split the request: its body must stay below 6 MB.",
            ProblemType.REQUEST_REFUSED: _REQUEST_REFUSED,
        },
    ),
    "UnsupportedMediaType": _problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body's content type is not JSON. Nothing is written.",
        {
            ProblemType.UNSUPPORTED_MEDIA_TYPE: "The body must be JSON: send it with Content-Type: "
            "application/json."
        },
    ),
    "KeyConflict": _problem(
        HTTPStatus.CONFLICT,
        "The request cannot be completed under its `Idempotency-Key`: what is remembered of the key was "
        "written by another release, or by a later use of it. A part may be stored.",
        {
            ProblemType.IDEMPOTENCY_KEY_CONFLICT: "The request cannot be completed under this "
            f"Idempotency-Key: it has expired, and was used again meanwhile. {SEE_STORED}"
        },
    ),
    "UnprocessableInsert": _problem(
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
    "UnprocessableListing": _problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The customer identifier breaks a rule.",
        {
            ProblemType.INVALID_REQUEST: _broken_rule(
                "path", "/customerIdentifier", "too_long", "must have at most 128 characters"
            )
        },
    ),
    "TooManyRequests": _problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many requests per second or per day. Nothing is written.",
        {ProblemType.TOO_MANY_REQUESTS: "Slow down, and send the request again."},
        retry_after=True,
    ),
    "InternalError": _problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"Something went wrong. {_IN_DOUBT}",
        {
            ProblemType.INTERNAL_ERROR: f"Something went wrong on our side. {SAFE_REPEAT} Quote the request "
            "id in instance to the operator."
        },
    ),
    "BadGateway": _problem(
        HTTPStatus.BAD_GATEWAY,
        f"The function failed. {_IN_DOUBT}",
        {ProblemType.INTERNAL_ERROR: f"The function has failed. {SAFE_REPEAT}"},
    ),
    "IncompleteInsert": _problem(
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
        retry_after=True,
    ),
    "Unavailable": _problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The table did not answer in time.",
        {ProblemType.UNAVAILABLE: _UNAVAILABLE},
        retry_after=True,
    ),
    "GatewayTimeout": _problem(
        HTTPStatus.GATEWAY_TIMEOUT,
        f"The function did not answer in time. {_IN_DOUBT}",
        {ProblemType.GATEWAY_TIMEOUT: f"The function did not answer in time. {SAFE_REPEAT}"},
    ),
}
