"""docs/openapi.json: it is up to date, and its examples and schemas suit its users."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.unit.contract import DOCUMENT, resolved, validators
from tools.openapi import document
from tools.openapi.__main__ import main

OPERATIONS: list[tuple[str, str, Any]] = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]
SCHEMAS = DOCUMENT["components"]["schemas"]


def test_check_refuses_a_file_that_is_not_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("check") == 0
    monkeypatch.setattr(document, "FILE", tmp_path / "openapi.json")
    assert main("write") == 0
    assert main("check") == 0
    document.FILE.write_text(document.FILE.read_text().replace('"maxItems": 25,', '"maxItems": 26,'))

    assert main("check") == 1
    assert "make openapi" in capsys.readouterr().err


def test_operations_and_limits_are_those_that_callers_know() -> None:
    assert [operation["operationId"] for _, _, operation in OPERATIONS] == [
        *("insertMeteringRecord", "insertMeteringRecords", "listMeteringRecords"),
    ]
    assert SCHEMAS["BulkUsage"]["properties"]["buyers"]["maxItems"] == 10_000
    dimension = SCHEMAS["MeteredDimension"]
    assert dimension["properties"]["dimension_value"]["maximum"] == 2_147_483_647
    assert dimension["additionalProperties"] is False


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_every_example_is_valid(method: str, path: str, operation: Any) -> None:  # noqa: ANN401 - JSON
    for status, answer in operation["responses"].items():
        for media_type, content in resolved(answer)["content"].items():
            for example in content["examples"].values():
                validators(method, path)[int(status), media_type].validate(example["value"])
    requests = [*operation["parameters"], *operation.get("requestBody", {}).get("content", {}).values()]
    for request in requests:
        schema = request["schema"] | {"components": DOCUMENT["components"]}
        given = [example["value"] for example in request.get("examples", {}).values()]
        for value in given + request["schema"].get("examples", []):
            jsonschema_rs.validate(schema, value, validate_formats=True)


def objects_in(node: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - JSON
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects_in(child)


def test_generated_clients_read_every_schema() -> None:
    """They read numbers without a format as 32 bits, may send defaults, which totals refuse and PHP sends as
    ``dry_run=0``, and in Go and Java cannot tell the schemas of a choice apart."""
    numbers = [schema for schema in objects_in(DOCUMENT) if schema.get("type") in ("integer", "number")]
    parameters = [
        parameter["schema"] for _, _, operation in OPERATIONS for parameter in operation["parameters"]
    ]
    answers = [SCHEMAS["InsertAnswer"], SCHEMAS["ListAnswer"]]

    assert len(numbers) > 20
    assert [schema for schema in numbers if "format" not in schema] == []
    assert [schema for schema in parameters if "default" in schema] == []
    assert [schema for schema in answers if "oneOf" in schema or "anyOf" in schema] == []


def test_only_answers_that_are_safe_to_repeat_ask_for_it() -> None:
    responses = DOCUMENT["components"]["responses"]
    asking = {name for name, answer in responses.items() if "Retry-After" in answer["headers"]}

    assert asking == {"TooManyRequests", "IncompleteInsert", "Unavailable"}
