"""Throttled requests continue at the rate of a partition (in virtual time)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from metering_handlers.inserting import pacing, writer
from metering_handlers.inserting.canonical_form import CanonicalEntry
from metering_handlers.inserting.writer import IncompleteWriteError, InsertRequest, Writer, Written
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
    monkeypatch.setattr(pacing, "time", time)
    monkeypatch.setattr(writer, "WRITE_PARALLELISM", 1)
    return time


def write(
    client: LimitedClient, time: VirtualTime, entries: list[CanonicalEntry], key: str | None
) -> Written:
    writer = Writer(
        client=cast("DynamoDBClient", client),
        metering_table="records",
        idempotency_table="rows",
        idempotency_hours=24,
        transaction_id_days=90,
    )
    deadline = time.now + 27
    request = InsertRequest(
        entries=entries,
        key=key,
        request_id="request",
        time_ms=1_795_446_956_551,
        remaining_ms=lambda: int((deadline - time.now) * 1_000),
    )
    return writer.write(request)


def entries_of(*customers: str, ids: int = 0, dimensions: tuple[str, ...] = ("m",)) -> list[CanonicalEntry]:
    """Usage of each customer: without id, or with as many ids."""
    names: list[str | None] = [f"{number:05}" for number in range(ids)] or [None]
    return [
        CanonicalEntry(customer, name, dict.fromkeys(dimensions, 1), 1)
        for customer in customers
        for name in names
    ]


CUSTOMERS = [f"c{number:05}" for number in range(10_000)]


def test_10000_customers_get_in_at_the_rate_of_the_index(time: VirtualTime) -> None:
    client = LimitedClient(time)
    started = time.now

    written = write(client, time, entries_of(*CUSTOMERS), "key")

    assert len(written.records) == written.inserted == 10_000
    assert time.now - started < 1.1 * 10


def test_10000_customers_with_ids_get_in_at_the_rate_of_the_index(time: VirtualTime) -> None:
    client = LimitedClient(time)
    started = time.now

    written = write(client, time, entries_of(*CUSTOMERS, ids=1), None)

    assert len(written.records) == written.inserted == 10_000
    assert time.now - started < 1.1 * 10


def test_10000_entries_of_one_customer_are_not_throttled_for_long(time: VirtualTime) -> None:
    client = LimitedClient(time)
    started = time.now

    written = write(client, time, entries_of("c", ids=10_000), "key")

    # A record for each 98 entries; the calls alone take a second.
    assert (len(written.records), written.entries) == (103, 10_000)
    assert time.now - started < 2
    assert client.cancelled < 10


def test_the_largest_records_get_in(time: VirtualTime) -> None:
    client = LimitedClient(time)
    dimensions = tuple(f"{number:02}" + "\N{GRINNING FACE}" * 253 for number in range(25))

    written = write(client, time, entries_of(*CUSTOMERS[:198], dimensions=dimensions), "key")

    assert written.inserted == 198
    assert client.cancelled <= 4


@pytest.mark.parametrize("key", ["key", None])
def test_one_throttled_record_is_not_tried_again_at_once_for_ever(
    time: VirtualTime, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    client = LimitedClient(time)
    monkeypatch.setattr(client._tables._limits, "prepare", lambda puts: itertools.repeat(False, len(puts)))

    with pytest.raises(IncompleteWriteError) as caught:
        write(client, time, entries_of("c", ids=1), key)

    assert caught.value.written.throttled_chunks == 1
    assert client.cancelled < 200
