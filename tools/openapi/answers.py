"""Answers of the API, as pydantic models with examples, and the OpenAPI components built from them.

The functions write their answers as plain dictionaries: these models would lengthen a cold start, so they are
not shipped. Unit, contract and integration tests hold real answers to the document built from them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, RootModel, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from metering_handlers.models import RecordStatus
from metering_handlers.problems import MAX_LISTED_VIOLATIONS, PROBLEM_JSON, ProblemType
from tools.example_requests import CUSTOMER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core.core_schema import NullableSchema, WithDefaultSchema

JsonObject = dict[str, Any]

_REQUEST_ID = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
_IDEMPOTENCY_KEY = "usage-2026-11-23T10"
_TIMESTAMP = 1795446956551
_REF_TEMPLATE = "#/components/schemas/{model}"


class RecordKey(BaseModel):
    """Key of a stored record."""

    customerIdentifier: Annotated[str, Field(examples=[CUSTOMER])]  # noqa: N815 - the API's name for it
    create_timestamp: Annotated[
        int | float,
        WithJsonSchema({"type": "number"}),
        Field(
            description="Time of the insert, in whole milliseconds since 1970-01-01T00:00:00Z. "
            "Records that were not inserted through this API may have another number.",
            examples=[_TIMESTAMP],
        ),
    ]


class Inserted(BaseModel):
    """Everything is stored."""

    records: Annotated[
        list[RecordKey],
        Field(description="With `Prefer: return=representation`: one for each entry, in their order."),
    ] = []


class StoredUsage(BaseModel):
    """Usage of one dimension."""

    dimension: Annotated[
        object,
        Field(
            description="The dimension's API identifier: a string, unless stored otherwise by hand.",
            examples=["metered_1_id"],
        ),
    ]
    value: Annotated[
        object,
        Field(
            description="The quantity: a whole number, unless stored otherwise by hand.",
            examples=[10],
        ),
    ]


class MeteringRecord(RecordKey):
    """A stored record. One that was stored by hand is shown as well as possible."""

    dimension_usage: list[StoredUsage]
    status: Annotated[
        RecordStatus,
        Field(
            description="`pending` until the hourly job has sent it; then `metered`, or `failed` "
            "if AWS Marketplace did not accept it.",
        ),
    ]
    metering_response: Annotated[
        object, Field(description="Response of BatchMeterUsage; null while the record is pending.")
    ]
    request_id: Annotated[
        object,
        Field(
            description="Id of the request that inserted it; absent if it was not inserted through this API.",
            examples=[_REQUEST_ID],
        ),
    ] = None


class RecordPage(BaseModel):
    """One page of a customer's records."""

    records: list[MeteringRecord]
    next_token: Annotated[
        str | None, Field(description="Token of the next page; null if this is the last one.")
    ]


class Violation(BaseModel):
    """One broken rule."""

    location: Annotated[
        Literal["body", "path", "query", "header"], Field(description="The part of the request.")
    ]
    pointer: Annotated[str, Field(description="Position in that part: a JSON pointer (RFC 6901).")]
    code: Annotated[str, Field(description="The rule, for programs.")]
    detail: Annotated[str, Field(description="What to change, for people.")]


class Violations(
    RootModel[Annotated[list[Violation], Field(min_length=1, max_length=MAX_LISTED_VIOLATIONS)]]
):
    """All the rules that the request breaks, up to the maximum number listed."""


class Problem(BaseModel):
    """Any answer but success (RFC 9457)."""

    type: Annotated[
        str, Field(description="The problem type, for programs.", json_schema_extra={"format": "uri"})
    ]
    title: Annotated[str, Field(description="The problem type, for people.")]
    status: Annotated[int, Field(description="The HTTP status.")]
    detail: Annotated[str, Field(description="What was wrong, and what to do.")]
    instance: Annotated[str, Field(description="The request id; quote it to the operator.")]

    @classmethod
    def example(cls, kind: ProblemType, status: HTTPStatus, detail: str, **members: object) -> Self:
        """Create an example of a problem type; ``members`` are those that this model adds."""
        return cls.model_validate(
            {
                "type": kind.uri,
                "title": kind.summary,
                "status": status,
                "detail": detail,
                "instance": _REQUEST_ID,
                **members,
            }
        )


class InvalidRequest(Problem):
    """A request that breaks rules."""

    errors: Violations


class Incomplete(Problem):
    """A bulk request of which the table took a part only."""

    inserted: Annotated[
        int,
        Field(ge=0, description="Number of records stored by a partially completed request."),
    ]
    idempotency_key: Annotated[
        str,
        Field(description="The `Idempotency-Key` with which to complete a partially completed request."),
    ]


class _AnswerSchema(GenerateJsonSchema):
    """JSON Schema of answers: a member with a default may be absent, and nothing has a generated title."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        return inner | {"type": [inner["type"], "null"]}

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False


def _schemas(*models: type[BaseModel]) -> dict[str, JsonObject]:
    """Return the schemas of models, and of the models that they refer to, by their names."""
    _, document = models_json_schema(
        [(model, "serialization") for model in models],
        ref_template=_REF_TEMPLATE,
        schema_generator=_AnswerSchema,
    )
    schemas: dict[str, JsonObject] = document["$defs"]
    for schema in schemas.values():
        del schema["title"]
    return schemas


SCHEMAS: dict[str, JsonObject] = _schemas(Inserted, RecordPage, Problem, Violations)

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


def _success(description: str, examples: Mapping[str, tuple[str, BaseModel]]) -> JsonObject:
    """Create the answer with status 200; its examples are instances of one model, each with a summary."""
    (model,) = {type(example) for _, example in examples.values()}
    return {
        "description": description,
        "content": {
            "application/json": {
                "schema": {"$ref": _REF_TEMPLATE.format(model=model.__name__)},
                "examples": {
                    name: {"summary": summary, "value": _value(example)}
                    for name, (summary, example) in examples.items()
                },
            }
        },
    }


def _value(example: BaseModel) -> JsonObject:
    """Return an example as JSON, without the members that it leaves out."""
    return example.model_dump(mode="json", exclude_unset=True)


INSERTED: JsonObject = _success(
    "Everything is stored, by this request or by an earlier one that it repeats.",
    {
        "empty": ("By default", Inserted()),
        "representation": (
            "With Prefer: return=representation",
            Inserted(records=[RecordKey(customerIdentifier=CUSTOMER, create_timestamp=_TIMESTAMP)]),
        ),
    },
) | {
    "headers": {
        "Idempotent-Replayed": {"$ref": "#/components/headers/IdempotentReplayed"},
        "Preference-Applied": {"$ref": "#/components/headers/PreferenceApplied"},
    }
}

LISTED: JsonObject = _success(
    "One page of the customer's records; an empty one if there are none.",
    {
        "page": (
            "A record that is still pending",
            RecordPage(
                records=[
                    MeteringRecord(
                        customerIdentifier=CUSTOMER,
                        create_timestamp=_TIMESTAMP,
                        dimension_usage=[
                            StoredUsage(dimension="metered_1_id", value=10),
                            StoredUsage(dimension="metered_3_id", value=20),
                        ],
                        status=RecordStatus.PENDING,
                        metering_response=None,
                        request_id=_REQUEST_ID,
                    )
                ],
                next_token=None,
            ),
        )
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


def _problem(description: str, *examples: Problem, retry_after: bool = False) -> JsonObject:
    """Create an answer from examples: one of each problem type that its status stands for."""
    (status,) = {example.status for example in examples}
    members: JsonObject = {
        "type": {"enum": [example.type for example in examples]},
        "status": {"const": status},
    }
    for model in {type(example): None for example in examples}:
        properties = _schemas(model)[model.__name__]["properties"]
        members |= {name: value for name, value in properties.items() if name not in Problem.model_fields}
    response: JsonObject = {"description": description}
    if retry_after:
        response["headers"] = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
    response["content"] = {
        PROBLEM_JSON: {
            "schema": {"allOf": [{"$ref": _REF_TEMPLATE.format(model="Problem")}, {"properties": members}]},
            "examples": {example.type.rpartition(":")[2]: {"value": _value(example)} for example in examples},
        }
    }
    return response


def _invalid(  # noqa: PLR0913, PLR0917 - the parts of a problem and of its violation
    kind: ProblemType, status: HTTPStatus, location: str, pointer: str, code: str, detail: str
) -> InvalidRequest:
    """Create an example of a request that breaks one rule."""
    return InvalidRequest.example(
        kind,
        status,
        "The request breaks 1 rule(s); nothing was written. Correct what errors lists.",
        errors=[{"location": location, "pointer": pointer, "code": code, "detail": detail}],
    )


_BAD_REQUEST = Problem.example(
    ProblemType.BAD_REQUEST, HTTPStatus.BAD_REQUEST, "API Gateway could not take the request."
)
_UNAVAILABLE = Problem.example(
    ProblemType.UNAVAILABLE,
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The metering table did not answer in time. Try again.",
)

RESPONSES: JsonObject = {
    "InvalidInsert": _problem(
        "The body is missing or not JSON, or a header is wrong. Nothing is written.",
        Problem.example(
            ProblemType.MISSING_BODY,
            HTTPStatus.BAD_REQUEST,
            "The request has no body; send a JSON object.",
        ),
        Problem.example(
            ProblemType.MALFORMED_JSON,
            HTTPStatus.BAD_REQUEST,
            "The body is not JSON: Expecting value at line 1, column 1.",
        ),
        _invalid(
            ProblemType.INVALID_PARAMETER,
            HTTPStatus.BAD_REQUEST,
            "header",
            "/idempotency-key",
            "too_long",
            "must have at most 255 characters",
        ),
        _BAD_REQUEST,
    ),
    "InvalidListing": _problem(
        "A query parameter is wrong or unknown.",
        _invalid(
            ProblemType.INVALID_PARAMETER,
            HTTPStatus.BAD_REQUEST,
            "query",
            "/limit",
            "too_large",
            "must be at most 1000",
        ),
        _BAD_REQUEST,
    ),
    "Forbidden": _problem(
        "Access denied: no signature, a wrong one, no permission, or no API key.",
        Problem.example(
            ProblemType.FORBIDDEN,
            HTTPStatus.FORBIDDEN,
            "Sign the request with AWS Signature Version 4, as an identity that may call execute-api:Invoke "
            "on this API.",
        ),
    ),
    "NotFound": _problem(
        "There is no such path.",
        Problem.example(
            ProblemType.NOT_FOUND,
            HTTPStatus.NOT_FOUND,
            "There is nothing at this path; see the API's three routes.",
        ),
    ),
    "PayloadTooLarge": _problem(
        "The body is too large. Nothing is written.",
        Problem.example(
            ProblemType.PAYLOAD_TOO_LARGE,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "Split the request: its body must stay below 6 MB.",
        ),
    ),
    "UnsupportedMediaType": _problem(
        "The body's content type is not JSON. Nothing is written.",
        Problem.example(
            ProblemType.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body must be JSON: send it with Content-Type: application/json.",
        ),
    ),
    "UnprocessableInsert": _problem(
        "The body or the path breaks a rule, or the `Idempotency-Key` was used for another payload. "
        "Nothing is written.",
        _invalid(
            ProblemType.INVALID_REQUEST,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "body",
            "/metered_dimensions/0/dimension_value",
            "too_small",
            "must be at least 0",
        ),
        Problem.example(
            ProblemType.IDEMPOTENCY_KEY_REUSED,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "This Idempotency-Key was used for another payload; nothing was written. Use a new key for it.",
        ),
    ),
    "UnprocessableListing": _problem(
        "The customer identifier breaks a rule.",
        _invalid(
            ProblemType.INVALID_REQUEST,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "path",
            "/customerIdentifier",
            "too_long",
            "must have at most 128 characters",
        ),
    ),
    "TooManyRequests": _problem(
        "Too many requests per second or per day. Nothing is written.",
        Problem.example(
            ProblemType.TOO_MANY_REQUESTS,
            HTTPStatus.TOO_MANY_REQUESTS,
            "Slow down, and send the request again.",
        ),
        retry_after=True,
    ),
    "InternalError": _problem(
        "Something went wrong. To repeat an insert safely, send it with its `Idempotency-Key`; "
        "if it had none, with `instance` as its key.",
        Problem.example(
            ProblemType.INTERNAL_ERROR,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "Something went wrong on our side. Quote the request id in instance to the operator.",
        ),
    ),
    "BadGateway": _problem(
        "The function failed. To repeat an insert safely, see 500.",
        Problem.example(ProblemType.INTERNAL_ERROR, HTTPStatus.BAD_GATEWAY, "The function has failed."),
        retry_after=True,
    ),
    "IncompleteInsert": _problem(
        "The table could not take all records in time. `inserted` records are stored; the same request with "
        "`idempotency_key` as its `Idempotency-Key` stores the rest.",
        Incomplete.example(
            ProblemType.INCOMPLETE,
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The metering table took 99 of 5000 record(s) in time. Send the request again with the header "
            f"Idempotency-Key: {_IDEMPOTENCY_KEY}; what is in is not written again.",
            inserted=99,
            idempotency_key=_IDEMPOTENCY_KEY,
        ),
        _UNAVAILABLE,
        retry_after=True,
    ),
    "Unavailable": _problem("The table did not answer in time.", _UNAVAILABLE, retry_after=True),
    "GatewayTimeout": _problem(
        "The function did not answer in time. To repeat an insert safely, see 500.",
        Problem.example(
            ProblemType.GATEWAY_TIMEOUT,
            HTTPStatus.GATEWAY_TIMEOUT,
            "The function did not answer in time.",
        ),
        retry_after=True,
    ),
}
