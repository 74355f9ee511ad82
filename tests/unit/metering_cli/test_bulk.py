"""Lines are divided into requests that the API takes, and what AWS takes of a customer in an hour."""

import json
import random
from collections import Counter

import pytest

from metering_cli.importing import bulk
from metering_cli.importing.bulk import MAX_BYTES, Request, beyond_an_hour, divide
from metering_cli.importing.usage_file import Line
from metering_handlers.contract.limits import MAX_QUANTITY
from metering_handlers.contract.requests import BulkUsage, Entry, broken_rules


def lines(*usage: tuple[str, str, int]) -> list[Line]:
    return [Line("usage.csv", number, *used, f"id-{number}") for number, used in enumerate(usage, start=2)]


def entries_of(request: Request) -> list[Entry]:
    return BulkUsage.model_validate_json(request.body).buyers


def test_a_customers_lines_are_in_one_request() -> None:
    """They become one record where the API writes them together."""
    [request] = divide(lines(("one", "seats", 1), ("two", "seats", 2), ("one", "storage", 3)))

    assert [line.number for line in request.lines] == [2, 4, 3]
    assert json.loads(request.body)["buyers"][1] == {
        "customerIdentifier": "one",
        "metered_dimensions": [{"dimension_name": "storage", "dimension_value": 3}],
        "transaction_id": "id-4",
    }


def test_requests_are_closed_before_they_grow_too_large() -> None:
    requests = [*divide(lines(*((f"customer-{index}", "ü" * 250, 1) for index in range(2_000))))]

    assert sum(len(request.lines) for request in requests) == 2_000
    assert len(requests) == 2
    assert all(len(request.body) <= MAX_BYTES + 1_000 for request in requests)


@pytest.mark.parametrize("seed", range(20))
def test_every_line_is_sent_once_in_requests_that_the_api_takes(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The API counts all of a request's entries, known or not, against the limits of an hour."""
    monkeypatch.setattr(bulk, "MAX_LINES", 40)
    chance = random.Random(seed)  # noqa: S311 - no secret
    usage = lines(
        *(
            (
                f"c{chance.randrange(12)}",
                f"d{chance.randrange(40)}",
                chance.choice([0, 1, MAX_QUANTITY // 3, MAX_QUANTITY]),
            )
            for _ in range(500)
        )
    )

    requests = [*divide(usage)]

    assert Counter(line for request in requests for line in request.lines) == Counter(usage)
    for request in requests:
        entries = entries_of(request)
        assert [entry.transaction_id for entry in entries] == [line.transaction_id for line in request.lines]
        assert len(entries) <= 40
        assert not [*broken_rules(entries, "{index}")]
    refused = {problem.line for problem in beyond_an_hour(usage)}
    hour = divide(line for line in usage if line.number not in refused)
    assert refused
    assert not [*broken_rules([entry for one in hour for entry in entries_of(one)], "{index}")]


def test_each_line_beyond_an_hour_is_named_with_what_to_do() -> None:
    dimensions = [("one", f"d{number}", MAX_QUANTITY - 1) for number in range(25)]
    usage = lines(*dimensions, ("one", "d0", 1), ("one", "d25", 1), ("two", "d25", 1), ("one", "d0", 1))

    found = [*beyond_an_hour(usage)]

    assert [(problem.line, problem.column) for problem in found] == [
        (28, "dimension_name"),
        (30, "dimension_value"),
    ]
    assert "AWS takes no more than 25 dimensions of a customer in an hour" in found[0].detail
    assert "AWS takes no more than 2147483647 of a customer's dimension in an hour" in found[1].detail
    assert all("an hour later import the whole file" in problem.detail for problem in found)
