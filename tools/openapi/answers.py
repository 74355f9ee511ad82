"""What the API answers, as OpenAPI components.

The functions render their answers themselves, because models for that would cost them time at their start.
That what stands here is true is for the contract tests to show.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from metering_handlers.problems import MAX_LISTED_VIOLATIONS, PROBLEM_JSON
from tools.local_cloud.demo import CUSTOMER

JsonObject = dict[str, Any]

_REQUEST_ID = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
_IDEMPOTENCY_KEY = "usage-2026-11-23T10"
_TIMESTAMP = 1795446956551
_KEY = {"customerIdentifier": CUSTOMER, "create_timestamp": _TIMESTAMP}

HEADERS: JsonObject = {
    "IdempotentReplayed": {
        "description": "There when nothing was written, because an earlier request with this "
        "`Idempotency-Key` had stored it all.",
        "schema": {"const": "true", "type": "string"},
    },
    "PreferenceApplied": {
        "description": "There when the request preferred `return=representation`, and got it.",
        "schema": {"const": "return=representation", "type": "string"},
    },
    "RetryAfter": {
        "description": "How many seconds to wait before the next try.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 5,
    },
}

_RECORD_KEY: JsonObject = {
    "customerIdentifier": {"type": "string", "examples": [CUSTOMER]},
    "create_timestamp": {
        "type": "number",
        "description": "When it was inserted: whole milliseconds since 1970-01-01T00:00:00Z. "
        "Records put there by hand may have another number.",
        "examples": [_TIMESTAMP],
    },
}

SCHEMAS: JsonObject = {
    "RecordKey": {
        "type": "object",
        "description": "What identifies a stored record.",
        "required": list(_RECORD_KEY),
        "properties": _RECORD_KEY,
    },
    "Inserted": {
        "type": "object",
        "description": "Everything is stored.",
        "properties": {
            "records": {
                "type": "array",
                "description": "With `Prefer: return=representation`: one for each entry, in their order.",
                "items": {"$ref": "#/components/schemas/RecordKey"},
            }
        },
    },
    "StoredUsage": {
        "type": "object",
        "description": "How much of one dimension was used.",
        "required": ["dimension", "value"],
        "properties": {
            "dimension": {
                "description": "The dimension's API identifier: a string, unless put otherwise by hand.",
                "examples": ["metered_1_id"],
            },
            "value": {
                "description": "The quantity: a whole number, unless put otherwise by hand.",
                "examples": [10],
            },
        },
    },
    "MeteringRecord": {
        "type": "object",
        "description": "A stored record. One that was put there by hand is shown as well as it can be.",
        "required": [*_RECORD_KEY, "dimension_usage", "status", "metering_response"],
        "properties": {
            **_RECORD_KEY,
            "dimension_usage": {"type": "array", "items": {"$ref": "#/components/schemas/StoredUsage"}},
            "status": {
                "$ref": "#/components/schemas/RecordStatus",
                "description": "`pending` until the hourly job has sent it; then `metered`, or `failed` "
                "if AWS Marketplace did not take it.",
            },
            "metering_response": {
                "description": "What BatchMeterUsage answered; null as long as the record is pending.",
            },
            "request_id": {
                "description": "The request that inserted it; absent if it did not come by this API.",
                "examples": [_REQUEST_ID],
            },
        },
    },
    "RecordPage": {
        "type": "object",
        "description": "One page of a customer's records.",
        "required": ["records", "next_token"],
        "properties": {
            "records": {"type": "array", "items": {"$ref": "#/components/schemas/MeteringRecord"}},
            "next_token": {
                "type": ["string", "null"],
                "description": "Where the next page starts; null if this is the last.",
            },
        },
    },
    "Problem": {
        "type": "object",
        "description": "Any answer but success (RFC 9457).",
        "required": ["type", "title", "status", "detail", "instance"],
        "properties": {
            "type": {"type": "string", "format": "uri", "description": "Which problem it is, for programs."},
            "title": {"type": "string", "description": "Which problem it is, for people."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": {"type": "string", "description": "What was wrong, and what to do."},
            "instance": {"type": "string", "description": "The request's id; quote it to the operator."},
        },
    },
    "Violation": {
        "type": "object",
        "description": "One broken rule.",
        "required": ["location", "pointer", "code", "detail"],
        "properties": {
            "location": {
                "type": "string",
                "enum": ["body", "path", "query", "header"],
                "description": "The part of the request.",
            },
            "pointer": {"type": "string", "description": "Where in that part: a JSON pointer (RFC 6901)."},
            "code": {"type": "string", "description": "The rule, for programs."},
            "detail": {"type": "string", "description": "What to change, for people."},
        },
    },
    "Violations": {
        "type": "array",
        "description": f"All the rules that the request breaks, at most {MAX_LISTED_VIOLATIONS} of them.",
        "minItems": 1,
        "maxItems": MAX_LISTED_VIOLATIONS,
        "items": {"$ref": "#/components/schemas/Violation"},
    },
}

INSERTED: JsonObject = {
    "description": "Everything is stored; or was, if the request repeats another.",
    "headers": {
        "Idempotent-Replayed": {"$ref": "#/components/headers/IdempotentReplayed"},
        "Preference-Applied": {"$ref": "#/components/headers/PreferenceApplied"},
    },
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/Inserted"},
            "examples": {
                "empty": {"summary": "As a rule", "value": {}},
                "representation": {
                    "summary": "With Prefer: return=representation",
                    "value": {"records": [_KEY]},
                },
            },
        }
    },
}

LISTED: JsonObject = {
    "description": "One page of the customer's records; an empty one if there are none.",
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/RecordPage"},
            "examples": {
                "page": {
                    "summary": "A record that is still pending",
                    "value": {
                        "records": [
                            {
                                **_KEY,
                                "dimension_usage": [
                                    {"dimension": "metered_1_id", "value": 10},
                                    {"dimension": "metered_3_id", "value": 20},
                                ],
                                "status": "pending",
                                "metering_response": None,
                                "request_id": _REQUEST_ID,
                            }
                        ],
                        "next_token": None,
                    },
                }
            },
        }
    },
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


@dataclass(frozen=True)
class _Case:
    """One problem that a status may stand for.

    Parameters
    ----------
    slug : str
        The problem's stable name.
    detail : str
        An example of what its answer says.
    members : JsonObject | None
        An example of its further members.
    """

    slug: str
    detail: str
    members: JsonObject | None = None


def _violation(location: str, pointer: str, code: str, detail: str) -> JsonObject:
    violation = {"location": location, "pointer": pointer, "code": code, "detail": detail}
    return {"errors": [violation]}


def _problem(status: HTTPStatus, description: str, *cases: _Case, retry_after: bool = False) -> JsonObject:
    members: JsonObject = {
        "type": {"enum": [f"urn:marketplace-metering:problem:{case.slug}" for case in cases]},
        "status": {"const": status.value},
    }
    extra = {name: value for case in cases for name, value in (case.members or {}).items()}
    if "errors" in extra:
        members["errors"] = {"$ref": "#/components/schemas/Violations"}
    if "inserted" in extra:
        members["inserted"] = {
            "type": "integer",
            "minimum": 0,
            "description": "Of a request cut short: how many of its records are stored.",
        }
        members["idempotency_key"] = {
            "type": "string",
            "description": "Of a request cut short: the `Idempotency-Key` to resume it with.",
        }
    response: JsonObject = {"description": description}
    if retry_after:
        response["headers"] = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
    response["content"] = {
        PROBLEM_JSON: {
            "schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": members}]},
            "examples": {
                case.slug: {
                    "value": {
                        "type": f"urn:marketplace-metering:problem:{case.slug}",
                        "title": case.slug.replace("-", " ").capitalize(),
                        "status": status.value,
                        "detail": case.detail,
                        "instance": _REQUEST_ID,
                        **(case.members or {}),
                    }
                }
                for case in cases
            },
        }
    }
    return response


_BAD_REQUEST = _Case("bad-request", "API Gateway could not take the request.")
_BAD_HEADER = _Case(
    "invalid-parameter",
    "The request breaks 1 rule(s); nothing was written. Correct what errors lists.",
    _violation("header", "/idempotency-key", "too_long", "must have at most 255 characters"),
)
_BAD_QUERY = _Case(
    "invalid-parameter",
    "The request breaks 1 rule(s); nothing was written. Correct what errors lists.",
    _violation("query", "/limit", "too_large", "must be at most 1000"),
)
_BAD_BODY = _Case(
    "invalid-request",
    "The request breaks 1 rule(s); nothing was written. Correct what errors lists.",
    _violation("body", "/metered_dimensions/0/dimension_value", "too_small", "must be at least 0"),
)
_BAD_PATH = _Case(
    "invalid-request",
    "The request breaks 1 rule(s); nothing was written. Correct what errors lists.",
    _violation("path", "/customerIdentifier", "too_long", "must have at most 128 characters"),
)
_UNAVAILABLE = _Case("unavailable", "The metering table did not answer in time. Try again.")

RESPONSES: JsonObject = {
    "InvalidInsert": _problem(
        HTTPStatus.BAD_REQUEST,
        "There is no body, it is not JSON, or a header is wrong. Nothing is written.",
        _Case("missing-body", "The request has no body; send a JSON object."),
        _Case("malformed-json", "The body is not JSON: Expecting value at line 1, column 1."),
        _BAD_HEADER,
        _BAD_REQUEST,
    ),
    "InvalidListing": _problem(
        HTTPStatus.BAD_REQUEST, "A query parameter is wrong or unknown.", _BAD_QUERY, _BAD_REQUEST
    ),
    "Forbidden": _problem(
        HTTPStatus.FORBIDDEN,
        "The caller may not: unsigned, wrongly signed, without the permission, or without the key.",
        _Case(
            "forbidden",
            "Sign the request with AWS Signature Version 4, as an identity that may call execute-api:Invoke "
            "on this API.",
        ),
    ),
    "NotFound": _problem(
        HTTPStatus.NOT_FOUND,
        "There is no such path.",
        _Case("not-found", "There is nothing at this path; see the API's three routes."),
    ),
    "PayloadTooLarge": _problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The body is too large. Nothing is written.",
        _Case("payload-too-large", "Split the request: its body must stay below 6 MB."),
    ),
    "UnsupportedMediaType": _problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body's content type is not JSON. Nothing is written.",
        _Case(
            "unsupported-media-type", "The body must be JSON: send it with Content-Type: application/json."
        ),
    ),
    "UnprocessableInsert": _problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The body or the path breaks a rule, or the `Idempotency-Key` came with another body before. "
        "Nothing is written.",
        _BAD_BODY,
        _Case(
            "idempotency-key-reused",
            "This Idempotency-Key was used for another payload; nothing was written. Use a new key for it.",
        ),
    ),
    "UnprocessableListing": _problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The customer identifier breaks a rule.", _BAD_PATH
    ),
    "TooManyRequests": _problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many requests a second, or in a day. Nothing is written.",
        _Case("too-many-requests", "Slow down, and send the request again."),
        retry_after=True,
    ),
    "InternalError": _problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong. To repeat an insert safely, send it with its `Idempotency-Key`; "
        "if it had none, with `instance` as its key.",
        _Case(
            "internal-error",
            "Something went wrong on our side. Quote the request id in instance to the operator.",
        ),
    ),
    "BadGateway": _problem(
        HTTPStatus.BAD_GATEWAY,
        "The function failed. To repeat an insert safely, see 500.",
        _Case("internal-error", "The function has failed."),
        retry_after=True,
    ),
    "IncompleteInsert": _problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The table could not take all of it in time. `inserted` records are stored; the same request with "
        "`idempotency_key` as its `Idempotency-Key` stores the rest.",
        _Case(
            "incomplete",
            "The metering table took 99 of 5000 record(s) in time. Send the request again with the header "
            f"Idempotency-Key: {_IDEMPOTENCY_KEY}; what is in is not written again.",
            {"inserted": 99, "idempotency_key": _IDEMPOTENCY_KEY},
        ),
        _UNAVAILABLE,
        retry_after=True,
    ),
    "Unavailable": _problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The table did not answer in time.",
        _UNAVAILABLE,
        retry_after=True,
    ),
    "GatewayTimeout": _problem(
        HTTPStatus.GATEWAY_TIMEOUT,
        "The function did not answer in time. To repeat an insert safely, see 500.",
        _Case("gateway-timeout", "The function did not answer in time."),
        retry_after=True,
    ),
}
