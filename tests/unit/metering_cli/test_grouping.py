"""Lines are added up to records and records put into requests, without losses and within all limits."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from metering_cli.importing import usage_file
from metering_cli.importing.usage_file import MAX_PART_BYTES, BadLinesError, UsageFile, read_usage_file
from metering_handlers.contract.limits import MAX_QUANTITY
from metering_handlers.contract.requests import BulkUsage, broken_rules
from tests.unit.metering_cli.conftest import WriteCsv


def records(usage: UsageFile) -> list[dict[str, Any]]:
    return [record for part in usage.parts for record in json.loads(part.body)["buyers"]]


def shape(usage: UsageFile) -> list[tuple[str, dict[str, int]]]:
    return [
        (
            record["customerIdentifier"],
            {one["dimension_name"]: one["dimension_value"] for one in record["metered_dimensions"]},
        )
        for record in records(usage)
    ]


def test_a_customers_dimensions_share_a_record_wherever_their_lines_are(write_csv: WriteCsv) -> None:
    usage = read_usage_file(write_csv("one,seats,1", "two,seats,2", "one,storage,3"))

    assert shape(usage) == [("one", {"seats": 1, "storage": 3}), ("two", {"seats": 2})]


def test_a_repeated_dimension_is_added_up(write_csv: WriteCsv) -> None:
    usage = read_usage_file(write_csv("one,seats,1", "one,seats,2", "one,storage,3", "two,seats,1"))

    assert shape(usage) == [("one", {"seats": 3, "storage": 3}), ("two", {"seats": 1})]
    assert (usage.lines, usage.records) == (4, 2)


def test_a_customer_may_have_what_aws_takes_in_an_hour(write_csv: WriteCsv) -> None:
    usage = read_usage_file(
        write_csv(*(f"one,d{number},{MAX_QUANTITY - 1}" for number in range(25)), "one,d0,1", "one,d1,1")
    )

    assert [len(dimensions) for _, dimensions in shape(usage)] == [25]


def test_each_line_beyond_what_aws_takes_in_an_hour_is_an_error(write_csv: WriteCsv) -> None:
    """The hourly job sends a customer's usage in one call, so that requests of their own do not help."""
    dimensions = [f"one,d{number},1" for number in range(25)]
    path = write_csv(*dimensions, "one,d25,1", "two,d25,1", "one,d26,1", f"one,d0,{MAX_QUANTITY}", "one,d0,1")

    with pytest.raises(BadLinesError) as raised:
        read_usage_file(path)

    assert [(bad.line, bad.column) for bad in raised.value.bad_lines] == [
        (27, "dimension_name"),
        (29, "dimension_name"),
        (30, "dimension_value"),
    ]
    assert [bad.detail for bad in raised.value.bad_lines[1:]] == [
        "AWS takes 25 dimensions of a customer an hour: split the file, and import the rest an hour later",
        "AWS takes 2147483647 of a customer's dimension an hour: split the file, and import the rest an hour "
        "later",
    ]


def test_requests_are_closed_at_their_number_of_records(
    write_csv: WriteCsv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_file, "MAX_PART_RECORDS", 2)

    usage = read_usage_file(write_csv("one,seats,1", "two,seats,1", "three,seats,1", "one,storage,1"))

    assert [(part.number, part.records, part.lines) for part in usage.parts] == [
        (1, 2, (2, 3, 5)),
        (2, 1, (4,)),
    ]


def test_requests_are_closed_before_they_grow_too_large(write_csv: WriteCsv) -> None:
    wide = "ü" * 250
    usage = read_usage_file(
        write_csv(*(f"customer-{index // 25},{wide}{index % 25},1" for index in range(100 * 25)))
    )

    assert usage.records == 100
    assert len(usage.parts) == 2
    assert all(len(part.body) <= MAX_PART_BYTES + 1_000 for part in usage.parts)


@pytest.mark.parametrize("seed", range(10))
def test_every_line_is_sent_once_in_requests_that_the_api_takes(
    write_csv: WriteCsv, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(usage_file, "MAX_PART_RECORDS", 7)
    chance = random.Random(seed)  # noqa: S311 - no secret
    lines = [
        (f"c{chance.randrange(20)}", f"d{chance.randrange(25)}", chance.randrange(100)) for _ in range(500)
    ]

    usage = read_usage_file(write_csv(*(f"{customer},{name},{value}" for customer, name, value in lines)))

    for part in usage.parts:
        entries = BulkUsage.model_validate_json(part.body).buyers
        assert len({entry.customerIdentifier for entry in entries}) == part.records
        assert not [*broken_rules(entries, "{index}")]
    sent: Counter[tuple[str, str]] = Counter()
    wanted: Counter[tuple[str, str]] = Counter()
    for customer, dimensions in shape(usage):
        sent.update({(customer, name): value for name, value in dimensions.items()})
    for customer, name, value in lines:
        wanted[customer, name] += value
    assert sent == wanted
    assert Counter(number for part in usage.parts for number in part.lines) == Counter(range(2, 502))
