"""docs/openapi.json: it is up to date, and its examples and schemas suit its users."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from tests.unit.contract import DOCUMENT, resolved, validators
from tools.openapi import __main__ as command_line
from tools.openapi import document

OPERATIONS: list[tuple[str, str, Any]] = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def run(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    monkeypatch.setattr("sys.argv", ["openapi", command])
    return command_line.main()


def test_the_kept_file_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "check") == 0


def test_check_refuses_a_file_that_is_not_up_to_date(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = tmp_path_factory.mktemp("docs") / "openapi.json"
    monkeypatch.setattr(document, "FILE", kept)
    assert run(monkeypatch, "write") == 0
    assert run(monkeypatch, "check") == 0
    kept.write_text(kept.read_text().replace('"maxItems": 25,', '"maxItems": 26,'))

    assert run(monkeypatch, "check") == 1
    assert "make openapi" in capsys.readouterr().err


def test_operations_and_limits_are_those_of_the_functions() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    assert [operation["operationId"] for _, _, operation in OPERATIONS] == [
        "insertMeteringRecord",
        "insertMeteringRecords",
        "listMeteringRecords",
    ]
    assert schemas["BulkUsage"]["properties"]["buyers"]["maxItems"] == 10_000
    assert schemas["MeteredDimension"]["properties"]["dimension_value"]["maximum"] == 2_147_483_647
    assert schemas["MeteredDimension"]["additionalProperties"] is False


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


def schemas_in(node: Any) -> Iterator[Any]:  # noqa: ANN401 - JSON
    """Yield each object in the document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from schemas_in(child)


def test_generated_clients_read_numbers_exactly() -> None:
    """Without a format, they read 32 bits."""
    numbers = [schema for schema in schemas_in(DOCUMENT) if schema.get("type") in ("integer", "number")]

    assert len(numbers) > 20
    assert [schema for schema in numbers if "format" not in schema] == []


def test_no_parameter_declares_a_default() -> None:
    """Some clients send defaults: totals refuse ``order`` and ``limit``, and PHP sends ``dry_run=0``."""
    assert [
        schema for _, _, o in OPERATIONS for p in o["parameters"] if "default" in (schema := p["schema"])
    ] == []


def test_no_success_is_a_choice_of_schemas() -> None:
    """Generated clients in Go and Java cannot tell them apart."""
    answers = [DOCUMENT["components"]["schemas"][name] for name in ("InsertAnswer", "ListAnswer")]

    assert [schema for schema in answers if "oneOf" in schema or "anyOf" in schema] == []


def test_only_answers_that_are_safe_to_repeat_ask_for_it() -> None:
    responses = DOCUMENT["components"]["responses"]

    assert {name for name, answer in responses.items() if "Retry-After" in answer["headers"]} == {
        "TooManyRequests",
        "IncompleteInsert",
        "Unavailable",
    }
