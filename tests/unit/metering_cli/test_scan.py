"""The whole table is read, each item once, within the read capacity, and reading can be stopped."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from metering_cli.reporting import scan
from metering_cli.reporting.scan import MAX_PAGE_UNITS, ReadCapacity, read_pages
from tests.environment import METERING_TABLE_NAME
from tests.unit.metering_cli.metering_items import pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.conftest import StoredItems

UNBOUNDED = 1e9
WIDE = {f"{number:0>255}": 1 for number in range(25)}
"""Dimensions that make a record of 7 KB, so that few records fill a page."""


class Clock:
    """A clock that only ``sleep`` advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class StubClient:
    """Pages of a table, three for each segment, which cost a given number of units."""

    def __init__(self, units: float = 1, before_page: Callable[[], None] = lambda: None) -> None:
        self.calls: list[tuple[int, int]] = []
        self._units = units
        self._before_page = before_page

    def scan(self, *, Segment: int, TotalSegments: int, **request: object) -> dict[str, object]:  # noqa: N803
        assert request["ReturnConsumedCapacity"] == "TOTAL"
        assert request["ConsistentRead"] is True
        self._before_page()
        start = request.get("ExclusiveStartKey")
        number = int(start["page"]) + 1 if isinstance(start, dict) else 0
        self.calls.append((Segment, number))
        page: dict[str, object] = {
            "Items": [{"segment": Segment, "page": number, "of": TotalSegments}],
            "ConsumedCapacity": {"CapacityUnits": self._units},
        }
        return page if number == 2 else page | {"LastEvaluatedKey": {"page": number}}


def keys(items: list[dict[str, object]]) -> list[str]:
    return sorted(f"{item['customerIdentifier']}{item['create_timestamp']}" for item in items)


def test_every_item_of_every_page_of_every_segment_is_read_once(
    dynamodb: DynamoDBClient, stored: StoredItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "SEGMENTS", 2)
    for number in range(400):
        stored.put(**pending(f"c{number}", 1795446956551 + number, **WIDE))

    pages = list(read_pages(dynamodb, METERING_TABLE_NAME, None, ReadCapacity(UNBOUNDED)))

    assert len(pages) > 2
    assert keys([dict(item) for page in pages for item in page]) == keys(
        [dict(item) for item in stored.all()]
    )


def test_one_customers_items_are_read_by_a_query_over_all_of_its_pages(
    dynamodb: DynamoDBClient, stored: StoredItems
) -> None:
    for number in range(200):
        stored.put(**pending("c", 1795446956551 + number, **WIDE))
    stored.put(**pending("other", 1795446956551, m=1))

    pages = list(read_pages(dynamodb, METERING_TABLE_NAME, "c", ReadCapacity(UNBOUNDED)))

    assert len(pages) > 1
    created = [item["create_timestamp"]["N"] for page in pages for item in page]
    assert created == [str(1795446956551 + number) for number in range(200)]


def test_every_segment_is_read_to_its_end() -> None:
    client = StubClient()

    pages = list(read_pages(client, "t", None, ReadCapacity(UNBOUNDED)))  # type: ignore[arg-type]

    assert sorted(client.calls) == [(segment, page) for segment in range(scan.SEGMENTS) for page in range(3)]
    assert len(pages) == 3 * scan.SEGMENTS


def test_a_failed_call_ends_the_reading_with_its_error(dynamodb: DynamoDBClient) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        list(read_pages(dynamodb, "no-such-table", None, ReadCapacity(UNBOUNDED)))


def test_a_mistake_in_a_reader_is_no_shorter_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _arguments: None)
    client = StubClient()
    monkeypatch.setattr(client, "scan", lambda **_: {})

    with pytest.raises(RuntimeError, match="ended early"):
        list(read_pages(client, "t", None, ReadCapacity(UNBOUNDED)))  # type: ignore[arg-type]


def test_closed_after_a_page_the_readers_end_without_a_further_call() -> None:
    may_go_on = threading.Event()
    is_first = threading.Lock()

    def let_the_first_through() -> None:
        if not is_first.acquire(blocking=False):
            may_go_on.wait()

    client = StubClient(before_page=let_the_first_through)
    before = set(threading.enumerate())
    with closing(read_pages(client, "t", None, ReadCapacity(UNBOUNDED))) as pages:  # type: ignore[arg-type]
        next(pages)
        readers = set(threading.enumerate()) - before
    may_go_on.set()
    for reader in readers:
        reader.join()

    # Running calls finish, and no further call starts.
    assert len(client.calls) <= 1 + scan.SEGMENTS


def test_every_page_takes_units_before_it_is_read_and_gives_back_what_it_did_not_cost() -> None:
    calls: list[object] = []

    class NotedCapacity(ReadCapacity):
        def take(self, sleep: Callable[[float], object]) -> None:
            calls.append("take")
            super().take(sleep)

        def give_back(self, consumed_units: float) -> None:
            calls.append(consumed_units)
            super().give_back(consumed_units)

    client = StubClient(units=7, before_page=lambda: calls.append("read"))

    pages = list(read_pages(client, "t", None, NotedCapacity(UNBOUNDED)))  # type: ignore[arg-type]

    assert calls.count("take") == calls.count("read") == calls.count(7) == len(pages)
    assert all(
        calls[:number].count("take") > calls[:number].count("read")
        for number, call in enumerate(calls)
        if call == "read"
    )


def test_no_more_units_are_consumed_than_allowed() -> None:
    clock = Clock()
    capacity = ReadCapacity(100, clock)

    for _ in range(50):
        capacity.take(clock.sleep)
        capacity.give_back(MAX_PAGE_UNITS)
    capacity.take(clock.sleep)

    assert clock.now == pytest.approx(50 * MAX_PAGE_UNITS / 100, rel=0.01)


def test_units_that_a_page_did_not_cost_are_not_waited_for() -> None:
    clock = Clock()
    capacity = ReadCapacity(100, clock)

    for _ in range(50):
        capacity.take(clock.sleep)
        capacity.give_back(1)
    capacity.take(clock.sleep)

    assert clock.now == pytest.approx(50 * 1 / 100, rel=0.01)


def test_units_that_nobody_used_for_an_hour_make_no_burst() -> None:
    clock = Clock()
    capacity = ReadCapacity(100, clock)
    clock.now = 3600

    for _ in range(10):
        capacity.take(clock.sleep)
        capacity.give_back(MAX_PAGE_UNITS)
    capacity.take(clock.sleep)

    assert clock.now - 3600 == pytest.approx(10 * MAX_PAGE_UNITS / 100, rel=0.01)


def test_a_call_under_way_holds_the_others_back() -> None:
    clock = Clock()
    capacity = ReadCapacity(100, clock)
    capacity.take(clock.sleep)

    capacity.take(clock.sleep)

    assert clock.now == pytest.approx(MAX_PAGE_UNITS / 100)
