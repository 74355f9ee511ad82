"""create_timestamp of new records."""

import random
from unittest.mock import Mock

import pytest

from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import Calls
from tests.unit.lambda_calls import REPRESENTATION, Answer, Api, buyer, buyers, usage

MAX_AHEAD_MS = 10_000


def timestamps_of(answer: Answer) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in answer.body["records"]:
        found.setdefault(record["customerIdentifier"], []).append(record["create_timestamp"])
    return found


@pytest.mark.usefixtures("small_chunks")
def test_a_customers_records_follow_each_other_by_a_millisecond(api: Api) -> None:
    """Two entries fit into a chunk with its row and their record."""
    entries = [buyer(customer, f"t{number}", m=1) for customer in "cd" for number in range(8)]

    answer = api.insert_many(buyers(*entries, buyer("e", m=1)), REPRESENTATION)

    four = [api.request_time + number for number in range(4)]
    assert timestamps_of(answer) == {"c": four, "d": four, "e": [api.request_time]}


def test_a_taken_slot_moves_that_record_only(
    api: Api, stored: StoredItems, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.insert_one("d", usage(m=1))
    step = Mock(return_value=7)
    monkeypatch.setattr(random, "randint", step)
    calls.clear()

    answer = api.insert_many(buyers(*(buyer(customer, m=1) for customer in "cde")), REPRESENTATION)

    now = api.request_time
    assert timestamps_of(answer) == {"c": [now], "d": [now + 7], "e": [now]}
    step.assert_called_once_with(1, 50)
    assert calls.log == ["write", "write"]
    assert len(stored.all()) == 4


@pytest.mark.parametrize("last", [MAX_AHEAD_MS, MAX_AHEAD_MS + 1])
def test_no_record_is_more_than_10_s_ahead(
    api: Api, stored: StoredItems, calls: Calls, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """Whatever the load: the request ends as a 503, which can be resumed."""
    # All slots up to the last but one are taken.
    steps = iter([MAX_AHEAD_MS - 1, last - MAX_AHEAD_MS + 1])
    monkeypatch.setattr(random, "randint", lambda *_: next(steps))
    for ahead in (0, MAX_AHEAD_MS - 1):
        stored.put(customerIdentifier={"S": "c"}, create_timestamp={"N": str(api.request_time + ahead)})

    answer = api.insert_one("c", usage(m=1), REPRESENTATION)

    if last == MAX_AHEAD_MS:
        assert timestamps_of(answer) == {"c": [api.request_time + MAX_AHEAD_MS]}
    else:
        assert (answer.status, answer.body["inserted"]) == (503, 0)
        assert len(stored.all()) == 2
        assert calls.log == ["write", "write"]
