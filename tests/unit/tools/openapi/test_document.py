"""docs/openapi.json, and the report of its drift."""

import json
from pathlib import Path

import pytest

from tests.unit.contract import DOCUMENT
from tools.openapi import __main__ as command_line
from tools.openapi import document


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the file, to be changed."""
    copy = tmp_path / "openapi.json"
    copy.write_text(document.text())
    monkeypatch.setattr(document, "FILE", copy)
    return copy


def run(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    monkeypatch.setattr("sys.argv", ["openapi", command])
    return command_line.main()


def test_the_kept_file_is_what_the_functions_say() -> None:
    assert document.drift() == ""


def test_drift_is_shown_and_so_is_the_way_out(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.write_text(kept.read_text().replace('"maxItems": 25,', '"maxItems": 26,'))

    assert run(monkeypatch, "check") == 1

    shown = capsys.readouterr().err
    assert '-            "maxItems": 26,' in shown
    assert '+            "maxItems": 25,' in shown
    assert "make openapi" in shown


def test_a_file_written_anew_has_no_drift(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.unlink()

    assert run(monkeypatch, "write") == 0
    assert run(monkeypatch, "check") == 0


def test_operations_have_names_to_make_clients_of() -> None:
    operations = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]

    assert [operation["operationId"] for operation in operations] == [
        "insertMeteringRecord",
        "insertMeteringRecords",
        "listMeteringRecords",
    ]


def test_limits_are_the_functions() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    assert schemas["BulkUsage"]["properties"]["buyers"]["maxItems"] == 10_000
    assert schemas["MeteredDimension"]["properties"]["dimension_value"]["maximum"] == 2_147_483_647
    assert schemas["MeteredDimension"]["additionalProperties"] is False


def test_both_ways_to_be_let_in_are_described() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]

    assert DOCUMENT["security"] == [{"sigV4": []}, {"apiKey": []}]
    assert schemes["sigV4"]["x-amazon-apigateway-authtype"] == "awsSigv4"
    assert schemes["apiKey"]["name"] == "x-api-key"


def test_nothing_of_the_workings_of_pydantic_is_left() -> None:
    text = json.dumps(DOCUMENT)

    assert "HTTPValidationError" not in text
    assert '"type": "null"' not in text


def test_only_answers_that_are_safe_to_repeat_ask_for_it() -> None:
    responses = DOCUMENT["components"]["responses"]

    assert {name for name, answer in responses.items() if "Retry-After" in answer.get("headers", {})} == {
        "TooManyRequests",
        "IncompleteInsert",
        "Unavailable",
    }
