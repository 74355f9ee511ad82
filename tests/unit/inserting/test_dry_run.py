"""dry_run=true, and the other query parameters of inserts."""

import pytest

from metering_handlers.inserting import canonical_form
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import THREE_CHUNKS, Calls, Rows
from tests.unit.lambda_calls import DRY_RUN, KEY, Api, buyer, buyers, usage


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(
    api: Api, stored: StoredItems, rows: Rows, calls: Calls
) -> None:
    body = buyers(buyer("c", m=1), buyer("c", m=2), buyer("d", "t", m=3))

    for headers in ({}, KEY, {}):
        answer = api.insert_many(body, headers, query=DRY_RUN)
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

    known = {"transaction_id": "t", "create_timestamp": api.request_time}
    duplicates = [
        {"customerIdentifier": customer, **known, "differs": customer == "c0"}
        for customer in ("c0", "c1", "c2")
    ]
    assert answer.body == {"dry_run": True, "records": 3, "duplicates": duplicates}
    assert "write" not in calls.log


@pytest.mark.usefixtures("small_chunks")
def test_a_dry_run_counts_what_is_missing_of_a_request(api: Api, rows: Rows, calls: Calls) -> None:
    calls.cut_off(THREE_CHUNKS, KEY)
    assert api.insert_many(THREE_CHUNKS, KEY, query=DRY_RUN).body["records"] == 6
    api.insert_many(THREE_CHUNKS, KEY)
    assert api.insert_many(THREE_CHUNKS, KEY, query=DRY_RUN).body["records"] == 0
    # Without the first row, later ones do not count.
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

    assert (answer.problem, answer.headers["Retry-After"]) == ((503, "unavailable"), "5")
    assert calls.log == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"dry_run": "false"}, 200),
        ({"dry_run": "maybe"}, 400),
        ({"dry_run": ""}, 400),
        ({"dry_run": ["true", "false"]}, 400),
        ({"dryrun": "true"}, 400),
        ({"DRY_RUN": "true"}, 400),
        ({"dry_run": "true", "limit": "1"}, 400),
    ],
    ids=str,
)
def test_only_dry_run_false_stores_and_a_misspelled_one_is_a_400(
    api: Api, stored: StoredItems, query: dict[str, str | list[str]], status: int
) -> None:
    for answer in (
        api.insert_one("c", usage(m=1), query=query),
        api.insert_many(buyers(buyer("c", m=1)), query=query),
    ):
        assert answer.status == status
        if status == 400:
            assert answer.problem == (400, "invalid-parameter")
            assert [error["location"] for error in answer.body["errors"]] == ["query"]
    assert len(stored.all()) == (2 if status == 200 else 0)
