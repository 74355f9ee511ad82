"""The OpenAPI document: requests from the functions' routes, answers from ``tools.openapi.answers``.

The rest is written by hand in ``skeleton.json``, with the successful answers and their examples.
"""

import importlib
import json
import math
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter

from infra.functions import FUNCTIONS
from metering_handlers.contract.limits import MAX_QUANTITY
from metering_handlers.contract.queries import Instant
from tools.example_requests import INSERT_MANY, INSERT_ONE
from tools.local_cloud.steps import PROJECT
from tools.openapi import answers
from tools.openapi.answers import JsonObject

FILE = PROJECT / "docs" / "openapi.json"

_SKELETON = Path(__file__).with_name("skeleton.json")
_INSERTS_ONLY = {
    *("InvalidInsert", "KeyConflict", "PayloadTooLarge", "UnsupportedMediaType", "UnprocessableInsert"),
    "IncompleteInsert",
}
_LISTS_ONLY = {"InvalidListing", "UnprocessableListing", "Unavailable"}
_TRANSACTION_ID = {"transaction_id": "2026-11-23T10"}
_EXAMPLES: Mapping[str, Mapping[str, JsonObject]] = {
    "insertMeteringRecord": {
        "seed": {"summary": "Two dimensions of one customer", "value": INSERT_ONE},
        "id": {"summary": "With an id of your own", "value": INSERT_ONE | _TRANSACTION_ID},
    },
    "insertMeteringRecords": {
        "seed": {"summary": "The same customer twice: added up to one record", "value": INSERT_MANY},
        "id": {
            "summary": "With an id of your own",
            "value": {"buyers": [INSERT_MANY["buyers"][0] | _TRANSACTION_ID]},
        },
    },
}


def text() -> str:
    """Generate the text of ``docs/openapi.json`` from the functions."""
    # The functions read environment variables and create their clients when they are imported.
    names = ("METERING_TABLE_NAME", "IDEMPOTENCY_TABLE_NAME", "POWERTOOLS_METRICS_NAMESPACE")
    settings = {"IDEMPOTENCY_HOURS": "24", "TRANSACTION_ID_DAYS": "90", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= dict.fromkeys(names, "none") | settings | os.environ
    paths: JsonObject = {}
    schemas: JsonObject = {}
    for spec in FUNCTIONS:
        resolver = importlib.import_module(f"metering_handlers.{spec.module}").app
        routes = resolver.get_openapi_json_schema().replace("``", "`")
        part = json.loads(routes, object_hook=_tidied, parse_float=_whole_number)
        paths |= part["paths"]
        schemas |= part["components"]["schemas"]
    document: JsonObject = json.loads(_SKELETON.read_text(encoding="utf-8"))
    for item in paths.values():
        for operation in item.values():
            _complete(operation, document["components"]["responses"])
    document["info"]["version"] = version("marketplace-metering-api")
    document["paths"] = paths
    document["components"] |= {
        # Without Powertools' validation errors; this API has its own.
        "schemas": {name: schema for name, schema in schemas.items() if not name.endswith("ValidationError")}
        | {"Instant": TypeAdapter(Instant).json_schema()}
        | answers.SCHEMAS,
        "responses": answers.RESPONSES,
    }
    mended = json.loads(json.dumps(document), object_hook=_mended)
    return json.dumps(mended, indent=2, ensure_ascii=False) + "\n"


def _tidied(node: JsonObject) -> JsonObject:
    """Remove what pydantic adds and OpenAPI does not need."""
    node.pop("title", None)
    match node.get("anyOf"):
        # Pydantic writes an optional parameter as "or null"; in OpenAPI it is one that is not required.
        case [dict(alternative), {"type": "null"}]:
            del node["anyOf"]
            return alternative | node
    return node


def _whole_number(bound: str) -> int:
    return int(float(bound))


def _mended(node: JsonObject) -> JsonObject:
    """Write a schema as generators of clients need it.

    Many know ``enum`` and not ``const``, and read an integer without a format as one of 32 bits.
    """
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if node.get("type") == "integer":
        maximum = max(node.get("enum", [node.get("maximum", math.inf)]))
        node["format"] = "int32" if maximum <= MAX_QUANTITY else "int64"
    return node


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
        media_type["examples"] = _EXAMPLES[operation["operationId"]]
        customer = "path.customerIdentifier" if has_customer else "body#/buyers/0/customerIdentifier"
        link = {
            "operationId": "listMeteringRecords",
            "description": "What is stored, and whether it was billed.",
            "parameters": {"customerIdentifier": f"$request.{customer}"},
        }
        success, others = successes["Inserted"] | {"links": {"listing": link}}, _LISTS_ONLY
    else:
        success, others = successes["Listed"], _INSERTS_ONLY
    if not has_customer:
        others = others | {"NotFound"}
    operation["responses"] = {"200": success} | {
        str(status): {"$ref": f"#/components/responses/{name}"}
        for name, (status, _, _) in answers.PROBLEMS.items()
        if name not in others
    }
