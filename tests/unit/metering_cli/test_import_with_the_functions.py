"""The command and the insert function itself, whose answers the stub of the API imitates."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from metering_cli.importing import bulk
from metering_handlers.contract.limits import MAX_QUANTITY
from tests.unit import lambda_calls
from tests.unit.conftest import StoredItems
from tests.unit.metering_cli.conftest import HEADER, Importer
from tests.unit.metering_cli.stub_api import Answer, Received, StubApi


class Functions(StubApi):
    def __init__(self) -> None:
        super().__init__()
        self._functions = lambda_calls.Api()

    def answer(self, received: Received) -> Answer:
        query = {name: values[0] for name, values in parse_qs(urlsplit(received.path).query).items()}
        headers = {"Prefer": received.headers["Prefer"]}
        answer = self._functions.insert_many(received.raw_body.decode(), headers, query=query)
        return Answer(answer.status, answer.body, answer.headers)


@pytest.fixture
def importer(dynamodb: DynamoDBClient, tmp_path: Path) -> Iterator[Importer]:  # noqa: ARG001 - the function needs the tables
    with Functions() as functions:
        yield Importer(functions, tmp_path)


def test_usage_is_stored_once_and_added_up(importer: Importer, stored: StoredItems) -> None:
    lines = ["one,seats,1,a", "one,seats,1,b", "two,seats,2,a", "one,storage,3,c"]
    header = HEADER.strip() + ",transaction_id\n"

    first = importer.run(importer.csv(*lines, header=header), name="")
    month = importer.run(importer.csv(*lines[::-1], "one,seats,1,d", header=header), name="")
    differing = importer.run(importer.csv("one,seats,2,a", header=header), name="")

    assert (first.exit_code, month.exit_code) == (0, 0), first.stderr
    assert (month.summary["lines_known"], month.summary["lines_written"]) == (4, 1)
    assert (differing.exit_code, differing.places) == (1, [(2, "transaction_id")])
    assert "'a' is stored with other usage" in differing.stderr
    usage = [("one", {"seats": 2, "storage": 3}), ("one", {"seats": 1}), ("two", {"seats": 2})]
    assert stored.usage() == usage


def test_what_the_function_refuses_is_named_before_anything_is_written(
    importer: Importer, stored: StoredItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_QUANTITY", MAX_QUANTITY + 1)
    path = importer.csv(f"one,seats,{MAX_QUANTITY}", "two,seats,1", "one,seats,1")

    outcome = importer.run(path)

    assert (outcome.exit_code, outcome.places) == (1, [(4, "dimension_value")])
    assert stored.all() == []
