"""The OpenAPI document: requests from the functions' routes, answers from ``tools.openapi.answers``.

The rest is written by hand in ``skeleton.json``, with the successful answers and their examples.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import cast

from pydantic import JsonValue, TypeAdapter

from infra.functions import FUNCTIONS
from metering_handlers.contract.limits import MAX_QUANTITY
from metering_handlers.contract.queries import Instant
from metering_handlers.http.resolver import MeteringResolver
from tools.example_requests import INSERT_MANY, INSERT_ONE
from tools.local_cloud.steps import PROJECT
from tools.openapi import answers
from tools.openapi.answers import JsonObject

FILE = PROJECT / "docs" / "openapi.json"

_SKELETON = Path(__file__).with_name("skeleton.json")
_ANY_PROBLEMS = ["Forbidden", "TooManyRequests", "InternalError", "BadGateway", "GatewayTimeout"]
_INSERT_PROBLEMS = [
    *("InvalidInsert", "KeyConflict", "PayloadTooLarge", "UnsupportedMediaType", "UnprocessableInsert"),
    "IncompleteInsert",
]
_LIST_PROBLEMS = ["InvalidListing", "UnprocessableListing", "Unavailable"]
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


def text() -> str:
    """Generate the text of ``docs/openapi.json`` from the functions."""
    return json.dumps(_build(), indent=2, ensure_ascii=False) + "\n"


def _build() -> JsonObject:
    document: JsonObject = json.loads(_SKELETON.read_text(encoding="utf-8"))
    paths: JsonObject = {}
    schemas: JsonObject = {}
    for resolver in _resolvers():
        part = cast("JsonObject", _tidied(json.loads(resolver.get_openapi_json_schema())))
        paths |= part["paths"]
        schemas |= part["components"]["schemas"]
    for item in paths.values():
        for operation in item.values():
            _complete(operation, document["components"]["responses"])
    # Powertools' validation errors; this API has its own.
    schemas = {name: schema for name, schema in schemas.items() if not name.endswith("ValidationError")}
    document["info"]["version"] = version("marketplace-metering-api")
    document["paths"] = paths
    document["components"] |= {
        "schemas": schemas | {"Instant": TypeAdapter(Instant).json_schema()} | answers.SCHEMAS,
        "responses": answers.RESPONSES,
    }
    _mend(document)
    return document


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


def _mend(node: object) -> None:
    """Write all schemas as generators of clients need them.

    Many know ``enum`` and not ``const``, and read an integer without a format as one of 32 bits.
    """
    if isinstance(node, dict):
        if "const" in node:
            node["enum"] = [node.pop("const")]
        if node.get("type") == "integer":
            maximum = max(node.get("enum", [node.get("maximum", math.inf)]))
            node["format"] = "int32" if maximum <= MAX_QUANTITY else "int64"
        for child in node.values():
            _mend(child)
    elif isinstance(node, list):
        for child in node:
            _mend(child)


def _complete(operation: JsonObject, successes: JsonObject) -> None:
    """Complete an operation with what its route does not define."""
    for parameter in operation["parameters"]:
        # Powertools writes the names of headers in lower case.
        if parameter["in"] == "header":
            parameter["name"] = parameter["name"].title()
        schema = parameter["schema"]
        # Some clients send a declared default, PHP's as ``dry_run=0``, which is refused.
        schema.pop("default", None)
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        if parameter["name"] in {"from", "to"}:
            # A schema without a name gets one of the generator's.
            parameter["schema"] = {"$ref": "#/components/schemas/Instant"}
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
        link = {
            "operationId": "listMeteringRecords",
            "description": "What is stored, and whether it was billed.",
            "parameters": {"customerIdentifier": f"$request.{customer}"},
        }
        success, problems = successes["Inserted"] | {"links": {"listing": link}}, _INSERT_PROBLEMS
    else:
        success, problems = successes["Listed"], _LIST_PROBLEMS
    names = [*_ANY_PROBLEMS, *problems, *(["NotFound"] if has_customer else [])]
    operation["responses"] = {"200": success} | {
        str(answers.PROBLEMS[name][0].value): {"$ref": f"#/components/responses/{name}"}
        for name in sorted(names, key=lambda name: answers.PROBLEMS[name][0])
    }
