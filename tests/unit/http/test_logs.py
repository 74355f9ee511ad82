"""Structured logs of the functions."""

import io
import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from metering_handlers.http.resolver import logger
from tests.environment import METERING_TABLE_NAME
from tests.unit.lambda_calls import Api, buyer, buyers, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Log:
    """The lines that the functions' logger has written."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    stream = io.StringIO()
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(stream)
    yield Log(stream)
    handler.setStream(before)


def test_a_request_leaves_one_line_with_its_outcome(api: Api, log: Log) -> None:
    api.insert_one("d", usage("t", m=1))
    api.request_time += 1_000
    api.insert_many(buyers(buyer("c", m=1), buyer("c", m=1), buyer("d", "t", m=1), buyer("e", m=1)))

    _, line = log.lines
    assert line["correlation_id"] == "JKJaXmPLvHc0000="
    assert line["duration_ms"] >= 0
    outcome = {
        "route": "/insertMeteringRecords",
        "status": 200,
        "entries": 4,
        "duplicates": 1,
        "records": 2,
        "inserted": 2,
        "chunks": 1,
        "retries": 0,
        "slots_moved": 0,
        "throttled_chunks": 0,
        "replayed": False,
    }
    assert {name: line[name] for name in outcome} == outcome


def test_an_incomplete_request_leaves_a_line_with_its_outcome(api: Api, log: Log) -> None:
    api.context.remaining_ms = 0
    api.insert_one("c", usage(m=1))

    (line,) = log.lines
    assert (line["status"], line["problem"], line["entries"]) == (503, "incomplete", 0)


def test_a_refused_request_leaves_one_line_that_names_the_problem(api: Api, log: Log) -> None:
    api.insert_one("c", "{")

    (line,) = log.lines
    assert (line["status"], line["problem"]) == (400, "malformed-json")


def test_one_requests_keys_are_not_in_the_next_requests_line(api: Api, log: Log) -> None:
    api.insert_one("c", "{")
    api.insert_one("c", usage(m=1))

    assert "problem" not in log.lines[-1]


@pytest.mark.parametrize(
    "body",
    [usage("secretid", secretdimension=1), usage("secretid", secretdimension="x"), '{"secretdimension"'],
)
def test_no_payload_and_no_signature_is_logged(api: Api, log: Log, body: object) -> None:
    api.insert_one("secretcustomer", body, {"Authorization": "AWS4-HMAC-SHA256 Signature=secretsignature"})

    assert "secret" not in log.text


def test_an_unexpected_error_leaves_a_line_with_the_traceback(
    api: Api, dynamodb: "DynamoDBClient", log: Log
) -> None:
    dynamodb.delete_table(TableName=METERING_TABLE_NAME)

    assert api.insert_one("c", usage(m=1)).status == 500

    error, answered = log.lines
    assert error["level"] == "ERROR"
    assert "ResourceNotFoundException" in error["exception"]
    assert (answered["status"], answered["correlation_id"]) == (500, EXTENDED_REQUEST_ID)


def test_what_happened_is_counted(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.insert_many(buyers(buyer("c", m=1), buyer("d", "t", m=1)))
    api.request_time += 1_000
    api.insert_many(buyers(buyer("c", m=1), buyer("d", "t", m=1)))
    api.insert_one("c", usage(m=1))
    for _ in range(2):
        api.insert_one("e", usage(m=1), {"Idempotency-Key": "order 66"})
    api.context.remaining_ms = 0
    api.insert_one("c", usage(m=1))

    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    counted = [
        {name: value[0] for name, value in metric.items() if isinstance(value, list)} for metric in metrics
    ]
    assert counted == [
        {"RecordsInserted": 2},
        {"RecordsInserted": 1, "Duplicates": 1},
        {"RecordsInserted": 1, "SlotsMoved": 1},
        {"RecordsInserted": 1},
        {"RecordsInserted": 0, "Replays": 1},
        {"RecordsInserted": 0, "IncompleteRequests": 1},
    ]
    assert {metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] for metric in metrics} == {
        "MarketplaceMetering"
    }
