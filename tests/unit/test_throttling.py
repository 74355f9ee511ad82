"""Throttled requests continue at the rate of a partition (in virtual time)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from metering_handlers import record_writer
from metering_handlers.models import BuyerUsage, MeteredDimension
from metering_handlers.record_writer import IncompleteWriteError, RecordWriter, Written
from tools.benchmarks.dynamodb_stub import StubError, Tables, WriteLimits

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ROUND_TRIP_SECONDS = 0.01


class VirtualTime:
    """Stands in for the ``time`` module."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class _Exceptions:
    class TransactionCanceledException(ClientError):  # noqa: N818 - botocore's name
        pass


class LimitedClient:
    """DynamoDB's client at the partitions' limits, in virtual time."""

    exceptions = _Exceptions

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._tables = Tables(WriteLimits(time.monotonic))
        self.cancelled = 0

    def transact_write_items(self, **request: object) -> dict[str, Any]:
        self._time.now += ROUND_TRIP_SECONDS
        try:
            return self._tables.answer("TransactWriteItems", request)
        except StubError as error:
            self.cancelled += 1
            response: Any = {"Error": {"Code": error.code}, **error.members}
            raise _Exceptions.TransactionCanceledException(response, "TransactWriteItems") from error


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    time = VirtualTime()
    monkeypatch.setattr(record_writer, "time", time)
    monkeypatch.setattr(record_writer, "WRITE_PARALLELISM", 1)
    return time


def write(client: LimitedClient, time: VirtualTime, usages: list[BuyerUsage], key: str = "key") -> Written:
    writer = RecordWriter(
        client=cast("DynamoDBClient", client),
        metering_table="records",
        idempotency_table="rows",
        remembered_hours=24,
    )
    deadline = time.now + 27
    return writer.write(
        usages,
        key=key,
        request_id=f"request of {key}",
        request_time=1_795_446_956_551,
        remaining_ms=lambda: int((deadline - time.now) * 1_000),
    )


def usage(customer: str, dimension: str = "metered_1_id", dimensions: int = 1) -> BuyerUsage:
    return BuyerUsage(
        customerIdentifier=customer,
        metered_dimensions=[
            MeteredDimension(dimension_name=f"{number:02}{dimension}", dimension_value=1)
            for number in range(dimensions)
        ],
    )


def test_10000_records_of_one_customer_get_in_at_the_pace_of_their_partition(time: VirtualTime) -> None:
    client = LimitedClient(time)
    started = time.now

    written = write(client, time, [usage("c")] * 10_000)

    assert written.records == 10_000
    assert time.now - started < 1.1 * 20
    assert client.cancelled < 10


def test_10000_customers_get_in_at_the_pace_of_the_index(time: VirtualTime) -> None:
    client = LimitedClient(time)
    started = time.now

    written = write(client, time, [usage(f"c{number}") for number in range(10_000)])

    assert written.records == 10_000
    assert time.now - started < 1.1 * 10


def test_a_chunk_of_the_largest_records_of_one_customer_gets_in(time: VirtualTime) -> None:
    client = LimitedClient(time)

    written = write(client, time, [usage("c", "\N{GRINNING FACE}" * 253, dimensions=25)] * 99)

    assert written.records == 99
    assert client.cancelled <= 2


def test_one_throttled_record_is_not_tried_again_at_once_for_ever(
    time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = LimitedClient(time)
    monkeypatch.setattr(client._tables._limits, "prepare", lambda puts: itertools.repeat(False, len(puts)))

    with pytest.raises(IncompleteWriteError) as caught:
        write(client, time, [usage("c")])

    assert caught.value.written.throttled_chunks == 1
    assert client.cancelled < 200
