"""Structured logs of the functions."""

import io
import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from metering_handlers.api import logger
from tests.environment import METERING_TABLE_NAME
from tests.unit.lambda_calls import Api, buyer, usage
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


def test_a_request_leaves_one_line_with_its_correlation_id(api: Api, log: Log) -> None:
    api.insert_many({"buyers": [buyer("c", m=1), buyer("d", m=1)]})

    (line,) = log.lines
    assert line["correlation_id"] == EXTENDED_REQUEST_ID
    assert line["route"] == "/insertMeteringRecords"
    assert line["status"] == 200
    assert line["records"] == 2
    assert line["retries"] == 0
    assert line["duration_ms"] >= 0


def test_a_refused_request_leaves_one_line_that_names_the_problem(api: Api, log: Log) -> None:
    api.insert_one("c", "{")

    (line,) = log.lines
    assert (line["status"], line["problem"]) == (400, "malformed-json")


def test_one_requests_keys_are_not_in_the_next_requests_line(api: Api, log: Log) -> None:
    api.insert_one("c", "{")
    api.insert_one("c", usage(m=1))

    assert "problem" not in log.lines[-1]


@pytest.mark.parametrize("body", [usage(secretdimension=1), usage(secretdimension="x"), '{"secretdimension"'])
def test_no_payload_and_no_signature_is_logged(api: Api, log: Log, body: object) -> None:
    api.insert_one("secretcustomer", body, {"Authorization": "AWS4-HMAC-SHA256 Signature=secretsignature"})

    assert "secret" not in log.text


def test_an_unexpected_error_is_a_500_without_internals_and_a_line_with_the_traceback(
    api: Api, dynamodb: "DynamoDBClient", log: Log
) -> None:
    dynamodb.delete_table(TableName=METERING_TABLE_NAME)

    answer = api.insert_one("c", usage(m=1))

    assert answer.status == 500
    assert answer.body == {
        "type": "urn:marketplace-metering:problem:internal-error",
        "title": "Internal error",
        "status": 500,
        "detail": "Something went wrong on our side. Quote the request id in instance to the operator.",
        "instance": EXTENDED_REQUEST_ID,
    }
    error, answered = log.lines
    assert error["level"] == "ERROR"
    assert "ResourceNotFoundException" in error["exception"]
    assert (answered["status"], answered["correlation_id"]) == (500, EXTENDED_REQUEST_ID)


def test_inserted_records_are_counted(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.insert_many({"buyers": [buyer("c", m=1), buyer("d", m=1)]})

    (metric,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert metric["RecordsInserted"] == [2.0]
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "MarketplaceMetering"
