"""Throttled requests continue at the rate of a partition (in virtual time)."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers.inserting import pacing, request_state, writer
from metering_handlers.inserting.canonical_form import CanonicalEntry
from metering_handlers.inserting.writer import Written
from tools.benchmarks.dynamodb_stub import StubError, Tables, WriteLimits

ROUND_TRIP_SECONDS = 0.01
CUSTOMERS = [f"c{number:05}" for number in range(10_000)]


class _Exceptions:
    class TransactionCanceledException(ClientError):  # noqa: N818 - botocore's name
        pass


class LimitedDynamoDB:
    """DynamoDB's client at the partitions' limits, and the clock: stands in for the ``time`` module, too."""

    exceptions = _Exceptions

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cancelled = 0
        self.limits = WriteLimits(self.monotonic)
        self._tables = Tables(self.limits)

    def monotonic(self) -> float:
        return 1_000 + self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def transact_write_items(self, **request: object) -> dict[str, Any]:
        self.sleep(ROUND_TRIP_SECONDS)
        try:
            return self._tables.answer("TransactWriteItems", request)
        except StubError as error:
            self.cancelled += 1
            response: Any = {"Error": {"Code": error.code}, **error.members}
            raise _Exceptions.TransactionCanceledException(response, "TransactWriteItems") from error

    def write(
        self, *customers: str, key: str | None, ids: int = 0, dimensions: tuple[str, ...] = ("m",)
    ) -> Written:
        """Write usage of each customer, without id or with as many ids, in one request within 27 s."""
        names = [f"{number:05}" for number in range(ids)] or [""]
        entries = [
            CanonicalEntry(customer, name, dict.fromkeys(dimensions, 1), 1)
            for customer in customers
            for name in names
        ]
        tables = request_state.Tables(cast("DynamoDBClient", self), "records", "rows", 24, 90)
        request = request_state.InsertRequest(
            entries, key, "request", 1_795_446_956_551, lambda: int((27 - self.seconds) * 1_000)
        )
        return writer.write(tables, request)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> LimitedDynamoDB:
    limited = LimitedDynamoDB()
    monkeypatch.setattr(pacing, "time", limited)
    monkeypatch.setattr(writer, "WRITE_PARALLELISM", 1)
    return limited


@pytest.mark.parametrize(("ids", "key"), [(0, "key"), (1, None)])
def test_10000_customers_go_at_the_indexs_rate(limited: LimitedDynamoDB, ids: int, key: str | None) -> None:
    written = limited.write(*CUSTOMERS, ids=ids, key=key)

    assert len(written.records) == written.inserted == 10_000
    assert limited.seconds < 1.1 * 10


def test_10000_entries_of_one_customer_are_hardly_throttled(limited: LimitedDynamoDB) -> None:
    """A record for each 98 entries; the calls alone take a second."""
    written = limited.write("c", ids=10_000, key="key")

    assert (len(written.records), written.entries) == (103, 10_000)
    assert limited.seconds < 2
    assert limited.cancelled < 10


def test_the_largest_records_are_written(limited: LimitedDynamoDB) -> None:
    dimensions = tuple(f"{number:02}" + "\N{GRINNING FACE}" * 253 for number in range(25))

    assert limited.write(*CUSTOMERS[:198], dimensions=dimensions, key="key").inserted == 198
    assert limited.cancelled <= 4


@pytest.mark.parametrize("key", ["key", None])
def test_a_chunk_that_is_always_throttled_backs_off(
    limited: LimitedDynamoDB, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    monkeypatch.setattr(limited.limits, "prepare", lambda puts: itertools.repeat(False, len(puts)))

    with pytest.raises(writer.IncompleteWriteError) as caught:
        limited.write("c", ids=1, key=key)

    assert caught.value.written.throttled_chunks == 1
    assert limited.cancelled < 200
