"""Log lines and metrics of the functions."""

import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers.http.resolver import logger
from tests.environment import METERING_TABLE_NAME
from tests.unit.lambda_calls import KEY, Api, buyer, buyers, usage


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    return stream


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_request_leaves_one_line_with_its_outcome(api: Api, log: io.StringIO) -> None:
    api.insert_one("d", usage("t", m=1))
    api.request_time += 1_000
    entries = [buyer("c", m=1), buyer("c", m=2, n=3), buyer("d", "t", m=1), buyer("e", m=1)]
    api.insert_many(buyers(*entries), KEY)

    single, line = parsed(log.getvalue())
    assert (single["customer"], single["quantity"], single["entries"]) == ("d", 1, 1)
    assert "idempotency_key" not in single
    assert "customer" not in line
    assert line["correlation_id"] == "JKJaXmPLvHc0001="
    assert line["duration_ms"] >= 0
    assert (line["route"], line["status"], line["idempotency_key"]) == (
        "/insertMeteringRecords",
        200,
        "order 66",
    )
    counts = {"quantity": 8, "entries": 4, "duplicates": 1, "records": 2, "inserted": 2, "chunks": 1}
    assert {name: line[name] for name in counts} == counts
    zeros = [line[name] for name in ("retries", "slots_moved", "throttled_chunks", "replayed")]
    assert zeros == [0, 0, 0, False]


def test_a_problem_is_named_in_its_requests_line_only(
    api: Api, dynamodb: DynamoDBClient, log: io.StringIO
) -> None:
    api.insert_one("c", "{")
    api.insert_one("c", usage(m=1))
    api.context.remaining_ms = 0
    api.insert_one("c", usage(m=7))
    api.context.remaining_ms = 27_000
    dynamodb.delete_table(TableName=METERING_TABLE_NAME)
    api.insert_one("c", usage(m=1))

    malformed, answered, incomplete, error, unexpected = parsed(log.getvalue())
    assert (malformed["status"], malformed["problem"]) == (400, "malformed-json")
    assert "problem" not in answered
    assert (incomplete["status"], incomplete["problem"], incomplete["entries"]) == (503, "incomplete", 0)
    assert (incomplete["customer"], incomplete["quantity"]) == ("c", 7)
    assert error["level"] == "ERROR"
    assert "ResourceNotFoundException" in error["exception"]
    assert (unexpected["status"], unexpected["correlation_id"]) == (500, error["correlation_id"])


@pytest.mark.parametrize(
    "body",
    [usage("secretid", secretdimension=1), usage("secretid", secretdimension="x"), '{"secretdimension"'],
)
def test_no_payload_and_no_signature_is_logged(api: Api, log: io.StringIO, body: object) -> None:
    api.insert_one("c", body, {"Authorization": "AWS4-HMAC-SHA256 Signature=secretsignature"})
    api.insert_many(buyers(buyer("secretcustomer", m=1)))

    assert len(parsed(log.getvalue())) == 2
    assert "secret" not in log.getvalue()


def test_metrics_count_what_happened(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    body = buyers(buyer("c", m=1), buyer("d", "t", m=1))
    api.insert_many(body)
    api.request_time += 1_000
    api.insert_many(body)
    api.insert_one("c", usage(m=1))
    for _ in range(2):
        api.insert_one("e", usage(m=1), KEY)
    api.context.remaining_ms = 0
    api.insert_one("c", usage(m=1))

    metrics = [line for line in parsed(capsys.readouterr().out) if "_aws" in line]
    assert [
        {name: value[0] for name, value in metric.items() if isinstance(value, list)} for metric in metrics
    ] == [
        {"RecordsInserted": 2},
        {"RecordsInserted": 1, "Duplicates": 1},
        {"RecordsInserted": 1, "SlotsMoved": 1},
        {"RecordsInserted": 1},
        {"RecordsInserted": 0, "Replays": 1},
        {"RecordsInserted": 0, "IncompleteRequests": 1},
    ]
    assert metrics[0]["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "MarketplaceMetering"


@pytest.mark.parametrize(
    ("level", "logged"),
    [("", ["INFO", "ERROR"]), ("WARNING", ["ERROR"]), ("debug", ["DEBUG", "INFO", "ERROR"])],
)
def test_the_log_level_counts_under_lambdas_json_format(level: str, logged: list[str]) -> None:
    """There, AWS_LAMBDA_LOG_LEVEL is always set. Metrics are written at every level."""
    code = """
from metering_handlers.http.resolver import logger, metrics
logger.debug("debug")
logger.info("info")
logger.error("error")
metrics.add_metric("Replays", "Count", 1)
metrics.flush_metrics()
"""
    lambdas = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO", "METERING_LOG_LEVEL": level}

    run = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], env=os.environ | lambdas, capture_output=True, text=True, check=True
    )

    *lines, metric = parsed(run.stdout)
    assert [line["level"] for line in lines] == logged
    assert metric["Replays"] == [1.0]
    assert run.stderr == ""
