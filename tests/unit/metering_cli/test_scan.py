"""Both tables are read completely, each item once, within the read capacity."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from metering_cli.reporting.scan import (
    NotDynamoDBError,
    ReadCapacity,
    Table,
    ThrottledError,
    existing_rows,
    read_pages,
)
from tests.environment import METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.metering_cli.metering_items import pending

PAGE_UNITS = 256
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


def unlimited(client: DynamoDBClient, name: str = METERING_TABLE_NAME) -> Table:
    return Table(client, name, ReadCapacity(1e9))


@pytest.mark.parametrize("customer", [None, "c"])
def test_every_item_of_every_page_is_read_once(
    dynamodb: DynamoDBClient, stored: StoredItems, customer: str | None
) -> None:
    for number in range(200):
        stored.put(**pending("c", 1795446956551 + number, **WIDE))
    stored.put(**pending("other", 1795446956551, m=1))

    pages = list(read_pages(unlimited(dynamodb), customer))

    assert len(pages) > 1
    items = [item for page in pages for item in page]
    wanted = [item for item in stored.all() if customer in {None, item["customerIdentifier"]["S"]}]
    assert sorted(map(str, items)) == sorted(map(str, wanted))


def test_each_page_is_consistent_and_its_units_are_counted() -> None:
    clock = Clock()
    asked: list[dict[str, object]] = []

    def paginate(**request: object) -> list[dict[str, Any]]:
        asked.append(request)
        return [{"Items": [], "ConsumedCapacity": {"CapacityUnits": PAGE_UNITS}}] * 11

    client: Any = SimpleNamespace(get_paginator=lambda _name: SimpleNamespace(paginate=paginate))
    table = Table(client, "t", ReadCapacity(100, clock, clock.sleep))

    times = [clock.now for _ in read_pages(table, None)]

    assert asked == [{"TableName": "t", "ConsistentRead": True, "ReturnConsumedCapacity": "TOTAL"}]
    assert times == pytest.approx([number * PAGE_UNITS / 100 for number in range(11)])


def test_units_that_nobody_used_for_an_hour_make_no_burst() -> None:
    clock = Clock()
    capacity = ReadCapacity(100, clock, clock.sleep)
    clock.now = 3600

    for _ in range(10):
        capacity.wait()
        capacity.consumed(PAGE_UNITS)
    capacity.wait()

    assert clock.now - 3600 == pytest.approx(10 * PAGE_UNITS / 100)


class PartialTable:
    """A table of rows that returns some of the keys of a call only."""

    def __init__(self, rows_a_call: int) -> None:
        self.calls = 0
        self._rows_a_call = rows_a_call

    def batch_get_item(self, *, RequestItems: dict[str, Any], **_: object) -> dict[str, Any]:  # noqa: N803
        self.calls += 1
        assert RequestItems["rows"]["ConsistentRead"] is True
        keys = RequestItems["rows"]["Keys"]
        assert len({key["id"]["S"] for key in keys}) == len(keys) <= 100
        unprocessed = {"rows": {"Keys": keys[self._rows_a_call :]}} if keys[self._rows_a_call :] else {}
        return {
            "Responses": {"rows": [key for key in keys[: self._rows_a_call] if key["id"]["S"] != "absent"]},
            "UnprocessedKeys": unprocessed,
            "ConsumedCapacity": [{"CapacityUnits": 1.0}],
        }


def test_rows_are_asked_for_again_until_all_of_them_are_read() -> None:
    client: Any = PartialTable(rows_a_call=60)
    wanted = [f"row {number}" for number in range(250)]

    assert existing_rows(unlimited(client, "rows"), [*wanted, *wanted, "absent"]) == set(wanted)
    assert client.calls == 5


def test_rows_that_are_never_returned_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda _seconds: None))
    client: Any = PartialTable(rows_a_call=0)

    with pytest.raises(ThrottledError, match="no read capacity left"):
        existing_rows(unlimited(client, "rows"), ["row"])


def test_an_answer_without_rows_is_an_error() -> None:
    """No row would mean that nothing was sent again."""
    client: Any = SimpleNamespace(batch_get_item=lambda **_: {})

    with pytest.raises(NotDynamoDBError):
        existing_rows(unlimited(client, "rows"), ["row"])
