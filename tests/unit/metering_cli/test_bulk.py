"""Lines are divided into requests that the API takes."""

import json
import random
from collections import Counter

import pytest

from metering_cli.importing import bulk
from metering_cli.importing.bulk import Request, beyond_an_hour, divide
from metering_cli.importing.usage_file import Line
from metering_handlers.contract.limits import MAX_QUANTITY
from metering_handlers.contract.requests import BulkUsage, Entry, broken_rules


def entries_of(request: Request) -> list[Entry]:
    return BulkUsage.model_validate_json(request.body).buyers


@pytest.mark.parametrize("seed", range(20))
def test_every_line_is_sent_once_in_requests_that_the_api_takes(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The API counts all of a request's entries, known or not, against the limits of an hour."""
    monkeypatch.setattr(bulk, "MAX_LINES", 40)
    chance = random.Random(seed)  # noqa: S311 - no secret
    quantities = [0, 1, MAX_QUANTITY // 3, MAX_QUANTITY]
    lines = []
    for number in range(500):
        usage = (f"c{chance.randrange(12)}", f"d{chance.randrange(40)}", chance.choice(quantities))
        lines.append(Line("usage.csv", number, *usage, f"id-{number}"))

    requests = [*divide(lines)]

    assert Counter(line for request in requests for line in request.lines) == Counter(lines)
    for request in requests:
        entries = entries_of(request)
        assert [entry.transaction_id for entry in entries] == [line.transaction_id for line in request.lines]
        assert len(entries) <= 40
        assert not [*broken_rules(entries, "{index}")]
    refused = {problem.line for problem in beyond_an_hour(lines)}
    hour = divide(line for line in lines if line.number not in refused)
    assert refused
    assert not [*broken_rules([entry for one in hour for entry in entries_of(one)], "{index}")]


def test_a_customers_lines_are_in_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """They become one record where the API writes them together."""
    monkeypatch.setattr(bulk, "MAX_LINES", 2)
    lines = [Line("usage.csv", 2, customer, "seats", 1, "id") for customer in ("one", "two", "one")]

    assert [[line.customer for line in request.lines] for request in divide(lines)] == [["one"] * 2, ["two"]]


def test_the_longest_lines_fit_into_a_call_of_the_function() -> None:
    ids = [f"{number:04}" + '"' * 251 for number in range(bulk.MAX_LINES)]
    lines = [Line("usage.csv", 2, '"' * 128, "😀" * 255, 1, line_id) for line_id in ids]

    requests = [*divide(lines)]

    assert [line for request in requests for line in request.lines] == lines
    # API Gateway may escape what is not ASCII.
    assert all(len(json.dumps({"body": request.body.decode()})) < 6_000_000 for request in requests)
