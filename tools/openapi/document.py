"""The OpenAPI document: requests from the functions' routes, and answers from ``tools.openapi.answers``."""

from __future__ import annotations

import difflib
import importlib
import json
import os
from typing import TYPE_CHECKING, cast

from aws_lambda_powertools.event_handler.openapi.merge import OpenAPIMerge
from aws_lambda_powertools.event_handler.openapi.models import (
    Contact,
    License,
    Server,
    ServerVariable,
    Tag,
)

from infra.functions import FUNCTIONS
from tools.example_requests import INSERT_MANY, INSERT_ONE
from tools.local_cloud.steps import PROJECT, shown
from tools.openapi import answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from metering_handlers.http.resolver import MeteringResolver
    from tools.openapi.answers import JsonObject

FILE = PROJECT / "docs" / "openapi.json"
VERSION = "1.0.0"

_DESCRIPTION = """\
Stores the usage of an AWS Marketplace product's buyers in the table from which the AWS Marketplace SaaS \
quickstart bills it.

**Exactly once.** Give each entry a `transaction_id` of your own: for one customer, usage with the same id \
is stored once, in whatever request, order or company it comes again. For usage without ids, send each \
insert with an `Idempotency-Key`, and repeat it with the same key until it is answered with 200.

**Errors** are problem details (RFC 9457). `type` tells programs which problem it is; `errors` lists every \
rule that a request breaks.
"""

_TAGS: list[Tag | str] = [
    Tag(name="Inserting", description="Report usage."),
    Tag(name="Listing", description="See what is stored, and whether it was billed."),
]
_SERVERS = [
    Server(
        url="https://{apiId}.execute-api.{region}.amazonaws.com/prod",
        description="The API as deployed; its URL is the stack's output ApiUrl.",
        variables={
            "apiId": ServerVariable(default="abcde12345", description="The API's id."),
            "region": ServerVariable(default="us-east-1", description="The AWS region it is deployed to."),
        },
    ),
    Server(
        url="https://{address}",
        description="The API with `params.domain`; its URL is the stack's output ApiUrl. Sign for the region "
        "of the API, which this URL does not contain.",
        variables={
            "address": ServerVariable(
                default="metering.example.com/billing", description="The domain's name and base path."
            ),
        },
    ),
]
_SECURITY_SCHEMES: JsonObject = {
    "sigV4": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "With `params.authorization` IAM, the default: AWS Signature Version 4 for the "
        "service `execute-api`, by an identity that may call `execute-api:Invoke`.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "With `params.authorization` API_KEY: the key that the stack creates.",
    },
}
_GATEWAY_ANSWERS = {
    "403": "Forbidden",
    "429": "TooManyRequests",
    "500": "InternalError",
    "502": "BadGateway",
    "504": "GatewayTimeout",
}
_INSERT_ANSWERS = _GATEWAY_ANSWERS | {
    "400": "InvalidInsert",
    "409": "KeyConflict",
    "413": "PayloadTooLarge",
    "415": "UnsupportedMediaType",
    "422": "UnprocessableInsert",
    "503": "IncompleteInsert",
}
_LIST_ANSWERS = _GATEWAY_ANSWERS | {
    "400": "InvalidListing",
    "422": "UnprocessableListing",
    "503": "Unavailable",
}
_TRANSACTION_ID = {"transaction_id": "2026-11-23T10"}
_EXAMPLES: Mapping[str, Mapping[str, tuple[str, object]]] = {
    "insertMeteringRecord": {
        "seed": ("Two dimensions of one customer", INSERT_ONE),
        "id": ("With an id of your own", INSERT_ONE | _TRANSACTION_ID),
    },
    "insertMeteringRecords": {
        "seed": ("The same customer twice: added up to one record", INSERT_MANY),
        "id": ("With an id of your own", {"buyers": [INSERT_MANY["buyers"][0] | _TRANSACTION_ID]}),
    },
}


def build() -> JsonObject:
    """Generate the document from the functions.

    Returns
    -------
    JsonObject
        An OpenAPI 3.1 document.
    """
    merge = OpenAPIMerge(
        title="Marketplace Metering API",
        version=VERSION,
        summary="Reports usage of AWS Marketplace products, exactly once.",
        description=_DESCRIPTION,
        tags=_TAGS,
        servers=_SERVERS,
        contact=Contact(name="The Marketplace Metering API contributors"),
        license_info=License(name="MIT No Attribution", identifier="MIT-0"),
        security=[{name: []} for name in _SECURITY_SCHEMES],
        on_conflict="error",
    )
    for resolver in _resolvers():
        schema = _tidied(json.loads(resolver.get_openapi_json_schema()))
        merge.add_schema(cast("JsonObject", schema))
    document = merge.get_openapi_schema()
    for item in document["paths"].values():
        for operation in item.values():
            _complete(operation)
    schemas = {
        name: schema
        for name, schema in document["components"]["schemas"].items()
        # Powertools' validation errors; this API has its own.
        if not name.endswith("ValidationError")
    }
    document["components"] = {
        "schemas": schemas | answers.SCHEMAS,
        "responses": answers.RESPONSES,
        "headers": answers.HEADERS,
        "securitySchemes": _SECURITY_SCHEMES,
    }
    return document


def text() -> str:
    """Return the document as the text of ``docs/openapi.json``."""
    return json.dumps(build(), indent=2, ensure_ascii=False) + "\n"


def drift() -> str:
    """Compare ``docs/openapi.json`` with the functions.

    Returns
    -------
    str
        The changes that the file lacks, as a unified diff; empty if it is up to date.
    """
    kept = FILE.read_text() if FILE.exists() else ""
    lines = difflib.unified_diff(
        kept.splitlines(keepends=True), text().splitlines(keepends=True), shown(FILE), "the functions", n=2
    )
    return "".join(lines)


def _resolvers() -> list[MeteringResolver]:
    # The functions read environment variables and create their clients when they are imported.
    for name in ("METERING_TABLE_NAME", "IDEMPOTENCY_TABLE_NAME", "POWERTOOLS_METRICS_NAMESPACE"):
        os.environ.setdefault(name, "none")
    os.environ.setdefault("IDEMPOTENCY_HOURS", "24")
    os.environ.setdefault("TRANSACTION_ID_DAYS", "90")
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

    return [importlib.import_module(f"metering_handlers.{spec.module}").app for spec in FUNCTIONS]


def _tidied(node: JsonValue) -> JsonValue:
    """Remove what pydantic adds and OpenAPI does not need, and write whole numbers as integers."""
    match node:
        case dict():
            kept = {name: _tidied(value) for name, value in node.items() if name != "title"}
            # Pydantic writes an optional parameter as "or null"; in OpenAPI it is one that is not required.
            match kept.get("anyOf"):
                case [dict(alternative), {"type": "null"}]:
                    del kept["anyOf"]
                    return alternative | kept
            return kept
        case list():
            return [_tidied(entry) for entry in node]
        case float() if node.is_integer():
            return int(node)
        case str():
            return node.replace("``", "`")
        case _:
            return node


def _complete(operation: JsonObject) -> None:
    """Complete an operation with what its route does not define."""
    for parameter in operation["parameters"]:
        # Powertools writes the names of headers in lower case.
        if parameter["in"] == "header":
            parameter["name"] = parameter["name"].title()
        schema = parameter["schema"]
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        if parameter["required"]:
            # Pages that try the operation fill these in.
            parameter["examples"] = {value: {"value": value} for value in schema.pop("examples")}
    has_customer = any(parameter["in"] == "path" for parameter in operation["parameters"])
    if "requestBody" in operation:
        (media_type,) = operation["requestBody"]["content"].values()
        media_type["examples"] = {
            name: {"summary": summary, "value": value}
            for name, (summary, value) in _EXAMPLES[operation["operationId"]].items()
        }
        customer = "path.customerIdentifier" if has_customer else "body#/buyers/0/customerIdentifier"
        success = answers.INSERTED | {
            "links": {
                "listing": {
                    "operationId": "listMeteringRecords",
                    "description": "What is stored, and whether it was billed.",
                    "parameters": {"customerIdentifier": f"$request.{customer}"},
                }
            }
        }
        others = _INSERT_ANSWERS
    else:
        success, others = answers.LISTED, _LIST_ANSWERS
    if has_customer:
        others = others | {"404": "NotFound"}
    operation["responses"] = {"200": success} | {
        status: {"$ref": f"#/components/responses/{others[status]}"} for status in sorted(others)
    }
