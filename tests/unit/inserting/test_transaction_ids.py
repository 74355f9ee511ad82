"""Entries with a transaction_id: each is stored once."""

from typing import Any

import pytest

from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import Call, Calls, Rows
from tests.unit.lambda_calls import KEY, REPRESENTATION, Api, Body, buyer, buyers, usage

# Its calls take time, so that a test whose calls do not end fails.
pytestmark = pytest.mark.usefixtures("calls")

HOUR_MS = 3_600_000

with_and_without_key = pytest.mark.parametrize("headers", [{}, KEY], ids=["without key", "with key"])


def duplicate(customer: str, transaction_id: str, at: int, *, differs: bool = False) -> Body:
    entry = {"customerIdentifier": customer, "transaction_id": transaction_id}
    return {**entry, "create_timestamp": at, "differs": differs}


@with_and_without_key
def test_regrouped_entries_are_stored_once(api: Api, stored: StoredItems, headers: dict[str, str]) -> None:
    """As billing software sends that crashed before it noted what it had sent; singly and in bulk."""
    first_time = api.request_time
    api.insert_many(buyers(buyer("c", "t1", m=1), buyer("c", "t2", m=10)))
    api.insert_one("d", usage("t1", m=5))
    api.request_time += 1_000
    entries = [buyer("d", "t2", m=7), buyer("c", "t3", m=100), buyer("d", "t1", m=5), buyer("c", "t1", m=1)]

    answer = api.insert_many(buyers(*entries, buyer("e", m=3)), headers | REPRESENTATION)

    assert answer.body == {
        "records": [
            {"customerIdentifier": customer, "create_timestamp": api.request_time} for customer in "cde"
        ],
        "duplicates": [duplicate("c", "t1", first_time), duplicate("d", "t1", first_time)],
    }
    assert len(api.insert_one("c", usage("t2", m=10)).body["duplicates"]) == 1
    quantities = [(customer, record["m"]) for customer, record in stored.usage()]
    assert quantities == [("c", 11), ("c", 100), ("d", 5), ("d", 7), ("e", 3)]


@pytest.mark.parametrize("transaction_id", ["x" * 255, " ", "~#/%", "c#0"])
def test_an_id_may_be_of_any_255_printable_characters(api: Api, transaction_id: str) -> None:
    assert api.insert_one("c", usage(transaction_id, m=1)).body == {}
    assert len(api.insert_one("c", usage(transaction_id, m=1)).body["duplicates"]) == 1


def test_an_id_twice_in_a_request_is_refused(api: Api, stored: StoredItems) -> None:
    answer = api.insert_many(
        buyers(buyer("c", "t", m=1), buyer("d", "t", m=1), buyer("c", "t", m=2), buyer("c", "t", m=1))
    )

    assert answer.refusal == (
        422,
        {(f"/buyers/{index}/transaction_id", "duplicate_transaction_id") for index in (2, 3)},
    )
    assert all("/buyers/0/transaction_id" in error["detail"] for error in answer.body["errors"])
    assert stored.all() == []


@pytest.mark.parametrize(
    ("again", "differs"),
    [
        (usage("t", n=2, m=1), False),
        (usage("t", m=2, n=2), True),
        (usage("t", m=1), True),
        (usage("t", m=1, n=2, o=0), True),
        (usage("t", m=1, o=2), True),
    ],
)
def test_an_id_is_stored_once_and_other_usage_differs(
    api: Api, stored: StoredItems, again: Body, differs: bool
) -> None:
    first_time = api.request_time
    api.insert_one("c", usage("t", m=1, n=2))
    api.request_time += HOUR_MS

    answer = api.insert_one("c", again, REPRESENTATION)

    duplicates = [duplicate("c", "t", first_time, differs=differs)]
    assert answer.outcome == (200, {"records": [], "duplicates": duplicates}, False)
    assert stored.usage() == [("c", {"m": 1, "n": 2})]


@with_and_without_key
def test_an_id_counts_for_90_days(api: Api, stored: StoredItems, rows: Rows, headers: dict[str, str]) -> None:
    """Not longer, though DynamoDB's TTL has not deleted the row; lists and inserts know the same ids."""
    body = usage("t", m=1)
    api.request_time -= api.request_time % 1_000
    api.insert_one("c", body)
    (row,) = rows.of_entries()
    forgotten_at = api.request_time // 1_000 + 90 * 86_400 + 3_600
    assert int(row["expires_at"]["N"]) == forgotten_at
    assert int(row["delete_after"]["N"]) == forgotten_at + 86_400
    api.request_time = forgotten_at * 1_000 + 999
    assert len(api.records("c", transaction_id="t").body["records"]) == 1
    assert len(api.insert_one("c", body, headers).body["duplicates"]) == 1
    api.request_time += 1

    assert api.records("c", transaction_id="t").body["records"] == []
    assert api.insert_one("c", body, headers and {"Idempotency-Key": "another"}).body == {}
    assert len(stored.all()) == 2
    assert len(api.insert_one("c", body).body["duplicates"]) == 1


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("known", "log"),
    [
        (range(8), ["write", "read", "read", "read", "read"]),
        # The order of chunks is 3, 0, 1, 2; one entry is new in 0 and in 2.
        ([1, 2, 3, 4, 6, 7], ["write", "read", "read", "write", "write", "read", "read", "write"]),
    ],
    ids=["all known", "one new in each other chunk"],
)
def test_a_chunk_is_read_first_after_one_that_was_known(
    api: Api, stored: StoredItems, calls: Calls, known: list[int], log: list[str]
) -> None:
    """Chunks of two customers, with record and row each."""
    entries = [buyer(f"c{number}", "t", m=1) for number in range(8)]
    api.insert_many(buyers(*(entries[number] for number in known)))
    calls.clear()

    assert len(api.insert_many(buyers(*entries)).body["duplicates"]) == len(known)

    assert calls.log == log
    assert len(stored.all()) == 8


@with_and_without_key
def test_a_read_that_is_never_processed_is_a_503_in_time(
    api: Api, stored: StoredItems, calls: Calls, headers: dict[str, str]
) -> None:
    api.insert_one("c", usage("t", m=1))

    def process_nothing(_: Call, **request: Any) -> object:  # noqa: ANN401
        api.context.remaining_ms -= 1_000
        return {"Responses": {}, "UnprocessedKeys": request["RequestItems"]}

    calls.on_read = process_nothing

    answer = api.insert_many(buyers(buyer("c", "t", m=1), buyer("d", "t", m=1)), headers)

    assert (answer.status, answer.body["inserted"]) == (503, 0)
    assert 3_900 <= api.context.remaining_ms < 5_000
    assert len(stored.all()) == 1
