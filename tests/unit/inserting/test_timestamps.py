"""create_timestamp of new records."""

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.lambda_calls import Api, buyer, buyers, usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.conftest import StoredItems
    from tests.unit.inserting.conftest import Calls

KEY = {"Idempotency-Key": "order 66"}
REPRESENTATION = {"Prefer": "return=representation"}
MAX_AHEAD_MS = 10_000


def timestamps_of(answer: Any) -> dict[str, list[int]]:  # noqa: ANN401
    found: dict[str, list[int]] = {}
    for record in answer.body["records"]:
        found.setdefault(record["customerIdentifier"], []).append(record["create_timestamp"])
    return found


@pytest.mark.usefixtures("small_chunks")
def test_a_customers_records_follow_each_other_by_a_millisecond(api: Api, stored: "StoredItems") -> None:
    entries = [buyer(customer, f"t{number}", m=1) for customer in "cd" for number in range(8)]

    answer = api.insert_many(buyers(*entries, buyer("e", m=1)), REPRESENTATION)

    # Two entries fit into a chunk with its row and their record.
    assert timestamps_of(answer) == {
        "c": [api.request_time + number for number in range(4)],
        "d": [api.request_time + number for number in range(4)],
        "e": [api.request_time],
    }
    assert len(stored.all()) == 9


def test_a_taken_slot_moves_that_record_only(
    api: Api, stored: "StoredItems", calls: "Calls", monkeypatch: pytest.MonkeyPatch
) -> None:
    api.insert_one("d", usage(m=1))
    steps: list[tuple[int, int]] = []

    def step(low: int, high: int) -> int:
        steps.append((low, high))
        return 7

    monkeypatch.setattr(random, "randint", step)
    calls.clear()

    answer = api.insert_many(buyers(*(buyer(customer, m=1) for customer in "cde")), REPRESENTATION)

    now = api.request_time
    assert timestamps_of(answer) == {"c": [now], "d": [now + 7], "e": [now]}
    assert steps == [(1, 50)]
    assert calls.log == ["write", "write"]
    assert len(stored.all()) == 4


@pytest.mark.usefixtures("small_chunks")
def test_overlapping_requests_of_one_customer_stay_near_their_time(api: Api, stored: "StoredItems") -> None:
    """Colliding records used to leap ahead, twice as far each time, to where the job cannot mark them."""
    for name in ("first", "second"):
        entries = [buyer("c", f"{name} {number}", m=1) for number in range(120)]
        assert api.insert_many(buyers(*entries)).status == 200
        # As after a cold start.
        api.request_time -= 20

    assert sum(quantities["m"] for _, quantities in stored.usage()) == 240
    assert stored.timestamps()[-1] < api.request_time + 1_000


@pytest.mark.parametrize("last", [MAX_AHEAD_MS, MAX_AHEAD_MS + 1])
def test_no_record_is_more_than_10_s_ahead(
    api: Api, stored: "StoredItems", calls: "Calls", monkeypatch: pytest.MonkeyPatch, last: int
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


def test_slots_that_are_all_taken_end_the_request(api: Api, calls: "Calls") -> None:
    tried: list[int] = []

    def reason_of(item: "Mapping[str, Any]") -> str:
        if "dimension_usage" not in item:
            return "None"
        tried.append(int(item["create_timestamp"]["N"]))
        return "ConditionalCheckFailed"

    calls.cancel(reason_of)
    api.context.remaining_ms = 1_000_000

    assert api.insert_one("c", usage(m=1)).status == 503
    assert api.request_time + MAX_AHEAD_MS - 50 <= tried[-1] <= api.request_time + MAX_AHEAD_MS


@pytest.mark.usefixtures("small_chunks")
def test_a_resumed_chunk_has_the_resuming_requests_time(
    api: Api, stored: "StoredItems", calls: "Calls"
) -> None:
    """What is written today must not get into yesterday's closed report."""
    body = buyers(*(buyer(f"c{number}", m=1) for number in range(8)))
    first_time = api.request_time
    calls.time_out_after(1)
    api.insert_many(body, KEY)
    calls.again()
    api.request_time += 10 * 3_600_000

    answer = api.insert_many(body, KEY | REPRESENTATION)

    assert stored.timestamps() == [first_time] * 2 + [api.request_time] * 6
    assert [times for (times,) in timestamps_of(answer).values()] == [api.request_time] * 6 + [first_time] * 2
