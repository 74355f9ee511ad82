"""The Idempotency-Key of both inserts."""

from typing import TYPE_CHECKING

import pytest

from metering_handlers.inserting import writer
from tests.unit.lambda_calls import Answer, Api, buyer, buyers, usage

if TYPE_CHECKING:
    from tests.unit.conftest import StoredItems
    from tests.unit.inserting.conftest import Calls, Rows

pytestmark = pytest.mark.usefixtures("small_chunks")

KEY = {"Idempotency-Key": "order 66"}
REPRESENTATION = {"Prefer": "return=representation"}
DAY_SECONDS = 24 * 3_600
# The first of the three small chunks has two customers, the others have three.
ENTRIES = [buyer(f"c{number:03}", m=number) for number in range(8)]
THREE_CHUNKS = buyers(*ENTRIES)


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["type"].rpartition(":")[2]


REUSED = (422, "idempotency-key-reused")
CONFLICT = (409, "idempotency-key-conflict")


def test_a_repeat_writes_nothing_and_says_so(api: Api, stored: "StoredItems") -> None:
    first = api.insert_one("c", usage(m=1), KEY)
    second = api.insert_one("c", usage(m=1), KEY)

    assert (first.status, first.body, first.is_replay) == (200, {}, False)
    assert (second.status, second.body, second.is_replay) == (200, {}, True)
    assert len(stored.all()) == 1


def test_a_replay_in_any_order_answers_as_the_first_did(api: Api, stored: "StoredItems") -> None:
    """With moved records and duplicates of either kind, and without one record that it had."""
    api.insert_many(buyers(buyer("c000", m=5), buyer("d", "known", m=1), buyer("d", "changed", m=2)))
    entries = [*ENTRIES, buyer("d", "known", m=1), buyer("d", "changed", m=3), buyer("e", "new", m=4)]
    first = api.insert_many(buyers(*entries), KEY | REPRESENTATION)
    api.request_time += 60_000

    second = api.insert_many(buyers(*reversed(entries)), KEY | REPRESENTATION)

    assert (first.is_replay, second.is_replay) == (False, True)
    assert second.body == first.body
    assert len(first.body["records"]) == 9
    assert first.body["records"][0]["create_timestamp"] > api.request_time - 60_000
    assert [each["differs"] for each in first.body["duplicates"]] == [True, False]
    assert len(stored.all()) == 2 + 9


def test_a_replay_names_the_duplicates_though_their_ids_are_forgotten(api: Api, rows: "Rows") -> None:
    api.insert_one("c", usage("t", m=1))
    first = api.insert_one("c", usage("t", m=1), KEY)
    for row in rows.of_entries():
        rows.delete(row["id"]["S"])

    again = api.insert_one("c", usage("t", m=1), KEY)

    assert again.is_replay
    assert again.body == first.body
    assert len(first.body["duplicates"]) == 1


def test_a_repeat_reads_the_rows_after_the_first(api: Api, calls: "Calls") -> None:
    api.insert_many(THREE_CHUNKS, KEY)
    calls.clear()

    assert api.insert_many(THREE_CHUNKS, KEY).is_replay
    assert calls.log == ["write", "read"]


@pytest.mark.parametrize("written", [1, 2])
def test_a_repeat_writes_what_is_missing(
    api: Api, stored: "StoredItems", calls: "Calls", written: int
) -> None:
    calls.time_out_after(written)
    assert api.insert_many(THREE_CHUNKS, KEY).status == 503
    calls.again()

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert (answer.status, answer.is_replay) == (200, False)
    assert calls.log == ["write", "read"] + ["write"] * (3 - written)
    assert stored.usage() == [(f"c{number:03}", {"m": number}) for number in range(8)]
    assert api.insert_many(THREE_CHUNKS, KEY).is_replay


def test_a_single_insert_and_a_bulk_of_one_share_a_key(api: Api, stored: "StoredItems") -> None:
    api.insert_one("c", '{"metered_dimensions":[{"dimension_name":"m","dimension_value":1}]}', KEY)

    spelled = '{ "metered_dimensions": [{"dimension_value": 1, "dimension_name": "\\u006d"}] }'
    assert api.insert_one("%63", spelled, KEY).is_replay
    assert api.insert_many(buyers(buyer("c", m=1)), KEY).is_replay
    assert len(stored.all()) == 1


@pytest.mark.parametrize(
    ("customer", "body"),
    [
        ("c", usage(m=2)),
        ("d", usage(m=1)),
        ("c", usage(n=1)),
        ("c", usage(m=1, n=0)),
        ("c", usage("t", m=1)),
    ],
)
def test_other_entries_under_a_used_key_are_refused(
    api: Api, stored: "StoredItems", customer: str, body: object
) -> None:
    api.insert_one("c", usage(m=1), KEY)

    answer = api.insert_one(customer, body, KEY)

    assert problem(answer) == REUSED
    assert "new key" not in answer.body["detail"].lower()
    assert "GET /listMeteringRecords/" in answer.body["detail"]
    assert len(stored.all()) == 1


def test_other_entries_never_join_a_key(api: Api, stored: "StoredItems") -> None:
    api.insert_one("c", usage(m=1), KEY)

    assert problem(api.insert_many(THREE_CHUNKS, KEY)) == REUSED
    assert len(stored.all()) == 1


def test_other_entries_never_join_a_key_of_which_a_part_is_stored(
    api: Api, stored: "StoredItems", calls: "Calls"
) -> None:
    calls.time_out_after(1)
    api.insert_many(THREE_CHUNKS, KEY)
    calls.again()

    # In each chunk's place in turn.
    for index in (0, 4, 7):
        changed = [*ENTRIES[:index], buyer("x", m=1), *ENTRIES[index + 1 :]]
        assert problem(api.insert_many(buyers(*changed), KEY)) == REUSED
    assert len(stored.all()) == 2


@pytest.mark.parametrize(
    "changed", [{"digest": {"S": "2:0"}}, {"division": {"N": "2"}}], ids=["digest", "division"]
)
def test_rows_of_another_release_are_a_409(
    api: Api, stored: "StoredItems", rows: "Rows", calls: "Calls", changed: dict[str, dict[str, str]]
) -> None:
    """The request may be half-written: nobody can say that these are other entries."""
    calls.time_out_after(1)
    api.insert_many(THREE_CHUNKS, KEY)
    calls.again()
    rows.change("order 66#0", **changed)

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert problem(answer) == CONFLICT
    assert "another release" in answer.body["detail"]
    assert "GET /listMeteringRecords/" in answer.body["detail"]
    assert "may be sent again without an Idempotency-Key" in answer.body["detail"]
    assert len(stored.all()) == 2


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(writer, "DIGEST_VERSION", 2), (writer, "DIVISION_VERSION", 2)],
    ids=["digest", "division"],
)
def test_an_upgrade_raises_what_rows_say(
    api: Api, monkeypatch: pytest.MonkeyPatch, module: object, name: str, value: int
) -> None:
    api.insert_one("c", usage(m=1), KEY)
    monkeypatch.setattr(module, name, value)

    assert problem(api.insert_one("c", usage(m=1), KEY)) == CONFLICT


def test_a_key_is_remembered_for_a_day_and_an_hour(api: Api, stored: "StoredItems", rows: "Rows") -> None:
    api.request_time -= api.request_time % 1_000
    api.insert_one("c", usage(m=1), KEY)
    expires_at = api.request_time // 1_000 + DAY_SECONDS + 3_600
    row = rows.by_id()["order 66#0"]
    assert (int(row["expires_at"]["N"]), int(row["delete_after"]["N"])) == (
        expires_at,
        expires_at + DAY_SECONDS,
    )
    api.request_time = expires_at * 1_000 + 999
    assert api.insert_one("c", usage(m=1), KEY).is_replay
    assert problem(api.insert_one("c", usage(m=2), KEY)) == REUSED
    api.request_time += 1

    # DynamoDB's TTL has not deleted the row.
    again = api.insert_one("c", usage(m=1), KEY)

    assert (again.status, again.is_replay) == (200, False)
    assert len(stored.all()) == 2
    row = rows.by_id()["order 66#0"]
    assert int(row["expires_at"]["N"]) == api.request_time // 1_000 + DAY_SECONDS + 3_600


def test_later_rows_copy_the_first_ones_expiry(api: Api, rows: "Rows", calls: "Calls") -> None:
    calls.time_out_after(1)
    api.insert_many(THREE_CHUNKS, KEY)
    first_expiry = rows.by_id()["order 66#0"]["expires_at"]
    calls.again()
    api.request_time += 3_600_000

    assert api.insert_many(THREE_CHUNKS, KEY).status == 200

    assert [row["expires_at"] for row in rows.of_requests().values()] == [first_expiry] * 3


def test_later_rows_of_an_earlier_use_of_a_key_count_as_absent(
    api: Api, stored: "StoredItems", rows: "Rows"
) -> None:
    """Also where a clock behind the first one's would not call them expired."""
    api.insert_many(THREE_CHUNKS, KEY)
    # The key is used again, and TTL deletes what it likes of the first use.
    rows.delete("order 66#0")
    api.request_time += 1_000

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert (answer.status, answer.is_replay) == (200, False)
    assert len(stored.all()) == 2 * 8
    assert len({row["expires_at"]["N"] for row in rows.of_requests().values()}) == 1
    assert api.insert_many(THREE_CHUNKS, KEY).is_replay


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "refused by the condition"])
def test_a_later_row_of_a_later_use_is_a_409(
    api: Api, stored: "StoredItems", rows: "Rows", calls: "Calls", is_read: bool
) -> None:
    calls.time_out_after(2)
    api.insert_many(THREE_CHUNKS, KEY)
    calls.again()
    row = rows.by_id()["order 66#1"]
    rows.put(**{**row, "expires_at": {"N": str(int(row["expires_at"]["N"]) + 1)}})
    if not is_read:
        # It is written after the read.
        calls.on_read = lambda _, **__: {"Responses": {}}

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert problem(answer) == CONFLICT
    assert "used again" in answer.body["detail"]
    assert len({customer for customer, _ in stored.usage()}) == len(stored.all())


def test_without_a_key_equal_requests_are_two_usages(api: Api, stored: "StoredItems") -> None:
    api.insert_one("c", usage(m=1))

    assert not api.insert_one("c", usage(m=1)).is_replay
    assert len(stored.all()) == 2


def test_the_request_id_resumes_a_request_that_had_no_key(api: Api, stored: "StoredItems") -> None:
    api.insert_many(THREE_CHUNKS)
    request_id = stored.all()[0]["request_id"]["S"]

    assert api.insert_many(THREE_CHUNKS, {"Idempotency-Key": request_id}).is_replay
    assert len(stored.all()) == 8


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\t", "café"])
def test_a_key_that_breaks_a_rule_is_a_400(api: Api, stored: "StoredItems", key: str) -> None:
    answer = api.insert_one("c", usage(m=1), {"Idempotency-Key": key})

    assert answer.status == 400
    (error,) = answer.body["errors"]
    assert (error["location"], error["pointer"]) == ("header", "/idempotency-key")
    assert stored.all() == []


@pytest.mark.parametrize("key", ["x", "~ !", "x" * 255, "a#1", "a#1#0"])
def test_any_printable_ascii_text_is_a_key(api: Api, key: str) -> None:
    assert not api.insert_one("c", usage(m=1), {"Idempotency-Key": key}).is_replay
    assert api.insert_one("c", usage(m=1), {"Idempotency-Key": key}).is_replay


def test_a_key_that_looks_like_anothers_row_is_a_key_of_its_own(api: Api, stored: "StoredItems") -> None:
    api.insert_many(THREE_CHUNKS, {"Idempotency-Key": "a"})

    assert api.insert_one("c", usage(m=1), {"Idempotency-Key": "a#1"}).status == 200
    assert len(stored.all()) == 9


@pytest.mark.parametrize(
    "keys",
    [{"Idempotency-Key": ["a", "b"]}, {"Idempotency-Key": ["a"], "idempotency-key": ["b"]}],
    ids=["one spelling", "two spellings"],
)
def test_two_keys_in_one_request_are_refused(
    api: Api, stored: "StoredItems", keys: dict[str, list[str]]
) -> None:
    event = api.event("POST", "/insertMeteringRecord/c", body=usage(m=1))
    event["multiValueHeaders"] |= keys

    from metering_handlers import insert_metering_record  # noqa: PLC0415

    assert api.call(insert_metering_record.lambda_handler, event).status == 400
    assert stored.all() == []
