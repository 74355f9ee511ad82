"""dry_run=true, and the other query parameters of inserts."""

import pytest

from metering_handlers.inserting import canonical_form
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import Calls, Rows
from tests.unit.lambda_calls import Api, buyer, buyers, usage

DRY_RUN = {"dry_run": "true"}
KEY = {"Idempotency-Key": "order 66"}
THREE_CHUNKS = buyers(*(buyer(f"c{number}", m=1) for number in range(8)))


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(
    api: Api, stored: StoredItems, rows: Rows, calls: Calls
) -> None:
    entries = [buyer("c", m=1), buyer("c", m=2), buyer("d", "t", m=3)]

    for headers in ({}, KEY, {}):
        answer = api.insert_many(buyers(*entries), headers, query=DRY_RUN)

        assert (answer.status, answer.body) == (200, {"dry_run": True, "records": 2, "duplicates": []})
    assert api.insert_one("c", usage(m=1), query=DRY_RUN).body["records"] == 1
    assert [*calls.transactions, *stored.all(), *rows.all()] == []
    # It remembers nothing: the key is free for other entries.
    assert api.insert_one("c", usage(m=1), KEY).status == 200


@pytest.mark.usefixtures("small_chunks")
def test_a_dry_run_names_the_entries_that_are_known(api: Api, calls: Calls) -> None:
    entries = [buyer(f"c{number}", "t", m=1) for number in range(5)]
    api.insert_many(buyers(*entries[:3]))
    calls.clear()

    answer = api.insert_many(buyers(*entries[1:], buyer("c0", "t", m=2), buyer("c0", m=1)), query=DRY_RUN)

    duplicates = [
        {
            "customerIdentifier": customer,
            "transaction_id": "t",
            "create_timestamp": api.request_time,
            "differs": customer == "c0",
        }
        for customer in ("c0", "c1", "c2")
    ]
    assert answer.body == {"dry_run": True, "records": 3, "duplicates": duplicates}
    assert "write" not in calls.log


@pytest.mark.usefixtures("small_chunks")
def test_a_dry_run_of_a_half_written_request_counts_the_rest(api: Api, calls: Calls) -> None:
    calls.cut_off(THREE_CHUNKS, KEY)

    assert api.insert_many(THREE_CHUNKS, KEY, query=DRY_RUN).body["records"] == 6
    api.insert_many(THREE_CHUNKS, KEY)
    assert api.insert_many(THREE_CHUNKS, KEY, query=DRY_RUN).body["records"] == 0


@pytest.mark.usefixtures("small_chunks")
def test_without_a_first_row_a_dry_run_ignores_later_ones(api: Api, rows: Rows) -> None:
    api.insert_many(THREE_CHUNKS, KEY)
    rows.delete("order 66#0")

    assert api.insert_many(THREE_CHUNKS, KEY, query=DRY_RUN).body["records"] == 8


def test_a_dry_run_checks_key_and_rules(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.insert_one("c", usage(m=1), KEY)

    reused = api.insert_one("c", usage(m=2), KEY, query=DRY_RUN)
    invalid = api.insert_many(buyers(buyer("c", "t", m=1), buyer("c", "t", m=1)), query=DRY_RUN)
    monkeypatch.setattr(canonical_form, "DIGEST_VERSION", 2)
    conflict = api.insert_one("c", usage(m=1), KEY, query=DRY_RUN)

    assert (reused.status, invalid.status, conflict.status) == (422, 422, 409)


def test_a_dry_run_that_cannot_read_is_a_503(api: Api, calls: Calls) -> None:
    api.context.remaining_ms = 4_000

    answer = api.insert_one("c", usage("t", m=1), query=DRY_RUN)

    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert calls.log == []


def test_dry_run_false_is_an_insert(api: Api, stored: StoredItems) -> None:
    assert api.insert_one("c", usage(m=1), query={"dry_run": "false"}).body == {}
    assert api.insert_many(buyers(buyer("c", m=1)), query={"dry_run": "false"}).body == {}
    assert len(stored.all()) == 2


@pytest.mark.parametrize(
    "query",
    [
        {"dry_run": "maybe"},
        {"dry_run": ""},
        {"dry_run": ["true", "false"]},
        {"dryrun": "true"},
        {"DRY_RUN": "true"},
        {"dry_run": "true", "limit": "1"},
    ],
    ids=str,
)
def test_a_misspelled_dry_run_is_a_400_and_stores_nothing(
    api: Api, stored: StoredItems, query: dict[str, str | list[str]]
) -> None:
    for answer in (
        api.insert_one("c", usage(m=1), query=query),
        api.insert_many(buyers(buyer("c", m=1)), query=query),
    ):
        assert answer.status == 400
        assert answer.body["type"] == "urn:marketplace-metering:problem:invalid-parameter"
        assert [error["location"] for error in answer.body["errors"]] == ["query"]
    assert stored.all() == []
