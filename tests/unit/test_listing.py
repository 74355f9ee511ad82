"""The size of a page, which Lambda limits to 6 MB."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS
from metering_handlers.listing import page_of
from metering_handlers.metering_table import Batch
from metering_handlers.models import RecordStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from metering_handlers.listing import Page

    Item = dict[str, AttributeValueTypeDef]

LAMBDA_LIMIT = 6_291_556
"""Bytes of an answer (Lambda's error message for a larger one names the limit)."""


def failed(timestamp: int, usage: list[AttributeValueTypeDef], response: str = "") -> Item:
    return {
        "customerIdentifier": {"S": "c"},
        "create_timestamp": {"N": str(timestamp)},
        "dimension_usage": {"L": usage},
        "metering_failed": {"BOOL": True},
        "metering_response": {"S": response},
    }


def page(items: list[Item]) -> Page:
    """Read a page from answers of 100 items each."""
    batches = [
        Batch(items[start : start + 100], str(start + 99) if start + 100 < len(items) else None)
        for start in range(0, len(items), 100)
    ]
    return page_of(batches, status=None, limit=1_000, remaining_ms=lambda: 29_000)


def sent(page: Page) -> int:
    """Return the bytes of a page in Lambda's answer, in which the body is a string."""
    return len(json.dumps({"body": f'{{"records": [{b", ".join(page.records).decode()}]}}'}))


def test_a_page_of_large_records_ends_before_the_answer_outgrows_lambda() -> None:
    """The reasons of 25 dimensions and the parsed answer of BatchMeterUsage take the most."""
    names = [f"{number:0>255}" for number in range(25)]
    response = {
        "Results": [{"UsageRecord": {"Dimension": name}, "Status": "CustomerNotSubscribed"} for name in names]
    }
    usage: list[AttributeValueTypeDef] = [
        {"M": {"dimension": {"S": name}, "value": {"N": "1"}}} for name in names
    ]
    items = [failed(number, usage, json.dumps(response)) for number in range(1_000)]

    first = page(items)

    assert 5_000_000 < sent(first) < LAMBDA_LIMIT
    assert first.last_timestamp == str(len(first.records) - 1)
    assert len(page(items[len(first.records) :]).records) == len(first.records)


def test_a_full_page_reads_no_further() -> None:
    def batches() -> Iterator[Batch]:
        yield Batch([failed(0, []), failed(1, [])], "1")
        raise AssertionError("read after the page was full")

    full = page_of(batches(), status=None, limit=2, remaining_ms=lambda: 29_000)

    assert (len(full.records), full.last_timestamp) == (2, "1")


def test_a_page_ends_when_the_time_would_not_allow_another_read() -> None:
    def batches() -> Iterator[Batch]:
        yield Batch([], "7")
        raise AssertionError("read without the time for it")

    cut = page_of(batches(), status=RecordStatus.FAILED, limit=2, remaining_ms=lambda: ATTEMPT_BUDGET_MS - 1)

    assert (cut.records, cut.last_timestamp) == ([], "7")


def test_text_that_grows_in_lambdas_answer_is_counted_as_it_is_sent() -> None:
    usage: list[AttributeValueTypeDef] = [{"M": {"dimension": {"S": '"' * 10_000}, "value": {"N": "1"}}}]

    assert sent(page([failed(number, usage) for number in range(1_000)])) < LAMBDA_LIMIT


def test_a_record_that_no_answer_could_hold_is_listed_in_brief() -> None:
    large = failed(1, [{"M": {}}] * 90_000)

    (before, brief, after) = map(json.loads, page([failed(0, []), large, failed(2, [])]).records)

    assert (before["create_timestamp"], after["create_timestamp"]) == (0, 2)
    assert brief == {
        "customerIdentifier": "c",
        "create_timestamp": 1,
        "dimension_usage": [],
        "status": "failed",
        "metering_response": None,
    }
