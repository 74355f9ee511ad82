"""Pages of records and totals: they follow each other, and end before Lambda's limits of time and size."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ReadTimeoutError

from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS
from metering_handlers.listing.answer_size import sent_bytes
from metering_handlers.listing.pages import Page, page_of
from metering_handlers.listing.query import Batch
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import FUNCTION_TIME_MS, Api
from tests.unit.listing.records import MARKED, PENDING, Item, pages, record

LAMBDA_LIMIT = 6_291_556
"""Bytes of an answer (Lambda's error message for a larger one names the limit)."""
LOST = ReadTimeoutError(endpoint_url="https://dynamodb")
STATUSES = ["metered", *["failed"] * 5, "pending"] * 3
"""Of `every_outcome`, by timestamp."""


@pytest.fixture
def every_outcome(api: Api, stored: StoredItems) -> Api:
    """Store 21 records of customer c with every outcome in turn."""
    for number in range(21):
        marks = [*MARKED.values(), PENDING][number % 7]
        stored.put(**record(number, marks, metered_1_id=10, metered_3_id=10))
    return api


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


@pytest.mark.parametrize("status", ["", "pending", "metered", "failed"])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("items", "remaining_ms"), [(100, FUNCTION_TIME_MS), (5, FUNCTION_TIME_MS), (5, 0)], ids=str
)
def test_pages_list_each_record_with_the_asked_status_once(  # noqa: PLR0917
    every_outcome: Api,
    monkeypatch: pytest.MonkeyPatch,
    items: int,
    remaining_ms: int,
    order: str,
    status: str,
) -> None:
    """Without time left, a page ends after one answer of DynamoDB's, which may hold no match."""
    every_outcome.context.remaining_ms = remaining_ms
    answer_with(monkeypatch, items=items)
    query = {"order": order} | ({"status": status} if status else {})
    expected = [number for number, each in enumerate(STATUSES) if status in {"", each}]

    for limit in (1, 4, 5, 1_000):
        found = pages(every_outcome, limit=str(limit), **query)
        timestamps = [each["create_timestamp"] for page in found for each in page["records"]]
        assert timestamps == expected[:: 1 if order == "asc" else -1]
        sizes = [len(page["records"]) for page in found]
        assert all(size == limit for size in sizes[:-1]) or not remaining_ms
        assert max(sizes) <= limit


def test_a_full_page_of_the_last_records_has_no_token(every_outcome: Api) -> None:
    (page,) = pages(every_outcome, limit="15", status="failed")

    assert len(page["records"]) == 15


@pytest.mark.parametrize("items", [100, 5])
def test_totals_of_all_pages_count_each_record_once(
    every_outcome: Api, monkeypatch: pytest.MonkeyPatch, items: int
) -> None:
    every_outcome.context.remaining_ms = 0
    answer_with(monkeypatch, items=items)

    found = pages(every_outcome, group_by="dimension", from_="1970-01-01T00:00:00.007Z")

    sums: Counter[str] = Counter()
    for row in (row for page in found for row in page["totals"]):
        for status in ("pending", "metered", "failed"):
            assert row[status]["records"] * 10 == row[status]["quantity"]
            sums[f"{row['dimension']} {status}"] += row[status]["records"]
    assert sums == {
        "metered_1_id pending": 2,
        "metered_1_id metered": 6,
        "metered_1_id failed": 6,
        "metered_3_id pending": 2,
        "metered_3_id metered": 4,
        "metered_3_id failed": 8,
    }
    assert sum(page["record_count"] for page in found) == 14


@pytest.mark.parametrize("max_bytes", [100, 5_000])
def test_totals_are_cut_before_the_answer_outgrows_lambda(
    api: Api, stored: StoredItems, monkeypatch: pytest.MonkeyPatch, max_bytes: int
) -> None:
    """But a page always has a record."""
    monkeypatch.setattr("metering_handlers.listing.totals.MAX_ANSWER_BYTES", max_bytes)
    for number in range(20):
        stored.put(**record(number, PENDING, **{f"d{number}": 1, "same": 1}))

    found = pages(api, group_by="dimension")

    assert len(found) == (20 if max_bytes == 100 else 2)
    assert len(json.dumps(json.dumps(found[0]))) < max(max_bytes, 800) + 500
    sums: Counter[str] = Counter()
    for row in (row for page in found for row in page["totals"]):
        sums[row["dimension"]] += row["pending"]["quantity"]
    assert sums == {"same": 20, **{f"d{number}": 1 for number in range(20)}}


def test_a_query_that_dynamodb_did_not_answer_is_repeated(
    every_outcome: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = answer_with(monkeypatch, LOST, None, LOST, LOST, items=10)

    (page,) = pages(every_outcome)

    assert len(page["records"]) == 21
    assert len(calls) == 3 + 3


@pytest.mark.parametrize("query", [{}, {"status": "failed"}, {"group_by": "dimension"}])
@pytest.mark.parametrize(
    ("errors", "remaining_ms"),
    [([None, LOST], ATTEMPT_BUDGET_MS), ([], ATTEMPT_BUDGET_MS - 1)],
    ids=["dynamodb stops answering", "no time for another query"],
)
def test_what_was_read_in_time_is_answered_with_a_token(
    every_outcome: Api,
    monkeypatch: pytest.MonkeyPatch,
    query: dict[str, str],
    errors: list[Exception | None],
    remaining_ms: int,
) -> None:
    calls = answer_with(monkeypatch, *errors, items=8)
    every_outcome.context.remaining_ms = remaining_ms

    first = every_outcome.records("c", **query).body

    assert len(calls) == (len(errors) or 1)
    every_outcome.context.remaining_ms = FUNCTION_TIME_MS
    rest = every_outcome.records("c", **query, next_token=first["next_token"]).body
    counts = [page["record_count"] if "totals" in page else len(page["records"]) for page in (first, rest)]
    assert counts == ([5, 10] if "status" in query else [8, 13])
    assert rest["next_token"] is None


def page_from(items: list[Item]) -> Page:
    return page_of([Batch(items, None)], status=None, limit=1_000)


@pytest.mark.parametrize("character", ["0", '"', "\\", "é", "\x01"])
def test_a_page_of_large_records_ends_before_the_answer_outgrows_lambda(character: str) -> None:
    """The reasons of 25 dimensions and the answer of BatchMeterUsage take the most; some text grows."""
    names = [f"{number:{character}>255}" for number in range(25)]
    response = {
        "Results": [{"UsageRecord": {"Dimension": name}, "Status": "CustomerNotSubscribed"} for name in names]
    }
    marks: Item = {"metering_response": {"S": json.dumps(response)}}

    page = page_from([record(number, marks, **dict.fromkeys(names, 1)) for number in range(1_000)])

    # As Lambda sends it, with the body as a string.
    assert 5_000_000 < len(json.dumps({"body": page.to_json(None)})) < LAMBDA_LIMIT
    assert page.last_timestamp == str(len(page.records) - 1)


def test_a_full_page_reads_no_further() -> None:
    def batches() -> Iterator[Batch]:
        yield Batch([record(0, {}), record(1, {})], "1")
        raise AssertionError("read after the page was full")

    full = page_of(batches(), status=None, limit=2)

    assert (len(full.records), full.last_timestamp) == (2, "1")


def test_a_record_that_no_answer_could_hold_is_listed_in_brief() -> None:
    large = record(1, {"dimension_usage": {"L": [{"M": {}}] * 90_000}})

    before, brief, after = map(json.loads, page_from([record(0, {}), large, record(2, {})]).records)

    assert brief == before | {"create_timestamp": 1}
    assert after == before | {"create_timestamp": 2}


@pytest.mark.parametrize("text", ["plain", '"quoted" \\', "\x7f", 'é"\x7f', "😀"])
def test_an_answers_size_counts_its_escapes(text: str) -> None:
    assert sent_bytes(text.encode()) == len(json.dumps(text))
