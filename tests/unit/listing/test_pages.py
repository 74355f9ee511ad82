"""Pages: they follow each other, and end before Lambda's limits of time and size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ReadTimeoutError
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS
from metering_handlers.listing.pages import Page, page_of
from metering_handlers.listing.query import Batch
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import FUNCTION_TIME_MS, Api
from tests.unit.listing.metering_responses import MARKED, PENDING, record

Item = dict[str, AttributeValueTypeDef]
ByStatus = dict[str, list[int]]

LAMBDA_LIMIT = 6_291_556
"""Bytes of an answer (Lambda's error message for a larger one names the limit)."""
LOST = ReadTimeoutError(endpoint_url="https://dynamodb")


def listed(api: Api, **query: str) -> tuple[list[int | float], list[int]]:
    """Follow the pages of customer c's records; return the timestamps, and how many each page had."""
    timestamps: list[int | float] = []
    sizes: list[int] = []
    token: dict[str, str] = {}
    while True:
        page = api.records("c", **query, **token).body
        timestamps += [record["create_timestamp"] for record in page["records"]]
        sizes.append(len(page["records"]))
        if page["next_token"] is None:
            return timestamps, sizes
        token = {"next_token": page["next_token"]}


@pytest.fixture
def every_outcome(api: Api, stored: StoredItems) -> tuple[Api, ByStatus]:
    """Store 21 records of customer c with every outcome in turn; return the timestamps by status."""
    status_of = dict.fromkeys(MARKED, "failed") | {"pending": "pending", "every dimension billed": "metered"}
    expected: ByStatus = {"": [], "pending": [], "metered": [], "failed": []}
    for number in range(21):
        name = list(status_of)[number % len(status_of)]
        stored.put(**record(number, MARKED.get(name, PENDING), metered_1_id=1, metered_3_id=1))
        expected[status_of[name]].append(number)
        expected[""].append(number)
    return api, expected


def answer_with(monkeypatch: pytest.MonkeyPatch, *errors: Exception | None, items: int) -> list[str]:
    """Let DynamoDB return a few items for each query, or the error in its place; return the list of calls."""
    calls: list[str] = []
    call = BaseClient._make_api_call  # type: ignore[attr-defined]
    to_come = iter(errors)

    def answer(client: BaseClient, operation: str, parameters: dict[str, Any]) -> object:
        calls.append(operation)
        if (error := next(to_come, None)) is not None:
            raise error
        limit = min(items, parameters.get("Limit", items))
        return call(client, operation, parameters | {"Limit": limit})

    monkeypatch.setattr(BaseClient, "_make_api_call", answer)
    return calls


@pytest.mark.parametrize("query", [{}, {"status": "pending"}, {"status": "metered"}, {"status": "failed"}])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("items", "remaining_ms"), [(100, FUNCTION_TIME_MS), (5, FUNCTION_TIME_MS), (5, 0)], ids=str
)
def test_pages_list_each_record_with_the_asked_status_once(  # noqa: PLR0917
    every_outcome: tuple[Api, ByStatus],
    monkeypatch: pytest.MonkeyPatch,
    items: int,
    remaining_ms: int,
    order: str,
    query: dict[str, str],
) -> None:
    """Without time left, a page ends after one answer of DynamoDB's, which may hold no match."""
    api, expected = every_outcome
    api.context.remaining_ms = remaining_ms
    answer_with(monkeypatch, items=items)

    for limit in (1, 4, 5, 1_000):
        found, sizes = listed(api, order=order, limit=str(limit), **query)
        assert found == expected[query.get("status", "")][:: 1 if order == "asc" else -1]
        assert all(size == limit for size in sizes[:-1]) or not remaining_ms
        assert max(sizes) <= limit


def test_a_full_page_of_the_last_records_has_no_token(every_outcome: tuple[Api, ByStatus]) -> None:
    api, expected = every_outcome
    limit = len(expected["failed"])

    assert listed(api, limit=str(limit), status="failed") == (expected["failed"], [limit])


def test_odd_timestamps_page_as_well(api: Api, stored: StoredItems) -> None:
    for timestamp in ("-5", "1606176000.5", "1606176000000000001"):
        stored.put(**record(timestamp, {}))

    assert listed(api, limit="1")[0] == [-5, 1606176000.5, 1606176000000000001]


def test_a_query_that_dynamodb_did_not_answer_is_repeated(
    every_outcome: tuple[Api, ByStatus], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, expected = every_outcome
    calls = answer_with(monkeypatch, LOST, None, LOST, LOST, items=10)

    assert listed(api) == (expected[""], [21])
    assert len(calls) == 3 + 3


@pytest.mark.parametrize("query", [{}, {"status": "failed"}, {"group_by": "dimension"}])
@pytest.mark.parametrize(
    ("errors", "remaining_ms"),
    [([None, LOST], ATTEMPT_BUDGET_MS), ([], ATTEMPT_BUDGET_MS - 1)],
    ids=["dynamodb stops answering", "no time for another query"],
)
def test_what_was_read_in_time_is_answered_with_a_token(
    every_outcome: tuple[Api, ByStatus],
    monkeypatch: pytest.MonkeyPatch,
    query: dict[str, str],
    errors: list[Exception | None],
    remaining_ms: int,
) -> None:
    api, expected = every_outcome
    calls = answer_with(monkeypatch, *errors, items=8)
    api.context.remaining_ms = remaining_ms

    first = api.records("c", **query).body

    assert len(calls) == (len(errors) or 1)
    api.context.remaining_ms = FUNCTION_TIME_MS
    rest = api.records("c", **query, next_token=first["next_token"]).body
    counts = [page["record_count"] if "totals" in page else len(page["records"]) for page in (first, rest)]
    timestamps = expected[query.get("status", "")]
    assert counts == [sum(each < 8 for each in timestamps), sum(each >= 8 for each in timestamps)]
    assert rest["next_token"] is None


def page(items: list[Item]) -> Page:
    """Read a page from answers of 100 items each."""
    batches = [
        Batch(items[start : start + 100], str(start + 99) if start + 100 < len(items) else None)
        for start in range(0, len(items), 100)
    ]
    return page_of(batches, status=None, limit=1_000)


def sent(page: Page) -> int:
    """Return the bytes of a page in Lambda's answer, in which the body is a string."""
    return len(json.dumps({"body": page.to_json(None)}))


def test_a_page_of_large_records_ends_before_the_answer_outgrows_lambda() -> None:
    """The reasons of 25 dimensions and the parsed answer of BatchMeterUsage take the most."""
    names = [f"{number:0>255}" for number in range(25)]
    response = {
        "Results": [{"UsageRecord": {"Dimension": name}, "Status": "CustomerNotSubscribed"} for name in names]
    }
    marks: Item = {"metering_response": {"S": json.dumps(response)}}
    items = [record(number, marks, **dict.fromkeys(names, 1)) for number in range(1_000)]

    first = page(items)

    assert 5_000_000 < sent(first) < LAMBDA_LIMIT
    assert first.last_timestamp == str(len(first.records) - 1)


def test_a_full_page_reads_no_further() -> None:
    def batches() -> Iterator[Batch]:
        yield Batch([record(0, {}), record(1, {})], "1")
        raise AssertionError("read after the page was full")

    full = page_of(batches(), status=None, limit=2)

    assert (len(full.records), full.last_timestamp) == (2, "1")


@pytest.mark.parametrize("character", ['"', "\\", "é", "\x01"])
def test_text_that_grows_in_lambdas_answer_is_counted_as_it_is_sent(character: str) -> None:
    items = [record(number, {}, **{character * 10_000: 1}) for number in range(1_000)]

    assert 5_000_000 < sent(page(items)) < LAMBDA_LIMIT


def test_a_record_that_no_answer_could_hold_is_listed_in_brief() -> None:
    large = record(1, {"dimension_usage": {"L": [{"M": {}}] * 90_000}})

    (before, brief, after) = map(json.loads, page([record(0, {}), large, record(2, {})]).records)

    assert (before["create_timestamp"], after["create_timestamp"]) == (0, 2)
    assert brief == {
        "customerIdentifier": "c",
        "create_timestamp": 1,
        "dimension_usage": [],
        "status": "failed",
        "metering_response": None,
    }
